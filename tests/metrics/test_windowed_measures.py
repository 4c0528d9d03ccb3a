"""Overlap, area and surface distances of windows are those of the whole masks."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hdm_widgets.metrics import (
    ReferenceMask,
    dice,
    hausdorff_percentile,
    iou,
    mean_surface_distance,
    nearest_outline,
    windowed_surface,
)
from hdm_widgets.metrics.windowed_overlap import WindowedOverlap
from hdm_widgets.metrics.windowed_surface import WindowedSurface

SPACINGS = [(1, 1), (2, 1), (0.7, 1.3)]


@st.composite
def cases(draw):
    """Smooth masks, so that outlines are lines; windows that change nothing, some pixels, or all; ignored pixels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.tuples(st.integers(1, 28), st.integers(1, 28)))

    def blobs(fraction):
        noise = ndimage.gaussian_filter(rng.normal(size=shape), 2)
        return noise > np.quantile(noise, 1 - fraction)

    fractions = st.sampled_from([0.0, 0.05, 0.3, 0.6, 1.0])
    truth, predicted = blobs(draw(fractions)), blobs(draw(fractions))
    windows = []
    for changed in draw(st.lists(fractions, min_size=1, max_size=6)):
        height, width = (draw(st.integers(1, side)) for side in shape)
        row, col = draw(st.integers(0, shape[0] - height)), draw(st.integers(0, shape[1] - width))
        window = predicted[row : row + height, col : col + width]
        # Another smooth mask, the opposite, or single pixels.
        others = (
            blobs(0.4)[row : row + height, col : col + width],
            ~window,
            window ^ (rng.random(window.shape) < changed),
        )
        windows.append((row, col, others[draw(st.integers(0, 2))]))
    ignored = rng.random(shape) < 0.1 if draw(st.booleans()) else None
    return truth, predicted, windows, ignored, draw(st.sampled_from(SPACINGS))


def area(mask, truth, spacing):
    return (np.count_nonzero(mask) - np.count_nonzero(truth)) * np.prod(spacing)


WHOLE = {
    "hausdorff95": lambda mask, truth, spacing: hausdorff_percentile(mask, truth, spacing=spacing),
    "mean_surface": lambda mask, truth, spacing: mean_surface_distance(mask, truth, spacing=spacing),
    "iou": lambda mask, truth, _: 1 - iou(mask, truth, empty=1),
    "dice": lambda mask, truth, _: 1 - dice(mask, truth, empty=1),
    "area": area,
}


# Small images never meet what is there for large ones: boxes that turn out too small, no whole masks, few neighbors,
# distances that no list has, many chunks.
LIMITS = {
    "usual": ({"_MANY": 1 / 16}, {"_NEIGHBORS": 64}),
    "few neighbors": ({"_MANY": 2.0}, {"_NEIGHBORS": 3, "_LISTED": 2, "_MARGIN": 1}),
    "one neighbor, few pairs": ({"_MANY": 2.0, "_PIXELS": 600}, {"_NEIGHBORS": 1, "_LISTED": 1, "_PAIRS": 40}),
    "nothing is listed": ({"_MANY": 2.0, "_OUTLINE_PIXELS": 200}, {"_NEIGHBORS": 3, "_PAIRS": 1, "_FEW_PAIRS": 20}),
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS.keys())
@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_windows_measure_what_whole_masks_do(limits, case):
    truth, predicted, windows, ignored, spacing = case
    reference = ReferenceMask(truth, spacing=spacing, ignore=ignored)
    counts = np.ones_like(predicted) if ignored is None else ~ignored
    masks = [predicted.copy() for _ in windows]
    for mask, (row, col, window) in zip(masks, windows, strict=True):
        mask[row : row + window.shape[0], col : col + window.shape[1]] = window
    for_surface, for_nearest = limits
    other = np.roll(predicted, 1, 1)
    with (
        mock.patch.multiple(windowed_surface, **for_surface),
        mock.patch.multiple(nearest_outline, **for_nearest),
    ):
        made = {
            name: (WindowedSurface if name in ("hausdorff95", "mean_surface") else WindowedOverlap)(
                name, reference, predicted
            )
            for name in WHOLE
        }
        measured = {name: windowed.distances(*zip(*windows, strict=True)) for name, windowed in made.items()}
        for name, whole in WHOLE.items():
            windowed = made[name]
            expected = [whole(mask & counts, truth & counts, spacing) for mask in masks]
            rounding = 1e-12 if name != "hausdorff95" or spacing == (0.7, 1.3) else 0
            np.testing.assert_allclose(measured[name], expected, 0, rounding, err_msg=name)
            assert windowed.distance(*windows[-1]) == pytest.approx(expected[-1], abs=1e-12), name
            base = whole(predicted & counts, truth & counts, spacing)
            assert windowed.base_distance == pytest.approx(base, abs=1e-12)
            if isinstance(windowed, WindowedSurface):
                for other_name in ("hausdorff95", "mean_surface"):
                    shared = windowed.named(other_name)
                    assert shared.base_distance == made[other_name].base_distance
                    np.testing.assert_array_equal(shared.distances(*zip(*windows, strict=True)), measured[other_name])
        flipped = WindowedOverlap("flipped", reference, predicted, other)
        changed = [np.count_nonzero((mask ^ other) & counts) * np.prod(spacing) for mask in masks]
        np.testing.assert_allclose(flipped.distances(*zip(*windows, strict=True)), changed, rtol=1e-12)


REFUSED = {
    "another shape": (lambda kind, name: kind(name, ReferenceMask([[1, 0]]), [[1, 0, 0]]), "must have the same shape"),
    "a window that does not fit": (
        lambda kind, name: kind(name, ReferenceMask([[1, 0]]), [[1, 0]]).distance(0, 1, [[1, 1]]),
        r"a window of shape \(1, 2\) at \(0, 1\) does not fit",
    ),
    "no such measure": (lambda kind, _: kind("rows", ReferenceMask([[1, 0]]), [[1, 0]]), "name must be one of"),
    "masked pixels": (
        lambda kind, name: kind(name, ReferenceMask([[1, 0]]), np.ma.masked_array([[1, 0]], [[0, 1]])),
        "the prediction has masked pixels; give them to the truth",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize(("kind", "name"), [(WindowedSurface, "mean_surface"), (WindowedOverlap, "iou")])
def test_what_cannot_be_measured(kind, name, make, message):
    with pytest.raises(ValueError, match=message):
        make(kind, name)


@pytest.mark.parametrize("name", ["hausdorff95", "mean_surface"])
@pytest.mark.parametrize(("empty", "expected"), [("diagonal", 5.0), ("inf", np.inf), ("nan", np.nan)])
def test_a_mask_that_becomes_empty(name, empty, expected):
    reference = ReferenceMask(np.eye(3, 4), empty=empty)
    windowed = WindowedSurface(name, reference, np.eye(3, 4))
    assert windowed.base_distance == 0
    np.testing.assert_equal(windowed.distance(0, 0, np.zeros((3, 4), bool)), expected)


@pytest.mark.parametrize("name", ["hausdorff95", "mean_surface", "iou"])
def test_no_window_at_all(name):
    kind = WindowedOverlap if name == "iou" else WindowedSurface
    for predicted in (np.eye(3, 4), np.zeros((3, 4))):
        assert kind(name, ReferenceMask(np.eye(3, 4)), predicted).distances([], [], []).shape == (0,)
