"""A scan in progress: the order of its cells, and what has been measured."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hdm_widgets._bitmasks import MaskStore, patch_of
from hdm_widgets._masks import GivenMask
from hdm_widgets.hdm.approximation import Approximation, explained_variance
from hdm_widgets.hdm.backends import Inference, Outputs, WindowsDifferError
from hdm_widgets.hdm.cache import DistanceCache, Measured
from hdm_widgets.hdm.certain_cells import CertainCells
from hdm_widgets.hdm.circle_map import filled
from hdm_widgets.hdm.classes import ClassMasks
from hdm_widgets.hdm.grid import spread
from hdm_widgets.hdm.measure import ClassMeasure, Measure
from hdm_widgets.hdm.noise import noise_of
from hdm_widgets.hdm.occlusion import Changes
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.scan_clock import ScanClock
from hdm_widgets.hdm.uncertainty import Errors, Uncertainty, levels_of
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.models.batch_size import run_in_batches
from hdm_widgets.models.errors import ModelError, first_line, raise_with_cell
from hdm_widgets.models.threads import limited_threads

if TYPE_CHECKING:
    from hdm_widgets.hdm.scan import PreparedScan

__all__ = ["RunningScan"]

# Cells prepared at a time; fewer if their images take more memory than this.
_CHUNK = 512
_CHUNK_BYTES = 256 << 20
# Up to this fraction of the cells, measure a regular grid; after that, first what differs from its neighbors.
_COARSE_FRACTION = 1 / 12
# The remaining cells are re-prioritized about _CHUNKS times.
_CHUNKS = 12
# On a GPU, one batch takes as long for a few discs as for many.
_SMALLEST_CHUNK, _SMALLEST_CHUNK_GPU = 48, _CHUNK
# A first map is shown on if it explains at least this part of the variance of so many cells that were measured since.
_LEAST_EXPLAINED, _FEWEST_COMPARED = 0.5, 8
# So many cells tell the error of a first map, before those come whose estimates are uncertain.
_TELLING_CELLS = 32
# So many cells tell how far estimated outputs are off, as far as the order of cells needs to know.
_PROBES = 2
# So many cells tell what all have in common, in maps of at least so many; fewer where some discs change nothing.
_LEARNED_CELLS, _FEWEST_LEARNED_CELLS, _WORTH_LEARNING_CELLS = 4, 3, 128

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
        # Keys of the cells that this scan itself put into the cache.
        self._put: set[bytes] = set()
        self._clock = ScanClock()
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
        self._measured, self._estimated = (np.zeros(self._grid.shape, dtype=bool) for _ in range(2))
        # What was estimated, of cells that have been measured since too.
        self._estimates = np.full(self._grid.shape, np.nan)
        self._known = np.zeros(self._grid.shape, dtype=bool)
        # Cells of the coarse grid, which are chosen whatever their estimate.
        self._coarse = np.zeros(self._grid.shape, dtype=bool)
        # Cells of which estimates know something.
        self._learned = np.zeros(self._grid.shape, dtype=bool)
        self._uncertainty = Uncertainty(self._prepared.segmenter, self._measure, self._grid)
        # Under empty="raise", the bounds of a distance may be those of an empty mask.
        self._has_bounds = self._uncertainty.possible and self._prepared.settings.empty != "raise"
        # By how much estimates are expected to be off.
        self._errors: Errors | None = None
        self._certain = CertainCells(self._uncertainty, self._grid, self._prepared.settings.seed)
        self._clock.forget()
        self._masks = MaskStore(self._measure.predicted) if self._prepared.keep_outputs else None
        self._classes = None
        if self._masks is not None and isinstance(self._plain, ClassMeasure):
            self._classes = ClassMasks(
                self._masks, self._plain.predicted, self._truth.values, self._truth.ignored, self._prepared.settings,
                self._plain.count, [run.predicted for run in self._runs],
            )  # fmt: skip

    def updates(self, started: float) -> Generator[ScanUpdate]:
        """See `PreparedScan.updates`; `started` is when the scan began."""
        self._clock.start(started)
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
        if latest.result.plan != self.inference.plan:
            yield self._update(_NO_CELLS, latest.stride)

    def _result(self) -> HDMResult:
        prepared, truth, classes = self._prepared, self._truth, self._classes
        masks = self._masks if classes is None else classes.masks(int(prepared.segmenter.target or 0))
        return HDMResult(
            self._values.copy(), self._plain.distance, self._measured.copy(), self._grid, self._image, truth.mask,
            self._plain.mask, prepared.settings, self.inference.plan, self._approximation(), masks, prepared.show,
            noise=self._noise, reading=prepared.segmenter.reading, ignored=truth.ignored, _classes=classes,
            _runs=tuple(run.mask for run in self._runs), estimated=self._estimated.copy(),
            certain=self._certain.cells & self._estimated if self._ends_with_estimates else None,
        )  # fmt: skip

    def _approximation(self) -> Approximation | None:
        """The error of the estimates that there are, on the cells that have been measured since."""
        if not (self._estimated.any() or self._ends_with_estimates):
            return None
        tolerance = self.inference.tolerance
        error = Approximation.between(tolerance, self._estimates, self._values, self._compared())
        return self._certain.added_to(error, self._estimated)

    def _compared(self) -> NDArray[np.bool_]:
        """Cells that were estimated and measured: of the coarse grid, if they are enough.

        The others come first where an estimate is uncertain, and would make the error of all look larger than it is;
        cells that estimates know something of would make it look smaller.
        """
        both = self._measured & ~self._estimated & self._known & ~self._learned
        coarse = both & self._coarse
        return coarse if coarse.sum() >= _FEWEST_COMPARED else both

    def _update(self, cells: NDArray[np.intp], stride: int) -> ScanUpdate:
        """All so far, with the cells that have just been measured."""
        # Estimates are what is asked for, or but the first map.
        last = self._measured if self._ends_with_estimates else self._measured & ~self._estimated
        done, total = int(np.count_nonzero(last)), int(np.count_nonzero(self._asked))
        distances = self._values[cells[:, 0], cells[:, 1]]
        left = None
        if self._ends_with_estimates:
            measurements = int(np.count_nonzero(self._coarse & self._estimated)) + self._certain.audits_left
            left = self.inference.seconds_for(total - done, measurements)
        seconds, estimating = self._clock.told()
        return ScanUpdate(cells, distances, done, total, stride, seconds, self._result(), estimating, left)

    def _record(
        self, cells: NDArray[np.intp], measured: list[Measured], stride: int, *, estimated: bool = False
    ) -> ScanUpdate:
        at = cells[:, 0], cells[:, 1]
        self._values[at] = [one.distance for one in measured]
        self._measured[at] = True
        self._estimated[at] = estimated
        if estimated:
            self._estimates[at], self._known[at] = self._values[at], True
        if self._masks is not None:
            self._masks.patches.update(zip(map(tuple, cells.tolist()), (one.mask for one in measured), strict=True))
        return self._update(cells, stride)

    # -- the order ----------------------------------------------------------------------------------

    @property
    def _ends_with_estimates(self) -> bool:
        """Whether estimates are what was asked for, and can be made."""
        return self._prepared.settings.tolerance is not None and self.inference.estimator is not None

    def _stages(self) -> Iterator[ScanUpdate]:
        """All cells, coarse to fine."""
        stages = [(stride, stage[self._asked[stage[:, 0], stage[:, 1]]]) for stride, stage in self._grid.stages()]
        if self._ends_with_estimates:
            if self._has_bounds:
                self._certain.compare_some(stages[0][1])
            self._coarse[tuple(stages[0][1].T)] = True
            yield from self._estimate(stages[:1])
            yield from self._learn(stages)
            # The first stage is measured too, to know the error.
            yield from self._measure_stage(*stages[0])
            if self.inference.estimates_are_slower:
                self.inference.drop_estimates()
            if self._ends_with_estimates:
                self._certain.begin()
                yield from self._estimate(stages[1:])
            if self._ends_with_estimates:
                yield from self._audit()
            if self._ends_with_estimates:
                return
        elif self.inference.estimator is not None:
            with self._clock.mapping():
                yield from self._first_map(stages)
        if self.inference.estimator is not None:
            yield from self._measure_stage(stages[0][0], spread(stages[0][1], _TELLING_CELLS))
        if self.inference.estimator is not None:
            yield from self._refine(np.argwhere(self._asked & ~(self._measured & ~self._estimated)), stages[0][0])
            return
        total = sum(len(cells) for _, cells in stages)
        for place, (stride, cells) in enumerate(stages):
            done = np.count_nonzero(self._measured & ~self._estimated)
            if place and done + len(cells) > _COARSE_FRACTION * total:
                yield from self._refine(np.concatenate([rest for _, rest in stages[place:]]), stride)
                return
            yield from self._measure_stage(stride, cells)

    def _first_map(self, stages: list[tuple[int, NDArray[np.intp]]]) -> Iterator[ScanUpdate]:
        """Estimate all cells; or the first stage alone, where that turns out to be slow."""
        inference, more = self.inference, len(stages) > 1
        yield from self._estimate(stages[:1])
        on_cpu = self._prepared.segmenter.run_device.type == "cpu"
        if inference.first_map_is_slow and inference.windowed and more and on_cpu:
            # Windows may take longer than they are planned to: some are measured now. On a GPU, two tell nothing.
            yield from self._probe(*stages[0])
        if inference.estimator is not None and not inference.first_map_is_slow and more:
            yield from self._learn(stages)
        if inference.first_map_is_slow:
            inference.drop_estimates()
        if inference.estimator is not None and more and self._errors is None:
            yield from self._probe(*stages[0])
        if inference.estimator is not None:
            yield from self._estimate(stages[1:])

    def _reconsider(self) -> Iterator[ScanUpdate]:
        """Go over to whole images where windows are slower, and measure everything where a first map tells little."""
        self.inference.drop_slower()
        if reason := self._why_misleading():
            yield self._without_estimates(reason)

    def _why_misleading(self) -> str:
        """What is wrong with a first map that tells little of the cells measured since; empty if nothing is."""
        if not self._estimated.any():
            return ""
        cells, explained = explained_variance(self._estimates, self._values, self._compared())
        if cells < _FEWEST_COMPARED or explained >= _LEAST_EXPLAINED:
            return ""
        return f"of {cells} cells they explain {max(0.0, explained):.0%} of the variance"

    def _measure_stage(self, stride: int, cells: NDArray[np.intp]) -> Iterator[ScanUpdate]:
        self._coarse[cells[:, 0], cells[:, 1]] = True
        for start in range(0, len(cells), self._chunk_size):
            chunk = cells[start : start + self._chunk_size]
            yield from self._chunk(chunk, self._prepared.occluder.changes(chunk), stride)
        yield from self._reconsider()

    def _learn(self, stages: list[tuple[int, NDArray[np.intp]]]) -> Iterator[ScanUpdate]:
        """Compute a few cells of the first stage in full, and estimate it again where that makes estimates better."""
        stride, cells = stages[0]
        cells = cells[self._estimated[cells[:, 0], cells[:, 1]]]
        # As many others of the first stage tell the error.
        few = len(cells) < 2 * _LEARNED_CELLS or sum(len(each) for _, each in stages) < _WORTH_LEARNING_CELLS
        chosen = spread(cells, 0 if few else _LEARNED_CELLS)
        changes = self._prepared.occluder.changes(chosen)
        # An empty disc changes nothing.
        same = {key: [item] for item, key in enumerate(changes.keys) if key}
        items = np.array([item for (item,) in same.values()], np.intp)
        if len(items) < _FEWEST_LEARNED_CELLS:
            return
        try:
            with self._clock.measuring():
                for outputs in self.inference.learn(changes, items):
                    yield self._recorded(outputs, chosen, changes, same, stride)
        except Exception as error:  # noqa: BLE001 - every cell is measured then, and the plan says why
            yield self._without_estimates(first_line(error))
        else:
            if self.inference.learned:
                self._learned[tuple(chosen[items].T)] = True
                # Those were the errors of other estimates.
                self._uncertainty.forget()
                self._known &= self._estimated
                self._errors = None
                yield from self._estimate(stages[:1])

    def _audit(self) -> Iterator[ScanUpdate]:
        """Measure some of the estimates that are certain."""
        cells = self._certain.to_audit()
        if not len(cells):
            return
        for start in range(0, len(cells), self._chunk_size):
            chunk = cells[start : start + self._chunk_size]
            yield from self._chunk(chunk, self._prepared.occluder.changes(chunk), 1)
        self._certain.conclude(~self._estimated, self._values, self._estimates)
        yield self._update(_NO_CELLS, 1)

    def _probe(self, stride: int, cells: NDArray[np.intp]) -> Iterator[ScanUpdate]:
        """Measure a few cells that have been estimated, to know how far estimated outputs are off."""
        at = cells[:, 0], cells[:, 1]
        cells = cells[self._estimated[at] & ~self._learned[at]]
        if not (len(cells) and self._has_bounds):
            return
        probes = spread(cells, _PROBES)
        changes = self._prepared.occluder.changes(probes)
        try:
            for outputs in self.inference.estimates(changes, np.arange(len(probes))):
                for index, item in enumerate(outputs.items.tolist()):
                    self._uncertainty.expect(changes.keys[item], self.inference.whole(outputs, index))
        except Exception as error:  # noqa: BLE001 - every cell is measured then, and the plan says why
            yield self._without_estimates(first_line(error))
        else:
            with self._clock.measuring():
                yield from self._chunk(probes, changes, stride)
            self._errors = self._uncertainty.likely_errors()

    def _estimate(self, stages: list[tuple[int, NDArray[np.intp]]]) -> Iterator[ScanUpdate]:
        """Estimate cells; those that earlier scans measured have what was measured."""
        try:
            for stride, cells in stages:
                # Whole images are not made: the more cells at a time, the more of them are computed alike.
                for start in range(0, len(cells), _CHUNK):
                    chunk = cells[start : start + _CHUNK]
                    yield from self._estimate_chunk(chunk, self._prepared.occluder.changes(chunk), stride)
        except Exception as error:  # noqa: BLE001 - every cell is measured then, and the plan says why
            yield self._without_estimates(first_line(error))

    def _without_estimates(self, reason: str) -> ScanUpdate:
        """Forget what is estimated: every cell is measured, and the plan says why."""
        self.inference.drop_estimates(reason)
        self._values[self._estimated] = np.nan
        self._measured &= ~self._estimated
        if self._masks is not None:
            for row, col in np.argwhere(self._estimated).tolist():
                self._masks.patches.pop((row, col), None)
        self._estimated[:] = False
        return self._update(_NO_CELLS, 1)

    def _refine(self, cells: NDArray[np.intp], stride: int) -> Iterator[ScanUpdate]:
        """The remaining cells, first where estimates are uncertain, then where neighboring cells differ most."""
        on_cpu = self._prepared.segmenter.run_device.type == "cpu"
        size = min(self._chunk_size, max(_SMALLEST_CHUNK if on_cpu else _SMALLEST_CHUNK_GPU, len(cells) // _CHUNKS))
        while len(cells):
            nearest = filled(self._values, self._measured)
            levels, across = levels_of(nearest), 4 * stride + 1
            contrast = ndimage.maximum_filter(levels, across) - ndimage.minimum_filter(levels, across)
            uncertain = np.where(self._estimated, self._uncertainty.widths(nearest), 0)
            # Where nothing differs, coarse cells still come before fine ones.
            order = np.lexsort([-each[cells[:, 0], cells[:, 1]] for each in (contrast, uncertain)])
            chosen, cells = cells[order[:size]], cells[np.sort(order[size:])]
            yield from self._chunk(chosen, self._prepared.occluder.changes(chosen), 1)
            yield from self._reconsider()

    # -- the cells ----------------------------------------------------------------------------------

    def _estimate_chunk(self, cells: NDArray[np.intp], changes: Changes, stride: int) -> Iterator[ScanUpdate]:
        """Estimate some cells, one of each different image."""
        same, fresh = yield from self._take_cached(cells, changes, stride)
        for outputs in self.inference.estimates(changes, fresh):
            yield self._recorded(outputs, cells, changes, same, stride, estimated=True)

    def _take_cached(
        self, cells: NDArray[np.intp], changes: Changes, stride: int
    ) -> Generator[ScanUpdate, None, tuple[dict[bytes, list[int]], NDArray[np.intp]]]:
        """Record what is cached; returns the cells of each different image, by its key, and one of each other image."""
        same: dict[bytes, list[int]] = {}
        for item, key in enumerate(changes.keys):
            same.setdefault(key, []).append(item)
        # Read the cache once per key; another scan may change it concurrently.
        cached = {key: self._cached.get(key) for key in same}
        self._check_cache(changes, cached)
        found = [(item, one) for key, one in cached.items() if one is not None for item in same[key]]
        if found:
            yield self._record(cells[[item for item, _ in found]], [one for _, one in found], stride)
        return same, np.array([items[0] for key, items in same.items() if cached[key] is None], np.intp)

    def _recorded(
        self, outputs: Outputs, cells: NDArray[np.intp], changes: Changes, same: dict[bytes, list[int]], stride: int,
        *, estimated: bool = False,
    ) -> ScanUpdate:  # fmt: skip
        """Measure the masks of some outputs, for all cells that show the same."""
        certain = bounds = None
        with limited_threads(self._prepared.segmenter.run_device):
            distances, windows = self._measure(outputs)
            if estimated and self._ends_with_estimates:
                certain = self._certain.look_at(outputs, cells[outputs.items], self.inference.whole)
            elif estimated and self._errors is not None:
                bounds, _ = self._uncertainty.bounds(outputs, cells[outputs.items], self._errors)
        items: list[int] = []
        measured: list[Measured] = []
        for index, (item, row, col, distance, window) in enumerate(
            zip(outputs.items.tolist(), outputs.rows.tolist(), outputs.cols.tolist(), distances, windows, strict=True)
        ):
            key = changes.keys[item]
            one = Measured(float(distance), patch_of(self._measure.predicted, row, col, window))
            row, col = cells[item].tolist()
            if estimated and self._certain.is_compared((row, col)):
                self._uncertainty.expect(key, self.inference.whole(outputs, index))
            if not estimated:
                self._cached.put(key, one)
                self._put.add(key)
                if self._uncertainty.expects(key) and not self._learned[row, col]:
                    self._uncertainty.compare(key, (row, col), self.inference.whole(outputs, index))
            items += same[key]
            measured += [one] * len(same[key])
        alike = [len(same[changes.keys[item]]) for item in outputs.items.tolist()]
        if certain is not None:
            self._certain.cells[tuple(cells[items].T)] = np.repeat(certain, alike)
        if bounds is not None:
            self._uncertainty.keep(cells[items], np.repeat(bounds, alike, axis=1))
        return self._record(cells[items], measured, stride, estimated=estimated)

    def _chunk(self, cells: NDArray[np.intp], changes: Changes, stride: int) -> Iterator[ScanUpdate]:
        """Measure some cells: first those that are cached, then one of each different image."""
        same, fresh = yield from self._take_cached(cells, changes, stride)

        def record(outputs: Outputs) -> ScanUpdate:
            return self._recorded(outputs, cells, changes, same, stride)

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
                self.inference.drop_traced(f"windows failed ({first_line(error)})")

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
        if self._cache_checked or not earlier:
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
