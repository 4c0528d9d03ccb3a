"""Items in the order of a key, sorted only as far as somebody looks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ItemOrder", "distances_to_center"]

# So many of the first items are found without sorting all.
_HEAD = 4096
# Rows of coordinates that are worked on together: with more, they are not in the processor's cache any more.
_ROWS_AT_ONCE = 8192


class ItemOrder:
    """Some items in the order of their keys; those with the same key stay in the order that they are given in.

    The first items are found by selection, in linear time. All are sorted once, when a later one is asked for; then
    four bytes for each item are kept.

    Parameters
    ----------
    items : numpy.ndarray, int64 (n,)
    keys : numpy.ndarray, float64 (n,), optional
        What they are sorted by, ascending, NaN last; None: they are in order.
    """

    def __init__(self, items: NDArray[np.int64], keys: NDArray[np.float64] | None = None) -> None:
        self._items = items
        self._keys = keys
        self._head: NDArray[np.int64] | None = None  # positions in `items`
        self._all: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self._items)

    def same_items(self, items: NDArray[np.int64]) -> bool:
        """Whether it is of these items, given in this order."""
        return items is self._items or np.array_equal(items, self._items)

    def items(self, start: int, stop: int) -> NDArray[np.int32]:
        """The items at these ranks, `stop` excluded, as far as there are so many.

        Raises
        ------
        ValueError
            If these are no ranks.
        """
        if not 0 <= start <= stop:
            raise ValueError(f"ranks must be 0 <= start <= stop, got {start} and {stop}")
        return self._items[self._positions(start, min(stop, len(self)))].astype(np.int32)

    def _positions(self, start: int, stop: int) -> NDArray[np.int64] | NDArray[np.int32] | slice:
        keys, everything = self._keys, self._all
        if everything is not None:
            return everything[start:stop]
        if keys is None:
            return slice(start, stop)
        if stop <= _HEAD:
            if self._head is None:
                self._head = _lowest(keys, min(_HEAD, len(keys)))
            return self._head[start:stop]
        everything = np.argsort(keys, kind="stable").astype(np.int32)
        self._all, self._keys, self._head = everything, None, None
        return everything[start:stop]


def distances_to_center(coordinates: NDArray[np.float64], items: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distance of each item from the mean of all of them, float64 (n,).

    Parameters
    ----------
    coordinates : numpy.ndarray, float64 (m, k)
        Of all items of the space; never more than a part of it is copied.
    items : numpy.ndarray, int64 (n,)
    """
    parts = [items[start : start + _ROWS_AT_ONCE] for start in range(0, len(items), _ROWS_AT_ONCE)]
    if not parts:
        return np.empty(0)
    center = sum(coordinates[part].sum(axis=0) for part in parts) / len(items)
    away = (coordinates[part] - center for part in parts)
    squares: NDArray[np.float64] = np.concatenate([np.einsum("ij,ij->i", one, one) for one in away])
    return np.sqrt(squares)


def _lowest(keys: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Positions of the lowest keys in their order, as a stable sort has them; NaN are the highest."""
    if count == 0:
        return np.empty(0, np.int64)
    highest = np.partition(keys, count - 1)[count - 1]
    missing = np.isnan(highest)
    below = np.flatnonzero(~np.isnan(keys) if missing else keys < highest)
    same = np.flatnonzero(np.isnan(keys) if missing else keys == highest)
    return np.concatenate([below[np.argsort(keys[below], kind="stable")], same[: count - len(below)]])
