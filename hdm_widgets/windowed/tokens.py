"""Values whose rows and columns are merged to one dimension of positions, as transformers have them.

Such a value is kept as (N, ..., H, W) all the same, and `Context.tokens` says how the network has it: dimension i of
the network's tensor is the dimensions `groups[i]` of what is kept with rows and columns merged, (N, ..., H * W),
themselves merged in this order. So heads may be merged with the batch, and tokens come first.

Tokens that are no positions, such as a class token in front, are kept as a value of their own, (N, ..., 1, tokens). The
tensor in which the network has both is described as (N, ..., 1, all tokens), and `Context.parts` names what it consists
of. Tokens that are no positions are summaries: they see the whole map, so a change anywhere changes them.

Positions in windows of a grid, as Swin has them, are four dimensions in place of one, (N, ..., H / rows, rows, W /
columns, columns), and `Context.blocks` has the rows and columns of a window. What needs whole windows is computed on
whole windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hdm_widgets.windowed.axes import Blocks, Global
from hdm_widgets.windowed.calls import Call, replaced
from hdm_widgets.windowed.context import Context, Groups, function_of, pointwise
from hdm_widgets.windowed.steps import BlockStep, Function, FunctionStep, GlobalStep, Step

__all__ = [
    "adopted", "apart", "block_step", "channels_of", "in_groups", "is_of_channels", "joined", "merge", "of_part",
    "parts_of", "position_dim", "sizes_of", "token_values",
]  # fmt: skip


def channels_of(context: Context, name: str) -> list[int]:
    """Sizes between batch and rows, of what is kept."""
    return [int(size or 0) for size in context.shapes[name][1:-2]]


def sizes_of(context: Context, name: str, group: tuple[int, ...]) -> list[int | None]:
    """Sizes of kept dimensions, with None for the batch; below 0 for positions."""
    sizes = [None, *channels_of(context, name), -1, -2, -3, -4]
    return [sizes[kept] for kept in group]


def is_of_channels(group: tuple[int, ...], context: Context, name: str) -> bool:
    """Whether neither the batch nor positions are among kept dimensions."""
    return all(0 < kept < len(context.shapes[name]) - 2 for kept in group)


def position_dim(context: Context, name: str) -> int | None:
    """Which dimension of the network's tensor are the tokens; None if they are merged with others."""
    groups, last = context.tokens[name], len(context.shapes[name]) - 2
    return groups.index((last,)) if (last,) in groups and name not in context.blocks else None


def apart(merged: Tensor, like: Tensor) -> Tensor:
    """Positions as rows and columns again, as a patch has them."""
    return merged.reshape(*merged.shape[:-1], *like.shape[-2:])


def parts_of(context: Context, name: str) -> tuple[str, ...]:
    """The values that tokens are kept as, in order."""
    return context.parts.get(name, (name,))


def token_values(call: Call, context: Context) -> list[str]:
    """Names of the values that a call reads."""
    return [name for name in call.reads() if name in context.shapes]


def merge(name: str, parts: Sequence[str], context: Context) -> None:
    """Note that tokens consist of these."""
    count = sum(math.prod(context.size(part)) for part in parts)
    context.parts[name] = tuple(parts)
    context.tokens[name] = context.tokens[parts[0]]
    context.shapes[name] = (None, *channels_of(context, parts[0]), 1, count)


def of_part(call: Call, context: Context, index: int, name: str) -> Call:
    """A call on one part of what it reads, with another name for its result."""
    arguments = call.arguments
    for value in token_values(call, context):
        parts = parts_of(context, value)
        part = parts[index if len(parts) > 1 else 0]
        arguments = {key: replaced(argument, value, part) for key, argument in arguments.items()}
    return replace(call, name=name, arguments=arguments)


def joined(name: str, label: str, context: Context) -> Step:
    """Tokens in one, for what has no rule for parts; changes are left out."""
    parts = context.parts[name]
    rows, cols = _whole(context, parts, name)

    def join(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        count = max(map(len, patches))
        merged = [patch.flatten(-2).expand(count, *patch.shape[1:-2], -1) for patch in patches]
        return torch.cat(merged, -1).unsqueeze(-2)

    return FunctionStep(name, label, parts, rows, cols, function=join, frozen=True)


def adopted(
    name: str, label: str, given: str, like: str, sizes: tuple[int, int], first: int, context: Context
) -> Step | None:
    """Some tokens of a whole value, kept as another one is; changes are left out.

    Parameters
    ----------
    name, label : str
        Of what is made.
    given : str
        The value, which the network has as `like`, save for how many tokens there are.
    like : str
    sizes : tuple of int
        As how many rows and columns they are kept.
    first : int
        The first of these tokens.
    context : Context
    """
    groups, channels = context.tokens[like], channels_of(context, like)
    shape, dim = context.shapes[given], position_dim(context, like)
    if dim is None or len(shape) != len(groups) or given in context.orders:
        return None
    flat = [kept for group in groups for kept in group]
    for place, (size, group) in enumerate(zip(shape, groups, strict=True)):
        expected = None if 0 in group else math.prod(channels[kept - 1] for kept in group if place != dim)
        if place != dim and size != expected:
            return None
    count = math.prod(sizes)
    if shape[dim] is None or int(shape[dim] or 0) < first + count:
        return None
    back = [flat.index(kept) for kept in range(len(flat))]
    others = math.prod(channels)

    def take(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        taken = patches[0].narrow(dim, first, count)
        every = [taken.numel() // (others * count), *channels, count]
        kept = taken.reshape([every[kept] for kept in flat]).permute(back)
        return kept.reshape(*kept.shape[:-1], *sizes)

    context.shapes[name], context.tokens[name] = (None, *channels, *sizes), groups
    rows, cols = _whole(context, (given,), name)
    return GlobalStep(name, label, (given,), rows, cols, function=take, frozen=True)


def in_groups(call: Call, context: Context, names: list[str], groups: Groups, channels: list[int]) -> Step:
    """The call itself on the tokens of patches, whose result has these dimensions and sizes between batch and rows."""
    run: Callable[[list[Tensor], dict[str, Any]], Tensor] = function_of(call, context, tuple(names))
    flat = [kept for group in groups for kept in group]
    back = [flat.index(kept) for kept in range(len(flat))]
    blocks = context.blocks.get(names[0])

    def compute(patches: list[Tensor], numbers: dict[str, Any]) -> Tensor:
        count, (height, width) = max(map(len, patches)), patches[0].shape[-2:]
        found = run([patch.expand(count, *patch.shape[1:]) for patch in patches], numbers)
        positions = [height * width]
        if blocks is not None:
            positions = [height // blocks[0], blocks[0], width // blocks[1], blocks[1]]
        sizes = [count, *channels, *positions]
        kept = found.reshape([sizes[kept] for kept in flat]).permute(back)
        return kept.reshape(count, *channels, height, width)

    context.shapes[call.name] = (None, *channels, *context.size(names[0]))
    context.tokens[call.name] = groups
    if blocks is None:
        return pointwise(call, context, tuple(names), compute)
    return block_step(call, context, tuple(names), blocks, compute)


def block_step(
    call: Call,
    context: Context,
    inputs: tuple[str, ...],
    blocks: tuple[int, int],
    function: Function,
    each: float = 1.0,
) -> Step:
    """A step on whole windows of tokens, of values of one size, with so many multiplications for each token."""
    context.blocks[call.name] = blocks
    rows, cols = (Blocks(len(inputs), *sizes) for sizes in zip(context.size(inputs[0]), blocks, strict=True))
    return BlockStep(call.name, call.label, inputs, rows, cols, function=function, each=each)


def _whole(context: Context, inputs: tuple[str, ...], name: str) -> tuple[Global, Global]:
    sizes, size = [context.size(each) for each in inputs], context.size(name)
    rows, cols = (Global(tuple(each[dim] for each in sizes), size[dim]) for dim in (0, 1))
    return rows, cols
