"""What a scan may measure of every mask: the names, what they are called, and how each is computed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from hdm_widgets.metrics.distance import ReferenceMask, row_distance
from hdm_widgets.metrics.masks import Mask
from hdm_widgets.metrics.windowed_distance import WindowedDistance
from hdm_widgets.metrics.windowed_measure import Region, WindowedMeasure
from hdm_widgets.metrics.windowed_overlap import WindowedOverlap
from hdm_widgets.metrics.windowed_surface import WindowedSurface

__all__ = ["MEASURES", "MeasureInfo", "MeasureName", "measure_label", "windowed_measure"]

MeasureName = Literal["hausdorff", "hausdorff95", "mean_surface", "iou", "dice", "area", "flipped", "rows"]


@dataclass(frozen=True)
class MeasureInfo:
    """How a measure is told.

    Attributes
    ----------
    label : str
        Its name in a sentence, without a unit.
    title : str
        Over a map of it; {} stands for what masks are compared with.
    unit : {"length", "area", ""}
    signed : bool
        Whether values below 0 are as far from the truth as those above.
    """

    label: str
    title: str
    unit: Literal["length", "area", ""] = ""
    signed: bool = False


MEASURES: dict[str, MeasureInfo] = {
    "hausdorff": MeasureInfo("Hausdorff distance", "Distance to the {}", "length"),
    "hausdorff95": MeasureInfo("95 % Hausdorff distance", "95 % Hausdorff distance to the {}", "length"),
    "mean_surface": MeasureInfo("mean surface distance", "Mean surface distance to the {}", "length"),
    "iou": MeasureInfo("1 - IoU", "1 - IoU with the {}"),
    "dice": MeasureInfo("1 - Dice", "1 - Dice with the {}"),
    "area": MeasureInfo("area difference", "Area less that of the {}", "area", signed=True),
    "flipped": MeasureInfo("flipped area", "Area that flips", "area"),
    "rows": MeasureInfo("row distance", "Row distance to the {}"),
    "custom": MeasureInfo("distance", "Distance to the {}"),
}


def measure_label(name: str) -> str:
    """What a measure is called in a list."""
    if name == "custom":
        return "Your own distance"
    label = MEASURES[name].label
    return label[0].upper() + label[1:]


def windowed_measure(
    name: str,
    truth: ReferenceMask,
    predicted: Mask,
    unoccluded: Mask | None = None,
    like: WindowedMeasure | None = None,
) -> WindowedMeasure:
    """What measures masks that differ from `predicted` inside a window only.

    Parameters
    ----------
    name : str
        A `MeasureName`.
    truth : ReferenceMask
    predicted : numpy.ndarray, bool (H, W)
    unoccluded : numpy.ndarray, bool (H, W), optional
        The mask for the image without a disc, which "flipped" compares with; `predicted` by default.
    like : WindowedMeasure, optional
        Another measure of the same masks, whose work may serve this one.
    """
    for surface in ("hausdorff95", "mean_surface"):
        if name == surface:
            if isinstance(like, WindowedSurface):
                return like.named(surface)
            return WindowedSurface(surface, truth, predicted)
    for overlap in ("iou", "dice", "area", "flipped"):
        if name == overlap:
            return WindowedOverlap(overlap, truth, predicted, unoccluded)
    if name == "rows":
        return _RowDistance(truth, predicted)
    return WindowedDistance(truth, predicted)


class _RowDistance(WindowedMeasure):
    """The published formula on masks; the whole mask is measured each time."""

    @cached_property
    def base_distance(self) -> float:
        return self._of_whole(self._predicted)

    def _distance(self, region: Region, inside: Mask) -> float:
        return self._of_whole(self._changed(region, inside))

    def _of_whole(self, mask: Mask) -> float:
        return row_distance(mask, self._truth.mask)


assert set(get_args(MeasureName)) < set(MEASURES)  # every name is told  # noqa: S101
