"""Measure the mask of every occluded picture, coarse to fine."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from hdm_widgets._bitmasks import MaskPatch, patch_of
from hdm_widgets.hdm.approximation import Approximation
from hdm_widgets.hdm.backends import Inference, Occluder, Outputs, WindowsDifferError, pasted
from hdm_widgets.hdm.cache import Known, Measured
from hdm_widgets.hdm.circle_map import filled
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.occlusion import Changes
from hdm_widgets.metrics.distance import ReferenceMask
from hdm_widgets.metrics.windowed_distance import WindowedDistance
from hdm_widgets.models.segmenter import ModelError, ModelOutputError, Segmenter, is_out_of_memory

__all__ = ["Batch", "MaskMeasure", "Measure", "OutputMeasure", "Scan", "locate"]

# So many cells are prepared at a time; fewer if their pictures took more memory than this.
_CHUNK = 512
_CHUNK_BYTES = 256 << 20
# Up to this share of the cells, a scan measures a regular grid; after that, first what differs from its neighbours.
_COARSE_SHARE = 1 / 12
# Then the order is thought over again so many times, and not more often than for so many cells.
_CHUNKS = 12
_SMALLEST_CHUNK = 48


class Measure(Protocol):
    """Distances and masks of raw outputs."""

    def start(self, segmenter: Segmenter, raw: Tensor) -> tuple[float, NDArray[np.bool_]]:
        """Distance and mask (H, W) of the raw output (1, classes, H, W) that others are windows over."""

    def __call__(self, outputs: Outputs) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Distances (n,), and what the masks show in the windows (n, h, w)."""


class MaskMeasure:
    """Hausdorff distance of the thresholded masks.

    Parameters
    ----------
    reference : ReferenceMask
    """

    def __init__(self, reference: ReferenceMask) -> None:
        self._reference = reference

    def start(self, segmenter: Segmenter, raw: Tensor) -> tuple[float, NDArray[np.bool_]]:
        """See `Measure`."""
        self._segmenter = segmenter
        mask: NDArray[np.bool_] = segmenter.binarize(raw)[0].cpu().numpy()
        self._windowed = WindowedDistance(self._reference, mask)
        return self._windowed.base_distance, mask

    def __call__(self, outputs: Outputs) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """See `Measure`."""
        masks: NDArray[np.bool_] = self._segmenter.binarize(outputs.values).cpu().numpy()
        return self._windowed.distances(outputs.rows, outputs.cols, masks), masks


class OutputMeasure:
    """Any function of the target's raw map and the segment, each as numpy (H, W).

    Parameters
    ----------
    function : callable
    segment : numpy.ndarray (H, W)
    """

    def __init__(self, function: Callable[[NDArray[Any], NDArray[Any]], float], segment: NDArray[Any]) -> None:
        self._function, self._segment = function, segment

    def start(self, segmenter: Segmenter, raw: Tensor) -> tuple[float, NDArray[np.bool_]]:
        """See `Measure`."""
        self._segmenter, self._base = segmenter, raw
        return self._distance(raw), segmenter.binarize(raw)[0].cpu().numpy()

    def __call__(self, outputs: Outputs) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """See `Measure`."""
        distances = [self._distance(pasted(self._base, outputs, index)) for index in range(len(outputs.items))]
        return np.array(distances, dtype=np.float64), self._segmenter.binarize(outputs.values).cpu().numpy()

    def _distance(self, raw: Tensor) -> float:
        distance = self._function(self._segmenter.target_map(raw)[0].cpu().numpy(), self._segment)
        if np.ndim(distance) != 0 or not isinstance(distance, (int, float, np.number)):
            raise TypeError(f"calculate_distance must return a number, got {type(distance).__name__}")
        return float(distance)


@dataclass(frozen=True)
class Batch:
    """What one batch measured.

    Attributes
    ----------
    cells : numpy.ndarray (n, 2)
        (row, col) of every cell.
    distances : numpy.ndarray, float64 (n,)
    masks : list of MaskPatch
    stride : int
        Of the stage that the cells belong to.
    afresh : bool
        Whether everything measured before this batch is void.
    """

    cells: NDArray[np.intp]
    distances: NDArray[np.float64]
    masks: list[MaskPatch]
    stride: int
    afresh: bool = False


class Scan:
    """Measures the wanted cells of a grid.

    Parameters
    ----------
    occluder : Occluder
    grid : Grid
    wanted : numpy.ndarray, bool (rows, cols)
    measure : Measure
        Started.
    inference : Inference
        Started.
    base : numpy.ndarray, bool (H, W)
        The mask of the unchanged picture.
    known : Known
        What is measured already, by what the discs change.

    Attributes
    ----------
    approximation : Approximation or None
        The error of an approximate scan, as soon as it is known.
    """

    def __init__(
        self,
        occluder: Occluder,
        grid: Grid,
        wanted: NDArray[np.bool_],
        measure: Measure,
        inference: Inference,
        base: NDArray[np.bool_],
        known: Known,
    ) -> None:
        self._occluder, self._grid, self._wanted = occluder, grid, wanted
        self._measure, self._inference, self._base, self._known = measure, inference, base, known
        self.approximation: Approximation | None = None
        self._own: set[bytes] = set()
        self._checked = False
        picture = occluder.unchanged
        self._chunk_size = min(_CHUNK, max(16, _CHUNK_BYTES // (picture.numel() * picture.element_size())))

    def batches(self) -> Iterator[Batch]:
        """All cells, coarse to fine.

        Raises
        ------
        ModelError
            Naming the cell; all cells before it in the scan's order have been yielded.
        """
        try:
            yield from self._stages()
        except WindowsDifferError as error:
            self._inference.distrust(f"{error}; every disc was run in full")
            self._known.clear()
            yield Batch(np.empty((0, 2), np.intp), np.empty(0), [], 1, afresh=True)
            yield from self._stages()

    def _stages(self) -> Iterator[Batch]:
        self._values = np.full(self._grid.shape, np.nan)
        self._measured = np.zeros(self._grid.shape, bool)
        stages = [(stride, stage[self._wanted[stage[:, 0], stage[:, 1]]]) for stride, stage in self._grid.stages()]
        self._first: list[tuple[NDArray[np.intp], Changes]] = []
        total = sum(len(cells) for _, cells in stages)
        for place, (stride, cells) in enumerate(stages):
            if place and np.count_nonzero(self._measured) + len(cells) > _COARSE_SHARE * total:
                yield from self._refine(np.concatenate([rest for _, rest in stages[place:]]), stride)
                return
            for start in range(0, len(cells), self._chunk_size):
                yield from self._noted(self._chunk(cells[start : start + self._chunk_size], stride, keep=not place))
            if not place:
                self._compare()
            self._inference.reconsider()

    def _refine(self, cells: NDArray[np.intp], stride: int) -> Iterator[Batch]:
        """The remaining cells, first where the map changes most from one measured cell to the next."""
        size = min(self._chunk_size, max(_SMALLEST_CHUNK, len(cells) // _CHUNKS))
        while len(cells):
            filled_in = filled(self._values, self._measured)
            # Neither infinity nor NaN has differences: they count as one more than the largest value.
            finite = filled_in[np.isfinite(filled_in)]
            levels = np.nan_to_num(filled_in, nan=finite.max(initial=0) + 1, posinf=finite.max(initial=0) + 1)
            across = 4 * stride + 1
            contrast = ndimage.maximum_filter(levels, across) - ndimage.minimum_filter(levels, across)
            # Where nothing differs, coarse cells still come before fine ones.
            order = np.argsort(-contrast[cells[:, 0], cells[:, 1]], kind="stable")
            chosen, cells = cells[order[:size]], cells[np.sort(order[size:])]
            yield from self._noted(self._chunk(chosen, 1))
            self._inference.reconsider()

    def _noted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            at = batch.cells[:, 0], batch.cells[:, 1]
            self._values[at] = batch.distances
            self._measured[at] = True
            yield batch

    def _compare(self) -> None:
        """Compute the first stage exactly too, to know the error of an approximate scan."""
        tolerance = self._inference.tolerance
        if tolerance is None or not self._inference.windowed:
            return
        exact = np.full(self._grid.shape, np.nan)
        compared = np.zeros(self._grid.shape, bool)
        try:
            for cells, changes in self._first:
                items = np.flatnonzero([bool(key) for key in changes.keys])
                # What changes nothing is exact.
                exact[cells[:, 0], cells[:, 1]] = self._values[cells[:, 0], cells[:, 1]]
                compared[cells[:, 0], cells[:, 1]] = True
                for outputs in self._inference.run(cells, changes, items, exact=True):
                    at = cells[outputs.items]
                    exact[at[:, 0], at[:, 1]] = self._measure(outputs)[0]
        except WindowsDifferError:
            raise
        except Exception as error:
            raise WindowsDifferError(f"the exact cells to compare with failed ({_said(error)})") from error
        used = np.ix_(np.flatnonzero(compared.any(1)), np.flatnonzero(compared.any(0)))
        self._inference.drop_tolerance()
        self.approximation = Approximation.of(tolerance, self._values[used], exact[used], compared[used])

    def _chunk(self, cells: NDArray[np.intp], stride: int, *, keep: bool = False) -> Iterator[Batch]:
        changes = self._occluder.changes(cells)
        if keep:
            self._first.append((cells, changes))
        alike: dict[bytes, list[int]] = {}
        for item, key in enumerate(changes.keys):
            alike.setdefault(key, []).append(item)
        # Another scan may measure meanwhile: what is known is asked for once.
        known = {key: self._known.get(key) for key in alike}
        self._check_remembered(changes, known)
        found = [(item, measured) for key, measured in known.items() if measured is not None for item in alike[key]]
        if found:
            yield Batch(
                cells[[item for item, _ in found]],
                np.array([measured.distance for _, measured in found]),
                [measured.mask for _, measured in found],
                stride,
            )
        fresh = np.array([items[0] for key, items in alike.items() if known[key] is None], np.intp)

        def batch(outputs: Outputs) -> Batch:
            distances, windows = self._measure(outputs)
            items: list[int] = []
            values: list[float] = []
            masks: list[MaskPatch] = []
            for item, row, col, distance, window in zip(
                outputs.items.tolist(), outputs.rows.tolist(), outputs.cols.tolist(), distances, windows, strict=True
            ):
                measured = Measured(float(distance), patch_of(self._base, row, col, window))
                key = changes.keys[item]
                self._known.put(key, measured)
                self._own.add(key)
                items += alike[key]
                values += [measured.distance] * len(alike[key])
                masks += [measured.mask] * len(alike[key])
            return Batch(cells[items], np.array(values), masks, stride)

        if not len(fresh):
            return
        if self._inference.windowed:
            done: list[NDArray[np.intp]] = []
            try:
                for outputs in self._inference.run(cells, changes, fresh):
                    result = batch(outputs)
                    done.append(outputs.items)
                    yield result
                return
            except (WindowsDifferError, GeneratorExit):
                raise
            except Exception as error:  # noqa: BLE001 - the model itself says what is wrong, and where
                fresh = np.setdiff1d(fresh, np.concatenate([*done, np.empty(0, np.intp)]))
                self._inference.distrust(f"windows failed ({_said(error)})")
        yield from self._whole(cells, changes, fresh, batch)

    def _check_remembered(self, changes: Changes, known: dict[bytes, Measured | None]) -> None:
        """Run one of the pictures that an earlier scan measured, and forget them all if the model draws another mask.

        A model may have changed in a way that neither its weights nor its mask without a disc show.
        """
        remembered = [key for key, measured in known.items() if key and measured is not None and key not in self._own]
        if self._checked or not remembered or self._inference.tolerance is not None:
            return
        self._checked = True
        key = remembered[0]
        measured = known[key]
        try:
            outputs = self._inference.by_model(changes, np.array([changes.keys.index(key)]))
            _, windows = self._measure(outputs)
            same = measured is not None and patch_of(self._base, 0, 0, windows[0]) == measured.mask
        except Exception:  # noqa: BLE001 - the cell is run again, and says what is wrong
            same = False
        if not same:
            self._known.clear()
            known.update(dict.fromkeys((key for key in known if key), None))

    def _whole(
        self,
        cells: NDArray[np.intp],
        changes: Changes,
        items: NDArray[np.intp],
        batch: Callable[[Outputs], Batch],
    ) -> Iterator[Batch]:
        """Measure by whole pictures, so many at a time as memory and patience allow."""

        def run(some: NDArray[np.intp]) -> Batch:
            return batch(self._inference.whole(cells, changes, some))

        sizes = self._inference.sizes
        start = 0
        while start < len(items):
            chunk = items[start : start + sizes.size]
            before = time.perf_counter()
            try:
                result = run(chunk)
            except WindowsDifferError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported with its cell
                if len(chunk) == 1:
                    locate(error, _cell(cells[chunk[0]]))
                if is_out_of_memory(error):
                    sizes.halve()
                    continue
                # One by one: what can be measured is, and the first that cannot is named.
                for single in np.split(chunk, len(chunk)):
                    try:
                        result = run(single)
                    except Exception as single_error:  # noqa: BLE001 - as above
                        locate(single_error, _cell(cells[single[0]]))
                    yield result
                warnings.warn(
                    f"the model failed on a batch of {len(chunk)} pictures ({error}) but not on each of them alone; "
                    "going on one at a time (batch_size=1 avoids this warning)",
                    stacklevel=2,
                )
                sizes.run_singly()
            else:
                sizes.record(len(chunk), time.perf_counter() - before)
                yield result
            start += len(chunk)


def _cell(cell: NDArray[np.intp]) -> tuple[int, int]:
    return int(cell[0]), int(cell[1])


def _said(error: Exception) -> str:
    return str(error).split("\n")[0] or type(error).__name__


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
