"""Pictures and masks that a user hands in, checked before any work starts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.segmenter import to_tensor

__all__ = ["check_channels_first", "check_image", "check_segment"]


def check_image(image: object, height: int, width: int) -> Tensor:
    """The picture as float32 (C, H, W); a (H, W) picture gets one channel."""
    if not isinstance(image, (Tensor, np.ndarray)):
        raise TypeError(f"the picture must be a torch tensor or a numpy array, got {type(image).__name__}")
    shape = tuple(image.shape)
    if len(shape) not in (2, 3):
        advice = "; take one picture out of the batch, image[0]" if len(shape) == 4 else ""
        raise ValueError(f"the picture must be (C, H, W) or (H, W), got shape {shape}{advice}")
    if shape[-2:] != (height, width):
        advice = ""
        if len(shape) == 3 and shape[:2] == (height, width):
            advice = "; channels come first: image.transpose(2, 0, 1) for numpy, image.permute(2, 0, 1) for torch"
        raise ValueError(
            f"expected a picture {width} px wide and {height} px high, (C, {height}, {width}), "
            f"got shape {shape}{advice}"
        )
    if len(shape) == 3 and shape[0] == 0:
        raise ValueError(f"the picture has no channel, got shape {shape}")
    floating = image.is_floating_point() if isinstance(image, Tensor) else np.issubdtype(image.dtype, np.floating)
    if not floating:
        raise TypeError(
            f"the picture must be of a floating type, scaled as the model expects it, got {image.dtype}; "
            "for values 0 to 255: image.astype('float32') / 255"
        )
    picture = to_tensor(image).to("cpu", torch.float32, copy=True)
    # The sum is several times quicker than a look at every value; it may overflow where none is wrong.
    if not math.isfinite(float(picture.sum())) and not bool(torch.isfinite(picture).all()):
        channel_row_col = tuple(int(i) for i in (~torch.isfinite(picture)).nonzero()[0])
        raise ValueError(f"the picture has NaN or infinity, first at {channel_row_col}")
    return picture[None] if picture.ndim == 2 else picture


def check_channels_first(shape: tuple[int, ...]) -> None:
    """Refuse what looks like (H, W, C), before its sides are taken for those of the picture."""
    if len(shape) == 3 and shape[-1] in (1, 3, 4) and shape[0] not in (1, 3, 4) and shape[0] > shape[-1]:
        raise ValueError(
            f"the picture must be (C, H, W), got shape {shape}; channels come first: "
            "image.transpose(2, 0, 1) for numpy, image.permute(2, 0, 1) for torch"
        )


def check_segment(segment: object, height: int, width: int) -> NDArray[Any]:
    """The true mask as a numpy array (H, W) of its own type, the caller's no longer."""
    if isinstance(segment, Tensor):
        segment = segment.detach().cpu().numpy()
    if not isinstance(segment, np.ndarray):
        raise TypeError(f"the segment must be a torch tensor or a numpy array, got {type(segment).__name__}")
    if segment.dtype.kind not in "buif":
        raise TypeError(f"the segment must be bool, whole or real numbers, nonzero = segment, got {segment.dtype}")
    if segment.shape != (height, width):
        advice = "; take the mask out of its first axis, segment[0]" if segment.shape[1:] == (height, width) else ""
        raise ValueError(
            f"expected a segment of the picture's size ({height}, {width}), got shape {segment.shape}{advice}"
        )
    if segment.dtype.kind == "f" and not np.isfinite(segment).all():
        raise ValueError("the segment has NaN or infinity")
    return segment.copy()
