"""Distances and masks from raw outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._masks import GivenMask, to_array
from hdm_widgets.hdm.backends import Outputs, pasted
from hdm_widgets.hdm.named_measures import windowed_measure
from hdm_widgets.hdm.options import ScanSettings
from hdm_widgets.metrics.distance import ReferenceMask, hausdorff_distance
from hdm_widgets.metrics.windowed_measure import WindowedMeasure
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["BoundedMeasure", "ClassMeasure", "MaskMeasure", "Measure", "MeasuredOutput", "OutputMeasure"]


class Measure(Protocol):
    """Distances and masks of raw outputs that are windows over one whole output.

    Attributes
    ----------
    distance : float
        Of the whole output.
    mask : numpy.ndarray, bool (H, W)
        Of the whole output.
    predicted : numpy.ndarray (H, W)
        What is kept of the whole output: the mask, or the classes of all pixels.
    """

    distance: float
    mask: NDArray[np.bool_]
    predicted: NDArray[Any]

    def __call__(self, outputs: Outputs) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Distances (n,), and what is to be kept of the windows (n, h, w)."""


class BoundedMeasure:
    """Base of the measures of masks, whose distances have bounds where the output is not quite known."""

    _segmenter: Segmenter
    _windowed: WindowedMeasure

    def bounds(self, outputs: Outputs, errors: Tensor) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Bounds (2, n) of the distances of outputs of which the target's map may be off, and which are one distance.

        `errors` (n, h, w) says by how much, at each pixel.
        """
        margin = self._segmenter.margin(outputs.values)
        certain, possible = ((margin > errors * sign).cpu().numpy() for sign in (1, -1))
        bounds = self._windowed.bounds(outputs.rows.tolist(), outputs.cols.tolist(), list(certain), list(possible))
        same: NDArray[np.bool_] = (certain == possible).all((1, 2))
        return bounds, same | (bounds[0] == bounds[1]) if self._windowed.bounds_hold else same


class MaskMeasure(BoundedMeasure):
    """A measure of the masks after the threshold, without the pixels that the truth ignores.

    Parameters
    ----------
    segmenter : Segmenter
    name : str
        A `MeasureName`.
    truth : ReferenceMask
    raw : torch.Tensor (1, classes, H, W)
        The whole output.
    unoccluded : numpy.ndarray, bool (H, W), optional
        The mask for the image without a disc; that of `raw` by default.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        name: str,
        truth: ReferenceMask,
        raw: Tensor,
        unoccluded: NDArray[np.bool_] | None = None,
    ) -> None:
        self._segmenter = segmenter
        self.mask: NDArray[np.bool_] = segmenter.binarize(raw)[0].cpu().numpy()
        self.predicted = self.mask
        self._windowed = windowed_measure(name, truth, self.mask, unoccluded)
        self.distance = self._windowed.base_distance

    def __call__(self, outputs: Outputs) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """See `Measure`."""
        masks: NDArray[np.bool_] = self._segmenter.binarize(outputs.values).cpu().numpy()
        return self._windowed.distances(outputs.rows, outputs.cols, masks), masks


class ClassMeasure(BoundedMeasure):
    """As `MaskMeasure` for the segmenter's target, but the classes of all pixels are kept.

    Parameters
    ----------
    segmenter : Segmenter
        With a target.
    name : str
        A `MeasureName`.
    truth : ReferenceMask
        Of the target.
    raw : torch.Tensor (1, classes, H, W)
        The whole output.
    unoccluded : numpy.ndarray, bool (H, W), optional
        The target's mask for the image without a disc; that of `raw` by default.

    Attributes
    ----------
    count : int or None
        How many classes the model has; None where it returns class numbers.
    no_class : int
        Stands for pixels for which the model has no output.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        name: str,
        truth: ReferenceMask,
        raw: Tensor,
        unoccluded: NDArray[np.bool_] | None = None,
    ) -> None:
        self._segmenter = segmenter
        self.count = None if segmenter.reading.form == "class numbers" else raw.shape[1]
        small = self.count is not None and self.count <= np.iinfo(np.uint8).max
        self._dtype = torch.uint8 if small else torch.int32
        self.no_class = self.count if self.count is not None else int(np.iinfo(np.int32).min)
        self._valid = segmenter.valid_pixels(*raw.shape[-2:])
        whole = Outputs.from_whole(np.zeros(1, np.intp), raw)
        self.predicted: NDArray[Any] = self._classes(whole)[0]
        self.mask: NDArray[np.bool_] = self.predicted == segmenter.target
        self._windowed = windowed_measure(name, truth, self.mask, unoccluded)
        self.distance = self._windowed.base_distance

    def __call__(self, outputs: Outputs) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """See `Measure`."""
        classes = self._classes(outputs)
        return self._windowed.distances(outputs.rows, outputs.cols, classes == self._segmenter.target), classes

    def _classes(self, outputs: Outputs) -> NDArray[Any]:
        classes: NDArray[Any] = self._segmenter.class_numbers(outputs.values).to(self._dtype).cpu().numpy()
        if self._valid is not None:
            height, width = classes.shape[1:]
            for each, row, col in zip(classes, outputs.rows, outputs.cols, strict=True):
                each[~self._valid[row : row + height, col : col + width]] = self.no_class
        return classes


class OutputMeasure:
    """Any function of the target's raw map and the ground truth, each as numpy (H, W).

    With ignored pixels, both are numpy masked arrays, in which these are masked.

    Parameters
    ----------
    segmenter : Segmenter
    function : callable
    truth : GivenMask
    settings : ScanSettings
    raw : torch.Tensor (1, classes, H, W)
        The whole output.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        function: Callable[[NDArray[Any], NDArray[Any]], object],
        truth: GivenMask,
        settings: ScanSettings,
        raw: Tensor,
    ) -> None:
        # On the CPU, where the function gets them: one copy for a batch, not one for each cell.
        self._segmenter, self._function, self._raw, self._settings = segmenter, function, raw.cpu(), settings
        self._ignored, self._truth = truth.ignored, _masked(truth.values, truth.ignored)
        self.mask: NDArray[np.bool_] = segmenter.binarize(self._raw)[0].numpy()
        self.predicted = self.mask
        self.distance = self._distance(self._raw)

    def __call__(self, outputs: Outputs) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """See `Measure`."""
        outputs = replace(outputs, values=outputs.values.cpu())
        distances = [self._distance(pasted(self._raw, outputs, index)) for index in range(len(outputs.items))]
        return np.array(distances, dtype=np.float64), self._segmenter.binarize(outputs.values).numpy()

    def _distance(self, raw: Tensor) -> float:
        output = self._segmenter.target_map(raw)[0].numpy()
        measured = _measured.set(MeasuredOutput(self._segmenter, self._settings, raw, output, self._ignored))
        try:
            distance = self._function(_masked(output, self._ignored), self._truth)
        finally:
            _measured.reset(measured)
        return _number(distance)


@dataclass(frozen=True, eq=False)
class MeasuredOutput:
    """The output that is being measured, of which a user's `calculate_distance` sees the target's map alone.

    Attributes
    ----------
    segmenter : Segmenter
    settings : ScanSettings
    raw : torch.Tensor (1, classes, H, W)
        On the CPU.
    output : numpy.ndarray (H, W)
        The target's map.
    ignored : numpy.ndarray, bool (H, W), or None
        Pixels that do not count.
    """

    segmenter: Segmenter
    settings: ScanSettings
    raw: Tensor
    output: NDArray[Any]
    ignored: NDArray[np.bool_] | None

    @staticmethod
    def current() -> MeasuredOutput | None:
        """The one of this thread; None outside a scan."""
        return _measured.get()

    def hausdorff(self, output: NDArray[Any], segment: NDArray[Any]) -> float:
        """The distance that the scan would measure itself, of a map of the target (H, W) to a ground truth."""
        empty, spacing = self.settings.empty, self.settings.spacing
        return hausdorff_distance(self._mask(output), segment, empty=empty, spacing=spacing, ignore=self.ignored)

    def _mask(self, output: NDArray[Any]) -> NDArray[np.bool_]:
        """The mask, bool (H, W), of a map of the target, with the other classes as the model gave them.

        Parameters
        ----------
        output : numpy.ndarray (H, W)
            The target's map as it was handed over, or another in its place.
        """
        values, masked = to_array(output)
        if values.shape != self.output.shape:
            raise ValueError(f"expected the target's map of shape {self.output.shape}, got {values.shape}")
        if masked is not None:
            values = np.where(masked, self.output, values)
        raw = self.raw
        if not np.array_equal(values, self.output):
            raw = raw.clone()
            target = self.segmenter.target_map(raw)
            target[0].copy_(torch.from_numpy(np.ascontiguousarray(values)))
            if not torch.equal(self.segmenter.target_map(raw), target):
                raise ValueError(
                    "this model's output is no map of the target that another could take the place of; hand the output "
                    "to super().calculate_distance as it came"
                )
        mask: NDArray[np.bool_] = self.segmenter.binarize(raw)[0].numpy()
        return mask


# Each thread, and each scan in it, has its own.
_measured: ContextVar[MeasuredOutput | None] = ContextVar("measured output", default=None)


def _masked(values: NDArray[Any], ignored: NDArray[np.bool_] | None) -> NDArray[Any]:
    """The array itself, or a masked one without the ignored pixels."""
    return values if ignored is None else np.ma.masked_array(values, ignored)


def _number(distance: object) -> float:
    """What a distance function returned, as a float: a number, or an array or tensor of one element."""
    if distance is np.ma.masked:
        raise TypeError("calculate_distance returned a masked value: all that it measured is ignored")
    if isinstance(distance, (Tensor, np.ndarray)) and math.prod(distance.shape) == 1:
        distance = distance.item()
    if not isinstance(distance, (int, float, np.integer, np.floating)):
        given = f"{type(distance).__name__}{f' of shape {tuple(distance.shape)}' if hasattr(distance, 'shape') else ''}"
        raise TypeError(f"calculate_distance must return a number, got {given}")
    return float(distance)
