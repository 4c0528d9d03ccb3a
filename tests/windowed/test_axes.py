"""How changes propagate along one axis: worked out by hand, and against PyTorch on single positions."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional as F

from hdm_widgets.windowed.axes import (
    Global,
    Interval,
    LinearResample,
    PixelShuffle,
    PixelUnshuffle,
    Pointwise,
    Span,
    TransposedWindow,
    Window,
    hull,
)


def intervals(size):
    """Every interval of so many positions."""
    return [Interval(lo, hi) for lo in range(size) for hi in range(lo + 1, size + 1)]


def sees(operation, size):
    """Which positions of the output (size_out, size) see which of the input, by giving it one position at a time."""
    units = torch.eye(size, dtype=torch.float64).view(size, 1, size)
    return (operation(units)[:, 0] != 0).T.numpy()


def touched(depends, interval):
    """The hull of the output positions that see something of an interval."""
    positions = np.flatnonzero(depends[:, interval.lo : interval.hi].any(1))
    return Interval(int(positions[0]), int(positions[-1]) + 1) if len(positions) else None


def seen(depends, interval):
    """The hull of the input positions that an interval of the output sees."""
    return touched(depends.T, interval)


def filled(depends):
    """As if every output position saw all between the first and the last that it sees."""
    return np.logical_or.accumulate(depends, 1) & np.logical_or.accumulate(depends[:, ::-1], 1)[:, ::-1]


def numbers(size, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(1, 2, (1, 1, size)))


# By hand.


def test_hull():
    assert hull([]) is None
    assert hull([None, None]) is None
    assert hull([Interval(3, 5), None, Interval(9, 10), Interval(4, 6)]) == Interval(3, 10)


def test_convolution_of_three_places():
    axis = Window(10, 10, kernel=3, stride=1, padding=1)
    assert axis.propagate([Interval(4, 6)]) == Interval(3, 7)
    assert axis.propagate([Interval(0, 1)]) == Interval(0, 2)
    assert axis.propagate([Interval(9, 10)]) == Interval(8, 10)
    assert axis.propagate([None]) is None
    assert axis.receptive_field(Interval(3, 7)) == (Span(2, 8, 0, 0),)
    assert axis.receptive_field(Interval(0, 10)) == (Span(0, 10, 1, 1),)


def test_convolution_of_seven_places_with_stride_two():
    # Output position 3 sees 3 to 9.
    axis = Window(20, 10, kernel=7, stride=2, padding=3)
    assert axis.propagate([Interval(9, 10)]) == Interval(3, 7)
    assert axis.propagate([Interval(10, 11)]) == Interval(4, 7)
    assert axis.receptive_field(Interval(3, 4)) == (Span(3, 10, 0, 0),)
    assert axis.receptive_field(Interval(0, 2)) == (Span(0, 6, 3, 0),)
    assert axis.receptive_field(Interval(9, 10)) == (Span(15, 20, 0, 2),)


def test_dilated_convolution():
    # Output position 5 sees 1, 5 and 9.
    axis = Window(12, 12, kernel=3, stride=1, padding=4, dilation=4)
    assert axis.propagate([Interval(5, 6)]) == Interval(1, 10)
    assert axis.receptive_field(Interval(5, 6)) == (Span(1, 10, 0, 0),)
    assert axis.receptive_field(Interval(1, 2)) == (Span(0, 6, 3, 0),)


def test_pool_that_rounds_up():
    # 7 positions in blocks of 2: the last block has one position of its own and one beyond the border.
    axis = Window(7, 4, kernel=2, stride=2, padding=0)
    assert axis.propagate([Interval(6, 7)]) == Interval(3, 4)
    assert axis.receptive_field(Interval(2, 4)) == (Span(4, 7, 0, 1),)


def test_places_that_a_stride_passes_over():
    axis = Window(9, 3, kernel=1, stride=3, padding=0)
    assert axis.propagate([Interval(1, 3)]) is None
    assert axis.propagate([Interval(1, 4)]) == Interval(1, 2)


def test_cutting_is_padding_less_than_nothing():
    # Positions 3 to 7 of 10.
    axis = Window(10, 5, kernel=1, stride=1, padding=-3)
    assert axis.propagate([Interval(0, 3)]) is None
    assert axis.propagate([Interval(2, 5)]) == Interval(0, 2)
    assert axis.receptive_field(Interval(0, 5)) == (Span(3, 8, 0, 0),)


def test_transposed_convolution_that_doubles():
    axis = TransposedWindow(5, 10, kernel=2, stride=2, padding=0)
    assert axis.propagate([Interval(1, 3)]) == Interval(2, 6)
    assert axis.receptive_field(Interval(2, 6)) == (Span(1, 3),)
    # Position 3 is the second to which input position 1 adds.
    assert axis.receptive_field(Interval(3, 4)) == (Span(1, 2),)
    assert axis.offset(Interval(3, 4)) == axis.pattern(Interval(3, 4)) == 1


def test_transposed_convolution_of_four_places():
    # Input position 2 adds to 3, 4, 5 and 6.
    axis = TransposedWindow(5, 10, kernel=4, stride=2, padding=1)
    assert axis.propagate([Interval(2, 3)]) == Interval(3, 7)
    assert axis.propagate([Interval(0, 1)]) == Interval(0, 3)
    assert axis.receptive_field(Interval(3, 7)) == (Span(1, 4),)


def test_bilinear_enlargement():
    # 0.75 of the nearer neighbor and 0.25 of the farther one.
    axis = LinearResample(
        np.array([[1, 0, 0], [0.75, 0.25, 0], [0.25, 0.75, 0], [0, 0.75, 0.25], [0, 0.25, 0.75], [0, 0, 1]])
    )
    assert (axis.size_in, axis.size) == (3, 6)
    assert axis.propagate([Interval(1, 2)]) == Interval(1, 5)
    assert axis.propagate([Interval(0, 1)]) == Interval(0, 3)
    assert axis.receptive_field(Interval(0, 1)) == (Span(0, 1),)
    assert axis.receptive_field(Interval(2, 4)) == (Span(0, 3),)
    positions, weights = axis.weighted_sources(Interval(3, 5))
    np.testing.assert_array_equal(positions, [[0, 1], [0, 1]])
    np.testing.assert_array_equal(weights, [[0.75, 0.25], [0.25, 0.75]])
    # Alike: the same weights of the same neighbors.
    assert axis.pattern(Interval(1, 3)) == axis.pattern(Interval(3, 5)) != axis.pattern(Interval(2, 4))
    assert not axis.copies


def test_copies():
    flip = LinearResample(np.eye(4)[::-1])
    assert flip.copies
    assert flip.propagate([Interval(0, 1)]) == Interval(3, 4)
    assert flip.receptive_field(Interval(0, 2)) == (Span(2, 4),)
    # What is rolled round lies at both ends.
    assert LinearResample(np.roll(np.eye(4), 2, 0)).propagate([Interval(1, 3)]) == Interval(0, 4)


def test_constant_places():
    axis = LinearResample(np.array([[0, 0], [0, 1.0], [0, 0]]))
    assert axis.propagate([Interval(0, 1)]) is None
    assert axis.propagate([Interval(0, 2)]) == Interval(1, 2)
    (positions, weights), (span,) = axis.weighted_sources(Interval(0, 3)), axis.receptive_field(Interval(0, 3))
    assert (span.before, span.after) == (0, 0)
    values = np.array([5.0, 7.0])[span.lo : span.hi]
    np.testing.assert_array_equal((values[positions] * weights).sum(1), [0, 7, 0])


def test_blocks():
    axis = PixelShuffle(12, 3)
    assert axis.propagate([Interval(1, 3)]) == Interval(3, 9)
    assert axis.propagate([None]) is None
    assert axis.receptive_field(Interval(3, 9)) == (Span(1, 3),)
    assert axis.receptive_field(Interval(5, 7)) == (Span(1, 3),)
    assert axis.pattern(Interval(5, 7)) == 2


def test_merged():
    axis = PixelUnshuffle(4, 3)
    assert axis.propagate([Interval(2, 4)]) == Interval(0, 2)
    assert axis.propagate([Interval(3, 6)]) == Interval(1, 2)
    assert axis.propagate([None]) is None
    assert axis.receptive_field(Interval(1, 3)) == (Span(3, 9),)


def test_same_place():
    axis = Pointwise((8, 8), 8)
    assert axis.propagate([Interval(2, 4), None]) == Interval(2, 4)
    assert axis.propagate([Interval(2, 4), Interval(6, 7)]) == Interval(2, 7)
    assert axis.propagate([None, None]) is None
    assert axis.receptive_field(Interval(2, 7)) == (Span(2, 7), Span(2, 7))


def test_one_place_for_all():
    axis = Pointwise((8, 1), 8)
    assert axis.propagate([Interval(2, 4), None]) == Interval(2, 4)
    assert axis.propagate([None, Interval(0, 1)]) == Interval(0, 8)
    assert axis.receptive_field(Interval(2, 4)) == (Span(2, 4), Span(0, 1))


def test_everything():
    axis = Global((8, 5), 6)
    assert axis.propagate([Interval(2, 3), None]) == Interval(0, 6)
    assert axis.propagate([None, None]) is None
    assert axis.receptive_field(Interval(2, 3)) == (Span(0, 8), Span(0, 5))


# Against PyTorch.


def _check_sliding(axis, depends, apply):
    """`apply` computes the operation of a tensor that is padded already."""
    for interval in intervals(axis.size_in):
        assert axis.propagate([interval]) == touched(depends, interval)
    values = numbers(axis.size_in)
    whole = apply(F.pad(values, (axis.padding, axis.stride * axis.size + axis.kernel * axis.dilation)))
    for out in intervals(axis.size):
        inputs = seen(depends, out)
        if inputs is None:  # nothing but padding; no change leads there
            continue
        (span,) = axis.receptive_field(out)
        assert min(span.before, span.after) >= 0
        assert 0 <= span.lo <= inputs.lo
        assert inputs.hi <= span.hi <= axis.size_in
        # No position too many, but for those that a stride passes over.
        if axis.stride <= axis.kernel:
            assert (span.lo, span.hi) == inputs
        patch = F.pad(values[..., span.lo : span.hi], (span.before, span.after))
        np.testing.assert_allclose(apply(patch), whole[..., out.lo : out.hi], rtol=1e-12)


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 4), st.integers(1, 3))
def test_convolution(size, kernel, stride, padding, dilation):
    extent = dilation * (kernel - 1) + 1
    assume(size + 2 * padding >= extent)
    weight = torch.arange(1.0, kernel + 1, dtype=torch.float64).view(1, 1, kernel)

    def apply(x):
        return F.conv1d(x, weight, None, stride, 0, dilation)

    depends = sees(lambda x: F.conv1d(x, torch.ones(1, 1, extent, dtype=x.dtype), None, stride, padding), size)
    # Between the sources of a dilated kernel counts as seen.
    axis = Window(size, len(depends), kernel, stride, padding, dilation)
    _check_sliding(axis, depends, apply)
    sources = sees(lambda x: F.conv1d(x, weight, None, stride, padding, dilation), size)
    assert (depends >= sources).all()


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2), st.booleans())
def test_max_pool(size, kernel, stride, padding, ceil):
    assume(2 * padding <= kernel <= size + 2 * padding)
    depends = sees(lambda x: F.max_pool1d(x, kernel, stride, padding, ceil_mode=ceil), size)
    axis = Window(size, len(depends), kernel, stride, padding)
    _check_sliding(axis, depends, lambda x: F.max_pool1d(x, kernel, stride))


@given(
    st.integers(1, 8), st.integers(1, 5), st.integers(1, 4), st.integers(0, 4), st.integers(0, 3), st.integers(1, 3)
)  # fmt: skip
def test_transposed_convolution(size, kernel, stride, padding, more, dilation):
    assume(more < max(stride, dilation))
    assume((size - 1) * stride - 2 * padding + dilation * (kernel - 1) + more + 1 > 0)
    weight = torch.arange(1.0, kernel + 1, dtype=torch.float64).view(1, 1, kernel)

    def apply(x):
        return F.conv_transpose1d(x, weight, None, stride, padding, more, dilation=dilation)

    depends = sees(apply, size)
    axis = TransposedWindow(size, len(depends), kernel, stride, padding, dilation)
    values = numbers(size)
    whole = apply(values)
    for interval in intervals(size):
        change, expected = axis.propagate([interval]), touched(depends, interval)
        if dilation == 1 and stride <= kernel:
            assert change == expected
        elif expected is not None:
            # There are holes; between the first and the last position counts as seen.
            assert change.lo <= expected.lo
            assert expected.hi <= change.hi
        if change is None:
            continue
        (span,) = axis.receptive_field(change)
        used = seen(depends, change)
        if used is not None:
            assert span.lo <= used.lo
            assert used.hi <= span.hi
            if dilation == 1:
                assert (span.lo, span.hi) == used
        # The receptive field alone gives the same, from where the axis says.
        patch = values[..., span.lo : span.hi]
        if patch.shape[-1]:
            alone = F.pad(F.conv_transpose1d(patch, weight, None, stride, dilation=dilation)[0, 0], (99, 99))
            start = 99 + axis.offset(change)
            np.testing.assert_allclose(alone[start : start + change.size], whole[0, 0, change.lo : change.hi])


def _sampled(operation, size):
    units = torch.eye(size, dtype=torch.float64).view(1, size, 1, size)
    # Of two rows: PyTorch's own kernel for smoothed images errs on one.
    return LinearResample(operation(units.expand(1, size, 2, size).contiguous())[0, :, 0].T.numpy())


RESAMPLINGS = {
    "nearest": lambda x: F.interpolate(x, (2, 19), mode="nearest"),
    "bilinear": lambda x: F.interpolate(x, (2, 19), mode="bilinear"),
    "bilinear, smaller": lambda x: F.interpolate(x, (2, 4), mode="bilinear"),
    "bilinear, corners": lambda x: F.interpolate(x, (2, 17), mode="bilinear", align_corners=True),
    "smoothed": lambda x: F.interpolate(x, (2, 4), mode="bilinear", antialias=True),
    "average": lambda x: F.avg_pool2d(x, (1, 3), (1, 2), (0, 1), ceil_mode=True),
    "cells": lambda x: F.adaptive_avg_pool2d(x, (2, 4)),
    "reflected": lambda x: F.pad(x, (3, 2, 0, 0), mode="reflect"),
    "replicated": lambda x: F.pad(x, (3, 2, 0, 0), mode="replicate"),
    "circular": lambda x: F.pad(x, (3, 2, 0, 0), mode="circular"),
    "zeros": lambda x: F.pad(x, (3, 2, 0, 0)),
    "every third": lambda x: x[..., 1::3],
    "flipped": lambda x: x.flip(-1),
    "rolled": lambda x: x.roll(3, -1),
}


@pytest.mark.parametrize("name", RESAMPLINGS)
def test_resampling(name):
    operation, size = RESAMPLINGS[name], 9
    axis = _sampled(operation, size)
    depends = sees(lambda x: operation(x[:, :, None].expand(-1, -1, 2, -1).contiguous())[:, :, 0], size)
    # All of these see neighbors only.
    np.testing.assert_array_equal(depends, filled(depends))
    assert (axis.size, axis.size_in) == depends.shape
    for interval in intervals(size):
        assert axis.propagate([interval]) == touched(depends, interval)
    _check_sampled(axis, depends, operation(numbers(size)[:, :, None].expand(1, 1, 2, size).contiguous())[0, 0, 0])


def _check_sampled(axis, depends, whole):
    values = numbers(axis.size_in).numpy()[0, 0]
    for out in intervals(axis.size):
        (span,) = axis.receptive_field(out)
        if (used := seen(depends, out)) is not None:
            assert (span.lo, span.hi) == used
        positions, weights = axis.weighted_sources(out)
        np.testing.assert_allclose(
            (values[span.lo : span.hi][positions] * weights).sum(1), whole[out.lo : out.hi], rtol=1e-6
        )


@given(st.lists(st.lists(st.sampled_from([0.0, 0.0, 0.5, 2.0]), min_size=5, max_size=5), min_size=1, max_size=6))
def test_any_weights(rows):
    weights = np.array(rows)
    axis, depends = LinearResample(weights), weights != 0
    for interval in intervals(5):
        assert axis.propagate([interval]) == touched(filled(depends), interval)
    _check_sampled(axis, depends, weights @ numbers(5).numpy()[0, 0])


@given(st.integers(1, 6), st.integers(1, 4))
def test_pixel_shuffle_and_back(size, factor):
    def shuffled(x):
        # Only along one axis: the other factors are of channels that stay alone.
        return x.repeat(1, factor, 1).transpose(1, 2).reshape(len(x), 1, -1)

    blocks, merged = PixelShuffle(size * factor, factor), PixelUnshuffle(size, factor)
    depends = sees(shuffled, size)
    assert depends.shape == (blocks.size, size)
    for interval in intervals(size):
        assert blocks.propagate([interval]) == touched(depends, interval)
        (span,) = merged.receptive_field(interval)
        assert (span.lo, span.hi, span.before, span.after) == (*touched(depends, interval), 0, 0)
    for interval in intervals(size * factor):
        assert merged.propagate([interval]) == seen(depends, interval)
        (span,) = blocks.receptive_field(interval)
        assert (span.lo, span.hi, span.before, span.after) == (*seen(depends, interval), 0, 0)
