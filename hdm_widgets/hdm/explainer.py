"""The documented entry: an explainer for images of one size."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from hdm_widgets._masks import GivenMask, Ignore, check_truth, read_mask
from hdm_widgets._validation import (
    advise_on_keywords,
    check_channel,
    check_device_exists,
    check_image,
    check_region,
    takes_options,
    warn_user,
)
from hdm_widgets.hdm.cache import ScanCache
from hdm_widgets.hdm.grid import Grid, check_count
from hdm_widgets.hdm.measure import ClassMeasure, MaskMeasure, MeasuredOutput, OutputMeasure
from hdm_widgets.hdm.occlusion import Occluder, check_fill_length
from hdm_widgets.hdm.options import ScanKeywords, ScanOptions, ScanSettings
from hdm_widgets.hdm.patched_occlusion import OverriddenOcclusion
from hdm_widgets.hdm.plan import Plan
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.scan import MeasureOver, PreparedScan
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.metrics.distance import (
    ReferenceMask,
    hausdorff_distance,
    row_distance,
)
from hdm_widgets.models.batch_size import BatchSize
from hdm_widgets.models.segmenter import Model, ModelError, Segmenter

__all__ = ["HausdorffDistanceMasks"]


def _first_class(truth: GivenMask) -> int:
    """The first class besides 0 that a ground truth of class numbers has; 0 if it has no other."""
    besides = truth.values[truth.values != 0]
    return int(besides.min()) if besides.size else 0


def _no_truth(height: int, width: int, ignore: Ignore | None) -> GivenMask:
    """Stands for a ground truth that was not given, with the pixels to ignore."""
    nothing = np.zeros((height, width), np.bool_)
    if isinstance(ignore, (int, float)):
        raise ValueError(
            f"ignore={ignore!r} is a value of a ground truth, and segment=None gives none; give a mask of the pixels "
            "that do not count, bool (H, W)"
        )
    return read_mask(nothing, ignore, name="segment")


def _segmenter_for_all(model: Model, target: int, **options: Any) -> Segmenter:
    """The segmenter that measures one class of many."""
    if isinstance(model, Segmenter) and model.target is not None:
        raise ValueError(
            f"the Segmenter's own target is class {model.target}; for target='all' make it without a target"
        )
    return Segmenter.wrap(model, **options).for_target(target)


class HausdorffDistanceMasks:
    """Explain a segmentation: how far does the mask move when a disc covers part of the image?

    Parameters
    ----------
    image_width, image_height : int
        Size in pixels of the images to explain.

    Attributes
    ----------
    result : HDMResult or None
        Of the last scan, as far as it came: also after an error or an interrupt.

    Notes
    -----
    A filled disc slides over the image; the model segments every occluded image; the distance of
    each new mask to the true one is painted as a disc at its place. To use your own occlusion or
    distance, override `apply_mask` or `calculate_distance` in a subclass.

    References
    ----------
    Method and interface after the `interpret-segmentation` package (andef4, 2019). There, the distance takes
    every row of a map as a point; here it is the Hausdorff distance of the pixel sets, and
    `distance="rows"` gives the other for comparison.

    Examples
    --------
    >>> import torch
    >>> from hdm_widgets import hdm
    >>> image = torch.zeros(1, 16, 16)
    >>> image[:, 4:8, 4:8] = 1
    >>> explainer = hdm.HausdorffDistanceMasks(16, 16)
    >>> explainer.generate_masks(circle_size=4, offset=4)
    >>> result = explainer.explain(lambda images: images[:, 0], image, image[0], "cpu", progress=False)
    >>> result.distances(hdm.RAW)[1].round(2)
    array([1.  , 4.24, 0.  , 0.  ])
    """

    def __init__(self, image_width: int, image_height: int) -> None:
        self.width = check_count("image_width", image_width)
        self.height = check_count("image_height", image_height)
        self.normalize = False
        self.result: HDMResult | None = None
        self._grid: Grid | None = None
        self._cache = ScanCache()

    def __copy__(self) -> HausdorffDistanceMasks:
        """A copy with its own grid, result and cache."""
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__dict__, result=None, _cache=ScanCache())
        return copied

    def __repr__(self) -> str:
        discs = f", circle_size={self._grid.circle_size}, offset={self._grid.offset}" if self._grid else ""
        return f"{type(self).__name__}(image_width={self.width}, image_height={self.height}{discs})"

    @property
    def grid(self) -> Grid:
        """Where the discs are; known after `generate_masks`."""
        if self._grid is None:
            raise ValueError("call generate_masks(circle_size, offset) first")
        return self._grid

    @advise_on_keywords
    def generate_masks(self, circle_size: int, offset: int, normalize: bool = False) -> None:
        """Choose the discs.

        Parameters
        ----------
        circle_size : int
            Size of the disc in pixels. 15 to 25 with an offset of 5 suit an image of 240 px.
        offset : int
            Pixels from one disc to the next; the grid has `height // offset` rows and `width // offset`
            columns.
        normalize : bool
            For images in [-1, 1]: the masks are -1 in the disc and 1 outside, not 0 and 1.

        Raises
        ------
        TypeError, ValueError
            If a size is not a whole number, below 1, or larger than the image.
        """
        self._grid = Grid(self.height, self.width, circle_size, offset)
        self.normalize = bool(normalize)

    def apply_mask(self, image: Tensor, mask: Tensor) -> Tensor:
        """Cover part of an image: the element-wise minimum. Override it to cover in another way.

        Parameters
        ----------
        image : torch.Tensor, (C, H, W), or (H, W) where one channel is occluded
            Its occluded channels, with values as they were given: before the `preprocess` of a Segmenter that has one.
        mask : torch.Tensor (H, W)
            0 in the disc and 1 outside, or -1 and 1 after `generate_masks(..., normalize=True)`.

        Returns
        -------
        torch.Tensor
            Of the shape of `image`.

        Warns
        -----
        UserWarning
            If the image has values above the mask's: the minimum clips them outside of the disc too.
        """
        most, high = float(image.max()), float(mask.max())
        if most > high:
            warn_user(
                f"the image has values up to {most:g}; the element-wise minimum with the mask cuts all of them down to "
                f"{high:g}, outside the disc too. Cover the disc alone: torch.where(mask == {high:g}, image, value)"
            )
        return torch.min(image, mask)

    def calculate_distance(self, output: NDArray[Any], segment: NDArray[Any]) -> float:
        """Distance of one output to the truth. Override it to measure in another way.

        A scan measures masks in batches and calls this only where a subclass overrides it. There,
        `super().calculate_distance(output, segment)` is the Hausdorff distance that the scan would measure itself: of
        the model's mask (the argmax of several classes, or the Segmenter's threshold), with the scan's `empty`,
        `spacing` and `ignore`. Given another map than the one that came, it puts that in the place of the target's.
        Outside a scan it cuts probabilities (all values within [0, 1]) at 0.5 and logits at 0.

        Parameters
        ----------
        output : numpy.ndarray (H, W)
            The target's map as the model gave it, without activation. With ignored pixels, this and `segment` are
            numpy masked arrays, in which these pixels are masked.
        segment : numpy.ndarray (H, W)
            The ground truth in its own type, nonzero = segment.

        Returns
        -------
        float
            An array or a tensor of one element serves too.
        """
        measured = MeasuredOutput.current()
        if measured is None:
            probabilities = output.min() >= 0 and output.max() <= 1
            return hausdorff_distance(output > (0.5 if probabilities else 0.0), segment)
        return measured.hausdorff(output, segment)

    @takes_options(ScanOptions)
    def explain(
        self,
        model: Model,
        image: Tensor | NDArray[Any],
        segment: Tensor | NDArray[Any] | None = None,
        device: torch.device | str | None = None,
        channel: int | Sequence[int] = -1,
        *,
        progress: bool | Callable[[ScanUpdate], object] = True,
        **options: Unpack[ScanKeywords],
    ) -> HDMResult:
        """Measure every cell.

        Parameters
        ----------
        model : torch.nn.Module, callable or Segmenter
            See `Segmenter` for what a model may take and return.
        image : torch.Tensor or numpy.ndarray, (C, H, W) or (H, W)
            The image, of a floating type, as the model expects it. For a Segmenter with `preprocess`: the image as you
            have it, of any real type, also (H, W, C).
        segment : torch.Tensor or numpy.ndarray (H, W)
            The ground truth, nonzero = segment: bool, whole numbers, or floats that are 0 and 1; with `target="all"`
            class numbers. Masked pixels of a numpy masked array do not count. None: the model's own mask for the image
            without a disc, so that distances say how far each disc moves it.
        device : torch.device or str, optional
            Where to run; the model's own device by default.
        channel : int or sequence of int
            Occlude this channel only, or these; -1 for all.
        progress : bool or callable
            Show a tqdm bar, or call this with every `ScanUpdate`.
        **options
            See `ScanOptions`.

        Returns
        -------
        HDMResult

        Raises
        ------
        TypeError, ValueError
            For bad input, before the model is run.
        ModelError
            If the model fails; the message names the cell, `error.result` has what was measured before.
        """
        scan = self.prepare(model, image, segment, device, channel, **options)
        scan.warn()
        with (
            closing(self._updates(scan)) as updates,
            tqdm(disable=progress is not True, unit="disc", desc="explaining", delay=0.5) as bar,
        ):
            for update in updates:
                if not update.done:
                    bar.reset(update.total)
                bar.update(len(update.cells))
                if callable(progress):
                    progress(update)
        assert self.result is not None  # the generator sets it before its first update  # noqa: S101
        return self.result

    @takes_options(ScanOptions)
    def stream(
        self,
        model: Model,
        image: Tensor | NDArray[Any],
        segment: Tensor | NDArray[Any] | None = None,
        device: torch.device | str | None = None,
        channel: int | Sequence[int] = -1,
        **options: Unpack[ScanKeywords],
    ) -> Generator[ScanUpdate]:
        """Measure every cell, coarse to fine, with an update after every batch.

        Leaving the loop ends the scan; `result` has what was measured.

        Parameters
        ----------
        model, image, segment, device, channel
            As for `explain`.
        **options
            See `ScanOptions`.

        Returns
        -------
        generator of ScanUpdate
            The first comes before any cell, with the distance of the image without a disc.

        Raises
        ------
        TypeError, ValueError
            For bad input, at the call.
        ModelError
            As for `explain`, while it runs.
        """
        scan = self.prepare(model, image, segment, device, channel, **options)
        scan.warn()
        return self._updates(scan)

    @takes_options(ScanOptions)
    def plan(
        self,
        model: Model,
        image: Tensor | NDArray[Any],
        segment: Tensor | NDArray[Any] | None = None,
        device: torch.device | str | None = None,
        channel: int | Sequence[int] = -1,
        *,
        progress: object = False,  # noqa: ARG002 - as documented
        **options: Unpack[ScanKeywords],
    ) -> Plan:
        """Say which backend a scan would use, and why, without running it.

        The image without a disc is run, and the network is traced if that is worth it.

        Parameters
        ----------
        model, image, segment, device, channel
            As for `explain`.
        progress : bool or callable
            Ignored: a plan takes the keywords of `explain`, and there is nothing to show.
        **options
            See `ScanOptions`.

        Returns
        -------
        Plan
        """
        return self.prepare(model, image, segment, device, channel, **options).plan()

    @takes_options(ScanOptions)
    def prepare(
        self,
        model: Model,
        image: Tensor | NDArray[Any],
        segment: Tensor | NDArray[Any] | None = None,
        device: torch.device | str | None = None,
        channel: int | Sequence[int] = -1,
        **options: Unpack[ScanKeywords],
    ) -> PreparedScan:
        """Check everything that a scan is made of; nothing is run.

        Parameters
        ----------
        model, image, segment, device, channel
            As for `explain`.
        **options
            See `ScanOptions`.

        Returns
        -------
        PreparedScan
            Its `updates()` runs the scan.

        Raises
        ------
        TypeError, ValueError
            For bad input.
        """
        asked = ScanOptions(**options)
        grid = replace(self.grid, disc_shape=asked.shape)
        all_classes = asked.target == "all"
        if segment is None:
            truth = _no_truth(self.height, self.width, asked.ignore)
        else:
            truth = check_truth(segment, self.height, self.width, asked.ignore, labels=all_classes)
        if all_classes:
            # Class 1 of the model's own, which are not known yet.
            first = 1 if segment is None else _first_class(truth)
            truth = truth.with_class(first)
            segmenter = _segmenter_for_all(model, first, threshold=asked.threshold, device=device)
        else:
            segmenter = Segmenter.wrap(model, target=asked.target, threshold=asked.threshold, device=device)
        check_device_exists(segmenter.run_device)
        preprocess = segmenter.preprocess is not None
        checked = check_image(
            image, self.height, self.width, preprocess=preprocess,
            advice_if_swapped=f"; width comes first: HausdorffDistanceMasks({self.height}, {self.width})",
        )  # fmt: skip
        check_fill_length(asked.fill, len(checked))
        settings = ScanSettings(
            channel=check_channel(channel, len(checked)),
            normalize=self.normalize,
            fill=asked.fill,
            distance="custom" if self._overrides("calculate_distance") else asked.distance,
            empty=asked.empty,
            spacing=asked.spacing,
            seed=asked.seed,
            shape=asked.shape,
            own_mask=self._overrides("apply_mask"),
            tolerance=asked.tolerance,
            region=None if asked.region is None else check_region(asked.region, self.height, self.width),
            own_range=preprocess,
            target=segmenter.target,
            of_prediction=segment is None,
        )
        if all_classes and settings.distance == "custom":
            raise ValueError(
                "calculate_distance of your own measures the raw output, and target='all' keeps masks; make one scan "
                "for each class"
            )
        occluder: Occluder
        if settings.own_mask:
            occluder = OverriddenOcclusion(grid, checked, settings.channel, self.normalize, self.apply_mask)
            show = occluder.occluded
        else:
            # On the model's device, so that no disc has to be sent there. A result outlives that: it makes its own.
            occluder = settings.occlusion(grid, checked).made.to(segmenter.run_device)
            show = settings.occlusion(grid, checked).occluded
        return PreparedScan(
            segmenter,
            occluder,
            show,
            partial(self._measure, segmenter, settings, ClassMeasure if all_classes else MaskMeasure),
            checked,
            truth,
            settings,
            asked.inference,
            asked.keep_outputs,
            BatchSize(asked.batch_size or segmenter.batch_size, segmenter.model_input(checked), segmenter.run_device),
            self._cache,
            all_classes,
        )

    def _measure(
        self,
        segmenter: Segmenter,
        settings: ScanSettings,
        measure: type[MaskMeasure | ClassMeasure],
        truth: GivenMask,
    ) -> MeasureOver:
        """What measures windows over a raw output."""
        if settings.distance in ("rows", "custom"):
            function = row_distance if settings.distance == "rows" else self.calculate_distance

            def measure_output(raw: Tensor, unoccluded: NDArray[np.bool_] | None = None) -> OutputMeasure:  # noqa: ARG001
                return OutputMeasure(segmenter, function, truth, settings, raw)

            return measure_output
        reference = ReferenceMask(truth.mask, empty=settings.empty, spacing=settings.spacing, ignore=truth.ignored)
        return partial(measure, segmenter, settings.distance, reference)

    @property
    def _is_custom(self) -> bool:
        """Whether a subclass covers the image or measures masks in its own way."""
        return self._overrides("apply_mask") or self._overrides("calculate_distance")

    def _overrides(self, method: str) -> bool:
        ours = getattr(HausdorffDistanceMasks, method)
        return getattr(getattr(self, method), "__func__", None) is not ours

    def _updates(self, scan: PreparedScan) -> Generator[ScanUpdate]:
        """Run a scan and keep its newest result."""
        self.result = None
        with closing(scan.updates()) as updates:
            try:
                for update in updates:
                    self.result = update.result
                    yield update
            except ModelError as error:
                if isinstance(error.result, HDMResult):
                    self.result = error.result
                raise
