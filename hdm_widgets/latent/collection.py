"""What a pass over a data set has collected, and the room that it is put in."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets._bitmasks import PackedMasks
from hdm_widgets._picture import to_rgb_batch
from hdm_widgets.latent.activations import Layer, LayerError
from hdm_widgets.latent.items import Item, join_columns

__all__ = ["Collection", "CollectionError", "Shelf"]


@dataclass(frozen=True)
class Collection:
    """What a pass over a data set has collected.

    Attributes
    ----------
    layer : Layer
        Where the activations come from.
    features : numpy.ndarray, float32 (n, d)
        Pooled activations; on disk when they are many.
    items : numpy.ndarray, int64 (n,)
        Index of each in the data set.
    truths, predictions : PackedMasks
    hits, misses, false_alarms : numpy.ndarray, int64 (n,)
        Pixels in both masks, in the truth alone, in the prediction alone.
    thumbnails : numpy.ndarray, uint8 (n, h, w, 3)
        Small pictures.
    columns : dict of str to numpy.ndarray
        What the data set says of its items.
    picture_shape : tuple of int
        (C, H, W) of every picture.
    skipped : dict of int to str
        Items that could not be used, and why.
    """

    layer: Layer
    features: NDArray[np.float32]
    items: NDArray[np.int64]
    truths: PackedMasks
    predictions: PackedMasks
    hits: NDArray[np.int64]
    misses: NDArray[np.int64]
    false_alarms: NDArray[np.int64]
    thumbnails: NDArray[np.uint8]
    columns: dict[str, NDArray[Any]]
    picture_shape: tuple[int, int, int]
    skipped: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)


class CollectionError(ValueError):
    """Collecting stopped at an item.

    Attributes
    ----------
    index : int
        Of the item, in the data set.
    collection : Collection or None
        What was collected before it; None if nothing was.
    """

    def __init__(self, message: str, index: int, collection: Collection | None) -> None:
        super().__init__(message)
        self.index = index
        self.collection = collection


class Shelf:
    """Room for everything that is collected, filled from the front.

    Parameters
    ----------
    length : int
        Items there is room for.
    layer : Layer
    picture_shape : torch.Size
        (C, H, W).
    thumbnail : int
        Longest side of the thumbnails in pixels.
    memory_limit : int
        Bytes of activations that are kept in memory; more go to a temporary file.
    """

    def __init__(self, length: int, layer: Layer, picture_shape: torch.Size, thumbnail: int, memory_limit: int) -> None:
        channels, height, width = picture_shape
        self.layer = layer
        self.length = length
        self.shape = (channels, height, width)
        self.skipped: dict[int, str] = {}
        self._memory_limit = memory_limit
        self._count = 0
        # Whole pixels are joined: several times quicker than any other ratio.
        self._joined = -(-max(height, width) // thumbnail)
        small = (-(-height // self._joined), -(-width // self._joined))
        row = PackedMasks.row_bytes(height, width)
        # Pages of these that are never written to take no memory.
        self._items = np.empty(length, np.int64)
        self._packed = np.empty((2, length, row), np.uint8)
        self._counts = np.empty((3, length), np.int64)
        self._thumbnails = np.empty((length, *small, 3), np.uint8)
        self._features: NDArray[np.float32] | None = None
        self._columns: list[dict[str, Any]] = []

    def put(
        self,
        entries: list[tuple[int, Item]],
        *,
        features: NDArray[np.float32],
        pictures: Tensor,
        truths: NDArray[np.bool_],
        predictions: NDArray[np.bool_],
        counts: NDArray[np.int64],
    ) -> None:
        """Add items with their activations, masks and counts of pixels (3, n): hits, misses, false alarms."""
        if self._features is None:
            self._features = self._room(features.shape[1])
        if features.shape[1] != self._features.shape[1]:
            raise LayerError(f"the layer gave {self._features.shape[1]} features before and {features.shape[1]} now")
        part = slice(self._count, self._count + len(entries))
        self._features[part] = features
        self._items[part] = [index for index, _ in entries]
        self._packed[0, part] = PackedMasks.pack(truths)
        self._packed[1, part] = PackedMasks.pack(predictions)
        self._counts[:, part] = counts
        small = F.avg_pool2d(pictures, self._joined, ceil_mode=True).numpy()
        self._thumbnails[part] = to_rgb_batch(small)
        self._columns.extend(item.columns for _, item in entries)
        self._count += len(entries)

    def _room(self, width: int) -> NDArray[np.float32]:
        shape = (self.length, width)
        if 4 * self.length * width <= self._memory_limit:
            return np.empty(shape, np.float32)
        folder = tempfile.mkdtemp(prefix="hdm-widgets-")
        room = np.lib.format.open_memmap(Path(folder) / "features.npy", mode="w+", dtype=np.float32, shape=shape)
        # The file goes with the array, and parts of it keep the whole alive.
        weakref.finalize(room, shutil.rmtree, folder, ignore_errors=True)
        return room

    def collection(self, tables: dict[str, NDArray[Any]]) -> Collection | None:
        """What is on the shelf; None if nothing is."""
        n = self._count
        if not n or self._features is None:
            return None
        _, height, width = self.shape
        items = self._items[:n].copy()
        hits, misses, false_alarms = self._counts[:, :n]
        return Collection(
            layer=self.layer,
            features=self._features[:n],
            items=items,
            truths=PackedMasks(self._packed[0, :n], height, width),
            predictions=PackedMasks(self._packed[1, :n], height, width),
            hits=hits,
            misses=misses,
            false_alarms=false_alarms,
            thumbnails=self._thumbnails[:n],
            columns={**join_columns(self._columns), **{name: values[items] for name, values in tables.items()}},
            picture_shape=self.shape,
            skipped=dict(self.skipped),
        )
