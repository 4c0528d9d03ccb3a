import numpy as np
import pytest
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from hdm_widgets.latent import batches
from hdm_widgets.latent import neighbors as module
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


@pytest.mark.parametrize("order", ["from far to near", "from near to far", "at random", "many alike"])
@pytest.mark.parametrize("many", [0, 2, 1000])
def test_the_order_of_the_items_changes_nothing(monkeypatch, order, many):
    # Far to near, every batch has all of the nearest so far.
    monkeypatch.setattr(module, "_MANY", many)
    monkeypatch.setattr(batches, "BATCH_BYTES", 8 * 20 * 7)
    rng = np.random.default_rng(0)
    items = rng.integers(-40, 40, (200, 3)).astype(np.float32)
    lengths = (items**2).sum(1)
    if order != "at random":
        items = items[np.argsort(-lengths if order == "from far to near" else lengths)]
    if order == "many alike":
        items[50:150] = 0
    queries = np.concatenate([rng.integers(-3, 3, (20, 3)), items[:5]]).astype(np.float32)
    found, distances = nearest(items, queries, 9)
    expected = cdist(queries, items)
    np.testing.assert_array_equal(found, np.argsort(expected, axis=1, kind="stable")[:, :9])
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :9], rtol=1e-12)


class Rows:
    """Rows of an array, which remembers the most that were read at once."""

    def __init__(self, values):
        self.values, self.shape, self.most = values, values.shape, 0

    def __len__(self):
        return len(self.values)

    def __getitem__(self, rows):
        part = self.values[rows]
        self.most = max(self.most, len(part))
        return part


@pytest.mark.parametrize(("count", "width", "k"), [(500, 6, 3), (500, 60, 3), (40, 6, 30)])
def test_a_batch_is_as_large_as_the_budget_at_most(monkeypatch, count, width, k):
    monkeypatch.setattr(batches, "BATCH_BYTES", 8 * 1200)
    items = Rows(np.random.default_rng(0).normal(size=(count, width)))
    found, _ = nearest(items, items, k)
    assert found[:, 0].tolist() == list(range(count))
    # 20 rows of 60 values; of 6 values, as many queries as the budget takes and 6 items with 200 products each.
    assert items.most <= max(1200 // width, k)


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
