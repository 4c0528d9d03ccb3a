"""Sets and shifts of the benchmark of estimates; what the models make of them is kept in benchmarks/out/estimates."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _roads_data
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import hdm_widgets as hw
from hdm_widgets.latent.collector import Collector
from hdm_widgets.models.training import evaluate, train

OUT = Path(__file__).parent / "out" / "estimates"
_SCENES, _OTHER_SCENES = 800, 400
_PATCH = 96
_HELD_OUT = 30  # of the 60 road pictures; the network is trained on the others
_EPOCHS = 48
# Bins of a pixel's confidence, max(p, 1 - p), evenly spaced in -log10(1 - confidence).
CONFIDENCE_EDGES = 1 - 10 ** -np.linspace(-np.log10(0.5), 7, 129)

Items = list[tuple[Tensor, Tensor]]
Array = NDArray[Any]


def _to_bytes(image: Tensor) -> Image.Image:
    return Image.fromarray((image.permute(1, 2, 0).numpy() * 255).round().clip(0, 255).astype(np.uint8))


def _from_bytes(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1).contiguous()


def _noise(deviation: float) -> Callable[[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(7)

    def add(image: Tensor) -> Tensor:
        return (image + deviation * torch.randn(image.shape, generator=generator)).clip(0, 1)

    return add


def _blur(side: int) -> Callable[[Tensor], Tensor]:
    def mean(image: Tensor) -> Tensor:
        padded = functional.pad(image[None], (side // 2,) * 4, "reflect")
        return functional.avg_pool2d(padded, side, 1)[0]

    return mean


def _hue(image: Tensor) -> Tensor:
    values = np.array(_to_bytes(image).convert("HSV"))
    values[..., 0] += 21  # of 256: 30 degrees, around the circle
    return _from_bytes(Image.fromarray(values, "HSV").convert("RGB"))


def _jpeg(image: Tensor) -> Tensor:
    buffer = io.BytesIO()
    _to_bytes(image).save(buffer, "JPEG", quality=30)
    return _from_bytes(Image.open(buffer))


def _half(image: Tensor) -> Tensor:
    small = functional.avg_pool2d(image[None], 2)
    return functional.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)[0]


SHIFTS: dict[str, Callable[[Tensor], Tensor]] = {
    "clean": lambda image: image,
    "darker x0.8": lambda image: 0.8 * image,
    "darker x0.6": lambda image: 0.6 * image,
    "noise .04": _noise(0.04),
    "noise .08": _noise(0.08),
    "blur 3": _blur(3),
    "blur 5": _blur(5),
    "hue": _hue,
    "JPEG 30": _jpeg,
    "half resolution": _half,
}
OTHER = "other seed and land uses"


def has_roads() -> bool:
    """Whether the road pictures lie beside the project."""
    return (_roads_data.ROADS / "images").is_dir()


def _pictures() -> tuple[list[str], list[str]]:
    """File names of road pictures to train on, and others."""
    trained, validated = _roads_data.names()
    order = np.random.default_rng(0).permutation(len(trained) + len(validated))
    chosen = [sorted(trained + validated)[i] for i in order]
    return sorted(chosen[_HELD_OUT:]), sorted(chosen[:_HELD_OUT])


def _roads_model() -> nn.Module:
    """The network of benchmarks/roads.py, trained on half of the pictures, once."""
    torch.manual_seed(0)
    model = hw.UNet(in_channels=3, classes=1, width=16, depth=4)
    weights = OUT / "roads.pt"
    if weights.exists():
        model.load_state_dict(torch.load(weights, weights_only=True))
        return model.eval()
    training, held_out = _pictures()
    crops = _roads_data.Pictures(training, patch=128, per_picture=4)
    train(model, crops, epochs=_EPOCHS, batch_size=8, learning_rate=2e-3)
    torch.save(model.state_dict(), weights)
    print(f"roads: IoU {evaluate(model, _roads_data.Pictures(held_out), batch_size=1):.3f} on pictures held out")
    return model.eval()


def _roads() -> tuple[nn.Module, Items, NDArray[np.int64]]:
    """The network, patches of the pictures that it has not seen, and the picture of each."""
    items, pictures = [], []
    for number, name in enumerate(_pictures()[1]):
        image, mask = _roads_data.read(name)
        corners = range(0, image.shape[-1] - _PATCH + 1, _PATCH)
        for row in corners:
            for col in corners:
                window = slice(row, row + _PATCH), slice(col, col + _PATCH)
                items.append((image[(slice(None), *window)].contiguous(), mask[window]))
                pictures.append(number)
    return _roads_model(), items, np.array(pictures)


def _observed(model: nn.Module, items: Items, change: Callable[[Tensor], Tensor]) -> dict[str, NDArray[np.generic]]:
    """Everything that is compared: the space's own columns, and what the baselines need."""
    images = torch.stack([change(image) for image, _ in items])
    truths = torch.stack([mask for _, mask in items])
    pairs = list(zip(images, truths, strict=True))
    segmenter = hw.Segmenter(model)
    found = Collector(segmenter).collect(pairs, progress=False)
    probabilities = torch.as_tensor(segmenter.probabilities(images))
    masks = probabilities > 0.5
    flipped = [torch.as_tensor(segmenter.masks(images.flip(axis))).flip(axis) for axis in (-1, -2)]
    pixel = torch.maximum(probabilities, 1 - probabilities).double().numpy()
    bins = np.clip(np.searchsorted(CONFIDENCE_EDGES, pixel, side="right") - 1, 0, len(CONFIDENCE_EDGES) - 2)
    count = len(CONFIDENCE_EDGES) - 1
    histograms = [
        np.stack([np.bincount(row[inside], minlength=count) for row, inside in zip(bins, side, strict=True)])
        for side in (masks.numpy(), ~masks.numpy())
    ]
    sides = [(pixel * side).sum((1, 2)) for side in (masks.numpy(), ~masks.numpy())]
    return {
        "features": found.features,
        "tp": found.tp,
        "fn": found.fn,
        "fp": found.fp,
        "flips": np.mean([_dice(masks, flipped[0]), _dice(masks, flipped[1]), _dice(*flipped)], axis=0),
        "foreground_histogram": histograms[0].astype(np.int32),
        "background_histogram": histograms[1].astype(np.int32),
        "foreground_confidence": sides[0],
        "background_confidence": sides[1],
        "pixels": np.full(len(items), pixel[0].size),
        **{f"confidence_{name}": values for name, values in found.confidences.items()},
    }


def _dice(one: Tensor, other: Tensor) -> NDArray[np.float64]:
    """Dice coefficients of pairs of masks (n, H, W); 1 where both are empty."""
    overlap, total = (one & other).sum((1, 2)).double(), (one.sum((1, 2)) + other.sum((1, 2))).double()
    return torch.where(total > 0, 2 * overlap / total.clamp(min=1), 1.0).numpy()


def load(name: str) -> dict[str, dict[str, Array]]:
    """What the model of "aerial" or "roads" makes of every shift; computed where it is not kept."""
    OUT.mkdir(parents=True, exist_ok=True)
    model: nn.Module | None = None
    items: Items = []
    groups = np.empty(0, np.int64)
    found = {}
    for shift in [*SHIFTS, *([OTHER] if name == "aerial" else [])]:
        path = OUT / f"{name} {shift}.npz"
        if not path.exists():
            if model is None and name == "aerial":
                demo = hw.demo.aerial(_SCENES)
                model, items, groups = demo.model, [demo.dataset[i] for i in range(_SCENES)], np.arange(_SCENES)
            elif model is None:
                model, items, groups = _roads()
            chosen, change = items, SHIFTS.get(shift, SHIFTS["clean"])
            if shift == OTHER:
                weights = {"forest": 1, "water": 1, "field": 1, "scattered houses": 1, "dense blocks": 1}
                scenes = hw.data.AerialScenes(
                    _OTHER_SCENES, seed=4242, weights=weights | {"car park": 3, "cemetery": 3}
                )
                chosen = [scenes[i] for i in range(_OTHER_SCENES)]
            np.savez_compressed(path, group=groups[: len(chosen)], **_observed(model, chosen, change))
            print(f"{name}, {shift}: kept", flush=True)
        with np.load(path) as file:
            found[shift] = dict(file)
    return found
