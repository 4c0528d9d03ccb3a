"""Windows are not believed: what they get wrong is noticed, said, and computed by the model itself."""

import types

import numpy as np
import pytest
import torch
from architectures import made
from torch import nn
from torch.nn import functional as F
from window_checks import random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.windowed import Network, WindowedInference, Windows
from hdm_widgets.windowed.axes import Interval, Window
from hdm_widgets.windowed.steps import Convolution

QUIET = {"progress": False}
IMAGE = F.interpolate(random_image(1, 5, 6)[None], size=(40, 48), mode="bicubic")[0].clamp(0.1, 1)


def explainer_for(circle_size=6, offset=4):
    explainer = hdm.HausdorffDistanceMasks(48, 40)
    explainer.generate_masks(circle_size, offset)
    return explainer


def unet():
    return randomized(made(lambda: hw.UNet(1, 1, 4, 1)))


def mask_of(model):
    return hw.Segmenter(model).masks(IMAGE[None])[0]


def whole(model, explainer=None, **options):
    explainer = explainer or explainer_for()
    return explainer.explain(model, IMAGE, mask_of(model), inference="full", **options, **QUIET)


def streamed(model, explainer=None, **options):
    """A scan in windows; every update is looked at."""
    updates = []
    result = (explainer or explainer_for()).explain(
        model, IMAGE, mask_of(model), **{"inference": "windowed"} | options, progress=updates.append
    )
    assert updates[-1].result is result
    assert updates[-1].done == updates[-1].total
    for update in updates:
        assert update.done <= update.total
        assert update.done == update.result.measured.sum()
        at = update.cells[:, 0], update.cells[:, 1]
        np.testing.assert_array_equal(update.result.values[at], update.distances)
        np.testing.assert_array_equal(np.isnan(update.result.values), ~update.result.measured)
    return result, updates


def assert_same(result, expected):
    assert result.complete
    np.testing.assert_array_equal(result.values, expected.values)
    for row, col in np.argwhere(expected.measured).tolist():
        # Rounding may move a pixel across the threshold.
        assert (result.output(row, col) != expected.output(row, col)).sum() <= 1


def assert_caught(result, updates):
    assert result.plan.backend == "model"
    assert "windows were" in result.plan.reason
    assert result.plan.reason.endswith("every disc was run in full")
    assert "\n" not in str(result.plan)
    # It began anew.
    counts = [update.done for update in updates]
    afresh = counts.index(0, 1)
    assert (np.diff(counts[afresh:]) >= 0).all()
    assert not updates[afresh].result.measured.any()


# -- wrong rules --------------------------------------------------------------------------------------


def test_windows_that_are_a_pixel_too_small(monkeypatch):
    change = Window.propagate

    def smaller(self, changed):
        out = change(self, changed)
        return Interval(out.lo + 1, out.hi) if out and out.size > 4 else out

    monkeypatch.setattr(Window, "propagate", smaller)
    model = unet()
    result, updates = streamed(model)
    assert_caught(result, updates)
    assert_same(result, whole(model))


def test_an_operation_that_is_wrong_in_windows_only(monkeypatch):
    compute = Convolution.compute

    def wrong(self, patches, rows, cols, scalars):
        out = compute(self, patches, rows, cols, scalars)
        if rows.out.size < self.rows.size:
            out[..., out.shape[-2] // 2, out.shape[-1] // 2] += 0.01
        return out

    monkeypatch.setattr(Convolution, "compute", wrong)
    model = unet()
    result, updates = streamed(model)
    assert_caught(result, updates)
    assert_same(result, whole(model))


class WrongLater:
    """Windows whose middle is wrong after so many batches."""

    def __init__(self, monkeypatch, after, by=5.0):
        self.after, self.by, self.batches = after, by, 0
        self.clock, self.seconds = types.SimpleNamespace(now=0.0), 0.0
        run = WindowedInference.run

        def wrong(base, *arguments):
            for windows in run(base, *arguments):
                self.batches += 1
                self.clock.now += self.seconds
                values = windows.values.clone()
                if self.batches > self.after:
                    values[..., values.shape[-2] // 2, values.shape[-1] // 2] += self.by
                yield Windows(windows.items, windows.rows, windows.cols, values)

        monkeypatch.setattr(WindowedInference, "run", wrong)


@pytest.mark.parametrize("options", [{}, {"empty": "nan"}, {"region": (5, 5, 30, 40)}], ids=["", "nan", "region"])
def test_what_was_told_before_is_taken_back(monkeypatch, options):
    model = unet()
    expected = whole(model, **options)
    WrongLater(monkeypatch, after=1)
    explainer = explainer_for()
    updates = list(explainer.stream(model, IMAGE, mask_of(model), inference="windowed", **options))
    counts = [update.done for update in updates]
    assert counts[0] == 0
    assert counts[1] > 0  # the first batch was right, and told
    assert counts.index(0, 1) == 2
    assert counts[-1] == updates[0].total == expected.measured.sum()
    seen = np.zeros(expected.values.shape, int)
    for update in updates[2:]:
        np.testing.assert_array_equal(update.distances, expected.values[update.cells[:, 0], update.cells[:, 1]])
        seen[update.cells[:, 0], update.cells[:, 1]] += 1
    np.testing.assert_array_equal(seen, expected.measured)
    assert_same(explainer.result, expected)
    assert "windows were 5 away" in explainer.result.plan.reason
    assert explainer.result.plan.verified == 0
    # A scan after that does not remember any of it.
    monkeypatch.undo()
    again = explainer.explain(model, IMAGE, mask_of(model), inference="windowed", **options, **QUIET)
    assert_same(again, expected)


def test_nothing_that_was_wrong_is_remembered(monkeypatch):
    """Verification comes too late: only after wrong values were told, and put into the memory."""
    model, explainer = unet(), explainer_for()
    expected = whole(model)
    wrong = WrongLater(monkeypatch, after=2)
    clock = wrong.clock
    for module in ("backends", "plan"):
        monkeypatch.setattr(f"hdm_widgets.hdm.{module}.time", types.SimpleNamespace(perf_counter=lambda: clock.now))
    raw = hw.Segmenter.raw

    def slow(self, images):
        clock.now += 1
        return raw(self, images)

    monkeypatch.setattr(hw.Segmenter, "raw", slow)
    told, caught = [], False
    for update in explainer.stream(model, IMAGE, mask_of(model), inference="windowed"):
        caught = caught or bool(told and not update.done)
        if not caught:
            told.append((expected.values[tuple(update.cells.T)] != update.distances).any())
            # Windows take no time, so that verifying takes too large a share of it; later they take long.
            wrong.seconds = 100.0 * (sum(told) >= 3)
    assert caught
    assert sum(told) >= 3
    assert_same(explainer.result, expected)
    assert "windows were 5 away" in explainer.result.plan.reason


def test_one_that_differs_by_rounding_is_believed(monkeypatch):
    model = unet()
    WrongLater(monkeypatch, after=0, by=3e-6)
    result, updates = streamed(model)
    assert result.plan.backend == "windowed"
    assert 2e-6 < result.plan.largest_difference < 1e-5
    assert result.plan.verified >= 2
    assert 0 not in [update.done for update in updates[1:]]


def test_just_above_rounding_is_not(monkeypatch):
    model = unet()
    expected = whole(model)
    largest = float(hw.Segmenter(model).raw(IMAGE[None]).abs().max())
    WrongLater(monkeypatch, after=0, by=3e-5 * max(1, largest))
    result, updates = streamed(model)
    assert_caught(result, updates)
    assert_same(result, expected)


def test_the_bar_starts_again(monkeypatch, capsys):
    from hdm_widgets.hdm import explainer as module

    real = module.tqdm
    monkeypatch.setattr(module, "tqdm", lambda **options: real(**{**options, "delay": 0}))
    WrongLater(monkeypatch, after=1)
    model = unet()
    explainer_for().explain(model, IMAGE, mask_of(model), inference="windowed")
    last = capsys.readouterr().err.split("\r")[-1]
    assert "120/120" in last


def test_verified_cells_lie_apart_and_at_the_border(monkeypatch):
    """Of a scan long enough, eight; the first is at the corner."""
    verified = []
    raw = hw.Segmenter.raw
    model = unet()

    def noticing(self, images):
        verified.append(images)
        return raw(self, images)

    monkeypatch.setattr(hw.Segmenter, "raw", noticing)
    # Verifying takes no time, so that the share of time that it may take is never used up.
    for module in ("backends", "plan"):
        monkeypatch.setattr(f"hdm_widgets.hdm.{module}.time", Timeless)
    result, _ = streamed(model, explainer_for(6, 2))
    assert result.plan.verified == 8
    cells = [
        (row, col)
        for image in verified
        for row, col in np.ndindex(result.grid.shape)
        if torch.equal(image, torch.from_numpy(result.occluded(row, col))[None])
    ]
    assert len(set(cells)) == 8
    assert cells[0] == (0, 0)
    gaps = [max(abs(a - c), abs(b - d)) for a, b in cells for c, d in cells if (a, b) != (c, d)]
    assert min(gaps) >= 2


class Timeless:
    @staticmethod
    def perf_counter():
        return 0.0


def test_a_difference_found_one_by_one_is_no_error_of_the_model(monkeypatch):
    """The folded network fails on batches, and is wrong on single images."""
    model, explainer = unet(), explainer_for()
    expected = whole(model)
    full = Network.full
    monkeypatch.setattr("hdm_widgets.hdm.plan.free_memory", lambda device: 0)

    def wrong(self, images):
        if len(images) > 1:
            raise RuntimeError("single images only")
        return full(self, images) + 5 * (not torch.equal(images, IMAGE[None]))

    monkeypatch.setattr(Network, "full", wrong)
    result = explainer.explain(model, IMAGE, mask_of(model), inference="windowed", batch_size=4, **QUIET)
    assert result.plan.backend == "model"
    assert "the folded network was 5 away; every disc was run in full" in result.plan.reason
    assert_same(result, expected)


# -- a network that is not what was traced ------------------------------------------------------------


class Switched(nn.Module):
    """Its switches show everywhere, or under discs only."""

    def __init__(self):
        super().__init__()
        self.network = unet()
        self.sign, self.dark = 1, 0.0

    def forward(self, images):
        return self.sign * self.network(images) + self.dark * (images == 0)


@pytest.mark.parametrize("ways", ["windowed", "auto"])
@pytest.mark.parametrize("way", ["layer", "attribute", "classes", "precision", "parameter"])
def test_a_network_that_has_changed_is_traced_again(ways, way):
    model, explainer = Switched(), explainer_for(offset=6)
    first, _ = streamed(model, explainer)
    assert first.plan.backend == "windowed"
    target = None
    if way == "layer":
        model.network.head = randomized(nn.Conv2d(4, 1, 1), seed=3)
    elif way == "attribute":
        model.sign = -1
    elif way == "classes":
        model.network.head, target = randomized(nn.Conv2d(4, 3, 1), seed=3), 1
    elif way == "precision":
        model.double()
    else:
        with torch.no_grad():
            model.network.head.weight = nn.Parameter(-model.network.head.weight)
    segment = mask_of(Switched())
    options = {"target": target} | QUIET
    result = explainer.explain(model, IMAGE, segment, inference=ways, **options)
    if ways == "windowed":
        assert result.plan.backend == "windowed", result.plan.reason
    assert_same(result, explainer_for(offset=6).explain(model, IMAGE, segment, inference="full", **options))


def test_a_change_that_shows_under_discs_only_is_caught_and_traced_again():
    model, explainer = Switched(), explainer_for()
    before, _ = streamed(model, explainer)
    model.dark = 5.0
    expected = whole(model)
    assert (before.values != expected.values).any()
    # The image without a disc is the same: neither what was traced nor what is remembered seems to be wrong.
    result, _ = streamed(model, explainer)
    assert_same(result, expected)
    fresh, _ = streamed(model)
    assert_same(fresh, expected)
    again, _ = streamed(model)
    assert again.plan.backend == "windowed"
    assert_same(again, expected)


def assert_nearly_same(result, expected):
    """But for a pixel or two whose logit is as near to the threshold as rounding."""
    flipped = sum(
        np.count_nonzero(result.output(row, col) != expected.output(row, col))
        for row, col in np.ndindex(result.grid.shape)
    )
    assert flipped <= 2


def test_whole_images_of_a_traced_network_are_not_believed_either():
    class Standardised(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = Switched()

        def forward(self, images):
            # Black stays black: so the switch shows under discs only.
            return self.network((images - 0.1 * images.mean((2, 3), keepdim=True)) * (images > 0))

    model = Standardised()
    assert explainer_for().plan(model, IMAGE, mask_of(model), inference="windowed").backend == "windowed"
    assert explainer_for().plan(model, IMAGE, mask_of(model)).backend == "folded"
    result, _ = streamed(model, inference="auto")
    assert result.plan.backend == "folded"
    assert result.plan.verified >= 1
    assert_nearly_same(result, whole(model))
    model.network.dark = 5.0
    assert explainer_for().plan(model, IMAGE, mask_of(model)).backend == "folded"
    result, _ = streamed(model, inference="auto")
    assert result.plan.backend == "model"
    assert_nearly_same(result, whole(model))


def test_a_trace_that_gives_something_else_is_not_used(monkeypatch):
    """As if the tracer had lost something in silence."""
    full = Network.full
    monkeypatch.setattr(Network, "full", lambda self, images: full(self, images) + 0.25)
    model = unet()
    result, _ = streamed(model)
    assert result.plan.backend == "model"
    assert result.plan.reason == "its traced network gives something else (up to 0.25 away)"
    assert explainer_for().plan(model, IMAGE, mask_of(model), inference="windowed") == result.plan
    assert_same(result, whole(model))


def test_a_network_of_low_precision_is_not_compared_to_rounding():
    model = unet().to(torch.bfloat16)
    result, _ = streamed(model)
    assert_same(result, whole(model))
