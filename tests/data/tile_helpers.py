"""Tiles of two folders of GeoTIFFs, and what is in them."""

import warnings

import numpy as np
import psutil
import rasterio
from rasterio.errors import NotGeoreferencedWarning

# 0.3 m to a pixel near Austin, as in the published files.
PLACE = {"crs": "EPSG:32614", "transform": rasterio.Affine(0.3, 0, 616500, 0, -0.3, 3345000)}


def write(path, bands, **profile):
    """A GeoTIFF with these bands (B, H, W); without georeference unless told."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": bands.dtype, **profile}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as file:
            file.write(bands)


def image_values(height, width, *, seed=0, bands=3, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (bands, height, width), dtype, endpoint=True)


def buildings(height, width, *, seed=0):
    return np.random.default_rng((seed, 1)).random((1, height, width)) < 0.3


def write_tile(train, name, *, height=8, width=8, seed=0, **profile):
    write(train / "images" / f"{name}.tif", image_values(height, width, seed=seed), **profile)
    write(train / "gt" / f"{name}.tif", buildings(height, width, seed=seed).astype(np.uint8) * 255, **profile)


def expected_of_three():
    places = [(seed, row, col) for seed in range(3) for row in (0, 12, 24) for col in (0, 12, 24)]
    for seed, row, col in places:
        square = (..., slice(row, row + 16), slice(col, col + 16))
        yield image_values(40, 48, seed=seed)[square] / np.float32(255), buildings(40, 48, seed=seed)[0][square]


def assert_equal(items, expected):
    for (image, mask), (true_image, true_mask) in zip(items, expected, strict=True):
        np.testing.assert_array_equal(image, true_image)
        np.testing.assert_array_equal(mask, true_mask)


def open_files(folder):
    return [file.path for file in psutil.Process().open_files() if file.path.startswith(str(folder))]
