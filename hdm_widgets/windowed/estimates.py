"""Estimates of networks with global operations: what such an operation makes of a local change, to first order.

A mean over the whole map, as in group and instance norm and in squeeze-and-excitation, changes by what the window adds
to its sum. So the statistics of a changed image are computed from those of the unchanged one and from the window. They
act within the window; that they change the rest of the map too, by a little, is left out here (see `typical`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hdm_widgets.windowed.axes import Global, LinearResample, LocalPointwise, Pointwise
from hdm_widgets.windowed.calls import Call, Ref
from hdm_widgets.windowed.context import Context
from hdm_widgets.windowed.steps import AxisWindow, FunctionStep, GlobalStep, Resampling, Step, Upsampling

__all__ = ["Summary", "estimated"]

_GROUP_NORMS = ("group_norm", "native_group_norm")


@dataclass(frozen=True, eq=False)
class Summary(Step):
    """Sums over all positions of a map, which a change in a window changes by what it adds there."""

    @abstractmethod
    def updated(self, summary: Tensor, before: Tensor, after: Tensor, positions: int) -> Tensor:
        """The summary of changed maps.

        Parameters
        ----------
        summary : torch.Tensor (1, ...)
            Of the unchanged map.
        before, after : torch.Tensor (n, ..., h, w)
            The unchanged and the changed map in the window; elsewhere they are equal.
        positions : int
            Of the whole map.
        """


@dataclass(frozen=True, eq=False)
class Mean(Summary):
    """Mean over all positions.

    Attributes
    ----------
    keep : bool
        Whether rows and columns stay, each of size 1.
    """

    keep: bool = True

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        return patches[0].mean((-2, -1), keepdim=self.keep)

    def updated(self, summary: Tensor, before: Tensor, after: Tensor, positions: int) -> Tensor:
        """See `Summary`."""
        return summary + (after - before).sum((-2, -1), keepdim=self.keep) / positions


@dataclass(frozen=True, eq=False)
class Moments(Summary):
    """Mean and variance of groups of channels, as (n, 2 * groups, 1, 1): first all means, then all variances."""

    groups: int = 1

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        each = patches[0].reshape(len(patches[0]), self.groups, -1)
        variance, mean = torch.var_mean(each, -1, correction=0)
        return torch.cat([mean, variance], 1)[..., None, None]

    def updated(self, summary: Tensor, before: Tensor, after: Tensor, positions: int) -> Tensor:
        """See `Summary`."""
        mean, variance = summary.view(1, 2, self.groups, 1).unbind(1)
        old, new = (values.reshape(len(after), self.groups, -1) for values in (before.expand(after.shape), after))
        count = positions * before.shape[1] // self.groups
        difference = new - old
        shift = difference.sum(-1) / count
        # Squares are about the mean of the unchanged map, so that little is lost to rounding.
        spread = (difference * (new + old - 2 * mean)).sum(-1) / count
        return torch.cat([mean[..., 0] + shift, variance[..., 0] + spread - shift**2], 1)[..., None, None]


def estimated(step: Step, call: Call, context: Context) -> Iterator[Step]:
    """The steps that stand for a step in an estimate."""
    if step.frozen:
        yield step
    elif step.inputs and context.summaries.issuperset(step.inputs) and not _is_spread(step):
        context.summaries.add(step.name)
        yield step
    elif isinstance(step, GlobalStep):
        yield from _of_global(step, call, context)
    elif (
        isinstance(step, Resampling)
        and (step.rows.size, step.cols.size) == (1, 1)
        and _input_size(step, context) != (1, 1)
    ):
        yield _summary(step, context, Mean) if _is_mean(step) else replace(step, frozen=True)
    elif isinstance(step.rows, Pointwise) and isinstance(step.cols, Pointwise):
        rows, cols = (LocalPointwise(axis.sizes, axis.size) for axis in (step.rows, step.cols))
        yield replace(step, rows=rows, cols=cols)
    elif _is_spread(step):
        # One position for all of them.
        yield replace(step, frozen=True)
    else:
        yield step


def _of_global(step: GlobalStep, call: Call, context: Context) -> Iterator[Step]:
    given = call.arguments
    if call.operation in _GROUP_NORMS and len(call.shape) == 4:
        yield from _normalized(step, call, context, given["num_groups" if "num_groups" in given else "group"])
    elif call.operation == "instance_norm" and given["use_input_stats"] and len(call.shape) == 4:
        yield from _normalized(step, call, context, int(call.shape[1] or 1))
    elif call.operation == "mean" and _is_over_positions(call, context):
        yield _summary(step, context, Mean, keep=bool(given.get("keepdim")))
    else:
        yield replace(step, frozen=True)


def _normalized(step: GlobalStep, call: Call, context: Context, groups: int) -> Iterator[Step]:
    (name,) = step.inputs
    moments = f"{step.name}/moments"
    context.shapes[moments] = (None, 2 * groups, 1, 1)
    yield _summary(replace(step, name=moments), context, Moments, groups=groups)
    given = (call.arguments[key] for key in ("weight", "bias"))
    weight, bias = (context.constants[each.name] if isinstance(each, Ref) else None for each in given)
    eps, channels = float(call.arguments["eps"]), int(call.shape[1] or 1)

    def normalize(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        values, given = patches
        mean, variance = given.view(len(given), 2, groups).unbind(1)
        scale = (variance + eps).rsqrt().repeat_interleave(channels // groups, 1)
        shift = -mean.repeat_interleave(channels // groups, 1) * scale
        if weight is not None:
            scale, shift = scale * weight, shift * weight
        if bias is not None:
            shift = shift + bias
        return torch.addcmul(shift[..., None, None], values, scale[..., None, None])

    sizes = context.size(name)
    rows, cols = (LocalPointwise((size, 1), size) for size in sizes)
    yield FunctionStep(step.name, step.label, (name, moments), rows, cols, function=normalize, fresh=True)


def _summary(step: Step, context: Context, kind: type[Summary], **settings: Any) -> Summary:
    (name,) = step.inputs
    context.summaries.add(step.name)
    rows, cols = (Global((size,), 1) for size in context.size(name))
    return kind(step.name, step.label, step.inputs, rows, cols, **settings)


def _is_spread(step: Step) -> bool:
    """Whether one position becomes all positions of a map."""
    return isinstance(step, (Resampling, Upsampling)) and any(
        axis.size_in == 1 < axis.size for axis in (step.rows, step.cols) if isinstance(axis, LinearResample)
    )


def _input_size(step: Step, context: Context) -> tuple[int, int]:
    return context.size(step.inputs[0])


def _is_mean(step: Resampling) -> bool:
    """Whether every position has the same weight."""
    return all(bool((axis.weights == axis.weights[0, 0]).all()) for axis in (step.rows, step.cols))  # type: ignore[attr-defined]


def _is_over_positions(call: Call, context: Context) -> bool:
    given, dims = call.arguments.get("self"), call.arguments.get("dim")
    if not isinstance(given, Ref) or given.name in {*context.orders, *context.tokens} or dims is None:
        return False
    rank = len(context.shapes[given.name])
    return rank >= 3 and sorted(dim % rank for dim in dims) == [rank - 2, rank - 1]
