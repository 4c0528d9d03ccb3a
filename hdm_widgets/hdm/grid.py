"""Where the discs are: a grid of cells, each with the disc that PIL draws for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hdm_widgets._validation import brief, check_choice, is_whole

__all__ = ["DiscShape", "Grid", "ShiftedGrid", "spread", "usual_discs"]

DiscShape = Literal["disc", "square"]

# The first stage of a scan has at most this many cells.
_FIRST_STAGE = 64


def check_count(name: str, value: object) -> int:
    """A whole number of at least 1, as int; NumPy's whole numbers serve too."""
    if not is_whole(value):
        raise TypeError(f"{name} must be a whole number of pixels, got {brief(value)} ({type(value).__name__})")
    if value < 1:
        raise ValueError(f"{name} must be at least 1 px, got {value}")
    return int(value)


def usual_discs(height: int, width: int) -> tuple[int, int]:
    """Circle size and offset for an image where none are given: about a tenth and a thirtieth of its shorter side."""
    side = min(height, width)
    return max(1, round(side / 10)), max(1, round(side / 30))


# Powers of the inverse of the plastic ratio, the root of x**3 = x + 1.
_STEPS = np.array([0.7548776662466927, 0.5698402909980532])
# From here the first four are far from each other and from the border.
_FIRST = np.array([0.37, 0.15])


@dataclass(frozen=True)
class Grid:
    """The grid of a scan.

    Parameters
    ----------
    height, width : int
        The image's size in pixels.
    circle_size : int
        Cell (row, col) has the disc that PIL draws with `ellipse((x, y, x + circle_size, y + circle_size))` at
        x = col * offset, y = row * offset: `circle_size + 1` pixels across, anchored at its top left corner, cut
        off at the image's border.
    offset : int
        Pixels from one disc to the next.
    disc_shape : {"disc", "square"}
        "square": all `(circle_size + 1)²` pixels of the box around that disc.

    Notes
    -----
    There are `height // offset` rows and `width // offset` columns.
    """

    height: int
    width: int
    circle_size: int
    offset: int
    disc_shape: DiscShape = "disc"

    def __post_init__(self) -> None:
        check_choice("shape", self.disc_shape, DiscShape)
        for name in ("height", "width", "circle_size", "offset"):
            object.__setattr__(self, name, check_count(name, getattr(self, name)))
        for name in ("circle_size", "offset"):
            value = getattr(self, name)
            if value > min(self.height, self.width):
                raise ValueError(
                    f"{name} must not be larger than the image, got {value} px for an image "
                    f"{self.width} px wide and {self.height} px high"
                )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.height // self.offset

    @property
    def cols(self) -> int:
        """Number of columns."""
        return self.width // self.offset

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.rows, self.cols

    @cached_property
    def disc(self) -> NDArray[np.bool_]:
        """The whole disc, bool (circle_size + 1, circle_size + 1)."""
        side = self.circle_size + 1
        if self.disc_shape == "square":
            return np.ones((side, side), dtype=bool)
        image = Image.new("1", (side, side), 0)
        ImageDraw.Draw(image).ellipse((0, 0, self.circle_size, self.circle_size), fill=1)
        return np.array(image, dtype=bool)

    def corner(self, row: int, col: int) -> tuple[int, int]:
        """Row and column of the pixel where the disc's box begins."""
        return row * self.offset, col * self.offset

    def window(self, row: int, col: int) -> tuple[slice, slice, NDArray[np.bool_]]:
        """Rows, columns and disc pixels of a cell, cut off at the image's border."""
        y, x = self.corner(row, col)
        top, left = max(0, y), max(0, x)
        bottom, right = min(self.height, y + self.circle_size + 1), min(self.width, x + self.circle_size + 1)
        return slice(top, bottom), slice(left, right), self.disc[top - y : bottom - y, left - x : right - x]

    def mask(self, row: int, col: int) -> NDArray[np.bool_]:
        """The disc of a cell on the whole image, bool (height, width)."""
        mask = np.zeros((self.height, self.width), dtype=bool)
        rows, cols, disc = self.window(row, col)
        mask[rows, cols] = disc
        return mask

    def check_cell(self, row: int, col: int) -> None:
        """Raise IndexError where there is no such cell."""
        if not (0 <= row < self.rows and 0 <= col < self.cols):
            raise IndexError(f"cell ({row}, {col}) is outside the grid of {self.rows} x {self.cols} cells")

    def touching(self, region: tuple[int, int, int, int]) -> NDArray[np.bool_]:
        """Cells, bool (rows, cols), whose disc has a pixel in the half-open box (row0, col0, row1, col1)."""
        row0, col0, row1, col1 = region
        touches = np.zeros(self.shape, dtype=bool)
        side = self.circle_size + 1
        near_rows = [row for row in range(self.rows) if row0 - side < self.corner(row, 0)[0] < row1]
        near_cols = [col for col in range(self.cols) if col0 - side < self.corner(0, col)[1] < col1]
        for row in near_rows:
            for col in near_cols:
                rows, cols, disc = self.window(row, col)
                inside = disc[
                    max(0, row0 - rows.start) : max(0, row1 - rows.start),
                    max(0, col0 - cols.start) : max(0, col1 - cols.start),
                ]
                touches[row, col] = bool(inside.any())
        return touches

    def stages(self) -> list[tuple[int, NDArray[np.intp]]]:
        """The cells from coarse to fine.

        Returns
        -------
        list of (stride, cells)
            `cells` is (n, 2), (row, col) in reading order, every cell in one stage. After a stage the cells
            measured so far are the regular grid of every `stride`-th row and column; the last stride is 1.
        """
        stride = 1
        while -(-self.rows // stride) * -(-self.cols // stride) > _FIRST_STAGE:
            stride *= 2
        rows, cols = np.mgrid[: self.rows, : self.cols]
        stages: list[tuple[int, NDArray[np.intp]]] = []
        done = np.zeros(self.shape, dtype=bool)
        while stride:
            fresh = (rows % stride == 0) & (cols % stride == 0) & ~done
            stages.append((stride, np.argwhere(fresh)))
            done |= fresh
            stride //= 2
        return stages


@dataclass(frozen=True)
class ShiftedGrid(Grid):
    """A grid whose discs are all moved.

    Parameters
    ----------
    height, width, circle_size, offset, disc_shape
        As of a `Grid`, which has as many cells.
    shift : tuple of int
        (row, col) by which discs are moved, in pixels; the image's border cuts them off.
    """

    shift: tuple[int, int] = (0, 0)

    def corner(self, row: int, col: int) -> tuple[int, int]:
        """Row and column of the pixel where the disc's box begins; below 0 where the border cuts it off."""
        y, x = super().corner(row, col)
        return y + self.shift[0], x + self.shift[1]


def spread(cells: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """So many of the cells (n, 2), or all of fewer, spread over both their rows and their columns.

    Every k-th cell would be in the same column of some grids.

    References
    ----------
    M. Roberts: The Unreasonable Effectiveness of Quasirandom Sequences, 2018: the sequence in two dimensions.
    """
    count = min(count, len(cells))
    if not count:
        return cells[:0]
    points = cells.min(0) + np.ptp(cells, 0) * ((_FIRST + np.arange(count)[:, None] * _STEPS) % 1)
    chosen: list[int] = []
    for point in points:
        distance = np.abs(cells - point).max(1)
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
    return cells[chosen]
