"""The HDM explorer's panel that compares fills, and the map of what matters beyond chance."""

import threading

import numpy as np
import pytest
import torch
import traitlets
from gate import SECONDS, Gate
from on_screen import OnScreen, unpacked

from hdm_widgets import hdm

IMAGE = 0.2 * torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0)).numpy()
IMAGE[:, 8:12, 8:12] = 1
TRUTH = IMAGE[0] > 0.5
GRID = {"circle_size": 5, "offset": 4}


def bright(images):
    return images[:, 0]


@pytest.fixture
def make(explore_hdm):
    """Explorers of one image, which have scanned it."""

    def maker(model=bright, segment=TRUTH, **options):
        explorer = explore_hdm(model, IMAGE, segment, **{**GRID, **options})
        assert explorer.wait(SECONDS)
        return explorer

    return maker


def compared(segment=TRUTH, **options):
    return hdm.compare_fills(bright, IMAGE, segment, **{**GRID, **options}, progress=False)


def assert_found(explorer, wanted):
    """What Python gives and what the browser draws from is this comparison."""
    found, panel = explorer.fill_comparison, OnScreen(explorer)["_fill_panel"]
    np.testing.assert_array_equal(found.significant, wanted.significant)
    assert (found.text, found.noise_floor) == (wanted.text, wanted.noise_floor)
    assert panel["status"] == "done"
    assert [one["fill"] for one in panel["fills"]] == list(wanted.results)
    for one, result in zip(panel["fills"], wanted.results.values(), strict=True):
        np.testing.assert_array_equal(one["map"]["values"], result.values)
        assert one["map"]["baseline"] == result.baseline
    assert panel["agreement"] == [
        [*pair, one.value, one.low, one.high] for pair, one in wanted.agreement.items() if not np.isnan(one.value)
    ]
    np.testing.assert_array_equal(unpacked(panel["significant"], *wanted.significant.shape), wanted.significant)
    assert [one["note"] for one in panel["fills"]] == [wanted.left_out_notes.get(fill, "") for fill in wanted.results]
    assert (panel["text"], panel["noiseFloor"]) == (wanted.finding, wanted.noise_floor)
    assert (panel["count"], panel["of"]) == (wanted.significant.sum(), 36)


def test_compares_in_the_background_and_keeps_the_scan(make):
    explorer = make()
    before = explorer.result
    assert (explorer.fill_comparison, OnScreen(explorer)["_fill_panel"]) == (None, {})
    reply, _ = OnScreen(explorer).ask("compare_fills")
    assert reply == {"error": None}
    assert explorer.wait(SECONDS)
    assert_found(explorer, compared())
    assert compared().significant.any()
    assert explorer.result is before
    assert (explorer.status, explorer.fill) == ("done", "minimum")


def test_the_maps_of_fills_come_one_by_one(make):
    gate = Gate(bright)
    gate.free()
    explorer = make(gate, batch_size=1, inference="full")
    told = []
    explorer.observe(lambda change: told.append(change["new"].get("fills", [])), names="_fill_maps")
    explorer.compare_fills()
    assert explorer.wait(SECONDS)
    fills = list(explorer.fill_comparison.results)
    assert [[one["fill"] for one in maps] for maps in told] == [*(fills[: at + 1] for at in range(len(fills))), []]
    for one, result in zip(told[-2], explorer.fill_comparison.results.values(), strict=True):
        np.testing.assert_array_equal(one["map"]["values"], result.values)


def test_the_maps_of_a_comparison_that_is_cancelled_go(make):
    gate = Gate(bright)
    gate.free()
    explorer = make(gate, batch_size=1, inference="full")
    seen = threading.Event()
    explorer.observe(lambda change: seen.set(), names="_fill_maps")
    explorer.compare_fills()
    assert seen.wait(SECONDS)
    explorer._fill_comparison.cancel()
    assert explorer.wait(SECONDS)
    assert OnScreen(explorer)["_fill_maps"] == {}
    assert OnScreen(explorer)["_fill_panel"]["status"] in ("cancelled", "done")


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        ({"measure": "iou"}, {"distance": "iou"}),
        ({"measure": "flipped", "explain_by": "prediction"}, {"distance": "flipped"}),
        ({"shape": "square"}, {"shape": "square"}),
        ({"circle_size": 4}, {"circle_size": 4}),
        ({"fill": "mean"}, {}),
    ],
)
def test_compares_what_is_shown(make, shown, wanted):
    explorer = make()
    for name, value in shown.items():
        setattr(explorer, name, value)
    assert explorer.wait(SECONDS)
    explorer.compare_fills()
    assert explorer.wait(SECONDS)
    assert_found(explorer, compared(**wanted))


def test_compares_the_class_that_is_shown(make):
    def classes(images):
        return torch.stack([1 - images[:, 0], images[:, 0]], 1)

    explorer = make(classes, TRUTH.astype(int), target="all")
    explorer.target = 0
    explorer.compare_fills()
    assert explorer.wait(SECONDS)
    wanted = hdm.compare_fills(classes, IMAGE, ~TRUTH, **GRID, target=0, progress=False)
    np.testing.assert_array_equal(explorer.fill_comparison.results["blur"].values, wanted.results["blur"].values)


def test_what_matters_beyond_chance_is_a_result_type_once_fills_are_compared(make):
    explorer = make()
    with pytest.raises(traitlets.TraitError, match=r"call compare_fills\(\) first"):
        explorer.result_type = "significant"
    explorer.compare_fills()
    assert explorer.wait(SECONDS)
    assert OnScreen(explorer)["_has_significance"] is True
    OnScreen(explorer).set(result_type="significant")
    assert explorer.result_type == "significant"
    # Of another fill it is the same comparison.
    explorer.fill = "mean"
    assert explorer.wait(SECONDS)
    assert explorer.result_type == "significant"
    explorer.brush = [8, 8, 12]
    assert explorer.region.sum() == 4


@pytest.mark.parametrize(
    "change", [{"measure": "iou"}, {"offset": 6}, {"explain_by": "prediction"}, {"shape": "square"}]
)
def test_of_anything_else_it_is_not_known(make, change):
    explorer = make()
    explorer.compare_fills()
    assert explorer.wait(SECONDS)
    before = {name: getattr(explorer, name) for name in change}
    explorer.result_type = "significant"
    OnScreen(explorer).set(**change)
    assert explorer.wait(SECONDS)
    assert (explorer.result_type, OnScreen(explorer)["_has_significance"]) == ("raw", False)
    assert explorer.fill_comparison is not None
    OnScreen(explorer).set(**before)
    assert explorer.wait(SECONDS)
    assert OnScreen(explorer)["_has_significance"] is True


def test_can_be_cancelled_and_told_how_far_it_is(make):
    gate = Gate(bright)
    gate.free()
    explorer = make(gate)
    gate.hold()
    explorer.compare_fills()
    gate.begin()
    panel = OnScreen(explorer)["_fill_panel"]
    assert (panel["status"], panel["done"]) == ("running", 0)
    assert explorer.status == "done"
    OnScreen(explorer).ask("cancel_fills")
    assert OnScreen(explorer)["_fill_panel"] == {"status": "cancelled"}
    gate.free()
    assert explorer.wait(SECONDS)
    assert OnScreen(explorer)["_fill_panel"] == {"status": "cancelled"}
    assert (explorer.fill_comparison, explorer.status) == (None, "done")
    OnScreen(explorer).ask("hide_fills")
    assert OnScreen(explorer)["_fill_panel"] == {}


def test_a_comparison_that_is_cancelled_leaves_the_one_before(make):
    gate = Gate(bright)
    gate.free()
    explorer = make(gate)
    explorer.compare_fills()
    assert explorer.wait(SECONDS)
    before, shown = explorer.fill_comparison, OnScreen(explorer)["_fill_panel"]
    explorer.offset = 6
    assert explorer.wait(SECONDS)
    gate.hold()
    explorer.compare_fills()
    gate.begin()
    assert OnScreen(explorer)["_fill_panel"]["status"] == "running"
    OnScreen(explorer).ask("cancel_fills")
    gate.free()
    assert explorer.wait(SECONDS)
    assert explorer.fill_comparison is before
    panel = OnScreen(explorer)["_fill_panel"]
    assert (panel["status"], panel["text"]) == ("done", shown["text"])
    # It is still of what was shown then.
    assert OnScreen(explorer)["_has_significance"] is False
    explorer.offset = 4
    assert OnScreen(explorer)["_has_significance"] is True


@pytest.mark.parametrize(
    ("options", "shown"),
    [({}, {}), ({}, {"measure": "iou"}), ({"target": "all"}, {}), ({}, {"explain_by": "prediction"})],
    ids=str,
)
def test_choosing_a_fill_that_was_compared_runs_no_disc_again(make, options, shown):
    ran = []

    def two(images):
        ran.append(len(images))
        return torch.stack([0.5 - images[:, 0], images[:, 0] - 0.5], 1)

    explorer = make(two, TRUTH.astype(int), **({"target": 1} | options))
    for name, value in shown.items():
        setattr(explorer, name, value)
    explorer.compare_fills()
    assert explorer.wait(SECONDS)
    ran.clear()
    for fill in ("mean", "blur", "noise", "inpainted"):
        explorer.fill = fill
        assert explorer.wait(SECONDS)
        np.testing.assert_array_equal(explorer.result.values, explorer.fill_comparison.results[fill].values)
    # The image without a disc, and one disc that is compared with what is kept of it.
    assert sum(ran) <= 4 * 2
    assert sum(ran) < 36


def test_nothing_warns_in_the_background(make):
    """Warnings are errors here, and an error would be in the panel."""
    with pytest.warns(UserWarning, match="the segment is empty"):
        explorer = make(bright, 0 * TRUTH)
    explorer.compare_fills()
    assert explorer.wait(SECONDS)
    assert OnScreen(explorer)["_fill_panel"]["status"] == "done"


def test_an_error_is_told_in_the_panel_and_leaves_the_explorer_alone(make):
    def fragile(images):
        if fails:
            raise ValueError("no such disc")
        return images[:, 0]

    fails = False
    explorer = make(fragile)
    fails = True
    explorer.compare_fills()
    assert explorer.wait(SECONDS)
    panel = OnScreen(explorer)["_fill_panel"]
    assert panel["status"] == "error"
    assert "no such disc" in panel["error"]
    assert (explorer.status, explorer.error) == ("done", "")


def test_is_not_offered_for_an_occlusion_or_a_distance_of_ones_own(make):
    class Own(hdm.HausdorffDistanceMasks):
        def calculate_distance(self, output, segment):
            return float(output.sum())

    explorer = make(explainer=Own(24, 24))
    reply, _ = OnScreen(explorer).ask("compare_fills")
    assert "explainer has its own" in reply["error"]


def test_a_disc_that_is_drawn_as_segment_is_told_with_a_fill_to_try(make):
    def dark(images):
        return ((images[:, 0] < 0.01) & (images[:, 0] > -1)).float()

    explorer = make(dark, ~TRUTH)
    drawn = explorer.result.disc_drawn
    assert drawn.count > 20
    where = f"in {drawn.count} of 36 cells; in these cells the map shows the disc"
    assert OnScreen(explorer)["_disc_drawn"] == {
        "finding": f"The disc itself is drawn as segment {where}",
        "fill": "mean",
    }
    explorer.measure = "iou"
    assert OnScreen(explorer)["_disc_drawn"]["fill"] == "mean"
    explorer.fill = "mean"
    assert explorer.wait(SECONDS)
    assert OnScreen(explorer)["_disc_drawn"] == {}


def test_no_fill_is_proposed_that_is_known_to_be_drawn(make):
    """The model draws whatever differs from its image, with any fill."""
    plain = torch.from_numpy(IMAGE[0])
    explorer = make(lambda images: (((images[:, 0] - plain).abs() > 1e-4) | (plain > 0.5)).float(), circle_size=9)
    proposed = []
    while fill := OnScreen(explorer)["_disc_drawn"]["fill"]:
        proposed.append(fill)
        explorer.fill = fill
        assert explorer.wait(SECONDS)
    assert proposed == ["mean", "inpainted", "blur", "noise"]
    assert "all other fills" in OnScreen(explorer)["_disc_drawn"]["finding"]


def test_after_a_comparison_only_fills_that_are_not_drawn_are_proposed(make):
    """The model draws what is smooth, but for noise."""

    def smooth(images):
        steps = (images[:, 0, :, 1:] - images[:, 0, :, :-1]).abs()
        return torch.nn.functional.pad(0.002 - steps, (0, 1), value=-1.0)

    explorer = make(smooth, circle_size=9)
    assert OnScreen(explorer)["_disc_drawn"]["fill"] == "mean"
    explorer.compare_fills()
    assert explorer.wait(SECONDS)
    results = explorer.fill_comparison.results
    notes = {one["fill"]: one["note"] for one in OnScreen(explorer)["_fill_panel"]["fills"]}
    assert notes["mean"].startswith("left out: drawn in ")
    assert notes["noise"] == ""
    assert [fill for fill, one in results.items() if not one.disc_drawn][-1] == "noise"
    assert results["mean"].disc_drawn
    wanted = next(fill for fill in ("inpainted", "blur", "noise") if not results[fill].disc_drawn)
    assert OnScreen(explorer)["_disc_drawn"]["fill"] == wanted
