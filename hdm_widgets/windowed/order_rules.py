"""Rules for values that have their dimensions in another order than (N, ..., H, W), such as channels last.

Such a value is kept as (N, ..., H, W) all the same, and `Context.orders` says how the network has it: dimension i of
the network's tensor is dimension `order[i]` of what is kept. So permuting is no work, and what follows it stays local
as long as it leaves rows and columns alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hdm_widgets.windowed.axes import Window
from hdm_widgets.windowed.calls import Call, Ref
from hdm_widgets.windowed.context import Context, Order, function_of, is_spatial, pointwise, spatial_input
from hdm_widgets.windowed.steps import Convolution, Step

__all__ = ["elementwise", "linear", "normalized", "over_channels", "reordered", "stacked"]


def reordered(call: Call, context: Context) -> Step | None:
    """Permutations of the dimensions of maps."""
    name = spatial_input(call, context, "self" if "self" in call.arguments else "input")
    if name is None or len(context.shapes[name]) < 4:
        return None
    rank = len(context.shapes[name])
    sizes = torch.empty(tuple(range(1, rank + 1)), device="meta")
    moved = call.run({name: sizes})
    order = context.order(name)
    return _kept(call, context, (name,), tuple(order[size - 1] for size in moved.shape), lambda patches, _: patches[0])


def stacked(call: Call, context: Context) -> Step | None:
    """Maps in a new first or last dimension, or one between rows and columns."""
    names = [part.name for part in call.arguments["tensors"] if isinstance(part, Ref)]
    shapes = {context.shapes.get(name, ()) for name in names}
    if len(shapes) != 1 or not is_spatial(next(iter(shapes))) or any(name in context.orders for name in names):
        return None
    rank = len(next(iter(shapes))) + 1
    order = [0, *range(2, rank)]
    order.insert(call.arguments["dim"] % rank, 1)
    given = tuple(dict.fromkeys(names))

    def stack(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        each = dict(zip(given, patches, strict=True))
        return torch.stack([each[name] for name in names], 1)

    return _kept(call, context, given, tuple(order), stack)


def elementwise(call: Call, context: Context) -> Step | None:
    """Every element by itself, of values in the same order, and of constants that are the same at every position."""
    names = [name for name in call.reads() if name in context.shapes]
    orders, ranks = {context.order(name) for name in names}, {len(context.shapes[name]) for name in names}
    if len(orders) != 1 or len(ranks) != 1 or not all(is_spatial(context.shapes[name]) for name in names):
        return None
    (order,) = orders
    if any(not _same_everywhere(context.constants[name], order) for name in call.reads() if name in context.constants):
        return None
    return _in_order(call, context, tuple(names), order)


def over_channels(call: Call, context: Context) -> Step | None:
    """Reductions over dimensions that are neither rows nor columns; and what takes or splits such a dimension."""
    name = spatial_input(call, context, "self" if "self" in call.arguments else "tensor")
    dims = call.arguments.get("dim")
    if name is None or dims is None:
        return None
    order = context.order(name)
    chosen = [dim % len(order) for dim in (dims if isinstance(dims, list) else [dims])]
    if not chosen or not all(_is_between(order[dim], order) for dim in chosen):
        return None
    if len(call.shape) == len(order):
        return _in_order(call, context, (name,), order)
    if len(call.shape) != len(order) - len(chosen):
        return None
    left = [kept for dim, kept in enumerate(order) if dim not in chosen]
    return _in_order(call, context, (name,), tuple(sorted(left).index(kept) for kept in left))


def normalized(call: Call, context: Context) -> Step | None:
    """Layer norm over the last dimensions, which are neither rows nor columns."""
    name = spatial_input(call, context, "input")
    if name is None:
        return None
    order, count = context.order(name), len(call.arguments["normalized_shape"])
    if not all(_is_between(kept, order) for kept in order[-count:]):
        return None
    return _in_order(call, context, (name,), order)


def linear(call: Call, context: Context) -> Step | None:
    """A linear layer over channels that come last, as a convolution of one position."""
    name = spatial_input(call, context, "input")
    weight, bias = call.arguments["weight"], call.arguments["bias"]
    if name is None or not isinstance(weight, Ref) or not isinstance(bias, Ref | None):
        return None
    order = context.order(name)
    if len(order) != 4 or order[-1] != 1:
        return None
    matrix = context.constants[weight.name]
    context.keep(call, order)
    rows, cols = (Window(size, size, 1, 1, 0) for size in context.size(name))
    return Convolution(
        call.name, call.label, (name,), rows, cols, 0.0, weight=matrix[..., None, None],
        bias=None if bias is None else context.constants[bias.name],
    )  # fmt: skip


def _in_order(call: Call, context: Context, names: tuple[str, ...], order: Order) -> Step:
    """The call itself on patches, whose result has dimensions in this order."""
    run = function_of(call, context, names)
    back = _inverse(order)
    return _kept(call, context, names, order, lambda patches, numbers: run(patches, numbers).permute(back))


def _kept(
    call: Call,
    context: Context,
    names: tuple[str, ...],
    order: Order,
    function: Callable[[list[Tensor], dict[str, Any]], Tensor],
) -> Step:
    """A pointwise step whose function gives (N, ..., H, W), which the network has in this order."""
    context.keep(call, order)
    return pointwise(call, context, names, function)


def _is_between(kept: int, order: Order) -> bool:
    """Whether a kept dimension is neither the batch nor rows nor columns."""
    return 0 < kept < len(order) - 2


def _same_everywhere(constant: Tensor, order: Order) -> bool:
    aligned = order[len(order) - constant.ndim :]
    return constant.ndim <= len(order) and all(
        size == 1 or _is_between(kept, order) for size, kept in zip(constant.shape, aligned, strict=True)
    )


def _inverse(order: Order) -> Order:
    return tuple(order.index(kept) for kept in range(len(order)))
