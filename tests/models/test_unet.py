import numpy as np
import pytest
import torch
from torch import nn

import hdm_widgets as hw


def small(**options):
    torch.manual_seed(0)
    return hw.UNet(**{"width": 2, "depth": 2, **options}).eval()


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest", "transposed"])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (13, 22), (7, 9), (4, 4)])
def test_logits_have_the_size_of_the_image(upsampling, height, width):
    model = small(in_channels=3, classes=2, upsampling=upsampling)
    logits = model(torch.rand(2, 3, height, width))
    assert logits.shape == (2, 2, height, width)
    assert torch.isfinite(logits).all()
    assert logits.std() > 0


@pytest.mark.parametrize(("width", "depth"), [(2, 1), (4, 3)])
def test_the_bottleneck_is_named_and_sees_the_coarsest_map(width, depth):
    model = small(width=width, depth=depth)
    seen = []
    dict(model.named_modules())["bottleneck"].register_forward_hook(lambda _m, _i, output: seen.append(output.shape))
    model(torch.rand(1, 1, 32, 16))
    assert seen == [(1, width * 2**depth, 32 // 2**depth, 16 // 2**depth)]


def test_every_3x3_convolution_has_a_batch_norm():
    model = small(depth=3)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(convolutions) == len(norms) == 2 * (3 + 1 + 3)
    assert [c.out_channels for c in convolutions] == [n.num_features for n in norms]


def test_number_of_weights_by_hand():
    # Width 1, depth 1: blocks 1-1, 1-2 and (1 + 2)-1, each two convolutions without bias and two norms; then the head.
    def block(before, after):
        return 9 * before * after + 9 * after * after + 2 * 2 * after

    expected = block(1, 1) + block(1, 2) + block(3, 1) + 1 + 1
    assert sum(p.numel() for p in small(width=1, depth=1).parameters()) == expected


def test_the_head_is_linear_in_its_bias():
    model = small(classes=2)
    image = torch.rand(1, 1, 8, 8)
    before = model(image)
    with torch.no_grad():
        model.head.bias += torch.tensor([1.0, -2.0])
    shift = model(image) - before
    np.testing.assert_allclose(shift[0, 0].detach(), 1, atol=1e-5)
    np.testing.assert_allclose(shift[0, 1].detach(), -2, atol=1e-5)


@torch.no_grad()
def test_skips_carry_what_the_bottleneck_does_not():
    model = small()
    model.bottleneck.register_forward_hook(lambda _m, _i, output: output * 0)
    one, other = model(torch.zeros(1, 1, 16, 16)), model(torch.rand(1, 1, 16, 16))
    assert not torch.allclose(one, other)


@torch.no_grad()
def test_images_of_a_batch_do_not_touch_each_other():
    model = small()
    images = torch.rand(3, 1, 12, 20)
    together = model(images)
    for image, logits in zip(images, together, strict=True):
        np.testing.assert_allclose(model(image[None])[0], logits, atol=1e-5)


@torch.no_grad()
def test_weights_can_be_stored_and_put_back():
    model, other = small(), hw.UNet(width=2, depth=2).eval()
    other.load_state_dict(model.state_dict())
    image = torch.rand(1, 1, 9, 9)
    np.testing.assert_array_equal(model(image), other(image))


@pytest.mark.parametrize("name", ["in_channels", "classes", "width", "depth"])
def test_bad_sizes(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        hw.UNet(**{name: 0})


def test_unknown_upsampling():
    with pytest.raises(ValueError, match="upsampling must be one of 'bilinear', 'nearest', 'transposed', got 'cubic'"):
        hw.UNet(upsampling="cubic")
