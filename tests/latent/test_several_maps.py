"""Modules that return several maps: refused with what they have, and taken by position or key."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from layer_helpers import features, found, noise
from torch import nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets.latent import Layer, LayerError
from hdm_widgets.latent.outputs import joined_name, main_tensor, split_name

IMAGES = noise(12, 1, 16, 16)
QUIET = {"progress": False}


class Encoder(nn.Module):
    """The image, and its means over 2 x 2 and 4 x 4 px with other signs; `form` is what it returns of them."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, images):
        return self.form([images, -F.avg_pool2d(images, 2), 2 * F.avg_pool2d(images, 4)])


class Model(nn.Module):
    """Draws what is bright; the coarse maps add nothing to it but their weight."""

    def __init__(self, form, back=lambda output: output):
        super().__init__()
        self.encoder, self.back, self.head = Encoder(form), back, nn.Conv2d(1, 1, 1)

    def forward(self, images):
        fine, middle, coarse = self.back(self.encoder(images))
        size = images.shape[-2:]
        return self.head(fine + F.interpolate(middle, size=size) + F.interpolate(coarse, size=size))


# What an encoder returns, how its decoder reads it, and the path to the coarsest map.
FORMS = {
    "a list": (list, list, "[2]"),
    "a list, from its end": (list, list, "[-1]"),
    "a tuple": (tuple, tuple, "[2]"),
    "a mapping": (lambda maps: dict(zip("abc", maps, strict=True)), lambda output: output.values(), "[c]"),
    "a mapping, in quotes": (lambda maps: dict(zip("abc", maps, strict=True)), lambda output: output.values(), "['c']"),
    "a mapping with numbers": (lambda maps: dict(enumerate(maps)), lambda output: output.values(), "[2]"),
    "a mapping with numbers as text": (
        lambda maps: {str(i): one for i, one in enumerate(maps)}, lambda output: output.values(), "[2]",
    ),
    "a tuple with a list": (lambda maps: (maps[0], maps[1:]), lambda output: [output[0], *output[1]], "[1][1]"),
    "an object": (
        lambda maps: SimpleNamespace(low=maps[0], others=maps[1:]), lambda output: [output.low, *output.others],
        "[others][1]",
    ),
}  # fmt: skip
COARSE = 2 * F.avg_pool2d(IMAGES, 4)


@pytest.mark.parametrize("form", FORMS)
def test_one_of_several_maps_is_taken_by_its_place(form):
    returns, back, path = FORMS[form]
    model = Model(returns, back)
    layer = f"encoder{path}"
    assert found(model, layer, (2, 1, 16, 16)).shape == (1, 4, 4)
    np.testing.assert_allclose(features(model, layer, IMAGES, "flatten"), COARSE.flatten(1), atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("by", ["name", "module"])
def test_several_maps_are_refused_with_their_shapes(form, by):
    returns, back, path = FORMS[form]
    model = Model(returns, back)
    with pytest.raises(LayerError, match="layer 'encoder' puts out several maps; it has") as raised:
        found(model, "encoder" if by == "name" else model.encoder, (2, 1, 16, 16))
    message = str(raised.value)
    named = path.replace("'", "").replace("-1", "2")
    assert f"{named}: 1 x 4 x 4" in message
    assert message.endswith(f"Name one of them, such as layer='encoder{named}'")
    assert "1 x 16 x 16" in message
    assert "1 x 8 x 8" in message


@pytest.mark.parametrize("path", ["[3]", "[-4]", "[out]", "[0][0]"])
def test_a_place_that_is_not_there(path):
    with pytest.raises(
        LayerError, match=r"layer 'encoder' has no output .*; it has \[0\]: 1 x 16 x 16, \[1\]: 1 x 8 x 8"
    ):
        found(Model(list), f"encoder{path}", (2, 1, 16, 16))


def test_a_place_in_a_layer_that_is_not_there():
    with pytest.raises(LayerError, match="no layer 'encodr'; did you mean 'encoder'"):
        found(Model(list), "encodr[1]", (2, 1, 16, 16))


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        (lambda maps: {"out": maps[2], "aux": maps[1]}, (1, 4, 4)),
        (lambda maps: {"aux": maps[1], "last_hidden_state": maps[2]}, (1, 4, 4)),
        (lambda maps: [maps[2], maps[2]], (1, 4, 4)),
        (lambda maps: (maps[2], maps[1].mean((2, 3)), 3), (1, 4, 4)),
        (lambda maps: (None, maps[1]), (1, 8, 8)),
    ],
    ids=["out", "last_hidden_state", "the same twice", "with a vector", "after nothing"],
)
def test_one_map_that_is_meant_needs_no_place(form, shape):
    model = Model(form, lambda output: [IMAGES[:2]] * 3)
    assert found(model, "encoder", (2, 1, 16, 16)) == Layer("encoder", shape)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("encoder", ("encoder", ())),
        ("a.b[3]", ("a.b", (3,))),
        ("a[-1][x]", ("a", (-1, "x"))),
        ("[out]", ("", ("out",))),
        ("a['x y']", ("a", ("x y",))),
        ("a]3[", ("a]3[", ())),
    ],
)
def test_names_with_places(name, parts):
    assert split_name(name) == parts
    assert split_name(joined_name(*parts)) == parts


def test_what_is_meant_without_a_place():
    fine, coarse = torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 2, 2)
    assert main_tensor([fine, coarse]) is None
    assert main_tensor({"high": fine, "low": coarse}) is None
    assert main_tensor({"high": fine}) is fine
    assert main_tensor((fine, (None, torch.ones(2, 5)))) is fine


def test_auto_takes_the_deepest_of_several_maps():
    class Deep(nn.Module):
        """No module returns the deepest maps alone."""

        def __init__(self):
            super().__init__()
            self.conv, self.form = nn.Conv2d(1, 3, 3, padding=1), list

        def forward(self, images):
            maps = self.conv(images)
            return self.form([maps, F.max_pool2d(maps, 2), F.max_pool2d(maps, 4)])

    model = Model(list, lambda maps: [one.mean(1, keepdim=True) for one in maps])
    model.encoder = Deep()
    assert found(model, shape=(2, 1, 16, 16)) == Layer("encoder[2]", (3, 4, 4), chosen=True)
    with torch.no_grad():
        expected = F.max_pool2d(model.encoder.conv(IMAGES), 4).mean((2, 3))
    np.testing.assert_allclose(features(model, "auto", IMAGES), expected, atol=1e-6)


def test_a_space_of_one_of_several_maps_is_kept(tmp_path):
    model, items = Model(list), [(image, image[0] > 0.5) for image in IMAGES]
    segmenter = hw.Segmenter(model, activation="sigmoid")
    space = hw.LatentSpace(segmenter, layer="encoder[-1]", pool="flatten").fit(items, **QUIET)
    assert space.layer_name_ == "encoder[-1]"
    np.testing.assert_allclose(space.collection_.features, COARSE.flatten(1), atol=1e-6)
    space.save(tmp_path)
    loaded = hw.LatentSpace.load(tmp_path, segmenter, items)
    np.testing.assert_allclose(loaded.transform(IMAGES[:3]), space.embedding_[:3], atol=1e-6)
