"""Models whose attributes hide methods of nn.Module, and models in wrappers, which may run copies in other threads."""

import threading

import numpy as np
import pytest
import torch
from layer_helpers import found, number_of_hooks
from torch import nn

import hdm_widgets as hw
from hdm_widgets.latent import Layer, LayerError
from hdm_widgets.models.modules import modules

QUIET = {"progress": False}
IMAGES = torch.rand(12, 1, 16, 16, generator=torch.Generator().manual_seed(0))
ITEMS = [(image, image[0] > 0.5) for image in IMAGES]
METHODS = [
    "apply", "buffers", "children", "eval", "get_submodule", "modules", "named_buffers", "named_children",
    "named_modules", "named_parameters", "parameters", "register_forward_hook", "register_forward_pre_hook",
    "requires_grad_", "state_dict", "to", "train", "zero_grad",
]  # fmt: skip


def network():
    torch.manual_seed(0)
    return hw.UNet(1, 1, width=2, depth=2).train()


def without_methods(*names):
    model = network()
    for module in (model, model.bottleneck, model.decoder[1]):
        vars(module).update({name: ["mine"] for name in names})
    return model


@pytest.fixture(scope="module")
def expected():
    return hw.LatentSpace(network(), batch_size=4).fit(ITEMS, **QUIET)


def assert_fits_as(expected, model, layer="auto"):
    space = hw.LatentSpace(model, layer=layer, batch_size=4).fit(ITEMS, **QUIET)
    np.testing.assert_array_equal(space.embedding_, expected.embedding_)
    np.testing.assert_array_equal(space.iou_, expected.iou_)
    np.testing.assert_array_equal(space.transform(IMAGES[:4]), expected.transform(IMAGES[:4]))
    assert space.layer_.name == expected.layer_.name
    assert space.layer_.shape == expected.layer_.shape
    return space


@pytest.mark.parametrize("name", METHODS)
def test_a_method_that_an_attribute_hides(name, expected):
    model = without_methods(name)
    assert_fits_as(expected, model)
    assert vars(model)[name] == ["mine"]
    assert all(module.training for module in modules(model))
    assert all(not module._forward_hooks for module in modules(model))


@pytest.mark.parametrize("name", [*METHODS, "all"])
def test_a_method_that_a_class_overrides(name, expected):
    def refuses(*args, **kwargs):
        raise AssertionError("a model's own method of another meaning")

    model = network()
    for module in (model, model.bottleneck, model.decoder[1]):
        own = dict.fromkeys(METHODS if name == "all" else [name], refuses)
        module.__class__ = type("Own", (type(module),), own)
    assert_fits_as(expected, model)
    assert all(module.training for module in modules(model))
    assert all(not module._forward_hooks for module in modules(model))


@pytest.mark.parametrize("layer", ["auto", "bottleneck", "the module"])
def test_all_methods_hidden_at_once(layer, expected):
    model = without_methods(*METHODS)
    assert_fits_as(expected, model, model.bottleneck if layer == "the module" else layer)
    with pytest.raises(LayerError, match="no layer 'bottelneck'; did you mean 'bottleneck'"):
        hw.LatentSpace(model, layer="bottelneck").fit(ITEMS, **QUIET)


# -- wrappers -----------------------------------------------------------------------------------------


class Replicating(nn.DataParallel):
    """Runs copies of the network in threads of their own, as DataParallel does on several devices."""

    def forward(self, images):
        outputs = {}

        def run(number, part):
            copied = self.module._replicate_for_data_parallel()
            with torch.inference_mode(True):
                outputs[number] = copied(part)

        workers = [threading.Thread(target=run, args=entry) for entry in enumerate(images.chunk(2))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return torch.cat([outputs[number] for number in sorted(outputs)])


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "on several devices": Replicating,
    "twice": lambda model: nn.DataParallel(nn.DataParallel(model)),
    "torch.compile": lambda model: torch.compile(model, backend="eager"),
}


@pytest.mark.parametrize("layer", ["auto", "bottleneck", "module.bottleneck", "the module"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_layers_of_a_model_in_a_wrapper(wrapper, layer, expected, tmp_path):
    inside = network()
    model = WRAPPERS[wrapper](inside)
    if layer == "module.bottleneck":
        layer = next(name for name, module in model.named_modules() if module is inside.bottleneck)
        assert layer != "bottleneck"
    space = assert_fits_as(expected, model, inside.bottleneck if layer == "the module" else layer)
    assert number_of_hooks(model) == 0
    assert all(module.training for module in model.modules())
    # A saved space serves the model with and without its wrapper.
    space.save(tmp_path)
    for one in (model, inside):
        loaded = hw.LatentSpace.load(tmp_path, one, ITEMS)
        np.testing.assert_allclose(loaded.transform(IMAGES[:4]), expected.transform(IMAGES[:4]), atol=1e-6)


def test_the_wrapper_and_what_is_in_it_as_the_layer():
    inside = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 1, 1))
    model = nn.DataParallel(inside)
    assert found(model, model) == found(model, inside) == found(model, "") == Layer("", (1, 64, 64))
    assert found(model, "module.0") == found(model, "0") == found(model, inside[0]) == Layer("0", (3, 64, 64))
    with pytest.raises(LayerError, match=r"no layer 'module\.5'"):
        found(model, "module.5")
    with pytest.raises(LayerError, match="no part of the model"):
        found(model, nn.Conv2d(1, 3, 1))


def test_a_segmenter_around_a_wrapper_stays_around_it():
    model = nn.DataParallel(network())
    segmenter = hw.Segmenter(model, batch_size=4)
    space = hw.LatentSpace(segmenter).fit(ITEMS, **QUIET)
    assert space.segmenter is segmenter
    assert segmenter.model is model
    # What was decided on the first output holds for it too.
    assert segmenter.activation == hw.LatentSpace(network()).fit(ITEMS, **QUIET).segmenter.activation != "auto"
    np.testing.assert_array_equal(segmenter.masks(IMAGES), [space.prediction(index) for index in range(12)])


# -- without padding ----------------------------------------------------------------------------------


class Unpadded(nn.Module):
    """Draws the first channel without the pixels at the border, as convolutions that are not padded do."""

    def __init__(self):
        super().__init__()
        self.values = nn.Identity()

    def forward(self, images):
        return self.values(images)[:, :1, 1:-1, 1:-1]


def test_pixels_without_output_do_not_count():
    # Of 4 x 4 px the middle 2 x 2 have an output: one hit, one missed, one added; at the border all would be hits.
    image, truth = torch.ones(2, 4, 4), np.ones((4, 4), bool)
    image[0, 1:3, 1:3] = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    truth[1:3, 1:3] = [[True, True], [False, False]]
    items = [(image * (1, 0.9, 0.8)[i % 3], truth) for i in range(5)]
    segmenter = hw.Segmenter(Unpadded(), align="center")
    space = hw.LatentSpace(segmenter, layer="values").fit(items, **QUIET)
    overlaps = space.overlaps_
    np.testing.assert_array_equal([overlaps.tp, overlaps.fn, overlaps.fp], np.ones((3, 5)))
    np.testing.assert_allclose(space.iou_, 1 / 3)
    np.testing.assert_array_equal(space.prediction(0)[1:3, 1:3], [[True, False], [True, False]])
    assert space.prediction(0).sum() == 2
    assert space.truth(0).sum() == 2
    assert space.ignored(0).sum() == 12
