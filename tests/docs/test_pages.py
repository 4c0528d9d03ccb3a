"""The code on the pages runs: all blocks marked `python` of a page, in order, in an empty folder.

Blocks that need something that is not installed here are marked `py` and only shown.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ipywidgets import Widget

from hdm_widgets import HDMComparison, HDMExplorer, LatentExplorer, demo

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXPLORERS = (HDMComparison, HDMExplorer, LatentExplorer)
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "docs/how_to").glob("*.md")),
    ]
    if BLOCK.search(path.read_text(encoding="utf-8"))
]


def blocks(page: str) -> list[tuple[int, str]]:
    """First line and code of every block of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in BLOCK.finditer(text)]


def run_as_a_cell(line: int, code: str, page: str, names: dict[str, Any]) -> None:
    """Run a block; an explorer that is its last line is closed, unless the page has a name for it.

    Nobody waits for that one, and its scan of some seconds would run beside the blocks that follow.
    """
    # Lines are counted as on the page, so that an error tells where it is.
    tree = ast.parse("\n" * line + code, page)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, page, "exec"), names)
    if last is None:
        return
    shown = eval(compile(ast.Expression(last.value), page, "eval"), names)
    if isinstance(shown, EXPLORERS) and not any(value is shown for value in names.values()):
        assert shown.error == ""
        shown.close()


@pytest.fixture
def tiles() -> None:
    """Two aerial tiles below the working directory, in the layout of the Inria data."""
    import rasterio

    _, scenes = demo.aerial(32)
    for number, first in (("vienna1", 0), ("vienna6", 16)):
        corners = [(row, col) for row in range(0, 384, 96) for col in range(0, 384, 96)]
        image, mask = np.zeros((3, 384, 384), np.uint8), np.zeros((1, 384, 384), np.uint8)
        for (row, col), index in zip(corners, range(first, first + 16), strict=True):
            scene, truth = scenes[index]
            image[:, row : row + 96, col : col + 96] = (255 * scene).to(torch.uint8).numpy()
            mask[:, row : row + 96, col : col + 96] = 255 * truth.to(torch.uint8).numpy()
        for folder, values in (("images", image), ("gt", mask)):
            path = Path("data/train", folder, f"{number}.tif")
            path.parent.mkdir(parents=True, exist_ok=True)
            options = {"count": len(values), "height": 384, "width": 384, "dtype": "uint8", "transform": PLACED}
            with rasterio.open(path, "w", driver="GTiff", **options) as file:
                file.write(values)


# A file that says where on Earth it lies: rasterio warns of others.
PLACED = (0.3, 0.0, 0.0, 0.0, -0.3, 0.0)


@pytest.fixture
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_pages_with_code_are_found():
    assert {"README.md", "docs/index.md", "docs/how_to/own_model.md", "docs/how_to/large_tiles.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_the_code_on_a_page_runs(page: str, in_an_empty_folder: None, request: pytest.FixtureRequest) -> None:
    if page.endswith("large_tiles.md"):
        request.getfixturevalue("tiles")
    names = {"__name__": "page"}
    try:
        for line, code in blocks(page):
            run_as_a_cell(line, code, page, names)
    finally:
        # A widget that the page does not wait for would scan beside the pages that follow.
        Widget.close_all()


def test_the_links_of_the_readme_lead_to_files() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s#]+)", text)
    images = re.findall(r'\bsrc(?:set)?="([^"]+)"', text)
    assert len(links) > 10
    assert len(images) == 4
    local = [target for target in links + images if "://" not in target]
    assert [target for target in local if not (ROOT / target).is_file()] == []


def test_the_page_of_what_can_be_read_has_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python docs/readable_tables.py` writes it."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    from published_networks import NETWORKS
    from readable_inputs import IMAGES, TRUTHS
    from readable_outputs import OUTPUTS
    from readable_tables import PAGE, tables, with_tables

    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page
    lines = [line for table in tables().values() for line in table.splitlines()]
    rows = [*OUTPUTS, *IMAGES, *TRUTHS, *NETWORKS]
    # Each table has a head of two lines.
    assert len(lines) == len(rows) + 2 * len(tables())
    assert all(line in page.splitlines() for line in lines)


def test_the_page_of_layers_has_every_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python docs/architecture_table.py` writes it."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    from architecture_table import PAGE, tables
    from bottleneck_architectures import ARCHITECTURES
    from readable_tables import with_tables

    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page, tables()) == page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    # The table has a head of two lines.
    assert len(rows) == len(ARCHITECTURES) + 2
    assert all(f"`{row.layer}`" in line for row, line in zip(ARCHITECTURES, rows[2:], strict=True))
