"""Rules for operations that look at neighbouring places, or move them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets.windowed.axes import Interval, Sampled, Sliding, Spread
from hdm_widgets.windowed.calls import Call, Ref
from hdm_widgets.windowed.channel_rules import of_channels
from hdm_widgets.windowed.context import Context, input_of, local, places_of, unchanged
from hdm_widgets.windowed.steps import (
    AveragePool,
    Convolution,
    Padding,
    Pool,
    Resampling,
    Scaling,
    Step,
    TransposedConvolution,
)

__all__ = [
    "adaptive_pool", "average_pool", "convolution", "cut", "interpolation", "max_pool", "moved", "pad", "transposed",
]  # fmt: skip


def cut(call: Call, context: Context) -> Step | None:
    """Slices: of all pictures, of channels, of rows and columns."""
    name = input_of(call, context, "self")
    if name is None:
        return None
    rank = len(context.shapes[name])
    dim = (call.arguments["dim"] or 0) % rank
    if dim == 0:
        # As `x[:, ...]` is written: all pictures.
        whole = call.arguments["start"] in (0, None) and call.arguments["end"] in (sys.maxsize, None)
        return local(call, context, (name,), unchanged) if whole and call.arguments["step"] == 1 else None
    if context.shapes[name] == call.shape:
        return local(call, context, (name,), unchanged)
    if dim < rank - 2:
        return of_channels(call, context)
    limits = [call.arguments[key] for key in ("start", "end", "step")]
    if not all(limit is None or isinstance(limit, int) for limit in limits):
        return None
    sizes = context.size(name)
    chosen = [range(sizes[0]), range(sizes[1])]
    chosen[dim - rank] = chosen[dim - rank][slice(*limits)]
    if not all(chosen):
        return None
    if all(part.step == 1 for part in chosen):
        rows, cols = (Sliding(size, len(part), 1, 1, -part[0]) for size, part in zip(sizes, chosen, strict=True))
        return Padding(call.name, call.label, (name,), rows, cols, border=0.0)
    taken = [Sampled(np.eye(size, dtype=np.float32)[list(part)]) for size, part in zip(sizes, chosen, strict=True)]
    return Resampling(call.name, call.label, (name,), taken[0], taken[1])


def _pair(value: Any, default: Any = None) -> tuple[int, int]:
    if value is None or value == []:
        value = default
    if isinstance(value, int):
        return value, value
    first, last = (value[0], value[-1])
    return int(first), int(last)


def convolution(call: Call, context: Context) -> Step | None:
    """With constant weights."""
    given = call.arguments
    name = input_of(call, context, "input")
    if name is None or len(context.shapes[name]) != 4 or call.shape is None:
        return None
    if any(not isinstance(given[key], Ref | None) for key in ("weight", "bias")):
        return None
    weight, bias = (given[key] and context.constants[given[key].name] for key in ("weight", "bias"))
    if weight is None:
        return None
    kernel = _pair(list(weight.shape[-2:]))
    stride, dilation = _pair(given["stride"]), _pair(given["dilation"])
    sizes, outs = context.size(name), places_of(call.shape)
    padding = given["padding"]
    if isinstance(padding, str):
        # "same": what is odd is added at the end.
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        padding = [0, 0] if padding == "valid" else [each // 2 for each in total]
    before = _pair(padding)
    rows, cols = (
        Sliding(sizes[dim], outs[dim], kernel[dim], stride[dim], before[dim], dilation[dim]) for dim in (0, 1)
    )
    return Convolution(
        call.name, call.label, (name,), rows, cols, 0.0, kernel, stride, dilation, weight, bias, given["groups"]
    )


def transposed(call: Call, context: Context) -> Step | None:
    """With constant weights."""
    given = call.arguments
    name = input_of(call, context, "input")
    if name is None or len(context.shapes[name]) != 4 or call.shape is None:
        return None
    weight, bias = (given[key] and context.constants[given[key].name] for key in ("weight", "bias"))
    if weight is None:
        return None
    kernel = _pair(list(weight.shape[-2:]))
    stride, dilation, padding = _pair(given["stride"]), _pair(given["dilation"]), _pair(given["padding"])
    sizes, outs = context.size(name), places_of(call.shape)
    rows, cols = (
        Spread(sizes[dim], outs[dim], kernel[dim], stride[dim], padding[dim], dilation[dim]) for dim in (0, 1)
    )
    return TransposedConvolution(
        call.name, call.label, (name,), rows, cols, None, weight, bias, given["groups"], stride, dilation
    )


def max_pool(call: Call, context: Context) -> Step | None:
    """Without the places of the maxima."""
    given = call.arguments
    name = input_of(call, context, "self")
    if name is None or len(context.shapes[name]) != 4 or call.pick not in (None, 0) or call.shape is None:
        return None
    kernel = _pair(given["kernel_size"])
    stride, dilation = _pair(given["stride"], list(kernel)), _pair(given["dilation"])
    padding = _pair(given["padding"])
    sizes, outs = context.size(name), places_of(call.shape)
    rows, cols = (
        Sliding(sizes[dim], outs[dim], kernel[dim], stride[dim], padding[dim], dilation[dim]) for dim in (0, 1)
    )
    return Pool(call.name, call.label, (name,), rows, cols, -torch.inf, kernel, stride, dilation)


def _weights(context: Context, size: int, dim: int, operation: Callable[[Tensor], Tensor]) -> NDArray[np.floating]:
    """How an operation that is linear along an axis weighs the places of one, by applying it to unit vectors.

    The other axis has two places: of one, some kernels of PyTorch make the wrong thing.
    """
    units = torch.eye(size, dtype=context.precision).view(1, size, size, 1).expand(1, size, size, 2)
    outcome = operation(units.contiguous() if dim == 0 else units.mT.contiguous())[0]
    weights: NDArray[np.floating] = (outcome[..., 0] if dim == 0 else outcome[..., 0, :]).T.contiguous().numpy()
    return weights


def average_pool(call: Call, context: Context) -> Step | None:
    """Linear along each axis."""
    given = call.arguments
    name = input_of(call, context, "self")
    if name is None or len(context.shapes[name]) != 4:
        return None
    kernel = _pair(given["kernel_size"])
    stride, padding = _pair(given["stride"], list(kernel)), _pair(given["padding"])
    divisor = given["divisor_override"]
    if divisor:
        return None
    ceil, count = given["ceil_mode"], given["count_include_pad"]
    sizes = context.size(name)

    def along(dim: int) -> Sampled:
        def pool(units: Tensor) -> Tensor:
            k, s, p = (
                (value[0], default) if dim == 0 else (default, value[1])
                for value, default in ((kernel, 1), (stride, 1), (padding, 0))
            )
            return F.avg_pool2d(units, k, s, p, ceil, count)

        return Sampled(_weights(context, sizes[dim], dim, pool))

    return AveragePool(call.name, call.label, (name,), along(0), along(1), kernel=kernel, stride=stride)


def adaptive_pool(call: Call, context: Context) -> Step | None:
    """Averages over bins, linear along each axis."""
    name = input_of(call, context, "self")
    if name is None or len(context.shapes[name]) != 4 or call.shape is None:
        return None
    sizes, outs = context.size(name), places_of(call.shape)
    rows = Sampled(_weights(context, sizes[0], 0, lambda units: F.adaptive_avg_pool2d(units, (outs[0], 1))))
    cols = Sampled(_weights(context, sizes[1], 1, lambda units: F.adaptive_avg_pool2d(units, (1, outs[1]))))
    return Resampling(call.name, call.label, (name,), rows, cols)


class _Enlarged(Sampled):
    """By a whole factor: every window is enlarged alike."""

    def __init__(self, weights: NDArray[np.floating], factor: int) -> None:
        super().__init__(weights)
        self.factor = factor

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return out.lo - self.factor * self.need(out)[0].lo


def interpolation(call: Call, context: Context) -> Step | None:
    """By whole factors PyTorch does it on the patch; otherwise weights are taken from PyTorch itself."""
    given = call.arguments
    name = input_of(call, context, "input")
    if name is None or call.shape is None or len(context.shapes[name]) != 4:
        return None
    sizes, outs = context.size(name), places_of(call.shape)
    scales = given.get("scale_factors")

    def along(dim: int, units: Tensor) -> Tensor:
        changed = dict(given, input=Ref("units"))
        if scales is None:
            changed["output_size"] = [outs[0], 2] if dim == 0 else [2, outs[1]]
        else:
            changed["scale_factors"] = [scales[0], 1.0] if dim == 0 else [1.0, scales[1]]
        result: Tensor = Call(call.name, call.target, changed, None, "", ()).run({"units": units})
        return result

    weights = [_weights(context, sizes[dim], dim, partial(along, dim)) for dim in (0, 1)]
    factors = (outs[0] // sizes[0], outs[1] // sizes[1])
    whole = all(factor * size == out for factor, size, out in zip(factors, sizes, outs, strict=True))
    if not whole or given.get("align_corners") or call.operation.endswith("_aa") or not _exact(scales, factors):
        rows, cols = (Sampled(each) for each in weights)
        return Resampling(call.name, call.label, (name,), rows, cols)

    def enlarge(patch: Tensor) -> Tensor:
        changed = dict(given, input=Ref("patch"))
        if scales is None:
            changed["output_size"] = [factors[0] * patch.shape[-2], factors[1] * patch.shape[-1]]
        result: Tensor = Call(call.name, call.target, changed, None, "", ()).run({"patch": patch})
        return result

    rows, cols = (_Enlarged(each, factor) for each, factor in zip(weights, factors, strict=True))
    return Scaling(call.name, call.label, (name,), rows, cols, factors=factors, function=enlarge)


def _exact(scales: list[float] | None, factors: tuple[int, int]) -> bool:
    return scales is None or tuple(scales) == tuple(float(factor) for factor in factors)


def pad(call: Call, context: Context) -> Step | None:
    """By a constant; or by reflection, replication or round the picture, as copies of places."""
    given = call.arguments
    name = input_of(call, context, "self" if "self" in given else "input")
    amounts: list[Any] = given.get("pad", given.get("padding")) or []
    mode = {"reflection_pad2d": "reflect", "replication_pad2d": "replicate"}.get(call.operation, given.get("mode"))
    if name is None or call.shape is None or not all(isinstance(amount, int) for amount in amounts):
        return None
    if any(amounts[4:]):
        return None
    left, right, above, below = (*amounts, 0, 0, 0, 0)[:4]
    sizes, outs = context.size(name), places_of(call.shape)
    if mode is None or mode == "constant":
        rows, cols = Sliding(sizes[0], outs[0], 1, 1, above), Sliding(sizes[1], outs[1], 1, 1, left)
        return Padding(call.name, call.label, (name,), rows, cols, border=float(given.get("value") or 0))
    if len(context.shapes[name]) != 4:
        return None
    down = Sampled(_weights(context, sizes[0], 0, lambda units: F.pad(units, (0, 0, above, below), mode=mode)))
    across = Sampled(_weights(context, sizes[1], 1, lambda units: F.pad(units, (left, right, 0, 0), mode=mode)))
    return Resampling(call.name, call.label, (name,), down, across)


def moved(call: Call, context: Context) -> Step | None:
    """Flips and rolls."""
    name = input_of(call, context, "self")
    dims = call.arguments["dims"]
    if name is None or len(context.shapes[name]) != 4:
        return None
    if not all(dim % 4 >= 2 for dim in dims) or not dims:
        return None
    shifts = call.arguments.get("shifts", [None] * len(dims))
    places = [np.arange(size) for size in context.size(name)]
    for dim, shift in zip(dims, shifts, strict=True):
        axis = dim % 4 - 2
        places[axis] = places[axis][::-1] if shift is None else np.roll(places[axis], shift)
    axes = [Sampled(np.eye(len(each), dtype=np.float32)[each]) for each in places]
    return Resampling(call.name, call.label, (name,), axes[0], axes[1])
