"""A scan: run the model on every occluded image and measure its mask, coarse to fine."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._bitmasks import MaskPatch
from hdm_widgets._masks import GivenMask, find_ambiguity, find_mark
from hdm_widgets._validation import warn_user
from hdm_widgets.hdm.backends import Backends, Inference
from hdm_widgets.hdm.cache import DistanceCache, Measured, ScanCache
from hdm_widgets.hdm.classes import check_classes
from hdm_widgets.hdm.measure import ClassMeasure, Measure
from hdm_widgets.hdm.noise import noise_of, repeated_runs
from hdm_widgets.hdm.occlusion import Occluder, Occlusion, clipping_doubts
from hdm_widgets.hdm.options import InferenceMode, ScanSettings
from hdm_widgets.hdm.plan import Plan, Planned, make_plan
from hdm_widgets.hdm.running_scan import RunningScan
from hdm_widgets.hdm.sliding_backends import SlidingBackends
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.models.batch_check import mixes_batches
from hdm_widgets.models.batch_size import BatchSize
from hdm_widgets.models.errors import raise_with_cell
from hdm_widgets.models.segmenter import Segmenter
from hdm_widgets.models.threads import limited_threads

__all__ = ["MeasureOver", "PreparedScan"]

_MIXED = "the model's output for an image depends on the other images of its batch"
# Cells sampled to see whether any disc changes the image.
_SAMPLE = 256


class MeasureOver(Protocol):
    """Measures windows over a raw output."""

    def __call__(self, raw: Tensor, unoccluded: NDArray[np.bool_] | None = None) -> Measure:
        """`unoccluded` is the mask (H, W) for the image without a disc; that of `raw` itself by default."""


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """Everything that a scan needs, checked; nothing has been run.

    Made by `HausdorffDistanceMasks.prepare`.

    Attributes
    ----------
    segmenter : Segmenter
    occluder : Occluder
        On the device that the model runs on.
    show : callable
        Takes a cell's row and column, returns its occluded image (C, H, W).
    measure_with : callable
        Takes a ground truth, returns what takes a raw output (1, classes, H, W), and the mask for the image without a
        disc if the output is another's, and returns the `Measure` of windows over it.
    image : torch.Tensor, float32 (C, H, W)
    truth : GivenMask (H, W)
        Empty where the model's own mask for the image without a disc takes its place.
    settings : ScanSettings
    inference : {"auto", "windowed", "full"}
    keep_outputs : bool
    sizes : BatchSize
        Of whole images.
    cache : ScanCache
    all_classes : bool
        Keep the classes of all pixels; the truth has class numbers, and the segmenter the class that is measured.
    quiet : bool
        Do not warn of what the model gives: another scan of the same image does, or nobody is there to read it.
    """

    segmenter: Segmenter
    occluder: Occluder
    show: Callable[[int, int], Tensor]
    measure_with: Callable[[GivenMask], MeasureOver]
    image: Tensor
    truth: GivenMask
    settings: ScanSettings
    inference: InferenceMode
    keep_outputs: bool
    sizes: BatchSize
    cache: ScanCache
    all_classes: bool = False
    quiet: bool = False

    def warn(self) -> None:
        """Warn about inputs that are valid but probably unintended."""
        for text in self.doubts():
            warn_user(text)

    def doubts(self) -> list[str]:
        """What `warn` says, each a text."""
        texts = []
        if not self.truth.mask.any() and not self.settings.of_prediction:
            ignored = self.truth.ignored
            left = " without the pixels that ignore= takes out" if ignored is not None and ignored.any() else ""
            texts.append(f"the segment is empty{left}: distances to it follow the policy for empty masks (empty=)")
        if self.all_classes:
            if (mark := find_mark(self.truth.values)) is not None:
                texts.append(
                    f"the segment has the value {mark}, which counts as a class; if it marks pixels that do not count, "
                    f"say so: ignore={mark}"
                )
        elif (
            ambiguity := find_ambiguity(self.truth, "the segment", "segment", target=self.settings.target)
        ) is not None:
            texts.append(ambiguity.text)
        if self.truth.lacks_mark:
            texts.append(
                f"no pixel of the segment has the value of ignore={self.truth.mark:g}; if it was made of a label map, "
                f"give the pixels that do not count: ignore=labels == {self.truth.mark:g}"
            )
        settings = self.settings
        if settings.fill == "minimum" and not settings.own_mask and not settings.own_range:
            texts += clipping_doubts(self.image, settings.channel, normalize=settings.normalize)
        return texts

    def plan(self) -> Plan:
        """Choose the backend; runs the image without a disc."""
        with self.segmenter.evaluating():
            return self._begun().inference.plan

    def updates(self, stopped: Callable[[], bool] = lambda: False) -> Generator[ScanUpdate]:
        """Run the scan; the first update is the image without a disc.

        Parameters
        ----------
        stopped : callable
            Says that nobody waits for an update any more: then the model is not run again before the first one.

        Raises
        ------
        ModelError
            Naming the cell; its `result` has what was measured before.
        """
        started = time.perf_counter()
        with self.segmenter.evaluating():
            yield from self._begun(stopped).updates(started)

    def _begun(self, stopped: Callable[[], bool] = lambda: False) -> RunningScan:
        """The scan with the image without a disc run, on as many threads as are the fastest."""
        with limited_threads(self.segmenter.run_device):
            return self._run_unoccluded(stopped)

    def _run_unoccluded(self, stopped: Callable[[], bool]) -> RunningScan:
        """Run the image without a disc, and choose a backend for the others."""
        segmenter, unchanged, truth = self.segmenter, self.occluder.unchanged, self.truth
        checked = self._runs_are_checked()
        try:
            before = time.perf_counter()
            # Clones: a model may write into what it is given.
            raw = segmenter.raw(self.image[None].clone())
            seconds = time.perf_counter() - before
            if self.settings.of_prediction:
                truth = self._prediction(raw)
            valid = segmenter.valid_pixels(*truth.mask.shape)
            if valid is not None:
                truth = truth.ignoring(~valid)
            measure_over = self.measure_with(truth)
            plain = measure = measure_over(raw)
            if isinstance(plain, ClassMeasure):
                check_classes(truth.values, plain.count)
            measure_over = partial(measure_over, unoccluded=plain.mask)
            if not torch.equal(unchanged.cpu(), self.image):
                raw = segmenter.raw(unchanged[None].clone())
                measure = measure_over(raw)
        except Exception as error:  # noqa: BLE001 - any error is reported with its place
            raise_with_cell(error, None)
        cells = np.argwhere(self.settings.asked(self.occluder.grid))
        changed = len(cells) and len(self.occluder.boxes(cells[:: max(1, len(cells) // _SAMPLE)]))
        runs = self._check_runs(raw, measure_over, stopped, checked=checked) if changed else []
        backends, planned = self._planned(raw, cells, seconds, stopped)
        inference = Inference(backends, planned, self.inference, raw)
        cached = self._cached(measure, raw, truth)
        return RunningScan(self, truth, plain, measure, inference, cached, runs)

    def _planned(
        self, raw: Tensor, cells: NDArray[np.intp], seconds: float, stopped: Callable[[], bool]
    ) -> tuple[Backends, Planned]:
        """The backends that this scan may use, and the one to begin with; `seconds` is the time of the raw output."""
        segmenter, occluder = self.segmenter, self.occluder
        single = _MIXED if segmenter.reading.batch_dependent else ""
        if segmenter.sliding is not None:
            sliding = SlidingBackends(segmenter, occluder, raw, cells)
            planned = sliding.plan(
                self.inference, self.settings.tolerance, cells, single, stopped, first_map=not self.quiet,
                batch=self.sizes.limit,
            )  # fmt: skip
            return sliding, planned
        planned = make_plan(
            segmenter, occluder, self.inference, self.settings.tolerance, cells, raw, seconds, single, stopped,
            first_map=not self.quiet, batch=self.sizes.limit,
        )  # fmt: skip
        return Backends(segmenter, occluder.unchanged, raw), planned

    def _prediction(self, raw: Tensor) -> GivenMask:
        """The model's own mask, or class numbers, in place of a ground truth."""
        mask: NDArray[np.bool_] = self.segmenter.binarize(raw)[0].cpu().numpy()
        values = self.segmenter.class_numbers(raw)[0].cpu().numpy() if self.all_classes else mask
        if not (mask.any() or self.all_classes or self.quiet):
            warn_user("the model draws nothing on the image without a disc: every distance follows empty=")
        given = GivenMask(values, mask, None)
        return given if self.truth.ignored is None else given.ignoring(self.truth.ignored)

    def _runs_are_checked(self) -> bool:
        """Whether the model has been run twice on one image, and in a batch if this scan runs batches."""
        # Who asks for single images gets what each image gives alone.
        image = self.segmenter.model_input(self.occluder.unchanged)
        return self.segmenter.runs_are_checked(image, batches=self.sizes.limit > 1)

    def _check_runs(
        self, raw: Tensor, measure_over: Callable[[Tensor], Measure], stopped: Callable[[], bool], *, checked: bool
    ) -> list[Measure]:
        """Run the image again, alone and in a batch, unless that has been done with this segmenter.

        Of a model that draws random numbers the runs are returned, else none. One that mixes the images of a batch is
        run on single images from now on. `checked` says what had been done before this scan: the first output of an
        image in several windows checks one of them.
        """
        segmenter, image = self.segmenter, self.occluder.unchanged[None]
        done = self._runs_are_checked()
        runs: list[Measure] = []
        mixes: bool | None = None
        try:
            if not stopped() and (not done or segmenter.reading.random):
                runs = repeated_runs(raw, lambda: segmenter.raw(image.clone()), measure_over)
            if not stopped() and not done:
                sample = segmenter.model_input(image[0])
                mixes = mixes_batches(segmenter, sample[None]) > 1 if self.sizes.limit > 1 else None
                segmenter.note_runs(sample, batch_dependent=mixes, random=bool(runs))
        except Exception as error:  # noqa: BLE001 - any error is reported with its place
            raise_with_cell(error, None)
        if (noise := noise_of(runs)) is not None and not (checked or self.quiet):
            warn_user(
                f"two runs of the model on one image differ, by up to {noise.pixels:,} px of the mask and "
                f"{noise.distance:.3g} of the distance: smaller differences in the map say nothing; is dropout on, "
                "or does the model sample?"
            )
        if mixes and not self.quiet:
            warn_user(f"{_MIXED}: images are run one at a time")
        if segmenter.reading.batch_dependent:
            self.sizes.run_singly()
        return runs

    def _cached(self, measure: Measure, raw: Tensor, truth: GivenMask) -> DistanceCache:
        """What earlier scans measured with the same model, image, truth and settings."""
        settings, segmenter = self.settings, self.segmenter
        unchanged = Measured(measure.distance, MaskPatch((0, 0, 0, 0), b""))
        if settings.distance == "custom":
            # What a user's function depends on is unknown.
            return DistanceCache(ScanCache(), b"", unchanged)
        key = (
            # Never serve a cached windowed result to inference="full".
            self.inference == "full",
            settings.distance, settings.empty, settings.spacing,
            segmenter.target, segmenter.threshold, segmenter.activation, segmenter.classes, segmenter.align,
            segmenter.layout, segmenter.pad_to, segmenter.output, segmenter.preprocess, segmenter.sliding,
            self.all_classes,
        )  # fmt: skip
        images = [self.image, self.occluder.unchanged]
        if isinstance(self.occluder, Occlusion):
            images.append(self.occluder.inside)
        # A class number or a float other than 1 matters to these alone.
        compared = truth.values if self.all_classes or settings.distance == "rows" else truth.mask
        truths = [compared] if truth.ignored is None else [compared, truth.ignored]
        return self.cache.for_scan(segmenter, unchanged, repr(key), raw, *truths, *images)
