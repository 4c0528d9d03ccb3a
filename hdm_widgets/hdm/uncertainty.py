"""How far the distances of a first map may be from what is measured: which of its cells are worth measuring first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.hdm.backends import Outputs
from hdm_widgets.hdm.measure import ClassMeasure, MaskMeasure, Measure
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["Uncertainty", "levels_of"]

# Of the errors of the output along the outline, so many percent are at most what an outline is expected to be off by.
_PERCENTILE = 95


class Uncertainty:
    """Intervals of the distances of a first map.

    A few cells are computed both ways, and tell by how much estimated outputs are off along the outline. A mask with
    the outline where the target's map is higher by that much, and one where it is lower, give two more distances of
    every estimate: where these differ, the estimate may be wrong.

    Parameters
    ----------
    segmenter : Segmenter
    measure : Measure
    shape : tuple of int
        Of the grid, (rows, cols).

    Attributes
    ----------
    error : float
        Of the target's map along the outline; 0 as long as it is not known.
    """

    def __init__(self, segmenter: Segmenter, measure: Measure, shape: tuple[int, int]) -> None:
        self._segmenter, self._measure = segmenter, measure
        # A user's function may be slow, and class numbers are near no other class.
        self.possible = isinstance(measure, (MaskMeasure, ClassMeasure)) and segmenter.reading.form != "class numbers"
        self._expected: dict[bytes, Tensor] = {}
        self._errors: list[Tensor] = []
        self._bounds = np.full((2, *shape), np.nan)
        self._bounded = np.zeros(shape, dtype=bool)
        self.error = 0.0

    def expect(self, key: bytes, estimate: Tensor) -> None:
        """Keep an estimated output (1, classes, H, W) until its image is measured."""
        self._expected[key] = estimate

    def expects(self, key: bytes) -> bool:
        """Whether the estimate of an image is kept."""
        return key in self._expected

    def compare(self, key: bytes, exact: Tensor) -> None:
        """Learn the error from the output (1, classes, H, W) of an image whose estimate is kept."""
        estimate = self._expected.pop(key)
        outline = _outline(self._segmenter.binarize(estimate)[0])
        difference = self._segmenter.target_map(estimate)[0] - self._segmenter.target_map(exact)[0]
        self._errors.append(difference[outline].abs().float().cpu())
        errors = torch.cat(self._errors).numpy()
        if len(errors) and np.isfinite(errors).all():
            self.error = float(np.percentile(errors, _PERCENTILE))

    def bound(self, outputs: Outputs) -> NDArray[np.float64]:
        """Distances (2, n) of estimated outputs, with the target's map lower and higher by the error."""
        found = []
        for shift in (-self.error, self.error):
            values = outputs.values.clone()
            self._segmenter.target_map(values).add_(shift)
            found.append(self._measure(replace(outputs, values=values))[0])
        return np.stack(found)

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
