"""Where the time of a scan goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ScanClock"]


class ScanClock:
    """Tells the time that a first map takes from that of measuring, which tells how long the other cells will take."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._mapping = False
        self._estimating = self._measuring = 0.0

    def start(self, started: float) -> None:
        """Count from this `time.perf_counter` on."""
        self._started = started

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._started

    def told(self) -> tuple[float, float]:
        """Seconds since the start, and those of them that the first map has taken."""
        seconds = self.seconds
        return seconds, self._first_map(seconds)

    def _first_map(self, seconds: float) -> float:
        return seconds - self._measuring if self._mapping else self._estimating

    @contextmanager
    def mapping(self) -> Iterator[None]:
        """What is done here is a first map."""
        self._mapping = True
        try:
            yield
        finally:
            self._estimating, self._mapping = self._first_map(self.seconds), False

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """What is done here is measuring, although it is part of a first map."""
        mapping, started = self._mapping, time.perf_counter()
        self._estimating, self._mapping = self._first_map(self.seconds), False
        try:
            yield
        finally:
            self._measuring += time.perf_counter() - started
            self._mapping = mapping

    def forget(self) -> None:
        """There is no first map."""
        self._mapping, self._estimating, self._measuring = False, 0.0, 0.0
