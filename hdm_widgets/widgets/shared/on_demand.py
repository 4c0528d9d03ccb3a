"""A value that is computed in the background, once, when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Literal, TypeVar

from hdm_widgets.widgets.shared.jobs import LatestJob

__all__ = ["OnDemand", "State"]

T = TypeVar("T")
State = Literal["idle", "running", "done", "error"]


class OnDemand(Generic[T]):
    """A value that takes a while to compute.

    It is not stopped while nobody sees it, as it is computed once and in a matter of seconds.

    Parameters
    ----------
    name : str
        Name of the thread.
    compute : callable
        Gives the value; what it raises is kept as `error`.
    ended : callable
        Called in the thread when there is a value or an error.

    Attributes
    ----------
    state : {"idle", "running", "done", "error"}
    error : str
        Why there is no value, empty otherwise.
    value : object or None
    """

    def __init__(self, name: str, compute: Callable[[], T], ended: Callable[[], object]) -> None:
        self._compute: Callable[[], T] | None = compute
        self._ended: Callable[[], object] | None = ended
        self._lock = threading.Lock()
        self._job = LatestJob(name)
        self.state: State = "idle"
        self.error = ""
        self.value: T | None = None

    def start(self) -> None:
        """Compute it, unless it is computed or has been; anew after an error."""
        with self._lock:
            if self._compute is None or self.state in ("running", "done"):
                return
            self.state, self.error = "running", ""
        self._job.submit(self._run)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is not computed any more; False if that took longer than `timeout` seconds."""
        return self._job.wait(timeout)

    def close(self) -> None:
        """Forget what computes it; a computation that has begun tells nobody of its end."""
        self._job.close()
        with self._lock:
            self._compute = self._ended = None

    def _run(self, _stop: threading.Event) -> None:
        compute, value, error = self._compute, None, ""
        if compute is None:
            return
        try:
            value = compute()
        except Exception as caught:  # noqa: BLE001 - shown in the widget
            error = str(caught) or type(caught).__name__
        with self._lock:
            self.value, self.error = value, error
            self.state = "error" if error else "done"
            ended = self._ended
        if ended is not None:
            ended()
