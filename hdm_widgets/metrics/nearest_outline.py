"""How far the truth's outline is from outlines that differ from the prediction's by a few pixels, for many at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hdm_widgets.metrics.masks import Indices, Mask, coordinates
from hdm_widgets.metrics.outline_changes import OutlineChanges
from hdm_widgets.metrics.spacing import NearestPixel, PixelSpacing, nearest_pixels

__all__ = ["NearestOutline", "OtherDistances", "Tables"]

Floats = NDArray[np.float64]

# For each pixel of the truth's outline, so many of the prediction's are remembered. What may be added is listed if it
# is as near as one of the first so many. Both change the time only.
_NEIGHBORS = 64
_LISTED = 8
_MARGIN = 24  # px around pixels; their nearest ones are first searched for in this box
# Pairs of a pixel of the truth's outline and one near it: at most so many are listed, or handled at once.
_PAIRS = 1 << 20
# Of so many pairs of pixels every distance is computed; of more, a tree finds the nearest.
_FEW_PAIRS = 1 << 14


@dataclass(frozen=True, eq=False)
class OtherDistances:
    """Distances of the truth's outline pixels that are others for some masks.

    Attributes
    ----------
    masks : numpy.ndarray, int (n,)
        Numbers of the masks.
    pixels : numpy.ndarray, int (n,)
        Which of the truth's outline pixels.
    distances : numpy.ndarray, float64 (n,)
        In units of the spacing.
    """

    masks: Indices
    pixels: Indices
    distances: Floats


@dataclass(frozen=True, eq=False)
class Tables:
    """Memory that is 0 before and after each use, so that several uses need no other.

    Attributes
    ----------
    gone : numpy.ndarray, bool (masks * pixels of the prediction's outline,)
        Whether a mask has removed a pixel.
    found : numpy.ndarray, int32 (masks * pixels of the truth's outline,)
        Where among all other distances that of a pair of a mask and a pixel is, from 1.
    """

    gone: NDArray[np.bool_]
    found: NDArray[np.int32]


class NearestOutline:
    """Distances of the truth's outline pixels to the prediction's outline, and to outlines that differ from it.

    - Only an added pixel that is nearer than the nearest one so far changes a distance. Which ones those are is listed
      in advance for each pixel of the image.
    - If the nearest pixel was removed, the next of its neighbors that is left, or an added pixel, is the nearest.

    Parameters
    ----------
    truth, predicted : numpy.ndarray, bool (H, W)
        Outlines; neither is empty.
    spacing : PixelSpacing

    Attributes
    ----------
    distances : numpy.ndarray, float64 (n,)
        Of the truth's outline pixels, in reading order, to the prediction's outline, in units of the spacing.
    """

    def __init__(self, truth: Mask, predicted: Mask, spacing: PixelSpacing) -> None:
        self._spacing, self._predicted = spacing, predicted
        self._true, outline = coordinates(truth), coordinates(predicted)
        self._count = len(outline)
        # The place of each pixel of the prediction's outline among them.
        self._place = np.zeros(predicted.size, np.intp)
        self._place[np.flatnonzero(predicted)] = np.arange(self._count)
        # The nearest of them to each pixel of the truth's outline, the nearest first.
        neighbors = nearest_pixels(outline, self._true, spacing, _NEIGHBORS)
        offsets = self._true[:, None] - outline[neighbors]
        squared = spacing.squared(offsets.reshape(-1, 2)).reshape(neighbors.shape)
        order = np.argsort(squared, axis=1, kind="stable")
        self._neighbors = np.take_along_axis(neighbors, order, axis=1)
        self._neighbor_distances = np.sqrt(np.take_along_axis(squared, order, axis=1))
        self.distances = np.ascontiguousarray(self._neighbor_distances[:, 0])
        # Nothing else of the prediction's outline is nearer than the farthest neighbor.
        complete = neighbors.shape[1] == self._count
        self._farthest = np.full(len(self._true), np.inf) if complete else self._neighbor_distances[:, -1]
        self._radius = self._neighbor_distances[:, min(_LISTED, self._neighbors.shape[1]) - 1]
        # The truth's pixels by their nearest one.
        nearest = self._neighbors[:, 0]
        self._by_nearest = np.argsort(nearest, kind="stable")
        self._served = np.bincount(nearest, minlength=self._count)
        self._first_served = np.cumsum(self._served) - self._served
        self._list_discs()

    def _list_discs(self) -> None:
        """For each pixel of the image, which of the truth's it is nearer to than their nearest or farthest neighbor."""
        row, col = self._spacing.row, self._spacing.col
        most = np.array(self._predicted.shape)
        radii = np.minimum(np.ceil(self._radius[:, None] / self._spacing.sides), most).astype(np.intp)
        boxes = (2 * radii + 1).prod(axis=1)
        order = np.argsort(boxes, kind="stable")
        listed = order[: np.searchsorted(np.cumsum(boxes[order]), _PAIRS)]
        # Their discs are so large that each mask's added pixels are compared with them.
        self._large = np.setdiff1d(np.arange(len(order)), listed)
        pairs: list[tuple[Indices, Indices, Floats]] = []
        for radius in np.unique(radii[listed], axis=0):
            members = listed[(radii[listed] == radius).all(axis=1)]
            down, across = (each.ravel() for each in np.mgrid[-radius[0] : radius[0] + 1, -radius[1] : radius[1] + 1])
            distances = np.sqrt((down * row) ** 2 + (across * col) ** 2)
            rows, cols = self._true[members, :1] + down, self._true[members, 1:] + across
            inside = distances <= self._radius[members, None]
            inside &= (rows >= 0) & (rows < most[0]) & (cols >= 0) & (cols < most[1])
            which, offset = np.nonzero(inside)
            pairs.append((rows[inside] * most[1] + cols[inside], members[which], distances[offset]))
        pixels, true, distances = (np.concatenate(each) for each in zip(*pairs, strict=True)) if pairs else _NOTHING
        near = distances < self.distances[true]
        shape = self._predicted.size, len(self._true)
        self._near, self._far = (
            sparse.csr_array((distances[some], (pixels[some], true[some])), shape=shape) for some in (near, ~near)
        )

    def tables(self, masks: int) -> Tables:
        """Memory for the changes of so many masks at a time."""
        return Tables(np.zeros(masks * self._count, np.bool_), np.zeros(masks * len(self._true), np.int32))

    def changed(self, changes: OutlineChanges, tables: Tables) -> OtherDistances:
        """The distances that are others for some masks."""
        count, gone, found = len(self._true), tables.gone, tables.found
        removed = changes.removed_by * self._count + self._place[changes.removed]
        gone[removed] = True
        masks, pixels = self._bereft(changes)
        distances = self._to_neighbors(masks, pixels, gone)
        gone[removed] = False
        # Pairs of a mask and a pixel of the truth.
        keys = masks * count + pixels
        found[keys] = np.arange(1, len(keys) + 1)
        for pairs, lengths in self._listed(self._far, changes):
            known = found[pairs] > 0
            np.minimum.at(distances, found[pairs[known]] - 1, lengths[known])
        bereft = len(keys)
        for pairs, lengths in chain(self._listed(self._near, changes), self._compared(changes, found)):
            others = pairs[found[pairs] == 0]
            found[others] = np.arange(len(others))
            others = others[found[others] == np.arange(len(others))]
            found[others] = np.arange(len(keys) + 1, len(keys) + len(others) + 1)
            keys = np.append(keys, others)
            distances = np.append(distances, self.distances[others % count])
            np.minimum.at(distances, found[pairs] - 1, lengths)
        found[keys] = 0
        masks, pixels = np.divmod(keys, count)
        self._search(masks[:bereft], pixels[:bereft], distances[:bereft], changes)
        return OtherDistances(masks, pixels, distances)

    def _bereft(self, changes: OutlineChanges) -> tuple[Indices, Indices]:
        """Masks, and pixels of the truth whose nearest one each has removed."""
        places = self._place[changes.removed]
        owner, at = _expanded(self._first_served[places], self._served[places])
        return changes.removed_by[owner], self._by_nearest[at]

    def _to_neighbors(self, masks: Indices, pixels: Indices, gone: NDArray[np.bool_]) -> Floats:
        """Distances to the nearest neighbors that are left; infinite where all are gone."""
        distances = np.full(len(masks), np.inf)
        left = np.arange(len(masks))
        # Mostly one of the next few is left.
        for some in (slice(1, 3), slice(3, 8), slice(8, 20), slice(20, None)):
            places = self._neighbors[pixels[left], some]
            stays = ~gone[masks[left, None] * self._count + places]
            if not stays.size:
                break
            which, first = stays.any(axis=1), stays.argmax(axis=1)
            found = left[which]
            distances[found] = self._neighbor_distances[pixels[found], some.start + first[which]]
            left = left[~which]
        return distances

    def _listed(self, lists: sparse.csr_array, changes: OutlineChanges) -> Iterator[tuple[Indices, Floats]]:
        """Pairs of a mask and a pixel of the truth, with the distance of an added pixel that is listed for it."""
        first, lengths = lists.indptr[changes.added], lists.indptr[changes.added + 1] - lists.indptr[changes.added]
        (some,) = np.nonzero(lengths)
        part = np.cumsum(lengths[some]) // _PAIRS
        for each in np.split(some, np.flatnonzero(np.diff(part)) + 1):
            owner, at = _expanded(first[each], lengths[each])
            yield changes.added_by[each[owner]] * len(self._true) + lists.indices[at], lists.data[at]

    def _compared(self, changes: OutlineChanges, found: NDArray[np.int32]) -> Iterator[tuple[Indices, Floats]]:
        """As `_listed` for pixels of the truth that no list has, with the distance of the nearest added pixel.

        Parameters
        ----------
        changes : OutlineChanges
        found : numpy.ndarray, int (masks * pixels,)
            Not 0 for pairs whose distance is another already.
        """
        if not len(self._large):
            return
        count, pixels, distances = len(self._true), self._true[self._large], self.distances[self._large]
        # No pixel outside this box is nearer than the nearest one so far.
        extent = distances[:, None] / self._spacing.sides
        first, last = pixels - extent, pixels + extent
        changed: list[tuple[Indices, Floats]] = []
        all_added, starts = self._added(changes)
        for mask in np.flatnonzero(changes.added_counts).tolist():
            added = all_added[starts[mask] : starts[mask + 1]]
            pairs = mask * count + self._large
            known = found[pairs] > 0
            may_change = ((first <= added.max(axis=0)) & (last >= added.min(axis=0))).all(axis=1) | known
            if may_change.any():
                lengths = _distances_to_nearest(added, pixels[may_change], self._spacing)
                nearer = known[may_change] | (lengths < distances[may_change])
                changed.append((pairs[may_change][nearer], lengths[nearer]))
        if changed:
            yield np.concatenate([pairs for pairs, _ in changed]), np.concatenate([lengths for _, lengths in changed])

    def _search(self, masks: Indices, pixels: Indices, distances: Floats, changes: OutlineChanges) -> None:
        """Correct distances that may be smaller: an added pixel outside the disc that was listed may be nearer.

        Those that are farther than all neighbors are searched for in the whole outline.
        """
        (far,) = np.nonzero(distances > self._radius[pixels])
        if not len(far):
            return
        far = far[np.argsort(masks[far], kind="stable")]
        all_added, starts = self._added(changes)
        for some in np.split(far, np.flatnonzero(np.diff(masks[far])) + 1):
            mask = int(masks[some[0]])
            added = all_added[starts[mask] : starts[mask + 1]]
            if len(added):
                nearest = _distances_to_nearest(added, self._true[pixels[some]], self._spacing)
                distances[some] = np.minimum(distances[some], nearest)
            left = some[distances[some] > self._farthest[pixels[some]]]
            if len(left):
                outline = self._predicted.copy()
                outline.ravel()[changes.removed[changes.removed_by == mask]] = False
                outline[tuple(added.T)] = True
                distances[left] = _nearest_distances(outline, self._true[pixels[left]], self._spacing)

    def _added(self, changes: OutlineChanges) -> tuple[Indices, list[int]]:
        """(row, col) of all added pixels (n, 2), and where those of each mask begin, with their number last."""
        pixels = np.stack(np.divmod(changes.added, self._predicted.shape[1]), axis=1)
        return pixels, [0, *np.cumsum(changes.added_counts).tolist()]


_NOTHING = np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)


def _expanded(first: Indices, lengths: Indices) -> tuple[Indices, Indices]:
    """Whose each index is, and the indices, of so many from each first one on."""
    owner = np.repeat(np.arange(len(first)), lengths)
    at = np.arange(len(owner)) + (first - (np.cumsum(lengths) - lengths))[owner]
    return owner, at


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
