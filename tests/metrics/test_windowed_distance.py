import math
from contextlib import nullcontext
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_helpers import by_coordinates
from scipy import ndimage

from hdm_widgets.metrics import ReferenceMask, windowed_distance
from hdm_widgets.metrics.windowed_distance import WindowedDistance

EMPTY = ["diagonal", "inf", "nan", "raise"]
# Small images never meet what is there for large ones: samples, boxes that turn out too small, no whole masks.
SIZES = {
    "usual": nullcontext,
    "as if large": lambda: mock.patch.multiple(windowed_distance, _FEW=2, _TILE=3, _MARGIN=1, _MANY=2.0),
    "whole masks": lambda: mock.patch.multiple(windowed_distance, _MANY=0.0),
}


def with_window(predicted, row, col, window):
    mask = np.array(predicted) != 0
    mask[row : row + window.shape[0], col : col + window.shape[1]] = window
    return mask


def outcome(distance, *arguments):
    """A distance, or the error it ends with."""
    try:
        return distance(*arguments)
    except ValueError as error:
        return str(error)


def check(truth, predicted, window, windowed, spacing=(1, 1)):
    """The distance of a window at a place (row, col, values) is the whole mask's, which is the one of the definition.

    `windowed` gives it, by the names of `SIZES`; it is returned.
    """
    mask = with_window(predicted, *window)
    if truth.ignored is not None:
        mask &= ~truth.ignored
    expected = outcome(truth.distance, mask)
    for sizes, one in windowed.items():
        with SIZES[sizes]():
            found = outcome(one.distance, *window)
        assert found == expected or (np.isnan(found) and np.isnan(expected)), sizes
    if mask.any() and truth.mask.any():
        assert found == pytest.approx(by_coordinates(mask, truth.mask, spacing), abs=1e-9)
    return found


def of_all_sizes(truth, predicted):
    made = {}
    for sizes, entered in SIZES.items():
        with entered():
            made[sizes] = WindowedDistance(truth, predicted)
            np.testing.assert_equal(outcome(lambda: made[sizes].base_distance), outcome(truth.distance, predicted))  # noqa: B023
    return made


def smooth(rng, shape, sigma):
    noise = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    return noise / noise.std()


@st.composite
def windows(draw, side=9):
    """A truth, a prediction that may be like it, and a window anywhere in them that may be like either."""
    shape = draw(st.tuples(st.integers(1, side), st.integers(1, side)))
    masks = arrays(bool, shape, fill=st.booleans())
    truth = draw(masks)
    predicted = truth ^ draw(masks) if draw(st.booleans()) else draw(masks)
    row, col = (draw(st.integers(0, length - 1)) for length in shape)
    place = np.s_[row : draw(st.integers(row + 1, shape[0])), col : draw(st.integers(col + 1, shape[1]))]
    content = draw(arrays(bool, predicted[place].shape, fill=st.booleans()))
    kinds = [content, predicted[place], truth[place], predicted[place] & content, predicted[place] | content]
    return truth, predicted, row, col, draw(st.sampled_from(kinds))


# -- worked by hand -----------------------------------------------------------------------------------

#                    a row of twelve pixels: 0 1 2 3 4 5 6 7 8 9 . .
TRUTH = np.array([[1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0]])
PREDICTED = np.array([[1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("col", "window", "expected"),
    [
        (0, [1, 1], 2.0),  # unchanged: false positive 6 is 2 from 8, and false negative 8 is 2 from 6
        (4, [0, 0, 0], 7.0),  # without 6, the nearest to false negative 8 is 1
        (6, [1, 0, 1], 2.0),  # 8 is predicted, false positive 6 remains
        (6, [0, 0, 1], 1.0),  # 6 goes as well, and false negative 2 has 1 beside it
        (5, [1], 3.0),  # false positive 5 is 3 from both 2 and 8
        (11, [1], 3.0),  # false positive 11 is 3 from 8, and brings nothing nearer to 8
        (0, [0, 0, 0], 6.0),  # what remains is 6, for 0 to look at
        (1, [0, 1], 2.0),  # 1 has neighbors on both sides
        (6, [0, 1], 1.0),  # 6 moved to 7, beside 8
    ],
)
def test_a_row_by_hand(col, window, expected):
    windowed = WindowedDistance(ReferenceMask(TRUTH), PREDICTED)
    assert windowed.base_distance == 2.0
    assert windowed.distance(0, col, np.array([window])) == expected


@pytest.mark.parametrize(
    ("row", "col", "window", "expected"),
    [
        (3, 4, [[0]], 5.0),  # 3, 4, 5: the truth's pixel at (3, 4) is left to (0, 0)
        (2, 3, [[0, 1], [0, 0]], 1.0),
        (0, 0, [[0, 0], [0, 0]], 5.0),
        (0, 4, [[1], [1], [0], [1]], 3.0),  # (0, 4) is a false positive, and 3 above the truth's pixel
    ],
)
def test_an_image_by_hand(row, col, window, expected):
    corners = np.zeros((4, 5), dtype=bool)
    corners[0, 0] = corners[3, 4] = True
    windowed = WindowedDistance(ReferenceMask(corners), corners)
    assert windowed.base_distance == 0.0
    assert windowed.distance(row, col, window) == expected


@pytest.mark.parametrize(
    ("true_pixels", "predicted_pixels", "flipped_pixels", "expected"),
    [
        # (0, 0) is left to (4, 4), which is within 5 rows and 5 columns but not within the baseline of 5.
        ([(0, 0), (4, 4), (19, 5)], [(0, 0), (4, 4), (19, 5), (19, 10)], [(0, 0)], math.sqrt(32)),
        # The pixel that was 15 away is found. Now it matters that (0, 0) is left to (0, 4).
        ([(0, 0), (0, 4), (0, 5), (0, 20)], [(0, 0), (0, 4), (0, 5)], [(0, 0), (0, 20)], 4.0),
        # The pixel that was 16 away is found. Now it matters that (0, 4) is a false positive.
        ([(0, 0), (0, 20)], [(0, 0), (0, 4)], [(0, 20)], 4.0),
        # (0, 0) is left to (0, 33), though a box of 32 pixels around it holds (30, 30).
        ([(0, 0), (0, 33), (30, 30)], [(0, 0), (0, 33), (30, 30)], [(0, 0)], 33.0),
    ],
)
def test_few_pixels_by_hand(true_pixels, predicted_pixels, flipped_pixels, expected):
    masks = np.zeros((3, 40, 40), dtype=bool)
    for mask, pixels in zip(masks, (true_pixels, predicted_pixels, flipped_pixels), strict=True):
        mask[tuple(np.transpose(pixels))] = True
    truth, predicted, flips = masks
    assert WindowedDistance(ReferenceMask(truth), predicted).distance(0, 0, predicted ^ flips) == expected


def test_distances_of_several_windows():
    windowed = WindowedDistance(ReferenceMask(TRUTH), PREDICTED)
    windows = np.array([[[1, 0, 1]], [[0, 0, 1]], [[0, 0, 0]]], dtype=bool)
    distances = windowed.distances(np.array([0, 0, 0]), np.array([6, 6, 4]), windows)
    assert distances.dtype == np.float64
    np.testing.assert_array_equal(distances, [2.0, 1.0, 7.0])
    assert windowed.distances([], [], np.zeros((0, 1, 3), dtype=bool)).shape == (0,)


def test_anything_but_zero_is_segment():
    windowed = WindowedDistance(ReferenceMask(TRUTH * 255), PREDICTED * -3)
    assert windowed.distance(0, 6, np.array([[7, 0, -2]])) == 2.0
    assert windowed.distance(0, 6, np.array([[0, 0, 1.0]])) == 1.0


def test_it_keeps_its_own_copy():
    predicted = PREDICTED.copy()
    windowed = WindowedDistance(ReferenceMask(TRUTH), predicted)
    predicted[:] = 1
    assert windowed.distance(0, 6, [[0, 0, 1]]) == 1.0


# -- equal to the whole mask's distance ---------------------------------------------------------------


@settings(max_examples=300)
@given(windows(), st.sampled_from(EMPTY))
def test_any_window_of_any_prediction(drawn, empty):
    truth, predicted, *window = drawn
    reference = ReferenceMask(truth, empty=empty)
    check(reference, predicted, window, of_all_sizes(reference, predicted))


# Squares, whole ratios that are and are not exact as floats, and a ratio that is none of whole numbers.
SPACINGS = [(2, 2), (1, 3), (0.3, 0.1), (0.7, 1.3), (1, math.pi), (1e-4, 1)]


@settings(max_examples=150)
@given(windows(), st.sampled_from(SPACINGS), st.sampled_from(EMPTY), st.data())
def test_any_window_with_any_spacing_and_ignored_pixels(drawn, spacing, empty, data):
    truth, predicted, *window = drawn
    ignore = data.draw(st.none() | arrays(bool, truth.shape, fill=st.booleans()))
    reference = ReferenceMask(truth, empty=empty, spacing=spacing, ignore=ignore)
    check(reference, predicted, window, of_all_sizes(reference, predicted), spacing)


@pytest.mark.parametrize("spacing", [(1, 1), (0.3, 0.1), (1, math.pi)])
@pytest.mark.parametrize("seed", [1, 2, 4, 5, 6, 9])
def test_blobs(seed, spacing):
    """Smooth masks as a model draws them, which grow, shrink, lose or gain parts in windows of any size."""
    rng = np.random.default_rng(seed)
    shape = (96, 80 + 8 * seed)
    field = smooth(rng, shape, 7)
    truth = field > 0.5
    drawn = field + rng.choice([0.1, 0.4]) * smooth(rng, shape, 3)
    level = rng.choice([0.4, 0.5, 0.6])
    predicted = drawn > level
    reference = ReferenceMask(truth, spacing=spacing)
    unchanged = reference.distance(predicted)
    windowed = of_all_sizes(reference, predicted)
    changed = 0
    for _ in range(60):
        height, width = rng.integers(8, 60, 2)
        row, col = (int(rng.integers(0, room + 1)) for room in np.subtract(shape, (height, width)))
        place = np.s_[row : row + height, col : col + width]
        rim = np.minimum.outer(*(np.minimum(np.arange(n), np.arange(n)[::-1]) / n for n in (height, width)))
        push = rng.choice([-4, -1, 0, 1, 4]) + smooth(rng, (height, width), 4)
        window = drawn[place] + 2 * rim * push > level
        changed += check(reference, predicted, (row, col, window), windowed, spacing) != unchanged
    assert 0 < changed < 60


@pytest.mark.parametrize("content", ["none", "all", "truth", "noise"])
@pytest.mark.parametrize(
    ("row", "col", "height", "width"),
    [(0, 0, 64, 72), (0, 0, 20, 24), (0, 48, 20, 24), (44, 0, 20, 24), (44, 48, 20, 24), (0, 0, 1, 1), (63, 71, 1, 1)],
)
def test_corners_and_the_whole_image(content, row, col, height, width):
    rng = np.random.default_rng(3)
    truth, predicted = (smooth(rng, (64, 72), 5) > 0.2 for _ in range(2))
    reference = ReferenceMask(truth)
    place = np.s_[row : row + height, col : col + width]
    window = {
        "none": np.zeros((height, width), dtype=bool),
        "all": np.ones((height, width), dtype=bool),
        "truth": truth[place],
        "noise": rng.random((height, width)) < 0.1,
    }[content]
    for mask in (predicted, truth):
        check(reference, mask, (row, col, window), of_all_sizes(reference, mask))


def test_a_part_is_lost_far_from_all_others():
    """The nearest pixel is far outside any box around what was lost."""
    truth = np.zeros((150, 200), dtype=bool)
    truth[5:25, 5:25] = truth[140, 190] = True
    reference = ReferenceMask(truth)
    with SIZES["as if large"]():
        windowed = WindowedDistance(reference, truth)
        assert windowed.distance(0, 0, np.zeros((30, 30), dtype=bool)) == math.hypot(135, 185)
        assert windowed.distance(135, 185, np.zeros((10, 10), dtype=bool)) == math.hypot(116, 166)


@pytest.mark.usefixtures("only_near_the_flips")
def test_small_changes_are_measured_without_the_whole_mask():
    rng = np.random.default_rng(0)
    field = smooth(rng, (96, 96), 8)
    truth, predicted = field > 0.4, field > 0.5
    reference = ReferenceMask(truth)
    windowed = WindowedDistance(reference, predicted)
    unchanged = windowed.base_distance
    expected, found = [], []
    for row, col in rng.integers(0, 80, (40, 2)):
        window = field[row : row + 16, col : col + 16] > 0.5 + rng.choice([-0.4, 0.4])
        expected.append(by_coordinates(with_window(predicted, row, col, window), truth))
        found.append(windowed.distance(row, col, window))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert min(found) <= unchanged < max(found)


@pytest.fixture
def only_near_the_flips(monkeypatch):
    """`ReferenceMask.distance` may be asked once, for the prediction."""
    asked = []
    whole = ReferenceMask.distance

    def distance(self, mask):
        asked.append(mask)
        assert len(asked) == 1, "the whole mask was measured"
        return whole(self, mask)

    monkeypatch.setattr(ReferenceMask, "distance", distance)


# -- empty masks --------------------------------------------------------------------------------------

FULL, NONE = np.ones((3, 4), dtype=bool), np.zeros((3, 4), dtype=bool)
ONE_EMPTY = {"diagonal": 5.0, "inf": math.inf, "nan": math.nan}


@pytest.mark.parametrize("empty", ONE_EMPTY)
def test_one_empty_mask_follows_the_policy(empty):
    of_full = WindowedDistance(ReferenceMask(FULL, empty=empty), FULL)
    np.testing.assert_equal(of_full.distance(0, 0, NONE), ONE_EMPTY[empty])
    of_none = WindowedDistance(ReferenceMask(FULL, empty=empty), NONE)
    np.testing.assert_equal(of_none.base_distance, ONE_EMPTY[empty])
    np.testing.assert_equal(of_none.distance(1, 1, NONE[:1, :1]), ONE_EMPTY[empty])
    assert of_none.distance(0, 0, FULL[:, :3]) == 1.0
    to_none = WindowedDistance(ReferenceMask(NONE, empty=empty), NONE)
    assert to_none.base_distance == 0.0
    np.testing.assert_equal(to_none.distance(2, 3, FULL[:1, :1]), ONE_EMPTY[empty])


def test_one_empty_mask_raises_on_request():
    message = "one of the two masks has no pixel"
    windowed = WindowedDistance(ReferenceMask(FULL, empty="raise"), NONE)  # a window may still fill it
    assert windowed.distance(0, 0, FULL) == 0.0
    with pytest.raises(ValueError, match=message):
        windowed.distance(0, 0, NONE)
    with pytest.raises(ValueError, match=message):
        _ = windowed.base_distance
    with pytest.raises(ValueError, match=message):
        WindowedDistance(ReferenceMask(FULL, empty="raise"), FULL).distance(0, 0, NONE)
    with pytest.raises(ValueError, match=message):
        WindowedDistance(ReferenceMask(NONE, empty="raise"), NONE).distance(0, 0, FULL)


@pytest.mark.parametrize("empty", EMPTY)
def test_two_empty_masks_are_equal(empty):
    windowed = WindowedDistance(ReferenceMask(NONE, empty=empty), FULL)
    assert windowed.distance(0, 0, NONE) == 0.0


# -- bad input ----------------------------------------------------------------------------------------


def test_the_prediction_has_the_truths_shape():
    with pytest.raises(ValueError, match=r"same shape, got \(1, 2\) and \(3, 4\)"):
        WindowedDistance(ReferenceMask(FULL), [[1, 0]])


@pytest.mark.parametrize(
    ("row", "col", "shape"),
    [(-1, 0, (2, 2)), (0, -1, (2, 2)), (2, 0, (2, 2)), (0, 3, (2, 2)), (0, 0, (4, 4)), (0, 0, (3,)), (0, 0, (1, 2, 2))],
)
def test_a_window_must_fit(row, col, shape):
    with pytest.raises(ValueError, match=r"a window of shape .* does not fit into an image of \(3, 4\)"):
        WindowedDistance(ReferenceMask(FULL), FULL).distance(row, col, np.zeros(shape, dtype=bool))


def test_each_window_needs_a_corner():
    with pytest.raises(ValueError, match="shorter"):
        WindowedDistance(ReferenceMask(FULL), FULL).distances([0, 0], [0], NONE[None, :1, :1])
