"""The bottleneck of known architectures, by the table that the documentation shows."""

import pytest
import torch
from architectures import ARCHITECTURES
from layer_helpers import noise

import hdm_widgets as hw
from hdm_widgets.latent import Layer
from hdm_widgets.latent.layers import find_layer


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda architecture: architecture.name)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*maps of one size")
def test_the_bottleneck_of_known_architectures(architecture):
    torch.manual_seed(0)
    model = architecture.make()
    # How the output is read makes no difference to the layers.
    segmenter = hw.Segmenter(model, target=0, align="resize", activation="softmax")
    images = noise(2, architecture.channels, 64, 64)
    layer, module = find_layer(segmenter, "auto", images)
    assert layer == Layer(architecture.layer, architecture.shape, chosen=True)
    assert module is model.get_submodule(architecture.layer.split("[")[0])
    assert layer.class_tokens == architecture.tokens
    # By its name it is the same layer, with the same grid.
    named, _ = find_layer(segmenter, architecture.layer, images)
    assert named == Layer(architecture.layer, architecture.shape)
    assert named.grid == layer.grid


def test_there_are_enough_architectures():
    assert len(ARCHITECTURES) >= 25
    assert len({architecture.name for architecture in ARCHITECTURES}) == len(ARCHITECTURES)
