import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader
from torch.utils.data import DataLoader

from hdm_widgets.data import InriaTiles, Tiles

# 0.3 m to a pixel near Austin, as in the published files.
PLACE = {"crs": "EPSG:32614", "transform": rasterio.Affine(0.3, 0, 616500, 0, -0.3, 3345000)}
FORK = pytest.param(
    "fork",
    marks=[
        pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"),
        # Python 3.12 and newer warn of every fork of a process with threads. That it works is what is tested.
        pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
    ],
)


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


@pytest.fixture
def train(tmp_path):
    return tmp_path / "AerialImageDataset" / "train"


@pytest.fixture
def three(train):
    """Three tiles of 40 x 48 px, each with other pixels: 3 x 3 patches of 16 px at stride 12."""
    for seed, name in enumerate(("austin1", "austin6", "vienna1")):
        write_tile(train, name, height=40, width=48, seed=seed, compress="deflate")
    return train


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


@pytest.mark.parametrize("profile", [{}, PLACE, {**PLACE, "tiled": True, "blockxsize": 16, "blockysize": 16}])
def test_patches_lie_on_a_grid_from_the_top_left(train, profile):
    # 5 rows take patches of 2 px at 0 and 3; 9 columns take them at 0, 3 and 6.
    rows, cols = np.mgrid[:5, :9]
    write(train / "images" / "austin1.tif", np.stack([rows * 10 + cols, rows, cols]).astype(np.uint8), **profile)
    write(train / "gt" / "austin1.tif", np.where(rows == cols, 255, 0)[None].astype(np.uint8), **profile)
    dataset = InriaTiles(train.parent, patch=2, stride=3)
    assert len(dataset) == 6
    assert dataset.columns == {
        "tile": ["austin1"] * 6,
        "region": ["austin"] * 6,
        "row": [0, 0, 0, 3, 3, 3],
        "col": [0, 3, 6, 0, 3, 6],
    }
    image, mask = dataset[5]
    assert image.dtype == mask.dtype == torch.float32
    np.testing.assert_allclose(image * 255, [[[36, 37], [46, 47]], [[3, 3], [4, 4]], [[6, 7], [6, 7]]], rtol=1e-6)
    assert mask.tolist() == [[0, 0], [0, 0]]
    assert dataset[4][1].tolist() == [[1, 0], [0, 1]]
    # 255 is white.
    write(train / "images" / "austin1.tif", np.full((3, 5, 9), 255, np.uint8))
    assert InriaTiles(train.parent, 2, 3)[0][0].unique().tolist() == [1]


@pytest.mark.parametrize(("patch", "stride", "expected"), [(8, 1, [0]), (7, 1, [0, 1]), (4, 4, [0, 4]), (3, 4, [0, 4])])
def test_the_last_patch_ends_where_the_tile_ends(train, patch, stride, expected):
    write_tile(train, "austin1")
    dataset = InriaTiles(train, patch, stride)
    assert sorted(set(dataset.columns["row"])) == sorted(set(dataset.columns["col"])) == expected
    image, mask = (values[:, expected[-1] :, expected[-1] :] for values in (image_values(8, 8), buildings(8, 8)))
    assert_equal([dataset[-1]], [(image[:, :patch, :patch] / np.float32(255), mask[0, :patch, :patch])])


def test_pixels_are_those_of_the_files(three):
    assert_equal(list(InriaTiles(three, 16, 12)), expected_of_three())


def test_sixteen_bits_and_a_fourth_band(train):
    values = np.array([0, 13107, 65535, 26214], np.uint16).reshape(4, 1, 1) * np.ones((1, 4, 4), np.uint16)
    write(train / "images" / "austin1.tif", values)
    write(train / "gt" / "austin1.tif", np.zeros((1, 4, 4), np.uint8))
    image, _ = InriaTiles(train, 4)[0]
    assert image.shape == (3, 4, 4)
    np.testing.assert_allclose(image[:, 0, 0], [0, 0.2, 1], rtol=1e-7)


@pytest.mark.parametrize("high", [1, 255])
@pytest.mark.parametrize("bands", [1, 3])
def test_whatever_is_not_0_in_the_first_band_of_a_mask_is_a_building(train, high, bands):
    first = np.array([[0, high], [high, 0]], np.uint8)
    write_tile(train, "austin1", height=2, width=2)
    write(train / "gt" / "austin1.tif", np.stack([first, 0 * first + 7, 0 * first][:bands]))
    assert InriaTiles(train, 2)[0][1].tolist() == [[0, 1], [1, 0]]


MASK = np.array([[0, 255], [255, 0]], np.uint8)
EMPTY = 0 * MASK


@pytest.mark.parametrize(
    ("bands", "profile", "options", "expected"),
    [
        ([MASK, MASK, MASK], {}, {}, MASK),
        # Opacity that is marked as such may vary, and what does not vary is no mask.
        ([MASK, MASK, MASK, 255 - MASK], {"photometric": "rgb", "alpha": "yes"}, {}, MASK),
        ([MASK, MASK, MASK, EMPTY + 255], {"photometric": "minisblack", "alpha": "no"}, {}, MASK),
        ([EMPTY, EMPTY, EMPTY, EMPTY + 255], {}, {}, EMPTY),
        ([EMPTY, MASK, EMPTY], {}, {}, "bands 1 and 2 do not have the same buildings; .*mask_band=1 or mask_band=2"),
        ([MASK, MASK, 255 - MASK], {}, {}, "the bands of .*gt.austin1.tif differ: bands 1 and 3"),
        ([EMPTY, MASK, EMPTY], {}, {"mask_band": 2}, MASK),
        ([EMPTY, MASK, EMPTY], {}, {"mask_band": 1}, EMPTY),
        # The values of this band say how it is read, not those of the first.
        ([MASK // 255 * 9, 255 - MASK], {}, {"mask_band": 2}, 255 - MASK),
    ],
)
def test_the_bands_of_a_mask(train, bands, profile, options, expected):
    write_tile(train, "austin1", height=2, width=2)
    write(train / "gt" / "austin1.tif", np.stack(bands), **profile)
    dataset = InriaTiles(train, 2, **options)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            dataset[0]
    else:
        np.testing.assert_array_equal(dataset[0][1], expected > 0)


# Values of a mask, what marks pixels in it, and the mask.
MARKED = {
    "1 beside 255": ([[0, 1], [255, 1]], 255, [[0, 1], [255, 1]]),
    "nothing beside 255": ([[0, 255], [255, 0]], 255, [[0, 255], [255, 0]]),
    "255 beside 7": ([[0, 255], [7, 255]], 7, [[0, 1], [7, 1]]),
    "no such value": ([[0, 1], [1, 0]], 255, [[0, 1], [1, 0]]),
}


@pytest.mark.parametrize(("values", "ignore", "expected"), MARKED.values(), ids=MARKED)
def test_pixels_that_do_not_count_keep_their_value(train, values, ignore, expected):
    write_tile(train, "austin1", height=2, width=2)
    write(train / "gt" / "austin1.tif", np.array([values], np.uint8))
    for dataset in (InriaTiles(train, 2, ignore=ignore), Tiles(train / "images", train / "gt", 2, ignore=ignore)):
        assert dataset[0][1].tolist() == expected


# -- values of masks and images ----------------------------------------------------------------------


def mask_of(train, values, **profile):
    """The mask of a tile whose file holds these values (H, W)."""
    height, width = values.shape
    write(train / "images" / "austin1.tif", image_values(height, width))
    write(train / "gt" / "austin1.tif", values[None], **profile)
    return InriaTiles(train, height)[0][1].numpy()


SQUARE = np.zeros((64, 64), bool)
SQUARE[10:37, 21:50] = True
BLURRED = np.where(SQUARE, 250, 3).astype(np.uint8)
BLURRED[10], BLURRED[:, 21], BLURRED[:9, :9], BLURRED[20:30, 30:40] = 140, 90, 0, 254
BLURRED[10, :21] = BLURRED[10, 50:] = BLURRED[37:, 21] = BLURRED[:10, 21] = 2


@pytest.mark.parametrize(
    ("values", "nodata", "expected"),
    [
        ([[0, 1], [255, 1]], 255, [[0, 1], [0, 1]]),
        ([[0, 255], [7, 0]], 7, [[0, 1], [0, 0]]),
        ([[0, 1], [1, 0]], 0, [[0, 1], [1, 0]]),
        (np.array([[0, 1], [-9999, 1]], np.int16), -9999, [[0, 1], [0, 1]]),
        (np.array([[0, 1], [np.nan, 1]], np.float32), None, [[0, 1], [0, 1]]),
        (np.array([[0, 1], [np.nan, 1]], np.float32), np.nan, [[0, 1], [0, 1]]),
        (np.array([[np.nan, 1], [-3.4e38, 0]], np.float32), float(np.float32(-3.4e38)), [[0, 1], [0, 0]]),
    ],
)
def test_nodata_of_the_header_and_nan_are_no_building(train, values, nodata, expected):
    values = values if isinstance(values, np.ndarray) else np.array(values, np.uint8)
    assert mask_of(train, values, nodata=nodata).tolist() == expected


@pytest.mark.parametrize(
    ("values", "profile", "expected"),
    [
        (np.where(SQUARE, 255, 0).astype(np.uint8), {"compress": "jpeg", "jpeg_quality": 20}, SQUARE),
        # Compressed with loss once, and without in this file.
        (BLURRED, {"compress": "deflate"}, BLURRED > 127.5),
        (BLURRED.astype(np.float32), {}, BLURRED > 127.5),
        (np.where(SQUARE, 0.9, 0.2).astype(np.float32), {}, SQUARE),
        (BLURRED.astype(np.float32) / 254, {}, BLURRED / 254 > 0.5),
    ],
    ids=["jpeg", "saved again", "floats", "probabilities", "resampled"],
)
def test_masks_with_values_between_are_cut_at_half_and_said(train, values, profile, expected):
    with pytest.warns(
        UserWarning, match=r"austin1\.tif has \d+ different values .*: pixels above [0-9.]+ are buildings"
    ):
        got = mask_of(train, values, **profile)
    wrong = got != expected
    # At this quality, JPEG moves some pixels of the edge.
    assert wrong.mean() < (0.02 if profile.get("compress") == "jpeg" else 1e-9)


@pytest.mark.parametrize(
    ("values", "note", "mark"),
    [
        (np.arange(64, dtype=np.uint8).reshape(8, 8), "has 63 different values besides 0, such as 1 and 63", None),
        (np.arange(256, dtype=np.uint8).reshape(16, 16), "has 255 different values besides 0, such as 1 and 255", 255),
        (np.resize(np.array([0, 1, 2, 255], np.uint8), (8, 8)), "has 3 different .* such as 1 and 255", 255),
        (
            np.resize(np.array([0, 10, 20, 40, 80, 100], np.uint8), (8, 8)),
            "has 5 different .* such as 10 and 100",
            None,
        ),
        (np.resize(np.array([0, 700, 3], np.uint16), (8, 8)), "has 2 different .* such as 3 and 700", None),
        (np.resize(np.array([0, 700, 65535], np.uint16), (8, 8)), "has 2 different .* such as 700 and 65535", 65535),
        (np.resize(np.array([0, -1, 1], np.int16), (8, 8)), "has 2 different .* such as -1 and 1", -1),
    ],
    ids=["instances", "many instances", "classes and a mark", "land cover", "numbers", "16 bits", "negative"],
)
def test_numbers_are_not_cut(train, values, note, mark):
    remedy = f"; if {mark} marks pixels that do not count, give ignore={mark} to the tiles and to fit" if mark else ""
    with pytest.warns(UserWarning, match=f"{note}: all of them are buildings{remedy}$"):
        got = mask_of(train, values)
    np.testing.assert_array_equal(got, values != 0)


def test_a_mask_is_read_in_one_way_wherever_a_patch_lies(train):
    # The first patch has no building, only what compression left of one beside it.
    values = np.tile(np.zeros((64, 64), np.uint8), (1, 3))
    values[:, 64:128], values[0, :64], values[:, 128:] = BLURRED, 2, 0
    write(train / "images" / "austin1.tif", image_values(64, 192))
    write(train / "gt" / "austin1.tif", values[None])
    dataset = InriaTiles(train, 64, 64)
    with pytest.warns(UserWarning, match="pixels above 127.5 are buildings") as said:
        masks = [dataset[index][1].numpy() for index in (0, 1, 2, 0)]
    assert len(said) == 1
    np.testing.assert_array_equal(masks, [0 * SQUARE, BLURRED > 127.5, 0 * SQUARE, 0 * SQUARE])


def test_a_header_that_takes_buildings_for_nodata_is_said(train):
    with pytest.warns(UserWarning, match="has no values but 0 and 255, which its header calls nodata"):
        assert not mask_of(train, np.where(SQUARE, 255, 0).astype(np.uint8), nodata=255).any()


BANDS = np.array([0, 1000, 2000, 3000, 10000], np.uint16).reshape(5, 1, 1) * np.ones((1, 4, 4), np.uint16)


@pytest.mark.parametrize(
    ("bands", "dtype", "options", "expected"),
    [
        (BANDS, np.uint16, {"scale": 10_000}, [0, 0.1, 0.2]),
        (BANDS, np.uint16, {"scale": 10_000, "bands": (4, 3, 2)}, [0.3, 0.2, 0.1]),
        (BANDS, np.uint16, {"scale": 10_000, "bands": [5]}, [1]),
        (BANDS[:1] + 255, np.uint8, {"bands": np.array([1])}, [1]),
        (BANDS, np.int16, {"scale": 1000.0, "bands": range(1, 6)}, [0, 1, 2, 3, 10]),
        (BANDS, np.float32, {"scale": 1}, [0, 1000, 2000]),
    ],
)
def test_bands_and_scale(train, bands, dtype, options, expected):
    write(train / "images" / "austin1.tif", bands.astype(dtype))
    write(train / "gt" / "austin1.tif", np.zeros((1, 4, 4), np.uint8))
    image, _ = InriaTiles(train, 4, **options)[0]
    assert image.dtype == torch.float32
    np.testing.assert_allclose(image[:, 0, 0], expected, rtol=1e-6)
    again = pickle.loads(pickle.dumps(InriaTiles(train, 4, **options)))
    np.testing.assert_array_equal(again[0][0], image)


def test_sixteen_bits_that_are_fewer_are_said(train):
    write(train / "images" / "austin1.tif", BANDS[:3] + 7)
    write(train / "gt" / "austin1.tif", np.zeros((1, 4, 4), np.uint8))
    dataset = InriaTiles(train, 4)
    with pytest.warns(UserWarning, match="has values up to 2007 of 65535, .*scale=10000, .*scale=4095") as said:
        images = [dataset[0][0] for _ in range(2)]
    assert len(said) == 1
    for image in images:
        np.testing.assert_allclose(image[2], 2007 / 65535, rtol=1e-6)


def test_pixels_of_images_without_data_are_0(train):
    image = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    image[:, 0, 0], image[1, 0, 1] = -9999, np.nan
    write(train / "images" / "austin1.tif", image, nodata=-9999)
    write(train / "gt" / "austin1.tif", np.zeros((1, 2, 2), np.uint8))
    expected = image.copy()
    expected[:, 0, 0], expected[1, 0, 1] = 0, 0
    np.testing.assert_array_equal(InriaTiles(train, 2, scale=1)[0][0], expected)


# -- names and folders --------------------------------------------------------------------------------


@pytest.mark.parametrize(("image", "mask"), [(".TIF", ".TIF"), (".tif", ".tiff"), (".TIFF", ".tif"), (".Tif", ".TIF")])
def test_endings_may_differ(three, image, mask):
    for folder, ending in (("images", image), ("gt", mask)):
        path = three / folder / "austin6.tif"
        path.rename(path.with_suffix(ending))
    dataset = InriaTiles(three, 16, 12)
    assert dataset.tiles == ["austin1", "austin6", "vienna1"]
    assert_equal(list(dataset), expected_of_three())


def test_two_files_of_one_name(three):
    content = (three / "gt" / "austin1.tif").read_bytes()
    (three / "gt" / "austin1.tiff").write_bytes(content)
    with pytest.raises(ValueError, match=r"gt.austin1\.tif and austin1\.tiff have one name"):
        InriaTiles(three, 16, 12)
    (three / "gt" / "austin1.tif").rename(three / "gt" / "austin1.TIFF")
    with pytest.raises(ValueError, match=r"gt.austin1\.TIFF and austin1\.tiff have one name"):
        InriaTiles(three, 16, 12)
    (three / "images" / "vienna1.tiff").write_bytes(content)
    with pytest.raises(ValueError, match=r"images.vienna1\.tif and vienna1\.tiff have one name"):
        InriaTiles(three, 16, 12)


def test_any_two_folders(three, tmp_path):
    (three / "images").rename(tmp_path / "scenes")
    (three / "gt").rename(tmp_path / "fields")
    dataset = Tiles(tmp_path / "scenes", tmp_path / "fields", 16, 12)
    assert dataset.columns["tile"][::9] == ["austin1", "austin6", "vienna1"]
    assert_equal(list(dataset), expected_of_three())
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*images"):
        Tiles(three / "images", tmp_path / "fields")
    with pytest.raises(FileNotFoundError, match=r"no mask of .*austin1\.tif: there is no .*gt.austin1\.tif"):
        Tiles(tmp_path / "scenes", three / "gt")


@pytest.mark.parametrize(
    ("images", "masks", "error", "message"),
    [
        (["a.tif"], "gt", TypeError, "images must be the path of a folder, .*got list"),
        ("images", None, TypeError, "masks must be the path of a folder, .*got NoneType"),
        (
            "images/austin1.tif",
            "gt",
            FileNotFoundError,
            "no folder .*austin1.tif: it is a file; give its folder, .*images",
        ),
        ("png", "gt", FileNotFoundError, r"no GeoTIFFs \(\.tif\) in .*png: only these are read, and there is 1\.png;"),
        ("images", "png", FileNotFoundError, r"no mask of .*austin1\.tif: there is no .*png.austin1\.tif$"),
        ("images", "jpeg", FileNotFoundError, "; only GeoTIFFs are read, and there is austin1.JPG: gdal_translate, or"),
        (
            "images",
            "named",
            FileNotFoundError,
            "; a mask must have the name of its image, .*nearest is austin1_mask.tif",
        ),
        ("images", "cased", FileNotFoundError, "; a mask must have the name of its image, .*nearest is Austin1.tif"),
        ("images", "typo", FileNotFoundError, "; a mask must have the name of its image, .*nearest is autsin1.tif"),
    ],
)
def test_folders_that_do_not_serve_are_refused_with_what_is_there(three, monkeypatch, images, masks, error, message):
    for name in ("png/1.png", "jpeg/austin1.JPG", "named/austin1_mask.tif", "cased/Austin1.tif", "typo/autsin1.tif"):
        (three / name).parent.mkdir()
        (three / name).write_bytes(b"")
    (three / "named" / "austin10_mask.tif").write_bytes(b"")
    monkeypatch.chdir(three)
    with pytest.raises(error, match=message):
        Tiles(images, masks, 16)


@pytest.mark.parametrize("index", [slice(3), 1.0, "1", None])
def test_an_index_that_is_no_number(three, index):
    with pytest.raises(TypeError, match=r"the index of a patch must be a whole number, got .*Subset\(tiles, range"):
        InriaTiles(three, 16, 12)[index]


@pytest.mark.parametrize("above", [0, 1, 2])
def test_root_is_any_of_three_folders(three, above):
    root = (three, *three.parents)[above]
    assert InriaTiles(root, 16, 12).tiles == ["austin1", "austin6", "vienna1"]
    assert InriaTiles(str(root), 16, 12).tiles == ["austin1", "austin6", "vienna1"]


def test_a_relative_root_outlives_a_change_of_directory(three, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = InriaTiles("AerialImageDataset", 16, 12)
    monkeypatch.chdir(three)
    assert_equal(list(dataset), expected_of_three())


def test_numbers_in_names_count_as_numbers(train):
    for name in ("austin10", "austin2", "tyrol-w1", "Bellingham", "austin1"):
        write_tile(train, name)
    dataset = InriaTiles(train, 8)
    assert dataset.tiles == dataset.columns["tile"] == ["Bellingham", "austin1", "austin2", "austin10", "tyrol-w1"]
    assert dataset.columns["region"] == ["Bellingham", "austin", "austin", "austin", "tyrol-w"]


def test_other_files_are_no_tiles(train):
    write_tile(train, "austin1")
    write_tile(train, "austin2")
    (train / "gt" / "vienna1.tif").write_bytes((train / "gt" / "austin1.tif").read_bytes())
    for name in ("._austin1.tif", ".DS_Store", "austin1.tif.aux.xml", "notes.txt", "austin2.tfw"):
        (train / "images" / name).write_text("no image")
    assert InriaTiles(train, 8).tiles == ["austin1", "austin2"]


@pytest.mark.parametrize(
    ("options", "tiles"),
    [
        ({}, ["austin1", "austin5", "austin6", "austin36", "vienna0", "vienna2", "vienna10"]),
        ({"regions": ["vienna"]}, ["vienna0", "vienna2", "vienna10"]),
        ({"regions": ("vienna", "austin"), "split": "validation"}, ["austin1", "austin5", "vienna2"]),
        ({"split": "train"}, ["austin6", "austin36", "vienna0", "vienna10"]),
        ({"split": "validation"}, ["austin1", "austin5", "vienna2"]),
    ],
)
def test_regions_and_splits(train, options, tiles):
    for name in ("austin1", "austin5", "austin6", "austin36", "vienna0", "vienna2", "vienna10"):
        write_tile(train, name)
    dataset = InriaTiles(train, 8, **options)
    assert dataset.tiles == dataset.columns["tile"] == tiles


def test_tiles_of_several_sizes(train):
    write_tile(train, "austin1", height=8, width=17)
    write_tile(train, "austin2", height=16, width=8, seed=1)
    dataset = InriaTiles(train, 8, 8)
    assert dataset.columns["tile"] == ["austin1", "austin1", "austin2", "austin2"]
    assert list(zip(dataset.columns["row"], dataset.columns["col"], strict=True)) == [(0, 0), (0, 8), (0, 0), (8, 0)]
    np.testing.assert_array_equal(dataset[1][0] * 255, image_values(8, 17)[:, :, 8:16])
    np.testing.assert_array_equal(dataset[2][0] * 255, image_values(16, 8, seed=1)[:, :8])
    np.testing.assert_array_equal(dataset[3][0] * 255, image_values(16, 8, seed=1)[:, 8:])


def test_indices_count_from_the_end_too(three):
    dataset = InriaTiles(three, 16, 12)
    assert_equal([dataset[index - 27] for index in range(27)], list(dataset))
    for index in (27, -28):
        with pytest.raises(IndexError, match=f"index {index} is out of range for 27 patches"):
            dataset[index]


def header_is_no_header(train):
    (train / "images" / "austin2.tif").write_bytes(b"II*\0 and then no directory")


def mask_is_another_format(train):
    (train / "gt" / "austin2.tif").write_text("P1 2 2 0 1 1 0")


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda train: (train / "gt" / "austin2.tif").unlink(), FileNotFoundError,
         r"no mask of .*images.austin2\.tif: there is no .*gt.austin2\.tif"),
        (lambda train: write(train / "gt" / "austin2.tif", np.zeros((1, 8, 9), np.uint8)), ValueError,
         r"gt.austin2\.tif has 8 x 9 px, but its image 8 x 8 px \(rows x columns\)"),
        (lambda train: write_tile(train, "austin2", height=7), ValueError,
         r"images.austin2\.tif has 7 x 8 px \(rows x columns\), too few for a patch of 8 x 8 px"),
        (lambda train: write(train / "images" / "austin2.tif", image_values(8, 8, bands=2)), ValueError,
         r"images.austin2\.tif has 2 bands; images need at least 3"),
        (lambda train: write(train / "images" / "austin2.tif", image_values(8, 8, bands=1)), ValueError,
         r"images.austin2\.tif has 1 band; images need at least 3"),
        (lambda train: write(train / "images" / "austin2.tif", np.zeros((3, 8, 8), np.float32)), ValueError,
         r"images.austin2\.tif has float32 pixels; images must be uint8 or uint16"),
        (header_is_no_header, ValueError, r"cannot read .*images.austin2\.tif: "),
        (mask_is_another_format, ValueError, r"cannot read .*gt.austin2\.tif: "),
        (lambda train: (train / "images" / "austin2.tif").write_bytes(b""), ValueError,
         r"cannot read .*images.austin2\.tif: "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_before_anything_is_read(train, capfd, damage, error, message):
    write_tile(train, "austin1")
    write_tile(train, "austin2")
    damage(train)
    with pytest.raises(error, match=message):
        InriaTiles(train, 8)
    assert capfd.readouterr() == ("", "")
    # Only tiles that were asked for matter.
    write_tile(train, "vienna1")
    assert InriaTiles(train, 8, regions=["vienna"]).tiles == ["vienna1"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bands": (0, 1, 2)}, ValueError, r"bands must be numbers of bands, counted from 1 .*got \(0, 1, 2\)"),
        ({"bands": ()}, ValueError, r"bands must be numbers of bands, .*got \(\)"),
        ({"bands": 1}, ValueError, "bands must be numbers of bands, .*got 1"),
        ({"bands": [1, 4]}, ValueError, r"austin1.* has 3 bands; images need at least 4; bands= chooses others"),
        ({"scale": 0}, ValueError, "scale must be a number above 0, got 0"),
        ({"scale": "auto"}, ValueError, "scale must be a number above 0, got 'auto'"),
        ({"patch": 0}, ValueError, "patch must be at least 1 px, got 0"),
        ({"stride": 0}, ValueError, "stride must be at least 1 px, got 0"),
        ({"patch": 16.0}, TypeError, r"patch must be a whole number of pixels, got 16\.0"),
        ({"stride": "16"}, TypeError, "stride must be a whole number of pixels, got '16'"),
        ({"mask_band": 0}, ValueError, "mask_band must be the number of a band, counted from 1, got 0"),
        ({"mask_band": [1]}, ValueError, r"mask_band must be the number of a band, counted from 1, got \[1\]"),
        ({"mask_band": 2}, ValueError, r"gt.austin1\.tif has no band mask_band=2: it has 1"),
        ({"ignore": 1}, ValueError, "ignore must be a value of the masks .* neither 0 nor 1, .*got 1"),
        ({"ignore": [255]}, ValueError, r"ignore must be a value of the masks .*got \[255\]"),
        ({"split": "test"}, ValueError, "split must be None, 'train' or 'validation', got 'test'"),
        ({"regions": ["austin", "graz"]}, ValueError, "unknown region 'graz'; known are austin, vienna"),
        ({"regions": []}, ValueError, r"no tiles are left with regions=\[\] and split=None"),
        ({"regions": ["vienna"], "split": "train"}, ValueError,
         r"no tiles are left with regions=\['vienna'\] and split='train'"),
        ({"regions": "austin"}, TypeError, r"regions must be a sequence of names, such as \['austin'\], got 'austin'"),
        ({"patch": 41}, ValueError, r"austin1.*40 x 48 px \(rows x columns\), too few for a patch of 41 x 41 px"),
    ],
)  # fmt: skip
def test_bad_settings(three, options, error, message):
    with pytest.raises(error, match=message):
        InriaTiles(three, **{"patch": 16, **options})


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder train/images in .*; root must be the folder"):
        InriaTiles(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no GeoTIFFs \(\.tif\) in .*images"):
        InriaTiles(tmp_path)


@pytest.mark.parametrize("folder", ["images", "gt"])
@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_damaged_pixels_spoil_only_their_own_patches(train, capfd, folder, compress):
    write_tile(train, "austin1", height=64, width=16, compress=compress, blockysize=16)
    path = train / folder / "austin1.tif"
    content = path.read_bytes()
    # The pixels are behind the header, the last rows last.
    path.write_bytes(content[:-20])
    dataset = InriaTiles(train, 16, 16)
    for _ in range(2):  # nor does a second try give what is not there
        with pytest.raises(ValueError, match=rf"cannot read .*{folder}.austin1\.tif: "):
            dataset[3]
        assert str(path) not in open_files(train)
        np.testing.assert_array_equal(dataset[0][0] * 255, image_values(64, 16)[:, :16])
        np.testing.assert_array_equal(dataset[0][1], buildings(64, 16)[0, :16])
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module", params=["strips", "blocks"])
def large(request, tmp_path_factory):
    """One tile as large as the published ones; its bands are row % 251, col % 241 and the number of its block."""
    train = tmp_path_factory.mktemp(request.param)
    profile = {"tiled": True, "compress": "deflate", "zlevel": 1} if request.param == "blocks" else {"blockysize": 1}
    rows, cols = np.ogrid[:5000, :5000]
    bands = np.empty((3, 5000, 5000), np.uint8)
    bands[0], bands[1], bands[2] = rows % 251, cols % 241, (rows // 500) * 10 + cols // 500
    write(train / "images" / "chicago1.tif", bands, interleave="pixel", **PLACE, **profile)
    write(train / "gt" / "chicago1.tif", ((rows + cols) % 2 * 255)[None].astype(np.uint8), **PLACE, **profile)
    return train


def test_a_patch_is_read_without_its_tile(large, monkeypatch):
    asked = []
    read = DatasetReader.read

    def note(self, *args, **kwargs):
        values = read(self, *args, **kwargs)
        asked.append((kwargs["window"], values.nbytes))
        return values

    monkeypatch.setattr(DatasetReader, "read", note)
    tracemalloc.start()
    try:
        dataset = InriaTiles(large)
        assert len(dataset) == 19 * 19
        assert asked == []
        image, mask = dataset[19 * 18 + 2]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (dataset.columns["row"][344], dataset.columns["col"][344]) == (4608, 512)
    window = ((4608, 4864), (512, 768))
    assert asked == [(window, 3 * 256 * 256), (window, 256 * 256)]
    # The tile has 75 MB; the patch 1 MB as numbers of 4 bytes.
    assert peak < 4e6
    rows, cols = np.mgrid[4608:4864, 512:768]
    np.testing.assert_array_equal((image * 255).round()[0], rows % 251)
    np.testing.assert_array_equal((image * 255).round()[1], cols % 241)
    np.testing.assert_array_equal((image * 255).round()[2], (rows // 500) * 10 + cols // 500)
    np.testing.assert_array_equal(mask, (rows + cols) % 2)


@pytest.mark.parametrize("method", [FORK, "spawn"])
def test_workers_of_a_loader_read_the_same(three, method):
    dataset = InriaTiles(three, 16, 12)
    # Files that the parent has open must not disturb its children, nor they it.
    before = list(dataset)
    # A new Python takes seconds to load torch: one is enough, as forks show what several do.
    workers = 1 if method == "spawn" else 2
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, multiprocessing_context=method, timeout=120)
    items = []
    for index, item in enumerate(loader):
        items.append(item)
        assert_equal([dataset[index]], [before[index]])
    assert_equal(items, expected_of_three())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # as above
def test_a_fork_in_the_middle_of_a_read_does_not_wait_for_it(three, monkeypatch):
    dataset = InriaTiles(three, 16, 12)
    in_a_read, go_on = threading.Event(), threading.Event()
    parent, read = os.getpid(), DatasetReader.read

    def wait_in_the_parent(self, *args, **kwargs):
        if os.getpid() == parent:
            in_a_read.set()
            assert go_on.wait(120)
        return read(self, *args, **kwargs)

    monkeypatch.setattr(DatasetReader, "read", wait_in_the_parent)
    with ThreadPoolExecutor(1) as pool:
        item = pool.submit(dataset.__getitem__, 0)
        try:
            assert in_a_read.wait(120)
            loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=60)
            assert_equal(list(loader), expected_of_three())
        finally:
            go_on.set()
        assert_equal([item.result()], [next(expected_of_three())])


def test_threads_read_the_same_in_turn(three, monkeypatch):
    dataset = InriaTiles(three, 16, 12)
    reading, most, read = [], [], DatasetReader.read

    def note(self, *args, **kwargs):
        reading.append(self)
        most.append(len(reading))
        try:
            return read(self, *args, **kwargs)
        finally:
            reading.pop()

    monkeypatch.setattr(DatasetReader, "read", note)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(27), 8)).tolist()
    expected = list(expected_of_three())
    with ThreadPoolExecutor(4) as pool:
        assert_equal(pool.map(dataset.__getitem__, order), [expected[index] for index in order])
    assert len(most) == 2 * len(order)
    assert max(most) == 1


def test_few_files_are_open_at_a_time(train):
    for number in range(1, 8):
        write_tile(train, f"austin{number}")
    dataset = InriaTiles(train, 8)
    assert open_files(train) == []
    most = 0
    for index in (*range(7), *reversed(range(7))):
        assert dataset[index][0].shape == (3, 8, 8)
        most = max(most, len(open_files(train)))
    assert most == 8
    # Those of the last four images; their masks with them.
    names = {os.path.basename(path) for path in open_files(train)}  # noqa: PTH119  # short, and the paths are strings
    assert names == {f"austin{number}.tif" for number in (1, 2, 3, 4)}
    # A pickle, as a worker gets it, has no files open, and what it makes reads on its own.
    copy = pickle.loads(pickle.dumps(dataset))
    assert_equal([copy[0]], [dataset[0]])
    del dataset, copy
    gc.collect()
    assert open_files(train) == []


def test_files_stay_open_between_patches(three, monkeypatch):
    dataset = InriaTiles(three, 16, 12)
    opened = []
    start = DatasetReader.__init__

    def note(self, path, **options):
        opened.append(path)
        start(self, path, **options)

    monkeypatch.setattr(DatasetReader, "__init__", note)
    assert len(list(dataset)) == 27
    assert opened == [
        str(three / folder / f"{name}.tif") for name in ("austin1", "austin6", "vienna1") for folder in ("images", "gt")
    ]


def test_files_that_say_no_place_warn_nobody(three):
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(three / "images" / "austin1.tif"):
        pass  # proof that there is something to be warned of
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        assert len(list(InriaTiles(three, 16, 12))) == 27
        assert warnings.filters == filters
    assert caught == []


def test_a_place_named_in_latin_1_is_no_obstacle(train):
    crs = rasterio.CRS.from_wkt('LOCAL_CS["the garden",UNIT["metre",1]]')
    write_tile(train, "austin1", crs=crs, transform=PLACE["transform"])
    path = train / "images" / "austin1.tif"
    content = path.read_bytes()
    assert content.count(b"the garden") == 1
    path.write_bytes(content.replace(b"the garden", "the gärden".encode("latin-1")))
    with pytest.raises(UnicodeDecodeError), rasterio.open(path):
        pass  # proof that it may be one
    np.testing.assert_array_equal(InriaTiles(train, 8)[0][0] * 255, image_values(8, 8))


def in_a_new_python(code):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_rasterio_is_wanted_only_by_who_reads_tiles():
    code = """
import sys
from hdm_widgets.data import AerialScenes, InriaTiles
print("rasterio" in sys.modules)
sys.modules["rasterio"] = None  # as if it were not installed
AerialScenes(1)[0]
try:
    InriaTiles("anywhere")
except ImportError as error:
    print(error)
"""
    assert in_a_new_python(code).splitlines() == [
        "False", "reading GeoTIFFs needs rasterio: pip install 'hdm-widgets[tiles]'"
    ]  # fmt: skip
