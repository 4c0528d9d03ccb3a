"""Pixels of the truth that do not count: in scores, in what is stored, and in the gallery."""

import numpy as np
import pytest
import torch
from layer_helpers import Reads

import hdm_widgets as hw
from hdm_widgets.latent.collection import CollectionError
from hdm_widgets.widgets.latent.gallery import Gallery

SHAPE = HEIGHT, WIDTH = 6, 8
COUNT = 8
rng = np.random.default_rng(5)
IMAGES = rng.random((COUNT, 2, *SHAPE)).astype(np.float32)
TRUTHS = rng.random((COUNT, *SHAPE)) > 0.6
# Every second item has pixels without a label.
VOID = (rng.random((COUNT, *SHAPE)) > 0.7) & (np.arange(COUNT) % 2 == 1)[:, None, None]
PREDICTED = IMAGES[:, 0] > 0.5
QUIET = {"progress": False}


def space():
    return hw.LatentSpace(Reads(), layer="values")


def items(masks):
    return list(zip(IMAGES, masks, strict=True))


def marked(value, dtype=int):
    return np.where(VOID, value, TRUTHS).astype(dtype)


def check(fitted):
    """Scores and masks, by plain NumPy."""
    truths, predicted = TRUTHS & ~VOID, PREDICTED & ~VOID
    overlaps = fitted.overlaps_
    np.testing.assert_array_equal(overlaps.tp, (truths & predicted).sum((1, 2)))
    np.testing.assert_array_equal(overlaps.fn, (truths & ~predicted).sum((1, 2)))
    np.testing.assert_array_equal(overlaps.fp, (predicted & ~truths).sum((1, 2)))
    np.testing.assert_allclose(fitted.iou_, (truths & predicted).sum((1, 2)) / (truths | predicted).sum((1, 2)))
    for index in range(COUNT):
        np.testing.assert_array_equal(fitted.truth(index), truths[index])
        np.testing.assert_array_equal(fitted.ignored(index), VOID[index])
        # The model's own mask, whole.
        np.testing.assert_array_equal(fitted.prediction(index), PREDICTED[index])


IGNORING = {
    "255": (items(marked(255, np.uint8)), 255),
    "a negative value": (items(marked(-1)), -1),
    "a value among floats": (items(marked(255, np.float32)), 255),
    "NaN": (items(marked(np.nan, float)), float("nan")),
    "tensors": (items(torch.tensor(marked(255))), 255),
    "masked arrays": (
        [(image, np.ma.masked_array(*pair)) for image, *pair in zip(IMAGES, TRUTHS, VOID, strict=True)],
        None,
    ),
}


@pytest.mark.parametrize(("dataset", "ignore"), IGNORING.values(), ids=IGNORING.keys())
def test_ignored_pixels_count_in_no_score(dataset, ignore):
    fitted = space().fit(dataset, ignore=ignore, **QUIET)
    check(fitted)
    item = fitted.item(3)
    np.testing.assert_array_equal(item.mask, TRUTHS[3] & ~VOID[3])
    np.testing.assert_array_equal(item.ignored, VOID[3])


def test_one_mask_for_all_items():
    border = np.ones(SHAPE, bool)
    border[1:-1, 1:-1] = False
    fitted = space().fit(items(TRUTHS), ignore=border, **QUIET)
    inner = TRUTHS[:, 1:-1, 1:-1], PREDICTED[:, 1:-1, 1:-1]
    np.testing.assert_array_equal(fitted.overlaps_.tp, (inner[0] & inner[1]).sum((1, 2)))
    np.testing.assert_array_equal(fitted.overlaps_.predicted_area, inner[1].sum((1, 2)))


def test_nothing_is_ignored_without_it():
    fitted = space().fit(items(TRUTHS), **QUIET)
    assert fitted.collection_.ignored is None
    assert not fitted.ignored(1).any()
    np.testing.assert_array_equal(fitted.overlaps_.tp, (TRUTHS & PREDICTED).sum((1, 2)))


def test_a_stored_space_keeps_what_is_ignored(tmp_path):
    dataset = items(marked(255.0, float))
    space().fit(dataset, ignore=255, **QUIET).save(tmp_path)
    check(hw.LatentSpace.load(tmp_path))
    # The data set is read as it was, without being told again.
    loaded = hw.LatentSpace.load(tmp_path, Reads(), dataset)
    np.testing.assert_array_equal(loaded.item(3).ignored, VOID[3])
    np.testing.assert_array_equal(loaded.item(3).mask, TRUTHS[3] & ~VOID[3])
    # Another space in the same folder ignores nothing.
    space().fit(items(TRUTHS), **QUIET).save(tmp_path)
    assert hw.LatentSpace.load(tmp_path).collection_.ignored is None


@pytest.mark.parametrize("num_workers", [0, 2])
def test_255_is_noticed_in_any_item(num_workers):
    masks = TRUTHS.astype(np.uint8)
    masks[5:, 0] = 255
    masks[5:, 1] = 1
    with pytest.warns(UserWarning, match="mask of item 5 has the value 255 beside 1, .*say so: ignore=255") as caught:
        space().fit(items(masks), num_workers=num_workers, **QUIET)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    # Where it is said, there is nothing to warn of.
    space().fit(items(masks), ignore=255, num_workers=num_workers, **QUIET)


def test_each_kind_of_ambiguity_is_said_once():
    masks = TRUTHS.astype(np.uint8)
    masks[:, 0, :3] = 1, 2, 3
    masks[4:, 0, 3] = 255
    with pytest.warns(UserWarning, match="the mask of item") as caught:
        space().fit(items(masks), **QUIET)
    assert [str(one.message).split(";")[0] for one in caught] == [
        "the mask of item 0 has 3 different values besides 0 and all of them count",
        "the mask of item 4 has the value 255 beside 1, and both count as the segment",
    ]


def from_features(masks, **options):
    return hw.LatentSpace.from_features(
        np.random.default_rng(0).random((len(masks), 3)).astype(np.float32), items(masks), predictions=PREDICTED,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    "fit", [lambda masks, **options: space().fit(items(masks), **options), from_features], ids=["fit", "from features"]
)
def test_masks_of_one_class_have_no_value_to_ignore(fit):
    with pytest.raises(CollectionError, match="item 0: ignore=255 is a value of a label map, and the segment is bool"):
        fit(marked(255) == 1, ignore=255, **QUIET)
    masks = (marked(255) == 1).astype(np.uint8)
    with pytest.warns(UserWarning, match="no mask has a pixel with the value of ignore=255; .*np.ma.masked_array"):
        fit(masks, ignore=255, **QUIET)


def test_floats_that_are_no_mask_name_the_item():
    with pytest.raises(
        CollectionError, match=r"item 1: the segment has floats other than 0 and 1, such as 255; .*ignore=255"
    ):
        space().fit(items(marked(255.0, float)), **QUIET)


@pytest.mark.parametrize("ignore", [True, "void", [254, 255]])
def test_what_cannot_be_ignored(ignore):
    with pytest.raises(TypeError, match="ignore must be one value of the ground truth"):
        space().fit(items(TRUTHS), ignore=ignore, **QUIET)


def test_the_gallery_shows_them():
    def unpacked(bits):
        return np.unpackbits(np.frombuffer(bits, np.uint8), count=HEIGHT * WIDTH).reshape(SHAPE)

    gallery = Gallery(space().fit(items(marked(255)), ignore=255, **QUIET))
    try:
        assert gallery._about["ignored"]
        _, (_, truth, predicted, ignored) = gallery._entry(3)
    finally:
        gallery.close()
    np.testing.assert_array_equal(unpacked(truth), TRUTHS[3] & ~VOID[3])
    np.testing.assert_array_equal(unpacked(predicted), PREDICTED[3] & ~VOID[3])
    np.testing.assert_array_equal(unpacked(ignored), VOID[3])


def test_an_item_is_explained_without_them():
    explorer = hw.LatentExplorer(space().fit(items(marked(255)), ignore=255, **QUIET))
    try:
        below = explorer.explain(3)
        assert below.wait(timeout=60)
        np.testing.assert_array_equal(below.result.ignored, VOID[3])
        np.testing.assert_array_equal(below.result.segment, TRUTHS[3] & ~VOID[3])
    finally:
        explorer.close()
