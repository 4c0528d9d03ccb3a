"""Surface distances to the truth of masks that differ from one prediction inside a window only.

Surface distances go from the outline of each mask to the outline of the other. A window removes pixels from the
prediction's outline and adds others:

- From the prediction to the truth, each pixel has its own distance, whatever the other pixels are.
- From the truth to the prediction, an added pixel may be nearer than the nearest one so far. Only pixels whose nearest
  one was removed need a new search.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdm_widgets._validation import check_choice
from hdm_widgets.metrics.distance import ReferenceMask, hausdorff_percentile, mean_surface_distance
from hdm_widgets.metrics.masks import Indices, Mask, coordinates, outline
from hdm_widgets.metrics.spacing import NearestPixel, PixelSpacing, nearest_pixels
from hdm_widgets.metrics.windowed_measure import Region, WindowedMeasure

__all__ = ["SurfaceName", "WindowedSurface"]

SurfaceName = Literal["hausdorff95", "mean_surface"]

# If more of the image's pixels have changed, measuring the whole mask is faster.
_MANY = 1 / 16
_MARGIN = 24  # px around pixels; their nearest ones are first searched for in this box
# So many of the prediction's outline pixels are remembered for each of the truth's. They change the time only.
_NEIGHBORS = 16
# Of so many pairs of pixels every distance is computed; of more, a tree finds the nearest.
_FEW_PAIRS = 1 << 14


class WindowedSurface(WindowedMeasure):
    """Surface distances to the truth of masks that differ from one prediction inside a window only.

    They equal what `hausdorff_percentile` and `mean_surface_distance` give for the whole masks, but for rounding of
    the mean.

    Parameters
    ----------
    name : {"hausdorff95", "mean_surface"}
        The larger of the two directed 95th percentiles, or the mean of the distances in both directions.
    truth : ReferenceMask
        Its spacing gives the unit; pixels that it ignores belong to no mask.
    predicted : array_like (H, W)
        Nonzero = segment. A copy is kept.

    Raises
    ------
    ValueError
        If the two masks differ in shape.

    Examples
    --------
    >>> surface = WindowedSurface("mean_surface", ReferenceMask([[1, 0, 0, 0]]), [[0, 1, 0, 0]])
    >>> surface.base_distance
    1.0
    >>> surface.distance(0, 1, [[0, 0, 1]])
    3.0
    """

    def __init__(self, name: SurfaceName, truth: ReferenceMask, predicted: ArrayLike) -> None:
        super().__init__(truth, predicted)
        self._name, self._spacing = check_choice("name", name, SurfaceName), truth.scale
        self._area = np.count_nonzero(self._predicted)
        self._one_is_empty = not self._area or not truth.mask.any()
        if not self._one_is_empty:
            self._prepare()

    @cached_property
    def base_distance(self) -> float:
        """The measure of the prediction itself: the baseline."""
        if self._one_is_empty:
            return self._of_whole(self._predicted)
        nothing, none = np.empty(0), np.empty(0, np.intp)
        return self._combined(_Change(none, nothing), _Change(none, nothing))

    def _prepare(self) -> None:
        """Measure the prediction. Pixels are flat indices, and distances are in units of the spacing."""
        true_outline, self._outline = outline(self._truth.mask), outline(self._predicted)
        self._to_truth = self._spacing.distances_to(true_outline).ravel()
        pixels = np.flatnonzero(self._outline)
        # The place of each pixel of the prediction's outline among them.
        self._place = np.zeros(self._outline.size, np.intp)
        self._place[pixels] = np.arange(len(pixels))
        self._from_predicted = _Distances(self._to_truth[pixels])
        self._true = coordinates(true_outline)
        # The nearest of them to each pixel of the truth's outline, the nearest first.
        predicted = coordinates(self._outline)
        self._neighbors = nearest_pixels(predicted, self._true, self._spacing, _NEIGHBORS)
        offsets = self._true[:, None] - predicted[self._neighbors]
        squared = self._spacing.squared(offsets.reshape(-1, 2)).reshape(self._neighbors.shape)
        self._neighbor_distances = np.sqrt(squared)
        self._nearest = np.ascontiguousarray(self._neighbors[:, 0])
        self._from_truth = _Distances(self._neighbor_distances.min(axis=1))
        # Nothing outside this box around a pixel of the truth is nearer to it than its nearest pixel.
        extent = self._from_truth.values[:, None] / self._spacing.sides
        self._first_row, self._first_col = np.ascontiguousarray((self._true - extent).T)
        self._last_row, self._last_col = np.ascontiguousarray((self._true + extent).T)

    def _distance(self, region: Region, inside: Mask) -> float:
        before = self._predicted[region]
        changed = np.count_nonzero(inside != before)
        if not changed:
            return self.base_distance
        is_empty = self._area + np.count_nonzero(inside) == np.count_nonzero(before)
        if self._one_is_empty or is_empty or changed > _MANY * self._predicted.size:
            return self._of_whole(self._changed(region, inside))
        return self._of_changed(region, inside)

    def _of_whole(self, mask: Mask) -> float:
        empty, spacing = self._truth.empty, self._truth.spacing
        if self._name == "hausdorff95":
            return hausdorff_percentile(mask, self._truth.mask, empty=empty, spacing=spacing)
        return mean_surface_distance(mask, self._truth.mask, empty=empty, spacing=spacing)

    def _of_changed(self, region: Region, inside: Mask) -> float:
        """The measure of a mask that differs from the prediction in a region."""
        width = self._predicted.shape[1]
        # The outline changes by at most one pixel around the region, and depends on one pixel more.
        rows, cols = (slice(max(part.start - 1, 0), part.stop + 1) for part in region)
        top, left = max(rows.start - 1, 0), max(cols.start - 1, 0)
        around = self._predicted[top : rows.stop + 1, left : cols.stop + 1].copy()
        around[region[0].start - top : region[0].stop - top, region[1].start - left : region[1].stop - left] = inside
        after = outline(around)[rows.start - top :, cols.start - left :]
        before = self._outline[rows, cols]
        after = after[: before.shape[0], : before.shape[1]]
        differs = coordinates(after != before) + np.array([rows.start, cols.start])
        flat = differs @ (width, 1)
        was_outline = self._outline.ravel()[flat]
        removed, added = self._place[flat[was_outline]], differs[~was_outline]
        touched, distances = self._touched(removed, added)
        if not np.isfinite(distances).all():
            # Their neighbors are all removed, and no added pixel is as near as the farthest of them.
            changed = self._outline.copy()
            changed[rows, cols] = after
            far = np.isinf(distances)
            distances[far] = _nearest_distances(changed, self._true[touched[far]], self._spacing)
        return self._combined(_Change(removed, self._to_truth[flat[~was_outline]]), _Change(touched, distances))

    def _touched(self, removed: Indices, added: Indices) -> tuple[Indices, NDArray[np.float64]]:
        """Pixels of the truth's outline that may be at another distance from the prediction's, and those distances.

        They are infinite where only a search of the whole outline can tell.

        Parameters
        ----------
        removed : numpy.ndarray, int (n,)
            Places of outline pixels of the prediction.
        added : numpy.ndarray, int (m, 2)
        """
        gone = np.zeros(len(self._from_predicted.values), np.bool_)
        gone[removed] = True
        bereft = gone[self._nearest]
        may_change = bereft
        if len(added):
            (top, left), (bottom, right) = added.min(axis=0), added.max(axis=0)
            near = (self._first_row <= bottom) & (self._last_row >= top)
            near &= (self._first_col <= right) & (self._last_col >= left)
            may_change = near | bereft
        (touched,) = np.nonzero(may_change)
        distances = self._from_truth.values[touched]
        lost = bereft[touched]
        farthest = np.full(len(touched), np.inf)
        if lost.any():
            pixels = touched[lost]
            own = self._neighbor_distances[pixels]
            distances[lost] = np.where(gone[self._neighbors[pixels]], np.inf, own).min(axis=1)
            if own.shape[1] < len(gone):
                farthest[lost] = own.max(axis=1)
        if len(added) and len(touched):
            distances = np.minimum(distances, _distances_to_nearest(added, self._true[touched], self._spacing))
        distances[distances > farthest] = np.inf
        return touched, distances

    def _combined(self, from_predicted: _Change, from_truth: _Change) -> float:
        """The measure where some distances of either direction are others."""
        both = (self._from_predicted, from_predicted), (self._from_truth, from_truth)
        if self._name == "hausdorff95":
            value = max(distances.percentile95(change) for distances, change in both)
        else:
            count = sum(distances.count(change) for distances, change in both)
            value = sum(distances.sum(change) for distances, change in both) / count
        return value * self._spacing.unit


@dataclass(frozen=True, eq=False)
class _Change:
    """Some distances are replaced by others, as many or not."""

    # Places of those that go, and those that come.
    removed: Indices
    added: NDArray[np.float64]


class _Distances:
    """Distances whose sum and percentile are known after a change of a few, in time for these few."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.values = values
        order = np.argsort(values, kind="stable")
        self._sorted = values[order]
        self._ranks = np.empty(len(values), np.intp)
        self._ranks[order] = np.arange(len(values))
        self._sum = float(values.sum())

    def count(self, change: _Change) -> int:
        return len(self.values) - len(change.removed) + len(change.added)

    def sum(self, change: _Change) -> float:
        return self._sum + float(change.added.sum() - self.values[change.removed].sum())

    def percentile95(self, change: _Change) -> float:
        """As `numpy.percentile(..., 95)`."""
        count = self.count(change)
        place = 0.95 * (count - 1)
        below = int(place)
        above = min(below + 1, count - 1)
        # A value's rank changes by at most as many as come before it, or go.
        first = max(below - len(change.added), 0)
        stop = above + len(change.removed) + 1
        ranks = self._ranks[change.removed]
        kept = self._sorted[first:stop]
        stays = np.ones(len(kept), np.bool_)
        stays[ranks[(ranks >= first) & (ranks < first + len(kept))] - first] = False
        values = np.concatenate([kept[stays], change.added])
        values.sort()
        before = first - int(np.count_nonzero(ranks < first))
        low, high, fraction = float(values[below - before]), float(values[above - before]), place - below
        # NumPy interpolates from the nearer end, which rounds less.
        return high - (high - low) * (1 - fraction) if fraction >= 0.5 else low + (high - low) * fraction


def _distances_to_nearest(pixels: Indices, others: Indices, spacing: PixelSpacing) -> NDArray[np.float64]:
    """Distances (n,) in units of other pixels (n, 2) to the nearest of some pixels (m, 2)."""
    if len(pixels) * len(others) > _FEW_PAIRS:
        return NearestPixel(pixels, spacing).distances(others)
    down = (others[:, :1] - pixels[:, 0]) * spacing.row
    across = (others[:, 1:] - pixels[:, 1]) * spacing.col
    down *= down
    across *= across
    down += across
    distances: NDArray[np.float64] = np.sqrt(down.min(axis=1))
    return distances


def _nearest_distances(mask: Mask, pixels: Indices, spacing: PixelSpacing) -> NDArray[np.float64]:
    """Distances (n,) in units of pixels (n, 2) to the nearest pixel of a mask that is not empty."""
    distances = np.full(len(pixels), np.inf)
    margin = _MARGIN * max(spacing.row, spacing.col)
    left = np.arange(len(pixels))
    while len(left):
        around = np.minimum(np.ceil(margin / spacing.sides), max(mask.shape)).astype(np.intp)
        corner = np.maximum(pixels[left].min(axis=0) - around, 0)
        end = pixels[left].max(axis=0) + around + 1
        near = coordinates(mask[corner[0] : end[0], corner[1] : end[1]]) + corner
        distances[left] = NearestPixel(near, spacing).distances(pixels[left])
        # What is outside the box is farther away than the margin.
        left = left[distances[left] > margin]
        margin *= 4
    return distances
