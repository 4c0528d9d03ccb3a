"""Synthetic aerial images with building masks: the land use of each is known, and so is what looks like a building."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hdm_widgets._identity import compared_by_identity
from hdm_widgets._validation import checks_simple_arguments
from hdm_widgets.data.scene import ASPHALT, Color, Point, Scene

__all__ = ["LAND_USES", "AerialSample", "AerialScenes", "paint"]

LAND_USES = ("forest", "water", "field", "scattered houses", "dense blocks", "car park", "cemetery")

_CARS: tuple[Color, ...] = (
    (0.86, 0.86, 0.85),
    (0.68, 0.69, 0.71),
    (0.20, 0.21, 0.23),
    (0.52, 0.34, 0.31),
    (0.36, 0.40, 0.48),
    (0.60, 0.55, 0.48),
)
_STONES: tuple[Color, ...] = ((0.66, 0.65, 0.62), (0.52, 0.51, 0.50), (0.76, 0.73, 0.68), (0.38, 0.37, 0.38))
_GRASS: Color = (0.39, 0.46, 0.28)
_GRAVEL: Color = (0.53, 0.51, 0.47)


@compared_by_identity
class AerialSample(NamedTuple):
    """An image with its mask and its land use.

    Attributes
    ----------
    image : torch.Tensor
        float32 (3, H, W) in [0, 1].
    segment : torch.Tensor
        uint8 (H, W), 1 on buildings.
    land_use : str
        One of `LAND_USES`.
    """

    image: Tensor
    segment: Tensor
    land_use: str


class AerialScenes(Dataset[tuple[Tensor, Tensor]]):
    """Aerial images with masks of the buildings.

    Forest, water and fields have no buildings. Houses stand scattered or in dense blocks. Car parks and cemeteries have
    rows of rectangles that look like buildings but are none: a network that has seen few of them takes them for houses,
    and a map of its latent space should show that.

    Parameters
    ----------
    length : int
        Number of images.
    size : int
        Side of the square images in pixels, at least 32. A house is about 12 px long.
    seed : int
        An image depends on `seed` and its index only: every item is the same each time.
    weights : mapping of str to float, optional
        Relative frequency of each land use, by name; names left out do not occur. By default all are equally frequent.
    shares : mapping of str to float, optional
        Deprecated name of `weights`.

    Attributes
    ----------
    columns : dict of str to list
        `"land_use"`: the land use of every image, by name.

    Raises
    ------
    ValueError
        If `length` or `size` is too small, a land use is unknown, or the weights are negative, not finite or all 0.

    Examples
    --------
    >>> scenes = AerialScenes(10, weights={"forest": 1})
    >>> image, segment = scenes[0]
    >>> image.shape, int(segment.sum()), scenes.columns["land_use"][0]
    (torch.Size([3, 96, 96]), 0, 'forest')
    """

    @checks_simple_arguments
    def __init__(
        self,
        length: int = 1200,
        *,
        size: int = 96,
        seed: int = 0,
        weights: Mapping[str, float] | None = None,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        if shares is not None:
            warnings.warn("AerialScenes(shares=) is called weights now", DeprecationWarning, stacklevel=3)
            weights = shares
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        if size < 32:
            raise ValueError(f"size must be at least 32 px, got {size}")
        weights = dict.fromkeys(LAND_USES, 1.0) if weights is None else dict(weights)
        unknown = [name for name in weights if name not in LAND_USES]
        if unknown:
            raise ValueError(f"unknown land use {unknown[0]!r}; known are {', '.join(LAND_USES)}")
        each = np.array([weights.get(name, 0.0) for name in LAND_USES], dtype=float)
        if not np.isfinite(each).all() or (each < 0).any() or each.sum() <= 0:
            raise ValueError(f"weights must be finite and 0 or more, at least one of them above 0, got {weights}")
        self.length = length
        self.size = size
        self.seed = seed
        self._cumulative = np.cumsum(each) / each.sum()
        self.columns: dict[str, list[Any]] = {"land_use": [self._drawn(index)[1] for index in range(length)]}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image float32 (3, H, W) and mask float32 (H, W) of item `index`."""
        sample = self.sample(index)
        return sample.image, sample.segment.float()

    def sample(self, index: int) -> AerialSample:
        """Item `index` with its land use."""
        self._check(index)
        rng, land_use = self._drawn(index % self.length)
        scene = Scene(rng, self.size)
        paint(scene, land_use)
        image, mask = scene.finish()
        return AerialSample(torch.from_numpy(image), torch.from_numpy(mask), land_use)

    def _check(self, index: int) -> None:
        if not -self.length <= index < self.length:
            raise IndexError(f"index {index} is out of range for {self.length} images")

    def _drawn(self, index: int) -> tuple[np.random.Generator, str]:
        """The random generator of an item after its land use was drawn, and the land use."""
        rng = np.random.default_rng((self.seed, index))
        return rng, LAND_USES[int(np.searchsorted(self._cumulative, rng.random(), side="right"))]


def paint(scene: Scene, land_use: str) -> None:
    """Paint a scene of this land use."""
    _PAINTERS[land_use](scene)


def _forest(scene: Scene) -> None:
    scene.ground((0.23, 0.30, 0.17), 0.10)
    if scene.rng.random() < 0.3:
        scene.road(scene.rng.uniform(-0.3, 0.3) * scene.size, 3.0, (0.50, 0.45, 0.36))
    area = (scene.size / 96) ** 2
    scene.trees(int(area * scene.rng.integers(120, 330)), smallest=2.2, largest=5.0)


def _water(scene: Scene) -> None:
    scene.ground(scene.shade((0.20, 0.29, 0.34), 0.2), 0.03)
    if scene.rng.random() < 0.5:  # a shore
        extent = scene.rng.uniform(0.05, 0.45) * scene.size
        scene.rectangle(scene.point(scene.size - extent, 0), (scene.size, 3 * scene.size), scene.shade(_GRASS))
        edge = scene.size / 2 - extent
        scene.rectangle(scene.point(edge, 0), (2.0, 3 * scene.size), scene.shade((0.62, 0.58, 0.47)))
        for _ in range(int(scene.rng.integers(0, 25))):
            across = scene.rng.uniform(edge + min(3.0, extent), edge + extent)
            x, y = scene.point(across, scene.rng.uniform(-0.6, 0.6) * scene.size)
            scene.trees(1, where=(x, y))


def _field(scene: Scene) -> None:
    crops: tuple[Color, ...] = ((0.55, 0.50, 0.34), (0.44, 0.49, 0.28), (0.49, 0.39, 0.29), (0.60, 0.57, 0.40))
    scene.ground(scene.pick(crops), 0.05, stripes=float(scene.rng.uniform(2.5, 6)))
    if scene.rng.random() < 0.6:  # a neighboring field, with a hedge or a track between them
        edge = scene.rng.uniform(-0.35, 0.35) * scene.size
        scene.rectangle(scene.point(edge + scene.size, 0), (2 * scene.size, 3 * scene.size), scene.pick(crops))
        if scene.rng.random() < 0.5:
            scene.road(edge, 2.5, (0.58, 0.53, 0.43))
        else:
            for along in np.arange(-0.75, 0.75, 0.05) * scene.size:
                x, y = scene.point(edge, along)
                scene.disc((x, y), scene.rng.uniform(1.2, 2.4), scene.shade((0.22, 0.30, 0.16), 0.2))


def _scattered_houses(scene: Scene) -> None:
    rng = scene.rng
    scene.ground(scene.shade(_GRASS), 0.09)
    road = rng.uniform(-0.4, 0.4) * scene.size
    if rng.random() < 0.7:
        scene.road(road, rng.uniform(3.5, 6))
    scene.trees(int(rng.integers(5, 60)))
    taken: list[Point] = []
    wanted = max(1, round(rng.integers(1, 8) * (scene.size / 96) ** 2))
    for _ in range(20 * wanted):
        if len(taken) == wanted:
            break
        center = scene.point(*(rng.uniform(-0.6, 0.6, size=2) * scene.size))
        if not scene.inside(center, -4) or any(math.dist(center, other) < 19 for other in taken):
            continue
        taken.append(center)
        turn = rng.normal(0, 0.1) + (math.pi / 2 if rng.random() < 0.5 else 0)
        scene.house(center, (rng.uniform(9, 16), rng.uniform(7, 10)), turn=turn)
        if rng.random() < 0.35:  # a shed, about as large as a car
            shed = (center[0] + rng.uniform(8, 11), center[1] + rng.uniform(-8, 8))
            scene.house(shed, (rng.uniform(4, 6), rng.uniform(3, 4)), flat=True)


def _dense_blocks(scene: Scene) -> None:
    rng = scene.rng
    scene.ground(scene.shade((0.50, 0.49, 0.47), 0.1), 0.05)
    depth, street = rng.uniform(24, 34), rng.uniform(6, 9)
    flat = rng.random() < 0.3
    extent = 0.8 * scene.size
    for across in np.arange(-extent + rng.uniform(0, depth), extent, depth + street):
        scene.rectangle(
            scene.point(across, 0), (depth - 14, 3 * scene.size), scene.shade((0.40, 0.44, 0.32))
        )  # courtyards
        for row in (-1, 1):
            along = -extent + rng.uniform(0, 10)
            while along < extent:
                front, deep = rng.uniform(8, 18), rng.uniform(7.5, 10.5)
                if rng.random() < 0.9:
                    center = scene.point(across + row * (depth - deep) / 2, along + front / 2)
                    scene.house(center, (front - 0.8, deep), turn=math.pi / 2, flat=flat)
                along += front + (rng.uniform(2, 6) if rng.random() < 0.25 else 0)
        if rng.random() < 0.4:  # garages in a courtyard: rows of small roofs that are buildings
            for along in np.arange(-0.6, 0.6, 0.06) * scene.size:
                scene.house(scene.point(across, along), (5.0, 5.2), flat=True)
    scene.trees(int(rng.integers(3, 20)), largest=3.5)


def _car_park(scene: Scene) -> None:
    rng = scene.rng
    scene.ground(scene.shade(_GRAVEL if rng.random() < 0.35 else ASPHALT, 0.12), 0.05)
    length, width, aisle = rng.uniform(6.5, 8), rng.uniform(3.6, 4.4), rng.uniform(7, 10)
    filled = rng.uniform(0.45, 0.98)
    extent = 0.8 * scene.size
    for across in np.arange(-extent + rng.uniform(0, 10), extent, 2 * length + aisle):
        for row in (-0.5, 0.5):
            for along in np.arange(-extent, extent, width + 1.2):
                center = scene.point(across + row * (length + 0.8), along)
                if scene.inside(center, 8) and rng.random() < filled:
                    _car(scene, center, (length - 1, width - 0.4))
    scene.trees(int(rng.integers(0, 10)), largest=3.0)
    if rng.random() < 0.2:
        _building_at_the_edge(scene)


def _car(scene: Scene, center: Point, sides: tuple[float, float]) -> None:
    x, y = center
    paint = scene.pick(_CARS)
    scene.rectangle((x + 0.7, y + 0.7), sides, (0.22, 0.22, 0.23))
    scene.rectangle(center, sides, paint)
    glass = tuple(0.75 * part for part in paint)
    scene.rectangle(center, (0.45 * sides[0], 0.85 * sides[1]), glass)  # type: ignore[arg-type]  # three parts


def _cemetery(scene: Scene) -> None:
    rng = scene.rng
    scene.ground(scene.shade(_GRASS if rng.random() < 0.35 else _GRAVEL, 0.12), 0.06)
    length, width = rng.uniform(5.5, 7.5), rng.uniform(3.0, 4.0)
    filled = rng.uniform(0.6, 0.98)
    extent = 0.8 * scene.size
    for count, across in enumerate(np.arange(-extent + rng.uniform(0, 8), extent, length + rng.uniform(3.2, 4.5))):
        if count % 5 == 3:
            scene.road(across, 3.5, (0.63, 0.60, 0.53))
            continue
        for along in np.arange(-extent, extent, width + 2.0):
            center = scene.point(across, along)
            if scene.inside(center, 8) and rng.random() < filled:
                x, y = center
                scene.rectangle((x + 0.6, y + 0.6), (length, width), (0.20, 0.22, 0.18))
                scene.rectangle(center, (length, width), scene.pick(_STONES))
    scene.trees(int(rng.integers(4, 24)), largest=3.6)
    if rng.random() < 0.15:
        _building_at_the_edge(scene)


def _building_at_the_edge(scene: Scene) -> None:
    extent = scene.rng.uniform(0.3, 0.5) * scene.size
    sides = (scene.rng.uniform(16, 26), scene.rng.uniform(12, 18))
    scene.house(scene.point(extent, scene.rng.uniform(-0.3, 0.3) * scene.size), sides, flat=True)


_PAINTERS = dict(
    zip(
        LAND_USES,
        (_forest, _water, _field, _scattered_houses, _dense_blocks, _car_park, _cemetery),
        strict=True,
    )
)
