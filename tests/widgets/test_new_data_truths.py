"""New data in the latent explorer: true masks, doubts, and explanations."""

import io
from dataclasses import replace

import numpy as np
import pandas
import pytest
from on_screen import LatentScreen, unpacked

from hdm_widgets.widgets.latent.new_items import NEW_SORTS, TRUTH_SORTS

TOTAL = 24  # items of the map
COUNT = 12  # new ones
DONE = {"error": None}
SECONDS = 60


@pytest.fixture(scope="module")
def estimates(grouped, new_places):
    """Estimates of new items with true masks."""
    return grouped.estimate(new_places, progress=False)


# -- true masks ---------------------------------------------------------------------------------------


class Partly:
    """New places of which some have no true mask; the values of the masks say which pixels do not count."""

    IGNORED = 255

    def __init__(self, places, without):
        self.places, self.without = places, without

    def __len__(self):
        return len(self.places)

    def __getitem__(self, index):
        image, mask = self.places[index]
        if index in self.without:
            return {"image": image}
        mask = mask.astype(np.uint8)
        mask[:, 0] = self.IGNORED
        return {"image": image, "mask": mask}


def test_items_without_a_true_mask_are_beside_those_with_one(explore, space, new_places):
    estimates = space.estimate(Partly(new_places, (1, 2)), ignore=Partly.IGNORED, progress=False)
    shown = LatentScreen(explore(space, new=estimates))
    reply, buffers = shown.gallery.ask("images", items=[TOTAL, TOTAL + 1])
    with_one, without = reply["images"]
    assert with_one["interval"]["measured"] == new_places.iou[0]
    assert "measured" not in without["interval"]
    masks = [unpacked(buffer, 5, 7) for place, buffer in enumerate(buffers) if place % 4]
    counted = np.arange(7) > 0
    for found, expected in zip(
        masks,
        [
            *(new_places.masks[0] & counted, new_places.drawn[0] & counted, np.broadcast_to(~counted, (5, 7))),
            *(new_places.drawn[1], new_places.drawn[1], np.zeros((5, 7), bool)),
        ],
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    measured = shown.panel["findings"]["measured"]
    having = ~np.isin(np.arange(COUNT), (1, 2))
    assert measured["count"] == COUNT - 2
    assert measured["mean"] == pytest.approx(new_places.iou[having].mean())
    assert measured["expected"] == pytest.approx(estimates.iou[having].mean())
    assert [name for name, _ in shown.legend.ask("thumbnail", item=TOTAL + 1)[0]["facts"]] == [
        "Expected IoU", "90% interval", "Reliable", "Distance"
    ]  # fmt: skip


def test_without_true_masks_nothing_is_measured(explore, space, new_places):
    shown = LatentScreen(explore(space, new=space.estimate(new_places.images, progress=False)))
    assert shown.panel["findings"]["measured"] == {}
    assert shown.gallery["sorts"] == list(NEW_SORTS)
    assert not shown.gallery["_about"]["truths"]
    reply, (_, truth, predicted) = shown.gallery.ask("images", items=[TOTAL + 4])
    assert "measured" not in reply["images"][0]["interval"]
    assert truth == predicted
    _, (file,) = shown.panel.ask("export")
    assert "measured_iou" not in pandas.read_csv(io.BytesIO(file))


@pytest.mark.parametrize("sort", TRUTH_SORTS)
def test_new_items_are_sorted_by_what_is_measured(explore, space, estimates, new_places, sort):
    shown = LatentScreen(explore(space, new=estimates))
    shown.gallery.set(sort=sort)
    keys = new_places.iou if sort == TRUTH_SORTS[0] else -np.abs(new_places.iou - estimates.iou)
    assert (np.array(shown.items) - TOTAL).tolist() == np.argsort(keys, kind="stable").tolist()


@pytest.mark.parametrize(
    ("shifted", "skilled", "why"),
    [
        (True, True, "the new data as a whole is unlike"),
        (True, False, "the new data as a whole is unlike"),
        (False, False, "nothing tells more of the IoU than the mean"),
        (False, True, "unlike the data of the map, or nothing is known of its error"),
    ],
)
def test_why_estimates_are_not_reliable(explore, space, estimates, shifted, skilled, why):
    reliable = np.arange(COUNT) != 4
    shift = replace(estimates.shift, shifted=shifted)
    shown = LatentScreen(explore(space, new=replace(estimates, reliable=reliable, shift=shift, skilled=skilled)))
    assert why in shown.gallery["_about"]["unreliable"]
    facts = [dict(shown.legend.ask("thumbnail", item=TOTAL + item)[0]["facts"])["Reliable"] for item in (0, 4)]
    assert facts == ["yes", "no"]


# -- explanations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_a_new_item_is_explained_by_its_truth_or_by_the_models_own_mask(explore, space, new_places, known):
    estimates = space.estimate(new_places if known else new_places.images, progress=False)
    explorer = explore(space, new=estimates)
    shown = LatentScreen(explorer)
    assert shown.gallery["can_explain"]
    assert shown.gallery.ask("explain", item=TOTAL + 3) == (DONE, [])
    head, explained = explorer.children[-1].children
    assert "new item 3" in head.children[0].value
    assert ("no true mask" in head.children[0].value) == (not known)
    assert explained.wait(SECONDS)
    expected = new_places.masks[3] if known else new_places.drawn[3]
    np.testing.assert_array_equal(explained.result.segment, expected)
    np.testing.assert_array_equal(explained.result.baseline_mask, new_places.drawn[3])
    # One of the map takes its place.
    assert shown.gallery.ask("explain", item=3) == (DONE, [])
    assert "What item 3 depends on" in explorer.children[-1].children[0].children[0].value


@pytest.mark.parametrize(
    ("index", "message"), [(COUNT, "indices must be 0 to 11, got 12 to 12"), (-1, "indices must be 0 to 11")]
)
def test_there_is_no_such_new_item_to_explain(explore, space, estimates, index, message):
    with pytest.raises(ValueError, match=message):
        explore(space, new=estimates).explain_new(index)
    with pytest.raises(ValueError, match="there are no new items to explain"):
        explore(space).explain_new(0)


def test_new_items_without_images_or_model_cannot_be_explained(explore, space, space_on_disk, estimates):
    bare = replace(estimates, observed=replace(estimates.observed, dataset=None))
    for map_, new, message in ((space, bare, "not at hand"), (space_on_disk(), estimates, "without its model")):
        explorer = explore(map_, new=new)
        shown = LatentScreen(explorer)
        assert not shown.gallery["can_explain"]
        with pytest.raises(ValueError, match=message):
            explorer.explain_new(2)
        assert message in shown.gallery.ask("explain", item=TOTAL + 2)[0]["error"]
        assert message in explorer.error
