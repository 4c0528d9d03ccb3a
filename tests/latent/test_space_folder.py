import json
import shutil

import numpy as np
import pytest
import torch
from layer_helpers import Reads
from torch import nn

import hdm_widgets as hw
from hdm_widgets.latent import map_arrays
from hdm_widgets.latent.collector import Collector

QUIET = {"progress": False}
FILES = ["features.npy", "predictions.npy", "probability_maps.npy", "space.npz", "thumbnails.npy", "truths.npy"]


@pytest.fixture
def folder(tmp_path, own_space):
    """A saved space with clusters."""
    own_space.cluster(3)
    own_space.save(tmp_path / "space")
    return tmp_path / "space"


def assert_same(one, two):
    """All that a space says of itself is the same in two."""
    for name in ("embedding_", "iou_", "explained_variance_ratio_", "items_", "cluster_coordinates_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    for name in ("layer_", "layer_name_", "skipped_"):
        assert getattr(one, name) == getattr(two, name)
    np.testing.assert_equal(one.cv_score_, two.cv_score_)
    for name in ("pool", "n_components", "random_state", "grid", "n_cluster_components", "thumbnail"):
        assert getattr(one, name) == getattr(two, name)
    np.testing.assert_equal(one.iou_empty, two.iou_empty)
    assert list(one.columns_) == list(two.columns_)
    tables = one.table(), two.table()
    assert list(tables[0]) == list(tables[1])
    for name, values in tables[0].items():
        np.testing.assert_array_equal(values, tables[1][name], err_msg=name)
        assert values.dtype == tables[1][name].dtype
    np.testing.assert_array_equal(one.collection_.features, two.collection_.features)
    np.testing.assert_array_equal(one.collection_.thumbnails, two.collection_.thumbnails)
    assert one.collection_.image_shape == two.collection_.image_shape
    assert one.projection_.exact == two.projection_.exact
    np.testing.assert_array_equal(one.projection_.explained_variance, two.projection_.explained_variance)
    for index in (0, len(one) - 1):
        np.testing.assert_array_equal(one.truth(index), two.truth(index))
        np.testing.assert_array_equal(one.prediction(index), two.prediction(index))
    for part in ("values", "x", "y", "support", "supported"):
        np.testing.assert_array_equal(getattr(one.surface((5, 7)), part), getattr(two.surface((5, 7)), part))


# -- there and back -----------------------------------------------------------------------------------


def test_everything_comes_back_without_the_model(own_space, folder):
    loaded = hw.LatentSpace.load(folder)
    assert_same(own_space, loaded)
    np.testing.assert_array_equal(loaded.labels_, own_space.labels_)
    assert loaded.clustering_.row() == own_space.clustering_.row()
    assert str(loaded.clustering_) == str(own_space.clustering_)
    for one, two in zip(loaded.clusters_, own_space.clusters_, strict=True):
        np.testing.assert_array_equal(one.indices, two.indices)
        assert (one.medoid, one.representatives, one.mean_iou) == (two.medoid, two.representatives, two.mean_iou)
    assert loaded.neighbors(7).indices.tolist() == own_space.neighbors(7).indices.tolist()
    assert loaded.trustworthiness() == own_space.trustworthiness()
    np.testing.assert_array_equal(loaded.expected_iou(), own_space.expected_iou())
    frames = [space.compare_clusterings(progress=False) for space in (loaded, own_space)]
    assert frames[0].equals(frames[1])
    np.testing.assert_array_equal(loaded.picture(3), own_space.collection_.thumbnails[3])
    assert loaded.segmenter is None
    assert loaded.dataset_ is None


def test_new_images_fall_where_they_did(own_space, folder, groups, reads):
    loaded = hw.LatentSpace.load(folder, reads)
    images = groups.images[:9] * np.float32(0.95)
    np.testing.assert_array_equal(loaded.transform(images), own_space.transform(images))
    np.testing.assert_array_equal(loaded.predict_iou(images), own_space.predict_iou(images))
    for one, two in zip(vars(loaded.locate(images)).values(), vars(own_space.locate(images)).values(), strict=True):
        np.testing.assert_array_equal(one, two)
    loaded = hw.LatentSpace.load(folder, hw.Segmenter(reads, batch_size=4))
    np.testing.assert_allclose(loaded.transform(images), own_space.transform(images), atol=1e-6)


@pytest.mark.parametrize(("values", "scale", "new_scale"), [("logits", 4, 0.5), ("probabilities", 1, 3)])
def test_outputs_are_read_as_in_the_fit(tmp_path, make_groups, values, scale, new_scale):
    # Of the new images alone, one would take the values of the model for the other kind.
    groups = make_groups(40)
    new, groups.images = groups.images[:9] * new_scale, groups.images * scale
    space = hw.LatentSpace(Reads()).fit(groups, **QUIET)
    assert space.segmenter.reading.values == space.collection_.values == values
    space.save(tmp_path / "space")
    hw.LatentSpace.load(tmp_path / "space").save(tmp_path / "again")
    one = space.estimate(new, **QUIET)
    for folder, model in (("space", hw.Segmenter(Reads())), ("again", Reads())):
        loaded = hw.LatentSpace.load(tmp_path / folder, model)
        other = loaded.estimate(new, **QUIET)
        np.testing.assert_array_equal(one.iou, other.iou)
        for name, column in one.confidences.items():
            np.testing.assert_array_equal(column, other.confidences[name], err_msg=name)
        assert loaded.segmenter.reading.values == values
        assert f"They were expected to be {values}." in str(loaded.segmenter.reading)


def test_what_is_asked_for_counts_more_than_the_fit(folder, groups):
    segmenter = hw.Segmenter(Reads(), activation="sigmoid")
    hw.LatentSpace.load(folder, segmenter).estimate(groups.images[:3], **QUIET)
    assert segmenter.reading.values == "logits"


def test_fitting_again_after_loading(own_space, folder, groups, reads):
    loaded = hw.LatentSpace.load(folder, reads)
    assert loaded.layer == "values"  # not "auto" any more: it is the same layer again
    loaded.fit(groups, **QUIET)
    np.testing.assert_allclose(loaded.embedding_, own_space.embedding_, atol=1e-6)


def test_with_the_data_set_there_are_full_images(folder, groups, make_groups, own_space):
    loaded = hw.LatentSpace.load(folder, dataset=groups)
    np.testing.assert_array_equal(loaded.picture(5), own_space.picture(5))
    with pytest.raises(ValueError, match="the space has items up to 59, the data set has 59 items"):
        hw.LatentSpace.load(folder, dataset=make_groups(59))


def test_without_the_model_nothing_is_run(folder, groups):
    loaded = hw.LatentSpace.load(folder)
    for call in (
        lambda: loaded.transform(groups.images),
        lambda: loaded.predict_iou(groups.images),
        lambda: loaded.locate(groups.images),
        lambda: loaded.fit(groups, **QUIET),
    ):
        with pytest.raises(ValueError, match=r"loaded without its model; LatentSpace.load\(path, model=...\) takes it"):
            call()


SETTINGS = {
    "everything else": {
        "pool": "grid", "grid": 3, "n_components": 3, "n_cluster_components": 2, "thumbnail": 5, "random_state": 7,
        "iou_empty": 1.0,
    },
    "no IoU for empty ones": {"iou_empty": np.nan},
    "vectors of all places": {"pool": "flatten"},
    "whole numbers of NumPy": {
        "n_components": np.int64(3), "grid": np.int32(2), "n_cluster_components": np.int64(4),
        "thumbnail": np.uint8(9), "random_state": np.int64(3),
    },
}  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_come_back(tmp_path, make_groups, reads, settings):
    groups = make_groups(24)
    groups.images[:3, :2] = 0.1
    groups.masks[:3] = False
    space = hw.LatentSpace(reads, **SETTINGS[settings]).fit(groups, **QUIET)
    space.save(tmp_path)
    loaded = hw.LatentSpace.load(tmp_path, reads)
    assert_same(space, loaded)
    assert not hasattr(loaded, "clusters_")
    np.testing.assert_array_equal(loaded.transform(groups.images[:2]), space.transform(groups.images[:2]))


@pytest.mark.parametrize(
    "options",
    [
        {"n_clusters": np.int64(4)},
        {"method": "dbscan", "eps": 0.2},
        {"method": "dbscan", "eps": np.float32(0.2), "min_samples": np.int64(3)},
        {"method": "dbscan", "eps": 1e-9},
        {"n_clusters": 1},
        {},
    ],
    ids=str,
)
def test_clusters_come_back(tmp_path, own_space, options):
    own_space.cluster(**options)
    own_space.save(tmp_path)
    loaded = hw.LatentSpace.load(tmp_path)
    np.testing.assert_array_equal(loaded.labels_, own_space.labels_)
    np.testing.assert_equal(loaded.clustering_.row(), own_space.clustering_.row())
    assert [one.size for one in loaded.clusters_] == [one.size for one in own_space.clusters_]


def test_a_space_without_any_iou_comes_back(tmp_path, make_groups, reads):
    groups = make_groups(15)
    groups.images[:, 0] = 0.1
    groups.masks[:] = False
    space = hw.LatentSpace(reads, iou_empty=np.nan).fit(groups, **QUIET)
    space.save(tmp_path)
    loaded = hw.LatentSpace.load(tmp_path)
    assert loaded.regressor_ is None
    assert np.isnan(loaded.iou_).all()
    assert np.isnan(loaded.cv_score_)


def test_columns_and_skipped_items_come_back(tmp_path, make_groups, reads):
    groups = make_groups(20)
    groups.images[4] = np.nan
    columns = {"Größe": np.linspace(0, 1, 20), "flag": [True, False] * 10, "größer/als\n1": ["ä", ""] * 10}
    with pytest.warns(UserWarning, match=r"1 of 20 items were skipped"):
        space = hw.LatentSpace(reads).fit(groups, columns=columns, on_error="skip", **QUIET)
    space.save(tmp_path)
    loaded = hw.LatentSpace.load(tmp_path)
    assert list(loaded.columns_) == ["group", "number", *columns]
    assert loaded.columns_["flag"].dtype == bool
    assert loaded.columns_["größer/als\n1"].tolist() == (["ä", ""] * 10)[:4] + (["ä", ""] * 10)[5:]
    assert loaded.skipped_ == space.skipped_
    assert list(loaded.skipped_) == [4]
    assert repr(loaded) == repr(space)
    assert "19 items (1 skipped)" in repr(loaded)
    assert loaded.items_.tolist() == [0, 1, 2, 3, *range(5, 20)]


def test_activations_on_disk_are_saved(tmp_path, groups, reads):
    collection = Collector(hw.Segmenter(reads), memory_limit=1).collect(groups, progress=False)
    space = hw.LatentSpace(reads).fit_collected(collection)
    space.save(tmp_path / "space")
    assert_same(space, hw.LatentSpace.load(tmp_path / "space"))


# -- the folder ---------------------------------------------------------------------------------------


def test_nothing_in_the_folder_is_pickled(folder):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for path in folder.iterdir():
        stored = np.load(path, allow_pickle=False)
        arrays = dict(stored) if path.suffix == ".npz" else {path.name: stored}
        assert arrays
        assert all(array.dtype != object for array in arrays.values())
    with np.load(folder / "space.npz", allow_pickle=False) as stored:
        assert json.loads(str(stored["about"]))["format"] == "hdm-widgets latent space 1"


def test_the_names_in_the_file_are_those_of_its_format(folder, groups):
    # Folders of earlier releases are read, and they read ours.
    with np.load(folder / "space.npz", allow_pickle=False) as stored:
        assert {"items", "hits", "misses", "false_alarms", "labels"} <= set(stored)
        about = json.loads(str(stored["about"]))
        drawn = groups.images[:, 0] > 0.5
        np.testing.assert_array_equal(stored["hits"], (drawn & groups.masks).sum((1, 2)))
        np.testing.assert_array_equal(stored["misses"], (~drawn & groups.masks).sum((1, 2)))
        np.testing.assert_array_equal(stored["false_alarms"], (drawn & ~groups.masks).sum((1, 2)))
    assert about["picture_shape"] == [6, 8, 8]
    loaded = hw.LatentSpace.load(folder)
    np.testing.assert_array_equal(loaded.overlaps_.fp, (drawn & ~groups.masks).sum((1, 2)))


def test_the_network_of_an_older_file_is_rectified(own_space, tmp_path, monkeypatch):
    own_space.save(tmp_path / "new")
    monkeypatch.setattr(map_arrays, "_NETWORK", tuple(name for name in map_arrays._NETWORK if name != "activation"))
    own_space.save(tmp_path / "old")
    new, old = (hw.LatentSpace.load(tmp_path / name).regressor_ for name in ("new", "old"))
    assert (new.activation, old.activation) == ("tanh", "relu")


class Scaled(Reads):
    """`Reads` with a weight."""

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, images):
        return super().forward(images * self.weight)


@pytest.fixture
def scaled_folder(tmp_path, groups):
    hw.LatentSpace(Scaled()).fit(groups, **QUIET).save(tmp_path / "scaled")
    return tmp_path / "scaled"


def test_another_model_is_told_without_the_data_set(scaled_folder, tmp_path, groups):
    space = hw.LatentSpace.load(scaled_folder, Scaled())  # the same weights: no warning
    with pytest.warns(UserWarning, match="the model's weights differ from those of the fit: it is not the model"):
        hw.LatentSpace.load(scaled_folder, Scaled(2.0))
    with pytest.warns(UserWarning, match="the model's weights and structure differ from those of the fit"):
        hw.LatentSpace.load(scaled_folder, Reads())
    # What was loaded is saved as what it was made with, also without the model.
    for name, loaded in (("same", space), ("none", hw.LatentSpace.load(scaled_folder))):
        loaded.save(tmp_path / name)
        with pytest.warns(UserWarning, match="the model's weights differ"):
            hw.LatentSpace.load(tmp_path / name, Scaled(2.0))


def test_a_model_that_is_trained_after_the_fit_is_another_one(tmp_path, groups):
    model = Scaled()
    space = hw.LatentSpace(model).fit(groups, **QUIET)
    model.weight.data.fill_(3.0)
    space.save(tmp_path)
    with pytest.warns(UserWarning, match="the model's weights differ"):
        hw.LatentSpace.load(tmp_path, model)


def test_folders_without_a_hash_of_the_model_are_read(scaled_folder):
    with np.load(scaled_folder / "space.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    about = json.loads(str(arrays.pop("about")))
    assert set(about.pop("model")) == {"class", "structure", "weights"}
    np.savez(scaled_folder / "space.npz", about=np.array(json.dumps(about)), **arrays)
    assert hw.LatentSpace.load(scaled_folder, Scaled(2.0)).layer_name_


def test_the_folder_is_made(tmp_path, own_space):
    own_space.save(str(tmp_path / "a" / "b"))
    assert_same(own_space, hw.LatentSpace.load(str(tmp_path / "a" / "b")))


def test_large_arrays_are_read_as_far_as_they_are_needed(folder):
    loaded = hw.LatentSpace.load(folder)
    for array in (loaded.collection_.features, loaded.collection_.thumbnails, loaded.collection_.truths.packed):
        assert isinstance(array, np.memmap)


def test_saving_over_the_folder_it_was_loaded_from(own_space, folder):
    loaded = hw.LatentSpace.load(folder)
    loaded.cluster(5)
    loaded.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    own_space.cluster(5)
    assert_same(own_space, loaded)  # what it had read is still there
    assert_same(own_space, hw.LatentSpace.load(folder))


def test_saving_over_another_space(own_space, folder, make_groups):
    first = hw.LatentSpace.load(folder)
    own_space.fit(make_groups(25, seed=5), **QUIET)
    own_space.save(folder)
    assert_same(own_space, hw.LatentSpace.load(folder))
    assert not hasattr(hw.LatentSpace.load(folder), "clusters_")
    assert len(first) == first.collection_.features.shape[0] == 60


# -- what is no space ---------------------------------------------------------------------------------


def test_a_file_in_the_place_of_the_folder_is_left_as_it_is(tmp_path, space):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(
        FileExistsError, match="taken' is a file; a space is saved as a folder, which needs another name"
    ):
        space.save(tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_that_is_not_there(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        hw.LatentSpace.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*space\.npz"):
        hw.LatentSpace.load(folder / "space.npz")
    with pytest.raises(ValueError, match=r"holds no latent space: it has no space.npz"):
        hw.LatentSpace.load(tmp_path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "garbage", "text"])
def test_a_broken_folder_is_a_value_error_that_names_the_file(folder, name, damage):
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "half": content[: len(content) // 2],
                "garbage": bytes(reversed(content)),
                "text": b"no array at all",
            }[damage]
        )
    with pytest.raises(ValueError, match=name):
        hw.LatentSpace.load(folder)


def test_files_of_two_spaces(tmp_path, folder, make_groups, reads):
    hw.LatentSpace(reads).fit(make_groups(20), **QUIET).save(tmp_path / "other")
    for name in ("features.npy", "truths.npy"):
        mixed = shutil.copytree(folder, tmp_path / f"mixed {name}")
        shutil.copy(tmp_path / "other" / name, mixed / name)
        with pytest.raises(ValueError, match=rf"{name} of the latent space has 20 entries, expected 60"):
            hw.LatentSpace.load(mixed)


def test_activations_of_another_width(folder):
    np.save(folder / "features.npy", np.zeros((60, 5), np.float32))
    with pytest.raises(ValueError, match=r"features\.npy"):
        hw.LatentSpace.load(folder)


def test_a_file_of_another_kind(folder):
    with np.load(folder / "space.npz") as stored:
        arrays = dict(stored)
    about = json.loads(str(arrays["about"]))

    def write(**changes):
        np.savez(folder / "space.npz", **{**arrays, "about": np.array(json.dumps({**about, **changes}))})

    write(format="hdm-widgets latent space 9")
    with pytest.raises(ValueError, match=r"is not a file of the kind .*written as 'hdm-widgets latent space 9"):
        hw.LatentSpace.load(folder)
    write()
    hw.LatentSpace.load(folder)
    missing = {name: value for name, value in about.items() if name != "picture_shape"}
    np.savez(folder / "space.npz", **{**arrays, "about": np.array(json.dumps(missing))})
    with pytest.raises(ValueError, match="picture_shape"):
        hw.LatentSpace.load(folder)
    np.savez(folder / "space.npz", **{name: array for name, array in arrays.items() if name != "items"})
    with pytest.raises(ValueError, match="items"):
        hw.LatentSpace.load(folder)


def test_a_model_that_has_no_such_layer(folder, groups):
    with pytest.raises(ValueError, match="no layer 'values'"):
        hw.LatentSpace.load(folder, nn.Sequential(nn.Conv2d(6, 1, 1))).transform(groups.images)


def test_a_model_whose_layer_is_of_another_width(folder):
    class Wider(nn.Module):
        def __init__(self):
            super().__init__()
            self.values = nn.Conv2d(6, 7, 1)

        def forward(self, images):
            return self.values(images)[:, 0]

    with pytest.warns(UserWarning, match="it is not the model that the space was made with"):
        loaded = hw.LatentSpace.load(folder, Wider())
    with pytest.raises(ValueError, match=r"7 features"):
        loaded.locate(torch.rand(2, 6, 8, 8))


class Halved(Reads):
    """Its layer puts out half of the channels."""

    def forward(self, images):
        return self.values(images[:, :3])[:, 0]


@pytest.mark.parametrize("method", ["transform", "estimate", "predict_iou", "locate"])
def test_a_model_with_another_number_of_features_is_refused(space, groups, tmp_path, method):
    space.save(tmp_path / "space")
    with pytest.warns(UserWarning, match="the model's structure differs from that of the fit"):
        loaded = hw.LatentSpace.load(tmp_path / "space", Halved())
    options = {"progress": False} if method == "estimate" else {}
    with pytest.raises(ValueError, match="layer and pool give 3 features, the space was made with 6: it is another"):
        getattr(loaded, method)(torch.from_numpy(groups.images[:4]), **options)
