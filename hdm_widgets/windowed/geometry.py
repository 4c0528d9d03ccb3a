"""Which pixels of its image the output of a network covers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hdm_widgets.windowed.axes import Interval
from hdm_widgets.windowed.build import Program
from hdm_widgets.windowed.calls import TraceError
from hdm_widgets.windowed.network import TracedModel
from hdm_widgets.windowed.propagation import AxisPropagation

__all__ = ["output_geometry"]


def output_geometry(network: nn.Module, image: Tensor) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Find out which rows and columns of its image those of a network's output belong to.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode; (N, C, H, W) to one tensor whose first axis is N.
    image : torch.Tensor (C, H, W)
        Of the size, dtype and device that the network will be run with.

    Returns
    -------
    tuple of two pairs of float, or None
        The distance between two neighboring rows of the output, and the margin above the first row, both in pixels of
        the image; then the same for columns. None if the network cannot be traced, or if every pixel of the image
        changes every row or column.
    """
    try:
        program = TracedModel(network, image).network.program
    except TraceError:
        return None
    with torch.inference_mode():
        rows, cols = (_along(program, axis) for axis in (0, 1))
    return None if rows is None or cols is None else (rows, cols)


def _along(program: Program, axis: int) -> tuple[float, float] | None:
    """Distance and margin along one axis, whose pixels are called rows here."""
    changed = [_change(program, axis, row) for row in range(program.sizes[program.image][axis])]
    size = program.sizes[program.output][axis]
    # As long as the border does not cut its window, both ends of the window move with the changed row.
    first = _steps([(row, change.lo) for row, change in enumerate(changed) if change is not None and change.lo > 0])
    last = _steps(
        [(row, change.hi - 1) for row, change in enumerate(changed) if change is not None and change.hi < size]
    )
    if len(first) < 2 or len(last) < 2:
        return None
    distances = [(each[-1][0] - each[0][0]) / (each[-1][1] - each[0][1]) for each in (first, last)]
    distance = sum(distances) / 2
    # Mean of the two fitted lines: the center of the receptive field of output row 0.
    offsets = [sum(row - distance * out for row, out in each) / len(each) for each in (first, last)]
    return distance, sum(offsets) / 2 - (distance - 1) / 2


def _steps(ends: list[tuple[int, int]]) -> list[tuple[float, int]]:
    """Mean changed row for each output row at which a window ends; the border may cut the first and the last ones."""
    outs = sorted({out for _, out in ends})
    means = [(float(np.mean([row for row, at in ends if at == out])), out) for out in outs]
    return means[1:-1] if len(means) > 3 else means


def _change(program: Program, axis: int, row: int) -> Interval | None:
    """The rows of the output that may change with one row of the image."""
    changes = AxisPropagation(program, axis, Interval(row, row + 1)).changes
    return changes[[step.name for step in program.steps].index(program.output)]
