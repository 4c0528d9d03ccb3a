"""Which layer of a network is meant; by default, its bottleneck."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hdm_widgets.latent.activations import (
    ActivationHook,
    Layer,
    LayerError,
    find_module,
    network_of,
    unwrapped_segmenter,
)
from hdm_widgets.latent.bottleneck import find_bottleneck
from hdm_widgets.latent.calls import Call, Output, Run, record_run
from hdm_widgets.latent.layouts import Layout
from hdm_widgets.latent.map_sizes import MapSizes
from hdm_widgets.latent.outputs import joined_name, split_name
from hdm_widgets.models.compiled import uncompiled
from hdm_widgets.models.errors import is_out_of_memory
from hdm_widgets.models.modules import named_modules, unwrapped
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["find_layer", "layer_of", "read_run"]


def find_layer(
    segmenter: Segmenter, layer: nn.Module | str, images: Tensor, layout: Layout = "auto"
) -> tuple[Layer, nn.Module]:
    """The layer that is meant, and its module.

    Parameters
    ----------
    segmenter : Segmenter
        Around a Module. Names count within the network inside DataParallel and other wrappers.
    layer : torch.nn.Module or str
        A module of the model, its dotted name, or `"auto"` for the bottleneck, see `find_bottleneck`. For a module that
        returns several maps, its name with a position or a key in brackets says which: `"encoder[3]"`.
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
        If there is no such layer, it does not run, or runs more than once, returns several maps and none is picked,
        or nothing tells the layout of its maps.
    """
    model = network_of(segmenter)
    segmenter = unwrapped_segmenter(segmenter)
    network = unwrapped(model)
    chosen = isinstance(layer, str) and layer == "auto"
    with uncompiled(network):
        if chosen:
            # What a model keeps from its first run must not be part of a graph.
            segmenter.raw(images)
            run, sizes = read_run(segmenter, network, images)
            output = find_bottleneck(run, sizes)
            output.layout = sizes.layout(output, layout)
        else:
            output = _named(segmenter, model, layer, images, layout)
    return layer_of(model, output, chosen=chosen), output.call.module


def layer_of(model: nn.Module, output: Output, *, chosen: bool = True) -> Layer:
    """The layer that an output is of, by the name that it has in the model."""
    name = joined_name(_plain(model, output.call.name), () if output is output.call.main else output.path)
    return Layer(name, output.channels_first_shape, chosen, output.layout, grid=output.token_grid)


def read_run(segmenter: Segmenter, network: nn.Module, images: Tensor) -> tuple[Run, MapSizes]:
    """A run of the network that tells what its output depends on, with the sizes of all outputs."""
    run = _run_with_gradients(segmenter, network, images)
    sizes = MapSizes(segmenter, network, images, run)
    sizes.read()
    return run, sizes


def _run_with_gradients(segmenter: Segmenter, network: nn.Module, images: Tensor) -> Run:
    """A run that tells what the output depends on, or one without gradients if the model cannot run with them."""
    try:
        return record_run(segmenter, network, images, gradients=True)
    except Exception as error:
        if is_out_of_memory(error) and len(images) > 1:
            raise  # fewer images may do
        return record_run(segmenter, network, images, gradients=False)


def _named(segmenter: Segmenter, model: nn.Module, layer: nn.Module | str, images: Tensor, layout: Layout) -> Output:
    """The output of a layer that was given."""
    network = unwrapped(model)
    name, module = _module(model, network, layer)
    path = split_name(layer)[1] if isinstance(layer, str) else ()
    with ActivationHook(module, joined_name(name, path), torch.clone, network).attached() as hook:
        segmenter.raw(images)
        shape = tuple(hook.take(len(images)).shape[1:])
    output = Output(Call(module, name), path, shape)
    if not path:
        output.call.main = output
    if len(shape) == 3:
        output.layout = MapSizes(segmenter, network, images, Run(output.call, [])).layout(output, layout)
    elif len(shape) == 2:
        # Maps that other modules put out tell the grid of tokens.
        run = record_run(segmenter, network, images, gradients=False)
        MapSizes(segmenter, network, images, run).read()
        same = [one for one in run.outputs if one.call.module is module and one.shape == shape]
        if same:
            output.grid, output.positions = same[0].grid, same[0].positions
    return output


def _module(model: nn.Module, network: nn.Module, layer: nn.Module | str) -> tuple[str, nn.Module]:
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
