"""The planted-cue demo's network: its size, its weights, its seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hdm_widgets.unet import UNet

WEIGHTS = Path(__file__).with_name("shapes.npz")
# Pictures shown by the demo are drawn from a third seed: neither trained on nor chosen by.
TRAINING_SEED, VALIDATION_SEED, DEMO_SEED = 1, 2, 3


def network() -> UNet:
    """The untrained network."""
    return UNet(in_channels=1, classes=1, width=8, depth=4)


def load(path: Path = WEIGHTS) -> UNet:
    """The network with the weights stored at `path`, float32, in eval mode."""
    model = network()
    with np.load(path, allow_pickle=False) as stored:
        state = {
            name: torch.from_numpy(value.astype(np.float32) if value.dtype == np.float16 else value)
            for name, value in stored.items()
        }
    model.load_state_dict(state)
    return model.eval()
