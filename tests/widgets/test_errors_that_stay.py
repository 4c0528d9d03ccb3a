"""An error stays on screen until what it is of succeeds or is asked again, whatever else succeeds meanwhile."""

import threading

import pytest
import torch
from gate import BEFORE, SECONDS, Gate, gone
from on_screen import OnScreen
from test_hdm_classes import IMAGE, TRUTH, maps

import hdm_widgets as hw
from hdm_widgets.widgets.shared.explorer import ErrorsBySource

SCAN = {"circle_size": 6, "offset": 4, "target": "all", "batch_size": 8}
NO_CLASS = "there is no class 7; the classes are 0, 1, 2"


class Failing:
    """Classes of images; fails at every run from one on."""

    def __init__(self, allowed):
        self.allowed, self.runs = allowed, 0

    def __call__(self, images):
        self.runs += 1
        if self.runs > self.allowed:
            raise ZeroDivisionError("lost")
        return maps(images)


@pytest.fixture
def begin(explore_hdm):
    """Explorers and comparisons whose model is held at its first run, and that model."""
    made = []

    def begun(kind, output):
        model = Gate(output)
        if kind == "explorer":
            explorer = explore_hdm(model, IMAGE, TRUTH, **SCAN)
        else:
            explorer = hw.HDMComparison({"a": model, "b": maps}, IMAGE, TRUTH, **SCAN)
            made.append((explorer, model))
        model.begin()
        return explorer, model

    yield begun
    for explorer, model in made:
        explorer.close()
        model.free()
    assert gone()


KINDS = pytest.mark.parametrize("kind", ["explorer", "comparison"])


@KINDS
def test_a_scan_s_error_outlasts_questions(begin, kind):
    explorer, model = begin(kind, fails := Failing(BEFORE + 2))
    explorer.target = 7
    model.free()
    assert explorer.wait(SECONDS)
    assert explorer.status == "error"
    why = explorer.error
    assert "ZeroDivisionError: lost" in why
    # The class that does not exist is still wrong, and hidden by the newer error; another class is none.
    explorer.target = 2
    assert explorer.error == why
    explorer.measure = "dice"
    explorer.cell = (2, 3)
    assert explorer.error == why
    fails.allowed = 10**6
    explorer.run()
    assert explorer.error == ""
    assert explorer.wait(SECONDS)
    assert (explorer.status, explorer.error) == ("done", "")


@KINDS
def test_a_question_s_error_outlasts_the_scan_and_ends_with_the_next_question(begin, kind):
    explorer, model = begin(kind, maps)
    explorer.target = 7
    model.free()
    assert explorer.wait(SECONDS)
    assert (explorer.status, explorer.error) == ("done", NO_CLASS)
    explorer.cell = (2, 3)
    explorer.result_type = "worse"
    assert explorer.error == NO_CLASS
    explorer.measure = "dice"
    assert explorer.error == ""


@KINDS
def test_a_question_s_error_outlasts_a_pause(begin, kind):
    explorer, model = begin(kind, maps)
    explorer.target = 7
    model.let(BEFORE + 2)
    assert explorer.error == NO_CLASS
    screen = OnScreen(explorer)
    screen.ask("view", view="a", event="shown")
    screen.ask("view", view="a", event="removed")
    assert explorer.status == "idle"
    model.free()
    screen.ask("view", view="b", event="shown")
    assert explorer.wait(SECONDS)
    assert (explorer.status, explorer.error) == ("done", NO_CLASS)
    # A new scan is asked for: so is what is shown of it.
    explorer.circle_size = 5
    assert explorer.wait(SECONDS)
    assert (explorer.status, explorer.error) == ("done", "")


def test_an_error_of_class_against_class_outlasts_questions(explore_hdm):
    # Nothing is class 3.
    explorer = explore_hdm(lambda images: torch.cat([maps(images), torch.zeros_like(images)], 1), IMAGE, TRUTH, **SCAN)
    assert explorer.wait(SECONDS)
    explorer.target, explorer.against = 2, 0
    explorer.target = 3
    why = "no pixel is class 3 without a disc"
    assert (explorer.against, explorer.error) == (None, why)
    explorer.measure = "dice"
    explorer.target = 1
    explorer.cell = (2, 3)
    assert explorer.error == why
    explorer.against = 0
    assert (explorer.against, explorer.error) == (0, "")


def test_of_several_errors_the_newest_is_shown_until_it_ends():
    shown = []
    errors = ErrorsBySource(threading.RLock(), shown.append)
    told = [("a", "1"), ("b", "2"), ("a", "3"), ("c", ""), ("a", ""), ("a", "4"), ("b", "")]
    for source, text in told:
        errors.tell(source, text)
    assert shown == ["1", "2", "3", "3", "2", "4", "4"]
    errors.tell("b", "5")
    errors.clear()
    errors.tell("c", "")
    assert shown[-3:] == ["5", "", ""]
