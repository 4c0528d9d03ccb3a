"""Run compiled models without the compiler, so that hooks on their layers are called."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from hdm_widgets.models.modules import modules, wrapped_by_compiler

__all__ = ["Uncompiled", "uncompiled"]

# Attributes by which `torch.compile` and `nn.Module.compile` put compiled code before a module's own.
_CALLED = ("forward", "_forward", "_compiled_call_impl")


@dataclass(eq=False)
class _Switch:
    """Call the compiled code, or in some threads the module's own.

    Attributes
    ----------
    compiled, own : callable
    threads : list of int
        Those that call `own`; one entry per use.
    """

    compiled: Callable[..., Any]
    own: Callable[..., Any]
    threads: list[int]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        chosen = self.own if threading.get_ident() in self.threads else self.compiled
        return chosen(*args, **kwargs)


class Uncompiled:
    """Run models without the compiler in one thread; other threads run the compiled code meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By module: threads that use it, and what its attributes were. The module is kept, so that its id is its own.
        self._uses: dict[int, tuple[nn.Module, list[int], dict[str, Any]]] = {}

    @contextmanager
    def __call__(self, model: nn.Module) -> Iterator[None]:
        """Run every module of a model without the compiler in this thread.

        PyTorch compiles the hooks that are there at the first run into a module's code, and ignores later ones.
        """
        thread = threading.get_ident()
        entered: list[nn.Module] = []
        with self._lock:
            for module in modules(model):
                if id(module) in self._uses or _compiled(module):
                    self._enter(module, thread)
                    entered.append(module)
        try:
            yield
        finally:
            with self._lock:
                for module in entered:
                    self._leave(module, thread)

    def _enter(self, module: nn.Module, thread: int) -> None:
        if id(module) not in self._uses:
            threads: list[int] = []
            attributes = vars(module)
            before = {name: attributes[name] for name in _CALLED if name in attributes}
            for name, (compiled, own) in _compiled(module).items():
                attributes[name] = _Switch(compiled, own, threads)
            self._uses[id(module)] = module, threads, before
        self._uses[id(module)][1].append(thread)

    def _leave(self, module: nn.Module, thread: int) -> None:
        _, threads, before = self._uses[id(module)]
        threads.remove(thread)
        if not threads:
            del self._uses[id(module)]
            attributes = vars(module)
            for name in _CALLED:
                if isinstance(attributes.get(name), _Switch):
                    attributes.pop(name)
                    attributes |= {name: before[name]} if name in before else {}


def _compiled(module: nn.Module) -> dict[str, tuple[Callable[..., Any], Callable[..., Any]]]:
    """What calls compiled code in a module: by attribute, that and the code that it replaces."""
    if "torch._dynamo" not in sys.modules:
        return {}
    if (inside := wrapped_by_compiler(module)) is not None:
        return {"forward": (vars(module)["forward"], inside)}
    found: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}
    for name in _CALLED:
        compiled = vars(module).get(name)
        own = getattr(compiled, "_torchdynamo_orig_callable", None)
        if own is None and name == "forward" and name not in vars(module):
            # A decorated method of the class.
            function = getattr(type(module), name, None)
            if (own := getattr(function, "_torchdynamo_orig_callable", None)) is not None:
                compiled, own = types.MethodType(function, module), types.MethodType(own, module)  # type: ignore[arg-type]
        if compiled is not None and own is not None:
            found[name] = compiled, own
    return found


uncompiled = Uncompiled()
