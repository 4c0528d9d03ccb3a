import numpy as np
import pytest
import torch
from layer_helpers import features, found, noise, number_of_hooks
from torch import nn

import hdm_widgets as hw
from hdm_widgets.latent.activations import ActivationHook, Layer, LayerError, output_tensor, pooled
from hdm_widgets.latent.collector import Collector
from hdm_widgets.latent.layers import find_layer

# -- layers by name -----------------------------------------------------------------------------------


class Oddities(nn.Module):
    """Layers that give no activations of one per image."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Conv2d(1, 1, 1)
        self.often = nn.Identity()
        self.texts = Returns(lambda images: ["a", "b"])
        self.nothing = Returns(lambda images: None)
        self.whole = Returns(lambda images: (images * 10).long())
        self.volume = Returns(lambda images: images[:, None])
        self.number = Returns(lambda images: images.flatten(1).sum(1))
        self.empty = Returns(lambda images: images[:, :0])
        self.parts = Returns(lambda images: torch.cat([images[..., :2], images[..., 2:]]))
        self.several = Returns(lambda images: images.mean(0, keepdim=True))
        self.mapping = Returns(lambda images: {"last_hidden_state": images, "logits": None})
        self.pair = Returns(lambda images: (images, images.sum()))

    def forward(self, images):
        for module in self.children():
            if module is not self.unused:
                module(images)
        return self.often(images)


class Returns(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


WITHOUT_ACTIVATIONS = [
    ("unused", "layer 'unused' did not run when the model ran; choose one that takes part"),
    ("often", "layer 'often' ran 2 times in one run of the model.*choose a layer that runs once"),
    ("texts", "layer 'texts' puts out list, expected a tensor"),
    ("nothing", "layer 'nothing' puts out NoneType, expected a tensor"),
    ("whole", "layer 'whole' puts out torch.int64, expected a floating type"),
    ("volume", r"layer 'volume' put out \(2, 1, 1, 4, 4\); expected \(N, channels, rows, cols\), \(N, tokens"),
    ("number", r"layer 'number' put out \(2,\); expected"),
    ("empty", r"layer 'empty' put out \(2, 0, 4, 4\); expected"),
    ("parts", r"layer 'parts' put out 4 activations for 2 image\(s\); it works on parts of images or on"),
    ("several", r"layer 'several' put out 1 activations for 2 image\(s\); it works on parts of images or on"),
]


@pytest.mark.parametrize(("layer", "message"), WITHOUT_ACTIVATIONS, ids=lambda value: value.split()[0])
def test_layers_that_give_no_activation_per_image(layer, message):
    model = Oddities()
    with pytest.raises(LayerError, match=message):
        found(model, layer, shape=(2, 1, 4, 4))
    assert number_of_hooks(model) == 0


@pytest.mark.parametrize("layer", ["mapping", "pair"])
def test_the_tensor_is_found_in_what_a_layer_returns(layer):
    assert found(Oddities(), layer, shape=(2, 1, 4, 4)) == Layer(layer, (1, 4, 4))


def test_where_the_tensor_of_an_output_is():
    tensor, other = torch.ones(1), torch.zeros(1)
    for output in (
        tensor,
        {"last_hidden_state": tensor, "logits": other},
        {"other": other, "logits": tensor, "out": other},
        {"other": other, "out": [tensor, other]},
        [(tensor, other), other],
    ):
        assert output_tensor(output) is tensor
    for output in (None, "text", [], (), {"other": tensor}, [None, tensor]):
        assert output_tensor(output) is None


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("bottelneck", "the model has no layer 'bottelneck'; did you mean 'bottleneck'"),
        ("decoder.1.convolv", "no layer 'decoder.1.convolv'; did you mean 'decoder.1.convolve'"),
        ("xyz", "no layer 'xyz'; the model has encoder, pool, bottleneck, decoder, head"),
        ("decoder.7", "no layer 'decoder.7'; did you mean 'decoder"),
    ],
)
def test_a_wrong_name_gets_advice(layer, message):
    with pytest.raises(LayerError, match=message):
        found(hw.UNet(1, 1, width=2, depth=2), layer)


def test_a_module_of_another_model_is_refused():
    with pytest.raises(LayerError, match="the layer given, a Sequential, is no part of the model"):
        found(hw.UNet(1, 1, width=2, depth=2), hw.UNet(1, 1, width=2, depth=2).bottleneck)
    with pytest.raises(TypeError, match="layer must be a module of the model, its name or 'auto', got int"):
        found(hw.UNet(1, 1, width=2, depth=2), 3)


def test_a_callable_has_no_layers():
    with pytest.raises(TypeError, match=r"in the layers of a torch.nn.Module; a function does not show its own"):
        found(lambda images: images[:, 0])


def test_a_module_with_two_names_goes_by_its_first():
    model = hw.UNet(1, 1, width=2, depth=2)
    model.alias = model.bottleneck
    assert found(model, "alias") == found(model, model.bottleneck) == Layer("bottleneck", (8, 16, 16))


def test_a_layer_says_what_it_is():
    assert str(Layer("mid", (32, 8, 6))) == "mid: 32 channels of 8 x 6"
    assert str(Layer("block.1", (16, 24))) == "block.1: 16 tokens of 24 channels"
    assert str(Layer("", (7,))) == "the model itself: 7 channels"
    assert [Layer("a", shape).positions for shape in ((32, 8, 6), (16, 24), (7,))] == [48, 16, 1]


# -- pooling, by hand ---------------------------------------------------------------------------------

# Two images, two channels, 2 x 3 places.
MAPS = torch.tensor(
    [
        [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, -6.0]]],
        [[[9.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[-1.0, -2.0, -3.0], [-4.0, -5.0, -3.0]]],
    ]
)
# Two images of four tokens (2 x 2 places) with two channels.
TOKENS = torch.tensor(
    [
        [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [6.0, 0.0]],
        [[0.0, -1.0], [0.0, -1.0], [0.0, -1.0], [-4.0, -5.0]],
    ]
)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("mean", [[3.5, -1.0], [1.5, -3.0]]),
        ("max", [[6.0, 0.0], [9.0, -1.0]]),
        (
            "flatten",
            [[1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, -6], [9, 0, 0, 0, 0, 0, -1, -2, -3, -4, -5, -3]],
        ),
        # Cells of one row; of three columns the middle one belongs to both.
        ("grid", [[1.5, 2.5, 4.5, 5.5, 0, 0, 0, -3], [4.5, 0, 0, 0, -1.5, -2.5, -4.5, -4]]),
    ],
)
def test_pooling_of_maps(pool, expected):
    got = pooled(MAPS, pool)
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got, np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("mean", [[3, 15], [-1, -2]]),
        ("max", [[6, 30], [0, -1]]),
        ("flatten", [[1, 2, 3, 6, 10, 20, 30, 0], [0, 0, 0, -4, -1, -1, -1, -5]]),
        ("grid", [[1, 2, 3, 6, 10, 20, 30, 0], [0, 0, 0, -4, -1, -1, -1, -5]]),
    ],
)
def test_pooling_of_tokens(pool, expected):
    np.testing.assert_array_equal(pooled(TOKENS, pool), np.array(expected, np.float32))


@pytest.mark.parametrize("pool", ["mean", "max", "flatten", "grid"])
def test_vectors_stay_as_they_are(pool):
    np.testing.assert_array_equal(pooled(TOKENS[0].double(), pool), TOKENS[0])


def test_cells_of_the_grid():
    # 4 x 4 places, numbered; 2 x 2 cells of four, and one cell of all.
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(pooled(maps, "grid", 2), [[2.5, 4.5, 10.5, 12.5]])
    np.testing.assert_array_equal(pooled(maps, "grid", 1), [[7.5]])
    np.testing.assert_array_equal(pooled(maps, "grid", 4), maps.flatten(1))


def test_a_grid_of_tokens_needs_a_square():
    with pytest.raises(LayerError, match=r"pool='grid' needs the positions of a square image; 5 tokens are none"):
        pooled(torch.ones(1, 5, 2), "grid")


# -- the hook ------------------------------------------------------------------------------------------


class OverwrittenMaps(nn.Module):
    """What the convolution and the batch norm put out is overwritten by what follows."""

    def __init__(self):
        super().__init__()
        self.convolve = nn.Conv2d(1, 2, 1)
        self.rectify = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(2)
        self.rectify_again = nn.ReLU(inplace=True)
        self.head = nn.Conv2d(2, 1, 1)
        with torch.no_grad():
            self.convolve.weight.copy_(torch.tensor([1.0, -2.0]).reshape(2, 1, 1, 1))
            self.convolve.bias.copy_(torch.tensor([0.1, -0.1]))
            self.norm.bias.fill_(-0.2)

    def forward(self, images):
        return self.head(self.rectify_again(self.norm(self.rectify(self.convolve(images)))))


class OverwrittenVectors(nn.Module):
    """The same with vectors (N, channels), and tokens (N, tokens, channels)."""

    def __init__(self):
        super().__init__()
        self.vectors = nn.Linear(16, 4)
        self.tokens = nn.Linear(4, 3)
        self.rectify = nn.ReLU(inplace=True)

    def forward(self, images):
        vectors = self.rectify(self.vectors(images.flatten(1))).sum(1)
        tokens = self.rectify(self.tokens(images[:, 0])).sum((1, 2))
        return images[:, 0] + (vectors + tokens)[:, None, None]


@pytest.mark.parametrize("pool", ["mean", "max", "flatten", "grid"])
@pytest.mark.parametrize("layer", ["convolve", "norm"])
def test_maps_are_caught_before_what_follows_overwrites_them(pool, layer):
    model, images = OverwrittenMaps().eval(), noise(3, 1, 4, 4) - 0.5
    with torch.inference_mode():
        maps = model.convolve(images)
        if layer == "norm":
            maps = model.norm(maps.relu())
    assert (maps < 0).any()
    assert (maps > 0).any()
    np.testing.assert_allclose(features(model, layer, images, pool), pooled(maps, pool), atol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "flatten"])
@pytest.mark.parametrize("layer", ["vectors", "tokens"])
def test_vectors_and_tokens_are_caught_before_what_follows_overwrites_them(pool, layer):
    torch.manual_seed(0)
    model, images = OverwrittenVectors().eval(), noise(3, 1, 4, 4) - 0.5
    with torch.inference_mode():
        values = model.vectors(images.flatten(1)) if layer == "vectors" else model.tokens(images[:, 0])
    assert (values < 0).any()
    assert (values > 0).any()
    np.testing.assert_allclose(features(model, layer, images, pool), pooled(values, pool), atol=1e-6)


def test_a_hook_listens_only_while_it_is_open():
    module = nn.Identity()
    hook = ActivationHook(module, "it", lambda activation: 2 * activation)
    with hook.attached():
        module(torch.ones(2, 1))
        np.testing.assert_array_equal(hook.take(2), [[2], [2]])
        with pytest.raises(LayerError, match="layer 'it' did not run"):
            hook.take(2)  # what was taken is gone
        module(torch.ones(3, 1))
        hook.clear()
        with pytest.raises(LayerError, match="layer 'it' did not run"):
            hook.take(3)
        module(torch.ones(4, 1))
    assert number_of_hooks(module) == 0
    module(torch.ones(5, 1))
    with pytest.raises(LayerError, match="layer 'it' did not run"):
        hook.take(4)


def test_the_hook_goes_whatever_happens():
    module = nn.Identity()
    with pytest.raises(ZeroDivisionError), ActivationHook(module, "it", torch.clone).attached():
        raise ZeroDivisionError
    assert number_of_hooks(module) == 0


@pytest.mark.parametrize(
    ("batch_size", "learned", "sizes"),
    [(3, 3, [3, 3, 3, 3, 3, 3, 2]), (None, 16, [20]), (None, 1, [20])],
    ids=["given", "learned before", "nothing learned yet"],
)
def test_new_images_come_in_batches(batch_size, learned, sizes):
    seen = []
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1))
    segmenter = hw.Segmenter(model, batch_size=batch_size)
    images = noise(20, 1, 4, 4)
    layer, _ = find_layer(segmenter, "0", images[:2])
    if batch_size is None and learned > 1:
        segmenter.sizes_for(images[0]).size = learned
        segmenter.sizes_for(images[0])._growing = False
    handle = model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    got = Collector(segmenter, "0").features(images, layer)
    handle.remove()
    # The first two runs are to see whether an image's output depends on the rest of its batch.
    assert seen[:2] == [1, 2]
    assert seen[2:] == sizes
    weight, bias = model[0].weight.detach().flatten(), model[0].bias.detach()
    np.testing.assert_allclose(got, images.mean((1, 2, 3))[:, None] * weight + bias, atol=1e-6)


def test_of_several_runs_of_a_network_the_first_is_recorded():
    network = nn.Sequential(nn.Identity(), nn.Identity())
    hook = ActivationHook(network[0], "0", torch.clone, network)
    with hook.attached():
        for value in (1.0, 2.0):
            network(torch.full((2, 1), value))
        np.testing.assert_array_equal(hook.take(2), [[1], [1]])
        network(torch.full((2, 1), 3.0))
        np.testing.assert_array_equal(hook.take(2), [[3], [3]])
        network(torch.ones(2, 1))
        hook.clear()
        network(torch.full((2, 1), 4.0))
        np.testing.assert_array_equal(hook.take(2), [[4], [4]])
    assert number_of_hooks(network) == 0


def test_new_images_of_another_size_where_the_segmenter_looks_at_the_network_again():
    """Maps smaller than the image by an odd factor: how they lie is found by more runs, for every size."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, 4, 1), nn.Conv2d(3, 1, 1)).eval()
    segmenter = hw.Segmenter(model, activation="sigmoid")
    layer, _ = find_layer(segmenter, "0", noise(2, 1, 33, 33))
    images = noise(3, 1, 47, 47)
    with torch.no_grad():
        expected = model[0](images).mean((2, 3))
    np.testing.assert_allclose(Collector(segmenter, "0").features(images, layer), expected, atol=1e-6)
