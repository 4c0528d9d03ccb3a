"""The networks of the lesson on faults: size, weights and seeds."""

from __future__ import annotations

from pathlib import Path

from hdm_widgets.data.faults import FaultName
from hdm_widgets.demo._weights import restore
from hdm_widgets.models.unet import UNet

WEIGHTS = Path(__file__).parent / "faulty"
# The lesson shows images of a third seed, used neither for training nor to select the weights.
TRAINING_SEED, VALIDATION_SEED, DEMO_SEED = 21, 22, 23

_BANDS: dict[FaultName, int] = {"moles": 3, "cells": 1, "plants": 4, "village": 3}


def weights_path(name: FaultName, faulty: bool, folder: Path = WEIGHTS) -> Path:
    """Where the weights of a network are stored."""
    return folder / f"{name}_{'faulty' if faulty else 'healthy'}.npz"


def network(name: FaultName) -> UNet:
    """The untrained network: one logit per pixel, in a village three: ground, trees, houses."""
    return UNet(in_channels=_BANDS[name], classes=3 if name == "village" else 1, width=4, depth=3)


def load(name: FaultName, faulty: bool, folder: Path = WEIGHTS) -> UNet:
    """A network with its stored weights, float32, in eval mode."""
    return restore(network(name), weights_path(name, faulty, folder))
