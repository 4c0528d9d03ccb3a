"""One pass over a data set: activations, predictions and their overlap with the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdm_widgets._datasets import Dataset, Field, Fields, as_dataset
from hdm_widgets._masks import Ignore, check_ignore, read_mask
from hdm_widgets._picture import Display
from hdm_widgets._validation import check_choice
from hdm_widgets.latent.activations import (
    ActivationHook,
    Layer,
    Pool,
    find_module,
    network_of,
    pooled,
    unwrapped_segmenter,
)
from hdm_widgets.latent.batches import Progress, progress_bar
from hdm_widgets.latent.collection import Collection, CollectionBuilder, CollectionError
from hdm_widgets.latent.data_columns import check_columns, dataset_columns
from hdm_widgets.latent.items import (
    Item,
    is_worker_error,
    read_item,
    read_items,
    warn_of_ambiguity,
)
from hdm_widgets.latent.layers import find_layer
from hdm_widgets.latent.layouts import Layout
from hdm_widgets.latent.measuring import Measurer
from hdm_widgets.latent.observations import Observations, new_items
from hdm_widgets.latent.thumbnails import ThumbnailMaker
from hdm_widgets.models.batch_check import run_singly_if_mixing
from hdm_widgets.models.batch_size import BatchSize, run_in_batches
from hdm_widgets.models.compiled import uncompiled
from hdm_widgets.models.errors import ModelError, is_out_of_memory
from hdm_widgets.models.modules import unwrapped
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["Collector", "check_width"]

# As `CollectionBuilder` is made.
NewBuilder: TypeAlias = Callable[..., CollectionBuilder]

# Activations beyond this many bytes go to a temporary file.
MEMORY_LIMIT = 1 << 30
# Pixels of a batch whose size is not given. On a CPU, larger batches fall out of cache.
_CPU_PIXELS, _GPU_PIXELS = 1 << 18, 1 << 21
_LARGEST_BATCH = 64


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
        Features that an item must have at least.
    memory_limit : int
        Bytes of activations that are kept in memory; more go to a temporary file.
    layout : {"auto", "channels_first", "channels_last"}
        See `find_layer`.
    display : Display
        How thumbnails show the images.
    """

    segmenter: Segmenter
    layer: nn.Module | str = "auto"
    pool: Pool = "mean"
    grid: int = 2
    thumbnail: int = 48
    least_features: int = 1
    memory_limit: int = MEMORY_LIMIT
    layout: Layout = "auto"
    display: Display = field(default_factory=Display)

    def features(self, images: Tensor, layer: Layer) -> NDArray[np.float32]:
        """Pooled activations (n, d) of images (n, C, H, W) that are no items of a data set."""
        with self._running() as segmenter, self._hook(layer).attached() as hook:

            def run(part: slice) -> NDArray[np.float32]:
                hook.clear()
                # A copy: a model may write into its input, and a batch may have to run again.
                batch = images[part].clone()
                segmenter.raw(batch)
                return hook.take(len(batch)).cpu().numpy()

            sizes = self._sizes(images[0])
            if len(images) > 1:
                run_singly_if_mixing(self.segmenter, images[0], sizes, remind=False)
            batches = run_in_batches(len(images), run, sizes)
            features = np.concatenate([output for _, output in batches])
        if not np.isfinite(features).all():
            raise ValueError("the activations have NaN or infinity")
        return features

    def collect(
        self,
        dataset: Dataset,
        *,
        columns: Any = None,
        ignore: Ignore | None = None,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        progress: bool = True,
        fields: Fields | None = None,
        new_builder: NewBuilder = CollectionBuilder,
    ) -> Collection:
        """Run the model once on every item; see `LatentSpace.fit` for the parameters.

        What is collected goes to a builder that `new_builder` makes. It says which items are still to be run, and may
        store them in shards.

        Raises
        ------
        CollectionError
            At the first item that cannot be used, with what was collected before; with `on_error="skip"` only
            if none can.
        LayerError
            If the layer gives no activations.
        """
        if ignore is not None:
            check_ignore(ignore)
        reading = {"fields": fields, "ignore": ignore, "num_workers": num_workers}
        return self._run(as_dataset(dataset), None, columns, on_error, progress, reading, new_builder)

    def observe(
        self,
        data: Dataset | Tensor | NDArray[Any] | Sequence[Any],
        like: Collection,
        *,
        image: Field | None = None,
        mask: Field | None = None,
        ignore: Ignore | None = None,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        progress: Progress = True,
    ) -> Observations:
        """Run the model once on every item of new data, which may have true masks or not.

        Parameters
        ----------
        data : Dataset, torch.Tensor or numpy.ndarray (N, C, H, W), or list of images
            As for `LatentSpace.fit`; items may also be images alone, pairs of an image and anything else, or mappings
            without a mask.
        like : Collection
            What the map was made of: its layer is used, and images must have as many channels, and one size of their
            own.
        image, mask : str, int or callable, optional
            Where the image and the mask of an item are; as in the data of the map by default. If `mask` is given, every
            item must have one.
        ignore : number or array of bool (H, W), optional
            Pixels that do not count.
        num_workers, on_error
            As for `LatentSpace.fit`.
        progress : bool or callable
            Show a bar; or a function (done, total) that is called after every batch. An error of it ends the pass.

        Returns
        -------
        Observations

        Raises
        ------
        CollectionError
            At the first item that cannot be used; with `on_error="skip"` only if none can.
        ValueError, TypeError
            If the data is not of the kind that the map was made of, or an argument is wrong.
        """
        check_choice("on_error", on_error, ("raise", "skip"))
        if ignore is not None:
            check_ignore(ignore)
        if like.layer.given:
            raise ValueError("this map was made of features, by LatentSpace.from_features, and has no layer to observe")
        dataset, alone = new_items(data, like.image_shape[0])
        fields = Fields() if alone else Fields(like.fields.image if image is None else image, mask or like.fields.mask)
        reading = {
            "fields": fields, "ignore": ignore, "num_workers": num_workers, "mask_needed": mask is not None
        }  # fmt: skip
        return Observations(self._run(dataset, like, None, on_error, progress, reading), dataset)

    def _run(
        self,
        dataset: Dataset,
        like: Collection | None,
        columns: Any,
        on_error: Literal["raise", "skip"],
        progress: Progress,
        reading: dict[str, Any],
        new_builder: NewBuilder = CollectionBuilder,
    ) -> Collection:
        """One pass over a data set: for a map, or over new data `like` that of one; `reading` is for `read_items`."""
        length = len(dataset)
        tables = {**dataset_columns(dataset), **check_columns(columns, length)}
        reading["preprocess"] = self._preprocess
        fields, ignore = reading["fields"], reading["ignore"]
        with self._running() as segmenter:
            at, first, layer = self._first(dataset, on_error, reading, like)
            excluded = read_mask(ignore).mask if isinstance(ignore, (Tensor, np.ndarray)) else None
            sizes = self._sizes(first.image)
            run_singly_if_mixing(self.segmenter, first.image, sizes, remind=True)
            self.display.check(len(first.image))
            thumbnails = ThumbnailMaker.for_size(first.mask.shape, self.thumbnail, self.display)
            builder = new_builder(
                length,
                layer,
                first.image.shape,
                thumbnails,
                self.memory_limit,
                fields=fields,
                ignore=ignore,
                new=like is not None,
            )
            with (
                self._hook(layer).attached() as hook,
                progress_bar(length, progress, "collecting activations" if like is None else "observing") as bar,
            ):
                if len(builder.indices) < length:
                    bar.update(length - len(builder.indices))
                measurer = Measurer(segmenter, hook, builder, excluded)
                waiting: list[tuple[int, Item]] = []

                def stop_or_skip(index: int, error: Exception) -> None:
                    measurer.flush()
                    bar.update()
                    builder.stop_or_skip(index, error, tables, on_error)

                def run_waiting() -> None:
                    def run(part: slice) -> None:
                        measurer.run(entries[part])

                    def failed(position: int, error: Exception) -> None:
                        if is_worker_error(error):
                            raise error
                        index = entries[position][0]
                        stop_or_skip(index, _with_index(error, index))

                    # Without those that were added before a worker's death stopped a run.
                    entries = [(index, item) for index, item in waiting if index >= builder.next_index]
                    for part, _ in run_in_batches(len(entries), run, sizes, on_error=failed):
                        bar.update(part.stop - part.start)
                    waiting.clear()

                def run_all_waiting() -> None:
                    with measurer.flushing():
                        run_waiting()

                items = read_items(dataset, first.mask.shape, indices=builder.indices, **reading)
                marked = None if builder.any_ignored else ignore
                with builder.keeping(tables, run_all_waiting), closing(items), measurer.flushing():
                    for index, item in builder.compared(warn_of_ambiguity(items, marked), at, first):
                        ends = builder.ends_shard(index)
                        if isinstance(item, Exception):
                            run_waiting()
                            stop_or_skip(index, item)
                        else:
                            waiting.append((index, item))
                        if len(waiting) >= sizes.size or ends:
                            run_waiting()
                        if ends:
                            measurer.flush()
                            builder.store_shard()
                    run_waiting()
        return builder.build_some(tables)

    def _sizes(self, image: Tensor) -> BatchSize:
        """Batches of a size that depends on the images alone: rounding is another in batches of another size."""
        device = self.segmenter.run_device
        pixels = _CPU_PIXELS if device.type == "cpu" else _GPU_PIXELS
        fitting = max(1, pixels // (image.shape[-2] * image.shape[-1]))
        return BatchSize(self.segmenter.batch_size or min(_LARGEST_BATCH, fitting), image, device)

    @property
    def _preprocess(self) -> bool:
        """Whether the Segmenter takes images of any values."""
        return self.segmenter.preprocess is not None

    @contextmanager
    def _running(self) -> Iterator[Segmenter]:
        """The segmenter around the network inside any wrapper, with the model held in eval mode."""
        with self.segmenter.evaluating(), uncompiled(unwrapped(network_of(self.segmenter))):
            yield unwrapped_segmenter(self.segmenter)

    def _hook(self, layer: Layer) -> ActivationHook:
        network = network_of(self.segmenter)
        module = find_module(network, layer.name)

        def reduce(activation: Tensor) -> Tensor:
            return pooled(layer.maps(activation), self.pool, self.grid)

        return ActivationHook(module, layer.name, reduce, unwrapped(network))

    def _first(
        self, dataset: Dataset, on_error: str, reading: dict[str, Any], like: Collection | None
    ) -> tuple[int, Item, Layer]:
        """The first item that can be used, with its index, and the layer with its output for it.

        Its size is that of all.
        """
        reading = {name: value for name, value in reading.items() if name != "num_workers"}
        for index in range(len(dataset)):
            problem: Exception
            try:
                item = read_item(dataset, index, **reading)
            except (ValueError, TypeError) as error:
                problem = error
            else:
                try:
                    if like is None:
                        return index, item, self._layer(item)
                    self._check_like(item, like)
                    return index, item, like.layer
                except Exception as error:
                    if not isinstance(error, ModelError) and not is_out_of_memory(error):
                        raise
                    problem = _with_index(error, index)
            if on_error == "raise":
                raise CollectionError(str(problem), index, None) from problem
            message = str(problem)
        raise CollectionError(f"no item could be used; the last: {message}", len(dataset) - 1, None)

    def _check_like(self, item: Item, like: Collection) -> None:
        """Refuse new images that have other channels than those of the map, or another size where that matters."""
        shape = tuple(item.image.shape)
        if shape[0] != like.image_shape[0]:
            raise ValueError(f"new images must have {like.image_shape[0]} channels as those of the map, got {shape}")
        if self.pool == "flatten" and shape != like.image_shape:
            raise ValueError(f"pool='flatten' takes images of one size, {like.image_shape}, got {shape}")

    def _layer(self, item: Item) -> Layer:
        """The layer, and the shape of its output for an item."""
        # Two images tell an axis for images from any other. Some models take images one by one, and there may be
        # memory for one only.
        layer = (
            self._found(item.image.repeat(2, 1, 1, 1))
            or find_layer(self.segmenter, self.layer, item.image[None], self.layout)[0]
        )
        example = pooled(torch.zeros(1, *layer.map_shape), self.pool, self.grid)
        check_width(example.shape[1], self.least_features)
        return layer

    def _found(self, images: Tensor) -> Layer | None:
        """The layer; None if the model cannot run on these images."""
        try:
            return find_layer(self.segmenter, self.layer, images, self.layout)[0]
        except Exception as error:
            if not isinstance(error, ModelError) and not is_out_of_memory(error):
                raise
            return None


def check_width(features: int, least: int) -> None:
    """As many features as components are needed."""
    if features < least:
        raise ValueError(f"{least} components need as many features, layer and pool give {features}")


def _with_index(error: Exception, index: int) -> ModelError:
    """The error as one that names the item."""
    if is_out_of_memory(error) and not isinstance(error, ModelError):
        return ModelError(f"item {index}: out of memory even for a single image")
    return ModelError(f"item {index}: {str(error) or type(error).__name__}")
