"""A region that is brushed on the stage of the HDM explorer, and which discs change the mask there."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike, NDArray

from hdm_widgets._masks import read_mask, without
from hdm_widgets._validation import is_whole
from hdm_widgets._wire import MESSAGE
from hdm_widgets.hdm.circle_map import RAW, ResultType, ShownOrder, mean_values, painted_values
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.widgets.hdm.fill_panel import SIGNIFICANT

__all__ = ["BrushTraits", "PaintedChange", "from_runs", "to_runs"]


def to_runs(mask: NDArray[np.bool_]) -> list[int]:
    """A mask (H, W) as its runs, row by row: row, first pixel and past-the-last pixel of each."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    (rows, starts), (_, stops) = np.nonzero(edges == 1), np.nonzero(edges == -1)
    runs: list[int] = np.stack([rows, starts, stops], axis=1).ravel().tolist()
    return runs


def from_runs(runs: list[int], height: int, width: int) -> NDArray[np.bool_]:
    """A mask (H, W) of its runs.

    Raises
    ------
    ValueError
        If they are no runs of such a mask.
    """
    if len(runs) % 3 or not all(is_whole(value) for value in runs):
        raise ValueError("a brushed region is a list of runs: row, first and past-the-last pixel of each")
    mask = np.zeros((height, width), dtype=bool)
    for row, start, stop in np.reshape(runs, (-1, 3)).tolist():
        if not (0 <= row < height and 0 <= start < stop <= width):
            raise ValueError(
                f"a brushed region lies in the image of {height} x {width} px, got row {row}, pixels {start} to {stop}"
            )
        mask[row, start:stop] = True
    return mask


class PaintedChange:
    """Which fraction of what a map shows to change lies on a region.

    The last map is kept, as regions change while it does not.
    """

    def __init__(self) -> None:
        self._last: tuple[HDMResult, ResultType, ShownOrder, NDArray[np.float64]] | None = None

    def on(
        self, region: NDArray[np.bool_], result: HDMResult, result_type: ResultType, order: ShownOrder
    ) -> float | None:
        """As `HDMResult.relevance_mass_accuracy`, but of the differences from the value without a disc.

        Of raw values most is the same in all cells: their sum says how large the region is.

        Returns
        -------
        float or None
            None where nothing changes, or a change is infinite. One that is not defined counts as none.
        """
        last = self._last
        if last is None or last[0] is not result or last[1:3] != (result_type, order):
            values = result.distances(result_type)
            with np.errstate(invalid="ignore"):
                changes = np.abs(values - result.baseline) if result_type is RAW else values
            paint = mean_values if order == "mean" else painted_values
            painted = paint(changes, result.measured, result.grid)
            last = self._last = result, result_type, order, np.nan_to_num(painted, posinf=np.inf)
        painted = last[3]
        total = painted.sum()
        return float(painted[region].sum() / total) if total and np.isfinite(total) else None

    def forget(self) -> None:
        """Free the map."""
        self._last = None


class BrushTraits(traitlets.HasTraits):
    """The brushed region, base of the HDM explorer's traits."""

    brush = traitlets.List(traitlets.Int()).tag(sync=True)
    # Fraction of the brushed region's pixels that flip, of every cell, and of the map's change that lies on it.
    _influence = traitlets.Dict().tag(**MESSAGE)

    result_type: str
    order: ShownOrder
    status: str
    _publishing: threading.RLock

    def __init__(self, **traits: Any) -> None:
        self._painted_change = PaintedChange()
        super().__init__(**traits)

    def _show_influence(self, _change: Any = None) -> None:
        """Tell the screen what the discs change on the brushed region."""
        with self._publishing:
            region, influence, result = self.region, self.influence, self._shown_result()
            if region is None or influence is None or result is None:
                self._influence = {}
                return
            # What changes on the whole map grows with every update of a scan.
            running = self.status == "running"
            # The map of significance has raw values.
            kind = RAW if self.result_type == SIGNIFICANT else ResultType(self.result_type)
            change = None if running else self._painted_change.on(region, result, kind, self.order)
            self._influence = {"values": influence.astype(np.float32), "change": change}

    def _valid_brush(self, value: list[int]) -> list[int]:
        from_runs(value, *self._image_size())
        return value

    @abstractmethod
    def _image_size(self) -> tuple[int, int]:
        """(row, col), the image's sides in pixels."""

    @abstractmethod
    def _of_class(self) -> HDMResult | None:
        """What the scan has of the class that is shown, whatever is asked of it."""

    @abstractmethod
    def _shown_result(self) -> HDMResult | None:
        """What the map shows; None before there is anything, and once the explorer is closed."""

    @property
    def region(self) -> NDArray[np.bool_] | None:
        """The brushed region, bool (H, W); None where nothing is brushed. Assigning one brushes it."""
        return from_runs(self.brush, *self._image_size()) if self.brush else None

    @region.setter
    def region(self, region: ArrayLike | None) -> None:
        if region is None:
            self.brush = []
            return
        mask = read_mask(region, name="region", may_ignore=False).mask
        if mask.shape != self._image_size():
            raise ValueError(f"expected a region of the image's size {self._image_size()}, got {mask.shape}")
        self.brush = to_runs(mask)

    @property
    def influence(self) -> NDArray[np.float64] | None:
        """Fraction of the brushed region's pixels that each disc flips, float (rows, cols), as `HDMResult.influence`.

        None where nothing is brushed or measured yet, where no pixel of the region counts, or masks are not kept.
        """
        region, result = self.region, self._of_class()
        if region is None or result is None or result._masks is None:
            return None
        return result.influence(region) if without(region, result.ignored).any() else None
