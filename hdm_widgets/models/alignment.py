"""Where in the image the maps of a model lie, and which of their axes are which."""

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
    """Which axis of maps (n, a, b, c) counts classes, and a note if that is a guess.

    Parameters
    ----------
    shape : tuple of int
        Of four axes, images first.
    image : tuple of int
        Rows and columns of the images, with padding.

    Returns
    -------
    layout : {"channels_first", "channels_last"}
    note : str

    Raises
    ------
    ModelOutputError
        If both fit the image equally well.
    """
    first, last = (shape[2], shape[3]), (shape[1], shape[2])
    if first == last == image and shape[1] == shape[3] != 1:
        raise ModelOutputError(
            f"maps of shape {shape} for images of {image[0]} x {image[1]} px (rows x columns) have classes first "
            "or last; say which with Segmenter(model, layout='channels_first') or layout='channels_last'"
        )
    if first == image or last == image:
        return ("channels_first" if first == image else "channels_last"), ""
    fits_first, fits_last = _fits(first, image), _fits(last, image)
    if fits_last and not fits_first:
        return "channels_last", ""
    if fits_last:
        return "channels_first", "Classes are taken to be the first axis; if they are the last, write layout="
    return "channels_first", ""


def _fits(size: Size, image: Size) -> bool:
    """Whether maps of this size may belong to the image: reduced by one factor, or by one margin."""
    if size[0] > image[0] or size[1] > image[1]:
        return False
    return image[0] - size[0] == image[1] - size[1] or _reduced(size, image)


def _reduced(size: Size, image: Size) -> bool:
    """Whether both sides are those of the image over one whole number, rounded alike."""
    largest = math.ceil(max(image[0] / size[0], image[1] / size[1])) + 1
    return any(
        all(rounded(side / factor) == small for side, small in zip(image, size, strict=True))
        for factor in range(1, largest + 1)
        for rounded in (math.floor, math.ceil)
    )


@dataclass(frozen=True)
class Alignment:
    """Where maps lie in an image.

    Attributes
    ----------
    kind : {"same", "resize", "center"}
    size : tuple of int
        Rows and columns of the maps.
    image : tuple of int
        Rows and columns of the image, with padding.
    note : str
        Why.
    """

    kind: Literal["same", "resize", "center"]
    size: Size
    image: Size
    note: str = ""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(row0, col0, row1, col1) of the image that has output."""
        if self.kind != "center":
            return 0, 0, *self.image
        row, col = ((side - small) // 2 for side, small in zip(self.image, self.size, strict=True))
        return row, col, row + self.size[0], col + self.size[1]

    def apply(self, maps: Tensor, outside: Sequence[float], *, numbers: bool) -> Tensor:
        """Maps (N, classes, rows, cols) at the size of the image.

        Class numbers are not interpolated. Pixels without output get the value of `outside` for each class.
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
    """Decide where maps lie in an image that is larger.

    Parameters
    ----------
    size, image : tuple of int
        Rows and columns of the maps, and of the image with padding.
    align : {"auto", "resize", "center"}
        As the user says.
    model : object
    trace : callable
        Traces the model and returns how far apart, in pixels of the image, two neighboring rows of the maps are, and
        the margin above the first; None if that cannot be told.

    Returns
    -------
    Alignment

    Raises
    ------
    ModelOutputError
        If that cannot be told.
    """
    if size == image:
        return Alignment("same", size, image)
    if align != "auto":
        return Alignment(align, size, image, "as asked for")
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


# How far, as a fraction, the measured distance of neighbors may be off.
_STEP_ERROR = 0.1


def _may_shrink(module: nn.Module) -> bool:
    """Whether a module is a convolution that gives less than it takes, or less by the rules of its stride."""
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
    """Pixels with output, bool (height, width), of the image without padding; None if all have."""
    if alignment.kind != "center":
        return None
    row0, col0, row1, col1 = alignment.box
    valid = torch.zeros(alignment.image, dtype=torch.bool)
    valid[row0:row1, col0:col1] = True
    return valid[:height, :width]
