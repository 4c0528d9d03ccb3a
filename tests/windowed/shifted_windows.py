"""Attention in the windows of a grid, which is shifted in every other block, as Swin has it."""

import torch
from global_networks import WIDTH, Function
from torch import nn
from torch.nn import functional as F

HEADS = 2


def partitioned(x, window):
    """(N, H, W, C) to (N * windows, tokens, C)."""
    count, height, width, channels = x.shape
    x = x.view(count, height // window, window, width // window, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window, channels)


def merged(tokens, window, height, width):
    """(N * windows, tokens, C) to (N, H, W, C)."""
    x = tokens.view(-1, height // window, width // window, window, window, tokens.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, tokens.shape[-1])


def mask_of(height, width, window, shift, device=None):
    """-100 where tokens of a window were no neighbors before the shift, (windows, tokens, tokens)."""
    regions = torch.zeros((height, width), device=device)
    parts = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    for index, (rows, cols) in enumerate((rows, cols) for rows in parts for cols in parts):
        regions[rows, cols] = index
    regions = regions.view(height // window, window, width // window, window).permute(0, 2, 1, 3)
    regions = regions.reshape(-1, window * window)
    different = regions[:, None] != regions[:, :, None]
    return torch.zeros(different.shape, device=device).masked_fill(different, -100.0)


class WindowAttention(nn.Module):
    """Of (N * windows, tokens, C), with a bias for every pair of positions.

    `form` is how it is written: as products, as sums, or as one operation, whose mask may be repeated for all images.
    """

    def __init__(self, window, form):
        super().__init__()
        self.packed, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.form = form
        generator = torch.Generator().manual_seed(4)
        self.bias = nn.Parameter(torch.randn(HEADS, window**2, window**2, generator=generator))

    def forward(self, x, mask):
        count, length, channels = x.shape
        packed = self.packed(x).reshape(count, length, 3, HEADS, channels // HEADS).permute(2, 0, 3, 1, 4)
        query, key, value = packed[0] * 0.5, packed[1], packed[2]
        if self.form in ("one operation", "expanded mask"):
            bias = self.bias if mask is None else self.bias + mask[:, None]
            if self.form == "expanded mask":
                bias = mask[None].expand(count // len(mask), -1, -1, -1).reshape(-1, 1, length, length) + self.bias
            if mask is None or self.form == "expanded mask":
                found = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
            else:
                apart = (each.reshape(-1, len(mask), *each.shape[1:]) for each in (query, key, value))
                found = F.scaled_dot_product_attention(*apart, attn_mask=bias, scale=1.0).flatten(0, 1)
        else:
            if self.form == "sums":
                scores = torch.einsum("bhid,bhjd->bhij", query, key)
            else:
                scores = query @ key.transpose(-2, -1)
            scores = scores + self.bias.unsqueeze(0)
            if mask is not None:
                scores = scores.view(-1, len(mask), HEADS, length, length) + mask.unsqueeze(1).unsqueeze(0)
                scores = scores.view(-1, HEADS, length, length)
            found = scores.softmax(-1) @ value
        return self.project(found.transpose(1, 2).reshape(count, length, channels))


class Block(nn.Module):
    """Of (N, H, W, C), padded where the windows do not fill the map."""

    def __init__(self, window, shift, form):
        super().__init__()
        self.window, self.shift = window, shift
        self.norm, self.attention = nn.LayerNorm(WIDTH), WindowAttention(window, form)
        self.perceptron = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, WIDTH))

    def forward(self, x):
        height, width = x.shape[1:3]
        padded = F.pad(self.norm(x), (0, 0, 0, -width % self.window, 0, -height % self.window))
        rows, cols = padded.shape[1:3]
        mask = None
        if self.shift:
            padded = torch.roll(padded, (-self.shift, -self.shift), dims=(1, 2))
            mask = mask_of(rows, cols, self.window, self.shift)
        seen = merged(self.attention(partitioned(padded, self.window), mask), self.window, rows, cols)
        if self.shift:
            seen = torch.roll(seen, (self.shift, self.shift), dims=(1, 2))
        x = x + seen[:, :height, :width]
        return x + self.perceptron(x)


class Merging(nn.Module):
    """Blocks of 2 x 2 positions to one, (N, H, W, C)."""

    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        parts = [x[:, row::2, col::2] for col in (0, 1) for row in (0, 1)]
        return self.linear(self.norm(torch.cat(parts, -1)))


class ShiftedWindows(nn.Module):
    """Blocks on maps."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


# Networks on (N, WIDTH, 24, 28).
SHIFTED_WINDOWS = {
    "windows": lambda: ShiftedWindows(Block(4, 0, "products")),
    "shifted": lambda: ShiftedWindows(Block(4, 2, "products")),
    "both, padded": lambda: ShiftedWindows(Block(3, 0, "products"), Block(3, 1, "products")),
    "one operation": lambda: ShiftedWindows(Block(4, 0, "one operation")),
    "one operation, shifted": lambda: ShiftedWindows(Block(4, 2, "one operation")),
    "one operation, mask for all": lambda: ShiftedWindows(Block(4, 2, "expanded mask")),
    "sums": lambda: ShiftedWindows(Block(4, 2, "sums")),
    "merged": lambda: ShiftedWindows(Block(4, 2, "products"), Merging(), Block(2, 1, "products")),
}


# Of (N, H, W, C), exact in windows that are no estimates too.
CHANNELS_LAST = {
    "merging": Merging,
    "rolled": lambda: Function(lambda x: torch.roll(x, (3, -5), dims=(1, 2)).tanh()),
    "rolled columns": lambda: Function(lambda x: torch.roll(x, 2, dims=-2).tanh()),
    "flipped": lambda: Function(lambda x: x.flip(2).tanh()),
    "padded": lambda: Function(lambda x: F.pad(x, (0, 0, 1, 2, 3, 0), value=0.5).tanh()),
    "cropped": lambda: Function(lambda x: F.pad(x, (0, 0, -1, 2, 0, -3)).tanh()),
    "sliced": lambda: Function(lambda x: x[:, 2:-1, 1::3].tanh()),
    "joined": lambda: Function(lambda x: torch.cat([x.tanh(), x, x.relu()], -1)),
}


def _attended(tokens):
    return F.scaled_dot_product_attention(tokens, tokens, tokens)


class _Otherwise(nn.Module):
    """Windows of 4 x 4, (N, rows of windows, rows, columns of windows, columns, C), in an order of their own."""

    def __init__(self, order, attend, dims):
        super().__init__()
        self.order, self.attend, self.dims = order, attend, dims

    def forward(self, x):
        blocks = x.permute(0, 2, 3, 1).view(-1, 6, 4, 7, 4, WIDTH).permute(self.order)
        seen = self.attend(blocks.reshape(-1, *self.dims, WIDTH)).reshape(blocks.shape)
        back = [self.order.index(dim) for dim in range(6)]
        return seen.permute(back).reshape(-1, 24, 28, WIDTH).permute(0, 3, 1, 2)


# What is taken for unchanged.
NOT_FOLLOWED = {
    "of a place in all windows": lambda: _Otherwise((0, 2, 4, 1, 3, 5), _attended, (42,)),
    "of rows of windows": lambda: _Otherwise((0, 1, 2, 4, 3, 5), _attended, (7,)),
    "columns of windows first": lambda: _Otherwise((0, 3, 1, 2, 4, 5), _attended, (16,)),
    "columns of tokens first": lambda: _Otherwise((0, 1, 3, 4, 2, 5), _attended, (16,)),
    "values of other windows": lambda: _Otherwise(
        (0, 1, 3, 2, 4, 5), lambda x: F.scaled_dot_product_attention(x, x, x.roll(1, 1)), (42, 16)
    ),
    "keys of other windows": lambda: _Otherwise(
        (0, 1, 3, 2, 4, 5), lambda x: (x @ x.flip(1).transpose(-2, -1)).softmax(-1) @ x, (42, 16)
    ),
    "means": lambda: _Otherwise((0, 1, 3, 2, 4, 5), lambda x: x.mean(1, keepdim=True).expand(x.shape), (16,)),
    "a bias for each place": lambda: _Otherwise(
        (0, 1, 3, 2, 4, 5), lambda x: x * torch.linspace(0, 1, 42)[:, None, None], (42, 16)
    ),
}
