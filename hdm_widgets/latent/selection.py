"""Some of the items, with a name and a colour."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas

__all__ = ["COLORS", "Selection", "Statistics"]

# Told apart with all kinds of colour vision, and apart from the reds and blues of the IoU scale; after Okabe and Ito's.
COLORS = ("#8b5cf6", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_FORMAT = "hdm-widgets selection 1"


@dataclass(frozen=True)
class Statistics:
    """What a selection says in numbers.

    Attributes
    ----------
    count : int
        Number of items.
    mean_iou, median_iou : float
        Over the items that have an IoU; NaN if none has.
    empty_truths : float
        Share of items with nothing to find.
    """

    count: int
    mean_iou: float
    median_iou: float
    empty_truths: float

    def __str__(self) -> str:
        return f"{self.count} items, mean IoU {self.mean_iou:.2f}, median {self.median_iou:.2f}"


@dataclass(frozen=True, eq=False)
class Selection:
    """Items of a latent space, made by `LatentSpace.select`.

    Attributes
    ----------
    indices : numpy.ndarray, int64
        Positions in the space, ascending, each once.
    name, color : str
        The colour is `#rrggbb`.
    table : mapping of str to numpy.ndarray
        Columns of the whole space.

    Notes
    -----
    `a | b`, `a & b` and `a - b` are union, intersection and difference; they keep the name and colour of `a`.
    """

    indices: NDArray[np.int64]
    name: str
    color: str
    table: Mapping[str, NDArray[Any]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.indices)

    def __contains__(self, index: int) -> bool:
        return bool(np.isin(index, self.indices))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Selection):
            return NotImplemented
        return (self.name, self.color) == (other.name, other.color) and np.array_equal(self.indices, other.indices)

    __hash__ = None  # type: ignore[assignment]  # equality looks at an array

    def union(self, other: Selection) -> Selection:
        """Items in either."""
        return replace(self, indices=np.union1d(self.indices, self._same(other).indices))

    def intersection(self, other: Selection) -> Selection:
        """Items in both."""
        return replace(self, indices=np.intersect1d(self.indices, self._same(other).indices))

    def difference(self, other: Selection) -> Selection:
        """Items in this and not in the other."""
        return replace(self, indices=np.setdiff1d(self.indices, self._same(other).indices))

    __or__ = union
    __and__ = intersection
    __sub__ = difference

    def renamed(self, name: str | None = None, color: str | None = None) -> Selection:
        """The same items under another name, in another colour."""
        return replace(self, name=name or self.name, color=color or self.color)

    @property
    def statistics(self) -> Statistics:
        """Number, IoU, and share of empty truths."""
        iou = self.table["iou"][self.indices]
        known = iou[np.isfinite(iou)]
        return Statistics(
            count=len(self),
            mean_iou=float(known.mean()) if len(known) else float("nan"),
            median_iou=float(np.median(known)) if len(known) else float("nan"),
            empty_truths=float((self.table["truth_area"][self.indices] == 0).mean()) if len(self) else float("nan"),
        )

    def frame(self) -> pandas.DataFrame:
        """The items' rows of the space's table, indexed by position."""
        import pandas

        rows = {name: values[self.indices] for name, values in self.table.items()}
        return pandas.DataFrame(rows, index=pandas.Index(self.indices, name="index"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON; `LatentSpace.load_selection` reads it."""
        about = {
            "format": _FORMAT,
            "name": self.name,
            "color": self.color,
            "items": len(self.table["iou"]),
            "indices": self.indices.tolist(),
        }
        Path(path).write_text(json.dumps(about), encoding="utf-8")

    def _same(self, other: Selection) -> Selection:
        if len(other.table["iou"]) != len(self.table["iou"]):
            raise ValueError(
                f"the selections are of different spaces, with {len(self.table['iou'])} and "
                f"{len(other.table['iou'])} items"
            )
        return other


def read_selection(path: str | os.PathLike[str], table: Mapping[str, NDArray[Any]]) -> Selection:
    """Read what `Selection.save` wrote, for a space with this table."""
    try:
        about = json.loads(Path(path).read_text(encoding="utf-8"))
        if about["format"] != _FORMAT:
            raise ValueError(f"it is written as {about['format']!r}")
        count, indices = int(about["items"]), check_indices(about["indices"], int(about["items"]))
        name, color = check_name(about["name"]), check_color(about["color"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{os.fspath(path)!r} is no selection: {error}") from error
    if count != len(table["iou"]):
        raise ValueError(f"the selection is of a space with {count} items, this one has {len(table['iou'])}")
    return Selection(indices, name, color, table)


def check_name(name: object) -> str:
    """A name that can be read."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a text, got {type(name).__name__}")
    if not name.strip():
        raise ValueError("name must not be empty")
    return name


def check_color(color: object) -> str:
    """A colour as `#rrggbb`."""
    if not isinstance(color, str) or not re.fullmatch("#[0-9a-fA-F]{6}", color):
        raise ValueError(f"color must be '#rrggbb', got {color!r}")
    return color


def check_indices(indices: Any, count: int) -> NDArray[np.int64]:
    """Positions in a space of `count` items, ascending and each once; a bool array says which, a Selection has them."""
    if isinstance(indices, Selection):
        indices = indices.indices
    array = np.asarray(sorted(indices) if isinstance(indices, (set, frozenset)) else indices)
    if array.dtype == bool:
        if array.shape != (count,):
            raise ValueError(f"a bool selection must have one entry per item, ({count},), got shape {array.shape}")
        return np.flatnonzero(array)
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise TypeError(f"indices must be whole numbers in one dimension, got {array.dtype} of shape {array.shape}")
    if array.min() < 0 or array.max() >= count:
        raise ValueError(f"indices must be 0 to {count - 1}, got {array.min()} to {array.max()}")
    return np.unique(array).astype(np.int64)
