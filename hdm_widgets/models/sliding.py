"""Overlapping windows over an image that is larger than what a network is given, and how their outputs are blended."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets._validation import brief, check_choice, finite_number, is_whole, listed

__all__ = ["BlendedBox", "Blending", "Box", "Overlap", "SlidingWindow", "WindowGrid"]

Blending = Literal["constant", "gaussian"]
Overlap = float | tuple[float, float]
# (row0, col0, row1, col1), half open.
Box = tuple[int, int, int, int]

# As in MONAI's sliding_window_inference.
_OVERLAP = 0.25
_SIGMA = 0.125
_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class SlidingWindow:
    """How windows are laid over images, and how their outputs are blended, as MONAI's sliding_window_inference does.

    Attributes
    ----------
    size : tuple of int
        Rows and columns of a window.
    steps : tuple of int
        Rows and columns from one window to the next; the last ones end with the image.
    blending : {"constant", "gaussian"}
    """

    size: tuple[int, int]
    steps: tuple[int, int]
    blending: Blending

    @classmethod
    def from_options(cls, window: object, overlap: object, blending: object) -> SlidingWindow | None:
        """Read the options of a `Segmenter`; None without a window.

        Raises
        ------
        TypeError, ValueError
            For options that are wrong, saying what was expected.
        """
        check_choice("blending", blending, Blending)
        if window is None:
            if overlap is not None or blending != "constant":
                name = "overlap" if overlap is not None else "blending"
                raise ValueError(f"{name} is about windows: give their size too, such as window=512")
            return None
        size = tuple(_check_side(side) for side in _pair("window", window))
        overlaps = _pair("overlap", _OVERLAP if overlap is None else overlap)
        steps = tuple(_step(side, each) for side, each in zip(size, overlaps, strict=True))
        return cls((size[0], size[1]), (steps[0], steps[1]), blending)  # type: ignore[arg-type]  # just checked

    @property
    def overlap(self) -> tuple[int, int]:
        """Rows and columns that a window has in common with the next."""
        return self.size[0] - self.steps[0], self.size[1] - self.steps[1]

    def grid(self, height: int, width: int) -> WindowGrid:
        """The windows of images of a size."""
        return _grid(self, height, width)

    def weights(self, *, peaked: bool = False) -> Tensor:
        """The weight of each pixel of a window, float32 (rows, cols); `peaked`: falling from the center on."""
        if self.blending == "constant" and not peaked:
            return torch.ones(self.size)
        down, across = (_gaussian(side) for side in self.size)
        weights = down[:, None] * across
        return weights if peaked else weights.clamp(min=max(float(weights.min()), _LEAST_WEIGHT))


@lru_cache(maxsize=16)
def _grid(window: SlidingWindow, height: int, width: int) -> WindowGrid:
    return WindowGrid(window, height, width)


@dataclass(frozen=True)
class WindowGrid:
    """The windows of an image, in reading order.

    Attributes
    ----------
    window : SlidingWindow
    height, width : int
        Of the image. Where a side is shorter than the window's, zeros are added on both sides.
    """

    window: SlidingWindow
    height: int
    width: int

    def __len__(self) -> int:
        return len(self._starts[0]) * len(self._starts[1])

    @cached_property
    def _starts(self) -> tuple[list[int], list[int]]:
        """Where rows and columns of windows begin; below 0 for one that is larger than the image."""
        rows, cols = (
            _starts(length, side, step)
            for length, side, step in zip((self.height, self.width), self.window.size, self.window.steps, strict=True)
        )
        return rows, cols

    @cached_property
    def boxes(self) -> list[Box]:
        """The box of every window in the image; it may reach beyond the image."""
        rows, cols = self.window.size
        return [(row, col, row + rows, col + cols) for row, col in itertools.product(*self._starts)]

    @property
    def center(self) -> int:
        """The window in the middle of the image."""
        rows, cols = (len(starts) for starts in self._starts)
        return rows // 2 * cols + cols // 2

    def touching(self, box: Box) -> tuple[int, ...]:
        """The windows that have a pixel of a box that is not empty."""
        (rows, cols), count = self.window.size, len(self._starts[1])
        down = [at for at, row in enumerate(self._starts[0]) if row < box[2] and box[0] < row + rows]
        across = [at for at, col in enumerate(self._starts[1]) if col < box[3] and box[1] < col + cols]
        return tuple(row * count + col for row in down for col in across)

    def inside(self, index: int) -> Box:
        """The part of a window that is inside the image."""
        row0, col0, row1, col1 = self.boxes[index]
        return max(0, row0), max(0, col0), min(self.height, row1), min(self.width, col1)

    def cut(self, image: Tensor, index: int) -> Tensor:
        """What a window shows of an image (..., H, W)."""
        row0, col0, row1, col1 = self.inside(index)
        return self.filled_up(image[..., row0:row1, col0:col1], index)

    def filled_up(self, inside: Tensor, index: int) -> Tensor:
        """What is inside the image of a window (..., h, w), with zeros where the window reaches beyond the image."""
        (row0, col0, row1, col1), (top, left, bottom, right) = self.boxes[index], self.inside(index)
        return F.pad(inside, (left - col0, col1 - right, top - row0, row1 - bottom))

    def valid_pixels(self, valid: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Pixels (H, W) that some window has output for, if each has it for these (rows, cols); None if all are."""
        if valid is None:
            return None
        whole = np.zeros((self.height, self.width), np.bool_)
        for index, (row, col, _, _) in enumerate(self.boxes):
            row0, col0, row1, col1 = self.inside(index)
            whole[row0:row1, col0:col1] |= valid[row0 - row : row1 - row, col0 - col : col1 - col]
        return None if whole.all() else whole


class BlendedBox:
    """Blends what windows have in a box of the image: the mean by their weights.

    Class numbers have no mean: each is taken from the window with the largest weight, the first of several.

    Parameters
    ----------
    grid : WindowGrid
    weights : torch.Tensor (rows, cols)
        Of the pixels of a window; 0 for those without output.
    box : tuple of int
        (row0, col0, row1, col1), inside the image.
    numbers : bool
        Whether outputs are class numbers.
    gaps : bool
        Whether a window has pixels without output.
    """

    def __init__(self, grid: WindowGrid, weights: Tensor, box: Box, *, numbers: bool, gaps: bool) -> None:
        self._grid, self._weights, self._box, self._numbers, self._gaps = grid, weights, box, numbers, gaps
        self._values: Tensor | None = None
        self._total: Tensor | None = None

    def add(self, index: int, values: Tensor, row: int, col: int) -> None:
        """Add a part (classes, h, w) of a window's output that begins at (row, col) of the window.

        What is outside of the box is left out. Windows must be added in reading order: rounding depends on it.
        """
        top, left = self._grid.boxes[index][:2]
        row0, col0 = max(self._box[0], top + row), max(self._box[1], left + col)
        row1, col1 = min(self._box[2], top + row + values.shape[-2]), min(self._box[3], left + col + values.shape[-1])
        if row0 >= row1 or col0 >= col1:
            return
        part = values[:, row0 - top - row : row1 - top - row, col0 - left - col : col1 - left - col]
        weights = self._weights[row0 - top : row1 - top, col0 - left : col1 - left].to(part)
        if self._values is None or self._total is None:
            shape = self._box[2] - self._box[0], self._box[3] - self._box[1]
            self._values, self._total = values.new_zeros(len(values), *shape), values.new_zeros(shape)
        here = ..., slice(row0 - self._box[0], row1 - self._box[0]), slice(col0 - self._box[1], col1 - self._box[1])
        if self._numbers:
            larger = weights > self._total[here]
            self._values[here] = torch.where(larger, part, self._values[here])
            self._total[here] = torch.where(larger, weights, self._total[here])
        else:
            self._values[here] += part * weights
            self._total[here] += weights

    def result(self, outside: list[float]) -> Tensor:
        """The blended output (classes, h, w) of the box; for each class a value for pixels without output."""
        if self._values is None or self._total is None:
            raise ValueError("no window has been added")
        values = self._values if self._numbers else self._values / self._total
        if self._gaps:
            # Numbers class by class: a list would be sent to the device for every box.
            nothing = self._total == 0
            values = torch.stack([torch.where(nothing, each, one) for each, one in zip(outside, values, strict=True)])
        return values


def _pair(name: str, value: object) -> list[object]:
    """One value for rows and columns, or a pair of them."""
    entries = listed(value)
    pair = [value, value] if entries is None else entries
    if len(pair) != 2:
        raise ValueError(f"{name} must be one value, or a pair (rows, columns), got {brief(value)}")
    return pair


def _check_side(side: object) -> int:
    if not is_whole(side):
        raise TypeError(
            f"window must be a whole number of pixels, or a pair (rows, columns) of them, got {brief(side)}"
        )
    if side < 1:
        raise ValueError(f"window must be at least 1 px a side, got {side}")
    return int(side)


def _step(side: int, overlap: object) -> int:
    """Pixels from one window of this side to the next."""
    number = finite_number(overlap)
    if number is None:
        raise TypeError(
            f"overlap must be a fraction of the window below 1, or a whole number of pixels, got {brief(overlap)}"
        )
    if is_whole(overlap):
        if not 0 <= overlap < side:
            raise ValueError(
                f"overlap must be at least 0 px and less than the window's {side} px, got {overlap}"
                + (" (a fraction is a float, such as 0.5)" if overlap > 0 else "")
            )
        return side - int(overlap)
    if not 0 <= number < 1:
        raise ValueError(
            f"overlap must be a fraction of the window, at least 0 and below 1, got {number:g}; for pixels give a "
            "whole number, such as overlap=64"
        )
    return max(1, int(side * (1 - number)))


def _starts(length: int, side: int, step: int) -> list[int]:
    """Where windows begin along an axis; the last one ends with the image, and one that is larger is around it."""
    if length <= side:
        return [-((side - length) // 2)]
    count = math.ceil((length - side) / step) + 1
    return [min(at * step, length - side) for at in range(count)]


def _gaussian(side: int) -> Tensor:
    places = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    return torch.exp(places**2 / (-2 * (_SIGMA * side) ** 2))
