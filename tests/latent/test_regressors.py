"""What an estimator chooses among, and the columns that it looks at."""

import numpy as np
import pytest

from hdm_widgets.latent import regressors as module
from hdm_widgets.latent.regressors import BestSingle, Inputs, SupportVectors, Trees

RNG = np.random.default_rng(0)
CONFIDENCES = {
    "mean_entropy": [0.2, 0.1, 0.0, 0.0],
    "soft_iou": [0.9, 0.8, np.nan, 1.0],
    "soft_dice": [0.95, 0.9, np.nan, 1.0],
    "area_at_30": [0.5, 0.2, 0.1, 0.25],
    "area_at_50": [0.4, 0.1, 0.0, 0.25],
    "area_at_70": [0.3, 0.05, 0.0, 0.25],
    "area_at_90": [0.1, 0.0, 0.0, 0.25],
}


def inputs(confidences, components=None):
    columns = {name: np.array(values, float) for name, values in confidences.items()}
    components = np.zeros((4, 1)) if components is None else components
    found = Inputs.fit(components, columns)
    return found, found.table(components, columns)


def test_relative_columns_by_hand():
    found, table = inputs(CONFIDENCES)
    assert found.names == tuple(CONFIDENCES)
    assert (found.confidences.tolist(), found.components.tolist()) == (list(range(7)), [12])
    assert found.relative.tolist() == [1, *range(7, 12)]  # soft_iou, and five that take the places of the others
    # Where nothing is predicted the median of the others stands; an entropy of 0 has a smallest value.
    expected = [
        [0.8, 0.5, 0.8, 1],
        [0.75, 0.5, 0.75, 1],
        [0.25, 0, 0.25, 1],
        np.log([0.5, 1, 0.5, 1e-9]),
        np.log([0.4, 0.1, 0.25, 0.25]),
    ]
    deviations = np.std(expected, axis=1)
    assert (np.abs(table[:, 7:12] - np.transpose(expected)) <= deviations / 128).all()


@pytest.mark.parametrize("missing", ["area_at_50", "area_at_90", "mean_entropy"])
def test_without_all_areas_confidences_are_taken_as_they_are(missing):
    found, table = inputs({name: values for name, values in CONFIDENCES.items() if name != missing})
    assert found.relative.tolist() == found.confidences.tolist() == list(range(6))
    assert table.shape == (4, 7)


def test_confidences_that_the_map_has_not_are_no_inputs():
    confidences = {name: np.array(values) for name, values in CONFIDENCES.items()}
    found = Inputs.fit(np.zeros((4, 2)), {})
    assert (len(found.confidences), len(found.relative), found.components.tolist()) == (0, 0, [0, 1])
    assert found.table(np.ones((4, 2)), confidences).tolist() == [[1, 1]] * 4


@pytest.mark.parametrize("sign", [1, -1])
def test_the_curve_joins_the_centers_of_the_blocks(sign):
    # 0.6 and 0.2 are in the wrong order, and become one block of 0.4 around 2.5.
    values = sign * np.array([[1.0], [2], [3], [5]])
    curve = BestSingle([0]).fit(values, np.array([0.1, 0.6, 0.2, 0.8]))
    np.testing.assert_allclose(curve.predict(sign * np.array([[1], [2.5], [5]])), [0.1, 0.4, 0.8])
    np.testing.assert_allclose(curve.predict(sign * np.array([[1.75], [3.75], [-9], [9]])), [0.25, 0.6, 0.1, 0.8])


def test_the_order_of_items_is_that_of_the_confidence():
    values = np.sort(RNG.random(200))
    targets = np.clip(values + RNG.normal(0, 0.3, 200), 0, 1)
    curve = BestSingle([0, 1]).fit(np.column_stack([RNG.random(200), values]), targets)
    assert curve.column == 1
    inner = curve.predict(np.column_stack([np.zeros(200), values]))[20:-20]
    assert (np.diff(inner) > 0).mean() > 0.95


def test_what_is_outside_the_range_is_moved_to_its_edge():
    table = RNG.random((80, 3))
    machine = SupportVectors(np.array([0, 2])).fit(table, table[:, 0])
    assert np.abs(machine.predict(table) - table[:, 0]).mean() < 0.03
    edge, beyond = table.max(axis=0)[None], table.max(axis=0)[None] + 5
    assert machine.predict(beyond) == machine.predict(edge)
    assert machine.predict(edge) > 0.9


@pytest.mark.parametrize("rows", [7, 512])
def test_support_vectors_predict_as_scikit_learn_does(monkeypatch, rows):
    monkeypatch.setattr(module, "_ROWS", rows)
    table = RNG.random((60, 2))
    machine = SupportVectors(np.array([0, 1])).fit(table, table[:, 0] ** 2)
    scaled = (table - table.mean(0)) / table.std(0)
    expected = machine._mean + machine._deviation * machine._machine.predict(scaled)
    np.testing.assert_allclose(machine.predict(table), expected, atol=1e-12)


@pytest.mark.parametrize("make", [lambda: Trees(np.array([1]), 0), lambda: SupportVectors(np.array([1]))])
def test_other_columns_are_not_looked_at(make):
    table = RNG.random((60, 3))
    regressor = make().fit(table, table[:, 1])
    np.testing.assert_array_equal(regressor.predict(table), regressor.predict(table * [0, 1, 0]))


def test_targets_without_a_difference():
    table = RNG.random((40, 2))
    np.testing.assert_allclose(SupportVectors(np.array([0, 1])).fit(table, np.full(40, 0.3)).predict(table), 0.3)
