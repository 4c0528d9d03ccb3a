"""Edges of a picture, for drawing a map under them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["canny"]


def canny(
    picture: NDArray[np.floating], *, sigma: float = 1.0, low: float = 0.1, high: float = 0.2
) -> NDArray[np.bool_]:
    """Canny's edge detector on one channel.

    Parameters
    ----------
    picture : numpy.ndarray (H, W)
        Any range; it is scaled to [0, 1] first.
    sigma : float
        Width of the Gaussian in pixels.
    low, high : float
        Hysteresis: an edge is kept where its gradient is above `low` and somewhere along it above `high`,
        as shares of the largest gradient.

    Returns
    -------
    numpy.ndarray, bool (H, W)

    References
    ----------
    J. Canny: A Computational Approach to Edge Detection. IEEE TPAMI 8 (6), 1986.
    """
    spread = float(np.ptp(picture))
    if not spread:
        return np.zeros(picture.shape, dtype=bool)
    smooth = ndimage.gaussian_filter((picture - picture.min()) / spread, sigma)
    across, down = ndimage.sobel(smooth, axis=1), ndimage.sobel(smooth, axis=0)
    gradient = np.hypot(across, down)
    ridge = _thinned(gradient, across, down)
    labels, _ = ndimage.label(ridge & (gradient > low * gradient.max()), structure=np.ones((3, 3)))
    strong = np.unique(labels[ridge & (gradient > high * gradient.max())])
    return np.isin(labels, strong[strong > 0])


def _thinned(
    gradient: NDArray[np.float64], across: NDArray[np.float64], down: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Pixels whose gradient is the largest along its own direction, of the four that a raster has."""
    octant = np.round(np.arctan2(down, across) / (np.pi / 4)).astype(int) % 4
    padded = np.pad(gradient, 1)
    height, width = gradient.shape
    ridge = np.zeros(gradient.shape, dtype=bool)
    for direction, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        behind = padded[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        # Strict on one side only: of two equal neighbours one stays.
        ridge |= (octant == direction) & (gradient > ahead) & (gradient >= behind)
    return ridge & (gradient > 0)
