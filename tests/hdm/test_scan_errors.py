"""What goes wrong in windows goes on without them, or is said with its cell; what was measured stays."""

import numpy as np
import pytest
import torch
from architectures import made
from torch import nn
from torch.nn import functional as F
from window_checks import random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.windowed import WindowedInference

QUIET = {"progress": False}
IMAGE = F.interpolate(random_image(1, 5, 6)[None], size=(40, 48), mode="bicubic")[0].clamp(0.1, 1)
WAYS = [{"inference": "windowed"}, {"inference": "estimate", "tolerance": 1e-6}, {"inference": "full"}]
NAMES = ["windowed", "estimate", "full"]


def explainer_for(circle_size=6, offset=4, cls=hdm.HausdorffDistanceMasks):
    explainer = cls(48, 40)
    explainer.generate_masks(circle_size, offset)
    return explainer


def unet():
    return randomized(made(lambda: hw.UNet(1, 1, 4, 1)))


def mask_of(model):
    return hw.Segmenter(model).masks(IMAGE[None])[0]


def whole(model, **options):
    return explainer_for().explain(model, IMAGE, mask_of(model), inference="full", **options, **QUIET)


# -- a model that fails on some images --------------------------------------------------------------


class NotEverywhere(nn.Module):
    """Gives no number where a square around (30, 20) is black, or infinity."""

    def __init__(self, kind):
        super().__init__()
        self.network, self.kind = unet(), kind
        weight = torch.zeros(1, 1, 40, 48)
        weight[..., 29:32, 19:22] = 1
        self.register_buffer("weight", weight)

    def forward(self, images):
        dark = F.conv2d((images == 0).float() * self.weight, torch.ones(1, 1, 3, 3), padding=1) == 9
        out = self.network(images)
        if self.kind == "where":
            return torch.where(dark, torch.nan, out)
        if self.kind == "logarithm":
            return out + torch.log(1 - 2 * dark.float())
        return out / (1 - dark.float())


@pytest.mark.parametrize("options", WAYS, ids=NAMES)
@pytest.mark.parametrize("kind", ["where", "logarithm", "infinity"])
def test_no_number_for_some_images(kind, options):
    model, explainer = NotEverywhere(kind).train(), explainer_for()
    segment = mask_of(model)
    with pytest.raises(hdm.ModelOutputError, match="the model returned NaN or infinity") as caught:
        explainer.explain(model, IMAGE, segment, **options, **QUIET)
    row, col = caught.value.cell
    assert str(caught.value).startswith(f"at cell (row {row}, column {col}): ")
    # That cell is one of those whose disc covers the square.
    assert explainer.grid.mask(row, col)[29:32, 19:22].all()
    result = explainer.result
    assert caught.value.result is not None
    np.testing.assert_array_equal(caught.value.result.measured, result.measured)
    assert not result.measured[row, col]
    assert 0 < result.measured.sum() < 120
    expected = whole(unet())
    at = result.measured
    np.testing.assert_array_equal(result.baseline_mask, expected.baseline_mask)
    np.testing.assert_array_equal(result.values[at], expected.values[at])
    assert np.isnan(result.values[~at]).all()
    assert model.training
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("options", WAYS, ids=NAMES)
def test_nan_for_the_image_without_a_disc(options):
    class Nan(nn.Module):
        def forward(self, images):
            return images / (images - IMAGE)

    explainer = explainer_for()
    with pytest.raises(hdm.ModelOutputError, match=r"^on the image without a disc: the model returned NaN") as caught:
        explainer.explain(Nan(), IMAGE, IMAGE[0] > 0.5, **options, **QUIET)
    assert caught.value.cell is None
    assert explainer.result is None


@pytest.mark.parametrize("options", WAYS, ids=NAMES)
def test_a_distance_that_raises(options):
    """Windows are right, but what is made of them fails."""
    model = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        model.weight.fill_(10)
        model.bias.fill_(-5)
    image = torch.full((1, 40, 48), 0.1)
    image[:, 9:11, 21:23] = 0.9
    segment = image[0].numpy() > 0.5
    explainer = explainer_for()
    with pytest.raises(hdm.ModelError, match="one of the two masks has no pixel") as caught:
        explainer.explain(model, image, segment, empty="raise", **options, **QUIET)
    row, col = caught.value.cell
    assert explainer.grid.mask(row, col)[segment].all()
    assert explainer.result.measured.any()
    # What was measured has all of the four pixels, or some.
    assert explainer.result.values[explainer.result.measured].max() <= np.sqrt(2)


# -- windows that fail --------------------------------------------------------------------------------


class Failing:
    """Windows raise an error after so many batches."""

    def __init__(self, monkeypatch, error, after=0, *, exact_only=False):
        self.batches = 0
        run = WindowedInference.run

        def failing(base, boxes, content):
            for windows in run(base, boxes, content):
                if self.batches >= after and not (exact_only and base.propagation.reach):
                    raise error
                self.batches += 1
                yield windows

        monkeypatch.setattr(WindowedInference, "run", failing)


MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize("options", WAYS[:2], ids=NAMES[:2])
@pytest.mark.parametrize(
    ("error", "after"),
    [
        (MEMORY, 0),
        (MEMORY, 3),
        (MemoryError(), 3),
        (RuntimeError("no kernel for this\nand more"), 0),
        (KeyError("x"), 3),
    ],
)
def test_windows_that_fail_give_way(monkeypatch, error, options, after):
    model, updates = unet(), []
    expected = whole(model)
    Failing(monkeypatch, error, after)
    result = explainer_for().explain(model, IMAGE, mask_of(model), **options, progress=updates.append)
    assert result.plan.backend == "model"
    assert "windows failed" in result.plan.reason
    assert "\n" not in str(result.plan)
    assert result.complete
    np.testing.assert_array_equal(result.values, expected.values)
    for row, col in np.ndindex(result.grid.shape):
        assert (result.output(row, col) != expected.output(row, col)).mean() < 1e-3
    seen = np.zeros(result.values.shape, int)
    for update in updates:
        seen[update.cells[:, 0], update.cells[:, 1]] += 1
        assert update.done <= update.total
    # What was right before stays; estimates do not.
    assert (seen == 1).all() or options["inference"] == "estimate"
    assert not result.estimated.any()


@pytest.mark.parametrize("error", [MEMORY, RuntimeError("no kernel")])
def test_cells_to_compare_with_that_fail(monkeypatch, error):
    model = unet()
    expected = whole(model)
    Failing(monkeypatch, error, exact_only=True)
    result = explainer_for().explain(model, IMAGE, mask_of(model), inference="estimate", tolerance=0.3, **QUIET)
    # Without a figure for its error, nothing is left of the estimates.
    assert result.approximation is None
    assert result.plan.backend == "model"
    np.testing.assert_array_equal(result.values, expected.values)


@pytest.mark.parametrize("name", ["WindowedInference", "traced.get"])
def test_too_little_memory_to_begin(monkeypatch, name):
    def fail(*arguments, **options):
        raise MEMORY

    model = unet()
    monkeypatch.setattr(f"hdm_widgets.hdm.plan.{name}", fail)
    result = explainer_for().explain(model, IMAGE, mask_of(model), inference="windowed", **QUIET)
    assert result.plan.backend == "model"
    assert "not enough memory" in result.plan.reason
    np.testing.assert_array_equal(result.values, whole(model).values)


# -- stopped ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("options", WAYS[:2], ids=NAMES[:2])
def test_an_interrupt_keeps_what_was_measured(monkeypatch, stop, options):
    model, explainer = unet().train(), explainer_for()
    expected = whole(model)
    Failing(monkeypatch, stop(), after=3)
    with pytest.raises(stop):
        explainer.explain(model, IMAGE, mask_of(model), **options, **QUIET)
    measured = explainer.result.measured
    assert 0 < measured.sum() < 120
    np.testing.assert_array_equal(explainer.result.values[measured], expected.values[measured])
    assert model.training
    assert not torch.is_inference_mode_enabled()
    # It goes on where it stopped.
    monkeypatch.undo()
    result = explainer.explain(model, IMAGE, mask_of(model), **options, **QUIET)
    np.testing.assert_array_equal(result.values, expected.values)


@pytest.mark.parametrize("options", [*WAYS, {"inference": "auto"}], ids=[*NAMES, "auto"])
def test_torch_is_as_it_was_between_updates_and_after(options):
    model = unet().train()
    # Some layers of a network may be in eval mode on purpose.
    model.encoder[0][1].eval()
    before = [module.training for module in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    images = []
    for leave_after in (1, 5, None):
        explainer = explainer_for()
        stream = explainer.stream(model, IMAGE, IMAGE[0] > 0.5, **options)
        for count, _ in enumerate(stream):
            assert not torch.is_inference_mode_enabled()
            assert torch.is_grad_enabled()
            assert not model.training
            # Nor is what can be reached from here.
            images.append(torch.ones(2, requires_grad=True).sum())
            if leave_after is not None and count == leave_after:
                break
        stream.close()
        assert not torch.is_inference_mode_enabled()
        assert [module.training for module in model.modules()] == before
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name])
    assert all(image.requires_grad for image in images)
    # It can still be trained.
    model(IMAGE[None].repeat(2, 1, 1, 1)).sum().backward()
    assert model.head.weight.grad is not None
    assert not any(parameter.is_inference() for parameter in model.parameters())


def test_a_plan_leaves_the_model_as_it_was():
    model = unet().train()
    before = [module.training for module in model.modules()]
    explainer_for().plan(model, IMAGE, IMAGE[0] > 0.5, inference="windowed")
    assert [module.training for module in model.modules()] == before
    assert not torch.is_inference_mode_enabled()
    assert explainer_for().result is None


@pytest.mark.parametrize("options", WAYS, ids=NAMES)
@pytest.mark.parametrize("fill", ["minimum", 0.5])
def test_a_model_that_writes_into_its_images(options, fill):
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = unet()

        def forward(self, images):
            images.sub_(0.3)
            return self.network(images)

    class Copying(Writing):
        def forward(self, images):
            return self.network(images - 0.3)

    segment = mask_of(Copying())
    ours, expected = (
        explainer_for().explain(model, IMAGE, segment, fill=fill, **given, **QUIET)
        for model, given in ((Writing(), options), (Copying(), {"inference": "full"}))
    )
    np.testing.assert_array_equal(ours.image, IMAGE)
    assert ours.baseline == expected.baseline == 0
    np.testing.assert_array_equal(ours.values, expected.values)
    np.testing.assert_array_equal(ours.occluded(3, 3), expected.occluded(3, 3))
    assert len(np.unique(expected.values)) > 3


def test_hooks_of_the_model_stay():
    model, calls = unet(), []
    handle = model.register_forward_hook(lambda *arguments: calls.append(1))
    result = explainer_for().explain(model, IMAGE, mask_of(model), inference="windowed", **QUIET)
    expected = whole(model)
    np.testing.assert_array_equal(result.values, expected.values)
    calls.clear()
    model(IMAGE[None])
    assert calls == [1]
    handle.remove()
