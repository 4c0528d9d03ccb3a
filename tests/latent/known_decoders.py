"""Small decoders and heads with the modules and the names of torchvision's and of segmentation-models-pytorch's."""

import torch
from known_encoders import (
    EfficientNetEncoder,
    IntermediateLayers,
    MobileNetV2Encoder,
    ResNetEncoder,
    conv_norm,
    dilated_resnet,
)
from torch import nn
from torch.nn import functional as F

CLASSES = 3


def block(*settings, **options):
    return nn.Sequential(*conv_norm(*settings, **options))


def resized(maps, size):
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


# -- torchvision --------------------------------------------------------------------------------------


class Torchvision(nn.Module):
    """`_SimpleSegmentationModel`: a backbone of several maps, a classifier, and the image's size."""

    def __init__(self, backbone, classifier, aux_classifier=None):
        super().__init__()
        self.backbone, self.classifier, self.aux_classifier = backbone, classifier, aux_classifier

    def forward(self, images):
        size = images.shape[-2:]
        maps = self.backbone(images)
        found = {"out": resized(self.classifier(maps["out"]), size)}
        if self.aux_classifier is not None:
            found["aux"] = resized(self.aux_classifier(maps["aux"]), size)
        return found


class FCNHead(nn.Sequential):
    def __init__(self, into):
        super().__init__(*conv_norm(into, into // 4), nn.Dropout(0.1), nn.Conv2d(into // 4, CLASSES, 1))


class ASPPPooling(nn.Sequential):
    def __init__(self, into, out):
        super().__init__(nn.AdaptiveAvgPool2d(1), *conv_norm(into, out, 1))

    def forward(self, maps):
        return resized(super().forward(maps), maps.shape[-2:])


class ASPP(nn.Module):
    def __init__(self, into, out):
        super().__init__()
        dilated = [block(into, out, 3, dilation=rate) for rate in (2, 4, 6)]
        self.convs = nn.ModuleList([block(into, out, 1), *dilated, ASPPPooling(into, out)])
        self.project = nn.Sequential(*conv_norm(5 * out, out, 1), nn.Dropout(0.5))

    def forward(self, maps):
        return self.project(torch.cat([one(maps) for one in self.convs], 1))


def fcn():
    return Torchvision(dilated_resnet(layer3="aux", layer4="out"), FCNHead(128), FCNHead(64))


def deeplab():
    return Torchvision(dilated_resnet(), nn.Sequential(ASPP(128, 16), *conv_norm(16, 16), nn.Conv2d(16, CLASSES, 1)))


class LRASPP(nn.Module):
    """LR-ASPP over a MobileNet whose maps are called "low" and "high"."""

    def __init__(self):
        super().__init__()
        features = MobileNetV2Encoder().features
        layers = {str(number): part for number, part in enumerate(features)}
        self.backbone = IntermediateLayers(layers, {"4": "low", str(len(features) - 1): "high"})
        self.classifier = LRASPPHead(6, 64)

    def forward(self, images):
        return {"out": resized(self.classifier(self.backbone(images)), images.shape[-2:])}


class LRASPPHead(nn.Module):
    def __init__(self, low, high):
        super().__init__()
        self.cbr = block(high, 16, 1)
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(high, 16, 1, bias=False), nn.Sigmoid())
        self.low_classifier, self.high_classifier = nn.Conv2d(low, CLASSES, 1), nn.Conv2d(16, CLASSES, 1)

    def forward(self, maps):
        high = resized(self.cbr(maps["high"]) * self.scale(maps["high"]), maps["low"].shape[-2:])
        return self.low_classifier(maps["low"]) + self.high_classifier(high)


# -- segmentation-models-pytorch ----------------------------------------------------------------------


class SMP(nn.Module):
    """`SegmentationModel`: encoder, decoder and head."""

    def __init__(self, encoder, decoder, into, enlarge=1):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        bigger = nn.UpsamplingBilinear2d(scale_factor=enlarge) if enlarge > 1 else nn.Identity()
        self.segmentation_head = nn.Sequential(nn.Conv2d(into, CLASSES, 3, padding=1), bigger, nn.Identity())

    def forward(self, images):
        return self.segmentation_head(self.decoder(self.encoder(images)))


class UnetBlock(nn.Module):
    def __init__(self, into, skip, out):
        super().__init__()
        self.conv1, self.attention1 = block(into + skip, out), nn.Identity()
        self.conv2, self.attention2 = block(out, out), nn.Identity()

    def forward(self, maps, skip=None):
        maps = F.interpolate(maps, scale_factor=2, mode="nearest")
        if skip is not None:
            maps = self.attention1(torch.cat([maps, skip], 1))
        return self.attention2(self.conv2(self.conv1(maps)))


class UnetDecoder(nn.Module):
    def __init__(self, channels, center=None):
        super().__init__()
        into, skips = [channels[-1], 16, 8, 8, 4], [*channels[-2:0:-1], 0]
        self.center = center or nn.Identity()
        self.blocks = nn.ModuleList(map(UnetBlock, into, skips, (16, 8, 8, 4, 4)))

    def forward(self, maps):
        skips = [*maps[-2:0:-1], None]
        deepest = self.center(maps[-1])
        for one, skip in zip(self.blocks, skips, strict=True):
            deepest = one(deepest, skip)
        return deepest


def unet(encoder=ResNetEncoder):
    return SMP(encoder(), UnetDecoder(encoder.channels), 4)


def unet_efficientnet():
    return unet(EfficientNetEncoder)


def unet_mobilenet():
    return unet(MobileNetV2Encoder)


class PAB(nn.Module):
    """MAnet's attention between all positions of the deepest maps."""

    def __init__(self, channels):
        super().__init__()
        self.top_conv, self.center_conv = nn.Conv2d(channels, 8, 1), nn.Conv2d(channels, 8, 1)
        self.bottom_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.map_softmax = nn.Softmax(dim=1)
        self.out_conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps):
        top, center = self.top_conv(maps).flatten(2), self.center_conv(maps).flatten(2).transpose(1, 2)
        bottom = self.bottom_conv(maps).flatten(2).transpose(1, 2)
        weights = self.map_softmax(torch.matmul(center, top).flatten(1)).unflatten(1, (center.shape[1], -1))
        return self.out_conv(maps + torch.matmul(weights, bottom).reshape(maps.shape))


def manet():
    return SMP(ResNetEncoder(), UnetDecoder(ResNetEncoder.channels, PAB(128)), 4)


class FPNBlock(nn.Module):
    def __init__(self, skip):
        super().__init__()
        self.skip_conv = nn.Conv2d(skip, 16, 1)

    def forward(self, maps, skip):
        return F.interpolate(maps, scale_factor=2, mode="nearest") + self.skip_conv(skip)


class Conv3x3GNReLU(nn.Module):
    def __init__(self, into, out, *, enlarge):
        super().__init__()
        self.enlarge = enlarge
        self.block = nn.Sequential(nn.Conv2d(into, out, 3, padding=1, bias=False), nn.GroupNorm(4, out), nn.ReLU())

    def forward(self, maps):
        maps = self.block(maps)
        return F.interpolate(maps, scale_factor=2, mode="bilinear") if self.enlarge else maps


class FPNDecoder(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.p5 = nn.Conv2d(channels[-1], 16, 1)
        self.p4, self.p3, self.p2 = (FPNBlock(skip) for skip in channels[-2:-5:-1])
        self.seg_blocks = nn.ModuleList(
            nn.Sequential(*(Conv3x3GNReLU(16 if i == 0 else 8, 8, enlarge=bool(n)) for i in range(max(n, 1))))
            for n in (3, 2, 1, 0)
        )

    def forward(self, maps):
        deepest = self.p5(maps[-1])
        pyramid = [deepest]
        for one, skip in zip((self.p4, self.p3, self.p2), maps[-2:-5:-1], strict=True):
            pyramid.append(one(pyramid[-1], skip))
        return sum(one(level) for one, level in zip(self.seg_blocks, pyramid, strict=True))


def fpn():
    return SMP(ResNetEncoder(), FPNDecoder(ResNetEncoder.channels), 8, 4)


class LinknetBlock(nn.Module):
    def __init__(self, into, out):
        super().__init__()
        inside = into // 4
        bigger = nn.ConvTranspose2d(inside, inside, 4, 2, 1, bias=False)
        self.block = nn.Sequential(
            block(into, inside, 1),
            nn.Sequential(bigger, nn.BatchNorm2d(inside), nn.ReLU(inplace=True)),
            block(inside, out, 1),
        )

    def forward(self, maps, skip=None):
        maps = self.block(maps)
        return maps if skip is None else maps + skip


class LinknetDecoder(nn.Module):
    def __init__(self, channels):
        super().__init__()
        outs = [*channels[-2:0:-1], 4]
        self.blocks = nn.ModuleList(map(LinknetBlock, channels[:0:-1], outs))

    def forward(self, maps):
        deepest, skips = maps[-1], [*maps[-2:0:-1], None]
        for one, skip in zip(self.blocks, skips, strict=True):
            deepest = one(deepest, skip)
        return deepest


def linknet():
    return SMP(ResNetEncoder(), LinknetDecoder(ResNetEncoder.channels), 4)


class PSPBlock(nn.Module):
    def __init__(self, into, out, cells):
        super().__init__()
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(cells), *conv_norm(into, out, 1))

    def forward(self, maps):
        return resized(self.pool(maps), maps.shape[-2:])


class PSPModule(nn.Module):
    def __init__(self, into):
        super().__init__()
        self.blocks = nn.ModuleList(PSPBlock(into, into // 4, cells) for cells in (1, 2, 3, 6))

    def forward(self, maps):
        return torch.cat([*(one(maps) for one in self.blocks), maps], 1)


class PSPDecoder(nn.Module):
    def __init__(self, into, out=16):
        super().__init__()
        self.psp, self.conv, self.dropout = PSPModule(into), block(2 * into, out, 1), nn.Dropout2d(0.2)

    def forward(self, maps):
        return self.dropout(self.conv(self.psp(maps[-1])))


def pspnet():
    """The encoder ends at an eighth of the image's size, as is the default."""
    return SMP(ResNetEncoder(depth=3), PSPDecoder(32), 16, 8)


class DeepLabV3PlusDecoder(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.aspp = nn.Sequential(ASPP(channels[-1], 16), *conv_norm(16, 16))
        self.up = nn.UpsamplingBilinear2d(scale_factor=4)
        self.block1, self.block2 = block(channels[2], 6, 1), block(22, 16)

    def forward(self, maps):
        return self.block2(torch.cat([self.up(self.aspp(maps[-1])), self.block1(maps[2])], 1))


def deeplab_plus():
    """Output stride 16: the last stage is dilated."""
    return SMP(ResNetEncoder(dilated=1), DeepLabV3PlusDecoder(ResNetEncoder.channels), 16, 4)


# -- networks as they are often written out ----------------------------------------------------------


class Pix2PixBlock(nn.Module):
    """A level of pix2pix's generator: everything below it, beside its input."""

    def __init__(self, outer, inner, into=None, submodule=None):
        super().__init__()
        down = nn.Conv2d(into or outer, inner, 4, 2, 1, bias=False)
        up = nn.ConvTranspose2d(inner if submodule is None else 2 * inner, outer, 4, 2, 1)
        inside = [] if submodule is None else [nn.BatchNorm2d(inner), submodule]
        self.outermost = into is not None
        first = [] if self.outermost else [nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*first, down, *inside, nn.ReLU(), up, nn.BatchNorm2d(outer))

    def forward(self, maps):
        return self.model(maps) if self.outermost else torch.cat([maps, self.model(maps)], 1)


def pix2pix():
    """Six halvings of 64 px: one position is left."""
    inner = Pix2PixBlock(8, 8)
    for _ in range(2):
        inner = Pix2PixBlock(8, 8, submodule=inner)
    inner = Pix2PixBlock(4, 8, submodule=inner)
    inner = Pix2PixBlock(4, 4, submodule=inner)
    return Pix2PixBlock(CLASSES, 4, into=3, submodule=inner)
