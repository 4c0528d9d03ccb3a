"""Many masks of one size, at one bit per pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["PackedMasks"]


class PackedMasks:
    """A stack of masks, packed; `masks[i]` is bool (H, W).

    Parameters
    ----------
    packed : numpy.ndarray, uint8 (N, ceil(H W / 8))
        Row by row, the highest bit first.
    height, width : int
    """

    def __init__(self, packed: NDArray[np.uint8], height: int, width: int) -> None:
        self.packed = packed
        self.height = height
        self.width = width

    @staticmethod
    def pack(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Masks (N, H, W) as rows of bits."""
        return np.packbits(masks.reshape(len(masks), -1), axis=1)

    @staticmethod
    def row_bytes(height: int, width: int) -> int:
        """Bytes of one packed mask."""
        return -(-height * width // 8)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: int) -> NDArray[np.bool_]:
        bits = np.unpackbits(self.packed[index], count=self.height * self.width)
        return bits.reshape(self.height, self.width).astype(bool)
