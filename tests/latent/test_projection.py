import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.decomposition import PCA

from hdm_widgets.latent import batches, eigenvectors
from hdm_widgets.latent import projection as module
from hdm_widgets.latent.projection import Projection

# Two points two steps away along one axis and two points one step away along the other, around (5, 7).
CENTER = np.array([5.0, 7.0])
CROSS = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


def clouds(count=200, width=12, seed=0):
    """Correlated data of falling variances, far from the origin."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(width, width)))[0]
    return (rng.normal(size=(count, width)) * 2.0 ** -np.arange(width)) @ axes + rng.normal(size=width) * 10


def up_to_signs(got, expected, **tolerance):
    """Rows are the same or turned around."""
    signs = np.sign((got * expected).sum(axis=1))[:, None]
    np.testing.assert_allclose(got * signs, expected, **tolerance)


def test_a_cross_by_hand():
    fitted = Projection.fit(CROSS + CENTER, 2)
    np.testing.assert_allclose(fitted.mean, CENTER)
    np.testing.assert_allclose(fitted.components, [[1, 0], [0, 1]], atol=1e-12)
    # 2 * 2^2 and 2 * 1^2, by n - 1 = 3.
    np.testing.assert_allclose(fitted.explained_variance, [8 / 3, 2 / 3])
    np.testing.assert_allclose(fitted.explained_variance_ratio, [0.8, 0.2])
    np.testing.assert_allclose(fitted.transform(CROSS + CENTER), CROSS, atol=1e-12)
    np.testing.assert_allclose(fitted.transform(np.array([[6.0, 10.0]])), [[1, 3]])
    assert fitted.exact


def test_a_turned_cross_by_hand():
    # The axes (3, 4) / 5 and (-4, 3) / 5; the second is turned around, as its largest entry would be negative.
    points = CROSS @ np.array([[0.6, 0.8], [-0.8, 0.6]]) + CENTER
    fitted = Projection.fit(points, 2)
    np.testing.assert_allclose(fitted.components, [[0.6, 0.8], [0.8, -0.6]], atol=1e-12)
    np.testing.assert_allclose(fitted.transform(points), CROSS * [1, -1], atol=1e-12)
    one = Projection.fit(points, 1)
    np.testing.assert_allclose(one.components, [[0.6, 0.8]], atol=1e-12)
    np.testing.assert_allclose(one.explained_variance_ratio, [0.8])


@pytest.mark.parametrize(
    ("count", "width", "n_components"), [(200, 12, 3), (9, 40, 5), (40, 9, 9), (7, 7, 7), (2, 3, 1)]
)
def test_equals_scikit_learn(count, width, n_components):
    data = clouds(count, width)
    fitted = Projection.fit(data, n_components)
    oracle = PCA(n_components, svd_solver="full").fit(data)
    if n_components == count:  # n points lie in n - 1 dimensions: the last axis is arbitrary
        fitted_axes, axes = fitted.components[:-1], oracle.components_[:-1]
    else:
        fitted_axes, axes = fitted.components, oracle.components_
    up_to_signs(fitted_axes, axes, atol=1e-8)
    np.testing.assert_allclose(fitted.mean, oracle.mean_)
    np.testing.assert_allclose(fitted.explained_variance, oracle.explained_variance_, atol=1e-10)
    np.testing.assert_allclose(fitted.explained_variance_ratio, oracle.explained_variance_ratio_, atol=1e-10)
    up_to_signs(fitted.transform(data)[:, : len(axes)].T, oracle.transform(data)[:, : len(axes)].T, atol=1e-8)


@given(
    arrays(np.float32, st.tuples(st.integers(3, 12), st.integers(2, 6)), elements=st.integers(-50, 50)),
    st.integers(1, 2),
)
def test_what_components_always_are(data, n_components):
    if (data == data[0]).all():
        with pytest.raises(ValueError, match="the activations are the same for all"):
            Projection.fit(data, n_components)
        return
    fitted = Projection.fit(data, n_components)
    coordinates = fitted.transform(data)
    np.testing.assert_allclose(fitted.components @ fitted.components.T, np.eye(n_components), atol=1e-9)
    assert (fitted.components[range(n_components), np.abs(fitted.components).argmax(1)] > 0).all()
    np.testing.assert_allclose(coordinates.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(coordinates.var(0, ddof=1), fitted.explained_variance, atol=1e-8)
    assert (np.diff(fitted.explained_variance) <= 1e-9).all()
    whole = data.astype(np.float64).var(0, ddof=1).sum()
    np.testing.assert_allclose(fitted.explained_variance_ratio, fitted.explained_variance / whole, atol=1e-9)


def test_two_fits_agree():
    data = clouds()
    one, two = Projection.fit(data, 4), Projection.fit(data, 4)
    np.testing.assert_array_equal(one.components, two.components)
    # Mirrored data has the same components: the sign is a rule, not chance.
    up = Projection.fit(-data, 4)
    np.testing.assert_allclose(up.components, one.components, atol=1e-9)
    np.testing.assert_allclose(up.transform(-data), -one.transform(data), atol=1e-9)


@pytest.mark.parametrize("shape", [(90, 80), (80, 90)], ids=["narrow", "wide"])
@pytest.mark.parametrize("batch_rows", [1000, 13])
@pytest.mark.parametrize("constants", [{"_DENSE_SIDE": 9}, {"_COVARIANCE_SIDE": 9}, {"_BASIS_BYTES": 1}], ids=str)
def test_however_components_are_found_they_are_the_same(monkeypatch, shape, batch_rows, constants):
    data = clouds(*shape)
    full = PCA(3, svd_solver="full").fit(data)
    monkeypatch.setattr(batches, "BATCH_BYTES", 8 * batch_rows * shape[1])
    for name, value in constants.items():
        monkeypatch.setattr(module if hasattr(module, name) else eigenvectors, name, value)
    fitted, again = Projection.fit(data, 3), Projection.fit(data, 3)
    np.testing.assert_array_equal(fitted.components, again.components)
    up_to_signs(fitted.components, full.components_, atol=1e-9)
    np.testing.assert_allclose(fitted.explained_variance, full.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(fitted.explained_variance_ratio, full.explained_variance_ratio_, rtol=1e-9)
    assert fitted.exact


def test_the_first_components_do_not_depend_on_how_many_are_wanted():
    data = clouds(width=30)
    np.testing.assert_array_equal(Projection.fit(data, 2).components, Projection.fit(data, 9).components[:2])


@pytest.mark.parametrize(("count", "width"), [(5000, 48), (100, 4200)], ids=["narrow", "wide"])
def test_many_items_in_batches_are_as_in_one(monkeypatch, count, width):
    """Within 1e-9 of the standard deviation of the first component."""
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(24, width)) * 0.7 ** np.arange(24)[:, None]
    data = (rng.normal(size=(count, 24)) @ directions + 3).astype(np.float32)
    one = Projection.fit(data, 10)
    monkeypatch.setattr(batches, "BATCH_BYTES", 8 * count // 40 * width)
    many = Projection.fit(data, 10)
    deviation = np.sqrt(one.explained_variance[0])
    np.testing.assert_allclose(many.transform(data), one.transform(data), rtol=0, atol=1e-9 * deviation)
    np.testing.assert_allclose(many.explained_variance, one.explained_variance, rtol=1e-9)
    np.testing.assert_allclose(many.mean, one.mean, rtol=1e-12)
    np.testing.assert_allclose(one.transform(data).std(axis=0, ddof=1) ** 2, one.explained_variance, rtol=1e-9)


def test_what_is_fitted_is_not_changed():
    data = clouds()
    before = data.copy()
    Projection.fit(data, 3).transform(data)
    np.testing.assert_array_equal(data, before)


def test_a_first_item_far_from_all_others_costs_no_digits(monkeypatch):
    data = clouds(600)
    data[0] += 1e6 * np.eye(12)[3]
    monkeypatch.setattr(batches, "BATCH_BYTES", 8 * 12 * 8)
    fitted, oracle = Projection.fit(data, 12), PCA(12, svd_solver="full").fit(data)
    up_to_signs(fitted.components, oracle.components_, atol=1e-8)
    np.testing.assert_allclose(fitted.explained_variance, oracle.explained_variance_, rtol=1e-8)


def test_many_rows_are_transformed_in_parts(monkeypatch):
    data = clouds(103)
    fitted = Projection.fit(data, 3)
    whole = fitted.transform(data)
    monkeypatch.setattr(batches, "BATCH_BYTES", 10 * 8 * 12)
    np.testing.assert_allclose(fitted.transform(data), whole, rtol=1e-12)
    assert fitted.transform(data[:0]).shape == (0, 3)


def stored(data, tmp_path):
    """The same data on disk."""
    np.save(tmp_path / "data.npy", data)
    return np.load(tmp_path / "data.npy", mmap_mode="r")


def test_data_on_disk_serves(tmp_path):
    data = clouds().astype(np.float32)
    on_disk = stored(data, tmp_path)
    np.testing.assert_array_equal(
        Projection.fit(on_disk, 3).transform(on_disk), Projection.fit(data, 3).transform(data)
    )


# -- where features outnumber items -------------------------------------------------------------------


@pytest.mark.parametrize(("count", "width"), [(40, 300), (100, 101), (3, 50)])
@pytest.mark.parametrize("on_disk", [False, True])
def test_wide_data_in_batches_equals_scikit_learn(monkeypatch, tmp_path, count, width, on_disk):
    data = wide(count, width)
    monkeypatch.setattr(batches, "BATCH_BYTES", 8 * width * 16)  # 16 rows
    kept = min(10, count - 1)
    fitted = Projection.fit(stored(data, tmp_path) if on_disk else data, kept)
    oracle = PCA(kept, svd_solver="full").fit(data.astype(np.float64))
    assert fitted.exact
    up_to_signs(fitted.components, oracle.components_, atol=1e-9)
    np.testing.assert_allclose(fitted.mean, oracle.mean_, rtol=1e-12)
    np.testing.assert_allclose(fitted.explained_variance, oracle.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(fitted.explained_variance_ratio, oracle.explained_variance_ratio_, rtol=1e-9)
    up_to_signs(fitted.transform(data).T, oracle.transform(data.astype(np.float64)).T, atol=1e-8)


def wide(count, width):
    """Data of clearly falling variances in random directions, far from the origin."""
    rng = np.random.default_rng(count)
    directions = np.linalg.qr(rng.normal(size=(width, count)))[0].T
    weights = np.linalg.qr(rng.normal(size=(count, count)))[0] * 0.7 ** np.arange(count)
    return (weights @ directions + 3 * rng.normal(size=width)).astype(np.float32)


@pytest.mark.parametrize("repeats", [1, 4], ids=["wide", "narrow"])
def test_small_variances_beside_a_large_one_keep_their_digits(monkeypatch, repeats):
    # Squared, the last direction is 1e-12 of the first: a matrix of squares alone knows four digits of it.
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(90, 4)))[0].T
    weights = np.linalg.qr(rng.normal(size=(30, 5)) - [[1.0, 0, 0, 0, 0]])[0][:, 1:]
    data = np.tile((weights - weights.mean(0)) * [1.0, 1e-2, 1e-4, 1e-6] @ directions, (repeats, 1))
    monkeypatch.setattr(batches, "BATCH_BYTES", 1)
    fitted = Projection.fit(data, 4)
    oracle = PCA(4, svd_solver="full").fit(data)
    np.testing.assert_allclose(fitted.explained_variance, oracle.explained_variance_, rtol=1e-8)
    up_to_signs(fitted.components, oracle.components_, atol=1e-8)


def test_wide_data_of_fewer_dimensions_than_components(monkeypatch):
    # Three places: two dimensions, and the others are arbitrary but orthonormal.
    data = np.repeat(clouds(3, 40), 5, axis=0)
    monkeypatch.setattr(batches, "BATCH_BYTES", 8 * 40 * 2)
    fitted = Projection.fit(data, 6)
    np.testing.assert_allclose(fitted.components @ fitted.components.T, np.eye(6), atol=1e-9)
    oracle = PCA(2, svd_solver="full").fit(data)
    np.testing.assert_allclose(fitted.explained_variance, [*oracle.explained_variance_, 0, 0, 0, 0], atol=1e-12)
    up_to_signs(fitted.components[:2], oracle.components_, atol=1e-9)
    np.testing.assert_allclose(fitted.transform(data)[:, 2:], 0, atol=1e-9)


def test_what_has_not_converged_says_so(monkeypatch):
    data = np.random.default_rng(0).normal(size=(300, 400))
    monkeypatch.setattr(module, "_MOST_PASSES", 3)
    close = Projection.fit(data, 3)
    assert not close.exact
    oracle = PCA(3, svd_solver="full").fit(data)
    np.testing.assert_allclose(close.explained_variance, oracle.explained_variance_, rtol=0.05)
    np.testing.assert_allclose(close.components @ close.components.T, np.eye(3), atol=1e-12)
    monkeypatch.undo()
    assert Projection.fit(data, 3).exact


# -- progress -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 300), (300, 40)], ids=["wide", "narrow"])
def test_a_line_of_progress_where_it_lasts(monkeypatch, capfd, shape):
    data = clouds(*shape)
    monkeypatch.setattr(batches, "BATCH_BYTES", 8 * 40 * 10)
    Projection.fit(data, 3, progress=True)
    assert capfd.readouterr().err == ""  # less than a second
    monkeypatch.setattr(batches, "_PROGRESS_DELAY", 0)
    Projection.fit(data, 3)
    assert capfd.readouterr().err == ""
    Projection.fit(data, 3, progress=True)
    assert "principal components: 100%|" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("shape", "n_components", "message"),
    [
        ((3, 9), 4, r"4 component\(s\) need as many items and features at least, got 3 item\(s\) with 9 feature\(s\)"),
        ((9, 3), 4, r"4 component\(s\) need .* got 9 item\(s\) with 3 feature\(s\)"),
    ],
)
def test_more_components_than_there_are(shape, n_components, message):
    with pytest.raises(ValueError, match=message):
        Projection.fit(clouds(*shape), n_components)


@pytest.mark.parametrize("batch_rows", [4096, 3])
def test_data_without_any_difference(monkeypatch, batch_rows):
    monkeypatch.setattr(batches, "BATCH_BYTES", batch_rows * 8 * 3)
    with pytest.raises(ValueError, match="the same for all 7 items: the layer does not look at the image"):
        Projection.fit(np.full((7, 3), 0.1, np.float32), 2)
    other = np.full((7, 3), 0.1, np.float32)
    other[6, 1] = 0.2
    np.testing.assert_allclose(Projection.fit(other, 2).components[0], [0, 1, 0], atol=1e-9)


def test_differences_of_rounding_alone_are_none():
    # Batches of different sizes give sums that differ in their last bit.
    data = np.full((40, 6), 0.1, np.float32)
    data[::3] = np.nextafter(np.float32(0.1), np.float32(1))
    with pytest.raises(ValueError, match="the activations are the same for all 40 items"):
        Projection.fit(data, 2)
