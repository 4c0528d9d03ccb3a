"""Thumbnails of images, and whether an image that is read again is the one that was collected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets._picture import Display, to_rgb_batch

__all__ = ["ThumbnailMaker", "same_picture"]

# Gray levels by which two thumbnails of one image may differ: files of one image decode a little differently with
# other versions of a library.
_MEAN_LEVELS = 2.0
_MOST_LEVELS = 16


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
        return to_rgb_batch(F.avg_pool2d(images, self.block, ceil_mode=True).numpy(), self.display)


def same_picture(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two thumbnails show one image, up to how its file was decoded."""
    if one.shape != other.shape:
        return False
    difference = np.abs(one.astype(np.int16) - other)
    return bool(difference.mean() <= _MEAN_LEVELS and difference.max() <= _MOST_LEVELS)
