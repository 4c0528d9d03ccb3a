"""How confident a model is in its own masks, one number for each item; none of them needs a ground truth."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

__all__ = ["CONFIDENCES", "confidence_columns", "object_columns"]

_AREAS = {"area_at_30": 0.3, "area_at_50": 0.5, "area_at_70": 0.7, "area_at_90": 0.9}
_FROM_PROBABILITIES = (
    "mean_entropy",
    "foreground_entropy",
    "boundary_entropy",
    "soft_iou",
    "soft_dice",
    "largest_probability",
    *_AREAS,
)
_FROM_MASKS = ("objects", "largest_object")
# All columns, in their order.
CONFIDENCES = (*_FROM_PROBABILITIES, *_FROM_MASKS)
# Two pixels that touch, along an edge or at a corner, are of one object.
_EIGHT_NEIGHBORS = np.ones((3, 3), bool)
_TINY = 1e-30


def confidence_columns(
    probabilities: Tensor, masks: Tensor, counted: Tensor | None = None
) -> dict[str, NDArray[np.float64]]:
    """Confidences of a model in its predictions.

    Parameters
    ----------
    probabilities : torch.Tensor (n, H, W)
        Of the segment, in [0, 1].
    masks : torch.Tensor, bool (n, H, W)
        The predictions, on the same device.
    counted : torch.Tensor, bool (n, H, W) or (H, W), optional
        Pixels that count; all by default.

    Returns
    -------
    dict of str to numpy.ndarray, float64 (n,)
        In the order of `CONFIDENCES`:

        - ``mean_entropy``: mean binary entropy of the pixels in bits, 1 where every probability is 0.5;
        - ``foreground_entropy``: the same inside the predicted mask, NaN where nothing is predicted;
        - ``boundary_entropy``: the same for pixels along the mask's boundary, on both sides of it; NaN without one;
        - ``soft_iou``, ``soft_dice``: IoU and Dice coefficient of the mask and the probabilities, with products in
          place of intersections; NaN where no probability is above 0;
        - ``largest_probability``: of any pixel;
        - ``area_at_30``, ``area_at_50``, ``area_at_70``, ``area_at_90``: fraction of the pixels with a probability
          above 0.3, 0.5, 0.7 and 0.9;
        - ``objects``: number of connected objects in the mask, where pixels that touch at a corner are connected;
        - ``largest_object``: fraction of the mask in the largest of them, NaN where nothing is predicted.

        All but ``objects`` are NaN where no pixel counts.
    """
    with torch.no_grad():
        if counted is not None:
            masks = masks & counted
        table = _sums(probabilities.float().clamp(0, 1), masks, counted).cpu().numpy().astype(np.float64)
    return {**_from_sums(table), **object_columns(masks.cpu().numpy())}


def object_columns(masks: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Number of connected objects in masks (n, H, W), and the fraction of the mask in the largest of them."""
    count, height, width = masks.shape
    # All masks one below the other, with an empty row after each: one call labels them together.
    tall = np.zeros((count, height + 1, width), bool)
    tall[:, :height] = masks
    labels, number = ndimage.label(tall.reshape(-1, width), _EIGHT_NEIGHBORS)
    pixels = np.flatnonzero(tall)
    labeled = labels.ravel()[pixels] - 1
    sizes = np.bincount(labeled, minlength=number)
    item = np.empty(number, np.int64)
    item[labeled] = pixels // ((height + 1) * width)
    objects = np.bincount(item, minlength=count).astype(np.float64)
    areas, largest = np.zeros(count), np.zeros(count)
    np.add.at(areas, item, sizes)
    np.maximum.at(largest, item, sizes)
    fraction = np.divide(largest, areas, out=np.full(count, np.nan), where=areas > 0)
    return dict(zip(_FROM_MASKS, (objects, fraction), strict=True))


def _sums(probabilities: Tensor, masks: Tensor, counted: Tensor | None) -> Tensor:
    """What the columns are computed from, float32 (k, n): one small table, which is moved once."""
    boundary = _boundary(masks, counted)
    pixels = torch.full((len(masks),), math.prod(masks.shape[1:]), dtype=torch.float32, device=masks.device)
    if counted is not None:
        # Pixels that do not count add nothing to any sum.
        probabilities = torch.where(counted, probabilities, 0.0)
        pixels = counted.expand(masks.shape).flatten(1).float().sum(1)
    p, mask, edge = probabilities.flatten(1), masks.flatten(1).float(), boundary.flatten(1).float()
    rest = 1 - p
    # Negative, in nats. Two logarithms in place take less time than torch.special.entr.
    entropy = p.clamp_min(_TINY).log_().mul_(p)
    entropy += rest.clamp_min(_TINY).log_().mul_(rest)
    above = torch.empty_like(p)
    return torch.stack(
        [
            pixels,
            mask.sum(1),
            edge.sum(1),
            p.sum(1),
            torch.linalg.vecdot(p, mask),
            entropy.sum(1),
            torch.linalg.vecdot(entropy, mask),
            torch.linalg.vecdot(entropy, edge),
            p.amax(1),
            # Sums of floats take a quarter of the time of sums of bool.
            *(torch.gt(p, level, out=above).sum(1) for level in _AREAS.values()),
        ]
    )


def _boundary(masks: Tensor, counted: Tensor | None) -> Tensor:
    """Pixels with a neighbor above, below, left or right that is on the other side of the mask's boundary."""
    boundary = torch.zeros_like(masks)
    for axis in (1, 2):
        length = masks.shape[axis] - 1
        differs = masks.narrow(axis, 0, length) != masks.narrow(axis, 1, length)
        if counted is not None:
            inside = counted.expand(masks.shape)
            differs &= inside.narrow(axis, 0, length) & inside.narrow(axis, 1, length)
        boundary.narrow(axis, 0, length).logical_or_(differs)
        boundary.narrow(axis, 1, length).logical_or_(differs)
    return boundary


def _from_sums(table: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The columns from the sums over each item's pixels (k, n)."""
    pixels, mask, edge, total, overlap, entropy, inside, along, largest, *areas = table
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = (
            -entropy / pixels / math.log(2),
            -inside / mask / math.log(2),
            -along / edge / math.log(2),
            overlap / (total + mask - overlap),
            2 * overlap / (total + mask),
            np.where(pixels > 0, largest, np.nan),
            *(area / pixels for area in areas),
        )
    return dict(zip(_FROM_PROBABILITIES, columns, strict=True))
