"""Seconds until something is on screen: `python benchmarks/browser.py`.

A real JupyterLab in headless Chromium, the planted-cue demo at 128 px. From the moment the cell is started (kernel
ready, nothing imported) to the first coarse map on the canvas and to the whole map; from the release of a slider
to the first map of the new settings. Times are taken in the page, frame by frame.
"""

from __future__ import annotations

import statistics

from _lab import Explorer, JupyterServer, NotebookPage, lab
from playwright.sync_api import Page

ROUNDS = 3
CELL = """
import hdm_widgets as hw
model, image, segment, cue = hw.demo.shapes(0)
hw.HDMExplorer(model, image, segment, circle_size=10, offset=4)
"""

# Seconds from a start until the circle map is one of the present settings, and until the scan is complete.
WATCH = """started => new Promise(done => {
  const times = {};
  const look = () => {
    const canvas = document.querySelector('canvas.hdm-map:not(.hdm-stale)');
    const status = document.querySelector('.hdm [role=status]')?.textContent ?? '';
    const now = (performance.now() - started) / 1000;
    const moving = /Coarse|Refining/.test(status);
    if (!times.first && canvas?.width > 300 && (moving || /Complete/.test(status))) times.first = now;
    if (times.first && /Complete/.test(status)) { times.full = now; done(times); return; }
    requestAnimationFrame(look);
  };
  look();
})"""


def measure(page: Page, server: JupyterServer) -> tuple[float, float, float]:
    notebook = NotebookPage(page, server.notebook([CELL]))
    started = page.evaluate("() => performance.now()")
    notebook.run_all()
    times = page.evaluate(WATCH, started)
    page.evaluate(
        """() => document.querySelector('.hdm input[type=range]').addEventListener('change', () => {
          window.released = performance.now();
        }, { capture: true })"""
    )
    Explorer(page).drag("Circle size", 0.5)
    again = page.evaluate(WATCH, page.evaluate("() => window.released"))
    notebook.close()
    return times["first"], times["full"], again["first"]


def main() -> None:
    with lab() as (browser, server):
        results = []
        for _ in range(ROUNDS):
            page = browser.new_page(viewport={"width": 1300, "height": 1500})
            results.append(measure(page, server))
            page.close()
    names = ("cell started to first coarse map", "cell started to whole map", "slider released to new coarse map")
    for name, times in zip(names, zip(*results, strict=True), strict=True):
        print(f"{name:<36}{statistics.median(times):6.2f} s   (of {', '.join(f'{time:.2f}' for time in times)})")


if __name__ == "__main__":
    main()
