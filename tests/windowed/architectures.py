"""Small networks built as well-known ones are; every operation looks at a neighborhood only."""

import torch
from torch import nn
from torch.nn import functional as F


def conv_bn(inputs, outputs, kernel=3, stride=1, dilation=1, groups=1, bias=False, act=nn.ReLU):
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, groups, bias),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, act()) if act else nn.Sequential(*layers)


class _ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = conv_bn(inputs, outputs, stride=stride)
        self.second = conv_bn(outputs, outputs, act=None)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride, act=None)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.second(self.first(x))
        out += self.shortcut(x)
        return self.act(out)


class ResNetUNet(nn.Module):
    """Encoder as in ResNet (7 x 7 with stride 2, pool 3 x 3, basic blocks), decoder with skips."""

    def __init__(self, channels, width=6):
        super().__init__()
        self.stem = conv_bn(channels, width, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(_ResidualBlock(width, width, 1), _ResidualBlock(width, width, 1)),
                _ResidualBlock(width, 2 * width, 2),
            ]
        )
        self.ups = nn.ModuleList([conv_bn(3 * width, width), conv_bn(2 * width, width)])
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        size = x.shape[-2:]
        skips = [self.stem(x)]
        x = self.pool(skips[0])
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        for up, skip in zip(self.ups, (skips[1], skips[0]), strict=True):
            x = up(torch.cat([F.interpolate(x, size=skip.shape[-2:], mode="nearest"), skip], 1))
        return F.interpolate(self.head(x), size=size, mode="bilinear", align_corners=False)


class DilatedFCN(nn.Module):
    """Full resolution all through, dilations 1, 2 and 4: an output position sees 7 px in every direction."""

    radius = 7

    def __init__(self, channels, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            conv_bn(channels, width, dilation=1),
            conv_bn(width, width, dilation=2),
            conv_bn(width, width, dilation=4, act=nn.ELU),
            nn.Conv2d(width, 2, 1),
        )

    def forward(self, x):
        return self.layers(x)


class StrideEightFCN(nn.Module):
    """Three halvings, then dilation instead of more; enlarged eight times by `scale_factor`, cut to the image."""

    def __init__(self, channels, width=6):
        super().__init__()
        self.layers = nn.Sequential(
            conv_bn(channels, width, stride=2),
            conv_bn(width, width, stride=2),
            conv_bn(width, 2 * width, stride=2),
            conv_bn(2 * width, 2 * width, dilation=2),
            nn.Dropout2d(0.5),
            nn.Conv2d(2 * width, 2, 1),
        )

    def forward(self, x):
        coarse = self.layers(x)
        fine = F.interpolate(coarse, scale_factor=8, mode="bilinear", align_corners=False)
        return fine[..., : x.shape[-2], : x.shape[-1]]


class _Pyramid(nn.Module):
    """As in ESPNet: reduce, dilated branches side by side, summed step by step, concatenated."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        each = outputs // 3
        self.reduce = nn.Conv2d(inputs, each, 3, stride, 1, bias=False)
        self.branches = nn.ModuleList(
            [nn.Conv2d(each, each, 3, padding=dilation, dilation=dilation, bias=False) for dilation in (1, 2, 4)]
        )
        self.norm = nn.BatchNorm2d(outputs)
        self.act = nn.PReLU(outputs)
        self.adds = inputs == outputs and stride == 1

    def forward(self, x):
        reduced = self.reduce(x)
        first, *others = (branch(reduced) for branch in self.branches)
        parts = [first]
        for other in others:
            parts.append(other if len(parts) == 1 else parts[-1] + other)
        joined = torch.cat(parts, 1)
        return self.act(self.norm(x + joined if self.adds else joined))


class ESPNetLike(nn.Module):
    """Pyramids of dilated convolutions; the image itself, pooled, comes in again at every size."""

    def __init__(self, channels):
        super().__init__()
        self.level1 = nn.Sequential(nn.Conv2d(channels, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.PReLU(6))
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.level2 = _Pyramid(6 + channels, 12, stride=2)
        self.deeper = _Pyramid(12, 12)
        self.mixed = nn.Sequential(nn.BatchNorm2d(24 + channels), nn.PReLU(24 + channels))
        self.head = nn.Conv2d(24 + channels, 4, 1, bias=False)
        self.up1 = nn.ConvTranspose2d(4, 4, 2, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(4, eps=1e-3)
        self.join = nn.Sequential(nn.Conv2d(10 + channels, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.PReLU(4))
        self.up2 = nn.ConvTranspose2d(4, 2, 2, stride=2, bias=False)

    def forward(self, x):
        half, quarter = self.pool(x), self.pool(self.pool(x))
        fine = torch.cat([self.level1(x), half], 1)
        coarse = self.level2(fine)
        coarse = self.head(self.mixed(torch.cat([coarse, self.deeper(coarse), quarter], 1)))
        up = self.norm(self.up1(coarse))[..., : fine.shape[-2], : fine.shape[-1]]
        return self.up2(self.join(torch.cat([up, fine], 1)))[..., : x.shape[-2], : x.shape[-1]]


class StridedEncoder(nn.Module):
    """Convolutions of even kernels with stride instead of pools; transposed ones with kernel 4 back up."""

    def __init__(self, channels, width=6):
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.up = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width, 1, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, x):
        return self.up(self.down(x))


class PixelShuffleDecoder(nn.Module):
    """Sub-pixel convolution; what is missing on odd sizes is padded before, cut off after."""

    def __init__(self, channels, width=6):
        super().__init__()
        self.down = nn.Sequential(
            nn.PixelUnshuffle(2), conv_bn(4 * channels, width), nn.MaxPool2d(2), conv_bn(width, width)
        )
        self.up = nn.Sequential(
            nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.GELU(), nn.Conv2d(width, 8, 3, padding=1)
        )
        self.last = nn.PixelShuffle(2)

    def forward(self, x):
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % 4, 0, -height % 4))
        return self.last(self.up(self.down(x)))[..., :height, :width]


class DenseNetLike(nn.Module):
    """Batch norm before the convolution, over everything so far; transitions halve by averaging."""

    def __init__(self, channels, growth=4):
        super().__init__()
        self.first = nn.Conv2d(channels, growth, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(
            [self._layers(growth, growth, 2), self._layers(3 * growth, growth, 2)],
        )
        self.transition = nn.Sequential(
            nn.BatchNorm2d(3 * growth), nn.ReLU(), nn.Conv2d(3 * growth, 3 * growth, 1, bias=False), nn.AvgPool2d(2, 2)
        )
        self.head = nn.Sequential(nn.BatchNorm2d(5 * growth), nn.ReLU(), nn.Conv2d(5 * growth, 2, 1))

    @staticmethod
    def _layers(inputs, growth, count):
        return nn.ModuleList(
            [
                nn.Sequential(
                    nn.BatchNorm2d(inputs + growth * layer),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(inputs + growth * layer, growth, 3, padding=1, bias=False),
                )
                for layer in range(count)
            ]
        )

    @staticmethod
    def _grown(block, x):
        features = [x]
        for layer in block:
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, 1)

    def forward(self, x):
        out = self._grown(self.blocks[0], self.first(x))
        out = self._grown(self.blocks[1], self.transition(out))
        return F.interpolate(self.head(out), size=x.shape[-2:], mode="bilinear", align_corners=True)


def channels_shuffled(x, groups):
    count, channels, height, width = x.shape
    x = x.view(count, groups, channels // groups, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(count, channels, height, width)


class _ShuffleUnit(nn.Module):
    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            conv_bn(half, half, 1), conv_bn(half, half, groups=half, act=None), conv_bn(half, half, 1)
        )

    def forward(self, x):
        kept, changed = x.chunk(2, dim=1)
        return channels_shuffled(torch.cat((kept, self.branch(changed)), 1), 2)


class ShuffleNetLike(nn.Module):
    """Half of the channels pass, the other half is convolved; then they are mixed."""

    def __init__(self, channels, width=8):
        super().__init__()
        self.stem = conv_bn(channels, width, stride=2)
        self.units = nn.Sequential(_ShuffleUnit(width), _ShuffleUnit(width))
        self.grouped = conv_bn(width, width, groups=4)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        return self.head(channels_shuffled(self.grouped(self.units(self.stem(x))), 4))


class _InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, act):
        super().__init__()
        hidden = 2 * inputs
        self.layers = nn.Sequential(
            conv_bn(inputs, hidden, 1, act=act),
            conv_bn(hidden, hidden, 5, stride, groups=hidden, act=act),
            conv_bn(hidden, outputs, 1, act=None),
        )
        self.adds = inputs == outputs and stride == 1

    def forward(self, x):
        return x + self.layers(x) if self.adds else self.layers(x)


class MobileNetLike(nn.Module):
    """Depthwise convolutions between narrow layers, ReLU6 and hardswish."""

    def __init__(self, channels, width=4):
        super().__init__()
        self.stem = conv_bn(channels, width, stride=2, act=nn.Hardswish)
        self.layers = nn.Sequential(
            _InvertedResidual(width, width, 1, nn.ReLU6), _InvertedResidual(width, 2 * width, 2, nn.Hardswish)
        )
        self.low, self.high = nn.Conv2d(width, 2, 1), nn.Conv2d(2 * width, 2, 1)

    def forward(self, x):
        fine = self.stem(x)
        coarse = F.interpolate(self.layers(fine), size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return F.interpolate(
            self.low(fine) + self.high(coarse), size=x.shape[-2:], mode="bilinear", align_corners=False
        )


class UnpaddedUNet(nn.Module):
    """As first published: no padding, so the output is smaller than the image and the skips are cut to fit."""

    def __init__(self, channels, width=6):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(channels, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU())
        self.middle = nn.Sequential(nn.Conv2d(width, 2 * width, 3), nn.ReLU(), nn.Conv2d(2 * width, 2 * width, 3))
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.last = nn.Sequential(nn.Conv2d(2 * width, width, 3), nn.ReLU(), nn.Conv2d(width, 2, 1))

    def forward(self, x):
        skip = self.down(x)
        x = self.up(self.middle(F.max_pool2d(skip, 2)))
        top, left = ((a - b) // 2 for a, b in zip(skip.shape[-2:], x.shape[-2:], strict=True))
        skip = skip[:, :, top : top + x.shape[-2], left : left + x.shape[-1]]
        return self.last(torch.cat([skip, x], 1))


LOCAL = {
    "ResNet U-Net": ResNetUNet,
    "dilated FCN": DilatedFCN,
    "FCN of stride 8": StrideEightFCN,
    "ESPNet-like": ESPNetLike,
    "strided encoder": StridedEncoder,
    "pixel shuffle": PixelShuffleDecoder,
    "DenseNet-like": DenseNetLike,
    "ShuffleNet-like": ShuffleNetLike,
    "MobileNet-like": MobileNetLike,
    "unpadded U-Net": UnpaddedUNet,
}


def made(factory, *arguments):
    """A network whose weights are the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return factory(*arguments)
