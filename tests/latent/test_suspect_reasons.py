"""What is said of a wrong truth, and where it is wrong, on masks worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hdm_widgets.latent.simulated_errors import KINDS, objects, shifted, simulate
from hdm_widgets.latent.suspect_reasons import Reason, find_reason

SIDE = 32
MISSING, EXTRA, SHIFTED, ANOTHER = KINDS
BOXES = {"a": (2, 3, 8, 10), "b": (12, 20, 20, 28), "c": (24, 4, 29, 9)}


def mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    drawn = np.zeros((SIDE, SIDE), bool)
    for row0, col0, row1, col1 in boxes:
        drawn[row0:row1, col0:col1] = True
    return drawn


THREE = mask(*BOXES.values())


@pytest.mark.parametrize(
    ("lacking", "confidence", "expected"),
    [
        (
            "a",
            0.97,
            Reason(
                MISSING, "the model draws an object of 42 px that the truth lacks, with confidence 0.97",
                4.5, 6.0, (2, 3, 8, 10), 42,
            ),
        ),
        (
            "b",
            0.6,
            Reason(
                MISSING, "the model draws an object of 64 px that the truth lacks, with confidence 0.60",
                15.5, 23.5, (12, 20, 20, 28), 64,
            ),
        ),
        (
            "c",
            0.9999,
            Reason(
                MISSING, "the model draws an object of 25 px that the truth lacks, with confidence 0.999",
                26.0, 6.0, (24, 4, 29, 9), 25,
            ),
        ),
    ],
    ids=list("abc"),
)  # fmt: skip
def test_an_object_that_the_truth_lacks(lacking: str, confidence: float, expected: Reason) -> None:
    truth = mask(*(box for name, box in BOXES.items() if name != lacking))
    p = np.where(THREE, confidence, 0.01)
    assert find_reason(MISSING, truth, THREE, p) == expected
    # Asked for something that is not the case, it says what is.
    assert find_reason(EXTRA, truth, THREE, p) == expected


def test_an_object_that_the_model_does_not_see() -> None:
    predicted = mask(BOXES["a"], BOXES["c"])
    assert find_reason(EXTRA, THREE, predicted, np.where(predicted, 0.9, 0.02)) == Reason(
        EXTRA,
        "the truth has an object of 64 px where the model sees none, with probability 0.02",
        15.5,
        23.5,
        (12, 20, 20, 28),
        64,
    )


def test_of_several_objects_the_model_is_surest_of_one() -> None:
    p = np.full((SIDE, SIDE), 0.01)
    for name, confidence in zip("abc", (0.6, 0.6, 0.99), strict=True):
        row0, col0, row1, col1 = BOXES[name]
        p[row0:row1, col0:col1] = confidence
    # 25 px at 0.99 are more than 64 px at 0.6.
    assert find_reason(MISSING, mask(), THREE, p).box == BOXES["c"]


def test_a_part_of_an_object_may_be_missing() -> None:
    # A boundary of one pixel all around differs too, and belongs to it where it touches it.
    truth = mask((13, 21, 19, 24), BOXES["a"], BOXES["c"])
    found = find_reason(MISSING, truth, THREE, np.where(THREE, 0.9, 0.1))
    assert found.kind == MISSING
    assert found.row == pytest.approx(15.5)
    assert found.box is not None
    assert found.box[3] == 28
    assert 4 * 8 <= found.size <= 64 - 18


@pytest.mark.parametrize(("rows", "cols"), [(3, -2), (-4, 0), (0, 1), (2, 3)])
def test_a_truth_that_is_moved(rows: int, cols: int) -> None:
    truth = shifted(THREE, rows, cols)
    found = find_reason(SHIFTED, truth, THREE, np.where(THREE, 0.9, 0.1))
    before = (truth & THREE).sum() / (truth | THREE).sum()
    after = (shifted(truth, -rows, -cols) & THREE).sum() / THREE.sum()
    assert found.kind == SHIFTED
    assert found.text == (
        f"shifted by about ({rows}, {cols}) px: moved back, its IoU with the prediction is "
        f"{'0.999' if after == 1 else f'{after:.2f}'} in place of {before:.2f}"
    )
    assert (found.row, found.col) == tuple(axis.mean() for axis in np.nonzero(truth))


def test_a_truth_of_another_image() -> None:
    truth, predicted = mask((0, 0, 4, 4)), mask((0, 2, 4, 6), (20, 20, 24, 24))
    found = find_reason(ANOTHER, truth, predicted, predicted.astype(float), better=(57, 0.921))
    # 8 of 16 + 32 - 8 px.
    assert found.text == (
        "the truth looks like another image's: its IoU with the prediction is 0.20, with that of item 57 about 0.92"
    )
    assert (found.box, found.size) == ((0, 0, 4, 4), 32)
    alone = find_reason(ANOTHER, mask(), predicted, predicted.astype(float))
    assert alone.text == "the truth looks like another image's: its IoU with the prediction is 0"
    assert alone.box == (0, 2, 24, 24)


@pytest.mark.parametrize("kind", KINDS)
def test_a_truth_that_is_as_predicted(kind: str) -> None:
    for both in (THREE, mask()):
        found = find_reason(kind, both, both, both.astype(float))
        assert (found.kind, found.text, found.box, found.size) == (
            "none", "truth and prediction are the same", None, 0
        )  # fmt: skip
        assert np.isnan([found.row, found.col]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_boundaries_alone_are_no_object(kind: str) -> None:
    truth = mask((10, 10, 20, 20))
    predicted = mask((9, 9, 21, 21))
    found = find_reason(kind, truth, predicted, predicted.astype(float))
    assert (found.kind, found.text) == ("boundary", "truth and prediction differ in 44 px along boundaries")
    assert (found.row, found.col, found.box) == (14.5, 14.5, (9, 9, 21, 21))


@pytest.mark.parametrize("kind", KINDS)
def test_a_truth_that_fits_another_prediction_is_the_others_whatever_is_likeliest(kind: str) -> None:
    # Both differences are an object, and neither explains the other.
    truth, predicted = mask((0, 0, 8, 8)), mask((20, 20, 28, 28))
    p = predicted.astype(float)
    found = find_reason(kind, truth, predicted, p, better=(57, 0.9))
    assert (found.kind, found.text[-31:]) == (ANOTHER, "with that of item 57 about 0.90")
    # Half of its own is as predicted: that another one fits it a little better says nothing.
    near = mask((20, 20, 28, 28), (0, 0, 8, 8))
    assert find_reason(kind, near, predicted, p, better=(57, 0.9)).kind == EXTRA


def test_thin_masks_may_be_another_images() -> None:
    truth, predicted = mask((10, 0, 11, 20)), mask((0, 25, 20, 26))
    assert find_reason(ANOTHER, truth, predicted, predicted.astype(float)).kind == ANOTHER


@pytest.mark.parametrize(("truth", "predicted"), [((0, 0, 8, 8), (0, 0, 8, 8)), ((8, 8, 16, 16), (8, 8, 16, 16))])
def test_one_error_that_explains_everything_is_named_in_place_of_another_mask(truth: tuple, predicted: tuple) -> None:
    other = (20, 20, 28, 28)
    both = mask(predicted, other)
    lacking = find_reason(ANOTHER, mask(truth), both, both.astype(float))
    assert (lacking.kind, lacking.box, lacking.size) == (MISSING, other, 64)
    drawn = mask(predicted)
    moved = find_reason(ANOTHER, shifted(drawn, 3, 2), drawn, drawn.astype(float))
    assert (moved.kind, moved.text[:28]) == (SHIFTED, "shifted by about (3, 2) px: ")


def test_places_are_in_pixels_of_the_image_where_maps_are_smaller() -> None:
    predicted = np.zeros((128, 96), bool)
    predicted[80:120, 40:80] = True
    p = np.full((64, 48), 0.01)
    p[40:60, 20:40] = 0.75
    found = find_reason(MISSING, np.zeros_like(predicted), predicted, p)
    assert found.text == "the model draws an object of 1,600 px that the truth lacks, with confidence 0.75"
    assert found.box == (80, 40, 120, 80)


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ((8, 16, 32, 40), "0.98"),  # blocks of 8 px, all of them whole
        ((5, 13, 30, 37), "0.98"),  # those at its edges are not
        ((50, 50, 56, 56), ""),  # no block lies in it
    ],
    ids=["aligned", "edges", "small"],
)
@pytest.mark.parametrize("kind", [MISSING, EXTRA])
def test_probabilities_are_those_of_blocks_that_lie_in_the_object(kind: str, box: tuple, told: str) -> None:
    row0, col0, row1, col1 = box
    drawn = np.zeros((512, 512), bool)
    drawn[row0:row1, col0:col1] = True
    p = np.where(drawn, 0.98, 0.001).reshape(64, 8, 64, 8).mean((1, 3))
    size = int(drawn.sum())
    masks = (~drawn & drawn, drawn) if kind == MISSING else (drawn, ~drawn & drawn)
    text = (
        f"the model draws an object of {size} px that the truth lacks" + (told and f", with confidence {told}")
        if kind == MISSING
        else f"the truth has an object of {size} px where the model sees none" + (told and f", with probability {told}")
    )
    assert find_reason(kind, *masks, p).text == text


def test_copies_are_wrong_in_one_respect_each() -> None:
    truths = np.stack([THREE, mask(BOXES["a"]), mask()])
    copies = simulate(truths, 0)
    again = simulate(truths, 0)
    np.testing.assert_array_equal(copies.masks, again.masks)
    # Of an empty mask, nothing can be left out or moved.
    made = {(item, KINDS[kind]) for item, kind in zip(copies.items.tolist(), copies.kinds.tolist(), strict=True)}
    assert made >= {(0, MISSING), (0, EXTRA), (0, SHIFTED), (1, MISSING), (1, EXTRA), (1, SHIFTED), (2, EXTRA)}
    assert not made & {(2, MISSING), (2, SHIFTED)}
    for copy, kind, item in zip(copies.masks, copies.kinds, copies.items, strict=True):
        truth, name = truths[item], KINDS[kind]
        assert (copy != truth).any()
        if name == MISSING:
            assert not (copy & ~truth).any()
            assert objects(copy)[1] == objects(truth)[1] - 1
        elif name == EXTRA:
            assert not (truth & ~copy).any()
        elif name == ANOTHER:
            assert any(np.array_equal(copy, other) for other in truths)


def test_masks_without_objects_have_no_copies() -> None:
    assert simulate(np.zeros((4, 8, 8), bool), 0).masks.shape == (0, 8, 8)


def test_what_is_moved_out_of_a_mask_is_lost() -> None:
    one = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 1]], bool)
    np.testing.assert_array_equal(shifted(one, 1, -1), [[0, 0, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(shifted(one, -1, 1), [[0, 0, 0], [0, 0, 1], [0, 0, 0]])
