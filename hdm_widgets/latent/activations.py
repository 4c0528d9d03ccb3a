"""What a layer of a network puts out, recorded by a hook, and pooled to one vector per image."""

from __future__ import annotations

import difflib
import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdm_widgets.latent.layouts import FIRST, MapLayout, channels_first
from hdm_widgets.latent.outputs import LayerError, activation_of, output_tensor, split_name
from hdm_widgets.models.modules import named_modules, submodule, unwrapped
from hdm_widgets.models.segmenter import Segmenter

__all__ = [
    "ROUNDING",
    "ActivationHook",
    "Layer",
    "LayerError",
    "Pool",
    "find_module",
    "network_of",
    "output_tensor",
    "pooled",
    "positions",
    "unwrapped_segmenter",
]

# Activations that differ by less than this fraction of their size differ by float32 arithmetic alone.
ROUNDING = 2e-6

Pool = Literal["mean", "max", "flatten", "grid"]


@dataclass(frozen=True)
class Layer:
    """A layer of a network, and the shape of its output.

    Attributes
    ----------
    name : str
        Dotted, as in `model.named_modules()`; empty for the model itself. `"encoder[3]"` is one of several maps that
        `encoder` returns.
    shape : tuple of int
        Of its output for one image: (channels, rows, cols) of maps, (tokens, channels) of a transformer's tokens,
        (channels,) of vectors.
    chosen : bool
        Whether `layer="auto"` chose it.
    layout : {"channels_first", "channels_last"}
        The axis of the channels in the maps that the layer itself puts out. In `shape` they are always first.
    given : bool
        Whether there is no layer: the features were given to `LatentSpace.from_features`.
    grid : tuple of int or None
        Rows and columns of the patches that tokens are of; None for anything else, or if it cannot be told. Tokens
        beyond these, such as the class token, come first.
    """

    name: str
    shape: tuple[int, ...]
    chosen: bool = False
    layout: MapLayout = FIRST
    given: bool = False
    # It follows from the shape and the network.
    grid: tuple[int, int] | None = field(default=None, compare=False)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Layer:
        """A layer from what `dataclasses.asdict` made of one, with lists in place of tuples."""
        values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in fields.items()}
        return cls(**values)

    @property
    def positions(self) -> int:
        """Spatial positions that the output has a vector for."""
        if self.grid is not None:
            return self.grid[0] * self.grid[1]
        return positions(self.shape)

    @property
    def class_tokens(self) -> int:
        """Tokens that stand for no position of the image."""
        return 0 if self.grid is None else self.shape[0] - self.positions

    @property
    def map_shape(self) -> tuple[int, ...]:
        """Shape of one image's `maps`."""
        return self.shape if self.grid is None else (self.shape[1], *self.grid)

    def maps(self, activation: Tensor) -> Tensor:
        """An output of the layer as maps (N, channels, rows, cols), tokens as maps if their grid is known."""
        activation = channels_first(activation, self.layout)
        if self.grid is None or activation.ndim != 3:
            return activation
        # Without the class tokens: they are no positions.
        patches = activation[:, self.class_tokens :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *self.grid)

    def __str__(self) -> str:
        return self.size_text if self.given else f"{self.name or 'the model itself'}: {self.size_text}"

    @property
    def size_text(self) -> str:
        """The shape in words."""
        if self.given:
            return f"{self.shape[0]} features of your own"
        if len(self.shape) == 3:
            channels, rows, cols = self.shape
            return f"{channels} channels of {rows} x {cols}"
        if len(self.shape) == 1:
            return f"{self.shape[0]} channels"
        text = f"{self.shape[0]} tokens of {self.shape[1]} channels"
        if self.grid is None:
            return text
        patches = f"{self.grid[0]} x {self.grid[1]} patches"
        return f"{text} ({patches} and {self.class_tokens} more)" if self.class_tokens else f"{text} ({patches})"


class ActivationHook:
    """Records what a module puts out in every run of the model.

    Parameters
    ----------
    module : torch.nn.Module
        Part of the network that is run, not of a wrapper that would run copies of it.
    name : str
        For messages.
    reduce : callable
        What to keep of an output (N, ...). It is called before the model goes on, because what follows may overwrite
        the output in place.
    network : torch.nn.Module, optional
        What is run. Of several runs of it only the first is recorded: a Segmenter may run it again to find out how its
        output is to be read.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str,
        reduce: Callable[[Tensor], Tensor],
        network: nn.Module | None = None,
    ) -> None:
        self._module = module
        self._name = name
        self._reduce = reduce
        self._network = network
        self._runs = 0
        self._recorded: list[Tensor | LayerError] = []
        self._thread = 0

    @contextmanager
    def attached(self) -> Iterator[ActivationHook]:
        """Record the runs of this thread; the hook is removed at the end, whatever happens."""
        self._thread = threading.get_ident()
        handles = [nn.Module.register_forward_hook(self._module, self._record)]
        if self._network is not None:
            handles.append(nn.Module.register_forward_pre_hook(self._network, self._count_run))
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()
            self.clear()

    def _count_run(self, _network: nn.Module, _inputs: Any) -> None:
        if threading.get_ident() == self._thread:
            self._runs += 1

    def _record(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if threading.get_ident() != self._thread:
            return  # another run of the same model, a scan in the background for instance
        if self._runs > 1:
            return
        # An error raised here would seem to be the model's own; it is kept for `take`.
        try:
            self._recorded.append(self._reduce(self._checked(output)))
        except LayerError as error:
            self._recorded.append(error)

    def _checked(self, output: Any) -> Tensor:
        activation = activation_of(output, self._name)
        if activation.ndim not in (2, 3, 4) or 0 in activation.shape:
            raise LayerError(
                f"layer {self._name!r} put out {tuple(activation.shape)}; expected (N, channels, rows, cols), "
                "(N, tokens, channels) or (N, channels)"
            )
        if not activation.is_floating_point():
            raise LayerError(f"layer {self._name!r} puts out {activation.dtype}, expected a floating type")
        return activation.detach()

    def clear(self) -> None:
        """Discard what a run that failed has left."""
        self._recorded.clear()
        self._runs = 0

    def take(self, count: int) -> Tensor:
        """What was kept, (count, ...), of the run that just ended."""
        recorded, self._recorded, self._runs = self._recorded, [], 0
        if not recorded:
            raise LayerError(f"layer {self._name!r} did not run when the model ran; choose one that takes part")
        if len(recorded) > 1:
            raise LayerError(
                f"layer {self._name!r} ran {len(recorded)} times in one run of the model, so that its output is not "
                "one per image; choose a layer that runs once"
            )
        if isinstance(recorded[0], LayerError):
            raise recorded[0]
        if len(recorded[0]) != count:
            raise LayerError(
                f"layer {self._name!r} put out {len(recorded[0])} activations for {count} image(s); it works on parts "
                "of images or on several together"
            )
        return recorded[0]


def pooled(activation: Tensor, pool: Pool, grid: int = 2) -> Tensor:
    """One float32 vector per image.

    Parameters
    ----------
    activation : torch.Tensor, (N, channels, rows, cols), (N, tokens, channels) or (N, channels)
    pool : {"mean", "max", "flatten", "grid"}
        Over all spatial positions: their mean, their largest value channel by channel; every value as it is; or the
        means over `grid` x `grid` cells. Vectors without positions stay as they are.
    grid : int
        Cells to a side, for `"grid"`.

    Returns
    -------
    torch.Tensor, float32 (N, features)
        A copy: the activation may be overwritten.
    """
    activation = activation.float()
    if activation.ndim == 2:
        return activation.clone()
    if activation.ndim == 3:
        activation = activation.transpose(1, 2)
    if pool == "grid":
        if activation.ndim == 3:
            side = math.isqrt(activation.shape[-1])
            if side * side != activation.shape[-1]:
                raise LayerError(
                    f"pool='grid' needs the positions of a square image; {activation.shape[-1]} tokens are none"
                )
            activation = activation.reshape(*activation.shape[:2], side, side)
        return F.adaptive_avg_pool2d(activation, grid).flatten(1)
    if pool == "flatten":
        return activation.flatten(1).clone()
    values = activation.flatten(2)
    return values.mean(-1) if pool == "mean" else values.amax(-1)


def network_of(segmenter: Segmenter) -> nn.Module:
    """The Module that a segmenter wraps.

    Raises
    ------
    TypeError
        For anything whose layers cannot be seen: another function, TorchScript, an exported program.
    ValueError
        For a Segmenter with a window, whose layers run several times for an image.
    """
    if segmenter.window is not None:
        rows, cols = segmenter.window
        raise ValueError(
            f"the Segmenter runs its model in windows of {rows} x {cols} px, several times for an image, and a latent "
            "space needs a layer's output of one run for each: give a Segmenter without window=, and patches of that "
            f"size for images, such as those of hw.data.Tiles(..., patch={max(rows, cols)})"
        )
    model = segmenter.model
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"the latent space is in the layers of a torch.nn.Module; a {type(model).__name__} does not show its own. "
            f"Give the Module that it runs, or features of your own: {_FROM_FEATURES}"
        )
    network = unwrapped(model)
    # Graph modules exist only where torch.fx is loaded.
    fx: Any = sys.modules.get("torch.fx")
    if isinstance(network, torch.jit.ScriptModule):
        kind = "is TorchScript"
    elif (
        fx
        and isinstance(network, fx.GraphModule)
        and not any(_runs_layers(node, network) for node in network.graph.nodes)
    ):
        kind = "was exported"
    else:
        return model
    raise TypeError(
        f"the model {kind}, so that it shows no layers: it runs as one program. Give the Module that it was made of, "
        f"or features of your own: {_FROM_FEATURES}"
    )


_FROM_FEATURES = "LatentSpace.from_features(features, dataset, predictions=masks)"


def _runs_layers(node: Any, network: nn.Module) -> bool:
    """Whether a node of a graph runs a module; torch.export leaves only what checks the inputs."""
    return node.op == "call_module" and type(submodule(network, node.target)).__name__ != "GuardsFn"


def unwrapped_segmenter(segmenter: Segmenter) -> Segmenter:
    """The same segmenter around the network inside DataParallel and other wrappers.

    A wrapper may run copies of the network in other threads, on other devices, or compiled, without its hooks.
    """
    network = network_of(segmenter)
    inner = unwrapped(network)
    return segmenter if inner is network else segmenter.around(inner)


def find_module(model: nn.Module, name: str) -> nn.Module:
    """The module of this dotted name; advice with the error if there is none.

    For a model in a wrapper, names count within the wrapper or within the network inside. A path into the module's
    output may follow, as in `encoder[3]`.
    """
    name, _ = split_name(name)
    network = unwrapped(model)
    for root in (network, model):
        if (module := _inside_wrappers(root, name)) is not None:
            return module
    names = [other for other, _ in named_modules(network)]
    near = difflib.get_close_matches(name, names, n=3)
    top = [other for other in names if other and "." not in other] or ["no layer with a name"]
    advice = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the model has {', '.join(top)}"
    raise LayerError(f"the model has no layer {name!r}; {advice}")


def _inside_wrappers(root: nn.Module, name: str) -> nn.Module | None:
    """The module of this name, whether a wrapper around a part of it has a place in the name or not."""
    module = root
    for part in name.split(".") if name else ():
        children = dict(module._modules.items())
        if part not in children:
            children = dict(unwrapped(module)._modules.items())
        child = children.get(part)
        if child is not None:
            module = child
        elif part not in _WRAPPED:
            return None
    return unwrapped(module)


# What DataParallel and `torch.compile` call the module inside.
_WRAPPED = ("module", "_orig_mod")


def positions(shape: tuple[int, ...]) -> int:
    """Spatial positions that an output of this shape, for one image, has a vector for."""
    if len(shape) == 3:
        return shape[1] * shape[2]
    return shape[0] if len(shape) == 2 else 1
