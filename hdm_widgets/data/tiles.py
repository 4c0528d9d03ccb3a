"""Patches of large GeoTIFFs with masks of the same names, such as the Inria Aerial Image Labeling data."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hdm_widgets._validation import finite_number, is_whole, warn_user
from hdm_widgets.data.geotiff import Handles, check_rasterio, read_header
from hdm_widgets.data.mask_values import MaskValues, find_mask_values, has_data, is_plain

__all__ = ["InriaTiles", "Tiles"]

_SUFFIXES = (".tif", ".tiff")
_IMAGE_TYPES = ("uint8", "uint16")
_SPLITS = (None, "train", "validation")
_LAST_VALIDATION_TILE = 5
# Rows and columns at most of the sample of a mask that says how its values are read.
_SAMPLE = 1024
# Images of 16 bits whose patches stay below this fraction of the range have a smaller range of their own.
_DARK = 0.25


class Tiles(Dataset[tuple[Tensor, Tensor]]):
    """Patches of large GeoTIFFs, with masks: any two folders of images and masks of the same names.

    The constructor reads only the headers, and an item only its patch. Patches lie on a grid that starts in the top
    left corner; those that do not lie wholly inside a tile are left out.

    Parameters
    ----------
    images : str or os.PathLike
        The folder of the images.
    masks : str or os.PathLike
        The folder of their masks, which have the same names. Endings may differ: `.tif`, `.tiff`, `.TIF` and so on.
    patch : int
        Side of the square patches in pixels.
    stride : int
        Distance between neighboring patches in pixels; less than `patch` makes them overlap.
    bands : sequence of int
        The bands of an image that are read, in this order, counted from 1 as in GDAL and rasterio.
    scale : float, optional
        The number that the values of images are divided by, such as 10000 for reflectances. By default it is 255 for
        images of 8 and 65535 for images of 16 bits; other types need it.

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
        If a parameter is out of range; or if a file cannot be read, has too few bands, pixels of another type, a mask
        of another size, or sides shorter than a patch.

    Notes
    -----
    Items can be read from several threads, which take turns, and from the processes of a DataLoader. Each process opens
    its own files, at most 8 at a time. Damaged pixels are found only when they are read, and raise a ValueError then.

    The first band of a mask is used. Whatever is not 0 in it is a building (or whatever else is mapped): 255 as in the
    Inria data, or 1. Pixels with the nodata value of the header, and NaN, are none. A mask that lossy compression or
    resampling has given values between is cut at half their range, and a warning says so. Of images, pixels with the
    nodata value in all bands are 0, and so is NaN.

    Examples
    --------
    With Sentinel-2 tiles in `scenes` and masks of the same names in `fields`::

        tiles = Tiles("scenes", "fields", patch=128, stride=128, bands=(4, 3, 2), scale=10000)
        image, mask = tiles[0]  # (3, 128, 128) and (128, 128)
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        patch: int = 256,
        stride: int = 256,
        *,
        bands: Sequence[int] = (1, 2, 3),
        scale: float | None = None,
    ) -> None:
        folder = Path(images).absolute()
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        self._read_headers(_found(folder), Path(masks).absolute(), patch, stride, bands, scale)

    def _read_headers(
        self,
        names: list[_Name],
        masks: Path,
        patch: int,
        stride: int,
        bands: Sequence[int],
        scale: float | None,
    ) -> None:
        """Read the headers of all tiles, and find their patches."""
        check_rasterio()
        if patch < 1:
            raise ValueError(f"patch must be at least 1 px, got {patch}")
        if stride < 1:
            raise ValueError(f"stride must be at least 1 px, got {stride}")
        self.patch = patch
        self.stride = stride
        self.bands = _checked_bands(bands)
        if scale is not None and (finite_number(scale) or 0) <= 0:
            raise ValueError(f"scale must be a number above 0, got {scale!r}")
        self.scale = None if scale is None else float(scale)
        found = _by_stem(masks)
        self._tiles = [_checked(name, masks, found, patch, self.bands, self.scale) for name in names]
        self.tiles = [tile.name for tile in names]
        grids = [(self._steps(tile.height), self._steps(tile.width)) for tile in self._tiles]
        self._ends = list(accumulate(len(rows) * len(cols) for rows, cols in grids))
        self.columns: dict[str, list[Any]] = {"tile": [], "region": [], "row": [], "col": []}
        for name, (rows, cols) in zip(names, grids, strict=True):
            for row, col in product(rows, cols):
                for key, value in (("tile", name.name), ("region", name.region), ("row", row), ("col", col)):
                    self.columns[key].append(value)
        self._handles: dict[int, Handles] = {}
        # How the values of a mask are read, by the number of its tile, where that has been looked at.
        self._mask_values: dict[int, MaskValues] = {}
        self._said: set[str] = set()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image float32 (bands, patch, patch) and mask float32 (patch, patch) of item `index`."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} patches")
        index %= len(self)
        number = bisect_right(self._ends, index)
        tile = self._tiles[number]
        before = self._ends[number - 1] if number else 0
        row, col = (self.stride * step for step in divmod(index - before, len(self._steps(tile.width))))
        # One set of handles for each process: a forked process shares its parent's position in every open file, so it
        # must neither read from those nor close them.
        handles = self._handles.setdefault(os.getpid(), Handles())
        image = handles.read(tile.image, list(self.bands), (row, col), self.patch)
        mask = handles.read(tile.mask, 1, (row, col), self.patch)
        return torch.from_numpy(self._scaled(image, tile)), torch.from_numpy(
            self._values_of(number, mask, handles).mask(mask).astype(np.float32)
        )

    def __getstate__(self) -> dict[str, Any]:
        # Open files stay in the process that opened them.
        return {**self.__dict__, "_handles": {}}

    def _steps(self, length: int) -> range:
        """Start of every patch along a side of `length` px."""
        return range(0, length - self.patch + 1, self.stride)

    def _scaled(self, image: NDArray[Any], tile: _Tile) -> NDArray[np.float32]:
        """The values of an image as float32, 0 where it has no data."""
        highest = self.scale or float(np.iinfo(image.dtype).max)
        values = image.astype(np.float32) / np.float32(highest)
        filled = has_data(image, None) & has_data(image, tile.image_nodata).any(0)
        if not filled.all():
            values = np.where(filled, values, np.float32(0))
        top = float(image.max())
        if self.scale is None and image.dtype == np.uint16 and 0 < top < _DARK * highest:
            self._say(
                "scale",
                f"{tile.image} has values up to {top:g} of 65535, by which they are divided; if these are "
                "reflectances give scale=10000, if they have 12 bits scale=4095",
            )
        return values

    def _values_of(self, number: int, mask: NDArray[Any], handles: Handles) -> MaskValues:
        """How the values of a tile's mask are read, of which these are some."""
        tile = self._tiles[number]
        plain = MaskValues(tile.mask_nodata)
        if number in self._mask_values or is_plain(mask, tile.mask_nodata):
            return self._mask_values.get(number, plain)
        try:
            values = handles.sample(tile.mask, tile.height, tile.width, _SAMPLE)
        except ValueError:
            # Other pixels of the file are damaged.
            values = mask
        found = find_mask_values(values, tile.mask_nodata, lossy=tile.mask_lossy)
        if found.note:
            self._say("cut" if found.above is not None else "values", f"{tile.mask} {found.note}")
        self._mask_values[number] = found
        return found

    def _say(self, kind: str, text: str) -> None:
        """Warn of each kind of thing once."""
        if kind not in self._said:
            self._said.add(kind)
            warn_user(text)


class InriaTiles(Tiles):
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
    bands, scale
        As for `Tiles`.

    Attributes
    ----------
    tiles, columns
        As for `Tiles`.

    Raises
    ------
    ImportError, FileNotFoundError, ValueError
        As for `Tiles`; also if no tile is left.

    Notes
    -----
    How values are read, see `Tiles`.

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
        *,
        bands: Sequence[int] = (1, 2, 3),
        scale: float | None = None,
    ) -> None:
        check_rasterio()
        if split not in _SPLITS:
            raise ValueError(f"split must be None, 'train' or 'validation', got {split!r}")
        if isinstance(regions, str):
            raise TypeError(f"regions must be a sequence of names, such as [{regions!r}], got {regions!r}")
        # A relative path would point elsewhere after a change of the working directory.
        images = _images_folder(Path(root).absolute())
        names = _chosen(_found(images), regions, split)
        self._read_headers(names, images.parent / "gt", patch, stride, bands, scale)


class _Name(NamedTuple):
    """The file of an image, and what its name says."""

    path: Path
    name: str
    region: str
    number: int | None


class _Tile(NamedTuple):
    """Files of an image and a mask of the same size, and what their headers say."""

    image: Path
    mask: Path
    height: int
    width: int
    image_nodata: float | None
    mask_nodata: float | None
    mask_lossy: bool


def _images_folder(root: Path) -> Path:
    """The folder of the images in the layout of the Inria data."""
    folders = [folder / "images" for folder in (root / "train", root / "AerialImageDataset" / "train", root)]
    images = next((folder for folder in folders if folder.is_dir()), None)
    if images is None:
        raise FileNotFoundError(
            f"no folder train/images in {root}; root must be the folder AerialImageDataset, the folder that holds it, "
            "or its folder train"
        )
    return images


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """GeoTIFFs in a folder by their names without the ending."""
    found: dict[str, list[Path]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        # Archives made on a Mac hold a second file beside each, named "._austin1.tif".
        if path.suffix.lower() in _SUFFIXES and path.name[0] != ".":
            found.setdefault(path.stem, []).append(path)
    return found


def _found(images: Path) -> list[_Name]:
    """The images in a folder, in natural order."""
    found = _by_stem(images)
    if not found:
        raise FileNotFoundError(f"no GeoTIFFs (.tif) in {images}")
    return [_name(path) for path in sorted((_only(paths) for paths in found.values()), key=_natural)]


def _only(paths: list[Path]) -> Path:
    """The file of one name, of which there must not be several with different endings."""
    if len(paths) > 1:
        one, other, *_ = sorted(paths)
        raise ValueError(f"{one} and {other.name} have one name: take one of them out of the folder")
    return paths[0]


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


def _checked_bands(bands: object) -> tuple[int, ...]:
    """Numbers of bands, counted from 1."""
    numbers = list(bands) if isinstance(bands, (Sequence, np.ndarray)) and not isinstance(bands, str) else []
    if not numbers or not all(is_whole(number) and number >= 1 for number in numbers):
        raise ValueError(f"bands must be numbers of bands, counted from 1 as in GDAL, such as (4, 3, 2), got {bands!r}")
    return tuple(int(number) for number in numbers)


def _checked(
    name: _Name, masks: Path, found: dict[str, list[Path]], patch: int, bands: tuple[int, ...], scale: float | None
) -> _Tile:
    """The tile of this name; its two headers must agree, and its sides must not be shorter than a patch."""
    image, mask = name.path, masks / name.path.name
    if mask.name not in [path.name for path in found.get(name.name, ())]:
        if name.name not in found:
            raise FileNotFoundError(f"no mask of {image}: there is no {mask}")
        mask = _only(found[name.name])
    of_image, of_mask = read_header(image), read_header(mask)
    height, width = of_image.height, of_image.width
    if of_image.bands < max(bands):
        count, needed = of_image.bands, max(bands)
        raise ValueError(
            f"{image} has {count} band{'s' * (count > 1)}; images need at least {needed}; bands= chooses others, such "
            "as bands=(1,)"
        )
    if of_image.dtype not in _IMAGE_TYPES and (scale is None or of_image.dtype.startswith("complex")):
        raise ValueError(
            f"{image} has {of_image.dtype} pixels; images must be {' or '.join(_IMAGE_TYPES)}, or of real numbers "
            "with scale=, the number that they are divided by"
        )
    if (of_mask.height, of_mask.width) != (height, width):
        raise ValueError(
            f"{mask} has {of_mask.height} x {of_mask.width} px, but its image {height} x {width} px (rows x columns)"
        )
    if min(height, width) < patch:
        raise ValueError(
            f"{image} has {height} x {width} px (rows x columns), too few for a patch of {patch} x {patch} px"
        )
    return _Tile(image, mask, height, width, of_image.nodata, of_mask.nodata, of_mask.lossy)
