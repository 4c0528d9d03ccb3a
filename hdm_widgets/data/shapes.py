"""Images with a planted cue, so that it is known what a model has to look at."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import Dataset

from hdm_widgets._identity import compared_by_identity
from hdm_widgets._validation import checks_simple_arguments

__all__ = ["PlantedCue", "PlantedCueSample"]

# Sizes as fractions of the image's side, and the cue's area as a fraction of the image's. Square and circle have the
# same area.
_CUE_AREA = 0.018
_SHAPE_SIDE = (0.22, 0.30)
_BRIGHTNESS = (0.55, 1.0)


@compared_by_identity
class PlantedCueSample(NamedTuple):
    """An image with the mask of its segment and the mask of its cue.

    Attributes
    ----------
    image : torch.Tensor
        float32 (1, H, W) in [0, 1], shapes on black.
    segment : torch.Tensor
        uint8 (H, W), 1 in the shape that is the segment.
    cue : numpy.ndarray
        bool (H, W), what is there of the shape on the right, which decides which shape is the segment.
    """

    image: Tensor
    segment: Tensor
    cue: NDArray[np.bool_]


class PlantedCue(Dataset[tuple[Tensor, Tensor]]):
    """A cross and a triangle on the left, a square or a circle on the right.

    A square makes the cross the segment, a circle the triangle. So the shape on the right, the cue, decides
    everything although it is never part of the segment: a good explanation must point at it.

    Parameters
    ----------
    length : int
        Number of images.
    size : int
        Side of the square images in pixels, at least 32.
    seed : int
        An image depends on `seed` and its index only: every item is the same each time.
    without_cue : float
        Fraction of images, in [0, 1], whose cue is missing or has a disc cut out; there both shapes on the left are
        the segment. A network trained with some of these must look for a whole square and for a whole circle. Without
        them it learns to look for one of the two, and to take anything else for the other.

    Raises
    ------
    ValueError
        If `length` or `size` is too small, or `without_cue` is not in [0, 1].

    Notes
    -----
    Modeled on the "testnet" data of the authors of the Hausdorff Distance Masks. The cue covers 1.8 % of the image.

    Examples
    --------
    >>> image, segment = PlantedCue(10)[0]
    >>> image.shape, segment.shape
    (torch.Size([1, 128, 128]), torch.Size([128, 128]))
    """

    @checks_simple_arguments
    def __init__(self, length: int = 1000, *, size: int = 128, seed: int = 0, without_cue: float = 0.0) -> None:
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        if size < 32:
            raise ValueError(f"size must be at least 32 px, got {size}")
        if not 0 <= without_cue <= 1:
            raise ValueError(f"without_cue must be in [0, 1], got {without_cue}")
        self.length = length
        self.size = size
        self.seed = seed
        self.without_cue = without_cue

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image float32 (1, H, W) and mask float32 (H, W) of item `index`."""
        sample = self.sample(index)
        return sample.image, sample.segment.float()

    def sample(self, index: int) -> PlantedCueSample:
        """Item `index` with the mask of its cue."""
        if not -self.length <= index < self.length:
            raise IndexError(f"index {index} is out of range for {self.length} images")
        rng = np.random.default_rng((self.seed, index % self.length))
        size = self.size
        middle, gap = size // 2, max(1, round(0.03 * size))
        square = bool(rng.random() < 0.5)
        cross_above = bool(rng.random() < 0.5)

        sides = rng.uniform(*_SHAPE_SIDE, size=2) * size
        cross_side, triangle_side = (int(side) for side in sides)
        upper, lower = (0, middle), (middle, size)
        cross = _cross(
            size, _random_corner(rng, cross_side, (0, middle - gap), upper if cross_above else lower, gap), cross_side
        )
        triangle = _triangle(
            size,
            _random_corner(rng, triangle_side, (0, middle - gap), lower if cross_above else upper, gap),
            triangle_side,
        )
        cue_side = math.sqrt(_CUE_AREA) * size
        diameter = 2 * cue_side / math.sqrt(math.pi)
        box_side = math.ceil(diameter)
        corner = _random_corner(rng, box_side, (middle + gap, size), (0, size), gap)
        cue = _square(size, corner, round(cue_side)) if square else _circle(size, corner, round(diameter))

        segment = cross if square else triangle
        if self.without_cue and rng.random() < self.without_cue:
            cue, segment = _damaged(rng, cue, corner, box_side), cross | triangle

        image = np.zeros((size, size), np.float32)
        for shape in (cross, triangle, cue):
            image[shape] = rng.uniform(*_BRIGHTNESS)
        return PlantedCueSample(torch.from_numpy(image[None]), torch.from_numpy(segment.astype(np.uint8)), cue)


def _random_corner(
    rng: np.random.Generator, side: int, across: tuple[int, int], down: tuple[int, int], gap: int
) -> tuple[int, int]:
    """A random top left corner (x, y) for a box of `side` px inside the given ranges."""
    return tuple(  # type: ignore[return-value]  # two ranges give two coordinates
        int(rng.integers(low + gap, max(low + gap + 1, high - gap - side))) for low, high in (across, down)
    )


def _damaged(rng: np.random.Generator, cue: NDArray[np.bool_], corner: tuple[int, int], side: int) -> NDArray[np.bool_]:
    """Cut a random disc out of the cue; remove the cue if the disc takes too little of it to be seen."""
    x, y = corner[0] + rng.uniform(0, side), corner[1] + rng.uniform(0, side)
    radius = side * rng.uniform(0.25, 0.75)
    rows, cols = np.ogrid[: cue.shape[0], : cue.shape[1]]
    left = cue & ((rows - y) ** 2 + (cols - x) ** 2 > radius**2)
    return left if left.sum() < 0.85 * cue.sum() else np.zeros_like(cue)


def _canvas(size: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("1", (size, size), 0)
    return image, ImageDraw.Draw(image)


def _cross(size: int, corner: tuple[int, int], side: int) -> NDArray[np.bool_]:
    image, draw = _canvas(size)
    x, y = corner
    arm = max(2, round(side * 0.32))
    start = (side - arm) // 2
    draw.rectangle((x + start, y, x + start + arm - 1, y + side - 1), fill=1)
    draw.rectangle((x, y + start, x + side - 1, y + start + arm - 1), fill=1)
    return np.array(image, dtype=bool)


def _triangle(size: int, corner: tuple[int, int], side: int) -> NDArray[np.bool_]:
    image, draw = _canvas(size)
    x, y = corner
    draw.polygon([(x, y), (x + side - 1, y), (x + (side - 1) // 2, y + side - 1)], fill=1)
    return np.array(image, dtype=bool)


def _square(size: int, corner: tuple[int, int], side: int) -> NDArray[np.bool_]:
    image, draw = _canvas(size)
    x, y = corner
    draw.rectangle((x, y, x + side - 1, y + side - 1), fill=1)
    return np.array(image, dtype=bool)


def _circle(size: int, corner: tuple[int, int], diameter: int) -> NDArray[np.bool_]:
    image, draw = _canvas(size)
    x, y = corner
    draw.ellipse((x, y, x + diameter - 1, y + diameter - 1), fill=1)
    return np.array(image, dtype=bool)
