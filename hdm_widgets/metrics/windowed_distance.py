"""Hausdorff distances of masks that differ from one base mask inside a window only.

The pixel that is farthest is either extra (in the mask, outside the reference) or missed (in the reference, outside
the mask). For the base, both kinds are sorted by distance once. A window then adds pixels and removes pixels:

- An added pixel is a new extra one, or brings missed ones nearer.
- A removed pixel is no longer an extra one, and leaves behind the reference pixels that it served, those it was nearest
  to. Only they need a new search, and mostly not even they: another pixel that stays is near enough.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from hdm_widgets.metrics.distance import ReferenceMask, _masks, _outline, _points

__all__ = ["WindowedDistance"]

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]
Distances = NDArray[np.float64]

_FEW = 64  # points that are cheaper to measure at once than to sample first
_TILE = 6  # px; a sample has one point of every square of this side
_MARGIN = 32  # px around points in which their nearest pixels are looked for first
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
        mask, truth = _masks(base, reference.mask)
        self._reference, self._base = reference, mask.copy()
        # Changes are lists of flat indices, so what is looked up for them is flat too.
        self._before, self._truth, self._squared = self._base.ravel(), truth.ravel(), reference._squared.ravel()
        self._count = int(np.count_nonzero(mask))
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
        flips = np.flatnonzero(inside != self._base[place])
        if not len(flips):
            return self.base_distance
        if self._one_is_empty:
            return self._reference.distance(self._changed(place, inside))
        width, stride = inside.shape[1], self._base.shape[1]
        flips += flips // width * (stride - width) + (row * stride + col)
        if self._budget[flips].min() > len(flips):
            return self.base_distance
        before = self._before[flips]
        removed, added = flips[before], flips[~before]
        if len(removed) == self._count and not len(added):
            return self._reference.distance(self._changed(place, inside))
        # From here on the distance only rises, and what cannot raise it is not looked at.
        distance = max(self._farthest_extra(removed), math.sqrt(self._squared[added].max(initial=0)))
        distance = self._farthest_missed(added, distance)
        if distance >= self.base_distance:
            removed = removed[self._budget[removed] <= len(removed)]
        removed = removed[self._reach[removed] >= 0]
        return self._farthest_left(removed, self._changed(place, inside), distance) if len(removed) else distance

    def distances(self, rows: Iterable[int], cols: Iterable[int], windows: Iterable[Mask]) -> Distances:
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
        nearest = ndimage.distance_transform_edt(~self._base, return_distances=False, return_indices=True)
        missed = _points(self._reference.mask & ~self._base)
        servers = nearest[:, missed[:, 0], missed[:, 1]].T
        squared = ((missed - servers) ** 2).sum(axis=1)
        order = np.argsort(-squared, kind="stable")
        self._missed, self._missed_points = np.sqrt(squared[order]), missed[order]
        server = servers[order] @ (self._base.shape[1], 1)
        self._by_server = np.argsort(server, kind="stable")
        self._servers = server[self._by_server]
        # Distance of the farthest pixel that a base pixel serves, -1 if it serves none; a hit serves itself.
        self._reach = np.where(self._before & self._truth, 0.0, -1.0)
        np.maximum.at(self._reach, server, self._missed)

    def _budgets(self) -> NDArray[np.int32]:
        """For each pixel: if it changes with fewer others than this, its change has no effect on the distance.

        What a removed pixel served is within its reach. So no more than the base's distance away from what stays
        if one pixel stays within the difference of the two; the square inside that circle holds so many of them.
        """
        height, width = self._base.shape
        budget = np.full(self._before.size, _UNLIMITED, np.int32)
        serving = np.flatnonzero(self._reach >= 0)
        rows, cols = np.divmod(serving, width)
        half = ((self.base_distance - self._reach[serving]) / math.sqrt(2)).astype(np.intp)
        top, bottom = np.maximum(rows - half, 0), np.minimum(rows + half + 1, height)
        left, right = np.maximum(cols - half, 0), np.minimum(cols + half + 1, width)
        total = np.pad(self._base.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32), ((1, 0), (1, 0)))
        budget[serving] = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        squared = round(self.base_distance**2)
        budget[~self._before & (self._squared > squared)] = 0
        # One pixel that is as far as the base's distance stays so unless it goes, if extra, or one comes nearer.
        if self._extra[0] == self.base_distance:
            budget[self._rank == 0] = 0
        else:
            row, col = self._missed_points[0]
            near = (np.arange(height)[:, None] - row) ** 2 + (np.arange(width) - col) ** 2 < squared
            budget[~self._before & near.ravel()] = 0
        return budget

    def _place(self, row: int, col: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
        picture = self._base.shape
        if len(shape) != 2 or not (0 <= row <= picture[0] - shape[0] and 0 <= col <= picture[1] - shape[1]):
            raise ValueError(f"a window of shape {shape} at ({row}, {col}) does not fit into a picture of {picture}")
        return slice(row, row + shape[0]), slice(col, col + shape[1])

    def _changed(self, place: tuple[slice, slice], inside: Mask) -> Mask:
        mask = self._base.copy()
        mask[place] = inside
        return mask

    def _coordinates(self, flat: Indices) -> Indices:
        rows = flat // self._base.shape[1]
        return np.stack([rows, flat - rows * self._base.shape[1]], axis=1)

    def _farthest_extra(self, removed: Indices) -> float:
        """Distance of the farthest extra pixel that is not removed: the first rank that is free."""
        ranks = self._rank[removed]
        gone = np.zeros(len(removed) + 1, np.bool_)
        gone[ranks[ranks < len(removed)]] = True
        return float(self._extra[gone.argmin()])

    def _farthest_missed(self, added: Indices, floor: float) -> float:
        """The larger of `floor` and the distance of the farthest missed pixel, were nothing removed."""
        if not len(self._missed) or self._missed[0] <= floor:
            return floor
        if not len(added):
            return float(self._missed[0])
        to_added = _nearest(self._missed_points, self._coordinates(added))

        def now(which: Indices) -> Distances:
            distances: Distances = np.minimum(self._missed[which], to_added(which))
            return distances

        # Mostly the first few settle it: one of them stays farther than all that follow have ever been.
        floor = _largest(self._missed_points[:_FEW], now, floor)
        farther = bisect_left(self._missed, -floor, key=lambda distance: -distance)
        return _largest(self._missed_points[:farther], now, floor) if farther > _FEW else floor

    def _farthest_left(self, removed: Indices, mask: Mask, floor: float) -> float:
        """The larger of `floor` and the largest distance to the new mask from what removed pixels served."""
        # As in `_budgets`, one pixel of the mask in the square around a removed one is enough: eight are tried.
        half = np.maximum((floor - self._reach[removed]) / math.sqrt(2), 0).astype(np.intp)
        rows, cols = self._coordinates(removed).T
        rows = np.clip(rows + _DOWN * half, 0, mask.shape[0] - 1)
        cols = np.clip(cols + _RIGHT * half, 0, mask.shape[1] - 1)
        removed = removed[~mask[rows, cols].any(axis=0)]
        # Each server's pixels are one run of `_by_server`; the runs are put one after another.
        starts, stops = np.searchsorted(self._servers, removed), np.searchsorted(self._servers, removed, side="right")
        runs = np.repeat(stops - np.cumsum(stops - starts), stops - starts)
        missed = self._missed_points[self._by_server[runs + np.arange(len(runs))]]
        left = np.concatenate([self._coordinates(removed[self._truth[removed]]), missed])
        left = left[~mask[left[:, 0], left[:, 1]]]
        return _farthest_from(mask, left, floor) if len(left) else floor


def _farthest_from(mask: Mask, points: Indices, floor: float) -> float:
    """The larger of `floor` and the largest distance of points (n, 2) outside a mask to the mask."""
    margin = math.ceil(floor) + _MARGIN
    while True:
        start, stop = np.maximum(points.min(axis=0) - margin, 0), points.max(axis=0) + margin + 1
        outline = _points(_outline(mask[start[0] : stop[0], start[1] : stop[1]]))
        farthest = _largest(points, _nearest(points, outline + start), floor)  # infinite if the box has no such pixel
        # What lies outside the box is farther away than the margin.
        if farthest <= max(margin, floor):
            return farthest
        margin = math.ceil(min(farthest, 4 * margin))


def _nearest(points: Indices, goals: Indices) -> Callable[[Indices], Distances]:
    """A function that gives the distances of points (n, 2), given their indices, to the nearest of goals (m, 2)."""
    tree = cKDTree(goals, balanced_tree=False, compact_nodes=False)

    def distances(which: Indices) -> Distances:
        found: Distances = tree.query(points[which])[0]
        return found

    return distances


def _largest(points: Indices, distances: Callable[[Indices], Distances], floor: float) -> float:
    """The larger of `floor` and the largest of the distances of points (n, 2), given their indices.

    Distances to the nearest goal differ by at most the way between two points: one of a tile bounds the others.
    """
    rest = np.arange(len(points))
    if len(points) > _FEW:
        rows, cols = (points // _TILE).T
        tiles = rows * (cols.max() + 1) + cols
        sample = np.full(tiles.max() + 1, -1)
        sample[tiles] = rest
        used = np.flatnonzero(sample >= 0)
        bounds = np.zeros(len(sample))
        bounds[used] = distances(sample[used])
        floor = max(floor, float(bounds.max()))
        rest = rest[bounds[tiles] + (_TILE - 1) * math.sqrt(2) > floor]
    return max(floor, float(distances(rest).max(initial=0)))
