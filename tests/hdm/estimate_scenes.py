"""What tests of estimates share: a small network that looks at all of its image."""

import torch
from torch.nn import functional as F
from window_checks import random_image, randomized

import hdm_widgets as hw
from hdm_widgets.hdm.backends import Inference


def keep_estimates(monkeypatch):
    """Of so small a network estimates may take as long as what they stand for, and are given up then."""
    monkeypatch.setattr(Inference, "estimates_are_slower", False)
    for name in ("_WORTH_ESTIMATING_SECONDS", "_WORTH_TRACING_SECONDS"):
        monkeypatch.setattr(f"hdm_widgets.hdm.plan.{name}", 0.0)


def normed_scene(height, width):
    """A network with three norms whose logits are near the threshold in many places, an image and its own mask."""
    conv, layers = torch.nn.Conv2d, []
    for before in (1, 4, 4):
        layers += [conv(before, 4, 3, padding=1), torch.nn.GroupNorm(1, 4), torch.nn.ReLU()]
    model = randomized(torch.nn.Sequential(*layers, conv(4, 1, 3, padding=1)))
    image = F.interpolate(random_image(1, 8, 9)[None], size=(height, width), mode="bicubic")[0].clamp(0.05, 1)
    with torch.no_grad():
        model[-1].bias -= model(image[None]).median()
    return model, image, hw.Segmenter(model).masks(image[None])[0]
