"""Surface distances to the truth of masks that differ from one prediction inside a window only.

Surface distances go from the outline of each mask to the outline of the other. A window removes pixels from the
prediction's outline and adds others. Many windows are handled at once, as arrays of all pixels that they change:

- From the prediction to the truth, each pixel has its own distance, whatever the other pixels are.
- From the truth to the prediction, `NearestOutline` tells which distances are others.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdm_widgets._validation import check_choice
from hdm_widgets.metrics.changed_percentiles import ChangedLists
from hdm_widgets.metrics.distance import ReferenceMask, hausdorff_percentile, mean_surface_distance
from hdm_widgets.metrics.masks import Mask, outline
from hdm_widgets.metrics.nearest_outline import NearestOutline, Tables
from hdm_widgets.metrics.outline_changes import ChangedOutline, OutlineChanges
from hdm_widgets.metrics.windowed_measure import Region, WindowedMeasure

__all__ = ["SurfaceName", "WindowedSurface"]

SurfaceName = Literal["hausdorff95", "mean_surface"]

# If more of the image's pixels come to the outline or go, measuring the whole mask is faster.
_MANY = 1 / 16
# Windows are handled at once up to so many pixels of theirs, and so many pixels of outlines.
_PIXELS = 1 << 22
_OUTLINE_PIXELS = 1 << 23


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
        self._one_is_empty = not self._predicted.any() or not truth.mask.any()
        if not self._one_is_empty:
            self._prepare()

    def named(self, name: SurfaceName) -> WindowedSurface:
        """The same masks in another measure, or this one; what takes time to find of their outlines serves both."""
        other = copy.copy(self)
        vars(other).pop("base_distance", None)
        other._name = check_choice("name", name, SurfaceName)
        if not other._one_is_empty:
            other._count_levels()
        return other

    @cached_property
    def base_distance(self) -> float:
        """The measure of the prediction itself: the baseline."""
        if self._one_is_empty:
            return self._of_whole(self._predicted)
        none = np.empty(0, np.intp)
        return float(self._combined(OutlineChanges(1, none, none, none, none), self._from_truth.tables(1))[0])

    def _prepare(self) -> None:
        """Measure the prediction. Pixels are flat indices, and distances are in units of the spacing."""
        true_outline = outline(self._truth.mask)
        self._outline = ChangedOutline(self._predicted)
        self._from_truth = NearestOutline(true_outline, self._outline.outline, self._spacing)
        self._to_truth = self._spacing.distances_to(true_outline).ravel()
        self._length = np.count_nonzero(self._outline.outline)
        self._sum = float(self._to_truth[self._outline.outline.ravel()].sum())
        self._count_levels()

    def _count_levels(self) -> None:
        """How many pixels of both outlines have which distance, where that is asked for."""
        if self._name == "hausdorff95":
            self._levels = np.unique(self._to_truth)
            self._level = np.searchsorted(self._levels, self._to_truth)
            self._level_counts = np.bincount(self._level[self._outline.outline.ravel()], minlength=len(self._levels))
            self._true_levels, self._true_counts = np.unique(self._from_truth.distances, return_counts=True)

    def _distance(self, region: Region, inside: Mask) -> float:
        if np.array_equal(inside, self._predicted[region]):
            return self.base_distance
        return self._of_whole(self._changed(region, inside))

    def _distances(self, rows: Sequence[int], cols: Sequence[int], windows: Sequence[Mask]) -> NDArray[np.float64]:
        if self._one_is_empty:
            return super()._distances(rows, cols, windows)
        distances = np.empty(len(windows))
        corners = np.stack([rows, cols], axis=1)
        chunks = list(self._chunks(windows))
        tables = self._from_truth.tables(max(map(len, chunks), default=0))
        for some in chunks:
            chunk = [windows[number] for number in some]
            changes = self._outline.changes(corners[some], chunk)
            lost, gained = changes.removed_counts, changes.added_counts
            whole = (lost + gained > _MANY * self._predicted.size) | (lost - gained == self._length)
            distances[some] = self._combined(changes.without(whole), tables)
            for number in np.flatnonzero(whole):
                which = some[number]
                distances[which] = super()._distances([rows[which]], [cols[which]], [windows[which]])[0]
        return distances

    def _chunks(self, windows: Sequence[Mask]) -> Iterator[list[int]]:
        """Numbers of the windows that are handled at once: those of about the same width."""
        most = max(1, _OUTLINE_PIXELS // (self._length + len(self._from_truth.distances)))
        widths = np.array([window.shape[1] for window in windows])
        chunk: list[int] = []
        pixels = 0
        for number in np.argsort(-widths, kind="stable").tolist():
            # The first of a chunk is the widest.
            width = widths[chunk[0] if chunk else number]
            size = self._outline.size(len(windows[number]), width)
            if chunk and (pixels + size > _PIXELS or len(chunk) == most):
                yield chunk
                chunk, pixels = [], 0
            chunk.append(number)
            pixels += size
        if chunk:
            yield chunk

    def _of_whole(self, mask: Mask) -> float:
        empty, spacing = self._truth.empty, self._truth.spacing
        if self._name == "hausdorff95":
            return hausdorff_percentile(mask, self._truth.mask, empty=empty, spacing=spacing)
        return mean_surface_distance(mask, self._truth.mask, empty=empty, spacing=spacing)

    def _combined(self, changes: OutlineChanges, tables: Tables) -> NDArray[np.float64]:
        """The measure of every mask; none is empty."""
        other, before = self._from_truth.changed(changes, tables), self._from_truth.distances
        if self._name == "mean_surface":
            total = self._sum + before.sum()
            for masks, lengths in (
                (changes.added_by, self._to_truth[changes.added]),
                (changes.removed_by, -self._to_truth[changes.removed]),
                (other.masks, other.distances - before[other.pixels]),
            ):
                total = total + np.bincount(masks, lengths, changes.count)
            count = self._length + changes.added_counts - changes.removed_counts + len(before)
            means: NDArray[np.float64] = total / count
            return means * self._spacing.unit
        from_predicted = ChangedLists(
            self._levels, self._level_counts, changes.count, changes.removed_by, self._level[changes.removed],
            changes.added_by, self._level[changes.added],
        )  # fmt: skip
        levels = np.union1d(self._true_levels, other.distances)
        counts = np.zeros(len(levels), np.intp)
        counts[np.searchsorted(levels, self._true_levels)] = self._true_counts
        removed, added = (np.searchsorted(levels, each) for each in (before[other.pixels], other.distances))
        from_truth = ChangedLists(levels, counts, changes.count, other.masks, removed, other.masks, added)
        larger: NDArray[np.float64] = np.maximum(from_predicted.percentiles95(), from_truth.percentiles95())
        return larger * self._spacing.unit
