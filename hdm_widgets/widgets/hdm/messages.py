"""What the HDM explorer's screen draws from, as messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._picture import nominal_range, to_rgb
from hdm_widgets.hdm.circle_map import filled
from hdm_widgets.hdm.options import ScanSettings
from hdm_widgets.hdm.result import HDMResult, ScanUpdate
from hdm_widgets.metrics.distance import HausdorffPair
from hdm_widgets.widgets.shared.buffers import array_message, bits, png

__all__ = ["about_message", "inspect_cell", "map_message"]

_LONGEST = 480


def about_message(picture: NDArray[Any], truth: NDArray[np.bool_], settings: ScanSettings) -> dict[str, Any]:
    """What never changes while the explorer is open."""
    channels, height, width = picture.shape
    return {
        "height": height,
        "width": width,
        "channels": channels,
        "label": settings.label.removesuffix(" (px)"),
        "unit": "px" if settings.distance == "hausdorff" else "",
        "truthEmpty": not truth.any(),
    }


def map_message(update: ScanUpdate) -> dict[str, Any]:
    """The map as far as it is measured, filled in where it is not measured yet; NaN where nothing is drawn."""
    result = update.result
    # Cells outside a scan's region have the baseline's value and are never measured: no map draws them.
    awaited = np.isnan(result.values) & (update.done < update.total)
    values = np.where(result.measured | awaited, filled(result.values, result.measured), np.nan)
    return {
        "values": array_message(values.astype(np.float32)),
        "measured": bits(result.measured),
        "plan": "" if result.plan is None else str(result.plan),
        "baseline": _number(result.baseline),
        "circleSize": result.circle_size,
        "offset": result.offset,
        "channel": result.settings.channel,
        "done": update.done,
        "total": update.total,
        "stride": update.stride,
        "seconds": update.seconds,
        "secondsLeft": update.seconds_left if update.done else None,
    }


def inspect_cell(result: HDMResult, row: int, col: int) -> dict[str, Any]:
    """Figures and pictures of a cell as a message; `{"cell", "pending": True}` while it is not measured."""
    if not result.measured[row, col]:
        return {"cell": [row, col], "pending": True}
    distance = float(result.values[row, col])
    mask = result.output(row, col)
    # Without a pixel in either mask there is no pair, whatever the policy for empty masks says.
    pair = result.pair(row, col) if mask.any() and result.segment.any() else HausdorffPair(distance, None, None, None)
    channel = result.settings.channel if len(result.image) != 3 else -1
    picture = to_rgb(result.occluded(row, col), channel=channel, value_range=nominal_range(result.image))
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
