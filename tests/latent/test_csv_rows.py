"""Tables as CSV, against those of pandas and of the csv module."""

import csv
import io

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdm_widgets.latent.csv_rows import CSV_ROWS, csv_parts, csv_text

COUNT = 40
COLUMNS = {
    "few numbers": np.resize([0.5, np.nan, -0.0, 0.0, 1e-300, np.inf, 1 / 3], COUNT),
    "many numbers": np.random.default_rng(0).normal(size=COUNT) * 10.0 ** np.arange(-COUNT // 2, COUNT // 2),
    "single precision": np.resize(np.array([0.1, np.nan, 1e10], np.float32), COUNT),
    "whole": np.arange(COUNT) - 7,
    "bytes": np.arange(COUNT).astype(np.uint8),
    "flags": np.arange(COUNT) % 3 == 0,
    "texts": np.resize(["", "a", "a,b", 'say "a"', "two\nlines", "Häuser"], COUNT),
    "every other row": np.arange(2.0 * COUNT)[::2],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_written_as_pandas_writes_it(name):
    index = np.arange(COUNT) * 3
    frame = pandas.DataFrame({name: COLUMNS[name]}, index=pandas.Index(index, name="index"))
    assert csv_text({name: COLUMNS[name]}, index) == frame.to_csv(lineterminator="\r\n")


@given(st.lists(st.tuples(st.floats(), st.integers(-(2**63), 2**63 - 1)), max_size=30))
def test_numbers_come_back_bit_by_bit(rows):
    numbers, whole = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], np.int64)
    head, *read = csv.reader(io.StringIO(csv_text({"a": numbers, "b": whole}, np.arange(len(rows)))))
    assert head == ["index", "a", "b"]
    back = np.array([float(row[1] or "nan") for row in read], float)
    np.testing.assert_array_equal(back, numbers)
    np.testing.assert_array_equal(np.signbit(back[back == 0]), np.signbit(numbers[numbers == 0]))
    assert [int(row[2]) for row in read] == whole.tolist()


def test_many_rows_come_in_parts_of_whole_lines():
    count = CSV_ROWS + 5
    parts = list(csv_parts({"half": np.arange(count) / 2}, np.arange(count)))
    assert [part.count("\r\n") for part in parts] == [1, CSV_ROWS, 5]
    assert all(part.endswith("\r\n") for part in parts)
    assert parts[2].startswith(f"{CSV_ROWS},{CSV_ROWS / 2}\r\n")


def test_nothing_is_a_head_alone():
    assert csv_text({"=a": np.empty(0)}, np.empty(0, np.int64)) == "index,'=a\r\n"
