"""Distances in physical units: the height and width of a pixel."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_helpers import blobs, edges, monai_oracle
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy.spatial.distance import cdist

from hdm_widgets.metrics import (
    ReferenceMask,
    distance,
    hausdorff_distance,
    hausdorff_pair,
    hausdorff_percentile,
    mean_surface_distance,
)

SPACINGS = [(1, 1), (10, 10), (2, 0.5), (0.3, 0.1), (0.7, 1.3), (1, math.pi), (1e-4, 3)]


def brute_force(a, b, spacing):
    """Every pixel of one mask to every pixel of the other."""
    distances = cdist(np.argwhere(a) * spacing, np.argwhere(b) * spacing)
    return max(distances.min(axis=0).max(), distances.min(axis=1).max())


@pytest.mark.parametrize(
    ("a", "b", "spacing", "expected"),
    [
        ([[1, 0, 0, 0]], [[1, 0, 0, 1]], (1, 10), 30.0),
        ([[1], [0], [0]], [[0], [0], [1]], (2.5, 10), 5.0),
        # One row down is farther than three columns across.
        ([[1, 0, 0, 1], [1, 0, 0, 0]], [[1, 0, 0, 0], [0, 0, 0, 0]], (4, 1), 4.0),
        ([[1, 0, 0, 1], [1, 0, 0, 0]], [[1, 0, 0, 0], [0, 0, 0, 0]], (2, 1), 3.0),
        (np.eye(2)[:1], np.eye(2)[1:], (3, 7), 7.0),
        ([[1, 0], [0, 0]], [[0, 0], [0, 1]], (3, 4), 5.0),
    ],
)
def test_worked_by_hand(a, b, spacing, expected):
    assert hausdorff_distance(a, b, spacing=spacing) == pytest.approx(expected)
    assert hausdorff_pair(a, b, spacing=spacing).distance == pytest.approx(expected)
    assert hausdorff_percentile(a, b, 100, spacing=spacing) == pytest.approx(expected)


def test_the_nearest_pixel_depends_on_it():
    a, b = [[0, 0, 1], [0, 0, 0]], [[1, 0, 0], [0, 0, 1]]
    assert hausdorff_pair(a, b, spacing=(1, 1))[1:] == ((0, 0), (0, 2), "b")
    assert hausdorff_pair(a, b, spacing=(5, 1))[1:] == ((1, 2), (0, 2), "b")
    assert hausdorff_pair([[0, 0, 1], [0, 0, 0]], b, spacing=(5, 1)).distance == 5.0


@pytest.mark.parametrize("measure", [hausdorff_distance, hausdorff_percentile, mean_surface_distance])
def test_the_diagonal_of_an_empty_mask_has_the_same_unit(measure):
    one = np.eye(30, 40)
    assert measure(one, np.zeros((30, 40)), spacing=(10, 20)) == math.hypot(300, 800)


@pytest.mark.parametrize("search", [0, 10**9], ids=["tree", "transform"])
@given(st.data(), st.sampled_from(SPACINGS))
def test_equals_brute_force_on_any_masks(search, data, spacing):
    shape = data.draw(st.tuples(st.integers(1, 10), st.integers(1, 10)))
    a, b = data.draw(arrays(bool, shape)), data.draw(arrays(bool, shape))
    assume(a.any() and b.any())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distance, "_TREE_COST", search)
        found = hausdorff_distance(a, b, spacing=spacing)
    assert found == pytest.approx(brute_force(a, b, spacing), rel=1e-12, abs=1e-12)
    assert (found == 0) == np.array_equal(a, b)
    # Each is computed in its own way, and gives the very same number.
    assert found == hausdorff_distance(b, a, spacing=spacing) == hausdorff_pair(a, b, spacing=spacing).distance
    pair = hausdorff_pair(a, b, spacing=spacing)
    if pair.from_pixel is not None:
        apart = math.dist(np.multiply(pair.from_pixel, spacing), np.multiply(pair.to_pixel, spacing))
        assert apart == pytest.approx(pair.distance)


@monai_oracle
@pytest.mark.parametrize("spacing", [(2.0, 0.5), (0.7, 1.3), (1.0, math.pi)])
@pytest.mark.parametrize("seed", range(3))
def test_equals_monai(seed, spacing):
    a, b = blobs(seed), blobs(seed + 300)
    # MONAI compares outlines, so the sets compared here are outlines too.
    first, second = (torch.tensor(mask)[None, None] for mask in (a, b))
    theirs = {
        percentile: float(compute_hausdorff_distance(first, second, True, percentile=percentile, spacing=spacing))
        for percentile in (50, 95, 100)
    }
    assert hausdorff_distance(edges(a), edges(b), spacing=spacing) == pytest.approx(theirs[100], rel=1e-5)
    assert ReferenceMask(edges(a), spacing=spacing).distance(edges(b)) == pytest.approx(theirs[100], rel=1e-5)
    for percentile, expected in theirs.items():
        assert hausdorff_percentile(a, b, percentile, spacing=spacing) == pytest.approx(expected, rel=1e-5)
    mean = compute_average_surface_distance(first, second, include_background=True, symmetric=True, spacing=spacing)
    assert mean_surface_distance(a, b, spacing=spacing) == pytest.approx(float(mean), rel=1e-5)


@pytest.mark.parametrize("spacing", [(2, 2), (0.3, 0.1), (1, math.pi)])
def test_equal_distances_are_equal_numbers(spacing):
    """The same shift anywhere gives the same float, however the nearest pixel is found: maps show no rounding."""
    found = set()
    for row, col in [(3, 3), (20, 11), (33, 50)]:
        a, b = np.zeros((60, 70), bool), np.zeros((60, 70), bool)
        a[row : row + 3, col : col + 4] = b[row + 7 : row + 10, col + 5 : col + 9] = True
        found |= {hausdorff_distance(a, b, spacing=spacing), hausdorff_distance(b, a, spacing=spacing)}
        found |= {hausdorff_pair(a, b, spacing=spacing).distance}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("spacing", "error", "message"),
    [
        (2.0, TypeError, r"spacing must be \(row, col\), the height and the width of a pixel, got 2.0"),
        ((1, 2, 3), TypeError, r"spacing must be \(row, col\)"),
        ("ab", TypeError, r"spacing must be \(row, col\)"),
        (("a", "b"), TypeError, "two numbers"),
        ((True, True), TypeError, "two numbers"),
        ((0, 1), ValueError, "positive and finite"),
        ((1, -2), ValueError, "positive and finite"),
        ((1, math.nan), ValueError, "positive and finite"),
        ((1, math.inf), ValueError, "positive and finite"),
    ],
)
def test_what_is_no_spacing(spacing, error, message):
    with pytest.raises(error, match=message):
        hausdorff_distance([[1, 0]], [[0, 1]], spacing=spacing)


def test_arrays_and_tensors_serve():
    assert hausdorff_distance([[1, 0]], [[0, 1]], spacing=np.array([1.0, 3.0])) == 3.0
    assert hausdorff_distance([[1, 0]], [[0, 1]], spacing=torch.tensor([1.0, 3.0])) == 3.0
