"""Bounds of a measure where some pixels of a mask are not known hold for every mask that there can be."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdm_widgets.hdm.named_measures import windowed_measure
from hdm_widgets.metrics import ReferenceMask

EXACT = ["iou", "dice", "area", "flipped"]


@st.composite
def doubtful(draw, empty=("diagonal", "inf")):
    """A truth, a prediction, and a window of which up to five pixels are not known."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    truth, predicted, certain = (rng.random(shape) < draw(st.sampled_from([0.0, 0.15, 0.5, 1.0])) for _ in range(3))
    height, width = (draw(st.integers(1, side)) for side in shape)
    row, col = draw(st.integers(0, shape[0] - height)), draw(st.integers(0, shape[1] - width))
    certain = certain[row : row + height, col : col + width]
    unknown = rng.permutation(np.argwhere(~certain))[: draw(st.integers(0, 5))]
    ignored = rng.random(shape) < 0.2 if draw(st.booleans()) else None
    spacing = draw(st.sampled_from([(1, 1), (2, 1), (0.7, 1.3)]))
    reference = ReferenceMask(truth, empty=draw(st.sampled_from(empty)), spacing=spacing, ignore=ignored)
    return reference, predicted, (row, col), certain, unknown


def between(certain, unknown):
    """Every mask that there can be."""
    for chosen in itertools.product([False, True], repeat=len(unknown)):
        mask = certain.copy()
        mask[tuple(unknown.T)] = chosen
        yield mask


@pytest.mark.parametrize("name", ["hausdorff", *EXACT])
@given(case=doubtful())
def test_no_mask_is_outside_of_the_bounds(name, case):
    reference, predicted, (row, col), certain, unknown = case
    measure = windowed_measure(name, reference, predicted)
    masks = list(between(certain, unknown))
    found = measure.distances([row] * len(masks), [col] * len(masks), masks)
    least, greatest = measure.bounds([row], [col], [certain], [masks[-1]])[:, 0]
    assert measure.bounds_hold
    assert least <= found.min()
    assert greatest == found.max()
    if name in EXACT or not len(unknown):
        assert least == found.min()


@pytest.mark.parametrize(("certain", "possible", "bounds"), [
    # The truth is the first three of seven pixels in a row.
    ("1110000", "1110000", (0, 0)),
    # A false positive that is certain is the farthest, whatever lies nearer.
    ("1110001", "1111001", (4, 4)),
    # It is not certain.
    ("1110000", "1111001", (0, 4)),
    # A false negative that nothing possible comes nearer to, and one that something may come nearer to.
    ("0000100", "0000110", (4, 4)),
    ("0000100", "0010100", (2, 4)),
    # The farthest is one or the other: the two extremes have the same distance, and a mask between them has another.
    ("0010000", "1110100", (0, 2)),
    # The mask may be empty, or is.
    ("0000000", "1000000", (2, np.hypot(1, 7))),
    ("0000000", "0000000", (np.hypot(1, 7), np.hypot(1, 7))),
])  # fmt: skip
def test_worked_bounds(certain, possible, bounds):
    truth, certain, possible = (np.array([[pixel == "1" for pixel in row]]) for row in ("1110000", certain, possible))
    measure = windowed_measure("hausdorff", ReferenceMask(truth), truth)
    np.testing.assert_array_equal(measure.bounds([0], [0], [certain], [possible])[:, 0], bounds)


@given(doubtful(empty=("nan",)))
def test_what_may_have_no_distance_is_not_certain(case):
    reference, predicted, (row, col), certain, unknown = case
    measure = windowed_measure("hausdorff", reference, predicted)
    *_, possible = masks = list(between(certain, unknown))
    found = measure.distances([row] * len(masks), [col] * len(masks), masks)
    least, greatest = measure.bounds([row], [col], [certain], [possible])[:, 0]
    if np.isnan(found).any() and not np.isnan(found).all():
        assert least != greatest


@pytest.mark.parametrize("name", ["hausdorff95", "mean_surface", "rows"])
def test_measures_that_are_not_monotone_say_so(name):
    truth = np.eye(5, dtype=bool)
    measure = windowed_measure(name, ReferenceMask(truth), truth)
    more, whole = truth | np.eye(5, k=1, dtype=bool), np.ones((5, 5), bool)
    assert not measure.bounds_hold
    low, high = measure.distances([0, 0], [0, 0], [more, whole])
    assert low != high
    np.testing.assert_array_equal(measure.bounds([0], [0], [more], [whole])[:, 0], [min(low, high), max(low, high)])
