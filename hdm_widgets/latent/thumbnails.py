"""Thumbnails of images, and whether an image that is read again is the one that was collected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets._picture import Display, to_rgb_batch

__all__ = ["ThumbnailMaker", "alike", "same_picture"]

# Gray levels by which two thumbnails of one image may differ: files of one image decode a little differently with
# other versions of a library.
_MEAN_LEVELS = 2.0
_MOST_LEVELS = 16
# Of two thumbnails of one image that was normalized in two ways.
_LEAST_CORRELATION = 0.9


@dataclass(frozen=True)
class ThumbnailMaker:
    """How thumbnails are made.

    Attributes
    ----------
    block : int
        Side of the blocks of pixels that are averaged.
    display : Display
        How they show the images.
    """

    block: int
    display: Display = field(default_factory=Display)

    @classmethod
    def for_size(cls, size: Sequence[int], longest: int, display: Display | None = None) -> ThumbnailMaker:
        """Make thumbnails of at most `longest` pixels a side.

        Blocks of whole pixels are averaged: several times faster than any other ratio.
        """
        return cls(-(-max(size) // longest), display or Display())

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the thumbnail of an image of this size."""
        return -(-height // self.block), -(-width // self.block)

    def make(self, images: Tensor) -> NDArray[np.uint8]:
        """Thumbnails, uint8 (n, h, w, 3), of images (n, C, H, W)."""
        return to_rgb_batch(_block_means(images, self.block).numpy(), self.display)


def _block_means(images: Tensor, block: int) -> Tensor:
    """Means over blocks of pixels (n, C, h, w); the last ones may be smaller.

    Several times faster on a CPU than `avg_pool2d` with `ceil_mode`.
    """
    height, width = images.shape[-2:]
    if height % block or width % block:
        images = F.pad(images, (0, -width % block, 0, -height % block))
    rows = images[:, :, ::block].clone()
    for row in range(1, block):
        rows += images[:, :, row::block]
    sums = rows[..., ::block].clone()
    for col in range(1, block):
        sums += rows[..., col::block]
    sizes = [torch.tensor([min(block, end - start) for start in range(0, end, block)]) for end in (height, width)]
    return sums / torch.outer(*sizes)


def alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two thumbnails may show one image that was normalized in two ways."""
    if one.shape != other.shape:
        return False
    levels, others = (picture.astype(np.float64).ravel() - picture.mean() for picture in (one, other))
    norms = float(np.linalg.norm(levels) * np.linalg.norm(others))
    return not norms or float(levels @ others) / norms >= _LEAST_CORRELATION


def same_picture(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two thumbnails show one image, up to how its file was decoded."""
    if one.shape != other.shape:
        return False
    difference = np.abs(one.astype(np.int16) - other)
    return bool(difference.mean() <= _MEAN_LEVELS and difference.max() <= _MOST_LEVELS)
