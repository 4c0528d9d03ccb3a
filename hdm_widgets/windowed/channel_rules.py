"""Rules for operations that map every position by itself, on channels or whatever else is between batch and rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets.windowed.axes import PixelShuffle, PixelUnshuffle, Pointwise
from hdm_widgets.windowed.calls import Call
from hdm_widgets.windowed.context import (
    Context,
    function_of,
    is_spatial,
    map_input,
    pointwise,
    spatial_input,
    spatial_size,
)
from hdm_widgets.windowed.steps import Concatenation, FunctionStep, Step

__all__ = [
    "cat", "elementwise", "expand", "filled", "index", "of_channels", "over_channels", "per_channel", "pixel_shuffle",
    "pixel_unshuffle", "repeat", "reshape", "stack",
]  # fmt: skip

# Of two maps these always make a new one, so that the next operation may be done in place.
_MAKE_NEW = ("add", "mul", "sub")
# What often follows a convolution is done in place.
_IN_PLACE = ("elu", "hardswish", "hardtanh", "leaky_relu", "relu", "relu6", "sigmoid", "silu")


def elementwise(call: Call, context: Context) -> Step | None:
    """Every element by itself; constants that have rows or columns are cropped as the maps are."""
    rank = len(call.shape)
    names, values = [], []
    for name in call.reads():
        shape = context.shapes.get(name)
        if name in context.numbers:
            continue
        if shape is None and set(context.constants[name].shape[-2:]) <= {1}:
            continue  # the same at every position
        if shape is not None and (len(shape) != rank or not is_spatial(shape)):
            return None
        names.append(name)
        values.append(context.as_value(name, rank) if shape is None else name)
    function = function_of(call, context, tuple(names))
    step = pointwise(call, context, tuple(values), function)
    writing = getattr(getattr(torch.ops.aten, f"{call.operation}_", None), "default", None)
    if len(names) == 1 and writing is not None and call.operation in _IN_PLACE:
        step = replace(step, in_place=function_of(replace(call, target=writing), context, tuple(names)))
    return replace(step, fresh=len(names) > 1 and call.operation in _MAKE_NEW)


def per_channel(call: Call, context: Context) -> Step | None:
    """Constant weights for every channel."""
    name = spatial_input(call, context, "input" if "input" in call.arguments else "self")
    if name is None or call.arguments.get("training") is True:
        return None
    return pointwise(call, context, (name,))


def over_channels(call: Call, context: Context) -> Step | None:
    """Reductions over dimensions between batch and rows."""
    name = spatial_input(call, context, "self")
    dims = call.arguments.get("dim")
    if name is None or dims is None:
        return None
    rank = len(context.shapes[name])
    chosen = [dim % rank for dim in (dims if isinstance(dims, list) else [dims])]
    if not chosen or not all(0 < dim < rank - 2 for dim in chosen):
        return None
    return pointwise(call, context, (name,))


def of_channels(call: Call, context: Context) -> Step | None:
    """Selecting, splitting and permuting of dimensions between batch and rows."""
    name = spatial_input(call, context, "self" if "self" in call.arguments else "tensor")
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
        wide = len(call.shape) if call.operation == "unsqueeze" else rank
        fits = 0 < given["dim"] % wide < wide - 2
    else:
        fits = False
    return pointwise(call, context, (name,)) if fits else None


def _channels_after(call: Call, context: Context, name: str) -> tuple[int, ...] | None:
    """Sizes of the output between batch and rows, if rows and columns stay as they are."""
    if context.shapes[name][-2:] != call.shape[-2:]:
        return None
    return tuple(int(size or 0) for size in call.shape[1:-2])


def reshape(call: Call, context: Context) -> Step | None:
    """Of dimensions between batch and rows."""
    name = spatial_input(call, context, "self")
    channels = name and _channels_after(call, context, name)
    if name is None or channels is None:
        return None
    if math.prod(channels) != math.prod(int(size or 0) for size in context.shapes[name][1:-2]):
        return None

    def reshape(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        return patches[0].reshape(len(patches[0]), *channels, *patches[0].shape[-2:])

    return pointwise(call, context, (name,), reshape)


def expand(call: Call, context: Context) -> Step | None:
    """Of dimensions between batch and rows."""
    name = spatial_input(call, context, "self")
    channels = name and _channels_after(call, context, name)
    if name is None or channels is None or len(call.shape) != len(context.shapes[name]):
        return None

    def expand(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        return patches[0].expand(len(patches[0]), *channels, *patches[0].shape[-2:])

    return pointwise(call, context, (name,), expand)


def cat(call: Call, context: Context) -> Step | None:
    """Concatenation of channels."""
    names = tuple(part.name for part in call.arguments["tensors"] if not _is_empty(part.name, context))
    shapes = [context.shapes.get(name, ()) for name in names]
    if not all(len(shape) == 4 and is_spatial(shape) for shape in shapes):
        return None
    if call.arguments["dim"] % 4 != 1 or len({shape[-2:] for shape in shapes}) != 1:
        return None
    if len(names) == 1:
        return pointwise(call, context, names, lambda patches, _: patches[0])
    rows, cols = (Pointwise((size,) * len(names), size) for size in spatial_size(shapes[0]))
    return Concatenation(call.name, call.label, names, rows, cols)


def _is_empty(name: str, context: Context) -> bool:
    """Whether a part of a concatenation has no element."""
    shape = context.shapes.get(name)
    return 0 in (context.constants[name].shape if shape is None and name in context.constants else shape or ())


def repeat(call: Call, context: Context) -> Step | None:
    """Of dimensions between batch and rows."""
    name = spatial_input(call, context, "self")
    counts = list(call.arguments["repeats" if "repeats" in call.arguments else "dims"])
    if name is None or len(call.shape) != len(context.shapes[name]):
        return None
    # A tile may leave the first ones out.
    counts = [1] * (len(call.shape) - len(counts)) + counts
    return pointwise(call, context, (name,)) if counts[0] == 1 and counts[-2:] == [1, 1] else None


def filled(call: Call, context: Context) -> Step | None:
    """One number everywhere, with the rows and columns of the map that it is made for."""
    name = spatial_input(call, context, "self")
    channels = name and _channels_after(call, context, name)
    if name is None or channels is None:
        return None
    value = call.arguments.get("fill_value", int(call.operation == "new_ones"))
    options = {key: call.arguments[key] for key in ("dtype", "device")}

    def fill(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        (patch,) = patches
        return patch.new_full((len(patch), *channels, *patch.shape[-2:]), value, **options)

    return pointwise(call, context, (name,), fill)


def stack(call: Call, context: Context) -> Step | None:
    """In a new dimension between batch and rows."""
    names = [part.name for part in call.arguments["tensors"]]
    shapes = {context.shapes.get(name, ()) for name in names}
    if len(shapes) != 1 or not is_spatial(next(iter(shapes))):
        return None
    if not 0 < call.arguments["dim"] % len(call.shape) < len(call.shape) - 2:
        return None
    return pointwise(call, context, tuple(dict.fromkeys(names)))


def index(call: Call, context: Context) -> Step | None:
    """By a constant list of channels."""
    name = spatial_input(call, context, "self")
    given = [(dim, index) for dim, index in enumerate(call.arguments["indices"]) if index is not None]
    if name is None or len(given) != 1 or not 0 < given[0][0] < len(context.shapes[name]) - 2:
        return None
    chosen = context.constants[given[0][1].name]
    if chosen.dtype == torch.bool or chosen.ndim != 1:
        return None
    return pointwise(call, context, (name,))


def pixel_shuffle(call: Call, context: Context) -> Step | None:
    """Channels to blocks of positions."""
    name = map_input(call, context, "self")
    if name is None:
        return None
    factor = call.arguments["upscale_factor"]
    rows, cols = (PixelShuffle(size, factor) for size in spatial_size(call.shape))

    def shuffle(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        return F.pixel_shuffle(patches[0], factor)

    return FunctionStep(call.name, call.label, (name,), rows, cols, function=shuffle)


def pixel_unshuffle(call: Call, context: Context) -> Step | None:
    """Blocks of positions to channels."""
    name = map_input(call, context, "self")
    if name is None:
        return None
    factor = call.arguments["downscale_factor"]
    rows, cols = (PixelUnshuffle(size, factor) for size in spatial_size(call.shape))

    def unshuffle(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        return F.pixel_unshuffle(patches[0], factor)

    return FunctionStep(call.name, call.label, (name,), rows, cols, function=unshuffle)
