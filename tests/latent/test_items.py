import enum
import itertools
from collections import namedtuple
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from hdm_widgets._datasets import as_dataset
from hdm_widgets.latent.data_columns import as_column, check_columns
from hdm_widgets.latent.items import Item, read_item, read_items

IMAGE = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 24
MASK = np.array([[0, 1, 0, 0], [0, 2, -1, 0], [0, 0, 0, 0]])

Pair = namedtuple("Pair", "image mask")
Season = enum.Enum("Season", "DRY WET")


class Endless(IterableDataset):
    def __iter__(self):
        return itertools.repeat((IMAGE, MASK))


class Broken:
    """Items that cannot be read, some of them."""

    def __init__(self, length, errors):
        self.length, self.errors = length, errors

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index in self.errors:
            raise self.errors[index]
        return IMAGE + index, MASK


# -- one item -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item",
    [
        (IMAGE, MASK),
        [IMAGE, MASK],
        Pair(IMAGE, MASK),
        {"image": IMAGE, "mask": MASK},
        (torch.from_numpy(IMAGE), torch.from_numpy(MASK)),
        (IMAGE.astype(">f8"), (MASK != 0).astype(">f4")),
        (torch.from_numpy(IMAGE).double(), MASK != 0),
        (IMAGE, (MASK != 0).astype(np.uint8)[None]),
        (IMAGE, torch.from_numpy(MASK)[None]),
        (torch.from_numpy(IMAGE).requires_grad_(), MASK),
    ],
    ids=[
        "tuple", "list", "named tuple", "mapping", "torch", "big endian", "bool", "mask with a channel",
        "torch mask with a channel", "with gradient",
    ],
)  # fmt: skip
def test_every_form_of_item(item):
    got = read_item([item], 0)
    assert isinstance(got, Item)
    assert got.image.dtype == torch.float32
    np.testing.assert_array_equal(got.image, IMAGE)
    assert got.mask.dtype == bool
    np.testing.assert_array_equal(
        got.mask, [[False, True, False, False], [False, True, True, False], [False, False, False, False]]
    )
    assert got.columns == {}


def test_an_image_without_channel_axis_gets_one():
    got = read_item([(IMAGE[0], MASK)], 0)
    np.testing.assert_array_equal(got.image, IMAGE[:1])


def test_an_item_is_a_copy():
    image, mask = IMAGE.copy(), (MASK != 0).copy()
    got = read_item([(image, mask)], 0)
    image[:], mask[:] = 7, True
    np.testing.assert_array_equal(got.image, IMAGE)
    assert got.mask.sum() == 3


def test_what_a_mapping_carries_beside():
    item = {
        "image": IMAGE,
        "mask": MASK,
        "name": "tile 3",
        "count": 4,
        "share": 0.25,
        "town": True,
        "torch": torch.tensor(5),
        "numpy": np.float32(0.5),
        "text": np.str_("west"),
        7: "a key that is no text",
        "bounds": (0, 1, 2, 3),
        "array": np.zeros(2),
        "tensor": torch.zeros(1),
        "nothing": None,
        "complex": torch.tensor(1j),
        "path": Path("tiles/3.tif"),
        "day": date(2024, 5, 6),
        "moment": np.datetime64("2024-05-06T07:08:09.000000001"),
        "price": Decimal("1.25"),
        "exposure": timedelta(seconds=1, milliseconds=500),
        "season": Season.DRY,
        "unknown day": np.datetime64("NaT"),
    }
    assert read_item([item], 0).columns == {
        "name": "tile 3", "count": 4, "share": 0.25, "town": True, "torch": 5, "numpy": 0.5, "text": "west",
        "7": "a key that is no text", "path": "tiles/3.tif", "day": date(2024, 5, 6),
        "moment": datetime(2024, 5, 6, 7, 8, 9), "price": 1.25, "exposure": 1.5, "season": "DRY",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        ((IMAGE,), TypeError, r"item 0 must be \(image, mask\) or a mapping .*'image' and 'mask', got 1 entries"),
        ((IMAGE, MASK, 3), TypeError, "item 0 must be .*got 3 entries"),
        (IMAGE, TypeError, "item 0 must be .*got ndarray"),
        (SimpleNamespace(image=IMAGE), TypeError, "item 0 must be .*got SimpleNamespace"),
        ({"image": IMAGE}, ValueError, "item 0 has no 'mask'; it has 'image'"),
        ({"mask": MASK, "img": IMAGE}, ValueError, "item 0 has no 'image'; it has 'mask', 'img'"),
        ((IMAGE, None), ValueError, r"item 0: its mask is missing \(None\)"),
        ((None, MASK), TypeError, "item 0: the image must be a torch tensor or a numpy array, got NoneType"),
        ((IMAGE, MASK.tolist()), TypeError, "item 0: the segment must be a torch tensor or a numpy array, got list"),
        ((IMAGE, MASK[:2]), ValueError, r"item 0: expected a segment of the image's size \(3, 4\), got shape \(2,"),
        ((IMAGE, np.stack([MASK, MASK])), ValueError, r"item 0: expected a segment .*got shape \(2, 3, 4\)"),
        ((IMAGE.astype(int), MASK), TypeError, "item 0: the image must be of a floating type.*got int64"),
        ((IMAGE * np.nan, MASK), ValueError, r"item 0: the image has NaN or infinity, first at \(0, 0, 0\)"),
        ((IMAGE, MASK / 0.5 * np.nan), ValueError, "item 0: the segment has NaN or infinity"),
        ((IMAGE[None], MASK), ValueError, r"item 0: the image must be .*\(1, 2, 3, 4\); take one image out"),
        ((IMAGE[0, 0], MASK), ValueError, r"item 0: the image must be \(C, H, W\) or \(H, W\), got shape \(4,\)"),
        ((IMAGE[0, 0, 0], MASK), TypeError, "item 0: the image must be a torch tensor or a numpy array"),
        ((torch.tensor(0.5), MASK), ValueError, r"item 0: the image must be \(C, H, W\) or \(H, W\), got shape \(\)"),
    ],
)
def test_items_that_cannot_be_used(item, error, message):
    with pytest.raises(error, match=message):
        read_item([item], 0)


def test_an_image_of_another_size_than_the_others():
    with pytest.raises(ValueError, match=r"item 1: expected an image 5 px wide and 3 px high.*got shape \(2, 3, 4\)"):
        read_item([None, (IMAGE, MASK)], 1, (3, 5))


def test_an_error_of_the_data_set_names_the_item():
    dataset = Broken(9, {4: KeyError("tile.tif")})
    with pytest.raises(ValueError, match=r"item 4 could not be read: KeyError: 'tile\.tif'") as caught:
        read_item(dataset, 4)
    assert isinstance(caught.value.__cause__, KeyError)


# -- all items ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with a single core
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12 and 3.13
@pytest.mark.parametrize("num_workers", [0, 2])
def test_all_items_come_in_order_and_errors_among_them(num_workers):
    # An error of this kind cannot be made from its message alone, which is how errors cross between processes.
    unreadable = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    dataset = Broken(12, {3: OSError("disk"), 7: unreadable})
    got = dict(read_items(dataset, (3, 4), num_workers))
    assert list(got) == list(range(12))
    for index, item in got.items():
        if index in (3, 7):
            assert type(item) is ValueError
        else:
            np.testing.assert_array_equal(item.image, IMAGE + index)
            assert item.mask.sum() == 3
    assert str(got[3]) == "item 3 could not be read: OSError: disk"
    assert str(got[7]).startswith("item 7 could not be read: UnicodeDecodeError: 'utf-8' codec")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_columns_of_items_come_from_other_processes_too(num_workers):
    dataset = [{"image": IMAGE, "mask": MASK, "name": f"tile {index}", "n": index} for index in range(4)]
    got = [item.columns for _, item in read_items(dataset, (3, 4), num_workers)]
    assert got == [{"name": f"tile {index}", "n": index} for index in range(4)]


def test_an_item_of_another_type_of_error_stays_one():
    (_, error), *_ = read_items([(IMAGE, "mask")], (3, 4))
    assert type(error) is TypeError
    assert str(error) == "item 0: the segment must be a torch tensor or a numpy array, got str"


# -- data sets and columns ----------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", [[1, 2, 3], (1, 2, 3), TensorDataset(torch.zeros(3)), Broken(3, {})])
def test_what_has_items_is_a_data_set(dataset):
    assert as_dataset(dataset) is dataset
    assert len(as_dataset(dataset)) == 3


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (
            iter([1]),
            r"must have a length and items \(len\(dataset\), dataset\[i\]\), got list_iterator; list\(itertools",
        ),
        (Endless(), "must have a length and items .*got Endless; .*islice"),
        ("folder", "must have a length and items .*got str$"),
        ({"train": [1], "test": [2]}, r"got a mapping with 'train', 'test'; .*pass one of them: dataset\['train'\]"),
        (DataLoader([1, 2]), "got DataLoader; pass the data set that it reads: loader.dataset"),
        ((IMAGE, MASK), r"got one item; a list of all items is a data set: \[\(image, mask\), ...\]"),
        (([IMAGE] * 3, [MASK] * 3), r"a list of images and a list of masks; list\(zip\(images, masks\)\)"),
        (5, "must have a length and items .*got int"),
        ({1, 2}, "must have a length and items .*got set"),
        (torch.zeros(3, 1, 4, 4), r"got an array; torch.utils.data.TensorDataset\(images, masks\) makes one"),
        (np.zeros((3, 1, 4, 4)), "got an array; torch.utils.data.TensorDataset"),
    ],
)
def test_what_is_no_data_set(dataset, message):
    with pytest.raises(TypeError, match=message):
        as_dataset(dataset)


def test_numbers_stay_numbers_and_all_else_becomes_text():
    import pandas

    for values, kind, expected in [
        ([1, 2], "i", [1, 2]),
        ([0.5, 2], "f", [0.5, 2.0]),
        ([True, False], "b", [True, False]),
        (np.array([1, 2], np.uint8), "u", [1, 2]),
        (["a", "b"], "U", ["a", "b"]),
        (["a", 1], "U", ["a", "1"]),
        (["a", None, float("nan"), pandas.NA], "U", ["a", "", "", ""]),
        ([Decimal("0.25"), Fraction(1, 2), 3], "f", [0.25, 0.5, 3.0]),
        ([Path("a/b.tif"), PurePosixPath("c")], "U", ["a/b.tif", "c"]),
        ([date(2020, 1, 2), None], "U", ["2020-01-02", ""]),
        ([datetime(2020, 1, 2, 3, 4), pandas.NaT], "U", ["2020-01-02 03:04:00", ""]),
        (np.array(["2020-01-02", "NaT"], "M8[D]"), "U", ["2020-01-02", ""]),
        ([timedelta(minutes=2), timedelta(0)], "f", [120.0, 0.0]),
        (pandas.Series([1, 2], index=[5, 6]), "i", [1, 2]),
        (pandas.Series(["x", "y"], dtype="category"), "U", ["x", "y"]),
        (pandas.Series(pandas.to_datetime(["2020-01-02 03:04"])), "U", ["2020-01-02 03:04:00"]),
    ]:
        column = as_column(values)
        assert column.dtype.kind == kind, values
        assert column.tolist() == expected
    for values, expected in [([None, 1.5], [np.nan, 1.5]), ([True, pandas.NA], [1, np.nan])]:
        np.testing.assert_array_equal(as_column(values), expected)


def test_columns_of_a_mapping_and_of_a_frame():
    import pandas

    assert check_columns(None, 3) == {}
    for columns in (
        {"n": [1, 2, 3], 5: ["a", "b", "c"]},
        pandas.DataFrame({"n": [1, 2, 3], 5: ["a", "b", "c"]}, index=[9, 8, 7]),
    ):
        checked = check_columns(columns, 3)
        assert list(checked) == ["n", "5"]
        assert checked["n"].tolist() == [1, 2, 3]
        assert checked["5"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ([1, 2, 3], TypeError, "columns must be a mapping of names to sequences, got list"),
        ("name", TypeError, "columns must be a mapping of names to sequences, got str"),
        ({"n": [1, 2]}, ValueError, "column 'n' has 2 entries for 3 items"),
        ({"n": [1, 2, 3], "m": []}, ValueError, "column 'm' has 0 entries for 3 items"),
        ({"n": np.zeros((3, 2))}, ValueError, r"column 'n' must have one entry per item.*\(3, 2\)"),
        ({"n": 4}, TypeError, "column 'n'"),
    ],
)
def test_columns_that_do_not_fit(columns, error, message):
    with pytest.raises(error, match=message):
        check_columns(columns, 3)
