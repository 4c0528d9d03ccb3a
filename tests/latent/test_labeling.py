"""Which new items to label first."""

import numpy as np
import pytest

from hdm_widgets.latent.labeling import doubts, first_to_label

RNG = np.random.default_rng(0)


def test_doubt_by_hand():
    low, high = np.array([0.0, 0.0, 0.5, 1.0, np.nan]), np.array([1.0, 0.0, 0.9, 1.0, np.nan])
    found = doubts(low, high, np.array([True, True, True, True, True]))
    np.testing.assert_allclose(found, [0.5, 0.25, 0.225, 0.0, 0.5])
    unreliable = doubts(low, high, np.zeros(5, bool))
    np.testing.assert_allclose(unreliable, [1.0, 0.75, 0.725, 0.5, 1.0])
    assert (unreliable > 0.5).all()


def test_the_most_doubtful_one_comes_first_then_the_farthest_ones():
    # On a line, all as doubtful but for one.
    positions = np.array([0, 4, 5, 12])[:, None] * [1.0, 0.0]
    assert first_to_label(np.array([0.5, 0.5, 0.6, 0.5]), positions, 4).tolist() == [2, 3, 0, 1]


def test_only_among_the_most_doubtful_ones():
    # The farthest item is not doubtful: four times as many as are asked for are looked at.
    doubt = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    positions = np.zeros((9, 2))
    positions[:, 0] = [0, 1, 2, 3, 4, 5, 6, 7, 1000]
    assert 8 not in first_to_label(doubt, positions, 2)
    assert 8 in first_to_label(doubt, positions, 3)


def test_they_are_spread_over_the_map():
    # Of two groups, the more doubtful one has three times as many items.
    positions = np.concatenate([RNG.normal(0, 0.1, (60, 2)), RNG.normal(5, 0.1, (20, 2))])
    doubt = np.concatenate([RNG.uniform(0.8, 0.9, 60), RNG.uniform(0.7, 0.8, 20)])
    chosen = first_to_label(doubt, positions, 20)
    assert (chosen >= 60).sum() >= 4
    assert (np.argsort(-doubt)[:20] < 60).all()


@pytest.mark.parametrize("count", [1, 5, 12, 50])
def test_as_many_as_asked_for_each_once_and_always_the_same(count):
    positions, doubt = RNG.normal(size=(12, 2)), RNG.uniform(size=12)
    chosen = first_to_label(doubt, positions, count)
    assert chosen.dtype == np.int64
    assert len(set(chosen.tolist())) == len(chosen) == min(count, 12)
    np.testing.assert_array_equal(chosen, first_to_label(doubt, positions, count))


def test_units_of_the_coordinates_do_not_matter():
    positions, doubt = RNG.normal(size=(40, 2)), RNG.uniform(size=40)
    np.testing.assert_array_equal(
        first_to_label(doubt, positions, 6), first_to_label(doubt, positions * [1000, 0.001], 6)
    )


@pytest.mark.parametrize("positions", [np.zeros((6, 2)), np.ones((6, 2)) * [3, np.pi]])
def test_items_in_one_place_are_chosen_by_doubt_alone(positions):
    assert first_to_label(np.array([0.1, 0.5, 0.3, 0.9, 0.5, 0.0]), positions, 4).tolist() == [3, 1, 4, 2]


def test_a_coordinate_that_differs_by_rounding_alone_does_not_matter():
    positions = np.arange(6)[:, None] * [1.0, 0.0] + [0.0, 0.3]
    rounded = positions.copy()
    rounded[::2, 1] = 0.1 + 0.2  # the next number after 0.3
    assert len(np.unique(rounded[:, 1])) == 2
    doubt = np.array([0.9, 0.8, 0.8, 0.8, 0.8, 0.7])
    assert first_to_label(doubt, rounded, 6).tolist() == first_to_label(doubt, positions, 6).tolist()


@pytest.mark.parametrize("count", [0, -1, 2.0, True, None])
def test_a_count_that_is_none(count):
    with pytest.raises(ValueError, match="count must be a whole number of at least 1"):
        first_to_label(np.ones(3), np.ones((3, 2)), count)


def test_no_items():
    assert first_to_label(np.empty(0), np.empty((0, 2)), 20).tolist() == []
