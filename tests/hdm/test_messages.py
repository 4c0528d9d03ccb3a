import dataclasses
import io
import math

import numpy as np
import pytest
from on_screen import decoded, unpacked
from PIL import Image

from hdm_widgets import Display, hdm
from hdm_widgets._wire import to_wire
from hdm_widgets.hdm import messages

IMAGE = np.full((1, 24, 32), 0.2, np.float32)
IMAGE[:, 6:16, 8:20] = 0.8
SEGMENT = IMAGE[0] > 0.5


def first(images):
    return images[:, 0]


def nothing(images):
    return images[:, 0] * 0


def scan(model=first, segment=SEGMENT, **options):
    """All updates of a scan of 3 x 4 cells, one at a time."""
    explainer = hdm.HausdorffDistanceMasks(32, 24)
    explainer.generate_masks(8, 8)
    return list(explainer.stream(model, IMAGE, segment, batch_size=1, **options))


def map_message(update):
    """As the browser has it."""
    return decoded(to_wire(messages.map_message(update)))


def cells(message, name):
    """One bit for each cell."""
    return unpacked(message[name], 3, 4)


def painted(message):
    """Values of the cells that the browser paints; NaN elsewhere."""
    assert message["values"].dtype == np.float64
    return np.where(cells(message, "drawn"), message["values"], np.nan)


def test_before_the_first_disc_there_is_nothing_to_draw():
    message = map_message(scan()[0])
    assert np.isnan(painted(message)).all()
    assert not cells(message, "measured").any()
    assert (message["done"], message["total"]) == (0, 12)


def test_what_is_not_measured_yet_has_the_nearest_value():
    updates = scan()
    whole = updates[-1].result.values
    message = map_message(updates[5])  # the first row, and one cell of the second
    np.testing.assert_array_equal(cells(message, "measured"), np.reshape([1] * 5 + [0] * 7, (3, 4)))
    shown = painted(message)
    np.testing.assert_array_equal(shown.ravel()[:5], whole.ravel()[:5])
    above = whole[0]
    np.testing.assert_array_equal(shown[1, 2:], above[2:])
    # Of the last row, the first cell is next to the second row's and the last below the first's.
    assert shown[2, 0] == whole[1, 0]
    assert shown[2, 3] == above[3]


def test_a_whole_scan_has_nothing_filled_in():
    last = scan()[-1]
    message = map_message(last)
    assert cells(message, "measured").all()
    np.testing.assert_array_equal(painted(message), last.result.values)


def test_cells_outside_the_region_are_never_drawn():
    updates = scan(region=(0, 0, 24, 4))  # discs of the first column
    wanted = np.repeat([[True, False, False, False]], 3, axis=0)
    for done, update in enumerate(updates):
        message = map_message(update)
        assert (message["done"], message["total"]) == (done, 3)
        assert cells(message, "measured").sum() == done
        np.testing.assert_array_equal(~np.isnan(painted(message)), wanted & (done > 0))


def test_a_distance_that_is_not_defined_is_measured_all_the_same():
    updates = scan(nothing, empty="nan")
    message = map_message(updates[4])
    assert np.isnan(painted(message)).all()
    assert cells(message, "measured").sum() == 4


def test_outside_the_region_is_no_estimate_even_if_the_baseline_is_not_defined():
    last = scan(nothing, empty="nan", region=(0, 0, 24, 4))[-1]
    assert np.isnan(painted(map_message(last))).all()


class Plan:
    def __str__(self):
        return "The whole image is run for every disc"


@pytest.mark.parametrize(("plan", "text"), [(None, ""), (Plan(), "The whole image is run for every disc")])
def test_the_plan_is_sent_as_words(plan, text):
    last = scan()[-1]
    update = dataclasses.replace(last, result=dataclasses.replace(last.result, plan=plan))
    assert map_message(update)["plan"] == text


@pytest.mark.parametrize("circle_size", [1, 2, 3, 7, 8, 15, 24])
def test_the_disc_is_sent_as_pil_draws_it(circle_size):
    explainer = hdm.HausdorffDistanceMasks(32, 24)
    explainer.generate_masks(circle_size, 24)
    update = next(explainer.stream(first, IMAGE, SEGMENT))
    rows = map_message(update)["disc"]
    assert (rows.dtype, rows.shape) == (np.int32, (circle_size + 1, 2))
    columns = np.arange(circle_size + 1)
    drawn = (columns >= rows[:, :1]) & (columns < rows[:, 1:])
    np.testing.assert_array_equal(drawn, update.result.grid.disc)


NONE = np.zeros((24, 32), bool)


def gone_at_discs(images):
    """Predicts the segment, and nothing where a disc covers a pixel in the middle of it."""
    return images[:, 0] * (images[:, :, 12, 12] > 0.5)[:, :, None]


@pytest.mark.parametrize("empty", ["diagonal", "inf", "nan"])
def test_cells_with_one_empty_mask_are_told_whatever_distance_stands_for_it(empty):
    last = scan(gone_at_discs, empty=empty)[-1]
    expected = np.array([[not last.result.output(row, col).any() for col in range(4)] for row in range(3)])
    assert 0 < expected.sum() < 12
    np.testing.assert_array_equal(cells(map_message(last), "oneEmpty"), expected)


@pytest.mark.filterwarnings("ignore:the segment is empty")
def test_where_the_truth_is_empty_any_prediction_makes_one_empty_mask():
    last = scan(gone_at_discs, NONE)[-1]
    expected = np.array([[last.result.output(row, col).any() for col in range(4)] for row in range(3)])
    assert 0 < expected.sum() < 12
    np.testing.assert_array_equal(cells(map_message(last), "oneEmpty"), expected)


class Diagonal(hdm.HausdorffDistanceMasks):
    def calculate_distance(self, output, segment):
        return math.hypot(*segment.shape)


def test_another_distance_that_is_as_long_as_the_diagonal_says_nothing():
    explainer = Diagonal(32, 24)
    explainer.generate_masks(8, 8)
    *_, last = explainer.stream(first, IMAGE, SEGMENT)
    assert (last.result.values == 40).all()
    assert not cells(map_message(last), "oneEmpty").any()


def test_before_a_cell_is_measured_nothing_is_said_of_its_mask():
    updates = scan(nothing, empty="nan")
    assert [cells(map_message(update), "oneEmpty").sum() for update in updates] == list(range(13))


INSPECTED = [
    (first, SEGMENT, (1, 1), {"empty": False, "pair": True}),
    (first, SEGMENT, (0, 0), {"empty": False, "pair": False}),
    (nothing, SEGMENT, (1, 1), {"empty": True, "pair": False}),
    (first, NONE, (1, 1), {"empty": False, "pair": False}),
    (nothing, NONE, (1, 1), {"empty": True, "pair": False}),
]


@pytest.mark.filterwarnings("ignore:the segment is empty")
@pytest.mark.parametrize(
    ("model", "segment", "cell", "expected"), INSPECTED, ids=["pair", "equal", "no mask", "no truth", "neither"]
)
def test_an_inspected_cell_says_what_there_is(model, segment, cell, expected):
    result = scan(model, segment)[-1].result
    found = to_wire(messages.inspect_cell(result, *cell))
    assert found["cell"] == list(cell)
    prediction = found["prediction"]
    assert {name: bool(prediction[name]) for name in expected} == expected
    assert (prediction["distance"] is None) == (prediction["pair"] is None) == (prediction["from"] is None)
    np.testing.assert_array_equal(unpacked(prediction["mask"], 24, 32), result.output(*cell))


@pytest.mark.parametrize("empty", ["inf", "nan"])
def test_an_inspected_cell_without_a_finite_distance_still_has_its_baseline(empty):
    result = scan(gone_at_discs, empty=empty)[-1].result
    gone = ~np.isfinite(result.values)
    assert 0 < gone.sum() < 12
    assert np.isfinite(result.baseline)
    for cell in np.ndindex(3, 4):
        found = messages.inspect_cell(result, *cell)
        assert found["baseline"] == result.baseline
        others = result.values[~np.isnan(result.values)]
        assert found["of"] == len(others)
        value = result.values[cell]
        # Discs that change nothing have no rank.
        rank = None if np.isnan(value) or value == result.baseline else 1 + np.count_nonzero(others > value)
        assert found["rank"] == rank


def test_an_inspected_cell_of_a_scan_that_keeps_no_masks_has_the_rest():
    result = scan(keep_outputs=False)[-1].result
    found = messages.inspect_cell(result, 1, 1)
    assert found["prediction"] is None
    assert (found["distance"], found["of"]) == (result.values[1, 1], 12)


FIVE = np.stack([IMAGE[0] * (band + 1) for band in range(5)])


@pytest.mark.filterwarnings("ignore:the image has values up to")
@pytest.mark.parametrize(
    ("image", "display", "channel", "shown"),
    [
        # The bands that were asked for, where the disc is on one of them.
        (FIVE, (3, 2, 1), -1, (3, 2, 1)),
        (FIVE, (3, 2, 1), 2, (3, 2, 1)),
        (FIVE, (3, 2, 1), [0, 1], (3, 2, 1)),
        (FIVE, 4, [0, 4], 4),
        (FIVE, None, -1, None),
        (FIVE[:3], None, 1, None),
        (FIVE[:3], None, [0, 2], None),
        # Covered ones, where the disc would not be seen.
        (FIVE, (3, 2, 1), 4, 4),
        (FIVE, (3, 2, 1), [0, 4], 0),
        (FIVE, 0, [1, 2, 4], (1, 2, 4)),
        (FIVE, None, 3, 3),
        (FIVE, None, [1, 3], 1),
        (FIVE, None, [1, 3, 4], (1, 3, 4)),
    ],
)
def test_the_inspector_shows_a_covered_band(image, display, channel, shown):
    explainer = hdm.HausdorffDistanceMasks(32, 24)
    explainer.generate_masks(8, 8)
    result = explainer.explain(first, image, SEGMENT, channel=channel, fill=0, progress=False)
    found = messages.inspect_cell(result, 1, 1, Display(display))
    expected = Display(shown).view(image).to_rgb(result.occluded(1, 1))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(found["image"]))), expected)
    disc = result.grid.mask(1, 1)
    plain = Display(shown).view(image).to_rgb(image)
    assert (expected[disc] != plain[disc]).any()
