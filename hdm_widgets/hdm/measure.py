"""Distances and masks from raw outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.hdm.backends import Outputs, pasted
from hdm_widgets.metrics.distance import ReferenceMask
from hdm_widgets.metrics.windowed_distance import WindowedDistance
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["MaskMeasure", "Measure", "OutputMeasure"]


class Measure(Protocol):
    """Distances and masks of raw outputs that are windows over one whole output.

    Attributes
    ----------
    distance : float
        Of the whole output.
    mask : numpy.ndarray, bool (H, W)
        Of the whole output.
    """

    distance: float
    mask: NDArray[np.bool_]

    def __call__(self, outputs: Outputs) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Distances (n,), and what the masks show in the windows (n, h, w)."""


class MaskMeasure:
    """Hausdorff distance of the masks after the threshold.

    Parameters
    ----------
    segmenter : Segmenter
    truth : ReferenceMask
    raw : torch.Tensor (1, classes, H, W)
        The whole output.
    """

    def __init__(self, segmenter: Segmenter, truth: ReferenceMask, raw: Tensor) -> None:
        self._segmenter = segmenter
        self.mask: NDArray[np.bool_] = segmenter.binarize(raw)[0].cpu().numpy()
        self._windowed = WindowedDistance(truth, self.mask)
        self.distance = self._windowed.base_distance

    def __call__(self, outputs: Outputs) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """See `Measure`."""
        masks: NDArray[np.bool_] = self._segmenter.binarize(outputs.values).cpu().numpy()
        return self._windowed.distances(outputs.rows, outputs.cols, masks), masks


class OutputMeasure:
    """Any function of the target's raw map and the ground truth, each as numpy (H, W).

    Parameters
    ----------
    segmenter : Segmenter
    function : callable
    truth : numpy.ndarray (H, W)
    raw : torch.Tensor (1, classes, H, W)
        The whole output.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        function: Callable[[NDArray[Any], NDArray[Any]], float],
        truth: NDArray[Any],
        raw: Tensor,
    ) -> None:
        self._segmenter, self._function, self._truth, self._raw = segmenter, function, truth, raw
        self.mask: NDArray[np.bool_] = segmenter.binarize(raw)[0].cpu().numpy()
        self.distance = self._distance(raw)

    def __call__(self, outputs: Outputs) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """See `Measure`."""
        distances = [self._distance(pasted(self._raw, outputs, index)) for index in range(len(outputs.items))]
        return np.array(distances, dtype=np.float64), self._segmenter.binarize(outputs.values).cpu().numpy()

    def _distance(self, raw: Tensor) -> float:
        distance = self._function(self._segmenter.target_map(raw)[0].cpu().numpy(), self._truth)
        if np.ndim(distance) != 0 or not isinstance(distance, (int, float, np.number)):
            raise TypeError(f"calculate_distance must return a number, got {type(distance).__name__}")
        return float(distance)
