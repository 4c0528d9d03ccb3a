"""Nearest items in the space of activations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._identity import compared_by_identity
from hdm_widgets.latent.activations import ROUNDING
from hdm_widgets.latent.batches import centered_gram, row_batches

__all__ = ["Neighbors", "distance_scale", "nearest", "pairwise_distances"]

_ROWS = 1024  # of a block of distances
_COPIES = 8  # nearest items among which the first that is no copy is sought
_SCALE_QUANTILE = 0.95

Items = NDArray[np.floating[Any]]


@compared_by_identity
class Neighbors(NamedTuple):
    """The items nearest to one.

    Attributes
    ----------
    indices : numpy.ndarray, int64 (k,)
        Nearest first; the item itself is not among them.
    distances : numpy.ndarray, float64 (k,)
        Euclidean, between activations.
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float64]


def nearest(items: Items, queries: Items, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k items (n, d) nearest to every query (m, d): their positions and distances (m, k), nearest first.

    Items and queries are read batch by batch: they may be on disk.
    """
    parts = [_nearest(items, queries[rows], k) for rows in row_batches(*queries.shape, most=_ROWS)]
    return np.concatenate([found for found, _ in parts]), np.concatenate([distances for _, distances in parts])


def _nearest(items: Items, queries: Items, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    wanted = np.asarray(queries, dtype=np.float64)
    best = np.full((len(wanted), k), np.inf)
    found = np.full((len(wanted), k), -1, np.int64)
    own_squares = _squares(wanted)[:, None]
    for rows in row_batches(*items.shape, most=_ROWS):
        block = np.asarray(items[rows], dtype=np.float64)
        squares = own_squares + _squares(block) - 2 * (wanted @ block.T)
        joined = np.hstack([best, squares])
        names = np.hstack([found, np.broadcast_to(np.arange(rows.start, rows.stop), squares.shape)])
        order = np.argsort(joined, axis=1, kind="stable")[:, :k]
        best, found = np.take_along_axis(joined, order, 1), np.take_along_axis(names, order, 1)
    # The sums above cancel where two are alike: the few that count are measured again, each by itself.
    exact = np.stack([_distances(items, near, query) for query, near in zip(wanted, found, strict=True)])
    order = np.argsort(exact, axis=1, kind="stable")
    return np.take_along_axis(found, order, 1), np.take_along_axis(exact, order, 1)


def _squares(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared lengths (n,) of vectors (n, d)."""
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors)
    return squares


def _distances(items: Items, rows: NDArray[np.int64], query: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (k,) of some rows of the items to one query (d,)."""
    parts = row_batches(len(rows), items.shape[1])
    return np.concatenate(
        [np.linalg.norm(np.asarray(items[rows[part]], dtype=np.float64) - query, axis=1) for part in parts]
    )


def pairwise_distances(items: Items, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distances (m, m) between some rows of the items (n, d)."""
    gram = centered_gram(items, rows)
    squares = np.diag(gram)
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * gram, 0))


def distance_scale(items: Items, rows: NDArray[np.int64]) -> float:
    """95th percentile of the distance of some rows to the nearest other item; 1 where all items are alike."""
    parts = row_batches(len(rows), items.shape[1], most=_ROWS)
    distances = np.concatenate([nearest(items, items[rows[part]], min(_COPIES, len(items)))[1] for part in parts])
    # Items that come twice are no distance apart, which says nothing about the distance of others.
    apart = distances > ROUNDING * float(np.abs(items[0]).max())
    first = np.take_along_axis(distances, apart.argmax(axis=1)[:, None], axis=1)[apart.any(axis=1), 0]
    return float(np.quantile(first, _SCALE_QUANTILE)) if len(first) else 1.0
