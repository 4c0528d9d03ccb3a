"""Computing without TF32 in one thread, while the settings of the process stay."""

import threading

import pytest
import torch
from tf32_double import tf32_double
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import _get_current_dispatch_mode

from hdm_widgets.models.tf32 import uses_tf32, without_tf32

CPU, GPU = torch.device("cpu"), torch.device("cuda")
GENERATOR = torch.Generator().manual_seed(0)
MAPS, TOKENS = (torch.randn(shape, generator=GENERATOR) for shape in ((2, 8, 12, 12), (2, 30, 8)))

LAYERS = {
    "convolution": (nn.Conv2d(8, 4, 3, padding="same"), MAPS),
    "depthwise convolution": (nn.Conv2d(8, 8, 3, groups=8, stride=2, bias=False), MAPS),
    "transposed convolution": (nn.ConvTranspose2d(8, 4, 2, stride=2), MAPS),
    "linear layer": (nn.Linear(8, 16), TOKENS),
    "product": (lambda tokens: tokens @ tokens.mT, TOKENS),
    "einsum": (lambda tokens: torch.einsum("nij,nkj->nik", tokens, tokens), TOKENS),
    "product of matrices": (lambda tokens: F.linear(tokens[0], tokens[1]), TOKENS),
}


@pytest.fixture
def settings():
    """What sets whether convolutions and products use TF32; put back afterwards, which monkeypatch cannot do here."""
    places = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [place.allow_tf32 for place in places]

    def chosen(*values):
        for place, value in zip(places, values, strict=True):
            place.allow_tf32 = value

    yield chosen
    chosen(*before)


@pytest.mark.parametrize("guard", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("name", LAYERS)
def test_full_precision(settings, name, guard):
    layer, given = LAYERS[name]
    settings(True, True)
    with guard():
        expected = layer(given)
        with tf32_double():
            rounded = layer(given)
            with without_tf32(GPU):
                exact = layer(given)
            again = layer(given)
    scale = float(expected.abs().max())
    torch.testing.assert_close(exact, expected, rtol=0, atol=1e-6 * scale)
    assert exact.dtype == torch.float32
    assert 1e-5 * scale < float((rounded - expected).abs().max()) < 1e-2 * scale
    assert torch.equal(again, rounded)
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32


def test_other_types_are_left_alone():
    layer = nn.Conv2d(8, 4, 3).double()
    with torch.no_grad(), tf32_double():
        expected = layer(MAPS.double())
        with without_tf32(GPU):
            assert torch.equal(layer(MAPS.double()), expected)


def test_other_threads_are_left_alone():
    modes = []
    with tf32_double(), without_tf32(GPU):
        here = _get_current_dispatch_mode()
        thread = threading.Thread(target=lambda: modes.append(_get_current_dispatch_mode()))
        thread.start()
        thread.join()
    assert here is not None
    assert modes == [None]


@pytest.mark.parametrize("convolutions", [True, False])
@pytest.mark.parametrize("products", [True, False])
def test_the_settings_are_read(settings, convolutions, products):
    settings(convolutions, products)
    assert not uses_tf32(CPU)
    assert uses_tf32(GPU) == (convolutions or products)
    for device in (CPU, GPU):
        with without_tf32(device):
            assert (_get_current_dispatch_mode() is not None) == uses_tf32(device)
            assert torch.backends.cudnn.allow_tf32 is convolutions
            assert torch.backends.cuda.matmul.allow_tf32 is products
