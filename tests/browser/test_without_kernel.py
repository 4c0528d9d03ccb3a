"""Explorers whose kernel was restarted, in a notebook that was saved and opened again, and in an exported page.

One notebook with both explorers is shown in all these ways: what was drawn stays as it was and in its place, what needs
Python is disabled, one line of each explorer says why, and nothing is waited for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from appearance import misplaced
from at_rest import at_rest, boxes_of
from conftest import OpenLab
from exported_page import export, route_to_files
from hdm_page import Explorer
from jupyter_hosts import TIMEOUT_MS, JupyterServer, NotebookPage
from known_space import AGAIN, ALL, EXPLORER, SPACE, block, by_iou
from latent_page import LatentPage
from playwright.sync_api import Page, expect

HDM = """
image = np.zeros((1, 48, 48), np.float32)
image[:, 8:30, 8:30] = 1
masks = hw.HDMExplorer(lambda images: images[:, 0], image, image[0], circle_size=7, offset=6, fill="minimum")
masks
"""
RESTARTED = "The kernel was restarted: run this cell again."
EXPORTED = "There is no kernel: this page shows what was saved."
ITEMS = block((0, 0), (3, 4))
PINNED = (2, 3)
# What draws anew in the browser alone.
USABLE = [
    *("raw", "better", "worse", "range", "Blues", "magma", "More color maps", "mean", "change"),
    *("Image", "Edges", "Circle map", "Truth", "Prediction"),
]
_USABLE = """root => [...root.querySelectorAll('input, select, button')]
  .filter(node => node.closest('.hdm') && !node.matches(':disabled'))
  .map(({ type, value, ariaLabel, innerText }) => {
    if (type === 'radio') return value;
    return ariaLabel || (type === 'range' ? type : innerText);
  })
"""


class Both:
    """A page with both explorers."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.latent, self.masks = LatentPage(page), Explorer(page)

    def places(self) -> dict[str, Any]:
        """Where everything is, from the corner of its own explorer."""
        latent, masks = self.latent, self.masks
        parts = {
            "map": (latent.root, latent.figure),
            "points": (latent.root, latent.points),
            "gallery": (latent.root, latent.gallery),
            "cards": (latent.root, latent.cards),
            "toolbar": (latent.root, latent.toolbar),
            "clusters": (latent.root, latent.rows),
            "stage": (masks.root, masks.stage),
            "figures": (masks.root, masks.figures),
            "controls": (masks.root, masks.root.locator(".hdm-panel")),
        }
        found = {}
        for name, (root, part) in parts.items():
            (corner,), boxes = boxes_of(root), boxes_of(part)
            assert boxes, name
            found[name] = [
                tuple(round(box[side] - corner.get(side, 0) * (side in "xy")) for side in ("x", "y", "width", "height"))
                for box in boxes
            ]
        return found

    def await_drawn(self) -> None:
        self.latent.await_points(len(ALL))
        expect(self.latent.rows).to_have_count(2)
        expect(self.latent.names).to_have_count(1)
        self.masks.await_repaint([0, 0])
        expect(self.masks.figures).to_have_count(3)

    def drawn(self) -> dict[str, Any]:
        """What is drawn: colors, texts and pixels."""
        latent, masks = self.latent, self.masks
        first = latent.card(by_iou(ITEMS)[0])
        return {
            "fills": latent.fills(),
            "outlines": latent.outlines.count(),
            "names": latent.names.all_inner_texts(),
            "selections": latent.selections.all_inner_texts(),
            "cards": latent.card_items()[:4],
            "captions": latent.cards.all_inner_texts()[:4],
            "image": latent.pixel(first.locator("img"), 12, 12),
            "truth": latent.tally(first.get_by_label("True mask")),
            "prediction": latent.tally(first.get_by_label("Prediction")),
            "clusters": [latent.column(number) for number in range(1, 6)],
            "map": masks.painted(),
            "pinned": masks.root.locator(".hdm-numbers").inner_text(),
            "with the disc": latent.pixel(masks.figures.locator("img").first, 24, 24),
        }

    def check_without_kernel(self, why: str) -> None:
        latent, masks = self.latent, self.masks
        for root in (latent.root, masks.root):
            expect(root.get_by_role("alert")).to_have_count(1)
            expect(root.get_by_role("alert")).to_have_text(why)
            expect(root.get_by_text(why)).to_be_visible()
            expect(root.locator("[aria-busy=true]")).to_have_count(0)
        assert misplaced(latent.root) == []
        assert misplaced(masks.root) == []
        assert self.usable(masks.root) == USABLE
        sorting = ["Cluster", "Items", "Mean IoU ↑", "Median IoU", "Empty truth"]
        assert self.usable(latent.root) == ["three", "overlay", "range", *sorting]
        expect(self.page.get_by_text("Waiting")).to_have_count(0)
        expect(self.page.locator(".hdm-notice:not(:empty)")).to_have_count(0)

        # What the browser does by itself goes on.
        before = masks.painted()
        masks.choose("Magma")
        masks.await_repaint(before)
        masks.choose("Blues")
        masks.await_painted(before)
        # Gestures on stage and map are harmless.
        masks.stage.click(position={"x": 20, "y": 20})
        expect(masks.pinned(PINNED)).to_be_visible()
        masks.stage.hover(position={"x": 20, "y": 20})
        expect(masks.stage.locator(".hdm-tip")).to_contain_text("px")
        latent.figure.scroll_into_view_if_needed()
        ((x, y), (to_x, to_y)) = latent.on_page((0, 0), (0.2, 0.2))
        mouse = self.page.mouse
        mouse.move(x, y)
        mouse.down()
        mouse.move(x + 1, y)
        mouse.move(to_x, to_y, steps=3)
        mouse.up()
        self.page.keyboard.press("n")
        expect(latent.figure.locator(".lassoselector path")).to_have_count(0)
        expect(latent.tooltip).to_be_hidden()
        latent.clusters.locator("tbody tr").first.click()
        expect(latent.selections).to_have_count(1)
        mouse.move(0, 0)

    def usable(self, root: Any) -> list[str]:
        return [name.strip() for name in at_rest(root, _USABLE)]


def moved(places: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is elsewhere, or of another size, by more than the rounding of pixels."""
    found = []
    for name, boxes in places.items():
        before, now = np.array(boxes), np.array(after[name])
        if before.shape != now.shape or np.abs(before - now).max() > 1:
            found.append(f"{name}: {boxes} before, {after[name]} after")
    return found


class Saved:
    """The notebook while its kernel was there, and the page it is open in."""

    def __init__(self, notebook: NotebookPage, file: Path) -> None:
        self.notebook, self.file = notebook, file
        self.page = notebook.page
        both = Both(self.page)
        both.await_drawn()
        self.places, self.drawn = both.places(), both.drawn()


def reopen(saved: Saved, open_lab: OpenLab) -> None:
    """Open the notebook again, where its kernel has ended meanwhile: the one that is there now knows of no widget.

    JupyterLab reads the widgets of a kernel that connects late, on a busy machine, in place of those that were saved,
    and says of every one that it was not found. A user would load the page again.
    """
    not_read = saved.page.get_by_text("Error displaying widget: model not found")
    for _ in range(5):
        open_lab.complaints.check()
        saved.page.goto("about:blank")
        saved.notebook.reload()
        expect(not_read.or_(saved.page.locator(".hdm-latent .bqplot")).first).to_be_visible(timeout=2 * TIMEOUT_MS)
        if not not_read.count():
            return
        open_lab.complaints.forget("widget model not found")
        saved.notebook.close()


@pytest.fixture(scope="module")
def saved(open_lab: OpenLab, lab_server: JupyterServer) -> Iterator[Saved]:
    notebook = open_lab.fill(SPACE + AGAIN, EXPLORER, HDM)
    notebook.run(0)
    notebook.run(1)
    notebook.run(2)
    notebook.execute(f"explorer.select({ITEMS}); masks.wait(); masks.cell = {PINNED}")
    expect(LatentPage(notebook.page).cards.locator("img").first).to_be_visible()
    saved = Saved(notebook, lab_server.file(notebook.address))
    notebook.save()
    yield saved
    open_lab.complaints.check()


def test_a_restart_leaves_everything_in_its_place(saved: Saved) -> None:
    both = Both(saved.page)
    saved.notebook.restart_kernel()
    expect(both.masks.alert).to_have_text(RESTARTED, timeout=TIMEOUT_MS)
    assert moved(saved.places, both.places()) == []
    assert both.drawn() == saved.drawn
    both.check_without_kernel(RESTARTED)
    assert moved(saved.places, both.places()) == []


def test_a_notebook_that_is_opened_again_shows_what_was_saved(saved: Saved, open_lab: OpenLab) -> None:
    saved.notebook.close()
    reopen(saved, open_lab)
    saved.notebook.hide_file_browser()
    both = Both(saved.page)
    both.await_drawn()
    # With an idle kernel, then with none.
    for end in (lambda: None, saved.notebook.close):
        end()
        assert moved(saved.places, both.places()) == []
        assert both.drawn() == saved.drawn
        both.check_without_kernel(RESTARTED)


def test_an_exported_page_shows_what_was_saved(saved: Saved, page: Page, html_manager: Path, tmp_path: Path) -> None:
    loaded = route_to_files(page, html_manager)
    page.goto(export(saved.file, tmp_path).as_uri())
    both = Both(page)
    both.await_drawn()
    assert both.drawn() == saved.drawn
    both.check_without_kernel(EXPORTED)
    # The page loads what draws any widgets; our own parts load nothing.
    libraries = {
        re.search(r"/(?:npm/|libs/|(?=@))((?:@[\w-]+/)?[\w.-]+?)(?:\.js)?[@/]", address)[1] for address in loaded
    }
    assert libraries == {"mathjax", "require", "@jupyter-widgets/html-manager", "anywidget", "bqplot", "bqscales"}
