"""The tools of the HDM explorer's stage in a real browser, by gestures that change what Python has."""

from __future__ import annotations

import re
from collections.abc import Callable

from hdm_page import Explorer
from jupyter_hosts import NotebookPage
from playwright.sync_api import expect

Lab = Callable[..., NotebookPage]

SIDE = 64
TWO_OBJECTS = """
import numpy as np
import hdm_widgets as hw

image = np.full((1, 64, 64), 0.1, np.float32)
image[:, 8:24, 6:30] = 1
image[:, 40:58, 36:60] = 1
truth = np.roll(image[0] > 0.5, 2, axis=1)
truths = {"Anna": truth, "Ben": truth.T}
published = {"fill": "minimum", "order": "change"}
explorer = hw.HDMExplorer(lambda images: images[:, 0], image, truths, circle_size=9, offset=4, **published)
explorer
"""


def test_objects_regions_and_annotators(lab: Lab) -> None:
    """One notebook for all gestures: each begins where the one before has ended."""
    notebook = lab(TWO_OBJECTS)
    explorer, page = Explorer(notebook.page), notebook.page
    explorer.complete()
    notebook.await_value("explorer.wait(60), explorer.status", (True, "done"))
    notebook.execute("scan = explorer.result")

    def at(x: float, y: float) -> tuple[float, float]:
        box = explorer.stage.bounding_box()
        assert box is not None
        return box["x"] + x / SIDE * box["width"], box["y"] + y / SIDE * box["height"]

    # An object by a click.
    explorer.stage.scroll_into_view_if_needed()
    painted = explorer.painted()
    explorer.choose("Object")
    page.mouse.click(*at(45.5, 50.5))
    notebook.await_value("explorer.explain_by, explorer.object", ("Anna", (50, 45)))
    expect(explorer.root.locator(".hdm-chosen")).to_contain_text("object of 432 px")
    assert notebook.value("(explorer.result.values == scan.for_object(50, 45).values).all().item()")
    painted = explorer.await_repaint(painted)
    page.keyboard.press("Escape")
    notebook.await_value("explorer.object", None)

    # A region by dragging the brush, also while it is dragged.
    page.keyboard.press("b")
    expect(explorer.radio("Brush")).to_be_checked()
    page.mouse.move(*at(10.5, 12.5))
    page.mouse.down()
    page.mouse.move(*at(24.5, 12.5), steps=4)
    notebook.await_value("explorer.region is not None and explorer.region[12, 10:25].all().item()", True)
    expect(explorer.root.locator(".hdm-scale p")).to_have_text(
        "How much of the brushed area flips when a disc covers this cell"
    )
    page.mouse.move(*at(24.5, 20.5), steps=4)
    page.mouse.up()
    notebook.await_value("explorer.region[20, 24].item(), explorer.cell", (True, None))
    assert notebook.value("bool(np.nanmax(explorer.influence) > 0.3)")
    assert notebook.value("(explorer.influence == scan.influence(explorer.region)).all().item()")
    explorer.await_repaint(painted)
    page.mouse.move(*at(17.5, 16.5))
    expect(explorer.stage.locator(".hdm-tip")).to_contain_text("of the brushed area · ")
    expect(explorer.root.get_by_role("group", name="Brushed area")).to_contain_text(
        re.compile(r"\d+ % of the change on \d+ % of the image")
    )
    page.keyboard.press("Escape")
    notebook.await_value("explorer.region", None)

    # By keys alone: the disc in the middle, and its neighbor.
    explorer.stage.focus()
    page.mouse.move(0, 0)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+ArrowRight")
    notebook.await_value("explorer.region is not None and explorer.region[37, 33:46].all().item()", True)
    # And from Python to the screen.
    notebook.execute("explorer.region = truth")
    expect(explorer.root.locator(".hdm-brushed b").first).to_have_text("816 px")
    explorer.button("Clear").click()
    notebook.await_value("explorer.brush", [])

    # Another annotator's truth.
    explorer.root.get_by_label("Explain", exact=True).select_option("Ben")
    notebook.await_value("explorer.explain_by", "Ben")
    assert notebook.value("(explorer.result.values == scan.measure('hausdorff', truth.T).values).all().item()")
    expect(explorer.root.locator(".hdm-scale p")).to_contain_text("Hausdorff distance to the truth of Ben")
    explorer.await_repaint(painted)
