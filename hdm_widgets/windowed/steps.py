"""The operations of a network, each able to compute any window of its output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets.windowed.axes import Axis, Interval, Sampled, Span, Spread

__all__ = [
    "AveragePool", "Cat", "Constant", "Convolution", "Frame", "Function", "Local", "Opaque", "Padding", "Pool",
    "Resampling", "Scaling", "Step", "TransposedConvolution",
]  # fmt: skip


Function = Callable[[list[Tensor], dict[str, Any]], Tensor]


def _same(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
    return patches[0]


@dataclass(frozen=True)
class Frame:
    """Where a window lies along one axis: the output's places and what is needed of every input for them."""

    out: Interval
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Step(ABC):
    """One operation of a network, for pictures of one size.

    Attributes
    ----------
    name : str
        Of the value it makes.
    label : str
        For people.
    inputs : tuple of str
        The values it reads, apart from constants that are the same at every place.
    rows, cols : Axis
    border : float or None
        What stands beyond the input's border; None if the step never looks there.
    """

    name: str
    label: str
    inputs: tuple[str, ...]
    rows: Axis
    cols: Axis
    border: float | None = None

    @abstractmethod
    def compute(self, patches: list[Tensor], rows: Frame, cols: Frame, scalars: dict[str, Any]) -> Tensor:
        """The window of the output from the needed parts of the inputs."""

    def inner_padding(self, axis: int, span: Span, out: int) -> int | None:
        """Padding that `compute` adds on both sides itself to get `out` places; None: it has to be in the patch."""
        return 0 if not span.before and not span.after else None

    def cost(self, rows: int, cols: int) -> float:
        """Multiplications for so many output places, roughly."""
        return float(rows * cols)


@dataclass(frozen=True)
class Local(Step):
    """Works place by place.

    Attributes
    ----------
    function : callable
        (patches, scalars) to the output.
    in_place : callable or None
        The same, writing into the first patch.
    fresh : bool
        Whether the output is a new tensor in any case, so that a later step may write into it.
    """

    function: Function = _same
    in_place: Function | None = None
    fresh: bool = False

    def compute(self, patches: list[Tensor], rows: Frame, cols: Frame, scalars: dict[str, Any]) -> Tensor:
        """See `Step`."""
        return self.function(patches, scalars)


@dataclass(frozen=True)
class Opaque(Local):
    """May do anything; always computed as a whole."""


@dataclass(frozen=True)
class Constant(Step):
    """A picture-like tensor that does not depend on the picture."""

    value: Tensor = field(default_factory=lambda: torch.empty(0))

    def compute(self, patches: list[Tensor], rows: Frame, cols: Frame, scalars: dict[str, Any]) -> Tensor:
        """See `Step`."""
        return self.value


@dataclass(frozen=True)
class Cat(Step):
    """Joins channels."""

    def compute(self, patches: list[Tensor], rows: Frame, cols: Frame, scalars: dict[str, Any]) -> Tensor:
        """See `Step`."""
        return torch.cat(patches, 1)


@dataclass(frozen=True)
class Padding(Step):
    """Adds or removes places at the borders: the patch comes padded."""

    def compute(self, patches: list[Tensor], rows: Frame, cols: Frame, scalars: dict[str, Any]) -> Tensor:
        """See `Step`."""
        return patches[0]


@dataclass(frozen=True)
class _Sliding(Step):
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)

    def inner_padding(self, axis: int, span: Span, out: int) -> int | None:
        """See `Step`."""
        places = span.hi - span.lo + 2 * span.before - self.dilation[axis] * (self.kernel[axis] - 1) - 1
        fits = span.after <= span.before and places // self.stride[axis] + 1 == out
        return span.before if fits else None

    def _inner(self, rows: Frame, cols: Frame) -> tuple[int, int]:
        return (
            self.inner_padding(0, rows.spans[0], rows.out.size) or 0,
            self.inner_padding(1, cols.spans[0], cols.out.size) or 0,
        )


@dataclass(frozen=True)
class Convolution(_Sliding):
    """A convolution with whatever was folded into it."""

    weight: Tensor = field(default_factory=lambda: torch.empty(0))
    bias: Tensor | None = None
    groups: int = 1

    def compute(self, patches: list[Tensor], rows: Frame, cols: Frame, scalars: dict[str, Any]) -> Tensor:
        """See `Step`."""
        return F.conv2d(
            patches[0], self.weight, self.bias, self.stride, self._inner(rows, cols), self.dilation, self.groups
        )

    def cost(self, rows: int, cols: int) -> float:
        """See `Step`."""
        return float(rows * cols * self.weight.numel())


@dataclass(frozen=True)
class TransposedConvolution(Step):
    """A transposed convolution with whatever was folded into it."""

    weight: Tensor = field(default_factory=lambda: torch.empty(0))
    bias: Tensor | None = None
    groups: int = 1
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)

    def compute(self, patches: list[Tensor], rows: Frame, cols: Frame, scalars: dict[str, Any]) -> Tensor:
        """See `Step`."""
        assert isinstance(self.rows, Spread) and isinstance(self.cols, Spread)  # noqa: S101, PT018 - made so
        whole = F.conv_transpose2d(patches[0], self.weight, self.bias, self.stride, 0, 0, self.groups, self.dilation)
        row, col = self.rows.offset(rows.out), self.cols.offset(cols.out)
        # Places before the first contribution or past the last one have the bias alone.
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


@dataclass(frozen=True)
class Pool(_Sliding):
    """Max pooling."""

    border: float | None = -torch.inf

    def inner_padding(self, axis: int, span: Span, out: int) -> int | None:
        """See `Step`."""
        padding = super().inner_padding(axis, span, out)
        # PyTorch pads a pool by at most half its kernel.
        return padding if padding is None or 2 * padding <= self.kernel[axis] else None

    def compute(self, patches: list[Tensor], rows: Frame, cols: Frame, scalars: dict[str, Any]) -> Tensor:
        """See `Step`."""
        return F.max_pool2d(patches[0], self.kernel, self.stride, self._inner(rows, cols), self.dilation)


@dataclass(frozen=True)
class Resampling(Step):
    """Every place a weighted sum of a few: interpolation, average pooling, padding by reflection, flips."""

    def compute(self, patches: list[Tensor], rows: Frame, cols: Frame, scalars: dict[str, Any]) -> Tensor:
        """See `Step`."""
        assert isinstance(self.rows, Sampled) and isinstance(self.cols, Sampled)  # noqa: S101, PT018 - made so
        return _sampled(_sampled(patches[0], -2, self.rows, rows.out), -1, self.cols, cols.out)


@dataclass(frozen=True)
class AveragePool(Resampling):
    """Average pooling; PyTorch does it where no place reaches over the picture's border."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)

    def compute(self, patches: list[Tensor], rows: Frame, cols: Frame, scalars: dict[str, Any]) -> Tensor:
        """See `Step`."""
        if self._inside(0, rows) and self._inside(1, cols):
            return F.avg_pool2d(patches[0], self.kernel, self.stride)
        return super().compute(patches, rows, cols, scalars)

    def _inside(self, dim: int, frame: Frame) -> bool:
        axis = (self.rows, self.cols)[dim]
        assert isinstance(axis, Sampled)  # made so  # noqa: S101
        kernel, stride, (lo, hi) = self.kernel[dim], self.stride[dim], frame.out
        first, last, weights = axis.first[lo:hi], axis.last[lo:hi], axis.weights[lo:hi]
        regular = (last - first == kernel - 1).all() and (np.diff(first) == stride).all()
        return bool(regular) and bool((weights == weights.dtype.type(1 / kernel)).all())


@dataclass(frozen=True)
class Scaling(Step):
    """Enlarging by whole factors, done by PyTorch itself on the patch.

    A place that a window needs has all its neighbours in the patch or lies at the picture's border, where the
    patch ends as the picture does; so the patch is enlarged as the picture is.
    """

    factors: tuple[int, int] = (1, 1)
    function: Callable[[Tensor], Tensor] = lambda patch: patch

    def compute(self, patches: list[Tensor], rows: Frame, cols: Frame, scalars: dict[str, Any]) -> Tensor:
        """See `Step`."""
        row = rows.out.lo - self.factors[0] * rows.spans[0].lo
        col = cols.out.lo - self.factors[1] * cols.spans[0].lo
        return self.function(patches[0])[..., row : row + rows.out.size, col : col + cols.out.size]


def _sampled(patch: Tensor, dim: int, axis: Sampled, out: Interval) -> Tensor:
    places, weights = axis.local(out)
    first = places[:, 0]
    step = int(first[1] - first[0]) if len(first) > 1 else 1
    if axis.copies and step >= 1 and (np.diff(first) == step).all():
        return _every(patch, dim, int(first[0]), step, len(first))
    shape = (-1, 1) if dim == -2 else (-1,)
    total: Tensor | None = None
    for tap in range(places.shape[1]):
        part = patch.index_select(dim, torch.from_numpy(places[:, tap].copy()).to(patch.device))
        if not axis.copies:
            part = part * torch.from_numpy(weights[:, tap].copy()).to(patch).view(shape)
        total = part if total is None else total.add_(part)
    assert total is not None  # there is at least one tap  # noqa: S101
    return total


def _every(patch: Tensor, dim: int, first: int, step: int, count: int) -> Tensor:
    chosen = slice(first, first + step * (count - 1) + 1, step)
    return patch[..., chosen, :] if dim == -2 else patch[..., chosen]
