"""Very many points as an image: which are in view, what every pixel shows, and which a polygon encloses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.widgets.latent.palette import Coloring

__all__ = ["Bounds", "Floats", "PointGrid", "Raster", "inside_polygon", "rasterize"]

_ITEMS_PER_CELL = 64
_MOST_CELLS = 512  # along either axis
# Opacity of a pixel with one item; that with the most items has 1.
_FAINTEST = 0.35
# Cells this near to a line, as a fraction of a cell, may have points on either side of it.
_ROUNDING = 1e-6

Floats = NDArray[np.float64]
# x0, x1, y0, y1.
Bounds = tuple[float, float, float, float]


class PointGrid:
    """Points sorted by the cells of a grid, so that a view or a polygon looks only at the cells that it touches.

    Parameters
    ----------
    positions : numpy.ndarray, float64 (n, 2)
        x and y of every item, finite.

    Attributes
    ----------
    order : numpy.ndarray, int64 (n,)
        The items, cell by cell.
    """

    def __init__(self, positions: Floats) -> None:
        count = len(positions)
        self._low = positions.min(axis=0)
        extent = positions.max(axis=0) - self._low
        self._side = int(np.clip(np.sqrt(count / _ITEMS_PER_CELL), 1, _MOST_CELLS))
        self._scale = self._side / np.where(extent > 0, extent, 1.0)
        cols, rows = (self._cells(positions[:, axis], axis) for axis in (0, 1))
        cells = rows * self._side + cols
        self.order = np.argsort(cells, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=self._side**2))])
        self._x, self._y = (np.ascontiguousarray(positions[self.order, axis]) for axis in (0, 1))

    def __len__(self) -> int:
        return len(self.order)

    def within(self, bounds: Bounds) -> NDArray[np.int64]:
        """Which points are in (x0, x1, y0, y1), ends included: their ranks in `order`, ascending."""
        x0, x1, y0, y1 = bounds
        ranks = self._ranks_near(bounds)
        x, y = self._x[ranks], self._y[ranks]
        return ranks[(x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)]

    def pixels(self, bounds: Bounds, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The points in view and their pixels.

        Parameters
        ----------
        bounds : tuple of float
            (x0, x1, y0, y1) of the view.
        shape : tuple of int
            Rows and columns of the raster; row 0 is at y1.

        Returns
        -------
        ranks, pixels : numpy.ndarray, int64 (m,)
            Ranks in `order`, and row * columns + column of each.
        """
        x0, x1, y0, y1 = bounds
        height, width = shape
        ranks = self.within(bounds)
        cols = ((self._x[ranks] - x0) * (width / (x1 - x0))).astype(np.int64)
        rows = ((y1 - self._y[ranks]) * (height / (y1 - y0))).astype(np.int64)
        np.minimum(cols, width - 1, out=cols)
        np.minimum(rows, height - 1, out=rows)
        rows *= width
        rows += cols
        return ranks, rows

    def inside(self, polygon: Floats) -> NDArray[np.int64]:
        """The items within a polygon, ascending, by the even-odd rule.

        Only cells that its line crosses are looked at point by point.

        Parameters
        ----------
        polygon : numpy.ndarray, float64 (k, 2)
            Its corners; the last is joined to the first.
        """
        if len(polygon) < 3:
            return np.empty(0, np.int64)
        (x0, y0), (x1, y1) = polygon.min(axis=0), polygon.max(axis=0)
        col0, row0 = self._cell_of(x0, y0)
        col1, row1 = self._cell_of(x1, y1)
        crossed = self._crossed(polygon)[row0 : row1 + 1, col0 : col1 + 1]
        cols, rows = np.meshgrid(np.arange(col0, col1 + 1), np.arange(row0, row1 + 1))
        centers = self._low + (np.stack([cols, rows], axis=-1).reshape(-1, 2) + 0.5) / self._scale
        full = inside_polygon(centers, polygon).reshape(cols.shape) & ~crossed
        cells = (rows * self._side + cols).astype(np.int64)
        whole = self._ranks_of(cells[full])
        looked_at = self._ranks_of(cells[crossed])
        points = np.stack([self._x[looked_at], self._y[looked_at]], axis=1)
        ranks = np.concatenate([whole, looked_at[inside_polygon(points, polygon)]])
        items: NDArray[np.int64] = self.order[ranks]
        return np.sort(items)

    def _cells(self, values: Floats, axis: int) -> NDArray[np.int64]:
        cells: NDArray[np.int64] = ((values - self._low[axis]) * self._scale[axis]).astype(np.int64)
        return cells.clip(0, self._side - 1)

    def _cell_of(self, x: float, y: float) -> tuple[int, int]:
        """Column and row of the cell at a position; outside, of the nearest one."""
        col, row = np.clip(np.floor((np.array([x, y]) - self._low) * self._scale), 0, self._side - 1).astype(int)
        return int(col), int(row)

    def _ranks_near(self, bounds: Bounds) -> NDArray[np.int64]:
        """The points of all cells that a view touches."""
        x0, x1, y0, y1 = bounds
        col0, row0 = self._cell_of(x0, y0)
        col1, row1 = self._cell_of(x1, y1)
        first = np.arange(row0, row1 + 1) * self._side
        return _joined(self._starts[first + col0], self._starts[first + col1 + 1])

    def _ranks_of(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        return _joined(self._starts[cells], self._starts[cells + 1])

    def _crossed(self, polygon: Floats) -> NDArray[np.bool_]:
        """Which cells (rows, cols) the line of a polygon touches."""
        marks = np.zeros((self._side, self._side), bool)
        corners = (polygon - self._low) * self._scale
        for (xa, ya), (xb, yb) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            low, high = min(ya, yb) - _ROUNDING, max(ya, yb) + _ROUNDING
            rows = np.arange(max(0, int(np.floor(low))), min(self._side - 1, int(np.floor(high))) + 1)
            # Points at the upper ends lie in the last cells.
            if low <= self._side <= high:
                rows = np.union1d(rows, [self._side - 1])
            for row in rows.tolist():
                ends = np.clip([row - _ROUNDING, row + 1 + _ROUNDING], min(ya, yb), max(ya, yb))
                across = np.array([xa, xb]) if ya == yb else xa + (ends - ya) * ((xb - xa) / (yb - ya))
                left, right = np.floor([across.min() - _ROUNDING, across.max() + _ROUNDING])
                marks[row, int(max(0, min(left, self._side - 1))) : int(max(0, min(right, self._side - 1))) + 1] = True
        return marks


def inside_polygon(points: Floats, polygon: Floats) -> NDArray[np.bool_]:
    """Whether points (m, 2) are in a polygon (k, 2), by the even-odd rule.

    A ray to the right crosses an edge that spans a point's y, its lower end included.
    """
    order = np.argsort(points[:, 1], kind="stable")
    x, y = points[order, 0], points[order, 1]
    inside = np.zeros(len(points), bool)
    for (xa, ya), (xb, yb) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        first, last = np.searchsorted(y, [min(ya, yb), max(ya, yb)])
        if first < last:
            part = slice(first, last)
            inside[part] ^= x[part] < xa + (y[part] - ya) * ((xb - xa) / (yb - ya))
    found = np.empty_like(inside)
    found[order] = inside
    return found


@dataclass(frozen=True, eq=False)
class Raster:
    """What a view of very many points shows.

    Attributes
    ----------
    rgba : numpy.ndarray, uint8 (rows, cols, 4)
    items : numpy.ndarray, int32 (rows, cols)
        One of the items in each pixel, a selected one if there is one; -1 where there is none.
    most : int
        Number of items in the fullest pixel.
    """

    rgba: NDArray[np.uint8]
    items: NDArray[np.int32]
    most: int


def rasterize(
    grid: PointGrid,
    bounds: Bounds,
    shape: tuple[int, int],
    coloring: Coloring,
    selected: NDArray[np.bool_] | None = None,
    dim: float = 1.0,
) -> Raster:
    """Draw points as an image: the mean of their colors, and their number as opacity.

    Parameters
    ----------
    grid : PointGrid
    bounds : tuple of float
        (x0, x1, y0, y1) of the view.
    shape : tuple of int
        Rows and columns.
    coloring : Coloring
        Of all items.
    selected : numpy.ndarray, bool (n,), optional
        A pixel with any of these shows them alone; the others are dimmed.
    dim : float
        Factor of the opacity of pixels without a selected item.

    Returns
    -------
    Raster

    Notes
    -----
    Colors are averaged in linear light, as the eye does with points that are too small to tell apart. Opacity grows
    with the logarithm of the number of items.
    """
    ranks, pixels = grid.pixels(bounds, shape)
    order = grid.order[ranks]
    size = shape[0] * shape[1]
    items = np.full(size, -1, np.int32)
    items[pixels] = order
    counts = np.bincount(pixels, minlength=size)
    most = int(counts.max(initial=0))
    codes = coloring.codes[order]
    opacity = np.where(counts > 0, _FAINTEST + (1 - _FAINTEST) * _log_fraction(counts, most), 0.0)
    if selected is None:
        light = _mean_light(pixels, codes, coloring.linear, counts)
    else:
        chosen = selected[order]
        own, own_codes = pixels[chosen], codes[chosen]
        items[own] = order[chosen]
        own_counts = np.bincount(own, minlength=size)
        has_own = own_counts > 0
        light = np.where(
            has_own[:, None],
            _mean_light(own, own_codes, coloring.linear, own_counts),
            _mean_light(pixels, codes, coloring.linear, counts),
        )
        shown = _FAINTEST + (1 - _FAINTEST) * _log_fraction(own_counts, most)
        opacity = np.where(has_own, shown, dim * opacity)
    rgba = np.concatenate([_encoded(light), opacity[:, None]], axis=1)
    return Raster((rgba * 255).round().astype(np.uint8).reshape(*shape, 4), items.reshape(shape), most)


def _mean_light(
    pixels: NDArray[np.int64], codes: NDArray[np.int64], linear: Floats, counts: NDArray[np.int64]
) -> Floats:
    """The mean color of every pixel in linear light, (size, 3)."""
    number = np.maximum(counts, 1)
    sums = [np.bincount(pixels, channel[codes], len(counts)) / number for channel in np.ascontiguousarray(linear.T)]
    return np.stack(sums, axis=1)


def _encoded(light: Floats) -> Floats:
    """Linear light as sRGB (IEC 61966-2-1), both in [0, 1]."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def _log_fraction(counts: NDArray[np.int64], most: int) -> Floats:
    """The logarithms of counts, from 0 for one item to 1 for the most."""
    if most <= 1:
        return np.zeros(len(counts))
    return np.asarray(np.log(np.maximum(counts, 1)) / np.log(most))


def _joined(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The whole numbers of several ranges, one range after the other."""
    lengths = ends - starts
    total = int(lengths.sum())
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(total)
