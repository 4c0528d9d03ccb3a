"""Lengths on a grid of pixels that are not squares, or whose sides are given in another unit than pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from hdm_widgets._validation import brief

__all__ = ["NearestPixel", "PixelSpacing", "check_spacing", "nearest_pixels"]

Floats = NDArray[np.float64]

# A ratio of the sides within rounding of a fraction of numbers up to this one is taken for that fraction.
_LARGEST = 1000
_ROUNDING = 1e-14


def check_spacing(spacing: object) -> tuple[float, float]:
    """Height and width of a pixel, as two finite positive numbers."""
    given = spacing.tolist() if hasattr(spacing, "tolist") else spacing
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise TypeError(f"spacing must be (row, col), the height and the width of a pixel, got {brief(spacing)}")
    if not all(isinstance(side, (int, float, np.number)) and not isinstance(side, bool) for side in given):
        raise TypeError(f"spacing (row, col) must be two numbers, got {brief(spacing)}")
    row, col = (float(side) for side in given)
    if not (0 < row < math.inf and 0 < col < math.inf):
        raise ValueError(f"spacing (row, col) must be positive and finite, got {brief(spacing)}")
    return row, col


@dataclass(frozen=True)
class PixelSpacing:
    """Height and width of a pixel, as multiples of a unit that are whole numbers wherever they can be.

    Sums of squares of whole numbers are exact. So two pairs of pixels that are equally far apart get the same number,
    in whatever way their distance is computed, and no map shows differences that are rounding alone. Where the sides
    have no such ratio, only pairs that differ by as many rows and as many columns are equally far apart.

    Attributes
    ----------
    spacing : tuple of float
        (row, col), height and width of a pixel in the user's unit.
    unit : float
        In the unit of `spacing`.
    row, col : float
        Height and width of a pixel in units.
    whole : bool
        Whether they are whole numbers.
    """

    spacing: tuple[float, float]
    unit: float
    row: float
    col: float
    whole: bool

    @classmethod
    def for_sides(cls, spacing: Sequence[float]) -> PixelSpacing:
        """The spacing of rows and of columns, as `check_spacing` takes it."""
        row, col = check_spacing(spacing)
        ratio = Fraction(row / col).limit_denominator(_LARGEST)
        if 0 < ratio <= _LARGEST and math.isclose(float(ratio), row / col, rel_tol=_ROUNDING):
            unit = col / ratio.denominator
            return cls((row, col), unit, float(ratio.numerator), float(ratio.denominator), whole=True)
        return cls((row, col), 1.0, row, col, whole=False)

    @property
    def square(self) -> bool:
        """Whether a pixel is a square with sides of one unit."""
        return self.row == self.col == 1

    @property
    def sides(self) -> Floats:
        """(row, col) in units."""
        return np.array([self.row, self.col])

    def squared(self, differences: NDArray[Any]) -> Floats:
        """Squared lengths (n,) in units of differences of pixels (n, 2)."""
        scaled = differences * self.sides
        sums: Floats = (scaled * scaled).sum(axis=1)
        return sums

    def diagonal(self, shape: Sequence[int]) -> float:
        """Length of the diagonal of an image (H, W), in the unit of `spacing`."""
        return math.hypot(shape[0] * self.spacing[0], shape[1] * self.spacing[1])

    def distances_to(self, mask: NDArray[np.bool_]) -> Floats:
        """Distance in units of every pixel to the nearest one of a mask (H, W) that is not empty."""
        distances: Floats = ndimage.distance_transform_edt(~mask, sampling=self.sides)
        return distances

    def nearest(self, mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        """(row, col) of the nearest pixel of a mask (H, W) that is not empty, for every pixel: (2, H, W)."""
        indices: NDArray[np.intp] = ndimage.distance_transform_edt(
            ~mask, sampling=self.sides, return_distances=False, return_indices=True
        )
        return indices


class NearestPixel:
    """Finds the nearest of some pixels.

    Parameters
    ----------
    pixels : numpy.ndarray (n, 2)
    spacing : PixelSpacing
    """

    def __init__(self, pixels: NDArray[np.intp], spacing: PixelSpacing) -> None:
        self._pixels, self._spacing = pixels, spacing
        self._tree = cKDTree(pixels * spacing.sides, balanced_tree=False, compact_nodes=False)

    def distances(self, others: NDArray[np.intp]) -> Floats:
        """Distances in units of other pixels (m, 2) to the nearest one; infinite if there is none."""
        found, index = self._tree.query(others * self._spacing.sides)
        if self._spacing.whole or not len(self._pixels):
            distances: Floats = found
            return distances
        # The tree subtracts rounded coordinates; this is rounded as everywhere else.
        return np.sqrt(self._spacing.squared(others - self._pixels[index]))


def nearest_pixels(
    pixels: NDArray[np.intp], others: NDArray[np.intp], spacing: PixelSpacing, most: int
) -> NDArray[np.intp]:
    """The nearest of some pixels (n, 2) to each of others (m, 2), the nearest first: places (m, min(n, `most`))."""
    tree = cKDTree(pixels * spacing.sides)
    places: NDArray[np.intp] = tree.query(others * spacing.sides, k=range(1, min(len(pixels), most) + 1))[1]
    return places
