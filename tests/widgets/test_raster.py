"""Very many points as an image, and which of them a polygon encloses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path

from hdm_widgets.widgets.latent import raster
from hdm_widgets.widgets.latent.palette import Coloring
from hdm_widgets.widgets.latent.raster import GridColors, PointGrid, inside_polygon, rasterize

# Two items in the lower left pixel of 2 x 2, one in the upper right, one on the upper left corner.
FOUR = np.array([[0.1, 0.1], [0.4, 0.2], [0.9, 0.6], [0.0, 1.0]])
UNIT = (0.0, 1.0, 0.0, 1.0)
RED_AND_BLUE = Coloring(["#ff0000", "#0000ff"], np.array([0, 1, 1, 0]), {})
SQUARE = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]])


def drawn(points, bounds, shape, coloring, selected=None, dim=1.0):
    """The raster of points; what is selected is in the order of the items."""
    grid = PointGrid(points)
    chosen = None if selected is None else selected[grid.order]
    return rasterize(grid, bounds, shape, GridColors.from_coloring(grid, coloring), chosen, dim)


@pytest.fixture
def small_cells(monkeypatch):
    """Grids of many cells also for few points."""
    monkeypatch.setattr(raster, "_ITEMS_PER_CELL", 0.5)


@pytest.mark.usefixtures("small_cells")
def test_pixels_have_the_mean_of_their_light_and_their_number_as_opacity():
    shown = drawn(FOUR, UNIT, (2, 2), RED_AND_BLUE)
    # Half of the light of a full channel is 188 of 255; one item has an opacity of 0.35.
    assert shown.rgba.tolist() == [[[255, 0, 0, 89], [0, 0, 255, 89]], [[188, 0, 188, 255], [0, 0, 0, 0]]]
    assert shown.most == 2
    assert shown.items[0].tolist() == [3, 2]
    assert shown.items[1, 0] in (0, 1)
    assert shown.items[1, 1] == -1


@pytest.mark.usefixtures("small_cells")
def test_selected_items_are_not_hidden_by_others():
    selected = np.array([True, False, False, False])
    shown = drawn(FOUR, UNIT, (2, 2), RED_AND_BLUE, selected, dim=0.3)
    assert shown.rgba[1, 0].tolist() == [255, 0, 0, 89]
    assert shown.items[1, 0] == 0
    assert shown.rgba[0].tolist() == [[255, 0, 0, 27], [0, 0, 255, 27]]


@pytest.mark.usefixtures("small_cells")
def test_a_view_shows_what_is_in_it():
    shown = drawn(FOUR, (0.3, 0.5, 0.1, 0.3), (3, 2), RED_AND_BLUE)
    assert shown.items.tolist() == [[-1, -1], [-1, 1], [-1, -1]]


def test_opacity_grows_with_the_logarithm_of_the_number():
    points = np.repeat([[0.0, 0.5], [0.5, 0.5], [1.0, 0.5]], [1, 10, 100], axis=0)
    shown = drawn(points, UNIT, (1, 3), Coloring(["#000000"], np.zeros(111, int), {}))
    assert shown.rgba[0, :, 3].tolist() == [89, 172, 255]
    assert shown.most == 100


def test_pixels_that_stand_nearly_alone_have_an_edge():
    # One item alone, two beside each other in a corner, and a block of nine pixels, of which one has two items.
    block = [[row, col] for row in (5, 6, 7) for col in (6, 7, 8)]
    places = np.array([[1, 3], [0, 8], [0, 9], *block, [6, 7]])
    points = np.stack([(places[:, 1] + 0.5) / 10, 1 - (places[:, 0] + 0.5) / 10], axis=1)
    chosen = np.ones(len(points), bool)
    chosen[0] = False
    shown = drawn(points, UNIT, (10, 10), Coloring(["#ffffff"], np.zeros(len(points), int), {}), chosen, dim=0.5)
    before = shown.rgba.copy(), shown.items.copy()
    raster.add_edges(shown)
    around = {(0, 3): 0, (1, 2): 0, (1, 4): 0, (2, 3): 0, (0, 7): 1, (1, 8): 1, (1, 9): 2}
    # As opaque as their pixels, and more by three fifths: 45 of one that is dimmed, else 89.
    edge = {place: [128, 128, 128, 72 if item == 0 else 142] for place, item in around.items()}
    for place in np.ndindex(10, 10):
        assert shown.rgba[place].tolist() == edge.get(place, before[0][place].tolist())
        assert shown.items[place] == around.get(place, before[1][place])


@pytest.mark.parametrize(
    ("polygon", "inside"),
    [
        (SQUARE, [0, 1]),
        (SQUARE[::-1], [0, 1]),
        (SQUARE * 2, [0, 1, 2]),
        (SQUARE - 0.6, []),
        (SQUARE[:2], []),
        # An hourglass with the second item on one side, and the first in its lower half.
        (np.array([[0.0, 0.0], [0.3, 0.0], [0.0, 0.5], [0.3, 0.5]]), [0]),
        # A five-pointed star has a hole where its line goes around twice; the second item is in one of its arms.
        (0.1 + 0.5 * np.array([[np.sin(a), np.cos(a)] for a in 4 * np.pi / 5 * np.arange(5)]), [1]),
    ],
    ids=["square", "turned", "larger", "elsewhere", "two corners", "hourglass", "star"],
)
@pytest.mark.usefixtures("small_cells")
def test_items_in_a_polygon_are_found(polygon, inside):
    assert PointGrid(FOUR).inside(polygon).tolist() == inside


# Coordinates on a lattice, so that points meet lines and corners.
lattice = st.integers(-3, 12)
corners = st.lists(st.tuples(lattice, lattice), min_size=3, max_size=9)
places = arrays(np.int64, st.tuples(st.integers(1, 40), st.just(2)), elements=st.integers(0, 8))


@settings(max_examples=60, deadline=None)
@given(points=places, polygon=corners, cells=st.sampled_from([0.05, 1, 64]))
def test_a_grid_finds_what_a_look_at_all_points_finds(points, polygon, cells):
    points, polygon = points.astype(float), np.array(polygon, float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raster, "_ITEMS_PER_CELL", cells)
        grid = PointGrid(points)
    found = grid.inside(polygon)
    assert grid.count_inside(polygon) == len(found)
    assert found.tolist() == np.flatnonzero(inside_polygon(points, polygon)).tolist()


@settings(max_examples=60, deadline=None)
@given(points=places, polygon=corners)
def test_points_off_the_line_are_inside_as_matplotlib_has_it(points, polygon):
    points, polygon = points.astype(float), np.array(polygon, float)
    closed = Path(np.vstack([polygon, polygon[:1]]), closed=True)
    # By a shift that no line between points of the lattice has, none is on a line.
    shifted = points + np.sqrt([2, 3]) / 100
    assert inside_polygon(shifted, polygon).tolist() == closed.contains_points(shifted).tolist()


@settings(max_examples=60, deadline=None)
@given(points=places, ends=arrays(np.int64, (2, 2), elements=st.integers(-2, 10)), cells=st.sampled_from([0.05, 1, 64]))
def test_a_view_has_the_points_within_its_bounds(points, ends, cells):
    (x0, y0), (x1, y1) = np.sort(ends, axis=0).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raster, "_ITEMS_PER_CELL", cells)
        grid = PointGrid(points.astype(float))
    found = grid.order[grid.within((x0, x1, y0, y1))]
    expected = ((points >= (x0, y0)) & (points <= (x1, y1))).all(axis=1)
    assert sorted(found.tolist()) == np.flatnonzero(expected).tolist()
    assert grid.count_within((x0, x1, y0, y1)) == expected.sum()
