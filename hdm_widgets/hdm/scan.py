"""Run the model on every occluded picture, coarse to fine, and measure each mask."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._batch_size import BatchSize
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.metrics.distance import ReferenceMask
from hdm_widgets.segmenter import ModelError, ModelOutputError, Segmenter, is_out_of_memory

__all__ = ["Batch", "MaskMeasure", "Measure", "OutputMeasure", "batches", "locate"]


class Occluder(Protocol):
    """What a scan needs of an occlusion."""

    def batch(self, cells: NDArray[np.intp]) -> Tensor:
        """Occluded pictures (n, C, H, W) of cells (n, 2)."""


class Measure(Protocol):
    """Distances and masks of raw outputs."""

    def __call__(self, segmenter: Segmenter, raw: Tensor) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Distances (n,) and masks (n, H, W) of a raw output (n, classes, H, W)."""


@dataclass(frozen=True)
class MaskMeasure:
    """Hausdorff distance of the thresholded masks."""

    reference: ReferenceMask

    def __call__(self, segmenter: Segmenter, raw: Tensor) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """See `Measure`."""
        masks = segmenter.binarize(raw).cpu().numpy()
        return self.reference.distances(masks), masks


@dataclass(frozen=True)
class OutputMeasure:
    """Any function of the target's raw map and the segment, each as numpy (H, W)."""

    function: Callable[[NDArray[Any], NDArray[Any]], float]
    segment: NDArray[Any]

    def __call__(self, segmenter: Segmenter, raw: Tensor) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """See `Measure`."""
        outputs = segmenter.target_map(raw).cpu().numpy()
        distances = []
        for output in outputs:
            distance = self.function(output, self.segment)
            if np.ndim(distance) != 0 or not isinstance(distance, (int, float, np.number)):
                raise TypeError(f"calculate_distance must return a number, got {type(distance).__name__}")
            distances.append(float(distance))
        return np.array(distances, dtype=np.float64), segmenter.binarize(raw).cpu().numpy()


@dataclass(frozen=True)
class Batch:
    """What one batch measured.

    Attributes
    ----------
    cells : numpy.ndarray (n, 2)
        (row, col) of every cell.
    distances : numpy.ndarray, float64 (n,)
    masks : numpy.ndarray, bool (n, H, W)
    stride : int
        Of the stage that the cells belong to.
    """

    cells: NDArray[np.intp]
    distances: NDArray[np.float64]
    masks: NDArray[np.bool_]
    stride: int


def batches(
    segmenter: Segmenter,
    occluder: Occluder,
    grid: Grid,
    measure: Measure,
    wanted: NDArray[np.bool_],
    sizes: BatchSize,
) -> Iterator[Batch]:
    """Measure the wanted cells, bool (rows, cols), stage by stage.

    Raises
    ------
    ModelError
        Naming the cell; all cells before it in the scan's order have been yielded.
    """

    def run(cells: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        return measure(segmenter, segmenter.raw(occluder.batch(cells)))

    for stride, stage in grid.stages():
        cells = stage[wanted[stage[:, 0], stage[:, 1]]]
        start = 0
        while start < len(cells):
            chunk = cells[start : start + sizes.size]
            before = time.perf_counter()
            try:
                measured = run(chunk)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported with its cell
                if len(chunk) == 1:
                    locate(error, (int(chunk[0, 0]), int(chunk[0, 1])))
                if is_out_of_memory(error):
                    sizes.halve()
                    continue
                # One by one: what can be measured is, and the first that cannot is named.
                for single in np.split(chunk, len(chunk)):
                    try:
                        measured = run(single)
                    except Exception as single_error:  # noqa: BLE001 - as above
                        locate(single_error, (int(single[0, 0]), int(single[0, 1])))
                    yield Batch(single, *measured, stride)
                warnings.warn(
                    f"the model failed on a batch of {len(chunk)} pictures ({error}) but not on each of them alone; "
                    "going on one at a time (batch_size=1 avoids this warning)",
                    stacklevel=2,
                )
                sizes.one_at_a_time()
            else:
                sizes.took(len(chunk), time.perf_counter() - before)
                yield Batch(chunk, *measured, stride)
            start += len(chunk)


def locate(error: Exception, cell: tuple[int, int] | None) -> NoReturn:
    """Raise the error again, saying on which picture it came."""
    where = "on the picture without a disc" if cell is None else f"at cell (row {cell[0]}, column {cell[1]})"
    if is_out_of_memory(error):
        located = ModelError(f"{where}: out of memory even for a single picture: {str(error).splitlines()[0]}")
    elif isinstance(error, ModelError):
        located = type(error)(f"{where}: {error}")
    else:
        located = ModelError(f"{where}: {type(error).__name__}: {error}")
    located.cell = cell
    # What was wrong with an output is in the message; an error of the model's own keeps its traceback.
    raise located from (None if isinstance(error, ModelOutputError) else error)
