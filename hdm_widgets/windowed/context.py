"""What rules know of a call, and the steps that many of them make."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hdm_widgets.windowed.axes import Pointwise
from hdm_widgets.windowed.calls import Call, Number, Ref, refs
from hdm_widgets.windowed.steps import Function, FunctionStep

__all__ = [
    "Context", "Groups", "Order", "Scores", "function_of", "in_blocks", "is_spatial", "map_input",
    "pointwise", "spatial_input", "spatial_size",
]  # fmt: skip


# Of dimensions: see `Context.orders`.
Order = tuple[int, ...]
# Of dimensions that are merged: see `Context.tokens`.
Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Scores:
    """How much every query, in rows, asks for every key, in columns.

    Attributes
    ----------
    query, key : str
        Names of the values that were multiplied.
    groups : tuple of tuple of int
        How the network has the queries, in rows: see `Context.tokens`.
    scale : float
    bias : str or None
        Name of the constant that is added after scaling.
    windows : bool
        Whether the windows of tokens are a dimension of their own, after the batch.
    weights : bool
        Whether those of a query sum to 1 already.
    swapped : bool
        Whether queries are in columns instead, as those of weights may be.
    """

    query: str
    key: str
    groups: Groups
    scale: float = 1.0
    bias: str | None = None
    windows: bool = False
    weights: bool = False
    swapped: bool = False


@dataclass(frozen=True, eq=False)
class Context:
    """What is known of the values that a call reads.

    Attributes
    ----------
    shapes : dict of str to tuple
        Shapes of the values that depend on the image, as they are kept; None in place of a size that depends on the
        batch.
    numbers : dict of str to Number
        Numbers that depend on how many images there are.
    constants : dict of str to torch.Tensor
        All other tensors.
    as_value : callable
        Makes a constant a value of the network with so many dimensions, and gives its name.
    precision : torch.dtype
        In which weights of resampling are computed.
    for_two : dict of str to torch.Tensor
        Values that depend on how many images there are and on nothing else of them, for two images.
    orders : dict of str to tuple of int
        Of values that the network has in another order than they are kept: dimension i of the network's tensor is
        dimension `order[i]` of what is kept.
    tokens : dict of str to tuple of tuple of int
        Of values that the network has with rows and columns merged: see `tokens`.
    parts : dict of str to tuple of str
        Of tokens from several sources in one tensor, the values that these are kept as: see `tokens`.
    blocks : dict of str to tuple of int
        Of tokens in windows, rows and columns of a window: see `tokens`.
    scores : dict of str to Scores
        Values that are of all pairs of tokens, of which attention is made.
    factors : dict
        How calls that were seen rearrange dimensions: see `token_orders`.
    summaries : set of str
        Values that are of a whole map and have no positions in it, such as means, class tokens and what is computed
        from them.
    """

    shapes: dict[str, tuple[int | None, ...]]
    numbers: Mapping[str, Number]
    constants: dict[str, Tensor]
    as_value: Callable[[str, int], str]
    precision: torch.dtype
    for_two: dict[str, Tensor] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    tokens: dict[str, Groups] = field(default_factory=dict)
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    blocks: dict[str, tuple[int, int]] = field(default_factory=dict)
    scores: dict[str, Scores] = field(default_factory=dict)
    factors: dict[object, list[list[tuple[int, int]]] | None] = field(default_factory=dict)
    summaries: set[str] = field(default_factory=set)

    def as_given(self, name: str, kept: Tensor) -> Tensor:
        """A value, or a patch of it, as the network has it."""
        if name in self.tokens:
            groups = self.tokens[name]
            merged = in_blocks(kept, self.blocks[name]) if name in self.blocks else kept.flatten(-2)
            sizes = [math.prod(merged.shape[dim] for dim in group) for group in groups]
            return merged.permute([dim for group in groups for dim in group]).reshape(sizes)
        return kept.permute(self.orders[name]) if name in self.orders else kept

    def order(self, name: str) -> Order:
        """The order of a value's dimensions."""
        return self.orders.get(name, tuple(range(len(self.shapes[name]))))

    def keep(self, call: Call, order: Order) -> None:
        """Keep the result of a call, which the network has in this order, with rows and columns last."""
        self.shapes[call.name] = tuple(call.shape[order.index(kept)] for kept in range(len(order)))
        if list(order) != sorted(order):
            self.orders[call.name] = order

    def size(self, name: str) -> tuple[int, int]:
        """Rows and columns of a value, (1, 1) if it has none."""
        return spatial_size(self.shapes[name] if name in self.shapes else tuple(self.constants[name].shape))


def in_blocks(kept: Tensor, sizes: tuple[int, int]) -> Tensor:
    """Rows and columns (..., H, W) of a map in windows of these sizes: (..., H / rows, rows, W / columns, columns)."""
    *others, height, width = kept.shape
    rows, cols = sizes
    return kept.reshape(*others, height // rows, rows, width // cols, cols)


def is_spatial(shape: tuple[int | None, ...]) -> bool:
    """Whether a value has the batch as its first dimension, and rows and columns as its last two."""
    return len(shape) >= 3 and shape[0] is None and all(isinstance(size, int) for size in shape[1:])


def spatial_size(shape: tuple[int | None, ...]) -> tuple[int, int]:
    """Rows and columns of a value, (1, 1) if it has none."""
    return (int(shape[-2] or 1), int(shape[-1] or 1)) if is_spatial(shape) else (1, 1)


def spatial_input(call: Call, context: Context, argument: str) -> str | None:
    """Name of the value in an argument, if it has rows and columns and is the only one that the call reads."""
    given = call.arguments.get(argument)
    if not isinstance(given, Ref) or not is_spatial(context.shapes.get(given.name, ())):
        return None
    others = [name for key, value in call.arguments.items() if key != argument for name in refs(value)]
    return None if any(name in context.shapes for name in others) else given.name


def map_input(call: Call, context: Context, argument: str) -> str | None:
    """Name of the value in an argument, if it is (N, C, H, W) and the only one that the call reads."""
    name = spatial_input(call, context, argument)
    return name if name is not None and len(context.shapes[name]) == 4 else None


def function_of(call: Call, context: Context, inputs: tuple[str, ...]) -> Function:
    """The call as a function of patches of the values `inputs`, which are named as the call names them."""
    constants = {name: context.constants[name] for name in call.reads() if name in context.constants}

    def run(patches: list[Tensor], numbers: dict[str, Any]) -> Tensor:
        given = [context.as_given(name, patch) for name, patch in zip(inputs, patches, strict=True)]
        result: Tensor = call.run({**constants, **numbers, **dict(zip(inputs, given, strict=True))})
        return result

    return run


def pointwise(call: Call, context: Context, names: tuple[str, ...], function: Function | None = None) -> FunctionStep:
    """A step that maps every position of the values `names` by itself, by `function` or else by the call."""
    sizes = [context.size(name) for name in names]
    size = context.size(call.name)
    rows, cols = (Pointwise(tuple(each[dim] for each in sizes), size[dim]) for dim in (0, 1))
    return FunctionStep(
        call.name, call.label, names, rows, cols, function=function or function_of(call, context, names)
    )
