"""The expected IoU of new items and its interval, from arrays of a known law."""

import numpy as np
import pytest

from hdm_widgets.latent import estimator as module
from hdm_widgets.latent.estimator import CONSTANT, Conformal, Estimator
from hdm_widgets.latent.mean_intervals import mean_interval


class Law:
    """Items whose IoU follows one confidence, with an error that grows where the IoU falls."""

    def __init__(self, count, seed=0, error=0.3, empty=0.0):
        rng = np.random.default_rng(seed)
        sure = rng.random(count)
        self.components = rng.normal(size=(count, 3))
        self.confidences = {
            "soft_iou": sure,
            "mean_entropy": rng.random(count),
            "objects": rng.integers(0, 5, count) * 1.0,
        }
        self.iou = np.clip(sure + rng.uniform(-1, 1, count) * error * (1.05 - sure), 0, 1)
        self.area = np.where(rng.random(count) < empty, 0, 50)
        self.iou[self.area == 0] = 0

    def fit(self, **others):
        return Estimator.fit(self.components, self.confidences, self.iou, self.area, **others)

    def estimated(self, estimator, coverage=0.9):
        return estimator.estimate(self.components, self.confidences, self.area, coverage)


@pytest.fixture(scope="module")
def estimator():
    return Law(200, empty=0.2).fit()


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_intervals_cover_what_they_promise(estimator, coverage):
    new = Law(2000, seed=1)
    found = new.estimated(estimator, coverage)
    covered = (found.low <= new.iou) & (new.iou <= found.high)
    # 160 errors make the quantile; its coverage has a standard deviation of about sqrt(c (1 - c) / 160).
    assert covered.mean() == pytest.approx(coverage, abs=3 * np.sqrt(coverage * (1 - coverage) / 160))
    assert ((found.low <= found.iou) & (found.iou <= found.high)).all()
    assert ((found.low >= 0) & (found.high <= 1)).all()


def test_the_estimate_follows_the_law(estimator):
    new = Law(500, seed=2)
    found = new.estimated(estimator)
    assert np.abs(found.iou - new.iou).mean() < 0.1
    assert np.corrcoef(found.iou, new.iou)[0, 1] > 0.9
    assert found.iou.min() >= estimator.low
    assert found.iou.max() <= estimator.high
    assert estimator.skilled
    assert estimator.count == (Law(200, empty=0.2).area > 0).sum()
    scores = {score.name: score for score in estimator.scores}
    assert scores[estimator.name].r2 > 0.7
    assert scores[estimator.name].mae < 0.5 * scores[CONSTANT].mae
    assert {"soft_iou", "mean_entropy"} <= set(scores)
    assert scores["mean_entropy"].r2 < 0.2
    assert f"R² {scores[estimator.name].r2:.2f}" in estimator.text
    assert f"({scores[CONSTANT].mae:.3f} for {CONSTANT})" in str(estimator)


def test_intervals_are_wider_where_errors_are_larger_and_far_from_the_data(estimator):
    sure, unsure, far = (Law(40, seed=3) for _ in range(3))
    sure.confidences["soft_iou"] = np.full(40, 0.9)
    unsure.confidences["soft_iou"] = np.full(40, 0.2)
    far.confidences["soft_iou"] = np.full(40, 0.9)
    far.components = far.components + 10
    widths = [np.median(one.high - one.low) for one in (data.estimated(estimator) for data in (sure, unsure, far))]
    assert widths[0] < 0.7 * widths[1]
    assert widths[0] < 0.5 * widths[2]
    assert sure.estimated(estimator).reliable.mean() > 0.9
    assert not far.estimated(estimator).reliable.any()
    assert (far.estimated(estimator).distance > 2).all()


def test_items_of_the_map_are_mostly_near():
    law = Law(200)
    assert (law.estimated(law.fit()).distance < 1).mean() > 0.8


def test_rounding_does_not_matter(estimator):
    new = Law(300, seed=4)
    before = new.estimated(estimator)
    new.components = new.components * (1 + 1e-7)
    new.confidences = {name: values * (1 - 1e-7) for name, values in new.confidences.items()}
    after = new.estimated(estimator)
    assert (before.iou == after.iou).mean() > 0.99
    np.testing.assert_allclose(after.iou, before.iou, atol=0.02)


def test_the_same_data_and_seed_give_the_same(estimator):
    new = Law(50, seed=5)
    again = Law(200, empty=0.2).fit()
    for one, two in zip(vars(new.estimated(estimator)).values(), vars(new.estimated(again)).values(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_order_of_columns_of_new_items_does_not_matter(estimator):
    new = Law(50, seed=5)
    before = new.estimated(estimator).iou
    new.confidences = dict(reversed(new.confidences.items()))
    np.testing.assert_array_equal(new.estimated(estimator).iou, before)


def test_without_skill_the_mean_is_given_and_said():
    law = Law(120)
    law.iou = np.random.default_rng(9).permutation(law.iou)
    estimator = law.fit()
    new = Law(1000, seed=7)
    found = new.estimated(estimator)
    np.testing.assert_allclose(found.iou, law.iou.mean())
    assert not estimator.skilled
    assert not found.reliable.any()
    assert "nothing that was tried is better than the mean of the data" in estimator.text
    covered = (found.low <= new.iou) & (new.iou <= found.high)
    assert covered.mean() > 0.85


@pytest.mark.parametrize("count", [1, 29])
def test_too_few_items_give_no_interval(count):
    law = Law(count)
    estimator = law.fit()
    found = Law(5, seed=1).estimated(estimator)
    np.testing.assert_allclose(found.iou, law.iou.mean())
    assert (found.low == 0).all()
    assert (found.high == 1).all()
    assert not found.reliable.any()
    assert f"{count} items with a prediction and an IoU are too few to learn from" in estimator.text
    assert mean_interval(found.iou, found.deviation, 0.9, count, together=False) == (
        pytest.approx(law.iou.mean()),
        0,
        1,
    )


def test_constant_iou():
    law = Law(60)
    law.iou[:] = 0.7
    estimator = law.fit()
    found = law.estimated(estimator)
    for values in (found.iou, found.low, found.high):
        np.testing.assert_allclose(values, 0.7)
    assert "all items of the map have the same, 0.70" in estimator.text


def test_predictions_of_one_iou_beside_none():
    law = Law(60)
    law.iou[:], law.area[:10], law.iou[:10] = 0, 0, 1
    estimator = Estimator.fit(law.components, {}, law.iou, law.area, iou_empty=1.0)
    assert estimator.text == "expected IoU: all items of the map with a prediction have the same"
    found = estimator.estimate(law.components, {}, law.area)
    np.testing.assert_array_equal(found.iou, law.iou)


def test_of_many_items_some_are_learned_from(monkeypatch):
    monkeypatch.setattr(module, "_LARGEST", 60)
    law = Law(200)
    law.iou[::2] = np.nan
    estimator = law.fit()
    assert estimator.count == 60
    assert estimator.sampled
    assert not Law(60).fit().sampled
    assert estimator.text.endswith(", learned from 60 of 200 items, chosen at random")
    assert "chosen at random" not in Law(60).fit().text
    assert np.abs(law.estimated(estimator).iou - law.iou)[1::2].mean() < 0.15


@pytest.mark.parametrize("rows", [1, 7])
def test_new_items_are_estimated_in_batches(monkeypatch, estimator, rows):
    whole = Law(20, seed=5)
    expected = whole.estimated(estimator)
    monkeypatch.setattr(module, "_ROWS", rows)
    found = whole.estimated(estimator)
    for name, values in vars(expected).items():
        np.testing.assert_allclose(vars(found)[name], values, rtol=0, atol=1e-12, err_msg=name)


def test_no_iou_at_all():
    law = Law(60)
    law.iou[:] = np.nan
    with pytest.raises(ValueError, match="no item of the map has an IoU to learn from"):
        law.fit()


def test_items_without_an_iou_are_left_out():
    law, part = Law(200), Law(200)
    law.iou[::2] = np.nan
    estimator = law.fit()
    assert estimator.count == 100
    assert np.isfinite(part.estimated(estimator).iou).all()


def test_errors_are_those_of_the_items_that_are_learned_from(estimator):
    law = Law(200, empty=0.2)
    assert estimator.errors.shape == (200,)
    np.testing.assert_array_equal(np.isfinite(estimator.errors), law.area > 0)
    left_out = law.iou - law.estimated(estimator).iou
    assert np.corrcoef(estimator.errors[law.area > 0], left_out[law.area > 0])[0, 1] > 0.8
    assert np.isnan(Law(29).fit().errors).all()


def test_errors_stand_at_the_items_that_are_chosen_of_many(monkeypatch):
    monkeypatch.setattr(module, "_LARGEST", 60)
    law = Law(200)
    law.iou[::2] = np.nan
    assert np.flatnonzero(np.isfinite(law.fit().errors)).size == 60
    assert (np.flatnonzero(np.isfinite(law.fit().errors)) % 2 == 1).all()


# -- where nothing is predicted -----------------------------------------------------------------------


def nothing(estimator, count=3):
    new = Law(count, seed=1)
    new.area[:] = 0
    new.confidences["soft_iou"][:] = np.nan
    return new.estimated(estimator)


@pytest.mark.parametrize("iou_empty", [0.0, np.nan])
@pytest.mark.parametrize("seen", [0.0, 0.3])
def test_nothing_has_no_overlap(seen, iou_empty):
    found = nothing(Law(100, empty=seen).fit(iou_empty=iou_empty))
    for values in (found.iou, found.low, found.high, found.deviation):
        assert (values == 0).all()
    assert found.reliable.all()
    assert found.certain.all()


@pytest.mark.parametrize(
    ("iou_empty", "iou", "counts"),
    [
        pytest.param(np.nan, [np.nan] * 15 + [0] * 5, 0.25, id="some with a truth"),
        pytest.param(np.nan, [np.nan] * 20, 0, id="none with a truth"),
        pytest.param(np.nan, [0] * 20, 1, id="all with a truth"),
        pytest.param(0.0, [0] * 20, 1, id="an empty union counts"),
    ],
)
def test_nothing_counts_as_often_as_it_had_an_iou(iou_empty, iou, counts):
    law = Law(100)
    law.area[:20], law.iou[:20] = 0, iou
    estimator = law.fit(iou_empty=iou_empty)
    assert estimator.counts_if_nothing == counts
    np.testing.assert_array_equal(law.estimated(estimator).weight, [counts] * 20 + [1] * 80)


def test_nothing_gets_what_it_has_earned():
    law = Law(100)
    law.area[:20] = 0
    # A truth that is empty too in 19 of 20.
    law.iou[:20] = [1] * 19 + [0]
    found = nothing(law.fit(iou_empty=1.0))
    np.testing.assert_allclose(found.iou, 0.95)
    assert not found.certain.any()
    # The 19th of 20 errors, 0.05, is the quantile of 0.9: ceil(21 * 0.9) = 19.
    np.testing.assert_allclose(found.low, 0.9)
    np.testing.assert_allclose(found.high, 1)
    np.testing.assert_allclose(found.deviation, np.sqrt((19 * 0.05**2 + 0.95**2) / 20))


def test_nothing_that_was_never_seen():
    found = nothing(Law(100).fit(iou_empty=1.0))
    np.testing.assert_allclose(found.iou, 0.5)
    assert (found.low == 0).all()
    assert (found.high == 1).all()
    assert not found.reliable.any()


def test_a_model_that_never_predicts_anything():
    law = Law(50, empty=1.1)
    estimator = law.fit()
    assert estimator.count == 0
    assert estimator.text == (
        "expected IoU: the model predicts nothing on any item of the map with an IoU, so it can be told only for items "
        "without a prediction"
    )
    assert (nothing(estimator).iou == 0).all()
    found = nothing(estimator)
    assert mean_interval(found.iou, found.deviation, 0.9, 0, together=False) == (0, 0, 0)
    found = Law(3, seed=1).estimated(estimator)
    assert (found.low == 0).all()
    assert (found.high == 1).all()
    assert not found.reliable.any()


# -- by hand ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "coverage", "factor"), [(9, 0.9, 9), (8, 0.9, np.inf), (19, 0.9, 18), (3, 0.5, 2), (0, 0.9, np.inf)]
)
def test_the_quantile_for_finite_samples(count, coverage, factor):
    assert Conformal(np.arange(1.0, count + 1)).factor(coverage) == factor


@pytest.mark.parametrize(("together", "error"), [(False, np.hypot(0.1 / 2, 0.1 / 5)), (True, np.hypot(0.1 / 2, 0.1))])
def test_the_interval_of_the_mean(together, error):
    mean, low, high = mean_interval(np.array([0.2, 0.4, 0.6, 0.8]), np.full(4, 0.1), 0.9, 25, together=together)
    assert mean == pytest.approx(0.5)
    assert high - mean == pytest.approx(1.6448536 * error)
    assert mean - low == pytest.approx(1.6448536 * error)


def test_the_mean_is_that_of_the_items_that_have_an_iou():
    iou, deviation, weight = np.array([0.8, 0.6, 0, 0]), np.array([0.1, 0.1, 0, 0]), np.array([1, 1, 0.25, 0])
    mean, low, high = mean_interval(iou, deviation, 0.9, 10**9, together=False, weight=weight)
    assert mean == pytest.approx(1.4 / 2.25)
    error = np.sqrt(2 * 0.1**2 + 0.25 * 0.75 * mean**2) / 2.25
    assert (high - mean, mean - low) == pytest.approx((1.6448536 * error,) * 2, rel=1e-3)
    assert np.isnan(mean_interval(iou, deviation, 0.9, 100, together=False, weight=np.zeros(4))).all()


@pytest.mark.parametrize(("coverage", "fewest"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999)])
def test_the_fewest_errors_that_give_an_interval(coverage, fewest):
    assert Conformal.fewest(coverage) == fewest
    assert np.isfinite(Conformal(np.ones(fewest)).factor(coverage))
    assert np.isinf(Conformal(np.ones(fewest - 1)).factor(coverage))
