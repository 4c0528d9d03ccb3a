"""Hausdorff distances of masks that differ from one base mask inside a window only.

The farthest pixel is either an extra one (in the mask, outside the reference) or a missed one (in the reference,
outside the mask). For the base, both kinds are sorted by distance once. A window then adds pixels and removes pixels:

- An added pixel is a new extra one, or brings missed ones nearer.
- A removed pixel is no longer an extra one, and leaves behind the reference pixels that it served: those that it was
  the nearest one of. Only they need a new search, and mostly not even they, as another pixel near enough stays.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from hdm_widgets.metrics.distance import ReferenceMask, _masks, _outline, _points

__all__ = ["WindowedDistance"]

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]

# What is faster was measured on pictures of 240 to 1024 px; the values change none of the results.
_MANY = 1 / 16  # of the picture's pixels; more of them are looked at faster by measuring the whole mask
_FEW = 64  # pixels that are searched for at once, without a sample of them first
_TILE = 6  # px; a sample has one pixel of every square of this side
_MARGIN = 32  # px around pixels in which their nearest ones are searched for first

_UNLIMITED = np.iinfo(np.int32).max
_DOWN, _RIGHT = np.array([(row, col) for row in (-1, 0, 1) for col in (-1, 0, 1) if row or col]).T[:, :, None]


class WindowedDistance:
    """Hausdorff distances to a reference of masks that differ from a base mask inside a window only.

    They equal what `ReferenceMask.distance` gives for the whole masks, empty ones included. Some hundred changed
    pixels mostly take microseconds; a change of the whole picture takes about as long as the whole mask does.

    Parameters
    ----------
    reference : ReferenceMask
    base : array_like (H, W)
        Nonzero = segment; of the reference's shape. A copy is kept.

    Raises
    ------
    ValueError
        If the base does not have the reference's shape.

    Examples
    --------
    >>> windowed = WindowedDistance(ReferenceMask([[1, 1, 0, 0, 0, 0]]), [[1, 1, 1, 0, 0, 0]])
    >>> windowed.base_distance
    1.0
    >>> windowed.distance(0, 3, [[0, 1, 0]])
    3.0
    """

    def __init__(self, reference: ReferenceMask, base: ArrayLike) -> None:
        self._reference = reference
        self._base, truth = _masks(base, reference.mask)
        # Pixels are flat indices here, so what is looked up for them is flat too.
        self._before, self._truth, self._squared = self._base.ravel(), truth.ravel(), reference._squared.ravel()
        self._count = int(np.count_nonzero(self._base))
        self._one_is_empty = not self._count or not truth.any()
        if not self._one_is_empty:
            self._sort_extra()
            self._sort_missed()
            self._budget = self._budgets()

    @cached_property
    def base_distance(self) -> float:
        """Distance of the base itself."""
        return self._reference.distance(self._base)

    def distance(self, row: int, col: int, window: ArrayLike) -> float:
        """Distance of the base with other pixels in a window.

        Parameters
        ----------
        row, col : int
            The window's upper left pixel.
        window : array_like (h, w)
            Nonzero = segment; it must lie inside the picture.

        Returns
        -------
        float
            In pixels.

        Raises
        ------
        ValueError
            If the window does not fit; if the mask or the reference is empty under `empty="raise"`.
        """
        inside = np.asarray(window, dtype=np.bool_)
        place = self._place(row, col, inside.shape)
        differs = inside != self._base[place]
        count = int(np.count_nonzero(differs))
        if not count:
            return self.base_distance
        if self._one_is_empty or self._are_many(count):
            return self._reference.distance(self._changed(place, inside))
        flips, (inner, outer) = np.flatnonzero(differs), (inside.shape[1], self._base.shape[1])
        flips += flips // inner * (outer - inner) + (row * outer + col)
        if self._budget[flips].min() > count:
            return self.base_distance
        before = self._before[flips]
        removed, added = flips[before], flips[~before]
        if len(removed) == self._count and not len(added):
            return self._reference.distance(self._changed(place, inside))
        # Only missed pixels that were farther than what is certain can still be, and those that removed ones served.
        certain = self._certain(removed, added)
        farther = bisect_left(self._missed, -certain, key=lambda distance: -distance)
        serving = self._serving(removed, certain)
        if not farther and not len(serving):
            return certain
        mask = self._changed(place, inside)
        doubtful = np.concatenate([self._missed_at[:farther], self._served(serving, mask, certain)])
        doubtful = doubtful[~mask.ravel()[doubtful]]
        if self._are_many(len(doubtful)):
            return self._reference.distance(mask)
        return _farthest_from(mask, self._coordinates(doubtful), certain) if len(doubtful) else certain

    def distances(self, rows: Iterable[int], cols: Iterable[int], windows: Iterable[Mask]) -> NDArray[np.float64]:
        """Distances (n,) of the base with each of n windows (h, w) in turn; see `distance`."""
        each = zip(rows, cols, windows, strict=True)
        return np.array([self.distance(row, col, window) for row, col, window in each], dtype=np.float64)

    def _sort_extra(self) -> None:
        extra = np.flatnonzero(self._before & ~self._truth)
        extra = extra[np.argsort(-self._squared[extra], kind="stable")]
        self._extra = np.append(np.sqrt(self._squared[extra]), 0.0)  # 0 for when none is left
        self._rank = np.full(self._before.size, _UNLIMITED, np.int32)
        self._rank[extra] = np.arange(len(extra))

    def _sort_missed(self) -> None:
        missed = np.flatnonzero(self._truth & ~self._before)
        nearest = ndimage.distance_transform_edt(~self._base, return_distances=False, return_indices=True)
        servers = nearest.reshape(2, -1)[:, missed].T
        squared = ((self._coordinates(missed) - servers) ** 2).sum(axis=1)
        order = np.argsort(-squared, kind="stable")
        self._missed_at, self._missed = missed[order], np.append(np.sqrt(squared[order]), 0.0)
        # What base pixels serve: their flat indices in order, and beside them the missed pixels.
        server = servers @ (self._base.shape[1], 1)
        order = np.argsort(server, kind="stable")
        self._servers, self._served_by = server[order], missed[order]
        # Distance of the farthest pixel that a base pixel serves, -1 if it serves none; a hit serves itself.
        self._reach = np.where(self._before & self._truth, 0.0, -1.0)
        np.maximum.at(self._reach, server, np.sqrt(squared))

    def _budgets(self) -> NDArray[np.int32]:
        """For each pixel: as long as fewer pixels than this change, a change of this one leaves the distance as it is.

        What a removed pixel served is within its reach, so at most the base's distance from any pixel that stays
        within the difference of the two. The square inside that circle holds so many pixels of the base.
        """
        height, width = self._base.shape
        budget = np.full(self._before.size, _UNLIMITED, np.int32)
        serving = np.flatnonzero(self._reach >= 0)
        rows, cols = np.divmod(serving, width)
        half = self._half(serving, self.base_distance)
        top, bottom = np.maximum(rows - half, 0), np.minimum(rows + half + 1, height)
        left, right = np.maximum(cols - half, 0), np.minimum(cols + half + 1, width)
        total = np.pad(self._base.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32), ((1, 0), (1, 0)))
        budget[serving] = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        squared = round(self.base_distance**2)
        budget[~self._before & (self._squared > squared)] = 0
        # Nor does the distance fall while one farthest pixel stays so: an extra one stays, to a missed one none comes.
        if self._extra[0] == self.base_distance:
            budget[self._rank == 0] = 0
        else:
            row, col = divmod(self._missed_at[0], width)
            near = (np.arange(height)[:, None] - row) ** 2 + (np.arange(width) - col) ** 2 < squared
            budget[~self._before & near.ravel()] = 0
        return budget

    def _half(self, serving: Indices, distance: float) -> Indices:
        """Half the side of the square in which one pixel is enough to keep all that these served within a distance."""
        return np.maximum((distance - self._reach[serving]) / math.sqrt(2), 0).astype(np.intp)

    def _certain(self, removed: Indices, added: Indices) -> float:
        """A distance that is reached: of the farthest extra pixel, or of the missed one that was farthest."""
        # The farthest extra pixel that stays has the first rank that is not removed.
        ranks = self._rank[removed]
        gone = np.zeros(len(removed) + 1, np.bool_)
        gone[ranks[ranks < len(removed)]] = True
        extra = max(float(self._extra[gone.argmin()]), math.sqrt(self._squared[added].max(initial=0)))
        if self._missed[0] <= extra:
            return extra
        apart = ((self._coordinates(added) - self._coordinates(self._missed_at[:1])) ** 2).sum(axis=1)
        return max(extra, math.sqrt(apart.min(initial=round(self._missed[0] ** 2))))

    def _serving(self, removed: Indices, certain: float) -> Indices:
        """Removed pixels that served some which can now be farther than what is certain."""
        if certain >= self.base_distance:
            return removed[self._budget[removed] <= len(removed)]
        return removed[self._reach[removed] >= 0]

    def _served(self, serving: Indices, mask: Mask, certain: float) -> Indices:
        """What these served, unless one of eight pixels around them is in the new mask and near enough."""
        half = self._half(serving, certain)
        rows, cols = self._coordinates(serving).T
        rows = np.clip(rows + _DOWN * half, 0, mask.shape[0] - 1)
        cols = np.clip(cols + _RIGHT * half, 0, mask.shape[1] - 1)
        serving = serving[~mask[rows, cols].any(axis=0)]
        # Each has a run of `_served_by`; their indices, one run after another.
        starts, stops = np.searchsorted(self._servers, serving), np.searchsorted(self._servers, serving, side="right")
        lengths = stops - starts
        runs = np.repeat(stops - np.cumsum(lengths), lengths) + np.arange(lengths.sum())
        return np.concatenate([serving[self._truth[serving]], self._served_by[runs]])

    def _place(self, row: int, col: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
        picture = self._base.shape
        if len(shape) != 2 or not (0 <= row <= picture[0] - shape[0] and 0 <= col <= picture[1] - shape[1]):
            raise ValueError(f"a window of shape {shape} at ({row}, {col}) does not fit into a picture of {picture}")
        return slice(row, row + shape[0]), slice(col, col + shape[1])

    def _are_many(self, count: int) -> bool:
        return count > _MANY * self._base.size

    def _changed(self, place: tuple[slice, slice], inside: Mask) -> Mask:
        mask = self._base.copy()
        mask[place] = inside
        return mask

    def _coordinates(self, pixels: Indices) -> Indices:
        rows = pixels // self._base.shape[1]
        return np.stack([rows, pixels - rows * self._base.shape[1]], axis=1)


def _farthest_from(mask: Mask, pixels: Indices, least: float) -> float:
    """The larger of `least` and the largest distance of a pixel (n, 2) outside the mask to its nearest one in it."""
    sample, tiles, slack = np.arange(len(pixels)), np.arange(len(pixels)), 0.0
    if len(pixels) > _FEW:
        # Neighbours' distances differ by no more than the way between them: one pixel of a tile bounds the others.
        sample, tiles = _one_of_each_tile(pixels)
        slack = (_TILE - 1) * math.sqrt(2)
    margin = math.ceil(least) + _MARGIN
    start, stop = pixels.min(axis=0), pixels.max(axis=0) + 1
    while True:
        corner, end = np.maximum(start - margin, 0), stop + margin
        outline = _points(_outline(mask[corner[0] : end[0], corner[1] : end[1]])) + corner
        tree = cKDTree(outline, balanced_tree=False, compact_nodes=False)
        found = tree.query(pixels[sample])[0]  # infinite if the box holds no pixel of the mask
        farthest = float(found.max())
        # Beyond the box, all is farther away than the margin.
        if farthest + slack <= max(margin, least):
            break
        margin = math.ceil(min(farthest + slack, 4 * margin))
    least = max(least, farthest)
    bounds = np.zeros(tiles.max() + 1)
    bounds[tiles[sample]] = found + slack
    rest = pixels[bounds[tiles] > least]
    return max(least, float(tree.query(rest)[0].max())) if len(rest) else least


def _one_of_each_tile(pixels: Indices) -> tuple[Indices, Indices]:
    """Indices of one of the pixels (n, 2) in each tile, and the tile's number for every pixel."""
    rows, cols = (pixels // _TILE).T
    tiles = rows * (cols.max() + 1) + cols
    last = np.full(tiles.max() + 1, -1)
    last[tiles] = np.arange(len(pixels))
    return last[last >= 0], tiles
