"""Windows over cached values equal the model on the whole changed image: networks that look at neighborhoods."""

import copy
import dataclasses
import importlib
import itertools
import pkgutil
import re
from functools import partial

import numpy as np
import pytest
import torch
from architectures import LOCAL, DilatedFCN, ResNetUNet, conv_bn, made
from single_operations import IN_PLACE_OF_PARTS, OPERATIONS, PERHAPS_WHOLE, Between, InPlace
from torch import nn
from torch.nn.utils import parametrizations
from window_checks import (
    TOLERANCE,
    assert_close,
    assert_it_proves_something,
    assert_windows_equal_the_model,
    boxes_everywhere,
    changed_images,
    compared,
    outputs_from_windows,
    random_image,
    randomized,
)

import hdm_widgets as hw
from hdm_widgets import demo, windowed
from hdm_widgets.windowed import TracedModel, WindowedInference, inference, network
from hdm_widgets.windowed.axes import Window
from hdm_widgets.windowed.gather import gathered
from hdm_widgets.windowed.trace import trace

# Of PyTorch, when the model itself runs.
even_kernels = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


def monai_basic_unet(channels):
    from monai.networks.nets import BasicUNet

    return BasicUNet(2, channels, 2, features=(6, 6, 12, 12, 24, 6), norm=("batch", {"affine": True}))


def monai_unet(channels):
    from monai.networks.layers import Norm
    from monai.networks.nets import UNet

    return UNet(2, channels, 2, channels=(6, 12, 24), strides=(2, 2), num_res_units=1, norm=Norm.BATCH)


def monai_dynunet(channels):
    from monai.networks.nets import DynUNet

    return DynUNet(2, channels, 1, [3, 3, 3], [1, 2, 2], [2, 2], filters=[6, 12, 24], norm_name=("batch", {}))


def monai_segresnet(channels):
    from monai.networks.nets import SegResNet

    sizes = {"blocks_down": (1, 1, 1), "blocks_up": (1, 1), "init_filters": 8}
    return SegResNet(2, in_channels=channels, out_channels=1, norm="batch", **sizes)


class FirstOf(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)[0]


def monai_basic_unet_plus_plus(channels):
    from monai.networks.nets import BasicUNetPlusPlus

    return FirstOf(BasicUNetPlusPlus(2, channels, 1, features=(6, 6, 12, 12, 24, 6), norm="batch"))


NETWORKS = {
    **LOCAL,
    "U-Net, bilinear": lambda channels: hw.UNet(channels, 2, 6, 3, upsampling="bilinear"),
    "U-Net, nearest": lambda channels: hw.UNet(channels, 1, 6, 3, upsampling="nearest"),
    "U-Net, transposed": lambda channels: hw.UNet(channels, 1, 6, 3, upsampling="transposed"),
    "MONAI's BasicUNet": monai_basic_unet,
    "MONAI's UNet, batch norm": monai_unet,
    "MONAI's DynUNet, batch norm": monai_dynunet,
    "MONAI's SegResNet, batch norm": monai_segresnet,
    "MONAI's BasicUNetPlusPlus, batch norm": monai_basic_unet_plus_plus,
}
# These join maps of other sizes than their own unless the sides are divisible.
DIVISIBLE = {
    "MONAI's UNet, batch norm", "MONAI's DynUNet, batch norm", "MONAI's SegResNet, batch norm",
    "MONAI's BasicUNetPlusPlus, batch norm",
}  # fmt: skip
ODD = {name: (3, 48, 112) if name in DIVISIBLE else (3, 97, 131) for name in NETWORKS}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_on_divisible_images_of_one_channel(name):
    model, image = randomized(made(NETWORKS[name], 1)), random_image(1, 48, 64)
    boxes = boxes_everywhere(48, 64, 9)
    engine = TracedModel(model, image)
    result = assert_windows_equal_the_model(model, image, boxes, engine)
    assert_it_proves_something(result, boxes, least=0.5 if name == "unpadded U-Net" else 1)
    assert engine.network.propagation.global_steps() == []


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_on_odd_images_of_several_channels(name):
    model, image = randomized(made(NETWORKS[name], 3), seed=1), random_image(*ODD[name])
    boxes = boxes_everywhere(*ODD[name][1:], 14)
    result = assert_windows_equal_the_model(model, image, boxes)
    assert_it_proves_something(result, boxes, least=0.5 if name == "unpadded U-Net" else 1)


def _check_operation(name, factory):
    model, image = made(factory), random_image(2, 29, 38)
    with torch.no_grad():
        model(image[None].clone())  # lazy layers learn how many channels they get
    model = randomized(model)
    boxes = boxes_everywhere(29, 38, 7)
    engine = TracedModel(model, image)
    result = assert_windows_equal_the_model(model, image, boxes, engine)
    # What is cut off cannot show.
    assert_it_proves_something(result, boxes, least=0.5 if name in ("cut", "cut to one side", "narrow") else 1)
    return engine.network.propagation.global_steps()


@even_kernels
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_that_look_at_neighborhoods(name):
    assert _check_operation(name, OPERATIONS[name]) == []


@pytest.mark.parametrize("name", PERHAPS_WHOLE)
def test_operations_that_may_be_computed_as_a_whole(name):
    _check_operation(name, PERHAPS_WHOLE[name])


@pytest.mark.parametrize("data", ["shapes", "aerial"])
def test_trained_weights(data):
    if data == "shapes":
        model, image, *_ = demo.shapes()
    else:
        model, scenes = demo.aerial(10)
        image = scenes[3][0]
    boxes = boxes_everywhere(*image.shape[1:], 20)
    result = assert_windows_equal_the_model(model, image, boxes)
    assert_it_proves_something(result, boxes)


@pytest.mark.parametrize("name", ["ResNet U-Net", "dilated FCN", "ESPNet-like", "DenseNet-like"])
def test_double_precision(name):
    model, image = randomized(made(LOCAL[name], 2).double()), random_image(2, 41, 50, dtype=torch.float64)
    result = assert_windows_equal_the_model(model, image, boxes_everywhere(41, 50, 6))
    assert result.windowed.dtype == torch.float64
    torch.testing.assert_close(result.windowed, result.whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("end", "shape"),
    [
        (lambda x: x[:, 0], (29, 38)),
        (lambda x: x.argmax(1), (29, 38)),
        (lambda x: x.unsqueeze(1), (1, 2, 29, 38)),
        (lambda x: x[..., ::2, 3:], (2, 15, 35)),
    ],
)
def test_outputs_of_other_shapes(end, shape):
    class Ended(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = conv_bn(2, 2)

        def forward(self, x):
            return end(self.first(x))

    model, image = randomized(made(Ended)), random_image(2, 29, 38)
    result = assert_windows_equal_the_model(model, image, boxes_everywhere(29, 38, 7))
    assert result.whole.shape[1:] == shape


def test_images_with_a_side_of_few_pixels():
    model = randomized(made(DilatedFCN, 1))
    for height, width in [(1, 30), (30, 1), (2, 3)]:
        image = random_image(1, height, width)
        boxes = boxes_everywhere(height, width, min(height, width))
        assert_windows_equal_the_model(model, image, boxes[(boxes[:, 2:] <= (height, width)).all(1)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_is_given_the_same_unchanged_values(dtype, monkeypatch):
    model, image = randomized(made(ResNetUNet, 2)).to(dtype), random_image(2, 48, 64, dtype=dtype)
    boxes = boxes_everywhere(48, 64, 9)
    images = changed_images(image, boxes)
    base = WindowedInference(TracedModel(model, image).network, image)
    expected = outputs_from_windows(base, boxes, images)

    def fill(target, source, parts, *starts):
        target.copy_(gathered(source, *map(torch.tensor, starts), *target.shape[-2:]))

    monkeypatch.setattr(inference, "_fill", fill)
    assert torch.equal(outputs_from_windows(base, boxes, images), expected)


def test_nothing_asked_is_nothing_computed():
    image = random_image(1, 20, 20)
    base = WindowedInference(TracedModel(randomized(made(DilatedFCN, 1)), image).network, image)
    assert list(base.run(np.zeros((0, 4), np.intp), lambda items, boxes: pytest.fail("no content is needed"))) == []


def test_many_boxes_alike_are_computed_together():
    model, image = randomized(made(DilatedFCN, 1)), random_image(1, 64, 64)
    network = TracedModel(model, image).network
    boxes = np.array([(row, col, row + 4, col + 4) for row in range(20, 40, 2) for col in range(20, 40, 2)])
    batches = list(WindowedInference(network, image).run(boxes, lambda items, _: torch.zeros(len(items), 1, 4, 4)))
    assert len(batches) == 1
    assert sorted(batches[0].items.tolist()) == list(range(100))
    # Windows lie where the boxes do, 7 px larger on every side.
    np.testing.assert_array_equal(batches[0].rows, boxes[batches[0].items, 0] - DilatedFCN.radius)
    np.testing.assert_array_equal(batches[0].cols, boxes[batches[0].items, 1] - DilatedFCN.radius)
    assert batches[0].values.shape == (100, 2, 18, 18)


@pytest.mark.parametrize(("width", "kinds"), [(2, 4), (48, 16)])
def test_boxes_grow_where_batches_cost_more_than_windows(width, kinds):
    """Boxes lie in 16 ways on the grid of the coarsest level, whose positions are 8 px apart."""
    propagation = TracedModel(hw.UNet(1, 1, width, 3).eval(), random_image(1, 96, 96)).network.propagation
    boxes = np.array([(row, col, row + 6, col + 6) for row in range(0, 90, 2) for col in range(0, 90, 2)])
    grown = propagation.aligned(boxes)
    assert (grown[:, :2] <= boxes[:, :2]).all()
    assert (grown[:, 2:] >= boxes[:, 2:]).all()
    assert len(np.unique(grown[:, :2] % 8, axis=0)) == kinds
    # One box is in need of no other's company.
    np.testing.assert_array_equal(propagation.aligned(boxes[7:8]), boxes[7:8])


def test_boxes_near_a_border_grow_to_it():
    """The last layer reads 4 px on every side of windows that are 7 px larger than the box: a border cuts that off."""
    propagation = TracedModel(randomized(made(DilatedFCN, 1)), random_image(1, 64, 64)).network.propagation
    sides = [(lo, lo + 4) for lo in range(0, 61, 2)]
    boxes = np.array([(*rows, *cols) for rows, cols in itertools.product(sides, sides)])[:, [0, 2, 1, 3]]

    def grown(lo, hi):
        return (0, 14) if lo < 11 else (50, 64) if hi > 53 else (lo, hi)

    expected = [(*grown(*rows), *grown(*cols)) for rows, cols in itertools.product(sides, sides)]
    np.testing.assert_array_equal(propagation.aligned(boxes), np.array(expected)[:, [0, 2, 1, 3]])
    # The windows of a large network cost more than its batches.
    wide = TracedModel(randomized(made(partial(DilatedFCN, width=400), 1)), random_image(1, 64, 64)).network.propagation
    np.testing.assert_array_equal(wide.aligned(boxes), boxes)


@pytest.mark.parametrize(("architecture", "count"), [(DilatedFCN, 9), (ResNetUNet, 4)])
def test_boxes_that_grew_to_a_border_are_computed_together(architecture, count, monkeypatch):
    monkeypatch.setattr(network, "_CPU_START", 1e12)
    model, image = randomized(made(architecture, 2)), random_image(2, 48, 64)
    base = WindowedInference(TracedModel(model, image).network, image)
    boxes = np.array([(row, col, row + 5, col + 5) for row in range(0, 44, 6) for col in range(0, 60, 6)])
    images = changed_images(image, boxes)
    assert_close(outputs_from_windows(base, boxes, images), model(images).detach())
    # At either border, and between them if there is room.
    batches = list(base.run(boxes, lambda items, parts: torch.zeros(len(items), 2, *(parts[0, 2:] - parts[0, :2]))))
    assert len(batches) == count


def test_same_content_changes_nothing():
    model, image = randomized(made(ResNetUNet, 2)), random_image(2, 48, 64)
    base = WindowedInference(TracedModel(model, image).network, image)
    boxes = boxes_everywhere(48, 64, 9)
    outputs = outputs_from_windows(base, boxes, image.repeat(len(boxes), 1, 1, 1))
    assert_close(outputs, base.output.repeat(len(boxes), 1, 1, 1))


# That windows are neither too small, which would be wrong, nor too large, which would be slow.


def test_windows_are_as_large_as_what_changes():
    model, image = randomized(made(DilatedFCN, 1)), random_image(1, 48, 64)
    box = np.array([[20, 25, 24, 31]])
    changed = changed_images(image, box)
    network = TracedModel(model, image).network
    base = WindowedInference(network, image)
    (windows,) = base.run(box, lambda items, boxes: changed[:, :, 20:24, 25:31])
    assert (windows.rows.tolist(), windows.cols.tolist()) == ([13], [18])
    assert windows.values.shape == (1, 2, 18, 20)
    with torch.inference_mode():
        whole = model(changed)
    moved = ((whole - base.output).abs() > TOLERANCE).any(1)[0]
    for edge in (moved[13], moved[30], moved[:, 18], moved[:, 37]):
        assert edge.any()
    assert not moved[:13].any()
    assert not moved[31:].any()
    assert not moved[:, :18].any()
    assert not moved[:, 38:].any()


@pytest.mark.parametrize("side", ["lo", "hi"])
def test_windows_a_pixel_too_small_are_found_out(side, monkeypatch):
    original = Window.propagate

    def shrunk(self, changed):
        interval = original(self, changed)
        if interval is None or self.kernel == 1 or interval.size < 2:
            return interval
        return interval._replace(lo=interval.lo + 1) if side == "lo" else interval._replace(hi=interval.hi - 1)

    monkeypatch.setattr(Window, "propagate", shrunk)
    model, image = randomized(made(DilatedFCN, 1)), random_image(1, 48, 64)
    with pytest.raises(AssertionError, match="differs by"):
        assert_windows_equal_the_model(model, image, np.array([[20, 25, 24, 31]]))


# The model stays the user's.


@pytest.mark.parametrize(
    "factory",
    [
        partial(ResNetUNet, 2),
        partial(InPlace, IN_PLACE_OF_PARTS["add to a view"]),
        lambda: Between(parametrizations.weight_norm(nn.Conv2d(8, 8, 3))),
    ],
    ids=["ResNet U-Net", "in place", "weight norm"],
)
def test_the_model_is_not_altered(factory):
    model = randomized(made(factory))
    first, *others = model.parameters()
    first.requires_grad_(False)
    modules = dict(model.named_modules())
    before = copy.deepcopy(model.state_dict())
    identities = [id(value) for value in (*model.parameters(), *model.buffers())]
    attributes = {name: set(vars(module)) for name, module in modules.items()}
    random_state = torch.get_rng_state()

    compared(model, random_image(2, 30, 40), boxes_everywhere(30, 40, 5))

    assert dict(model.named_modules()) == modules
    assert {name: set(vars(module)) for name, module in modules.items()} == attributes
    assert [id(value) for value in (*model.parameters(), *model.buffers())] == identities
    after = model.state_dict()
    assert after.keys() == before.keys()
    for name, value in after.items():
        assert torch.equal(value, before[name]), name
    assert not first.requires_grad
    assert all(other.requires_grad for other in others)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module.training for module in modules.values())
    for module in modules.values():
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            assert not hooks
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.is_grad_enabled()


def test_the_model_can_still_be_trained():
    model, image = randomized(made(DilatedFCN, 1)), random_image(1, 20, 24)
    compared(model, image, boxes_everywhere(20, 24, 5))
    model.train()
    model(image[None]).mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


class Caching(nn.Module):
    """Keeps tensors that it makes when it runs."""

    shared: dict = {}  # noqa: RUF012 - as in published networks

    def __init__(self):
        super().__init__()
        self.network, self.kept, self.last = DilatedFCN(1), {}, None

    def forward(self, x):
        size = x.shape[-2:]
        for cache in (self.kept, Caching.shared):
            if size not in cache:
                cache[size] = torch.linspace(0.5, 1.5, size[-1])
        self.last = self.network(x) * self.kept[size] * Caching.shared[size]
        return self.last


def test_a_model_that_keeps_tensors_can_still_be_trained():
    model, image = randomized(made(Caching)), random_image(1, 20, 24)
    with torch.no_grad():
        model(image[None])
    engine = TracedModel(model, image)
    base = WindowedInference(engine.network, image)
    boxes = boxes_everywhere(20, 24, 5)
    outputs_from_windows(base, boxes, changed_images(image, boxes))
    for tensor in (*model.kept.values(), *Caching.shared.values(), model.last):
        assert type(tensor) is torch.Tensor
        assert not tensor.is_inference()
    model.train()
    model(image[None]).mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def _trained(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    model.train()
    model(random_image(1, 48, 64, seed=9)[None]).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    model.eval()


def _loaded(model):
    model.load_state_dict(randomized(made(ResNetUNet, 1), seed=5).state_dict())


def _statistics(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.mul_(2)


def _under_data(model):
    # Not seen by PyTorch's own counters; models averaged over time are written so.
    for parameter in model.parameters():
        parameter.data.mul_(1.2)


def _one_weight(model):
    with torch.no_grad():
        model.stem[0].weight[0, 0, 0, 0] += 1


@pytest.mark.parametrize("change", [_trained, _loaded, _statistics, _one_weight, _under_data])
def test_weights_changed_in_place_are_used(change):
    model, image = randomized(made(ResNetUNet, 1)), random_image(1, 48, 64)
    boxes = boxes_everywhere(48, 64, 9)
    engine = TracedModel(model, image)
    before = assert_windows_equal_the_model(model, image, boxes, engine)
    assert engine.network is engine.network
    change(model)
    after = assert_windows_equal_the_model(model, image, boxes, engine)
    assert (after.whole - before.whole).abs().max() > 100 * TOLERANCE


def test_a_base_keeps_the_weights_it_was_made_with():
    model, image = randomized(made(ResNetUNet, 1)), random_image(1, 48, 64)
    boxes = boxes_everywhere(48, 64, 9)[:3]
    images = changed_images(image, boxes)
    base = WindowedInference(TracedModel(model, image).network, image)
    with torch.inference_mode():
        expected = model(images)
    _loaded(model)
    assert_close(outputs_from_windows(base, boxes, images), expected)


@pytest.mark.parametrize(("old", "new"), [("Base", windowed.WindowedInference), ("Engine", windowed.TracedModel)])
def test_earlier_names(old, new):
    with pytest.warns(DeprecationWarning, match=f"windowed.{old} is now called {new.__name__}$") as caught:
        assert getattr(windowed, old) is new
    assert caught[0].filename == __file__
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        _ = windowed.Other


# Parts that hold tensors are compared by identity.


def _parts():
    """Everything that a network is made of, and what it computes."""
    model, image = randomized(made(ResNetUNet, 2)), random_image(2, 48, 64)
    engine, boxes = TracedModel(model, image), boxes_everywhere(48, 64, 9)[:2]
    base = WindowedInference(engine.network, image)
    windows = list(base.run(boxes, lambda items, grown: torch.zeros(len(items), 2, *(grown[0, 2:] - grown[0, :2]))))
    traced = trace(model, image)
    return [traced, *traced.calls, engine.network.program, *engine.network.program.steps, *windows]


def test_parts_can_be_compared_and_hashed():
    first, second = _parts(), _parts()
    assert len({type(part) for part in first}) >= 8
    for part, other in zip(first, second, strict=True):
        assert type(part) is type(other)
        assert part == part
        assert part != other
        assert len({part, other, part}) == 2
        assert [other, part].index(part) == 1


def test_dataclasses_that_are_compared_hold_no_tensors():
    names = [name for _, name, _ in pkgutil.iter_modules(windowed.__path__, "hdm_widgets.windowed.")]
    items = [item for name in names for item in vars(importlib.import_module(name)).values()]
    classes = {item for item in items if isinstance(item, type) and dataclasses.is_dataclass(item)}
    compared = {item for item in classes if item.__eq__ is not object.__eq__}
    assert windowed.Windows in classes - compared
    assert Window in compared
    for item in compared:
        for field in dataclasses.fields(item):
            assert not re.search("Tensor|NDArray|Any|object|dict|Callable|Function", str(field.type)), (
                item,
                field.name,
            )
