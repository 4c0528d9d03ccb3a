"""Columns that are read or computed when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Any, cast

from numpy.typing import NDArray

__all__ = ["ColumnsOnDemand"]

_Column = NDArray[Any]


class ColumnsOnDemand(dict[str, _Column]):
    """A dict of columns by name, each of which is made when it is first asked for.

    Parameters
    ----------
    makers : dict of str to callable
        What makes each column.
    """

    def __init__(self, makers: Mapping[str, Callable[[], _Column]]) -> None:
        # A column that is not made yet is None.
        super().__init__(cast("dict[str, _Column]", dict.fromkeys(makers)))
        self._makers = dict(makers)

    def __getitem__(self, name: str) -> _Column:
        if super().__getitem__(name) is None:
            self[name] = self._makers[name]()
        return super().__getitem__(name)

    # dict's own methods would hand out what is not made yet: these all ask `__getitem__`.
    get = MutableMapping.get  # type: ignore[assignment]
    pop = MutableMapping.pop
    popitem = MutableMapping.popitem
    setdefault = MutableMapping.setdefault
    items = MutableMapping.items  # type: ignore[assignment]
    values = MutableMapping.values  # type: ignore[assignment]
    __eq__ = MutableMapping.__eq__
    __hash__ = None

    def __iter__(self) -> Iterator[str]:
        # `dict(columns)` and `{**columns}` ask `__getitem__` too, as there is an `__iter__` here.
        return super().__iter__()

    def copy(self) -> ColumnsOnDemand:
        """Another dict of the same columns: one that either asks for is made once."""
        return ColumnsOnDemand({name: partial(self.__getitem__, name) for name in self})

    def __or__(self, other: Mapping[str, _Column]) -> dict[str, _Column]:  # type: ignore[override]
        return {**self, **other}

    def __ror__(self, other: Mapping[str, _Column]) -> dict[str, _Column]:  # type: ignore[override]
        return {**other, **self}

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (list(self.items()),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)})"
