"""One run of a network as a tree of calls: which modules ran inside which, what each took and returned."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from hdm_widgets.latent.layouts import FIRST, MapLayout, turned
from hdm_widgets.latent.outputs import Path, main_tensor, tensors_of
from hdm_widgets.models.modules import named_modules, parameters
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["Call", "Output", "Run", "record_run"]

# What identifies an edge of the autograd graph.
Edge = tuple[Any, int]


@dataclass(eq=False)
class Output:
    """A tensor, one entry per image, in what a module returned.

    Attributes
    ----------
    call : Call
    path : tuple of int and str
        Where it is in what the module returned; empty for the tensor itself.
    shape : tuple of int
        For one image, as the module put it out.
    edge : tuple or None
        Where it is in the graph of the run; None if no gradient reaches it.
    contributes : bool
        Whether the network's output depends on it.
    layout : {"channels_first", "channels_last"}
    grid : tuple of int or None
        Rows and columns of maps, and of tokens that are a grid of patches, without class tokens.
    positions : int
        Spatial positions.
    is_fixed : bool
        Whether it has the same size for images of any size: a summary, such as pooled cells or queries.
    coarsest_before : int or None
        Fewest positions of what it was computed from.
    """

    call: Call
    path: Path
    shape: tuple[int, ...]
    edge: Edge | None = None
    contributes: bool = True
    layout: MapLayout = FIRST
    grid: tuple[int, int] | None = None
    positions: int = 0
    is_fixed: bool = False
    coarsest_before: int | None = None

    @property
    def token_grid(self) -> tuple[int, int] | None:
        """Rows and columns of the patches that tokens are of; None for anything else."""
        if self.grid is None or len(self.shape) != 2 or self.positions > self.shape[0]:
            return None
        return self.grid

    @property
    def channels(self) -> int:
        """Channels of maps and tokens."""
        return self.shape[-1] if len(self.shape) == 2 else self.channels_first_shape[0]

    @property
    def channels_first_shape(self) -> tuple[int, ...]:
        """Shape with the channels of maps first."""
        return turned(self.shape, self.layout)


@dataclass(eq=False)
class Call:
    """A call of a module.

    Attributes
    ----------
    module : torch.nn.Module
    name : str
        Of the module.
    parent : Call or None
        The call that this one was made in; None for the network's own.
    number : int
        How many calls of this module came before.
    children : list of Call
        Calls made in this one, in order.
    taken : list of tuple of int
        Shapes of the tensors that it took, for one image.
    outputs : list of Output
        Floating tensors of two to four axes that it returned.
    main : Output or None
        The output that is meant by the module's name; None if there is none or one of several.
    kind : str
        What it returned.
    ended : int
        Its place in the order in which calls ended.
    """

    module: nn.Module
    name: str
    parent: Call | None = None
    number: int = 0
    children: list[Call] = field(default_factory=list)
    taken: list[tuple[int, ...]] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    main: Output | None = None
    kind: str = ""
    ended: int = -1

    def walk(self) -> Iterator[Call]:
        """The call and all that were made in it."""
        yield self
        for child in self.children:
            yield from child.walk()

    @cached_property
    def weights(self) -> list[Tensor]:
        """Parameters of the module and what is in it."""
        return list(parameters(self.module))

    @cached_property
    def is_layer(self) -> bool:
        """Whether it has weights, and no module inside that ran has."""
        return bool(self.weights) and not any(child.weights for child in self.children)


@dataclass(eq=False)
class Run:
    """A run of a network.

    Attributes
    ----------
    root : Call
        Of the network.
    calls : list of Call
        All others, in the order in which they ended.
    """

    root: Call
    calls: list[Call]

    def times(self, module: nn.Module) -> int:
        """How often a module ran."""
        return sum(call.module is module for call in self.calls)

    @property
    def outputs(self) -> list[Output]:
        """Outputs of all calls but the network's."""
        return [output for call in self.calls for output in call.outputs]


class _Recorder:
    """Hooks that build the tree of calls.

    Parameters
    ----------
    network : torch.nn.Module
    count : int
        Images of the run.
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        self._count = count
        self._thread = threading.get_ident()
        self._names = {id(module): name for name, module in named_modules(network)}
        self._network = network
        self.start()

    def start(self) -> None:
        """Begin a run: what another one has left is discarded."""
        self.root = Call(self._network, "")
        self.calls: list[Call] = []
        self.returned: list[Tensor] = []
        self._stack = [self.root]
        self._numbers: dict[str, int] = {}

    def before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Begin a call."""
        if threading.get_ident() != self._thread:
            return
        if module is self._network and len(self._stack) == 1:
            self.start()
            return
        name = self._names[id(module)]
        number = self._numbers[name] = self._numbers.get(name, -1) + 1
        call = Call(module, name, self._stack[-1], number)
        call.taken = [tuple(tensor.shape[1:]) for _, tensor in tensors_of([args, kwargs]) if self._counts(tensor)]
        self._stack[-1].children.append(call)
        self._stack.append(call)

    def after(self, module: nn.Module, _args: Any, returned: Any) -> None:
        """End a call."""
        if threading.get_ident() != self._thread:
            return
        if not any(call.module is module for call in self._stack):
            return
        # A call above it has raised, and the network went on.
        while self._stack[-1].module is not module:
            self._stack.pop()
        call = self._stack[-1]
        if call is not self.root:
            self._stack.pop()
            call.ended = len(self.calls)
            self.calls.append(call)
        call.kind = type(returned).__name__
        main = main_tensor(returned)
        for path, tensor in tensors_of(returned):
            if self._counts(tensor):
                output = Output(call, path, tuple(tensor.shape[1:]), _edge(tensor))
                call.outputs.append(output)
                if tensor is main and call.main is None:
                    call.main = output
        if call is self.root and isinstance(returned, (list, tuple)):
            self.returned = [tensor for _, tensor in tensors_of(returned) if self._counts(tensor)]

    def _counts(self, tensor: Tensor) -> bool:
        """Whether a tensor has maps, tokens or a vector of each image."""
        fits = tensor.ndim in (2, 3, 4) and tensor.is_floating_point() and 0 not in tensor.shape
        return fits and len(tensor) == self._count


def record_run(segmenter: Segmenter, network: nn.Module, images: Tensor, *, gradients: bool) -> Run:
    """Run a network once and record the calls of its modules.

    Parameters
    ----------
    segmenter : Segmenter
        Around `network`.
    network : torch.nn.Module
    images : torch.Tensor (N, C, H, W)
    gradients : bool
        Whether to record gradients too, which tell what the output depends on. Some networks cannot run with them.

    Returns
    -------
    Run
    """
    recorder = _Recorder(network, len(images))
    handles = []
    for _, module in named_modules(network):
        handles.append(nn.Module.register_forward_pre_hook(module, recorder.before, with_kwargs=True))
        handles.append(nn.Module.register_forward_hook(module, recorder.after))
    try:
        with segmenter.evaluating(), torch.inference_mode(False), torch.set_grad_enabled(gradients):
            given = images.to(segmenter.run_device, copy=True)
            if gradients:
                # Not a leaf of the graph: a model may change its input in place.
                given = given.requires_grad_() * 1
            with _DetachedNumbers() if gradients else nullcontext():
                final = segmenter.maps(given)
    finally:
        for handle in handles:
            handle.remove()
    if gradients:
        _mark_contributing(recorder.calls, [final, *_heads(recorder.returned)])
    return Run(recorder.root, recorder.calls)


def _heads(returned: list[Tensor]) -> list[Tensor]:
    """The maps of deep supervision: several of one shape, each of which could be the prediction."""
    alike = len(returned) > 1 and len({tensor.shape for tensor in returned}) == 1
    return returned if alike else []


def _edge(tensor: Tensor) -> Edge | None:
    """Where a tensor is in the graph as of now: what follows may overwrite it in place."""
    return _node_and_output(get_gradient_edge(tensor)) if tensor.requires_grad else None


def _node_and_output(edge: GradientEdge) -> Edge:
    return edge.node, edge.output_nr


def _mark_contributing(calls: list[Call], finals: list[Tensor]) -> None:
    """Note which outputs the final ones depend on, as far as the graph of the run tells."""
    outputs = [output for call in calls for output in call.outputs]
    pending = [edge for edge in map(_edge, finals) if edge is not None]
    if not pending or not any(output.edge for output in outputs):
        return
    seen: set[Edge] = set()
    while pending:
        edge = pending.pop()
        if edge not in seen:
            seen.add(edge)
            pending += [following for following in edge[0].next_functions if following[0] is not None]
    for output in outputs:
        output.contributes = output.edge is None or output.edge in seen


class _DetachedNumbers(TorchFunctionMode):
    """Detach tensors that a model turns into plain numbers, in this thread: PyTorch warns where gradients are lost."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (Tensor.__float__, Tensor.__complex__):
            args = (args[0].detach(),)
        elif func in (torch.tensor, torch.as_tensor) and args and isinstance(args[0], (list, tuple)):
            args = (_detached(args[0]), *args[1:])
        return func(*args, **(kwargs or {}))


def _detached(values: Any) -> Any:
    """Nested lists with their tensors detached."""
    if isinstance(values, (list, tuple)):
        return [_detached(value) for value in values]
    return values.detach() if isinstance(values, Tensor) else values
