import matplotlib
import numpy as np
import pytest
from matplotlib.colors import ListedColormap
from PIL import Image, ImageDraw

from hdm_widgets import hdm
from hdm_widgets.hdm.circle_map import color_table, mean_values, paint, paint_mean, painted_values, relative
from hdm_widgets.hdm.grid import ShiftedGrid

GRID = hdm.Grid(23, 31, 9, 5)
ALL = np.ones(GRID.shape, dtype=bool)


def reference(values, color_map, grid=GRID):
    """The published picture: matplotlib's colour of every scaled value, discs drawn in ascending order."""
    low, high = values.min(), values.max()
    image = Image.new("RGB", (grid.width, grid.height))
    draw = ImageDraw.Draw(image)
    cells = [(values[row, col], row, col) for row in range(grid.rows) for col in range(grid.cols)]
    for value, row, col in sorted(cells):
        color = matplotlib.colormaps[color_map](float((value - low) / (high - low)), bytes=True)[:3]
        x, y = col * grid.offset, row * grid.offset
        draw.ellipse((x, y, x + grid.circle_size, y + grid.circle_size), fill=tuple(int(c) for c in color))
    return np.array(image)


@pytest.mark.parametrize("color_map", ["Blues", "magma", "tab10"])
@pytest.mark.parametrize("grid", [GRID, hdm.Grid(20, 20, 4, 4), hdm.Grid(30, 12, 12, 3)])
def test_circle_map_as_published(color_map, grid):
    # Every value differs, so the order of drawing is one.
    values = np.random.default_rng(1).permutation(grid.rows * grid.cols).reshape(grid.shape) * 1.7 + 3
    image = paint(values, np.ones(grid.shape, bool), grid, color_map)
    assert image.mode == "RGB"
    assert image.size == (grid.width, grid.height)
    np.testing.assert_array_equal(np.array(image), reference(values, color_map, grid))


def test_the_larger_value_lies_on_top():
    grid = hdm.Grid(8, 8, 4, 4)
    values = np.array([[4.0, 1], [2, 3]])
    painted = painted_values(values, np.ones((2, 2), bool), grid)
    # Discs are five pixels across, four apart: each reaches into the next one's first row and column.
    assert painted[2, 4] == 4
    assert painted[4, 2] == 4
    assert painted[6, 4] == 3
    assert painted[4, 6] == 3
    assert painted[6, 2] == 2
    assert np.isnan(painted[0, 0])  # a corner that no disc covers


def test_painted_values_are_the_circle_map_without_colours():
    values = np.random.default_rng(2).uniform(0, 50, GRID.shape)
    gray = ListedColormap(np.repeat(np.arange(256)[:, None] / 255, 3, axis=1))
    painted = painted_values(values, ALL, GRID)
    levels = np.floor((painted - values.min()) / np.ptp(values) * 256).clip(max=255)
    np.testing.assert_allclose(np.array(paint(values, ALL, GRID, gray))[..., 0], np.nan_to_num(levels), atol=1)


def test_better_and_worse_by_hand():
    values = np.array([[0.0, 5, 7], [9, 12, 5]])
    baseline = 7.0
    np.testing.assert_array_equal(relative(values, baseline, hdm.RAW), values)
    np.testing.assert_array_equal(relative(values, baseline, hdm.BETTER_ONLY), [[7, 2, 0], [0, 0, 2]])
    np.testing.assert_array_equal(relative(values, baseline, hdm.WORSE_ONLY), [[0, 0, 0], [2, 5, 0]])


@pytest.mark.parametrize("baseline", [-1.0, 0.0, 3.3, 6.0, 20.0])
def test_better_and_worse_as_defined(baseline):
    values = np.random.default_rng(3).uniform(0, 10, (4, 5))
    better = baseline - np.clip(values, min(values.min(), baseline), baseline)
    worse = np.clip(values, baseline, max(values.max(), baseline)) - baseline
    np.testing.assert_allclose(relative(values, baseline, "better"), better)
    np.testing.assert_allclose(relative(values, baseline, "worse"), worse)


def test_missing_and_infinite_distances():
    values = np.array([[np.nan, np.inf, 3.0]])
    np.testing.assert_array_equal(relative(values, 5.0, "worse"), [[np.nan, np.inf, 0]])
    np.testing.assert_array_equal(relative(values, 5.0, "better"), [[np.nan, 0, 2]])
    np.testing.assert_array_equal(relative(values, np.inf, "better"), [[np.nan, 0, np.inf]])
    np.testing.assert_array_equal(relative(values, np.inf, "worse"), [[np.nan, 0, 0]])
    np.testing.assert_array_equal(relative(values, np.nan, "worse"), [[np.nan, 0, 0]])

    grid = hdm.Grid(6, 18, 4, 6)
    shades = np.array([[np.nan, np.inf, 3.0]])
    image = np.array(paint(shades, np.ones((1, 3), bool), grid, "gray"))[..., 0]
    assert image[2, 2] == 0  # not measured: the ground
    assert image[2, 8] == 255  # infinity: the far end
    assert image[2, 14] == 0


@pytest.mark.parametrize("value", [0.0, 7.5, np.inf])
def test_a_constant_map_has_one_colour(value):
    image = np.array(paint(np.full(GRID.shape, value), ALL, GRID, "Blues"))
    covered = ~np.isnan(painted_values(np.zeros(GRID.shape), ALL, GRID))
    # The colour of zero; an infinite distance keeps that of the far end.
    share = 1.0 if np.isinf(value) else 0.0
    np.testing.assert_array_equal(
        image[covered], np.tile(matplotlib.colormaps["Blues"](share, bytes=True)[:3], (covered.sum(), 1))
    )
    assert not image[~covered].any()


def test_cells_that_are_not_shown_set_the_scale_but_no_disc():
    values, shown = np.zeros(GRID.shape), np.zeros(GRID.shape, bool)
    values[0, 0], values[2, 2], shown[2, 2] = 10.0, 5.0, True
    image = np.array(paint(values, shown, GRID, "gray"))[..., 0]
    assert set(np.unique(image)) == {0, 128}
    np.testing.assert_array_equal(image > 0, GRID.mask(2, 2))


@pytest.mark.parametrize("name", ["Blues", "viridis", "tab10"])
def test_colour_table_equals_matplotlib(name):
    color_map = matplotlib.colormaps[name]
    expected = color_map((np.arange(256) + 0.5) / 256, bytes=True)[:, :3]
    np.testing.assert_array_equal(color_table(name), expected)
    np.testing.assert_array_equal(color_table(color_map), expected)


def test_result_types_by_member_and_by_name():
    assert hdm.ResultType("raw") is hdm.RAW
    assert hdm.ResultType("better") is hdm.BETTER_ONLY
    assert hdm.ResultType(hdm.WORSE_ONLY) is hdm.WORSE_ONLY


# -- the explorer's order -----------------------------------------------------------------------------


def row_of(values, baseline):
    """A result of one row whose discs of five pixels lie four apart: each covers the next one's first column."""
    values = np.array([values], dtype=float)
    grid = hdm.Grid(4, 4 * values.size, 4, 4)
    empty = np.zeros((grid.height, grid.width), bool)
    image = np.zeros((1, *empty.shape), np.float32)
    return hdm.HDMResult(values, baseline, np.ones(values.shape, bool), grid, image, empty, empty, hdm.ScanSettings())


@pytest.mark.parametrize(
    ("values", "baseline", "kind", "by_value", "by_change"),
    [
        # Two pixels of row 2 that two discs share: the first with the second, the second with the third.
        ([1, 5, 9], 5.0, hdm.RAW, [5, 9], [1, 9]),
        ([9, 5, 1], 5.0, hdm.RAW, [9, 5], [9, 1]),
        # Equally far from the baseline: the larger distance lies on top.
        ([3, 7, 3], 5.0, hdm.RAW, [7, 7], [7, 7]),
        # The other maps show the change itself.
        ([1, 5, 9], 5.0, hdm.BETTER_ONLY, [4, 0], [4, 0]),
        ([1, 5, 9], 5.0, hdm.WORSE_ONLY, [0, 4], [0, 4]),
        # Without a baseline there is no change: the value decides.
        ([1, 5, 9], np.inf, hdm.RAW, [5, 9], [5, 9]),
        ([1, 5, 9], np.nan, hdm.RAW, [5, 9], [5, 9]),
        # An infinite distance differs most.
        ([0, np.inf, 4], 5.0, hdm.RAW, [np.inf, np.inf], [np.inf, np.inf]),
    ],
)
def test_which_disc_covers_another(values, baseline, kind, by_value, by_change):
    result = row_of(values, baseline)
    for order, expected in (("value", by_value), ("change", by_change)):
        painted = result.painted_values(kind, order=order)
        np.testing.assert_array_equal(painted[2, [4, 8]], expected)
        image = np.asarray(result.circle_map(kind, "viridis", order=order))[2, [4, 8]]
        alone = [np.asarray(result.circle_map(kind, "viridis"))[2, 2 + 4 * i] for i in range(len(values))]
        shown = result.distances(kind)[0].tolist()
        np.testing.assert_array_equal(image, [alone[shown.index(value)] for value in expected])


def test_the_published_order_is_the_default():
    result = row_of([9, 5, 1], 5.0)
    np.testing.assert_array_equal(result.painted_values(), result.painted_values(order="value"))
    assert result.circle_map() == result.circle_map(order="value")
    assert result.circle_map() != result.circle_map(order="change")
    for method in (result.circle_map, result.painted_values):
        with pytest.raises(ValueError, match="order must be one of 'value', 'change', 'mean', got 'size'"):
            method(order="size")


@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        hdm.Grid(30, 12, 12, 3),
        hdm.Grid(20, 20, 5, 4, disc_shape="square"),
        ShiftedGrid(23, 31, 9, 5, shift=(-2, 2)),
    ],
)
def test_the_mean_of_all_discs_at_a_pixel(grid):
    random = np.random.default_rng(5)
    values, shown = random.uniform(-3, 9, grid.shape), random.random(grid.shape) < 0.8
    values[random.random(grid.shape) < 0.1] = np.nan
    sums, discs = np.zeros((2, grid.height, grid.width))
    for row, col in np.argwhere(shown & ~np.isnan(values)):
        mask = grid.mask(row, col)
        sums += values[row, col] * mask
        discs += mask
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(mean_values(values, shown, grid), sums / discs, atol=1e-12)


def test_means_have_the_colors_of_the_map():
    grid, shown = hdm.Grid(8, 8, 4, 4), np.ones((2, 2), bool)
    values = np.array([[4.0, 0], [2, 3]])
    gray = ListedColormap(np.repeat(np.arange(256)[:, None] / 255, 3, axis=1))
    painted = np.array(paint_mean(values, shown, grid, gray))[..., 0]
    # The middle of a disc, the column that two discs share, and a corner that none covers.
    assert painted[[2, 2, 6, 2, 0], [2, 6, 6, 4, 0]].tolist() == [255, 0, 192, 128, 0]


def test_a_result_paints_means():
    image = np.zeros((1, 8, 8), np.float32)
    image[0, 2, 2] = image[0, 6, 6] = 1
    explainer = hdm.HausdorffDistanceMasks(8, 8)
    explainer.generate_masks(4, 4)
    result = explainer.explain(lambda images: images[:, 0], image, image[0] > 0.5, "cpu", distance="flipped")
    means = mean_values(result.values, result.measured, result.grid)
    np.testing.assert_array_equal(result.painted_values(order="mean"), means)
    np.testing.assert_array_equal(
        np.array(result.circle_map(order="mean")),
        np.array(paint_mean(result.values, result.measured, result.grid, "Reds")),
    )
    region = np.zeros((8, 8), bool)
    region[:4, :4] = True
    total = np.nan_to_num(means).sum()
    assert result.relevance_mass_accuracy(region, order="mean") == np.nan_to_num(means)[:4, :4].sum() / total
    with pytest.raises(ValueError, match="mean"):
        result.circle_map(order="median")


def test_beside_infinite_distances_finite_ones_have_no_mass():
    image = np.zeros((1, 8, 8), np.float32)
    image[0, 1, 1] = 1
    explainer = hdm.HausdorffDistanceMasks(8, 8)
    explainer.generate_masks(2, 4)
    result = explainer.explain(lambda images: images[:, 0], image, image[0] > 0.5, "cpu", empty="inf")
    assert np.isinf(result.values).sum() == 1
    region = np.zeros((8, 8), bool)
    region[:4, :4] = True
    assert result.relevance_mass_accuracy(region) == 1
    assert result.relevance_mass_accuracy(~region) == 0
