"""Which backend computes a scan's outputs, and why."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdm_widgets.hdm.agreement import Agreement
from hdm_widgets.hdm.grid import spread
from hdm_widgets.hdm.occlusion import Changes
from hdm_widgets.hdm.options import ESTIMATE_TOLERANCE, InferenceMode
from hdm_widgets.hdm.trace_cache import traced
from hdm_widgets.models.errors import is_out_of_memory
from hdm_widgets.models.free_memory import free_memory
from hdm_widgets.models.segmenter import Segmenter
from hdm_widgets.windowed import Network, TracedModel, TraceError, WindowedInference

__all__ = ["WORTH_ESTIMATING_FACTOR", "Plan", "Planned", "Sampled", "is_finite", "make_plan"]

# Tracing takes one to two seconds the first time: run a scan that does not take much longer as it is.
_WORTH_TRACING_SECONDS = 3.0
# Cells sampled to estimate the cost of a scan.
_SAMPLE = 256
# Above this fraction of the full cost, time windows against full images before choosing.
_CLEAR_FRACTION = 0.3
# In inference="auto", windows that cost more than this fraction are not tried.
_HOPELESS_FRACTION = 0.9
# Images take less time each in a batch, small ones on a CPU and all on a GPU: at most so many are timed at once, of so
# many pixels together.
_TIMED_IMAGES, _TIMED_PIXELS = 8, 8 * 128 * 128
_TIMED_IMAGES_GPU, _TIMED_PIXELS_GPU = 128, 1 << 22
_STOPPED = "the scan was stopped"
_MEMORY_FRACTION = 0.5
# A first map is estimated where measuring takes at least so long, and an estimate so many times less.
_WORTH_ESTIMATING_SECONDS = 5.0
WORTH_ESTIMATING_FACTOR = 4.0
# First maps of networks in which this finer tolerance still makes estimates so many times cheaper are made with it.
# Where estimates gain less than the second factor, these coarser ones are tried in turn; each has to gain so many times
# more than the one before.
_FINE_TOLERANCE, _QUICK_FACTOR = 0.001, 50.0
_COARSER_TOLERANCES, _SLOW_FACTOR, _WORTH_COARSER = (0.03, 0.05), 8.0, 1.25
# Discs from which is learned how far changes go.
_PROBES = 12


@dataclass(frozen=True)
class Plan:
    """Which backend computes a scan's outputs, and why.

    Attributes
    ----------
    backend : {"windowed", "folded", "model"}
        "windowed": compute only what a disc changes, exactly. "folded": run whole images through the traced network,
        with batch norm folded into the convolutions. "model": run the model itself as it is.
    reason : str
        Why.
    window : tuple of int or None
        Rows and columns, in pixels, of the largest part of the output that a disc of this scan can change; None if
        that is not known.
    factor : float or None
        How many times fewer multiplications the windows need than whole images, on average over the cells: an
        estimate of the gain.
    measured_factor : float or None
        Time of a whole image over the time of a windowed disc, as this scan measured them.
    memory : int
        Bytes that the activations of the image without a disc and the windows of one batch take at most.
    verified : int
        Cells that the model itself computed too, for comparison.
    largest_difference : float
        Between the two, in the model's raw output.
    tolerance : float or None
        Of a scan that ends with estimates, else None.
    estimate_factor : float or None
        How many times fewer multiplications an estimate of a disc needs than a measurement; None if none is made.
    estimates_failed : str
        Why estimates were given up; empty where they were not.
    global_operation : str
        The operation that needs the whole image and ends the windows; empty if every operation is local.
    equal_within : float
        Largest difference that counts as equal: 1e-5 of the largest value (at least 1) of the raw output for the image
        without a disc, or four times what rounding makes of the model's own output; 0 if nothing was traced.
    rounding : str
        What rounding makes of the model's own output, where that was measured; else empty.
    sliding : tuple of int or None
        Rows and columns of the windows of a Segmenter that has some: "whole images" are the windows that a disc
        touches.
    """

    backend: Literal["windowed", "folded", "model"]
    reason: str
    window: tuple[int, int] | None = None
    factor: float | None = None
    measured_factor: float | None = None
    memory: int = 0
    verified: int = 0
    largest_difference: float = 0.0
    tolerance: float | None = None
    estimate_factor: float | None = None
    estimates_failed: str = ""
    global_operation: str = ""
    equal_within: float = 0.0
    rounding: str = ""
    sliding: tuple[int, int] | None = None

    @property
    def way(self) -> str:
        """Deprecated: use `backend`."""
        warnings.warn("Plan.way is Plan.backend now", DeprecationWarning, stacklevel=2)
        return self.backend

    def __str__(self) -> str:
        return self._measuring() + self._estimating()

    def _estimating(self) -> str:
        """What is estimated, and how."""
        if self.estimate_factor is None:
            why = self.estimates_failed
            return f"; estimates failed, so that every cell is measured ({why})" if why else ""
        what = "discs are estimated" if self.tolerance is not None else "a first map is estimated"
        return f"; {what}, with about {self.estimate_factor:.0f} times fewer multiplications"

    def _measuring(self) -> str:
        """How discs are measured."""
        rows, cols = self.sliding or (0, 0)
        windows = f"windows of {rows} × {cols} px that"  # noqa: RUF001 - as on screen
        if self.backend == "model" and self.sliding:
            return f"For each disc, the model is run on the {windows} it touches: {self.reason}"
        if self.backend == "model":
            return f"The model is run on the whole image for each disc: {self.reason}"
        if self.backend == "folded":
            what = f"For each disc, the {windows} it touches are" if self.sliding else "The whole image is"
            return f"{what} computed{'' if self.sliding else ' for each disc'}: {self.reason}"
        text = "Only what a disc changes is computed"
        if self.global_operation:
            text += f" {self.reason}"
        if self.sliding:
            text += f", in the {windows} it touches"
        if self.window:
            text += f", at most {self.window[0]} × {self.window[1]} px"  # noqa: RUF001 - as on screen
        factor, measured = (self.measured_factor, "") if self.measured_factor else (self.factor, "about ")
        if factor:
            text += f": {measured}{factor:.1f} times faster than whole {'windows' if self.sliding else 'images'}"
        if self.verified:
            text += f"; {self.verified} discs also run in full, equal"
            if self.rounding:
                text += f" within {self.equal_within:.2g}, as {self.rounding}"
        return text


@dataclass(frozen=True, eq=False)
class Planned:
    """A plan with what it is carried out with.

    Attributes
    ----------
    plan : Plan
    image_seconds : float
        Time of one whole image, by the quickest backend that was timed.
    network : Network or None
        The traced network, unless the model itself is run.
    base : WindowedInference or None
        The activations of the image without a disc, for windows.
    estimate : WindowedInference or None
        The same for estimates, of a network whose global operations are taken for local ones.
    agreement : Agreement or None
        Which outputs of the network count as equal to the model's.
    fresh : bool
        Whether the network was traced for this scan.
    tolerance : float
        Of `estimate`.
    """

    plan: Plan
    image_seconds: float
    network: Network | None = None
    base: WindowedInference | None = None
    estimate: WindowedInference | None = None
    agreement: Agreement | None = None
    fresh: bool = False
    tolerance: float = ESTIMATE_TOLERANCE


class Sampled(Protocol):
    """What a plan looks at of an `Occluder`."""

    @property
    def unchanged(self) -> Tensor:
        """What the model gets in one run (C, H, W) where no disc is."""

    @property
    def repeatable(self) -> bool:
        """Whether a disc can be made twice."""

    def boxes(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Boxes (k, 4) in which the discs of cells (n, 2) may change that, one for each run."""

    def changes(self, cells: NDArray[np.intp]) -> Changes:
        """What the discs of cells (n, 2) change of it."""


def make_plan(
    segmenter: Segmenter,
    occluder: Sampled,
    mode: InferenceMode,
    tolerance: float | None,
    cells: NDArray[np.intp],
    raw: Tensor,
    seconds: float,
    single: str = "",
    stopped: Callable[[], bool] = lambda: False,
    *,
    first_map: bool = True,
    batch: int = _TIMED_IMAGES,
) -> Planned:
    """Choose a backend for a scan; the network is traced if that is worth it.

    Parameters
    ----------
    segmenter : Segmenter
        While it is `evaluating`.
    occluder : Sampled
    mode : {"auto", "windowed", "full", "estimate"}
    tolerance : float or None
        Of a scan that ends with estimates.
    cells : numpy.ndarray (n, 2)
        The cells to run.
    raw : torch.Tensor (1, classes, H, W)
        The model's raw output for the image without a disc.
    seconds : float
        Time that this output took.
    single : str
        Why images must be run by the model itself, one at a time; empty where they need not.
    stopped : callable
        Says that nobody waits for the scan any more: then what takes long is left out.
    first_map : bool
        Whether anybody looks at a map that is not finished.
    batch : int
        As many whole images may be run together.
    """

    def run_model(reason: str) -> Planned:
        return Planned(Plan("model", reason), seconds)

    if mode == "full":
        return run_model("whole images were asked for")
    if single:
        return run_model(f"{single}, so they are run one at a time")
    if not len(cells):
        return run_model("there is no disc to run")
    if stopped():
        return run_model(_STOPPED)
    if not isinstance(segmenter.model, nn.Module):
        return run_model("it is a function, and only torch modules can be traced")
    sample = cells[:: max(1, len(cells) // _SAMPLE)]
    boxes = occluder.boxes(sample)
    images = len(cells) * len(boxes) / len(sample)
    on_cpu = segmenter.run_device.type == "cpu"
    if _WORTH_TRACING_SECONDS < seconds * images < (4 * _WORTH_TRACING_SECONDS if on_cpu else float("inf")):
        # The first run of a model takes longer than the others: on a GPU, seconds to load the kernels.
        seconds = _seconds(lambda: segmenter.raw(occluder.unchanged[None].clone()))
    image = occluder.unchanged.to(segmenter.run_device)
    expected = seconds * images
    if mode == "auto" and expected < _WORTH_TRACING_SECONDS and not traced.has(segmenter, image):
        return run_model(f"about {max(expected, 0.1):.1f} s in all, too little to gain")
    agreement = Agreement(segmenter)
    try:
        raw = agreement.compared(raw, image)
        fresh = not traced.has(segmenter, image)
        network, difference = _trace(segmenter, image, raw, agreement)
        if difference is not None and not fresh:
            # The module may have changed since it was traced.
            fresh = True
            network, difference = _trace(segmenter, image, raw, agreement, fresh=True)
        if difference is not None:
            reason = f"its traced network gives something else ({difference})"
            traced.refuse(segmenter, image, reason)
            return run_model(reason)
        if stopped():
            return run_model(_STOPPED)
        planned = _plan_traced(network, image, boxes, mode, seconds, batch)
        if (mode == "estimate" or (mode == "auto" and first_map)) and len(boxes) and not stopped():
            planned = _with_estimates(planned, traced.get(segmenter, image), occluder, sample, images, tolerance)
        plan = replace(planned.plan, equal_within=agreement.limit(raw), rounding=agreement.reason(raw))
        return replace(planned, plan=plan, agreement=agreement, fresh=fresh)
    except TraceError as error:
        return run_model(_for_user(str(error)))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return run_model("there is not enough memory for the activations of the image without a disc")


def _trace(
    segmenter: Segmenter, image: Tensor, raw: Tensor, agreement: Agreement, *, fresh: bool = False
) -> tuple[Network, str | None]:
    """The traced network, and how it differs from the model on the image without a disc."""
    network = traced.get(segmenter, image, fresh=fresh).network
    try:
        with torch.inference_mode(), agreement.comparing():
            ours = network.full(image[None])
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return network, type(error).__name__ + "".join(f": {line}" for line in str(error).splitlines()[:1])
    if ours.shape != raw.shape:
        return network, f"shape {tuple(ours.shape)} in place of {tuple(raw.shape)}"
    if agreement.equal(ours, raw, image):
        return network, None
    return network, f"up to {float((ours - raw).abs().max()):.2g} away"


def _plan_traced(
    network: Network,
    image: Tensor,
    boxes: NDArray[np.intp],
    mode: InferenceMode,
    seconds: float,
    batch: int,
) -> Planned:
    """Choose between windows and whole images of a traced network that is right."""
    if not len(boxes):
        return Planned(Plan("folded", "hardly any disc changes the image"), seconds, network)
    fraction = network.propagation.cost_fraction(boxes)
    labels = network.propagation.global_steps()
    operation = _for_user(labels[0]) if labels else ""
    windows = Plan(
        "windowed",
        f"up to {operation}, which needs the whole image" if operation else "every operation of the network is local",
        network.propagation.largest_window(boxes),
        1 / fraction,
        memory=network.bytes_of(1),
        global_operation=operation,
    )

    def run_whole(reason: str) -> Planned:
        return Planned(replace(windows, backend="folded", memory=0, reason=reason), seconds, network)

    if network.cached_bytes > _MEMORY_FRACTION * free_memory(image.device):
        return run_whole(
            f"windows need {network.cached_bytes / 1e9:.1f} GB for the activations of the image without a disc"
        )
    if mode in ("auto", "estimate") and fraction > _HOPELESS_FRACTION:
        return run_whole(
            f"{operation} needs the whole image" if operation else "a disc changes nearly all of the output"
        )
    with torch.inference_mode():
        on_cpu = image.device.type == "cpu"
        # Three runs only where it may be close, as on a GPU, whose kernels are loaded by the first.
        runs = 3 if fraction > _CLEAR_FRACTION or not on_cpu else 1
        most, pixels = (_TIMED_IMAGES, _TIMED_PIXELS) if on_cpu else (_TIMED_IMAGES_GPU, _TIMED_PIXELS_GPU)
        most = 1 if network.program.one_by_one else min(batch, most)
        count = max(1, min(most, pixels // image[0].numel()))
        images = image.expand(count, *image.shape).clone()
        folded = min(_seconds(lambda: network.full(images)) for _ in range(runs)) / count
        seconds = folded if runs > 1 else min(folded, seconds)
        return Planned(windows, seconds, network, WindowedInference(network, image))


def _with_estimates(
    planned: Planned,
    engine: TracedModel,
    occluder: Sampled,
    sample: NDArray[np.intp],
    images: float,
    tolerance: float | None,
) -> Planned:
    """The plan with estimates of all discs, if they were asked for, or are worth their time as a first map."""
    plan, network = planned.plan, engine.estimate
    asked = tolerance is not None
    cost = 1 / (plan.factor or 1) if plan.backend == "windowed" else 1.0
    worth = asked or planned.image_seconds * cost * images >= _WORTH_ESTIMATING_SECONDS
    if not (worth and occluder.repeatable):
        return planned
    image = occluder.unchanged.to(network.device)
    if network.cached_bytes + plan.memory > _MEMORY_FRACTION * free_memory(image.device):
        return planned
    with torch.inference_mode():
        base = WindowedInference(network, image)
        probes = occluder.changes(spread(sample, _PROBES))
        items = np.flatnonzero([bool(key) for key in probes.keys])
        if not len(items):
            return planned

        def content(chosen: NDArray[np.intp], boxes: NDArray[np.intp]) -> Tensor:
            return probes.content(items[chosen], boxes).to(network.device)

        def at(tolerance: float) -> tuple[WindowedInference, float]:
            limited = base.limited(base.reach(probes.boxes[items], content, tolerance))
            return limited, cost / limited.propagation.cost_fraction(probes.boxes[items])

        used = tolerance or ESTIMATE_TOLERANCE
        limited, factor = at(used)
        if not asked and factor >= _QUICK_FACTOR:
            fine, fine_factor = at(_FINE_TOLERANCE)
            if fine_factor >= _QUICK_FACTOR:
                limited, factor, used = fine, fine_factor, _FINE_TOLERANCE
        for coarser in () if asked else _COARSER_TOLERANCES:
            if factor >= _SLOW_FACTOR:
                break
            coarse, coarse_factor = at(coarser)
            if coarse_factor > _WORTH_COARSER * factor:
                limited, factor, used = coarse, coarse_factor, coarser
    if not asked and factor < WORTH_ESTIMATING_FACTOR:
        return planned
    plan = replace(plan, tolerance=tolerance, estimate_factor=factor)
    return replace(planned, estimate=limited, tolerance=used, plan=plan)


def _for_user(text: str) -> str:
    """A text with modules of the pipeline, by the names that they have in the user's model."""
    return re.sub(r" (in|of) model(?=$|[ :;])", "", re.sub(r" (in|of) model\.", r" \1 ", text))


def is_finite(values: Tensor) -> bool:
    """Whether all values are finite numbers."""
    # A sum may overflow where no value is wrong: then look at each.
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def _seconds(function: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    # A GPU is done when its values can be read.
    is_finite(function())
    return time.perf_counter() - started
