"""Networks that look at the whole image are still exact and say where they do; what cannot be traced says why."""

import pytest
import torch
from architectures import conv_bn, made
from global_networks import GLOBAL, Around, Classifier, Function, PyramidPooling
from odd_networks import COUNTING, Computes
from torch import nn
from torch.nn import functional as F
from window_checks import (
    assert_it_proves_something,
    assert_windows_equal_the_model,
    boxes_everywhere,
    random_image,
    randomized,
)

from hdm_widgets.windowed import TracedModel, TraceError


@pytest.mark.parametrize("name", GLOBAL)
def test_global_operations(name):
    part, labels = GLOBAL[name]
    model, image = randomized(made(lambda: Around(part()))), random_image(2, 33, 40)
    boxes = boxes_everywhere(33, 40, 7)
    engine = TracedModel(model, image)
    result = assert_windows_equal_the_model(model, image, boxes, engine)
    assert_it_proves_something(result, boxes)
    if labels is not None:
        assert list(dict.fromkeys(engine.network.propagation.global_steps())) == labels


def test_a_change_reaches_every_output_place():
    model, image = randomized(made(lambda: Around(nn.GroupNorm(2, 8)))), random_image(2, 33, 40)
    result = assert_windows_equal_the_model(model, image, boxes_everywhere(33, 40, 7)[:1])
    assert (result.windowed != result.unchanged).flatten(2).double().mean() > 0.9


def test_averages_over_a_few_cells_are_no_look_at_everything():
    model, image = randomized(made(lambda: Around(PyramidPooling((3, 6))))), random_image(2, 33, 40)
    engine = TracedModel(model, image)
    assert_windows_equal_the_model(model, image, boxes_everywhere(33, 40, 7), engine)
    assert engine.network.propagation.global_steps() == []


def test_monai_unet_with_instance_norm():
    from monai.networks.nets import UNet

    model = randomized(made(lambda: UNet(2, 1, 2, channels=(6, 12, 24), strides=(2, 2))))
    image, boxes = random_image(1, 48, 64), boxes_everywhere(48, 64, 9)
    engine = TracedModel(model, image)
    result = assert_windows_equal_the_model(model, image, boxes, engine)
    assert_it_proves_something(result, boxes)
    assert engine.network.propagation.global_steps() == ["instance_norm in model.0.adn.N"]


class Segmenter(nn.Module):
    """SegFormer, enlarged to the image."""

    def __init__(self):
        super().__init__()
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        self.network = SegformerForSemanticSegmentation(
            SegformerConfig(
                depths=[1, 1, 1, 1],
                hidden_sizes=[8, 8, 16, 16],
                num_attention_heads=[1, 2, 2, 4],
                decoder_hidden_size=8,
                num_labels=2,
            )
        )

    def forward(self, x):
        return F.interpolate(self.network(x).logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


def test_segformer():
    model, image, boxes = randomized(made(Segmenter)), random_image(3, 65, 96), boxes_everywhere(65, 96, 11)
    engine = TracedModel(model, image)
    result = assert_windows_equal_the_model(model, image, boxes, engine)
    assert_it_proves_something(result, boxes)
    assert engine.network.propagation.global_steps()[0] == "flatten in network.segformer.stages.0.patch_embeddings"


def monai_segresnet():
    from monai.networks.nets import SegResNet

    return SegResNet(2, in_channels=3, out_channels=1, init_filters=8, blocks_down=(1, 1), blocks_up=(1,))


def monai_attention_unet():
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(2, 3, 1, channels=(6, 12), strides=(2,))


def monai_mednext():
    from monai.networks.nets import MedNeXt

    ratios = {f"{part}_expansion_ratio": 2 for part in ("encoder", "decoder", "bottleneck")}
    return MedNeXt(2, 4, 3, 1, **ratios, blocks_down=(1,), blocks_bottleneck=1, blocks_up=(1,))


@pytest.mark.parametrize(
    ("factory", "first"),
    [
        (monai_segresnet, "group_norm in down_layers.0.1.norm1"),
        (monai_attention_unet, "instance_norm in model.1.merge.adn.N"),
        (monai_mednext, "group_norm in enc_stages.0.0.norm"),
    ],
)
def test_networks_with_norms_over_the_image(factory, first):
    model, image, boxes = randomized(made(factory)), random_image(3, 48, 64), boxes_everywhere(48, 64, 9)
    engine = TracedModel(model, image)
    result = assert_windows_equal_the_model(model, image, boxes, engine)
    assert_it_proves_something(result, boxes)
    assert engine.network.propagation.global_steps()[0] == first


@pytest.mark.parametrize("kind", [lambda: nn.GroupNorm(2, 8), lambda: nn.InstanceNorm2d(8, affine=True)])
def test_norms_of_values_far_from_zero(kind):
    """In channels last, PyTorch's group norm rounds a thousand times as much as in the model."""
    model, image = randomized(made(lambda: Around(kind()))), random_image(2, 65, 96)
    with torch.no_grad():
        model.stem[1].bias.add_(60)
    assert_windows_equal_the_model(model, image, boxes_everywhere(65, 96, 11))


class UperNet(nn.Module):
    """UperNet on a ConvNeXt, which has its channels last in every block."""

    def __init__(self):
        super().__init__()
        from transformers import ConvNextConfig, UperNetConfig, UperNetForSemanticSegmentation

        backbone = ConvNextConfig(
            num_channels=3, hidden_sizes=[8, 8, 8], depths=[1, 1, 1], num_stages=3, out_features=["stage2", "stage3"]
        )
        self.network = UperNetForSemanticSegmentation(
            UperNetConfig(backbone_config=backbone, hidden_size=8, num_labels=2, use_auxiliary_head=False)
        )

    def forward(self, x):
        return self.network(x).logits


def test_upernet():
    model, image, boxes = randomized(made(UperNet)), random_image(3, 96, 128), boxes_everywhere(96, 128, 9)
    engine = TracedModel(model, image)
    result = assert_windows_equal_the_model(model, image, boxes, engine)
    assert_it_proves_something(result, boxes)
    assert [label for label in engine.network.propagation.global_steps() if "backbone" in label] == []


# What windows cannot serve.


class Forward(nn.Module):
    """A convolution, and whatever `forward` does with it and the image."""

    def __init__(self, forward):
        super().__init__()
        self.convolution = nn.Conv2d(2, 2, 3, padding=1)
        self.register_buffer("calls", torch.zeros(()))
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


def _counting(self, x):
    self.calls += 1
    return self.convolution(x)


def _writing(self, x):
    x -= x.mean((2, 3), keepdim=True)
    return self.convolution(x)


@pytest.mark.parametrize("function", [_counting, _writing])
def test_what_a_network_writes_elsewhere_is_its_own_business(function):
    model, image = randomized(Forward(function)), random_image(2, 20, 26)
    before = image.clone()
    engine = TracedModel(model, image)
    assert float(model.calls) == 0
    assert_windows_equal_the_model(model, image, boxes_everywhere(20, 26, 5), engine)
    assert torch.equal(image, before)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda self, x: self.convolution(x) if x.mean() > 0.5 else x, "depends on the values it computes"),
        (lambda self, x: (self.convolution(x), x), "output"),
        (lambda self, x: x.new_ones(2, 5, 4, 4), "output|images at a time"),
        (lambda self, x: self.convolution(x) * len(x) ** 2, "images at a time"),
        (lambda self, x: torch.cat([x, torch.ones(len(x) + 1, *x.shape[1:])])[: len(x)], "several maps for each image"),
        (
            lambda self, x: (torch.ones(2 * len(x), 1, 20, 26) * x.view(-1, 1, 20, 26)).view(x.shape),
            "several maps for each image",
        ),
        (lambda self, x: torch.stack([self.convolution(one[None])[0] for one in x]), "images at a time"),
        (lambda self, x: self.convolution(x) + torch.randn_like(x), "random"),
        (lambda self, x: F.dropout(self.convolution(x), training=True), "random"),
    ],
    ids=[
        "control flow",
        "two outputs",
        "no image",
        "square of len",
        "one more",
        "twice",
        "one by one",
        "noise",
        "dropout",
    ],
)
def test_says_why_it_cannot_be_traced(function, reason):
    with pytest.raises(TraceError, match=reason) as caught:
        TracedModel(randomized(Forward(function)), random_image(2, 20, 26))
    message = str(caught.value)
    # A clause for people: one line, no report of the tracer's.
    assert message
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize("name", COUNTING)
def test_networks_that_count_the_images(name):
    model, image = randomized(Computes(COUNTING[name])), random_image(2, 20, 26)
    boxes = boxes_everywhere(20, 26, 5)
    assert_it_proves_something(assert_windows_equal_the_model(model, image, boxes), boxes, least=0.9)


@pytest.mark.parametrize(
    ("function", "one_by_one"),
    [
        (lambda self, x: self.convolution(x).view(len(x), 4, *x.shape[2:]), False),
        (lambda self, x: torch.cat([self.convolution(x), x.new_zeros(len(x), 1, *x.shape[2:])], 1), False),
        (lambda self, x: x[: len(x)] + 1, False),
        (lambda self, x: self.convolution(x) * len(x), True),
        (lambda self, x: self.convolution(x) + x.new_full((x.shape[0], 1, 1, 1), 1 / x.shape[0]), True),
        (lambda self, x: self.convolution(x) * torch.arange(len(x)).view(-1, 1, 1, 1), True),
        (lambda self, x: self.convolution(x) + torch.full((4, 1, 1), 3.0 * len(x[0]) + x.shape[0]), True),
    ],
    ids=["view", "zeros", "slice", "factor", "fill", "range", "fill for channels"],
)
def test_images_run_one_by_one_where_values_depend_on_how_many_there_are(function, one_by_one):
    engine = TracedModel(randomized(Computes(function)), random_image(2, 20, 26))
    assert engine.network.program.one_by_one is one_by_one


def test_a_vector_is_no_map():
    with pytest.raises(TraceError):
        TracedModel(randomized(nn.Sequential(conv_bn(2, 8), Classifier())), random_image(2, 20, 26))


def _equal_or_refused(model):
    model, image = randomized(model), random_image(2, 20, 26)
    try:
        engine = TracedModel(model, image)
    except TraceError as error:
        assert str(error)  # noqa: PT017 - either will do
        return
    assert_windows_equal_the_model(model, image, boxes_everywhere(20, 26, 5), engine)


@pytest.mark.parametrize(
    "function",
    [
        lambda self, x: self.convolution(x) / x.max(),
        lambda self, x: self.convolution(x) * x.mean().item(),
        lambda self, x: self.convolution(x) * x[x > 0.5].sum(),
        lambda self, x: self.convolution(x - x.mean(0, keepdim=True)) + x,
        lambda self, x: self.convolution(x).squeeze(),
        lambda self, x: F.batch_norm(self.convolution(x), None, None, training=True),
        lambda self, x: x.flip(0),
    ],
    ids=["largest", "item", "chosen", "mean image", "squeeze", "batch statistics", "flip"],
)
def test_images_of_a_batch_do_not_mix(function):
    """A network that tells one image from several is either run one by one or refused."""
    _equal_or_refused(Forward(function))


def test_low_precision_inside():
    def function(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.convolution(x).float()

    _equal_or_refused(Forward(function))


def test_functions_of_the_whole_keep_their_place_in_the_label():
    model = nn.Sequential(conv_bn(2, 8), nn.Sequential(Function(lambda x: x / x.sum((2, 3), keepdim=True))))
    engine = TracedModel(randomized(model), random_image(2, 20, 26))
    assert engine.network.propagation.global_steps() == ["sum in 1.0"]
