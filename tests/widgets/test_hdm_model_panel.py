"""The HDM explorer's panel that compares its model with others."""

import numpy as np
import pytest
import torch
from gate import SECONDS, Gate
from on_screen import OnScreen, unpacked

from hdm_widgets import hdm

IMAGE = 0.2 * torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0)).numpy()
IMAGE[:, 8:12, 8:12] = 1
IMAGE[:, 18:22, 3:9] = 0.7
TRUTH = IMAGE[0] > 0.5
GRID = {"circle_size": 5, "offset": 4}


def loose(images):
    return images[:, 0]


def strict(images):
    return 0.7 * images[:, 0]


@pytest.fixture
def make(explore_hdm):
    """Explorers of one image and two models, which have scanned it with the first."""

    def maker(other=strict, model=loose, segment=TRUTH, **options):
        explorer = explore_hdm(model, IMAGE, segment, **{**GRID, "compare_with": {"strict": other}, **options})
        assert explorer.wait(SECONDS)
        return explorer

    return maker


def compared(segment=TRUTH, **options):
    models = {"this model": loose, "strict": strict}
    return hdm.compare_models(models, IMAGE, segment, **{**GRID, **options}, progress=False)


def assert_found(explorer, wanted):
    """What Python gives and what the browser draws from is this comparison."""
    found, panel = explorer.model_comparison, OnScreen(explorer)["_model_panel"]
    np.testing.assert_array_equal(found.difference, wanted.difference)
    assert (found.names, found.text) == (wanted.names, wanted.text)
    assert (panel["status"], panel["text"]) == ("done", wanted.text)
    assert [one["name"] for one in panel["models"]] == list(wanted.names)
    for one, result in zip(panel["models"], wanted.results.values(), strict=True):
        np.testing.assert_array_equal(one["map"]["values"], result.values)
        np.testing.assert_array_equal(unpacked(one["prediction"], 24, 24), result.baseline_mask)


def test_compares_in_the_background_and_runs_the_explorers_own_model_no_more(make):
    runs = []

    def counted(images):
        runs.append(len(images))
        return loose(images)

    explorer = make(model=counted)
    before, so_far = explorer.result, len(runs)
    assert (explorer.model_comparison, OnScreen(explorer)["_model_panel"]) == (None, {})
    assert OnScreen(explorer)["_other_models"] == ["strict"]
    reply, _ = OnScreen(explorer).ask("compare_models")
    assert reply == {"error": None}
    assert explorer.wait(SECONDS)
    assert_found(explorer, compared())
    assert np.abs(compared().difference).max() > 1
    assert explorer.result is before
    assert explorer.model_comparison.results["this model"] is before
    assert len(runs) == so_far
    OnScreen(explorer).ask("hide_models")
    assert OnScreen(explorer)["_model_panel"] == {}
    assert explorer.model_comparison is not None


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        ({"measure": "iou"}, {"distance": "iou"}),
        ({"measure": "flipped", "explain_by": "prediction"}, {"distance": "flipped", "segment": None}),
        ({"circle_size": 4, "offset": 6}, {"circle_size": 4, "offset": 6}),
        ({"fill": "mean", "shape": "square"}, {"fill": "mean", "shape": "square"}),
    ],
)
def test_compares_what_is_shown(make, shown, wanted):
    explorer = make()
    for name, value in shown.items():
        setattr(explorer, name, value)
    assert explorer.wait(SECONDS)
    explorer.compare_models()
    assert explorer.wait(SECONDS)
    assert_found(explorer, compared(**wanted))


def test_follows_the_measure_without_a_run_of_a_model(make):
    runs = []

    def counted(images):
        runs.append(len(images))
        return strict(images)

    explorer = make(counted)
    explorer.compare_models()
    assert explorer.wait(SECONDS)
    so_far = len(runs)
    OnScreen(explorer).set(measure="iou")
    assert_found(explorer, compared(distance="iou"))
    OnScreen(explorer).set(explain_by="prediction")
    assert_found(explorer, compared(None, distance="iou"))
    assert len(runs) == so_far


def test_who_asks_for_the_comparison_while_the_measure_changes_keeps_the_panel_from_nothing(make):
    explorer = make()
    explorer.compare_models()
    assert explorer.wait(SECONDS)
    # As another thread may: the measure is another already, and the panel has not been told yet.
    with explorer.hold_trait_notifications():
        explorer.measure = "iou"
        assert explorer.model_comparison.results["strict"].settings.distance == "iou"
    assert_found(explorer, compared(distance="iou"))


def test_an_object_that_another_model_does_not_draw_is_said(make):
    explorer = make()
    explorer.compare_models()
    assert explorer.wait(SECONDS)
    explorer.explain_by = "prediction"
    explorer.object = (19, 4)
    panel = OnScreen(explorer)["_model_panel"]
    assert panel["status"] == "error"
    assert "pixel (19, 4) belongs to none of the 1 objects of the prediction" in panel["error"]
    explorer.object = None
    assert_found(explorer, compared(None))


def test_compares_the_class_that_is_shown(make):
    def classes(model):
        return lambda images: torch.stack([1 - model(images), model(images)], 1)

    explorer = make(classes(strict), classes(loose), TRUTH.astype(int), target="all")
    explorer.target = 0
    explorer.compare_models()
    assert explorer.wait(SECONDS)
    models = {"this model": classes(loose), "strict": classes(strict)}
    wanted = hdm.compare_models(models, IMAGE, ~TRUTH, **GRID, target=0, progress=False)
    np.testing.assert_array_equal(explorer.model_comparison.difference, wanted.difference)


def test_several_models_have_one_progress(make):
    gate = Gate(strict)
    gate.free()
    explorer = make(gate, compare_with={"a": strict, "b": gate})
    while gate.open.acquire(blocking=False):
        pass
    while gate.arrived.acquire(blocking=False):
        pass
    explorer.compare_models()
    gate.begin()
    panel = OnScreen(explorer)["_model_panel"]
    assert (panel["status"], panel["done"], panel["total"]) == ("running", 0, 72)
    assert explorer.status == "done"
    OnScreen(explorer).ask("cancel_models")
    assert OnScreen(explorer)["_model_panel"] == {"status": "cancelled"}
    gate.free()
    assert explorer.wait(SECONDS)
    assert OnScreen(explorer)["_model_panel"] == {"status": "cancelled"}
    assert explorer.model_comparison is None
    explorer.compare_models()
    assert explorer.wait(SECONDS)
    assert explorer.model_comparison.names == ("this model", "a", "b")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"compare_with": strict}, TypeError, "compare_with must be a dict with a name for each"),
        ({"compare_with": {}}, ValueError, "compare_with must be at least one"),
        ({"compare_with": {"this model": strict}}, ValueError, "give the one in compare_with another name"),
        ({"compare_with": {"b": 5}}, TypeError, "model must be"),
    ],
)
def test_refuses_what_is_no_model_with_a_name(make, options, error, message):
    with pytest.raises(error, match=message):
        make(**options)


def test_without_other_models_there_is_nothing_to_compare(make):
    explorer = make(compare_with=None)
    assert OnScreen(explorer)["_other_models"] == []
    reply, _ = OnScreen(explorer).ask("compare_models")
    assert "compare_with={'after': model_b}" in reply["error"]


def test_an_error_is_told_in_the_panel_and_leaves_the_explorer_alone(make):
    def broken(images):
        raise ValueError("no memory left")

    explorer = make(broken)
    explorer.compare_models()
    assert explorer.wait(SECONDS)
    panel = OnScreen(explorer)["_model_panel"]
    assert panel["status"] == "error"
    assert "no memory left" in panel["error"]
    assert (explorer.status, explorer.error) == ("done", "")
