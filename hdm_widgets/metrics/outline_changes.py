"""Which pixels windows remove from the outline of one mask and add to it, for many windows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.metrics.masks import Indices, Mask, outline

__all__ = ["ChangedOutline", "OutlineChanges"]

# The outline changes by at most one pixel around a window, and depends on one pixel more.
_AROUND = 2


@dataclass(frozen=True, eq=False)
class OutlineChanges:
    """Pixels that masks remove from the outline of the prediction and add to it.

    Attributes
    ----------
    count : int
        Number of masks.
    removed_by, added_by : numpy.ndarray, int (n,), (m,)
        Number of the mask, in ascending order.
    removed, added : numpy.ndarray, int (n,), (m,)
        Flat indices of pixels.
    """

    count: int
    removed_by: Indices
    removed: Indices
    added_by: Indices
    added: Indices

    @property
    def removed_counts(self) -> Indices:
        """Number of removed pixels of each mask."""
        return np.bincount(self.removed_by, minlength=self.count)

    @property
    def added_counts(self) -> Indices:
        """Number of added pixels of each mask."""
        return np.bincount(self.added_by, minlength=self.count)

    def without(self, masks: NDArray[np.bool_]) -> OutlineChanges:
        """No changes for the masks that are True, bool (`count`,)."""
        if not masks.any():
            return self
        removed, added = ~masks[self.removed_by], ~masks[self.added_by]
        return OutlineChanges(
            self.count, self.removed_by[removed], self.removed[removed], self.added_by[added], self.added[added]
        )


class ChangedOutline:
    """The outline of a mask (H, W), and how windows change it.

    Parameters
    ----------
    mask : numpy.ndarray, bool (H, W)

    Attributes
    ----------
    outline : numpy.ndarray, bool (H, W)
    """

    def __init__(self, mask: Mask) -> None:
        self.outline = outline(mask)
        self._flat = self.outline.ravel()
        # To the right so much that a strip of the widest window fits everywhere.
        margins = (_AROUND, _AROUND), (_AROUND, mask.shape[1] + _AROUND)
        # 1 in the mask, 3 on its outline.
        self._both = np.pad(mask + 2 * self.outline.astype(np.uint8), margins)

    @staticmethod
    def size(height: int, width: int) -> int:
        """Pixels that a window takes beside others that are at most so wide."""
        return (height + 2 * _AROUND) * (width + 2 * _AROUND)

    def changes(self, corners: Indices, windows: Sequence[Mask]) -> OutlineChanges:
        """The changes by n windows (h, w), whose upper left pixels are given as (row, col), (n, 2)."""
        heights = np.array([len(window) for window in windows]) + 2 * _AROUND
        width = max(window.shape[1] for window in windows) + 2 * _AROUND
        ends = np.cumsum(heights)
        starts = ends - heights
        # The windows one below the other, with the pixels around them, and where the outline was.
        both = np.empty((ends[-1], width), np.uint8)
        tops, lefts = corners.T
        for top, left, start, end in zip(*(values.tolist() for values in (tops, lefts, starts, ends)), strict=True):
            both[start:end] = self._both[top : top + end - start, left : left + width]
        differs = (both >> 1).view(np.bool_)
        both &= 1
        strips = both.view(np.bool_)
        for window, start, end in zip(windows, starts.tolist(), ends.tolist(), strict=True):
            strips[start + _AROUND : end - _AROUND, _AROUND : _AROUND + window.shape[1]] = window
        # As `masks.outline`, of all strips as one line of pixels, which is faster.
        line = strips.ravel()
        inner = line[: -2 * width] & line[2 * width :]
        inner &= line[width - 1 : -width - 1]
        inner &= line[width + 1 : len(line) - width + 1]
        differs.ravel()[width:-width] ^= np.greater(line[width:-width], inner, out=inner)
        # At the border of a strip, the neighbors are pixels of another.
        differs[starts] = differs[ends - 1] = False
        differs[:, 0] = differs[:, -1] = False
        places = np.flatnonzero(differs)
        rows = places // width
        # The flat index of the first pixel of each row, which may be outside the image.
        first = np.arange(ends[-1]) + np.repeat(tops - starts - _AROUND, heights)
        first = first * self.outline.shape[1] + np.repeat(lefts - _AROUND, heights)
        pixels = places - rows * width + first[rows]
        masks = np.repeat(np.arange(len(windows)), heights)[rows]
        removed = self._flat[pixels]
        added = ~removed
        return OutlineChanges(len(windows), masks[removed], pixels[removed], masks[added], pixels[added])
