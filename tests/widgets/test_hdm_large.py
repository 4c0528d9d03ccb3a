"""Large images on the HDM explorer's stage: what is sent of them, and their tiles."""

import gc
import io
import weakref

import numpy as np
import pytest
from gate import SECONDS, first
from numpy.testing import assert_array_equal
from on_screen import OnScreen
from PIL import Image

from hdm_widgets._picture import Display
from hdm_widgets._wire import bits
from hdm_widgets.widgets.hdm.pyramid import LARGEST, TILE, Pyramid, halvings, shrink

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
    explorer.cell = tuple(np.argwhere(explorer.result.measured)[0].tolist())
    mask = screen["_inspector"]["prediction"]["mask"]
    assert mask == bits(shrink(explorer.result.output(*explorer.cell), 1))


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
