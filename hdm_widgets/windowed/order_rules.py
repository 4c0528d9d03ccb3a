"""Rules for values that have their dimensions in another order than (N, ..., H, W), such as channels last.

Such a value is kept as (N, ..., H, W) all the same, and `Context.orders` says how the network has it: dimension i of
the network's tensor is dimension `order[i]` of what is kept. So permuting is no work, and what follows it stays local
as long as it leaves rows and columns alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hdm_widgets.windowed.axes import Pointwise, Window
from hdm_widgets.windowed.calls import Call, Ref
from hdm_widgets.windowed.context import Context, Order, function_of, is_spatial, pointwise, spatial_input
from hdm_widgets.windowed.steps import Concatenation, Convolution, Step

__all__ = ["elementwise", "joined", "linear", "normalized", "of_positions", "over_channels", "reordered", "stacked"]


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


def of_positions(rule: Callable[[Call, Context], Step | None]) -> Callable[[Call, Context], Step | None]:
    """What a rule for rows and columns makes of a call that names them in another order."""

    def applied(call: Call, context: Context) -> Step | None:
        name = spatial_input(call, context, "self" if "self" in call.arguments else "input")
        if name not in context.orders:
            return None
        order, shape, given = context.orders[name], context.shapes[call.name], dict(call.arguments)
        rank = len(order)
        named: list[int]
        if "pad" in given or "padding" in given:
            key = "pad" if "pad" in given else "padding"
            # Pairs, of the last dimension first.
            pairs = {order[-1 - each // 2]: given[key][each : each + 2] for each in range(0, len(given[key]), 2)}
            named = [dim for dim, pair in pairs.items() if any(pair)]
            given[key] = [amount for dim in (rank - 1, rank - 2) for amount in pairs.get(dim, (0, 0))]
        elif "dims" in given:
            named = given["dims"] = [order[dim % rank] for dim in given["dims"]]
        else:
            given["dim"] = order[(given["dim"] or 0) % rank]
            named = [given["dim"]]
        if given.get("dims") == [] or not all(dim >= rank - 2 for dim in named):
            return None
        context.keep(call, order)
        natural = replace(call, arguments=given, shape=context.shapes[call.name])
        step = rule(natural, context)
        if step is None:
            context.shapes[call.name] = shape
            del context.orders[call.name]
        return step

    return applied


def joined(call: Call, context: Context) -> Step | None:
    """Concatenation of channels."""
    names = tuple(part.name for part in call.arguments["tensors"])
    if not all(len(context.shapes.get(name, ())) == 4 and name in context.orders for name in names):
        return None
    orders, sizes = {context.orders[name] for name in names}, {context.size(name) for name in names}
    if len(orders) != 1 or len(sizes) != 1 or context.order(names[0])[call.arguments["dim"] % 4] != 1:
        return None
    context.keep(call, context.order(names[0]))
    rows, cols = (Pointwise((size,) * len(names), size) for size in context.size(names[0]))
    return Concatenation(call.name, call.label, names, rows, cols)


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
