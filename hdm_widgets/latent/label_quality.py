"""How well a model's probabilities agree with the true masks, and small maps of these probabilities to keep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

__all__ = ["block_size", "encoded_log_odds", "label_quality", "log_odds", "pooled_masks"]

_TEMPERATURE = 0.1
# Longest side of the maps that are kept.
_LONGEST = 64
# Log odds are kept in steps of 1/10, up to 12.7 on either side of even odds.
_STEPS, _LARGEST, _EVEN = 10, 12.7, 128


def label_quality(
    probabilities: Tensor, truths: Tensor, counted: Tensor | None = None, temperature: float = _TEMPERATURE
) -> NDArray[np.float64]:
    """How likely every true mask is right, by the soft minimum of the probabilities of its pixels.

    Parameters
    ----------
    probabilities : torch.Tensor (n, H, W)
        Of the segment, in [0, 1].
    truths : torch.Tensor, bool (n, H, W)
        The true masks, on the same device.
    counted : torch.Tensor, bool (n, H, W) or (H, W), optional
        Pixels that count; all by default.
    temperature : float
        Above 0; the lower it is, the more the pixels that disagree most decide.

    Returns
    -------
    numpy.ndarray, float64 (n,)
        In [0, 1]; low where pixels are labeled otherwise than the model is sure of. NaN where no pixel counts.

    Notes
    -----
    The mean of the pixels' probabilities q of their given labels, weighted by exp((1 - q) / temperature): the score
    `softmin` of Lad and Mueller, "Estimating label quality and errors in semantic segmentation data via any model"
    (2023), arXiv:2307.05080, as in ``cleanlab.segmentation.rank.get_label_quality_scores``.
    """
    with torch.no_grad():
        error = (probabilities.float().clamp(0, 1) - truths.float()).abs_()
        weight = (error / temperature - 1 / temperature).exp_()
        if counted is not None:
            weight = weight * counted
        total = weight.flatten(1).sum(1, dtype=torch.float64)
        wrong = weight.mul_(error).flatten(1).sum(1, dtype=torch.float64)
    scores: NDArray[np.float64] = (1 - wrong / total).cpu().numpy()
    return scores


def block_size(size: Sequence[int]) -> int:
    """Side of the blocks of pixels that are averaged for the maps of images of this size."""
    return -(-max(size) // _LONGEST)


def encoded_log_odds(probabilities: Tensor, block: int) -> NDArray[np.uint8]:
    """Small maps of probabilities (n, H, W), averaged over blocks of pixels.

    Returns
    -------
    numpy.ndarray, uint8 (n, ceil(H / block), ceil(W / block))
        Log odds in tenths around 128. Probabilities in equal steps would not tell 0.998 from 0.99999.
    """
    with torch.no_grad():
        small = F.avg_pool2d(probabilities.float()[:, None], block, ceil_mode=True)[:, 0].clamp(0, 1)
        codes = torch.logit(small, eps=1e-6).clamp_(-_LARGEST, _LARGEST).mul_(_STEPS).round_().add_(_EVEN)
        return codes.to(torch.uint8).cpu().numpy()


def log_odds(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Log odds of what `encoded_log_odds` made."""
    return (codes.astype(np.float32) - np.float32(_EVEN)) / np.float32(_STEPS)


def pooled_masks(masks: NDArray[np.bool_], block: int) -> NDArray[np.float32]:
    """Fraction of every block of pixels that is in the masks (n, H, W)."""
    small = F.avg_pool2d(torch.from_numpy(np.ascontiguousarray(masks)).float()[:, None], block, ceil_mode=True)
    fractions: NDArray[np.float32] = small[:, 0].numpy()
    return fractions
