import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hdm_widgets._bitmasks import PackedMasks


def test_bits_by_hand():
    masks = np.array([[[1, 0, 1], [1, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 0], [1, 1, 1]]], bool)
    packed = PackedMasks.pack(masks)
    # Nine bits in two bytes, the highest first: 10110000 1.......
    np.testing.assert_array_equal(packed, [[0b10110000, 0b10000000], [0b00000011, 0b10000000]])
    assert packed.dtype == np.uint8
    stack = PackedMasks(packed, 3, 3)
    assert len(stack) == 2
    np.testing.assert_array_equal(stack[1], masks[1])


@given(arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))))
def test_what_is_packed_comes_back(masks):
    count, height, width = masks.shape
    packed = PackedMasks.pack(masks)
    assert packed.shape == (count, PackedMasks.row_bytes(height, width))
    stack = PackedMasks(packed, height, width)
    for index in range(count):
        assert stack[index].dtype == bool
        np.testing.assert_array_equal(stack[index], masks[index])
    np.testing.assert_array_equal(stack[-1], masks[-1])
    with pytest.raises(IndexError):
        stack[count]


@pytest.mark.parametrize(("height", "width", "expected"), [(1, 1, 1), (2, 4, 1), (3, 3, 2), (96, 96, 1152), (5, 7, 5)])
def test_bytes_of_a_mask(height, width, expected):
    assert PackedMasks.row_bytes(height, width) == expected
