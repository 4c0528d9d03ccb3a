"""What the map of very many items costs: `python benchmarks/map.py`.

Synthetic spaces of 10,000, 100,000, 1 M and 10 M items, each in a process of its own. CPU seconds of one thread of the
kernel, without a browser: to make the explorer, from a lasso around a fourth of the items until everything is told to
the browser, a thumbnail, views (zoomed in and whole), the table, the table of clusters, choosing a cluster, the export
of 10,000 selected items; the bytes that undo holds after 100 lassos, the bytes that one lasso sends, and the peak of
memory. At 10,000 items the map is drawn as points, and once more as aggregates.

With `--browser`, JupyterLab in headless Chromium: seconds until the map is drawn, from a lasso's release to Python and
to its first images, the memory of the page, and the bytes that came through its web sockets until the map was drawn and
from the lasso on. At 10,000 items both ways of drawing, too.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import ipywidgets
import numpy as np
import torch
from _many_items import clustered, many_items

import hdm_widgets as hw
from hdm_widgets.widgets.latent import point_figure

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
_VIEW = {"rows": 217, "cols": 300}
_EXPORTED = 10_000
_STEPS = 100


def cpu(work: Callable[[], Any]) -> tuple[Any, float]:
    """What some work returns, and its CPU seconds."""
    started = time.process_time()
    return work(), time.process_time() - started


def polygon(center: np.ndarray, radius: float) -> list[float]:
    """Corners of a lasso around a position, x and y in turns."""
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    corners = center + np.stack([np.cos(angles), np.sin(angles)], axis=1) * [2 * radius, radius]
    return corners.ravel().tolist()


def sent_bytes(work: Callable[[], Any]) -> int:
    """Bytes of the arrays and images that some work tells the browser."""
    total = 0
    send = ipywidgets.Widget._send

    def counted(self: Any, msg: Any, buffers: Any = None) -> None:
        nonlocal total
        total += len(str(msg)) + sum(memoryview(buffer).nbytes for buffer in buffers or ())
        send(self, msg, buffers)

    ipywidgets.Widget._send = counted
    try:
        work()
    finally:
        ipywidgets.Widget._send = send
    return total


def measure(count: int, aggregated: bool) -> None:
    """Print one row."""
    torch.set_num_threads(1)
    if aggregated:
        point_figure.MOST_POINTS = min(point_figure.MOST_POINTS, count - 1)
    space = many_items(count)
    clustered(space)
    space.table()  # the surface's values at all items are found once for a space
    _ = hw.LatentExplorer  # imported before it is measured
    explorer, display = cpu(lambda: hw.LatentExplorer(space))
    figure, history = explorer._scatter, explorer._history
    center = space.embedding_.mean(axis=0)

    def lasso(radius: float) -> None:
        if aggregated or count > point_figure.MOST_POINTS:
            explorer._gesture({"kind": "lasso", "mode": "replace", "polygon": polygon(center, radius)})
        else:
            inside = np.abs(space.embedding_[:, :2] - center) < [2 * radius, radius]
            explorer._lassoed(np.flatnonzero(inside.all(axis=1)))

    times = {"display": display, "lasso": cpu(lambda: lasso(0.8))[1]}
    times["hover"] = cpu(lambda: explorer._thumbnail({"item": count // 2}))[1]
    x0, x1, y0, y1 = figure.bounds
    near = [x0 + 0.3 * (x1 - x0), x1 - 0.3 * (x1 - x0), y0 + 0.3 * (y1 - y0), y1 - 0.3 * (y1 - y0)]
    times["zoom"] = cpu(lambda: explorer._look({"bounds": near, **_VIEW}))[1]
    times["whole"] = cpu(lambda: explorer._look({"bounds": [x0, x1, y0, y1], **_VIEW}))[1]
    times["table"] = cpu(space.table)[1]
    times["clusters"] = cpu(explorer._table._show)[1]
    times["choose"] = cpu(lambda: explorer._choose_cluster(0))[1]
    sent = sent_bytes(lambda: lasso(0.81))
    explorer.select(np.arange(0, count, max(1, count // _EXPORTED)))
    times["export"] = cpu(explorer._export)[1]
    explorer.clear()
    for step in range(_STEPS):
        history.put(np.arange(step % 7, count, 3), "one")
    kept = {id(one.items): one.items.bits.nbytes for state in history._past for one in state[0]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    drawn = "aggregates" if aggregated or count > point_figure.MOST_POINTS else "points"
    cells = [f"{count:,}", drawn, *(f"{seconds:.3f}" for seconds in times.values())]
    cells += [f"{sum(kept.values()) / 1e6:.1f} MB, {len(history._past)}", f"{sent / 1e6:.2f} MB", f"{peak:.1f} GB"]
    print(f"| {' | '.join(cells)} |", flush=True)
    explorer.close()


CELLS = """
import sys, time
sys.path.insert(0, FOLDER)
import hdm_widgets as hw
from _many_items import clustered, many_items
from hdm_widgets.widgets.latent import point_figure
point_figure.MOST_POINTS = MOST
space = many_items(COUNT)
clustered(space)
space.table()
print(len(space))
"""


def in_browser(count: int, kind: str) -> None:
    """Print what one size costs in a browser, drawn as points or as aggregates."""
    from _lab import NotebookPage, lab
    from latent_browser import SHOW, lasso

    with lab() as (browser, server):
        page = browser.new_page(viewport={"width": 1300, "height": 1300})
        received = [0]

        def count_bytes(frame: str | bytes) -> None:
            received[0] += len(frame)

        page.on("websocket", lambda socket: socket.on("framereceived", count_bytes))
        cells = CELLS.replace("FOLDER", repr(str(Path(__file__).parent))).replace("COUNT", str(count))
        cells = cells.replace("= MOST\n", f"= {count if kind == 'points' else count - 1}\n")
        notebook = NotebookPage(page, server.notebook([cells, SHOW]))
        notebook.run(0)
        started, before = page.evaluate("() => performance.now()"), received[0]
        notebook.run(1)
        page.wait_for_selector(".hdm-latent .bqplot image[href]", timeout=300_000)
        page.wait_for_selector(".hdm-clusters tbody tr", timeout=300_000)
        drawn = (page.evaluate("() => performance.now()") - started) / 1000
        shown = received[0]
        at, pictures = lasso(page)
        heard, selected = notebook.value("heard[-1], len(explorer.selected)")
        memory = page.evaluate("() => performance.memory.usedJSHeapSize") / 1e6
        print(
            f"| {count:,} | {kind} | {drawn:.2f} | {heard - at:.2f} | {pictures:.2f} | {selected:,} | {memory:.0f} MB"
            f" | {(shown - before) / 1e6:.2f} MB | {(received[0] - shown) / 1e6:.2f} MB |",
            flush=True,
        )
        notebook.close()


def kinds(count: int) -> tuple[str, ...]:
    """How so many items are drawn: few ones both ways."""
    return ("points", "aggregates") if count <= point_figure.MOST_POINTS else ("aggregates",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--browser", action="store_true", help="measure in Chromium")
    parser.add_argument("--one", choices=("points", "aggregates"), help="measure one size in this process")
    options = parser.parse_args()
    if options.one:
        measure(options.sizes[0], options.one == "aggregates")
        return
    if options.browser:
        print(
            "| items | drawn as | drawn, s | lasso to Python, s | to images, s | selected | page |"
            " received until drawn | received from the lasso on |\n" + "|---" * 9 + "|"
        )
        for count in options.sizes:
            for kind in kinds(count):
                in_browser(count, kind)
        return
    print(
        "| items | drawn as | display | lasso | hover | zoom | whole view | table | clusters | choose a cluster |"
        " export | undo: bytes, steps | a lasso sends | peak |\n" + "|---" * 14 + "|",
        flush=True,
    )
    for count in options.sizes:
        for kind in kinds(count):
            subprocess.run([sys.executable, __file__, "--one", kind, "--sizes", str(count)], check=True)


if __name__ == "__main__":
    main()
