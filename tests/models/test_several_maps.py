"""A model returns several maps, or maps inside something: which are taken, what is said, and what to write."""

import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets.models.segmenter import ModelOutputError

# Its values are the probabilities that most models here return.
IMAGE = torch.tensor([[[[0.1, 0.9, 0.5, 0.3], [0.8, 0.2, 0.7, 0.9]]]])
MASK = np.array([[[False, True, False, False], [True, False, True, True]]])


def half(images):
    return F.avg_pool2d(images, 2)


DIFFERENT = {
    "a larger reconstruction": (
        lambda images: (half(images), 1 - images), "several sizes", "entry 1 is taken", "output=0",
    ),
    "the larger one first": (
        lambda images: (1 - images, half(images)), "several sizes", "entry 0 is taken", "output=1",
    ),
    "features of the same size": (
        lambda images: (images, 7 * images.repeat(1, 5, 1, 1)), "one size", "entry 0 is taken", "output=1",
    ),
    "'out' beside 'logits'": (
        lambda images: {"logits": 1 - images, "out": images}, "one size", "entry 'out' is taken", "output='logits'",
    ),
    "inside a mapping": (
        lambda images: {"out": (images, 1 - images)}, "one size", "entry 0 is taken",
        'output=lambda outputs: outputs["out"][1]',
    ),
    "inside an attribute": (
        lambda images: SimpleNamespace(logits=[images, 1 - images]), "one size", "entry 0 is taken",
        "output=lambda outputs: outputs.logits[1]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_maps_are_said_and_what_is_said_works(name):
    model, sizes, taken, other = DIFFERENT[name]
    with pytest.warns(UserWarning, match=rf"2 maps of {sizes} that differ.*{taken}.*{re.escape(other)}.*") as caught:
        mask = hw.Segmenter(model).masks(IMAGE)
    codes = re.findall(r"(?:Segmenter\(model, |right one )output=(.*?)(?:\), to|, or output)", str(caught[0].message))
    written = [hw.Segmenter(model, output=eval(code), target=0) for code in codes]
    # What is written takes the other maps, and the ones that were taken, without a warning.
    assert written[0].masks(IMAGE).tolist() != mask.tolist()
    np.testing.assert_array_equal(written[1].masks(IMAGE), mask)


EQUAL = {
    "of one size": lambda images: [images, images + 0],
    "as logits and as probabilities": lambda images: [images, torch.logit(images)],
    "with a loss": lambda images: (images.mean(), images),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_maps_need_no_word(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(hw.Segmenter(EQUAL[name]).masks(IMAGE), MASK)


def test_maps_of_two_sizes_with_equal_masks_need_no_word():
    image = torch.zeros(1, 1, 8, 8)
    image[..., :4, :4] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mask = hw.Segmenter(lambda images: [half(images) > 0.9, images]).masks(image)
    np.testing.assert_array_equal(mask, image[:, 0] > 0)


ERRORS = {
    "classes": (lambda images: (half(images), images.repeat(1, 16, 1, 1)), {}, "the model returned 16 classes"),
    "threshold": (lambda images: (half(images), 1 - images), {"threshold": 3}, r"threshold=3 is outside \(0, 1\)"),
    "size": (
        lambda images: (images, F.pad(images, (1, 1, 1, 1))), {}, "expected the same size or a smaller one",
    ),
    "alignment": (lambda images: (half(images), images[:, 0, :2, 1:]), {}, "cannot be told where they lie"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:the model returned 2 maps")
@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_the_entry(name):
    model, options, message = ERRORS[name]
    with pytest.raises(ModelOutputError, match=rf"{message}.*the maps are entry 1 of 2.*Segmenter\(model, output=0\)"):
        hw.Segmenter(model, **options).masks(IMAGE)


# Outputs that cannot be read, with options and the message, and whether what it says gives the mask.
REMEDIES = {
    "an index of the inner sequence": (lambda images: {"out": (1 - images, images)}, {"output": 1}),
    "an object": (lambda images: SimpleNamespace(loss=3, seg=images), {}),
    "an object in a mapping": (lambda images: {"x": SimpleNamespace(loss=3, seg=images)}, {"output": "x"}),
    "a mapping in a mapping": (lambda images: {"x": {"y": images}}, {"output": "x"}),
    "a mapping": (lambda images: {"y": images}, {}),
    "no axis of images": (lambda images: images[0, 0], {}),
    "no axis of images, in a mapping": (lambda images: {"out": images[0, 0]}, {}),
    "no axis of images, two classes": (lambda images: torch.cat([1 - images, images], 1)[0], {}),
    "gray levels in a mapping": (lambda images: {"out": 200 * images}, {}),
}


@pytest.mark.parametrize("name", REMEDIES)
def test_what_an_error_says_to_write_works(name):
    model, options = REMEDIES[name]
    with pytest.raises(ModelOutputError) as caught:
        hw.Segmenter(model, **options).masks(IMAGE)
    code = re.search(r"output=((?:lambda \w+: [^,;]*?(?:\[[^\]]*\])*|'\w+'))(?=\)?(?:,|;|$))", str(caught.value))[1]
    mask = hw.Segmenter(model, output=eval(code)).masks(IMAGE)
    if "gray" in name:
        np.testing.assert_array_equal(mask, (IMAGE * 200 / 255)[:, 0] > 0.5)
    else:
        np.testing.assert_array_equal(mask, MASK)


def test_attributes_are_listed():
    with pytest.raises(ModelOutputError, match=r"got SimpleNamespace; it has the attributes loss, seg; .*output='seg'"):
        hw.Segmenter(lambda images: SimpleNamespace(seg=images, loss=3)).masks(IMAGE)
