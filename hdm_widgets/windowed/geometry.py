"""Which pixels of its image the output of a network covers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hdm_widgets.windowed.axes import Interval
from hdm_widgets.windowed.build import Program
from hdm_widgets.windowed.calls import TraceError
from hdm_widgets.windowed.network import TracedModel
from hdm_widgets.windowed.propagation import AxisPropagation

__all__ = ["output_geometry"]


def output_geometry(network: nn.Module, image: Tensor) -> tuple[float, float] | None:
    """Find out which rows of its image the rows of a network's output belong to.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode; (N, C, H, W) to one tensor whose first axis is N.
    image : torch.Tensor (C, H, W)
        Of the size, dtype and device that the network will be run with.

    Returns
    -------
    tuple of float or None
        The distance between two neighboring rows of the output, and the margin above the first row, both in pixels of
        the image. None if the network cannot be traced, or if every pixel of the image changes every row.
    """
    try:
        program = TracedModel(network, image).network.program
    except TraceError:
        return None
    height = program.sizes[program.image][0]
    with torch.inference_mode():
        changed = [_change(program, row) for row in range(height)]
    size = program.sizes[program.output][0]
    # As long as the border does not cut its window, both ends of the window move with the changed row.
    first = [(row, change.lo) for row, change in enumerate(changed) if change is not None and change.lo > 0]
    last = [(row, change.hi - 1) for row, change in enumerate(changed) if change is not None and change.hi < size]
    if len(first) < 2 or len(last) < 2 or first[0][1] == first[-1][1] or last[0][1] == last[-1][1]:
        return None
    steps = [(each[-1][0] - each[0][0]) / (each[-1][1] - each[0][1]) for each in (first, last)]
    step = sum(steps) / 2
    # Mean of the two fitted lines: the center of the receptive field of output row 0.
    offsets = [sum(row - step * out for row, out in each) / len(each) for each in (first, last)]
    return step, sum(offsets) / 2 - (step - 1) / 2


def _change(program: Program, row: int) -> Interval | None:
    """The rows of the output that may change with one row of the image."""
    changes = AxisPropagation(program, 0, Interval(row, row + 1)).changes
    return changes[[step.name for step in program.steps].index(program.output)]
