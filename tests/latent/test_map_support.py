"""Support of a map of very many items, against a tree of all of them."""

import numpy as np
import pytest
from scipy.spatial import KDTree

from hdm_widgets.latent.map_support import MapSupport
from hdm_widgets.latent.surface import Support, column_scales


def cloud(count, seed=0):
    """Two clouds of different density, the second axis in other units."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(size=(count // 2, 2)), 0.1 * rng.normal(size=(count - count // 2, 2)) + 2]) * [
        1,
        50,
    ]


def grid_around(items, side=60):
    low, high = items.min(axis=0), items.max(axis=0)
    steps = np.linspace(-0.1, 1.1, side)
    return low + np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2) * (high - low)


@pytest.mark.parametrize(
    "items",
    [
        cloud(1),
        cloud(2),
        cloud(6),
        cloud(7),
        cloud(300),
        np.stack([np.arange(21.0), np.full(21, 2.0)], axis=1),
        np.stack([np.full(900, 3.0), np.arange(900.0)], axis=1),
    ],
    ids=["1 item", "2 items", "6 items", "7 items", "two clouds", "a row", "a column"],
)
def test_few_items_in_every_cell_are_as_with_a_tree_of_all(items):
    exact, found = Support(items), MapSupport(items)
    np.testing.assert_array_equal(np.sort(found.own), np.sort(exact.own))
    points = grid_around(items)
    np.testing.assert_array_equal(found.distance(points), exact.distance(points))
    np.testing.assert_array_equal(found.weight(points), exact.weight(points))


@pytest.mark.parametrize(("count", "seed"), [(5_000, 0), (20_000, 1), (60_000, 2)])
def test_many_items_differ_by_less_than_a_cell(count, seed):
    items = cloud(count, seed)
    scale = column_scales(items)
    diagonal = np.linalg.norm(np.ptp(items, axis=0) / 256 / scale)
    tree = KDTree(items / scale)
    own = tree.query(items / scale, k=[6])[0]
    unit = max(np.quantile(own, 0.95), diagonal)
    found = MapSupport(items)
    assert len(found.own) < count  # there are crowded cells
    points = grid_around(items)
    exact = tree.query(points / scale, k=[5])[0][:, 0]
    # What is 1 on the scale: the ratio of both distances where they are the largest.
    far = exact.argmax()
    own_unit = exact[far] / found.distance(points[[far]])[0]
    assert own_unit == pytest.approx(unit, abs=1.01 * diagonal)
    np.testing.assert_allclose(found.distance(points) * own_unit, exact, atol=0.6 * diagonal)


def test_a_dense_map_has_no_holes():
    # Eight items in a cell of 1/256 on average, 0 to 20.
    items = np.random.default_rng(0).random((8 * 256**2, 2))
    inside = 0.01 + 0.98 * grid_around(np.array([[0.0, 0], [1, 1]]), 240)
    inside = inside[((inside > 0.01) & (inside < 0.99)).all(axis=1)]
    np.testing.assert_array_equal(MapSupport(items).weight(inside), 1)
    beside = np.array([[-0.05, 0.5], [0.5, 1.05]])
    np.testing.assert_array_equal(MapSupport(items).weight(beside), 0)


@pytest.mark.parametrize("count", [7, 5000])
def test_items_at_one_place_support_that_place(count):
    found = MapSupport(np.full((count, 2), 3.0))
    np.testing.assert_array_equal(found.weight(np.array([[3.0, 3.0]])), 1)
    np.testing.assert_array_equal(found.weight(np.array([[30.0, 3.0]])), 0)
