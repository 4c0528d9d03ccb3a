"""A figure of two latent spaces of the same items: both maps, and how the IoU changed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hdm_widgets._wording import letter_by_letter

if TYPE_CHECKING:
    from hdm_widgets.latent.space_comparison import SpaceComparison

__all__ = [
    "CHANGES",
    "LONGEST_NAME",
    "NAME_END",
    "bounds_of",
    "change_limit",
    "drawing_order",
    "plot_comparison",
    "short_name",
]

# Red is worse and blue is better; what has not changed is of the color of sand, and recedes on light and dark ground.
CHANGES = LinearSegmentedColormap.from_list("changes", ["#b2182b", "#e08b6d", "#d9d3c0", "#7fb0d6", "#2166ac"])
_MISSING = "#9aa4b2"  # without an IoU
_ENDS = 95  # percentile of the changes beyond which all have one color
_MARGIN = 0.05  # around the points, as a fraction of their extent
_BINS = 40
_INK = "#475569"
LONGEST_NAME = 24
NAME_END = 10  # characters of a long name that stay at its end

Floats = NDArray[np.float64]


class ShownFigure(Figure):
    """A figure that the last line of a cell shows, whether or not pyplot has been imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def change_limit(comparison: SpaceComparison) -> float:
    """The change of IoU at the ends of the color scale: what 5 % exceed, but no less than counts as a change."""
    change = np.abs(comparison.iou_change)
    change = change[np.isfinite(change)]
    largest = float(np.percentile(change, _ENDS)) if len(change) else 0.0
    return max(largest, comparison.changed_above)


def drawing_order(comparison: SpaceComparison) -> NDArray[np.int64]:
    """All positions, the largest change of IoU last: it is drawn on top."""
    return np.argsort(np.nan_to_num(np.abs(comparison.iou_change), nan=-1.0), kind="stable")


def bounds_of(comparison: SpaceComparison) -> tuple[float, float, float, float]:
    """(x0, x1, y0, y1) around the points of both maps."""
    both = np.concatenate(comparison.coordinates)
    low, high = both.min(axis=0), both.max(axis=0)
    margin = np.where(high > low, _MARGIN * (high - low), 1.0)
    (x0, y0), (x1, y1) = (low - margin).tolist(), (high + margin).tolist()
    return x0, x1, y0, y1


def short_name(name: str) -> str:
    """A name without its middle if it is long."""
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 1 - NAME_END]}…{name[-NAME_END:]}"


def _label(name: str) -> str:
    return letter_by_letter(short_name(name))


def plot_comparison(comparison: SpaceComparison) -> Figure:
    """Draw both maps, colored by the change of IoU, and a histogram of the change."""
    figure = ShownFigure(figsize=(12.6, 4.2), layout="constrained")
    first, second, changes = figure.subplots(1, 3, width_ratios=[1, 1, 0.72])
    second.sharex(first)
    second.sharey(first)
    limit = change_limit(comparison)
    norm = Normalize(-limit, limit)
    for axes, name, points, iou in zip(
        (first, second), comparison.names, comparison.coordinates, comparison.iou, strict=True
    ):
        _map(axes, comparison, points, norm)
        mean = f", mean IoU {np.nanmean(iou):.2f}" if np.isfinite(iou).any() else ""
        axes.set_title(f"{_label(name)}{mean}", fontsize=11)
    x0, x1, y0, y1 = bounds_of(comparison)
    first.set(xlim=(x0, x1), ylim=(y0, y1), ylabel=f"PC 2 of {_label(comparison.names[0])}")
    second.tick_params(labelleft=False)
    figure.colorbar(
        ScalarMappable(norm, CHANGES), ax=[first, second], label="change of IoU", extend="both", pad=0.01, aspect=30
    )
    _histogram(changes, comparison, norm)
    return figure


def _map(axes: Axes, comparison: SpaceComparison, points: Floats, norm: Normalize) -> None:
    order = drawing_order(comparison)
    x, y = points[order].T
    axes.scatter(
        x,
        y,
        s=float(np.clip(30 - 9 * np.log10(len(comparison) / 200), 5, 36)),
        c=comparison.iou_change[order],
        cmap=CHANGES.with_extremes(bad=_MISSING),
        norm=norm,
        plotnonfinite=True,
        edgecolors=_INK,
        linewidths=0.3,
    )
    axes.set_xlabel(f"PC 1 of {_label(comparison.names[0])}")
    axes.spines[["top", "right"]].set_visible(False)


def _histogram(axes: Axes, comparison: SpaceComparison, norm: Normalize) -> None:
    change = comparison.iou_change[np.isfinite(comparison.iou_change)]
    end = max(float(np.abs(change).max(initial=0)), comparison.changed_above)
    counts, edges = np.histogram(change, _BINS, (-end, end))
    colors = CHANGES(norm((edges[1:] + edges[:-1]) / 2))
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=colors)
    for mark in (-comparison.changed_above, comparison.changed_above):
        axes.axvline(mark, color=_INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="change of IoU", ylabel="items")
    worse, better = len(comparison.worse), len(comparison.better)
    axes.set_title(f"{worse:,} worse, {better:,} better", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
