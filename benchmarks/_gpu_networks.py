"""Networks for `gpu.py`, as if trained, and the images that they see."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hdm_widgets as hw

__all__ = ["NETWORKS", "image_of", "prepared"]


class _Gate(nn.Module):
    """Squeeze-and-excitation after a batch norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.down, self.up = nn.Linear(channels, max(1, channels // 4)), nn.Linear(max(1, channels // 4), channels)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.norm(maps)
        gate = self.up(self.down(maps.mean((2, 3))).relu()).sigmoid()
        return maps * gate[..., None, None]


class _Tokens(nn.Module):
    """Patches of 4 x 4 px that attend to each other, decoded to the image's size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = 4 * width
        self.patches = nn.Conv2d(1, channels, 4, stride=4)
        self.norm, self.attention = nn.LayerNorm(channels), nn.Linear(channels, 3 * channels)
        self.decode, self.head = nn.ConvTranspose2d(channels, width, 4, stride=4), nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.patches(images)
        tokens = self.norm(maps.flatten(2).transpose(1, 2))
        query, key, value = self.attention(tokens)[:, None].chunk(3, -1)
        found = F.scaled_dot_product_attention(query, key, value)[:, 0]
        return self.head(self.decode(maps + found.transpose(1, 2).reshape(maps.shape)).relu())


def _with_norm(network: nn.Module, norm: Callable[[int], nn.Module]) -> nn.Module:
    """The network with another layer in place of every batch norm."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d) and not isinstance(module, _Gate):
                setattr(module, name, norm(child.num_features))
    return network


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "U-Net, 2 pools, transposed": lambda width: hw.UNet(1, 1, width, 2, upsampling="transposed"),
    "U-Net, 4 pools, bilinear": lambda width: hw.UNet(1, 1, width, 4),
    "squeeze-and-excitation": lambda width: _with_norm(hw.UNet(1, 1, width, 3), _Gate),
    "instance norm": lambda width: _with_norm(hw.UNet(1, 1, width, 3), lambda n: nn.InstanceNorm2d(n, affine=True)),
    "group norm": lambda width: _with_norm(hw.UNet(1, 1, width, 3), lambda n: nn.GroupNorm(4, n)),
    "attention": _Tokens,
}


def image_of(size: int, device: torch.device) -> Tensor:
    """A smooth image (1, size, size)."""
    coarse = torch.rand(1, 1, size // 16, size // 16, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)[0].to(device)


def prepared(name: str, width: int, image: Tensor) -> nn.Module:
    """A network on the image's device whose logits have a mean about 0 and a standard deviation of 1 there."""
    torch.manual_seed(0)
    model = NETWORKS[name](width)
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    model.to(image.device).eval()
    with torch.no_grad():
        logits = model(image[None])
        # The head is linear.
        model.head.weight /= logits.std()
        model.head.bias.sub_(logits.median()).div_(logits.std())
    return model
