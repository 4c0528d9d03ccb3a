"""What the bands of masks and images stand for."""

import pickle

import numpy as np
import pytest
import torch
from tile_helpers import image_values, write, write_tile

from hdm_widgets.data import InriaTiles, Tiles


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
