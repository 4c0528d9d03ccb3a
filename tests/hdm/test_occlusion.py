import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage

from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.occlusion import Occlusion, OverriddenOcclusion, check_fill, warn_of_clipping

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


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("channels", "channel"), [(1, -1), (3, -1), (5, -1), (1, 0), (3, 0), (5, 4)])
def test_minimum_with_the_mask(channels, channel, normalize):
    image = random_image(channels, low=-1.0 if normalize else 0.0)
    occlusion = Occlusion.for_fill(GRID, image, fill="minimum", channel=channel, normalize=normalize)
    batch = occlusion.changes(CELLS).images(np.arange(len(CELLS)))
    for occluded, (row, col) in zip(batch, CELLS.tolist(), strict=True):
        mask = published_mask(row, col, disc=-1 if normalize else 0)
        expected = image.clone()
        if channel == -1:
            expected = torch.min(image, mask)
        else:
            expected[channel] = torch.min(image[channel], mask)
        np.testing.assert_array_equal(occluded, expected)
        np.testing.assert_array_equal(occlusion.occluded(row, col), expected)


@pytest.mark.parametrize("channel", [-1, 1])
@pytest.mark.parametrize("fill", ["mean", "blur", 0.25, -2])
def test_other_fills_replace_the_disc_only(fill, channel):
    image = random_image(3, low=-4, high=9)  # any range serves
    values = image.numpy()
    inside = {
        "mean": np.broadcast_to(values.mean(axis=(1, 2), keepdims=True), values.shape),
        "blur": np.stack([ndimage.gaussian_filter(plane, GRID.circle_size / 2) for plane in values]),
    }.get(fill, np.full(values.shape, fill))
    occlusion = Occlusion.for_fill(GRID, image, fill=fill, channel=channel, normalize=False)
    for row, col in CELLS.tolist():
        expected = np.where(published_mask(row, col) == 0, inside, values)
        if channel != -1:
            expected = np.where(np.arange(3)[:, None, None] == channel, expected, values)
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


def test_values_that_the_mask_would_cut_warn():
    with pytest.warns(UserWarning, match="values up to 2; the element-wise minimum"):
        warn_of_clipping(random_image(1) * 0 + 2, normalize=False)
    with pytest.warns(UserWarning, match=r"down to -0.5.*generate_masks\(\.\.\., normalize=True\)"):
        warn_of_clipping(random_image(1) * 0 - 0.5, normalize=False)
    with pytest.warns(UserWarning, match=r"down to -3; the disc is -1") as caught:
        warn_of_clipping(random_image(1) * 0 - 3, normalize=True)
    assert "normalize=True" not in str(caught[0].message)


def test_only_the_occluded_channel_is_looked_at():
    image = random_image(2)
    image[1] += 10
    # No warning: the channel beyond 1 is not touched.
    occluded = Occlusion.for_fill(GRID, image, fill="minimum", channel=0, normalize=False).occluded(0, 0)
    np.testing.assert_array_equal(occluded[1], image[1])


@pytest.mark.parametrize(("normalize", "values"), [(False, {0.0, 1.0}), (True, {-1.0, 1.0})])
@pytest.mark.parametrize(("channel", "shape"), [(-1, (3, 14, 18)), (1, (14, 18))])
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
        np.testing.assert_array_equal(seen, before if channel == -1 else before[channel])
        assert set(mask.unique().tolist()) == values
        expected_mask = published_mask(row, col, disc=min(values))
        np.testing.assert_array_equal(mask, expected_mask)
        expected = before.clone()
        expected[slice(None) if channel == -1 else channel] = expected_mask
        np.testing.assert_array_equal(occluded, expected)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("returned", [torch.zeros(14, 18), np.zeros((3, 14, 18)), None])
def test_an_own_function_must_return_the_shape_it_got(returned):
    occlusion = OverriddenOcclusion(GRID, random_image(3), -1, False, lambda image, mask: returned)
    with pytest.raises(ValueError, match=r"apply_mask must return a tensor of the image's shape \(3, 14, 18\)"):
        occlusion.occluded(0, 0)


@pytest.mark.parametrize(("fill", "checked"), [("blur", "blur"), (3, 3.0), (np.float32(0.5), 0.5), (-1.5, -1.5)])
def test_known_fills(fill, checked):
    assert check_fill(fill) == checked
    assert type(check_fill(fill)) is type(checked)


@pytest.mark.parametrize("fill", ["median", None, float("nan"), float("inf"), True, [0]])
def test_unknown_fills(fill):
    with pytest.raises(ValueError, match="fill must be 'minimum', 'mean', 'blur' or a finite number"):
        check_fill(fill)
