"""Overlap and area of masks that differ from one prediction inside a window only.

All these measures follow from four counts of pixels, and a window changes the counts by what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdm_widgets._masks import without
from hdm_widgets._validation import check_choice
from hdm_widgets.metrics.distance import ReferenceMask
from hdm_widgets.metrics.masks import Mask, as_mask, check_same_shape
from hdm_widgets.metrics.windowed_measure import Region, WindowedMeasure, region_of

__all__ = ["OverlapName", "WindowedOverlap"]

OverlapName = Literal["iou", "dice", "area", "flipped"]


class WindowedOverlap(WindowedMeasure):
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

    bounds_hold = True

    def __init__(
        self, name: OverlapName, truth: ReferenceMask, predicted: ArrayLike, unoccluded: ArrayLike | None = None
    ) -> None:
        super().__init__(truth, predicted)
        check_choice("name", name, OverlapName)
        # What a pixel of the mask is compared with.
        compared = truth.mask
        if name == "flipped":
            compared = self._predicted if unoccluded is None else without(as_mask(unoccluded).mask, truth.ignored)
        check_same_shape(self._predicted, compared)
        self._compared = compared.copy()
        self._name, self._value = name, _VALUES[name]
        self._unit = 1.0 if name in ("iou", "dice") else float(np.prod(truth.spacing))
        self._area, self._common = _count(self._predicted), _count(self._predicted & compared)
        self._compared_area = _count(compared)

    @property
    def base_distance(self) -> float:
        """The measure of the prediction itself: the baseline."""
        return self._value(self._area, self._common, self._compared_area) * self._unit

    def _distance(self, region: Region, inside: Mask) -> float:
        before, compared = self._predicted[region], self._compared[region]
        area = self._area + _count(inside) - _count(before)
        common = self._common + _count(inside & compared) - _count(before & compared)
        return self._value(area, common, self._compared_area) * self._unit

    def _bounds(
        self, rows: Sequence[int], cols: Sequence[int], certain: Sequence[Mask], possible: Sequence[Mask]
    ) -> NDArray[np.float64]:
        extremes = certain, possible
        if self._name != "area":
            # Of the pixels that are not known, those that both masks have, or those that one of them has.
            same = [self._compared[region_of(*each)] for each in zip(rows, cols, certain, strict=True)]
            each = list(zip(certain, possible, same, strict=True))
            extremes = (
                [low | high & common for low, high, common in each],
                [low | high & ~common for low, high, common in each],
            )
        return np.stack([self._distances(rows, cols, windows) for windows in extremes])


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
