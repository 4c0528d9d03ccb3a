"""Which pixels of the image a traced network's output lies over."""

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
    """How the rows of a network's output lie over those of its image.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode, (N, C, H, W) to one tensor with N first.
    image : torch.Tensor (C, H, W)
        Of the size, dtype and device that the network will be run with.

    Returns
    -------
    tuple of float or None
        The distance in pixels of the image of two neighboring rows of the output; and how many pixels before the first
        row's center the image begins. None if the network cannot be traced, or if every pixel changes every row.
    """
    try:
        program = TracedModel(network, image).network.program
    except TraceError:
        return None
    height = program.sizes[program.image][0]
    with torch.inference_mode():
        changed = [_change(program, row) for row in range(height)]
    size = program.sizes[program.output][0]
    # Where the window of a pixel is not cut by the border, its first and last row move along with the pixel.
    first = [(row, change.lo) for row, change in enumerate(changed) if change is not None and change.lo > 0]
    last = [(row, change.hi - 1) for row, change in enumerate(changed) if change is not None and change.hi < size]
    if len(first) < 2 or len(last) < 2 or first[0][1] == first[-1][1] or last[0][1] == last[-1][1]:
        return None
    steps = [(each[-1][0] - each[0][0]) / (each[-1][1] - each[0][1]) for each in (first, last)]
    step = sum(steps) / 2
    # The middle of both lines: the pixel at the center of the receptive field of row 0.
    offsets = [sum(row - step * out for row, out in each) / len(each) for each in (first, last)]
    return step, sum(offsets) / 2 - (step - 1) / 2


def _change(program: Program, row: int) -> Interval | None:
    """Rows of the output that a change of one row of the image may change."""
    changes = AxisPropagation(program, 0, Interval(row, row + 1)).changes
    return changes[[step.name for step in program.steps].index(program.output)]
