"""A network that was refused is not traced again, until it has changed in a way that may matter."""

import threading
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch
from architectures import made
from torch import nn
from torch.nn import functional as F
from window_checks import random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.trace_cache import TraceCache
from hdm_widgets.windowed import Network, WindowedInference, Windows
from hdm_widgets.windowed import network as network_module

QUIET = {"progress": False}
IMAGE = F.interpolate(random_image(1, 5, 6)[None], size=(40, 48), mode="bicubic")[0].clamp(0.1, 1)


def scan(model, inference="windowed", image=IMAGE):
    explainer = hdm.HausdorffDistanceMasks(image.shape[-1], image.shape[-2])
    explainer.generate_masks(6, 8)
    return explainer.explain(model, image, image[0].numpy() > 0.5, inference=inference, **QUIET)


@pytest.fixture
def traces(monkeypatch):
    """The networks that have been traced."""
    done, trace = [], network_module.trace

    def traced(network, image):
        done.append(network)
        return trace(network, image)

    monkeypatch.setattr(network_module, "trace", traced)
    return done


def test_scans_that_begin_at_once_share_a_trace(monkeypatch, traces):
    model = randomized(made(lambda: hw.UNet(1, 1, 4, 1)))
    asked = threading.Semaphore(0)
    get, trace = TraceCache.get, network_module.trace

    def noted(*arguments, **keywords):
        asked.release()
        return get(*arguments, **keywords)

    def late(network, image):
        # Not before all three have asked for a trace.
        for _ in range(3):
            assert asked.acquire(timeout=60)
        asked.release(3)
        return trace(network, image)

    monkeypatch.setattr(TraceCache, "get", noted)
    monkeypatch.setattr(network_module, "trace", late)
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: scan(model), range(3)))
    assert len(traces) == 1
    for result in results:
        np.testing.assert_array_equal(result.values, results[0].values)
        assert result.plan.backend == "windowed"


def test_a_scan_that_was_stopped_is_not_traced(traces):
    model = randomized(made(lambda: hw.UNet(1, 1, 4, 1)))
    explainer = hdm.HausdorffDistanceMasks(IMAGE.shape[-1], IMAGE.shape[-2])
    explainer.generate_masks(6, 8)
    prepared = explainer.prepare(model, IMAGE, IMAGE[0].numpy() > 0.5, None, -1, inference="windowed")
    first = next(prepared.updates(lambda: True))
    assert (first.done, traces) == (0, [])
    assert first.result.plan.reason == "the scan was stopped"


class Refused(nn.Module):
    """What it does depends on the values."""

    def __init__(self):
        super().__init__()
        self.network = randomized(made(lambda: hw.UNet(1, 1, 4, 1)))
        self.settings = {"sizes": [1, 2], "inner": {"scale": 1.0}}
        self.limit, self.runs, self.last = 0.0, 0, None

    def forward(self, images):
        # As models that keep what they compute do.
        self.runs += 1
        self.last = self.network(images)
        return self.last if self.last.mean() > self.limit else 2 * self.last


class Noisy(Refused):
    def forward(self, images):
        return self.network(images) + 1e-12 * torch.rand_like(images)


@pytest.mark.parametrize(("kind", "said"), [(Refused, "depends on the values"), (Noisy, "draws random numbers")])
def test_what_cannot_be_traced_is_tried_once(traces, kind, said):
    model = kind().eval()
    results = [scan(model) for _ in range(3)]
    assert len(traces) == 1
    for result in results:
        assert result.plan.backend == "model"
        assert said in result.plan.reason
        np.testing.assert_array_equal(result.values, results[0].values)
    # For images of another size the network may do something else, and so may another network.
    scan(model, image=IMAGE[:, :32])
    assert len(traces) == 2
    scan(kind().eval())
    assert len(traces) == 3


def _layer(model):
    model.network.head = deepcopy(model.network.head)


def _parameter(model):
    model.network.head.weight = nn.Parameter(model.network.head.weight.detach().clone())


def _setting(model):
    model.limit = -1e9


def _inner_setting(model):
    model.settings["inner"]["scale"] = 2.0


def _hook(model):
    model.network.register_forward_hook(lambda *_: None)


def _forward(model):
    model.forward = lambda images: model.network(images)


def _precision(model):
    model.double()


def _training(model):
    model.network.head.padding_mode = "reflect"


@pytest.mark.parametrize(
    "change", [_layer, _parameter, _setting, _inner_setting, _hook, _forward, _precision, _training]
)
def test_a_change_of_the_modules_is_a_reason_to_try_again(traces, change):
    model = Refused().eval()
    scan(model)
    change(model)
    scan(model)
    assert len(traces) == 2


def _weights(model):
    with torch.no_grad():
        model.network.head.weight.mul_(1.5)


def test_other_weights_do_not_help_what_cannot_be_traced(traces):
    model = Refused().eval()
    scan(model)
    _weights(model)
    assert scan(model).plan.backend == "model"
    assert len(traces) == 1


def _wrong_everywhere(monkeypatch):
    full = Network.full
    monkeypatch.setattr(Network, "full", lambda self, images: full(self, images) + 0.25)


def _wrong_windows(monkeypatch):
    run = WindowedInference.run

    def wrong(base, *arguments):
        for windows in run(base, *arguments):
            yield Windows(windows.items, windows.rows, windows.cols, windows.values + 5)

    monkeypatch.setattr(WindowedInference, "run", wrong)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (_wrong_everywhere, "its traced network gives something else (up to 0.25 away)"),
        (_wrong_windows, "at cell (row 0, column 0) windows were 5 away"),
    ],
)
def test_what_gives_something_else_is_tried_once(monkeypatch, traces, fault, said):
    fault(monkeypatch)
    model = randomized(made(lambda: hw.UNet(1, 1, 4, 1)))
    results = [scan(model) for _ in range(3)]
    assert len(traces) == 1
    for result in results:
        assert result.plan.backend == "model"
        assert result.plan.reason.startswith(said)
        np.testing.assert_array_equal(result.values, results[0].values)
    # Other weights may help.
    monkeypatch.undo()
    with torch.no_grad():
        model.head.weight.mul_(1.5)
    result = scan(model)
    assert result.plan.backend == "windowed"
    np.testing.assert_array_equal(result.values, scan(model, "full").values)


class Padded(nn.Module):
    """Takes the amounts of padding, and a factor, from buffers."""

    def __init__(self):
        super().__init__()
        self.network = randomized(made(lambda: hw.UNet(1, 1, 4, 1)))
        self.register_buffer("amounts", torch.tensor([2, 2, 0, 0]))

    def forward(self, images):
        left, right, above, below = self.amounts.tolist()
        padded = F.pad(images, (left, right, above, below), value=0.5)
        return self.network(padded)[..., above : above + images.shape[-2], left : left + images.shape[-1]]


@pytest.mark.parametrize("amounts", [[0, 4, 0, 0], [4, 0, 2, 2]])
def test_numbers_of_a_buffer_that_change(traces, amounts):
    model = Padded().eval()
    before = scan(model)
    assert before.plan.backend == "windowed"
    model.amounts.copy_(torch.tensor(amounts))
    after = scan(model)
    assert after.plan.backend == "windowed"
    assert len(traces) == 2
    np.testing.assert_array_equal(after.values, scan(model, "full").values)
    np.testing.assert_array_equal(scan(model).values, after.values)
    assert len(traces) == 2
