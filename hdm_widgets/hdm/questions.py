"""What else the masks of a scan answer, without another run of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hdm_widgets._bitmasks import MaskPatch
from hdm_widgets._masks import check_truth, without
from hdm_widgets._validation import check_choice
from hdm_widgets.hdm.flipped_pixels import FlippedPixels, Masks
from hdm_widgets.hdm.named_measures import MEASURES, MeasureName, windowed_measure
from hdm_widgets.hdm.noise import Noise, noise_between
from hdm_widgets.hdm.object_influence import ObjectInfluence
from hdm_widgets.hdm.objects import ObjectSource, nearer_to_others, object_at
from hdm_widgets.hdm.regions import influence_between, influence_of_objects, influence_on, objects_of
from hdm_widgets.metrics.distance import ReferenceMask
from hdm_widgets.metrics.spacing import check_spacing
from hdm_widgets.metrics.windowed_measure import WindowedMeasure

if TYPE_CHECKING:
    from hdm_widgets.hdm.result import HDMResult

__all__ = [
    "AskedMasks",
    "ComparedMask",
    "StoredMeasure",
    "described",
    "kept_masks",
    "of_class",
]


def kept_masks(result: HDMResult) -> Masks:
    """The masks that a scan kept; an error if it kept none."""
    if result._masks is None:
        raise ValueError("the masks were not kept; explain(..., keep_outputs=True) keeps them")
    return result._masks


@dataclass(frozen=True, eq=False)
class ComparedMask:
    """What masks are compared with.

    Attributes
    ----------
    mask : numpy.ndarray, bool (H, W)
        Without ignored pixels.
    ignored : numpy.ndarray, bool (H, W), or None
    of_prediction : bool
        The model's own mask for the image without a disc, or a part of it.
    of_object : bool
        One object of several.
    """

    mask: NDArray[np.bool_]
    ignored: NDArray[np.bool_] | None
    of_prediction: bool = False
    of_object: bool = False

    @classmethod
    def scanned(cls, result: HDMResult) -> ComparedMask:
        """What a result's masks were compared with."""
        settings = result.settings
        return cls(result.segment, result.ignored, settings.of_prediction, settings.of_object)

    @classmethod
    def read(cls, result: HDMResult, segment: ArrayLike | Tensor | Literal["prediction"]) -> ComparedMask:
        """Another ground truth for a result, as a user gave it, or its prediction."""
        if isinstance(segment, str):
            check_choice("segment", segment, ("prediction",), "; or give a mask (H, W)")
            return cls(without(result.baseline_mask, result.ignored), result.ignored, of_prediction=True)
        given = check_truth(segment, result.height, result.width, result.ignored)
        return cls(given.mask, result.ignored)


def compared_object(compared: ComparedMask, row: int, col: int, spacing: Sequence[float]) -> ComparedMask:
    """One object of what masks are compared with; pixels that are nearer to others do not count.

    Raises
    ------
    ValueError
        If no object has this pixel.
    """
    one = object_at(compared.mask, row, col, "prediction" if compared.of_prediction else "ground truth")
    nearer, ignored = nearer_to_others(compared.mask, one, spacing), compared.ignored
    if nearer is not None:
        ignored = nearer if ignored is None else ignored | nearer
    return ComparedMask(one, ignored, compared.of_prediction, of_object=True)


class StoredMeasure:
    """A measure of the masks that a scan keeps, also while it runs: no mask is measured twice.

    Parameters
    ----------
    result : HDMResult
        Of the scan, whatever cells it has so far.
    name, spacing
        As for `HDMResult.measure`.
    compared : ComparedMask, optional
        What masks are compared with; by default what the scan compared them with.
    like : StoredMeasure, optional
        Another measure of the same masks, compared with the same; what it has found of them may serve this one.

    Raises
    ------
    ValueError
        As `HDMResult.measure` does, for what is wrong before any disc.
    """

    def __init__(
        self,
        result: HDMResult,
        name: MeasureName,
        compared: ComparedMask | None = None,
        spacing: Sequence[float] | None = None,
        like: StoredMeasure | None = None,
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
        self._compared = compared or ComparedMask.scanned(result)
        self._settings = replace(
            result.settings,
            distance=name,
            spacing=scale,
            of_prediction=self._compared.of_prediction,
            of_object=self._compared.of_object,
        )
        self._as_scanned = self._settings == result.settings and compared is None
        self._patches = masks.patches
        # Of the mask without a disc; None where nothing is measured anew.
        self._plain: WindowedMeasure | None = None
        self._measure: WindowedMeasure
        if self._as_scanned:
            return
        truth, ignored = self._compared.mask, self._compared.ignored
        reference = ReferenceMask(truth, empty=self._settings.empty, spacing=scale, ignore=ignored)
        of_plain, of_others = None, None
        if like is not None and like._plain is not None and like._settings.spacing == scale:
            of_plain, of_others = like._plain, like._measure
        plain = windowed_measure(name, reference, result.baseline_mask, like=of_plain)
        self._plain = self._measure = plain
        self._baseline = plain.base_distance
        if not np.array_equal(masks.predicted, result.baseline_mask):
            self._measure = windowed_measure(name, reference, masks.predicted, result.baseline_mask, of_others)
        self._noise = _noise(result, name, reference)
        self._classes = None
        if result._classes is not None and compared is None:
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
        cells = list(zip(*(indices.tolist() for indices in np.nonzero(result.measured)), strict=True))
        patches = [masks.patches[cell] for cell in cells]
        new = {patch: cell for patch, cell in zip(patches, cells, strict=True) if patch not in found}
        for batch in masks.batches(new.values()):
            distances = self._measure.distances(batch.rows, batch.cols, batch.windows).tolist()
            found.update(zip((masks.patches[cell] for cell in batch.cells), distances, strict=True))
        values = np.full(result.values.shape, np.nan)
        values[result.measured] = [found[patch] for patch in patches]
        values[~self._settings.asked(result.grid)] = self._baseline
        approximation = result.approximation
        measured = replace(
            result, values=values, baseline=self._baseline, segment=self._compared.mask, settings=self._settings,
            approximation=approximation and approximation.in_another_measure(), certain=None,
            noise=self._noise, ignored=self._compared.ignored, _classes=self._classes,
        )  # fmt: skip
        if result.complete:
            # The masks are the same: what is read of them once serves all measures.
            vars(measured)["_flipped_pixels"] = result._flipped_pixels
        return measured


class AskedMasks:
    """Base of `HDMResult`: what is asked of the masks that a scan keeps."""

    @property
    def _result(self) -> HDMResult:
        return cast("HDMResult", self)

    def measure(
        self,
        name: MeasureName,
        segment: ArrayLike | Tensor | Literal["prediction"] | None = None,
        spacing: Sequence[float] | None = None,
    ) -> HDMResult:
        """Measure the masks that were kept in another way, or against another truth; the model is not run.

        Parameters
        ----------
        name : {"hausdorff", "hausdorff95", "mean_surface", "iou", "dice", "area", "flipped", "rows"}
            As `distance=` of a scan; "rows" is taken of masks here, and of the raw output there.
        segment : array_like (H, W) or "prediction", optional
            Another ground truth, nonzero = segment; "prediction": the model's own mask for the image without a disc.
            By default that of the scan.
        spacing : tuple of float, optional
            (row, col), height and width of a pixel; by default that of the scan.

        Returns
        -------
        HDMResult
            As a scan with these settings would have it.

        Raises
        ------
        ValueError
            If masks were not kept; if a mask is empty under `empty="raise"`.
        """
        result = self._result
        compared = None if segment is None else ComparedMask.read(result, segment)
        return StoredMeasure(result, name, compared, spacing).measure(result)

    def for_object(self, row: int, col: int, of: ObjectSource = "truth") -> HDMResult:
        """Explain one object of a mask, as if it were alone; the model is not run.

        An object is a connected component; pixels are connected to all eight neighbors.

        Parameters
        ----------
        row, col : int
            A pixel of the object.
        of : {"truth", "prediction"}
            Whose object: the ground truth's, or that of the model's mask for the image without a disc.

        Returns
        -------
        HDMResult
            As a scan would have it whose `segment` is the object, and whose `ignore` has all pixels that are nearer to
            another object of the same mask: what happens there counts nowhere.

        Raises
        ------
        ValueError
            If there is no object; if masks were not kept, or the distance was a `calculate_distance` of your own; if a
            mask is empty under `empty="raise"`.
        """
        result = self._result
        check_choice("of", of, ObjectSource)
        if result.settings.distance == "custom":
            raise ValueError("a distance of your own is not measured anew; write result.measure(name).for_object(...)")
        whole = ComparedMask.read(result, "prediction") if of == "prediction" else ComparedMask.scanned(result)
        compared = compared_object(whole, row, col, result.settings.spacing)
        return StoredMeasure(result, result.settings.distance, compared).measure(result)  # type: ignore[arg-type]

    def influence(self, region: ArrayLike | Tensor) -> NDArray[np.float64]:
        """The other way round: how much of a region does each disc change?

        Parameters
        ----------
        region : array_like (H, W)
            Nonzero = in the region.

        Returns
        -------
        numpy.ndarray, float64 (rows, cols)
            Fraction of the region's pixels in which the mask differs from the one without a disc; NaN for cells that
            were not measured. Ignored pixels do not count.

        Raises
        ------
        ValueError
            If masks were not kept, or the region has another size or no pixel.
        """
        return influence_on(self._result, region)

    def influence_matrix(self, by: ArrayLike | Tensor, on: ArrayLike | Tensor) -> NDArray[np.float64]:
        """How much does covering one object change the mask on another?

        Parameters
        ----------
        by, on : array_like, int (H, W)
            Label maps, as `scipy.ndimage.label` gives them: every nonzero value is an object. All of a mask of bool is
            one object; `scipy.ndimage.label(mask)[0]` tells its objects apart.

        Returns
        -------
        numpy.ndarray, float64 (n_by, n_on)
            Fraction of the pixels of an object of `on` that flip when a disc covers a pixel of an object of `by`: the
            largest over all such discs. Objects are in ascending order of their labels. NaN where no disc that was
            measured covers the object.

        Raises
        ------
        ValueError
            If masks were not kept, or a label map has another size or no object.
        """
        return influence_between(self._result, by, on)[0]

    def object_influence(
        self, by: ObjectSource | ArrayLike | Tensor | None = None, on: ObjectSource | ArrayLike | Tensor = "prediction"
    ) -> ObjectInfluence:
        """Objects on objects: how much does covering one change the mask on another, with a picture of both?

        Parameters
        ----------
        by, on : {"truth", "prediction"} or array_like, int (H, W)
            What is covered, and where the mask changes: the connected components of the ground truth or of the model's
            mask for the image without a disc, over sides and corners, of which the 24 largest are taken; or label maps
            of your own, all of them. By default the ground truth, where there is one, on the prediction.

        Returns
        -------
        ObjectInfluence
            Its `values` are those of `influence_matrix`.

        Raises
        ------
        ValueError
            As `influence_matrix` does.
        """
        result = self._result
        whole = "prediction" if result.settings.of_prediction else "truth"
        return influence_of_objects(
            result, objects_of(result, "by", whole if by is None else by), objects_of(result, "on", on)
        )

    def class_change(self, a: int, b: int) -> NDArray[np.float64]:
        """Class against class: how much of class `a` does each disc turn into class `b`?

        Parameters
        ----------
        a, b : int
            Two of `classes`.

        Returns
        -------
        numpy.ndarray, float64 (rows, cols)
            Of the pixels that the model calls `a`, and not `b`, without a disc: the fraction that it calls `b` with it.
            NaN for cells that were not measured. Ignored pixels do not count.

        Raises
        ------
        ValueError
            If there is no such class, or the two are one; if the scan did not have `target="all"`; if nothing is `a`
            without a disc.
        """
        result = self._result
        if a == b:
            raise ValueError(f"a class does not turn into itself: a and b are both {a}")
        one, other = (class_masks(result, number) for number in (a, b))
        region = one.baseline_mask & ~other.baseline_mask
        if not without(region, result.ignored).any():
            raise ValueError(f"no pixel is class {a} without a disc")
        return influence_on(other, region)

    @cached_property
    def _flipped_pixels(self) -> FlippedPixels:
        """Pixels in which each cell's mask differs from the one without a disc."""
        result = self._result
        return FlippedPixels(kept_masks(result), result.measured, result.baseline_mask)


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


def class_masks(result: HDMResult, number: int) -> HDMResult:
    """A class of a result for its masks alone, in a measure that always has a value."""
    if result._classes is None:
        raise ValueError("one class was kept; explain(..., target='all') keeps all of them")
    settings = replace(result.settings, distance="flipped", spacing=(1.0, 1.0), empty="diagonal")
    return of_class(replace(result, settings=settings, _classes=result._classes.with_settings(settings)), number)


def described(result: HDMResult) -> str:
    """The `repr` of a result."""
    asked = result.settings.asked(result.grid)
    reached = result._reached & asked
    if result.estimated is not None:
        reached &= ~result.estimated
    done, total = (int(np.count_nonzero(cells)) for cells in (reached, asked))
    finite = result.values[np.isfinite(result.values)]
    settings = result.settings
    digits = settings.decimals
    span = f"{finite.min():.{digits}f} to {finite.max():.{digits}f}" if finite.size else "none"
    shown = "" if result._classes is None else f"class {settings.target} of several; "
    notes = ["compared with the prediction"] if settings.of_prediction else []
    if settings.of_object:
        notes = [f"compared with one object of the {settings.compared_with}"]
    if settings.spacing != (1, 1):
        notes.append("spacing ({:g}, {:g})".format(*settings.spacing))
    if result.ignored is not None and result.ignored.any():
        notes.append(f"{100 * result.ignored.mean():.2g} % of the image ignored")
    if not result.baseline_mask.any() or result.baseline_mask.all():
        notes.append(f"{'everything' if result.baseline_mask.any() else 'nothing'} is drawn without a disc")
    if result.noise is not None:
        notes.append(f"noise of a random model {result.noise.distance:.{digits}f}")
    if result.estimates:
        notes.append(result.estimates)
    if result.disc_drawn:
        notes.append(str(result.disc_drawn))
    return (
        f"HDMResult({shown}{result.grid.rows} x {result.grid.cols} cells of {result.height} x {result.width} px "
        "(rows x columns), "
        f"circle {result.circle_size}, offset {result.offset}; {done} of {total} measured; "
        f"{'; '.join([f'{settings.label} {span}, baseline {result.baseline:.{digits}f}', *notes])})"
    )
