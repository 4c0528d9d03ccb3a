"""A traced network as data: calls of operations, and the constants and numbers that they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Call", "Number", "Ref", "Trace", "TraceError", "refs", "replaced"]


class TraceError(Exception):
    """The network cannot be traced; the message is a clause that says why, such as "it draws random numbers".

    Attributes
    ----------
    written : frozenset of (str, str)
        Module and name of the attributes that the network had set on itself by then.
    """

    written: frozenset[tuple[str, str]] = frozenset()


class Ref(NamedTuple):
    """Stands for a value, a constant or a number in the arguments of a call."""

    name: str


@dataclass(frozen=True, eq=False)
class Number:
    """A number that depends on how many images are in the batch.

    Attributes
    ----------
    at : callable
        From how many images there are to the number.
    """

    at: Callable[[int], int | float]


@dataclass(frozen=True, eq=False)
class Call:
    """One operation.

    Attributes
    ----------
    name : str
        Name of the value that it computes.
    target : callable
        An ATen operation, or a function of tensors.
    arguments : dict
        By the names in the operation's schema, by position for a function; values, constants and numbers are `Ref`.
    pick : int or None
        Which of the operation's results is meant, if it has several.
    module : str
        Path of the module that makes the call, empty for the network itself.
    shape : tuple of (int or None)
        Shape of the result; None for a size that depends on the batch or on the values.
    """

    name: str
    target: Any
    arguments: dict[str, Any]
    pick: int | None
    module: str
    shape: tuple[int | None, ...]

    @property
    def operation(self) -> str:
        """Plain name of the operation, as in `torch.nn.functional`."""
        return str(getattr(self.target, "__name__", self.target)).partition(".")[0]

    @property
    def label(self) -> str:
        """Human-readable name, such as "conv2d in encoder.0"."""
        return f"{self.operation} in {self.module}" if self.module else self.operation

    def reads(self) -> list[str]:
        """Names of all values, constants and numbers that its arguments refer to, each once."""
        return list(dict.fromkeys(name for argument in self.arguments.values() for name in refs(argument)))

    def run(self, values: Mapping[str, Any]) -> Any:
        """Compute the call from the values, constants and numbers that its arguments refer to."""
        found = {name: _filled(argument, values) for name, argument in self.arguments.items()}
        if isinstance(self.target, torch._ops.OpOverload):
            result = _positional(self.target, found)
        else:
            result = self.target(*found.values())
        return result if self.pick is None else result[self.pick]


@dataclass(frozen=True, eq=False)
class Trace:
    """A network for images of one size.

    Attributes
    ----------
    calls : tuple of Call
        In the order in which they are computed.
    constants : dict of str to torch.Tensor
        Weights and other tensors that do not depend on the image: the network's own tensors, not copies.
    numbers : dict of str to Number
    image, output : str
        Names of the input and of the output.
    shape : tuple of int
        Shape of the image, (C, H, W).
    written : frozenset of (str, str)
        Module and name of the attributes that the network sets on itself.
    baked : tuple of (torch.Tensor, torch.Tensor)
        The constants from which the network took numbers, and copies: with other values, it may do something else.
    """

    calls: tuple[Call, ...]
    constants: dict[str, Tensor]
    numbers: dict[str, Number]
    image: str
    output: str
    shape: tuple[int, int, int]
    written: frozenset[tuple[str, str]] = frozenset()
    baked: tuple[tuple[Tensor, Tensor], ...] = ()


def refs(argument: Any) -> Iterator[str]:
    """Names of everything that an argument refers to."""
    if isinstance(argument, Ref):
        yield argument.name
    elif isinstance(argument, (list, tuple)):
        for item in argument:
            yield from refs(item)


def replaced(argument: Any, old: str, new: str) -> Any:
    """The argument with references to `new` in place of those to `old`."""
    if isinstance(argument, Ref):
        return Ref(new) if argument.name == old else argument
    if isinstance(argument, (list, tuple)):
        return [replaced(item, old, new) for item in argument]
    return argument


def _filled(argument: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(argument, Ref):
        return values[argument.name]
    if isinstance(argument, (list, tuple)):
        return [_filled(item, values) for item in argument]
    return argument


def _positional(target: torch._ops.OpOverload, found: dict[str, Any]) -> Any:
    keywords = {argument.name for argument in target._schema.arguments if argument.kwarg_only}
    return target(
        *(value for name, value in found.items() if name not in keywords),
        **{name: value for name, value in found.items() if name in keywords},
    )
