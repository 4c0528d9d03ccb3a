"""Colors for values on the map: numbers on a scale, a color each for categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex, to_rgba_array
from numpy.typing import NDArray

from hdm_widgets.latent.ordered import OrderedColumn
from hdm_widgets.widgets.latent.columns import Column, date_text, date_ticks, value_text
from hdm_widgets.widgets.latent.suspicion import SUSPICION, SUSPICION_ENDS, suspicion_text

__all__ = ["FOUND", "MISSING", "OTHER", "SCORES", "Coloring", "category_color", "coloring", "table_of"]

# Red is bad and blue is good, to all kinds of color vision, without the ends of the map, which are lost on a dark
# ground. Other numbers have no good and bad.
SCORES = LinearSegmentedColormap.from_list("scores", mpl.colormaps["RdBu"](np.linspace(0.1, 0.9, 256)))
_NUMBERS = mpl.colormaps["cividis"]
# Without the hues of the expected IoU behind the points, where red and blue mean something else.
_SUSPICIONS = LinearSegmentedColormap.from_list("suspicions", ["#f3eff9", "#c3a5e3", "#8e4ec6", "#5b1a9a"])
_SCORE_COLUMNS = ("iou", "expected_iou", "dice", "precision", "recall")
MISSING = "#9aa4b2"  # no value
OTHER = "#66717f"  # a value without a color of its own
FOUND = "#e69f00"  # a text that holds what was searched for
# After Paul Tol's muted set and Okabe and Ito's.
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
_TABLE = 256


@dataclass(frozen=True, eq=False)
class Coloring:
    """Colors of all items by one column.

    Attributes
    ----------
    table : list of str
        The colors that there are, `#rrggbb`.
    codes : numpy.ndarray, int (n,)
        Position of each item's color in the table.
    legend : dict
        The message that the screen draws the legend from.
    """

    table: list[str] = field(repr=False)
    codes: NDArray[np.int64] = field(repr=False)
    legend: dict[str, Any]

    @cached_property
    def colors(self) -> list[str]:
        """One `#rrggbb` per item."""
        return [self.table[code] for code in self.codes.tolist()]

    @cached_property
    def linear(self) -> NDArray[np.float64]:
        """The table in linear light, (k, 3), from sRGB (IEC 61966-2-1)."""
        values = to_rgba_array(self.table)[:, :3]
        return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def table_of(color_map: Colormap) -> list[str]:
    """The colors of a map from its low end to its high end."""
    return [to_hex(color) for color in color_map(np.linspace(0, 1, _TABLE))]


def category_color(position: int) -> str:
    """The color of the category or cluster at this position; -1 is none, and those after the 14th share a gray."""
    if position < 0:
        return MISSING
    return _CATEGORIES[position] if position < len(_CATEGORIES) else OTHER


def coloring(column: Column, mode: str = "auto", search: str = "") -> Coloring:
    """Color the items by a column.

    Parameters
    ----------
    column : Column
    mode : str
        As the column is to be shown; one that it cannot be shown as means its default.
    search : str
        What texts must hold to be colored, in upper or lower case, where they are searched.
    """
    chosen = column.mode(mode)
    if chosen == "scale":
        return _scale(column)
    if column.name == "cluster":
        codes = column.values.astype(int)
        labels = [f"cluster {label}" for label in range(codes.max() + 1)]
        return _categories(column, codes, labels, "in no cluster")
    if isinstance(column.values, OrderedColumn):
        labels = [value_text(category) for category in column.values.categories]
        # An order is shown by colors in an order, and these are as many as there are categories.
        ordered = [to_hex(_NUMBERS(fraction)) for fraction in np.linspace(0, 1, max(len(labels), 2))]
        return _categories(column, column.values.codes, labels, colors=ordered[: len(labels)])
    if chosen == "search" and search.strip():
        return _found(column, search.strip())
    return _by_value(column, chosen)


def _by_value(column: Column, mode: str) -> Coloring:
    """A color for each of the 14 most common values; those of texts that are searched must come more than once."""
    names: Sequence[Any] | NDArray[Any]
    codes_of_present: NDArray[np.integer]
    if column.values.dtype.kind == "U":
        # An empty text is none; it is the first of all.
        none = column.texts.names[:1] == [""]
        names, places = column.texts.names[none:], column.texts.codes - none
        present = places >= 0
        codes_of_present = places[present]
        counts = np.bincount(codes_of_present, minlength=len(names))
    else:
        present = np.isfinite(column.values)
        names, codes_of_present, counts = np.unique(column.values[present], return_inverse=True, return_counts=True)
    by_size = np.argsort(-counts, kind="stable")
    colored = by_size[: len(_CATEGORIES)]
    if mode == "search":
        colored = colored[counts[colored] > 1]
    # Numbers and dates have an order, other values come by size.
    ordered = column.values.dtype.kind in "iuf" or column.dates is not None
    colored = np.sort(colored) if ordered else colored
    ranks = np.full(len(names), len(_CATEGORIES))
    ranks[colored] = np.arange(len(colored))
    codes = np.full(len(column.values), -1)
    codes[present] = ranks[codes_of_present]
    found = _categories(column, codes, [_label(names[position]) for position in colored], kind=mode)
    more = len(names) - len(colored)
    if more:
        other = {"color": OTHER, "label": f"other ({more})", "count": int((codes == len(_CATEGORIES)).sum())}
        found.legend["entries"].insert(len(colored), other)
    return found


def _label(value: Any) -> str:
    whole = isinstance(value, np.floating) and value == np.round(value)
    return str(int(value)) if whole else value_text(value)


def _found(column: Column, search: str) -> Coloring:
    """Texts that hold what was searched for, and the others."""
    wanted = search.casefold()
    # 0: it holds what is wanted, 1: it does not, -1: it is empty.
    kinds = np.array([0 if wanted in text.casefold() else 1 if text else -1 for text in column.texts.names])
    codes = kinds[column.texts.codes]
    labels = [f"holds “{search}”", f"other ({np.count_nonzero(kinds == 1)})"]
    found = _categories(column, codes, labels, colors=[FOUND, OTHER], kind="search")
    return replace(found, legend=found.legend | {"search": search})


def _categories(
    column: Column,
    codes: NDArray[np.int64],
    labels: Sequence[str],
    none: str = "missing",
    *,
    colors: Sequence[str] | None = None,
    kind: str = "categories",
) -> Coloring:
    """A color for each label, by the codes (n,) of the items; -1 is none."""
    chosen = list(colors) if colors is not None else [category_color(position) for position in range(len(labels))]
    entries = [
        {"color": color, "label": label, "count": int((codes == position).sum())}
        for position, (color, label) in enumerate(zip(chosen, labels, strict=True))
    ]
    if len(entries) > len(_CATEGORIES) and colors is None:
        more = entries[len(_CATEGORIES) :]
        entries[len(_CATEGORIES) :] = [
            {"color": OTHER, "label": f"other ({len(more)})", "count": sum(int(str(one["count"])) for one in more)}
        ]
    if (codes < 0).any():
        entries.append({"color": MISSING, "label": none, "count": int((codes < 0).sum())})
    legend = {"kind": kind, "title": column.title, "entries": entries}
    positions = np.where(codes < 0, len(chosen) + 1, np.minimum(codes, len(chosen)))
    return Coloring([*chosen, OTHER, MISSING], positions, legend)


def _scale(column: Column) -> Coloring:
    dates = column.dates
    values = column.values.astype(np.float64) if dates is None else dates
    finite = np.isfinite(values)
    if column.own and column.name == SUSPICION:
        return _suspicion(column)
    score = column.own and column.name in _SCORE_COLUMNS
    low, high = 0.0, 1.0
    if not score and finite.any():
        low, high = float(values[finite].min()), float(values[finite].max())
    table = table_of(SCORES if score else _NUMBERS)
    fractions = np.zeros(len(values)) if high <= low else (np.where(finite, values, low) - low) / (high - low)
    entries = np.clip((fractions * _TABLE).astype(int), 0, _TABLE - 1)
    legend = {
        "kind": "scale",
        "title": column.title,
        "low": low,
        "high": high,
        "colors": table[::8] + table[-1:],
        "missing": int((~finite).sum()),
        "missing_label": column.missing,
    }
    if dates is not None:
        legend["dates"] = {
            "low": date_text(low),
            "high": date_text(high),
            "ticks": [{"at": (moment - low) / (high - low), "label": text} for moment, text in date_ticks(low, high)]
            if high > low
            else [],
        }
    return Coloring([*table, MISSING], np.where(finite, entries, _TABLE), legend)


def _suspicion(column: Column) -> Coloring:
    """Likely wrong truths in dark purple; on a logarithmic scale with fixed ends, to compare data sets."""
    low, high = np.log10(SUSPICION_ENDS)
    table = table_of(_SUSPICIONS)
    finite = np.isfinite(column.values)
    logarithms = np.log10(np.clip(np.nan_to_num(column.values), *SUSPICION_ENDS))
    entries = np.clip(((logarithms - low) / (high - low) * _TABLE).astype(int), 0, _TABLE - 1)
    legend = {
        "kind": "scale",
        "title": column.title,
        "low": SUSPICION_ENDS[0],
        "high": SUSPICION_ENDS[1],
        "colors": table[::8] + table[-1:],
        "missing": int((~finite).sum()),
        "missing_label": suspicion_text(np.nan),
        "note": "logarithmic; an order, no probability",
    }
    return Coloring([*table, MISSING], np.where(finite, entries, _TABLE), legend)
