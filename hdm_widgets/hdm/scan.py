"""A scan: run the model on every occluded image and measure its mask, coarse to fine."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from hdm_widgets._bitmasks import MaskPatch, MaskStore, patch_of
from hdm_widgets._masks import GivenMask, find_ambiguity, find_mark
from hdm_widgets._validation import warn_user
from hdm_widgets.hdm.approximation import Approximation
from hdm_widgets.hdm.backends import Inference, Outputs, WindowsDifferError
from hdm_widgets.hdm.cache import DistanceCache, Measured, ScanCache
from hdm_widgets.hdm.circle_map import filled
from hdm_widgets.hdm.classes import ClassMasks, check_classes
from hdm_widgets.hdm.measure import ClassMeasure, Measure
from hdm_widgets.hdm.noise import Noise, noise_between, repeated_runs
from hdm_widgets.hdm.occlusion import Changes, Occluder, Occlusion, warn_of_clipping
from hdm_widgets.hdm.options import InferenceMode, ScanSettings
from hdm_widgets.hdm.plan import Plan, make_plan
from hdm_widgets.hdm.result import HDMResult, ScanUpdate
from hdm_widgets.models.batch_check import mixes_batches
from hdm_widgets.models.batch_size import BatchSize, run_in_batches
from hdm_widgets.models.errors import ModelError, ModelOutputError
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["PreparedScan"]

_MIXED = "the model's output for an image depends on the other images of its batch"
# Cells sampled to see whether any disc changes the image.
_SAMPLE = 256
# Cells prepared at a time; fewer if their images take more memory than this.
_CHUNK = 512
_CHUNK_BYTES = 256 << 20
# Up to this fraction of the cells, measure a regular grid; after that, first what differs from its neighbors.
_COARSE_FRACTION = 1 / 12
# The remaining cells are re-prioritized about _CHUNKS times.
_CHUNKS = 12
_SMALLEST_CHUNK = 48


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """Everything that a scan needs, checked; nothing has been run.

    Made by `HausdorffDistanceMasks.prepare`.

    Attributes
    ----------
    segmenter : Segmenter
    occluder : Occluder
        On the device that the model runs on.
    show : callable
        Takes a cell's row and column, returns its occluded image (C, H, W).
    measure_with : callable
        Takes a ground truth, returns what takes a raw output (1, classes, H, W), and the mask for the image without a
        disc if the output is another's, and returns the `Measure` of windows over it.
    image : torch.Tensor, float32 (C, H, W)
    truth : GivenMask (H, W)
        Empty where the model's own mask for the image without a disc takes its place.
    settings : ScanSettings
    inference : {"auto", "windowed", "full"}
    keep_outputs : bool
    sizes : BatchSize
        Of whole images.
    cache : ScanCache
    all_classes : bool
        Keep the classes of all pixels; the truth has class numbers, and the segmenter the class that is measured.
    """

    segmenter: Segmenter
    occluder: Occluder
    show: Callable[[int, int], Tensor]
    measure_with: Callable[[GivenMask], MeasureOver]
    image: Tensor
    truth: GivenMask
    settings: ScanSettings
    inference: InferenceMode
    keep_outputs: bool
    sizes: BatchSize
    cache: ScanCache
    all_classes: bool = False

    def warn(self) -> None:
        """Warn about inputs that are valid but probably unintended."""
        if not self.truth.mask.any() and not self.settings.of_prediction:
            warn_user("the segment is empty: every distance follows the policy for empty masks (empty=)")
        if self.all_classes:
            if (mark := find_mark(self.truth.values)) is not None:
                warn_user(
                    f"the segment has the value {mark}, which counts as a class; if it marks pixels that do not count, "
                    f"say so: ignore={mark}"
                )
        elif (ambiguity := find_ambiguity(self.truth.values, "the segment", "segment")) is not None:
            warn_user(ambiguity.text)
        settings = self.settings
        if settings.fill == "minimum" and not settings.own_mask and not settings.own_range:
            warn_of_clipping(self.image, settings.channel, normalize=settings.normalize)

    def plan(self) -> Plan:
        """Choose the backend; runs the image without a disc."""
        with self.segmenter.evaluating():
            return self._run_unoccluded().inference.plan

    def updates(self, stopped: Callable[[], bool] = lambda: False) -> Generator[ScanUpdate]:
        """Run the scan; the first update is the image without a disc.

        Parameters
        ----------
        stopped : callable
            Says that nobody waits for an update any more: then the model is not run again before the first one.

        Raises
        ------
        ModelError
            Naming the cell; its `result` has what was measured before.
        """
        started = time.perf_counter()
        with self.segmenter.evaluating():
            yield from self._run_unoccluded(stopped).updates(started)

    def _run_unoccluded(self, stopped: Callable[[], bool] = lambda: False) -> _RunningScan:
        """Run the image without a disc, and choose a backend for the others."""
        segmenter, unchanged, truth = self.segmenter, self.occluder.unchanged, self.truth
        try:
            before = time.perf_counter()
            # Clones: a model may write into what it is given.
            raw = segmenter.raw(self.image[None].clone())
            seconds = time.perf_counter() - before
            if self.settings.of_prediction:
                truth = self._prediction(raw)
            valid = segmenter.valid_pixels(*truth.mask.shape)
            if valid is not None:
                truth = truth.ignoring(~valid)
            measure_over = self.measure_with(truth)
            plain = measure = measure_over(raw)
            if isinstance(plain, ClassMeasure):
                check_classes(truth.values, plain.count)
            measure_over = partial(measure_over, unoccluded=plain.mask)
            if not torch.equal(unchanged.cpu(), self.image):
                raw = segmenter.raw(unchanged[None].clone())
                measure = measure_over(raw)
        except Exception as error:  # noqa: BLE001 - any error is reported with its place
            raise_with_cell(error, None)
        cells = np.argwhere(self.settings.asked(self.occluder.grid))
        changed = len(cells) and len(self.occluder.boxes(cells[:: max(1, len(cells) // _SAMPLE)]))
        runs = self._check_runs(raw, unchanged, measure_over, stopped) if changed else []
        single = _MIXED if segmenter.reading.batch_dependent else ""
        planned = make_plan(
            segmenter, self.occluder, self.inference, self.settings.tolerance, cells, raw, seconds, single
        )
        inference = Inference(segmenter, planned, self.inference, unchanged, raw)
        cached = self._cached(measure, inference, raw, truth)
        return _RunningScan(self, truth, plain, measure, inference, cached, runs)

    def _prediction(self, raw: Tensor) -> GivenMask:
        """The model's own mask, or class numbers, in place of a ground truth."""
        mask: NDArray[np.bool_] = self.segmenter.binarize(raw)[0].cpu().numpy()
        values = self.segmenter.class_numbers(raw)[0].cpu().numpy() if self.all_classes else mask
        if not mask.any() and not self.all_classes:
            warn_user("the model draws nothing on the image without a disc: every distance follows empty=")
        given = GivenMask(values, mask, None)
        return given if self.truth.ignored is None else given.ignoring(self.truth.ignored)

    def _check_runs(
        self,
        raw: Tensor,
        unchanged: Tensor,
        measure_over: Callable[[Tensor], Measure],
        stopped: Callable[[], bool],
    ) -> list[Measure]:
        """Run the image again, alone and in a batch, unless that has been done with this segmenter.

        Of a model that draws random numbers the runs are returned, else none. One that mixes the images of a batch is
        run on single images from now on.
        """
        segmenter, image = self.segmenter, unchanged[None]
        # Who asks for single images gets what each image gives alone.
        batches = self.sizes.limit > 1
        checked = segmenter.runs_are_checked(unchanged, batches=batches)
        runs: list[Measure] = []
        mixes: bool | None = None
        try:
            if not stopped() and (not checked or segmenter.reading.random):
                runs = repeated_runs(raw, lambda: segmenter.raw(image.clone()), measure_over)
            if not stopped() and not checked:
                mixes = mixes_batches(segmenter, image) > 1 if batches else None
                segmenter.note_runs(unchanged, batch_dependent=mixes, random=bool(runs))
        except Exception as error:  # noqa: BLE001 - any error is reported with its place
            raise_with_cell(error, None)
        if (noise := _noise(runs)) is not None and not checked:
            warn_user(
                f"two runs of the model on one image differ, by up to {noise.pixels} px of the mask and "
                f"{noise.distance:.3g} of the distance: smaller differences in the map say nothing; is dropout on, "
                "or does the model sample?"
            )
        if mixes:
            warn_user(f"{_MIXED}: images are run one at a time")
        if segmenter.reading.batch_dependent:
            self.sizes.run_singly()
        return runs

    def _cached(self, measure: Measure, inference: Inference, raw: Tensor, truth: GivenMask) -> DistanceCache:
        """What earlier scans measured with the same model, image, truth and settings."""
        settings, segmenter = self.settings, self.segmenter
        unchanged = Measured(measure.distance, MaskPatch((0, 0, 0, 0), b""))
        if settings.distance == "custom":
            # What a user's function depends on is unknown.
            return DistanceCache(ScanCache(), b"", unchanged)
        key = (
            # Never serve a cached windowed result to inference="full".
            self.inference == "full", inference.tolerance,
            settings.distance, settings.empty, settings.spacing,
            segmenter.target, segmenter.threshold, segmenter.activation, segmenter.classes, segmenter.align,
            segmenter.layout, segmenter.pad_to, segmenter.output, segmenter.preprocess, self.all_classes,
        )  # fmt: skip
        images = [self.image, self.occluder.unchanged]
        if isinstance(self.occluder, Occlusion):
            images.append(self.occluder.inside)
        truths = [truth.values] if truth.ignored is None else [truth.values, truth.ignored]
        return self.cache.for_scan(segmenter, unchanged, repr(key), raw, *truths, *images)


class MeasureOver(Protocol):
    """Measures windows over a raw output."""

    def __call__(self, raw: Tensor, unoccluded: NDArray[np.bool_] | None = None) -> Measure: ...


class _RunningScan:
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
        self._runs, self._noise = runs, _noise(runs)
        self._grid = prepared.occluder.grid
        self._asked = prepared.settings.asked(self._grid)
        self._truth, self._image = truth, prepared.image.numpy()
        self._approximation: Approximation | None = None
        # Keys of the cells that this scan itself put into the cache.
        self._put: set[bytes] = set()
        self._cache_checked = False
        unchanged = prepared.occluder.unchanged
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

        def run(part: slice) -> ScanUpdate:
            (outputs,) = self.inference.outputs(cells, changes, fresh[part])
            return record(outputs)

        def fail(index: int, error: Exception) -> None:
            raise_with_cell(error, (int(cells[fresh[index], 0]), int(cells[fresh[index], 1])))

        for _, update in run_in_batches(
            len(fresh), run, self._prepared.sizes, on_error=fail, fatal=(WindowsDifferError,)
        ):
            yield update

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
            same = one is not None and patch_of(self._measure.predicted, 0, 0, windows[0]) == one.mask
        except Exception:  # noqa: BLE001 - the cell is run again, and that says what is wrong
            same = False
        if not same:
            self._cached.clear()
            cached.update(dict.fromkeys((key for key in cached if key), None))


_NO_CELLS = np.empty((0, 2), np.intp)


def _noise(runs: list[Measure]) -> Noise | None:
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
