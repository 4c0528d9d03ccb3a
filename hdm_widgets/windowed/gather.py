"""Boxes of one size of a map, at a position of its own for each item, in one operation on any device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Positions", "gathered"]

# Batches of a scan repeat a few lists of positions.
_MOST_KEPT = 1024


def gathered(source: Tensor, rows: Tensor, cols: Tensor, height: int, width: int) -> Tensor:
    """Boxes of a map.

    Parameters
    ----------
    source : torch.Tensor (..., H, W)
    rows, cols : torch.Tensor, int64 (n,)
        Where each box begins, on the device of the source.
    height, width : int
        Of every box, which must be inside.

    Returns
    -------
    torch.Tensor (n, ..., height, width)
        A copy.
    """
    down = rows[:, None] + torch.arange(height, device=source.device)
    across = cols[:, None] + torch.arange(width, device=source.device)
    # (n, height, width, ...): in channels_last layout, the innermost values lie side by side.
    boxes = source.movedim((-2, -1), (0, 1))[down[:, :, None], across[:, None, :]]
    return boxes.movedim((1, 2), (-2, -1))


class Positions:
    """Lists of positions as tensors on a device; a list that differs from an earlier one by a shift is not sent again.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sent: dict[bytes, Tensor] = {}

    def send(self, lists: NDArray[np.int64]) -> None:
        """Send lists, each a column of (n, lists), in one transfer."""
        shifts = np.unique(lists - lists[0], axis=1).T.copy()
        missing = np.array([each for each in shifts if each.tobytes() not in self._sent])
        if not len(missing):
            return
        if len(self._sent) + len(missing) > _MOST_KEPT:
            self._sent.clear()
        sent = torch.from_numpy(missing).to(self._device)
        self._sent.update((each.tobytes(), there) for each, there in zip(missing, sent, strict=True))

    def __call__(self, positions: list[int]) -> Tensor:
        """These positions, int64 (n,)."""
        values = np.array(positions, np.int64)
        key = (values - values[0]).tobytes()
        if key not in self._sent:
            self.send(values[:, None])
        return self._sent[key] + positions[0]
