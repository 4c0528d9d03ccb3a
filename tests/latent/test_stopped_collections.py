"""A pass over a data set that is stopped from outside: what was collected is kept."""

import multiprocessing
import os
import signal
import threading

import numpy as np
import pytest
import torch
from layer_helpers import Reads, number_of_hooks
from torch.utils.data import DataLoader

import hdm_widgets as hw
from hdm_widgets.latent import CollectionError, InterruptedCollectionError, items
from hdm_widgets.latent.projection import Projection

COUNT, STOP = 12, 7
RNG = np.random.default_rng(1)
IMAGES = RNG.random((COUNT, 2, 6, 5), dtype=np.float32)
MASKS = IMAGES[:, 1] > 0.4
ITEMS = list(zip(IMAGES, MASKS, strict=True))
QUIET = {"progress": False}
# On a machine with a single core; and with Python 3.12 and 3.13, which warn of every fork.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]


class Dies(list):
    """The process that reads one of the items is gone, as the system ends one that takes too much memory."""

    def __getitem__(self, index):
        if index == STOP and torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


class Interrupted(list):
    """The notebook's stop button is pressed when one of the items is read."""

    def __getitem__(self, index):
        if index == STOP:
            raise KeyboardInterrupt
        return super().__getitem__(index)


class Locked(list):
    """It has a lock, which cannot be sent to another process."""

    def __init__(self, items):
        super().__init__(items)
        self.lock = threading.Lock()


class Local(list):
    def __init__(self, items):
        super().__init__(items)
        self.transform = lambda item: item


class Unsendable:
    """What it holds cannot be pickled, and what says so is an error of its own."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]

    def __reduce__(self):
        raise RuntimeError("this connection stays here")


@pytest.fixture
def spawn(monkeypatch):
    """Worker processes begin anew, as on Windows and macOS, and get the data set as a pickle."""

    class Spawned(DataLoader):
        def __init__(self, *args, **options):
            super().__init__(*args, multiprocessing_context="spawn", **options)

    monkeypatch.setattr(items, "DataLoader", Spawned)


def check(error, model, dataset, count):
    """The items before the one that stopped the pass were collected, and make a map."""
    collection = error.collection
    assert collection.items.tolist() == list(range(count))
    np.testing.assert_allclose(collection.features, IMAGES[:count].mean((2, 3)), atol=1e-6)
    assert number_of_hooks(model) == 0
    space = hw.LatentSpace(model, layer="values").fit_collected(collection, dataset)
    expected = hw.LatentSpace(Reads(), layer="values").fit(ITEMS[:count], **QUIET)
    np.testing.assert_array_equal(space.iou_, expected.iou_)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_worker_that_dies(batch_size, on_error):
    model, dataset = Reads(), Dies(ITEMS)
    space = hw.LatentSpace(model, layer="values", batch_size=batch_size)
    message = r"item \d+ could not be read: the worker processes stopped .*num_workers=0 reads without such processes"
    with pytest.raises(CollectionError, match=message) as stopped:
        space.fit(dataset, num_workers=1, on_error=on_error, **QUIET)
    # What the process had read last may be lost with it.
    assert STOP - 2 <= stopped.value.index <= STOP
    assert stopped.value.collection.skipped == {}
    check(stopped.value, model, dataset, stopped.value.index)


def test_a_worker_that_dies_without_a_model():
    with pytest.raises(CollectionError, match=r"the worker processes stopped .*num_workers=0") as stopped:
        hw.LatentSpace.from_features(IMAGES.mean((2, 3)), Dies(ITEMS), MASKS, num_workers=1, **QUIET)
    assert stopped.value.collection.items.tolist() == list(range(stopped.value.index))
    assert STOP - 2 <= stopped.value.index <= STOP


class Kills(Reads):
    """While it runs on one of the items, a worker process dies; torch says so in the main thread, wherever that is."""

    def forward(self, images):
        if bool((images[:, 0, 0, 0] == IMAGES[STOP, 0, 0, 0]).any()) and multiprocessing.active_children():
            for process in multiprocessing.active_children():
                process.kill()
                process.join()
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
        return super().forward(images)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_worker_that_dies_while_the_model_runs(batch_size, on_error):
    model = Kills()
    space = hw.LatentSpace(model, layer="values", batch_size=batch_size)
    with pytest.raises(CollectionError, match=r"the worker processes stopped .*num_workers=0") as stopped:
        space.fit(ITEMS, num_workers=1, on_error=on_error, **QUIET)
    assert stopped.value.collection.skipped == {}
    # The item is no worse than the others, and has been read.
    assert stopped.value.index > STOP
    check(stopped.value, model, ITEMS, stopped.value.index)


@pytest.mark.usefixtures("spawn")
@pytest.mark.parametrize("kind", [Locked, Local, Unsendable])
def test_a_data_set_that_cannot_be_sent_to_workers(kind):
    with pytest.raises(CollectionError, match=r"item 0 could not be read: .*num_workers=0 reads without") as stopped:
        hw.LatentSpace(Reads(), layer="values").fit(kind(ITEMS), num_workers=2, **QUIET)
    assert stopped.value.index == 0
    assert stopped.value.collection is None
    hw.LatentSpace(Reads(), layer="values").fit(kind(ITEMS), **QUIET)


@pytest.mark.parametrize("num_workers", [-1, 1.5, "2"])
def test_a_number_of_workers_that_is_none(num_workers):
    with pytest.raises(ValueError, match="num_workers must be a whole number of at least 0"):
        hw.LatentSpace(Reads(), layer="values").fit(ITEMS, num_workers=num_workers, **QUIET)


@pytest.mark.usefixtures("spawn")
def test_a_function_that_cannot_be_sent_to_workers():
    with pytest.raises(CollectionError, match=r"cannot be sent to worker processes .*num_workers=0"):
        hw.LatentSpace(Reads(), layer="values").fit(ITEMS, mask=lambda item: item[1], num_workers=2, **QUIET)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_interrupt_keeps_what_was_collected(batch_size, on_error):
    model, dataset = Reads(), Interrupted(ITEMS)
    space = hw.LatentSpace(model, layer="values", batch_size=batch_size)
    count = STOP - STOP % batch_size
    message = rf"interrupted at item {count}; {count} items are collected: space.fit_collected\(error.collection"
    with pytest.raises(KeyboardInterrupt, match=message) as stopped:
        space.fit(dataset, on_error=on_error, **QUIET)
    assert isinstance(stopped.value, CollectionError)
    assert stopped.value.index == count
    check(stopped.value, model, ITEMS, count)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_interrupt_while_the_model_runs(num_workers):
    class Stops(Reads):
        def forward(self, images):
            if bool((images[:, 0, 0, 0] == IMAGES[STOP, 0, 0, 0]).any()):
                raise KeyboardInterrupt
            return super().forward(images)

    model = Stops()
    with pytest.raises(InterruptedCollectionError) as stopped:
        hw.LatentSpace(model, layer="values", batch_size=2).fit(ITEMS, num_workers=num_workers, **QUIET)
    assert not multiprocessing.active_children()
    assert stopped.value.collection.items.tolist() == list(range(STOP - STOP % 2))
    assert number_of_hooks(model) == 0


def test_an_interrupt_after_all_items(monkeypatch):
    def stop(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Projection, "fit", stop)
    model = Reads()
    space = hw.LatentSpace(model, layer="values")
    with pytest.raises(InterruptedCollectionError, match=rf"interrupted at item {COUNT}; {COUNT} items") as stopped:
        space.fit(ITEMS, **QUIET)
    monkeypatch.undo()
    check(stopped.value, model, ITEMS, COUNT)


def test_an_interrupt_without_a_model():
    with pytest.raises(InterruptedCollectionError, match=r"interrupted at item 0$") as stopped:
        hw.LatentSpace.from_features(IMAGES.mean((2, 3)), Interrupted(ITEMS), MASKS, **QUIET)
    assert stopped.value.collection is None


def test_skipped_items_are_not_read_again_after_an_interrupt():
    dataset = Interrupted([*ITEMS[: STOP - 1], (IMAGES[STOP - 1], None), *ITEMS[STOP:]])
    with pytest.raises(InterruptedCollectionError) as stopped:
        hw.LatentSpace(Reads(), layer="values", batch_size=1).fit(dataset, on_error="skip", **QUIET)
    assert stopped.value.index == STOP
    assert list(stopped.value.collection.skipped) == [STOP - 1]
