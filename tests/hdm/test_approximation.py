"""Scans that estimate: what they say of their own error is true."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from architectures import made
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity as reference_similarity
from torch.nn import functional as F
from window_checks import random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.approximation import Approximation, structural_similarity
from hdm_widgets.hdm.backends import Inference, Outputs
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.messages import map_message
from hdm_widgets.hdm.uncertainty import Uncertainty

QUIET = {"progress": False}


@pytest.fixture(autouse=True)
def estimates_stay(monkeypatch):
    """Of so small a network estimates may take as long as what they stand for, and are given up then."""
    monkeypatch.setattr(Inference, "estimates_are_slower", False)
    monkeypatch.setattr(Inference, "first_map_is_slow", False)


def scene():
    coarse = random_image(1, 8, 9)
    return F.interpolate(coarse[None], size=(64, 72), mode="bicubic")[0].clamp(0.05, 1)


@pytest.fixture(scope="module")
def network():
    """A network, a image and its own mask as the segment."""
    model, image = randomized(made(lambda: hw.UNet(1, 1, 4, 2))), scene()
    return model, image, hw.Segmenter(model).masks(image[None])[0]


@pytest.fixture(scope="module")
def exact(network):
    return explainer_for().explain(*network, inference="full", **QUIET)


def explainer_for(offset=6):
    explainer = hdm.HausdorffDistanceMasks(72, 64)
    explainer.generate_masks(9, offset)
    return explainer


def approximate(network, tolerance, explainer=None, **options):
    return (explainer or explainer_for()).explain(
        *network, inference="estimate", tolerance=tolerance, **options, **QUIET
    )


def first_estimates(network, region):
    """The estimates of the first stage, as they were before its cells were measured."""
    estimates = np.full((10, 12), np.nan)
    for update in explainer_for().stream(*network, tolerance=0.2, region=region):
        fresh = update.result.estimated & np.isnan(estimates)
        estimates[fresh] = update.result.values[fresh]
    return estimates


# -- scans --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("region", [None, (3, 3, 50, 49)])
def test_the_error_is_that_of_the_first_stage(network, exact, region):
    result = approximate(network, 0.2, region=region)
    assert result.plan.backend in ("windowed", "folded")
    assert result.plan.tolerance == result.settings.tolerance == 0.2
    assert result.complete
    _, cells = result.grid.stages()[0]
    cells = cells[result.measured[cells[:, 0], cells[:, 1]]]
    rows, cols = cells.T
    np.testing.assert_array_equal(result.values[rows, cols], exact.values[rows, cols])
    estimated = result.estimated.copy()
    estimated[rows, cols] = True
    np.testing.assert_array_equal(estimated, result.measured)
    assert not result.estimated[rows, cols].any()
    # What was estimated there, before it was measured.
    ours = first_estimates(network, region)[rows, cols]
    true = exact.values[rows, cols]
    said = result.approximation
    assert said.tolerance == 0.2
    assert said.cells == len(cells) < result.measured.sum()
    # There is something to say.
    assert (ours != true).any()
    assert said.largest_difference == np.abs(ours - true).max()
    assert said.mean_difference == pytest.approx(np.abs(ours - true).mean())
    assert said.rank_correlation == pytest.approx(spearmanr(ours, true).statistic)
    assert said.rank_correlation < 1
    assert said.equal == (ours == true).mean()
    differences = np.sort(np.abs(ours - true))
    assert said.percentile_95 in differences
    assert (differences <= said.percentile_95).mean() >= 0.95
    # A coarse map; what is not in the region is the same in both.
    maps = np.zeros((2, *result.grid.shape))
    maps[:, rows, cols] = ours, true
    coarse = maps[:, np.unique(rows)][:, :, np.unique(cols)]
    assert said.ssim == pytest.approx(similarity_by_reference(*coarse))
    assert said.ssim < 1


def test_a_larger_tolerance_is_further_off(network, exact):
    errors = [np.abs(approximate(network, tolerance).values - exact.values).mean() for tolerance in (1e-6, 0.05, 0.5)]
    assert errors[0] < 0.1
    assert errors[0] < errors[1] < errors[2]


def test_a_tiny_tolerance_is_all_but_exact(network, exact):
    """What a few discs do tells how far changes are followed; others may go farther."""
    result = approximate(network, 1e-9)
    assert (result.values == exact.values).mean() > 0.95
    for row, col in np.ndindex(result.grid.shape):
        assert (result.output(row, col) != exact.output(row, col)).mean() < 0.01
    said = result.approximation
    assert (said.rank_correlation, said.largest_difference, said.mean_difference, said.ssim) == (1, 0, 0, 1)
    assert (said.equal, said.percentile_95) == (1, 0)


def test_windows_shrink(network):
    """Less is computed, the larger the tolerance."""
    factors = [explainer_for().plan(*network, tolerance=tolerance).estimate_factor for tolerance in (1e-9, 0.02, 0.3)]
    assert 0.9 < factors[0] < factors[1] < factors[2]


@pytest.fixture
def normed(monkeypatch):
    """A network that looks at all of the image, with an image and its own mask; first maps are worth it."""
    monkeypatch.setattr("hdm_widgets.hdm.plan._WORTH_ESTIMATING_SECONDS", 0.0)
    monkeypatch.setattr("hdm_widgets.hdm.plan._WORTH_TRACING_SECONDS", 0.0)
    conv = torch.nn.Conv2d
    layers = [conv(1, 4, 3, padding=1), torch.nn.GroupNorm(2, 4), torch.nn.ReLU(), conv(4, 1, 3, padding=1)]
    model = randomized(torch.nn.Sequential(*layers))
    with torch.no_grad():
        model[3].bias -= model(scene()[None]).median()
    return model, scene(), hw.Segmenter(model).masks(scene()[None])[0]


def test_a_first_map_is_estimated_and_then_measured(normed, tmp_path):
    updates = list(explainer_for().stream(*normed))
    plan = updates[-1].result.plan
    assert plan.estimate_factor > 4
    assert plan.tolerance is None
    assert "; a first map is estimated, with about" in str(plan)
    estimated = [int(update.result.estimated.sum()) for update in updates]
    top = estimated.index(max(estimated))
    first = updates[top]
    # All of them, but for two that are measured to know how far estimates are off, before any other is.
    assert first.result.measured.all()
    assert first.done == 120 - estimated[top] == 2
    valued = [int(update.result.measured.sum()) for update in updates]
    assert valued == sorted(valued)
    assert estimated[top:] == sorted(estimated[top:], reverse=True)
    for update in updates:
        result = update.result
        assert update.done == (result.measured & ~result.estimated).sum()
        assert result.complete == (update.done == update.total)
        # The pace is that of what is measured.
        if update.done:
            assert 0 < update.estimating < update.seconds
            pace = (update.seconds - update.estimating) / update.done
            assert update.seconds_left == pytest.approx(pace * (update.total - update.done))
    half = next(update.result for update in updates[top:] if 60 <= update.done < 120)
    whole = explainer_for().explain(*normed, inference="full", **QUIET)
    exact = half.measured & ~half.estimated
    np.testing.assert_array_equal(half.values[exact], whole.values[exact])
    assert half.approximation.known
    assert half.approximation.rank_correlation > 0.8
    with pytest.raises(ValueError, match=f"{half.estimated.sum()} of 120 cells are not measured yet"):
        half.to_html(tmp_path / "half.html")
    assert half.estimates.startswith(f"{half.estimated.sum()} of 120 cells are estimated; tolerance 0.01; on ")
    last = updates[-1].result
    np.testing.assert_array_equal(last.values, whole.values)
    assert last.estimates == ""
    assert last.approximation is None
    assert np.abs(first.result.values - whole.values).mean() < 1


def test_estimates_that_may_be_wrong_are_measured_first(normed, monkeypatch):
    model, image, segment = normed
    with torch.inference_mode():
        off = float(model(image[None]).std()) / 10

    def shifted(self, changes, items):
        with torch.inference_mode():
            raw = model(changes.images(items)) + off
        yield Outputs.from_whole(items, raw)

    monkeypatch.setattr(Inference, "estimates", shifted)
    updates = list(explainer_for().stream(*normed))
    first = max(updates, key=lambda update: update.result.estimated.sum()).result
    last = updates[-1].result
    # The same in plain torch: estimated maps are too high by `off`, so outlines are looked for as far to both sides.
    bounds = []
    for row, col in np.ndindex(10, 12):
        disc = torch.from_numpy(last.grid.mask(row, col))
        with torch.inference_mode():
            raw = model(torch.where(disc, 0.0, image)[None])[0, 0].double()
        found = [hw.metrics.hausdorff_distance(raw.numpy() > -by, segment) for by in (0, off, 2 * off)]
        bounds.append((*found, max(found) - min(found)))
    exact, estimate, _, width = np.array(bounds).T.reshape(4, 10, 12)
    np.testing.assert_array_equal(last.values, exact)
    np.testing.assert_array_equal(first.values[first.estimated], estimate[first.estimated])
    order = np.concatenate(
        [update.cells for update in updates if not update.result.estimated[tuple(update.cells.T)].any()]
    )
    order = order[len(order) - 90 :]
    _, coarse = last.grid.stages()[0]
    assert not {*map(tuple, order.tolist())} & {*map(tuple, coarse.tolist())}
    early, late = (np.array([width[tuple(cell)] for cell in part]) for part in (order[:48], order[48:]))
    assert early.min() >= late.max()
    assert early.max() > 0
    # No other estimate is wrong.
    assert (exact == estimate)[width == 0].all()
    assert 0 < (exact != estimate).sum() < 120
    # What the error says is not made worse by the cells that were chosen for it.
    done = [update.result.approximation.cells for update in updates if update.done > 30 and update.result.approximation]
    assert set(done) == {30}


@pytest.mark.parametrize(("value", "below", "above", "width"), [
    (3.0, 3.0, 3.0, 0), (3.0, 2.0, 7.0, 5), (3.0, 4.0, 5.0, 2), (3.0, np.inf, 3.0, 6), (np.nan, 3.0, 3.0, 6),
    (np.nan, np.nan, np.inf, 0),
])  # fmt: skip
def test_widths_of_intervals(network, value, below, above, width):
    uncertainty = Uncertainty(hw.Segmenter(network[0]), None, Grid(4, 12, 2, 4))
    uncertainty.keep(np.array([[0, 1], [0, 2]]), np.array([[below, 8.0], [above, 8.0]]))
    # What is not known is 0; infinity and NaN count as one more than the largest value, 8.
    np.testing.assert_array_equal(uncertainty.widths(np.array([[np.inf, value, 8.0]])), [[0, width, 0]])


def test_what_a_screen_is_sent_of_a_first_map(normed):
    updates = [update for update in explainer_for().stream(*normed) if update.result.measured.any()]
    messages = [map_message(update) for update in updates]
    for update, message in zip(updates, messages, strict=True):
        result = update.result
        exact = result.measured & ~result.estimated
        for name, expected in (("measured", exact), ("valued", result.measured)):
            told = np.unpackbits(np.frombuffer(message[name], np.uint8))[:120].reshape(10, 12)
            np.testing.assert_array_equal(told, expected)
        assert message["done"] == (exact.sum() or result.estimated.sum()) > 0
        assert message["plan"].endswith(result.estimates)
    assert messages[-1]["done"] == messages[-1]["total"] == 120


def test_estimates_that_fail_are_given_up(normed, monkeypatch):
    def failing(self, changes, items):
        yield from itertools.islice(estimates(self, changes, items), 1)
        raise RuntimeError("no kernel for this\nand more")

    estimates = Inference.estimates
    monkeypatch.setattr(Inference, "estimates", failing)
    updates = list(explainer_for().stream(*normed))
    whole = explainer_for().explain(*normed, inference="full", **QUIET)
    last = updates[-1].result
    assert any(update.result.estimated.any() for update in updates)
    assert last.complete
    assert str(last.plan).endswith("; estimates failed, so that every cell is measured (no kernel for this)")
    np.testing.assert_array_equal(last.values, whole.values)
    for row, col in np.ndindex(last.grid.shape):
        np.testing.assert_array_equal(last.output(row, col), whole.output(row, col))


@pytest.mark.parametrize("fewest", [8, 40], ids=["after the coarse grid", "later"])
def test_a_first_map_that_tells_little_is_given_up(normed, monkeypatch, fewest):
    def misleading(self, changes, items):
        for outputs in estimates(self, changes, items):
            # One pixel is drawn, anywhere.
            raw = torch.full((len(outputs.items), 1, 64, 72), -1.0)
            for place, item in enumerate(outputs.items.tolist()):
                raw[place, 0, 37 * item % 64, 53 * item % 72] = 1
            yield Outputs.from_whole(outputs.items, raw)

    estimates = Inference.estimates
    monkeypatch.setattr(Inference, "estimates", misleading)
    # Where many discs change nothing, few cells of the coarse grid were estimated.
    monkeypatch.setattr("hdm_widgets.hdm.running_scan._FEWEST_COMPARED", fewest)
    updates = list(explainer_for().stream(*normed))
    whole = explainer_for().explain(*normed, inference="full", **QUIET)
    last = updates[-1].result
    shown = [bool(update.result.estimated.any()) for update in updates]
    given_up = len(shown) - shown[::-1].index(True)
    compared = updates[given_up].done
    _, cells = last.grid.stages()[0]
    assert len(cells) == 30
    assert compared == 30 if fewest == 8 else 40 <= compared < 120
    # From then on there is what was measured, and nothing else.
    measured = updates[given_up].result.measured
    assert measured.sum() == compared
    assert measured[tuple(cells.T)].all()
    first, true = (result.values[tuple(cells.T)] for result in (updates[shown.index(True)].result, whole))
    why = rf"of {compared} cells they explain \d+% of the variance"
    assert re.search(rf"; estimates failed, so that every cell is measured \({why}\)$", str(last.plan))
    assert np.isnan(first).any() or ((first - true) ** 2).mean() > 0.5 * true.var()
    np.testing.assert_array_equal(last.values, whole.values)


def test_nobody_looks_at_the_first_map_of_a_quiet_scan(normed):
    scan = explainer_for().prepare(*normed)
    assert replace(scan, quiet=True).plan().estimate_factor is None
    assert scan.plan().estimate_factor > 4


def test_an_exact_scan_says_nothing(network, exact):
    assert exact.approximation is None
    assert exact.settings.tolerance is None
    result = explainer_for().explain(*network, inference="windowed", **QUIET)
    assert result.approximation is result.plan.tolerance is None


@pytest.mark.parametrize(("offset", "stages", "cells"), [(8, 2, 20), (16, 1, 16)])
def test_a_scan_of_one_stage_says_it_too(network, offset, stages, cells):
    result = approximate(network, 0.2, explainer_for(offset))
    assert len(result.grid.stages()) == stages
    assert result.approximation.cells == cells


def test_the_error_is_known_after_the_first_stage(network):
    explainer = explainer_for()
    updates = list(explainer.stream(*network, tolerance=0.2))
    known = [bool(update.result.approximation and update.result.approximation.known) for update in updates]
    first = known.index(True)
    assert all(known[first:])
    assert updates[-1].done == updates[-1].total


def test_where_there_are_no_windows_the_scan_is_exact(network, exact):
    model, image, segment = network
    result = explainer_for().explain(lambda images: model(images).detach(), image, segment, tolerance=0.2, **QUIET)
    assert result.plan.backend == "model"
    assert result.approximation is None
    np.testing.assert_array_equal(result.values, exact.values)


def test_what_changes_nothing_is_compared_too(network):
    model, image, _ = network
    image = image.clone()
    image[:, 20:] = 0
    segment = hw.Segmenter(model).masks(image[None])[0]
    result = approximate((model, image, segment), 0.2)
    unchanged = np.array([[not result.grid.mask(row, col)[:20].any() for col in range(12)] for row in range(10)])
    assert unchanged[::2, ::2].sum() > 10
    np.testing.assert_array_equal(result.values[unchanged], result.baseline)
    # No estimate is needed where nothing changes.
    assert result.approximation.cells == len(result.grid.stages()[0][1]) - unchanged[::2, ::2].sum()


def test_a_stored_result_keeps_its_error(network, tmp_path):
    result = approximate(network, np.float32(0.2))
    result.save(tmp_path / "scan")
    loaded = hdm.HDMResult.load(tmp_path / "scan")
    assert loaded.approximation == result.approximation
    assert loaded.settings == result.settings
    assert type(loaded.approximation.cells) is int


@pytest.mark.parametrize("change", [{"name": "iou"}, {"name": "hausdorff", "segment": "prediction"}], ids=str)
def test_another_measure_of_the_same_masks_says_that_its_error_is_not_known(network, tmp_path, change):
    result = approximate(network, 0.2)
    measured = result.measure(**change)
    assert measured.approximation.tolerance == 0.2
    assert not measured.approximation.known
    assert np.isnan([measured.approximation.largest_difference, measured.approximation.ssim]).all()
    said = "tolerance 0.2, with an error that is not known in this measure"
    assert str(measured.approximation) == said
    assert said in repr(measured)
    measured.save(tmp_path / "measured.npz")
    assert repr(hdm.HDMResult.load(tmp_path / "measured.npz")) == repr(measured)
    assert result.approximation.known
    assert result.measure("hausdorff").approximation == result.approximation


def test_another_measure_of_an_exact_scan_is_exact(exact):
    assert exact.measure("iou").approximation is None


def test_infinite_errors_are_stored_too(tmp_path):
    image = torch.full((1, 64, 72), 0.5)
    result = hdm.HausdorffDistanceMasks(72, 64)
    result.generate_masks(9, 16)
    result = result.explain(lambda images: images[:, 0], image, np.eye(64, 72), **QUIET)
    endless = Approximation(0.1, 3, 0.5, np.inf, np.inf, 0.2, np.inf, 0.25)
    type(result)(**{**vars(result), "approximation": endless}).save(tmp_path / "scan")
    assert hdm.HDMResult.load(tmp_path / "scan").approximation == endless


@pytest.mark.parametrize("tolerance", [0, 1, -0.1, 1.5, np.nan, np.inf, True, "small", [0.1]])
def test_tolerances_that_are_none(tolerance):
    calls = []
    explainer = explainer_for()
    for method in (explainer.explain, explainer.stream, explainer.plan):
        with pytest.raises(ValueError, match="must be a number above 0 and below 1, a fraction of the act"):
            method(calls.append, scene(), np.eye(64, 72), tolerance=tolerance)
    assert calls == []


def test_whole_images_leave_nothing_to_approximate():
    calls = []
    with pytest.raises(ValueError, match="inference='full' is exact"):
        explainer_for().explain(calls.append, scene(), np.eye(64, 72), inference="full", tolerance=0.1)
    assert calls == []


# -- figures ------------------------------------------------------------------------------------------


def everywhere(ours, true):
    return Approximation.between(0.1, np.array(ours), np.array(true), np.ones(np.shape(ours), bool))


def test_by_hand():
    found = everywhere([[1.0, 2.0, 3.0, 4.0]], [[1.0, 2.0, 5.0, 4.0]])
    assert (found.tolerance, found.cells) == (0.1, 4)
    assert found.largest_difference == 2
    assert found.mean_difference == 0.5
    # Ranks 1 2 3 4 against 1 2 4 3: 1 - 6 * 2 / (4 * 15).
    assert found.rank_correlation == pytest.approx(0.8)


def test_only_what_was_compared_counts():
    compared = np.array([[True, False, True, True]])
    found = Approximation.between(0.1, np.array([[1.0, 9.0, 2, 4]]), np.array([[1.0, np.nan, 2, 5]]), compared)
    assert (found.cells, found.largest_difference, found.rank_correlation) == (3, 1, 1)


def test_constant_maps():
    assert everywhere([[3.0, 3.0]], [[3.0, 3.0]]).rank_correlation == 1
    assert everywhere([[3.0, 3.0]], [[4.0, 4.0]]).rank_correlation == 0
    assert everywhere([[3.0, 3.0]], [[3.0, 4.0]]).rank_correlation == 0


@pytest.mark.parametrize(
    ("ours", "true", "largest", "rank"),
    [
        ([[np.inf, 1, 2]], [[np.inf, 1, 2]], 0, 1),
        ([[np.nan, 1, 2]], [[np.nan, 1, 2]], 0, 1),
        ([[np.inf, 1, 2]], [[5.0, 1, 2]], np.inf, 1),
        ([[np.nan, 1, 2]], [[5.0, 1, 2]], np.inf, 1),
        ([[5.0, 1, 2]], [[np.nan, 1, 2]], np.inf, 1),
        ([[1.0, 0, 2]], [[np.nan, 0, 2]], np.inf, 0.5),
    ],
)
def test_empty_masks(ours, true, largest, rank):
    found = everywhere(ours, true)
    assert found.cells == 3
    assert found.largest_difference == largest
    assert found.rank_correlation == pytest.approx(rank)
    assert (found.ssim == pytest.approx(1)) == (largest == 0)


def test_in_words():
    text = str(Approximation(0.001, 64, 0.9876, 12.34, 0.567, 0.9, 3.21, 0.75))
    assert text == (
        "tolerance 0.001; on 64 cells also measured: rank correlation 0.988, 75 % equal, difference at "
        "most 12.3, 95 % at most 3.2, mean 0.57"
    )
    few = str(Approximation(0.01, 7, 1.0, 0.0, 0.0, 1.0))
    assert few == "tolerance 0.01; on 7 cells also measured, which are too few to tell the error of the others"
    nothing = np.zeros((3, 3))
    begun = Approximation.between(0.2, nothing, nothing, nothing > 0)
    assert str(begun) == "tolerance 0.2, with an error that is not known yet"


def similarity_by_reference(first, second):
    top, bottom = max(0, first.max(), second.max()), min(0, first.min(), second.min())
    side = min(7, *first.shape)  # which has to be odd there
    _, each = reference_similarity(
        first, second, win_size=side, data_range=top - bottom, use_sample_covariance=False, full=True
    )
    return each.mean()


MAPS = arrays(float, st.tuples(*[st.integers(7, 12)] * 2), elements=st.floats(0, 100, width=32))


@given(MAPS, st.randoms(use_true_random=False))
def test_similarity_is_that_of_scikit_image(first, random):
    rng = np.random.default_rng(random.randint(0, 2**32))
    second = first + rng.choice([0, 1, 30], first.shape) * rng.random(first.shape)
    if not first.any() and not second.any():
        assert structural_similarity(first, second) == 1
        return
    ours, theirs = structural_similarity(first, second), similarity_by_reference(first, second)
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert structural_similarity(second, first) == pytest.approx(ours)


def test_similarity_by_hand():
    # One window of one cell: no variance, so only the means count. Spread 4, constants (0.04)^2 and (0.12)^2.
    first, second = np.array([[4.0]]), np.array([[2.0]])
    assert structural_similarity(first, second) == pytest.approx((2 * 8 + 0.0016) / (20 + 0.0016))
    assert structural_similarity(first, first) == pytest.approx(1)
    assert structural_similarity(0 * first, 0 * first) == 1


def test_infinity_is_no_number():
    endless, one = np.array([[np.inf, np.inf]]), np.array([[1.0, 1.0]])
    assert structural_similarity(endless, endless) == pytest.approx(1)
    assert structural_similarity(endless, one) < 0.9
    assert structural_similarity(endless, 0 * one) < 0.1
