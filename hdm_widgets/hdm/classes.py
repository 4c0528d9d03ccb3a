"""The masks of all classes of a scan, and what each class measures."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._bitmasks import MaskPatch, MaskStore, WindowBatch
from hdm_widgets._masks import without
from hdm_widgets._validation import is_whole
from hdm_widgets.hdm.named_measures import windowed_measure
from hdm_widgets.hdm.noise import Noise, noise_between
from hdm_widgets.hdm.options import ScanSettings
from hdm_widgets.metrics.distance import ReferenceMask
from hdm_widgets.metrics.windowed_measure import WindowedMeasure
from hdm_widgets.models.errors import ModelOutputError

__all__ = ["ClassMasks", "MasksOfClass", "OneClass", "check_classes"]

_PREFIX = "class"


def check_classes(truth: NDArray[np.integer], count: int | None) -> None:
    """Refuse a ground truth (H, W) with a class that the model does not have; a `count` of None stands for any."""
    highest = int(truth.max(initial=0))
    if count is not None and highest >= count:
        raise ModelOutputError(
            f"the ground truth has class {highest}, but the model returned {count} classes, 0 to {count - 1}; for "
            f"pixels that do not count, ignore={highest}"
        )


@dataclass(frozen=True, eq=False)
class OneClass:
    """What a class measures.

    Attributes
    ----------
    distances : numpy.ndarray, float64 (rows, cols)
        NaN where a cell was not measured.
    baseline : float
    truth : numpy.ndarray, bool (H, W)
        Without ignored pixels.
    predicted : numpy.ndarray, bool (H, W)
        For the image without a disc.
    noise : Noise or None
    runs : tuple of numpy.ndarray, bool (H, W)
        Masks of repeated runs on the image without a disc, of a model whose runs differ.
    """

    distances: NDArray[np.float64]
    baseline: float
    truth: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    noise: Noise | None
    runs: tuple[NDArray[np.bool_], ...]


class ClassMasks:
    """The class of every pixel in every measured cell, from which each class is measured without the model.

    A running scan may add cells meanwhile: those that were measured before are not measured again.

    Parameters
    ----------
    cells : MaskStore
        Class numbers, as patches of those for the image with an empty disc.
    predicted : numpy.ndarray, int (H, W)
        Class numbers for the image without a disc.
    truth : numpy.ndarray, int (H, W)
        Class numbers.
    ignored : numpy.ndarray, bool (H, W), or None
    settings : ScanSettings
    count : int or None
        How many classes the model has; None where it returns class numbers.
    runs : sequence of numpy.ndarray, int (H, W)
        Class numbers of repeated runs on the image without a disc, of a model whose runs differ.
    """

    def __init__(
        self,
        cells: MaskStore,
        predicted: NDArray[Any],
        truth: NDArray[np.integer],
        ignored: NDArray[np.bool_] | None,
        settings: ScanSettings,
        count: int | None,
        runs: Sequence[NDArray[Any]] = (),
    ) -> None:
        self._cells, self._predicted, self._truth, self._ignored = cells, predicted, truth, ignored
        self._settings, self.count, self._runs = settings, count, runs
        self._lock = threading.Lock()
        # By class, what has been measured of it.
        self._distances: dict[int, dict[tuple[int, int], float]] = {}
        self._baselines: dict[int, tuple[float, Noise | None]] = {}
        # Of the class that was asked for last: it may take as much memory as all masks.
        self._measure: tuple[int, WindowedMeasure] | None = None
        # Class numbers that were seen, and in which cells.
        self._numbers = {int(each) for array in (predicted, cells.predicted, truth) for each in np.unique(array)}
        self._seen: set[tuple[int, int]] = set()

    def __reduce__(self) -> tuple[type[ClassMasks], tuple[Any, ...]]:
        # What has been measured is measured again where it is needed.
        return ClassMasks, self._given(self._settings)

    def with_settings(self, settings: ScanSettings) -> ClassMasks:
        """The same masks, measured as other settings say."""
        return ClassMasks(*self._given(settings))

    def _given(self, settings: ScanSettings) -> tuple[Any, ...]:
        return self._cells, self._predicted, self._truth, self._ignored, settings, self.count, self._runs

    def numbers(self, measured: NDArray[np.bool_]) -> tuple[int, ...]:
        """The classes of the model, or those in its outputs for these cells, bool (rows, cols), and in the truth."""
        if self.count is not None:
            return tuple(range(self.count))
        with self._lock:
            for cell in _cells(measured):
                if cell not in self._seen:
                    self._seen.add(cell)
                    self._numbers.update(np.unique(self._cells.window(*cell)[2]).tolist())
            return tuple(sorted(number for number in self._numbers if number >= 0))

    def check(self, number: object, measured: NDArray[np.bool_]) -> int:
        """Check that there is a class of this number."""
        numbers = self.numbers(measured)
        if not is_whole(number) or number not in numbers:
            raise ValueError(f"there is no class {number!r}; the classes are {', '.join(map(str, numbers))}")
        return int(number)

    def masks(self, number: int) -> MasksOfClass:
        """The masks of one class."""
        return MasksOfClass(self._cells, number)

    def measure(self, number: int, measured: NDArray[np.bool_]) -> OneClass:
        """Measure one class in some cells, bool (rows, cols).

        Raises
        ------
        ValueError
            If a mask is empty under `empty="raise"`.
        """
        truth, predicted = without(self._truth == number, self._ignored), self._predicted == number
        with self._lock:
            if self._measure is None or self._measure[0] != number:
                self._measure = (
                    number,
                    self._windowed(truth, self._cells.predicted == number, predicted),
                )
            windowed = self._measure[1]
            if number not in self._baselines:
                self._baselines[number] = self._unoccluded(number, truth, predicted)
            known = self._distances.setdefault(number, {})
            cells = _cells(measured)
            for batch in self.masks(number).batches(cell for cell in cells if cell not in known):
                found = windowed.distances(batch.rows, batch.cols, batch.windows)
                known.update(zip(batch.cells, found.tolist(), strict=True))
            distances = np.full(measured.shape, np.nan)
            distances[measured] = [known[cell] for cell in cells]
            baseline, noise = self._baselines[number]
        runs = tuple(run == number for run in self._runs)
        return OneClass(distances, baseline, truth, predicted, noise, runs)

    def _windowed(
        self, truth: NDArray[np.bool_], mask: NDArray[np.bool_], unoccluded: NDArray[np.bool_]
    ) -> WindowedMeasure:
        settings = self._settings
        reference = ReferenceMask(truth, empty=settings.empty, spacing=settings.spacing, ignore=self._ignored)
        return windowed_measure(settings.distance, reference, mask, unoccluded)

    def _unoccluded(
        self, number: int, truth: NDArray[np.bool_], predicted: NDArray[np.bool_]
    ) -> tuple[float, Noise | None]:
        """Baseline and noise of a class."""
        masks = [run == number for run in self._runs]
        baseline, *runs = (self._windowed(truth, mask, predicted).base_distance for mask in (predicted, *masks))
        return baseline, noise_between(runs, masks) if masks else None

    def arrays(self, measured: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """Arrays for a file, with the cells that are True in `measured` (rows, cols)."""
        written = self._cells.arrays(measured, _PREFIX)
        written |= {f"{_PREFIX}_predicted": self._predicted, f"{_PREFIX}_truth": self._truth}
        if self._runs:
            written[f"{_PREFIX}_runs"] = np.stack(self._runs)
        return written

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, NDArray[Any]], settings: ScanSettings, count: int | None
    ) -> ClassMasks | None:
        """Read what `arrays` wrote; None if it wrote nothing."""
        if f"{_PREFIX}_base" not in arrays:
            return None
        return cls(
            MaskStore.from_arrays(arrays, _PREFIX), arrays[f"{_PREFIX}_predicted"], arrays[f"{_PREFIX}_truth"],
            arrays.get("ignored"), settings, count, tuple(arrays.get(f"{_PREFIX}_runs", ())),
        )  # fmt: skip


class MasksOfClass:
    """The masks of one class in the measured cells.

    Parameters
    ----------
    cells : MaskStore
        Class numbers.
    number : int

    Attributes
    ----------
    predicted : numpy.ndarray, bool (H, W)
        The mask that all equal outside their windows.
    """

    def __init__(self, cells: MaskStore, number: int) -> None:
        self._cells, self._number = cells, number
        self.predicted: NDArray[np.bool_] = cells.predicted == number

    @property
    def patches(self) -> dict[tuple[int, int], MaskPatch]:
        """Of the class numbers: equal ones have equal masks."""
        return self._cells.patches

    def mask(self, row: int, col: int) -> NDArray[np.bool_]:
        """The whole mask (H, W) of a cell."""
        mask: NDArray[np.bool_] = self._cells.mask(row, col) == self._number
        return mask

    def window(self, row: int, col: int) -> tuple[int, int, NDArray[np.bool_]]:
        """Where the window of a cell begins, and its pixels (h, w)."""
        at_row, at_col, window = self._cells.window(row, col)
        return at_row, at_col, window == self._number

    def batches(self, cells: Iterable[tuple[int, int]]) -> Iterator[WindowBatch]:
        """The windows of many cells in turn, as many at a time as memory allows."""
        for batch in self._cells.batches(cells):
            yield replace(batch, windows=[window == self._number for window in batch.windows])


def _cells(measured: NDArray[np.bool_]) -> list[tuple[int, int]]:
    return [(row, col) for row, col in np.argwhere(measured).tolist()]
