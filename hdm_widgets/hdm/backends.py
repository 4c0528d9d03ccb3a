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
from hdm_widgets.hdm.plan import Plan, Planned, is_finite
from hdm_widgets.hdm.trace_cache import traced
from hdm_widgets.models.segmenter import ModelOutputError, Segmenter
from hdm_widgets.windowed import Network, WindowedInference

__all__ = ["Backend", "Inference", "ModelBackend", "Outputs", "WindowsDifferError", "pasted"]

# Verify cells as long as that takes at most this fraction of the time, but at least and at most so many.
_VERIFY_FRACTION = 0.05
_VERIFY_LEAST = 2
_VERIFY_MOST = 8


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

    def outputs(self, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """Outputs of the cells `items` of `changes`, in any order; whole images all in one batch."""


class ModelBackend:
    """The model itself, on whole images."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter

    def outputs(self, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """See `Backend`."""
        yield Outputs.from_whole(items, self._segmenter.raw(changes.images(items)))


class FoldedBackend:
    """The traced network, with batch norm folded into the convolutions, on whole images."""

    def __init__(self, segmenter: Segmenter, network: Network) -> None:
        self._device, self._network = segmenter.run_device, network
        self._model = ModelBackend(segmenter)

    def outputs(self, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """See `Backend`."""
        with torch.inference_mode():
            raw = self._network.full(changes.images(items).to(self._device))
        if is_finite(raw):
            yield Outputs.from_whole(items, raw)
        else:
            # The model itself says what is wrong.
            yield from self._model.outputs(changes, items)


class WindowedBackend:
    """Windows of the traced network over the cached activations of the unchanged image.

    Parameters
    ----------
    device : torch.device
    base : WindowedInference
    tolerance : float or None
        Shrink windows to where activations changed by more than this fraction of their value range.
    """

    def __init__(self, device: torch.device, base: WindowedInference, tolerance: float | None) -> None:
        self._device, self._base, self.tolerance = device, base, tolerance

    def outputs(self, changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """See `Backend`.

        Raises
        ------
        ModelOutputError
            If an output is not finite; the model itself says more.
        """

        def content(chosen: NDArray[np.intp], boxes: NDArray[np.intp]) -> Tensor:
            return changes.content(items[chosen], boxes).to(self._device)

        for windows in self._base.run(changes.boxes[items], content, self.tolerance):
            # Reading the values also waits until a GPU has computed them.
            if not is_finite(windows.values):
                raise ModelOutputError("a window has NaN or infinity")
            yield Outputs(items[windows.items], windows.rows, windows.cols, windows.values)

    def exact(self) -> WindowedBackend:
        """The same without a tolerance."""
        return WindowedBackend(self._device, self._base, None)


class Inference:
    """Raw outputs of a scan's cells, by the planned backend.

    Some cells of a traced backend are verified: the model computes them too. A backend that turns out to be slower or
    wrong gives way to the next one: windows to the folded network, both to the model.

    Parameters
    ----------
    segmenter : Segmenter
        While it is `evaluating`.
    planned : Planned
    mode : {"auto", "windowed", "full"}
    unchanged : torch.Tensor (C, H, W)
        The image with an empty disc.
    raw : torch.Tensor (1, classes, H, W)
        Its raw output.

    Attributes
    ----------
    backend : Backend
        In use now.
    plan : Plan
        Of that backend, with what has been measured.
    """

    def __init__(
        self, segmenter: Segmenter, planned: Planned, mode: InferenceMode, unchanged: Tensor, raw: Tensor
    ) -> None:
        self._segmenter, self._mode, self._unchanged, self._raw = segmenter, mode, unchanged, raw
        self._network, self._image_seconds = planned.network, planned.image_seconds
        self._agreement, self._fresh = planned.agreement, planned.fresh
        self._model = ModelBackend(segmenter)
        self.plan: Plan = planned.plan
        self.backend: Backend = self._model
        if planned.base is not None:
            self.backend = WindowedBackend(segmenter.run_device, planned.base, planned.plan.tolerance)
        elif planned.network is not None:
            self.backend = FoldedBackend(segmenter, planned.network)
        self._verified: list[NDArray[np.intp]] = []
        self._windows = 0
        self._window_seconds = self._exact_seconds = self._traced_seconds = self._verify_seconds = 0.0

    @property
    def windowed(self) -> bool:
        """Whether the backend computes windows, in batches of its own; the others take whole images."""
        return isinstance(self.backend, WindowedBackend)

    @property
    def tolerance(self) -> float | None:
        """Of windows that approximate; None where outputs are exact."""
        return self.backend.tolerance if isinstance(self.backend, WindowedBackend) else None

    def outputs(self, cells: NDArray[np.intp], changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """Outputs of the cells `cells[items]`, in any order; whole images all in one batch.

        Raises
        ------
        WindowsDifferError
            If a cell that the model computed too differs; nothing measured so far can be trusted then.
        """
        if self.backend is self._model:
            yield from self._model.outputs(changes, items)
            return
        started = time.perf_counter()
        for outputs in self.backend.outputs(changes, items):
            seconds = time.perf_counter() - started
            self._traced_seconds += seconds
            if self.windowed:
                self._windows += len(outputs.items)
                self._window_seconds += seconds
            if self.tolerance is None:
                self._verify(cells, changes, outputs)
            yield outputs
            started = time.perf_counter()

    def exact_outputs(self, cells: NDArray[np.intp], changes: Changes, items: NDArray[np.intp]) -> Iterator[Outputs]:
        """Exact outputs of cells that windows approximate, to compare the two.

        Raises
        ------
        WindowsDifferError
            As for `outputs`.
        """
        assert isinstance(self.backend, WindowedBackend)  # nothing else approximates  # noqa: S101
        started = time.perf_counter()
        for outputs in self.backend.exact().outputs(changes, items):
            self._exact_seconds += time.perf_counter() - started
            self._verify(cells, changes, outputs)
            yield outputs
            started = time.perf_counter()

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
            self.backend = FoldedBackend(self._segmenter, self._network)
            self.plan = replace(
                self.plan, backend="folded", measured_factor=None,
                reason=f"only what it changes took {seconds / self._image_seconds:.1f} times as long",
            )  # fmt: skip

    def drop_tolerance(self) -> None:
        """Go on exactly if exact windows of the same cells took no longer."""
        if (
            isinstance(self.backend, WindowedBackend)
            and self._mode == "auto"
            and self._exact_seconds <= self._window_seconds
        ):
            self.backend = self.backend.exact()
            self._window_seconds = self._exact_seconds
            self.plan = replace(self.plan, tolerance=None)

    def drop_traced(self, reason: str) -> None:
        """Go over to the model itself."""
        self.backend = self._model
        self._verified = []
        self.plan = Plan("model", reason)

    def _verify(self, cells: NDArray[np.intp], changes: Changes, outputs: Outputs) -> None:
        """Compare one of these cells with the model itself, if that is due."""
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
        item = outputs.items[chosen : chosen + 1]
        image = changes.images(item)[0].to(self._segmenter.run_device)
        whole = self._segmenter.raw(image[None].clone())
        ours = pasted(self._raw, outputs, chosen)
        difference = float((whole - ours).abs().max())
        agreement = self._agreement
        assert agreement is not None  # every traced backend is planned with one  # noqa: S101
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
        unchanged = self._unchanged.to(self._segmenter.run_device)
        if self._fresh:
            traced.refuse(self._segmenter, unchanged, reason)
        else:
            # The module may have changed since it was traced: the next scan traces it afresh.
            traced.forget(self._segmenter, unchanged)
        raise WindowsDifferError(reason)
