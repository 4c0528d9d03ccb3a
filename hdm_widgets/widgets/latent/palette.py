"""Colors for values on the map: numbers on a scale, a color each for categories."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex
from numpy.typing import NDArray

__all__ = ["SCORES", "Coloring", "category_color", "coloring", "table_of", "title", "value_text"]

# Red is bad and blue is good, to all kinds of color vision, without the ends of the map, which are lost on a dark
# ground. Other numbers have no good and bad.
SCORES = LinearSegmentedColormap.from_list("scores", mpl.colormaps["RdBu"](np.linspace(0.1, 0.9, 256)))
_NUMBERS = mpl.colormaps["cividis"]
_SCORE_COLUMNS = ("iou", "expected_iou", "dice", "precision", "recall")
_TITLES = {
    "iou": "IoU",
    "expected_iou": "Expected IoU",
    "dice": "Dice",
    "precision": "Precision",
    "recall": "Recall",
    "truth_area": "Area of the truth (px)",
    "predicted_area": "Area of the prediction (px)",
    "false_positive_area": "False positive area (px)",
    "false_negative_area": "False negative area (px)",
    "cluster": "Cluster",
}
MISSING = "#9aa4b2"
# After Paul Tol's muted set and Okabe and Ito's; with more categories, the colors repeat.
_CATEGORIES = (
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
    "#e69f00",
    "#882255",
    "#44aa99",
    "#999933",
    "#332288",
    "#cc6677",
    "#117733",
    "#ddaa77",
)
_MOST_LEGEND_ENTRIES = 14
_TABLE = 256


@dataclass(frozen=True)
class Coloring:
    """Colors of all items by one column.

    Attributes
    ----------
    colors : list of str
        One `#rrggbb` per item.
    legend : dict
        The message that the screen draws the legend from.
    """

    colors: list[str] = field(repr=False)
    legend: dict[str, Any]


def title(name: str) -> str:
    """A column's name on screen."""
    return _TITLES.get(name, name.replace("_", " "))


def value_text(value: Any) -> str:
    """A column's value on screen."""
    return f"{value:.3g}" if isinstance(value, (float, np.floating)) else str(value)


def table_of(color_map: Colormap) -> list[str]:
    """The colors of a map from its low end to its high end."""
    return [to_hex(color) for color in color_map(np.linspace(0, 1, _TABLE))]


def category_color(position: int) -> str:
    """The color of the category or cluster at this position; -1 is none."""
    return MISSING if position < 0 else _CATEGORIES[position % len(_CATEGORIES)]


def coloring(name: str, values: NDArray[Any]) -> Coloring:
    """Colors by a column: texts, flags and clusters are categories, other numbers a scale."""
    if values.dtype.kind in "biuf" and name != "cluster" and values.dtype.kind != "b":
        return _scale(name, values.astype(np.float64))
    if name == "cluster":
        codes = values.astype(int)
        labels = [f"cluster {label}" for label in range(codes.max() + 1)]
    else:
        names, counts = np.unique(values, return_counts=True)
        by_size = np.argsort(-counts, kind="stable")
        ranks = np.empty(len(names), int)
        ranks[by_size] = np.arange(len(names))
        codes = ranks[np.searchsorted(names, values)]
        labels = [str(names[i]) for i in by_size]
    entries = [
        {"color": category_color(position), "label": label, "count": int((codes == position).sum())}
        for position, label in enumerate(labels)
    ]
    if (codes < 0).any():
        entries.append({"color": MISSING, "label": "in no cluster", "count": int((codes < 0).sum())})
    legend = {
        "kind": "categories",
        "title": title(name),
        "entries": entries[:_MOST_LEGEND_ENTRIES],
        "more": max(0, len(entries) - _MOST_LEGEND_ENTRIES),
    }
    return Coloring([category_color(code) for code in codes], legend)


def _scale(name: str, values: NDArray[np.float64]) -> Coloring:
    finite = np.isfinite(values)
    score = name in _SCORE_COLUMNS
    low, high = 0.0, 1.0
    if not score and finite.any():
        low, high = float(values[finite].min()), float(values[finite].max())
    table = table_of(SCORES if score else _NUMBERS)
    fractions = np.zeros(len(values)) if high <= low else (np.where(finite, values, low) - low) / (high - low)
    entries = np.clip((fractions * _TABLE).astype(int), 0, _TABLE - 1)
    colors = [table[entry] if defined else MISSING for entry, defined in zip(entries, finite, strict=True)]
    legend = {
        "kind": "scale",
        "title": title(name),
        "low": low,
        "high": high,
        "colors": table[::8] + table[-1:],
        "missing": int((~finite).sum()),
    }
    return Coloring(colors, legend)
