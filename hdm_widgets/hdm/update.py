"""News from a running scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.hdm.result import HDMResult

__all__ = ["ScanUpdate"]


@dataclass(frozen=True, eq=False)
class ScanUpdate:
    """News from a running scan.

    Attributes
    ----------
    cells : numpy.ndarray (n, 2)
        (row, col) of the cells that were just measured.
    distances : numpy.ndarray, float64 (n,)
        Their distances.
    done, total : int
        Cells measured so far and to be measured in all.
    stride : int
        Of the stage in progress: when it is finished, every `stride`-th row and column is measured, or estimated. The
        last stage has stride 1 and goes first where estimates are uncertain and neighboring cells differ.
    seconds : float
        Since the scan began.
    result : HDMResult
        All so far.
    estimating : float
        Seconds of these that a first map of estimates took.
    expected : float or None
        Seconds that the rest will take, where it is other work than what was done so far; None where it is not.
    """

    cells: NDArray[np.intp]
    distances: NDArray[np.float64]
    done: int
    total: int
    stride: int
    seconds: float
    result: HDMResult
    estimating: float = 0.0
    expected: float | None = None

    @property
    def seconds_left(self) -> float:
        """Time that the rest will take, mostly at the pace so far; infinite before there is a pace."""
        if not self.done:
            return float("inf")
        if self.expected is not None:
            return self.expected
        return (self.seconds - self.estimating) * (self.total - self.done) / self.done
