"""The ways to a cell's raw output: the model itself, its traced network, windows of it; and the choice between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdm_widgets.hdm.occlusion import Changes
from hdm_widgets.hdm.options import InferenceMode
from hdm_widgets.hdm.plan import Plan
from hdm_widgets.hdm.trace_cache import traced
from hdm_widgets.models.batch_size import BatchSize, free_memory
from hdm_widgets.models.segmenter import ModelOutputError, Segmenter, is_out_of_memory
from hdm_widgets.windowed import Network, TraceError, WindowedInference

__all__ = ["Inference", "Outputs", "WindowsDifferError"]

# What two ways of computing the same sums may differ by, as a share of the largest value (at least 1).
_ROUNDING = 1e-5
# Tracing takes one to two seconds the first time: a scan that does not take longer by far is run as it is.
_WORTH_TRACING_SECONDS = 3.0
# What the discs of a scan change is looked at on so many cells first.
_SAMPLE = 256
# Windows that need more than this share of the multiplications are measured against whole pictures first.
_CLEAR_SHARE = 0.3
_MEMORY_SHARE = 0.5
# Cells are verified as long as that takes at most this share of the time, but so many at least.
_VERIFY_SHARE = 0.05
_VERIFY_LEAST = 2
_VERIFY_MOST = 8


class WindowsDifferError(Exception):
    """Windows and whole pictures disagree; the message says by how much and where."""


class Occluder(Protocol):
    """What a scan needs of an occlusion."""

    @property
    def unchanged(self) -> Tensor:
        """The picture (C, H, W) with an empty disc."""

    def reach(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Boxes (k, 4) in which the discs of cells (n, 2) may change the picture, one for each different picture."""

    def changes(self, cells: NDArray[np.intp]) -> Changes:
        """What the discs of cells (n, 2) change."""


@dataclass(frozen=True)
class Outputs:
    """Raw outputs of some cells, in windows of one size; elsewhere they are as for the unchanged picture.

    Attributes
    ----------
    items : numpy.ndarray (n,)
        Which of the cells that were asked for.
    rows, cols : numpy.ndarray (n,)
        Where each window begins.
    values : torch.Tensor (n, classes, h, w)
    """

    items: NDArray[np.intp]
    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    values: Tensor


class Inference:
    """Raw outputs of cells, by the way that is quickest here.

    Parameters
    ----------
    segmenter : Segmenter
        Borrowed.
    occluder : Occluder
    sizes : BatchSize
        For whole pictures.
    ways : {"auto", "windowed", "full"}
        "windowed": whatever it takes, if the network can be traced at all; "full": the model as it is.
    tolerance : float or None
        Of an approximate scan.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        occluder: Occluder,
        sizes: BatchSize,
        ways: InferenceMode,
        tolerance: float | None = None,
    ) -> None:
        self._segmenter, self._occluder, self.sizes = segmenter, occluder, sizes
        self._ways, self.tolerance = ways, tolerance
        self._network: Network | None = None
        self._base: WindowedInference | None = None
        self._verified: list[NDArray[np.intp]] = []
        self._whole_seconds = self._window_seconds = self._exact_seconds = self._traced_seconds = (
            self._verify_seconds
        ) = 0.0
        self._windows = 0
        self.base_raw = torch.empty(0)
        self.plan = Plan("model", "whole pictures were asked for")

    def start(self, base_raw: Tensor, seconds: float, cells: NDArray[np.intp]) -> None:
        """Choose a way for these cells (n, 2), knowing the unchanged picture's raw output and how long it took."""
        self.base_raw = base_raw
        self._whole_seconds = seconds
        if self._ways == "full":
            return
        if not len(cells):
            self.plan = Plan("model", "there is no disc to run")
            return
        model = self._segmenter.model
        if not isinstance(model, nn.Module):
            self.plan = Plan("model", "it is a function, and only torch modules can be traced")
            return
        picture = self._picture()
        sample = cells[:: max(1, len(cells) // _SAMPLE)]
        boxes = self._occluder.reach(sample)
        expected = seconds * len(cells) * len(boxes) / len(sample)
        if _WORTH_TRACING_SECONDS < expected < 4 * _WORTH_TRACING_SECONDS:
            # The first run of a model takes longer than the others.
            self._whole_seconds = _seconds(lambda: self._segmenter.raw(self._occluder.unchanged[None].clone()))
            expected *= self._whole_seconds / seconds
        if self._ways == "auto" and expected < _WORTH_TRACING_SECONDS and not traced.has(self._segmenter, picture):
            self.plan = Plan("model", f"about {max(expected, 0.1):.1f} s in all, too little to gain")
            return
        try:
            self._choose(picture, boxes)
        except TraceError as error:
            self.plan = Plan("model", str(error))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.plan = Plan("model", "there is not enough memory for the values of the unchanged picture")
        if self.plan.way == "model":
            self._network = self._base = None

    def run(
        self, cells: NDArray[np.intp], changes: Changes, items: NDArray[np.intp], *, exact: bool = False
    ) -> Iterator[Outputs]:
        """Outputs of the cells `cells[items]`, in whatever order; exact ones if the scan is, or if asked for.

        Raises
        ------
        WindowsDifferError
            If a cell that was also computed in full differs; nothing measured so far can be trusted then.
        """
        if self._base is None:
            return
        boxes = changes.boxes[items]

        def content(chosen: NDArray[np.intp], parts: NDArray[np.intp]) -> Tensor:
            return self._prepared(changes.content(items[chosen], parts))

        tolerance = None if exact else self.tolerance
        started = time.perf_counter()
        for windows in self._base.run(boxes, content, tolerance):
            # Looking at the values also waits for a GPU to have them.
            if not _finite(windows.values):
                # The model itself says what is wrong, and with which cell.
                raise ModelOutputError("a window has NaN or infinity")
            if exact:
                self._exact_seconds += time.perf_counter() - started
            elif tolerance == self.tolerance:
                self._windows += len(windows.items)
                self._window_seconds += time.perf_counter() - started
                self._traced_seconds += time.perf_counter() - started
            outputs = Outputs(items[windows.items], windows.rows, windows.cols, windows.values)
            if tolerance is None:
                self._verify(cells, changes, outputs)
            yield outputs
            started = time.perf_counter()

    @property
    def windowed(self) -> bool:
        """Whether windows are computed."""
        return self._base is not None

    def whole(self, cells: NDArray[np.intp], changes: Changes, items: NDArray[np.intp]) -> Outputs:
        """Outputs of the cells `cells[items]` from whole pictures.

        Raises
        ------
        WindowsDifferError
            As `run` does.
        """
        pictures = changes.pictures(items)
        corner = np.zeros(len(items), np.intp)
        if self.plan.way == "folded" and self._network is not None:
            started = time.perf_counter()
            with torch.inference_mode():
                raw = self._network.full(self._prepared(pictures))
            finite = _finite(raw)
            self._traced_seconds += time.perf_counter() - started
            if finite:
                outputs = Outputs(items, corner, corner, raw)
                self._verify(cells, changes, outputs)
                return outputs
        return Outputs(items, corner, corner, self._segmenter.raw(pictures))

    def by_model(self, changes: Changes, items: NDArray[np.intp]) -> Outputs:
        """Outputs of whole pictures by the model itself, whatever the way."""
        corner = np.zeros(len(items), np.intp)
        return Outputs(items, corner, corner, self._segmenter.raw(changes.pictures(items)))

    def reconsider(self) -> None:
        """Go over to whole pictures if windows have turned out to be slower."""
        if self._base is None or self._ways == "windowed" or not self._windows:
            return
        each = self._window_seconds / self._windows
        self.plan = replace(self.plan, measured_factor=self._whole_seconds / each)
        if each > self._whole_seconds:
            self._base = None
            self.plan = replace(
                self.plan, way="folded", measured_factor=None,
                reason=f"windows took {each / self._whole_seconds:.1f} times as long",
            )  # fmt: skip

    def drop_tolerance(self) -> None:
        """Go on exactly if the same cells took no longer so."""
        if self._ways == "auto" and self._exact_seconds <= self._window_seconds:
            self.tolerance = None
            self._window_seconds = self._exact_seconds
            self.plan = replace(self.plan, tolerance=None)

    def distrust(self, reason: str) -> None:
        """Go over to the model itself."""
        self._base = self._network = None
        self._verified = []
        self.plan = Plan("model", reason)

    def _picture(self) -> Tensor:
        return self._prepared(self._occluder.unchanged)

    def _prepared(self, pictures: Tensor) -> Tensor:
        return pictures.to(self._segmenter.run_device)

    def _choose(self, picture: Tensor, boxes: NDArray[np.intp]) -> None:
        network, difference = self._traced(picture)
        if difference is not None:
            # The module may have changed since it was traced.
            network, difference = self._traced(picture, fresh=True)
            if difference is not None:
                self.plan = Plan("model", f"its traced network gives something else ({difference})")
                return
        self._network = network
        if not len(boxes):
            self.plan = Plan("folded", "hardly any disc changes the picture")
            return
        share, window = network.propagation.cost_fraction(boxes), network.propagation.largest_window(boxes)
        # The user's model is the pipeline's only part.
        wide = [
            f"{label} ".replace(" in model.", " in ").replace(" in model ", "").strip()
            for label in network.propagation.global_steps()
        ]
        memory = network.cached_bytes + network.batch_bytes
        estimate = Plan("windowed", "", window, 1 / share, memory=memory, tolerance=self.tolerance)
        if wide:
            estimate = replace(estimate, reason=f"up to {wide[0]}, which looks at the whole picture")
        else:
            estimate = replace(estimate, reason="every operation of the network is local")
        room = _MEMORY_SHARE * free_memory(picture.device)
        if network.cached_bytes > room:
            self.plan = replace(
                estimate, way="folded", memory=0,
                reason=f"windows need {network.cached_bytes / 1e9:.1f} GB for the values of the unchanged picture",
            )  # fmt: skip
            return
        if self._ways == "auto" and share > 0.95:
            why = f"{wide[0]} looks at the whole picture" if wide else "a disc reaches nearly all of the output"
            self.plan = replace(estimate, way="folded", reason=why, memory=0)
            return
        with torch.inference_mode():
            if share > _CLEAR_SHARE:
                # Only where it may be close: three runs, the first of which warms up.
                self._whole_seconds = min(_seconds(lambda: network.full(picture[None])) for _ in range(3))
            elif (folded := _seconds(lambda: network.full(picture[None]))) < self._whole_seconds:
                self._whole_seconds = folded
            self._base = WindowedInference(network, picture)
        self.plan = estimate

    def _traced(self, picture: Tensor, *, fresh: bool = False) -> tuple[Network, str | None]:
        """The traced network, and in what it differs from the model on the unchanged picture."""
        network = traced.get(self._segmenter, picture, fresh=fresh).network
        try:
            with torch.inference_mode():
                ours = network.full(picture[None])
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return network, type(error).__name__ + "".join(f": {line}" for line in str(error).splitlines()[:1])
        if ours.shape != self.base_raw.shape:
            return network, f"shape {tuple(ours.shape)} in place of {tuple(self.base_raw.shape)}"
        difference = float((ours - self.base_raw).abs().max())
        # NaN is no agreement.
        return network, None if difference <= _rounding(self.base_raw) else f"up to {difference:.2g} away"

    def _verify(self, cells: NDArray[np.intp], changes: Changes, outputs: Outputs) -> None:
        """Compare one of these cells with the model itself, if it is time to."""
        count = len(self._verified)
        due = self._verify_seconds <= _VERIFY_SHARE * self._traced_seconds or count < _VERIFY_LEAST
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
        whole = self._segmenter.raw(changes.pictures(outputs.items[chosen : chosen + 1]))
        ours = pasted(self.base_raw, outputs, chosen)
        difference = float((whole - ours).abs().max())
        self._verified.append(asked[chosen])
        self._verify_seconds += time.perf_counter() - started
        largest = max(self.plan.largest_difference, difference)
        self.plan = replace(self.plan, verified=count + 1, largest_difference=largest)
        if not difference <= _rounding(whole):
            row, col = asked[chosen].tolist()
            what = "windows were" if self.windowed else "the folded network was"
            # The module may have changed since it was traced: the next scan traces it afresh.
            traced.forget(self._segmenter, self._picture())
            raise WindowsDifferError(f"at cell (row {row}, column {col}) {what} {difference:.2g} away")


def pasted(base: Tensor, outputs: Outputs, index: int) -> Tensor:
    """The whole raw output (1, classes, H, W) of one cell."""
    whole = base.clone()
    height, width = outputs.values.shape[-2:]
    row, col = int(outputs.rows[index]), int(outputs.cols[index])
    whole[0, :, row : row + height, col : col + width] = outputs.values[index]
    return whole


def _finite(values: Tensor) -> bool:
    # A sum may overflow where no value is wrong: look again before saying so.
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def _rounding(raw: Tensor) -> float:
    return _ROUNDING * max(1.0, float(raw.abs().max()))


def _seconds(function: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    # A GPU is done when its values can be read.
    _finite(function())
    return time.perf_counter() - started
