"""Every row of the tables on the page "What can be read, and how" holds, and the page has every row."""

import contextlib
import re
import warnings

import numpy as np
import pytest
import torch
from readable_inputs import DEVIATION, IMAGES, MEAN, TARGET, TRUTHS, UNLABELED
from readable_outputs import OUTPUTS

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.models.segmenter import ModelError


def written(code, **names):
    """The value of what a user writes."""
    return eval(code, {"np": np, "torch": torch, "hw": hw, **names})


@contextlib.contextmanager
def said(row, *errors):
    """Expect the error, or among others the warning, without what the row says to write."""
    if not row.warns:
        with pytest.raises(errors, match=re.escape(row.otherwise)):
            yield
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert row.otherwise in " ".join(str(warning.message) for warning in caught)


def named(rows):
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


@named(OUTPUTS)
def test_outputs(row):
    segmenter = written(f"hw.Segmenter(model, {row.write})", model=row.model)
    expected = np.asarray(row.probability(row.images))
    probabilities, masks = segmenter.probabilities(row.images), segmenter.masks(row.images)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, atol=2e-6)
    assert masks.dtype == bool
    # 0.5 is not above the threshold of 0.5, and loses the tie of two classes to the first.
    np.testing.assert_array_equal(masks, np.nan_to_num(expected) > segmenter.threshold)
    assert row.reading in str(segmenter.reading)


@named([row for row in OUTPUTS if row.otherwise])
def test_outputs_without_what_is_to_be_written(row):
    segmenter = written(f"hw.Segmenter(model, {row.without})", model=row.model)
    with said(row, ModelError):
        segmenter.masks(row.images)


def explainer(grid=""):
    made = hdm.HausdorffDistanceMasks(8, 6)
    written(f"explainer.generate_masks(2, 2, {grid})", explainer=made)
    return made


IMAGE = np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 6, 8)


def first_channel(images):
    return images[:, 0]


@named(TRUTHS)
def test_truths(row):
    names = {"explainer": explainer(), "truth": row.truth, "unlabeled": UNLABELED}
    result = written(
        f"explainer.explain(model, image, {row.write}, progress=False)", model=first_channel, image=IMAGE, **names
    )
    np.testing.assert_array_equal(result.segment, TARGET)
    np.testing.assert_array_equal(result.ignored, row.ignored)


@named([row for row in TRUTHS if row.otherwise])
def test_truths_without_what_is_to_be_written(row):
    with said(row, ValueError, TypeError):
        explainer().explain(first_channel, IMAGE, segment=row.truth, progress=False)


@named(IMAGES)
def test_images(row):
    names = {"explainer": explainer(row.grid), "image": row.image, "mean": MEAN, "deviation": DEVIATION}
    result = written(
        f"explainer.explain({row.write}, progress=False)",
        model=torch.nn.Conv2d(len(row.shown), 1, 1).requires_grad_(False), segment=TARGET, **names,
    )  # fmt: skip
    np.testing.assert_array_equal(result.image, np.asarray(row.shown, np.float32))
    # The disc of circle size 2 at row 2 and column 4 covers its center, and not the pixel above its box.
    occluded = result.occluded(1, 2)
    np.testing.assert_allclose(occluded[:, 3, 5], row.disc, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(occluded[:, 1], result.image[:, 1])


@named([row for row in IMAGES if row.otherwise])
def test_images_without_what_is_to_be_written(row):
    with said(row, ValueError, TypeError):
        explainer().explain(torch.nn.Conv2d(3, 1, 1).requires_grad_(False), row.image, TARGET, progress=False)
