import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdm_widgets.latent import Selection, Statistics
from hdm_widgets.latent.item_set import ItemSet
from hdm_widgets.latent.selection import COLORS, check_indices, read_selection

COUNT = 8
TABLE = {
    "item": np.arange(COUNT) * 10,
    "iou": np.array([0.5, 0.1, np.nan, 0.9, 0.0, 1.0, np.nan, 0.4]),
    "truth_area": np.array([5, 0, 0, 7, 0, 2, 3, 9]),
    "name": np.array(list("abcdefgh")),
}


def selection(*indices, name="a", color="#123456", table=TABLE):
    return Selection(check_indices(indices, COUNT), name, color, table)


# -- which items --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ([3, 1, 3], [1, 3]),
        ((7,), [7]),
        (np.array([5, 0], np.uint32), [0, 5]),
        (range(3), [0, 1, 2]),
        (np.arange(8) > 5, [6, 7]),
        ([False] * 7 + [True], [7]),
        (np.zeros(8, bool), []),
        ([], []),
        (np.empty((0,)), []),
    ],
    ids=str,
)
def test_positions_are_ascending_and_each_once(space, indices, expected):
    got = check_indices(indices, COUNT)
    assert got.tolist() == expected
    assert got.dtype == np.int64
    if np.asarray(indices).dtype != bool:
        assert space.select(indices).indices.tolist() == expected


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([8], ValueError, "indices must be 0 to 7, got 8 to 8"),
        ([-1, 2], ValueError, "indices must be 0 to 7, got -1 to 2"),
        ([1.0], TypeError, r"indices must be whole numbers in one dimension, got float64 of shape \(1,\)"),
        (["a"], TypeError, "indices must be whole numbers"),
        ([[1, 2]], TypeError, r"one dimension, got int64 of shape \(1, 2\)"),
        (3, TypeError, r"one dimension, got int64 of shape \(\)"),
        ([True, False], ValueError, r"one entry per item, \(8,\), got shape \(2,\)"),
    ],
)
def test_positions_that_are_none(indices, error, message):
    with pytest.raises(error, match=message):
        check_indices(indices, COUNT)


def test_a_selection_of_a_space(space, groups):
    everything = space.select(groups.groups == 1, "second", "#009e73")
    assert everything.indices.tolist() == np.flatnonzero(groups.groups == 1).tolist()
    assert (everything.name, everything.color) == ("second", "#009e73")
    assert len(everything) == 18
    assert 5 in everything
    assert 4 not in everything
    plain = space.select([4, 5])
    assert (plain.name, plain.color) == ("selection", COLORS[0])
    np.testing.assert_array_equal(plain.table["iou"], groups.iou)


# -- sets ---------------------------------------------------------------------------------------------

positions = st.lists(st.integers(0, COUNT - 1))


@given(positions, positions)
def test_sets_are_those_of_python(one, two):
    a, b = selection(*one), selection(*two, name="b", color="#ffffff")
    for got, expected in (
        (a | b, set(one) | set(two)),
        (a & b, set(one) & set(two)),
        (a - b, set(one) - set(two)),
        (a.union(b), set(one) | set(two)),
        (a.intersection(b), set(one) & set(two)),
        (a.difference(b), set(one) - set(two)),
    ):
        assert got.indices.tolist() == sorted(expected)
        assert got.indices.dtype == np.int64
        assert (got.name, got.color) == ("a", "#123456")
        assert len(got) == len(expected)
        assert all((index in got) == (index in expected) for index in range(COUNT))
    assert a.indices.tolist() == sorted(set(one))


@given(positions, st.integers(0, 3))
def test_a_set_keeps_the_items_that_it_is_made_of(chosen, more):
    count = COUNT + more
    made = ItemSet.from_indices(np.array(chosen, np.int64), count)
    assert made.positions == tuple(sorted(set(chosen)))
    assert made.flags.tolist() == [index in set(chosen) for index in range(count)]
    assert len(made.bits) == -(-count // 8)
    assert made == ItemSet.from_flags(made.flags)
    assert hash(made) == hash(ItemSet.from_flags(made.flags))
    assert made != ItemSet.from_indices(np.array(chosen, np.int64), count + 8)
    assert all(index not in made for index in (-1, count, "a", 0.5))
    assert repr(made) == f"ItemSet({len(set(chosen))} of {count} items)"


def test_equal_selections_have_items_name_and_color_in_common():
    assert selection(1, 2) == selection(2, 1, 1)
    assert selection(1, 2) != selection(1, 3)
    assert selection(1, 2) != selection(1, 2, name="b")
    assert selection(1, 2) != selection(1, 2, color="#000000")
    assert selection(1, 2) != [1, 2]
    assert len({selection(1, 2), selection(2, 1), selection(1, 3), selection(1, 2, name="b")}) == 3


def test_another_name_or_color():
    renamed = selection(1, 2).renamed("b")
    assert (renamed.name, renamed.color, renamed.indices.tolist()) == ("b", "#123456", [1, 2])
    assert selection(1).renamed(color="#ffffff") == selection(1, color="#ffffff")


def test_selections_of_two_spaces_do_not_mix():
    short = {name: values[:5] for name, values in TABLE.items()}
    other = Selection(np.array([1]), "other", "#000000", short)
    for mix in (selection(1).union, selection(1).intersection, selection(1).difference):
        with pytest.raises(ValueError, match="the selections are of different spaces, with 8 and 5 items"):
            mix(other)


# -- numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        # IoU 0.5, 0.1, 0.9, 0.0 and none; three of five have nothing to find.
        ((0, 1, 2, 3, 4), Statistics(5, 0.375, 0.3, 0.6)),
        ((5, 7), Statistics(2, 0.7, 0.7, 0.0)),
        ((2, 6), Statistics(2, np.nan, np.nan, 0.5)),
        ((), Statistics(0, np.nan, np.nan, np.nan)),
    ],
)
def test_statistics_by_hand(indices, expected):
    got = selection(*indices).statistics
    assert got.count == expected.count
    np.testing.assert_allclose(
        [got.mean_iou, got.median_iou, got.empty_truths],
        [expected.mean_iou, expected.median_iou, expected.empty_truths],
    )


def test_statistics_as_text():
    assert str(Statistics(5, 0.375, 0.3, 0.6)) == "5 items, mean IoU 0.38, median 0.30"


def test_the_rows_of_the_items():
    frame = selection(6, 1, 3).frame()
    assert frame.index.tolist() == [1, 3, 6]
    assert frame.index.name == "index"
    assert list(frame.columns) == ["item", "iou", "truth_area", "name"]
    assert frame["item"].tolist() == [10, 30, 60]
    assert frame["name"].tolist() == ["b", "d", "g"]
    assert selection().frame().shape == (0, 4)


def test_a_selection_has_the_rows_of_its_space(own_space):
    own_space.cluster(3)
    frame = own_space.select([9, 2]).frame()
    assert frame.equals(own_space.frame().loc[[2, 9]])
    # What was selected before there were clusters keeps what it said.
    before = own_space.select([1])
    own_space.cluster(5)
    assert before.table["cluster"].max() == 2


# -- CSV ----------------------------------------------------------------------------------------------

FORMULAS = ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=", "-", "'=1+1", "''@x"]
TEXTS = [
    "x\r=1+1",
    "x\n=1",
    "x\r\n=1",
    "a=b",
    "1+1",
    "",
    " =1",
    "plain",
    "'quoted'",
    "''",
    "x\t=1",
    'say "=1"',
    "a,=b",
    "Häuser",
]


def csv_of(texts, name="note", **columns):
    count = len(texts)
    table = {"iou": np.linspace(-1, 1, count), "truth_area": np.arange(count), name: np.array(texts), **columns}
    return Selection(np.arange(count), "=name", "#123456", table)


def rows_of(text):
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula(text):
    head, row = rows_of(csv_of([text]).to_csv())
    assert row[head.index("note")] == f"'{text}"


@pytest.mark.parametrize("text", TEXTS)
def test_other_texts_stay_as_they_are(text):
    head, row = rows_of(csv_of([text]).to_csv())
    assert row[head.index("note")] == text


@pytest.mark.parametrize("name", FORMULAS)
def test_no_column_name_is_a_formula(name):
    head, _ = rows_of(csv_of(["x"], name).to_csv())
    assert head == ["index", "iou", "truth_area", f"'{name}"]


def test_numbers_stay_numbers():
    selection = csv_of(
        ["-5"] * 3, shift=np.array([-1.5, 2.0, np.nan]), count=np.array([-3, 0, 4]), flag=np.array([True, False, True])
    )
    head, *rows = rows_of(selection.to_csv())
    columns = dict(zip(head, zip(*rows, strict=True), strict=True))
    assert columns["index"] == ("0", "1", "2")
    assert columns["iou"] == ("-1.0", "0.0", "1.0")
    assert columns["shift"] == ("-1.5", "2.0", "")
    assert columns["count"] == ("-3", "0", "4")
    assert columns["flag"] == ("True", "False", "True")
    assert columns["note"] == ("'-5",) * 3  # a column of texts


def test_texts_come_back_as_the_documentation_says():
    import pandas

    texts = FORMULAS + TEXTS
    file = io.StringIO(csv_of(texts).to_csv(), newline="")
    read = pandas.read_csv(file, keep_default_na=False, dtype={"note": str})
    back = read["note"].str.replace(r"^'('*[=+\-@\t\r\n])", r"\1", regex=True)
    assert back.tolist() == texts


def test_the_items_of_a_space_as_csv(own_space, tmp_path):
    import pandas

    own_space.cluster(3)
    selection = own_space.select([9, 2, 40])
    text = selection.to_csv(tmp_path / "some.csv")
    assert (tmp_path / "some.csv").read_bytes().decode() == text
    read = pandas.read_csv(tmp_path / "some.csv", index_col="index")
    pandas.testing.assert_frame_equal(read, selection.frame(), check_dtype=False, check_index_type=False)
    assert read["pc1"].min() < 0


# -- files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("indices", [(), (0,), (7, 2, 5)])
def test_a_selection_comes_back_from_its_file(tmp_path, indices):
    saved = selection(*indices, name="Häuser & Gräber")
    saved.save(tmp_path / "some.json")
    assert read_selection(tmp_path / "some.json", TABLE) == saved
    about = json.loads((tmp_path / "some.json").read_text(encoding="utf-8"))
    assert about["indices"] == sorted(indices)


def test_a_space_reads_its_selections(tmp_path, space):
    saved = space.select([50, 3], "mine", "#e69f00")
    saved.save(str(tmp_path / "mine.json"))
    read = space.load_selection(str(tmp_path / "mine.json"))
    assert read == saved
    assert (read | space.select([4])).indices.tolist() == [3, 4, 50]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no selection"),
        ("[1, 2]", "is no selection"),
        ("{}", "is no selection: 'format'"),
        ('{"format": "hdm-widgets selection 9"}', "is no selection: it is written as 'hdm-widgets selection 9'"),
        ('{"format": "hdm-widgets selection 1", "name": "a", "color": "b", "items": 8}', "is no selection: 'indices'"),
        (
            '{"format": "hdm-widgets selection 1", "name": "a", "color": "b", "items": 8, "indices": [9]}',
            "is no selection: indices must be 0 to 7, got 9 to 9",
        ),
        (
            '{"format": "hdm-widgets selection 1", "name": "a", "color": "#bbbbbb", "items": 9, "indices": [8]}',
            "the selection is of a space with 9 items, this one has 8",
        ),
    ],
)
def test_files_that_are_no_selection(tmp_path, text, message):
    (tmp_path / "some.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_selection(tmp_path / "some.json", TABLE)


def test_a_folder_in_place_of_a_file(tmp_path, space):
    with pytest.raises(ValueError, match=f"{tmp_path.name}' is no selection: it is a folder; .*LatentSpace.load reads"):
        space.load_selection(tmp_path)
    for write in (space.select([1]).save, space.select([1]).to_csv):
        with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file in it"):
            write(tmp_path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_selection(tmp_path / "some.json", TABLE)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is no selection"):
        read_selection(tmp_path / "binary.json", TABLE)
