"""Scans on a device that is not the CPU: the same results, computed there, and no transfer for a single cell."""

import numpy as np
import pytest
import torch
from device_double import CPU, DEVICE, second_device
from torch import nn
from torch.nn import functional as F
from window_checks import random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm import plan as planning
from hdm_widgets.hdm import running_scan
from hdm_widgets.models.errors import is_out_of_memory
from hdm_widgets.windowed import TracedModel, TypicalActivations, WindowedInference

IMAGE = random_image(2, 40, 48)


class Resampled(nn.Module):
    """Padding by reflection, a pool and an upsampling that are linear in positions, and a norm of the whole map."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, images):
        maps = F.pad(self.first(images).relu(), (1, 1, 1, 1), mode="reflect")
        maps = F.interpolate(F.avg_pool2d(maps, 3, 2), size=images.shape[-2:], mode="bilinear", align_corners=True)
        return self.last(self.norm(maps))


class Interpolated(nn.Module):
    """Padding by reflection, a pool and an upsampling that are linear in positions."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, images):
        maps = F.avg_pool2d(F.pad(self.first(images), (1, 1, 1, 1), mode="reflect"), 4, 2)
        return self.last(F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False))


class Attending(nn.Module):
    """Tokens that look at each other, and a gate from the mean of the whole map."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 4, stride=4), nn.ConvTranspose2d(4, 1, 4, stride=4)
        self.asks, self.gates = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, images):
        maps = self.first(images)
        tokens = maps.flatten(2).transpose(1, 2)[:, None]
        found = F.scaled_dot_product_attention(self.asks(tokens), tokens, tokens)[:, 0].transpose(1, 2).view_as(maps)
        return self.last((maps + found) * self.gates(maps.mean((2, 3)))[..., None, None].sigmoid())


class OwnMask(hdm.HausdorffDistanceMasks):
    def apply_mask(self, image, mask):
        return torch.minimum(image, mask) * 0.9


class OwnDistance(hdm.HausdorffDistanceMasks):
    def calculate_distance(self, output, segment):
        return float(np.abs(output).sum())


def local():
    return hw.UNet(2, 1, 4, 1)


def unpadded():
    return nn.Sequential(nn.Conv2d(2, 4, 5), nn.ReLU(), nn.Conv2d(4, 1, 5))


# Network, settings of the Segmenter, settings of the scan.
CASES = {
    "minimum": (local, {}, {}),
    "mean of one channel": (local, {}, {"fill": "mean", "channel": 1}),
    "blur": (local, {}, {"fill": "blur"}),
    "noise": (local, {}, {"fill": "noise"}),
    "inpainted": (local, {}, {"fill": "inpainted"}),
    "numbers": (local, {}, {"fill": (0.1, 0.3)}),
    "rows": (local, {}, {"distance": "rows"}),
    "own mask": (local, {}, {"kind": OwnMask}),
    "own distance": (local, {}, {"kind": OwnDistance}),
    "all classes": (lambda: hw.UNet(2, 3, 4, 1), {}, {"target": "all"}),
    "windows": (local, {"window": 24, "overlap": 0.5, "blending": "gaussian"}, {}),
    "windows with a margin": (unpadded, {"window": 24, "align": "center"}, {}),
    "unpadded": (unpadded, {"align": "center"}, {}),
    "padded": (local, {"pad_to": 32}, {}),
    "preprocessed": (local, {"preprocess": lambda images: 2 * images - 1}, {}),
    "resampled": (Resampled, {"target": 1}, {}),
    "attending": (Attending, {}, {}),
}


def scan(model, settings, options, device, inference):
    options = dict(options)
    explainer = options.pop("kind", hdm.HausdorffDistanceMasks)(48, 40)
    explainer.generate_masks(circle_size=6, offset=12)
    segmenter = hw.Segmenter(model, device=device, **settings) if settings else model
    where = None if settings else device
    return explainer.explain(segmenter, IMAGE, None, where, inference=inference, progress=False, **options)


@pytest.mark.parametrize(
    ("name", "inference"),
    [
        *((name, "windowed") for name in CASES),
        *((name, "full") for name in ("inpainted", "own mask", "own distance", "all classes", "unpadded")),
        *((name, "estimate") for name in ("minimum", "resampled", "attending")),
    ],
)
def test_a_scan_on_another_device(name, inference):
    factory, settings, options = CASES[name]
    model = randomized(factory())
    expected = scan(model, settings, options, CPU, inference)
    with second_device() as device:
        result = scan(model, settings, options, DEVICE, inference)
        assert device.convolutions[CPU] == 0
        assert device.convolutions[DEVICE] > 0
    assert {tensor.device for tensor in model.parameters()} == {CPU}
    if inference == "windowed":
        assert result.plan.backend == expected.plan.backend == "windowed", result.plan.reason
    # Nothing in the result is on the device, which is gone.
    np.testing.assert_allclose(result.values, expected.values, rtol=1e-6)
    np.testing.assert_array_equal(result.occluded(2, 3), expected.occluded(2, 3))
    np.testing.assert_array_equal(result.output(2, 3), expected.output(2, 3))


@pytest.mark.parametrize("name", ["resampled", "attending"])
def test_what_estimates_learn_is_computed_there(name, monkeypatch):
    def add(self, image):
        learned.append(image.device)
        return original(self, image)

    learned, original = [], TypicalActivations.add
    monkeypatch.setattr(TypicalActivations, "add", add)
    monkeypatch.setattr(running_scan, "_WORTH_LEARNING_CELLS", 100)
    factory, settings, _ = CASES[name]
    explainer, model = hdm.HausdorffDistanceMasks(48, 40), randomized(factory())
    explainer.generate_masks(circle_size=6, offset=4)

    def estimated(device):
        segmenter = hw.Segmenter(model, device=device, **settings)
        return explainer.explain(segmenter, IMAGE, None, inference="estimate", progress=False)

    expected = estimated(CPU)
    with second_device() as device:
        result = estimated(DEVICE)
        assert device.convolutions[CPU] == 0
    assert learned == [CPU] * 4 + [DEVICE] * 4
    assert result.estimated.sum() == expected.estimated.sum() > 60
    np.testing.assert_allclose(result.values, expected.values, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "inference"),
    [
        *((name, "windowed") for name in ("minimum", "own distance", "all classes")),
        *((name, "full") for name in ("minimum", "own distance")),
    ],
)
def test_transfers_are_for_batches(name, inference):
    factory, settings, options = CASES[name]
    options = dict(options)
    explainer = options.pop("kind", hdm.HausdorffDistanceMasks)(128, 96)
    explainer.generate_masks(circle_size=6, offset=4)
    model, image = randomized(factory()), random_image(2, 96, 128)
    counted, before = [], (0, 0, 0)
    with second_device() as device:
        segmenter = hw.Segmenter(model, device=DEVICE, batch_size=16, **settings)
        for update in explainer.stream(segmenter, image, None, inference=inference, **options):
            now = device.to_device, device.to_cpu, device.reads
            if len(update.cells) >= 8:
                counted.append((len(update.cells), *(after - each for after, each in zip(now, before, strict=True))))
            before = now
            if len(counted) == 14:
                break
    # Where a cell is verified, the model runs too: at most 8 times.
    plain = sorted(counted, key=lambda each: sum(each[1:]))[:-8]
    assert max(each[0] for each in plain) >= 16
    # To the device: where the discs are, and where the windows are unless it is known there.
    assert {each[1] for each in plain} <= {1, 2}
    assert {each[2:] for each in plain} == {(1, 1)}


@pytest.mark.parametrize("factory", [local, Interpolated])
def test_what_windows_need_is_on_the_device_after_the_first_time(factory):
    model = randomized(factory())
    boxes = np.array([[row, col, row + 4, col + 4] for row in range(8, 28, 4) for col in range(8, 36, 4)])
    with second_device() as device:
        image, shown = IMAGE.to(DEVICE), random_image(2, 40, 48, seed=1).to(DEVICE)

        def content(items, parts):
            changed = []
            for item, (row0, col0, row1, col1) in zip(items, parts, strict=True):
                whole, (top, left, bottom, right) = image.clone(), boxes[item]
                whole[:, top:bottom, left:right] = shown[:, top:bottom, left:right]
                changed.append(whole[:, row0:row1, col0:col1])
            return torch.stack(changed)

        network = TracedModel(model.to(DEVICE), image).network
        base, largest = WindowedInference(network, image), 0
        for run in range(2):
            device.reset()
            for windows in base.run(boxes, content):
                largest = max(largest, len(windows.items))
            assert device.waits == 0
            assert run == 0 or device.to_device == 0
        assert largest > 1


def test_images_and_truths_on_the_device():
    model = randomized(local())
    segment = hw.Segmenter(model).masks(IMAGE[None])[0]
    explainer = hdm.HausdorffDistanceMasks(48, 40)
    explainer.generate_masks(circle_size=6, offset=8)
    expected = explainer.explain(model, IMAGE, segment, progress=False)
    for where in (CPU, DEVICE):
        explainer = hdm.HausdorffDistanceMasks(48, 40)
        explainer.generate_masks(circle_size=6, offset=8)
        with second_device():
            given = IMAGE.to(DEVICE), torch.from_numpy(segment).to(DEVICE)
            result = explainer.explain(model, *given, where, progress=False)
            np.testing.assert_array_equal(hw.Segmenter(model, device=where).masks(given[0][None])[0], segment)
            result.overlay(hdm.RAW, given[0])
        np.testing.assert_array_equal(result.values, expected.values)


def test_the_first_run_on_a_device_is_not_the_measure(monkeypatch):
    """On a GPU it loads the kernels."""
    model, timed = randomized(local()), []

    def seconds(function):
        timed.append(function())
        return 1e-4

    monkeypatch.setattr(planning, "_seconds", seconds)
    for device, again in ((CPU, 0), (DEVICE, 1)):
        timed.clear()
        with second_device():
            segmenter = hw.Segmenter(model, device=device)
            explainer = hdm.HausdorffDistanceMasks(48, 40)
            explainer.generate_masks(circle_size=6, offset=8)
            scan = explainer.prepare(segmenter, IMAGE)
            with segmenter.evaluating():
                raw = segmenter.raw(IMAGE[None])
                cells = np.argwhere(np.ones((5, 6), bool))
                planned = planning.make_plan(segmenter, scan.occluder, "auto", None, cells, raw, 10.0, first_map=False)
        assert (planned.plan.backend == "model") == bool(again)
        assert len(timed) >= again


def test_a_batch_of_windows_that_runs_out_of_memory_is_halved():
    model = randomized(local())
    network = TracedModel(model, IMAGE).network
    boxes = np.array([[8, col, 12, col + 4] for col in range(12, 32)])
    shown = torch.rand(len(boxes), 2, 40, 48, generator=torch.Generator().manual_seed(0))
    asked = []

    def content(items, parts, most):
        asked.append(len(items))
        if len(items) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        cut = [IMAGE.clone() for _ in items]
        for image, item in zip(cut, items, strict=True):
            row0, col0, row1, col1 = boxes[item]
            image[:, row0:row1, col0:col1] = shown[item][:, row0:row1, col0:col1]
        return torch.stack([image[:, a:c, b:d] for image, (a, b, c, d) in zip(cut, parts, strict=True)])

    def outputs(most):
        found = {}
        for windows in WindowedInference(network, IMAGE).run(boxes, lambda items, parts: content(items, parts, most)):
            for item, row, col, values in zip(windows.items, windows.rows, windows.cols, windows.values, strict=True):
                found[int(item)] = int(row), int(col), values
        return found

    expected, sizes = outputs(100), list(asked)
    asked.clear()
    halved = outputs(3)
    assert max(sizes) > 3
    assert max(asked) == max(sizes)
    assert halved.keys() == expected.keys() == set(range(len(boxes)))
    for item, (row, col, values) in halved.items():
        assert (row, col) == expected[item][:2]
        torch.testing.assert_close(values, expected[item][2])
    with pytest.raises(torch.OutOfMemoryError) as raised:
        outputs(0)
    assert is_out_of_memory(raised.value)
