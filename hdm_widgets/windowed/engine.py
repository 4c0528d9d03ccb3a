"""A network of a user's, traced, with its weights as they are now."""

from __future__ import annotations

import threading

import torch
from torch import Tensor, nn

from hdm_widgets.models.fingerprint import fingerprint
from hdm_widgets.windowed.build import build
from hdm_widgets.windowed.network import Network
from hdm_widgets.windowed.trace import trace

__all__ = ["Engine"]


class Engine:
    """Runs a network whole or in windows; the module itself is only read.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode, (N, C, H, W) to one tensor with N first. It is not kept, its weights are.
    picture : torch.Tensor (C, H, W)
        Of the size, type and device that it will be used for.

    Raises
    ------
    TraceError
        If the network cannot be traced.
    """

    def __init__(self, network: nn.Module, picture: Tensor) -> None:
        self._trace = trace(network, picture)
        self._device = picture.device
        self._lock = threading.Lock()
        self._weights = self._versions()
        self._network = self._built()

    @property
    def network(self) -> Network:
        """With the weights as they are now."""
        with self._lock:
            versions = self._versions()
            if versions != self._weights:
                self._weights, self._network = versions, self._built()
            return self._network

    def _built(self) -> Network:
        with torch.inference_mode():
            return Network(build(self._trace), self._device)

    def _versions(self) -> bytes:
        return fingerprint(self._trace.constants.values())
