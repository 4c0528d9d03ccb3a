"""A panel of the explorer: compares something in the background, and tells the screen of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.widgets.shared.jobs import LatestJob

__all__ = ["BackgroundPanel", "News", "Progress"]

_SECONDS_BETWEEN_NEWS = 0.2

Progress: TypeAlias = Callable[[ScanUpdate], object]
Found = TypeVar("Found")


class News:
    """What a comparison tells while it runs: how far it is, when called, and what it has already.

    Each raises an error that ends the comparison when nobody waits for it any more.
    """

    def __init__(
        self,
        publishing: threading.RLock,
        stop: threading.Event,
        tell: Callable[[dict[str, Any]], None],
        part: Callable[[HDMResult], None] | None,
    ) -> None:
        self._publishing, self._stop, self._tell, self._part = publishing, stop, tell, part
        self._told = 0.0

    def __call__(self, update: ScanUpdate) -> None:
        """Tell how far the comparison is, now and then."""
        with self._publishing:
            self._check()
            if time.perf_counter() - self._told < _SECONDS_BETWEEN_NEWS:
                return
            self._told = time.perf_counter()
            self._tell(
                {
                    "status": "running",
                    "done": update.done,
                    "total": update.total,
                    "seconds_left": update.seconds_left if update.done else None,
                }
            )

    def measured(self, result: HDMResult) -> None:
        """Show a result that the comparison is made of."""
        with self._publishing:
            self._check()
            if self._part is not None:
                self._part(result)

    def _check(self) -> None:
        if self._stop.is_set():
            raise _StoppedError


class BackgroundPanel(Generic[Found]):
    """Runs a comparison in a thread of its own.

    Parameters
    ----------
    show : callable
        Takes the message for the screen; an empty one closes the panel.
    message : callable
        The message for a finished comparison.
    part : callable, optional
        Shows a result that the comparison is made of, while it runs.

    Attributes
    ----------
    found : object or None
        The newest comparison that is finished.
    asked : object
        Of what it is: what was asked when it was started.
    exception : Exception or None
        Of the last run.
    """

    def __init__(
        self,
        show: Callable[[dict[str, Any]], None],
        message: Callable[[Found], dict[str, Any]],
        part: Callable[[HDMResult], None] | None = None,
    ) -> None:
        self._show, self._message, self._part = show, message, part
        self._worker = LatestJob("hdm-explorer")
        self._publishing = threading.RLock()
        self.found: Found | None = None
        self.asked: object = None
        self.exception: Exception | None = None
        self._last: dict[str, Any] = {}

    @property
    def open(self) -> bool:
        """Whether the screen shows the panel."""
        return bool(self._last)

    @property
    def running(self) -> bool:
        """Whether a comparison runs."""
        return self._last.get("status") == "running"

    def start(
        self, compare: Callable[[News], Found], asked: object, finished: Callable[[], None] | None = None
    ) -> None:
        """Run a comparison; `finished` is called when it is there."""
        with self._publishing:
            self.exception = None
            self._tell({"status": "running", "done": 0, "total": 0, "seconds_left": None})
            self._worker.submit(lambda stop: self._run(compare, asked, finished, stop))

    def cancel(self) -> None:
        """Stop the comparison; the one before stays."""
        with self._publishing:
            self._worker.cancel()
            if self.running:
                if self.found is None:
                    self._tell({"status": "cancelled"})
                else:
                    self.tell_again()

    def hide(self) -> None:
        """Close the panel; the comparison stays."""
        with self._publishing:
            self._worker.cancel()
            self._tell({})

    def wait(self, timeout: float | None) -> bool:
        """Wait for the comparison to end; False if it still runs."""
        return self._worker.wait(timeout)

    def close(self) -> None:
        """Stop, and free what is held."""
        with self._publishing:
            self._worker.close()
            self.found = self.exception = self.asked = None
            self._last = {}

    def tell_again(self) -> None:
        """Tell the screen of the finished comparison, whose message may have changed."""
        with self._publishing:
            if self.found is None:
                return
            try:
                self._tell({"status": "done", **self._message(self.found)})
            except ValueError as error:
                self._tell_error(error)

    def _run(
        self,
        compare: Callable[[News], Found],
        asked: object,
        finished: Callable[[], None] | None,
        stop: threading.Event,
    ) -> None:
        try:
            found = compare(News(self._publishing, stop, self._tell, self._part))
            with self._publishing:
                if not stop.is_set():
                    self.found, self.asked = found, asked
                    self.tell_again()
                    if finished is not None:
                        finished()
        except _StoppedError:
            return
        except Exception as error:  # noqa: BLE001 - shown in the panel, kept in `exception`
            with self._publishing:
                if not stop.is_set():
                    self.exception = error
                    self._tell_error(error)

    def _tell_error(self, error: Exception) -> None:
        self._tell({"status": "error", "error": str(error) or type(error).__name__})

    def _tell(self, message: dict[str, Any]) -> None:
        self._last = message
        self._show(message)


class _StoppedError(Exception):
    """Nobody waits for the comparison any more."""
