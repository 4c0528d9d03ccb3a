"""How the outputs of published networks are read: small ones from configurations, with random weights."""

import numpy as np
import pytest
import torch
from published_networks import NETWORKS, basic_unet_plus_plus
from torch.nn import functional as F

import hdm_widgets as hw

IMAGE = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_masks_are_those_of_the_maps_that_its_authors_use(network):
    torch.manual_seed(0)
    model = network.make().eval()
    segmenter = eval(f"hw.Segmenter(model, {network.write})", {"hw": hw, "model": model})
    mask = segmenter.masks(IMAGE)[0]
    with torch.no_grad():
        maps = F.interpolate(network.maps(model(IMAGE)), IMAGE.shape[-2:], mode="bilinear")
    np.testing.assert_array_equal(mask, maps.argmax(1)[0] == 1)
    assert segmenter.reading.source == network.source
    assert segmenter.reading.align == network.align
    assert segmenter.reading.shape[0] == 5
    assert segmenter.reading.classes == "exclusive"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_heads_of_deep_supervision_are_said():
    """BasicUNetPlusPlus gives four heads of one size, of which the last is the deepest."""
    torch.manual_seed(0)
    model = basic_unet_plus_plus(deep_supervision=True).eval()
    with pytest.warns(UserWarning, match=r"4 maps of one size that differ.*entry 0 is taken.*output=3"):
        hw.Segmenter(model, target=1).masks(IMAGE)
