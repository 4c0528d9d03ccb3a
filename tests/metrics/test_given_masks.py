"""What users give as masks: read rightly, or refused with a remedy."""

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from hdm_widgets.metrics import (
    ReferenceMask,
    dice,
    hausdorff_distance,
    hausdorff_pair,
    hausdorff_percentile,
    iou,
    mean_surface_distance,
    row_distance,
)

DISTANCES = [
    hausdorff_distance,
    hausdorff_percentile,
    mean_surface_distance,
    lambda *a, **k: hausdorff_pair(*a, **k)[0],
]
OVERLAPS = [iou, dice]
NAMES = ["hausdorff", "percentile", "surface", "pair", "iou", "dice"]
every_metric = pytest.mark.parametrize("metric", DISTANCES + OVERLAPS, ids=NAMES)

A = np.array([[1, 1, 0, 0, 0, 0]], np.uint8)
B = np.array([[1, 0, 0, 1, 0, 0]], np.uint8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 255.0, 0], r"floats other than 0 and 1, such as 255; .* mask == 255.*mask != 0.*ignore=255"),
        ([0, 1, 2.0], "such as 2; for one class of a label map write mask == 2"),
        ([1e-6, 1, 0], r"such as 1e-06; for probabilities, .* write mask > 0.5"),
        ([0.3, 0.9, 0], r"such as 0.3; .* write mask > 0.5"),
        ([1.0000001, 1, 0], "write mask > 0.5"),
        ([np.nan, 1, 0], r"the mask has NaN or infinity; .*ignore=float\('nan'\)"),
        ([np.inf, 1, 0], "the mask has NaN or infinity"),
    ],
)
@pytest.mark.parametrize("kind", [np.array, torch.tensor], ids=["array", "tensor"])
@every_metric
def test_floats_that_are_no_mask(metric, kind, values, message):
    wrong, right = kind([values]), np.array([[0, 1, 0]])
    with pytest.raises(ValueError, match=message):
        metric(wrong, right)
    with pytest.raises(ValueError, match=message):
        metric(right, wrong)


@pytest.mark.parametrize(
    "values",
    [np.array([["tree", "road"]]), np.array([[1j, 0]]), np.array([[None, 1]])],
    ids=["names", "complex", "object"],
)
@every_metric
def test_values_that_are_no_numbers(metric, values):
    with pytest.raises(TypeError, match="bool, whole or real numbers"):
        metric(values, [[1, 0]])


GIVEN = {
    "bool": lambda mask: mask != 0,
    "uint8": lambda mask: mask * 255,
    "negative": lambda mask: mask.astype(np.int16) * -1,
    "float of 0 and 1": lambda mask: mask.astype(np.float32),
    "half": lambda mask: mask.astype(np.float16),
    "list": lambda mask: mask.tolist(),
    "big endian": lambda mask: mask.astype(">i4"),
    "tensor": torch.tensor,
    "bfloat16": lambda mask: torch.tensor(mask, dtype=torch.bfloat16),
    "half tensor": lambda mask: torch.tensor(mask, dtype=torch.float16),
    "with gradient": lambda mask: torch.tensor(mask, dtype=torch.float32, requires_grad=True),
    "bfloat16 with gradient": lambda mask: torch.tensor(mask, dtype=torch.bfloat16, requires_grad=True) * 1,
    "MetaTensor": lambda mask: MetaTensor(torch.tensor(mask)),
    "MetaTensor with gradient": lambda mask: MetaTensor(torch.tensor(mask, dtype=torch.bfloat16)).requires_grad_(),
    "masked array without masked pixels": np.ma.masked_array,
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN.keys())
@every_metric
def test_any_array_or_tensor(metric, given):
    expected = metric(A != 0, B != 0)
    assert expected > 0
    assert metric(given(A), given(B)) == expected
    assert metric(A, given(B)) == metric(given(A), B) == expected


# The last three pixels do not count: without them, 1 of 2 pixels is common, one is a pixel away.
#               counted | ignored
T = np.array([[0, 1, 1, 0, 1, 0]])
P = np.array([[0, 1, 0, 0, 1, 1]])
VOID = np.array([[0, 0, 0, 1, 1, 1]], bool)
IGNORING = {
    "a mask": (P, T, VOID),
    "a tensor": (P, T, torch.tensor(VOID)),
    "a value": (P, np.where(VOID, 255, T).astype(np.uint8), 255),
    "a value among floats": (P, np.where(VOID, 255.0, T), 255),
    "a negative value": (P, np.where(VOID, -1, T), -1),
    "NaN": (P, np.where(VOID, np.nan, T), math.nan),
    "NumPy's number": (P, np.where(VOID, 255, T), np.uint8(255)),
    "a masked truth": (P, np.ma.masked_array(T, VOID), None),
    "a masked prediction": (np.ma.masked_array(P, VOID), T, None),
    "two masked arrays": (
        np.ma.masked_array(P, [[0, 0, 0, 1, 1, 0]]),
        np.ma.masked_array(T, [[0, 0, 0, 0, 1, 1]]),
        None,
    ),
    "masked NaN": (P, np.ma.masked_invalid(np.where(VOID, np.nan, T)), None),
    "masked and a value": (P, np.ma.masked_array(np.where(VOID, 255, T), [[0, 0, 0, 1, 0, 0]]), 255),
}


@pytest.mark.parametrize(("prediction", "truth", "ignore"), IGNORING.values(), ids=IGNORING.keys())
def test_ignored_pixels_count_nowhere(prediction, truth, ignore):
    assert iou(prediction, truth, ignore=ignore) == 1 / 2
    assert dice(prediction, truth, ignore=ignore) == pytest.approx(2 / 3)
    assert hausdorff_distance(prediction, truth, ignore=ignore) == 1.0
    assert hausdorff_pair(prediction, truth, ignore=ignore) == (1.0, (0, 2), (0, 1), "b")
    assert hausdorff_percentile(prediction, truth, 100, ignore=ignore) == 1.0
    assert mean_surface_distance(prediction, truth, ignore=ignore) == pytest.approx(1 / 3)
    reference = ReferenceMask(truth, ignore=ignore)
    assert reference.distance(prediction) == 1.0
    assert reference.distances(np.ma.masked_array([P, T], [VOID, VOID])).tolist() == [1.0, 0.0]


def test_a_value_marks_pixels_of_the_truth_alone():
    # 1 is the prediction's own value too.
    assert iou([[1, 1, 0]], [[2, 1, 0]], ignore=1) == 1.0
    assert hausdorff_distance([[1, 1, 0]], [[0, 1, 2]], ignore=1) == 2.0


def test_a_mask_whose_pixels_are_all_ignored_is_empty():
    assert hausdorff_distance([[1, 0, 0]], [[255, 0, 1]], ignore=255) == math.hypot(1, 3)
    assert hausdorff_distance([[1, 0, 0]], [[255, 0, 0]], ignore=255) == 0.0


@pytest.mark.parametrize(
    ("ignore", "error", "message"),
    [
        (True, TypeError, "one value of the ground truth, such as 255, or a bool mask"),
        ("void", TypeError, "one value of the ground truth"),
        ([254, 255], TypeError, r"for several values: ignore=np.isin\(truth, values\)"),
        (np.array([[0, 1, 0]]), TypeError, r"must be bool, got int64; write ignore=mask != 0"),
        (np.array([[True, False]]), ValueError, r"ignore has shape \(1, 2\), the mask has \(1, 3\)"),
    ],
)
@every_metric
def test_what_cannot_be_ignored(metric, ignore, error, message):
    with pytest.raises(error, match=message):
        metric([[1, 0, 0]], [[1, 1, 0]], ignore=ignore)


def test_rows_of_masked_arrays_are_compared_without_what_is_masked():
    output = np.ma.masked_array([[3.0, 9.0]], [[False, True]])
    assert row_distance(output, np.array([[0.0, 1.0]])) == 3.0
    assert row_distance(np.array([[3.0, 9.0]]), np.ma.masked_array([[0.0, 1.0]], [[False, True]])) == 3.0
    assert row_distance(torch.tensor([[3.0]], dtype=torch.bfloat16, requires_grad=True), torch.tensor([[1]])) == 2.0
