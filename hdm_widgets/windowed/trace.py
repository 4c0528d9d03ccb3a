"""Trace a network: run it on fake tensors, which have no values, and record its operations.

Everything that this switches on is local to the thread, so that a widget can trace in the background: no method of
`nn.Module` is replaced, and warning filters, standard error and log levels stay as they are. (torch.export replaces
`nn.Module.__call__` and `nn.Module.__getattr__` for the whole process while it traces.)
"""

from __future__ import annotations

import copy
import logging
import sys
import textwrap
import threading
from contextlib import AbstractContextManager, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from hdm_widgets.models.fingerprint import structure
from hdm_widgets.models.modules import modules, named_modules, tensors
from hdm_widgets.windowed.any_batch import COUNTS, of_any_batch
from hdm_widgets.windowed.calls import Call, Ref, Trace, TraceError
from hdm_widgets.windowed.recorder import Recorder

__all__ = ["trace"]

_thread = threading.local()


def _is_not_tracing(_: logging.LogRecord) -> bool:
    return not getattr(_thread, "traces", False)


# PyTorch logs operations that cannot run on fake tensors; the TraceError carries the reason instead.
for _name in ("torch._subclasses.fake_tensor", "torch.fx.experimental.symbolic_shapes"):
    logging.getLogger(_name).addFilter(_is_not_tracing)


def trace(network: nn.Module, image: Tensor) -> Trace:
    """Record what a network in eval mode computes for images like this one.

    Parameters
    ----------
    network : torch.nn.Module
        (N, C, H, W) to one tensor with N first. It is not altered.
    image : torch.Tensor (C, H, W)
        Of the size, dtype and device that the network will be run with.

    Returns
    -------
    Trace

    Raises
    ------
    TraceError
        If the operations depend on more than the size of the input, are random, or cannot run on fake tensors.
    """
    with suppress(TraceError):
        return _of_two_counts(network, image)
    # Either it depends on how many images there are, or it cannot be traced: a symbolic number tells.
    fakes = _fake_mode(symbolic=True)
    return _traced(network, fakes, Recorder(fakes, _any_images(fakes, image)))


def _of_two_counts(network: nn.Module, image: Tensor) -> Trace:
    """See `trace`; refuses all that needs a symbolic number of images."""
    fakes = _fake_mode()
    # Both have the same fake weights, which a recorder keeps alive.
    recorders = [Recorder(fakes, fakes.from_tensor(image.new_empty(count, *image.shape))) for count in COUNTS]
    few = _traced(network, fakes, recorders[0])
    # A loop over the images would take long.
    recorders[1].most = len(recorders[0].calls)
    return of_any_batch(few, _traced(network, fakes, recorders[1]))


def _traced(network: nn.Module, fakes: FakeTensorMode, recorder: Recorder) -> Trace:
    """A trace of the images of a recorder."""
    twin = _twin(network, recorder)
    before = structure(twin)
    try:
        return _recorded(twin, fakes, recorder, before)
    except TraceError as error:
        error.written = _changed(before, structure(twin))
        raise


def _recorded(
    twin: nn.Module,
    fakes: FakeTensorMode,
    recorder: Recorder,
    before: dict[tuple[str, str], str],
) -> Trace:
    """See `trace`; `before` is the structure of the copy that is run."""
    try:
        outputs = [output for output in tree_leaves(_run(twin, fakes, recorder)) if isinstance(output, Tensor)]
    except TraceError:
        raise
    except Exception as error:
        # By its name: the class is in a module that takes long to load.
        if type(error).__name__ == "GuardOnDataDependentSymNode":
            reason = "what it does depends on the values it computes"
        elif recorder.running:
            raise TraceError(f"it cannot be traced: {recorder.running} raises {_one_line(error)}") from error
        else:
            reason = f"it raises {_one_line(error)}"
        raise TraceError(f"it cannot be traced: {reason}{recorder.place}") from error
    if recorder.error is not None:
        raise recorder.error
    if recorder.fixed_batch:
        raise TraceError("it works on a fixed number of images at a time")
    if len(outputs) != 1:
        raise TraceError(f"it gives {len(outputs)} outputs")
    calls, output = recorder.calls, recorder.name_of(outputs[0])
    channels, height, width = recorder.images.shape[1:]
    if output == recorder.image:
        output = "output"
        calls = [_identity(recorder.image, output, (None, channels, height, width))]
    calls = _needed(calls, output)
    read = {name for call in calls for name in call.reads()}
    return Trace(
        tuple(calls),
        {name: tensor for name, tensor in recorder.constants.items() if name in read},
        {name: number for name, number in recorder.numbers.items() if name in read},
        recorder.image,
        output,
        (channels, height, width),
        _changed(before, structure(twin)),
        tuple((recorder.constants[name], value) for name, value in recorder.baked.items()),
    )


def _changed(before: dict[tuple[str, str], str], after: dict[tuple[str, str], str]) -> frozenset[tuple[str, str]]:
    return frozenset(key for key in {*before, *after} if before.get(key) != after.get(key))


def _identity(name: str, output: str, shape: tuple[int | None, ...]) -> Call:
    return Call(output, torch.ops.aten.alias.default, {"self": Ref(name)}, None, "", shape)


def _needed(calls: list[Call], output: str) -> list[Call]:
    """The calls that the output depends on."""
    needed, kept = {output}, []
    for call in reversed(calls):
        if call.name in needed:
            needed.update(call.reads())
            kept.append(call)
    return kept[::-1]


def _run(twin: nn.Module, fakes: FakeTensorMode, recorder: Recorder) -> Any:
    """Run a network on fake images in modes that are the thread's own."""
    _thread.traces = True
    try:
        with (
            # Operations arrive as the network calls them, not in the parts that autograd needs.
            torch.inference_mode(),
            # Functions compiled by torch.compile and TorchScript run as they are written.
            _without_compiling(fakes),
            torch.jit.optimized_execution(should_optimize=False),  # type: ignore[attr-defined]  # public all the same
            fakes,
            recorder,
            _Observed(recorder),
        ):
            return nn.Module.__call__(twin, recorder.images)
    finally:
        _thread.traces = False


def _fake_mode(*, symbolic: bool = False) -> FakeTensorMode:
    """A mode for tensors without values, whose sizes may be symbolic."""
    shape_env = None
    if symbolic:
        # This takes seconds to load.
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        shape_env = ShapeEnv()
    fakes = FakeTensorMode(shape_env=shape_env)
    # Reading the memory of a tensor without values is an error, not a warning.
    fakes._allow_unsafe_data_ptr_access = False
    return fakes


def _any_images(fakes: FakeTensorMode, image: Tensor) -> Tensor:
    """Fake images (N, C, H, W) with N symbolic."""
    # These take seconds to load.
    from torch._dynamo.source import ConstantSource
    from torch.fx.experimental.symbolic_shapes import DimDynamic, StatelessSymbolicContext

    kinds = [DimDynamic.DYNAMIC, *(DimDynamic.STATIC for _ in image.shape)]
    # What is true of two images is taken to be true of any number.
    return fakes.from_tensor(
        image.new_empty(2, *image.shape),
        symbolic_context=StatelessSymbolicContext(dynamic_sizes=kinds),
        source=ConstantSource("images"),
    )


def _twin(network: nn.Module, recorder: Recorder) -> nn.Module:
    """A copy of the network on fake tensors that says which of its modules is running.

    Whatever the network writes to itself when it runs is written to the copy.
    """
    given = [*tensors(network)]
    for name, module in named_modules(network):
        if isinstance(module, torch.jit.ScriptModule):
            raise TraceError(f"it cannot be traced: {name or 'it'} is compiled by TorchScript")
        given += [value for value in vars(module).values() if isinstance(value, Tensor)]
    fakes = {id(tensor): recorder.constant(tensor) for tensor in given}
    try:
        twin: nn.Module = copy.deepcopy(network, fakes)
    except Exception as error:
        raise TraceError(f"it cannot be copied, which tracing needs ({_one_line(error)})") from error
    while isinstance(twin, torch._dynamo.OptimizedModule):
        twin = twin._orig_mod
    for module in modules(twin):
        for name, child in module._modules.items():
            if isinstance(child, torch._dynamo.OptimizedModule):
                module._modules[name] = child._orig_mod
    for name, module in named_modules(twin):
        nn.Module.register_forward_pre_hook(module, partial(_enter, recorder, name), prepend=True)
        nn.Module.register_forward_hook(module, partial(_leave, recorder), always_call=True)
    return twin


def _enter(recorder: Recorder, name: str, *_: Any) -> None:
    recorder.modules.append(name)


def _leave(recorder: Recorder, *_: Any) -> None:
    # After an error, too; the innermost module comes first.
    if sys.exc_info()[0] is not None and recorder.failed is None:
        recorder.failed = recorder.modules[-1]
    recorder.modules.pop()


class _Observed(TorchFunctionMode):
    """Watches functions of PyTorch that are no operations.

    Where such a mode is active, PyTorch's layers do not use their fused kernels for inference, which cannot be traced.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call what is called, unless it cannot be traced."""
        if func in (Tensor.numpy, Tensor.__array__):
            real = self._recorder.real(args[0])
            if real is None:
                self._recorder.refuse(f"it cannot be traced: it computes with NumPy{self._recorder.place}")
            with _disable_current_modes():
                return func(real, *args[1:], **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _without_compiling(fakes: FakeTensorMode) -> AbstractContextManager[object]:
    """Let functions of torch.compile run as they are written; a compiled one would end the process on fake tensors.

    They do so if the tracing context, which is the thread's own, is within a kernel. (With `torch._dynamo.config`
    they would never be compiled again.)
    """
    context: Any = SimpleNamespace(shape_env=fakes.shape_env, in_kernel_invocation=True)
    return torch._guards.tracing(torch._guards.TracingContext(context))


def _one_line(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return textwrap.shorten(f"{type(error).__name__}: {text}" if text else type(error).__name__, 200)
