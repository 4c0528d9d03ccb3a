"""How well probabilities agree with truths, against cleanlab and values worked out by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hdm_widgets.latent.label_quality import block_size, encoded_log_odds, label_quality, log_odds, pooled_masks

SHAPE = (3, 5, 7)


def from_cleanlab(probabilities: np.ndarray, truths: np.ndarray, temperature: float) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what cleanlab imports
        from cleanlab.segmentation.rank import get_label_quality_scores
    classes = np.stack([1 - probabilities, probabilities], axis=1)
    scores, _ = get_label_quality_scores(
        truths.astype(int), classes, method="softmin", verbose=False, temperature=temperature
    )
    return scores


@given(
    arrays.arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32)),
    arrays.arrays(np.bool_, SHAPE),
    st.sampled_from([0.1, 0.05, 1.0]),
)
def test_the_score_is_cleanlabs(probabilities: np.ndarray, truths: np.ndarray, temperature: float) -> None:
    own = label_quality(torch.from_numpy(probabilities), torch.from_numpy(truths), temperature=temperature)
    assert own.dtype == np.float64
    np.testing.assert_allclose(own, from_cleanlab(probabilities, truths, temperature), rtol=0, atol=1e-6)


def test_the_score_of_two_pixels() -> None:
    # Labels have the probabilities 0.9 and 0.2: weights exp(1) and exp(8).
    found = label_quality(torch.tensor([[[0.9, 0.8]]]), torch.tensor([[[True, False]]]))
    expected = (0.9 * np.exp(1) + 0.2 * np.exp(8)) / (np.exp(1) + np.exp(8))
    np.testing.assert_allclose(found, [expected], atol=1e-6)


def test_pixels_that_do_not_count_are_left_out() -> None:
    probabilities, truths = torch.tensor([[[0.9, 0.8]]] * 2), torch.tensor([[[True, False]]] * 2)
    counted = torch.tensor([[[True, False]], [[False, False]]])
    np.testing.assert_allclose(label_quality(probabilities, truths, counted), [0.9, np.nan], atol=1e-6)
    np.testing.assert_allclose(label_quality(probabilities, truths, counted[0]), [0.9, 0.9], atol=1e-6)


@pytest.mark.parametrize(
    ("size", "block"), [((64, 64), 1), ((65, 20), 2), ((96, 96), 2), ((20, 400), 7), ((512, 512), 8), ((1, 1), 1)]
)
def test_maps_have_at_most_64_pixels_a_side(size: tuple[int, int], block: int) -> None:
    assert block_size(size) == block
    maps = encoded_log_odds(torch.full((1, *size), 0.5), block)
    assert maps.shape[1:] == tuple(-(-side // block) for side in size)
    assert max(maps.shape[1:]) <= 64


def test_maps_are_log_odds_of_mean_probabilities() -> None:
    p = torch.tensor([[[0.5, 0.7, 1.0], [0.9, 0.7, 1.0], [0.0, 0.0, 1e-4]]])
    codes = encoded_log_odds(p, 2)
    assert codes.dtype == np.uint8
    # Means 0.7, 1, 0 and 0.0001; log(0.7 / 0.3) is 0.847, log(0.0001 / 0.9999) is -9.21.
    np.testing.assert_allclose(log_odds(codes), [[[0.8, 12.7], [-12.7, -9.2]]], atol=1e-5)


def test_fractions_of_blocks() -> None:
    mask = np.array([[[1, 1, 1], [1, 0, 0], [0, 0, 1]]], bool)
    np.testing.assert_array_equal(pooled_masks(mask, 2), np.float32([[[0.75, 0.5], [0, 1]]]))
