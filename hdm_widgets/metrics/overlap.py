"""Overlap of two masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdm_widgets.metrics.masks import check_same_shape

__all__ = ["dice", "iou"]


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    first, second = np.asarray(a) != 0, np.asarray(b) != 0
    check_same_shape(first, second)
    return first, second


def iou(a: ArrayLike, b: ArrayLike, *, empty: float = 0.0) -> float:
    """Intersection over union of two masks, also called the Jaccard index.

    Parameters
    ----------
    a, b : array_like, same shape
        Masks, nonzero = segment.
    empty : float
        The value if both masks are empty: their union has no pixel.

    Returns
    -------
    float
        In [0, 1], or `empty`.

    Examples
    --------
    >>> iou([[1, 1, 0]], [[0, 1, 1]])
    0.3333333333333333
    """
    first, second = _pair(a, b)
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else float(empty)


def dice(a: ArrayLike, b: ArrayLike, *, empty: float = 0.0) -> float:
    """Dice coefficient of two masks, also called the F1 score of their pixels.

    Parameters
    ----------
    a, b : array_like, same shape
        Masks, nonzero = segment.
    empty : float
        The value if both masks are empty.

    Returns
    -------
    float
        In [0, 1], or `empty`.

    Examples
    --------
    >>> dice([[1, 1, 0]], [[0, 1, 1]])
    0.5
    """
    first, second = _pair(a, b)
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return float(2 * np.count_nonzero(first & second) / total) if total else float(empty)
