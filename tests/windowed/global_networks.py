"""Small networks in which some operation looks at the whole image."""

import torch
from architectures import conv_bn
from torch import nn
from torch.nn import functional as F

WIDTH = 8


class SqueezeExcite(nn.Module):
    """Scales channels by what they are on average; convolutions of one position, or linear layers."""

    def __init__(self, linear):
        super().__init__()
        kind = nn.Linear if linear else lambda inputs, outputs: nn.Conv2d(inputs, outputs, 1)
        self.linear = linear
        self.squeeze, self.excite = kind(WIDTH, 4), kind(4, WIDTH)

    def forward(self, x):
        scale = x.mean((2, 3)) if self.linear else F.adaptive_avg_pool2d(x, 1)
        scale = torch.sigmoid(self.excite(F.relu(self.squeeze(scale))))
        return x * (scale[:, :, None, None] if self.linear else scale)


class SelfAttention(nn.Module):
    """Between all positions."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Conv2d(WIDTH, 4, 1), nn.Conv2d(WIDTH, 4, 1)
        self.value = nn.Conv2d(WIDTH, WIDTH, 1)
        self.weight = nn.Parameter(torch.tensor(0.8))

    def forward(self, x):
        count, channels, height, width = x.shape
        query = self.query(x).view(count, -1, height * width).permute(0, 2, 1)
        attention = torch.softmax(query @ self.key(x).view(count, -1, height * width), dim=-1)
        seen = self.value(x).view(count, -1, height * width) @ attention.permute(0, 2, 1)
        return self.weight * seen.view(count, channels, height, width) + x


class TokenAttention(nn.Module):
    """As in a transformer: positions are tokens, normalized and attended to, with a perceptron behind."""

    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.perceptron = nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, WIDTH))

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        normed = self.norms[0](tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        tokens = tokens + self.perceptron(self.norms[1](tokens))
        return tokens.transpose(1, 2).reshape(x.shape)


class Multihead(nn.Module):
    """PyTorch's attention of all positions to all, with tokens or the batch first, with or without weights."""

    def __init__(self, batch_first, need_weights):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=batch_first)
        self.batch_first, self.need_weights = batch_first, need_weights

    def forward(self, x):
        tokens = x.flatten(2).permute(0, 2, 1) if self.batch_first else x.flatten(2).permute(2, 0, 1)
        seen, _ = self.attention(tokens, tokens, tokens, need_weights=self.need_weights)
        return seen.permute(0, 2, 1).reshape(x.shape) if self.batch_first else seen.permute(1, 2, 0).reshape(x.shape)


class EncoderLayer(nn.Module):
    """PyTorch's layer of a transformer."""

    def __init__(self, batch_first, norm_first=False):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=batch_first, norm_first=norm_first)
        self.batch_first = batch_first

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        seen = self.layer(tokens) if self.batch_first else self.layer(tokens.transpose(0, 1)).transpose(0, 1)
        return seen.transpose(1, 2).reshape(x.shape)


class PackedAttention(nn.Module):
    """As vision transformers have it: queries, keys and values from one layer, apart in a dimension of their own."""

    def __init__(self, take):
        super().__init__()
        self.packed, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.take = take

    def forward(self, x):
        count, channels, height, width = x.shape
        packed = self.packed(x.permute(0, 2, 3, 1).reshape(count, height * width, channels))
        packed = packed.reshape(count, height * width, 3, 2, channels // 2).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*self.take(packed)).transpose(1, 2).reshape(-1, channels)
        return self.project(seen).view(count, height, width, channels).permute(0, 3, 1, 2)


class ProductAttention(nn.Module):
    """Written out in products, with scaled scores and heads in a dimension of their own."""

    def __init__(self, scaled):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.scaled, self.dropout = scaled, nn.Dropout(0.1)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        given = (layer(tokens) for layer in (self.query, self.key, self.value))
        query, key, value = (each.unflatten(-1, (2, -1)).transpose(1, 2) for each in given)
        weights = self.dropout(self.scaled(query @ key.transpose(-2, -1)).softmax(-1))
        return (weights @ value).transpose(1, 2).flatten(2).transpose(1, 2).reshape(x.shape)


class PyramidPooling(nn.Module):
    """As in PSPNet: averages over grids of cells, enlarged and joined."""

    def __init__(self, grids=(1, 2, 3, 6)):
        super().__init__()
        self.branches = nn.ModuleList(
            [nn.Sequential(nn.AdaptiveAvgPool2d(grid), nn.Conv2d(WIDTH, 2, 1, bias=False), nn.BatchNorm2d(2))
             for grid in grids]
        )  # fmt: skip
        self.join = conv_bn(WIDTH + 2 * len(grids), WIDTH)

    def forward(self, x):
        sizes = x.shape[2:]
        parts = [F.interpolate(branch(x), size=sizes, mode="bilinear", align_corners=True) for branch in self.branches]
        return self.join(torch.cat([x, *parts], 1))


class AtrousPyramid(nn.Module):
    """As in DeepLab: dilated branches, and one that sees the average of everything."""

    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_bn(WIDTH, 4, 1), conv_bn(WIDTH, 4, 3, dilation=3), conv_bn(WIDTH, 4, 3, dilation=5)]
        )
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(WIDTH, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.project = nn.Sequential(conv_bn(16, WIDTH, 1), nn.Dropout(0.5))

    def forward(self, x):
        parts = [branch(x) for branch in self.branches]
        average = F.interpolate(self.pooled(x), size=x.shape[-2:], mode="bilinear", align_corners=False)
        return self.project(torch.cat([*parts, average], 1))


class Blur(nn.Module):
    """A fixed filter on every channel by itself, with the channels put into the batch."""

    def __init__(self):
        super().__init__()
        self.register_buffer("kernel", torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).view(1, 1, 3, 3) / 16)

    def forward(self, x):
        count, channels, height, width = x.shape
        one_by_one = F.conv2d(x.reshape(count * channels, 1, height, width), self.kernel, padding=1)
        return one_by_one.view(count, channels, height, width)


class ConvNeXtBlock(nn.Module):
    """Channels last between a depthwise convolution and the sum."""

    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2d(WIDTH, WIDTH, 7, padding=3, groups=WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.layers = nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, WIDTH))
        self.gamma = nn.Parameter(torch.full((WIDTH,), 0.7))

    def forward(self, x):
        out = self.depthwise(x).permute(0, 2, 3, 1)
        out = self.gamma * self.layers(self.norm(out))
        return x + out.permute(0, 3, 1, 2)


class Classifier(nn.Module):
    """One vector for the whole image."""

    def __init__(self):
        super().__init__()
        self.pool, self.linear = nn.AdaptiveAvgPool2d((2, 3)), nn.Linear(WIDTH * 6, 5)

    def forward(self, x):
        return self.linear(torch.flatten(self.pool(x), 1))


class Around(nn.Module):
    """A part of a network between a strided and a plain convolution, enlarged at the end."""

    def __init__(self, part):
        super().__init__()
        self.stem = conv_bn(2, WIDTH, stride=2)
        self.part = part
        self.head = nn.Conv2d(WIDTH, 2, 3, padding=1)

    def forward(self, x):
        return F.interpolate(self.head(self.part(self.stem(x))), size=x.shape[-2:], mode="bilinear")


class Warped(nn.Module):
    """Sampled where the network itself says."""

    def forward(self, x):
        count, _, height, width = x.shape
        rows = torch.linspace(-1, 1, height).view(1, height, 1).expand(count, height, width)
        cols = torch.linspace(-1, 1, width).view(1, 1, width).expand(count, height, width)
        grid = torch.stack([cols + 0.2 * torch.tanh(x[:, 0]), rows + 0.2 * torch.tanh(x[:, 1])], -1)
        return F.grid_sample(x, grid, align_corners=False)


def _standardized(x):
    """Every image by its own mean and standard deviation."""
    return (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)


def _of_largest(x):
    return x / (x.flatten(1).amax(1).view(-1, 1, 1, 1) + 1)


class Function(nn.Module):
    """A function with a place in the network."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


# Part of a network, and the labels that `global_steps` has to give for it; None where it may learn to do without.
# Attention between all positions of a map.
ATTENTION = {
    "multihead": lambda: Multihead(batch_first=True, need_weights=False),
    "multihead, tokens first": lambda: Multihead(batch_first=False, need_weights=False),
    "multihead, weights": lambda: Multihead(batch_first=True, need_weights=True),
    "multihead, tokens first, weights": lambda: Multihead(batch_first=False, need_weights=True),
    "products of positions": SelfAttention,
    "products, multiplied": lambda: ProductAttention(lambda scores: scores * 0.5),
    "products, divided": lambda: ProductAttention(lambda scores: scores / 2.0),
    "encoder layer": lambda: EncoderLayer(batch_first=True),
    "encoder layer, norm first": lambda: EncoderLayer(batch_first=True, norm_first=True),
    "encoder layer, tokens first": lambda: EncoderLayer(batch_first=False),
    "packed, unbound": lambda: PackedAttention(lambda packed: packed.unbind(0)),
    "packed, taken": lambda: PackedAttention(lambda packed: (packed[0], packed[1], packed[2])),
    "packed, split": lambda: PackedAttention(lambda packed: [part.squeeze(0) for part in packed.chunk(3)]),
}
GLOBAL = {
    "squeeze and excite": (lambda: SqueezeExcite(linear=False), ["adaptive_avg_pool2d in part"]),
    "squeeze and excite, linear": (lambda: SqueezeExcite(linear=True), ["mean in part"]),
    "instance norm": (lambda: nn.InstanceNorm2d(WIDTH, affine=True), ["instance_norm in part"]),
    "group norm": (lambda: nn.GroupNorm(2, WIDTH), ["group_norm in part"]),
    "layer norm over space": (lambda: nn.LayerNorm((WIDTH, 17, 20)), ["layer_norm in part"]),
    "self attention": (SelfAttention, ["view in part"]),
    "token attention": (TokenAttention, ["flatten in part"]),
    "pyramid pooling": (PyramidPooling, ["adaptive_avg_pool2d in part.branches.0.0"]),
    "atrous pyramid": (AtrousPyramid, ["adaptive_avg_pool2d in part.pooled.0"]),
    "standardized": (lambda: Function(_standardized), ["mean in part", "std in part"]),
    "fraction of the largest": (lambda: Function(_of_largest), ["flatten in part"]),
    "adaptive max": (
        lambda: nn.Sequential(nn.AdaptiveMaxPool2d((5, 6)), nn.Upsample((17, 20))),
        ["adaptive_max_pool2d in part.0"],
    ),
    "grid sample": (Warped, None),
    "blur": (Blur, None),
    "ConvNeXt": (ConvNeXtBlock, []),
    "spectrum": (lambda: Function(lambda x: torch.fft.irfft2(torch.fft.rfft2(x) * 0.9, s=x.shape[-2:])), None),
    "transposed": (lambda: Function(lambda x: x.transpose(2, 3)), None),
    "unfolded": (lambda: Function(lambda x: F.fold(F.unfold(x, 3, padding=1), x.shape[-2:], 3, padding=1)), None),
}
