"""Which values of a mask file are buildings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MaskValues", "find_mask_values", "is_plain"]

# Values of 8 bits above this are nearer to 255 than to 0.
_HALF = 127.5
# A mask that lossy compression has passed through has several values this near to its largest, ...
_NEAR_TOP = 8
# ... which is about 255 ...
_LEAST_TOP = 192
# ... and few that are far from both ends: those of blurred edges.
_MOST_BETWEEN = 0.35


@dataclass(frozen=True)
class MaskValues:
    """How the values of a mask are read.

    Attributes
    ----------
    nodata : float or None
        The value of pixels without data, which are no buildings.
    above : float or None
        Pixels above this are buildings; None: all that are not 0.
    note : str
        What a user may not expect of it, as the end of a sentence about the file; empty if there is nothing.
    """

    nodata: float | None = None
    above: float | None = None
    note: str = ""

    def mask(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """The buildings of a mask, bool of the same shape."""
        found: NDArray[np.bool_] = values != 0 if self.above is None else values > self.above
        return found & has_data(values, self.nodata)


def has_data(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Which pixels have data: they are neither `nodata` nor NaN."""
    filled = np.ones(values.shape, bool) if nodata is None else values != nodata
    return filled & ~np.isnan(values) if values.dtype.kind == "f" else filled


def is_plain(values: NDArray[Any], nodata: float | None) -> bool:
    """Whether values of a mask are clear without the rest of its file: they are 0 and the largest of their type."""
    largest = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    return nodata != largest and bool(((values == 0) | (values == largest)).all())


def find_mask_values(values: NDArray[Any], nodata: float | None, *, lossy: bool) -> MaskValues:
    """How to read a mask, from a sample of its values.

    Parameters
    ----------
    values : numpy.ndarray
        Of any real type.
    nodata : float or None
        The value of pixels without data, by the file's header.
    lossy : bool
        Whether the file is compressed in a way that may change values.

    Returns
    -------
    MaskValues
        Values between, which lossy compression and resampling make, are cut at half their range. Of other values,
        such as class numbers, all but 0 are buildings.
    """
    kept = values[has_data(values, nodata) & (values != 0)]
    if not kept.size:
        note = ""
        if nodata and bool((values == nodata).any()):
            note = f"has no values but 0 and {nodata:g}, which its header calls nodata: it has no buildings"
        return MaskValues(nodata, note=note)
    distinct = np.unique(kept)
    if len(distinct) == 1:
        return MaskValues(nodata)
    top = float(distinct[-1])
    if (lossy and top > _HALF) or _looks_lossy(kept, distinct):
        highest = 255.0 if 1 < top <= 255 else max(top, 1.0)
        return MaskValues(
            nodata,
            highest / 2,
            f"has {len(distinct)} different values besides 0, up to {top:g}, as lossy compression or resampling makes "
            f"them: pixels above {highest / 2:g} are buildings",
        )
    return MaskValues(
        nodata,
        note=f"has {len(distinct)} different values besides 0, such as {distinct[0]:g} and {top:g}: all of them are "
        "buildings",
    )


def _looks_lossy(kept: NDArray[Any], distinct: NDArray[Any]) -> bool:
    """Whether values other than 0 are those of a mask that has been blurred."""
    if kept.dtype.kind == "f" and bool((distinct != np.round(distinct)).any()):
        return True
    top = float(distinct[-1])
    if not _LEAST_TOP <= top <= 255:
        return False
    between = (kept > top / 4) & (kept < top * 3 / 4)
    near_top = int((distinct >= top - _NEAR_TOP).sum())
    return near_top >= 2 and len(distinct) > near_top and float(between.mean()) < _MOST_BETWEEN
