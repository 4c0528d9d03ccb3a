"""How far the distances of estimates may be from what is measured: which may be wrong, and which are certain.

Some cells are computed both ways. They tell by how much the target's map of an estimate is off at each distance from
the disc. A pixel whose margin is larger than that cannot flip: with all pixels that can, and without any of them, the
distance has bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.hdm.approximation import CONFIDENCE
from hdm_widgets.hdm.backends import Outputs
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.measure import BoundedMeasure, Measure
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["Errors", "Uncertainty", "levels_of"]

# Of the errors of the output along the outline, so many percent are at most what an outline is expected to be off by.
_PERCENTILE = 95
# Zones around a disc end so many pixels from its box; the last one is beyond.
_ZONES = (0, 8, 16, 32, 64, 128, 256, 512)
# Fewer cells that were computed both ways tell nothing of the largest errors.
_FEWEST = 8
# Errors below this part of the largest margin are rounding. Their logarithms vary at least by so much.
_ROUNDING, _LEAST_SPREAD = 1e-6, 0.05

# By how much the target's map may be off in each zone, (zones,).
Errors = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Expected:
    """The margin (H, W) of an estimate, and where its outline is."""

    margin: Tensor
    outline: Tensor


class Uncertainty:
    """Bounds of the distances of estimates.

    Parameters
    ----------
    segmenter : Segmenter
    measure : Measure
    grid : Grid
    """

    def __init__(self, segmenter: Segmenter, measure: Measure | None, grid: Grid) -> None:
        self._segmenter, self._measure, self._grid = segmenter, measure, grid
        # A user's function may be slow, and class numbers are near no other class.
        self.possible = isinstance(measure, BoundedMeasure) and segmenter.reading.form != "class numbers"
        self.forget()
        self._bounds = np.full((2, *grid.shape), np.nan)
        self._bounded = np.zeros(grid.shape, dtype=bool)

    # -- errors -------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Nothing is known of errors."""
        self._expected: dict[bytes, _Expected] = {}
        # Errors along outlines, by zone, and the largest of each compared cell in each zone.
        self._outlines: list[list[Tensor]] = [[] for _ in range(len(_ZONES) + 1)]
        self._largest: list[NDArray[np.float64]] = []
        self._rounding = 0.0

    def expect(self, key: bytes, estimate: Tensor) -> None:
        """Keep an estimated output (1, classes, H, W) until its image is measured."""
        margin = self._segmenter.margin(estimate)[0].float().clone()
        self._expected[key] = _Expected(margin, _outline(self._segmenter.binarize(estimate)[0]))

    def expects(self, key: bytes) -> bool:
        """Whether the estimate of an image is kept."""
        return key in self._expected

    def compare(self, key: bytes, cell: tuple[int, int], exact: Tensor) -> None:
        """Learn the errors from the output (1, classes, H, W) of an image whose estimate is kept."""
        expected = self._expected.pop(key)
        errors = (expected.margin - self._segmenter.margin(exact)[0].float()).abs()
        if not bool(torch.isfinite(errors).all()):
            return
        zones = torch.empty_like(errors)
        self._paint(zones, cell, (0, 0), range(len(_ZONES) + 1))
        largest = np.full(len(_ZONES) + 1, np.nan)
        for zone, found in enumerate(self._outlines):
            inside = zones == zone
            if bool(inside.any()):
                largest[zone] = float(errors[inside].max())
                found.append(errors[inside & expected.outline].cpu())
        self._largest.append(largest)
        self._rounding = max(self._rounding, _ROUNDING * float(expected.margin.abs().max()))

    def likely_errors(self) -> Errors | None:
        """By how much outlines are expected to be off: 95 % of the errors along them are at most that."""
        every = [torch.cat(found) if found else torch.empty(0) for found in self._outlines]
        together = torch.cat(every)
        if not len(together):
            return None
        return np.array([np.percentile((errors if len(errors) else together).numpy(), _PERCENTILE) for errors in every])

    def largest_errors(self, confidence: float = CONFIDENCE) -> Errors | None:
        """What no pixel of another cell is off by more than, with this confidence; None where too little is known.

        The logarithms of the largest errors in a zone are taken to be normal, and the bound is the prediction limit for
        one more cell; each zone has its share of the chance that a limit is missed. It is infinite in zones of which
        too few cells tell.
        """
        from scipy.special import stdtrit  # here, as it takes time to load

        if not self._largest:
            return None
        logs = np.log(np.maximum(self._largest, self._rounding))
        known = [zone for zone in range(logs.shape[1]) if np.count_nonzero(~np.isnan(logs[:, zone])) >= _FEWEST]
        if not known:
            return None
        errors = np.full(logs.shape[1], np.inf)
        for zone in known:
            each = logs[~np.isnan(logs[:, zone]), zone]
            spread = max(float(each.std(ddof=1)), _LEAST_SPREAD)
            quantile = float(stdtrit(len(each) - 1, 1 - (1 - confidence) / len(known)))
            errors[zone] = math.exp(each.mean() + quantile * math.sqrt(1 + 1 / len(each)) * spread)
        return errors

    # -- bounds -------------------------------------------------------------------------------------

    def bounds(
        self, outputs: Outputs, cells: NDArray[np.intp], errors: Errors
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Bounds (2, n) of the distances of the outputs of cells (n, 2), and which of them leave but one distance."""
        assert isinstance(self._measure, BoundedMeasure)  # else it is not `possible`  # noqa: S101
        off = torch.empty_like(outputs.values[:, 0], dtype=torch.float32)
        corners = zip(outputs.rows.tolist(), outputs.cols.tolist(), strict=True)
        for inside, (row, col), corner in zip(off, cells.tolist(), corners, strict=True):
            self._paint(inside, (row, col), corner, errors)
        return self._measure.bounds(outputs, off)

    def _paint(self, window: Tensor, cell: tuple[int, int], corner: tuple[int, int], values: Errors | range) -> None:
        """Write the value of each zone around the disc of a cell into a window (h, w) of the image."""
        box = self._grid.window(*cell)[:2]
        window.fill_(float(values[len(_ZONES)]))
        # From the outermost zone to the disc's box.
        for zone in range(len(_ZONES) - 1, -1, -1):
            rows, cols = (
                slice(max(0, inside.start - _ZONES[zone] - start), max(0, inside.stop + _ZONES[zone] - start))
                for inside, start in zip(box, corner, strict=True)
            )
            window[rows, cols] = float(values[zone])

    def keep(self, cells: NDArray[np.intp], bounds: NDArray[np.float64]) -> None:
        """Keep the bounds (2, n) of cells (n, 2)."""
        self._bounds[:, cells[:, 0], cells[:, 1]] = bounds
        self._bounded[cells[:, 0], cells[:, 1]] = True

    def widths(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Width of each cell's interval (rows, cols) around its value; 0 where nothing is known."""
        bounds = np.where(self._bounded, self._bounds, values)
        levels = levels_of(np.stack([*bounds, values]))
        width: NDArray[np.float64] = np.ptp(levels, axis=0)
        return width


def levels_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values that have differences: infinity and NaN have none, and count as one more than the largest value."""
    top = values[np.isfinite(values)].max(initial=0) + 1
    levels: NDArray[np.float64] = np.nan_to_num(values, nan=top, posinf=top)
    return levels


def _outline(mask: Tensor) -> Tensor:
    """Pixels of a mask, bool (H, W), beside a pixel of the other kind."""
    found = torch.zeros_like(mask)
    for dim in (0, 1):
        differs = mask.diff(dim=dim)
        found.narrow(dim, 0, differs.shape[dim]).logical_or_(differs)
        found.narrow(dim, 1, differs.shape[dim]).logical_or_(differs)
    return found
