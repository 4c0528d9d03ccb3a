"""What a worker of a Dask cluster does for a fit: collect one shard, and write it to the store."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hdm_widgets._cluster import PARCELS
from hdm_widgets._datasets import Dataset
from hdm_widgets.latent.cluster_pass import SilentBar
from hdm_widgets.latent.item_pass import ItemPass
from hdm_widgets.latent.items import MaskNotes
from hdm_widgets.latent.store.builder import ShardedBuilder, ShardWriter
from hdm_widgets.latent.store.shards import ShardRecord

__all__ = ["ShardReport", "collect_shard"]


@dataclass(frozen=True)
class ShardReport:
    """What a worker tells of a shard that it has written.

    Attributes
    ----------
    record : ShardRecord
    notes : MaskNotes
        What its masks leave open.
    """

    record: ShardRecord
    notes: MaskNotes


class _EndedError(Exception):
    """The fit that wanted a shard has ended."""


class _WorkerBuilder(ShardedBuilder):
    """A builder whose fit gives the warnings."""

    def store_shard(self) -> None:
        """Write the shard, unless the fit has ended: then another one may write to the store."""
        if not self._store.files.sizes(PARCELS):
            raise _EndedError
        super().store_shard()

    def warn_of_randomness(self, index: int) -> None:
        """The record says it."""


def collect_shard(
    items: ItemPass, dataset: Dataset, writer: ShardWriter, length: int, number: int, bounds: list[int]
) -> ShardReport | None:
    """Collect the items of a shard and write it: the task that a worker runs.

    Parameters
    ----------
    items : ItemPass
        How items are collected, with the model.
    dataset : Dataset
    writer : ShardWriter
    length : int
        Items of the data set.
    number : int
    bounds : list of int
        [start, stop) of its items.

    Returns
    -------
    ShardReport or None
        None if the fit ended meanwhile, so that nobody reads it.
    """
    notes = MaskNotes()
    records: dict[int, ShardRecord] = {}

    def new_builder(length: int, *given: Any, **options: Any) -> _WorkerBuilder:
        return _WorkerBuilder(writer, {number: bounds}, records, (length, *given), **options)

    builder = items.builder(new_builder, length)
    with items.collector.running() as segmenter, suppress(_EndedError):
        items.run(segmenter, dataset, builder, {}, SilentBar(), notes)
    if number not in records:
        return None
    return ShardReport(records[number], notes)
