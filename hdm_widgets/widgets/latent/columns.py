"""The columns that points can be colored by: what they are called on screen, and how they can be shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.latent.ordered import OrderedColumn
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.latent.titles import title
from hdm_widgets.widgets.latent.suspicion import SUSPICION, suspicion_text

__all__ = [
    "COLOR_MODES",
    "ColorMode",
    "Column",
    "Texts",
    "date_text",
    "date_ticks",
    "dates_in",
    "usable_columns",
    "value_text",
]

ColorMode = Literal["scale", "categories", "search"]
COLOR_MODES: dict[str, str] = {"scale": "Scale", "categories": "Categories", "search": "Search"}

# A column of texts with more different values than these is searched.
_MOST_TEXTS = 50
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?")
# Steps between the ticks of a scale of dates; those of which there would be many more than fit are not tried.
_STEPS = [(timedelta(minutes=count), "%H:%M") for count in (1, 5, 15, 30, 60, 180, 360, 720)] + [
    (timedelta(days=count), "%d %b") for count in (1, 2, 5, 10)
]
_MONTHS = (1, 2, 3, 6)
_YEARS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000)
_MANY = 100


@dataclass(frozen=True, eq=False)
class Texts:
    """The different texts of a column.

    Attributes
    ----------
    names : list of str
        Ascending.
    codes : numpy.ndarray, int32 (n,)
        Position of every item's text among them.
    """

    names: list[str]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, values: NDArray[np.str_]) -> Texts:
        """Those of an array; a dictionary finds them several times faster than a sort of the array."""
        texts = values.tolist()
        names = sorted(set(texts))
        positions = {text: position for position, text in enumerate(names)}
        return cls(names, np.fromiter(map(positions.__getitem__, texts), np.int32, len(texts)))


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a space's table.

    Attributes
    ----------
    name : str
        In the table.
    title : str
        On screen; no other column has the same.
    values : numpy.ndarray (n,)
    own : bool
        Whether it is a score, a component or the clusters; else it is one of the data set's.
    """

    name: str
    title: str
    values: NDArray[Any]
    own: bool

    @cached_property
    def texts(self) -> Texts:
        """The different texts among its values."""
        return Texts.of(self.values)

    @cached_property
    def dates(self) -> NDArray[np.float64] | None:
        """What `dates_in` finds in its values."""
        return dates_in(self.texts) if self.values.dtype.kind == "U" else None

    @cached_property
    def modes(self) -> tuple[ColorMode, ...]:
        """How it can be shown, the default first."""
        if self.name == "cluster" or self.values.dtype.kind == "b" or isinstance(self.values, OrderedColumn):
            return ("categories",)
        if self.values.dtype.kind in "iuf":
            return ("scale",) if self.own or not _are_whole(self.values) else ("scale", "categories")
        if self.dates is not None:
            return ("scale", "categories")
        return ("search",) if len(self.texts.names) > _MOST_TEXTS else ("categories",)

    def mode(self, wanted: str) -> ColorMode:
        """The mode that is wanted, if it can be shown so; else its default."""
        return next((mode for mode in self.modes if mode == wanted), self.modes[0])

    @property
    def missing(self) -> str:
        """What to call a value that is missing."""
        return "not defined" if self.own else "missing"

    def text(self, index: int) -> str:
        """The value of an item on screen."""
        if self.name == "cluster":
            return f"cluster {self.values[index]}" if self.values[index] >= 0 else "in no cluster"
        if self.own and self.name == SUSPICION:
            return suspicion_text(self.values[index])
        return value_text(self.values[index], self.missing)


def value_text(value: Any, missing: str = "missing") -> str:
    """A value on screen."""
    if isinstance(value, (float, np.floating)):
        return missing if np.isnan(value) else f"{value:.3g}"
    return str(value) or missing


def usable_columns(space: LatentSpace, suspicion: NDArray[np.float64] | None = None) -> dict[str, Column]:
    """Columns that points can be colored by: scores first, then the data set's own, then the others.

    A data set's column that would have the title of another one keeps its name, and is marked where that is not enough.

    Parameters
    ----------
    space : LatentSpace
    suspicion : numpy.ndarray, float64 (n,), optional
        How likely each truth is wrong; not known by default.
    """
    table = space.table()
    # Clusters are found while the explorer is open; until then no item is in one.
    table.setdefault("cluster", np.full(len(space), -1))
    # The table ends with the data set's columns, under the names that are still free there.
    names = [name for name in table if name != "cluster"]
    given = names[len(names) - len(space.columns_) :]
    # How likely a truth is wrong takes a while, too.
    table[SUSPICION] = np.full(len(space), np.nan) if suspicion is None else suspicion
    own = [name for name in table if name not in given]
    titles = {name: title(name) for name in own}
    for name in given:
        titles[name] = _free_title(name, titles.values())
    order = dict.fromkeys(["iou", "expected_iou", "cluster", SUSPICION, *given, *own])
    return {name: Column(name, titles[name], table[name], name in own) for name in order if name != "item"}


def _free_title(name: str, taken: Iterable[str]) -> str:
    """A title for a data set's column that differs from others by more than upper and lower case."""
    used = {other.casefold() for other in taken}
    marks = ["", " (data set)", *(f" (data set, {count})" for count in range(2, len(used) + 3))]
    return next(text for mark in marks if (text := title(name) + mark).casefold() not in used)


def _are_whole(values: NDArray[Any]) -> bool:
    """Whether all numbers that are not missing are whole."""
    finite = values[np.isfinite(values)]
    return bool((finite == np.round(finite)).all()) and bool(len(finite))


# -- dates --------------------------------------------------------------------------------------------


def dates_in(texts: Texts) -> NDArray[np.float64] | None:
    """Texts of n items as milliseconds since 1970, NaN where a text is empty; None if any is no date.

    Dates are those of ISO 8601, with or without a time; without a zone, the time is that of UTC.
    """
    found = np.full(len(texts.names), np.nan)
    for position, text in enumerate(texts.names):
        if not text:
            continue
        if not _DATE.fullmatch(text):
            return None
        try:
            # Nanoseconds are more digits than Python's dates have.
            moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
        except ValueError:
            return None
        found[position] = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000
    return None if np.isnan(found).all() else found[texts.codes]


def date_text(moment: float) -> str:
    """Milliseconds since 1970 as a date, with the time if it is not midnight."""
    text = datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    return text.removesuffix(" 00:00")


def date_ticks(low: float, high: float, most: int = 4) -> list[tuple[float, str]]:
    """Up to `most` round dates between two, in milliseconds since 1970, with their labels.

    They are times, days, firsts of months or of years: the finest of which there are not more.
    """
    for format_, moments in _round_dates(low, high):
        inside = [moment for moment in moments if low <= moment.timestamp() * 1000 <= high]
        if len(inside) <= most:
            return [(moment.timestamp() * 1000, _tick_text(moment, format_)) for moment in inside]
    return []


def _tick_text(moment: datetime, format_: str) -> str:
    """A date in a format; a day without a leading zero."""
    text = moment.strftime(format_)
    return text.lstrip("0") if format_.startswith("%d") else text


def _round_dates(low: float, high: float) -> Iterator[tuple[str, list[datetime]]]:
    """Round dates around two moments with a format for them, from fine to coarse."""
    first, last = (datetime.fromtimestamp(moment / 1000, UTC) for moment in (low, high))
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    span = last - midnight
    for step, format_ in _STEPS:
        if span / step < _MANY:
            yield format_, [midnight + step * count for count in range(int(span / step) + 1)]
    years = range(first.year, last.year + 1)
    for months in _MONTHS:
        if len(years) * 12 / months < _MANY:
            yield "%b %Y", [datetime(year, month, 1, tzinfo=UTC) for year in years for month in range(1, 13, months)]
    for count in _YEARS:
        yield "%Y", [datetime(year, 1, 1, tzinfo=UTC) for year in years if year % count == 0]
