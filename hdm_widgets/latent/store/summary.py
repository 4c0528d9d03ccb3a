"""What a fit writes when all shards are there: columns of all items, the map, and the index that opens the store."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._store_files import StoreFiles
from hdm_widgets.latent.data_columns import join_columns
from hdm_widgets.latent.fitted import FittedMap
from hdm_widgets.latent.map_arrays import collection_description, map_arrays, map_description
from hdm_widgets.latent.ordered import OrderedColumn
from hdm_widgets.latent.store.arrays import GROUP, ColumnWriter, read_column, write_column
from hdm_widgets.latent.store.contents import COORDINATES, INDEX, MAP, column_folder
from hdm_widgets.latent.store.manifest import KIND
from hdm_widgets.latent.store.shards import COUNTS, LARGE, ShardRecord, read_array, read_beside

__all__ = ["joined", "write_index", "write_summary"]

_QUALITY = "label_quality"


def write_summary(
    files: StoreFiles,
    records: Sequence[ShardRecord],
    capacity: int,
    described: Mapping[str, Any],
    tables: Mapping[str, NDArray[Any]],
) -> dict[str, Any]:
    """Write the columns of all items, and return an index of what the store holds; it is not written yet.

    Parameters
    ----------
    files : StoreFiles
    records : sequence of ShardRecord
        Of all shards, in the order of their numbers.
    capacity : int
        Of a shard.
    described : mapping of str to object
        For `collection_description`; what it says if there are no confidences is used only then.
    tables : mapping of str to numpy.ndarray
        Columns of the whole data set.

    Returns
    -------
    dict of str to object
    """
    full = [record for record in records if record.count]
    certain = all(record.certain for record in full)
    # Masks that a model returns as numbers look like probabilities of 0 and 1.
    confidences = [] if certain else next(record.confidences for record in full if record.confidences)
    arrays = {name: _kind(full, name) for name in LARGE}
    index: dict[str, Any] = {
        "format": KIND,
        "version": uuid.uuid4().hex[:8],
        "capacity": capacity,
        "numbers": [record.number for record in full],
        "counts": [record.count for record in full],
        "arrays": {name: kind for name, kind in arrays.items() if kind is not None},
        "sizes": {
            name: [_size(record, name, capacity) for record in full]
            for name, kind in arrays.items()
            if kind is not None
        },
        "confidences": confidences,
        "random": any(record.random for record in full),
        **collection_description(**{**described, **({"no_confidences": ""} if confidences else {})}),
    }
    _write_metadata(files, full, capacity)
    folder = column_folder(index, "")
    for folders in (folder, f"{folder}scores/", f"{folder}columns/"):
        files.write(f"{folders}zarr.json", GROUP)
    _write_columns(files, full, "counts", [column_folder(index, name) for name in COUNTS], capacity)
    if confidences:
        scores = [_QUALITY, *(f"scores/{name}" for name in confidences)]
        _write_columns(files, full, "scores", [column_folder(index, name) for name in scores], capacity)
    columns = joined(lambda: (read_beside(files, record) for record in full))
    if tables:
        items = read_column(files, column_folder(index, COUNTS[0]))
        columns |= {name: values[items] for name, values in tables.items()}
    for position, values in enumerate(columns.values()):
        write_column(files, column_folder(index, f"columns/{position}"), np.asarray(values))
    orders = {name: values.categories for name, values in columns.items() if isinstance(values, OrderedColumn)}
    return {**index, "columns": list(columns), "orders": orders}


def write_index(files: StoreFiles, index: dict[str, Any], fitted: FittedMap, settings: dict[str, Any]) -> None:
    """Write the map, and the index last: from then on the store opens with it."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = map_arrays(fitted.projection, fitted.regressor)
    np.savez(buffer, **arrays)
    files.write(column_folder(index, MAP), buffer.getvalue())
    write_column(files, column_folder(index, COORDINATES), fitted.coordinates)
    before = files.read_json(INDEX)
    about = map_description(fitted.projection, fitted.regressor, None)
    files.write_json(INDEX, {**index, **about, "settings": settings})
    # Who has opened the last version may still read its columns.
    kept = {index["version"], *([] if before is None else [before["version"]])}
    for version in {name.split("/")[1] for name in files.sizes("space")} - kept:
        files.remove(f"space/{version}")


def joined(parts: Callable[[], Iterable[list[dict[str, Any]]]]) -> dict[str, NDArray[Any]]:
    """What `join_columns` makes of all items, from the items of one shard after the other.

    Parameters
    ----------
    parts : callable
        Gives for every shard what stood beside image and mask in each of its items.

    Returns
    -------
    dict of str to numpy.ndarray (n,)
    """
    lengths: list[int] = []
    found: dict[str, dict[int, NDArray[Any]]] = {}
    for number, items in enumerate(parts()):
        lengths.append(len(items))
        for name, values in join_columns(items).items():
            found.setdefault(name, {})[number] = values
    text = {name for name, shards in found.items() if "U" in {values.dtype.kind for values in shards.values()}}
    mixed = [name for name in text if {values.dtype.kind for values in found[name].values()} != {"U"}]
    if mixed:
        # A shard of numbers may have made other numbers of them, which are other texts.
        for number, items in enumerate(parts()):
            for name in mixed:
                found[name][number] = np.array([_text(item.get(name)) for item in items], dtype=np.str_)
    missing = {name: "" if name in text else np.nan for name in found}
    return {
        name: np.concatenate(
            [shards[i] if i in shards else np.full(length, missing[name]) for i, length in enumerate(lengths) if length]
        )
        for name, shards in found.items()
    }


def _text(value: Any) -> str:
    """A value as it stands in a column of texts."""
    return "" if value is None or value != value else str(value)


def _write_columns(files: StoreFiles, records: list[ShardRecord], name: str, folders: list[str], capacity: int) -> None:
    """Write the columns of an array of all shards into these folders, shard by shard."""
    writers: list[ColumnWriter] = []
    shape = (sum(record.count for record in records),)
    for record in records:
        rows = read_array(files, record, name, capacity)
        writers = writers or [ColumnWriter(files, folder, shape, rows.dtype) for folder in folders]
        for writer, values in zip(writers, rows.T, strict=True):
            # A view would keep the others alive.
            writer.add(values.copy())
    for writer in writers:
        writer.close()


def _kind(records: list[ShardRecord], name: str) -> list[Any] | None:
    """Type and shape of the rows of an array; None if no shard has any."""
    return next((record.arrays[name] for record in records if name in record.arrays), None)


def _size(record: ShardRecord, name: str, capacity: int) -> int:
    """Bytes of a shard's file of an array; 0 if there is none."""
    if name not in record.arrays:
        return 0
    return record.files.get(record.layout(name, capacity).key(record.number), [0])[0]


def _write_metadata(files: StoreFiles, records: list[ShardRecord], capacity: int) -> None:
    """What Zarr has to know of the arrays."""
    shards = max(record.number for record in records) + 1
    for name in dict.fromkeys(name for record in records for name in record.arrays):
        record = next(record for record in records if name in record.arrays)
        files.write(f"{name}/zarr.json", record.layout(name, capacity).metadata(shards))
    for folder in ("", "space/"):
        files.write(f"{folder}zarr.json", GROUP)
