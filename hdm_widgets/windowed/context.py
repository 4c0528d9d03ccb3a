"""What rules know of a call, and steps that many of them make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hdm_widgets.windowed.axes import Same
from hdm_widgets.windowed.calls import Call, Ref, refs
from hdm_widgets.windowed.steps import Function, Local

__all__ = ["Context", "input_of", "is_picture_like", "local", "places_of", "runner", "unchanged"]


@dataclass(frozen=True)
class Context:
    """What is known of the values that a call reads.

    Attributes
    ----------
    shapes : dict of str to tuple
        Of the values that depend on the picture; None in place of a size that depends on the batch.
    numbers : set of str
        Values that are no tensors.
    constants : dict of str to torch.Tensor
        The other tensors.
    hold : callable
        Makes a constant a value of the network with so many dimensions, and gives its name.
    precision : torch.dtype
        That the network computes weights of its own in.
    """

    shapes: dict[str, tuple[int | None, ...]]
    numbers: set[str]
    constants: dict[str, Tensor]
    hold: Callable[[str, int], str]
    precision: torch.dtype

    def size(self, name: str) -> tuple[int, int]:
        """Rows and columns of a value; what has none counts as one place."""
        shape = self.shapes[name] if name in self.shapes else tuple(self.constants[name].shape)
        return places_of(shape)


def is_picture_like(shape: tuple[int | None, ...]) -> bool:
    """Whether a value has the batch in front, and rows and columns at the end."""
    return len(shape) >= 3 and shape[0] is None and all(isinstance(size, int) for size in shape[1:])


def places_of(shape: tuple[int | None, ...]) -> tuple[int, int]:
    """Rows and columns of a value; what has none counts as one place."""
    if not is_picture_like(shape):
        return 1, 1
    return int(shape[-2] or 1), int(shape[-1] or 1)


def input_of(call: Call, context: Context, name: str) -> str | None:
    """The one picture-like value that a call works on."""
    argument = call.arguments.get(name)
    if not isinstance(argument, Ref) or not is_picture_like(context.shapes.get(argument.name, ())):
        return None
    others = [ref for key, value in call.arguments.items() if key != name for ref in refs(value)]
    return None if any(other in context.shapes for other in others) else argument.name


def runner(call: Call, context: Context, inputs: tuple[str, ...]) -> Function:
    """The call itself, with patches for the values `inputs`, as the call names them."""
    constants = {name: context.constants[name] for value in call.arguments.values() for name in refs(value)
                 if name in context.constants}  # fmt: skip

    def run(patches: list[Tensor], scalars: dict[str, Any]) -> Tensor:
        result: Tensor = call.run({**constants, **scalars, **dict(zip(inputs, patches, strict=True))})
        return result

    return run


def unchanged(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
    """What needs no arithmetic."""
    return patches[0]


def local(call: Call, context: Context, names: tuple[str, ...], function: Function) -> Local:
    """A step that works place by place on the values `names`."""
    sizes = [context.size(name) for name in names]
    size = places_of(call.shape or ())
    rows, cols = (Same(tuple(each[dim] for each in sizes), size[dim]) for dim in (0, 1))
    return Local(call.name, call.label, names, rows, cols, function=function)
