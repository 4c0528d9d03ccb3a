"""Reading the items of a data set in a thread, while the model runs on those before."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["read_ahead"]

_Item = TypeVar("_Item")

# So many items are read ahead, or as many as take so many bytes; one at least.
_MOST = 64
_BYTES = 1 << 26


def read_ahead(
    read: Callable[[int], _Item | Exception], indices: Sequence[int], nbytes: Callable[[Any], int]
) -> Generator[tuple[int, _Item | Exception], None, None]:
    """Items in order, each with its index; while one is used, a thread reads those that come next.

    An item that cannot be read there is read once more in the caller's own thread: a data set may hold what serves only
    the thread that made it, as a connection to SQLite does. After two in a row that could be read only here, all are.
    The data set is never read by both threads at once.

    Parameters
    ----------
    read : callable
        Takes an index, returns its item, or an error as a value. What it raises ends the reading.
    indices : sequence of int
    nbytes : callable
        Takes an item, returns how much memory it needs. The others are expected to need as much.

    Yields
    ------
    tuple of (int, item or Exception)
    """
    # What NumPy, for one, keeps in the context of the caller's thread holds in the other thread too.
    context = contextvars.copy_context()
    thread = ThreadPoolExecutor(1, "hdm_widgets reads ahead")
    coming: deque[Future[_Item | Exception]] = deque()
    ahead, only_here = 0, 0
    try:
        for position, index in enumerate(indices):
            there = bool(coming)
            item = coming.popleft().result() if there else read(index)
            if there and isinstance(item, Exception):
                _take_back(coming)
                item = read(index)
                only_here += not isinstance(item, Exception)
            elif there:
                only_here = 0
            if not isinstance(item, Exception) and not ahead:
                ahead = max(1, min(_MOST, _BYTES // max(1, nbytes(item))))
            if only_here < 2:
                for later in indices[position + 1 + len(coming) : position + 1 + ahead]:
                    coming.append(thread.submit(context.run, read, later))
            yield index, item
    finally:
        thread.shutdown(cancel_futures=True)


def _take_back(coming: deque[Future[_Item | Exception]]) -> None:
    """Cancel what has not been read, and wait for what is being read."""
    for future in coming:
        if not future.cancel():
            future.exception()
    coming.clear()
