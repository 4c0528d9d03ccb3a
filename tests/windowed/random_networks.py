"""Networks put together at random from descriptions of layers."""

import math
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from window_checks import randomized

WIDTH = 4
# With one position a map is global; with two, the next layer with a stride may see nothing but its padding.
_LEAST_PLACES, _MOST_PLACES, _MOST_CHANNELS = 3, 90, 24

Pair = tuple[int, int]


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def _with_norm(layer, normed):
    return nn.Sequential(layer, nn.BatchNorm2d(WIDTH)) if normed else layer


class Convolution(NamedTuple):
    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Pair = (0, 0)
    mode: str = "zeros"
    grouped: bool = False
    normed: bool = False

    def layer(self, channels):
        groups = math.gcd(channels, WIDTH) if self.grouped else 1
        settings = self.stride, self.padding, self.dilation, groups, not self.normed, self.mode
        return _with_norm(nn.Conv2d(channels, WIDTH, self.kernel, *settings), self.normed)


class Same(NamedTuple):
    kernel: Pair
    mode: str = "zeros"

    def layer(self, channels):
        return nn.Conv2d(channels, WIDTH, self.kernel, padding="same", padding_mode=self.mode)


class Transposed(NamedTuple):
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    more: Pair = (0, 0)
    dilation: int = 1
    grouped: bool = False
    normed: bool = False

    def layer(self, channels):
        groups = math.gcd(channels, WIDTH) if self.grouped else 1
        settings = self.stride, self.padding, self.more, groups, not self.normed, self.dilation
        return _with_norm(nn.ConvTranspose2d(channels, WIDTH, self.kernel, *settings), self.normed)


class Largest(NamedTuple):
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: int = 1
    ceil: bool = False

    def layer(self, channels):
        return nn.MaxPool2d(self.kernel, self.stride, self.padding, self.dilation, ceil_mode=self.ceil)


class Average(NamedTuple):
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    ceil: bool = False
    counts_padding: bool = True

    def layer(self, channels):
        return nn.AvgPool2d(self.kernel, self.stride, self.padding, self.ceil, self.counts_padding)


class Cells(NamedTuple):
    rows: int
    cols: int

    def layer(self, channels):
        return nn.AdaptiveAvgPool2d((self.rows, self.cols))


class Resized(NamedTuple):
    mode: str
    rows: float
    cols: float
    by_size: bool = False
    corners: bool = False

    def layer(self, channels):
        align = self.corners if self.mode in ("bilinear", "bicubic") else None
        rows, cols = self.rows, self.cols
        if self.mode.startswith("nearest"):
            # In double precision PyTorch's own kernels differ from each other on what lies just between two positions.
            rows, cols = (2.0 ** round(math.log2(factor)) for factor in (rows, cols))

        def resize(x):
            size = (round(x.shape[2] * rows), round(x.shape[3] * cols)) if self.by_size else None
            return F.interpolate(x, size, None if self.by_size else (rows, cols), self.mode, align)

        return Function(resize)


class Padded(NamedTuple):
    amounts: tuple[int, int, int, int]
    mode: str = "constant"

    def layer(self, channels):
        if self.mode == "constant":
            return Function(lambda x: F.pad(x, self.amounts, value=0.4))
        # Cut and wrapped at once, PyTorch itself may leave positions unset.
        return Function(lambda x: F.pad(x, [max(amount, 0) for amount in self.amounts], mode=self.mode))


class Cut(NamedTuple):
    top: int
    bottom: int
    left: int
    right: int
    step: int = 1

    def layer(self, channels):
        return Function(
            lambda x: x[
                ..., self.top : x.shape[2] - self.bottom : self.step, self.left : x.shape[3] - self.right : self.step
            ]
        )


_POINTWISE = {
    "relu": F.relu,
    "relu, in place": F.relu_,
    "hardswish": F.hardswish,
    "leaky relu": lambda x: F.leaky_relu(x, 0.1),
    "sigmoid": torch.sigmoid,
    "bounded": lambda x: x.clamp(-1, 2) * 1.5 - 0.25,
    "softmax": lambda x: x.softmax(1),
    "mean": lambda x: x - x.mean(1, keepdim=True),
    "gate": lambda x: torch.tanh(x[:, ::2]) * x[:, : x[:, ::2].shape[1]],
    "turned, in place": lambda x: torch.cat([x[:, 1:], x[:, :1]], 1).add_(0.5),
}


class Pointwise(NamedTuple):
    name: str

    def layer(self, channels):
        return Function(_POINTWISE[self.name])


class Norm(NamedTuple):
    def layer(self, channels):
        return nn.BatchNorm2d(channels)


class Shuffled(NamedTuple):
    up: bool
    factor: int

    def layer(self, channels):
        return nn.PixelShuffle(self.factor) if self.up else nn.PixelUnshuffle(self.factor)


class Moved(NamedTuple):
    flips: bool
    by: int

    def layer(self, channels):
        if self.flips:
            return Function(lambda x: x.flip(-1 if self.by > 0 else -2))
        return Function(lambda x: x.roll((self.by, -self.by), (2, 3)))


class Joined(NamedTuple):
    """With an earlier value, both cut to the size that they share."""

    how: str
    index: int
    corner: Pair = (0, 0)

    def layer(self, channels):
        return Join(self)


class Join(nn.Module):
    def __init__(self, settings):
        super().__init__()
        self.how, self.index, self.corner = settings

    def forward(self, x, earlier):
        other = earlier[self.index % len(earlier)]
        row, col = self.corner
        other = other[..., row:, col:]
        height, width = (min(sizes) for sizes in zip(x.shape[-2:], other.shape[-2:], strict=True))
        x, other = x[..., :height, :width], other[..., :height, :width]
        if self.how == "concatenate":
            return torch.cat([x, other], 1)
        count = min(x.shape[1], other.shape[1])
        x, other = x[:, :count], other[:, :count]
        return x + other if self.how == "add" else x * torch.sigmoid(other)


def _pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


_modes = st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"])
_resizes = st.sampled_from(["nearest", "nearest-exact", "bilinear", "bicubic"])
_pads = st.sampled_from(["constant", "reflect", "replicate", "circular"])
_cut, _flag = st.integers(0, 4), st.booleans()
LAYERS = st.one_of(
    st.builds(Convolution, _pairs(1, 5), _pairs(1, 3), _pairs(1, 3), _pairs(0, 4), _modes, _flag, _flag),
    st.builds(Same, _pairs(1, 5), _modes),
    st.builds(Transposed, _pairs(1, 5), _pairs(1, 3), _pairs(0, 2), _pairs(0, 2), st.integers(1, 2), _flag, _flag),
    st.builds(Largest, _pairs(1, 5), _pairs(1, 3), _pairs(0, 2), st.integers(1, 2), _flag),
    st.builds(Average, _pairs(1, 5), _pairs(1, 3), _pairs(0, 2), _flag, _flag),
    st.builds(Cells, st.integers(2, 9), st.integers(2, 9)),
    st.builds(
        Resized,
        _resizes,
        st.sampled_from([0.5, 0.7, 1.0, 1.5, 2.0, 2.3, 3.0]),
        st.sampled_from([0.6, 1.0, 2.0, 3.0]),
        _flag,
        _flag,
    ),
    st.builds(Padded, st.tuples(*[st.integers(-3, 4)] * 4), _pads),
    st.builds(Cut, _cut, _cut, _cut, _cut, st.integers(1, 3)),
    st.builds(Pointwise, st.sampled_from(sorted(_POINTWISE))),
    st.builds(Norm),
    st.builds(Shuffled, _flag, st.integers(2, 3)),
    st.builds(Moved, _flag, st.integers(-3, 3)),
    st.builds(Joined, st.sampled_from(["add", "multiply", "concatenate"]), st.integers(0, 9), _pairs(0, 2)),
)


class Stack(nn.Module):
    """Layers one after another; those that join see all earlier values."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        values = [x]
        for layer in self.layers:
            x = layer(x, values) if isinstance(layer, Join) else layer(x)
            values.append(x)
        return x


def network_of(described, image):
    """The network in eval mode; a layer that the sizes so far do not allow is left out.

    Double precision, so that nothing but a mistake makes a difference, however the layers amplify it.
    """
    layers, values = [], [image[None]]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for index, each in enumerate(described):
            given = values[-1].clone()
            try:
                layer = randomized(each.layer(given.shape[1]).double(), seed=index)
                value = layer(given, values) if isinstance(layer, Join) else layer(given)
            except (RuntimeError, ValueError):
                continue
            rows, cols = value.shape[-2:]
            fits = min(rows, cols) >= _LEAST_PLACES and max(rows, cols) <= _MOST_PLACES
            if fits and 0 < value.shape[1] <= _MOST_CHANNELS:
                layers.append(layer)
                values.append(value)
    return Stack(layers).eval()
