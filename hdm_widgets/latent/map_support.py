"""Where on the map there are items, for any number of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from hdm_widgets.latent.batches import row_batches
from hdm_widgets.latent.surface import NEIGHBORS, SCALE_QUANTILE, Support, column_scales

__all__ = ["MapSupport"]

# Cells along either axis. One is less than a pixel of the surface that widgets draw.
_CELLS = 256
_ROWS_AT_ONCE = 1 << 18

Floats = NDArray[np.float64]


class MapSupport(Support):
    """`Support` in two dimensions, in linear time and with little memory.

    A grid of 256 x 256 cells is laid over the items. Those of a cell with more than six count as six in its middle, so
    that a tree of few points tells the distances.

    Parameters
    ----------
    coordinates : numpy.ndarray, float64 (n, 2)
        Coordinates of the items.

    Attributes
    ----------
    own : numpy.ndarray, float64 (m,)
        Distance to the others of each item in a cell with at most six, on the scale of `distance`.

    Notes
    -----
    Where no cell has more than six items, all is as `Support` has it. Else distances, before they are scaled, differ by
    at most half of the diagonal of a cell, and their unit by at most the diagonal. The unit is never below the diagonal
    then: of millions of items the nearest are nearer than a pixel, and where every pixel has an item, there are to be
    no holes.
    """

    def __init__(self, coordinates: Floats) -> None:
        self._scale = column_scales(coordinates)
        self._count = min(NEIGHBORS, len(coordinates) - 1) or 1
        low = coordinates.min(axis=0)
        extent = coordinates.max(axis=0) - low
        sides = np.where(extent > 0, extent, 1.0) / _CELLS
        cells = np.empty(len(coordinates), np.uint16)
        counts = np.zeros(_CELLS**2, np.int64)
        batches = row_batches(*coordinates.shape, most=_ROWS_AT_ONCE)
        for rows in batches:
            col, row = np.minimum((coordinates[rows] - low) / sides, _CELLS - 1).astype(np.uint16).T
            cells[rows] = row * _CELLS + col
            counts += np.bincount(cells[rows], minlength=_CELLS**2)
        most = NEIGHBORS + 1
        crowded = counts > most
        alone = [coordinates[rows][~crowded[cells[rows]]] for rows in batches]
        row, col = np.divmod(np.flatnonzero(crowded), _CELLS)
        centers = low + (np.stack([col, row], axis=1) + 0.5) * sides
        self._tree = KDTree(np.concatenate([*alone, np.repeat(centers, most, axis=0)]) / self._scale)
        # An item is its own nearest neighbor: ask for one more.
        own = self._farthest(np.concatenate(alone), self._count + 1)
        near = np.zeros(int(counts[crowded].sum()))  # to their neighbors: nearer than a diagonal
        least = float(np.linalg.norm(sides / self._scale)) if crowded.any() else 0.0
        self._unit = max(least, float(np.quantile(np.concatenate([near, own]), SCALE_QUANTILE))) or 1.0
        self.own = own / self._unit
