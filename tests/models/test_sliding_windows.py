"""A model that is run in overlapping windows of an image: as MONAI does it, and as a plain loop does it."""

import itertools

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets.models.errors import ModelError, ModelOutputError


def images(count, channels, height, width):
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(1))


def network(channels=1, classes=1):
    torch.manual_seed(0)
    layers = nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, classes, 3, padding=1)
    return nn.Sequential(*layers).eval()


class Recorder:
    """A model that keeps what it is given; the output is the first channel."""

    def __init__(self):
        self.given = []

    def __call__(self, given):
        self.given.append(given.clone())
        return given[:, :1]


# -- as MONAI -------------------------------------------------------------------------------------------

SIZES = {"larger": (50, 70), "one side shorter": (20, 70), "shorter": (21, 20), "equal": (32, 32), "one more": (33, 64)}


@pytest.mark.parametrize("blending", ["constant", "gaussian"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, (0.3, 0.6)])
@pytest.mark.parametrize("window", [32, (24, 40)])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_equals_monai(size, window, overlap, blending):
    model, given = network(2, 3), images(2, 2, *size)
    segmenter = hw.Segmenter(model, target=1, window=window, overlap=overlap, blending=blending)
    sides = window if isinstance(window, tuple) else (window, window)
    with torch.no_grad():
        expected = sliding_window_inference(given, sides, 4, model, overlap=overlap, mode=blending)
    torch.testing.assert_close(segmenter.raw(given), expected, rtol=1e-6, atol=1e-6)
    probabilities = expected.softmax(1)[:, 1].numpy()
    np.testing.assert_allclose(segmenter.probabilities(given), probabilities, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(segmenter.masks(given), expected.argmax(1).numpy() == 1)


def test_defaults_are_those_of_monai():
    model, given = network(), images(1, 1, 40, 50)
    with torch.no_grad():
        expected = sliding_window_inference(given, (16, 16), 4, model)
    torch.testing.assert_close(hw.Segmenter(model, window=16).raw(given), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("pixels", "fraction"), [(8, 0.25), (0, 0.0), ((16, 8), (0.5, 0.25)), (np.int64(31), 0.99)])
def test_overlap_in_pixels(pixels, fraction):
    given, options = images(1, 1, 40, 34), {"window": 32, "blending": "gaussian", "batch_size": 1}
    by_pixels, by_fraction = (hw.Segmenter(network(), overlap=overlap, **options) for overlap in (pixels, fraction))
    assert by_pixels.overlap == by_fraction.overlap
    assert torch.equal(by_pixels.raw(given), by_fraction.raw(given))


# -- as a loop over windows, for what MONAI does not do ---------------------------------------------------


def starts(length, side, overlap):
    """Where windows begin along an axis, in the image with zeros around it."""
    found, start = [], 0
    while start + side < length:
        found.append(start)
        start += side - overlap
    return [*found, max(length, side) - side]


def looped(segmenter, image, window, overlap):
    """Mean of the raw outputs of `segmenter`, which takes single windows, weighted by where it has one."""
    height, width = image.shape[-2:]
    total, weight = None, torch.zeros(height, width)
    for row, col in itertools.product(starts(height, window, overlap), starts(width, window, overlap)):
        raw = segmenter.raw(image[None, :, row : row + window, col : col + window].clone())[0]
        valid = segmenter.valid_pixels(window, window)
        counts = torch.ones(window, window) if valid is None else torch.from_numpy(valid).float()
        total = torch.zeros(len(raw), height, width) if total is None else total
        total[:, row : row + window, col : col + window] += raw * counts
        weight[row : row + window, col : col + window] += counts
    return total / weight, weight > 0


class Rows(nn.Module):
    """Coarse maps of three classes, as the last of several outputs, channels last."""

    def __init__(self):
        super().__init__()
        self.network = network(1, 3)

    def forward(self, given):
        return {"features": given, "maps": F.avg_pool2d(self.network(given), 2).permute(0, 2, 3, 1)}


def unpadded():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3)).eval()


def standardized(given):
    return (given - given.mean((2, 3), keepdim=True)) / given.std((2, 3), keepdim=True)


OPTIONS = {
    "output, layout, resize": (Rows, {"output": "maps", "layout": "channels_last", "target": 2}),
    "center": (unpadded, {}),
    "padded by the segmenter": (network, {"pad_to": 12}),
    "preprocess of each window": (network, {"preprocess": standardized}),
    "independent classes": (lambda: network(1, 3), {"classes": "independent", "target": 1}),
    "raw values": (network, {"activation": "none", "threshold": 0.1}),
}


@pytest.mark.parametrize(("make", "options"), OPTIONS.values(), ids=OPTIONS.keys())
def test_options_hold_for_each_window(make, options):
    model, given = make(), images(1, 1, 45, 37)
    segmenter = hw.Segmenter(model, window=20, overlap=8, **options)
    expected, valid = looped(hw.Segmenter(model, **options), given[0], 20, 8)
    raw = segmenter.raw(given)[0]
    torch.testing.assert_close(raw[:, valid], expected[:, valid], rtol=1e-6, atol=1e-6)
    seen = segmenter.valid_pixels(45, 37)
    np.testing.assert_array_equal(np.ones((45, 37), bool) if seen is None else seen, valid.numpy())
    single = hw.Segmenter(model, **options)
    single.raw(given[..., :20, :20])
    mask = single.binarize(torch.where(valid, expected, 0.0)[None])[0].numpy() & valid.numpy()
    np.testing.assert_array_equal(segmenter.masks(given)[0], mask)


def test_pixels_that_no_window_has_output_for():
    segmenter = hw.Segmenter(unpadded(), window=20, overlap=0, threshold=0.01)
    given = images(2, 1, 40, 40)
    # Of every window, two pixels at each border have no output.
    border = np.ones(20, bool)
    border[[0, 1, -2, -1]] = False
    seen = np.outer(np.tile(border, 2), np.tile(border, 2))
    np.testing.assert_array_equal(segmenter.masks(given), np.broadcast_to(seen, (2, 40, 40)))
    np.testing.assert_array_equal(np.isnan(segmenter.probabilities(given)), np.broadcast_to(~seen, (2, 40, 40)))


@pytest.mark.parametrize("blending", ["constant", "gaussian"])
def test_class_numbers_come_from_the_window_whose_center_is_nearest(blending):
    def columns(given):
        # The number says which half of the window a pixel is in, and what the image has there.
        at = torch.arange(given.shape[-1]) >= given.shape[-1] // 2
        return (2 * given[:, 0].round() + at).long()

    image = images(1, 1, 8, 14)
    numbers = hw.Segmenter(columns, target=1, window=8, overlap=2, blending=blending).raw(image)[0, 0]
    # Windows begin in columns 0 and 6: the pixel in column 7 is nearest to the center of the second.
    halves = torch.tensor([0] * 4 + [1] * 3 + [0] * 3 + [1] * 4)
    assert torch.equal(numbers, 2 * image[0, 0].round() + halves)


# -- what the model is given --------------------------------------------------------------------------------


def test_the_model_sees_windows_only():
    model = Recorder()
    segmenter = hw.Segmenter(model, window=(12, 16), overlap=4, batch_size=3)
    given = images(2, 1, 30, 40)
    np.testing.assert_array_equal(segmenter.probabilities(given) > 0.5, (given[:, 0] > 0.5).numpy())
    assert {tuple(each.shape[1:]) for each in model.given} == {(1, 12, 16)}
    assert max(len(each) for each in model.given) == 3
    # Rows begin at 0, 8, 16, 18 and columns at 0, 12, 24.
    seen = [one for each in model.given for one in each]
    for image, row, col in itertools.product(given, (0, 8, 16, 18), (0, 12, 24)):
        assert any(torch.equal(one, image[:, row : row + 12, col : col + 16]) for one in seen)


def test_a_smaller_image_has_zeros_around_it():
    model = Recorder()
    image = images(1, 1, 5, 20) + 1
    hw.Segmenter(model, window=8, overlap=0, activation="none", threshold=1.5).masks(image)
    padded = F.pad(image[..., :8], (0, 0, 1, 2))
    assert any(torch.equal(one[None], padded) for each in model.given for one in each)


def test_a_model_that_mixes_its_batch_is_given_single_windows():
    def mixing(given):
        return given[:, :1] - given.mean()

    given = images(2, 1, 40, 40)
    with pytest.warns(UserWarning, match="depends on the other images of its batch"):
        raw = hw.Segmenter(mixing, window=20, batch_size=4, activation="sigmoid").masks(given)
    single = hw.Segmenter(mixing, window=20, batch_size=1, activation="sigmoid").masks(given)
    np.testing.assert_array_equal(raw, single)


def test_errors_name_the_image_and_the_window():
    def broken(given):
        maps = given[:, :1].clone()
        maps[(maps > 1).flatten(1).any(1)] = torch.nan
        return maps

    given = images(3, 1, 40, 40)
    given[1, 0, 39, 2] = 2
    with pytest.raises(ModelOutputError, match=r"in the window at row 20, column 0: .*NaN") as caught:
        hw.Segmenter(broken, window=20, overlap=0).masks(given)
    assert caught.value.image_index == 1

    def failing(given):
        raise KeyError("weights")

    with pytest.raises(ModelError, match="in the window at row 0, column 0: the model raised KeyError"):
        hw.Segmenter(failing, window=20).masks(given)


# -- options ------------------------------------------------------------------------------------------------

WRONG = {
    "a fraction for a side": ({"window": 0.5}, TypeError, "window must be a whole number of pixels, .*got 0.5"),
    "three sides": ({"window": (1, 2, 3)}, ValueError, r"window must be one value, or a pair \(rows, columns\)"),
    "no pixel": ({"window": (8, 0)}, ValueError, "window must be at least 1 px a side, got 0"),
    "True": ({"window": True}, TypeError, "window must be a whole number"),
    "all of it": ({"window": 8, "overlap": 1.0}, ValueError, "at least 0 and below 1, got 1; for pixels"),
    "less than none": ({"window": 8, "overlap": -0.1}, ValueError, "at least 0 and below 1, got -0.1"),
    "8 of 8 px": ({"window": 8, "overlap": 8}, ValueError, "at least 0 px and less than the window's 8 px, got 8"),
    "-1 px": ({"window": 8, "overlap": -1}, ValueError, "at least 0 px and less than"),
    "a word": ({"window": 8, "overlap": "half"}, TypeError, "overlap must be a fraction .* or a whole number of"),
    "NaN": ({"window": 8, "overlap": np.nan}, TypeError, "overlap must be a fraction"),
    "one pair too long": ({"window": 8, "overlap": (1, 2, 3)}, ValueError, "overlap must be one value, or a pair"),
    "blending": ({"window": 8, "blending": "mean"}, ValueError, "blending must be one of 'constant', 'gaussian'"),
    "overlap alone": ({"overlap": 0.5}, ValueError, "overlap is about windows: give their size too"),
    "blending alone": ({"blending": "gaussian"}, ValueError, "blending is about windows: give their size too"),
}


@pytest.mark.parametrize(("options", "kind", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_options(options, kind, message):
    with pytest.raises(kind, match=message):
        hw.Segmenter(network(), **options)


def test_attributes_and_texts():
    whole = hw.Segmenter(network())
    assert (whole.window, whole.overlap, whole.blending) == (None, None, None)
    assert "window" not in repr(whole)
    segmenter = hw.Segmenter(network(), window=(20, np.int64(16)), overlap=(0.5, 4), blending="gaussian")
    assert (segmenter.window, segmenter.overlap, segmenter.blending) == ((20, 16), (10, 4), "gaussian")
    assert "window=(20, 16), overlap=(10, 4), blending='gaussian')" in repr(segmenter)
    segmenter.masks(images(1, 1, 30, 30))
    assert "windows of 20 x 16 px" in repr(segmenter)
    reading = segmenter.reading
    assert (reading.window, reading.overlap, reading.blending) == ((20, 16), (10, 4), "gaussian")
    assert reading.image_size == (20, 16)
    text = str(reading)
    assert "Maps have the window's 20 x 16 px (rows x columns)." in text
    assert (
        "An image is run in windows of 20 x 16 px that overlap by 10 x 4 px (rows x columns); where they overlap, the "
        "mean of their outputs counts, before any activation and with weights that fall to the window's border." in text
    )
    assert "An image gives the same alone and in a batch." in text


def test_a_reading_of_class_numbers_says_which_window_counts():
    segmenter = hw.Segmenter(lambda given: given[:, 0].long(), window=8)
    segmenter.masks(images(1, 1, 12, 12))
    assert "a pixel has the number of the window to whose center it is nearest" in str(segmenter.reading)


def test_other_segmenters_made_of_it_have_its_windows():
    given = images(1, 1, 40, 40)
    # Batches of a size that is chosen by their time would be rounded otherwise.
    segmenter = hw.Segmenter(network(1, 3), target=0, window=20, batch_size=1)
    other = segmenter.for_target(2)
    assert other.window == (20, 20)
    expected = hw.Segmenter(network(1, 3), target=2, window=20).masks(given)
    np.testing.assert_array_equal(other.masks(given), expected)
    assert hw.Segmenter.wrap(segmenter) is segmenter
    torch.manual_seed(3)
    module = nn.Conv2d(1, 3, 3, padding=1)
    around = segmenter.around(module)
    assert torch.equal(around.raw(given), hw.Segmenter(module, target=0, window=20, batch_size=1).raw(given))
