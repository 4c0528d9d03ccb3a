"""A model's input as something to look at."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["gray", "to_rgb"]


def gray(picture: NDArray[Any]) -> NDArray[np.float64]:
    """One channel (H, W): the mean of all."""
    values = np.asarray(picture, dtype=np.float64)
    return values if values.ndim == 2 else cast(NDArray[np.float64], values.mean(axis=0))


def to_rgb(picture: NDArray[Any], *, channel: int = -1, span: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """The picture for the eye, uint8 (H, W, 3).

    Parameters
    ----------
    picture : numpy.ndarray, (C, H, W) or (H, W)
        Three channels are shown as red, green and blue, any other number as the mean of all.
    channel : int
        Show this channel alone, in grey.
    span : tuple of float, optional
        Values shown as black and white; by default [0, 1] or [-1, 1] where all values lie in it, else
        their own least and largest.
    """
    values = np.asarray(picture, dtype=np.float64)
    low, high = value_span(values) if span is None else span
    if channel >= 0:
        values = values[channel]
    if values.ndim == 2 or values.shape[0] != 3:
        values = np.repeat(gray(values)[None], 3, axis=0)
    share = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return np.ascontiguousarray((np.clip(share, 0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0))


def value_span(values: NDArray[Any]) -> tuple[float, float]:
    """The range that a picture's values are meant in, as far as they tell."""
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    return low, high
