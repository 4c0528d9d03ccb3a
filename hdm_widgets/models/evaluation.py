"""Hold a user's model in eval mode on a device, and put it back as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hdm_widgets.models.freed_memory import keep_freed_memory
from hdm_widgets.models.modules import apply_to_tensors, model_device, modules, move, same_device
from hdm_widgets.models.training_mode import EvalMode

__all__ = ["Evaluating", "evaluating"]

_STORES = ("_parameters", "_buffers")


class _State:
    """Modes and devices of a model before its first use, and how many uses there are now."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.users = 0
        self.device: torch.device | None = None
        self._mode = EvalMode(model)
        self._home = model_device(model)
        self._moved = False
        # By module, store and name: a tensor that moves is a new object, or has new data.
        self._devices = {
            (id(module), store, name): tensor.device
            for module in modules(model)
            for store in _STORES
            for name, tensor in getattr(module, store).items()
            if tensor is not None
        }

    def enter(self, device: torch.device | None) -> None:
        """Move to `device`, then set eval mode; the model is as before if either fails."""
        self.device = device or self._home
        try:
            if device is not None and (self._home is None or not same_device(device, self._home)):
                self._moved = True
                move(self.model, device)
            self._mode.enter()
        except BaseException:
            self._mode.leave()
            if self._moved:
                self._restore_devices()
            raise

    def leave(self) -> None:
        """Put everything back."""
        self._mode.leave()
        if not self._moved or self._home is None:
            return
        if set(self._devices.values()) == {self._home}:
            move(self.model, self._home)
        else:
            self._restore_devices()

    def _restore_devices(self) -> None:
        """Move every tensor back to its own device, and tensors that have appeared since to the model's first."""
        home = self._home
        if home is None:
            return
        # The tensors are kept beside their devices, so that no other object gets the id of one of them.
        devices: dict[int, tuple[Tensor, torch.device]] = {}
        for module in modules(self.model):
            for store in _STORES:
                for name, tensor in getattr(module, store).items():
                    if tensor is not None:
                        device = self._devices.get((id(module), store, name), home)
                        devices[id(tensor)] = tensor, device
                        if store == "_parameters" and tensor.grad is not None:
                            devices[id(tensor.grad)] = tensor.grad, device

        def back(tensor: Tensor) -> Tensor:
            return tensor.to(devices[id(tensor)][1] if id(tensor) in devices else home)

        apply_to_tensors(self.model, back)


class Evaluating:
    """Hold models in eval mode; what was changed is put back when the last of all overlapping uses ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[int, _State] = {}

    @contextmanager
    def __call__(self, model: nn.Module, device: torch.device | None = None) -> Iterator[None]:
        """Hold a model in eval mode on `device`, by default where it is.

        Raises
        ------
        RuntimeError
            If another use that has not ended yet holds the model on another device.
        """
        keep_freed_memory()
        with self._lock:
            state = self._states.get(id(model))
            if state is None:
                state = _State(model)
                state.enter(device)
                self._states[id(model)] = state
            elif device is not None and state.device is not None and not same_device(device, state.device):
                raise RuntimeError(
                    f"the model is in use on {state.device}, so it cannot be moved to {device} now; "
                    f"wait until that use ends, or ask for {state.device} too"
                )
            state.users += 1
        try:
            yield
        finally:
            with self._lock:
                state.users -= 1
                if not state.users:
                    del self._states[id(model)]
                    state.leave()


evaluating = Evaluating()
