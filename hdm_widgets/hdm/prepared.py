"""A scan that is checked and ready to run, and the news of its run."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._bitmasks import MaskPatch, MaskStore
from hdm_widgets._validation import warn_user
from hdm_widgets.hdm.backends import Inference
from hdm_widgets.hdm.cache import Known, Measured, Memory
from hdm_widgets.hdm.occlusion import Occlusion, OverriddenOcclusion, warn_of_clipping
from hdm_widgets.hdm.options import InferenceMode, ScanSettings
from hdm_widgets.hdm.plan import Plan
from hdm_widgets.hdm.result import HDMResult, ScanUpdate
from hdm_widgets.hdm.scan import Measure, Scan, locate
from hdm_widgets.models.batch_size import BatchSize
from hdm_widgets.models.segmenter import ModelError, Segmenter

__all__ = ["PreparedScan"]


@dataclass(frozen=True)
class _Started:
    """A scan after its first picture, the one without a disc."""

    baseline: float
    baseline_mask: NDArray[np.bool_]
    base_mask: NDArray[np.bool_]
    inference: Inference
    scan: Scan


@dataclass(frozen=True)
class PreparedScan:
    """All that a scan needs, checked.

    Attributes
    ----------
    segmenter : Segmenter
    occluder : Occlusion or OverriddenOcclusion
    measure : Measure
    picture : torch.Tensor (C, H, W)
    truth : numpy.ndarray (H, W)
    settings : ScanSettings
    wanted : numpy.ndarray, bool (rows, cols)
    sizes : BatchSize
    inference : {"auto", "windowed", "full"}
    keep_outputs : bool
    memory : Memory
    """

    segmenter: Segmenter
    occluder: Occlusion | OverriddenOcclusion
    measure: Measure
    picture: Tensor
    truth: NDArray[Any]
    settings: ScanSettings
    wanted: NDArray[np.bool_]
    sizes: BatchSize
    inference: InferenceMode
    keep_outputs: bool
    memory: Memory

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

    def plan(self) -> Plan:
        """Which way it would go; runs the picture without a disc."""
        with self.segmenter.evaluating():
            return self._begin().inference.plan

    def updates(self) -> Generator[ScanUpdate]:
        """Run it; the first news is the picture without a disc."""
        grid, wanted = self.occluder.grid, self.wanted
        started = time.perf_counter()
        with self.segmenter.evaluating():
            state = self._begin()
            values = np.full(grid.shape, np.nan)
            values[~wanted] = state.baseline
            measured = np.zeros(grid.shape, dtype=bool)
            masks = MaskStore(state.base_mask) if self.keep_outputs else None

            def news(cells: NDArray[np.intp], distances: NDArray[np.float64], stride: int) -> ScanUpdate:
                result = HDMResult(
                    values.copy(), state.baseline, measured.copy(), grid, self.picture.cpu().numpy(), self.truth != 0,
                    state.baseline_mask, self.settings, state.inference.plan, state.scan.approximation, masks,
                    self.occluder.picture,
                )  # fmt: skip
                done, total = int(np.count_nonzero(measured)), int(np.count_nonzero(wanted))
                return ScanUpdate(cells, distances, done, total, stride, time.perf_counter() - started, result)

            nothing = np.empty((0, 2), np.intp), np.empty(0)
            latest = news(*nothing, grid.stages()[0][0])
            yield latest
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
                    latest = news(batch.cells, batch.distances, batch.stride)
                    yield latest
            except ModelError as error:
                error.result = news(*nothing, latest.stride).result
                raise
            if (latest.result.plan, latest.result.approximation) != (state.inference.plan, state.scan.approximation):
                yield news(*nothing, latest.stride)

    def _begin(self) -> _Started:
        """Run the picture without a disc, and choose a way for the others."""
        segmenter, occluder, measure = self.segmenter, self.occluder, self.measure
        inference = Inference(segmenter, occluder, self.sizes, self.inference, self.settings.tolerance)
        try:
            before = time.perf_counter()
            # Clones: a model may write into what it is given.
            raw = segmenter.raw(self.picture[None].clone())
            seconds = time.perf_counter() - before
            baseline, baseline_mask = base_distance, base_mask = measure.start(segmenter, raw)
            if not torch.equal(occluder.unchanged.cpu(), self.picture.cpu()):
                raw = segmenter.raw(occluder.unchanged[None].clone())
                base_distance, base_mask = measure.start(segmenter, raw)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported with its place
            locate(error, None)
        inference.start(raw, seconds, np.argwhere(self.wanted))
        unchanged = Measured(base_distance, MaskPatch((0, 0, 0, 0), b""))
        known = self._known(unchanged, raw, approximate=inference.windowed)
        running = Scan(occluder, occluder.grid, self.wanted, measure, inference, base_mask, known)
        return _Started(baseline, baseline_mask, base_mask, inference, running)

    def _known(self, unchanged: Measured, raw: Tensor, *, approximate: bool) -> Known:
        """What earlier scans measured with the same model, picture, truth and settings."""
        settings, segmenter = self.settings, self.segmenter
        if settings.distance == "custom":
            # What a function of the user's depends on is not known.
            return Known(Memory(), b"", unchanged)
        said = (
            # Whoever asks for whole pictures gets nothing that windows have measured.
            self.inference == "full", settings.tolerance if approximate else None,
            settings.distance, settings.empty,
            segmenter.target, segmenter.threshold, segmenter.activation, segmenter.pad_to,
        )  # fmt: skip
        pictures = [self.picture, self.occluder.unchanged]
        if isinstance(self.occluder, Occlusion):
            pictures.append(self.occluder.inside)
        return self.memory.of(segmenter, unchanged, repr(said), raw, self.truth, *pictures)
