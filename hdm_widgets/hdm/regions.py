"""Regions and objects of the image: what a scan's discs change there, and how much of the map lies there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hdm_widgets._masks import GivenMask, read_mask, to_array, without
from hdm_widgets._validation import check_choice
from hdm_widgets.hdm.circle_map import PaintingOrder, ResultType
from hdm_widgets.hdm.flipped_pixels import largest_per_object
from hdm_widgets.hdm.object_influence import ObjectInfluence, Objects
from hdm_widgets.hdm.objects import ObjectSource

if TYPE_CHECKING:
    from hdm_widgets.hdm.result import HDMResult

__all__ = [
    "influence_between",
    "influence_of_objects",
    "influence_on",
    "objects_of",
    "relevance_mass_accuracy",
]


def relevance_mass_accuracy(
    result: HDMResult, region: ArrayLike, result_type: ResultType | str, order: PaintingOrder
) -> float:
    """See `HDMResult.relevance_mass_accuracy`."""
    given = _read_region(result, region)
    painted = result.painted_values(result_type, order=order)
    infinite = np.isinf(painted)
    # Beside infinite values the finite ones are nothing. Less and more of a signed measure are both relevant.
    painted = infinite.astype(np.float64) if infinite.any() else np.abs(np.nan_to_num(painted))
    if given.ignored is not None:
        painted[given.ignored] = 0
    total = painted.sum()
    return float(painted[given.mask].sum() / total) if total else 0.0


def _read_region(result: HDMResult, region: ArrayLike | Tensor) -> GivenMask:
    """A region of a result's image, as a user gave it."""
    given = read_mask(region, name="region", may_ignore=False)
    _check_size(result, "region", given.mask)
    return given


def influence_on(result: HDMResult, region: ArrayLike | Tensor) -> NDArray[np.float64]:
    """See `HDMResult.influence`."""
    given = _read_region(result, region)
    counted = without(without(given.mask, given.ignored), result.ignored)
    if not counted.any():
        raise ValueError("the region has no pixel that counts")
    return result._flipped_pixels.sums(counted) / np.count_nonzero(counted)


def objects_of(result: HDMResult, name: str, given: ObjectSource | ArrayLike | Tensor) -> Objects:
    """Objects of a result's ground truth or prediction, or of a label map."""
    if isinstance(given, str):
        check_choice(name, given, ObjectSource, "; or give a label map (H, W)")
        mask = without(result.baseline_mask, result.ignored) if given == "prediction" else result.segment
        return Objects.of_mask(mask, given)
    return Objects(_objects(result, name, given)[0], "label map")


def influence_of_objects(result: HDMResult, by: Objects, on: Objects) -> ObjectInfluence:
    """See `HDMResult.object_influence`."""
    values, cells = influence_between(result, by.labels, on.labels)
    return ObjectInfluence(values, by, on, cells, result.image)


def influence_between(
    result: HDMResult, by: ArrayLike | Tensor, on: ArrayLike | Tensor
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """See `HDMResult.influence_matrix`; with the cell of each value, (n_by, n_on, 2)."""
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
