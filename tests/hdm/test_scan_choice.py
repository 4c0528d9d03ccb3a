"""Windows or whole images: what turns out to be quicker."""

import itertools
import types

import numpy as np
import pytest
import torch
from architectures import made
from torch.nn import functional as F
from window_checks import random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.backends import Inference
from hdm_widgets.windowed import Network, WindowedInference

QUIET = {"progress": False}


def explainer_for(offset=4):
    explainer = hdm.HausdorffDistanceMasks(48, 40)
    explainer.generate_masks(6, offset)
    return explainer


def assert_equal_to_whole_images(result, model, image, segment):
    whole = explainer_for().explain(model, image, segment, inference="full", **QUIET)
    assert result.complete
    np.testing.assert_array_equal(result.values, whole.values)
    assert len(np.unique(whole.values)) >= 3


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where a window or a whole image is computed, as much as the test says."""
    clock = types.SimpleNamespace(now=0.0, window=0.0, estimate=0.0, batch=0.0, whole=0.0)
    run, full = WindowedInference.run, Network.full

    def timed_run(self, boxes, content):
        for windows in run(self, boxes, content):
            clock.now += (clock.estimate if self.propagation.reach else clock.window) * len(windows.items)
            yield windows

    def timed_full(self, images):
        clock.now += clock.batch + clock.whole * len(images)
        return full(self, images)

    monkeypatch.setattr(WindowedInference, "run", timed_run)
    monkeypatch.setattr(Network, "full", timed_full)
    for module in ("backends", "plan"):
        monkeypatch.setattr(f"hdm_widgets.hdm.{module}.time", types.SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


@pytest.fixture
def close():
    """A network for which windows and whole images are close, traced, with an image and a segment."""
    model = randomized(made(lambda: hw.UNet(1, 1, 4, 2)))
    image = F.interpolate(random_image(1, 5, 6)[None], size=(40, 48), mode="bicubic")[0].clamp(0.05, 1)
    segment = hw.Segmenter(model).masks(image[None])[0]
    assert explainer_for().plan(model, image, segment, inference="windowed").factor < 3
    return model, image, segment


def test_windows_that_are_quicker_stay(clock, close):
    clock.window, clock.whole = 1.0, 2.5
    result = explainer_for().explain(*close, **QUIET)
    assert result.plan.backend == "windowed"
    assert result.plan.measured_factor == pytest.approx(2.5)
    assert ": 2.5 times faster than whole images" in str(result.plan)
    assert_equal_to_whole_images(result, *close)


def test_windows_that_are_slower_give_way(clock, close):
    clock.window, clock.whole = 3.0, 2.0
    updates = []
    result = explainer_for().explain(*close, progress=updates.append)
    assert result.plan.backend == "folded"
    assert result.plan.reason == "only what it changes took 1.5 times as long"
    assert result.plan.measured_factor is None
    assert str(result.plan) == "The whole image is computed for each disc: only what it changes took 1.5 times as long"
    # Only the coarse stage was in windows; what it measured stays.
    assert updates[1].result.plan.backend == "windowed"
    stage = [update.done for update in updates if update.stride == updates[0].stride]
    assert stage[-1] == 30
    assert [update.done for update in updates][len(stage) :][-1] == 120
    assert_equal_to_whole_images(result, *close)


@pytest.mark.parametrize(("batch_size", "backend"), [(None, "folded"), (1, "windowed")])
def test_whole_images_are_timed_in_batches_as_they_are_run(clock, close, batch_size, backend):
    # Two seconds each in a batch of eight, nine each alone.
    clock.window, clock.batch, clock.whole = 3.0, 8.0, 1.0
    result = explainer_for().explain(*close, batch_size=batch_size, **QUIET)
    assert result.plan.backend == backend
    assert_equal_to_whole_images(result, *close)


def test_who_asks_for_windows_gets_them(clock, close):
    clock.window, clock.whole = 3.0, 2.0
    result = explainer_for().explain(*close, inference="windowed", **QUIET)
    assert result.plan.backend == "windowed"
    assert_equal_to_whole_images(result, *close)


def test_a_scan_of_one_stage_says_what_it_measured(clock, close):
    clock.window, clock.whole = 1.0, 4.0
    result = explainer_for(8).explain(*close, **QUIET)
    assert result.values.size == 30
    assert result.plan.measured_factor == pytest.approx(4)


def first_stage(result):
    cells = np.zeros(result.grid.shape, bool)
    cells[tuple(result.grid.stages()[0][1].T)] = True
    return cells


def test_estimates_that_are_quicker_stay(clock, close):
    clock.window, clock.estimate, clock.whole = 2.0, 1.0, 4.0
    result = explainer_for().explain(*close, tolerance=0.9, **QUIET)
    whole = explainer_for().explain(*close, inference="full", **QUIET)
    assert (result.plan.backend, result.plan.tolerance) == ("windowed", 0.9)
    assert result.plan.measured_factor == pytest.approx(2)
    coarse = first_stage(result)
    np.testing.assert_array_equal(result.estimated, ~coarse)
    np.testing.assert_array_equal(result.values[coarse], whole.values[coarse])
    assert (result.values[~coarse] != whole.values[~coarse]).any()
    assert result.approximation.cells == 30


def test_estimates_that_are_no_quicker_are_given_up(clock, close):
    clock.window, clock.estimate, clock.whole = 1.0, 1.0, 4.0
    result = explainer_for().explain(*close, tolerance=0.9, **QUIET)
    assert (result.plan.backend, result.plan.tolerance) == ("windowed", None)
    assert "estimated" not in str(result.plan)
    assert result.plan.measured_factor == pytest.approx(4)
    assert result.approximation is None
    assert not result.estimated.any()
    assert_equal_to_whole_images(result, *close)


@pytest.fixture
def normed(monkeypatch, close):
    """A network that looks at all of the image, traced, with its image and segment; first maps are worth it."""
    monkeypatch.setattr("hdm_widgets.hdm.plan._WORTH_ESTIMATING_SECONDS", 0.0)
    conv = torch.nn.Conv2d
    layers = [conv(1, 4, 3, padding=1), torch.nn.GroupNorm(2, 4), torch.nn.ReLU(), conv(4, 1, 3, padding=1)]
    model, image = randomized(torch.nn.Sequential(*layers)), close[1]
    with torch.no_grad():
        model[3].bias -= model(image[None]).median()
    segment = hw.Segmenter(model).masks(image[None])[0]
    explainer_for().explain(model, image, segment, inference="windowed", **QUIET)
    return model, image, segment


@pytest.mark.parametrize(("whole", "estimated"), [(10.0, 118), (3.0, 30)])
def test_a_first_map_that_turns_out_slow_ends_with_its_first_stage(clock, normed, whole, estimated):
    clock.window, clock.estimate, clock.whole = 2.0, 1.0, whole
    updates = list(explainer_for().stream(*normed))
    assert max(int(update.result.estimated.sum()) for update in updates) == estimated
    last = updates[-1].result
    assert ("estimated" in str(last.plan)) == (estimated == 118)
    assert_equal_to_whole_images(last, *normed)


@pytest.mark.parametrize("inference", ["auto", "estimate"])
def test_estimates_that_fail_say_why_however_slow_they_were(clock, normed, monkeypatch, inference):
    def failing(self, changes, items):
        yield from itertools.islice(estimates(self, changes, items), 1)
        raise RuntimeError("no kernel")

    estimates = Inference.estimates
    monkeypatch.setattr(Inference, "estimates", failing)
    clock.window, clock.estimate, clock.whole = 1.0, 9.0, 1.0
    result = explainer_for().explain(*normed, inference=inference, **QUIET)
    assert str(result.plan).endswith("; estimates failed, so that every cell is measured (no kernel)")
    assert_equal_to_whole_images(result, *normed)
