"""Tokens of transformers: class tokens are no positions, and patches are a grid of the image's proportions."""

import numpy as np
import pytest
import torch
from layer_helpers import features, found, noise
from torch import nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets.latent import Layer


class Transformer(nn.Module):
    """Means of patches as tokens, after some tokens of no patch whose values are far off."""

    def __init__(self, extra, patch=8, grows=True, names_grid=True):
        super().__init__()
        self.cut = nn.AvgPool2d(patch) if names_grid else None
        self.patch, self.grows = patch, grows
        self.norm, self.blocks = nn.Identity(), nn.ModuleList(Mix() for _ in range(2))
        self.extra = nn.Parameter(torch.full((1, extra, 4), 100.0))
        self.widen, self.head = nn.Conv2d(1, 4, 1, bias=False), nn.Conv2d(4, 1, 1)
        nn.init.ones_(self.widen.weight)

    def forward(self, images):
        if not self.grows and tuple(images.shape[2:]) != (32, 32):
            raise ValueError("images of 32 x 32 px only")
        maps = self.widen(self.cut(images) if self.cut else F.avg_pool2d(images, self.patch))
        size = maps.shape[-2:]
        tokens = torch.cat([self.extra.expand(len(images), -1, -1), maps.flatten(2).transpose(1, 2)], 1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)[:, self.extra.shape[1] :]
        return F.interpolate(self.head(tokens.transpose(1, 2).unflatten(2, size)), size=images.shape[-2:])


class Mix(nn.Module):
    """Two layers that change nothing."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        for linear in (self.one, self.two):
            nn.init.eye_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, tokens):
        return self.two(self.one(tokens))


@pytest.mark.parametrize("layer", ["auto", "norm"])
@pytest.mark.parametrize("grows", [True, False])
@pytest.mark.parametrize("extra", [0, 1, 2, 5])
def test_class_tokens_are_no_positions(extra, grows, layer):
    model, images = Transformer(extra, grows=grows), noise(6, 1, 32, 32)
    got = found(model, layer, (2, 1, 32, 32))
    assert got == Layer("norm", (16 + extra, 4), chosen=layer == "auto")
    assert (got.grid, got.class_tokens, got.positions) == ((4, 4), extra, 16)
    means = F.avg_pool2d(images, 8)
    for pool, expected in {
        "mean": means.mean((2, 3)),
        "max": means.amax((2, 3)),
        "grid": F.avg_pool2d(means, 2).flatten(1),
        "flatten": means.flatten(1),
    }.items():
        # All four channels are equal.
        np.testing.assert_allclose(features(model, layer, images, pool), expected.repeat(1, 4), atol=1e-5)


def test_tokens_of_an_image_that_is_not_square():
    model, images = Transformer(1), noise(6, 1, 16, 48)
    assert found(model, shape=(2, 1, 16, 48)).grid == (2, 6)
    expected = F.avg_pool2d(F.avg_pool2d(images, 8), (1, 3)).flatten(1).repeat(1, 4)
    np.testing.assert_allclose(features(model, "auto", images, "grid"), expected, atol=1e-5)


def test_tokens_as_many_as_rows_are_no_map():
    """64 patches of four channels in images of 64 x 4 px are tokens, for there are maps of 64 positions."""
    model = Transformer(0, patch=2)
    assert found(model, shape=(2, 1, 64, 8)).grid == (32, 4)
    layer = found(Transformer(0, patch=(2, 1)), shape=(2, 1, 64, 4))
    assert layer.grid == (32, 4)


def test_tokens_whose_grid_nothing_tells_stay_tokens():
    class Words(nn.Module):
        """Three tokens for any image."""

        def __init__(self):
            super().__init__()
            self.read, self.conv = nn.Identity(), nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, images):
            words = self.read(images.flatten(1)[:, :6].unflatten(1, (3, 2)))
            return self.conv(images) + words.mean((1, 2))[:, None, None, None]

    images = noise(5, 1, 8, 8)
    layer = found(Words(), "read", (2, 1, 8, 8))
    assert (layer, layer.grid, layer.class_tokens) == (Layer("read", (3, 2)), None, 0)
    expected = images.flatten(1)[:, :6].unflatten(1, (3, 2)).mean(1)
    np.testing.assert_allclose(features(Words(), "read", images), expected, atol=1e-6)


def test_maps_without_an_axis_for_channels_are_no_tokens():
    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.squeeze = nn.Conv2d(1, 1, 3, padding=1), nn.Flatten(1, 2)

        def forward(self, images):
            return self.squeeze(self.conv(images))

    model, images = Squeezed().eval(), noise(5, 1, 8, 12)
    layer = found(model, "squeeze", (2, 1, 8, 12))
    assert (layer, layer.grid, layer.class_tokens) == (Layer("squeeze", (8, 12)), None, 0)
    with torch.no_grad():
        expected = model(images).mean(1)
    np.testing.assert_allclose(features(model, "squeeze", images), expected, atol=1e-6)


def test_a_saved_space_keeps_the_grid(tmp_path):
    images = noise(12, 1, 32, 32)
    model, items = Transformer(1), [(image, image[0] > 0.5) for image in images]
    space = hw.LatentSpace(hw.Segmenter(model, activation="sigmoid"), pool="flatten").fit(items, progress=False)
    space.save(tmp_path)
    loaded = hw.LatentSpace.load(tmp_path, model)
    assert loaded.layer_.grid == space.layer_.grid == (4, 4)
    np.testing.assert_allclose(loaded.transform(images[:3]), space.embedding_[:3], atol=1e-5)


def test_a_layer_of_tokens_in_words():
    assert str(Layer("a", (17, 6), grid=(4, 4))) == "a: 17 tokens of 6 channels (4 x 4 patches and 1 more)"
    assert str(Layer("a", (16, 6), grid=(4, 4))) == "a: 16 tokens of 6 channels (4 x 4 patches)"
    assert str(Layer("a", (16, 6))) == "a: 16 tokens of 6 channels"
