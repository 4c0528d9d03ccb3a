"""Seconds that things take, side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def medians(
    rounds: int, *functions: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Median seconds of each function over several rounds in which they take turns."""
    samples: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for times, function in zip(samples, functions, strict=True):
            started = clock()
            function()
            times.append(clock() - started)
    return [statistics.median(times) for times in samples]
