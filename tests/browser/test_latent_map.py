"""The latent explorer's map in a real JupyterLab 4: points, surface, legend, thumbnails, names and axes."""

from __future__ import annotations

import re

import pytest
from appearance import Letters, await_width, misplaced
from at_rest import box_of, boxes_of
from conftest import OpenLab
from jupyter_hosts import NotebookPage
from known_space import ALL, COLS, ROWS, SELECTED, WEST, block, drawn, iou, near, spot, spot_of
from latent_page import LatentPage
from playwright.sync_api import expect

# The same places with larger or smaller activations.
SCALED = """
class Scaled(Places):
    def forward(self, images):
        self.places(images[:, :2] * {factor})
        return images[:, 2]

shown = hw.LatentSpace(Scaled(), layer="places").fit(scenes, progress=False)
shown.cluster(2)
"""
POWERS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
WEST_HALF = tuple(item for item in ALL if item % COLS < WEST)


def test_the_map_shows_every_item_over_the_iou_to_be_expected(notebook: NotebookPage, explorer: LatentPage) -> None:
    centers = explorer.centers(explorer.points)
    places = explorer.on_page(*map(spot_of, ALL))
    misplaced = [item for item in ALL if not near(centers[item], places[item])]
    assert misplaced == []

    # Red is a low IoU, blue a high one.
    by_iou = sorted(ALL, key=iou)
    fills = explorer.fills()
    assert all(fills[item][0] > fills[item][2] + 40 for item in by_iou[:5])
    assert all(fills[item][2] > fills[item][0] + 40 for item in by_iou[-5:])
    expect(explorer.legend).to_contain_text(re.compile(r"IoU\s*0\s*1"))

    axes = explorer.figure.locator(".axislabel")
    assert axes.all_text_contents() == ["PC 1 (84% of the variance)", "PC 2 (16% of the variance)"]
    assert box_of(explorer.surface) == pytest.approx(box_of(explorer.plot), abs=1.5)
    expect(explorer.legend).to_contain_text("Background: IoU by place")

    expect(explorer.toolbar).to_have_attribute("aria-label", "Map of 96 items")
    expect(explorer.gallery).to_contain_text("Draw a lasso around points")
    expect(explorer.button("Undo")).to_be_disabled()
    assert notebook.value(f"{SELECTED}, explorer.active, explorer.highlighted, explorer.error") == ((), None, None, "")


def test_a_point_stands_out_from_the_surface_whatever_its_color(explorer: LatentPage) -> None:
    # In the middle of the scale a point has the color of what is behind it: its edge must be another.
    middle = min(ALL, key=lambda item: abs(iou(item) - 0.5))
    path = explorer.points.nth(middle).locator("path")
    fill, stroke = path.evaluate("node => [getComputedStyle(node).fill, getComputedStyle(node).stroke]")
    assert min(map(int, re.findall(r"\d+", fill))) > 225
    assert stroke != fill


def test_hovering_shows_a_points_thumbnail_with_facts(notebook: NotebookPage, explorer: LatentPage) -> None:
    for item, half in ((COLS * 4 + 3, "west"), (COLS - 2, "east")):
        explorer.hover(spot_of(item))
        expect(explorer.tooltip).to_be_visible()
        expect(explorer.tooltip.locator("figcaption > *")).to_have_text(
            [f"item {item}", f"IoU: {iou(item):.3g}", f"half: {half}", f"number: {10 * item}"]
        )
        # The thumbnail of this very item: red and green are its place.
        row, col = divmod(item, COLS)
        x = col if col < WEST else col + 4
        assert explorer.pixel(explorer.tooltip.locator("img"), 1, 1)[:2] == [round(255 * x / 16), round(255 * row / 16)]
    explorer.hover(spot(WEST - 0.5, 4))
    expect(explorer.tooltip).to_be_hidden()
    assert notebook.value(f"explorer.highlighted, {SELECTED}") == (None, ())


def test_the_thumbnail_of_a_point_is_within_the_explorer_and_beside_its_point(
    notebook: NotebookPage, explorer: LatentPage, letters: Letters
) -> None:
    for kind, width in letters(notebook.page, (1300, 480)):
        await_width(explorer.root, width)
        explorer.await_room()
        for item in (0, COLS - 1, COLS * (ROWS - 1), len(ALL) - 1):
            explorer.hover(spot_of(item))
            expect(explorer.tooltip).to_contain_text(f"number: {10 * item}")
            tip, frame = box_of(explorer.tooltip), box_of(explorer.root)
            assert frame["x"] <= tip["x"] <= frame["x"] + frame["width"] - tip["width"], (kind, width, item)
            assert frame["y"] <= tip["y"] <= frame["y"] + frame["height"] - tip["height"], (kind, width, item)
            (x, y) = explorer.on_page(spot_of(item))[0]
            assert x < tip["x"] or tip["x"] + tip["width"] < x or y < tip["y"] or width < 1300, item
        assert misplaced(explorer.root) == []


def test_the_color_list_colors_points_captions_and_legend(notebook: NotebookPage, explorer: LatentPage) -> None:
    items = drawn(explorer, notebook, ((5, 2), (7, 2)))
    before = explorer.fills()

    explorer.drop_down("Color").select_option("half")

    notebook.await_value("explorer.color_by", "half")
    expect(explorer.legend).to_contain_text(re.compile(r"half\s*west\s*56\s*east\s*40"))
    fills = explorer.fills()
    assert fills != before
    west, east = ({tuple(fills[item]) for item in ALL if (item in WEST_HALF) is there} for there in (True, False))
    assert len(west) == len(east) == 1
    assert west != east
    for item in items:
        expect(explorer.card(item)).to_contain_text("west" if item in WEST_HALF else "east")

    explorer.drop_down("Color").select_option("number")
    notebook.await_value("explorer.color_by", "number")
    expect(explorer.legend).to_contain_text(re.compile(r"number\s*0\s*950"))
    for item in items:
        expect(explorer.card(item)).to_contain_text(re.compile(rf"IoU {iou(item):.2f}\s*{10 * item}(?!\d)"))
    explorer.hover(spot_of(0))
    expect(explorer.tooltip).to_contain_text("number: 0")

    explorer.drop_down("Color").select_option("IoU")
    notebook.await_value("explorer.color_by", "iou")
    expect(explorer.card(items[0])).to_have_text(re.compile(rf"^IoU {iou(items[0]):.2f}\s*Explain\s*wrong\?$"))
    assert explorer.fills() == before


def test_the_background_can_be_hidden(notebook: NotebookPage, explorer: LatentPage) -> None:
    expect(explorer.surface).to_be_visible()
    explorer.drop_down("Background").select_option("None")
    notebook.await_value("explorer.background", "none")
    expect(explorer.surface).to_be_hidden()
    expect(explorer.legend).not_to_contain_text("Background")
    explorer.drop_down("Background").select_option("IoU by place")
    notebook.await_value("explorer.background", "expected_iou")
    expect(explorer.surface).to_be_visible()
    expect(explorer.legend).to_contain_text("Background")


LONG = ("the north western forests", "fields of the far north east", "i", "lakes and rivers in the south", "W" * 40)
CORNERS = (((0, 6), (1, 7)), ((10, 6), (11, 7)), ((4, 3), (5, 4)), ((0, 0), (1, 0)), ((11, 0), (11, 1)))


def test_names_stand_above_their_selections_within_the_map_and_beside_each_other(
    notebook: NotebookPage, explorer: LatentPage, letters: Letters
) -> None:
    # The last two are around points that are in others.
    blocks = {**dict(zip(LONG, (block(*corners) for corners in CORNERS), strict=True)), "the same": block(*CORNERS[2])}
    names = [*LONG, "the same", "b"]
    for kind, width in letters(notebook.page, (1300, 620)):
        await_width(explorer.root, width)
        if width == 1300:
            # With these letters from the first.
            notebook.execute("explorer.clear()")
            expect(explorer.names).to_have_count(0)
            for name, items in {**blocks, "b": (40, 41)}.items():
                notebook.execute(f"explorer.select({items}, name={name!r})")
        expect(explorer.names).to_have_text(names)
        explorer.await_room()
        plot = box_of(explorer.plot)
        boxes = dict(zip(names, boxes_of(explorer.names), strict=True))
        for name, box in boxes.items():
            told = (kind, width, name)
            assert plot["x"] - 0.1 <= box["x"] <= plot["x"] + plot["width"] - box["width"] + 0.1, told
            assert plot["y"] - 0.1 <= box["y"] <= plot["y"] + plot["height"] - box["height"] + 0.1, told
            apart = [
                other["x"] >= box["x"] + box["width"] - 0.1
                or box["x"] >= other["x"] + other["width"] - 0.1
                or other["y"] >= box["y"] + box["height"] - 0.1
                or box["y"] >= other["y"] + other["height"] - 0.1
                for key, other in boxes.items()
                if key != name
            ]
            assert all(apart), told
        # A short one stands above its line; a long one is cut, and its whole text is in the list.
        hull = boxes_of(explorer.outlines)[2]
        assert hull["x"] < boxes["i"]["x"] + boxes["i"]["width"] / 2 < hull["x"] + hull["width"]
        assert hull["y"] - 8 < boxes["i"]["y"] + boxes["i"]["height"] < hull["y"]
        assert boxes["i"]["width"] < 30
        assert boxes["W" * 40]["width"] == pytest.approx(180, abs=0.1)


@pytest.mark.parametrize("factor", [1e-7, 0.05, 3000, 3e5])
def test_the_numbers_of_an_axis_and_its_title_stand_beside_each_other(
    notebook: NotebookPage, open_lab: OpenLab, letters: Letters, factor: float
) -> None:
    notebook.execute(SCALED.format(factor=factor))
    explorer = LatentPage(notebook.page)
    for kind, width in letters(notebook.page, (1300, 620)):
        if width == 1300:
            # With these letters from the first.
            notebook.page.set_viewport_size({"width": width, "height": 1500})
            notebook.run(1)
            explorer.await_points(len(ALL))
        await_width(explorer.root, width)
        explorer.await_room()
        assert misplaced(explorer.frame) == [], (kind, width)
        # What is written at the ticks is where it belongs, in the unit of the title.
        titles = explorer.figure.locator(".axislabel").all_text_contents()
        units = [re.search("in 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+) ", title) for title in titles]
        powers = [10.0 ** int(unit[1].translate(POWERS)) if unit else 1 for unit in units]
        expected = [value * factor / power for value, power in zip(spot(0, 0), powers, strict=True)]
        (corner,) = explorer.centers(explorer.points.first)
        assert near(corner, explorer.on_page((expected[0], expected[1]))[0])
    open_lab.complaints.check()
