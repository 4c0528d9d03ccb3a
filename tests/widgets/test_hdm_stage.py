"""What is asked on the HDM explorer's stage: one object, one annotator's truth, a brushed region."""

import numpy as np
import pytest
import torch
import traitlets
from gate import BEFORE, SECONDS, Gate, first
from on_screen import OnScreen, unpacked

from hdm_widgets import hdm
from hdm_widgets.widgets.hdm.brush import from_runs, to_runs

HEIGHT, WIDTH = 24, 32
SIZE = (HEIGHT, WIDTH)
ROWS, COLS = np.indices(SIZE)
IMAGE = np.full((1, HEIGHT, WIDTH), 0.2, np.float32)
IMAGE[:, 4:11, 3:11] = 0.8
IMAGE[:, 13:22, 18:29] = 0.9
# Two objects, drawn by two people.
ANNA, BEN = np.zeros((2, *SIZE), bool)
ANNA[5:12, 4:12] = True
ANNA[12:20, 17:28] = True
BEN[3:10, 3:10] = True
BEN[14:23, 19:30] = True
REGION = (abs(ROWS - 16) < 3) & (abs(COLS - 22) < 4)
INSIDE, OUTSIDE = (16, 22), (0, 0)


@pytest.fixture
def make(explore_hdm):
    """Explorers of one image that have ended their scan."""

    def maker(segment=ANNA, model=first, wait=True, **options):
        explorer = explore_hdm(model, IMAGE, segment, **{"circle_size": 6, "offset": 4, **options})
        assert not wait or explorer.wait(SECONDS)
        return explorer

    return maker


def scanned(segment=ANNA, **options):
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(6, 4)
    return explainer.explain(first, IMAGE, segment, progress=False, **options)


def assert_same(explorer, wanted):
    result, screen = explorer.result, OnScreen(explorer)
    for shown in (result.values, screen["_map"]["values"]):
        np.testing.assert_array_equal(shown, wanted.values)
    np.testing.assert_array_equal(result.segment, wanted.segment)
    assert result.baseline == screen["_map"]["baseline"] == wanted.baseline


# -- one object ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["truth", "prediction"])
@pytest.mark.parametrize("by_click", [False, True], ids=["assigned", "clicked"])
def test_an_object_is_explained_without_a_run(make, of, by_click):
    gate = Gate()
    gate.free()
    explorer = make(model=gate)
    calls, scan = gate.calls, scanned()
    if by_click:
        # As one change, as the screen sends them.
        OnScreen(explorer).set(explain_by=of, object=list(INSIDE))
    else:
        explorer.explain_by = of
        explorer.object = INSIDE
    assert (explorer.explain_by, explorer.object) == (of, INSIDE)
    assert_same(explorer, scan.for_object(*INSIDE, of=of))
    explorer.measure = "iou"
    assert_same(explorer, scan.measure("iou").for_object(*INSIDE, of=of))
    screen = OnScreen(explorer)
    # The stage shows all objects, and stripes over the pixels that are nearer to others.
    np.testing.assert_array_equal(unpacked(screen["_truth"], *SIZE), ANNA)
    assert screen["_ignored"] == b""
    np.testing.assert_array_equal(unpacked(screen["_nearer_to_others"], *SIZE), scan.for_object(*INSIDE, of=of).ignored)
    explorer.object = None
    assert screen["_nearer_to_others"] == b""
    assert_same(explorer, scan.measure("iou", None if of == "truth" else "prediction"))
    assert gate.calls == calls


def test_another_mask_has_all_its_objects_again(make):
    explorer = make()
    explorer.object = INSIDE
    explorer.explain_by = "prediction"
    assert explorer.object is OnScreen(explorer)["object"] is None
    assert_same(explorer, scanned().measure("hausdorff", "prediction"))


def test_where_there_is_no_object_there_is_an_error(make):
    explorer = make()
    explorer.object = INSIDE
    for pixel, message in ((OUTSIDE, "belongs to none of the 2 objects of the ground truth"), ((99, 0), "24 x 32 px")):
        with pytest.raises(traitlets.TraitError, match=message):
            explorer.object = pixel
    assert explorer.object == INSIDE
    assert_same(explorer, scanned().for_object(*INSIDE))


def test_an_object_is_of_masks(make):
    with pytest.raises(traitlets.TraitError, match="choose another measure first"):
        make(distance="rows").object = INSIDE
    with pytest.raises(traitlets.TraitError, match="keep_outputs=True"):
        make(keep_outputs=False).object = INSIDE


def test_ignored_pixels_are_not_those_nearer_to_other_objects(make):
    ignored = ROWS < 9
    explorer = make(ignore=ignored)
    explorer.object = INSIDE
    screen, result = OnScreen(explorer), scanned(ignore=ignored).for_object(*INSIDE)
    np.testing.assert_array_equal(unpacked(screen["_ignored"], *SIZE), ignored)
    nearer = unpacked(screen["_nearer_to_others"], *SIZE)
    np.testing.assert_array_equal(nearer, result.ignored & ~ignored)
    assert nearer.any()


def test_an_object_lasts_over_scans(make):
    explorer = make()
    explorer.object = INSIDE
    explorer.circle_size = 5
    assert explorer.wait(SECONDS)
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(5, 4)
    scan = explainer.explain(first, IMAGE, ANNA, progress=False)
    assert_same(explorer, scan.for_object(*INSIDE))


def test_an_object_where_there_is_none_gives_way_when_the_scan_knows(make):
    gate = Gate()
    explorer = make(model=gate, wait=False, explain_by="prediction")
    gate.begin()
    explorer.object = OUTSIDE
    gate.free()
    assert explorer.wait(SECONDS)
    assert (explorer.status, explorer.object) == ("done", None)
    assert "belongs to none" in explorer.error


# -- several ground truths ------------------------------------------------------------------------------


def test_the_truths_of_several_annotators(make):
    gate = Gate()
    gate.free()
    explorer = make({"Anna": ANNA, "Ben": BEN}, model=gate)
    screen, calls, scan = OnScreen(explorer), gate.calls, scanned()
    assert screen["_explained_by"] == ["Anna", "Ben", "prediction"]
    for name, truth in (("Ben", BEN), ("prediction", scan.baseline_mask), ("Anna", ANNA)):
        explorer.explain_by = name
        assert_same(explorer, scan.measure("hausdorff", truth))
        assert screen["_about"]["comparedWith"] == name
        np.testing.assert_array_equal(unpacked(screen["_truth"], *SIZE), BEN if name == "Ben" else ANNA)
    explorer.explain_by = "Ben"
    explorer.object = INSIDE
    assert_same(explorer, scan.measure("hausdorff", BEN).for_object(*INSIDE))
    assert gate.calls == calls
    with pytest.raises(
        traitlets.TraitError, match="explain_by must be one of 'Anna', 'Ben', 'prediction', got 'truth'"
    ):
        explorer.explain_by = "truth"


def test_a_truth_to_begin_with(make):
    explorer = make({"Anna": ANNA, "Ben": BEN}, explain_by="Ben", measure="dice")
    assert_same(explorer, scanned(BEN, distance="dice"))
    assert OnScreen(explorer)["_about"]["comparedWith"] == "Ben"


def test_what_an_annotator_left_open_does_not_count(make):
    void = COLS > 25
    explorer = make({"Anna": ANNA, "Ben": np.ma.masked_array(BEN, void)}, explain_by="Ben")
    assert_same(explorer, scanned(BEN, ignore=void))
    np.testing.assert_array_equal(unpacked(OnScreen(explorer)["_ignored"], *SIZE), void)
    explorer.explain_by = "Anna"
    assert OnScreen(explorer)["_ignored"] == b""


def test_class_maps_of_several_annotators(make):
    def classes(images):
        return torch.stack([1 - images[:, 0], images[:, 0]], dim=1)

    explorer = make({"Anna": ANNA.astype(int), "Ben": BEN.astype(int)}, model=classes, target="all", explain_by="Ben")
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(6, 4)
    scan = explainer.explain(classes, IMAGE, BEN.astype(int), progress=False, target="all")
    for number in (0, 1):
        explorer.target = number
        assert_same(explorer, scan.for_class(number))


@pytest.mark.parametrize(
    ("truths", "message"),
    [
        ({}, "at least one"),
        ({"truth": ANNA}, "other than 'truth' and 'prediction', got 'truth'"),
        ({1: ANNA}, "must be texts.*got 1"),
        ({"Anna": ANNA, "Ben": BEN[:5]}, r"expected a segment of the image's size \(24, 32\), got shape \(5, 32\)"),
    ],
)
def test_names_and_masks_are_checked(make, truths, message):
    with pytest.raises(ValueError, match=message):
        make(truths)


# -- layers ---------------------------------------------------------------------------------------------


def test_the_outline_of_what_is_explained_is_shown(make):
    explorer = make()
    assert explorer.layers == ["picture", "map", "truth"]
    explorer.explain_by = "prediction"
    assert explorer.layers == ["picture", "map", "truth", "prediction"]
    explorer.layers = ["map"]
    explorer.measure = "iou"
    assert explorer.layers == ["map"]
    explorer.explain_by = "truth"
    assert explorer.layers == ["map", "truth"]
    assert make(explain_by="prediction").layers == ["picture", "map", "prediction"]


# -- a brushed region -------------------------------------------------------------------------------------


MASKS = {
    "a region": REGION,
    "empty": np.zeros(SIZE, bool),
    "full": np.ones(SIZE, bool),
    "random": np.random.default_rng(0).random(SIZE) > 0.5,
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_region_and_its_runs(mask):
    runs = to_runs(mask)
    np.testing.assert_array_equal(from_runs(runs, *SIZE), mask)
    assert all(type(value) is int for value in runs)


def test_runs_by_hand():
    mask = np.array([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    assert to_runs(mask) == [0, 1, 3, 0, 4, 5, 2, 0, 5]


def change_on(region, result):
    """The fraction of the change from the baseline that is painted on a region, where large changes lie on top."""
    painted, change = np.zeros(SIZE), abs(result.values - result.baseline)
    for cell in sorted(np.ndindex(change.shape), key=lambda cell: change[cell]):
        painted[result.grid.mask(*cell)] = change[cell]
    return pytest.approx(painted[region].sum() / painted.sum(), rel=1e-12)


@pytest.mark.parametrize("empty", ["diagonal", "inf", "nan"])
def test_the_change_on_a_region_is_not_the_fraction_of_its_area(make, empty):
    """Nothing changes but where the second object is: what all cells have in common does not count."""

    def second(images):
        return torch.where(torch.as_tensor(ROWS > 11), images[:, 0], torch.as_tensor(1.0 * ANNA))

    explorer = make(model=second, empty=empty)
    explorer.region = ROWS < 8
    assert OnScreen(explorer)["_influence"]["change"] == 0
    explorer.region = ROWS >= 8
    assert OnScreen(explorer)["_influence"]["change"] == 1


@pytest.mark.parametrize("by_brush", [False, True], ids=["assigned", "brushed"])
def test_the_influence_on_a_region(make, by_brush):
    gate = Gate()
    gate.free()
    explorer = make(model=gate)
    calls, scan, screen = gate.calls, scanned(), OnScreen(explorer)
    assert explorer.region is explorer.influence is None
    assert screen["_influence"] == {}
    if by_brush:
        screen.set(brush=to_runs(REGION))
    else:
        explorer.region = REGION
    np.testing.assert_array_equal(explorer.region, REGION)
    np.testing.assert_array_equal(explorer.influence, scan.influence(REGION))
    shown = screen["_influence"]
    np.testing.assert_array_equal(shown["values"], scan.influence(REGION).astype(np.float32))
    assert shown["change"] == change_on(REGION, scan)
    # The map that it is a fraction of may change.
    explorer.result_type = "worse"
    assert screen["_influence"]["change"] == scan.relevance_mass_accuracy(REGION, "worse")
    explorer.measure, explorer.result_type = "iou", "raw"
    assert screen["_influence"]["change"] == change_on(REGION, scan.measure("iou"))
    explorer.measure = "area"
    assert screen["_influence"]["change"] == change_on(REGION, scan.measure("area"))
    # Other objects are part of the image all the same.
    explorer.object = (8, 8)
    np.testing.assert_array_equal(explorer.influence, scan.influence(REGION))
    explorer.region = None
    assert (explorer.brush, explorer.region, explorer.influence, screen["_influence"]) == ([], None, None, {})
    assert gate.calls == calls


def test_the_influence_grows_with_the_scan(make):
    gate = Gate()
    explorer = make(model=gate, wait=False, batch_size=4)
    explorer.region = REGION
    assert explorer.influence is None
    gate.begin()
    gate.let(BEFORE + 2)
    explorer.measure = "iou"
    partly, wanted = explorer.influence, scanned().influence(REGION)
    reached = explorer.result.measured
    np.testing.assert_array_equal(np.isnan(partly), ~reached)
    np.testing.assert_array_equal(partly[reached], wanted[reached])
    assert OnScreen(explorer)["_influence"]["change"] is None
    gate.free()
    assert explorer.wait(SECONDS)
    shown = OnScreen(explorer)["_influence"]
    np.testing.assert_array_equal(shown["values"], wanted.astype(np.float32))
    assert shown["change"] == change_on(REGION, scanned(distance="iou"))


def test_a_region_without_a_pixel_that_counts_has_no_influence(make):
    explorer = make(ignore=REGION)
    explorer.region = REGION
    assert explorer.influence is None
    assert OnScreen(explorer)["_influence"] == {}
    explorer.region = REGION | (ROWS < 2)
    np.testing.assert_array_equal(explorer.influence, scanned(ignore=REGION).influence(ROWS < 2))


def test_without_masks_a_region_has_no_influence(make):
    explorer = make(keep_outputs=False)
    explorer.region = REGION
    assert explorer.influence is None


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("brush", [0, 1], "list of runs"),
        ("brush", [24, 0, 1], r"24 x 32 px, got row 24, pixels 0 to 1"),
        ("brush", [0, 5, 5], "pixels 5 to 5"),
        ("brush", [0, 5, 33], "pixels 5 to 33"),
        ("region", np.ones((3, 3), bool), r"region of the image's size \(24, 32\), got \(3, 3\)"),
    ],
)
def test_what_is_no_region_is_refused(make, trait, value, message):
    explorer = make()
    explorer.region = REGION
    with pytest.raises(ValueError, match=message):
        setattr(explorer, trait, value)
    np.testing.assert_array_equal(explorer.region, REGION)


# -- a proposal -----------------------------------------------------------------------------------------


def test_another_measure_is_proposed_when_the_scan_has_ended(explore_hdm):
    image, truth = IMAGE.copy(), IMAGE[0] > 0.5
    image[:, 23, 0] = 1
    gate = Gate()
    explorer = explore_hdm(gate, image, truth, circle_size=4, offset=3, batch_size=8)
    gate.begin()
    gate.let(BEFORE + 1)
    screen = OnScreen(explorer)
    assert screen["_proposal"] == {}
    gate.free()
    assert explorer.wait(SECONDS)
    assert screen["_proposal"]["measure"] == "hausdorff95"
    assert screen["_proposal"]["reason"].startswith("One speck of 1 px in the prediction decides ")
    explorer.measure = screen["_proposal"]["measure"]
    assert screen["_proposal"] == {}
    explorer.measure = "hausdorff"
    assert screen["_proposal"]["measure"] == "hausdorff95"
    # The object alone has no speck.
    explorer.object = INSIDE
    assert screen["_proposal"] == {}
