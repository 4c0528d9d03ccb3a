"""Build steps from calls: compute constants, fold batch norm, split convolutions of concatenations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import torch
from torch import Tensor

from hdm_widgets.windowed.axes import Pointwise
from hdm_widgets.windowed.calls import Call, Number, Ref, Trace, TraceError, refs
from hdm_widgets.windowed.context import Context, is_spatial
from hdm_widgets.windowed.estimates import estimated
from hdm_widgets.windowed.rules import global_step, step_of
from hdm_widgets.windowed.steps import (
    LOW_PRECISION,
    Concatenation,
    Constant,
    Convolution,
    FunctionStep,
    GlobalStep,
    Step,
    TransposedConvolution,
)
from hdm_widgets.windowed.token_rules import token_steps
from hdm_widgets.windowed.tokens import joined

__all__ = ["Program", "build"]

# A concatenation of more parts than a decoder has is not split: that would be many small sums.
_MOST_PARTS = 3
_BATCH_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training")
_STATISTICS = ("running_mean", "running_var")
_NORM_TENSORS = ("weight", "bias", *_STATISTICS)


@dataclass(frozen=True, eq=False)
class Program:
    """The steps of a network, for images of one size.

    Attributes
    ----------
    steps : tuple of Step
        In the order in which they are computed.
    numbers : dict of str to Number
        Numbers that depend on how many images there are.
    sizes : dict of str to tuple of int
        (rows, cols) of every value.
    channels : dict of str to int
        Channels of every value that is (N, C, H, W).
    not_spatial : frozenset of str
        Values without rows and columns.
    one_by_one : bool
        Whether only one image can be computed at a time.
    image, output : str
        Names of the input and of the output.
    """

    steps: tuple[Step, ...]
    numbers: dict[str, Number]
    sizes: dict[str, tuple[int, int]]
    channels: dict[str, int]
    not_spatial: frozenset[str]
    one_by_one: bool
    image: str
    output: str

    def numbers_at(self, count: int) -> dict[str, Any]:
        """The numbers for a batch of `count` images."""
        return {name: number.at(count) for name, number in self.numbers.items()}


def build(trace: Trace, *, estimate: bool = False) -> Program:
    """Steps for a traced network, with copies of its weights.

    Parameters
    ----------
    trace : Trace
    estimate : bool
        Take global operations for local ones: see `hdm_widgets.windowed.estimates`.

    Raises
    ------
    TraceError
        If the images of a batch depend on each other, or the output does not depend on the image.
    """
    shapes: dict[str, tuple[int | None, ...]] = {trace.image: (None, *trace.shape)}
    constants = {name: value.detach() for name, value in trace.constants.items()}
    constant_steps: dict[str, Constant] = {}

    def as_value(name: str, rank: int) -> str:
        value = constants[name].detach()
        value = value.reshape(*(1,) * (rank - value.ndim), *value.shape)
        key = f"{name}/{rank}"
        rows, cols = (Pointwise((), int(size)) for size in value.shape[-2:])
        constant_steps[key] = Constant(key, name, (), rows, cols, value=value)
        shapes[key] = (None, *value.shape[1:])
        return key

    double = any(value.dtype == torch.float64 for value in constants.values())
    precision = torch.float64 if double else torch.float32
    context = Context(shapes, trace.numbers, constants, as_value, precision)
    uses = Counter([name for call in trace.calls for name in call.reads()] + [trace.output])
    steps: dict[str, Step] = {}
    # What is made for the images but does not depend on them, as it is for one image.
    made: dict[str, Any] = {name: number.at(1) for name, number in trace.numbers.items()}
    for call in trace.calls:
        if constants.keys() >= set(call.reads()):
            with torch.inference_mode():
                constants[call.name] = call.run(constants)
            continue
        if estimate and constants.keys() | trace.numbers.keys() | context.for_two.keys() >= set(call.reads()):
            numbers = {name: number.at(2) for name, number in trace.numbers.items()}
            with torch.inference_mode():
                context.for_two[call.name] = call.run({**constants, **numbers, **context.for_two})
        if call.arguments.get("training") is True:
            raise TraceError(f"{call.label} computes with all images of a batch together")
        if call.operation == "squeeze" and "dim" not in call.arguments:
            raise TraceError(f"{call.label} would squeeze a batch of one image too")
        shapes[call.name] = call.shape
        if made.keys() | constants.keys() >= {*call.reads()}:
            with torch.inference_mode():
                made[call.name] = call.run({**constants, **made})
        # Masks of attention may be for each window of an image.
        elif call.operation != "scaled_dot_product_attention" and any(
            name in shapes and is_spatial(shapes[name]) and len(made[name]) != 1
            for name in made.keys() & {*call.reads()}
        ):
            raise TraceError(f"{call.label} computes with several maps for each image")
        earlier = steps.get(_normalized_value(call))
        if (
            earlier is not None
            and earlier.name not in context.orders.keys() | context.tokens.keys()
            and uses[earlier.name] == 1
            and _is_foldable(earlier, call, constants)
        ):
            del steps[earlier.name]
            steps[call.name] = _folded(call, constants, earlier)
        else:
            found = token_steps(call, context) if estimate else []
            if not found:
                steps.update((name, joined(name, call.label, context)) for name in _in_parts(call, context, steps))
                found = [step_of(call, context)]
            for step in found:
                steps.update((each.name, each) for each in (estimated(step, call, context) if estimate else (step,)))
    output = trace.output
    if output in context.parts:
        steps[output] = joined(output, trace.calls[-1].label, context)
    if output not in steps:
        raise TraceError("its output does not depend on the image")
    if output in context.orders or output in context.tokens:
        # As the network gives it.
        last = trace.calls[-1]
        output = f"{output}/given"
        shapes[output] = last.shape
        given = Call(output, torch.ops.aten.alias.default, {"self": Ref(trace.output)}, None, last.module, last.shape)
        steps[output] = global_step(given, context)
    if not is_spatial(shapes[output]):
        raise TraceError(f"its output has the shape {shapes[output]}")
    steps = _needed(steps, output)
    live = {trace.image, *steps}
    ordered = (*constant_steps.values(), *map(_with_own_weights, _split_convolutions(list(steps.values()), shapes)))
    names = (trace.image, *(step.name for step in ordered))
    return Program(
        ordered,
        trace.numbers,
        {name: context.size(name) for name in names},
        {name: int(shapes[name][1] or 0) for name in names if len(shapes[name]) == 4},
        frozenset(
            name
            for name in names
            if (not is_spatial(shapes[name]) and name not in constant_steps)
            # Tokens that are no positions.
            or (name in context.summaries and name in context.tokens)
        ),
        any(not shapes[name] or shapes[name][0] is not None for name in live)
        or any(isinstance(steps.get(call.name), GlobalStep) and _is_over_batch(call) for call in trace.calls)
        or any(call.name in steps and _computes_with(call, trace.numbers) for call in trace.calls),
        trace.image,
        output,
    )


def _in_parts(call: Call, context: Context, steps: dict[str, Step]) -> list[str]:
    """Values that a call reads of which there are parts only."""
    return [name for name in call.reads() if name in context.parts and name not in steps]


def _needed(steps: dict[str, Step], output: str) -> dict[str, Step]:
    """The steps that the output depends on."""
    needed = {output}
    for step in reversed(steps.values()):
        if step.name in needed:
            needed.update(step.inputs)
    return {name: step for name, step in steps.items() if name in needed}


def _split_convolutions(steps: list[Step], shapes: dict[str, tuple[int | None, ...]]) -> Iterator[Step]:
    """Replace convolutions of concatenated channels by sums of convolutions of the parts.

    In a decoder a disc changes little of a skip connection and much of the rest. So the convolution of the skip
    connection is computed where that changed, and taken from the unchanged image elsewhere.
    """
    uses = Counter(name for step in steps for name in step.inputs)
    joined = {step.name: step for step in steps if isinstance(step, Concatenation) and uses[step.name] == 1}
    split = {
        step.inputs[0]: step
        for step in steps
        if isinstance(step, Convolution)
        and step.groups == 1
        and step.weight.dtype not in LOW_PRECISION
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
        names = tuple(f"{step.name}/{part}" for part in range(len(inputs)))
        for part, (name, given, weight) in enumerate(zip(names, inputs, weights, strict=True)):
            shapes[name] = shapes[step.name]
            yield replace(step, name=name, inputs=(given,), weight=weight, bias=None if part else step.bias)
        rows, cols = (Pointwise((axis.size,) * len(names), axis.size) for axis in (step.rows, step.cols))
        yield FunctionStep(step.name, step.label, names, rows, cols, function=_sum, in_place=_sum_in_place, fresh=True)


def _sum(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
    return _sum_in_place([patches[0] + patches[1], *patches[2:]], _)


def _sum_in_place(patches: list[Tensor], _: dict[str, Any]) -> Tensor:
    for patch in patches[1:]:
        patches[0].add_(patch)
    return patches[0]


def _is_over_batch(call: Call) -> bool:
    """Whether the batch is among the dimensions that a call names."""
    dims = [call.arguments[key] for key in ("dim", "dims", "dim0", "dim1") if key in call.arguments]
    rank = len(call.shape) or 1
    return any(
        isinstance(dim, int) and dim in (0, -rank)
        for given in dims
        for dim in (given if isinstance(given, list) else [given])
    )


def _computes_with(call: Call, numbers: Container[str]) -> bool:
    """Whether a call computes with one of these numbers, other than as a size: more images have other values then."""
    if not isinstance(call.target, torch._ops.OpOverload):
        return False
    values = [call.arguments[each.name] for each in call.target._schema.arguments if "int" not in str(each.type)]
    return any(name in numbers for value in values for name in refs(value))


def _normalized_value(call: Call) -> str:
    """Name of the value that a batch norm normalizes; empty for other calls."""
    argument = call.arguments.get("input") if call.operation in _BATCH_NORMS else None
    return argument.name if isinstance(argument, Ref) else ""


def _is_foldable(
    step: Step, call: Call, constants: dict[str, Tensor]
) -> TypeGuard[Convolution | TransposedConvolution]:
    given = call.arguments
    return (
        isinstance(step, (Convolution, TransposedConvolution))
        and step.weight.dtype not in LOW_PRECISION
        and not given.get("training")
        and all(isinstance(given[key], Ref) for key in _STATISTICS)
        and all(given[key] is None or given[key].name in constants for key in _NORM_TENSORS)
    )


def _folded(
    call: Call, constants: dict[str, Tensor], step: Convolution | TransposedConvolution
) -> Convolution | TransposedConvolution:
    """A convolution with the batch norm that follows it; in double precision, so that only the weights are rounded."""
    given = call.arguments
    values = {key: None if given[key] is None else constants[given[key].name].double() for key in _NORM_TENSORS}
    mean, variance = values["running_mean"], values["running_var"]
    assert mean is not None and variance is not None  # else it is not foldable  # noqa: S101, PT018
    scale = (variance + given["eps"]).rsqrt()
    if values["weight"] is not None:
        scale = scale * values["weight"]
    shift = -mean if step.bias is None else step.bias.double() - mean
    bias = shift * scale if values["bias"] is None else shift * scale + values["bias"]
    dtype = step.weight.dtype
    if isinstance(step, TransposedConvolution):
        # Weights (in, out / groups, ...): the outputs of one group after those of another.
        each = scale.view(step.groups, 1, -1, 1, 1)
        weight = (step.weight.double().view(step.groups, -1, *step.weight.shape[1:]) * each).flatten(0, 1)
    else:
        weight = step.weight.double() * scale.view(-1, 1, 1, 1)
    return replace(step, name=call.name, weight=weight.to(dtype), bias=bias.to(dtype))


def _with_own_weights(step: Step) -> Step:
    """The step with copies of its weights, in the memory format in which convolutions are fastest."""
    if not isinstance(step, (Convolution, TransposedConvolution)):
        return step
    weight = step.weight.detach().clone(memory_format=torch.channels_last)
    return replace(step, weight=weight, bias=None if step.bias is None else step.bias.detach().clone())
