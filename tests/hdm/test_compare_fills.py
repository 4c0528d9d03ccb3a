"""Several fills side by side: what is significant, and how often chance is called so."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.chance import expected_floor, least_changes, noise_floor, rank_correlations
from hdm_widgets.hdm.fill_scans import prepare_fills
from hdm_widgets.hdm.grid import Grid, ShiftedGrid

HEIGHT, WIDTH = 24, 32
IMAGE = 0.3 * np.random.default_rng(0).random((2, HEIGHT, WIDTH)).astype(np.float32) + 0.1
IMAGE[0, 10:13, 14:17] = 0.9
CUE = IMAGE[0] > 0.5
TRUTH = np.zeros((HEIGHT, WIDTH), bool)
TRUTH[2:8, 20:30] = True
ALL = ("minimum", "mean", "blur", "noise", "inpainted")


def compare(model, image=IMAGE, segment=TRUTH, circle_size=7, offset=3, **options):
    return hdm.compare_fills(model, image, segment, circle_size, offset, progress=False, **options)


def sees_a_cue(images):
    """Draws the segment at once or not at all: only where the cue is light."""
    light = images[:, 0, 10:13, 14:17].mean((1, 2))[:, None, None]
    return torch.where(light > 0.5, torch.as_tensor(TRUTH, dtype=torch.float32), torch.zeros(HEIGHT, WIDTH)) - 0.5


def ignores_its_input(images):
    return torch.as_tensor(TRUTH, dtype=torch.float32).expand(len(images), -1, -1) - 0.5


def draws_only_on_the_whole_image(images):
    whole = (images == torch.as_tensor(IMAGE)).flatten(1).all(1)
    return (torch.as_tensor(TRUTH) & whole[:, None, None]).float() - 0.5


class Chaotic(torch.nn.Module):
    """A mask that says nothing of its image, and is another one for every other image."""

    def __init__(self, seed):
        super().__init__()
        self.weights = torch.randn(2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))

    def forward(self, images):
        maps = []
        for image in images:
            number = int(float((image * self.weights).double().sum()) * 1e4) % (1 << 31)
            drawn = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(number))
            maps.append(torch.as_tensor(TRUTH) * 0.4 + drawn - 0.7)
        return torch.stack(maps)


def draws_noise(images):
    """Draws what is rough, such as noise on the smooth half of an image."""
    rough = (images[:, 1:2] - torch.nn.functional.avg_pool2d(images[:, 1:2], 3, 1, 1)).abs()
    return torch.nn.functional.avg_pool2d(rough, 3, 1, 1)[:, 0] - 0.04


def mistakes_noise_for_something(images):
    """Draws in a corner, far from the segment, wherever an area is rough; the edge of a disc is not enough."""
    steps = (images[:, 1, :, 1:] - images[:, 1, :, :-1]).abs() > 0.05
    corner = torch.zeros(HEIGHT, WIDTH)
    corner[20:, :4] = 1
    return torch.where(steps.sum((1, 2))[:, None, None] > 20, corner - 0.5, sees_a_cue(images))


def cells_on_the_cue(grid):
    """Pixels of the cue that each disc leaves, (rows, cols)."""
    return np.array([[CUE[~grid.mask(row, col)].sum() for col in range(grid.cols)] for row in range(grid.rows)])


def test_discs_on_the_cue_are_significant_and_no_others():
    comparison = compare(sees_a_cue, offset=2)
    grid = comparison.results["mean"].grid
    left = cells_on_the_cue(grid)
    assert comparison.significant[left == 0].all()
    assert not comparison.significant[left == CUE.sum()].any()
    assert comparison.significant.sum() > 3
    assert comparison.noise_floor < np.abs(comparison.least_change[comparison.significant]).min()
    assert f"{comparison.significant.sum()} of 192 discs matter beyond chance: every fill changes" in comparison.text


def test_a_model_that_ignores_its_input_has_no_significant_disc():
    comparison = compare(ignores_its_input)
    assert comparison.noise_floor == 0
    assert not comparison.significant.any()
    assert not comparison.spread.any()
    assert comparison.text == "0 of 80 discs matter beyond chance: none changes the Hausdorff distance"
    assert all(np.isnan(each.value) for each in comparison.agreement.values())


@pytest.mark.parametrize(
    ("distance", "fills"),
    [
        ("hausdorff", ALL),
        ("iou", ALL),
        ("area", ALL),
        ("hausdorff", ("mean", 0.2)),
        ("area", ("inpainted", "minimum", "blur")),
    ],
)
def test_chance_is_called_significant_in_at_most_one_of_twenty_cells(distance, fills):
    fractions = [
        compare(Chaotic(seed), offset=4, distance=distance, fills=fills, seed=seed, batch_size=16).significant.mean()
        for seed in range(5)
    ]
    assert np.mean(fractions) <= 0.05


def test_a_fill_that_acts_anywhere_does_not_hide_the_cue():
    """Noise changes the mask nearly anywhere, and is not drawn itself."""
    image = np.full_like(IMAGE, 0.4)
    image[1] = np.linspace(0.1, 0.9, WIDTH)
    image[0, 10:13, 14:17] = 0.9
    comparison = compare(mistakes_noise_for_something, image, fills=("noise", "minimum", "inpainted"), offset=2)
    grid, noise = comparison.results["noise"].grid, comparison.results["noise"]
    assert (noise.values > 0).mean() > 0.8
    assert comparison.left_out == ()
    assert comparison.repeated_fill == "minimum"
    left = cells_on_the_cue(grid)
    assert comparison.significant[left == 0].all()
    assert not comparison.significant[left == CUE.sum()].any()


def test_without_a_truth_and_a_grid_it_explains_the_prediction_on_the_explorers_grid():
    comparison = hdm.compare_fills(sees_a_cue, IMAGE, fills=("mean", "minimum"), repeats=2, progress=False)
    explicit = compare(sees_a_cue, segment=None, circle_size=2, offset=1, fills=("mean", "minimum"), repeats=2)
    result = comparison.results["mean"]
    assert result.settings.of_prediction
    assert (result.circle_size, result.offset) == (2, 1)
    np.testing.assert_array_equal(result.values, explicit.results["mean"].values)
    np.testing.assert_array_equal(comparison.significant, explicit.significant)


def test_of_fills_that_change_as_little_noise_is_repeated():
    assert compare(sees_a_cue).repeated_fill == "noise"
    assert compare(sees_a_cue, fills=("blur", 0.2)).repeated_fill in ("blur", "0.2")


def test_choosing_the_fill_that_changes_least_makes_no_alarm_likelier():
    """Five maps without any effect, and repeats like that of the lowest floor."""
    rng = np.random.default_rng(3)
    alarms = []
    for _ in range(400):
        mean = rng.normal(0, 2)
        fills, repeated = rng.normal(mean, 1, (5, 200)), rng.normal(mean, 1, (4, 200))
        least = least_changes(np.concatenate([fills, repeated]))
        chosen = min(fills, key=lambda one: expected_floor(one, 5))
        alarms.append((np.abs(least) > noise_floor(least, np.vstack([chosen, repeated]))).any())
    assert np.mean(alarms) <= 0.05


@pytest.mark.parametrize(("size", "offset", "repeats"), [(7, 3, 4), (7, 1, 4), (2, 1, 8), (1, 1, 3), (3, 12, 30)])
def test_every_repeat_has_discs_in_places_of_its_own(size, offset, repeats):
    grid = Grid(HEIGHT, WIDTH, size, offset)
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(size, offset)
    prepared = prepare_fills(explainer, hw.Segmenter(sees_a_cue), IMAGE, TRUTH, repeats=repeats)
    places = {(0, 0), *prepared.shifts}
    assert len(places) == repeats + 1
    for shift in prepared.shifts:
        moved = ShiftedGrid(HEIGHT, WIDTH, size, offset, shift=shift)
        for cell in ((0, 0), (grid.rows - 1, grid.cols - 1)):
            assert moved.window(*cell)[2].size > 0
    if offset >= 3:
        assert np.abs(prepared.shifts).max() <= max(1, offset // 2)


@pytest.mark.parametrize(
    ("model", "fills", "said"),
    [
        (lambda images: images[:, 0] * 0, ("mean", "noise"), ": none changes the Hausdorff distance"),
        (
            draws_only_on_the_whole_image,
            ("mean", "noise"),
            ": with noise alone, discs anywhere change the Hausdorff distance by up to 40.0 px, and what the fills "
            "have in common is not more; another measure, or other fills, may tell more",
        ),
        (
            sees_a_cue,
            ("noise", 0.9),
            ": no disc changes the Hausdorff distance to the same side with every fill and at every repeat; 0.9 "
            "changes it with the fewest discs, 0. Another measure, or other fills, may tell more",
        ),
    ],
)
def test_that_no_disc_matters_is_explained(model, fills, said):
    comparison = compare(model, fills=fills)
    assert not comparison.significant.any()
    assert comparison.text.startswith(f"0 of 80 discs matter beyond chance{said}")


def test_the_floor_has_the_false_alarm_rate_that_it_says():
    """Many maps without any effect: changes to one side in all cells, as after an unlucky baseline, are none either."""
    rng = np.random.default_rng(1)
    alarms = []
    for _ in range(400):
        drawn = rng.normal(rng.normal(0, 2), 1, (8, 200))
        alarms.append((np.abs(least_changes(drawn)) > noise_floor(least_changes(drawn), drawn[:5])).mean())
    assert np.mean(np.array(alarms) > 0) <= 0.05
    assert np.mean(alarms) <= 0.01


def test_an_effect_is_found_among_noise():
    rng = np.random.default_rng(2)
    drawn = rng.normal(0, 1, (9, 1000))
    drawn[:, :50] += 4
    significant = np.abs(least_changes(drawn)) > noise_floor(least_changes(drawn), drawn[:5])
    assert significant[:50].mean() > 0.95
    assert significant[50:].mean() < 0.01


def test_without_chance_every_change_common_to_all_is_significant():
    changed = np.zeros((4, 30))
    changed[:, 3], changed[:, 5], changed[:2, 7] = 0.5, -2, 3
    changed[:, 9] = [1, -1, 1, 1]
    least = least_changes(changed)
    assert noise_floor(least, changed) == 0
    np.testing.assert_array_equal(np.flatnonzero(least), [3, 5])


def test_a_change_that_all_cells_show_is_no_evidence_for_any():
    same = np.full((6, 50), 3.0)
    assert noise_floor(least_changes(same), same) == 3


def test_smallest_changes_by_hand():
    changed = [[1, -3, 1, 0, np.nan, np.inf], [2, -1, -1, 5, 1, 4], [4, -2, 1, 1, 1, np.inf]]
    np.testing.assert_array_equal(least_changes(np.array(changed)), [1, -1, 0, 0, 0, 4])
    counted = np.array([[0, 1, 1, 0, 0, 1], [1, 0, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1]], bool)
    np.testing.assert_array_equal(least_changes(np.array(changed), counted), [2, -2, 1, 1, 1, np.inf])


def test_what_one_fill_draws_itself_is_not_significant():
    """Noise is drawn as segment wherever it is; the other fills are smooth and change nothing."""
    image = np.full_like(IMAGE, 0.4)
    image[1, :, 20:] += 0.5 * np.random.default_rng(5).random((HEIGHT, 12)).astype(np.float32)
    comparison = compare(draws_noise, image, None, offset=4)
    noise, mean = comparison.results["noise"], comparison.results["mean"]
    smooth = np.zeros(noise.grid.shape, bool)
    smooth[:, :3] = True
    assert (noise.values[smooth] > 0).all()
    assert (mean.values[smooth] == 0).all()
    assert not comparison.significant[smooth].any()
    assert (comparison.spread[smooth] > 0).all()


def test_a_fill_that_is_drawn_itself_is_left_out():
    """Black is drawn as segment, so that it changes every cell; the other fills tell of the cue."""

    def sees_black_too(images):
        return torch.where(images[:, 0] == 0, 0.5, sees_a_cue(images))

    comparison = compare(sees_black_too, offset=2)
    assert comparison.left_out == ("minimum",)
    assert comparison.results["minimum"].disc_drawn.count > 100
    plain = compare(sees_a_cue, offset=2, fills=("mean", "blur", "noise", "inpainted"))
    assert plain.left_out == ()
    np.testing.assert_array_equal(comparison.significant, plain.significant)
    assert comparison.significant.any()
    drawn = comparison.results["minimum"].disc_drawn.count
    assert ": each of the 4 fills used changes the Hausdorff distance to the same side. Of 5 fills, 4 were used. " in (
        comparison.text
    )
    assert f": minimum left out: drawn in {drawn} of 192 cells. " in comparison.text
    assert "minimum" not in comparison.text.split("agree least")[1]


def draws_black_in_a_corner(images):
    black = (images[:, 0] == 0) & torch.as_tensor(np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)[::-1]) < 12)
    return torch.where(black, 0.5, sees_a_cue(images))


@pytest.mark.parametrize("fills", [ALL, ("minimum", "mean", "noise"), ("minimum", "mean")], ids=str)
def test_of_a_fill_that_is_drawn_in_some_cells_these_are_left_out(fills):
    comparison = compare(draws_black_in_a_corner, offset=2, fills=fills)
    drawn = comparison.results["minimum"].disc_drawn
    assert drawn
    assert drawn.count < 30
    assert comparison.left_out == ()
    np.testing.assert_array_equal(comparison.used["minimum"], ~drawn.cells)
    assert comparison.used["mean"].all()
    assert f": minimum left out in {drawn.count} of 192 cells, where it is drawn" in (comparison.text)
    left = cells_on_the_cue(comparison.results["mean"].grid)
    assert comparison.significant[left == 0].all()
    assert not comparison.significant[drawn.cells].any()
    few = f"In {drawn.count} cells fewer than two fills can be used, so that nothing is known of them"
    assert (few in comparison.text) == (len(fills) == 2)


def test_of_one_fill_alone_nothing_is_said_to_matter():
    def sees_black_too(images):
        return torch.where(images[:, 0] == 0, 0.5, sees_a_cue(images))

    comparison = compare(sees_black_too, offset=2, fills=("minimum", "mean"))
    assert comparison.left_out == ("minimum",)
    assert (comparison.results["mean"].values[cells_on_the_cue(comparison.results["mean"].grid) == 0] > 0).all()
    assert not comparison.significant.any()
    assert comparison.text.startswith(
        "0 of 192 discs matter beyond chance: of fewer than two fills the disc itself is not drawn as segment, and one "
        "alone is no evidence; other fills, such as numbers, may tell more. Of 2 fills, 1 was used. "
    )
    assert "agree least" not in comparison.text


def test_leaving_out_cells_of_fills_makes_no_alarm_likelier():
    """Five maps without any effect, of each of which a third of the cells does not count, but for the repeated one."""
    rng = np.random.default_rng(6)
    alarms = []
    for _ in range(400):
        drawn = rng.normal(rng.normal(0, 2), 1, (9, 200))
        counted = rng.random((9, 200)) < 2 / 3
        counted[4:] = True
        least = least_changes(drawn, counted)
        alarms.append((np.abs(least) > noise_floor(least, drawn[4:])).any())
    assert np.mean(alarms) <= 0.05


def test_a_chaotic_model_that_draws_some_discs_has_few_false_alarms():
    def model(seed):
        chaotic = Chaotic(seed)
        return lambda images: torch.where(
            draws_black_in_a_corner(images) * (images[:, 0] == 0) > 0, 0.5, chaotic(images)
        )

    fractions = [
        compare(model(seed), offset=4, fills=("minimum", "mean", "noise"), seed=seed, batch_size=16).significant.mean()
        for seed in range(3)
    ]
    assert np.mean(fractions) <= 0.05


def test_where_all_fills_are_drawn_none_is_left_out():
    comparison = compare(lambda images: (images - torch.as_tensor(IMAGE)).abs().sum(1) - 0.01, fills=("minimum", 0.7))
    assert all(result.disc_drawn for result in comparison.results.values())
    assert comparison.left_out == ()


def test_agreement_is_spearmans():
    comparison = compare(sees_a_cue, fills=("mean", 0.2, "noise"))
    assert list(comparison.results) == ["mean", "0.2", "noise"]
    maps = {fill: result.values.ravel() for fill, result in comparison.results.items()}
    for (first, second), each in comparison.agreement.items():
        assert each.value == pytest.approx(stats.spearmanr(maps[first], maps[second]).statistic)
        assert each.low <= each.value <= each.high
    assert list(comparison.agreement) == [("mean", "0.2"), ("mean", "noise"), ("0.2", "noise")]
    values = np.stack([result.values for result in comparison.results.values()])
    np.testing.assert_array_equal(comparison.spread, np.ptp(values, axis=0))


def test_intervals_allow_for_discs_that_overlap():
    """Of two unrelated maps that are smooth over a disc, the interval has 0 in it about as often as it says."""
    rng = np.random.default_rng(4)
    fine, coarse = Grid(64, 64, 2, 2), Grid(64, 64, 12, 2)
    everywhere = np.ones(fine.shape, bool)
    found = {"independent": 0, "blocks": 0}
    for seed in range(60):
        maps = {name: ndimage.uniform_filter(rng.normal(size=fine.shape), 7, mode="wrap") for name in "ab"}
        for name, grid in (("independent", fine), ("blocks", coarse)):
            each = rank_correlations(maps, everywhere, grid, seed)["a", "b"]
            found[name] += each.low <= 0 <= each.high
    assert found["blocks"] >= 48
    assert found["independent"] < found["blocks"] - 10


def test_equal_seeds_give_equal_comparisons():
    first, again, other = (compare(Chaotic(0), offset=5, seed=seed, fills=("mean", "noise")) for seed in (3, 3, 4))
    assert first.text == again.text
    np.testing.assert_array_equal(first.least_change, again.least_change)
    assert first.results["noise"].settings.seed == 3
    assert (first.results["noise"].values != other.results["noise"].values).any()


def test_every_result_is_the_scan_with_its_fill():
    comparison = compare(sees_a_cue, fills=("minimum", "inpainted"), shape="square", channel=0)
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(7, 3)
    for fill, result in comparison.results.items():
        alone = explainer.explain(sees_a_cue, IMAGE, TRUTH, channel=0, fill=fill, shape="square", progress=False)
        np.testing.assert_array_equal(result.values, alone.values)
        np.testing.assert_array_equal(result.output(2, 3), alone.output(2, 3))


def test_a_region_is_all_that_is_compared():
    comparison = compare(sees_a_cue, region=(6, 10, 14, 18))
    assert 4 < comparison.compared.sum() < 40
    assert not comparison.significant[~comparison.compared].any()
    assert comparison.significant.any()
    assert f"of {comparison.compared.sum()} discs" in comparison.text


@pytest.fixture(scope="module")
def with_two_fills():
    return compare(sees_a_cue, offset=2, fills=("mean", "noise"))


@pytest.mark.parametrize(
    ("floor", "said"),
    [
        (0.0, "changes the Hausdorff distance to the same side. The"),
        (0.0312, "to the same side by more than 0.03 px, the most that chance explains."),
        (12.345, "to the same side by more than 12.3 px, the most that chance explains."),
    ],
)
def test_the_floor_in_words(with_two_fills, floor, said):
    assert said in dataclasses.replace(with_two_fills, noise_floor=floor).text


def test_it_saves_and_loads(tmp_path):
    comparison = compare(sees_a_cue)
    comparison.save(tmp_path / "fills.npz")
    loaded = hdm.FillComparison.load(tmp_path / "fills.npz")
    assert repr(loaded) == repr(comparison)
    assert loaded.repeated_fill == comparison.repeated_fill == "noise"
    assert list(map(str, loaded.agreement.items())) == list(map(str, comparison.agreement.items()))
    for name in ("spread", "least_change", "significant"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(comparison, name))
    for fill, result in comparison.results.items():
        np.testing.assert_array_equal(loaded.results[fill].values, result.values)
        np.testing.assert_array_equal(loaded.results[fill].output(1, 2), result.output(1, 2))
        np.testing.assert_array_equal(loaded.results[fill].occluded(1, 2), result.occluded(1, 2))
    with pytest.raises(ValueError, match="is not a file of the kind"):
        hdm.HDMResult.load(tmp_path / "fills.npz")


def test_several_classes():
    classes = torch.stack([torch.as_tensor(IMAGE[0] < 0.5), torch.as_tensor(TRUTH)]).float()
    comparison = compare(lambda images: classes + images, target="all", fills=("mean", "noise"))
    assert comparison.results["mean"].classes == (0, 1)
    assert comparison.results["mean"].settings.target == 1


def test_progress_counts_all_scans_and_an_error_of_its_own_ends_them():
    seen = []

    def stop(update):
        seen.append((update.done, update.total, update.result.settings.fill))
        if update.result.settings.fill == "noise":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hdm.compare_fills(sees_a_cue, IMAGE, TRUTH, 5, 3, fills=("mean", "noise"), repeats=2, progress=stop)
    done, total, fills = zip(*seen, strict=True)
    assert set(total) == {4 * 80}
    assert list(done) == sorted(done)
    assert done[-1] == 80
    assert fills[-1] == "noise"


BAD = [
    ({"fills": ("mean",)}, ValueError, "fills must be at least two, and none twice"),
    ({"fills": ("mean", "mean")}, ValueError, "fills must be at least two, and none twice"),
    ({"fills": "mean"}, TypeError, "fills must be a sequence of fills"),
    ({"fills": ("mean", "median")}, ValueError, "fill must be"),
    ({"fill": "mean"}, TypeError, "has no keyword 'fill'; fills= has all of them"),
    ({"repeats": 4, "circle_size": 1, "offset": 1}, ValueError, "repeats must be at most 3 with circle_size=1"),
    ({"repeats": 1}, ValueError, "repeats must be a whole number of at least 2"),
    ({"repeats": 2.5}, ValueError, "repeats must be a whole number of at least 2"),
    ({"seed": -1}, ValueError, "seed must be a whole number of at least 0"),
    ({"offset": 99}, ValueError, "offset must not be larger than the image"),
    ({"distanse": "iou"}, TypeError, "distanse"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD, ids=str)
def test_bad_input_is_said_before_the_model_runs(options, error, message):
    def never(images):
        raise AssertionError

    with pytest.raises(error, match=message):
        compare(never, **options)


def test_a_warning_comes_once():
    image = IMAGE * 3
    with pytest.warns(UserWarning, match="the element-wise minimum") as caught:
        compare(sees_a_cue, image)
    assert len(caught) == 1


def test_a_network_in_windows_gives_the_same(windows):
    torch.manual_seed(1)
    network = hw.UNet(2, 1, width=4, depth=1).eval()
    with torch.no_grad():
        network.head.bias -= network(torch.from_numpy(IMAGE)[None]).median()
    quick, full = (compare(network, offset=5, inference=mode, repeats=2) for mode in ("windowed", "full"))
    assert sum(windows) > 0
    np.testing.assert_allclose(quick.least_change, full.least_change)
    np.testing.assert_array_equal(quick.significant, full.significant)
