"""From the list of calls to steps: constants computed, batch norm folded into convolutions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import torch
from torch import Tensor

from hdm_widgets.windowed.axes import Same
from hdm_widgets.windowed.calls import Call, Number, Ref, Trace, TraceError, refs
from hdm_widgets.windowed.context import Context, is_picture_like
from hdm_widgets.windowed.rules import step_of
from hdm_widgets.windowed.steps import Cat, Constant, Convolution, Local, Opaque, Step, TransposedConvolution

__all__ = ["Program", "build"]

# What joins more parts than a decoder does would become many small sums.
_MOST_PARTS = 3
_BATCH_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training")


@dataclass(frozen=True)
class Program:
    """Steps in order.

    Attributes
    ----------
    steps : tuple of Step
    numbers : dict of str to Number
        Numbers that depend on how many images there are.
    sizes : dict of str to tuple of int
        (rows, cols) of every value.
    channels : dict of str to int
        Of every value, where it has any.
    shapeless : frozenset of str
        Values without rows and columns; where they have no batch in front either, pictures cannot share a batch.
    single : bool
        Whether only one picture can be computed at a time.
    picture, output : str
    """

    steps: tuple[Step, ...]
    numbers: dict[str, Number]
    sizes: dict[str, tuple[int, int]]
    channels: dict[str, int]
    shapeless: frozenset[str]
    single: bool
    picture: str
    output: str

    def scalars(self, count: int) -> dict[str, Any]:
        """The numbers, for so many pictures."""
        return {name: number.at(count) for name, number in self.numbers.items()}


def build(trace: Trace) -> Program:
    """Steps for a traced network, with copies of its weights.

    Raises
    ------
    TraceError
        If the network computes with sizes in a way that is not understood.
    """
    shapes: dict[str, tuple[int | None, ...]] = {trace.picture: (None, *trace.shape)}
    constants = {name: value.detach() for name, value in trace.constants.items()}
    held: dict[str, Constant] = {}

    def hold(name: str, rank: int) -> str:
        value = constants[name].detach()
        value = value.reshape(*(1,) * (rank - value.ndim), *value.shape)
        key = f"{name}/{rank}"
        rows, cols = (Same((), int(size)) for size in value.shape[-2:])
        held[key] = Constant(key, name, (), rows, cols, value=value)
        shapes[key] = (None, *value.shape[1:])
        return key

    double = any(value.dtype == torch.float64 for value in constants.values())
    context = Context(shapes, set(trace.numbers), constants, hold, torch.float64 if double else torch.float32)
    uses = Counter(name for call in trace.calls for value in call.arguments.values() for name in refs(value))
    uses[trace.output] += 1
    steps: dict[str, Step] = {}
    for call in trace.calls:
        if call.reads() <= constants.keys():
            with torch.inference_mode():
                constants[call.name] = call.run(constants)
        else:
            if call.arguments.get("training") is True:
                raise TraceError(f"{call.label} looks at all pictures of a batch together")
            if call.operation == "squeeze" and "dim" not in call.arguments:
                raise TraceError(f"{call.label} would squeeze a batch of one picture too")
            shapes[call.name] = call.shape
            earlier = steps.get(_normalised(call))
            if earlier is not None and uses[earlier.name] == 1 and _foldable(earlier, call, constants):
                del steps[earlier.name]
                steps[call.name] = _folded(call, constants, earlier)
            else:
                steps[call.name] = step_of(call, context)
    if trace.output not in steps:
        raise TraceError("its output does not depend on the picture")
    if not is_picture_like(shapes[trace.output]):
        raise TraceError(f"its output has the shape {shapes[trace.output]}")
    ordered = (*held.values(), *map(_laid_out, _apart(list(steps.values()), shapes)))
    names = (trace.picture, *(step.name for step in ordered))
    return Program(
        ordered,
        trace.numbers,
        {name: context.size(name) for name in names},
        {name: int(shapes[name][1] or 0) for name in names if len(shapes[name]) == 4},
        frozenset(name for name in names if not is_picture_like(shapes[name]) and name not in held),
        any(not shape or shape[0] is not None for name, shape in shapes.items() if name not in held)
        or any(isinstance(steps.get(call.name), Opaque) and _over_batch(call) for call in trace.calls),
        trace.picture,
        trace.output,
    )


def _apart(steps: list[Step], shapes: dict[str, tuple[int | None, ...]]) -> Iterator[Step]:
    """Convolutions of joined channels as sums of convolutions of the parts.

    In a decoder a disc changes little of a skip and much of the rest. So the convolution of the skip is done where
    it changed, and taken from the unchanged picture elsewhere.
    """
    uses = Counter(name for step in steps for name in step.inputs)
    joined = {step.name: step for step in steps if isinstance(step, Cat) and uses[step.name] == 1}
    split = {
        step.inputs[0]: step
        for step in steps
        if isinstance(step, Convolution)
        and step.groups == 1
        and step.inputs[0] in joined
        and 1 < len(joined[step.inputs[0]].inputs) <= _MOST_PARTS
    }
    for step in steps:
        if step.name in split:
            continue
        if not isinstance(step, Convolution) or split.get(step.inputs[0]) is not step:
            yield step
            continue
        inputs = joined[step.inputs[0]].inputs
        weights = torch.split(step.weight, [int(shapes[name][1] or 0) for name in inputs], 1)
        names = tuple(f"{step.name}/{place}" for place in range(len(inputs)))
        for place, (name, part, weight) in enumerate(zip(names, inputs, weights, strict=True)):
            shapes[name] = shapes[step.name]
            yield replace(step, name=name, inputs=(part,), weight=weight, bias=None if place else step.bias)
        rows, cols = (Same((axis.size,) * len(names), axis.size) for axis in (step.rows, step.cols))
        yield Local(step.name, step.label, names, rows, cols, function=_sum, in_place=_sum_in_place, fresh=True)


def _sum(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
    return _sum_in_place([patches[0] + patches[1], *patches[2:]], _)


def _sum_in_place(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
    for patch in patches[1:]:
        patches[0].add_(patch)
    return patches[0]


def _over_batch(call: Call) -> bool:
    """Whether a call names the batch among the dimensions that it works along."""
    dims = [call.arguments[key] for key in ("dim", "dims", "dim0", "dim1") if key in call.arguments]
    rank = len(call.shape or ()) or 1
    return any(
        isinstance(dim, int) and dim in (0, -rank)
        for given in dims
        for dim in (given if isinstance(given, list) else [given])
    )


def _normalised(call: Call) -> str:
    argument = call.arguments.get("input") if call.operation in _BATCH_NORMS else None
    return argument.name if isinstance(argument, Ref) else ""


def _foldable(step: Step, call: Call, constants: dict[str, Tensor]) -> TypeGuard[Convolution | TransposedConvolution]:
    given = call.arguments
    statistics = all(isinstance(given[key], Ref) for key in ("running_mean", "running_var"))
    return (
        isinstance(step, (Convolution, TransposedConvolution))
        and not given.get("training")
        and statistics
        and all(given[key] is None or given[key].name in constants
                for key in ("weight", "bias", "running_mean", "running_var"))
    )  # fmt: skip


def _folded(
    call: Call, constants: dict[str, Tensor], step: Convolution | TransposedConvolution
) -> Convolution | TransposedConvolution:
    """A convolution with the batch norm that follows it; in double precision, so that rounding stays the weights'."""
    given = call.arguments
    values = {
        key: constants[given[key].name].double() if given[key] is not None else None
        for key in ("weight", "bias", "running_mean", "running_var")
    }
    mean, variance = values["running_mean"], values["running_var"]
    assert mean is not None and variance is not None  # what has none is not foldable  # noqa: S101, PT018
    scale = (variance + given["eps"]).rsqrt()
    if values["weight"] is not None:
        scale = scale * values["weight"]
    shift = -mean if step.bias is None else step.bias.double() - mean
    bias = shift * scale if values["bias"] is None else shift * scale + values["bias"]
    kind = step.weight.dtype
    if isinstance(step, TransposedConvolution):
        # Weights (in, out / groups, ...): outputs of a group after another.
        each = scale.view(step.groups, 1, -1, 1, 1)
        weight = (step.weight.double().view(step.groups, -1, *step.weight.shape[1:]) * each).flatten(0, 1)
    else:
        weight = step.weight.double() * scale.view(-1, 1, 1, 1)
    return replace(step, name=call.name, weight=weight.to(kind), bias=bias.to(kind))


def _laid_out(step: Step) -> Step:
    """Weights as copies of their own, in the layout that the device is quickest with."""
    if not isinstance(step, (Convolution, TransposedConvolution)):
        return step
    weight = step.weight.detach().clone(memory_format=torch.channels_last)
    return replace(step, weight=weight, bias=None if step.bias is None else step.bias.detach().clone())
