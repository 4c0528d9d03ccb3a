"""A U-Net small enough for a laptop and plain enough to read."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdm_widgets._validation import check_choice, checks_simple_arguments

__all__ = ["UNet"]

Upsampling = Literal["bilinear", "nearest", "transposed"]
_UPSAMPLINGS = ("bilinear", "nearest", "transposed")


def _double_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class _Up(nn.Module):
    """Upsample the coarse map to the skip's size, concatenate the two, convolve."""

    def __init__(self, coarse: int, skip: int, upsampling: Upsampling) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.enlarge = nn.ConvTranspose2d(coarse, skip, 2, stride=2) if upsampling == "transposed" else None
        joined = 2 * skip if upsampling == "transposed" else coarse + skip
        self.convolve = _double_convolution(joined, skip)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        height, width = skip.shape[-2:]
        if self.enlarge is not None:
            coarse = self.enlarge(coarse)
            # A side that pooling rounded down is one pixel short after upsampling.
            missing = (0, width - coarse.shape[-1], 0, height - coarse.shape[-2])
            if any(missing):
                coarse = F.pad(coarse, missing, mode="replicate")
        elif self.upsampling == "bilinear":
            coarse = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
        else:
            coarse = F.interpolate(coarse, size=(height, width), mode="nearest")
        out: Tensor = self.convolve(torch.cat([skip, coarse], dim=1))
        return out


class UNet(nn.Module):
    """U-Net with batch normalization.

    Parameters
    ----------
    in_channels : int
        Channels of the image.
    classes : int
        Channels of the output; 1 for a single segment.
    width : int
        Channels of the first level; every level below has twice as many.
    depth : int
        Number of times the image is halved before the bottleneck.
    upsampling : {"bilinear", "nearest", "transposed"}
        How the decoder upsamples its maps.

    Attributes
    ----------
    bottleneck : torch.nn.Sequential
        The convolutions at the coarsest level, `width * 2**depth` channels.

    Notes
    -----
    Input is (N, `in_channels`, H, W), output (N, `classes`, H, W) logits. H and W must be at least
    `2**depth`; they need not be divisible by it.

    References
    ----------
    O. Ronneberger, P. Fischer, T. Brox: U-Net: Convolutional Networks for Biomedical Image
    Segmentation. MICCAI 2015.

    Examples
    --------
    >>> model = UNet(in_channels=1, classes=1, width=4, depth=2)
    >>> model(torch.zeros(2, 1, 33, 48)).shape
    torch.Size([2, 1, 33, 48])
    """

    @checks_simple_arguments
    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 1,
        width: int = 16,
        depth: int = 4,
        *,
        upsampling: Upsampling = "bilinear",
    ) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("classes", classes), ("width", width), ("depth", depth)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        check_choice("upsampling", upsampling, _UPSAMPLINGS)
        widths = [width * 2**level for level in range(depth + 1)]
        self.encoder = nn.ModuleList(
            _double_convolution(before, after)
            for before, after in zip([in_channels, *widths], widths[:-1], strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = _double_convolution(widths[-2], widths[-1])
        self.decoder = nn.ModuleList(
            _Up(widths[level + 1], widths[level], upsampling) for level in reversed(range(depth))
        )
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes, H, W) for images (N, in_channels, H, W)."""
        skips = []
        x = images
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(x, skip)
        logits: Tensor = self.head(x)
        return logits
