import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage

from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.occlusion import (
    Occlusion,
    black_of,
    check_fill,
    check_fill_length,
    clipping_doubts,
)
from hdm_widgets.hdm.patched_occlusion import OverriddenOcclusion

GRID = Grid(14, 18, 6, 5)
CELLS = np.array([(row, col) for row in range(GRID.rows) for col in range(GRID.cols)])


def random_image(channels, low=0.0, high=1.0):
    values = np.random.default_rng(channels).uniform(low, high, (channels, GRID.height, GRID.width))
    return torch.tensor(values, dtype=torch.float32)


def published_mask(row, col, background=1, disc=0):
    """The mask as the published code makes it."""
    image = Image.new("F", (GRID.width, GRID.height), background)
    x, y = col * GRID.offset, row * GRID.offset
    ImageDraw.Draw(image).ellipse((x, y, x + GRID.circle_size, y + GRID.circle_size), fill=disc)
    return torch.from_numpy(np.array(image))


def covered_channels(channel, channels):
    if channel == -1:
        return range(channels)
    return channel if isinstance(channel, tuple) else (channel,)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    ("channels", "channel"), [(1, -1), (3, -1), (5, -1), (1, 0), (3, 0), (5, 4), (3, (0, 2)), (5, (0, 1, 3))]
)
def test_minimum_with_the_mask(channels, channel, normalize):
    image = random_image(channels, low=-1.0 if normalize else 0.0)
    occlusion = Occlusion.for_fill(GRID, image, fill="minimum", channel=channel, normalize=normalize)
    batch = occlusion.changes(CELLS).images(np.arange(len(CELLS)))
    for occluded, (row, col) in zip(batch, CELLS.tolist(), strict=True):
        mask = published_mask(row, col, disc=-1 if normalize else 0)
        expected = image.clone()
        for covered in covered_channels(channel, channels):
            expected[covered] = torch.min(image[covered], mask)
        np.testing.assert_array_equal(occluded, expected)
        np.testing.assert_array_equal(occlusion.occluded(row, col), expected)


@pytest.mark.parametrize("channel", [-1, 1, (0, 2)])
@pytest.mark.parametrize("fill", ["mean", "blur", 0.25, -2, (-2.118, 0.25, 7.0)])
def test_other_fills_replace_the_disc_only(fill, channel):
    image = random_image(3, low=-4, high=9)  # any range serves
    values = image.numpy()
    inside = {
        "mean": np.broadcast_to(values.mean(axis=(1, 2), keepdims=True), values.shape),
        "blur": np.stack([ndimage.gaussian_filter(plane, GRID.circle_size / 2) for plane in values]),
    }.get(fill, np.broadcast_to(np.reshape(fill, (-1, 1, 1)), values.shape))
    occlusion = Occlusion.for_fill(GRID, image, fill=fill, channel=channel, normalize=False)
    for row, col in CELLS.tolist():
        expected = np.where(published_mask(row, col) == 0, inside, values)
        covered = np.isin(np.arange(3), list(covered_channels(channel, 3)))
        expected = np.where(covered[:, None, None], expected, values)
        np.testing.assert_allclose(occlusion.occluded(row, col), expected, atol=1e-5)


def test_the_image_itself_stays_as_it_is():
    image = random_image(2)
    before = image.clone()
    occlusion = Occlusion.for_fill(GRID, image, fill="minimum", channel=-1, normalize=False)
    batch = occlusion.changes(CELLS).images(np.arange(len(CELLS)))
    batch += 1
    np.testing.assert_array_equal(image, before)
    # No image of a batch shares memory with the next one.
    np.testing.assert_array_equal(occlusion.occluded(0, 0), torch.min(before, published_mask(0, 0)))


def test_values_that_the_mask_would_cut_are_told():
    (text,) = clipping_doubts(random_image(1) * 0 + 2, normalize=False)
    assert "values up to 2; the element-wise minimum" in text
    (text,) = clipping_doubts(random_image(1) * 0 - 0.5, normalize=False)
    assert re.search(r"down to -0.5.*generate_masks\(\.\.\., normalize=True\)", text)
    (text,) = clipping_doubts(random_image(1) * 0 - 3, normalize=True)
    assert "down to -3; the disc is -1" in text
    assert "normalize=True" not in text


MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@pytest.mark.parametrize("channel", [-1, 1, (0, 2)])
@pytest.mark.parametrize(("channels", "low", "high"), [(3, 0.3, 5), (3, -3, 0.5), (3, -3, 3), (12, -3, 3)])
def test_the_fill_that_a_warning_offers_is_the_darkest_value_of_each_channel(channels, low, high, channel):
    image = random_image(channels, low, high)
    texts = clipping_doubts(image, channel, normalize=False)
    assert len(texts) == (low < 0) + (high > 1)
    for text in texts:
        written = re.search(r"use fill=(.*), which is the darkest value of each channel", text)[1]
        fill = check_fill(eval(written, {"image": image}))
        occluded = Occlusion.for_fill(GRID, image, fill=fill, channel=channel, normalize=False).occluded(1, 1)
        disc = published_mask(1, 1) == 0
        for covered in covered_channels(channel, channels):
            darkest = image[covered].min().item()
            np.testing.assert_allclose(occluded[covered][disc], darkest, rtol=1e-3)
            np.testing.assert_array_equal(occluded[covered][~disc], image[covered][~disc])


def test_black_of_a_standardized_image():
    """Each channel has a black of its own: what 0 became."""
    image = random_image(3)
    image[:, 0, 0] = 0
    standardized = (image - MEAN[:, None, None]) / DEVIATION[:, None, None]
    fill = check_fill((-MEAN / DEVIATION).numpy())
    assert fill == pytest.approx((-2.118, -2.036, -1.804), abs=1e-3)
    occluded = Occlusion.for_fill(GRID, standardized, fill=fill, channel=-1, normalize=False).occluded(1, 1)
    black = Occlusion.for_fill(GRID, image, fill="minimum", channel=-1, normalize=False).occluded(1, 1)
    np.testing.assert_allclose(occluded * DEVIATION[:, None, None] + MEAN[:, None, None], black, atol=1e-6)


BLACKS = [
    # values of two channels, normalize, black of each
    ([[0.2, 0.7], [0.4, 1.0]], False, [0, 0]),
    ([[0.2, 0.7], [0.4, 1.0]], True, [-1, -1]),
    ([[-0.2, 0.7], [0.4, 1.0]], False, [-1, -1]),
    ([[12, 60], [30, 200]], False, [0, 0]),
    ([[12, 60], [30, 200]], True, [0, 0]),
    ([[12, 255], [30, 128]], False, [0, 0]),
    ([[1000, 4000], [300, 9000]], False, [1000, 300]),
    ([[-1024, 3000], [0, 8]], False, [-1024, 0]),
    ([[-1024, 3000], [0, 8]], True, [-1024, 0]),
    ([[-2.1, 2.2], [-1.8, 2.6]], False, [-2.1, -1.8]),
]


@pytest.mark.parametrize(("values", "normalize", "black"), BLACKS)
def test_black_of_values_that_nobody_has_normalized(values, normalize, black):
    image = torch.tensor(values)[:, :, None].expand(2, 2, 3)
    np.testing.assert_allclose(black_of(image, normalize=normalize).expand(2, 1, 1).ravel(), black)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_fill_has_one_number_for_each_channel(length):
    with pytest.raises(ValueError, match=rf"one number for each of the image's 3 channel\(s\).* got {length}: \("):
        check_fill_length((0.5,) * length, 3)


def test_only_the_occluded_channel_is_looked_at():
    image = random_image(2)
    image[1] += 10
    # No warning: the channel beyond 1 is not touched.
    occluded = Occlusion.for_fill(GRID, image, fill="minimum", channel=0, normalize=False).occluded(0, 0)
    np.testing.assert_array_equal(occluded[1], image[1])


@pytest.mark.parametrize(("normalize", "values"), [(False, {0.0, 1.0}), (True, {-1.0, 1.0})])
@pytest.mark.parametrize(("channel", "shape"), [(-1, (3, 14, 18)), (1, (14, 18)), ((0, 2), (2, 14, 18))])
def test_an_own_function_gets_what_is_documented(channel, shape, normalize, values):
    calls = []

    def own(image, mask):
        calls.append((image.clone(), mask.clone()))
        image *= 0  # it may work in place
        return image + mask

    image = random_image(3)
    before = image.clone()
    occlusion = OverriddenOcclusion(GRID, image, channel, normalize, own)
    batch = occlusion.changes(CELLS).images(np.arange(len(CELLS)))
    assert len(calls) == len(CELLS)
    for (seen, mask), occluded, (row, col) in zip(calls, batch, CELLS.tolist(), strict=True):
        assert seen.shape == shape
        part = slice(None) if channel == -1 else list(channel) if isinstance(channel, tuple) else channel
        np.testing.assert_array_equal(seen, before[part])
        assert set(mask.unique().tolist()) == values
        expected_mask = published_mask(row, col, disc=min(values))
        np.testing.assert_array_equal(mask, expected_mask)
        expected = before.clone()
        expected[part] = expected_mask
        np.testing.assert_array_equal(occluded, expected)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("returned", [torch.zeros(14, 18), np.zeros((3, 14, 18)), None])
def test_an_own_function_must_return_the_shape_it_got(returned):
    occlusion = OverriddenOcclusion(GRID, random_image(3), -1, False, lambda image, mask: returned)
    with pytest.raises(ValueError, match=r"apply_mask must return a tensor of the image's shape \(3, 14, 18\)"):
        occlusion.occluded(0, 0)


@pytest.mark.parametrize(
    ("fill", "checked"),
    [
        ("blur", "blur"),
        (3, 3.0),
        (np.float32(0.5), 0.5),
        (-1.5, -1.5),
        (torch.tensor(2.5), 2.5),
        ([0], (0.0,)),
        ((1, 2.5), (1.0, 2.5)),
        (np.array([1, -2]), (1.0, -2.0)),
        (torch.tensor([0.5, 0.25]), (0.5, 0.25)),
        ([torch.tensor(0.5), np.float32(0.25)], (0.5, 0.25)),
    ],
)
def test_known_fills(fill, checked):
    assert check_fill(fill) == checked
    assert type(check_fill(fill)) is type(checked)


@pytest.mark.parametrize(
    "fill", ["median", None, float("nan"), float("inf"), True, [], [[0]], ["mean"], [float("nan")], [True], {0}]
)
def test_unknown_fills(fill):
    with pytest.raises(
        ValueError, match="fill must be 'minimum', 'mean', 'blur', 'noise', 'inpainted' or a finite number"
    ):
        check_fill(fill)
