"""Columns beside the images of a data set: texts and numbers, one entry for each item."""

from __future__ import annotations

import datetime
import enum
import os
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

from hdm_widgets._validation import warn_user
from hdm_widgets.latent.ordered import keep_common_order, keep_order

__all__ = [
    "Columns", "as_column", "check_columns", "column_value", "dataset_columns", "free_names", "join_columns",
    "merge_columns",
]  # fmt: skip

Columns: TypeAlias = "Mapping[str, Sequence[Any] | NDArray[Any]]"


def check_columns(columns: object, length: int) -> dict[str, NDArray[Any]]:
    """Columns as arrays, one entry per item of the data set."""
    if columns is None:
        return {}
    if hasattr(columns, "to_frame") and len(columns) == length:  # type: ignore[arg-type]  # a Series has one
        # One column, which has one name, and not a Series of columns.
        name = getattr(columns, "name", None)
        columns = {"column" if name is None else name: columns}
    if not hasattr(columns, "keys"):
        raise TypeError(f"columns must be a mapping of names to sequences, got {type(columns).__name__}")
    checked: dict[str, NDArray[Any]] = {}
    for name in columns.keys():  # noqa: SIM118 - a DataFrame serves too
        values = columns[name]  # type: ignore[index]  # has keys
        if isinstance(values, str) or not hasattr(values, "__len__"):
            raise TypeError(f"column {name!r} must be a sequence with one entry per item, got {type(values).__name__}")
        if len(values) != length:
            raise ValueError(f"column {name!r} has {len(values)} entries for {length} items")
        column = as_column(values)
        if column.ndim != 1:
            raise ValueError(f"column {name!r} must have one entry per item, got shape {column.shape}")
        checked[str(name)] = keep_order(column, values)
    return checked


def dataset_columns(dataset: object) -> dict[str, NDArray[Any]]:
    """The columns that a data set has: its own `columns`, or those of the data sets within it.

    An attribute `columns` that has no sequence with one entry per item is something else. Where it has some, sequences
    of another length are left out with a warning.
    """
    length = len(dataset)  # type: ignore[arg-type]  # has one
    try:
        own = getattr(dataset, "columns", None)
    except Exception:  # noqa: BLE001 - a property of something else
        own = None
    if hasattr(own, "keys") and not isinstance(own, type):
        fitting, wrong = _fitting_columns(own, length)
        if fitting and wrong:
            warn_user(f"of the data set's own columns, {len(wrong)} cannot be used: {wrong[0]}")
        if fitting:
            return fitting
    if isinstance(dataset, Subset):
        rows = np.asarray(dataset.indices, dtype=np.int64)
        return {name: values[rows] for name, values in dataset_columns(dataset.dataset).items()}
    if isinstance(dataset, ConcatDataset):
        items: list[dict[str, Any]] = []
        parts = [(part, dataset_columns(part)) for part in dataset.datasets]
        for part, columns in parts:
            items += [{name: values[row] for name, values in columns.items()} for row in range(len(part))]  # type: ignore[arg-type]  # as above
        return {
            name: keep_common_order(column, [columns[name] for _, columns in parts if name in columns])
            for name, column in join_columns(items).items()
        }
    return {}


def _fitting_columns(columns: Any, length: int) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The entries of a mapping that are columns, and what is wrong with those that look like some."""
    fitting: dict[str, NDArray[Any]] = {}
    wrong = []
    for name in columns.keys():  # noqa: SIM118 - a DataFrame serves too
        values = columns[name]
        if isinstance(values, (str, Mapping)) or not hasattr(values, "__len__"):
            continue
        try:
            fitting |= check_columns({name: values}, length)
        except (ValueError, TypeError) as error:
            wrong.append(str(error))
    return fitting, wrong


def join_columns(items: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """Columns of the entries of items; an entry that an item lacks is NaN or an empty text."""
    joined: dict[str, NDArray[Any]] = {}
    for name in dict.fromkeys(name for item in items for name in item):
        present = as_column([item[name] for item in items if name in item])
        missing = "" if present.dtype.kind == "U" else np.nan
        complete = len(present) == len(items)
        joined[name] = present if complete else as_column([item.get(name, missing) for item in items])
    return joined


# Names that are kept free: clusters, and in the explorer how likely each truth is wrong.
_FOUND_LATER = ("cluster", "suspicion")


def merge_columns(own: dict[str, NDArray[Any]], dataset: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Our columns and those of a data set; one of the data set's with a name of ours gets `data_` before it."""
    return own | {free: dataset[name] for free, name in free_names(own, dataset).items()}


def free_names(own: Collection[str], dataset: Collection[str]) -> dict[str, str]:
    """What `merge_columns` calls a data set's columns beside ours, each with its name in the data set."""
    names: dict[str, str] = {}
    for name in dataset:
        free = name
        while free in own or free in names or free in _FOUND_LATER or (free != name and free in dataset):
            free = f"data_{free}"
        names[free] = name
    return names


def as_column(values: Any) -> NDArray[Any]:
    """Numbers as they are, everything else as texts; what is missing (None, NaN, NaT) is NaN or an empty text."""
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return array
    plain = [column_value(value, otherwise=str) for value in values]
    plain = [value if value == value else None for value in plain]
    present = np.asarray([value for value in plain if value is not None])
    if present.size and present.dtype.kind in "biuf":
        return present if len(present) == len(plain) else np.array([np.nan if v is None else v for v in plain])
    return np.array(["" if value is None else str(value) for value in plain], dtype=np.str_)


def column_value(entry: Any, otherwise: Any = lambda _: None) -> Any:
    """A text, a number or a date; None for what is missing, and for anything else but for what `otherwise` makes of it.

    A path is its text; a decimal number, a fraction or a duration (in seconds) a float; an enumeration its name.
    """
    if isinstance(entry, (Tensor, np.ndarray, np.generic)):
        if entry.ndim or (isinstance(entry, Tensor) and entry.dtype.is_complex):
            return otherwise(entry)
        value = entry.item()
        if isinstance(entry, (np.datetime64, np.timedelta64)) and isinstance(value, int):
            # Nanoseconds, which Python's own dates do not have.
            value = entry.astype(f"{entry.dtype.kind}8[us]").item()
        entry = value
    if entry is None:
        return None
    if isinstance(entry, (bool, int, float)):
        return entry
    if isinstance(entry, (str, datetime.date, datetime.time)):
        # A missing date of pandas is one that does not equal itself.
        return entry if entry == entry else None
    if isinstance(entry, (Decimal, Fraction)):
        return float(entry)
    if isinstance(entry, datetime.timedelta):
        return entry.total_seconds() if entry == entry else None
    if isinstance(entry, enum.Enum):
        return entry.name
    if isinstance(entry, os.PathLike):
        return os.fspath(entry)
    if isinstance(entry, UUID):
        return str(entry)
    return None if type(entry).__name__ == "NAType" else otherwise(entry)
