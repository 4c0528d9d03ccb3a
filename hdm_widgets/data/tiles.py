"""Patches of large GeoTIFFs with masks of the same names, such as the Inria Aerial Image Labeling data."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cached_property
from itertools import accumulate, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hdm_widgets._validation import brief, finite_number, is_whole, warn_user
from hdm_widgets._wording import quantity
from hdm_widgets.data.geotiff import Georeference, Handles, check_rasterio, read_georeference, read_header
from hdm_widgets.data.mask_values import MaskValues, find_mask_values, has_data, is_plain
from hdm_widgets.data.tile_files import (
    CONVERT,
    SPLITS,
    TileFile,
    by_stem,
    checked_path,
    chosen_tiles,
    found_tiles,
    images_folder,
    only_file,
    pictures,
)

__all__ = ["InriaTiles", "Tiles"]

_IMAGE_TYPES = ("uint8", "uint16")
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
        Side of the square patches in pixels; 256 by default.
    stride : int
        Distance from the left (top) side of a patch to that of the next in pixels; 256 by default, whatever `patch` is.
        The same number as `patch` puts patches side by side, less makes them overlap, and more leaves out the pixels
        between them: `patch=64` alone reads one pixel in sixteen, `patch=64, stride=64` reads all.
    bands : sequence of int
        The bands of an image that are read, in this order, counted from 1 as in GDAL and rasterio.
    scale : float, optional
        The number that the values of images are divided by, such as 10000 for reflectances. By default it is 255 for
        images of 8 and 65535 for images of 16 bits; other types need it.
    mask_band : int, optional
        The band of a mask that is read, counted from 1. By default it is the first, and an error where others differ.
    ignore : number, optional
        The value that marks pixels of a mask that do not count, such as 255. It stays in the masks, in which all others
        are 0 and 1; give the same to `LatentSpace.fit`.

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
        of another size, or sides shorter than a patch; or if two files have one name with different endings. Also if
        a patch of a mask is read whose bands differ.
    TypeError
        If a parameter is no number, or a folder no path.

    Notes
    -----
    Items can be read from several threads, which take turns, and from the processes of a DataLoader. Each process opens
    its own files, at most 8 at a time. Damaged pixels are found only when they are read, and raise a ValueError then.

    Only GeoTIFFs are read. Whatever is not 0 in it is a building (or whatever else is mapped): 255 as in the
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
        mask_band: int | None = None,
        ignore: float | None = None,
    ) -> None:
        self._set(patch, stride, bands, scale, mask_band, ignore)
        folder, of_masks = checked_path("images", images), checked_path("masks", masks)
        if not folder.is_dir():
            advice = f": it is a file; give its folder, {folder.parent}" if folder.is_file() else ""
            raise FileNotFoundError(f"there is no folder {folder}{advice}")
        self._read_headers(found_tiles(folder), of_masks)

    def _set(
        self,
        patch: int,
        stride: int,
        bands: Sequence[int],
        scale: float | None,
        mask_band: int | None,
        ignore: float | None,
    ) -> None:
        """Check and keep how patches are read."""
        check_rasterio()
        for side, length in (("patch", patch), ("stride", stride)):
            if not is_whole(length):
                raise TypeError(f"{side} must be a whole number of pixels, got {brief(length)}")
            if length < 1:
                raise ValueError(f"{side} must be at least 1 px, got {length}")
        self.patch = patch
        self.stride = stride
        self.bands = _checked_bands(bands)
        if scale is not None and (finite_number(scale) or 0) <= 0:
            raise ValueError(f"scale must be a number above 0, got {brief(scale)}")
        self.scale = None if scale is None else float(scale)
        if mask_band is not None and (not is_whole(mask_band) or mask_band < 1):
            raise ValueError(f"mask_band must be the number of a band, counted from 1, got {brief(mask_band)}")
        self.mask_band = mask_band
        if ignore is not None and finite_number(ignore) in (None, 0, 1):
            raise ValueError(
                f"ignore must be a value of the masks that marks pixels that do not count, such as 255, and neither 0 "
                f"nor 1, which are the values of all others, got {brief(ignore)}"
            )
        self.ignore = ignore

    def _read_headers(self, names: list[TileFile], masks: Path) -> None:
        """Read the headers of all tiles, and find their patches."""
        found = by_stem(masks)
        self._tiles = [
            _checked(name, masks, found, self.patch, self.bands, self.scale, self.mask_band) for name in names
        ]
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
        if not hasattr(index, "__index__"):
            raise TypeError(
                f"the index of a patch must be a whole number, got {brief(index)}; some of the patches are "
                "torch.utils.data.Subset(tiles, range(10))"
            )
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
        masks = handles.read(tile.mask, list(tile.mask_bands), (row, col), self.patch)
        return torch.from_numpy(self._scaled(image, tile)), torch.from_numpy(self._mask(number, masks, handles))

    def __getstate__(self) -> dict[str, Any]:
        # Open files stay in the process that opened them.
        return {**self.__dict__, "_handles": {}}

    @property
    def corners(self) -> NDArray[np.float64]:
        """X and y of every patch's corners on the ground, float64 (n, 4, 2); NaN for a tile without a georeference.

        They are top left, bottom left, bottom right and top right, in the coordinate reference system of the tile.
        """
        rows, cols = (np.asarray(self.columns[name]) for name in ("row", "col"))
        corners = np.full((len(self), 4, 2), np.nan)
        for number, found in enumerate(self._georeferences):
            if found is not None:
                part = slice(self._ends[number - 1] if number else 0, self._ends[number])
                corners[part] = found.corners(rows[part], cols[part], self.patch)
        return corners

    @property
    def crs(self) -> list[str]:
        """The coordinate reference system of every patch: authority and code, such as "EPSG:32614", or WKT.

        It is empty where the tile has no georeference, or one that does not say where on the Earth it is.
        """
        names = ["" if found is None else found.crs for found in self._georeferences]
        return [names[bisect_right(self._ends, index)] for index in range(len(self))]

    @cached_property
    def _georeferences(self) -> list[Georeference | None]:
        """Where the images of all tiles lie."""
        return [read_georeference(tile.image) for tile in self._tiles]

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

    def _mask(self, number: int, masks: NDArray[Any], handles: Handles) -> NDArray[np.float32]:
        """The mask of a patch, float32 (h, w), of the bands (n, h, w) that it may be."""
        tile = self._tiles[number]
        values = self._values_of(number, masks[0], handles)
        found = values.mask(masks)
        # What does not vary in a patch, such as opacity, is no other mask.
        different = (found != found[0]).any((1, 2)) & (found != found[:, :1, :1]).any((1, 2))
        if different.any():
            first, other = tile.mask_bands[0], tile.mask_bands[int(different.argmax())]
            raise ValueError(
                f"the bands of {tile.mask} differ: bands {first} and {other} do not have the same buildings; say which "
                f"one is the mask, mask_band={first} or mask_band={other}"
            )
        mask: NDArray[np.float32] = found[0].astype(np.float32)
        if self.ignore is not None:
            mask[masks[0] == self.ignore] = self.ignore
        return mask

    def _values_of(self, number: int, mask: NDArray[Any], handles: Handles) -> MaskValues:
        """How the values of a tile's mask are read, of which these are some."""
        tile = self._tiles[number]
        plain = MaskValues(tile.mask_nodata)
        if number in self._mask_values or is_plain(mask[mask != self.ignore], tile.mask_nodata):
            return self._mask_values.get(number, plain)
        try:
            values = handles.sample(tile.mask, tile.mask_bands[0], tile.height, tile.width, _SAMPLE)
        except ValueError:
            # Other pixels of the file are damaged.
            values = mask
        found = find_mask_values(values[values != self.ignore], tile.mask_nodata, lossy=tile.mask_lossy)
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
    patch, stride : int
        Side of the square patches, and distance from one to the next, in pixels: as for `Tiles`, both are 256 by
        default, whatever the other is.
    regions : sequence of str, optional
        The regions to take, such as `["austin", "chicago"]`: file names without the number at their end. All by
        default.
    split : {None, "train", "validation"}
        "validation" takes tiles 1 to 5 of every region, "train" the others, as the authors of the data recommend. None
        takes all.
    bands, scale, mask_band, ignore
        As for `Tiles`.

    Attributes
    ----------
    tiles, columns
        As for `Tiles`.

    Raises
    ------
    ImportError, FileNotFoundError, ValueError, TypeError
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
        mask_band: int | None = None,
        ignore: float | None = None,
    ) -> None:
        self._set(patch, stride, bands, scale, mask_band, ignore)
        if not isinstance(root, (str, os.PathLike)):
            raise TypeError(f"root must be a path, got {brief(root)}")
        if split not in SPLITS:
            raise ValueError(f"split must be None, 'train' or 'validation', got {brief(split)}")
        if isinstance(regions, str):
            raise TypeError(f"regions must be a sequence of names, such as [{regions!r}], got {brief(regions)}")
        # A relative path would point elsewhere after a change of the working directory.
        images = images_folder(Path(root).absolute())
        names = chosen_tiles(found_tiles(images), regions, split)
        self._read_headers(names, images.parent / "gt")


class _Tile(NamedTuple):
    """Files of an image and a mask of the same size, and what their headers say."""

    image: Path
    mask: Path
    height: int
    width: int
    image_nodata: float | None
    mask_nodata: float | None
    mask_lossy: bool
    mask_bands: tuple[int, ...]


def _checked_bands(bands: object) -> tuple[int, ...]:
    """Numbers of bands, counted from 1."""
    numbers = list(bands) if isinstance(bands, (Sequence, np.ndarray)) and not isinstance(bands, str) else []
    if not numbers or not all(is_whole(number) and number >= 1 for number in numbers):
        raise ValueError(
            f"bands must be numbers of bands, counted from 1 as in GDAL, such as (4, 3, 2), got {brief(bands)}"
        )
    return tuple(int(number) for number in numbers)


def _checked(
    name: TileFile,
    masks: Path,
    found: dict[str, list[Path]],
    patch: int,
    bands: tuple[int, ...],
    scale: float | None,
    mask_band: int | None,
) -> _Tile:
    """The tile of this name; its two headers must agree, and its sides must not be shorter than a patch."""
    image = name.path
    if name.name not in found:
        raise FileNotFoundError(f"no mask of {image}: there is no {masks / image.name}{_nearest(name, masks, found)}")
    mask = only_file(found[name.name])
    of_image, of_mask = read_header(image), read_header(mask)
    height, width = of_image.height, of_image.width
    if of_image.bands < max(bands):
        count, needed = of_image.bands, max(bands)
        raise ValueError(
            f"{image} has {quantity(count, 'band')}; images need at least {needed}; bands= chooses others, such "
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
    if (mask_band or 1) > of_mask.bands:
        raise ValueError(f"{mask} has no band mask_band={mask_band}: it has {of_mask.bands}")
    mask_bands = (of_mask.opaque or (1,)) if mask_band is None else (mask_band,)
    return _Tile(image, mask, height, width, of_image.nodata, of_mask.nodata, of_mask.lossy, mask_bands)


def _nearest(name: TileFile, masks: Path, found: dict[str, list[Path]]) -> str:
    """What there is in place of a mask, as the end of a message; empty if there is nothing like it."""
    others = [path for path in pictures(masks) if path.stem == name.name]
    if others:
        return f"; only GeoTIFFs are read, and there is {others[0].name}: {CONVERT}"
    longer = sorted((stem for stem in found if name.name.lower() in stem.lower()), key=len)
    near = longer or get_close_matches(name.name, found, 1)
    return f"; a mask must have the name of its image, and the nearest is {found[near[0]][0].name}" if near else ""
