"""Exact windowed inference: compute only what a local change of a picture changes in a network's output.

A network is traced once (`Engine`). Over the values of one picture (`Base`), a picture that differs in a box
is computed by running every operation on the window that the change reaches, completed from those values: the same
sums as in the whole network, so the same output up to float rounding. This package knows tensors and boxes only.
"""

from hdm_widgets.windowed.base import Base, Windows
from hdm_widgets.windowed.calls import TraceError
from hdm_widgets.windowed.engine import Engine
from hdm_widgets.windowed.network import Network

__all__ = ["Base", "Engine", "Network", "TraceError", "Windows"]
