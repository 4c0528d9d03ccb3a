"""Masks at one bit per pixel: as boxes in which they differ from one mask, and as a stack."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hdm_widgets import _bitmasks
from hdm_widgets._bitmasks import MaskPatch, MaskStore, PackedMasks, bounding_box, patch_of

PREDICTED = np.array(
    [
        [0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 0, 0, 1],
    ],
    bool,
)


def test_a_patch_is_the_smallest_box_around_what_differs():
    window = PREDICTED[1:4, 1:5].copy()
    window[0, 1] = False  # (1, 2) of the whole
    window[2, 0] = True  # (3, 1)
    patch = patch_of(PREDICTED, 1, 1, window)
    assert patch.box == (1, 1, 4, 3)
    # Rows 10, 11, 10, then two bits that say nothing.
    assert patch.bits == bytes([0b10111000])


def test_one_pixel_is_one_byte():
    window = ~PREDICTED[3:, 4:]
    assert patch_of(PREDICTED, 3, 4, window) == MaskPatch((3, 4, 4, 5), bytes([0]))
    whole = PREDICTED.copy()
    whole[3, 0] = True
    assert patch_of(PREDICTED, 0, 0, whole) == MaskPatch((3, 0, 4, 1), bytes([0b10000000]))


@pytest.mark.parametrize(("row", "col", "height", "width"), [(0, 0, 4, 5), (1, 2, 2, 2), (0, 0, 0, 0), (2, 3, 0, 2)])
def test_nothing_differs(row, col, height, width):
    window = PREDICTED[row : row + height, col : col + width]
    assert patch_of(PREDICTED, row, col, window) == MaskPatch((0, 0, 0, 0), b"")


def test_nine_pixels_are_two_bytes():
    store = MaskStore(np.zeros((3, 9), bool))
    store.patches[0, 0] = patch_of(store.predicted, 1, 0, np.ones((1, 9), bool))
    store.patches[0, 1] = patch_of(store.predicted, 0, 4, np.ones((3, 1), bool))
    assert store.patches[0, 0].bits == bytes([0b11111111, 0b10000000])
    assert store.bytes == 2 + 1
    np.testing.assert_array_equal(store.mask(0, 0), [[False] * 9, [True] * 9, [False] * 9])


def test_a_mask_is_a_copy():
    store = MaskStore(PREDICTED.copy())
    store.patches[2, 3] = MaskPatch((0, 0, 0, 0), b"")
    store.mask(2, 3)[:] = True
    np.testing.assert_array_equal(store.mask(2, 3), PREDICTED)
    np.testing.assert_array_equal(store.predicted, PREDICTED)
    with pytest.raises(KeyError):
        store.mask(0, 0)


@st.composite
def scans(draw):
    """A mask, and for some cells a whole mask with a window that holds all that differs."""
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    predicted = draw(arrays(bool, (height, width)))
    masks = {}
    for cell in draw(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3)))):
        row0, row1 = sorted(draw(st.tuples(st.integers(0, height), st.integers(0, height))))
        col0, col1 = sorted(draw(st.tuples(st.integers(0, width), st.integers(0, width))))
        mask = predicted.copy()
        mask[row0:row1, col0:col1] = draw(arrays(bool, (row1 - row0, col1 - col0)))
        masks[cell] = mask, (row0, col0, row1, col1)
    return predicted, masks


@pytest.mark.parametrize("pixels", [0, 100, 1 << 23])
@given(scans())
def test_windows_of_many_cells_are_those_of_each(pixels, scan):
    predicted, masks = scan
    # As a mask, and as class numbers.
    for of in (lambda mask: mask, lambda mask: mask.astype(np.uint8) * 7):
        store = MaskStore(of(predicted))
        for cell, (mask, (row0, col0, row1, col1)) in masks.items():
            store.patches[cell] = patch_of(store.predicted, row0, col0, of(mask)[row0:row1, col0:col1])
        with mock.patch.object(_bitmasks, "_PIXELS", pixels):
            batches = list(store.batches(masks))
        assert [cell for batch in batches for cell in batch.cells] == list(masks)
        for batch in batches:
            assert len(batch.cells) == 1 or sum(window.size for window in batch.windows) <= pixels
            for cell, row, col, window in zip(batch.cells, batch.rows, batch.cols, batch.windows, strict=True):
                at_row, at_col, alone = store.window(*cell)
                assert (row, col, window.dtype) == (at_row, at_col, store.predicted.dtype)
                np.testing.assert_array_equal(window, alone)
                expected = of(masks[cell][0])[row : row + len(window), col : col + window.shape[1]]
                np.testing.assert_array_equal(window, expected)


@given(scans())
def test_every_mask_comes_back(scan):
    predicted, masks = scan
    store = MaskStore(predicted)
    for cell, (mask, (row0, col0, row1, col1)) in masks.items():
        store.patches[cell] = patch = patch_of(predicted, row0, col0, mask[row0:row1, col0:col1])
        rows, cols = np.nonzero(mask != predicted)
        around = (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1) if len(rows) else (0, 0, 0, 0)
        assert patch.box == around
        assert len(patch.bits) == -(-(patch.box[2] - patch.box[0]) * (patch.box[3] - patch.box[1]) // 8)
    measured = np.zeros((4, 4), bool)
    for cell in list(masks)[1:]:
        measured[cell] = True
    written = store.arrays(measured)
    assert {name: array.dtype.kind for name, array in written.items()} == {
        "mask_base": "b", "mask_cells": "i", "mask_boxes": "i", "mask_bits": "u",
    }  # fmt: skip
    read = MaskStore.from_arrays(written)
    assert set(read.patches) == set(list(masks)[1:])
    for cell, (mask, _) in masks.items():
        np.testing.assert_array_equal(store.mask(*cell), mask)
        if measured[cell]:
            np.testing.assert_array_equal(read.mask(*cell), mask)
            assert read.patches[cell] == store.patches[cell]
    np.testing.assert_array_equal(read.predicted, predicted)


def test_no_mask_at_all_can_be_written():
    store = MaskStore.from_arrays(MaskStore(PREDICTED).arrays(np.zeros((2, 2), bool)))
    assert store.patches == {}
    assert store.bytes == 0


# -- bounding boxes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (PREDICTED, (1, 1, 4, 5)),
        (PREDICTED[:3], (1, 1, 3, 3)),
        (PREDICTED[3:], (0, 4, 1, 5)),
        (np.ones((2, 3), bool), (0, 0, 2, 3)),
        (np.zeros((2, 3), bool), None),
        (np.zeros((0, 3), bool), None),
    ],
)
def test_the_smallest_box_around_a_mask(mask, expected):
    assert bounding_box(mask) == expected


# -- stacks -----------------------------------------------------------------------------------------


def test_bits_of_a_stack_by_hand():
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


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_class_numbers_are_kept_as_masks_are(dtype):
    generator = np.random.default_rng(0)
    predicted = generator.integers(0, 5, (7, 11)).astype(dtype)
    store, maps = MaskStore(predicted), {}
    for row in range(4):
        window = generator.integers(0, 5, (3, 4)).astype(dtype)
        maps[row, 0] = predicted.copy()
        maps[row, 0][row : row + 3, 5:9] = window
        store.patches[row, 0] = patch_of(predicted, row, 5, window)
    store.patches[4, 0] = patch_of(predicted, 2, 2, predicted[2:5, 2:5])
    maps[4, 0] = predicted
    read = MaskStore.from_arrays(store.arrays(np.ones((5, 1), bool), "class"), "class")
    assert read.patches == store.patches
    for cell, numbers in maps.items():
        np.testing.assert_array_equal(read.mask(*cell), numbers)
        assert read.mask(*cell).dtype == dtype
        row, col, window = read.window(*cell)
        np.testing.assert_array_equal(window, numbers[row : row + window.shape[0], col : col + window.shape[1]])
