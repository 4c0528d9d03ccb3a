"""Conditions on columns that say which items are in a group, and how to put them in words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from hdm_widgets.latent.titles import running_title, unit

__all__ = ["Condition", "Rule", "best_leaf", "dates_if_any", "is_text", "numbers", "single_conditions", "words"]

_RANGES = 6  # quantile ranges that a column of numbers is cut into; neighboring ones are joined too
_TREE_DEPTH = 3
# A data set's dates are texts in a space, as ISO 8601 writes them.
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?")

Columns = Mapping[str, NDArray[Any]]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Condition:
    """A condition on one column.

    Attributes
    ----------
    column : str
    value : str or bool or None
        The value that items have; None for a range.
    low, high : float
        The range of numbers, low <= number < high; infinite where it is open. Dates count in seconds since 1970.
    """

    column: str
    value: str | bool | None = None
    low: float = -math.inf
    high: float = math.inf

    def holds(self, columns: Columns) -> Flags:
        """Which items meet it, bool (n,)."""
        values = columns[self.column]
        if self.value is not None:
            return np.asarray(values == self.value)
        asked = numbers(values)
        return np.asarray((asked >= self.low) & (asked < self.high))

    def words(self, columns: Columns) -> str:
        """The condition in words, with the column's smallest and largest value that meet it."""
        name = running_title(self.column)
        if isinstance(self.value, bool):
            return name if self.value else f"not {name}"
        if self.value is not None:
            return f"{name} = {self.value}"
        values = columns[self.column]
        inside = values[self.holds(columns)]
        if not len(inside):
            return f"{name} from {self.low:g} to {self.high:g}"
        first, last, of_unit = _text(inside.min()), _text(inside.max()), unit(self.column)
        if math.isinf(self.low):
            return f"{name} up to {last}{of_unit}"
        if math.isinf(self.high):
            return f"{name} from {first} on" if values.dtype.kind in "mM" else f"{name} at least {first}{of_unit}"
        return f"{name} = {first}{of_unit}" if first == last else f"{name} from {first} to {last}{of_unit}"

    def joined(self, other: Condition) -> Condition:
        """The range that lies in both; of the same column."""
        return Condition(self.column, self.value, max(self.low, other.low), min(self.high, other.high))


Rule = tuple[Condition, ...]


def is_text(values: NDArray[Any]) -> bool:
    """Whether a column has names, not quantities: texts and flags."""
    return values.dtype.kind in "UOSb"


def numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    """A column of numbers or dates, also as texts, as float64 (n,); NaN for what is missing."""
    if values.dtype.kind == "U":
        values = values.astype("datetime64[s]")
    if values.dtype.kind in "mM":
        seconds = values.astype(f"{values.dtype.kind}8[s]").astype(np.float64)
        return np.where(np.isnat(values), np.nan, seconds)
    return np.asarray(values, dtype=np.float64)


def dates_if_any(values: NDArray[Any]) -> NDArray[Any]:
    """Texts that are all dates or missing, as dates; any other column, and one of a few dates only, as it is."""
    if values.dtype.kind != "U":
        return values
    different = np.unique(values[values != ""])
    if len(different) <= _RANGES or not all(_DATE.fullmatch(text) for text in different.tolist()):
        return values
    try:
        dates = values.astype("datetime64[s]")
    except ValueError:  # such as a thirteenth month
        return values
    days = dates.astype("datetime64[D]")
    return days if bool((np.isnat(dates) | (days == dates)).all()) else dates


def single_conditions(columns: Columns, rows: NDArray[np.int64], least: int) -> list[Condition]:
    """Conditions on one column each that at least `least` of some rows meet, and as many do not.

    Every value of texts and flags; of numbers and dates the ranges between quantiles, and all that neighboring ranges
    join to. The quantiles are those of the rows.
    """
    found: list[Condition] = []
    for name, values in columns.items():
        some = values[rows]
        if is_text(values):
            present, counts = np.unique(some, return_counts=True)
            found += [
                Condition(name, bool(value) if values.dtype.kind == "b" else str(value))
                for value, count in zip(present, counts, strict=True)
                if least <= count <= len(rows) - least and str(value)
            ]
        else:
            found += _ranges(name, numbers(some), least)
    return found


def _ranges(name: str, values: NDArray[np.float64], least: int) -> list[Condition]:
    values = values[np.isfinite(values)]
    if not len(values):
        return []
    cuts = np.unique(np.quantile(values, np.linspace(0, 1, _RANGES + 1)[1:-1], method="higher"))
    edges = [-math.inf, *(float(cut) for cut in cuts if cut > values.min()), math.inf]
    ranges = [Condition(name, None, low, high) for low, high in combinations(edges, 2)]
    counts = [int(((values >= one.low) & (values < one.high)).sum()) for one in ranges]
    return [one for one, count in zip(ranges, counts, strict=True) if least <= count <= len(values) - least]


def best_leaf(columns: Columns, rows: NDArray[np.int64], members: Flags, least: int) -> Rule | None:
    """The leaf of a shallow decision tree that agrees best with a group of some rows; None if no leaf does.

    Parameters
    ----------
    columns : dict of str to numpy.ndarray (n,)
        Numbers.
    rows : numpy.ndarray, int64 (m,)
        The rows that the tree is fitted to.
    members : numpy.ndarray, bool (m,)
        Which of them are in the group.
    least : int
        Rows in a leaf at least.
    """
    names = list(columns)
    table = np.stack([numbers(columns[name])[rows] for name in names], axis=1)
    model = DecisionTreeClassifier(max_depth=_TREE_DEPTH, min_samples_leaf=least, random_state=0).fit(table, members)
    leaves = model.apply(table)
    scores = {
        int(leaf): (members & (leaves == leaf)).sum() / (members | (leaves == leaf)).sum() for leaf in np.unique(leaves)
    }
    leaf = max(scores, key=lambda one: scores[one])
    # Most rows of a leaf that is the group's own are members.
    if members[leaves == leaf].mean() <= 0.5:
        return None
    return _path(model.tree_, leaf, names)


def _path(tree: Any, leaf: int, names: Sequence[str]) -> Rule | None:
    """The conditions on the way from the root of a tree to a leaf, one for each column; None for the root alone."""
    conditions: dict[str, Condition] = {}
    node = leaf
    while node:
        parent = int(np.flatnonzero((tree.children_left == node) | (tree.children_right == node))[0])
        name, cut = names[tree.feature[parent]], float(tree.threshold[parent])
        # A tree compares in float32 and takes what equals the cut to the left.
        cut = float(np.nextafter(cut, math.inf))
        left = tree.children_left[parent] == node
        one = Condition(name, None, high=cut) if left else Condition(name, None, low=cut)
        conditions[name] = one.joined(conditions[name]) if name in conditions else one
        node = parent
    return tuple(conditions[name] for name in names if name in conditions) or None


def words(rule: Iterable[Condition], columns: Columns) -> str:
    """A rule in words."""
    return "; ".join(condition.words(columns) for condition in rule)


def _text(value: Any) -> str:
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return str(value).replace("T", " ")
    number = float(value)
    return f"{number:,.0f}" if number.is_integer() or abs(number) >= 1000 else f"{number:.3g}"
