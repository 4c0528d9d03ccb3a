"""What discs change: boxes around it, and a key that is the same only for the same image."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.occlusion import Occlusion
from hdm_widgets.hdm.patched_occlusion import OverriddenOcclusion

FILLS = ["minimum", "mean", "blur", 0.5, 0.0]


def cells_of(grid):
    return np.argwhere(np.ones(grid.shape, bool))


def occlusion_of(image, circle_size, offset, *, fill="minimum", channel=-1, normalize=False):
    grid = Grid(*image.shape[-2:], circle_size, offset)
    return Occlusion.for_fill(grid, image, fill=fill, channel=channel, normalize=normalize)


def own(image, circle_size, offset, apply_mask, channel=-1):
    return OverriddenOcclusion(Grid(*image.shape[-2:], circle_size, offset), image, channel, False, apply_mask)


def spots(*places, height=12, width=16, channels=1):
    """Black, but for some pixels."""
    image = torch.zeros(channels, height, width)
    for row, col in places:
        image[:, row, col] = 1
    return image


# -- by hand ------------------------------------------------------------------------------------------


def test_boxes_are_around_the_pixels_that_change():
    # The disc of circle 2 is a cross of 3 x 3 px; cells are 4 px apart.
    occlusion = occlusion_of(spots((0, 1), (1, 2), (2, 2), (9, 13), (9, 15)), 2, 4)
    np.testing.assert_array_equal(occlusion.grid.disc, [[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    changes = occlusion.changes(np.array([[0, 0], [2, 3], [1, 1]]))
    np.testing.assert_array_equal(changes.boxes, [[0, 1, 2, 3], [9, 13, 10, 14], [0, 0, 0, 0]])
    assert changes.keys[2] == b""
    assert b"" not in changes.keys[:2]
    assert changes.size == (12, 16)


def test_discs_are_round():
    # Of circle 4 the corners are not part of the disc.
    occlusion = occlusion_of(spots((0, 0), (4, 4)), 4, 4)
    assert not occlusion.grid.disc[0, 0]
    changes = occlusion.changes(np.array([[0, 0], [1, 1]]))
    assert changes.keys == [b"", b""]
    whole = occlusion_of(torch.ones(1, 12, 16), 4, 4).changes(np.array([[0, 0], [2, 3]]))
    np.testing.assert_array_equal(whole.boxes, [[0, 0, 5, 5], [8, 12, 12, 16]])


def test_the_same_pixels_under_two_discs():
    # Pixel (5, 5) is under the crosses around (5, 5) and (5, 4), not under that around (4, 4).
    occlusion = occlusion_of(spots((5, 5)), 2, 1)
    changes = occlusion.changes(np.array([[4, 4], [4, 3], [3, 3], [9, 9]]))
    assert changes.keys[0] == changes.keys[1] != b""
    assert changes.keys[2:] == [b"", b""]
    np.testing.assert_array_equal(changes.boxes[:2], [[5, 5, 6, 6]] * 2)


def test_another_place_is_another_image():
    changes = occlusion_of(spots((1, 1), (9, 9)), 2, 8).changes(np.array([[0, 0], [1, 1]]))
    assert changes.keys[0] != changes.keys[1]


def test_another_form_in_the_same_box_is_another_image():
    # Of circle 3, the middle rows have four pixels, the outer ones two.
    occlusion = occlusion_of(spots((5, 5), (5, 8), (6, 7), (6, 8)), 3, 1)
    changes = occlusion.changes(np.array([[4, 5], [3, 5]]))
    np.testing.assert_array_equal(changes.boxes, [[5, 5, 7, 9]] * 2)
    assert changes.keys[0] != changes.keys[1]


def test_only_the_occluded_channel_counts():
    image = spots((5, 5), channels=2)
    image[1] = 0
    for channel, changed in ((0, True), (1, False), (-1, True)):
        (key,) = occlusion_of(image, 2, 4, channel=channel).changes(np.array([[1, 1]])).keys
        assert bool(key) is changed


def test_content_is_what_is_in_a_box():
    image = torch.arange(12 * 16, dtype=torch.float32).view(1, 12, 16) / 200
    occlusion = occlusion_of(image, 2, 4, fill=9)
    changes = occlusion.changes(np.array([[0, 0], [1, 1], [2, 3]]))
    parts = changes.content(np.array([1, 2]), np.array([[3, 4, 6, 8], [8, 11, 11, 15]]))
    assert parts.shape == (2, 1, 3, 4)
    # Rows 3 to 5 of the cross around (5, 5), rows 8 to 10 of that around (9, 13).
    first, second = image[0, 3:6, 4:8].clone(), image[0, 8:11, 11:15].clone()
    first[1, 1] = first[2, 0] = first[2, 1] = first[2, 2] = 9
    second[0, 2] = second[1, 1] = second[1, 2] = second[1, 3] = second[2, 2] = 9
    torch.testing.assert_close(parts[:, 0], torch.stack([first, second]))


def test_reach_is_a_box_for_every_different_image():
    occlusion = occlusion_of(spots((5, 5), (1, 13)), 2, 1)
    cells = cells_of(occlusion.grid)
    boxes = occlusion.boxes(cells)
    assert sorted(map(tuple, boxes.tolist())) == [(1, 13, 2, 14), (5, 5, 6, 6)]
    assert occlusion_of(spots(), 2, 1).boxes(cells).shape == (0, 4)


def test_reach_of_an_own_mask_applies_none():
    def never(image, mask):
        raise AssertionError

    occlusion = own(spots((5, 5)), 3, 4, never)
    np.testing.assert_array_equal(occlusion.boxes(np.array([[0, 0], [2, 3]])), [[0, 0, 4, 4], [8, 12, 12, 16]])


# -- for any image ----------------------------------------------------------------------------------


@st.composite
def occlusions(draw):
    """Images with few values, so that discs over them often leave the same image."""
    height, width = draw(st.integers(4, 14)), draw(st.integers(4, 14))
    channels = draw(st.integers(1, 2))
    seed = draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    light = rng.random((channels, height, width)) < draw(st.sampled_from([0.0, 0.02, 0.1, 0.8]))
    image = torch.from_numpy(light.astype(np.float32) * rng.choice([0.5, 1, 1.5]).astype(np.float32))
    sizes = draw(st.integers(1, min(height, width))), draw(st.integers(1, 4))
    channel = draw(st.integers(-1, channels - 1))
    kind = draw(st.sampled_from([*FILLS, "own"]))
    if kind == "own":
        # The same form, or nothing at all, at many places.
        return own(image, *sizes, lambda part, mask: torch.where(mask < 1, 0.5, part), channel)
    return occlusion_of(image, *sizes, fill=kind, channel=channel, normalize=draw(st.booleans()))


@given(occlusions())
def test_equal_keys_mean_equal_images_and_other_keys_other_images(occlusion):
    cells = cells_of(occlusion.grid)
    changes = occlusion.changes(cells)
    images = [occlusion.occluded(row, col) for row, col in cells.tolist()]
    by_key, by_image = {}, {}
    for key, box, image in zip(changes.keys, changes.boxes.tolist(), images, strict=True):
        seen = image.numpy().tobytes()
        assert by_key.setdefault(key, seen) == seen
        assert by_image.setdefault(seen, key) == key
        differs = (image != occlusion.unchanged).any(0)
        assert (key == b"") == (not differs.any())
        rows, cols = differs.any(1).nonzero().flatten(), differs.any(0).nonzero().flatten()
        if key:
            assert box == [int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1]
        else:
            assert box == [0, 0, 0, 0]
    everything = changes.images(np.arange(len(cells)))
    assert torch.equal(everything, torch.stack(images))


@given(occlusions(), st.data())
def test_a_larger_box_holds_the_image_there(occlusion, data):
    height, width = occlusion.grid.height, occlusion.grid.width
    cells = cells_of(occlusion.grid)
    item = data.draw(st.integers(0, len(cells) - 1))
    changes = occlusion.changes(cells)
    row0, col0, row1, col1 = changes.boxes[item].tolist()
    part = [
        data.draw(st.integers(0, row0)), data.draw(st.integers(0, col0)),
        data.draw(st.integers(row1, height)), data.draw(st.integers(col1, width)),
    ]  # fmt: skip
    found = changes.content(np.array([item]), np.array([part]))
    row0, col0, row1, col1 = part
    assert torch.equal(found[0], occlusion.occluded(*cells[item].tolist())[:, row0:row1, col0:col1])


@pytest.mark.parametrize("fill", FILLS)
def test_no_cells(fill):
    changes = occlusion_of(spots((5, 5)), 3, 2, fill=fill).changes(np.empty((0, 2), np.intp))
    assert changes.boxes.shape == (0, 4)
    assert changes.keys == []
