"""Outputs of models that can be read, and what a user writes for each.

`test_readable_forms.py` runs every row, and a page of the documentation shows every row (docs/readable_tables.py).
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["OUTPUTS", "SECTIONS", "Output"]

# Two images of one channel. Their values are the probabilities that most models here return.
IMAGES = torch.tensor([[[[0.1, 0.9, 0.5], [0.8, 0.2, 0.7]]], [[[0.6, 0.4, 0.0], [0.3, 1.0, 0.5]]]])
# The same in blocks, for models that change the size.
LARGE = F.interpolate(IMAGES, scale_factor=4)


@dataclass(frozen=True, eq=False)
class Output:
    """A form of a model's output.

    Attributes
    ----------
    section : str
        Of the page.
    form : str
        Markdown, for the page.
    model : callable
        (N, 1, H, W) -> the form; a Module where its layers matter.
    reading : str
        Part of `str(seg.reading)`.
    write : str
        What a user writes: `Segmenter(model, WRITE)`.
    otherwise : str
        The error or warning without that, in part; empty if there is none.
    without : str
        What is written instead of `write` to get it.
    warns : bool
        Whether `otherwise` is a warning.
    probability : callable
        Expected probabilities (N, H, W), of the images.
    images : torch.Tensor (N, 1, H, W)
    """

    section: str
    form: str
    model: Callable[[Any], Any]
    reading: str
    write: str = ""
    otherwise: str = ""
    without: str = ""
    warns: bool = False
    probability: Callable[[torch.Tensor], Any] = lambda images: images[:, 0]
    images: torch.Tensor = field(default=IMAGES, repr=False)

    @property
    def name(self) -> str:
        return f"{self.form} {self.write}"


# -- models ------------------------------------------------------------------------------------------


def one(images):
    return images[:, 0]


def three(images):
    """Probabilities of three exclusive classes; the second one has the images' values, the last one is nowhere."""
    return torch.stack([1 - images[:, 0], images[:, 0], 0 * images[:, 0]], 1)


def overlapping(images):
    """Probabilities of three classes that do not exclude each other."""
    return torch.stack([torch.full_like(images[:, 0], 0.95), images[:, 0], 1 - images[:, 0] / 2], 1)


def logits(probabilities, eps=1e-6):
    return torch.logit(probabilities, eps=eps)


def queries(images):
    """Two queries, one for each class, and their masks."""
    classes = torch.tensor([[20.0, 0.0, 0.0], [0.0, 20.0, 0.0]]).expand(len(images), 2, 3)
    masks = logits(torch.stack([1 - images[:, 0], images[:, 0]], 1))
    return SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks)


def numbers(images):
    """1 where the images are dark, 2 above one half, else 0."""
    return 2 * (images[:, 0] > 0.5).long() + (images[:, 0] < 0.3).long()


def above_half(images):
    return (images[:, 0] > 0.5).float()


def stretched(images):
    """Rounding, as by the mean of several sigmoids, leaves [0, 1]."""
    return 0.5 + (images[:, 0] - 0.5) * (1 + 4e-7)


def middle(images):
    """The center of the images, 1 px less at every side."""
    return images[:, 0, 1:-1, 1:-1]


def in_the_middle(images):
    """The images' values, and NaN where the model has no output."""
    return F.pad(middle(images), (1, 1, 1, 1), value=np.nan)


def enlarged_in_the_middle(images):
    small = F.avg_pool2d(images[..., 1:-1, 1:-1], 2)
    return F.pad(F.interpolate(small, scale_factor=2, mode="bilinear"), (1, 1, 1, 1), value=np.nan)[:, 0]


def half_in_the_middle(images):
    return F.pad(images[:, 0, 2:-2, 2:-2], (2, 2, 2, 2), value=np.nan)


def resized(images):
    """What is left of the images' values at the scale of 5 x 9 px."""
    small = F.interpolate(images, (5, 9), mode="bilinear")
    return F.interpolate(small, images.shape[-2:], mode="bilinear")[:, 0]


def halved(images):
    return F.avg_pool2d(images, 2)


def enlarged(images):
    return F.interpolate(halved(images), scale_factor=2, mode="bilinear")[:, 0]


class Unpadded(nn.Module):
    """Gives the images' values, but for the margin of one unpadded convolution."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 3, bias=False).requires_grad_(False)
        self.convolution.weight.zero_()[..., 1, 1] = 1

    def forward(self, images):
        return self.convolution(images)


class EvenSides(nn.Module):
    """Fails for sides that 8 does not divide, as networks with three poolings do."""

    def forward(self, images):
        small = F.max_pool2d(images, 8)
        return torch.cat([images, F.interpolate(small, scale_factor=8)], 1)[:, 0]


class RoundsUp(nn.Module):
    """Returns maps of sides that 8 divides."""

    def forward(self, images):
        missing = [-side % 8 for side in images.shape[-2:]]
        return F.pad(images, (0, missing[1], 0, missing[0]))


Named = namedtuple("Named", "loss maps")
SQUARE = F.interpolate(IMAGES, (3, 3))

ENTRY, LAYOUT, VALUES, NUMBERS, SIZE = SECTIONS = (
    "Which part of the output",
    "Which axis",
    "What values mean",
    "Class numbers",
    "Which part of the image",
)

OUTPUTS = [
    Output(ENTRY, "maps `(N, H, W)`, a tensor", one, "The model returns one map."),
    Output(ENTRY, "maps `(N, 1, H, W)`", lambda images: images[:, :1], "The model returns one map."),
    Output(
        ENTRY, "maps of two classes, `(N, 2, H, W)`", lambda images: torch.cat([1 - images, images], 1),
        "The model returns maps of 2 classes.",
    ),
    Output(
        ENTRY, "maps of more classes, `(N, classes, H, W)`", three, "The model returns maps of 3 classes.",
        "target=1", "the model returned 3 classes; say which one is the segment with target=",
    ),
    Output(ENTRY, "float64", lambda images: one(images).double(), "The model returns one map."),
    Output(
        ENTRY, "bfloat16", lambda images: one(images).bfloat16(), "The model returns one map.",
        probability=lambda images: one(images).bfloat16().float(),
    ),
    Output(ENTRY, "numpy arrays", lambda images: np.asarray(images)[:, 0], "The model returns one map."),
    Output(
        ENTRY, "a mapping with `\"out\"`", lambda images: {"aux": 0 * images, "out": images},
        "taken from the entry 'out'",
    ),
    Output(ENTRY, "a mapping with `\"logits\"`", lambda images: {"logits": images}, "taken from the entry 'logits'"),
    Output(
        ENTRY, "an object with `.logits`", lambda images: SimpleNamespace(logits=images),
        "taken from the attribute 'logits'",
    ),
    Output(
        ENTRY, "a mapping with other keys", lambda images: {"seg": images, "loss": 0.1}, "taken from the entry 'seg'",
        'output="seg"', "a mapping without 'out' or 'logits'; it has ['loss', 'seg']",
    ),
    Output(
        ENTRY, "an object with other attributes", lambda images: SimpleNamespace(seg=images),
        "taken from the attribute 'seg'", 'output="seg"', "it has the attributes seg; say which one has the maps",
    ),
    Output(
        ENTRY, "a tuple with a loss", lambda images: (torch.tensor(0.1), one(images)), "taken from entry 1 of 2",
    ),
    Output(ENTRY, "a named tuple", lambda images: Named(0.1, one(images)), "taken from entry 1 of 2"),
    Output(
        ENTRY, "a tuple in which something else has the maps", lambda images: ({"out": images}, 7),
        "taken from the entry 'out' of entry 0",
    ),
    Output(
        ENTRY, "a list of maps of several sizes with equal masks: the largest",
        lambda images: [0 * images[..., :1, :1], images], "taken from entry 1 of 2", images=IMAGES * 0.4,
    ),
    Output(
        ENTRY, "a list of maps of several sizes, or numbers of channels, with different masks",
        lambda images: [halved(images), 1 - images], "taken from entry 0", "output=0",
        "2 maps of several sizes that differ ((1, 1, 4, 6), (1, 1, 8, 12)); entry 1 is taken", warns=True,
        images=LARGE, probability=enlarged,
    ),
    Output(
        ENTRY, "a list of maps of one size with equal masks", lambda images: [images, images + 0],
        "taken from entry 0 of 2",
    ),
    Output(
        ENTRY, "a list of maps of one size with different masks (deep supervision)",
        lambda images: [0 * images, images], "taken from entry -1", "output=-1",
        "2 maps of one size that differ ((1, 1, 2, 3), (1, 1, 2, 3)); entry 0 is taken", warns=True,
    ),
    Output(
        ENTRY, "a list of objects", lambda images: [SimpleNamespace(seg=images), SimpleNamespace()],
        "taken from the given function", "output=lambda given: given[0].seg",
        "a list of 2 SimpleNamespace objects; wrap it in a function",
    ),
    Output(
        ENTRY, "several maps for each image, `(N, several, classes, H, W)`",
        lambda images: torch.stack([images, 0 * images], 1), "taken from the given function",
        "output=lambda maps: maps[:, 0]",
        "of several maps for each image take one, with output=lambda maps: maps[:, 0]",
    ),
    Output(
        ENTRY, "classes and masks of queries (Mask2Former, MaskFormer, EoMT)", queries,
        "taken from classes and masks of queries, combined", "target=1",
    ),
    Output(
        LAYOUT, "channels last, `(N, H, W, classes)`", lambda images: three(images).permute(0, 2, 3, 1),
        "The model returns maps of 3 classes, channels last.", "target=1",
    ),
    Output(
        LAYOUT, "an axis that cannot be told: three classes for 3 x 3 px",
        lambda images: three(images).permute(0, 2, 3, 1), "The model returns maps of 3 classes, channels last.",
        'target=1, layout="channels_last"', "may have classes first or last", without="target=1", images=SQUARE,
    ),
    Output(
        LAYOUT, "the same of smaller maps: three classes for 3 x 3 px of 6 x 6",
        lambda images: three(halved(images)).permute(0, 2, 3, 1), "Maps of 3 x 3 px are resized",
        'target=1, layout="channels_last"', "may have classes first or last", without="target=1",
        images=F.interpolate(IMAGES, (6, 6)), probability=enlarged,
    ),
    Output(
        VALUES, "probabilities: within [0, 1]", one,
        "Values are probabilities; the threshold of 0.5 decides.",
    ),
    Output(
        VALUES, "probabilities that rounding or resampling moved out of [0, 1], by a thousandth of their range",
        stretched, "Values are probabilities; the threshold of 0.5 decides.", images=IMAGES[1:],
    ),
    Output(
        VALUES, "logits of one class", lambda images: logits(one(images)),
        "Values are logits, and the sigmoid makes them probabilities; the threshold of 0.5 decides.",
    ),
    Output(
        VALUES, "logits within [0, 1], which look like probabilities", one,
        "Values are logits, and the sigmoid makes them probabilities; the threshold of 0.5 decides.",
        'activation="sigmoid"',
        probability=lambda images: one(images).sigmoid(),
    ),
    Output(
        VALUES, "probabilities of exclusive classes", three,
        "Values are probabilities; the class with the largest value wins. Class 1 of 3 (from 0) is the segment.",
        "target=1",
    ),
    Output(
        VALUES, "logits of exclusive classes", lambda images: three(images).clamp(1e-6).log(),
        "Values are logits, and the softmax makes them probabilities; the class with the largest value wins.",
        "target=1",
    ),
    Output(
        VALUES, "probabilities of independent classes", overlapping,
        "Values are probabilities; the threshold of 0.5 decides for each class by itself.",
        'target=1, classes="independent"', "the probabilities of 3 classes do not add up to 1", "target=1", warns=True,
    ),
    Output(
        VALUES, "logits of independent classes", lambda images: logits(overlapping(images)),
        "Values are logits, and the sigmoid makes them probabilities; the threshold of 0.5 decides for each class by "
        "itself. Class 1 of 3 (from 0) is the segment.",
        'target=1, classes="independent"',
    ),
    Output(
        VALUES, "classes with a threshold of their own", overlapping,
        "the threshold of 0.65 decides for each class by itself.",
        'target=1, threshold=0.65, classes="independent"', "threshold=0.65 has no effect on 3 exclusive classes",
        "target=1, threshold=0.65",
    ),
    Output(
        VALUES, "gray levels, 0 to 255", lambda images: 255 * one(images), "taken from the given function",
        "output=lambda maps: maps / 255", "values from 0 to 255, neither probabilities nor logits",
        images=IMAGES[1:],
    ),
    Output(
        VALUES, "values with a threshold of their own", lambda images: 255 * one(images),
        "Values are used as they are; the threshold of 127.5 decides.", 'activation="none", threshold=127.5',
        "threshold=127.5 is outside (0, 1)", "threshold=127.5", probability=lambda images: 255 * one(images),
    ),
    Output(
        NUMBERS, "integers, with one number besides 0", lambda images: 7 * (one(images) > 0.5).long(),
        "A pixel belongs to the segment if its number is not 0.", probability=above_half,
    ),
    Output(
        NUMBERS, "integers, with several numbers besides 0", numbers,
        "A pixel belongs to the segment if its number is 2.", "target=2",
        "the model returned class numbers, among them [1, 2]; say which one", probability=above_half,
    ),
    Output(
        NUMBERS, "integers, `(N, 1, H, W)`", lambda images: numbers(images)[:, None],
        "The model returns one class number for each pixel.", "target=2", probability=above_half,
    ),
    Output(
        NUMBERS, "integers, `(N, H, W, 1)`", lambda images: numbers(images)[..., None],
        "The model returns one class number for each pixel, channels last.", "target=2", probability=above_half,
    ),
    Output(
        NUMBERS, "class numbers as floats", lambda images: numbers(images).float(),
        "The model returns one class number for each pixel", "target=2, output=lambda maps: maps.long()",
        "for class numbers return integers (output=lambda maps: maps.long())", probability=above_half,
    ),
    Output(
        NUMBERS, "bool: masks", lambda images: one(images) > 0.5,
        "Values are probabilities; the threshold of 0.5 decides.", probability=above_half,
    ),
    Output(SIZE, "maps of the image's size", one, "Maps have the image's 2 x 3 px (rows x columns)."),
    Output(
        SIZE, "smaller by a whole factor", halved,
        "Maps of 4 x 6 px are resized to the image's 8 x 12 px (rows x columns).", images=LARGE, probability=enlarged,
    ),
    Output(
        SIZE, "the center of the image, from a network whose convolutions are not padded", Unpadded(),
        "Maps of 6 x 10 px are the center of the image's 8 x 12 px (rows x columns); pixels outside have no output and "
        "do not count.",
        images=LARGE, probability=in_the_middle,
    ),
    Output(
        SIZE, "the same at another scale", nn.Sequential(Unpadded(), nn.AvgPool2d(2)),
        "Its convolutions are not padded; maps are enlarged to 6 x 10 px; the first pixel is in row 1 and column 1.",
        images=LARGE, probability=enlarged_in_the_middle,
    ),
    Output(
        SIZE, "half of each side, from a function that cuts the margin off (it may be a resize)",
        lambda images: images[..., 2:-2, 2:-2], "Maps of 4 x 4 px are the center of the image's 8 x 8 px",
        'align="center"', "if they are the center of the image, write Segmenter(model, align='center')", warns=True,
        images=LARGE[..., :8], probability=half_in_the_middle,
    ),
    Output(
        SIZE, "the center of the image, from a function", middle,
        "Maps of 6 x 10 px are the center of the image's 8 x 12 px (rows x columns)", 'align="center"',
        "it cannot be told where they lie", images=LARGE, probability=in_the_middle,
    ),
    Output(
        SIZE, "the whole image at another scale, from a function",
        lambda images: F.interpolate(images, (5, 9), mode="bilinear"),
        "Maps of 5 x 9 px are resized to the image's 8 x 12 px (rows x columns)", 'align="resize"',
        "it cannot be told where they lie", images=LARGE, probability=resized,
    ),
    Output(
        SIZE, "an error for sides that a multiple does not divide", EvenSides(),
        "Maps have the padded image's 8 x 16 px (rows x columns).", "pad_to=8",
        "it needs sides divisible by 8: wrap it, Segmenter(model, pad_to=8)", images=LARGE,
    ),
    Output(
        SIZE, "maps larger than the image", RoundsUp(), "Maps have the padded image's 8 x 16 px (rows x columns).",
        "pad_to=8",
        "maps of 8 x 16 px for images of 8 x 12 px (rows x columns)", images=LARGE,
    ),
]  # fmt: skip
