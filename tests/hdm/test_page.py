"""A scan as an HTML page: what is in the file. That the page shows it is tested in `js/` and in a real browser."""

import base64
import dataclasses
import hashlib
import html
import re

import numpy as np
import page_scans
import pytest
import torch
from page_file import PageFile

from hdm_widgets import hdm
from hdm_widgets.metrics import windowed_surface


@pytest.fixture(scope="module")
def results():
    return {name: scan() for name, scan in page_scans.SCANS.items()}


@pytest.fixture
def page(tmp_path):
    """Write a page and read it."""

    def write(result, **options):
        path = tmp_path / "page.html"
        result.to_html(path, **options)
        return PageFile(path.read_text(encoding="utf-8"))

    return write


def value_type(value):
    """A message with the kind of each value in its place."""
    if isinstance(value, dict):
        return {name: value_type(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [value_type(entry) for entry in value]
    return type(value).__name__


def test_the_scans_that_the_scripts_tests_read_have_the_form_of_this_version():
    advice = "python tests/hdm/page_scans.py writes the file anew"
    assert value_type(page_scans.stored()) == value_type(page_scans.contents()), advice


def test_a_page_is_whole_and_has_everything_inside(results, page):
    read = page(results["plain"], model_name="Small network")
    assert read.open == []
    assert read.text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in read.tags
    # Nothing is loaded, and a browser is told to refuse if anything were.
    assert read.addresses == []
    (policy,) = (values["content"] for tag, values in read.tags if "http-equiv" in values)
    digest = base64.b64encode(hashlib.sha256(read.texts["script"].encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"script-src 'sha256-{digest}'"]
    assert set(re.findall(r"https?://[\w./]+", read.text)) <= {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1998/Math/MathML", "http://www.w3.org/1999/xhtml",
    }  # fmt: skip


def test_a_page_says_what_was_scanned(results, page):
    read = page(results["plain"], title="Scan 7", model_name="Small network")
    assert (read.texts["title"], read.texts["h1"]) == ("Scan 7", "Scan 7")
    assert "Small network drew a new mask" in read.texts["p"]
    facts = html.unescape(re.sub(r"<[^>]+>", " ", read.text[read.text.index("<dl>") : read.text.index("</dl>")]))
    for fact in (
        "Model  Small network", "10 x 14 px, 1 channel", "12 of 4 px, 3 px from one to the next",
        "Fill  black (as published)",
        "Hausdorff distance in px of each mask, compared with the ground truth", str(results["plain"].reading),
    ):  # fmt: skip
        assert fact in facts


@pytest.mark.parametrize(
    ("name", "explained", "said"),
    [
        (
            "plain",
            ["truth", "prediction"],
            "the ground truth; the other measures on this page are of the same masks",
        ),
        ("no masks", ["truth"], "compared with the ground truth"),
        ("one object", ["one object of the truth", "prediction"], "compared with one object of the ground truth;"),
        ("one object of the prediction", ["prediction"], "compared with one object of the mask without a disc;"),
    ],
)
def test_a_page_says_what_masks_are_compared_with(results, page, name, explained, said):
    read = page(results[name])
    assert said in html.unescape(read.text)
    assert read.data["traits"]["_explained_by"] == explained
    assert read.data["traits"]["explain_by"] == explained[0]


@pytest.mark.parametrize(("name", "times"), [("plain", 2), ("classes", 6), ("no truth", 1), ("no masks", 0)])
def test_nearest_outlines_are_found_once_for_all_measures_of_a_mask(results, page, monkeypatch, name, times):
    """Once for every class and what its masks are compared with, though two measures are of surfaces."""
    found, nearest = [], windowed_surface.NearestOutline
    monkeypatch.setattr(windowed_surface, "NearestOutline", lambda *given: found.append(given) or nearest(*given))
    page(results[name])
    assert len(found) == times


@pytest.mark.parametrize("name", list(page_scans.SCANS))
def test_values_are_those_that_python_measures(results, page, name):
    result = results[name]
    answers = page(result).data["answers"]
    targets = result.classes or (result.settings.target,)
    bys = ["prediction"] if result.settings.of_prediction else ["truth", "prediction"]
    own = result.settings.distance
    names = ["hausdorff", "hausdorff95", "mean_surface", "iou", "dice", "area", "flipped"]
    if name == "no masks":
        names, bys = [own], ["truth"]
    if name == "one object":
        bys[0] = "one object of the truth"
    asked = [(target, by, measure) for target in targets for by in bys for measure in names]
    assert [(one["target"], one["explainBy"], one["measure"]) for one in answers] == asked
    for answer, (target, by, measure) in zip(answers, asked, strict=True):
        one = result.for_class(target) if result.classes else result
        if (measure, by) != (own, bys[0]):
            one = one.measure(measure, "prediction" if by != bys[0] else None)
        assert answer["about"]["ofObject"] is one.settings.of_object is (name.startswith("one object") and by == bys[0])
        np.testing.assert_array_equal(answer["map"]["values"], one.values)
        assert answer["map"]["baseline"] == (one.baseline if np.isfinite(one.baseline) else str(one.baseline))
        assert answer["about"]["truthEmpty"] is not one.segment.any()


@pytest.mark.parametrize("name", ["plain", "classes", "part of the image"])
def test_masks_are_those_of_the_scan(results, page, name):
    result = results[name]
    for stored in page(result).data["classes"]:
        one = result.for_class(stored["target"]) if result.classes else result
        plain = np.unpackbits(np.frombuffer(stored["prediction"], np.uint8), count=140).reshape(10, 14)
        np.testing.assert_array_equal(plain, one.baseline_mask)
        masks = stored["masks"]
        sizes = [-(-(row1 - row0) * (col1 - col0) // 8) for row0, col0, row1, col1 in masks["boxes"]]
        for (row, col), number in np.ndenumerate(masks["numbers"]):
            assert (number >= 0) == one.measured[row, col]
            if number < 0:
                continue
            mask = plain.copy()
            row0, col0, row1, col1 = masks["boxes"][number]
            flips = np.frombuffer(masks["flips"], np.uint8)[sum(sizes[:number]) :]
            count = (row1 - row0) * (col1 - col0)
            mask[row0:row1, col0:col1] ^= np.unpackbits(flips, count=count).reshape(row1 - row0, col1 - col0)
            np.testing.assert_array_equal(mask, one.output(row, col))


def test_a_page_begins_as_it_is_asked_to(results, page):
    traits = page(results["classes"], result_type=hdm.WORSE_ONLY, color_map="plasma", class_names=["a", "b", "c"])
    traits = traits.data["traits"]
    assert (traits["result_type"], traits["color_map"], len(traits["_color_tables"]["plasma"])) == (
        "worse",
        "plasma",
        768,
    )
    assert traits["_classes"] == [[0, "a"], [1, "b"], [2, "c"]]
    assert (traits["circle_size"], traits["offset"], traits["channel"], traits["status"]) == (4, 3, 1, "done")


def test_a_result_from_a_file_gives_the_same_page_without_what_was_not_saved(results, page, tmp_path):
    results["plain"].save(tmp_path / "scan.npz")
    loaded, fresh = page(hdm.HDMResult.load(tmp_path / "scan.npz")).data, page(results["plain"]).data
    assert (loaded["traits"]["_map"].pop("plan"), loaded["traits"]["_map"].pop("reading")) == ("", "")
    assert fresh["traits"]["_map"].pop("plan")
    assert fresh["traits"]["_map"].pop("reading")
    np.testing.assert_equal(loaded, fresh)


HOSTILE = "</script><script>alert(1)</script><!-- & \u2028 ' \" <b>"


def test_texts_of_users_stay_texts(results, page):
    hostile = page(results["classes"], title=HOSTILE, model_name=HOSTILE, class_names=[HOSTILE, "<!--", "]]>"])
    plain = page(results["classes"])
    assert [tag for tag, _ in hostile.tags] == [
        *(tag for tag, _ in plain.tags[:-3]),
        "div",
        "dt",
        "dd",
        *["script"] * 3,
    ]
    assert hostile.open == []
    assert (hostile.texts["title"], hostile.texts["h1"]) == (HOSTILE, HOSTILE)
    assert hostile.data["traits"]["_classes"] == [[0, HOSTILE], [1, "<!--"], [2, "]]>"]]
    assert hostile.texts["script"] == plain.texts["script"]


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (
            {},
            {"path": "nowhere/page.html"},
            FileNotFoundError,
            "there is no folder .*nowhere.* to write 'page.html' into",
        ),
        ({"measured": [0, 1]}, {}, ValueError, "2 of 12 cells are not measured yet; a page shows a complete scan"),
        ({}, {"class_names": ["one"]}, ValueError, "class_names are for target='all'"),
        ({}, {"result_type": "rww"}, ValueError, "unknown result type 'rww'"),
        ({}, {"color_map": "blus"}, ValueError, "unknown color map 'blus'"),
        ({}, {"display": 4}, ValueError, "display must have channels 0 to 0"),
    ],
)
def test_what_cannot_be_a_page_is_said(results, tmp_path, change, options, error, message):
    result = results["plain"]
    if "measured" in change:
        measured, values = result.measured.copy(), result.values.copy()
        measured.flat[change["measured"]], values.flat[change["measured"]] = False, np.nan
        result = dataclasses.replace(result, measured=measured, values=values)
    path = tmp_path / options.pop("path", "page.html")
    with pytest.raises(error, match=message):
        result.to_html(path, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_question_that_has_no_answer_says_why(page):
    # The measure of this scan needs no pixel in either mask; some masks have none.
    result = page_scans.explain(page_scans.lost, 1, page_scans.truth(), distance="iou", empty="raise")
    answers = page(result).data["answers"]
    said = {answer["measure"]: answer["error"] for answer in answers if answer["explainBy"] == "truth"}
    assert {name for name, error in said.items() if error} == {"hausdorff", "hausdorff95", "mean_surface"}
    assert said["hausdorff"].startswith("one of the two masks has no pixel")


def shifted(images):
    """Each disc changes the mask at three places."""
    gray = images[:, 0]
    return (gray + gray.roll(60, 1) + gray.roll(-70, 2)) / 3 - 0.45


def test_a_page_of_usual_size_is_at_most_3_mb(tmp_path):
    # Blobs, whose outlines every disc changes in its own way.
    noise = np.random.default_rng(0).random((1, 240, 240), np.float32)
    image = torch.nn.functional.avg_pool2d(torch.from_numpy(noise), 9, 1, 4).numpy()
    image = (image - image.min()) / (image.max() - image.min())
    explainer = hdm.HausdorffDistanceMasks(240, 240)
    explainer.generate_masks(25, 5)
    result = explainer.explain(shifted, image, image[0] > 0.5, distance="iou", progress=False)
    assert np.count_nonzero(result.output(10, 10) != result.output(11, 10)) > 100
    assert len(set(result._masks.patches.values())) > 2000
    result.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 3_000_000
