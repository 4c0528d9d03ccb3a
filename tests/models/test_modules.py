"""Models whose attributes hide the methods of `nn.Module`, as published networks have them."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets.models.evaluation import evaluating
from hdm_widgets.models.fingerprint import fingerprint
from hdm_widgets.models.modules import (
    model_device,
    model_dtype,
    modules,
    move,
    named_modules,
    parameters,
    submodule,
    tensors,
    unwrapped,
)
from hdm_widgets.models.training import evaluate, train
from hdm_widgets.models.training_mode import set_training

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
DATA = [(image, (image[0] > 0.5).float()) for image in IMAGES]

METHODS = [name for name in dir(nn.Module) if not name.startswith("_") and callable(getattr(nn.Module, name))]
METHODS.remove("forward")
# Those by which PyTorch itself walks, moves, switches, stores and watches a model.
USED = [
    "apply", "buffers", "children", "eval", "load_state_dict", "modules", "named_buffers", "named_children",
    "named_modules", "named_parameters", "parameters", "register_forward_hook", "requires_grad_", "state_dict", "to",
    "train", "zero_grad",
]  # fmt: skip


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.drop = nn.Dropout(0.5)

    def forward(self, images):
        return self.drop(self.norm(images))


class Network(nn.Module):
    """Two blocks, one of which is reached by two names, and two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1)
        self.block = Block(3)
        self.again = self.block
        self.head = nn.Conv2d(3, 1, 1)
        self.tied = nn.Conv2d(3, 1, 1, bias=False)
        self.tied.weight = self.head.weight
        self.nothing = None
        self.register_parameter("none", None)

    def forward(self, images):
        return self.head(self.block(self.stem(images)))


NAMES = ["", "stem", "block", "block.norm", "block.drop", "head", "tied"]


def network():
    torch.manual_seed(0)
    return Network().train()


def hidden_by_attributes(*names):
    model = network()
    for module in (model, model.block):
        vars(module).update({name: ["mine"] for name in names})
    return model


def hidden_by_a_class(*names):
    # After construction: some of the names are needed until then.
    model = network()
    model.__class__ = type("Hides", (Network,), {name: ["theirs"] for name in names})
    model.block.__class__ = type("Hides", (Block,), {name: property(lambda self: "theirs") for name in names})
    return model


hidden = pytest.mark.parametrize("hide", [hidden_by_attributes, hidden_by_a_class])
every_name = pytest.mark.parametrize("names", [*([name] for name in METHODS), METHODS], ids=[*METHODS, "all"])


def modes(model):
    return {name: module.training for name, module in named_modules(model)}


@hidden
@every_name
def test_the_tree_is_walked(hide, names):
    model, twin = hide(*names), network()
    assert [path for path, _ in named_modules(model)] == NAMES
    assert [type(module) for module in modules(model)][1:2] == [nn.Conv2d]
    assert submodule(model, "again.norm") is model.block.norm
    assert submodule(model, "") is model
    for path in ("nothing", "block.nothing", "nothing.else"):
        with pytest.raises(KeyError, match=path):
            submodule(model, path)
    assert [tuple(one.shape) for one in parameters(model)] == [tuple(one.shape) for one in twin.parameters()]
    expected = [*twin.parameters(), *twin.buffers()]
    assert all(torch.equal(one, other) for one, other in zip(tensors(model), expected, strict=True))
    assert (model_device(model), model_dtype(model)) == (torch.device("cpu"), torch.float32)


@hidden
@every_name
def test_modes_are_set_and_put_back(hide, names):
    model = hide(*names)
    model.block.norm.training = False
    before = modes(model)
    for mode in (False, True):
        set_training(model, mode)
        assert set(modes(model).values()) == {mode}
    for path, module in named_modules(model):
        module.training = before[path]
    with evaluating(model):
        assert not any(modes(model).values())
    assert modes(model) == before


@hidden
@every_name
def test_a_model_is_moved(hide, names):
    model = hide(*names)
    model.head.weight.grad = torch.zeros_like(model.head.weight)
    move(model, torch.device("meta"))
    assert {tensor.device.type for tensor in tensors(model)} == {"meta"}
    assert model.head.weight.grad.device.type == "meta"
    assert len(list(tensors(model))) == len([*(twin := network().to("meta")).parameters(), *twin.buffers()])
    assert model_device(model) == torch.device("meta")
    # Values cannot come back from there: the move fails, and the model is whole.
    with pytest.raises(NotImplementedError), evaluating(model, torch.device("cpu")):
        raise AssertionError("not entered")
    assert {tensor.device.type for tensor in tensors(model)} == {"meta"}
    assert all(modes(model).values())


@hidden
@pytest.mark.parametrize("names", [*([name] for name in USED), METHODS], ids=[*USED, "all"])
def test_a_segmenter_and_training_serve(hide, names):
    model, twin = hide(*names), network()
    segmenter = hw.Segmenter(model, device="cpu")
    np.testing.assert_array_equal(segmenter.probabilities(IMAGES), hw.Segmenter(twin).probabilities(IMAGES))
    assert all(modes(model).values())
    assert segmenter.run_device == torch.device("cpu")
    assert "Segmenter" in repr(segmenter)
    with segmenter.evaluating(), torch.no_grad():
        pipeline = segmenter.pipeline()
        np.testing.assert_array_equal(pipeline(IMAGES), twin.eval()(IMAGES))

    assert evaluate(model, DATA) == evaluate(twin, DATA)
    before = fingerprint(tensors(model))
    assert fingerprint(tensors(model)) == before
    histories = []
    for one in (model, twin):
        torch.manual_seed(0)  # of the dropout
        history = train(one, DATA, validation=DATA, epochs=1, batch_size=3, progress=False)
        histories.append(history)
    assert histories[0] == histories[1]
    assert fingerprint(tensors(model)) != before
    expected = [*twin.parameters(), *twin.buffers()]
    assert all(torch.equal(one, other) for one, other in zip(tensors(model), expected, strict=True))
    assert not any(modes(model).values())


# -- methods that are there -------------------------------------------------------------------------


class OwnMethods(nn.Sequential):
    """Overrides what moves it and sets its mode."""

    def __init__(self, *layers):
        super().__init__(*layers)
        self.calls = []

    def to(self, *args, **kwargs):
        self.calls.append("to")
        return super().to(*args, **kwargs)

    def train(self, mode=True):
        self.calls.append(f"train {mode}")
        super().train(mode)
        self[0].training = False  # frozen
        return self

    def eval(self):
        self.calls.append("eval")
        return super().eval()


def test_a_models_own_methods_are_called():
    model = OwnMethods(nn.BatchNorm2d(1), nn.Dropout())
    set_training(model, True)
    assert modes(model) == {"": True, "0": False, "1": True}
    set_training(model, False)
    move(model, torch.device("meta"))
    assert model.calls == ["train True", "eval", "train False", "to"]


def test_a_wrapped_method_on_the_instance_is_called():
    # Libraries that place a model themselves do so, to warn.
    model = nn.Sequential(nn.Linear(1, 1))
    original = model.to

    def to(*args):
        raise RuntimeError("placed by a library")

    model.to = to
    with pytest.raises(RuntimeError, match="placed by a library"):
        move(model, torch.device("meta"))
    assert original.__self__ is model


class Holds(nn.Module):
    """Moves a tensor that is neither a parameter nor a buffer."""

    def __init__(self, recurses):
        super().__init__()
        self.inner = nn.Linear(1, 1)
        self.held = torch.zeros(1)
        if recurses:
            self._apply = self._apply_with_children

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.held = fn(self.held)
        return self

    def _apply_with_children(self, fn):
        raise AssertionError("moves its children, which it cannot see")


@pytest.mark.parametrize("recurses", [False, True])
def test_a_modules_own_way_to_move_what_it_holds(recurses):
    model = nn.Sequential(Holds(recurses))
    model.children = "hidden"
    move(model, torch.device("meta"))
    assert {tensor.device.type for tensor in tensors(model)} == {"meta"}
    assert model[0].held.device.type == ("cpu" if recurses else "meta")


# -- devices and types ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "device", "dtype"),
    [
        (nn.Identity(), None, torch.float32),
        (nn.BatchNorm2d(1, affine=False), torch.device("cpu"), torch.float32),
        (nn.Linear(1, 1, dtype=torch.float16), torch.device("cpu"), torch.float16),
        (nn.Linear(1, 1, device="meta", dtype=torch.float64), torch.device("meta"), torch.float64),
    ],
    ids=["no tensor", "buffers", "half", "meta"],
)
def test_device_and_type_of_a_model(model, device, dtype):
    assert model_device(model) == device
    assert model_dtype(model) == dtype


def test_whole_numbers_have_no_floating_type():
    model = nn.Linear(1, 1, dtype=torch.float64)
    model.weight = nn.Parameter(torch.zeros(1, dtype=torch.int8), requires_grad=False)
    assert model_dtype(model) == torch.float64


# -- wrappers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model,
        nn.DataParallel,
        lambda model: torch.compile(model, backend="eager"),
        lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
        lambda model: nn.DataParallel(nn.DataParallel(model)),
    ],
    ids=["none", "DataParallel", "compile", "both", "twice"],
)
def test_the_network_inside_its_wrappers(wrap):
    model = network()
    assert unwrapped(wrap(model)) is model
    # A model that happens to have a part of that name is none of them.
    model.module = nn.Identity()
    model._orig_mod = nn.Identity()
    assert unwrapped(model) is model


def test_nothing_is_loaded_to_look_inside(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch._dynamo.eval_frame", raising=False)
    model = nn.Identity()
    assert unwrapped(model) is model
    assert "torch._dynamo.eval_frame" not in sys.modules
