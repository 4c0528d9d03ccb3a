"""Which layer of a network is meant; by default, its bottleneck."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from hdm_widgets.latent.activations import (
    ActivationHook,
    Layer,
    LayerError,
    find_module,
    network_of,
    output_tensor,
    positions,
    unwrapped_segmenter,
)
from hdm_widgets.models.errors import is_out_of_memory
from hdm_widgets.models.modules import named_modules, submodule, unwrapped
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["find_layer"]


def find_layer(segmenter: Segmenter, layer: nn.Module | str, images: Tensor) -> tuple[Layer, nn.Module]:
    """The layer that is meant, and its module.

    Parameters
    ----------
    segmenter : Segmenter
        Around a Module. Names count within the network inside DataParallel and other wrappers.
    layer : torch.nn.Module or str
        A module of the model, its dotted name, or `"auto"`: of all modules whose output the final output depends on,
        those with the fewest spatial positions; of these the last one of the longest uninterrupted run, which
        ends where the decoder begins to enlarge.
    images : torch.Tensor (N, C, H, W)
        Two or more, to run the model on once.

    Returns
    -------
    tuple of Layer and torch.nn.Module

    Raises
    ------
    TypeError
        If the model is no Module.
    LayerError
        If there is no such layer, it does not run, or runs more than once.
    """
    model = network_of(segmenter)
    segmenter = unwrapped_segmenter(segmenter)
    network = unwrapped(model)
    if isinstance(layer, str) and layer == "auto":
        name, shape = _bottleneck(segmenter, network, images)
        return Layer(name, shape, chosen=True), submodule(network, name)
    names = {module: name for name, module in named_modules(network)}
    if isinstance(layer, str):
        module = find_module(model, layer)
    elif isinstance(layer, nn.Module):
        module = unwrapped(layer)
    else:
        raise TypeError(f"layer must be a module of the model, its name or 'auto', got {type(layer).__name__}")
    if module not in names:
        raise LayerError(f"the layer given, a {type(layer).__name__}, is no part of the model")
    name = names[module]
    with ActivationHook(module, name, torch.clone).attached() as hook:
        segmenter.raw(images)
        activation = hook.take(len(images))
    return Layer(name, tuple(activation.shape[1:])), module


@dataclass(frozen=True, eq=False)
class _Output:
    """A module's output in the run that looks for the bottleneck.

    Attributes
    ----------
    name : str
        Of the module.
    shape : tuple of int
        For one image.
    positions : int
        Spatial positions.
    edge : torch.autograd.graph.GradientEdge or None
        Where the output is in the graph of the run; None if no gradient reaches it.
    """

    name: str
    shape: tuple[int, ...]
    positions: int
    edge: GradientEdge | None


def _bottleneck(segmenter: Segmenter, network: nn.Module, images: Tensor) -> tuple[str, tuple[int, ...]]:
    """Name and output shape of the module that is the bottleneck."""
    try:
        outputs = _record_outputs(segmenter, network, images, gradients=True)
    except Exception as error:
        if is_out_of_memory(error) and len(images) > 1:
            raise  # fewer images may do
        outputs = None
    if outputs is None:
        # Some models cannot run where gradients are recorded; then all outputs count.
        outputs = _record_outputs(segmenter, network, images, gradients=False)
    # A single position sums up the whole image (squeeze-excite, a pooled branch) wherever anything else is there.
    candidates = [output for output in outputs if output.positions > 1] or outputs
    if not candidates:
        raise LayerError("no module of the model puts out maps; name the layer with layer=")
    fewest = min(output.positions for output in candidates)
    runs: list[list[_Output]] = [[]]
    for output in candidates:
        if output.positions == fewest:
            runs[-1].append(output)
        elif runs[-1]:
            runs.append([])
    # Containers end after what is in them: the last of the run is the outermost.
    last = max(runs, key=len)[-1]
    return last.name, last.shape


def _record_outputs(segmenter: Segmenter, network: nn.Module, images: Tensor, *, gradients: bool) -> list[_Output]:
    """Outputs of all modules in the order they came; with gradients, those that the final output depends on.

    Modules that run more than once are left out, and so is the network itself.
    """
    outputs: list[_Output] = []
    runs: dict[str, int] = {}
    thread = threading.get_ident()

    def recorder(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if threading.get_ident() != thread:
                return
            runs[name] = runs.get(name, 0) + 1
            tensor = output_tensor(output)
            if tensor is None or not tensor.is_floating_point() or tensor.ndim not in (3, 4):
                return
            if len(tensor) == len(images) and 0 not in tensor.shape:
                # Three axes are tokens, or else a map of the image's size without an axis for channels.
                is_map = tensor.shape[1:] == images.shape[2:]
                shape = tuple(tensor.shape[1:])
                count = tensor[0].numel() if is_map else positions(shape)
                # The edge of now: what follows may overwrite the tensor in place.
                edge = get_gradient_edge(tensor) if tensor.requires_grad else None
                outputs.append(_Output(name, shape, count, edge))

        return record

    handles = [
        nn.Module.register_forward_hook(module, recorder(name)) for name, module in named_modules(network) if name
    ]
    try:
        with segmenter.evaluating(), torch.inference_mode(False), torch.set_grad_enabled(gradients):
            given = images.to(segmenter.run_device, copy=True)
            if gradients:
                # Not a leaf of the graph: a model may change its input in place.
                given = given.requires_grad_() * 1
            with _DetachedNumbers() if gradients else nullcontext():
                final = segmenter.maps(given)
            found = [output for output in outputs if runs[output.name] == 1]
            return _contributing(found, final) if gradients else found
    finally:
        for handle in handles:
            handle.remove()


def _contributing(outputs: list[_Output], final: Tensor) -> list[_Output]:
    """The outputs that the final output depends on, as far as the graph of the run tells."""
    if not final.requires_grad or not any(output.edge for output in outputs):
        return outputs
    seen: set[tuple[Any, int]] = set()
    pending = [_node_and_output(get_gradient_edge(final))]
    while pending:
        edge = pending.pop()
        if edge not in seen:
            seen.add(edge)
            pending += [following for following in edge[0].next_functions if following[0] is not None]
    return [output for output in outputs if output.edge is None or _node_and_output(output.edge) in seen]


def _node_and_output(edge: GradientEdge) -> tuple[Any, int]:
    return edge.node, edge.output_nr


class _DetachedNumbers(TorchFunctionMode):
    """Detach tensors that a model turns into plain numbers, in this thread: PyTorch warns where gradients are lost."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
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
