"""One pass over a data set: activations, predictions and their overlap with the truth."""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from hdm_widgets._batch_size import BatchSize
from hdm_widgets._picture import to_rgb_batch
from hdm_widgets.latent.activations import Layer, LayerError, Pool, Tap, find_layer, pooled
from hdm_widgets.latent.items import Dataset, Item, check_columns, check_dataset, join_columns, read_item, read_items
from hdm_widgets.latent.masks import PackedMasks
from hdm_widgets.segmenter import ModelError, ModelOutputError, Segmenter, is_out_of_memory

__all__ = ["Collection", "CollectionError", "Collector", "check_width"]

# Activations beyond this many bytes go to a temporary file.
MEMORY_LIMIT = 1 << 30


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


@dataclass(frozen=True)
class Collector:
    """How to collect.

    Attributes
    ----------
    segmenter : Segmenter
        Around a Module.
    layer : torch.nn.Module or str
        See `find_layer`.
    pool : {"mean", "max", "flatten", "grid"}
    grid : int
        See `pooled`.
    thumbnail : int
        Longest side of the thumbnails in pixels.
    least_features : int
        As many must be there for each item.
    memory_limit : int
        Bytes of activations that are kept in memory; more go to a temporary file.
    """

    segmenter: Segmenter
    layer: nn.Module | str = "auto"
    pool: Pool = "mean"
    grid: int = 2
    thumbnail: int = 48
    least_features: int = 1
    memory_limit: int = MEMORY_LIMIT

    def features(self, pictures: Tensor, layer: Layer, module: nn.Module) -> NDArray[np.float32]:
        """Pooled activations (n, d) of pictures that are no items of a data set."""
        with self._tap(layer, module).open() as tap, self.segmenter.borrowed():
            step = self.segmenter.batch_size or 16
            parts = []
            for start in range(0, len(pictures), step):
                some = pictures[start : start + step]
                self.segmenter.raw(some)
                parts.append(tap.take(len(some)).cpu().numpy())
        features = np.concatenate(parts)
        if not np.isfinite(features).all():
            raise ValueError("the activations have NaN or infinity")
        return features

    def collect(
        self,
        dataset: Dataset,
        *,
        columns: Any = None,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        progress: bool = True,
    ) -> Collection:
        """Run the model once on every item; see `LatentSpace.fit` for the parameters.

        Raises
        ------
        CollectionError
            At the first item that cannot be used, with what was collected before; with `on_error="skip"` only
            if none can.
        LayerError
            If the layer gives no activations.
        """
        length = check_dataset(dataset)
        if not length:
            raise ValueError("the data set is empty")
        own = check_columns(getattr(dataset, "columns", None), length)
        tables = {**own, **check_columns(columns, length)}
        with self.segmenter.borrowed():
            first, layer, module = self._first(dataset, length, on_error)
            sizes = BatchSize(self.segmenter.batch_size, first.picture, self.segmenter.run_device)
            shelf = _Shelf(length, layer, first.picture.shape, self.thumbnail, self.memory_limit)
            with (
                self._tap(layer, module).open() as tap,
                tqdm(total=length, disable=not progress, unit="item", desc="collecting activations") as bar,
            ):
                waiting: list[tuple[int, Item]] = []

                def stop_or_skip(index: int, error: Exception) -> None:
                    bar.update()
                    if on_error == "raise":
                        raise CollectionError(str(error), index, shelf.collection(tables)) from error
                    shelf.skipped[index] = str(error)

                def run(some: list[tuple[int, Item]]) -> None:
                    for entry, error in self._run(some, tap, shelf, sizes):
                        if error is not None:
                            stop_or_skip(entry[0], error)
                        else:
                            bar.update()

                for index, item in read_items(dataset, first.mask.shape, num_workers):
                    if isinstance(item, Exception):
                        run(waiting)
                        waiting = []
                        stop_or_skip(index, item)
                        continue
                    waiting.append((index, item))
                    if len(waiting) >= sizes.size:
                        run(waiting)
                        waiting = []
                run(waiting)
        collected = shelf.collection(tables)
        if collected is None:
            index, message = next(iter(shelf.skipped.items()))
            raise CollectionError(f"no item could be used; the first: {message}", index, None)
        return collected

    def _tap(self, layer: Layer, module: nn.Module) -> Tap:
        return Tap(module, layer.name, lambda activation: pooled(activation, self.pool, self.grid))

    def _first(self, dataset: Dataset, length: int, on_error: str) -> tuple[Item, Layer, nn.Module]:
        """The first item that can be used, whose size is that of all, and the layer as it shows in it."""
        for index in range(length):
            problem: Exception
            try:
                item = read_item(dataset, index, warn=True)
            except (ValueError, TypeError) as error:
                problem = error
            else:
                try:
                    return item, *self._layer(item)
                except ModelError as error:
                    problem = _named(error, index)
            if on_error == "raise":
                raise CollectionError(str(problem), index, None) from problem
            message = str(problem)
        raise CollectionError(f"no item could be used; the last: {message}", length - 1, None)

    def _layer(self, item: Item) -> tuple[Layer, nn.Module]:
        """The layer, and what it puts out for an item."""
        picture = item.picture[None]
        try:
            # Two pictures tell an axis for pictures from any other.
            layer, module = find_layer(self.segmenter, self.layer, picture.repeat(2, 1, 1, 1))
        except ModelError:
            # Some models take pictures one by one.
            layer, module = find_layer(self.segmenter, self.layer, picture)
        example = pooled(torch.zeros(1, *layer.shape), self.pool, self.grid)
        check_width(example.shape[1], self.least_features)
        return layer, module

    def _run(
        self, entries: list[tuple[int, Item]], tap: Tap, shelf: _Shelf, sizes: BatchSize
    ) -> Iterator[tuple[tuple[int, Item], Exception | None]]:
        """Each entry with None when it was put on the shelf, or with what went wrong."""
        start = 0
        while start < len(entries):
            some = entries[start : start + sizes.size]
            before = time.perf_counter()
            try:
                self._measure(some, tap, shelf)
            except Exception as error:  # noqa: BLE001 - reported with its item
                tap.clear()
                if len(some) == 1:
                    yield some[0], _named(error, some[0][0])
                elif is_out_of_memory(error):
                    sizes.halve()
                    continue
                else:
                    # One by one: what can be used is, and what cannot is named.
                    for entry in some:
                        yield from self._run([entry], tap, shelf, sizes)
            else:
                sizes.took(len(some), time.perf_counter() - before)
                yield from ((entry, None) for entry in some)
            start += len(some)

    def _measure(self, entries: list[tuple[int, Item]], tap: Tap, shelf: _Shelf) -> None:
        segmenter = self.segmenter
        pictures = torch.stack([item.picture for _, item in entries])
        truths = np.stack([item.mask for _, item in entries])
        with torch.inference_mode():
            raw = segmenter.raw(pictures)
            features = tap.take(len(entries))
            if not bool(torch.isfinite(features).all()):
                bad = int((~torch.isfinite(features)).any(1).nonzero()[0])
                raise ModelOutputError("the activations have NaN or infinity", bad)
            masks = segmenter.binarize(raw)
            truth = torch.from_numpy(truths).to(masks.device)
            hits = (masks & truth).flatten(1).sum(1)
            misses = truth.flatten(1).sum(1) - hits
            false_alarms = masks.flatten(1).sum(1) - hits
        shelf.put(
            entries,
            features=features.cpu().numpy(),
            pictures=pictures,
            truths=truths,
            predictions=masks.cpu().numpy(),
            counts=torch.stack([hits, misses, false_alarms]).cpu().numpy(),
        )


def check_width(features: int, least: int) -> None:
    """As many features as components are needed."""
    if features < least:
        raise ValueError(f"{least} components need as many features, layer and pool give {features}")


def _named(error: Exception, index: int) -> Exception:
    if is_out_of_memory(error):
        return ModelError(f"item {index}: out of memory even for a single picture")
    return ModelError(f"item {index}: {error}") if str(error) else ModelError(f"item {index}: {type(error).__name__}")


class _Shelf:
    """Room for everything that is collected, filled from the front."""

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
