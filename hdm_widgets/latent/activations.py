"""What a layer of a network puts out, caught by a hook, and pooled to one vector per picture."""

from __future__ import annotations

import difflib
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from hdm_widgets.models.segmenter import Segmenter

__all__ = [
    "ROUNDING",
    "Layer",
    "LayerError",
    "Pool",
    "Tap",
    "named_module",
    "network_of",
    "output_tensor",
    "pooled",
    "positions",
]

# Activations that differ by less than this share of their size differ by float32 arithmetic alone.
ROUNDING = 2e-6

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
        return positions(self.shape)

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


def network_of(segmenter: Segmenter) -> nn.Module:
    """The Module that a segmenter is around: anything else shows no layers."""
    model = segmenter.model
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"the latent space is in the layers of a torch.nn.Module; a {type(model).__name__} does not show its own"
        )
    return model


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


def positions(shape: tuple[int, ...]) -> int:
    """Places in the picture that an output of this shape, of one picture, has a vector for."""
    if len(shape) == 3:
        return shape[1] * shape[2]
    return shape[0] if len(shape) == 2 else 1
