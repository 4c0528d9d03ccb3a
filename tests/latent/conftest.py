"""A data set whose map is known, and a model that hides nothing."""

import copy

import numpy as np
import pytest
import torch
from layer_helpers import Reads

import hdm_widgets as hw

CHANNELS, SIDE = 6, 8


class Groups:
    """Three groups of images, by the means of their six channels; truths are what the second channel shows.

    Attributes
    ----------
    images, masks : numpy.ndarray, float32 (n, 6, 8, 8) and bool (n, 8, 8)
    groups : numpy.ndarray, int (n,)
        Group of every image: of ten images 5, 3 and 2.
    columns : dict
    """

    def __init__(self, length=60, seed=0):
        rng = np.random.default_rng(seed)
        centers = rng.random((3, CHANNELS))
        self.groups = np.resize([0, 0, 0, 0, 0, 1, 1, 1, 2, 2], length)
        means = centers[self.groups] + rng.normal(0, 0.03, (length, CHANNELS))
        noise = rng.normal(0, 0.3, (length, CHANNELS, SIDE, SIDE))
        # Within [0, 1], so that what the model draws counts as probabilities.
        self.images = np.clip(means[..., None, None] + noise, 0, 1).astype(np.float32)
        self.masks = self.images[:, 1] > 0.5
        self.columns = {"group": [f"group {group}" for group in self.groups], "number": list(range(length))}

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return torch.from_numpy(self.images[index]), self.masks[index]

    @property
    def features(self):
        """What the layer's mean is."""
        return self.images.astype(np.float64).mean((2, 3))

    @property
    def iou(self):
        """Of the masks and what the model draws, by plain NumPy."""
        drawn = self.images[:, 0] > 0.5
        return (drawn & self.masks).sum((1, 2)) / (drawn | self.masks).sum((1, 2))


@pytest.fixture(scope="session")
def make_groups():
    """A function (length, seed) -> Groups."""
    return Groups


@pytest.fixture(scope="session")
def groups():
    """Sixty images; not to be changed."""
    return Groups()


@pytest.fixture
def reads():
    return Reads()


@pytest.fixture(scope="session")
def space(groups):
    """Their latent space, without clusters; not to be changed."""
    return hw.LatentSpace(Reads()).fit(groups, progress=False)


@pytest.fixture
def own_space(space):
    """The same, to change: what a method sets is set anew, so that a shallow copy does."""
    return copy.copy(space)
