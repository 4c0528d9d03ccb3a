"""The pass over the items of a data set, once it is known how they are collected."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._datasets import Dataset
from hdm_widgets._masks import read_mask
from hdm_widgets.latent.activations import Layer
from hdm_widgets.latent.collection import CollectionBuilder
from hdm_widgets.latent.items import Item, MaskNotes, is_worker_error, read_items, warn_of_ambiguity
from hdm_widgets.latent.measuring import Measurer
from hdm_widgets.latent.thumbnails import ThumbnailMaker
from hdm_widgets.models.batch_size import BatchSize, run_in_batches
from hdm_widgets.models.errors import ModelError, is_out_of_memory
from hdm_widgets.models.segmenter import Segmenter

if TYPE_CHECKING:
    from hdm_widgets.latent.collector import Collector, NewBuilder

__all__ = ["Bar", "ItemPass", "with_index"]


class Bar(Protocol):
    """What shows how far a pass is."""

    def update(self, n: int = 1, /) -> object:
        """So many items more are done."""


@dataclass(frozen=True, eq=False)
class ItemPass:
    """How the items of a data set are collected: the same in this process and in others.

    Attributes
    ----------
    collector : Collector
    layer : Layer
        As it was found with the first item.
    first : tuple of (int, Item)
        The first item that can be used, with its index. All have its size.
    sizes : BatchSize
        Of the batches for the model.
    thumbnails : ThumbnailMaker
    reading : dict of str to object
        For `read_items`.
    on_error : {"raise", "skip"}
    new : bool
        Whether the items are new data for a map that is there.
    """

    collector: Collector
    layer: Layer
    first: tuple[int, Item]
    sizes: BatchSize
    thumbnails: ThumbnailMaker
    reading: dict[str, Any]
    on_error: Literal["raise", "skip"]
    new: bool

    def builder(self, new_builder: NewBuilder, length: int) -> CollectionBuilder:
        """What collects so many items."""
        return new_builder(
            length,
            self.layer,
            self.first[1].image.shape,
            self.thumbnails,
            self.collector.memory_limit,
            fields=self.reading["fields"],
            ignore=self.reading["ignore"],
            new=self.new,
        )

    def run(
        self,
        segmenter: Segmenter,
        dataset: Dataset,
        builder: CollectionBuilder,
        tables: dict[str, NDArray[Any]],
        bar: Bar,
        notes: MaskNotes | None = None,
    ) -> None:
        """Run the model on the items that the builder lacks.

        Parameters
        ----------
        segmenter : Segmenter
            As `Collector.running` gives it.
        dataset : Dataset
        builder : CollectionBuilder
        tables : dict of str to numpy.ndarray
            Columns of the whole data set, for what an error carries.
        bar : Bar
        notes : MaskNotes, optional
            What takes doubts about masks, in place of warnings.

        Raises
        ------
        CollectionError
            At an item that cannot be used.
        """
        ignore, sizes = self.reading["ignore"], self.sizes
        at, first = self.first
        excluded = read_mask(ignore).mask if isinstance(ignore, (Tensor, np.ndarray)) else None
        with self.collector.hook(self.layer).attached() as hook:
            measurer = Measurer(segmenter, hook, builder, excluded)
            waiting: list[tuple[int, Item]] = []

            def stop_or_skip(index: int, error: Exception) -> None:
                measurer.flush()
                bar.update()
                builder.stop_or_skip(index, error, tables, self.on_error)

            def run_waiting() -> None:
                def run(part: slice) -> None:
                    measurer.run(entries[part])

                def failed(position: int, error: Exception) -> None:
                    if is_worker_error(error):
                        raise error
                    index = entries[position][0]
                    stop_or_skip(index, with_index(error, index))

                # Without those that were added before a worker's death stopped a run.
                entries = [(index, item) for index, item in waiting if index >= builder.next_index]
                for part, _ in run_in_batches(len(entries), run, sizes, on_error=failed):
                    bar.update(part.stop - part.start)
                waiting.clear()

            def run_all_waiting() -> None:
                with measurer.flushing():
                    run_waiting()

            items = read_items(dataset, first.mask.shape, indices=builder.indices, **self.reading)
            marked = None if builder.any_ignored else ignore
            with builder.keeping(tables, run_all_waiting), closing(items), measurer.flushing():
                for index, item in builder.compared(warn_of_ambiguity(items, marked, notes), at, first):
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


def with_index(error: Exception, index: int) -> ModelError:
    """The error as one that names the item."""
    if is_out_of_memory(error) and not isinstance(error, ModelError):
        return ModelError(f"item {index}: out of memory even for a single image")
    return ModelError(f"item {index}: {str(error) or type(error).__name__}")
