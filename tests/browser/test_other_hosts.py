"""The HDM explorer in Notebook 7 and in Voila: it appears, and a gesture reaches Python."""

from __future__ import annotations

from collections.abc import Callable

from hdm_page import Explorer
from jupyter_hosts import JupyterServer, NotebookPage
from playwright.sync_api import Page, expect

CELL = """
import hdm_widgets as hw
model, image, segment, cue = hw.demo.shapes(0)
explorer = hw.HDMExplorer(model, image, segment, circle_size=15, offset=16, fill="minimum", order="change")
explorer
"""
# Voila shows no code and takes none: Python says in a label what it knows.
LABEL = """
import ipywidgets
label = ipywidgets.Label()

def say(change=None):
    size = explorer.result.circle_size if explorer.result is not None else None
    label.value = f"Python has circle size {explorer.circle_size}, {explorer.status}, measured with {size}"

explorer.observe(say, names=["circle_size", "status"])
say()
label
"""


def test_notebook_7(notebook_server: JupyterServer, open_in: Callable[..., NotebookPage]) -> None:
    notebook = open_in(notebook_server, [CELL, "explorer.status"])
    explorer = Explorer(notebook.page)
    explorer.complete()
    before = explorer.painted()
    assert before[0] > 0

    dragged = explorer.drag("Circle size", 0.4)

    assert dragged > 20
    notebook.await_value("explorer.circle_size", dragged)
    notebook.await_value("explorer.status == 'done' and explorer.result.circle_size", dragged)
    explorer.await_repaint(before)
    explorer.complete()
    explorer.stage.focus()
    selection = notebook.selection()
    notebook.page.keyboard.press("ArrowDown")
    notebook.page.keyboard.press("Enter")
    notebook.await_value("explorer.cell", (4, 4))
    assert notebook.selection() == selection


def test_voila(voila_server: JupyterServer, page: Page) -> None:
    page.goto(voila_server.notebook([CELL, LABEL]))
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
