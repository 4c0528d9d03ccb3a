import numpy as np
import pandas as pd
import pytest
from _explanation_tables import (
    against_first_look,
    by_image,
    compared,
    discs_or_squares,
    first_places,
    measures_by_fill,
    plot,
    table,
    tables,
)

METHODS = {"HDM flipped area, blur": 0.6, "HDM flipped area, blur, averaged": 0.8, "RISE": 0.5}


@pytest.fixture
def frame():
    """Two seeds of two kinds, with three images; the second seed's scores are 0.1 higher."""
    rows = [
        (kind, seed, image, method, score, (value if score != "deletion" else 1 - value) + 0.1 * seed + 0.01 * image)
        for kind in ("shape", "mark")
        for method, value in METHODS.items()
        for score in ("mass", "rank", "deletion")
        for seed in (0, 1)
        for image in (0, 1, 2)
    ]
    return pd.DataFrame(rows, columns=["kind", "seed", "image", "method", "score", "value"])


def test_images_are_the_mean_over_networks_of_their_kind(frame):
    values = by_image(frame, "rank", ["mark"])
    assert list(values.columns) == list(METHODS)
    np.testing.assert_allclose(values["RISE"], [0.55, 0.56, 0.57])
    assert by_image(frame, "rank", ["roads"]).empty


def test_a_row_has_means_with_their_intervals(frame):
    text = table(
        ["RISE"], [("rank accuracy", by_image(frame, "rank", ["mark"])), ("none", by_image(frame, "x", ["mark"]))]
    )
    assert text.splitlines() == [
        "| method | rank accuracy | none |",
        "|---|---|---|",
        "| RISE | 0.56 (0.55 to 0.57) |  |",
    ]


def test_first_places_compare_the_best_of_ours_with_the_best_of_the_others(frame):
    text = first_places(frame, ["shape", "mark"], [])
    assert (
        "| rank accuracy | cues | HDM flipped area, blur, averaged: 0.86 | RISE: 0.56 | 0.30 (0.30 to 0.30) |" in text
    )
    # Less is better here.
    assert "| deletion | cues | HDM flipped area, blur, averaged: 0.26 | RISE: 0.56 | 0.30 (0.30 to 0.30) |" in text
    assert "pointing" not in text


def test_the_best_is_chosen_on_other_kinds_than_it_is_compared_on(frame):
    # Of the marks alone, this would be the best: it is chosen for the shapes, where it is not.
    lucky = (frame["method"] == "HDM flipped area, blur") & (frame["kind"] == "mark") & (frame["score"] == "rank")
    frame.loc[lucky, "value"] += 0.3
    differences = compared(frame, "rank", ["shape", "mark"])
    np.testing.assert_allclose(differences, [0.1] * 3 + [0.3] * 3)


def test_scans_are_a_table_of_measures_and_fills():
    columns = ["HDM iou, black", "HDM iou, black, averaged", "HDM iou, blur", "HDM iou, blur, averaged", "RISE"]
    values = pd.DataFrame([[0.1, 0.2, 0.3, 0.4, 0.5]], columns=columns)
    values["HDM iou, black, square"] = 0.7
    values["HDM as published, to the truth, raw"] = 0.6
    assert measures_by_fill(values).splitlines() == [
        "| measure | black | blur |",
        "|---|---|---|",
        "| iou | 0.10 | 0.30 |",
        "| iou, averaged | 0.20 | 0.40 |",
    ]


@pytest.fixture
def choices():
    """Scores of scans that differ from the first look in one choice or in several; deletion is as good as rank."""
    ranks = {
        "HDM flipped area, blur": 0.3,
        "HDM flipped area, blur, averaged": 0.7,
        "HDM flipped area, black": 0.2,
        "HDM flipped area, black, averaged": 0.75,
        "HDM 1 - IoU, blur, averaged": 0.5,
        "HDM flipped area, blur, square": 0.4,
        "HDM flipped area, blur, square, averaged": 0.6,
        "HDM to the truth, worse only": 0.1,
        "RISE": 0.9,
    }
    rows = [
        ("mark", 0, image, method, score, 0.1 * image + (1 - value if score == "deletion" else value))
        for method, value in ranks.items()
        for score in ("rank", "mass", "top", "deletion")
        for image in (0, 1)
    ]
    return pd.DataFrame(rows, columns=["kind", "seed", "image", "method", "score", "value"])


def differences(rows):
    return [f"| {label} |" + f" {value} ({value} to {value}) |" * 4 for label, value in rows.items()]


def test_the_first_look_is_compared_image_by_image_with_what_differs_in_one_choice(choices):
    lines = against_first_look(choices, ["mark"]).splitlines()
    assert lines[0] == "| better than | rank accuracy | relevance mass | cue in the top 5 % | deletion |"
    expected = {"painted": "0.40", "black": "-0.05", "1 - IoU": "0.20", "square": "0.10", "RISE": "-0.20"}
    assert lines[2:] == differences(expected)


def test_discs_are_compared_with_the_squares_around_them(choices):
    expected = {"flipped area, blur, painted": "-0.10", "flipped area, blur, averaged": "0.10"}
    assert discs_or_squares(choices, ["mark"]).splitlines()[2:] == differences(expected)


def test_tables_and_plot_have_every_method(frame, tmp_path):
    text = tables(frame, ["mark 0: fine"])
    assert text.startswith("- mark 0: fine\n")
    rows = ["| HDM flipped area, blur, averaged", "| HDM flipped area, blur", "| RISE"]
    # The others are in one table more, beside the first look.
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith(("| HDM", "| RISE"))] == [
        "| RISE", *rows * 4,
    ]  # fmt: skip
    path = tmp_path / "plot.svg"
    plot(frame, path)
    drawn = path.read_text(encoding="utf-8")
    assert all(f">{method}<" in drawn for method in METHODS)
    plot(frame, path)
    assert path.read_text(encoding="utf-8") == drawn
