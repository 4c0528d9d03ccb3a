import sqlite3
import threading
from collections import Counter
from contextlib import closing

import numpy as np
import pytest
import torch

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets._reading_ahead import read_ahead

SMALL = 8


@pytest.fixture(autouse=True)
def from_the_first_item_on(request, monkeypatch):
    """However quick reading is, the thread begins after one item."""
    if "quick" not in request.fixturenames:
        monkeypatch.setattr("hdm_widgets._reading_ahead._WORTH", 0)
        monkeypatch.setattr("hdm_widgets._reading_ahead._SLOW", 1)


@pytest.fixture
def quick(monkeypatch):
    """No item takes as long as would be worth a thread."""
    monkeypatch.setattr("hdm_widgets._reading_ahead._WORTH", float("inf"))


def test_what_is_read_quickly_is_read_by_the_caller(quick):
    reads = Reads(failing_everywhere=[5])
    assert [index for index, _ in taken(reads, range(100))] == list(range(100))
    assert reads.by_the_caller() == list(range(100))


class Reads:
    """Items that are their own numbers, with notes of what is read by which thread; some cannot be read there."""

    def __init__(self, failing_there=(), failing_everywhere=()):
        self.caller = threading.get_ident()
        self.failing_there, self.failing_everywhere = set(failing_there), set(failing_everywhere)
        self.read = []
        self.busy = threading.Lock()

    def __call__(self, index):
        # Both threads at once would be an error, not a wait.
        assert self.busy.acquire(blocking=False)
        try:
            here = threading.get_ident() == self.caller
            self.read.append((index, here))
            if index in self.failing_everywhere or (index in self.failing_there and not here):
                return OSError(index)
            return index
        finally:
            self.busy.release()

    def by_the_caller(self):
        return [index for index, here in self.read if here]


def taken(reads, indices, size=SMALL):
    with closing(read_ahead(reads, indices, lambda _: size)) as items:
        return list(items)


@pytest.mark.parametrize("indices", [range(100), [5, 2, 9], np.arange(3), range(1), range(0)], ids=str)
def test_items_come_in_order_and_all_but_the_first_are_read_elsewhere(indices):
    reads = Reads()
    assert taken(reads, indices) == [(index, index) for index in indices]
    assert [index for index, _ in reads.read] == list(indices)
    assert reads.by_the_caller() == list(indices[:1])


@pytest.mark.parametrize(("size", "ahead"), [(SMALL, 64), (1 << 23, 8), (1 << 30, 1)])
def test_no_more_is_read_ahead_than_memory_allows(size, ahead):
    reads = Reads()
    with closing(read_ahead(reads, range(1000), lambda _: size)) as items:
        next(items)
        next(items)
    assert 1 < len(reads.read) <= 2 + ahead


def test_what_only_the_callers_thread_can_read_is_read_there():
    # Items 3 and 40 fail alone: those after them are read ahead again.
    reads = Reads(failing_there=[3, 40])
    assert taken(reads, range(80)) == [(index, index) for index in range(80)]
    assert reads.by_the_caller() == [0, 3, 40]
    # Two in a row: the thread is of no use.
    reads = Reads(failing_there=range(3, 80))
    assert taken(reads, range(80)) == [(index, index) for index in range(80)]
    assert reads.by_the_caller() == [0, *range(3, 80)]


def test_an_item_that_nobody_can_read_is_an_error_among_the_others():
    reads = Reads(failing_everywhere=[0, 1, 7])
    got = taken(reads, range(10))
    assert [index for index, _ in got] == list(range(10))
    assert [index for index, item in got if isinstance(item, OSError)] == [0, 1, 7]
    assert reads.by_the_caller() == [0, 1, 7]


def test_what_was_read_ahead_of_an_error_is_not_read_again():
    reads = Reads(failing_everywhere=range(10, 200, 10))
    taken(reads, range(200))
    times = Counter(index for index, _ in reads.read)
    assert {index for index, count in times.items() if count == 2} == set(range(10, 200, 10))
    assert sorted(times.elements()) == sorted([*range(200), *range(10, 200, 10)])


def test_without_a_size_one_item_is_read_ahead():
    reads = Reads()
    with closing(read_ahead(reads, range(100))) as items:
        for _ in range(3):
            next(items)
    assert [index for index, _ in reads.read] in ([0, 1, 2], [0, 1, 2, 3])


def test_what_a_thread_keeps_for_itself_holds_in_the_other():
    def read(_):
        return np.geterr()["divide"], torch.is_grad_enabled()

    with np.errstate(divide="raise"), torch.no_grad():
        found = [item for _, item in read_ahead(read, range(5), lambda _: SMALL)]
    assert found == [("raise", False)] * 5


def test_reading_leaves_the_threads_of_pytorch_to_the_model():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = [item for _, item in read_ahead(lambda _: torch.get_num_threads(), range(5), lambda _: SMALL)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert found == [1] * 5


def test_an_item_that_never_comes_holds_nobody_up(monkeypatch):
    monkeypatch.setattr("hdm_widgets._reading_ahead._PATIENCE", 0)
    reached, let_go = threading.Event(), threading.Event()

    def read(index):
        if index == 2:
            reached.set()
            let_go.wait()
        return index

    items = read_ahead(read, range(9), lambda _: SMALL)
    assert [next(items), next(items)] == [(0, 0), (1, 1)]
    assert reached.wait(60)
    (hanging,) = [thread for thread in threading.enumerate() if thread.name == "hdm_widgets reads ahead"]
    assert hanging.daemon
    items.close()
    let_go.set()
    hanging.join(60)
    assert not hanging.is_alive()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_ends_the_reading(stop):
    def read(index):
        if index == 4:
            raise stop
        return index

    got = []
    with pytest.raises(stop), closing(read_ahead(read, range(100), lambda _: SMALL)) as items:
        got.extend(items)
    assert got == [(index, index) for index in range(4)]


def test_no_thread_stays(monkeypatch):
    monkeypatch.setattr("hdm_widgets._reading_ahead._PATIENCE", 60)
    items = read_ahead(Reads(), range(100), lambda _: SMALL)
    next(items)
    next(items)
    assert [thread.name for thread in threading.enumerate()].count("hdm_widgets reads ahead") == 1
    items.close()
    assert "hdm_widgets reads ahead" not in [thread.name for thread in threading.enumerate()]


class FromSqlite:
    """Images in a database whose connection serves only the thread that opened it."""

    def __init__(self):
        self.connection = sqlite3.connect(":memory:")
        self.connection.execute("CREATE TABLE images (number INTEGER, pixels BLOB)")
        pixels = np.random.default_rng(0).random((6, 1, 16, 16), np.float32)
        self.connection.executemany(
            "INSERT INTO images VALUES (?, ?)", [(n, p.tobytes()) for n, p in enumerate(pixels)]
        )

    def __len__(self):
        return 6

    def __getitem__(self, index):
        ((pixels,),) = self.connection.execute("SELECT pixels FROM images WHERE number = ?", (index,))
        image = torch.frombuffer(bytearray(pixels), dtype=torch.float32).reshape(1, 16, 16)
        return image, image[0] > 0.5


def test_a_database_that_serves_one_thread_makes_a_space_and_can_be_explained():
    dataset = FromSqlite()
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Conv2d(4, 1, 3, padding=1))
    space = hw.LatentSpace(model, layer="0").fit(dataset, progress=False)
    assert space.items_.tolist() == list(range(6))
    kept = hw.LatentSpace(model, layer="0").fit([dataset[index] for index in range(6)], progress=False)
    np.testing.assert_array_equal(space.collection_.features, kept.collection_.features)
    scans = hdm.explain_many(model, dataset, circle_size=4, offset=8, progress=False)
    assert list(scans.indices) == list(range(6))
    assert scans.errors == {}


class IntoOneBuffer(list):
    """Each image is read into the memory of the last."""

    def __init__(self, items):
        super().__init__(items)
        self.buffer = torch.empty(1, 16, 16)

    def __getitem__(self, index):
        image, mask = super().__getitem__(index)
        self.buffer.copy_(image)
        return self.buffer, mask


def test_images_that_are_read_into_the_same_memory_are_told_apart():
    images = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    items = [(image, image[0] > 0.5) for image in images]
    model = torch.nn.Conv2d(1, 1, 3, padding=1)
    options = {"circle_size": 4, "offset": 8, "progress": False}
    one, other = (hdm.explain_many(model, data, **options) for data in (items, IntoOneBuffer(items)))
    for place in range(6):
        np.testing.assert_array_equal(other[place].values, one[place].values)
