"""Ground truths as users have them: read rightly by everything that takes one, or refused with a remedy."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.latent.items import read_item

HEIGHT, WIDTH = 12, 16
IMAGE = np.full((1, HEIGHT, WIDTH), 0.2, np.float32)
IMAGE[:, 3:8, 4:10] = 0.8
TRUTH = IMAGE[0] > 0.5
LABELS = TRUTH.astype(np.uint8)


def first(images):
    return images[:, 0]


def explain(truth, model=first, **options):
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(4, 4)
    return explainer.explain(model, IMAGE, truth, progress=False, **options)


def in_explorer(truth):
    explorer = hw.HDMExplorer(first, IMAGE, truth, 4, 4)
    try:
        assert explorer.wait(timeout=60)
        return explorer.result.segment
    finally:
        explorer.close()


READERS = {
    "explain": lambda truth: explain(truth).segment,
    "explorer": in_explorer,
    "item of a data set": lambda truth: read_item([(IMAGE, truth)], 0).mask,
}
every_reader = pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())

GIVEN = {
    "bool": TRUTH,
    "0 and 255": LABELS * np.uint8(255),
    "negative": LABELS.astype(np.int8) * -1,
    "float of 0 and 1": TRUTH.astype(float),
    "half": TRUTH.astype(np.float16),
    "big endian": LABELS.astype(">i4"),
    "not contiguous": np.asfortranarray(LABELS),
    "bfloat16": torch.tensor(TRUTH).bfloat16(),
    "with gradient": torch.tensor(TRUTH, dtype=torch.float32, requires_grad=True),
    "bfloat16 with gradient": torch.tensor(TRUTH, dtype=torch.bfloat16, requires_grad=True),
    "MetaTensor": MetaTensor(torch.tensor(LABELS)),
    "MetaTensor with gradient": MetaTensor(torch.tensor(TRUTH, dtype=torch.bfloat16)).requires_grad_(),
    "masked array without masked pixels": np.ma.masked_array(LABELS),
}


@pytest.mark.parametrize("truth", GIVEN.values(), ids=GIVEN.keys())
@every_reader
def test_any_array_or_tensor(read, truth):
    segment = read(truth)
    assert type(segment) is np.ndarray
    np.testing.assert_array_equal(segment, TRUTH)


NOISE = TRUTH * (1 + 1e-6) + 1e-6
COLORS = np.repeat(LABELS[..., None] * np.uint8(200), 3, axis=-1)
ONE_HOT = np.stack([LABELS == 0, LABELS == 1, LABELS == 2])
REFUSED = {
    "a float label map": (LABELS * 255.0, ValueError, r"such as 255; .*segment == 255.*segment != 0.*ignore=255"),
    "a float tensor": (torch.tensor(LABELS * 255.0), ValueError, r"floats other than 0 and 1, such as 255"),
    "rounding noise": (NOISE, ValueError, "such as 1e-06; .*interpolated or rounded, write segment > 0.5"),
    "probabilities": (TRUTH * 0.7, ValueError, "such as 0.7; for probabilities, .*segment > 0.5"),
    "NaN": (np.where(TRUTH, np.nan, 0), ValueError, r"the segment has NaN or infinity; .*ignore=float\('nan'\)"),
    "one-hot": (ONE_HOT, ValueError, r"one-hot: segment.argmax\(0\) == k is the mask of class k"),
    "one-hot floats": (ONE_HOT.astype(np.float32), ValueError, r"one-hot: segment.argmax\(0\) == k"),
    "one-hot tensor": (torch.tensor(ONE_HOT).bfloat16(), ValueError, r"one-hot: segment.argmax\(0\) == k"),
    "one-hot, last": (np.moveaxis(ONE_HOT, 0, -1), ValueError, r"one-hot: segment.argmax\(-1\) == k"),
    "one mask per class": (
        ONE_HOT | TRUTH,
        ValueError,
        r"segment\[k\] is the mask of class k where classes may overlap",
    ),
    "last axis": (LABELS[..., None], ValueError, r"take the mask out of its last axis, segment\[..., 0\]"),
    "colors": (COLORS, ValueError, r"RGB colors, .*\(segment == \(red, green, blue\)\).all\(-1\)"),
    "colors, first": (np.moveaxis(COLORS, -1, 0), ValueError, r"RGB colors.*\(3, 1, 1\)\)\).all\(0\)"),
    "a batch": (LABELS[None, None], ValueError, r"take one mask out of the batch, segment\[0, 0\]"),
    "class names": (np.where(TRUTH, "tree", "road"), TypeError, "for class names, segment == 'name'"),
    "objects": (LABELS.astype(object), TypeError, "bool, whole or real numbers"),
}


@pytest.mark.parametrize(("truth", "error", "message"), REFUSED.values(), ids=REFUSED.keys())
@every_reader
def test_what_may_be_misread_is_refused(read, truth, error, message):
    with pytest.raises(error, match=message):
        read(truth)


def test_the_remedy_for_one_hot_masks_and_colors_works():
    assert explain(ONE_HOT.argmax(0) == 1).baseline == 0
    assert explain((COLORS == (200, 200, 200)).all(-1)).baseline == 0
    first_axis = np.moveaxis(COLORS, -1, 0)
    assert explain((first_axis == np.reshape((200, 200, 200), (3, 1, 1))).all(0)).baseline == 0


def test_one_map_with_a_channel_axis_is_no_one_hot_truth():
    with pytest.raises(ValueError, match=r"take the mask out of its first axis, segment\[0\]"):
        explain(LABELS[None])
    np.testing.assert_array_equal(read_item([(IMAGE, LABELS[None])], 0).mask, TRUTH)


# The rows below the square have no label; the model predicts something there, in the last column.
VOID = np.zeros((HEIGHT, WIDTH), bool)
VOID[9:] = True
PREDICTED_IN_VOID = np.zeros((1, 1, HEIGHT, WIDTH), np.float32)
PREDICTED_IN_VOID[..., 10:, 15:] = 1.0


def spoilt(images):
    return torch.maximum(images, torch.from_numpy(PREDICTED_IN_VOID))[:, 0]


IGNORING = {
    "a value": (np.where(VOID, 255, LABELS).astype(np.uint8), 255),
    "a value of a tensor": (torch.tensor(np.where(VOID, 255, LABELS)), 255),
    "a value among floats": (np.where(VOID, 255.0, LABELS), 255),
    "a negative value": (np.where(VOID, -1, TRUTH), -1),
    "NaN": (np.where(VOID, np.nan, LABELS), np.nan),
    "a mask": (LABELS, VOID),
    "a tensor": (LABELS, torch.from_numpy(VOID)),
    "a masked array": (np.ma.masked_array(np.where(VOID, 7, LABELS), VOID), None),
    "masked NaN": (np.ma.masked_invalid(np.where(VOID, np.nan, LABELS)), None),
    "both": (np.ma.masked_array(np.where(VOID, 255, LABELS), VOID & (np.arange(WIDTH) < 3)), 255),
}


@pytest.mark.parametrize(("truth", "ignore"), IGNORING.values(), ids=IGNORING.keys())
def test_ignored_pixels_count_nowhere(truth, ignore):
    # Without the void, the prediction is the truth.
    result = explain(truth, spoilt, ignore=ignore)
    assert result.baseline == 0
    np.testing.assert_array_equal(result.segment, TRUTH)
    np.testing.assert_array_equal(result.ignored, VOID)
    assert result.baseline_mask[11, 15]
    assert result.iou(0, 3) == 1.0
    assert result.pair(0, 3) == (0.0, None, None, None)
    for row, col in np.ndindex(result.grid.shape):
        mask = result.output(row, col) & ~VOID
        assert result.values[row, col] == hw.metrics.hausdorff_distance(mask, TRUTH)
        assert result.pair(row, col).distance == result.values[row, col]
        assert result.iou(row, col) == hw.metrics.iou(mask, TRUTH)
    assert result.values.max() > 3
    # Item and explorer read the same.
    item = read_item([(IMAGE, truth)], 0, ignore=ignore)
    np.testing.assert_array_equal(item.mask, TRUTH)
    np.testing.assert_array_equal(item.ignored, VOID)


def test_without_ignore_they_count():
    # From the corner at (11, 15) to the square's corner at (7, 9).
    assert explain(LABELS, spoilt).baseline == pytest.approx(np.hypot(4, 6))
    assert explain(LABELS, spoilt).ignored is None


def test_an_empty_prediction_is_one_without_pixels_that_count():
    hidden = lambda images: torch.from_numpy(PREDICTED_IN_VOID)[:, 0].expand(len(images), -1, -1)  # noqa: E731
    assert explain(LABELS, hidden, ignore=VOID).baseline == np.hypot(HEIGHT, WIDTH)
    assert np.isnan(explain(LABELS, hidden, ignore=VOID, empty="nan").baseline)


def test_rows_are_compared_without_ignored_pixels():
    truth = np.where(VOID, 255, LABELS)
    result = explain(truth, lambda images: (spoilt(images) > 0.5).float(), ignore=255, distance="rows")
    assert result.baseline == 0


@pytest.mark.parametrize("inference", ["full", "windowed"])
def test_windows_ignore_the_same_pixels(inference):
    torch.manual_seed(0)
    model = hw.UNet(1, 1, width=4, depth=1)
    rng = np.random.default_rng(0)
    image = rng.random((1, 32, 40), np.float32)
    void = rng.random((32, 40)) > 0.7
    with torch.no_grad():
        raw = model.eval()(torch.from_numpy(image)[None])[0]
    truth = np.roll((raw[0] > raw.median()).numpy(), 2, axis=0)
    explainer = hdm.HausdorffDistanceMasks(40, 32)
    explainer.generate_masks(6, 8)
    result = explainer.explain(model, image, truth, inference=inference, ignore=void, spacing=(2, 3), progress=False)
    assert result.plan.backend == ("model" if inference == "full" else "windowed")
    for row, col in np.ndindex(result.grid.shape):
        mask = result.output(row, col)
        expected = hw.metrics.hausdorff_distance(mask, truth, ignore=void, spacing=(2, 3))
        assert result.values[row, col] == expected


def test_a_stored_result_keeps_what_is_ignored(tmp_path):
    result = explain(np.where(VOID, 255, LABELS), spoilt, ignore=255)
    result.save(tmp_path / "result.npz")
    loaded = hdm.HDMResult.load(tmp_path / "result.npz")
    np.testing.assert_array_equal(loaded.ignored, VOID)
    np.testing.assert_array_equal(loaded.segment, TRUTH)
    assert [loaded.iou(0, 3), loaded.pair(0, 3).distance] == [1.0, 0.0]
    assert loaded.pair(1, 1) == result.pair(1, 1)
    explain(LABELS).save(tmp_path / "other.npz")
    assert hdm.HDMResult.load(tmp_path / "other.npz").ignored is None


def test_a_cached_distance_is_of_the_same_ignored_pixels():
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(4, 4)
    model = spoilt
    measured = [
        explainer.explain(model, IMAGE, LABELS, progress=False, **options).values
        for options in ({}, {"ignore": VOID}, {"spacing": (2, 2)}, {"ignore": np.zeros_like(VOID)})
    ]
    assert (measured[0] != measured[1]).any()
    np.testing.assert_array_equal(measured[2], 2 * measured[0])
    np.testing.assert_array_equal(measured[3], measured[0])


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (np.where(VOID, 255, LABELS), "the value 255 beside 1, and both count as the segment; .*ignore=255"),
        (np.where(VOID, -1, TRUTH), "the value -1 beside 1, .*ignore=-1"),
        (np.where(VOID, -100, TRUTH), "the value -100 beside 1, .*ignore=-100"),
        (np.where(VOID, 255, LABELS + TRUTH), "the value 255 beside 2"),
        (
            np.where(VOID, 255, LABELS + np.arange(WIDTH) % 2),
            "ignore=255; for one class of a label map use segment == 1 with ignore=segment == 255",
        ),
        (np.where(VOID, 2, LABELS), "2 different values besides 0 and all of them count; .*segment == 1"),
        (
            np.where(VOID, 253, LABELS * 255 - LABELS * (np.arange(WIDTH) % 2) + 2).astype(np.uint8),
            "all near 0 or 255, as a mask has that was stored as JPEG, .* use segment > 127",
        ),
        # Gray levels: 255 is the brightest of them.
        (np.where(VOID, 255, LABELS * 254), "2 different values besides 0"),
    ],
)
def test_values_that_may_mean_something_else_are_warned_of(truth, message):
    with pytest.warns(UserWarning, match=message) as caught:
        explain(truth)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize("mark", [255, -1, np.nan])
def test_a_mask_of_one_class_has_no_value_to_ignore(mark):
    """The bool mask of a label map has lost the mark: what was to be ignored would count."""
    labels = np.where(VOID, mark, LABELS.astype(int))
    write = r"np.isnan\(labels\)" if np.isnan(mark) else f"labels == {mark}"
    with pytest.raises(ValueError, match=f"the segment is bool: give the pixels that do not count, ignore={write}"):
        explain(labels == 1, ignore=mark)
    with pytest.warns(UserWarning, match=f"no pixel of the segment has the value of ignore={mark}; .*labels == {mark}"):
        explain((labels == 1).astype(np.uint8), ignore=mark)
    marked = np.isnan(labels) if np.isnan(mark) else labels == mark
    expected = explain(labels, ignore=mark)
    for truth, ignore in ((labels == 1, marked), (np.ma.masked_array(labels == 1, marked), None)):
        np.testing.assert_array_equal(explain(truth, ignore=ignore).values, expected.values)


def test_the_class_that_is_known_is_the_one_in_the_advice():
    truth = np.where(VOID, 2, LABELS)
    with pytest.warns(UserWarning, match="use segment == 2$"):
        explain(truth, model=hw.Segmenter(lambda images: images.repeat(1, 3, 1, 1), target=2, activation="softmax"))


def test_a_segment_that_is_ignored_altogether():
    with pytest.warns(UserWarning, match="the segment is empty without the pixels that ignore= takes out"):
        explain(LABELS * np.uint8(255), ignore=255)


@pytest.mark.parametrize(
    ("ignore", "error", "message"),
    [
        (True, TypeError, "ignore must be one value of the ground truth"),
        ([254, 255], TypeError, r"for several values: ignore=np.isin\(truth, values\)"),
        (LABELS, TypeError, "must be bool, got uint8; write ignore=mask != 0"),
        (VOID[:-1], ValueError, r"ignore has shape \(11, 16\), the segment has \(12, 16\)"),
    ],
)
def test_what_cannot_be_ignored(ignore, error, message):
    with pytest.raises(error, match=message):
        explain(LABELS, ignore=ignore)
    with pytest.raises(error, match=message):
        hw.HDMExplorer(first, IMAGE, LABELS, ignore=ignore)


def test_the_truth_and_the_mask_to_ignore_are_copied():
    truth, void = LABELS.copy(), VOID.copy()
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(4, 4)
    updates = explainer.stream(spoilt, IMAGE, truth, ignore=void)
    next(updates)
    truth[:], void[:] = 0, False
    *_, last = updates
    np.testing.assert_array_equal(last.result.segment, TRUTH)
    np.testing.assert_array_equal(last.result.ignored, VOID)
    assert last.result.baseline == 0
