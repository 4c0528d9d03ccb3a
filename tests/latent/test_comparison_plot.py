from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

import hdm_widgets as hw
from hdm_widgets.latent.comparison_plot import CHANGES, bounds_of, change_limit, drawing_order


def masks_with_iou(groups, parts):
    """Predictions that find these fractions of the true masks; NaN: as they are."""
    drawn = groups.masks.copy()
    for mask, part in zip(drawn, parts, strict=True):
        inside = np.flatnonzero(mask)
        mask.ravel()[inside[round(part * len(inside)) :]] = False
    return drawn


@pytest.fixture(scope="module")
def comparison(make_groups):
    """Sixty items: all found by half at first; then ten wholly, five not at all, one a little less."""
    groups = make_groups(60)
    groups.masks[59] = False  # and nothing is drawn there: without an IoU
    parts = np.full(60, 0.5)
    later = parts.copy()
    later[:10], later[10:15], later[15] = 1.0, 0.0, 0.45
    features = groups.images.mean((2, 3))
    turned = np.stack([features[:, 1], 3 * features[:, 0]], axis=1)
    spaces = [
        hw.LatentSpace.from_features(columns, groups, masks_with_iou(groups, found), iou_empty=np.nan, progress=False)
        for columns, found in ((features, parts), (turned, later))
    ]
    return hw.compare_spaces(*spaces, names=("before", "after"), k=5)


@pytest.fixture(scope="module")
def figure(comparison):
    return comparison.plot()


def test_both_maps_are_drawn_with_the_largest_changes_on_top(comparison, figure):
    order = drawing_order(comparison)
    # The item without an IoU comes first, the ten and the five last.
    assert order[0] == 59
    assert set(order[-15:].tolist()) == set(range(15))
    assert order[-16] == 15
    for axes, points in zip(figure.axes[:2], comparison.coordinates, strict=True):
        (drawn,) = axes.collections
        np.testing.assert_allclose(drawn.get_offsets(), points[order])
        np.testing.assert_allclose(drawn.get_array().filled(np.nan), comparison.iou_change[order])


def test_points_have_the_color_of_the_change_with_0_in_the_middle(comparison, figure):
    limit = change_limit(comparison)
    assert limit == pytest.approx(np.nanpercentile(np.abs(comparison.iou_change), 95))
    (drawn,) = figure.axes[0].collections
    assert (drawn.norm.vmin, drawn.norm.vmax) == (-limit, limit)
    drawn.update_scalarmappable()
    order = drawing_order(comparison).tolist()
    colors = {item: tuple(drawn.get_facecolors()[order.index(item)]) for item in (0, 10, 30, 59)}
    assert colors[30] == CHANGES(0.5)
    assert colors[0] == pytest.approx(CHANGES(1.0))
    assert colors[10] == pytest.approx(CHANGES(0.5 + comparison.iou_change[10] / (2 * limit)), abs=0.01)
    red, _, blue, _ = colors[10]
    assert red > blue + 0.3
    assert colors[59] == pytest.approx(mpl.colors.to_rgba("#9aa4b2"))


def test_the_histogram_counts_every_item_with_a_change(comparison, figure):
    changes = figure.axes[2]
    heights = np.array([bar.get_height() for bar in changes.patches])
    assert heights.sum() == 59
    lefts = np.array([bar.get_x() for bar in changes.patches])
    widths = np.array([bar.get_width() for bar in changes.patches])
    assert heights[lefts > 0.1].sum() == len(comparison.better) == 10
    assert heights[lefts + widths < -0.1].sum() == len(comparison.worse) == 5
    assert lefts[0] == -(lefts + widths)[-1]  # 0 is in the middle
    assert changes.get_title() == "5 worse, 10 better"
    assert {tuple(line.get_xdata()) for line in changes.lines} == {(-0.1, -0.1), (0.1, 0.1)}


def test_the_titles_name_the_models_and_their_iou(comparison, figure):
    means = [np.nanmean(iou) for iou in comparison.iou]
    assert [axes.get_title() for axes in figure.axes[:2]] == [
        f"before, mean IoU {means[0]:.2f}",
        f"after, mean IoU {means[1]:.2f}",
    ]


def test_both_maps_have_the_same_limits_which_hold_all_points(comparison, figure):
    x0, x1, y0, y1 = bounds_of(comparison)
    for axes in figure.axes[:2]:
        assert (*axes.get_xlim(), *axes.get_ylim()) == pytest.approx((x0, x1, y0, y1))
    both = np.concatenate(comparison.coordinates)
    assert ((both > [x0, y0]) & (both < [x1, y1])).all()
    extent = both.max(axis=0) - both.min(axis=0)
    np.testing.assert_allclose([x1 - x0, y1 - y0], 1.1 * extent)


def test_small_changes_are_pale(make_groups):
    groups = make_groups(30)
    masks = masks_with_iou(groups, np.full(30, 0.5))
    spaces = [
        hw.LatentSpace.from_features(groups.features, groups, masks, progress=False),
        hw.LatentSpace.from_features(groups.features, groups, masks, progress=False),
    ]
    found = hw.compare_spaces(*spaces, k=3)
    # What is no change is not stretched over the whole scale.
    assert change_limit(found) == found.changed_above == 0.1


def test_no_item_with_an_iou(make_groups):
    groups = make_groups(30)
    groups.masks[:] = False
    empty = np.zeros_like(groups.masks)
    space = hw.LatentSpace.from_features(groups.features, groups, empty, iou_empty=np.nan, progress=False)
    figure = hw.compare_spaces(space, space, k=3).plot()
    figure.canvas.draw()
    assert [axes.get_title() for axes in figure.axes[:3]] == ["a", "b", "0 worse, 0 better"]
    assert sum(bar.get_height() for bar in figure.axes[2].patches) == 0


def test_the_figure_belongs_to_nothing_of_pyplot(comparison):
    before, settings = plt.get_fignums(), dict(mpl.rcParams)
    comparison.plot()
    assert plt.get_fignums() == before
    assert dict(mpl.rcParams) == settings


def test_a_cell_of_a_fresh_kernel_shows_the_figure(comparison):
    # As in a kernel where pyplot has registered nothing for figures.
    shown, _ = DisplayFormatter().format(comparison.plot())
    assert shown["image/png"].startswith(b"\x89PNG")
    assert int.from_bytes(shown["image/png"][16:20]) == 1260


def test_titles_of_long_names_keep_the_mean_iou(comparison):
    names = ("unet_resnet34_of_run_7_epoch_0012.pt", "b")
    figure = replace(comparison, names=names).plot()
    mean = np.nanmean(comparison.iou[0])
    assert figure.axes[0].get_title() == f"unet_resnet34…ch_0012.pt, mean IoU {mean:.2f}"
    assert figure.axes[1].get_xlabel() == "PC 1 of unet_resnet34…ch_0012.pt"


def test_names_with_dollar_signs_are_no_formulas(comparison):
    figure = replace(comparison, names=(r"$\run$", "costs $1 to $2")).plot()
    figure.canvas.draw()  # raises where a formula cannot be read
    # A dollar sign behind a backslash is drawn as it is.
    assert figure.axes[1].get_title().startswith(r"costs \$1 to \$2, mean IoU ")
    assert figure.axes[0].get_ylabel() == r"PC 2 of \$\run\$"
