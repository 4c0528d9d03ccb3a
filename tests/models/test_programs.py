"""Models that are programs rather than modules: TorchScript and what torch.export makes. They run as they are."""

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets import hdm

# TorchScript is deprecated, and in use.
pytestmark = pytest.mark.filterwarnings(r"ignore:`torch\.jit\.:DeprecationWarning")

IMAGES = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(4))
        self.bottleneck = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.Upsample(scale_factor=4), nn.Conv2d(6, 1, 1))

    def forward(self, images):
        return self.head(self.bottleneck(self.down(images)))


def exported(model):
    batch = torch.export.Dim("batch")
    program = torch.export.export(model.eval(), (IMAGES,), dynamic_shapes={"images": {0: batch}})
    return program.module()


PROGRAMS = {
    "exported": exported,
    "scripted": lambda model: torch.jit.script(model.train()),
    "traced": lambda model: torch.jit.trace(model.eval(), IMAGES),
    "frozen": lambda model: torch.jit.freeze(torch.jit.script(model.eval())),
    "frozen trace": lambda model: torch.jit.freeze(torch.jit.trace(model.eval(), IMAGES)),
    "in a wrapper": lambda model: nn.DataParallel(torch.jit.freeze(torch.jit.script(model.eval()))),
    "optimized": lambda model: torch.jit.optimize_for_inference(torch.jit.script(model.eval())),
}


@pytest.fixture(scope="module")
def expected():
    with torch.no_grad():
        return Network().eval()(IMAGES).sigmoid()[:, 0].numpy()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_as_it_is(name, expected):
    program = PROGRAMS[name](Network())
    flag = getattr(program, "training", None)
    threshold = float(np.median(expected))
    segmenter = hw.Segmenter(program, activation="sigmoid", threshold=threshold, batch_size=4)
    np.testing.assert_allclose(segmenter.probabilities(IMAGES), expected, atol=1e-6)
    assert getattr(program, "training", None) == flag


@pytest.mark.parametrize("inference", ["auto", "full"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_explained_as_its_module_is(name, inference, expected):
    explainer = hw.hdm.HausdorffDistanceMasks(16, 16)
    explainer.generate_masks(4, 4)
    threshold = float(np.median(expected))
    distances = []
    for model in (PROGRAMS[name](Network()), Network()):
        segmenter = hw.Segmenter(model, activation="sigmoid", threshold=threshold)
        result = explainer.explain(segmenter, IMAGES[0], expected[0] > threshold, inference=inference)
        distances.append(result.distances(hw.hdm.RAW))
    np.testing.assert_array_equal(*distances)
    assert distances[0].max() > 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_shows_no_layers(name):
    kind = "was exported" if name == "exported" else "is TorchScript"
    with pytest.raises(TypeError, match=rf"the model {kind}, so that it shows no layers: .*from_features\(features"):
        hw.LatentSpace(PROGRAMS[name](Network()))


def test_a_graph_of_modules_shows_its_layers():
    graph = torch.fx.symbolic_trace(Network())
    items = [(image, image[0] > 0.5) for image in IMAGES]
    space, expected = (
        hw.LatentSpace(model, layer="bottleneck.0", batch_size=1).fit(items, progress=False)
        for model in (graph, Network())
    )
    np.testing.assert_array_equal(space.embedding_, expected.embedding_)


@pytest.mark.filterwarnings("ignore:.isinstance.treespec:FutureWarning")  # PyTorch's own, when a program is copied
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_scan_that_asks_for_windows(name):
    """What cannot be traced is run in full, in a second scan too, which remembers that."""
    image, explainer = IMAGES[0], hdm.HausdorffDistanceMasks(16, 16)
    explainer.generate_masks(circle_size=4, offset=4)
    model = Network().eval()
    values = hw.Segmenter(model, activation="sigmoid").probabilities(IMAGES[:2])
    threshold = float(np.median(values))
    expected = explainer.explain(
        hw.Segmenter(model, activation="sigmoid", threshold=threshold), image, values[1] > threshold, inference="full",
        progress=False,
    )  # fmt: skip
    segmenter = hw.Segmenter(PROGRAMS[name](model), activation="sigmoid", threshold=threshold)
    for _ in range(2):
        result = explainer.explain(segmenter, image, values[1] > threshold, inference="windowed", progress=False)
        np.testing.assert_array_equal(result.values, expected.values)
        assert len(np.unique(result.values)) > 1
        assert (result.plan.backend == "model") == ("TorchScript" in result.plan.reason) == (name != "exported")
