"""Networks that do more than compute: some can be traced all the same, some cannot."""

import warnings
from functools import partial

import numpy as np
import torch
from torch import nn


class Computes(nn.Module):
    """Whatever `function` does with the module and the images."""

    def __init__(self, function):
        super().__init__()
        self.convolution = nn.Conv2d(2, 4, 3, padding=1)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


class Shadowing(nn.Module):
    """Has attributes by the names of methods of `nn.Module`, as published networks do."""

    def __init__(self, names):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4))
        nn.Module.train(self, mode=False)
        for name in names:
            setattr(self, name, [name])

    def forward(self, x):
        return self.inner(x)


SHADOWED = [
    "modules", "named_modules", "children", "named_children", "parameters", "named_parameters", "buffers",
    "named_buffers", "train", "eval", "apply", "to", "state_dict", "get_submodule", "requires_grad_",
    "register_forward_hook", "register_forward_pre_hook",
]  # fmt: skip


def _stash(self, x):
    self.last = self.convolution(x)
    return self.last + 1


def stashed():
    model = Computes(_stash)
    model(torch.ones(1, 2, 8, 8))
    return model


def _register(self, x):
    self.register_buffer("seen", x.new_zeros(3))
    return self.convolution(x)


def _in_half_precision(self, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return self.convolution(x).float()


def _swish(x):
    return x * 0.5 * (1.0 + torch.tanh(x))


# TorchScript is deprecated, and still in use.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    scripted = torch.jit.script(_swish)
    scripted_layer = torch.jit.trace(nn.Conv2d(2, 2, 3), torch.ones(1, 2, 8, 8))


def of_inference_mode():
    with torch.inference_mode():
        return nn.Conv2d(2, 4, 3)


class Tokens(nn.Module):
    """A layer that has a fused kernel for inference, on pixels as tokens."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(2, 1, 8, batch_first=True)

    def forward(self, x):
        return self.layer(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)


def _hidden():
    inner = nn.Conv2d(2, 4, 1)
    return Computes(lambda self, x: inner(x))


def _fill_a_constant(self, x):
    return x * torch.tensor([2.0, 3]).add_(1).view(2, 1, 1)


def _write_through_the_batch(self, x):
    out = self.convolution(x)
    out.view(4 * x.shape[0], -1)[1:].mul_(2)
    return out


# How many images there are, as a plain integer or not: the convolution has 4 channels.
COUNTING = {
    "len": lambda self, x: self.convolution(x) * len(x),
    "len in a shape": lambda self, x: self.convolution(x).reshape(len(x), -1).reshape(len(x), 4, *x.shape[2:]) + 1,
    "len in a view": lambda self, x: self.convolution(x).view(len(x), 2, 2, *x.shape[2:]).sum(2),
    "len in place": lambda self, x: self.convolution(x).add_(torch.ones(len(x), 1, 1, 1)),
    "zeros for len": lambda self, x: torch.cat([self.convolution(x), torch.zeros(len(x), 1, *x.shape[2:])], 1),
    "one image more than len": lambda self, x: torch.ones(len(x) + 1, *x.shape[1:])[: len(x)] + x,
    "twice len": lambda self, x: (
        torch.ones(2 * len(x), 2, *x.shape[2:]).view(len(x), 4, *x.shape[2:]) + self.convolution(x)
    ),
    "filled for len": lambda self, x: self.convolution(x) + torch.full((len(x), 1, 1, 1), 3.0),
    "an integer of the batch": lambda self, x: self.convolution(x) * int(x.shape[0]),
    "size() of the batch": lambda self, x: self.convolution(x).view(x.size()[0], 4, -1).view(-1, 4, *x.shape[2:]),
    "numel": lambda self, x: (
        self.convolution(x).view(x.numel() // x[0].numel(), 4, -1).mean(2)[..., None, None] * x[:, :1]
    ),
    "a range over len": lambda self, x: self.convolution(x) * (2 + torch.arange(len(x))).view(-1, 1, 1, 1),
    "a square of the batch": lambda self, x: self.convolution(x) * x.shape[0] ** 2,
    "a cube of the batch": lambda self, x: self.convolution(x) + x.shape[0] ** 3,
    "pairs of the batch": lambda self, x: self.convolution(x) * (x.shape[0] * (x.shape[0] + 1) // 2),
    "a constant like the batch": lambda self, x: self.convolution(x).view(len(x), 2, 2, *x.shape[2:]).sum(1) * 1021 + 2,
}
TRACEABLE = {
    "stashes what it computes": lambda: Computes(_stash),
    "stashed before, with gradients": stashed,
    "registers a buffer": lambda: Computes(_register),
    "autocast": lambda: Computes(_in_half_precision),
    "a scripted function": lambda: Computes(lambda self, x: scripted(self.convolution(x))),
    "weights of inference mode": of_inference_mode,
    "a module that it does not hold": _hidden,
    "a layer with a fused kernel": Tokens,
    "numbers of the batch": lambda: Computes(lambda self, x: self.convolution(x) / x.shape[0] * (2 * x.shape[0] + 1)),
    "a quotient of the batch": lambda: Computes(lambda self, x: self.convolution(x) * (x.shape[0] // 2)),
    "a remainder of the batch": lambda: Computes(lambda self, x: self.convolution(x) * (x.shape[0] % 5 + 1)),
    "a number of one image": lambda: Computes(lambda self, x: self.convolution(x) * len(x[0])),
    "numbers of the batch, to one in another way": lambda: Computes(
        lambda self, x: x.new_full((x.shape[0], 1, 1, 1), 1 / x.shape[0]) * self.convolution(x)
    ),
    "a view of the batch, written to": lambda: Computes(_write_through_the_batch),
    "a range over the batch": lambda: Computes(
        lambda self, x: self.convolution(x) * torch.arange(x.shape[0]).view(-1, 1, 1, 1)
    ),
    "numbers in a tensor": lambda: Computes(lambda self, x: x * torch.tensor([2.0, 3]).view(2, 1, 1)),
    "numbers in a tensor, written to": lambda: Computes(_fill_a_constant),
    "an integer of a constant": lambda: Computes(lambda self, x: self.convolution(x) * torch.tensor(3).item()),
    **{name: partial(Computes, function) for name, function in COUNTING.items()},
    "nothing": nn.Identity,
    "values chosen by a mask": lambda: Computes(lambda self, x: self.convolution(x) * x[x > 0.5].sum()),
}


@torch.library.custom_op("hdm_widgets_tests::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@twice.register_fake
def _(x):
    raise TypeError("not without values")


def _set_data(self, x):
    out = self.convolution(x)
    out.data = out.data * 2
    return out + 1


def _noise_that_is_caught(self, x):
    try:
        return x + torch.randn(1)
    except Exception:  # noqa: BLE001 - as careless networks do
        return x


def _array_that_is_caught(self, x):
    try:
        return x * x.numpy().mean()
    except Exception:  # noqa: BLE001 - as above
        return x


def _raise(self, x):
    raise KeyError("no")


# The network, and the whole reason.
REFUSED = {
    "NumPy": (lambda self, x: x * float(x.numpy().mean()), "it cannot be traced: it computes with NumPy"),
    "an array": (lambda self, x: x * np.asarray(x).mean(), "it cannot be traced: it computes with NumPy"),
    "an array that is caught": (_array_that_is_caught, "it cannot be traced: it computes with NumPy"),
    "control flow": (
        lambda self, x: x if self.convolution(x).mean() > 0 else 2 * x,
        "it cannot be traced: what it does depends on the values it computes",
    ),
    "an item": (lambda self, x: x * x.mean().item(), "it takes a number from the values that it computes"),
    "noise": (
        lambda self, x: x + torch.randn_like(self.convolution(x)[:, :2]),
        "it draws random numbers in randn_like",
    ),
    "noise in place": (lambda self, x: x.clone().normal_(), "it draws random numbers in normal_"),
    "noise that is caught": (_noise_that_is_caught, "it draws random numbers in randn"),
    "data that is set": (_set_data, "it cannot be traced: it sets the data of a tensor"),
    "resized": (lambda self, x: x.clone().resize_(2), "it cannot be traced: it writes in place with resize_"),
    "a given output": (
        lambda self, x: torch.add(x, 1, out=torch.empty_like(x)),
        "it cannot be traced: it lets add write into a tensor",
    ),
    "an error": (_raise, "it cannot be traced: it raises KeyError: 'no'"),
    "an operation that needs values": (
        lambda self, x: twice(self.convolution(x)),
        "it cannot be traced: twice raises TypeError: not without values",
    ),
    "no output": (lambda self, x: None, "it gives 0 outputs"),
    "two outputs": (lambda self, x: (x, self.convolution(x)), "it gives 2 outputs"),
    "two images": (lambda self, x: x * (2 if x.shape[0] == 2 else 3), "it works on a fixed number of images at a time"),
}
# More than a line of how many images there are, as a plain integer, and loops.
FIXED = {
    "a square of len": lambda self, x: x * len(x) ** 2,
    "a cube of an integer": lambda self, x: x * int(x.shape[0]) ** 3,
    "pairs of len": lambda self, x: x * (len(x) * (len(x) - 1) // 2),
    "a quotient of len": lambda self, x: x * (len(x) // 2),
    "a part of len": lambda self, x: x * (1 / len(x)),
    "at most len": lambda self, x: x * min(len(x), 3),
    "two of len": lambda self, x: x * (2 if len(x) == 2 else 3),
    "more than len": lambda self, x: self.convolution(x) if len(x) > 4 else x,
    "len in a tensor": lambda self, x: x * torch.tensor(len(x)),
    "a loop over len": lambda self, x: torch.cat([self.convolution(x[at : at + 1]) for at in range(len(x))]),
    "a loop over the batch": lambda self, x: torch.cat([self.convolution(x[at : at + 1]) for at in range(x.shape[0])]),
    "a loop over images": lambda self, x: torch.stack([self.convolution(one[None])[0] for one in x]),
    "a sum in a loop": lambda self, x: x + sum(float(at) for at in range(len(x))),
}
REFUSED |= {name: (function, "it works on a fixed number of images at a time") for name, function in FIXED.items()}
