"""Fits whose shards are collected by the workers of a Dask cluster."""

import pickle
import sys
import warnings

import numpy as np
import psutil
import pytest
import torch
from dask_helpers import (
    CountsThreads,
    Ends,
    Fails,
    KillsWorkers,
    Locked,
    LockedModel,
    OnlyHere,
    Random,
    Wrapped,
    gives_up,
    is_blamed_once,
)  # fmt: skip
from distributed import Client, LocalCluster
from layer_helpers import Reads
from store_helpers import assert_same_space, fit, memory

import hdm_widgets as hw
from hdm_widgets import _cluster
from hdm_widgets._store_files import StoreFiles
from hdm_widgets.latent import ClusterError, CollectionError, InterruptedCollectionError
from hdm_widgets.latent.store.builder import ShardedBuilder


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


# -- the same as in one process -------------------------------------------------------------------


def test_two_workers_give_the_space_of_one_process(groups, undisturbed, store, client):
    space = fit(Wrapped(groups), store, client=client)
    assert_same_space(space, undisturbed[0])
    assert_same_space(hw.LatentSpace.open(store), undisturbed[0])
    assert not (store / _cluster.PARCELS).exists()
    assert all(not tasks for tasks in client.who_has().values())
    assert client.run(lambda: len(_cluster._opened)) == dict.fromkeys(client.nthreads(), 0)


def test_what_passes_through_the_scheduler_is_small(groups, store, client, monkeypatch):
    sizes = []
    submit = type(client).submit

    def submit_and_measure(self, function, *given, **options):
        sizes.append(len(pickle.dumps(given)))
        future = submit(self, function, *given, **options)
        monkeypatch.setattr(future, "release", lambda: sizes.append(len(pickle.dumps(future.result()))))
        return future

    monkeypatch.setattr(type(client), "submit", submit_and_measure)
    fit(Wrapped(groups), store, client=client)
    assert len(sizes) == 8
    assert max(sizes) < 4096 < len(pickle.dumps(Wrapped(groups)))


def test_more_items_run_on_workers_what_is_stored_does_not(groups, make_groups, undisturbed, store, tries, client):
    first = Wrapped(groups)
    first.images, first.masks = first.images[:16], first.masks[:16]
    first.columns = {name: values[:16] for name, values in groups.columns.items()}
    fit(first, store, client=client)
    assert_same_space(fit(Fails(groups, tries, {9}), store, client=client), undisturbed[0])
    assert_same_space(fit(Wrapped(groups), store, client=client), undisturbed[0])
    assert list(tries.iterdir()) == []


def test_items_are_skipped_and_doubts_are_said_as_in_one_process(groups, store, tries, tmp_path, client):
    data = Fails(groups, tries, {3, 20})
    data.masks = data.masks * (2 + np.arange(8) % 2)
    texts = []
    for folder, options in ((tmp_path / "one", {}), (store, {"client": client})):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            space = fit(data, folder, on_error="skip", ignore=255, **options)
        texts.append(sorted(str(warning.message) for warning in caught))
    assert_same_space(space, hw.LatentSpace.open(tmp_path / "one"))
    assert texts[0] == texts[1]
    kinds = ("2 of 31 items were skipped", "no mask has a pixel with the value of ignore=255", "the mask of item 0")
    assert all(any(kind in text for text in texts[0]) for kind in kinds)


def test_random_items_are_told_once(groups, store, client):
    with pytest.warns(UserWarning, match="item 0 was another one when it was read a second time") as warned:
        space = fit(Random(groups), store, client=client)
    assert len(warned) == 1
    assert space.collection_.random


def test_workers_run_torch_with_the_one_thread_that_dask_gives_them(groups, store, tries, client):
    before = torch.get_num_threads()
    fit(Wrapped(groups), store, CountsThreads(tries), client=client)
    assert {path.name for path in tries.iterdir()} == {"worker-1", f"here-{before}"}
    assert torch.get_num_threads() == before


def test_workers_that_are_threads_of_this_process_leave_torch_as_it_is(groups, undisturbed, store, tries, monkeypatch):
    # Nobody takes the cores.
    monkeypatch.setattr("hdm_widgets.models.threads.seconds_with", lambda count, _: 1 / count)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with (
            LocalCluster(
                n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
            ) as cluster,
            Client(cluster) as client,
        ):
            fit(Wrapped(groups), store, CountsThreads(tries), client=client)
            assert_same_space(fit(Wrapped(groups), tries / "store", client=client), undisturbed[0])
        assert not _cluster._opened
        assert {path.name for path in tries.glob("here-*")} == {"here-3"}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_the_bar_shows_the_workers(groups, store, client, capsys):
    hw.LatentSpace(Reads()).fit(Wrapped(groups), store=store, client=client)
    shown = capsys.readouterr().err
    assert "31/31" in shown
    assert " busy" in shown
    assert " workers, " in shown


# -- estimates of new data ------------------------------------------------------------------------


def assert_same_estimates(found, wanted):
    for name in ("iou", "low", "high", "distance", "reliable", "embedding"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)
    one, other = found.observed.collection, wanted.observed.collection
    np.testing.assert_array_equal(one.features, other.features)
    np.testing.assert_array_equal(one.truths.packed, other.truths.packed)
    np.testing.assert_array_equal(one.predictions.packed, other.predictions.packed)
    np.testing.assert_array_equal(one.thumbnails, other.thumbnails)
    np.testing.assert_array_equal(one.probability_maps, other.probability_maps)
    assert (one.skipped, one.random, one.values) == (other.skipped, other.random, other.values)
    assert found.frame().equals(wanted.frame())


@pytest.mark.parametrize("skip", [False, True])
def test_estimates_of_two_workers_are_those_of_one_process(groups, make_groups, tries, client, skip):
    space = hw.LatentSpace(Reads(), batch_size=2).fit(groups, progress=False)
    data = Fails(make_groups(21), tries, {4, 11} if skip else set())
    given = {"progress": False, "on_error": "skip" if skip else "raise"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = space.estimate(data, **given)
        found = space.estimate(data, client=client, **given)
    assert len(found.iou) == 21 - 2 * skip
    assert_same_estimates(found, wanted)
    assert not client.futures
    assert client.run(lambda: len(_cluster._opened)) == dict.fromkeys(client.nthreads(), 0)


def test_an_estimate_names_the_item_that_fails_three_times(groups, tries, client):
    space = hw.LatentSpace(Reads(), batch_size=2).fit(groups, progress=False)
    message = r"items 8 to 11 could not be collected: failed 3 times: item 9 could not be read: OSError: tile 9"
    with pytest.raises(CollectionError, match=message) as caught:
        space.estimate(Fails(groups, tries, {9}), progress=False, client=client)
    assert caught.value.index == 9
    assert len(list(tries.glob("9-*"))) == 3
    assert not client.futures


def test_what_was_sent_is_sent_again_where_no_worker_has_it_any_more(groups, make_groups, client, monkeypatch):
    space = hw.LatentSpace(Reads(), batch_size=2).fit(groups, progress=False)
    data, look, sent = Wrapped(make_groups(9)), _cluster._result, []

    def lose_once(future):
        if not sent:
            sent.append(future.key)
            client.cancel([future, *workers[0]._sent])
        return look(future)

    workers = []
    init = _cluster.Workers.__init__

    def keep(self, *given):
        init(self, *given)
        workers.append(self)

    monkeypatch.setattr(_cluster.Workers, "__init__", keep)
    monkeypatch.setattr(_cluster, "_result", lose_once)
    assert_same_estimates(space.estimate(data, client=client, progress=False), space.estimate(data, progress=False))
    assert workers[0]._times_sent == 2


# -- what fails -----------------------------------------------------------------------------------


def test_items_that_cannot_be_read_are_tried_three_times_and_the_rest_is_kept(
    groups, undisturbed, store, tries, client
):
    with pytest.raises(CollectionError) as caught:
        fit(Fails(groups, tries, {9, 20}), store, client=client)
    assert str(caught.value) == (
        "2 shards could not be collected: items 8 to 15 (failed 3 times: item 9 could not be read: OSError: tile 9 is "
        "missing); items 16 to 23 (failed 3 times: item 20 could not be read: OSError: tile 20 is missing); 15 of 31 "
        f"items are in the store {str(store)!r}: fit again to go on"
    )
    assert (caught.value.index, caught.value.collection) == (9, None)
    # This process looks at item 0 only.
    tried = [path.name.split("-")[0] for path in tries.iterdir()]
    assert sorted(item for item in tried if "ahead" not in item) == ["20"] * 3 + ["9"] * 3
    # A worker on which reading takes long has had each read ahead before.
    assert all(tried.count(f"{item} ahead") <= 3 for item in (9, 20))
    assert set(tried) <= {"9", "20", "9 ahead", "20 ahead"}
    assert_same_space(fit(groups, store), undisturbed[0])


def test_items_that_kill_workers_again_and_again_are_given_up(groups, undisturbed, store, client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("hdm_widgets.latent.store.cluster.collect_shard", gives_up)
        message = r"1 shard .*: items 8 to 15 \(8 workers died while they had it; .*\); 23 of 31 items are in the store"
        with pytest.raises(CollectionError, match=message):
            fit(Wrapped(groups), store, client=client)
    assert_same_space(fit(groups, store), undisturbed[0])


def test_items_that_were_with_a_worker_when_others_killed_it_are_tried_again(
    groups, undisturbed, store, tries, client, monkeypatch
):
    monkeypatch.setattr("hdm_widgets.latent.store.cluster.collect_shard", is_blamed_once)
    assert_same_space(fit(Wrapped(groups), store, client=client), undisturbed[0])
    assert len(list(tries.iterdir())) == 3


def test_a_task_that_starts_after_the_end_is_no_error_on_its_worker(groups, store, client):
    gone = _cluster._Parcel("0" * 64, "the data set", StoreFiles(store))
    report = client.submit(_cluster._run_task, len, (gone,), (), pure=False).result()
    assert isinstance(report, ClusterError)
    assert "does not see the store" in str(report)


def test_a_shard_that_is_ready_after_the_end_is_not_written(groups, undisturbed, store, client):
    data = Ends(groups, store / _cluster.PARCELS, 20)
    with pytest.raises(ClusterError, match=r"files that workers read .* were removed .* of 31 items are in the store"):
        fit(data, store, client=client)
    assert not (store / "shards" / "00000002.json").exists()
    assert_same_space(fit(groups, store), undisturbed[0])


def test_an_interrupt_cancels_what_waits_and_keeps_what_is_stored(groups, undisturbed, store, client, monkeypatch):
    add = ShardedBuilder.add_record

    def add_and_interrupt(self, record):
        add(self, record)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ShardedBuilder, "add_record", add_and_interrupt)
        with pytest.raises(InterruptedCollectionError, match=r"^interrupted; [78] of 31 items are in the store"):
            fit(Wrapped(groups), store, client=client)
    assert not client.futures
    assert_same_space(fit(Wrapped(groups), store, client=client), undisturbed[0])


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        (
            Locked,
            Reads,
            r"the data set cannot be sent to workers \(TypeError: cannot pickle an open file\): open",
        ),
        (Wrapped, LockedModel, r"the model, or an option beside it, cannot be sent .* cannot pickle an engine"),
    ],
)
def test_what_cannot_be_pickled_is_said_before_any_work(groups, store, client, data, model, message):
    with pytest.raises(TypeError, match=message):
        fit(data(groups), store, model(), client=client)
    assert not (store / _cluster.PARCELS).exists()
    assert not (store / "shards").exists()


def test_what_a_worker_lacks_ends_the_fit_at_once(groups, store, client):
    with pytest.raises(ClusterError, match=r"cannot load the data set \(ModuleNotFoundError: .*my_tiles.*same modules"):
        fit(OnlyHere(groups), store, client=client)
    with memory() as here, pytest.raises(ClusterError, match=r"does not see the store 'memory:.*all machines share"):
        fit(Wrapped(groups), here, client=client)


def test_a_parcel_that_was_changed_is_not_unpickled(groups, store, client, monkeypatch):
    write = _cluster.StoreFiles.write

    def write_changed(self, name, data):
        write(self, name, data + b"more" if name.startswith(_cluster.PARCELS) else data)

    monkeypatch.setattr(_cluster.StoreFiles, "write", write_changed)
    with pytest.raises(ClusterError, match="does not see the store"):
        fit(Wrapped(groups), store, client=client)


# -- arguments ------------------------------------------------------------------------------------


def test_a_client_is_for_fits_with_a_store(groups, store, client):
    with pytest.raises(ValueError, match="client= needs store=: workers write what they collect"):
        fit(groups, None, client=client)
    with pytest.raises(ValueError, match="num_workers are processes that read for this one"):
        fit(groups, store, client=client, num_workers=1)
    assert not store.exists()


@pytest.mark.parametrize("wrong", ["tcp://127.0.0.1:8786", 4, object()])
def test_what_is_no_client_is_told(groups, store, wrong):
    with pytest.raises(TypeError, match=f"client must be a distributed.Client, .* got {type(wrong).__name__}"):
        fit(groups, store, client=wrong)


def test_a_closed_client_is_told(groups, store, client):
    other = Client(client.scheduler.address, set_as_default=False)
    other.close()
    with pytest.raises(ValueError, match="connected to a running cluster, its status is 'closed'"):
        fit(groups, store, client=other)


def test_without_dask_a_client_says_what_to_install(groups, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'hdm-widgets\[scale\]'"):
        fit(groups, store, client=object())


def test_no_port_is_open_beyond_this_machine(client):
    here = psutil.Process()
    processes = [here, *here.children(recursive=True)]
    listening = [one.laddr.ip for process in processes for one in process.net_connections() if one.status == "LISTEN"]
    assert len(client.nthreads()) == 2
    assert len(listening) >= 4
    assert set(listening) == {"127.0.0.1"}


# -- killed, at the end: a worker that comes in place of another has to import torch first ----------


def test_a_worker_that_is_killed_loses_nothing(groups, undisturbed, store, tries, client):
    space = fit(KillsWorkers(groups, tries, {13: 1}), store, client=client)
    assert_same_space(space, undisturbed[0])
    assert [path.name for path in tries.iterdir()] == ["13-0"]


def test_a_worker_that_is_killed_changes_no_estimate(groups, make_groups, tries, client):
    space = hw.LatentSpace(Reads(), batch_size=2).fit(groups, progress=False)
    data = KillsWorkers(make_groups(21), tries, {13: 1})
    found = space.estimate(data, client=client, progress=False)
    assert [path.name for path in tries.iterdir()] == ["13-0"]
    assert_same_estimates(found, space.estimate(data, progress=False))
