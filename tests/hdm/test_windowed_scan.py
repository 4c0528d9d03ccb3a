"""A scan over windows measures what a scan over whole images does, cell by cell and pixel by pixel."""

import numpy as np
import pytest
import torch
from architectures import LOCAL, made
from torch import nn
from torch.nn import functional as F
from window_checks import Levelled, random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.metrics import hausdorff_distance

QUIET = {"progress": False}
SIZE = 97, 131


def scene(channels, height, width):
    """Light and dark in blobs."""
    coarse = random_image(channels, height // 8, width // 8)
    fine = F.interpolate(coarse[None], size=(height, width), mode="bicubic", align_corners=True)[0]
    return (fine + 0.1 * random_image(channels, height, width)).clamp(0.02, 1)


def unet(image, classes=1, width=4, **options):
    network = randomized(made(lambda: hw.UNet(len(image), classes, width, 2, **options)))
    return Levelled(network, image)


def explainer_for(image, circle_size=9, offset=12, cls=hdm.HausdorffDistanceMasks, **options):
    explainer = cls(image.shape[-1], image.shape[-2])
    explainer.generate_masks(circle_size, offset, **options)
    return explainer


def margins(raw, segmenter):
    """How far every pixel's logit is from the other side of the decision, and what rounding may move it by."""
    rounding = 1e-5 * max(1.0, float(raw.abs().max()))
    target = segmenter.target_map(raw)[0]
    if raw.shape[1] == 1:
        threshold = segmenter.threshold
        if segmenter.activation == "sigmoid":
            threshold = float(np.log(threshold / (1 - threshold)))
        return (target - threshold).abs().numpy(), rounding
    others = raw[0].clone()
    others[raw.shape[1] - 1 if segmenter.target is None else segmenter.target] = -np.inf
    return (target - others.amax(0)).abs().numpy(), 2 * rounding


def assert_equal_scans(ours, full, segmenter):
    """Every cell: the same distance and mask, but for pixels that rounding can move across the threshold."""
    assert (ours.plan.backend, full.plan.backend) == ("windowed", "model"), ours.plan.reason
    assert ours.complete
    np.testing.assert_array_equal(ours.measured, full.measured)
    assert ours.baseline == full.baseline
    np.testing.assert_array_equal(ours.baseline_mask, full.baseline_mask)
    np.testing.assert_array_equal(ours.values[~ours.measured], full.values[~full.measured])
    changed = 0
    for row, col in np.argwhere(full.measured).tolist():
        mask, expected = ours.output(row, col), full.output(row, col)
        differs = mask != expected
        if differs.any():
            raw = segmenter.raw(torch.from_numpy(full.occluded(row, col))[None])
            margin, rounding = margins(raw, segmenter)
            assert (margin[differs] <= rounding).all(), f"cell ({row}, {col}): {margin[differs].max()} > {rounding}"
            assert ours.values[row, col] == hausdorff_distance(mask, full.segment, empty=full.settings.empty)
        else:
            np.testing.assert_array_equal(ours.values[row, col], full.values[row, col])
        changed += (expected != full.baseline_mask).any()
    # What is compared is no image of nothing.
    assert changed >= min(20, full.measured.sum() / 2)
    assert len(np.unique(full.values)) >= 3


def both(model, image, segment=None, *, explainer=explainer_for, **options):
    """One scan in windows and one in full; by two explainers, as one remembers what it has measured."""
    segmenter = model if isinstance(model, hw.Segmenter) else hw.Segmenter(model, options.get("target"))
    if segment is None:
        # From the model's own mask, the distance follows every change of it.
        segment = segmenter.masks(image[None])[0]
    ours, full = (
        explainer(image).explain(model, image, segment, inference=ways, **options, **QUIET)
        for ways in ("windowed", "full")
    )
    assert_equal_scans(ours, full, segmenter)
    return ours, full


# -- networks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest", "transposed"])
def test_unet(upsampling):
    image = scene(1, *SIZE)
    # Of so many channels that windows cost more than batches: else those at a border are as large as others.
    ours, _ = both(unet(image, width=16, upsampling=upsampling), image)
    assert ours.plan.verified >= 2
    assert ours.plan.largest_difference <= 1e-4
    # Much less than the image is computed for a disc.
    assert ours.plan.window < SIZE
    assert ours.plan.factor > 4


def test_demo():
    model, image, segment, _ = hw.demo.shapes(5)
    ours, _ = both(model, image, segment, explainer=lambda image: explainer_for(image, 25, 8))
    assert ours.plan.verified >= 2


@pytest.mark.parametrize("target", [0, 3])
def test_several_classes(target):
    image = scene(2, *SIZE)
    both(unet(image, 4), image, target=target)


def test_independent_classes():
    image = scene(1, *SIZE)
    both(hw.Segmenter(unet(image, 3), target=1, activation="sigmoid", threshold=0.45), image)


@pytest.mark.parametrize("name", ["strided encoder", "ResNet U-Net"])
def test_padded_to_what_the_network_takes(name):
    image = scene(1, *SIZE)
    both(hw.Segmenter(Levelled(randomized(made(LOCAL[name], 1)), image), pad_to=16), image)


@pytest.mark.parametrize("name", ["ShuffleNet-like", "unpadded U-Net"])
def test_an_output_smaller_than_the_image(name):
    image = scene(1, *SIZE)
    model = Levelled(randomized(made(LOCAL[name], 1)), image)
    assert model(image[None]).shape[-2] < SIZE[0]
    both(model, image)


def test_an_output_with_a_name():
    image = scene(1, *SIZE)

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = unet(image, 2)

        def forward(self, images):
            out = self.network(images)
            return {"aux": out[:, :1], "out": out}

    both(Named(), image, target=0)


def test_double_precision():
    image = scene(1, 50, 61)
    both(unet(image).double(), image)


def test_what_looks_at_the_whole_image_last():
    image = scene(1, *SIZE)

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = unet(image, 2)

        def forward(self, images):
            out = self.network(images)
            return out + out.mean((2, 3), keepdim=True)

    ours, _ = both(Scaled(), image)
    assert "mean" in ours.plan.reason
    assert ours.plan.window == SIZE


# -- occlusions ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def colour():
    image = scene(2, 65, 70)
    return unet(image), image


@pytest.mark.parametrize("channel", [-1, 1])
@pytest.mark.parametrize("fill", ["minimum", "mean", "blur", 0.8, -3])
def test_fills(colour, fill, channel):
    both(*colour, fill=fill, channel=channel)


def test_images_from_minus_one_to_one(colour):
    image = 2 * colour[1] - 1
    ours, _ = both(unet(image), image, explainer=lambda image: explainer_for(image, normalize=True))
    assert ours.occluded(2, 2).min() == -1


def test_the_minimum_cuts_what_is_too_bright_outside_the_disc_too(colour):
    image = 1.6 * colour[1]
    with pytest.warns(UserWarning, match="values up to 1.6; the element-wise minimum"):
        ours, _ = both(unet(image.clamp(max=1)), image)
    # The image that windows are laid over is not the one that the baseline is of.
    assert ours.occluded(0, 0)[:, 30:].max() == 1
    assert not np.array_equal(ours._masks.predicted, ours.baseline_mask)


def test_region(colour):
    ours, _ = both(*colour, region=(20, 31, 43, 70))
    assert 0 < ours.measured.sum() < ours.values.size


class OwnMask(hdm.HausdorffDistanceMasks):
    def apply_mask(self, image, mask):
        # Upside down under the disc, and a little somewhere else.
        covered = torch.where(mask < 1, image.flip(-2), image)
        covered[..., 0, :2] = mask.sum() / mask.numel()
        return covered


@pytest.mark.parametrize("channel", [-1, 0])
def test_own_apply_mask(colour, channel):
    both(*colour, channel=channel, explainer=lambda image: explainer_for(image, cls=OwnMask))


# -- distances and outputs ----------------------------------------------------------------------------


def test_row_distance(colour):
    model, image = colour
    truth = np.zeros((65, 70), np.uint8)
    truth[20:40, 10:50] = 1
    ours, full = (
        explainer_for(image).explain(model, image, truth, distance="rows", inference=ways, **QUIET)
        for ways in ("windowed", "full")
    )
    assert (ours.plan.backend, full.plan.backend) == ("windowed", "model")
    assert full.values.std() > 1e-3
    np.testing.assert_allclose(ours.values, full.values, atol=1e-4)


class OwnDistance(hdm.HausdorffDistanceMasks):
    def calculate_distance(self, output, segment):
        assert output.shape == segment.shape == (65, 70)
        return float(output[segment].mean() - output[~segment].mean())


def test_own_calculate_distance_gets_whole_outputs(colour):
    model, image = colour
    truth = hw.Segmenter(model).masks(image[None])[0]
    ours, full = (
        explainer_for(image, cls=OwnDistance).explain(model, image, truth, inference=ways, **QUIET)
        for ways in ("windowed", "full")
    )
    assert (ours.plan.backend, full.plan.backend) == ("windowed", "model")
    assert full.values.std() > 1e-3
    np.testing.assert_allclose(ours.values, full.values, atol=1e-5)


@pytest.mark.parametrize("empty", ["inf", "nan", "diagonal"])
def test_masks_that_become_empty(empty):
    image = torch.full((1, 40, 48), 0.05)
    image[:, 8:12, 20:25] = 1
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.Conv2d(1, 1, 1))
    with torch.no_grad():
        model[0].weight.fill_(1 / 9)
        model[1].weight.fill_(10)
        model[1].bias.fill_(-5)
    segment = image[0].numpy() > 0.5
    ours, full = (
        explainer_for(image, 9, 4).explain(model, image, segment, empty=empty, inference=ways, **QUIET)
        for ways in ("windowed", "full")
    )
    assert ours.plan.backend == "windowed"
    expected = {"inf": np.inf, "nan": np.nan, "diagonal": np.hypot(40, 48)}[empty]
    np.testing.assert_equal(ours.values[1, 4], expected)
    np.testing.assert_array_equal(ours.values, full.values)
    assert ours.complete
    assert not ours.output(1, 4).any()


def test_masks_need_not_be_kept(colour):
    model, image = colour
    segment = image[0].numpy() > 0.5
    kept, dropped = (
        explainer_for(image).explain(model, image, segment, inference="windowed", keep_outputs=keep, **QUIET)
        for keep in (True, False)
    )
    np.testing.assert_array_equal(dropped.values, kept.values)
    with pytest.raises(ValueError, match="masks were not kept"):
        dropped.output(0, 0)


@pytest.mark.parametrize("region", [None, (10, 10, 30, 20)])
def test_a_stored_result_has_every_mask(tmp_path, colour, region):
    model, image = colour
    explainer = explainer_for(image)
    result = explainer.explain(model, image, image[0].numpy() > 0.5, region=region, inference="windowed", **QUIET)
    result.save(tmp_path / "scan.npz")
    loaded = hdm.HDMResult.load(tmp_path / "scan.npz")
    np.testing.assert_array_equal(loaded.values, result.values)
    np.testing.assert_array_equal(loaded.measured, result.measured)
    assert loaded.plan is loaded.approximation is None
    for row, col in np.argwhere(result.measured).tolist():
        np.testing.assert_array_equal(loaded.output(row, col), result.output(row, col))
        np.testing.assert_array_equal(loaded.occluded(row, col), result.occluded(row, col))
