"""A real JupyterLab and a headless Chromium, for benchmarks of what is on screen.

The browser tests' own server and notebook; a file of its own because three benchmarks need it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))
from hdm_page import Explorer
from jupyter_hosts import TIMEOUT_MS, JupyterServer, NotebookPage, find_chromium, jupyterlab

__all__ = ["TIMEOUT_MS", "Browser", "Explorer", "JupyterServer", "NotebookPage", "lab"]

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@contextmanager
def lab() -> Iterator[tuple[Browser, JupyterServer]]:
    """A browser, and a server of JupyterLab."""
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit("this needs Chromium or Chrome on the PATH")
    with (
        tempfile.TemporaryDirectory() as home,
        jupyterlab(Path(home) / "lab") as server,
        sync_playwright() as playwright,
    ):
        yield playwright.chromium.launch(executable_path=chromium, args=FLAGS), server
