"""What the HDM explorer's screen draws from, as messages."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._masks import without
from hdm_widgets._picture import Display
from hdm_widgets._wire import bits, png
from hdm_widgets.hdm.circle_map import filled
from hdm_widgets.hdm.disc_drawn import another_fill
from hdm_widgets.hdm.fill_names import fill_text
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.occlusion import Channel
from hdm_widgets.hdm.options import ScanSettings
from hdm_widgets.hdm.plotting import canny
from hdm_widgets.hdm.proposals import propose_measure
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.metrics.spacing import PixelSpacing

__all__ = [
    "COLOR_MAPS",
    "about_message",
    "disc_drawn_message",
    "drawn_message",
    "inspect_cell",
    "map_message",
    "measure_message",
    "proposal_message",
    "shown_display",
    "wire_channel",
]

# Color maps on offer.
COLOR_MAPS = ("Blues", "magma", "viridis", "cividis", "Reds", "Greens", "Purples", "inferno", "turbo")

_LONGEST = 480
# Measures in which no two pixels are a distance apart, and those that follow the policy for empty masks.
_OF_AREAS = ("iou", "dice", "area", "flipped")
_LENGTHS = ("hausdorff", "hausdorff95", "mean_surface")


def about_message(image: NDArray[Any], truth: NDArray[np.bool_], settings: ScanSettings) -> dict[str, Any]:
    """What the screen says of the image, and of what its scans measure."""
    channels, height, width = image.shape
    return {
        "height": height,
        "width": width,
        "channels": channels,
        "has_truth": not settings.of_prediction,
        "truth_empty": not truth.any() and not settings.of_prediction,
        "empty": settings.empty,
        **measure_message(settings),
    }


def drawn_message(levels: NDArray[np.float64]) -> dict[str, Any]:
    """What the screen draws of an image beside its pixels: edges, and the gray level of most of its ground.

    Parameters
    ----------
    levels : numpy.ndarray, float64 (k, H, W)
        What is shown of it, from 0 for black to 1 for white.
    """
    gray = levels.mean(axis=0)
    return {"_edges": bits(canny(gray)), "_ground": round(255 * float(np.median(gray)))}


def measure_message(settings: ScanSettings) -> dict[str, Any]:
    """How values are told, of the part of `about_message` that changes with the measure."""
    raw_output = settings.distance in ("rows", "custom")
    return {
        "measure": settings.distance,
        "compared_with": settings.compared_with,
        "of_object": settings.of_object,
        "label": settings.name,
        "unit": settings.unit,
        "length_unit": settings.length_unit,
        "decimals": settings.decimals,
        "signed": settings.info.signed,
        # The mask without a disc is what masks are compared with: no disc brings them nearer.
        "from_prediction": settings.distance == "flipped" or (settings.of_prediction and not raw_output),
    }


def map_message(update: ScanUpdate) -> dict[str, Any]:
    """The map as far as it is measured; a cell that is not measured yet has the value of the nearest measured one.

    Cells outside a scan's region are never measured: they have the baseline's value, and no map draws them.
    """
    result = update.result
    awaited = np.isnan(result.values) & (update.done < update.total)
    return {
        # As float64, so that the browser paints the discs in the order in which `HDMResult.circle_map` does.
        "values": np.where(awaited, filled(result.values, result.measured), result.values),
        "measured": bits(result.measured),
        "drawn": bits(result.measured | awaited),
        "one_empty": bits(_one_empty(result)),
        "disc": _disc_rows(result.grid),
        "plan": "" if result.plan is None else str(result.plan),
        "reading": "" if result.reading is None else str(result.reading),
        "noise": None if result.noise is None else {"distance": result.noise.distance, "pixels": result.noise.pixels},
        "baseline": result.baseline,
        "circle_size": result.circle_size,
        "offset": result.offset,
        "channel": wire_channel(result.settings.channel),
        "fill": fill_text(result.settings.fill),
        "shape": result.grid.disc_shape,
        "done": update.done,
        "total": update.total,
        "stride": update.stride,
        "seconds": update.seconds,
        "seconds_left": update.seconds_left if update.done else None,
    }


def disc_drawn_message(result: HDMResult, drawn_fills: Collection[str] = ()) -> dict[str, Any]:
    """What the screen says where the model draws the disc itself; empty where it does not.

    Of `drawn_fills` it is known already: none of them is proposed.
    """
    drawn = result.disc_drawn
    if not drawn:
        return {}
    finding = f"{drawn.finding[0].upper()}{drawn.finding[1:]}; in these cells the map shows the disc"
    if result.settings.own_mask:
        return {"finding": finding, "fill": None}
    fill = another_fill(result.settings, drawn_fills)
    return {"finding": finding if fill else f"{finding}, and so it is with all other fills", "fill": fill}


def proposal_message(result: HDMResult) -> dict[str, Any]:
    """Another measure that would show more, and the object that is the reason; empty if there is none."""
    found = propose_measure(result)
    if not found:
        return {}
    return {"measure": found.measure, "reason": found.reason, "of": found.of, "pixel": found.pixel}


def wire_channel(channel: Channel) -> int | list[int]:
    """A channel as the trait and the browser have it: several as a list."""
    return list(channel) if isinstance(channel, tuple) else channel


def inspect_cell(
    result: HDMResult,
    row: int,
    col: int,
    display: Display | None = None,
    *,
    step: int = 1,
    pack: Callable[[NDArray[np.bool_]], bytes] = bits,
) -> dict[str, Any]:
    """Figures and images of a cell as a message; `{"cell", "pending": True}` while it is not measured.

    Of a large image every `step`-th row and column is drawn; `pack` says how masks are sent.
    """
    if not result.measured[row, col]:
        return {"cell": (row, col), "pending": True}
    distance = float(result.values[row, col])
    view = shown_display(display or Display(), result.settings.channel, len(result.image)).view(result.image)
    image = view.to_rgb(result.occluded(row, col)[:, ::step, ::step])
    others = result.values[result.measured & ~np.isnan(result.values)]
    # How far from the truth; less area is as far as more.
    far = np.abs if result.settings.info.signed else np.asarray
    # Of discs that change nothing none is before another.
    ranked = not np.isnan(distance) and distance != result.baseline
    return {
        "cell": (row, col),
        "pending": False,
        "distance": distance,
        # Not the change, which has no value where the distance is infinite or not defined.
        "baseline": result.baseline,
        "rank": 1 + int(np.count_nonzero(far(others) > far(distance))) if ranked else None,
        "of": len(others),
        "image": png(image, longest=_LONGEST),
        "prediction": _prediction(result, row, col, pack),
    }


def shown_display(display: Display, channel: Channel, channels: int) -> Display:
    """`display`, or the covered channels in its place where it shows none of them, or nothing but a mean with them."""
    covered = (channel,) if isinstance(channel, int) else channel
    bands = display.bands if display.bands is not None or channels != 3 else range(3)
    shown = () if bands is None else (bands,) if isinstance(bands, int) else bands
    if channel == -1 or set(shown) & set(covered):
        return display
    return replace(display, bands=covered if len(covered) == 3 else covered[0])


def _prediction(
    result: HDMResult, row: int, col: int, pack: Callable[[NDArray[np.bool_]], bytes]
) -> dict[str, Any] | None:
    """The mask of a cell against the truth; None if masks are not kept."""
    try:
        mask = result.output(row, col)
    except ValueError:
        return None
    counted = without(mask, result.ignored)
    # Without a pixel in either mask there is no pair, whatever the policy for empty masks says.
    paired = result.settings.distance not in _OF_AREAS and counted.any() and result.segment.any()
    pair = result.pair(row, col) if paired else None
    if pair is not None and pair.from_pixel is None:
        pair = None  # the masks are equal
    return {
        "mask": pack(counted),
        "empty": not counted.any(),
        "iou": result.iou(row, col),
        "pair": (pair.from_pixel, pair.to_pixel) if pair else None,
        "from": pair.from_mask if pair else None,
        "distance": pair.distance if pair else None,
    }


def _one_empty(result: HDMResult) -> NDArray[np.bool_]:
    """Measured cells, bool (rows, cols), where one of prediction and ground truth is empty and the other is not.

    There, and nowhere else, a distance is what the policy for empty masks says: two pixels of an image
    are never as far apart as its diagonal is long.
    """
    values, settings = result.values, result.settings
    if settings.distance not in _LENGTHS or settings.empty == "raise":
        return np.zeros(values.shape, dtype=bool)
    said = {
        "diagonal": values == PixelSpacing.for_sides(settings.spacing).diagonal(result.segment.shape),
        "inf": np.isposinf(values),
        "nan": np.isnan(values),
    }
    one_empty: NDArray[np.bool_] = said[settings.empty] & result.measured
    return one_empty


def _disc_rows(grid: Grid) -> NDArray[np.int32]:
    """First and past-the-last pixel of every row of the disc, int32 (circle_size + 1, 2), as PIL draws it."""
    disc = grid.disc
    return np.stack([disc.argmax(axis=1), disc.shape[1] - disc[:, ::-1].argmax(axis=1)], axis=1).astype(np.int32)
