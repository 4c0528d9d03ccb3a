"""What a space hands out stays as it is: snapshots, the table, and the arrays that all of them share."""

import copy

import numpy as np
import pytest

import hdm_widgets as hw
from hdm_widgets.latent.map_support import MapSupport
from hdm_widgets.latent.surface import Regressor

QUIET = {"progress": False}
ARRAYS = ("embedding_", "cluster_coordinates_", "explained_variance_ratio_", "iou_", "items_", "labels_")


def state(space):
    """All that a space says of its items, copied."""
    return {name: values.copy() for name, values in space.table().items()} | {
        "embedding": space.embedding_.copy(),
        "surface": space.surface((5, 5)).values,
        "thumbnails": space.collection_.thumbnails.copy(),
    }


def assert_same(one, two):
    assert list(one) == list(two)
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], err_msg=name)


def fit_again(space, make_groups):
    space.fit(make_groups(25, seed=5), **QUIET)


def fit_collected(space, make_groups):
    space.fit_collected(hw.LatentSpace(space.segmenter).fit(make_groups(30, seed=6), **QUIET).collection_)


def cluster(space, make_groups):
    space.cluster(5)


@pytest.mark.parametrize("take", [lambda space: space.snapshot(), copy.copy], ids=["snapshot", "copy"])
@pytest.mark.parametrize("change", [fit_again, fit_collected, cluster])
@pytest.mark.parametrize("changed", ["original", "snapshot"])
def test_neither_a_space_nor_its_snapshot_changes_with_the_other(own_space, make_groups, take, change, changed):
    own_space.cluster(3)
    snapshot = take(own_space)
    before = state(own_space)
    assert_same(state(snapshot), before)
    one, other = (own_space, snapshot) if changed == "original" else (snapshot, own_space)
    change(one, make_groups)
    assert_same(state(other), before)
    assert other.clustering_.n_clusters == 3
    assert not np.array_equal(one.table()["iou"], before["iou"]) or one.clustering_.n_clusters == 5


def test_a_snapshot_copies_no_array(own_space):
    snapshot = own_space.snapshot()
    assert isinstance(snapshot, hw.LatentSpace)
    for name in ("embedding_", "iou_", "items_"):
        assert np.shares_memory(getattr(snapshot, name), getattr(own_space, name)), name
    assert snapshot.collection_ is own_space.collection_
    assert snapshot.dataset_ is own_space.dataset_
    assert snapshot.segmenter is own_space.segmenter


def test_clusters_that_were_sought_in_an_older_map_are_not_those_of_the_newer(own_space, make_groups, monkeypatch):
    other = make_groups(25, seed=5)
    fit = hw.latent.clusters.fit_clusters

    def fits_meanwhile(*args, **options):
        own_space.fit(other, **QUIET)
        return fit(*args, **options)

    monkeypatch.setattr(hw.latent.clusters, "fit_clusters", fits_meanwhile)
    found = own_space.cluster(3)
    assert sum(one.size for one in found) == 60
    assert len(own_space) == 25
    assert not hasattr(own_space, "clusters_")


@pytest.mark.parametrize("name", ARRAYS)
def test_fitted_arrays_cannot_be_changed(own_space, name):
    own_space.cluster(3)
    with pytest.raises(ValueError, match="read-only"):
        getattr(own_space, name)[:] = 0


def test_nothing_that_is_handed_out_changes_the_space(own_space, groups):
    own_space.cluster(3)
    before = state(own_space)
    selection = own_space.select([1, 2])
    for table in (own_space.table(), selection.table, own_space.columns_):
        for name, values in list(table.items()):
            with pytest.raises(ValueError, match="read-only"):
                values[:] = values[::-1]
            table[name] = None
        table["mine"] = np.arange(60)
    own_space.skipped_[3] = "mine"
    frame = own_space.frame()
    frame["iou"] = 0.0
    with pytest.raises(ValueError, match="read-only"):
        own_space.expected_iou()[:] = 0
    with pytest.raises(ValueError, match="read-only"):
        own_space.clusters_[0].indices[:] = 0
    assert_same(state(own_space), before)
    assert own_space.skipped_ == {}


def test_the_table_is_made_once_and_shared(own_space, monkeypatch):
    own_space.cluster(3)
    predictions = []
    predict = Regressor.predict
    monkeypatch.setattr(Regressor, "predict", lambda *args: predictions.append(1) or predict(*args))
    tables = [own_space.table(), own_space.select([1]).table, own_space.select([2, 3]).table, own_space.table()]
    own_space.expected_iou()
    assert len(predictions) <= 1
    for name, values in tables[0].items():
        assert all(np.shares_memory(values, table[name]) for table in tables[1:]), name


def test_new_clusters_keep_what_was_found_of_the_map(own_space, monkeypatch):
    own_space.surface((3, 3))
    found = list(own_space.comparison())
    monkeypatch.setattr(hw.latent.fitted, "MapSupport", pytest.fail)
    own_space.cluster(3)
    own_space.surface((3, 3))
    assert all(one is two for one, two in zip(own_space.comparison(), found, strict=True))


def test_a_new_fit_drops_what_was_found_of_the_old_map(own_space, make_groups, monkeypatch):
    own_space.surface((3, 3))
    found = list(own_space.comparison())
    made = []
    monkeypatch.setattr(hw.latent.fitted, "MapSupport", lambda *args: made.append(1) or MapSupport(*args))
    own_space.fit(make_groups(60, seed=1), **QUIET)
    own_space.surface((3, 3))
    assert made == [1]
    assert next(own_space.comparison()) is not found[0]
