"""Overlap and area of masks that differ from one prediction inside a window only.

All these measures follow from four counts of pixels, and a window changes the counts by what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdm_widgets._masks import read_mask, without
from hdm_widgets._validation import check_choice
from hdm_widgets.metrics.distance import ReferenceMask
from hdm_widgets.metrics.masks import Mask, as_mask, check_same_shape, window_region

__all__ = ["OverlapName", "WindowedOverlap"]

OverlapName = Literal["iou", "dice", "area", "flipped"]


class WindowedOverlap:
    """Overlap with the truth, area or changed pixels of masks that differ from one prediction inside a window only.

    Parameters
    ----------
    name : {"iou", "dice", "area", "flipped"}
        1 less the intersection over union; 1 less the Dice coefficient; area of the mask less that of the truth; area
        in which the mask differs from `unoccluded`. The first two are 0 for two empty masks.
    truth : ReferenceMask
        Areas are in pixels, or in squares of the unit of its spacing.
    predicted : array_like (H, W)
        Nonzero = segment. A copy is kept.
    unoccluded : array_like (H, W), optional
        What "flipped" compares with; `predicted` by default.

    Raises
    ------
    ValueError
        If the masks differ in shape.

    Examples
    --------
    >>> overlap = WindowedOverlap("iou", ReferenceMask([[1, 1, 0, 0]]), [[1, 0, 0, 0]])
    >>> overlap.base_distance
    0.5
    >>> overlap.distance(0, 1, [[1]])
    0.0
    """

    def __init__(
        self, name: OverlapName, truth: ReferenceMask, predicted: ArrayLike, unoccluded: ArrayLike | None = None
    ) -> None:
        check_choice("name", name, OverlapName)
        self._counts = None if truth.ignored is None else ~truth.ignored
        self._predicted = without(as_mask(predicted).mask, truth.ignored).copy()
        # What a pixel of the mask is compared with.
        compared = truth.mask
        if name == "flipped":
            compared = self._predicted if unoccluded is None else without(as_mask(unoccluded).mask, truth.ignored)
        check_same_shape(self._predicted, truth.mask)
        check_same_shape(self._predicted, compared)
        self._compared = compared.copy()
        self._value = _VALUES[name]
        self._unit = 1.0 if name in ("iou", "dice") else float(np.prod(truth.spacing))
        self._area, self._common = _count(self._predicted), _count(self._predicted & compared)
        self._compared_area = _count(compared)

    @property
    def base_distance(self) -> float:
        """The measure of the prediction itself: the baseline."""
        return self._value(self._area, self._common, self._compared_area) * self._unit

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

        Raises
        ------
        ValueError
            If the window does not fit.
        """
        inside = window if isinstance(window, np.ndarray) and window.dtype == bool else read_mask(window).mask
        region = window_region(row, col, inside.shape, self._predicted.shape)
        if self._counts is not None:
            inside = inside & self._counts[region]
        before, compared = self._predicted[region], self._compared[region]
        area = self._area + _count(inside) - _count(before)
        common = self._common + _count(inside & compared) - _count(before & compared)
        return self._value(area, common, self._compared_area) * self._unit

    def distances(self, rows: Iterable[int], cols: Iterable[int], windows: Iterable[Mask]) -> NDArray[np.float64]:
        """The measure (n,) of the prediction with each of n windows (h, w) in turn; see `distance`."""
        each = zip(rows, cols, windows, strict=True)
        return np.array([self.distance(row, col, window) for row, col, window in each], dtype=np.float64)


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))


def _iou(area: int, common: int, compared: int) -> float:
    union = area + compared - common
    return 1 - common / union if union else 0.0


def _dice(area: int, common: int, compared: int) -> float:
    return 1 - 2 * common / (area + compared) if area + compared else 0.0


# Of a mask's area, the area that it has in common with what it is compared with, and the latter's own area.
_VALUES: dict[str, Callable[[int, int, int], float]] = {
    "iou": _iou,
    "dice": _dice,
    "area": lambda area, _common, compared: float(area - compared),
    "flipped": lambda area, common, compared: float(area + compared - 2 * common),
}
