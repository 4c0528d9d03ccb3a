import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hdm_widgets.latent import surface as module
from hdm_widgets.latent.surface import Regressor, Support, rounded, rounding_step, surface


def places(count, seed=0, low=-1.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, (count, 2)) * [3, 1]


def hill(coordinates):
    """High in the middle, low to the sides: a smooth IoU of the place."""
    return 0.1 + 0.8 * np.exp(-(coordinates[:, 0] ** 2) / 4 - coordinates[:, 1] ** 2)


# -- the network --------------------------------------------------------------------------------------


def test_a_smooth_function_is_learned():
    coordinates = places(300)
    regressor = Regressor.fit(coordinates, hill(coordinates))
    assert regressor.score > 0.97
    others = places(200, seed=1)
    np.testing.assert_allclose(regressor.predict(others), hill(others), atol=0.08)
    assert np.abs(regressor.predict(others) - hill(others)).mean() < 0.01
    assert regressor.trained_on == 300


def test_the_progress_of_the_training_is_told():
    told = []
    Regressor.fit(places(20), hill(places(20)), progress=lambda done, total: told.append((done, total)))
    assert told == [(step, 600) for step in range(1, 601)]


def test_the_score_of_noise_is_no_better_than_the_mean():
    # The network fits what it was trained on, noise or not; items left out tell.
    coordinates = places(60)
    values = np.random.default_rng(1).random(60)
    regressor = Regressor.fit(coordinates, values)
    residuals = regressor.predict(coordinates) - values
    assert 1 - residuals.var() / values.var() > 0.3
    assert regressor.score < 0.05


def test_the_same_every_time():
    coordinates = places(60)
    one, two = (Regressor.fit(coordinates, hill(coordinates), random_state=4) for _ in range(2))
    other = Regressor.fit(coordinates, hill(coordinates), random_state=5)
    np.testing.assert_array_equal(one.predict(coordinates), two.predict(coordinates))
    assert one.score == two.score
    assert not np.array_equal(one.predict(coordinates), other.predict(coordinates))


def test_predictions_are_those_of_scikit_learns_network():
    coordinates = places(80)
    regressor = Regressor.fit(coordinates, hill(coordinates))
    np.testing.assert_allclose(regressor.center, coordinates.mean(0))
    np.testing.assert_allclose(regressor.scale, coordinates.std(0))
    sizes = tuple(len(bias) for bias in regressor.biases[:-1])
    # Any training makes the attributes; then the weights are put in.
    network = MLPRegressor(hidden_layer_sizes=sizes, activation="tanh", solver="lbfgs", tol=1e9).fit(
        coordinates[:4], np.zeros(4)
    )
    network.coefs_, network.intercepts_ = list(regressor.weights), list(regressor.biases)
    others = places(100, seed=2, low=-2, high=2)
    expected = network.predict((others - coordinates.mean(0)) / coordinates.std(0))
    low, high = hill(coordinates).min(), hill(coordinates).max()
    assert (expected < low).any() or (expected > high).any()  # the network alone leaves the range of the items
    np.testing.assert_allclose(regressor.predict(others), np.clip(expected, low, high), rtol=1e-10)
    assert (regressor.low, regressor.high) == (low, high)


class Scheduled(RegressorMixin, BaseEstimator):
    """scikit-learn's own Adam on all items at once, with a rate that falls by half a cosine."""

    def __init__(self, random_state=0):
        self.random_state = random_state

    def fit(self, inputs, targets):
        self.network_ = MLPRegressor(
            hidden_layer_sizes=(32, 32), activation="tanh", solver="adam", alpha=1e-2, batch_size=len(inputs),
            shuffle=False, learning_rate_init=0.05, random_state=self.random_state,
        )  # fmt: skip
        for iteration in range(600):
            if iteration:
                self.network_._optimizer.learning_rate_init = 0.025 * (1 + np.cos(np.pi * iteration / 600))
            self.network_.partial_fit(inputs, targets)
        return self

    def predict(self, inputs):
        return self.network_.predict(inputs)


@pytest.mark.parametrize(("count", "random_state"), [(3, 0), (40, 1), (120, 2)])
def test_the_training_is_that_of_scikit_learn(count, random_state):
    coordinates = places(count)
    values = hill(coordinates)
    pipeline = make_pipeline(StandardScaler(), Scheduled(random_state))
    score = np.nan
    if count == 40:
        folds = KFold(5, shuffle=True, random_state=random_state)
        score = cross_val_score(pipeline, coordinates, values, cv=folds, scoring="r2").mean()
    pipeline.fit(coordinates, values)
    got = Regressor.fit(coordinates, values, random_state=random_state)
    if count == 40:
        np.testing.assert_allclose(got.score, score, atol=1e-6)
    expected = np.clip(pipeline.predict(coordinates), values.min(), values.max())
    np.testing.assert_allclose(got.predict(coordinates), expected, atol=1e-6)
    assert [weight.shape for weight in got.weights] == [weight.shape for weight in pipeline[-1].network_.coefs_]


def strips(coordinates):
    return 0.8 * (np.sin(4 * coordinates[:, 0]) > 0)


def noise(coordinates):
    return np.random.default_rng(2).random(len(coordinates))


@pytest.mark.parametrize("values", [hill, strips, noise])
@pytest.mark.parametrize("count", [12, 300])
def test_rounding_is_not_amplified(values, count):
    # L-BFGS made differences of 0.05 of it, and 0.01 in the score.
    coordinates = places(count)
    moved = coordinates * (1 + 1e-6 * np.random.default_rng(1).uniform(-1, 1, coordinates.shape))
    one, other = (Regressor.fit(points, values(coordinates)) for points in (coordinates, moved))
    grid = places(500, seed=2)
    np.testing.assert_allclose(one.predict(grid), other.predict(grid), atol=2e-4)
    np.testing.assert_allclose(one.score, other.score, atol=2e-4)


def test_the_network_of_an_older_file_is_rectified():
    weights, biases = (np.array([[1.0, -1], [0, 0]]), np.array([[2.0], [3]])), (np.zeros(2), np.array([0.5]))
    old = Regressor(np.zeros(2), np.ones(2), weights, biases, -9, 9, 0.5, 4, True, "relu")
    # 2 to the right of 0, 3 to the left of it.
    np.testing.assert_allclose(old.predict(np.array([[2.0, 1], [-1, 5]])), [4.5, 3.5])
    new = replace(old, activation="tanh")
    np.testing.assert_allclose(new.predict(np.array([[2.0, 1], [-1, 5]])), 0.5 - np.tanh([2, -1]))


def test_components_are_rounded_to_a_power_of_two():
    # A standard deviation of 2 has steps of 1/64, one of 3.9 too, and one of 0.1 of 1/2048.
    deviations = np.array([2.0, 3.9, 0.1])
    coordinates = np.array([-1.0, 1])[:, None] * deviations
    got = rounded(coordinates)
    np.testing.assert_array_equal(got, np.round(coordinates * [64, 64, 2048]) / [64, 64, 2048])
    np.testing.assert_allclose(got[1], [2, 250 / 64, 205 / 2048])
    np.testing.assert_array_equal(rounded(np.full((3, 2), 0.3)), np.full((3, 2), 38 / 128))
    many = places(300)
    moved = many * (1 + 1e-9 * np.random.default_rng(1).uniform(-1, 1, many.shape))
    np.testing.assert_array_equal(rounded(moved), rounded(many))


@pytest.mark.parametrize("in_main_thread", [True, False])
def test_threads_of_matrix_products_are_limited_from_the_main_thread_alone(monkeypatch, in_main_thread):
    limits = []

    @contextmanager
    def limited(*args, **options):
        limits.append((args, options))
        yield

    monkeypatch.setattr(module, "threadpool_limits", limited)
    coordinates = places(12)
    job = threading.Thread(target=Regressor.fit, args=(coordinates, hill(coordinates)))
    job.run() if in_main_thread else job.start()
    if not in_main_thread:
        job.join()
    assert limits == ([((1,), {"user_api": "blas"})] if in_main_thread else [])


def test_items_without_iou_are_left_out():
    coordinates = places(60)
    values = hill(coordinates)
    gaps = np.random.default_rng(3).random(60) < 0.3
    with_gaps = Regressor.fit(coordinates, np.where(gaps, np.nan, values))
    without = Regressor.fit(coordinates[~gaps], values[~gaps])
    assert with_gaps.trained_on == without.trained_on == int((~gaps).sum())
    assert with_gaps.score == without.score
    np.testing.assert_array_equal(with_gaps.predict(coordinates), without.predict(coordinates))


def test_no_item_has_an_iou():
    assert Regressor.fit(places(5), np.full(5, np.nan)) is None


@pytest.mark.parametrize(("count", "scored"), [(9, False), (10, True)])
def test_few_items_tell_nothing_of_others(count, scored):
    coordinates = places(count)
    regressor = Regressor.fit(coordinates, hill(coordinates))
    assert np.isfinite(regressor.score) == scored
    assert regressor.trained_on == count


@pytest.mark.parametrize("count", [1, 3, 40])
def test_items_of_one_iou_have_no_score(count):
    regressor = Regressor.fit(places(count), np.full(count, 0.7))
    assert np.isnan(regressor.score)
    np.testing.assert_allclose(regressor.predict(places(20, seed=1)), 0.7)


def test_items_at_one_place():
    values = np.linspace(0, 1, 12)
    regressor = Regressor.fit(np.zeros((12, 2)), values)
    assert regressor.predict(np.zeros((1, 2)))[0] == pytest.approx(0.5, abs=0.05)
    assert regressor.score < 0.05


def test_of_many_items_some_are_chosen_by_chance(monkeypatch):
    monkeypatch.setattr(module, "_LARGEST", 100)
    coordinates = places(400)
    values = np.where(np.arange(400) < 200, hill(coordinates), np.nan)
    regressor = Regressor.fit(coordinates, values)
    assert regressor.trained_on == 100
    assert regressor.score > 0.9
    # From all over, not the first ones.
    ordered = np.argsort(coordinates[:200, 0])
    regressor = Regressor.fit(coordinates[ordered], values[ordered])
    assert (regressor.center[0], regressor.scale[0]) == pytest.approx((0, np.sqrt(3)), abs=0.35)


def test_a_training_that_was_stopped_says_so():
    coordinates = places(100)
    assert isinstance(Regressor.fit(coordinates, hill(coordinates)).converged, bool)
    flat = Regressor.fit(coordinates, np.full(100, 0.5))
    assert flat.converged
    rough = Regressor.fit(coordinates, np.random.default_rng(0).random(100))
    assert not rough.converged


# -- where there is support ---------------------------------------------------------------------------

# 21 items a step apart on a line. The fifth other item is 3 steps away, at the two items next to an end 4, at an
# end 5: the one in twenty that exceeds the usual is an end, so 5 steps are usual.
LINE = np.stack([np.arange(21.0), np.full(21, 2.0)], axis=1)


def on_the_line(*steps):
    return np.array([[step, 2.0] for step in steps], dtype=float)


def test_distance_to_the_items_by_hand():
    support = Support(LINE)
    # The fifth nearest items are 2, 4, 4.5, 6 and 9 steps away.
    got = support.distance(on_the_line(10, 20, 20.5, 22, 25))
    np.testing.assert_allclose(got, [0.4, 0.8, 0.9, 1.2, 1.8])
    np.testing.assert_allclose(support.weight(on_the_line(10, 20, 20.5, 22, 25)), [1, 1, 1, 0.6, 0])


def test_support_does_not_depend_on_units():
    cloud, others = places(60), places(40, seed=1, low=-2, high=2)
    units = np.array([1000, 0.01])
    np.testing.assert_allclose(
        Support(cloud * units + 7).distance(others * units + 7), Support(cloud).distance(others), rtol=1e-9
    )


def test_support_within_the_data_and_none_far_away():
    cloud = np.random.default_rng(0).normal(size=(200, 2))
    support = Support(cloud)
    usual = support.distance(cloud)
    assert np.mean(usual <= 1) >= 0.95
    assert support.weight(np.zeros((1, 2)))[0] == 1
    far = 6 * np.stack([np.cos(np.arange(8)), np.sin(np.arange(8))], axis=1)
    np.testing.assert_array_equal(support.weight(far), 0)


def test_an_outlier_alone_supports_nothing():
    cloud = np.random.default_rng(0).normal(size=(200, 2))
    outlier = np.array([[8.0, 8.0]])
    support = Support(np.concatenate([cloud, outlier]))
    assert support.weight(outlier)[0] == 0
    # Two groups are both supported, and the gap between them is not.
    support = Support(np.concatenate([cloud, cloud + 20]))
    np.testing.assert_array_equal(support.weight(np.array([[0.0, 0], [20, 20], [10, 10]])), [1, 1, 0])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_items_support_their_own_places(count):
    items = on_the_line(*range(count))
    support = Support(items)
    np.testing.assert_array_equal(support.weight(items), 1)
    assert support.weight(on_the_line(1000))[0] == 0


@pytest.mark.parametrize("value", [0.9, 0.1, 0.3, 1.0, 1e6 / 3])
def test_a_constant_column_has_the_scale_1(value):
    # The mean of equal numbers differs from them by rounding.
    constant = np.full((200, 1), value)
    np.testing.assert_array_equal(rounding_step(constant), 1 / 128)
    cloud = places(200)
    support = Support(np.hstack([cloud, constant]))
    np.testing.assert_allclose(support.distance(np.hstack([cloud, constant])), Support(cloud).distance(cloud))
    aside = np.hstack([cloud, constant + 1e-4])
    np.testing.assert_allclose(support.distance(aside), Support(cloud).distance(cloud), rtol=1e-3, atol=1e-3)


# -- the grid -----------------------------------------------------------------------------------------


def test_the_grid_covers_the_items_and_a_margin():
    items = np.array([[0.0, 10], [100, 20], [50, 15], [30, 12]])
    grid = surface(None, Support(items), items, (3, 5))
    np.testing.assert_allclose(grid.x, [-8, 21, 50, 79, 108])
    np.testing.assert_allclose(grid.y, [9.2, 15, 20.8])
    for part in (grid.values, grid.supported, grid.support):
        assert part.shape == (3, 5)
    assert np.isnan(grid.values).all()  # no item has an IoU


def test_every_cell_is_what_is_expected_and_supported_there():
    items = places(100)
    regressor, support = Regressor.fit(items, hill(items)), Support(items)
    grid = surface(regressor, support, items, (12, 20))
    assert grid.supported.any()
    assert not grid.supported.all()
    for row in range(12):
        for col in range(20):
            place = np.array([[grid.x[col], grid.y[row]]])
            assert grid.values[row, col] == pytest.approx(regressor.predict(place)[0], rel=1e-12)
            assert grid.support[row, col] == pytest.approx(support.weight(place)[0], abs=1e-12)
    np.testing.assert_array_equal(grid.supported, grid.support > 0)
    assert grid.values.min() >= hill(items).min()
    assert grid.values.max() <= hill(items).max()


def test_a_grid_between_bounds_has_the_values_of_its_points():
    items = places(100)
    regressor, support = Regressor.fit(items, hill(items)), Support(items)
    # The middle of it, every cell as large as one of the whole.
    whole = surface(regressor, support, items, (21, 31))
    rows, cols = slice(5, 16), slice(8, 20)
    x, y = whole.x[cols], whole.y[rows]
    part = surface(regressor, support, items, (11, 12), (x[0], x[-1], y[0], y[-1]))
    np.testing.assert_allclose(part.x, x)
    np.testing.assert_allclose(part.y, y)
    np.testing.assert_allclose(part.values, whole.values[rows, cols], rtol=1e-9)
    np.testing.assert_allclose(part.support, whole.support[rows, cols], atol=1e-9)


def test_support_ends_at_one_and_a_half_times_the_distance_among_the_items():
    items = places(100)
    support = Support(items)
    around = np.random.default_rng(0).uniform(-6, 6, (2000, 2))
    distance = support.distance(around)
    np.testing.assert_allclose(support.weight(around), np.interp(distance, [1, 1.5], [1, 0]), atol=1e-12)
    assert ((distance > 1.4) & (distance < 1.6)).sum() > 10


def test_items_on_a_line_have_a_grid_with_some_height():
    grid = surface(None, Support(LINE), LINE, (3, 3))
    np.testing.assert_allclose(grid.y, [1, 2, 3])
    np.testing.assert_allclose(grid.x, [-1.6, 10, 21.6])
    assert grid.supported[1, 1]


def test_only_the_first_two_components_count():
    items = np.random.default_rng(0).normal(size=(50, 5))
    grid = surface(None, Support(items[:, :2]), items, (4, 4))
    low, high = items[:, :2].min(0), items[:, :2].max(0)
    np.testing.assert_allclose([grid.x[0], grid.y[0]], low - 0.08 * (high - low))
