"""The HDM explorer's choice of class."""

import numpy as np
import pytest
import torch
import traitlets
from gate import BEFORE, SECONDS, Gate
from on_screen import OnScreen, unpacked

from hdm_widgets import hdm

HEIGHT, WIDTH = 24, 32
IMAGE = np.full((1, HEIGHT, WIDTH), 0.5, np.float32)
IMAGE[:, 6:16, 18:28] = 0.9
# Class 2 is the bright square, class 1 all else; class 0 appears under a disc.
TRUTH = np.where(IMAGE[0] > 0.75, 2, 1)
TRUTH[:, :4] = 0


def maps(images):
    value = images[:, 0]
    return torch.stack([value < 0.25, (value >= 0.25) & (value < 0.75), value >= 0.75], 1).float()


def numbers(images):
    return maps(images).argmax(1)


@pytest.fixture
def make(explore_hdm):
    """Explorers of one image."""

    def maker(model=maps, segment=TRUTH, **options):
        return explore_hdm(model, IMAGE, segment, **{"circle_size": 6, "offset": 4, "target": "all", **options})

    return maker


def of_class(number):
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(6, 4)
    return explainer.explain(maps, IMAGE, number == TRUTH, target=number, progress=False)


def assert_shows(explorer, number):
    """All that the browser draws from is of one class."""
    wanted, screen = of_class(number), OnScreen(explorer)
    assert screen["target"] == number
    np.testing.assert_array_equal(screen["_map"]["values"], wanted.values)
    assert screen["_map"]["baseline"] == wanted.baseline
    np.testing.assert_array_equal(unpacked(screen["_truth"], HEIGHT, WIDTH), wanted.segment)
    np.testing.assert_array_equal(unpacked(screen["_prediction"], HEIGHT, WIDTH), wanted.baseline_mask)
    np.testing.assert_array_equal(explorer.result.values, wanted.values)
    assert screen["_about"]["truthEmpty"] == (not wanted.segment.any())
    if explorer.cell is not None:
        pinned = screen["_inspector"]
        assert pinned["distance"] == wanted.values[explorer.cell]
        assert pinned["prediction"]["iou"] == wanted.iou(*explorer.cell)
        np.testing.assert_array_equal(
            unpacked(pinned["prediction"]["mask"], HEIGHT, WIDTH), wanted.output(*explorer.cell)
        )


@pytest.mark.parametrize("by_control", [False, True], ids=["assigned", "by the control"])
def test_another_class_is_shown_without_a_run(make, by_control):
    gate = Gate(maps)
    gate.free()
    explorer = make(gate)
    assert explorer.wait(SECONDS)
    calls = gate.calls
    explorer.cell = (2, 5)
    assert explorer.target == 1  # the first besides 0
    assert OnScreen(explorer)["_classes"] == [[0, "0"], [1, "1"], [2, "2"]]
    assert_shows(explorer, 1)
    for number in (2, 0, 1):
        if by_control:
            OnScreen(explorer).set(target=number)
        else:
            explorer.target = number
        assert_shows(explorer, number)
        assert explorer.status == "done"
    assert gate.calls == calls


def test_the_class_changes_while_the_scan_runs(make):
    gate = Gate(maps)
    explorer = make(gate, batch_size=4)
    gate.begin()
    gate.let(BEFORE + 2)
    explorer.target = 2
    shown = OnScreen(explorer)["_map"]
    reached = explorer.result.measured
    assert 0 < shown["done"] == reached.sum() < shown["total"]
    np.testing.assert_array_equal(shown["values"][reached], of_class(2).values[reached])
    assert shown["baseline"] == of_class(2).baseline
    gate.free()
    assert explorer.wait(SECONDS)
    assert_shows(explorer, 2)
    # The next scan shows the same class.
    explorer.offset = 5
    assert explorer.wait(SECONDS)
    assert explorer.result.settings.target == explorer.target == 2


def test_a_class_may_be_chosen_before_the_model_has_run(make):
    gate = Gate(maps)
    explorer = make(gate)
    gate.begin()
    assert OnScreen(explorer)["_classes"] == [[1, "1"]]
    explorer.target = 2
    gate.free()
    assert explorer.wait(SECONDS)
    assert_shows(explorer, 2)


def test_a_class_that_turns_out_not_to_exist_gives_way_to_the_first(make):
    gate = Gate(maps)
    explorer = make(gate)
    gate.begin()
    explorer.target = 7
    gate.free()
    assert explorer.wait(SECONDS)
    assert_shows(explorer, 1)
    assert explorer.error == "there is no class 7; the classes are 0, 1, 2"
    explorer.target = 2
    assert explorer.error == ""


NAMES = {
    "in order": (["road", "field", "house"], ["road", "field", "house"]),
    "by number": ({2: "house", 0: "road"}, ["road", "1", "house"]),
}


@pytest.mark.parametrize(("names", "wanted"), NAMES.values(), ids=NAMES.keys())
@pytest.mark.parametrize("model", [maps, numbers])
def test_classes_have_names(make, names, wanted, model):
    explorer = make(model, class_names=names)
    assert explorer.wait(SECONDS)
    assert OnScreen(explorer)["_classes"] == [[number, name] for number, name in enumerate(wanted)]


def test_names_for_other_classes_are_an_error(make):
    explorer = make(class_names=["road", "house"])
    assert explorer.wait(SECONDS)
    assert (explorer.status, explorer.error) == (
        "error", "class_names has 2 names, but the model returned 3 classes",
    )  # fmt: skip


REFUSED = {
    "one text": ({"class_names": "abc"}, TypeError),
    "no texts": ({"class_names": [1, 2, 3]}, TypeError),
    "texts as numbers": ({"class_names": {"0": "road"}}, TypeError),
    "one class": ({"class_names": ["road"], "target": 1, "segment": TRUTH == 1}, ValueError),
}


@pytest.mark.parametrize(("options", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_wrong_names_are_refused(make, options, error):
    with pytest.raises(error, match="class_names"):
        make(**options)


def test_one_class_leaves_nothing_to_choose(make):
    explorer = make(target=2, segment=TRUTH == 2)
    assert explorer.wait(SECONDS)
    assert (explorer.target, OnScreen(explorer)["_classes"]) == (2, [])
    with pytest.raises(traitlets.TraitError, match=r"HDMExplorer\(\.\.\., target='all'\) has all of them"):
        explorer.target = 1
    assert explorer.target == 2


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_class_that_does_not_exist_is_refused(make, wrong):
    explorer = make()
    assert explorer.wait(SECONDS)
    with pytest.raises(traitlets.TraitError, match=f"there is no class {wrong}; the classes are 0, 1, 2"):
        explorer.target = wrong
    assert_shows(explorer, 1)


def test_an_empty_mask_of_another_class_does_not_end_the_scan(make):
    """Under empty="raise", class 2 is gone in the cell that covers all of it: only that class has no map."""
    image = IMAGE[0] > 0.75
    small = np.where(image & (np.arange(WIDTH) < 20) & (np.arange(HEIGHT)[:, None] < 8), 2, 1)
    explorer = make(lambda images: maps(images.where(torch.tensor(small == 2), images.clamp(max=0.5))),
                    segment=small, empty="raise")  # fmt: skip
    assert explorer.wait(SECONDS)
    assert (explorer.status, explorer.target) == ("done", 1)
    with pytest.raises(traitlets.TraitError, match="empty"):
        explorer.target = 2
    assert (explorer.status, explorer.target, explorer.error) == ("done", 1, "")
