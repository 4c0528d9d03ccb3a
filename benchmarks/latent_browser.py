"""Seconds until a latent space can be worked with: `python benchmarks/latent_browser.py`.

A real JupyterLab in headless Chromium, synthetic spaces of 1,000 and 10,000 items with pictures of 64 px. From the
start of the cell that makes the explorer (everything imported, the space fitted) until all points are drawn; from the
release of a lasso around about a third of them until Python has the selection, and until the first pictures of it are
in the gallery. Times are taken in the page, frame by frame; Python's in the kernel by the same clock.
"""

from __future__ import annotations

import statistics

from _lab import JupyterServer, NotebookPage, lab
from playwright.sync_api import Page

ROUNDS = 3
SIZES = (1_000, 10_000)
# A network whose bottleneck holds two numbers of the picture's own, so that the items lie where they are put.
SPACE = """
import time
import numpy as np, torch
import hdm_widgets as hw

class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.bottleneck = torch.nn.Sequential(torch.nn.AvgPool2d(32), torch.nn.Conv2d(3, 4, 1))
        self.up = torch.nn.Upsample(scale_factor=32)
        self.head = torch.nn.Conv2d(4, 1, 1)
    def forward(self, x):
        return self.head(self.up(self.bottleneck(x)))

class Patches:
    def __len__(self):
        return COUNT
    def __getitem__(self, i):
        rng = np.random.default_rng(i)
        tone = rng.normal(0.5, 0.15, 3).clip(0, 1).astype(np.float32)
        picture = np.broadcast_to(tone[:, None, None], (3, 64, 64)).copy()
        row, col = rng.integers(0, 40, 2)
        picture[:, row:row + 20, col:col + 20] += 0.2
        mask = np.zeros((64, 64), np.uint8)
        mask[row:row + 20, col:col + 20] = 1
        return picture, mask

torch.manual_seed(0)
space = hw.LatentSpace(Two(), layer="bottleneck").fit(Patches(), progress=False)
space.cluster(6)
hw.LatentExplorer
print(len(space))
"""
SHOW = """
explorer = hw.LatentExplorer(space)
heard = []
explorer.observe(lambda change: heard.append(time.time()), names=["selected"])
explorer
"""
DRAWN = """([started, count]) => new Promise(done => {
  const look = () => {
    const points = document.querySelectorAll('.hdm-latent .bqplot .object_grp path').length;
    const table = document.querySelector('.hdm-clusters tbody tr');
    if (points >= count && table) done((performance.now() - started) / 1000); else requestAnimationFrame(look);
  };
  look();
})"""
# Armed before the gesture: the time of the release, and of the first picture that the gallery shows afterwards.
ARM = """() => {
  window.lasso = {};
  addEventListener('mouseup', () => {
    window.lasso.released = performance.now();
    window.lasso.at = Date.now() / 1000;
    const look = () => {
      const shown = [...document.querySelectorAll('.hdm-gallery .hdm-frame img')].filter(img => img.complete);
      if (shown.length) window.lasso.pictures = performance.now(); else requestAnimationFrame(look);
    };
    look();
  }, { capture: true, once: true });
}"""


def lasso(page: Page) -> tuple[float, float]:
    """Lasso the left part of the map: the time of the release, and seconds from it to the first images."""
    area = page.locator(".hdm-latent .bqplot .plotarea_background").bounding_box()
    assert area is not None
    left, top = area["x"] + 0.1 * area["width"], area["y"] + 0.1 * area["height"]
    right, bottom = area["x"] + 0.45 * area["width"], area["y"] + 0.9 * area["height"]
    page.evaluate(ARM)
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 5)):
        page.mouse.move(x, y, steps=5)
    page.mouse.up()
    page.wait_for_function("() => window.lasso.pictures", timeout=300_000)
    seen = page.evaluate("() => window.lasso")
    return seen["at"], (seen["pictures"] - seen["released"]) / 1000


def measure(page: Page, server: JupyterServer, count: int) -> tuple[float, float, float]:
    notebook = NotebookPage(page, server.notebook([SPACE.replace("COUNT", str(count)), SHOW]))
    assert notebook.run(0) == str(count)
    started = page.evaluate("() => performance.now()")
    notebook.run(1)
    drawn = page.evaluate(DRAWN, [started, min(count, 10_000)])
    at, pictures = lasso(page)
    heard, selected = notebook.value("heard[-1], len(explorer.selected)")
    assert 0.05 * count < selected < 0.9 * count, selected
    notebook.close()
    return drawn, heard - at, pictures


def main() -> None:
    names = ("cell started to all points drawn", "lasso released to Python", "lasso released to first pictures")
    with lab() as (browser, server):
        for count in SIZES:
            results = []
            for _ in range(ROUNDS):
                page = browser.new_page(viewport={"width": 1300, "height": 1300})
                results.append(measure(page, server, count))
                page.close()
            for name, times in zip(names, zip(*results, strict=True), strict=True):
                print(
                    f"{count:>6} points  {name:<36}{statistics.median(times):6.2f} s   "
                    f"(of {', '.join(f'{time:.2f}' for time in times)})"
                )


if __name__ == "__main__":
    main()
