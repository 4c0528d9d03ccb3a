"""A subclass with a `calculate_distance` of its own, which may build on the one of the base class."""

import threading

import numpy as np
import pytest
import torch

from hdm_widgets import hdm
from hdm_widgets.metrics import hausdorff_distance
from hdm_widgets.models.segmenter import Segmenter

HEIGHT, WIDTH = 16, 20
# A hill, and as the truth what is high on one a little farther right.
ROWS, COLS = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
IMAGE = np.exp(-((ROWS - 7) ** 2 + (COLS - 9) ** 2) / 30)[None]
TRUTH = np.roll(IMAGE[0], 2, axis=1) > 0.55
VOID = np.zeros((HEIGHT, WIDTH), bool)
VOID[:, :5] = True


class Base(hdm.HausdorffDistanceMasks):
    def calculate_distance(self, output, segment):
        return super().calculate_distance(output, segment)


class Stripped(hdm.HausdorffDistanceMasks):
    """Hands over plain arrays, which know of no ignored pixels."""

    def calculate_distance(self, output, segment):
        return super().calculate_distance(np.array(output), np.array(segment))


def explain(cls, model, truth=TRUTH, **options):
    explainer = cls(WIDTH, HEIGHT)
    explainer.generate_masks(9, 4)
    return explainer.explain(model, IMAGE, truth, progress=False, **options)


def three(images):
    """Logits of three exclusive classes, the foot, slope and top of the hill; all are above 0 nearly everywhere."""
    slope = 1 + 4 * (images - 0.3) - 8 * (images - 0.6).clamp(min=0)
    return torch.cat([torch.ones_like(images), slope, 1 + 6 * (images - 0.6)], 1)


def one(images):
    return 8 * images - 4


MODELS = {
    "three classes": (three, {"target": 1}),
    "the last of three": (three, {"target": 2}),
    "two classes": (lambda images: three(images)[:, :2], {}),
    "probabilities of three": (lambda images: three(images).softmax(1), {"target": 2}),
    "logits": (one, {}),
    "a threshold for logits": (one, {"threshold": 0.8}),
    "a threshold for probabilities": (lambda images: images, {"threshold": 0.3}),
    "logits that look like probabilities": (
        Segmenter(lambda images: (images - 0.4).clamp(min=0), activation="sigmoid"),
        {},
    ),
}


@pytest.mark.parametrize("cls", [Base, Stripped])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"spacing": (1, 5)},
        {"ignore": VOID},
        {"ignore": VOID, "spacing": (3, 1), "empty": "inf"},
        {"empty": "nan"},
    ],
    ids=["plain", "spacing", "ignore", "all", "empty"],
)
@pytest.mark.parametrize(("model", "reading"), MODELS.values(), ids=MODELS.keys())
def test_the_base_method_measures_as_the_scan_does(model, reading, options, cls):
    expected = explain(hdm.HausdorffDistanceMasks, model, **reading, **options)
    found = explain(cls, model, **reading, **options)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.baseline, expected.baseline)
    assert np.nanmin(expected.values) < np.nanmax(expected.values)
    assert found.settings.distance == "custom"


def test_zero_where_the_mask_is_the_truth():
    truth = three(torch.from_numpy(IMAGE)[None])[0].argmax(0).numpy() == 1
    assert truth.any()
    assert explain(Base, three, truth, target=1).baseline == 0


def test_an_empty_mask_follows_the_policy():
    nothing = lambda images: images * 0  # noqa: E731
    assert explain(Base, nothing, empty="inf").baseline == np.inf
    assert explain(Base, nothing, spacing=(3, 4)).baseline == np.hypot(3 * HEIGHT, 4 * WIDTH)
    with pytest.raises(hdm.ModelError, match="one of the two masks has no pixel"):
        explain(Base, nothing, empty="raise")


def test_another_map_takes_the_place_of_the_targets():
    class Doubled(hdm.HausdorffDistanceMasks):
        def calculate_distance(self, output, segment):
            return super().calculate_distance(2 * output, segment)

    def doubled(images):
        maps = three(images)
        maps[:, 1] *= 2
        return maps

    found = explain(Doubled, three, target=1, ignore=VOID)
    np.testing.assert_array_equal(
        found.values, explain(hdm.HausdorffDistanceMasks, doubled, target=1, ignore=VOID).values
    )
    assert (found.values != explain(hdm.HausdorffDistanceMasks, three, target=1, ignore=VOID).values).any()


def test_a_map_of_another_size_is_refused():
    class Cut(hdm.HausdorffDistanceMasks):
        def calculate_distance(self, output, segment):
            return super().calculate_distance(output[1:], segment[1:])

    with pytest.raises(hdm.ModelError, match=r"expected the target's map of shape \(16, 20\), got \(15, 20\)"):
        explain(Cut, one)


def test_ignored_pixels_are_masked_in_both_arrays():
    seen = []

    class Overlap(hdm.HausdorffDistanceMasks):
        def calculate_distance(self, output, segment):
            seen.append((output, segment))
            return 1 - np.logical_and(output > 0, segment).sum() / np.logical_or(output > 0, segment).sum()

    found = explain(Overlap, one, ignore=VOID)
    for output, segment in seen:
        np.testing.assert_array_equal(np.ma.getmaskarray(output), VOID)
        np.testing.assert_array_equal(np.ma.getmaskarray(segment), VOID)
    for row, col in np.ndindex(found.grid.shape):
        assert found.values[row, col] == pytest.approx(1 - found.iou(row, col))
    seen.clear()
    explain(Overlap, one)
    assert {type(array) for pair in seen for array in pair} == {np.ndarray}


@pytest.mark.parametrize(
    "distance",
    [
        3, 3.0, np.float32(3), np.int64(3), np.array(3.0), np.array([3.0]), np.array([[3]]),
        torch.tensor(3.0), torch.tensor([3]), torch.tensor([[3.0]]).bfloat16(), torch.tensor(3.0, requires_grad=True),
    ],
    ids=repr,
)  # fmt: skip
def test_any_single_number_serves(distance):
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(8, 8)
    explainer.calculate_distance = lambda output, segment: distance
    assert set(explainer.explain(one, IMAGE, TRUTH, progress=False).values.ravel()) == {3.0}


@pytest.mark.parametrize(
    ("distance", "message"),
    [
        (np.zeros(2), r"must return a number, got ndarray of shape \(2,\)"),
        (np.zeros(0), r"must return a number, got ndarray of shape \(0,\)"),
        (torch.zeros(2, 1), r"must return a number, got Tensor of shape \(2, 1\)"),
        ("3", "must return a number, got str"),
        (None, "must return a number, got NoneType"),
        (np.array([1j]), "must return a number, got complex"),
        (np.ma.masked, "returned a masked value: all that it measured is ignored"),
    ],
    ids=repr,
)
def test_anything_else_is_refused(distance, message):
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(8, 8)
    explainer.calculate_distance = lambda output, segment: distance
    with pytest.raises(hdm.ModelError, match=message):
        explainer.explain(one, IMAGE, TRUTH, progress=False)


def test_scans_in_two_threads_keep_their_outputs_apart():
    both = threading.Barrier(2)

    class Together(hdm.HausdorffDistanceMasks):
        def calculate_distance(self, output, segment):
            both.wait(timeout=60)
            return super().calculate_distance(output, segment)

    explainer = Together(WIDTH, HEIGHT)
    explainer.generate_masks(8, 8)
    found = {}

    def scan(target):
        *_, last = explainer.stream(three, IMAGE, TRUTH, target=target)
        found[target] = last.result.values

    threads = [threading.Thread(target=scan, args=(target,)) for target in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for target in (1, 2):
        plain = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
        plain.generate_masks(8, 8)
        expected = plain.explain(three, IMAGE, TRUTH, target=target, progress=False).values
        np.testing.assert_array_equal(found[target], expected)
    assert (found[1] != found[2]).any()


def test_outside_a_scan_it_cuts_the_map_itself():
    explainer = Base(WIDTH, HEIGHT)
    explain(Base, three, target=1)
    assert explainer.calculate_distance(IMAGE[0], TRUTH) == hausdorff_distance(IMAGE[0] > 0.5, TRUTH)
