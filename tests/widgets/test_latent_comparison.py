import gc
import io
from dataclasses import replace

import ipywidgets
import numpy as np
import pandas
import pytest
import traitlets
from matplotlib.colors import to_hex
from on_screen import ComparisonScreen, unpacked

import hdm_widgets as hw
from hdm_widgets.latent.comparison_plot import CHANGES, bounds_of, change_limit, drawing_order
from hdm_widgets.widgets.latent.compared_columns import signed
from hdm_widgets.widgets.latent.compared_gallery import COMPARED_SORTS

DONE = {"error": None}
HEIGHT, WIDTH = 5, 7


def changes(comparison):
    change = comparison.iou_change
    return {item: change[item] for item in range(24) if abs(change[item]) > 0.1}


# -- at the beginning ---------------------------------------------------------------------------------


def test_both_maps_show_the_items_at_the_common_coordinates(compare, comparison):
    explorer = compare()
    screen = ComparisonScreen(explorer)
    order = drawing_order(comparison)
    for shown, points in zip(screen.maps, comparison.coordinates, strict=True):
        np.testing.assert_array_equal(shown.points.x, points[order, 0])
        np.testing.assert_array_equal(shown.points.y, points[order, 1])
        scales = shown.points.scales
        assert (scales["x"].min, scales["x"].max, scales["y"].min, scales["y"].max) == bounds_of(comparison)
    assert (explorer.selected, explorer.active, explorer.highlighted) == ((), None, None)
    assert (explorer.color_by, explorer.mode) == ("iou_change", "replace")
    assert explorer.comparison is comparison
    assert screen.items == []
    assert repr(explorer) == "LatentComparison('before', '<b>after</b>': 24 items)"


def test_the_pointer_is_told_of_the_points_of_both_maps(compare, comparison):
    first = ComparisonScreen(compare()).legend["_points"]
    (second,) = first["others"]
    order = drawing_order(comparison)
    for told, points in zip((first, second), comparison.coordinates, strict=True):
        np.testing.assert_array_equal(told["positions"], points[order].astype(np.float32))
        np.testing.assert_array_equal(told["rows"], order.astype(np.int32))
        assert tuple(told["bounds"]) == bounds_of(comparison)


def test_the_headings_name_the_models_as_text(compare, comparison):
    first, second = ComparisonScreen(compare()).headings
    assert first == f"<b>before</b><span> · mean IoU {np.nanmean(comparison.iou[0]):.2f}</span>"
    assert second.startswith("<b>&lt;b&gt;after&lt;/b&gt;</b><span> · mean IoU ")
    assert second.endswith("</span><span> · aligned to before</span>")


def test_a_long_name_is_shortened_in_its_middle(compare, comparison):
    names = ("unet & resnet34 of run_7 epoch_0012.pt", "unet & resnet34 of run_7 epoch_0240.pt")
    screen = ComparisonScreen(compare(replace(comparison, names=names)))
    start = (
        '<b title="unet &amp; resnet34 of run_7 epoch_0012.pt"><i>unet &amp; resnet34 of run_7 epo</i>ch_0012.pt</b>'
    )
    assert screen.headings[0].startswith(f"{start}<span> · mean IoU ")
    assert screen.headings[1].endswith("<span> · aligned to unet &amp; resnet…ch_0012.pt</span>")


def test_the_axes_are_those_of_the_first_space(compare, comparison):
    first, second = (shown.figure.axes for shown in ComparisonScreen(compare()).maps)
    variance = comparison.spaces[0].explained_variance_ratio_[0]
    assert first[0].label == f"PC 1 ({variance:.0%} of the variance)"
    assert [axis.label for axis in second] == ["PC 1 of before", "PC 2 of before"]


def test_the_verdict_has_the_figures_of_the_comparison(compare, comparison):
    findings = ComparisonScreen(compare()).head["findings"]
    both = np.isfinite(comparison.iou_change)
    assert findings["names"] == list(comparison.names)
    assert findings["scored"] == 22
    assert findings["before"] == comparison.iou[0][both].mean()
    assert findings["after"] == comparison.iou[1][both].mean()
    found = changes(comparison)
    counts = {"better": sum(one > 0 for one in found.values()), "worse": sum(one < 0 for one in found.values())}
    assert findings["lists"] == counts | {"moved": len(comparison.moved)}
    assert (findings["cka"], findings["ckaNull"]) == (comparison.cka, comparison.cka_null)
    assert (findings["overlap"], findings["overlapNull"]) == (comparison.overlap, comparison.overlap_null)
    assert findings["likeness"] == comparison.likeness
    assert (findings["k"], findings["changedAbove"], findings["movedBelow"]) == (3, 0.1, comparison.moved_below)


# -- colors -------------------------------------------------------------------------------------------


def test_points_are_colored_by_the_change_of_iou_with_0_in_the_middle(compare, comparison):
    screen = ComparisonScreen(compare())
    limit, change = change_limit(comparison), comparison.iou_change
    expected = [
        to_hex(CHANGES(0.5 + np.clip(change[i], -limit, limit) / (2 * limit))) if np.isfinite(change[i]) else "#9aa4b2"
        for i in drawing_order(comparison)
    ]
    for shown in screen.maps:
        assert shown.points.colors == expected
    legend = screen.legend["legend"]
    assert (legend["kind"], legend["title"], legend["missing"]) == ("scale", "Change of IoU", 2)
    assert legend["low"] == -legend["high"] == -limit
    assert (legend["colors"][0], legend["colors"][-1]) == (to_hex(CHANGES(0.0)), to_hex(CHANGES(1.0)))
    beyond = bool((np.abs(change[np.isfinite(change)]) > limit).any())
    assert legend["ends"] == [("≤ " if beyond else "") + signed(-limit), ("≥ " if beyond else "") + signed(limit)]


@pytest.mark.parametrize(
    ("name", "title", "caption"),
    [
        ("iou_a", "IoU, before", ""),
        ("iou_b", "IoU, <b>after</b>", ""),
        ("neighbors", "Overlap of neighbors", "Overlap of neighbors"),
        ("place", "place", "place"),
    ],
)
def test_points_are_colored_by_other_columns(compare, name, title, caption):
    explorer = compare()
    screen = ComparisonScreen(explorer)
    before = list(screen.maps[0].points.colors)
    screen.head.set(color_by=name)
    assert explorer.color_by == name
    assert screen.legend["legend"]["title"] == title
    assert screen.maps[0].points.colors == screen.maps[1].points.colors != before
    assert screen.gallery["caption_by"] == caption


def test_the_scale_of_either_iou_is_from_0_to_1(compare):
    legend = ComparisonScreen(compare(color_by="iou_b")).legend["legend"]
    assert (legend["low"], legend["high"]) == (0, 1)


def test_the_list_of_colors(compare):
    names = [name for name, _ in ComparisonScreen(compare()).head["colors"]]
    assert names == ["iou_change", "iou_a", "iou_b", "neighbors", "place", "number", "even"]


@pytest.mark.parametrize(
    ("change", "text"),
    [(0.123, "+0.12"), (-0.5, "\N{MINUS SIGN}0.50"), (0.004, "±0"), (-0.001, "±0"), (np.nan, "not defined")],
)
def test_changes_are_written_with_their_sign(change, text):
    assert signed(change) == text


# -- selecting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
def test_a_lasso_on_either_map_selects_on_both(compare, comparison, which):
    explorer = compare()
    screen = ComparisonScreen(explorer)
    drawn = [3, 20, 9]
    screen.maps[which].lasso(*drawn)
    items = sorted(drawing_order(comparison)[drawn].tolist())
    assert explorer.selected == tuple(items)
    assert sorted(screen.items) == items
    dimmed = [np.flatnonzero(np.asarray(shown.points.opacities) < 1).tolist() for shown in screen.maps]
    assert dimmed[0] == dimmed[1] == sorted(set(range(24)) - set(drawn))
    assert [(name["text"], name["figure"]) for name in screen.legend["names"]] == [("a", 0), ("a", 1)]
    # The next one replaces it, and Shift adds to it.
    screen.maps[1 - which].lasso(5)
    assert explorer.selected == (int(drawing_order(comparison)[5]),)
    assert screen.legend.ask("gesture", kind="lasso", mode="add")[0] == DONE
    screen.maps[which].lasso(6)
    assert explorer.selected == tuple(sorted(drawing_order(comparison)[[5, 6]].tolist()))


@pytest.mark.parametrize(("name", "title"), [("better", "got better"), ("worse", "got worse"), ("moved", "moved")])
def test_a_list_selects_its_items(compare, comparison, name, title):
    explorer = compare()
    screen = ComparisonScreen(explorer)
    items = tuple(sorted(getattr(comparison, name).tolist()))
    assert items
    assert screen.head.ask("choose", list=name)[0] == DONE
    assert explorer.selected == items
    assert [one.name for one in explorer.selections] == [title]
    assert screen.head["chosen"] == name
    explorer.selected = [1]
    assert screen.head["chosen"] == ""


def test_a_list_replaces_another_list_but_no_other_selection(compare, comparison):
    explorer = compare()
    screen = ComparisonScreen(explorer)
    explorer.select([8], name="mine")
    for name in ("better", "worse"):
        screen.head.ask("choose", list=name)
    told = {one.name: one.indices.tolist() for one in explorer.selections}
    assert told == {"mine": [8], "got worse": sorted(comparison.worse.tolist())}
    screen.head.set(mode="add")
    screen.head.ask("choose", list="better")
    assert explorer.selected == tuple(sorted(np.union1d(comparison.better, comparison.worse).tolist()))


def test_an_unknown_list_is_refused(compare):
    reply, _ = ComparisonScreen(compare()).head.ask("choose", list="best")
    assert reply["error"].startswith("list must be")


def test_undo_and_clear(compare):
    explorer = compare()
    screen = ComparisonScreen(explorer)
    explorer.select([2, 4])
    assert screen.head["can_undo"]
    screen.head.ask("clear")
    assert explorer.selections == ()
    screen.legend.ask("undo")
    assert explorer.selected == (2, 4)
    explorer.undo()
    screen.head.ask("undo")
    assert screen.legend["notice"] == "There is nothing to undo."


def test_a_click_highlights_the_item_on_both_maps_and_its_card(compare, comparison):
    explorer = compare()
    screen = ComparisonScreen(explorer)
    explorer.select([7, 8])
    screen.legend.ask("gesture", kind="click", item=7)
    screen.maps[1].lasso(3)
    assert explorer.highlighted == 7
    assert explorer.selected == (7, 8)
    assert screen.gallery["highlighted"] == 7
    for shown, points in zip(screen.maps, comparison.coordinates, strict=True):
        assert (shown.ring.x[0], shown.ring.y[0]) == tuple(points[7])
    screen.gallery.set(highlighted=None)
    assert explorer.highlighted is None
    assert not screen.maps[0].ring.visible


@pytest.mark.parametrize(
    ("trait", "value"),
    [("color_by", "dice"), ("selected", [24]), ("highlighted", 24), ("active", 0), ("mode", "xor")],
)
def test_values_that_cannot_be_are_refused(compare, trait, value):
    explorer = compare()
    before = getattr(explorer, trait)
    with pytest.raises(traitlets.TraitError):
        setattr(explorer, trait, value)
    assert getattr(explorer, trait) == before


# -- the gallery --------------------------------------------------------------------------------------


def test_the_list_of_selections_has_both_mean_ious(compare, comparison):
    explorer = compare()
    explorer.select([0, 1, 5], name="some")
    explorer.select([5], name="none")
    some, none = ComparisonScreen(explorer).gallery["selections"]
    assert (some["count"], some["mean"], some["after"]) == (3, comparison.iou[0][[0, 1]].mean(), 1.0)
    assert (none["mean"], none["after"]) == ("nan", "nan")


@pytest.mark.parametrize("place", range(len(COMPARED_SORTS)))
def test_images_are_sorted(compare, comparison, place):
    explorer = compare()
    screen = ComparisonScreen(explorer)
    explorer.select(np.arange(24))
    screen.gallery.set(sort=COMPARED_SORTS[place])
    change = comparison.iou_change
    key = [-np.abs(change), change, -change, comparison.neighbors, np.arange(24.0)][place]
    expected = sorted(range(24), key=lambda item: (np.isnan(key[item]), key[item], item))
    assert screen.items == expected


def test_an_item_comes_with_both_predictions(compare, comparison):
    screen = ComparisonScreen(compare())
    reply, buffers = screen.gallery.ask("images", items=[6, 1])
    assert screen.gallery["_about"]["compared"] == list(comparison.names)
    assert len(buffers) == 8
    for place, item in enumerate((6, 1)):
        entry = reply["images"][place]
        assert (entry["iou"], entry["after"]) == tuple(iou[item] for iou in comparison.iou)
        _, *masks = buffers[4 * place : 4 * place + 4]
        first, second = comparison.spaces
        for packed, mask in zip(
            masks, (first.truth(item), first.prediction(item), second.prediction(item)), strict=True
        ):
            np.testing.assert_array_equal(unpacked(packed, HEIGHT, WIDTH), mask)


def test_pixels_that_do_not_count_are_in_neither_prediction(make_places):
    places = make_places()
    ignored = np.zeros((HEIGHT, WIDTH), bool)
    ignored[0] = True
    features = places.images.mean((2, 3))
    spaces = [
        hw.LatentSpace.from_features(features, places, masks, ignore=ignored, progress=False)
        for masks in (places.drawn, places.masks)
    ]
    explorer = hw.LatentComparison(hw.compare_spaces(*spaces, k=3))
    _, buffers = ComparisonScreen(explorer).gallery.ask("images", items=[2])
    _, truth, first, left_out, second = (unpacked(part, HEIGHT, WIDTH) if i else None for i, part in enumerate(buffers))
    np.testing.assert_array_equal(left_out, ignored)
    for mask in (truth, first, second):
        assert not mask[0].any()
        assert mask[1].all()  # of truth 3 rows, of the first model 3
    explorer.close()


def test_a_saved_notebook_has_the_first_items(compare, comparison):
    explorer = compare()
    explorer.select([1, 6])
    saved = ComparisonScreen(explorer).gallery["_saved"]
    assert [one["index"] for one in saved] == ComparisonScreen(explorer).items
    for one in saved:
        item = one["index"]
        assert one["after"] == comparison.iou[1][item]
        np.testing.assert_array_equal(unpacked(one["second"], HEIGHT, WIDTH), comparison.spaces[1].prediction(item))


def test_masks_of_large_images_are_saved_smaller(compare, comparison, monkeypatch):
    monkeypatch.setattr("hdm_widgets.widgets.latent.gallery._LONGEST_SAVED", 4)
    explorer = compare()
    explorer.select([6])
    (saved,) = ComparisonScreen(explorer).gallery["_saved"]
    # Every second pixel.
    assert (saved["height"], saved["width"]) == (2, 3)
    second = comparison.spaces[1].prediction(6)[1::2, 1::2]
    np.testing.assert_array_equal(unpacked(saved["second"], 2, 3), second)


def test_the_thumbnail_beside_a_point_says_what_changed(compare, comparison):
    reply, (png,) = ComparisonScreen(compare()).legend.ask("thumbnail", item=6)
    facts = dict(reply["facts"])
    before, after = (iou[6] for iou in comparison.iou)
    assert facts["IoU"] == f"{before:.2f} → {after:.2f}"
    assert facts["Change"] == signed(after - before)
    assert facts["Neighbors"] == f"overlap {comparison.neighbors[6]:.2f}"
    assert facts["place"] == "place 0"
    assert png.startswith(b"\x89PNG")
    facts = dict(ComparisonScreen(compare()).legend.ask("thumbnail", item=5)[0]["facts"])
    assert (facts["IoU"], facts["Change"]) == ("\N{EN DASH} → \N{EN DASH}", "not defined")


def test_the_selection_is_exported_and_is_a_table(compare, comparison):
    explorer = compare()
    screen = ComparisonScreen(explorer)
    assert screen.head.ask("export")[0]["error"] == "Nothing is selected: there is nothing to export."
    screen.head.ask("choose", list="better")
    reply, (file,) = screen.head.ask("export")
    assert reply == {"name": "got_better.csv"} | DONE
    read = pandas.read_csv(io.BytesIO(file), index_col="index")
    expected = comparison.frame().loc[sorted(comparison.better)]
    pandas.testing.assert_frame_equal(read, expected, check_index_type=False)
    pandas.testing.assert_frame_equal(explorer.selection, expected)


# -- what is refused, and the end ---------------------------------------------------------------------


def test_something_else_is_refused_with_advice(comparison):
    expected = "expected one SpaceComparison and keywords, got"
    with pytest.raises(TypeError, match=f"{expected} LatentSpace; write LatentComparison"):
        hw.LatentComparison(comparison.spaces[0])
    with pytest.raises(TypeError, match=f"{expected} LatentSpace, LatentSpace; write LatentComparison"):
        hw.LatentComparison(*comparison.spaces)
    with pytest.raises(ValueError, match="color_by must be"):
        hw.LatentComparison(comparison, color_by="dice")


def test_no_item_has_an_iou(make_places):
    places = make_places(empty=range(24))
    space = hw.LatentSpace.from_features(
        places.images.mean((2, 3)), places, places.drawn, iou_empty=np.nan, progress=False
    )
    explorer = hw.LatentComparison(hw.compare_spaces(space, space, k=3))
    screen = ComparisonScreen(explorer)
    assert screen.headings[0] == "<b>a</b><span> · no item has an IoU</span>"
    assert (screen.head["findings"]["before"], screen.head["findings"]["scored"]) == ("nan", 0)
    assert set(screen.maps[0].points.colors) == {"#9aa4b2"}
    explorer.close()


def test_closing_closes_every_widget(comparison):
    gc.collect()
    before = set(ipywidgets.widgets.widget._instances)
    explorer = hw.LatentComparison(comparison)
    screen = ComparisonScreen(explorer)
    screen.head.ask("choose", list="better")
    screen.maps[0].lasso(1, 2)
    explorer.highlighted = 3
    explorer.close()
    left = [
        type(ipywidgets.widgets.widget._instances[key]).__name__
        for key in set(ipywidgets.widgets.widget._instances) - before
    ]
    assert left == []
    assert repr(explorer) == "LatentComparison(closed)"
    with pytest.raises(RuntimeError, match="make a new LatentComparison"):
        explorer.select([1])


def test_marimo_is_told_what_works_there(compare):
    assert "comparison.plot()" in compare()._display_().data
