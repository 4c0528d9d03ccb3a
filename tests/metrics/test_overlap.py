import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hdm_widgets.metrics import dice, iou


@pytest.mark.parametrize(
    ("a", "b", "expected_iou", "expected_dice"),
    [
        ([[1, 1, 0]], [[0, 1, 1]], 1 / 3, 1 / 2),
        ([[1, 1], [1, 1]], [[1, 0], [0, 0]], 1 / 4, 2 / 5),
        ([[1, 0]], [[0, 1]], 0.0, 0.0),
        ([[5, 0]], [[-1, 0]], 1.0, 1.0),  # anything but zero is segment
        ([[1, 1]], [[0, 0]], 0.0, 0.0),
    ],
)
def test_worked_by_hand(a, b, expected_iou, expected_dice):
    assert iou(a, b) == pytest.approx(expected_iou)
    assert dice(a, b) == pytest.approx(expected_dice)


@pytest.mark.parametrize("measure", [iou, dice])
def test_two_empty_masks_score_what_was_asked_for(measure):
    nothing = np.zeros((2, 3))
    assert measure(nothing, nothing) == 0.0
    assert measure(nothing, nothing, empty=1) == 1.0
    assert math.isnan(measure(nothing, nothing, empty=math.nan))
    # One empty mask is no special case.
    assert measure(nothing, np.ones((2, 3)), empty=1) == 0.0


@given(st.tuples(*[arrays(bool, (4, 5))] * 2))
def test_equals_the_definition_on_sets(pair):
    a, b = ({tuple(pixel) for pixel in np.argwhere(mask)} for mask in pair)
    if a | b:
        assert iou(*pair) == pytest.approx(len(a & b) / len(a | b))
        assert dice(*pair) == pytest.approx(2 * len(a & b) / (len(a) + len(b)))
        assert dice(*pair) == pytest.approx(2 * iou(*pair) / (1 + iou(*pair)))
    assert iou(*pair) == iou(*reversed(pair))


@pytest.mark.parametrize("measure", [iou, dice])
def test_masks_must_have_one_shape(measure):
    with pytest.raises(ValueError, match=r"same shape, got \(1, 2\) and \(2, 1\)"):
        measure([[1, 0]], [[1], [0]])
