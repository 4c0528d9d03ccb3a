"""Scans of many images: what they have in common, and which image is the most fragile."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._validation import brief, is_whole
from hdm_widgets._wording import quantity
from hdm_widgets.hdm.aligned_map import AlignedMap, Moments, align
from hdm_widgets.hdm.circle_map import RAW, ResultType
from hdm_widgets.hdm.collection_plot import plot_collection
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.kept_scans import ImageFacts, Scans, ScansInStore
from hdm_widgets.hdm.result import HDMResult

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["HDMCollection"]

Floats = NDArray[np.float64]


class HDMCollection(Sequence[HDMResult]):
    """Results of scans of many images.

    Made by `explain_many`. It has a length, `collection[i]` is the result of the image `collection.indices[i]`, and a
    loop gives all results. From a store, a result is read when it is asked for.

    Parameters
    ----------
    scans : Scans
        Where the results are.
    fills : sequence of str
        What the fills are called.
    indices : sequence of int
        Images that were asked for.
    errors : mapping of int to str
        Why there is no result of an image.

    Attributes
    ----------
    fills : tuple of str
        Fills that every image was scanned with. All maps and figures are of the first, but for the spread over fills.
    asked : tuple of int
        Images that were asked for, as positions in the data set.
    errors : dict of int to str
        What went wrong with an image, by its position in the data set; those after a stop are not in it.
    """

    def __init__(
        self, scans: Scans, fills: Sequence[str], indices: Sequence[int], errors: Mapping[int, str] | None = None
    ) -> None:
        self._scans = scans
        self.fills = tuple(fills)
        self.asked = tuple(indices)
        self.errors = dict(errors or {})
        done = set(scans.indices)
        self._indices = tuple(index for index in self.asked if index in done)

    @classmethod
    def open(cls, store: str | os.PathLike[str]) -> HDMCollection:
        """Read what `explain_many(..., store=)` has written; no result is read before it is asked for.

        Parameters
        ----------
        store : str or os.PathLike
            A folder, or an address that fsspec knows.

        Returns
        -------
        HDMCollection
            Of all images in the store, by position in the data set.

        Raises
        ------
        StoreError
            If there are no scans; when a result is read, if its file is damaged.
        """
        scans = ScansInStore.open(store)
        return cls(scans, scans.fills, scans.indices)

    @property
    def indices(self) -> tuple[int, ...]:
        """Images that have a result, as positions in the data set."""
        return self._indices

    @property
    def complete(self) -> bool:
        """Whether every image that was asked for has a result."""
        return len(self._indices) == len(self.asked)

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, position: int) -> HDMResult: ...

    @overload
    def __getitem__(self, position: slice) -> HDMCollection: ...

    def __getitem__(self, position: int | slice) -> HDMResult | HDMCollection:
        if isinstance(position, slice):
            return HDMCollection(self._scans, self.fills, self._indices[position])
        return self._scans.result(self._indices[position])

    def with_fill(self, position: int, fill: str) -> HDMResult:
        """The result of an image with another of the fills.

        Parameters
        ----------
        position : int
            As in `collection[position]`.
        fill : str
            One of `fills`.

        Returns
        -------
        HDMResult
        """
        if fill not in self.fills:
            raise ValueError(f"there is no fill {fill!r}; the fills are {', '.join(self.fills)}")
        return self._scans.result(self._indices[position], self.fills.index(fill))

    def of_item(self, index: int) -> HDMResult:
        """The result of an image by its position in the data set.

        Parameters
        ----------
        index : int

        Returns
        -------
        HDMResult

        Raises
        ------
        KeyError
            If there is no result; the message has the reason where it is known.
        """
        if not is_whole(index) or index not in self._indices:
            raise KeyError(f"there is no result of item {index}: {self.errors.get(index, 'it was not scanned')}")
        return self._scans.result(index)

    # -- in the image's frame -----------------------------------------------------------------------

    def mean(self, result_type: ResultType | str = RAW) -> Floats:
        """Mean over the images, cell by cell.

        Parameters
        ----------
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}

        Returns
        -------
        numpy.ndarray, float64 (rows, cols)
            In the unit of the distances; NaN in cells that were measured in no image. Distances that are not defined
            do not count.

        Raises
        ------
        ValueError
            If there is no result, or the images have several sizes: then `aligned` serves.
        """
        return self._moments([ResultType(result_type)])[0].mean

    def spread(self, result_type: ResultType | str = RAW) -> Floats:
        """Standard deviation over the images, cell by cell, with their number as its divisor.

        Parameters
        ----------
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}

        Returns
        -------
        numpy.ndarray, float64 (rows, cols)
            As for `mean`.

        Raises
        ------
        ValueError
            As for `mean`.
        """
        return self._moments([ResultType(result_type)])[0].spread

    def _moments(self, kinds: Sequence[ResultType]) -> list[Moments]:
        """Of each kind; every result is read once."""
        self._check_any()
        grid = self._grid(self._indices[0])
        for index in self._indices:
            other = self._grid(index)
            if other != grid:
                raise ValueError(
                    f"image {self._indices[0]} has {grid.height} x {grid.width} px and image {index} {other.height} x "
                    f"{other.width} px (rows x columns): a mean in the image's frame needs one size and one grid; "
                    "aligned() puts images of all sizes on the centroids of their segments"
                )
        found = [Moments(grid.shape) for _ in kinds]
        for result in self:
            for kind, moments in zip(kinds, found, strict=True):
                moments.add(np.where(result.measured, result.distances(kind), np.nan))
        return found

    def _grid(self, index: int) -> Grid:
        return self._scans.record(index).grid

    # -- in the segment's frame ---------------------------------------------------------------------

    def aligned(self, result_type: ResultType | str = RAW, *, scaled: bool = False) -> AlignedMap:
        """Mean and spread over the images, each moved so that the centroid of its segment lies at one pixel.

        Parameters
        ----------
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
        scaled : bool
            Resize the maps too, so that all segments have one area, the median.

        Returns
        -------
        AlignedMap

        Raises
        ------
        ValueError
            If there is no result, or the segments of all images are empty.

        Notes
        -----
        A pixel has the mean of all discs that cover it, as in `HDMResult.circle_map` with `order="mean"`. Its
        place in the frame is its displacement from the centroid of the segment, the truth's or, where masks are
        compared with the prediction, the prediction's: rows down, columns to the right, in pixels, and in multiples of
        the segment's size if `scaled` (the square root of its area; values are not resampled but those of the nearest
        pixel). The centroid is rounded to a whole pixel. The frame holds all images, as far from the centroid as the
        longest side of the largest; where an image ends, or no disc covers a
        pixel, it does not count, so look at `count`. A segment of several
        objects has one centroid, which may lie on none of them.
        """
        return self._aligned([ResultType(result_type)], scaled=scaled)[0]

    def _aligned(self, kinds: Sequence[ResultType], *, scaled: bool) -> list[AlignedMap]:
        """Of each kind; every result is read once."""
        self._check_any()
        found = {index: self._scans.record(index).placed for index in self._indices}
        placed = {index: one for index, one in found.items() if one is not None}
        if not placed:
            raise ValueError("the segments of all images are empty: there is nothing to align them on")
        results = map(self._scans.result, placed)
        maps = ([result.painted_values(kind, order="mean") for kind in kinds] for result in results)
        return align(placed, maps, tuple(index for index, one in found.items() if one is None), scaled=scaled)

    # -- by image -----------------------------------------------------------------------------------

    def ranking(self, by: str = "fragility") -> pandas.DataFrame:
        """One row per image, the largest value first.

        Parameters
        ----------
        by : {"fragility", "improvability", "fill_spread", "baseline", "iou"}
            What orders the rows. Images for which it is not defined come last.

        Returns
        -------
        pandas.DataFrame
            Indexed by position in the data set, with the columns

            - ``baseline``: distance without a disc;
            - ``fragility``: the largest "worse", by how much a disc takes the mask away from the truth at most;
            - ``improvability``: the largest "better", by how much a disc brings it nearer;
            - ``fill_spread``: mean over the cells of largest less smallest distance with any fill; NaN for one fill;
            - ``iou``: IoU of the mask without a disc.

            All but the last in the unit of the distances.
        """
        import pandas

        rows = [asdict(facts) for _, facts in self._facts()]
        items = pandas.Index(self._indices, name="item", dtype="int64")
        table = pandas.DataFrame(rows, items, list(ImageFacts.__annotations__))
        if by not in table.columns:
            raise ValueError(f"by must be one of {', '.join(table.columns)}, got {brief(by)}")
        return table.sort_values(by, ascending=False, kind="stable", na_position="last")

    def _facts(self) -> list[tuple[int, ImageFacts]]:
        return [(index, self._scans.record(index).facts) for index in self._indices]

    # -- to look at ---------------------------------------------------------------------------------

    def plot(
        self,
        result_type: ResultType | str | None = None,
        *,
        aligned: bool | None = None,
        scaled: bool = False,
        figure: Figure | None = None,
    ) -> Any:
        """Draw the means with matplotlib, with color bars.

        Parameters
        ----------
        result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}, optional
            The map to draw; by default all three.
        aligned : bool, optional
            Draw in the frame of the segments, with the number of images beside it; by default only where images have
            several sizes.
        scaled : bool
            As for `aligned`; only in that frame.
        figure : matplotlib.figure.Figure, optional
            Where to draw; by default a new figure of pyplot's.

        Returns
        -------
        numpy.ndarray of matplotlib.axes.Axes
        """
        self._check_any()
        kinds = list(ResultType) if result_type is None else [ResultType(result_type)]
        if aligned is None:
            aligned = scaled or len(set(map(self._grid, self._indices))) > 1
        if scaled and not aligned:
            raise ValueError("scaled=True needs the frame of the segments: drop aligned=False")
        maps: dict[ResultType, AlignedMap] | dict[ResultType, Floats]
        if aligned:
            maps = dict(zip(kinds, self._aligned(kinds, scaled=scaled), strict=True))
        else:
            maps = dict(zip(kinds, (moments.mean for moments in self._moments(kinds)), strict=True))
        return plot_collection(maps, len(self), self[0], figure)

    @property
    def text(self) -> str:
        """What was found, in words."""
        count = quantity(len(self), "image")
        said = [count if self.complete else f"{count} of {len(self.asked):,} that were asked for"]
        if len(self):
            settings = self[0].settings
            unit = f" {settings.unit}" if settings.unit else ""
            grids = set(map(self._grid, self._indices))
            for name, sizes in (
                ("circle", {grid.circle_size for grid in grids}),
                ("offset", {grid.offset for grid in grids}),
            ):
                said[0] += f", {name} {min(sizes)}" + (f" to {max(sizes)}" if len(sizes) > 1 else "")
            facts = self._facts()
            for name, what in (("fragility", "most fragile"), ("improvability", "most improvable")):
                known = [(getattr(one, name), index) for index, one in facts if getattr(one, name) > 0]
                if known:
                    most, index = max(known, key=lambda each: each[0])
                    change = "worse" if name == "fragility" else "better"
                    said.append(f"{what}: item {index}, a disc makes it {most:.{settings.decimals}f}{unit} {change}")
        if self.errors:
            index, why = next(iter(self.errors.items()))
            more = f" and {len(self.errors) - 1} more" if len(self.errors) > 1 else ""
            said.append(f"failed: item {index} ({why}){more}")
        return "; ".join(said)

    def _check_any(self) -> None:
        if not len(self):
            raise ValueError("the collection has no result")

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"HDMCollection({self.text})"
