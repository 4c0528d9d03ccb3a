"""marimo: the HDM explorer works there, and the latent explorer says where it does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from appearance import misplaced, rgb
from hdm_page import Explorer
from jupyter_hosts import TIMEOUT_MS, JupyterServer, marimo
from playwright.sync_api import Page, expect

# A cell that uses a widget's traits runs again when they change, if marimo knows the widget as its own.
NOTEBOOK = """
# /// script
# [tool.marimo.display]
# theme = "dark"
# ///
import marimo

app = marimo.App(width="full")


@app.cell
def _():
    import marimo as mo
    import hdm_widgets as hw
    return hw, mo


@app.cell
def _(hw, mo):
    model, image, segment, cue = hw.demo.shapes(0)
    explorer = mo.ui.anywidget(hw.HDMExplorer(model, image, segment, circle_size=15, offset=16, fill="minimum"))
    explorer
    return (explorer,)


@app.cell
def _(explorer, mo):
    mo.md(f"Python has circle size {explorer.value['circle_size']} and cell {explorer.value['cell']}")
    return


@app.cell
def _(hw):
    network, scenes = hw.demo.aerial(12)
    latent = hw.LatentExplorer(hw.LatentSpace(network).fit(scenes, progress=False))
    latent
    return


if __name__ == "__main__":
    app.run()
"""


@pytest.fixture
def server(chromium: str, tmp_path: Path) -> Iterator[JupyterServer]:
    with marimo(tmp_path, NOTEBOOK.lstrip()) as server:
        yield server


def test_marimo_in_its_dark_theme(server: JupyterServer, page: Page) -> None:
    page.goto(server.address)
    explorer = Explorer(page)
    explorer.complete()
    before = explorer.painted()
    assert before[0] > 0
    assert max(rgb(explorer.root, "backgroundColor")) < 60
    assert min(rgb(explorer.root, "color")) > 200
    assert misplaced(explorer.root) == []
    expect(page.get_by_text("Python has circle size 15 and cell None")).to_be_visible()

    explorer.slider("Circle size").focus()
    page.keyboard.press("End")

    expect(page.get_by_text("Python has circle size 64 and cell None")).to_be_visible()
    explorer.await_repaint(before)
    explorer.complete()
    explorer.stage.click(position={"x": 5, "y": 40})
    expect(explorer.figures).to_have_count(3)
    expect(page.get_by_text(re.compile(r"Python has circle size 64 and cell [(\[]\d, 0"))).to_be_visible()
    expect(explorer.alert).to_have_count(0)

    line = page.get_by_text("marimo cannot show the latent explorer")
    expect(line).to_be_visible(timeout=TIMEOUT_MS)
    expect(line.locator("xpath=..")).to_contain_text("JupyterLab, Notebook 7 or Voila")
    expect(page.get_by_text("not supported")).to_have_count(0)
