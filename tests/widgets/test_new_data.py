"""New data in the latent explorer: its panel, its points, its gallery."""

import io
from dataclasses import replace

import numpy as np
import pandas
import pytest
import traitlets
from ipywidgets.widgets import widget
from on_screen import LatentScreen, unpacked
from PIL import Image

import hdm_widgets as hw
from hdm_widgets.widgets.latent.new_items import NEW_SORTS, TRUTH_SORTS
from hdm_widgets.widgets.latent.palette import SCORES, table_of

TOTAL = 24  # items of the map
COUNT = 12  # new ones
DONE = {"error": None}
LOW = np.linspace(0.0, 0.55, COUNT)
KNOWN = {
    "iou": LOW + 0.2,
    "low": LOW,
    # The last one has the widest interval.
    "high": np.where(np.arange(COUNT) == COUNT - 1, 0.99, LOW + 0.4),
    "distance": np.resize([0.5, 0.1, 0.9, 0.3], COUNT),
    # Two of them cannot be relied on.
    "reliable": ~np.isin(np.arange(COUNT), (4, 9)),
    "skilled": True,
}
DOUBTFUL_FIRST = [4, 9, 0, 1, 2, 3, 5, 6, 7, 8, 10, 11]


@pytest.fixture(scope="module")
def estimates(grouped, new_places):
    """Estimates of them with known numbers."""
    return replace(grouped.estimate(new_places, progress=False), **KNOWN)


# -- at the beginning ---------------------------------------------------------------------------------


def test_without_new_data_nothing_of_it_is_on_screen(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    assert shown.panel is None
    assert (explorer.new_status, explorer.new_error, explorer.estimates) == ("idle", "", None)
    assert (explorer.new_selected, explorer.new_highlighted, explorer.points, explorer.gallery) == (
        (), None, "both", "map"
    )  # fmt: skip
    assert (shown.toolbar["has_new"], shown.legend["new"], shown.gallery["new_count"]) == (False, {}, 0)
    assert len(shown.figure.interaction.marks) == 1


def test_estimates_that_are_given_are_on_screen_at_once(explore, space, estimates):
    explorer = explore(space, new=estimates)
    shown = LatentScreen(explorer)
    assert explorer.estimates is estimates
    assert (explorer.new_status, explorer.gallery) == ("done", "new")
    assert shown.panel["state"] == "done"
    assert shown.new_points.marker == "diamond"
    np.testing.assert_array_equal(shown.new_points.x, estimates.embedding[:, 0])
    np.testing.assert_array_equal(shown.new_points.y, estimates.embedding[:, 1])
    table = table_of(SCORES)
    assert shown.new_points.colors == [table[int(256 * iou)] for iou in estimates.iou]
    assert (shown.gallery["new_count"], shown.gallery["source"]) == (COUNT, "new")
    assert shown.gallery["sorts"] == [*NEW_SORTS, *TRUTH_SORTS]
    assert shown.items == [TOTAL + item for item in DOUBTFUL_FIRST]


def test_the_panel_answers_how_far_the_model_can_be_trusted(explore, space, estimates, new_places):
    found = LatentScreen(explore(space, new=estimates)).panel["findings"]
    columns = found.pop("columns")
    assert found == {
        "count": COUNT,
        "mean": estimates.mean,
        "low": estimates.mean_low,
        "high": estimates.mean_high,
        "coverage": 0.9,
        "mapMean": pytest.approx(np.nanmean(space.iou_)),
        "reliable": COUNT - 2,
        "shift": estimates.shift.text,
        "shifted": estimates.shift.shifted,
        "skill": estimates.skill,
        "skilled": True,
        "measured": {
            "count": COUNT,
            "mean": pytest.approx(new_places.iou.mean()),
            "expected": pytest.approx(estimates.iou.mean()),
            "held": int(((new_places.iou >= KNOWN["low"]) & (new_places.iou <= KNOWN["high"])).sum()),
        },
    }
    assert 0 < found["measured"]["held"] < COUNT
    assert 1 <= len(columns) <= 4
    for column in columns:
        assert len(column["map"]) == len(column["new"]) == 24
        assert sum(column["map"]) == pytest.approx(1)
        assert sum(column["new"]) == pytest.approx(1)


def test_the_columns_that_moved_are_compared_the_largest_change_first(explore, space, estimates):
    shift = replace(
        estimates.shift,
        shifted=True,
        columns={"area_at_50": 0.9, "pc1": 0.5, "pc30": 0.4},
        directions={"area_at_50": 1.26, "pc1": -0.5, "pc30": 1.0},
    )
    moved, first = LatentScreen(explore(space, new=replace(estimates, shift=shift))).panel["findings"]["columns"]
    assert (moved["title"], moved["moved"]) == ("Fraction of pixels above 0.5", "higher by 1.3 SD")
    assert moved["mapMedian"] == pytest.approx(np.median(space.collection_.confidences["area_at_50"]))
    assert (first["title"], first["moved"]) == ("PC 1", "lower by 0.5 SD")
    assert first["newMedian"] == pytest.approx(np.median(estimates.embedding[:, 0]))


@pytest.mark.parametrize("skilled", [True, False])
def test_the_legend_says_where_no_estimate_is_better_than_the_mean(explore, space, estimates, skilled):
    explorer = explore(space, new=replace(estimates, skilled=skilled, skill="no better than the mean"))
    shown = LatentScreen(explorer)
    new = shown.legend["new"]
    assert (new["count"], new["outside"]) == (COUNT, 0)
    assert new["skill"] == ("" if skilled else "no better than the mean")
    assert shown.panel["findings"]["skilled"] == skilled


def test_the_map_grows_until_new_items_are_in_it_but_not_for_ever(explore, space, estimates):
    x0, x1, y0, _ = LatentScreen(explore(space)).legend["_points"]["bounds"]
    embedding = estimates.embedding.copy()
    embedding[0] = [x1 + 0.5 * (x1 - x0), y0]
    embedding[1] = [x1 + 50 * (x1 - x0), y0]
    observed = estimates.observed
    moved = observed.features + (embedding - estimates.embedding) @ space.projection_.components[:2]
    observed = replace(observed, collection=replace(observed.collection, features=moved.astype(np.float32)))
    shown = LatentScreen(explore(space, new=replace(estimates, embedding=embedding, observed=observed)))
    left, right, *_ = shown.legend["_points"]["bounds"]
    assert left == x0
    assert right == pytest.approx(x1 + (x1 - x0))
    assert shown.new_points.x[0] == embedding[0, 0]
    assert shown.new_points.x[0] < shown.new_points.x[1] < right
    assert shown.legend["new"]["outside"] == 1
    axis = shown.figure.axes[0]
    assert (axis.scale.min, axis.scale.max) == (left, right)
    assert max(axis.tick_values) > x1


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (5, "the data set must have a length and items"),
        ("folder", "the data set must have a length and items"),
        ([], "the data set is empty"),
        (np.zeros((3, 4)), "images must be"),
    ],
)
def test_what_is_no_data_is_an_error_at_once(space, new, message):
    with pytest.raises((TypeError, ValueError), match=message):
        hw.LatentExplorer(space, new=new)


def test_estimates_without_images_are_an_error_at_once(space, estimates):
    with pytest.raises(ValueError, match="no images and predictions to show"):
        hw.LatentExplorer(space, new=replace(estimates, observed=None))
    with pytest.raises(ValueError, match="of a map with 3 components, this one has 2"):
        hw.LatentExplorer(space, new=replace(estimates, embedding=np.zeros((COUNT, 3))))


@pytest.mark.parametrize("change", [{}, {"pool": "max"}])
def test_estimates_of_another_map_are_an_error_at_once(space, new_places, make_places, change):
    other = hw.LatentSpace(space.segmenter, iou_empty=float("nan"), **change).fit(make_places(20), progress=False)
    assert other.embedding_.shape[1] == space.embedding_.shape[1]
    with pytest.raises(ValueError, match="of another map; use this space's estimate"):
        hw.LatentExplorer(space, new=other.estimate(new_places, progress=False))


def test_estimates_of_the_same_map_saved_and_loaded_are_shown(explore, space_on_disk, estimates):
    assert explore(space_on_disk(), new=estimates).estimates is estimates


@pytest.mark.parametrize("change", [{"observed": None}, {"embedding": np.zeros((COUNT, 2))}, None])
def test_what_is_refused_leaves_no_widgets(space, estimates, change):
    before = set(widget._instances)
    with pytest.raises(ValueError, match=r"estimates|empty"):
        hw.LatentExplorer(space, new=[] if change is None else replace(estimates, **change))
    assert set(widget._instances) == before


# -- the gallery --------------------------------------------------------------------------------------


def test_images_and_predictions_come_with_estimate_and_interval(explore, space, estimates, new_places):
    shown = LatentScreen(explore(space, new=estimates))
    reply, (image, truth, predicted) = shown.gallery.ask("images", items=[TOTAL + 4])
    assert reply["images"] == [
        {
            "index": TOTAL + 4,
            "iou": KNOWN["iou"][4],
            "interval": {"low": LOW[4], "high": KNOWN["high"][4], "reliable": False, "measured": new_places.iou[4]},
            "caption": "",
            "error": "",
        }
    ]
    assert Image.open(io.BytesIO(image)).size == (7, 5)
    np.testing.assert_array_equal(unpacked(truth, 5, 7), new_places.masks[4])
    np.testing.assert_array_equal(unpacked(predicted, 5, 7), new_places.drawn[4])


def test_an_image_that_cannot_be_read_again_is_shown_as_its_thumbnail(explore, space, make_places):
    data = make_places(COUNT)
    estimates = space.estimate(data, progress=False)
    data.broken.add(2)
    shown = LatentScreen(explore(space, new=estimates))
    reply, (image, *_) = shown.gallery.ask("images", items=[TOTAL + 2])
    assert "disk 2 is gone" in reply["images"][0]["error"]
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(image))), estimates.observed.thumbnails[2])


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (NEW_SORTS[0], DOUBTFUL_FIRST),
        (NEW_SORTS[1], list(range(COUNT))),
        (NEW_SORTS[2], list(range(COUNT))[::-1]),
        (NEW_SORTS[3], [11, *range(11)]),
        (NEW_SORTS[4], [2, 6, 10, 0, 4, 8, 3, 7, 11, 1, 5, 9]),
        (NEW_SORTS[5], list(range(COUNT))),
    ],
)
def test_new_items_are_sorted(explore, space, estimates, sort, expected):
    shown = LatentScreen(explore(space, new=estimates))
    shown.gallery.set(sort=sort)
    # Widths are equal up to rounding.
    found = np.array(shown.items) - TOTAL
    assert found[0] == 11 if sort == NEW_SORTS[3] else found.tolist() == expected
    assert sorted(found) == list(range(COUNT))


def test_the_gallery_turns_between_map_and_new_data_and_keeps_each_ones_sort(explore, space, estimates):
    explorer = explore(space, new=estimates)
    shown = LatentScreen(explorer)
    explorer.select([3, 8])
    assert explorer.gallery == "map"
    explorer.gallery = "new"
    shown.gallery.set(sort=NEW_SORTS[5])
    assert shown.gallery.ask("turn", source="map") == (DONE, [])
    assert explorer.gallery == "map"
    assert sorted(shown.items) == [3, 8]
    assert shown.gallery["sort"] == "lowest IoU first"
    explorer.gallery = "new"
    assert shown.gallery["sort"] == NEW_SORTS[5]
    assert shown.items == list(range(TOTAL, TOTAL + COUNT))


@pytest.mark.parametrize(
    ("choose", "chosen"),
    [
        (lambda explorer, _: explorer.select([1, 2]), [1, 2]),
        (lambda explorer, _: setattr(explorer, "selected", [4, 7]), [4, 7]),
        (lambda explorer, _: setattr(explorer, "active", 0), [3, 8]),
        (lambda _, shown: shown.table.ask("choose", label=0), None),
    ],
)
def test_what_is_selected_is_shown_whatever_the_gallery_showed(explore, space, estimates, choose, chosen):
    explorer = explore(space, new=estimates)
    shown = LatentScreen(explorer)
    explorer.select([3, 8])
    explorer.active = None
    explorer.gallery = "new"
    choose(explorer, shown)
    expected = np.flatnonzero(space.labels_ == 0).tolist() if chosen is None else chosen
    assert (explorer.gallery, list(explorer.selected), sorted(shown.items)) == ("map", expected, expected)
    explorer.new_selected = [2, 9]
    assert (explorer.gallery, explorer.new_selected) == ("new", (2, 9))
    assert sorted(shown.items) == [TOTAL + 2, TOTAL + 9]
    explorer.gallery = "map"
    assert explorer.undo()  # shows what is turned to, as before
    assert (explorer.gallery, explorer.new_selected, sorted(shown.items)) == ("map", (), expected)


def test_a_selection_that_is_refused_does_not_turn_the_gallery(explore, space, estimates):
    explorer = explore(space, new=estimates)
    with pytest.raises(ValueError, match="indices must be"):
        explorer.select([TOTAL])
    with pytest.raises(traitlets.TraitError, match="indices must be"):
        explorer.new_selected = [COUNT]
    assert explorer.gallery == "new"


# -- choosing -----------------------------------------------------------------------------------------


def test_those_to_label_first_are_selected_and_shown(explore, space, estimates):
    explorer = explore(space, new=estimates)
    shown = LatentScreen(explorer)
    assert shown.panel["to_label"] == 20
    explorer.gallery = "map"
    assert shown.panel.ask("label", count=3) == (DONE, [])
    chosen = sorted(estimates.to_label(3).tolist())
    assert explorer.new_selected == tuple(chosen)
    assert explorer.gallery == "new"
    assert sorted(shown.items) == [TOTAL + item for item in chosen]
    np.testing.assert_array_equal(shown.new_points.opacities == 1, np.isin(np.arange(COUNT), chosen))
    shown.gallery.ask("all")
    assert explorer.new_selected == ()
    assert len(shown.items) == COUNT
    assert (np.array(shown.new_points.opacities) == 1).all()


def test_selected_new_items_are_exported(explore, space, estimates, new_places):
    explorer = explore(space, new=estimates)
    shown = LatentScreen(explorer)
    explorer.new_selected = [5, 2]
    for part in (shown.toolbar, shown.panel):
        reply, (file,) = part.ask("export")
        assert reply == {"error": None, "name": "new_items.csv"}
        read = pandas.read_csv(io.BytesIO(file), index_col="index")
        assert read.index.tolist() == [2, 5]
        np.testing.assert_allclose(read["iou"], estimates.iou[[2, 5]])
        assert read["item"].tolist() == [2, 5]
        np.testing.assert_allclose(read["measured_iou"], new_places.iou[[2, 5]])
        assert read["place"].tolist() == ["place 0", "place 2"]
    explorer.new_selected = []
    _, (file,) = shown.panel.ask("export")
    assert len(pandas.read_csv(io.BytesIO(file))) == COUNT


def lasso(shown, of_map, of_new):
    """What bqplot does at the end of a lasso: it tells of one kind of points after the other."""
    shown.points.selected = np.array(of_map, np.uint32)
    shown.new_points.selected = np.array(of_new, np.uint32)


def test_a_lasso_selects_of_both(explore, space, estimates):
    explorer = explore(space, new=estimates)
    shown = LatentScreen(explorer)
    lasso(shown, [3, 5], [1, 2])
    assert (explorer.selected, explorer.new_selected, explorer.gallery) == ((3, 5), (1, 2), "new")
    assert shown.points.selected is None
    assert shown.new_points.selected is None
    explorer.mode = "add"
    lasso(shown, [], [7])
    assert (explorer.selected, explorer.new_selected, explorer.gallery) == ((3, 5), (1, 2, 7), "new")
    explorer.mode = "subtract"
    lasso(shown, [5], [])
    assert (explorer.selected, explorer.new_selected, explorer.gallery) == ((3,), (1, 2, 7), "map")
    lasso(shown, [], [])
    assert "There is no point inside this lasso" in shown.legend["notice"]


def test_what_a_lasso_could_not_do_stays_on_screen(explore, space, estimates):
    explorer = explore(space, new=estimates)
    shown = LatentScreen(explorer)
    explorer.new_selected = [1, 2]
    explorer.mode = "subtract"
    lasso(shown, [3, 5], [2, 6])
    assert shown.legend["notice"] == "There is no active selection to subtract from."
    assert (explorer.selected, explorer.new_selected) == ((), (1,))
    assert explorer.undo()
    assert explorer.new_selected == (1, 2)


def test_one_undo_takes_back_what_one_lasso_did(explore, space, estimates):
    explorer = explore(space, new=estimates)
    shown = LatentScreen(explorer)
    lasso(shown, [3, 5], [1, 2])
    lasso(shown, [4], [9])
    assert explorer.undo()
    assert (explorer.selected, explorer.new_selected) == ((3, 5), (1, 2))
    explorer.clear()
    assert (explorer.selected, explorer.new_selected) == ((), ())
    assert explorer.undo()
    assert explorer.undo()
    assert (explorer.selected, explorer.new_selected) == ((), ())
    assert not explorer.undo()


@pytest.mark.parametrize(
    ("points", "rows", "visible"),
    [
        ("map", range(TOTAL), (True, False)),
        ("new", range(TOTAL, TOTAL + COUNT), (False, True)),
        ("both", range(TOTAL + COUNT), (True, True)),
    ],
)
def test_points_of_one_kind_alone_are_drawn_hit_and_lassoed(explore, space, estimates, points, rows, visible):
    explorer = explore(space, new=estimates)
    shown = LatentScreen(explorer)
    shown.toolbar.set(points=points)
    assert explorer.points == points
    assert (shown.points.visible, shown.new_points.visible) == visible
    assert shown.legend["_points"]["rows"].tolist() == list(rows)
    drawn = [mark for mark, seen in zip((shown.points, shown.new_points), visible, strict=True) if seen]
    assert shown.figure.interaction.marks == drawn
    assert explorer.gallery == ("map" if points == "map" else "new")
    drawn[0].selected = np.array([4], np.uint32)
    if points != "both":
        assert (explorer.selected, explorer.new_selected) == (((4,), ()) if points == "map" else ((), (4,)))


def test_one_item_is_highlighted_of_the_map_or_a_new_one(explore, space, estimates):
    explorer = explore(space, new=estimates)
    shown = LatentScreen(explorer)
    shown.gallery.set(highlighted=TOTAL + 3)
    assert (explorer.highlighted, explorer.new_highlighted) == (None, 3)
    assert shown.ring.x.tolist() == [estimates.embedding[3, 0]]
    explorer.highlighted = 6
    assert (explorer.new_highlighted, shown.gallery["highlighted"]) == (None, 6)
    assert shown.ring.x.tolist() == [space.embedding_[6, 0]]
    explorer.new_highlighted = 2
    assert (explorer.highlighted, shown.gallery["highlighted"]) == (None, TOTAL + 2)
    shown.gallery.set(highlighted=None)
    assert (explorer.highlighted, explorer.new_highlighted, shown.ring.visible) == (None, None, False)
    # A click on a point.
    shown.legend.ask("gesture", kind="click", item=TOTAL + 1)
    lasso(shown, [], [])
    assert (explorer.new_highlighted, explorer.new_selected) == (1, ())


def test_the_thumbnail_of_a_new_item_tells_its_interval(explore, space, estimates):
    shown = LatentScreen(explore(space, new=estimates))
    reply, (image,) = shown.legend.ask("thumbnail", item=TOTAL + 4)
    assert reply["item"] == TOTAL + 4
    assert reply["facts"] == [
        ["Expected IoU", f"{KNOWN['iou'][4]:.2f}"],
        ["90% interval", f"{LOW[4]:.2f} to {LOW[4] + 0.4:.2f}"],
        ["Measured IoU", "0.50"],
        ["Reliable", "no"],
        ["Distance", "0.5"],
        ["place", "place 1"],
        ["number", "4"],
    ]
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(image))), estimates.observed.thumbnails[4])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("new_selected", [COUNT], "indices must be 0 to 11, got 12 to 12"),
        ("new_highlighted", COUNT, "position of one of 12 new items, got 12"),
        ("new_highlighted", -1, "position of one of 12 new items, got -1"),
        ("points", "none", "points must be one of 'both', 'map', 'new', got 'none'"),
        ("gallery", "both", "gallery must be one of 'map', 'new', got 'both'"),
    ],
)
def test_bad_values_are_refused_and_change_nothing(explore, space, estimates, name, value, message):
    explorer = explore(space, new=estimates)
    before = getattr(explorer, name)
    with pytest.raises(traitlets.TraitError, match=message):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before


@pytest.mark.parametrize(("name", "value"), [("new_selected", [0]), ("points", "new"), ("gallery", "new")])
def test_without_new_data_there_is_none_to_choose(explore, space, name, value):
    with pytest.raises(traitlets.TraitError, match="there are no new items"):
        setattr(explore(space), name, value)
