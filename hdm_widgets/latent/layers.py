"""Which layer of a network is meant; by itself, its bottleneck."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hdm_widgets.latent.activations import (
    Layer,
    LayerError,
    Tap,
    named_module,
    network_of,
    output_tensor,
    positions,
)
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["find_layer"]


def find_layer(segmenter: Segmenter, layer: nn.Module | str, pictures: Tensor) -> tuple[Layer, nn.Module]:
    """The layer that is meant, and its module.

    Parameters
    ----------
    segmenter : Segmenter
        Around a Module.
    layer : torch.nn.Module or str
        A module of the model, its dotted name, or `"auto"`: of all modules whose output the final output depends on,
        those with the fewest places in the picture; of these the last one of the longest uninterrupted run, which
        ends where the decoder begins to enlarge.
    pictures : torch.Tensor (N, C, H, W)
        Two or more, to run the model on once.

    Raises
    ------
    TypeError
        If the model is no Module.
    LayerError
        If there is no such layer, it does not run, or runs more than once.
    """
    model = network_of(segmenter)
    names = {module: name for name, module in model.named_modules()}
    if isinstance(layer, str) and layer == "auto":
        name, shape = _bottleneck(segmenter, model, pictures)
        return Layer(name, shape, chosen=True), model.get_submodule(name)
    if isinstance(layer, str):
        module = named_module(model, layer)
    elif isinstance(layer, nn.Module):
        module = layer
        if module not in names:
            raise LayerError(f"the layer given, a {type(layer).__name__}, is no part of the model")
    else:
        raise TypeError(f"layer must be a module of the model, its name or 'auto', got {type(layer).__name__}")
    name = names[module]
    with Tap(module, name, torch.clone).open() as tap:
        segmenter.raw(pictures)
        activation = tap.take(len(pictures))
    return Layer(name, tuple(activation.shape[1:])), module


@dataclass
class _Output:
    """A module's output in the run that looks for the bottleneck."""

    name: str
    tensor: Tensor
    places: int


def _bottleneck(segmenter: Segmenter, model: nn.Module, pictures: Tensor) -> tuple[str, tuple[int, ...]]:
    """Name and output shape of the module that is the bottleneck."""
    try:
        outputs = _watch(segmenter, model, pictures, gradients=True)
    except Exception:  # noqa: BLE001 - some models cannot run where gradients are recorded; then all outputs count
        outputs = _watch(segmenter, model, pictures, gradients=False)
    # A single place sums up the whole picture (squeeze-excite, a pooled branch) wherever anything else is there.
    candidates = [output for output in outputs if output.places > 1] or outputs
    if not candidates:
        raise LayerError("no module of the model puts out maps; name the layer with layer=")
    fewest = min(output.places for output in candidates)
    runs: list[list[_Output]] = [[]]
    for output in candidates:
        if output.places == fewest:
            runs[-1].append(output)
        elif runs[-1]:
            runs.append([])
    # Containers end after what is in them: the last of the run is the outermost.
    last = max(runs, key=len)[-1]
    return last.name, tuple(last.tensor.shape[1:])


def _watch(segmenter: Segmenter, model: nn.Module, pictures: Tensor, *, gradients: bool) -> list[_Output]:
    """Outputs of all modules in the order they came; with gradients, those that the final output depends on.

    Modules that run more than once are left out, and so is the model itself.
    """
    outputs: list[_Output] = []
    runs: dict[str, int] = {}
    thread = threading.get_ident()

    def watcher(name: str) -> Any:
        def watch(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if threading.get_ident() != thread:
                return
            runs[name] = runs.get(name, 0) + 1
            tensor = output_tensor(output)
            if tensor is None or not tensor.is_floating_point() or tensor.ndim not in (3, 4):
                return
            if len(tensor) == len(pictures) and 0 not in tensor.shape:
                # Three axes are tokens, or else a map of the picture's size without an axis for channels.
                is_map = tensor.shape[1:] == pictures.shape[2:]
                places = tensor[0].numel() if is_map else positions(tuple(tensor.shape[1:]))
                outputs.append(_Output(name, tensor, places))

        return watch

    handles = [module.register_forward_hook(watcher(name)) for name, module in model.named_modules() if name]
    try:
        with segmenter.evaluating(), torch.inference_mode(False), torch.set_grad_enabled(gradients):
            traced = pictures.to(segmenter.run_device, copy=True)
            if gradients:
                # Not a leaf of the graph: a model may change its input in place.
                traced = traced.requires_grad_() * 1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of gradients, which nobody asked for
                final = segmenter.standard(segmenter.call(traced), len(pictures))
                found = [output for output in outputs if runs[output.name] == 1]
                return _used(found, final) if gradients else found
    finally:
        for handle in handles:
            handle.remove()


def _used(outputs: list[_Output], final: Tensor) -> list[_Output]:
    """The outputs that the final output depends on, as far as the graph tells."""
    traced = [output for output in outputs if output.tensor.requires_grad]
    if not final.requires_grad or not traced:
        return outputs
    gradients = torch.autograd.grad(final.sum(), [output.tensor for output in traced], allow_unused=True)
    unused = {id(output) for output, gradient in zip(traced, gradients, strict=True) if gradient is None}
    return [output for output in outputs if id(output) not in unused]
