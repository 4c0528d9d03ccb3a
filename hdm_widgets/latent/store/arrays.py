"""Zarr arrays whose parts are written one by one, and read when they are asked for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._store_files import StoreError, StoreFiles, import_zarr

__all__ = ["CHECKED", "GROUP", "ArrayLayout", "ColumnWriter", "damaged", "opened", "read_column", "write_column"]

# zarr.json of a folder of arrays.
GROUP = b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'
_METADATA = "zarr.json"
# The file that says which shards were compared with their checksums, and what the file system said of them then.
CHECKED = "checked.json"
# Rows that are read together have about this many bytes.
_CHUNK_BYTES = 1 << 18
# Rows of a column in one file.
_COLUMN_ROWS = 1 << 18


@dataclass(frozen=True)
class ArrayLayout:
    """How an array (n, ...) is stored: `capacity` rows a file, which Zarr calls a shard, read in chunks of fewer.

    Attributes
    ----------
    name : str
        Folder of the array below that of the store.
    capacity : int
        Rows of one shard, a power of two.
    shape : tuple of int
        Of one row.
    dtype : str
    compressed : bool
    """

    name: str
    capacity: int
    shape: tuple[int, ...]
    dtype: str
    compressed: bool = True

    @classmethod
    def of_rows(cls, name: str, capacity: int, rows: NDArray[Any], *, compressed: bool = True) -> ArrayLayout:
        """The layout for rows like these (n, ...)."""
        return cls(name, capacity, rows.shape[1:], rows.dtype.str, compressed)

    def key(self, number: int) -> str:
        """Name of the file of a shard."""
        return f"{self.name}/c.{number}" + ".0" * len(self.shape)

    def encode(self, rows: NDArray[Any]) -> bytes | None:
        """The file of a shard with these rows, at most `capacity`; None if all values are 0."""
        written = self._written(self.capacity, rows)
        key = self.key(0).removeprefix(f"{self.name}/")
        return written[key].to_bytes() if key in written else None

    def decode(self, data: bytes | None) -> NDArray[Any]:
        """All rows (capacity, ...) of the file of a shard; zeros for none."""
        if data is None:
            return np.zeros((self.capacity, *self.shape), self.dtype)
        import_zarr()
        import zarr
        from zarr.buffer.cpu import Buffer
        from zarr.storage import MemoryStore

        key = self.key(0).removeprefix(f"{self.name}/")
        files: dict[str, Any] = {_METADATA: Buffer.from_bytes(self.metadata(1)), key: Buffer.from_bytes(data)}
        return np.asarray(zarr.open_array(MemoryStore(files), mode="r")[:])

    def metadata(self, shards: int) -> bytes:
        """The array's `zarr.json`, for so many shards."""
        found: bytes = self._written(shards * self.capacity)[_METADATA].to_bytes()
        return found

    def _written(self, length: int, rows: NDArray[Any] | None = None) -> dict[str, Any]:
        """What Zarr writes for an array of this length with these rows."""
        import_zarr()
        import zarr
        from zarr.codecs import Crc32cCodec, ZstdCodec
        from zarr.storage import MemoryStore

        files: dict[str, Any] = {}
        each = int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64)) or 1
        chunk = min(self.capacity, 1 << max(0, (_CHUNK_BYTES // each).bit_length() - 1))
        array = zarr.create_array(
            MemoryStore(files),
            shape=(length, *self.shape),
            shards=(self.capacity, *self.shape),
            chunks=(chunk, *self.shape),
            dtype=self.dtype,
            compressors=[ZstdCodec(level=1), Crc32cCodec()] if self.compressed else [Crc32cCodec()],
            fill_value=0,
            chunk_key_encoding={"name": "default", "separator": "."},
        )
        if rows is not None:
            array[: len(rows)] = rows
        return files


class ColumnWriter:
    """Writes arrays (n, ...) of numbers or texts, of one length, as Zarr arrays: part by part, as the parts come.

    Parameters
    ----------
    files : StoreFiles
    name : str
        Folder of the array.
    shape : tuple of int
    dtype : numpy.dtype
        Of all parts; texts of any length.
    """

    def __init__(self, files: StoreFiles, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        import_zarr()
        import zarr
        from zarr.codecs import Crc32cCodec, ZstdCodec
        from zarr.storage import MemoryStore

        self._files, self._name = files, name
        self._written: dict[str, Any] = {}
        self._array = zarr.create_array(
            MemoryStore(self._written),
            shape=shape,
            chunks=(min(_COLUMN_ROWS, max(1, shape[0])), *shape[1:]),
            dtype="str" if dtype.kind == "U" else dtype.str,
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            chunk_key_encoding={"name": "default", "separator": "."},
            config={"write_empty_chunks": True},
        )
        self._parts: list[NDArray[Any]] = []
        self._waiting = self._start = 0

    def add(self, values: NDArray[Any]) -> None:
        """Take the next rows, and write those that fill a file."""
        self._parts.append(values)
        self._waiting += len(values)
        if self._waiting >= _COLUMN_ROWS:
            rows = np.concatenate(self._parts)
            whole = len(rows) - len(rows) % _COLUMN_ROWS
            for start in range(0, whole, _COLUMN_ROWS):
                self._write(rows[start : start + _COLUMN_ROWS])
            self._parts, self._waiting = [rows[whole:].copy()], len(rows) - whole

    def close(self) -> None:
        """Write the rest, and what says that the array is there."""
        if self._waiting:
            self._write(np.concatenate(self._parts))
        self._files.write(f"{self._name}/{_METADATA}", self._written[_METADATA].to_bytes())

    def _write(self, rows: NDArray[Any]) -> None:
        self._array[self._start : self._start + len(rows)] = rows
        self._start += len(rows)
        for key in [key for key in self._written if key != _METADATA]:
            self._files.write(f"{self._name}/{key}", self._written.pop(key).to_bytes())


def write_column(files: StoreFiles, name: str, values: NDArray[Any]) -> None:
    """Write an array (n, ...) of numbers or texts as a Zarr array in the folder `name`."""
    writer = ColumnWriter(files, name, values.shape, values.dtype)
    for start in range(0, len(values), _COLUMN_ROWS):
        writer.add(np.asarray(values[start : start + _COLUMN_ROWS]))
    writer.close()


def read_column(files: StoreFiles, name: str) -> NDArray[Any]:
    """Read what `write_column` wrote.

    Raises
    ------
    StoreError
        If it is not there, or damaged.
    """
    array = opened(files, name)
    starts = range(-(-array.shape[0] // array.chunks[0]))
    # Zarr would take a file that is missing for zeros.
    for key in (f"{name}/c.{start}" + ".0" * (array.ndim - 1) for start in starts):
        if files.size(key) is None:
            raise damaged(files, key, "there is no such file")
    try:
        values = np.asarray(array[:])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise damaged(files, name, error) from error
    return values if values.dtype.kind in "biuf" else np.array(values.tolist(), dtype=np.str_)


def opened(files: StoreFiles, name: str) -> Any:
    """A Zarr array of the store.

    Raises
    ------
    StoreError
        If there is none that can be read.
    """
    import_zarr()
    import zarr

    try:
        return zarr.open_array(files.zarr, path=name, mode="r")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise damaged(files, name, error) from error


def damaged(files: StoreFiles, name: str, reason: object) -> StoreError:
    """The error for a file that is not what was written; the next fit compares all files with their checksums."""
    with suppress(StoreError):
        files.remove(CHECKED)
    return StoreError(
        f"{name} of the store {files.address!r} is damaged or missing ({reason}); fit with this store collects it again"
    )
