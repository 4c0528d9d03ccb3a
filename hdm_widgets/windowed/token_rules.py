"""Rules for values whose rows and columns are merged to one dimension of positions, as transformers have them.

Such a value is kept as (N, ..., H, W) all the same, and `Context.tokens` says how the network has it: dimension i of
the network's tensor is dimension `order[i]` of what is kept with rows and columns merged, (N, ..., H * W). So a layer
that looks at every token by itself stays local, and attention is local in the tokens that ask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets.windowed.axes import Interval, Span, Window
from hdm_widgets.windowed.calls import Call, Ref
from hdm_widgets.windowed.context import Context, Order, function_of, is_spatial, pointwise
from hdm_widgets.windowed.steps import AxisWindow, Convolution, Step

__all__ = ["Attention", "token_step"]

_REARRANGES = (
    "_unsafe_view", "alias", "contiguous", "flatten", "movedim", "permute", "reshape", "squeeze", "swapaxes",
    "swapdims", "transpose", "unflatten", "unsqueeze", "view",
)  # fmt: skip
_ELEMENTWISE = (
    "add", "clone", "div", "dropout", "gelu", "hardswish", "leaky_relu", "mish", "mul", "relu", "sigmoid", "silu",
    "sub", "tanh", "_to_copy", "to",
)  # fmt: skip


@dataclass(frozen=True)
class _AskingAxis:
    """Attention along one axis: every position asks all positions of the keys; a change of these counts for nothing."""

    size: int
    keys: int

    def propagate(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        return changed[0]

    def receptive_field(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        return Span(*out), Span(0, self.keys), Span(0, self.keys)

    def pattern(self, out: Interval) -> object:
        """See `Axis`."""
        return None


@dataclass(frozen=True, eq=False)
class Attention(Step):
    """Scaled dot-product attention of some queries to all keys, each (n, heads, channels, h, w).

    Attributes
    ----------
    scale : float or None
    depth : int
        Channels of a head.
    """

    scale: float | None = None
    depth: int = 1

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        query, key, value = (patch.flatten(-2).transpose(-2, -1) for patch in patches)
        found = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        return _apart(found.transpose(-2, -1), patches[0])

    def cost(self, rows: int, cols: int) -> float:
        """See `Step`."""
        return float(2 * rows * cols * self.rows.keys * self.cols.keys * self.depth)  # type: ignore[attr-defined]


def token_step(call: Call, context: Context) -> Step | None:
    """The step of a call that makes, takes or gives tokens; None where no rule applies."""
    values = [name for name in call.reads() if name in context.shapes]
    made = call.operation in _REARRANGES and len(values) == 1 and is_spatial(context.shapes[values[0]])
    if not values or not (made or any(name in context.tokens for name in values)):
        return None
    if made:
        return _rearranged(call, context, values[0])
    if not all(name in context.tokens for name in values):
        return None
    if call.operation in _ELEMENTWISE:
        return _elementwise(call, context, values)
    if call.operation == "scaled_dot_product_attention":
        return _attention(call, context)
    if len(values) != 1:
        return None
    if call.operation == "linear":
        return _linear(call, context, values[0])
    if call.operation == "layer_norm":
        order, count = context.tokens[values[0]], len(call.arguments["normalized_shape"])
        inside = not any(kept in (0, len(order) - 1) for kept in order[-count:])
        return _in_order(call, context, values, order) if inside else None
    return None


def _rearranged(call: Call, context: Context, name: str) -> Step | None:
    """Dimensions in another order, merged or split: told from where the numbers of all elements go."""
    rows, cols = context.size(name)
    if min(rows, cols) < 2 or call.shape[0] is not None or any(size is None for size in call.shape[1:]):
        return None
    steps = _steps(call, context, name)
    if steps is None:
        return None
    sizes = [int(size or 0) for size in call.shape]
    positions = {(1, rows * cols): 0, (cols, rows): 1, (1, cols): 2}
    channels, found = [], {}
    for dim in range(1, len(sizes)):
        if sizes[dim] == 1 or steps[dim] % (rows * cols) == 0:
            channels.append(dim)
        elif (steps[dim], sizes[dim]) in positions:
            found[positions[steps[dim], sizes[dim]]] = dim
        else:
            return None
    if sorted(found) not in ([0], [1, 2]):
        return None
    channels.sort(key=lambda dim: (sizes[dim] > 1, -steps[dim], dim))
    kept = [0, *channels, *(found[each] for each in sorted(found))]
    order = tuple(kept.index(dim) for dim in range(len(sizes)))
    kept_channels = [sizes[dim] for dim in channels]

    def reshaped(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        return patches[0].reshape(len(patches[0]), *kept_channels, *patches[0].shape[-2:])

    context.shapes[call.name] = (None, *kept_channels, rows, cols)
    if 0 in found:
        context.tokens[call.name] = order
    elif list(order) != sorted(order):
        context.orders[call.name] = order
    return pointwise(call, context, (name,), reshaped)


def _steps(call: Call, context: Context, name: str) -> list[int] | None:
    """By how much the number of an element grows along every dimension of the result; None if it does not do so alike.

    Elements are numbered as they are kept.
    """
    kept = [1, *(int(size or 0) for size in context.shapes[name][1:])]
    numbered = torch.arange(math.prod(kept)).view(kept)
    try:
        moved = function_of(call, context, (name,))([numbered], dict.fromkeys(context.numbers, 1))
    except RuntimeError:
        # A view that another layout in memory would allow.
        return None
    if tuple(moved.shape) != (1, *call.shape[1:]):
        return None
    expected = torch.zeros((), dtype=numbered.dtype)
    steps = []
    for dim, size in enumerate(moved.shape):
        along = moved.movedim(dim, 0).reshape(size, -1)[:, 0]
        steps.append(int(along[1] - along[0]) if size > 1 else 0)
        expected = expected + steps[-1] * torch.arange(size).view(-1, *(1,) * (moved.ndim - dim - 1))
    return steps if torch.equal(moved, expected) else None


def _elementwise(call: Call, context: Context, names: list[str]) -> Step | None:
    orders = {context.tokens[name] for name in names}
    shapes = {context.shapes[name][-2:] for name in names}
    if len(orders) != 1 or len(shapes) != 1:
        return None
    (order,) = orders
    position = order.index(len(order) - 1)
    for name in call.reads():
        constant = context.constants.get(name)
        # One that is the same for all tokens.
        if (
            constant is not None
            and constant.ndim > len(order) - 1 - position
            and constant.shape[position - len(order)] != 1
        ):
            return None
    return _in_order(call, context, names, order)


def _linear(call: Call, context: Context, name: str) -> Step | None:
    """A linear layer over channels, as a convolution of one position."""
    weight, bias, order = call.arguments["weight"], call.arguments["bias"], context.tokens[name]
    if not isinstance(weight, Ref) or weight.name not in context.constants or order[-1] in (0, len(order) - 1):
        return None
    if order != (0, 2, 1):
        return _in_order(call, context, [name], order)
    matrix = context.constants[weight.name]
    context.shapes[call.name] = (None, len(matrix), *context.size(name))
    context.tokens[call.name] = order
    rows, cols = (Window(size, size, 1, 1, 0) for size in context.size(name))
    return Convolution(
        call.name, call.label, (name,), rows, cols, 0.0, weight=matrix[..., None, None],
        bias=context.constants[bias.name] if isinstance(bias, Ref) else None,
    )  # fmt: skip


def _attention(call: Call, context: Context) -> Step | None:
    given = call.arguments
    names = [given[key].name for key in ("query", "key", "value")]
    plain = given.get("attn_mask") is None and not given.get("is_causal") and not given.get("dropout_p")
    # (N, heads, tokens, channels).
    if not plain or any(context.tokens[name] != (0, 1, 3, 2) for name in names):
        return None
    size, keys = context.size(names[0]), context.size(names[1])
    heads, depth = (int(each or 1) for each in context.shapes[names[2]][1:-2])
    context.shapes[call.name] = (None, heads, depth, *size)
    context.tokens[call.name] = (0, 1, 3, 2)
    rows, cols = (_AskingAxis(size[dim], keys[dim]) for dim in (0, 1))
    return Attention(call.name, call.label, tuple(names), rows, cols, scale=given.get("scale"), depth=depth)


def _in_order(call: Call, context: Context, names: list[str], order: Order) -> Step:
    """The call itself on the tokens of patches, whose result has dimensions in this order."""
    run: Callable[[list[Tensor], dict[str, Any]], Tensor] = function_of(call, context, tuple(names))
    back = tuple(order.index(kept) for kept in range(len(order)))
    merged = [int(call.shape[dim] or 0) for dim in back[1:-1]]
    size = context.size(names[0])

    def apart(patches: list[Tensor], numbers: dict[str, Any]) -> Tensor:
        return _apart(run(patches, numbers).permute(back), patches[0])

    context.shapes[call.name] = (None, *merged, *size)
    context.tokens[call.name] = order
    return pointwise(call, context, tuple(names), apart)


def _apart(merged: Tensor, like: Tensor) -> Tensor:
    """Positions as rows and columns again, as a patch has them."""
    return merged.reshape(*merged.shape[:-1], *like.shape[-2:])
