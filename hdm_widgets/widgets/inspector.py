"""What the inspector of the HDM explorer shows of one cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from hdm_widgets.hdm.picture import to_rgb, value_span
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.widgets.buffers import bits, png

__all__ = ["inspect_cell"]

_LONGEST = 480


def inspect_cell(result: HDMResult, row: int, col: int) -> dict[str, Any]:
    """Figures and pictures of a cell as a message; `{"cell", "pending": True}` while it is not measured."""
    if not result.measured[row, col]:
        return {"cell": [row, col], "pending": True}
    distance = float(result.values[row, col])
    mask = result.output(row, col)
    pair = result.pair(row, col)
    channel = result.settings.channel if len(result.image) != 3 else -1
    picture = to_rgb(result.occluded(row, col), channel=channel, span=value_span(result.image))
    measured = result.values[result.measured]
    return {
        "cell": [row, col],
        "pending": False,
        "distance": _number(distance),
        "change": _number(distance - result.baseline),
        "iou": result.iou(row, col),
        "rank": 1 + int(np.count_nonzero(measured > distance)),
        "of": int(measured.size),
        "empty": not mask.any(),
        "pair": [list(pair.from_pixel), list(pair.to_pixel)] if pair.from_pixel and pair.to_pixel else None,
        "from": pair.from_mask,
        "pairDistance": _number(pair.distance),
        "picture": png(picture, longest=_LONGEST),
        "mask": bits(mask),
    }


def _number(value: float) -> float | str:
    """JSON has no infinity and no NaN; they travel as words."""
    return value if np.isfinite(value) else str(value)
