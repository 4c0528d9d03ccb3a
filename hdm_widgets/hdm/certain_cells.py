"""Which estimates of a scan are certain, and whether audits agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.hdm.approximation import CONFIDENCE, Approximation
from hdm_widgets.hdm.backends import Outputs
from hdm_widgets.hdm.grid import Grid, spread
from hdm_widgets.hdm.uncertainty import Errors, Uncertainty

__all__ = ["CertainCells", "is_chance"]

# Of the estimates that are certain, so many are measured, and at least so many.
_AUDITED, _FEWEST_AUDITS = 0.01, 8
# Audits that fail more often than this by chance, if estimates are certain as stated, are taken for chance.
_SIGNIFICANCE = 0.05
# At most so many estimated outputs are kept until they are measured, and fewer if they take more memory than this.
_KEPT, _KEPT_BYTES = 64, 256 << 20
# Where none of so many estimates is certain, no more are looked at.
_HOPELESS = 64


class CertainCells:
    """Estimates in which no pixel that may flip changes the distance.

    Parameters
    ----------
    uncertainty : Uncertainty
        Learns the errors of the estimates from cells that are computed both ways.
    grid : Grid
    seed : int
        Of the choice of audits.

    Attributes
    ----------
    cells : numpy.ndarray, bool (rows, cols)
        Those that were certain as estimates; some have been measured since.
    audits, audits_failed : int
        How many have, and how many of these are another distance.
    """

    def __init__(self, uncertainty: Uncertainty, grid: Grid, seed: int) -> None:
        self._uncertainty, self._grid, self._seed = uncertainty, grid, seed
        self._kept = np.zeros(grid.shape, dtype=bool)
        self._errors: Errors | None = None
        self._looked_at = 0
        self.cells = np.zeros(grid.shape, dtype=bool)
        self.audits = self.audits_failed = 0

    def compare_some(self, cells: NDArray[np.intp]) -> None:
        """Choose those of the cells (n, 2), all of which will be computed both ways, that errors are learned from."""
        # A margin in float32, and an outline.
        most = _KEPT_BYTES // (5 * self._grid.height * self._grid.width)
        chosen = spread(cells, min(_KEPT, most))
        self._kept[chosen[:, 0], chosen[:, 1]] = True

    def is_compared(self, cell: Iterable[int]) -> bool:
        """Whether errors are learned from a cell."""
        return bool(self._kept[tuple(cell)])

    def begin(self) -> None:
        """From here on, estimates are looked at."""
        self._errors = self._uncertainty.largest_errors()

    def look_at(
        self, outputs: Outputs, cells: NDArray[np.intp], whole: Callable[[Outputs, int], Tensor]
    ) -> NDArray[np.bool_]:
        """Which of the estimated outputs of cells (n, 2) are certain; `whole` makes one of them a whole output."""
        certain = np.zeros(len(cells), dtype=bool)
        if self._errors is None:
            return certain
        for index in range(len(cells)):
            # What may flip outside of a window counts too.
            one = Outputs.from_whole(outputs.items[index : index + 1], whole(outputs, index))
            certain[index] = self._uncertainty.bounds(one, cells[index : index + 1], self._errors)[1][0]
        self._looked_at += len(cells)
        if self._looked_at >= _HOPELESS and not (certain.any() or self.cells.any()):
            self._errors = None
        return certain

    def to_audit(self) -> NDArray[np.intp]:
        """Cells (n, 2) to measure."""
        rng = np.random.default_rng(self._seed)
        chosen: NDArray[np.intp] = rng.permutation(np.argwhere(self.cells))[: self.audits_left]
        return chosen

    @property
    def audits_left(self) -> int:
        """How many cells are still to be measured."""
        count = int(np.count_nonzero(self.cells))
        return 0 if self.audits else min(count, max(_FEWEST_AUDITS, math.ceil(_AUDITED * count)))

    def added_to(self, error: Approximation, estimated: NDArray[np.bool_]) -> Approximation:
        """The error of estimates (rows, cols) with what is known of those that are certain."""
        certain = int(np.count_nonzero(self.cells & estimated))
        return replace(error, certain=certain, audits=self.audits, audits_failed=self.audits_failed)

    def conclude(
        self, measured: NDArray[np.bool_], values: NDArray[np.float64], estimates: NDArray[np.float64]
    ) -> None:
        """Count the audits: cells that have been measured, with their values and what was estimated, (rows, cols).

        No cell is certain where more of them differ than chance would have it.
        """
        audited = self.cells & measured
        differs = ~np.isclose(values, estimates, rtol=1e-12, atol=0, equal_nan=True)
        self.audits, self.audits_failed = int(audited.sum()), int((audited & differs).sum())
        if not is_chance(self.audits_failed, self.audits):
            self.cells[:] = False


def is_chance(failed: int, audits: int, confidence: float = CONFIDENCE) -> bool:
    """Whether so many failed audits are to be expected of cells that are certain with this confidence."""
    from scipy.special import bdtrc  # here, as it takes time to load

    return not failed or bool(bdtrc(failed - 1, audits, 1 - confidence) >= _SIGNIFICANCE)
