"""Maps of a million and of ten thousand items in a real JupyterLab: a lasso finds every item within, by aggregates."""

import re
from collections.abc import Callable
from pathlib import Path

from at_rest import box_of
from jupyter_hosts import NotebookPage
from latent_page import LatentPage
from playwright.sync_api import expect

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SPACE = f"""
import sys
import numpy as np
sys.path.insert(0, {str(BENCHMARKS)!r})
import hdm_widgets as hw
from _many_items import clustered, many_items
space = many_items({{count}})
clustered(space)
"""
SHOW = """
explorer = hw.LatentExplorer(space)
explorer
"""
# Around the middle of the map: x0, x1, y0, y1.
BOX = (1.0, 5.0, 0.5, 3.0)
PIXELS = 3
WITHIN = f"""
def within(pixels):
    x0, x1, y0, y1 = explorer._scatter.bounds
    step = pixels * np.array([x1 - x0, y1 - y0]) / PLOT
    low, high = np.array({BOX}).reshape(2, 2).T
    where = space.embedding_
    return ((where > low - step) & (where < high + step)).all(axis=1)

def missed():
    chosen = np.zeros(len(space), bool)
    chosen[np.asarray(explorer.selected)] = True
    return int((within(-{PIXELS}) & ~chosen).sum()), int((chosen & ~within({PIXELS})).sum())
"""


def test_a_lasso_finds_every_item_within(lab: Callable[..., NotebookPage]) -> None:
    notebook = lab(SPACE.format(count=1_000_000), SHOW)
    explorer = LatentPage(notebook.page)
    expect(explorer.legend).to_contain_text("1,000,000 items. A pixel has the mean color of its items.")
    expect(explorer.rows).to_have_count(5)
    explorer.await_room()
    explorer.figure.scroll_into_view_if_needed()
    plot = explorer.plot.bounding_box()
    assert plot is not None
    x0, x1, y0, y1 = BOX
    mouse = notebook.page.mouse
    for number, (x, y) in enumerate(explorer.on_page((x0, y0), (x1, y0), (x1, y1), (x0, y1))):
        mouse.move(x, y, steps=4)
        if number == 0:
            mouse.down()
    mouse.up()
    notebook.await_that("len(explorer.selected)", lambda count: count > 0, "a selection")
    notebook.execute(f"PLOT = np.array([{plot['width']}, {plot['height']}])\n{WITHIN}")
    # None that lies further inside than a few pixels is left out, none that lies further outside is in.
    assert notebook.value("missed()") == (0, 0)
    count = notebook.value("len(explorer.selected)")
    assert 100_000 < count < 900_000
    expect(explorer.gallery).to_contain_text(f"{count:,}")


def test_a_map_of_very_many_items_shows_and_selects_all_of_them(lab: Callable[..., NotebookPage]) -> None:
    notebook = lab(SPACE.format(count=10_050), SHOW)
    explorer = LatentPage(notebook.page)
    expect(explorer.legend).to_contain_text("10,050 items. A pixel has the mean color of its items.")
    expect(explorer.toolbar).to_have_attribute("aria-label", "Map of 10,050 items")
    explorer.await_room()
    box, mouse = box_of(explorer.plot), explorer.page.mouse
    for number, (across, down) in enumerate([(0.01, 0.02), (0.8, 0.02), (0.99, 0.2), (0.99, 0.98), (0.01, 0.98)]):
        mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"], steps=4)
        if number == 0:
            mouse.down()
    mouse.up()
    notebook.await_that("explorer.selected", lambda value: len(value) > 9000, "all items that the lasso goes around")
    members = notebook.value("tuple(explorer.space.clusters_[0].indices.tolist())")
    explorer.cluster(0).click()
    notebook.await_value("explorer.selected", members)
    zoom = explorer.root.get_by_role("button", name="Zoom in")
    told = ""
    for _ in range(4):
        zoom.click()
        # The number of this view, not of the one before.
        expect(explorer.legend).to_contain_text(
            re.compile(rf"(?<![\d,])(?!{told or '-'} )[\d,]+ of 10,050 items are in view")
        )
        found = re.search(r"([\d,]+) of 10,050 items are in view", explorer.legend.inner_text())
        assert found is not None
        told = found[1]
    expect(explorer.legend).to_contain_text(f"{told} of 10,050 items are in view, one point each")
    expect(explorer.points).to_have_count(int(told.replace(",", "")))
