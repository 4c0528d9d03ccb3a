import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from hdm_widgets.hdm import Grid, HausdorffDistanceMasks
from hdm_widgets.hdm.grid import spread

GRIDS = [(24, 24, 6, 4), (30, 18, 7, 5), (17, 40, 17, 3), (12, 12, 1, 1), (9, 13, 9, 9), (64, 48, 25, 10)]


def drawn(grid, row, col):
    """The disc as the published code has it: PIL's own ellipse on the whole picture."""
    image = Image.new("L", (grid.width, grid.height), 0)
    x, y = col * grid.offset, row * grid.offset
    ImageDraw.Draw(image).ellipse((x, y, x + grid.circle_size, y + grid.circle_size), fill=255)
    return np.array(image) > 0


@st.composite
def grids(draw, most=40):
    height, width = draw(st.integers(1, most)), draw(st.integers(1, most))
    short = min(height, width)
    return Grid(height, width, draw(st.integers(1, short)), draw(st.integers(1, short)))


@pytest.mark.parametrize("sizes", GRIDS)
def test_every_cell_has_the_disc_that_pil_draws(sizes):
    grid = Grid(*sizes)
    assert grid.shape == (grid.height // grid.offset, grid.width // grid.offset)
    for row in range(grid.rows):
        for col in range(grid.cols):
            expected = drawn(grid, row, col)
            np.testing.assert_array_equal(grid.mask(row, col), expected)
            rows, cols, disc = grid.window(row, col)
            np.testing.assert_array_equal(expected[rows, cols], disc)
            assert disc.sum() == expected.sum()


def test_width_comes_first_at_the_door_and_height_in_arrays():
    explainer = HausdorffDistanceMasks(240, 120)
    explainer.generate_masks(25, 5)
    assert explainer.grid == Grid(height=120, width=240, circle_size=25, offset=5)
    assert explainer.grid.shape == (24, 48)
    assert (explainer.grid.rows, explainer.grid.cols) == (24, 48)


def test_both_ends_of_the_disc_are_included():
    # A disc of size 4 anchored at (2, 3) reaches from column 3 to column 7, five pixels.
    rows, cols = np.nonzero(Grid(20, 20, 4, 1).mask(2, 3))
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (2, 6, 3, 7)


@given(grids())
def test_a_disc_moves_without_changing(grid):
    origin = grid.mask(0, 0)
    row, col = grid.rows // 2, grid.cols // 2
    moved = np.zeros_like(origin)
    down, right = row * grid.offset, col * grid.offset
    moved[down:, right:] = origin[: grid.height - down, : grid.width - right]
    # What was cut off at the border for the first cell has no pixel to move; the whole disc has.
    whole = np.zeros_like(moved)
    part = grid.disc[: grid.height - down, : grid.width - right]
    whole[down : down + part.shape[0], right : right + part.shape[1]] = part
    np.testing.assert_array_equal(grid.mask(row, col), whole)
    assert not (moved & ~grid.mask(row, col)).any()


@given(grids(most=90))
def test_stages_are_ever_finer_regular_grids(grid):
    stages = grid.stages()
    seen = np.zeros(grid.shape, int)
    rows, cols = np.indices(grid.shape)
    for stride, cells in stages:
        seen[cells[:, 0], cells[:, 1]] += 1
        np.testing.assert_array_equal(seen > 0, (rows % stride == 0) & (cols % stride == 0))
        order = cells[:, 0] * grid.cols + cells[:, 1]
        assert (np.diff(order) > 0).all()
    assert (seen == 1).all()
    strides = [stride for stride, _ in stages]
    assert strides == sorted(strides, reverse=True)
    assert strides[-1] == 1
    assert len(stages[0][1]) <= 64


@given(grids(most=16), st.data())
def test_a_region_touches_the_discs_with_a_pixel_in_it(grid, data):
    row0, col0 = data.draw(st.integers(0, grid.height - 1)), data.draw(st.integers(0, grid.width - 1))
    row1, col1 = data.draw(st.integers(row0 + 1, grid.height)), data.draw(st.integers(col0 + 1, grid.width))
    expected = [
        [drawn(grid, row, col)[row0:row1, col0:col1].any() for col in range(grid.cols)] for row in range(grid.rows)
    ]
    np.testing.assert_array_equal(grid.touching((row0, col0, row1, col1)), expected)


@pytest.mark.parametrize("cell", [(-1, 0), (0, -1), (6, 0), (0, 6)])
def test_cells_outside_the_grid(cell):
    with pytest.raises(IndexError, match=r"is outside the grid of 6 x 6 cells"):
        Grid(24, 24, 6, 4).check_cell(*cell)


def test_whole_numbers_of_numpy_serve():
    grid = Grid(np.int64(24), np.int32(24), np.uint8(6), np.int16(4))
    assert grid == Grid(24, 24, 6, 4)
    assert type(grid.circle_size) is int


# -- cells in other places ----------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 20))
def test_cells_that_are_spread(rows, cols, count):
    cells = np.argwhere(np.ones((rows, cols), bool))
    chosen = spread(cells, count)
    assert chosen.shape == (min(count, len(cells)), 2)
    assert len({*map(tuple, chosen.tolist())}) == len(chosen)
    assert {*map(tuple, chosen.tolist())} <= {*map(tuple, cells.tolist())}
    # Wherever every k-th cell would be.
    if count >= 4 and min(rows, cols) >= 8:
        assert all(len(np.unique(along)) >= 4 for along in chosen.T)
        assert (np.ptp(chosen, 0) >= 0.5 * (np.array([rows, cols]) - 1)).all()


def test_four_of_many_cells_are_far_from_each_other():
    """Every fifth of 5 x 5 would be in the first column.

    Of a unit square: (.37, .15), (.12, .72), (.88, .29), (.63, .86).
    """
    np.testing.assert_array_equal(spread(np.argwhere(np.ones((5, 5), bool)), 4), [[1, 1], [0, 3], [4, 1], [3, 3]])
    np.testing.assert_array_equal(spread(np.argwhere(np.ones((4, 4), bool)), 4), [[1, 0], [0, 2], [3, 1], [2, 3]])
