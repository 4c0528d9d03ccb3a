"""Groups of items that look alike to the model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from sklearn.cluster import DBSCAN, KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score

from hdm_widgets._validation import check_choice, is_whole

__all__ = ["Cluster", "Clustering", "Method", "best", "check_request", "compare", "describe", "fit_clusters"]

Method = Literal["kmeans", "dbscan"]
Floats = NDArray[np.float64]

# A silhouette compares every pair: of more items than this, a random choice is measured.
_SILHOUETTE_SAMPLE = 2000
# A medoid compares every pair of its cluster: of more members than this, those nearest to the mean stand for it.
_MEDOID_SAMPLE = 2000
_REPRESENTATIVES = 5
_KMEANS_COUNTS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14)
_DBSCAN_SAMPLES = (5, 10)
_DBSCAN_QUANTILES = (0.5, 0.7, 0.85, 0.95)
_INITS = 4
# DBSCAN keeps every item's neighbours, which in a dense map are most items: for more than these only KMeans is tried.
_DBSCAN_MOST = 10_000


@dataclass(frozen=True)
class Clustering:
    """One way to group the items.

    Attributes
    ----------
    method : {"kmeans", "dbscan"}
    n_clusters : int
        Number of groups; for DBSCAN, found.
    eps, min_samples : float and int, or None
        Of DBSCAN.
    noise : float
        Share of the items in no group.
    silhouette : float
        Mean over all items (a random 2000 of more) of how much nearer an item is to its own group than to the next, in
        [-1, 1]; items in no group count as 0. NaN with a single group.
    sampled : bool
        Whether the silhouette is that of a sample.
    labels : numpy.ndarray, int64 (n,)
        Group of every item, the largest is 0; -1 for none.
    """

    method: Method
    n_clusters: int
    eps: float | None
    min_samples: int | None
    noise: float
    silhouette: float
    sampled: bool
    labels: NDArray[np.int64]

    def row(self) -> dict[str, Any]:
        """All but the labels, for a table."""
        values = asdict(self)
        del values["labels"]
        return values

    def __str__(self) -> str:
        how = "KMeans" if self.method == "kmeans" else f"DBSCAN, eps {self.eps:.3g}, min_samples {self.min_samples}"
        return f"{self.n_clusters} clusters ({how}), silhouette {self.silhouette:.2f}"


@dataclass(frozen=True)
class Cluster:
    """A group of items.

    Attributes
    ----------
    label : int
    indices : numpy.ndarray, int64
        Its members, positions in the space.
    mean_iou, median_iou : float
        Over members that have an IoU.
    empty_truths : float
        Share of members with nothing to find.
    medoid : int
        The member with the least sum of distances to all others.
    representatives : tuple of int
        The medoid and the members nearest to it.
    """

    label: int
    indices: NDArray[np.int64]
    mean_iou: float
    median_iou: float
    empty_truths: float
    medoid: int
    representatives: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of members."""
        return len(self.indices)


def check_request(n_clusters: object, method: object, eps: object, min_samples: object, count: int) -> Method | None:
    """The method that is asked for, of `count` items; None: the best of a comparison."""
    if method is not None:
        method = check_choice("method", method, Method)
    if n_clusters is not None:
        if method == "dbscan":
            raise ValueError("DBSCAN finds its number of clusters; give eps and min_samples, not n_clusters")
        if not is_whole(n_clusters):
            raise ValueError(f"n_clusters must be a whole number, got {n_clusters!r}")
        if not 1 <= n_clusters <= count:
            raise ValueError(f"n_clusters must be 1 to {count}, the number of items, got {n_clusters}")
        method = "kmeans"
    elif method == "kmeans":
        raise ValueError("KMeans needs n_clusters; without method, the best of a comparison is taken")
    if method != "dbscan" and (eps is not None or min_samples is not None):
        raise ValueError("eps and min_samples belong to method='dbscan'")
    if method == "dbscan":
        if isinstance(eps, bool) or not isinstance(eps, (int, float, np.number)) or not 0 < eps < math.inf:
            raise ValueError(f"method='dbscan' needs eps, a distance above 0, got {eps!r}")
        if min_samples is not None and (not is_whole(min_samples) or min_samples < 1):
            raise ValueError(f"min_samples must be a whole number of at least 1, got {min_samples!r}")
    return cast("Method | None", method)


def fit_clusters(
    coordinates: Floats,
    method: Method,
    *,
    n_clusters: int | None = None,
    eps: float | None = None,
    min_samples: int | None = None,
    random_state: int = 0,
) -> Clustering:
    """Group coordinates (n, k) one way and measure it."""
    model: KMeans | DBSCAN
    if method == "kmeans":
        model = KMeans(n_clusters, n_init=_INITS, random_state=random_state)
        eps = min_samples = None
    else:
        eps, min_samples = float(eps or 0), int(min_samples or 5)
        model = DBSCAN(eps=eps, min_samples=min_samples)
    with warnings.catch_warnings():
        # Fewer different items than clusters: the number found says so.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = _by_size(model.fit(coordinates).labels_)
    labels.flags.writeable = False  # a map, its snapshots and selections share them
    found = int(labels.max()) + 1
    silhouette, sampled = _silhouette(coordinates, labels, random_state)
    noise = float((labels < 0).mean())
    return Clustering(method, found, eps, min_samples, noise, silhouette, sampled, labels)


def compare(coordinates: Floats, *, random_state: int = 0) -> Iterator[Clustering]:
    """Group coordinates (n, k) by KMeans and DBSCAN over a grid of parameters, one by one.

    The reaches (`eps`) that DBSCAN is tried with are quantiles of the items' distance to their `min_samples`-th
    nearest, so that the grid follows the data. Above 10,000 items DBSCAN is left out: it keeps every item's neighbours.
    """
    count = len(coordinates)
    for n_clusters in _KMEANS_COUNTS:
        if n_clusters < count:
            yield fit_clusters(coordinates, "kmeans", n_clusters=n_clusters, random_state=random_state)
    if count > _DBSCAN_MOST:
        return
    tree = KDTree(coordinates)
    for min_samples in _DBSCAN_SAMPLES:
        if min_samples >= count:
            continue
        # DBSCAN counts an item among its own neighbours, as the tree does.
        reach = tree.query(coordinates, k=[min_samples])[0][:, 0]
        for eps in np.unique(np.quantile(reach, _DBSCAN_QUANTILES)):
            if eps > 0:
                yield fit_clusters(
                    coordinates, "dbscan", eps=float(eps), min_samples=min_samples, random_state=random_state
                )


def best(clusterings: Sequence[Clustering]) -> Clustering:
    """The one with the highest silhouette; the first, if none has one."""
    return max(clusterings, key=lambda one: -math.inf if math.isnan(one.silhouette) else one.silhouette)


def describe(
    labels: NDArray[np.int64], coordinates: Floats, iou: Floats, truth_area: NDArray[np.int64]
) -> tuple[Cluster, ...]:
    """What is in every group, by label; items in no group are left out."""
    clusters = []
    for label in range(int(labels.max()) + 1):
        indices = np.flatnonzero(labels == label)
        indices.flags.writeable = False
        known = iou[indices][np.isfinite(iou[indices])]
        near = _by_centrality(coordinates[indices])
        clusters.append(
            Cluster(
                label=label,
                indices=indices,
                mean_iou=float(known.mean()) if len(known) else math.nan,
                median_iou=float(np.median(known)) if len(known) else math.nan,
                empty_truths=float((truth_area[indices] == 0).mean()),
                medoid=int(indices[near[0]]),
                representatives=tuple(int(index) for index in indices[near]),
            )
        )
    return tuple(clusters)


def _by_centrality(members: Floats) -> NDArray[np.intp]:
    """Positions of the medoid and of the members nearest to it."""
    candidates = np.arange(len(members))
    if len(members) > _MEDOID_SAMPLE:
        candidates = np.argsort(((members - members.mean(axis=0)) ** 2).sum(axis=1))[:_MEDOID_SAMPLE]
    some = members[candidates]
    medoid = candidates[cdist(some, some).sum(axis=1).argmin()]
    away = ((members - members[medoid]) ** 2).sum(axis=1)
    away[medoid] = -1  # first, also among members at the same place
    return np.argsort(away, kind="stable")[:_REPRESENTATIVES]


def _by_size(labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The same groups, the largest named 0; -1 stays."""
    names, sizes = np.unique(labels[labels >= 0], return_counts=True)
    renamed = np.full(len(labels), -1, np.int64)
    for new, old in enumerate(names[np.argsort(-sizes, kind="stable")]):
        renamed[labels == old] = new
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
    share = len(grouped) / len(labels)
    return float(silhouette_score(coordinates[chosen], labels[chosen])) * share, sampled
