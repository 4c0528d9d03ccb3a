"""Where in the image the maps of a model lie: the whole of it at another scale, or its center."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.models.segmenter import ModelOutputError


def normal(module, seed=0):
    torch.manual_seed(seed)
    return module.eval().requires_grad_(False)


class UnpaddedUNet(nn.Module):
    """The published U-Net's way: valid convolutions, skips cropped to their center."""

    def __init__(self, width=4):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU())
        self.bottom = nn.Sequential(nn.Conv2d(width, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU())
        self.up = nn.ConvTranspose2d(width, width, 2, 2)
        self.head = nn.Sequential(nn.Conv2d(2 * width, width, 3), nn.ReLU(), nn.Conv2d(width, 1, 3))

    def forward(self, images):
        skip = self.down(images)
        deep = self.up(self.bottom(F.max_pool2d(skip, 2)))
        row, col = ((a - b) // 2 for a, b in zip(skip.shape[-2:], deep.shape[-2:], strict=True))
        skip = skip[..., row : row + deep.shape[-2], col : col + deep.shape[-1]]
        return self.head(torch.cat([skip, deep], 1))


# 16 px less at every side.
MARGIN = 8


class Halves(nn.Module):
    """A padded encoder: its maps are the whole image at half its size."""

    def __init__(self, bias=0.0):
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 3, 2, 1)

    def forward(self, images):
        return self.convolution(images)


class PaddedByHand(nn.Module):
    """Reflection, then an unpadded convolution, then a stride: a resize, though a convolution is not padded."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(1, 1, 3), nn.AvgPool2d(2))

    def forward(self, images):
        return self.layers(images)


class Valid(nn.Module):
    """One large unpadded convolution."""

    def __init__(self, kernel):
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, kernel)

    def forward(self, images):
        return self.convolution(images)


MODELS = {
    "unpadded U-Net": (lambda: UnpaddedUNet(), (44, 52), "center"),
    "unpadded, margin of half the image": (lambda: Valid(33), (64, 64), "center"),
    "half": (lambda: Halves(), (40, 52), "resize"),
    "padded by hand": (lambda: PaddedByHand(), (40, 52), "resize"),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_network_tells(name):
    make, (height, width), expected = MODELS[name]
    model = normal(make())
    segmenter = hw.Segmenter(model, activation="none", threshold=0.0)
    image = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0))
    raw = segmenter.raw(image)
    assert segmenter.reading.align == expected
    maps = model(image)
    if expected == "center":
        top, left = (height - maps.shape[-2]) // 2, (width - maps.shape[-1]) // 2
        torch.testing.assert_close(raw[..., top : top + maps.shape[-2], left : left + maps.shape[-1]], maps)
        valid = np.zeros((height, width), bool)
        valid[top : top + maps.shape[-2], left : left + maps.shape[-1]] = True
        np.testing.assert_array_equal(segmenter.valid_pixels(height, width), valid)
        np.testing.assert_array_equal(np.isnan(segmenter.probabilities(image)[0]), ~valid)
        assert not segmenter.masks(image)[0][~valid].any()
    else:
        torch.testing.assert_close(raw, F.interpolate(maps, (height, width), mode="bilinear"))
        assert segmenter.valid_pixels(height, width) is None


def cropped(images):
    """The center of the image, 2 px less at every side."""
    return images[:, 0, 2:-2, 2:-2]


def test_what_cannot_be_told_is_asked_for():
    """A function shows no geometry, and 8 is no fraction of 12."""
    image = torch.zeros(1, 1, 12, 13)
    image[..., 4:7, 5:9] = 1
    with pytest.raises(ModelOutputError, match=r"8 x 9 px for images of 12 x 13 px.*align='resize'.*align='center'"):
        hw.Segmenter(cropped).masks(image)
    np.testing.assert_array_equal(hw.Segmenter(cropped, align="center").masks(image)[0], image[0, 0] == 1)
    resized = hw.Segmenter(cropped, align="resize").masks(image)[0]
    expected = F.interpolate(image[..., 2:-2, 2:-2], (12, 13), mode="bilinear")[0, 0] > 0.5
    np.testing.assert_array_equal(resized, expected)


@pytest.mark.parametrize(("size", "factor"), [((513, 65), 4), ((64, 96), 8), ((7, 9), 2), ((100, 75), 16)])
def test_a_whole_factor_is_a_resize(size, factor):
    rows, cols = (-(-side // factor) for side in size)
    segmenter = hw.Segmenter(lambda images: images[:, :, :rows, :cols] - 2, activation="sigmoid")
    segmenter.masks(torch.zeros(1, 1, *size))
    assert segmenter.reading.align == "resize"
    assert f"{rows} x {cols} px are resized to the image's {size[0]} x {size[1]} px" in str(segmenter.reading)


@pytest.mark.parametrize("kind", ["network", "function"])
@pytest.mark.parametrize("multiple", [2, 4, 8, 16, 32, 64])
def test_the_multiple_that_a_model_needs_is_named(multiple, kind):
    def model(images):
        if images.shape[-1] % multiple or images.shape[-2] % multiple:
            raise RuntimeError("Sizes of tensors must match except in dimension 1")
        return images[:, 0]

    image = torch.rand(1, 1, 65, 70)
    network = model
    if kind == "network":
        network = nn.Identity()
        network.forward = model
    for pad_to in (None, 1, 2):
        if pad_to == multiple:
            continue
        if pad_to is not None and multiple < pad_to:
            continue
        with pytest.raises(hdm.ModelError, match=rf"Sizes of tensors.*Segmenter\(model, pad_to={multiple}\)"):
            hw.Segmenter(network, pad_to=pad_to).masks(image)
    assert hw.Segmenter(network, pad_to=multiple).masks(image).shape == (1, 65, 70)


def test_the_multiple_is_named_for_outputs_larger_than_the_image():
    class RoundsUp(nn.Module):
        def forward(self, images):
            return F.interpolate(F.avg_pool2d(images, 8, ceil_mode=True), scale_factor=8)

    with pytest.raises(ModelOutputError, match=r"24 x 32 px for images of 20 x 27 px.*Segmenter\(model, pad_to=8\)"):
        hw.Segmenter(RoundsUp()).masks(torch.rand(1, 1, 20, 27))


@pytest.mark.parametrize("inference", ["full", "windowed"])
def test_a_scan_of_unpadded_convolutions(inference):
    """Distances of the center alone, and the disc's own place there: by the model itself, cell by cell."""
    model = normal(UnpaddedUNet(), seed=3)
    image = torch.rand(1, 44, 52, generator=torch.Generator().manual_seed(1))
    maps = model(image[None])
    level = float(maps.median()) + 1e-3 * float(maps.std())
    segmenter = hw.Segmenter(model, threshold=level, activation="none")
    truth = np.zeros((44, 52), bool)
    truth[12:30, 10:40] = True
    explainer = hdm.HausdorffDistanceMasks(52, 44)
    explainer.generate_masks(8, 11)
    result = explainer.explain(segmenter, image, truth, inference=inference, progress=False)
    assert result.plan.backend == ("windowed" if inference == "windowed" else "model")
    for row, col in np.ndindex(*result.values.shape):
        occluded = torch.minimum(image, torch.from_numpy(1.0 - explainer.grid.mask(row, col)).float())
        mask = np.zeros((44, 52), bool)
        mask[MARGIN:-MARGIN, MARGIN:-MARGIN] = (model(occluded[None])[0, 0] > level).numpy()
        np.testing.assert_array_equal(result.output(row, col), mask)


def test_pixels_without_output_do_not_count():
    """Two segments, of which the margin hides one: by hand."""
    image = torch.zeros(1, 24, 24)
    image[:, 0:2, :] = image[:, 10:14, 10:14] = 1
    truth = image[0].numpy() > 0.5
    explainer = hdm.HausdorffDistanceMasks(24, 24)
    explainer.generate_masks(2, 8)
    segmenter = hw.Segmenter(lambda images: images[:, 0, 4:-4, 4:-4], align="center")
    result = explainer.explain(segmenter, image, truth, progress=False)
    assert result.baseline == 0
    inside = np.zeros((24, 24), bool)
    inside[4:-4, 4:-4] = True
    np.testing.assert_array_equal(result.ignored, ~inside)
    np.testing.assert_array_equal(result.segment, truth & inside)
    assert (result.values == 0).all()  # the discs at 0, 8 and 16 miss the square, and what they cover is outside


def test_an_explorer_hatches_pixels_without_output():
    image = torch.zeros(1, 24, 24)
    image[:, 10:14, 10:14] = 1
    segmenter = hw.Segmenter(lambda images: images[:, 0, 4:-4, 4:-4], align="center")
    explorer = hw.HDMExplorer(segmenter, image, image[0] > 0.5, circle_size=2, offset=8)
    assert explorer.wait(30)
    hatched = np.unpackbits(np.frombuffer(explorer._ignored, np.uint8), count=24 * 24, bitorder="little")
    assert hatched.sum() == 24 * 24 - 16 * 16
    explorer.close()


@pytest.mark.parametrize("inference", ["full", "windowed"])
def test_a_model_with_several_targets_draws_none_of_them_in_the_margin(inference):
    """The traced network is kept between scans; what it shows in the margin is not the segment of another target."""
    model = normal(nn.Sequential(nn.Conv2d(1, 3, 5)), seed=1)
    image = torch.rand(1, 20, 24, generator=torch.Generator().manual_seed(0))
    explainer = hdm.HausdorffDistanceMasks(24, 20)
    explainer.generate_masks(5, 10)
    for target in (1, 0, 2):
        truth = np.zeros((20, 24), bool)
        truth[8:12, 8:12] = True
        segmenter = hw.Segmenter(model, target=target)
        result = explainer.explain(segmenter, image, truth, inference=inference, progress=False)
        for row, col in np.ndindex(*result.values.shape):
            occluded = torch.minimum(image, torch.from_numpy(1.0 - explainer.grid.mask(row, col)).float())
            expected = np.zeros((20, 24), bool)
            expected[2:-2, 2:-2] = model(occluded[None]).argmax(1)[0] == target
            np.testing.assert_array_equal(result.output(row, col), expected)


def test_pixels_without_output_of_an_image_that_preprocess_resizes():
    """Half the size, then 2 px less at every side: 4 px of the image."""
    segmenter = hw.Segmenter(cropped, align="center", preprocess=lambda images: F.avg_pool2d(images, 2))
    image = torch.zeros(1, 1, 32, 40)
    image[..., 8:16, 8:24] = 1
    inside = np.zeros((32, 40), bool)
    inside[4:-4, 4:-4] = True
    probabilities = segmenter.probabilities(image)[0]
    np.testing.assert_array_equal(segmenter.valid_pixels(32, 40), inside)
    np.testing.assert_array_equal(np.isnan(probabilities), ~inside)
    np.testing.assert_array_equal(segmenter.masks(image)[0], image[0, 0] == 1)
