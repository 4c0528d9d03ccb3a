"""KMeans of many items: centers from a sample, moved by all items batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._identity import compared_by_identity
from hdm_widgets.latent.batches import row_batches

__all__ = ["Assignment", "lloyd", "squares_from"]

_ROWS = 1 << 16  # of a batch at most
# The centers are at rest when their squared moves are at most this fraction of the mean variance, as in scikit-learn.
_TOLERANCE = 1e-4
_PASSES = 100

Floats = NDArray[np.float64]


@compared_by_identity
class Assignment(NamedTuple):
    """Which center each item is nearest to.

    Attributes
    ----------
    labels : numpy.ndarray, int64 (n,)
    inertia : float
        Sum of the squared distances to the centers.
    """

    labels: NDArray[np.int64]
    inertia: float


def squares_from(coordinates: Floats, center: Floats, rows: NDArray[np.int64] | None = None) -> Floats:
    """Squared distances (n,) of coordinates (n, k), or of some of their rows, to a point (k,), batch by batch."""
    count = len(coordinates) if rows is None else len(rows)
    squares = np.empty(count)
    for part in row_batches(count, coordinates.shape[1], most=_ROWS):
        block = coordinates[part] if rows is None else coordinates[rows[part]]
        squares[part] = ((block - center) ** 2).sum(axis=1)
    return squares


def lloyd(
    coordinates: Floats,
    n_clusters: int,
    kmeans: Callable[[Floats, int], NDArray[np.integer[Any]]],
    sample: NDArray[np.int64],
) -> Assignment:
    """Group coordinates (n, k) into as many clusters.

    Parameters
    ----------
    coordinates : numpy.ndarray, float64 (n, k)
        At least `n_clusters` distinct points.
    n_clusters : int
    kmeans : callable
        Groups a sample: takes coordinates (m, k) and a number of clusters, returns labels (m,).
    sample : numpy.ndarray, int64 (m,)
        Rows that the first centers are sought among.

    Returns
    -------
    Assignment

    Notes
    -----
    Lloyd's algorithm from the means of the sample's clusters, until the centers are at rest or for 100 passes. Beside
    the labels it takes a few batches of 64 MB.
    """
    some = coordinates[sample]
    centers = _means(some, kmeans(some, n_clusters))
    if len(centers) < n_clusters:
        # The sample has fewer distinct points than the data: the farthest of these are centers too.
        squares = np.min([squares_from(coordinates, center) for center in centers], axis=0)
        while len(centers) < n_clusters:
            centers = np.vstack([centers, coordinates[squares.argmax()]])
            np.minimum(squares, squares_from(coordinates, centers[-1]), out=squares)
    tolerance = _TOLERANCE * float(some.var(axis=0).mean())
    for _ in range(_PASSES):
        assignment, moved = _pass(coordinates, centers)
        if ((moved - centers) ** 2).sum() <= tolerance:
            break
        centers = moved
    return assignment


def _means(coordinates: Floats, labels: NDArray[np.integer[Any]]) -> Floats:
    """Means of the groups that there are."""
    return np.stack([coordinates[labels == label].mean(axis=0) for label in np.unique(labels)])


def _pass(coordinates: Floats, centers: Floats) -> tuple[Assignment, Floats]:
    """The items of every center, and the means of these. A center without items goes to the item farthest from its own.

    All are measured from the mean of the centers, which costs fewest digits.
    """
    count, width = coordinates.shape
    origin = centers.mean(axis=0)
    shifted = centers - origin
    lengths = (shifted**2).sum(axis=1)
    labels = np.empty(count, np.int64)
    sums, sizes, inertia = np.zeros_like(centers), np.zeros(len(centers), np.int64), 0.0
    farthest, at = -1.0, 0
    for part in row_batches(count, max(width, len(centers)), most=_ROWS):
        block = coordinates[part] - origin
        distances = block @ shifted.T
        distances *= -2
        distances += lengths
        nearest = distances.argmin(axis=1)
        squares = np.maximum(distances.min(axis=1) + (block**2).sum(axis=1), 0)
        labels[part] = nearest
        inertia += float(squares.sum())
        if squares.max() > farthest:
            farthest, at = float(squares.max()), part.start + int(squares.argmax())
        members = np.equal(nearest[:, None], np.arange(len(centers))).astype(np.float64)
        sums += members.T @ block
        sizes += np.bincount(nearest, minlength=len(centers))
    moved = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None] + origin, centers)
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        moved[empty[0]] = coordinates[at]
    return Assignment(labels, inertia), moved
