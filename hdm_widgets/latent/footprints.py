"""Where the items of a data set lie on the ground, and GeoJSON of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Subset

from hdm_widgets._validation import brief

__all__ = ["Footprints"]

_WGS84 = "EPSG:4326"
# Names of coordinates in degrees, longitude first, which GeoJSON has where no others are named (RFC 7946).
_DEGREES = (_WGS84, "OGC:CRS84")
_AUTHORITY = re.compile(r"([A-Za-z]+):(\w+)")
_NEEDED = "give bounds=, left, bottom, right and top of every item"


@dataclass(frozen=True, eq=False)
class Footprints:
    """Where items lie on the ground.

    Attributes
    ----------
    corners : numpy.ndarray, float64 (n, 4, 2)
        x and y of an item's corners, one after the other around it; NaN for an item without a georeference.
    crs : numpy.ndarray of str (n,)
        Coordinate reference system of an item: authority and code, such as "EPSG:32614", or WKT; empty if not known.
    """

    corners: NDArray[np.float64]
    crs: NDArray[np.str_]

    @classmethod
    def from_dataset(cls, dataset: object) -> Footprints | None:
        """The footprints that a data set knows: its `corners` and `crs`, or those of the data sets within it.

        Parameters
        ----------
        dataset : object
            `corners` are numbers (n, 4, 2), `crs` is one text or a text for every item.

        Returns
        -------
        Footprints or None
            None if it knows none.
        """
        own = cls._own(dataset)
        if own is not None:
            return own
        if isinstance(dataset, Subset):
            whole = cls.from_dataset(dataset.dataset)
            return None if whole is None else whole.at(np.asarray(dataset.indices, dtype=np.int64))
        if isinstance(dataset, ConcatDataset):
            parts = [cls.from_dataset(part) or cls.unknown(len(part)) for part in dataset.datasets]  # type: ignore[arg-type]  # has a length
            return cls(np.concatenate([part.corners for part in parts]), np.concatenate([part.crs for part in parts]))
        return None

    @classmethod
    def from_bounds(cls, bounds: Any, crs: str | None, count: int) -> Footprints:
        """Upright rectangles.

        Parameters
        ----------
        bounds : array_like, float (count, 4)
            Left, bottom, right and top of every item; a row with NaN is an item without a georeference.
        crs : str, optional
            Authority and code; WGS 84 by default, which is longitude and latitude in degrees.
        count : int
            Of the items.

        Returns
        -------
        Footprints

        Raises
        ------
        ValueError
            If these are no bounds, or can be no degrees and `crs` is missing.
        """
        if crs is not None and not (isinstance(crs, str) and _AUTHORITY.fullmatch(crs)):
            raise ValueError(f"crs must be an authority and a code, such as 'EPSG:32614', got {brief(crs)}")
        try:
            given = np.asarray(bounds, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"bounds must be numbers ({count}, 4): {error}") from error
        if given.shape != (count, 4):
            raise ValueError(
                f"bounds must be ({count}, 4), left, bottom, right and top of every item, got shape {given.shape}"
            )
        given = np.where(np.isfinite(given).all(1, keepdims=True), given, np.nan)
        left, bottom, right, top = given.T
        wrong = np.flatnonzero((left >= right) | (bottom >= top))
        if wrong.size:
            raise ValueError(
                "bounds must be left, bottom, right and top, with left below right and bottom below top, got "
                f"{given[wrong[0]].tolist()} for item {wrong[0]}"
            )
        if (crs is None or crs in _DEGREES) and (np.abs(given) > (180, 90, 180, 90)).any():
            raise ValueError(
                "bounds are beyond the degrees of longitude and latitude; say what they are in, such as "
                "crs='EPSG:32614'"
            )
        corners = np.stack([left, bottom, right, bottom, right, top, left, top], axis=1).reshape(count, 4, 2)
        return cls(corners, np.full(count, _WGS84 if crs is None else crs))

    @classmethod
    def unknown(cls, count: int) -> Footprints:
        """Footprints of items without a georeference."""
        return cls(np.full((count, 4, 2), np.nan), np.full(count, ""))

    @classmethod
    def _own(cls, dataset: object) -> Footprints | None:
        """What a data set's attributes say; attributes of another form are something else."""
        try:
            corners = np.asarray(getattr(dataset, "corners", None), dtype=np.float64)
            crs = np.asarray(getattr(dataset, "crs", ""), dtype=np.str_)
        except Exception:  # noqa: BLE001 - a property of something else
            return None
        if corners.ndim != 3 or corners.shape != (len(dataset), 4, 2) or crs.shape not in ((), (len(corners),)):  # type: ignore[arg-type]  # has a length
            return None
        return cls(corners, np.broadcast_to(crs, len(corners)))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which items have a georeference, bool (n,)."""
        return np.asarray(np.isfinite(self.corners).all((1, 2)))

    def at(self, rows: NDArray[np.int64]) -> Footprints:
        """Those of some items."""
        return Footprints(self.corners[rows], self.crs[rows])

    def geojson(self, properties: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """A feature collection with one polygon for every item.

        Parameters
        ----------
        properties : mapping of str to numpy.ndarray (n,)
            Of the polygons. NaN and infinite numbers become null.

        Returns
        -------
        dict
            Items without a georeference have no geometry. Coordinates are those of the items if all have one coordinate
            reference system that has a code, which is the collection's `crs`; else WGS 84.

        Raises
        ------
        ValueError
            If no item has a georeference, or coordinates cannot be converted.
        """
        found = self._in_one_crs()
        known = found.known
        if not known.any():
            raise ValueError(
                "no item has a georeference: hdm_widgets.data.Tiles reads those of GeoTIFFs; for other data " + _NEEDED
            )
        features = [
            {
                "type": "Feature",
                "properties": {name: _json_value(values[row]) for name, values in properties.items()},
                "geometry": _polygon(found.corners[row]) if known[row] else None,
            }
            for row in range(len(known))
        ]
        crs = str(found.crs[known][0])
        return {"type": "FeatureCollection", **_crs_member(crs), "features": features}

    def _in_one_crs(self) -> Footprints:
        """The same in WGS 84 unless all have one coordinate reference system, and that has a code or is not known."""
        known = self.known
        names = sorted({str(name) for name in self.crs[known]})
        if len(names) == 1 and (not names[0] or _AUTHORITY.fullmatch(names[0])):
            return self
        corners = np.full_like(self.corners, np.nan)
        for name in filter(None, names):
            rows = known & (self.crs == name)
            corners[rows] = _to_degrees(self.corners[rows], name)
        return Footprints(corners, np.full(len(corners), _WGS84))


def _to_degrees(corners: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
    """Longitude and latitude of corners (n, 4, 2)."""
    try:
        from rasterio.errors import RasterioError
        from rasterio.warp import transform
    except ImportError as error:
        raise ImportError(
            "converting coordinates to WGS 84 needs rasterio: pip install 'hdm-widgets[tiles]'"
        ) from error
    try:
        degrees = transform(crs, _WGS84, *corners.reshape(-1, 2).T)
    except (RasterioError, ValueError) as error:
        raise ValueError(f"cannot convert coordinates of {crs} to WGS 84: {error}; {_NEEDED}") from error
    return np.stack(degrees[:2], axis=-1).reshape(corners.shape)


def _polygon(corners: NDArray[np.float64]) -> dict[str, Any]:
    """A polygon whose ring is counterclockwise, as RFC 7946 asks."""
    x, y = (corners - corners[0]).T
    clockwise = float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) < 0
    ring = corners[::-1] if clockwise else corners
    return {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}


def _crs_member(crs: str) -> dict[str, Any]:
    """What names the coordinate reference system in a GeoJSON file of 2008; nothing for WGS 84."""
    if crs in _DEGREES:
        return {}
    if not crs:
        return {"crs": None}
    authority, code = crs.split(":")
    return {"crs": {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{authority}::{code}"}}}


def _json_value(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
