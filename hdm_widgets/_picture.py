"""Show a model's input: as gray levels or as RGB."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["gray", "nominal_range", "to_rgb", "to_rgb_batch"]


def gray(image: NDArray[Any]) -> NDArray[np.float64]:
    """The mean of all channels, (H, W)."""
    values = np.asarray(image, dtype=np.float64)
    return values if values.ndim == 2 else cast(NDArray[np.float64], values.mean(axis=0))


def to_rgb(
    image: NDArray[Any], *, channel: int = -1, value_range: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """An image as RGB, uint8 (H, W, 3).

    Parameters
    ----------
    image : numpy.ndarray, (C, H, W) or (H, W)
        Three channels are shown as red, green and blue; any other number as their mean.
    channel : int
        Show this channel alone, in gray; -1 shows all.
    value_range : tuple of float, optional
        Values shown as black and white; by default those of `nominal_range`.
    """
    values = np.asarray(image, dtype=np.float64)
    low, high = nominal_range(values) if value_range is None else value_range
    if channel >= 0:
        values = values[channel]
    if values.ndim == 2 or values.shape[0] != 3:
        values = np.repeat(gray(values)[None], 3, axis=0)
    levels = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return np.ascontiguousarray((np.clip(levels, 0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0))


def to_rgb_batch(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Images (N, C, H, W) as RGB, uint8 (N, H, W, 3), each as `to_rgb` shows it."""
    count = len(images)
    lows, highs = images.reshape(count, -1).min(axis=1), images.reshape(count, -1).max(axis=1)
    ranges = np.array([_nominal(float(low), float(high)) for low, high in zip(lows, highs, strict=True)], np.float32)
    if images.shape[1] != 3:
        images = np.repeat(images.mean(axis=1, keepdims=True), 3, axis=1)
    start, extent = ranges[:, 0], ranges[:, 1] - ranges[:, 0]
    factor = np.where(extent > 0, 255 / np.where(extent > 0, extent, 1), 0)
    values = (images - start[:, None, None, None]) * factor[:, None, None, None]
    return np.ascontiguousarray(np.clip(values, 0, 255).round().astype(np.uint8).transpose(0, 2, 3, 1))


def nominal_range(values: NDArray[Any]) -> tuple[float, float]:
    """Guess the nominal value range: [0, 1], [-1, 1], or the image's own minimum and maximum."""
    return _nominal(float(values.min()), float(values.max()))


def _nominal(low: float, high: float) -> tuple[float, float]:
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    return low, high
