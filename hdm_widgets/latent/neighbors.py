"""Who is near whom in the space of activations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.latent.activations import ROUNDING

__all__ = ["Neighbors", "nearest", "usual_distance"]

_ROWS = 1024  # of a block of distances
_COPIES = 8  # of an item, that are looked past for its nearest other
_USUAL = 0.95


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


def nearest(
    items: NDArray[np.floating[Any]], queries: NDArray[np.floating[Any]], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k items (n, d) nearest to every query (m, d): their positions and distances (m, k), nearest first.

    Items are read block by block: they may be on disk.
    """
    wanted = np.asarray(queries, dtype=np.float64)
    best = np.full((len(wanted), k), np.inf)
    found = np.full((len(wanted), k), -1, np.int64)
    for start in range(0, len(items), _ROWS):
        block = np.asarray(items[start : start + _ROWS], dtype=np.float64)
        squares = (wanted**2).sum(1)[:, None] + (block**2).sum(1) - 2 * wanted @ block.T
        joined = np.hstack([best, squares])
        names = np.hstack([found, np.broadcast_to(np.arange(start, start + len(block)), squares.shape)])
        order = np.argsort(joined, axis=1, kind="stable")[:, :k]
        best, found = np.take_along_axis(joined, order, 1), np.take_along_axis(names, order, 1)
    # The sums above cancel where two are alike: the few that count are measured again, each by itself.
    exact = np.stack(
        [
            np.linalg.norm(np.asarray(items[near], dtype=np.float64) - query, axis=1)
            for query, near in zip(wanted, found, strict=True)
        ]
    )
    order = np.argsort(exact, axis=1, kind="stable")
    return np.take_along_axis(found, order, 1), np.take_along_axis(exact, order, 1)


def usual_distance(items: NDArray[np.floating[Any]], rows: NDArray[np.int64]) -> float:
    """Distance to the nearest other item that one in twenty of these rows exceeds; 1 where all items are alike."""
    distances = nearest(items, items[rows], min(_COPIES, len(items)))[1]
    # Items that come twice are no distance apart, which says nothing of how far others are.
    apart = distances > ROUNDING * float(np.abs(items[0]).max())
    first = np.take_along_axis(distances, apart.argmax(axis=1)[:, None], axis=1)[apart.any(axis=1), 0]
    return float(np.quantile(first, _USUAL)) if len(first) else 1.0
