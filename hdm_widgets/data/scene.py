"""A picture of land from above while it is painted, with the mask of its buildings."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["ASPHALT", "Colour", "Point", "Scene"]

# Drawn at twice the size and reduced, which smooths every edge. Lengths are in pixels of the finished picture.
_OVERSAMPLING = 2

Colour = tuple[float, float, float]
Point = tuple[float, float]

ASPHALT: Colour = (0.46, 0.46, 0.47)
_ROOFS: tuple[Colour, ...] = (
    (0.64, 0.36, 0.28),
    (0.55, 0.33, 0.26),
    (0.70, 0.50, 0.40),
    (0.47, 0.44, 0.43),
    (0.62, 0.60, 0.57),
    (0.74, 0.71, 0.65),
    (0.35, 0.33, 0.34),
)


class Scene:
    """A picture and its mask while they are painted, in a frame that is turned by a random angle."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng = rng
        self.size = size
        self.angle = float(rng.uniform(0, math.pi))
        self.side = size * _OVERSAMPLING
        self.picture = Image.new("RGB", (self.side, self.side))
        self.mask = Image.new("L", (self.side, self.side), 0)
        self._draw = ImageDraw.Draw(self.picture)
        self._draw_mask = ImageDraw.Draw(self.mask)

    def ground(self, colour: Colour, roughness: float, *, stripes: float = 0.0) -> None:
        """Cover everything with one kind of ground, stained by smooth noise."""
        tone = roughness * self.noise(4) + 0.6 * roughness * self.noise(14)
        if stripes:
            rows, cols = np.mgrid[: self.side, : self.side] / _OVERSAMPLING
            along = cols * math.cos(self.angle) + rows * math.sin(self.angle)
            tone = tone + 0.035 * np.sin(2 * math.pi * along / stripes)
        values = np.asarray(colour) * (1 + tone[..., None])
        self.picture.paste(Image.fromarray(_bytes(values)))

    def noise(self, cells: int) -> NDArray[np.float64]:
        """Smooth noise, about normal, `cells` bumps to a side."""
        coarse = Image.fromarray(self.rng.normal(size=(cells, cells)).astype(np.float32))
        return np.asarray(coarse.resize((self.side, self.side), Image.Resampling.BICUBIC), dtype=np.float64)

    def shade(self, colour: Colour, spread: float = 0.12) -> Colour:
        """A colour near this one."""
        bright = 1 + self.rng.uniform(-spread, spread)
        red, green, blue = (min(1.0, max(0.0, part * bright + self.rng.normal(0, 0.012))) for part in colour)
        return red, green, blue

    def pick(self, colours: tuple[Colour, ...]) -> Colour:
        """A colour near one of these."""
        return self.shade(colours[int(self.rng.integers(len(colours)))])

    def place(self, across: float, along: float) -> Point:
        """A point of the turned frame, whose origin is the middle of the picture, as (x, y)."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return self.size / 2 + across * cos - along * sin, self.size / 2 + across * sin + along * cos

    def inside(self, point: Point, margin: float = 0.0) -> bool:
        """Whether a point is in the picture, or no farther outside than `margin`."""
        return all(-margin <= value <= self.size + margin for value in point)

    def polygon(self, points: list[Point], colour: Colour, *, building: bool = False) -> None:
        """Paint an area; a building is in the mask too."""
        corners = [(x * _OVERSAMPLING, y * _OVERSAMPLING) for x, y in points]
        self._draw.polygon(corners, fill=_pixel(colour))
        if building:
            self._draw_mask.polygon(corners, fill=255)

    def rectangle(
        self, centre: Point, sides: tuple[float, float], colour: Colour, *, turn: float = 0.0, building: bool = False
    ) -> None:
        """Paint a rectangle, turned with the frame and by `turn` beyond it."""
        self.polygon(_corners(centre, sides, self.angle + turn), colour, building=building)

    def house(self, centre: Point, sides: tuple[float, float], *, turn: float = 0.0, flat: bool = False) -> None:
        """A roof with its shadow; two halves of different brightness unless it is flat."""
        roof = self.pick(_ROOFS)
        x, y = centre
        self.rectangle((x + 1.3, y + 1.3), sides, (0.17, 0.18, 0.18), turn=turn)
        self.rectangle(centre, sides, roof, turn=turn, building=True)
        if not flat:
            long_side, short_side = sides
            angle = self.angle + turn
            half = (x - math.sin(angle) * short_side / 4, y + math.cos(angle) * short_side / 4)
            darker = tuple(0.8 * part for part in roof)
            self.rectangle(half, (long_side, short_side / 2), darker, turn=turn)  # type: ignore[arg-type]  # three parts

    def trees(self, number: int, *, smallest: float = 2.0, largest: float = 4.5, where: Point | None = None) -> None:
        """Paint crowns with their shadows: anywhere, or about a point."""
        for _ in range(number):
            x, y = self.rng.uniform(-2, self.size + 2, size=2) if where is None else self.rng.normal(where, 8)
            radius = self.rng.uniform(smallest, largest)
            green = self.shade((0.20, 0.29, 0.15), 0.3)
            self.disc((x + 0.8, y + 0.8), radius, (0.09, 0.13, 0.08))
            self.disc((x, y), radius, green)
            light = tuple(min(1.0, 1.3 * part) for part in green)
            self.disc((x - 0.3 * radius, y - 0.3 * radius), 0.5 * radius, light)  # type: ignore[arg-type]

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """Paint a disc."""
        x, y, r = (value * _OVERSAMPLING for value in (*centre, radius))
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=_pixel(colour))

    def road(self, across: float, width: float, colour: Colour = ASPHALT) -> None:
        """A straight road along the frame."""
        self.rectangle(self.place(across, 0), (width, 3 * self.size), self.shade(colour, 0.06))

    def finish(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Picture (3, H, W) and mask (H, W) at their size, with the light and the noise of a camera."""
        small = (self.size, self.size)
        smooth = self.picture.filter(ImageFilter.GaussianBlur(0.8)).resize(small, Image.Resampling.BOX)
        values = np.asarray(smooth, dtype=np.float32) / 255
        light = self.rng.uniform(0.85, 1.15) * self.rng.uniform(0.97, 1.03, size=3)
        values = values * light + self.rng.normal(0, 0.016, size=values.shape)
        mask = np.asarray(self.mask.resize(small, Image.Resampling.BOX)) > 127
        picture = np.ascontiguousarray(np.clip(values, 0, 1).transpose(2, 0, 1), dtype=np.float32)
        return picture, mask.astype(np.uint8)


def _corners(centre: Point, sides: tuple[float, float], angle: float) -> list[Point]:
    x, y = centre
    cos, sin = math.cos(angle), math.sin(angle)
    across, along = sides[0] / 2, sides[1] / 2
    return [
        (x + a * across * cos - b * along * sin, y + a * across * sin + b * along * cos)
        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]


def _bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return (np.clip(values, 0, 1) * 255).round().astype(np.uint8)


def _pixel(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (round(255 * min(1.0, max(0.0, part))) for part in colour)
    return red, green, blue
