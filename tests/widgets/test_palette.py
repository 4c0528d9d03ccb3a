import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from hdm_widgets.widgets.latent.palette import MISSING, SCORES, category_color, coloring, table_of, title

CIVIDIS = mpl.colormaps["cividis"]
RDBU = mpl.colormaps["RdBu"]


def labels(colored):
    return [(entry["label"], entry["count"]) for entry in colored.legend["entries"]]


# -- scales -------------------------------------------------------------------------------------------


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
    assert colored.legend["more"] == 0


def test_categories_of_one_size_are_in_the_order_of_their_names():
    assert labels(coloring("x", np.array(["b", "c", "a"]))) == [("a", 1), ("b", 1), ("c", 1)]


def test_flags_are_categories():
    colored = coloring("even", np.array([True, False, False]))
    assert colored.colors == [category_color(1), category_color(0), category_color(0)]
    assert labels(colored) == [("False", 2), ("True", 1)]


def test_the_first_fourteen_colors_differ_then_they_go_round():
    first = [category_color(i) for i in range(14)]
    assert len(set(first)) == 14
    assert MISSING not in first
    assert [category_color(i) for i in range(14, 20)] == first[:6]
    assert category_color(-1) == MISSING


def test_more_categories_than_the_legend_has_room_for():
    names = np.repeat([f"name {i:02}" for i in range(17)], np.arange(20, 3, -1))
    colored = coloring("name", names)
    assert labels(colored) == [(f"name {i:02}", 20 - i) for i in range(14)]
    assert colored.legend["more"] == 3
    assert colored.colors[-1] == category_color(16) == category_color(2)


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


def test_more_clusters_than_the_legend_has_room_for():
    colored = coloring("cluster", np.arange(-1, 16))
    assert labels(colored) == [(f"cluster {i}", 1) for i in range(14)]
    assert colored.legend["more"] == 3  # two clusters, and those in none


# -- names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("iou", "IoU"),
        ("expected_iou", "Expected IoU"),
        ("false_negative_area", "False negative area (px)"),
        ("my_own_column", "my own column"),
        ("plain", "plain"),
    ],
)
def test_names_for_people(name, expected):
    assert title(name) == expected


def test_a_table_has_256_colors_from_end_to_end():
    table = table_of(CIVIDIS)
    assert table == [to_hex(CIVIDIS(i)) for i in range(256)]
