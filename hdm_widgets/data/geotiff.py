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

from numpy.typing import NDArray

__all__ = ["Handles", "Header", "check_rasterio", "read_header"]

_MAX_OPEN_FILES = 8
# Compressions that change values, but for special settings. Others, such as deflate, never do.
_LOSSY = ("JPEG", "WEBP")


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
    """

    height: int
    width: int
    bands: int
    dtype: str
    nodata: float | None
    lossy: bool


def read_header(path: Path) -> Header:
    """Read what the header of a GeoTIFF says.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    with _reading(path), _open(path) as file:
        lossy = getattr(file.compression, "value", None) in _LOSSY
        return Header(file.height, file.width, file.count, file.dtypes[0], file.nodata, lossy)


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

    def sample(self, path: Path, height: int, width: int, most: int) -> NDArray[Any]:
        """Pixels of the first band of the whole file of this size: at most `most` rows and columns, evenly spread."""
        shape = tuple(min(side, most) for side in (height, width))
        return self._read(path, 1, window=((0, height), (0, width)), out_shape=shape)

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
        """A reader that skips the georeference, which is not needed here.

        rasterio warns about files without one, and warning filters belong to the whole process. It refuses files whose
        georeference is not encoded as UTF-8.
        """

        def read_transform(self) -> list[float]:
            return [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]

        def read_crs(self) -> None:
            return None

    return Reader
