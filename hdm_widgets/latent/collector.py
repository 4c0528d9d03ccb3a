"""One pass over a data set: activations, predictions and their overlap with the truth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from hdm_widgets.latent.activations import Layer, Pool, Tap, named_module, network_of, pooled
from hdm_widgets.latent.collection import Collection, CollectionError, Shelf
from hdm_widgets.latent.items import Dataset, Item, check_columns, check_dataset, read_item, read_items
from hdm_widgets.latent.layers import find_layer
from hdm_widgets.models.batch_size import BatchSize
from hdm_widgets.models.segmenter import ModelError, ModelOutputError, Segmenter, is_out_of_memory

__all__ = ["Collector", "check_width"]

# Activations beyond this many bytes go to a temporary file.
MEMORY_LIMIT = 1 << 30


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

    def features(self, pictures: Tensor, layer: Layer) -> NDArray[np.float32]:
        """Pooled activations (n, d) of pictures (n, C, H, W) that are no items of a data set."""
        module = named_module(network_of(self.segmenter), layer.name)
        with self._tap(layer, module).open() as tap, self.segmenter.evaluating():
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
        own = check_columns(getattr(dataset, "columns", None), length)
        tables = {**own, **check_columns(columns, length)}
        with self.segmenter.evaluating():
            first, layer, module = self._first(dataset, length, on_error)
            sizes = BatchSize(self.segmenter.batch_size, first.picture, self.segmenter.run_device)
            shelf = Shelf(length, layer, first.picture.shape, self.thumbnail, self.memory_limit)
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
        self, entries: list[tuple[int, Item]], tap: Tap, shelf: Shelf, sizes: BatchSize
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
                sizes.record(len(some), time.perf_counter() - before)
                yield from ((entry, None) for entry in some)
            start += len(some)

    def _measure(self, entries: list[tuple[int, Item]], tap: Tap, shelf: Shelf) -> None:
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
