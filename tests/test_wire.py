import io
import json

import numpy as np
import pytest
from on_screen import decoded
from PIL import Image

from hdm_widgets._wire import bits, png, to_wire

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        ("a_text", "a_text"),
        (b"bytes", b"bytes"),
        (3, 3),
        (2.5, 2.5),
        (INF, "inf"),
        (-INF, "-inf"),
        (NAN, "nan"),
        (np.float32(0.5), 0.5),
        (np.float64(NAN), "nan"),
        (np.int64(7), 7),
        (np.bool_(True), True),
        ((1, NAN), [1, "nan"]),
        ([[1], (2, INF)], [[1], [2, "inf"]]),
        ({}, {}),
        ({"circle_size": 3, "a": {"is_it_so": (NAN,)}}, {"circleSize": 3, "a": {"isItSo": ["nan"]}}),
        ({"grid_2_by_3": 1}, {"grid2By3": 1}),
    ],
)
def test_values_in_the_form_of_messages(value, expected):
    wire = to_wire(value)
    assert wire == expected
    assert type(wire) is type(expected)
    if not isinstance(wire, bytes):
        json.dumps(wire, allow_nan=False)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array([[NAN, INF], [1e300, -INF]]),
        np.arange(12, dtype=np.int32).reshape(3, 4).T,
        np.arange(10, dtype=np.int32)[::-2],
        np.empty((0, 2), np.float32),
        np.empty(0, np.int32),
        np.array(4.0),
    ],
    ids=["float32", "not finite", "transposed", "strides", "empty", "none", "one"],
)
def test_arrays_are_bytes_with_a_type_and_a_shape(array):
    wire = to_wire({"some_values": array})["someValues"]
    assert wire.keys() == {"view", "dtype", "shape"}
    assert isinstance(wire["view"], memoryview)
    assert (wire["view"].format, wire["view"].nbytes) == ("B", array.nbytes)
    np.testing.assert_array_equal(decoded(wire), array, strict=True)


def test_an_array_that_is_contiguous_is_not_copied():
    array = np.zeros(5)
    wire = to_wire(array)
    array[2] = 7
    assert decoded(wire)[2] == 7


def test_masks_are_packed_row_by_row():
    mask = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]], bool)
    assert bits(mask) == bytes([0b10100011, 0b10000000])


@pytest.mark.parametrize(("longest", "shape"), [(None, (40, 60, 3)), (60, (40, 60, 3)), (30, (20, 30, 3))])
def test_images_are_png_files(longest, shape):
    image = np.full((40, 60, 3), [10, 20, 30], np.uint8)
    read = np.array(Image.open(io.BytesIO(png(image, longest=longest))))
    assert read.shape == shape
    assert (read == [10, 20, 30]).all()
