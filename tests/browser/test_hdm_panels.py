"""What the HDM explorer compares below its map, and the comparison of models, in a real browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hdm_page import Explorer
from jupyter_hosts import NotebookPage
from playwright.sync_api import Locator, expect

Lab = Callable[..., NotebookPage]
OpenPanel = Callable[[str, str], tuple[NotebookPage, Explorer, Locator]]

SIDE = 64
SETUP = """
import numpy as np
import hdm_widgets as hw

image = np.full((1, 64, 64), 0.1, np.float32)
image[:, 8:24, 6:30] = 1
image[:, 40:58, 36:60] = 1
truth = np.roll(image[0] > 0.5, 2, axis=1)

def first(images):
    masks = images[:, 0].clone()
    masks[:, 32:] *= images[:, :1, 12, 12, None]  # the lower object is there where the upper one is
    return masks

def second(images):
    return images[:, 0]
"""
EXPLORER = """
published = {"fill": "minimum", "order": "change"}
others = {"second": second}
explorer = hw.HDMExplorer(first, image, truth, circle_size=9, offset=8, compare_with=others, **published)
explorer
"""
COMPARISON = """
models = {"first": first, "second": second}
comparison = hw.HDMComparison(models, image, truth, circle_size=9, offset=8, fill="minimum", order="change")
comparison
"""


@pytest.fixture
def open_panel(lab: Lab) -> OpenPanel:
    """An explorer that has scanned, with the panel that a button opens."""

    def open_one(button: str, heading: str) -> tuple[NotebookPage, Explorer, Locator]:
        notebook = lab(SETUP, EXPLORER)
        explorer = Explorer(notebook.page)
        explorer.complete()
        notebook.await_value("explorer.wait(60), explorer.status", (True, "done"))
        explorer.button(button).click()
        return notebook, explorer, explorer.root.get_by_role("region", name=heading)

    return open_one


def hover(notebook: NotebookPage, stage: Locator, x: float, y: float) -> tuple[float, float]:
    """Move the pointer to a pixel of the image; where that is on the page."""
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    place = box["x"] + x / SIDE * box["width"], box["y"] + y / SIDE * box["height"]
    notebook.page.mouse.move(*place)
    return place


def test_a_click_on_a_fill_explains_with_it(open_panel: OpenPanel) -> None:
    notebook, _, panel = open_panel("Compare fills", "Do other fills agree?")
    fill = panel.get_by_role("group", name="Fills").get_by_role("button").filter(has_text="mean")
    fill.click()
    notebook.await_value("explorer.fill, explorer.wait(60), explorer.status", ("mean", True, "done"))
    expect(fill).to_have_attribute("aria-pressed", "true")
    panel.get_by_role("button", name="Close").click()
    expect(panel).to_have_count(0)
    assert notebook.value("explorer.fill_comparison.results['mean'].values.tolist() == explorer.result.values.tolist()")


def test_other_models_are_shown_with_the_difference(
    open_panel: OpenPanel,
) -> None:
    notebook, explorer, panel = open_panel("Compare models", "What do other models look at?")
    maps = panel.get_by_role("application")
    expect(maps).to_have_count(3)
    # The disc of cell (1, 1) covers the pixel that the first model looks at.
    place = hover(notebook, maps.nth(1), 12.5, 12.5)
    expect(panel.locator(".hdm-tip")).to_have_count(3)
    own = notebook.value("explorer.model_comparison.results['this model'].values[1, 1].item()")
    less = notebook.value("explorer.model_comparison.difference[1, 1].item()")
    assert own > 10
    assert less < -10
    expect(panel.locator(".hdm-tip").nth(0)).to_have_text(f"{own:.1f} px")
    expect(panel.locator(".hdm-tip").nth(2)).to_contain_text(f"{-less:.1f} px")
    notebook.page.mouse.click(*place)
    notebook.await_value("explorer.cell", (1, 1))
    # Of another measure at once, as the explorer's own map.
    explorer.root.get_by_label("Measure", exact=True).select_option("iou")
    notebook.await_value("explorer.model_comparison.results['second'].settings.distance", "iou")
    expect(panel.locator(".hdm-verdict")).to_contain_text("1 - IoU against the truth")
    panel.get_by_role("button", name="Close").click()
    expect(panel).to_have_count(0)


def test_a_number_of_the_matrix_chooses_its_object_and_disc(
    open_panel: OpenPanel,
) -> None:
    notebook, explorer, panel = open_panel("Objects on objects", "Which object depends on which?")
    number = panel.get_by_role("button", name="A disc on object 1 flips 100 % of object 2")
    number.hover()
    outlines = explorer.stage.locator("path.hdm-object")
    expect(outlines).to_have_count(2)
    number.click()
    notebook.await_value("explorer.explain_by, explorer.object", ("prediction", (40, 36)))
    expect(number).to_have_attribute("aria-pressed", "true")
    assert notebook.value(
        "(explorer.result.output(*explorer.cell) != explorer.result.baseline_mask)[40:58, 36:60].all().item()"
    )
    expect(explorer.root.locator(".hdm-chosen")).to_contain_text("object of 432 px")


def test_the_comparison_links_its_maps(lab: Lab) -> None:
    notebook = lab(SETUP, COMPARISON)
    root = notebook.page.get_by_role("region", name="Comparison of models")
    expect(root.locator("[role=status]")).to_contain_text("Complete")
    maps = root.get_by_role("application")
    place = hover(notebook, maps.nth(2), 12.5, 12.5)
    expect(root.locator(".hdm-tip")).to_have_count(3)
    notebook.page.mouse.click(*place)
    notebook.await_value("comparison.cell", (1, 1))
    expect(root.locator(".hdm-pinned")).to_have_count(3)
    expect(root.get_by_role("region", name="Pinned disc: second")).to_contain_text("row 1, column 1")
