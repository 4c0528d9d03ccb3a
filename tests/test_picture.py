"""Images for the eye, one by one and many together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hdm_widgets._picture import Display, to_rgb, to_rgb_batch


@given(arrays(np.float32, array_shapes(min_dims=4, max_dims=4, max_side=4), elements=st.floats(-3, 3, width=32)))
def test_many_are_as_each_alone(images):
    each = np.stack([to_rgb(image) for image in images]).astype(int)
    # In float32, a value half way between two may go either way.
    assert np.abs(to_rgb_batch(images).astype(int) - each).max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 0.5, 1], [0, 128, 255]), ([-1, 0, 1], [0, 128, 255]), ([2, 3, 6], [0, 64, 255]), ([7, 7, 7], [0, 0, 0])],
    ids=["0 to 1", "-1 to 1", "its own range", "constant"],
)
def test_values_have_the_range_that_they_are_meant_in(values, expected):
    image = np.array(values, np.float32).reshape(1, 1, 1, 3)
    assert to_rgb_batch(image)[0, 0, :, 0].tolist() == expected


def shown(image, display=None):
    return to_rgb(np.asarray(image, np.float32), display)


RAMP = np.linspace(0, 4000, 101).reshape(1, 1, 101)


def bands(*factors):
    """Bands (n, 1, 101) of 16 bit; in each a ramp up to 4000 times its factor, on top of 100."""
    return np.concatenate([100 + factor * RAMP for factor in factors])


def test_values_out_of_any_range_are_stretched_between_percentiles():
    """101 values in a row: the 2nd percentile is the third, the 98th the third last."""
    gray = shown(bands(1))[0, :, 0].astype(int)
    np.testing.assert_array_equal(gray, np.clip(np.round((np.arange(101) - 2) / 96 * 255), 0, 255))


def test_two_pixels_that_stick_out_do_not_make_the_rest_dark():
    image = bands(1)
    image[0, 0, [40, 60]] = 65535
    assert np.median(shown(image)) > 100


def test_six_bands_of_16_bits_are_no_dark_gray():
    rng = np.random.default_rng(0)
    image = rng.normal([[[300]], [[500]], [[450]], [[2500]], [[1800]], [[900]]], 80, (6, 20, 20))
    image[:, 3, 3] = 12000  # a roof
    for display in (None, (3, 2, 1), 4):
        assert 90 < np.median(shown(image, display)) < 165


@pytest.mark.parametrize(
    ("display", "expected"),
    [
        ((3, 2, 1), [3, 2, 1]),
        ([0, 0, 5], [0, 0, 5]),
        (np.array([1, 2, 3]), [1, 2, 3]),
        (4, [4, 4, 4]),
        (np.int64(4), [4, 4, 4]),
        (Display((3, 2, 1)), [3, 2, 1]),
        (Display(0), [0, 0, 0]),
    ],
    ids=str,
)
def test_the_bands_that_are_shown(display, expected):
    """Band i has the ramp in pixels i, i + 1, ... only, so that each is told by where it is dark."""
    image = np.stack([np.roll(bands(1)[0], shift, axis=1) for shift in range(0, 60, 10)])
    rgb = shown(image, display)
    for color, band in enumerate(expected):
        np.testing.assert_array_equal(rgb[..., color], shown(image[band])[..., 0])


@pytest.mark.parametrize("offset", [0, -1])
@pytest.mark.parametrize("channels", [2, 4, 6])
def test_bands_that_hardly_fill_their_range_are_stretched(channels, offset):
    """Reflectances: within [0, 1], and all of them below 0.3."""
    ramp = RAMP[0] / 4000
    darkest = np.stack([ramp * 0.3 / (1 + band) + 0.05 * band for band in range(channels)])
    stretched = np.clip((np.arange(101) - 2) / 96 * 255, 0, 255)
    np.testing.assert_allclose(shown(darkest + offset, 1)[0, :, 0], stretched, atol=0.6)
    # What fills more of it is shown as it is, and what is constant too.
    lighter = np.stack([ramp * 0.6] * channels)
    np.testing.assert_allclose(shown(lighter, 1)[0, :, 0], ramp[0] * 0.6 * 255, atol=0.51)
    assert (shown(np.full((channels, 4, 5), 0.2), 1) == 51).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_dark_photograph_stays_dark(channels):
    photo = np.stack([RAMP[0] / 4000 * 0.3] * channels)
    np.testing.assert_allclose(shown(photo)[0, :, 0], RAMP[0, 0] / 4000 * 0.3 * 255, atol=0.51)


def test_a_large_image_is_stretched_by_some_of_its_pixels():
    ramp = np.random.default_rng(0).permutation(1_500_000).reshape(1, 1000, 1500)
    expected = np.clip((ramp[0] / 1_500_000 - 0.02) / 0.96 * 255, 0, 255)
    np.testing.assert_allclose(shown(ramp)[..., 0], expected, atol=1.5)


def test_each_band_has_a_stretch_of_its_own():
    rgb = shown(bands(1, 5, 9))
    np.testing.assert_array_equal(rgb[..., 0], rgb[..., 1])
    np.testing.assert_array_equal(rgb[..., 0], rgb[..., 2])
    assert (rgb.min(), rgb.max()) == (0, 255)


@pytest.mark.parametrize(
    ("image", "display", "expected"),
    [
        # 0 in all bands, the minimum in all bands, a value that is named: no data, and black.
        (np.where(np.arange(101) < 50, 0, bands(1, 2, 3)), None, 0),
        (np.where(np.arange(101) < 50, -9999, bands(1, 2, 3)), (2, 1, 0), 0),
        (np.where(np.arange(101) < 50, 0, bands(1)), None, 0),
        (np.where(np.arange(101) < 50, -9999, bands(1)), Display(nodata=-9999), 0),
        (np.where(np.arange(101) < 50, 30000, bands(1)), Display(nodata=30000), 255),
    ],
    ids=["0", "minimum", "0 in one band", "named", "light"],
)
def test_pixels_without_data_are_left_out_of_the_stretch(image, display, expected):
    rgb = shown(image, display)
    assert (rgb[0, :50] == expected).all()
    # The 51 others: from their own 2nd percentile to their own 98th.
    gray = np.clip(np.round((np.arange(51) - 1) / 48 * 255), 0, 255)
    np.testing.assert_array_equal(rgb[0, 50:, 0], gray)


def test_pixels_without_data_say_nothing_of_the_range():
    image = np.where(np.arange(101) < 50, -9999, RAMP / 4000)
    np.testing.assert_array_equal(shown(image, Display(nodata=-9999))[0, 50:], shown(RAMP / 4000)[0, 50:])


def test_an_image_without_any_data_is_black():
    assert not shown(np.full((3, 4, 5), -9999)).any()
    assert not shown(np.zeros((3, 4, 5)), Display(nodata=0)).any()


@pytest.mark.parametrize("low", [0, 0.25, 3, 100])
def test_a_photograph_is_shown_as_it_is(low):
    photo = np.clip(np.arange(256.0), low, 250).reshape(1, 16, 16).repeat(3, 0)
    np.testing.assert_array_equal(shown(photo), np.round(photo).transpose(1, 2, 0))


def test_a_stretch_that_was_asked_for_is_made_in_any_range():
    gray = shown(0.3 + RAMP / 40000, Display(stretch=(0, 100)))[0, :, 0]
    # A value half way between two may go either way.
    np.testing.assert_allclose(gray, np.arange(101) / 100 * 255, atol=0.51)


def test_where_nearly_all_pixels_are_equal_the_others_are_seen():
    image = np.full((1, 20, 20), 500)
    image[0, 3, 4] = 900
    rgb = shown(image)
    assert (rgb[3, 4] == 255).all()
    assert rgb.sum() == 3 * 255


def test_another_image_is_shown_in_the_same_way():
    image = bands(1, 2, 3, 4)
    view = Display((3, 1, 0)).view(image)
    covered = image.copy()
    covered[:, :, :60] = 100
    np.testing.assert_array_equal(view.to_rgb(covered)[0, 60:], view.to_rgb(image)[0, 60:])
    assert not view.to_rgb(covered)[0, :60].any()


@pytest.mark.parametrize(
    ("display", "message"),
    [
        ((0, 1), r"display must be a channel, or three of them for RGB, got \(0, 1\)"),
        ("rgb", "display must be a channel, or three of them for RGB, got 'rgb'"),
        (1.0, "display must be a channel, or three"),
        (True, "display must be a channel, or three"),
        ((0, 1, 2.0), "display must be a channel, or three"),
        (6, "display must have channels 0 to 5 for this image, got 6"),
        (-1, "display must have channels 0 to 5 for this image, got -1"),
        ((0, 1, 6), r"display must have channels 0 to 5 for this image, got \(0, 1, 6\)"),
    ],
)
def test_bands_that_cannot_be_shown(display, message):
    with pytest.raises(ValueError, match=message):
        shown(bands(1, 2, 3, 4, 5, 6), display)


@pytest.mark.parametrize("stretch", [(2,), (98, 2), (-1, 50), (2, 101), 5, "auto", (2, "high"), (float("nan"), 98)])
def test_percentiles_that_are_none(stretch):
    with pytest.raises(ValueError, match="stretch must be two percentiles, 0 <= low < high <= 100"):
        Display(stretch=stretch)


def test_a_missing_value_that_is_no_number():
    with pytest.raises(ValueError, match="nodata must be a finite number, got nan"):
        Display(nodata=float("nan"))


@pytest.mark.parametrize(
    "display", [None, Display(0), Display((2, 1, 0)), Display(stretch=(0, 100)), Display(nodata=0)]
)
def test_a_batch_of_several_ranges_is_shown_as_its_images_one_by_one(display):
    rng = np.random.default_rng(0)
    # Of three nominal ranges in turn, and of none.
    scales = [(1, 0), (2, -1), (255, 0), (7, 2), (1, 0), (0, 0.5), (2, -1)]
    images = np.stack([scale * rng.random((3, 4, 5)) + low for scale, low in scales]).astype(np.float32)
    expected = np.stack([to_rgb(image, display) for image in images])
    np.testing.assert_allclose(to_rgb_batch(images, display).astype(int), expected.astype(int), atol=1)
    assert (to_rgb_batch(images, display) != expected).mean() < 0.01
