"""How far the estimates of a scan are from what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hdm_widgets._wording import quantity

__all__ = ["CONFIDENCE", "Approximation", "explained_variance", "structural_similarity"]

# With which an estimate that counts as certain equals what is measured.
CONFIDENCE = 0.999
# As in the source: a window of so many cells, and constants that keep quotients of small numbers steady.
_WINDOW = 7
_K1, _K2 = 0.01, 0.03
# Fewer cells say nothing of the others.
_FEWEST = 8


@dataclass(frozen=True)
class Approximation:
    """Error of a scan's estimates, on cells that were measured too: other cells may differ by more.

    Of masks that `HDMResult.measure` measures in another way the error is not known: all errors are NaN then.

    Attributes
    ----------
    tolerance : float
    cells : int
        How many cells were both estimated and measured; 0 where the error is not known.
    rank_correlation : float
        Spearman's, of estimated and measured distances; 1 where both are constant.
    largest_difference, mean_difference : float
        Of the distances, in their unit. Both infinite and both NaN count as equal; one alone is infinitely far.
    ssim : float
        Structural similarity of the two maps of these cells, the others left out of both.
    percentile_95 : float
        95 % of the differences are at most this.
    equal : float
        Fraction of the cells whose two distances are equal.
    certain : int
        Cells that `HDMResult.certain` names: estimates that equal what the model gives with a confidence of 0.999.
    audits, audits_failed : int
        Cells that were certain and have been measured since; and how many of these differ.
    """

    tolerance: float
    cells: int
    rank_correlation: float
    largest_difference: float
    mean_difference: float
    ssim: float
    percentile_95: float = math.nan
    equal: float = math.nan
    certain: int = 0
    audits: int = 0
    audits_failed: int = 0

    @classmethod
    def between(
        cls,
        tolerance: float,
        approximate: NDArray[np.float64],
        exact: NDArray[np.float64],
        compared: NDArray[np.bool_],
    ) -> Approximation:
        """The error of one map (rows, cols) against the other, in the compared cells."""
        from scipy import stats

        rows, cols = compared.any(1), compared.any(0)
        ours, true = approximate[compared], exact[compared]
        with np.errstate(invalid="ignore"):
            differences = np.where((ours == true) | (np.isnan(ours) & np.isnan(true)), 0.0, np.abs(ours - true))
        # One NaN is as far from a number as can be; as a rank it comes after all numbers.
        differences = np.nan_to_num(differences, nan=np.inf, posinf=np.inf)
        ours, true = (np.nan_to_num(values, nan=np.inf, posinf=np.inf) for values in (ours, true))
        constant = not len(true) or np.ptp(stats.rankdata(true)) == 0 or np.ptp(stats.rankdata(ours)) == 0
        rank = float((ours == true).all()) if constant else float(stats.spearmanr(ours, true).statistic)
        return cls(
            tolerance,
            int(compared.sum()),
            rank,
            float(differences.max(initial=0.0)),
            float(differences.mean()) if len(differences) else 0.0,
            structural_similarity(
                *(np.where(compared, values, 0.0)[np.ix_(rows, cols)] for values in (approximate, exact))
            ),
            float(np.percentile(differences, 95, method="higher")) if len(differences) else 0.0,
            float((differences == 0).mean()) if len(differences) else 1.0,
        )

    @property
    def known(self) -> bool:
        """Whether the error was measured."""
        return self.cells > 0

    def in_another_measure(self) -> Approximation:
        """What is known of the same masks in another measure: the tolerance."""
        return Approximation(self.tolerance, 0, math.nan, math.nan, math.nan, math.nan)

    def __str__(self) -> str:
        if not self.known:
            known = "in this measure" if math.isnan(self.rank_correlation) else "yet"
            return f"tolerance {self.tolerance:g}, with an error that is not known {known}"
        also = f"tolerance {self.tolerance:g}; on {quantity(self.cells, 'cell')} also measured"
        if self.cells < _FEWEST:
            return f"{also}, which are too few to tell the error of the others{self._audited()}"
        return (
            f"{also}: rank correlation {self.rank_correlation:.3f}, {100 * self.equal:.0f} % equal, difference at most "
            f"{self.largest_difference:.1f}, 95 % at most {self.percentile_95:.1f}, mean {self.mean_difference:.2f}"
            f"{self._audited()}"
        )

    def _audited(self) -> str:
        """How many estimates are certain, and what audits say of that; empty where none ever was."""
        if not (self.certain or self.audits):
            return ""
        wrong = (
            f"{self.audits_failed or 'none'} of {self.audits} audited differed" if self.audits else "none audited yet"
        )
        return f"; {self.certain or 'none'} certain (confidence {CONFIDENCE}; {wrong})"


def explained_variance(
    estimates: NDArray[np.float64], values: NDArray[np.float64], compared: NDArray[np.bool_]
) -> tuple[int, float]:
    """How many of the compared cells have two numbers, and which part of the variance the estimates explain there.

    1 if they are equal; below 0 if the mean of the values would be nearer to them.
    """
    both = compared & np.isfinite(values) & np.isfinite(estimates)
    if not both.any():
        return 0, 1.0
    squares, variance = ((values[both] - estimates[both]) ** 2).mean(), values[both].var()
    explained = 1 - squares / variance if variance else float(not squares)
    return int(both.sum()), float(explained)


def structural_similarity(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Mean structural similarity of two maps of one shape, 1 for equal ones.

    References
    ----------
    Z. Wang et al.: Image Quality Assessment: From Error Visibility to Structural Similarity. IEEE TIP 13 (4), 2004.
    Local means are over windows of 7 x 7 cells, or of the whole map if it is smaller.
    """
    finite = np.concatenate([a[np.isfinite(a)], b[np.isfinite(b)]])
    # Neither infinity nor NaN has differences: they count as one more than the largest value.
    top = float(finite.max(initial=0.0)) + (not (np.isfinite(a).all() and np.isfinite(b).all()))
    first, second = np.nan_to_num(a, nan=top, posinf=top), np.nan_to_num(b, nan=top, posinf=top)
    value_range = top - float(finite.min(initial=0.0))
    if value_range == 0:
        return 1.0
    side = min(_WINDOW, *a.shape)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        averaged: NDArray[np.float64] = ndimage.uniform_filter(values, side, mode="reflect")
        return averaged

    mean_a, mean_b = mean(first), mean(second)
    variance_a, variance_b = mean(first**2) - mean_a**2, mean(second**2) - mean_b**2
    covariance = mean(first * second) - mean_a * mean_b
    small, medium = (_K1 * value_range) ** 2, (_K2 * value_range) ** 2
    similarity = ((2 * mean_a * mean_b + small) * (2 * covariance + medium)) / (
        (mean_a**2 + mean_b**2 + small) * (variance_a + variance_b + medium)
    )
    return float(similarity.mean())
