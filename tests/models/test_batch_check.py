"""Models whose output for an image depends on the rest of its batch, and models that only seem to."""

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets.models.batch_check import mixes_batches

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.rand(3, 2, 16, 16, generator=GENERATOR)


class BatchAttention(nn.Module):
    """Attends over the images of a batch: `batch_first` is forgotten."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=False)

    def forward(self, images):
        rows = images.mean(1)
        return self.attention(rows, rows, rows)[0]


def seeded(make):
    torch.manual_seed(0)
    return make()


def quantized(images):
    """8-bit steps of the largest value in the batch, as dynamic quantization has them."""
    step = images.abs().max() / 127
    return ((images / step).round() * step)[:, 0]


MIXING = {
    "largest": lambda: lambda images: (images / images.max())[:, 0],
    "smallest": lambda: lambda images: (images - images.min())[:, 0],
    "mean": lambda: lambda images: (images - images.mean())[:, 0],
    "deviation": lambda: lambda images: (images / images.std())[:, 0],
    "standardized": lambda: lambda images: ((images - images.mean()) / images.std())[:, 0],
    "mean of the batch": lambda: lambda images: (images - images.mean(0))[:, 0],
    "softmax over the batch": lambda: lambda images: images.softmax(0)[:, 0],
    "sum of the batch": lambda: lambda images: (images / images.sum())[:, 0],
    "quantized": lambda: quantized,
    "NumPy": lambda: lambda images: np.divide(images, np.max(images))[:, 0],
    "attention": BatchAttention,
    "batch statistics": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4, track_running_stats=False), nn.Conv2d(4, 1, 1)
    ),
}


class AlwaysDropout(nn.Module):
    def forward(self, images):
        return nn.functional.dropout(images, 0.5, training=True)[:, 0]


class OneNoise(nn.Module):
    """Adds the same noise to all images of a batch."""

    def forward(self, images):
        return images[:, 0] + torch.randn(images.shape[2:])


def loses_digits(images):
    """Amplified rounding that depends on the size of the batch, as the kernels of a deep network have it."""
    return images[:, 0] * (1 + 1e-4 * torch.sin(torch.tensor(float(len(images)))))


ALONE = {
    "unet": lambda: hw.UNet(2, 1, width=4, depth=2),
    "batch norm": lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)),
    "instance norm": lambda: nn.Sequential(nn.InstanceNorm2d(2), nn.Conv2d(2, 1, 1)),
    "largest of each": lambda: lambda images: (images / images.amax((1, 2, 3), keepdim=True))[:, 0],
    "bytes or fractions": lambda: lambda images: (images / 255 if images.max() > 1.5 else images)[:, 0],
    "half": lambda: hw.UNet(2, 1, width=4, depth=2).to(torch.bfloat16),
    "dropout": AlwaysDropout,
    "noise of the batch": OneNoise,
    "rounding": lambda: loses_digits,
    "NaN": lambda: lambda images: torch.log(images - 0.5)[:, 0],
    "zero": lambda: lambda images: images[:, 0] * 0,
}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", MIXING)
def test_a_model_that_mixes_the_images_of_a_batch(name, count):
    assert mixes_batches(hw.Segmenter(seeded(MIXING[name])), IMAGES[:count]) > 1


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ALONE)
def test_a_model_that_does_not(name, count):
    assert mixes_batches(hw.Segmenter(seeded(ALONE[name])), IMAGES[:count]) <= 1


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_an_image_of_one_value(value):
    image = torch.full((1, 2, 16, 16), value)
    assert mixes_batches(hw.Segmenter(lambda images: (images - images.mean())[:, 0]), image) > 1
    assert mixes_batches(hw.Segmenter(lambda images: images[:, 0]), image) == 0


def test_a_model_of_single_images_does_not_mix():
    def model(images):
        if len(images) > 1:
            raise ValueError("one at a time")
        return images[:, 0]

    assert mixes_batches(hw.Segmenter(model), IMAGES) == 0


def test_the_check_decides_nothing_and_changes_nothing():
    images, model = IMAGES.clone(), hw.UNet(2, 1, width=4, depth=2).train()

    def writes(batch):
        return model(batch.mul_(1)).clamp_(0, 1)

    segmenter = hw.Segmenter(writes)
    assert mixes_batches(segmenter, images) > 1  # batch norm in training mode
    assert segmenter.activation == "auto"
    assert torch.equal(images, IMAGES)


BESIDE_BRIGHT = torch.cat([IMAGES, 9 * IMAGES[:1]])


@pytest.mark.parametrize("ask", ["masks", "probabilities"])
@pytest.mark.parametrize("name", MIXING)
def test_a_segmenter_gives_what_each_image_gives_alone(name, ask):
    segmenter = hw.Segmenter(seeded(MIXING[name]), activation="sigmoid", target=0, classes="independent")
    alone = np.concatenate([getattr(segmenter, ask)(image[None]) for image in BESIDE_BRIGHT])
    with pytest.warns(UserWarning, match="depends on the other images of its batch; going on one image at a time"):
        together = getattr(segmenter, ask)(BESIDE_BRIGHT)
    np.testing.assert_array_equal(together, alone)
    assert segmenter.reading.batch_dependent
