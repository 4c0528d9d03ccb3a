"""How true a map is: what its relevance lies on, what the model does without it, and how steady it is.

A map is float (H, W), 0 or more: the relevance of each pixel. Where pixels are equally relevant, every order of them is
as good as another: what is counted of a ranking is the mean over all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats
from torch import Tensor, from_numpy, stack

from hdm_widgets.metrics import iou

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Fractions of the image's pixels that are deleted or inserted; small regions are told apart at the small ones.
FRACTIONS = (0.0, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
# The part of the image that a reader looks at first.
TOP = 0.05


def mass(relevance: Map, region: Mask) -> float:
    """Relevance mass accuracy (Arras et al. 2022): fraction of a map's sum on a region; 0 for a map of zeros."""
    total = relevance.sum()
    return float(relevance[region].sum() / total) if total else 0.0


def leakage(relevance: Map, may_matter: Mask) -> float:
    """Fraction of a map's sum outside of the pixels that may matter; NaN for a map of zeros, which says nothing."""
    return mass(relevance, ~may_matter) if relevance.any() else float("nan")


def hits(relevance: Map, region: Mask, count: int) -> float:
    """Pixels of a region among the `count` most relevant of the image: their mean over all orders of equal pixels."""
    values = relevance.ravel()
    threshold = np.partition(values, -count)[-count]
    above, equal = values > threshold, values == threshold
    inside = region.ravel()
    of_equal = (count - above.sum()) / equal.sum()
    return float((above & inside).sum() + of_equal * (equal & inside).sum())


def rank_accuracy(relevance: Map, region: Mask) -> float:
    """Relevance rank accuracy (Arras et al. 2022): of as many top pixels as a region has, the fraction on it."""
    count = int(region.sum())
    return hits(relevance, region, count) / count


def pointing(relevance: Map, region: Mask) -> float:
    """The pointing game (Zhang et al. 2018): 1 if the most relevant pixel is on the region, else 0."""
    return hits(relevance, region, 1)


def top_overlap(relevance: Map, region: Mask) -> float:
    """Fraction of a region among the most relevant 5 % of the image's pixels."""
    count = max(1, round(TOP * region.size))
    return hits(relevance, region, count) / min(count, int(region.sum()))


def order(relevance: Map) -> NDArray[np.intp]:
    """Flat indices of all pixels, the most relevant first; pixels that are equally relevant in a fixed random order."""
    shuffled = np.random.default_rng(0).permutation(relevance.size)
    return np.asarray(shuffled[np.argsort(-relevance.ravel()[shuffled], kind="stable")])


def deletion_and_insertion(
    relevance: Map, image: Tensor, predict: Callable[[Tensor], NDArray[np.bool_]], ground: Tensor
) -> tuple[float, float]:
    """Areas under the curves of the IoU with the prediction (after Petsiuk et al. 2018).

    Parameters
    ----------
    relevance : numpy.ndarray (H, W)
    image : torch.Tensor (C, H, W)
    predict : callable
        Images (N, C, H, W) to masks (N, H, W).
    ground : torch.Tensor (C, H, W)
        What deleted pixels show, and what insertion starts from.

    Returns
    -------
    tuple of float
        Deletion: the most relevant pixels are deleted first; low is good. Insertion: they are inserted first; high is
        good. In [0, 1].
    """
    ranked, total = order(relevance), relevance.size
    chosen = np.zeros((len(FRACTIONS), total), bool)
    for row, fraction in zip(chosen, FRACTIONS, strict=True):
        row[ranked[: round(fraction * total)]] = True
    top = from_numpy(chosen.reshape(-1, 1, *relevance.shape))
    masks = predict(_join(top, ground, image))
    inserted = predict(_join(top, image, ground))
    prediction = masks[0]
    curves = ([iou(mask, prediction) for mask in changed] for changed in (masks, inserted))
    deletion, insertion = (float(np.trapezoid(curve, FRACTIONS)) for curve in curves)
    return deletion, insertion


def _join(top: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    return stack([inside.where(mask, outside) for mask in top])


def blurred(image: Tensor) -> Tensor:
    """The image (C, H, W) blurred until nothing in it can be told."""
    sigma = image.shape[-1] / 8
    return from_numpy(np.stack([ndimage.gaussian_filter(channel, sigma) for channel in image.numpy()]))


def rank_correlation(first: Map, second: Map) -> float:
    """Spearman's rank correlation of two maps over all pixels; 0 if one is constant, NaN if both are."""
    constant = np.ptp(first) == 0, np.ptp(second) == 0
    if any(constant):
        return float("nan") if all(constant) else 0.0
    return float(stats.spearmanr(first.ravel(), second.ravel()).statistic)


def interval(values: NDArray[np.float64], draws: int = 2000) -> tuple[float, float, float]:
    """Mean and the 95 % interval of a bootstrap over images.

    Parameters
    ----------
    values : numpy.ndarray (n_images,)
        NaN do not count.

    Returns
    -------
    tuple of float
        Mean, low, high; NaN without a value.
    """
    given = values[~np.isnan(values)]
    if not given.size:
        return float("nan"), float("nan"), float("nan")
    chosen = np.random.default_rng(0).integers(0, given.size, (draws, given.size))
    low, high = np.quantile(given[chosen].mean(1), (0.025, 0.975))
    return float(given.mean()), float(low), float(high)
