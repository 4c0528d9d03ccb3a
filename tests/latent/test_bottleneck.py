import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from layer_helpers import features, found, noise, number_of_hooks
from torch import nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets.latent.activations import Layer, LayerError
from hdm_widgets.latent.layers import find_layer
from hdm_widgets.models.segmenter import ModelError


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
    layer, module = find_layer(hw.Segmenter(model, target=0, activation="sigmoid"), "auto", noise(2, 1, 64, 64))
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
    model, images = segformer().eval(), noise(3, 1, 64, 64)
    with torch.inference_mode():
        expected = model.segformer(images).last_hidden_state.mean((2, 3))
    np.testing.assert_allclose(features(model, "auto", images), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_have_the_same_bottleneck(dtype):
    model = hw.UNet(1, 1, width=4, depth=3).to(dtype)
    assert found(model).name == "bottleneck"
    assert features(model, "auto", noise(3, 1, 64, 64)).dtype == np.float32


@pytest.mark.parametrize("shape", [(2, 1, 40, 64), (2, 1, 33, 47)])
def test_images_need_not_be_square(shape):
    layer = found(hw.UNet(1, 1, width=4, depth=3), shape=shape)
    assert layer == Layer("bottleneck", (32, shape[2] // 8, shape[3] // 8), chosen=True)


# -- what must not be taken for a bottleneck ----------------------------------------------------------


class SqueezeExcite(Plain):
    """Each channel weighed by one number that sums up the whole image."""

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


def test_a_single_place_for_the_whole_image_is_no_bottleneck():
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
@pytest.mark.filterwarnings("ignore:.*maps of several sizes")
def test_a_head_that_the_output_does_not_depend_on_is_no_bottleneck(form):
    assert found(WithAuxiliary(form)).name == "middle"


@pytest.mark.parametrize("layer", ["auto", "shared"])
def test_a_bottleneck_that_runs_twice_is_an_error(layer):
    """Its output is not one per image, and what runs before it is not the bottleneck."""
    with pytest.raises(
        LayerError, match=r"layer 'shared',? ran 2 times in one run of the model.* layer that runs once"
    ):
        found(Twice(), layer)


def test_an_encoder_of_two_images_is_an_error():
    class Siamese(Plain):
        """The image and its mirror image, as networks for changes take two images."""

        def encode(self, images):
            return super().encode(images) + super().encode(images.flip(-1)).flip(-1)

    with pytest.raises(LayerError, match="the bottleneck, layer 'middle', ran 2 times"):
        found(Siamese())


def test_an_activation_that_serves_all_layers_is_passed_over():
    class OneActivation(Plain):
        def __init__(self):
            super().__init__()
            self.last, self.act = nn.Conv2d(8, 8, 3, padding=1), nn.LeakyReLU()

        def encode(self, images):
            return self.act(self.last(self.act(super().encode(images))))

    # It has no weights: the values before it are the layer's.
    assert found(OneActivation()) == Layer("last", (8, 8, 8), chosen=True)


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
    # All three are at 64 places; the first only cuts, the last makes the output.
    assert found(model) == Layer("mix", (64, 5), chosen=True)


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
    """Scales the image in place before anything else."""

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
        images = noise(2, 1, 64, 64)
        layer, _ = find_layer(hw.Segmenter(model), "auto", images)
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
    images = noise(3, 1, 64, 64)
    untouched = images.clone()
    features(model, layer, images)
    assert state_of(model) == before
    assert before["hooks"] == 1
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, weights[name])  # the batch norm's running means among them
    np.testing.assert_array_equal(images, untouched)
    assert not images.requires_grad


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


class Halving(nn.Module):
    """Convolutions that halve the sides so many times, rounded up, and scores at the image's size; notes its inputs."""

    def __init__(self, times, summary=False):
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(1 if not level else 4, 4, 3, 2, 1) for level in range(times))
        self.weigh = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1)) if summary else None
        self.head = nn.Conv2d(4, 1, 1)
        self.rows = []

    def forward(self, images):
        self.rows.append(images.shape[2])
        maps = images
        for layer in self.down:
            maps = layer(maps)
        if self.weigh is not None:
            maps = maps * self.weigh(maps).sigmoid()
        return F.interpolate(self.head(maps), size=images.shape[2:])


@pytest.mark.parametrize(
    ("model", "side", "rows", "name"),
    [
        (Halving(3), 256, [256, 256, 128], "down.2"),
        # Half has one row as well: two of the image tell that it grows.
        (Halving(8), 256, [256, 256, 128, 512], "down.7"),
        (Halving(3, summary=True), 256, [256, 256, 128, 512], "down.2"),
        # Not a multiple of 64, and a small image.
        (Halving(3), 264, [264, 264, 528], "down.2"),
        (Halving(3), 64, [64, 64, 128], "down.2"),
    ],
    ids=["large", "one row", "summary", "odd", "small"],
)
def test_half_of_a_large_image_tells_which_maps_grow(model, side, rows, name):
    layer, _ = find_layer(hw.Segmenter(model), "auto", torch.rand(2, 1, side, 64))
    assert model.rows == rows
    assert layer.name == name
