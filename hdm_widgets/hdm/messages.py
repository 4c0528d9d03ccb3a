"""What the HDM explorer's screen draws from, as messages."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._bitmasks import bounding_box
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
from hdm_widgets.hdm.pyramid import halvings, shrink
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.metrics.distance import HausdorffPair
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
# Side of the smallest part of a large image that is drawn around a disc.
_LEAST_PART = 256
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
        **({} if settings.region is None else {"region": settings.region}),
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
    """The map as far as it is measured; a cell that is not measured has an estimate, or the nearest cell's value.

    Cells outside a scan's region are never measured: they have the baseline's value, and no map draws them.
    """
    result = update.result
    awaited = np.isnan(result.values) & (update.done < update.total)
    seconds = update.seconds if update.done == update.total else update.seconds - update.estimating
    if not update.done and result.plan is not None:
        # The pace at which cells will be measured, as far as that is known from their estimates.
        seconds *= result.plan.estimate_factor or 1
    measured = result.measured if result.estimated is None else result.measured & ~result.estimated
    certain = np.zeros_like(result.measured) if result.certain is None else result.certain
    return {
        # As float64, so that the browser paints the discs in the order in which `HDMResult.circle_map` does.
        "values": np.where(awaited, filled(result.values, result.measured), result.values),
        "measured": bits(measured),
        "valued": bits(result.measured),
        "certain": bits(certain),
        "drawn": bits(result.measured | awaited),
        "one_empty": bits(_one_empty(result)),
        "disc": _disc_rows(result.grid),
        "plan": ". ".join(str(part) for part in (result.plan, result.estimates) if part),
        "reading": "" if result.reading is None else str(result.reading),
        "noise": None if result.noise is None else {"distance": result.noise.distance, "pixels": result.noise.pixels},
        "baseline": result.baseline,
        "circle_size": result.circle_size,
        "offset": result.offset,
        "channel": wire_channel(result.settings.channel),
        "fill": fill_text(result.settings.fill),
        "shape": result.grid.disc_shape,
        # Of a first map, what is estimated until a cell is measured.
        "done": update.done or int(np.count_nonzero(result.measured)),
        "total": update.total,
        "stride": update.stride,
        "seconds": seconds,
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
    large: bool = False,
) -> dict[str, Any]:
    """Figures and images of a cell as a message; `{"cell", "pending": True}` while it is not measured.

    Of a large image it has no more than a part around what the disc changes.
    """
    if not result.measured[row, col]:
        return {"cell": (row, col), "pending": True}
    distance = float(result.values[row, col])
    view = shown_display(display or Display(), result.settings.channel, len(result.image)).view(result.image)
    mask, pair = _mask_of_cell(result, row, col)
    part = _part_around(result, row, col, mask, pair) if large else None
    rows, cols, step = (slice(None), slice(None), 1) if part is None else part.area
    image = view.to_rgb(result.occluded(row, col)[:, rows, cols][:, ::step, ::step])
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
        "prediction": None if mask is None else _prediction(result, row, col, mask, pair, part),
    } | ({} if part is None else {"part": part.message})


def shown_display(display: Display, channel: Channel, channels: int) -> Display:
    """`display`, or the covered channels in its place where it shows none of them, or nothing but a mean with them."""
    covered = (channel,) if isinstance(channel, int) else channel
    bands = display.bands if display.bands is not None or channels != 3 else range(3)
    shown = () if bands is None else (bands,) if isinstance(bands, int) else bands
    if channel == -1 or set(shown) & set(covered):
        return display
    return replace(display, bands=covered if len(covered) == 3 else covered[0])


def _mask_of_cell(result: HDMResult, row: int, col: int) -> tuple[NDArray[np.bool_] | None, HausdorffPair | None]:
    """The mask of a cell, and the pair of pixels that makes its Hausdorff distance; None where there is none."""
    try:
        mask = result.output(row, col)
    except ValueError:
        return None, None
    counted = without(mask, result.ignored)
    # Without a pixel in either mask there is no pair, whatever the policy for empty masks says.
    paired = result.settings.distance not in _OF_AREAS and counted.any() and result.segment.any()
    pair = result.pair(row, col) if paired else None
    # The masks may be equal.
    return counted, None if pair is None or pair.from_pixel is None else pair


def _prediction(
    result: HDMResult,
    row: int,
    col: int,
    counted: NDArray[np.bool_],
    pair: HausdorffPair | None,
    part: _Part | None,
) -> dict[str, Any]:
    """The mask of a cell against the truth; of a part of the image with what it is compared with there."""
    found = {
        "mask": bits(counted) if part is None else part.bits(counted),
        "empty": not counted.any(),
        "iou": result.iou(row, col),
        "pair": (pair.from_pixel, pair.to_pixel) if pair else None,
        "from": pair.from_mask if pair else None,
        "distance": pair.distance if pair else None,
    }
    if part is None:
        return found
    plain = result.settings.distance == "flipped"
    return found | {
        "compared": part.bits(without(result.baseline_mask, result.ignored) if plain else result.segment),
        "ignored": b"" if result.ignored is None else part.bits(result.ignored),
    }


class _Part(NamedTuple):
    """A part of a large image, drawn at a halved size."""

    top: int
    left: int
    height: int
    width: int

    @property
    def area(self) -> tuple[slice, slice, int]:
        """Its rows and columns, and every how many of them are drawn."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width), 2**self._level

    @property
    def message(self) -> dict[str, int]:
        return {**self._asdict(), "step": 2**self._level}

    @property
    def _level(self) -> int:
        return halvings(self.height, self.width, _LONGEST)

    def bits(self, mask: NDArray[np.bool_]) -> bytes:
        """A mask (H, W) of the image, as it is sent of this part."""
        rows, cols, _ = self.area
        return bits(shrink(mask[rows, cols], self._level))


def _part_around(
    result: HDMResult, row: int, col: int, mask: NDArray[np.bool_] | None, pair: HausdorffPair | None
) -> _Part:
    """What a disc covers and changes, with as much again around it."""
    rows, cols, _ = result.grid.window(row, col)
    boxes = [(rows.start, cols.start, rows.stop, cols.stop)]
    if mask is not None:
        flipped = bounding_box(mask != without(result.baseline_mask, result.ignored))
        boxes += [flipped] if flipped else []
    for pixel in () if pair is None else (pair.from_pixel, pair.to_pixel):
        if pixel is not None:
            boxes.append((pixel[0], pixel[1], pixel[0] + 1, pixel[1] + 1))
    first, last = np.min(boxes, axis=0)[:2], np.max(boxes, axis=0)[2:]
    side = max(_LEAST_PART, 2 * int((last - first).max()))
    sides = [min(side, length) for length in (result.height, result.width)]
    starts = [
        min(max(0, int(begin + end - length) // 2), whole - length)
        for begin, end, length, whole in zip(first, last, sides, (result.height, result.width), strict=True)
    ]
    return _Part(*starts, *sides)


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
