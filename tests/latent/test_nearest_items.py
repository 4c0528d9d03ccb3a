import numpy as np
import pytest
from scipy.spatial import KDTree

from hdm_widgets.latent import neighbors as module
from hdm_widgets.latent.neighbors import nearest


@pytest.mark.parametrize("rows", [1024, 13, 1])
@pytest.mark.parametrize("k", [1, 5, 50])
def test_the_nearest_of_several_queries_are_those_of_a_tree(monkeypatch, rows, k):
    monkeypatch.setattr(module, "_ROWS", rows)
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
