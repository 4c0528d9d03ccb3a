"""Aerial images among which some have what a network was not trained for: it is known which, and of what kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from hdm_widgets._validation import checks_simple_arguments
from hdm_widgets.data.aerial import AerialSample, AerialScenes, paint
from hdm_widgets.data.scene import Color, Point, Scene

__all__ = ["PlantedFailures", "PlantedName"]

PlantedName: TypeAlias = Literal["new object", "shadow", "resolution", "noise"]

_NONE = "none"
# All images of a kind have about the same damage.
_SHADOW = (0.24, 0.30)
_NOISE = (0.14, 0.18)
_COARSER = 4
_WEIGHTS = {"forest": 1.0, "water": 1.0, "field": 1.0, "scattered houses": 3.0, "dense blocks": 3.0}
# Each kind has one land use: a group of images that are alike in content as well, as in one campaign of a survey.
_LAND_USES = {
    "new object": "dense blocks",
    "shadow": "dense blocks",
    "resolution": "dense blocks",
    "noise": "scattered houses",
}
_GREEN_ROOFS: tuple[Color, ...] = ((0.30, 0.42, 0.22), (0.36, 0.46, 0.26), (0.27, 0.37, 0.20))

_Painted: TypeAlias = tuple[NDArray[np.float32], NDArray[np.uint8]]


class PlantedFailures(AerialScenes):
    """Aerial images as those of `AerialScenes`, some of them of a kind that a network trained on those fails on.

    ============ =============================================================================================
    kind         image
    ============ =============================================================================================
    "new object" the buildings are round and have roofs of grass
    "shadow"     most of the image lies in the shadow of a cloud, with about a quarter of the light
    "resolution" a pixel covers four times the length: houses are about 3 px long
    "noise"      a sensor with about ten times the noise
    ============ =============================================================================================

    They show what `LatentSpace.failures` is to find.

    Parameters
    ----------
    length : int
        Number of images.
    size : int
        Side of the square images in pixels, at least 32.
    seed : int
        An image depends on `seed`, the fractions, the weights and its index only: every item is the same each time.
    weights : mapping of str to float, optional
        Relative frequency of each land use among the other images, as for `AerialScenes`. By default two of three are
        built up, and there are no car parks and no cemeteries, on which the demo's network fails anyway. Images of a
        planted kind have dense blocks, those with noise scattered houses.
    fractions : mapping of str to float, optional
        Fraction of the images of each kind, by name; names left out do not occur. By default 0.06 each.

    Attributes
    ----------
    columns : dict of str to list
        `"land_use"`: the land use of every image, by name. The planted kinds are no column: they would show the answer.
    planted : list of str
        The kind of every image; `"none"` for all others.

    Raises
    ------
    ValueError
        As `AerialScenes` does; or if a kind is unknown, a fraction is not in [0, 1], or they sum to more than 1.

    Examples
    --------
    >>> scenes = PlantedFailures(10, fractions={"shadow": 1})
    >>> image, segment = scenes[0]
    >>> image.shape, scenes.planted[0]
    (torch.Size([3, 96, 96]), 'shadow')
    """

    @checks_simple_arguments
    def __init__(
        self,
        length: int = 1200,
        *,
        size: int = 96,
        seed: int = 0,
        weights: Mapping[str, float] | None = None,
        fractions: Mapping[PlantedName, float] | None = None,
    ) -> None:
        kinds = get_args(PlantedName)
        fractions = dict.fromkeys(kinds, 0.06) if fractions is None else dict(fractions)
        unknown = [name for name in fractions if name not in kinds]
        if unknown:
            raise ValueError(f"unknown kind {unknown[0]!r}; known are {', '.join(kinds)}")
        each = np.array([fractions.get(name, 0.0) for name in kinds], dtype=float)
        if not ((each >= 0) & (each <= 1)).all() or each.sum() > 1 + 1e-9:
            raise ValueError(f"fractions must be in [0, 1] and sum to at most 1, got {fractions}")
        self._limits = np.cumsum(each)
        if weights is None:
            weights = _WEIGHTS
        super().__init__(length, size=size, seed=seed, weights=weights)
        self.planted: list[str] = [self._kind(index) for index in range(length)]

    def sample(self, index: int) -> AerialSample:
        """Item `index` with its land use."""
        self._check(index)
        index %= self.length
        rng, land_use = self._drawn(index)
        kind = self._kind(index)
        if kind == _NONE:
            return super().sample(index)
        image, mask = _PLANTERS[kind](rng, self.size, land_use)
        return AerialSample(torch.from_numpy(image), torch.from_numpy(mask), land_use)

    def _kind(self, index: int) -> str:
        """The kind of an item, drawn apart from all else: the other images are those of `AerialScenes`."""
        drawn = np.random.default_rng((self.seed, index, 1)).random()
        place = int(np.searchsorted(self._limits, drawn, side="right"))
        return str((*get_args(PlantedName), _NONE)[place])

    def _drawn(self, index: int) -> tuple[np.random.Generator, str]:
        rng, land_use = super()._drawn(index)
        if self._kind(index) != _NONE:
            land_use = _LAND_USES[self._kind(index)]
        return rng, land_use


def _new_object(rng: np.random.Generator, size: int, land_use: str) -> _Painted:
    scene = _RoundRoofs(rng, size)
    paint(scene, land_use)
    return scene.finish()


class _RoundRoofs(Scene):
    """A scene whose buildings are round, with roofs of grass."""

    def house(self, center: Point, sides: tuple[float, float], *, turn: float = 0.0, flat: bool = False) -> None:
        """Paint a round roof; a disc has no turn, and is always flat."""
        del turn, flat
        x, y = center
        radius = 0.28 * sum(sides)
        roof = self.pick(_GREEN_ROOFS)
        self.disc((x + 1.3, y + 1.3), radius, (0.17, 0.18, 0.18))
        self.disc(center, radius, roof, building=True)


def _shadow(rng: np.random.Generator, size: int, land_use: str) -> _Painted:
    image, mask = _plain(rng, size, land_use)
    # The shadow's edge passes the image's center at up to a third of its side, over some 8 px.
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.5) * size
    rows, cols = np.mgrid[:size, :size] - (size - 1) / 2
    lit = 1 / (1 + np.exp(-(np.cos(angle) * rows + np.sin(angle) * cols - offset) / 2))
    light = lit + (1 - lit) * rng.uniform(*_SHADOW)
    return (image * light).astype(np.float32), mask


def _resolution(rng: np.random.Generator, size: int, land_use: str) -> _Painted:
    image, mask = _plain(rng, _COARSER * size, land_use)
    smaller = image.reshape(3, size, _COARSER, size, _COARSER).mean((2, 4), dtype=np.float32)
    covered = mask.reshape(size, _COARSER, size, _COARSER).mean((1, 3))
    return smaller, (covered >= 0.5).astype(np.uint8)


def _noise(rng: np.random.Generator, size: int, land_use: str) -> _Painted:
    image, mask = _plain(rng, size, land_use)
    noisy = image + rng.normal(0, rng.uniform(*_NOISE), image.shape)
    return np.clip(noisy, 0, 1).astype(np.float32), mask


def _plain(rng: np.random.Generator, size: int, land_use: str) -> _Painted:
    scene = Scene(rng, size)
    paint(scene, land_use)
    return scene.finish()


_PLANTERS: dict[str, Callable[[np.random.Generator, int, str], _Painted]] = {
    "new object": _new_object,
    "shadow": _shadow,
    "resolution": _resolution,
    "noise": _noise,
}
