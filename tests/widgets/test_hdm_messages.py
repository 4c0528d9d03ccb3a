from types import SimpleNamespace

import numpy as np
import pytest

from hdm_widgets import hdm
from hdm_widgets.widgets.hdm.messages import map_message

IMAGE = np.full((1, 24, 32), 0.2, np.float32)
IMAGE[:, 6:16, 8:20] = 0.8
SEGMENT = IMAGE[0] > 0.5


def first(images):
    return images[:, 0]


def scan(model=first, segment=SEGMENT, **options):
    """All news of a scan of 3 x 4 cells, one at a time."""
    explainer = hdm.HausdorffDistanceMasks(32, 24)
    explainer.generate_masks(8, 8)
    return list(explainer.stream(model, IMAGE, segment, batch_size=1, **options))


def values(message):
    array = message["values"]
    assert array["dtype"] == "float32"
    return np.frombuffer(array["view"], np.float32).reshape(array["shape"])


def measured(message):
    return np.unpackbits(np.frombuffer(message["measured"], np.uint8), count=12).reshape(3, 4).astype(bool)


def test_before_the_first_disc_there_is_nothing_to_draw():
    message = map_message(scan()[0])
    assert np.isnan(values(message)).all()
    assert not measured(message).any()
    assert (message["done"], message["total"]) == (0, 12)


def test_what_is_not_measured_yet_has_the_nearest_value():
    updates = scan()
    whole = updates[-1].result.values
    message = map_message(updates[5])  # the first row, and one cell of the second
    np.testing.assert_array_equal(measured(message), np.reshape([1] * 5 + [0] * 7, (3, 4)))
    shown = values(message)
    np.testing.assert_array_equal(shown.ravel()[:5], whole.ravel()[:5].astype(np.float32))
    above = whole[0].astype(np.float32)
    np.testing.assert_array_equal(shown[1, 2:], above[2:])
    # Of the last row, the first cell is next to the second row's and the last below the first's.
    assert shown[2, 0] == np.float32(whole[1, 0])
    assert shown[2, 3] == above[3]


def test_a_whole_scan_has_nothing_filled_in():
    last = scan()[-1]
    message = map_message(last)
    assert measured(message).all()
    np.testing.assert_array_equal(values(message), last.result.values.astype(np.float32))


def test_cells_outside_the_region_are_never_drawn():
    updates = scan(region=(0, 0, 24, 4))  # discs of the first column
    wanted = np.repeat([[True, False, False, False]], 3, axis=0)
    for done, update in enumerate(updates):
        message = map_message(update)
        assert (message["done"], message["total"]) == (done, 3)
        assert measured(message).sum() == done
        np.testing.assert_array_equal(~np.isnan(values(message)), wanted & (done > 0))


def test_a_distance_that_is_not_defined_is_measured_all_the_same():
    updates = scan(lambda images: images[:, 0] * 0, empty="nan")
    message = map_message(updates[4])
    assert np.isnan(values(message)).all()
    assert measured(message).sum() == 4


def test_outside_the_region_is_no_estimate_even_if_the_baseline_is_not_defined():
    last = scan(lambda images: images[:, 0] * 0, empty="nan", region=(0, 0, 24, 4))[-1]
    assert np.isnan(values(map_message(last))).all()


class Plan:
    def __str__(self):
        return "The whole picture is run for every disc"


@pytest.mark.parametrize(("plan", "text"), [(None, ""), (Plan(), "The whole picture is run for every disc")])
def test_the_plan_is_sent_as_words(plan, text):
    last = scan()[-1]
    names = ("values", "measured", "baseline", "circle_size", "offset", "settings")
    result = SimpleNamespace(**{name: getattr(last.result, name) for name in names}, plan=plan)
    update = SimpleNamespace(
        result=result, done=last.done, total=last.total, stride=1, seconds=1.0, seconds_left=last.seconds_left
    )
    assert map_message(update)["plan"] == text
