"""Cover a disc of the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets._bitmasks import bounding_box
from hdm_widgets._picture import known_range
from hdm_widgets._validation import brief, finite_number, listed
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.windowed.gather import gathered

__all__ = [
    "Changes",
    "Channel",
    "Fill",
    "FillName",
    "Occluder",
    "Occlusion",
    "black_of",
    "channels_of",
    "check_fill",
    "check_fill_length",
    "clipping_doubts",
    "disc_mask",
]

FillName = Literal["minimum", "mean", "blur", "noise", "inpainted"]
Fill = FillName | float | Sequence[float]
Channel = int | tuple[int, ...]

_NAMES = get_args(FillName)


@dataclass(frozen=True, eq=False)
class Changes:
    """What the discs of some cells change in the image.

    Attributes
    ----------
    boxes : numpy.ndarray, int (n, 4)
        (row0, col0, row1, col1), half open, around the pixels that change; zeros where none does.
    keys : list of bytes
        Equal for cells whose occluded images are equal; empty where nothing changes.
    content : callable
        Takes positions of cells (k,) and boxes (k, 4) of one size; returns what those cells' images show in those
        boxes, (k, C, h, w).
    size : tuple of int
        The image's, (H, W).
    """

    boxes: NDArray[np.intp]
    keys: list[bytes]
    content: Callable[[NDArray[np.intp], NDArray[np.intp]], Tensor]
    size: tuple[int, int]

    def images(self, items: NDArray[np.intp]) -> Tensor:
        """The whole occluded images (k, C, H, W) of some of the cells."""
        return self.content(items, np.broadcast_to(np.array([0, 0, *self.size]), (len(items), 4)))


class Occluder(Protocol):
    """Covers discs of one image."""

    @property
    def grid(self) -> Grid:
        """Where the discs are."""

    @property
    def unchanged(self) -> Tensor:
        """The image (C, H, W) with an empty disc."""

    @property
    def repeatable(self) -> bool:
        """Whether a disc can be made twice."""

    def boxes(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Boxes (k, 4) in which the discs of cells (n, 2) may change the image, one for each different image."""

    def changes(self, cells: NDArray[np.intp]) -> Changes:
        """What the discs of cells (n, 2) change."""

    def occluded(self, row: int, col: int) -> Tensor:
        """The image (C, H, W) with the disc of one cell."""


@dataclass(frozen=True, eq=False)
class Occlusion:
    """Two images: `inside` shows in the disc, `outside` everywhere else.

    Attributes
    ----------
    grid : Grid
        Where the discs are.
    inside, outside : torch.Tensor (C, H, W)
    """

    repeatable = True

    grid: Grid
    inside: Tensor
    outside: Tensor

    @property
    def unchanged(self) -> Tensor:
        """The image (C, H, W) with an empty disc."""
        return self.outside

    @classmethod
    def for_fill(
        cls,
        grid: Grid,
        image: Tensor,
        *,
        fill: Fill,
        channel: Channel,
        normalize: bool,
        own_range: bool = False,
        seed: int = 0,
    ) -> Occlusion:
        """The occlusion of `image` (C, H, W) on one channel, on several, or on all with `channel=-1`.

        With `own_range`, "minimum" is `black_of` the image in the disc and changes nothing outside of it. "inpainted"
        shows something else in every disc: see `InpaintedOcclusion`.
        """
        inside, outside = image.clone(), image.clone()
        part = channels_of(channel)
        if fill == "minimum" and own_range:
            inside[part] = black_of(image, normalize=normalize)[part]
        elif fill == "minimum":
            low, high = _minimum_range(normalize)
            inside[part] = image[part].clamp(max=low)
            outside[part] = image[part].clamp(max=high)
        elif fill == "mean":
            inside[part] = image[part].mean(dim=(-2, -1), keepdim=True)
        elif fill == "blur":
            inside[part] = _blurred(image[part], grid.circle_size)
        elif fill == "noise":
            inside[part] = _noise(image, seed)[part]
        else:
            values = torch.as_tensor(fill, dtype=image.dtype, device=image.device).reshape(-1, 1, 1)
            inside[part] = values.expand(len(image), 1, 1)[part]
        return cls(grid, inside, outside)

    def to(self, device: torch.device) -> Occlusion:
        """The same on a device."""
        return Occlusion(self.grid, self.inside.to(device), self.outside.to(device))

    def occluded(self, row: int, col: int) -> Tensor:
        """The image (C, H, W) with the disc of one cell."""
        whole = np.array([[0, 0, self.grid.height, self.grid.width]])
        return self._parts(np.array([[row, col]]), whole)[0]

    def boxes(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Boxes (k, 4) in which the discs of cells (n, 2) may change the image, one for each different image."""
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
            box = bounding_box(changed)
            if box is None:
                keys.append(b"")
                continue
            row0, col0, row1, col1 = box
            boxes[item] = rows.start + row0, cols.start + col0, rows.start + row1, cols.start + col1
            # The same pixels show the same `inside`, whichever disc covers them.
            keys.append(boxes[item].tobytes() + np.packbits(changed[row0:row1, col0:col1]).tobytes())

        def content(items: NDArray[np.intp], parts: NDArray[np.intp]) -> Tensor:
            return self._parts(cells[items], parts)

        return Changes(boxes, keys, content, (self.grid.height, self.grid.width))

    @cached_property
    def _differs(self) -> NDArray[np.bool_]:
        """Where a disc would change the image; NaN counts as change."""
        differs: NDArray[np.bool_] = (self.inside != self.outside).any(0).cpu().numpy()
        return differs

    @cached_property
    def _disc(self) -> Tensor:
        """The disc with a margin of one pixel that is not of it."""
        return F.pad(torch.from_numpy(self.grid.disc).to(self.outside.device), (1, 1, 1, 1))

    def _parts(self, cells: NDArray[np.intp], parts: NDArray[np.intp]) -> Tensor:
        """The boxes `parts` (k, 4), of one size, of the images of cells (k, 2): (k, C, h, w)."""
        if self.outside.device.type == "cpu":
            # One by one: what a disc does not cover is only copied.
            pairs = zip(cells.tolist(), parts.tolist(), strict=True)
            return torch.stack([self._part(cell, part) for cell, part in pairs])
        return self._parts_at_once(cells, parts)

    def _part(self, cell: list[int], part: list[int]) -> Tensor:
        """The box `part` of a cell's image."""
        row0, col0, row1, col1 = part
        rows, cols, window = self.grid.window(*cell)
        image = self.outside[:, row0:row1, col0:col1].clone()
        top, left = max(row0, rows.start), max(col0, cols.start)
        bottom, right = min(row1, rows.start + window.shape[0]), min(col1, cols.start + window.shape[1])
        if top < bottom and left < right:
            here = slice(top, bottom), slice(left, right)
            y, x = self.grid.corner(*cell)
            disc = self._disc[1 + top - y : 1 + bottom - y, 1 + left - x : 1 + right - x]
            target = image[:, top - row0 : bottom - row0, left - col0 : right - col0]
            target.copy_(torch.where(disc, self.inside[:, *here], self.outside[:, *here]))
        return image

    def _parts_at_once(self, cells: NDArray[np.intp], parts: NDArray[np.intp]) -> Tensor:
        """As `_parts`: on a GPU, by as many operations for one cell as for a hundred, with one copy to the device."""
        height, width = (parts[0, 2:] - parts[0, :2]).tolist()
        corners = [self.grid.corner(row, col) for row, col in cells.tolist()]
        starts = np.concatenate([parts[:, :2], np.array(corners, np.intp)], 1, dtype=np.int64).T
        rows, cols, tops, lefts = torch.from_numpy(np.ascontiguousarray(starts)).to(self.outside.device)
        # Positions in the disc with its margin, where all that is farther away is the margin too.
        down = (rows - tops)[:, None] + torch.arange(height, device=rows.device) + 1
        across = (cols - lefts)[:, None] + torch.arange(width, device=rows.device) + 1
        covered = self._disc[
            down.clamp_(0, self._disc.shape[0] - 1)[:, :, None], across.clamp_(0, self._disc.shape[1] - 1)[:, None, :]
        ]
        inside, outside = self.inside[None], self.outside[None]
        if (height, width) != (self.grid.height, self.grid.width):
            inside, outside = (gathered(each, rows, cols, height, width) for each in (self.inside, self.outside))
        return torch.where(covered[:, None], inside, outside).contiguous()


def disc_mask(grid: Grid, row: int, col: int, *, normalize: bool = False) -> Tensor:
    """The published mask of a cell, float32 (H, W): 0 in the disc and 1 outside, or -1 and 1 when normalized."""
    mask = 1.0 - torch.from_numpy(grid.mask(row, col)).float()
    return 2 * mask - 1 if normalize else mask


def _minimum_range(normalize: bool) -> tuple[float, float]:
    return (-1.0, 1.0) if normalize else (0.0, 1.0)


def channels_of(channel: Channel) -> Any:
    """What takes the channels of an image (C, H, W), keeping their axis."""
    if isinstance(channel, tuple):
        return list(channel)
    return slice(None) if channel == -1 else slice(channel, channel + 1)


def black_of(image: Tensor, *, normalize: bool) -> Tensor:
    """What black is in an image (C, H, W) whose values nobody has normalized, (C, 1, 1).

    0 for values in [0, 1] or 0 to 255, -1 for values in [-1, 1] (also for those in [0, 1] with `normalize`); else the
    minimum of each channel.
    """
    low, high = (float(value) for value in image.aminmax())
    known = (-1.0, 1.0) if normalize and low >= -1 and high <= 1 else known_range(low, high)
    if known is None:
        return image.amin(dim=(-2, -1), keepdim=True)
    return torch.full_like(image[:, :1, :1], known[0])


def check_fill(fill: object) -> Fill:
    """`fill` itself, if it is a known name or a finite number; a tuple for a sequence of numbers."""
    if isinstance(fill, str) and fill in _NAMES:
        return fill  # type: ignore[return-value]  # just checked
    number = finite_number(fill)
    if number is not None:
        return number
    several = tuple(finite_number(entry) for entry in listed(fill) or ())
    if several and None not in several:
        return several  # type: ignore[return-value]  # just checked
    raise ValueError(
        f"fill must be {', '.join(map(repr, _NAMES))} or a finite number, got {brief(fill)}; a sequence of numbers has "
        "one for each channel of the image"
    )


def check_fill_length(fill: Fill, channels: int) -> None:
    """Refuse a sequence of fills that does not have one for each channel of the image."""
    if isinstance(fill, tuple) and len(fill) != channels:
        raise ValueError(
            f"fill must have one number for each of the image's {channels} channel(s), also for those that are not "
            f"covered, got {len(fill)}: {fill}"
        )


# From this many channels on, values are not written out in a warning.
_MANY_CHANNELS = 9


def clipping_doubts(image: Tensor, channel: Channel = -1, *, normalize: bool) -> list[str]:
    """What else the element-wise minimum does to the image (C, H, W) than to darken the disc, as texts."""
    texts = []
    low, high = _minimum_range(normalize)
    least, most = (float(value) for value in image[channels_of(channel)].aminmax())
    advice = f"use fill={_darkest(image, channel)}, which is the darkest value of each channel, or fill='mean'"
    if most > high:
        texts.append(
            f"the image has values up to {most:g}; the element-wise minimum with the mask cuts all of them down to "
            f"{high:g}, outside the disc too. Scale the image to [{low:g}, {high:g}], or {advice}"
        )
    if least < low:
        normalized = low == 0 and least >= -1 and most <= 1
        advice = "with images in [-1, 1] use generate_masks(..., normalize=True)" if normalized else advice
        texts.append(
            f"the image has values down to {least:g}; the disc is {low:g} and does not cover what is darker; {advice}"
        )
    return texts


def _darkest(image: Tensor, channel: Channel) -> str:
    """The minimum of each channel, as it is written for `fill`."""
    if isinstance(channel, int) and channel >= 0:
        image = image[channel : channel + 1]
    if len(image) >= _MANY_CHANNELS:
        return "[band.min() for band in image]"
    values = [f"{value:.4g}" for value in image.amin(dim=(-2, -1)).tolist()]
    return values[0] if len(values) == 1 else f"({', '.join(values)})"


def _blurred(image: Tensor, circle_size: int) -> Tensor:
    from scipy import ndimage

    sigma = (0, circle_size / 2, circle_size / 2)
    return torch.from_numpy(ndimage.gaussian_filter(image.cpu().numpy(), sigma)).to(image)


def _noise(image: Tensor, seed: int) -> Tensor:
    """Gaussian noise with the mean and standard deviation of each channel, cut off at its least and largest value.

    All channels are drawn, so that a channel shows the same noise whichever others are covered.
    """
    values = image.cpu().numpy()
    drawn = np.random.default_rng(seed).standard_normal(values.shape)
    axes = {"axis": (-2, -1), "keepdims": True}
    mean, deviation, low, high = (getattr(values, name)(**axes) for name in ("mean", "std", "min", "max"))
    return torch.from_numpy(np.clip(mean + deviation * drawn, low, high)).to(image)
