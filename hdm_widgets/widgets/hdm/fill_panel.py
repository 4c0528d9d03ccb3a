"""The explorer's panel that compares fills: runs `hdm.compare_fills` in the background and tells the screen of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import traitlets

from hdm_widgets._wire import MESSAGE, bits
from hdm_widgets.hdm.fill_comparison import FillComparison
from hdm_widgets.hdm.fill_names import fill_text
from hdm_widgets.hdm.messages import map_message
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.widgets.shared.jobs import LatestJob

__all__ = ["SIGNIFICANT", "FillPanel", "FillPanelTraits", "whole_update"]

# A result type of the explorer alone: raw values, with what may be chance hatched.
SIGNIFICANT = "significant"

_SECONDS_BETWEEN_NEWS = 0.2

Compare = Callable[[Callable[[ScanUpdate], object]], FillComparison]


class FillPanelTraits(traitlets.HasTraits):
    """What the screen knows of the comparison, base of the HDM explorer's traits."""

    # Empty while the panel is closed.
    _fill_panel = traitlets.Dict().tag(**MESSAGE)
    # That the model draws the disc itself as segment, in words, and the fill to try; empty where it does not.
    _disc_drawn = traitlets.Dict().tag(**MESSAGE)
    # Whether the comparison is of what the map shows, so that "significant" has a meaning.
    _has_significance = traitlets.Bool(False).tag(sync=True)


class FillPanel:
    """Compares fills in a thread of its own.

    Parameters
    ----------
    show : callable
        Takes the message for the screen.

    Attributes
    ----------
    comparison : FillComparison or None
        The newest one that is finished.
    asked : object
        Of what it is: what was asked when it was started.
    exception : Exception or None
        Of the last run.
    """

    def __init__(self, show: Callable[[dict[str, Any]], None]) -> None:
        self._show = show
        self._worker = LatestJob("hdm-explorer")
        self._publishing = threading.RLock()
        self.comparison: FillComparison | None = None
        self.asked: object = None
        self.exception: Exception | None = None
        self._last: dict[str, Any] = {}

    def start(self, compare: Compare, asked: object, finished: Callable[[], None]) -> None:
        """Run a comparison; `finished` is called when it is there."""
        with self._publishing:
            self.exception = None
            self._tell({"status": "running", "done": 0, "total": 0, "seconds_left": None})
            self._worker.submit(lambda stop: self._run(compare, asked, finished, stop))

    def cancel(self) -> None:
        """Stop the comparison; the one before stays."""
        with self._publishing:
            self._worker.cancel()
            if self._last.get("status") == "running":
                self._tell(self._found() if self.comparison else {"status": "cancelled"})

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
            self.comparison = self.exception = self.asked = None
            self._last = {}

    def _run(self, compare: Compare, asked: object, finished: Callable[[], None], stop: threading.Event) -> None:
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
            comparison = compare(progress)
            with self._publishing:
                if not stop.is_set():
                    self.comparison, self.asked = comparison, asked
                    self._tell(self._found())
                    finished()
        except _StoppedError:
            return
        except Exception as error:  # noqa: BLE001 - shown in the panel, kept in `exception`
            with self._publishing:
                if not stop.is_set():
                    self.exception = error
                    self._tell({"status": "error", "error": str(error) or type(error).__name__})

    def _tell(self, message: dict[str, Any]) -> None:
        self._last = message
        self._show(message)

    def _found(self) -> dict[str, Any]:
        """The finished comparison as a message."""
        comparison = self.comparison
        assert comparison is not None  # asked for only then  # noqa: S101
        return {
            "status": "done",
            "fills": [
                {
                    "fill": fill_text(result.settings.fill),
                    "map": map_message(whole_update(result)),
                }
                for result in comparison.results.values()
            ],
            "agreement": [
                [*(fill_text(comparison.results[name].settings.fill) for name in pair), one.value, one.low, one.high]
                for pair, one in comparison.agreement.items()
            ],
            "text": comparison.text,
            "noise_floor": comparison.noise_floor,
            "significant": bits(comparison.significant),
            "count": int(np.count_nonzero(comparison.significant)),
            "of": int(np.count_nonzero(comparison.compared)),
        }


class _StoppedError(Exception):
    """Nobody waits for the comparison any more."""


def whole_update(result: HDMResult) -> ScanUpdate:
    """A finished result as the last update of its scan."""
    total = int(np.count_nonzero(result.settings.asked(result.grid)))
    done = int(np.count_nonzero(result.measured))
    return ScanUpdate(np.empty((0, 2), np.intp), np.empty(0), done, total, 1, 0.0, result)
