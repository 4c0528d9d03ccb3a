"""What all measures have in common of masks that differ from one prediction inside a window only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdm_widgets._masks import read_mask, without
from hdm_widgets.metrics.distance import ReferenceMask
from hdm_widgets.metrics.masks import Mask, as_mask, check_same_shape

__all__ = ["Region", "WindowedMeasure", "region_of"]

Region = tuple[slice, slice]


class WindowedMeasure(ABC):
    """Measures masks that differ from one prediction inside a window only.

    Parameters
    ----------
    truth : ReferenceMask
    predicted : array_like (H, W)
        Nonzero = segment; of the truth's shape. A copy is kept.

    Raises
    ------
    ValueError
        If the two masks differ in shape.

    Attributes
    ----------
    bounds_hold : bool
        Whether `bounds` are those of all masks in between, and not of the two masks alone.
    """

    bounds_hold: ClassVar[bool] = False

    def __init__(self, truth: ReferenceMask, predicted: ArrayLike) -> None:
        given = as_mask(predicted)
        check_same_shape(given.mask, truth.mask)
        if given.ignored is not None:
            raise ValueError("the prediction has masked pixels; give them to the truth: ReferenceMask(..., ignore=...)")
        self._truth = truth
        self._predicted = without(given.mask, truth.ignored).copy()
        self._counts = None if truth.ignored is None else ~truth.ignored

    @property
    @abstractmethod
    def base_distance(self) -> float:
        """The measure of the prediction itself: the baseline."""

    def distance(self, row: int, col: int, window: ArrayLike) -> float:
        """The measure of the prediction with other pixels in a window.

        Parameters
        ----------
        row, col : int
            The window's upper left pixel.
        window : array_like (h, w)
            Nonzero = segment; it must lie inside the image.

        Returns
        -------
        float
            A length is in pixels, or in the unit of the truth's spacing.

        Raises
        ------
        ValueError
            If the window does not fit; if the mask or the truth is empty under `empty="raise"`.
        """
        return float(self.distances([row], [col], [window])[0])

    def distances(self, rows: Iterable[int], cols: Iterable[int], windows: Iterable[ArrayLike]) -> NDArray[np.float64]:
        """The measure (n,) of the prediction with each of n windows (h, w) in turn; see `distance`."""
        tops, lefts = [int(row) for row in rows], [int(col) for col in cols]
        read = [self._read(*each) for each in zip(tops, lefts, windows, strict=True)]
        return self._distances(tops, lefts, read)

    def bounds(
        self,
        rows: Sequence[int],
        cols: Sequence[int],
        certain: Sequence[Mask],
        possible: Sequence[Mask],
    ) -> NDArray[np.float64]:
        """What the measure is at least and at most (2, n) where some pixels of a window are not known.

        Parameters
        ----------
        rows, cols : sequence of int
            Each window's upper left pixel.
        certain, possible : sequence of numpy.ndarray, bool (h, w)
            For each window, pixels that surely are in the mask, and those that may be.

        Returns
        -------
        numpy.ndarray, float64 (2, n)
            Of every mask between the two, where `bounds_hold`. The upper bound is that of one of these masks; the lower
            one may be less than that of any.
        """
        read = [
            [self._read(*each) for each in zip(rows, cols, windows, strict=True)] for windows in (certain, possible)
        ]
        return self._bounds(rows, cols, *read)

    def _bounds(
        self, rows: Sequence[int], cols: Sequence[int], certain: Sequence[Mask], possible: Sequence[Mask]
    ) -> NDArray[np.float64]:
        """As `bounds`, of windows that have no ignored pixel."""
        return np.sort([self._distances(rows, cols, windows) for windows in (certain, possible)], axis=0)

    def _read(self, row: int, col: int, window: ArrayLike) -> Mask:
        """A window without ignored pixels."""
        inside = window if isinstance(window, np.ndarray) and window.dtype == bool else read_mask(window).mask
        shape, whole = inside.shape, self._predicted.shape
        if len(shape) != 2 or not (0 <= row <= whole[0] - shape[0] and 0 <= col <= whole[1] - shape[1]):
            raise ValueError(f"a window of shape {shape} at ({row}, {col}) does not fit into an image of {whole}")
        if self._counts is None:
            return inside
        return inside & self._counts[row : row + shape[0], col : col + shape[1]]

    def _distances(self, rows: Sequence[int], cols: Sequence[int], windows: Sequence[Mask]) -> NDArray[np.float64]:
        """The measure (n,) of the prediction with each of n windows in turn, which have no ignored pixel."""
        each = zip(rows, cols, windows, strict=True)
        return np.array([self._distance(region_of(*one), one[2]) for one in each], dtype=np.float64)

    @abstractmethod
    def _distance(self, region: Region, inside: Mask) -> float:
        """The measure of the prediction with other pixels in a region, none of them ignored."""

    def _changed(self, region: Region, inside: Mask) -> Mask:
        """The prediction with other pixels in a region."""
        mask = self._predicted.copy()
        mask[region] = inside
        return mask


def region_of(row: int, col: int, window: Mask) -> Region:
    """Where a window with this upper left pixel lies."""
    return slice(row, row + window.shape[0]), slice(col, col + window.shape[1])
