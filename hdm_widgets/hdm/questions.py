"""What else the masks of a scan answer, without another run of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hdm_widgets._bitmasks import MaskPatch
from hdm_widgets._masks import GivenMask, check_truth, read_mask, to_array, without
from hdm_widgets._validation import check_choice
from hdm_widgets.hdm.circle_map import ResultType
from hdm_widgets.hdm.flipped_pixels import Masks, largest_per_object
from hdm_widgets.hdm.named_measures import MEASURES, MeasureName, windowed_measure
from hdm_widgets.hdm.noise import Noise, noise_between
from hdm_widgets.metrics.distance import ReferenceMask
from hdm_widgets.metrics.spacing import check_spacing

if TYPE_CHECKING:
    from hdm_widgets.hdm.result import HDMResult

__all__ = [
    "StoredMeasure",
    "described",
    "influence",
    "influence_matrix",
    "kept_masks",
    "measured_as",
    "of_class",
    "relevance_mass_accuracy",
]


def kept_masks(result: HDMResult) -> Masks:
    """The masks that a scan kept; an error if it kept none."""
    if result._masks is None:
        raise ValueError("the masks were not kept; explain(..., keep_outputs=True) keeps them")
    return result._masks


def measured_as(
    result: HDMResult,
    name: MeasureName,
    segment: ArrayLike | Tensor | Literal["prediction"] | None,
    spacing: Sequence[float] | None,
) -> HDMResult:
    """See `HDMResult.measure`."""
    return StoredMeasure(result, name, segment, spacing).measure(result)


class StoredMeasure:
    """A measure of the masks that a scan keeps, also while it runs: no mask is measured twice.

    Parameters
    ----------
    result : HDMResult
        Of the scan, whatever cells it has so far.
    name, segment, spacing
        As for `HDMResult.measure`.

    Raises
    ------
    ValueError
        As `HDMResult.measure` does, for what is wrong before any disc.
    """

    def __init__(
        self,
        result: HDMResult,
        name: MeasureName,
        segment: ArrayLike | Tensor | Literal["prediction"] | None = None,
        spacing: Sequence[float] | None = None,
    ) -> None:
        check_choice("name", name, MeasureName)
        masks = kept_masks(result)
        if spacing is None:
            # What has no length has no unit either.
            scale = result.settings.spacing if MEASURES[name].unit else (1.0, 1.0)
        elif MEASURES[name].unit:
            scale = check_spacing(spacing)
        else:
            raise ValueError(f"{name!r} is no length: spacing means nothing for it; drop spacing")
        of_prediction, self._truth = result.settings.of_prediction, result.segment
        if isinstance(segment, str):
            check_choice("segment", segment, ("prediction",), "; or give a mask (H, W)")
            of_prediction, self._truth = True, without(result.baseline_mask, result.ignored)
        elif segment is not None:
            of_prediction = False
            self._truth = check_truth(segment, result.height, result.width, result.ignored).mask
        self._settings = replace(result.settings, distance=name, spacing=scale, of_prediction=of_prediction)
        self._as_scanned = self._settings == result.settings and segment is None
        self._patches = masks.patches
        if self._as_scanned:
            return
        reference = ReferenceMask(self._truth, empty=self._settings.empty, spacing=scale, ignore=result.ignored)
        plain = windowed_measure(name, reference, result.baseline_mask)
        self._baseline = plain.base_distance
        same = np.array_equal(masks.predicted, result.baseline_mask)
        self._measure = plain if same else windowed_measure(name, reference, masks.predicted, result.baseline_mask)
        self._noise = _noise(result, name, reference)
        self._classes = None
        if result._classes is not None and segment is None:
            self._classes = result._classes.with_settings(self._settings)
        # Many discs change the mask in the same way.
        self._found: dict[MaskPatch, float] = {}

    def continues(self, result: HDMResult) -> bool:
        """Whether a result has the masks of the same scan, if of another time."""
        return kept_masks(result).patches is self._patches

    def measure(self, result: HDMResult) -> HDMResult:
        """A result of the scan in this measure."""
        if self._as_scanned:
            return result
        masks, found = kept_masks(result), self._found
        values = np.full(result.values.shape, np.nan)
        for row, col in np.argwhere(result.measured).tolist():
            patch = masks.patches[row, col]
            if patch not in found:
                found[patch] = self._measure.distance(*masks.window(row, col))
            values[row, col] = found[patch]
        values[~self._settings.asked(result.grid)] = self._baseline
        approximation = result.approximation
        return replace(
            result, values=values, baseline=self._baseline, segment=self._truth, settings=self._settings,
            approximation=approximation and approximation.in_another_measure(),
            noise=self._noise, _classes=self._classes,
        )  # fmt: skip


def _noise(result: HDMResult, name: str, reference: ReferenceMask) -> Noise | None:
    """How far the masks of a random model for the image without a disc are apart in this measure."""
    if not result._runs:
        return None
    runs = [windowed_measure(name, reference, run, result.baseline_mask).base_distance for run in result._runs]
    return noise_between(runs, result._runs)


def of_class(result: HDMResult, number: int) -> HDMResult:
    """See `HDMResult.for_class`."""
    every = result._classes
    if every is None:
        raise ValueError("one class was kept; explain(..., target='all') keeps all of them")
    number = every.check(number, result.measured)
    if number == result.settings.target:
        return result
    one = every.measure(number, result.measured)
    values = one.distances
    values[~result.settings.asked(result.grid)] = one.baseline
    return replace(
        result, values=values, baseline=one.baseline, segment=one.truth, baseline_mask=one.predicted,
        settings=replace(result.settings, target=number), _masks=every.masks(number), noise=one.noise, _runs=one.runs,
    )  # fmt: skip


def described(result: HDMResult) -> str:
    """The `repr` of a result."""
    done, total = int(np.count_nonzero(result._reached)), result.values.size
    finite = result.values[np.isfinite(result.values)]
    settings = result.settings
    digits = settings.decimals
    span = f"{finite.min():.{digits}f} to {finite.max():.{digits}f}" if finite.size else "none"
    shown = "" if result._classes is None else f"class {settings.target} of several; "
    notes = ["compared with the prediction"] if settings.of_prediction else []
    if settings.spacing != (1, 1):
        notes.append("spacing ({:g}, {:g})".format(*settings.spacing))
    if result.ignored is not None and result.ignored.any():
        notes.append(f"{100 * result.ignored.mean():.2g} % of the image ignored")
    if not result.baseline_mask.any() or result.baseline_mask.all():
        notes.append(f"{'everything' if result.baseline_mask.any() else 'nothing'} is drawn without a disc")
    if result.noise is not None:
        notes.append(f"noise of a random model {result.noise.distance:.{digits}f}")
    if result.approximation is not None and not result.approximation.known:
        notes.append(str(result.approximation))
    if result.disc_drawn:
        notes.append(str(result.disc_drawn))
    return (
        f"HDMResult({shown}{result.grid.rows} x {result.grid.cols} cells of {result.height} x {result.width} px "
        "(rows x columns), "
        f"circle {result.circle_size}, offset {result.offset}; {done} of {total} measured; "
        f"{'; '.join([f'{settings.label} {span}, baseline {result.baseline:.{digits}f}', *notes])})"
    )


def relevance_mass_accuracy(result: HDMResult, region: ArrayLike, result_type: ResultType | str) -> float:
    """See `HDMResult.relevance_mass_accuracy`."""
    given = _read_region(result, region)
    painted = np.nan_to_num(result.painted_values(result_type))
    if given.ignored is not None:
        painted[given.ignored] = 0
    total = painted.sum()
    return float(painted[given.mask].sum() / total) if total else 0.0


def _read_region(result: HDMResult, region: ArrayLike | Tensor) -> GivenMask:
    """A region of a result's image, as a user gave it."""
    given = read_mask(region, name="region", may_ignore=False)
    _check_size(result, "region", given.mask)
    return given


def influence(result: HDMResult, region: ArrayLike | Tensor) -> NDArray[np.float64]:
    """See `HDMResult.influence`."""
    given = _read_region(result, region)
    counted = without(without(given.mask, given.ignored), result.ignored)
    if not counted.any():
        raise ValueError("the region has no pixel that counts")
    return result._flipped_pixels.sums(counted) / np.count_nonzero(counted)


def influence_matrix(result: HDMResult, by: ArrayLike | Tensor, on: ArrayLike | Tensor) -> NDArray[np.float64]:
    """See `HDMResult.influence_matrix`."""
    (covered, n_covered), (flipped, n_flipped) = (
        _objects(result, name, given) for name, given in (("by", by), ("on", on))
    )
    if result.ignored is not None:
        flipped = np.where(result.ignored, 0, flipped)
    sizes = np.bincount(flipped.ravel(), minlength=n_flipped + 1)[1:]
    counts = result._flipped_pixels.counts(flipped, n_flipped + 1)[..., 1:]
    with np.errstate(invalid="ignore"):
        fractions = counts / sizes
    return largest_per_object(fractions, result.grid, covered, n_covered)


def _objects(result: HDMResult, name: str, given: Any) -> tuple[NDArray[np.intp], int]:
    """Objects of a label map (H, W), numbered from 1 in ascending order of their labels, and how many there are."""
    labels = to_array(given)[0]
    if labels.dtype.kind not in "bui":
        raise TypeError(
            f"{name} must be a label map of whole numbers, as scipy.ndimage.label gives it, got {labels.dtype}"
        )
    _check_size(result, name, labels)
    present = np.unique(labels[labels != 0])
    if not len(present):
        raise ValueError(f"{name} has no object: nonzero values are objects, as scipy.ndimage.label gives them")
    numbers = np.where(labels == 0, 0, np.searchsorted(present, labels) + 1)
    return numbers.astype(np.intp), len(present)


def _check_size(result: HDMResult, name: str, given: NDArray[Any]) -> None:
    if given.shape != (result.height, result.width):
        raise ValueError(f"expected a {name} of the image's size ({result.height}, {result.width}), got {given.shape}")
