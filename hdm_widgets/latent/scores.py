"""How well every item's mask is predicted, from counts of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Overlaps"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Overlaps:
    """Counts of pixels for every item, and the scores that follow from them.

    Attributes
    ----------
    hits, misses, false_alarms : numpy.ndarray, int64 (n,)
        Pixels in truth and prediction, in the truth alone, in the prediction alone.
    iou_empty : float
        IoU and Dice where truth and prediction are both empty.
    """

    hits: NDArray[np.int64]
    misses: NDArray[np.int64]
    false_alarms: NDArray[np.int64]
    iou_empty: float = 0.0

    @property
    def iou(self) -> Floats:
        """Intersection over union."""
        return _ratio(self.hits, self.hits + self.misses + self.false_alarms, self.iou_empty)

    @property
    def dice(self) -> Floats:
        """Dice coefficient."""
        return _ratio(2 * self.hits, 2 * self.hits + self.misses + self.false_alarms, self.iou_empty)

    @property
    def precision(self) -> Floats:
        """Share of the prediction that is right; NaN where nothing is predicted."""
        return _ratio(self.hits, self.hits + self.false_alarms, np.nan)

    @property
    def recall(self) -> Floats:
        """Share of the truth that is found; NaN where there is nothing to find."""
        return _ratio(self.hits, self.hits + self.misses, np.nan)

    @property
    def truth_area(self) -> NDArray[np.int64]:
        """Pixels of the true mask."""
        return self.hits + self.misses

    @property
    def predicted_area(self) -> NDArray[np.int64]:
        """Pixels of the predicted mask."""
        return self.hits + self.false_alarms

    def columns(self) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        """All of them by name; areas are in pixels."""
        return {
            "iou": self.iou,
            "dice": self.dice,
            "precision": self.precision,
            "recall": self.recall,
            "truth_area": self.truth_area,
            "predicted_area": self.predicted_area,
            "false_positive_area": self.false_alarms,
            "false_negative_area": self.misses,
        }


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64], empty: float) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1), empty)
