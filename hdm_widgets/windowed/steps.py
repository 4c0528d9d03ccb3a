"""The steps of a network, each able to compute any window of its output.

A step gets one patch for each input: the receptive field of the window, padded with `padding_value` where it extends
beyond the input and the step does not pad by itself (see `own_padding`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets.windowed.axes import Axis, Interval, LinearResample, Span, TransposedWindow

__all__ = [
    "LOW_PRECISION", "AveragePool", "AxisWindow", "BlockStep", "Concatenation", "Constant", "Convolution", "Function",
    "FunctionStep", "GlobalStep", "MaxPool", "Padding", "Resampling", "Step", "TransposedConvolution", "Upsampling",
]  # fmt: skip

# In these types everything is computed as the model does, since another order of the same sums shows in masks.
LOW_PRECISION = (torch.bfloat16, torch.float16)

# Of patches, and of the numbers that depend on how many images there are.
Function = Callable[[list[Tensor], dict[str, Any]], Tensor]


@dataclass(frozen=True)
class AxisWindow:
    """A window along one axis: positions of the output, and its receptive field in each input."""

    out: Interval
    spans: tuple[Span, ...]


@dataclass(frozen=True, eq=False)
class Step(ABC):
    """One operation of a network, for images of one size.

    Attributes
    ----------
    name : str
        Name of the value that it computes.
    label : str
        Human-readable name, such as "conv2d in encoder.0".
    inputs : tuple of str
        Names of the values that it reads, except constants that are the same at every position.
    rows, cols : Axis
    padding_value : float or None
        Value beyond the borders of the input; None if the step never looks there.
    frozen : bool
        Whether changes of the inputs are left out, as in an estimate.
    """

    name: str
    label: str
    inputs: tuple[str, ...]
    rows: Axis
    cols: Axis
    padding_value: float | None = None
    frozen: bool = field(default=False, kw_only=True)

    @abstractmethod
    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """Compute a window of the output from the patches of the inputs."""

    def propagate(self, dim: int, changed: Sequence[Interval | None]) -> Interval | None:
        """Positions of the output along rows (0) or columns (1) that may change where the inputs change."""
        return None if self.frozen else (self.rows, self.cols)[dim].propagate(changed)

    def reads_whole(self, index: int) -> bool:
        """Whether an input is read whole, wherever its change lies."""
        return False

    def own_padding(self, dim: int, span: Span, size: int) -> int | None:
        """Padding that `compute` adds itself, on both sides, to give `size` positions.

        None if the patch has to be padded before.
        """
        return 0 if not span.before and not span.after else None

    def cost(self, rows: int, cols: int) -> float:
        """Approximate number of multiplications for so many output positions."""
        return float(rows * cols)


def _first(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
    return patches[0]


@dataclass(frozen=True, eq=False)
class FunctionStep(Step):
    """Applies a function to the patches.

    Attributes
    ----------
    function : callable
        (patches, numbers) to the output.
    in_place : callable or None
        The same, writing into the first patch.
    fresh : bool
        Whether the output is always a new tensor, so that the next step may write into it.
    """

    function: Function = _first
    in_place: Function | None = None
    fresh: bool = False

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        return self.function(patches, numbers)


@dataclass(frozen=True, eq=False)
class BlockStep(FunctionStep):
    """Applies a function to whole blocks of positions, and cuts out the window.

    Attributes
    ----------
    each : float
        Multiplications for a position.
    """

    each: float = 1.0

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        row, col = rows.out.lo - rows.spans[0].lo, cols.out.lo - cols.spans[0].lo
        return self.function(patches, numbers)[..., row : row + rows.out.size, col : col + cols.out.size]

    def cost(self, rows: int, cols: int) -> float:
        """See `Step`."""
        return rows * cols * self.each


@dataclass(frozen=True, eq=False)
class GlobalStep(FunctionStep):
    """An operation without a rule: computed from whole inputs, since any position may depend on any other."""


@dataclass(frozen=True, eq=False)
class Constant(Step):
    """A tensor with rows and columns that does not depend on the image."""

    value: Tensor = field(default_factory=lambda: torch.empty(0))

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        return self.value


@dataclass(frozen=True, eq=False)
class Concatenation(Step):
    """Concatenates channels."""

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        return torch.cat(patches, 1)


@dataclass(frozen=True, eq=False)
class Padding(Step):
    """Pads with a constant or crops: the patch comes padded."""

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        return patches[0]


@dataclass(frozen=True, eq=False)
class _KernelStep(Step):
    """A kernel that moves over the input; PyTorch pads both sides alike, and only if the kernel allows it."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)

    def own_padding(self, dim: int, span: Span, size: int) -> int | None:
        """See `Step`."""
        # PyTorch pads both sides by the same: right if that is enough after the patch, and gives no position too many.
        last = span.hi - span.lo + 2 * span.before - self.dilation[dim] * (self.kernel[dim] - 1) - 1
        fits = span.after <= span.before and last // self.stride[dim] + 1 == size
        return span.before if fits else None

    def _own_paddings(self, rows: AxisWindow, cols: AxisWindow) -> tuple[int, int]:
        return (
            self.own_padding(0, rows.spans[0], rows.out.size) or 0,
            self.own_padding(1, cols.spans[0], cols.out.size) or 0,
        )


@dataclass(frozen=True, eq=False)
class Convolution(_KernelStep):
    """A convolution, with the batch norm that follows it folded in."""

    weight: Tensor = field(default_factory=lambda: torch.empty(0))
    bias: Tensor | None = None
    groups: int = 1

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        padding = self._own_paddings(rows, cols)
        return F.conv2d(patches[0], self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def cost(self, rows: int, cols: int) -> float:
        """See `Step`."""
        return float(rows * cols * self.weight.numel())


@dataclass(frozen=True, eq=False)
class TransposedConvolution(Step):
    """A transposed convolution, with the batch norm that follows it folded in."""

    weight: Tensor = field(default_factory=lambda: torch.empty(0))
    bias: Tensor | None = None
    groups: int = 1
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        assert isinstance(self.rows, TransposedWindow) and isinstance(self.cols, TransposedWindow)  # noqa: S101, PT018 - made so
        whole = F.conv_transpose2d(patches[0], self.weight, self.bias, self.stride, 0, 0, self.groups, self.dilation)
        row, col = self.rows.offset(rows.out), self.cols.offset(cols.out)
        # Positions before the first contribution or past the last one have the bias alone.
        above, left = max(-row, 0), max(-col, 0)
        below = max(row + rows.out.size - whole.shape[-2], 0)
        right = max(col + cols.out.size - whole.shape[-1], 0)
        if above or below or left or right:
            inner = whole
            height, width = above + inner.shape[-2] + below, left + inner.shape[-1] + right
            whole = inner.new_zeros(*inner.shape[:2], height, width)
            if self.bias is not None:
                whole += self.bias[:, None, None]
            whole[..., above : above + inner.shape[-2], left : left + inner.shape[-1]] = inner
            row, col = row + above, col + left
        return whole[..., row : row + rows.out.size, col : col + cols.out.size]

    def cost(self, rows: int, cols: int) -> float:
        """See `Step`."""
        return float(rows * cols * self.weight.numel() / (self.stride[0] * self.stride[1]))


@dataclass(frozen=True, eq=False)
class MaxPool(_KernelStep):
    """Max pooling."""

    padding_value: float | None = -torch.inf

    def own_padding(self, dim: int, span: Span, size: int) -> int | None:
        """See `Step`."""
        padding = super().own_padding(dim, span, size)
        # PyTorch pads a pool by at most half its kernel.
        return padding if padding is None or 2 * padding <= self.kernel[dim] else None

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        return F.max_pool2d(patches[0], self.kernel, self.stride, self._own_paddings(rows, cols), self.dilation)


@dataclass(frozen=True, eq=False)
class Resampling(Step):
    """Linear resampling of rows and columns: interpolation, average pooling, padding by reflection, flips."""

    _tables: dict[object, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        assert isinstance(self.rows, LinearResample) and isinstance(self.cols, LinearResample)  # noqa: S101, PT018 - made so
        (patch,) = patches
        # As PyTorch's kernels do: round once, at the end.
        given = patch.float() if patch.dtype in LOW_PRECISION else patch
        return self._resampled(self._resampled(given, -2, self.rows, rows.out), -1, self.cols, cols.out).to(patch.dtype)

    def _resampled(self, patch: Tensor, dim: int, axis: LinearResample, out: Interval) -> Tensor:
        """The patch along one dimension, as the window `out` needs it."""
        first = axis.weighted_sources(out)[0][:, 0]
        step = int(first[1] - first[0]) if len(first) > 1 else 1
        if axis.copies and step >= 1 and (np.diff(first) == step).all():
            return _every(patch, dim, int(first[0]), step, len(first))
        (span,) = axis.receptive_field(out)
        sources, weights = self._table(dim, axis, patch)
        positions = (sources[:, out.lo : out.hi] - span.lo).clamp_(0, span.hi - span.lo - 1)
        total: Tensor | None = None
        for position, weight in zip(positions, weights[:, out.lo : out.hi], strict=True):
            part = patch.index_select(dim, position)
            if not axis.copies:
                part = part * (weight[:, None] if dim == -2 else weight)
            total = part if total is None else total.add_(part)
        assert total is not None  # there is at least one source  # noqa: S101
        return total

    def _table(self, dim: int, axis: LinearResample, patch: Tensor) -> tuple[Tensor, Tensor]:
        """Sources and weights (sources, size of the output), on the patch's device; sent there once."""
        key = dim, patch.device, patch.dtype
        if key not in self._tables:
            sources, weights = (torch.from_numpy(each.T.copy()) for each in (axis.sources, axis.weights))
            self._tables[key] = sources.to(patch.device), weights.to(patch)
        return self._tables[key]


@dataclass(frozen=True, eq=False)
class AveragePool(Resampling):
    """Average pooling; by PyTorch's own kernel where the window is away from the borders."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        if self._is_regular(0, rows) and self._is_regular(1, cols):
            return F.avg_pool2d(patches[0], self.kernel, self.stride)
        return super().compute(patches, rows, cols, numbers)

    def _is_regular(self, dim: int, window: AxisWindow) -> bool:
        """Whether every position is the mean of a full kernel, one stride after the one before."""
        axis = (self.rows, self.cols)[dim]
        assert isinstance(axis, LinearResample)  # made so  # noqa: S101
        kernel, stride, (lo, hi) = self.kernel[dim], self.stride[dim], window.out
        first, last, weights = axis.first[lo:hi], axis.last[lo:hi], axis.weights[lo:hi]
        regular = (last - first == kernel - 1).all() and (np.diff(first) == stride).all()
        return bool(regular) and bool((weights == weights.dtype.type(1 / kernel)).all())


@dataclass(frozen=True, eq=False)
class Upsampling(Step):
    """Upsampling by whole factors; by PyTorch's own kernel on the patch.

    A position that a window needs has all its neighbors in the patch or is at the border of the image, where the
    patch ends as well. So the patch is upsampled as the image is.
    """

    factors: tuple[int, int] = (1, 1)
    function: Callable[[Tensor], Tensor] = lambda patch: patch

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        row = rows.out.lo - self.factors[0] * rows.spans[0].lo
        col = cols.out.lo - self.factors[1] * cols.spans[0].lo
        return self.function(patches[0])[..., row : row + rows.out.size, col : col + cols.out.size]


def _every(patch: Tensor, dim: int, first: int, step: int, count: int) -> Tensor:
    chosen = slice(first, first + step * (count - 1) + 1, step)
    return patch[..., chosen, :] if dim == -2 else patch[..., chosen]
