"""The latent explorer's table of clusters, and the explanation it opens below."""

import io
import threading

import numpy as np
import pytest
from on_screen import LatentScreen, missed, unpacked
from PIL import Image

import hdm_widgets as hw
from hdm_widgets.widgets.latent.columns import usable_columns
from hdm_widgets.widgets.latent.palette import MISSING, category_color, coloring

SECONDS = 60
DONE = {"error": None}


def told(explorer):
    """Names and items of all selections, and which one is active."""
    return {one.name: one.indices.tolist() for one in explorer.selections}, explorer.active


class Gate:
    """Clusterings one by one, each let through by itself."""

    def __init__(self, space):
        self.found = list(space.comparison())
        self.arrived, self.open = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self):
        for one in self.found:
            self.arrived.release()
            assert self.open.acquire(timeout=SECONDS)
            yield one

    def begin(self):
        """Wait until the next one is sought."""
        assert self.arrived.acquire(timeout=SECONDS)

    def let(self, count):
        for _ in range(count):
            self.open.release()
            self.begin()

    def free(self):
        self.open.release(1000)


@pytest.fixture
def gate(bare_space):
    """In place of the space's own comparison of clusterings."""
    gate = Gate(bare_space)
    bare_space.comparison = gate
    yield gate
    gate.free()


# -- finding them -------------------------------------------------------------------------------------


def test_clusters_that_are_there_are_shown_at_once(explore, space):
    explorer = explore(space)
    table = LatentScreen(explorer).table
    assert explorer.wait(0)
    assert (table["busy"], table["error"], table["n_clusters"], table["most"]) == ("", "", 3, 14)
    assert table["about"] == f"{space.clustering_} in 3 principal components"
    assert [row["label"] for row in table["rows"]] == [
        one.label for one in sorted(space.clusters_, key=lambda one: one.mean_iou)
    ]
    for row in table["rows"]:
        one = space.clusters_[row["label"]]
        assert (row["size"], row["count"]) == (one.size, len(one.representatives))
        assert (row["mean"], row["median"], row["empty"]) == (one.mean_iou, one.median_iou, one.empty_truths)
        assert row["color"] == category_color(row["label"])


def test_clusters_are_sought_in_the_background_when_there_are_none(explore, bare_space, gate):
    explorer = explore(bare_space, color_by="cluster")
    shown = LatentScreen(explorer)
    table = shown.table
    gate.begin()
    assert not explorer.wait(0)
    assert table["busy"] == "Comparing clusterings …"
    assert table["rows"] == []
    assert shown.points.colors == [MISSING] * 24
    gate.let(2)
    assert table["busy"] == "Comparing clusterings: 2 done …"
    gate.free()
    assert explorer.wait(SECONDS)
    assert (table["busy"], table["error"], explorer.error) == ("", "", "")
    best = max(gate.found, key=lambda one: one.silhouette)
    np.testing.assert_array_equal(explorer.space.labels_, best.labels)
    assert sorted(row["size"] for row in table["rows"]) == sorted(np.unique(best.labels, return_counts=True)[1])
    expected = coloring(usable_columns(explorer.space)["cluster"])
    assert [category_color(label) for label in best.labels] == expected.colors == shown.points.colors
    assert shown.legend["legend"] == expected.legend


def test_a_search_pauses_with_the_last_view_and_begins_anew_with_the_next(explore, bare_space, gate):
    explorer = explore(bare_space)
    shown = LatentScreen(explorer)
    gate.begin()
    gate.let(1)
    shown.toolbar.ask("view", view="a", event="shown")
    shown.toolbar.ask("view", view="b", event="shown")
    shown.toolbar.ask("view", view="a", event="removed")
    gate.let(1)
    assert shown.table["busy"] == "Comparing clusterings: 2 done …"
    shown.toolbar.ask("view", view="b", event="removed")
    gate.free()
    for thread in threading.enumerate():
        if thread.name == "clusters":
            thread.join(SECONDS)
    assert (shown.table["rows"], shown.table["error"]) == ([], "")

    shown.toolbar.ask("view", view="c", event="shown")

    assert explorer.wait(SECONDS)
    assert (shown.table["busy"], shown.table["error"]) == ("", "")
    best = max(gate.found, key=lambda one: one.silhouette)
    np.testing.assert_array_equal(explorer.space.labels_, best.labels)
    # Nothing is sought that has been found.
    shown.toolbar.ask("view", view="c", event="removed")
    shown.toolbar.ask("view", view="d", event="shown")
    assert shown.table["busy"] == ""


def test_a_page_that_was_deaf_when_clusters_were_found_hears_of_them(explore, bare_space, gate):
    explorer = explore(bare_space)
    shown = LatentScreen(explorer)
    gate.begin()

    def end():
        gate.free()
        assert explorer.wait(SECONDS)

    table = shown.table.widget
    ((changed, lost),) = missed([table], end, lambda: shown.toolbar.ask("view", view="a", event="shown"))
    assert {"rows", "about", "busy"} <= changed
    assert lost == set()


def test_as_many_clusters_as_asked_for(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.cluster(2)
    assert explorer.wait(SECONDS)
    assert len(shown.table["rows"]) == len(explorer.space.clusters_) == 2
    assert shown.table["n_clusters"] == 2
    assert shown.table.ask("cluster", count=4) == (DONE, [])
    assert explorer.wait(SECONDS)
    assert len(shown.table["rows"]) == 4
    assert len(shown.table["_thumbnails"]) == 4


def test_zero_from_the_screen_means_the_best_found(explore, bare_space, gate):
    gate.free()
    explorer = explore(bare_space)
    assert explorer.wait(SECONDS)
    labels = explorer.space.labels_
    explorer.cluster(5)
    assert explorer.wait(SECONDS)
    assert LatentScreen(explorer).table.ask("cluster", count=0) == (DONE, [])
    assert explorer.wait(SECONDS)
    np.testing.assert_array_equal(explorer.space.labels_, labels)


def test_the_newest_wish_counts(explore, bare_space, gate):
    explorer = explore(bare_space)
    shown = LatentScreen(explorer)
    gate.begin()
    explorer.cluster(2)
    assert shown.table["busy"] == "Looking for 2 clusters …"
    gate.free()
    assert explorer.wait(SECONDS)
    assert len(shown.table["rows"]) == 2
    assert shown.table["busy"] == ""
    assert explorer.error == ""


def test_other_clusters_can_be_asked_for_while_the_news_of_the_last_are_heard(explore, space):
    # An observer may wait for a thread that changes the selection, and that thread may ask for clusters.
    explorer = explore(space, color_by="cluster")
    waited = []

    def hear(_change):
        if not waited:
            asking = threading.Thread(target=explorer.cluster, args=[2])
            asking.start()
            asking.join(2)
            waited.append(asking.is_alive())

    LatentScreen(explorer).legend.widget.observe(hear, names=["legend"])
    explorer.cluster(4)
    assert explorer.wait(SECONDS)
    assert waited == [False]


def test_groupings_without_a_fixed_number(explore, space):
    space.cluster(method="dbscan", eps=0.15, min_samples=3)
    explorer = explore(space, color_by="cluster")
    shown = LatentScreen(explorer)
    assert shown.table["n_clusters"] == 0
    assert len(shown.table["rows"]) == len(space.clusters_)
    assert "DBSCAN" in shown.table["about"]
    assert shown.points.colors == [category_color(label) for label in space.labels_]


# -- when it fails ------------------------------------------------------------------------------------


def test_a_failure_is_shown_and_goes_away_with_the_next_attempt(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    rows = shown.table["rows"]
    explorer.cluster(99)
    assert explorer.wait(SECONDS)
    message = "n_clusters must be 1 to 24, the number of items, got 99"
    assert (explorer.error, shown.table["error"], shown.table["busy"]) == (message, message, "")
    assert shown.table["rows"] == rows  # those from before
    explorer.cluster(2)
    assert explorer.wait(SECONDS)
    assert (explorer.error, shown.table["error"]) == ("", "")
    assert len(shown.table["rows"]) == 2


def test_a_comparison_that_fails(explore, bare_space):
    def fail():
        raise MemoryError

    bare_space.comparison = fail
    explorer = explore(bare_space)
    shown = LatentScreen(explorer)
    assert explorer.wait(SECONDS)
    assert (explorer.error, shown.table["error"], shown.table["busy"]) == ("MemoryError", "MemoryError", "")
    assert shown.table["rows"] == []
    explorer.select([1])  # the rest goes on
    assert shown.table["chosen"] is None


# -- what they look like ------------------------------------------------------------------------------


def test_representatives_side_by_side_with_clear_gaps(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    for row, png in zip(shown.table["rows"], shown.table["_thumbnails"], strict=True):
        strip = np.array(Image.open(io.BytesIO(png)))
        assert strip.shape == (5, 10 * row["count"] - 3, 4)
        for position, index in enumerate(space.clusters_[row["label"]].representatives):
            image, gap = np.split(strip[:, 10 * position : 10 * position + 10], [7], axis=1)
            np.testing.assert_array_equal(image[..., :3], space.collection_.thumbnails[index])
            assert (image[..., 3] == 255).all()
            assert (gap[..., 3] == 0).all()


def test_a_row_says_what_it_mostly_holds(explore, space, places):
    explorer = explore(space)
    for row in LatentScreen(explorer).table["rows"]:
        groups = places.group[space.clusters_[row["label"]].indices]
        names, counts = np.unique(groups, return_counts=True)
        common = sorted(zip(-counts, names, strict=True))[:3]
        assert row["holds"] == ", ".join(f"place {name}" for count, name in common if -count >= 0.1 * len(groups))


def test_of_several_texts_the_one_with_the_fewest_values_tells_what_a_row_holds(explore, map_of, make_places):
    columns = {
        "sensor": ["one for all"] * 9,
        "name": [f"item {i}" for i in range(9)],
        "season": ["summer"] * 3 + ["winter"] * 6,
    }
    space = map_of(make_places(9, columns=columns))
    space.cluster(1)
    (row,) = LatentScreen(explore(space)).table["rows"]
    assert row["holds"] == "winter, summer"


def test_without_texts_a_row_says_nothing_of_them(explore, map_of, make_places):
    places = make_places(6)
    places.columns = {"number": range(6)}
    space = map_of(places)
    space.cluster(2)
    assert [row["holds"] for row in LatentScreen(explore(space)).table["rows"]] == ["", ""]


def test_captions_are_new_when_the_clusters_are(explore, space):
    # The browser keeps images with their captions until the version of the captions changes.
    explorer = explore(space, color_by="cluster")
    gallery = LatentScreen(explorer).gallery
    explorer.select([0, 3])
    before = gallery["captions_version"]
    explorer.cluster(5)
    assert explorer.wait(SECONDS)
    assert gallery["captions_version"] > before


def test_captions_name_the_cluster_of_an_item_or_say_that_it_is_in_none(explore, space):
    space.cluster(method="dbscan", eps=0.15, min_samples=3)
    alone = int(np.flatnonzero(space.labels_ < 0)[0])
    first = int(space.clusters_[0].medoid)
    explorer = explore(space, color_by="cluster")
    reply, _ = LatentScreen(explorer).gallery.ask("images", items=[first, alone])
    in_first, in_none = (entry["caption"] for entry in reply["images"])
    assert in_first == "cluster 0"
    assert "-1" not in in_none


# -- choosing one -------------------------------------------------------------------------------------


def test_a_cluster_becomes_a_selection_of_its_own(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    members = [one.indices.tolist() for one in space.clusters_]
    assert shown.table.ask("choose", label=1) == (DONE, [])
    assert told(explorer) == ({"cluster 1": members[1]}, 0)
    assert shown.table["chosen"] == 1
    # The next one takes its place, in the same color.
    color = explorer.selections[0].color
    shown.table.ask("choose", label=2)
    assert told(explorer) == ({"cluster 2": members[2]}, 0)
    assert (shown.table["chosen"], explorer.selections[0].color) == (2, color)


def test_a_cluster_does_not_take_the_place_of_what_was_drawn(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    shown.lasso(1, 2)
    shown.table.ask("choose", label=0)
    assert told(explorer) == ({"a": [1, 2], "cluster 0": space.clusters_[0].indices.tolist()}, 1)
    assert explorer.undo()
    assert told(explorer) == ({"a": [1, 2]}, 0)


def test_the_name_of_a_selection_does_not_make_it_a_cluster(explore, space):
    explorer = explore(space)
    explorer.select([1, 2], name="cluster of houses")
    LatentScreen(explorer).table.ask("choose", label=0)
    assert told(explorer)[0]["cluster of houses"] == [1, 2]


@pytest.mark.parametrize(
    ("mode", "combined"), [("add", np.union1d), ("subtract", np.setdiff1d)], ids=["add", "subtract"]
)
def test_a_cluster_is_added_to_or_taken_from_the_active_selection(explore, space, mode, combined):
    explorer = explore(space)
    first, second = (one.indices for one in space.clusters_[:2])
    before = np.union1d(first[:3], second[:2])
    explorer.select(before, name="mine")
    explorer.mode = mode
    LatentScreen(explorer).table.ask("choose", label=0)
    assert told(explorer) == ({"mine": combined(before, first).tolist()}, 0)


def test_choosing_a_cluster_that_is_a_selection_already_leaves_names_different(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    shown.table.ask("choose", label=0)
    explorer.active = None
    shown.table.ask("choose", label=1)
    shown.table.ask("choose", label=0)
    names = [one.name for one in explorer.selections]
    assert len(set(names)) == len(names)
    assert explorer.selected == tuple(space.clusters_[0].indices)


def test_the_chosen_row_is_the_one_whose_members_are_selected(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    assert shown.table["chosen"] is None
    explorer.selected = space.clusters_[2].indices
    assert shown.table["chosen"] == 2
    explorer.selected = space.clusters_[2].indices[1:]
    assert shown.table["chosen"] is None
    explorer.undo()
    assert shown.table["chosen"] == 2
    explorer.cluster(space.clustering_.n_clusters + 3)
    assert explorer.wait(SECONDS)
    assert shown.table["chosen"] == next(
        (one.label for one in explorer.space.clusters_ if set(one.indices) == set(explorer.selected)), None
    )


def test_a_row_chooses_the_members_it_shows_whatever_became_of_the_space(explore, space):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    sizes = {row["label"]: row["size"] for row in shown.table["rows"]}
    members = space.clusters_[2].indices.tolist()
    space.cluster(2)
    explorer.space.cluster(2)
    assert shown.table.ask("choose", label=2) == (DONE, [])
    assert told(explorer) == ({"cluster 2": members}, 0)
    assert len(explorer.selected) == sizes[2]
    assert shown.table["chosen"] == 2


@pytest.mark.parametrize("label", [3, -1, "a"])
def test_there_is_no_such_cluster(explore, space, label):
    explorer = explore(space)
    reply, _ = LatentScreen(explorer).table.ask("choose", label=label)
    assert reply["error"]
    assert told(explorer) == ({}, None)


def test_an_observer_may_wait_for_clusters(explore, bare_space, gate):
    # The colors are those of the clusters, which are shown as soon as they are found.
    explorer, waited = explore(bare_space, color_by="cluster"), []

    def wait(change):
        gate.free()
        waited.append((change["name"], explorer.wait(SECONDS), LatentScreen(explorer).table["busy"]))

    gate.begin()
    explorer.observe(wait, names=["selected"])
    explorer.select([3, 8])
    assert waited == [("selected", True, "")]
    assert explorer.selected == (3, 8)


# -- explanations -------------------------------------------------------------------------------------


def test_an_explanation_is_opened_below(explore, space, places):
    explorer = explore(space)
    explained = explorer.explain(3)
    assert isinstance(explained, hw.HDMExplorer)
    head, shown = explorer.children[-1].children
    assert shown is explained
    assert "item 3" in head.children[0].value
    assert explained.wait(SECONDS)
    np.testing.assert_array_equal(explained.result.segment, places.masks[3])
    np.testing.assert_array_equal(explained.result.baseline_mask, places.drawn[3])
    # Another one takes its place.
    assert LatentScreen(explorer).gallery.ask("explain", item=4) == (DONE, [])
    head, shown = explorer.children[-1].children
    assert "item 4" in head.children[0].value
    with pytest.raises(RuntimeError, match="closed"):
        explained.run()
    head.children[1].click()
    assert explorer.children[-1].children == ()
    with pytest.raises(RuntimeError, match="closed"):
        shown.run()
    assert explorer.error == ""


def test_an_explanation_uses_the_settings_of_the_segmenter(explore, make_places, reads):
    places = make_places(6)
    space = hw.LatentSpace(reads(), threshold=0.95).fit(places, progress=False)
    space.cluster(2)
    explained = explore(space).explain(1)
    assert explained.wait(SECONDS)
    assert not explained.result.baseline_mask.any()  # at 0.5 two rows are drawn


@pytest.mark.parametrize("given", [(False, False), (True, False), (False, True)])
def test_a_space_without_model_or_images_cannot_explain(explore, space_on_disk, places, reads, given):
    model, images = given
    explorer = explore(space_on_disk(reads() if model else None, places if images else None))
    assert not LatentScreen(explorer).gallery["can_explain"]
    message = (
        r"this space has no data set; LatentSpace\.load\(path, dataset=\.\.\.\) takes it"
        if model
        else r"this space was loaded without its model; LatentSpace\.load\(path, model=\.\.\.\) takes it"
    )
    with pytest.raises(ValueError, match=message):
        explorer.explain(3)
    assert explorer.children[-1].children == ()


def test_a_space_of_given_features_is_on_screen_and_cannot_explain(explore, places):
    features = places.images[:, 1:].mean((2, 3))
    explorer = explore(hw.LatentSpace.from_features(features, places, places.drawn, progress=False))
    shown = LatentScreen(explorer)
    np.testing.assert_array_equal(shown.points.x, explorer.space.embedding_[:, 0])
    reply, (image, truth, prediction) = shown.gallery.ask("images", items=[6])
    assert reply["images"][0]["iou"] == 1 / 3  # the truth has 3 rows, the prediction 1
    expected = np.round(255 * places.images[6].transpose(1, 2, 0).astype(np.float64))
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(image))), expected)
    np.testing.assert_array_equal(unpacked(truth, 5, 7), places.masks[6])
    np.testing.assert_array_equal(unpacked(prediction, 5, 7), places.drawn[6])
    assert not shown.gallery["can_explain"]
    with pytest.raises(ValueError, match=r"made of features, by LatentSpace\.from_features, and has no model"):
        explorer.explain(6)


def test_a_loaded_space_with_both_can_explain(explore, space_on_disk, places, reads):
    explorer = explore(space_on_disk(reads(), places))
    assert LatentScreen(explorer).gallery["can_explain"]
    assert explorer.explain(3).wait(SECONDS)


def test_a_loaded_space_shows_thumbnails_and_its_clusters(explore, space_on_disk, grouped):
    explorer = explore(space_on_disk())
    shown = LatentScreen(explorer)
    assert [row["size"] for row in shown.table["rows"]] == [
        one.size for one in sorted(grouped.clusters_, key=lambda one: one.mean_iou)
    ]
    shown.lasso(3)
    reply, (image, _, _) = shown.gallery.ask("images", items=[3])
    assert reply["images"][0]["error"] == ""
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(image))), grouped.collection_.thumbnails[3])


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [(24, IndexError, "index must be 0 to 23, got 24"), (1.0, TypeError, "index must be a whole number")],
)
def test_there_is_no_such_item_to_explain(explore, space, index, error, message):
    explorer = explore(space)
    kept = explorer.explain(0)
    with pytest.raises(error, match=message):
        explorer.explain(index)
    assert explorer.children[-1].children[1] is kept  # the one before stays


def test_an_explanation_that_fails_is_told(explore, map_of, make_places):
    places = make_places(6)
    space = map_of(places)
    space.cluster(2)
    places.broken = {2}
    explorer = explore(space)
    shown = LatentScreen(explorer)
    message = "item 2 could not be read: OSError: disk 2 is gone"
    assert shown.gallery.ask("explain", item=2) == ({"error": message}, [])
    assert explorer.error == message
    assert explorer.children[-1].children == ()
    shown.gallery.ask("explain", item=1)
    assert explorer.error == ""
