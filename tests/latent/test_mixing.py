"""Models whose output for an image depends on the rest of its batch: a fit runs them one at a time, and says so."""

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw

QUIET = {"progress": False}
# The last image has a bright spot, which darkens all others in a batch that is scaled by its largest value.
IMAGES = torch.rand(8, 2, 8, 8, generator=torch.Generator().manual_seed(0))
IMAGES[-1, :, 0, 0] = 10
ITEMS = [(image, image[0] > 0.5) for image in IMAGES]


class Scaled(nn.Module):
    """Scales a batch before it draws its first channel."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.values = nn.Identity()
        self.sizes = []

    def forward(self, images):
        self.sizes.append(len(images))
        return self.values(self.scale(images))[:, 0]


def batch_statistics(images):
    return nn.functional.batch_norm(images, None, None, training=True)


SCALES = {
    "largest": lambda images: images / images.max(),
    "standardized": lambda images: (images - images.mean()) / images.std(),
    "batch statistics": lambda images: batch_statistics(images),
}


def model_of(name):
    if name == "batch norm without running statistics":
        return Scaled(nn.BatchNorm2d(2, track_running_stats=False))
    return Scaled(SCALES[name])


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("name", [*SCALES, "batch norm without running statistics"])
def test_a_fit_of_a_model_that_mixes_batches(name, batch_size):
    model = model_of(name)
    with pytest.warns(
        UserWarning, match=r"depends on the other images of its batch; going on one image at a time"
    ) as said:
        space = hw.LatentSpace(model, layer="values", batch_size=batch_size).fit(ITEMS, **QUIET)
    assert len(said) == 1
    assert said[0].filename == __file__
    assert model.sizes[-8:] == [1] * 8
    # By hand: every image alone.
    with torch.no_grad():
        alone = torch.cat([model_of(name).eval().values(model.scale(image[None])) for image in IMAGES])
    expected = alone.mean((2, 3)).numpy()
    np.testing.assert_allclose(space.collection_.features, expected, atol=1e-6)
    masks = alone[:, 0] > 0.5 if name == "largest" else alone[:, 0] > 0
    np.testing.assert_array_equal([space.prediction(index) for index in range(8)], masks)
    assert space.segmenter.reading.batch_dependent is True
    # New images too, without another word.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        located = space.transform(IMAGES[:4])
    np.testing.assert_allclose(located, space.embedding_[:4], atol=1e-5)
    # Another fit says it again, and looks for it no more.
    model.sizes.clear()
    with pytest.warns(UserWarning, match="depends on the other images of its batch"):
        space.fit(ITEMS, **QUIET)
    assert model.sizes == [2] + [1] * 8


def test_one_image_at_a_time_needs_no_check():
    model = model_of("largest")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space = hw.LatentSpace(model, layer="values", batch_size=1).fit(ITEMS, **QUIET)
    expected = np.stack([(image / image.max()).mean((1, 2)).numpy() for image in IMAGES])
    np.testing.assert_allclose(space.collection_.features, expected, atol=1e-6)


def test_other_models_run_in_batches():
    model = Scaled(lambda images: images / images.amax((1, 2, 3), keepdim=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hw.LatentSpace(model, layer="values", batch_size=4).fit(ITEMS, **QUIET)
    assert model.sizes[-2:] == [4, 4]


@pytest.mark.parametrize("random", [False, True])
def test_a_fit_notes_what_it_found(random):
    def scale(images):
        return nn.functional.dropout(images, 0.5, training=random)

    torch.manual_seed(0)
    space = hw.LatentSpace(Scaled(scale), layer="values", batch_size=4)
    said = pytest.warns(UserWarning, match="two runs of the model on one image differ") if random else nullcontext()
    for _ in range(2):
        # It is said of every map that is made of such a model.
        with said:
            space.fit(ITEMS, **QUIET)
    assert space.segmenter.reading.batch_dependent is False
    assert space.segmenter.reading.random is random


def test_single_images_leave_it_open():
    space = hw.LatentSpace(Scaled(lambda images: images), layer="values", batch_size=1).fit(ITEMS, **QUIET)
    assert space.segmenter.reading.batch_dependent is None
    assert space.segmenter.reading.random is None


# -- what a model keeps from a run ---------------------------------------------------------------------


class Caches(nn.Module):
    """Keeps what it makes of its weight in the first run, by the size of the image, and its last maps."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 8, 8))
        self.layer = nn.Conv2d(2, 2, 1)
        self.kept, self.last = {}, None

    def forward(self, images):
        size = images.shape[-2:]
        if size not in self.kept:
            self.kept[size] = self.weight * 2, torch.arange(64.0).reshape(8, 8)
        scale, places = self.kept[size]
        self.last = self.layer(images * scale + places)
        return self.last[:, 0]


@pytest.mark.parametrize("use", ["auto", "layer", "masks", "explain"])
def test_a_model_that_keeps_tensors_can_be_trained_after(use):
    model = Caches()
    if use in ("auto", "layer"):
        hw.LatentSpace(model, layer=use, batch_size=4).fit(ITEMS, **QUIET)
    elif use == "masks":
        hw.Segmenter(model).masks(IMAGES)
    else:
        explainer = hw.hdm.HausdorffDistanceMasks(8, 8)
        explainer.generate_masks(2, 4)
        explainer.explain(model, IMAGES[0], IMAGES[0, 0] > 0.5)
    assert not model.last.requires_grad
    for tensor in (*model.kept.popitem()[1], model.last):
        assert not tensor.is_inference()
        assert not tensor.requires_grad
    hw.Segmenter(model).masks(IMAGES)  # keeps them again
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(IMAGES).sum().backward()
        optimizer.step()
    assert model.layer.weight.grad.abs().sum() > 0
