"""A model's input as something to look at."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["gray", "meant_span", "to_rgb", "to_rgb_batch", "value_span"]


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


def to_rgb_batch(pictures: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Many pictures (N, C, H, W) for the eye, uint8 (N, H, W, 3), each as `to_rgb` shows it."""
    count = len(pictures)
    low, high = pictures.reshape(count, -1).min(axis=1), pictures.reshape(count, -1).max(axis=1)
    ends = np.array([meant_span(float(one), float(other)) for one, other in zip(low, high, strict=True)], np.float32)
    if pictures.shape[1] != 3:
        pictures = np.repeat(pictures.mean(axis=1, keepdims=True), 3, axis=1)
    start, extent = ends[:, 0], ends[:, 1] - ends[:, 0]
    factor = np.where(extent > 0, 255 / np.where(extent > 0, extent, 1), 0)
    values = (pictures - start[:, None, None, None]) * factor[:, None, None, None]
    return np.ascontiguousarray(np.clip(values, 0, 255).round().astype(np.uint8).transpose(0, 2, 3, 1))


def value_span(values: NDArray[Any]) -> tuple[float, float]:
    """The range that a picture's values are meant in, as far as they tell."""
    return meant_span(float(values.min()), float(values.max()))


def meant_span(low: float, high: float) -> tuple[float, float]:
    """The range that values from `low` to `high` are meant in."""
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    return low, high
