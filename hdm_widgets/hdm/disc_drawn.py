"""Is the disc itself drawn as segment? Then a map shows the fill, and not what the disc covers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hdm_widgets.hdm.flipped_pixels import Masks
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.questions import kept_masks

if TYPE_CHECKING:
    from hdm_widgets.hdm.occlusion import FillName
    from hdm_widgets.hdm.options import ScanSettings
    from hdm_widgets.hdm.result import HDMResult

__all__ = ["DiscDrawn", "another_fill", "disc_as_segment", "find_drawn_discs"]

# A disc counts as drawn from this fraction of its pixels on, and beyond a strip across it that is so many pixels wide:
# the edge of a segment that moves by a few pixels fills as much of a small disc.
FRACTION = 0.3
_STRIP = 3
# Of the pixels that the mask has more in one piece with those in the disc, at least this fraction is in the disc.
_INSIDE = 0.5
# Fills to try, the one that looks least like an object first.
_TO_TRY: tuple[FillName, ...] = ("mean", "inpainted", "blur", "noise", "minimum")
# Fewer cells than this fraction are not worth a notice.
_NOTICE = 0.01
# Fills made of what is around a disc carry a segment's color into the discs beside it: from this fraction of it on,
# what is drawn in the disc is the segment's own edge.
_OF_SURROUNDINGS = ("blur", "inpainted")
_CARRIED = 0.05


@dataclass(frozen=True, eq=False)
class DiscDrawn:
    """Cells in which the model draws the disc itself as segment; true where that is worth a notice.

    A cell counts if the mask has, beyond the mask without a disc, more than 30 % of the disc's pixels and more than a
    strip of 3 px across the disc, in pieces of which at least half is within the disc. A mask that grows everywhere,
    or whose edge moves by a few pixels where the disc is, does not count. Fewer than 1 % of the cells are no notice;
    those `beside` the segment do not count for it.

    Attributes
    ----------
    cells : numpy.ndarray, bool (rows, cols)
        Which.
    of : int
        Cells that were measured and have a mask.
    remedy : str
        What to try.
    beside : int
        How many of these cells show the blurred edge of the segment: the fill is "blur" or "inpainted", and the mask
        without a disc, blurred as the fill is, has a mean of at least 0.05 in the disc.
    """

    cells: NDArray[np.bool_]
    of: int
    remedy: str
    beside: int = 0

    @property
    def count(self) -> int:
        """Number of these cells."""
        return int(np.count_nonzero(self.cells))

    def __bool__(self) -> bool:
        return 0 < self.count - self.beside >= _NOTICE * self.of

    @property
    def finding(self) -> str:
        """What was found, in words."""
        return f"the disc itself is drawn as segment in {self.count:,} of {self.of:,} cells"

    def __str__(self) -> str:
        return f"{self.finding}; in these cells the map shows the disc; try {self.remedy}" if self else ""


def disc_as_segment(result: HDMResult) -> NDArray[np.float64]:
    """See `HDMResult.disc_as_segment`."""
    masks, grid, free = kept_masks(result), result.grid, _free(result)
    counted = None if result.ignored is None else ~result.ignored
    # Outside their windows, masks equal the one for an empty disc, which may differ from the one without a disc.
    same = not (masks.predicted & free).any()
    # Discs that nothing cuts off have one area.
    whole, full = int(np.count_nonzero(grid.disc)), grid.disc.shape
    fractions = np.full(grid.shape, np.nan)
    for row, col in np.argwhere(result.measured).tolist():
        rows, cols, disc = grid.window(row, col)
        top, left, bottom, right = _overlap(masks.patches[row, col].box, rows, cols) if same else _box(rows, cols)
        fractions[row, col] = 0.0
        if top >= bottom or left >= right:
            continue
        drawn = _part(masks, row, col, (top, left, bottom, right), same=same) & free[top:bottom, left:right]
        drawn &= disc[top - rows.start : bottom - rows.start, left - cols.start : right - cols.start]
        added = np.count_nonzero(drawn)
        if added:
            plain = counted is None and disc.shape == full
            area = whole if plain else np.count_nonzero(disc if counted is None else disc & counted[rows, cols])
            fractions[row, col] = added / area
    return fractions


def another_fill(settings: ScanSettings, drawn: Collection[str] = ()) -> FillName | None:
    """The fill to try where discs are drawn as segment; None where all of these are `drawn` too."""
    return next((fill for fill in _TO_TRY if fill != settings.fill and fill not in drawn), None)


def find_drawn_discs(result: HDMResult) -> DiscDrawn:
    """See `HDMResult.disc_drawn`."""
    cells = np.zeros(result.grid.shape, np.bool_)
    settings = result.settings
    if settings.own_mask:
        remedy = "an apply_mask that covers the image in another way"
    else:
        remedy = f'another fill, such as fill="{another_fill(settings)}", or hdm.compare_fills'
    if result._masks is None:
        return DiscDrawn(cells, 0, remedy)
    masks, free = kept_masks(result), _free(result)
    same = not (masks.predicted & free).any()
    least = max(FRACTION, _STRIP * (result.circle_size + 1) / np.count_nonzero(result.grid.disc))
    for row, col in np.argwhere(np.nan_to_num(result.disc_as_segment) > least).tolist():
        top, left, mask = masks.window(row, col) if same else (0, 0, masks.mask(row, col))
        added = mask & free[top : top + mask.shape[0], left : left + mask.shape[1]]
        cells[row, col] = _is_a_piece(result.grid, row, col, added, (top, left))
    beside = 0 if settings.own_mask or settings.fill not in _OF_SURROUNDINGS else _beside_segment(result, cells)
    return DiscDrawn(cells, int(np.count_nonzero(result.measured)), remedy, beside)


def _beside_segment(result: HDMResult, cells: NDArray[np.bool_]) -> int:
    """See `DiscDrawn.beside`."""
    carried = ndimage.gaussian_filter(result.baseline_mask.astype(np.float64), result.circle_size / 2)
    windows = (result.grid.window(row, col) for row, col in np.argwhere(cells).tolist())
    return sum(bool(carried[rows, cols][disc].mean() >= _CARRIED) for rows, cols, disc in windows)


def _is_a_piece(grid: Grid, row: int, col: int, added: NDArray[np.bool_], corner: tuple[int, int]) -> bool:
    """Whether what a mask has more is mostly inside the disc, of all that is in one piece with it.

    `added` (h, w) is the part of the image that begins at `corner` and has all that the mask has more.
    """
    rows, cols, disc = grid.window(row, col)
    row0, col0 = corner
    top, left, bottom, right = _overlap((row0, col0, row0 + added.shape[0], col0 + added.shape[1]), rows, cols)
    inner = disc[top - rows.start : bottom - rows.start, left - cols.start : right - cols.start]
    inside = np.count_nonzero(added[top - row0 : bottom - row0, left - col0 : right - col0] & inner)
    if inside >= _INSIDE * np.count_nonzero(added):
        return True
    # What reaches farther has more outside the disc than in it, but for thin lines.
    margin = 2 * (grid.circle_size + 1)
    first, start = max(0, rows.start - margin - row0), max(0, cols.start - margin - col0)
    near = added[first : rows.stop + margin - row0, start : cols.stop + margin - col0]
    pieces, _ = ndimage.label(near, np.ones((3, 3)))
    top, left, bottom, right = top - row0 - first, left - col0 - start, bottom - row0 - first, right - col0 - start
    numbers = pieces[top:bottom, left:right][inner]
    return bool(inside >= _INSIDE * np.isin(pieces, np.unique(numbers[numbers > 0])).sum())


def _free(result: HDMResult) -> NDArray[np.bool_]:
    """Pixels (H, W) that count and are no segment without a disc."""
    free: NDArray[np.bool_] = ~result.baseline_mask
    return free if result.ignored is None else free & ~result.ignored


def _box(rows: slice, cols: slice) -> tuple[int, int, int, int]:
    return rows.start, cols.start, rows.stop, cols.stop


def _overlap(box: tuple[int, int, int, int], rows: slice, cols: slice) -> tuple[int, int, int, int]:
    row0, col0, row1, col1 = box
    return max(rows.start, row0), max(cols.start, col0), min(rows.stop, row1), min(cols.stop, col1)


def _part(masks: Masks, row: int, col: int, box: tuple[int, int, int, int], *, same: bool) -> NDArray[np.bool_]:
    """The box of a cell's mask; with `same`, it is within the cell's window."""
    top, left, bottom, right = box
    if not same:
        return masks.mask(row, col)[top:bottom, left:right]
    row0, col0, window = masks.window(row, col)
    return window[top - row0 : bottom - row0, left - col0 : right - col0]
