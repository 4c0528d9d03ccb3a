"""Patches of large aerial GeoTIFFs, in the layout of the Inria Aerial Image Labeling data."""

from __future__ import annotations

import os
import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import accumulate, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["InriaTiles"]

_MAX_OPEN_FILES = 8
_SUFFIXES = (".tif", ".tiff")
_IMAGE_TYPES = ("uint8", "uint16")
_SPLITS = (None, "train", "validation")
_LAST_VALIDATION_TILE = 5


class InriaTiles(Dataset[tuple[Tensor, Tensor]]):
    """Patches of large aerial images, with masks of the buildings.

    The layout is that of the Inria Aerial Image Labeling data: images in `train/images`, masks of the same names in
    `train/gt`, named by region and number (`austin1.tif`). Tiles there have 5000 x 5000 px. The constructor reads only
    the headers, and an item only its patch. Patches lie on a grid that starts in the top left corner; those that do
    not lie wholly inside a tile are left out.

    Parameters
    ----------
    root : str or os.PathLike
        The folder `AerialImageDataset`, the folder that holds it, or its folder `train`.
    patch : int
        Side of the square patches in pixels.
    stride : int
        Distance between neighboring patches in pixels; less than `patch` makes them overlap.
    regions : sequence of str, optional
        The regions to take, such as `["austin", "chicago"]`: file names without the number at their end. All by
        default.
    split : {None, "train", "validation"}
        "validation" takes tiles 1 to 5 of every region, "train" the others, as the authors of the data recommend. None
        takes all.

    Attributes
    ----------
    tiles : list of str
        Names of the tiles, without extension, in natural order: austin2 comes before austin10.
    columns : dict of str to list
        `"tile"`, `"region"`, and `"row"` and `"col"` of the top left pixel in the tile, for every patch.

    Raises
    ------
    ImportError
        If rasterio is not installed; the extra `tiles` installs it.
    FileNotFoundError
        If the folder, the tiles in it or the mask of a tile are missing.
    ValueError
        If a parameter is out of range; or if a file cannot be read, has fewer than 3 bands, pixels that are neither
        uint8 nor uint16, a mask of another size, or sides shorter than a patch.

    Notes
    -----
    Items can be read from several threads, which take turns, and from the processes of a DataLoader. Each process opens
    its own files, at most 8 at a time. Damaged pixels are found only when they are read, and raise a ValueError then.

    The first 3 bands of an image and the first band of a mask are used. Whatever is not 0 in a mask is a building: 255
    as in the published files, or 1.

    Examples
    --------
    With the data unpacked in the folder `data`::

        tiles = InriaTiles("data", regions=["vienna"], split="validation")
        image, segment = tiles[0]  # (3, 256, 256) and (256, 256)
        tiles.columns["tile"][0]  # 'vienna1'
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        patch: int = 256,
        stride: int = 256,
        regions: Sequence[str] | None = None,
        split: str | None = None,
    ) -> None:
        _import_rasterio()
        if patch < 1:
            raise ValueError(f"patch must be at least 1 px, got {patch}")
        if stride < 1:
            raise ValueError(f"stride must be at least 1 px, got {stride}")
        if split not in _SPLITS:
            raise ValueError(f"split must be None, 'train' or 'validation', got {split!r}")
        if isinstance(regions, str):
            raise TypeError(f"regions must be a sequence of names, such as [{regions!r}], got {regions!r}")
        self.patch = patch
        self.stride = stride
        # A relative path would point elsewhere after a change of the working directory.
        names = _chosen(_found(Path(root).absolute()), regions, split)
        self._tiles = [_checked(name, patch) for name in names]
        self.tiles = [tile.name for tile in names]
        grids = [(self._steps(tile.height), self._steps(tile.width)) for tile in self._tiles]
        self._ends = list(accumulate(len(rows) * len(cols) for rows, cols in grids))
        self.columns: dict[str, list[Any]] = {"tile": [], "region": [], "row": [], "col": []}
        for name, (rows, cols) in zip(names, grids, strict=True):
            for row, col in product(rows, cols):
                for key, value in (("tile", name.name), ("region", name.region), ("row", row), ("col", col)):
                    self.columns[key].append(value)
        self._handles: dict[int, _Handles] = {}

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image float32 (3, patch, patch) in [0, 1] and mask float32 (patch, patch) of item `index`."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} patches")
        index %= len(self)
        number = bisect_right(self._ends, index)
        tile = self._tiles[number]
        before = self._ends[number - 1] if number else 0
        row, col = (self.stride * step for step in divmod(index - before, len(self._steps(tile.width))))
        # One set of handles for each process: a forked process shares its parent's position in every open file, so it
        # must neither read from those nor close them.
        handles = self._handles.setdefault(os.getpid(), _Handles())
        image = handles.read(tile.image, [1, 2, 3], (row, col), self.patch)
        mask = handles.read(tile.mask, 1, (row, col), self.patch)
        values = image.astype(np.float32) / np.iinfo(image.dtype).max
        return torch.from_numpy(values), torch.from_numpy((mask != 0).astype(np.float32))

    def __getstate__(self) -> dict[str, Any]:
        # Open files stay in the process that opened them.
        return {**self.__dict__, "_handles": {}}

    def _steps(self, length: int) -> range:
        """Start of every patch along a side of `length` px."""
        return range(0, length - self.patch + 1, self.stride)


class _Name(NamedTuple):
    """The file of an image, and what its name says."""

    path: Path
    name: str
    region: str
    number: int | None


class _Tile(NamedTuple):
    """Files of an image and a mask of the same size."""

    image: Path
    mask: Path
    height: int
    width: int


def _found(root: Path) -> list[_Name]:
    """Images below `root`, in natural order."""
    folders = [folder / "images" for folder in (root / "train", root / "AerialImageDataset" / "train", root)]
    images = next((folder for folder in folders if folder.is_dir()), None)
    if images is None:
        raise FileNotFoundError(
            f"no folder train/images in {root}; root must be the folder AerialImageDataset, the folder that holds it, "
            "or its folder train"
        )
    # Archives made on a Mac hold a second file beside each, named "._austin1.tif".
    paths = [path for path in images.iterdir() if path.suffix.lower() in _SUFFIXES and path.name[0] != "."]
    if not paths:
        raise FileNotFoundError(f"no GeoTIFFs (.tif) in {images}")
    return [_name(path) for path in sorted(paths, key=_natural)]


def _name(path: Path) -> _Name:
    region = re.sub(r"\d+$", "", path.stem)
    digits = path.stem[len(region) :]
    return _Name(path, path.stem, region, int(digits) if digits else None)


def _natural(path: Path) -> tuple[list[str | int], str]:
    """A key by which "austin2" comes before "austin10"."""
    # Splitting at a group gives text and digits in turn: text is only compared with text, numbers with numbers.
    parts = re.split(r"(\d+)", path.stem)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path.name


def _chosen(names: list[_Name], regions: Iterable[str] | None, split: str | None) -> list[_Name]:
    known = list(dict.fromkeys(name.region for name in names))
    wanted = known if regions is None else list(regions)
    unknown = [region for region in wanted if region not in known]
    if unknown:
        raise ValueError(f"unknown region {unknown[0]!r}; known are {', '.join(known)}")
    chosen = [name for name in names if name.region in wanted and (split is None or _split(name) == split)]
    if not chosen:
        raise ValueError(f"no tiles are left with regions={regions!r} and split={split!r}")
    return chosen


def _split(name: _Name) -> str:
    first = name.number is not None and 1 <= name.number <= _LAST_VALIDATION_TILE
    return "validation" if first else "train"


def _checked(name: _Name, patch: int) -> _Tile:
    """The tile of this name; its two headers must agree, and its sides must not be shorter than a patch."""
    image, mask = name.path, name.path.parents[1] / "gt" / name.path.name
    if not mask.is_file():
        raise FileNotFoundError(f"no mask of {image}: there is no {mask}")
    with _reading(image), _open(image) as header:
        (height, width), bands, kind = header.shape, header.count, header.dtypes[0]
    with _reading(mask), _open(mask) as header:
        mask_height, mask_width = header.shape
    if bands < 3:
        raise ValueError(f"{image} has {bands} band{'s' * (bands > 1)}; images need at least 3")
    if kind not in _IMAGE_TYPES:
        raise ValueError(f"{image} has {kind} pixels; images must be {' or '.join(_IMAGE_TYPES)}")
    if (mask_height, mask_width) != (height, width):
        raise ValueError(
            f"{mask} has {mask_height} x {mask_width} px, but its image {height} x {width} px (rows x columns)"
        )
    if min(height, width) < patch:
        raise ValueError(
            f"{image} has {height} x {width} px (rows x columns), too few for a patch of {patch} x {patch} px"
        )
    return _Tile(image, mask, height, width)


class _Handles:
    """Open GeoTIFFs, at most `_MAX_OPEN_FILES`: the least recently used one is closed first.

    A rasterio handle serves one thread at a time, so threads take turns.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, Any] = OrderedDict()

    def read(self, path: Path, bands: int | list[int], corner: tuple[int, int], side: int) -> NDArray[Any]:
        """Pixels of the square with sides of `side` px and the top left pixel `corner` (row, col)."""
        window = tuple((start, start + side) for start in corner)
        with self._lock, _reading(path):
            handle = self._open.pop(path, None)
            if handle is None:
                while len(self._open) >= _MAX_OPEN_FILES:
                    self._open.popitem(last=False)[1].close()
                handle = _open(path)
            try:
                values: NDArray[Any] = handle.read(bands, window=window)
            except BaseException:
                # After a failure, a handle may return other pixels than the file's.
                handle.close()
                raise
            self._open[path] = handle
            return values


def _import_rasterio() -> Any:
    try:
        import rasterio
    except ImportError as error:
        raise ImportError("reading GeoTIFFs needs rasterio: pip install 'hdm-widgets[tiles]'") from error
    return rasterio


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise GDAL's errors as a ValueError that names `path`; print nothing."""
    rasterio = _import_rasterio()
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
