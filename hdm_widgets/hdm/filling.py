"""Fill in what a scan has not measured yet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

__all__ = ["filled"]


def filled(values: NDArray[np.float64], measured: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give every cell that was not measured the value of the nearest one that was.

    Parameters
    ----------
    values : numpy.ndarray, float64 (rows, cols)
        Distances; only those of measured cells are read.
    measured : numpy.ndarray, bool (rows, cols)

    Returns
    -------
    numpy.ndarray, float64 (rows, cols)
        Measured cells have their own value, NaN included. The others have that of the nearest measured cell, by the
        Euclidean distance in cells; of several that are equally near always the same one. All NaN where nothing was
        measured.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.array([[1.0, np.nan, np.nan, 4.0]])
    >>> filled(values, ~np.isnan(values))
    array([[1., 1., 4., 4.]])
    """
    if not measured.any():
        return np.full(values.shape, np.nan)
    nearest = distance_transform_edt(~measured, return_distances=False, return_indices=True)
    copied: NDArray[np.float64] = values[tuple(nearest)]
    return copied
