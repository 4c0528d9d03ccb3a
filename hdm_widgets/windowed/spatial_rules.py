"""Rules for operations that look at neighboring positions or rearrange positions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets.windowed.axes import IntegerUpsample, LinearResample, TransposedWindow, Window
from hdm_widgets.windowed.calls import Call, Ref
from hdm_widgets.windowed.channel_rules import of_channels
from hdm_widgets.windowed.context import Context, map_input, pointwise, spatial_input, spatial_size
from hdm_widgets.windowed.steps import (
    AveragePool,
    Convolution,
    MaxPool,
    Padding,
    Resampling,
    Step,
    TransposedConvolution,
    Upsampling,
)

__all__ = [
    "adaptive_average_pool", "average_pool", "convolution", "interpolation", "max_pool", "pad", "rearrangement",
    "repetition", "slicing", "transposed_convolution",
]  # fmt: skip

_Kind = TypeVar("_Kind", Window, TransposedWindow)


def slicing(call: Call, context: Context) -> Step | None:
    """Of channels, rows or columns; slices that leave nothing out are no calls."""
    name = spatial_input(call, context, "self")
    if name is None:
        return None
    rank = len(context.shapes[name])
    dim = (call.arguments["dim"] or 0) % rank
    limits = [call.arguments[key] for key in ("start", "end", "step")]
    if 0 < dim < rank - 2:
        return of_channels(call, context)
    if dim == 0 or not all(limit is None or isinstance(limit, int) for limit in limits):
        return None
    sizes = context.size(name)
    chosen = [range(sizes[0]), range(sizes[1])]
    chosen[dim - rank] = chosen[dim - rank][slice(*limits)]
    if not all(chosen):
        return None
    if all(part.step == 1 for part in chosen):
        rows, cols = (Window(size, len(part), 1, 1, -part[0]) for size, part in zip(sizes, chosen, strict=True))
        return Padding(call.name, call.label, (name,), rows, cols, padding_value=0.0)
    return _rearranged(call, name, sizes, [list(part) for part in chosen])


def rearrangement(call: Call, context: Context) -> Step | None:
    """Flips and rolls of rows and columns, or of dimensions between batch and rows."""
    name = spatial_input(call, context, "self")
    dims = call.arguments["dims"]
    if name is not None and dims:
        rank = len(context.shapes[name])
        if all(0 < dim % rank < rank - 2 for dim in dims):
            return pointwise(call, context, (name,))
    name = map_input(call, context, "self")
    if name is None or not dims or not all(dim % 4 >= 2 for dim in dims):
        return None
    sizes = context.size(name)
    order = [np.arange(size) for size in sizes]
    for dim, shift in zip(dims, call.arguments.get("shifts", [None] * len(dims)), strict=True):
        axis = dim % 4 - 2
        order[axis] = order[axis][::-1] if shift is None else np.roll(order[axis], shift)
    return _rearranged(call, name, sizes, [each.tolist() for each in order])


def repetition(call: Call, context: Context) -> Step | None:
    """Every row, column or channel so many times."""
    name = spatial_input(call, context, "self")
    count, dim = call.arguments.get("repeats"), call.arguments.get("dim")
    if name is None or not isinstance(count, int) or count < 1 or dim is None:
        return None
    rank = len(context.shapes[name])
    if 0 < dim % rank < rank - 2:
        return of_channels(call, context)
    if dim % rank == 0:
        return None
    sizes = context.size(name)
    order = [np.arange(size) for size in sizes]
    axis = dim % rank - (rank - 2)
    order[axis] = order[axis].repeat(count)
    return _rearranged(call, name, sizes, [each.tolist() for each in order])


def _rearranged(call: Call, name: str, sizes: tuple[int, int], order: list[list[int]]) -> Step:
    """Rows and columns of a value in the given order, some of them or all."""
    rows, cols = (LinearResample(np.eye(size, dtype=np.float32)[each]) for size, each in zip(sizes, order, strict=True))
    return Resampling(call.name, call.label, (name,), rows, cols)


def _pair(value: Any, default: Any = None) -> tuple[int, int]:
    if value is None or value == []:
        value = default
    if isinstance(value, int):
        return value, value
    return int(value[0]), int(value[-1])


def convolution(call: Call, context: Context) -> Step | None:
    """With constant weights."""
    given = call.arguments
    name, weights = map_input(call, context, "input"), _constant_weights(call, context)
    if name is None or weights is None:
        return None
    weight, bias = weights
    kernel, stride, dilation = _pair(weight.shape[-2:]), _pair(given["stride"]), _pair(given["dilation"])
    padding = given["padding"]
    if isinstance(padding, str):
        # "same": an odd one out is added at the end.
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        padding = [0, 0] if padding == "valid" else [each // 2 for each in total]
    rows, cols = _windows(Window, call, context, name, kernel, stride, _pair(padding), dilation)
    return Convolution(
        call.name, call.label, (name,), rows, cols, 0.0, kernel, stride, dilation, weight, bias, given["groups"]
    )


def transposed_convolution(call: Call, context: Context) -> Step | None:
    """With constant weights."""
    given = call.arguments
    name, weights = map_input(call, context, "input"), _constant_weights(call, context)
    if name is None or weights is None:
        return None
    weight, bias = weights
    kernel, stride, dilation = _pair(weight.shape[-2:]), _pair(given["stride"]), _pair(given["dilation"])
    rows, cols = _windows(TransposedWindow, call, context, name, kernel, stride, _pair(given["padding"]), dilation)
    return TransposedConvolution(
        call.name, call.label, (name,), rows, cols, None, weight, bias, given["groups"], stride, dilation
    )


def _constant_weights(call: Call, context: Context) -> tuple[Tensor, Tensor | None] | None:
    """Weight and bias of a convolution."""
    weight, bias = call.arguments["weight"], call.arguments["bias"]
    if not isinstance(weight, Ref) or not isinstance(bias, Ref | None):
        return None
    return context.constants[weight.name], None if bias is None else context.constants[bias.name]


def max_pool(call: Call, context: Context) -> Step | None:
    """Without the positions of the maxima."""
    given = call.arguments
    name = map_input(call, context, "self")
    if name is None or call.pick not in (None, 0):
        return None
    kernel = _pair(given["kernel_size"])
    stride, dilation = _pair(given["stride"], kernel), _pair(given["dilation"])
    rows, cols = _windows(Window, call, context, name, kernel, stride, _pair(given["padding"]), dilation)
    return MaxPool(call.name, call.label, (name,), rows, cols, -torch.inf, kernel, stride, dilation)


def _windows(
    kind: type[_Kind], call: Call, context: Context, name: str, *settings: tuple[int, int]
) -> tuple[_Kind, _Kind]:
    """Windows along rows and columns, from pairs of kernel size, stride, padding and dilation."""
    sizes, outs = context.size(name), spatial_size(call.shape)
    rows, cols = (kind(sizes[dim], outs[dim], *(setting[dim] for setting in settings)) for dim in (0, 1))
    return rows, cols


def _weights(context: Context, size: int, dim: int, operation: Callable[[Tensor], Tensor]) -> NDArray[np.floating]:
    """Weights (size_out, size) of an operation that is linear along an axis, by applying it to unit vectors.

    The other axis has two positions: some kernels of PyTorch are wrong for one.
    """
    units = torch.eye(size, dtype=context.precision).view(1, size, size, 1).expand(1, size, size, 2)
    outcome = operation(units.contiguous() if dim == 0 else units.mT.contiguous())[0]
    weights: NDArray[np.floating] = (outcome[..., 0] if dim == 0 else outcome[..., 0, :]).T.contiguous().numpy()
    return weights


def average_pool(call: Call, context: Context) -> Step | None:
    """As linear resampling."""
    given = call.arguments
    name = map_input(call, context, "self")
    if name is None or given["divisor_override"]:
        return None
    kernel = _pair(given["kernel_size"])
    stride, padding = _pair(given["stride"], kernel), _pair(given["padding"])
    sizes = context.size(name)

    def along(dim: int) -> LinearResample:
        def pool(units: Tensor) -> Tensor:
            k, s, p = (
                (value[0], neutral) if dim == 0 else (neutral, value[1])
                for value, neutral in ((kernel, 1), (stride, 1), (padding, 0))
            )
            return F.avg_pool2d(units, k, s, p, given["ceil_mode"], given["count_include_pad"])

        return LinearResample(_weights(context, sizes[dim], dim, pool))

    return AveragePool(call.name, call.label, (name,), along(0), along(1), kernel=kernel, stride=stride)


def adaptive_average_pool(call: Call, context: Context) -> Step | None:
    """As linear resampling."""
    name = map_input(call, context, "self")
    if name is None:
        return None
    sizes, outs = context.size(name), spatial_size(call.shape)
    rows = LinearResample(_weights(context, sizes[0], 0, lambda units: F.adaptive_avg_pool2d(units, (outs[0], 1))))
    cols = LinearResample(_weights(context, sizes[1], 1, lambda units: F.adaptive_avg_pool2d(units, (1, outs[1]))))
    return Resampling(call.name, call.label, (name,), rows, cols)


def interpolation(call: Call, context: Context) -> Step | None:
    """Upsampling by whole factors with PyTorch's own kernel; else linear resampling with the weights of that kernel."""
    given = call.arguments
    name = map_input(call, context, "input")
    if name is None:
        return None
    sizes, outs = context.size(name), spatial_size(call.shape)
    scales = given.get("scale_factors")

    def interpolated(patch: Tensor, size: list[int], scale: list[float]) -> Tensor:
        changed = {"input": Ref("patch")} | ({"output_size": size} if scales is None else {"scale_factors": scale})
        result: Tensor = Call(call.name, call.target, {**given, **changed}, None, "", ()).run({"patch": patch})
        return result

    def along(dim: int, units: Tensor) -> Tensor:
        size, scale = [2, 2], [1.0, 1.0]
        size[dim] = outs[dim]
        scale[dim] = scales[dim] if scales else 1.0
        return interpolated(units, size, scale)

    weights = [_weights(context, sizes[dim], dim, partial(along, dim)) for dim in (0, 1)]
    factors = (outs[0] // sizes[0], outs[1] // sizes[1])
    whole = all(factor * size == out for factor, size, out in zip(factors, sizes, outs, strict=True))
    exact = scales is None or tuple(scales) == tuple(map(float, factors))
    if not whole or not exact or given.get("align_corners") or call.operation.endswith("_aa"):
        rows, cols = (LinearResample(each) for each in weights)
        return Resampling(call.name, call.label, (name,), rows, cols)

    def upsample(patch: Tensor) -> Tensor:
        size = [factors[0] * patch.shape[-2], factors[1] * patch.shape[-1]]
        return interpolated(patch, size, [float(factor) for factor in factors])

    rows, cols = (IntegerUpsample(each, factor) for each, factor in zip(weights, factors, strict=True))
    return Upsampling(call.name, call.label, (name,), rows, cols, factors=factors, function=upsample)


def pad(call: Call, context: Context) -> Step | None:
    """With a constant; or by reflection, replication or circularly, as copies of positions."""
    given = call.arguments
    name = spatial_input(call, context, "self" if "self" in given else "input")
    amounts: list[Any] = given.get("pad", given.get("padding")) or []
    mode = {"reflection_pad2d": "reflect", "replication_pad2d": "replicate"}.get(call.operation, given.get("mode"))
    if name is None or not all(isinstance(amount, int) for amount in amounts) or any(amounts[4:]):
        return None
    left, right, above, below = (*amounts, 0, 0, 0, 0)[:4]
    sizes, outs = context.size(name), spatial_size(call.shape)
    if mode is None or mode == "constant":
        rows, cols = Window(sizes[0], outs[0], 1, 1, above), Window(sizes[1], outs[1], 1, 1, left)
        return Padding(call.name, call.label, (name,), rows, cols, padding_value=float(given.get("value") or 0))
    if len(context.shapes[name]) != 4:
        return None
    down, across = (
        LinearResample(_weights(context, sizes[dim], dim, partial(F.pad, pad=amount, mode=mode)))
        for dim, amount in enumerate(((0, 0, above, below), (left, right, 0, 0)))
    )
    return Resampling(call.name, call.label, (name,), down, across)
