"""Whether another measure than the Hausdorff distance would show more of a scan.

A Hausdorff distance is that of two pixels. Where these are the same for most discs, a map shows little of what the
discs change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._masks import without
from hdm_widgets.hdm.objects import label_objects
from hdm_widgets.metrics.distance import HausdorffPair, hausdorff_pair

if TYPE_CHECKING:
    from hdm_widgets.hdm.result import HDMResult

__all__ = ["MeasureProposal", "propose_measure"]

# Fewer discs that change the mask tell nothing.
_FEWEST = 8
# The two pixels are the same for this fraction of the discs that change the mask.
_MOST = 0.5
# An object is a speck up to this fraction of its mask; with so many objects others may be missed behind one.
_SPECK = 0.02
_SEVERAL = 3
# A map is flat whose range is below this fraction of the baseline, while what flips differs by this one of the mask.
_FLAT = 0.05
_VARIED = 0.02


@dataclass(frozen=True)
class MeasureProposal:
    """Another measure for a scan, and why; falsy if there is none to propose.

    Attributes
    ----------
    measure : str
        A `MeasureName`, or empty.
    reason : str
        A sentence.
    of : str
        "truth" or "prediction": the mask that has the speck or object that decides; empty if the map is flat.
    pixel : tuple of int or None
        (row, col) of a pixel of that speck or object.
    """

    measure: str = ""
    reason: str = ""
    of: str = ""
    pixel: tuple[int, int] | None = None

    def __bool__(self) -> bool:
        return bool(self.measure)

    def __str__(self) -> str:
        return self.reason


def propose_measure(result: HDMResult) -> MeasureProposal:
    """Propose another measure where one speck or one object decides most Hausdorff distances, or the map is flat.

    Parameters
    ----------
    result : HDMResult
        With its masks; of other distances than "hausdorff" there is nothing to propose.

    Returns
    -------
    MeasureProposal
    """
    if result.settings.distance != "hausdorff" or result._masks is None:
        return MeasureProposal()
    counted = np.ones(result.segment.shape, bool) if result.ignored is None else ~result.ignored
    flips = np.nan_to_num(result._flipped_pixels.sums(counted))
    changing = result.measured & (flips > 0)
    if np.count_nonzero(changing) < _FEWEST:
        return MeasureProposal()
    pair = hausdorff_pair(
        result.baseline_mask, result.segment, empty="diagonal", spacing=result.settings.spacing, ignore=result.ignored
    )
    if pair.from_pixel is not None:
        mask = without(result.baseline_mask, result.ignored) if pair.from_mask == "a" else result.segment
        labels, count = label_objects(mask)
        pixels = np.count_nonzero(labels == labels[pair.from_pixel])
        speck = count > 1 and pixels <= _SPECK * np.count_nonzero(mask)
        if speck or count >= _SEVERAL:
            decided = _decided(result, pair, changing)
            if np.count_nonzero(decided & changing) >= _MOST * np.count_nonzero(changing):
                where = "prediction" if pair.from_mask == "a" else "truth"
                what = f"One speck of {pixels:,} px in" if speck else f"One of {count:,} objects of"
                of = np.count_nonzero(result.measured)
                reason = f"{what} the {where} decides {np.count_nonzero(decided):,} of {of:,} distances"
                measure = "hausdorff95" if speck else _of_areas(result, changing)
                return MeasureProposal(measure, reason, where, pair.from_pixel)
    values, changed = result.values[changing], flips[changing]
    if not np.isfinite(values).all() or not result.baseline:
        return MeasureProposal()
    flat = values.max() - values.min() <= _FLAT * result.baseline
    if flat and changed.max() - changed.min() >= _VARIED * np.count_nonzero(result.baseline_mask):
        unit = result.settings.unit
        return MeasureProposal(
            _of_areas(result, changing),
            f"All distances are nearly the same, {values.min():.1f} to {values.max():.1f} {unit}, while discs flip up "
            f"to {changed.max():,.0f} px",
        )
    return MeasureProposal()


def _of_areas(result: HDMResult, changing: NDArray[np.bool_]) -> str:
    """A measure of areas that differs between discs that change the mask: the overlap with the truth may be none."""
    overlap = result.measure("iou").values[changing]
    return "iou" if overlap.max() - overlap.min() >= _VARIED else "flipped"


def _decided(result: HDMResult, pair: HausdorffPair, changing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells, bool (rows, cols), whose distance is that of the two pixels that decide it without a disc."""
    decided: NDArray[np.bool_] = result.measured & np.isclose(result.values, result.baseline, rtol=1e-9, atol=0)
    pixel = pair.from_pixel if pair.from_mask == "a" else pair.to_pixel
    assert pixel is not None  # noqa: S101 - told by the caller
    masks = result._masks
    assert masks is not None  # noqa: S101 - told by the caller
    for row, col in np.argwhere(decided & changing).tolist():
        top, left, window = masks.window(row, col)
        at = (pixel[0] - top, pixel[1] - left)
        inside = 0 <= at[0] < window.shape[0] and 0 <= at[1] < window.shape[1]
        # It is one of the prediction: the disc may have taken it away.
        decided[row, col] = window[at] if inside else masks.predicted[pixel]
    return decided
