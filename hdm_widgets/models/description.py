"""What kept results depend on, as JSON can hold it, and what two such descriptions differ in."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hdm_widgets._masks import Ignore, read_mask
from hdm_widgets.models.fingerprint import content_fingerprint
from hdm_widgets.models.modules import unwrapped
from hdm_widgets.models.reading import Reading
from hdm_widgets.models.segmenter import Segmenter

__all__ = [
    "describe_ignored",
    "describe_model",
    "describe_reading",
    "describe_segmenter",
    "differences",
    "plain",
]

_SETTINGS = ("target", "threshold", "activation", "classes", "align", "window", "overlap", "blending")


def describe_model(model: object) -> dict[str, Any]:
    """What a model is: class, structure and weights of a Module, and of any other function its name alone."""
    if isinstance(model, torch.nn.Module):
        found: dict[str, Any] = dict(content_fingerprint(unwrapped(model)))
    else:
        found = {"name": _named(model)}
    return {f"model's {name}": value for name, value in found.items()}


def describe_segmenter(segmenter: Segmenter) -> dict[str, Any]:
    """The settings of a segmenter by which it makes masks of what its model returns."""
    return {
        **{name: _listed(getattr(segmenter, name)) for name in _SETTINGS},
        "layout of the model's output": segmenter.layout,
        "pad_to": segmenter.pad_to,
        "output": _named(segmenter.output),
        "preprocess": _named(segmenter.preprocess),
    }


def describe_reading(reading: Reading) -> dict[str, Any]:
    """What the first output of a model has decided for all others."""
    return {
        "form of the model's output": reading.form,
        "kind of the output's values": reading.values,
        "order of the output's axes": reading.layout,
    }


def describe_ignored(ignore: Ignore | None) -> Any:
    """The pixels that do not count: their value, or a hash of their mask."""
    if isinstance(ignore, (Tensor, np.ndarray)):
        return hashlib.sha256(np.packbits(read_mask(ignore).mask).tobytes()).hexdigest()
    return None if ignore is None else plain(float(ignore))


def differences(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What two descriptions differ in, in words."""
    found = []
    for name in dict.fromkeys([*wanted, *stored]):
        one, other = stored.get(name), wanted.get(name)
        if one == other:
            continue
        if name in ("model's weights", "model's structure"):
            found.append(f"the {name} {'are' if name.endswith('s') else 'is'} another")
        else:
            found.append(f"{name} is {one!r} in the store and {other!r} now")
    return found


def plain(value: Any) -> Any:
    """The same as it comes back from JSON and can be compared: lists in place of tuples, a text in place of NaN."""
    if isinstance(value, float) and value != value:
        return "NaN"
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _named(value: Any) -> Any:
    """A setting as JSON can hold it; a function by its name."""
    if isinstance(value, torch.nn.Module):
        return content_fingerprint(value)
    return [getattr(value, "__qualname__", type(value).__qualname__)] if callable(value) else value


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
