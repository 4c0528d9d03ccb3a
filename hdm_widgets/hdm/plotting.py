"""Circle maps in matplotlib, with colour bars; edges of an image."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from hdm_widgets.hdm.circle_map import BETTER_ONLY, RAW, WORSE_ONLY, ResultType

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hdm_widgets.hdm.result import HDMResult

__all__ = ["canny", "plot", "png"]

_COLOR_MAPS = {RAW: "Blues", BETTER_ONLY: "Greens", WORSE_ONLY: "Reds"}
# Where no disc is: not a colour of any map.
_UNCOVERED = (222, 222, 222)
_TITLES = {RAW: "Distance to the truth", BETTER_ONLY: "Nearer to the truth by", WORSE_ONLY: "Farther from the truth by"}


def plot(
    result: HDMResult, ax: Axes | None, result_type: ResultType | str | None, color_map: str | Colormap | None
) -> Any:
    """See `HDMResult.plot`."""
    if isinstance(ax, str):
        raise TypeError(f"the first argument of plot is a matplotlib axes; for the kind of map use result_type={ax!s}")
    if ax is not None:
        _draw(ax, result, ResultType(result_type or RAW), color_map)
        return ax
    from matplotlib import pyplot

    kinds = [ResultType(result_type)] if result_type else list(ResultType)
    figure = pyplot.figure(figsize=(4.4 * len(kinds), 3.9), layout="constrained")
    return _fill(figure, result, kinds, color_map)


def png(result: HDMResult) -> bytes:
    """The three circle maps as a PNG file; pyplot's state is left alone."""
    figure = Figure(figsize=(13.2, 3.9), layout="constrained")
    _fill(figure, result, list(ResultType), None)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def _fill(figure: Figure, result: HDMResult, kinds: list[ResultType], color_map: str | Colormap | None) -> Any:
    axes = figure.subplots(1, len(kinds), squeeze=False)[0]
    for ax, kind in zip(axes, kinds, strict=True):
        _draw(ax, result, kind, color_map)
    return axes if len(kinds) > 1 else axes[0]


def _draw(ax: Axes, result: HDMResult, kind: ResultType, color_map: str | Colormap | None) -> None:
    colors = color_map or _COLOR_MAPS[kind]
    values = result.distances(kind)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    picture = np.array(result.circle_map(kind, colors))
    picture[np.isnan(result.painted_values(kind))] = _UNCOVERED
    ax.imshow(picture, interpolation="nearest")
    if result.segment.any() and not result.segment.all():
        ax.contour(result.segment, levels=[0.5], colors="#e3b341", linewidths=1)
    same = f": {low:.1f} everywhere" if low == high else ""
    ax.set_title(_TITLES[kind] + same, fontsize="medium")
    ax.set_xlabel("column (px)")
    ax.set_ylabel("row (px)")
    if high > low:
        beside = ax.inset_axes((1.03, 0, 0.045, 1))
        ax.figure.colorbar(ScalarMappable(Normalize(low, high), colors), cax=beside, label=result.settings.label)


def canny(
    picture: NDArray[np.floating], *, sigma: float = 1.0, low: float = 0.1, high: float = 0.2
) -> NDArray[np.bool_]:
    """Canny's edge detector on one channel.

    Parameters
    ----------
    picture : numpy.ndarray (H, W)
        Any range; it is scaled to [0, 1] first.
    sigma : float
        Width of the Gaussian in pixels.
    low, high : float
        Hysteresis: an edge is kept where its gradient is above `low` and somewhere along it above `high`,
        as shares of the largest gradient.

    Returns
    -------
    numpy.ndarray, bool (H, W)

    References
    ----------
    J. Canny: A Computational Approach to Edge Detection. IEEE TPAMI 8 (6), 1986.
    """
    spread = float(np.ptp(picture))
    if not spread:
        return np.zeros(picture.shape, dtype=bool)
    smooth = ndimage.gaussian_filter((picture - picture.min()) / spread, sigma)
    across, down = ndimage.sobel(smooth, axis=1), ndimage.sobel(smooth, axis=0)
    gradient = np.hypot(across, down)
    ridge = _thinned(gradient, across, down)
    labels, _ = ndimage.label(ridge & (gradient > low * gradient.max()), structure=np.ones((3, 3)))
    strong = np.unique(labels[ridge & (gradient > high * gradient.max())])
    return np.isin(labels, strong[strong > 0])


def _thinned(
    gradient: NDArray[np.float64], across: NDArray[np.float64], down: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Pixels whose gradient is the largest along its own direction, of the four that a raster has."""
    octant = np.round(np.arctan2(down, across) / (np.pi / 4)).astype(int) % 4
    padded = np.pad(gradient, 1)
    height, width = gradient.shape
    ridge = np.zeros(gradient.shape, dtype=bool)
    for direction, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        behind = padded[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        # Strict on one side only: of two equal neighbours one stays.
        ridge |= (octant == direction) & (gradient > ahead) & (gradient >= behind)
    return ridge & (gradient > 0)
