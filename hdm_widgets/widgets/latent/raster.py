"""Very many points as an image: which are in view, what every pixel shows, and which a polygon encloses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.latent.surface import Bounds
from hdm_widgets.widgets.latent.palette import Coloring

__all__ = [
    "EDGE",
    "EDGE_OPACITY",
    "Floats",
    "GridColors",
    "PointGrid",
    "Raster",
    "add_edges",
    "inside_polygon",
    "rasterize",
]

_ITEMS_PER_CELL = 64
_MOST_CELLS = 512  # along either axis
# Points that are drawn at once: their arrays fit into the cache of a CPU.
_CHUNK = 1 << 15
# Opacity of a pixel with one item; that with the most items has 1.
_FAINTEST = 0.35
# Around a pixel with at most so many others of the eight beside it is an edge.
_FEW_BESIDE = 2
# Red, green and blue of an edge, which any ground shows, and its opacity as a multiple of that of what it is around.
EDGE, EDGE_OPACITY = 0x80, 1.6
# Cells this near to a line, as a fraction of a cell, may have points on either side of it.
_ROUNDING = 1e-6

Floats = NDArray[np.float64]
# Positions in the order of a grid.
Ranks = slice | NDArray[np.int64]


class PointGrid:
    """Points sorted by the cells of a grid, so that a view or a polygon looks only at the cells that it touches.

    Parameters
    ----------
    positions : numpy.ndarray, float64 (n, 2)
        x and y of every item, finite.

    Attributes
    ----------
    order : numpy.ndarray, int32 (n,)
        The items, cell by cell.
    """

    def __init__(self, positions: Floats) -> None:
        count = len(positions)
        self._low, self._high = positions.min(axis=0), positions.max(axis=0)
        extent = self._high - self._low
        self._side = int(np.clip(np.sqrt(count / _ITEMS_PER_CELL), 1, _MOST_CELLS))
        self._scale = self._side / np.where(extent > 0, extent, 1.0)
        cols, rows = (self._cells(positions[:, axis], axis) for axis in (0, 1))
        # Numbers of 16 bits are sorted in linear time, one axis after the other.
        by_col = np.argsort(cols, kind="stable").astype(np.int32)
        self.order: NDArray[np.int32] = by_col[np.argsort(rows[by_col], kind="stable")]
        cells = rows.astype(np.int64)
        cells *= self._side
        cells += cols
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=self._side**2))])
        self._x, self._y = (np.ascontiguousarray(positions[self.order, axis]) for axis in (0, 1))

    def __len__(self) -> int:
        return len(self.order)

    def within(self, bounds: Bounds) -> NDArray[np.int64]:
        """Which points are in (x0, x1, y0, y1), ends included: their ranks in `order`, ascending."""
        found = [ranks for part in self._parts(bounds) if len(ranks := self._ranks_within(part, bounds))]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def count_within(self, bounds: Bounds) -> int:
        """How many points are in (x0, x1, y0, y1), ends included."""
        (col0, row0), (col1, row1) = self._corner_cells(bounds)
        # Cells at the edge are looked at point by point, the others lie within.
        rows = np.arange(row0, row1 + 1)
        cells = rows[:, None] * self._side + np.arange(col0, col1 + 1)
        sizes = np.diff(self._starts)
        whole = int(sizes[cells[1:-1, 1:-1]].sum())
        edge = np.ones(cells.shape, bool)
        edge[1:-1, 1:-1] = False
        ranks = self._ranks_of(cells[edge])
        return whole + int(np.count_nonzero(_are_within(self._x[ranks], self._y[ranks], bounds)))

    def pixels(self, bounds: Bounds, shape: tuple[int, int]) -> Iterator[tuple[Ranks, NDArray[np.int64]]]:
        """The points in view and their pixels, part by part.

        Parameters
        ----------
        bounds : tuple of float
            (x0, x1, y0, y1) of the view.
        shape : tuple of int
            Rows and columns of the raster; row 0 is at y1.

        Yields
        ------
        ranks : numpy.ndarray, int64 (m,), or slice
            Ranks in `order`.
        pixels : numpy.ndarray, int64 (m,)
            row * columns + column of each; nobody else holds the array.
        """
        x0, x1, y0, y1 = bounds
        height, width = shape
        (low_x, low_y), (high_x, high_y) = self._low, self._high
        all_in_view = x0 <= low_x and high_x <= x1 and y0 <= low_y and high_y <= y1
        for part in self._parts(bounds):
            ranks = part if all_in_view else self._ranks_within(part, bounds)
            cols, rows = self._x[ranks], self._y[ranks]
            if not len(cols):
                continue
            cols = ((cols - x0) * (width / (x1 - x0))).astype(np.int64)
            rows = ((y1 - rows) * (height / (y1 - y0))).astype(np.int64)
            np.minimum(cols, width - 1, out=cols)
            np.minimum(rows, height - 1, out=rows)
            rows *= width
            rows += cols
            yield ranks, rows

    def inside(self, polygon: Floats) -> NDArray[np.int64]:
        """The items within a polygon, ascending, by the even-odd rule.

        Only cells that its line crosses are looked at point by point.

        Parameters
        ----------
        polygon : numpy.ndarray, float64 (k, 2)
            Its corners; the last is joined to the first.
        """
        cells, ranks = self._inside(polygon)
        flags = np.zeros(len(self), bool)
        flags[self.order[self._ranks_of(cells)]] = True
        flags[self.order[ranks]] = True
        return np.flatnonzero(flags)

    def count_inside(self, polygon: Floats) -> int:
        """How many items `inside` finds."""
        cells, ranks = self._inside(polygon)
        return int((self._starts[cells + 1] - self._starts[cells]).sum()) + len(ranks)

    def _inside(self, polygon: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The cells that lie within a polygon, and the ranks of the points within it in those that its line crosses."""
        if len(polygon) < 3:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        (x0, y0), (x1, y1) = polygon.min(axis=0), polygon.max(axis=0)
        col0, row0 = self._cell_of(x0, y0)
        col1, row1 = self._cell_of(x1, y1)
        crossed = self._crossed(polygon)[row0 : row1 + 1, col0 : col1 + 1]
        cols, rows = np.meshgrid(np.arange(col0, col1 + 1), np.arange(row0, row1 + 1))
        centers = self._low + (np.stack([cols, rows], axis=-1).reshape(-1, 2) + 0.5) / self._scale
        full = inside_polygon(centers, polygon).reshape(cols.shape) & ~crossed
        cells = (rows * self._side + cols).astype(np.int64)
        whole = cells[full]
        looked_at = self._ranks_of(cells[crossed])
        points = np.stack([self._x[looked_at], self._y[looked_at]], axis=1)
        return whole, looked_at[inside_polygon(points, polygon)]

    def _cells(self, values: Floats, axis: int) -> NDArray[np.uint16]:
        cells: Floats = (values - self._low[axis]) * self._scale[axis]
        return cells.clip(0, self._side - 1).astype(np.uint16)

    def _cell_of(self, x: float, y: float) -> tuple[int, int]:
        """Column and row of the cell at a position; outside, of the nearest one."""
        col, row = np.clip(np.floor((np.array([x, y]) - self._low) * self._scale), 0, self._side - 1).astype(int)
        return int(col), int(row)

    def _corner_cells(self, bounds: Bounds) -> tuple[tuple[int, int], tuple[int, int]]:
        """Column and row of the first and of the last cell that a view touches."""
        x0, x1, y0, y1 = bounds
        return self._cell_of(x0, y0), self._cell_of(x1, y1)

    def _parts(self, bounds: Bounds) -> Iterator[Ranks]:
        """The points of all cells that a view touches, as many at a time as are drawn at once."""
        (col0, row0), (col1, row1) = self._corner_cells(bounds)
        rows = np.arange(row0, row1 + 1) * self._side
        starts, ends = self._starts[rows + col0], self._starts[rows + col1 + 1]
        if col0 == 0 and col1 == self._side - 1:
            # One row of cells follows the other.
            for start in range(int(starts[0]), int(ends[-1]), _CHUNK):
                yield slice(start, min(start + _CHUNK, int(ends[-1])))
            return
        sums = np.cumsum(ends - starts)
        cuts = np.searchsorted(sums, np.arange(_CHUNK, sums[-1], _CHUNK))
        for first, last in pairwise([0, *np.unique(cuts[cuts > 0]).tolist(), len(rows)]):
            ranks = _joined(starts[first:last], ends[first:last])
            for start in range(0, len(ranks), 2 * _CHUNK):
                yield ranks[start : start + 2 * _CHUNK]

    def _ranks_within(self, part: Ranks, bounds: Bounds) -> NDArray[np.int64]:
        inside = np.flatnonzero(_are_within(self._x[part], self._y[part], bounds))
        return part[inside] if isinstance(part, np.ndarray) else inside + part.start

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


def _are_within(x: Floats, y: Floats, bounds: Bounds) -> NDArray[np.bool_]:
    x0, x1, y0, y1 = bounds
    return (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)


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
class GridColors:
    """Colors of items in the order of a grid.

    Attributes
    ----------
    codes : numpy.ndarray, int (n,)
        Position of each color in the table.
    linear : numpy.ndarray, float64 (k, 3)
        The table in linear light.
    """

    codes: NDArray[np.integer]
    linear: Floats

    @classmethod
    def from_coloring(cls, grid: PointGrid, coloring: Coloring) -> GridColors:
        """The colors of all items."""
        smallest = np.min_scalar_type(len(coloring.table))
        return cls(coloring.codes.astype(smallest)[grid.order], coloring.linear)


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
    colors: GridColors,
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
    colors : GridColors
    selected : numpy.ndarray, bool (n,), optional
        In the grid's order. A pixel with any of these shows them alone; the others are dimmed.
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
    size = shape[0] * shape[1]
    # Pixels of the items that are not selected, and behind them those of the selected ones.
    planes = 1 if selected is None else 2
    items = np.full((planes, size), -1, np.int32)
    counts, light = np.zeros((planes, size), np.int64), np.zeros((planes, 3, size))
    channels = np.ascontiguousarray(colors.linear.T)
    for ranks, pixels in grid.pixels(bounds, shape):
        # The points of a part are near each other: most pixels have none.
        first = int(pixels.min())
        span = int(pixels.max()) + 1 - first
        pixels -= first
        drawn = slice(first, first + span)
        where = pixels
        if selected is not None:
            where = selected[ranks] * np.int64(span)
            where += pixels
        own = items[:, drawn].ravel()
        own[where] = grid.order[ranks]
        items[:, drawn] = own.reshape(planes, span)
        counts[:, drawn] += np.bincount(where, minlength=planes * span).reshape(planes, span)
        codes = colors.codes[ranks]
        for position, channel in enumerate(channels):
            sums = np.bincount(where, channel[codes], planes * span)
            light[:, position, drawn] += sums.reshape(planes, span)
    total = counts.sum(axis=0)
    most = int(total.max(initial=0))
    shown, sums = total, light.sum(axis=0)
    opacity = _opacity(total, most)
    if selected is not None:
        has_own = counts[1] > 0
        shown, sums = np.where(has_own, counts[1], total), np.where(has_own, light[1], sums)
        opacity = np.where(has_own, _opacity(counts[1], most), dim * opacity)
        items[0, has_own] = items[1, has_own]
    rgba = np.concatenate([_encoded(sums / np.maximum(shown, 1)), opacity[None]]).T
    return Raster((rgba * 255).round().astype(np.uint8).reshape(*shape, 4), items[0].reshape(shape), most)


def add_edges(raster: Raster) -> None:
    """Draw an edge around the pixels that stand nearly alone, where a pale color on a pale ground would not be seen.

    It lies in the empty pixels above, below and beside each of them, which stand for the same item.

    Parameters
    ----------
    raster : Raster
        Its arrays are changed.
    """
    height, width = raster.items.shape
    drawn = np.zeros((height + 2, width + 2), bool)
    drawn[1:-1, 1:-1] = raster.items >= 0
    beside = np.zeros((height, width), np.uint8)
    for down, across in np.ndindex(3, 3):
        beside += drawn[down : down + height, across : across + width]
    rows, cols = np.nonzero(drawn[1:-1, 1:-1] & (beside - 1 <= _FEW_BESIDE))
    opacity = np.minimum(EDGE_OPACITY * raster.rgba[rows, cols, 3], 255).astype(np.uint8)
    for down, across in ((-1, 0), (0, -1), (0, 1), (1, 0)):
        at_row, at_col = rows + down, cols + across
        empty = (at_row >= 0) & (at_row < height) & (at_col >= 0) & (at_col < width)
        empty[empty] = raster.items[at_row[empty], at_col[empty]] < 0
        edge = at_row[empty], at_col[empty]
        raster.rgba[edge] = EDGE
        raster.rgba[(*edge, 3)] = opacity[empty]
        raster.items[edge] = raster.items[rows[empty], cols[empty]]


def _encoded(light: Floats) -> Floats:
    """Linear light as sRGB (IEC 61966-2-1), both in [0, 1]."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def _opacity(counts: NDArray[np.int64], most: int) -> Floats:
    return np.where(counts > 0, _FAINTEST + (1 - _FAINTEST) * _log_fraction(counts, most), 0.0)


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
