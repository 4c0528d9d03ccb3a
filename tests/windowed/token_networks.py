"""Transformers whose tokens are more than the positions of a map, or whose attention is written in other ways."""

import torch
from global_networks import WIDTH
from torch import nn
from torch.nn import functional as F

HEIGHT, BREADTH = 6, 7
POSITIONS = HEIGHT * BREADTH


def _parameter(*sizes, seed=0):
    return nn.Parameter(torch.randn(sizes, generator=torch.Generator().manual_seed(seed)))


class TokenNetwork(nn.Module):
    """Layers on tokens, with what makes them and what takes the map from them.

    Attributes
    ----------
    extra : list of int
        Which tokens are no positions.
    dim : int
        Which dimension tokens are.
    """

    extra = ()
    dim = 1

    def __init__(self, layer, count=2):
        super().__init__()
        self.layers = nn.ModuleList(layer() for _ in range(count))
        self.position = _parameter(1, POSITIONS, WIDTH)

    def enter(self, x):
        return x.flatten(2).transpose(1, 2) + self.position

    def leave(self, tokens, x):
        return tokens.transpose(1, 2).reshape(x.shape)

    def forward(self, x):
        tokens = self.enter(x)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.leave(tokens, x)


class _ClassToken(TokenNetwork):
    """In front, with an embedding of its own, as a ViT has it."""

    extra = (0,)

    def __init__(self, layer):
        super().__init__(layer)
        self.token, self.position = _parameter(1, 1, WIDTH, seed=1), _parameter(1, POSITIONS + 1, WIDTH)

    def enter(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], 1) + self.position

    def leave(self, tokens, x):
        return super().leave(tokens[:, 1:], x)


class _Repeated(_ClassToken):
    """A token that is repeated, with another behind; positions are embedded before."""

    extra = (0, POSITIONS + 1)

    def enter(self, x):
        tokens = x.flatten(2).transpose(1, 2) + self.position[:, 1:]
        token = (self.token + self.position[:, :1]).repeat(x.shape[0], 1, 1)
        return torch.cat([token, tokens, 0.5 * token], 1)

    def leave(self, tokens, x):
        return super().leave(tokens[:, :-1], x)


class _Registers(_ClassToken):
    """Between class token and positions, as DINO has them."""

    extra = (0, 1, 2, 3, 4)

    def __init__(self, layer):
        super().__init__(layer)
        self.registers, self.norm = _parameter(1, 4, WIDTH, seed=2), nn.LayerNorm(WIDTH)

    def enter(self, x):
        tokens = super().enter(x)
        return torch.cat([tokens[:, :1], self.registers.expand(x.shape[0], -1, -1), tokens[:, 1:]], 1)

    def leave(self, tokens, x):
        tokens = self.norm(tokens)[:, 5:]
        return tokens.reshape(x.shape[0], HEIGHT, BREADTH, -1).permute(0, 3, 1, 2)


class _TokensFirst(_ClassToken):
    dim = 0

    def enter(self, x):
        tokens = torch.cat([self.token.expand(1, x.shape[0], -1), x.flatten(2).permute(2, 0, 1)])
        return tokens + self.position.transpose(0, 1)

    def leave(self, tokens, x):
        return tokens.split([1, POSITIONS])[1].permute(1, 2, 0).reshape(x.shape)


class _Readout(_ClassToken):
    """Class tokens joined to positions."""

    def __init__(self, layer, join):
        super().__init__(layer)
        self.join = join

    def leave(self, tokens, x):
        return TokenNetwork.leave(self, self.join(tokens[:, 1:], tokens), x)


class _Packed(nn.Module):
    """Queries, keys and values from one layer, and a perceptron."""

    def __init__(self, attend, heads=2, first=0):
        super().__init__()
        self.packed, self.norm = nn.Linear(WIDTH, 3 * WIDTH), nn.LayerNorm(WIDTH)
        self.perceptron = nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, WIDTH))
        self.attend, self.heads, self.first = attend, heads, first

    def forward(self, tokens):
        count, length, width = tokens.shape
        packed = self.packed(self.norm(tokens)).reshape(count, length, 3, self.heads, width // self.heads)
        seen = self.attend(*packed.permute(2, 0, 3, 1, 4)).transpose(1, 2).reshape(count, length, width)
        return tokens + self.perceptron(tokens + seen)


def _encoder_layer(**settings):
    return lambda: nn.TransformerEncoderLayer(WIDTH, 2, 16, **settings)


def _products(change, *constants):
    """Attention of (N, heads, tokens, channels), written out, with scores that a function changes."""
    return lambda query, key, value: change(query @ key.transpose(-2, -1), *constants).softmax(-1) @ value


def _packed(attend):
    return lambda: _Packed(attend)


def _bias(*sizes, length=POSITIONS):
    return 2 * torch.randn((*sizes, length, length), generator=torch.Generator().manual_seed(3))


_MASK = _bias() > -2
_RELATIVE = torch.arange(HEIGHT).repeat_interleave(BREADTH) - torch.arange(HEIGHT).repeat_interleave(BREADTH)[:, None]


class _RelativePositions(nn.Module):
    """A table with a bias for every distance between rows, looked up as Swin and BEiT do."""

    def __init__(self):
        super().__init__()
        self.table = _parameter(2 * HEIGHT - 1, 2)
        self.register_buffer("index", _RELATIVE + HEIGHT - 1)
        self.layer = _Packed(_products(lambda scores: scores * 0.5 + self.bias()))

    def bias(self):
        found = self.table[self.index.view(-1)].view(POSITIONS, POSITIONS, 2)
        return found.permute(2, 0, 1).contiguous().unsqueeze(0)

    def forward(self, tokens):
        return self.layer(tokens)


class _Masked(nn.Module):
    def __init__(self, mask, **settings):
        super().__init__()
        self.layer, self.mask = nn.MultiheadAttention(WIDTH, 2, batch_first=True), mask
        self.settings = settings

    def forward(self, tokens):
        return tokens + self.layer(tokens, tokens, tokens, attn_mask=self.mask, **self.settings)[0]


def _rotated(values):
    """Pairs of channels turned by an angle for every position."""
    angles = torch.linspace(0, 3, POSITIONS)[:, None] * torch.tensor([1.0, 0.3])
    first, second = values.chunk(2, -1)
    return torch.cat([values, values], -1)[..., :4] * angles.cos().repeat(1, 2) + torch.cat(
        [-second, first], -1
    ) * angles.sin().repeat(1, 2)


def _sdpa(**settings):
    return lambda query, key, value: F.scaled_dot_product_attention(query, key, value, **settings)


def _ordered(values, before, after):
    return values.permute([before.index(dim) for dim in after])


def _sums(scores, seen):
    """Attention of (N, heads, tokens, channels), whose dimensions the sums have in orders of their own."""
    (query_order, key_order), (_, value_order) = (sums.partition("->")[0].split(",") for sums in (scores, seen))

    def attend(query, key, value):
        query, key = _ordered(query, "bhid", query_order), _ordered(key, "bhjd", key_order)
        weights = torch.einsum(scores, query, key).mul(0.5).softmax(-1)
        found = torch.einsum(seen, weights, _ordered(value, "bhjd", value_order))
        return _ordered(found, seen.partition("->")[2], "bhid")

    return attend


def _swapped_sum(query, key, value):
    return torch.einsum("bhjd,bhij->bhdi", value, torch.einsum("bhjd,bhid->bhij", key, query).softmax(-1)).transpose(
        2, 3
    )


def _any_dimensions(query, key, value):
    return torch.einsum("...ij,...jd->...id", torch.einsum("...id, ...jd -> ...ij", query, key).softmax(-1), value)


# Networks on (N, WIDTH, HEIGHT, BREADTH).
TOKENS = {
    "class token": lambda: _ClassToken(_encoder_layer(batch_first=True)),
    "class token, packed": lambda: _ClassToken(_packed(_sdpa())),
    "class token, products": lambda: _ClassToken(_packed(_products(lambda scores: scores / 2))),
    "class token, sums": lambda: _ClassToken(_packed(_sums("bhid,bhjd->bhij", "bhij,bhjd->bhid"))),
    "class token, bias": lambda: _ClassToken(_packed(_sdpa(attn_mask=_bias(1, 2, length=POSITIONS + 1)))),
    "tokens before and behind": lambda: _Repeated(_encoder_layer(batch_first=True, norm_first=True)),
    "registers": lambda: _Registers(_packed(_sdpa())),
    "registers, biased": lambda: _Registers(
        _packed(_products(lambda scores, bias: scores + bias, _bias(2, length=POSITIONS + 5)))
    ),
    "tokens first": lambda: _TokensFirst(_encoder_layer()),
    "class token added": lambda: _Readout(_packed(_sdpa()), lambda x, tokens: (x + tokens[:, :1]).tanh()),
    "class token as a gate": lambda: _Readout(_packed(_sdpa()), lambda x, tokens: tokens[:, 0].tanh()[:, None] * x),
    "class token everywhere": lambda: _Readout(_packed(_sdpa()), lambda x, tokens: tokens[:, 0, None].expand(x.shape)),
    "sums": lambda: TokenNetwork(_packed(_sums("bhid,bhjd->bhij", "bhij,bhjd->bhid"))),
    "sums, heads behind": lambda: TokenNetwork(_packed(_sums("bihd,bjhd->bhij", "bhij,bjhd->bihd"))),
    "sums, other orders": lambda: TokenNetwork(_packed(_sums("hbid,hdbj->bhij", "bhij,jhbd->dhbi"))),
    "sums, any dimensions": lambda: TokenNetwork(_packed(_any_dimensions)),
    "sums, swapped": lambda: TokenNetwork(_packed(_swapped_sum)),
    "bias": lambda: TokenNetwork(_packed(_products(lambda scores, bias: scores + bias, _bias()))),
    "bias for each head": lambda: TokenNetwork(_packed(_products(lambda scores, bias: scores / 2 + bias, _bias(1, 2)))),
    "bias, scaled": lambda: TokenNetwork(
        _packed(_products(lambda scores, bias: (scores + bias) * 0.3 + bias[:1], _bias(2)))
    ),
    "bias for each key": lambda: TokenNetwork(_packed(_products(lambda scores, bias: scores + bias, _bias(2)[:, :1]))),
    "bias added in place": lambda: TokenNetwork(_packed(_products(lambda scores, bias: scores.add_(bias), _bias()))),
    "excluded": lambda: TokenNetwork(_packed(_products(lambda s: s.masked_fill(~_MASK, -torch.inf)))),
    "scaled by a tensor": lambda: TokenNetwork(_packed(_products(lambda scores: scores / torch.tensor(4.0).sqrt()))),
    "attention mask": lambda: TokenNetwork(_packed(_sdpa(attn_mask=_bias(2), scale=0.7))),
    "attention mask of truth values": lambda: TokenNetwork(_packed(_sdpa(attn_mask=_MASK))),
    "relative positions": lambda: TokenNetwork(_RelativePositions),
    "multihead, mask": lambda: TokenNetwork(lambda: _Masked(_bias(), need_weights=False)),
    "multihead, mask, weights": lambda: TokenNetwork(lambda: _Masked(_bias())),
    "multihead, mask of truth values": lambda: TokenNetwork(lambda: _Masked(~_MASK, need_weights=False)),
    "rotary": lambda: TokenNetwork(_packed(lambda q, k, v: _sdpa()(_rotated(q), _rotated(k), v))),
}


class _Leaving(TokenNetwork):
    """Tokens as a function makes them, of which another makes the map."""

    def __init__(self, enter, leave):
        super().__init__(_packed(_sdpa()), 1)
        self.functions = enter, leave

    def enter(self, x):
        return self.functions[0](super().enter(x))

    def leave(self, tokens, x):
        return super().leave(self.functions[1](tokens), x)


def _in_front(tokens):
    return torch.cat([torch.ones(1, 1, WIDTH).expand(tokens.shape[0], -1, -1), tokens], 1)


# What is taken for unchanged: where positions would be taken for others.
NOT_FOLLOWED = {
    "the last position dropped": lambda: _Leaving(_in_front, lambda tokens: tokens[:, :-1]),
    "the first position replaced": lambda: _Leaving(lambda tokens: _in_front(tokens[:, 1:]), lambda tokens: tokens),
    "every other token": lambda: _Leaving(lambda tokens: torch.cat([tokens, tokens], 1), lambda tokens: tokens[:, ::2]),
    "another order": lambda: _Leaving(_in_front, lambda tokens: tokens.flip(1)[:, 1:]),
    "rolled": lambda: _Leaving(_in_front, lambda tokens: tokens.roll(1, 1)[:, 1:]),
    "half of each": lambda: _Leaving(lambda tokens: torch.cat([tokens, tokens], 1), lambda tokens: tokens[:, 21:63]),
}


def _tokens(x):
    return x.flatten(2).transpose(1, 2)


def _map(tokens, x):
    return tokens.transpose(1, 2).reshape(x.shape)


# What makes tokens, what is added to them, and what makes the map: the second is taken for unchanged.
PARTLY_FOLLOWED = {
    "neighbors": (_tokens, lambda tokens: tokens.roll(1, 1).tanh(), _map),
    "sorted": (_tokens, lambda tokens: tokens.sort(1).values, _map),
    "with a token": (
        lambda x: _in_front(_tokens(x)), lambda tokens: tokens.roll(1, 1), lambda tokens, x: _map(tokens[:, 1:], x),
    ),
    "tokens first": (
        lambda x: x.flatten(2).permute(2, 0, 1), lambda tokens: tokens.cumsum(0),
        lambda tokens, x: tokens.permute(1, 2, 0).reshape(x.shape),
    ),
}  # fmt: skip
