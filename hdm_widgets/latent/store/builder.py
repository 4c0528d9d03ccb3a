"""The builder of a collection that goes to a store, shard by shard."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hdm_widgets._store_files import StoreFiles
from hdm_widgets.latent.activations import Layer
from hdm_widgets.latent.collection import Collection, CollectionBuilder, InterruptedCollectionError
from hdm_widgets.latent.items import Item
from hdm_widgets.latent.store.shards import ItemFingerprint, ShardRecord, write_shard
from hdm_widgets.latent.thumbnails import ThumbnailMaker

__all__ = ["ShardStore", "ShardWriter", "ShardedBuilder", "StoreBuilder", "WholeStore"]


class ShardStore(Protocol):
    """Where shards go."""

    @property
    def files(self) -> StoreFiles:
        """The files of the store."""

    @property
    def capacity(self) -> int:
        """Room for items in a shard."""

    def write(self, number: int, bounds: list[int], collection: Collection | None, **about: Any) -> ShardRecord:
        """Write a shard."""


class WholeStore(ShardStore, Protocol):
    """A store that a fit holds."""

    def complete(
        self, records: dict[int, ShardRecord], described: Mapping[str, Any], tables: Mapping[str, NDArray[Any]]
    ) -> Collection | None:
        """What all shards hold."""


@dataclass(frozen=True)
class ShardWriter:
    """Writes shards of one store, in any process.

    Attributes
    ----------
    files : StoreFiles
    store : str
        Identity of the store.
    capacity : int
        Room for items in a shard.
    """

    files: StoreFiles
    store: str
    capacity: int

    def write(self, number: int, bounds: list[int], collection: Collection | None, **about: Any) -> ShardRecord:
        """Write a shard; see `write_shard`."""
        return write_shard(self.files, self.store, self.capacity, number, (bounds[0], bounds[1]), collection, **about)


class ShardedBuilder(CollectionBuilder):
    """Arrays for one shard after the other, each written to a store when it is full.

    Parameters
    ----------
    store : ShardStore
    bounds : dict of int to list of int
        [start, stop) of the items of every shard, by number.
    records : dict of int to ShardRecord
        The shards that are stored, by number.
    given : tuple
        The positional arguments of `CollectionBuilder`; the first is the number of items in the data set.
    **options : object
        The others of `CollectionBuilder`.
    """

    def __init__(
        self,
        store: ShardStore,
        bounds: dict[int, list[int]],
        records: dict[int, ShardRecord],
        given: tuple[int, Layer, torch.Size, ThumbnailMaker, int],
        **options: Any,
    ) -> None:
        self._total, *others = given
        super().__init__(store.capacity, *others, **options)  # type: ignore[arg-type]  # a tuple of five
        self._store, self._bounds, self._records = store, bounds, records
        self._missing = [number for number in sorted(bounds) if number not in records]
        self._fingerprint: ItemFingerprint | None = None
        self.any_ignored = any("ignored" in record.arrays for record in records.values())
        ranges = [range(*bounds[number]) for number in self._missing]
        contiguous = all(one.stop == other.start for one, other in itertools.pairwise(ranges))
        if ranges and contiguous:
            self.indices = range(ranges[0].start, ranges[-1].stop)
        else:
            self.indices = [index for one in ranges for index in one]

    def compared(
        self, items: Iterable[tuple[int, Item | Exception]], index: int, first: Item
    ) -> Iterator[tuple[int, Item | Exception]]:
        """As for any builder; the first item of each shard is kept, to know the data set again."""
        for position, item in super().compared(items, index, first):
            if self._fingerprint is None and isinstance(item, Item):
                self._fingerprint = ItemFingerprint.from_item(position, item)
            yield position, item

    @property
    def missing(self) -> dict[int, list[int]]:
        """[start, stop) of the items of every shard that is not stored, by number."""
        return {number: self._bounds[number] for number in self._missing}

    def add_record(self, record: ShardRecord) -> None:
        """Note a shard that another process has stored."""
        self._records[record.number] = record
        self._missing.remove(record.number)

    def ends_shard(self, index: int) -> bool:
        """Whether this item is the last of its shard."""
        return bool(self._missing) and index == self._bounds[self._missing[0]][1] - 1

    def store_shard(self) -> None:
        """Write what was collected since the last shard.

        Raises
        ------
        StoreError
            If it cannot be written; what was written before stays.
        """
        number = self._missing[0]
        self._records[number] = self._store.write(
            number,
            self._bounds[number],
            self.build({}),
            beside=self._columns[: self._count],
            skipped=self.skipped,
            values=self.values,
            random=self.random,
            fingerprint=self._fingerprint,
        )
        del self._missing[0]
        self._fingerprint = None
        self.skipped = {}
        self._clear()

    @property
    def next_index(self) -> int:
        """Index of the first item of the data set that is neither stored nor added nor skipped."""
        if not self._missing:
            return self._total
        return max(super().next_index, self._bounds[self._missing[0]][0])

    @property
    def kept_advice(self) -> str:
        """What an error says of what is stored."""
        stored = sum(record.stop - record.start for record in self._records.values())
        return f"; {stored} of {self._total} items are in the store {self._store.files.address!r}: fit again to go on"

    def _masks_only(self, confidences: dict[str, NDArray[np.float64]]) -> bool:  # noqa: ARG002 - of one shard
        """All shards together tell."""
        return False

    def _interrupted(self, tables: dict[str, NDArray[Any]]) -> InterruptedCollectionError:  # noqa: ARG002 - see `_kept`
        """Without an item: shards are stored in any order."""
        return InterruptedCollectionError(f"interrupted{self.kept_advice}", self.next_index, None)

    def _kept(self, tables: dict[str, NDArray[Any]]) -> Collection | None:  # noqa: ARG002 - what was kept is stored
        """An error carries nothing: the next fit goes on from the store."""
        return None


class StoreBuilder(ShardedBuilder):
    """The builder of a whole store; it takes what `ShardedBuilder` does."""

    def __init__(
        self,
        store: WholeStore,
        bounds: dict[int, list[int]],
        records: dict[int, ShardRecord],
        given: tuple[int, Layer, torch.Size, ThumbnailMaker, int],
        **options: Any,
    ) -> None:
        super().__init__(store, bounds, records, given, **options)
        self._whole = store

    def build_some(self, tables: dict[str, NDArray[Any]]) -> Collection:
        """What the store holds, once all shards are in it."""
        records = [self._records[number] for number in sorted(self._records)]
        skipped = {int(index): message for record in records for index, message in record.skipped.items()}
        described = {
            "layer": self._layer,
            "image_shape": self._shape,
            "skipped": skipped,
            "fields": self._fields,
            "ignore_value": self._ignore_value,
            "thumbnail_maker": self._thumbnail_maker,
            "no_confidences": self._no_confidences,
            "values": next((record.values for record in records if record.values), ""),
        }
        self.skipped = skipped
        return self._announced(self._whole.complete(self._records, described, tables), self._total)
