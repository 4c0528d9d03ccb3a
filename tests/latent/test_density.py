"""DBSCAN in batches against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

import hdm_widgets as hw
from hdm_widgets.latent import density
from hdm_widgets.latent.density import dbscan


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 120),
    width=st.integers(1, 4),
    min_samples=st.integers(1, 8),
    radius=st.floats(0.05, 2),
    pairs=st.sampled_from([1, 40, 1 << 22]),
)
def test_groups_are_those_of_scikit_learn(
    seed: int, count: int, width: int, min_samples: int, radius: float, pairs: int
) -> None:
    points = np.random.default_rng(seed).normal(size=(count, width)).round(1)
    expected = DBSCAN(eps=radius, min_samples=min_samples, algorithm="kd_tree").fit(points).labels_
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(density, "_BATCH_PAIRS", pairs)
        np.testing.assert_array_equal(dbscan(points, radius, min_samples), expected)


def test_batches_of_5000_items_find_what_scikit_learn_does(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(5000, 3)) + 4 * rng.integers(0, 3, (5000, 1))
    expected = DBSCAN(eps=0.4, min_samples=10, algorithm="kd_tree").fit(points).labels_
    assert expected.max() >= 2
    assert (expected < 0).any()
    for pairs in (1000, 20_000, 1 << 22):
        monkeypatch.setattr(density, "_BATCH_PAIRS", pairs)
        np.testing.assert_array_equal(dbscan(points, 0.4, 10), expected)


def test_a_radius_that_holds_most_items_of_very_many_is_refused(
    own_space: hw.LatentSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(own_space)
    monkeypatch.setattr(density, "_SAMPLE", count)
    monkeypatch.setattr(density, "_MOST_PAIRS", count * 3)
    expected = rf"DBSCAN of {count} items: expected at most 3 items within it on average, got about {count};.*KMeans"
    with pytest.raises(ValueError, match=expected):
        own_space.cluster(method="dbscan", eps=1e6)
    assert own_space.cluster(method="dbscan", eps=1e-9, min_samples=2) == ()
