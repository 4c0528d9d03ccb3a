import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets.latent.activations import Layer, LayerError, Tap, check_pool, find_layer, output_tensor, pooled
from hdm_widgets.latent.collection import Collector
from hdm_widgets.segmenter import ModelError


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def found(model, layer="auto", shape=(2, 1, 64, 64), **options):
    return find_layer(hw.Segmenter(model, target=0, **options), layer, noise(*shape))[0]


def features(model, layer, pictures, pool="mean", **options):
    """What one pass with a tap gives."""
    collector = Collector(hw.Segmenter(model, target=0), layer, pool, **options)
    return collector.features(pictures, *find_layer(collector.segmenter, layer, pictures[:2]))


def number_of_hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


class Plain(nn.Module):
    """An encoder-decoder as a user may write it: 64 px, then 32, 16 and 8, and up again in steps of two."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, 2, 1)
        self.second = nn.Conv2d(4, 8, 3, 2, 1)
        self.middle = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.up = nn.Conv2d(8, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 1, 1)

    def encode(self, images):
        return self.middle(self.second(self.first(images)))

    def decode(self, maps, size):
        return self.head(F.interpolate(self.up(F.interpolate(maps, scale_factor=2)), size=size))

    def forward(self, images):
        return self.decode(self.encode(images), images.shape[-2:])


# -- the bottleneck of known architectures ------------------------------------------------------------


def monai_unet():
    from monai.networks.nets import UNet

    return UNet(2, 1, 1, channels=(4, 8, 16, 32), strides=(2, 2, 2), num_res_units=1)


def monai_basic_unet():
    from monai.networks.nets import BasicUNet

    return BasicUNet(2, 1, 1, features=(4, 4, 8, 16, 32, 4))


def segformer():
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return SegformerForSemanticSegmentation(
        SegformerConfig(
            num_channels=1,
            num_labels=2,
            hidden_sizes=[4, 8, 12, 16],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 1, 2, 2],
            decoder_hidden_size=16,
        )
    )


ARCHITECTURES = {
    "our U-Net": (lambda: hw.UNet(1, 1, width=4, depth=3), "bottleneck", (32, 8, 8)),
    # The deepest block beside its skip, 32 + 16 channels: what the first transposed convolution takes.
    "MONAI's UNet": (monai_unet, "model.1.submodule.1.submodule.1", (48, 8, 8)),
    "MONAI's BasicUNet": (monai_basic_unet, "down_4", (32, 4, 4)),
    "SegFormer": (segformer, "segformer", (16, 2, 2)),
    "a plain one": (Plain, "middle", (8, 8, 8)),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_bottleneck_is_found(architecture):
    build, name, shape = ARCHITECTURES[architecture]
    model = build()
    layer, module = find_layer(hw.Segmenter(model, target=0), "auto", noise(2, 1, 64, 64))
    assert layer == Layer(name, shape, chosen=True)
    assert module is model.get_submodule(name)
    # The same layer by name and as a module is the same, only not chosen.
    assert found(model, name) == found(model, module) == Layer(name, shape, chosen=False)


def test_the_decoder_of_monai_begins_with_what_was_found():
    model = monai_unet().eval()
    taken = []
    for module in model.modules():
        if isinstance(module, nn.ConvTranspose2d):
            module.register_forward_pre_hook(lambda module, inputs: taken.append(inputs[0]))
    got = features(model, "auto", noise(2, 1, 64, 64), pool="flatten")
    np.testing.assert_array_equal(got, taken[-3].flatten(1))


def test_the_features_of_segformer_are_its_encoders_last_state():
    model, pictures = segformer().eval(), noise(3, 1, 64, 64)
    with torch.inference_mode():
        expected = model.segformer(pictures).last_hidden_state.mean((2, 3))
    np.testing.assert_allclose(features(model, "auto", pictures), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_have_the_same_bottleneck(dtype):
    model = hw.UNet(1, 1, width=4, depth=3).to(dtype)
    assert found(model).name == "bottleneck"
    assert features(model, "auto", noise(3, 1, 64, 64)).dtype == np.float32


@pytest.mark.parametrize("shape", [(2, 1, 40, 64), (2, 1, 33, 47)])
def test_pictures_need_not_be_square(shape):
    layer = found(hw.UNet(1, 1, width=4, depth=3), shape=shape)
    assert layer == Layer("bottleneck", (32, shape[2] // 8, shape[3] // 8), chosen=True)


# -- what must not be taken for a bottleneck ----------------------------------------------------------


class SqueezeExcite(Plain):
    """Each channel weighed by one number that sums up the whole picture."""

    def __init__(self):
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1), nn.Sigmoid()
        )
        self.mix = nn.Conv2d(8, 8, 1)

    def encode(self, images):
        maps = super().encode(images)
        return self.mix(maps * self.weigh(maps))


class WithAuxiliary(Plain):
    """A second head, deeper and longer than the network's own middle."""

    def __init__(self, form):
        super().__init__()
        self.form = form
        self.auxiliary = nn.Sequential(nn.AvgPool2d(2), *[nn.Conv2d(8, 8, 1) for _ in range(6)])

    def forward(self, images):
        maps = self.encode(images)
        return self.form(self.decode(maps, images.shape[-2:]), self.auxiliary(maps))


class Twice(Plain):
    """One and the same module at the coarsest level twice, after the middle."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Conv2d(8, 8, 3, padding=1)

    def encode(self, images):
        return self.shared(self.shared(super().encode(images)))


class FirstMap(nn.Module):
    def forward(self, maps):
        return maps[:, 0]


class Squeezed(Plain):
    """Its head puts out (N, H, W)."""

    def __init__(self):
        super().__init__()
        self.squeeze = FirstMap()

    def forward(self, images):
        return self.squeeze(super().forward(images))


def test_a_single_place_for_the_whole_picture_is_no_bottleneck():
    # The weights are a run of six modules at 1 x 1; `mix` is what the decoder takes, at 8 x 8.
    assert found(SqueezeExcite()) == Layer("mix", (8, 8, 8), chosen=True)


@pytest.mark.parametrize(
    "form",
    [
        lambda out, auxiliary: {"out": out, "aux": auxiliary},
        lambda out, auxiliary: {"logits": out, "aux": auxiliary},
        lambda out, auxiliary: (out, auxiliary),
        lambda out, auxiliary: [out, auxiliary],
        lambda out, auxiliary: SimpleNamespace(logits=out, aux=auxiliary),
    ],
    ids=["out of a dict", "logits of a dict", "tuple", "list", "object with logits"],
)
def test_a_head_that_the_output_does_not_depend_on_is_no_bottleneck(form):
    assert found(WithAuxiliary(form)).name == "middle"


def test_a_module_that_runs_twice_is_not_chosen():
    assert found(Twice()).name == "middle"


def test_a_head_without_a_channel_axis_is_no_bottleneck():
    # (N, 128, 128) is 128 x 128 places, not 128 tokens: more than the 16 x 16 of the middle.
    assert found(Squeezed(), shape=(2, 1, 128, 128)) == Layer("middle", (8, 16, 16), chosen=True)


@pytest.mark.parametrize("inplace", [False, True])
def test_the_last_module_is_the_last_whether_it_works_in_place_or_not(inplace):
    # In place, the convolution, the batch norm and the rectifier all put out one and the same tensor.
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=inplace), nn.ConvTranspose2d(4, 1, 2, 2)
    )
    assert found(model, shape=(2, 1, 16, 16)) == Layer("2", (4, 8, 8), chosen=True)
    inner = nn.Sequential(nn.Sequential(*model[:3]), model[3])
    assert found(inner, shape=(2, 1, 16, 16)) == Layer("0", (4, 8, 8), chosen=True)
    torch.manual_seed(0)
    assert (features(inner, "auto", noise(4, 1, 16, 16), pool="flatten") >= 0).all()


def test_of_two_runs_at_the_coarsest_level_the_longer_wins():
    class TwoRuns(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Conv2d(1, 2, 2, stride=2)
            self.early = nn.Conv2d(2, 2, 2, stride=2)
            self.side = nn.Conv2d(2, 2, 1)
            self.late_a = nn.Conv2d(2, 2, 2, stride=2)
            self.late_b = nn.Conv2d(2, 2, 1)
            self.head = nn.Conv2d(2, 1, 1)

        def forward(self, images):
            half = self.down(images)
            early = self.early(half)
            side = self.side(half)  # at 8 x 8 again: the run ends
            late = self.late_b(self.late_a(side))
            return F.interpolate(self.head(F.interpolate(early + late, scale_factor=2)), scale_factor=2)

    assert found(TwoRuns(), shape=(2, 1, 16, 16)) == Layer("late_b", (2, 4, 4), chosen=True)


def test_a_model_with_a_single_place_everywhere_has_its_last_module_there():
    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.sum_up = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(1, 3, 1))

        def forward(self, images):
            return images + self.sum_up(images).sum(1, keepdim=True)

    assert found(Tiny()) == Layer("sum_up", (3, 1, 1), chosen=True)


def test_tokens_are_places_too():
    class Tokens(nn.Module):
        """Patches of 8 x 8 px as tokens, one layer for them, and back."""

        def __init__(self):
            super().__init__()
            self.cut = nn.Conv2d(1, 6, 8, stride=8)
            self.mix = nn.Linear(6, 5)
            self.head = nn.Linear(5, 1)

        def forward(self, images):
            tokens = self.mix(self.cut(images).flatten(2).transpose(1, 2))
            side = images.shape[-1] // 8
            return F.interpolate(self.head(tokens).transpose(1, 2).unflatten(2, (side, side)), scale_factor=8)

    model = Tokens()
    assert found(model, "mix") == Layer("mix", (64, 5))
    assert found(model, "mix").positions == found(model, "cut").positions == 64
    # All three are at 64 places; the last of them is the head.
    assert found(model) == Layer("head", (64, 1), chosen=True)


# -- models that are particular -----------------------------------------------------------------------


class EncoderWithoutGradients(Plain):
    """A frozen backbone is often run like this."""

    def encode(self, images):
        with torch.no_grad():
            return super().encode(images)


class AllWithoutGradients(Plain):
    @torch.inference_mode()
    def forward(self, images):
        return super().forward(images)


class ChangesItsInput(Plain):
    """Scales the picture in place before anything else."""

    def forward(self, images):
        return super().forward(images.sub_(0.5))


class ChangesItsOutput(Plain):
    """Overwrites what the sigmoid's gradient would need."""

    def forward(self, images):
        return torch.sigmoid(super().forward(images)).mul_(0.5)


class LooksAtItsValues(Plain):
    """A number of Python in between, which warns where gradients are recorded."""

    def decode(self, maps, size):
        return super().decode(maps / max(1.0, float(maps.max())), size)


class FinishesInNumPy(Plain):
    """Possible only where no gradients are recorded."""

    def forward(self, images):
        return torch.from_numpy(np.maximum(super().forward(images).numpy(), 0))


@pytest.mark.parametrize(
    "kind",
    [
        EncoderWithoutGradients,
        AllWithoutGradients,
        ChangesItsInput,
        ChangesItsOutput,
        LooksAtItsValues,
        FinishesInNumPy,
    ],
)
def test_the_bottleneck_of_models_that_get_in_the_way_of_gradients(kind):
    assert found(kind()) == Layer("middle", (8, 8, 8), chosen=True)


@pytest.mark.parametrize("frozen", ["all", "encoder"])
def test_frozen_weights_hide_nothing(frozen):
    model = hw.UNet(1, 1, width=4, depth=3)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = frozen == "encoder" and name.startswith("decoder")
    assert found(model).name == "bottleneck"


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(mode):
    model = Plain()
    with mode():
        pictures = noise(2, 1, 64, 64)
        layer, _ = find_layer(hw.Segmenter(model), "auto", pictures)
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    assert layer.name == "middle"


# -- what is put back ---------------------------------------------------------------------------------


def state_of(model):
    return {
        "training": [module.training for module in model.modules()],
        "hooks": number_of_hooks(model),
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "grad": [parameter.grad for parameter in model.parameters()],
    }


def in_use(kind=Plain):
    """A model in training, a part of it frozen, with a hook of the user's own."""
    model = kind().train()
    model.middle[1].eval()
    model.first.weight.requires_grad = False
    model.second.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("layer", ["auto", "second"])
def test_nothing_of_the_model_changes(layer):
    model = in_use()
    before, weights = state_of(model), copy.deepcopy(model.state_dict())
    assert len(set(before["training"])) == len(set(before["requires_grad"])) == 2
    pictures = noise(3, 1, 64, 64)
    untouched = pictures.clone()
    features(model, layer, pictures)
    assert state_of(model) == before
    assert before["hooks"] == 1
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, weights[name])  # the batch norm's running means among them
    np.testing.assert_array_equal(pictures, untouched)
    assert not pictures.requires_grad


@pytest.mark.parametrize("layer", ["auto", "second"])
def test_nothing_of_the_model_changes_when_it_fails(layer):
    class Fails(Plain):
        def decode(self, maps, size):
            raise RuntimeError("no decoder today")

    model = in_use(Fails)
    before = state_of(model)
    with pytest.raises(ModelError, match="no decoder today"):
        found(model, layer)
    assert state_of(model) == before


def test_an_interrupt_leaves_no_hook():
    class Interrupted(Plain):
        def decode(self, maps, size):
            raise KeyboardInterrupt

    for layer in ("auto", "second"):
        model = Interrupted()
        with pytest.raises(KeyboardInterrupt):
            found(model, layer)
        assert number_of_hooks(model) == 0


# -- layers by name -----------------------------------------------------------------------------------


class Oddities(nn.Module):
    """Layers that give no activations of one per picture."""

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
    ("parts", r"layer 'parts' put out 4 activations for 2 picture\(s\); it works on parts of pictures or on"),
    ("several", r"layer 'several' put out 1 activations for 2 picture\(s\); it works on parts of pictures or on"),
]


@pytest.mark.parametrize(("layer", "message"), WITHOUT_ACTIVATIONS, ids=lambda value: value.split()[0])
def test_layers_that_give_no_activation_per_picture(layer, message):
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
    model = Plain()
    model.alias = model.second
    assert found(model, "alias") == found(model, model.second) == Layer("second", (8, 16, 16))


def test_a_layer_says_what_it_is():
    assert str(Layer("mid", (32, 8, 6))) == "mid: 32 channels of 8 x 6"
    assert str(Layer("block.1", (16, 24))) == "block.1: 16 tokens of 24 channels"
    assert str(Layer("", (7,))) == "the model itself: 7 channels"
    assert [Layer("a", shape).positions for shape in ((32, 8, 6), (16, 24), (7,))] == [48, 16, 1]


# -- pooling, by hand ---------------------------------------------------------------------------------

# Two pictures, two channels, 2 x 3 places.
MAPS = torch.tensor(
    [
        [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, -6.0]]],
        [[[9.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[-1.0, -2.0, -3.0], [-4.0, -5.0, -3.0]]],
    ]
)
# Two pictures of four tokens (2 x 2 places) with two channels.
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
    with pytest.raises(LayerError, match=r"pool='grid' needs the places of a square picture; 5 tokens are none"):
        pooled(torch.ones(1, 5, 2), "grid")


@pytest.mark.parametrize("pool", ["median", None, 2, ["mean"]])
def test_an_unknown_pooling(pool):
    with pytest.raises(ValueError, match="pool must be one of 'mean', 'max', 'flatten', 'grid', got"):
        check_pool(pool)


# -- the tap ------------------------------------------------------------------------------------------


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
    model, pictures = OverwrittenMaps().eval(), noise(3, 1, 4, 4) - 0.5
    with torch.inference_mode():
        maps = model.convolve(pictures)
        if layer == "norm":
            maps = model.norm(maps.relu())
    assert (maps < 0).any()
    assert (maps > 0).any()
    np.testing.assert_allclose(features(model, layer, pictures, pool), pooled(maps, pool), atol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "flatten"])
@pytest.mark.parametrize("layer", ["vectors", "tokens"])
def test_vectors_and_tokens_are_caught_before_what_follows_overwrites_them(pool, layer):
    torch.manual_seed(0)
    model, pictures = OverwrittenVectors().eval(), noise(3, 1, 4, 4) - 0.5
    with torch.inference_mode():
        values = model.vectors(pictures.flatten(1)) if layer == "vectors" else model.tokens(pictures[:, 0])
    assert (values < 0).any()
    assert (values > 0).any()
    np.testing.assert_allclose(features(model, layer, pictures, pool), pooled(values, pool), atol=1e-6)


def test_a_tap_listens_only_while_it_is_open():
    module = nn.Identity()
    tap = Tap(module, "it", lambda activation: 2 * activation)
    with tap.open():
        module(torch.ones(2, 1))
        np.testing.assert_array_equal(tap.take(2), [[2], [2]])
        with pytest.raises(LayerError, match="layer 'it' did not run"):
            tap.take(2)  # what was taken is gone
        module(torch.ones(3, 1))
        tap.clear()
        with pytest.raises(LayerError, match="layer 'it' did not run"):
            tap.take(3)
        module(torch.ones(4, 1))
    assert number_of_hooks(module) == 0
    module(torch.ones(5, 1))
    with pytest.raises(LayerError, match="layer 'it' did not run"):
        tap.take(4)


def test_the_hook_goes_whatever_happens():
    module = nn.Identity()
    with pytest.raises(ZeroDivisionError), Tap(module, "it", torch.clone).open():
        raise ZeroDivisionError
    assert number_of_hooks(module) == 0


@pytest.mark.parametrize(("batch_size", "sizes"), [(None, [16, 4]), (3, [3, 3, 3, 3, 3, 3, 2])])
def test_new_pictures_come_in_batches(batch_size, sizes):
    seen = []
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1))
    segmenter = hw.Segmenter(model, batch_size=batch_size)
    pictures = noise(20, 1, 4, 4)
    layer, module = find_layer(segmenter, "0", pictures[:2])
    handle = model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    got = Collector(segmenter, "0").features(pictures, layer, module)
    handle.remove()
    assert seen == sizes
    weight, bias = model[0].weight.detach().flatten(), model[0].bias.detach()
    np.testing.assert_allclose(got, pictures.mean((1, 2, 3))[:, None] * weight + bias, atol=1e-6)
