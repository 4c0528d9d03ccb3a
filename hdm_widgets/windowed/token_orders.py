"""Rules that bring the dimensions of tokens in another order, merge or split them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hdm_widgets.windowed.calls import Call, replaced
from hdm_widgets.windowed.context import Context, pointwise
from hdm_widgets.windowed.steps import Step
from hdm_widgets.windowed.tokens import channels_of, merge, parts_of

__all__ = ["rearranged"]

# Images in the numbered tensor that tells where elements go.
_IMAGES = 2


def rearranged(call: Call, context: Context, name: str) -> list[Step]:
    """Dimensions in another order, merged or split: told from where the numbers of all elements go."""
    (rows, cols), parts = context.size(name), parts_of(context, name)
    together = name in context.parts
    if (min(rows, cols) < 2 and not together) or not {name, *context.numbers}.issuperset(call.reads()):
        return []
    arguments = {key: replaced(value, name, "") for key, value in call.arguments.items()}
    order = context.tokens.get(name) or context.orders.get(name)
    # Layers are often alike.
    key = call.target, repr(arguments), context.shapes[name], order, context.blocks.get(name)
    if key not in context.factors:
        context.factors[key] = _factors(call, context, name)
    factors = context.factors[key]
    if factors is None:
        return []
    image = math.prod(channels_of(context, name)) * rows * cols
    # By dimension and place there; a dimension of size 1 has no factors and is kept as one of the channels.
    batch, channels, positions = [], [], []
    for dim, each in enumerate(factors):
        for place, (step, size) in enumerate(each or [(0, 1)]):
            if step == image:
                batch.append((dim, place))
            elif step % (rows * cols) == 0:
                channels.append(((size > 1, -step, dim), size, (dim, place)))
            else:
                positions.append((step, size, (dim, place)))
    positions.sort(reverse=True)
    blocks = _blocks([(step, size) for step, size, _ in positions], rows, cols)
    if blocks is None or len(batch) != 1 or (together and len(positions) > 1):
        return []
    channels.sort()
    kept = [*batch, *(where for *_, where in channels), *(where for *_, where in positions)]
    groups = tuple(
        tuple(kept.index((dim, place)) for place in range(max(len(each), 1))) for dim, each in enumerate(factors)
    )
    sizes = [size for _, size, _ in channels]
    kept_order = tuple(group[0] for group in groups)
    apart = len(positions) == 2
    if apart and (len(kept_order) != len(kept) or kept_order[0] != 0):
        return []

    def reshaped(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
        return patches[0].reshape(len(patches[0]), *sizes, *patches[0].shape[-2:])

    names = [f"{call.name}/{index}" for index in range(len(parts))] if together else [call.name]
    steps: list[Step] = []
    for result, part in zip(names, parts, strict=True):
        context.shapes[result] = (None, *sizes, *context.size(part))
        if not apart:
            context.tokens[result] = groups
            if len(positions) == 4:
                context.blocks[result] = blocks
        elif list(kept_order) != sorted(kept_order):
            context.orders[result] = kept_order
        steps.append(pointwise(replace(call, name=result), context, (part,), reshaped))
    if together:
        merge(call.name, names, context)
    return steps


def _blocks(positions: list[tuple[int, int]], rows: int, cols: int) -> tuple[int, int] | None:
    """Rows and columns of the windows in which positions (step, size) are, the last fastest; None for another order.

    Those of the whole map where they are in no windows.
    """
    if positions in ([(1, rows * cols)], [(cols, rows), (1, cols)]):
        return rows, cols
    if len(positions) != 4:
        return None
    _, (_, height), _, (_, width) = positions
    expected = [(cols * height, rows // height), (cols, height), (width, cols // width), (1, width)]
    return (height, width) if positions == expected else None


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
