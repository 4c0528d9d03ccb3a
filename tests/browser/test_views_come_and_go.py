"""An explorer that no page shows any more pauses; what an `interact` replaces is closed; a new view goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import OpenLab
from hdm_page import Explorer
from jupyter_hosts import TIMEOUT_MS, NotebookPage
from latent_page import LatentPage
from playwright.sync_api import expect

# A model that passes so many images as the test lets through.
PREPARE = """
import threading
import ipywidgets
import numpy as np
import torch
import hdm_widgets as hw

torch.set_num_threads(1)
image = np.full((1, 64, 64), 0.1, np.float32)
image[:, 16:40, 12:50] = 1
gate = threading.Semaphore(0)
made, keep = [], True

def slow(images):
    assert gate.acquire(timeout=120)
    return images[:, 0]

def make(size=9):
    explorer = hw.HDMExplorer(slow, image, image[0] > 0.5, circle_size=size, offset=8, fill="minimum", batch_size=1)
    if keep:
        made.append(explorer)
    return explorer

def opened():
    instances = ipywidgets.widgets.widget._instances.values()
    return sum(type(one).__name__ == "HDMExplorer" for one in instances)
"""
INTERACT = "ipywidgets.interact(make, size=(9, 19))"
THREADS = "sum(one.name in ('hdm-explorer', 'clusters') for one in threading.enumerate())"
STATUSES = "[one.status for one in made]"
_CLEAR = """(index) => {
  const { content } = window.testedPanel;
  content.deselectAll();
  content.activeCellIndex = index;
  return window.jupyterapp.commands.execute('notebook:clear-cell-output');
}"""


@pytest.fixture(scope="module")
def one_notebook(open_lab: OpenLab) -> NotebookPage:
    notebook = open_lab.fill(PREPARE, INTERACT, "made[0]", "made[0]")
    notebook.run(0)
    return notebook


@pytest.fixture
def notebook(one_notebook: NotebookPage, open_lab: OpenLab) -> Iterator[NotebookPage]:
    """The notebook without any explorer."""
    yield one_notebook
    open_lab.complaints.check()
    one_notebook.execute("gate.release(1000)\nfor one in made: one.close()\nmade.clear()")
    for index in (1, 2, 3):
        one_notebook.page.evaluate(_CLEAR, index)
    one_notebook.execute("gate = threading.Semaphore(0)")


def move(notebook: NotebookPage, to: int) -> None:
    """Move the slider of the `interact` by one; the explorer of its new value is on the page."""
    notebook.page.locator(".widget-interact .noUi-handle").focus()
    notebook.page.keyboard.press("ArrowRight")
    expect(Explorer(notebook.page).slider("Circle size")).to_have_value(str(to), timeout=TIMEOUT_MS)


@pytest.mark.parametrize("kept", [True, False])
def test_of_an_interact_only_what_is_on_the_page_works(notebook: NotebookPage, kept: bool) -> None:
    notebook.execute(f"keep = {kept}")
    notebook.run(1)
    expect(Explorer(notebook.page).status).to_have_text("Starting")
    start = int(Explorer(notebook.page).slider("Circle size").input_value())
    for moved in (1, 2, 3):
        move(notebook, start + moved)
        if kept:
            # The first and all others but the last are shown nowhere.
            notebook.await_value(STATUSES, [*["idle"] * moved, "running"])
        else:
            notebook.await_value("opened()", 1)


def test_a_cleared_output_pauses_a_scan_and_another_one_goes_on_with_it(notebook: NotebookPage) -> None:
    explorer = Explorer(notebook.page)
    notebook.execute("keep = True; make(); gate.release(30)")
    # What was never shown is not paused.
    notebook.await_value("made[0].status, gate._value", ("running", 0))
    notebook.run(2)
    notebook.run(3)
    expect(explorer.status).to_be_visible()
    expect(Explorer(notebook.page, 1).status).to_be_visible()
    notebook.page.evaluate(_CLEAR, 2)
    expect(notebook.page.locator(".hdm-explorer")).to_have_count(1)
    # A page that is loaded again takes nothing off, and shows what Python still has.
    notebook.save()
    notebook.reload()
    expect(explorer.status).to_be_visible()
    assert notebook.value(STATUSES) == ["running"]

    notebook.page.evaluate(_CLEAR, 3)

    notebook.await_value(STATUSES, ["idle"])
    # The image that is being run may end; no other one is.
    notebook.execute("gate.release(5)")
    notebook.await_value(f"{THREADS}, gate._value", (0, 4))
    assert notebook.value("made[0].status, made[0].result.complete") == ("idle", False)
    notebook.run(2)
    notebook.await_value(STATUSES, ["running"])
    notebook.execute("gate.release(1000)")
    explorer.complete()
    assert notebook.value("made[0].status, made[0].result.complete") == ("done", True)


def test_a_search_for_clusters_pauses_too(notebook: NotebookPage) -> None:
    notebook.execute("""
rng = np.random.default_rng(0)
scenes = [(one.astype(np.float32), one[0] > 0.5) for one in rng.random((24, 2, 8, 8))]
space = hw.LatentSpace(torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.Conv2d(3, 1, 1)), layer="0")
space.fit(scenes, progress=False)
real = hw.LatentSpace.comparison
def comparison(self):
    for one in real(self):
        gate.acquire(timeout=120)
        yield one
hw.LatentSpace.comparison = comparison
made.append(hw.LatentExplorer(space))
""")
    latent = LatentPage(notebook.page)
    notebook.run(2)
    expect(latent.clusters.get_by_role("status")).to_have_text("Comparing clusterings …")
    notebook.page.evaluate(_CLEAR, 2)
    expect(latent.root).to_have_count(0)
    notebook.execute("gate.release(1000)")
    notebook.await_value(THREADS, 0)
    assert notebook.value("hasattr(made[0].space, 'clusters_')") is False
    notebook.run(3)
    expect(latent.clusters.get_by_role("status")).to_contain_text("silhouette")
    notebook.execute("hw.LatentSpace.comparison = real")
