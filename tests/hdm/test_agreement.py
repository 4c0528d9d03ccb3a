"""What counts as equal: float rounding, as large as it is in this network; never more."""

import numpy as np
import pytest
import torch
from architectures import made
from tf32_double import tf32_double
from torch import nn
from torch.nn import functional as F
from window_checks import random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.agreement import Agreement
from hdm_widgets.windowed import WindowedInference, Windows

SMALL = random_image(1, 5, 6)[None]
IMAGE = F.interpolate(SMALL, size=(40, 48), mode="bicubic")[0].clamp(0.1, 1)


class Cancelling(nn.Module):
    """A U-Net with a layer that sums terms a thousand times as large as what is left of them in the end."""

    def __init__(self):
        super().__init__()
        self.network = made(lambda: hw.UNet(1, 8, 4, 1))
        self.last = made(lambda: nn.Conv2d(8, 1, 3, padding=1))

    def forward(self, images):
        features = self.network(images)
        return self.last(features + 1000) - self.last(torch.full_like(features, 1000))


def unet():
    return made(lambda: hw.UNet(1, 1, 4, 1))


def scans(model):
    """In windows, and whole."""
    segment, results = hw.Segmenter(model).masks(IMAGE[None])[0], []
    for inference in ("windowed", "full"):
        explainer = hdm.HausdorffDistanceMasks(48, 40)
        explainer.generate_masks(circle_size=6, offset=4)
        results.append(explainer.explain(model, IMAGE, segment, inference=inference, progress=False))
    return results


def outputs_off_by(monkeypatch, error):
    """Windows to which `error`, of their shape, is added."""
    run = WindowedInference.run

    def wrong(base, *arguments):
        for windows in run(base, *arguments):
            yield Windows(windows.items, windows.rows, windows.cols, windows.values + error(windows.values))

    monkeypatch.setattr(WindowedInference, "run", wrong)


NETWORKS = {
    "cancelling": (Cancelling, torch.float32, "float32 differs by up to", "from float64"),
    "bfloat16": (unet, torch.bfloat16, "bfloat16 differs by up to", "between batches of 1 and 3"),
    "float16": (unet, torch.float16, "float16 differs by up to", "between batches of 1 and 3"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_windows_of_networks_that_round_more(name):
    factory, dtype, said, compared = NETWORKS[name]
    model = randomized(factory()).to(dtype)
    ours, full = scans(model)
    plan = ours.plan
    assert plan.backend == "windowed", plan.reason
    assert plan.verified >= 2
    assert plan.largest_difference <= plan.equal_within
    segmenter = hw.Segmenter(model)
    # Every cell: the same mask but where the logit is nearer to the threshold than what counts as equal.
    for row, col in np.ndindex(full.grid.shape):
        differs = ours.output(row, col) != full.output(row, col)
        logits = segmenter.raw(torch.from_numpy(full.occluded(row, col))[None])[0, 0].numpy()
        assert (np.abs(logits[differs]) <= plan.equal_within).all()
    if plan.rounding:
        assert said in plan.rounding
        assert plan.rounding.endswith(compared)
        assert str(plan).endswith(f"equal within {plan.equal_within:.2g}, as {plan.rounding}")


def test_a_network_that_rounds_more_is_measured():
    model = randomized(Cancelling())
    ours, _ = scans(model)
    assert ours.plan.largest_difference > 1e-4
    # Numbers of about 1000 have steps of 2**-14 in float32, and the layer adds up 72 of them.
    own = float(ours.plan.rounding.split("up to ")[1].split()[0])
    assert 2**-14 < own < 72 * 2**-14
    assert ours.plan.equal_within == pytest.approx(4 * own, rel=0.01)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["one pixel", "everywhere"])
def test_more_than_rounding_is_caught(monkeypatch, name, kind):
    factory, dtype, *_ = NETWORKS[name]
    model = randomized(factory()).to(dtype)
    scale = float(hw.Segmenter(model).raw(IMAGE[None]).abs().max())

    def error(values):
        off = torch.zeros_like(values)
        place = off[..., off.shape[-2] // 2, off.shape[-1] // 2] if kind == "one pixel" else off
        place.fill_((0.1 if dtype != torch.float32 else 0.01) * scale)
        return off

    outputs_off_by(monkeypatch, error)
    ours, full = scans(model)
    assert ours.plan.backend == "model"
    assert "windows were" in ours.plan.reason
    np.testing.assert_array_equal(ours.values, full.values)


def test_what_is_equal_costs_nothing_more(monkeypatch):
    def measured(*_):
        pytest.fail("there is no need to measure the model's own rounding")

    monkeypatch.setattr(Agreement, "_measured", measured)
    ours, _ = scans(randomized(unet()))
    assert ours.plan.backend == "windowed"
    assert ours.plan.rounding == ""
    assert ours.plan.equal_within == pytest.approx(1e-5, rel=2)


class OnePixel(nn.Module):
    """Float32 loses 5e-4 of one pixel, and nothing elsewhere."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, images):
        images = images * self.one
        lost = (images + 2.0**30) - 2.0**30
        return images + 5e-4 * F.pad(lost[..., :1, :1], (0, images.shape[-1] - 1, 0, images.shape[-2] - 1))


@pytest.mark.parametrize(
    ("error", "equal"),
    [
        (lambda raw: 0 * raw, True),
        (lambda raw: 5e-6 * torch.ones_like(raw), True),
        # Within four times the largest deviation, and where that is.
        (lambda raw: 1e-3 * F.one_hot(torch.tensor(0), raw.numel()).view(raw.shape), True),
        # In one pixel, or in all of them, more than rounding explains.
        (lambda raw: 3e-3 * F.one_hot(torch.tensor(0), raw.numel()).view(raw.shape), False),
        (lambda raw: 1e-4 * torch.ones_like(raw), False),
        (lambda raw: torch.full_like(raw, torch.nan), False),
        (lambda raw: torch.full_like(raw, torch.inf), False),
    ],
)
def test_one_pixel_that_rounding_moves_allows_nothing_for_the_others(error, equal):
    segmenter = hw.Segmenter(OnePixel().eval())
    image = torch.ones(1, 30, 40)
    raw = segmenter.raw(image[None])
    agreement = Agreement(segmenter)
    assert agreement.equal(raw + error(raw), raw, image) is equal


class OnlyFloat32(nn.Module):
    """Cannot be run in another precision."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        if images.dtype != torch.float32:
            raise TypeError("float32 only")
        return self.network(images)


def test_a_model_of_one_precision_is_compared_between_batches():
    segmenter = hw.Segmenter(OnlyFloat32(randomized(Cancelling())))
    raw = segmenter.raw(IMAGE[None])
    of_three = segmenter.raw(IMAGE[None].repeat(3, 1, 1, 1))[:1]
    apart = float((of_three - raw).abs().max())
    agreement = Agreement(segmenter)
    assert not agreement.equal(raw + 5 * apart + 1e-4, raw, IMAGE)
    assert agreement.equal(of_three, raw, IMAGE)
    if apart > 1e-5:
        assert agreement.reason(raw).endswith(f"float32 differs by up to {apart:.2g} between batches of 1 and 3")


def test_windows_are_compared_without_tf32():
    """Their own differences of TF32 would hide a mistake a hundred times as large as rounding."""
    model = randomized(unet())
    _, expected = scans(model)
    with tf32_double():
        ours, full = scans(model)
    plan = ours.plan
    assert plan.backend == "windowed", plan.reason
    assert plan.verified >= 2
    scale = max(1.0, float(hw.Segmenter(model).raw(IMAGE[None]).abs().max()))
    assert plan.largest_difference <= plan.equal_within == pytest.approx(1e-5 * scale, rel=0.1)
    # What was computed in TF32 is what the scan gives: the masks of neither are those of float32 everywhere.
    moved = float(
        plan.rounding.removeprefix("both were computed without TF32, which moves the model's output by up to ")
    )
    assert 1e-4 < float(moved) / scale < 1e-2
    cells = list(np.ndindex(full.grid.shape))
    differ = [
        sum(int((a.output(*cell) != b.output(*cell)).sum()) for cell in cells)
        for a, b in ((ours, full), (full, expected))
    ]
    assert differ[1] > 0
    assert differ[0] <= 2 * differ[1]


def test_a_mistake_smaller_than_tf32_is_caught(monkeypatch):
    model = randomized(unet())
    scale = float(hw.Segmenter(model).raw(IMAGE[None]).abs().max())
    outputs_off_by(monkeypatch, lambda values: torch.full_like(values, 1e-4 * scale))
    with tf32_double():
        ours, _ = scans(model)
    assert ours.plan.backend == "model"
    assert "windows were" in ours.plan.reason


def test_the_windows_of_an_image_are_compared_without_tf32():
    model, image = randomized(unet()), F.interpolate(SMALL, size=(56, 64), mode="bicubic")[0].clamp(0.1, 1)
    explainer = hdm.HausdorffDistanceMasks(64, 56)
    explainer.generate_masks(circle_size=6, offset=8)
    with tf32_double():
        segmenter = hw.Segmenter(model, window=40)
        plan = explainer.explain(segmenter, image, None, inference="windowed", progress=False).plan
    assert plan.backend == "windowed", plan.reason
    assert plan.verified >= 2
    assert plan.equal_within < 1e-4
