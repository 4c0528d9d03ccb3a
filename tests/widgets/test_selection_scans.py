"""Explaining a selection in the latent explorer."""

import io

import numpy as np
import pytest
import torch
from layer_helpers import Reads
from on_screen import OnScreen
from PIL import Image

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.widgets.latent.scans_panel import ScansPanel

OPTIONS = {"circle_size": 2, "offset": 2}


def panel_of(explorer):
    [panel] = [part for part in explorer.children if isinstance(part, ScansPanel)]
    return OnScreen(panel)


def test_a_selection_is_explained_and_its_images_are_ranked(explore, space):
    explorer = explore(space)
    panel = panel_of(explorer)
    assert panel["selection"] == {}
    assert explorer.collection is None
    explorer.select(range(2, 8), name="six")
    assert panel["selection"]["count"] == 6
    explorer.explain_selection(4, **OPTIONS)
    assert explorer.wait(60)
    assert (explorer.scan_status, panel["state"], panel["done"], panel["total"]) == ("done", "done", 4, 4)
    collection = explorer.collection
    assert len(collection) == 4
    assert set(collection.indices) <= set(range(2, 8))
    # The same as without an explorer.
    data = [space.item(index) for index in range(len(space))]
    pairs = [(one.image, one.mask) for one in data]
    alone = hdm.explain_many(space.segmenter, pairs, collection.indices, progress=False, **OPTIONS)
    np.testing.assert_array_equal(collection.mean(), alone.mean())
    ranking = collection.ranking()
    assert [row["item"] for row in panel["rows"]] == ranking.index.tolist()
    assert [row["fragility"] for row in panel["rows"]] == ranking["fragility"].tolist()
    assert panel["about"] | {"name": "six", "of": 6, "images": 4, "circleSize": 2, "offset": 2} == panel["about"]
    assert len(panel["_thumbnails"]) == 4
    panel.set(order="improvability")
    assert [row["item"] for row in panel["rows"]] == collection.ranking("improvability").index.tolist()
    # The same sample every time.
    explorer.explain_selection(4, **OPTIONS)
    assert explorer.wait(60)
    assert explorer.collection.indices == collection.indices


def test_the_map_is_shown_in_every_frame(explore, space):
    explorer = explore(space)
    panel = panel_of(explorer)
    explorer.select([1, 2, 3])
    explorer.explain_selection(**OPTIONS)
    assert explorer.wait(60)
    image = np.asarray(Image.open(io.BytesIO(panel["_map"])))
    assert image.shape == (5, 7, 4)
    assert panel["_counts"] == b""
    panel.set(frame="segment", kind="raw")
    aligned = explorer.collection.aligned()
    about = panel["about"]
    assert (about["height"], about["width"], about["aligned"]) == (*aligned.mean.shape, 3)
    counts = np.asarray(Image.open(io.BytesIO(panel["_counts"])))
    np.testing.assert_array_equal(counts[..., 3] > 0, aligned.count > 0)
    # All three images have the darkest gray.
    assert counts[aligned.count == 3].max(axis=0)[:3].max() == counts[aligned.origin][:3].max()
    with pytest.raises(ValueError, match="frame must be"):
        panel.widget.frame = "truth"


def test_segments_that_are_all_empty_are_said_to_be(explore, space):
    explorer = explore(space)
    panel = panel_of(explorer)
    explorer.select([5, 11])
    explorer.explain_selection(of_prediction=False, **OPTIONS)
    assert explorer.wait(60)
    panel.set(frame="scaled")
    assert "the segments of all images are empty" in panel["about"]["problem"]
    assert panel["_map"] == b""
    assert len(panel["rows"]) == 2


def test_where_most_truths_are_empty_masks_are_compared_with_the_prediction(explore, space):
    explorer = explore(space)
    explorer.select([5, 11, 3])
    explorer.explain_selection(**OPTIONS)
    assert explorer.wait(60)
    settings = explorer.collection[0].settings
    assert (settings.of_prediction, settings.distance) == (True, "flipped")
    explorer.select([5, 3, 4])
    explorer.explain_selection(**OPTIONS)
    assert explorer.wait(60)
    settings = explorer.collection[0].settings
    assert (settings.of_prediction, settings.distance) == (False, "hausdorff")


def test_a_click_on_an_image_opens_it(explore, space):
    explorer = explore(space)
    panel = panel_of(explorer)
    reply, _ = panel.ask("start", count=2)
    assert reply["error"].startswith("nothing is selected")
    explorer.select([3, 4, 8])
    assert panel.ask("start", count=2)[0] == {"error": None}
    assert explorer.wait(60)
    item = panel["rows"][0]["item"]
    assert panel.ask("open", item=item)[0] == {"error": None}
    assert explorer.highlighted == item
    head, _ = explorer.children[-1].children
    assert f"item {item}" in head.children[0].value


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_kept(explore, make_places, map_of):
    places = make_places()
    explorer = explore(map_of(places))
    panel = panel_of(explorer)
    places.broken.add(4)
    explorer.select([3, 4])
    explorer.explain_selection(**OPTIONS)
    assert explorer.wait(60)
    assert explorer.collection.indices == (3,)
    [failed] = panel["about"]["failed"]
    assert failed["item"] == 4
    assert "disk 4 is gone" in failed["error"]
    places.broken.add(3)
    explorer.explain_selection(**OPTIONS)
    assert explorer.wait(60)
    assert (explorer.scan_status, panel["state"]) == ("error", "error")
    assert "all 2 images failed" in explorer.scan_error == panel["error"]


class Stops(Reads):
    """A network that does something at its next run."""

    def __init__(self):
        super().__init__()
        self.do = None

    def forward(self, images):
        if self.do is not None:
            self.do()
        return super().forward(images)


def test_what_is_finished_stays_after_a_cancel(explore, make_places):
    network = Stops()
    space = hw.LatentSpace(network).fit(make_places(), progress=False)
    explorer = explore(space)
    panel = panel_of(explorer)
    explorer.select([3, 4, 8])
    seen = []

    def cancel():
        # In the scans' own thread, as soon as the first image is finished.
        if panel["done"] >= 1 and not seen:
            seen.append(len(panel["rows"]))
            assert panel.ask("cancel")[0] == {"error": None}

    network.do = cancel
    explorer.explain_selection(**OPTIONS)
    assert explorer.wait(60)
    assert (explorer.scan_status, panel["state"]) == ("cancelled", "cancelled")
    assert seen == [1]
    assert explorer.collection.indices == (3,)
    assert [row["item"] for row in panel["rows"]] == [3]


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"n": 0}, ValueError, "n must be a whole number of at least 1, got 0"),
        ({"distance": "far"}, ValueError, "distance must be"),
        ({"circle_size": 0}, ValueError, "circle_size must be at least 1 px, got 0"),
        ({"offset": 0}, ValueError, "offset must be at least 1 px, got 0"),
        ({"circle_size": 6}, ValueError, "circle_size must not be larger than the image, got 6 px"),
    ],
)
def test_bad_input_is_refused(explore, space, given, error, match):
    explorer = explore(space)
    explorer.select([1, 2])
    with pytest.raises(error, match=match):
        explorer.explain_selection(**given)
    assert explorer.scan_status == "idle"


def test_without_a_model_there_is_no_panel(explore, space, tmp_path):
    space.save(tmp_path / "space.npz")
    explorer = explore(hw.LatentSpace.load(tmp_path / "space.npz"))
    assert not [part for part in explorer.children if isinstance(part, ScansPanel)]
    explorer.select([1])
    with pytest.raises(ValueError, match="explaining needs the model and the data set"):
        explorer.explain_selection()


def test_ignored_pixels_do_not_count(explore, make_places):
    ignore = torch.zeros(5, 7, dtype=torch.bool)
    ignore[:, 6] = True
    space = hw.LatentSpace(Reads()).fit(make_places(), ignore=ignore.numpy(), progress=False)
    explorer = explore(space)
    explorer.select([1])
    explorer.explain_selection(**OPTIONS)
    assert explorer.wait(60)
    np.testing.assert_array_equal(explorer.collection[0].ignored, ignore.numpy())
