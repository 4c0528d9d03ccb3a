"""Aggregates of new items: the marks of single ones, so that they can be told from the map's items below them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.widgets.latent.raster import EDGE, EDGE_OPACITY

__all__ = ["draw_diamonds"]

_EDGE_WIDTH = 0.3  # as a fraction of half a diamond


def draw_diamonds(rgba: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Draw every pixel of an image as a diamond with an edge.

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
    covered = np.clip((1 - distance) * side / 2 + 0.5, 0, 1).astype(np.float32)
    filled = covered * np.clip((1 - _EDGE_WIDTH - distance) * side / 2 + 0.5, 0, 1).astype(np.float32)
    rows, cols = np.nonzero(rgba[..., 3])
    cells = rgba[rows, cols].astype(np.float32)[:, None, None]
    # Where both meet, each counts by its opacity.
    fill = filled * cells[..., 3]
    edge = (covered - filled) * np.minimum(EDGE_OPACITY * cells[..., 3], 255)
    opacity = fill + edge
    fraction = (fill / np.maximum(opacity, 1e-6))[..., None]
    drawn = np.zeros((*rgba.shape[:2], side, side, 4), np.uint8)
    colors = fraction * cells[..., :3] + (1 - fraction) * EDGE
    drawn[rows, cols] = np.concatenate([colors, opacity[..., None]], axis=-1).round()
    return np.ascontiguousarray(drawn.swapaxes(1, 2)).reshape(len(rgba) * side, -1, 4)
