"""Large images on the HDM explorer's stage: what is sent of them, and their tiles."""

import gc
import io
import weakref

import numpy as np
import pytest
from gate import SECONDS, first
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from on_screen import OnScreen, unpacked
from PIL import Image
from scipy import ndimage

from hdm_widgets._picture import Display
from hdm_widgets._wire import bits
from hdm_widgets.hdm.objects import MaskObjects
from hdm_widgets.hdm.pyramid import LARGEST, TILE, Pyramid, halvings, shrink
from hdm_widgets.widgets.hdm.large_masks import MOST_PIXELS, OBJECT_SIDE, LargeMasks

# Thin and long: tests take milliseconds.
SIZE = (6, LARGEST + 3)
SCAN = {"circle_size": 4, "offset": 3, "region": (0, 700, 6, 712)}


def image_of(height, width):
    values = np.random.default_rng(0).integers(0, 256, (height, width)).astype(np.float32)
    values[0, 0], values[-1, -1] = 0, 255
    return values[None] / 255


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def pyramid_of(image):
    return Pyramid(image, Display().view(image))


@pytest.mark.parametrize(
    ("size", "count"),
    [((LARGEST, LARGEST), 0), ((1, LARGEST + 1), 1), ((2 * LARGEST + 1, 7), 2), ((5000, 5000), 2)],
)
def test_images_are_halved_until_they_fit(size, count):
    assert halvings(*size) == count


def test_a_coarse_pixel_is_the_mean_of_those_that_it_stands_for():
    image = np.zeros((1, 3, LARGEST + 1), np.float32)
    # 10, 20, 30 and 41: 25.25. Three rows: the last is halved along its length only.
    image[0, :2, :2] = np.array([[10, 20], [30, 41]]) / 255
    image[0, 2, :2] = np.array([50, 53]) / 255
    image[0, 0, LARGEST] = 1
    coarse = pyramid_of(image).coarsest
    assert coarse.shape == (2, (LARGEST + 2) // 2, 3)
    assert coarse[:, 0, 0].tolist() == [25, 52]
    # The last column stands for itself: 255 above 0.
    assert coarse[0, -1].tolist() == [128] * 3


@pytest.mark.parametrize("side", [(4, 4), (5, 7), (1, 9), (3, 2)])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_coarse_mask_has_every_pixel_that_is_set(side, count):
    step = 2**count
    for row, col in np.ndindex(side):
        mask = np.zeros(side, bool)
        mask[row, col] = True
        coarse = shrink(mask, count)
        assert coarse.shape == tuple(-(-length // step) for length in side)
        assert np.argwhere(coarse).tolist() == [[row // step, col // step]]


def test_tiles_are_parts_of_their_level():
    image = image_of(TILE + 5, LARGEST + 1)
    pyramid = pyramid_of(image)
    for level, shown in enumerate(pyramid.levels):
        rows = []
        for row in range(0, shown.shape[0], TILE):
            asked = [{"level": level, "row": row // TILE, "col": col} for col in range(-(-shown.shape[1] // TILE))]
            rows.append(np.concatenate([pixels(pyramid.tile(one)[1][0]) for one in asked], axis=1))
        assert_array_equal(np.concatenate(rows), shown)
    assert_array_equal(pyramid.levels[0][..., 0], np.rint(image[0] * 255))


@pytest.mark.parametrize(
    "asked",
    [
        {"level": 2, "row": 0, "col": 0},
        {"level": -1, "row": 0, "col": 0},
        {"level": 0, "row": 1, "col": 0},
        {"level": 0, "row": 0, "col": -1},
        {"level": 0, "row": 0, "col": 6},
        {"level": 0, "row": 0.5, "col": 0},
        {"level": 0, "row": 0},
    ],
)
def test_a_tile_that_is_not_there_is_refused(asked):
    with pytest.raises(ValueError, match="no tile"):
        pyramid_of(image_of(*SIZE)).tile(asked)


def test_the_screen_has_a_large_image_at_half_its_size(explore_hdm):
    image = image_of(*SIZE)
    truth = np.zeros(SIZE, bool)
    truth[1:4, 703:709] = True
    explorer = explore_hdm(first, image, truth, **SCAN)
    assert explorer.wait(SECONDS)
    coarse = (3, (SIZE[1] + 1) // 2)
    screen = OnScreen(explorer)
    assert pixels(screen["_image"]).shape[:2] == coarse
    about = screen["_about"]
    assert (about["height"], about["width"], about["step"]) == (*SIZE, 2)
    assert screen["_truth"] == bits(shrink(truth, 1))
    assert screen["_prediction"] == bits(shrink(explorer.result.baseline_mask, 1))
    assert len(screen["_edges"]) == -(-coarse[0] * coarse[1] // 8)


def test_the_bundle_for_large_images_is_sent_with_them_only(explore_hdm):
    small = explore_hdm(first, image_of(6, 40), circle_size=4, offset=3)
    large = explore_hdm(first, image_of(*SIZE), **SCAN)
    assert "hdm-window" not in small._esm
    assert "hdm-window" in large._esm
    assert "hdm-window" in large._css
    assert "step" not in OnScreen(small)["_about"]
    assert all(one.wait(SECONDS) for one in (small, large))


def test_a_closed_explorer_frees_its_pyramid(explore_hdm, monkeypatch):
    made = []

    class Watched(Pyramid):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch.setattr("hdm_widgets.widgets.hdm.explorer.Pyramid", Watched)
    explorer = explore_hdm(first, image_of(*SIZE), **SCAN)
    assert explorer.wait(SECONDS)
    [pyramid] = made
    assert pyramid() is not None
    explorer.close()
    gc.collect()
    assert pyramid() is None


# -- Masks and objects, of which the screen asks ------------------------------------------------------


def masks_of(seed=3, size=(37, 53)):
    rng = np.random.default_rng(seed)
    return [rng.random(size) < fraction for fraction in (0.1, 0.2, 0.1)]


@pytest.mark.parametrize(("top", "left", "height", "width"), [(0, 0, 37, 53), (4, 8, 16, 12), (36, 48, 1, 5)])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_masks_are_sent_of_a_part_at_its_resolution(top, left, height, width, level):
    truth, prediction, ignored = masks_of()
    large = LargeMasks(truth)
    large.show(truth, prediction, ignored, None)
    asked = {"names": ["prediction", "truth", "object"], "level": level}
    reply, buffers = large.part({**asked, "top": top, "left": left, "height": height, "width": width})
    assert reply == {"names": ["prediction", "truth"]}
    step = 2**level
    for sent, mask in zip(buffers, (prediction, truth), strict=True):
        part = mask[top : top + height, left : left + width]
        rows, cols = -(-height // step), -(-width // step)
        # By hand: a pixel is set where any of step x step is.
        expected = [
            [part[step * row : step * (row + 1), step * col : step * (col + 1)].any() for col in range(cols)]
            for row in range(rows)
        ]
        assert_array_equal(unpacked(sent, rows, cols), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"top": -1},
        {"height": 0},
        {"height": 38},
        {"left": 53},
        {"level": -1},
        {"level": 99},
        {"width": 2.5},
        {"top": None},
    ],
)
def test_a_part_that_is_not_there_is_refused(wrong):
    asked = {"names": ["truth"], "top": 0, "left": 0, "height": 37, "width": 53, "level": 0}
    with pytest.raises(ValueError, match="no part"):
        LargeMasks(masks_of()[0]).part({**asked, **wrong})


def test_no_part_has_more_pixels_than_a_screen():
    truth = np.zeros((1, MOST_PIXELS + 1), bool)
    asked = {"names": ["truth"], "top": 0, "left": 0, "height": 1, "width": MOST_PIXELS + 1}
    with pytest.raises(ValueError, match="for a screen"):
        LargeMasks(truth).part({**asked, "level": 0})
    assert len(LargeMasks(truth).part({**asked, "level": 1})[1][0]) == MOST_PIXELS // 2 // 8 + 1


def test_objects_are_those_of_the_mask_in_its_own_size():
    truth = np.zeros((12, 20), bool)
    truth[2:5, 3:6] = True
    truth[5, 2] = True  # over a corner: the same object
    truth[2:5, 7:9] = True  # one pixel away: in pixels of 2 x 2 they touch
    large = LargeMasks(truth)
    reply, buffers = large.objects({"of": "truth", "places": [(3, 4, 1), (3, 8, 1), (0, 0, 1), (5, 2, 1), (0, 2, 4)]})
    first_one, other, nothing, corner, near = reply["objects"]
    assert nothing is None
    assert len(buffers) == 4
    assert (first_one["top"], first_one["left"], first_one["height"], first_one["width"]) == (2, 2, 4, 4)
    assert (first_one["pixels"], first_one["step"], first_one["pixel"]) == (10, 1, (3, 4))
    assert_array_equal(unpacked(buffers[0], 4, 4), truth[2:6, 2:6])
    assert (other["left"], other["width"], other["pixels"]) == (7, 2, 6)
    assert (other["y"], other["x"]) == (3.5, 8.0)
    assert corner == {**first_one, "pixel": (5, 2)}
    # The first of 4 x 4 pixels.
    assert near["pixel"] == (2, 3)


def test_a_longer_object_is_sent_at_a_halved_size():
    truth = np.zeros((3, OBJECT_SIDE + 9), bool)
    truth[1, 2:] = True
    reply, (sent,) = LargeMasks(truth).objects({"of": "truth", "places": [(1, 5, 1)]})
    (one,) = reply["objects"]
    assert (one["step"], one["width"], one["pixels"]) == (2, OBJECT_SIDE + 7, OBJECT_SIDE + 7)
    assert unpacked(sent, 1, OBJECT_SIDE // 2 + 4).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 0.9))
def test_objects_are_those_of_a_search(seed, density):
    mask = np.random.default_rng(seed).random((9, 11)) < density
    objects = MaskObjects(mask)
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    assert len(objects) == count
    for row, col in np.argwhere(mask).tolist():
        (top, left, bottom, right), one = objects.at(row, col)
        whole = np.zeros_like(mask)
        whole[top:bottom, left:right] = one
        assert_array_equal(whole, labels == labels[row, col])
    for row, col in np.argwhere(~mask)[:3].tolist():
        with pytest.raises(KeyError):
            objects.at(row, col)


def test_masks_have_another_number_when_they_are_others():
    truth, prediction, ignored = masks_of()
    large = LargeMasks(truth)
    large.show(truth, prediction, None, None)
    once = large.version
    large.show(truth.copy(), prediction.copy(), None, None)
    assert large.version == once
    large.show(truth, prediction, ignored, None)
    assert large.version == once + 1
    # Pixels that do not count have no objects.
    row, col = np.argwhere(prediction & ignored)[0].tolist()
    assert large.objects({"of": "prediction", "places": [(row, col, 1)]})[0] == {"objects": [None]}


def test_the_screen_of_a_large_image_chooses_an_object(explore_hdm):
    truth = np.zeros(SIZE, bool)
    truth[1:4, 703:709] = truth[1:3, 711:713] = True
    image = truth.astype(np.float32)[None]
    explorer = explore_hdm(first, image, truth, **SCAN)
    assert explorer.wait(SECONDS)
    screen = OnScreen(explorer)
    reply, _ = screen.ask("objects", of="truth", places=[[1, 712, 1]])
    assert reply["error"] is None
    assert reply["objects"][0]["pixels"] == 4
    before = screen["_about"]["masks"]
    screen.set(object=[1, 712])
    assert screen["_about"]["ofObject"]
    assert screen["_about"]["masks"] == before + 1
    asked = {"top": 0, "left": 702, "height": 6, "width": 12, "level": 0, "names": ["object", "truth"]}
    reply, (one, both) = screen.ask("masks", **asked)
    assert reply["names"] == ["object", "truth"]
    assert unpacked(one, 6, 12).sum() == 4
    assert_array_equal(unpacked(both, 6, 12), truth[:, 702:714])
    reply, _ = screen.ask("masks", **{**asked, "left": LARGEST})
    assert "no part" in reply["error"]


def test_the_inspector_has_the_part_of_a_large_image_that_a_disc_changes(explore_hdm):
    truth = np.zeros(SIZE, bool)
    truth[1:4, 703:709] = True
    image = truth.astype(np.float32)[None]
    ignored = np.zeros(SIZE, bool)
    ignored[0, 690:720] = True
    explorer = explore_hdm(first, image, truth, ignore=ignored, fill=0, measure="hausdorff", **SCAN)
    assert explorer.wait(SECONDS)
    explorer.cell = tuple(np.argwhere(explorer.result.values > 0)[0].tolist())
    found = OnScreen(explorer)["_inspector"]
    part = found["part"]
    area = slice(part["top"], part["top"] + part["height"]), slice(part["left"], part["left"] + part["width"])
    assert (part["height"], part["width"], part["step"]) == (6, 256, 1)
    assert part["left"] < 703 < 709 < part["left"] + 256
    assert pixels(found["image"]).shape == (6, 256, 3)
    mask = explorer.result.output(*explorer.cell)
    for name, expected in (("mask", mask & ~ignored), ("compared", truth), ("ignored", ignored)):
        assert_array_equal(unpacked(found["prediction"][name], 6, 256), expected[area], err_msg=name)
    (row0, col0), (row1, col1) = found["prediction"]["pair"]
    for row, col in ((row0, col0), (row1, col1)):
        assert area[0].start <= row < area[0].stop
        assert area[1].start <= col < area[1].stop
