"""Take the pictures of the widgets anew, after the screen has changed: `python docs/take_pictures.py [NAME ...]`.

A real JupyterLab in headless Chromium, light and dark, with the models and data of the tutorials. The pictures land in
notebooks/images/: `hdm_explorer.png`, `hdm_explorer_dark.png`, and so on; with names, those of these widgets only.
"""

from __future__ import annotations

import json
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
model, scenes = hw.demo.aerial(600)
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

TRAINED = """
import copy, torch
import hdm_widgets as hw
torch.set_num_threads(1)
model, scenes = hw.demo.aerial(160)
weights = {"car park": 0.6, "scattered houses": 0.2, "dense blocks": 0.2}
later = copy.deepcopy(model)
hw.train(later, hw.data.AerialScenes(120, seed=21, weights=weights), epochs=2, progress=False)
before, after = (hw.LatentSpace(one, iou_empty=1.0).fit(scenes, progress=False) for one in (model, later))
explorer = hw.LatentComparison(hw.compare_spaces(before, after, names=("before", "after")))
explorer
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
    # The model runs on 600 images first: minutes where the machine is busy.
    expect(explorer.points).to_have_count(600, timeout=10 * TIMEOUT_MS)
    explorer.await_points(600)
    expect(explorer.rows.first).to_be_visible()
    notebook.execute(SELECT)
    expect(explorer.selections).to_have_count(3)
    expect(explorer.cards.first.locator("img").first).to_be_visible()
    page.mouse.move(0, 0)
    return notebook, explorer.root


def comparison(page: Page, server: JupyterServer) -> tuple[NotebookPage, Locator]:
    """Both maps before and after training, with the items that got worse."""
    notebook = NotebookPage(page, server.notebook([TRAINED]))
    notebook.hide_file_browser()
    notebook.run_all()
    root = page.locator(".hdm-latent")
    # Two networks run on 160 images, and one is trained first.
    root.get_by_role("button", name="Got worse").click(timeout=10 * TIMEOUT_MS)
    expect(root.locator(".hdm-card img").first).to_be_visible()
    page.mouse.move(0, 0)
    return notebook, root


def many_patches(page: Page, server: JupyterServer) -> tuple[NotebookPage, Locator]:
    """The latent explorer of the notebook on many patches, which selects a cluster itself."""
    cells = json.loads((IMAGES.parent / "04_many_patches.ipynb").read_text(encoding="utf-8"))["cells"]
    shown = next(number for number, cell in enumerate(cells) if "picture" in cell["metadata"])
    code = ["".join(cell["source"]) for cell in cells[: shown + 1] if cell["cell_type"] == "code"]
    notebook = NotebookPage(page, server.notebook(code))
    notebook.hide_file_browser()
    notebook.run_all()
    explorer = LatentPage(page)
    # Two workers run the model on 3,024 patches first.
    expect(explorer.points).to_have_count(3024, timeout=10 * TIMEOUT_MS)
    explorer.await_points(3024)
    expect(explorer.cards.first.locator("img").first).to_be_visible()
    page.mouse.move(0, 0)
    return notebook, explorer.root


SHOWN = {
    "hdm_explorer": hdm,
    "latent_explorer": latent,
    "latent_comparison": comparison,
    "many_patches": many_patches,
}


def take(page: Page, server: JupyterServer, name: str) -> None:
    """Both pictures of one widget."""
    notebook, root = SHOWN[name](page, server)
    for theme, ending in (("Light", ""), ("Dark", "_dark")):
        change = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
        page.evaluate(change, f"JupyterLab {theme}")
        expect(page.locator("body")).to_have_attribute("data-jp-theme-light", str(theme == "Light").lower())
        expect(page.locator("#jupyterlab-splash")).to_have_count(0)
        # Pictures and colors follow the theme within a few frames.
        page.wait_for_timeout(1500)
        root.screenshot(path=IMAGES / f"{name}{ending}.png")
    notebook.close()


def main() -> None:
    """Take the pictures that are named, or all."""
    expect.set_options(timeout=TIMEOUT_MS)
    with jupyterlab(Path(tempfile.mkdtemp())) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        for name in sys.argv[1:] or SHOWN:
            page = browser.new_page(viewport={"width": 1180, "height": 1500})
            take(page, server, name)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
