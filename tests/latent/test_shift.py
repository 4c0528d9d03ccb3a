"""The two-sample test: its statistic, its p value, its words."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from hdm_widgets.latent.shift import compare_samples


def columns(seed, count, shape=(6,)):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(count, *shape))
    # Columns that depend on each other, one of few values, one with NaN.
    table = {f"c{i}": base[:, i] + base[:, 0] for i in range(shape[0])}
    table["few"] = np.round(base[:, 1])
    table["nan"] = np.where(base[:, 2] > 1, np.nan, base[:, 2])
    return table


def test_the_effect_is_the_largest_kolmogorov_smirnov_statistic():
    known, new = columns(0, 40), columns(1, 25)
    new["c3"] = new["c3"] + 0.4
    found = compare_samples(known, new, permutations=9)
    expected = max(
        ks_2samp(np.nan_to_num(known[name], nan=-99), np.nan_to_num(new[name], nan=-99)).statistic for name in known
    )
    assert found.effect == pytest.approx(expected, abs=1e-12)
    assert (found.count, found.map_count) == (25, 40)


def test_samples_that_do_not_overlap():
    known = {"a": np.arange(20.0), "b": np.zeros(20)}
    found = compare_samples(known, {"a": np.arange(100.0, 115), "b": np.zeros(15)})
    assert found.effect == pytest.approx(1)
    assert found.p_value == pytest.approx(1 / 1000)
    assert found.shifted
    assert found.columns == {"a": pytest.approx(1)}
    change = (107 - 9.5) / np.arange(20).std()
    assert found.directions == {"a": pytest.approx(change)}
    assert found.text == (
        "almost entirely unlike the data of the map (p = 0.001, effect 1.00): moved is a (higher by 16.9 SD)"
    )


def test_the_p_value_is_uniform_under_the_null():
    p_values = [
        compare_samples(columns(2 * seed, 30), columns(2 * seed + 1, 20), random_state=seed, permutations=99).p_value
        for seed in range(200)
    ]
    # In steps of 1/100: half a step is taken off, and what is left of the steps is small beside 300 values.
    assert kstest(np.array(p_values) - 0.005, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) <= 0.05) < 0.09


@pytest.mark.parametrize(
    ("change", "name", "word"),
    [
        (lambda values: values + 0.8, "c2", "higher"),
        (lambda values: values - 0.8, "c2", "lower"),
        (lambda values: 4 * values, "c2", "spread differently"),
        (lambda values: np.where(values < 1.5, np.nan, values), "c2", ""),
    ],
)
def test_the_column_that_moved_is_named(change, name, word):
    new = columns(5, 150)
    new[name] = change(new[name])
    found = compare_samples(columns(4, 150), new)
    assert found.shifted
    assert next(iter(found.columns)) == name
    assert f"{name} (" in found.text
    assert word in str(found)


def test_columns_are_named_as_on_screen():
    names = ("area_at_30", "foreground_entropy", "pc2")
    known = {name: np.arange(20.0) for name in names}
    found = compare_samples(known, {name: np.arange(100.0, 115) for name in names})
    assert found.text.split(": ")[1] == (
        "moved are fraction of pixels above 0.3 (higher by 16.9 SD), entropy in the prediction (higher by 16.9 SD), "
        "PC 2 (higher by 16.9 SD)"
    )


def test_activations_that_move_as_a_whole_are_found():
    known, new = (np.random.default_rng(seed).normal(size=(80, 4)) for seed in (0, 1))
    # A small step in the direction in which the activations hardly differ.
    mixed = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 1, 0.01]])
    table = {"a": np.arange(80.0)}, {"a": np.arange(80.0)}
    assert not compare_samples(*table, (known @ mixed, new @ mixed)).shifted
    found = compare_samples(*table, (known @ mixed, new @ mixed + 0.015 * np.array([0, 0, 0, 1])))
    assert (found.shifted, found.columns, found.p_value) == (True, {}, pytest.approx(2 / 1000))
    assert found.text == (
        "unlike the data of the map (p = 0.002): no single column moved much, columns and activations as a whole did"
    )


def test_columns_that_no_longer_fit_together_are_found():
    rng = np.random.default_rng(3)
    sizes, entropies = rng.normal(size=(2, 80)), 0.1 * rng.normal(size=(2, 80))
    known, new = ({"size": size, "entropy": size + entropy} for size, entropy in zip(sizes, entropies, strict=True))
    assert not compare_samples(known, new).shifted
    # A step that is small beside the differences of sizes, and large beside those at one size.
    found = compare_samples(known, new | {"entropy": new["entropy"] + 0.1})
    assert (found.shifted, found.columns) == (True, {})
    assert found.effect < 0.2
    # The order of the values is what counts.
    raised = [{name: np.exp(values) for name, values in side.items()} for side in (known, new)]
    assert compare_samples(*raised).p_value == compare_samples(known, new).p_value


@pytest.mark.parametrize("width", [3, 300])
def test_the_p_value_of_activations_is_uniform_under_the_null(width):
    p_values = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        items = rng.normal(size=(50, width)) ** 3
        table = {"a": items[:30, 0]}, {"a": items[30:, 0]}
        found = compare_samples(*table, (items[:30], items[30:]), random_state=seed, permutations=49)
        p_values.append(found.p_value)
    assert kstest(np.array(p_values) - 0.01, "uniform").pvalue > 0.01


def test_equal_data_are_like_the_map():
    known = columns(0, 50)
    found = compare_samples(known, known)
    assert found.effect == pytest.approx(0, abs=1e-12)
    assert (found.p_value, found.shifted, found.columns) == (1, False, {})
    assert found.text == "like the data of the map as far as 50 items tell (p = 1.000, effect 0.00)"


def test_few_items_cannot_tell():
    found = compare_samples(columns(0, 50), columns(1, 4))
    assert np.isnan(found.p_value)
    assert not found.shifted
    assert found.text == "4 new items are too few to tell whether new data are like the data of the map"
    one = compare_samples({"a": np.arange(30.0)}, {"a": np.array([100.0])})
    assert one.text == "1 new item is too few to tell whether new data are like the data of the map"


def test_many_items_are_sampled():
    found = compare_samples({"a": np.arange(5000.0)}, {"a": np.arange(3000.0)}, permutations=19)
    assert (found.count, found.map_count) == (2000, 2000)
    assert found.effect == pytest.approx(0.4, abs=0.04)
    again = compare_samples({"a": np.arange(5000.0)}, {"a": np.arange(3000.0)}, permutations=19)
    assert found.effect == again.effect
