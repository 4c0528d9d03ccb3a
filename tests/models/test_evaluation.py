"""A model is put back as it was: modes, device, hooks, gradients."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw
from hdm_widgets.models.evaluation import evaluating
from hdm_widgets.models.segmenter import ModelError

# Two images of one channel whose values are the probabilities that most models here return.
IMAGES = torch.tensor([[[[0.1, 0.9, 0.5]]], [[[0.6, 0.4, 0.0]]]])
MASKS = [[[False, True, False]], [[True, False, False]]]
CPU, META = torch.device("cpu"), torch.device("meta")


class Pass(nn.Module):
    """Gives back the first channel; notes the modes of its modules."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.first = nn.Sequential(nn.Dropout(), nn.Identity())
        self.second = nn.BatchNorm2d(1)
        self.seen = []

    def forward(self, images):
        self.seen.append([module.training for module in self.modules()])
        return images[:, 0] * self.weight


# -- modes --------------------------------------------------------------------------------------------


def flags(model):
    return [module.training for module in model.modules()]


def mixed():
    """A model in training whose batch norm is frozen."""
    model = Pass().train()
    model.second.eval()
    model.first[0].eval()
    return model


def test_training_flags_come_back_one_by_one():
    model = mixed()
    before = flags(model)
    assert len(set(before)) == 2
    hw.Segmenter(model, batch_size=2).masks(IMAGES[:1])
    assert model.seen == [[False] * len(before)]
    assert flags(model) == before


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_training_flags_come_back_after_a_failure(error):
    model = mixed()
    before = flags(model)

    def fail(module, args):
        raise error

    model.register_forward_pre_hook(fail)
    with pytest.raises((ModelError, KeyboardInterrupt)):
        hw.Segmenter(model).masks(IMAGES)
    assert flags(model) == before


def test_training_flags_come_back_when_the_device_is_not_there():
    model = mixed()
    before = flags(model)
    with pytest.raises(Exception, match=r"(?i)cuda"):
        hw.Segmenter(model, device="cuda:99").masks(IMAGES)
    assert flags(model) == before


def test_hooks_stay_and_are_called():
    model, calls = Pass(), []
    model.register_forward_hook(lambda *_: calls.append("after"))
    model.first.register_forward_pre_hook(lambda *_: calls.append("never"))
    before = dict(model._forward_hooks)
    hw.Segmenter(model, batch_size=2).masks(IMAGES[:1])
    assert calls == ["after"]
    assert dict(model._forward_hooks) == before
    assert not model._forward_pre_hooks


def test_gradients_are_off_within_and_on_after():
    modes = []

    def model(images):
        modes.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        return images[:, 0]

    hw.Segmenter(model, batch_size=2).masks(IMAGES)
    assert set(modes) == {(False, False)}  # not inference mode: what a model keeps must be trainable
    assert torch.is_grad_enabled()


def test_two_users_at_once_leave_the_model_to_the_last():
    model = mixed()
    before = flags(model)
    one, two = hw.Segmenter(model).evaluating(), hw.Segmenter(model).evaluating()
    with two:
        with one:
            assert not any(flags(model))
        assert not any(flags(model))
    assert flags(model) == before

    first, second = hw.Segmenter(model).evaluating(), hw.Segmenter(model).evaluating()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # the first to come leaves first
    assert not any(flags(model))
    second.__exit__(None, None, None)
    assert flags(model) == before


def test_two_threads_at_once():
    model = mixed()
    before = flags(model)
    both_inside = threading.Barrier(2, timeout=30)
    masks = {}

    def meet(module, args):
        both_inside.wait()

    model.register_forward_pre_hook(meet)

    def use(name):
        masks[name] = hw.Segmenter(model).masks(IMAGES)

    threads = [threading.Thread(target=use, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    np.testing.assert_array_equal(masks["a"], MASKS)
    np.testing.assert_array_equal(masks["b"], MASKS)
    assert not any(any(seen) for seen in model.seen)
    assert flags(model) == before


class Grows(nn.Module):
    """Makes its last layers when it first runs."""

    def __init__(self, make):
        super().__init__()
        self.block = nn.Sequential(nn.Identity())
        self.replaced = nn.Dropout()
        self.make = make

    def forward(self, images):
        if not hasattr(self, "head"):
            self.make(self)
        return images[:, 0]


def adds_a_layer(model):
    model.head = nn.Sequential(nn.Dropout())


def copies_a_layer(model):
    model.head = nn.Sequential(nn.Dropout()).train(model.training)


def adds_inside(model):
    model.head = model.block
    model.block.append(nn.Sequential(nn.Dropout()))


def replaces_a_layer(model):
    model.head = model.replaced = nn.Dropout()


@pytest.mark.parametrize("make", [adds_a_layer, copies_a_layer, adds_inside, replaces_a_layer])
@pytest.mark.parametrize(("mode", "mode_of_block"), [(True, True), (True, False), (False, True), (False, False)])
def test_modules_that_appear_in_the_first_run_get_the_mode_of_their_parent(make, mode, mode_of_block):
    model = Grows(make).train(mode)
    model.block.train(mode_of_block)
    before, old = dict(model.named_modules()), model.replaced
    masks = hw.Segmenter(model, batch_size=2).masks(IMAGES)
    np.testing.assert_array_equal(masks, MASKS)
    assert len(list(model.modules())) >= len(before)
    for name, module in model.named_modules():
        inside = make is adds_inside and name.split(".")[0] in ("block", "head")
        assert module.training == (mode_of_block if inside or name.startswith("block") else mode), name
    # What is no longer part of the model has its own mode again too.
    assert old.training == mode


# -- devices: the meta device stands for one that this machine need not have -----------------------


class Portable(nn.Module):
    """A weight and a buffer that keep their values on the meta device; notes where it is sent.

    Sent to `refuses`, it fails as a device without memory does.
    """

    def __init__(self, device=CPU, refuses=None):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))
        self.moves, self.refuses, self.kept = [], None, None
        self._apply(lambda tensor: tensor.to(device))
        self.moves, self.refuses = [], refuses

    def _apply(self, fn, recurse=True):
        try:
            device = fn(self.weight).device
        except NotImplementedError:  # the values of a meta tensor are asked for
            device = CPU
        for child in self._modules.values():
            if recurse:
                child._apply(fn)
        if self.refuses == device:
            raise RuntimeError("CUDA out of memory")
        if device != self.weight.device:
            self.moves.append(device)
            if device == META:
                self.kept = self.weight.detach(), self.offset
            weight, offset = (tensor.to(META) for tensor in self.kept) if device == META else self.kept
            self.weight, self.offset = nn.Parameter(weight), offset
        return self

    def forward(self, images):
        assert images.device == self.weight.device == self.offset.device
        return images[:, :1] * self.weight + self.offset


class HidesChildren(nn.Sequential):
    """Hides the methods by which `nn.Module` moves a model."""

    def __init__(self, *layers):
        super().__init__(*layers)
        self.children = self.to = ["mine"]


def places(model):
    return [tensor.device for layer in model for tensor in (layer.weight, layer.offset)]


CONTAINERS = [nn.Sequential, HidesChildren]


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_model_goes_back_to_its_device(container):
    model = container(Portable(META), Portable(META))
    np.testing.assert_array_equal(hw.Segmenter(model, device="cpu").masks(IMAGES), MASKS)
    assert [layer.moves for layer in model] == [[CPU, META], [CPU, META]]
    assert places(model) == [META] * 4
    assert all(flags(model))


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_model_that_is_there_already_is_not_moved(container):
    model = container(Portable(), Portable())
    segmenter = hw.Segmenter(model, device="cpu")
    np.testing.assert_array_equal(segmenter.masks(IMAGES), MASKS)
    assert [layer.moves for layer in model] == [[], []]
    assert hw.Segmenter(model).run_device == CPU


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_model_on_several_devices_gets_each_part_back(container):
    model = container(Portable(META), Portable(CPU), Portable(META))
    np.testing.assert_array_equal(hw.Segmenter(model, device="cpu").masks(IMAGES), MASKS)
    assert places(model) == [META] * 2 + [CPU] * 2 + [META] * 2
    assert model[1].moves == []


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("homes", [[META, META], [META, CPU]])
def test_modules_that_appear_in_the_first_run_go_to_the_models_device(container, homes):
    model = container(*(Portable(home) for home in homes))
    model[1].register_forward_pre_hook(
        lambda layer, _: layer.add_module("late", Portable(CPU)) if not layer._modules else None
    )
    np.testing.assert_array_equal(hw.Segmenter(model, device="cpu").masks(IMAGES), MASKS)
    assert places(model) == [home for home in homes for _ in range(2)]
    assert model[1].late.weight.device == META


class FailsInTo(nn.Sequential):
    """Raises when it has moved everything."""

    def to(self, device):
        super().to(device)
        if device == CPU:
            raise RuntimeError("CUDA out of memory")
        return self


class FailsInEval(nn.Sequential):
    """Raises when it is in eval mode."""

    def eval(self):
        super().eval()
        raise RuntimeError("CUDA out of memory")


@pytest.mark.parametrize(
    ("container", "refuses"),
    [(nn.Sequential, CPU), (HidesChildren, CPU), (FailsInTo, None), (FailsInEval, None)],
)
@pytest.mark.parametrize("homes", [[META, META, META], [META, CPU, META]])
def test_a_move_that_fails_half_way_leaves_the_model_whole(container, refuses, homes):
    model = container(*(Portable(home) for home in homes))
    model[2].refuses = refuses
    model[0].train(False)
    before = flags(model)
    with pytest.raises(RuntimeError, match="out of memory"), evaluating(model, CPU):
        raise AssertionError("not entered")
    assert places(model) == [home for home in homes for _ in range(2)]
    assert flags(model) == before
    # It is not taken for a model in use.
    with evaluating(model, META) if container is not FailsInEval else pytest.raises(RuntimeError), evaluating(model):
        assert not any(flags(model))
    assert flags(model) == before


def test_another_device_is_refused_while_the_model_is_in_use():
    model = nn.Sequential(Portable(META)).train()
    with evaluating(model, CPU):
        with pytest.raises(RuntimeError, match=r"in use on cpu, so it cannot be moved to meta now; wait"):
            evaluating(model, META).__enter__()
        with pytest.raises(RuntimeError, match="in use on cpu"):
            hw.Segmenter(model, device="meta").masks(IMAGES)
        assert places(model) == [CPU] * 2
        assert not any(flags(model))
        # The same device is no other one, nor is none.
        with evaluating(model, torch.device("cpu", 0)), evaluating(model):
            assert places(model) == [CPU] * 2
    assert places(model) == [META] * 2
    assert all(flags(model))
    with evaluating(model, META):
        assert places(model) == [META] * 2


@pytest.mark.parametrize("device", [None, CPU])
def test_what_was_not_moved_is_not_moved_back(device):
    # The first tensor counts: a model on several devices is left to whoever placed it.
    model = nn.Sequential(Portable(CPU), Portable(META))
    with evaluating(model, device):
        model[0].to(META)
        model.to(META)
    assert places(model) == [META] * 4
    assert [layer.moves for layer in model] == [[META], []]


def test_a_model_in_use_where_it_was_is_not_moved_either():
    model = nn.Sequential(Portable(CPU))
    with evaluating(model), pytest.raises(RuntimeError, match="in use on cpu"), evaluating(model, META):
        raise AssertionError("not entered")
    assert model[0].moves == []


def test_the_last_to_leave_moves_the_model_back():
    model = nn.Sequential(Portable(META))
    first, second = evaluating(model, CPU), evaluating(model)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert places(model) == [CPU] * 2
    second.__exit__(None, None, None)
    assert places(model) == [META] * 2


def test_gradients_go_with_their_parameters():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).to(META)
    model[0].weight.grad = torch.zeros(2, 2, device=META)
    with pytest.raises(NotImplementedError), evaluating(model, CPU):
        raise AssertionError("meta tensors have no values to move")
    assert {tensor.device for tensor in model.parameters()} == {META}
    assert model[0].weight.grad.device == META


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("hides", [False, True])
def test_a_gpu(hides):
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.LSTM(4, 4), nn.Conv2d(4, 1, 1)).train()
    model = nn.Sequential(network[0], network[1], network[3])
    model.rest = nn.ModuleList([network[2]])
    model.forward = lambda images: model[2](model[1](model[0](images)))
    if hides:
        model.children = model.rest.modules = model.to = 3
    model[0].weight.grad = torch.ones_like(model[0].weight)
    expected = hw.Segmenter(model).probabilities(IMAGES)
    values = [tensor.clone() for tensor in nn.Sequential.state_dict(model).values()]
    with evaluating(model, torch.device("cuda")):
        assert {tensor.device.type for tensor in [*nn.Sequential.parameters(model), model[0].weight.grad]} == {"cuda"}
        with pytest.raises(RuntimeError, match="in use on cuda"):
            evaluating(model, CPU).__enter__()
        np.testing.assert_allclose(hw.Segmenter(model, device="cuda:0").probabilities(IMAGES), expected, atol=1e-3)
    after = list(nn.Sequential.state_dict(model).values())
    assert all(torch.equal(one, other) for one, other in zip(values, after, strict=True))
    assert model[0].weight.grad.device == CPU
    assert all(flags(network))
