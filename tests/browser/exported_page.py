"""Notebooks exported to HTML, shown without a connection to the internet."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, Route

HTML_MANAGER = "@jupyter-widgets/html-manager@1.0.15"
_SHARED = Path(sys.prefix) / "share" / "jupyter"
# What an exported page asks the internet for, by a part of the address, and where the same lies on this machine.
_FILES = {
    "require": _SHARED / "voila" / "templates" / "base" / "static" / "require.min.js",
    "anywidget": _SHARED / "nbextensions" / "anywidget" / "index.js",
    "bqplot": _SHARED / "nbextensions" / "bqplot" / "index.js",
    "bqscales": _SHARED / "nbextensions" / "bqscales" / "index.js",
}


def html_manager(folder: Path) -> Path:
    """The manager of widgets on exported pages, fetched by npm into this folder if it is not there."""
    script = folder / "package" / "dist" / "embed-amd.js"
    if not script.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(
            ["npm", "pack", "--silent", HTML_MANAGER],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
        name = packed.stdout.strip().splitlines()[-1]
        subprocess.run(["tar", "xzf", name, "package/dist/embed-amd.js"], cwd=folder, check=True)
    return script


def export(notebook: Path, folder: Path, *arguments: str) -> Path:
    """Export a notebook with `jupyter nbconvert`; the page."""
    command = [sys.executable, "-m", "nbconvert", "--to=html", f"--output-dir={folder}", *arguments, str(notebook)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / f"{notebook.stem}.html"


def route_to_files(page: Page, manager: Path) -> list[str]:
    """Give the page from this machine what it asks the internet for; the addresses that it has asked for so far."""
    asked: list[str] = []

    def give(route: Route) -> None:
        address = route.request.url
        asked.append(address)
        if "html-manager" in address:
            route.fulfill(path=manager, content_type="text/javascript")
            return
        for name, path in _FILES.items():
            if re.search(rf"/(npm|libs)/{name}\b", address):
                route.fulfill(path=path, content_type="text/javascript")
                return
        route.abort()

    page.route(re.compile("^https?://"), give)
    return asked
