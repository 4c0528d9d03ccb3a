"""Spaces of features and predictions that were made elsewhere."""

import numpy as np
import pytest
import torch

import hdm_widgets as hw
from hdm_widgets.latent import CollectionError, Layer

QUIET = {"progress": False}
# Along the second feature they vary most, then along the first; the third is constant.
FEATURES = np.array([[1, 6, 5], [1, 2, 5], [2, 4, 5], [0, 4, 5], [1, 4, 5]], dtype=np.float32)
EMBEDDING = [[2, 0], [-2, 0], [0, 1], [0, -1], [0, 0]]
# 1 x 4 px: hit, missed, added and neither.
TRUTH = [[True, True, False, False]]
PREDICTIONS = np.array([[[1, 1, 0, 0]], [[1, 0, 0, 0]], [[1, 1, 1, 1]], [[0, 0, 1, 1]], [[1, 0, 1, 0]]], dtype=bool)
IOU = [1, 1 / 2, 1 / 2, 0, 1 / 3]
IMAGES = np.linspace(0, 1, 5 * 3 * 4, dtype=np.float32).reshape(5, 3, 1, 4)


class Scenes:
    """Five images with their truths and a column."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return {"image": IMAGES[index], "mask": np.array(TRUTH), "place": f"p{index}"}


@pytest.fixture(scope="module")
def space():
    return hw.LatentSpace.from_features(FEATURES, Scenes(), PREDICTIONS, columns={"weight": [1, 2, 3, 4, 5]}, **QUIET)


def check(space):
    np.testing.assert_allclose(space.embedding_, EMBEDDING, atol=1e-6)
    np.testing.assert_allclose(space.explained_variance_ratio_, [0.8, 0.2], atol=1e-6)  # 8 and 2 of 10
    np.testing.assert_allclose(space.iou_, IOU)
    np.testing.assert_array_equal(space.collection_.features, FEATURES)
    assert [space.overlaps_.tp.tolist(), space.overlaps_.fn.tolist(), space.overlaps_.fp.tolist()] == [
        [2, 1, 2, 0, 1],
        [0, 1, 0, 2, 1],
        [0, 0, 2, 2, 1],
    ]
    for index in range(5):
        np.testing.assert_array_equal(space.prediction(index), PREDICTIONS[index])
        np.testing.assert_array_equal(space.truth(index), TRUTH)
    assert space.neighbors(0, k=1).indices.tolist() in ([2], [3], [4])
    assert space.neighbors(0, k=4).indices[-1] == 1  # 4 apart, all others 2 or sqrt(5)
    frame = space.frame()
    assert frame["place"].tolist() == ["p0", "p1", "p2", "p3", "p4"]
    assert frame["weight"].tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(frame["iou"], IOU)
    assert space.layer_ == Layer("features", (3,), given=True)
    assert repr(space) == (
        "LatentSpace of 5 items with 3 features of your own; two components explain 100% of the variance; "
        "no confidences: the masks were given without probabilities"
    )


def test_the_map_of_given_features(space):
    check(space)
    assert space.segmenter is None
    clusters = space.snapshot().cluster(2, method="kmeans")
    assert sum(cluster.size for cluster in clusters) == 5
    np.testing.assert_array_equal(space.picture(4), np.round(IMAGES[4].transpose(1, 2, 0) * 255))
    assert space.item(3).columns == {"place": "p3"}


@pytest.mark.parametrize("dataset", [Scenes(), None])
def test_it_is_saved_and_loaded(space, dataset, tmp_path):
    space.save(tmp_path)
    loaded = hw.LatentSpace.load(tmp_path, dataset=dataset)
    check(loaded)
    assert loaded.picture(0).shape == (1, 4, 3)
    with pytest.raises(ValueError, match=r"made of features, LatentSpace\.from_features, and takes no model"):
        hw.LatentSpace.load(tmp_path, hw.UNet(3, 1), dataset)


@pytest.mark.parametrize(
    "ask",
    [
        lambda space: space.transform(IMAGES),
        lambda space: space.predict_iou(IMAGES),
        lambda space: space.locate(IMAGES),
        lambda space: space.snapshot().fit(Scenes(), **QUIET),
    ],
    ids=["transform", "predict_iou", "locate", "fit"],
)
def test_what_needs_a_model_says_that_there_is_none(space, ask):
    with pytest.raises(
        ValueError, match=r"this space was made of features, by LatentSpace\.from_features, and has no mo"
    ):
        ask(space)


FORMS = {
    "torch": (torch.from_numpy(FEATURES), torch.from_numpy(PREDICTIONS)),
    "with gradient": (torch.from_numpy(FEATURES).requires_grad_(), torch.from_numpy(PREDICTIONS)),
    "float64": (FEATURES.astype(np.float64), PREDICTIONS.astype(np.uint8) * 255),
    "bfloat16": (torch.from_numpy(FEATURES).bfloat16(), PREDICTIONS.astype(np.float32)),
    "lists": (FEATURES, [PREDICTIONS[0], *map(torch.from_numpy, PREDICTIONS[1:4]), PREDICTIONS[4].tolist()]),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_features_and_predictions(form):
    features, predictions = FORMS[form]
    check(hw.LatentSpace.from_features(features, Scenes(), predictions, columns={"weight": range(1, 6)}, **QUIET))


def test_settings_are_those_of_the_constructor():
    space = hw.LatentSpace.from_features(
        FEATURES, Scenes(), PREDICTIONS * False, 3, np.nan, 7, n_cluster_components=3, thumbnail=2, **QUIET
    )
    assert space.embedding_.shape == (5, 3)
    assert space.random_state == 7
    assert space.collection_.thumbnails.shape == (5, 1, 2, 3)
    np.testing.assert_array_equal(space.iou_, [0] * 5)
    with pytest.raises(TypeError, match=r"from_features\(\) has no keyword 'componnts'; did you mean 'n_components'"):
        hw.LatentSpace.from_features(FEATURES, Scenes(), PREDICTIONS, componnts=2)


def test_many_items_come_in_order():
    numbers = np.arange(150, dtype=np.float32)
    truths = np.arange(150)[:, None, None] % 7 > np.arange(6).reshape(2, 3)
    scenes = list(zip(np.repeat(numbers / 150, 6).astype(np.float32).reshape(150, 1, 2, 3), truths, strict=True))
    space = hw.LatentSpace.from_features(np.stack([numbers, numbers**2], 1), scenes, truths, iou_empty=1, **QUIET)
    np.testing.assert_array_equal(space.collection_.features[:, 0], numbers)
    np.testing.assert_array_equal([space.truth(index) for index in range(150)], truths)
    np.testing.assert_array_equal(space.iou_, 1)


def test_items_that_cannot_be_used():
    class Broken(Scenes):
        def __getitem__(self, index):
            if index == 3:
                raise OSError("gone")
            return super().__getitem__(index)

    with pytest.raises(CollectionError, match="item 3 could not be read: OSError: gone") as caught:
        hw.LatentSpace.from_features(FEATURES, Broken(), PREDICTIONS, **QUIET)
    assert caught.value.index == 3
    assert caught.value.collection.items.tolist() == [0, 1, 2]
    wrong = [*PREDICTIONS[:1], PREDICTIONS[1] * [[2, 1, 1, 1]], PREDICTIONS[2] * [[2, 1, 1, 1]], *PREDICTIONS[3:]]
    with pytest.warns(UserWarning, match=r"2 of 5 items were skipped, the first because: item 2: its prediction"):
        space = hw.LatentSpace.from_features(FEATURES, Broken(), wrong, on_error="skip", **QUIET)
    assert space.items_.tolist() == [0, 1, 4]
    np.testing.assert_array_equal(space.collection_.features, FEATURES[[0, 1, 4]])
    assert list(space.skipped_) == [2, 3]
    assert space.skipped_[2].startswith(
        "item 2: its prediction must be a mask, nonzero = segment, got int64 with several"
    )


@pytest.mark.parametrize(
    ("features", "predictions", "error", "message"),
    [
        (FEATURES[:4], PREDICTIONS, ValueError, r"features must be \(5, d\), one row per item of .*, got shape \(4"),
        (FEATURES[:, 0], PREDICTIONS, ValueError, r"features must be \(5, d\)"),
        (np.ones((5, 2, 4, 4)), PREDICTIONS, ValueError, r"got shape \(5, 2, 4, 4\); pool maps first, features\.mean"),
        (FEATURES.astype(int), PREDICTIONS, TypeError, "features must be of a floating type, got int64"),
        (FEATURES.tolist(), PREDICTIONS, TypeError, "features must be a torch tensor or a numpy array, got list"),
        (FEATURES * [[1], [1], [np.nan], [1], [1]], PREDICTIONS, ValueError, "features of item 2 have NaN or infinity"),
        (0 * FEATURES, PREDICTIONS, ValueError, "the features of all 5 items are the same"),
        (FEATURES, PREDICTIONS[:, None], ValueError, r"got shape \(1, 1, 4\); write predictions\[:, 0\]"),
        (FEATURES, np.stack([PREDICTIONS, PREDICTIONS], 1), ValueError, r"write predictions.argmax\(1\) == number"),
        (FEATURES[:, :1], PREDICTIONS, ValueError, r"features of at least 2 columns, got shape \(5, 1\)"),
        (FEATURES, PREDICTIONS[:4], ValueError, "predictions must be one mask per item of the data set, 5, got 4"),
        (FEATURES, 3, ValueError, "predictions must be one mask per item of the data set, 5, got int"),
        (FEATURES, PREDICTIONS[:, 0], ValueError, r"item 0: .* must be a mask of the image's size \(1, 4\), got"),
        (FEATURES, PREDICTIONS * np.linspace(0, 1, 4), ValueError, "item 2: .* predictions > 0.5 of probabilities"),
        (FEATURES, PREDICTIONS * [0, 1, 2, 3], ValueError, "item 2: .* predictions == number for one class of"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_refused(features, predictions, error, message):
    with pytest.raises(error, match=message):
        hw.LatentSpace.from_features(features, Scenes(), predictions, **QUIET)


@pytest.mark.parametrize("model", [lambda images: images[:, 0], hw.Segmenter(lambda images: images[:, 0])])
def test_a_callable_is_told_of_it(model):
    with pytest.raises(
        TypeError,
        match=r"the latent space is in the layers of a torch\.nn\.Module; a function does not show its own\. Give the "
        r"Module that it runs, or features of your own: LatentSpace\.from_features\(features, dataset, pred",
    ):
        hw.LatentSpace(model)


def test_ignored_pixels_and_a_display():
    truths = np.array(TRUTH, dtype=np.uint8)
    truths[0, 0] = 255
    scenes = [(image, truths) for image in IMAGES]
    space = hw.LatentSpace.from_features(FEATURES, scenes, PREDICTIONS, ignore=255, display=1, **QUIET)
    overlaps = space.overlaps_
    assert [overlaps.tp.tolist(), overlaps.fn.tolist(), overlaps.fp.tolist()] == [
        [1, 0, 1, 0, 0],
        [0, 1, 0, 1, 1],
        [0, 0, 2, 2, 1],
    ]
    np.testing.assert_array_equal(space.ignored(2), [[True, False, False, False]])
    np.testing.assert_array_equal(space.picture(4), np.round(255 * IMAGES[4][1].astype(float))[..., None].repeat(3, 2))


def test_images_of_any_values_are_shown():
    photographs = np.resize(np.array([0, 255, 17, 99, 180, 64, 3], np.uint8), (5, 1, 4, 3))  # (H, W, C) of bytes
    scenes = [(photograph, np.array(TRUTH)) for photograph in photographs]
    space = hw.LatentSpace.from_features(FEATURES, scenes, PREDICTIONS, **QUIET)
    np.testing.assert_array_equal(space.picture(3), photographs[3])
    np.testing.assert_allclose(space.iou_, IOU)


# -- probabilities ------------------------------------------------------------------------------------

# What is predicted has 0.75, all else 0.25.
PROBABILITIES = (0.25 + 0.5 * PREDICTIONS).astype(np.float32)


def from_probabilities(probabilities, **options):
    given = {"features": FEATURES, "dataset": Scenes(), "predictions": PREDICTIONS, **QUIET, **options}
    return hw.LatentSpace.from_features(**given, probabilities=probabilities)


@pytest.fixture(scope="module")
def scenes():
    """A model, and the upper left quarters of 70 images with their truths."""
    model, dataset = hw.demo.aerial(70)
    return model, [(image[:, :48, :48], mask[:48, :48]) for image, mask in map(dataset.__getitem__, range(70))]


@pytest.mark.parametrize(
    "ignore", [None, np.arange(48 * 48).reshape(48, 48) % 5 == 0, 0.5], ids=["none", "mask", "value"]
)
def test_with_probabilities_it_has_what_a_space_of_the_model_has(scenes, ignore):
    model, dataset = scenes
    if ignore is not None and np.ndim(ignore) == 0:
        # A truth whose first column is marked with 0.5.
        dataset = [(image, mask.float().index_fill(1, torch.tensor([0]), 0.5)) for image, mask in dataset]
    segmenter = hw.Segmenter(model, batch_size=8)
    fitted = hw.LatentSpace(segmenter).fit(dataset, ignore=ignore, **QUIET)
    images = torch.stack([dataset[i][0] for i in range(70)])
    space = hw.LatentSpace.from_features(
        fitted.collection_.features,
        dataset,
        segmenter.masks(images),
        ignore=ignore,
        probabilities=segmenter.probabilities(images),
        **QUIET,
    )
    got, expected = space.collection_, fitted.collection_
    assert list(got.confidences) == list(expected.confidences)
    for name, values in expected.confidences.items():
        np.testing.assert_allclose(got.confidences[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(got.label_quality, expected.label_quality, atol=1e-6)
    np.testing.assert_array_equal(got.probability_maps, expected.probability_maps)
    assert got.no_confidences == ""
    assert space.suspects(5)["item"].tolist() == fitted.suspects(5)["item"].tolist()


FORMS_OF_PROBABILITIES = {
    "array": PROBABILITIES,
    "float64": PROBABILITIES.astype(np.float64),
    "float16": PROBABILITIES.astype(np.float16),
    "bfloat16": torch.from_numpy(PROBABILITIES).bfloat16(),
    "with gradient": torch.from_numpy(PROBABILITIES).requires_grad_(),
    "lists": [PROBABILITIES[0].tolist(), *map(torch.from_numpy, PROBABILITIES[1:])],
}


@pytest.mark.parametrize("form", [*FORMS_OF_PROBABILITIES, "memory map"])
def test_forms_of_probabilities(form, tmp_path):
    if form == "memory map":
        np.save(tmp_path / "p.npy", PROBABILITIES)
        given = np.load(tmp_path / "p.npy", mmap_mode="r")
    else:
        given = FORMS_OF_PROBABILITIES[form]
    space = from_probabilities(given)
    found = space.collection_
    np.testing.assert_allclose(found.confidences["mean_entropy"], [0.8112781] * 5, atol=1e-6)
    np.testing.assert_array_equal(found.confidences["area_at_70"], PREDICTIONS.mean((1, 2)))
    np.testing.assert_array_equal(found.confidences["largest_probability"], [0.75] * 5)
    assert "no confidences" not in repr(space)


def test_probabilities_of_skipped_items_are_left_out(tmp_path):
    given = PROBABILITIES.copy()
    given[1, 0, 0] = np.nan
    with pytest.warns(UserWarning, match="1 of 5 items were skipped, .* item 1: its probabilities have NaN"):
        space = from_probabilities(given, on_error="skip")
    np.testing.assert_array_equal(space.collection_.confidences["area_at_50"], PREDICTIONS[[0, 2, 3, 4]].mean((1, 2)))
    space.save(tmp_path)
    loaded = hw.LatentSpace.load(tmp_path)
    np.testing.assert_array_equal(loaded.collection_.label_quality, space.collection_.label_quality)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (PROBABILITIES[:4], "probabilities must be one map per item of the data set, 5, got 4"),
        (3, "probabilities must be one map per item of the data set, 5, got int"),
        (PROBABILITIES[:, 0], r"item 0: its probabilities must be a map of the image's size \(1, 4\), got"),
        (PROBABILITIES[:, None], r"got shape \(1, 1, 4\); write probabilities\[:, 0\]"),
        (np.stack([PROBABILITIES] * 2, 1), r"shape \(2, 1, 4\); write probabilities\[:, target\]"),
        (PREDICTIONS, "item 0: its probabilities must be of a floating type, got bool"),
        (PROBABILITIES * np.float32(np.nan), "item 0: its probabilities have NaN or infinity"),
        (PROBABILITIES * 8 - 4, r"item 0: .* in \[0, 1\], got -2 to 2; of logits take the sigmoid"),
        (1 - PROBABILITIES, "do not belong together: the mean probability is 0.25 inside .* 0.75 outside"),
    ],
)  # fmt: skip
def test_what_are_no_probabilities_of_the_predictions_is_refused(probabilities, message):
    with pytest.raises(ValueError, match=message):
        from_probabilities(probabilities)


def test_probabilities_of_0_and_1_are_no_confidences():
    space = from_probabilities(PREDICTIONS.astype(np.float32))
    assert space.collection_.confidences == {}
    assert space.collection_.no_confidences == "the probabilities that were given are 0 and 1 only"


def test_new_data_needs_a_model_also_with_probabilities():
    with pytest.raises(ValueError, match=r"made of features, by LatentSpace\.from_features, and has no"):
        from_probabilities(PROBABILITIES).estimate(IMAGES)
