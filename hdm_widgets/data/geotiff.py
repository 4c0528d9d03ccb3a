"""Read windows of GeoTIFFs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Georeference", "Handles", "Header", "check_rasterio", "read_georeference", "read_header"]

_MAX_OPEN_FILES = 8
# Compressions that change values, but for special settings. Others, such as deflate, never do.
_LOSSY = ("JPEG", "WEBP")
# What GDAL has where there is no georeference.
_NO_TRANSFORM = (0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Header:
    """What the header of a GeoTIFF says.

    Attributes
    ----------
    height, width, bands : int
    dtype : str
        Type of the pixels.
    nodata : float or None
        The value of pixels without data; may be NaN.
    lossy : bool
        Whether the file is compressed in a way that may change values.
    opaque : tuple of int
        Numbers of the bands that hold no transparency, counted from 1.
    """

    height: int
    width: int
    bands: int
    dtype: str
    nodata: float | None
    lossy: bool
    opaque: tuple[int, ...]


def read_header(path: Path) -> Header:
    """Read what the header of a GeoTIFF says.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    with _reading(path), _open(path) as file:
        lossy = getattr(file.compression, "value", None) in _LOSSY
        opaque = tuple(band for band, color in enumerate(file.colorinterp, 1) if color.name != "alpha")
        return Header(file.height, file.width, file.count, file.dtypes[0], file.nodata, lossy, opaque)


@dataclass(frozen=True)
class Georeference:
    """Where the pixels of a GeoTIFF lie on the ground.

    Attributes
    ----------
    transform : tuple of float
        x of the top left corner of the file, its change by one column and by one row; the same for y.
    crs : str
        Coordinate reference system: authority and code, such as "EPSG:32614", or WKT if it has no code. Empty if there
        is none, or it is a local one.
    """

    transform: tuple[float, ...]
    crs: str

    def corners(self, rows: NDArray[np.int64], cols: NDArray[np.int64], side: int) -> NDArray[np.float64]:
        """X and y of the corners of squares: top left, bottom left, bottom right, top right.

        Parameters
        ----------
        rows, cols : numpy.ndarray of int (n,)
            Top left pixel of each square.
        side : int
            Sides of the squares in pixels.

        Returns
        -------
        numpy.ndarray, float64 (n, 4, 2)
        """
        row = rows[:, None] + side * np.array([0, 1, 1, 0])
        col = cols[:, None] + side * np.array([0, 0, 1, 1])
        x, x_by_col, x_by_row, y, y_by_col, y_by_row = self.transform
        return np.stack([x + col * x_by_col + row * x_by_row, y + col * y_by_col + row * y_by_row], axis=-1)


def read_georeference(path: Path) -> Georeference | None:
    """Read where the pixels of a GeoTIFF lie; None if it, and a world file beside it, do not say.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    with _reading(path), _georeferenced_reader()(str(path), driver="GTiff") as file:
        transform = tuple(file.transform.to_gdal())
        if transform == _NO_TRANSFORM:
            return None
        # Others are those of a building site or a garden, of which nobody knows where on the Earth they are.
        if file.crs is None or not (file.crs.is_projected or file.crs.is_geographic):
            return Georeference(transform, "")
        authority = file.crs.to_authority()
        return Georeference(transform, file.crs.to_wkt() if authority is None else ":".join(authority))


class Handles:
    """Open GeoTIFFs, at most `_MAX_OPEN_FILES`: the least recently used one is closed first.

    A rasterio handle serves one thread at a time, so threads take turns.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, Any] = OrderedDict()

    def read(self, path: Path, bands: int | list[int], corner: tuple[int, int], side: int) -> NDArray[Any]:
        """Pixels of the square with sides of `side` px and the top left pixel `corner` (row, col)."""
        return self._read(path, bands, window=tuple((start, start + side) for start in corner))

    def sample(self, path: Path, band: int, height: int, width: int, most: int) -> NDArray[Any]:
        """Pixels of a band of the whole file of this size: at most `most` rows and columns, evenly spread."""
        shape = tuple(min(side, most) for side in (height, width))
        return self._read(path, band, window=((0, height), (0, width)), out_shape=shape)

    def _read(self, path: Path, bands: int | list[int], **options: Any) -> NDArray[Any]:
        with self._lock, _reading(path):
            handle = self._open.pop(path, None)
            if handle is None:
                while len(self._open) >= _MAX_OPEN_FILES:
                    self._open.popitem(last=False)[1].close()
                handle = _open(path)
            try:
                values: NDArray[Any] = handle.read(bands, **options)
            except BaseException:
                # After a failure, a handle may return other pixels than the file's.
                handle.close()
                raise
            self._open[path] = handle
            return values


def check_rasterio() -> Any:
    """The package rasterio, or an ImportError that says how to install it."""
    try:
        import rasterio
    except ImportError as error:
        raise ImportError("reading GeoTIFFs needs rasterio: pip install 'hdm-widgets[tiles]'") from error
    return rasterio


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise GDAL's errors as a ValueError that names `path`; print nothing."""
    rasterio = check_rasterio()
    try:
        with rasterio.Env():
            yield
    except rasterio.errors.RasterioError as error:
        raise ValueError(f"cannot read {path}: {error.__cause__ or error}") from error


def _open(path: Path) -> Any:
    return _reader()(str(path), driver="GTiff")


@cache
def _reader() -> Any:
    from rasterio.io import DatasetReader

    class Reader(DatasetReader):  # type: ignore[misc]  # rasterio has no types
        """A reader that skips the georeference, which is not needed for pixels.

        rasterio warns about files without one, and warning filters belong to the whole process. It refuses files whose
        georeference is not encoded as UTF-8.
        """

        def read_transform(self) -> list[float]:
            return list(_NO_TRANSFORM)

        def read_crs(self) -> None:
            return None

    return Reader


@cache
def _georeferenced_reader() -> Any:
    from rasterio.io import DatasetReader

    class Reader(DatasetReader):  # type: ignore[misc]  # rasterio has no types
        """A reader that takes files without a georeference, and with one that is not encoded as UTF-8."""

        def _has_gcps_or_rpcs(self) -> bool:
            # rasterio warns where there is neither, and warning filters belong to the whole process.
            return True

        def read_crs(self) -> Any:
            try:
                return super().read_crs()
            except UnicodeDecodeError:
                return None

    return Reader
