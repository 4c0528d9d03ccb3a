"""The page that an explorer writes: it begins as the explorer is, and answers what the explorer answers."""

import numpy as np
import pytest
from gate import BEFORE, SECONDS, Gate, first
from on_screen import OnScreen, decoded
from page_file import PageFile

from hdm_widgets.widgets.hdm.brush import BrushTraits
from hdm_widgets.widgets.hdm.class_change import ClassChangeTraits
from hdm_widgets.widgets.hdm.fill_panel import FillPanelTraits
from hdm_widgets.widgets.hdm.model_panel import ModelPanelTraits
from hdm_widgets.widgets.hdm.object_panel import ObjectPanelTraits
from hdm_widgets.widgets.hdm.traits import HDMTraits

IMAGE = np.full((2, 24, 32), 0.2, np.float32)
IMAGE[:, 6:16, 8:20] = 0.8
TRUTH = np.zeros((24, 32), np.uint8)
TRUTH[8:18, 10:20] = 1
IGNORED = np.zeros((24, 32), bool)
IGNORED[:9, 12:] = True
# The second says nothing of some pixels.
ANNOTATORS = {"ann": TRUTH, "bob": np.ma.masked_array(TRUTH[::-1], IGNORED)}
# Made in the browser of what else is stored.
DERIVED = {
    "_image", "_truth", "_prediction", "_ignored", "_inspector", "_influence", "_class_change", "_proposal",
    "_disc_drawn",
}  # fmt: skip
# What a question changes.
ANSWERED = {"_map", "_about"}


def two_classes(images):
    return np.stack([1 - images[:, 0], images[:, 0]], 1)


def written(explorer, tmp_path):
    explorer.to_html(tmp_path / "page.html", title="As it was")
    return PageFile((tmp_path / "page.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (first, {"measure": "iou", "explain_by": "prediction", "display": 1, "channel": [0, 1]}),
        (two_classes, {"target": "all", "class_names": ["ground", "road"]}),
        (first, {"keep_outputs": False, "ignore": TRUTH > 1, "fill": "mean"}),
    ],
    ids=["one class", "all classes", "no masks"],
)
def test_a_page_begins_as_the_explorer_is(explore_hdm, tmp_path, model, options):
    explorer = explore_hdm(model, IMAGE, TRUTH, circle_size=6, offset=4, **options)
    assert explorer.wait(SECONDS)
    explorer.cell, explorer.opacity, explorer.color_map = (2, 3), 0.3, "plasma"
    explorer.layers, explorer.result_type = ["edges", "map"], "worse"
    page, screen = written(explorer, tmp_path), OnScreen(explorer)
    assert page.texts["h1"] == "As it was"
    traits = page.data["traits"]
    bases = (HDMTraits, BrushTraits, ClassChangeTraits, FillPanelTraits, ModelPanelTraits, ObjectPanelTraits)
    assert set(traits) == {name for base in bases for name in base.class_own_traits(sync=True)} - DERIVED
    for name in set(traits) - ANSWERED:
        np.testing.assert_equal(decoded(traits[name]), screen[name], name)


@pytest.mark.parametrize(
    ("model", "truth", "options"),
    [(first, TRUTH, {"ignore": IGNORED}), (two_classes, TRUTH, {"target": "all"}), (first, ANNOTATORS, {})],
    ids=["one class", "all classes", "two annotators"],
)
def test_a_page_answers_what_the_explorer_answers(explore_hdm, tmp_path, model, truth, options):
    explorer = explore_hdm(model, IMAGE, truth, circle_size=6, offset=4, **options)
    assert explorer.wait(SECONDS)
    data, screen = written(explorer, tmp_path).data, OnScreen(explorer)
    assert len(data["answers"]) == 7 * len(explorer._explained_by) * (len(explorer.result.classes) or 1)
    for answer in data["answers"]:
        explorer.target, explorer.measure, explorer.explain_by = (
            answer["target"], answer["measure"], answer["explainBy"],
        )  # fmt: skip
        for name, part in (("_map", "map"), ("_about", "about")):
            np.testing.assert_equal({**data["traits"][name], **answer[part]}, screen[name], str(answer))
        assert answer["proposal"] == screen["_proposal"]
        (masks,) = (one for one in data["classes"] if one["target"] == answer["target"])
        assert masks["prediction"] == screen["_prediction"]
        question = answer["target"], answer["explainBy"]
        (compared,) = (one for one in data["compared"] if (one["target"], one["explainBy"]) == question)
        assert (compared["truth"], compared["ignored"]) == (screen["_truth"], screen["_ignored"])


TWO_OBJECTS = TRUTH | np.eye(24, 32, 24, dtype=np.uint8)


@pytest.mark.parametrize(
    ("truth", "name", "fact"),
    [
        (TWO_OBJECTS, "one object of the truth", "one object of the ground truth"),
        ({"ann": TWO_OBJECTS, "bob": TRUTH}, "one object of ann", "one object of the ground truth of ann"),
    ],
    ids=["one truth", "two annotators"],
)
def test_the_page_of_one_object(explore_hdm, tmp_path, truth, name, fact):
    explorer = explore_hdm(first, IMAGE, truth, circle_size=6, offset=4)
    assert explorer.wait(SECONDS)
    wanted = explorer.result.for_object(9, 11).measure("iou")
    explorer.object, explorer.measure = (9, 11), "iou"
    page = written(explorer, tmp_path)
    data = page.data
    assert f"compared with {fact};" in page.text
    assert data["traits"]["_explained_by"] == [name, "prediction"]
    assert (data["traits"]["measure"], data["traits"]["explain_by"]) == ("iou", name)
    (answer,) = (one for one in data["answers"] if one["measure"] == "iou" and one["explainBy"] != "prediction")
    np.testing.assert_array_equal(answer["map"]["values"], wanted.values)
    assert answer["map"]["baseline"] == wanted.baseline


def test_a_page_names_the_model_and_the_time(explore_hdm, tmp_path):
    explorer = explore_hdm(first, IMAGE, TRUTH, circle_size=6, offset=4)
    assert explorer.wait(SECONDS)
    page = written(explorer, tmp_path)
    assert "first drew a new mask" in page.texts["p"]
    assert page.data["traits"]["_map"]["seconds"] == OnScreen(explorer)["_map"]["seconds"] > 0


def test_a_scan_that_runs_is_no_page_yet(explore_hdm, tmp_path):
    gate = Gate()
    explorer = explore_hdm(gate, IMAGE, TRUTH, circle_size=6, offset=4, batch_size=1, inference="full")
    gate.begin()
    gate.let(BEFORE + 2)
    with pytest.raises(ValueError, match="of 48 cells are measured yet, and a page shows a complete scan"):
        explorer.to_html(tmp_path / "page.html")
    explorer.cancel()
    gate.free()
    with pytest.raises(ValueError, match="measured yet"):
        explorer.to_html(tmp_path / "page.html")
    explorer.close()
    with pytest.raises(RuntimeError, match="closed"):
        explorer.to_html(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []
