"""Confidences of a model in its own masks, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from hdm_widgets.latent.confidences import CONFIDENCES, confidence_columns, object_columns

# Entropy of a probability of 0.25 or 0.75, in bits.
QUARTER = float(entropy([0.25, 0.75], base=2))


def columns(
    probabilities: list[list[float]], mask: list[list[int]], counted: list[list[int]] | None = None
) -> dict[str, float]:
    pixels = None if counted is None else torch.tensor([counted], dtype=torch.bool)
    found = confidence_columns(torch.tensor([probabilities]), torch.tensor([mask], dtype=torch.bool), pixels)
    assert list(found) == list(CONFIDENCES)
    assert all(values.dtype == np.float64 and values.shape == (1,) for values in found.values())
    return {name: float(values[0]) for name, values in found.items()}


@pytest.mark.parametrize(
    ("probabilities", "mask", "counted", "expected"),
    [
        pytest.param(
            [[1.0, 0.75, 0.25, 0.0], [0.0, 0.0, 0.0, 0.0]],
            [[1, 1, 0, 0], [0, 0, 0, 0]],
            None,
            {
                "mean_entropy": 2 * QUARTER / 8,
                "foreground_entropy": QUARTER / 2,
                # Columns 0 and 1 of both rows, and column 2 of the first.
                "boundary_entropy": 2 * QUARTER / 5,
                "soft_iou": 1.75 / 2.25,
                "soft_dice": 3.5 / 4,
                "largest_probability": 1.0,
                "area_at_30": 2 / 8,
                "area_at_50": 2 / 8,
                "area_at_70": 2 / 8,
                "area_at_90": 1 / 8,
                "objects": 1,
                "largest_object": 1.0,
            },
            id="one object",
        ),
        pytest.param(
            [[0.25, 0.25], [0.25, 0.25]],
            [[0, 0], [0, 0]],
            None,
            {
                "mean_entropy": QUARTER,
                "foreground_entropy": np.nan,
                "boundary_entropy": np.nan,
                "soft_iou": 0.0,
                "soft_dice": 0.0,
                "largest_probability": 0.25,
                "area_at_30": 0.0,
                "area_at_50": 0.0,
                "area_at_70": 0.0,
                "area_at_90": 0.0,
                "objects": 0,
                "largest_object": np.nan,
            },
            id="nothing predicted",
        ),
        pytest.param(
            [[0.0, 0.0], [0.0, 0.0]],
            [[0, 0], [0, 0]],
            None,
            {
                "mean_entropy": 0.0,
                "foreground_entropy": np.nan,
                "soft_iou": np.nan,
                "soft_dice": np.nan,
                "largest_probability": 0.0,
            },
            id="no probability anywhere",
        ),
        pytest.param(
            [[1.0, 1.0], [1.0, 1.0]],
            [[1, 1], [1, 1]],
            None,
            {"mean_entropy": 0.0, "boundary_entropy": np.nan, "soft_iou": 1.0, "soft_dice": 1.0, "area_at_90": 1.0},
            id="everything predicted",
        ),
        pytest.param(
            [[0.5, 0.5], [0.5, 0.5]],
            [[1, 0], [0, 1]],
            None,
            {"mean_entropy": 1.0, "boundary_entropy": 1.0, "area_at_50": 0.0, "area_at_30": 1.0, "objects": 1},
            id="pixels that touch at a corner",
        ),
        pytest.param(
            [[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]],
            [[1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 0, 0]],
            None,
            {"objects": 3, "largest_object": 3 / 5},
            id="three objects",
        ),
        pytest.param(
            [[1.0, 0.75, 0.25, 0.5]],
            [[1, 1, 0, 1]],
            [[1, 1, 1, 0]],
            {
                "mean_entropy": 2 * QUARTER / 3,
                "foreground_entropy": QUARTER / 2,
                "boundary_entropy": QUARTER,
                "soft_iou": 1.75 / 2.25,
                "area_at_30": 2 / 3,
                "area_at_90": 1 / 3,
                "objects": 1,
            },
            id="a pixel that does not count",
        ),
        pytest.param(
            [[0.75, 0.75]],
            [[1, 1]],
            [[0, 0]],
            {**dict.fromkeys(CONFIDENCES, np.nan), "objects": 0},
            id="no pixel counts",
        ),
        pytest.param(
            [[1.0005, -0.0005]],
            [[1, 0]],
            None,
            {"mean_entropy": 0.0, "soft_iou": 1.0, "largest_probability": 1.0},
            id="rounded out of [0, 1]",
        ),
    ],
)
def test_columns_are_those_worked_out_by_hand(
    probabilities: list[list[float]],
    mask: list[list[int]],
    counted: list[list[int]] | None,
    expected: dict[str, float],
) -> None:
    found = columns(probabilities, mask, counted)

    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_items_of_a_batch_do_not_affect_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(5, 12, 9, generator=generator)
    masks, counted = probabilities > 0.6, torch.rand(5, 12, 9, generator=generator) > 0.2

    together = confidence_columns(probabilities, masks, counted)

    for i in range(5):
        alone = confidence_columns(probabilities[i : i + 1], masks[i : i + 1], counted[i : i + 1])
        assert {name: float(values[i]) for name, values in together.items()} == pytest.approx(
            {name: float(values[0]) for name, values in alone.items()}, rel=1e-6
        )


def test_one_map_of_counted_pixels_holds_for_all_items() -> None:
    probabilities = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))
    masks = probabilities > 0.5
    counted = torch.zeros(8, 8, dtype=torch.bool)
    counted[2:7, 1:6] = True

    found = confidence_columns(probabilities, masks, counted)

    cropped = confidence_columns(probabilities[:, 2:7, 1:6], masks[:, 2:7, 1:6])
    for name, values in found.items():
        np.testing.assert_allclose(values, cropped[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("size", [(3, 8), (8, 3), (1, 1)])
def test_objects_of_one_mask_do_not_join_those_of_the_next(size):
    masks = np.ones((3, *size), bool)
    masks[1] = False
    got = object_columns(masks)
    assert got["objects"].tolist() == [1, 0, 1]
    np.testing.assert_array_equal(got["largest_object"], [1, np.nan, 1])
