"""The aerial demo's network: its size, its weights, its seeds, what it is trained on."""

from __future__ import annotations

from pathlib import Path

from hdm_widgets.demo._weights import restore
from hdm_widgets.models.unet import UNet

WEIGHTS = Path(__file__).with_name("aerial.npz")
# Patches shown by the demo are drawn from a third seed: neither trained on nor chosen by.
TRAINING_SEED, VALIDATION_SEED, DEMO_SEED = 11, 12, 13
# What a survey of a town would bring: few car parks and cemeteries, so their rows of rectangles pass for houses.
TRAINING_SHARES = {
    "forest": 0.2,
    "water": 0.12,
    "field": 0.2,
    "scattered houses": 0.28,
    "dense blocks": 0.18,
    "car park": 0.004,
    "cemetery": 0.008,
}


def network() -> UNet:
    """The untrained network."""
    return UNet(in_channels=3, classes=1, width=8, depth=4)


def load(path: Path = WEIGHTS) -> UNet:
    """The network with the weights stored at `path`, float32, in eval mode."""
    return restore(network(), path)
