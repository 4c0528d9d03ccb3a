"""Which part of the image a model's maps cover, and which of their axes counts classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdm_widgets.models.errors import ModelOutputError
from hdm_widgets.models.modules import modules

__all__ = ["Align", "Alignment", "Layout", "find_alignment", "find_layout", "valid_pixels"]

Align = Literal["auto", "resize", "center"]
Layout = Literal["auto", "channels_first", "channels_last"]
Size = tuple[int, int]


def find_layout(shape: tuple[int, ...], image: Size) -> tuple[Literal["channels_first", "channels_last"], str]:
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
    note : str
        Says that the other one fits too; empty if it does not.

    Raises
    ------
    ModelOutputError
        If both give maps of the image's size.
    """
    first, last = (shape[2], shape[3]), (shape[1], shape[2])
    if first == last == image and shape[1] == shape[3] != 1:
        raise ModelOutputError(
            f"maps of shape {shape} for images of {image[0]} x {image[1]} px (rows x columns) may have "
            "classes first or last; write Segmenter(model, layout='channels_first') or layout='channels_last'"
        )
    if first == image or last == image:
        return ("channels_first" if first == image else "channels_last"), ""
    fits_first, fits_last = _fits(first, image), _fits(last, image)
    if fits_last and not fits_first:
        return "channels_last", ""
    if fits_last:
        return "channels_first", "The first axis counts classes; if the last one does, write layout='channels_last'"
    return "channels_first", ""


def _fits(size: Size, image: Size) -> bool:
    """Whether maps of this size may be of the image: both sides smaller by one factor, or by one margin."""
    if size[0] > image[0] or size[1] > image[1]:
        return False
    return image[0] - size[0] == image[1] - size[1] or _reduced(size, image)


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
    """

    kind: Literal["same", "resize", "center"]
    size: Size
    image: Size
    note: str = ""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The pixels of the image that have output, as a half-open box (row0, col0, row1, col1)."""
        if self.kind != "center":
            return 0, 0, *self.image
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
        margins = (col0, self.image[1] - col1, row0, self.image[0] - row1)
        if len(set(outside)) == 1:
            return F.pad(maps, margins, value=outside[0])
        return torch.cat([F.pad(maps[:, at : at + 1], margins, value=value) for at, value in enumerate(outside)], 1)


def find_alignment(
    size: Size, image: Size, align: Align, model: object, trace: Callable[[], tuple[float, float] | None]
) -> Alignment:
    """Find out which part of an image maps cover.

    Parameters
    ----------
    size, image : tuple of int
        Rows and columns of the maps, and of the image with padding.
    align : {"auto", "resize", "center"}
        The user's choice.
    model : object
    trace : callable
        Traces the model. Returns the distance between two neighboring rows of the maps, and the margin above the first
        row, both in pixels of the image; None if they cannot be found.

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
    if isinstance(model, nn.Module) and (not whole or any(_may_shrink(module) for module in modules(model))):
        geometry = trace()
        if geometry is not None:
            step, margin = geometry
            if abs(step - 1) < _STEP_ERROR and margin > 0:
                return Alignment("center", size, image, "Its convolutions are not padded")
            if abs(step * size[0] / image[0] - 1) < _STEP_ERROR:
                return Alignment("resize", size, image)
    if whole:
        return Alignment("resize", size, image)
    raise ModelOutputError(
        f"the model returned maps of {size[0]} x {size[1]} px for images of {image[0]} x {image[1]} px "
        "(rows x columns), and it cannot be told where they lie; write Segmenter(model, align='resize') if they are "
        "the whole image at another scale, or align='center' if they are its center, because convolutions are not "
        "padded"
    )


# Relative error of the measured distance between neighboring rows.
_STEP_ERROR = 0.1


def _may_shrink(module: nn.Module) -> bool:
    """Whether a module is a convolution of stride 1 with too little padding to keep the size."""
    if not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) or module.padding == "same":
        return False
    padding = (0,) * len(module.kernel_size) if isinstance(module.padding, str) else module.padding
    return any(
        stride == 1 and kernel > 1 and 2 * pad < dilation * (kernel - 1)
        for stride, kernel, pad, dilation in zip(
            module.stride, module.kernel_size, padding, module.dilation, strict=True
        )
    )


def valid_pixels(alignment: Alignment, height: int, width: int) -> Tensor | None:
    """Pixels of the image without padding that have output, bool (height, width); None if all of them do."""
    if alignment.kind != "center":
        return None
    row0, col0, row1, col1 = alignment.box
    valid = torch.zeros(alignment.image, dtype=torch.bool)
    valid[row0:row1, col0:col1] = True
    return valid[:height, :width]
