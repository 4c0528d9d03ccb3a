import io
import threading

import ipywidgets
import numpy as np
import pandas
import pytest
import traitlets
from on_screen import LatentScreen, decoded
from PIL import Image

import hdm_widgets as hw
from hdm_widgets._wire import to_wire
from hdm_widgets.latent.selection import COLORS
from hdm_widgets.widgets.latent import selecting
from hdm_widgets.widgets.latent.columns import usable_columns
from hdm_widgets.widgets.latent.palette import MISSING, category_color, coloring

DONE = {"error": None}


def told(explorer):
    """Names and items of all selections, and which one is active."""
    return {one.name: one.indices.tolist() for one in explorer.selections}, explorer.active


def in_gallery(explorer):
    return sorted(LatentScreen(explorer).items)


# -- at the beginning ---------------------------------------------------------------------------------


def test_it_begins_with_all_items_and_nothing_selected(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    assert (explorer.selected, explorer.active, explorer.selections) == ((), None, ())
    assert (explorer.color_by, explorer.background, explorer.mode) == ("iou", "expected_iou", "replace")
    assert (explorer.highlighted, explorer.error) == (None, "")
    assert repr(explorer.space) == repr(space)
    np.testing.assert_array_equal(shown.points.x, space.embedding_[:, 0])
    assert shown.points.colors == coloring(usable_columns(space)["iou"]).colors
    assert shown.toolbar["count"] == 24
    assert shown.legend["sample"] == {"drawn": 24, "total": 24}
    assert len(explorer.selection) == 0


def test_all_parts_are_on_screen_once(explore, space):
    explorer = explore(space)
    toolbar, main, table, scans, below = explorer.children
    left, right = main.children
    parts = [toolbar, *left.children, *right.children, table, scans]
    assert [type(part).__name__ for part in parts] == [
        "Toolbar",
        "Figure",
        "Legend",
        "Gallery",
        "ClusterTable",
        "ScansPanel",
    ]
    assert below.children == ()
    # By these names the pointer finds its way.
    assert "hdm-latent" in explorer._dom_classes
    assert "hdm-latent-plot" in left._dom_classes


def test_the_pointer_is_told_where_the_points_are(explore, space):
    points = LatentScreen(explore(space)).legend["_points"]
    np.testing.assert_array_equal(points["positions"], space.embedding_.astype(np.float32), strict=True)
    np.testing.assert_array_equal(points["rows"], np.arange(24, dtype=np.int32), strict=True)
    surface = space.surface((2, 2))
    assert points["bounds"] == [surface.x[0], surface.x[-1], surface.y[0], surface.y[-1]]


def test_points_can_be_colored_by_every_column_the_own_ones_first(explore, space):
    names = [name for name, _ in LatentScreen(explore(space)).toolbar["colors"]]
    assert names[:7] == ["iou", "expected_iou", "cluster", "suspicion", "place", "number", "even"]
    assert sorted(names) == sorted(set(space.table()) - {"item"} | {"suspicion"})
    assert dict(LatentScreen(explore(space)).toolbar["colors"])["truth_area"] == "Area of the truth (px)"


def test_the_legend_tells_how_good_the_surface_is(explore, space):
    surface = LatentScreen(explore(space)).legend["surface"]
    assert surface["score"] == space.cv_score_
    assert surface["learnedFrom"] is None  # all that have an IoU
    assert len(surface["colors"]) == 32


def test_the_legend_tells_when_the_surface_was_learned_from_a_sample(explore, map_of, make_places, monkeypatch):
    monkeypatch.setattr("hdm_widgets.latent.surface._LARGEST", 20)
    assert LatentScreen(explore(map_of(make_places(24)))).legend["surface"]["learnedFrom"] == 20


@pytest.mark.parametrize("background", ["expected_iou", "none"])
def test_color_and_background_can_be_given(explore, space, background):
    explorer = explore(space, color_by="place", background=background)
    shown = LatentScreen(explorer)
    assert (explorer.color_by, explorer.background) == ("place", background)
    assert (shown.toolbar["color_by"], shown.toolbar["background"]) == (
        "place",
        background,
    )
    assert shown.legend["background"] == background
    assert shown.legend["legend"]["title"] == "place"
    assert shown.surface.visible is (background == "expected_iou")


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (
            lambda s: hw.LatentExplorer([1, 2]),
            TypeError,
            r"expected a LatentSpace, got list; write LatentExplorer\(LatentSpace\(model\).fit\(dataset\)\)",
        ),
        (
            lambda s: hw.LatentExplorer(hw.UNet(), [1, 2]),
            TypeError,
            r"expected a LatentSpace, got UNet; write LatentExplorer\(LatentSpace\(model\).fit\(dataset\)\)",
        ),
        (
            lambda s: hw.LatentExplorer(s, [1, 2]),
            TypeError,
            r"one LatentSpace and keywords, got list beside it; a data set is given to LatentSpace.fit",
        ),
        (
            lambda s: hw.LatentExplorer(s, color_by="color"),
            ValueError,
            "color_by must be one of 'iou', .*, got 'color'",
        ),
        (lambda s: hw.LatentExplorer(s, background="map"), ValueError, "background must be one of .*, got 'map'"),
        (lambda s: hw.LatentExplorer(s, color_bye="iou"), TypeError, "no keyword 'color_bye'; did you mean 'color_by'"),
    ],
    ids=["no space", "model and data set", "space and data set", "column", "background", "keyword"],
)
def test_wrong_arguments_are_refused_and_leave_nothing(space, wrong, error, message):
    before = set(ipywidgets.widgets.widget._instances)
    with pytest.raises(error, match=message):
        wrong(space)
    assert set(ipywidgets.widgets.widget._instances) == before


def test_a_space_must_be_fitted(reads):
    with pytest.raises(ValueError, match=r"the space is not fitted yet; call space\.fit\(dataset\) first"):
        hw.LatentExplorer(hw.LatentSpace(reads()))


def test_as_many_points_as_can_be_drawn_are(explore, space, monkeypatch):
    monkeypatch.setattr("hdm_widgets.widgets.latent.point_figure.MOST_POINTS", 24)
    assert LatentScreen(explore(space)).legend["sample"] == {"drawn": 24, "total": 24}


# -- traits -------------------------------------------------------------------------------------------


def test_what_is_assigned_is_on_screen_and_the_reverse(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.mode, explorer.color_by, explorer.background, explorer.highlighted = "add", "number", "none", 4
    assert (shown.toolbar["mode"], shown.legend["mode"]) == ("add", "add")
    assert shown.toolbar["color_by"] == "number"
    assert (shown.toolbar["background"], shown.legend["background"]) == (
        "none",
        "none",
    )
    assert not shown.surface.visible
    assert shown.gallery["highlighted"] == 4
    assert shown.ring.x.tolist() == [space.embedding_[4, 0]]

    # Messages of the browser arrive through set_state.
    shown.legend.set(mode="subtract")
    shown.toolbar.set(color_by="even", background="expected_iou")
    shown.gallery.set(highlighted=6)
    assert (explorer.mode, shown.toolbar["mode"]) == ("subtract", "subtract")
    assert (explorer.color_by, explorer.background, explorer.highlighted) == ("even", "expected_iou", 6)
    assert shown.surface.visible
    assert shown.ring.x.tolist() == [space.embedding_[6, 0]]
    shown.gallery.set(highlighted=None)
    assert explorer.highlighted is None
    assert not shown.ring.visible


@pytest.mark.parametrize("name", ["iou", "expected_iou", "cluster", "place", "even", "truth_area", "pc2"])
def test_a_column_colors_points_legend_and_captions(explore, space, name):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.color_by = name
    expected = coloring(usable_columns(space)[name])
    assert shown.points.colors == expected.colors
    assert shown.legend["legend"] == decoded(to_wire(expected.legend))
    assert shown.gallery["caption_by"] == ("" if name == "iou" else expected.legend["title"])


BAD_TRAITS = [
    ("selected", [24], "indices must be 0 to 23, got 24 to 24"),
    ("selected", [0.5], "indices must be whole numbers"),
    ("selected", None, "indices must be whole numbers"),
    ("selected", [True, False], "one entry per item"),
    ("active", 1, "active must be None or below 1, got 1"),
    ("active", -1, "active must be None or below 1, got -1"),
    ("active", "a", "active"),
    ("color_by", "item", "color_by must be one of 'iou', 'expected_iou', .*, got 'item'"),
    ("color_by", 3, "color_by"),
    ("background", "black", "background must be one of 'expected_iou', 'none', got 'black'"),
    ("mode", "xor", "mode must be one of 'replace', 'add', 'subtract', got 'xor'"),
    ("highlighted", 24, "highlighted must be None or 0 to 23, got 24"),
    ("highlighted", -1, "highlighted must be None or 0 to 23, got -1"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD_TRAITS)
def test_bad_values_are_refused_and_change_nothing(explore, space, name, value, message):
    explorer = explore(space)
    explorer.select([3, 5])
    explorer.highlighted = 2
    before = getattr(explorer, name)
    with pytest.raises(traitlets.TraitError, match=message):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before
    assert told(explorer) == ({"a": [3, 5]}, 0)
    assert LatentScreen(explorer).points.colors == coloring(usable_columns(space)["iou"]).colors


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([5, 3, 5], (3, 5)),
        (np.array([5, 3], np.uint32), (3, 5)),
        (np.arange(24) > 21, (22, 23)),
        (range(2), (0, 1)),
    ],
    ids=["list", "array", "flags", "range"],
)
def test_assigning_items_selects_them(explore, space, given, expected):
    explorer = explore(space)
    explorer.selected = given
    assert explorer.selected == expected
    assert told(explorer) == ({"a": list(expected)}, 0)
    assert in_gallery(explorer) == list(expected)


def test_assigning_items_changes_the_active_selection_and_can_be_taken_back(explore, space):
    explorer = explore(space)
    explorer.select([1], name="one")
    explorer.select([2], name="two")
    explorer.active = 0
    assert explorer.selected == (1,)
    explorer.selected = [7, 8]
    assert told(explorer) == ({"one": [7, 8], "two": [2]}, 0)
    explorer.selected = []
    assert told(explorer) == ({"one": [], "two": [2]}, 0)
    assert explorer.undo()
    assert explorer.selected == (7, 8)


def test_assigning_the_active_one(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.select([1], name="one")
    explorer.select([2, 3], name="two")
    explorer.active = 0
    assert (explorer.selected, shown.gallery["active"], in_gallery(explorer)) == ((1,), 0, [1])
    assert shown.outlines.opacities == [1.0, 0.75]
    explorer.active = None
    assert (explorer.selected, shown.gallery["active"], in_gallery(explorer)) == ((), None, [])
    explorer.selected = [9]
    assert told(explorer) == ({"one": [1], "two": [2, 3], "a": [9]}, 2)


def test_those_who_watch_hear_of_what_changed_once_and_when_all_of_it_has(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    heard = []

    def listen(change):
        current = () if explorer.active is None else tuple(explorer.selections[explorer.active].indices)
        assert current == explorer.selected
        heard.append((change.name, change.old, change.new))

    explorer.observe(listen, names=["selected", "active"])
    shown.lasso(1, 2)
    assert sorted(heard) == [("active", None, 0), ("selected", (), (1, 2))]
    heard.clear()
    shown.lasso(3)
    assert heard == [("selected", (1, 2), (3,))]
    heard.clear()
    explorer.selected = [5, 4]
    assert heard == [("selected", (3,), (4, 5))]
    heard.clear()
    explorer.select([4, 5])
    assert heard == [("active", 0, 1)]
    heard.clear()
    shown.lasso()  # around nothing: said on the screen alone
    explorer.mode = "add"
    assert heard == []


# -- selections ---------------------------------------------------------------------------------------


def test_selecting_shows_a_selection_everywhere(explore, space, places):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    made = explorer.select([8, 3, 5], name="mine", color="#123456")
    assert made is explorer.selections[0]
    assert (made.name, made.color, made.indices.tolist()) == ("mine", "#123456", [3, 5, 8])
    assert (explorer.selected, explorer.active) == ((3, 5, 8), 0)
    known = places.iou[[3, 8]]  # item 5 has nothing to find
    assert shown.gallery["selections"] == [
        {
            "name": "mine",
            "color": "#123456",
            "count": 3,
            "mean": pytest.approx(known.mean()),
            "median": pytest.approx(np.median(known)),
        }
    ]
    assert shown.gallery["active"] == 0
    assert in_gallery(explorer) == [3, 5, 8]
    (name,) = shown.legend["names"]
    assert (name["text"], name["color"]) == ("mine", "#123456")
    assert np.flatnonzero(shown.points.opacities == 1).tolist() == [3, 5, 8]
    assert shown.toolbar["can_undo"]


def test_a_selection_without_an_iou_has_no_figures(explore, space):
    explorer = explore(space)
    explorer.select([5, 11])
    row = LatentScreen(explorer).gallery["selections"][0]
    assert (row["count"], row["mean"], row["median"]) == (2, "nan", "nan")


def test_selecting_by_flags_and_names(explore, space, places):
    explorer = explore(space)
    explorer.select(places.group == 2)
    explorer.select([0])
    explorer.select([1], name="a")
    assert told(explorer) == ({"a": [1], "b": [0]}, 0)
    assert [one.color for one in explorer.selections] == list(COLORS[:2])
    with pytest.raises(ValueError, match="indices must be 0 to 23"):
        explorer.select([99])
    assert told(explorer) == ({"a": [1], "b": [0]}, 0)


@pytest.mark.parametrize(
    "wrong", [{"color": "no such color"}, {"color": 3}, {"name": 5}], ids=["color", "number", "name"]
)
def test_a_name_or_color_that_is_none_is_refused_and_changes_nothing(explore, space, wrong):
    explorer = explore(space)
    explorer.select([1])
    with pytest.raises((ValueError, TypeError), match=r"name|colou?r"):
        explorer.select([2], **wrong)
    assert told(explorer) == ({"a": [1]}, 0)
    explorer.select([3])
    assert told(explorer) == ({"a": [1], "b": [3]}, 1)


def test_the_active_selection_as_a_table(explore, space):
    explorer = explore(space)
    explorer.select([20, 4])
    pandas.testing.assert_frame_equal(explorer.selection, space.frame().loc[[4, 20]])
    explorer.active = None
    assert explorer.selection.shape == (0, len(space.table()))


def test_undo_and_clear(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    assert explorer.undo() is False
    shown.lasso(1, 2)
    shown.lasso(3)
    explorer.clear()
    assert told(explorer) == ({}, None)
    assert in_gallery(explorer) == []
    assert not shown.outlines.visible
    for expected in (({"a": [3]}, 0), ({"a": [1, 2]}, 0), ({}, None)):
        assert shown.toolbar["can_undo"]
        assert explorer.undo() is True
        assert told(explorer) == expected
    assert not shown.toolbar["can_undo"]
    assert explorer.undo() is False


# -- the lasso and clicks -----------------------------------------------------------------------------


def test_a_lasso_selects_what_is_inside(explore, space):
    explorer = explore(space)
    LatentScreen(explorer).lasso(9, 2)
    assert told(explorer) == ({"a": [2, 9]}, 0)
    assert explorer.selected == (2, 9)
    assert in_gallery(explorer) == [2, 9]


@pytest.mark.parametrize(("mode", "expected"), [("replace", [2, 3]), ("add", [1, 2, 3]), ("subtract", [1])])
def test_modes_of_the_lasso(explore, space, mode, expected):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.select([1, 2])
    explorer.mode = mode
    shown.lasso(2, 3)
    assert told(explorer) == ({"a": expected}, 0)
    # A key that is held goes before the mode, for this lasso alone.
    explorer.selected = [1, 2]
    explorer.mode = "replace"
    assert shown.legend.ask("gesture", kind="lasso", mode=mode) == (DONE, [])
    shown.lasso(2, 3)
    assert told(explorer) == ({"a": expected}, 0)
    assert explorer.mode == "replace"
    shown.lasso(5)
    assert told(explorer) == ({"a": [5]}, 0)
    explorer.mode = "add"
    shown.legend.ask("gesture", kind="lasso", mode=None)
    shown.lasso(6)
    assert told(explorer) == ({"a": [5, 6]}, 0)


def test_a_lasso_with_nothing_inside_says_so_and_changes_nothing(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.select([1])
    shown.lasso()
    assert shown.legend["notice"] == "There is no point inside this lasso; the selection is as before."
    assert told(explorer) == ({"a": [1]}, 0)
    assert explorer.undo()
    assert told(explorer) == ({}, None)
    # What is said is about the last lasso only.
    shown.lasso()
    shown.lasso(4)
    assert shown.legend["notice"] == ""


def test_taking_from_no_selection_is_said(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.mode = "subtract"
    shown.lasso(1)
    assert shown.legend["notice"] == "There is no active selection to subtract from."
    assert told(explorer) == ({}, None)


@pytest.mark.parametrize("inside", [(), (3, 4)], ids=["still", "a small lasso"])
def test_a_click_highlights_a_point_and_selects_nothing(explore, space, inside):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.select([1])
    shown.legend.ask("gesture", kind="click", item=6)
    shown.lasso(*inside)
    assert explorer.highlighted == shown.gallery["highlighted"] == 6
    assert told(explorer) == ({"a": [1]}, 0)
    assert shown.legend["notice"] == ""
    shown.legend.ask("gesture", kind="click", item=None)
    shown.lasso(*inside)
    assert explorer.highlighted is None
    assert told(explorer) == ({"a": [1]}, 0)
    shown.lasso(7)
    assert told(explorer) == ({"a": [7]}, 0)


# -- requests of the screen ---------------------------------------------------------------------------


def test_the_list_of_selections_can_be_worked_on(explore, space):
    explorer = explore(space)
    for indices in ([1, 2], [2, 3], [9]):
        explorer.select(indices)
    gallery = LatentScreen(explorer).gallery
    assert gallery.ask("activate", position=0) == (DONE, [])
    assert explorer.selected == (1, 2)
    assert gallery.ask("combine", position=1, how="union") == (DONE, [])
    assert gallery.ask("rename", position=0, name="ours") == (DONE, [])
    assert told(explorer) == ({"ours": [1, 2, 3], "b": [2, 3], "c": [9]}, 0)
    assert gallery.ask("remove", position=1) == (DONE, [])
    assert [row["name"] for row in gallery["selections"]] == ["ours", "c"]
    assert gallery.ask("begin") == (DONE, [])
    assert (explorer.active, explorer.selected) == (None, ())


@pytest.mark.parametrize(
    ("request_", "content", "message"),
    [
        ("activate", {"position": 2}, "there are 2 selections, no position 2"),
        ("rename", {"position": 0, "name": " "}, "a selection needs a name"),
        ("rename", {"position": 0, "name": "b"}, "there is a selection named 'b' already"),
        (
            "combine",
            {"position": 0, "how": "xor"},
            "how must be one of 'union', 'intersection', 'difference', got 'xor'",
        ),
        ("remove", {"position": 7}, "there are 2 selections, no position 7"),
        ("remove", {}, "'position'"),
        ("explain", {"item": 24}, "index must be 0 to 23, got 24"),
        ("sort", {}, "unknown request 'sort'"),
    ],
)
def test_requests_that_cannot_be_met_get_an_error_reply_and_change_nothing(explore, space, request_, content, message):
    explorer = explore(space)
    explorer.select([1])
    explorer.select([2])
    assert LatentScreen(explorer).gallery.ask(request_, **content) == ({"error": message}, [])
    assert told(explorer) == ({"a": [1], "b": [2]}, 1)


@pytest.mark.parametrize("part", ["toolbar", "legend"])
def test_undo_and_clear_from_the_screen(explore, space, part):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    part = getattr(shown, part)
    explorer.select([1])
    assert part.ask("clear") == (DONE, [])
    assert told(explorer) == ({}, None)
    assert part.ask("undo") == (DONE, [])
    assert told(explorer) == ({"a": [1]}, 0)
    part.ask("undo")
    assert shown.legend["notice"] == ""
    assert part.ask("undo") == (DONE, [])
    assert shown.legend["notice"] == "There is nothing to undo."


def test_a_key_on_the_figure_begins_a_selection(explore, space):
    explorer = explore(space)
    explorer.select([1])
    assert LatentScreen(explorer).legend.ask("begin") == (DONE, [])
    assert explorer.active is None


def test_the_active_selection_is_exported_as_it_is(explore, space):
    explorer = explore(space)
    explorer.select([20, 4, 5], name="Häuser & Co/1")
    reply, (file,) = LatentScreen(explorer).toolbar.ask("export")
    assert reply == {"error": None, "name": "Häuser___Co_1.csv"}
    read = pandas.read_csv(io.BytesIO(file), index_col="index")
    pandas.testing.assert_frame_equal(read, explorer.selection, check_dtype=False)
    assert read.index.tolist() == [4, 5, 20]
    assert read["place"].tolist() == [explorer.selection["place"][i] for i in (4, 5, 20)]


def test_a_large_table_is_written_in_the_background(explore, space, monkeypatch):
    monkeypatch.setattr(selecting, "_ROWS_AT_ONCE", 2)
    explorer = explore(space)
    explorer.select([20, 4, 5], name="some")
    toolbar = LatentScreen(explorer).toolbar
    said, going_on = [], threading.Event()
    explorer._legend.observe(lambda change: said.append((change["new"], going_on.wait(30))), names=["notice"])
    # No reply yet, and no second table beside the first.
    assert toolbar.send({"request": "export", "id": 1}) == []
    assert toolbar.ask("export") == ({"error": "A table is being written already."}, [])

    def finish():
        going_on.set()
        assert explorer.wait(30)

    ((reply, (file,)),) = toolbar.sent_while(finish)
    assert reply == {"id": 1, "error": None, "name": "some.csv"}
    assert bytes(file).decode() == explorer.selections[0].to_csv()
    assert [text for text, _ in said] == [
        "Writing a table of 3 rows: 0% …",
        "Writing a table of 3 rows: 100% …",
        "",
    ]


def test_nothing_to_export(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    nothing = {"error": "Nothing is selected: there is nothing to export."}
    assert shown.toolbar.ask("export") == (nothing, [])
    explorer.select([])
    assert shown.toolbar.ask("export") == (nothing, [])


def test_the_thumbnail_of_a_point_with_what_is_known_of_it(explore, space, places):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    reply, (image,) = shown.legend.ask("thumbnail", item=3)
    assert reply == {
        "error": None,
        "item": 3,
        "facts": [["IoU", "0.25"], ["place", "place 1"], ["number", "3"], ["even", "False"]],
    }
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(image))), space.collection_.thumbnails[3])
    explorer.color_by = "truth_area"
    reply, _ = shown.legend.ask("thumbnail", item=5)
    assert reply["facts"][:2] == [["IoU", "not defined"], ["Area of the truth (px)", "0"]]
    assert shown.legend.ask("thumbnail", item=24)[0] == {"error": "indices must be 0 to 23, got 24 to 24"}


# -- data that is out of the ordinary -----------------------------------------------------------------


def test_three_items(explore, map_of, make_places):
    explorer = explore(map_of(make_places(3)))
    shown = LatentScreen(explorer)
    assert explorer.wait(60)
    assert explorer.error == ""
    assert shown.table["most"] == 2
    assert sorted(row["size"] for row in shown.table["rows"]) == [1, 2]
    shown.lasso(0, 1, 2)
    assert explorer.selected == (0, 1, 2)
    assert shown.legend["surface"]["score"] == "nan"


def test_no_item_has_an_iou(explore, map_of, make_places):
    explorer = explore(map_of(make_places(8, empty=range(8))))
    shown = LatentScreen(explorer)
    assert explorer.wait(60)
    assert explorer.error == ""
    assert shown.legend["surface"] == {}
    assert shown.points.colors == [MISSING] * 8
    assert shown.legend["legend"]["missing"] == 8
    shown.lasso(2, 0)
    assert shown.gallery["selections"][0]["mean"] == "nan"
    assert shown.items == [0, 2]
    assert {row["mean"] for row in shown.table["rows"]} == {"nan"}
    explorer.color_by = "expected_iou"
    assert shown.points.colors == [MISSING] * 8


def test_columns_of_the_data_set_that_have_names_of_ours(explore, map_of, make_places):
    names = ["cluster", "iou", "item"]
    columns = {name: [f"my {name} {i % 2}" for i in range(9)] for name in names}
    space = map_of(make_places(9, columns=columns))
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.color_by = "cluster"  # while clusters are sought, and after
    assert explorer.wait(60)
    assert explorer.error == ""
    assert shown.legend["legend"]["title"] == "Cluster"
    assert shown.points.colors == [category_color(label) for label in explorer.space.labels_]
    for name in names:
        explorer.color_by = f"data_{name}"
        assert [entry["label"] for entry in shown.legend["legend"]["entries"]] == [
            f"my {name} 0",
            f"my {name} 1",
        ]
        facts = shown.legend.ask("thumbnail", item=1)[0]["facts"]
        assert facts[1] == [f"data {name}", f"my {name} 1"]
