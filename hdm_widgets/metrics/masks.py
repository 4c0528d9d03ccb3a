"""Masks as arrays and as sets of pixels: what all metrics need of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdm_widgets._masks import GivenMask, Ignore, read_mask, without

__all__ = [
    "Indices",
    "Mask",
    "as_mask",
    "as_masks",
    "check_same_shape",
    "coordinates",
    "counted",
    "outline",
]

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]


def as_mask(values: ArrayLike, ignore: Ignore | None = None) -> GivenMask:
    """Read a mask (H, W), in which nonzero means segment."""
    given = read_mask(values, ignore)
    if given.mask.ndim != 2:
        raise ValueError(f"a mask must have two dimensions (H, W), got shape {given.mask.shape}")
    return given


def as_masks(a: ArrayLike, b: ArrayLike, ignore: Ignore | None = None) -> tuple[Mask, Mask]:
    """Two masks (H, W) of one shape, without the pixels that either says are ignored; `ignore` is for `b`."""
    return counted(as_mask(a), as_mask(b, ignore))


def counted(a: GivenMask, b: GivenMask) -> tuple[Mask, Mask]:
    """Two masks of one shape, without the pixels that are ignored in either."""
    check_same_shape(a.mask, b.mask)
    return without(a.mask, b.ignored), without(b.mask, a.ignored)


def check_same_shape(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> None:
    """Refuse two masks that differ in shape."""
    if a.shape != b.shape:
        raise ValueError(f"the masks must have the same shape, got {a.shape} and {b.shape}")


def outline(mask: Mask) -> Mask:
    """Pixels of the mask with one of their four neighbors outside it; beyond the image's border is outside.

    The pixel of a mask that is nearest to a pixel outside it always lies on the outline: from any other pixel, one step
    towards the one outside stays in the mask and comes nearer.
    """
    inner = np.zeros_like(mask)
    core = inner[1:-1, 1:-1]
    np.logical_and(mask[:-2, 1:-1], mask[2:, 1:-1], out=core)
    core &= mask[1:-1, :-2]
    core &= mask[1:-1, 2:]
    return mask & ~inner


def coordinates(mask: Mask) -> Indices:
    """(row, col) of every pixel of the mask, (n, 2), in reading order."""
    rows, cols = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return np.stack([rows, cols], axis=1)
