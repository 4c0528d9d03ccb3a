"""The network of the aerial demo: size, weights, seeds, and land uses of the training data."""

from __future__ import annotations

from pathlib import Path

from hdm_widgets.demo._weights import restore
from hdm_widgets.models.unet import UNet

WEIGHTS = Path(__file__).with_name("aerial.npz")
# The demo shows images of a third seed, used neither for training nor to select the weights.
TRAINING_SEED, VALIDATION_SEED, DEMO_SEED = 11, 12, 13
# As in a survey of a town: few car parks and cemeteries, so that their rows of rectangles pass for houses.
TRAINING_WEIGHTS = {
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
