"""Whatever supported operations follow each other, on whatever sizes: windows equal the whole."""

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from random_networks import (
    LAYERS,
    Average,
    Convolution,
    Cut,
    Joined,
    Largest,
    Moved,
    Padded,
    Pointwise,
    Resized,
    Shuffled,
    Transposed,
    network_of,
)
from window_checks import assert_windows_equal_the_model, random_image

from hdm_widgets.windowed import TracedModel

sides = st.integers(9, 40)
fractions = st.floats(0, 1, exclude_max=True)
boxes = st.lists(st.tuples(fractions, fractions, fractions, fractions), min_size=1, max_size=4)

CORNER, MIDDLE, WHOLE = (0.0, 0.0, 0.0, 0.0), (0.4, 0.4, 0.6, 0.5), (0.0, 0.0, 0.99, 0.99)


def box_of(height, width, parts):
    """Half open, of at least one pixel, from fractions of the sides."""
    row0, row1 = sorted(int(fraction * height) for fraction in parts[::2])
    col0, col1 = sorted(int(fraction * width) for fraction in parts[1::2])
    return row0, col0, row1 + 1, col1 + 1


# Of PyTorch, when the model itself runs.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


@given(st.lists(LAYERS, min_size=1, max_size=8), sides, sides, boxes)
@example([Cut(0, 0, 0, 0)], 9, 9, [CORNER])
# What did not change is joined with what did.
@example([Cut(5, 0, 0, 0), Joined("concatenate", 0), Convolution((3, 3))], 12, 14, [CORNER])
@example(
    [Pointwise("relu"), Convolution((1, 1)), Joined("concatenate", 0, (2, 2)), Average((2, 2), (2, 2))],
    12,
    14,
    [CORNER],
)
# Blocks of which a change fills a part.
@example([Pointwise("relu"), Shuffled(False, 3)], 9, 12, [CORNER, MIDDLE])
@example([Padded((0, 1, 0, 1)), Shuffled(False, 2), Convolution((3, 3)), Shuffled(True, 2)], 13, 17, [MIDDLE, WHOLE])
# Positions that no position of the input reaches.
@example([Transposed((1, 1), (3, 3), (1, 1))], 9, 10, [CORNER, MIDDLE])
@example([Transposed((1, 2), (3, 3), (1, 0), (1, 2), normed=True), Convolution((3, 3))], 9, 10, [CORNER, WHOLE])
# Written into the image itself, and into what is read later.
@example([Pointwise("relu, in place")], 9, 9, [MIDDLE])
@example([Convolution((3, 3)), Pointwise("relu, in place"), Joined("add", 1)], 12, 9, [MIDDLE])
# Borders, of which a window sees one, both or none.
@example([Largest((3, 3), (2, 2), (1, 1), 2, True), Resized("bicubic", 2.3, 0.6, False, True)], 21, 10, [CORNER, WHOLE])
@example([Convolution((5, 4), padding=(4, 3), mode="circular"), Moved(False, 3), Moved(True, 1)], 9, 30, [CORNER])
def test_windows_equal_the_whole(layers, height, width, parts):
    image = random_image(2, height, width, dtype=torch.float64)
    model = network_of(layers, image)
    assume(len(model.layers) > 0)
    engine = TracedModel(model, image)
    positions = np.array([box_of(height, width, each) for each in parts])
    assert_windows_equal_the_model(model, image, positions, engine)
    assert engine.network.propagation.global_steps() == []


def test_random_networks_show_what_changes():
    """The test above compares networks with several layers, in most of which the change reaches the output."""
    depths, shown = [], []

    @given(st.lists(LAYERS, min_size=1, max_size=8), sides, sides)
    def collect(layers, height, width):
        image = random_image(2, height, width, dtype=torch.float64)
        model = network_of(layers, image)
        with torch.inference_mode():
            before, after = model(image[None].clone()), model(image[None].flip(-1) + 0.3)
        depths.append(len(model.layers))
        shown.append(bool((before - after).abs().max() > 1e-3))

    collect()
    assert np.mean(depths) > 2
    assert np.mean(shown) > 0.8
