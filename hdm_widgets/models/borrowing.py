"""Use a user's module and put it back as it was."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["evaluating", "home_of", "precision", "same_device"]


class Borrowing:
    """Modules in use by some segmenter, with the state to put back when the last user leaves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()
        self._before: weakref.WeakKeyDictionary[nn.Module, tuple[list[bool], torch.device | None]] = (
            weakref.WeakKeyDictionary()
        )

    @contextmanager
    def __call__(self, model: nn.Module, device: torch.device | None) -> Iterator[None]:
        """In eval mode, on `device`, until the last of all overlapping uses ends."""
        with self._lock:
            if not self._users.get(model):
                training, home = [module.training for module in model.modules()], home_of(model)
                if device is not None and device != home:
                    model.to(device)
                model.eval()
                self._before[model] = training, home
            self._users[model] = self._users.get(model, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._users[model] -= 1
                if not self._users[model]:
                    training, home = self._before.pop(model)
                    for module, mode in zip(model.modules(), training, strict=True):
                        module.training = mode
                    if home is not None and home != home_of(model):
                        model.to(home)


evaluating = Borrowing()


def home_of(model: nn.Module) -> torch.device | None:
    """Where the model's weights are; None for a model without any."""
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        return tensor.device
    return None


def same_device(a: torch.device, b: torch.device) -> bool:
    """Whether two devices are one; without an index, the first is meant."""
    return a.type == b.type and (a.index or 0) == (b.index or 0)


def precision(model: nn.Module) -> torch.dtype:
    """Floating type of the weights; float32 for a model without any."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
