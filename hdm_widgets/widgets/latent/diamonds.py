"""Aggregates of new items: the marks of single ones, so that they can be told from the map's items below them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_diamonds"]

_EDGE = 0x0F, 0x17, 0x2A
_EDGE_WIDTH = 0.3  # as a fraction of half a diamond


def draw_diamonds(rgba: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Draw every pixel of an image as a diamond with a dark edge.

    Parameters
    ----------
    rgba : numpy.ndarray, uint8 (rows, cols, 4)
    side : int
        Width and height of a diamond in pixels of the result.

    Returns
    -------
    numpy.ndarray, uint8 (rows * side, cols * side, 4)
    """
    offsets = np.abs((np.arange(side) + 0.5) * 2 / side - 1)
    distance = offsets[:, None] + offsets  # 1 on the line through the middles of the four sides
    covered = np.clip((1 - distance) * side / 2 + 0.5, 0, 1)
    filled = np.clip((1 - _EDGE_WIDTH - distance) * side / 2 + 0.5, 0, 1)[..., None]
    cells = rgba[:, None, :, None].astype(np.float64)
    drawn = np.empty((len(rgba), side, rgba.shape[1], side, 4))
    glyph = filled[:, None]
    drawn[..., :3] = glyph * cells[..., :3] + (1 - glyph) * np.array(_EDGE, np.float64)
    drawn[..., 3] = covered[:, None] * cells[..., 3]
    return drawn.round().astype(np.uint8).reshape(len(rgba) * side, -1, 4)
