"""The 95th percentile of many lists of values that differ from one list by a few values each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.metrics.masks import Indices

__all__ = ["ChangedLists"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ChangedLists:
    """Lists of values that differ from one list by a few values each.

    Attributes
    ----------
    levels : numpy.ndarray, float64 (l,)
        All values that there are, in ascending order. Values are given as their indices here.
    counts : numpy.ndarray, int (l,)
        How often the common list has each value.
    number : int
        Number of lists.
    removed_by, added_by : numpy.ndarray, int (n,), (m,)
        Numbers of the lists.
    removed, added : numpy.ndarray, int (n,), (m,)
        Values that these lists lack, and that they have beside the others.
    """

    levels: Floats
    counts: Indices
    number: int
    removed_by: Indices
    removed: Indices
    added_by: Indices
    added: Indices

    def percentiles95(self) -> Floats:
        """As `numpy.percentile(..., 95)` of each list (`number`,); none may be empty."""
        # Values are counted in groups of neighboring levels first, then those of one group each.
        size = math.isqrt(len(self.levels) - 1) + 1
        padded = np.zeros(-(-len(self.levels) // size) * size, np.intp)
        padded[: len(self.levels)] = self.counts
        counts = padded.reshape(-1, size)
        everything = np.s_[:]
        in_groups = counts.sum(axis=1) + self._net(
            everything, self.removed // size, everything, self.added // size, len(counts)
        )
        up_to = np.cumsum(in_groups, axis=1)
        place = 0.95 * (up_to[:, -1] - 1)
        below = place.astype(np.intp)
        above = np.minimum(below + 1, up_to[:, -1] - 1)
        low, high = self._ranked((below, above), up_to, counts)
        fraction = place - below
        # NumPy interpolates from the nearer end, which rounds less.
        return np.where(fraction >= 0.5, high - (high - low) * (1 - fraction), low + (high - low) * fraction)

    def _ranked(self, ranks: Sequence[Indices], up_to: Indices, counts: Indices) -> list[Floats]:
        """The values of each list that so many others come before.

        Parameters
        ----------
        ranks : sequence of numpy.ndarray, int (`number`,)
        up_to : numpy.ndarray, int (`number`, groups)
            How many values each list has in a group or one before it.
        counts : numpy.ndarray, int (groups, size)
            How often the common list has each value.
        """
        values: list[Floats] = []
        size, last = counts.shape[1], None
        for rank in ranks:
            group = (up_to <= rank[:, None]).sum(axis=1)
            # Neighboring ranks are mostly in one group.
            if last is None or not np.array_equal(group, last):
                before = np.where(group > 0, up_to[np.arange(self.number), group - 1], 0)
                first = group * size
                removed, added = self.removed - first[self.removed_by], self.added - first[self.added_by]
                lost, gained = (np.flatnonzero((levels >= 0) & (levels < size)) for levels in (removed, added))
                in_group = counts[group] + self._net(lost, removed[lost], gained, added[gained], size)
                up_to_level = np.cumsum(in_group, axis=1)
                last = group
            values.append(self.levels[first + (up_to_level <= (rank - before)[:, None]).sum(axis=1)])
        return values

    def _net(
        self, lost: slice | Indices, removed: Indices, gained: slice | Indices, added: Indices, bins: int
    ) -> Indices:
        """How many values more each list has in each bin (`number`, bins), of some that are removed and added."""
        total = self.number * bins
        net: Indices = np.bincount(self.added_by[gained] * bins + added, minlength=total)
        net -= np.bincount(self.removed_by[lost] * bins + removed, minlength=total)
        return net.reshape(self.number, bins)
