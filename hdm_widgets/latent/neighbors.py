"""Nearest items in the space of activations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._identity import compared_by_identity
from hdm_widgets.latent.activations import ROUNDING
from hdm_widgets.latent.batches import centered_gram, row_batches

__all__ = ["Neighbors", "distance_scale", "nearest", "pairwise_distances"]

# Queries and items of a batch at most.
_QUERIES, _ITEMS = 2048, 8192
# Above this many candidates a query, the k nearest of a batch are sought among themselves first.
_MANY = 32
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

    The search is exact. Items and queries are read batch by batch: they may be on disk. Beside the result it takes a
    few batches of 64 MB, however many items there are.
    """
    parts = [_nearest(items, queries[rows], k) for rows in row_batches(*queries.shape, most=_QUERIES)]
    return np.concatenate([found for found, _ in parts]), np.concatenate([distances for _, distances in parts])


def _nearest(items: Items, queries: Items, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    wanted = np.asarray(queries, dtype=np.float64)
    count = len(wanted)
    best = np.full((count, k), np.inf)
    found = np.full((count, k), -1, np.int64)
    # A batch of items is as large as its products with the queries at most.
    for rows in row_batches(len(items), max(items.shape[1], count), most=_ITEMS):
        block = np.asarray(items[rows], dtype=np.float64)
        # Squared distances but for the squared length of the query, which changes no order.
        squares = wanted @ block.T
        squares *= -2
        squares += _squares(block)
        limits = best[:, -1:]
        near = np.flatnonzero(squares < limits)
        if len(near) > _MANY * count:
            kth = min(k, len(block)) - 1
            limits = np.minimum(np.partition(squares, kth, axis=1)[:, [kth]], np.nextafter(limits, -np.inf))
            near = np.flatnonzero(squares <= limits)
        _merge(best, found, squares, near, rows.start)
    # The sums above cancel where two are alike: the few that count are measured again, each by itself.
    exact = np.concatenate(
        [
            np.linalg.norm(_rows(items, found[part]) - wanted[part, None], axis=2)
            for part in row_batches(count, k * items.shape[1])
        ]
    )
    order = np.argsort(exact, axis=1, kind="stable")
    return np.take_along_axis(found, order, 1), np.take_along_axis(exact, order, 1)


def _merge(
    best: NDArray[np.float64],
    found: NDArray[np.int64],
    squares: NDArray[np.float64],
    near: NDArray[np.int64],
    first: int,
) -> None:
    """Put the items of a batch that are near into the k best of each query, of equal ones the first.

    Parameters
    ----------
    best, found : numpy.ndarray (m, k)
        Squares of the nearest items so far and their positions; changed in place.
    squares : numpy.ndarray, float64 (m, b)
        Of a batch of items.
    near : numpy.ndarray, int64
        Which of these, as positions in the flat array, are nearer than the last of the best.
    first : int
        Position of the first item of the batch.
    """
    if not len(near):
        return
    k = best.shape[1]
    query, column = np.divmod(near, squares.shape[1])
    changed, place = np.unique(query, return_inverse=True)
    places = np.concatenate([np.repeat(np.arange(len(changed)), k), place])
    values = np.concatenate([best[changed].ravel(), squares[query, column]])
    names = np.concatenate([found[changed].ravel(), first + column])
    # Each query has at least its k best, and the items so far come before those of the batch.
    order = np.lexsort((values, places))
    chosen = order[np.searchsorted(places[order], np.arange(len(changed)))[:, None] + np.arange(k)]
    best[changed], found[changed] = values[chosen], names[chosen]


def _squares(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared lengths (n,) of vectors (n, d)."""
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors)
    return squares


def _rows(items: Items, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Items (m, k, d) at some positions (m, k)."""
    return np.asarray(items[positions.ravel()], dtype=np.float64).reshape(*positions.shape, -1)


def pairwise_distances(items: Items, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distances (m, m) between some rows of the items (n, d)."""
    gram = centered_gram(items, rows)
    squares = np.diag(gram)
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * gram, 0))


def distance_scale(items: Items, rows: NDArray[np.int64]) -> float:
    """95th percentile of the distance of some rows to the nearest other item; 1 where all items are alike."""
    parts = row_batches(len(rows), items.shape[1], most=_QUERIES)
    distances = np.concatenate([nearest(items, items[rows[part]], min(_COPIES, len(items)))[1] for part in parts])
    # Items that come twice are no distance apart, which says nothing about the distance of others.
    apart = distances > ROUNDING * float(np.abs(items[0]).max())
    first = np.take_along_axis(distances, apart.argmax(axis=1)[:, None], axis=1)[apart.any(axis=1), 0]
    return float(np.quantile(first, _SCALE_QUANTILE)) if len(first) else 1.0
