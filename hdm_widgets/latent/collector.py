"""One pass over a data set: activations, predictions and their overlap with the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdm_widgets._datasets import Dataset, Field, Fields, as_dataset
from hdm_widgets._masks import Ignore, check_ignore
from hdm_widgets._picture import Display
from hdm_widgets._validation import check_choice
from hdm_widgets._wording import quantity
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
from hdm_widgets.latent.cluster_pass import ClusterPass, MergedBuilder
from hdm_widgets.latent.collection import Collection, CollectionBuilder, CollectionError
from hdm_widgets.latent.data_columns import check_columns, dataset_columns
from hdm_widgets.latent.item_pass import ItemPass, with_index
from hdm_widgets.latent.items import Item, read_item
from hdm_widgets.latent.layers import find_layer
from hdm_widgets.latent.layouts import Layout
from hdm_widgets.latent.observations import Observations, new_items
from hdm_widgets.latent.thumbnails import ThumbnailMaker
from hdm_widgets.models.batch_check import run_singly_if_mixing
from hdm_widgets.models.batch_size import BatchSize, run_in_batches
from hdm_widgets.models.compiled import uncompiled
from hdm_widgets.models.errors import ModelError, is_out_of_memory
from hdm_widgets.models.modules import unwrapped
from hdm_widgets.models.segmenter import Segmenter

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Collector", "check_width"]

# As `CollectionBuilder` is made.
NewBuilder: TypeAlias = Callable[..., CollectionBuilder]
# As `ItemPass.run` is called.
RunPass: TypeAlias = Callable[..., None]

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
        with self.running() as segmenter, self.hook(layer).attached() as hook:

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
        run: RunPass = ItemPass.run,
    ) -> Collection:
        """Run the model once on every item; see `LatentSpace.fit` for the parameters.

        What is collected goes to a builder that `new_builder` makes. It says which items are still to be run, and may
        store them in shards. `run` takes what `ItemPass.run` takes, and may do the same in other processes.

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
        return self._run(as_dataset(dataset), None, columns, on_error, progress, reading, new_builder, run)

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
        client: Client | None = None,
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
        client : distributed.Client, optional
            Of a cluster whose workers collect the items, as `check_client` gives it.

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
        given = (dataset, like, None, on_error, progress, reading)
        if client is None:
            return Observations(self._run(*given), dataset)
        return Observations(self._run(*given, MergedBuilder, ClusterPass(client).run), dataset)

    def _run(
        self,
        dataset: Dataset,
        like: Collection | None,
        columns: Any,
        on_error: Literal["raise", "skip"],
        progress: Progress,
        reading: dict[str, Any],
        new_builder: NewBuilder = CollectionBuilder,
        run: RunPass = ItemPass.run,
    ) -> Collection:
        """One pass over a data set: for a map, or over new data `like` that of one; `reading` is for `read_items`."""
        length = len(dataset)
        tables = {**dataset_columns(dataset), **check_columns(columns, length)}
        reading["preprocess"] = self._preprocess
        with self.running() as segmenter:
            at, first, layer = self._first(dataset, on_error, reading, like)
            sizes = self._sizes(first.image)
            run_singly_if_mixing(self.segmenter, first.image, sizes, remind=True)
            self.display.check(len(first.image))
            thumbnails = ThumbnailMaker.for_size(first.mask.shape, self.thumbnail, self.display)
            new = like is not None
            items = ItemPass(self, layer, (at, first), sizes, thumbnails, reading, on_error, new)
            builder = items.builder(new_builder, length)
            with progress_bar(length, progress, "observing" if new else "collecting activations") as bar:
                if len(builder.indices) < length:
                    bar.update(length - len(builder.indices))
                run(items, segmenter, dataset, builder, tables, bar)
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
    def running(self) -> Iterator[Segmenter]:
        """The segmenter around the network inside any wrapper, with the model held in eval mode."""
        with self.segmenter.evaluating(), uncompiled(unwrapped(network_of(self.segmenter))):
            yield unwrapped_segmenter(self.segmenter)

    def hook(self, layer: Layer) -> ActivationHook:
        """What records the pooled activations of a layer."""
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
                    problem = with_index(error, index)
            if on_error == "raise":
                raise CollectionError(str(problem), index, None) from problem
            message = str(problem)
        raise CollectionError(f"no item could be used; the last: {message}", len(dataset) - 1, None)

    def _check_like(self, item: Item, like: Collection) -> None:
        """Refuse new images that have other channels than those of the map, or another size where that matters."""
        shape = tuple(item.image.shape)
        if shape[0] != like.image_shape[0]:
            raise ValueError(
                f"new images must have {quantity(like.image_shape[0], 'channel')} as those of the map, got {shape}"
            )
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
