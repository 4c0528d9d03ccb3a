"""Masks at one bit per pixel: a stack of masks, and the boxes in which masks differ from one common mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MaskPatch", "MaskStore", "PackedMasks", "bounding_box", "patch_of"]


def bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """The smallest half-open box (row0, col0, row1, col1) around a mask (H, W); None for an empty mask."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1) if len(rows) else None


@dataclass(frozen=True)
class MaskPatch:
    """A box in which a mask differs from the prediction, and its pixels there, one bit per pixel.

    Attributes
    ----------
    box : tuple of int
        (row0, col0, row1, col1), half open; empty if nothing differs.
    bits : bytes
        Row by row, the highest bit first.
    """

    box: tuple[int, int, int, int]
    bits: bytes


def patch_of(predicted: NDArray[np.bool_], row: int, col: int, window: NDArray[np.bool_]) -> MaskPatch:
    """The patch of a mask that equals `predicted` outside a window (h, w) at (row, col)."""
    differs = predicted[row : row + window.shape[0], col : col + window.shape[1]] != window
    box = bounding_box(differs)
    if box is None:
        return MaskPatch((0, 0, 0, 0), b"")
    row0, col0, row1, col1 = box
    bits = np.packbits(window[row0:row1, col0:col1]).tobytes()
    return MaskPatch((row + row0, col + col0, row + row1, col + col1), bits)


class MaskStore:
    """The mask of every measured cell, as a patch of the prediction.

    Parameters
    ----------
    predicted : numpy.ndarray, bool (H, W)
    patches : dict of (int, int) to MaskPatch, optional
        By cell.
    """

    def __init__(self, predicted: NDArray[np.bool_], patches: dict[tuple[int, int], MaskPatch] | None = None) -> None:
        self.predicted = predicted
        self.patches = {} if patches is None else patches

    def mask(self, row: int, col: int) -> NDArray[np.bool_]:
        """The whole mask (H, W) of a cell."""
        patch = self.patches[row, col]
        mask = self.predicted.copy()
        row0, col0, row1, col1 = patch.box
        size = (row1 - row0) * (col1 - col0)
        bits = np.unpackbits(np.frombuffer(patch.bits, np.uint8), count=size)
        mask[row0:row1, col0:col1] = bits.reshape(row1 - row0, col1 - col0).astype(bool)
        return mask

    @property
    def bytes(self) -> int:
        """Size of all patches' pixels in memory."""
        return sum(len(patch.bits) for patch in self.patches.values())

    def arrays(self, measured: NDArray[np.bool_]) -> dict[str, NDArray[np.generic]]:
        """Arrays for a file, with the masks of the cells that are True in `measured` (rows, cols)."""
        cells = [(int(row), int(col)) for row, col in np.argwhere(measured)]
        patches = [self.patches[cell] for cell in cells]
        return {
            "mask_base": self.predicted,
            "mask_cells": np.array(cells, np.int32).reshape(-1, 2),
            "mask_boxes": np.array([patch.box for patch in patches], np.int32).reshape(-1, 4),
            "mask_bits": np.frombuffer(b"".join(patch.bits for patch in patches), np.uint8),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> MaskStore:
        """Read what `arrays` wrote."""
        boxes = arrays["mask_boxes"]
        lengths = -(-((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])) // 8)
        ends = np.cumsum(lengths)
        bits = arrays["mask_bits"].tobytes()
        return cls(
            arrays["mask_base"].astype(bool),
            {
                (int(row), int(col)): MaskPatch(tuple(box), bits[end - length : end])
                for (row, col), box, length, end in zip(
                    arrays["mask_cells"].tolist(), boxes.tolist(), lengths.tolist(), ends.tolist(), strict=True
                )
            },
        )


class PackedMasks:
    """A stack of masks at one bit per pixel; `masks[i]` is bool (H, W).

    Parameters
    ----------
    packed : numpy.ndarray, uint8 (N, ceil(H W / 8))
        Row by row, the highest bit first.
    height, width : int
        Size of the masks in pixels.
    """

    def __init__(self, packed: NDArray[np.uint8], height: int, width: int) -> None:
        self.packed = packed
        self.height = height
        self.width = width

    @staticmethod
    def pack(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Pack masks (N, H, W), for `packed`."""
        return np.packbits(masks.reshape(len(masks), -1), axis=1)

    @staticmethod
    def row_bytes(height: int, width: int) -> int:
        """Size of one packed mask in bytes."""
        return -(-height * width // 8)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: int) -> NDArray[np.bool_]:
        bits = np.unpackbits(self.packed[index], count=self.height * self.width)
        return bits.reshape(self.height, self.width).astype(bool)
