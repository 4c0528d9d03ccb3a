"""A fit that keeps what it collects in a store, and goes on where one before it ended."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdm_widgets._cluster import PARCELS
from hdm_widgets._datasets import Dataset, Fields
from hdm_widgets._masks import Ignore
from hdm_widgets._store_files import StoreFiles, import_zarr
from hdm_widgets._store_lock import WriterLock, writing
from hdm_widgets.latent.activations import Layer, pooled
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.fitted import FittedMap
from hdm_widgets.latent.items import Item, read_item
from hdm_widgets.latent.store import shards
from hdm_widgets.latent.store.builder import ShardWriter, StoreBuilder
from hdm_widgets.latent.store.checks import note_checked, read_records
from hdm_widgets.latent.store.contents import MANIFEST, StoredCollection
from hdm_widgets.latent.store.manifest import KIND, describe, model_of, versions
from hdm_widgets.latent.store.shards import ShardRecord
from hdm_widgets.latent.store.summary import write_index, write_summary
from hdm_widgets.latent.thumbnails import ThumbnailMaker
from hdm_widgets.models.description import differences

if TYPE_CHECKING:
    from hdm_widgets.latent.collector import Collector

__all__ = ["StoreSession"]

_PLAN = "plan.json"
# Stored items that are read again, to see whether the data set is the same.
_COMPARED = 16


class StoreSession:
    """Holds a store for one fit: checks what is there, says what is missing, and writes that.

    Parameters
    ----------
    address : str or os.PathLike
    collector : Collector
    dataset : Dataset
    fields : Fields
    ignore : number or array of bool, optional
    progress : bool
        Show bars.
    """

    def __init__(
        self,
        address: str | os.PathLike[str],
        collector: Collector,
        dataset: Dataset,
        fields: Fields,
        ignore: Ignore | None,
        *,
        progress: bool,
    ) -> None:
        import_zarr()
        self.files = StoreFiles(address)
        self._collector, self._dataset, self._fields, self._ignore = collector, dataset, fields, ignore
        self._progress = progress
        self._open = ExitStack()
        self._lock: WriterLock
        self._manifest: dict[str, Any] = {}
        self._index: dict[str, Any] = {}

    def __enter__(self) -> StoreSession:
        self._lock = self._open.enter_context(writing(self.files))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, traceback)

    def builder(
        self,
        length: int,
        layer: Layer,
        image_shape: torch.Size,
        thumbnails: ThumbnailMaker,
        memory_limit: int,
        **options: Any,
    ) -> StoreBuilder:
        """The builder for what the store lacks; it takes what `CollectionBuilder` does.

        Raises
        ------
        StoreError
            If the store is of anything else than what is to be collected.
        """
        self._manifest = manifest = self._take_manifest(layer, image_shape, thumbnails, length)
        records = read_records(self.files, manifest["id"], progress=self._progress)
        self._check_length(records, length)
        self._check_items(records, image_shape)
        self._check_activations(records, layer, image_shape)
        planned = (self.files.read_json(_PLAN) or {}).get("shards") or shards.plan_of(records, manifest["capacity"])
        bounds = shards.plan(planned, records, length, manifest["capacity"])
        if bounds != planned:
            self.files.write_json(_PLAN, {"shards": bounds})
        self.files.remove_temporary()
        self.files.remove(PARCELS)
        return StoreBuilder(
            self,
            dict(enumerate(bounds)),
            records,
            (length, layer, image_shape, thumbnails, memory_limit),
            **options,
        )

    def write(self, number: int, bounds: list[int], collection: Collection | None, **about: Any) -> ShardRecord:
        """Write a shard; see `write_shard`."""
        self.check_lock()
        return self.writer().write(number, bounds, collection, **about)

    def writer(self) -> ShardWriter:
        """What writes shards, here and on workers."""
        return ShardWriter(self.files, self._manifest["id"], self.capacity)

    def check_lock(self) -> None:
        """Raise a StoreError once another process writes to the store."""
        self._lock.check()

    def complete(
        self, records: dict[int, ShardRecord], described: Mapping[str, Any], tables: Mapping[str, NDArray[Any]]
    ) -> StoredCollection | None:
        """Write the columns of all items, and give what the store holds; None if that is no item."""
        self.check_lock()
        ordered = [records[number] for number in sorted(records)]
        if not any(record.count for record in ordered):
            return None
        note_checked(self.files, records)
        summary = write_summary(self.files, ordered, self.capacity, described, tables)
        self._index = {**summary, "model": model_of(self._manifest["of"])}
        return StoredCollection(self.files, self._index, self._fields)

    def save_map(self, fitted: FittedMap, settings: dict[str, Any]) -> None:
        """Write the map that was made of what the store holds: from then on it can be opened."""
        self.check_lock()
        write_index(self.files, self._index, fitted, settings)

    @property
    def capacity(self) -> int:
        """Room for items in a shard."""
        return int(self._manifest["capacity"])

    def _take_manifest(
        self, layer: Layer, image_shape: torch.Size, thumbnails: ThumbnailMaker, length: int
    ) -> dict[str, Any]:
        """What the store is of, written if it is new."""
        collector, files = self._collector, self.files
        wanted = describe(
            collector.segmenter,
            layer,
            collector.pool,
            collector.grid,
            tuple(image_shape),
            thumbnails,
            self._fields,
            self._ignore,
        )
        manifest = files.read_manifest(MANIFEST, KIND, "store")
        if manifest is None:
            features = pooled(torch.zeros(1, *layer.map_shape), collector.pool, collector.grid).shape[1]
            pixels = image_shape[-2] * image_shape[-1]
            each = 4 * features + pixels // 2 + 3 * collector.thumbnail**2
            manifest = {
                "format": KIND,
                "id": uuid.uuid4().hex,
                "capacity": shards.capacity_for(length, each),
                "of": wanted,
                "versions": versions(),
            }
            files.write_json(MANIFEST, manifest)
        if differing := differences(manifest["of"], wanted):
            raise self.files.refused(f"the fit: {'; '.join(differing)}")
        return manifest

    def _check_length(self, records: dict[int, ShardRecord], length: int) -> None:
        stored = max((record.stop for record in records.values()), default=0)
        if stored > length:
            raise self.files.refused(
                f"the data set: it was written from {stored} items or more, the data set has {length}"
            )

    def _check_items(self, records: dict[int, ShardRecord], image_shape: torch.Size) -> None:
        """Refuse a store whose items are not those of the data set, by some of them."""
        fingerprints = [record.fingerprint for _, record in sorted(records.items()) if record.fingerprint is not None]
        if any(record.random for record in records.values()):
            return
        places = np.linspace(0, len(fingerprints) - 1, min(_COMPARED, len(fingerprints))).round().astype(int)
        for fingerprint in (fingerprints[place] for place in places):
            try:
                differing = fingerprint.difference(self._item(fingerprint.index, image_shape))
            except (ValueError, TypeError) as error:
                raise self.files.refused(f"the data set: {error}") from error
            if differing:
                raise self.files.refused(
                    f"the data set: the {differing} of item {fingerprint.index} is not the one that was collected"
                )

    def _check_activations(self, records: dict[int, ShardRecord], layer: Layer, image_shape: torch.Size) -> None:
        """Refuse a store if the model gives other activations for its first item."""
        record = next((record for _, record in sorted(records.items()) if record.count), None)
        if record is None or record.random or self._collector.segmenter.reading.random:
            return
        index = int(shards.read_array(self.files, record, "counts", self.capacity)[0, 0])
        stored = shards.read_array(self.files, record, "features", self.capacity)[0]
        features = self._collector.features(self._item(index, image_shape).image[None], layer)[0]
        if not np.allclose(features, stored, rtol=1e-2, atol=1e-3 * float(np.abs(stored).max())):
            raise self.files.refused(
                f"the model: it gives other activations for item {index} than were collected, as with other code or "
                "preprocessing"
            )

    def _item(self, index: int, image_shape: torch.Size) -> Item:
        return read_item(
            self._dataset,
            index,
            (image_shape[-2], image_shape[-1]),
            fields=self._fields,
            ignore=self._ignore,
            preprocess=self._collector.segmenter.preprocess is not None,
        )
