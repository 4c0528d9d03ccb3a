"""Truths that may be wrong in the latent explorer: suspicion as a column and an order, marks, and their export."""

import csv
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pandas
import pytest
import traitlets
from on_screen import LatentScreen, OnScreen

import hdm_widgets as hw
from hdm_widgets.widgets.latent.columns import usable_columns
from hdm_widgets.widgets.latent.gallery import SUSPICIOUS_FIRST, Gallery
from hdm_widgets.widgets.latent.palette import MISSING, coloring
from hdm_widgets.widgets.latent.suspicion import Suspicion

TOTAL = 24
DONE = {"error": None}
# Of item i; items 20 to 23 are the most suspicious, the last of them first.
SCORE = np.concatenate([np.full(20, 1e-7), [1e-2, 0.1, 0.5, 1.0]])


@pytest.fixture
def judged(monkeypatch):
    """Suspects with known scores, in the order of the scores, and how often they were asked for."""
    calls = []

    def suspects(space, k=None):
        calls.append(k)
        order = np.argsort(-SCORE, kind="stable")
        reasons = [f"reason {index}" for index in order]
        return pandas.DataFrame({"score": SCORE[order], "reason": reasons}, index=pandas.Index(order, name="index"))

    monkeypatch.setattr(hw.LatentSpace, "suspects", suspects)
    return calls


def marked(shown):
    return shown.gallery["_marked"].tolist()


# -- suspicion ----------------------------------------------------------------------------------------


def test_nothing_is_computed_until_it_is_asked_for(explore, space, judged):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.select(range(TOTAL))
    explorer.color_by = "place"
    assert explorer.wait(60)
    assert (judged, explorer.suspects) == ([], None)
    assert shown.gallery["suspects"]["state"] == "idle"
    entry = shown.gallery.ask("images", items=[3])[0]["images"][0]
    assert not {"suspicion", "reason"} & entry.keys()


@pytest.mark.parametrize("at_once", [True, False])
def test_the_column_colors_the_map_and_gives_every_card_a_reason(explore, space, judged, at_once):
    explorer = explore(space, color_by="suspicion" if at_once else "iou")
    shown = LatentScreen(explorer)
    if not at_once:
        shown.toolbar.set(color_by="suspicion")
    assert explorer.wait(60)
    assert judged == [None]
    legend = shown.legend["legend"]
    # Dark for what is likely wrong, and the legend has the same colors.
    assert [shown.points.colors[0], shown.points.colors[23]] == [legend["colors"][0], legend["colors"][-1]]
    assert legend["colors"][-1] == "#5b1a9a"
    assert (legend["title"], legend["low"], legend["high"]) == ("Suspicion of the truth", 1e-4, 1.0)
    assert (legend["state"], legend["error"], legend["missing"]) == ("done", "", 0)
    assert shown.gallery["with_reasons"]
    entries = shown.gallery.ask("images", items=[0, 21])[0]["images"]
    assert [(one["suspicion"], one["reason"]) for one in entries] == [("< 0.001", "reason 0"), ("0.1", "reason 21")]
    reply, _ = shown.legend.ask("thumbnail", item=22)
    assert ["Suspicion of the truth", "0.5"] in reply["facts"]
    explorer.color_by = "place"
    assert not shown.gallery["with_reasons"]
    explorer.color_by = "suspicion"
    assert judged == [None]


def test_the_gallery_is_sorted_by_it_once_it_is_known(explore, space, judged):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.select([1, 22, 5, 23, 20])
    version = shown.gallery["captions_version"]
    shown.gallery.set(sort=SUSPICIOUS_FIRST)
    assert explorer.wait(60)
    # Cards that are on screen are asked for again, with their reasons.
    assert shown.gallery["captions_version"] > version
    assert shown.items == [23, 22, 20, 1, 5]
    assert shown.gallery["suspects"] == {"state": "done", "error": ""}
    assert [one["reason"] for one in shown.gallery["_saved"]] == [f"reason {i}" for i in (23, 22, 20, 1, 5)]
    assert shown.gallery["with_reasons"]
    pandas.testing.assert_frame_equal(explorer.suspects, explorer.space.suspects())


def test_before_it_is_known_the_order_is_that_of_the_data_set(space):
    gallery = Gallery(space)
    gallery.sort = SUSPICIOUS_FIRST
    gallery.show(np.array([7, 23, 1]))
    assert OnScreen(gallery)["_shown"]["first"].tolist() == [7, 23, 1]
    gallery.tell_suspects("done", "", Suspicion(SCORE, ("",) * TOTAL))
    gallery.show(np.array([7, 23, 1]))
    assert OnScreen(gallery)["_shown"]["first"].tolist() == [23, 7, 1]
    gallery.close()


def test_what_ends_well_leaves_the_error_of_another(explore, space):
    # Of fewer than 30 items there are no suspects.
    explorer = explore(space)
    explorer.color_by = "suspicion"
    assert explorer.wait(60)
    why = explorer.error
    assert "at least 30 items" in why
    shown = LatentScreen(explorer)
    shown.gallery.ask("explain", item=99)
    assert explorer.error != why
    shown.gallery.ask("explain", item=1)
    assert explorer.error == why
    shown.table.ask("cluster", count=2)
    assert explorer.wait(60)
    assert explorer.error == why


@pytest.mark.parametrize("by", ["color", "sort"])
def test_where_it_is_not_available_the_screen_says_why(explore, space, by):
    # Of fewer than 30 items there are no suspects.
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.select([4, 2])
    if by == "color":
        explorer.color_by = "suspicion"
    else:
        shown.gallery.set(sort=SUSPICIOUS_FIRST)
    assert explorer.wait(60)
    why = "it takes at least 30 items, got 24"
    assert why in explorer.error
    told = shown.legend["legend"] if by == "color" else shown.gallery["suspects"]
    assert told["state"] == "error"
    assert why in told["error"]
    assert set(shown.points.colors) == {MISSING} or by == "sort"
    assert sorted(shown.items) == [2, 4]
    assert (explorer.suspects, shown.gallery["with_reasons"]) == (None, False)


def test_a_space_without_probabilities_says_so(explore, grouped):
    collection = replace(
        grouped.collection_, label_quality=None, probability_maps=None, no_confidences="none were kept"
    )
    explorer = explore(hw.LatentSpace(grouped.segmenter).fit_collected(collection), color_by="suspicion")
    assert explorer.wait(60)
    assert "none were kept" in LatentScreen(explorer).legend["legend"]["error"]


def test_a_column_of_the_data_set_with_this_name_is_told_apart(explore, map_of, make_places, judged):
    places = make_places(TOTAL, columns={"suspicion": [i % 2 for i in range(TOTAL)]})
    space = map_of(places)
    assert "suspicion" not in space.table()
    columns = usable_columns(space)
    assert columns["data_suspicion"].values.tolist() == [i % 2 for i in range(TOTAL)]
    assert len({column.title for column in columns.values()}) == len(columns)
    explorer = explore(space, color_by="data_suspicion")
    assert LatentScreen(explorer).points.colors == coloring(columns["data_suspicion"]).colors
    assert judged == []


# -- marks --------------------------------------------------------------------------------------------


def test_a_card_marks_its_truth_and_takes_the_mark_away(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    assert (explorer.marked, marked(shown)) == ((), [])
    for item in (7, 3):
        assert shown.gallery.ask("mark", item=item)[0] == DONE
    assert (explorer.marked, marked(shown)) == ((3, 7), [3, 7])
    np.testing.assert_array_equal(shown.crosses.x, space.embedding_[[3, 7], 0])
    np.testing.assert_array_equal(shown.crosses.y, space.embedding_[[3, 7], 1])
    shown.gallery.ask("mark", item=3)
    assert (explorer.marked, marked(shown), len(shown.crosses.x)) == ((7,), [7], 1)


def test_python_marks_and_hears_of_marks(explore, space):
    explorer = explore(space)
    heard = []
    explorer.observe(lambda change: heard.append(change["new"]), names=["marked"])
    explorer.marked = np.array([9, 2, 9])
    LatentScreen(explorer).gallery.ask("mark", item=4)
    assert heard == [(2, 9), (2, 4, 9)]
    assert marked(LatentScreen(explorer)) == [2, 4, 9]
    with pytest.raises(traitlets.TraitError, match="24"):
        explorer.marked = [24]
    assert explorer.marked == (2, 4, 9)


@pytest.mark.parametrize(
    ("highlighted", "pointed", "marks"),
    [(None, 5, (5,)), (8, 5, (5,)), (8, None, (8,)), (None, None, ()), (None, TOTAL, ())],
)
def test_the_key_marks_what_is_pointed_at_or_else_highlighted(explore, space, highlighted, pointed, marks):
    explorer = explore(space)
    explorer.highlighted = highlighted
    shown = LatentScreen(explorer)
    assert shown.legend.ask("mark", item=pointed)[0] == DONE
    assert explorer.marked == marks
    assert bool(shown.legend["notice"]) == (marks == ())


def test_marks_stay_whatever_is_selected_sorted_colored_or_undone(explore, space):
    explorer = explore(space)
    explorer.marked = [1, 2]
    explorer.select([5])
    explorer.color_by, explorer.highlighted = "place", 3
    LatentScreen(explorer).gallery.set(sort="in data set order")
    explorer.undo()
    explorer.clear()
    assert explorer.marked == (1, 2)
    assert marked(LatentScreen(explorer)) == [1, 2]


def test_marked_items_become_a_selection(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    assert "No truth is marked" in shown.gallery.ask("select_marked")[0]["error"]
    explorer.marked = [6, 2]
    assert shown.gallery.ask("select_marked")[0] == DONE
    assert (explorer.selected, explorer.selections[0].name) == ((2, 6), "marked")
    explorer.marked = [4]
    assert explorer.select_marked().indices.tolist() == [4]
    assert len(explorer.selections) == 1
    assert explorer.select_marked("wrong").name == "wrong"


def test_crosses_go_with_the_points_of_the_map(explore, space, new_places):
    explorer = explore(space, new=space.estimate(new_places, progress=False))
    explorer.marked = [1]
    shown = LatentScreen(explorer)
    assert len(shown.crosses.x) == 1
    explorer.points = "new"
    assert not shown.crosses.visible


# -- their export -------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["csv", "coco"])
@pytest.mark.parametrize("known", [False, True])
def test_the_browser_saves_what_python_writes(explore, space, judged, tmp_path, format_, known):
    explorer = explore(space, color_by="suspicion" if known else "iou")
    assert explorer.wait(60)
    explorer.marked = [3, 21]
    reply, (content,) = LatentScreen(explorer).gallery.ask("export_marked", format=format_)
    assert reply == {"error": None, "name": {"csv": "marked.csv", "coco": "marked.json"}[format_]}
    explorer.export_marked(tmp_path / "explorer", format_)
    reasons = {3: "reason 3", 21: "reason 21"} if known else {}
    hw.export_marked(space, [3, 21], tmp_path / "function", format_, reasons=reasons)
    assert content == (tmp_path / "explorer").read_bytes() == (tmp_path / "function").read_bytes()
    rows = json.loads(content)["images"] if format_ == "coco" else csv.DictReader(io.StringIO(content.decode()))
    assert [row["reason"] for row in rows] == (["reason 3", "reason 21"] if known else ["", ""])


def test_masks_for_voc_are_saved_as_one_archive(explore, space, tmp_path):
    explorer = explore(space)
    explorer.marked = [3, 21]
    reply, (content,) = LatentScreen(explorer).gallery.ask("export_marked", format="voc")
    assert reply == {"error": None, "name": "marked.zip"}
    explorer.export_marked(tmp_path / "masks", "voc")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    written = {path for path in (tmp_path / "masks").rglob("*") if path.is_file()}
    assert files == {path.relative_to(tmp_path / "masks").as_posix(): path.read_bytes() for path in written}
    assert files["ImageSets/Segmentation/marked.txt"] == b"3\n21\n"


@pytest.mark.parametrize(("marks", "format_", "why"), [((), "csv", "No truth is marked"), ((1,), "xml", "xml")])
def test_what_cannot_be_exported_says_why(explore, space, tmp_path, marks, format_, why):
    explorer = explore(space)
    explorer.marked = marks
    assert why in LatentScreen(explorer).gallery.ask("export_marked", format=format_)[0]["error"]
    with pytest.raises(ValueError, match=why):
        explorer.export_marked(tmp_path / "file", format_)
    assert list(tmp_path.iterdir()) == []
