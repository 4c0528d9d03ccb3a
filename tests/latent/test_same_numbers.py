"""The same data and seed give the same map, clusters and score, however the model's arithmetic rounds."""

from dataclasses import replace

import numpy as np
import pytest

import hdm_widgets as hw

BATCH_SIZES = (1, 4, 16)
# float32 arithmetic of another order changes a feature by about this fraction of its size.
ROUNDING = 3e-7


@pytest.fixture(scope="module")
def spaces(aerial):
    """Spaces of forty scenes by the batch size that they were made with; the clusters are the best found."""
    model, scenes = aerial
    made = {size: hw.LatentSpace(model, batch_size=size).fit(scenes, progress=False) for size in BATCH_SIZES}
    for space in made.values():
        space.cluster()
    return made


@pytest.fixture(scope="module")
def aerial():
    return hw.demo.aerial(40)


@pytest.fixture(scope="module")
def copies(aerial):
    """Spaces of twenty copies of two scenes by the batch size."""
    model, scenes = aerial
    pair = [scenes[0], scenes[1]]
    # In mixed order, so that a copy stands at every place of a batch.
    order = np.random.default_rng(0).permutation(np.repeat([0, 1], 20))
    made = {
        size: hw.LatentSpace(model, batch_size=size).fit([pair[i] for i in order], progress=False)
        for size in BATCH_SIZES
    }
    return order, made


def check_same(one, other):
    """Two spaces that differ by rounding alone."""
    rounding = 2e-6 * np.sqrt(np.mean(np.sum(one.collection_.features.astype(np.float64) ** 2, axis=1)))
    assert rounding < 2e-3 * np.ptp(one.embedding_, axis=0).max()
    np.testing.assert_allclose(other.embedding_, one.embedding_, atol=rounding)
    np.testing.assert_array_equal(other.iou_, one.iou_)
    np.testing.assert_allclose(other.cv_score_, one.cv_score_, atol=1e-4)
    np.testing.assert_allclose(other.expected_iou(), one.expected_iou(), atol=1e-3)
    np.testing.assert_allclose(other.surface().values, one.surface().values, atol=1e-3)
    np.testing.assert_array_equal(other.labels_, one.labels_)
    chosen, expected = other.clustering_, one.clustering_
    assert (chosen.method, chosen.n_clusters, chosen.min_samples) == (
        expected.method,
        expected.n_clusters,
        expected.min_samples,
    )
    np.testing.assert_allclose(chosen.silhouette, expected.silhouette, atol=1e-5)
    assert [group.medoid for group in other.clusters_] == [group.medoid for group in one.clusters_]
    assert [group.representatives for group in other.clusters_] == [group.representatives for group in one.clusters_]
    rows, expected_rows = other.compare_clusterings(progress=False), one.compare_clusterings(progress=False)
    assert rows[["method", "n_clusters"]].equals(expected_rows[["method", "n_clusters"]])


@pytest.mark.parametrize("size", BATCH_SIZES[1:])
def test_batches_of_any_size_give_the_same_map_clusters_and_score(spaces, size):
    check_same(spaces[1], spaces[size])


@pytest.mark.parametrize("size", BATCH_SIZES)
def test_copies_of_two_images_are_two_clusters(copies, size):
    order, made = copies
    space = made[size]
    for count in (None, 2, 3, 5):
        groups = space.cluster(count)
        assert [group.size for group in groups] == [20, 20]
        assert groups[0].indices.tolist() == np.flatnonzero(order == order[0]).tolist()
        # The first copies stand for all.
        assert list(groups[0].representatives) == groups[0].indices[:5].tolist()
        assert groups[0].medoid == groups[0].indices[0]
    # Two images differ along one line; what is across it is rounding.
    np.testing.assert_array_equal(space.embedding_[:, 1], 0)
    assert space.explained_variance_ratio_[0] == pytest.approx(1)
    frame = space.compare_clusterings(progress=False)
    assert set(frame["n_clusters"]) == {2}
    np.testing.assert_allclose(frame["silhouette"], 1, atol=1e-5)


@pytest.mark.parametrize("size", BATCH_SIZES[1:])
def test_copies_are_the_same_in_batches_of_any_size(copies, size):
    _, made = copies
    for space in (made[1], made[size]):
        space.cluster()
    check_same(made[1], made[size])


def blobs(rng):
    return rng.normal(size=(120, 24)) + 6 * rng.normal(size=(4, 24))[rng.integers(0, 4, 120)]


def mirrored(rng):
    """Every item has a mirror image of the opposite features, so that the largest entries of a component come twice."""
    half = rng.normal(size=(60, 12))
    return np.concatenate([np.hstack([half, -half]), np.hstack([-half, half])]) + 20


def repeated(rng):
    """Thirty items four times each, with a large offset: copies are far apart by the digits that are left."""
    return np.tile(rng.normal(size=(30, 24)), (4, 1)) * 0.05 + 0.5


def pairs(rng):
    """Clusters of two have two medoids."""
    return np.repeat(8 * rng.normal(size=(12, 24)), 2, axis=0) + np.tile([[0.1], [-0.1]], (12, 1)) + 9


@pytest.mark.parametrize("make", [blobs, mirrored, repeated, pairs])
def test_rounding_of_features_changes_nothing(make, aerial):
    rng = np.random.default_rng(3)
    features = make(rng).astype(np.float32)
    count = len(features)
    truths = rng.random((count, 8, 8)) < 0.5
    predictions = truths ^ (rng.random((count, 8, 8)) < np.linspace(0.05, 0.6, count)[:, None, None])
    dataset = [(truth[None].astype(np.float32), truth) for truth in truths]
    first = hw.LatentSpace.from_features(features, dataset, predictions, progress=False)
    first.cluster()
    for seed in (1, 2):
        noise = np.random.default_rng(seed).uniform(-ROUNDING, ROUNDING, features.shape)
        collection = replace(first.collection_, features=(features * (1 + noise)).astype(np.float32))
        other = hw.LatentSpace(None).fit_collected(collection)
        other.cluster()
        assert (other.collection_.features != features).any()
        check_same(first, other)


def test_two_fits_without_a_batch_size_are_equal_in_every_bit(aerial):
    model, scenes = aerial
    items = [scenes[i] for i in range(20)]
    one, other = (hw.LatentSpace(model).fit(items, progress=False) for _ in range(2))
    np.testing.assert_array_equal(other.collection_.features, one.collection_.features)
    np.testing.assert_array_equal(other.embedding_, one.embedding_)
    np.testing.assert_array_equal(other.expected_iou(), one.expected_iou())
    assert other.cv_score_ == one.cv_score_
