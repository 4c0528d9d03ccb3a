"""How columns of a data set are shown: what they are called, in which way, and how a user changes that."""

from datetime import UTC, datetime

import numpy as np
import pandas
import pytest
import traitlets
from matplotlib import colormaps
from matplotlib.colors import to_hex
from on_screen import LatentScreen
from torch.utils.data import ConcatDataset, Subset

import hdm_widgets as hw
from hdm_widgets.latent.ordered import OrderedColumn
from hdm_widgets.widgets.latent.columns import (
    Column,
    Texts,
    date_text,
    date_ticks,
    dates_in,
    usable_columns,
    value_text,
)
from hdm_widgets.widgets.latent.palette import FOUND, MISSING, OTHER, category_color

COUNT = 60


@pytest.fixture(scope="module")
def sizes():
    return pandas.Categorical(np.resize(["small", "large", None, "medium"], COUNT), ["small", "medium", "large"], True)


@pytest.fixture(scope="module")
def mixed(map_of, make_places, sizes):
    """A space of sixty items with a column of every kind."""
    index = np.arange(COUNT)
    return map_of(
        make_places(
            COUNT,
            columns={
                "file": [f"tile_{i:02}.tif" for i in index],
                "taken": [f"20{10 + i // 12}-{1 + i % 12:02}-15" for i in index],
                "label": index % 5,
                "height": np.where(index == 3, np.nan, index / 7),
                "region": ["" if i % 10 == 9 else f"region {i % 20}" for i in index],
                "size": pandas.Series(sizes),
                "IoU": ["good" if i % 2 else "bad" for i in index],
                "iou": index / 100,
                "a b": index,
                "a_b": index,
            },
        )
    )


def millis(*date):
    return datetime(*date, tzinfo=UTC).timestamp() * 1000


# -- which columns there are, and what they are called ------------------------------------------------


def test_every_column_is_listed_in_the_way_that_it_can_be_shown(mixed):
    columns = usable_columns(mixed)
    assert list(columns)[:3] == ["iou", "expected_iou", "cluster"]
    assert {name: column.modes for name, column in columns.items() if not column.own} == {
        "place": ("categories",),
        "number": ("scale", "categories"),
        "even": ("categories",),
        "file": ("search",),
        "taken": ("scale", "categories"),
        "label": ("scale", "categories"),
        "height": ("scale",),
        "region": ("categories",),
        "size": ("categories",),
        "IoU": ("categories",),
        "data_iou": ("scale",),
        "a b": ("scale", "categories"),
        "a_b": ("scale", "categories"),
    }
    assert "item" not in columns
    assert all(column.modes == ("scale",) for name, column in columns.items() if column.own and name != "cluster")


def test_no_two_columns_have_the_same_title(mixed):
    titles = {name: column.title for name, column in usable_columns(mixed).items()}
    assert len({text.casefold() for text in titles.values()}) == len(titles)
    assert {name: titles[name] for name in ("iou", "data_iou", "IoU", "a b", "a_b", "taken")} == {
        "iou": "IoU",
        "data_iou": "data iou",
        "IoU": "IoU (data set)",
        "a b": "a b",
        "a_b": "a b (data set)",
        "taken": "taken",
    }


def test_a_column_of_the_data_set_with_a_name_of_ours_keeps_its_values(explore, mixed):
    explorer = explore(mixed, color_by="IoU")
    shown = LatentScreen(explorer)
    facts = shown.legend.ask("thumbnail", item=7)[0]["facts"]
    assert facts[:3] == [["IoU", value_text(mixed.iou_[7])], ["IoU (data set)", "good"], ["place", "place 0"]]
    explorer.color_by = "data_iou"
    assert shown.legend.ask("thumbnail", item=7)[0]["facts"][1] == ["data iou", "0.07"]
    assert shown.legend["legend"]["high"] == 0.59
    assert ["data_iou", "data iou"] in shown.toolbar["colors"]
    assert shown.gallery["caption_by"] == "data iou"


def test_without_columns_of_the_data_set_there_are_ours(map_of, make_places):
    places = make_places(9)
    places.columns = {}
    columns = usable_columns(map_of(places))
    assert all(column.own for column in columns.values())
    assert [columns[name].title for name in ("pc1", "truth_area")] == ["PC 1", "Area of the truth (px)"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(np.nan, "missing"), ("", "missing"), (0.12345, "0.123"), (7, "7"), (True, "True"), ("a", "a")],
)
def test_values_as_texts(value, text):
    assert value_text(value) == text
    assert value_text(value, "not defined") == text.replace("missing", "not defined")


# -- what the user chooses ----------------------------------------------------------------------------


def test_whole_numbers_can_be_shown_as_categories(explore, mixed):
    explorer = explore(mixed, color_by="label")
    shown = LatentScreen(explorer)
    assert shown.legend["legend"]["kind"] == "scale"
    assert shown.toolbar["color_modes"] == [["scale", "Scale"], ["categories", "Categories"]]
    shown.toolbar.set(color_as="categories")
    assert explorer.color_as == "categories"
    assert [entry["label"] for entry in shown.legend["legend"]["entries"]] == list("01234")
    assert shown.points.colors[:6] == [category_color(i) for i in (0, 1, 2, 3, 4, 0)]
    explorer.color_by = "height"  # which can be a scale only
    assert shown.toolbar["color_modes"] == []
    assert (shown.legend["legend"]["kind"], shown.legend["legend"]["missing"]) == ("scale", 1)
    explorer.color_by = "number"
    assert shown.legend["legend"]["kind"] == "categories"
    explorer.color_as = "scale"
    assert shown.legend["legend"]["kind"] == "scale"
    explorer.color_by = "region"
    assert shown.legend["legend"]["kind"] == "categories"
    assert shown.legend["legend"]["entries"][-2:] == [
        {"color": OTHER, "label": "other (4)", "count": 12},
        {"color": MISSING, "label": "missing", "count": 6},
    ]


def test_the_way_to_color_can_be_given_and_is_checked(explore, mixed):
    explorer = explore(mixed, color_by="label", color_as="categories")
    assert LatentScreen(explorer).legend["legend"]["kind"] == "categories"
    with pytest.raises(traitlets.TraitError, match="color_as must be one of 'auto', 'scale', 'categories', got 'dots'"):
        explorer.color_as = "dots"
    with pytest.raises(ValueError, match="color_as must be one of"):
        hw.LatentExplorer(mixed, color_as="search")


def test_the_texts_of_a_column_are_found_once_for_all_searches(explore, mixed, monkeypatch):
    explorer = explore(mixed, color_by="file")
    found, of = [], Texts.of
    monkeypatch.setattr(Texts, "of", lambda values: found.append(values) or of(values))
    for search in ("t", "ti", "tile_00", ""):
        explorer.search = search
    assert found == []
    explorer.color_by = "iou"
    explorer.color_by = "file"
    assert len(found) == 1


def test_texts_of_many_values_are_searched(explore, mixed):
    explorer = explore(mixed, color_by="file")
    shown = LatentScreen(explorer)
    assert shown.legend["legend"]["kind"] == "search"
    assert shown.points.colors == [OTHER] * COUNT
    shown.legend.set(search="TILE_0")
    assert explorer.search == "TILE_0"
    assert shown.points.colors == [FOUND] * 10 + [OTHER] * 50
    assert [(entry["label"], entry["count"]) for entry in shown.legend["legend"]["entries"]] == [
        ("holds “TILE_0”", 10),
        ("other (50)", 50),
    ]
    explorer.color_by = "place"
    assert (explorer.search, shown.legend["search"]) == ("", "")
    assert shown.legend["legend"]["kind"] == "categories"


def test_dates_are_a_scale_from_the_first_to_the_last(explore, mixed):
    shown = LatentScreen(explore(mixed, color_by="taken"))
    legend = shown.legend["legend"]
    assert (legend["kind"], legend["dates"]["low"], legend["dates"]["high"]) == ("scale", "2010-01-15", "2014-12-15")
    assert [tick["label"] for tick in legend["dates"]["ticks"]] == ["2011", "2012", "2013", "2014"]
    cividis = colormaps["cividis"]
    assert (shown.points.colors[0], shown.points.colors[-1]) == (to_hex(cividis(0)), to_hex(cividis(255)))


def test_ordered_categories_keep_their_order_also_in_a_file(explore, mixed, sizes, tmp_path):
    mixed.save(tmp_path / "space")
    for space in (mixed, hw.LatentSpace.load(tmp_path / "space")):
        shown = LatentScreen(explore(space, color_by="size"))
        entries = [(entry["label"], entry["count"]) for entry in shown.legend["legend"]["entries"]]
        assert entries == [("small", 15), ("medium", 15), ("large", 15), ("missing", 15)]
        assert space.table()["size"].categories == ("small", "medium", "large")
        np.testing.assert_array_equal(space.table()["size"].codes, sizes.codes)


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        ([("c", "a", "b")] * 2, ("c", "a", "b")),
        ([("c", "a", "b"), ("a", "b", "c")], None),
        ([("c", "a", "b"), None], None),
    ],
    ids=["the same", "another", "one has none"],
)
def test_the_order_of_data_sets_within_a_data_set(map_of, make_places, orders, expected):
    parts = []
    for order in orders:
        values = np.resize(["b", "c", "a"], 9)
        grades = values if order is None else pandas.Series(pandas.Categorical(values, order, ordered=True))
        parts.append(make_places(9, columns={"grade": grades}))
    column = map_of(ConcatDataset([Subset(parts[0], [5, 1, 0]), parts[1]])).columns_["grade"]
    assert column.tolist()[:4] == ["a", "c", "b", "b"]
    assert getattr(column, "categories", None) == expected


@pytest.mark.parametrize(
    ("given", "kind", "entries"),
    [
        (["a", None, "a"], "categories", [("a", 6), ("missing", 3)]),
        (["a", np.nan, ""], "categories", [("a", 3), ("missing", 6)]),
        ([pandas.Timestamp(2020, 1, 2), pandas.NaT, pandas.Timestamp(2020, 1, 5)], "scale", 3),
        ([7, None, 9], "scale", 3),
        (pandas.array([7, None, None] * 3, "Int64"), "scale", 6),
        ([None, None, None], "categories", [("missing", 9)]),
    ],
    ids=["None", "NaN and empty", "NaT", "number", "pandas' integers", "nothing"],
)
def test_what_is_missing_in_a_column_is_counted_as_missing(explore, map_of, make_places, given, kind, entries):
    column = given if len(given) == 9 else given * 3
    explorer = explore(map_of(make_places(9, columns={"it": column})), color_by="it")
    shown = LatentScreen(explorer)
    legend = shown.legend["legend"]
    assert legend["kind"] == kind
    if kind == "scale":
        assert (legend["missing"], legend["missingLabel"]) == (entries, "missing")
    else:
        assert [(entry["label"], entry["count"]) for entry in legend["entries"]] == entries
    assert shown.points.colors[1] == MISSING
    assert ["it", "missing"] in shown.legend.ask("thumbnail", item=1)[0]["facts"]


@pytest.mark.parametrize("kind", ["Categorical", "Series", "numbers", "unordered", "DataFrame"])
def test_the_order_of_a_categorical_of_pandas_is_read(map_of, make_places, kind):
    values, categories = np.resize(["b", "c", "a"], 9), ["c", "a", "b"]
    given = pandas.Categorical(values, categories, ordered=kind != "unordered")
    if kind == "numbers":
        given = pandas.Categorical(np.resize([2, 3, 1], 9), [3, 1, 2], ordered=True)
    places = make_places(9)
    places.columns = {"grade": given if kind == "Categorical" else pandas.Series(given)}
    if kind == "DataFrame":
        places.columns = pandas.DataFrame({"grade": given})
    column = map_of(places).columns_["grade"]
    if kind == "unordered":
        assert not isinstance(column, OrderedColumn)
        return
    assert column.categories == ((3, 1, 2) if kind == "numbers" else ("c", "a", "b"))
    assert column.codes.tolist() == given.codes.tolist()
    assert Column("grade", "grade", column, False).modes == ("categories",)


# -- dates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2020-01-02", "1969-12-31"], [millis(2020, 1, 2), -86_400_000]),
        (["2020-01-02 03:04:05", ""], [millis(2020, 1, 2, 3, 4, 5), np.nan]),
        (["2020-01-02T03:00:00+02:00", "2020-01-02T01:00:00Z"], [millis(2020, 1, 2, 1)] * 2),
        (["2020-01-02T00:00:00.123456789"], [millis(2020, 1, 2) + 123.456]),
    ],
)
def test_texts_that_are_dates(texts, expected):
    np.testing.assert_allclose(dates_in(Texts.of(np.array(texts))), expected, atol=1e-3)


@pytest.mark.parametrize(
    "texts", [["2020"], ["20200102"], ["2020-13-01"], ["2020-01-02", "x"], ["", ""], ["2020-01-02_a"], ["1"]]
)
def test_texts_that_are_no_dates(texts):
    assert dates_in(Texts.of(np.array(texts))) is None


def test_numbers_are_no_dates():
    assert Column("number", "number", np.arange(3), False).dates is None


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        ((2020, 1, 1), (2020, 1, 1, 3), ["00:00", "01:00", "02:00", "03:00"]),
        ((2020, 3, 1, 5), (2020, 3, 4), ["2 Mar", "3 Mar", "4 Mar"]),
        ((2020, 1, 20), (2020, 2, 20), ["20 Jan", "30 Jan", "9 Feb", "19 Feb"]),
        ((2020, 1, 2), (2020, 5, 2), ["Feb 2020", "Mar 2020", "Apr 2020", "May 2020"]),
        ((2019, 11, 2), (2020, 11, 2), ["Jan 2020", "Apr 2020", "Jul 2020", "Oct 2020"]),
        ((2015, 6, 1), (2019, 6, 1), ["2016", "2017", "2018", "2019"]),
        ((1900, 1, 1), (2020, 1, 1), ["1900", "1950", "2000"]),
    ],
)
def test_ticks_are_round_dates(low, high, labels):
    ticks = date_ticks(millis(*low), millis(*high))
    assert [label for _, label in ticks] == labels
    moments = [moment for moment, _ in ticks]
    assert moments == sorted(moments)
    assert millis(*low) <= moments[0] < moments[-1] <= millis(*high)
    if labels[0] == "2016":
        assert moments == [millis(year, 1, 1) for year in (2016, 2017, 2018, 2019)]


def test_a_date_without_a_time_has_none():
    assert [date_text(millis(2020, 1, 2)), date_text(millis(2020, 1, 2, 3, 4))] == ["2020-01-02", "2020-01-02 03:04"]
