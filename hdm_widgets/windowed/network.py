"""A traced network: on full images, and with what windows need to know of it."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hdm_widgets.models.fingerprint import fingerprint
from hdm_widgets.windowed.axes import Axis, Interval, PixelShuffle, Pointwise
from hdm_widgets.windowed.build import Program, build
from hdm_widgets.windowed.calls import Trace, TraceError
from hdm_widgets.windowed.estimates import Summary
from hdm_widgets.windowed.propagation import ChangePropagation
from hdm_widgets.windowed.steps import (
    AxisWindow,
    Concatenation,
    Constant,
    Convolution,
    FunctionStep,
    GlobalStep,
    Step,
    TransposedConvolution,
)

try:
    from hdm_widgets.windowed.trace import trace
except ImportError as _error:
    _reason = str(_error)

    def trace(network: nn.Module, image: Tensor) -> Trace:  # noqa: ARG001 - as the function it stands for
        """Refuse: tracing relies on parts of PyTorch that are not public, and this release has moved them."""
        raise TraceError(f"this release of PyTorch cannot be traced ({_reason})")


__all__ = ["Network", "TracedModel", "axis_window", "channels_last", "padding_of_patch", "whole_window"]

# Byte budget per batch of windows; on a CPU, larger batches fall out of cache.
_CPU_BYTES = 8 << 20
_GPU_BYTES = 512 << 20
# So many values of that size are there at most: what a step reads, as a patch too, and its output.
_VALUES_AT_ONCE = 3
# How many multiplications take as long as it takes to begin a step.
_CPU_START, _GPU_START = 1e6, 1e9


class TracedModel:
    """A user's network, traced; the module itself is only read.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode, (N, C, H, W) to one tensor with N first. The module is not kept, its weights are.
    image : torch.Tensor (C, H, W)
        Of the size, dtype and device that the network will be run with.

    Raises
    ------
    TraceError
        If the network cannot be traced.
    """

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        self._trace = trace(network, image)
        self._device = image.device
        self._lock = threading.Lock()
        self._weights = self._fingerprint()
        self._network = self._build()
        self._estimate: Network | None = None

    @property
    def written(self) -> frozenset[tuple[str, str]]:
        """Module and name of the attributes that the network sets on itself when it runs."""
        return self._trace.written

    @property
    def outdated(self) -> bool:
        """Whether a tensor from which the network took a number when it was traced has another value now."""
        return any(not torch.equal(constant, value) for constant, value in self._trace.baked)

    @property
    def network(self) -> Network:
        """The network with the weights that the module has now."""
        with self._lock:
            weights = self._fingerprint()
            if weights != self._weights:
                self._weights, self._network, self._estimate = weights, self._build(), None
            return self._network

    @property
    def estimate(self) -> Network:
        """The network with its global operations taken for local ones: see `hdm_widgets.windowed.estimates`."""
        network = self.network
        with self._lock:
            if self._estimate is None or network is not self._network:
                self._estimate = self._build(estimate=True)
            return self._estimate

    def _build(self, *, estimate: bool = False) -> Network:
        with torch.inference_mode():
            return Network(build(self._trace, estimate=estimate), self._device)

    def _fingerprint(self) -> bytes:
        return fingerprint(self._trace.constants.values())


class Network:
    """A traced network with certain weights, for images of one size.

    Parameters
    ----------
    program : Program
    device : torch.device

    Attributes
    ----------
    cached : frozenset of str
        Names of the activations of the unchanged image that windows are completed from.
    propagation : ChangePropagation
        How changes of the image propagate.
    """

    def __init__(self, program: Program, device: torch.device) -> None:
        self.program = program
        self.device = device
        self._index = {step.name: index for index, step in enumerate(program.steps)}
        self._makers = {step.name: step for step in program.steps}
        self._last_use: dict[str, int] = {}
        self._users: dict[str, int] = defaultdict(int)
        for index, step in enumerate(program.steps):
            for name in step.inputs:
                self._last_use[name] = index
                self._users[name] += 1
        self._last_use[program.output] = len(program.steps)
        self._users[program.output] += 1
        self.cached = self._values_to_cache()
        self.propagation = ChangePropagation(program, _CPU_START if device.type == "cpu" else _GPU_START)

    def full(self, images: Tensor) -> Tensor:
        """The output (N, ...) for full images (N, C, H, W)."""
        if not self.program.one_by_one or len(images) == 1:
            return self._forward(images, frozenset())[self.program.output]
        return torch.cat([self.full(image[None]) for image in images])

    def activations(self, image: Tensor) -> dict[str, Tensor]:
        """The activations of one image (C, H, W) that windows are completed from, and the output."""
        return self._forward(image[None], self.cached)

    @property
    def cached_bytes(self) -> int:
        """Memory of the cached activations of an image, in float32."""
        program = self.program
        return sum(4 * program.channels.get(name, 1) * math.prod(program.sizes[name]) for name in self.cached)

    @property
    def batch_bytes(self) -> int:
        """Bytes of the largest value in a batch of windows, unless one window alone is larger."""
        return _CPU_BYTES if self.device.type == "cpu" else _GPU_BYTES

    def bytes_of(self, images: int) -> int:
        """Memory of the cached activations of so many images, and of a batch of windows."""
        return images * self.cached_bytes + _VALUES_AT_ONCE * self.batch_bytes

    def in_place(self, step: Step) -> Callable[[list[Tensor], dict[str, Any]], Tensor] | None:
        """The step as it writes into its first input; None unless that is a new tensor that no other step reads."""
        if not isinstance(step, FunctionStep) or step.in_place is None or self._users[step.inputs[0]] != 1:
            return None
        made_by = self._makers.get(step.inputs[0])
        fresh = isinstance(made_by, (Convolution, TransposedConvolution)) or (
            isinstance(made_by, FunctionStep) and made_by.fresh
        )
        return step.in_place if fresh else None

    def index(self, name: str) -> int:
        """Index of the step that computes a value."""
        return self._index[name]

    def last_use(self, name: str) -> int:
        """Index of the last step that reads a value."""
        return self._last_use[name]

    @torch.inference_mode()
    def _forward(self, images: Tensor, keep: frozenset[str]) -> dict[str, Tensor]:
        program = self.program
        values = {program.image: channels_last(images.to(self.device))}
        numbers = program.numbers_at(len(images))
        for index, step in enumerate(program.steps):
            rows, cols = whole_window(program, step)
            patches = [_padded_patch(step, values[name], rows, cols, each) for each, name in enumerate(step.inputs)]
            in_place = self.in_place(step) if step.inputs and step.inputs[0] not in keep else None
            if in_place is not None:
                values[step.name] = in_place(patches, numbers)
            else:
                values[step.name] = step.compute(patches, rows, cols, numbers)
            del patches
            for name in step.inputs:
                if self._last_use[name] == index and name not in keep:
                    values.pop(name, None)
        return values

    def _values_to_cache(self) -> frozenset[str]:
        cached = {self.program.output}
        for step in self.program.steps:
            if isinstance(step, (Constant, Summary)):
                cached.add(step.name)
            # The parts of a concatenation are completed from the whole; what is frozen is not computed in windows.
            if isinstance(step, Concatenation) or step.frozen:
                continue
            # A pointwise step reads one input where it changed and nowhere else; if that is in one piece.
            pointwise = all(isinstance(axis, (Pointwise, PixelShuffle)) for axis in (step.rows, step.cols))
            if pointwise and len(step.inputs) == 1:
                cached.update(name for name in step.inputs if isinstance(self._makers.get(name), Concatenation))
            else:
                cached.update(step.inputs)
        return frozenset(cached)


def channels_last(values: Tensor) -> Tensor:
    """The values in the memory format in which convolutions are fastest."""
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values


def axis_window(axis: Axis, out: Interval) -> AxisWindow:
    """The window of the output positions `out`."""
    return AxisWindow(out, axis.receptive_field(out))


def whole_window(program: Program, step: Step) -> tuple[AxisWindow, AxisWindow]:
    """The windows along rows and columns in which all of a step is."""
    rows, cols = (
        axis_window(axis, Interval(0, size))
        for axis, size in zip((step.rows, step.cols), program.sizes[step.name], strict=True)
    )
    return rows, cols


def padding_of_patch(step: Step, index: int, rows: AxisWindow, cols: AxisWindow) -> tuple[int, int, int, int]:
    """Padding (left, right, above, below) that the patch of an input needs beside what the step adds by itself."""
    amounts = []
    for dim, window in ((1, cols), (0, rows)):
        span = window.spans[index]
        own = step.own_padding(dim, span, window.out.size)
        amounts += [span.before, span.after] if own is None else [0, 0]
    left, right, above, below = amounts
    return left, right, above, below


def _padded_patch(step: Step, value: Tensor, rows: AxisWindow, cols: AxisWindow, index: int) -> Tensor:
    if isinstance(step, GlobalStep):
        return value
    (row, last_row, *_), (col, last_col, *_) = rows.spans[index], cols.spans[index]
    patch = value
    if (row, last_row, col, last_col) != (0, value.shape[-2], 0, value.shape[-1]):
        patch = value[..., row:last_row, col:last_col]
    padding = padding_of_patch(step, index, rows, cols)
    return torch.nn.functional.pad(patch, padding, value=step.padding_value or 0.0) if any(padding) else patch
