"""`hw.layers`: what can be named, with its shape; what cannot, and why."""

import numpy as np
import pytest
import torch
from layer_helpers import features, noise, number_of_hooks
from torch import nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets.latent import Layer, LayerTable


class Model(nn.Module):
    """An encoder of several maps, one activation for all, a layer that does not run, a vector, and <a name>."""

    def __init__(self, twice=False):
        super().__init__()
        self.encoder = Encoder()
        self.relu = nn.ReLU()
        self.unused = nn.Conv2d(1, 1, 1)
        self.vector = nn.Linear(6, 4)
        self.add_module("<head>", nn.Conv2d(4, 3, 1))
        self.twice = twice

    def forward(self, images):
        fine, coarse = (self.relu(maps) for maps in self.encoder(images).values())
        if self.twice:
            self.encoder(images)
        weights = self.vector(coarse.mean((2, 3)))
        maps = fine * weights[..., None, None] + F.interpolate(coarse[:, :4], size=fine.shape[-2:])
        return self._modules["<head>"](maps)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, 2, 1)

    def forward(self, images):
        fine = self.one(images)
        return {"high": fine, "low": self.two(fine)}


ROWS = [
    (Layer("encoder[high]", (4, 16, 24)), "Encoder"),
    (Layer("encoder[low]", (6, 8, 12)), "Encoder"),
    (Layer("encoder.one", (4, 16, 24)), "Conv2d"),
    (Layer("encoder.two", (6, 8, 12)), "Conv2d"),
    (Layer("vector", (4,)), "Linear"),
    (Layer("<head>", (3, 16, 24)), "Conv2d"),
]


@pytest.mark.parametrize(
    ("wrap", "image"),
    [
        (lambda model: model, noise(1, 16, 24)),
        (lambda model: model, noise(16, 24)),
        (lambda model: model, noise(16, 24).numpy()),
        (lambda model: hw.Segmenter(model, target=2), noise(1, 16, 24)),
        (nn.DataParallel, noise(1, 16, 24)),
    ],
    ids=["module", "image without channels", "array", "segmenter", "wrapper"],
)
def test_what_can_be_named(wrap, image):
    model = Model()
    table = hw.layers(wrap(model), image)
    assert isinstance(table, LayerTable)
    assert list(zip(table, table.types, strict=True)) == ROWS
    assert table.names == tuple(layer.name for layer, _ in ROWS)
    assert (len(table), table[1], table[-2:]) == (6, ROWS[1][0], (ROWS[4][0], ROWS[5][0]))
    assert table.auto == "encoder.two"
    assert table.refused == {"relu": "ran 2 times", "unused": "did not run"}
    assert number_of_hooks(model) == 0
    assert model.training


@pytest.mark.parametrize("name", [layer.name for layer, _ in ROWS])
def test_every_name_is_a_layer_of_a_space(name):
    model = Model().eval()
    got = features(model, name, noise(6, 1, 16, 24), pool="flatten")
    with torch.no_grad():
        maps = model.encoder(noise(6, 1, 16, 24))
        expected = {
            "encoder[high]": maps["high"], "encoder[low]": maps["low"], "encoder.one": maps["high"],
            "encoder.two": maps["low"], "vector": model.vector(maps["low"].relu().mean((2, 3))),
            "<head>": model(noise(6, 1, 16, 24)),
        }  # fmt: skip
    np.testing.assert_allclose(got, expected[name].flatten(1), atol=1e-5)


TEXT = """\
layer          module   output
encoder[high]  Encoder  4 channels of 16 x 24
encoder[low]   Encoder  6 channels of 8 x 12
encoder.one    Conv2d   4 channels of 16 x 24
encoder.two    Conv2d   6 channels of 8 x 12  <- layer="auto"
vector         Linear   4 channels
<head>         Conv2d   3 channels of 16 x 24
layer="auto" takes encoder.two.
Cannot be named: relu ran 2 times, unused did not run."""


def test_a_table_reads_well_as_text_and_in_a_notebook():
    table = hw.layers(Model(), noise(1, 16, 24))
    assert str(table) == repr(table) == TEXT
    page = table._repr_html_()
    assert page.count("<tr>") == len(ROWS) + 1
    assert "&lt;head&gt;" in page
    assert "<head>" not in page
    assert "Cannot be named: relu ran 2 times, unused did not run." in page


def test_a_table_says_when_there_is_no_bottleneck_that_runs_once():
    table = hw.layers(Model(twice=True), noise(1, 16, 24))
    assert table.auto is None
    assert 'layer="auto" finds no bottleneck that runs once.' in str(table)
    assert table.refused["encoder.two"] == table.refused["encoder"] == "ran 2 times"


def test_tokens_are_listed_as_patches():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut, self.mix = nn.Conv2d(1, 4, 8, 8), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
            self.head = nn.Linear(4, 1)

        def forward(self, images):
            tokens = self.cut(images).flatten(2).transpose(1, 2)
            tokens = self.mix(torch.cat([tokens[:, :1], tokens], 1))[:, 1:]
            return F.interpolate(self.head(tokens).transpose(1, 2).unflatten(2, (2, 3)), size=images.shape[-2:])

    table = hw.layers(Tokens(), noise(1, 16, 24))
    assert table.auto == "mix"
    assert str(table[table.names.index("mix")]) == "mix: 7 tokens of 4 channels (2 x 3 patches and 1 more)"


@pytest.mark.parametrize(
    ("model", "image", "error", "message"),
    [
        (lambda images: images, noise(1, 8, 8), TypeError, "layers of a torch.nn.Module; a function"),
        (
            Model(),
            noise(1, 1, 8, 8),
            ValueError,
            r"the image must be \(C, H, W\) or \(H, W\), got shape \(1, 1, 8, 8\)",
        ),
        (Model(), [[0.5]], TypeError, "the image must be a torch tensor or a numpy array, got list"),
        (Model(), torch.ones(1, 8, 8, dtype=torch.uint8), TypeError, "the image must be of a floating type"),
        (Model(), noise(3, 8, 8), hw.hdm.ModelError, "the model raised RuntimeError"),
    ],
    ids=["no module", "a batch", "a list", "whole numbers", "another number of channels"],
)
def test_what_is_refused(model, image, error, message):
    with pytest.raises(error, match=message):
        hw.layers(model, image)


def test_an_unknown_keyword_gets_advice():
    with pytest.raises(TypeError, match="layers\\(\\) has no keyword 'layot'; did you mean 'layout'"):
        hw.layers(Model(), noise(1, 8, 8), layot="auto")
