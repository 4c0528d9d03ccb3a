"""CPU seconds of the parts of a fit, in this process or in a worker of a cluster.

A file of its own because workers import it.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from hdm_widgets import _cluster
from hdm_widgets.latent.store.builder import ShardWriter
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["MeasuredItems", "measure_parts", "taken"]

PARTS = ("reading", "model", "writing", "start")
_seconds = dict.fromkeys(PARTS, 0.0)
_started = [0.0]


def _timed(function: Any, part: str) -> Any:
    """The function, whose CPU seconds count; those of all threads of the process, as torch has several."""

    @functools.wraps(function)
    def run(*given: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return function(*given, **options)
        finally:
            _seconds[part] += time.process_time() - start

    return run


class MeasuredItems:
    """The items of a data set, whose reading counts."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.columns = dataset, dataset.columns
        self.read = _timed(dataset.__getitem__, "reading")

    def __reduce__(self) -> tuple[type[MeasuredItems], tuple[Any]]:
        return MeasuredItems, (self.dataset,)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.read(index)


def measure_parts() -> None:
    """Start to count in this process."""
    for owner, name, part in (
        (Segmenter, "raw", "model"),
        (ShardWriter, "write", "writing"),
        (_cluster._Parcel, "_read", "start"),
    ):
        function: Any = getattr(owner, name)
        if not hasattr(function, "__wrapped__"):
            setattr(owner, name, _timed(function, part))
    _seconds.update(dict.fromkeys(PARTS, 0.0))
    _started[0] = time.process_time()


def taken() -> dict[str, float]:
    """CPU seconds of each part since then, and of the whole process."""
    return {**_seconds, "all": time.process_time() - _started[0]}
