"""What a model returns: which entry, which axis, what values mean. The usual forms are in readable_outputs.py."""

import re

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.models.segmenter import ModelError, ModelOutputError

# An image of one channel whose values are the probabilities that most models here return, and its mask.
IMAGE = torch.tensor([[[0.1, 0.9, 0.5], [0.8, 0.2, 0.7]]])
MASK = np.array([[False, True, False], [True, False, True]])


def mask_of(model, image=IMAGE, **options):
    return hw.Segmenter(model, **options).masks(image[None])[0]


# -- which entry ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "output", "source"),
    [
        (lambda images: [images[:, 0] * 0, images[:, 0]], 1, "entry 1"),
        (lambda images: [images[:, 0] * 0, images[:, 0]], -1, "entry -1"),
        (lambda images: {"a": images[:, 0] * 0, "b": images[:, 0]}, 1, "entry 1"),
        (lambda images: {"out": images[:, 0] * 0, "aux": images[:, 0]}, "aux", "the entry 'aux'"),
        (lambda images: {"heads": [images[:, 0], "loss"]}, "heads", "entry 0 of 2 of the entry 'heads'"),
        (lambda images: (images[:, 0], 3), lambda given: 1 * given[0], "the given function"),
    ],
)
def test_the_entry_that_is_asked_for(model, output, source):
    segmenter = hw.Segmenter(model, output=output)
    np.testing.assert_array_equal(segmenter.masks(IMAGE[None])[0], MASK)
    assert segmenter.reading.source == source


def test_maps_of_one_size_that_differ_are_said():
    """Deep supervision: several heads, of which any may be the final one."""

    def model(images):
        return [images[:, :1], images[:, :1] * 0, images[:, :1]]

    with pytest.warns(
        UserWarning, match=r"3 maps of one size that differ \(\(1, 1, 2, 3\).*entry 0 is taken.*output=2"
    ):
        mask = mask_of(model)
    np.testing.assert_array_equal(mask, MASK)
    np.testing.assert_array_equal(mask_of(model, output=1), np.zeros_like(MASK))


@pytest.mark.parametrize(
    ("model", "output", "message"),
    [
        (lambda images: {"a": images}, "b", r"output='b' is none of the keys.*\['a'\]"),
        (lambda images: images, "b", r"output='b' is a key, but the model returned a Tensor of shape \(1, 1, 2, 3\)"),
        (lambda images: [images], 1, "output=1 is beyond the only entry"),
        (lambda images: 3, 0, "output=0 is an index, but the model returned a int"),
        (lambda images: [images], lambda given: given["x"], "output= failed on what the model returned: TypeError"),
    ],
)
def test_what_has_no_maps_is_told_how_to_name_them(model, output, message):
    with pytest.raises(ModelOutputError, match=message):
        mask_of(model, output=output)


def test_classes_and_masks_of_queries_are_combined():
    """Mask2Former's form, by hand: two queries, two classes and "none"."""
    classes = torch.log(torch.tensor([[[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]]))
    masks = torch.logit(torch.tensor([[[[0.9, 0.1]], [[0.2, 0.8]]]]))
    segmenter = hw.Segmenter(lambda images: {"class_queries_logits": classes, "masks_queries_logits": masks}, target=1)
    # Class 1: 0.2 * 0.9 + 0.6 * 0.2 = 0.3 and 0.2 * 0.1 + 0.6 * 0.8 = 0.5; class 0: 0.65 and 0.15.
    np.testing.assert_allclose(segmenter.probabilities(torch.zeros(1, 1, 1, 2)), [[[0.3, 0.5]]], atol=1e-6)
    np.testing.assert_array_equal(segmenter.masks(torch.zeros(1, 1, 1, 2)), [[[False, True]]])


@pytest.mark.parametrize(
    ("model", "options", "short"),
    [
        (lambda images: images[:, 0], {}, "one map, probabilities"),
        (lambda images: images[:, 0, :1, :1] - 3, {}, "one map, logits, resize of 1 x 1 px"),
        (lambda images: torch.cat([images, -images, images], 1), {"target": 1}, "3 exclusive classes, logits"),
        (
            lambda images: torch.cat([images, images], 1),
            {"classes": "independent"},
            "2 independent classes, probabilitie",
        ),
        (lambda images: images[:, 0] > 0.5, {}, "one map, probabilities"),
        (lambda images: images[:, 0], {"activation": "sigmoid"}, "one map, logits"),
        (lambda images: images[:, 0], {"activation": "none"}, "one map, probabilities"),
        (lambda images: 9 * images[:, 0], {"activation": "none", "threshold": 4.5}, "one map, raw values"),
        (lambda images: (images[:, 0] > 0.5).long(), {}, "class numbers"),
        (lambda images: images.permute(0, 2, 3, 1), {}, "one map, probabilities, channels last"),
    ],
)
def test_the_reading_in_a_few_words(model, options, short):
    segmenter = hw.Segmenter(model, **options)
    assert "reads" not in repr(segmenter)
    assert str(segmenter.reading) == "The model has not been run yet."
    segmenter.masks(IMAGE[None])
    assert f"; reads {short}" in repr(segmenter)


# -- which axis -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(6, 9), (8, 8)])
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_channels_last(height, width, classes):
    labels = torch.randint(0, classes, (2, height, width), generator=torch.Generator().manual_seed(0))
    last = nn.functional.one_hot(labels, classes).float() * 8 - 4
    segmenter = hw.Segmenter(lambda images: last[: len(images)].numpy(), target=classes - 1, batch_size=2)
    expected = labels == classes - 1 if classes > 1 else np.ones_like(labels, bool)
    np.testing.assert_array_equal(segmenter.masks(torch.zeros(2, 3, height, width)), expected)
    assert segmenter.reading.layout == "channels_last"
    assert segmenter.reading.shape == (classes, height, width)


def test_an_axis_that_cannot_be_told_is_asked_for():
    maps = torch.rand(1, 4, 4, 4, generator=torch.Generator().manual_seed(0)) * 9 - 4
    image = torch.zeros(1, 4, 4)
    with pytest.raises(ModelOutputError, match=r"\(1, 4, 4, 4\).*layout='channels_first'.*layout='channels_last'"):
        mask_of(lambda images: maps, image, target=0)
    for layout, axis in (("channels_first", 1), ("channels_last", 3)):
        np.testing.assert_array_equal(
            mask_of(lambda images: maps, image, target=0, layout=layout), maps.argmax(axis)[0] == 0
        )


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((16, 16, 16), (64, 64)),  # at a quarter
        ((8, 8, 8), (64, 64)),
        ((17, 17, 17), (65, 66)),  # rounded up
        ((60, 60, 60), (64, 64)),  # without a margin of 2 px
        ((64, 64, 64), (64, 64)),
    ],
)
def test_an_axis_that_cannot_be_told_is_asked_for_at_every_size(shape, image):
    maps = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)) * 9 - 4
    with pytest.raises(ModelOutputError, match=r"may have classes first or last.*layout='channels_first'.*last'"):
        mask_of(lambda images: maps, torch.zeros(1, *image), target=3)
    for layout, axis in (("channels_first", 1), ("channels_last", 3)):
        scores = maps.movedim(axis, 1)
        mask = mask_of(lambda images: maps, torch.zeros(1, *image), target=3, layout=layout, align="resize")
        expected = nn.functional.interpolate(scores, image, mode="bilinear").argmax(1)[0] == 3
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("shape", "image", "layout"),
    [
        ((1, 17, 21), (66, 82), "channels_first"),
        ((17, 21, 1), (66, 82), "channels_last"),
        ((1, 1, 1), (66, 82), "channels_first"),
        ((4, 12, 16), (24, 32), "channels_first"),
        ((12, 16, 4), (24, 32), "channels_last"),
        ((19, 16, 16), (64, 64), "channels_first"),
        ((16, 16, 19), (64, 64), "channels_last"),
        ((16, 16, 20), (64, 80), "channels_first"),
    ],
)
def test_an_axis_that_can_be_told_needs_no_word(shape, image, layout):
    segmenter = hw.Segmenter(lambda images: torch.linspace(-1, 1, shape[0] * shape[1] * shape[2]).reshape(1, *shape), 0)
    segmenter.masks(torch.zeros(1, 1, *image))
    assert segmenter.reading.layout == layout
    assert "layout" not in str(segmenter.reading)


# -- what values mean -----------------------------------------------------------------------------------


def ensemble(images):
    """The mean of ten sigmoids may leave [0, 1] by rounding."""
    return images[:, 0] * (1 + 2e-7)


def bicubic(images):
    return nn.functional.interpolate(images, scale_factor=3, mode="bicubic")[:, 0]


def test_rounding_and_resampling_do_not_make_logits():
    image = torch.tensor([[[0.0, 1.0, 1.0], [0.0, 1.0, 0.25]]])
    segmenter = hw.Segmenter(ensemble)
    np.testing.assert_array_equal(segmenter.masks(image[None])[0], image[0] > 0.5)
    assert segmenter.reading.activation == "none"
    # A ramp enlarged by cubic splines overshoots at its ends, by less than a thousandth.
    ramp = torch.linspace(-0.1, 1.1, 900).clamp(0, 1).repeat(1, 1, 9, 1)
    assert bicubic(ramp[..., 1::3, 1::3]).max() > 1
    enlarged = hw.Segmenter(lambda images: bicubic(images[..., 1::3, 1::3]))
    enlarged.masks(ramp)
    assert enlarged.reading.activation == "none"
    logits = hw.Segmenter(lambda images: images[:, 0])
    logits.masks(torch.tensor([[[[-0.1, 1.0]]]]))
    assert logits.reading.activation == "sigmoid"


THREE = torch.tensor([[[0.9, 0.2]], [[0.8, 0.7]], [[0.1, 0.6]]])


@pytest.mark.parametrize("activation", ["auto", "none", "sigmoid"])
@pytest.mark.parametrize("target", [0, 1, 2])
def test_independent_classes(activation, target):
    """Each class by its own threshold; the largest one does not win."""
    values = torch.logit(THREE) if activation == "sigmoid" else THREE
    segmenter = hw.Segmenter(lambda images: values[None], target, 0.65, activation, classes="independent")
    np.testing.assert_array_equal(segmenter.masks(torch.zeros(1, 1, 1, 2))[0], THREE[target] > 0.65)
    np.testing.assert_allclose(segmenter.probabilities(torch.zeros(1, 1, 1, 2))[0], THREE[target], atol=1e-6)
    assert segmenter.reading.classes == "independent"


def test_probabilities_that_do_not_add_up_are_said():
    with pytest.warns(UserWarning, match=r"3 classes do not add up to 1 \(by up to 0.8\).*classes='independent'"):
        mask = mask_of(lambda images: THREE[None], torch.zeros(1, 1, 2), target=1)
    np.testing.assert_array_equal(mask, [[False, True]])


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([[0.2], [0.8]], {"threshold": 0.9}, "no effect on 2 exclusive classes.*classes='independent'"),
        ([[0.2]], {"threshold": 1.0}, r"threshold=1 is outside \(0, 1\), but the model returns probabilities"),
        ([[0.2]], {"threshold": 127}, r"outside \(0, 1\), but the model returns probabilities"),
        ([[0.2]], {"threshold": 1.0, "activation": "none"}, r"outside \(0, 1\)"),
        ([[-3.0]], {"threshold": 0.0}, r"outside \(0, 1\), but the model returns logits.*activation='none'"),
        ([[0.0, 255.0]], {}, "values from 0 to 255, neither probabilities nor logits; for gray levels.*maps / 255"),
        ([[0.0, 240.5]], {"activation": "none"}, "neither probabilities nor logits"),
        ([[0.0, 2.0]], {}, r"class numbers return integers \(output=lambda maps: maps.long\(\)\)"),
    ],
)  # fmt: skip
def test_a_threshold_that_does_not_suit_the_values(values, options, message):
    maps = torch.tensor(values)[None, :, None]
    with pytest.raises(ModelOutputError, match=message):
        mask_of(lambda images: maps, torch.zeros(1, 1, maps.shape[-1]), **options)


@pytest.mark.parametrize(
    ("values", "message", "write"),
    [
        ([3.0, 40.0, 92.0], r"No value is negative.*everywhere in this image; else write.*percentages",
         {"output": lambda maps: maps / 100}),
        ([0.0, 4.5, 9.0], r"No value is negative.*wherever they are above 0; else write.*threshold",
         {"activation": "none", "threshold": 5}),
        ([-4.0, -0.9, -0.01], r"No value is positive.*nowhere in this image; else write output=lambda maps: maps.exp",
         {"output": lambda maps: maps.exp()}),
    ],
)  # fmt: skip
def test_the_reading_doubts_values_of_one_sign(values, message, write):
    maps = torch.tensor([[values]])
    image = torch.zeros(1, 1, 3)
    segmenter = hw.Segmenter(lambda images: maps)
    segmenter.masks(image[None])
    assert re.search(message, str(segmenter.reading))
    # What is said is right, and what it says to write works, as does to say that they are logits.
    np.testing.assert_array_equal(mask_of(lambda images: maps, image, **write), [[False, False, True]])
    np.testing.assert_array_equal(mask_of(lambda images: maps, image, activation="sigmoid"), maps[0] > 0)


@pytest.mark.parametrize("values", [[0.3, 1.2], [0.0, 2.5], [-4.0, -1.0], [-2.0, -2.0], [7.0, 7.0], [-1.0, 9.0]])
def test_values_of_both_signs_are_not_doubted(values):
    segmenter = hw.Segmenter(lambda images: torch.tensor([[values]]))
    segmenter.masks(torch.zeros(1, 1, 1, 2))
    text = str(segmenter.reading)
    assert ("No value is" in text) == (min(values) >= 0 or max(values) <= 0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "the class with the largest value wins. Class 1 of 2 (from 0) is the segment."),
        ({"target": 0}, "Class 0 of 2 (from 0) is the segment."),
        ({"target": 1, "threshold": 0.7, "classes": "independent"},
         "the threshold of 0.7 decides for each class by itself. Class 1 of 2 (from 0) is the segment."),
        ({"output": lambda maps: maps[:, 0]}, "the threshold of 0.5 decides. Maps"),
        ({"output": lambda maps: maps[:, 0], "threshold": 0.25}, "the threshold of 0.25 decides. Maps"),
        ({"output": lambda maps: maps.argmax(1)}, "A pixel belongs to the segment if its number is not 0. Maps"),
        ({"output": lambda maps: maps.argmax(1), "target": 0}, "A pixel belongs to the segment if its number is 0."),
    ],
)  # fmt: skip
def test_the_reading_says_what_the_segment_is(options, text):
    segmenter = hw.Segmenter(lambda images: torch.cat([1 - images, images], 1), **options)
    segmenter.masks(IMAGE[None])
    assert text in str(segmenter.reading)


def test_the_reading_of_another_class_names_it():
    segmenter = hw.Segmenter(lambda images: torch.cat([1 - images, images], 1))
    segmenter.masks(IMAGE[None])
    assert "Class 0 of 2" in str(segmenter.for_target(0).reading)
    assert "Class 1 of 2" in str(segmenter.reading)


# -- class numbers --------------------------------------------------------------------------------------

LABELS = np.array([[0, 1, 2], [2, 1, 0]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 1, 2, 3), (1, 2, 3, 1)])
@pytest.mark.parametrize("target", [0, 1, 2])
def test_class_numbers_are_compared_with_the_target(dtype, shape, target):
    segmenter = hw.Segmenter(lambda images: LABELS.astype(dtype).reshape(shape), target)
    np.testing.assert_array_equal(segmenter.masks(IMAGE[None])[0], target == LABELS)
    np.testing.assert_array_equal(segmenter.probabilities(IMAGE[None])[0], target == LABELS)
    assert segmenter.reading.form == "class numbers"


@pytest.mark.parametrize("number", [1, 7, 255])
def test_one_class_number_needs_no_target(number):
    np.testing.assert_array_equal(mask_of(lambda images: number * (LABELS == 1)[None]), LABELS == 1)


def test_several_class_numbers_need_a_target():
    with pytest.raises(ModelOutputError, match=r"class numbers, among them \[1, 2\]; say which .*target="):
        mask_of(lambda images: LABELS[None])
    segmenter = hw.Segmenter(lambda images: (LABELS[None] == 1) * (1 if images.max() < 0.95 else 2))
    segmenter.masks(IMAGE[None])
    with pytest.raises(ModelOutputError, match=r"among them \[1, 2\]"):
        segmenter.masks(IMAGE[None] + 0.1)


def test_small_maps_of_class_numbers_keep_their_numbers():
    """Halfway between 1 and 3 is no 2."""
    small = torch.tensor([[[1, 3]]])
    for target, expected in ((1, [True, True, False, False]), (2, [False] * 4), (3, [False, False, True, True])):
        mask = mask_of(lambda images: small, torch.zeros(1, 2, 4), target=target)
        np.testing.assert_array_equal(mask, [expected] * 2)


# -- preprocess -----------------------------------------------------------------------------------------


class Normalize(nn.Module):
    def forward(self, images):
        return (images / 255 - 0.5) / 0.25


@pytest.mark.parametrize("preprocess", [lambda images: (images / 255 - 0.5) / 0.25, Normalize()])
def test_preprocess_comes_between_image_and_model(preprocess):
    seen = []

    def model(images):
        seen.append(images)
        return images[:, 0]

    segmenter = hw.Segmenter(model, preprocess=preprocess, activation="sigmoid")
    values = torch.tensor([[[[0.0, 255.0, 127.5]]]])
    np.testing.assert_array_equal(segmenter.masks(values), [[[False, True, False]]])
    torch.testing.assert_close(seen[0], torch.tensor([[[[-2.0, 2.0, 0.0]]]]))


def test_preprocess_that_resizes_is_undone():
    segmenter = hw.Segmenter(
        lambda images: images[:, 0], preprocess=lambda images: nn.functional.interpolate(images, (4, 8))
    )
    image = torch.zeros(1, 1, 8, 16)
    image[..., :8] = 1
    np.testing.assert_array_equal(segmenter.masks(image)[0, :, :7], np.ones((8, 7), bool))
    np.testing.assert_array_equal(segmenter.masks(image)[0, :, 9:], np.zeros((8, 7), bool))


@pytest.mark.parametrize(
    ("preprocess", "error", "message"),
    [
        (3, TypeError, "preprocess must be a function or a Module"),
        (nn.Identity, TypeError, "preprocess must be a function or a Module"),
        (lambda images: images[0], ModelError, r"must return images \(N, C, H, W\).*returned \(1, 2, 3\)"),
        (lambda images: images.numpy(), ModelError, "returned ndarray"),
    ],
)
def test_bad_preprocess(preprocess, error, message):
    with pytest.raises(error, match=message):
        mask_of(lambda images: images[:, 0], preprocess=preprocess)


def test_windows_go_through_preprocess():
    torch.manual_seed(0)
    network = hw.UNet(1, 1, 4, 2).requires_grad_(False)
    image = 255 * torch.rand(1, 48, 64, generator=torch.Generator().manual_seed(1))
    raw = hw.Segmenter(network, preprocess=Normalize()).raw(image[None])
    segmenter = hw.Segmenter(network, threshold=float(raw.median()), activation="none", preprocess=Normalize())
    segment = segmenter.masks(image[None])[0]
    explainer = hdm.HausdorffDistanceMasks(64, 48)
    explainer.generate_masks(6, 8)
    results = [
        explainer.explain(segmenter, image, segment, fill=0.0, inference=way, progress=False)
        for way in ("windowed", "full")
    ]
    assert results[0].plan.backend == "windowed"
    np.testing.assert_array_equal(results[0].values, results[1].values)
