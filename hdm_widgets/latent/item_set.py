"""Sets of the items of a space, at one bit for each item."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._validation import is_whole

__all__ = ["ItemSet"]


class ItemSet:
    """Some of the items of a space.

    `a | b`, `a & b` and `a - b` are union, intersection and difference.

    Parameters
    ----------
    bits : numpy.ndarray, uint8
        One bit for each item, the highest bit first, as `numpy.packbits` gives them.
    count : int
        Number of items of the space.

    Attributes
    ----------
    bits, count
        As above.
    """

    __slots__ = ("_length", "bits", "count")

    def __init__(self, bits: NDArray[np.uint8], count: int) -> None:
        self.bits = bits
        self.count = count
        self._length: int | None = None

    @classmethod
    def from_indices(cls, indices: NDArray[np.integer[Any]], count: int) -> ItemSet:
        """The items at these positions, 0 to `count` - 1, in any order."""
        flags = np.zeros(count, bool)
        flags[indices] = True
        return cls.from_flags(flags)

    @classmethod
    def from_flags(cls, flags: NDArray[np.bool_]) -> ItemSet:
        """The items that are True."""
        return cls(np.packbits(flags), len(flags))

    @property
    def flags(self) -> NDArray[np.bool_]:
        """Whether each item is in the set, bool (count,)."""
        return np.unpackbits(self.bits, count=self.count).view(bool)

    @property
    def indices(self) -> NDArray[np.int64]:
        """Positions of the items, ascending, int64; a new array each time."""
        return np.flatnonzero(self.flags)

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions of the items, ascending."""
        return tuple(self.indices.tolist())

    def __len__(self) -> int:
        if self._length is None:
            self._length = int(np.count_nonzero(self.flags))
        return self._length

    def __contains__(self, index: object) -> bool:
        if not is_whole(index) or not 0 <= index < self.count:
            return False
        return bool(self.bits[int(index) // 8] >> (7 - int(index) % 8) & 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ItemSet):
            return NotImplemented
        return self is other or (self.count == other.count and np.array_equal(self.bits, other.bits))

    def __hash__(self) -> int:
        return hash((self.count, self.bits.tobytes()))

    def __or__(self, other: ItemSet) -> ItemSet:
        return ItemSet(self.bits | other.bits, self.count)

    def __and__(self, other: ItemSet) -> ItemSet:
        return ItemSet(self.bits & other.bits, self.count)

    def __sub__(self, other: ItemSet) -> ItemSet:
        return ItemSet(self.bits & ~other.bits, self.count)

    def __repr__(self) -> str:
        return f"ItemSet({len(self):,} of {self.count:,} items)"
