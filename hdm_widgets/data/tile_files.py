"""The files of images and masks in folders, found by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "CONVERT",
    "SPLITS",
    "TileFile",
    "by_stem",
    "checked_path",
    "chosen_tiles",
    "found_tiles",
    "images_folder",
    "only_file",
    "pictures",
]

CONVERT = "gdal_translate, or rasterio, makes a GeoTIFF of it"
SPLITS = (None, "train", "validation")
_SUFFIXES = (".tif", ".tiff")
# Endings of files that hold images or masks and are not read.
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".jp2", ".webp", ".npy")
_LAST_VALIDATION_TILE = 5


class TileFile(NamedTuple):
    """The file of an image, and what its name says."""

    path: Path
    name: str
    region: str
    number: int | None


def checked_path(name: str, folder: object) -> Path:
    """The absolute path of a folder: a relative one would point elsewhere after a change of the working directory."""
    if not isinstance(folder, (str, os.PathLike)):
        got = type(folder).__name__
        raise TypeError(f"{name} must be the path of a folder, all GeoTIFFs of which are read, got {got}")
    return Path(folder).absolute()


def images_folder(root: Path) -> Path:
    """The folder of the images in the layout of the Inria data."""
    folders = [folder / "images" for folder in (root / "train", root / "AerialImageDataset" / "train", root)]
    images = next((folder for folder in folders if folder.is_dir()), None)
    if images is None:
        raise FileNotFoundError(
            f"no folder train/images in {root}; root must be the folder AerialImageDataset, the folder that holds it, "
            "or its folder train"
        )
    return images


def by_stem(folder: Path) -> dict[str, list[Path]]:
    """GeoTIFFs in a folder by their names without the ending."""
    found: dict[str, list[Path]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        # Archives made on a Mac hold a second file beside each, named "._austin1.tif".
        if path.suffix.lower() in _SUFFIXES and path.name[0] != ".":
            found.setdefault(path.stem, []).append(path)
    return found


def pictures(folder: Path) -> list[Path]:
    """Files in a folder that may be images or masks, and are no GeoTIFFs."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in _PICTURES and path.name[0] != ".")


def found_tiles(images: Path) -> list[TileFile]:
    """The images in a folder, in natural order."""
    found = by_stem(images)
    if not found:
        others = pictures(images)
        advice = f": only these are read, and there is {others[0].name}; {CONVERT}" if others else ""
        raise FileNotFoundError(f"no GeoTIFFs (.tif) in {images}{advice}")
    return [_name(path) for path in sorted((only_file(paths) for paths in found.values()), key=_natural)]


def only_file(paths: list[Path]) -> Path:
    """The file of one name, of which there must not be several with different endings."""
    if len(paths) > 1:
        one, other, *_ = sorted(paths)
        raise ValueError(f"{one} and {other.name} have one name: take one of them out of the folder")
    return paths[0]


def _name(path: Path) -> TileFile:
    region = re.sub(r"\d+$", "", path.stem)
    digits = path.stem[len(region) :]
    return TileFile(path, path.stem, region, int(digits) if digits else None)


def _natural(path: Path) -> tuple[list[str | int], str]:
    """A key by which "austin2" comes before "austin10"."""
    # Splitting at a group gives text and digits in turn: text is only compared with text, numbers with numbers.
    parts = re.split(r"(\d+)", path.stem)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path.name


def chosen_tiles(names: list[TileFile], regions: Iterable[str] | None, split: str | None) -> list[TileFile]:
    """Those of these regions and of this split; at least one."""
    known = list(dict.fromkeys(name.region for name in names))
    wanted = known if regions is None else list(regions)
    unknown = [region for region in wanted if region not in known]
    if unknown:
        raise ValueError(f"unknown region {unknown[0]!r}; known are {', '.join(known)}")
    chosen = [name for name in names if name.region in wanted and (split is None or _split(name) == split)]
    if not chosen:
        raise ValueError(f"no tiles are left with regions={regions!r} and split={split!r}")
    return chosen


def _split(name: TileFile) -> str:
    first = name.number is not None and 1 <= name.number <= _LAST_VALIDATION_TILE
    return "validation" if first else "train"
