"""The network of the planted-cue demo: size, weights and seeds."""

from __future__ import annotations

from pathlib import Path

from hdm_widgets.demo._weights import restore
from hdm_widgets.models.unet import UNet

WEIGHTS = Path(__file__).with_name("shapes.npz")
# The demo shows images of a third seed, used neither for training nor to select the weights.
TRAINING_SEED, VALIDATION_SEED, DEMO_SEED = 1, 2, 3


def network() -> UNet:
    """The untrained network."""
    return UNet(in_channels=1, classes=1, width=8, depth=4)


def load(path: Path = WEIGHTS) -> UNet:
    """The network with the weights stored at `path`, float32, in eval mode."""
    return restore(network(), path)
