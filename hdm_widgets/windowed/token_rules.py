"""Which step an operation on tokens becomes: see `tokens` for how these are kept.

A layer that looks at every token by itself stays local.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from hdm_widgets.windowed.attention import PRODUCTS, note_scores, of_scores, scaled_dot_product
from hdm_widgets.windowed.axes import Global, Window
from hdm_widgets.windowed.calls import Call, Ref, replaced
from hdm_widgets.windowed.context import Context, function_of, is_spatial, pointwise
from hdm_widgets.windowed.steps import Convolution, FunctionStep, Step
from hdm_widgets.windowed.token_orders import rearranged
from hdm_widgets.windowed.tokens import (
    adopted,
    channels_of,
    in_groups,
    is_of_channels,
    merge,
    of_part,
    parts_of,
    position_dim,
    sizes_of,
    token_values,
)

__all__ = ["token_steps"]

_REARRANGES = (
    "_unsafe_view", "alias", "contiguous", "flatten", "movedim", "permute", "reshape", "squeeze", "swapaxes",
    "swapdims", "transpose", "unflatten", "unsqueeze", "view",
)  # fmt: skip
_ELEMENTWISE = (
    "add", "clone", "div", "dropout", "gelu", "hardswish", "leaky_relu", "mish", "mul", "neg", "relu", "sigmoid",
    "silu", "sub", "tanh", "_to_copy", "to",
)  # fmt: skip
_TAKES = ("chunk", "narrow", "select", "slice", "split", "split_with_sizes", "tensor_split", "unbind")
_OVER_CHANNELS = (*_TAKES, "softmax")


def token_steps(call: Call, context: Context) -> list[Step]:
    """The steps of a call that makes, takes or gives tokens; none where no rule applies."""
    values = token_values(call, context)
    if any(name in context.scores for name in values):
        return of_scores(call, context, [name for name in values if name not in context.for_two])
    made = call.operation in _REARRANGES and len(values) == 1 and is_spatial(context.shapes[values[0]])
    if made and values[0] not in context.summaries:
        return rearranged(call, context, values[0])
    if not any(name in context.tokens for name in values):
        return []
    steps = _steps(call, context, values)
    # What is computed from tokens that are no positions is none either; no map with one row is made tokens.
    context.summaries.update(
        step.name for step in steps if step.name in context.tokens and context.size(step.name)[0] == 1
    )
    return steps


def _steps(call: Call, context: Context, values: list[str]) -> list[Step]:
    if call.operation == "cat" and _is_along_tokens(call, context, values):
        return _joined(call, context, values)
    if call.operation in _ELEMENTWISE or call.operation == "cat":
        call, adopting = _with_adopted(call, context, values)
        found = _by_parts(call, context) if context.tokens.keys() >= set(token_values(call, context)) else []
        return [*adopting, *found] if found else []
    if call.operation == "scaled_dot_product_attention":
        return scaled_dot_product(call, context)
    if not all(name in context.tokens for name in values):
        return []
    if call.operation in PRODUCTS and len(values) == 2:
        note_scores(call, context, *values)
    if len(values) != 1:
        return []
    if call.operation in _TAKES and _is_along_tokens(call, context, values):
        return _taken(call, context, values[0])
    return _by_parts(call, context)


def _by_parts(call: Call, context: Context) -> list[Step]:
    """A call that looks at every token by itself."""
    values = token_values(call, context)
    sizes = {name: [context.size(part) for part in parts_of(context, name)] for name in values}
    like = max(values, key=lambda name: (len(sizes[name]), sizes[name]))
    parts = parts_of(context, like)
    # What is one token is the same for all of them.
    if any(each not in (sizes[like], [(1, 1)]) for each in sizes.values()):
        return []
    if len(parts) == 1:
        step = _of_each(call, context, values)
        return [] if step is None else [step]
    steps: list[Step] = []
    for index, part in enumerate(parts):
        first = sum(math.prod(context.size(each)) for each in parts[:index])
        each = of_part(call, context, index, f"{call.name}/{index}")
        if call.operation in _ELEMENTWISE:
            each = _with_constants_of_part(each, context, like, first, math.prod(context.size(part)))
        step = _of_each(each, context, token_values(each, context))
        if step is None:
            return []
        steps.append(step)
    merge(call.name, [step.name for step in steps], context)
    return steps


def _of_each(call: Call, context: Context, values: list[str]) -> Step | None:
    """The step of a call that looks at every token by itself, on tokens of one kind."""
    name = values[0]
    if call.operation == "cat":
        return _channels_joined(call, context, values)
    if call.operation in _ELEMENTWISE:
        return _elementwise(call, context, values)
    if call.operation == "linear":
        return _linear(call, context, name)
    if call.operation == "layer_norm":
        groups, count = context.tokens[name], len(call.arguments["normalized_shape"])
        inside = all(is_of_channels(group, context, name) for group in groups[-count:])
        return in_groups(call, context, values, groups, channels_of(context, name)) if inside else None
    return _over_channels(call, context, name) if call.operation in _OVER_CHANNELS else None


def _is_along_tokens(call: Call, context: Context, values: list[str]) -> bool:
    """Whether the dimension that a call names is that of the tokens."""
    name = next(name for name in values if name in context.tokens)
    dim = call.arguments.get("dim", 0)
    return isinstance(dim, int) and dim % len(context.tokens[name]) == position_dim(context, name)


def _joined(call: Call, context: Context, values: list[str]) -> list[Step]:
    """Tokens after others, such as a class token that is a parameter."""
    like = next(name for name in values if name in context.tokens)
    dim = position_dim(context, like)
    given = [part.name for part in call.arguments["tensors"]]
    if dim is None or not context.shapes.keys() >= set(given):
        return []
    steps: list[Step] = []
    parts: list[str] = []
    for index, name in enumerate(given):
        if name in context.tokens:
            if context.tokens[name] != context.tokens[like] or channels_of(context, name) != channels_of(context, like):
                return []
            parts += parts_of(context, name)
            continue
        shape = context.shapes[name]
        count = shape[dim] if len(shape) > dim else None
        part = f"{call.name}/{index}"
        step = count and adopted(part, call.label, name, like, (1, count), 0, context)
        if not step:
            return []
        steps.append(step)
        parts.append(part)
    merge(call.name, parts, context)
    return steps


def _taken(call: Call, context: Context, name: str) -> list[Step]:
    """Some of the tokens, side by side: those that are positions, all or none of them."""
    groups, dim, parts = context.tokens[name], position_dim(context, name), parts_of(context, name)
    counts = [math.prod(context.size(part)) for part in parts]
    constants = {each: context.constants[each] for each in call.reads() if each in context.constants}
    numbered = torch.arange(sum(counts)).view([-1 if each == dim else 1 for each in range(len(groups))])
    if not {name, *constants}.issuperset(call.reads()):
        return []
    taken = call.run({**constants, name: numbered})
    positions, chosen, steps, first = taken.flatten().tolist(), [], [], 0
    if not positions or positions != [*range(positions[0], positions[-1] + 1)]:
        return []
    for part, count in zip(parts, counts, strict=True):
        lo, hi = max(positions[0] - first, 0), min(positions[-1] + 1 - first, count)
        first += count
        if lo < hi and (lo, hi) != (0, count) and part not in context.summaries:
            return []
        if lo < hi:
            chosen.append((part, lo, hi))
    if call.operation == "select":
        ((part, index, _),) = chosen
        return [_token_alone(call, context, part, index)] if part in context.summaries else []
    if taken.ndim < len(groups):
        return []
    names = [call.name] if len(chosen) == 1 else [f"{call.name}/{index}" for index in range(len(chosen))]
    for each, (part, lo, hi) in zip(names, chosen, strict=True):
        steps.append(_part_of(call, context, each, part, lo, hi))
    if len(names) > 1:
        merge(call.name, names, context)
    return steps


def _part_of(call: Call, context: Context, name: str, part: str, lo: int, hi: int) -> Step:
    """Positions as they are, or some of the tokens that are none."""
    if part not in context.summaries:
        context.shapes[name], context.tokens[name] = context.shapes[part], context.tokens[part]
        return pointwise(replace(call, name=name), context, (part,), lambda patches, _: patches[0])
    context.shapes[name], context.tokens[name] = (*context.shapes[part][:-1], hi - lo), context.tokens[part]
    rows, cols = Global((1,), 1), Global((context.size(part)[1],), hi - lo)
    return FunctionStep(name, call.label, (part,), rows, cols, function=lambda patches, _: patches[0][..., lo:hi])


def _token_alone(call: Call, context: Context, part: str, index: int) -> Step:
    """One token that is no position, by itself."""
    alone = replace(call, arguments={**call.arguments, "self": Ref(part), "index": index})
    rows, cols = (Global((size,), 1) for size in context.size(part))
    return FunctionStep(call.name, call.label, (part,), rows, cols, function=function_of(alone, context, (part,)))


def _with_adopted(call: Call, context: Context, values: list[str]) -> tuple[Call, list[Step]]:
    """The call with values as tokens that have no rule of their own; their changes are left out."""
    like = next(name for name in values if name in context.tokens)
    steps: list[Step] = []
    for name in values:
        if name in context.tokens:
            continue
        first, parts = 0, []
        if _is_one_token(context, name, like):
            step = adopted(f"{call.name}/{name}", call.label, name, like, (1, 1), 0, context)
            if step is None:
                return call, []
            # Of the whole map, as a gate is.
            steps.append(replace(step, frozen=name not in context.summaries))
            arguments = {key: replaced(argument, name, step.name) for key, argument in call.arguments.items()}
            call = replace(call, arguments=arguments)
            continue
        for index, part in enumerate(parts_of(context, like)):
            size = context.size(part)
            step = adopted(f"{call.name}/{name}/{index}", call.label, name, like, size, first, context)
            if step is None:
                return call, []
            first += math.prod(size)
            steps.append(step)
            parts.append(step.name)
        kept = parts[0]
        if len(parts) > 1:
            kept = f"{call.name}/{name}"
            merge(kept, parts, context)
        arguments = {key: replaced(argument, name, kept) for key, argument in call.arguments.items()}
        call = replace(call, arguments=arguments)
    return call, steps


def _is_one_token(context: Context, name: str, like: str) -> bool:
    shape, dim = context.shapes[name], position_dim(context, like)
    return dim is not None and len(shape) == len(context.tokens[like]) and shape[dim] == 1


def _with_constants_of_part(call: Call, context: Context, name: str, first: int, count: int) -> Call:
    """The call with that part of constants that belongs to some of the tokens."""
    groups, dim = context.tokens[name], position_dim(context, name)
    if dim is None:
        return call
    after = len(groups) - dim
    for each in call.reads():
        constant = context.constants.get(each)
        if constant is not None and constant.ndim >= after and constant.shape[-after] != 1:
            part = f"{each}/{first}:{first + count}"
            context.constants[part] = constant.narrow(-after, first, count)
            arguments = {key: replaced(argument, each, part) for key, argument in call.arguments.items()}
            call = replace(call, arguments=arguments)
    return call


def _elementwise(call: Call, context: Context, names: list[str]) -> Step | None:
    call = _with_token_constants(call, context, max(names, key=context.size))
    names = sorted(token_values(call, context), key=context.size, reverse=True)
    (groups, *others), name = (context.tokens[each] for each in names), names[0]
    channels = channels_of(context, name)
    sizes = {context.size(each) for each in names}
    if any(each != groups for each in others) or not sizes <= {context.size(name), (1, 1)}:
        return None
    if len({context.blocks.get(each) for each in names}) != 1:
        return None
    if len(call.shape) != len(groups):
        return None
    for each in call.reads():
        constant = context.constants.get(each)
        # One that is the same for all tokens.
        if constant is not None and any(
            size != 1 and not is_of_channels(group, context, name)
            for size, group in zip(reversed(constant.shape), reversed(groups), strict=False)
        ):
            return None
    for dim, group in enumerate(groups):
        if len(group) == 1 and is_of_channels(group, context, name):
            channels[group[0] - 1] = int(call.shape[dim] or 0)
        elif any(sizes_of(context, each, group) != sizes_of(context, name, group) for each in names):
            return None
    return in_groups(call, context, names, groups, channels)


def _with_token_constants(call: Call, context: Context, name: str) -> Call:
    """The call with constants that differ from token to token, such as embeddings of positions, as values."""
    groups, size = context.tokens[name], context.size(name)
    flat = [kept for group in groups for kept in group]
    for each in call.reads():
        constant = context.constants.get(each)
        if constant is None or constant.ndim > len(groups) or len(flat) != len(groups) or name in context.blocks:
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
    if not is_of_channels(groups[-1], context, name) or len(groups[-1]) != 1:
        return None
    matrix, channels = context.constants[weight.name], channels_of(context, name)
    channels[groups[-1][0] - 1] = len(matrix)
    # Tokens that are no positions need no copy of the weights.
    if len(channels) != 1 or context.size(name)[0] == 1:
        return in_groups(call, context, [name], groups, channels)
    context.shapes[call.name] = (None, *channels, *context.size(name))
    context.tokens[call.name] = groups
    if name in context.blocks:
        context.blocks[call.name] = context.blocks[name]
    rows, cols = (Window(size, size, 1, 1, 0) for size in context.size(name))
    return Convolution(
        call.name, call.label, (name,), rows, cols, 0.0, weight=matrix[..., None, None],
        bias=context.constants[bias.name] if isinstance(bias, Ref) else None,
    )  # fmt: skip


def _channels_joined(call: Call, context: Context, values: list[str]) -> Step | None:
    """Channels of some tokens after those of others."""
    groups, channels, dim = context.tokens[values[0]], channels_of(context, values[0]), call.arguments["dim"]
    group = groups[dim % len(groups)]
    if len({(context.size(name), context.blocks.get(name)) for name in values}) != 1:
        return None
    if any(context.tokens.get(name) != groups for name in values) or set(values) != set(call.reads()):
        return None
    if len(group) != 1 or not is_of_channels(group, context, values[0]):
        return None
    channels[group[0] - 1] = int(call.shape[dim] or 0)
    return in_groups(call, context, values, groups, channels)


def _over_channels(call: Call, context: Context, name: str) -> Step | None:
    """What takes, splits or weighs the channels of one dimension."""
    groups, channels, dim = context.tokens[name], channels_of(context, name), call.arguments.get("dim")
    if not isinstance(dim, int):
        return None
    group = groups[dim % len(groups)]
    if len(group) != 1 or not is_of_channels(group, context, name):
        return None
    (kept,) = group
    if len(call.shape) == len(groups):
        channels[kept - 1] = int(call.shape[dim] or 0)
    else:
        del channels[kept - 1]
        left = (each for each in groups if each != group)
        groups = tuple(tuple(each - (each > kept) for each in others) for others in left)
    return in_groups(call, context, [name], groups, channels)
