"""Where an encoder ends, on networks that show one rule each: heads, bridges, pooling, decoders of any form."""

import pytest
import torch
from layer_helpers import found
from torch import nn
from torch.nn import functional as F


class Chain(nn.Module):
    """Modules one after the other, by name; those called "up_" get enlarged maps."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, images):
        maps = images
        for name, part in self._modules.items():
            maps = part(F.interpolate(maps, scale_factor=2) if name.startswith("up_") else maps)
        return F.interpolate(maps, size=images.shape[-2:])


class Pyramid(nn.Module):
    """Pooled to cells of one size for any image, beside its input."""

    def __init__(self, channels, functional):
        super().__init__()
        self.functional = functional
        self.pools = nn.ModuleList(nn.AdaptiveAvgPool2d(cells) for cells in (1, 2))
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))

    def forward(self, maps):
        pooled = [F.adaptive_avg_pool2d(maps, 1 + i) if self.functional else p(maps) for i, p in enumerate(self.pools)]
        cells = [conv(one) for conv, one in zip(self.convs, pooled, strict=True)]
        return torch.cat([maps, *(F.interpolate(one, size=maps.shape[-2:]) for one in cells)], 1)


def conv(into, out, kernel=3, stride=1):
    return nn.Sequential(nn.Conv2d(into, out, kernel, stride, kernel // 2), nn.BatchNorm2d(out), nn.ReLU())


def encoder():
    return {"one": conv(1, 4, 3, 2), "two": conv(4, 8, 3, 2), "three": conv(8, 8)}


# For images of 64 x 64 px: the network, its bottleneck, and the positions to a side there.
ENDS = {
    "the scores": (Chain(**encoder(), scores=nn.Conv2d(8, 2, 3, padding=1)), "three", 16),
    "a head of 1 x 1 layers": (Chain(**encoder(), mix=conv(8, 8, 1), scores=nn.Conv2d(8, 2, 1)), "three", 16),
    "a head that narrows": (Chain(**encoder(), narrow=conv(8, 4), scores=nn.Conv2d(4, 2, 1)), "three", 16),
    "pyramid pooling": (Chain(**encoder(), ppm=Pyramid(8, False), scores=conv(24, 2)), "three", 16),
    "pyramid pooling by functions": (Chain(**encoder(), ppm=Pyramid(8, True), scores=conv(24, 2)), "three", 16),
    "a lateral layer": (Chain(**encoder(), lateral=nn.Conv2d(8, 4, 1), up_one=conv(4, 4), out=conv(4, 2)), "three", 16),
    "a decoder that begins before it enlarges": (Chain(**encoder(), begin=conv(8, 4), up_one=conv(4, 2)), "three", 16),
    "a transposed convolution of scores": (
        Chain(**encoder(), scores=nn.Conv2d(8, 2, 1), larger=nn.ConvTranspose2d(2, 2, 4, 2, 1)), "three", 16,
    ),
    "a bridge": (Chain(**encoder(), bridge=conv(8, 8), up_one=conv(8, 4), out=conv(4, 2)), "bridge", 16),
    "a 1 x 1 bridge": (Chain(**encoder(), bridge=conv(8, 16, 1), up_one=conv(16, 4), out=conv(4, 2)), "bridge", 16),
    "an encoder in one module": (
        Chain(encoder=nn.Sequential(*encoder().values()), decoder=conv(8, 8),
              head=nn.Sequential(nn.Conv2d(8, 2, 3, padding=1), nn.Upsample(scale_factor=4))), "encoder", 16,
    ),
    "a model in one module": (Chain(net=Chain(**encoder(), up_one=conv(8, 4), out=conv(4, 2))), "net.three", 16),
    "a pooled level for the decoder only": (Chain(**encoder(), pool=nn.MaxPool2d(2), up_one=conv(8, 2)), "three", 16),
    "a center that enlarges": (
        Chain(**encoder(), pool=nn.MaxPool2d(2), center=nn.Sequential(*conv(8, 8), nn.ConvTranspose2d(8, 8, 2, 2)),
              out=conv(8, 2)), "center.2", 8,
    ),
    "no change of resolution": (Chain(one=conv(1, 4), two=conv(4, 8), mix=conv(8, 8, 1), out=conv(8, 2, 1)), "two", 64),
    "a single position": (
        Chain(one=conv(1, 4, 3, 8), two=conv(4, 8, 3, 8), back=nn.ConvTranspose2d(8, 4, 8, 8), out=conv(4, 2)),
        "two", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_where_the_encoder_ends(name):
    model, layer, side = ENDS[name]
    got = found(model, activation="softmax", align="resize")
    assert (got.name, got.shape[1:]) == (layer, (side, side))
