"""Columns whose values have an order of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["OrderedColumn", "keep_common_order", "keep_order"]


class OrderedColumn(np.ndarray[Any, np.dtype[Any]]):
    """An array (n,) of values that have an order, as those of an ordered Categorical of pandas.

    Slices and other selections of it know the order too; for everything else it is the array that it was made of.

    Attributes
    ----------
    categories : tuple
        All values that it may have, in their order. What is missing is none of them.
    """

    categories: tuple[Any, ...]

    def __new__(cls, values: NDArray[Any], categories: tuple[Any, ...]) -> OrderedColumn:
        """An ordered column with the values of an array."""
        column = np.asarray(values).view(cls)
        column.categories = categories
        return column

    def __array_finalize__(self, made_from: object) -> None:
        """Take the order over from the column that this one is a part of."""
        self.categories = getattr(made_from, "categories", ())

    @property
    def codes(self) -> NDArray[np.int64]:
        """Position of every value among the categories, int64 (n,); -1 for what is missing."""
        codes = np.full(len(self), -1, np.int64)
        for position, category in enumerate(self.categories):
            codes[np.asarray(self) == category] = position
        return codes


def keep_order(column: NDArray[Any], given: object) -> NDArray[Any]:
    """The column with the order of what it was made of, if that is an ordered Categorical of pandas or a Series of one.

    Parameters
    ----------
    column : numpy.ndarray (n,)
        Texts, numbers or flags.
    given : object
        What they were read from.

    Returns
    -------
    numpy.ndarray (n,)
        An OrderedColumn where there is an order.
    """
    dtype: Any = getattr(given, "dtype", None)
    if not getattr(dtype, "ordered", False) or not hasattr(dtype, "categories"):
        return column
    texts = column.dtype.kind == "U"
    categories = tuple(str(one) if texts else one for one in np.asarray(dtype.categories).tolist())
    # What is missing may have come as the text of whatever stood for it.
    known = np.isin(column, categories)
    return OrderedColumn(np.where(known, column, "") if texts else column, categories)


def keep_common_order(column: NDArray[Any], parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """A column that was joined of parts, with their order if they all have the same."""
    orders = {part.categories if isinstance(part, OrderedColumn) else () for part in parts}
    categories = orders.pop() if len(orders) == 1 else ()
    return OrderedColumn(column, categories) if categories else column
