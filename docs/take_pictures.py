"""Take the pictures of both explorers anew, after the screen has changed: `python docs/take_pictures.py`.

A real JupyterLab in headless Chromium, light and dark, with the models and data of the tutorials. The pictures land in
notebooks/images/: `hdm_explorer.png`, `hdm_explorer_dark.png`, and so on.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))
from hdm_page import Explorer
from jupyter_hosts import TIMEOUT_MS, JupyterServer, NotebookPage, find_chromium, jupyterlab
from latent_page import LatentPage

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server"]
IMAGES = Path(__file__).parents[1] / "notebooks" / "images"
HDM = """
import hdm_widgets as hw
model, image, segment, cue = hw.demo.shapes(0)
explorer = hw.HDMExplorer(model, image, segment, circle_size=10, offset=4)
explorer
"""
LATENT = """
import hdm_widgets as hw
model, scenes = hw.demo.aerial()
space = hw.LatentSpace(model).fit(scenes, progress=False)
explorer = hw.LatentExplorer(space)
explorer
"""
SELECT = """
explorer.wait()
x, y = space.embedding_[:, :2].T
explorer.select((x < 0) & (y > 0))
explorer.select((x > 4.6) & (y > -1))
explorer.select((x > -1.3) & (x < 5.6) & (y < -1.7 - 0.35 * (x < 2)) & (space.iou_ > 0.4))
explorer.active = 0
"""


def hdm(page: Page, server: JupyterServer) -> tuple[NotebookPage, Locator]:
    """The HDM explorer with a pinned disc, and the pointer on the one beside it."""
    notebook = NotebookPage(page, server.notebook([HDM]))
    notebook.hide_file_browser()
    notebook.run_all()
    explorer = Explorer(page)
    explorer.complete()
    explorer.stage.click(position=explorer.place((13, 23), 10, 4, 128))
    expect(explorer.figures).to_have_count(2)
    explorer.stage.hover(position=explorer.place((13, 24), 10, 4, 128))
    return notebook, explorer.root


def latent(page: Page, server: JupyterServer) -> tuple[NotebookPage, Locator]:
    """The latent explorer with three selections, of which the first is shown."""
    notebook = NotebookPage(page, server.notebook([LATENT]))
    notebook.hide_file_browser()
    notebook.run_all()
    explorer = LatentPage(page)
    # The model runs on 1,200 images first: minutes where the machine is busy.
    expect(explorer.points).to_have_count(1200, timeout=10 * TIMEOUT_MS)
    explorer.await_points(1200)
    expect(explorer.rows.first).to_be_visible()
    notebook.execute(SELECT)
    expect(explorer.selections).to_have_count(3)
    expect(explorer.cards.first.locator("img").first).to_be_visible()
    page.mouse.move(0, 0)
    return notebook, explorer.root


def take(page: Page, server: JupyterServer, name: str) -> None:
    """Both pictures of one explorer."""
    notebook, root = {"hdm": hdm, "latent": latent}[name](page, server)
    for theme, ending in (("Light", ""), ("Dark", "_dark")):
        change = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
        page.evaluate(change, f"JupyterLab {theme}")
        expect(page.locator("body")).to_have_attribute("data-jp-theme-light", str(theme == "Light").lower())
        expect(page.locator("#jupyterlab-splash")).to_have_count(0)
        # Pictures and colors follow the theme within a few frames.
        page.wait_for_timeout(1500)
        root.screenshot(path=IMAGES / f"{name}_explorer{ending}.png")
    notebook.close()


def main() -> None:
    """Take all pictures."""
    expect.set_options(timeout=TIMEOUT_MS)
    with jupyterlab(Path(tempfile.mkdtemp())) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        for name in ("hdm", "latent"):
            page = browser.new_page(viewport={"width": 1180, "height": 1500})
            take(page, server, name)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
