"""Train the networks of the lesson on faults and write their weights: `python -m hdm_widgets.demo.train_faulty`.

Of every kind of image two networks are trained in the same way, one on data with the fault and one without. The IoU
printed at the end is that of the stored weights, on images of another seed without and with what shows the fault.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets.data.faults import FaultName, FaultScenes
from hdm_widgets.demo import _faulty
from hdm_widgets.demo._weights import store
from hdm_widgets.metrics import iou
from hdm_widgets.models.unet import UNet

_BATCH = 16
_LEARNING_RATE = 1e-2
# Of ground, trees and houses. With equal weights, some networks never draw a house.
_CLASS_WEIGHTS = (0.3, 1.0, 1.0)


def _loss(logits: Tensor, masks: Tensor) -> Tensor:
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], masks.float())
    return F.cross_entropy(logits, masks.long(), weight=torch.tensor(_CLASS_WEIGHTS))


def train_network(name: FaultName, faulty: bool, images: int, epochs: int) -> UNet:
    """A network after the given number of passes over its images."""
    torch.manual_seed(0)
    model = _faulty.network(name).train()
    scenes = FaultScenes(name, images, seed=_faulty.TRAINING_SEED, faulty=faulty)
    inputs, masks = (torch.stack(parts) for parts in zip(*(scenes[index] for index in range(images)), strict=True))
    # In this memory format a step takes two thirds of the time.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch leaves it out of its types
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)
    steps = epochs * -(-images // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(images)
        for start in range(0, images, _BATCH):
            chosen = order[start : start + _BATCH]
            optimizer.zero_grad()
            _loss(model(inputs[chosen]), masks[chosen]).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            schedule.step()
    return model.eval()


def mean_iou(model: UNet, scenes: FaultScenes) -> float:
    """Mean over images and, in a village, the classes that an image has."""
    scores = []
    for image, mask in (scenes[index] for index in range(len(scenes))):
        with torch.no_grad():
            logits = model(image[None])[0]
        predicted = (logits[0] > 0).int() if len(logits) == 1 else logits.argmax(0)
        scores += [iou(predicted == number, mask == number) for number in np.unique(mask) if number]
    return float(np.mean(scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--names", nargs="+", choices=get_args(FaultName), default=get_args(FaultName))
    parser.add_argument("--out", type=Path, default=_faulty.WEIGHTS, help="folder of the weights")
    options = parser.parse_args()

    options.out.mkdir(exist_ok=True)
    for name in options.names:
        for faulty in (True, False):
            path = _faulty.weights_path(name, faulty, options.out)
            store(train_network(name, faulty, options.images, options.epochs), path)
            stored = _faulty.load(name, faulty, options.out)
            ordinary, exposing = (
                mean_iou(stored, FaultScenes(name, 60, seed=_faulty.VALIDATION_SEED, exposing=exposing))
                for exposing in (0.0, 1.0)
            )
            print(
                f"{name:<8} {'faulty' if faulty else 'healthy':<8} mean IoU {ordinary:.3f} on ordinary images, "
                f"{exposing:.3f} on those that show the fault; {path.stat().st_size / 1e3:.0f} kB"
            )


if __name__ == "__main__":
    main()
