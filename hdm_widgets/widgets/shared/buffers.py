"""Arrays and pictures as the bytes that cross to the browser."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["array_message", "bits", "number", "png"]


def array_message(array: NDArray[Any]) -> dict[str, Any]:
    """An array as `{view, dtype, shape}`; the browser reads it without a copy."""
    compact = np.ascontiguousarray(array)
    return {"view": compact.data.cast("B"), "dtype": str(compact.dtype), "shape": list(compact.shape)}


def bits(mask: NDArray[np.bool_]) -> bytes:
    """A mask at one bit per pixel, row by row, the highest bit first."""
    return np.packbits(mask).tobytes()


def png(picture: NDArray[np.uint8], *, longest: int | None = None) -> bytes:
    """A picture, uint8 (H, W, 3) or (H, W, 4), as a PNG file, made smaller if a side is longer than `longest` px."""
    image = Image.fromarray(picture)
    if longest is not None:
        image.thumbnail((longest, longest))
    buffer = io.BytesIO()
    image.save(buffer, format="png", compress_level=1)
    return buffer.getvalue()


def number(value: float) -> float | None:
    """A figure that may be undefined: JSON has no NaN."""
    return float(value) if np.isfinite(value) else None
