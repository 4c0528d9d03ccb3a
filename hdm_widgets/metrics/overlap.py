"""Overlap of two masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hdm_widgets._masks import Ignore, read_mask
from hdm_widgets._validation import checks_simple_arguments
from hdm_widgets.metrics.masks import counted

__all__ = ["dice", "iou"]


@checks_simple_arguments
def iou(a: ArrayLike, b: ArrayLike, *, empty: float = 0.0, ignore: Ignore | None = None) -> float:
    """Intersection over union of two masks, also called the Jaccard index.

    Parameters
    ----------
    a, b : array_like, same shape
        Masks, nonzero = segment: bool, whole numbers, or floats that are 0 and 1.
    empty : float
        The value if both masks are empty: their union has no pixel.
    ignore : number or array_like of bool, optional
        Pixels that do not count: the value that marks them in `b`, the ground truth, or a mask of them.

    Returns
    -------
    float
        In [0, 1], or `empty`.

    Examples
    --------
    >>> iou([[1, 1, 0]], [[0, 1, 1]])
    0.3333333333333333
    """
    first, second = counted(read_mask(a), read_mask(b, ignore))
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else float(empty)


@checks_simple_arguments
def dice(a: ArrayLike, b: ArrayLike, *, empty: float = 0.0, ignore: Ignore | None = None) -> float:
    """Dice coefficient of two masks, also called the F1 score of their pixels.

    Parameters
    ----------
    a, b : array_like, same shape
        Masks, nonzero = segment: bool, whole numbers, or floats that are 0 and 1.
    empty : float
        The value if both masks are empty.
    ignore : number or array_like of bool, optional
        As for `iou`.

    Returns
    -------
    float
        In [0, 1], or `empty`.

    Examples
    --------
    >>> dice([[1, 1, 0]], [[0, 1, 1]])
    0.5
    """
    first, second = counted(read_mask(a), read_mask(b, ignore))
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return float(2 * np.count_nonzero(first & second) / total) if total else float(empty)
