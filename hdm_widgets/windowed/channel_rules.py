"""Rules for operations that work place by place, or on channels alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets.windowed.axes import Blocks, Merged, Same
from hdm_widgets.windowed.calls import Call, refs
from hdm_widgets.windowed.context import Context, input_of, is_picture_like, local, places_of, runner
from hdm_widgets.windowed.steps import Cat, Local, Step

__all__ = [
    "cat", "elementwise", "expand", "index", "of_channels", "over_channels", "per_channel", "reshape", "shuffle",
    "stack", "unshuffle",
]  # fmt: skip

# What often follows a convolution is done in place.
_NEW = "add mul sub"
_IN_PLACE = "elu hardswish hardtanh leaky_relu relu relu6 sigmoid silu"


def elementwise(call: Call, context: Context) -> Step | None:
    """Every place alike and apart; constants with places are cut as pictures are."""
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
    step = local(call, context, tuple(held), runner(call, context, tuple(names)))
    writing = getattr(getattr(torch.ops.aten, f"{call.operation}_", None), "default", None)
    if len(names) == 1 and writing is not None and call.operation in _IN_PLACE.split():
        step = replace(step, in_place=runner(replace(call, target=writing), context, tuple(names)))
    return replace(step, fresh=len(names) > 1 and call.operation in _NEW.split())


def per_channel(call: Call, context: Context) -> Step | None:
    """With weights per channel."""
    name = input_of(call, context, "input" if "input" in call.arguments else "self")
    if name is None or call.arguments.get("training") is True:
        return None
    return local(call, context, (name,), runner(call, context, (name,)))


def over_channels(call: Call, context: Context) -> Step | None:
    """Sums and the like over what is neither the batch nor a place."""
    name = input_of(call, context, "self")
    dims = call.arguments.get("dim")
    if name is None or dims is None:
        return None
    rank = len(context.shapes[name])
    chosen = [dim % rank for dim in (dims if isinstance(dims, list) else [dims])]
    if not chosen or not all(0 < dim < rank - 2 for dim in chosen):
        return None
    return local(call, context, (name,), runner(call, context, (name,)))


def of_channels(call: Call, context: Context) -> Step | None:
    """Chooses, splits or permutes what is neither the batch nor a place."""
    name = input_of(call, context, "self" if "self" in call.arguments else "tensor")
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
    return local(call, context, (name,), runner(call, context, (name,))) if fits else None


def _middle(call: Call, context: Context, name: str) -> tuple[int, ...] | None:
    """Sizes between the batch and the rows, if rows and columns stay as they are."""
    if call.shape is None or context.shapes[name][-2:] != call.shape[-2:]:
        return None
    return tuple(int(size or 0) for size in call.shape[1:-2])


def reshape(call: Call, context: Context) -> Step | None:
    """Of channels alone."""
    name = input_of(call, context, "self")
    middle = name and _middle(call, context, name)
    if name is None or middle is None:
        return None
    if math.prod(middle) != math.prod(int(size or 0) for size in context.shapes[name][1:-2]):
        return None

    def reshape(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        return patches[0].reshape(len(patches[0]), *middle, *patches[0].shape[-2:])

    return local(call, context, (name,), reshape)


def expand(call: Call, context: Context) -> Step | None:
    """Of channels alone."""
    name = input_of(call, context, "self")
    middle = name and _middle(call, context, name)
    if name is None or middle is None or len(call.shape or ()) != len(context.shapes[name]):
        return None

    def expand(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        return patches[0].expand(len(patches[0]), *middle, *patches[0].shape[-2:])

    return local(call, context, (name,), expand)


def cat(call: Call, context: Context) -> Step | None:
    """Of channels."""
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


def stack(call: Call, context: Context) -> Step | None:
    """Beside the channels."""
    names = [part.name for part in call.arguments["tensors"]]
    shapes = {context.shapes.get(name, ()) for name in names}
    if len(shapes) != 1 or not is_picture_like(next(iter(shapes))) or call.shape is None:
        return None
    if not 0 < call.arguments["dim"] % len(call.shape) < len(call.shape) - 2:
        return None
    held = tuple(dict.fromkeys(names))
    return local(call, context, held, runner(call, context, held))


def index(call: Call, context: Context) -> Step | None:
    """By a constant list of channels."""
    name = input_of(call, context, "self")
    places = [place for place, index in enumerate(call.arguments["indices"]) if index is not None]
    if name is None or len(places) != 1 or not 0 < places[0] < len(context.shapes[name]) - 2:
        return None
    (index,) = (index for index in call.arguments["indices"] if index is not None)
    if context.constants[index.name].dtype == torch.bool or context.constants[index.name].ndim != 1:
        return None
    return local(call, context, (name,), runner(call, context, (name,)))


def shuffle(call: Call, context: Context) -> Step | None:
    """Channels to blocks of places."""
    name = input_of(call, context, "self")
    if name is None or len(context.shapes[name]) != 4 or call.shape is None:
        return None
    factor = call.arguments["upscale_factor"]
    rows, cols = (Blocks(size, factor) for size in places_of(call.shape))
    return Local(
        call.name,
        call.label,
        (name,),
        rows,
        cols,
        function=lambda patches, _: F.pixel_shuffle(patches[0], factor),
    )


def unshuffle(call: Call, context: Context) -> Step | None:
    """Blocks of places to channels."""
    name = input_of(call, context, "self")
    if name is None or len(context.shapes[name]) != 4 or call.shape is None:
        return None
    factor = call.arguments["downscale_factor"]
    rows, cols = (Merged(size, factor) for size in places_of(call.shape))
    return Local(
        call.name, call.label, (name,), rows, cols,
        function=lambda patches, _: F.pixel_unshuffle(patches[0], factor),
    )  # fmt: skip
