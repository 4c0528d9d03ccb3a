"""Store the weights of the demos' networks as float16, and restore them as float32."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def store(model: nn.Module, path: Path) -> None:
    """Write a network's weights."""
    arrays = {
        name: value.numpy().astype(np.float16) if value.is_floating_point() else value.numpy()
        for name, value in model.state_dict().items()
    }
    np.savez_compressed(path, **arrays)


def restore(model: M, path: Path) -> M:
    """The network with the weights stored at `path`, in eval mode."""
    with np.load(path, allow_pickle=False) as stored:
        state = {
            name: torch.from_numpy(value.astype(np.float32) if value.dtype == np.float16 else value)
            for name, value in stored.items()
        }
    model.load_state_dict(state)
    return model.eval()
