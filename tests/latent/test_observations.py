"""What a pass keeps of a model's confidence, and new data that the same pass observes, with true masks or without."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_collection import HEIGHT, SHAPE, WIDTH, Fails, Reads, Spoils, Unreadable, collect, scenes
from torch import nn
from torch.utils.data import TensorDataset

import hdm_widgets as hw
from hdm_widgets import _storage
from hdm_widgets._datasets import Fields
from hdm_widgets.latent import CollectionError, InterruptedCollectionError
from hdm_widgets.latent.collector import Collector
from hdm_widgets.latent.confidences import CONFIDENCES, confidence_columns


def expected_confidences(images, counted=None):
    """Of `Reads`, whose probabilities are the first channel."""
    probabilities = torch.from_numpy(np.asarray(images)[:, 0])
    return confidence_columns(probabilities, probabilities > 0.5, counted)


def images_of(dataset):
    return np.stack([image for image, _ in dataset])


def masks_of(dataset):
    return np.stack([mask for _, mask in dataset])


def assert_columns(got, expected):
    assert list(got) == list(CONFIDENCES)
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-6, err_msg=name)


class Interrupted(list):
    """A data set whose reading is interrupted at an item."""

    def __init__(self, items, at):
        super().__init__(items)
        self.at = at

    def __getitem__(self, index):
        if index == self.at:
            raise KeyboardInterrupt
        return super().__getitem__(index)


# -- the confidences of a collection ------------------------------------------------------------------


def test_a_pass_keeps_the_confidences_of_every_item():
    dataset = scenes(30)
    got = collect(Reads(), dataset, segmenter={"batch_size": 7})
    assert_columns(got.confidences, expected_confidences(images_of(dataset)))
    assert got.no_confidences == ""


class Logits(nn.Module):
    """Logits of as many classes as channels."""

    def __init__(self):
        super().__init__()
        self.values = nn.Identity()

    def forward(self, images):
        return self.values(20 * images - 10)


@pytest.mark.parametrize(
    ("options", "probability"),
    [
        pytest.param({"target": 1}, lambda logits: logits.softmax(1)[:, 1], id="exclusive"),
        pytest.param(
            {"target": 1, "classes": "independent", "threshold": 0.3}, lambda logits: logits[:, 1].sigmoid(), id="one"
        ),
    ],
)
def test_several_classes_have_the_probability_of_the_target(options, probability):
    dataset = scenes()
    got = collect(Logits(), dataset, segmenter=options)
    logits = 20 * torch.from_numpy(images_of(dataset)) - 10
    predictions = torch.from_numpy(np.stack([got.predictions[i] for i in range(12)]))
    assert_columns(got.confidences, confidence_columns(probability(logits), predictions))


class Numbers(Reads):
    def forward(self, images):
        return (super().forward(images) > 0.5).long()


class Masks(Reads):
    def forward(self, images):
        return super().forward(images) > 0.5


@pytest.mark.parametrize(
    ("model", "options"),
    [
        pytest.param(Numbers(), {"target": 1}, id="class numbers"),
        pytest.param(Masks(), {}, id="masks"),
        pytest.param(Logits(), {"activation": "none", "threshold": 2, "classes": "independent", "target": 0}, id="raw"),
    ],
)
def test_what_is_no_probability_has_no_confidences_and_says_so(model, options):
    got = collect(model, scenes(), segmenter=options)
    assert got.confidences == {}
    assert "not read as probabilities" in got.no_confidences
    space = hw.LatentSpace(hw.Segmenter(model, **options), "values").fit_collected(got)
    assert not set(CONFIDENCES) & set(space.table())
    assert "not read as probabilities" in repr(space)


def test_pixels_that_only_a_truth_ignores_count():
    dataset = scenes()
    marked = [(image, np.ma.masked_array(mask, np.eye(HEIGHT, WIDTH, dtype=bool))) for image, mask in dataset]
    got = collect(Reads(), marked)
    assert got.ignored is not None
    assert_columns(got.confidences, expected_confidences(images_of(dataset)))


def test_pixels_that_are_ignored_in_all_items_do_not_count():
    dataset = scenes()
    ignore = np.eye(HEIGHT, WIDTH, dtype=bool)
    got = collect(Reads(), dataset, ignore=ignore)
    assert_columns(got.confidences, expected_confidences(images_of(dataset), torch.from_numpy(~ignore)))


class Center(Reads):
    """Has no output for a margin of one pixel."""

    def forward(self, images):
        return super().forward(images)[:, 1:-1, 1:-1]


def test_pixels_without_an_output_do_not_count():
    dataset = scenes()
    got = collect(Center(), dataset, segmenter={"align": "center"})
    assert_columns(got.confidences, expected_confidences(images_of(dataset)[:, :, 1:-1, 1:-1]))


def test_items_that_are_skipped_leave_no_gap():
    dataset = scenes()
    with pytest.warns(UserWarning, match="skipped"):
        got = collect(Fails(5), dataset, on_error="skip")
    kept = [i for i in range(12) if i != 5]
    assert_columns(got.confidences, expected_confidences(images_of(dataset)[kept]))


def test_what_was_collected_before_an_error_has_confidences():
    dataset = scenes()
    with pytest.raises(CollectionError) as error:
        collect(Reads(), Unreadable(dataset, 7))
    assert_columns(error.value.collection.confidences, expected_confidences(images_of(dataset)[:7]))


class Reuses(Reads):
    """Writes every output into the same memory."""

    def __init__(self):
        super().__init__()
        self.out = torch.empty(2, HEIGHT, WIDTH)

    def forward(self, images):
        return self.out[: len(images)].copy_(super().forward(images))


def test_outputs_that_the_model_overwrites_are_measured_before():
    dataset = scenes()
    got = collect(Reuses(), dataset, segmenter={"batch_size": 2})
    assert_columns(got.confidences, expected_confidences(images_of(dataset)))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 130])
def test_any_number_of_items_is_measured(length):
    dataset = scenes(length)
    for size in (3, 100):
        got = collect(Reads(), dataset, segmenter={"batch_size": size})
        assert_columns(got.confidences, expected_confidences(images_of(dataset)))


def test_what_has_run_before_an_interrupt_is_kept():
    dataset = scenes(9)
    with pytest.raises(InterruptedCollectionError) as error:
        collect(Reads(), Interrupted(dataset, 7), segmenter={"batch_size": 2})
    assert_columns(error.value.collection.confidences, expected_confidences(images_of(dataset)[:6]))


def test_features_of_ones_own_have_no_confidences_and_say_so():
    dataset = scenes()
    images = images_of(dataset)
    space = hw.LatentSpace.from_features(images.mean((2, 3)), dataset, images[:, 0] > 0.5, progress=False)
    assert space.collection_.confidences == {}
    assert space.collection_.no_confidences == "the masks were given without probabilities"
    assert "no confidences: the masks were given without probabilities" in repr(space)


# -- spaces -------------------------------------------------------------------------------------------


@pytest.fixture
def space():
    return hw.LatentSpace(Reads(), "values").fit(scenes(20), progress=False)


def test_confidences_are_columns_and_come_back_from_a_folder(space, tmp_path):
    space.save(tmp_path / "space")
    loaded = hw.LatentSpace.load(tmp_path / "space")
    expected = expected_confidences(images_of(scenes(20)))
    for one in (space, loaded):
        assert_columns(one.collection_.confidences, expected)
        frame = one.frame()
        for name, values in expected.items():
            np.testing.assert_allclose(frame[name], values, rtol=1e-6)
        assert one.collection_.no_confidences == ""


def test_an_older_folder_has_no_confidences_and_says_what_to_do(space, tmp_path):
    space.save(tmp_path / "space")
    file = tmp_path / "space" / "space.npz"
    about, arrays = _storage.read(file, "hdm-widgets latent space 1")
    del about["confidences"], about["no_confidences"]
    older = {name: values for name, values in arrays.items() if not name.startswith("confidence_")}
    _storage.write(file, about, older)
    loaded = hw.LatentSpace.load(tmp_path / "space")
    assert loaded.collection_.confidences == {}
    assert not set(CONFIDENCES) & set(loaded.table())
    assert repr(loaded).endswith("; no confidences: the space was saved before confidences were kept; fit it again")


def test_a_column_of_the_data_with_the_name_of_a_confidence_stands_beside_it():
    space = hw.LatentSpace(Reads(), "values").fit(scenes(), columns={"objects": list("abcdefghijkl")}, progress=False)
    table = space.table()
    np.testing.assert_array_equal(table["objects"], expected_confidences(images_of(scenes()))["objects"])
    assert table["data_objects"].tolist() == list("abcdefghijkl")


# -- new data -----------------------------------------------------------------------------------------


def observe(data, like=None, *, model=None, segmenter=None, **options):
    collector = Collector(hw.Segmenter(model or Reads(), **(segmenter or {})), "values")
    return collector.observe(data, like or collect(Reads(), scenes()), progress=False, **options)


def test_new_data_is_observed_as_a_map_is_collected():
    dataset = scenes(25, seed=3)
    got, collected = observe(dataset), collect(Reads(), dataset)
    np.testing.assert_array_equal(got.features, collected.features)
    assert_columns(got.confidences, collected.confidences)
    np.testing.assert_array_equal(got.predicted_area, (images_of(dataset)[:, 0] > 0.5).sum((1, 2)))
    np.testing.assert_array_equal(got.predictions.packed, collected.predictions.packed)
    np.testing.assert_array_equal(got.truths.packed, collected.truths.packed)
    np.testing.assert_array_equal(got.thumbnails, collected.thumbnails)
    assert got.items.tolist() == list(range(25))
    assert got.labeled.all()
    drawn, truths = images_of(dataset)[:, 0] > 0.5, masks_of(dataset)
    np.testing.assert_allclose(got.iou(), (drawn & truths).sum((1, 2)) / (drawn | truths).sum((1, 2)))


IMAGES = images_of(scenes(9, seed=4))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(torch.from_numpy(IMAGES), id="tensor"),
        pytest.param(IMAGES, id="array"),
        pytest.param(list(IMAGES), id="list of arrays"),
        pytest.param(TensorDataset(torch.from_numpy(IMAGES)), id="data set of tensors"),
        pytest.param([(image, None) for image in IMAGES], id="no mask"),
        pytest.param([(image, 3) for image in IMAGES], id="labels"),
        pytest.param([(image, "scene.png") for image in IMAGES], id="names"),
        pytest.param([{"image": image, "city": "Graz"} for image in IMAGES], id="mappings"),
    ],
)
def test_data_without_true_masks_is_observed_too(data):
    got = observe(data)
    np.testing.assert_allclose(got.features, IMAGES.mean((2, 3)), atol=1e-6)
    assert_columns(got.confidences, expected_confidences(IMAGES))
    np.testing.assert_array_equal(got.predicted_area, (IMAGES[:, 0] > 0.5).sum((1, 2)))
    np.testing.assert_array_equal(got.predictions[8], IMAGES[8, 0] > 0.5)
    assert len(got.thumbnails) == len(got) == 9
    assert got.truths is None
    assert got.iou() is None
    assert not got.labeled.any()


def test_two_images_in_a_list_are_no_pair():
    got = observe(list(IMAGES[:2]))
    np.testing.assert_allclose(got.features, IMAGES[:2].mean((2, 3)), atol=1e-6)


@pytest.mark.parametrize("pair", [list, tuple])
def test_stacked_images_and_masks_are_a_pair(pair):
    dataset = scenes(9, seed=4)
    got = observe(pair((IMAGES, masks_of(dataset))))
    assert got.labeled.all()
    np.testing.assert_array_equal(got.truths[3], dataset[3][1])


def test_pillow_images_alone_with_preprocess():
    pixels = (255 * np.random.default_rng(0).random((4, 5, 7, 3))).astype(np.uint8)
    model, options = Reads(), {"preprocess": lambda images: images / 255}
    like = collect(model, [(image, image[..., 0] > 9) for image in pixels], segmenter=options)
    got = observe([Image.fromarray(image) for image in pixels], like, model=model, segmenter=options)
    np.testing.assert_allclose(got.features, pixels.mean((1, 2)) / 255, atol=1e-5)
    assert got.truths is None


def test_some_items_may_have_a_true_mask():
    dataset = scenes(6, seed=5)
    mixed = [(image, mask if i % 2 else None) for i, (image, mask) in enumerate(dataset)]
    got = observe(mixed)
    assert got.labeled.tolist() == [False, True] * 3
    iou = got.iou()
    assert np.isnan(iou[::2]).all()
    np.testing.assert_allclose(iou[1::2], observe(dataset).iou()[1::2])
    with pytest.raises(ValueError, match="3 of 6 items have no true mask"):
        hw.LatentSpace(Reads(), "values").fit_collected(got.collection)


def test_fields_of_the_map_hold_for_new_data():
    def rows(dataset, **more):
        return [{"picture": image, "seg": mask, **more} for image, mask in dataset]

    like = collect(Reads(), rows(scenes()), fields=Fields("picture", "seg"))
    assert observe(rows(scenes(5)), like).labeled.all()
    assert not observe([{"picture": image} for image, _ in scenes(5)], like).labeled.any()
    assert observe([{"x": image, "y": mask} for image, mask in scenes(5)], like, image="x", mask="y").labeled.all()
    with pytest.raises(CollectionError, match="item 0 has no 'y'"):
        observe(rows(scenes(5)), like, mask="y")


def test_pixels_to_ignore_hold_without_a_truth():
    ignore = np.zeros((HEIGHT, WIDTH), bool)
    ignore[:, :3] = True
    got = observe(IMAGES, ignore=ignore)
    np.testing.assert_array_equal(got.predicted_area, (IMAGES[:, 0, :, 3:] > 0.5).sum((1, 2)))
    assert_columns(got.confidences, expected_confidences(IMAGES, torch.from_numpy(~ignore)))


def test_workers_read_new_data():
    got = observe(list(IMAGES), num_workers=1)
    np.testing.assert_array_equal(got.features, observe(IMAGES).features)
    assert not got.labeled.any()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        pytest.param(IMAGES[0], r"images must be \(N, 2, H, W\), got shape \(2, 5, 7\)", id="one image"),
        pytest.param(IMAGES[:0], r"there are no images: got shape \(0, 2, 5, 7\)", id="none"),
        pytest.param(IMAGES[:, :1], "new images must have 2 channels as those of the map", id="channels"),
        pytest.param([], "the data set is empty", id="empty list"),
        pytest.param([*IMAGES[:3], IMAGES[3, :, :, :4]], "item 3: expected an image 7 px wide", id="sizes"),
    ],
)
def test_what_cannot_be_observed_is_named(data, match):
    with pytest.raises((ValueError, TypeError), match=match):
        observe(data)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        pytest.param(lambda image: image.copy(), "expected a segment of the image's size", id="another image"),
        pytest.param(lambda image: 9 * image[0], "", id="depths"),
        pytest.param(lambda image: image[0, :4] > 0.5, "expected a segment of the image's size", id="another size"),
    ],
)
@pytest.mark.parametrize("ignore", [None, 255, np.eye(HEIGHT, WIDTH, dtype=bool)], ids=["all", "value", "pixels"])
def test_what_is_no_mask_is_left_out_with_one_warning(second, why, ignore):
    alone = observe(IMAGES, ignore=ignore)
    with pytest.warns(UserWarning, match=f"in place of the mask of item 0 is no mask of its image.*{why}") as warned:
        got = observe([(image, second(image)) for image in IMAGES], ignore=ignore)
    assert len(warned) == 1
    assert got.iou() is None
    np.testing.assert_array_equal(got.features, alone.features)
    np.testing.assert_array_equal(got.predicted_area, alone.predicted_area)
    with pytest.raises(CollectionError, match="item 0"):
        observe([(image, second(image)) for image in IMAGES], mask=1)


def test_items_that_cannot_be_used_are_skipped_or_named():
    dataset = Unreadable(scenes(8), 2)
    with pytest.raises(CollectionError, match="item 2 could not be read") as error:
        observe(dataset)
    # What is no data for a map is not offered for one.
    assert error.value.collection is None
    with pytest.warns(UserWarning, match="1 of 8 items were skipped, the first because: item 2 could not be read"):
        got = observe(dataset, on_error="skip")
    assert got.items.tolist() == [0, 1, 3, 4, 5, 6, 7]
    with pytest.warns(UserWarning, match="1 of 8 items were skipped"):
        got = observe(scenes(8), model=Spoils(6, where="output"), on_error="skip")
    assert list(got.collection.skipped) == [6]


def test_an_interrupt_promises_no_map():
    with pytest.raises(InterruptedCollectionError, match=r"^interrupted at item") as error:
        observe(Interrupted(scenes(8), 3))
    assert error.value.collection is None


def test_a_map_of_features_observes_nothing():
    dataset = scenes()
    images = images_of(dataset)
    space = hw.LatentSpace.from_features(images.mean((2, 3)), dataset, images[:, 0] > 0.5, progress=False)
    with pytest.raises(ValueError, match="made of features"):
        observe(IMAGES, space.collection_)


def test_flattened_activations_need_images_of_one_size():
    like = collect(Reads(), scenes(), pool="flatten")
    collector = Collector(hw.Segmenter(Reads()), "values", "flatten")
    assert collector.observe(IMAGES, like, progress=False).features.shape == (9, np.prod(SHAPE))
    with pytest.raises(ValueError, match="pool='flatten' takes images of one size"):
        collector.observe(IMAGES[..., :5], like, progress=False)
    got = observe(IMAGES[..., :5])
    np.testing.assert_allclose(got.features, IMAGES[..., :5].mean((2, 3)), atol=1e-6)
