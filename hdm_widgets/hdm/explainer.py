"""The documented entry: an explainer for pictures of one size."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from hdm_widgets._arguments import advise_on_keywords, warn_user
from hdm_widgets._batch_size import BatchSize
from hdm_widgets._inputs import check_image, check_segment
from hdm_widgets.hdm import inputs
from hdm_widgets.hdm.grid import Grid, check_count
from hdm_widgets.hdm.inference import Inference, Ways
from hdm_widgets.hdm.masks import MaskPatch, MaskStore
from hdm_widgets.hdm.memory import Known, Measured, Memory
from hdm_widgets.hdm.occlusion import Fill, Occlusion, OverriddenOcclusion, warn_of_clipping
from hdm_widgets.hdm.options import ScanOptions
from hdm_widgets.hdm.plan import Plan
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.scan import MaskMeasure, Measure, OutputMeasure, Scan, locate
from hdm_widgets.hdm.settings import ScanSettings
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.metrics.distance import (
    EmptyPolicy,
    ReferenceMask,
    hausdorff_distance,
    row_distance,
)
from hdm_widgets.segmenter import Model, ModelError, Segmenter

__all__ = ["HausdorffDistanceMasks"]


@dataclass(frozen=True)
class _Started:
    """A scan after its first picture, the one without a disc."""

    baseline: float
    baseline_mask: NDArray[np.bool_]
    base_mask: NDArray[np.bool_]
    inference: Inference
    scan: Scan


@dataclass(frozen=True)
class _Scan:
    """All that a scan needs, checked."""

    segmenter: Segmenter
    occluder: Occlusion | OverriddenOcclusion
    measure: Measure
    picture: Tensor
    truth: NDArray[Any]
    settings: ScanSettings
    wanted: NDArray[np.bool_]
    sizes: BatchSize
    inference: Ways
    keep_outputs: bool

    def warn(self) -> None:
        """Say what is allowed but may not be meant."""
        if not self.truth.any():
            warn_user("the segment is empty: every distance follows the policy for empty masks (empty=)")
        if self.truth.dtype.kind in "ui":
            classes = np.unique(self.truth[self.truth != 0])
            if len(classes) > 1:
                warn_user(
                    f"the segment has {len(classes)} different values besides 0 and all of them count; "
                    f"for one class of a label map use segment == {classes[0]}"
                )
        if self.settings.fill == "minimum" and not self.settings.own_mask:
            channel = self.settings.channel
            part = self.picture if channel == -1 else self.picture[channel]
            warn_of_clipping(part, normalize=self.settings.normalize)


class HausdorffDistanceMasks:
    """Explain a segmentation: how far does the mask move when a disc covers part of the picture?

    Parameters
    ----------
    image_width, image_height : int
        Size in pixels of the pictures to explain.

    Attributes
    ----------
    result : HDMResult or None
        Of the last scan, as far as it came: also after an error or an interrupt.

    Notes
    -----
    A filled disc slides over the picture; the model segments every occluded picture; the distance of
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
    >>> picture = torch.zeros(1, 16, 16)
    >>> picture[:, 4:8, 4:8] = 1
    >>> explainer = hdm.HausdorffDistanceMasks(16, 16)
    >>> explainer.generate_masks(circle_size=4, offset=4)
    >>> result = explainer.explain(lambda images: images[:, 0], picture, picture[0], "cpu", progress=False)
    >>> result.distances(hdm.RAW)[1].round(2)
    array([1.  , 4.24, 0.  , 0.  ])
    """

    def __init__(self, image_width: int, image_height: int) -> None:
        self.width = check_count("image_width", image_width)
        self.height = check_count("image_height", image_height)
        self.normalize = False
        self.result: HDMResult | None = None
        self._grid: Grid | None = None
        self._memory = Memory()

    def __repr__(self) -> str:
        discs = f", circle {self._grid.circle_size}, offset {self._grid.offset}" if self._grid else ""
        return f"{type(self).__name__}({self.width} x {self.height} px{discs})"

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
            Size of the disc in pixels. 15 to 25 with an offset of 5 suit a picture of 240 px.
        offset : int
            Pixels from one disc to the next; the grid has `height // offset` rows and `width // offset`
            columns.
        normalize : bool
            For pictures in [-1, 1]: the masks are -1 in the disc and 1 outside, not 0 and 1.

        Raises
        ------
        TypeError, ValueError
            If a size is not a whole number, below 1, or larger than the picture.
        """
        self._grid = Grid(self.height, self.width, circle_size, offset)
        self.normalize = bool(normalize)

    def apply_mask(self, image: Tensor, mask: Tensor) -> Tensor:
        """Cover part of a picture: the element-wise minimum. Override it to cover in another way.

        Parameters
        ----------
        image : torch.Tensor, (C, H, W), or (H, W) where one channel is occluded
        mask : torch.Tensor (H, W)
            0 in the disc and 1 outside, or -1 and 1 after `generate_masks(..., normalize=True)`.

        Returns
        -------
        torch.Tensor
            Of the shape of `image`.
        """
        return torch.min(image, mask)

    def calculate_distance(self, output: NDArray[Any], segment: NDArray[Any]) -> float:
        """Distance of one output to the truth. Override it to measure in another way.

        A scan measures masks in batches, with the Segmenter's threshold, and calls this only where a
        subclass overrides it. On its own it cuts probabilities (all values within [0, 1]) at 0.5 and logits at 0.

        Parameters
        ----------
        output : numpy.ndarray (H, W)
            The target's map as the model gave it, without activation.
        segment : numpy.ndarray (H, W)

        Returns
        -------
        float
        """
        probabilities = output.min() >= 0 and output.max() <= 1
        return hausdorff_distance(output > (0.5 if probabilities else 0.0), segment)

    @advise_on_keywords
    def explain(
        self,
        model: Model,
        image: Tensor | NDArray[Any],
        segment: Tensor | NDArray[Any],
        device: torch.device | str | None = None,
        channel: int = -1,
        *,
        batch_size: int | None = None,
        target: int | None = None,
        threshold: float | None = None,
        distance: inputs.Distance = "hausdorff",
        empty: EmptyPolicy = "diagonal",
        fill: Fill = "minimum",
        region: tuple[int, int, int, int] | None = None,
        progress: bool | Callable[[ScanUpdate], object] = True,
        inference: Ways = "auto",
        exact: bool = True,
        tolerance: float | None = None,
        keep_outputs: bool = True,
    ) -> HDMResult:
        """Measure every cell.

        Parameters
        ----------
        model : torch.nn.Module, callable or Segmenter
            See `Segmenter` for what a model may take and return.
        image : torch.Tensor or numpy.ndarray, (C, H, W) or (H, W)
            The picture, of a floating type, as the model expects it.
        segment : torch.Tensor or numpy.ndarray (H, W)
            The true mask, nonzero = segment.
        device : torch.device or str, optional
            Where to run; the model's own device by default.
        channel : int
            Occlude this channel only; -1 for all.
        batch_size : int, optional
            Pictures in one run of the model; by default as memory and a prompt response allow.
        target : int, optional
            The class that is the segment, for a model with several.
        threshold : float, optional
            Probability above which a pixel belongs to the segment; 0.5 by default.
        distance : {"hausdorff", "rows"}
            Hausdorff distance of the masks in pixels, or the published code's formula on the raw output.
        empty : {"diagonal", "inf", "nan", "raise"}
            The distance where the model's mask or the truth is empty, but not both.
        fill : {"minimum", "mean", "blur"} or float
            What the disc shows: the element-wise minimum with the mask, the channel's mean, the picture
            blurred beyond recognition, or a value.
        region : tuple of int, optional
            (row0, col0, row1, col1), half open, in pixels: only discs that touch it are run; the other cells
            take the value of the picture without a disc, and are not painted.
        progress : bool or callable
            Show a tqdm bar, or call this with every `ScanUpdate`.
        inference : {"auto", "windowed", "full"}
            How outputs are computed. "auto": only what a disc changes where that is quicker, else whole pictures;
            the masks are the same, but for pixels whose logit is within float rounding of the threshold. See
            `plan` for what that means for a model. "windowed": windows wherever the network can be traced.
            "full": the model itself, on whole pictures.
        exact : bool
            False: approximate, with a tolerance of 0.001 unless another is given.
        tolerance : float, optional
            Approximate: windows shrink to where the network's values changed by more than this share of their
            spread. `result.approximation` has the error, measured on cells that were computed exactly too.
        keep_outputs : bool
            Keep every mask: of each, the box in which it differs from the mask without a disc, one bit per pixel.

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
        updates = self.stream(
            model, image, segment, device, channel,
            batch_size=batch_size, target=target, threshold=threshold, distance=distance, empty=empty, fill=fill,
            region=region, inference=inference, exact=exact, tolerance=tolerance, keep_outputs=keep_outputs,
        )  # fmt: skip
        with closing(updates), tqdm(disable=progress is not True, unit="disc", desc="explaining", delay=0.5) as bar:
            for update in updates:
                if not update.done:
                    bar.reset(update.total)
                bar.update(len(update.cells))
                if callable(progress):
                    progress(update)
        assert self.result is not None  # the generator sets it before its first update  # noqa: S101
        return self.result

    @advise_on_keywords
    def stream(
        self,
        model: Model,
        image: Tensor | NDArray[Any],
        segment: Tensor | NDArray[Any],
        device: torch.device | str | None = None,
        channel: int = -1,
        *,
        batch_size: int | None = None,
        target: int | None = None,
        threshold: float | None = None,
        distance: inputs.Distance = "hausdorff",
        empty: EmptyPolicy = "diagonal",
        fill: Fill = "minimum",
        region: tuple[int, int, int, int] | None = None,
        inference: Ways = "auto",
        exact: bool = True,
        tolerance: float | None = None,
        keep_outputs: bool = True,
    ) -> Generator[ScanUpdate]:
        """Measure every cell, coarse to fine, with news after every batch.

        Leaving the loop ends the scan; `result` has what was measured.

        Parameters
        ----------
        model, image, segment, device, channel
            As for `explain`.
        batch_size, target, threshold, distance, empty, fill, region, inference, exact, tolerance, keep_outputs
            As for `explain`.

        Returns
        -------
        generator of ScanUpdate
            The first comes before any cell, with the distance of the picture without a disc.

        Raises
        ------
        TypeError, ValueError
            For bad input, at the call.
        ModelError
            As for `explain`, while it runs.
        """
        options = ScanOptions(
            batch_size, target, threshold, distance, empty, fill, region, inference, exact, tolerance, keep_outputs
        )
        scan = self._prepare(model, image, segment, device, channel, options)
        scan.warn()
        return self._run(scan)

    def plan(
        self,
        model: Model,
        image: Tensor | NDArray[Any],
        segment: Tensor | NDArray[Any],
        device: torch.device | str | None = None,
        channel: int = -1,
        **options: Any,
    ) -> Plan:
        """Say which way a scan would be computed, and why, without running it.

        The picture without a disc is run, and the network is traced if that is worth it.

        Parameters
        ----------
        model, image, segment, device, channel, **options
            As for `explain`.

        Returns
        -------
        Plan
        """
        scan = self._prepare(model, image, segment, device, channel, ScanOptions(**options))
        with scan.segmenter.borrowed():
            return self._begin(scan).inference.plan

    def _prepare(
        self,
        model: Model,
        image: Tensor | NDArray[Any],
        segment: Tensor | NDArray[Any],
        device: torch.device | str | None,
        channel: int,
        options: ScanOptions,
    ) -> _Scan:
        """Check everything and bring it into its form; nothing is run."""
        grid = self.grid
        segmenter = Segmenter.of(model, target=options.target, threshold=options.threshold, device=device)
        picture = check_image(image, self.height, self.width)
        truth = check_segment(segment, self.height, self.width)
        settings = ScanSettings(
            channel=inputs.check_channel(channel, len(picture)),
            normalize=self.normalize,
            fill=options.fill,
            distance="custom" if self._overrides("calculate_distance") else options.distance,
            empty=options.empty,
            own_mask=self._overrides("apply_mask"),
            tolerance=options.tolerance,
        )
        wanted = np.ones(grid.shape, dtype=bool)
        if options.region is not None:
            wanted = grid.touching(inputs.check_region(options.region, self.height, self.width))
        occluder: Occlusion | OverriddenOcclusion
        if settings.own_mask:
            occluder = OverriddenOcclusion(grid, picture, settings.channel, self.normalize, self.apply_mask)
        else:
            occluder = Occlusion.of(
                grid, picture, fill=settings.fill, channel=settings.channel, normalize=self.normalize
            )
        measure: Measure
        if settings.distance == "hausdorff":
            measure = MaskMeasure(ReferenceMask(truth, empty=settings.empty))
        else:
            measure = OutputMeasure(row_distance if settings.distance == "rows" else self.calculate_distance, truth)
        sizes = BatchSize(options.batch_size or segmenter.batch_size, picture, segmenter.run_device)
        return _Scan(
            segmenter, occluder, measure, picture, truth, settings, wanted, sizes, options.inference,
            options.keep_outputs,
        )  # fmt: skip

    def _overrides(self, method: str) -> bool:
        ours = getattr(HausdorffDistanceMasks, method)
        return getattr(getattr(self, method), "__func__", None) is not ours

    def _run(self, scan: _Scan) -> Generator[ScanUpdate]:
        grid, wanted = scan.occluder.grid, scan.wanted
        self.result = None
        started = time.perf_counter()
        with scan.segmenter.borrowed():
            state = self._begin(scan)
            values = np.full(grid.shape, np.nan)
            values[~wanted] = state.baseline
            measured = np.zeros(grid.shape, dtype=bool)
            masks = MaskStore(state.base_mask) if scan.keep_outputs else None
            total = int(np.count_nonzero(wanted))

            def result() -> HDMResult:
                return HDMResult(
                    values.copy(), state.baseline, measured.copy(), grid, scan.picture.numpy(), scan.truth != 0,
                    state.baseline_mask, scan.settings, state.inference.plan, state.scan.approximation, masks,
                    scan.occluder.picture,
                )  # fmt: skip

            self.result = result()
            yield ScanUpdate(
                np.empty((0, 2), np.intp), np.empty(0), 0, total, grid.stages()[0][0],
                time.perf_counter() - started, self.result,
            )  # fmt: skip
            try:
                for batch in state.scan.batches():
                    if batch.afresh:
                        measured[:] = False
                        values[wanted] = np.nan
                    at = batch.cells[:, 0], batch.cells[:, 1]
                    values[at] = batch.distances
                    measured[at] = True
                    if masks is not None:
                        masks.patches.update(zip(map(tuple, batch.cells.tolist()), batch.masks, strict=True))
                    self.result = result()
                    yield ScanUpdate(
                        batch.cells, batch.distances, int(np.count_nonzero(measured)), total, batch.stride,
                        time.perf_counter() - started, self.result,
                    )  # fmt: skip
            except ModelError as error:
                error.result = self.result
                raise

    def _begin(self, scan: _Scan) -> _Started:
        """Run the picture without a disc, and choose a way for the others."""
        segmenter, occluder, measure = scan.segmenter, scan.occluder, scan.measure
        inference = Inference(segmenter, occluder, scan.sizes, scan.inference, scan.settings.tolerance)
        try:
            before = time.perf_counter()
            raw = segmenter.raw(scan.picture[None])
            seconds = time.perf_counter() - before
            baseline, baseline_mask = base_distance, base_mask = measure.start(segmenter, raw)
            if not torch.equal(occluder.unchanged, scan.picture):
                raw = segmenter.raw(occluder.unchanged[None])
                base_distance, base_mask = measure.start(segmenter, raw)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported with its place
            locate(error, None)
        known = self._known(scan, raw)
        known[b""] = Measured(base_distance, MaskPatch((0, 0, 0, 0), b""))
        inference.start(raw, seconds, np.argwhere(scan.wanted))
        running = Scan(occluder, occluder.grid, scan.wanted, measure, inference, base_mask, known)
        return _Started(baseline, baseline_mask, base_mask, inference, running)

    def _known(self, scan: _Scan, raw: Tensor) -> Known:
        """What earlier scans measured with the same model, picture, truth and settings."""
        settings = scan.settings
        if settings.distance == "custom":
            # What a function of the user's depends on is not known.
            return Known(Memory(), b"")
        segmenter = scan.segmenter
        parts: list[Any] = [
            raw,
            scan.picture,
            scan.truth,
            scan.occluder.unchanged,
            settings.distance,
            settings.empty,
            repr(settings.tolerance),
        ]
        parts += [repr((segmenter.target, segmenter.threshold, segmenter.activation, segmenter.pad_to))]
        if isinstance(scan.occluder, Occlusion):
            parts.append(scan.occluder.inside)
        return self._memory.of(segmenter, *parts)
