"""What a pass over a data set has collected, and the arrays that it is collected in."""

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
from hdm_widgets._picture import Display, to_rgb_batch
from hdm_widgets.latent.activations import Layer, LayerError
from hdm_widgets.latent.items import Item, join_columns
from hdm_widgets.latent.scores import former_name

__all__ = ["Collection", "CollectionBuilder", "CollectionError"]


@dataclass(frozen=True, eq=False)
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
        True and predicted masks, one bit per pixel.
    tp, fn, fp : numpy.ndarray, int64 (n,)
        True positive, false negative and false positive pixels.
    thumbnails : numpy.ndarray, uint8 (n, h, w, 3)
        Small pictures of the images.
    columns : dict of str to numpy.ndarray
        Columns of the data set.
    image_shape : tuple of int
        (C, H, W) of every image.
    skipped : dict of int to str
        Items that could not be used, and why.
    ignored : PackedMasks or None
        Pixels that do not count, for every item; None if all do in all items.
    """

    layer: Layer
    features: NDArray[np.float32]
    items: NDArray[np.int64]
    truths: PackedMasks
    predictions: PackedMasks
    tp: NDArray[np.int64]
    fn: NDArray[np.int64]
    fp: NDArray[np.int64]
    thumbnails: NDArray[np.uint8]
    columns: dict[str, NDArray[Any]]
    image_shape: tuple[int, int, int]
    skipped: dict[int, str] = field(default_factory=dict)
    ignored: PackedMasks | None = None

    hits = former_name("hits", "tp")
    misses = former_name("misses", "fn")
    false_alarms = former_name("false_alarms", "fp")
    picture_shape = former_name("picture_shape", "image_shape")

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


class CollectionBuilder:
    """Arrays for one pass over a data set, filled from the front.

    Parameters
    ----------
    length : int
        Items that may come.
    layer : Layer
    image_shape : torch.Size
        (C, H, W).
    thumbnail : int
        Longest side of the thumbnails in pixels.
    memory_limit : int
        Bytes of activations that are kept in memory; more go to a temporary file.
    display : Display, optional
        How thumbnails show the images.

    Attributes
    ----------
    skipped : dict of int to str
        Items that could not be used, and why.
    """

    def __init__(
        self,
        length: int,
        layer: Layer,
        image_shape: torch.Size,
        thumbnail: int,
        memory_limit: int,
        display: Display | None = None,
    ) -> None:
        channels, height, width = image_shape
        self.skipped: dict[int, str] = {}
        self._layer = layer
        self._length = length
        self._shape = (channels, height, width)
        self._memory_limit = memory_limit
        self._display = display
        self._count = 0
        # Blocks of whole pixels are averaged: several times faster than any other ratio.
        self._block = -(-max(height, width) // thumbnail)
        small = (-(-height // self._block), -(-width // self._block))
        row = PackedMasks.row_bytes(height, width)
        # Pages of these that are never written to take no memory.
        self._items = np.empty(length, np.int64)
        self._packed = np.empty((2, length, row), np.uint8)
        self._ignored = np.zeros((length, row), np.uint8)
        self._any_ignored = False
        self._counts = np.empty((3, length), np.int64)
        self._thumbnails = np.empty((length, *small, 3), np.uint8)
        self._features: NDArray[np.float32] | None = None
        self._columns: list[dict[str, Any]] = []

    def add(
        self,
        entries: list[tuple[int, Item]],
        *,
        features: NDArray[np.float32],
        images: Tensor,
        truths: NDArray[np.bool_],
        predictions: NDArray[np.bool_],
        counts: NDArray[np.int64],
    ) -> None:
        """Add items with their activations, masks and counts of pixels (3, n): tp, fn and fp."""
        if self._features is None:
            self._features = self._allocate(features.shape[1])
        if features.shape[1] != self._features.shape[1]:
            raise LayerError(f"the layer gave {self._features.shape[1]} features before and {features.shape[1]} now")
        part = slice(self._count, self._count + len(entries))
        self._features[part] = features
        self._items[part] = [index for index, _ in entries]
        self._packed[0, part] = PackedMasks.pack(truths)
        self._packed[1, part] = PackedMasks.pack(predictions)
        self._counts[:, part] = counts
        for place, (_, item) in enumerate(entries, self._count):
            if item.ignored is not None:
                self._any_ignored = True
                self._ignored[place] = PackedMasks.pack(item.ignored[None])[0]
        small = F.avg_pool2d(images, self._block, ceil_mode=True).numpy()
        self._thumbnails[part] = to_rgb_batch(small, self._display)
        self._columns.extend(item.columns for _, item in entries)
        self._count += len(entries)

    def _allocate(self, width: int) -> NDArray[np.float32]:
        shape = (self._length, width)
        if 4 * self._length * width <= self._memory_limit:
            return np.empty(shape, np.float32)
        folder = tempfile.mkdtemp(prefix="hdm-widgets-")
        array = np.lib.format.open_memmap(Path(folder) / "features.npy", mode="w+", dtype=np.float32, shape=shape)
        # The file goes with the array, and slices of it keep the whole alive.
        weakref.finalize(array, shutil.rmtree, folder, ignore_errors=True)
        return array

    def build(self, tables: dict[str, NDArray[Any]]) -> Collection | None:
        """What was added, with further columns for the whole data set; None if nothing was."""
        n = self._count
        if not n or self._features is None:
            return None
        _, height, width = self._shape
        items = self._items[:n].copy()
        tp, fn, fp = self._counts[:, :n]
        return Collection(
            layer=self._layer,
            features=self._features[:n],
            items=items,
            truths=PackedMasks(self._packed[0, :n], height, width),
            predictions=PackedMasks(self._packed[1, :n], height, width),
            tp=tp,
            fn=fn,
            fp=fp,
            thumbnails=self._thumbnails[:n],
            columns={**join_columns(self._columns), **{name: values[items] for name, values in tables.items()}},
            image_shape=self._shape,
            skipped=dict(self.skipped),
            ignored=PackedMasks(self._ignored[:n], height, width) if self._any_ignored else None,
        )

    def build_some(self, tables: dict[str, NDArray[Any]]) -> Collection:
        """As `build`, but a CollectionError if nothing was added."""
        if (built := self.build(tables)) is not None:
            return built
        index, message = next(iter(self.skipped.items()))
        raise CollectionError(f"no item could be used; the first: {message}", index, None)
