import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_helpers import blobs, by_coordinates, edges, monai_oracle
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from skimage.metrics import hausdorff_distance as skimage_hausdorff

from hdm_widgets.metrics import (
    ReferenceMask,
    distance,
    hausdorff_distance,
    hausdorff_pair,
    hausdorff_percentile,
    mean_surface_distance,
    row_distance,
)

ALL_WITH_POLICY = [hausdorff_distance, hausdorff_percentile, mean_surface_distance]


def one_pixel(shape, row, col):
    mask = np.zeros(shape, dtype=bool)
    mask[row, col] = True
    return mask


@st.composite
def mask_pairs(draw, side=12):
    shape = draw(st.tuples(st.integers(1, side), st.integers(1, side)))
    masks = arrays(bool, shape)
    return draw(masks), draw(masks)


@pytest.fixture(params=["tree", "transform"])
def search(request, monkeypatch):
    """Force one of the two ways in which the nearest pixel is found."""
    monkeypatch.setattr(distance, "_TREE_COST", 0 if request.param == "tree" else 10**9)


# -- the set distance ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([[1, 0, 0, 0]], [[1, 0, 0, 1]], 3.0),
        ([[1, 0, 0, 1]], [[1, 0, 0, 0]], 3.0),
        ([[1], [0], [0]], [[0], [0], [1]], 2.0),
        (one_pixel((4, 5), 0, 0), one_pixel((4, 5), 3, 4), 5.0),  # 3, 4, 5
        (np.ones((5, 5)), one_pixel((5, 5), 2, 2), math.sqrt(8)),  # corner to center
        ([[1, 1, 0], [1, 1, 0]], [[0, 1, 1], [0, 1, 1]], 1.0),
        ([[7, 0], [0, -2]], [[1, 0], [0, 255]], 0.0),  # anything but zero is segment
    ],
)
def test_worked_by_hand(a, b, expected):
    assert hausdorff_distance(a, b) == pytest.approx(expected)
    assert hausdorff_pair(a, b).distance == pytest.approx(expected)


def test_a_hole_is_as_far_as_its_middle_is_from_the_rim():
    full = np.ones((9, 9), dtype=bool)
    ring = full.copy()
    ring[2:7, 2:7] = False
    assert hausdorff_distance(full, ring) == 3.0


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("seed", range(5))
def test_equals_scipy_on_coordinates(seed):
    a, b = blobs(seed), blobs(seed + 100, fraction=0.1)
    assert hausdorff_distance(a, b) == pytest.approx(by_coordinates(a, b), abs=1e-9)
    assert ReferenceMask(a).distance(b) == pytest.approx(by_coordinates(a, b), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_image(seed):
    a, b = blobs(seed), blobs(seed + 200)
    assert hausdorff_distance(a, b) == pytest.approx(skimage_hausdorff(a, b), abs=1e-9)


@monai_oracle
@pytest.mark.parametrize("seed", range(5))
def test_equals_monai_on_outlines(seed):
    # MONAI compares outlines, so the sets compared here are outlines too.
    a, b = blobs(seed), blobs(seed + 300)
    theirs = compute_hausdorff_distance(torch.tensor(a)[None, None], torch.tensor(b)[None, None], True)
    assert hausdorff_distance(edges(a), edges(b)) == pytest.approx(float(theirs), abs=1e-4)


@given(mask_pairs())
def test_equals_scipy_on_any_masks(pair):
    a, b = pair
    assume(a.any() and b.any())
    assert hausdorff_distance(a, b) == pytest.approx(by_coordinates(a, b), abs=1e-9)


@given(mask_pairs())
def test_symmetry(pair):
    a, b = pair
    assert hausdorff_distance(a, b) == hausdorff_distance(b, a)


@given(mask_pairs())
def test_zero_if_and_only_if_equal(pair):
    a, b = pair
    assert (hausdorff_distance(a, b) == 0) == np.array_equal(a, b)
    assert hausdorff_distance(a, a) == 0


@given(mask_pairs(side=8), st.integers(0, 6), st.integers(0, 6))
def test_translation_changes_nothing(pair, down, right):
    a, b = pair
    assume(a.any() and b.any())
    room = ((down, 6 - down), (right, 6 - right))
    moved = hausdorff_distance(np.pad(a, room), np.pad(b, room))
    assert moved == pytest.approx(hausdorff_distance(a, b), abs=1e-9)


@given(st.integers(0, 11), st.integers(0, 11))
def test_moving_a_square_scores_how_far_it_moved(down, right):
    square = np.zeros((20, 20), dtype=bool)
    square[:8, :8] = True
    assert hausdorff_distance(square, np.roll(square, (down, right), (0, 1))) == pytest.approx(math.hypot(down, right))


@given(st.tuples(*[arrays(bool, (6, 7))] * 3))
def test_triangle_inequality(masks):
    a, b, c = masks
    assume(all(mask.any() for mask in masks))
    assert hausdorff_distance(a, c) <= hausdorff_distance(a, b) + hausdorff_distance(b, c) + 1e-9


# -- many masks against one ---------------------------------------------------------------------------


def test_reference_measures_a_batch():
    truth = one_pixel((3, 7), 1, 1)
    masks = np.stack([truth, one_pixel((3, 7), 1, 6), truth | one_pixel((3, 7), 1, 3), np.zeros((3, 7), bool)])
    distances = ReferenceMask(truth).distances(masks)
    assert distances.dtype == np.float64
    np.testing.assert_allclose(distances, [0, 5, 2, math.hypot(3, 7)])


def test_reference_keeps_its_own_copy():
    truth = np.array([[True, False, False]])
    reference = ReferenceMask(truth)
    truth[:] = False
    assert reference.distance([[0, 0, 1]]) == 2.0


# -- empty masks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ALL_WITH_POLICY)
@pytest.mark.parametrize("swap", [False, True])
def test_one_empty_mask_follows_the_policy(measure, swap):
    pair = (np.zeros((3, 4)), np.ones((3, 4)))[:: -1 if swap else 1]
    assert measure(*pair) == 5.0
    assert measure(*pair, empty="diagonal") == 5.0
    assert measure(*pair, empty="inf") == math.inf
    assert math.isnan(measure(*pair, empty="nan"))
    with pytest.raises(ValueError, match="one of the two masks has no pixel"):
        measure(*pair, empty="raise")


@pytest.mark.parametrize("measure", ALL_WITH_POLICY)
@pytest.mark.parametrize("empty", ["diagonal", "inf", "nan", "raise"])
def test_two_empty_masks_are_equal(measure, empty):
    assert measure(np.zeros((3, 4)), np.zeros((3, 4)), empty=empty) == 0.0


@pytest.mark.parametrize("empty", ["diagonal", "inf", "nan", "raise"])
def test_the_diagonal_is_beyond_any_distance_of_two_masks(empty):
    shape = (5, 9)
    corners = hausdorff_distance(one_pixel(shape, 0, 0), one_pixel(shape, 4, 8), empty=empty)
    assert corners == pytest.approx(math.hypot(4, 8))
    assert corners < hausdorff_distance(np.zeros(shape), np.ones(shape))


def test_a_pair_with_an_empty_mask_has_no_pixels():
    assert hausdorff_pair([[0, 0]], [[1, 0]], empty="inf") == (math.inf, None, None, None)
    assert hausdorff_pair([[0, 0]], [[0, 0]], empty="raise") == (0.0, None, None, None)


@pytest.mark.parametrize("measure", [*ALL_WITH_POLICY, hausdorff_pair])
@pytest.mark.parametrize("a", [[[0, 0]], [[1, 0]]])
def test_an_unknown_policy_is_refused_whatever_the_masks(measure, a):
    with pytest.raises(ValueError, match="empty must be one of 'diagonal', 'inf', 'nan', 'raise', got 'zero'"):
        measure(a, [[1, 1]], empty="zero")


# -- the pair of pixels -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([[1, 0, 0, 0]], [[1, 0, 0, 1]], (3.0, (0, 3), (0, 0), "b")),
        ([[1, 0, 0, 1]], [[1, 0, 0, 0]], (3.0, (0, 3), (0, 0), "a")),
        ([[1, 0], [0, 0]], [[0, 0], [0, 1]], (math.sqrt(2), (0, 0), (1, 1), "a")),  # both ways: the one from a
        ([[1, 0, 1, 0, 1]], [[0, 0, 1, 0, 0]], (2.0, (0, 0), (0, 2), "a")),  # the first in reading order
        ([[0, 1]], [[0, 1]], (0.0, None, None, None)),
    ],
)
def test_pair_by_hand(a, b, expected):
    pair = hausdorff_pair(a, b)
    assert pair.distance == pytest.approx(expected[0])
    assert pair[1:] == expected[1:]


@given(mask_pairs())
def test_pair_attains_the_distance(pair):
    a, b = pair
    assume(a.any() and b.any() and not np.array_equal(a, b))
    found = hausdorff_pair(a, b)
    source, goal = (a, b) if found.from_mask == "a" else (b, a)
    assert source[found.from_pixel]
    assert goal[found.to_pixel]
    assert math.dist(found.from_pixel, found.to_pixel) == pytest.approx(found.distance)
    nearest = np.hypot(*(np.argwhere(goal) - found.from_pixel).T).min()
    assert nearest == pytest.approx(found.distance)
    assert found.distance == pytest.approx(hausdorff_distance(a, b))


# -- surfaces -----------------------------------------------------------------------------------------

# Twenty pixels in a row, against the same with one more ten pixels away.
LINE, OUTLIER = np.zeros((1, 40), bool), np.zeros((1, 40), bool)
LINE[0, :20] = OUTLIER[0, :20] = OUTLIER[0, 29] = True


@pytest.mark.parametrize(("percentile", "expected"), [(95, 0.0), (97.5, 5.0), (100, 10.0), (0, 0.0)])
def test_percentile_forgives_an_outlier(percentile, expected):
    # 21 distances, of which only the last is not zero; ranks between two are interpolated.
    assert hausdorff_percentile(LINE, OUTLIER, percentile) == pytest.approx(expected)
    assert hausdorff_percentile(OUTLIER, LINE, percentile) == pytest.approx(expected)


def test_mean_surface_distance_by_hand():
    assert mean_surface_distance(LINE, OUTLIER) == pytest.approx(10 / 41)
    assert mean_surface_distance([[1, 0, 0]], [[0, 0, 1]]) == 2.0


def test_surfaces_ignore_the_inside():
    full = np.ones((9, 9), dtype=bool)
    ring = edges(full)
    assert hausdorff_percentile(full, ring, 100) == 0.0
    assert mean_surface_distance(full, ring) == 0.0
    assert hausdorff_distance(full, ring) == 4.0


@monai_oracle
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("percentile", [50, 95, 100])
def test_percentile_equals_monai(seed, percentile):
    a, b = blobs(seed), blobs(seed + 400)
    theirs = compute_hausdorff_distance(
        torch.tensor(a)[None, None], torch.tensor(b)[None, None], include_background=True, percentile=percentile
    )
    assert hausdorff_percentile(a, b, percentile) == pytest.approx(float(theirs), rel=1e-5)


@monai_oracle
@pytest.mark.parametrize("seed", range(5))
def test_mean_surface_distance_equals_monai(seed):
    a, b = blobs(seed), blobs(seed + 500)
    theirs = compute_average_surface_distance(
        torch.tensor(a)[None, None], torch.tensor(b)[None, None], include_background=True, symmetric=True
    )
    assert mean_surface_distance(a, b) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("percentile", [-1, 100.5, math.nan])
def test_percentile_out_of_range(percentile):
    with pytest.raises(ValueError, match=r"percentile must be in \[0, 100\]"):
        hausdorff_percentile([[1]], [[1]], percentile)


# -- the published code's distance --------------------------------------------------------------------


def test_row_distance_by_hand():
    # Rows of the first: (0, 0.5) and (1, 0); of the second: (0, 0) and (1, 1).
    # (0, 0.5) is 0.5 from (0, 0); (1, 0) is 1 from either; back: 0.5 and min(hypot(1, 0.5), 1) = 1.
    assert row_distance([[0, 0.5], [1, 0]], [[0, 0], [1, 1]]) == pytest.approx(1.0)
    assert row_distance([[0.0, 0.0], [0.0, 0.0]], [[3, 4], [0, 0]]) == pytest.approx(5.0)


def test_row_distance_is_blind_to_moving_down():
    segment = np.zeros((100, 20))
    segment[10:20, 5:15] = 1
    output = np.roll(segment, 60, axis=0)
    assert row_distance(output, segment) == 0.0
    assert hausdorff_distance(output, segment) == 60.0


@given(arrays(np.float64, (4, 5), elements=st.floats(-3, 3)), arrays(bool, (4, 5)))
def test_row_distance_equals_all_pairs_of_rows(output, segment):
    apart = np.linalg.norm(output[:, None] - segment[None].astype(float), axis=-1)
    assert row_distance(output, segment) == pytest.approx(max(apart.min(0).max(), apart.min(1).max()))


# -- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [*ALL_WITH_POLICY, hausdorff_pair])
def test_masks_must_be_two_of_one_shape(measure):
    with pytest.raises(ValueError, match=r"same shape, got \(1, 2\) and \(2, 1\)"):
        measure([[1, 0]], [[1], [0]])
    with pytest.raises(ValueError, match=r"two dimensions \(H, W\), got shape \(2,\)"):
        measure([1, 0], [[1, 0]])


def test_row_distance_needs_two_maps_of_one_shape():
    with pytest.raises(ValueError, match=r"two maps of one shape \(H, W\)"):
        row_distance([[1, 0]], [[1], [0]])
