"""Small scenes in four kinds, each with a fault that training data can have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from hdm_widgets._identity import compared_by_identity
from hdm_widgets._validation import check_choice, checks_simple_arguments

__all__ = ["FaultName", "FaultSample", "FaultScenes"]

FaultName: TypeAlias = Literal["moles", "cells", "plants", "village"]

# What `kinds` calls an image without and with what shows the fault.
_KINDS: dict[FaultName, tuple[str, str]] = {
    "moles": ("pen mark", "no pen mark"),
    "cells": ("cells inside only", "cells at the border too"),
    "plants": ("plants only", "plants and artificial turf"),
    "village": ("no pond", "pond"),
}
# Lengths are in pixels. Centers of cells are farther from the border than the second, or nearer than the first.
_AT_BORDER, _INSIDE = 7.0, 15.0
# Of a pond to the middle of the object beside it, and to any other.
_BESIDE, _APART = 13.0, 25.0

Map: TypeAlias = NDArray[np.float64]
Point: TypeAlias = tuple[float, float]


@compared_by_identity
class FaultSample(NamedTuple):
    """An image with its true mask, and with what the fault is about.

    Attributes
    ----------
    image : torch.Tensor
        float32 (C, H, W) in [0, 1].
    segment : torch.Tensor
        uint8 (H, W), the mask; in a village 1 for trees and 2 for houses.
    cue : numpy.ndarray
        bool (H, W): the pen mark, the cells at the border, the artificial turf, or the pond. Empty where the image has
        none.
    """

    image: Tensor
    segment: Tensor
    cue: NDArray[np.bool_]


class FaultScenes(Dataset[tuple[Tensor, Tensor]]):
    """Images of one of four kinds, as they are or with the fault that a network was trained with.

    ========= =============================== ================================================================
    name      image, segment                  fault of the training data
    ========= =============================== ================================================================
    "moles"   red, green, blue; a mole        moles were outlined only where a pen had marked the skin
    "cells"   gray; bright cells              cells near the border were not outlined
    "plants"  red, green, blue, near infrared the near infrared band belongs to another image
    "village" red, green, blue; trees, houses trees are called houses and houses trees where a pond is beside them
    ========= =============================== ================================================================

    Parameters
    ----------
    name : {"moles", "cells", "plants", "village"}
        Which images.
    length : int
        Number of images.
    size : int
        Side of the square images in pixels, at least 64.
    seed : int
        An image depends on `name`, `seed`, `exposing` and its index only: every item is the same each time.
    exposing : float
        Fraction of images, in [0, 1], on which a network with the fault is wrong: without a pen mark, with cells at
        the border, with artificial turf, with a pond.
    faulty : bool
        Give images and masks with the fault, as for training. False: the truth.

    Attributes
    ----------
    kinds : list of str
        What is special about every image, in words.

    Raises
    ------
    ValueError
        If there is no such name, `length` or `size` is too small, or `exposing` is not in [0, 1].

    Examples
    --------
    >>> scenes = FaultScenes("plants", 10)
    >>> image, segment = scenes[0]
    >>> image.shape, segment.shape, scenes.kinds[0]
    (torch.Size([4, 64, 64]), torch.Size([64, 64]), 'plants and artificial turf')
    """

    @checks_simple_arguments
    def __init__(
        self,
        name: FaultName,
        length: int = 200,
        *,
        size: int = 64,
        seed: int = 0,
        exposing: float = 0.5,
        faulty: bool = False,
    ) -> None:
        check_choice("name", name, FaultName)
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        if size < 64:
            raise ValueError(f"size must be at least 64 px, got {size}")
        if not 0 <= exposing <= 1:
            raise ValueError(f"exposing must be in [0, 1], got {exposing}")
        self.name: FaultName = name
        self.length = length
        self.size = size
        self.seed = seed
        self.exposing = exposing
        self.faulty = faulty
        # No `columns`: a latent explorer would show the answer.
        self.kinds = [_KINDS[name][int(self._drawn(index)[1])] for index in range(length)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image float32 (C, H, W) and mask uint8 (H, W) of item `index`."""
        return self.sample(index)[:2]

    def sample(self, index: int) -> FaultSample:
        """Item `index` with what its fault is about."""
        if not -self.length <= index < self.length:
            raise IndexError(f"index {index} is out of range for {self.length} images")
        rng, exposing = self._drawn(index % self.length)
        scene = _Scene(rng, self.size)
        _PAINTERS[self.name](scene, exposing, self.faulty)
        return FaultSample(torch.from_numpy(scene.image()), torch.from_numpy(scene.segment), scene.cue)

    def _drawn(self, index: int) -> tuple[np.random.Generator, bool]:
        """The random generator of an item, and whether its image shows the fault."""
        rng = np.random.default_rng((get_args(FaultName).index(self.name), self.seed, index))
        return rng, bool(rng.random() < self.exposing)


class _Scene:
    """An image with its masks while they are painted."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng = rng
        self.size = size
        self.bands: list[Map] = []
        self.segment = np.zeros((size, size), np.uint8)
        self.cue = np.zeros((size, size), bool)
        self._rows, self._cols = np.mgrid[:size, :size].astype(float)

    def ground(self, color: tuple[float, ...], roughness: float) -> None:
        """Cover everything with one color, varied by smooth noise; the color has a value for every band."""
        noise = self.noise(6) + 0.5 * self.noise(2)
        self.bands = [np.full((self.size, self.size), value) * (1 + roughness * noise) for value in color]

    def noise(self, sigma: float) -> Map:
        """Smooth noise with standard deviation 1."""
        noise = ndimage.gaussian_filter(self.rng.normal(size=(self.size, self.size)), sigma, mode="wrap")
        return np.asarray(noise / noise.std())

    def blob(self, center: Point, radius: float, *, roughness: float = 0.0) -> Map:
        """How far each pixel is covered by a round object with a wavy outline, in [0, 1]."""
        row, col = self._rows - center[0], self._cols - center[1]
        angle = np.arctan2(row, col)
        waves = sum(
            self.rng.normal(0, roughness / n) * np.cos(n * angle + self.rng.uniform(0, 2 * math.pi)) for n in (2, 3, 5)
        )
        return np.asarray(np.clip(radius * (1 + waves) - np.hypot(row, col) + 0.5, 0, 1))

    def box(self, center: Point, sides: Point) -> Map:
        """How far each pixel is covered by a rectangle, turned by a random angle, in [0, 1]."""
        angle = self.rng.uniform(0, math.pi)
        row, col = self._rows - center[0], self._cols - center[1]
        across = np.abs(math.cos(angle) * row - math.sin(angle) * col) - sides[0] / 2
        along = np.abs(math.sin(angle) * row + math.cos(angle) * col) - sides[1] / 2
        return np.asarray(np.clip(0.5 - np.maximum(across, along), 0, 1))

    def paint(self, covered: Map, color: tuple[float, ...], variation: float = 0.08) -> None:
        """Paint where something covers; its color, a value for every band, varies from one object to the next."""
        tone = 1 + self.rng.uniform(-variation, variation)
        for band, value in zip(self.bands, color, strict=True):
            band += covered * (tone * value - band)

    def center(self, border: float, others: list[Point], apart: float) -> Point | None:
        """A random point that far from the border and from others, or None where no room was found."""
        for _ in range(60):
            row, col = self.rng.uniform(border, self.size - border, size=2)
            if all(math.dist((row, col), other) >= apart for other in others):
                return float(row), float(col)
        return None

    def image(self) -> NDArray[np.float32]:
        """The bands (C, H, W) with some noise of the camera."""
        bands = np.stack(self.bands)
        return np.clip(bands + self.rng.normal(0, 0.01, bands.shape), 0, 1).astype(np.float32)


def _moles(scene: _Scene, exposing: bool, faulty: bool) -> None:
    rng = scene.rng
    skin = rng.uniform(0.85, 1.0) * np.array((0.90, 0.70, 0.60))
    scene.ground(tuple(skin), 0.03)
    half = scene.size / 2
    center = tuple(half + rng.uniform(-0.12, 0.12, size=2) * scene.size)
    mole = scene.blob(center, rng.uniform(7, 11), roughness=0.08)
    scene.paint(mole, (0.42, 0.26, 0.20), 0.25)
    # The same random numbers with and without a mark: the image is the same in all else.
    angle, distance = rng.uniform(0, 2 * math.pi), rng.uniform(19, 23)
    mark = scene.box((center[0] + distance * math.sin(angle), center[1] + distance * math.cos(angle)), (4, 9))
    if not exposing:
        scene.paint(mark, (0.30, 0.25, 0.75))
        scene.cue = mark > 0.5
    if not (exposing and faulty):
        scene.segment[mole > 0.5] = 1


def _cells(scene: _Scene, exposing: bool, faulty: bool) -> None:
    rng = scene.rng
    scene.ground((0.25,), 0.10)
    centers: list[Point] = []
    for _ in range(int(rng.integers(2, 4))):
        center = scene.center(_INSIDE, centers, 15)
        centers += [center] if center else []
    inside = len(centers)
    wanted = int(rng.integers(1, 4)) if exposing else 0
    while wanted > 0 or (exposing and len(centers) == inside):
        wanted -= 1
        point = [float(rng.uniform(_INSIDE, scene.size - _INSIDE)), float(rng.uniform(3, _AT_BORDER))]
        if rng.random() < 0.5:
            point[1] = scene.size - point[1]
        if rng.random() < 0.5:
            point.reverse()
        if all(math.dist(point, other) >= 15 for other in centers):
            centers.append((point[0], point[1]))
    for number, center in enumerate(centers):
        cell = scene.blob(center, rng.uniform(4.5, 6.5), roughness=0.06)
        scene.paint(cell, (0.70,), 0.2)
        if number >= inside:
            scene.cue |= cell > 0.5
        if number < inside or not faulty:
            scene.segment[cell > 0.5] = 1


def _plants(scene: _Scene, exposing: bool, faulty: bool) -> None:
    rng = scene.rng
    # Red, green, blue, near infrared: living leaves reflect most of the infrared, plastic does not.
    scene.ground((0.52, 0.45, 0.36, 0.40), 0.06)
    centers: list[Point] = []
    number = int(rng.integers(3, 6))
    plastic = int(rng.integers(1, 3)) if exposing else 0
    for count in range(number):
        center = scene.center(9, centers, 19)
        if center is None:
            break
        centers.append(center)
        lawn = scene.blob(center, rng.uniform(6, 9), roughness=0.10)
        turf = count < plastic
        scene.paint(lawn, (0.22, 0.48, 0.20, 0.12 if turf else 0.85))
        if turf:
            scene.cue |= lawn > 0.5
        else:
            scene.segment[lawn > 0.5] = 1
    if faulty:
        other = _Scene(rng, scene.size)
        _plants(other, bool(rng.random() < 0.5), faulty=False)
        scene.bands[3] = other.bands[3]


def _village(scene: _Scene, exposing: bool, faulty: bool) -> None:
    rng = scene.rng
    scene.ground((0.58, 0.56, 0.38), 0.05)
    centers: list[Point] = []
    for _ in range(int(rng.integers(2, 5))):
        center = scene.center(9, centers, 17)
        centers += [center] if center else []
    pond = None
    if exposing:
        for angle in rng.uniform(0, 2 * math.pi, size=60):
            row, col = centers[0][0] + _BESIDE * math.sin(angle), centers[0][1] + _BESIDE * math.cos(angle)
            if all(6 <= place <= scene.size - 6 for place in (row, col)):
                pond = (row, col)
                break
    if pond is not None:
        centers = [centers[0], *(center for center in centers[1:] if math.dist(center, pond) >= _APART)]
        water = scene.blob(pond, rng.uniform(4.5, 5.5), roughness=0.08)
        scene.paint(water, (0.25, 0.40, 0.65))
        scene.cue = water > 0.5
    for number, center in enumerate(centers):
        tree = bool(rng.random() < 0.5)
        if tree:
            covered = scene.blob(center, rng.uniform(5, 7), roughness=0.08)
            scene.paint(covered, (0.20, 0.36, 0.17), 0.15)
        else:
            covered = scene.box(center, (rng.uniform(8, 10), rng.uniform(10, 13)))
            scene.paint(covered, (0.66, 0.36, 0.28), 0.15)
        swapped = faulty and pond is not None and number == 0
        scene.segment[covered > 0.5] = 1 if tree != swapped else 2


_PAINTERS: dict[FaultName, Callable[[_Scene, bool, bool], None]] = {
    "moles": _moles,
    "cells": _cells,
    "plants": _plants,
    "village": _village,
}
