"""Compute the raw outputs of a scan's cells: by the model, by its traced network, or in windows of that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.hdm.occlusion import Changes
from hdm_widgets.hdm.options import InferenceMode
from hdm_widgets.hdm.plan import WORTH_ESTIMATING_FACTOR, Plan, Planned, is_finite
from hdm_widgets.hdm.trace_cache import traced
from hdm_widgets.models.errors import is_out_of_memory
from hdm_widgets.models.free_memory import free_memory
from hdm_widgets.models.segmenter import ModelOutputError, Segmenter
from hdm_widgets.models.threads import limited_threads
from hdm_widgets.windowed import Network, TypicalActivations, WindowedInference

__all__ = [
    "Backend", "Backends", "EstimatingBackend", "FoldedBackend", "Inference", "ModelBackend", "Outputs",
    "WindowedBackend", "WindowsDifferError", "pasted",
]  # fmt: skip

# Verify cells as long as that takes at most this fraction of the time, but at least and at most so many.
_VERIFY_FRACTION = 0.05
_VERIFY_LEAST = 2
_VERIFY_MOST = 8
# Of free memory, the part that typical activations take at most while they are computed, and how many times those of an
# image they are.
_MEMORY_FRACTION, _ACTIVATIONS_AT_ONCE = 0.25, 5
# Bytes of whole outputs that are made at a time.
_OUTPUT_BYTES = 64 << 20


class WindowsDifferError(Exception):
    """A traced backend and the model disagree; the message says by how much and where."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """Raw outputs of some cells, in windows of one size; elsewhere they equal the output for the unchanged image.

    Attributes
    ----------
    items : numpy.ndarray (n,)
        Positions among the cells that were asked for.
    rows, cols : numpy.ndarray (n,)
        Where each window begins.
    values : torch.Tensor (n, classes, h, w)
    """

    items: NDArray[np.intp]
    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    values: Tensor

    @classmethod
    def from_whole(cls, items: NDArray[np.intp], raw: Tensor) -> Outputs:
        """Outputs of whole images."""
        corner = np.zeros(len(items), np.intp)
        return cls(items, corner, corner, raw)


def pasted(unchanged: Tensor, outputs: Outputs, index: int) -> Tensor:
    """The whole raw output (1, classes, H, W) of one cell: its window over the output for the unchanged image."""
    whole = unchanged.clone()
    height, width = outputs.values.shape[-2:]
    row, col = int(outputs.rows[index]), int(outputs.cols[index])
    whole[0, :, row : row + height, col : col + width] = outputs.values[index]
    return whole


class Backend(Protocol):
    """Computes raw outputs."""

    @property
    def propagates(self) -> bool:
        """Whether only what a disc changes is computed, in batches of the backend's own."""

    @property
    def setup_seconds(self) -> float:
        """Seconds spent so far on what later discs need no more."""

    def outputs(self, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """Outputs of the cells `items` of `changes`, in any order; whole images all in one batch."""


class ModelBackend:
    """The model itself, on whole images."""

    propagates = False
    setup_seconds = 0.0

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter

    def outputs(self, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """See `Backend`."""
        yield Outputs.from_whole(items, self._segmenter.raw(changes.images(items)))


class FoldedBackend(ModelBackend):
    """The traced network, with batch norm folded into the convolutions, on whole images."""

    def __init__(self, segmenter: Segmenter, network: Network) -> None:
        super().__init__(segmenter)
        self._device, self._network = segmenter.run_device, network

    def outputs(self, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """See `Backend`."""
        with torch.inference_mode():
            raw = self._network.full(changes.images(items).to(self._device))
        if is_finite(raw):
            yield Outputs.from_whole(items, raw)
        else:
            # The model itself says what is wrong.
            yield from super().outputs(changes, items)


class WindowedBackend:
    """Windows of the traced network over the cached activations of the unchanged image.

    Parameters
    ----------
    device : torch.device
    base : WindowedInference
    """

    propagates = True
    setup_seconds = 0.0

    def __init__(self, device: torch.device, base: WindowedInference) -> None:
        self._device, self._base = device, base

    def outputs(self, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """See `Backend`.

        Raises
        ------
        ModelOutputError
            If an output is not finite; the model itself says more.
        """

        def content(chosen: NDArray[np.intp], boxes: NDArray[np.intp]) -> Tensor:
            return changes.content(items[chosen], boxes).to(self._device)

        for windows in self._base.run(changes.boxes[items], content):
            # Reading the values also waits until a GPU has computed them.
            if not is_finite(windows.values):
                raise ModelOutputError("a window has NaN or infinity")
            yield Outputs(items[windows.items], windows.rows, windows.cols, windows.values)


class EstimatingBackend(WindowedBackend):
    """Windows of a network whose global operations are taken for local ones.

    Parameters
    ----------
    device : torch.device
    base : WindowedInference
        Over the activations of the unchanged image.
    """

    def __init__(self, device: torch.device, base: WindowedInference) -> None:
        super().__init__(device, base)
        self._typical: TypicalActivations | None = None
        # Whether outputs differ from that of the unchanged image outside of their windows too.
        self._everywhere = False

    @property
    def can_learn(self) -> bool:
        """Whether images that are computed in full make estimates better, and there is memory for them."""
        needed = _ACTIVATIONS_AT_ONCE * self._base.network.cached_bytes
        return self._base.has_summaries and needed <= _MEMORY_FRACTION * free_memory(self._device)

    def compute_in_full(self, changes: Changes, item: int) -> Outputs:
        """The output of a cell computed in full, after which `complete_from_these` knows what cells have in common."""
        self._typical = self._typical or TypicalActivations(self._base)
        raw = self._typical.add(changes.images(np.array([item]))[0].to(self._device))
        return Outputs.from_whole(np.array([item]), raw)

    def complete_from_these(self) -> None:
        """Complete windows from what the cells that were computed in full have in common."""
        assert self._typical is not None  # else nothing was computed  # noqa: S101
        self._base, self._typical, self._everywhere = self._typical.inference(), None, True

    def forget(self) -> None:
        """Go on without the cells that were computed in full."""
        self._typical = None

    def outputs(self, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """See `Backend`."""
        for outputs in super().outputs(changes, items):
            yield from self._whole(outputs) if self._everywhere else [outputs]

    def _whole(self, outputs: Outputs) -> Iterator[Outputs]:
        """Whole outputs, as all of an output differs from that of the unchanged image."""
        around = self._base.output
        count = max(1, _OUTPUT_BYTES // (around.numel() * around.element_size()))
        for start in range(0, len(outputs.items), count):
            items = outputs.items[start : start + count]
            whole = [pasted(around, outputs, index) for index in range(start, start + len(items))]
            yield Outputs.from_whole(items, torch.cat(whole))


class Backends:
    """Makes the backends of a scan: for images that the model takes as a whole.

    Parameters
    ----------
    segmenter : Segmenter
        While it is `evaluating`.
    unchanged : torch.Tensor (C, H, W)
        The image with an empty disc.
    raw : torch.Tensor (1, classes, H, W)
        Its raw output.

    Attributes
    ----------
    segmenter : Segmenter
        Runs the model once.
    sample : torch.Tensor (C, h, w)
        What the model gets of the unchanged image in one run.
    """

    def __init__(self, segmenter: Segmenter, unchanged: Tensor, raw: Tensor) -> None:
        self.segmenter, self.sample, self._raw = segmenter, unchanged, raw

    def model(self) -> Backend:
        """The model itself."""
        return ModelBackend(self.segmenter)

    def folded(self, network: Network) -> Backend:
        """The traced network."""
        return FoldedBackend(self.segmenter, network)

    def windowed(self, base: WindowedInference, plan: Plan) -> Backend:  # noqa: ARG002 - for other backends
        """What a disc changes, completed from the activations of the sample."""
        return WindowedBackend(self.segmenter.run_device, base)

    def estimating(self, base: WindowedInference, plan: Plan) -> Backend:  # noqa: ARG002 - for other backends
        """The same, for estimates."""
        return EstimatingBackend(self.segmenter.run_device, base)

    def verified(
        self, backend: Backend, changes: Changes, outputs: Outputs, index: int, *, afresh: bool
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """One of a backend's outputs, the model's own output of the same input, and that input.

        With `afresh`, nothing that was computed before counts: this thread computes in another precision now.
        """
        image = changes.images(outputs.items[index : index + 1])[0].to(self.segmenter.run_device)
        unchanged = self._raw
        if afresh:
            unchanged = self.segmenter.raw(self.sample[None].clone())
            (outputs,), index = backend.outputs(changes, outputs.items[index : index + 1]), 0
        return pasted(unchanged, outputs, index), self.segmenter.raw(image[None].clone()), image


class Inference:
    """Raw outputs of a scan's cells, by the planned backend.

    Some cells of a traced backend are verified: the model computes them too. A backend that turns out to be slower or
    wrong gives way to the next one: windows to the folded network, both to the model.

    Parameters
    ----------
    backends : Backends
    planned : Planned
    mode : {"auto", "windowed", "full"}
    raw : torch.Tensor (1, classes, H, W)
        Raw output for the image with an empty disc.

    Attributes
    ----------
    backend : Backend
        In use now.
    estimator : Backend or None
        Estimates outputs; None where that is not worth it, or has failed.
    plan : Plan
        Of that backend, with what has been measured.
    tolerance : float
        Of estimates.
    learned : bool
        Whether estimates know some cells that were computed in full.
    """

    def __init__(self, backends: Backends, planned: Planned, mode: InferenceMode, raw: Tensor) -> None:
        self._backends, self._mode, self._raw = backends, mode, raw
        self._network, self._image_seconds = planned.network, planned.image_seconds
        self._agreement, self._fresh = planned.agreement, planned.fresh
        self.tolerance = planned.tolerance
        self._model = backends.model()
        self.plan: Plan = planned.plan
        self.backend: Backend = self._model
        if planned.base is not None:
            self.backend = backends.windowed(planned.base, planned.plan)
        elif planned.network is not None:
            self.backend = backends.folded(planned.network)
        self.estimator = None if planned.estimate is None else backends.estimating(planned.estimate, planned.plan)
        self.learned = False
        self._verified: list[NDArray[np.intp]] = []
        self._windows = self._estimates = 0
        self._window_seconds = self._traced_seconds = self._verify_seconds = self._estimate_seconds = 0.0

    def _batches(self, backend: Backend, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """What a backend computes, each batch with as many threads as are the fastest then."""
        batches = backend.outputs(changes, items)
        while True:
            # Between batches, the threads are the caller's.
            with limited_threads(self._backends.segmenter.run_device):
                outputs = next(batches, None)
            if outputs is None:
                return
            yield outputs

    @property
    def windowed(self) -> bool:
        """Whether the backend computes windows, in batches of its own; the others take whole images."""
        return self.backend.propagates

    def outputs(self, cells: NDArray[np.intp], changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """Outputs of the cells `cells[items]`, in any order; whole images all in one batch.

        Raises
        ------
        WindowsDifferError
            If a cell that the model computed too differs; nothing measured so far can be trusted then.
        """
        if self.backend is self._model:
            yield from self._batches(self._model, changes, items)
            return
        started, setup = time.perf_counter(), self.backend.setup_seconds
        for outputs in self._batches(self.backend, changes, items):
            seconds = time.perf_counter() - started - (self.backend.setup_seconds - setup)
            self._traced_seconds += seconds
            if self.windowed:
                self._windows += len(outputs.items)
                self._window_seconds += seconds
            self._verify(self.backend, cells, changes, outputs)
            yield outputs
            started, setup = time.perf_counter(), self.backend.setup_seconds

    def estimates(self, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """Estimated outputs of the cells `items` of `changes`, in any order."""
        assert self.estimator is not None  # else nobody asks  # noqa: S101
        started = time.perf_counter()
        for outputs in self._batches(self.estimator, changes, items):
            self._estimate_seconds += time.perf_counter() - started
            self._estimates += len(outputs.items)
            yield outputs
            started = time.perf_counter()

    def learn(self, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """Compute the cells `items` of `changes` in full, one after the other, where that makes estimates better.

        Their outputs are yielded where that of the first equals the model's.
        """
        estimator = self.estimator
        if not isinstance(estimator, EstimatingBackend) or not estimator.can_learn:
            return
        equal: bool | None = None
        for item in items.tolist():
            try:
                with limited_threads(self._backends.segmenter.run_device):
                    outputs = estimator.compute_in_full(changes, item)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                estimator.forget()
                return
            if is_finite(outputs.values):
                equal = self._is_models(changes, outputs) if equal is None else equal
                if equal:
                    yield outputs
        estimator.complete_from_these()
        # Estimates take longer from here on.
        self._estimate_seconds, self._estimates = 0.0, 0
        self.learned = True

    def _is_models(self, changes: Changes, outputs: Outputs) -> bool:
        """Whether the whole output of a cell is the one that the model gives."""
        assert self._agreement is not None  # every traced network is planned with one  # noqa: S101
        segmenter = self._backends.segmenter
        image = changes.images(outputs.items)[0].to(segmenter.run_device)
        with self._agreement.comparing():
            whole = segmenter.raw(image[None].clone())
        return self._agreement.equal(outputs.values, whole, image)

    @property
    def estimates_are_slower(self) -> bool:
        """Whether an estimate has taken no less time than a measurement in windows; not where estimates have failed."""
        if self.estimator is None or not (self.windowed and self._windows and self._estimates):
            return False
        return self._estimate_pace >= self._measuring_pace

    @property
    def first_map_is_slow(self) -> bool:
        """Whether estimates have taken longer than a first map is worth; not where they have failed."""
        if self.estimator is None or not self._estimates:
            return False
        return self._estimate_pace * WORTH_ESTIMATING_FACTOR > self._measuring_pace

    def seconds_for(self, estimates: int, measurements: int) -> float:
        """Seconds that so many of each will take, as far as is known; infinite before the first estimate."""
        estimating = estimates * self._estimate_pace if estimates else 0.0
        return estimating + measurements * self._measuring_pace

    @property
    def _estimate_pace(self) -> float:
        return self._estimate_seconds / self._estimates if self._estimates else float("inf")

    @property
    def _measuring_pace(self) -> float:
        if not self.windowed:
            return self._image_seconds
        # As it is planned, until some are measured.
        planned = self._image_seconds / (self.plan.factor or 1.0)
        return self._window_seconds / self._windows if self._windows else planned

    def whole(self, outputs: Outputs, index: int) -> Tensor:
        """The whole raw output (1, classes, H, W) of one cell."""
        return pasted(self._raw, outputs, index)

    def model_output(self, changes: Changes, item: int) -> Outputs:
        """The output of one cell by the model itself, whatever the backend."""
        return next(self._model.outputs(changes, np.array([item])))

    def drop_slower(self) -> None:
        """Go over to whole images if windows have turned out to be slower."""
        if not self.windowed or self._mode == "windowed" or not self._windows:
            return
        seconds = self._window_seconds / self._windows
        self.plan = replace(self.plan, measured_factor=self._image_seconds / seconds)
        if seconds > self._image_seconds and self._network is not None:
            self.backend = self._backends.folded(self._network)
            self.plan = replace(
                self.plan, backend="folded", measured_factor=None,
                reason=f"only what it changes took {seconds / self._image_seconds:.1f} times as long",
            )  # fmt: skip

    def drop_traced(self, reason: str) -> None:
        """Go over to the model itself."""
        self.backend, self.estimator = self._model, None
        self._verified = []
        self.plan = Plan("model", reason, sliding=self.plan.sliding)

    def drop_estimates(self, reason: str = "") -> None:
        """Measure everything; `reason` says what failed."""
        self.estimator = None
        self.plan = replace(self.plan, tolerance=None, estimate_factor=None, estimates_failed=reason)

    def _verify(self, backend: Backend, cells: NDArray[np.intp], changes: Changes, outputs: Outputs) -> None:
        """Compare one of these cells of a backend with the model itself, if that is due."""
        count = len(self._verified)
        due = self._verify_seconds <= _VERIFY_FRACTION * self._traced_seconds or count < _VERIFY_LEAST
        if count >= _VERIFY_MOST or not due:
            return
        started = time.perf_counter()
        asked = cells[outputs.items]
        # The first is next to a corner, every other one as far as possible from those before.
        away = asked.sum(1) * -1 if not count else np.min(
            [np.abs(asked - cell).max(1) for cell in self._verified], axis=0
        )  # fmt: skip
        chosen = int(np.argmax(away))
        if count and away[chosen] == 0:
            return
        agreement = self._agreement
        assert agreement is not None  # every traced backend is planned with one  # noqa: S101
        with agreement.comparing():
            ours, whole, image = self._backends.verified(backend, changes, outputs, chosen, afresh=agreement.tf32)
        difference = float((whole - ours).abs().max())
        self._verified.append(asked[chosen])
        self._verify_seconds += time.perf_counter() - started
        self.plan = replace(
            self.plan, verified=count + 1, largest_difference=max(self.plan.largest_difference, difference)
        )
        if agreement.equal(ours, whole, image):
            limit, rounding = agreement.limit(self._raw), agreement.reason(self._raw)
            self.plan = replace(self.plan, equal_within=limit, rounding=rounding)
            return
        row, col = asked[chosen].tolist()
        what = "windows were" if self.windowed else "the folded network was"
        reason = f"at cell (row {row}, column {col}) {what} {difference:.2g} away"
        segmenter = self._backends.segmenter
        sample = self._backends.sample.to(segmenter.run_device)
        if self._fresh:
            traced.refuse(segmenter, sample, reason)
        else:
            # The module may have changed since it was traced: the next scan traces it afresh.
            traced.forget(segmenter, sample)
        raise WindowsDifferError(reason)
