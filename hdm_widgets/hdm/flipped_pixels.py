"""Which pixels of the mask each disc flips: what else is asked of a scan is a sum over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._bitmasks import MaskPatch, WindowBatch, bounding_box
from hdm_widgets.hdm.grid import Grid

__all__ = ["FlippedPixels", "Masks", "largest_per_object"]

# Flipped pixels that are kept; a scan with more of them reads its masks at every question.
_MOST = 1 << 26
# If fewer of the masks than this fraction have to be read for a region, only these are.
_FEW = 0.25


class Masks(Protocol):
    """The masks of the measured cells, each as a window over one mask."""

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """The mask (H, W) that all equal outside their windows."""

    @property
    def patches(self) -> dict[tuple[int, int], MaskPatch]:
        """Of every cell; cells with equal patches have equal masks."""

    def window(self, row: int, col: int) -> tuple[int, int, NDArray[np.bool_]]:
        """Where the window of a cell begins, and its pixels (h, w)."""

    def batches(self, cells: Iterable[tuple[int, int]]) -> Iterator[WindowBatch]:
        """The windows of many cells in turn, as many at a time as memory allows."""

    def mask(self, row: int, col: int) -> NDArray[np.bool_]:
        """The whole mask (H, W) of a cell."""


class FlippedPixels:
    """The pixels in which the mask of each cell differs from the mask for the image without a disc.

    Parameters
    ----------
    masks : Masks
    measured : numpy.ndarray, bool (rows, cols)
        Cells that have a mask.
    unoccluded : numpy.ndarray, bool (H, W)
        The mask for the image without a disc.
    """

    def __init__(self, masks: Masks, measured: NDArray[np.bool_], unoccluded: NDArray[np.bool_]) -> None:
        self._masks, self._unoccluded, self._measured = masks, unoccluded, measured
        # The scan's windows are over the mask for an empty disc, which mostly is the same.
        self._same = np.array_equal(masks.predicted, unoccluded)
        # A cell of each different mask, and the different mask of each cell.
        numbers: dict[MaskPatch, int] = {}
        self._cells: list[tuple[int, int]] = []
        self._number = np.full(measured.shape, -1)
        for row, col in np.argwhere(measured).tolist():
            number = numbers.setdefault(masks.patches[row, col], len(numbers))
            if number == len(self._cells):
                self._cells.append((row, col))
            self._number[row, col] = number
        self._kept: list[tuple[NDArray[np.intp], NDArray[np.int32]]] | None = None

    def sums(self, weights: NDArray[np.generic]) -> NDArray[np.float64]:
        """For every cell, the sum of the weights (H, W) of its flipped pixels; NaN where a cell has no mask.

        Returns
        -------
        numpy.ndarray, float64 (rows, cols)
        """
        box = bounding_box(weights != 0) or (0, 0, 0, 0)
        per_mask = np.zeros(len(self._cells))
        weight = weights.astype(np.float64).ravel()
        for numbers, pixels in self._chunks_in(box):
            per_mask += np.bincount(numbers, weights=weight[pixels], minlength=len(per_mask))
        return self._per_cell(per_mask)

    def counts(self, labels: NDArray[np.intp], count: int) -> NDArray[np.float64]:
        """For every cell, how many of its flipped pixels have each label.

        Parameters
        ----------
        labels : numpy.ndarray, int (H, W)
            From 0 to `count` - 1.
        count : int

        Returns
        -------
        numpy.ndarray, float64 (rows, cols, count)
            NaN where a cell has no mask.
        """
        flat = labels.ravel()
        per_mask = np.zeros((len(self._cells), count))
        for numbers, pixels in self._chunks():
            at = numbers * count + flat[pixels]
            per_mask += np.bincount(at, minlength=per_mask.size).reshape(per_mask.shape)
        return self._per_cell(per_mask)

    def _per_cell(self, per_mask: NDArray[np.float64]) -> NDArray[np.float64]:
        """What was found for each different mask (n, ...), for every cell (rows, cols, ...)."""
        found = np.full((*self._measured.shape, *per_mask.shape[1:]), np.nan)
        found[self._measured] = per_mask[self._number[self._measured]]
        return found

    def _chunks_in(self, box: tuple[int, int, int, int]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int32]]]:
        """As `_chunks`; masks without a flipped pixel in the box (row0, col0, row1, col1) may be left out.

        A region that is brushed is small: most windows lie beside it, and the first answer need not wait for them.
        """
        if self._kept is not None or not self._same:
            yield from self._chunks()
            return
        row0, col0, row1, col1 = box
        windows = self._windows
        meets = (windows[:, 0] < row1) & (windows[:, 2] > row0) & (windows[:, 1] < col1) & (windows[:, 3] > col0)
        if np.count_nonzero(meets) > _FEW * len(windows):
            yield from self._chunks()
            return
        yield from self._read(np.flatnonzero(meets).tolist())

    @cached_property
    def _windows(self) -> NDArray[np.intp]:
        """Box of each different mask's window, (n, 4)."""
        boxes = [self._masks.patches[cell].box for cell in self._cells]
        return np.array(boxes, np.intp).reshape(-1, 4)

    def _chunks(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int32]]]:
        """Flipped pixels, as flat indices, beside the numbers of the masks that they are of."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[tuple[NDArray[np.intp], NDArray[np.int32]]] | None = []
        total = 0
        for chunk in self._read(range(len(self._cells))):
            total += len(chunk[1])
            if kept is not None:
                kept = None if total > _MOST else [*kept, chunk]
            yield chunk
        self._kept = kept

    def _read(self, numbers: Sequence[int]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int32]]]:
        pixels: list[NDArray[np.int32]] = []
        first = size = 0
        for place, number in enumerate(numbers, start=1):
            pixels.append(self._of_cell(self._cells[number]))
            size += len(pixels[-1])
            if size > _MOST // 16 or place == len(numbers):
                yield np.repeat(numbers[first:place], [len(each) for each in pixels]), np.concatenate(pixels)
                pixels, first, size = [], place, 0

    def _of_cell(self, cell: tuple[int, int]) -> NDArray[np.int32]:
        if not self._same:
            return np.flatnonzero(self._masks.mask(*cell) != self._unoccluded).astype(np.int32)
        row, col, window = self._masks.window(*cell)
        height, width = window.shape
        flips = np.flatnonzero(window != self._unoccluded[row : row + height, col : col + width]).astype(np.int32)
        if len(flips):
            flips += flips // width * (self._unoccluded.shape[1] - width) + (row * self._unoccluded.shape[1] + col)
        return flips


def largest_per_object(
    values: NDArray[np.float64], grid: Grid, labels: NDArray[np.intp], count: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The largest value of all cells whose disc covers a pixel of each object, and which cell has it.

    Parameters
    ----------
    values : numpy.ndarray, float64 (rows, cols, n)
        NaN where a cell has none.
    grid : Grid
    labels : numpy.ndarray, int (H, W)
        Objects from 1 to `count`; 0 elsewhere.
    count : int

    Returns
    -------
    largest : numpy.ndarray, float64 (count, n)
        NaN for an object that no such disc covers.
    cells : numpy.ndarray, int (count, n, 2)
        (row, col) of the first cell that has it; -1 where there is none.
    """
    largest = np.full((count, values.shape[2]), np.nan)
    cells = np.full((*largest.shape, 2), -1)
    for row, col in np.ndindex(grid.shape):
        if np.isnan(values[row, col]).all():
            continue
        rows, cols, disc = grid.window(row, col)
        covered = np.unique(labels[rows, cols][disc])
        objects = covered[covered > 0] - 1
        before = largest[objects]
        larger = (values[row, col] > before) | (np.isnan(before) & ~np.isnan(values[row, col]))
        largest[objects] = np.where(larger, values[row, col], before)
        cells[objects] = np.where(larger[..., None], (row, col), cells[objects])
    return largest, cells
