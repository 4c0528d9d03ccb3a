"""Memory over twenty moves of an interact: `python benchmarks/interact.py`.

A real JupyterLab in headless Chromium. The function of an `ipywidgets.interact` makes an explorer of an image at
512 px, whose scan takes minutes, and a slider chooses the image. After each move: resident memory of the kernel, scans
that run, and explorers that are open. The slider is moved as soon as the explorer of the move before is on the page; a
scan that nobody sees ends with the batch, or the step of its preparation, that is running.
"""

from __future__ import annotations

from _lab import TIMEOUT_MS, NotebookPage, lab
from playwright.sync_api import expect

MOVES = 20
PREPARE = """
import threading
import ipywidgets
import psutil
import torch
import hdm_widgets as hw

torch.manual_seed(0)
torch.set_num_threads(1)
model = hw.UNet(3, 1, width=16).eval()
images = torch.rand(21, 3, 512, 512)
truth = torch.zeros(512, 512)
truth[100:300, 120:340] = 1

calls = 0

def explore(image):
    global calls
    calls += 1
    return hw.HDMExplorer(model, images[image], truth, circle_size=25, offset=5)

def measured():
    opened = [one for one in ipywidgets.widgets.widget._instances.values() if isinstance(one, hw.HDMExplorer)]
    running = sum(one.name == "hdm-explorer" for one in threading.enumerate())
    return psutil.Process().memory_info().rss / 1e9, running, len(opened)

def settled():
    for scan in [one for one in threading.enumerate() if one.name == "hdm-explorer"][:-1]:
        scan.join(20)
    return measured()
"""
INTERACT = "ipywidgets.interact(explore, image=(0, 20))"


def main() -> None:
    with lab() as (browser, server):
        page = browser.new_page()
        notebook = NotebookPage(page, server.notebook([PREPARE, INTERACT]))
        notebook.run(0)
        print(f"{'moves':>5}{'memory':>10}{'scans that run':>16}{'explorers':>11}")
        print(f"{'none':>5}{notebook.value('measured()')[0]:>7.2f} GB")
        notebook.run(1)
        handle = page.locator(".widget-interact .noUi-handle")
        for move in range(MOVES + 1):
            if move:
                handle.focus()
                page.keyboard.press("ArrowRight" if move > MOVES // 2 else "ArrowLeft")
            # The slider sends no further move while the kernel is busy with one.
            notebook.await_value("calls", move + 1)
            expect(page.locator(".hdm-explorer")).to_have_count(1, timeout=TIMEOUT_MS)
            gigabytes, running, opened = notebook.value("measured()")
            print(f"{move:>5}{gigabytes:>7.2f} GB{running:>16}{opened:>11}")
        gigabytes, running, opened = notebook.value("settled()")
        print(f"{'later':>5}{gigabytes:>7.2f} GB{running:>16}{opened:>11}")
        notebook.close()


if __name__ == "__main__":
    main()
