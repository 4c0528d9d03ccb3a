"""Small encoders with the modules and the names of torchvision's and of segmentation-models-pytorch's."""

import torch
from torch import nn
from torch.nn import functional as F


def conv_norm(into, out, kernel=3, stride=1, *, groups=1, dilation=1, act=nn.ReLU):
    """Convolution, batch norm and activation, as a list."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(into, out, kernel, stride, padding, dilation, groups, bias=False)
    return [conv, nn.BatchNorm2d(out), *([act()] if act else [])]


class Bottleneck(nn.Module):
    """ResNet's block of three convolutions; one activation serves all."""

    expansion = 4

    def __init__(self, into, width, stride=1, dilation=1):
        super().__init__()
        out = width * self.expansion
        self.conv1, self.bn1 = nn.Conv2d(into, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        changes = stride > 1 or into != out
        self.downsample = nn.Sequential(*conv_norm(into, out, 1, stride, act=None)) if changes else None

    def forward(self, maps):
        kept = maps if self.downsample is None else self.downsample(maps)
        maps = self.relu(self.bn1(self.conv1(maps)))
        maps = self.relu(self.bn2(self.conv2(maps)))
        return self.relu(self.bn3(self.conv3(maps)) + kept)


class ResNet(nn.Module):
    """ResNet-50 with two blocks a stage and a sixteenth of the channels; `dilated` stages keep their resolution."""

    def __init__(self, dilated=0):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        into, dilation = 4, 1
        for number, width in enumerate((4, 8, 16, 32)):
            keeps = number >= 4 - dilated
            dilation *= 2 if keeps else 1
            stride = 1 if number == 0 or keeps else 2
            first = Bottleneck(into, width, stride, dilation)
            into = width * Bottleneck.expansion
            setattr(self, f"layer{number + 1}", nn.Sequential(first, Bottleneck(into, width, 1, dilation)))

    def stem(self, images):
        return self.relu(self.bn1(self.conv1(images)))


class ResNetEncoder(ResNet):
    """As segmentation-models-pytorch has it: returns the maps of every stage, the image first."""

    channels = (3, 4, 16, 32, 64, 128)

    def __init__(self, depth=5, dilated=0):
        super().__init__(dilated)
        self.depth = depth

    def forward(self, images):
        maps = [images, self.stem(images)]
        maps.append(self.layer1(self.maxpool(maps[-1])))
        for stage in (self.layer2, self.layer3, self.layer4)[: self.depth - 2]:
            maps.append(stage(maps[-1]))
        return maps


class IntermediateLayers(nn.ModuleDict):
    """torchvision's IntermediateLayerGetter: modules one after the other, some of whose outputs are returned by key."""

    def __init__(self, layers, returned):
        super().__init__(layers)
        self.returned = returned

    def forward(self, maps):
        found = {}
        for name, module in self.items():
            maps = module(maps)
            if name in self.returned:
                found[self.returned[name]] = maps
        return found


def dilated_resnet(**returned):
    """torchvision's backbone of FCN and DeepLabV3: a ResNet of output stride 8."""
    return IntermediateLayers(dict(ResNet(dilated=2)._modules), returned or {"layer4": "out"})


class PaddedConv(nn.Conv2d):
    """EfficientNet's Conv2dStaticSamePadding: pads in a module of its own, so that maps are larger for a moment."""

    def __init__(self, into, out, kernel, stride=1, groups=1, bias=False):
        super().__init__(into, out, kernel, stride, groups=groups, bias=bias)
        around = (kernel - stride) if kernel > stride else 0
        before = around // 2
        self.static_padding = nn.ZeroPad2d((before, around - before, before, around - before))

    def forward(self, maps):
        maps = self.static_padding(maps)
        return F.conv2d(maps, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class MBConvBlock(nn.Module):
    """EfficientNet's block: six times the channels inside, squeeze-and-excite, one activation for all."""

    def __init__(self, into, out, kernel, stride):
        super().__init__()
        inside = into * 6
        self._expand_conv, self._bn0 = PaddedConv(into, inside, 1), nn.BatchNorm2d(inside)
        self._depthwise_conv = PaddedConv(inside, inside, kernel, stride, groups=inside)
        self._bn1 = nn.BatchNorm2d(inside)
        self._se_reduce, self._se_expand = PaddedConv(inside, 2, 1, bias=True), PaddedConv(2, inside, 1, bias=True)
        self._project_conv, self._bn2 = PaddedConv(inside, out, 1), nn.BatchNorm2d(out)
        self._swish = nn.SiLU()
        self.keeps = stride == 1 and into == out

    def forward(self, given):
        maps = self._swish(self._bn0(self._expand_conv(given)))
        maps = self._swish(self._bn1(self._depthwise_conv(maps)))
        weights = self._se_expand(self._swish(self._se_reduce(F.adaptive_avg_pool2d(maps, 1))))
        maps = self._bn2(self._project_conv(torch.sigmoid(weights) * maps))
        return maps + given if self.keeps else maps


class EfficientNetEncoder(nn.Module):
    """EfficientNet-b0 with a part of its blocks; the last changes the channels, without a residual."""

    channels = (3, 4, 4, 6, 8, 16)

    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0, self._swish = PaddedConv(3, 4, 3, 2), nn.BatchNorm2d(4), nn.SiLU()
        plan = [(4, 4, 3, 2), (4, 4, 3, 1), (4, 6, 5, 2), (6, 6, 5, 1), (6, 8, 3, 2), (8, 8, 5, 1),
                (8, 12, 5, 2), (12, 12, 5, 1), (12, 16, 3, 1)]  # fmt: skip
        self._blocks = nn.ModuleList(MBConvBlock(*one) for one in plan)

    def forward(self, images):
        maps = self._swish(self._bn0(self._conv_stem(images)))
        found = [images, maps]
        for number, block in enumerate(self._blocks):
            maps = block(maps)
            if number in (1, 3, 5, 8):
                found.append(maps)
        return found


class InvertedResidual(nn.Module):
    """MobileNetV2's block."""

    def __init__(self, into, out, stride):
        super().__init__()
        inside = into * 6
        self.conv = nn.Sequential(
            nn.Sequential(*conv_norm(into, inside, 1, act=nn.ReLU6)),
            nn.Sequential(*conv_norm(inside, inside, 3, stride, groups=inside, act=nn.ReLU6)),
            *conv_norm(inside, out, 1, act=None),
        )
        self.keeps = stride == 1 and into == out

    def forward(self, maps):
        return maps + self.conv(maps) if self.keeps else self.conv(maps)


class MobileNetV2Encoder(nn.Module):
    """MobileNetV2, whose last feature is a 1 x 1 convolution to four times the channels."""

    channels = (3, 4, 4, 6, 8, 64)

    def __init__(self):
        super().__init__()
        plan = [(4, 4, 1), (4, 4, 2), (4, 4, 1), (4, 6, 2), (6, 6, 1), (6, 8, 2), (8, 8, 1), (8, 12, 2), (12, 16, 1)]
        blocks = [InvertedResidual(*one) for one in plan]
        stem, last = conv_norm(3, 4, 3, 2, act=nn.ReLU6), conv_norm(16, 64, 1, act=nn.ReLU6)
        self.features = nn.Sequential(nn.Sequential(*stem), *blocks, nn.Sequential(*last))

    def forward(self, images):
        found, maps = [images], images
        for number, part in enumerate(self.features):
            maps = part(maps)
            if number in (1, 3, 5, 7, len(self.features) - 1):
                found.append(maps)
        return found
