"""DBSCAN in batches: it never holds the neighbors of more than a few items."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import KDTree

__all__ = ["dbscan"]

# Pairs of neighbors of a batch, and of all items; and items among which the latter are counted first.
_BATCH_PAIRS = 1 << 22
_MOST_PAIRS = 1 << 30
_SAMPLE = 1000
_ROWS = 4096

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def dbscan(coordinates: Floats, radius: float, min_samples: int) -> Indices:
    """Groups of coordinates (n, k) that are dense (Ester et al., 1996), int64 (n,); -1 for none.

    Parameters
    ----------
    coordinates : numpy.ndarray, float64 (n, k)
    radius : float
        Points at most this far from each other are neighbors.
    min_samples : int
        Neighbors of a core point at least, itself among them.

    Returns
    -------
    numpy.ndarray, int64 (n,)
        What scikit-learn's `DBSCAN` finds: groups in the order of their first core points; a point at the border of
        several groups is in the first of these.

    Raises
    ------
    ValueError
        If points have so many neighbors that it would take hours.

    Notes
    -----
    It takes as long as there are pairs of neighbors. These are looked at 4 million at a time, twice: memory does not
    grow with them, as that of scikit-learn does.
    """
    count = len(coordinates)
    tree = KDTree(coordinates)
    _check_pairs(tree, coordinates, radius)
    counts = np.concatenate(
        [
            tree.query_radius(coordinates[start : start + _ROWS], radius, count_only=True)
            for start in range(0, count, _ROWS)
        ]
    )
    core = counts >= min_samples
    # The component of every core point, named by the first of its core points.
    first = np.arange(count)
    for points, neighbors in _pairs(tree, coordinates, radius, np.flatnonzero(core), counts):
        first = _joined(first, points[core[neighbors]], neighbors[core[neighbors]])
    label = np.full(count, count)
    label[core] = np.unique(first[core], return_inverse=True)[1]
    # Those of core points are the lowest among their core neighbors.
    for points, neighbors in _pairs(tree, coordinates, radius, np.flatnonzero(~core & (counts > 1)), counts):
        near = core[neighbors]
        np.minimum.at(label, points[near], label[neighbors[near]])
    return np.where(label < count, label, -1)


def _check_pairs(tree: KDTree, coordinates: Floats, radius: float) -> None:
    """Refuse what has too many pairs of neighbors, estimated from a few items."""
    count = len(coordinates)
    if count**2 <= _MOST_PAIRS:
        return
    some = np.random.default_rng(0).choice(count, _SAMPLE, replace=False)
    each = float(tree.query_radius(coordinates[some], radius, count_only=True).mean())
    if each * count > _MOST_PAIRS:
        most = math.floor(_MOST_PAIRS / count)
        raise ValueError(
            f"eps is too large for DBSCAN of {count:,} items: expected at most {most:,} items within it on average, "
            f"got about {each:,.0f}; give a smaller eps, or n_clusters for KMeans, which takes any number of items"
        )


def _pairs(
    tree: KDTree, coordinates: Floats, radius: float, rows: Indices, counts: Indices
) -> Iterator[tuple[Indices, Indices]]:
    """Some points, each repeated for all of its neighbors, and these."""
    if not len(rows):
        return
    batch = np.cumsum(counts[rows]) // _BATCH_PAIRS
    for part in np.split(rows, np.flatnonzero(np.diff(batch)) + 1):
        found = tree.query_radius(coordinates[part], radius)
        yield np.repeat(part, [len(near) for near in found]), np.concatenate(found)


def _joined(first: Indices, points: Indices, others: Indices) -> Indices:
    """The first point of the component of each point, after some have been joined to others."""
    count = len(first)
    edges = coo_array((np.ones(len(points), bool), (first[points], first[others])), shape=(count, count))
    _, components = connected_components(edges, directed=False)
    _, at = np.unique(components, return_index=True)  # of a component, its first point comes first
    return np.asarray(at[components][first], dtype=np.int64)
