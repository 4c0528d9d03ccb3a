import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from hdm_widgets.latent.ordered import OrderedColumn
from hdm_widgets.latent.titles import title
from hdm_widgets.widgets.latent import palette
from hdm_widgets.widgets.latent.columns import Column
from hdm_widgets.widgets.latent.palette import FOUND, MISSING, OTHER, SCORES, category_color, table_of

CIVIDIS = mpl.colormaps["cividis"]
RDBU = mpl.colormaps["RdBu"]


OWN = ("iou", "expected_iou", "dice", "precision", "recall", "truth_area", "pc1", "cluster")


def coloring(name, values, mode="auto", search=""):
    """Colors by a column, which is ours if it has one of our names."""
    return palette.coloring(Column(name, title(name), values, name in OWN), mode, search)


def labels(colored):
    return [(entry["label"], entry["count"]) for entry in colored.legend["entries"]]


# -- scales -------------------------------------------------------------------------------------------


def test_suspicions_have_no_color_that_means_something_else_behind_the_points():
    values = np.array([np.nan, 1e-4, 1e-2, 1.0])
    colored = palette.coloring(Column("suspicion", "Suspicion of the truth", values, True))
    assert colored.colors[0] == MISSING
    assert [colored.colors[1], colored.colors[3]] == [colored.legend["colors"][0], colored.legend["colors"][-1]]
    shown = np.array([to_rgb(color) for color in colored.legend["colors"]])
    red, green, blue = shown.T
    # All are purple, which no color of the scores is; they grow darker.
    assert ((green < red) & (red < blue)).all()
    red, green, blue = np.array([to_rgb(color) for color in table_of(SCORES)]).T
    assert not ((green < red) & (red < blue) & (blue - green > 0.05)).any()
    assert (np.diff(shown.sum(axis=1)) < 0).all()


@pytest.mark.parametrize("name", ["iou", "expected_iou", "dice", "precision", "recall"])
def test_scores_go_from_red_to_blue_between_0_and_1_whatever_their_range(name):
    colored = coloring(name, np.array([0.0, 0.5, 1.0, 0.25]))
    assert colored.colors[0] == to_hex(RDBU(0.1))
    assert colored.colors[2] == to_hex(RDBU(0.9))
    assert (colored.legend["low"], colored.legend["high"]) == (0.0, 1.0)
    red, blue = to_rgb(colored.colors[0]), to_rgb(colored.colors[2])
    assert red[0] - red[2] > 0.5
    assert blue[2] - blue[0] > 0.5
    # The same value has the same color in another selection of values.
    assert coloring(name, np.array([0.25, 0.3])).colors[0] == colored.colors[3]


def test_a_score_has_the_color_that_the_table_has_at_its_place():
    table = table_of(SCORES)
    values = np.array([0.0, 0.1, 0.4999, 0.5, 0.7, 0.999, 1.0])
    assert coloring("iou", values).colors == [table[entry] for entry in (0, 25, 127, 128, 179, 255, 255)]


def test_other_numbers_are_spread_over_their_own_range():
    colored = coloring("truth_area", np.array([100, 0, 50, 25]))
    assert colored.colors == [to_hex(CIVIDIS(entry)) for entry in (255, 0, 128, 64)]
    legend = colored.legend
    assert (legend["kind"], legend["title"]) == ("scale", "Area of the truth (px)")
    assert (legend["low"], legend["high"], legend["missing"]) == (0.0, 100.0, 0)
    assert len(legend["colors"]) == 33
    assert (legend["colors"][0], legend["colors"][-1]) == (to_hex(CIVIDIS(0)), to_hex(CIVIDIS(255)))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.float32, np.float64])
def test_numbers_of_any_type_have_the_same_colors(dtype):
    assert coloring("number", np.array([3, 120, 60], dtype)).colors == coloring("number", np.array([3, 120, 60])).colors


def test_numbers_below_zero():
    colored = coloring("pc1", np.array([-2.0, 0.0, 2.0]))
    assert colored.colors == [to_hex(CIVIDIS(entry)) for entry in (0, 128, 255)]
    assert (colored.legend["low"], colored.legend["high"]) == (-2.0, 2.0)


def test_numbers_that_are_all_the_same_have_the_lowest_color():
    colored = coloring("number", np.array([7.0, 7.0]))
    assert colored.colors == [to_hex(CIVIDIS(0))] * 2
    assert (colored.legend["low"], colored.legend["high"]) == (7.0, 7.0)


@pytest.mark.parametrize("name", ["iou", "number"])
def test_what_is_missing_is_grey_counted_and_no_part_of_the_range(name):
    values = np.array([np.nan, 0.2, np.inf, 0.6, -np.inf])
    colored = coloring(name, values)
    known = coloring(name, values[[1, 3]])
    assert colored.colors == [MISSING, known.colors[0], MISSING, known.colors[1], MISSING]
    assert colored.legend == {**known.legend, "missing": 3}
    assert colored.legend["missing_label"] == ("not defined" if name == "iou" else "missing")
    assert MISSING not in known.colors


@pytest.mark.parametrize("name", ["iou", "number"])
def test_nothing_known_at_all(name):
    colored = coloring(name, np.full(3, np.nan))
    assert colored.colors == [MISSING] * 3
    assert (colored.legend["low"], colored.legend["high"], colored.legend["missing"]) == (0.0, 1.0, 3)


# -- categories ---------------------------------------------------------------------------------------


def test_texts_are_categories_the_commonest_first():
    colored = coloring("land_use", np.array(["field", "town", "town", "forest", "town", "field"]))
    town, field, forest = (category_color(i) for i in range(3))
    assert colored.colors == [field, town, town, forest, town, field]
    assert labels(colored) == [("town", 3), ("field", 2), ("forest", 1)]
    assert [entry["color"] for entry in colored.legend["entries"]] == [town, field, forest]
    assert (colored.legend["kind"], colored.legend["title"]) == ("categories", "land use")


def test_categories_of_one_size_are_in_the_order_of_their_names():
    assert labels(coloring("x", np.array(["b", "c", "a"]))) == [("a", 1), ("b", 1), ("c", 1)]


def test_flags_are_categories():
    colored = coloring("even", np.array([True, False, False]))
    assert colored.colors == [category_color(1), category_color(0), category_color(0)]
    assert labels(colored) == [("False", 2), ("True", 1)]


def test_the_first_fourteen_colors_differ_and_the_others_are_gray():
    first = [category_color(i) for i in range(14)]
    assert len({*first, MISSING, OTHER, FOUND}) == 16  # what was found is one of the fourteen
    assert {category_color(i) for i in range(14, 60)} == {OTHER}
    assert category_color(-1) == MISSING


@pytest.mark.parametrize("count", [15, 17, 40, 50])
def test_more_categories_than_colors_are_gray_and_counted(count):
    sizes = np.arange(count + 3, 3, -1)
    colored = coloring("name", np.repeat([f"name {i:02}" for i in range(count)], sizes))
    others = (f"other ({count - 14})", int(sizes[14:].sum()))
    assert labels(colored) == [(f"name {i:02}", count + 3 - i) for i in range(14)] + [others]
    assert [entry["color"] for entry in colored.legend["entries"]] == [category_color(i) for i in range(14)] + [OTHER]
    assert colored.colors == [color for i in range(count) for color in [category_color(i)] * sizes[i]]


@pytest.mark.parametrize("values", [["a", "", "b", "b"], ["", "", "", ""], ["", "x", "y", "z"]])
def test_missing_texts_are_gray_named_and_come_last(values):
    colored = coloring("kind", np.array(values))
    known = coloring("kind", np.array([value or "none" for value in values]))
    assert [color == MISSING for color in colored.colors] == [not value for value in values]
    assert colored.legend["entries"][-1] == {"color": MISSING, "label": "missing", "count": values.count("")}
    assert len(labels(colored)) == len(labels(known))


def test_missing_values_come_after_other_categories():
    values = np.array([f"name {i % 20:02}" for i in range(60)] + [""] * 5)
    colored = coloring("name", values)
    assert labels(colored)[-2:] == [("other (6)", 18), ("missing", 5)]
    assert colored.colors[-1] == MISSING != OTHER == colored.colors[19]


def test_whole_numbers_are_a_scale_or_categories_in_their_order():
    values = np.array([10.0, 9, np.nan, 10, 2])
    assert coloring("label", values).legend["kind"] == "scale"
    colored = coloring("label", values, "categories")
    assert colored.legend["kind"] == "categories"
    assert labels(colored) == [("2", 1), ("9", 1), ("10", 2), ("missing", 1)]
    assert colored.colors == [category_color(2), category_color(1), MISSING, category_color(2), category_color(0)]


def test_of_many_whole_numbers_the_commonest_have_colors_in_their_order():
    values = np.concatenate([np.arange(20), [3, 19, 19]])
    colored = coloring("label", values, "categories")
    shown = [*range(13), 19]
    assert labels(colored) == [(str(i), {3: 2, 19: 3}.get(i, 1)) for i in shown] + [("other (6)", 6)]
    assert colored.colors[19] == category_color(13)
    assert colored.colors[13] == OTHER


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("number", np.array([1.5, 2, 3])),
        ("truth_area", np.array([1, 2, 3])),
        ("pc1", np.array([1.0, 2, 3])),
        ("number", np.full(3, np.nan)),
    ],
)
def test_other_numbers_are_a_scale_whatever_is_asked_for(name, values):
    assert coloring(name, values, "categories").legend == coloring(name, values).legend
    assert coloring(name, values).legend["kind"] == "scale"


@pytest.mark.parametrize("values", [np.array(["a", "b"]), np.array([True, False]), np.array(["2020-01-01x", "b"])])
def test_what_is_no_number_is_no_scale(values):
    assert coloring("kind", values, "scale").legend["kind"] == "categories"


# -- ordered categories -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 5, 30])
def test_ordered_categories_keep_their_order_in_colors_of_a_scale(count):
    names = [f"grade {chr(97 + (7 * i) % count)}" if count == 5 else f"grade {-i}" for i in range(count)]
    values = OrderedColumn(np.array([names[-1], names[0], names[-1], ""]), tuple(names))
    colored = coloring("grade", values)
    ends = [to_hex(CIVIDIS(0.0)), to_hex(CIVIDIS(1.0))]
    assert colored.colors == [ends[1], ends[0], ends[1], MISSING]
    expected = [(names[0], 1), *((name, 0) for name in names[1:-1]), (names[-1], 2), ("missing", 1)]
    assert labels(colored) == expected
    colors = [entry["color"] for entry in colored.legend["entries"][:-1]]
    assert len(set(colors)) == count
    brightness = [sum(to_rgb(color)) for color in colors]
    assert brightness == sorted(brightness)


def test_the_order_of_a_part_is_that_of_the_whole():
    whole = OrderedColumn(np.array(["low", "high", "", "low"]), ("low", "middle", "high"))
    assert whole.codes.tolist() == [0, 2, -1, 0]
    assert whole[[1, 0]].codes.tolist() == [2, 0]
    assert whole[1:].view().codes.tolist() == [2, -1, 0]


# -- dates --------------------------------------------------------------------------------------------


def test_dates_are_a_scale_with_round_dates_on_it():
    colored = coloring("taken", np.array(["2020-01-01", "2020-12-31", "", "2020-07-01"]))
    assert colored.colors == [*(to_hex(CIVIDIS(entry)) for entry in (0, 255)), MISSING, to_hex(CIVIDIS(127))]
    legend = colored.legend
    assert (legend["kind"], legend["missing"], legend["missing_label"]) == ("scale", 1, "missing")
    assert (legend["dates"]["low"], legend["dates"]["high"]) == ("2020-01-01", "2020-12-31")
    assert [tick["label"] for tick in legend["dates"]["ticks"]] == ["Jan 2020", "Apr 2020", "Jul 2020", "Oct 2020"]
    assert [tick["at"] for tick in legend["dates"]["ticks"]] == pytest.approx([0, 91 / 365, 182 / 365, 274 / 365])


def test_dates_as_categories_are_in_their_order():
    values = np.array(["2021-03-01", "2020-05-01", "2021-03-01"])
    assert labels(coloring("taken", values, "categories")) == [("2020-05-01", 1), ("2021-03-01", 2)]


def test_one_date_has_no_ticks():
    legend = coloring("taken", np.array(["2021-03-01"] * 2)).legend
    assert legend["dates"] == {"low": "2021-03-01", "high": "2021-03-01", "ticks": []}


# -- texts that are searched --------------------------------------------------------------------------

FILES = np.array([f"tile_{i:03}.tif" for i in range(55)] + ["", "Ä_Tile_7.png", "Ä_Tile_7.png"])


def test_many_texts_are_gray_until_one_is_searched_but_for_those_that_come_twice():
    colored = coloring("file", FILES)
    assert colored.legend["kind"] == "search"
    assert labels(colored) == [("Ä_Tile_7.png", 2), ("other (55)", 55), ("missing", 1)]
    assert colored.colors == [OTHER] * 55 + [MISSING] + [category_color(0)] * 2


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("tile_00", list(range(10))),
        (" TILE_7 ", [56, 57]),
        ("ä", [56, 57]),
        (".tif", list(range(55))),
        ("nowhere", []),
    ],
)
def test_texts_that_hold_what_is_searched_are_colored(search, found):
    colored = coloring("file", FILES, search=search)
    assert np.flatnonzero(np.array(colored.colors) == FOUND).tolist() == found
    different = len(set(FILES[found]))
    assert labels(colored) == [
        (f"holds “{search.strip()}”", len(found)),
        (f"other ({56 - different})", 57 - len(found)),
        ("missing", 1),
    ]
    assert (colored.legend["kind"], colored.legend["search"]) == ("search", search.strip())
    assert colored.colors.count(MISSING) == 1


# -- clusters -----------------------------------------------------------------------------------------


def test_clusters_have_the_color_of_their_number_whatever_their_size():
    colored = coloring("cluster", np.array([1, 1, 0, 2, 1]))
    assert colored.colors == [category_color(i) for i in (1, 1, 0, 2, 1)]
    assert labels(colored) == [("cluster 0", 1), ("cluster 1", 3), ("cluster 2", 1)]
    assert colored.legend["title"] == "Cluster"


def test_items_in_no_cluster_are_grey_and_come_last():
    colored = coloring("cluster", np.array([-1, 0, 1, -1, 0]))
    assert colored.colors == [MISSING, category_color(0), category_color(1), MISSING, category_color(0)]
    assert labels(colored) == [("cluster 0", 2), ("cluster 1", 1), ("in no cluster", 2)]
    assert colored.legend["entries"][-1]["color"] == MISSING


def test_no_clusters_at_all():
    colored = coloring("cluster", np.full(4, -1))
    assert colored.colors == [MISSING] * 4
    assert labels(colored) == [("in no cluster", 4)]


def test_more_clusters_than_colors_are_gray():
    colored = coloring("cluster", np.arange(-1, 16))
    assert labels(colored) == [(f"cluster {i}", 1) for i in range(14)] + [("other (2)", 2), ("in no cluster", 1)]
    assert colored.colors[15:] == [OTHER, OTHER]


def test_a_table_has_256_colors_from_end_to_end():
    table = table_of(CIVIDIS)
    assert table == [to_hex(CIVIDIS(i)) for i in range(256)]
