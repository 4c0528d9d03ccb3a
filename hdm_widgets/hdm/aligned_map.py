"""Maps of several images on top of each other: statistics, and alignment on the segments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._wording import quantity

__all__ = ["AlignedMap", "Moments", "Placed", "align"]


class Moments:
    """Mean and standard deviation of arrays of one shape, each added once; NaN does not count.

    Attributes
    ----------
    count : numpy.ndarray of int
        How many values each entry has.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = np.zeros(shape, np.int64)
        self._sum = np.zeros(shape)
        self._mean = np.zeros(shape)
        self._squares = np.zeros(shape)

    def add(self, values: NDArray[np.float64], inside: tuple[slice, ...] = ()) -> None:
        """Add an array, or one that fills a part."""
        counted = ~np.isnan(values)
        count, total, mean, squares = (
            each[inside] if inside else each for each in (self.count, self._sum, self._mean, self._squares)
        )
        count[counted] += 1
        given = values[counted]
        # After Welford. Infinite values have an infinite sum, and no deviation.
        with np.errstate(invalid="ignore"):
            total[counted] += given
            before = given - mean[counted]
            mean[counted] += before / count[counted]
            squares[counted] += before * (given - mean[counted])

    @property
    def mean(self) -> NDArray[np.float64]:
        """NaN where nothing was added."""
        return self._per_count(self._sum)

    @property
    def spread(self) -> NDArray[np.float64]:
        """Standard deviation, with the number of values as its divisor; NaN where nothing was added."""
        with np.errstate(invalid="ignore"):
            deviation: NDArray[np.float64] = np.sqrt(self._per_count(self._squares))
        return deviation

    def _per_count(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        means: NDArray[np.float64] = np.divide(sums, self.count, out=np.full(sums.shape, np.nan), where=self.count > 0)
        return means


@dataclass(frozen=True, eq=False)
class AlignedMap:
    """A map around the centroids of the segments of several images.

    Made by `HDMCollection.aligned`. `numpy.asarray` gives the mean.

    Attributes
    ----------
    mean : numpy.ndarray, float64 (h, w)
        Mean over the images that have a pixel there; NaN where none has.
    spread : numpy.ndarray, float64 (h, w)
        Standard deviation over these images (divided by their number); NaN where there is none.
    count : numpy.ndarray, int64 (h, w)
        How many images have a pixel there.
    origin : tuple of int
        (row, col) of the pixel on which all centroids lie.
    scaled : bool
        Whether images were resized so that all segments have one area.
    size : float
        Side of a square with the area of the segments, in pixels of the map: the median over the images. If `scaled`,
        that of each.
    indices : tuple of int
        Items that are aligned.
    left_out : tuple of int
        Items whose segment is empty: it has no centroid.
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    count: NDArray[np.int64]
    origin: tuple[int, int]
    scaled: bool
    size: float
    indices: tuple[int, ...]
    left_out: tuple[int, ...] = field(default=())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The mean."""
        return np.array(self.mean, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        height, width = self.mean.shape
        images = quantity(len(self.indices), "image")
        left = f"; {len(self.left_out)} with an empty segment left out" if self.left_out else ""
        how = "and sizes " if self.scaled else ""
        return (
            f"AlignedMap({images} on the centroids {how}of their segments, {height} x {width} px (rows x columns), "
            f"centroids at {self.origin}, segments of {self.size:.3g} x {self.size:.3g} px in the median{left})"
        )


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the segment of an image is.

    Attributes
    ----------
    shape : tuple of int
        (H, W) of the image.
    centroid : tuple of float
        (row, col).
    size : float
        Side of a square with the segment's area.
    """

    shape: tuple[int, int]
    centroid: tuple[float, float]
    size: float

    @classmethod
    def from_segment(cls, segment: NDArray[np.bool_]) -> Placed | None:
        """Find the segment of an image; None if it is empty."""
        rows, cols = np.nonzero(segment)
        if not len(rows):
            return None
        height, width = segment.shape
        return cls((height, width), (float(rows.mean()), float(cols.mean())), float(np.sqrt(len(rows))))


def align(
    placed: Mapping[int, Placed],
    maps: Iterable[Sequence[NDArray[np.float64]]],
    left_out: tuple[int, ...],
    *,
    scaled: bool,
) -> list[AlignedMap]:
    """Put maps (H, W) on top of each other.

    Parameters
    ----------
    placed : mapping of int to Placed
        At least one, by the index of the image.
    maps : iterable of sequence of numpy.ndarray
        Maps of each image, as many of one as of another; read one after the other.
    left_out : tuple of int
        Items without a segment.
    scaled : bool
        Resize each map so that its segment has the median size.

    Returns
    -------
    list of AlignedMap
        One for each map of an image.
    """
    size = float(np.median([one.size for one in placed.values()]))
    zooms = {index: size / one.size if scaled else 1.0 for index, one in placed.items()}
    # A segment of few pixels would blow up its image without bound.
    most = max(max(one.shape) for one in placed.values())
    before, after = (
        tuple(min(most, max(_extent(one, zooms[index], axis)[end] for index, one in placed.items())) for axis in (0, 1))
        for end in (0, 1)
    )
    found: list[Moments] = []
    for (index, one), several in zip(placed.items(), maps, strict=True):
        windows, sources = zip(
            *(_window(one, zooms[index], axis, before[axis], after[axis]) for axis in (0, 1)), strict=True
        )  # fmt: skip
        if not found:
            found = [Moments((before[0] + after[0] + 1, before[1] + after[1] + 1)) for _ in several]
        for moments, values in zip(found, several, strict=True):
            moments.add(values[np.ix_(*sources)], windows)
    return [
        AlignedMap(
            moments.mean, moments.spread, moments.count, (before[0], before[1]), scaled, size, tuple(placed), left_out
        )
        for moments in found
    ]


def _center(one: Placed, axis: int) -> int:
    """The pixel on which a centroid lies; of two that are equally near, the second."""
    return int(np.floor(one.centroid[axis] + 0.5))


def _extent(one: Placed, zoom: float, axis: int) -> tuple[int, int]:
    """How many pixels of the map an image takes before and after its centroid."""
    center = _center(one, axis)
    return int(np.ceil(center * zoom)), int(np.ceil((one.shape[axis] - 1 - center) * zoom))


def _window(one: Placed, zoom: float, axis: int, before: int, after: int) -> tuple[slice, NDArray[np.intp]]:
    """Along an axis: the part of the map that an image fills, and the nearest pixel of the image for each there."""
    steps = np.arange(-before, after + 1)
    pixels = np.floor(_center(one, axis) + steps / zoom + 0.5).astype(np.intp)
    inside = np.nonzero((pixels >= 0) & (pixels < one.shape[axis]))[0]
    return slice(int(inside[0]), int(inside[-1]) + 1), pixels[inside]
