"""A scan in progress: the order of its cells, and what has been measured."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hdm_widgets._bitmasks import MaskStore, patch_of
from hdm_widgets._masks import GivenMask
from hdm_widgets.hdm.approximation import Approximation
from hdm_widgets.hdm.backends import Inference, Outputs, WindowsDifferError
from hdm_widgets.hdm.cache import DistanceCache, Measured
from hdm_widgets.hdm.circle_map import filled
from hdm_widgets.hdm.classes import ClassMasks
from hdm_widgets.hdm.measure import ClassMeasure, Measure
from hdm_widgets.hdm.noise import Noise, noise_between
from hdm_widgets.hdm.occlusion import Changes
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.models.batch_size import run_in_batches
from hdm_widgets.models.errors import ModelError, ModelOutputError

if TYPE_CHECKING:
    from hdm_widgets.hdm.scan import PreparedScan

__all__ = ["RunningScan", "noise_of", "raise_with_cell"]

# Cells prepared at a time; fewer if their images take more memory than this.
_CHUNK = 512
_CHUNK_BYTES = 256 << 20
# Up to this fraction of the cells, measure a regular grid; after that, first what differs from its neighbors.
_COARSE_FRACTION = 1 / 12
# The remaining cells are re-prioritized about _CHUNKS times.
_CHUNKS = 12
_SMALLEST_CHUNK = 48

_NO_CELLS = np.empty((0, 2), np.intp)


class RunningScan:
    """Measures the cells of a prepared scan, and owns what is measured.

    Parameters
    ----------
    prepared : PreparedScan
        Whose image without a disc has been run.
    truth : GivenMask
        Without the pixels for which the model has no output.
    plain : Measure
        Of the image without a disc.
    measure : Measure
        Of windows over the output for the unchanged image, which is the image with an empty disc.
    inference : Inference
    cached : DistanceCache
    runs : list of Measure
        Of the image without a disc, for a model whose runs differ.
    """

    def __init__(
        self,
        prepared: PreparedScan,
        truth: GivenMask,
        plain: Measure,
        measure: Measure,
        inference: Inference,
        cached: DistanceCache,
        runs: list[Measure],
    ) -> None:
        self._prepared, self._plain, self._measure = prepared, plain, measure
        self.inference, self._cached = inference, cached
        self._runs, self._noise = runs, noise_of(runs)
        self._grid = prepared.occluder.grid
        self._asked = prepared.settings.asked(self._grid)
        self._truth, self._image = truth, prepared.image.numpy()
        self._approximation: Approximation | None = None
        # Keys of the cells that this scan itself put into the cache.
        self._put: set[bytes] = set()
        self._cache_checked = False
        unchanged, self._chunk_size = prepared.occluder.unchanged, _CHUNK
        # Of an image in windows, no more is made than what a disc touches.
        if prepared.segmenter.sliding is None:
            self._chunk_size = min(_CHUNK, max(16, _CHUNK_BYTES // (unchanged.numel() * unchanged.element_size())))
        self._reset()

    def _reset(self) -> None:
        """Nothing is measured."""
        self._values = np.full(self._grid.shape, np.nan)
        self._values[~self._asked] = self._plain.distance
        self._measured = np.zeros(self._grid.shape, dtype=bool)
        self._masks = MaskStore(self._measure.predicted) if self._prepared.keep_outputs else None
        self._classes = None
        if self._masks is not None and isinstance(self._plain, ClassMeasure):
            self._classes = ClassMasks(
                self._masks, self._plain.predicted, self._truth.values, self._truth.ignored, self._prepared.settings,
                self._plain.count, [run.predicted for run in self._runs],
            )  # fmt: skip

    def updates(self, started: float) -> Generator[ScanUpdate]:
        """See `PreparedScan.updates`; `started` is when the scan began."""
        self._started = started
        latest = self._update(_NO_CELLS, self._grid.stages()[0][0])
        yield latest
        try:
            try:
                for latest in self._stages():
                    yield latest
            except WindowsDifferError as error:
                self.inference.drop_traced(f"{error}; every disc was run in full")
                self._cached.clear()
                self._reset()
                yield self._update(_NO_CELLS, 1)
                for latest in self._stages():
                    yield latest
        except ModelError as error:
            error.result = self._result()
            raise
        if (latest.result.plan, latest.result.approximation) != (self.inference.plan, self._approximation):
            yield self._update(_NO_CELLS, latest.stride)

    def _result(self) -> HDMResult:
        prepared, truth, classes = self._prepared, self._truth, self._classes
        masks = self._masks if classes is None else classes.masks(int(prepared.segmenter.target or 0))
        return HDMResult(
            self._values.copy(), self._plain.distance, self._measured.copy(), self._grid, self._image, truth.mask,
            self._plain.mask, prepared.settings, self.inference.plan, self._approximation, masks, prepared.show,
            noise=self._noise, reading=prepared.segmenter.reading, ignored=truth.ignored, _classes=classes,
            _runs=tuple(run.mask for run in self._runs),
        )  # fmt: skip

    def _update(self, cells: NDArray[np.intp], stride: int) -> ScanUpdate:
        """All so far, with the cells that have just been measured."""
        done, total = int(np.count_nonzero(self._measured)), int(np.count_nonzero(self._asked))
        distances = self._values[cells[:, 0], cells[:, 1]]
        seconds = time.perf_counter() - self._started
        return ScanUpdate(cells, distances, done, total, stride, seconds, self._result())

    def _record(self, cells: NDArray[np.intp], measured: list[Measured], stride: int) -> ScanUpdate:
        at = cells[:, 0], cells[:, 1]
        self._values[at] = [one.distance for one in measured]
        self._measured[at] = True
        if self._masks is not None:
            self._masks.patches.update(zip(map(tuple, cells.tolist()), (one.mask for one in measured), strict=True))
        return self._update(cells, stride)

    # -- the order ----------------------------------------------------------------------------------

    def _stages(self) -> Iterator[ScanUpdate]:
        """All cells, coarse to fine."""
        stages = [(stride, stage[self._asked[stage[:, 0], stage[:, 1]]]) for stride, stage in self._grid.stages()]
        total = sum(len(cells) for _, cells in stages)
        for place, (stride, cells) in enumerate(stages):
            if place and np.count_nonzero(self._measured) + len(cells) > _COARSE_FRACTION * total:
                yield from self._refine(np.concatenate([rest for _, rest in stages[place:]]), stride)
                return
            chunks: list[tuple[NDArray[np.intp], Changes]] = []
            for start in range(0, len(cells), self._chunk_size):
                chunk = cells[start : start + self._chunk_size]
                chunks.append((chunk, self._prepared.occluder.changes(chunk)))
                yield from self._chunk(*chunks[-1], stride)
                if place:
                    chunks.clear()
            if not place:
                self._compare(chunks)
            self.inference.drop_slower()

    def _refine(self, cells: NDArray[np.intp], stride: int) -> Iterator[ScanUpdate]:
        """The remaining cells, first where the map changes most from one measured cell to the next."""
        size = min(self._chunk_size, max(_SMALLEST_CHUNK, len(cells) // _CHUNKS))
        while len(cells):
            nearest = filled(self._values, self._measured)
            # Neither infinity nor NaN has differences: count them as one more than the largest value.
            finite = nearest[np.isfinite(nearest)]
            levels = np.nan_to_num(nearest, nan=finite.max(initial=0) + 1, posinf=finite.max(initial=0) + 1)
            across = 4 * stride + 1
            contrast = ndimage.maximum_filter(levels, across) - ndimage.minimum_filter(levels, across)
            # Where nothing differs, coarse cells still come before fine ones.
            order = np.argsort(-contrast[cells[:, 0], cells[:, 1]], kind="stable")
            chosen, cells = cells[order[:size]], cells[np.sort(order[size:])]
            yield from self._chunk(chosen, self._prepared.occluder.changes(chosen), 1)
            self.inference.drop_slower()

    def _compare(self, chunks: list[tuple[NDArray[np.intp], Changes]]) -> None:
        """Compute the first stage exactly too, to know the error of an approximate scan."""
        tolerance = self.inference.tolerance
        if tolerance is None:
            return
        exact = np.full(self._grid.shape, np.nan)
        compared = np.zeros(self._grid.shape, bool)
        try:
            for cells, changes in chunks:
                items = np.flatnonzero([bool(key) for key in changes.keys])
                # What changes nothing is exact.
                exact[cells[:, 0], cells[:, 1]] = self._values[cells[:, 0], cells[:, 1]]
                compared[cells[:, 0], cells[:, 1]] = True
                for outputs in self.inference.exact_outputs(cells, changes, items):
                    at = cells[outputs.items]
                    exact[at[:, 0], at[:, 1]] = self._measure(outputs)[0]
        except WindowsDifferError:
            raise
        except Exception as error:
            raise WindowsDifferError(f"the exact cells to compare with failed ({_first_line(error)})") from error
        used = np.ix_(np.flatnonzero(compared.any(1)), np.flatnonzero(compared.any(0)))
        self.inference.drop_tolerance()
        self._approximation = Approximation.between(tolerance, self._values[used], exact[used], compared[used])

    # -- the cells ----------------------------------------------------------------------------------

    def _chunk(self, cells: NDArray[np.intp], changes: Changes, stride: int) -> Iterator[ScanUpdate]:
        """Measure some cells: first those that are cached, then one of each different image."""
        same: dict[bytes, list[int]] = {}
        for item, key in enumerate(changes.keys):
            same.setdefault(key, []).append(item)
        # Read the cache once per key; another scan may change it concurrently.
        cached = {key: self._cached.get(key) for key in same}
        self._check_cache(changes, cached)
        found = [(item, one) for key, one in cached.items() if one is not None for item in same[key]]
        if found:
            yield self._record(cells[[item for item, _ in found]], [one for _, one in found], stride)
        fresh = np.array([items[0] for key, items in same.items() if cached[key] is None], np.intp)

        def record(outputs: Outputs) -> ScanUpdate:
            distances, windows = self._measure(outputs)
            items: list[int] = []
            measured: list[Measured] = []
            for item, row, col, distance, window in zip(
                outputs.items.tolist(), outputs.rows.tolist(), outputs.cols.tolist(), distances, windows, strict=True
            ):
                key = changes.keys[item]
                one = Measured(float(distance), patch_of(self._measure.predicted, row, col, window))
                self._cached.put(key, one)
                self._put.add(key)
                items += same[key]
                measured += [one] * len(same[key])
            return self._record(cells[items], measured, stride)

        if len(fresh) and self.inference.windowed:
            done: list[NDArray[np.intp]] = []
            try:
                for outputs in self.inference.outputs(cells, changes, fresh):
                    update = record(outputs)
                    done.append(outputs.items)
                    yield update
                return
            except (WindowsDifferError, GeneratorExit):
                raise
            except Exception as error:  # noqa: BLE001 - the model itself says what is wrong, and where
                fresh = np.setdiff1d(fresh, np.concatenate([*done, np.empty(0, np.intp)]))
                self.inference.drop_traced(f"windows failed ({_first_line(error)})")

        def run(part: slice) -> list[ScanUpdate]:
            # All of them before any is measured: a batch that fails runs again.
            return [record(outputs) for outputs in list(self.inference.outputs(cells, changes, fresh[part]))]

        def fail(index: int, error: Exception) -> None:
            raise_with_cell(error, (int(cells[fresh[index], 0]), int(cells[fresh[index], 1])))

        for _, updates in run_in_batches(
            len(fresh), run, self._prepared.sizes, on_error=fail, fatal=(WindowsDifferError,)
        ):
            yield from updates

    def _check_cache(self, changes: Changes, cached: dict[bytes, Measured | None]) -> None:
        """Run one of the images that an earlier scan measured, and drop them all if the model gives another mask now.

        A model may have changed in a way that neither its weights nor its mask without a disc show.
        """
        earlier = [key for key, one in cached.items() if key and one is not None and key not in self._put]
        if self._cache_checked or not earlier or self.inference.tolerance is not None:
            return
        self._cache_checked = True
        key = earlier[0]
        try:
            outputs = self.inference.model_output(changes, changes.keys.index(key))
            _, windows = self._measure(outputs)
            one = cached[key]
            corner = int(outputs.rows[0]), int(outputs.cols[0])
            same = one is not None and patch_of(self._measure.predicted, *corner, windows[0]) == one.mask
        except Exception:  # noqa: BLE001 - the cell is run again, and that says what is wrong
            same = False
        if not same:
            self._cached.clear()
            cached.update(dict.fromkeys((key for key in cached if key), None))


def noise_of(runs: list[Measure]) -> Noise | None:
    """How far repeated runs are apart; None without any."""
    return noise_between([run.distance for run in runs], [run.mask for run in runs]) if runs else None


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0] or type(error).__name__


def raise_with_cell(error: Exception, cell: tuple[int, int] | None) -> NoReturn:
    """Raise a ModelError for an error, saying on which cell it came; None: the image without a disc."""
    where = "on the image without a disc" if cell is None else f"at cell (row {cell[0]}, column {cell[1]})"
    if isinstance(error, ModelError):
        located = type(error)(f"{where}: {error}")
    else:
        located = ModelError(f"{where}: {type(error).__name__}: {error}")
    located.cell = cell
    # What was wrong with an output is in the message; an error of the model's own keeps its traceback.
    raise located from (None if isinstance(error, ModelOutputError) else error)
