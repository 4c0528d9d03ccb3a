"""The tiles of a folder: their grid of patches, their files and what is wrong with them."""

import numpy as np
import pytest
import torch
from tile_helpers import PLACE, assert_equal, buildings, expected_of_three, image_values, open_files, write, write_tile

from hdm_widgets.data import InriaTiles, Tiles


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
