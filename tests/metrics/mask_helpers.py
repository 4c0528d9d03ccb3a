"""Masks to measure, and how others measure them."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff

# MONAI 1.6 warns about a keyword that it passes to itself.
monai_oracle = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")


def by_coordinates(a, b, spacing=(1, 1)):
    """SciPy's directed distance between the pixels' coordinates, both ways."""
    first, second = np.argwhere(a) * spacing, np.argwhere(b) * spacing
    return max(directed_hausdorff(first, second)[0], directed_hausdorff(second, first)[0])


def edges(mask):
    return mask & ~ndimage.binary_erosion(mask)


def blobs(seed, shape=(40, 56), fraction=0.3):
    """A mask of a few smooth blobs, as a segmentation model draws them."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return noise > np.quantile(noise, 1 - fraction)
