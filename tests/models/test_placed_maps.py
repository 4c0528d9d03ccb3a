"""Maps that have their margin cut off: at which pixels of the image they lie, whatever kind of model it is."""

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.models.segmenter import ModelError, ModelOutputError


class Chain(nn.Module):
    """Unpadded convolutions that take the middle of their kernel, then a function: the values are those of the image.

    `functional` makes no submodules of the convolutions.
    """

    def __init__(self, count, kernel=(3, 3), then=lambda maps: maps, *, functional=False):
        super().__init__()
        self.layers = nn.Sequential(*[nn.Conv2d(1, 1, kernel, bias=False) for _ in range(count)]).requires_grad_(False)
        for layer in self.layers:
            layer.weight.zero_()[0, 0, kernel[0] // 2, kernel[1] // 2] = 1
        self.then, self.functional = then, functional

    def forward(self, images):
        for layer in self.layers:
            images = F.conv2d(images, layer.weight) if self.functional else layer(images)
        return self.then(images)


def halved(maps):
    return F.avg_pool2d(maps, 2)


def image_of(height, width):
    """Blocks of 4 px of 0 and 1 at random."""
    blocks = torch.rand(1, 1, height // 4, width // 4, generator=torch.Generator().manual_seed(0)) > 0.5
    return F.interpolate(blocks.float(), scale_factor=4)


def exported(model, image):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        batch = torch.export.Dim("batch")
        return torch.export.export(model, (image.repeat(2, 1, 1, 1),), dynamic_shapes=[{0: batch}]).module()


def scripted(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(model)


# Makes the model, the size of the image, and where the maps lie: rows and columns of the image, and their scale.
PLACES = {
    "half the image": (Chain(16), (64, 64), (slice(16, 48), slice(16, 48)), 1),
    "half the image, without layers": (Chain(16, functional=True), (64, 64), (slice(16, 48), slice(16, 48)), 1),
    "half the image, exported": (
        exported(Chain(16), image_of(64, 64)), (64, 64), (slice(16, 48), slice(16, 48)), 1,
    ),
    "half the image, by slices": (
        Chain(1, then=lambda maps: maps[..., 15:47, 15:47]), (64, 64), (slice(16, 48), slice(16, 48)), 1,
    ),
    "at half the scale": (Chain(3, then=halved), (64, 64), (slice(3, 61), slice(3, 61)), 2),
    "at half the scale, one row left over": (Chain(1, then=halved), (64, 68), (slice(1, 63), slice(1, 67)), 2),
    "at a quarter, pixels left over": (
        Chain(5, then=lambda maps: F.avg_pool2d(maps, 4)), (64, 72), (slice(5, 57), slice(5, 65)), 4,
    ),
    "no margin at the sides": (Chain(2, kernel=(5, 1)), (40, 48), (slice(4, 36), slice(0, 48)), 1),
    "not the center": (Chain(1, then=lambda maps: maps[..., 6:, 2:]), (40, 48), (slice(7, 39), slice(3, 47)), 1),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec")  # torch's own, of exported programs
@pytest.mark.parametrize("name", PLACES)
def test_maps_lie_where_the_traced_model_has_them(name):
    model, size, (rows, cols), scale = PLACES[name]
    image = image_of(*size)
    segmenter = hw.Segmenter(model)
    probabilities = segmenter.probabilities(image)[0]
    expected = np.full(size, np.nan, np.float32)
    maps = F.avg_pool2d(image[..., rows, cols], scale)
    placed = F.interpolate(maps, scale_factor=scale, mode="bilinear") if scale > 1 else maps
    expected[rows, cols] = placed[0, 0]
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    np.testing.assert_array_equal(segmenter.valid_pixels(*size), ~np.isnan(expected))
    assert segmenter.reading.align == "center"
    assert f"the first pixel is in row {rows.start} and column {cols.start}" in str(segmenter.reading)


@pytest.mark.parametrize("inference", ["full", "windowed"])
def test_a_scan_of_a_smaller_center(inference):
    """Cell by cell, by the model itself."""
    model, image = Chain(3, then=halved), image_of(64, 64)[0]
    truth = np.zeros((64, 64), bool)
    truth[20:40, 20:40] = True
    explainer = hdm.HausdorffDistanceMasks(64, 64)
    explainer.generate_masks(12, 16)
    result = explainer.explain(model, image, truth, inference=inference, progress=False)
    for row, col in np.ndindex(*result.values.shape):
        occluded = torch.minimum(image, torch.from_numpy(1.0 - explainer.grid.mask(row, col)).float())
        mask = np.zeros((64, 64), bool)
        mask[3:61, 3:61] = F.interpolate(model(occluded[None]), scale_factor=2, mode="bilinear")[0, 0] > 0.5
        np.testing.assert_array_equal(result.output(row, col), mask)


UNTRACED = {
    "a function": (lambda images: Chain(16)(images), "convolutions that are not padded"),
    "TorchScript": (scripted(Chain(16, then=nn.Identity())), "convolutions that are not padded"),
    "a function that slices": (lambda images: images[..., 16:48, 16:48], "slices that cut the margin off"),
}


@pytest.mark.parametrize("name", UNTRACED)
def test_a_whole_ratio_is_doubted_where_something_cuts_the_margin_off(name):
    model, what = UNTRACED[name]
    image = image_of(64, 64)
    with pytest.warns(UserWarning, match=rf"has {what}: .* write Segmenter\(model, align='center'\), else align='res"):
        hw.Segmenter(model).masks(image)
    mask = hw.Segmenter(model, align="center").masks(image)[0]
    np.testing.assert_array_equal(mask[16:48, 16:48], image[0, 0, 16:48, 16:48] > 0.5)
    hw.Segmenter(model, align="resize").masks(image)


RESIZES = {
    "a padded network": nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.AvgPool2d(2)),
    "padded by hand": nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(1, 1, 3), nn.AvgPool2d(2)),
    "patches": nn.Conv2d(1, 1, 4, 4),
}


@pytest.mark.parametrize("kind", ["network", "function"])
@pytest.mark.parametrize("name", RESIZES)
def test_padded_networks_are_resized_without_a_word(name, kind):
    torch.manual_seed(0)
    network = RESIZES[name].requires_grad_(False)
    segmenter = hw.Segmenter(network if kind == "network" else lambda images: network(images), activation="sigmoid")
    segmenter.masks(image_of(64, 64))
    assert segmenter.reading.align == "resize"
    assert "center" not in str(segmenter.reading)


def test_what_nothing_can_be_seen_of_is_said_to_be_taken_from_the_ratio():
    segmenter = hw.Segmenter(lambda images: np.asarray(images)[:, 0, ::2, ::2])
    segmenter.masks(image_of(64, 64))
    assert "taken from the ratio of sizes; if they are its center, write align='center'" in str(segmenter.reading)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Chain(2), "Its convolutions are not padded"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), Chain(0, then=lambda maps: maps[..., 2:-2, 2:-2])),
         "The traced model cuts the margin off"),
    ],
)  # fmt: skip
def test_the_reading_says_what_cuts_the_margin_off(model, reason):
    segmenter = hw.Segmenter(model.requires_grad_(False), activation="sigmoid")
    segmenter.masks(image_of(40, 44))
    assert f"{reason}; the first pixel is in row 2 and column 2" in str(segmenter.reading)


# -- what preprocess leaves of the image ----------------------------------------------------------------


def as_arrays(function):
    return lambda images: torch.from_numpy(np.ascontiguousarray(function(images.numpy())))


CROPS = {
    "center": (lambda images: images[..., 8:-8, 8:-8] / 255, {"align": "center"}, (slice(8, -8), slice(8, -8))),
    "found": (lambda images: images[..., 8:-8, 8:-8] / 255, {}, (slice(8, -8), slice(8, -8))),
    "not the center": (lambda images: images[..., 4:60, :40] / 255, {}, (slice(4, 60), slice(0, 40))),
    "arrays": (
        as_arrays(lambda images: images[..., 8:-8, 8:-8] / 255), {"align": "center"}, (slice(8, -8), slice(8, -8)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CROPS)
def test_what_preprocess_crops_has_no_output(name):
    preprocess, options, place = CROPS[name]
    image = 255 * image_of(64, 64)
    segmenter = hw.Segmenter(lambda images: images[:, 0], preprocess=preprocess, **options)
    expected = np.full((64, 64), np.nan, np.float32)
    expected[place] = image[0, 0][place] / 255
    np.testing.assert_array_equal(segmenter.probabilities(image)[0], expected)
    np.testing.assert_array_equal(segmenter.valid_pixels(64, 64), ~np.isnan(expected))
    rows, cols = np.ones((64, 64))[place].shape
    assert f"Maps have the cropped image's {rows} x {cols} px (rows x columns)." in str(segmenter.reading)


SCALED = {
    "half": lambda images: F.avg_pool2d(images, 2),
    "other sides": lambda images: F.interpolate(images, (48, 40), mode="bilinear"),
    "larger": lambda images: F.interpolate(images, (96, 80), mode="bilinear"),
    "arrays": as_arrays(lambda images: images[..., ::2, ::2]),
}


@pytest.mark.parametrize("align", ["auto", "resize"])
@pytest.mark.parametrize("name", SCALED)
def test_what_preprocess_resizes_is_resized_back(name, align):
    image = image_of(64, 64)
    segmenter = hw.Segmenter(lambda images: images[:, 0], preprocess=SCALED[name], align=align)
    expected = F.interpolate(SCALED[name](image), (64, 64), mode="bilinear")[0, 0]
    np.testing.assert_allclose(segmenter.probabilities(image)[0], expected, atol=1e-6)
    assert "the resized image's" in str(segmenter.reading)


@pytest.mark.parametrize(
    "preprocess",
    [
        as_arrays(lambda images: images[..., 8:-8, 8:-8]),
        as_arrays(lambda images: images[..., 16:48, 16:48]),
        lambda images: F.pad(images, (0, 16, 0, 16)),
        as_arrays(lambda images: np.pad(images, ((0, 0), (0, 0), (0, 16), (0, 16)))),
    ],
)
def test_what_preprocess_does_and_cannot_be_told_is_asked_for(preprocess):
    segmenter = hw.Segmenter(lambda images: images[:, 0], preprocess=preprocess)
    with pytest.raises(ModelOutputError, match=r"preprocess makes images of .*align='resize'.*align='center'.*pad_to="):
        segmenter.masks(image_of(64, 64))


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        (lambda images: images.permute(0, 2, 3, 1), r"it returned \(1, 64, 80, 3\); leave the channels where they are"),
        (lambda images: images.numpy() / 255, r"it returned ndarray; return a torch tensor, torch.as_tensor\(array\)"),
        (lambda images: None, r"it returned NoneType$"),
    ],
)
def test_what_preprocess_must_return(preprocess, message):
    with pytest.raises(ModelError, match=message):
        hw.Segmenter(lambda images: images[:, 0], preprocess=preprocess).masks(torch.zeros(1, 3, 64, 80))


def test_the_function_that_the_message_names_takes_channels_last():
    seen = []

    def model(images):
        seen.append(images.shape)
        return images[..., 0]

    segmenter = hw.Segmenter(lambda images: model(images.permute(0, 2, 3, 1)), preprocess=lambda images: images / 255)
    assert segmenter.masks(np.full((1, 64, 80, 3), 200, np.uint8)).all()
    assert seen[0] == (1, 64, 80, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("last", [True, False])
def test_images_as_users_have_them_are_read_as_explain_does(dtype, last):
    image = (200 * image_of(64, 80).repeat(2, 3, 1, 1)).numpy().astype(dtype)
    seen = []

    def preprocess(images):
        seen.append(images.dtype)
        return images / 255

    segmenter = hw.Segmenter(lambda images: images[:, 0], preprocess=preprocess)
    masks = segmenter.masks(image.transpose(0, 2, 3, 1) if last else image)
    np.testing.assert_array_equal(masks, image[:, 0] > 0)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"pad_to": 48}, "Maps have the padded image's 96 x 96 px"),
        ({"preprocess": halved}, "Maps have the resized image's 32 x 40 px"),
        ({"preprocess": halved, "pad_to": 64}, "Maps have the resized and padded image's 64 x 64 px"),
        ({"preprocess": lambda images: images[..., 2:-2, 2:-2]}, "Maps have the cropped image's 60 x 76 px"),
        ({}, "Maps have the image's 64 x 80 px"),
    ],
)
def test_the_reading_says_what_was_done_to_the_image(options, text):
    segmenter = hw.Segmenter(lambda images: images[:, 0], **options)
    segmenter.masks(image_of(64, 80))
    assert text in re.sub(r" \(rows x columns\)", "", str(segmenter.reading))
