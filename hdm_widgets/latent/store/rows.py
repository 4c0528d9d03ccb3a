"""Rows of a stored array, read when they are asked for."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hdm_widgets._store_files import StoreFiles
from hdm_widgets.latent.store.arrays import ArrayLayout, damaged, opened

__all__ = ["StoredRows"]

# Shards that are kept decoded, and how many rows of a shard may be read one by one before all of it is.
_SHARDS_KEPT, _FEW_ROWS = 2, 4
# An array up to this size is kept in memory once as many rows have been asked for as are this fraction of it.
_HELD_BYTES, _HELD_FRACTION = 1 << 28, 0.5


class StoredRows:
    """An array (n, ...) of a store that is indexed as one of NumPy, and read as far as it is indexed.

    Its rows are those of the shards, one shard after the other. An array of at most 256 MB is kept in memory once half
    as many rows have been asked for as it has; of any other, two shards are. Several threads may read it.

    Parameters
    ----------
    files : StoreFiles
    layout : ArrayLayout
    numbers : sequence of int
        Of the shards: where in the array they are.
    counts : sequence of int
        Rows in each.
    sizes : sequence of int
        Bytes of each shard's file; 0 for one without, whose rows are all 0.
    """

    def __init__(
        self,
        files: StoreFiles,
        layout: ArrayLayout,
        numbers: Sequence[int],
        counts: Sequence[int],
        sizes: Sequence[int],
    ) -> None:
        self._files, self._layout = files, layout
        self._numbers, self._sizes = np.asarray(numbers, np.int64), np.asarray(sizes, np.int64)
        self._ends = np.cumsum(np.asarray(counts, np.int64))
        self.dtype: np.dtype[Any] = np.dtype(layout.dtype)
        self.shape = (int(self._ends[-1]) if len(self._ends) else 0, *layout.shape)
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._single: Counter[int] = Counter()
        self._asked = 0
        self._whole: NDArray[Any] | None = None
        self._array: Any = None
        self._lock = threading.RLock()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the array in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"StoredRows({self._layout.name!r}, shape={self.shape}, dtype={self.dtype})"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        values: NDArray[Any] = self[:]
        return values.astype(dtype or self.dtype, copy=bool(copy))

    def astype(self, dtype: DTypeLike) -> NDArray[Any]:
        """All rows as an array of another type."""
        return np.asarray(self, dtype=dtype)

    def __getitem__(self, key: Any) -> Any:
        rows, *rest = key if isinstance(key, tuple) else (key,)
        found = self._rows(rows)
        if not rest:
            return found
        return found[tuple(rest)] if found.ndim < self.ndim else found[(slice(None), *rest)]

    def _rows(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, (int, np.integer)):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"index {rows} is out of range for {len(self)} rows")
            row: NDArray[Any] = self._gathered(np.array([rows % len(self)]))[0]
            return row
        if isinstance(rows, slice):
            wanted = np.arange(*rows.indices(len(self)))
            with self._lock:
                self._hold(len(wanted))
                return self._read(wanted) if self._whole is None else self._whole[rows]
        wanted = np.asarray(rows)
        wanted = np.arange(len(self))[wanted] if wanted.dtype.kind == "b" else wanted.astype(np.int64)
        if wanted.size and not (-len(self) <= wanted.min() and wanted.max() < len(self)):
            raise IndexError(f"an index is out of range for {len(self)} rows")
        return self._gathered(wanted.reshape(-1) % max(len(self), 1)).reshape(*wanted.shape, *self.shape[1:])

    def _gathered(self, wanted: NDArray[np.int64]) -> NDArray[Any]:
        """Rows at these positions."""
        with self._lock:
            self._hold(len(wanted))
            return self._read(wanted) if self._whole is None else self._whole[wanted]

    def _hold(self, wanted: int) -> None:
        """Keep all rows in memory once many have been wanted, if they are not too many."""
        self._asked += wanted
        if self._whole is None and self._asked >= _HELD_FRACTION * len(self) and self.nbytes <= _HELD_BYTES:
            self._whole = self._read(np.arange(len(self)))
            self._kept.clear()
            self._whole.flags.writeable = False

    def _read(self, wanted: NDArray[np.int64]) -> NDArray[Any]:
        found = np.zeros((len(wanted), *self.shape[1:]), self.dtype)
        shards = np.searchsorted(self._ends, wanted, side="right")
        for shard in np.unique(shards).tolist():
            if self._sizes[shard]:
                places = np.flatnonzero(shards == shard)
                start = int(self._ends[shard - 1]) if shard else 0
                found[places] = self._of_shard(shard, wanted[places] - start)
        return found

    def _of_shard(self, shard: int, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Some rows of a shard."""
        if shard not in self._kept:
            self._single[shard] += len(rows)
            if self._single[shard] <= _FEW_ROWS:
                return self._from_file(shard, rows)
            count = int(self._ends[shard]) - (int(self._ends[shard - 1]) if shard else 0)
            self._kept[shard] = self._from_file(shard, slice(0, count))
            while len(self._kept) > _SHARDS_KEPT:
                self._single.pop(self._kept.popitem(last=False)[0], None)
        self._kept.move_to_end(shard)
        return self._kept[shard][rows]

    def _from_file(self, shard: int, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        number, capacity = int(self._numbers[shard]), self._layout.capacity
        key = self._layout.key(number)
        # Zarr would take a file that is missing for zeros.
        if self._files.size(key) != self._sizes[shard]:
            raise damaged(self._files, key, "it has another size than it was written with")
        start = number * capacity
        if self._array is None:
            self._array = opened(self._files, self._layout.name)
        try:
            if isinstance(rows, slice):
                return np.asarray(self._array[start : start + capacity])[rows]
            once, places = np.unique(rows, return_inverse=True)
            return np.asarray(self._array.oindex[start + once])[places]
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise damaged(self._files, key, error) from error
