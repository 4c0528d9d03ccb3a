"""What a layer of a network puts out, caught by a hook, and pooled to one vector per picture."""

from __future__ import annotations

import difflib
import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdm_widgets.segmenter import Segmenter

__all__ = ["Layer", "LayerError", "Pool", "Tap", "check_pool", "find_layer", "named_module", "pooled"]

Pool = Literal["mean", "max", "flatten", "grid"]


class LayerError(ValueError):
    """The layer gives no activations that could be used."""


@dataclass(frozen=True)
class Layer:
    """A layer of a network, and what it puts out.

    Attributes
    ----------
    name : str
        Dotted, as in `model.named_modules()`; empty for the model itself.
    shape : tuple of int
        Of its output for one picture: (channels, rows, cols) of maps, (tokens, channels) of a transformer's tokens,
        (channels,) of vectors.
    chosen : bool
        Whether `layer="auto"` chose it.
    """

    name: str
    shape: tuple[int, ...]
    chosen: bool = False

    @property
    def positions(self) -> int:
        """Places in the picture that the output has a vector for."""
        return _positions(self.shape)

    def __str__(self) -> str:
        name = self.name or "the model itself"
        if len(self.shape) == 3:
            channels, rows, cols = self.shape
            return f"{name}: {channels} channels of {rows} x {cols}"
        if len(self.shape) == 2:
            return f"{name}: {self.shape[0]} tokens of {self.shape[1]} channels"
        return f"{name}: {self.shape[0]} channels"


class Tap:
    """Catches what a module puts out, once per run of the model, and reduces it on the spot.

    Parameters
    ----------
    module : torch.nn.Module
    name : str
        For messages.
    reduce : callable
        What to keep of an output (N, ...). It is called before the model goes on: what follows may overwrite the
        output in place.
    """

    def __init__(self, module: nn.Module, name: str, reduce: Callable[[Tensor], Tensor]) -> None:
        self._module = module
        self._name = name
        self._reduce = reduce
        self._caught: list[Tensor | LayerError] = []
        self._thread = 0

    @contextmanager
    def open(self) -> Iterator[Tap]:
        """Listen to this thread's runs of the model; the hook is removed at the end, whatever happens."""
        self._thread = threading.get_ident()
        handle = self._module.register_forward_hook(self._catch)
        try:
            yield self
        finally:
            handle.remove()
            self._caught.clear()

    def _catch(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if threading.get_ident() != self._thread:
            return  # someone else's run, a scan in the background for instance
        # An error raised here would seem to be the model's own; it is kept for `take`.
        try:
            self._caught.append(self._reduce(self._checked(output)))
        except LayerError as error:
            self._caught.append(error)

    def _checked(self, output: Any) -> Tensor:
        activation = output_tensor(output)
        if activation is None:
            raise LayerError(f"layer {self._name!r} puts out {type(output).__name__}, expected a tensor")
        if activation.ndim not in (2, 3, 4) or 0 in activation.shape:
            raise LayerError(
                f"layer {self._name!r} put out {tuple(activation.shape)}; expected (N, channels, rows, cols), "
                "(N, tokens, channels) or (N, channels)"
            )
        if not activation.is_floating_point():
            raise LayerError(f"layer {self._name!r} puts out {activation.dtype}, expected a floating type")
        return activation.detach()

    def clear(self) -> None:
        """Forget what a run that failed left behind."""
        self._caught.clear()

    def take(self, count: int) -> Tensor:
        """What was kept, (count, ...), of the run that just ended."""
        caught, self._caught = self._caught, []
        if not caught:
            raise LayerError(f"layer {self._name!r} did not run when the model ran; choose one that takes part")
        if len(caught) > 1:
            raise LayerError(
                f"layer {self._name!r} ran {len(caught)} times in one run of the model, so that its output is not one "
                "per picture; choose a layer that runs once"
            )
        if isinstance(caught[0], LayerError):
            raise caught[0]
        if len(caught[0]) != count:
            raise LayerError(
                f"layer {self._name!r} put out {len(caught[0])} activations for {count} picture(s); it works on parts "
                "of pictures or on several together"
            )
        return caught[0]


def output_tensor(output: Any) -> Tensor | None:
    """The tensor in what a module returned: itself, `last_hidden_state`, `logits` or `out`, or the first entry."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        for key in ("last_hidden_state", "logits", "out"):
            if key in output:
                return output_tensor(output[key])
        return None
    if isinstance(output, (list, tuple)) and output:
        return output_tensor(output[0])
    return None


def check_pool(pool: object) -> Pool:
    """One of the poolings by name."""
    if pool not in get_args(Pool):
        raise ValueError(f"pool must be one of {', '.join(repr(name) for name in get_args(Pool))}, got {pool!r}")
    return pool  # type: ignore[return-value]  # mypy does not narrow by get_args


def pooled(activation: Tensor, pool: Pool, grid: int = 2) -> Tensor:
    """One float32 vector per picture.

    Parameters
    ----------
    activation : torch.Tensor, (N, channels, rows, cols), (N, tokens, channels) or (N, channels)
    pool : {"mean", "max", "flatten", "grid"}
        Over all places: their mean, their largest value channel by channel; every value as it is; or the means over
        `grid` x `grid` cells. Vectors without places stay as they are.
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
                    f"pool='grid' needs the places of a square picture; {activation.shape[-1]} tokens are none"
                )
            activation = activation.reshape(*activation.shape[:2], side, side)
        return F.adaptive_avg_pool2d(activation, grid).flatten(1)
    if pool == "flatten":
        return activation.flatten(1).clone()
    places = activation.flatten(2)
    return places.mean(-1) if pool == "mean" else places.amax(-1)


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
    model = segmenter.model
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"the latent space is in the layers of a torch.nn.Module; a {type(model).__name__} does not show its own"
        )
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


def named_module(model: nn.Module, name: str) -> nn.Module:
    """The module of this dotted name; advice with the error if there is none."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        names = [known for known, _ in model.named_modules()]
        near = difflib.get_close_matches(name, names, n=3)
        known = [one for one in names if one and "." not in one] or ["no layer with a name"]
        advice = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the model has {', '.join(known)}"
        raise LayerError(f"the model has no layer {name!r}; {advice}") from None


def _positions(shape: tuple[int, ...]) -> int:
    if len(shape) == 3:
        return shape[1] * shape[2]
    return shape[0] if len(shape) == 2 else 1


@dataclass
class _Output:
    """A module's output in the run that looks for the bottleneck."""

    name: str
    tensor: Tensor
    positions: int


def _bottleneck(segmenter: Segmenter, model: nn.Module, pictures: Tensor) -> tuple[str, tuple[int, ...]]:
    """Name and output shape of the module that is the bottleneck."""
    try:
        outputs = _watch(segmenter, model, pictures, gradients=True)
    except Exception:  # noqa: BLE001 - some models cannot run where gradients are recorded; then all outputs count
        outputs = _watch(segmenter, model, pictures, gradients=False)
    # A single place sums up the whole picture (squeeze-excite, a pooled branch) wherever anything else is there.
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
                positions = tensor[0].numel() if is_map else _positions(tuple(tensor.shape[1:]))
                outputs.append(_Output(name, tensor, positions))

        return watch

    handles = [module.register_forward_hook(watcher(name)) for name, module in model.named_modules() if name]
    try:
        with segmenter.borrowed(), torch.inference_mode(False), torch.set_grad_enabled(gradients):
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
