"""Scans of one image with the settings on screen."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Unpack

import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._masks import check_truth
from hdm_widgets._validation import brief, check_image, image_size
from hdm_widgets.hdm.answers import Answers, Question
from hdm_widgets.hdm.explainer import HausdorffDistanceMasks
from hdm_widgets.hdm.fill_comparison import FillComparison
from hdm_widgets.hdm.fill_scans import prepare_fills
from hdm_widgets.hdm.grid import Grid, usual_discs
from hdm_widgets.hdm.occlusion import Channel, Fill
from hdm_widgets.hdm.options import ScanKeywords
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.scan import PreparedScan
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.models.segmenter import Model, Segmenter

__all__ = ["ScanSource"]


class ScanSource:
    """Makes the scans of an explorer.

    Image, ground truth and explainer are copies: what the user does with the originals changes nothing here, and
    nothing is written into them.

    Parameters
    ----------
    model, image, device
        As for `hdm.HausdorffDistanceMasks.explain`.
    segment : array (H, W), dict of str to array (H, W), or None
        The ground truth, or several by their names: scans are made with the first.
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
    truths : dict of str to GivenMask
        Several ground truths by their names; empty if there is one, or none.
    """

    def __init__(
        self,
        model: Model,
        image: Tensor | NDArray[Any],
        segment: Tensor | NDArray[Any] | Mapping[str, Tensor | NDArray[Any]] | None,
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
        if "threshold" in own and not 0 < self._segmenter.threshold < 1:
            raise ValueError(
                f"threshold must be a probability between 0 and 1, got {self._segmenter.threshold:g}; for raw values "
                "write hw.Segmenter(model, activation='none', threshold=...)"
            )
        preprocess = self._segmenter.preprocess is not None
        truths = _check_names(segment) if isinstance(segment, Mapping) else {}
        if isinstance(segment, Mapping):
            segment = next(iter(truths.values()))
        height, width = image_size(image, preprocess=preprocess, mask=segment)
        self.image = check_image(image, height, width, preprocess=preprocess)
        ignore = copy.deepcopy(options.get("ignore"))
        self.truths = {
            name: check_truth(one, height, width, ignore, labels=all_classes) for name, one in truths.items()
        }
        self._segment: NDArray[Any] | None = None
        if segment is not None:
            truth = check_truth(segment, height, width, ignore, labels=all_classes)
            self._segment, ignore = truth.values, truth.ignored
        explainer = HausdorffDistanceMasks(width, height) if explainer is None else explainer
        if not isinstance(explainer, HausdorffDistanceMasks):
            raise TypeError(f"explainer must be an instance of hdm.HausdorffDistanceMasks, got {brief(explainer)}")
        if (explainer.width, explainer.height) != (width, height):
            swapped = (explainer.height, explainer.width) == (width, height)
            advice = f"; width comes first: HausdorffDistanceMasks({width}, {height})" if swapped else ""
            raise ValueError(
                f"the explainer is for images of {explainer.height} x {explainer.width} px (rows x columns), "
                f"this one has {height} x {width}{advice}"
            )
        self._explainer = copy.copy(explainer)
        self._normalize = explainer.normalize if normalize is None else normalize
        given, usual = _grid_of(explainer), usual_discs(height, width)
        if circle_size is None:
            circle_size = given.circle_size if given else usual[0]
        if offset is None:
            offset = given.offset if given else usual[1]
        self.grid = Grid(height, width, circle_size, offset, options.get("shape", "disc"))
        self._options: ScanKeywords = {**options, "ignore": ignore}

    @property
    def model_name(self) -> str:
        """What the model is called in its code."""
        model = self._segmenter.model
        return str(getattr(model, "__name__", type(model).__name__))

    def prepare(self, channel: Channel, grid: Grid, fill: Fill | None = None) -> PreparedScan:
        """Check a scan, with the fill of the options or another one; nothing is run."""
        options: ScanKeywords = {**self._options, "shape": grid.disc_shape}
        if fill is not None:
            options["fill"] = fill
        self._explainer.generate_masks(grid.circle_size, grid.offset, self._normalize)
        return self._explainer.prepare(self._segmenter, self.image, self._segment, None, channel, **options)

    def compare_fills(
        self,
        channel: Channel,
        grid: Grid,
        asked: Question,
        progress: Callable[[ScanUpdate], object],
        measured: Callable[[HDMResult], object] | None = None,
    ) -> FillComparison:
        """Compare fills by the answers to a question, and call `measured` with that of each; warns of nothing.

        The scans are made as those of `prepare`, and share what is measured with them.
        """
        options: dict[str, Any] = {**self._options, "shape": grid.disc_shape}
        # Discs that are drawn as segment are found in the masks.
        for name in ("fill", "keep_outputs"):
            options.pop(name, None)
        # A copy: other scans may choose their discs meanwhile.
        explainer = copy.copy(self._explainer)
        explainer.generate_masks(grid.circle_size, grid.offset, self._normalize)
        prepared = prepare_fills(
            explainer, self._segmenter, self.image, self._segment, channel, cache=self._explainer._cache, **options
        )
        scan = next(iter(prepared.scans.values()))
        answers = Answers(scan.settings, keep_outputs=scan.keep_outputs, truths=self.truths)
        own = asked._replace(target=None) == answers.own._replace(target=None) and not scan.all_classes
        ask = None if own else partial(answers.of, asked=asked)
        return prepared.run(progress, ask, quiet=True, measured=measured)


def _check_names(truths: Mapping[Any, Any]) -> dict[str, Any]:
    """Several ground truths by names that tell them apart from what else is explained."""
    if not truths:
        raise ValueError("segment has no ground truth; give at least one by its name, or segment=None")
    for name in truths:
        if not isinstance(name, str) or not name or name in ("truth", "prediction"):
            raise ValueError(
                f"the names of several ground truths must be texts other than 'truth' and 'prediction', got "
                f"{brief(name)}"
            )
    return dict(truths)


def _grid_of(explainer: HausdorffDistanceMasks) -> Grid | None:
    try:
        return explainer.grid
    except ValueError:
        return None
