"""Walk the tree of a module by what `nn.Module` itself stores.

Published networks set attributes such as `self.modules` or `self.children`, which hide the methods of those names.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

__all__ = ["modules", "named_modules", "submodule", "tensors"]


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module of the tree once, with its dotted name, parents first; the model itself has the empty name."""
    seen: set[nn.Module] = set()

    def walk(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
        if module in seen:
            return
        seen.add(module)
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
        child = module._modules.get(part)
        if child is None:
            raise KeyError(name)
        module = child
    return module


def tensors(model: nn.Module) -> Iterator[Tensor]:
    """Parameters, then buffers, each once."""
    seen: set[int] = set()
    tree = list(modules(model))
    for stored in ("_parameters", "_buffers"):
        for module in tree:
            for tensor in getattr(module, stored).values():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield tensor
