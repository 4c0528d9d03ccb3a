"""Scans of one image with the settings on screen."""

from __future__ import annotations

import copy
from typing import Any, Unpack

import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._masks import check_truth
from hdm_widgets._validation import check_image, image_size
from hdm_widgets.hdm.explainer import HausdorffDistanceMasks
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.occlusion import Channel
from hdm_widgets.hdm.options import ScanKeywords
from hdm_widgets.hdm.scan import PreparedScan
from hdm_widgets.models.segmenter import Model, Segmenter

__all__ = ["ScanSource"]


class ScanSource:
    """Makes the scans of an explorer.

    Image, ground truth and explainer are copies: what the user does with the originals changes nothing here, and
    nothing is written into them.

    Parameters
    ----------
    model, image, segment, device
        As for `hdm.HausdorffDistanceMasks.explain`.
    explainer : hdm.HausdorffDistanceMasks or None
        Of the user's; its grid and its `normalize` are the default.
    circle_size, offset : int or None
    normalize : bool or None
    options : ScanKeywords

    Attributes
    ----------
    image : torch.Tensor, float32 (C, H, W)
    grid : Grid
        The one to begin with.
    """

    def __init__(
        self,
        model: Model,
        image: Tensor | NDArray[Any],
        segment: Tensor | NDArray[Any] | None,
        device: torch.device | str | None,
        explainer: HausdorffDistanceMasks | None,
        circle_size: int | None,
        offset: int | None,
        normalize: bool | None,
        **options: Unpack[ScanKeywords],
    ) -> None:
        # A Segmenter keeps its settings; they are made once, so that a scan need not learn them anew.
        own: dict[str, Any] = {
            name: options.pop(name) for name in ("target", "threshold", "batch_size") if name in options
        }
        all_classes = own.get("target") == "all"
        if all_classes:
            options["target"] = own.pop("target")
        self._segmenter = Segmenter.wrap(model, device=device, **own)
        preprocess = self._segmenter.preprocess is not None
        height, width = image_size(image, preprocess=preprocess, mask=segment)
        self.image = check_image(image, height, width, preprocess=preprocess)
        ignore = copy.deepcopy(options.get("ignore"))
        self._segment: NDArray[Any] | None = None
        if segment is not None:
            truth = check_truth(segment, height, width, ignore, labels=all_classes)
            self._segment, ignore = truth.values, truth.ignored
        explainer = HausdorffDistanceMasks(width, height) if explainer is None else explainer
        if not isinstance(explainer, HausdorffDistanceMasks):
            raise TypeError(f"explainer must be an instance of hdm.HausdorffDistanceMasks, got {explainer!r}")
        if (explainer.width, explainer.height) != (width, height):
            swapped = (explainer.height, explainer.width) == (width, height)
            advice = f"; width comes first: HausdorffDistanceMasks({width}, {height})" if swapped else ""
            raise ValueError(
                f"the explainer is for images of {explainer.height} x {explainer.width} px (rows x columns), "
                f"this one has {height} x {width}{advice}"
            )
        self._explainer = copy.copy(explainer)
        self._normalize = explainer.normalize if normalize is None else normalize
        given, side = _grid_of(explainer), min(height, width)
        if circle_size is None:
            circle_size = given.circle_size if given else max(1, round(side / 10))
        if offset is None:
            offset = given.offset if given else max(1, round(side / 30))
        self.grid = Grid(height, width, circle_size, offset, options.get("shape", "disc"))
        self._options: ScanKeywords = {**options, "ignore": ignore}

    def prepare(self, channel: Channel, grid: Grid) -> PreparedScan:
        """Check a scan; nothing is run."""
        self._explainer.generate_masks(grid.circle_size, grid.offset, self._normalize)
        return self._explainer.prepare(self._segmenter, self.image, self._segment, None, channel, **self._options)


def _grid_of(explainer: HausdorffDistanceMasks) -> Grid | None:
    try:
        return explainer.grid
    except ValueError:
        return None
