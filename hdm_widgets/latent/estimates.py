"""Expected IoU of new data: what `LatentSpace.estimate` returns."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._validation import brief
from hdm_widgets._wording import quantity
from hdm_widgets.latent.data_columns import check_columns, merge_columns
from hdm_widgets.latent.estimator import RELIABLE_DISTANCE, Estimate, Estimator
from hdm_widgets.latent.footprints import Footprints
from hdm_widgets.latent.labeling import doubts, first_to_label
from hdm_widgets.latent.mean_intervals import MOST_NUMBERS, Clusters, mean_interval
from hdm_widgets.latent.observations import Observations
from hdm_widgets.latent.shift import Shift

if TYPE_CHECKING:
    import pandas

__all__ = ["Estimates"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Estimates:
    """Expected IoU of new items, with intervals, and whether they are like the data of the map.

    Attributes
    ----------
    iou : numpy.ndarray, float64 (n,)
        Expected IoU of every item.
    low, high : numpy.ndarray, float64 (n,)
        Interval that covers the IoU of an item with probability `coverage`, as long as the items are like those of the
        map; 0 and 1 where nothing is known.
    distance : numpy.ndarray, float64 (n,)
        Distance to the nearest items of the map, in principal components or in confidences, whichever is larger. 95 %
        of the map's own items are below 1 in each.
    reliable : numpy.ndarray, bool (n,)
        Whether estimate and interval of an item can be relied on: the distance is at most 1.5, the interval is finite,
        the estimator is better than the mean of the data, and `shift` does not call the items unlike those of the map.
        Where nothing is predicted and that has an IoU of 0, it is 0 for certain, which is always reliable.
    deviation : numpy.ndarray, float64 (n,)
        Size of the error that is expected: the root of its mean square.
    mean, mean_low, mean_high : float
        Expected mean IoU of all items with its interval.
    shift : Shift
        Whether the items are like those of the map.
    coverage : float
        Of the intervals.
    fitted_items : int
        Items of the map that the estimator was fitted to.
    skill : str
        One line on how well the estimator does on items that it was not fitted to.
    footprints : Footprints or None
        Where the items lie on the ground, if the new data knows.
    confidences : dict of str to numpy.ndarray, float64 (n,)
        The model's confidence in each prediction, as in the map's `collection_.confidences`.
    embedding : numpy.ndarray, float64 (n, n_components)
        Coordinates on the map.
    columns : dict of str to numpy.ndarray
        `item`, the index in the new data, and the new data's own columns.
    skilled : bool
        Whether the estimator is better than the mean of the data.
    observed : Observations or None
        What the pass over the new data has found: predictions and thumbnails, too. The explorer shows these.
    weight : numpy.ndarray, float64 (n,), or None
        Weights of the items in means: the probability that an item has an IoU. It is below 1 only where nothing is
        predicted and the space has `iou_empty=nan`. All are 1 if it is None.
    clusters : tuple of Clusters
        Items whose errors have something in common, for each column of the new data that says so.
    shortages : tuple of str
        Of which items the map has too few for intervals of this coverage, one line each.
    """

    iou: Floats
    low: Floats
    high: Floats
    distance: Floats
    reliable: NDArray[np.bool_]
    deviation: Floats
    mean: float
    mean_low: float
    mean_high: float
    shift: Shift
    coverage: float
    fitted_items: int
    skill: str
    footprints: Footprints | None = None
    confidences: dict[str, Floats] = field(default_factory=dict)
    embedding: Floats = field(default_factory=lambda: np.empty((0, 2)))
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    skilled: bool = True
    observed: Observations | None = None
    weight: Floats | None = None
    clusters: tuple[Clusters, ...] = field(default=(), repr=False)
    shortages: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.iou)

    @classmethod
    def from_parts(
        cls,
        estimator: Estimator,
        estimate: Estimate,
        shift: Shift,
        coverage: float,
        clusters: tuple[Clusters, ...] = (),
        **others: Any,
    ) -> Estimates:
        """Put together what was found about every item.

        Parameters
        ----------
        estimator : Estimator
        estimate : Estimate
        shift : Shift
        coverage : float
        clusters : tuple of Clusters
        **others
            `footprints`, `confidences`, `embedding`, `columns` and `observed`.

        Returns
        -------
        Estimates
        """
        mean, low, high = mean_interval(
            estimate.iou,
            estimate.deviation,
            coverage,
            estimator.count,
            together=shift.shifted,
            weight=estimate.weight,
            clusters=clusters,
        )
        return cls(
            iou=estimate.iou,
            low=estimate.low,
            high=estimate.high,
            distance=estimate.distance,
            # Intervals of near items of unlike data hold as seldom as those of far ones: a distance does not tell.
            reliable=estimate.reliable & (estimate.certain | (not shift.shifted)),
            deviation=estimate.deviation,
            mean=mean,
            mean_low=low,
            mean_high=high,
            shift=shift,
            coverage=coverage,
            fitted_items=estimator.count,
            skill=estimator.text,
            skilled=estimator.skilled,
            shortages=estimator.shortages(coverage, estimate.nothing),
            weight=estimate.weight,
            clusters=clusters,
            **others,
        )

    @property
    def doubt(self) -> Floats:
        """How doubtful each prediction is, float64 (n,), 0 to 1: low IoU, wide interval; above 0.5 if not reliable."""
        return doubts(self.low, self.high, self.reliable)

    def to_label(self, count: int = 20) -> NDArray[np.int64]:
        """Items to label first: the most doubtful ones, spread over the map.

        Parameters
        ----------
        count : int
            How many; all where there are fewer.

        Returns
        -------
        numpy.ndarray, int64 (min(count, n),)
            Positions, in the order of their choice; `columns["item"]` has their indices in the new data.

        Notes
        -----
        Farthest-point sampling among the 4 x `count` items with the largest `doubt`, by their coordinates: always the
        item with the largest product of its doubt and its distance to those that are chosen.
        """
        return first_to_label(self.doubt, self.embedding[:, :2], count)

    @property
    def text(self) -> str:
        """The findings in words, one a line."""
        unreliable = int((~self.reliable).sum())
        count = len(self)
        if count == 1:
            told = "it is not reliable" if unreliable else "it is reliable"
        else:
            told = "all of them reliable" if not unreliable else f"{unreliable} of them not reliable"
            told = "none of them reliable" if unreliable == count else told
        told += self._why_unreliable()
        if unreliable < count and np.isnan(self.shift.p_value):
            told += f"{', the rest only' * bool(unreliable)} if like the map's data"
        lines = [
            f"{quantity(count, 'item')}: expected mean IoU {self.mean:.2f} ({100 * self.coverage:g}% interval "
            f"{self.mean_low:.2f} to {self.mean_high:.2f}), {told}",
            self.shift.text,
        ]
        if self.shift.shifted:
            lines.append(
                "for unlike data the intervals promise less than they say, so no item is reliable but where the IoU is "
                "0 for certain: label some of the items, the most doubtful ones first"
            )
        return "\n".join([*lines, *self.shortages, self.skill])

    def _why_unreliable(self) -> str:
        """Why items are not reliable, in brackets; empty where the lines below say it, or all are reliable."""
        if self.shift.shifted or not self.skilled:
            return ""
        far = int((~self.reliable & (self.distance > RELIABLE_DISTANCE)).sum())
        unknown = int((~self.reliable).sum()) - far
        if len(self) == 1:
            why = ["far from the map's items"] * far + ["nothing is known of its error"] * unknown
        else:
            why = [f"{far} far from the map's items"] * (far > 0)
            why += [f"of {unknown} the error is not known"] * (unknown > 0)
        return f" ({', '.join(why)})" if why else ""

    def __repr__(self) -> str:
        like = "unlike" if self.shift.shifted else "not known to be unlike"
        return (
            f"Estimates({quantity(len(self), 'item')}, mean IoU {self.mean:.2f} "
            f"[{self.mean_low:.2f}, {self.mean_high:.2f}], "
            f"{int(self.reliable.sum())} reliable, {like} the data of the map)"
        )

    def __str__(self) -> str:
        return self.text

    def table(self) -> dict[str, NDArray[Any]]:
        """All columns of all items.

        Returns
        -------
        dict of str to numpy.ndarray (n,)
            `iou`, `low`, `high`, `distance`, `reliable`, coordinates, confidences, and the columns of the new data; one
            that has the name of another gets `data_` before it.
        """
        own: dict[str, NDArray[Any]] = {
            name: getattr(self, name) for name in ("iou", "low", "high", "distance", "reliable")
        }
        own |= {f"pc{i + 1}": self.embedding[:, i] for i in range(self.embedding.shape[1]) if len(self.embedding)}
        return merge_columns(own | self.confidences, self.columns)

    def frame(self) -> pandas.DataFrame:
        """`table` as a DataFrame.

        Returns
        -------
        pandas.DataFrame
            One row per item.
        """
        import pandas

        return pandas.DataFrame(self.table(), index=pandas.RangeIndex(len(self), name="index"))

    def by(self, column: str | Sequence[Any] | NDArray[Any], *, coverage: float | None = None) -> pandas.DataFrame:
        """Expected mean IoU of groups of items, such as regions.

        Parameters
        ----------
        column : str, or sequence or numpy.ndarray (n,)
            The name of a column of `frame`, or one value for every item; a Series serves. Items with the same value are
            a group. What is missing, NaN or an empty text, is a group too.
        coverage : float, optional
            Of the intervals, above 0 and below 1; by default `coverage`.

        Returns
        -------
        pandas.DataFrame
            One row per value, lowest mean first: `items`, their number; `mean`, `mean_low` and `mean_high`, expected
            mean IoU and its interval, found as for all items, NaN if none has an IoU; `reliable`, the fraction of items
            that are reliable.

        Raises
        ------
        ValueError
            If there is no such column, it has not one value per item, or it has more than 20 different numbers with
            fractions, which are no groups: `pandas.cut` makes some of them.

        Notes
        -----
        Errors of items of one region often have one sign, and do not cancel in its mean. Where the map's data has a
        column of the same name, such as the tile of a patch, the errors of its items in cross-validation say how much
        items with the same value have in common (their intraclass correlation), and intervals are as much wider.
        Without such a column errors are taken as independent, and the interval of a region is too narrow where they
        are not. If `shift` calls the data unlike that of the map, all errors may have one sign.

        Examples
        --------
        >>> import hdm_widgets as hw
        >>> model, scenes = hw.demo.aerial(64)
        >>> found = hw.LatentSpace(model).fit(scenes, progress=False).estimate(scenes, progress=False)
        >>> found.by("land_use").columns.tolist()
        ['items', 'mean', 'mean_low', 'mean_high', 'reliable']
        """
        import pandas

        if coverage is None:
            coverage = self.coverage
        check_coverage(coverage)
        name, values = self._groups(column)
        keys, groups = np.unique(values, return_inverse=True)
        rows = []
        for group in range(len(keys)):
            members = groups == group
            mean, low, high = mean_interval(
                self.iou[members],
                self.deviation[members],
                coverage,
                self.fitted_items,
                together=self.shift.shifted,
                weight=None if self.weight is None else self.weight[members],
                clusters=[each.at(members) for each in self.clusters],
            )
            rows.append((int(members.sum()), mean, low, high, float(self.reliable[members].mean())))
        table = pandas.DataFrame(
            rows,
            index=pandas.Index(keys, name=name),
            columns=["items", "mean", "mean_low", "mean_high", "reliable"],
        )
        return table.sort_values("mean", kind="stable")

    def _groups(self, column: str | Sequence[Any] | NDArray[Any]) -> tuple[str | None, NDArray[Any]]:
        """Name of a column, if it has one, and its values, of which there are few."""
        name = column if isinstance(column, str) else getattr(column, "name", None)
        called, told = ("column", "the values have") if name is None else (str(name), f"column {str(name)!r} has")
        if name is None and hasattr(column, "__len__") and len(column) != len(self):
            raise ValueError(f"by takes one value for every item: got {len(column)} for {quantity(len(self), 'item')}")
        table = self.table() if isinstance(column, str) else check_columns({called: column}, len(self))
        if called not in table:
            raise ValueError(f"there is no column {called!r}; the columns are: {', '.join(table)}")
        values = np.asarray(table[called])
        if values.dtype.kind == "f":
            different = np.unique(values[np.isfinite(values)])
            if len(different) > MOST_NUMBERS and (different % 1 != 0).any():
                raise ValueError(
                    f"{told} {len(different)} different numbers, which are no groups; make "
                    "some of them, such as estimates.by(pandas.cut(numbers, 5))"
                )
        return None if name is None else called, values

    def to_geojson(
        self,
        path: str | os.PathLike[str],
        *,
        bounds: NDArray[Any] | Sequence[Any] | None = None,
        crs: str | None = None,
    ) -> None:
        """Write a map of the items: one polygon for each, for a geographic information system.

        A polygon has the properties `iou`, `low`, `high` and `reliable`, and the new data's columns.

        Parameters
        ----------
        path : str or os.PathLike
            The file, which is replaced if it is there. Its folder must exist.
        bounds : array_like, float (n, 4), optional
            Left, bottom, right and top of every item, for data without a georeference; a row with NaN is an item
            without one. `Tiles` and `InriaTiles` read that of the GeoTIFFs, and a data set of another kind may have
            attributes like their `corners` and `crs`.
        crs : str, optional
            Coordinate reference system of `bounds` by authority and code, such as "EPSG:32614". By default it is WGS
            84: longitude and latitude in degrees.

        Raises
        ------
        ValueError
            If no item has a georeference and there are no `bounds`, these have another form, or coordinates cannot be
            converted.
        ImportError
            If coordinates must be converted and rasterio is not installed; the extra `tiles` installs it.

        Notes
        -----
        Coordinates are those of the files, x first, if all items have one coordinate reference system with a code. If
        that is not WGS 84, the member `crs` names it, as in the GeoJSON of 2008, which GDAL and QGIS read and RFC 7946
        has no more. It is null where the files have coordinates and do not say in which system. In all other cases,
        such as tiles of several UTM zones, coordinates are converted to WGS 84. An item without a georeference has no
        geometry.
        """
        if bounds is not None:
            footprints = Footprints.from_bounds(bounds, crs, len(self))
        elif crs is not None:
            raise ValueError("crs is that of bounds, and bounds are missing")
        else:
            footprints = self.footprints or Footprints.unknown(len(self))
        own = {name: getattr(self, name) for name in ("iou", "low", "high", "reliable")}
        found = footprints.geojson(merge_columns(own, self.columns))
        Path(path).write_text(json.dumps(found, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def check_coverage(coverage: object) -> None:
    """Raise a ValueError unless it is a probability above 0 and below 1."""
    if isinstance(coverage, bool) or not isinstance(coverage, (int, float)) or not 0 < coverage < 1:
        raise ValueError(f"coverage must be above 0 and below 1, got {brief(coverage)}")
