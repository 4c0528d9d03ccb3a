"""Estimates that know a few occluded images: what discs do to the whole image is in them."""

import itertools

import numpy as np
import pytest
import torch
from estimate_scenes import keep_estimates, normed_scene

from hdm_widgets import hdm
from hdm_widgets.hdm.backends import EstimatingBackend, Inference
from hdm_widgets.windowed import TypicalActivations

QUIET = {"progress": False}
LEARNED = 4


@pytest.fixture(autouse=True)
def estimates_stay(monkeypatch):
    keep_estimates(monkeypatch)
    monkeypatch.setattr(Inference, "first_map_is_slow", False)


@pytest.fixture(scope="module")
def normed():
    return normed_scene(64, 72)


def explainer_for(offset=4):
    explainer = hdm.HausdorffDistanceMasks(72, 64)
    explainer.generate_masks(15, offset)
    return explainer


@pytest.fixture(scope="module")
def exact(normed):
    return explainer_for().explain(*normed, inference="full", **QUIET)


def coarse(result):
    return tuple(result.grid.stages()[0][1].T)


def assert_measured(result, exact):
    """All cells are; where a logit is 0 but for rounding, batches of another size may draw another pixel."""
    assert result.measured.all()
    assert not result.estimated.any()
    for row, col in np.ndindex(result.grid.shape):
        assert (result.output(row, col) != exact.output(row, col)).sum() <= 2


def test_estimates_are_closer_by_far(normed, exact, monkeypatch):
    knowing = explainer_for().explain(*normed, inference="estimate", **QUIET)
    monkeypatch.setattr(EstimatingBackend, "can_learn", False)
    without = explainer_for().explain(*normed, inference="estimate", **QUIET)
    np.testing.assert_array_equal(knowing.estimated, without.estimated)
    wrong = [
        np.mean([
            (result.output(row, col) != exact.output(row, col)).mean()
            for row, col in np.argwhere(result.estimated)
        ])
        for result in (knowing, without)
    ]  # fmt: skip
    assert 0 < wrong[0] < 0.7 * wrong[1]
    # They say so themselves.
    assert 0 < knowing.approximation.mean_difference < without.approximation.mean_difference


def test_cells_that_estimates_know_do_not_tell_their_error(normed):
    result = explainer_for().explain(*normed, inference="estimate", **QUIET)
    assert result.approximation.cells == len(coarse(result)[0]) - LEARNED
    # They are measured as all of the coarse grid are.
    assert result.measured[coarse(result)].all()
    assert not result.estimated[coarse(result)].any()


def test_the_finished_map_is_exact(normed, exact):
    updates = list(explainer_for().stream(*normed))
    first = max(updates, key=lambda update: update.result.estimated.sum()).result
    assert first.measured.all()
    # Cells that are computed in full are measured, and so are two that tell how far estimates are off.
    assert first.estimated.sum() == first.measured.size - LEARNED - 2
    learned = next(update.result for update in updates if (update.result.measured & ~update.result.estimated).any())
    at = learned.measured & ~learned.estimated
    assert at[coarse(learned)].sum() == 1
    np.testing.assert_array_equal(learned.values[at], exact.values[at])
    assert_measured(updates[-1].result, exact)


def test_the_coarse_grid_is_estimated_again(normed):
    """What is shown of it before is what windows alone tell."""
    shown = []
    for update in explainer_for().stream(*normed):
        result, at = update.result, coarse(update.result)
        if result.measured.sum() == len(at[0]) and result.measured[at].all():
            shown.append(np.where(result.estimated, result.values, np.nan)[at])
    both = np.isfinite([shown[0], shown[-1]]).all(0)
    # Two more tell how far estimates are off.
    assert both.sum() == len(both) - LEARNED - 2
    assert (shown[0] != shown[-1])[both].any()


@pytest.mark.parametrize(
    ("quick", "slow", "worth", "tolerance"),
    [(1.0, 0.0, 0.0, 0.001), (1e9, 0.0, 0.0, 0.01), (1e9, 1e9, 1e9, 0.01), (1e9, 1e9, 0.0, 0.05)],
)
def test_first_maps_follow_changes_as_far_as_their_time_allows(normed, monkeypatch, quick, slow, worth, tolerance):
    monkeypatch.setattr("hdm_widgets.hdm.plan._QUICK_FACTOR", quick)
    monkeypatch.setattr("hdm_widgets.hdm.plan._SLOW_FACTOR", slow)
    monkeypatch.setattr("hdm_widgets.hdm.plan._WORTH_COARSER", worth)
    updates = explainer_for().stream(*normed)
    said = next(update.result.approximation for update in updates if update.result.approximation is not None)
    updates.close()
    assert said.tolerance == tolerance


@pytest.mark.parametrize("after", [0, 2])
def test_cells_that_cannot_be_computed_in_full_are_said(normed, exact, monkeypatch, after):
    def failing(self, image):
        if self.images == after:
            raise RuntimeError("no kernel for this\nand more")
        return add(self, image)

    add = TypicalActivations.add
    monkeypatch.setattr(TypicalActivations, "add", failing)
    updates = list(explainer_for().stream(*normed))
    assert any(update.result.estimated.any() for update in updates)
    assert str(updates[-1].result.plan).endswith(
        "; estimates failed, so that every cell is measured (no kernel for this)"
    )
    assert_measured(updates[-1].result, exact)


@pytest.mark.parametrize("after", [0, 2])
def test_without_memory_for_cells_in_full_estimates_go_on(normed, monkeypatch, after):
    def failing(self, image):
        if self.images == after:
            raise torch.OutOfMemoryError("no memory")
        return add(self, image)

    add = TypicalActivations.add
    monkeypatch.setattr(TypicalActivations, "add", failing)
    result = explainer_for().explain(*normed, inference="estimate", **QUIET)
    monkeypatch.setattr(EstimatingBackend, "can_learn", False)
    without = explainer_for().explain(*normed, inference="estimate", **QUIET)
    assert result.plan.estimates_failed == ""
    np.testing.assert_array_equal(result.estimated, without.estimated)
    assert result.approximation.cells == without.approximation.cells == len(coarse(result)[0])


@pytest.mark.parametrize("reason", ["memory", "few cells", "no statistics", "few discs that change something"])
def test_where_nothing_is_learned(normed, monkeypatch, reason):
    def add(self, image):
        raise AssertionError("not worth it")

    monkeypatch.setattr(TypicalActivations, "add", add)
    model, image, segment = normed
    explainer = explainer_for(8 if reason == "few cells" else 4)
    if reason == "memory":
        monkeypatch.setattr("hdm_widgets.hdm.backends.free_memory", lambda device: 100_000)
    elif reason == "no statistics":
        model = torch.nn.Sequential(*(layer for layer in model if not isinstance(layer, torch.nn.GroupNorm)))
    elif reason == "few discs that change something":
        image = image.clone()
        image[:, 24:] = image[:, :, 34:] = 0
    result = explainer.explain(model, image, segment, inference="estimate", **QUIET)
    assert result.complete
    assert result.plan.estimates_failed == ""
    assert result.approximation.known


def test_a_scan_can_be_left_while_it_learns(normed, monkeypatch):
    learned = []
    add = TypicalActivations.add
    monkeypatch.setattr(TypicalActivations, "add", lambda self, image: learned.append(1) or add(self, image))
    updates = explainer_for().stream(*normed)
    for _ in itertools.takewhile(lambda update: len(learned) < 2, updates):
        pass
    updates.close()
    assert len(learned) == 2
