"""What a user may hand to a scan, checked before any work starts."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.segmenter import to_tensor

__all__ = ["Distance", "check_channel", "check_distance", "check_image", "check_region", "check_segment"]

Distance = Literal["hausdorff", "rows"]


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
    if not bool(torch.isfinite(picture).all()):
        channel_row_col = tuple(int(i) for i in (~torch.isfinite(picture)).nonzero()[0])
        raise ValueError(f"the picture has NaN or infinity, first at {channel_row_col}")
    return picture[None] if picture.ndim == 2 else picture


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


def check_channel(channel: object, channels: int) -> int:
    """-1 for all channels, or the index of one."""
    if isinstance(channel, bool) or not isinstance(channel, (int, np.integer)):
        raise TypeError(f"channel must be a whole number, got {channel!r}")
    if not -1 <= channel < channels:
        raise ValueError(f"channel must be -1 (all) or 0 to {channels - 1} for this picture, got {channel}")
    return int(channel)


def check_distance(distance: object) -> Distance:
    """One of the distances by name."""
    if distance not in ("hausdorff", "rows"):
        raise ValueError(
            f"distance must be 'hausdorff' or 'rows', got {distance!r}; for your own, override calculate_distance"
        )
    return distance


def check_region(region: object, height: int, width: int) -> tuple[int, int, int, int]:
    """A half-open box (row0, col0, row1, col1) with pixels of the picture in it."""
    if not isinstance(region, (tuple, list)) or len(region) != 4:
        raise TypeError(f"region must be (row0, col0, row1, col1), got {region!r}")
    if any(isinstance(edge, bool) or not isinstance(edge, (int, np.integer)) for edge in region):
        raise TypeError(f"region must be four whole numbers, got {region!r}")
    row0, col0, row1, col1 = (int(edge) for edge in region)
    if not (0 <= row0 < row1 <= height and 0 <= col0 < col1 <= width):
        raise ValueError(
            f"region (row0, col0, row1, col1) must satisfy 0 <= row0 < row1 <= {height} and "
            f"0 <= col0 < col1 <= {width}, got {region!r}"
        )
    return row0, col0, row1, col1
