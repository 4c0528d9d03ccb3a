"""One operation between two convolutions: whatever networks are made of, apart from each other."""

from functools import partial

import torch
from architectures import channels_shuffled, conv_bn
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

WIDTH = 8


class Between(nn.Module):
    """Convolution, the operation on 8 channels, convolution of however many channels it gives.

    Parameters
    ----------
    operation : callable
        A function or a Module.
    channels : int
        That it gives.
    """

    def __init__(self, operation, channels=WIDTH, inputs=2):
        super().__init__()
        # No activation: borders of zeros are to differ from those of a pool.
        self.first = conv_bn(inputs, WIDTH, act=None)
        self.operation = operation
        self.last = nn.Conv2d(channels, 2, 3, padding=1)

    def forward(self, x):
        return self.last(self.operation(self.first(x)))


class PaddingModes(nn.Module):
    """The three ways beside zeros, with odd kernels, dilation and stride."""

    def __init__(self, mode):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, WIDTH, 3, padding=1, padding_mode=mode),
            nn.ReLU(inplace=True),
            nn.Conv2d(WIDTH, WIDTH, (3, 5), padding=(3, 4), dilation=(3, 2), padding_mode=mode, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.Conv2d(WIDTH, 2, 3, stride=2, padding=1, padding_mode=mode),
        )

    def forward(self, x):
        return self.layers(x)


class ReadTwice(nn.Module):
    """What a convolution gives, and what follows it, which is therefore nothing to be merged or overwritten."""

    def __init__(self, following):
        super().__init__()
        self.first, self.following = nn.Conv2d(2, WIDTH, 3, padding=1), following
        self.last = nn.Conv2d(2 * WIDTH, 2, 3, padding=1)

    def forward(self, x):
        x = self.first(x)
        return self.last(torch.cat([self.following(x), x], 1))


class Branches(nn.Module):
    """Different neighborhoods, joined by some operation: a change reaches each in another box."""

    def __init__(self, join):
        super().__init__()
        self.first = conv_bn(2, WIDTH)
        self.wide = conv_bn(WIDTH, WIDTH, 7)
        self.narrow = nn.Conv2d(WIDTH, WIDTH, 1)
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_bn(WIDTH, WIDTH, 3, dilation=3))
        self.join = join
        self.last = nn.LazyConv2d(2, 3, padding=1)

    def forward(self, x):
        x = self.first(x)
        return self.last(self.join(self.wide(x), self.narrow(x), self.pooled(x), x))


class Positions(nn.Module):
    """Learned values for every position, row or column."""

    def __init__(self, *shape, join=torch.add):
        super().__init__()
        self.first = conv_bn(2, WIDTH)
        self.positions = nn.Parameter(torch.randn(shape))
        self.join = join
        self.last = nn.LazyConv2d(2, 3, padding=1)

    def forward(self, x):
        return self.last(self.join(self.first(x), self.positions))


class Coordinates(nn.Module):
    """CoordConv: rows and columns come in as channels, made in `forward`."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(conv_bn(4, WIDTH), nn.Conv2d(WIDTH, 2, 3, padding=1))

    def forward(self, x):
        count, _, height, width = x.shape
        rows = torch.linspace(-1, 1, height, device=x.device).view(1, 1, height, 1).expand(count, 1, height, width)
        cols = torch.linspace(-1, 1, width, device=x.device).view(1, 1, 1, width).expand(count, 1, height, width)
        return self.layers(torch.cat([x, rows, cols], 1))


class InPlace(nn.Module):
    """Writes into its values, some of which have other names by then."""

    def __init__(self, write):
        super().__init__()
        self.first, self.second = conv_bn(2, WIDTH, act=None), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.write = write
        self.last = nn.Conv2d(WIDTH, 2, 3, padding=1)

    def forward(self, x):
        return self.last(self.write(self.first(x), self.second))


def _add_to_a_view(x, convolution):
    x[:, :3].add_(1.5)
    x[:, 2:5, ::2].mul_(-1)
    return convolution(x)


def _write_what_is_used_later(x, convolution):
    half = x[:, :4]
    later = convolution(x)
    x.relu_()
    return later + torch.cat([half, x[:, 4:]], 1)


def _write_after_dropout(x, convolution):
    dropped = F.dropout(x, 0.5, training=False)
    dropped.clamp_(-0.5, 0.8)
    return convolution(dropped) + x


def _write_chunks(x, convolution):
    first, second = x.chunk(2, 1)
    first.relu_()
    second.add_(first)
    return convolution(x)


def _set_rows(x, convolution):
    later = convolution(x)
    later[..., 1::4, :] = 0.25
    later[:, 1] = x[:, 0]
    return later


def _fill_where(x, convolution):
    later = convolution(x)
    return later.masked_fill_(x > 0.4, 0.5) + x


def _grow_a_skip(x, convolution):
    later = convolution(x)
    later += x
    x *= 0.5
    later -= x
    return later


def _into_a_flat_view(x, convolution):
    flat = x.view(x.shape[0], 2, 4, *x.shape[-2:])
    flat[:, 0].mul_(0.3)
    return convolution(x) * x


IN_PLACE = {
    "what is used later": _write_what_is_used_later,
    "after dropout": _write_after_dropout,
    "a skip": _grow_a_skip,
}
IN_PLACE_OF_PARTS = {
    "add to a view": _add_to_a_view,
    "chunks": _write_chunks,
    "rows set": _set_rows,
    "fill where": _fill_where,
    "a view of another shape": _into_a_flat_view,
}


def _center(x):
    return x[:, :, 3:-3, 4:-4]


def _focus(x):
    """Every fourth pixel apart, as at the beginning of YOLOv5."""
    x = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
    parts = [x[..., row::2, col::2] for row in (0, 1) for col in (0, 1)]
    return torch.cat(parts, 1)


def _gate(x):
    value, gate = torch.chunk(x, 2, 1)
    return value * torch.sigmoid(gate)


def _split_gate(x):
    first, second, third = torch.split(x, [2, 4, 2], 1)
    return torch.cat([third, torch.tanh(second), first * 2], 1)


def _normalized(x):
    return (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1e-3).sqrt()


def _channels_last(x):
    return x.softmax(1) * torch.amax(x, 1, keepdim=True) + x.sum(dim=1, keepdim=True)


class Sizes(nn.Module):
    """An operation that takes numbers from a buffer."""

    def __init__(self, operation):
        super().__init__()
        self.register_buffer("sizes", torch.tensor([1, 2, 3, 0]))
        self.operation = operation

    def forward(self, x):
        return self.operation(x, self.sizes)


class ChannelsLast(nn.Module):
    """Layer norm and linear layers, with the channels moved to the end and back."""

    def __init__(self, move):
        super().__init__()
        self.norm, self.wide, self.narrow = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 11), nn.Linear(11, WIDTH)
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, WIDTH))
        self.move = move

    def forward(self, x):
        y = self.move(x, False)
        y = y + self.scale * self.narrow(F.gelu(self.wide(self.norm(y))))
        return self.move(y * y.softmax(-1).sum(-1, keepdim=True), True)


def _moved(x, back):
    return x.movedim(-1, 1).contiguous() if back else x.movedim(1, -1).contiguous()


def _permuted(x, back):
    return x.permute(0, 3, 1, 2) if back else x.permute(0, 2, 3, 1)


def _swapped(x, back):
    return x.transpose(1, -1)


def _ensemble(x):
    """The mean of several probabilities, the range of some others, and the largest of a stack at the end."""
    parts = torch.stack([x.sigmoid(), x.tanh(), x.relu()])
    spread = parts.amax(0) - parts.amin(dim=0)
    return parts.mean(0) + spread + torch.stack([x, -x], -1).amax(-1) + parts[1] * parts.softmax(0).unbind(0)[2]


def _enlarged(mode, corners=None, **settings):
    return partial(F.interpolate, mode=mode, align_corners=corners, **settings)


OPERATIONS = {
    "reflect": lambda: PaddingModes("reflect"),
    "replicate": lambda: PaddingModes("replicate"),
    "circular": lambda: PaddingModes("circular"),
    "same padding, even kernels": lambda: Between(
        nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, (2, 4), padding="same"),
            nn.BatchNorm2d(WIDTH),
            nn.Conv2d(WIDTH, WIDTH, 4, padding="same", dilation=(3, 1)),
        )
    ),
    "same padding, reflected": lambda: Between(nn.Conv2d(WIDTH, WIDTH, (4, 3), padding="same", padding_mode="reflect")),
    "no padding": lambda: Between(nn.Conv2d(WIDTH, WIDTH, (5, 3), padding="valid")),
    "padding wider than the kernel": lambda: Between(nn.Conv2d(WIDTH, WIDTH, 3, padding=(4, 6))),
    "stride larger than the kernel": lambda: Between(nn.Conv2d(WIDTH, WIDTH, 2, stride=(3, 4))),
    "stride of one axis": lambda: Between(nn.Conv2d(WIDTH, WIDTH, (1, 5), stride=(1, 2), padding=(0, 2))),
    "pool, ceil": lambda: Between(partial(F.max_pool2d, kernel_size=3, stride=2, ceil_mode=True)),
    "pool, ceil, padding": lambda: Between(partial(F.max_pool2d, kernel_size=3, stride=3, padding=1, ceil_mode=True)),
    "pool, padding and dilation": lambda: Between(
        nn.Sequential(nn.MaxPool2d(3, 1, 1, dilation=2), nn.MaxPool2d((2, 5), (1, 2), (1, 2), dilation=(4, 1)))
    ),
    "average, ceil": lambda: Between(partial(F.avg_pool2d, kernel_size=3, stride=2, ceil_mode=True)),
    "average, padding counted": lambda: Between(partial(F.avg_pool2d, kernel_size=3, stride=2, padding=1)),
    "average, padding not counted": lambda: Between(
        partial(F.avg_pool2d, kernel_size=(3, 4), stride=(1, 3), padding=(1, 2), count_include_pad=False)
    ),
    "average, ceil, padding counted": lambda: Between(
        partial(F.avg_pool2d, kernel_size=4, stride=3, padding=2, ceil_mode=True)
    ),
    "average, ceil, padding not counted": lambda: Between(
        partial(F.avg_pool2d, kernel_size=4, stride=3, padding=2, ceil_mode=True, count_include_pad=False)
    ),
    "adaptive average": lambda: Between(partial(F.adaptive_avg_pool2d, output_size=(11, 7))),
    "nearest by size": lambda: Between(_enlarged("nearest", size=(53, 37))),
    "nearest by 2": lambda: Between(_enlarged("nearest", scale_factor=2)),
    "nearest by 1.7": lambda: Between(_enlarged("nearest", scale_factor=1.7)),
    "nearest by 0.6": lambda: Between(_enlarged("nearest", scale_factor=(0.6, 2))),
    "nearest-exact by 1.5": lambda: Between(_enlarged("nearest-exact", scale_factor=1.5)),
    "bilinear by 3": lambda: Between(_enlarged("bilinear", False, scale_factor=3)),
    "bilinear by 2, size": lambda: Between(
        lambda x: F.interpolate(x, (2 * x.shape[2], 2 * x.shape[3]), mode="bilinear")
    ),
    "bilinear by 1.6": lambda: Between(_enlarged("bilinear", False, scale_factor=1.6)),
    "bilinear by 1.6, recomputed": lambda: Between(
        _enlarged("bilinear", False, scale_factor=1.6, recompute_scale_factor=True)
    ),
    "bilinear by 0.4": lambda: Between(_enlarged("bilinear", False, scale_factor=0.4)),
    "bilinear smaller, smoothed": lambda: Between(_enlarged("bilinear", False, size=(14, 19), antialias=True)),
    "bilinear by size, corners": lambda: Between(_enlarged("bilinear", True, size=(50, 45))),
    "bilinear by 2, corners": lambda: Between(nn.UpsamplingBilinear2d(scale_factor=2)),
    "bicubic by 2": lambda: Between(_enlarged("bicubic", False, scale_factor=2)),
    "bicubic by 3": lambda: Between(_enlarged("bicubic", False, scale_factor=3)),
    "bicubic by 1.3": lambda: Between(_enlarged("bicubic", False, scale_factor=(1.3, 2.2))),
    "bicubic by size, corners": lambda: Between(_enlarged("bicubic", True, size=(40, 60))),
    "constant padding": lambda: Between(lambda x: F.pad(x, (3, 1, 0, 5), value=0.7)),
    "negative padding": lambda: Between(lambda x: F.pad(x, (-3, 2, 4, -5))),
    "reflected padding": lambda: Between(lambda x: F.pad(x, (3, 0, 1, 5), mode="reflect")),
    "replicated padding": lambda: Between(lambda x: F.pad(x, (0, 4, 6, 0), mode="replicate")),
    "circular padding": lambda: Between(lambda x: F.pad(x, (2, 3, 1, 0), mode="circular")),
    "padding layers": lambda: Between(nn.Sequential(nn.ZeroPad2d((1, 0, 2, 3)), nn.ReflectionPad2d(2))),
    "cut": lambda: Between(_center),
    "cut to one side": lambda: Between(lambda x: x[..., -20:, :-3]),
    "every second": lambda: Between(lambda x: x[..., ::2, 1::3]),
    "focus": lambda: Between(_focus, 4 * WIDTH),
    "flip": lambda: Between(lambda x: x + x.flip(-1) * x.flip((2,))),
    "roll": lambda: Between(lambda x: x - torch.roll(x, (3, -2), (2, 3))),
    "gate": lambda: Between(_gate, WIDTH // 2),
    "split gate": lambda: Between(_split_gate),
    "softmax over channels": lambda: Between(lambda x: x.softmax(1)),
    "log softmax over channels": lambda: Between(nn.LogSoftmax(dim=1)),
    "mean over channels": lambda: Between(lambda x: x.mean(1, keepdim=True) + x),
    "normalized over channels": lambda: Between(_normalized),
    "largest of channels": lambda: Between(_channels_last),
    "some channels": lambda: Between(lambda x: x[:, 2:-1], WIDTH - 3),
    "one channel": lambda: Between(lambda x: x[:, 3].unsqueeze(1) + x),
    "shuffled channels": lambda: Between(lambda x: channels_shuffled(x, 4)),
    "channel shuffle layer": lambda: Between(nn.ChannelShuffle(2)),
    "pixel shuffle": lambda: Between(nn.PixelShuffle(2), WIDTH // 4),
    "where": lambda: Between(lambda x: torch.where(x > 0.3, x, x.square() - 1)),
    "threshold": lambda: Between(lambda x: x * (x > x.mean(1, keepdim=True)).float()),
    "prelu, one weight": lambda: Between(nn.PReLU()),
    "activations": lambda: Between(
        nn.Sequential(nn.SiLU(), nn.Mish(), nn.GELU(), nn.ELU(), nn.Softplus(), nn.Hardsigmoid(), nn.LeakyReLU(0.3))
    ),
    "arithmetic": lambda: Between(lambda x: (2 - x).abs().clamp(0.1, 1.8).pow(1.5).div(3).exp().neg() ** 2 + x / 2),
    "depthwise": lambda: Between(conv_bn(WIDTH, 2 * WIDTH, 5, groups=WIDTH), 2 * WIDTH),
    "no affine": lambda: Between(
        nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, bias=False), nn.BatchNorm2d(WIDTH, affine=False))
    ),
    "two batch norms": lambda: Between(
        nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3), nn.BatchNorm2d(WIDTH), nn.BatchNorm2d(WIDTH, eps=0.2))
    ),
    "batch norm first": lambda: Between(
        nn.Sequential(nn.ReLU(inplace=True), nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True))
    ),
    "read before and after batch norm": lambda: ReadTwice(nn.BatchNorm2d(WIDTH)),
    "read before and after activation": lambda: ReadTwice(nn.ReLU()),
    "read before and after activation in place": lambda: ReadTwice(nn.Sequential(nn.Identity(), nn.SiLU(inplace=True))),
    "transposed": lambda: Between(nn.ConvTranspose2d(WIDTH, WIDTH, (3, 2), stride=(2, 3), padding=(1, 0))),
    "transposed, groups, batch norm": lambda: Between(
        nn.Sequential(
            nn.ConvTranspose2d(WIDTH, 2 * WIDTH, 4, stride=2, padding=1, groups=4, bias=False),
            nn.BatchNorm2d(2 * WIDTH),
            nn.ReLU(inplace=True),
        ),
        2 * WIDTH,
    ),
    "transposed, output padding": lambda: Between(
        nn.Sequential(
            nn.ConvTranspose2d(WIDTH, WIDTH, 3, stride=(2, 3), padding=1, output_padding=(1, 2)), nn.BatchNorm2d(WIDTH)
        )
    ),
    "transposed, holes": lambda: Between(
        nn.ConvTranspose2d(WIDTH, WIDTH, (1, 2), stride=(2, 3), output_padding=(1, 1), bias=True)
    ),
    "transposed, dilated": lambda: Between(
        nn.ConvTranspose2d(WIDTH, WIDTH, 3, stride=2, padding=(2, 5), dilation=(2, 3), output_padding=(0, 1))
    ),
    "weight norm": lambda: Between(parametrizations.weight_norm(nn.Conv2d(WIDTH, WIDTH, 3, padding=1))),
    "added": lambda: Branches(lambda a, b, c, d: a + b * c - d),
    "joined": lambda: Branches(lambda *parts: torch.cat(parts, 1)),
    "joined twice": lambda: Branches(lambda a, b, c, d: torch.cat([torch.cat([a, b], 1), c, torch.cat([d, a], 1)], 1)),
    "joined, then by position": lambda: Branches(
        lambda a, b, c, d: torch.relu(torch.cat([a, b], 1)) * torch.cat([c, d], 1)
    ),
    "joined, then split": lambda: Branches(lambda a, b, c, d: torch.cat([a, b, c, d], 1).chunk(4, 1)[1] + d),
    "joined, cut": lambda: Branches(lambda a, b, c, d: torch.cat([a[..., :9, :], b[..., 4:13, :], c[..., -9:, :]], 1)),
    "positions": lambda: Positions(1, WIDTH, 29, 38),
    "positions of one map": lambda: Positions(29, 38, join=torch.mul),
    "positions of rows": lambda: Positions(1, 1, 29, 1),
    "positions of columns": lambda: Positions(38, join=torch.mul),
    "positions joined": lambda: Positions(
        1, 3, 29, 38, join=lambda x, positions: torch.cat([x, positions.expand(x.shape[0], -1, -1, -1)], 1)
    ),
    "scale of channels": lambda: Positions(WIDTH, 1, 1, join=torch.mul),
    "stacked channels": lambda: Between(lambda x: torch.stack([x, x * x], 2).flatten(1, 2), 2 * WIDTH),
    "average of two": lambda: Between(lambda x: torch.stack([x, x.flip(-1)]).mean(0)),
    "channels in another order": lambda: Between(lambda x: x[:, [2, 1, 0, 5, 4, 3, 7, 6]]),
    "largest and smallest channel": lambda: Between(
        lambda x: x * x.max(1, keepdim=True)[0] - x.min(dim=1, keepdim=True).values
    ),
    "unit length": lambda: Between(lambda x: F.normalize(x, dim=1)),
    "repeated": lambda: Between(lambda x: x.repeat(1, 2, 1, 1) * 2, 2 * WIDTH),
    "every position twice": lambda: Between(lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    "layer norm of channels": lambda: Between(
        lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (WIDTH,)).permute(0, 3, 1, 2)
    ),
    "channels flipped": lambda: Between(lambda x: x.flip(1) - x.flip((-3,)).roll(2, 1)),
    "expanded as another": lambda: Between(lambda x: x.mean(1, keepdim=True).expand_as(x) + x),
    "positions expanded as another": lambda: Positions(
        1, 1, 29, 38, join=lambda x, positions: torch.cat([x, positions.expand_as(x)], 1)
    ),
    "every channel twice": lambda: Between(lambda x: x.repeat_interleave(2, 1) + torch.tile(x, (2, 1, 1)), 2 * WIDTH),
    "joined with nothing": lambda: Between(lambda x: torch.cat([x.new_empty(0), x, torch.tensor([])], 1)),
    "joined with zeros and ones": lambda: Between(
        lambda x: torch.cat([x.new_zeros(x.shape[0], 1, *x.shape[2:]), x, torch.ones_like(x[:, :2])], 1), WIDTH + 3
    ),
    "ensemble": lambda: Between(_ensemble),
    "channels last, permuted": lambda: Between(ChannelsLast(_permuted)),
    "channels last, moved": lambda: Between(ChannelsLast(_moved)),
    "channels last, rows and columns swapped": lambda: Between(ChannelsLast(_swapped)),
    "channels last, normalized": lambda: Between(
        lambda x: F.normalize(x.permute(0, 2, 3, 1), dim=-1).permute(0, 3, 1, 2)
    ),
    "leaky, random in training": lambda: Between(nn.Sequential(nn.RReLU(), nn.RReLU(inplace=True))),
    "dropped in training": lambda: Between(
        nn.Sequential(nn.Dropout2d(0.5, inplace=True), nn.AlphaDropout(0.5, inplace=True), nn.Dropout2d(0.4))
    ),
    "padding from a buffer": lambda: Between(Sizes(lambda x, sizes: F.pad(x, tuple(sizes.tolist())))),
    "numbers of a buffer": lambda: Between(
        Sizes(lambda x, sizes: F.pad(x * sizes[1].item(), [int(size) for size in sizes]) / float(sizes.numpy().sum()))
    ),
    "size from a buffer": lambda: Between(
        Sizes(lambda x, sizes: F.interpolate(x, size=(sizes[:2] * 13).tolist()) if sizes.sum() > 3 else x)
    ),
    "coordinates": Coordinates,
    **{f"in place: {name}": partial(InPlace, write) for name, write in IN_PLACE.items()},
}

# As above, but these may be computed as a whole: that is slower, not wrong.
PERHAPS_WHOLE = {
    "average, own divisor": lambda: Between(partial(F.avg_pool2d, kernel_size=2, divisor_override=3)),
    "padded channels": lambda: Between(lambda x: F.pad(x, (0, 0, 0, 0, 1, 2), value=0.3), WIDTH + 3),
    "narrow": lambda: Between(lambda x: x.narrow(2, 4, 12).narrow(1, 2, 5), 5),
    "glu": lambda: Between(partial(F.glu, dim=1), WIDTH // 2),
    "joined along rows": lambda: Between(lambda x: torch.cat([x[..., :9, :], x[..., 9:, :].relu()], 2)),
    "joined images": lambda: Between(lambda x: torch.cat([x, x.flip(-1)], 0)[: x.shape[0]]),
    "strips": lambda: Between(lambda x: x * x.mean(3, keepdim=True) + F.adaptive_avg_pool2d(x, (1, x.shape[3]))),
    "sorted channels": lambda: Between(lambda x: x.sort(1)[0] * x.topk(2, 1)[0].sum(1, keepdim=True)),
    "linear over channels": lambda: Between(
        lambda x: torch.einsum("nchw,cd->ndhw", x, torch.eye(WIDTH).roll(1, 0) * 2)
    ),
    "one hot": lambda: Between(lambda x: F.one_hot(x.argmax(1), WIDTH).permute(0, 3, 1, 2).float() + x),
    "accumulated over rows": lambda: Between(lambda x: x.cumsum(2) / 10),
    "one row for all": lambda: Between(lambda x: x[..., 3, :].unsqueeze(2) * x),
    "differences": lambda: Between(lambda x: torch.diff(x, dim=2)),
    "positions of the largest": lambda: Between(lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)),
    "over channels too": lambda: Between(
        lambda x: F.avg_pool3d(x.unsqueeze(1), 3, 1, 1).squeeze(1) + nn.functional.local_response_norm(x, 3)
    ),
    **{f"in place: {name}": partial(InPlace, write) for name, write in IN_PLACE_OF_PARTS.items()},
}
