"""Means of items whose errors depend on each other, from errors of a known law."""

import numpy as np
import pytest

from hdm_widgets.latent.mean_intervals import Clusters, Dependence, dependences, find_clusters, mean_interval

Z = 1.6448536  # of an interval of 90 %


def errors_of_regions(seed, regions, items, correlation):
    """Errors of variance 1, of which those of one region have a part in common; and the regions."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(regions), items)
    common = rng.normal(size=regions)[labels] * np.sqrt(correlation)
    return common + rng.normal(size=len(labels)) * np.sqrt(1 - correlation), labels


def test_the_correlation_by_hand():
    # Sums of 4, 0, -4 in pairs: 32 / 2 / 3 between; 2 within, of which there are 3.
    errors = np.array([1.0, 3, -1, 1, -1, -3])
    found = dependences({"tile": np.array(list("aabbcc"))}, errors)["tile"]
    between, within = 16 / 3, 2.0
    correlation = (between - within) / (between + within)
    assert found.correlation == pytest.approx(correlation)
    assert found.count == pytest.approx(6 / (1 + correlation))


@pytest.mark.parametrize("correlation", [0.0, 0.2, 0.6])
def test_the_correlation_of_a_known_law(correlation):
    found = []
    for seed in range(20):
        errors, labels = errors_of_regions(seed, 40, 12, correlation)
        found.append(dependences({"tile": labels}, errors)["tile"].correlation)
    assert np.mean(found) == pytest.approx(correlation, abs=0.04)


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_intervals_of_regions_cover_what_they_promise(correlation):
    held = []
    for seed in range(12):
        errors, labels = errors_of_regions(seed, 40, 16, correlation)
        found = dependences({"tile": labels}, errors)
        new, regions = errors_of_regions(100 + seed, 40, 16, correlation)
        (clusters,) = find_clusters(found, {"tile": regions}) or (None,)
        for region in range(40):
            rows = regions == region
            mean, low, high = mean_interval(
                np.full(16, 0.5),
                np.full(16, 0.1),
                0.9,
                len(errors),
                together=False,
                clusters=[] if clusters is None else [clusters.at(rows)],
            )
            held.append(low <= mean + 0.1 * new[rows].mean() <= high)
    # 480 regions, and a correlation from 40: without it, six in ten were covered.
    assert np.mean(held) == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(60),
        np.arange(60),
        np.linspace(0, 1, 30).repeat(2),
        np.array([None, "a", "b"] * 20, object),
    ],
    ids=["one value", "a value for each item", "numbers with fractions", "objects"],
)
def test_columns_without_groups(values):
    assert dependences({"column": values}, np.random.default_rng(0).normal(size=60)) == {}


def test_items_without_an_error_are_left_out():
    errors, labels = errors_of_regions(0, 10, 4, 0.5)
    both = np.concatenate([errors, np.full(5, np.nan)])
    more = {"tile": np.concatenate([labels, np.full(5, 99)])}
    assert dependences(more, both) == dependences({"tile": labels}, errors)


def test_columns_that_new_data_have():
    found = {"tile": Dependence(0.5, 10), "sun": Dependence(0.0, 20), "year": Dependence(0.2, 15)}
    (clusters,) = find_clusters(found, {"tile": np.array(["b", "a", "b"]), "sun": np.array([1, 1, 2])})
    assert clusters.labels.tolist() == [1, 0, 1]
    assert find_clusters(found, {"tile": np.array(["b", None, 3], object)}) == ()
    assert clusters.dependence == found["tile"]


def test_the_interval_by_hand():
    iou, deviation = np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.1, 0.1, 0.2, 0.2])
    clusters = Clusters(np.array([0, 0, 1, 1]), Dependence(0.25, 9))
    mean, low, high = mean_interval(iou, deviation, 0.9, 100, together=False, clusters=[clusters])
    own, together = 2 * 0.1**2 + 2 * 0.2**2, 0.2**2 + 0.4**2
    error = np.sqrt((0.75 * own + 0.25 * together) / 16 + 0.15**2 / 9)
    assert (mean, high - mean, mean - low) == pytest.approx((0.5, Z * error, Z * error))
    # The widest of all: what has nothing in common makes none narrower.
    others = [Clusters(np.arange(4), Dependence(1.0, 1000)), clusters]
    assert mean_interval(iou, deviation, 0.9, 100, together=False, clusters=others) == (mean, low, high)


def test_unlike_data_may_have_errors_of_one_sign_whatever_they_have_in_common():
    iou, deviation = np.full(4, 0.5), np.full(4, 0.1)
    clusters = [Clusters(np.zeros(4, int), Dependence(0.5, 9))]
    assert mean_interval(iou, deviation, 0.9, 100, together=True, clusters=clusters) == mean_interval(
        iou, deviation, 0.9, 100, together=True
    )
