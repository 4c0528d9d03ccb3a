"""The latent explorer's gallery and explanations in a real JupyterLab 4, and what Python knows of them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from appearance import Letters, await_width, misplaced, rgb, unnamed
from at_rest import at_rest, box_of, boxes_of
from hdm_page import Explorer
from jupyter_hosts import TIMEOUT_MS, NotebookPage
from known_space import (
    ADDED,
    ALL,
    COLS,
    FEW,
    HALVES,
    NAMES,
    NOTEBOOK,
    SELECTED,
    SIDE,
    TRUTH,
    WEST,
    around,
    by_iou,
    hits,
    iou,
    show,
    spot_of,
)
from latent_page import LatentPage
from playwright.sync_api import expect

OUT = Path(__file__).parents[1] / "out"
# Many items, quickly: the model finds them all, so that there is one IoU.
MANY = """
many = Grid({cols}, {rows}, perfect=True)
shown = known(many)
"""
LOADED = """
import tempfile

with tempfile.TemporaryDirectory() as folder:
    space.save(folder)
    shown = hw.LatentSpace.load(folder)
"""
TRAINED = """
model, aerial = hw.demo.aerial(60)
shown = hw.LatentSpace(model).fit(aerial, progress=False)
"""


def draw_around_all(explorer: LatentPage) -> None:
    box = box_of(explorer.plot)
    left, top, right, bottom = box["x"] + 2, box["y"] + 2, box["x"] + box["width"] - 2, box["y"] + box["height"] - 2
    explorer.draw([(left, top), (right, top), (right, bottom), (left, bottom)])


def test_the_gallery_shows_exactly_the_selected_items_in_the_order_asked_for(
    notebook: NotebookPage, explorer: LatentPage
) -> None:
    show(notebook, explorer, FEW)
    orders = {
        "lowest IoU first": by_iou(FEW),
        "highest IoU first": by_iou(FEW)[::-1],
        "nearest to the center first": _by_distance(FEW),
        "in data set order": list(FEW),
    }
    assert len({tuple(order) for order in orders.values()}) == 4
    sort = explorer.drop_down("Sort")
    # The last one is tested with what it waits for.
    assert sort.locator("option").all_inner_texts() == [*orders, "most suspicious truth first"]
    expect(sort).to_have_value("lowest IoU first")
    for name, order in orders.items():
        sort.select_option(name)
        expect(explorer.rings.first).to_have_accessible_name(
            f"Item {order[0]}, IoU {iou(order[0]):.2f}: highlight its point on the map"
        )
        assert explorer.card_items() == order, name
    assert notebook.value(SELECTED) == FEW
    expect(explorer.shown).to_have_text("shown: 6 of 96")


def _by_distance(items: tuple[int, ...]) -> list[int]:
    places = {item: spot_of(item) for item in items}
    middle = [sum(place[axis] for place in places.values()) / len(items) for axis in (0, 1)]
    squares = {item: (x - middle[0]) ** 2 + (y - middle[1]) ** 2 for item, (x, y) in places.items()}
    order = sorted(items, key=squares.__getitem__)
    assert min(squares[b] - squares[a] for a, b in pairwise(order)) > 1e-4
    return order


def test_a_card_shows_image_truth_and_prediction_pixel_by_pixel(notebook: NotebookPage, explorer: LatentPage) -> None:
    show(notebook, explorer, FEW)
    for item in (5, 58):
        card = explorer.card(item)
        expect(card).to_contain_text(f"IoU {iou(item):.2f}")
        image = card.locator("img")
        row, col = divmod(item, COLS)
        red = round(255 * (col if col < WEST else col + 4) / 16)
        assert explorer.pixel(image, 0, 0) == [red, round(255 * row / 16), 0, 255]
        assert explorer.pixel(image, 4, 4) == [red, round(255 * row / 16), 255, 255]
        assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [SIDE, SIDE]

        truth = card.get_by_role("img", name="True mask")
        errors = card.get_by_role("img", name="Prediction: hit, missed and added")
        found, missed = hits(item), TRUTH - hits(item)
        rest = SIDE**2 - TRUTH
        assert explorer.tally(truth) == {"mask": TRUTH, "nothing": rest}
        assert explorer.tally(errors) == {"hit": found, "missed": missed, "added": ADDED, "nothing": rest - ADDED}
        # Where they are: the first pixels of the truth are hit, its last is missed; what is added lies beside it.
        first, last, beside = (explorer.pixel(errors, *place) for place in ((4, 4), (15, 15), (20, 20)))
        assert len({tuple(first), tuple(last), tuple(beside)}) == 3
        assert explorer.pixel(truth, 4, 4) == explorer.pixel(truth, 15, 15) != explorer.pixel(truth, 20, 20)
        assert explorer.pixel(errors, 3, 4)[3] == explorer.pixel(errors, 21, 22)[3] == 0

    explorer.choose("Overlay")
    expect(explorer.gallery.get_by_role("img", name="True mask")).to_have_count(0)
    for item in (5, 58):
        both = explorer.card(item).get_by_role("img", name="Hit, missed and added")
        found, rest = hits(item), SIDE**2 - TRUTH - ADDED
        assert explorer.tally(both) == {"hit": found, "missed": TRUTH - found, "added": ADDED, "nothing": rest}
        # The image shines through.
        assert {explorer.pixel(both, *place)[3] for place in ((4, 4), (15, 15), (20, 20))} == {165}
        assert box_of(both) == box_of(explorer.card(item).locator("img"))
    explorer.choose("Three layers")
    expect(explorer.gallery.get_by_role("img", name="True mask")).to_have_count(len(FEW))


def test_images_are_as_large_as_the_slider_says(notebook: NotebookPage, explorer: LatentPage) -> None:
    show(notebook, explorer, FEW)
    explorer.choose("Overlay")
    widths = []
    for key in ("Home", "End"):
        size = explorer.gallery.get_by_role("slider", name="Size")
        size.press(key)
        expect(size).to_have_value({"Home": "48", "End": "224"}[key])
        box = box_of(explorer.card(by_iou(FEW)[0]).locator("img"))
        assert box["width"] == box["height"]
        # They fill the row, so that they may be somewhat smaller or larger.
        assert 0.6 < box["width"] / float(size.input_value()) < 1.6
        widths.append(box["width"])
    assert widths[1] > 2 * widths[0]


def test_a_image_is_read_when_it_comes_into_view_and_once(notebook: NotebookPage, explorer: LatentPage) -> None:
    order = by_iou(ALL)
    assert notebook.value("scenes.read") == []
    notebook.execute(f"explorer.select({ALL}, name='all')")
    expect(explorer.card(order[0]).locator("img")).to_be_visible()
    in_view = explorer.card_items()
    assert in_view == order[: len(in_view)]
    assert len(in_view) < 30
    notebook.await_value("sorted(scenes.read)", sorted(in_view))

    explorer.grid.hover()
    notebook.page.mouse.wheel(0, 700)
    expect(explorer.card(order[0])).to_have_count(0)
    notebook.await_that("set(scenes.read)", {*in_view}.__lt__, "more")
    expect(explorer.cards.first.locator("img")).to_be_visible()
    expect(explorer.cards.last.locator("img")).to_be_visible()
    further = explorer.card_items()
    read = notebook.value("scenes.read")
    assert {*in_view, *further} <= {*read} == {*order[: order.index(further[-1]) + 1]}
    assert len(read) == len({*read}) < len(ALL)

    # Images that were read are kept.
    notebook.page.mouse.wheel(0, -700)
    expect(explorer.card(order[0]).locator("img")).to_be_visible()
    expect(explorer.cards.nth(len(in_view) - 1).locator("img")).to_be_visible()
    assert notebook.value("scenes.read") == read


def test_the_gallery_says_that_it_waits_for_slow_images(
    notebook: NotebookPage, explorer: LatentPage, tmp_path: Path
) -> None:
    waits = explorer.gallery.get_by_text("Waiting for the kernel")
    come = tmp_path / "come"
    os.mkfifo(come)
    notebook.execute(f"scenes.held = Path({str(come)!r}); explorer.select({FEW})")
    try:
        expect(explorer.rings).to_have_count(len(FEW))
        expect(waits).to_be_visible()
        expect(explorer.grid.locator("img")).to_have_count(0)
    finally:
        os.close(os.open(come, os.O_WRONLY | os.O_NONBLOCK))
    expect(explorer.grid.locator("img")).to_have_count(len(FEW))
    expect(waits).to_have_count(0)


def test_two_thousand_selected_items_are_a_few_dozen_cards(notebook: NotebookPage, explorer: LatentPage) -> None:
    notebook.execute(MANY.format(cols=50, rows=40))
    notebook.run(1)
    explorer.await_points(2000)
    assert notebook.value("many.read") == []

    notebook.execute("explorer.select(range(2000), name='all')")

    expect(explorer.shown).to_have_text("all: 2,000 of 2,000")
    expect(explorer.card(0).locator("img")).to_be_visible()
    assert 6 <= explorer.cards.count() <= 60
    explorer.grid.press("End")
    expect(explorer.card(1999).locator("img")).to_be_visible()
    expect(explorer.card(1999)).to_be_in_viewport()
    assert 6 <= explorer.cards.count() <= 60
    assert explorer.card_items()[-1] == 1999
    # Half way down, by the wheel of the mouse.
    box = box_of(explorer.grid)
    notebook.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    height = at_rest(explorer.grid, "node => node.scrollHeight")
    notebook.page.mouse.wheel(0, -height / 2)
    expect(explorer.card(1999)).to_have_count(0)
    expect(explorer.cards.first.locator("img")).to_be_visible()
    assert 500 < explorer.card_items()[0] < 1500
    assert len(notebook.value("many.read")) < 300


def test_clicking_a_card_rings_its_point_and_back(notebook: NotebookPage, explorer: LatentPage) -> None:
    show(notebook, explorer, FEW)
    explorer.card(30).locator("img").click()
    notebook.await_value("explorer.highlighted", 30)
    expect(explorer.ring).to_have_count(1)
    (x, y), (px, py) = explorer.centers(explorer.ring)[0], explorer.on_page(spot_of(30))[0]
    assert max(abs(x - px), abs(y - py)) < 1.5
    expect(explorer.gallery.get_by_role("button", pressed=True).filter(has=notebook.page.locator("img"))).to_have_count(
        1
    )

    explorer.click(spot_of(17))
    notebook.await_value("explorer.highlighted", 17)
    expect(explorer.card(17).get_by_role("button", pressed=True)).to_have_count(1)
    expect(explorer.card(30).get_by_role("button", pressed=True)).to_have_count(0)
    explorer.card(17).get_by_role("button").first.press("Enter")
    notebook.await_value("explorer.highlighted", None)
    expect(explorer.ring).to_be_hidden()
    assert notebook.value(SELECTED) == FEW


def test_an_item_that_cannot_be_read_says_so_and_the_others_are_shown(
    notebook: NotebookPage, explorer: LatentPage
) -> None:
    notebook.execute("scenes.broken.add(17)")
    show(notebook, explorer, FEW)
    warning = explorer.card(17).get_by_text("not readable")
    expect(warning).to_be_visible()
    assert rgb(warning, "color") != rgb(explorer.card(17), "color")
    expect(explorer.card(17).get_by_role("button").first).to_have_attribute("title", re.compile("scene 17 is gone"))
    # Its small image and both masks were kept.
    expect(explorer.card(17).locator("img")).to_be_visible()
    expect(explorer.card(17).get_by_role("img", name="True mask")).to_be_visible()
    expect(explorer.card(17).get_by_role("button", name="Explain")).to_have_count(0)
    for item in {*FEW} - {17}:
        expect(explorer.card(item)).to_contain_text(f"IoU {iou(item):.2f}")
        expect(explorer.card(item).locator("img")).to_be_visible()
        expect(explorer.card(item).get_by_role("button", name="Explain")).to_have_count(1)
    expect(explorer.gallery.get_by_role("alert")).to_have_count(0)


def test_explain_opens_the_hdm_explorer_of_that_item(notebook: NotebookPage, explorer: LatentPage) -> None:
    show(notebook, explorer, FEW)
    keyboard = notebook.page.keyboard
    heading = explorer.clusters.get_by_role("heading", name="Clusters")
    style = "node => { const s = getComputedStyle(node); return [s.fontSize, s.textTransform, s.color]; }"
    before = heading.evaluate(style)
    for item in (30, 5):
        explorer.card(item).hover()
        explorer.card(item).get_by_role("button", name="Explain").click()
        expect(explorer.root.get_by_text(f"What item {item} depends on")).to_be_visible()
        expect(explorer.explanation).to_have_count(1)
        expect(explorer.explanation).to_be_in_viewport()
        below = Explorer(notebook.page)
        expect(below.status).to_contain_text("Complete")
        # Its image is that item's: red and green are its place.
        row, col = divmod(item, COLS)
        shown = below.stage.locator("img").first
        assert explorer.pixel(shown, 0, 0)[:2] == [round(255 * col / 16), round(255 * row / 16)]
        below.stage.click()
        # What the model saw and what it predicted: flipped area has no pair of pixels.
        expect(below.figures).to_have_count(2)
    assert notebook.value(f"{SELECTED}, explorer.error") == (FEW, "")
    # The other widget's style stays its own.
    assert heading.evaluate(style) == before
    # Its keys are its own.
    for key in ("s", "n", "a"):
        keyboard.press(key)
    keyboard.press("ArrowDown")
    keyboard.press("Enter")
    expect(below.figures).to_have_count(2)
    assert notebook.value("explorer.mode, explorer.active") == ("replace", 0)
    assert notebook.selection() == NOTEBOOK

    explorer.button("Close").click()
    expect(explorer.explanation).to_have_count(0)
    expect(explorer.root.get_by_text("What item 5 depends on")).to_have_count(0)


def test_the_explanation_follows_from_python_and_goes_with_the_explorer(
    notebook: NotebookPage, explorer: LatentPage
) -> None:
    notebook.execute("below = explorer.explain(7); None")
    expect(explorer.explanation).to_be_visible()
    expect(explorer.root.get_by_text("What item 7 depends on")).to_be_visible()
    notebook.run(1)
    expect(explorer.points).to_have_count(len(ALL))
    expect(explorer.explanation).to_have_count(0)
    assert "closed" in notebook.execute("try:\n    below.run()\nexcept RuntimeError as error:\n    print(error)")


def test_an_explanation_that_fails_says_why(notebook: NotebookPage, explorer: LatentPage) -> None:
    show(notebook, explorer, FEW)
    expect(explorer.card(17).locator("img")).to_be_visible()
    # It cannot be read any more since it was shown.
    notebook.execute("scenes.broken.add(17)")
    explorer.card(17).hover()
    explorer.card(17).get_by_role("button", name="Explain").click()
    expect(explorer.root.get_by_text(re.compile("scene 17 is gone"))).to_be_visible()
    expect(explorer.explanation).to_have_count(0)


def test_export_saves_the_selected_rows_and_the_marked_ones(notebook: NotebookPage, explorer: LatentPage) -> None:
    explorer.button("Export").click()
    expect(explorer.toolbar.get_by_role("alert")).to_have_text("Nothing is selected: there is nothing to export.")

    notebook.execute(f"explorer.select({FEW}, name='bad roofs')")
    expect(explorer.rings).to_have_count(len(FEW))
    with notebook.page.expect_download(timeout=TIMEOUT_MS) as saved:
        explorer.button("Export").click()

    assert saved.value.suggested_filename == "bad_roofs.csv"
    with Path(saved.value.path()).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(FEW)
    assert [float(row["iou"]) for row in rows] == [iou(item) for item in FEW]
    assert [row["half"] for row in rows] == ["east" if item in HALVES["east"] else "west" for item in FEW]
    assert [int(row["number"]) for row in rows] == [10 * item for item in FEW]
    expect(explorer.toolbar.get_by_role("alert")).to_have_count(0)

    # The key is about the card under the pointer; without one, about the highlighted item.
    marked, figures = (
        explorer.gallery.get_by_role("region", name="Marked truths"),
        explorer.figure.locator(".object_grp"),
    )
    before = figures.count()
    explorer.grid.focus()
    explorer.card(17).locator("img").hover()
    notebook.page.keyboard.press("w")
    notebook.await_value("explorer.marked", (17,))
    expect(explorer.card(17).get_by_role("button", name="Truth of item 17")).to_have_attribute("aria-pressed", "true")
    expect(figures).to_have_count(before + 1)
    explorer.card(30).get_by_role("button", name="Truth of item 30").click()
    notebook.await_value("explorer.marked", (17, 30))
    expect(marked).to_contain_text("2 truths marked as wrong")
    marked.get_by_text("Export marked").click()
    with notebook.page.expect_download(timeout=TIMEOUT_MS) as saved:
        marked.get_by_role("button", name="Table (CSV)").click()
    assert saved.value.suggested_filename == "marked.csv"
    with Path(saved.value.path()).open(newline="") as file:
        assert [int(row["index"]) for row in csv.DictReader(file)] == [17, 30]
    explorer.card(17).locator("img").hover()
    notebook.page.keyboard.press("w")
    notebook.await_value("explorer.marked", (30,))
    assert notebook.value(SELECTED) == FEW


def test_keys_work_on_every_control_and_leave_the_notebook_alone(notebook: NotebookPage, explorer: LatentPage) -> None:
    keyboard = notebook.page.keyboard
    show(notebook, explorer, FEW)
    explorer.radio("Replace").focus()
    assert notebook.selection() == NOTEBOOK
    keyboard.press("ArrowRight")
    notebook.await_value("explorer.mode", "add")
    keyboard.press("ArrowLeft")
    notebook.await_value("explorer.mode", "replace")
    explorer.drop_down("Color").focus()
    keyboard.press("h")  # the entry that begins with it
    notebook.await_value("explorer.color_by", "half")
    explorer.drop_down("Background").focus()
    keyboard.press("n")
    notebook.await_value("explorer.background", "none")
    assert notebook.value("explorer.active") == 0
    explorer.radio("Three layers").focus()
    keyboard.press("ArrowRight")
    expect(explorer.radio("Overlay")).to_be_checked()
    explorer.drop_down("Sort").focus()
    keyboard.press("h")
    first = by_iou(FEW)[-1]
    expect(explorer.rings.first).to_have_accessible_name(re.compile(rf"^Item {first}\b"))
    explorer.card(first).get_by_role("button").first.focus()
    keyboard.press("Enter")
    notebook.await_value("explorer.highlighted", first)
    keyboard.press("Tab")
    expect(explorer.card(first).get_by_role("button", name="Explain")).to_be_focused()
    expect(explorer.card(first).get_by_role("button", name="Explain")).to_have_css("opacity", "1")
    explorer.grid.focus()
    for key in ("b", "x", "o", "d", "d"):
        keyboard.press(key)
    explorer.gallery.get_by_label("More for shown").focus()
    keyboard.press("Enter")
    expect(explorer.gallery.get_by_role("button", name="Remove")).to_be_visible()
    keyboard.press("Escape")
    expect(explorer.gallery.get_by_role("button", name="Remove")).to_be_hidden()
    explorer.selection("shown").focus()
    keyboard.press("Control+z")
    notebook.await_value(NAMES, [])
    assert notebook.selection() == NOTEBOOK


def test_a_space_without_its_data_set_shows_thumbnails(notebook: NotebookPage, explorer: LatentPage) -> None:
    notebook.execute(LOADED)
    notebook.run(1)
    explorer.await_points(len(ALL))
    explorer.lasso(around((0, 0), (1, 0)))
    notebook.await_value(SELECTED, (0, 1))
    expect(explorer.gallery).to_contain_text("thumbnails only: the space has no data set")
    expect(explorer.card(1).locator("img")).to_be_visible()
    expect(explorer.card(1)).to_contain_text(f"IoU {iou(1):.2f}")
    expect(explorer.button("Explain")).to_have_count(0)


def test_a_trained_network_and_its_scenes(notebook: NotebookPage, explorer: LatentPage) -> None:
    notebook.execute(TRAINED)
    notebook.run(1)
    explorer.await_points(60)
    notebook.execute("explorer.color_by = 'land_use'")
    for use in notebook.value("sorted(set(map(str, shown.columns_['land_use'])))"):
        expect(explorer.legend).to_contain_text(use)
    # The explorer looks for clusters in the background from the start.
    expect(explorer.rows.first).to_be_visible()
    assert explorer.column(2) == notebook.value(
        "[str(one.size) for one in sorted(explorer.space.clusters_, key=lambda one: one.mean_iou)]"
    )

    draw_around_all(explorer)
    notebook.await_value(SELECTED, tuple(range(60)))
    lowest = notebook.value("int(shown.iou_.argmin())")
    expect(explorer.rings.first).to_have_accessible_name(re.compile(rf"^Item {lowest}\b"))
    expect(explorer.cards.first.locator("img")).to_be_visible()
    explorer.root.screenshot(path=OUT / "latent-aerial.png")


def test_the_explorer_follows_the_dark_theme(
    notebook: NotebookPage, explorer: LatentPage, dark_theme: Callable[[NotebookPage], None]
) -> None:
    notebook.execute("explorer.select(range(7)); explorer.select([30, 31, 32, 43, 44]); explorer.highlighted = 31")
    expect(explorer.rings).to_have_count(5)
    parts = (explorer.toolbar, explorer.gallery, explorer.clusters, explorer.legend)
    truth = explorer.card(31).get_by_role("img", name="True mask")
    expect(truth).to_be_visible()
    assert explorer.tally(truth)["mask"] == TRUTH
    light = explorer.pixel(truth, 8, 8)[:3]
    assert all(min(rgb(part, "backgroundColor")) > 200 for part in parts)
    assert all(max(rgb(part, "color")) < 100 for part in parts)
    explorer.root.screenshot(path=OUT / "latent-light.png")

    dark_theme(notebook)

    explorer.root.screenshot(path=OUT / "latent-dark.png")
    assert all(max(rgb(part, "backgroundColor")) < 60 for part in parts)
    assert all(min(rgb(part, "color")) > 180 for part in parts)
    assert max(rgb(explorer.root, "backgroundColor")) < 60
    tick = explorer.figure.locator(".tick text").first
    assert min(rgb(tick, "fill")) > 120
    # Masks are seen on the dark ground, and so is the ring.
    assert max(light) < 60
    assert min(rgb(explorer.ring.locator("path"), "stroke")) > 120
    assert min(explorer.pixel(truth, 8, 8)[:3]) > 180


def test_nothing_overflows_and_everything_has_a_name_at_any_width(
    notebook: NotebookPage, explorer: LatentPage, letters: Letters
) -> None:
    notebook.execute(
        "explorer.select(range(40), name='a selection with quite a long name'); explorer.select([30, 31, 32]);"
        "explorer.explain(3).wait(30)"
    )
    expect(explorer.rings).to_have_count(3)
    expect(Explorer(notebook.page).status).to_contain_text("Complete")
    expected = {"button", "slider", "radio", "combobox", "region", "image"}
    complaints = []
    for kind, width in letters(notebook.page, (420, 620, 768, 900, 1024, 1280, 1600)):
        await_width(explorer.root, width)
        explorer.await_room()
        complaints += [f"{kind} at {width} px: {complaint}" for complaint in misplaced(explorer.root)]
        plot = box_of(explorer.plot)
        for text, name in zip(explorer.names.all_text_contents(), boxes_of(explorer.names), strict=True):
            if name["x"] < plot["x"] - 1 or name["x"] + name["width"] > plot["x"] + plot["width"] + 1:
                complaints.append(f"{kind} at {width} px: {text!r} runs out of the map")
        complaints += [f"{kind} at {width} px: {role} without a name" for role in unnamed(explorer.root, expected)]
        if kind == "own letters":
            explorer.root.screenshot(path=OUT / f"latent-{width}.png")
    assert not complaints, "\n".join(complaints)
