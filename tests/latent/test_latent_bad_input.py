import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import hdm_widgets as hw
from hdm_widgets.latent import CollectionError, LayerError

QUIET = {"progress": False}
IMAGES = np.random.default_rng(0).random((12, 1, 8, 8)).astype(np.float32)
ITEMS = [(image, image[0] > 0.5) for image in IMAGES]


class Counts(nn.Module):
    """Gives the image back, by way of a layer; counts how often."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, padding=1))
        self.fixed = nn.Conv2d(3, 8, 3, padding=1)
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        ones = torch.linspace(0, 1, 3 * 64).reshape(1, 3, 8, 8).expand(len(images), 3, 8, 8)
        return images + 0 * self.layer(images).sum(1, keepdim=True) + 0 * self.fixed(ones).sum(1, keepdim=True)


def with_item(index, image=None, mask=None):
    items = list(ITEMS)
    items[index] = (IMAGES[index] if image is None else image, ITEMS[index][1] if mask is None else mask)
    return items


def fitted(model=None, **options):
    return hw.LatentSpace(model or Counts(), layer="layer", **options).fit(ITEMS, **QUIET)


# -- the constructor ----------------------------------------------------------------------------------


def test_a_segmenter_with_windows():
    message = "runs its model in windows of 4 x 6 px, several times for an image.*patch=6"
    with pytest.raises(ValueError, match=message):
        hw.LatentSpace(hw.Segmenter(Counts(), window=(4, 6)))
    with pytest.raises(ValueError, match=message):
        hw.layers(hw.Segmenter(Counts(), window=(4, 6)), IMAGES[0])
    # Its masks serve beside features of one's own.
    masks = hw.Segmenter(lambda images: images, window=(4, 6)).masks(IMAGES)
    space = hw.LatentSpace.from_features(IMAGES.reshape(12, -1), ITEMS, masks, **QUIET)
    np.testing.assert_array_equal(space.iou_, np.ones(12))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"n_components": 1}, ValueError, "n_components must be a whole number of at least 2, got 1"),
        ({"n_components": 2.0}, ValueError, "n_components must be a whole number of at least 2, got 2.0"),
        ({"n_components": True}, ValueError, "n_components must be a whole number of at least 2, got True"),
        ({"grid": 0}, ValueError, "grid must be a whole number of at least 1, got 0"),
        ({"grid": (2, 2)}, ValueError, r"grid must be a whole number of at least 1, got \(2, 2\)"),
        ({"n_cluster_components": 0}, ValueError, "n_cluster_components must be a whole number of at least 1"),
        ({"thumbnail": "48"}, ValueError, "thumbnail must be a whole number of at least 1, got '48'"),
        ({"iou_empty": -0.1}, ValueError, r"iou_empty must be in \[0, 1\] or NaN, got -0.1"),
        ({"iou_empty": 2}, ValueError, r"iou_empty must be in \[0, 1\] or NaN, got 2"),
        ({"iou_empty": None}, ValueError, r"iou_empty must be in \[0, 1\] or NaN, got None"),
        ({"iou_empty": "nan"}, ValueError, r"iou_empty must be in \[0, 1\] or NaN, got 'nan'"),
        ({"pool": "median"}, ValueError, "pool must be one of 'mean', 'max', 'flatten', 'grid', got 'median'"),
        ({"pool": None}, ValueError, "pool must be one of 'mean', 'max', 'flatten', 'grid', got None"),
        ({"pool": 2}, ValueError, "pool must be one of 'mean', 'max', 'flatten', 'grid', got 2"),
        ({"pool": ["mean"]}, ValueError, r"pool must be one of 'mean', 'max', 'flatten', 'grid', got \['mean'\]"),
        ({"layer": 4}, TypeError, "layer must be a module of the model, its name or 'auto', got int"),
        ({"layer": None}, TypeError, "layer must be a module of the model, its name or 'auto', got NoneType"),
        ({"random_state": "chance"}, (TypeError, ValueError), "random_state must be"),
        ({"random_state": -1}, ValueError, "random_state must be"),
        ({"threshold": np.nan}, ValueError, "threshold must be a finite number"),
        ({"target": -1}, ValueError, "target must be the index of a class"),
        ({"batch_size": 0}, ValueError, "batch_size must be a whole number of at least 1"),
        ({"components": 3}, TypeError, "has no keyword 'components'; did you mean 'n_components'"),
        ({"pooling": "mean"}, TypeError, "has no keyword 'pooling'; did you mean 'pool'"),
        ({"color": "red"}, TypeError, "has no keyword 'color'; known are model, layer, pool, n_components"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_settings_are_checked_at_once(wrong, error, message):
    with pytest.raises(error, match=message):
        hw.LatentSpace(Counts(), **wrong)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda images: images[:, 0], "in the layers of a torch.nn.Module; a function does not show its own"),
        (hw.Segmenter(lambda images: images), "in the layers of a torch.nn.Module; a function does not show its own"),
        ("model.pt", "model must be a torch.nn.Module or a callable, got str"),
        (hw.UNet, "got the class UNet; did you forget the parentheses"),
    ],
    ids=["callable", "segmenter around a callable", "path", "class"],
)
def test_models_without_layers(model, message):
    with pytest.raises(TypeError, match=message):
        hw.LatentSpace(model)


# -- data sets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        ([], ValueError, "the data set is empty"),
        (ITEMS[:1], ValueError, "2 components need more than 2 items, the data set has 1"),
        (ITEMS[:2], ValueError, "2 components need more than 2 items, the data set has 2"),
        (IMAGES, TypeError, "expected a data set .* got an array; torch.utils.data.TensorDataset"),
        (torch.from_numpy(IMAGES), TypeError, "expected a data set .* got an array; torch.utils.data.TensorDataset"),
        (iter(ITEMS), TypeError, r"must have a length and items .*got list_iterator"),
        (
            DataLoader(ITEMS),
            TypeError,
            r"must have a length and items .*got DataLoader; pass the data set that it reads: loader\.dataset",
        ),
        (None, TypeError, "must have a length and items .*got NoneType"),
    ],
    ids=["empty", "one", "two", "array", "tensor", "iterator", "loader", "none"],
)
def test_what_is_no_data_set_for_a_map(dataset, error, message):
    model = Counts()
    with pytest.raises(error, match=message):
        hw.LatentSpace(model).fit(dataset, **QUIET)
    assert model.calls == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"on_error": "ignore"}, ValueError, "on_error must be one of 'raise', 'skip', got 'ignore'"),
        ({"columns": ["a"] * 12}, TypeError, "columns must be a mapping of names to sequences, got list"),
        ({"columns": {"a": [1, 2]}}, ValueError, "column 'a' has 2 entries for 12 items"),
        ({"columns": {"a": np.zeros((12, 2))}}, ValueError, "column 'a'"),
        ({"num_workers": -1}, ValueError, "num_workers"),
        ({"colums": {}}, TypeError, "has no keyword 'colums'; did you mean 'columns'"),
        ({"iou_empty": 1}, TypeError, r"has no keyword 'iou_empty'; it is one of LatentSpace\(iou_empty=...\)"),
        ({"epochs": 3}, TypeError, "has no keyword 'epochs'; known are dataset, image, mask, ignore, columns"),
    ],
    ids=[
        "on_error",
        "list",
        "short column",
        "two-dimensional column",
        "workers",
        "near keyword",
        "the space's keyword",
        "far keyword",
    ],
)
def test_arguments_of_fit(options, error, message):
    with pytest.raises(error, match=message):
        hw.LatentSpace(Counts(), layer="layer").fit(ITEMS, **{**QUIET, **options})


@pytest.mark.parametrize("index", [0, 7])
@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"image": np.zeros((1, 8, 9), np.float32)}, r"(8, 9|expected an image 8 px wide)"),
        ({"image": np.zeros((1, 8, 8), np.uint8)}, "the image must be of a floating type.*got uint8"),
        ({"image": torch.zeros(1, 8, 8, dtype=torch.int64)}, "the image must be of a floating type.*torch.int64"),
        ({"image": np.full((1, 8, 8), np.nan, np.float32)}, "the image has NaN or infinity"),
        ({"image": np.zeros((1, 1, 8, 8), np.float32)}, "take one image out of the batch"),
        ({"image": "tile.png"}, "the image must be a torch tensor or a numpy array, got str"),
        ({"mask": np.zeros((8, 9))}, r"expected a segment of the image's size \(8, 8\)"),
        ({"mask": np.full((8, 8), np.nan)}, "the segment has NaN or infinity"),
        ({"mask": [[0] * 8] * 8}, "the segment must be a torch tensor or a numpy array, got list"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_items_that_cannot_be_used_are_named(index, item, message):
    with pytest.raises(CollectionError, match=f"item {index}: .*{message}") as caught:
        hw.LatentSpace(Counts(), layer="layer").fit(with_item(index, **item), **QUIET)
    assert caught.value.index == index
    assert (caught.value.collection is None) == (index == 0)


@pytest.mark.parametrize("missing", ["mask", "image"])
def test_items_without_a_mask_or_an_image(missing):
    items = [{"image": image, "mask": mask} for image, mask in ITEMS]
    del items[3][missing]
    with pytest.raises(CollectionError, match=f"item 3 has no '{missing}'"):
        hw.LatentSpace(Counts(), layer="layer").fit(items, **QUIET)
    with pytest.raises(CollectionError, match=r"item 0: its mask is missing \(None\)"):
        hw.LatentSpace(Counts(), layer="layer").fit([(image, None) for image in IMAGES], **QUIET)
    with pytest.raises(CollectionError, match=r"item 0 must be \(image, mask\).*got 1 entries"):
        hw.LatentSpace(Counts(), layer="layer").fit(TensorDataset(torch.from_numpy(IMAGES)), **QUIET)


def test_a_first_image_of_another_size_than_all_others():
    items = [(np.zeros((1, 8, 9), np.float32), np.zeros((8, 9))), *ITEMS]
    with pytest.raises(CollectionError, match=r"item 1: expected an image 9 px wide and 8 px high") as caught:
        hw.LatentSpace(nn.Sequential(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 1, 1)), layer="0").fit(items, **QUIET)
    assert len(caught.value.collection) == 1


def test_an_image_with_more_channels_than_the_others():
    with pytest.raises(CollectionError, match="item 5"):
        hw.LatentSpace(Counts(), layer="layer").fit(with_item(5, np.zeros((2, 8, 8), np.float32)), **QUIET)


def test_too_few_are_left():
    items = [*ITEMS[:2], *[(np.zeros((1, 8, 8), int), ITEMS[0][1])] * 5]
    refused = pytest.raises(ValueError, match="2 components need more than 2 items, got 2")
    with pytest.warns(UserWarning, match=r"5 of 7 items were skipped"), refused:
        hw.LatentSpace(Counts(), layer="layer").fit(items, on_error="skip", **QUIET)


# -- activations that make no map ---------------------------------------------------------------------


def test_more_components_than_features():
    model = Counts()
    with pytest.raises(ValueError, match="5 components need as many features, layer and pool give 4"):
        hw.LatentSpace(model, layer="layer", n_components=5).fit(ITEMS, **QUIET)
    # Said when the layer was found, not after the whole data set.
    assert model.calls <= 2


def test_more_components_than_items():
    with pytest.raises(ValueError, match="12 components need more than 12 items, the data set has 12"):
        hw.LatentSpace(Counts(), layer="layer", pool="flatten", n_components=12).fit(ITEMS, **QUIET)
    space = hw.LatentSpace(Counts(), layer="layer", pool="flatten", n_components=11).fit(ITEMS, **QUIET)
    assert space.embedding_.shape == (12, 11)


@pytest.mark.parametrize("batch_size", [None, 1, 5])
def test_a_layer_that_does_not_look_at_the_image(batch_size):
    with pytest.raises(ValueError, match="the same for all 12 items: the layer does not look at the image"):
        hw.LatentSpace(Counts(), layer="fixed", batch_size=batch_size).fit(ITEMS, **QUIET)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_activations_that_are_no_numbers(value):
    class Spoils(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 4, 1)
            nn.init.constant_(self.layer.bias, value)

        def forward(self, images):
            self.layer(images)
            return images

    with pytest.raises(CollectionError, match="item 0: the activations have NaN or infinity"):
        hw.LatentSpace(Spoils(), layer="layer").fit(ITEMS, **QUIET)


def test_layers_that_are_none():
    with pytest.raises(LayerError, match=r"no layer 'layr'; did you mean 'layer"):
        hw.LatentSpace(Counts(), layer="layr").fit(ITEMS, **QUIET)
    with pytest.raises(LayerError, match="no part of the model"):
        hw.LatentSpace(Counts(), layer=nn.Conv2d(1, 1, 1)).fit(ITEMS, **QUIET)


# -- what is asked of a fitted space ------------------------------------------------------------------


@pytest.fixture(scope="module")
def ready():
    torch.manual_seed(0)
    return fitted()


@pytest.mark.parametrize("method", ["transform", "predict_iou", "locate"])
@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (IMAGES[0], ValueError, r"images must be \(N, 1, H, W\), got shape \(1, 8, 8\)"),
        (IMAGES[:0], ValueError, r"images must be \(N, 1, H, W\), got shape \(0, 1, 8, 8\)"),
        (np.zeros((2, 3, 8, 8), np.float32), ValueError, r"images must be \(N, 1, H, W\), got shape \(2, 3, 8, 8\)"),
        (np.zeros((2, 1, 8, 8), np.uint8), TypeError, "floating type.*got .*uint8"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.int64), TypeError, "floating type.*got torch.int64"),
        (np.full((2, 1, 8, 8), np.nan, np.float32), ValueError, "NaN or infinity"),
    ],
    ids=["one image", "none", "channels", "bytes", "integers", "nan"],
)
def test_new_images_are_checked(ready, method, images, error, message):
    with pytest.raises(error, match=message):
        getattr(ready, method)(images)


def test_activations_of_new_images_that_are_no_numbers():
    class Hides(nn.Module):
        """Its output is finite whatever its activations are."""

        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 4, 1)

        def forward(self, images):
            return torch.nan_to_num(images + 0 * self.layer(images).log().sum(1, keepdim=True))

    model = Hides()
    space = fitted(model)
    with torch.no_grad():
        model.layer.bias[1] = np.inf
    with pytest.raises(ValueError, match="the activations have NaN or infinity"):
        space.locate(IMAGES)


def test_all_values_need_images_of_one_size():
    space = fitted(pool="flatten")
    with pytest.raises(ValueError, match=r"pool='flatten' takes images of one size, \(1, 8, 8\), got \(1, 16, 8\)"):
        space.transform(np.zeros((1, 1, 16, 8), np.float32))


@pytest.mark.parametrize("method", ["neighbors", "picture", "truth", "prediction", "item"])
@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (12, IndexError, "index must be 0 to 11, got 12"),
        (-1, IndexError, "index must be 0 to 11, got -1"),
        (1.0, TypeError, "index must be a whole number, got 1.0"),
        (True, TypeError, "index must be a whole number, got True"),
        ([1], TypeError, r"index must be a whole number, got \[1\]"),
    ],
)
def test_positions_of_items(ready, method, index, error, message):
    with pytest.raises(error, match=message):
        getattr(ready, method)(index)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda space: space.neighbors(0, 0), ValueError, "k must be 1 to 11, got 0"),
        (lambda space: space.neighbors(0, 12), ValueError, "k must be 1 to 11, got 12"),
        (lambda space: space.neighbors(0, 3.0), (TypeError, ValueError), "k must be"),
        (lambda space: space.trustworthiness(0), ValueError, "n_neighbors must be 1 to 5, got 0"),
        (lambda space: space.trustworthiness(6), ValueError, "n_neighbors must be 1 to 5, got 6"),
        (lambda space: space.trustworthiness(), ValueError, "n_neighbors must be 1 to 5, got 12"),
        (lambda space: space.surface((1, 5)), ValueError, r"shape must be two whole numbers of at least 2, got \(1, 5"),
        (lambda space: space.surface((5, 5, 5)), ValueError, "shape must be two whole numbers of at least 2"),
        (lambda space: space.surface(5), (TypeError, ValueError), "shape must be two whole numbers"),
        (lambda space: space.surface((5.0, 5)), (TypeError, ValueError), "shape must be two whole numbers"),
        (
            lambda space: space.surface((5, 5), 3),
            TypeError,
            r"bounds must be four finite numbers \(x0, x1, y0, y1\)",
        ),
        (lambda space: space.surface((5, 5), (0, 1, 0)), TypeError, "bounds must be four finite numbers"),
        (lambda space: space.surface((5, 5), (0, 1, 0, np.nan)), TypeError, "bounds must be four finite numbers"),
        (lambda space: space.surface((5, 5), (0, 1, 2, 2)), ValueError, "must satisfy x0 < x1 and y0 < y1, got"),
        (lambda space: space.cluster(0), ValueError, "n_clusters must be 1 to 12, the number of items, got 0"),
        (lambda space: space.cluster(13), ValueError, "n_clusters must be 1 to 12, the number of items, got 13"),
        (lambda space: space.cluster(2.5), ValueError, "n_clusters must be a whole number, got 2.5"),
        (lambda space: space.cluster(True), ValueError, "n_clusters must be a whole number, got True"),
        (
            lambda space: space.cluster(method="ward"),
            ValueError,
            "method must be one of 'kmeans', 'dbscan', got 'ward'",
        ),
        (lambda space: space.cluster(method="kmeans"), ValueError, "KMeans needs n_clusters"),
        (lambda space: space.cluster(3, method="dbscan"), ValueError, "DBSCAN finds its number of clusters"),
        (lambda space: space.cluster(eps=1.0), ValueError, "eps and min_samples belong to method='dbscan'"),
        (lambda space: space.cluster(3, min_samples=4), ValueError, "eps and min_samples belong to method='dbscan'"),
        (lambda space: space.cluster(method="dbscan"), ValueError, "method='dbscan' needs eps, .* got None"),
        (lambda space: space.cluster(method="dbscan", eps=0), ValueError, "needs eps, a distance above 0, got 0"),
        (lambda space: space.cluster(method="dbscan", eps=np.nan), ValueError, "needs eps, .* got nan"),
        (lambda space: space.cluster(method="dbscan", eps="1"), (TypeError, ValueError), "needs eps, .* got '1'"),
        (lambda space: space.cluster(method="dbscan", eps=1.0, min_samples=0), ValueError, "min_samples"),
        (lambda space: space.select([12]), ValueError, "indices must be 0 to 11, got 12 to 12"),
    ],
)
def test_arguments_of_methods(ready, call, error, message):
    with pytest.raises(error, match=message):
        call(ready)


def test_too_few_items_to_compare_clusterings():
    space = hw.LatentSpace(Counts(), layer="layer").fit(ITEMS[:3], **QUIET)
    assert len(space.compare_clusterings(progress=False)) == 1
    few = dataclasses.replace(space._fitted.map, given_coordinates=space.cluster_coordinates_[:2])
    with pytest.raises(ValueError, match="too few to compare clusterings; give n_clusters"):
        next(few.comparison())
