"""Detect that a model has changed: its weights, or what it consists of."""

from __future__ import annotations

import hashlib
import inspect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hdm_widgets.models.modules import named_modules, wrapped_by_compiler

__all__ = ["content_fingerprint", "fingerprint", "structure"]

# Settings are looked at through so many objects inside each other.
_DEPTH = 3
# Longer containers count by identity and length.
_LONGEST = 256
# Hexadecimal digits of a hash that are kept.
_DIGITS = 32
_STORES = ("_parameters", "_buffers")
_NOT_SETTINGS = {*_STORES, "_modules", "_non_persistent_buffers_set", "training"}


def fingerprint(tensors: Iterable[Tensor]) -> bytes:
    """A value that changes when a tensor is written to or replaced by another.

    PyTorch counts writes to a tensor, but not those through `.data`, and none to tensors made in inference mode: so the
    value includes every tensor's sum.
    """
    given = list(tensors)
    with torch.inference_mode():
        sums = [tensor.sum(dtype=None if tensor.is_floating_point() else torch.int64).double() for tensor in given]
        total = _numbers(sums)
    versions = [(tensor.data_ptr(), None if tensor.is_inference() else tensor._version) for tensor in given]
    return repr((versions, total)).encode()


def _numbers(scalars: list[Tensor]) -> list[float]:
    """The values of scalars, with one copy to the CPU for each device that they are on."""
    places: defaultdict[torch.device, list[int]] = defaultdict(list)
    for place, scalar in enumerate(scalars):
        places[scalar.device].append(place)
    numbers = [0.0] * len(scalars)
    for group in places.values():
        for place, number in zip(group, torch.stack([scalars[place] for place in group]).tolist(), strict=True):
            numbers[place] = number
    return numbers


def content_fingerprint(model: nn.Module) -> dict[str, str]:
    """What a model is, as text that is the same in every process that loads it.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    dict of str to str
        ``class``; ``structure``, a hash of the classes of all modules and the settings of PyTorch's own; ``weights``, a
        hash of all parameters and of the buffers that are saved with a model. Attributes of other modules do not count:
        models keep results in them. What `torch.compile` wraps counts as the module inside.
    """
    parts, weights = hashlib.sha256(), hashlib.sha256()
    for path, module in named_modules(model):
        if wrapped_by_compiler(module) is not None:
            continue
        kind = type(module)
        name = ".".join(part for part in path.split(".") if part != "_orig_mod")
        settings = module.extra_repr() if kind.__module__.startswith("torch.nn.") else ""
        parts.update(f"{name} {kind.__qualname__} {settings}\n".encode())
        for store in _STORES:
            for key, tensor in getattr(module, store).items():
                if tensor is None or key in module._non_persistent_buffers_set:
                    continue
                weights.update(f"{name}.{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                values = tensor.detach().cpu().to_dense() if tensor.is_sparse else tensor.detach().cpu()
                values = values.dequantize() if values.is_quantized else values
                weights.update(values.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return {
        "class": type(model).__qualname__, "structure": parts.hexdigest()[:_DIGITS],
        "weights": weights.hexdigest()[:_DIGITS],
    }  # fmt: skip


def structure(model: nn.Module) -> dict[tuple[str, str], str]:
    """What a model consists of, by module and attribute: classes, settings, hooks and tensors, not their values.

    Parameters and buffers count by identity, type and shape. Other attributes that are tensors count as such only:
    models keep results in them.
    """
    parts: dict[tuple[str, str], str] = {}
    seen: set[int] = set()
    for name, module in named_modules(model):
        kind = type(module)
        # TorchScript modules find their forward when an instance is asked for it.
        forward = inspect.getattr_static(kind, "forward")
        parts[name, "class"] = repr((kind.__qualname__, id(forward), getattr(module, "training", None)))
        for store in _STORES:
            for key, value in getattr(module, store).items():
                parts[name, key] = "" if value is None else repr((id(value), value.dtype, value.shape))
        for key, value in vars(module).items():
            if key not in _NOT_SETTINGS:
                parts[name, key] = repr(_setting(value, _DEPTH, seen))
    return parts


def _setting(value: Any, depth: int, seen: set[int]) -> object:
    """A value that changes when a setting does."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype)):
        return value
    if isinstance(value, Tensor):
        return "tensor"
    if isinstance(value, Mapping):
        inside: list[Any] = [part for item in value.items() for part in item]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = list(value)
    elif id(value) in seen or callable(value):
        return id(value)
    else:
        inside = list(getattr(value, "__dict__", {}).values())
    if not depth or not 0 < len(inside) <= _LONGEST:
        return type(value).__name__, id(value), len(inside)
    seen.add(id(value))
    return type(value).__name__, [_setting(each, depth - 1, seen) for each in inside]
