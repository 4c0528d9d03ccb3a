"""Objects on objects as a value: the matrix with its objects, its text and its picture."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from hdm_widgets import hdm

IMAGE = np.full((1, 32, 32), 0.1, np.float32)
IMAGE[:, 3:9, 3:9] = 1
IMAGE[:, 20:28, 18:28] = 1
TRUTH = np.roll(IMAGE[0] > 0.5, 1, axis=1)
LABELS = ndimage.label(TRUTH, np.ones((3, 3)))[0]
STRONGEST = "The strongest: a disc on object 1 of the truth flips 97 % of object 1 of the prediction."


@pytest.fixture(scope="module")
def scan():
    explainer = hdm.HausdorffDistanceMasks(32, 32)
    explainer.generate_masks(circle_size=9, offset=2)
    return explainer.explain(lambda images: images[:, 0], IMAGE, TRUTH, progress=False)


@pytest.mark.parametrize(
    ("asked", "by", "on"),
    [
        ({}, "truth", "prediction"),
        ({"by": "prediction", "on": "truth"}, "prediction", "truth"),
        ({"by": LABELS.T, "on": LABELS}, "label map", "label map"),
    ],
)
def test_has_the_values_of_the_matrix(scan, asked, by, on):
    found = scan.object_influence(**asked)
    masks = {"truth": scan.segment, "prediction": scan.baseline_mask}
    given = [
        asked[key] if name == "label map" else ndimage.label(masks[name], np.ones((3, 3)))[0]
        for key, name in (("by", by), ("on", on))
    ]
    np.testing.assert_array_equal(found.values, scan.influence_matrix(*given))
    assert (found.by.name, found.on.name) == (by, on)
    np.testing.assert_array_equal(found.on.labels, given[1])
    for (covered, changed), value in np.ndenumerate(found.values):
        flips = scan.output(*found.cells[covered, changed]) != scan.baseline_mask
        assert flips[found.on.labels == changed + 1].mean() == value
        assert (scan.grid.mask(*found.cells[covered, changed]) & (found.by.labels == covered + 1)).any()


def test_says_the_strongest(scan):
    found = scan.object_influence()
    assert found.text == STRONGEST
    assert repr(found) == f"ObjectInfluence(2 objects of the truth on 2 of the prediction: {STRONGEST})"


def test_objects_of_a_mask_are_the_largest_in_reading_order():
    mask = np.zeros((7, 9), bool)
    mask[0, 0] = mask[0, 3:5] = mask[4:6, 1:3] = mask[6, 8] = True
    objects = hdm.Objects.of_mask(mask, "truth", most=3)
    expected = np.zeros((7, 9), int)
    expected[0, 0], expected[0, 3:5], expected[4:6, 1:3] = 1, 2, 3
    np.testing.assert_array_equal(objects.labels, expected)
    assert (objects.count, objects.found) == (3, 4)
    np.testing.assert_array_equal(objects.pixels, [[0, 0], [0, 3], [4, 1]])
    with pytest.raises(ValueError, match="the prediction has no object: it is empty"):
        hdm.Objects.of_mask(mask & ~mask, "prediction")


def test_of_many_objects_the_largest_are_taken_and_said(scan):
    dots = np.zeros((32, 32), bool)
    dots[::4, ::4] = True
    dots[1, ::4] = True
    found = scan.measure("iou", segment=dots).object_influence()
    assert found.values.shape == (24, 2)
    assert found.text.endswith("Shown are the 24 largest of 64 objects of the truth.")
    assert {(0, 0), (0, 28)} < set(map(tuple, found.by.pixels.tolist()))


def test_draws_the_image_and_the_matrix_in_percent(scan):
    from matplotlib.figure import Figure

    found = scan.object_influence()
    image, heat = found.plot(Figure().subplots(1, 2))
    np.testing.assert_array_equal(heat.images[0].get_array(), 100 * found.values)
    assert [text.get_text() for text in heat.texts] == [f"{100 * value:.0f}" for value in found.values.ravel()]
    assert [text.get_text() for text in image.texts] == ["1", "2", "1", "2"]
    assert (heat.get_xlabel(), heat.get_ylabel()) == (
        "changed: object of the prediction",
        "covered: object of the truth",
    )
    picture = Image.open(io.BytesIO(found._repr_png_()))
    assert picture.size == (846, 378)


def test_an_object_that_no_disc_covers_has_no_number(scan):
    by = LABELS * 0
    by[31, 31] = 1  # the last disc ends at row 39, the first of those that cover it is there
    far = np.full((32, 32), 1)
    explainer = hdm.HausdorffDistanceMasks(32, 32)
    explainer.generate_masks(circle_size=3, offset=16)
    sparse = explainer.explain(lambda images: images[:, 0], IMAGE, TRUTH, progress=False)
    found = sparse.object_influence(by, far)
    assert np.isnan(found.values).all()
    np.testing.assert_array_equal(found.cells, [[[-1, -1]]])
    assert found.text == "No disc that was measured covers an object."


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"by": "model"}, "by must be one of 'truth', 'prediction', got 'model'; or give a label map"),
        ({"on": LABELS * 0}, "on has no object"),
    ],
)
def test_refuses(scan, asked, message):
    with pytest.raises(ValueError, match=message):
        scan.object_influence(**asked)
    with pytest.raises(ValueError, match="axes must be two"):
        scan.object_influence().plot([None])
