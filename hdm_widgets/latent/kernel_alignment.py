"""How alike the activations of the same items are in two models: linear centered kernel alignment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.latent.activations import ROUNDING
from hdm_widgets.latent.batches import Progress, centered_gram, progress_bar, row_batches

__all__ = ["linear_cka", "permuted_cka"]

Floats = NDArray[np.float64]
Features = NDArray[np.floating[Any]]

# Sides of the blocks that products are computed in: 128 MB of float64.
_BLOCK = 4096
_PERMUTATIONS = 199
# Up to this many products of features for an item, these are quicker than products of items, in another order.
_FEATURES_PER_ITEM = 8


def linear_cka(a: Features, b: Features, *, progress: Progress = False) -> tuple[float, float]:
    """Linear centered kernel alignment of two sets of features of the same items, and its mean by chance.

    Parameters
    ----------
    a, b : numpy.ndarray, float (n, d) and float (n, e)
    progress : bool or callable
        Show a tqdm bar if it lasts longer than a second; or a function (done, total) that is called after every step.

    Returns
    -------
    cka : float
        In [0, 1]: 1 if the features are the same but for rotation and scale. NaN where all items are alike.
    by_chance : float
        Its mean over all orders of the items of `b`.

    Notes
    -----
    Kornblith et al. (2019), arXiv 1905.00414. Of centered features X and Y, it is ||X'Y||² / (||X'X|| ||Y'Y||), or the
    same from inner products of items, <XX', YY'> / (||XX'|| ||YY'||): what takes fewer multiplications. Features are
    read in batches, and may be on disk; products take a block of 4096 x 4096 at a time. The mean over all orders is
    tr(XX') tr(YY') / ((n - 1) ||XX'|| ||YY'||), exactly (Kazi-Aoual et al., 1995).
    """
    count, wide, other_wide = len(a), a.shape[1], b.shape[1]
    centered = _Centered(a), _Centered(b)
    if any(one.all_alike for one in centered):
        return math.nan, math.nan
    by_features = wide**2 + wide * other_wide + other_wide**2 <= count * (wide + other_wide)
    sums = _sums_over_features if by_features else _sums_over_items
    inner, own, others = sums(*centered, progress)
    size = math.sqrt(own * others)
    return inner / size, centered[0].total * centered[1].total / ((count - 1) * size)


class _Centered:
    """Features (n, d) less their means, read in parts."""

    def __init__(self, features: Features) -> None:
        self.features = features
        count, width = features.shape
        self.mean = np.zeros(width)
        largest = 0.0
        for rows in row_batches(count, width):
            part = np.asarray(features[rows], dtype=np.float64)
            self.mean += part.sum(axis=0) / count
            largest = max(largest, float(np.abs(part).max(initial=0)))
        # Sum of the squares of all centered features.
        self.total = sum(float((self[rows, :] ** 2).sum()) for rows in row_batches(count, width))
        # Features of items that are alike differ by rounding.
        self.all_alike = self.total <= count * width * (ROUNDING * largest) ** 2

    def __getitem__(self, part: tuple[slice, slice]) -> Floats:
        return np.asarray(self.features[part], dtype=np.float64) - self.mean[part[1]]


def _blocks(count: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]


def _symmetric_blocks(count: int) -> list[tuple[slice, slice, int]]:
    """Blocks of a symmetric matrix (count, count) on and above its diagonal, with how often each stands in it."""
    pairs = itertools.combinations_with_replacement(_blocks(count), 2)
    return [(left, right, 1 if left == right else 2) for left, right in pairs]


def _sums_over_features(a: _Centered, b: _Centered, progress: Progress) -> tuple[float, float, float]:
    """Squares of the norms of X'Y, X'X and Y'Y."""
    count = len(a.features)
    wide, other_wide = a.features.shape[1], b.features.shape[1]
    pairs = (a, b), (a, a), (b, b)
    parts = [(0, left, right, 1) for left, right in itertools.product(_blocks(wide), _blocks(other_wide))]
    parts += [(1, *block) for block in _symmetric_blocks(wide)]
    parts += [(2, *block) for block in _symmetric_blocks(other_wide)]
    sums = [0.0, 0.0, 0.0]
    batches = row_batches(count, 2 * min(_BLOCK, max(wide, other_wide)))
    with progress_bar(len(parts) * len(batches), progress, "comparing activations", unit="step", late=True) as bar:
        for index, left, right, times in parts:
            one, other = pairs[index]
            product = np.zeros((left.stop - left.start, right.stop - right.start))
            for rows in batches:
                product += one[rows, left].T @ other[rows, right]
                bar.update(1)
            sums[index] += times * float(np.vdot(product, product))
    return sums[0], sums[1], sums[2]


def _sums_over_items(a: _Centered, b: _Centered, progress: Progress) -> tuple[float, float, float]:
    """Inner product of XX' and YY', and the squares of their norms."""
    blocks = _symmetric_blocks(len(a.features))
    columns = [row_batches(one.features.shape[1], 2 * min(_BLOCK, len(one.features)), most=_BLOCK) for one in (a, b)]
    total = len(blocks) * sum(map(len, columns))
    inner = own = others = 0.0
    with progress_bar(total, progress, "comparing activations", unit="step", late=True) as bar:
        for left, right, times in blocks:
            grams = [_gram(one, left, right, parts, bar.update) for one, parts in zip((a, b), columns, strict=True)]
            inner += times * float(np.vdot(*grams))
            own += times * float(np.vdot(grams[0], grams[0]))
            others += times * float(np.vdot(grams[1], grams[1]))
    return inner, own, others


def _gram(
    features: _Centered, left: slice, right: slice, columns: list[slice], update: Callable[[int], object]
) -> Floats:
    """Inner products of two blocks of items."""
    gram = np.zeros((left.stop - left.start, right.stop - right.start))
    for part in columns:
        gram += features[left, part] @ features[right, part].T
        update(1)
    return gram


def permuted_cka(
    a: Features,
    b: Features,
    *,
    permutations: int = _PERMUTATIONS,
    random_state: int = 0,
    progress: Progress = False,
) -> tuple[float, Floats]:
    """Linear centered kernel alignment of features of the same items, and its null distribution.

    Parameters
    ----------
    a, b : numpy.ndarray, float (n, d) and float (n, e)
        Memory grows with the square of n, not with d: give a sample of many items.
    permutations : int
        How often the items of `b` are put in random order.
    random_state : int
    progress : bool or callable
        As in `linear_cka`.

    Returns
    -------
    cka : float
        That of `linear_cka`.
    null : numpy.ndarray, float64 (permutations,)
        The same of items that were put in random order.
    """
    rng = np.random.default_rng(random_state)
    centered = _Centered(a), _Centered(b)
    if any(one.all_alike for one in centered):
        return math.nan, np.full(permutations, math.nan)
    by_features = a.shape[1] * b.shape[1] <= _FEATURES_PER_ITEM * len(a)
    value_of = _value_of_features(*centered) if by_features else _value_of_items(a, b)
    null = np.empty(permutations)
    with progress_bar(permutations, progress, "activations by chance", unit="order", late=True) as bar:
        for place in range(permutations):
            null[place] = value_of(rng.permutation(len(b)))
            bar.update(1)
    return value_of(np.arange(len(b))), null


_Value = Callable[[NDArray[np.int64]], float]


def _value_of_features(a: _Centered, b: _Centered) -> _Value:
    """The alignment with the items of `b` in another order, from products of features."""
    x, y = a[:, :], b[:, :]
    size = float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    return lambda order: float(np.linalg.norm(x.T @ y[order])) ** 2 / size


def _value_of_items(a: Features, b: Features) -> _Value:
    """The alignment with the items of `b` in another order, from inner products of items."""
    one, other = centered_gram(a), centered_gram(b)
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return lambda order: float(np.vdot(one, other[order].take(order, axis=1))) / size
