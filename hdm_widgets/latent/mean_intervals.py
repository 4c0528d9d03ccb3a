"""Intervals of mean IoUs of items whose errors may depend on each other, such as patches of one tile."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

__all__ = ["MOST_NUMBERS", "Clusters", "Dependence", "dependences", "find_clusters", "mean_interval"]

Floats = NDArray[np.float64]

# Numbers with a fraction that have more different values than this are no groups.
MOST_NUMBERS = 20


@dataclass(frozen=True)
class Dependence:
    """How much the errors of items with the same value of a column have in common.

    Attributes
    ----------
    correlation : float
        Of the errors of two such items, in [0, 1].
    count : float
        As many independent items tell as much about a mean as those that were learned from.
    """

    correlation: float
    count: float


@dataclass(frozen=True, eq=False)
class Clusters:
    """Items whose errors depend on each other.

    Attributes
    ----------
    labels : numpy.ndarray, int64 (n,)
        The cluster of every item.
    dependence : Dependence
    """

    labels: NDArray[np.int64]
    dependence: Dependence

    def at(self, rows: NDArray[np.bool_]) -> Clusters:
        """Those of some items."""
        return Clusters(self.labels[rows], self.dependence)


def dependences(columns: Mapping[str, NDArray[np.generic]], errors: Floats) -> dict[str, Dependence]:
    """For every column with groups, how much the errors of the items of a group have in common.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray (n,)
        Columns with one value for all items, with more different values than half of the items, or with many
        different fractions have no groups.
    errors : numpy.ndarray, float64 (n,)
        Each divided by its expected size; NaN for items to leave out.

    Returns
    -------
    dict of str to Dependence

    Notes
    -----
    The intraclass correlation of a one-way analysis of variance (Donner 1986), of errors around 0.
    """
    rows = np.isfinite(errors)
    found = {}
    for name, values in columns.items():
        if values.dtype.kind == "O":
            continue
        keys, labels = np.unique(values[rows], return_inverse=True)
        if 2 <= len(keys) <= rows.sum() / 2 and (values.dtype.kind != "f" or len(keys) <= MOST_NUMBERS):
            found[name] = _dependence(errors[rows], labels)
    return found


def _dependence(errors: Floats, labels: NDArray[np.int64]) -> Dependence:
    sizes = np.bincount(labels).astype(np.float64)
    sums, squares = np.bincount(labels, errors), np.bincount(labels, errors**2)
    count, groups = float(sizes.sum()), len(sizes)
    within = float((squares - sums**2 / sizes).sum()) / (count - groups)
    # Errors are expected to be 0 on average: no mean is taken off, and no degree of freedom.
    between = float((sums**2 / sizes).sum()) / groups
    paired = count / groups
    total = between + (paired - 1) * within
    correlation = min(1.0, max(0.0, (between - within) / total)) if total > 0 else 0.0
    # Kish's design effect of the mean over all items.
    return Dependence(correlation, count / (1 + (float((sizes**2).sum()) / count - 1) * correlation))


def find_clusters(
    dependences: Mapping[str, Dependence], columns: Mapping[str, NDArray[np.generic]]
) -> tuple[Clusters, ...]:
    """Clusters of new items by each of these columns that they have."""
    return tuple(
        Clusters(np.unique(columns[name], return_inverse=True)[1], dependence)
        for name, dependence in dependences.items()
        if name in columns and columns[name].dtype.kind != "O" and dependence.correlation > 0
    )


def mean_interval(
    iou: Floats,
    deviation: Floats,
    coverage: float,
    count: int,
    *,
    together: bool,
    weight: Floats | None = None,
    clusters: Iterable[Clusters] = (),
) -> tuple[float, float, float]:
    """Mean of the expected IoU, and an interval of this coverage for the mean of the true one.

    Errors of items like those of the map cancel, but for what the items of a cluster have in common, and for what the
    estimator learned wrongly from its `count` items. Of several kinds of clusters the one with the widest interval
    counts. Errors of unlike items may all have one sign (`together`): their mean is as uncertain as a single item is.
    `weight` (n,) is the probability that an item has an IoU, by default 1. The mean is that of the items with one; NaN
    without any.
    """
    weight = np.ones(len(iou)) if weight is None else weight
    total = float(weight.sum())
    if total == 0:
        return math.nan, math.nan, math.nan
    mean = float(np.average(iou, weights=weight))
    if not np.isfinite(deviation).all():
        return mean, 0.0, 1.0
    common = float(np.average(deviation, weights=weight))
    # An item counts or does not: this adds to the error.
    own = weight * deviation**2
    counting = float((weight * (1 - weight) * (iou - mean) ** 2).sum())
    variance = (float(own.sum()) + counting) / total**2 + common**2 / max(count, 1)
    for cluster in clusters:
        shared = cluster.dependence.correlation
        sums = np.bincount(cluster.labels, weight * deviation)
        single = (1 - shared) * float(own.sum()) + shared * float((sums**2).sum()) + counting
        variance = max(variance, single / total**2 + common**2 / max(cluster.dependence.count, 1))
    if together:
        variance = (float(own.sum()) + counting) / total**2 + common**2
    half = float(norm.ppf(0.5 + coverage / 2)) * math.sqrt(variance)
    return mean, max(0.0, mean - half), min(1.0, mean + half)
