"""What explorers do when their last view is taken off its page, and when there is one again."""

import threading

import numpy as np
import pytest
from gate import BEFORE, SECONDS, Gate, first, gone
from on_screen import OnScreen, missed
from test_hdm_explorer import IMAGE, SEGMENT, expected

import hdm_widgets as hw

TOLD = {"error": None}
# The scan's batches are of so many discs, so that there are many of them: 48 discs.
BATCH = 8


def tell(part, *events):
    for event in events:
        name, view = event.split()
        assert OnScreen(part).ask("view", view=view, event=name) == (TOLD, [])


@pytest.fixture
def begun(explore_hdm):
    """A scan that is held back before its fifth batch of discs, and its model."""
    model = Gate()
    explorer = explore_hdm(model, IMAGE, SEGMENT, circle_size=6, offset=4, batch_size=BATCH)
    model.begin()
    model.let(BEFORE + 4)
    return explorer, model


@pytest.mark.parametrize(
    ("events", "runs"),
    [
        ([], True),
        (["shown a"], True),
        (["shown a", "removed a"], False),
        (["shown a", "shown b", "removed a"], True),
        (["shown a", "shown b", "removed a", "removed b"], False),
        (["removed a"], True),
        (["shown a", "removed b"], True),
        # A page that is closed or loaded again takes nothing off: its user may come back.
        (["shown a", "closed a"], True),
        (["shown a", "closed a", "removed a"], True),
        (["shown a", "closed a", "shown b", "removed b"], False),
        (["shown a", "removed a", "shown b"], True),
    ],
)
def test_a_scan_runs_until_its_last_view_was_removed(begun, events, runs):
    explorer, model = begun
    tell(explorer, *events)
    assert explorer.status == ("running" if runs else "idle")
    model.free()
    if runs:
        assert explorer.wait(SECONDS)
    assert gone()
    assert explorer.result.complete is runs
    assert (explorer.status, explorer.error) == ("done" if runs else "idle", "")


def test_a_paused_scan_goes_on_where_it_stopped(begun, explore_hdm):
    explorer, model = begun
    tell(explorer, "shown a", "removed a")
    model.free()
    assert gone()
    measured = int(explorer.result.measured.sum())
    assert 0 < measured < 48
    assert OnScreen(explorer)["_map"]["done"] == measured

    tell(explorer, "shown b")

    assert explorer.status == "running"
    assert explorer.wait(SECONDS)
    assert (explorer.status, explorer.progress) == ("done", 1.0)
    np.testing.assert_array_equal(explorer.result.values, expected().values)
    without = Gate()
    without.free()
    assert explore_hdm(without, IMAGE, SEGMENT, circle_size=6, offset=4, batch_size=BATCH).wait(SECONDS)
    # Again are run the image without a disc, what checks the model, and two batches: one that was thrown away when the
    # scan stopped, and one that checks the cache.
    assert model.calls <= without.calls + BEFORE + 2


def test_waiting_goes_on_with_a_paused_scan(begun):
    explorer, model = begun
    tell(explorer, "shown a", "removed a")
    model.free()
    assert gone()
    assert explorer.wait(SECONDS)
    assert explorer.status == "done"
    np.testing.assert_array_equal(explorer.result.values, expected().values)


def test_a_scan_that_somebody_waits_for_is_not_paused(begun, monkeypatch):
    explorer, model = begun
    waits, wait_for = threading.Event(), threading.Condition.wait_for

    def noted(condition, holds, timeout=None):
        # Under the condition's lock: until it is released, nobody can pause.
        waits.set()
        return wait_for(condition, holds, timeout)

    monkeypatch.setattr(threading.Condition, "wait_for", noted)
    waited = threading.Thread(target=lambda: explorer.wait(SECONDS))
    waited.start()
    assert waits.wait(SECONDS)
    tell(explorer, "shown a", "removed a")
    assert explorer.status == "running"
    model.free()
    waited.join(SECONDS)
    assert explorer.status == "done"


def test_a_paused_scan_can_be_cancelled(begun):
    explorer, model = begun
    tell(explorer, "shown a", "removed a")
    explorer.cancel()
    assert explorer.status == "cancelled"
    model.free()
    tell(explorer, "shown b")
    assert explorer.status == "cancelled"


@pytest.mark.parametrize("end", ["done", "cancelled", "error"])
def test_a_scan_that_has_ended_is_left_alone(explore_hdm, end):
    def model(images):
        if end == "error":
            raise RuntimeError("no memory")
        return first(images)

    explorer = explore_hdm(model, IMAGE, SEGMENT, circle_size=6, offset=4)
    if end == "cancelled":
        explorer.cancel()
    explorer.wait(SECONDS)
    ended = explorer.status
    result = explorer.result
    tell(explorer, "shown a", "removed a", "shown b")
    assert explorer.status == ended
    assert (explorer.result is None) is (result is None)
    assert gone()


@pytest.mark.parametrize("kind", ["explorer", "comparison"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_page_that_was_deaf_when_a_scan_ended_hears_of_it(explore_hdm, kind, fails):
    def output(images):
        if fails and model.calls > BEFORE + 2:
            raise RuntimeError("no memory")
        return first(images)

    model = Gate(output)
    options = {"circle_size": 6, "offset": 4, "batch_size": BATCH}
    if kind == "explorer":
        explorer = explore_hdm(model, IMAGE, SEGMENT, **options)
    else:
        explorer = hw.HDMComparison({"a": model, "b": first}, IMAGE, SEGMENT, **options)
    explorer.cell = (1, 2)
    model.begin()

    def end():
        model.free()
        assert explorer.wait(SECONDS)

    try:
        ((changed, lost),) = missed([explorer], end, lambda: tell(explorer, "shown a"))
    finally:
        explorer.close()
        model.free()
    assert {"status", "error" if fails else "progress"} <= changed
    assert lost == set()


def test_an_unknown_event_is_refused(begun):
    explorer, _ = begun
    reply, _ = OnScreen(explorer).ask("view", view="a", event="hidden")
    assert "event must be one of 'shown', 'removed', 'closed', got 'hidden'" in reply["error"]
