"""Put a user's model into training or eval mode, whatever its own `train` and `eval` do.

`nn.Module.train` sets a flag in every module and nothing else. A model's own `train` or `eval` may forget to set the
flags, switch something else as well, or be another thing altogether: some libraries name the method that trains a model
`train`. So a model's own methods are called only if all of them call `nn.Module`'s through `super()`, and what they
write to the weights is undone. Then, and in any other case, the flags are set module by module.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from hdm_widgets.models.modules import has_method, modules, shows_children, tensors

__all__ = ["EvalMode", "set_training"]

_METHODS = ("train", "eval")
_STORES = ("_parameters", "_buffers", "_modules")
# Modules are looked for in lists of at most this many entries.
_LONGEST = 1000


def set_training(model: nn.Module, mode: bool) -> None:
    """Put a model into training or eval mode, by its own `train` or `eval` where that serves.

    In eval mode no module's flag is left set. In training mode those stay clear that the model's own `train` clears,
    as for batch norm that is frozen.
    """
    if not mode:
        EvalMode(model).enter()
    elif _calls_through(model):
        model.train()
    else:
        for module in _all_modules(model):
            _set_flag(module, True)


class EvalMode:
    """Eval mode of a model, and what was there before.

    Parameters
    ----------
    model : torch.nn.Module
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._flags = [(module, flag) for module in _all_modules(model) if (flag := _flag(module)) is not None]
        # Attributes that the model's own `eval` changed: their dictionary, name, value before and value set.
        self._changes: list[tuple[dict[str, Any], str, Any, Any]] = []

    def enter(self) -> None:
        """Set eval mode.

        A model that is in eval mode already is left as it is: its own `eval` has been called, or is not wanted.

        Raises
        ------
        RuntimeError
            If a module stays in training mode.
        """
        if not any(flag for _, flag in self._flags):
            return
        if _calls_through(self._model):
            self._call_eval() if _has_own_methods(self._model) else self._model.eval()
        for module in _all_modules(self._model):
            _set_flag(module, False)

    def leave(self) -> None:
        """Put everything back; modules that have appeared since get the mode of their parent."""
        for attributes, name, before, after in reversed(self._changes):
            if attributes.get(name, _ABSENT) is after:
                _put(attributes, name, before)
        self._changes.clear()
        before = {id(module) for module, _ in self._flags}
        for module, flag in self._flags:
            _set_flag(module, flag)
        for module in modules(self._model):
            for child in module._modules.values():
                if child is not None and id(child) not in before:
                    before.add(id(child))
                    _set_flag(child, _flag(module))

    def _call_eval(self) -> None:
        """Call the model's own `eval`; keep what attributes it changed, and undo it if it wrote to the weights."""
        tree = list(modules(self._model))
        stores = [(store, dict(store)) for module in tree for name in _STORES for store in [getattr(module, name)]]
        weights = [(tensor, tensor.detach().clone()) for tensor in tensors(self._model)]
        attributes = [(vars(module), dict(vars(module))) for module in tree]
        try:
            self._model.eval()
        finally:
            for now, before in attributes:
                for name in {**before, **now}:
                    pair = before.get(name, _ABSENT), now.get(name, _ABSENT)
                    if name != "training" and pair[0] is not pair[1]:
                        self._changes.append((now, name, *pair))
        if not _same(stores, weights):
            for attributes_now, name, before_call, _ in reversed(self._changes):
                _put(attributes_now, name, before_call)
            self._changes.clear()
            _restore(stores, weights)


_ABSENT = object()


def _put(attributes: dict[str, Any], name: str, value: object) -> None:
    if value is _ABSENT:
        attributes.pop(name, None)
    else:
        attributes[name] = value


def _all_modules(model: nn.Module) -> list[nn.Module]:
    """The modules of the tree, and those that a module holds in an attribute or in a plain list, tuple or dict.

    PyTorch does not see the latter, so that they stay in training mode for good.
    """
    found: dict[int, nn.Module] = {}
    pending = [model]
    while pending:
        module = pending.pop()
        if id(module) not in found:
            found[id(module)] = module
            pending += [child for child in module._modules.values() if child is not None]
            pending += [one for name, value in vars(module).items() if name not in _STANDARD for one in _held(value)]
    return list(found.values())


# What every module has, with its parts in `_modules`.
_STANDARD = frozenset(vars(nn.Module()))


def _held(value: Any) -> list[nn.Module]:
    """The modules that an attribute holds."""
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,)
    return [entry for entry in entries if isinstance(entry, nn.Module)] if len(entries) <= _LONGEST else []


def _flag(module: nn.Module) -> Any:
    """The flag as it is; None if there is none, as in frozen TorchScript."""
    return getattr(module, "training", None)


def _set_flag(module: nn.Module, flag: Any) -> None:
    """Set the flag of a module that has one, and check that it is set."""
    if (before := _flag(module)) is None or before == flag:
        return
    with contextlib.suppress(AttributeError):
        module.training = flag
    if _flag(module) != flag:
        raise RuntimeError(
            f"{type(module).__name__}.training is {_flag(module)} and cannot be set to {flag}: "
            "it must be an attribute, as nn.Module makes it"
        )


def _calls_through(model: nn.Module) -> bool:
    """Whether `train` and `eval` of all modules are those of `nn.Module`, or call them, and reach all children."""
    return shows_children(model) and all(
        not _is_own(module, name) or (has_method(module, name) and _calls_super(getattr(module, name)))
        for module in modules(model)
        for name in _METHODS
    )


def _has_own_methods(model: nn.Module) -> bool:
    return any(_is_own(module, name) for module in modules(model) for name in _METHODS)


def _is_own(module: nn.Module, name: str) -> bool:
    """Whether a module has a method or an attribute of this name in place of `nn.Module`'s."""
    return name in vars(module) or getattr(type(module), name) is not getattr(nn.Module, name)


def _calls_super(method: Any) -> bool:
    """Whether a function calls `train` or `eval` through `super()`."""
    code = getattr(inspect.unwrap(method), "__code__", None)
    return code is not None and "super" in code.co_names and any(name in code.co_names for name in _METHODS)


def _same(stores: list[tuple[Any, dict[str, Any]]], weights: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether modules and tensors are those that they were, with the values that they had."""
    for store, before in stores:
        now = dict(store)
        if now.keys() != before.keys() or any(now[name] is not before[name] for name in now):
            return False
    return all(tensor.shape == value.shape and torch.equal(tensor, value) for tensor, value in weights)


def _restore(stores: list[tuple[Any, dict[str, Any]]], weights: list[tuple[Tensor, Tensor]]) -> None:
    for store, before in stores:
        store.clear()
        store.update(before)
    for tensor, value in weights:
        if tensor.shape == value.shape:
            tensor.detach().copy_(value)
        else:
            tensor.data = value
