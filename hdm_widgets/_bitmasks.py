"""Masks at one bit per pixel: a stack of masks, and the boxes in which masks, or class numbers, differ from others."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MaskPatch", "MaskStore", "PackedMasks", "WindowBatch", "bounding_box", "patch_of"]

# Of class numbers: the quickest, which leaves a few hundredths of their bytes.
_COMPRESSION = 1
# Patches are unpacked at once up to so many pixels.
_PIXELS = 1 << 23


def bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """The smallest half-open box (row0, col0, row1, col1) around a mask (H, W); None for an empty mask."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1) if len(rows) else None


class MaskPatch(NamedTuple):
    """A box in which a mask, or a map of class numbers, differs from the prediction, and its pixels there.

    Attributes
    ----------
    box : tuple of int
        (row0, col0, row1, col1), half open; empty if nothing differs.
    bits : bytes
        Row by row: of a mask one bit per pixel, the highest bit first; class numbers are compressed.
    """

    box: tuple[int, int, int, int]
    bits: bytes


def patch_of(predicted: NDArray[Any], row: int, col: int, window: NDArray[Any]) -> MaskPatch:
    """The patch of a mask, or of class numbers, that equals `predicted` outside a window (h, w) at (row, col)."""
    differs = predicted[row : row + window.shape[0], col : col + window.shape[1]] != window
    box = bounding_box(differs)
    if box is None:
        return MaskPatch((0, 0, 0, 0), b"")
    row0, col0, row1, col1 = box
    inside = window[row0:row1, col0:col1]
    bits = np.packbits(inside).tobytes() if inside.dtype.kind == "b" else zlib.compress(inside.tobytes(), _COMPRESSION)
    return MaskPatch((row + row0, col + col0, row + row1, col + col1), bits)


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """The windows of some cells, unpacked."""

    cells: list[tuple[int, int]]
    # Where each window begins.
    rows: list[int]
    cols: list[int]
    windows: list[NDArray[Any]]


class MaskStore:
    """The mask, or the map of class numbers, of every measured cell, as a patch of the prediction.

    Parameters
    ----------
    predicted : numpy.ndarray (H, W)
        A mask of bool, or class numbers.
    patches : dict of (int, int) to MaskPatch, optional
        By cell.
    """

    def __init__(self, predicted: NDArray[Any], patches: dict[tuple[int, int], MaskPatch] | None = None) -> None:
        self.predicted = predicted
        self.patches = {} if patches is None else patches

    def mask(self, row: int, col: int) -> NDArray[Any]:
        """The whole mask (H, W) of a cell."""
        mask = self.predicted.copy()
        at_row, at_col, window = self.window(row, col)
        mask[at_row : at_row + window.shape[0], at_col : at_col + window.shape[1]] = window
        return mask

    def window(self, row: int, col: int) -> tuple[int, int, NDArray[Any]]:
        """Where the patch of a cell begins, and its pixels (h, w)."""
        (batch,) = self.batches([(row, col)])
        return batch.rows[0], batch.cols[0], batch.windows[0]

    def batches(self, cells: Iterable[tuple[int, int]]) -> Iterator[WindowBatch]:
        """The windows of many cells in turn, as many at a time as memory allows."""
        batch: list[tuple[int, int]] = []
        pixels = 0
        for cell in cells:
            row0, col0, row1, col1 = self.patches[cell].box
            size = (row1 - row0) * (col1 - col0)
            if batch and pixels + size > _PIXELS:
                yield self._unpacked(batch)
                batch, pixels = [], 0
            batch.append(cell)
            pixels += size
        if batch:
            yield self._unpacked(batch)

    def _unpacked(self, cells: list[tuple[int, int]]) -> WindowBatch:
        patches, dtype = [self.patches[cell] for cell in cells], self.predicted.dtype
        packed = dtype.kind == "b"
        # One after the other; each mask begins with a byte of its own.
        bits = np.frombuffer(b"".join(patch.bits for patch in patches), np.uint8) if packed else None
        pixels = None if bits is None else np.unpackbits(bits).view(bool)
        windows, start = [], 0
        for patch in patches:
            row0, col0, row1, col1 = patch.box
            shape = row1 - row0, col1 - col0
            size = shape[0] * shape[1]
            if pixels is not None:
                window = pixels[start : start + size]
                start += 8 * len(patch.bits)
            else:
                window = np.frombuffer(zlib.decompress(patch.bits) if size else b"", dtype)
            windows.append(window.reshape(shape))
        return WindowBatch(cells, [patch.box[0] for patch in patches], [patch.box[1] for patch in patches], windows)

    @property
    def bytes(self) -> int:
        """Size of all patches' pixels in memory."""
        return sum(len(patch.bits) for patch in self.patches.values())

    def arrays(self, measured: NDArray[np.bool_], prefix: str = "mask") -> dict[str, NDArray[np.generic]]:
        """Arrays for a file, with the masks of the cells that are True in `measured` (rows, cols)."""
        cells = [(int(row), int(col)) for row, col in np.argwhere(measured)]
        patches = [self.patches[cell] for cell in cells]
        written: dict[str, NDArray[np.generic]] = {
            f"{prefix}_base": self.predicted,
            f"{prefix}_cells": np.array(cells, np.int32).reshape(-1, 2),
            f"{prefix}_boxes": np.array([patch.box for patch in patches], np.int32).reshape(-1, 4),
            f"{prefix}_bits": np.frombuffer(b"".join(patch.bits for patch in patches), np.uint8),
        }
        if self.predicted.dtype.kind != "b":
            written[f"{prefix}_lengths"] = np.array([len(patch.bits) for patch in patches], np.int64)
        return written

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]], prefix: str = "mask") -> MaskStore:
        """Read what `arrays` wrote."""
        boxes, lengths = arrays[f"{prefix}_boxes"], arrays.get(f"{prefix}_lengths")
        if lengths is None:
            lengths = -(-((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])) // 8)
        ends = np.cumsum(lengths)
        bits = arrays[f"{prefix}_bits"].tobytes()
        return cls(
            arrays[f"{prefix}_base"],
            {
                (int(row), int(col)): MaskPatch(tuple(box), bits[end - length : end])
                for (row, col), box, length, end in zip(
                    arrays[f"{prefix}_cells"].tolist(), boxes.tolist(), lengths.tolist(), ends.tolist(), strict=True
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
