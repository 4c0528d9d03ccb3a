import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import precision_score, recall_score

from hdm_widgets.latent import Overlaps
from hdm_widgets.metrics import dice, iou


def counted(truths, predictions, **options):
    return Overlaps(
        (truths & predictions).sum((1, 2)),
        (truths & ~predictions).sum((1, 2)),
        (~truths & predictions).sum((1, 2)),
        **options,
    )


# A good one, a perfect one, nothing found, nothing to find, nothing at all.
HITS, MISSES, FALSE_ALARMS = np.array([[3, 4, 0, 0, 0], [1, 0, 5, 0, 0], [2, 0, 0, 7, 0]])


@pytest.mark.parametrize("empty", [0.0, 1.0, 0.25, np.nan])
def test_scores_by_hand(empty):
    overlaps = Overlaps(HITS, MISSES, FALSE_ALARMS, iou_empty=empty)
    np.testing.assert_allclose(overlaps.iou, [0.5, 1, 0, 0, empty])
    np.testing.assert_allclose(overlaps.dice, [6 / 9, 1, 0, 0, empty])
    # Without a prediction there is no precision, without a truth no recall: not a matter of `iou_empty`.
    np.testing.assert_allclose(overlaps.precision, [3 / 5, 1, np.nan, 0, np.nan])
    np.testing.assert_allclose(overlaps.recall, [3 / 4, 1, 0, np.nan, np.nan])
    assert overlaps.truth_area.tolist() == [4, 4, 5, 0, 0]
    assert overlaps.predicted_area.tolist() == [5, 4, 0, 7, 0]


def test_the_empty_union_is_zero_by_default():
    assert Overlaps(HITS, MISSES, FALSE_ALARMS).iou.tolist() == [0.5, 1, 0, 0, 0]


def test_all_by_name():
    columns = Overlaps(HITS, MISSES, FALSE_ALARMS).columns()
    assert list(columns) == [
        "iou", "dice", "precision", "recall", "truth_area", "predicted_area", "false_positive_area",
        "false_negative_area",
    ]  # fmt: skip
    assert columns["false_positive_area"].tolist() == [2, 0, 0, 7, 0]
    assert columns["false_negative_area"].tolist() == [1, 0, 5, 0, 0]
    assert columns["iou"].dtype == columns["dice"].dtype == np.float64


masks = arrays(bool, (3, 3, 2))


@given(masks, masks, st.sampled_from([0.0, 1.0, np.nan]))
def test_equal_to_the_metrics_of_two_masks(truths, predictions, empty):
    overlaps = counted(truths, predictions, iou_empty=empty)
    pairs = list(zip(truths, predictions, strict=True))
    np.testing.assert_array_equal(overlaps.iou, [iou(*pair, empty=empty) for pair in pairs])
    np.testing.assert_array_equal(overlaps.dice, [dice(*pair, empty=empty) for pair in pairs])


@given(masks, masks)
def test_equal_to_scikit_learn(truths, predictions):
    overlaps = counted(truths, predictions)
    pairs = [(truth.ravel(), prediction.ravel()) for truth, prediction in zip(truths, predictions, strict=True)]
    np.testing.assert_allclose(overlaps.precision, [precision_score(*pair, zero_division=np.nan) for pair in pairs])
    np.testing.assert_allclose(overlaps.recall, [recall_score(*pair, zero_division=np.nan) for pair in pairs])
