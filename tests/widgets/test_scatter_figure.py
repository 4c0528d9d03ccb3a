import io
import re

import ipywidgets
import numpy as np
import pytest
from bqplot.interacts import LassoSelector
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path
from on_screen import Map
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import nn

import hdm_widgets as hw
from hdm_widgets.widgets.latent.palette import SCORES, table_of
from hdm_widgets.widgets.latent.point_figure import rounded_hull
from hdm_widgets.widgets.latent.scatter import ScatterFigure

EVERY = np.arange(24)


def instances():
    return set(ipywidgets.widgets.widget._instances)


@pytest.fixture
def draw(space):
    """Figures that are closed after the test."""
    made = []

    def drawer(rows=EVERY, space=space):
        made.append(ScatterFigure(space, rows))
        return made[-1]

    yield drawer
    for scatter in made:
        scatter.close()


def lasso(scatter, *points):
    Map(scatter.figure).lasso(*points)


# -- what is drawn ------------------------------------------------------------------------------------


def test_points_are_where_the_space_has_its_items(draw, space):
    scatter = draw()
    np.testing.assert_array_equal(Map(scatter.figure).points.x, space.embedding_[:, 0])
    np.testing.assert_array_equal(Map(scatter.figure).points.y, space.embedding_[:, 1])


def test_some_rows_only(draw, space):
    scatter = draw(np.array([2, 7, 20]))
    np.testing.assert_array_equal(Map(scatter.figure).points.x, space.embedding_[[2, 7, 20], 0])
    np.testing.assert_array_equal(Map(scatter.figure).points.y, space.embedding_[[2, 7, 20], 1])
    scatter.color([f"#0000{i:02x}" for i in range(24)])
    assert Map(scatter.figure).points.colors == ["#000002", "#000007", "#000014"]


def test_the_plot_reaches_from_end_to_end_of_the_surface(draw, space):
    scatter = draw()
    surface = space.surface((4, 4))
    assert scatter.bounds == pytest.approx((surface.x[0], surface.x[-1], surface.y[0], surface.y[-1]))
    x, y = Map(scatter.figure).points.scales["x"], Map(scatter.figure).points.scales["y"]
    assert (x.min, x.max, y.min, y.max) == scatter.bounds
    assert (x.allow_padding, y.allow_padding) == (False, False)
    for mark in scatter.figure.marks:
        assert (mark.scales["x"], mark.scales["y"]) == (x, y)
    np.testing.assert_array_equal(Map(scatter.figure).surface.x, scatter.bounds[:2])
    np.testing.assert_array_equal(Map(scatter.figure).surface.y, scatter.bounds[2:])
    # All points are inside.
    x0, x1, y0, y1 = scatter.bounds
    assert x0 < space.embedding_[:, 0].min() < space.embedding_[:, 0].max() < x1
    assert y0 < space.embedding_[:, 1].min() < space.embedding_[:, 1].max() < y1


def test_axes_say_what_they_are_and_have_round_numbers(draw, space):
    horizontal, vertical = draw().figure.axes
    shares = space.explained_variance_ratio_
    assert horizontal.label == f"PC 1 ({100 * shares[0]:.0f}% of the variance)"
    assert vertical.label == f"PC 2 ({100 * shares[1]:.0f}% of the variance)"
    assert (horizontal.side, vertical.side) == ("bottom", "left")
    for axis in (horizontal, vertical):
        ticks = axis.tick_values
        assert 3 <= len(ticks) <= 8
        assert axis.scale.min <= ticks[0] < ticks[-1] <= axis.scale.max
        step = ticks[1] - ticks[0]
        np.testing.assert_allclose(np.diff(ticks), step)
        assert min(abs(step / 10 ** np.floor(np.log10(step)) - round_one) for round_one in (1, 2, 2.5, 5)) < 1e-9


class Scaled(nn.Module):
    """Draws where the first channel is above one half; its layer `values` puts the image out many times as large."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor
        self.values = nn.Identity()

    def forward(self, images):
        self.values(self.factor * images)
        return images[:, 0]


@pytest.mark.parametrize(
    ("factor", "unit", "power"),
    [
        (1e-7, " in 10⁻⁹", -9),
        (0.01, " in 10⁻³", -3),
        (1, "", 0),
        (9000, "", 0),
        (1e5, " in 10³", 3),
        (1e9, " in 10⁶", 6),
    ],
)
def test_numbers_on_an_axis_are_short_whatever_the_size_of_the_activations(draw, places, factor, unit, power):
    space = hw.LatentSpace(Scaled(factor), layer="values").fit(places, progress=False)
    for axis in draw(space=space).figure.axes:
        assert re.fullmatch(rf"PC \d{unit} \(\d+% of the variance\)", axis.label)
        labels = axis.tick_labels or {f"{value:g}": f"{value:g}" for value in axis.tick_values}
        np.testing.assert_allclose([float(value) for value in labels], axis.tick_values)
        np.testing.assert_allclose([float(label) * 10.0**power for label in labels.values()], axis.tick_values)
        assert max(map(len, labels.values())) <= 6


@pytest.mark.parametrize(("score", "opacity"), [(0.4, 0.6), (-0.1, 0.18)], ids=["good", "no better than the mean"])
def test_the_surface_has_the_color_of_the_iou_to_expect_and_is_clear_where_no_items_are(
    draw, make_places, map_of, monkeypatch, score, opacity
):
    space = map_of(make_places(60))
    monkeypatch.setattr(type(space), "cv_score_", score)
    background = Map(draw(np.arange(60), space).figure).surface
    assert background.visible
    # Row 0 of a image is at its top, where the second component is largest.
    image = np.array(Image.open(io.BytesIO(background.image.value)))[::-1]
    surface = space.surface(image.shape[:2])
    within = distance_transform_edt(surface.support == 1) > 9
    outside = distance_transform_edt(surface.support == 0) > 9
    assert within.sum() > 100
    assert outside.sum() > 100
    table = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in table_of(SCORES)])
    expected = table[np.minimum(255, (surface.values[within] * 256).astype(int))]
    assert np.abs(image[within][:, :3] - expected).max() <= 1
    assert (image[within][:, 3] == round(opacity * 255)).all()
    assert (image[outside][:, 3] == 0).all()


def painted(scatter):
    """Rows of the surface's opacity, the lowest second component first."""
    return np.array(Image.open(io.BytesIO(Map(scatter.figure).surface.image.value)))[::-1, :, 3]


def test_the_surface_reaches_as_far_as_new_items_widen_the_plot_and_back(draw, make_places, map_of):
    space = map_of(make_places(60))
    scatter = draw(np.arange(60), space)
    own, narrow, known = scatter.bounds, painted(scatter), instances()
    x0, x1, y0, y1 = own
    far = np.array([[x1 + 0.5 * (x1 - x0), y0], [x0, y1 + 0.2 * (y1 - y0)]])
    assert scatter.show_new(far, np.arange(2), ["#ff0000"] * 2) == 0
    assert scatter.bounds[1] > x1
    assert scatter.bounds[3] > y1
    background = Map(scatter.figure).surface
    np.testing.assert_array_equal(np.concatenate([background.x, background.y]), scatter.bounds)
    wide = painted(scatter)
    # As fine as before, and at most one pixel more.
    pixels = np.array(narrow.shape) * np.diff(np.reshape(scatter.bounds, (2, 2)))[::-1, 0]
    extra = wide.shape - pixels / np.diff(np.reshape(own, (2, 2)))[::-1, 0]
    assert (extra >= 0).all()
    assert (extra < 1).all()
    support = space.surface(wide.shape, scatter.bounds).support
    clear, full = (distance_transform_edt(support == value) > 9 for value in (0, 1))
    assert clear.sum() > 100
    assert full.sum() > 100
    assert (wide[clear] == 0).all()
    assert (wide[full] == wide.max()).all()
    # Beyond the own end of the plot, it goes on where items are near: there is no edge.
    end = round(wide.shape[1] * (x1 - x0) / (scatter.bounds[1] - x0))
    assert (np.abs(np.diff(wide[:, end - 2 : end + 2].astype(int), axis=1)) < 16).all()

    scatter.show_new(far[:1] * 0 + [(x0 + x1) / 2, (y0 + y1) / 2], np.arange(1), ["#ff0000"])
    assert scatter.bounds == own
    np.testing.assert_array_equal(np.concatenate([background.x, background.y]), own)
    np.testing.assert_array_equal(painted(scatter), narrow)
    # Images that are drawn no more are closed.
    assert len(instances()) == len(known)


def test_the_surface_can_be_hidden(draw):
    scatter = draw()
    scatter.show_surface(False)
    assert not Map(scatter.figure).surface.visible
    scatter.show_surface(True)
    assert Map(scatter.figure).surface.visible


def test_there_is_no_surface_where_no_item_has_an_iou(make_places, map_of, draw):
    blind = map_of(make_places(8, empty=range(8)))
    assert np.isnan(blind.iou_).all()
    scatter = draw(np.arange(8), blind)
    assert not Map(scatter.figure).surface.visible
    # Nor after hiding and showing it: there is nothing that a color could stand for.
    scatter.show_surface(False)
    scatter.show_surface(True)
    assert not Map(scatter.figure).surface.visible


def test_a_ring_around_an_item(draw, space):
    scatter = draw(np.array([0, 1, 2]))
    scatter.highlight(17)  # not among those drawn
    assert Map(scatter.figure).ring.visible
    assert (Map(scatter.figure).ring.x.tolist(), Map(scatter.figure).ring.y.tolist()) == (
        [space.embedding_[17, 0]],
        [space.embedding_[17, 1]],
    )
    scatter.highlight(None)
    assert not Map(scatter.figure).ring.visible


# -- the lasso ----------------------------------------------------------------------------------------


def test_a_lasso_tells_which_items_are_inside(draw):
    scatter = draw()
    heard = []
    scatter.on_lasso(lambda inside: heard.append(inside.tolist()))
    lasso(scatter, 3, 1, 4)
    lasso(scatter)
    lasso(scatter, 3, 1, 4)  # the same again counts again
    assert heard == [[3, 1, 4], [], [3, 1, 4]]


def test_points_of_a_sample_are_told_as_items(draw):
    scatter = draw(np.array([2, 7, 20, 22]))
    heard = []
    scatter.on_lasso(lambda inside: heard.append(inside.tolist()))
    lasso(scatter, 0, 3)
    assert heard == [[2, 22]]


def test_after_a_lasso_nothing_is_selected_and_a_new_one_can_begin(draw):
    scatter = draw()
    first = scatter.figure.interaction
    before = instances()
    lasso(scatter, 1, 2)
    assert Map(scatter.figure).points.selected is None
    assert isinstance(scatter.figure.interaction, LassoSelector)
    assert scatter.figure.interaction is not first
    assert scatter.figure.interaction.marks == [Map(scatter.figure).points]
    assert first.comm is None  # closed, with the shapes it had drawn
    assert len(instances()) == len(before)


def test_an_error_of_whoever_listens_leaves_the_lasso_usable(draw):
    scatter = draw()
    heard = []

    def listen(inside):
        heard.append(inside.tolist())
        raise LookupError("no")

    scatter.on_lasso(listen)
    for _ in range(2):
        with pytest.raises(LookupError):
            lasso(scatter, 1, 2)
        assert Map(scatter.figure).points.selected is None
    assert heard == [[1, 2], [1, 2]]


def test_without_a_listener_a_lasso_is_forgotten(draw):
    scatter = draw()
    lasso(scatter, 1)
    assert Map(scatter.figure).points.selected is None


# -- outlines of selections ---------------------------------------------------------------------------


def curves(scatter):
    """The outlines, (selections, points, 2); of a single one bqplot drops the first side."""
    return np.stack(
        [np.atleast_2d(Map(scatter.figure).outlines.x), np.atleast_2d(Map(scatter.figure).outlines.y)], axis=2
    )


def encloses(line, points):
    assert np.array_equal(line[0], line[-1])
    return Path(line).contains_points(points).all()


def named_place(scatter, position):
    """The point of the map that a name is written above."""
    name, (x0, x1, y0, y1) = scatter.names[position], scatter.bounds
    return x0 + name["x"] * (x1 - x0), y1 - name["y"] * (y1 - y0)


def test_selections_have_outlines_and_names_in_their_colors(draw, space):
    scatter = draw()
    one = space.select([0, 1, 2, 6], "one", "#111111")
    two = space.select([3, 4], "two", "#222222")
    scatter.outline([one, two], 1)
    lines = Map(scatter.figure).outlines
    assert lines.visible
    assert lines.colors == lines.fill_colors == [name["color"] for name in scatter.names] == ["#111111", "#222222"]
    assert [name["text"] for name in scatter.names] == ["one", "two"]
    # The active one stands out.
    assert lines.fill_opacities[1] > lines.fill_opacities[0]
    assert lines.opacities == [0.75, 1.0]
    for position, (chosen, curve) in enumerate(zip((one, two), curves(scatter), strict=True)):
        assert encloses(curve, space.embedding_[chosen.indices])
        # The name is at the top of its line.
        assert named_place(scatter, position) == pytest.approx(curve[curve[:, 1].argmax()])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 12, 24])
def test_an_outline_encloses_all_points_and_keeps_near_them(draw, space, count):
    scatter = draw(np.arange(count))
    chosen = space.select(np.arange(count), "some")
    scatter.outline([chosen], 0)
    (curve,) = curves(scatter)
    points = space.embedding_[:count]
    assert encloses(curve, points)
    x0, x1, y0, y1 = scatter.bounds
    room = 0.03 * np.array([x1 - x0, y1 - y0])
    assert (curve.min(0) >= points.min(0) - room).all()
    assert (curve.max(0) <= points.max(0) + room).all()


def test_an_outline_that_would_hold_many_others_is_left_out(draw, space):
    scatter = draw()
    # The two points farthest apart: all others lie between them, and a disc around one holds few.
    places = space.embedding_
    ends = np.array([places[:, 0].argmin(), places[:, 0].argmax()])
    spread = np.concatenate([ends, [places[:, 1].argmin(), places[:, 1].argmax()]])
    scatter.outline([space.select(spread, "corners")], 0)
    assert not Map(scatter.figure).outlines.visible
    assert [name["text"] for name in scatter.names] == ["corners"]
    assert named_place(scatter, 0) == pytest.approx(np.median(places[np.unique(spread)], axis=0))
    scatter.outline([space.select(np.arange(24), "all")], 0)
    assert Map(scatter.figure).outlines.visible


def test_points_in_no_selection_are_dim(draw, space):
    scatter = draw()
    assert Map(scatter.figure).points.opacities.tolist() == [1.0]
    scatter.outline([space.select([1, 2], "a"), space.select([2, 7], "b")], 1)
    opacities = Map(scatter.figure).points.opacities
    assert np.flatnonzero(opacities == 1).tolist() == [1, 2, 7]
    assert set(opacities[[0, 3, 23]]) == {0.3}
    scatter.outline([], None)
    assert (Map(scatter.figure).points.opacities == 1).all()


unit = st.floats(0, 1, allow_subnormal=False)


@given(st.lists(st.tuples(unit, unit), min_size=1, max_size=12))
def test_an_outline_of_any_points_encloses_them(points):
    points = np.array(points)
    assert encloses(rounded_hull(points), points)


@given(st.tuples(unit, unit), st.tuples(unit, unit), st.lists(unit, min_size=1, max_size=12))
def test_an_outline_of_points_on_one_line_encloses_them(start, end, shares):
    start, end = np.array(start), np.array(end)
    points = start + np.array(shares)[:, None] * (end - start)
    assert encloses(rounded_hull(points), points)


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_an_outline_of_points_at_one_place_is_a_circle(count):
    line = rounded_hull(np.full((count, 2), 0.3))
    away = np.linalg.norm(line - 0.3, axis=1)
    assert 0.018 < away.min() <= away.max() < 0.0221


def test_selections_with_nothing_in_them_have_no_outline(draw, space):
    scatter = draw()
    scatter.outline([space.select([], "empty"), space.select([3], "three", "#333333")], 0)
    assert [name["text"] for name in scatter.names] == ["three"]
    assert Map(scatter.figure).outlines.colors == ["#333333"]
    assert Map(scatter.figure).outlines.opacities == [0.75]  # the active one is the empty one
    scatter.outline([space.select([], "empty")], 0)
    assert (Map(scatter.figure).outlines.visible, scatter.names) == (False, [])
    scatter.outline([], None)
    assert (Map(scatter.figure).outlines.visible, scatter.names) == (False, [])


def test_an_outline_is_around_all_items_also_those_that_are_not_drawn(draw, space):
    scatter = draw(np.array([0, 1]))
    scatter.outline([space.select([0, 20, 23], "some")], None)
    (curve,) = curves(scatter)
    assert encloses(curve, space.embedding_[[0, 20, 23]])


# -- the end ------------------------------------------------------------------------------------------


def test_closing_closes_every_widget(space):
    before = instances()
    scatter = ScatterFigure(space, EVERY)
    scatter.outline([space.select([1, 2], "some")], 0)
    scatter.highlight(3)
    lasso(scatter, 1, 2)
    assert len(instances()) > len(before)
    scatter.close()
    left = [type(ipywidgets.widgets.widget._instances[key]).__name__ for key in instances() - before]
    assert left == []


def test_after_closing_no_lasso_is_told(draw):
    scatter = draw()
    heard = []
    scatter.on_lasso(heard.append)
    scatter.close()
    lasso(scatter, 1, 2)
    assert heard == []
