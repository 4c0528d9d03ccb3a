"""Models that mix the images of a batch, and models that draw random numbers: a scan finds out, and says so."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets import hdm

QUIET = {"progress": False}


def scene(height=32, width=40):
    """A square that the model finds, and a spot far brighter than all else."""
    image = torch.zeros(1, height, width)
    image[:, 8:16, 8:16] = 0.6
    image[:, 26:30, 30:36] = 1.0
    truth = image[0].numpy() > 0.5
    return image, truth


def explainer_for(image, circle_size=8, offset=4):
    explainer = hdm.HausdorffDistanceMasks(image.shape[-1], image.shape[-2])
    explainer.generate_masks(circle_size, offset)
    return explainer


class BatchStatistics(nn.Module):
    """Batch norm that takes the statistics of the batch in eval mode too."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1, track_running_stats=False))

    def forward(self, images):
        return self.layers(images)


def quantized(images):
    step = images.abs().amax() / 3
    return ((images / step).round() * step)[:, 0]


MIXING = {
    "largest": lambda: lambda images: (images / images.max())[:, 0],
    "standardized": lambda: lambda images: ((images - images.mean()) / images.std())[:, 0],
    "quantized": lambda: quantized,
    "batch statistics": BatchStatistics,
}


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("inference", ["auto", "windowed"])
@pytest.mark.parametrize("name", MIXING)
def test_a_model_that_mixes_images_is_run_one_at_a_time(name, inference, batch_size):
    image, truth = scene()
    model = MIXING[name]()
    segmenter = hw.Segmenter(model, batch_size=batch_size)
    with pytest.warns(UserWarning, match="depends on the other images of its batch: images are run one at a time"):
        result = explainer_for(image).explain(segmenter, image, truth, inference=inference, **QUIET)
    alone = explainer_for(image).explain(model, image, truth, batch_size=1, inference="full", **QUIET)
    np.testing.assert_array_equal(result.values, alone.values)
    assert segmenter.reading.batch_dependent is True
    assert "images are run one at a time" in str(segmenter.reading)
    assert result.reading == segmenter.reading
    # Once is enough: the same segmenter says nothing again, and still runs single images.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = explainer_for(image).explain(segmenter, image, truth, inference=inference, **QUIET)
    np.testing.assert_array_equal(again.values, alone.values)


def test_a_bright_spot_elsewhere_in_the_batch_is_no_part_of_an_image():
    """By hand: with its own largest value, the square is found wherever the disc is not on the spot."""
    image, truth = scene()
    with pytest.warns(UserWarning, match="one at a time"):
        result = explainer_for(image).explain(lambda images: (images / images.max())[:, 0], image, truth, **QUIET)
    # No disc near the square or the spot: nothing changes, whatever the batch holds.
    assert result.values[0, 8] == result.baseline == 0
    # A disc that covers nothing but part of the spot leaves its largest value.
    assert result.values[6, 8] <= np.hypot(4, 6)


def test_models_that_do_not_mix_are_run_in_batches():
    image, truth = scene()
    segmenter = hw.Segmenter(lambda images: images[:, 0])
    explainer_for(image).explain(segmenter, image, truth, **QUIET)
    assert segmenter.reading.batch_dependent is False
    assert segmenter.reading.random is False
    assert "An image gives the same alone and in a batch. Two runs on one image are equal." in str(segmenter.reading)


class Flips(nn.Module):
    """Every second run has a stray pixel 30 columns from the square."""

    def __init__(self):
        super().__init__()
        self.runs = 0

    def forward(self, images):
        self.runs += 1
        maps = images[:, 0].clone()
        if self.runs % 2 == 0:
            maps[:, 8, 38] = 1
        return maps


def test_the_noise_of_a_random_model_is_measured():
    image = torch.zeros(1, 32, 40)
    image[:, 8:16, 0:9] = 0.6
    truth = image[0].numpy() > 0.5
    segmenter = hw.Segmenter(Flips(), batch_size=1)
    with pytest.warns(UserWarning, match="two runs of the model on one image differ, by up to 1 px of the mask and 30"):
        result = explainer_for(image).explain(segmenter, image, truth, inference="full", **QUIET)
    # The stray pixel is 38 - 8 columns from the square's last one.
    assert (result.noise.distance, result.noise.pixels) == (30, 1)
    assert segmenter.reading.random is True
    assert "Two runs on one image differ" in str(segmenter.reading)


def test_dropout_that_is_left_on():
    class Dropout(nn.Module):
        def forward(self, images):
            return nn.functional.dropout(images, 0.3, training=True)[:, 0]

    image, truth = scene()
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="is dropout on"):
        result = explainer_for(image).explain(Dropout(), image, truth, **QUIET)
    assert result.noise.pixels > 10
    assert result.noise.distance >= 0


def test_the_noise_is_kept_in_a_file(tmp_path):
    image, truth = scene()
    with pytest.warns(UserWarning, match="differ"):
        result = explainer_for(image).explain(Flips(), image, truth, batch_size=1, inference="full", **QUIET)
    result.save(tmp_path / "noise.npz")
    assert hdm.HDMResult.load(tmp_path / "noise.npz").noise == result.noise
    assert result.noise is not None


def test_a_model_without_noise_has_none():
    image, truth = scene()
    assert explainer_for(image).explain(lambda images: images[:, 0], image, truth, **QUIET).noise is None


class Remembers(nn.Module):
    """Keeps a tensor of its forward, as models do that log activations or cache a grid of positions."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 3, padding=1)
        self.positions = None

    def forward(self, images):
        if self.positions is None:
            self.positions = torch.linspace(0, 1, images.shape[-1])
        return self.convolution(images) * self.positions


@pytest.mark.parametrize("inference", ["full", "windowed"])
def test_a_model_that_keeps_tensors_can_be_trained_after_a_scan(inference):
    image, truth = scene()
    model = Remembers()
    explainer_for(image).explain(model, image, truth, inference=inference, **QUIET)
    model(image[None]).sum().backward()
    assert model.convolution.weight.grad is not None


def test_single_images_say_nothing_of_batches():
    """A scan of single images comes first; the next one, in batches, still finds out."""
    image, truth = scene()
    segmenter = hw.Segmenter(MIXING["standardized"]())
    explainer_for(image).explain(segmenter, image, truth, batch_size=1, **QUIET)
    assert segmenter.reading.batch_dependent is None
    with pytest.warns(UserWarning, match="images are run one at a time"):
        explainer_for(image).explain(segmenter, image, truth, **QUIET)
    assert segmenter.reading.batch_dependent is True


def test_what_was_found_once_stays():
    """An image that a scan of single images, or one of another size, does not show it by."""
    image, truth = scene()
    segmenter = hw.Segmenter(lambda images: (images / images.max())[:, 0] if images.shape[-1] == 40 else images[:, 0])
    with pytest.warns(UserWarning, match="images are run one at a time"):
        explainer_for(image).explain(segmenter, image, truth, **QUIET)
    other, its_truth = scene(width=48)
    explainer_for(other).explain(segmenter, other, its_truth, **QUIET)
    assert segmenter.reading.batch_dependent is True
