import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, ortho_group

from hdm_widgets.latent import kernel_alignment
from hdm_widgets.latent.kernel_alignment import linear_cka, permuted_cka
from hdm_widgets.latent.space_comparison import _p_value


def random(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_cka_by_hand():
    # Centered: a = (-1, 0, 1), b = (-1, 1, 0). Inner product 1, both squared lengths 2: CKA = 1**2 / (2 * 2).
    value, null = permuted_cka(np.array([[0.0], [1], [2]]), np.array([[0.0], [2], [1]]), permutations=50)
    assert value == pytest.approx(0.25)
    # In any order the inner product is 2, 1, -1 or -2.
    assert set(null.round(12)) <= {0.25, 1.0}


def test_cka_is_that_of_the_features_covariances():
    a, b = random(40, 5), random(40, 3, 1)
    a -= a.mean(0)
    b -= b.mean(0)
    expected = np.linalg.norm(b.T @ a) ** 2 / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b)
    assert permuted_cka(a + 3, b, permutations=1)[0] == pytest.approx(expected)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.integers(2, 6))
def test_cka_is_1_for_rotated_and_scaled_features(seed, scale, width):
    a = random(12, width, seed)
    turned = scale * a @ ortho_group.rvs(width, random_state=seed) + 7
    assert permuted_cka(a, turned, permutations=1)[0] == pytest.approx(1)
    assert permuted_cka(turned, random(12, 3, seed + 1), permutations=1)[0] == pytest.approx(
        permuted_cka(a, random(12, 3, seed + 1), permutations=1)[0]
    )


def test_cka_of_items_that_are_all_alike_is_nan():
    value, null = permuted_cka(np.ones((6, 2)), random(6, 2), permutations=4)
    assert np.isnan(value)
    assert np.isnan(null).all()


def test_p_values_of_unrelated_features_are_uniform():
    p_values = [
        _p_value(*permuted_cka(random(15, 3, seed), random(15, 4, 1000 + seed), permutations=39)) for seed in range(150)
    ]
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert min(p_values) >= 1 / 40


def test_alignment_and_its_mean_by_chance_by_hand():
    # As above: 1/4, and of the six orders two have an inner product of 2 or -2, four of 1 or -1: (2 * 1 + 4 / 4) / 6.
    assert linear_cka(np.array([[0.0], [1], [2]]), np.array([[0.0], [2], [1]])) == pytest.approx((0.25, 0.5))


@pytest.mark.parametrize("block", [7, 4096])
@pytest.mark.parametrize(("n", "d", "e"), [(60, 5, 3), (20, 50, 70), (60, 20, 4)])
def test_alignment_is_that_of_inner_products_of_items(monkeypatch, block, n, d, e):
    monkeypatch.setattr(kernel_alignment, "_BLOCK", block)
    a = random(n, d)
    b = random(n, e, 1) + a[:, :1]
    one, other = ((x - x.mean(0)) @ (x - x.mean(0)).T for x in (a, b))
    size = np.linalg.norm(one) * np.linalg.norm(other)
    value, by_chance = linear_cka(a + 100, b)
    assert value == pytest.approx(np.vdot(one, other) / size)
    of_orders, null = permuted_cka(a, b, permutations=1000)
    assert of_orders == pytest.approx(value)
    assert by_chance == pytest.approx(np.trace(one) * np.trace(other) / (n - 1) / size)
    assert by_chance == pytest.approx(null.mean(), abs=5 * null.std() / 1000**0.5)


@pytest.mark.parametrize(("n", "d", "products"), [(60, 30, 9 + 2 * 6), (30, 40, 2 * 4 * 6)])
def test_no_block_of_a_symmetric_product_is_computed_twice(monkeypatch, n, d, products):
    # Of 3 x 3 blocks, six are on the diagonal or above it; those of 40 features for 30 items are sums of four.
    monkeypatch.setattr(kernel_alignment, "_BLOCK", 10)
    told = []
    linear_cka(random(n, d), random(n, d, 1), progress=lambda *step: told.append(step))
    assert told == [(step, products) for step in range(1, products + 1)]


def test_both_sides_have_the_same_null(monkeypatch):
    a, b = random(30, 8), random(30, 9, 1)
    nulls = []
    for most in (0, 100):
        monkeypatch.setattr(kernel_alignment, "_FEATURES_PER_ITEM", most)
        nulls.append(permuted_cka(a, b, permutations=20)[1])
    np.testing.assert_allclose(*nulls)


@pytest.mark.parametrize("width", [3, 400])
def test_items_that_differ_by_rounding_only_are_alike(width):
    alike = np.float32(0.1) + np.zeros((50, width), np.float32)
    alike[::2] *= np.float32(1 + 1e-7)
    assert np.isnan(linear_cka(alike, random(50, 3))).all()
    assert np.isnan(permuted_cka(alike, random(50, 3), permutations=2)[0])


@pytest.mark.parametrize(("n", "d"), [(5000, 8), (40, 20_000)])
def test_alignment_takes_little_memory(n, d):
    features = random(n, d).astype(np.float32)
    tracemalloc.start()
    try:
        linear_cka(features, features)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Neither (n, n) nor (d, d) values are kept.
    assert peak < 8 * max(n, d) ** 2 / 4
