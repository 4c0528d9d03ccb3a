"""Shards of a store: what was collected of a range of items, and a record that says that it is all there.

A shard is written by one process that needs nothing of the others: first its part of every array, then the record, with
the checksum of each. Without its record a shard counts as not collected.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._bitmasks import PackedMasks
from hdm_widgets._store_files import StoreFiles
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.items import Item
from hdm_widgets.latent.store.arrays import ArrayLayout, damaged

__all__ = [
    "COUNTS", "LARGE", "RECORDS", "ItemFingerprint", "ShardRecord", "capacity_for", "plan", "plan_of",
    "read_array", "read_beside", "record_name", "write_shard",
]  # fmt: skip

RECORDS = "shards"
# Arrays with much for each item. Features hardly shrink by compression.
LARGE = ("features", "truths", "predictions", "ignored", "thumbnails", "probability_maps")
_UNCOMPRESSED = ("features",)
# Columns of the array of counts; the array of scores has the label quality, and then the confidences.
COUNTS = ("item", "tp", "fn", "fp")
# Items of a shard: of small data sets fewer, so that an end loses little.
_LEAST, _MOST, _SHARDS = 64, 1024, 16
# Values of an image by which it is known again, and how far they may differ.
_VALUES, _TOLERANCE = 64, 1e-3


@dataclass(frozen=True)
class ItemFingerprint:
    """By what an item is known again.

    Attributes
    ----------
    index : int
        In the data set.
    values : list of float
        Some values of the image.
    mask : int
        Checksum of the true mask.
    """

    index: int
    values: list[float]
    mask: int

    @classmethod
    def from_item(cls, index: int, item: Item) -> ItemFingerprint:
        """Of an item as it was read."""
        flat = item.image.reshape(-1)
        places = np.linspace(0, len(flat) - 1, _VALUES).round().astype(np.int64)
        return cls(index, [float(flat[place]) for place in places], zlib.crc32(np.packbits(item.mask).tobytes()))

    def difference(self, item: Item) -> str:
        """What is another in an item that was read now; empty if nothing is."""
        values = ItemFingerprint.from_item(self.index, item)
        largest = max(map(abs, self.values))
        if not np.allclose(values.values, self.values, rtol=_TOLERANCE, atol=_TOLERANCE * largest):
            return "image"
        return "" if values.mask == self.mask else "mask"


@dataclass(frozen=True)
class ShardRecord:
    """What a shard holds.

    Attributes
    ----------
    store : str
        Identity of the store that it belongs to.
    number : int
        Where in the arrays it is.
    start, stop : int
        Its items are those of the data set from `start` to before `stop`, without those that were skipped.
    count : int
        Items in it.
    files : dict of str to list of int
        Size and CRC-32 checksum of each of its files.
    arrays : dict of str to list
        Type and shape of the rows of every array that it has.
    skipped : dict of str to str
        Items that could not be used, and why.
    confidences : list of str
        Names of the columns of scores after the first.
    certain : bool
        Whether no prediction had any entropy, as masks in place of probabilities have none.
    values : str
        What the model's values mean; see `Collection`.
    random : bool
        Whether an item was another one when it was read twice.
    fingerprint : ItemFingerprint or None
        The first item that could be read.
    """

    store: str
    number: int
    start: int
    stop: int
    count: int
    files: dict[str, list[int]]
    arrays: dict[str, list[Any]]
    skipped: dict[str, str]
    confidences: list[str]
    certain: bool
    values: str
    random: bool
    fingerprint: ItemFingerprint | None

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> ShardRecord | None:
        """A record as it was read; None if it is none."""
        try:
            fingerprint = fields["fingerprint"]
            return cls(**{**fields, "fingerprint": None if fingerprint is None else ItemFingerprint(**fingerprint)})
        except (KeyError, TypeError):
            return None

    @property
    def name(self) -> str:
        """Name of its file."""
        return record_name(self.number)

    def layout(self, name: str, capacity: int) -> ArrayLayout:
        """The layout of one of its arrays."""
        dtype, shape = self.arrays[name]
        return ArrayLayout(name, capacity, tuple(shape), dtype, name not in _UNCOMPRESSED)


def record_name(number: int) -> str:
    """Name of the file of a record."""
    return f"{RECORDS}/{number:08d}.json"


def columns_name(number: int) -> str:
    """Name of the file of what stood beside image and mask in the items of a shard."""
    return f"{RECORDS}/{number:08d}.columns.json"


def capacity_for(length: int, bytes_each: int, most_bytes: int = 1 << 26) -> int:
    """Room for items in a shard, a power of two: for a data set of this length, and this much for each item."""
    wanted = min(_MOST, max(_LEAST, -(-length // _SHARDS)), max(1, most_bytes // max(bytes_each, 1)))
    return 1 << (wanted.bit_length() - 1)


def plan(planned: list[list[int]], done: Iterable[int], length: int, capacity: int) -> list[list[int]]:
    """The ranges [start, stop) of all shards of a data set, by their numbers.

    Parameters
    ----------
    planned : list of list of int
        The plan so far, which stays as far as it can.
    done : iterable of int
        Numbers of the shards that are stored.
    length : int
        Items of the data set.
    capacity : int
        Of a shard.

    Returns
    -------
    list of list of int
    """
    stored = max(done, default=-1) + 1
    kept = list(planned)
    while len(kept) > stored and kept[-1][1] > length:
        kept.pop()
    covered = kept[-1][1] if kept else 0
    return [*kept, *([start, min(start + capacity, length)] for start in range(covered, length, capacity))]


def plan_of(records: dict[int, ShardRecord], capacity: int) -> list[list[int]]:
    """The plan by which these shards were written, where no file tells it; those that are lost had `capacity` items."""
    bounds: list[list[int]] = []
    for number in range(max(records, default=-1) + 1):
        start = bounds[-1][1] if bounds else 0
        later = min(record.start for other, record in records.items() if other >= number)
        bounds.append([start, records[number].stop if number in records else min(start + capacity, later)])
    return bounds


def write_shard(
    files: StoreFiles,
    store: str,
    capacity: int,
    number: int,
    bounds: tuple[int, int],
    collection: Collection | None,
    *,
    beside: list[dict[str, Any]],
    skipped: dict[int, str],
    values: str,
    random: bool,
    fingerprint: ItemFingerprint | None,
) -> ShardRecord:
    """Write a shard, its record last.

    Parameters
    ----------
    files : StoreFiles
    store : str
        Identity of the store.
    capacity : int
    number : int
    bounds : tuple of int
        (start, stop) of its items.
    collection : Collection or None
        What was collected of them; None if all were skipped.
    beside : list of dict
        What stood beside image and mask in each item.
    skipped : dict of int to str
    values : str
    random : bool
    fingerprint : ItemFingerprint or None

    Returns
    -------
    ShardRecord

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    # A record of what was damaged must not vouch for what replaces it.
    files.remove(record_name(number))
    written: dict[str, list[int]] = {}
    arrays: dict[str, list[Any]] = {}

    def write(name: str, data: bytes) -> None:
        files.write(name, data)
        written[name] = [len(data), zlib.crc32(data)]

    confidences = {} if collection is None else collection.confidences
    for name, rows in _arrays(collection, confidences).items():
        layout = ArrayLayout.of_rows(name, capacity, rows, compressed=name not in _UNCOMPRESSED)
        arrays[name] = [layout.dtype, list(layout.shape)]
        data = layout.encode(rows)
        if data is None:
            files.remove(layout.key(number))
        else:
            write(layout.key(number), data)
    if any(beside):
        write(columns_name(number), json.dumps(beside, default=str).encode())
    else:
        files.remove(columns_name(number))
    record = ShardRecord(
        store,
        number,
        *bounds,
        count=0 if collection is None else len(collection),
        files=written,
        arrays=arrays,
        skipped={str(index): message for index, message in skipped.items()},
        confidences=list(confidences),
        certain=not confidences or not confidences["mean_entropy"].any(),
        values=values,
        random=random,
        fingerprint=fingerprint,
    )
    files.write_json(record.name, asdict(record))
    return record


def _arrays(collection: Collection | None, confidences: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[Any]]:
    """The arrays of a shard by their names."""
    if collection is None:
        return {}
    large = {name: getattr(collection, name) for name in LARGE}
    arrays = {
        name: rows.packed if isinstance(rows, PackedMasks) else rows for name, rows in large.items() if rows is not None
    }
    arrays["counts"] = np.stack([collection.items, collection.tp, collection.fn, collection.fp], 1)
    if confidences:
        quality = collection.label_quality
        first = np.full(len(collection), np.nan) if quality is None else quality
        arrays["scores"] = np.stack([first, *confidences.values()], 1)
    return arrays


def read_beside(files: StoreFiles, record: ShardRecord) -> list[dict[str, Any]]:
    """What stood beside image and mask in each item of a shard."""
    if columns_name(record.number) not in record.files:
        return [{}] * record.count
    data = files.read(columns_name(record.number))
    found: list[dict[str, Any]] = [] if data is None else json.loads(data)
    return found


def read_array(files: StoreFiles, record: ShardRecord, name: str, capacity: int) -> NDArray[Any]:
    """All rows of one array of a shard."""
    layout = record.layout(name, capacity)
    key = layout.key(record.number)
    data = files.read(key) if key in record.files else None
    if key in record.files and (data is None or zlib.crc32(data) != record.files[key][1]):
        raise damaged(files, key, "it has another checksum than it was written with")
    return layout.decode(data)[: record.count]
