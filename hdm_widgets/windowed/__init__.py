"""Exact windowed inference: compute only the part of a network's output that a local change of the image changes.

A network is traced once (`Engine`). With the activations of one image at hand (`Base`), the output for an image that
differs from it in a box is computed from windows: every operation runs on the receptive field of what may change,
completed from those activations. These are the sums that the full network computes, so the output is the same up to
float rounding. This package knows tensors and boxes only, nothing of discs or distances.
"""

from hdm_widgets.windowed.base import Base, Windows
from hdm_widgets.windowed.calls import TraceError
from hdm_widgets.windowed.network import Engine, Network

__all__ = ["Base", "Engine", "Network", "TraceError", "Windows"]
