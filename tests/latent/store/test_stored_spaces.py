"""What a fit with a store keeps, and a space that is opened from it."""

import numpy as np
import pytest
import torch
from layer_helpers import Reads
from store_helpers import COUNT, QUIET, SHARD, assert_same_space, fit, shard_files

import hdm_widgets as hw
from hdm_widgets._store_files import StoreFiles
from hdm_widgets._store_lock import writing
from hdm_widgets.latent import StoreError
from hdm_widgets.latent.store import clusters
from hdm_widgets.latent.store.rows import StoredRows

# -- the same as without a store ------------------------------------------------------------------


def test_a_fit_with_a_store_gives_the_space_of_one_without(groups, space, address):
    stored = fit(groups, address)
    assert_same_space(stored, space, rtol=1e-5)
    assert repr(stored) == repr(space)


def test_an_opened_space_is_the_one_that_was_fitted(groups, address):
    fitted = fit(groups, address)
    opened = hw.LatentSpace.open(address)
    assert_same_space(opened, fitted)
    np.testing.assert_array_equal(opened.truth(7), groups.masks[7])
    assert (opened.layer_name_, len(opened), opened.dataset_) == ("values", COUNT, None)


@pytest.mark.parametrize("rows", [3, SHARD, COUNT, COUNT + 1])
def test_columns_in_files_of_some_rows_are_the_same(groups, undisturbed, tmp_path, monkeypatch, rows):
    monkeypatch.setattr("hdm_widgets.latent.store.arrays._COLUMN_ROWS", rows)
    fit(groups, tmp_path)
    opened = hw.LatentSpace.open(tmp_path)
    assert_same_space(opened, undisturbed[0])
    assert len(list(tmp_path.glob("space/*/tp/c.*"))) == -(-COUNT // rows)


def test_no_array_of_all_items_is_read_while_a_store_is_fitted(groups, undisturbed, tmp_path, monkeypatch):
    """Nothing but the columns and the coordinates: a large array is read in batches of rows."""
    monkeypatch.setattr("hdm_widgets.latent.store.rows._HELD_BYTES", 0)
    monkeypatch.setattr("hdm_widgets.latent.batches.BATCH_BYTES", 8 * 5 * 6)
    most = []
    read = StoredRows._read
    monkeypatch.setattr(StoredRows, "_read", lambda self, rows: (most.append(len(rows)), read(self, rows))[1])
    fitted = fit(groups, tmp_path)
    assert 0 < max(most) <= 5
    monkeypatch.setattr(StoredRows, "_read", read)
    assert_same_space(fitted, undisturbed[0], rtol=1e-12)


def test_an_opened_space_reads_nothing_before_it_is_asked_for(groups, undisturbed, monkeypatch):
    read = []
    whole = StoreFiles.read
    monkeypatch.setattr(StoreFiles, "read", lambda self, name: (read.append(name), whole(self, name))[1])
    for module in ("rows", "arrays"):
        monkeypatch.setattr(f"hdm_widgets.latent.store.{module}.opened", lambda *_: pytest.fail("it reads an array"))
    opened = hw.LatentSpace.open(undisturbed[1], Reads())
    assert len(opened) == COUNT
    assert [name.rpartition("/")[2] for name in read] == ["space.json", "map.npz", "clusters.json"]


def test_an_opened_space_with_model_and_data_works_as_the_fitted_one(groups, undisturbed, tmp_path):
    fitted, store = undisturbed
    opened = hw.LatentSpace.open(store, Reads(), groups)
    images = torch.from_numpy(groups.images[:5])
    np.testing.assert_array_equal(opened.transform(images), fitted.transform(images))
    np.testing.assert_array_equal(opened.neighbors(3).indices, fitted.neighbors(3).indices)
    np.testing.assert_array_equal(opened.picture(4), fitted.picture(4))
    assert opened.suspects().equals(fitted.suspects())
    opened.cluster(3)
    opened.save(tmp_path / "saved")
    assert_same_space(hw.LatentSpace.load(tmp_path / "saved"), opened)


def test_other_data_beside_an_opened_space_is_told(make_groups, undisturbed):
    with pytest.warns(UserWarning, match="item 0 of the data set is not the one that the space was made with"):
        hw.LatentSpace.open(undisturbed[1], dataset=make_groups(seed=1))
    with pytest.raises(ValueError, match="items up to 30, the data set has 20 items"):
        hw.LatentSpace.open(undisturbed[1], dataset=make_groups(20))


def test_what_zarr_reads_is_what_was_collected(groups, undisturbed):
    import zarr

    store = zarr.open_group(str(undisturbed[1]), mode="r")
    np.testing.assert_allclose(store["features"][:COUNT], groups.features, rtol=1e-5)
    counts = store["counts"][:COUNT]
    np.testing.assert_array_equal(counts[:, 0], np.arange(COUNT))
    np.testing.assert_array_equal(counts[:, 1] + counts[:, 2], groups.masks.sum((1, 2)))


# -- items of all kinds ---------------------------------------------------------------------------


class Varied(list):
    """Items with entries beside image and mask: not all have all, and their types vary from item to item."""

    def __init__(self, groups):
        whole = [
            {
                "image": groups[i][0],
                "mask": groups[i][1],
                "name": f"item {i}",
                "late": i / 2 if i > 15 else None,
                "mixed": i if i < 12 else f"text {i}",
                "flag": i % 2 == 0,
            }
            for i in range(len(groups))
        ]
        for i in range(0, 15, 3):
            del whole[i]["flag"]
        super().__init__(whole)


def test_entries_beside_the_images_become_the_columns_of_a_fit_without_a_store(groups, address):
    expected = hw.LatentSpace(Reads()).fit(Varied(groups), **QUIET).columns_
    for columns in (fit(Varied(groups), address).columns_, hw.LatentSpace.open(address).columns_):
        assert list(columns) == list(expected)
        for name, values in expected.items():
            assert columns[name].dtype.kind == values.dtype.kind, name
            np.testing.assert_array_equal(columns[name], values, err_msg=name)


def test_ordered_columns_keep_their_order(groups, address):
    import pandas

    ordered = pandas.Categorical(np.resize(["small", "large"], COUNT), ["small", "large"], ordered=True)
    fit(groups, address, columns={"size": ordered})
    assert hw.LatentSpace.open(address).columns_["size"].categories == ("small", "large")


@pytest.mark.parametrize("bad", [[5], [0, 1, 30], list(range(8, 16))], ids=["one", "at the ends", "a whole shard"])
def test_skipped_items_are_those_of_a_fit_without_a_store(groups, address, bad):
    items = [groups[i] if i not in bad else (groups[i][0], groups[i][1][:4]) for i in range(COUNT)]
    warning = pytest.warns(UserWarning, match=f"{len(bad)} of 31 items were skipped")
    with warning:
        expected = hw.LatentSpace(Reads()).fit(items, on_error="skip", **QUIET)
    with warning:
        assert_same_space(fit(items, address, on_error="skip"), expected, rtol=1e-5)
    opened = hw.LatentSpace.open(address, dataset=items)
    assert sorted(opened.skipped_) == bad
    np.testing.assert_array_equal(opened.truth(19), groups.masks[opened.items_[19]])


def test_ignored_pixels_are_kept(groups, address):
    masks = groups.masks.astype(np.uint8)
    masks[17, :2] = 255
    items = list(zip(groups.images, masks, strict=True))
    expected = hw.LatentSpace(Reads()).fit(items, ignore=255, **QUIET)
    assert_same_space(fit(items, address, ignore=255), expected, rtol=1e-5)
    assert_same_space(hw.LatentSpace.open(address), expected, rtol=1e-5)


class Draws(Reads):
    """Masks in place of probabilities."""

    def forward(self, images):
        return (super().forward(images) > 0.5).float()


def test_masks_in_place_of_probabilities_have_no_confidences(groups, address):
    stored = fit(groups, address, Draws())
    assert stored.collection_.no_confidences == hw.LatentSpace(Draws()).fit(groups, **QUIET).collection_.no_confidences
    assert (len(stored.collection_.confidences), stored.collection_.label_quality) == (0, None)
    assert stored.collection_.probability_maps is None


@pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:.*use of fork:DeprecationWarning")
def test_workers_read_what_is_missing(groups, undisturbed, copied):
    (copied / "shards" / "00000002.json").unlink()
    assert_same_space(fit(groups, copied, num_workers=1), undisturbed[0])


# -- other maps of the same items, and more items -------------------------------------------------


def test_what_only_the_map_depends_on_may_change(groups, undisturbed, copied):
    before = shard_files(copied)
    hw.LatentSpace(Reads(), n_components=3, iou_empty=1.0).fit(
        groups, store=copied, columns={"new": range(COUNT)}, **QUIET
    )
    assert shard_files(copied) == before
    opened = hw.LatentSpace.open(copied)
    expected = hw.LatentSpace(Reads(), n_components=3, iou_empty=1.0).fit(
        groups, columns={"new": range(COUNT)}, **QUIET
    )
    assert_same_space(opened, expected, rtol=1e-5)


def test_more_items_are_appended(make_groups, address):
    class First:
        """The first items of a data set that grows, which says what is read."""

        def __init__(self, count):
            self.groups, self.count, self.read = make_groups(COUNT), count, []
            self.columns = {name: values[:count] for name, values in self.groups.columns.items()}

        def __len__(self):
            return self.count

        def __getitem__(self, index):
            self.read.append(index)
            return self.groups[index]

    fit(First(20), address)
    for count in (21, COUNT):
        data = First(count)
        grown = fit(data, address)
    # Of the items that are stored, the first of each shard is compared.
    assert [index for index in data.read if index not in (0, 8, 16, 20)] == list(range(21, COUNT))
    assert_same_space(grown, hw.LatentSpace(Reads()).fit(First(COUNT), **QUIET), rtol=1e-5)
    assert_same_space(hw.LatentSpace.open(address), grown)
    with pytest.raises(StoreError, match="written from 31 items or more, the data set has 21"):
        fit(First(21), address)


def test_a_space_that_was_opened_before_its_store_grew_stays(make_groups, tmp_path):
    groups = make_groups(COUNT)
    fit([groups[i] for i in range(20)], tmp_path)
    before = hw.LatentSpace.open(tmp_path)
    fit([groups[i] for i in range(COUNT)], tmp_path)
    np.testing.assert_allclose(before.collection_.features, groups.features[:20], rtol=1e-5)
    assert (len(before), len(before.iou_)) == (20, 20)


class Augmented:
    """A data set with random augmentation."""

    def __init__(self, groups):
        self.groups, self.rng = groups, np.random.default_rng(0)

    def __len__(self):
        return len(self.groups)

    def __getitem__(self, index):
        image, mask = self.groups[index]
        return image * float(self.rng.uniform(0.5, 1)), mask


def test_random_augmentation_is_told_and_goes_on(groups, tmp_path):
    with pytest.warns(UserWarning, match="item 0 was another one when it was read a second time"):
        fit(Augmented(groups), tmp_path)
    (tmp_path / "shards" / "00000002.json").unlink()
    assert len(fit(Augmented(groups), tmp_path)) == COUNT
    assert hw.LatentSpace.open(tmp_path).collection_.random


class Weighted(Reads):
    """The same with a weight."""

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, images):
        return super().forward(images * self.weight)


def test_another_model_beside_an_opened_space_is_told(groups, address):
    fit(groups, address, Weighted())
    assert hw.LatentSpace.open(address, Weighted()).transform(torch.from_numpy(groups.images[:2])).shape == (2, 2)
    with pytest.warns(UserWarning, match="the model's weights differ from those of the fit: it is not the model"):
        hw.LatentSpace.open(address, Weighted(2.0))
    with pytest.warns(UserWarning, match="the model's weights and structure differ from those of the fit"):
        hw.LatentSpace.open(address, Reads())
    # Where the data set is there, its activations tell.
    with pytest.warns(UserWarning, match="the model gives other activations for item 0"):
        hw.LatentSpace.open(address, Weighted(2.0), groups)


# -- clusters -------------------------------------------------------------------------------------


def test_clusters_are_saved_in_the_store_and_read_when_they_are_asked_for(groups, address, monkeypatch):
    space = fit(groups, address)
    with pytest.raises(AttributeError, match="no clusters yet"):
        _ = hw.LatentSpace.open(address).clusters_
    found = space.cluster(3)
    space.save()
    names = []
    read_column = clusters.read_column
    monkeypatch.setattr(clusters, "read_column", lambda files, name: (names.append(name), read_column(files, name))[1])
    opened = hw.LatentSpace.open(address)
    assert not names
    np.testing.assert_array_equal(opened.labels_, space.labels_)
    assert len(names) == 1
    assert opened.clustering_.row() == space.clustering_.row()
    assert [(one.label, one.medoid, one.representatives, one.mean_iou) for one in opened.clusters_] == [
        (one.label, one.medoid, one.representatives, one.mean_iou) for one in found
    ]
    np.testing.assert_array_equal(opened.table()["cluster"], space.labels_)


def test_saved_clusters_are_replaced_and_those_of_an_older_map_refused(groups, tmp_path):
    store = tmp_path / "store"
    space = fit(groups, store)
    for count in (2, 4):
        space.cluster(count)
        space.save()
        assert hw.LatentSpace.open(store).clustering_.n_clusters == count
    assert len(list(store.glob("space/*/labels-*"))) == 1
    again = fit(groups, store)
    with pytest.raises(AttributeError, match="no clusters yet"):
        _ = hw.LatentSpace.open(store).clusters_
    with pytest.raises(StoreError, match="a later fit has made another map of it; open it again"):
        space.save()
    again.cluster(2)
    again.save()
    fresh = hw.LatentSpace.open(store)
    fresh.snapshot().save()
    assert hw.LatentSpace.open(store).clustering_.n_clusters == 2


def test_a_space_without_clusters_removes_those_of_its_store(groups, tmp_path):
    store = tmp_path / "store"
    space = fit(groups, store)
    unclustered = space.snapshot()
    space.cluster(2)
    space.save()
    unclustered.save()
    with pytest.raises(AttributeError, match="no clusters yet"):
        _ = hw.LatentSpace.open(store).clusters_
    assert not list(store.glob("space/*/labels-*"))


def test_damaged_labels_are_told(groups, tmp_path):
    store = tmp_path / "store"
    space = fit(groups, store)
    space.cluster(2)
    space.save()
    (labels,) = store.glob("space/*/labels-*/c.0")
    labels.write_bytes(labels.read_bytes()[:9])
    with pytest.raises(StoreError, match="damaged or missing"):
        _ = hw.LatentSpace.open(store).labels_


def test_clusters_are_not_saved_while_a_fit_writes(groups, tmp_path):
    space = fit(groups, tmp_path / "store")
    space.cluster(2)
    with writing(StoreFiles(tmp_path / "store")), pytest.raises(StoreError, match="one writer at a time"):
        space.save()


def test_a_space_without_a_store_needs_a_folder_to_be_saved(space):
    with pytest.raises(TypeError, match="save needs the path of a folder"):
        space.save()
