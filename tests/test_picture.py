"""Images for the eye, one by one and many together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hdm_widgets._picture import to_rgb, to_rgb_batch


@given(arrays(np.float32, array_shapes(min_dims=4, max_dims=4, max_side=4), elements=st.floats(-3, 3, width=32)))
def test_many_are_as_each_alone(images):
    each = np.stack([to_rgb(image) for image in images]).astype(int)
    # In float32, a value half way between two may go either way.
    assert np.abs(to_rgb_batch(images).astype(int) - each).max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 0.5, 1], [0, 128, 255]), ([-1, 0, 1], [0, 128, 255]), ([2, 3, 6], [0, 64, 255]), ([7, 7, 7], [0, 0, 0])],
    ids=["0 to 1", "-1 to 1", "its own range", "constant"],
)
def test_values_have_the_range_that_they_are_meant_in(values, expected):
    image = np.array(values, np.float32).reshape(1, 1, 1, 3)
    assert to_rgb_batch(image)[0, 0, :, 0].tolist() == expected
