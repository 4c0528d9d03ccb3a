"""Reading the items of a data set in a thread, while the model runs on those before."""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import torch

from hdm_widgets.models.threads import single_thread

__all__ = ["read_ahead"]

_Item = TypeVar("_Item")

# At most so many items are read ahead, or as many as take so many bytes, but at least one.
_MOST = 64
_BYTES = 1 << 26
# A thread pays from so many seconds for an item on, in so many items in a row: below, it takes longer than it saves.
_WORTH, _SLOW = 1e-3, 3
# So many seconds the end of a reading waits for an item that is being read: it may hang.
_PATIENCE = 1.0


def read_ahead(
    read: Callable[[int], _Item | Exception], indices: Sequence[int], nbytes: Callable[[Any], int] | None = None
) -> Generator[tuple[int, _Item | Exception], None, None]:
    """Items in order, each with its index; where reading takes its time, a thread reads while the caller uses them.

    An item that cannot be read there is read once more in the caller's own thread: a data set may hold what serves only
    the thread that made it, as a connection to SQLite does. After two in a row that could be read only here, all items
    are read here. The two threads never read at the same time.

    Parameters
    ----------
    read : callable
        Takes an index, returns its item, or an error as a value. What it raises ends the reading.
    indices : sequence of int
    nbytes : callable, optional
        Takes an item, returns how much memory it needs, where others need as much. Without it, one item is read ahead.

    Yields
    ------
    tuple of (int, item or Exception)
    """
    thread: _ReadingThread[_Item | Exception] = _ReadingThread(read)
    coming: deque[Future[_Item | Exception]] = deque()
    ahead, slow, only_here = 1, 0, 0
    try:
        for position, index in enumerate(indices):
            there = bool(coming)
            started = time.perf_counter()
            item = coming.popleft().result() if there else thread.read_here(index)
            if slow < _SLOW:
                slow = slow + 1 if time.perf_counter() - started >= _WORTH else 0
            if there and isinstance(item, Exception):
                # What has been read stays; what is being read is waited for.
                while coming and coming[-1].cancel():
                    coming.pop()
                if coming:
                    coming[-1].exception()
                item = thread.read_here(index)
                only_here += not isinstance(item, Exception)
            elif there:
                only_here = 0
            if nbytes is not None and not isinstance(item, Exception):
                ahead = max(1, min(_MOST, _BYTES // max(1, nbytes(item))))
            if slow == _SLOW and only_here < 2:
                coming.extend(map(thread.ask, indices[position + 1 + len(coming) : position + 1 + ahead]))
            yield index, item
    finally:
        for future in coming:
            future.cancel()
        thread.end()


class _ReadingThread(Generic[_Item]):
    """A thread that reads, with what the caller's thread keeps for itself: NumPy's error settings, PyTorch's gradients.

    PyTorch has one thread for reading, whichever thread reads: the others are for the model.

    Parameters
    ----------
    read : callable
        Takes an index.
    """

    def __init__(self, read: Callable[[int], _Item]) -> None:
        self._read = read
        self._asked: SimpleQueue[tuple[Future[_Item], int] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def read_here(self, index: int) -> _Item:
        """An item, read by the caller's thread."""
        with single_thread():
            return self._read(index)

    def ask(self, index: int) -> Future[_Item]:
        """What will be an item."""
        if self._thread is None:
            work = (contextvars.copy_context().run, torch.is_grad_enabled())
            # A daemon: who leaves does not wait for an item that never comes.
            self._thread = threading.Thread(target=self._run, args=work, name="hdm_widgets reads ahead", daemon=True)
            self._thread.start()
        future: Future[_Item] = Future()
        self._asked.put((future, index))
        return future

    def end(self) -> None:
        """Read no more."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(_PATIENCE)

    def _run(self, run: Callable[..., _Item], gradients: bool) -> None:
        with torch.set_grad_enabled(gradients), single_thread():
            while (asked := self._asked.get()) is not None:
                future, index = asked
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    found = run(self._read, index)
                except BaseException as error:  # noqa: BLE001 - raised where the item is taken
                    future.set_exception(error)
                else:
                    future.set_result(found)
                    del found
