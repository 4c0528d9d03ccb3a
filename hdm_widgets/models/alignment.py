"""Which part of the image a model's maps cover, and which of their axes counts classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets._validation import warn_user
from hdm_widgets.models.cuts import Cuts
from hdm_widgets.models.errors import ModelOutputError

__all__ = [
    "STEP_ERROR", "Align", "Alignment", "Geometry", "Inspection", "Layout", "Size", "find_alignment", "find_layout",
    "valid_pixels",
]  # fmt: skip

Align = Literal["auto", "resize", "center"]
Layout = Literal["auto", "channels_first", "channels_last"]
Size: TypeAlias = tuple[int, int]
# For rows and for columns: the distance between neighboring ones, and the margin before the first.
Geometry: TypeAlias = tuple[tuple[float, float], tuple[float, float]]


def find_layout(shape: tuple[int, ...], image: Size) -> Literal["channels_first", "channels_last"]:
    """Find out which axis of maps counts classes.

    Parameters
    ----------
    shape : tuple of int
        Of the maps: four axes, of which the first one counts images.
    image : tuple of int
        Rows and columns of the images, with padding.

    Returns
    -------
    layout : {"channels_first", "channels_last"}

    Raises
    ------
    ModelOutputError
        If both give maps of the image's size, or at another scale.
    """
    first, last = (shape[2], shape[3]), (shape[1], shape[2])
    fits = [size == image for size in (first, last)]
    if not any(fits):
        fits = [_fits(size, image) for size in (first, last)]
    # A single map comes as (N, 1, H, W) or (N, H, W, 1), not as one row or one column of many classes.
    if all(fits) and 1 not in (shape[1], shape[3]):
        raise ModelOutputError(
            f"maps of shape {shape} for images of {image[0]} x {image[1]} px (rows x columns) may have "
            "classes first or last; write Segmenter(model, layout='channels_first') or layout='channels_last'"
        )
    if all(fits):
        return "channels_first" if shape[1] == 1 else "channels_last"
    return "channels_last" if fits[1] else "channels_first"


def _fits(size: Size, image: Size) -> bool:
    """Whether maps of this size may be of the image: both sides smaller by one factor, or by a margin up to half."""
    if size[0] > image[0] or size[1] > image[1]:
        return False
    margins = [side - small for side, small in zip(image, size, strict=True)]
    by_margin = margins[0] == margins[1] and 2 * margins[0] <= min(image)
    return by_margin or _reduced(size, image)


def _reduced(size: Size, image: Size) -> bool:
    """Whether both sides are those of the image divided by the same whole number, both rounded up or both down."""
    largest = math.ceil(max(image[0] / size[0], image[1] / size[1])) + 1
    return any(
        all(rounded(side / factor) == small for side, small in zip(image, size, strict=True))
        for factor in range(1, largest + 1)
        for rounded in (math.floor, math.ceil)
    )


@dataclass(frozen=True)
class Alignment:
    """Which part of an image maps cover.

    Attributes
    ----------
    kind : {"same", "resize", "center"}
        All of it, at its own size; all of it, at a smaller one; or its center.
    size : tuple of int
        Rows and columns of the maps.
    image : tuple of int
        Rows and columns of the image, with padding.
    note : str
        The reason, if it is worth saying.
    place : tuple of int or None
        Of a center, its first row and column in the image, and its rows and columns there, if they are known.
    """

    kind: Literal["same", "resize", "center"]
    size: Size
    image: Size
    note: str = ""
    place: tuple[int, int, int, int] | None = None

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The pixels of the image that have output, as a half-open box (row0, col0, row1, col1)."""
        if self.kind != "center":
            return 0, 0, *self.image
        if self.place is not None:
            row, col, rows, cols = self.place
            return row, col, row + rows, col + cols
        row, col = ((side - small) // 2 for side, small in zip(self.image, self.size, strict=True))
        return row, col, row + self.size[0], col + self.size[1]

    def apply(self, maps: Tensor, outside: Sequence[float], *, numbers: bool) -> Tensor:
        """Bring maps to the size of the image.

        Parameters
        ----------
        maps : torch.Tensor (N, classes, h, w)
        outside : sequence of float
            For each class, the value of pixels without output.
        numbers : bool
            Whether the maps have class numbers, which are not interpolated.

        Returns
        -------
        torch.Tensor (N, classes, rows, cols)
        """
        if self.kind == "same":
            return maps
        if self.kind == "resize":
            if numbers:
                return F.interpolate(maps, size=self.image, mode="nearest-exact")
            return F.interpolate(maps, size=self.image, mode="bilinear", align_corners=False)
        row0, col0, row1, col1 = self.box
        covered = (row1 - row0, col1 - col0)
        if covered != self.size:
            maps = replace(self, kind="resize", image=covered).apply(maps, outside, numbers=numbers)
        margins = (col0, self.image[1] - col1, row0, self.image[0] - row1)
        if len(set(outside)) == 1:
            return F.pad(maps, margins, value=outside[0])
        return torch.cat([F.pad(maps[:, at : at + 1], margins, value=value) for at, value in enumerate(outside)], 1)


@dataclass(frozen=True)
class Inspection:
    """Looks into a model; each look costs time, and is taken only where sizes do not tell.

    Attributes
    ----------
    cuts : callable
        Watches a run of the model for what cuts the margin off.
    geometry : callable
        Traces the model. Returns for rows and for columns the distance between two neighboring ones of the maps, and
        the margin before the first one, both in pixels of the image; None if they cannot be found.
    """

    cuts: Callable[[], Cuts] = Cuts
    geometry: Callable[[], Geometry | None] = lambda: None


def find_alignment(size: Size, image: Size, align: Align, look: Inspection) -> Alignment:
    """Find out which part of an image maps cover.

    Parameters
    ----------
    size, image : tuple of int
        Rows and columns of the maps, and of the image with padding.
    align : {"auto", "resize", "center"}
        The user's choice.
    look : Inspection
        Of the model.

    Returns
    -------
    Alignment

    Raises
    ------
    ModelOutputError
        If `align` is "auto", and neither the traced model nor the ratio of sizes tells.
    """
    if size == image:
        return Alignment("same", size, image)
    if align != "auto":
        return Alignment(align, size, image, f"align={align!r} was given")
    whole = _reduced(size, image)
    cuts = look.cuts()
    geometry = look.geometry() if cuts or not whole else None
    if geometry is not None:
        placed = _placed(size, image, geometry, cuts)
        if placed is not None:
            return placed
        if all(
            abs(step * small / side - 1) < STEP_ERROR
            for small, side, (step, _) in zip(size, image, geometry, strict=True)
        ):
            return Alignment("resize", size, image)
    if whole:
        return _guessed_resize(size, image, cuts if geometry is None else Cuts(seen=True))
    raise ModelOutputError(
        f"the model returned maps of {size[0]} x {size[1]} px for images of {image[0]} x {image[1]} px "
        "(rows x columns), and it cannot be told where they lie; write Segmenter(model, align='resize') if they are "
        "the whole image at another scale, or align='center' if they are its center, because convolutions are not "
        "padded"
    )


# Relative error of the measured distance between neighboring rows.
STEP_ERROR = 0.1
# Smaller margins, in pixels, are those of strides.
_LEAST_MARGIN = 0.75


def _placed(size: Size, image: Size, geometry: Geometry, cuts: Cuts) -> Alignment | None:
    """Maps at their place in the image, where a margin has no output; None if there is none, or it is not clear."""
    steps = [round(step) for step, _ in geometry]
    if any(
        nearest < 1 or abs(step / nearest - 1) > STEP_ERROR for nearest, (step, _) in zip(steps, geometry, strict=True)
    ):
        return None
    margins = [margin for _, margin in geometry]
    if not any(margin > (0 if step == 1 else _LEAST_MARGIN) for step, margin in zip(steps, margins, strict=True)):
        return None
    covered = (steps[0] * size[0], steps[1] * size[1])
    corner = []
    for step, side, length, margin in zip(steps, image, covered, margins, strict=True):
        rest = side - length
        if rest < 0 or not -1 <= margin <= rest + 1:
            return None
        # The margin is exact for plain convolutions, and a mean where poolings make it change from row to row.
        central = step == 1 and abs(margin - rest / 2) <= 0.5
        corner.append(rest // 2 if central else min(rest, max(0, math.ceil(margin - 0.5))))
    reason = "Its convolutions are not padded" if cuts.unpadded else "The traced model cuts the margin off"
    if (steps[0], steps[1]) != (1, 1):
        reason += f"; maps are enlarged to {covered[0]} x {covered[1]} px"
    reason += f"; the first pixel is in row {corner[0]} and column {corner[1]}"
    return Alignment("center", size, image, reason, (corner[0], corner[1], *covered))


def _guessed_resize(size: Size, image: Size, cuts: Cuts) -> Alignment:
    """A resize because sides are a whole fraction; it is said where nothing tells that it is not the center."""
    if not cuts and (cuts.seen or image[0] - size[0] != image[1] - size[1]):
        return Alignment("resize", size, image)
    if cuts:
        what = "convolutions that are not padded" if cuts.unpadded else "slices that cut the margin off"
        warn_user(
            f"the model returned maps of {size[0]} x {size[1]} px for images of {image[0]} x {image[1]} px (rows x "
            f"columns); they are taken for the whole image, but the model has {what}: if they are the center of the "
            "image, write Segmenter(model, align='center'), else align='resize'"
        )
    return Alignment(
        "resize", size, image, "That is taken from the ratio of sizes; if they are its center, write align='center'"
    )


def valid_pixels(alignment: Alignment, height: int, width: int) -> Tensor | None:
    """Pixels of the image without padding that have output, bool (height, width); None if all of them do."""
    if alignment.kind != "center":
        return None
    row0, col0, row1, col1 = alignment.box
    valid = torch.zeros(alignment.image, dtype=torch.bool)
    valid[row0:row1, col0:col1] = True
    return valid[:height, :width]
