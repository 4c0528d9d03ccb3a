"""Models whose own `train` and `eval` forget the flags, switch something else, or are another thing altogether."""

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets.models.evaluation import evaluating
from hdm_widgets.models.modules import named_modules
from hdm_widgets.models.training_mode import set_training

IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    """Batch norm and dropout in a part: what it returns in training mode differs from run to run."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.part = self.make_part()
        self.head = nn.Conv2d(3, 1, 1)
        self.auxiliary = "on"

    def make_part(self):
        return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout(0.5))

    def forward(self, images):
        return self.head(self.part(images))


class ForgetsFlags(Network):
    def eval(self):
        return self


class LeavesPartsInTraining(Network):
    """A `train` of no argument, as of a model that has one mode only."""

    def train(self, mode=True):
        super().train(mode)
        self.part.train(True)
        return self


class TakesNoMode(Network):
    def train(self):
        raise AssertionError("train() is for training")


class Trains(Network):
    """`train` is what trains the model, so that `nn.Module.eval` trains it as well."""

    def train(self, mode=True):
        with torch.no_grad():
            self.head.weight += 1
        return self


class TrainsInEval(Network):
    """Merges into the weights, as adapters do."""

    def eval(self):
        self.head.weight.data += 1
        self.auxiliary = "merged"
        return super().eval()


class ReplacesInEval(Network):
    """Makes itself small, as networks with several branches do."""

    def eval(self):
        self.part = nn.Conv2d(1, 3, 1)
        self.head.weight = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.extra = nn.Identity()
        return super().eval()


class ResizesInEval(Network):
    def eval(self):
        self.head.weight.data = torch.zeros(2, 3, 1, 1)
        return super().eval()


class Part(nn.Sequential):
    """The methods are on a part of the model."""

    def train(self, mode=True):
        self[0].weight.data.zero_()
        return self

    def parameters(self, recurse=True):
        return [{"params": [self[0].weight]}]  # groups, for an optimizer


class PartTrains(Network):
    def make_part(self):
        return Part(*super().make_part())


class HiddenLayers(Network):
    """Layers in a plain list, which `nn.Module` does not see."""

    def make_part(self):
        self.layers = list(super().make_part())
        self.by_name = {"last": nn.Dropout(0.5)}
        return nn.Sequential()

    def forward(self, images):
        for layer in self.layers:
            images = layer(images)
        return self.head(self.by_name["last"](images))


class ShadowedFlag(Network):
    def __init__(self):
        super().__init__()
        self.training = 1  # some set it so


STUBBORN = [
    ForgetsFlags, LeavesPartsInTraining, TakesNoMode, Trains, TrainsInEval, ReplacesInEval, ResizesInEval, PartTrains,
    HiddenLayers, ShadowedFlag,
]  # fmt: skip


def everything(model):
    """Names, modes, plain attributes and values of all modules."""
    state = {}
    for name, module in [*named_modules(model), *((str(i), one) for i, one in enumerate(getattr(model, "layers", ())))]:
        state[name] = id(module), module.training, getattr(module, "auxiliary", None)
        for store in (module._parameters, module._buffers):
            state |= {(name, key): (id(tensor), tensor.detach().clone()) for key, tensor in store.items()}
    return state


def same(one, other):
    return one.keys() == other.keys() and all(
        (a[0] == b[0] and torch.equal(a[1], b[1])) if isinstance(a[1], torch.Tensor) else a == b
        for a, b in ((one[key], other[key]) for key in one)
    )


def expected_probabilities(kind, images=IMAGES):
    """Of the same network, with every flag cleared by hand."""
    model = kind()
    for module in [*model.modules(), *getattr(model, "layers", ()), *getattr(model, "by_name", {}).values()]:
        module.training = False
    with torch.no_grad():
        return model(images).sigmoid()[:, 0].numpy()


@pytest.mark.parametrize("kind", STUBBORN)
def test_a_stubborn_model_runs_in_eval_mode_and_is_put_back(kind):
    model = kind()
    model.head.training = False  # one mode of its own
    before = everything(model)
    expected = expected_probabilities(kind)
    threshold = float(np.median(expected[0]))
    segmenter = hw.Segmenter(model, threshold=threshold, activation="sigmoid", batch_size=4)
    np.testing.assert_allclose(segmenter.probabilities(IMAGES), expected, atol=1e-6)
    assert same(everything(model), before)
    # And in a scan.
    explainer = hw.hdm.HausdorffDistanceMasks(8, 8)
    explainer.generate_masks(2, 4)
    truth = expected[0] > threshold
    result = explainer.explain(segmenter, IMAGES[0], truth)
    assert result.baseline == 0
    covered = np.stack([result.occluded(row, col) for row in range(2) for col in range(2)])
    masks = [expected_probabilities(kind, torch.tensor(image)[None])[0] > threshold for image in covered]
    np.testing.assert_array_equal([result.output(row, col) for row in range(2) for col in range(2)], masks)
    assert same(everything(model), before)


class Switches(Network):
    """Drops the auxiliary output in eval mode, and counts."""

    calls = 0

    def train(self, mode=True):
        super().train(mode)
        self.auxiliary = "on" if mode else "off"
        self.calls += 1
        return self

    def forward(self, images):
        maps = super().forward(images)
        return maps if self.auxiliary == "off" else -maps


def test_what_a_models_own_method_switches_beside_the_flags_is_switched_and_put_back():
    model = Switches()
    before = everything(model)
    np.testing.assert_allclose(
        hw.Segmenter(model, activation="sigmoid").probabilities(IMAGES), expected_probabilities(Network), atol=1e-6
    )
    assert same(everything(model), before)
    assert (model.auxiliary, model.calls) == ("on", 0)
    assert "calls" not in vars(model)


def test_what_the_model_itself_changes_meanwhile_stays():
    model = Switches()
    with evaluating(model):
        model.auxiliary = "third"
    assert model.auxiliary == "third"


def test_a_model_in_eval_mode_is_left_as_it_is():
    class Refuses(Network):
        def eval(self):
            super().eval()
            raise AssertionError("eval is called once")

    model = Refuses()
    for module in model.modules():
        module.training = False
    model.auxiliary = "mine"
    before = everything(model)
    hw.Segmenter(model).masks(IMAGES)
    assert same(everything(model), before)


def test_a_mode_that_cannot_be_set_is_an_error():
    class Always(nn.Dropout):
        training = property(lambda self: True, lambda self, value: None)

    model = Network()
    model.part[2] = Always()
    before = everything(model)
    with pytest.raises(RuntimeError, match=r"Always\.training is True and cannot be set to False"):
        hw.Segmenter(model).masks(IMAGES)
    assert same(everything(model), before)


@pytest.mark.parametrize("kind", STUBBORN)
def test_training_sets_the_flags_too(kind):
    model = kind()
    weight = model.head.weight
    before = weight.clone()
    set_training(model, False)
    assert not any(module.training for module in model.modules())
    assert torch.equal(model.head.weight, before)
    assert model.head.weight is weight
    if kind is not LeavesPartsInTraining:
        set_training(model, True)
        assert all(module.training for module in model.modules())
