"""Maps with the channels last: recognized where it can be told, refused where not."""

import numpy as np
import pytest
import torch
from layer_helpers import features, found, noise
from torch import nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets.latent import Layer, LayerError

FIRST, LAST = "channels_first", "channels_last"
QUIET = {"progress": False}


class Turned(nn.Module):
    """Maps with the channels last, of a convolution of so many channels and strides."""

    def __init__(self, channels, stride, inside=None):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, channels, 3, stride, 1)
        self.inside = inside or nn.Identity()

    def forward(self, images):
        return self.inside(self.conv(images).permute(0, 2, 3, 1))


class Network(nn.Module):
    """A stage in the middle whose maps have the channels last; what follows turns them back."""

    def __init__(self, channels=32, stride=16, inside=None, fixed=None):
        super().__init__()
        self.stage = Turned(channels, stride, inside)
        self.head = nn.Conv2d(channels, 1, 1)
        self.fixed = fixed

    def forward(self, images):
        if self.fixed not in (None, tuple(images.shape[2:])):
            raise ValueError("images of another size")
        maps = self.stage(images).permute(0, 3, 1, 2)
        return self.head(F.interpolate(maps, size=images.shape[2:]))


class Block(nn.Module):
    """As ConvNeXt has it: works on channels that are last, and returns them first."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.linear = nn.Linear(channels, channels)

    def forward(self, maps):
        return maps + self.linear(self.norm(maps.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class NormFirst(nn.LayerNorm):
    """A layer norm over the channels of maps that have them first."""

    def forward(self, maps):
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Axial(nn.Module):
    """Pools along each row: (channels, rows, 1)."""

    def forward(self, maps):
        return maps.mean(3, keepdim=True)


def encoder(*layers, channels=8, stride=8, enlarge=None):
    """A network whose layer `0` is a convolution, `1` the layers given."""
    torch.manual_seed(0)
    first, last = nn.Conv2d(1, channels, 3, stride, 1), nn.Conv2d(channels, 1, 1)
    return nn.Sequential(first, nn.Sequential(*layers), enlarge or nn.Upsample(scale_factor=stride), last)


@pytest.mark.parametrize("layer", ["auto", "stage"])
def test_a_stage_with_channels_last_has_as_many_features_as_channels(layer):
    model = Network()  # 4 x 4 x 32 for images of 64 x 64
    assert found(model, layer) == Layer("stage", (32, 4, 4), layer == "auto", LAST)
    images = noise(12, 1, 64, 64)
    with torch.no_grad():
        maps = model.stage.conv(images)  # channels first
    for pool, expected in {
        "mean": maps.mean((2, 3)),
        "max": maps.amax((2, 3)),
        "flatten": maps.flatten(1),
        "grid": F.adaptive_avg_pool2d(maps, 2).flatten(1),
    }.items():
        np.testing.assert_allclose(features(model, layer, images, pool), expected.numpy(), atol=1e-6)


# For each: the network, the layer, the image's size, and what its maps are.
TOLD = {
    "proportions": (Network(), "stage", (64, 64), LAST, (32, 4, 4)),
    "proportions that are rounded": (Network(), "stage", (60, 100), LAST, (32, 4, 7)),
    "as many channels as rows": (Network(8, 8), "stage", (64, 64), LAST, (8, 8, 8)),
    "a norm": (Network(8, 8, nn.LayerNorm(8)), "stage.inside", (64, 64), LAST, (8, 8, 8)),
    "a norm, images of one size": (Network(8, 8, nn.LayerNorm(8), (64, 64)), "stage.inside", (64, 64), LAST, (8, 8, 8)),
    "a stage of images of one size": (Network(8, 8, fixed=(64, 64)), "stage", (64, 64), None, None),
    "proportions, images of one size": (Network(fixed=(64, 64)), "stage", (64, 64), LAST, (32, 4, 4)),
    "a linear layer, images of one size": (
        Network(8, 8, nn.Linear(8, 8), (64, 64)), "stage.inside", (64, 64), LAST, (8, 8, 8),
    ),
    "a block that turns them back": (encoder(Block(8)), "1", (64, 64), FIRST, (8, 8, 8)),
    "what is in that block": (encoder(Block(8)), "1.0.linear", (64, 64), LAST, (8, 8, 8)),
    "a norm that turns them back": (encoder(NormFirst(8)), "1.0", (64, 64), FIRST, (8, 8, 8)),
    "a convolution": (encoder(nn.ReLU()), "0", (64, 64), FIRST, (8, 8, 8)),
    "pooled rows": (encoder(Axial(), nn.ReLU(), enlarge=nn.Upsample((64, 64))), "1.0", (64, 64), FIRST, (8, 8, 1)),
    "few channels of a broad image": (encoder(nn.ReLU(), channels=2, stride=2), "1", (6, 8), FIRST, (2, 3, 4)),
    "three channels": (encoder(nn.ReLU(), channels=3, stride=1), "1", (4, 8), FIRST, (3, 4, 8)),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_the_layout_is_told(name):
    model, layer, size, layout, shape = TOLD[name]
    if layout is None:
        with pytest.raises(LayerError, match="nothing tells which axis has the channels; say layout='channels_first'"):
            found(model, layer, (2, 1, *size))
    else:
        assert found(model, layer, (2, 1, *size)) == Layer(layer, shape, layout=layout)


class Cube(nn.Module):
    """Maps of 8 x 8 x 8 whose layout nothing tells: there are no weights, and images have one size."""

    def __init__(self):
        super().__init__()
        self.stage = nn.Identity()

    def forward(self, images):
        maps = images.reshape(len(images), 8, 8, 8, 8).mean(4)
        return self.stage(maps)[:, 0].repeat_interleave(8, 1).repeat_interleave(8, 2)


@pytest.mark.parametrize("layer", ["auto", "stage"])
def test_what_cannot_be_told_is_refused_and_can_be_said(layer):
    model, images = Cube(), noise(12, 1, 64, 64)
    items = [(image, image[0] > 0.5) for image in images]
    with pytest.raises(
        LayerError,
        match=r"layer 'stage' puts out maps of 8 x 8 x 8 for images of 64 x 64 px, and nothing tells which axis has "
        r"the channels; say layout='channels_first' or layout='channels_last'",
    ):
        hw.LatentSpace(model, layer=layer).fit(items, **QUIET)
    maps = images.reshape(12, 8, 8, 8, 8).mean(4).numpy()
    for layout, axes in ((FIRST, (2, 3)), (LAST, (1, 2))):
        space = hw.LatentSpace(model, layer=layer, layout=layout).fit(items, **QUIET)
        np.testing.assert_allclose(space.collection_.features, maps.mean(axes), atol=1e-6)
        assert space.layer_.layout == layout


def test_a_layout_that_is_said_counts():
    assert found(Network(), "stage") == Layer("stage", (32, 4, 4), layout=LAST)
    space = hw.LatentSpace(Network(), layer="stage", layout=FIRST)
    items = [(image, image[0] > 0.5) for image in noise(12, 1, 64, 64)]
    assert space.fit(items, **QUIET).layer_ == Layer("stage", (4, 4, 32))


def test_a_saved_space_keeps_the_layout(tmp_path):
    images, model = noise(12, 1, 64, 64), Network()
    items = [(image, image[0] > 0.5) for image in images]
    space = hw.LatentSpace(model, layout=LAST).fit(items, **QUIET)
    space.save(tmp_path)
    loaded = hw.LatentSpace.load(tmp_path, model)
    assert loaded.layer_ == space.layer_
    assert loaded.layout == LAST
    np.testing.assert_allclose(loaded.transform(images[:3]), space.embedding_[:3], atol=1e-6)


@pytest.mark.parametrize("layout", ["last", None, 3])
def test_an_unknown_layout_is_refused(layout):
    with pytest.raises(ValueError, match="layout must be one of 'auto', 'channels_first', 'channels_last'"):
        hw.LatentSpace(Network(), layout=layout)
