import numpy as np
import pytest
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from hdm_widgets.latent import batches
from hdm_widgets.latent.neighbors import Neighbors, distance_scale, nearest, pairwise_distances


@pytest.mark.parametrize("rows", [1024, 13, 1])
@pytest.mark.parametrize("k", [1, 5, 50])
def test_the_nearest_of_several_queries_are_those_of_a_tree(monkeypatch, rows, k):
    monkeypatch.setattr(batches, "BATCH_BYTES", rows * 8 * 4)
    rng = np.random.default_rng(0)
    items, queries = rng.normal(size=(50, 4)).astype(np.float32), rng.normal(size=(9, 4)).astype(np.float32)
    found, distances = nearest(items, queries, k)
    expected, indices = KDTree(items.astype(np.float64)).query(queries.astype(np.float64), k=np.arange(1, k + 1))
    np.testing.assert_array_equal(found, indices)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    assert found.dtype == np.int64
    assert distances.dtype == np.float64


def test_items_at_one_place_come_in_their_order():
    items = np.array([[3.0], [1], [1], [0], [1]])
    found, distances = nearest(items, np.array([[1.0], [0.4]]), 4)
    assert found.tolist() == [[1, 2, 4, 3], [3, 1, 2, 4]]
    np.testing.assert_allclose(distances, [[0, 0, 0, 1], [0.4, 0.6, 0.6, 0.6]])


def test_items_on_disk_serve(tmp_path):
    items = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    np.save(tmp_path / "items.npy", items)
    stored = np.load(tmp_path / "items.npy", mmap_mode="r")
    for one, two in zip(nearest(stored, stored[:4], 3), nearest(items, items[:4], 3), strict=True):
        np.testing.assert_array_equal(one, two)


def test_distances_of_pairs(monkeypatch):
    items = np.random.default_rng(0).normal(size=(30, 70)).astype(np.float32) + 100
    monkeypatch.setattr(batches, "BATCH_BYTES", 8 * 12 * 9)
    rows = np.arange(0, 30, 3)
    np.testing.assert_allclose(pairwise_distances(items, rows), cdist(items[rows], items[rows]), rtol=1e-6, atol=1e-6)


def test_the_distance_scale_does_not_depend_on_batches(monkeypatch):
    items = np.random.default_rng(0).normal(size=(60, 5))
    apart = cdist(items, items)
    np.fill_diagonal(apart, np.inf)
    whole = distance_scale(items, np.arange(60))
    assert whole == pytest.approx(np.quantile(apart.min(1), 0.95))
    monkeypatch.setattr(batches, "BATCH_BYTES", 8 * 5 * 7)
    assert distance_scale(items, np.arange(60)) == pytest.approx(whole, rel=1e-12)


def test_neighbors_are_equal_to_themselves_alone_and_can_be_hashed():
    one, two = (Neighbors(np.arange(3), np.ones(3)) for _ in range(2))
    assert one == one
    assert one != two
    assert len({one, two, one}) == 2
    indices, distances = one
    assert indices is one.indices
    assert distances is one.distances
