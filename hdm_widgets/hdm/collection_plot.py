"""Means over many images, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hdm_widgets.hdm.circle_map import BETTER_ONLY, RAW, WORSE_ONLY, ResultType, finite_limits

if TYPE_CHECKING:
    from hdm_widgets.hdm.collection import HDMCollection

__all__ = ["plot_collection"]

_TITLES = {RAW: "Raw distances", BETTER_ONLY: "Better", WORSE_ONLY: "Worse"}
_COLORS = {RAW: "Blues", BETTER_ONLY: "Greens", WORSE_ONLY: "Reds"}
# Where no image contributes: a color that no map has.
_NOTHING = "#dedede"


def plot_collection(
    collection: HDMCollection, kinds: Sequence[ResultType], *, aligned: bool, scaled: bool, figure: Figure | None
) -> Any:
    """See `HDMCollection.plot`."""
    cols = len(kinds) + aligned
    if figure is None:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=(4.4 * cols, 3.9), layout="constrained")
    axes = figure.subplots(1, cols, squeeze=False).ravel()
    settings, images = collection[0].settings, f"mean of {len(collection):,}"
    if aligned:
        unit = "px, segments resized to one area" if scaled else "px"
        for ax in axes:
            ax.plot(0, 0, "+", color="#e3b341", markersize=10)
            ax.set(xlabel=f"columns from the centroid ({unit})", ylabel="rows from the centroid")
    for ax, kind in zip(axes, kinds, strict=False):
        if not aligned:
            grid = collection[0].grid
            extent = (-0.5, grid.width - 0.5, grid.height - 0.5, -0.5)
            ax.set(xlabel="column (px)", ylabel="row (px)")
            _draw(ax, collection.mean(kind), extent, _COLORS[kind], settings.label)
        else:
            found = collection.aligned(kind, scaled=scaled)
            (height, width), (row, col) = found.mean.shape, found.origin
            extent = (-col - 0.5, width - col - 0.5, height - row - 0.5, -row - 0.5)
            images = f"mean of {len(found.indices):,}"
            _draw(ax, found.mean, extent, _COLORS[kind], settings.label)
            if kind is kinds[-1]:
                _draw(axes[-1], found.count.astype(float), extent, "Greys", "images")
                axes[-1].set_title("How many images count", fontsize="medium")
        ax.set_title(f"{_TITLES[kind]}: {images}", fontsize="medium")
    return axes


def _draw(ax: Axes, values: Any, extent: tuple[float, float, float, float], color_map: str, label: str) -> None:
    low, high = finite_limits(values)
    colors = colormaps[color_map].with_extremes(bad=_NOTHING)
    shown = ax.imshow(
        np.ma.masked_invalid(values), cmap=colors, vmin=low, vmax=high, extent=extent, interpolation="nearest"
    )
    if high > low:
        ax.figure.colorbar(shown, ax=ax, label=label, shrink=0.8)
    else:
        ax.set_xlabel(f"{ax.get_xlabel()}\n{label}: {low:g} everywhere")
