"""The Hausdorff family of distances between masks, in pixels, and what they mean for empty masks.

A mask is a set of pixels, a pixel is the point at its centre. The Hausdorff distance of two sets is the
largest distance that any pixel of one set has to the nearest pixel of the other.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.distance import directed_hausdorff

from hdm_widgets._validation import check_choice

__all__ = [
    "EmptyPolicy",
    "HausdorffPair",
    "ReferenceMask",
    "hausdorff_distance",
    "hausdorff_pair",
    "hausdorff_percentile",
    "mean_surface_distance",
    "row_distance",
]

EmptyPolicy = Literal["diagonal", "inf", "nan", "raise"]
Mask = NDArray[np.bool_]

# Nearest neighbours by k-d tree cost about this many times more per point than a distance transform does
# per pixel (240 to 1024 px, two cores); the cheaper of the two is taken.
_TREE_COST = 16


class HausdorffPair(NamedTuple):
    """The two pixels whose separation is the Hausdorff distance.

    Attributes
    ----------
    distance : float
        Their distance in pixels.
    from_pixel : tuple of int or None
        (row, col) of the pixel that is farthest from the other mask; None where no pair exists
        because a mask is empty, or the two are equal.
    to_pixel : tuple of int or None
        (row, col) of the pixel of the other mask that is nearest to it.
    from_mask : {"a", "b"} or None
        The mask that `from_pixel` lies in: the first or the second argument.
    """

    distance: float
    from_pixel: tuple[int, int] | None
    to_pixel: tuple[int, int] | None
    from_mask: Literal["a", "b"] | None


def _empty_distance(shape: tuple[int, ...], empty: EmptyPolicy) -> float:
    if empty == "raise":
        raise ValueError("one of the two masks has no pixel, so their distance is not defined; see `empty`")
    return {"diagonal": math.hypot(*shape), "inf": float("inf"), "nan": float("nan")}[empty]


def _mask(a: ArrayLike) -> Mask:
    mask = np.asarray(a) != 0
    if mask.ndim != 2:
        raise ValueError(f"a mask must have two dimensions (H, W), got shape {mask.shape}")
    return cast(Mask, mask)


def _masks(a: ArrayLike, b: ArrayLike) -> tuple[Mask, Mask]:
    first, second = _mask(a), _mask(b)
    if first.shape != second.shape:
        raise ValueError(f"the masks must have the same shape, got {first.shape} and {second.shape}")
    return first, second


def _outline(mask: Mask) -> Mask:
    """Pixels of the mask with one of their four neighbours outside it; the picture's border counts as outside.

    The pixel of a mask that is nearest to a pixel outside always is one of these: from any other, one step
    towards that pixel stays in the mask and comes nearer.
    """
    inner = np.zeros_like(mask)
    core = inner[1:-1, 1:-1]
    np.logical_and(mask[:-2, 1:-1], mask[2:, 1:-1], out=core)
    core &= mask[1:-1, :-2]
    core &= mask[1:-1, 2:]
    return mask & ~inner


def _bounds(mask: Mask) -> tuple[slice, slice] | None:
    """Rows and columns of the smallest box around the mask; None for an empty one."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)) if len(rows) else None


def _points(mask: Mask) -> NDArray[np.intp]:
    rows, cols = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return np.stack([rows, cols], axis=1)


def _farthest(candidates: NDArray[np.intp], mask: Mask) -> float:
    """Largest distance from a candidate pixel (n, 2) outside the mask to its nearest pixel in the mask."""
    if len(candidates) * _TREE_COST < mask.size:
        nearest, _ = cKDTree(_points(_outline(mask)), balanced_tree=False, compact_nodes=False).query(candidates)
        return float(nearest.max())
    distances = ndimage.distance_transform_edt(~mask)
    return float(distances[candidates[:, 0], candidates[:, 1]].max())


class ReferenceMask:
    """A mask that many others are compared with.

    What depends on this mask alone, its distance transform, is computed once. Of every other mask only
    the pixels in which the two differ are looked at: no other pixel can be the farthest.

    Parameters
    ----------
    mask : array_like (H, W)
        Nonzero = segment.
    empty : {"diagonal", "inf", "nan", "raise"}
        The distance where exactly one of two masks is empty: the picture's diagonal, infinity, NaN,
        or a `ValueError`. The distance of two empty masks is always 0.
    """

    def __init__(self, mask: ArrayLike, *, empty: EmptyPolicy = "diagonal") -> None:
        self.mask = _mask(mask).copy()
        self.empty = check_choice("empty", empty, EmptyPolicy)
        self._box = _bounds(self.mask)
        # Squared distances of pixels are whole numbers: int32 keeps them exactly in half the memory.
        self._squared = np.zeros(self.mask.shape, np.int32)
        if self._box is not None:
            self._squared = np.rint(ndimage.distance_transform_edt(~self.mask) ** 2).astype(np.int32)

    def distance(self, mask: ArrayLike) -> float:
        """Hausdorff distance in pixels between `mask` (H, W) and this one."""
        other, _ = _masks(mask, self.mask)
        box = _bounds(other)
        if self._box is None or box is None:
            return 0.0 if self._box is box else _empty_distance(other.shape, self.empty)
        # Outside the box that holds both masks there is nothing to find.
        both = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(self._box, box, strict=True))
        other = other[both]
        added = float(np.sqrt((self._squared[both] * other).max()))
        missed = _points(self.mask[both] & ~other)
        return max(added, _farthest(missed, other)) if len(missed) else added

    def distances(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Hausdorff distances (N,) in pixels of masks (N, H, W)."""
        return np.array([self.distance(mask) for mask in masks], dtype=np.float64)


def hausdorff_distance(a: ArrayLike, b: ArrayLike, *, empty: EmptyPolicy = "diagonal") -> float:
    """Symmetric Hausdorff distance between two sets of pixels.

    Parameters
    ----------
    a, b : array_like (H, W)
        Masks, nonzero = segment.
    empty : {"diagonal", "inf", "nan", "raise"}
        The value where exactly one mask is empty: the picture's diagonal (so that losing the whole
        segment is the worst value), infinity, NaN, or a `ValueError`.

    Returns
    -------
    float
        In pixels; 0 if and only if the masks are equal.

    Raises
    ------
    ValueError
        If the masks are not two-dimensional or differ in shape, or one is empty under `empty="raise"`.

    References
    ----------
    F. Hausdorff: Grundzuege der Mengenlehre, 1914. Definition on pixel sets as in
    D. P. Huttenlocher et al.: Comparing Images Using the Hausdorff Distance. IEEE TPAMI 15 (9), 1993.

    Examples
    --------
    >>> hausdorff_distance([[1, 0, 0, 0]], [[1, 0, 0, 1]])
    3.0
    """
    return ReferenceMask(b, empty=empty).distance(a)


def hausdorff_pair(a: ArrayLike, b: ArrayLike, *, empty: EmptyPolicy = "diagonal") -> HausdorffPair:
    """The Hausdorff distance of two masks with the pixels that attain it.

    Parameters
    ----------
    a, b : array_like (H, W)
        Masks, nonzero = segment.
    empty : {"diagonal", "inf", "nan", "raise"}
        As in `hausdorff_distance`.

    Returns
    -------
    HausdorffPair
        Of several pairs at the same distance, the one that starts in `a`, first in reading order.

    Examples
    --------
    >>> hausdorff_pair([[1, 0, 0, 0]], [[1, 0, 0, 1]])
    HausdorffPair(distance=3.0, from_pixel=(0, 3), to_pixel=(0, 0), from_mask='b')
    """
    first, second = _masks(a, b)
    policy = check_choice("empty", empty, EmptyPolicy)
    if not first.any() or not second.any():
        both = not first.any() and not second.any()
        return HausdorffPair(0.0 if both else _empty_distance(first.shape, policy), None, None, None)
    best = HausdorffPair(0.0, None, None, None)
    for name, source, goal in (("a", first, second), ("b", second, first)):
        distances, nearest = ndimage.distance_transform_edt(~goal, return_indices=True)
        distances = np.where(source, distances, 0.0)
        row, col = divmod(int(distances.argmax()), source.shape[1])
        if distances[row, col] > best.distance:
            to_pixel = (int(nearest[0, row, col]), int(nearest[1, row, col]))
            best = HausdorffPair(float(distances[row, col]), (row, col), to_pixel, cast(Literal["a", "b"], name))
    return best


def _surface_distances(a: Mask, b: Mask) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances from every outline pixel of one mask to the nearest outline pixel of the other, both ways."""
    outline_a, outline_b = _outline(a), _outline(b)
    return (
        ndimage.distance_transform_edt(~outline_b)[outline_a],
        ndimage.distance_transform_edt(~outline_a)[outline_b],
    )


def hausdorff_percentile(
    a: ArrayLike, b: ArrayLike, percentile: float = 95, *, empty: EmptyPolicy = "diagonal"
) -> float:
    """Percentile of the surface distances, HD95 by default: a Hausdorff distance that forgives outliers.

    Parameters
    ----------
    a, b : array_like (H, W)
        Masks, nonzero = segment.
    percentile : float
        In [0, 100].
    empty : {"diagonal", "inf", "nan", "raise"}
        As in `hausdorff_distance`.

    Returns
    -------
    float
        The larger of the two directed percentiles, in pixels.

    Notes
    -----
    As usual for this figure, distances are taken between the masks' outlines (pixels with one of their
    four neighbours outside), with linear interpolation between ranks. `percentile=100` can
    therefore differ from `hausdorff_distance`, which looks at all pixels.

    Examples
    --------
    >>> hausdorff_percentile([[1, 1, 0, 0]], [[1, 1, 0, 0]])
    0.0
    """
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile must be in [0, 100], got {percentile}")
    first, second = _masks(a, b)
    check_choice("empty", empty, EmptyPolicy)
    if not first.any() or not second.any():
        return hausdorff_pair(first, second, empty=empty).distance
    return float(max(np.percentile(distances, percentile) for distances in _surface_distances(first, second)))


def mean_surface_distance(a: ArrayLike, b: ArrayLike, *, empty: EmptyPolicy = "diagonal") -> float:
    """Average symmetric surface distance of two masks.

    Parameters
    ----------
    a, b : array_like (H, W)
        Masks, nonzero = segment.
    empty : {"diagonal", "inf", "nan", "raise"}
        As in `hausdorff_distance`.

    Returns
    -------
    float
        Mean over the outline pixels of both masks of the distance to the other's outline, in pixels.

    Examples
    --------
    >>> mean_surface_distance([[1, 0, 0]], [[0, 0, 1]])
    2.0
    """
    first, second = _masks(a, b)
    check_choice("empty", empty, EmptyPolicy)
    if not first.any() or not second.any():
        return hausdorff_pair(first, second, empty=empty).distance
    return float(np.concatenate(_surface_distances(first, second)).mean())


def row_distance(output: ArrayLike, segment: ArrayLike) -> float:
    """The distance of the method's published code: every row of a map taken as one point.

    The two (H, W) maps go to SciPy's `directed_hausdorff`, both ways, which reads them as H points in
    W dimensions. It is not a distance in pixels: moving a square down by any number of rows gives 0. It is
    here so that results can be compared with those of the published code.

    Parameters
    ----------
    output : array_like (H, W)
        The model's map as it came, not thresholded.
    segment : array_like (H, W)
        The true mask.

    Returns
    -------
    float

    Examples
    --------
    >>> row_distance([[0.0, 1.0], [0.0, 0.0]], [[0, 0], [0, 1]])
    0.0
    """
    first, second = np.asarray(output, dtype=np.float64), np.asarray(segment, dtype=np.float64)
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(f"expected two maps of one shape (H, W), got {first.shape} and {second.shape}")
    return float(max(directed_hausdorff(first, second)[0], directed_hausdorff(second, first)[0]))
