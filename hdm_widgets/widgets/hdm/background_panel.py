"""A panel of the explorer: compares something in the background, and tells the screen of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.widgets.shared.jobs import LatestJob

__all__ = ["BackgroundPanel", "Progress"]

_SECONDS_BETWEEN_NEWS = 0.2

Progress: TypeAlias = Callable[[ScanUpdate], object]
Found = TypeVar("Found")


class BackgroundPanel(Generic[Found]):
    """Runs a comparison in a thread of its own.

    Parameters
    ----------
    show : callable
        Takes the message for the screen; an empty one closes the panel.
    message : callable
        The message for a finished comparison.

    Attributes
    ----------
    found : object or None
        The newest comparison that is finished.
    asked : object
        Of what it is: what was asked when it was started.
    exception : Exception or None
        Of the last run.
    """

    def __init__(self, show: Callable[[dict[str, Any]], None], message: Callable[[Found], dict[str, Any]]) -> None:
        self._show, self._message = show, message
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
        self, compare: Callable[[Progress], Found], asked: object, finished: Callable[[], None] | None = None
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
        compare: Callable[[Progress], Found],
        asked: object,
        finished: Callable[[], None] | None,
        stop: threading.Event,
    ) -> None:
        told = 0.0

        def progress(update: ScanUpdate) -> None:
            nonlocal told
            with self._publishing:
                if stop.is_set():
                    raise _StoppedError
                if time.perf_counter() - told < _SECONDS_BETWEEN_NEWS:
                    return
                told = time.perf_counter()
                self._tell(
                    {
                        "status": "running",
                        "done": update.done,
                        "total": update.total,
                        "seconds_left": update.seconds_left if update.done else None,
                    }
                )

        try:
            found = compare(progress)
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
