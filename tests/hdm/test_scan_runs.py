"""How often the model is run: not for a disc that changes nothing, once for images that are equal."""

import itertools

import numpy as np
import pytest
import torch
from architectures import made
from torch import nn
from torch.nn import functional as F
from window_checks import random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm

QUIET = {"progress": False}


class Counting(nn.Module):
    """Blurs the image or runs a network, and counts its runs; with `batch_size=1` those are the images."""

    def __init__(self, network=None):
        super().__init__()
        self.network = network
        self.runs = 0

    def forward(self, images):
        self.runs += 1
        return F.avg_pool2d(images[:, :1], 5, 1, 2) if self.network is None else self.network(images)


def explainer_for(image, circle_size, offset, cls=hdm.HausdorffDistanceMasks):
    explainer = cls(image.shape[-1], image.shape[-2])
    explainer.generate_masks(circle_size, offset)
    return explainer


def unet(seed=0):
    return randomized(made(lambda: hw.UNet(1, 1, 4, 2)), seed)


def half_dark():
    """An image (1, 40, 48) that is black from column 24 on, with a segment that reaches over the middle."""
    image = random_image(1, 40, 48).clamp(min=0.1)
    image[..., 24:] = 0
    segment = np.zeros((40, 48), bool)
    segment[10:30, 5:35] = True
    return image, segment


def different_images(result):
    """How many of the occluded images differ from one another, and from the first two without a disc."""
    cells = np.argwhere(result.measured).tolist()
    return len({result.occluded(row, col).tobytes() for row, col in cells} - {result.image.tobytes()})


# -- no change, no run --------------------------------------------------------------------------------


def test_discs_over_what_is_dark_already_are_not_run():
    image, segment = half_dark()
    model = Counting()
    result = explainer_for(image, 6, 4).explain(model, image, segment, inference="full", batch_size=1, **QUIET)
    # Columns 0 to 5 begin left of pixel 24; the others cover nothing that is not black.
    assert different_images(result) == 60
    assert model.runs == 2 + 60
    assert result.complete
    assert result.measured.all()
    np.testing.assert_array_equal(result.values[:, 6:], result.baseline)
    assert (result.values[:, :6] != result.baseline).any()
    for row, col in ((0, 6), (9, 11)):
        np.testing.assert_array_equal(result.output(row, col), result.baseline_mask)


def test_a_image_without_light_is_run_once(windows):
    model, image = Counting(), torch.zeros(1, 40, 48)
    for ways in ("full", "windowed"):
        result = explainer_for(image, 6, 4).explain(model, image, np.eye(40, 48), inference=ways, **QUIET)
        assert (result.values == result.baseline).all()
        assert result.complete
        assert model.runs == 1 or ways == "windowed"
    assert result.plan.backend == "folded"
    assert result.plan.reason == "hardly any disc changes the image"
    assert sum(windows) == 0


@pytest.mark.parametrize("ways", ["full", "windowed"])
def test_equal_images_are_run_once(windows, ways):
    # One light pixel at (13, 22): a disc covers it or changes nothing.
    image = torch.zeros(1, 40, 48)
    image[0, 13, 22] = 1
    model = Counting()
    explainer = explainer_for(image, 6, 2)
    result = explainer.explain(model, image, image[0].numpy(), threshold=0.02, inference=ways, batch_size=1, **QUIET)
    covering = np.array(
        [[explainer.grid.mask(row, col)[13, 22] for col in range(24)] for row in range(20)],
    )
    assert covering.sum() > 5
    assert result.baseline == np.hypot(2, 2)
    np.testing.assert_array_equal(result.values, np.where(covering, np.hypot(40, 48), result.baseline))
    assert not result.output(*np.argwhere(covering)[-1]).any()
    if ways == "full":
        assert model.runs == 3
    else:
        assert result.plan.backend == "windowed"
        assert windows == [1]


def test_equal_parts_at_other_places_are_other_images():
    # Two light squares: discs over one and discs over the other leave different images.
    image = torch.zeros(1, 40, 48)
    image[0, 4:6, 4:6] = image[0, 24:26, 24:26] = 1
    model = Counting()
    result = explainer_for(image, 12, 20).explain(
        model, image, image[0].numpy(), threshold=0.1, inference="full", batch_size=1, **QUIET
    )
    assert result.values.shape == (2, 2)
    assert model.runs == 4
    assert not result.output(0, 0)[4:6, 4:6].any()
    assert result.output(0, 0)[24:26, 24:26].all()
    assert result.output(1, 1)[4:6, 4:6].all()
    assert not result.output(1, 1)[24:26, 24:26].any()


@pytest.mark.parametrize("ways", ["full", "windowed"])
def test_only_different_images_are_run(windows, ways):
    image, segment = half_dark()
    image[:, 20:] = (image[:, 20:] > 0.5).float() * (torch.arange(48) % 7 == 0)
    model = Counting(unet())
    result = explainer_for(image, 5, 2).explain(model, image, segment, inference=ways, batch_size=1, **QUIET)
    expected = different_images(result)
    assert 100 < expected < 300
    assert (model.runs - 2 if ways == "full" else sum(windows)) == expected


def test_a_image_that_the_mask_cuts_is_run_twice_without_a_disc():
    image, segment = half_dark()
    image[0, 39, 23] = 1
    model = Counting()
    segmenter = hw.Segmenter(model, threshold=0.85, activation="none", batch_size=1)
    with pytest.warns(UserWarning, match="values up to 2; the element-wise minimum"):
        result = explainer_for(image, 6, 4).explain(segmenter, 2 * image, segment, inference="full", **QUIET)
    assert model.runs == 3 + 60
    # What no disc changes is the mask of the cut image, not of the image itself.
    cut = F.avg_pool2d((2 * image).clamp(max=1)[None], 5, 1, 2)[0, 0].numpy() > 0.85
    np.testing.assert_array_equal(result.output(3, 11), cut)
    assert not np.array_equal(cut, result.baseline_mask)


def test_a_fill_that_the_image_has_already_changes_nothing():
    image, segment = half_dark()
    image[..., 24:] = 0.5
    model = Counting()
    result = explainer_for(image, 6, 4).explain(
        model, image, segment, inference="full", fill=0.5, batch_size=1, **QUIET
    )
    assert model.runs == 2 + 60
    np.testing.assert_array_equal(result.values[:, 6:], result.baseline)


def test_cells_outside_a_region_are_not_run():
    image, segment = half_dark()
    model = Counting()
    result = explainer_for(image, 6, 4).explain(
        model, image, segment, inference="full", region=(0, 30, 40, 48), batch_size=1, **QUIET
    )
    # Only the discs of column 6 and later touch it, and they change nothing.
    assert model.runs == 1
    assert 0 < result.measured.sum() < 120
    assert result.complete


@pytest.mark.parametrize("ways", ["full", "windowed", "auto"])
@pytest.mark.parametrize("kind", ["module", "function"])
def test_a_region_that_no_disc_touches(kind, ways):
    image, segment = half_dark()
    model = Counting()
    result = explainer_for(image, 2, 20).explain(
        model if kind == "module" else lambda images: model(images), image, segment, region=(7, 7, 9, 9),
        inference=ways, **QUIET,
    )  # fmt: skip
    assert result.complete
    assert not result.measured.any()
    assert (result.values == result.baseline).all()


# -- an apply_mask of one's own -----------------------------------------------------------------------


class Noise(hdm.HausdorffDistanceMasks):
    """Covers with other noise every time."""

    def apply_mask(self, image, mask):
        # The grid is all different discs: a mask tells its cell.
        covered = torch.where(mask < 1, torch.rand(image.shape, generator=self.generator), image)
        self.seen.append((mask.numpy().tobytes(), covered))
        return covered


@pytest.mark.parametrize(
    "options",
    [
        {"inference": "full"},
        {"inference": "windowed"},
        {"inference": "estimate", "tolerance": 1e-6},
        {"inference": "auto"},
    ],
    ids=["full", "windowed", "estimate", "auto"],
)
def test_masks_that_are_not_the_same_twice_are_applied_once(options):
    image, segment = half_dark()
    model = unet()
    explainer = explainer_for(image, 6, 4, cls=Noise)
    explainer.generator, explainer.seen = torch.Generator().manual_seed(0), []
    result = explainer.explain(model, image, segment, **options, **QUIET)
    assert result.complete
    assert len(explainer.seen) == result.values.size == 120
    # And every mask is that of the one image that was made for its cell.
    covered = dict(explainer.seen)
    for row, col in itertools.product((0, 4, 9), (0, 5, 6, 11)):
        mask = torch.from_numpy(1 - explainer.grid.mask(row, col)).float().numpy()
        seen = hw.Segmenter(model).masks(covered[mask.tobytes()][None])[0]
        assert (result.output(row, col) != seen).mean() < 1e-3


def test_an_own_mask_that_changes_nothing_is_not_run():
    class Nothing(hdm.HausdorffDistanceMasks):
        def apply_mask(self, image, mask):
            return image

    image, segment = half_dark()
    model = Counting()
    result = explainer_for(image, 6, 4, cls=Nothing).explain(model, image, segment, inference="full", **QUIET)
    # The image twice, then a variant of it alone and in a batch.
    assert model.runs == 4
    assert (result.values == result.baseline).all()
