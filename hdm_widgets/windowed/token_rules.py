"""Rules for values whose rows and columns are merged to one dimension of positions, as transformers have them.

Such a value is kept as (N, ..., H, W) all the same, and `Context.tokens` says how the network has it: dimension i of
the network's tensor is the dimensions `groups[i]` of what is kept with rows and columns merged, (N, ..., H * W),
themselves merged in this order. So heads may be merged with the batch, and tokens come first. A layer that looks at
every token by itself stays local, and attention is local in the tokens that ask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets.windowed.axes import Interval, Span, Window
from hdm_widgets.windowed.calls import Call, Ref, replaced
from hdm_widgets.windowed.context import Context, Groups, Scores, function_of, is_spatial, pointwise
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
_OVER_CHANNELS = (
    "chunk", "narrow", "select", "slice", "softmax", "split", "split_with_sizes", "tensor_split", "unbind",
)  # fmt: skip
_PRODUCTS = ("bmm", "matmul")
# What may happen to scores and weights between the products.
_KEEPS = ("alias", "clone", "contiguous", "dropout")
_SWAPS = ("permute", "swapaxes", "swapdims", "transpose")
# Images in the numbered tensor that tells where elements go.
_IMAGES = 2


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
    if any(name in context.scores for name in values):
        return _of_scores(call, context, values)
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
    if call.operation in _PRODUCTS and len(values) == 2:
        _note_scores(call, context, *values)
    if len(values) != 1:
        return None
    if call.operation == "linear":
        return _linear(call, context, values[0])
    if call.operation == "layer_norm":
        groups, count = context.tokens[values[0]], len(call.arguments["normalized_shape"])
        inside = all(_is_of_channels(group, context, values[0]) for group in groups[-count:])
        return _in_groups(call, context, values, groups, _channels(context, values[0])) if inside else None
    return _over_channels(call, context, values[0]) if call.operation in _OVER_CHANNELS else None


def _rearranged(call: Call, context: Context, name: str) -> Step | None:
    """Dimensions in another order, merged or split: told from where the numbers of all elements go."""
    rows, cols = context.size(name)
    if min(rows, cols) < 2 or not {name, *context.numbers}.issuperset(call.reads()):
        return None
    arguments = {key: replaced(value, name, "") for key, value in call.arguments.items()}
    order = context.tokens.get(name) or context.orders.get(name)
    # Layers are often alike.
    key = call.target, repr(arguments), context.shapes[name], order
    if key not in context.factors:
        context.factors[key] = _factors(call, context, name)
    factors = context.factors[key]
    if factors is None:
        return None
    positions = {(1, rows * cols): 0, (cols, rows): 1, (1, cols): 2}
    image = math.prod(_channels(context, name)) * rows * cols
    # By dimension and place there; a dimension of size 1 has no factors and is kept as one of the channels.
    batch, channels, found = [], [], {}
    for dim, each in enumerate(factors):
        for place, (step, size) in enumerate(each or [(0, 1)]):
            if (step, size) in positions:
                found[positions[step, size]] = dim, place
            elif step == image:
                batch.append((dim, place))
            elif step % (rows * cols) == 0:
                channels.append(((size > 1, -step, dim), size, (dim, place)))
            else:
                return None
    if sorted(found) not in ([0], [1, 2]) or len(batch) != 1:
        return None
    channels.sort()
    kept = [*batch, *(where for *_, where in channels), *(found[each] for each in sorted(found))]
    groups = tuple(
        tuple(kept.index((dim, place)) for place in range(max(len(each), 1))) for dim, each in enumerate(factors)
    )
    sizes = [size for _, size, _ in channels]

    def reshaped(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        return patches[0].reshape(len(patches[0]), *sizes, *patches[0].shape[-2:])

    if 0 in found:
        context.tokens[call.name] = groups
    else:
        kept_order = tuple(group[0] for group in groups)
        if len(kept_order) != len(kept) or kept_order[0] != 0:
            return None
        if list(kept_order) != sorted(kept_order):
            context.orders[call.name] = kept_order
    context.shapes[call.name] = (None, *sizes, rows, cols)
    return pointwise(call, context, (name,), reshaped)


def _factors(call: Call, context: Context, name: str) -> list[list[tuple[int, int]]] | None:
    """What dimensions of a result are made of: (by how much the number of an element grows, size), the last fastest.

    Elements are numbered as they are kept. None if their numbers are not such sums.
    """
    kept = [_IMAGES, *(int(size or 0) for size in context.shapes[name][1:])]
    numbered = torch.arange(math.prod(kept)).view(kept)
    numbers = {each: context.numbers[each].at(_IMAGES) for each in call.reads() if each in context.numbers}
    try:
        # A view may rely on a layout in memory that what is kept does not have.
        moved = call.run({**numbers, name: context.as_given(name, numbered).contiguous()})
    except RuntimeError:
        return None
    if moved.ndim != len(call.shape) or moved.numel() != numbered.numel():
        return None
    expected = torch.zeros((), dtype=numbered.dtype)
    bounds = math.prod(kept[-2:]), math.prod(kept[1:])
    found = []
    for dim, size in enumerate(moved.shape):
        digits = [
            part
            for step, count in _digits(moved.movedim(dim, 0).reshape(size, -1)[:, 0])
            for part in _split(step, count, bounds)
        ]
        along = torch.zeros(1, dtype=numbered.dtype)
        for step, count in digits:
            along = (along[:, None] + step * torch.arange(count)).flatten()
        if len(along) != size:
            return None
        expected = expected + along.view(-1, *(1,) * (moved.ndim - dim - 1))
        found.append(digits)
    return found if torch.equal(moved, expected) else None


def _digits(numbers: Tensor) -> list[tuple[int, int]]:
    """Steps and sizes of the arithmetic sequences within each other that numbers begin with, the innermost last."""
    found: list[tuple[int, int]] = []
    while len(numbers) > 1:
        step = int(numbers[1] - numbers[0])
        others = (numbers != numbers[0] + step * torch.arange(len(numbers))).nonzero()
        size = int(others[0]) if len(others) else len(numbers)
        found.insert(0, (step, size))
        numbers = numbers[::size]
    return found


def _split(step: int, size: int, bounds: tuple[int, int]) -> list[tuple[int, int]]:
    """A sequence split where it goes on to another channel, and to another image."""
    for bound in reversed(bounds):
        if 0 < step < bound < step * size and bound % step == 0:
            inner = bound // step
            return [(bound, size // inner), *_split(step, inner, bounds)]
    return [(step, size)]


def _elementwise(call: Call, context: Context, names: list[str]) -> Step | None:
    call = _with_token_constants(call, context, names[0])
    names = [each for each in call.reads() if each in context.shapes]
    (groups, *others), name = (context.tokens[each] for each in names), names[0]
    channels = _channels(context, name)
    if any(each != groups for each in others) or len({context.size(each) for each in names}) != 1:
        return None
    if len(call.shape) != len(groups):
        return None
    for each in call.reads():
        constant = context.constants.get(each)
        # One that is the same for all tokens.
        if constant is not None and any(
            size != 1 and not _is_of_channels(group, context, name)
            for size, group in zip(reversed(constant.shape), reversed(groups), strict=False)
        ):
            return None
    for dim, group in enumerate(groups):
        if len(group) == 1 and _is_of_channels(group, context, name):
            channels[group[0] - 1] = int(call.shape[dim] or 0)
        elif any(_sizes(context, each, group) != _sizes(context, name, group) for each in names):
            return None
    return _in_groups(call, context, names, groups, channels)


def _with_token_constants(call: Call, context: Context, name: str) -> Call:
    """The call with constants that differ from token to token, such as embeddings of positions, as values."""
    groups, size = context.tokens[name], context.size(name)
    flat = [kept for group in groups for kept in group]
    for each in call.reads():
        constant = context.constants.get(each)
        if constant is None or constant.ndim > len(groups) or len(flat) != len(groups):
            continue
        whole = constant.reshape(*(1,) * (len(groups) - constant.ndim), *constant.shape)
        kept = whole.permute([flat.index(dim) for dim in range(len(flat))])
        if len(kept) != 1 or kept.shape[-1] != math.prod(size):
            continue
        spread = f"{each}/{groups}"
        context.constants[spread] = kept.reshape(*kept.shape[:-1], *size)
        value = context.as_value(spread, kept.ndim + 1)
        context.tokens[value] = groups
        arguments = {key: replaced(argument, each, value) for key, argument in call.arguments.items()}
        call = replace(call, arguments=arguments)
    return call


def _linear(call: Call, context: Context, name: str) -> Step | None:
    """A linear layer over channels, as a convolution of one position."""
    weight, bias, groups = call.arguments["weight"], call.arguments["bias"], context.tokens[name]
    if not isinstance(weight, Ref) or weight.name not in context.constants:
        return None
    if not _is_of_channels(groups[-1], context, name) or len(groups[-1]) != 1:
        return None
    matrix, channels = context.constants[weight.name], _channels(context, name)
    channels[groups[-1][0] - 1] = len(matrix)
    if len(channels) != 1:
        return _in_groups(call, context, [name], groups, channels)
    context.shapes[call.name] = (None, *channels, *context.size(name))
    context.tokens[call.name] = groups
    rows, cols = (Window(size, size, 1, 1, 0) for size in context.size(name))
    return Convolution(
        call.name, call.label, (name,), rows, cols, 0.0, weight=matrix[..., None, None],
        bias=context.constants[bias.name] if isinstance(bias, Ref) else None,
    )  # fmt: skip


def _over_channels(call: Call, context: Context, name: str) -> Step | None:
    """What takes, splits or weighs the channels of one dimension."""
    groups, channels, dim = context.tokens[name], _channels(context, name), call.arguments.get("dim")
    if not isinstance(dim, int):
        return None
    group = groups[dim % len(groups)]
    if len(group) != 1 or not _is_of_channels(group, context, name):
        return None
    (kept,) = group
    if len(call.shape) == len(groups):
        channels[kept - 1] = int(call.shape[dim] or 0)
    else:
        del channels[kept - 1]
        left = (each for each in groups if each != group)
        groups = tuple(tuple(each - (each > kept) for each in others) for others in left)
    return _in_groups(call, context, [name], groups, channels)


def _attention(call: Call, context: Context) -> Step | None:
    given = call.arguments
    if given.get("attn_mask") is not None or given.get("is_causal") or given.get("dropout_p"):
        return None
    query, key, value = (given[each].name for each in ("query", "key", "value"))
    groups = context.tokens[query]
    if any(context.tokens[name] != groups for name in (key, value)) or not _are_rows(groups, context, query):
        return None
    return _attended(call, context, (query, key, value), given.get("scale"), groups)


def _note_scores(call: Call, context: Context, query: str, key: str) -> None:
    """Notes a product of queries and keys, from which attention may be made; by itself it is of the whole image."""
    groups = context.tokens[query]
    if _are_rows(groups, context, query) and context.tokens[key] == _swapped(groups):
        context.scores[call.name] = Scores(query, key)


def _of_scores(call: Call, context: Context, values: list[str]) -> Step | None:
    """Notes what becomes of scores; the step where they are multiplied with values."""
    if call.operation in _PRODUCTS:
        return _weighted(call, context, *values) if len(values) == 2 else None
    (scores, *others), given = (context.scores.get(name) for name in values), call.arguments
    if scores is None or others:
        return None
    rank, dim = len(call.shape), given.get("dim")
    if call.operation in _KEEPS:
        context.scores[call.name] = scores
    elif call.operation == "softmax" and not (scores.weights or scores.swapped):
        if dim in (-1, rank - 1) and given.get("dtype") is None:
            context.scores[call.name] = replace(scores, weights=True)
    elif call.operation in ("mul", "div") and not scores.weights and not given.get("rounding_mode"):
        factor = given["other"]
        if isinstance(factor, (int, float)) and isinstance(given["self"], Ref):
            scale = scores.scale * factor if call.operation == "mul" else scores.scale / factor
            context.scores[call.name] = replace(scores, scale=scale)
    elif call.operation in _SWAPS and len(context.shapes[values[0]]) == rank:
        moved = tuple(call.run({values[0]: torch.empty(tuple(range(rank)), device="meta")}).shape)
        if moved == (*range(rank - 2), rank - 1, rank - 2):
            context.scores[call.name] = replace(scores, swapped=not scores.swapped)
    return None


def _weighted(call: Call, context: Context, left: str, right: str) -> Step | None:
    """Weights times values, or transposed: values times weights."""
    scores, value = context.scores.get(left), right
    swapped = scores is None
    if scores is None:
        scores, value = context.scores.get(right), left
    if scores is None or not scores.weights or scores.swapped is not swapped or value not in context.tokens:
        return None
    groups = context.tokens[scores.query]
    given = _swapped(groups) if swapped else groups
    if context.tokens[value] != given:
        return None
    return _attended(call, context, (scores.query, scores.key, value), scores.scale, given)


def _attended(
    call: Call, context: Context, names: tuple[str, str, str], scale: float | None, groups: Groups
) -> Step | None:
    """Attention of queries to keys and values with the same heads, whose result the network has in these groups."""
    query, key, value = names
    *heads, depth = _channels(context, value)
    if any(_channels(context, name)[:-1] != heads for name in (query, key)):
        return None
    size, keys = context.size(query), context.size(key)
    if context.size(value) != keys:
        return None
    context.shapes[call.name] = (None, *heads, depth, *size)
    context.tokens[call.name] = groups
    rows, cols = (_AskingAxis(size[dim], keys[dim]) for dim in (0, 1))
    return Attention(call.name, call.label, names, rows, cols, scale=scale, depth=depth)


def _are_rows(groups: Groups, context: Context, name: str) -> bool:
    """Whether a value is (..., tokens, channels), with heads as they are kept."""
    last = len(context.shapes[name]) - 2
    kept = tuple(each for group in groups for each in group)
    return kept == (*range(last - 1), last, last - 1) and groups[-2:] == ((last,), (last - 1,))


def _swapped(groups: Groups) -> Groups:
    return (*groups[:-2], groups[-1], groups[-2])


def _in_groups(call: Call, context: Context, names: list[str], groups: Groups, channels: list[int]) -> Step:
    """The call itself on the tokens of patches, whose result has these dimensions and sizes between batch and rows."""
    run: Callable[[list[Tensor], dict[str, Any]], Tensor] = function_of(call, context, tuple(names))
    flat = [kept for group in groups for kept in group]
    back = [flat.index(kept) for kept in range(len(flat))]

    def apart(patches: list[Tensor], numbers: dict[str, Any]) -> Tensor:
        count, size = max(map(len, patches)), patches[0].shape[-2:]
        found = run([patch.expand(count, *patch.shape[1:]) for patch in patches], numbers)
        sizes = [count, *channels, math.prod(size)]
        return _apart(found.reshape([sizes[kept] for kept in flat]).permute(back), patches[0])

    context.shapes[call.name] = (None, *channels, *context.size(names[0]))
    context.tokens[call.name] = groups
    return pointwise(call, context, tuple(names), apart)


def _channels(context: Context, name: str) -> list[int]:
    """Sizes between batch and rows, of what is kept."""
    return [int(size or 0) for size in context.shapes[name][1:-2]]


def _sizes(context: Context, name: str, group: tuple[int, ...]) -> list[int | None]:
    """Sizes of kept dimensions, with None for the batch; -1 for positions."""
    sizes = [None, *_channels(context, name), -1]
    return [sizes[kept] for kept in group]


def _is_of_channels(group: tuple[int, ...], context: Context, name: str) -> bool:
    """Whether neither the batch nor positions are among kept dimensions."""
    return not {0, len(context.shapes[name]) - 2}.intersection(group)


def _apart(merged: Tensor, like: Tensor) -> Tensor:
    """Positions as rows and columns again, as a patch has them."""
    return merged.reshape(*merged.shape[:-1], *like.shape[-2:])
