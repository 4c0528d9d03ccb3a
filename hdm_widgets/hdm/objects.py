"""One object of a mask, and which pixels count where it alone is explained.

An object is a connected component of a mask. Pixels are connected to all eight neighbors, so that a line one pixel
wide is one object in whatever direction it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hdm_widgets._validation import is_whole
from hdm_widgets.metrics.spacing import PixelSpacing

__all__ = ["MaskObjects", "ObjectSource", "check_pixel", "label_objects", "nearer_to_others", "object_at"]

ObjectSource = Literal["truth", "prediction"]

_EIGHT_NEIGHBORS = np.ones((3, 3), dtype=bool)


def label_objects(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], int]:
    """The objects of a mask (H, W), numbered from 1, and how many there are."""
    labels, count = ndimage.label(mask, _EIGHT_NEIGHBORS)
    return labels.astype(np.intp), int(count)


class MaskObjects:
    """The objects of a mask (H, W), found once; each is kept at one bit per pixel of its box.

    Parameters
    ----------
    mask : numpy.ndarray, bool (H, W)
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        labels, _ = ndimage.label(mask, _EIGHT_NEIGHBORS)
        places = ndimage.find_objects(labels)
        self._boxes = np.array([(rows.start, cols.start, rows.stop, cols.stop) for rows, cols in places], np.int64)
        self._boxes = self._boxes.reshape(-1, 4)
        self._bits = [np.packbits(labels[place] == number) for number, place in enumerate(places, 1)]

    def __len__(self) -> int:
        return len(self._bits)

    def at(self, row: int, col: int) -> tuple[tuple[int, int, int, int], NDArray[np.bool_]]:
        """The object with this pixel: its box (row0, col0, row1, col1), half open, and its mask there.

        Raises
        ------
        KeyError
            If no object has it.
        """
        top, left, bottom, right = self._boxes.T
        around = (top <= row) & (row < bottom) & (left <= col) & (col < right)
        for number in np.flatnonzero(around).tolist():
            row0, col0, row1, col1 = self._boxes[number].tolist()
            pixel = (row - row0) * (col1 - col0) + col - col0
            if self._bits[number][pixel // 8] >> (7 - pixel % 8) & 1:
                size = (row1 - row0) * (col1 - col0)
                mask = np.unpackbits(self._bits[number], count=size).view(bool).reshape(row1 - row0, col1 - col0)
                return (row0, col0, row1, col1), mask
        raise KeyError((row, col))


def check_pixel(row: object, col: object, height: int, width: int) -> None:
    """Refuse what is no pixel of an image."""
    if not (is_whole(row) and is_whole(col) and 0 <= int(row) < height and 0 <= int(col) < width):
        raise ValueError(
            f"an object is told by one of its pixels (row, col); the image has {height} x {width} px (rows x columns), "
            f"got ({row}, {col})"
        )


def object_at(mask: NDArray[np.bool_], row: int, col: int, name: str) -> NDArray[np.bool_]:
    """The object of a mask (H, W) that has this pixel.

    Parameters
    ----------
    mask : numpy.ndarray, bool (H, W)
    row, col : int
    name : str
        What the mask is called in messages.

    Returns
    -------
    numpy.ndarray, bool (H, W)

    Raises
    ------
    ValueError
        If there is no such pixel, or it belongs to no object.
    """
    check_pixel(row, col, *mask.shape)
    if not mask.any():
        raise ValueError(f"the {name} has no object: it is empty")
    labels, count = label_objects(mask)
    if not mask[row, col]:
        near = _nearest(mask, row, col)
        raise ValueError(
            f"pixel ({row}, {col}) belongs to none of the {count} objects of the {name}; the nearest has pixel {near}"
        )
    found: NDArray[np.bool_] = labels == labels[row, col]
    return found


def nearer_to_others(
    mask: NDArray[np.bool_], one: NDArray[np.bool_], spacing: Sequence[float]
) -> NDArray[np.bool_] | None:
    """Pixels that are nearer to another object of a mask than to this one; None if there is no other.

    Parameters
    ----------
    mask, one : numpy.ndarray, bool (H, W)
        All objects, and one of them.
    spacing : tuple of float
        (row, col), height and width of a pixel.

    Returns
    -------
    numpy.ndarray, bool (H, W), or None
        A pixel as near to both counts for this one.
    """
    others = mask & ~one
    if not others.any():
        return None
    scale = PixelSpacing.for_sides(spacing)
    nearer: NDArray[np.bool_] = scale.distances_to(others) < scale.distances_to(one)
    return nearer


def _nearest(mask: NDArray[np.bool_], row: int, col: int) -> tuple[int, int]:
    pixels = np.argwhere(mask)
    found = pixels[np.square(pixels - (row, col)).sum(axis=1).argmin()]
    return int(found[0]), int(found[1])
