"""The HDM explorer's choices of a measure and of what masks are compared with."""

import numpy as np
import pytest
import torch
import traitlets
from gate import BEFORE, SECONDS, Gate, first
from on_screen import OnScreen, unpacked

from hdm_widgets import hdm
from hdm_widgets.hdm import questions

HEIGHT, WIDTH = 24, 32
IMAGE = np.full((1, HEIGHT, WIDTH), 0.2, np.float32)
IMAGE[:, 6:16, 8:20] = 0.8
# Elsewhere, so that discs make the mask better, and others worse; and smaller, so that areas differ both ways.
TRUTH = np.zeros((HEIGHT, WIDTH), bool)
TRUTH[8:18, 10:20] = True
NAMES = ("hausdorff", "hausdorff95", "mean_surface", "iou", "dice", "area", "flipped")
CELL = (2, 3)


@pytest.fixture
def make(explore_hdm):
    """Explorers of one image."""

    def maker(model=first, segment=TRUTH, **options):
        return explore_hdm(model, IMAGE, segment, **{"circle_size": 6, "offset": 4, **options})

    return maker


def scanned(segment=TRUTH, **options):
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(6, 4)
    return explainer.explain(first, IMAGE, segment, progress=False, **options)


def assert_shows(explorer, wanted):
    """All that the browser draws from is of this result."""
    result, screen = explorer.result, OnScreen(explorer)
    for shown in (result.values, screen["_map"]["values"]):
        np.testing.assert_array_equal(shown, wanted.values)
    assert result.settings == wanted.settings
    assert result.baseline == screen["_map"]["baseline"] == wanted.baseline
    np.testing.assert_array_equal(result.segment, wanted.segment)
    np.testing.assert_array_equal(unpacked(screen["_prediction"], HEIGHT, WIDTH), wanted.baseline_mask)
    about = screen["_about"]
    assert (screen["measure"], about["measure"]) == (wanted.settings.distance,) * 2
    assert about["comparedWith"] == screen["explain_by"] == wanted.settings.compared_with
    assert (about["label"], about["unit"], about["decimals"]) == (
        wanted.settings.name, wanted.settings.unit, wanted.settings.decimals,
    )  # fmt: skip
    assert about["truthEmpty"] == (not wanted.segment.any())
    if explorer.cell is not None:
        pinned = screen["_inspector"]
        assert pinned["distance"] == wanted.values[explorer.cell]
        assert pinned["baseline"] == wanted.baseline
        assert pinned["prediction"]["iou"] == wanted.iou(*explorer.cell)


@pytest.mark.parametrize("by_control", [False, True], ids=["assigned", "by the control"])
def test_every_question_is_answered_without_a_run(make, by_control):
    gate = Gate()
    gate.free()
    explorer = make(gate)
    assert explorer.wait(SECONDS)
    explorer.cell = CELL
    calls, scan = gate.calls, scanned()
    assert len({scan.measure(name).values.tobytes() for name in NAMES}) == len(NAMES)
    for explain_by, segment in (("prediction", "prediction"), ("truth", None)):
        for name in NAMES:
            asked = {"explain_by": explain_by, "measure": name}
            if by_control:
                OnScreen(explorer).set(**asked)
            else:
                for trait, value in asked.items():
                    setattr(explorer, trait, value)
            assert_shows(explorer, scan.measure(name, segment))
            # The truth's outline stays where it is.
            np.testing.assert_array_equal(unpacked(OnScreen(explorer)["_truth"], HEIGHT, WIDTH), TRUTH)
            assert explorer.status == "done"
    assert gate.calls == calls


@pytest.mark.parametrize("name", [*NAMES, "rows"])
def test_a_measure_to_begin_with(make, name):
    explorer = make(measure=name)
    assert explorer.measure == name
    assert explorer.wait(SECONDS)
    assert_shows(explorer, scanned(distance=name))


def test_the_distance_of_the_scan_is_the_measure_to_begin_with(make):
    explorer = make(distance="iou")
    assert explorer.wait(SECONDS)
    assert_shows(explorer, scanned(distance="iou"))
    explorer.measure = "hausdorff"
    assert_shows(explorer, scanned())


def test_a_scan_may_measure_something_else_than_is_shown_first(make):
    explorer = make(distance="rows", measure="iou")
    assert explorer.wait(SECONDS)
    assert_shows(explorer, scanned().measure("iou"))
    assert OnScreen(explorer)["_measures"][-1] == ["rows", "Row distance", True]
    explorer.measure = "rows"
    assert_shows(explorer, scanned(distance="rows"))


def test_lengths_have_the_spacing_whatever_is_shown_first(make):
    explorer = make(measure="iou", spacing=(2, 1))
    assert explorer.wait(SECONDS)
    scan = scanned(spacing=(2, 1))
    assert_shows(explorer, scan.measure("iou"))
    explorer.measure = "mean_surface"
    assert_shows(explorer, scan.measure("mean_surface"))
    assert OnScreen(explorer)["_about"]["unit"] == "units"


@pytest.mark.parametrize("explain_by", ["truth", "prediction"])
def test_the_measure_changes_while_the_scan_runs(make, explain_by):
    gate = Gate()
    explorer = make(gate, batch_size=4)
    gate.begin()
    # Before the model has run there is nothing to show but what it will be called.
    explorer.measure = "hausdorff95"
    assert OnScreen(explorer)["_about"]["label"] == "95 % Hausdorff distance"
    gate.let(BEFORE + 2)
    explorer.measure, explorer.explain_by = "mean_surface", explain_by
    wanted = scanned().measure("mean_surface", None if explain_by == "truth" else "prediction")
    shown, reached = OnScreen(explorer)["_map"], explorer.result.measured
    assert 0 < shown["done"] == reached.sum() < shown["total"]
    np.testing.assert_array_equal(shown["values"][reached], wanted.values[reached])
    gate.free()
    assert explorer.wait(SECONDS)
    assert_shows(explorer, wanted)
    # The next scan is shown so too.
    explorer.circle_size = 5
    assert explorer.wait(SECONDS)
    assert explorer.result.settings.distance == explorer.measure == "mean_surface"
    assert explorer.result.settings.compared_with == explain_by


def test_no_cell_is_measured_twice(make, monkeypatch):
    """What is measured while a scan runs is new each time."""
    measured = []

    class Counting:
        def __init__(self, *given, like=None):
            self._counted = original(*given)
            self.base_distance = self._counted.base_distance

        def distances(self, *windows):
            measured.extend((row, col, window.tobytes()) for row, col, window in zip(*windows, strict=True))
            return self._counted.distances(*windows)

    original = questions.windowed_measure
    monkeypatch.setattr(questions, "windowed_measure", Counting)
    gate = Gate()
    explorer = make(gate, batch_size=1)
    gate.begin()
    explorer.measure = "mean_surface"
    gate.let(BEFORE + 3)
    assert not explorer.result.complete
    before = len(measured)
    gate.free()
    assert explorer.wait(SECONDS)
    np.testing.assert_array_equal(explorer.result.values, scanned(distance="mean_surface").values)
    assert 0 < before < len(measured) == len(set(measured))


def test_without_a_truth_the_prediction_is_explained(explore_hdm):
    explorer = explore_hdm(first, IMAGE, circle_size=6, offset=4)
    assert explorer.wait(SECONDS)
    assert (explorer.explain_by, explorer.layers) == ("prediction", ["picture", "map", "prediction"])
    screen = OnScreen(explorer)
    assert (screen["_explained_by"], screen["_about"]["hasTruth"]) == (["prediction"], False)
    scan = scanned(None)
    assert_shows(explorer, scan)
    assert not unpacked(screen["_truth"], HEIGHT, WIDTH).any()
    for name in NAMES:
        explorer.measure = name
        assert_shows(explorer, scan.measure(name))
    with pytest.raises(traitlets.TraitError, match=r"no ground truth.*HDMExplorer\(model, image, segment\)"):
        explorer.explain_by = "truth"


def test_pixels_to_ignore_are_ignored_without_a_truth(make):
    ignored = np.zeros((HEIGHT, WIDTH), bool)
    ignored[:, :12] = True
    explorer = make(segment=None, ignore=ignored)
    ignored[:] = False  # the explorer has its own
    assert explorer.wait(SECONDS)
    np.testing.assert_array_equal(explorer.result.ignored, np.arange(WIDTH) < 12 + np.zeros((HEIGHT, 1)))
    np.testing.assert_array_equal(unpacked(OnScreen(explorer)["_ignored"], HEIGHT, WIDTH), explorer.result.ignored)


def classes(images):
    value = images[:, 0]
    return torch.stack([value < 0.1, (value >= 0.1) & (value < 0.5), value >= 0.5], 1).float()


def test_the_measure_of_another_class(explore_hdm):
    labels = np.where(TRUTH, 2, 1)
    explorer = explore_hdm(classes, IMAGE, labels, circle_size=6, offset=4, target="all", measure="iou")
    assert explorer.wait(SECONDS)
    for number in (2, 1):
        for explain_by, segment in (("prediction", "prediction"), ("truth", None)):
            explorer.target, explorer.explain_by = number, explain_by
            explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
            explainer.generate_masks(6, 4)
            alone = explainer.explain(classes, IMAGE, number == labels, target=number, progress=False)
            assert_shows(explorer, alone.measure("iou", segment))
            np.testing.assert_array_equal(unpacked(OnScreen(explorer)["_truth"], HEIGHT, WIDTH), number == labels)
    assert explorer.result.for_class(2).settings.distance == "iou"


class Own(hdm.HausdorffDistanceMasks):
    def calculate_distance(self, output, segment):
        return float(np.abs(output - segment).sum())


def test_a_distance_of_ones_own_is_a_measure_too(make):
    explorer = make(explainer=Own(WIDTH, HEIGHT))
    assert explorer.wait(SECONDS)
    own = explorer.result.values.copy()
    assert explorer.measure == "custom"
    assert OnScreen(explorer)["_measures"][-1] == ["custom", "Your own distance", True]
    explorer.measure = "iou"
    np.testing.assert_array_equal(explorer.result.values, scanned(distance="iou").values)
    explorer.measure = "custom"
    np.testing.assert_array_equal(explorer.result.values, own)


def test_without_masks_there_is_nothing_to_choose(make):
    explorer = make(keep_outputs=False, measure="iou")
    assert explorer.wait(SECONDS)
    np.testing.assert_array_equal(explorer.result.values, scanned(distance="iou").values)
    screen = OnScreen(explorer)
    assert (screen["_measures"], screen["_explained_by"]) == ([["iou", "1 - IoU", False]], ["truth"])
    for trait, value in (("measure", "dice"), ("explain_by", "prediction")):
        with pytest.raises(traitlets.TraitError, match="keep_outputs=True"):
            setattr(explorer, trait, value)


REFUSED = {
    "no measure": ({}, "measure", "overlap", "'flipped', 'rows', got 'overlap'"),
    "rows of masks": ({"distance": "hausdorff"}, "measure", "rows", "raw output.*distance='rows'"),
    "no distance of one's own": ({}, "measure", "custom", "raw output.*calculate_distance"),
    "nothing to compare with": ({}, "explain_by", "object", "explain_by must be one of 'truth', 'prediction'"),
    "rows by the prediction": ({"distance": "rows"}, "explain_by", "prediction", "against the truth only"),
}


@pytest.mark.parametrize(("options", "trait", "value", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_measured_is_refused(make, options, trait, value, message):
    explorer = make(**options)
    assert explorer.wait(SECONDS)
    before = explorer.result.settings
    with pytest.raises(traitlets.TraitError, match=message):
        setattr(explorer, trait, value)
    assert (explorer.result.settings, explorer.status, explorer.error) == (before, "done", "")
    with pytest.raises(ValueError, match=message):
        make(**{**options, trait: value})


def test_a_measure_that_turns_out_to_be_undefined_gives_way_to_the_scan_s_own(explore_hdm):
    """Under empty="raise", where a disc covers the whole segment there is an IoU, but no distance."""
    image = np.full((1, HEIGHT, WIDTH), 0.2, np.float32)
    image[:, 9:11, 9:11] = 0.8
    gate = Gate()
    options = {"circle_size": 6, "offset": 4, "empty": "raise", "distance": "iou", "batch_size": 1}
    explorer = explore_hdm(gate, image, image[0] > 0.5, **options)
    gate.begin()
    explorer.measure = "hausdorff"
    gate.free()
    assert explorer.wait(SECONDS)
    assert (explorer.status, explorer.measure, explorer.explain_by) == ("done", "iou", "truth")
    assert "empty" in explorer.error
    assert explorer.result.complete
    with pytest.raises(traitlets.TraitError, match="empty"):
        explorer.measure = "hausdorff"
    explorer.measure = "dice"
    assert (explorer.measure, explorer.error) == ("dice", "")


def test_the_rank_of_an_area_counts_too_little_as_much_as_too_much(make):
    explorer = make(measure="area")
    assert explorer.wait(SECONDS)
    values = explorer.result.values
    assert (values < 0).any()
    assert (values > 0).any()
    cell = tuple(map(int, np.unravel_index(values.argmin(), values.shape)))
    explorer.cell = cell
    assert OnScreen(explorer)["_inspector"]["rank"] == 1 + np.count_nonzero(np.abs(values) > abs(values[cell]))


PAIRED = {"hausdorff": True, "mean_surface": True, "iou": False, "area": False, "flipped": False}


@pytest.mark.parametrize(("name", "paired"), PAIRED.items())
def test_two_pixels_are_shown_for_distances_alone(make, name, paired):
    explorer = make(measure=name)
    assert explorer.wait(SECONDS)
    explorer.cell = CELL
    assert (OnScreen(explorer)["_inspector"]["prediction"]["pair"] is not None) == paired
