"""More new items than are drawn as points: diamonds of several items over the map, and a lasso over all of them."""

import io

import numpy as np
import pytest
from on_screen import LatentScreen
from PIL import Image

from hdm_widgets.widgets.latent.diamonds import draw_diamonds
from hdm_widgets.widgets.latent.palette import SCORES

TOTAL = 24


@pytest.fixture
def estimates(space, new_places):
    return space.estimate(new_places, progress=False)


@pytest.fixture
def many(explore, space, estimates, monkeypatch):
    """An explorer for which 12 new items are more than can be drawn, and 6 in view are too many for points."""
    monkeypatch.setattr("hdm_widgets.widgets.latent.point_figure.MOST_POINTS", 10)
    monkeypatch.setattr("hdm_widgets.widgets.latent.aggregate_layer._FEWEST_AGGREGATED", 6)
    return explore(space, new=estimates)


def pixels(shown, place):
    """The image of the map's items, or that of the new ones."""
    pictures = [mark for mark in shown.figure.marks if hasattr(mark, "image")]
    return np.asarray(Image.open(io.BytesIO(pictures[place].image.value)))


def corners_around(positions):
    """Corners of a box around positions, as the browser sends them."""
    (x0, y0), (x1, y1) = positions.min(axis=0) - 1e-3, positions.max(axis=0) + 1e-3
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def test_a_diamond_has_the_color_of_its_pixel_and_a_gray_edge_that_is_more_opaque():
    drawn = draw_diamonds(np.array([[[255, 0, 0, 100], [0, 0, 0, 0]]], np.uint8), 10)
    assert drawn.shape == (10, 20, 4)
    assert drawn[4, 4].tolist() == [255, 0, 0, 100]
    assert drawn[0, 0, 3] == drawn[9, 9, 3] == 0
    assert drawn[5, 1].tolist() == [128, 128, 128, 160]
    assert drawn[:, 10:, 3].max() == 0
    np.testing.assert_array_equal(drawn[:, :10], drawn[::-1, :10][:, ::-1])


def test_all_new_items_are_in_an_image_of_diamonds(many, estimates):
    shown = LatentScreen(many)
    assert shown.legend["new"]["count"] == 12
    density = shown.legend["density"]
    assert (density["inView"], density["new"]["inView"]) == (24, 12)
    image = pixels(shown, 2)
    rows, cols = image.shape[0] // 10, image.shape[1] // 10
    x0, x1, y0, y1 = shown.legend["_points"]["bounds"]
    x, y = estimates.embedding[:, :2].T
    row, col = ((y1 - y) / (y1 - y0) * rows).astype(int), ((x - x0) / (x1 - x0) * cols).astype(int)
    assert np.count_nonzero(image[4::10, 4::10, 3]) == len(set(zip(row.tolist(), col.tolist(), strict=True)))
    alone = [item for item in range(12) if ((row == row[item]) & (col == col[item])).sum() == 1]
    assert alone
    colors = 255 * SCORES(estimates.iou[alone])[:, :3]
    np.testing.assert_allclose(image[10 * row[alone] + 4, 10 * col[alone] + 4, :3], colors, atol=3)
    items = shown.legend["_points"]["items"]
    (down, across) = (
        (2 * place[alone] + 1) * size // (2 * cells)
        for place, size, cells in ((row, items.shape[0], rows), (col, items.shape[1], cols))
    )
    assert items[down, across].tolist() == [TOTAL + item for item in alone]
    assert set(items[items >= 0].tolist()) - set(range(TOTAL + 12)) == set()
    assert shown.new_points.x.tolist() == []


def test_a_lasso_selects_all_new_items_within_it_beside_those_of_the_map(many, space, estimates):
    shown = LatentScreen(many)
    x = estimates.embedding[:, 0]
    corners = corners_around(estimates.embedding[x > np.median(x), :2])

    def inside(points):
        return np.flatnonzero(((points >= corners[:2]) & (points <= corners[4:6])).all(axis=1))

    shown.legend.ask("gesture", kind="lasso", mode="replace", figure=0, polygon=corners)
    chosen = inside(estimates.embedding[:, :2])
    assert many.new_selected == tuple(chosen)
    assert many.selected == tuple(inside(space.embedding_))
    assert sorted(shown.items) == [TOTAL + item for item in chosen]
    # What is not selected is dimmed.
    alpha = pixels(shown, 2)[4::10, 4::10, 3]
    assert alpha[alpha > 77].size > 0
    assert alpha[(alpha > 0) & (alpha <= 77)].size > 0


def test_the_points_of_one_kind_can_be_shown_alone(many):
    shown = LatentScreen(many)
    everywhere = [-1e3, -1e3, 1e3, -1e3, 1e3, 1e3, -1e3, 1e3]
    many.points = "map"
    items = shown.legend["_points"]["items"]
    assert items.max() < TOTAL
    assert "new" not in shown.legend["density"]
    shown.legend.ask("gesture", kind="lasso", mode="replace", figure=0, polygon=everywhere)
    assert (len(many.selected), len(many.new_selected)) == (24, 0)
    many.clear()
    many.points = "new"
    items = shown.legend["_points"]["items"]
    assert items[items >= 0].min() >= TOTAL
    assert "inView" not in shown.legend["density"]
    shown.legend.ask("gesture", kind="lasso", mode="replace", figure=0, polygon=everywhere)
    assert (len(many.selected), len(many.new_selected)) == (0, 12)


def test_few_new_items_in_view_are_diamonds_of_one_each(many, estimates):
    shown = LatentScreen(many)
    x, y = estimates.embedding[3, :2]
    shown.legend.ask("view", bounds=[x - 1e-3, x + 1e-3, y - 1e-3, y + 1e-3], rows=50, cols=60)
    near = np.flatnonzero((np.abs(estimates.embedding[:, :2] - (x, y)) <= 1e-3).all(axis=1))
    assert shown.new_points.x.tolist() == estimates.embedding[near, 0].tolist()
    rows = shown.legend["_points"]["rows"]
    assert rows[rows >= TOTAL].tolist() == (TOTAL + near).tolist()
    shown.legend.ask("gesture", kind="click", item=TOTAL + 3)
    assert many.new_highlighted == 3
