"""Which new items to label first: the most doubtful ones, spread over the map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._validation import check_whole
from hdm_widgets.latent.surface import column_scales

__all__ = ["doubts", "first_to_label"]

Floats = NDArray[np.float64]

# The items to label are chosen among this many times as many, the most doubtful ones.
_CANDIDATES = 4


def doubts(low: Floats, high: Floats, reliable: NDArray[np.bool_]) -> Floats:
    """How doubtful the prediction of each item is.

    Parameters
    ----------
    low, high : numpy.ndarray, float64 (n,)
        Intervals of the IoU, in [0, 1]; NaN counts as nothing known.
    reliable : numpy.ndarray, bool (n,)
        Whether an interval can be relied on.

    Returns
    -------
    numpy.ndarray, float64 (n,)
        In [0, 1]: the larger, the lower the IoU may be and the wider the interval is. Items whose interval cannot be
        relied on are all above 0.5, the others at most 0.5.
    """
    low, high = np.nan_to_num(low, nan=0.0), np.nan_to_num(high, nan=1.0)
    # The mean of what may be missing from an IoU of 1 and of the width, between 0 and 0.5; the smallest step above 0.5
    # keeps even the best of the unreliable items there.
    within = ((1 - low) + (high - low)) / 4
    return np.where(reliable, within, np.maximum(0.5 + within, np.nextafter(0.5, 1)))


def first_to_label(doubt: Floats, coordinates: Floats, count: int) -> NDArray[np.int64]:
    """Items to label first, in the order of their choice.

    Parameters
    ----------
    doubt : numpy.ndarray, float64 (n,)
        From `doubts`.
    coordinates : numpy.ndarray, float64 (n, k)
        On the map.
    count : int
        How many items, 1 or more; all where there are fewer.

    Returns
    -------
    numpy.ndarray, int64 (min(count, n),)

    Notes
    -----
    Farthest-point sampling among the 4 x `count` most doubtful items: the most doubtful one first, then always the one
    with the largest product of its doubt and its distance to the nearest item that is chosen. Each coordinate is scaled
    to a standard deviation of 1. Of equal items the first one is chosen.
    """
    check_whole("count", count, 1)
    count = min(int(count), len(doubt))
    candidates = np.sort(np.argsort(-doubt, kind="stable")[: _CANDIDATES * count])
    weights = doubt[candidates]
    points = coordinates[candidates] / column_scales(coordinates)
    distance = np.full(len(candidates), np.inf)
    left = np.ones(len(candidates), bool)
    chosen: list[Any] = []
    for _ in range(count):
        # Before the first choice, and among items in one place, the doubt alone decides.
        gains = weights * distance if np.isfinite(distance).all() and (distance[left] > 0).any() else weights
        place = int(np.where(left, gains, -np.inf).argmax())
        chosen.append(candidates[place])
        left[place] = False
        distance = np.minimum(distance, np.linalg.norm(points - points[place], axis=1))
    return np.array(chosen, np.int64)
