"""A map of more items than are drawn as points: an image, a lasso by polygon, and views."""

import io

import numpy as np
import pytest
from on_screen import LatentScreen
from PIL import Image

from hdm_widgets.widgets.latent.aggregates import AggregateMap
from hdm_widgets.widgets.latent.palette import Coloring


@pytest.fixture
def many(explore, space, monkeypatch):
    """An explorer for which 24 items are more than can be drawn, and 6 in view are too many for points."""
    monkeypatch.setattr("hdm_widgets.widgets.latent.point_figure.MOST_POINTS", 10)
    monkeypatch.setattr("hdm_widgets.widgets.latent.aggregate_layer._FEWEST_AGGREGATED", 6)
    return explore(space)


def picture(shown):
    """The image of the items: the second one, over the surface."""
    return shown.figure.marks[1]


def around(positions):
    """Corners of a box around positions, as the browser sends them."""
    (x0, y0), (x1, y1) = positions.min(axis=0) - 1e-3, positions.max(axis=0) + 1e-3
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def test_all_items_are_in_an_image(many, space):
    shown = LatentScreen(many)
    assert shown.legend["total"] == 24
    assert shown.legend["density"]["inView"] == 24
    points = shown.legend["_points"]
    assert points["rows"].tolist() == []
    seen = points["items"]
    assert set(seen[seen >= 0].tolist()) <= set(range(24))
    pixels = np.asarray(Image.open(io.BytesIO(picture(shown).image.value)))
    np.testing.assert_array_equal(pixels[..., 3] > 0, seen >= 0)
    assert np.concatenate([picture(shown).x, picture(shown).y]).tolist() == points["bounds"]


def test_a_lasso_selects_all_items_within_it_and_dims_the_others(many, space):
    shown = LatentScreen(many)
    group = np.flatnonzero(space.embedding_[:, 0] > np.median(space.embedding_[:, 0]))
    corners = around(space.embedding_[group])
    inside = ((space.embedding_ >= corners[:2]) & (space.embedding_ <= corners[4:6])).all(axis=1)
    shown.legend.ask("gesture", kind="lasso", mode="replace", polygon=corners)
    assert many.selected == tuple(np.flatnonzero(inside))
    alpha = np.asarray(Image.open(io.BytesIO(picture(shown).image.value)))[..., 3]
    seen = shown.legend["_points"]["items"]
    assert alpha[(seen >= 0) & np.isin(seen, many.selected)].min() >= 89
    assert alpha[(seen >= 0) & ~np.isin(seen, many.selected)].max() <= 77
    shown.legend.ask("gesture", kind="lasso", mode="subtract", polygon=around(space.embedding_[group[:1]]))
    assert group[0] not in many.selected


def test_observers_are_told_positions_of_what_a_lasso_selects(many, space):
    heard = []
    many.observe(lambda change: heard.append((change["old"], change.new, change.get("name"))), names=["selected"])
    shown = LatentScreen(many)
    shown.legend.ask("gesture", kind="lasso", mode="replace", polygon=around(space.embedding_))
    many.selected = [3, 1]
    everything = tuple(range(24))
    assert heard == [((), everything, "selected"), (everything, (1, 3), "selected")]
    assert many.selected == (1, 3)
    assert many.selection.index.tolist() == [1, 3]


def test_nothing_is_drawn_before_there_are_colors(space, monkeypatch):
    monkeypatch.setattr("hdm_widgets.widgets.latent.aggregate_layer._FEWEST_AGGREGATED", 6)
    figure = AggregateMap(space)
    assert figure.points_message["items"].shape == (0, 0)
    assert not figure.figure.marks[1].visible
    figure.color_by(Coloring(["#ff0000"], np.zeros(len(space), int), {}))
    assert figure.figure.marks[1].visible
    pixels = np.asarray(Image.open(io.BytesIO(figure.figure.marks[1].image.value)))
    # Items that stand alone have a gray edge.
    assert {tuple(color) for color in pixels[pixels[..., 3] > 0][:, :3].tolist()} == {(255, 0, 0), (128, 128, 128)}
    figure.close()


def test_a_click_highlights_the_item_under_it(many):
    shown = LatentScreen(many)
    shown.legend.ask("gesture", kind="click", item=7)
    assert (many.highlighted, many.selected) == (7, ())


def test_a_view_of_few_items_has_points_and_the_whole_map_has_an_image_again(many, space):
    shown = LatentScreen(many)
    whole = shown.legend["_points"]["bounds"]
    many.select([3])
    x, y = space.embedding_[3]
    near = [x - 1e-3, x + 1e-3, y - 1e-3, y + 1e-3]
    assert shown.legend.ask("view", bounds=near, rows=50, cols=60)[0] == {"error": None}
    points = shown.legend["_points"]
    expected = np.flatnonzero((np.abs(space.embedding_ - (x, y)) <= 1e-3).all(axis=1))
    assert points["rows"].tolist() == expected.tolist()
    np.testing.assert_allclose(points["bounds"], near)
    assert shown.legend["density"] == {"inView": len(expected), "most": 0}
    assert points["items"].shape == (0, 0)
    assert not picture(shown).visible
    assert shown.points.x.tolist() == space.embedding_[expected, 0].tolist()
    assert shown.points.opacities.tolist() == [1.0 if row == 3 else 0.3 for row in expected]
    # Nothing lies beyond the map.
    shown.legend.ask("view", bounds=[-1e9, 1e9, -1e9, 1e9], rows=50, cols=60)
    assert shown.legend["_points"]["bounds"] == whole
    assert shown.legend["_points"]["items"].shape == (50, 60)
    assert picture(shown).visible


def test_an_axis_has_the_labels_of_its_ticks_before_the_ticks(many):
    # bqplot writes ticks a moment after it is told of them, by the labels that it had then.
    shown = LatentScreen(many)
    told = []
    for axis in shown.figure.axes:
        axis.observe(lambda change: told.append((change["owner"].side, change["name"])), ["tick_labels", "tick_values"])
    shown.legend.ask("view", bounds=[-0.001, 0.001, -0.002, 0.002], rows=50, cols=60)
    assert told == [(side, name) for side in ("bottom", "left") for name in ("tick_labels", "tick_values")]
    for axis in shown.figure.axes:
        np.testing.assert_array_equal([float(key) for key in axis.tick_labels], axis.tick_values)


@pytest.mark.parametrize("bounds", [[1.0, 0.0, 0.0, 1.0], [0.0, float("nan"), 0.0, 1.0]])
def test_a_view_that_is_none_is_refused(many, bounds):
    reply, _ = LatentScreen(many).legend.ask("view", bounds=bounds, rows=5, cols=5)
    assert "a view must have finite bounds x0 < x1 and y0 < y1" in reply["error"]
