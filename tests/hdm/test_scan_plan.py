"""Which way a scan is computed, and why; whichever it is, the distances are the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from architectures import made
from global_networks import Around, SqueezeExcite
from torch import nn
from torch.nn import functional as F
from window_checks import random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm

QUIET = {"progress": False}


def scene(channels=1, height=64, width=72):
    """Light and dark in blobs."""
    coarse = random_image(channels, height // 8, width // 8)
    return F.interpolate(coarse[None], size=(height, width), mode="bicubic")[0].clamp(0.05, 1)


def explainer_for(image, circle_size=9, offset=12):
    explainer = hdm.HausdorffDistanceMasks(image.shape[-1], image.shape[-2])
    explainer.generate_masks(circle_size, offset)
    return explainer


def unet(depth=2, width=4):
    return randomized(made(lambda: hw.UNet(1, 1, width, depth)))


def own_mask(model, image, target=None):
    """As the segment, from which every change is seen."""
    return hw.Segmenter(model, target=target).masks(image[None])[0]


def assert_equal_to_whole_images(result, model, image, segment, **options):
    grid = result.grid
    whole = explainer_for(image, grid.circle_size, grid.offset).explain(
        model, image, segment, inference="full", **options, **QUIET
    )
    assert whole.plan.backend == "model"
    assert whole.plan.reason == "whole images were asked for"
    assert result.complete
    np.testing.assert_array_equal(result.values, whole.values)
    changed = 0
    for row, col in np.ndindex(grid.shape):
        assert (result.output(row, col) != whole.output(row, col)).mean() < 1e-3
        changed += (whole.output(row, col) != whole.baseline_mask).any()
    assert changed > whole.values.size / 3


def assert_one_line(plan):
    text = str(plan)
    assert "\n" not in text
    assert text[0].isupper()
    assert not text.endswith((":", ".", " "))
    assert len(text) < 300


class Never:
    """Counts images; only the one without a disc is run for a plan."""

    def __init__(self, function):
        self.function, self.images = function, 0

    def __call__(self, images):
        self.images += len(images)
        return self.function(images)


# -- why not windows ----------------------------------------------------------------------------------


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, images):
        out = self.convolution(images)
        return out if out.mean() > 0 else 2 * out


class Noisy(Branching):
    def forward(self, images):
        # Far too little to be seen in a mask.
        return self.convolution(images) + 1e-12 * torch.rand_like(images)


@pytest.mark.parametrize("ways", ["auto", "windowed"])
def test_a_function(ways):
    image = scene()
    model = Never(unet().requires_grad_(False))
    segment = own_mask(model, image)
    model.images = 0
    explainer = explainer_for(image)
    plan = explainer.plan(model, image, segment, inference=ways)
    # The image twice, then a variant of it alone and in a batch.
    assert model.images == 5
    assert (plan.backend, plan.reason) == ("model", "it is a function, and only torch modules can be traced")
    assert plan.window is plan.factor is None
    result = explainer.explain(model, image, segment, inference=ways, **QUIET)
    assert replace(result.plan, verified=0, largest_difference=0.0) == plan
    assert (result.plan.verified >= 1) == (plan.backend != "model")
    assert str(plan) == f"The model is run on the whole image for each disc: {plan.reason}"
    assert_equal_to_whole_images(result, model, image, segment)


@pytest.mark.parametrize(("kind", "said"), [(Branching, "cannot be traced"), (Noisy, "draws random numbers")])
def test_what_cannot_be_traced(kind, said):
    model, image = randomized(kind()), scene()
    segment = own_mask(model, image)
    explainer = explainer_for(image)
    plan = explainer.plan(model, image, segment, inference="windowed")
    assert plan.backend == "model"
    assert said in plan.reason
    assert_one_line(plan)
    result = explainer.explain(model, image, segment, inference="windowed", **QUIET)
    assert replace(result.plan, verified=0, largest_difference=0.0) == plan
    assert (result.plan.verified >= 1) == (plan.backend != "model")
    assert_equal_to_whole_images(result, model, image, segment)


def test_a_scan_too_short_to_trace_for():
    model, image = unet(), scene()
    segment = own_mask(model, image)
    result = explainer_for(image).explain(model, image, segment, **QUIET)
    assert result.plan.backend == "model"
    assert "too little to gain" in result.plan.reason
    assert_one_line(result.plan)
    assert explainer_for(image).plan(model, image, segment).backend == "model"
    # What another scan has traced already costs nothing.
    traced = explainer_for(image).plan(model, image, segment, inference="windowed")
    assert traced.backend == "windowed"
    plan = explainer_for(image).plan(model, image, segment)
    assert plan.backend != "model"
    assert (plan.window, plan.factor) == (traced.window, traced.factor)


def networks_that_look_at_everything():
    from monai.networks.nets import UNet
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    def segformer():
        sizes = {"depths": [1] * 4, "hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1, 2, 2, 4]}
        return SegformerForSemanticSegmentation(SegformerConfig(**sizes, decoder_hidden_size=8, num_labels=3))

    return {
        # MONAI's own normalisation is by instance.
        "instance norm": (
            lambda: UNet(2, 1, 2, channels=(4, 8), strides=(2,)),
            1,
            None,
            "instance_norm in model.0.adn.N",
        ),
        "squeeze and excite": (lambda: Around(SqueezeExcite(linear=False)), 2, None, "adaptive_avg_pool2d in part"),
        "SegFormer": (segformer, 3, 1, "flatten in segformer.stages.0.patch_embeddings"),
    }


@pytest.mark.parametrize("ways", ["windowed", "auto"])
@pytest.mark.parametrize("name", ["instance norm", "squeeze and excite", "SegFormer"])
def test_operations_that_look_at_the_whole_image(name, ways):
    factory, channels, target, said = networks_that_look_at_everything()[name]
    model, image = randomized(made(factory)), scene(channels, 64, 72)
    if target is not None:
        # A class that an untrained network gives to some pixels, but not to all.
        target = next(each for each in range(3) if 0 < own_mask(model, image, each).mean() < 1)
    segment = own_mask(model, image, target)
    explainer = explainer_for(image, 9, 16)
    plan = explainer.plan(model, image, segment, target=target, inference="windowed")
    if ways == "auto":
        # It is traced by now, so that the length of the scan does not count.
        plan = explainer.plan(model, image, segment, target=target)
    # The operation, and the layer by the name that the network itself has for it.
    assert plan.reason == (f"up to {said}, which" if plan.backend == "windowed" else said) + " needs the whole image"
    assert said.split(" in ")[1] in dict(model.named_modules())
    assert plan.window == (64, 72)
    assert_one_line(plan)
    result = explainer.explain(model, image, segment, target=target, inference=ways, **QUIET)
    assert_equal_to_whole_images(result, model, image, segment, target=target)
    if ways == "windowed":
        # Who asks for it gets it, if it can be done at all.
        assert result.plan.backend == plan.backend == "windowed"
        assert result.plan.verified >= 1


def test_what_the_whole_network_is_needed_for_runs_folded():
    class Standardised(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = unet()

        def forward(self, images):
            return self.network(images - images.mean((2, 3), keepdim=True))

    model, image = Standardised(), scene()
    segment = own_mask(model, image)
    explainer = explainer_for(image)
    explainer.plan(model, image, segment, inference="windowed")
    plan = explainer.plan(model, image, segment)
    assert (plan.backend, plan.reason, plan.memory) == ("folded", "mean needs the whole image", 0)
    assert plan.factor < 1.1
    assert str(plan) == "The whole image is computed for each disc: mean needs the whole image"
    result = explainer.explain(model, image, segment, **QUIET)
    assert replace(result.plan, verified=0, largest_difference=0.0) == plan
    assert (result.plan.verified >= 1) == (plan.backend != "model")
    assert_equal_to_whole_images(result, model, image, segment)


@pytest.mark.parametrize("ways", ["auto", "windowed"])
def test_too_little_memory(monkeypatch, ways):
    model, image = unet(), scene()
    segment = own_mask(model, image)
    explainer = explainer_for(image)
    plenty = explainer.plan(model, image, segment, inference="windowed")
    assert plenty.memory > 0
    monkeypatch.setattr("hdm_widgets.hdm.plan.free_memory", lambda device: 1000)
    plan = explainer.plan(model, image, segment, inference=ways)
    assert plan.backend == "folded"
    assert "GB for the activations of the image without a disc" in plan.reason
    assert plan.memory == 0
    assert_one_line(plan)
    result = explainer.explain(model, image, segment, inference=ways, **QUIET)
    assert replace(result.plan, verified=0, largest_difference=0.0) == plan
    assert (result.plan.verified >= 1) == (plan.backend != "model")
    assert_equal_to_whole_images(result, model, image, segment)


# -- what a plan says ---------------------------------------------------------------------------------


def test_the_plan_of_windows():
    # Of so many channels that windows cost more than batches: else those at a border are as large as others.
    model, image = unet(width=16), scene(1, 97, 131)
    segment = own_mask(model, image)
    explainer = explainer_for(image)
    plan = explainer.plan(model, image, segment, inference="windowed", progress=False)
    assert plan.backend == "windowed"
    assert plan.reason == "every operation of the network is local"
    # A disc of 10 px, and what two convolutions on each of three levels reach, there and back.
    assert plan.window < (97, 131)
    assert 4 < plan.factor < 20
    assert plan.measured_factor is None
    assert plan.verified == 0
    assert plan.tolerance is None
    height, width = plan.window
    assert str(plan) == (
        f"Only what a disc changes is computed, at most {height} × {width} px: "  # noqa: RUF001 - as on screen
        f"about {plan.factor:.1f} times faster than whole images"
    )
    result = explainer.explain(model, image, segment, inference="windowed", **QUIET)
    assert (result.plan.backend, result.plan.window, result.plan.factor) == ("windowed", plan.window, plan.factor)
    assert result.plan.verified >= 2
    assert f"{result.plan.verified} discs also run in full, equal" in str(result.plan)
    assert_one_line(result.plan)
    estimate = explainer.plan(model, image, segment, tolerance=0.01)
    assert estimate.tolerance == 0.01
    what = f"with about {estimate.estimate_factor:.0f} times fewer multiplications"
    assert f"; discs are estimated, {what}" in str(estimate)


def test_the_window_holds_every_change():
    model, image = unet(), scene(1, 97, 131)
    result = explainer_for(image, 9, 8).explain(
        model, image, own_mask(model, image), inference="windowed", fill=-2, **QUIET
    )
    height, width = result.plan.window
    boxes = [patch.box for patch in result._masks.patches.values()]
    assert 20 < max(row1 - row0 for row0, _, row1, _ in boxes) <= height
    assert 20 < max(col1 - col0 for _, col0, _, col1 in boxes) <= width


def test_a_larger_disc_has_a_larger_window():
    model, image = unet(), scene(1, 97, 131)
    plans = [
        explainer_for(image, circle_size, 12).plan(model, image, image[0] > 0.5, inference="windowed")
        for circle_size in (4, 20)
    ]
    assert plans[0].window < plans[1].window
    assert plans[0].factor > plans[1].factor


def test_a_plan_measures_nothing():
    image = scene()
    explainer = explainer_for(image)
    explainer.plan(unet(), image, image[0] > 0.5, inference="windowed")
    assert explainer.result is None


def test_a_plan_takes_the_keywords_of_a_scan():
    image = scene()
    with pytest.raises(TypeError, match="no keyword 'inferense'; did you mean 'inference'"):
        explainer_for(image).plan(unet(), image, image[0] > 0.5, inferense="full")
    with pytest.raises(ValueError, match="fill must be"):
        explainer_for(image).plan(unet(), image, image[0] > 0.5, fill="none")
