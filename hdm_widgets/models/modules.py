"""Walk and move the tree of a user's module without methods that the user may have hidden.

Published networks set attributes such as `self.modules = [...]` or `self.children = 3`, which hide the methods of those
names. What is here reads what `nn.Module` itself stores.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "apply_to_tensors",
    "has_method",
    "model_device",
    "model_dtype",
    "modules",
    "move",
    "named_modules",
    "parameters",
    "same_device",
    "shows_children",
    "submodule",
    "tensors",
    "unwrapped",
    "wrapped_by_compiler",
]


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module of the tree once, with its dotted name, parents first; the model itself has the empty name."""
    seen: set[int] = set()

    def walk(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
        if id(module) in seen:
            return
        seen.add(id(module))
        yield prefix, module
        for name, child in module._modules.items():
            if child is not None:
                yield from walk(child, f"{prefix}.{name}" if prefix else name)

    return walk(model, "")


def modules(model: nn.Module) -> Iterator[nn.Module]:
    """Every module of the tree once, parents first."""
    return (module for _, module in named_modules(model))


def submodule(model: nn.Module, name: str) -> nn.Module:
    """The module of a dotted name, also of one that is reached by several names.

    Raises
    ------
    KeyError
        If there is none.
    """
    module = model
    for part in name.split(".") if name else ():
        child = dict(module._modules.items()).get(part)
        if child is None:
            raise KeyError(name)
        module = child
    return module


def parameters(model: nn.Module) -> Iterator[Tensor]:
    """Every parameter once."""
    return _stored(model, "_parameters")


def tensors(model: nn.Module) -> Iterator[Tensor]:
    """Parameters, then buffers, each once."""
    return _stored(model, "_parameters", "_buffers")


def _stored(model: nn.Module, *stores: str) -> Iterator[Tensor]:
    # Keep the tensors: scripted modules make new ones at every look, and ids are used again.
    seen: dict[int, Tensor] = {}
    for store in stores:
        # Walked as far as is asked: the first tensor of a large network comes at once.
        for module in modules(model):
            for tensor in getattr(module, store).values():
                if tensor is not None and id(tensor) not in seen:
                    seen[id(tensor)] = tensor
                    yield tensor


def model_device(model: nn.Module) -> torch.device | None:
    """Where the model's first tensor is; None for a model without any."""
    return next((tensor.device for tensor in tensors(model)), None)


def model_dtype(model: nn.Module) -> torch.dtype:
    """Floating type of the parameters; float32 for a model without any."""
    return next((tensor.dtype for tensor in parameters(model) if tensor.is_floating_point()), torch.float32)


def same_device(a: torch.device, b: torch.device) -> bool:
    """Whether two devices are one; a device without an index counts as the first of its kind."""
    return a.type == b.type and (a.index or 0) == (b.index or 0)


def has_method(module: nn.Module, name: str) -> bool:
    """Whether the method of this name is there, not an attribute that hides it.

    A function of the same name counts as the method: some libraries put a wrapped method on the instance.
    """
    if name in vars(module):
        return getattr(vars(module)[name], "__name__", None) == name
    return inspect.isroutine(inspect.getattr_static(type(module), name, None))


def shows_children(model: nn.Module) -> bool:
    """Whether all modules have the methods of `nn.Module` by which it reaches their children."""
    return all(
        getattr(type(module), name) is getattr(nn.Module, name) and name not in vars(module)
        for module in modules(model)
        for name in ("children", "named_children")
    )


def move(model: nn.Module, device: torch.device) -> None:
    """Move a model to a device: by its own `to`, or else module by module."""
    if has_method(model, "to") and shows_children(model) and all(has_method(one, "_apply") for one in modules(model)):
        model.to(device)
    else:
        apply_to_tensors(model, lambda tensor: tensor.to(device))


def apply_to_tensors(model: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
    """Replace all parameters, gradients and buffers by what `function` makes of them.

    A module's own `_apply`, which may hold more tensors than those, is called if it can be called without its children.
    """
    for module in list(modules(model)):
        own: Any = module._apply if has_method(module, "_apply") else None
        if own is None or "recurse" not in inspect.signature(own).parameters:
            nn.Module._apply(module, function, recurse=False)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        else:
            own(function, recurse=False)


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside DataParallel, DistributedDataParallel and `torch.compile`; any other model itself."""
    while (inner := _wrapped(model)) is not None:
        model = inner
    return model


def _wrapped(model: nn.Module) -> nn.Module | None:
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return model._modules["module"]
    return wrapped_by_compiler(model)


def wrapped_by_compiler(module: nn.Module) -> nn.Module | None:
    """The module inside what `torch.compile` returned; None for any other module."""
    # Only `torch.compile` imports this, and it takes a while.
    compiler: Any = sys.modules.get("torch._dynamo.eval_frame")
    return module._modules["_orig_mod"] if compiler and isinstance(module, compiler.OptimizedModule) else None
