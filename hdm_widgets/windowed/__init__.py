"""Exact windowed inference: compute only the part of a network's output that a local change of the image changes.

A network is traced once (`TracedModel`). With the activations of one image cached (`WindowedInference`), the output
for an image that differs from it in a box is computed from windows: every operation runs on the receptive field of
what may change, completed from those activations. These are the sums that the full network computes, so the output is
the same up to float rounding. This package knows tensors and boxes only, nothing of discs or distances.
"""

from __future__ import annotations

import warnings
from typing import Any

from hdm_widgets.windowed.calls import TraceError
from hdm_widgets.windowed.inference import WindowedInference, Windows
from hdm_widgets.windowed.network import Network, TracedModel
from hdm_widgets.windowed.typical import TypicalActivations

__all__ = ["Network", "TraceError", "TracedModel", "TypicalActivations", "WindowedInference", "Windows"]

_RENAMED = {"Base": WindowedInference, "Engine": TracedModel}


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    renamed = _RENAMED[name]
    warnings.warn(f"{__name__}.{name} is now called {renamed.__name__}", DeprecationWarning, stacklevel=2)
    return renamed
