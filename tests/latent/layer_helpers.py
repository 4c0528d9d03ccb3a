"""Networks that hide nothing, and one layer of a network as the tests look at it."""

import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets.latent.collector import Collector
from hdm_widgets.latent.layers import find_layer


class Reads(nn.Module):
    """Draws where the first channel is above one half; its layer `values` puts the image out as it is."""

    def __init__(self):
        super().__init__()
        self.values = nn.Identity()

    def forward(self, images):
        return self.values(images)[:, 0]


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def found(model, layer="auto", shape=(2, 1, 64, 64), **options):
    # How the output is read makes no difference to the layers.
    options = {"activation": "sigmoid"} | options
    return find_layer(hw.Segmenter(model, target=0, **options), layer, noise(*shape))[0]


def features(model, layer, images, pool="mean", **options):
    """What one run with a hook gives."""
    segmenter = hw.Segmenter(model, target=0, batch_size=len(images), activation="sigmoid")
    collector = Collector(segmenter, layer, pool, **options)
    return collector.features(images, find_layer(collector.segmenter, layer, images[:2])[0])


def number_of_hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
