"""Where the model fails, in the latent explorer: groups beside the clusters, sought when they are asked for."""

import numpy as np
import pytest
from on_screen import LatentScreen

import hdm_widgets as hw
from hdm_widgets.latent.failures import Failure, Failures

DONE = {"error": None}
NUMBERS = {
    "mean_iou": 0.2,
    "low": 0.1,
    "high": 0.3,
    "rest_iou": 0.8,
    "harm_low": 1.0,
    "harm_high": 5.0,
    "p_value": 0.01,
}
GROUPS = [
    Failure("place = place 2", np.array([5, 11, 17]), (), "even = False (90 %)", harm=1.8, **NUMBERS),
    Failure("number 0 to 3", np.array([0, 1, 2, 3]), (), "", harm=1.5, **NUMBERS),
]


def found(groups):
    return Failures(groups, n_items=22, left_out=2, mean_iou=0.6, tested=9, least=4, coverage=0.9)


@pytest.fixture
def sought(monkeypatch):
    """Failures that are known, or an error; and how often they were asked for."""
    calls, outcome = [], [found(GROUPS)]

    def failures(space, *, progress):
        assert not progress
        calls.append(space)
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    monkeypatch.setattr(hw.LatentSpace, "failures", failures)
    return calls, outcome


def test_they_are_sought_when_their_table_is_opened(explore, space, sought):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    assert explorer.wait(60)
    assert (sought[0], explorer.failures, shown.table["failures"]["state"]) == ([], None, "idle")
    assert shown.table.ask("failures")[0] == DONE
    assert explorer.wait(60)
    explorer.find_failures()
    assert explorer.wait(60)
    assert len(sought[0]) == 1
    assert list(explorer.failures) == GROUPS
    told = shown.table["failures"]
    assert (told["state"], told["error"]) == ("done", "")
    assert told["about"] == ("22 items with a mean IoU of 0.60 searched, 2 left out; 9 groups tested; intervals at 90%")
    assert told["rows"][0] == {
        "text": "place = place 2", "mostly": "even = False (90 %)", "size": 3, "mean": 0.2, "low": 0.1, "high": 0.3,
        "rest": 0.8, "harm": 1.8, "harmLow": 1.0, "harmHigh": 5.0,
    }  # fmt: skip
    assert [row["text"] for row in told["rows"]] == ["place = place 2", "number 0 to 3"]


def test_a_row_selects_its_items_in_place_of_another_group(explore, space, sought):
    explorer = explore(space)
    shown = LatentScreen(explorer)
    explorer.find_failures()
    assert explorer.wait(60)
    assert shown.table.ask("choose_failure", position=0)[0] == DONE
    assert (explorer.selected, shown.table["failure"]) == ((5, 11, 17), 0)
    shown.table.ask("choose_failure", position=1)
    assert [one.name for one in explorer.selections] == ["number 0 to 3"]
    assert (sorted(shown.items), shown.table["failure"]) == ([0, 1, 2, 3], 1)
    shown.table.ask("choose", label=0)
    assert [one.name for one in explorer.selections] == ["cluster 0"]
    assert (shown.table["failure"], shown.table["chosen"]) == (None, 0)
    explorer.select([1, 2], name="mine")
    shown.table.ask("choose_failure", position=0)
    assert [one.name for one in explorer.selections] == ["cluster 0", "mine", "place = place 2"]
    explorer.mode = "add"
    shown.table.ask("choose_failure", position=1)
    assert explorer.selected == (0, 1, 2, 3, 5, 11, 17)
    assert "groups 0 to 1, got 2" in shown.table.ask("choose_failure", position=2)[0]["error"]


def test_an_error_is_shown_and_they_can_be_sought_again(explore, space, sought):
    sought[1][0] = ValueError("no memory for this")
    explorer = explore(space)
    shown = LatentScreen(explorer)
    shown.table.ask("failures")
    assert explorer.wait(60)
    told = shown.table["failures"]
    assert (told["state"], told["error"], told["rows"]) == ("error", "no memory for this", [])
    assert (explorer.error, explorer.failures) == ("no memory for this", None)
    sought[1][0] = found(GROUPS)
    shown.table.ask("failures")
    assert explorer.wait(60)
    assert (shown.table["failures"]["state"], explorer.error) == ("done", "")


def test_where_there_are_none_the_table_says_so(explore, space):
    explorer = explore(space)
    explorer.find_failures()
    assert explorer.wait(60)
    told = LatentScreen(explorer).table["failures"]
    assert (told["state"], told["rows"]) == ("done", [])
    assert told["about"] == explorer.space.failures().text


def test_an_explorer_that_is_closed_meanwhile_hears_of_nothing(explore, space, monkeypatch):
    made = []
    monkeypatch.setattr(hw.LatentSpace, "failures", lambda _, progress: (made[0].close(), found(GROUPS))[1])
    made.append(explore(space))
    told = []
    LatentScreen(made[0]).table.widget.observe(lambda change: told.append(change["new"]["state"]), names=["failures"])
    made[0].find_failures()
    assert made[0]._failures.wait(60)
    assert told in ([], ["running"])
