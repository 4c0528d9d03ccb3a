"""Rows of a stored array, as NumPy would index them; plans of shards."""

import pickle
import threading

import numpy as np
import pytest
from store_helpers import memory

from hdm_widgets._store_files import StoreError, StoreFiles
from hdm_widgets.latent.data_columns import join_columns
from hdm_widgets.latent.store import rows as rows_module
from hdm_widgets.latent.store.arrays import ArrayLayout, read_column, write_column
from hdm_widgets.latent.store.rows import StoredRows
from hdm_widgets.latent.store.shards import ShardRecord, capacity_for, plan, plan_of
from hdm_widgets.latent.store.summary import joined

COUNTS = [4, 0, 3, 4, 1]
ARRAYS = {
    "vectors": np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32),
    "pictures": np.random.default_rng(1).integers(0, 255, (12, 2, 3), np.uint8),
    "zeros": np.zeros((12, 2), np.int64),
}
KEYS = [
    0, -1, np.int64(5), slice(None), slice(2, 9), slice(None, None, -1), slice(1, 11, 3), slice(20, 30),
    [3, 3, 0], [-1, 2], np.arange(12) % 2 == 0, np.array([], np.int64), np.array([[1, 2], [7, 0]]),
    (slice(None), 1), (slice(2, 5), slice(0, 2)), ([4, 1], 0), (3, 1), (np.array([5, 6, 7, 8, 9]), slice(1, 2)),
]  # fmt: skip


@pytest.fixture(scope="module")
def files():
    with memory() as address:
        yield StoreFiles(address)


def stored(files, name):
    """The array in five shards, which stand in another order in the array."""
    layout = ArrayLayout.of_rows(name, 4, ARRAYS[name])
    numbers, sizes, start = [1, 0, 2, 3, 5], [], 0
    for number, count in zip(numbers, COUNTS, strict=True):
        data = layout.encode(ARRAYS[name][start : start + count])
        start += count
        sizes.append(len(data or b""))
        if data is not None:
            files.write(layout.key(number), data)
    files.write(f"{name}/zarr.json", layout.metadata(6))
    return StoredRows(files, layout, numbers, COUNTS, sizes)


@pytest.mark.parametrize("held", [0, 1 << 30], ids=["on disk", "in memory"])
@pytest.mark.parametrize("name", ARRAYS)
def test_rows_are_indexed_as_those_of_an_array(files, monkeypatch, name, held):
    monkeypatch.setattr(rows_module, "_HELD_BYTES", held)
    expected = ARRAYS[name]
    for key in KEYS:
        rows = stored(files, name)
        # At first, again, and when all rows have been read.
        for _ in range(3):
            found = rows[key]
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected[key], err_msg=str(key))
            np.testing.assert_array_equal(np.asarray(rows), expected)
    assert (rows.shape, rows.ndim, len(rows), rows.nbytes) == (expected.shape, expected.ndim, 12, expected.nbytes)
    np.testing.assert_array_equal(np.stack(list(stored(files, name))), expected)
    np.testing.assert_array_equal(np.asarray(rows, dtype=np.float64), expected.astype(np.float64))
    np.testing.assert_array_equal(rows.astype(np.float64), expected.astype(np.float64))


@pytest.mark.parametrize("key", [12, -13, [0, 12], [-13]])
def test_no_such_row(files, key):
    with pytest.raises(IndexError, match="out of range for 12 rows"):
        stored(files, "vectors")[key]


@pytest.fixture
def noted(files, monkeypatch):
    """A function (name) -> the rows of an array, and a list of what is read of its files."""

    def note(name):
        rows, read = stored(files, name), []
        whole = rows._from_file

        def from_file(shard, wanted):
            read.append((shard, wanted))
            return whole(shard, wanted)

        monkeypatch.setattr(rows, "_from_file", from_file)
        return rows, read

    return note


def test_single_rows_of_a_shard_are_read_until_they_are_many(noted, monkeypatch):
    monkeypatch.setattr(rows_module, "_HELD_BYTES", 0)
    rows, read = noted("vectors")
    for index in (0, 1, 2, 3, 0, 1, 2):
        np.testing.assert_array_equal(rows[index], ARRAYS["vectors"][index])
    assert [isinstance(wanted, slice) for _, wanted in read] == [False] * 4 + [True]
    assert {shard for shard, _ in read} == {0}


def test_only_the_shards_of_the_rows_are_read_until_half_are_asked_for(noted):
    rows, read = noted("vectors")
    np.testing.assert_array_equal(rows[4:9], ARRAYS["vectors"][4:9])
    assert [shard for shard, _ in read] == [2, 3]
    read.clear()
    np.testing.assert_array_equal(rows[4], ARRAYS["vectors"][4])
    assert {shard for shard, _ in read} == {0, 2, 3, 4}
    read.clear()
    np.testing.assert_array_equal(rows[:], ARRAYS["vectors"])
    assert read == []


def test_several_threads_read_the_same_rows(files, monkeypatch):
    monkeypatch.setattr(rows_module, "_HELD_BYTES", 0)
    rows, wrong = stored(files, "vectors"), []

    def read(seed):
        indices = np.random.default_rng(seed).integers(0, 12, 30).tolist()
        wrong.extend(index for index in indices if not np.array_equal(rows[index], ARRAYS["vectors"][index]))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "values",
    [
        np.arange(7), np.array([1.5, np.nan]), np.array([True, False]), np.array(["a", "", "längere Worte"]),
        np.zeros((5, 2)), np.array([], np.int64), np.array([], "U1"),
    ],
    ids=lambda values: f"{values.dtype}{values.shape}",
)  # fmt: skip
def test_columns_come_back_as_they_were(files, values):
    write_column(files, "column", values)
    found = read_column(files, "column")
    assert (found.dtype.kind, found.shape) == (values.dtype.kind, values.shape)
    np.testing.assert_array_equal(found, values)


def test_a_long_column_is_written_in_parts(files, monkeypatch):
    monkeypatch.setattr("hdm_widgets.latent.store.arrays._COLUMN_ROWS", 3)
    write_column(files, "long", np.arange(8))
    np.testing.assert_array_equal(read_column(files, "long"), np.arange(8))
    files.remove("long/c.1")
    with pytest.raises(StoreError, match=r"long/c.1 of the store .* is damaged or missing \(there is no such file\)"):
        read_column(files, "long")


def test_files_are_sent_to_other_processes(files):
    files.write_json("note.json", {"a": [1, 2]})
    assert pickle.loads(pickle.dumps(files)).read_json("note.json") == {"a": [1, 2]}


# -- plans ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("planned", "done", "length", "expected"),
    [
        ([], [], 10, [[0, 4], [4, 8], [8, 10]]),
        ([[0, 4], [4, 8], [8, 10]], [0, 1, 2], 10, [[0, 4], [4, 8], [8, 10]]),
        # It has grown: what is stored stays, also where a shard is not full.
        ([[0, 4], [4, 8], [8, 10]], [0, 1, 2], 15, [[0, 4], [4, 8], [8, 10], [10, 14], [14, 15]]),
        ([[0, 4], [4, 8], [8, 10]], [2], 15, [[0, 4], [4, 8], [8, 10], [10, 14], [14, 15]]),
        # It has shrunk since, and nothing beyond is stored.
        ([[0, 4], [4, 8], [8, 10]], [0], 9, [[0, 4], [4, 8], [8, 9]]),
        ([[0, 4], [4, 8], [8, 10]], [0], 5, [[0, 4], [4, 5]]),
    ],
)
def test_plans(planned, done, length, expected):
    before = [list(one) for one in planned]
    assert plan(planned, done, length, 4) == expected
    assert planned == before


def record(number, start, stop):
    return ShardRecord("", number, start, stop, stop - start, {}, {}, {}, [], False, "", False, None)


@pytest.mark.parametrize("lost", [[], [0], [1], [2], [0, 1], [1, 2], [3]])
def test_a_plan_follows_from_the_shards(lost):
    bounds = [[0, 4], [4, 8], [8, 10], [10, 14]]
    records = {number: record(number, *bounds[number]) for number in range(4) if number not in lost}
    assert plan_of(records, 4) == bounds[: max(records) + 1]


@pytest.mark.parametrize(
    ("length", "each", "expected"),
    [(10, 1, 64), (1000, 1, 64), (5000, 1, 256), (137_000, 1 << 14, 1024), (137_000, 1 << 20, 64), (10, 1 << 30, 1)],
)
def test_room_in_a_shard(monkeypatch, length, each, expected):
    monkeypatch.setattr("hdm_widgets.latent.store.shards._LEAST", 64)
    assert capacity_for(length, each) == expected


@pytest.mark.parametrize(
    "items",
    [
        [{"a": i} for i in range(6)],
        [{"a": i} if i % 2 else {} for i in range(6)],
        [{"a": i if i < 3 else i / 2} for i in range(6)],
        [{"a": "text" if i > 2 else i} for i in range(6)],
        [{"a": "text"} if i > 4 else {"a": i} if i else {} for i in range(6)],
        [{"a": i > 3} for i in range(6)],
        [{"a": i > 3} if i != 2 else {} for i in range(6)],
        [{"a": "x" * i, "b": i} if i > 3 else {"b": 1.5} for i in range(6)],
        [{"a": "text"} if i > 3 else {"a": 0.5} if i > 1 else {} for i in range(6)],
        [{} for _ in range(6)],
    ],
)
def test_columns_joined_by_shards_are_those_of_all_items(items):
    expected, found = join_columns(items), joined(lambda: [items[:2], [], items[2:5], items[5:]])
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype.kind == values.dtype.kind
        np.testing.assert_array_equal(found[name], values)
