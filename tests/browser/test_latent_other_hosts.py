"""The latent explorer in Notebook 7 and in Voila: it appears, and a lasso reaches Python."""

from __future__ import annotations

from collections.abc import Callable

from jupyter_hosts import JupyterServer, NotebookPage
from known_space import AGAIN, ALL, EXPLORER, SPACE, around, block, by_iou, spot_of
from latent_page import LatentPage
from playwright.sync_api import Page, expect

FIRST, SECOND = ((0, 0), (2, 1)), ((4, 4), (8, 6))
# Voila shows no code and takes none: Python says in a label what it knows.
LABEL = """
import ipywidgets
label = ipywidgets.Label()

def say(change=None):
    label.value = f"Python has {explorer.selected}, highlighted {explorer.highlighted}"

explorer.observe(say, names=["selected", "highlighted"])
say()
label
"""


def test_notebook_7(notebook_server: JupyterServer, open_in: Callable[..., NotebookPage]) -> None:
    notebook = open_in(notebook_server, [SPACE + AGAIN + EXPLORER, "explorer.selected"])
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


def test_voila(voila_server: JupyterServer, page: Page) -> None:
    page.goto(voila_server.notebook([SPACE + AGAIN + EXPLORER, LABEL]))
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
