"""Two maps side by side in a real JupyterLab 4: lists, a lasso and the pointer on either, and what Python knows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from jupyter_hosts import NotebookPage
from known_space import ALL, COLS, SPACE, WEST, around, block, iou, spot_of
from latent_page import LatentPage
from playwright.sync_api import Locator, Page, expect

# The second model finds nothing in the east, and has rows and columns exchanged: alignment exchanges them back.
COMPARISON = """
class Later(Places):
    def forward(self, images):
        self.places(images[:, [1, 0]])
        east = images[:, 0, 0, 0] > 0.55
        return images[:, 2] * ~east[:, None, None]

later = hw.LatentSpace(Later(), layer="places").fit(scenes, progress=False)
explorer = hw.LatentComparison(hw.compare_spaces(space, later, names=("first", "later")))
"""
EAST = tuple(item for item in ALL if item % COLS >= WEST)
SELECTED = "explorer.selected"


class MapPage(LatentPage):
    """One of the two maps."""

    def __init__(self, page: Page, which: int) -> None:
        super().__init__(page)
        self.figure = self.root.locator(".bqplot").nth(which)
        self.plot = self.figure.locator(".plotarea_background")
        self.axes = self.figure.locator(".axis")
        self.points = self.figure.locator(".object_grp:has(path.element[style*='fill: rgb'])")
        self.ring = self.figure.locator(".object_grp:has(path.element[style*='fill: none'])")


def center(mark: Locator) -> tuple[float, float]:
    box = mark.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_lists_lassos_and_the_pointer_reach_both_maps(lab: Callable[..., NotebookPage]) -> None:
    notebook = lab(SPACE, COMPARISON, "explorer")
    page = notebook.page
    first, later = MapPage(page, 0), MapPage(page, 1)
    for shown in (first, later):
        shown.await_points(len(ALL))

    # A list.
    worse = first.root.get_by_role("list", name="Lists of items").get_by_role("button", name="Got worse")
    expect(worse).to_contain_text("40")
    worse.click()
    notebook.await_value(SELECTED, EAST)
    expect(worse).to_have_attribute("aria-pressed", "true")
    most = max(EAST, key=iou)
    caption = f"IoU {iou(most):.2f} → 0.00"
    expect(first.cards.first).to_contain_text(caption)
    expect(first.cards.first.locator("canvas")).to_have_count(3)  # truth and two predictions

    # A lasso on the second map; the names of the selections are over both.
    first.begin.click()
    later.lasso(around((1, 1), (3, 2)))
    notebook.await_value(SELECTED, block((1, 1), (3, 2)))
    expect(first.names).to_have_text(["got worse", "a", "got worse", "a"])
    for shown in (first, later):
        assert [opacity == 1 for opacity in shown.opacities()].count(True) == len(EAST) + 6

    # The pointer on a point of the first map, and its twin on the second.
    item = COLS * 4 + 2
    twin = first.root.locator(".hdm-twin")
    first.hover(spot_of(item))
    expect(first.tooltip).to_contain_text(f"item {item}")
    expect(twin).to_have_count(1)
    assert center(twin) == pytest.approx(later.on_page(spot_of(item))[0], abs=1)
    page.mouse.move(2, 2)
    expect(twin).to_have_count(0)

    # A click on the second map.
    later.click(spot_of(item))
    notebook.await_value("explorer.highlighted", item)
    for shown in (first, later):
        expect(shown.ring).to_have_count(1)
        assert center(shown.ring) == pytest.approx(shown.on_page(spot_of(item))[0], abs=1)
