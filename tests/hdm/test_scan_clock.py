"""What a first map takes is no pace at which cells are measured; estimates have a pace of their own."""

import contextlib
import itertools

import pytest
import torch
from window_checks import random_image, randomized

from hdm_widgets import hdm
from hdm_widgets.hdm import scan_clock
from hdm_widgets.hdm.backends import Inference
from hdm_widgets.hdm.scan_clock import ScanClock


@pytest.fixture
def now(monkeypatch):
    """The time, which stands still until it is set."""
    time = [100.0]
    monkeypatch.setattr(scan_clock.time, "perf_counter", lambda: time[0])
    return time


def test_a_clock_without_a_first_map(now):
    clock = ScanClock()
    clock.start(90.0)
    assert clock.told() == (10, 0)
    with clock.measuring():
        now[0] += 5
        assert clock.told() == (15, 0)
    now[0] += 1
    assert clock.told() == (16, 0)


def test_a_first_map_in_which_some_cells_are_measured(now):
    clock = ScanClock()
    clock.start(100.0)
    with clock.mapping():
        now[0] += 3
        assert clock.told()[1] == 3
        for before in (0, 2):
            with clock.measuring():
                now[0] += 2
                assert clock.told()[1] == clock.seconds - before - 2
            now[0] += 4
        assert clock.told() == (15, 11)
    now[0] += 20
    assert clock.told() == (35, 11)
    clock.forget()
    assert clock.told() == (35, 0)


def test_a_clock_that_is_left_early(now):
    """A scan that is stopped, or has failed, goes on counting as before."""
    clock = ScanClock()
    clock.start(100.0)
    with contextlib.suppress(RuntimeError), clock.mapping(), clock.measuring():
        now[0] += 2
        raise RuntimeError
    now[0] += 5
    assert clock.told() == (7, 0)


def test_the_time_left_of_a_scan_that_ends_with_estimates(monkeypatch):
    """A cell takes 2 s to measure, an estimate 0.25 s."""
    monkeypatch.setattr(Inference, "estimates_are_slower", False)
    monkeypatch.setattr(Inference, "_estimate_pace", 0.25)
    monkeypatch.setattr(Inference, "_measuring_pace", 2.0)
    conv = torch.nn.Conv2d
    model = randomized(
        torch.nn.Sequential(conv(1, 4, 3, padding=1), torch.nn.GroupNorm(2, 4), conv(4, 1, 3, padding=1))
    )
    explainer = hdm.HausdorffDistanceMasks(72, 64)
    explainer.generate_masks(9, 6)
    updates = list(explainer.stream(model, random_image(1, 64, 72), inference="estimate"))
    assert updates[0].seconds_left == float("inf")
    coarse = len(updates[-1].result.grid.stages()[0][1])
    told = []
    for update in itertools.takewhile(lambda update: update.done < 120, updates[1:]):
        to_measure = int(update.result.estimated.sum()) if update.done <= coarse else 0
        # Of those that are certain so far, up to eight are measured in the end.
        audits = min(int(update.result.certain.sum()), 8)
        told.append(update.seconds_left)
        assert told[-1] == 0.25 * (120 - update.done) + 2 * (to_measure + audits)
    assert max(told) > 30
    assert updates[len(told) + 1].seconds_left == 2 * updates[-1].result.approximation.audits
    assert updates[-1].seconds_left == 0
