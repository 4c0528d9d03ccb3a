"""Paint distances as discs."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.colors import Colormap
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt

from hdm_widgets._validation import brief
from hdm_widgets.hdm.grid import Grid

__all__ = [
    "BETTER_ONLY",
    "RAW",
    "WORSE_ONLY",
    "PaintingOrder",
    "ResultType",
    "ShownOrder",
    "change_from_baseline",
    "color_table",
    "filled",
    "finite_limits",
    "mean_values",
    "paint",
    "paint_mean",
    "painted_discs",
    "painted_values",
    "relative",
]


# A mean that rounding leaves just below the border of two colors has the upper one, here and in the browser.
_ROUNDING = 1e-9 / 256

PaintingOrder = Literal["value", "change", "mean"]
# Those of the explorers.
ShownOrder = Literal["mean", "change"]


class ResultType(StrEnum):
    """What a map shows: the distances, or how much nearer or farther than without a disc."""

    RAW = "raw"
    BETTER_ONLY = "better"
    WORSE_ONLY = "worse"

    @classmethod
    def _missing_(cls, value: object) -> ResultType:
        raise ValueError(f"unknown result type {value!r}; use hdm.RAW, hdm.BETTER_ONLY or hdm.WORSE_ONLY")


RAW = ResultType.RAW
BETTER_ONLY = ResultType.BETTER_ONLY
WORSE_ONLY = ResultType.WORSE_ONLY


def relative(values: NDArray[np.float64], baseline: float, result_type: ResultType | str) -> NDArray[np.float64]:
    """Distances as the result type shows them; NaN stays NaN."""
    kind = ResultType(result_type)
    if kind is RAW:
        return values.copy()
    nearer, farther = values < baseline, values > baseline
    chosen = nearer if kind is BETTER_ONLY else farther
    result = np.where(np.isnan(values), np.nan, 0.0)
    result[chosen] = np.abs(values[chosen] - baseline)
    return result


def color_table(color_map: str | Colormap) -> NDArray[np.uint8]:
    """256 colors, uint8 (256, 3), of a matplotlib color map or its name."""
    if not isinstance(color_map, (str, Colormap)):
        raise TypeError(f"color_map must be the name of a matplotlib color map or a Colormap, got {brief(color_map)}")
    try:
        chosen = matplotlib.colormaps[color_map] if isinstance(color_map, str) else color_map
    except KeyError as error:
        raise ValueError(
            f"unknown color map {color_map!r}; any name in matplotlib.colormaps serves, e.g. 'Blues'"
        ) from error
    return (chosen((np.arange(256) + 0.5) / 256)[:, :3] * 255).astype(np.uint8)


def finite_limits(values: NDArray[np.float64], *, around_zero: bool = False) -> tuple[float, float]:
    """The least and the largest finite value, or as far below 0 as above; 0 and 0 where none is finite."""
    finite = values[np.isfinite(values)]
    if around_zero:
        farthest = float(np.abs(finite).max(initial=0.0))
        return -farthest, farthest
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def scaled(values: NDArray[np.float64], limits: tuple[float, float] | None = None) -> NDArray[np.float64]:
    """Values in [0, 1] between two limits, by default the least and the largest finite one; 0 where these are equal."""
    low, high = limits or finite_limits(values)
    with np.errstate(invalid="ignore"):
        fractions = (values - low) / (high - low) if high > low else np.where(np.isposinf(values), 1.0, values * 0.0)
    return np.clip(fractions, 0.0, 1.0)


def _painting_order(
    values: NDArray[np.float64], shown: NDArray[np.bool_], change: NDArray[np.float64] | None
) -> list[tuple[int, int]]:
    """Shown cells, the topmost last: by change where that is given, then by value, then in reading order."""
    rows, cols = np.nonzero(shown & ~np.isnan(values))
    value = values[rows, cols]
    order = np.lexsort((value, value if change is None else change[rows, cols]))
    return list(zip(rows[order].tolist(), cols[order].tolist(), strict=True))


def change_from_baseline(
    values: NDArray[np.float64], baseline: float, result_type: ResultType | str
) -> NDArray[np.float64]:
    """How much the disc of each cell changes, (rows, cols).

    For raw distances that is the difference from the baseline. The other maps show the change itself, and so do raw
    distances where the baseline is not finite.
    """
    if ResultType(result_type) is not RAW or not np.isfinite(baseline):
        return values
    change: NDArray[np.float64] = np.abs(values - baseline)
    return change


def painted_discs(
    values: NDArray[np.float64],
    shown: NDArray[np.bool_],
    color_map: str | Colormap,
    change: NDArray[np.float64] | None = None,
    limits: tuple[float, float] | None = None,
) -> tuple[list[tuple[int, int]], NDArray[np.uint8]]:
    """The cells that are painted, the topmost last, and their colors (n, 3)."""
    cells = _painting_order(values, shown, change)
    colors = _colors(scaled(values, limits), color_map)
    return cells, np.array([colors[cell] for cell in cells], np.uint8).reshape(-1, 3)


def paint(
    values: NDArray[np.float64],
    shown: NDArray[np.bool_],
    grid: Grid,
    color_map: str | Colormap,
    change: NDArray[np.float64] | None = None,
    limits: tuple[float, float] | None = None,
) -> Image.Image:
    """The circle map: discs in ascending order of value, or of change, on black; PIL RGB of the image's size."""
    image = Image.new("RGB", (grid.width, grid.height), 0)
    draw = ImageDraw.Draw(image)
    paint_disc = draw.rectangle if grid.disc_shape == "square" else draw.ellipse
    cells, colors = painted_discs(values, shown, color_map, change, limits)
    for (row, col), (red, green, blue) in zip(cells, colors.tolist(), strict=True):
        y, x = grid.corner(row, col)
        paint_disc((x, y, x + grid.circle_size, y + grid.circle_size), fill=(red, green, blue))
    return image


def painted_values(
    values: NDArray[np.float64],
    shown: NDArray[np.bool_],
    grid: Grid,
    change: NDArray[np.float64] | None = None,
    of: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """The circle map before its colors: what `of` has for the topmost disc at every pixel, NaN where there is none.

    `of` (rows, cols) is `values` by default.
    """
    painted = np.full((grid.height, grid.width), np.nan)
    for row, col in _painting_order(values, shown, change):
        rows, cols, disc = grid.window(row, col)
        painted[rows, cols][disc] = (values if of is None else of)[row, col]
    return painted


def mean_values(values: NDArray[np.float64], shown: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """The mean of all discs that cover each pixel, (H, W); NaN where none does."""
    counted = shown & ~np.isnan(values)
    values = np.where(counted, values, 0)
    (top, left), side = grid.corner(0, 0), grid.circle_size + 1
    # So wide a margin takes what the border cuts off.
    margin = side + max(abs(top), abs(left))
    sums, discs = np.zeros((2, grid.height + 2 * margin, grid.width + 2 * margin))
    for down, across in np.argwhere(grid.disc).tolist():
        # This pixel of all discs at once.
        first_row, first_col = margin + top + down, margin + left + across
        pixels = (
            slice(first_row, first_row + grid.rows * grid.offset, grid.offset),
            slice(first_col, first_col + grid.cols * grid.offset, grid.offset),
        )
        sums[pixels] += values
        discs[pixels] += counted
    inside = slice(margin, margin + grid.height), slice(margin, margin + grid.width)
    sums, discs = sums[inside], discs[inside]
    means: NDArray[np.float64] = np.divide(sums, discs, out=np.full(discs.shape, np.nan), where=discs > 0)
    return means


def paint_mean(
    values: NDArray[np.float64],
    shown: NDArray[np.bool_],
    grid: Grid,
    color_map: str | Colormap,
    limits: tuple[float, float] | None = None,
) -> Image.Image:
    """The mean of all discs that cover each pixel on black, in the colors of `paint`; PIL RGB of the image's size."""
    means = mean_values(values, shown, grid)
    painted = _colors(scaled(means, limits or finite_limits(values)) + _ROUNDING, color_map)
    painted[np.isnan(means)] = 0
    return Image.fromarray(painted)


def _colors(fractions: NDArray[np.float64], color_map: str | Colormap) -> NDArray[np.uint8]:
    """The colors (..., 3) of fractions in [0, 1]."""
    colors: NDArray[np.uint8] = color_table(color_map)[np.minimum(np.nan_to_num(fractions) * 256, 255).astype(np.intp)]
    return colors


def filled(values: NDArray[np.float64], measured: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give every cell that was not measured the value of the nearest one that was.

    Parameters
    ----------
    values : numpy.ndarray, float64 (rows, cols)
        Distances; only those of measured cells are read.
    measured : numpy.ndarray, bool (rows, cols)

    Returns
    -------
    numpy.ndarray, float64 (rows, cols)
        Measured cells have their own value, NaN included. The others have that of the nearest measured cell, by the
        Euclidean distance in cells; of several that are equally near always the same one. All NaN where nothing was
        measured.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.array([[1.0, np.nan, np.nan, 4.0]])
    >>> filled(values, ~np.isnan(values))
    array([[1., 1., 4., 4.]])
    """
    if not measured.any():
        return np.full(values.shape, np.nan)
    nearest = distance_transform_edt(~measured, return_distances=False, return_indices=True)
    copied: NDArray[np.float64] = values[tuple(nearest)]
    return copied
