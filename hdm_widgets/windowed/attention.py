"""Rules for attention: softmax of the products of queries and keys, times values.

It is local in the tokens that ask. Where it is not one operation, what becomes of scores is noted in `Context.scores`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets.windowed.axes import Global, Interval, Span
from hdm_widgets.windowed.calls import Call, Ref
from hdm_widgets.windowed.context import Context, Groups, Scores, in_blocks
from hdm_widgets.windowed.steps import AxisWindow, Step
from hdm_widgets.windowed.tokens import apart, block_step, channels_of, merge, parts_of

__all__ = ["PRODUCTS", "Attention", "note_scores", "of_scores", "scaled_dot_product"]

PRODUCTS = ("baddbmm", "bmm", "matmul")
# What may happen to scores and weights between the products.
_KEEPS = ("_to_copy", "alias", "clone", "contiguous", "dropout", "to")
_VIEWS = ("_unsafe_view", "reshape", "unflatten", "view")
_SWAPS = ("permute", "swapaxes", "swapdims", "transpose")


@dataclass(frozen=True)
class _AskingAxis(Global):
    """Attention along one axis: every position asks all positions of the keys; a change of these counts for nothing.

    Attributes
    ----------
    local : int
        How many inputs have one position for each that asks; they come first.
    """

    local: int = 1

    def propagate(self, changed: Sequence[Interval | None]) -> Interval | None:
        """See `Axis`."""
        return changed[0]

    def receptive_field(self, out: Interval) -> tuple[Span, ...]:
        """See `Axis`."""
        return tuple(Span(*out) if index < self.local else Span(0, size) for index, size in enumerate(self.sizes))


@dataclass(frozen=True, eq=False)
class Attention(Step):
    """Scaled dot-product attention of some queries to all keys, each (n, heads, channels, h, w).

    Attributes
    ----------
    scale : float or None
    keys : int
        How many there are.
    depth : int
        Channels of a head.
    biased : bool
        Whether the second input is what is added to scores, (n, heads or 1, keys, h, w). Then come the keys, of which
        there may be several kinds, and as many values.
    """

    scale: float | None = None
    keys: int = 1
    depth: int = 1
    biased: bool = False

    def compute(self, patches: list[Tensor], rows: AxisWindow, cols: AxisWindow, numbers: dict[str, Any]) -> Tensor:
        """See `Step`."""
        query, *others = (patch.flatten(-2).transpose(-2, -1) for patch in patches)
        bias = others.pop(0).to(query.dtype) if self.biased else None
        half = len(others) // 2
        key, value = (each[0] if half == 1 else torch.cat(each, -2) for each in (others[:half], others[half:]))
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=self.scale)
        return apart(found.transpose(-2, -1), patches[0])

    def reads_whole(self, index: int) -> bool:
        """See `Step`."""
        return index > int(self.biased)

    def cost(self, rows: int, cols: int) -> float:
        """See `Step`."""
        return float(2 * rows * cols * self.keys * self.depth)


def scaled_dot_product(call: Call, context: Context) -> list[Step]:
    """The one operation; dropout, and causal masks, have no rule."""
    given = call.arguments
    if given.get("is_causal") or given.get("dropout_p"):
        return []
    query, key, value = (given[each].name for each in ("query", "key", "value"))
    if not context.tokens.keys() >= {query, key, value}:
        return []
    groups, bias = context.tokens[query], given.get("attn_mask")
    if any(context.tokens[name] != groups for name in (key, value)) or not _are_rows(groups, context, query):
        return []
    scores = Scores(query, key, groups)
    if bias is not None:
        added = _same_for_all_images(bias.name, context)
        if added is None:
            return []
        context.constants[f"{call.name}/mask"] = added
        scores = replace(scores, bias=f"{call.name}/mask")
    return _attended(call, context, scores, value, groups, given.get("scale"))


def _same_for_all_images(name: str, context: Context) -> Tensor | None:
    """What is added to scores of each image, if it depends on no other thing of them than how many there are."""
    if name in context.constants:
        return context.constants[name]
    if name not in context.for_two:
        return None
    first, second = context.for_two[name].chunk(2)
    if not torch.equal(first, second):
        return None
    # What is merged with the batch, such as windows, is apart.
    return first if len(first) == 1 else first[None]


def note_scores(call: Call, context: Context, query: str, key: str) -> None:
    """Notes a product of queries and keys, from which attention may be made; by itself it is of the whole image."""
    groups, given = context.tokens[query], call.arguments
    if not _are_rows(groups, context, query) or context.tokens[key] != _swapped(groups):
        return
    scores = Scores(query, key, groups)
    if call.operation == "baddbmm":
        added = given["self"].name
        if (given["beta"], given["alpha"]) != (1, 1) or added not in context.constants:
            return
        scores = replace(scores, bias=added)
    context.scores[call.name] = scores


def of_scores(call: Call, context: Context, values: list[str]) -> list[Step]:
    """Notes what becomes of scores; the steps where they are multiplied with values."""
    if call.operation in PRODUCTS:
        return _weighted(call, context, *values) if len(values) == 2 and call.operation != "baddbmm" else []
    (scores, *others), given = (context.scores.get(name) for name in values), call.arguments
    if scores is None or others:
        return []
    rank, dim = len(call.shape), given.get("dim")
    if call.operation in _KEEPS:
        context.scores[call.name] = scores
    elif call.operation == "softmax" and not scores.weights:
        if dim in (-1, rank - 1) and given.get("dtype") in (None, context.precision):
            context.scores[call.name] = replace(scores, weights=True)
    elif call.operation in ("mul", "div") and not scores.weights and not given.get("rounding_mode"):
        _note_scaled(call, context, scores)
    elif call.operation in ("add", "masked_fill") and not scores.weights:
        _note_added(call, context, scores)
    elif call.operation in _VIEWS:
        _note_viewed(call, context, scores, context.shapes[values[0]])
    elif call.operation in _SWAPS and len(context.shapes[values[0]]) == rank:
        moved = tuple(call.run({values[0]: torch.empty(tuple(range(rank)), device="meta")}).shape)
        if moved == (*range(rank - 2), rank - 1, rank - 2):
            context.scores[call.name] = _swapped_scores(call, context, scores)
    return []


def _swapped_scores(call: Call, context: Context, scores: Scores) -> Scores:
    """Scores in columns and rows; before a softmax, as if the keys asked."""
    if scores.weights:
        return replace(scores, swapped=not scores.swapped)
    bias = scores.bias
    if bias is not None:
        constant = context.constants[bias]
        bias = f"{call.name}/bias"
        context.constants[bias] = constant.reshape(*(1,) * (2 - constant.ndim), *constant.shape).transpose(-2, -1)
    return replace(scores, query=scores.key, key=scores.query, bias=bias)


def _note_scaled(call: Call, context: Context, scores: Scores) -> None:
    """Scores times a number, or by one."""
    (name,) = (each for each in call.reads() if each in context.scores)
    numbers = [each for each in (call.arguments["self"], call.arguments["other"]) if each != Ref(name)]
    factor = numbers[0] if len(numbers) == 1 else None
    if isinstance(factor, Ref) and factor.name in context.constants and context.constants[factor.name].numel() == 1:
        factor = float(context.constants[factor.name])
    if not isinstance(factor, (int, float)) or (call.operation == "div" and call.arguments["self"] != Ref(name)):
        return
    if call.operation == "div":
        factor = 1 / factor if factor else math.nan
    bias = scores.bias
    if bias is not None:
        context.constants[f"{call.name}/bias"] = context.constants[bias] * factor
        bias = f"{call.name}/bias"
    context.scores[call.name] = replace(scores, scale=scores.scale * factor, bias=bias)


def _note_viewed(call: Call, context: Context, scores: Scores, before: tuple[int | None, ...]) -> None:
    """Scores whose windows are split from the batch, or merged with it again."""
    blocks, last = context.blocks.get(scores.query), len(context.shapes[scores.query]) - 2
    if blocks is None or scores.groups[0] != (0, last, last + 2):
        return
    count = math.prod(size // each for size, each in zip(context.size(scores.query), blocks, strict=True))
    apart, merged = (call.shape, before) if not scores.windows else (before, call.shape)
    if merged[0] is None and apart == (None, count, *merged[1:]):
        context.scores[call.name] = replace(scores, windows=not scores.windows)


def _note_added(call: Call, context: Context, scores: Scores) -> None:
    """Scores with a constant added, or without those that a constant mask excludes."""
    given = call.arguments
    names = [each for each in call.reads() if each not in context.scores]
    added = _same_for_all_images(names[0], context) if len(names) == 1 else None
    if added is None or len(call.shape) < added.ndim:
        return
    if call.operation == "masked_fill":
        if given["value"] != -math.inf:
            return
        added = _of_mask(~added)
    elif given.get("alpha", 1) != 1 or not added.is_floating_point():
        return
    # Those for each window are told by their dimensions.
    added = added.reshape(*(1,) * (len(call.shape) - added.ndim), *added.shape)
    bias = f"{call.name}/bias"
    context.constants[bias] = added if scores.bias is None else context.constants[scores.bias] + added
    context.scores[call.name] = replace(scores, bias=bias)


def _weighted(call: Call, context: Context, left: str, right: str) -> list[Step]:
    """Weights times values, or transposed: values times weights."""
    scores, value = context.scores.get(left), right
    swapped = scores is None
    if scores is None:
        scores, value = context.scores.get(right), left
    if scores is None or not scores.weights or scores.swapped is not swapped or value not in context.tokens:
        return []
    if scores.windows:
        return []
    groups = scores.groups
    given = _swapped(groups) if swapped else groups
    if context.tokens[value] != given:
        return []
    return _attended(call, context, scores, value, given, scores.scale)


def _attended(
    call: Call, context: Context, scores: Scores, value: str, groups: Groups, scale: float | None
) -> list[Step]:
    """Attention to keys and values with the same heads, whose result the network has in these groups."""
    query, key = scores.query, scores.key
    *heads, depth = channels_of(context, value)
    if any(channels_of(context, name)[:-1] != heads for name in (query, key)):
        return []
    blocks = {context.blocks.get(name) for name in (query, key, value)}
    if blocks != {None}:
        return _in_windows(call, context, scores, value, groups, scale) if len(blocks) == 1 else []
    keys, values = parts_of(context, key), parts_of(context, value)
    sizes = [context.size(part) for part in keys]
    if [context.size(part) for part in values] != sizes:
        return []
    asked, asking = (sum(math.prod(context.size(part)) for part in parts_of(context, each)) for each in (key, query))
    bias = None
    if scores.bias is not None:
        bias = _as_kept(context, scores, asking, asked)
        if bias is None:
            return []
    parts, steps, first = parts_of(context, query), [], 0
    names = [call.name] if len(parts) == 1 else [f"{call.name}/{index}" for index in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        size = context.size(part)
        local = [part]
        if bias is not None:
            key_of = f"{call.name}/bias/{first}"
            added = bias[..., first : first + math.prod(size)]
            context.constants[key_of] = added.reshape(*added.shape[:-1], *size)
            local.append(context.as_value(key_of, added.ndim + 1))
        inputs = (*local, *keys, *values)
        each = [context.size(given) for given in inputs]
        kind = Global if part in context.summaries else _AskingAxis
        settings = {} if part in context.summaries else {"local": len(local)}
        rows, cols = (kind(tuple(given[dim] for given in each), size[dim], **settings) for dim in (0, 1))
        context.shapes[name], context.tokens[name] = (None, *heads, depth, *size), groups
        steps.append(Attention(
            name, call.label, inputs, rows, cols, scale=scale, keys=asked, depth=depth, biased=bias is not None,
        ))  # fmt: skip
        first += math.prod(size)
    if len(names) > 1:
        merge(call.name, names, context)
    return [*steps]


def _in_windows(
    call: Call, context: Context, scores: Scores, value: str, groups: Groups, scale: float | None
) -> list[Step]:
    """Attention of the tokens in each window, which is all that these depend on."""
    blocks, size = context.blocks[value], context.size(value)
    inputs: tuple[str, ...] = (scores.query, scores.key, value)
    if any(context.size(name) != size for name in inputs):
        return []
    if scores.bias is not None:
        count = math.prod(blocks)
        bias = _as_kept(context, scores, count, count)
        if bias is None:
            return []
        context.constants[f"{call.name}/bias/0"] = bias
        inputs = (*inputs, context.as_value(f"{call.name}/bias/0", bias.ndim))

    def attend(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        count = max(map(len, patches))
        every = (patch.expand(count, *patch.shape[1:]) for patch in patches)
        each = [in_blocks(patch, blocks).movedim((-4, -2), (1, 2)) for patch in every]
        query, key, value, *biases = (patch.flatten(-2).transpose(-2, -1).flatten(0, 2) for patch in each)
        bias = biases[0].to(query.dtype) if biases else None
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale)
        apart = found.transpose(-2, -1).reshape(*each[2].shape)
        return apart.movedim((1, 2), (-4, -2)).reshape(patches[2].shape)

    context.shapes[call.name], context.tokens[call.name] = context.shapes[value], groups
    work = 2.0 * math.prod(blocks) * math.prod(channels_of(context, value))
    return [block_step(call, context, inputs, blocks, attend, work)]


def _as_kept(context: Context, scores: Scores, asking: int, asked: int) -> Tensor | None:
    """What is added to scores, as (1, heads, keys, queries), or (1, heads, keys, rows, columns) of tokens in windows.

    None if it is not the same for all images.
    """
    last, heads = len(context.shapes[scores.query]) - 2, channels_of(context, scores.query)[:-1]
    blocks, windows = context.blocks.get(scores.query), 1
    leading = [group for group in scores.groups[:-2] if group != (last, last + 2)]
    bias = context.constants[scores.bias or ""]
    whole = _of_mask(bias) if bias.dtype == torch.bool else bias
    whole = whole.reshape(*(1,) * (len(scores.groups) - bias.ndim), *bias.shape)
    if blocks is not None and whole.ndim == len(leading) + 3:
        if len(whole) != 1:
            return None
        whole = whole[0]
        windows = len(whole)
    sizes: list[int] = []
    for place, group in enumerate(leading):
        size, each = whole.shape[place], [heads[kept - 1] for kept in group if 0 < kept <= len(heads)]
        if place and size != 1 and (0 in group or size != math.prod(each)):
            return None
        sizes += [1] * len(each) if size == 1 or not place else each
    if whole.ndim != len(leading) + 2 or len(whole) != windows:
        return None
    if not (whole.shape[-2] in (1, asking) and whole.shape[-1] in (1, asked)):
        return None
    whole = whole.reshape(windows, *sizes, *whole.shape[-2:]).expand(windows, *sizes, asking, asked).transpose(-2, -1)
    if blocks is None:
        return whole
    (rows, cols), (height, width) = blocks, context.size(scores.query)
    grid = height // rows, width // cols
    whole = whole.expand(math.prod(grid), *whole.shape[1:]).reshape(*grid, *sizes, asked, *blocks)
    moved: Tensor = whole.movedim((0, 1), (-4, -2))
    return moved.reshape(1, *sizes, asked, height, width)


def _of_mask(mask: Tensor) -> Tensor:
    """What is added to scores where a mask says which of them count."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -math.inf)


def _are_rows(groups: Groups, context: Context, name: str) -> bool:
    """Whether a value is (..., tokens, channels), with heads as they are kept; windows may be merged with the batch."""
    last = len(context.shapes[name]) - 2
    leading = [each for group in groups[:-2] for each in group]
    if name not in context.blocks:
        return leading == [*range(last - 1)] and groups[-2:] == ((last,), (last - 1,))
    heads = [each for each in leading if each < last]
    windows = [each for each in leading if each >= last]
    return (heads, windows, groups[-2:]) == ([*range(last - 1)], [last, last + 2], ((last + 1, last + 3), (last - 1,)))


def _swapped(groups: Groups) -> Groups:
    return (*groups[:-2], groups[-1], groups[-2])
