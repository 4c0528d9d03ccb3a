import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdm_widgets.hdm.circle_map import filled

NAN = np.nan


@st.composite
def scans(draw):
    """Values that are all different, and which of them were measured: at least one."""
    rows, cols = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    bits = draw(st.lists(st.booleans(), min_size=rows * cols, max_size=rows * cols).filter(any))
    return np.arange(rows * cols, dtype=float).reshape(rows, cols), np.reshape(bits, (rows, cols))


def test_every_cell_takes_the_value_of_the_nearest_measured_one():
    values = np.array([[1, NAN, NAN, NAN, 2], [NAN] * 5, [NAN] * 5, [3, NAN, NAN, NAN, NAN]])
    found = filled(values, ~np.isnan(values))
    # Column 2 of the first row is two cells from both 1 and 2.
    assert found[0, 2] in (1, 2)
    found[0, 2] = 0
    # (1, 2) is sqrt(5) from 1, from 2, and more from 3.
    assert found[1, 2] in (1, 2)
    found[1, 2] = 0
    np.testing.assert_array_equal(found, [[1, 1, 0, 2, 2], [1, 1, 0, 2, 2], [3, 3, 3, 2, 2], [3, 3, 3, 3, 2]])


def test_distance_is_euclidean():
    # The cell in the corner is 3 from the 1 and sqrt(8) from the 2; in city blocks or king's moves it were the other
    # way round, or the same.
    values = np.array([[NAN, NAN, NAN, 1], [NAN, NAN, NAN, NAN], [NAN, NAN, 2, NAN]])
    assert filled(values, ~np.isnan(values))[0, 0] == 2


def test_what_was_measured_stays_even_where_it_is_not_defined():
    values = np.array([[NAN, 7.0, 5.0, np.inf]])
    found = filled(values, np.array([[True, False, True, True]]))
    assert np.isnan(found[0, 0])
    np.testing.assert_array_equal(found[0, 2:], [5, np.inf])


def test_what_was_not_measured_is_not_read():
    values = np.array([[4.0, 9.0, 9.0]])
    np.testing.assert_array_equal(filled(values, np.array([[True, False, False]])), [[4, 4, 4]])
    np.testing.assert_array_equal(values, [[4, 9, 9]])


@pytest.mark.parametrize("shape", [(1, 1), (3, 5)])
def test_nothing_measured_fills_nothing(shape):
    found = filled(np.ones(shape), np.zeros(shape, bool))
    assert found.shape == shape
    assert np.isnan(found).all()


@given(scans())
def test_no_measured_cell_is_nearer_than_the_one_that_was_taken(scan):
    values, measured = scan
    found = filled(values, measured)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found[measured], values[measured])
    np.testing.assert_array_equal(found, filled(values, measured))
    places = np.argwhere(measured)
    for cell in np.ndindex(values.shape):
        source = np.argwhere(values == found[cell])[0]
        assert measured[tuple(source)]
        away = ((places - cell) ** 2).sum(1)
        assert ((source - cell) ** 2).sum() == away.min()
