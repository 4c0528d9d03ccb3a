"""Trained models with data to explain."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._identity import compared_by_identity
from hdm_widgets._validation import checks_simple_arguments
from hdm_widgets.data.aerial import AerialScenes
from hdm_widgets.data.faults import FaultName, FaultScenes
from hdm_widgets.data.shapes import PlantedCue
from hdm_widgets.demo import _aerial, _faulty, _shapes
from hdm_widgets.models.unet import UNet

__all__ = ["AerialDemo", "FaultyDemo", "ShapesDemo", "aerial", "faulty", "shapes"]

_IMAGES = 1000


@compared_by_identity
class ShapesDemo(NamedTuple):
    """A trained model and an image whose explanation is known.

    Attributes
    ----------
    model : UNet
        (N, 1, H, W) -> logits (N, 1, H, W).
    image : torch.Tensor
        float32 (1, H, W) in [0, 1].
    segment : torch.Tensor
        uint8 (H, W), the true mask.
    cue : numpy.ndarray
        bool (H, W), the shape on the right that decides which shape on the left is the segment.
    """

    model: UNet
    image: Tensor
    segment: Tensor
    cue: NDArray[np.bool_]


class AerialDemo(NamedTuple):
    """A trained model and images that it has never seen.

    Attributes
    ----------
    model : UNet
        (N, 3, H, W) -> logits (N, 1, H, W), high on buildings.
    dataset : AerialScenes
        Items are (image float32 (3, 96, 96), mask float32 (96, 96)); `dataset.columns["land_use"]` has the land use of
        each.
    """

    model: UNet
    dataset: AerialScenes


class FaultyDemo(NamedTuple):
    """A network with a fault, its healthy twin, and images that neither has seen.

    Attributes
    ----------
    model : UNet
        (N, C, H, W) -> logits (N, 1, H, W); in a village (N, 3, H, W) for ground, trees and houses. It was trained on
        data with a fault.
    healthy : UNet
        The same network, trained in the same way on data without the fault.
    dataset : FaultScenes
        Items are (image float32 (C, 64, 64), mask uint8 (64, 64)) with the true mask; `dataset.kinds` says which
        images show the fault.
    """

    model: UNet
    healthy: UNet
    dataset: FaultScenes


@lru_cache(maxsize=1)
def _shapes_model() -> UNet:
    return _shapes.load()


@lru_cache(maxsize=1)
def _aerial_model() -> UNet:
    return _aerial.load()


@lru_cache(maxsize=8)
def _faulty_model(name: FaultName, fault: bool) -> UNet:
    return _faulty.load(name, fault)


@checks_simple_arguments
def aerial(length: int = 1200) -> AerialDemo:
    """The aerial demo: a small U-Net that finds buildings, and synthetic images of seven land uses.

    The network was trained with few car parks and cemeteries, whose rows of rectangles look like buildings.

    Parameters
    ----------
    length : int
        Number of images.

    Returns
    -------
    AerialDemo
        (model, dataset). All calls share one model.

    Examples
    --------
    >>> model, scenes = aerial(100)
    >>> len(scenes), scenes[0][0].shape
    (100, torch.Size([3, 96, 96]))
    """
    return AerialDemo(_aerial_model(), AerialScenes(length, seed=_aerial.DEMO_SEED))


@checks_simple_arguments
def faulty(name: FaultName, length: int = 200, *, exposing: float = 0.5) -> FaultyDemo:
    """A small network with a fault to be found: it draws good masks on most images, for a wrong reason.

    The lesson `notebooks/05_find_the_bug.ipynb` finds all four; `hdm_widgets.data.FaultScenes` says what was wrong with
    the training data.

    Parameters
    ----------
    name : {"moles", "cells", "plants", "village"}
        Which network.
    length : int
        Number of images.
    exposing : float
        Fraction of images, in [0, 1], on which the fault shows.

    Returns
    -------
    FaultyDemo
        (model, healthy, dataset). All calls with one name share their models.

    Raises
    ------
    ValueError
        If there is no such name, or as `FaultScenes` does.

    Examples
    --------
    >>> model, healthy, scenes = faulty("moles", 10)
    >>> len(scenes), scenes[0][0].shape
    (10, torch.Size([3, 64, 64]))
    """
    dataset = FaultScenes(name, length, seed=_faulty.DEMO_SEED, exposing=exposing)
    return FaultyDemo(_faulty_model(name, True), _faulty_model(name, False), dataset)


@checks_simple_arguments
def shapes(index: int = 0) -> ShapesDemo:
    """The planted-cue demo: a small trained U-Net and one of 1000 images that it has never seen.

    Parameters
    ----------
    index : int
        Which image, 0 to 999.

    Returns
    -------
    ShapesDemo
        (model, image, segment, cue); the image has 128 x 128 px. All calls share one model.

    Examples
    --------
    >>> model, image, segment, cue = shapes(3)
    >>> image.shape
    torch.Size([1, 128, 128])
    """
    sample = PlantedCue(_IMAGES, seed=_shapes.DEMO_SEED).sample(index)
    return ShapesDemo(_shapes_model(), *sample)
