"""What a user hands in: images, and the channels to cover."""

import numpy as np
import pytest
import torch
from PIL import Image

from hdm_widgets._validation import check_channel, check_image, image_size, listed

HALF = np.full((3, 6, 8), 0.5, np.float32)


def with_value(value, image=HALF, index=(1, 2, 3)):
    image = image.copy()
    image[index] = value
    return image


def masked(image):
    return np.ma.masked_equal(with_value(7, image), 7)


REMEDIES = [
    # Whole numbers: scale them, or let the Segmenter do it after the disc.
    (HALF.astype(np.uint8), TypeError, r"got uint8; for values 0 to 255: image\.astype\('float32'\) / 255, or leave .*"
     r"after the disc: hw\.Segmenter\(model, preprocess=lambda images: images / 255\)"),
    (torch.ones(3, 6, 8, dtype=torch.uint8), TypeError, r"uint8; .*image\.float\(\) / 255, or leave .*preprocess="),
    (HALF.astype(np.uint8), TypeError, r"for a model that normalizes by itself: preprocess=lambda images: images\.fl"),
    (HALF.astype(">u2"), TypeError, r"got >u2; .*image\.astype\('float32'\) / 65535, or leave .*images / 65535\)"),
    (torch.ones(3, 6, 8, dtype=torch.uint16), TypeError, r"torch.uint16; .*the largest value.*\.float\(\) / 65535"),
    (torch.ones(3, 6, 8, dtype=torch.int16), TypeError, "got torch.int16; .*preprocess="),
    (np.full((3, 6, 8), 3000), TypeError, r"got int64; .*images / 65535\)"),
    (with_value(-1000).astype(np.int16), TypeError, r"from -1000 to 0: \(image\.astype\('float32'\) \+ 1000\) / 1000"),
    # Truth values
    (HALF > 0.4, TypeError, r"got bool; image\.astype\('float32'\)$"),
    (torch.ones(3, 6, 8, dtype=torch.bool), TypeError, r"got torch.bool; image\.float\(\)$"),
    # Channels last
    (HALF.transpose(1, 2, 0), ValueError, r"channels come first: image\.transpose.*preprocess= takes \(H, W, C\)"),
    # No data
    (with_value(np.nan), ValueError, r"NaN or infinity, first at \(1, 2, 3\); where a pixel has no data, fill it, "
     r"np\.nan_to_num\(image, nan=0, posinf=0, neginf=0\), .*ignore=~np\.isfinite\(image\)\.all\(0\)$"),
    (torch.from_numpy(with_value(np.inf)), ValueError, r"fill it, torch\.nan_to_num\(image.*~torch\.isfinite\(image\)"),
    (with_value(-np.inf)[1], ValueError, r"first at \(2, 3\).*ignore=~np\.isfinite\(image\)$"),
    (masked(HALF), ValueError, r"must have no masked values: fill them, \.filled\(0\), .*ignore="),
    (Image.new("RGB", (8, 6)), TypeError, r"got Image; np\.asarray\(image\) makes one"),
]  # fmt: skip


@pytest.mark.parametrize(("image", "error", "message"), REMEDIES)
def test_a_refusal_says_what_to_write(image, error, message):
    with pytest.raises(error, match=message):
        check_image(image, 6, 8)


@pytest.mark.parametrize("library", [np, torch])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_remedy_for_pixels_without_data_works(bad, channels_last, library):
    """The words of the message are run, on the image that they were said of."""
    image = with_value(bad)
    image = np.ascontiguousarray(image.transpose(1, 2, 0)) if channels_last else image
    image = torch.from_numpy(image) if library is torch else image
    with pytest.raises(ValueError, match="where a pixel has no data") as caught:
        check_image(image, 6, 8, preprocess=True)
    words = str(caught.value)
    fill = words.split("fill it, ")[1].split(", and leave")[0]
    ignore = words.split("ignore=")[1]
    namespace = {"np": np, "torch": torch, "image": image}
    filled = check_image(eval(fill, namespace), 6, 8, preprocess=True)
    np.testing.assert_array_equal(filled, with_value(0))
    expected = np.zeros((6, 8), bool)
    expected[2, 3] = True
    np.testing.assert_array_equal(np.asarray(eval(ignore, namespace)), expected)


def test_masks_of_nothing_are_no_harm():
    np.testing.assert_array_equal(check_image(np.ma.array(HALF), 6, 8), HALF)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int64, np.float16, np.float64])
@pytest.mark.parametrize("shape", [(3, 6, 8), (6, 8, 3), (6, 8, 5), (6, 8), (6, 8, 1), (1, 6, 8)])
def test_values_stay_as_they_are_for_a_segmenter_that_prepares_images(shape, dtype):
    image = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    last = len(shape) == 3 and shape[:2] == (6, 8)
    expected = (image.transpose(2, 0, 1) if last else image).reshape(-1, 6, 8).astype(np.float32)
    for given in (image, torch.from_numpy(image)):
        checked = check_image(given, 6, 8, preprocess=True)
        assert checked.dtype == torch.float32
        assert checked.is_contiguous()
        np.testing.assert_array_equal(checked, expected)


SIZES = [
    # shape, mask, height and width
    ((3, 20, 30), (20, 30), (20, 30)),
    ((20, 30, 3), (20, 30), (20, 30)),
    ((20, 30, 6), (20, 30), (20, 30)),
    ((6, 20, 30), (20, 30), (20, 30)),
    ((20, 30), (20, 30), (20, 30)),
    ((3, 20, 4), (20, 4), (20, 4)),
    ((4, 20, 3), (4, 20), (4, 20)),
    # A mask of another size tells nothing; the sides do.
    ((20, 30, 3), (5, 5), (20, 30)),
    ((3, 20, 30), None, (20, 30)),
    ((20, 30, 4), None, (20, 30)),
    ((20, 30, 6), None, (30, 6)),
]


@pytest.mark.parametrize(("shape", "mask", "size"), SIZES)
def test_height_and_width_are_told_by_the_truth_or_by_the_sides(shape, mask, size):
    mask = None if mask is None else np.zeros(mask)
    assert image_size(np.zeros(shape), preprocess=True, mask=mask) == size


def test_sides_that_tell_nothing_are_an_error():
    with pytest.raises(ValueError, match=r"shape \(3, 20, 4\) may be \(C, H, W\) or \(H, W, C\); give a segment"):
        image_size(np.zeros((3, 20, 4)), preprocess=True)


@pytest.mark.parametrize(
    ("channel", "checked"),
    [
        (-1, -1),
        (2, 2),
        (np.int64(1), 1),
        ([1], 1),
        ([2, 0], (0, 2)),
        ((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5)),
        (range(2, 5), (2, 3, 4)),
        (np.array([4, 1]), (1, 4)),
        (torch.tensor([0, 5]), (0, 5)),
    ],
)
def test_channels_to_cover(channel, checked):
    assert check_channel(channel, 6) == checked


@pytest.mark.parametrize(
    ("channel", "error", "message"),
    [
        (6, ValueError, r"-1 \(all\) or 0 to 5 for this image, got 6"),
        ([0, 6], ValueError, "channel must be 0 to 5 for this image, got 6"),
        ([0, -1], ValueError, "channel must be 0 to 5 for this image, got -1"),
        ([], ValueError, r"at least one channel, and none twice, got \[\]"),
        ([1, 1], ValueError, r"at least one channel, and none twice, got \[1, 1\]"),
        ([0.5], TypeError, "channel must be a whole number, got 0.5"),
        ([True], TypeError, "channel must be a whole number, got True"),
        ("all", TypeError, "channel must be a whole number, got 'all'; a list of them covers several"),
        (np.array([[1]]), TypeError, "channel must be a whole number"),
        (None, TypeError, "channel must be a whole number, got None"),
    ],
)
def test_channels_that_are_none(channel, error, message):
    with pytest.raises(error, match=message):
        check_channel(channel, 6)


@pytest.mark.parametrize("value", ["ab", 3, None, np.zeros((2, 2)), torch.tensor(1), {1, 2}, {"a": 1}])
def test_what_is_no_list(value):
    assert listed(value) is None
