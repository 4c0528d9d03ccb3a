"""Expected IoU of new data: what `LatentSpace.estimate` returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from hdm_widgets.latent.data_columns import merge_columns
from hdm_widgets.latent.estimator import Estimate, Estimator
from hdm_widgets.latent.labeling import doubts, first_to_label
from hdm_widgets.latent.observations import Observations
from hdm_widgets.latent.shift import Shift

if TYPE_CHECKING:
    import pandas

__all__ = ["Estimates"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Estimates:
    """Expected IoU of new items, with intervals, and whether they are like the data of the map.

    Attributes
    ----------
    iou : numpy.ndarray, float64 (n,)
        Expected IoU of every item.
    low, high : numpy.ndarray, float64 (n,)
        Interval that covers the IoU of an item with probability `coverage`, as long as the items are like those of the
        map; 0 and 1 where nothing is known.
    distance : numpy.ndarray, float64 (n,)
        Distance to the nearest items of the map, in principal components or in confidences, whichever is larger. 95 %
        of the map's own items are below 1 in each.
    reliable : numpy.ndarray, bool (n,)
        Whether estimate and interval of an item can be relied on: the distance is at most 1.5, the interval is finite,
        and the estimator is better than the mean of the data.
    mean, mean_low, mean_high : float
        Expected mean IoU of all items with its interval.
    shift : Shift
        Whether the items are like those of the map.
    coverage : float
        Of the intervals.
    skill : str
        One line on how well the estimator does on items that it was not fitted to.
    confidences : dict of str to numpy.ndarray, float64 (n,)
        The model's confidence in each prediction, as in the map's `collection_.confidences`.
    embedding : numpy.ndarray, float64 (n, n_components)
        Coordinates on the map.
    columns : dict of str to numpy.ndarray
        `item`, the index in the new data, and the new data's own columns.
    skilled : bool
        Whether the estimator is better than the mean of the data.
    observed : Observations or None
        What the pass over the new data has found: predictions and thumbnails, too. The explorer shows these.
    """

    iou: Floats
    low: Floats
    high: Floats
    distance: Floats
    reliable: NDArray[np.bool_]
    mean: float
    mean_low: float
    mean_high: float
    shift: Shift
    coverage: float
    skill: str
    confidences: dict[str, Floats] = field(default_factory=dict)
    embedding: Floats = field(default_factory=lambda: np.empty((0, 2)))
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    skilled: bool = True
    observed: Observations | None = None

    def __len__(self) -> int:
        return len(self.iou)

    @classmethod
    def from_parts(
        cls, estimator: Estimator, estimate: Estimate, shift: Shift, coverage: float, **others: Any
    ) -> Estimates:
        """Put together what was found about every item.

        Parameters
        ----------
        estimator : Estimator
        estimate : Estimate
        shift : Shift
        coverage : float
        **others
            `confidences`, `embedding`, `columns` and `observed`.

        Returns
        -------
        Estimates
        """
        mean, low, high = mean_interval(estimate, coverage, estimator.count, together=shift.shifted)
        return cls(
            iou=estimate.iou,
            low=estimate.low,
            high=estimate.high,
            distance=estimate.distance,
            reliable=estimate.reliable,
            mean=mean,
            mean_low=low,
            mean_high=high,
            shift=shift,
            coverage=coverage,
            skill=estimator.text,
            skilled=estimator.skilled,
            **others,
        )

    @property
    def doubt(self) -> Floats:
        """How doubtful each prediction is, float64 (n,), 0 to 1: low IoU, wide interval; above 0.5 if not reliable."""
        return doubts(self.low, self.high, self.reliable)

    def to_label(self, count: int = 20) -> NDArray[np.int64]:
        """Items to label first: the most doubtful ones, spread over the map.

        Parameters
        ----------
        count : int
            How many; all where there are fewer.

        Returns
        -------
        numpy.ndarray, int64 (min(count, n),)
            Positions, in the order of their choice; `columns["item"]` has their indices in the new data.

        Notes
        -----
        Farthest-point sampling among the 4 x `count` items with the largest `doubt`, by their coordinates: always the
        item with the largest product of its doubt and its distance to those that are chosen.
        """
        return first_to_label(self.doubt, self.embedding[:, :2], count)

    @property
    def text(self) -> str:
        """The findings in words, one a line."""
        unreliable = int((~self.reliable).sum())
        told = "all of them reliable" if not unreliable else f"{unreliable} of them not reliable"
        lines = [
            f"{len(self)} items: expected mean IoU {self.mean:.2f} ({self.coverage:.0%} interval "
            f"{self.mean_low:.2f} to {self.mean_high:.2f}), {told}",
            self.shift.text,
        ]
        if self.shift.shifted:
            lines.append(
                "for unlike data the intervals promise less than they say: label some of the items, the ones that are "
                "not reliable first"
            )
        return "\n".join([*lines, self.skill])

    def __repr__(self) -> str:
        like = "unlike" if self.shift.shifted else "not known to be unlike"
        return (
            f"Estimates({len(self)} items, mean IoU {self.mean:.2f} [{self.mean_low:.2f}, {self.mean_high:.2f}], "
            f"{int(self.reliable.sum())} reliable, {like} the data of the map)"
        )

    def __str__(self) -> str:
        return self.text

    def table(self) -> dict[str, NDArray[Any]]:
        """All columns of all items.

        Returns
        -------
        dict of str to numpy.ndarray (n,)
            `iou`, `low`, `high`, `distance`, `reliable`, coordinates, confidences, and the columns of the new data; one
            that has the name of another gets `data_` before it.
        """
        own: dict[str, NDArray[Any]] = {
            name: getattr(self, name) for name in ("iou", "low", "high", "distance", "reliable")
        }
        own |= {f"pc{i + 1}": self.embedding[:, i] for i in range(self.embedding.shape[1]) if len(self.embedding)}
        return merge_columns(own | self.confidences, self.columns)

    def frame(self) -> pandas.DataFrame:
        """`table` as a DataFrame.

        Returns
        -------
        pandas.DataFrame
            One row per item.
        """
        import pandas

        return pandas.DataFrame(self.table(), index=pandas.RangeIndex(len(self), name="index"))


def mean_interval(estimate: Estimate, coverage: float, count: int, *, together: bool) -> tuple[float, float, float]:
    """Mean of the expected IoU, and an interval of this coverage for the mean of the true one.

    Errors of items like those of the map cancel, but for what the estimator learned wrongly from its `count` items.
    Errors of unlike items may all have one sign (`together`): their mean is as uncertain as a single item is.
    """
    if not len(estimate.iou):
        return math.nan, math.nan, math.nan
    mean = float(estimate.iou.mean())
    if not np.isfinite(estimate.deviation).all():
        return mean, 0.0, 1.0
    common = float(estimate.deviation.mean())
    single = float(np.sqrt((estimate.deviation**2).sum())) / len(estimate.iou)
    error = math.hypot(single, common if together else common / math.sqrt(max(count, 1)))
    half = float(norm.ppf(0.5 + coverage / 2)) * error
    return mean, max(0.0, mean - half), min(1.0, mean + half)
