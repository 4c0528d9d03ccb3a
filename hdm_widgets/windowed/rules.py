"""Which step an operation becomes. What is not listed here is computed as a whole."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets.windowed.axes import Blocks, Interval, Merged, Same, Sampled, Sliding, Spread, Whole
from hdm_widgets.windowed.steps import (
    AveragePool,
    Cat,
    Convolution,
    Function,
    Local,
    Opaque,
    Padding,
    Pool,
    Resampling,
    Scaling,
    Step,
    TransposedConvolution,
)
from hdm_widgets.windowed.trace import Call, Ref, refs

__all__ = ["Context", "is_picture_like", "step_of"]

# Operations that treat every place alike and apart, named as in ATen.
_ELEMENTWISE = (
    "abs add addcdiv addcmul alias atan atan2 bitwise_and bitwise_not bitwise_or ceil celu clamp clamp_max "
    "clamp_min clip clone contiguous cos detach div divide elu eq erf exp expm1 fill floor floor_divide fmod "
    "frac full_like ge gelu gt hardshrink hardsigmoid hardswish hardtanh hypot isfinite isinf isnan le "
    "leaky_relu lerp lift_fresh_copy log log10 log1p log2 log_sigmoid logical_and logical_not logical_or "
    "logit lt masked_fill maximum minimum mish mul multiply nan_to_num ne neg ones_like pow reciprocal relu "
    "relu6 remainder round rsqrt rsub selu sigmoid sign silu sin softplus softshrink softsign sqrt square sub "
    "subtract tan tanh threshold to true_divide type_as where zeros_like __and__ __or__ _to_copy"
)
# Of these, the ones that often follow a convolution are done in place.
_IN_PLACE = "elu hardswish hardtanh leaky_relu relu relu6 sigmoid silu"
_OVER_CHANNELS = (
    "amax amin argmax argmin cumsum glu linalg_vector_norm log_softmax logsumexp max mean min norm prod softmax std sum "
    "var _log_softmax _softmax"
)
_OF_CHANNELS = (
    "chunk index_select narrow permute select split split_with_sizes squeeze tensor_split transpose unbind unsqueeze"
)
_PER_CHANNEL = "batch_norm channel_shuffle prelu _native_batch_norm_legit_no_training"
_RESHAPES = "flatten reshape unflatten view _unsafe_view"
_PADS = "constant_pad_nd pad reflection_pad2d replication_pad2d"
_INTERPOLATIONS = (
    "upsample_bicubic2d upsample_bilinear2d upsample_nearest2d _upsample_bicubic2d_aa _upsample_bilinear2d_aa "
    "_upsample_nearest_exact2d"
)


@dataclass(frozen=True)
class Context:
    """What is known of the values that a call reads.

    Attributes
    ----------
    shapes : dict of str to tuple
        Of the values that depend on the picture; None in place of a size that depends on the batch.
    numbers : set of str
        Values that are no tensors.
    constants : dict of str to torch.Tensor
        The other tensors.
    hold : callable
        Makes a constant a value of the network with so many dimensions, and gives its name.
    precision : torch.dtype
        That the network computes weights of its own in.
    """

    shapes: dict[str, tuple[int | None, ...]]
    numbers: set[str]
    constants: dict[str, Tensor]
    hold: Callable[[str, int], str]
    precision: torch.dtype

    def size(self, name: str) -> tuple[int, int]:
        """Rows and columns of a value; what has none counts as one place."""
        shape = self.shapes[name] if name in self.shapes else tuple(self.constants[name].shape)
        return _places(shape)


def step_of(call: Call, context: Context) -> Step:
    """The step that does what a call does."""
    rule = _RULES.get(call.operation)
    step = None
    if rule is not None and call.shape is not None and is_picture_like(call.shape):
        step = rule(call, context)
    return _opaque(call, context) if step is None else step


def is_picture_like(shape: tuple[int | None, ...]) -> bool:
    """Whether a value has the batch in front, and rows and columns at the end."""
    return len(shape) >= 3 and shape[0] is None and all(isinstance(size, int) for size in shape[1:])


def _places(shape: tuple[int | None, ...]) -> tuple[int, int]:
    if not is_picture_like(shape):
        return 1, 1
    return int(shape[-2] or 1), int(shape[-1] or 1)


def _input(call: Call, context: Context, name: str) -> str | None:
    """The one picture-like value that a call works on."""
    argument = call.arguments.get(name)
    if not isinstance(argument, Ref) or not is_picture_like(context.shapes.get(argument.name, ())):
        return None
    others = [ref for key, value in call.arguments.items() if key != name for ref in refs(value)]
    return None if any(other in context.shapes for other in others) else argument.name


def _runner(call: Call, context: Context, inputs: tuple[str, ...]) -> Function:
    """The call itself, with patches for the values `inputs`, as the call names them."""
    constants = {name: context.constants[name] for value in call.arguments.values() for name in refs(value)
                 if name in context.constants}  # fmt: skip

    def run(patches: list[Tensor], scalars: dict[str, Any]) -> Tensor:
        result: Tensor = call.run({**constants, **scalars, **dict(zip(inputs, patches, strict=True))})
        return result

    return run


def _opaque(call: Call, context: Context) -> Step:
    names = tuple(
        dict.fromkeys(name for value in call.arguments.values() for name in refs(value) if name in context.shapes)
    )
    sizes = [context.size(name) for name in names]
    size = _places(call.shape or ())
    rows, cols = (Whole(tuple(each[dim] for each in sizes), size[dim]) for dim in (0, 1))
    return Opaque(call.name, call.label, names, rows, cols, function=_runner(call, context, names))


def _elementwise(call: Call, context: Context) -> Step | None:
    names: list[str] = []
    rank = len(call.shape or ())
    held: list[str] = []
    for value in call.arguments.values():
        for name in dict.fromkeys(refs(value)):
            shape = context.shapes.get(name)
            if name in context.numbers or name in names:
                continue
            if shape is None and set(context.constants[name].shape[-2:]) <= {1}:
                continue  # the same at every place
            if shape is not None and (len(shape) != rank or not is_picture_like(shape)):
                return None
            names.append(name)
            held.append(context.hold(name, rank) if shape is None else name)
    local = _local(call, context, tuple(held), _runner(call, context, tuple(names)))
    writing = getattr(getattr(torch.ops.aten, f"{call.operation}_", None), "default", None)
    if len(names) == 1 and writing is not None and call.operation in _IN_PLACE.split():
        local = replace(local, in_place=_runner(replace(call, target=writing), context, tuple(names)))
    return local


def _same(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
    return patches[0]


def _local(call: Call, context: Context, names: tuple[str, ...], function: Function) -> Local:
    sizes = [context.size(name) for name in names]
    size = _places(call.shape or ())
    rows, cols = (Same(tuple(each[dim] for each in sizes), size[dim]) for dim in (0, 1))
    return Local(call.name, call.label, names, rows, cols, function=function)


def _channelwise(call: Call, context: Context) -> Step | None:
    """With weights per channel."""
    name = _input(call, context, "input" if "input" in call.arguments else "self")
    if name is None or call.arguments.get("training") is True:
        return None
    return _local(call, context, (name,), _runner(call, context, (name,)))


def _over_channels(call: Call, context: Context) -> Step | None:
    name = _input(call, context, "self")
    dims = call.arguments.get("dim")
    if name is None or dims is None:
        return None
    rank = len(context.shapes[name])
    chosen = [dim % rank for dim in (dims if isinstance(dims, list) else [dims])]
    if not chosen or not all(0 < dim < rank - 2 for dim in chosen):
        return None
    return _local(call, context, (name,), _runner(call, context, (name,)))


def _of_channels(call: Call, context: Context) -> Step | None:
    """Chooses, splits or permutes what is neither the batch nor a place."""
    name = _input(call, context, "self" if "self" in call.arguments else "tensor")
    if name is None:
        return None
    rank = len(context.shapes[name])
    given = call.arguments
    if "dims" in given:
        dims = [dim % rank for dim in given["dims"]]
        fits = dims[0] == 0 and dims[-2:] == [rank - 2, rank - 1]
    elif "dim0" in given:
        fits = all(0 < given[key] % rank < rank - 2 for key in ("dim0", "dim1"))
    elif isinstance(given.get("dim"), int):
        wide = len(call.shape or ()) if call.operation == "unsqueeze" else rank
        fits = 0 < given["dim"] % wide < wide - 2
    else:
        fits = False
    return _local(call, context, (name,), _runner(call, context, (name,))) if fits else None


def _slice(call: Call, context: Context) -> Step | None:
    name = _input(call, context, "self")
    if name is None:
        return None
    rank = len(context.shapes[name])
    dim = (call.arguments["dim"] or 0) % rank
    if dim == 0:
        # As `x[:, ...]` is written: all pictures.
        whole = call.arguments["start"] in (0, None) and call.arguments["end"] in (sys.maxsize, None)
        return _local(call, context, (name,), _same) if whole and call.arguments["step"] == 1 else None
    if context.shapes[name] == call.shape:
        return _local(call, context, (name,), _same)
    if dim < rank - 2:
        return _of_channels(call, context)
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


def _middle(call: Call, context: Context, name: str) -> tuple[int, ...] | None:
    """Sizes between the batch and the rows, if rows and columns stay as they are."""
    if call.shape is None or context.shapes[name][-2:] != call.shape[-2:]:
        return None
    return tuple(int(size or 0) for size in call.shape[1:-2])


def _reshape(call: Call, context: Context) -> Step | None:
    """Of channels alone."""
    name = _input(call, context, "self")
    middle = name and _middle(call, context, name)
    if name is None or middle is None:
        return None
    if math.prod(middle) != math.prod(int(size or 0) for size in context.shapes[name][1:-2]):
        return None

    def reshape(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        return patches[0].reshape(len(patches[0]), *middle, *patches[0].shape[-2:])

    return _local(call, context, (name,), reshape)


def _expand(call: Call, context: Context) -> Step | None:
    """Of channels alone."""
    name = _input(call, context, "self")
    middle = name and _middle(call, context, name)
    if name is None or middle is None or len(call.shape or ()) != len(context.shapes[name]):
        return None

    def expand(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        return patches[0].expand(len(patches[0]), *middle, *patches[0].shape[-2:])

    return _local(call, context, (name,), expand)


def _stack(call: Call, context: Context) -> Step | None:
    """Beside the channels."""
    names = [part.name for part in call.arguments["tensors"]]
    shapes = {context.shapes.get(name, ()) for name in names}
    if len(shapes) != 1 or not is_picture_like(next(iter(shapes))) or call.shape is None:
        return None
    if not 0 < call.arguments["dim"] % len(call.shape) < len(call.shape) - 2:
        return None
    held = tuple(dict.fromkeys(names))
    return _local(call, context, held, _runner(call, context, held))


def _index(call: Call, context: Context) -> Step | None:
    """By a constant list of channels."""
    name = _input(call, context, "self")
    places = [place for place, index in enumerate(call.arguments["indices"]) if index is not None]
    if name is None or len(places) != 1 or not 0 < places[0] < len(context.shapes[name]) - 2:
        return None
    (index,) = (index for index in call.arguments["indices"] if index is not None)
    if context.constants[index.name].dtype == torch.bool or context.constants[index.name].ndim != 1:
        return None
    return _local(call, context, (name,), _runner(call, context, (name,)))


def _cat(call: Call, context: Context) -> Step | None:
    parts = call.arguments["tensors"]
    dim = call.arguments["dim"]
    shapes = []
    names = []
    for part in parts:
        shape = context.shapes.get(part.name)
        if shape is None or len(shape) != 4 or not is_picture_like(shape):
            return None
        shapes.append(shape)
        names.append(part.name)
    if dim % 4 != 1 or len({shape[-2:] for shape in shapes}) != 1:
        return None
    sizes = [context.size(name) for name in names]
    rows, cols = (Same(tuple(each[axis] for each in sizes), sizes[0][axis]) for axis in (0, 1))
    return Cat(call.name, call.label, tuple(names), rows, cols)


def _pair(value: Any, default: Any = None) -> tuple[int, int]:
    if value is None or value == []:
        value = default
    if isinstance(value, int):
        return value, value
    first, last = (value[0], value[-1])
    return int(first), int(last)


def _convolution(call: Call, context: Context) -> Step | None:
    given = call.arguments
    name = _input(call, context, "input")
    if name is None or len(context.shapes[name]) != 4 or call.shape is None:
        return None
    if any(not isinstance(given[key], Ref | None) for key in ("weight", "bias")):
        return None
    weight, bias = (given[key] and context.constants[given[key].name] for key in ("weight", "bias"))
    if weight is None:
        return None
    kernel = _pair(list(weight.shape[-2:]))
    stride, dilation = _pair(given["stride"]), _pair(given["dilation"])
    sizes, outs = context.size(name), _places(call.shape)
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


def _transposed(call: Call, context: Context) -> Step | None:
    given = call.arguments
    name = _input(call, context, "input")
    if name is None or len(context.shapes[name]) != 4 or call.shape is None:
        return None
    weight, bias = (given[key] and context.constants[given[key].name] for key in ("weight", "bias"))
    if weight is None:
        return None
    kernel = _pair(list(weight.shape[-2:]))
    stride, dilation, padding = _pair(given["stride"]), _pair(given["dilation"]), _pair(given["padding"])
    sizes, outs = context.size(name), _places(call.shape)
    rows, cols = (
        Spread(sizes[dim], outs[dim], kernel[dim], stride[dim], padding[dim], dilation[dim]) for dim in (0, 1)
    )
    return TransposedConvolution(
        call.name, call.label, (name,), rows, cols, None, weight, bias, given["groups"], stride, dilation
    )


def _max_pool(call: Call, context: Context) -> Step | None:
    given = call.arguments
    name = _input(call, context, "self")
    if name is None or len(context.shapes[name]) != 4 or call.pick not in (None, 0) or call.shape is None:
        return None
    kernel = _pair(given["kernel_size"])
    stride, dilation = _pair(given["stride"], list(kernel)), _pair(given["dilation"])
    padding = _pair(given["padding"])
    sizes, outs = context.size(name), _places(call.shape)
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


def _average_pool(call: Call, context: Context) -> Step | None:
    given = call.arguments
    name = _input(call, context, "self")
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


def _adaptive_pool(call: Call, context: Context) -> Step | None:
    name = _input(call, context, "self")
    if name is None or len(context.shapes[name]) != 4 or call.shape is None:
        return None
    sizes, outs = context.size(name), _places(call.shape)
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


def _interpolation(call: Call, context: Context) -> Step | None:
    given = call.arguments
    name = _input(call, context, "input")
    if name is None or call.shape is None or len(context.shapes[name]) != 4:
        return None
    sizes, outs = context.size(name), _places(call.shape)
    scales = given.get("scale_factors")

    def along(dim: int, units: Tensor) -> Tensor:
        changed = dict(given, input=Ref("units"))
        if scales is None:
            changed["output_size"] = [outs[0], 2] if dim == 0 else [2, outs[1]]
        else:
            changed["scale_factors"] = [scales[0], 1.0] if dim == 0 else [1.0, scales[1]]
        result: Tensor = Call(call.name, call.target, changed, None, "", None).run({"units": units})
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
        result: Tensor = Call(call.name, call.target, changed, None, "", None).run({"patch": patch})
        return result

    rows, cols = (_Enlarged(each, factor) for each, factor in zip(weights, factors, strict=True))
    return Scaling(call.name, call.label, (name,), rows, cols, factors=factors, function=enlarge)


def _exact(scales: list[float] | None, factors: tuple[int, int]) -> bool:
    return scales is None or tuple(scales) == tuple(float(factor) for factor in factors)


def _pad(call: Call, context: Context) -> Step | None:
    given = call.arguments
    name = _input(call, context, "self" if "self" in given else "input")
    amounts: list[Any] = given.get("pad", given.get("padding")) or []
    mode = {"reflection_pad2d": "reflect", "replication_pad2d": "replicate"}.get(call.operation, given.get("mode"))
    if name is None or call.shape is None or not all(isinstance(amount, int) for amount in amounts):
        return None
    if any(amounts[4:]):
        return None
    left, right, above, below = (*amounts, 0, 0, 0, 0)[:4]
    sizes, outs = context.size(name), _places(call.shape)
    if mode is None or mode == "constant":
        rows, cols = Sliding(sizes[0], outs[0], 1, 1, above), Sliding(sizes[1], outs[1], 1, 1, left)
        return Padding(call.name, call.label, (name,), rows, cols, border=float(given.get("value") or 0))
    if len(context.shapes[name]) != 4:
        return None
    down = Sampled(_weights(context, sizes[0], 0, lambda units: F.pad(units, (0, 0, above, below), mode=mode)))
    across = Sampled(_weights(context, sizes[1], 1, lambda units: F.pad(units, (left, right, 0, 0), mode=mode)))
    return Resampling(call.name, call.label, (name,), down, across)


def _moved(call: Call, context: Context) -> Step | None:
    """Flips and rolls."""
    name = _input(call, context, "self")
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


def _shuffle(call: Call, context: Context) -> Step | None:
    name = _input(call, context, "self")
    if name is None or len(context.shapes[name]) != 4 or call.shape is None:
        return None
    factor = call.arguments["upscale_factor"]
    rows, cols = (Blocks(size, factor) for size in _places(call.shape))
    return Local(
        call.name,
        call.label,
        (name,),
        rows,
        cols,
        function=lambda patches, _: F.pixel_shuffle(patches[0], factor),
    )


def _unshuffle(call: Call, context: Context) -> Step | None:
    name = _input(call, context, "self")
    if name is None or len(context.shapes[name]) != 4 or call.shape is None:
        return None
    factor = call.arguments["downscale_factor"]
    rows, cols = (Merged(size, factor) for size in _places(call.shape))
    return Local(
        call.name, call.label, (name,), rows, cols,
        function=lambda patches, _: F.pixel_unshuffle(patches[0], factor),
    )  # fmt: skip


Rule = Callable[[Call, Context], "Step | None"]
_RULES: dict[str, Rule] = {
    name: rule
    for names, rule in (
        (_ELEMENTWISE, _elementwise),
        (_OVER_CHANNELS, _over_channels),
        (_OF_CHANNELS, _of_channels),
        (_PER_CHANNEL, _channelwise),
        (_RESHAPES, _reshape),
        (_PADS, _pad),
        (_INTERPOLATIONS, _interpolation),
        ("max_pool2d max_pool2d_with_indices", _max_pool),
        ("flip roll", _moved),
        ("expand", _expand),
        ("slice", _slice),
        ("cat", _cat),
        ("stack", _stack),
        ("index", _index),
        ("conv2d", _convolution),
        ("conv_transpose2d", _transposed),
        ("avg_pool2d", _average_pool),
        ("adaptive_avg_pool2d", _adaptive_pool),
        ("pixel_shuffle", _shuffle),
        ("pixel_unshuffle", _unshuffle),
    )
    for name in names.split()
}
