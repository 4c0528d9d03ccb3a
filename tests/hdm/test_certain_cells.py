"""Estimates that count as certain are what the model gives, and what cannot be told is not certain."""

import numpy as np
import pytest
import torch
from estimate_scenes import keep_estimates, normed_scene
from scipy import stats
from window_checks import random_image

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.approximation import Approximation
from hdm_widgets.hdm.backends import Outputs
from hdm_widgets.hdm.certain_cells import is_chance
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.measure import MaskMeasure
from hdm_widgets.hdm.messages import map_message
from hdm_widgets.hdm.uncertainty import Uncertainty
from hdm_widgets.metrics import ReferenceMask

QUIET = {"progress": False}
SIDE = 96


@pytest.fixture(autouse=True)
def estimates_stay(monkeypatch):
    keep_estimates(monkeypatch)


class Blocks(torch.nn.Module):
    """Draws what is bright, far from the threshold; by a little, all of the image counts."""

    def __init__(self):
        super().__init__()
        self.local, self.norm = torch.nn.Conv2d(1, 1, 3, padding=1, padding_mode="replicate"), torch.nn.GroupNorm(1, 1)
        with torch.no_grad():
            self.local.weight.copy_(torch.tensor([[0.0, 0.1, 0], [0.1, 0.6, 0.1], [0, 0.1, 0]]))
            self.local.bias.zero_()

    def forward(self, images):
        images = self.local(images)
        return 8 * images - 4 + 0.1 * self.norm(images)


@pytest.fixture(scope="module")
def clear():
    """A network, an image of bright blocks on a ground, and its own mask."""
    model = Blocks().eval()
    image = 0.2 + 0.02 * random_image(1, SIDE, SIDE)
    for row, col in ((10, 12), (50, 60), (70, 20)):
        image[:, row : row + 16, col : col + 20] = 0.9
    return model, image, hw.Segmenter(model).masks(image[None])[0]


@pytest.fixture(scope="module")
def doubtful():
    return normed_scene(SIDE, SIDE)


def explainer_for(offset=6, **settings):
    explainer = hdm.HausdorffDistanceMasks(SIDE, SIDE)
    explainer.generate_masks(9, offset, **settings)
    return explainer


def estimate(scene, **options):
    return explainer_for().explain(*scene, inference="estimate", **options, **QUIET)


@pytest.fixture(scope="module")
def measured(clear):
    return explainer_for().explain(*clear, inference="full", **QUIET)


# -- what scans say -----------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", ["hausdorff", "iou", "area", "hausdorff95", "mean_surface"])
def test_certain_cells_are_right(clear, measured, distance):
    result = estimate(clear, distance=distance)
    exact = measured.measure(distance)
    assert result.certain.sum() > 0.5 * result.estimated.sum()
    assert not (result.certain & ~result.estimated).any()
    np.testing.assert_allclose(result.values[result.certain], exact.values[result.certain], rtol=1e-12)
    said = result.approximation
    assert (said.certain, said.audits_failed) == (result.certain.sum(), 0)
    # One of a hundred, and no fewer than eight; they are measured.
    assert said.audits == 8
    assert result.estimated.sum() == result.measured.sum() - len(result.grid.stages()[0][1]) - said.audits
    assert f"; {said.certain} certain (confidence 0.999; none of 8 audited differed)" in result.estimates


def test_more_certain_cells_have_more_audits(clear):
    result = explainer_for(offset=3).explain(*clear, inference="estimate", **QUIET)
    certain = result.certain.sum() + result.approximation.audits
    assert result.approximation.audits == -(-certain // 100) > 8


def test_audits_are_chosen_by_the_seed(clear):
    results = [explainer_for(offset=4).explain(*clear, inference="estimate", seed=seed, **QUIET) for seed in (0, 0, 1)]
    same, other = ((results[0].estimated == result.estimated).all() for result in results[1:])
    assert same
    assert not other


def test_what_is_said_too_boldly_is_taken_back(doubtful, monkeypatch):
    monkeypatch.setattr(Uncertainty, "largest_errors", lambda self: np.zeros(9))
    bold = [update.result for update in explainer_for(4).stream(*doubtful, inference="estimate")]
    claimed = max(bold, key=lambda result: result.certain.sum())
    assert claimed.certain.sum() > 100
    assert "; none certain (confidence 0.999; " in bold[-1].estimates
    assert "audited differed" in bold[-1].estimates
    assert 0 < bold[-1].approximation.audits_failed <= bold[-1].approximation.audits
    assert not bold[-1].certain.any()


def test_what_cannot_be_told_is_not_certain(doubtful, monkeypatch):
    looked = []
    bounds = Uncertainty.bounds
    monkeypatch.setattr(Uncertainty, "bounds", lambda *given: looked.append(1) or bounds(*given))
    result = explainer_for(3).explain(*doubtful, inference="estimate", **QUIET)
    assert not result.certain.any()
    assert "certain" not in result.estimates
    # After so many that are not, no more are looked at: as many as one batch has.
    assert 64 <= len(looked) < result.estimated.sum()


@pytest.mark.parametrize("options", [{"empty": "raise"}, {"region": (0, 0, 20, 20)}], ids=["raise", "few cells"])
def test_without_bounds_none_is_certain(clear, options):
    """An error of an empty mask that the model does not draw ends no scan; few cells tell nothing of errors."""
    result = estimate(clear, **options)
    assert result.estimated.any()
    assert not result.certain.any()


def test_a_scan_that_ends_exactly_names_none(clear):
    assert explainer_for().explain(*clear, **QUIET).certain is None


def test_certain_cells_are_kept_and_told(clear, tmp_path):
    *_, last = explainer_for().stream(*clear, inference="estimate")
    result = last.result
    result.save(tmp_path / "result.npz")
    loaded = hdm.HDMResult.load(tmp_path / "result.npz")
    np.testing.assert_array_equal(loaded.certain, result.certain)
    assert loaded.approximation == result.approximation
    # The distances of the same masks in another measure may be others.
    assert result.measure("hausdorff95").certain is None
    message = map_message(last)
    for name, expected in (("measured", ~result.estimated), ("certain", result.certain)):
        told = np.unpackbits(np.frombuffer(message[name], np.uint8))[: result.values.size]
        np.testing.assert_array_equal(told.reshape(result.values.shape), expected)


@pytest.mark.parametrize(("certain", "audits", "failed", "said"), [
    (0, 0, 0, ""),
    (3, 0, 0, "; 3 certain (confidence 0.999; none audited yet)"),
    (5, 8, 0, "; 5 certain (confidence 0.999; none of 8 audited differed)"),
    (0, 8, 2, "; none certain (confidence 0.999; 2 of 8 audited differed)"),
])  # fmt: skip
def test_what_is_said_of_certain_cells(certain, audits, failed, said):
    both = np.zeros((2, 2)), np.ones((2, 2), bool)
    plain = str(Approximation.between(0.01, both[0], both[0], both[1]))
    error = Approximation(0.01, 4, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, certain, audits, failed)
    assert str(error) == plain + said


@pytest.mark.parametrize(("failed", "audits"), [(0, 8), (1, 8), (1, 51), (1, 52), (2, 100), (2, 400), (8, 8)])
def test_what_may_be_chance(failed, audits):
    expected = stats.binom.sf(failed - 1, audits, 0.001) >= 0.05
    assert is_chance(failed, audits) == expected
    assert is_chance(failed, audits) == ((failed, audits) in {(0, 8), (1, 52), (2, 400)})


# -- how far estimates are off ------------------------------------------------------------------------


def uncertainty_of(errors, grid):
    """After comparing cells (n,) of zero maps with these errors, (n, H, W)."""
    segmenter = hw.Segmenter(lambda images: images, activation="sigmoid")
    segmenter.raw(torch.zeros(1, 1, grid.height, grid.width))
    uncertainty = Uncertainty(segmenter, None, grid)
    cells = [divmod(number, grid.cols) for number in range(grid.rows * grid.cols)]
    for number, error in enumerate(errors):
        key, off = bytes([number]), torch.from_numpy(np.asarray(error, np.float32))[None, None]
        uncertainty.expect(key, torch.ones_like(off))
        assert uncertainty.expects(key)
        uncertainty.compare(key, cells[number % len(cells)], 1 - off)
        assert not uncertainty.expects(key)
    return uncertainty


def test_the_bound_is_a_prediction_limit_in_each_zone():
    """Two columns are in the disc's box, eight each in the next two zones, two in another."""
    rng = np.random.default_rng(3)
    errors = np.zeros((12, 20, 20))
    errors[:, :2] = rng.lognormal(-3, 0.4, (12, 2, 20)) * np.repeat([1.0, 5.0, 0.2, 2.0], [2, 8, 8, 2])
    # The disc has the first two rows and columns.
    found = uncertainty_of(errors, Grid(20, 20, 1, 20)).largest_errors(0.99)
    logs = np.log(np.stack([part.max((1, 2)) for part in np.split(errors, [2, 10, 18], axis=2)], axis=1))
    # Each of four zones has its part of the hundredth.
    limit = logs.mean(0) + stats.t.ppf(1 - 0.01 / 4, 11) * np.sqrt(1 + 1 / 12) * logs.std(0, ddof=1)
    np.testing.assert_allclose(found[:4], np.exp(limit), rtol=1e-5)
    assert np.isinf(found[4:]).all()


@pytest.mark.parametrize("zones", [1, 3])
def test_one_more_cell_is_within_the_bound_as_often_as_stated(zones):
    """In zones that have nothing to do with each other, the chances to miss a limit add up."""
    rng = np.random.default_rng(5)
    # Two columns in the disc's box, and as many in each of the next two zones as it takes.
    columns = {1: [2], 3: [2, 8, 8]}[zones]
    side = sum(columns)
    grid = Grid(side, side, 1, side)
    within = []
    for _ in range(120):
        scales = rng.lognormal(-2, 0.7, (17, zones))
        errors = np.zeros((16, side, side))
        errors[:, :2] = np.repeat(scales[:16], columns, axis=1)[:, None]
        limits = uncertainty_of(errors, grid).largest_errors(0.9)
        within.append((scales[16] <= limits[:zones]).all())
    # 108 of 120, give or take three standard deviations of that number.
    assert 98 <= sum(within) <= 118


@pytest.mark.parametrize("compared", [0, 7, 8])
def test_few_cells_tell_nothing(compared):
    uncertainty = uncertainty_of(np.full((compared, 2, 2), 0.1), Grid(2, 2, 2, 2))
    assert (uncertainty.largest_errors() is None) == (compared < 8)


def test_no_error_at_all_is_but_rounding():
    errors = uncertainty_of(np.zeros((9, 2, 2)), Grid(2, 2, 2, 2)).largest_errors()
    assert 1e-6 <= errors[0] < 2e-6


def test_what_is_not_finite_tells_nothing():
    errors = np.full((9, 2, 2), 0.1)
    errors[3, 0, 1] = np.nan
    assert uncertainty_of(errors, Grid(2, 2, 2, 2)).largest_errors() is not None
    errors[5, 1, 1] = np.inf
    assert uncertainty_of(errors, Grid(2, 2, 2, 2)).largest_errors() is None


@pytest.mark.parametrize(("zone", "certain"), [(0, True), (1, True), (2, False), (3, True)])
def test_errors_are_those_at_the_distance_from_the_disc(zone, certain):
    """A pixel 12 px right of the disc's box has a margin of 0.5, all others 10; the truth is what is drawn."""
    grid = Grid(4, 40, 2, 4)
    raw = torch.full((1, 1, 4, 40), -10.0)
    raw[..., :3] = 10
    raw[0, 0, 1, 3 + 11] = -0.5
    segmenter = hw.Segmenter(lambda images: images, activation="sigmoid")
    segmenter.raw(raw.clone())
    measure = MaskMeasure(segmenter, "hausdorff", ReferenceMask(raw[0, 0].numpy() > 0), raw)
    errors = np.zeros(9)
    errors[zone] = 1.0
    outputs = Outputs.from_whole(np.zeros(1, np.intp), raw)
    bounds, sure = Uncertainty(segmenter, measure, grid).bounds(outputs, np.array([[0, 0]]), errors)
    np.testing.assert_array_equal(bounds[:, 0], (0, 0) if certain else (0, 12))
    assert sure == [certain]
    # The same window elsewhere: what is in it is another part of the picture.
    part = Outputs(np.zeros(1, np.intp), np.array([0]), np.array([8]), raw[..., 8:24])
    bounds, _ = Uncertainty(segmenter, measure, grid).bounds(part, np.array([[0, 0]]), errors)
    np.testing.assert_array_equal(bounds[:, 0], (0, 0) if certain else (0, 12))
