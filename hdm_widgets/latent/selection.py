"""Some of the items, with a name and a color."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._validation import brief
from hdm_widgets.latent.csv_rows import csv_text
from hdm_widgets.latent.item_set import ItemSet
from hdm_widgets.latent.scores import Statistics

if TYPE_CHECKING:
    import pandas

__all__ = ["COLORS", "Selection", "Statistics"]

# Told apart with all kinds of color vision, and from the reds and blues of the IoU scale; after Okabe and Ito's.
COLORS = ("#8b5cf6", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_FORMAT = "hdm-widgets selection 1"


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Selection:
    """Items of a latent space, made by `LatentSpace.select`.

    Attributes
    ----------
    indices : numpy.ndarray, int64
        Positions in the space, ascending, each once; a new array each time. They are kept at one bit per item.
    items : ItemSet
        The same at one bit for each item of the space.
    name, color : str
        The color is `#rrggbb`.
    table : mapping of str to numpy.ndarray
        Columns of the whole space, read-only.

    Notes
    -----
    `a | b`, `a & b` and `a - b` are union, intersection and difference; they keep the name and color of `a`.
    Selections with the same items, name and color are equal.
    """

    items: ItemSet
    name: str
    color: str
    table: Mapping[str, NDArray[Any]]

    def __init__(
        self, indices: NDArray[np.int64] | ItemSet, name: str, color: str, table: Mapping[str, NDArray[Any]]
    ) -> None:
        items = indices if isinstance(indices, ItemSet) else ItemSet.from_indices(indices, len(table["iou"]))
        for attribute, value in (("items", items), ("name", name), ("color", color), ("table", table)):
            object.__setattr__(self, attribute, value)

    @property
    def indices(self) -> NDArray[np.int64]:
        """Positions in the space, ascending, each once; a new array each time."""
        return self.items.indices

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, index: int) -> bool:
        return index in self.items

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Selection):
            return NotImplemented
        return (self.name, self.color, self.items) == (other.name, other.color, other.items)

    def __hash__(self) -> int:
        return hash((self.name, self.color, self.items))

    def __repr__(self) -> str:
        return f"Selection(indices={self.indices!r}, name={self.name!r}, color={self.color!r})"

    def union(self, other: Selection) -> Selection:
        """Items in either.

        Parameters
        ----------
        other : Selection
            Of the same space.

        Returns
        -------
        Selection
        """
        return self._with(self.items | self._same_space(other).items)

    def intersection(self, other: Selection) -> Selection:
        """Items in both.

        Parameters
        ----------
        other : Selection
            Of the same space.

        Returns
        -------
        Selection
        """
        return self._with(self.items & self._same_space(other).items)

    def difference(self, other: Selection) -> Selection:
        """Items in this and not in the other.

        Parameters
        ----------
        other : Selection
            Of the same space.

        Returns
        -------
        Selection
        """
        return self._with(self.items - self._same_space(other).items)

    __or__ = union
    __and__ = intersection
    __sub__ = difference

    def renamed(self, name: str | None = None, color: str | None = None) -> Selection:
        """The same items with another name or color.

        Parameters
        ----------
        name : str, optional
            The same by default.
        color : str, optional
            As `#rrggbb`; the same by default.

        Returns
        -------
        Selection
        """
        return Selection(self.items, name or self.name, color or self.color, self.table)

    @cached_property
    def statistics(self) -> Statistics:
        """Number of items, IoU, and fraction of empty truths."""
        chosen = self.indices
        return Statistics.from_items(self.table["iou"][chosen], self.table["truth_area"][chosen])

    def frame(self) -> pandas.DataFrame:
        """The items' rows of the space's table.

        Returns
        -------
        pandas.DataFrame
            Indexed by position. Its own `to_csv` leaves texts that a spreadsheet takes for formulas as they are; see
            `Selection.to_csv`.
        """
        import pandas

        # The columns are new arrays already.
        return pandas.DataFrame(self.rows(), index=pandas.Index(self.indices, name="index"), copy=False)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        r"""The items' rows as CSV (RFC 4180, UTF-8) in which no spreadsheet finds a formula.

        A text or column name that begins with `=`, `+`, `-`, `@`, a tab or a line break gets an apostrophe before it.
        Numbers stay as they are.

        Parameters
        ----------
        path : str or os.PathLike, optional
            A file to write, too.

        Returns
        -------
        str
            What was written.

        Notes
        -----
        To take the escapes back after reading, drop the first apostrophe of texts that match ``'+[=+\-@\t\r\n]``:
        ``frame[column].str.replace(r"^'('*[=+\-@\t\r\n])", r"\1", regex=True)`` with pandas.
        """
        text = csv_text(self.rows(), self.indices)
        if path is not None:
            checked_file(path).write_bytes(text.encode())
        return text

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the selection as JSON; `LatentSpace.load_selection` reads it.

        Parameters
        ----------
        path : str or os.PathLike
            The file.
        """
        about = {
            "format": _FORMAT,
            "name": self.name,
            "color": self.color,
            "items": len(self.table["iou"]),
            "indices": self.indices.tolist(),
        }
        checked_file(path).write_text(json.dumps(about), encoding="utf-8")

    def rows(self) -> dict[str, NDArray[Any]]:
        """The items' part of every column, as new arrays by name."""
        chosen = self.indices
        return {name: values[chosen] for name, values in self.table.items()}

    def _with(self, items: ItemSet) -> Selection:
        return Selection(items, self.name, self.color, self.table)

    def _same_space(self, other: Selection) -> Selection:
        if len(other.table["iou"]) != len(self.table["iou"]):
            raise ValueError(
                f"the selections are of different spaces, with {len(self.table['iou'])} and "
                f"{len(other.table['iou'])} items"
            )
        return other


def checked_file(path: str | os.PathLike[str]) -> Path:
    """A path to write to, which is no folder."""
    if Path(path).is_dir():
        raise IsADirectoryError(f"{os.fspath(path)!r} is a folder; give the name of a file in it")
    return Path(path)


def read_selection(path: str | os.PathLike[str], table: Mapping[str, NDArray[Any]]) -> Selection:
    """Read what `Selection.save` wrote, for a space with this table.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is anything else, or of a space with another number of items.
    """
    if Path(path).is_dir():
        raise ValueError(
            f"{os.fspath(path)!r} is no selection: it is a folder; a selection is a file, which its save writes, and "
            "LatentSpace.load reads the folder of a space"
        )
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
    """A name with something to read in it."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a text, got {type(name).__name__}")
    if not name.strip():
        raise ValueError("name must not be empty")
    return name


def check_color(color: object) -> str:
    """A color as `#rrggbb`."""
    if not isinstance(color, str) or not re.fullmatch("#[0-9a-fA-F]{6}", color):
        raise ValueError(f"color must be '#rrggbb', got {brief(color)}")
    return color


def items_of(indices: Any, count: int) -> ItemSet:
    """Positions in a space of `count` items, in any form that `check_indices` takes, as a set."""
    if isinstance(indices, Selection):
        indices = indices.items
    if isinstance(indices, ItemSet) and indices.count == count:
        return indices
    return ItemSet.from_indices(check_indices(indices, count), count)


def check_indices(indices: Any, count: int) -> NDArray[np.int64]:
    """Positions in a space of `count` items, ascending and each once.

    Parameters
    ----------
    indices : array_like or Selection
        Whole numbers; a set of them; or bool, one per item.
    count : int
        Number of items.

    Returns
    -------
    numpy.ndarray, int64

    Raises
    ------
    ValueError, TypeError
        If they are anything else, or out of range.
    """
    if isinstance(indices, (Selection, ItemSet)):
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
    found = array.astype(np.int64)
    return found if (found[1:] > found[:-1]).all() else np.unique(found)
