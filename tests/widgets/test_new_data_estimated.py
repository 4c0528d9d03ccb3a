"""New data in the latent explorer: estimated in the background."""

import threading

import numpy as np
import pytest
from on_screen import LatentScreen, missed

from hdm_widgets import LatentSpace

SECONDS = 60
TOTAL = 24  # items of the map
COUNT = 12  # new ones
DONE = {"error": None}


class Held:
    """A data set that holds every item back until it is open."""

    def __init__(self, data):
        self.data, self.arrived, self.open = data, threading.Event(), threading.Event()

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        self.arrived.set()
        assert self.open.wait(SECONDS)
        return self.data[index]


@pytest.fixture
def held(new_places):
    held = Held(new_places)
    yield held
    held.open.set()


def stopped():
    """Wait until no thread estimates any more."""
    for thread in threading.enumerate():
        if thread.name == "estimates":
            thread.join(SECONDS)
            assert not thread.is_alive()


def test_data_is_estimated_in_the_background(explore, space, held):
    explorer = explore(space, new=held)
    shown = LatentScreen(explorer)
    assert (explorer.new_status, shown.panel["state"], shown.panel["total"]) == ("running", "running", COUNT)
    assert not explorer.wait(0)
    held.open.set()
    assert explorer.wait(SECONDS)
    assert (explorer.new_status, shown.panel["state"], shown.panel["done"]) == ("done", "done", COUNT)
    expected = space.estimate(held, progress=False)
    np.testing.assert_array_equal(explorer.estimates.iou, expected.iou)
    assert sorted(shown.items) == list(range(TOTAL, TOTAL + COUNT))


def test_a_page_that_was_deaf_when_new_data_was_estimated_hears_of_it(explore, space, held):
    explorer = explore(space, new=held)
    shown = LatentScreen(explorer)
    assert held.arrived.wait(SECONDS)

    def end():
        held.open.set()
        assert explorer.wait(SECONDS)

    parts = [shown.panel, shown.gallery, shown.toolbar]
    found = missed([part.widget for part in parts], end, lambda: shown.toolbar.ask("view", view="a", event="shown"))
    assert [lost for _, lost in found] == [set()] * 3
    panel, gallery, toolbar = (changed for changed, _ in found)
    assert panel == {"state", "done", "findings"}
    assert {"new_status", "new_count", "source"} <= gallery
    assert "has_new" in toolbar


@pytest.mark.parametrize("form", [lambda data: data.images, lambda data: list(data.images), lambda data: data])
def test_images_alone_are_new_data(explore, space, new_places, form):
    explorer = explore(space, new=form(new_places))
    assert explorer.wait(SECONDS)
    assert (explorer.new_status, explorer.new_error, len(explorer.estimates)) == ("done", "", COUNT)


@pytest.mark.parametrize("part", ["panel", "gallery"])
def test_it_can_be_cancelled_and_started_again(explore, space, held, part):
    explorer = explore(space, new=held)
    shown = LatentScreen(explorer)
    assert held.arrived.wait(SECONDS)
    assert shown.gallery["new_status"] == "running"
    assert shown.panel.ask("cancel") == (DONE, [])
    assert (explorer.new_status, shown.panel["state"]) == ("cancelled", "cancelled")
    held.open.set()
    stopped()
    assert (explorer.new_status, explorer.estimates) == ("cancelled", None)
    assert shown.gallery["new_status"] == "cancelled"
    assert getattr(shown, part).ask("start") == (DONE, [])
    assert explorer.wait(SECONDS)
    assert (explorer.new_status, len(explorer.estimates)) == ("done", COUNT)
    assert (shown.gallery["new_status"], shown.gallery["source"]) == ("done", "new")


class Told:
    """What the panel and the gallery of an explorer say of its new data, one after the other."""

    def __init__(self, explorer):
        shown = LatentScreen(explorer)
        self.by_panel, self.by_gallery = [], []
        shown.panel.widget.observe(lambda change: self.by_panel.append(change["new"]), names=["state"])
        shown.gallery.widget.observe(lambda change: self.by_gallery.append(change["new"]), names=["new_status"])


def test_panel_and_gallery_tell_of_a_run_that_is_cancelled_after_its_last_item(explore, space, new_places, monkeypatch):
    found, go_on, estimate = threading.Event(), threading.Event(), LatentSpace.estimate

    def held_back(*given, **more):
        estimates = estimate(*given, **more)
        found.set()
        assert go_on.wait(SECONDS)
        return estimates

    monkeypatch.setattr(LatentSpace, "estimate", held_back)
    explorer = explore(space, new=new_places)
    told, shown = Told(explorer), LatentScreen(explorer)
    assert found.wait(SECONDS)
    assert (shown.panel["done"], shown.panel["total"]) == (COUNT, COUNT)
    assert shown.panel.ask("cancel") == (DONE, [])
    go_on.set()
    stopped()
    assert (explorer.estimates, told.by_panel, told.by_gallery) == (None, ["cancelled"], ["cancelled"])
    shown.gallery.ask("start")
    assert explorer.wait(SECONDS)
    assert told.by_panel == told.by_gallery == ["cancelled", "running", "done"]


def test_what_is_found_is_shown_though_it_is_cancelled_meanwhile(explore, space, held):
    explorer, during = explore(space, new=held), []
    told = Told(explorer)

    def cancel_elsewhere(_change):
        other = threading.Thread(target=explorer.cancel)
        other.start()
        # Who waits lets others in, here half way through showing what was found.
        while other.is_alive():
            explorer.wait(SECONDS)
        during.append(explorer.new_status)

    explorer.observe(cancel_elsewhere, names=["gallery"])
    held.open.set()
    assert explorer.wait(SECONDS)
    stopped()
    assert (during, explorer.new_status, len(explorer.estimates)) == (["running"], "done", COUNT)
    assert told.by_panel == told.by_gallery == ["done"]


def test_a_cancel_in_the_panel_leaves_other_work_alone(explore, space, held):
    explorer = explore(space, new=held)
    shown = LatentScreen(explorer)
    assert held.arrived.wait(SECONDS)
    explorer.scan_status = "running"
    shown.panel.ask("cancel")
    assert (explorer.new_status, explorer.scan_status) == ("cancelled", "running")


def test_it_pauses_with_the_last_view_and_begins_anew_with_the_next(explore, space, held):
    explorer = explore(space, new=held)
    shown = LatentScreen(explorer)
    assert held.arrived.wait(SECONDS)
    shown.toolbar.ask("view", view="a", event="shown")
    shown.toolbar.ask("view", view="a", event="removed")
    held.open.set()
    stopped()
    assert explorer.estimates is None
    shown.toolbar.ask("view", view="b", event="shown")
    assert explorer.wait(SECONDS)
    assert (explorer.new_status, len(explorer.estimates)) == ("done", COUNT)


@pytest.mark.parametrize("then", ["shown", "wait"])
def test_what_was_cancelled_while_it_paused_stays_cancelled(explore, space, held, then):
    explorer = explore(space, new=held)
    shown = LatentScreen(explorer)
    assert held.arrived.wait(SECONDS)
    shown.toolbar.ask("view", view="a", event="shown")
    shown.toolbar.ask("view", view="a", event="removed")
    explorer.cancel()
    held.open.set()
    stopped()
    if then == "shown":
        shown.toolbar.ask("view", view="b", event="shown")
    assert explorer.wait(SECONDS)
    assert (explorer.new_status, shown.panel["state"], explorer.estimates) == ("cancelled", "cancelled", None)
    shown.panel.ask("start")
    assert explorer.wait(SECONDS)
    assert (explorer.new_status, len(explorer.estimates)) == ("done", COUNT)


def test_an_observer_of_the_status_may_wait(explore, space, held):
    explorer, waited = explore(space, new=held), []
    explorer.observe(lambda change: waited.append((change["new"], explorer.wait(SECONDS))), names=["new_status"])
    held.open.set()
    assert explorer.wait(SECONDS)
    assert waited == [("done", True)]


def test_an_observer_of_a_selection_may_wait_for_the_estimates(explore, space, held):
    explorer, waited = explore(space, new=held), []

    def wait(_change):
        held.open.set()
        waited.append((explorer.wait(SECONDS), explorer.new_status))

    explorer.observe(wait, names=["selected"])
    assert held.arrived.wait(SECONDS)
    explorer.select([2, 5])
    assert waited == [(True, "done")]
    assert explorer.selected == (2, 5)


def test_an_explorer_that_is_closed_meanwhile_ends_quietly(explore, space, held):
    explorer = explore(space, new=held)
    assert held.arrived.wait(SECONDS)
    explorer.close()
    held.open.set()
    stopped()
    assert explorer.estimates is None


def test_a_failure_is_told_in_its_box_and_can_be_tried_again(explore, space, make_places):
    data = make_places(COUNT)
    data.broken.add(3)
    explorer = explore(space, new=data)
    shown = LatentScreen(explorer)
    assert explorer.wait(SECONDS)
    assert (explorer.new_status, shown.panel["state"]) == ("error", "error")
    assert "disk 3 is gone" in explorer.new_error
    assert shown.panel["error"] == explorer.new_error
    assert explorer.error == ""  # that is for clusters and explanations
    with pytest.raises(ValueError, match=r"the new data has no estimates: .*disk 3 is gone"):
        explorer.explain_new(0)
    explorer.select([1, 2])
    assert shown.items
    data.broken.clear()
    shown.panel.ask("start")
    assert explorer.wait(SECONDS)
    assert (explorer.new_status, explorer.new_error, len(explorer.estimates)) == ("done", "", COUNT)


def test_a_space_without_its_model_says_so(explore, space_on_disk, new_places):
    with pytest.raises(ValueError, match="was loaded without its model"):
        explore(space_on_disk(), new=new_places)
