"""Train a segmentation model on pairs of an image and a mask."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, default_collate
from tqdm.auto import tqdm

from hdm_widgets._masks import find_ambiguity, read_mask
from hdm_widgets._validation import brief, checks_simple_arguments, warn_user
from hdm_widgets.models.evaluation import evaluating
from hdm_widgets.models.modules import model_device, move, parameters, tensors
from hdm_widgets.models.training_mode import set_training

__all__ = ["TrainingHistory", "evaluate", "train"]


@dataclass(frozen=True)
class TrainingHistory:
    """Loss and validation score of every epoch.

    Attributes
    ----------
    loss : list of float
        Mean training loss (binary cross-entropy + soft Dice).
    iou : list of float
        Validation IoU, pooled over all pixels of the validation set; empty without one.
    best_epoch : int
        Epoch, counted from 0, whose weights the model has now.
    """

    loss: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    best_epoch: int = 0


class _Batches:
    """Makes batches of items, with masks read as everywhere in this package.

    Parameters
    ----------
    warn : bool
        Whether to warn, once, of masks that may be meant in another way.
    """

    def __init__(self, *, warn: bool) -> None:
        self._warn = warn

    def __call__(self, items: list[tuple[Any, Any]]) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W), and masks, bool (N, H, W)."""
        images, masks = zip(*items, strict=True)
        return default_collate(list(images)), torch.stack([torch.from_numpy(self._truth(mask)) for mask in masks])

    def _truth(self, mask: Any) -> NDArray[np.bool_]:
        given = read_mask(mask, may_ignore=False)
        if given.ignored is not None:
            raise ValueError(
                "a mask of the data set has masked pixels, and training counts every pixel: fill them, mask.filled(0)"
            )
        ambiguity = find_ambiguity(given, "a mask of the data set", "mask", may_ignore=False)
        if self._warn and ambiguity is not None:
            self._warn = False
            warn_user(ambiguity.text)
        return given.mask


def _loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice; the Dice term is a mean over images."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target)
    probability = torch.sigmoid(logits).flatten(1)
    truth = target.flatten(1)
    overlap = (probability * truth).sum(1)
    dice = (2 * overlap + 1) / (probability.sum(1) + truth.sum(1) + 1)
    return cross_entropy + (1 - dice).mean()


def _augmented(images: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Flip the batch along each axis and transpose it, at random; transpose only if the sides are equal."""
    for axis in (-1, -2):
        if rng.random() < 0.5:
            images, masks = images.flip(axis), masks.flip(axis)
    if images.shape[-1] == images.shape[-2] and rng.random() < 0.5:
        images, masks = images.transpose(-1, -2), masks.transpose(-1, -2)
    return images.contiguous(), masks.contiguous()


def _chosen_device(model: nn.Module, device: torch.device | str | None) -> torch.device:
    """The device that was asked for, else the model's own."""
    return torch.device(device) if device is not None else model_device(model) or torch.device("cpu")


def _copies(model: nn.Module) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors(model)]


def _maps(model: nn.Module, images: Tensor, masks: Tensor) -> Tensor:
    logits = model(images)
    if not isinstance(logits, Tensor) or logits.numel() != masks.numel():
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"training needs one logit per pixel, ({len(images)}, 1, H, W) for masks {tuple(masks.shape)}, got {shape}"
        )
    return logits.reshape(masks.shape)


def evaluate(
    model: nn.Module, dataset: Dataset[Any], *, batch_size: int = 16, device: torch.device | str | None = None
) -> float:
    """IoU over all pixels of a data set; pixels whose logit is above 0 are predicted.

    Parameters
    ----------
    model : torch.nn.Module
        (N, C, H, W) -> one logit per pixel, (N, 1, H, W) or (N, H, W).
    dataset : torch.utils.data.Dataset
        Items are (image (C, H, W), mask (H, W)), nonzero = segment.
    batch_size : int
        Images in a batch.
    device : torch.device or str, optional
        Where to compute; the model's own device by default.

    Returns
    -------
    float
        Sum of all intersections over sum of all unions; 0 if no pixel is in any.
    """
    device = _chosen_device(model, device)
    intersection = union = 0
    with torch.no_grad(), evaluating(model, device):
        for images, masks in DataLoader(dataset, batch_size, collate_fn=_Batches(warn=False)):
            truth = masks.to(device)
            predicted = _maps(model, images.to(device), truth) > 0
            intersection += int((predicted & truth).sum())
            union += int((predicted | truth).sum())
    return intersection / union if union else 0.0


@checks_simple_arguments
def train(
    model: nn.Module,
    dataset: Dataset[Any],
    *,
    validation: Dataset[Any] | None = None,
    epochs: int = 20,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    augment: bool = True,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> TrainingHistory:
    """Train a model for one segment with Adam and binary cross-entropy plus soft Dice.

    Parameters
    ----------
    model : torch.nn.Module
        (N, C, H, W) -> one logit per pixel, (N, 1, H, W) or (N, H, W). Trained in place; on return it
        is in eval mode and has the weights of the best epoch.
    dataset : torch.utils.data.Dataset
        Items are (image float32 (C, H, W), mask (H, W)): of bool, whole numbers (nonzero = segment), or floats that
        are 0 and 1.
    validation : torch.utils.data.Dataset, optional
        The best epoch is the one with the highest IoU here; without it, the one with the lowest loss.
    epochs, batch_size : int
        Passes over `dataset`, and images in a step.
    learning_rate : float
        Highest rate of a one-cycle schedule.
    augment : bool
        Flip and transpose the batches at random.
    seed : int
        Fixes the order of the images and the augmentation. The initial weights are the model's own.
    device : torch.device or str, optional
        Where to train; the model's own device by default.
    progress : bool
        Show a tqdm bar with the time left.

    Returns
    -------
    TrainingHistory

    Raises
    ------
    TypeError, ValueError
        If `epochs` or `batch_size` is below 1, the data set is empty, the model does not give one logit per pixel, or
        it is not clear from a mask which pixels belong to the segment.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {brief(model)}")
    for name, data in {"dataset": dataset, "validation": validation}.items():
        is_data = hasattr(data, "__getitem__") and not isinstance(data, (str, bytes, dict, np.ndarray, Tensor))
        if not is_data and (name == "dataset" or data is not None):
            raise TypeError(f"{name} must be a data set of (image, mask), got {brief(data)}")
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be above 0, got {learning_rate}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size must be at least 1, got {epochs} and {batch_size}")
    if isinstance(dataset, Sized) and len(dataset) == 0:
        raise ValueError("the data set is empty")
    device = _chosen_device(model, device)
    move(model, device)
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(dataset, batch_size, shuffle=True, generator=generator, collate_fn=_Batches(warn=True))
    optimizer = torch.optim.Adam(parameters(model), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=epochs * len(loader))
    history = TrainingHistory()
    best_score, best_epoch, best_weights = -float("inf"), 0, _copies(model)

    with tqdm(total=epochs * len(loader), disable=not progress, unit="batch", desc="training") as bar:
        for epoch in range(epochs):
            set_training(model, True)
            total = 0.0
            for images, masks in loader:
                images, truth = images.to(device), masks.to(device).float()
                if augment:
                    images, truth = _augmented(images, truth, rng)
                loss = _loss(_maps(model, images, truth), truth)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimizer.step()
                schedule.step()
                total += float(loss.detach())
                bar.update()
            history.loss.append(total / len(loader))
            score = -history.loss[-1]
            if validation is not None:
                score = evaluate(model, validation, batch_size=batch_size, device=device)
                history.iou.append(score)
            bar.set_postfix(loss=f"{history.loss[-1]:.3f}", best=f"{max(score, best_score):.4f}")
            if score > best_score:
                best_score, best_epoch, best_weights = score, epoch, _copies(model)
    with torch.no_grad():
        for tensor, best in zip(tensors(model), best_weights, strict=True):
            tensor.copy_(best)
    set_training(model, False)
    return TrainingHistory(history.loss, history.iou, best_epoch)
