"""What crosses to the browser: one form for messages, arrays, masks and images."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["MESSAGE", "bits", "png", "to_wire"]


def to_wire(value: Any) -> Any:
    """A message in the form that the browser reads (`js/src/shared/codec.ts`).

    Keys become camelCase. Arrays become `{view, dtype, shape}`, which the browser reads without a copy. NaN and the
    infinities, which JSON lacks, become the texts "nan", "inf" and "-inf".
    """
    if isinstance(value, Mapping):
        return {_camel_case(key): to_wire(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_wire(entry) for entry in value]
    if isinstance(value, np.ndarray):
        compact = np.ascontiguousarray(value).ravel()
        return {"view": compact.data.cast("B"), "dtype": str(compact.dtype), "shape": list(value.shape)}
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


# How a trait that holds such a message is tagged.
MESSAGE: dict[str, Any] = {"sync": True, "to_json": lambda value, _widget: to_wire(value)}


def _camel_case(key: str) -> str:
    return re.sub("_([a-z0-9])", lambda found: found[1].upper(), key)


def bits(mask: NDArray[np.bool_]) -> bytes:
    """A mask at one bit per pixel, row by row, the highest bit first."""
    return np.packbits(mask).tobytes()


def png(image: NDArray[np.uint8], *, longest: int | None = None) -> bytes:
    """An image, uint8 (H, W, 3) or (H, W, 4), as a PNG file, made smaller if a side is longer than `longest` px."""
    shown = Image.fromarray(image)
    if longest is not None:
        shown.thumbnail((longest, longest))
    buffer = io.BytesIO()
    shown.save(buffer, format="png", compress_level=1)
    return buffer.getvalue()
