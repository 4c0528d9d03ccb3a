"""What of a map could be chance: a noise floor from repeated scans, and how well maps agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.hdm.grid import Grid

__all__ = ["RankCorrelation", "changes", "expected_floor", "least_changes", "noise_floor", "rank_correlations"]

# Of all discs said to matter, at most this fraction is expected to be chance.
FALSE_DISCOVERY_RATE = 0.05
_RESAMPLES = 400
_CONFIDENCE = 0.95
# Ranks that are resampled at once.
_CACHED = 1 << 16


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of two maps, with an interval.

    Attributes
    ----------
    value : float
        NaN where a map is constant.
    low, high : float
        95 % interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "undefined: a map is constant"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def changes(values: NDArray[np.float64], baseline: float) -> NDArray[np.float64]:
    """How much every distance differs from the baseline; 0 where both are NaN, or equally infinite."""
    with np.errstate(invalid="ignore"):
        difference = np.asarray(values - baseline)
    difference[(values == baseline) | (np.isnan(values) & np.isnan(baseline))] = 0.0
    return difference


def least_changes(changed: NDArray[np.float64], counted: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """The smallest of some changes (n, ...) of one cell, where all are to one side.

    Parameters
    ----------
    changed : numpy.ndarray, float64 (n, ...)
    counted : numpy.ndarray, bool (n, ...), optional
        Which of them count, at least one of each cell; by default all.

    Returns
    -------
    numpy.ndarray, float64 (...)
        With its sign; 0 where not all changes are above 0, or all below. NaN counts as no change.
    """
    known = np.nan_to_num(changed, nan=0.0, posinf=np.inf, neginf=-np.inf)
    every = np.ones(known.shape, np.bool_) if counted is None else counted
    smallest, largest = known.min(0, initial=np.inf, where=every), known.max(0, initial=-np.inf, where=every)
    return np.where(smallest > 0, smallest, np.where(largest < 0, largest, 0.0))


def noise_floor(least: NDArray[np.float64], repeated: NDArray[np.float64], rate: float = FALSE_DISCOVERY_RATE) -> float:
    """The largest change that chance explains, from scans in which only the place of a disc is the same.

    Parameters
    ----------
    least : numpy.ndarray, float64 (n,)
        Of every cell, the smallest change in all scans: see `least_changes`.
    repeated : numpy.ndarray, float64 (r, n)
        Changes in repeated scans, whose fills are independent of each other.
    rate : float
        Expected fraction of chance among the cells above the floor.

    Returns
    -------
    float
        Cells whose `least` is larger, in either direction, are not explained by chance.

    Notes
    -----
    If a disc's place meant nothing, a cell's change in one repeat would be any of the map's changes in that repeat,
    independently of the other repeats. A cell then changes by `t` or more to one side in all of them with the
    probability that is the product, over the repeats, of the fraction of cells that do: the conjunction test of Friston
    et al. with ranks in place of a known distribution. The probabilities of both sides are added. Of these
    probabilities, those that Benjamini and Hochberg's procedure rejects are above the floor.

    References
    ----------
    K. J. Friston et al.: Multisubject fMRI studies and conjunction analyses. NeuroImage 10 (4), 1999.

    Y. Benjamini, Y. Hochberg: Controlling the false discovery rate. Journal of the Royal Statistical Society B 57 (1),
    1995.
    """
    size = np.abs(least)
    count = len(size)
    if not count:
        return 0.0
    known = np.nan_to_num(repeated, nan=0.0, posinf=np.inf, neginf=-np.inf)
    candidates = np.unique(np.concatenate([size, np.abs(known).ravel()]))
    candidates = candidates[candidates > 0]
    probability = _chance_of(candidates, known)
    own = np.ones(count)
    own[size > 0] = probability[np.searchsorted(candidates, size[size > 0])]
    own.sort()
    rejected = np.flatnonzero(own <= rate * np.arange(1, count + 1) / count)
    limit = own[rejected[-1]] if len(rejected) else rate / count
    explained = candidates[probability > limit]
    return float(explained.max(initial=0.0))


def expected_floor(changed: NDArray[np.float64], repeats: int) -> float:
    """The noise floor that so many repeats of a scan would give if each had the changes (n,) of this one."""
    return noise_floor(np.nan_to_num(changed, nan=0.0, posinf=np.inf, neginf=-np.inf), np.stack([changed] * repeats))


def _chance_of(sizes: NDArray[np.float64], repeated: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability, for each size, that a cell changes by that much or more to one side in all repeats (r, n)."""
    probability = np.zeros(len(sizes))
    for side in (repeated, -repeated):
        product = np.ones(len(sizes))
        for one in np.sort(side, axis=1):
            product *= 1 - np.searchsorted(one, sizes, side="left") / len(one)
        probability += product
    return np.minimum(probability, 1.0)


def rank_correlations(
    maps: Mapping[str, NDArray[np.float64]], compared: NDArray[np.bool_], grid: Grid, seed: int
) -> dict[tuple[str, str], RankCorrelation]:
    """Spearman's rank correlation of every two maps, with intervals that allow for discs that overlap.

    Parameters
    ----------
    maps : mapping of str to numpy.ndarray, float64 (rows, cols)
    compared : numpy.ndarray, bool (rows, cols)
    grid : Grid
    seed : int
        Of the resampling.

    Returns
    -------
    dict of (str, str) to RankCorrelation

    Notes
    -----
    Intervals are percentiles of a moving-block bootstrap: maps are put together of random blocks, each as large as a
    disc in cells, because cells within that distance share pixels. The ranks are those of the whole map.

    References
    ----------
    P. Hall: Resampling a coverage pattern. Stochastic Processes and their Applications 20 (2), 1985.
    """
    from scipy import stats

    names = list(maps)
    ranks = np.full((len(names), *compared.shape), np.nan)
    for index, name in enumerate(names):
        # As a rank, NaN comes after all numbers.
        ranks[index][compared] = stats.rankdata(np.nan_to_num(maps[name][compared], nan=np.inf, posinf=np.inf))
    flat = ranks.reshape(len(names), -1)
    [whole] = _correlations(flat[:, None])
    rng = np.random.default_rng(seed)
    # As many at once as stay in a processor's cache.
    step = max(1, _CACHED // flat.size)
    starts = range(0, _RESAMPLES, step)
    resampled = np.concatenate(
        [_correlations(flat[:, _blocks(grid, rng, min(step, _RESAMPLES - start))]) for start in starts]
    )
    tail = 50 * (1 - _CONFIDENCE)
    found = {}
    for second in range(len(names)):
        for first in range(second):
            drawn = resampled[:, first, second]
            drawn = drawn[~np.isnan(drawn)]
            value = float(whole[first, second])
            low, high = np.percentile(drawn, [tail, 100 - tail]) if len(drawn) else (np.nan, np.nan)
            defined = not math.isnan(value)
            found[names[first], names[second]] = RankCorrelation(
                value, float(low) if defined else math.nan, float(high) if defined else math.nan
            )
    return found


def _correlations(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's correlations (samples, maps, maps) of ranks (maps, samples, cells), without cells that are NaN.

    NaN for a constant map.
    """
    # Cells are NaN in all maps, or in none.
    unknown = np.isnan(ranks[0])
    count = unknown.shape[1] - np.count_nonzero(unknown, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        centered = ranks - (np.nansum(ranks, axis=2) / count)[:, :, None]
        centered[:, unknown] = 0.0
        products = np.einsum("asc,bsc->sab", centered, centered, optimize=True)
        deviation = np.sqrt(np.diagonal(products, axis1=1, axis2=2))
        correlation: NDArray[np.float64] = products / (deviation[:, :, None] * deviation[:, None, :])
    correlation[count < 2] = np.nan
    return np.clip(correlation, -1, 1)


def _blocks(grid: Grid, rng: np.random.Generator, samples: int) -> NDArray[np.intp]:
    """Flat indices (samples, cells) of as many cells as a grid has, in random blocks."""
    sides = [min(-(-(grid.circle_size + 1) // grid.offset), -(-count // 2)) for count in grid.shape]
    number = -(-grid.rows // sides[0]) * -(-grid.cols // sides[1])
    highest = [count - side + 1 for count, side in zip(grid.shape, sides, strict=True)]
    first = np.array([[rng.integers(0, high, number) for high in highest] for _ in range(samples)])
    rows = (first[:, 0, :, None] + np.arange(sides[0]))[:, :, :, None]
    cols = (first[:, 1, :, None] + np.arange(sides[1]))[:, :, None, :]
    return (rows * grid.cols + cols).reshape(samples, -1)
