"""Groups of items whose activations are alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from hdm_widgets._validation import brief, check_choice, check_whole, is_whole
from hdm_widgets.latent.batches import row_batches
from hdm_widgets.latent.density import dbscan
from hdm_widgets.latent.lloyd import lloyd, squares_from
from hdm_widgets.latent.scores import Statistics
from hdm_widgets.latent.surface import rounded

__all__ = ["Cluster", "Clustering", "Method", "best", "check_request", "compare", "describe", "fit_clusters", "kmeans"]

Method = Literal["kmeans", "dbscan"]
Floats = NDArray[np.float64]

# A silhouette compares every pair: of more items than this, a random sample is measured.
_SILHOUETTE_SAMPLE = 2000
# A medoid compares every pair of its cluster: of more members than this, only those nearest to the mean are tried.
_MEDOID_SAMPLE = 2000
_REPRESENTATIVES = 5
_KMEANS_COUNTS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14)
_DBSCAN_SAMPLES = (5, 10)
_DBSCAN_QUANTILES = (0.5, 0.7, 0.85, 0.95)
_INITS = 4
# DBSCAN looks at every item's neighbors, which in a dense map are most items: above this only KMeans is tried.
_DBSCAN_MOST = 10_000
# Points nearer to each other than this fraction of the data's extent count as one: KMeans computes squared distances
# from squared lengths, which leaves half of the digits.
_SAME_POINT = 1e-7
# Of more items than this, KMeans groups a random sample first, and all items move its centers batch by batch.
_MANY = 50_000
_FIRST_SAMPLE = 20_000
# Silhouettes and distances that differ by less than this, or this fraction, are a tie: the first wins.
_TIE = 1e-6


@dataclass(frozen=True, eq=False)
class Clustering:
    """A grouping of the items, and how it was found.

    Attributes
    ----------
    method : {"kmeans", "dbscan"}
    n_clusters : int
        Number of groups; for DBSCAN, found.
    eps : float or None
        DBSCAN's radius of a neighborhood.
    min_samples : int or None
        Items in a neighborhood that make its center a core point of DBSCAN.
    noise : float
        Fraction of the items in no group.
    silhouette : float
        Mean silhouette coefficient of all items (of a random 2000 of more), in [-1, 1]; items in no group count as 0.
        NaN with a single group.
    sampled : bool
        Whether the silhouette is that of a sample.
    labels : numpy.ndarray, int64 (n,)
        Group of every item, the largest is 0; -1 for none. Read-only.
    from_sample : bool
        Whether KMeans sought its first centers among a random 20,000 items, as it does of more than 50,000. All items
        move them from there.
    """

    method: Method
    n_clusters: int
    eps: float | None
    min_samples: int | None
    noise: float
    silhouette: float
    sampled: bool
    labels: NDArray[np.int64]
    from_sample: bool = False

    def row(self) -> dict[str, Any]:
        """All but the labels, for a table."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "labels"}

    def __str__(self) -> str:
        how = "KMeans" if self.method == "kmeans" else f"DBSCAN, eps {self.eps:.3g}, min_samples {self.min_samples}"
        first = f", first centers from {_FIRST_SAMPLE:,} random items" if self.from_sample else ""
        measured = f" of {_SILHOUETTE_SAMPLE:,} random items" if self.sampled else ""
        return f"{self.n_clusters} clusters ({how}{first}), silhouette {self.silhouette:.2f}{measured}"


@dataclass(frozen=True, eq=False)
class Cluster:
    """A group of items.

    Attributes
    ----------
    label : int
    indices : numpy.ndarray, int64
        Positions of its members in the space, read-only.
    statistics : Statistics
        Their number, IoU and empty truths.
    medoid : int
        The member with the least sum of distances to all others.
    representatives : tuple of int
        The medoid and the members nearest to it.
    """

    label: int
    indices: NDArray[np.int64]
    statistics: Statistics
    medoid: int
    representatives: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of members."""
        return len(self.indices)

    @property
    def mean_iou(self) -> float:
        """Mean over the members that have an IoU; NaN if none has."""
        return self.statistics.mean_iou

    @property
    def median_iou(self) -> float:
        """Median over the members that have an IoU; NaN if none has."""
        return self.statistics.median_iou

    @property
    def empty_truths(self) -> float:
        """Fraction of the members whose truth is empty."""
        return self.statistics.empty_truths


def check_request(n_clusters: object, method: object, eps: object, min_samples: object, count: int) -> Method | None:
    """The method that is asked for, of `count` items; None for the best of a comparison."""
    if method is not None:
        method = check_choice("method", method, Method)
    if n_clusters is not None:
        if method == "dbscan":
            raise ValueError("DBSCAN finds its number of clusters; give eps and min_samples, not n_clusters")
        if not is_whole(n_clusters):
            raise ValueError(f"n_clusters must be a whole number, got {brief(n_clusters)}")
        if not 1 <= n_clusters <= count:
            raise ValueError(f"n_clusters must be 1 to {count}, the number of items, got {n_clusters}")
        method = "kmeans"
    elif method == "kmeans":
        raise ValueError("KMeans needs n_clusters; without method, the best of a comparison is taken")
    if method != "dbscan" and (eps is not None or min_samples is not None):
        raise ValueError("eps and min_samples belong to method='dbscan'")
    if method == "dbscan":
        if isinstance(eps, bool) or not isinstance(eps, (int, float, np.number)) or not 0 < eps < math.inf:
            raise ValueError(f"method='dbscan' needs eps, a distance above 0, got {brief(eps)}")
        if min_samples is not None:
            check_whole("min_samples", min_samples, 1)
    return cast("Method | None", method)


def fit_clusters(
    coordinates: Floats,
    method: Method,
    *,
    n_clusters: int | None = None,
    eps: float | None = None,
    min_samples: int | None = None,
    random_state: int = 0,
    rounding: float = 0.0,
) -> Clustering:
    """Group coordinates (n, k) by one method and measure it.

    Points that are at most `rounding` apart are one. With fewer distinct points than `n_clusters`, every point is a
    cluster. Of more than 50,000 items, KMeans begins with a random 20,000, as `lloyd` says.
    """
    from_sample = method == "kmeans" and len(coordinates) > _MANY
    if method == "kmeans":
        labels = _kmeans(coordinates, n_clusters or 1, random_state, rounding)
        eps = min_samples = None
    else:
        eps, min_samples = float(eps or 0), int(min_samples or 5)
        # A radius is often the distance of two points, which are to be neighbors whichever way rounding goes.
        labels = dbscan(coordinates, eps * (1 + _TIE) + rounding, min_samples)
    labels = _by_size(labels)
    labels.flags.writeable = False  # a map, its snapshots and selections share them
    found = int(labels.max()) + 1
    silhouette, sampled = _silhouette(coordinates, labels, random_state)
    noise = float((labels < 0).mean())
    return Clustering(method, found, eps, min_samples, noise, silhouette, sampled, labels, from_sample)


def _kmeans(coordinates: Floats, n_clusters: int, random_state: int, rounding: float) -> NDArray[np.integer[Any]]:
    """Group of every row of coordinates (n, k), int (n,); with fewer distinct points, every point is a group."""

    def of_some(some: Floats, most: int) -> NDArray[np.integer[Any]]:
        # KMeans warns of more clusters than distinct points.
        return kmeans(some, _count_distinct(some, most, rounding), random_state)

    if len(coordinates) <= _MANY:
        return of_some(coordinates, n_clusters)
    possible = _count_distinct(coordinates, n_clusters, rounding)
    sample = np.sort(np.random.default_rng(random_state).choice(len(coordinates), _FIRST_SAMPLE, replace=False))
    return lloyd(coordinates, possible, of_some, sample).labels


def kmeans(coordinates: Floats, n_clusters: int, random_state: int) -> NDArray[np.integer[Any]]:
    """Group of every row of coordinates (n, k), int (n,), the best of several starts.

    Elkan's algorithm finds what Lloyd's does. While scikit-learn runs Lloyd's, matrix products have one thread in the
    whole process, also in those parts of it that know nothing of this.
    """
    if n_clusters == 1:
        return np.zeros(len(coordinates), np.int64)
    # Starts are drawn by distances, and a last digit that differs may end in another optimum that is about as good.
    points = rounded(coordinates)
    if _count_distinct(points, n_clusters, 0.0) < n_clusters:
        points = coordinates
    model = KMeans(n_clusters, n_init=_INITS, algorithm="elkan", random_state=random_state)
    labels: NDArray[np.integer[Any]] = model.fit(points).labels_
    return labels


def compare(coordinates: Floats, *, random_state: int = 0, rounding: float = 0.0) -> Iterator[Clustering]:
    """Group coordinates (n, k) by KMeans and DBSCAN over a grid of parameters, one by one.

    Points that are at most `rounding` apart are one.

    The radii (`eps`) that DBSCAN is tried with are quantiles of the items' distance to their `min_samples`-th
    nearest, so that the grid follows the data. Above 10,000 items DBSCAN is left out: it looks at all neighbors of all.
    """
    count = len(coordinates)
    for n_clusters in _KMEANS_COUNTS:
        if n_clusters < count:
            yield fit_clusters(
                coordinates, "kmeans", n_clusters=n_clusters, random_state=random_state, rounding=rounding
            )
    if count > _DBSCAN_MOST:
        return
    tree = KDTree(coordinates)
    for min_samples in _DBSCAN_SAMPLES:
        if min_samples >= count:
            continue
        # DBSCAN counts an item among its own neighbors, as the tree does.
        radii = tree.query(coordinates, k=[min_samples])[0][:, 0]
        last = rounding
        for eps in np.quantile(radii, _DBSCAN_QUANTILES).tolist():
            if eps > last:
                last = eps * (1 + _TIE) + rounding
                yield fit_clusters(
                    coordinates,
                    "dbscan",
                    eps=eps,
                    min_samples=min_samples,
                    random_state=random_state,
                    rounding=rounding,
                )


def _count_distinct(coordinates: Floats, most: int, rounding: float) -> int:
    """Number of points more than `rounding` apart, counted up to `most` by farthest-first traversal."""
    extent = math.sqrt(float(squares_from(coordinates, coordinates.mean(axis=0)).max()))
    limit = max(_SAME_POINT * extent, rounding) ** 2
    squares = squares_from(coordinates, coordinates[0])
    for count in range(1, most):
        farthest = int(squares.argmax())
        if squares[farthest] <= limit:
            return count
        np.minimum(squares, squares_from(coordinates, coordinates[farthest]), out=squares)
    return most


def best(clusterings: Sequence[Clustering]) -> Clustering:
    """The one with the highest silhouette, of a tie the first; the first of all, if none has one."""
    highest = max((one.silhouette for one in clusterings if not math.isnan(one.silhouette)), default=-math.inf)
    return next((one for one in clusterings if one.silhouette >= highest - _TIE), clusterings[0])


def describe(
    labels: NDArray[np.int64],
    coordinates: Floats,
    iou: Floats,
    truth_area: NDArray[np.int64],
    rounding: float = 0.0,
) -> tuple[Cluster, ...]:
    """Every group by its label; items in no group are left out.

    Distances that differ by at most `rounding` are equal: then the first item comes first.
    """
    clusters = []
    for label in range(int(labels.max()) + 1):
        indices = np.flatnonzero(labels == label)
        indices.flags.writeable = False
        near = _by_centrality(coordinates, indices, rounding)
        clusters.append(
            Cluster(
                label=label,
                indices=indices,
                statistics=Statistics.from_items(iou[indices], truth_area[indices]),
                medoid=int(near[0]),
                representatives=tuple(near.tolist()),
            )
        )
    return tuple(clusters)


def _by_centrality(coordinates: Floats, members: NDArray[np.int64], rounding: float) -> NDArray[np.int64]:
    """The medoid of some items, and the members nearest to it."""
    candidates = members
    if len(members) > _MEDOID_SAMPLE:
        parts = row_batches(len(members), coordinates.shape[1])
        mean = np.sum([coordinates[members[part]].sum(axis=0) for part in parts], axis=0) / len(members)
        from_mean = squares_from(coordinates, mean, members)
        candidates = members[np.sort(np.argsort(from_mean, kind="stable")[:_MEDOID_SAMPLE])]
    some = coordinates[candidates]
    sums = cdist(some, some).sum(axis=1)
    medoid = candidates[(sums <= sums.min() * (1 + _TIE) + rounding * len(some)).argmax()]
    distances = np.sqrt(squares_from(coordinates, coordinates[medoid], members))
    unit = max(_TIE * float(distances.max()), 2 * rounding)
    ranks = np.round(distances / unit) if unit > 0 else distances
    ranks[members == medoid] = -1  # first, also among members at the same point
    return members[np.argsort(ranks, kind="stable")[:_REPRESENTATIVES]]


def _by_size(labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The same groups, the largest named 0, of several as large the one with the first item; -1 stays."""
    grouped = np.flatnonzero(labels >= 0)
    _, first, groups, sizes = np.unique(labels[grouped], return_index=True, return_inverse=True, return_counts=True)
    names = np.empty(len(sizes), np.int64)
    names[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    renamed = np.full(len(labels), -1, np.int64)
    renamed[grouped] = names[groups]
    return renamed


def _silhouette(coordinates: Floats, labels: NDArray[np.int64], random_state: int) -> tuple[float, bool]:
    grouped = np.flatnonzero(labels >= 0)
    sampled = len(grouped) > _SILHOUETTE_SAMPLE
    chosen = grouped
    if sampled:
        chosen = np.random.default_rng(random_state).choice(grouped, _SILHOUETTE_SAMPLE, replace=False)
    found = len(np.unique(labels[chosen]))
    if not 2 <= found < len(chosen):
        return math.nan, sampled
    fraction = len(grouped) / len(labels)
    return float(silhouette_score(coordinates[chosen], labels[chosen])) * fraction, sampled
