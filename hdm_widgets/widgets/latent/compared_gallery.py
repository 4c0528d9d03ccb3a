"""The gallery of two models: images, true masks, and what either predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from hdm_widgets._wire import bits
from hdm_widgets.latent.selection import Selection
from hdm_widgets.latent.space_comparison import SpaceComparison
from hdm_widgets.widgets.latent.gallery import Gallery, selection_row
from hdm_widgets.widgets.shared.part import read_static

__all__ = ["COMPARED_SORTS", "ComparedGallery"]

COMPARED_SORTS = (
    "largest change first",
    "most worsened first",
    "most improved first",
    "least overlap of neighbors first",
    "in data set order",
)


class ComparedGallery(Gallery):
    """Items of two spaces as images, with both predictions.

    Parameters
    ----------
    comparison : SpaceComparison
    """

    _esm = read_static("compared_gallery.js")
    _css = read_static("latent_comparison.css")

    sort = traitlets.Unicode(COMPARED_SORTS[0]).tag(sync=True)
    sorts = traitlets.List(list(COMPARED_SORTS)).tag(sync=True)

    def __init__(self, comparison: SpaceComparison) -> None:
        self._comparison: SpaceComparison | None = comparison
        super().__init__(comparison.spaces[0])
        self.can_explain = False
        self._about = self._about | {"compared": list(comparison.names)}

    def row(self, selection: Selection) -> dict[str, Any]:
        """A selection as the list above the images has it: with the mean IoU of both models."""
        scores = [iou[selection.indices] for iou in self._opened.iou]
        means = [float(np.nanmean(iou)) if np.isfinite(iou).any() else np.nan for iou in scores]
        return selection_row(selection) | {"mean": means[0], "after": means[1]}

    def close(self) -> None:
        """Remove the widget and free the spaces."""
        super().close()
        self._comparison = None

    @property
    def _opened(self) -> SpaceComparison:
        if self._comparison is None:
            raise RuntimeError("the gallery is closed")
        return self._comparison

    def _keys(self, indices: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """What items are sorted by, those without a change last; None: they stay in the order of the data set."""
        if self.sort == COMPARED_SORTS[4]:
            return None
        if self.sort == COMPARED_SORTS[3]:
            return self._opened.neighbors[indices]
        change = self._opened.iou_change[indices]
        if self.sort == COMPARED_SORTS[0]:
            return -np.abs(change)
        return change if self.sort == COMPARED_SORTS[1] else -change

    def _entry(self, index: int) -> tuple[dict[str, Any], list[bytes]]:
        entry, parts = super()._entry(index)
        return entry | {"after": self._opened.iou[1][index]}, [*parts, bits(self._second(index))]

    def _saved_item(self, index: int) -> dict[str, Any]:
        saved = super()._saved_item(index)
        return saved | {"second": self._saved_mask(self._second(index)), "after": self._opened.iou[1][index]}

    def _second(self, index: int) -> NDArray[np.bool_]:
        """What the second model predicts, in pixels that count."""
        return self._masks(self._opened.spaces[1], index)[1]
