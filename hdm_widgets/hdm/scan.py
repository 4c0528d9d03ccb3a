"""Run the model on every occluded picture, coarse to fine, and measure each mask."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.hdm.grid import Grid
from hdm_widgets.metrics.distance import ReferenceMask
from hdm_widgets.segmenter import ModelError, ModelOutputError, Segmenter, is_out_of_memory

__all__ = ["Batch", "BatchSize", "MaskMeasure", "Measure", "OutputMeasure", "batches", "locate"]

# A batch the caller did not size takes about this long, so that a scan can be cancelled promptly.
_BATCH_SECONDS = 0.25
# A larger batch must take at most this share of the time that a picture took before.
_WORTHWHILE = 0.95
# Memory per picture is not known before it is used: this many float32 maps of the picture's size are assumed,
# on at most this share of what is free. Where that was too much, batches are halved.
_ASSUMED_MAPS = 256
_MEMORY_SHARE = 0.25
_LARGEST_BATCH = 256


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


class BatchSize:
    """How many pictures go into the next batch: as given, or as many as pay, within what memory and patience allow.

    On a GPU large batches are far quicker; on a CPU a batch that leaves its caches can take twice as long for a picture
    as one picture alone. So the size is doubled as long as that makes a picture quicker.
    """

    def __init__(self, given: int | None, picture: Tensor, device: torch.device) -> None:
        self._limit = given or _memory_limit(picture, device)
        self._growing = given is None
        self._quickest = float("inf")
        self._warm = 0
        self.size = given or 1

    def took(self, pictures: int, seconds: float) -> None:
        """Learn from a batch that went well."""
        if not self._growing or pictures < self.size:
            return
        if self.size != self._warm:
            # The first batch of a size also pays for what the model prepares for its shape.
            self._warm = self.size
            return
        each = seconds / pictures
        if each > _WORTHWHILE * self._quickest:
            self.size, self._growing = max(1, self.size // 2), False
            return
        self._quickest = each
        patience = int(_BATCH_SECONDS / max(each, 1e-9))
        larger = min(2 * self.size, self._limit, patience)
        self._growing = larger > self.size
        self.size = max(larger, self.size)

    def halve(self) -> None:
        """Memory ran out: never try this many again."""
        self.size = self._limit = max(1, self.size // 2)
        self._growing = False

    def one_at_a_time(self) -> None:
        """The model takes single pictures only."""
        self.size = self._limit = 1
        self._growing = False


def _memory_limit(picture: Tensor, device: torch.device) -> int:
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        try:
            free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, AttributeError, OSError):  # no such figure on this system
            free = 2 << 30
    each = 4 * _ASSUMED_MAPS * picture.shape[-2] * picture.shape[-1]
    return int(min(_LARGEST_BATCH, max(1, _MEMORY_SHARE * free // each)))


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
