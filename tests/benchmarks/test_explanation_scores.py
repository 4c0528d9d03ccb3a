import numpy as np
import pytest
import torch
from _explanation_scores import (
    blurred,
    deletion_and_insertion,
    hits,
    interval,
    leakage,
    mass,
    order,
    pointing,
    rank_accuracy,
    rank_correlation,
    top_overlap,
)

RELEVANCE = np.array([[4.0, 2.0, 2.0], [1.0, 1.0, 0.0]])


def region(*pixels):
    mask = np.zeros(RELEVANCE.shape, bool)
    mask[tuple(zip(*pixels, strict=True))] = True
    return mask


@pytest.mark.parametrize(
    ("score", "pixels", "expected"),
    [
        (mass, [(0, 0), (1, 0)], 0.5),
        (mass, [(1, 2)], 0),
        (leakage, [(0, 0), (0, 1), (0, 2)], 0.2),
        (rank_accuracy, [(0, 0), (1, 2)], 0.5),
        # The second of two pixels is one of two equal ones.
        (rank_accuracy, [(0, 0), (0, 1)], 0.75),
        (rank_accuracy, [(1, 2)], 0),
        (pointing, [(0, 0), (1, 2)], 1),
        (pointing, [(0, 1)], 0),
        # 5 % of six pixels are one.
        (top_overlap, [(0, 0), (0, 1)], 1),
        (top_overlap, [(0, 1)], 0),
    ],
)
def test_scores_of_a_map_with_a_known_answer(score, pixels, expected):
    assert score(RELEVANCE, region(*pixels)) == pytest.approx(expected)


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (2, 0.5), (3, 1), (4, 1.5), (5, 2), (6, 2)])
def test_equal_pixels_count_as_the_mean_over_their_orders(count, expected):
    assert hits(RELEVANCE, region((0, 1), (1, 0)), count) == expected


def test_a_map_of_zeros_points_nowhere():
    zeros, one = np.zeros((2, 3)), region((0, 0))
    assert mass(zeros, one) == 0
    assert np.isnan(leakage(zeros, one))
    assert pointing(zeros, one) == pytest.approx(1 / 6)


def test_pixels_are_ordered_by_relevance_and_equal_ones_at_random():
    assert [RELEVANCE.ravel()[index] for index in order(RELEVANCE)] == [4, 2, 2, 1, 1, 0]
    constant = order(np.zeros((10, 10)))
    assert sorted(constant) == list(range(100))
    assert abs(np.corrcoef(constant, np.arange(100))[0, 1]) < 0.3


def test_deletion_and_insertion_of_a_segment_of_ten_pixels_in_a_hundred():
    image = torch.zeros(1, 10, 10)
    image[0, 0] = 1

    def bright(images):
        return images[:, 0].numpy() > 0.5

    best = np.zeros((10, 10))
    best[0] = np.arange(10, 0, -1)
    # Until a tenth of the pixels is gone, the IoU falls from 1 to 0 in a line.
    assert deletion_and_insertion(best, image, bright, torch.zeros(1, 10, 10)) == pytest.approx((0.05, 0.95))
    worst = np.ones((10, 10))
    worst[0] = 0
    # Between 0.8 and 1, where the last ten pixels are changed, the curve is sampled at its ends.
    assert deletion_and_insertion(worst, image, bright, torch.zeros(1, 10, 10)) == pytest.approx((0.9, 0.1))


def test_what_is_blurred_keeps_its_mean_and_no_detail():
    image = torch.zeros(2, 32, 32)
    image[:, 16, 16] = 1
    ground = blurred(image)
    assert ground.shape == image.shape
    assert ground.sum().item() == pytest.approx(2, rel=1e-3)
    assert ground.max() < 0.02


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1),
        ([1, 2, 3, 4], [2, 1, 4, 3], 0.6),
        ([1, 2, 3, 4], [5, 5, 5, 5], 0),
        ([0, 0, 0, 0], [5, 5, 5, 5], np.nan),
    ],
)
def test_rank_correlation_of_maps(first, second, expected):
    assert rank_correlation(np.array([first], float), np.array([second], float)) == pytest.approx(expected, nan_ok=True)


def test_the_interval_of_a_bootstrap_is_that_of_the_mean():
    coins = np.tile([0.0, 1.0], 200)
    mean, low, high = interval(np.append(coins, np.nan))
    assert mean == 0.5
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.004)
    assert interval(np.array([0.25])) == (0.25, 0.25, 0.25)
    assert np.isnan(interval(np.array([np.nan]))).all()
