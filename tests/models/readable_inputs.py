"""Images and ground truths that can be read, and what a user writes for each; see readable_outputs.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

__all__ = ["IMAGES", "TRUTHS", "GivenImage", "GivenTruth"]

# -- ground truths -----------------------------------------------------------------------------------

LABELS = np.zeros((6, 8), np.int64)
LABELS[1:4, 2:5], LABELS[3:6, 5:8] = 2, 1
TARGET = LABELS == 2
UNLABELED = np.zeros_like(TARGET)
UNLABELED[0] = True


def colors(labels):
    return np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)[labels]


@dataclass(frozen=True, eq=False)
class GivenTruth:
    """A form of ground truth.

    Attributes
    ----------
    form : str
        Markdown, for the page.
    truth : array
        Of `LABELS`, of which 2 is the segment.
    write : str
        What a user writes: `explain(model, image, WRITE)`.
    otherwise : str
        The error or warning for `segment=truth`, in part; empty if there is none.
    warns : bool
        Whether `otherwise` is a warning.
    ignored : numpy.ndarray of bool or None
        Expected pixels that do not count.
    """

    form: str
    truth: Any
    write: str = "segment=truth"
    otherwise: str = ""
    warns: bool = False
    ignored: Any = None

    @property
    def name(self) -> str:
        return f"{self.form} {self.write}"


TRUTHS = [
    GivenTruth("bool", TARGET),
    GivenTruth("whole numbers, 0 and one other", 255 * TARGET.astype(np.uint8)),
    GivenTruth(
        "floats 0 and 1 of any precision, also with gradients", torch.from_numpy(TARGET).bfloat16().requires_grad_()
    ),
    GivenTruth(
        "a label map", LABELS, "segment=truth == 2", "2 different values besides 0 and all of them count", warns=True
    ),
    GivenTruth(
        "a label map of floats", LABELS.astype(float), "segment=truth == 2", "floats other than 0 and 1, such as 2"
    ),
    GivenTruth(
        "probabilities, or a mask that was interpolated", 0.8 * TARGET, "segment=truth > 0.5",
        "for probabilities, or values that were interpolated or rounded, write segment > 0.5",
    ),
    GivenTruth(
        "one-hot, `(classes, H, W)`", np.eye(3, dtype=np.uint8)[LABELS].transpose(2, 0, 1),
        "segment=truth.argmax(0) == 2", "it is one-hot: segment.argmax(0) == k is the mask of class k",
    ),
    GivenTruth(
        "one-hot, `(H, W, classes)`", np.eye(3, dtype=np.uint8)[LABELS], "segment=truth.argmax(-1) == 2",
        "it is one-hot: segment.argmax(-1) == k is the mask of class k",
    ),
    GivenTruth(
        "one mask for each class, which may overlap", np.stack([TARGET | UNLABELED, LABELS == 1, TARGET]),
        "segment=truth[2]", "segment[k] is the mask of class k where classes may overlap",
    ),
    GivenTruth(
        "colors, `(H, W, 3)`", colors(LABELS), "segment=(truth == (0, 128, 0)).all(-1)",
        "if these are RGB colors, one color for a class: (segment == (red, green, blue)).all(-1)",
    ),
    GivenTruth(
        "class names", np.array(["sky", "car", "road"])[LABELS], 'segment=truth == "road"',
        "for class names, segment == 'name' is the mask of one class",
    ),
    GivenTruth("one more axis, `(1, H, W)`", TARGET[None], "segment=truth[0]", "take the mask out of its first axis"),
    GivenTruth("axes swapped, `(W, H)`", TARGET.T, "segment=truth.T", "its axes are swapped: segment.T has this size"),
    GivenTruth(
        "a PIL image", Image.fromarray(TARGET), "segment=np.asarray(truth)", "np.asarray(segment) makes an array"
    ),
    GivenTruth(
        "255 for pixels without a label", np.where(UNLABELED, 255, TARGET), "segment=truth, ignore=255",
        "if 255 marks pixels that do not count, say so: ignore=255", warns=True, ignored=UNLABELED,
    ),
    GivenTruth(
        "a label map with 255 for pixels without a label", np.where(UNLABELED, 255, LABELS),
        "segment=truth == 2, ignore=truth == 255",
        "for one class of a label map use segment == 1 with ignore=segment == 255", warns=True, ignored=UNLABELED,
    ),
    GivenTruth(
        "NaN for pixels without a label", np.where(UNLABELED, np.nan, TARGET), 'segment=truth, ignore=float("nan")',
        "if NaN marks pixels that do not count, say so: ignore=float('nan')", ignored=UNLABELED,
    ),
    GivenTruth("a bool mask of pixels that do not count", TARGET, "segment=truth, ignore=unlabeled", ignored=UNLABELED),
    GivenTruth("a numpy masked array", np.ma.MaskedArray(TARGET.astype(int), UNLABELED), ignored=UNLABELED),
]  # fmt: skip


# -- images ------------------------------------------------------------------------------------------

# Three channels of 6 x 8 px, from 0 to 1.
UNIT = np.random.default_rng(0).random((3, 6, 8), np.float32)
UNIT[:, 0, 0], UNIT[:, 0, 1] = 0, 1
MEAN, DEVIATION = np.float32([0.5, 0.4, 0.3]), np.float32([0.2, 0.25, 0.3])
STANDARDIZED = (UNIT - MEAN[:, None, None]) / DEVIATION[:, None, None]
HOUNSFIELD = (2000 * UNIT - 1000).astype(np.int16)
NO_DATA = np.where(UNLABELED, np.nan, UNIT).astype(np.float32)


def channel_minimum(values):
    return values.reshape(3, -1).min(1)


@dataclass(frozen=True, eq=False)
class GivenImage:
    """A form of image.

    Attributes
    ----------
    form : str
        Markdown, for the page.
    image : array
    shown : numpy.ndarray (C, H, W)
        Expected image of the result.
    disc : array (C,)
        Expected values of the channels in a disc.
    write : str
        What a user writes: `explain(WRITE)`.
    grid : str
        What a user writes in `generate_masks(circle_size, offset, GRID)`.
    disc_text : str
        What a disc shows, for the page.
    otherwise : str
        The error or warning for `explain(model, image, segment)`, in part; empty if there is none.
    warns : bool
        Whether `otherwise` is a warning.
    """

    form: str
    image: Any
    shown: Any
    disc: Any
    write: str = "model, image, segment"
    grid: str = ""
    disc_text: str = "0"
    otherwise: str = ""
    warns: bool = False

    @property
    def name(self) -> str:
        return f"{self.form} {self.write}"


PREPROCESS = "hw.Segmenter(model, preprocess=lambda images: {}), image, segment"

IMAGES = [
    GivenImage("floats in [0, 1], `(C, H, W)`", UNIT, UNIT, (0, 0, 0)),
    GivenImage("floats in [0, 1], `(H, W)`: one channel", UNIT[0], UNIT[:1], (0,)),
    GivenImage("float64", torch.from_numpy(UNIT).double(), UNIT, (0, 0, 0)),
    GivenImage(
        "bfloat16", torch.from_numpy(UNIT).bfloat16(), torch.from_numpy(UNIT).bfloat16().float(), (0, 0, 0)
    ),
    GivenImage(
        "floats in [-1, 1]", 2 * UNIT - 1, 2 * UNIT - 1, (-1, -1, -1), grid="normalize=True", disc_text="-1",
    ),
    GivenImage(
        "standardized by mean and deviation", STANDARDIZED, STANDARDIZED, STANDARDIZED.mean((1, 2)),
        'model, image, segment, fill="mean"', disc_text="the mean of each channel",
        otherwise="the image has values down to -2.5", warns=True,
    ),
    GivenImage(
        "the same, with black discs", STANDARDIZED, STANDARDIZED, -MEAN / DEVIATION,
        "model, image, segment, fill=-mean / deviation", disc_text="black, in the units of each channel",
        otherwise="the image has values down to -2.5", warns=True,
    ),
    GivenImage(
        "0 to 255, uint8", (255 * UNIT).astype(np.uint8), (255 * UNIT).astype(np.uint8), (0, 0, 0),
        PREPROCESS.format("images / 255"), otherwise="let the Segmenter normalize them, after the disc",
    ),
    GivenImage(
        "0 to 255, uint8, for a model that normalizes by itself", (255 * UNIT).astype(np.uint8),
        (255 * UNIT).astype(np.uint8), (0, 0, 0), PREPROCESS.format("images.float()"),
        otherwise="for a model that normalizes by itself: preprocess=lambda images: images.float()",
    ),
    GivenImage(
        "0 to 255, uint8, `(H, W, C)`", (255 * UNIT).astype(np.uint8).transpose(1, 2, 0),
        (255 * UNIT).astype(np.uint8), (0, 0, 0), PREPROCESS.format("images / 255"),
        otherwise="a Segmenter with preprocess= takes (H, W, C) as it is",
    ),
    GivenImage(
        "16 bits", (3000 * UNIT + 200).astype(np.uint16), (3000 * UNIT + 200).astype(np.uint16), (200, 200, 200),
        PREPROCESS.format("images / 3200"), disc_text="the minimum of each channel",
        otherwise="let the Segmenter normalize them, after the disc",
    ),
    GivenImage(
        "Hounsfield units, int16", HOUNSFIELD, HOUNSFIELD, channel_minimum(HOUNSFIELD),
        PREPROCESS.format("(images + 1000) / 2000"), disc_text="the minimum of each channel",
        otherwise="let the Segmenter normalize them, after the disc",
    ),
    GivenImage(
        "floats, `(H, W, C)`", UNIT.transpose(1, 2, 0), UNIT, (0, 0, 0), "model, image.transpose(2, 0, 1), segment",
        otherwise="channels come first: image.transpose(2, 0, 1) for numpy",
    ),
    GivenImage(
        "one more axis, `(1, C, H, W)`", UNIT[None], UNIT, (0, 0, 0), "model, image[0], segment",
        otherwise="take one image out of the batch, image[0]",
    ),
    GivenImage(
        "NaN where there is no data", NO_DATA, np.nan_to_num(NO_DATA), (0, 0, 0),
        "model, np.nan_to_num(image), segment, ignore=~np.isfinite(image).all(0)",
        otherwise="the image has NaN or infinity, first at (0, 0, 0); where a pixel has no data, fill it",
    ),
    GivenImage(
        "a numpy masked array", np.ma.masked_invalid(NO_DATA), np.nan_to_num(NO_DATA), (0, 0, 0),
        "model, image.filled(0), segment, ignore=image.mask.any(0)",
        otherwise="no masked values: fill them, .filled(0), and leave these pixels out with ignore=",
    ),
    GivenImage(
        "a PIL image", Image.fromarray((255 * UNIT).astype(np.uint8).transpose(1, 2, 0)),
        (255 * UNIT).astype(np.uint8), (0, 0, 0),
        "hw.Segmenter(model, preprocess=lambda images: images / 255), np.asarray(image), segment",
        otherwise="np.asarray(image) makes one",
    ),
]  # fmt: skip
