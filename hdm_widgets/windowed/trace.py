"""A network as a list of calls without side effects."""

from __future__ import annotations

import copy
import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO, cast

import torch
from torch import Tensor, fx, nn
from torch.export import Dim
from torch.export.graph_signature import InputKind, OutputKind

__all__ = ["Call", "Ref", "Trace", "TraceError", "refs", "trace"]

# The tracer tells its own story of what it cannot trace; ours is the error.
_TRACER_LOG = "torch.fx.experimental.symbolic_shapes"
_DROPOUT = re.compile(r"(feature_)?(alpha_)?dropout\.default")


# The tracer has one state for the whole process.
_tracing = threading.Lock()


class TraceError(Exception):
    """The network cannot be written down as a list of calls; the message says why."""


class Ref(NamedTuple):
    """Stands for a value in the arguments of a call."""

    name: str


@dataclass(frozen=True)
class Call:
    """One operation.

    Attributes
    ----------
    name : str
        Of the value it makes.
    target : callable
        An ATen operation, or a function of Python's on sizes.
    arguments : dict
        By the names of the operation's schema (by position for Python's functions); values are `Ref`.
    pick : int or None
        Which of several results is meant.
    module : str
        Path of the module in the network that the call belongs to.
    shape : tuple of (int or None), or None
        None for the batch and whatever depends on it; None as a whole if the value is no tensor.
    """

    name: str
    target: Any
    arguments: dict[str, Any]
    pick: int | None
    module: str
    shape: tuple[int | None, ...] | None

    @property
    def operation(self) -> str:
        """The operation's plain name, as in `torch.nn.functional`."""
        return str(getattr(self.target, "__name__", self.target)).partition(".")[0]

    @property
    def label(self) -> str:
        """The operation and its place in the network, for people."""
        return f"{self.operation} in {self.module}" if self.module else self.operation

    def run(self, values: dict[str, Any]) -> Any:
        """The call itself, on the values that its arguments refer to."""
        found = {name: _filled(argument, values) for name, argument in self.arguments.items()}
        if isinstance(self.target, torch._ops.OpOverload):
            result = _positional(self.target, found)
        else:
            result = self.target(*found.values())
        return result if self.pick is None else result[self.pick]


@dataclass(frozen=True)
class Trace:
    """A network for pictures of one size.

    Attributes
    ----------
    calls : tuple of Call
        In order.
    constants : dict of str to torch.Tensor
        Weights and the like: the network's own tensors, not copies.
    picture, output : str
        Names of the values that go in and come out.
    shape : tuple of int
        Of the picture, (C, H, W).
    """

    calls: tuple[Call, ...]
    constants: dict[str, Tensor]
    picture: str
    output: str
    shape: tuple[int, int, int]


def trace(network: nn.Module, picture: Tensor) -> Trace:
    """Write down what a network in eval mode does with pictures like this one.

    Parameters
    ----------
    network : torch.nn.Module
        (N, C, H, W) to one tensor with N first. It is not altered.
    picture : torch.Tensor (C, H, W)

    Raises
    ------
    TraceError
        If what the network does depends on more than the size of its input.
    """
    example = picture.expand(2, *picture.shape).clone()
    try:
        # Warnings that arise here speak of the tracer's insides.
        with (
            _tracing,
            torch.no_grad(),
            warnings.catch_warnings(),
            _silent(logging.getLogger(_TRACER_LOG)),
            redirect_stderr(cast(TextIO, _Muted())),
        ):
            warnings.simplefilter("ignore")
            program = torch.export.export(_twin(network), (example,), strict=False, dynamic_shapes=({0: Dim.AUTO},))
            _drop_dropouts(program.graph)
            if _writes_into_views(program.graph):
                program = program.run_decompositions({})
    except Exception as error:
        # By its name: the class is in a module that takes long to load.
        if type(error).__name__ == "GuardOnDataDependentSymNode":
            raise TraceError("it cannot be traced: what it does depends on the values it computes") from error
        raise TraceError(f"it cannot be traced ({_first_line(error)})") from error
    sources = {**program.state_dict, **program.constants}
    constants: dict[str, Tensor] = {}
    inputs: list[str] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            inputs.append(spec.arg.name)
        elif isinstance(sources.get(str(spec.target)), Tensor):
            constants[spec.arg.name] = sources[str(spec.target)]
        else:
            raise TraceError(f"it holds {spec.target}, which is no tensor")
    if not program.range_constraints:
        raise TraceError("it works on a fixed number of pictures at a time")
    outputs = [spec.arg.name for spec in program.graph_signature.output_specs if spec.kind is OutputKind.USER_OUTPUT]
    if len(outputs) != 1:
        raise TraceError(f"it gives {len(outputs)} outputs")
    calls, current = _calls(program.graph)
    output = current[outputs[0]]
    return Trace(calls, constants, inputs[0], output, (picture.shape[0], picture.shape[1], picture.shape[2]))


def _twin(network: nn.Module) -> nn.Module:
    """A copy with the same tensors: the tracer puts others in their place meanwhile, and somebody may be using them."""
    tensors = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})


def refs(argument: Any) -> Iterator[str]:
    """Names of all values in an argument."""
    if isinstance(argument, Ref):
        yield argument.name
    elif isinstance(argument, (list, tuple)):
        for item in argument:
            yield from refs(item)


def _filled(argument: Any, values: dict[str, Any]) -> Any:
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


def _calls(graph: fx.Graph) -> tuple[tuple[Call, ...], dict[str, str]]:
    # The value that a node stands for by now: what was written to in place is another value afterwards.
    current: dict[fx.Node, str] = {}
    calls = []

    def ref(argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            return Ref(current[argument])
        if isinstance(argument, (list, tuple)):
            return [ref(item) for item in argument]
        return argument

    for node in graph.nodes:
        current[node] = node.name
        if node.op != "call_function":
            continue
        target, source, pick = node.target, node, None
        if _is_getitem(node) and isinstance(node.args[0].meta["val"], (list, tuple)):
            source, pick = node.args
            target = source.target
        elif isinstance(node.meta.get("val"), (list, tuple)):
            continue  # its parts are values, it is none
        if isinstance(target, torch._ops.OpOverload):
            if not target._schema.returns or target._schema.name == "aten::_assert_tensor_metadata":
                continue
            arguments = {name: ref(value) for name, value in _by_name(target, source)}
            if torch.Tag.nondeterministic_seeded in target.tags and not _draws_nothing(arguments):
                raise TraceError("it draws random numbers")
            if _writes(target):
                target = _without_writing(target)
                written = current[source.args[0]]
                current.update({other: node.name for other, name in current.items() if name == written})
        elif getattr(target, "__module__", "") in ("_operator", "math", "torch"):
            arguments = {str(place): ref(value) for place, value in enumerate(node.args)}
        else:
            raise TraceError(f"it uses {target}, which is no plain operation")
        calls.append(Call(node.name, target, arguments, pick, _module_of(source), _shape_of(node)))
    return tuple(calls), {node.name: name for node, name in current.items()}


def _is_getitem(node: fx.Node) -> bool:
    return getattr(node.target, "__name__", "") == "getitem" and isinstance(node.args[0], fx.Node)


def _by_name(target: torch._ops.OpOverload, node: fx.Node) -> Iterator[tuple[str, Any]]:
    for place, argument in enumerate(target._schema.arguments):
        if place < len(node.args):
            yield argument.name, node.args[place]
        elif argument.name in node.kwargs:
            yield argument.name, node.kwargs[argument.name]
        else:
            yield argument.name, argument.default_value


def _writes(target: torch._ops.OpOverload) -> bool:
    first = target._schema.arguments[0] if target._schema.arguments else None
    return bool(first and first.alias_info and first.alias_info.is_write)


def _without_writing(target: torch._ops.OpOverload) -> torch._ops.OpOverload:
    name = target._schema.name.removeprefix("aten::")
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    plain: torch._ops.OpOverload | None = getattr(packet, target._overloadname, None)
    if not name.endswith("_") or plain is None or _writes(plain):
        raise TraceError(f"it writes in place with {name}")
    return plain


def _draws_nothing(arguments: dict[str, Any]) -> bool:
    """Whether an operation that may drop values is told not to."""
    return arguments.get("dropout_p") == 0 or arguments.get("p") == 0 or arguments.get("training") is False


def _drop_dropouts(graph: fx.Graph) -> None:
    """In eval mode a dropout hands on the very tensor it was given, though its schema does not say so."""
    for node in list(graph.nodes):
        if node.op == "call_function" and _DROPOUT.fullmatch(getattr(node.target, "__name__", "")):
            given = dict(_by_name(node.target, node))
            if given["train"] is False:
                node.replace_all_uses_with(given["input"])
                graph.erase_node(node)


class _Muted:
    """Standard error, but for what this thread writes: the tracer prints half a graph when it gives up."""

    def __init__(self) -> None:
        self._thread, self._stream = threading.get_ident(), sys.stderr

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _writes_into_views(graph: fx.Graph) -> bool:
    """Whether something is written to of which another name is used later."""
    family: dict[fx.Node, set[fx.Node]] = {}
    place = {node: index for index, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        family[node] = {node}
        if node.op != "call_function" or not node.args or not isinstance(node.args[0], fx.Node):
            continue
        first = node.args[0]
        target = node.target
        if not isinstance(target, torch._ops.OpOverload):
            shares = _is_getitem(node)
        else:
            returns = target._schema.returns
            shares = any(value.alias_info for value in returns)
            if _writes(target):
                others = family[first] - {first}
                if first.op == "placeholder" or any(place[user] > place[node] for o in others for user in o.users):
                    return True
        if shares:
            family[first].add(node)
            family[node] = family[first]
    return False


def _module_of(node: fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack else ""
    return path if path.isidentifier() or "." in path else ""


def _shape_of(node: fx.Node) -> tuple[int | None, ...] | None:
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return None
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
