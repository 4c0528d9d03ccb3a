"""Hausdorff distances to the truth of masks that differ from one prediction inside a window only.

The farthest pixel is either a false positive (in the mask, outside the truth) or a false negative (in the truth,
outside the mask). For the prediction, both kinds are sorted by distance once, and every pixel of the truth is assigned
to the nearest pixel of the prediction. A window then adds pixels to the prediction and removes others:

- An added pixel is a new false positive, or brings false negatives nearer.
- A removed pixel is no false positive any more, and pixels that were assigned to it need another nearest pixel. Only
  they need a new search, and mostly not even they: another pixel of the mask is near enough.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdm_widgets.metrics.distance import ReferenceMask
from hdm_widgets.metrics.masks import Indices, Mask, coordinates, outline
from hdm_widgets.metrics.spacing import NearestPixel, PixelSpacing
from hdm_widgets.metrics.windowed_measure import Region, WindowedMeasure, region_of

__all__ = ["WindowedDistance"]

# These values change no result, only the time; they were measured on images of 240 to 1024 px.
_MANY = 1 / 16  # fraction of the image's pixels; if more have changed, measuring the whole mask is faster
_FEW = 64  # so many pixels are searched for at once, without a sample of them first
_TILE = 6  # px; a sample has one pixel of every square with this side
_MARGIN = 32  # px around the pixels; their nearest ones are first searched for in this box

_UNLIMITED = np.iinfo(np.int32).max
_DOWN, _RIGHT = np.array([(row, col) for row in (-1, 0, 1) for col in (-1, 0, 1) if row or col]).T[:, :, None]


class WindowedDistance(WindowedMeasure):
    """Hausdorff distances to the truth of masks that differ from one prediction inside a window only.

    They equal what `ReferenceMask.distance` gives for the whole masks, empty ones included, with the spacing of the
    truth and without the pixels that it ignores. A few hundred changed pixels mostly take microseconds; a change of the
    whole image takes about as long as the whole mask does.

    Parameters
    ----------
    truth : ReferenceMask
    predicted : array_like (H, W)
        Nonzero = segment; of the truth's shape. A copy is kept.

    Raises
    ------
    ValueError
        If the two masks differ in shape.

    Examples
    --------
    >>> windowed = WindowedDistance(ReferenceMask([[1, 1, 0, 0, 0, 0]]), [[1, 1, 1, 0, 0, 0]])
    >>> windowed.base_distance
    1.0
    >>> windowed.distance(0, 3, [[0, 1, 0]])
    3.0
    """

    bounds_hold = True

    def __init__(self, truth: ReferenceMask, predicted: ArrayLike) -> None:
        super().__init__(truth, predicted)
        true, self._spacing = truth.mask, truth.scale
        # Pixels are flat indices from here on, and so are the arrays that are indexed by them.
        self._is_predicted, self._is_true = self._predicted.ravel(), true.ravel()
        self._squared = truth.squared_distances.ravel()
        self._count = int(np.count_nonzero(self._predicted))
        self._one_is_empty = not self._count or not true.any()
        if not self._one_is_empty:
            # Distances are in units of the spacing here; only what is returned is in the user's unit.
            self._sort_false_positives()
            self._sort_false_negatives()
            self._base = max(float(self._false_positive_distances[0]), float(self._false_negative_distances[0]))
            self._tolerated = self._tolerated_changes()

    @cached_property
    def base_distance(self) -> float:
        """Distance of the prediction itself: the baseline."""
        if self._one_is_empty:
            return self._truth.distance(self._predicted)
        return self._base * self._spacing.unit

    def _distance(self, region: Region, inside: Mask) -> float:
        differs = inside != self._predicted[region]
        count = int(np.count_nonzero(differs))
        if not count:
            return self.base_distance
        if self._one_is_empty or self._are_many(count):
            return self._truth.distance(self._changed(region, inside))
        changed, (inner, outer) = np.flatnonzero(differs), (inside.shape[1], self._predicted.shape[1])
        changed += changed // inner * (outer - inner) + (region[0].start * outer + region[1].start)
        if self._tolerated[changed].min() > count:
            return self.base_distance
        was_predicted = self._is_predicted[changed]
        removed, added = changed[was_predicted], changed[~was_predicted]
        if len(removed) == self._count and not len(added):
            return self._truth.distance(self._changed(region, inside))
        # A larger distance can only come from false negatives that were farther than the lower bound, and from pixels
        # that were assigned to removed ones.
        bound = self._lower_bound(removed, added)
        farther = bisect_left(self._false_negative_distances, -bound, key=lambda distance: -distance)
        bereft = self._with_assigned(removed, bound)
        if not farther and not len(bereft):
            return bound * self._spacing.unit
        mask = self._changed(region, inside)
        candidates = np.concatenate([self._false_negatives[:farther], self._assigned_to(bereft, mask, bound)])
        candidates = candidates[~mask.ravel()[candidates]]
        if self._are_many(len(candidates)):
            return self._truth.distance(mask)
        if len(candidates):
            bound = _farthest_from(mask, self._coordinates(candidates), bound, self._spacing)
        return bound * self._spacing.unit

    def _bounds(
        self, rows: Sequence[int], cols: Sequence[int], certain: Sequence[Mask], possible: Sequence[Mask]
    ) -> NDArray[np.float64]:
        of_certain, of_possible = (self._distances(rows, cols, windows) for windows in (certain, possible))
        least, greatest = np.sort([of_certain, of_possible], axis=0)
        if self._truth.mask.any():
            # More pixels bring false positives farther and false negatives nearer: the one is at least what it is for
            # the certain pixels, the other at least what it is for all the possible ones.
            for index, corner in enumerate(zip(rows, cols, strict=True)):
                farthest, of_all = (self._farthest_positive(corner, each[index]) for each in (certain, possible))
                least[index] = max(farthest, of_possible[index] if of_possible[index] > of_all else 0.0)
        return np.stack([least, greatest])

    def _farthest_positive(self, corner: tuple[int, int], window: Mask) -> float:
        """Largest distance to the truth of any pixel of the prediction with other pixels in a window."""
        mask = self._changed(region_of(*corner, window), window).ravel()
        return math.sqrt((self._squared * mask).max(initial=0)) * self._spacing.unit

    def _sort_false_positives(self) -> None:
        pixels = np.flatnonzero(self._is_predicted & ~self._is_true)
        pixels = pixels[np.argsort(-self._squared[pixels], kind="stable")]
        # The last 0 stands for no false positive at all.
        self._false_positive_distances = np.append(np.sqrt(self._squared[pixels]), 0.0)
        self._rank = np.full(self._is_predicted.size, _UNLIMITED, np.int32)
        self._rank[pixels] = np.arange(len(pixels))

    def _sort_false_negatives(self) -> None:
        pixels = np.flatnonzero(self._is_true & ~self._is_predicted)
        nearest = self._spacing.nearest(self._predicted).reshape(2, -1)[:, pixels].T
        squared = self._spacing.squared(self._coordinates(pixels) - nearest)
        order = np.argsort(-squared, kind="stable")
        self._false_negatives = pixels[order]
        self._false_negative_distances = np.append(np.sqrt(squared[order]), 0.0)
        # The nearest predicted pixels in order, and beside each the false negative that is assigned to it.
        nearest = nearest @ (self._predicted.shape[1], 1)
        order = np.argsort(nearest, kind="stable")
        self._nearest, self._assigned = nearest[order], pixels[order]
        # Distance of the farthest pixel that is assigned to a predicted pixel, -1 if none is. True positives are
        # assigned to themselves.
        self._radius = np.where(self._is_predicted & self._is_true, 0.0, -1.0)
        np.maximum.at(self._radius, nearest, np.sqrt(squared))

    def _tolerated_changes(self) -> NDArray[np.int32]:
        """For each pixel: if fewer pixels than this change, changing this one leaves the distance as it is.

        What is assigned to a removed pixel lies within that pixel's radius, and so within the baseline of any pixel of
        the mask that is no farther from the removed one than the baseline less the radius. The square inside that
        circle holds so many pixels of the prediction.

        Where the spacing is no ratio of whole numbers, distances are rounded: what is tolerated is then a change of the
        distance by rounding.
        """
        height, width = self._predicted.shape
        tolerated = np.full(self._is_predicted.size, _UNLIMITED, np.int32)
        pixels = np.flatnonzero(self._radius >= 0)
        rows, cols = np.divmod(pixels, width)
        down, across = self._half_sides(pixels, self._base)
        top, bottom = np.maximum(rows - down, 0), np.minimum(rows + down + 1, height)
        left, right = np.maximum(cols - across, 0), np.minimum(cols + across + 1, width)
        total = self._predicted.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32)
        total = np.pad(total, ((1, 0), (1, 0)))
        tolerated[pixels] = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        squared = self._square(self._base)
        tolerated[~self._is_predicted & (self._squared > squared)] = 0
        # Nor does the distance fall while one of the farthest pixels stays as it is: a false positive that is not
        # removed, or a false negative that nothing comes nearer to.
        if self._false_positive_distances[0] == self._base:
            tolerated[self._rank == 0] = 0
        else:
            row, col = divmod(self._false_negatives[0], width)
            down = ((np.arange(height)[:, None] - row) * self._spacing.row) ** 2
            near = down + ((np.arange(width) - col) * self._spacing.col) ** 2 < squared
            tolerated[~self._is_predicted & near.ravel()] = 0
        return tolerated

    def _half_sides(self, pixels: Indices, distance: float) -> tuple[Indices, Indices]:
        """Rows and columns, in pixels, that make half the sides of a square around each predicted pixel.

        Any pixel of the mask in it is within `distance` of all that is assigned to the predicted pixel.
        """
        half = np.maximum((distance - self._radius[pixels]) / math.sqrt(2), 0)
        return (half / self._spacing.row).astype(np.intp), (half / self._spacing.col).astype(np.intp)

    def _square(self, distance: float) -> float:
        """The square of a distance, exact where squares are whole numbers."""
        return float(round(distance**2)) if self._spacing.whole else distance**2

    def _lower_bound(self, removed: Indices, added: Indices) -> float:
        """Distance of the farthest false positive that is left, or of the farthest false negative if that is more."""
        # The farthest false positive that is left has the first rank that is not removed.
        ranks = self._rank[removed]
        gone = np.zeros(len(removed) + 1, np.bool_)
        gone[ranks[ranks < len(removed)]] = True
        left = float(self._false_positive_distances[gone.argmin()])
        bound = max(left, math.sqrt(self._squared[added].max(initial=0)))
        farthest = self._false_negative_distances[0]
        if farthest <= bound:
            return bound
        squared = self._spacing.squared(self._coordinates(added) - self._coordinates(self._false_negatives[:1]))
        return max(bound, math.sqrt(squared.min(initial=self._square(farthest))))

    def _with_assigned(self, removed: Indices, bound: float) -> Indices:
        """Removed pixels to which others are assigned that may now be farther than the bound."""
        if bound >= self._base:
            return removed[self._tolerated[removed] <= len(removed)]
        return removed[self._radius[removed] >= 0]

    def _assigned_to(self, removed: Indices, mask: Mask, bound: float) -> Indices:
        """Pixels assigned to removed ones, unless one of eight pixels around these is in the mask and near enough."""
        down, across = self._half_sides(removed, bound)
        rows, cols = self._coordinates(removed).T
        rows = np.clip(rows + _DOWN * down, 0, mask.shape[0] - 1)
        cols = np.clip(cols + _RIGHT * across, 0, mask.shape[1] - 1)
        removed = removed[~mask[rows, cols].any(axis=0)]
        # Each removed pixel has a run of `_assigned`; concatenate the indices of all runs.
        starts, stops = np.searchsorted(self._nearest, removed), np.searchsorted(self._nearest, removed, side="right")
        lengths = stops - starts
        runs = np.repeat(stops - np.cumsum(lengths), lengths) + np.arange(lengths.sum())
        return np.concatenate([removed[self._is_true[removed]], self._assigned[runs]])

    def _are_many(self, count: int) -> bool:
        return count > _MANY * self._predicted.size

    def _coordinates(self, pixels: Indices) -> Indices:
        rows = pixels // self._predicted.shape[1]
        return np.stack([rows, pixels - rows * self._predicted.shape[1]], axis=1)


def _farthest_from(mask: Mask, pixels: Indices, least: float, spacing: PixelSpacing) -> float:
    """Largest distance in units of the pixels (n, 2) to the mask, or `least` if that is more."""
    sample, tiles, slack = np.arange(len(pixels)), np.arange(len(pixels)), 0.0
    if len(pixels) > _FEW:
        # Distances of two pixels differ by no more than these are apart: one pixel of a tile bounds the others.
        sample, tiles = _one_of_each_tile(pixels)
        slack = (_TILE - 1) * math.hypot(spacing.row, spacing.col)
    margin = least + _MARGIN * max(spacing.row, spacing.col)
    start, stop = pixels.min(axis=0), pixels.max(axis=0) + 1
    while True:
        around = np.minimum(np.ceil(margin / spacing.sides), max(mask.shape)).astype(np.intp)
        corner, end = np.maximum(start - around, 0), stop + around
        near = coordinates(outline(mask[corner[0] : end[0], corner[1] : end[1]])) + corner
        nearest = NearestPixel(near, spacing)
        found = nearest.distances(pixels[sample])  # infinite if the box holds no pixel of the mask
        farthest = float(found.max())
        # What is outside the box is farther away than the margin.
        if farthest + slack <= max(margin, least):
            break
        margin = min(farthest + slack, 4 * margin)
    least = max(least, farthest)
    bounds = np.zeros(tiles.max() + 1)
    bounds[tiles[sample]] = found + slack
    rest = pixels[bounds[tiles] > least]
    return max(least, float(nearest.distances(rest).max())) if len(rest) else least


def _one_of_each_tile(pixels: Indices) -> tuple[Indices, Indices]:
    """Indices of one of the pixels (n, 2) in each tile, and the tile's number for every pixel."""
    rows, cols = (pixels // _TILE).T
    tiles = rows * (cols.max() + 1) + cols
    last = np.full(tiles.max() + 1, -1)
    last[tiles] = np.arange(len(pixels))
    return last[last >= 0], tiles
