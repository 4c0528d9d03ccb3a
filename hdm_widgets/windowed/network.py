"""A traced network on whole pictures, and what windows need to know of it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hdm_widgets.windowed.axes import Axis, Blocks, Interval, Same
from hdm_widgets.windowed.build import Program
from hdm_widgets.windowed.paths import Paths
from hdm_widgets.windowed.steps import (
    Cat,
    Constant,
    Convolution,
    Frame,
    Local,
    Opaque,
    Step,
    TransposedConvolution,
)

__all__ = ["Network", "frame_of", "laid_out", "outer_padding"]

# Windows of so many bytes are computed at a time: on a CPU what is larger leaves its caches and is slower for each.
_CPU_BYTES = 8 << 20
_GPU_BYTES = 512 << 20


class Network:
    """A traced network, for whole pictures and for windows.

    Parameters
    ----------
    program : Program
    device : torch.device
    """

    def __init__(self, program: Program, device: torch.device) -> None:
        self.program = program
        self.device = device
        self._places = {step.name: place for place, step in enumerate(program.steps)}
        self._makers = {step.name: step for step in program.steps}
        self._last_use: dict[str, int] = {}
        self._users: dict[str, int] = defaultdict(int)
        for place, step in enumerate(program.steps):
            for name in step.inputs:
                self._last_use[name] = place
                self._users[name] += 1
        self._last_use[program.output] = len(program.steps)
        self._users[program.output] += 1
        self.kept = self._values_to_keep()
        self.paths = Paths(program)

    def full(self, pictures: Tensor) -> Tensor:
        """The output (N, ...) for whole pictures (N, C, H, W)."""
        if not self.program.single or len(pictures) == 1:
            return self._forward(pictures, frozenset())[self.program.output]
        return torch.cat([self.full(picture[None]) for picture in pictures])

    def values(self, picture: Tensor) -> dict[str, Tensor]:
        """For one picture (C, H, W), all values that windows over it need, and the output."""
        return self._forward(picture[None], self.kept)

    @property
    def kept_bytes(self) -> int:
        """Memory that the values of an unchanged picture take; float32, as nearly all networks are."""
        program = self.program
        return sum(4 * program.channels.get(name, 1) * math.prod(program.sizes[name]) for name in self.kept)

    @property
    def budget(self) -> int:
        """Bytes that the largest value of a batch of windows takes at most, unless one window is larger."""
        return _CPU_BYTES if self.device.type == "cpu" else _GPU_BYTES

    def in_place(self, step: Step) -> Callable[[list[Tensor], dict[str, Any]], Tensor] | None:
        """The step as it may write into its first input, if that is a new tensor which nobody else reads."""
        if not isinstance(step, Local) or step.in_place is None or self._users[step.inputs[0]] != 1:
            return None
        made_by = self._makers.get(step.inputs[0])
        fresh = isinstance(made_by, (Convolution, TransposedConvolution)) or (
            isinstance(made_by, Local) and made_by.fresh
        )
        return step.in_place if fresh else None

    def place(self, name: str) -> int:
        """Of the step that makes a value."""
        return self._places[name]

    def last_reader(self, name: str) -> int:
        """Place of the last step that reads a value."""
        return self._last_use[name]

    @torch.inference_mode()
    def _forward(self, pictures: Tensor, keep: frozenset[str]) -> dict[str, Tensor]:
        program = self.program
        values = {program.picture: laid_out(pictures.to(self.device))}
        scalars = program.scalars(len(pictures))
        for place, step in enumerate(program.steps):
            rows, cols = (
                frame_of(axis, Interval(0, size))
                for axis, size in zip((step.rows, step.cols), program.sizes[step.name], strict=True)
            )
            patches = [_padded_patch(step, values[name], rows, cols, index) for index, name in enumerate(step.inputs)]
            in_place = self.in_place(step) if step.inputs and step.inputs[0] not in keep else None
            if in_place is not None:
                values[step.name] = in_place(patches, scalars)
            else:
                values[step.name] = step.compute(patches, rows, cols, scalars)
            del patches
            for name in step.inputs:
                if self._last_use[name] == place and name not in keep:
                    values.pop(name, None)
        return values

    def _values_to_keep(self) -> frozenset[str]:
        """Values that windows are completed from."""
        kept = {self.program.output}
        for step in self.program.steps:
            if isinstance(step, Constant):
                kept.add(step.name)
            # What is joined is completed from the joined value.
            if isinstance(step, Cat):
                continue
            # Place by place, one input is needed where it changed and no more; if that is in one piece.
            if all(isinstance(axis, (Same, Blocks)) for axis in (step.rows, step.cols)) and len(step.inputs) == 1:
                kept.update(name for name in step.inputs if isinstance(self._makers.get(name), Cat))
            else:
                kept.update(step.inputs)
        return frozenset(kept)


def laid_out(values: Tensor) -> Tensor:
    """In the layout that convolutions are quickest with."""
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values


def frame_of(axis: Axis, out: Interval) -> Frame:
    """Where the places `out` of a step's output lie, and what they need."""
    return Frame(out, axis.need(out))


def outer_padding(step: Step, index: int, rows: Frame, cols: Frame) -> tuple[int, int, int, int]:
    """What a patch must be padded with (left, right, above, below) beside what the step adds itself."""
    amounts = []
    for dim, frame in ((1, cols), (0, rows)):
        span = frame.spans[index]
        inner = step.inner_padding(dim, span, frame.out.size)
        amounts += [span.before, span.after] if inner is None else [0, 0]
    left, right, above, below = amounts
    return left, right, above, below


def _padded_patch(step: Step, value: Tensor, rows: Frame, cols: Frame, index: int) -> Tensor:
    if isinstance(step, Opaque):
        return value
    (row, last_row, *_), (col, last_col, *_) = rows.spans[index], cols.spans[index]
    patch = value
    if (row, last_row, col, last_col) != (0, value.shape[-2], 0, value.shape[-1]):
        patch = value[..., row:last_row, col:last_col]
    padding = outer_padding(step, index, rows, cols)
    return torch.nn.functional.pad(patch, padding, value=step.border or 0.0) if any(padding) else patch
