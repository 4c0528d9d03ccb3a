"""What occluded images have in common, from which the windows of estimates are completed."""

import numpy as np
import pytest
import torch
from global_networks import GLOBAL, WIDTH, Around
from token_networks import BREADTH, HEIGHT, TOKENS
from torch import nn
from window_checks import (
    assert_close,
    boxes_everywhere,
    changed_images,
    outputs_from_windows,
    random_image,
    randomized,
)

from hdm_widgets.windowed import TracedModel, TypicalActivations, WindowedInference
from hdm_widgets.windowed.estimates import Summary

SIZE, SIDE = (24, 30), 5
# Boxes that do not meet.
LEARNED = np.array([[row, col, row + SIDE, col + SIDE] for row, col in [(1, 1), (1, 20), (9, 11), (18, 2), (18, 22)]])
OTHERS = np.array([[row, col, row + SIDE, col + SIDE] for row, col in [(0, 9), (8, 0), (12, 22), (19, 12)]])


def normed(channels=1):
    """Two norms, one after the other, without anything that sees a border."""
    layers = [nn.Conv2d(channels, 4, 1), nn.InstanceNorm2d(4, affine=True), nn.ReLU(), nn.Conv2d(4, 4, 1)]
    return randomized(nn.Sequential(*layers, nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 1, 1)))


def learned(model, image, boxes, make=changed_images):
    """Windows of an estimate; those that know some images; and those images."""
    inference = WindowedInference(TracedModel(model, image).estimate, image)
    images = make(image, boxes)
    typical = TypicalActivations(inference)
    for each in images:
        typical.add(each)
    return inference, typical.inference(), images


@pytest.mark.parametrize("count", [3, 4, 5])
def test_the_mean_without_the_largest_and_the_smallest(count):
    model, image = normed(2), random_image(2, *SIZE)
    _, knowing, images = learned(model, image, LEARNED[:count])
    with torch.inference_mode():
        outputs = model(images)
        first = model[0](images)
    assert_close(knowing.output[0], outputs.sort(0).values[1:-1].mean(0))
    names = [step.name for step in knowing.network.program.steps]
    assert_close(knowing.activations[names[0]][0], first.sort(0).values[1:-1].mean(0))
    np.testing.assert_array_equal(knowing.activations[knowing.network.program.image][0], image)


def test_statistics_are_those_of_what_images_have_in_common():
    """Not what the statistics of the images have in common: each of those has a disc in it."""
    _, knowing, _ = learned(normed(2), random_image(2, *SIZE), LEARNED)
    summaries = [step for step in knowing.network.program.steps if isinstance(step, Summary)]
    assert [step.label.split()[0] for step in summaries] == ["instance_norm", "group_norm"]
    for step, groups in zip(summaries, (4, 2), strict=True):
        values = knowing.activations[step.inputs[0]].reshape(groups, -1).double()
        expected = torch.cat([values.mean(1), values.var(1, correction=0)])
        assert_close(knowing.activations[step.name].flatten().double(), expected)


def white(image, boxes):
    images = image.repeat(len(boxes), 1, 1, 1)
    for changed, (row0, col0, row1, col1) in zip(images, boxes.tolist(), strict=True):
        changed[:, row0:row1, col0:col1] = 1
    return images


def test_where_every_disc_does_the_same_elsewhere_estimates_are_exact():
    """In an image of one color white discs move both norms by the same, wherever they are."""
    model, image = normed(), torch.full((1, *SIZE), 0.25)
    inference, knowing, _ = learned(model, image, LEARNED, white)
    others = white(image, OTHERS)
    with torch.inference_mode():
        expected = model(others)
    assert (outputs_from_windows(inference, OTHERS, others) - expected).abs().max() > 0.1
    assert_close(outputs_from_windows(knowing, OTHERS, others), expected)


@pytest.mark.parametrize("seed", range(3))
def test_estimates_are_closer_with_what_is_known(seed):
    model, image = randomized(normed(2), seed), random_image(2, *SIZE)
    inference, knowing, _ = learned(model, image, LEARNED)
    others = changed_images(image, OTHERS)
    with torch.inference_mode():
        expected = model(others)
    off, less = (
        float((outputs_from_windows(each, OTHERS, others) - expected).square().mean()) for each in (inference, knowing)
    )
    assert less < 0.5 * off


def test_what_is_infinite_in_some_images_stays_as_it_is_without():
    """Nothing becomes NaN."""
    model, image = _Logarithm().eval(), random_image(2, *SIZE)
    inference, knowing, images = learned(model, image, LEARNED)
    for name, value in inference.activations.items():
        assert not knowing.activations[name].isnan().any()
        if value.isinf().any():
            some = (images - 0.9 <= 0).any(0)
            assert torch.equal(knowing.activations[name][0][some], value[0][some])
    assert knowing.output.isfinite().all()


def test_sums_of_half_precision_do_not_overflow():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.GroupNorm(1, 1)).eval().half()
    with torch.no_grad():
        model[0].weight.fill_(30_000)
    image = torch.full((1, *SIZE), 0.75).half()
    image[:, ::2] = 0.25
    _, knowing, images = learned(model, image, LEARNED, white)
    with torch.inference_mode():
        first = model[0](images)
    name = knowing.network.program.steps[0].name
    expected = first.double().sort(0).values[1:-1].mean(0)
    np.testing.assert_allclose(knowing.activations[name][0], expected, rtol=2e-3)


def test_windows_that_know_nothing_stay_as_they_are():
    model, image = normed(2), random_image(2, *SIZE)
    inference, _, _ = learned(model, image, LEARNED)
    before = {name: value.clone() for name, value in inference.activations.items()}
    output = inference.output.clone()
    learned(model, image, LEARNED)
    assert torch.equal(inference.output, output)
    for name, value in inference.activations.items():
        assert torch.equal(value, before[name])


class _Masked(nn.Module):
    """A norm, and attention that is forbidden between some tokens: there scores are less infinity."""

    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.GroupNorm(2, WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.register_buffer("allowed", torch.eye(HEIGHT * BREADTH).roll(3, 0) + torch.eye(HEIGHT * BREADTH) > 0)

    def forward(self, x):
        tokens = self.linear(self.norm(x).flatten(2).transpose(1, 2)).chunk(3, -1)
        seen = nn.functional.scaled_dot_product_attention(*tokens, attn_mask=self.allowed)
        return x + seen.transpose(1, 2).reshape(x.shape)


class _Logarithm(nn.Module):
    """Less infinity where the image is not above 0.9."""

    def __init__(self):
        super().__init__()
        self.norm = nn.InstanceNorm2d(2)

    def forward(self, x):
        return self.norm(x) + (x - 0.9).relu().log().exp()


NETWORKS = {
    **{name: (lambda made=made: Around(made()), (2, 33, 40)) for name, (made, _) in GLOBAL.items()},
    "class token": (TOKENS["class token"], (WIDTH, HEIGHT, BREADTH)),
    "masked attention": (_Masked, (WIDTH, HEIGHT, BREADTH)),
    "infinite values": (_Logarithm, (2, HEIGHT, BREADTH)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_equal_images_have_in_common_is_what_they_are(name):
    make, shape = NETWORKS[name]
    model, image = randomized(make()), random_image(*shape)
    inference = WindowedInference(TracedModel(model, image).estimate, image)
    typical = TypicalActivations(inference)
    for _ in range(3):
        typical.add(image)
    boxes = boxes_everywhere(*shape[1:], 3)
    images = changed_images(image, boxes)
    expected, found = (outputs_from_windows(each, boxes, images) for each in (inference, typical.inference()))
    assert_close(found, expected)


@pytest.mark.parametrize("count", [0, 2])
def test_too_few_images(count):
    model, image = normed(), random_image(1, *SIZE)
    typical = TypicalActivations(WindowedInference(TracedModel(model, image).estimate, image))
    for each in changed_images(image, LEARNED[:count]) if count else []:
        typical.add(each)
    with pytest.raises(ValueError, match=f"expected at least 3 images, .* got {count}$"):
        typical.inference()
