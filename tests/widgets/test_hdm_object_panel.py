"""The HDM explorer's panel "Objects on objects"."""

import numpy as np
import pytest
from gate import SECONDS
from on_screen import OnScreen
from scipy import ndimage

IMAGE = np.full((1, 32, 32), 0.1, np.float32)
IMAGE[:, 3:9, 3:9] = 1
IMAGE[:, 20:28, 18:28] = 1
TRUTH = np.roll(IMAGE[0] > 0.5, 1, axis=1)
GRID = {"circle_size": 7, "offset": 4}


def bright(images):
    """Draws what is bright; the right object only where the left one is bright too."""
    drawn = images[:, 0].copy() if isinstance(images, np.ndarray) else images[:, 0].clone()
    drawn[:, :, 18:] *= images[:, :1, 5, 5].reshape(-1, 1, 1)
    return drawn


@pytest.fixture
def make(explore_hdm):
    """Explorers of one image, which have scanned it."""

    def maker(segment=TRUTH, **options):
        explorer = explore_hdm(bright, IMAGE, segment, **{**GRID, **options})
        assert explorer.wait(SECONDS)
        return explorer

    return maker


def matrix(explorer, by, on):
    by, on = (ndimage.label(mask, np.ones((3, 3)))[0] for mask in (by, on))
    return explorer.result.influence_matrix(by, on)


def test_the_panel_has_the_matrix_of_what_is_shown(make):
    explorer = make()
    prediction = explorer.result.baseline_mask
    wanted = matrix(explorer, TRUTH, prediction)
    assert wanted[0, 1] == 1  # covering the left one takes the right one
    assert wanted[1, 0] == 0
    assert (OnScreen(explorer)["_several_objects"], OnScreen(explorer)["_object_panel"]) == (True, {})
    reply, _ = OnScreen(explorer).ask("compare_objects")
    assert reply == {"error": None}
    assert explorer.wait(SECONDS)
    panel = OnScreen(explorer)["_object_panel"]
    assert (panel["status"], panel["by"], panel["on"]) == ("done", "truth", "prediction")
    np.testing.assert_array_equal(panel["values"], wanted)
    np.testing.assert_array_equal(explorer.object_influence.values, wanted)
    assert panel["covered"] == [[3, 4], [20, 19]]
    assert panel["changed"] == [[3, 3], [20, 18]]
    row, col = panel["cells"][0][1]
    flips = explorer.result.output(row, col) != prediction
    assert flips[20:28, 18:28].all()
    OnScreen(explorer).ask("hide_objects")
    assert OnScreen(explorer)["_object_panel"] == {}


def test_the_panel_stays_when_an_object_is_chosen_and_follows_the_next_scan(make):
    explorer = make()
    explorer.compare_objects()
    assert explorer.wait(SECONDS)
    before = OnScreen(explorer)["_object_panel"]
    OnScreen(explorer).set(explain_by="prediction", object=[20, 18], cell=before["cells"][0][1].tolist())
    assert explorer.wait(SECONDS)
    assert (explorer.explain_by, explorer.object) == ("prediction", (20, 18))
    assert OnScreen(explorer)["_object_panel"]["by"] == "truth"
    explorer.object = None
    explorer.offset = 3
    assert explorer.wait(SECONDS)
    wanted = matrix(explorer, TRUTH, explorer.result.baseline_mask)
    assert not np.array_equal(wanted, before["values"])
    np.testing.assert_array_equal(OnScreen(explorer)["_object_panel"]["values"], wanted)


def test_without_a_ground_truth_discs_lie_on_the_prediction(make):
    explorer = make(None)
    explorer.compare_objects()
    assert explorer.wait(SECONDS)
    prediction = explorer.result.baseline_mask
    panel = OnScreen(explorer)["_object_panel"]
    assert (panel["by"], panel["covered"]) == ("prediction", [[3, 3], [20, 18]])
    np.testing.assert_array_equal(panel["values"], matrix(explorer, prediction, prediction))


def test_the_panel_is_of_the_annotator_who_is_explained(make):
    explorer = make({"Anna": TRUTH, "Ben": TRUTH.T})
    explorer.explain_by = "Ben"
    explorer.compare_objects()
    assert explorer.wait(SECONDS)
    assert OnScreen(explorer)["_object_panel"]["by"] == "Ben"
    np.testing.assert_array_equal(
        explorer.object_influence.values, matrix(explorer, TRUTH.T, explorer.result.baseline_mask)
    )


@pytest.mark.parametrize(
    ("segment", "options"),
    [
        (TRUTH, {"keep_outputs": False}),
        (TRUTH, {"ignore": np.arange(32)[:, None] >= np.full((1, 32), 16)}),
    ],
)
def test_is_offered_where_there_are_several_objects(make, segment, options):
    explorer = make(segment, **options)
    assert OnScreen(explorer)["_several_objects"] is False


def test_is_hidden_where_one_object_is_left(make):
    explorer = make({"Anna": TRUTH, "none": np.zeros((32, 32), bool)})
    explorer.compare_objects()
    assert explorer.wait(SECONDS)
    explorer.explain_by = "none"
    assert explorer.wait(SECONDS)
    assert (OnScreen(explorer)["_several_objects"], OnScreen(explorer)["_object_panel"]) == (False, {})
    assert explorer.object_influence is None
