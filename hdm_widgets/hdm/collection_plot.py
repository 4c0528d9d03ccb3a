"""Means over many images, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hdm_widgets.hdm.aligned_map import AlignedMap
from hdm_widgets.hdm.circle_map import BETTER_ONLY, RAW, WORSE_ONLY, ResultType, finite_limits
from hdm_widgets.hdm.result import HDMResult

__all__ = ["plot_collection"]

_TITLES = {RAW: "Raw distances", BETTER_ONLY: "Better", WORSE_ONLY: "Worse"}
_COLORS = {RAW: "Blues", BETTER_ONLY: "Greens", WORSE_ONLY: "Reds"}
# Where no image contributes: a color that no map has.
_NOTHING = "#dedede"


def plot_collection(
    maps: Mapping[ResultType, AlignedMap] | Mapping[ResultType, NDArray[np.float64]],
    count: int,
    first: HDMResult,
    figure: Figure | None,
) -> Any:
    """See `HDMCollection.plot`.

    Parameters
    ----------
    maps : mapping
        Of each kind: a map in the frame of the segments, or means (rows, cols) in the image's.
    count : int
        Images of the means.
    first : HDMResult
        Any of the results: all have its measure, and for means its grid.
    figure : matplotlib.figure.Figure, optional
    """
    aligned = [found for found in maps.values() if isinstance(found, AlignedMap)]
    cols = len(maps) + bool(aligned)
    if figure is None:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=(4.4 * cols, 3.9), layout="constrained")
    axes = figure.subplots(1, cols, squeeze=False).ravel()
    label = first.settings.label
    for ax, (kind, found) in zip(axes, maps.items(), strict=False):
        if isinstance(found, AlignedMap):
            _name_axes(ax, found)
            _draw(ax, found.mean, _extent(found), _COLORS[kind], label)
        else:
            extent = (-0.5, first.width - 0.5, first.height - 0.5, -0.5)
            ax.set(xlabel="column (px)", ylabel="row (px)")
            _draw(ax, found, extent, _COLORS[kind], label)
        images = len(found.indices) if isinstance(found, AlignedMap) else count
        ax.set_title(f"{_TITLES[kind]}: mean of {images:,}", fontsize="medium")
    if aligned:
        _name_axes(axes[-1], aligned[0])
        _draw(axes[-1], aligned[0].count.astype(float), _extent(aligned[0]), "Greys", "images")
        axes[-1].set_title("How many images count", fontsize="medium")
    return axes


def _name_axes(ax: Axes, found: AlignedMap) -> None:
    """Mark the centroid, and say what the axes count."""
    unit = "px, segments resized to one area" if found.scaled else "px"
    ax.plot(0, 0, "+", color="#e3b341", markersize=10)
    ax.set(xlabel=f"columns from the centroid ({unit})", ylabel="rows from the centroid")


def _extent(found: AlignedMap) -> tuple[float, float, float, float]:
    (height, width), (row, col) = found.mean.shape, found.origin
    return -col - 0.5, width - col - 0.5, height - row - 0.5, -row - 0.5


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
