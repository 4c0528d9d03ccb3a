"""How well every item's mask is predicted, from counts of pixels; and what groups of items have in common."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._wording import quantity
from hdm_widgets.latent.columns_on_demand import ColumnsOnDemand

__all__ = ["Overlaps", "Statistics", "former_name"]

Floats = NDArray[np.float64]


def former_name(old: str, new: str) -> Any:
    """A property for the former name of an attribute: it warns, and gives what the new name does."""

    def get(self: object) -> Any:
        warnings.warn(f"{type(self).__name__}.{old} is called {new} now", DeprecationWarning, stacklevel=2)
        return getattr(self, new)

    return property(get, doc=f"Deprecated name of `{new}`.")


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Counts of pixels for every item, and the scores that follow from them.

    Attributes
    ----------
    tp, fn, fp : numpy.ndarray, int64 (n,)
        True positive, false negative and false positive pixels.
    iou_empty : float
        IoU and Dice where truth and prediction are both empty.
    """

    tp: NDArray[np.int64]
    fn: NDArray[np.int64]
    fp: NDArray[np.int64]
    iou_empty: float = 0.0

    hits = former_name("hits", "tp")
    misses = former_name("misses", "fn")
    false_alarms = former_name("false_alarms", "fp")

    @property
    def iou(self) -> Floats:
        """Intersection over union."""
        return _ratio(self.tp, self.tp + self.fn + self.fp, self.iou_empty)

    @property
    def dice(self) -> Floats:
        """Dice coefficient."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fn + self.fp, self.iou_empty)

    @property
    def precision(self) -> Floats:
        """Fraction of the predicted pixels that are true; NaN where nothing is predicted."""
        return _ratio(self.tp, self.tp + self.fp, np.nan)

    @property
    def recall(self) -> Floats:
        """Fraction of the true pixels that are predicted; NaN where the truth is empty."""
        return _ratio(self.tp, self.tp + self.fn, np.nan)

    @property
    def truth_area(self) -> NDArray[np.int64]:
        """Pixels of the true mask."""
        return self.tp + self.fn

    @property
    def predicted_area(self) -> NDArray[np.int64]:
        """Pixels of the predicted mask."""
        return self.tp + self.fp

    def columns(self) -> ColumnsOnDemand:
        """All scores and areas by name; areas are in pixels."""
        return ColumnsOnDemand(
            {
                "iou": lambda: self.iou,
                "dice": lambda: self.dice,
                "precision": lambda: self.precision,
                "recall": lambda: self.recall,
                "truth_area": lambda: self.truth_area,
                "predicted_area": lambda: self.predicted_area,
                "false_positive_area": lambda: self.fp,
                "false_negative_area": lambda: self.fn,
            }
        )


@dataclass(frozen=True)
class Statistics:
    """A group of items, a selection or a cluster, in numbers.

    Attributes
    ----------
    count : int
        Number of items.
    mean_iou, median_iou : float
        Over the items that have an IoU; NaN if none has.
    empty_truths : float
        Fraction of the items whose truth is empty; NaN of no items.
    """

    count: int
    mean_iou: float
    median_iou: float
    empty_truths: float

    @classmethod
    def from_items(cls, iou: Floats, truth_area: NDArray[np.int64]) -> Statistics:
        """Of items with this IoU (n,), NaN for none, and this area of the truth (n,)."""
        finite = iou[np.isfinite(iou)]
        return cls(
            count=len(iou),
            mean_iou=float(finite.mean()) if len(finite) else math.nan,
            median_iou=float(np.median(finite)) if len(finite) else math.nan,
            empty_truths=float((truth_area == 0).mean()) if len(iou) else math.nan,
        )

    def __str__(self) -> str:
        return f"{quantity(self.count, 'item')}, mean IoU {self.mean_iou:.2f}, median {self.median_iou:.2f}"


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64], empty: float) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1), empty)
