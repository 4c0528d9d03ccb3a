"""Which layer of a network is meant; by default, its bottleneck."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
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
from hdm_widgets.latent.layouts import FIRST, Layout, MapLayout, layout_of_maps, turned
from hdm_widgets.models.compiled import uncompiled
from hdm_widgets.models.errors import is_out_of_memory
from hdm_widgets.models.modules import named_modules, unwrapped
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["find_layer"]


def find_layer(
    segmenter: Segmenter, layer: nn.Module | str, images: Tensor, layout: Layout = "auto"
) -> tuple[Layer, nn.Module]:
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
        Two or more, to run the model on.
    layout : {"auto", "channels_first", "channels_last"}
        The axis of the channels in the layer's maps; see `layout_of_maps` for `"auto"`.

    Returns
    -------
    tuple of Layer and torch.nn.Module

    Raises
    ------
    TypeError
        If the model shows no layers.
    LayerError
        If there is no such layer, it does not run, or runs more than once, or nothing tells the layout of its maps.
    """
    model = network_of(segmenter)
    segmenter = unwrapped_segmenter(segmenter)
    network = unwrapped(model)
    chosen = isinstance(layer, str) and layer == "auto"
    with uncompiled(network):
        if chosen:
            found = _bottleneck(segmenter, network, images, layout)
        else:
            name, module = _named(model, network, layer)
            with ActivationHook(module, name, torch.clone).attached() as hook:
                segmenter.raw(images)
                shape = tuple(hook.take(len(images)).shape[1:])
            found = _LayoutReader(segmenter, network, images)(_Output(module, name, shape), layout)
    return Layer(_plain(model, found.name), found.turned_shape, chosen, found.layout), found.module


def _named(model: nn.Module, network: nn.Module, layer: nn.Module | str) -> tuple[str, nn.Module]:
    """Name within the network, and module, of a layer that was given."""
    names = {module: name for name, module in named_modules(network)}
    if isinstance(layer, str):
        module = find_module(model, layer)
    elif isinstance(layer, nn.Module):
        module = unwrapped(layer)
    else:
        raise TypeError(f"layer must be a module of the model, its name or 'auto', got {type(layer).__name__}")
    if module not in names:
        raise LayerError(f"the layer given, a {type(layer).__name__}, is no part of the model")
    return names[module], module


def _plain(model: nn.Module, name: str) -> str:
    """The name of a module without the places of the compiler's wrappers: the model has it when not compiled, too."""
    plain = ".".join(part for part in name.split(".") if part != "_orig_mod")
    return plain if find_module(model, plain) is find_module(model, name) else name


@dataclass(frozen=True, eq=False)
class _Output:
    """A module's output in a run of the network.

    Attributes
    ----------
    module : torch.nn.Module
    name : str
        Of the module.
    shape : tuple of int
        For one image, as the module put it out.
    edge : torch.autograd.graph.GradientEdge or None
        Where the output is in the graph of the run; None if no gradient reaches it.
    is_map : bool
        Whether the values of three axes are a map of the image's size without an axis for channels.
    layout : {"channels_first", "channels_last"}
    candidate : bool
        Whether the module ran once, and the network's output depends on it.
    """

    module: nn.Module
    name: str
    shape: tuple[int, ...]
    edge: GradientEdge | None = None
    is_map: bool = False
    layout: MapLayout = FIRST
    candidate: bool = True

    @property
    def turned_shape(self) -> tuple[int, ...]:
        """Shape with the channels of maps first."""
        return turned(self.shape, self.layout)

    @property
    def positions(self) -> int:
        """Spatial positions."""
        return math.prod(self.shape) if self.is_map else positions(self.turned_shape)


class _LayoutReader:
    """Finds the layout of the maps of a network's modules.

    Parameters
    ----------
    segmenter : Segmenter
        Around `network`.
    network : torch.nn.Module
    images : torch.Tensor (N, C, H, W)
        The images that the outputs are of.
    """

    def __init__(self, segmenter: Segmenter, network: nn.Module, images: Tensor) -> None:
        self._segmenter = segmenter
        self._network = network
        self._images = images

    def __call__(self, output: _Output, layout: Layout, *, strict: bool = True) -> _Output:
        """The output with its layout, which was given or is found; an error if it cannot be, or FIRST if not strict."""
        known: MapLayout | None = FIRST if layout == "auto" else layout
        if layout == "auto" and len(output.shape) == 3:
            size = self._images.shape[2], self._images.shape[3]
            known = layout_of_maps(output.module, output.shape, size, lambda: self._taller_shapes.get(output.name))
            if known is None and strict:
                raise LayerError(
                    f"layer {output.name!r} puts out maps of {' x '.join(map(str, output.shape))} for images of "
                    f"{size[0]} x {size[1]} px, and nothing tells which axis has the channels; say "
                    "layout='channels_first' or layout='channels_last'"
                )
        return replace(output, layout=known or FIRST)

    @cached_property
    def _taller_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all outputs, by module, for images of twice the height; none if the network does not take them."""
        taller = torch.cat([self._images, self._images], dim=2)
        try:
            outputs = _record_outputs(self._segmenter, self._network, taller, gradients=False)
        except Exception:  # noqa: BLE001 - a network of one size of image
            return {}
        return {output.name: output.shape for output in outputs if output.candidate}


def _bottleneck(segmenter: Segmenter, network: nn.Module, images: Tensor, layout: Layout) -> _Output:
    """The output of the module that is the bottleneck."""
    # What a model keeps from its first run must not be part of a graph.
    segmenter.raw(images)
    try:
        recorded = _record_outputs(segmenter, network, images, gradients=True)
    except Exception as error:
        if is_out_of_memory(error) and len(images) > 1:
            raise  # fewer images may do
        # Some models cannot run where gradients are recorded; then all outputs count.
        recorded = _record_outputs(segmenter, network, images, gradients=False)
    read = _LayoutReader(segmenter, network, images)
    outputs = [read(output, "auto", strict=False) for output in recorded if output.candidate]
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
    return read(max(runs, key=len)[-1], layout)


def _record_outputs(segmenter: Segmenter, network: nn.Module, images: Tensor, *, gradients: bool) -> list[_Output]:
    """Outputs of all modules but the network itself, in the order they came."""
    outputs: list[_Output] = []
    runs: dict[str, int] = {}
    thread = threading.get_ident()

    def recorder(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, _inputs: Any, output: Any) -> None:
            if threading.get_ident() != thread:
                return
            runs[name] = runs.get(name, 0) + 1
            tensor = output_tensor(output)
            if tensor is None or not tensor.is_floating_point() or tensor.ndim not in (3, 4):
                return
            if len(tensor) == len(images) and 0 not in tensor.shape:
                # Three axes are tokens, or else a map of the image's size without an axis for channels.
                is_map = tensor.shape[1:] == images.shape[2:]
                # The edge of now: what follows may overwrite the tensor in place.
                edge = get_gradient_edge(tensor) if tensor.requires_grad else None
                outputs.append(_Output(module, name, tuple(tensor.shape[1:]), edge, is_map))

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
    finally:
        for handle in handles:
            handle.remove()
    contributing = {id(output) for output in (_contributing(outputs, final) if gradients else outputs)}
    return [replace(one, candidate=id(one) in contributing and runs[one.name] == 1) for one in outputs]


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
