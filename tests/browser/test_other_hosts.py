"""Both explorers in Notebook 7 and in Voila: they appear, and gestures reach Python. One page of each shows both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import new_page
from hdm_page import Explorer
from jupyter_hosts import NOTEBOOK_7, Complaints, JupyterServer, NotebookPage
from known_space import AGAIN, ALL, EXPLORER, SPACE, around, block, by_iou, spot_of
from latent_page import LatentPage
from playwright.sync_api import BrowserContext, Page, expect

FIRST, SECOND = ((0, 0), (2, 1)), ((4, 4), (8, 6))
MASKS = """
model, image, segment, cue = hw.demo.shapes(0)
masks = hw.HDMExplorer(model, image, segment, circle_size=15, offset=16, fill="minimum", order="change")
masks
"""
# Voila shows no code and takes none: Python says in labels what it knows.
LABELS = """
import ipywidgets
label, selected = ipywidgets.Label(), ipywidgets.Label()

def say(change=None):
    size = masks.result.circle_size if masks.result is not None else None
    label.value = f"Python has circle size {masks.circle_size}, {masks.status}, measured with {size}"
    selected.value = f"Python has {explorer.selected}, highlighted {explorer.highlighted}"

masks.observe(say, names=["circle_size", "status"])
explorer.observe(say, names=["selected", "highlighted"])
say()
# A label does not hear what is said while its page makes the widgets; the explorer's views tell when they are there.
masks.on_msg(lambda *_: label.send_state("value"))
ipywidgets.VBox([label, selected])
"""


@pytest.fixture(scope="module")
def in_notebook_7(
    context: BrowserContext, request: pytest.FixtureRequest, lab_server: JupyterServer
) -> Iterator[NotebookPage]:
    page = new_page(context, request)
    complaints = Complaints(page)
    cells = [SPACE + AGAIN + EXPLORER, MASKS, "masks.status"]
    notebook = NotebookPage(page, lab_server.notebook(cells, NOTEBOOK_7))
    notebook.run_all()
    yield notebook
    notebook.close()
    page.close()
    complaints.check()


@pytest.fixture(scope="module")
def in_voila(context: BrowserContext, request: pytest.FixtureRequest, voila_server: JupyterServer) -> Iterator[Page]:
    page = new_page(context, request)
    complaints = Complaints(page)
    page.goto(voila_server.notebook([SPACE + AGAIN + EXPLORER, MASKS, LABELS]))
    yield page
    page.close()
    complaints.check()


def test_masks_in_notebook_7(in_notebook_7: NotebookPage) -> None:
    notebook = in_notebook_7
    explorer = Explorer(notebook.page)
    explorer.complete()
    before = explorer.painted()
    assert before[0] > 0

    dragged = explorer.drag("Circle size", 0.4)

    assert dragged > 20
    notebook.await_value("masks.circle_size", dragged)
    notebook.await_value("masks.status == 'done' and masks.result.circle_size", dragged)
    explorer.await_repaint(before)
    explorer.complete()
    explorer.stage.focus()
    selection = notebook.selection()
    notebook.page.keyboard.press("ArrowDown")
    notebook.page.keyboard.press("Enter")
    notebook.await_value("masks.cell", (4, 4))
    assert notebook.selection() == selection


def test_a_map_in_notebook_7(in_notebook_7: NotebookPage) -> None:
    notebook = in_notebook_7
    explorer = LatentPage(notebook.page)
    explorer.await_points(len(ALL))

    explorer.lasso(around(*FIRST))

    items = block(*FIRST)
    notebook.await_value("explorer.selected", items)
    expect(explorer.outlines).to_have_count(1)
    expect(explorer.rings).to_have_count(len(items))
    assert explorer.card_items() == by_iou(items)
    expect(explorer.card(items[0]).locator("img")).to_be_visible()
    before = notebook.selection()
    notebook.page.keyboard.press("a")
    notebook.await_value("explorer.mode", "add")
    explorer.lasso(around(*SECOND))
    notebook.await_value("explorer.selected", tuple(sorted({*items, *block(*SECOND)})))
    explorer.click(spot_of(40))
    notebook.await_value("explorer.highlighted", 40)
    assert notebook.selection() == before


def test_masks_in_voila(in_voila: Page) -> None:
    page = in_voila
    explorer = Explorer(page)
    explorer.complete()
    before = explorer.painted()
    assert before[0] > 0
    expect(page.get_by_text("Python has circle size 15, done, measured with 15")).to_be_visible()

    explorer.slider("Circle size").focus()
    page.keyboard.press("End")

    expect(page.get_by_text("Python has circle size 64, done, measured with 64")).to_be_visible()
    explorer.await_repaint(before)
    explorer.stage.click()
    expect(explorer.figures).to_have_count(3)


def test_a_map_in_voila(in_voila: Page) -> None:
    page = in_voila
    explorer = LatentPage(page)
    explorer.await_points(len(ALL))
    expect(page.get_by_text("Python has (), highlighted None")).to_be_visible()
    expect(explorer.legend).to_contain_text("Background: IoU by place")

    explorer.lasso(around(*FIRST))

    items = block(*FIRST)
    expect(page.get_by_text(f"Python has {items}, highlighted None")).to_be_visible()
    expect(explorer.rings).to_have_count(len(items))
    assert explorer.card_items() == by_iou(items)
    explorer.card(items[1]).locator("img").click()
    expect(page.get_by_text(f"Python has {items}, highlighted {items[1]}")).to_be_visible()
    expect(explorer.ring).to_have_count(1)
    explorer.cluster(1).click()
    expect(explorer.selections).to_have_count(2)
    assert {"a", "cluster 1"} == {*explorer.selections.locator("b").all_inner_texts()}
