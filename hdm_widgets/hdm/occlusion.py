"""Cover a disc of the picture."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._validation import warn_user
from hdm_widgets.hdm.grid import Grid

__all__ = ["Changes", "Fill", "Occlusion", "OverriddenOcclusion", "check_fill", "disc_mask", "warn_of_clipping"]

Fill = Literal["minimum", "mean", "blur"] | float


@dataclass(frozen=True)
class Changes:
    """What the discs of some cells change in the picture.

    Attributes
    ----------
    boxes : numpy.ndarray, int (n, 4)
        (row0, col0, row1, col1), half open, around the pixels that change; zeros where none does.
    keys : list of bytes
        Equal for cells whose pictures are equal; empty where nothing changes.
    content : callable
        Of indices (k,) and boxes (k, 4) of one size: what is in those boxes of those cells' pictures,
        (k, C, h, w).
    size : tuple of int
        The picture's, (H, W).
    """

    boxes: NDArray[np.intp]
    keys: list[bytes]
    content: Callable[[NDArray[np.intp], NDArray[np.intp]], Tensor]
    size: tuple[int, int]

    def pictures(self, items: NDArray[np.intp]) -> Tensor:
        """The whole pictures (k, C, H, W) of some of the cells."""
        return self.content(items, np.broadcast_to(np.array([0, 0, *self.size]), (len(items), 4)))


@dataclass(frozen=True)
class Occlusion:
    """Two pictures: `inside` shows in the disc, `outside` everywhere else.

    Attributes
    ----------
    grid : Grid
        Where the discs are.
    inside, outside : torch.Tensor (C, H, W)
    """

    grid: Grid
    inside: Tensor
    outside: Tensor

    @property
    def unchanged(self) -> Tensor:
        """The picture (C, H, W) with an empty disc."""
        return self.outside

    @classmethod
    def of(cls, grid: Grid, image: Tensor, *, fill: Fill, channel: int, normalize: bool) -> Occlusion:
        """The occlusion of `image` (C, H, W) on one channel, or on all with `channel=-1`."""
        inside, outside = image.clone(), image.clone()
        part = slice(None) if channel == -1 else slice(channel, channel + 1)
        if fill == "minimum":
            low, high = _minimum_range(normalize)
            inside[part] = image[part].clamp(max=low)
            outside[part] = image[part].clamp(max=high)
        elif fill == "mean":
            inside[part] = image[part].mean(dim=(-2, -1), keepdim=True)
        elif fill == "blur":
            inside[part] = _blurred(image[part], grid.circle_size)
        else:
            inside[part] = float(fill)
        return cls(grid, inside, outside)

    def picture(self, row: int, col: int) -> Tensor:
        """The picture (C, H, W) with the disc of one cell."""
        return self._part([row, col], [0, 0, self.grid.height, self.grid.width])

    def reach(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Boxes (k, 4) in which the discs of cells (n, 2) may change the picture, one for each different picture."""
        changes = self.changes(cells)
        different = {key: item for item, key in enumerate(changes.keys) if key}
        return changes.boxes[list(different.values())]

    def changes(self, cells: NDArray[np.intp]) -> Changes:
        """What the discs of cells (n, 2) change."""
        boxes = np.zeros((len(cells), 4), np.intp)
        keys = []
        for item, (row, col) in enumerate(cells.tolist()):
            rows, cols, disc = self.grid.window(row, col)
            changed = self._differs[rows, cols] & disc
            box = _box_of(changed)
            if box is None:
                keys.append(b"")
                continue
            row0, col0, row1, col1 = box
            boxes[item] = rows.start + row0, cols.start + col0, rows.start + row1, cols.start + col1
            # The same pixels show the same `inside`, whichever disc covers them.
            keys.append(boxes[item].tobytes() + np.packbits(changed[row0:row1, col0:col1]).tobytes())

        def content(items: NDArray[np.intp], parts: NDArray[np.intp]) -> Tensor:
            return torch.stack(
                [self._part(cell, part) for cell, part in zip(cells[items].tolist(), parts.tolist(), strict=True)]
            )

        return Changes(boxes, keys, content, (self.grid.height, self.grid.width))

    @cached_property
    def _differs(self) -> NDArray[np.bool_]:
        """Where a disc would change the picture; NaN counts as change."""
        differs: NDArray[np.bool_] = (self.inside != self.outside).any(0).cpu().numpy()
        return differs

    @cached_property
    def _disc(self) -> Tensor:
        return torch.from_numpy(self.grid.disc).to(self.outside.device)

    def _part(self, cell: list[int], part: list[int]) -> Tensor:
        """The box `part` of a cell's picture."""
        row0, col0, row1, col1 = part
        rows, cols, window = self.grid.window(*cell)
        picture = self.outside[:, row0:row1, col0:col1].clone()
        top, left = max(row0, rows.start), max(col0, cols.start)
        bottom, right = min(row1, rows.start + window.shape[0]), min(col1, cols.start + window.shape[1])
        if top < bottom and left < right:
            here = slice(top, bottom), slice(left, right)
            disc = self._disc[top - rows.start : bottom - rows.start, left - cols.start : right - cols.start]
            target = picture[:, top - row0 : bottom - row0, left - col0 : right - col0]
            target.copy_(torch.where(disc, self.inside[:, *here], self.outside[:, *here]))
        return picture


@dataclass(frozen=True)
class OverriddenOcclusion:
    """The occlusion of a subclass with its own `apply_mask`, called as the published code calls it."""

    grid: Grid
    image: Tensor
    channel: int
    normalize: bool
    apply_mask: Callable[[Tensor, Tensor], Tensor]

    @property
    def unchanged(self) -> Tensor:
        """The picture (C, H, W) itself."""
        return self.image

    def picture(self, row: int, col: int) -> Tensor:
        """The picture (C, H, W) with the disc of one cell."""
        mask = disc_mask(self.grid, row, col, normalize=self.normalize).to(self.image.device)
        target = self.image if self.channel == -1 else self.image[self.channel]
        covered = self.apply_mask(target.clone(), mask)
        if not isinstance(covered, Tensor) or covered.shape != target.shape:
            came = tuple(covered.shape) if isinstance(covered, Tensor) else type(covered).__name__
            raise ValueError(
                f"apply_mask must return a tensor of the picture's shape {tuple(target.shape)}, got {came}"
            )
        if self.channel == -1:
            return covered.to(self.image.dtype)
        picture = self.image.clone()
        picture[self.channel] = covered
        return picture

    def reach(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Boxes (n, 4) of the discs of cells (n, 2); no mask is applied for it."""
        windows = [self.grid.window(row, col)[:2] for row, col in cells.tolist()]
        return np.array([(rows.start, cols.start, rows.stop, cols.stop) for rows, cols in windows], np.intp)

    def changes(self, cells: NDArray[np.intp]) -> Changes:
        """What the discs of cells (n, 2) change; every mask is applied once, as it may not be the same twice."""
        boxes = np.zeros((len(cells), 4), np.intp)
        keys, patches = [], []
        for item, (row, col) in enumerate(cells.tolist()):
            picture = self.picture(row, col)
            box = _box_of((picture != self.image).any(0).cpu().numpy())
            if box is None:
                keys.append(b"")
                patches.append(picture[:, :0, :0])
                continue
            boxes[item] = box
            row0, col0, row1, col1 = box
            patches.append(picture[:, row0:row1, col0:col1].clone())
            keys.append(boxes[item].tobytes() + hashlib.sha256(patches[-1].cpu().numpy().tobytes()).digest())

        def content(items: NDArray[np.intp], parts: NDArray[np.intp]) -> Tensor:
            return torch.stack([part_of(item, part) for item, part in zip(items.tolist(), parts.tolist(), strict=True)])

        def part_of(item: int, part: list[int]) -> Tensor:
            row0, col0, row1, col1 = part
            top, left, bottom, right = boxes[item].tolist()
            # A part holds the whole box: windows only ever grow.
            picture = self.image[:, row0:row1, col0:col1].clone()
            picture[:, top - row0 : bottom - row0, left - col0 : right - col0] = patches[item]
            return picture

        return Changes(boxes, keys, content, (self.grid.height, self.grid.width))


def _box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """The half-open box around what is set; None where nothing is."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1) if len(rows) else None


def disc_mask(grid: Grid, row: int, col: int, *, normalize: bool = False) -> Tensor:
    """The published mask of a cell, float32 (H, W): 0 in the disc and 1 outside, or -1 and 1 when normalised."""
    mask = 1.0 - torch.from_numpy(grid.mask(row, col)).float()
    return 2 * mask - 1 if normalize else mask


def _minimum_range(normalize: bool) -> tuple[float, float]:
    return (-1.0, 1.0) if normalize else (0.0, 1.0)


def check_fill(fill: object) -> Fill:
    """`fill` itself, if it is a known name or a finite number."""
    if isinstance(fill, (int, float, np.number)) and not isinstance(fill, bool) and np.isfinite(fill):
        return float(fill)
    if isinstance(fill, str) and fill in ("minimum", "mean", "blur"):
        return fill  # type: ignore[return-value]  # just checked
    raise ValueError(f"fill must be 'minimum', 'mean', 'blur' or a finite number, got {fill!r}")


def warn_of_clipping(image: Tensor, *, normalize: bool) -> None:
    """Say so if the element-wise minimum does something else to the picture than to darken the disc."""
    low, high = _minimum_range(normalize)
    least, most = (float(value) for value in image.aminmax())
    if most > high:
        warn_user(
            f"the picture has values up to {most:g}; the element-wise minimum with the mask cuts all of them down to "
            f"{high:g}, outside the disc too. Scale the picture to [{low:g}, {high:g}] or use fill='mean' or a number"
        )
    if least < low:
        advice = (
            "; with pictures in [-1, 1] use generate_masks(..., normalize=True)" if low == 0 and least >= -1 else ""
        )
        warn_user(
            f"the picture has values down to {least:g}; the disc is {low:g} and does not cover what is darker{advice}"
        )


def _blurred(image: Tensor, circle_size: int) -> Tensor:
    from scipy import ndimage

    sigma = (0, circle_size / 2, circle_size / 2)
    return torch.from_numpy(ndimage.gaussian_filter(image.cpu().numpy(), sigma)).to(image)
