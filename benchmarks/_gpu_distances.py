"""Distances of masks on a GPU, to compare with those on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["squared_distances"]


def squared_distances(shown: Tensor) -> Tensor:
    """Squared distance of every pixel to the nearest pixel of each mask (n, H, W), on any device."""
    found = torch.where(shown, 0.0, torch.inf)
    for axis in (1, 2):
        places = torch.arange(found.shape[axis], device=found.device, dtype=found.dtype)
        before, found = found, torch.full_like(found, torch.inf)
        for place in range(len(places)):
            away = ((places - place) ** 2).view(-1, *(1,) * (2 - axis))
            found = torch.minimum(found, before.narrow(axis, place, 1) + away)
    return found
