"""Paint an aerial image of land, and the mask of its buildings beside it."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["ASPHALT", "Color", "Point", "Scene"]

# Painted at twice the size and reduced, which smooths every edge. Lengths are in pixels of the finished image.
_OVERSAMPLING = 2

Color = tuple[float, float, float]
Point = tuple[float, float]

ASPHALT: Color = (0.46, 0.46, 0.47)
_ROOFS: tuple[Color, ...] = (
    (0.64, 0.36, 0.28),
    (0.55, 0.33, 0.26),
    (0.70, 0.50, 0.40),
    (0.47, 0.44, 0.43),
    (0.62, 0.60, 0.57),
    (0.74, 0.71, 0.65),
    (0.35, 0.33, 0.34),
)


class Scene:
    """An image and its mask while they are painted, in a frame rotated by a random angle.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Side of the square image in pixels.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng = rng
        self.size = size
        self.angle = float(rng.uniform(0, math.pi))
        self.side = size * _OVERSAMPLING
        self._painting = Image.new("RGB", (self.side, self.side))
        self.mask = Image.new("L", (self.side, self.side), 0)
        self._draw = ImageDraw.Draw(self._painting)
        self._draw_mask = ImageDraw.Draw(self.mask)

    def ground(self, color: Color, roughness: float, *, stripes: float = 0.0) -> None:
        """Cover everything with one kind of ground, varied by smooth noise."""
        tone = roughness * self.noise(4) + 0.6 * roughness * self.noise(14)
        if stripes:
            rows, cols = np.mgrid[: self.side, : self.side] / _OVERSAMPLING
            along = cols * math.cos(self.angle) + rows * math.sin(self.angle)
            tone += 0.035 * np.sin(2 * math.pi * along / stripes)
        tone += 1
        self._painting.paste(Image.merge("RGB", [Image.fromarray(_bytes(part * tone)) for part in color]))

    def noise(self, cells: int) -> NDArray[np.float64]:
        """Smooth noise, about normally distributed, interpolated between `cells` x `cells` values."""
        coarse = Image.fromarray(self.rng.normal(size=(cells, cells)).astype(np.float32))
        return np.asarray(coarse.resize((self.side, self.side), Image.Resampling.BICUBIC), dtype=np.float64)

    def shade(self, color: Color, variation: float = 0.12) -> Color:
        """A color near this one."""
        bright = 1 + self.rng.uniform(-variation, variation)
        red, green, blue = (min(1.0, max(0.0, part * bright + self.rng.normal(0, 0.012))) for part in color)
        return red, green, blue

    def pick(self, colors: tuple[Color, ...]) -> Color:
        """A color near one of these."""
        return self.shade(colors[int(self.rng.integers(len(colors)))])

    def point(self, across: float, along: float) -> Point:
        """(x, y) in the image of a point in the rotated frame, whose origin is the image's center."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return self.size / 2 + across * cos - along * sin, self.size / 2 + across * sin + along * cos

    def inside(self, point: Point, margin: float = 0.0) -> bool:
        """Whether a point is in the image, or no farther outside than `margin`."""
        return all(-margin <= value <= self.size + margin for value in point)

    def polygon(self, points: list[Point], color: Color, *, building: bool = False) -> None:
        """Paint an area; a building is painted into the mask too."""
        corners = [(x * _OVERSAMPLING, y * _OVERSAMPLING) for x, y in points]
        self._draw.polygon(corners, fill=_pixel(color))
        if building:
            self._draw_mask.polygon(corners, fill=255)

    def rectangle(
        self, center: Point, sides: tuple[float, float], color: Color, *, turn: float = 0.0, building: bool = False
    ) -> None:
        """Paint a rectangle, rotated with the frame and by `turn` radians more."""
        self.polygon(_corners(center, sides, self.angle + turn), color, building=building)

    def house(self, center: Point, sides: tuple[float, float], *, turn: float = 0.0, flat: bool = False) -> None:
        """Paint a roof with its shadow; in two halves of different brightness unless it is flat."""
        roof = self.pick(_ROOFS)
        x, y = center
        self.rectangle((x + 1.3, y + 1.3), sides, (0.17, 0.18, 0.18), turn=turn)
        self.rectangle(center, sides, roof, turn=turn, building=True)
        if not flat:
            long_side, short_side = sides
            angle = self.angle + turn
            half = (x - math.sin(angle) * short_side / 4, y + math.cos(angle) * short_side / 4)
            darker = tuple(0.8 * part for part in roof)
            self.rectangle(half, (long_side, short_side / 2), darker, turn=turn)  # type: ignore[arg-type]  # three parts

    def trees(self, number: int, *, smallest: float = 2.0, largest: float = 4.5, where: Point | None = None) -> None:
        """Paint crowns with their shadows: anywhere, or around a point."""
        for _ in range(number):
            x, y = self.rng.uniform(-2, self.size + 2, size=2) if where is None else self.rng.normal(where, 8)
            radius = self.rng.uniform(smallest, largest)
            green = self.shade((0.20, 0.29, 0.15), 0.3)
            self.disc((x + 0.8, y + 0.8), radius, (0.09, 0.13, 0.08))
            self.disc((x, y), radius, green)
            light = tuple(min(1.0, 1.3 * part) for part in green)
            self.disc((x - 0.3 * radius, y - 0.3 * radius), 0.5 * radius, light)  # type: ignore[arg-type]

    def disc(self, center: Point, radius: float, color: Color, *, building: bool = False) -> None:
        """Paint a disc; a building is painted into the mask too."""
        x, y, r = (value * _OVERSAMPLING for value in (*center, radius))
        box = (x - r, y - r, x + r, y + r)
        self._draw.ellipse(box, fill=_pixel(color))
        if building:
            self._draw_mask.ellipse(box, fill=255)

    def road(self, across: float, width: float, color: Color = ASPHALT) -> None:
        """Paint a straight road along the frame."""
        self.rectangle(self.point(across, 0), (width, 3 * self.size), self.shade(color, 0.06))

    def finish(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Image (3, H, W) and mask (H, W) at their final size, with the light and the noise of a camera."""
        small = (self.size, self.size)
        smooth = self._painting.filter(ImageFilter.GaussianBlur(0.8)).resize(small, Image.Resampling.BOX)
        values = np.asarray(smooth, dtype=np.float32) / 255
        light = self.rng.uniform(0.85, 1.15) * self.rng.uniform(0.97, 1.03, size=3)
        values = values * light
        values += self.rng.normal(0, 0.016, size=values.shape)
        mask = np.asarray(self.mask.resize(small, Image.Resampling.BOX)) > 127
        image = np.ascontiguousarray(np.clip(values, 0, 1).transpose(2, 0, 1), dtype=np.float32)
        return image, mask.astype(np.uint8)


def _corners(center: Point, sides: tuple[float, float], angle: float) -> list[Point]:
    x, y = center
    cos, sin = math.cos(angle), math.sin(angle)
    across, along = sides[0] / 2, sides[1] / 2
    return [
        (x + a * across * cos - b * along * sin, y + a * across * sin + b * along * cos)
        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]


def _bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Values from 0 to 1 as bytes; the array is overwritten."""
    np.clip(values, 0, 1, out=values)
    values *= 255
    return np.rint(values, out=values).astype(np.uint8)


@lru_cache(maxsize=8)  # shadows have one color, and shapes of a few parts share theirs
def _pixel(color: Color) -> tuple[int, int, int]:
    red, green, blue = color
    return _byte(red), _byte(green), _byte(blue)


def _byte(part: float) -> int:
    return round(255 * min(1.0, max(0.0, part)))
