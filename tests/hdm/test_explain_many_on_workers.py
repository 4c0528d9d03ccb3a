"""Scans of many images by the workers of a Dask cluster."""

import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from dask_helpers import Fails, KillsWorkers, Locked, LockedModel, OnlyHere, Wrapped
from layer_helpers import Reads
from many_images import QUIET
from worker_helpers import ThreeClasses, disk_full, gives_up

import hdm_widgets as hw
from hdm_widgets import _cluster, hdm

COUNT = 9


def blocks(count=COUNT, sizes=((16, 20),)):
    """Images with a bright block each, at another place; the true block is a column to the right."""
    images, masks = [], []
    for index in range(count):
        image = np.zeros((1, *sizes[index % len(sizes)]), np.float32)
        row, col = 2 + index % 4, 3 + 2 * (index % 3)
        image[0, row : row + 6, col : col + 6] = 0.75 + index / 64
        masks.append(np.roll(image[0], 1, axis=1) > 0)
        images.append(image)
    return SimpleNamespace(images=images, masks=masks, columns={})


def assert_same(found, wanted, *, stored=False):
    """Both have the same results, in every bit, and what is made of them."""
    assert (found.indices, found.asked, found.errors) == (wanted.indices, wanted.asked, wanted.errors)
    for position in range(len(wanted)):
        for fill in wanted.fills:
            one, other = found.with_fill(position, fill), wanted.with_fill(position, fill)
            for name in ("values", "measured", "image", "segment", "baseline_mask"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
            assert (one.baseline, one.grid, one.settings) == (other.baseline, other.grid, other.settings)
            assert stored or one.reading.short == other.reading.short
            np.testing.assert_array_equal(one.output(1, 1), other.output(1, 1))
            np.testing.assert_array_equal(one.occluded(1, 1), other.occluded(1, 1))
    assert found.ranking().equals(wanted.ranking())
    for kind in hdm.ResultType:
        one, other = found.aligned(kind, scaled=True), wanted.aligned(kind, scaled=True)
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_array_equal(one.spread, other.spread)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("sizes", [((16, 20),), ((16, 20), (20, 16), (24, 24))])
def test_two_workers_give_what_one_process_does(client, tmp_path, stored, sizes):
    data, given = Wrapped(blocks(sizes=sizes)), {"fills": (0.0, "mean"), **QUIET}
    wanted = hdm.explain_many(Reads(), data, **given)
    store = tmp_path / "store" if stored else None
    found = hdm.explain_many(Reads(), data, store=store, client=client, **given)
    assert_same(found, wanted, stored=stored)
    assert not client.futures
    assert client.run(lambda: len(_cluster._opened)) == dict.fromkeys(client.nthreads(), 0)
    if stored:
        assert_same(hdm.HDMCollection.open(store), wanted, stored=True)
        assert not (store / _cluster.PARCELS).exists()


def test_what_is_there_is_not_run_again(client, tmp_path, tries):
    data, store = blocks(), tmp_path / "store"
    hdm.explain_many(Reads(), Wrapped(data), range(4), store=store, client=client, **QUIET)
    found = hdm.explain_many(Reads(), Fails(data, tries, {0, 3}), store=store, client=client, **QUIET)
    assert_same(found, hdm.explain_many(Reads(), Wrapped(data), **QUIET), stored=True)
    # They are read once more, to compare them.
    assert len(list(tries.iterdir())) == 2


@pytest.mark.parametrize("first", [0, 1])
def test_an_image_that_fails_has_the_error_that_it_has_in_one_process(client, tries, first):
    data = blocks()
    data.images[4] = np.full((1, 16, 20), np.nan, np.float32)
    data.masks[5] = None
    failing = {first, 7}
    wanted = hdm.explain_many(Reads(), Fails(data, tries, failing), **QUIET)
    for path in tries.iterdir():
        path.unlink()
    found = hdm.explain_many(Reads(), Fails(data, tries, failing), client=client, **QUIET)
    assert sorted(found.errors) == [first, 4, 5, 7]
    assert f"item {first} could not be read: OSError: tile {first} is missing" in found.errors[first]
    assert_same(found, wanted)
    # Those before the first one that can be run are read in this process, all others are tried three times.
    assert len(list(tries.glob("7-*"))) == 3
    assert len(list(tries.glob(f"{first}-*"))) == (1 if first == 0 else 3)


def test_if_all_fail_the_first_is_told(client, tries):
    with pytest.raises(ValueError, match=r"all 9 images failed; item 0: ValueError: channel must be -1 .all. or 0"):
        hdm.explain_many(Reads(), Wrapped(blocks()), channel=3, client=client, **QUIET)


def test_all_workers_read_the_output_as_the_first_image_tells(client):
    data = blocks()
    # Of these, the first alone has values that are no probabilities: 0.4 is a logit, and drawn.
    data.images = [image * 0.5 for image in data.images]
    data.images[0] = data.images[0] * 8 - 1
    wanted = hdm.explain_many(Reads(), Wrapped(data), fill=-1.0, **QUIET)
    assert {result.reading.values for result in wanted} == {"logits"}
    assert_same(hdm.explain_many(Reads(), Wrapped(data), fill=-1.0, client=client, **QUIET), wanted)


def test_all_classes_are_kept(client):
    data = blocks()
    data.masks = [mask * 2 for mask in data.masks]
    model = ThreeClasses()
    wanted = hdm.explain_many(model, Wrapped(data), target="all", **QUIET)
    found = hdm.explain_many(model, Wrapped(data), target="all", client=client, **QUIET)
    assert_same(found, wanted)
    np.testing.assert_array_equal(found[2].for_class(1).values, wanted[2].for_class(1).values)


def test_progress_counts_images(client):
    updates = []
    hdm.explain_many(Reads(), Wrapped(blocks()), client=client, **(QUIET | {"progress": updates.append}))
    assert [one.done for one in updates] == [*range(COUNT + 1), COUNT]
    assert [len(one.collection) for one in updates] == [one.done for one in updates]
    assert {one.index for one in updates} == {None}
    assert (updates[0].seconds_left, updates[-1].seconds_left) == (float("inf"), 0)


@pytest.mark.parametrize("stored", [False, True])
def test_an_interrupt_returns_what_is_finished(client, tmp_path, stored):
    def progress(update):
        if update.done == 3:
            raise KeyboardInterrupt

    data, store = Wrapped(blocks()), tmp_path / "store" if stored else None
    stopped = hdm.explain_many(Reads(), data, store=store, client=client, **(QUIET | {"progress": progress}))
    assert (len(stopped), len(stopped.asked)) == (3, COUNT)
    assert not client.futures
    wanted = hdm.explain_many(Reads(), data, **QUIET)
    again = hdm.explain_many(Reads(), data, store=store, client=client, **QUIET)
    assert_same(again, wanted, stored=stored)


def test_doubts_are_told_once(client):
    data = blocks()
    data.masks = [mask * (2 + np.arange(20) % 2) for mask in data.masks]
    # The first truth is empty: that is nothing unusual.
    data.masks[0] = data.masks[0] * 0
    texts = []
    for options in ({}, {"client": client}):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            hdm.explain_many(Reads(), Wrapped(data), **QUIET, **options)
        texts.append([str(warning.message) for warning in caught])
    assert texts[0] == texts[1]
    (text,) = texts[0]
    assert text.startswith("the segment has")


def test_what_passes_through_the_scheduler_with_a_store_is_small(client, tmp_path, monkeypatch):
    sizes, submit = [], type(client).submit

    def submit_and_measure(self, function, *given, **options):
        sizes.append(len(pickle.dumps(given)))
        future = submit(self, function, *given, **options)
        monkeypatch.setattr(future, "release", lambda: sizes.append(len(pickle.dumps(future.result()))))
        return future

    monkeypatch.setattr(type(client), "submit", submit_and_measure)
    data = Wrapped(blocks(sizes=((64, 64),)))
    hdm.explain_many(Reads(), data, store=tmp_path / "store", client=client, **(QUIET | {"offset": 16}))
    assert len(sizes) == 2 * COUNT
    assert max(sizes) < 2048 < len(pickle.dumps(data))


# -- what fails -----------------------------------------------------------------------------------


def test_an_image_that_kills_workers_is_given_up(client, monkeypatch):
    monkeypatch.setattr("hdm_widgets.hdm.image_scans.scan_image", gives_up)
    found = hdm.explain_many(Reads(), Wrapped(blocks()), client=client, **QUIET)
    assert found.errors == {1: "8 workers died while they had it; their logs tell why, as when memory runs out"}
    assert len(found) == COUNT - 1


def test_a_store_that_a_worker_cannot_write_ends_the_scans(client, tmp_path, monkeypatch):
    monkeypatch.setattr("hdm_widgets.hdm.image_scans.scan_image", disk_full)
    with pytest.raises(hdm.StoreError, match="cannot be written: No space left on device"):
        hdm.explain_many(Reads(), Wrapped(blocks()), store=tmp_path / "store", client=client, **QUIET)
    assert not client.futures


@pytest.mark.parametrize(
    ("data", "model", "error", "message"),
    [
        (Locked, Reads, TypeError, r"the data set cannot be sent to workers \(TypeError: cannot pickle an open file"),
        (Wrapped, LockedModel, TypeError, r"the model, or an option beside it, cannot be sent .* an engine"),
        (OnlyHere, Reads, hdm.ClusterError, r"cannot load the data set \(ModuleNotFoundError: .*my_tiles"),
    ],
)
def test_what_cannot_be_sent_is_said(client, tmp_path, data, model, error, message):
    with pytest.raises(error, match=message):
        hdm.explain_many(model(), data(blocks()), store=tmp_path / "store", client=client, **QUIET)
    assert hdm.HDMCollection.open(tmp_path / "store").indices == ()


def test_a_store_that_workers_do_not_see_is_said(client):
    address = "memory://not-seen-by-workers"
    try:
        with pytest.raises(hdm.ClusterError, match=r"does not see the store 'memory:.*all machines share"):
            hdm.explain_many(Reads(), Wrapped(blocks()), store=address, client=client, **QUIET)
    finally:
        hw._store_files.StoreFiles(address).remove("")


def test_what_is_no_client_is_told_before_anything_else(tmp_path):
    with pytest.raises(TypeError, match=r"client must be a distributed.Client, .* got str"):
        hdm.explain_many(Reads(), Wrapped(blocks()), store=tmp_path / "store", client="tcp://127.0.0.1:1", **QUIET)
    assert not (tmp_path / "store").exists()


# -- killed, at the end: a worker that comes in place of another has to import torch first ----------


@pytest.mark.parametrize("stored", [False, True])
def test_a_worker_that_is_killed_loses_nothing(client, tmp_path, tries, stored):
    data, store = KillsWorkers(blocks(), tries, {5: 1}), tmp_path / "store" if stored else None
    wanted = hdm.explain_many(Reads(), data, **QUIET)
    assert not list(tries.iterdir())
    assert_same(hdm.explain_many(Reads(), data, store=store, client=client, **QUIET), wanted, stored=stored)
    assert [path.name for path in tries.iterdir()] == ["5-0"]
