"""Two maps of more items than are drawn as points: an image each, with one view and one selection."""

import io

import numpy as np
import pytest
from on_screen import ComparisonScreen
from PIL import Image

from hdm_widgets.latent.comparison_plot import CHANGES, bounds_of, change_limit
from hdm_widgets.widgets.latent.palette import MISSING

DONE = {"error": None}


@pytest.fixture
def many(compare, monkeypatch):
    """A comparison for which 24 items are more than can be drawn, and 6 in view are too many for points."""
    monkeypatch.setattr("hdm_widgets.widgets.latent.point_figure.MOST_POINTS", 10)
    monkeypatch.setattr("hdm_widgets.widgets.latent.aggregate_layer._FEWEST_AGGREGATED", 6)
    return compare()


def images(screen):
    """The pixels of both maps."""
    return [np.asarray(Image.open(io.BytesIO(shown.surface.image.value))) for shown in screen.maps]


def of_items(pixels):
    """Which pixels have the color of items, and are no edges around them."""
    return (pixels[..., 3] > 0) & (pixels[..., :3] != 128).any(axis=-1)


def corners_around(positions):
    """Corners of a box around positions, as the browser sends them."""
    (x0, y0), (x1, y1) = positions.min(axis=0) - 1e-3, positions.max(axis=0) + 1e-3
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def test_all_of_very_many_items_are_in_both_images(many, comparison):
    screen = ComparisonScreen(many)
    assert screen.legend["total"] == 24
    first = screen.legend["_points"]
    for told, pixels, points in zip((first, *first["others"]), images(screen), comparison.coordinates, strict=True):
        assert told["rows"].tolist() == []
        assert tuple(told["bounds"]) == bounds_of(comparison)
        rows, cols = told["items"].shape
        x0, x1, y0, y1 = bounds_of(comparison)
        x, y = points.T
        col, row = ((x - x0) / (x1 - x0) * cols).astype(int), ((y1 - y) / (y1 - y0) * rows).astype(int)
        np.testing.assert_array_equal(pixels[row, col, 3] > 0, True)
        assert np.count_nonzero(of_items(pixels)) == len(set(zip(row.tolist(), col.tolist(), strict=True)))
        alone = [item for item in range(24) if ((row == row[item]) & (col == col[item])).sum() == 1]
        assert told["items"][row[alone], col[alone]].tolist() == alone
        changes = np.clip(comparison.iou_change[alone] / change_limit(comparison), -1, 1)
        colors = CHANGES.with_extremes(bad=MISSING)(np.ma.masked_invalid(0.5 + changes / 2))[:, :3]
        np.testing.assert_allclose(pixels[row[alone], col[alone], :3], 255 * colors, atol=1)
    density = screen.legend["density"]
    assert (density["inView"], density["others"][0]["inView"]) == (24, 24)


@pytest.mark.parametrize("figure", [0, 1])
def test_a_lasso_on_either_image_selects_all_items_within_it_on_both(many, comparison, figure):
    screen = ComparisonScreen(many)
    points = comparison.coordinates[figure]
    corners = corners_around(points[points[:, 0] > np.median(points[:, 0])])
    inside = ((points >= corners[:2]) & (points <= corners[4:6])).all(axis=1)
    screen.legend.ask("gesture", kind="lasso", mode="replace", figure=figure, polygon=corners)
    assert many.selected == tuple(np.flatnonzero(inside))
    assert sorted(screen.items) == np.flatnonzero(inside).tolist()
    assert {name["figure"] for name in screen.legend["names"]} == {0, 1}
    message = screen.legend["_points"]
    for told, pixels in zip((message, *message["others"]), images(screen), strict=True):
        alpha, own = pixels[..., 3], of_items(pixels)
        chosen = np.isin(told["items"], many.selected)
        assert alpha[own & chosen].min() >= 89
        assert alpha[own & ~chosen].max() <= 77


def test_both_images_have_one_view_and_few_items_are_points(many, comparison):
    screen = ComparisonScreen(many)
    x, y = comparison.coordinates[0][3]
    near = [x - 1e-3, x + 1e-3, y - 1e-3, y + 1e-3]
    assert screen.legend.ask("view", bounds=near, rows=50, cols=60)[0] == DONE
    message = screen.legend["_points"]
    for told, points, shown in zip((message, *message["others"]), comparison.coordinates, screen.maps, strict=True):
        np.testing.assert_allclose(told["bounds"], near)
        inside = np.flatnonzero((np.abs(points - (x, y)) <= 1e-3).all(axis=1))
        assert told["rows"].tolist() == inside.tolist()
        assert shown.points.x.tolist() == points[inside, 0].tolist()
    screen.legend.ask("gesture", kind="click", item=3)
    assert many.highlighted == 3
    screen.legend.ask("view", bounds=[-1e9, 1e9, -1e9, 1e9], rows=50, cols=60)
    message = screen.legend["_points"]
    for told in (message, *message["others"]):
        assert tuple(told["bounds"]) == bounds_of(comparison)
        assert told["items"].shape == (50, 60)


def test_the_pointer_is_told_where_an_item_is_on_both_maps(compare, comparison):
    reply, _ = ComparisonScreen(compare()).legend.ask("places", item=4)
    assert reply == DONE | {"places": [points[4].tolist() for points in comparison.coordinates]}
    reply, _ = ComparisonScreen(compare()).legend.ask("places", item=24)
    assert "24" in reply["error"]
