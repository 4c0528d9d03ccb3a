"""What docs/extension.py checks on the pages, on pages that must be refused and pages that must not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def extension() -> ModuleType:
    pytest.importorskip("myst_nb", reason="the documentation's tools are not installed")
    spec = importlib.util.spec_from_file_location("extension", DOCS / "extension.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<script src="https://cdn.example/require.js"></script>', ["https://cdn.example/require.js"]),
        ("<script async data-x='1' src='//cdn.example/a.js'>", ["//cdn.example/a.js"]),
        ('<link rel="stylesheet" href="https://fonts.example/css?family=A" />', ["https://fonts.example/css?family=A"]),
        ('<img alt="badge" src="https://img.example/badge.svg">', ["https://img.example/badge.svg"]),
        ("<iframe src=http://video.example>", ["http://video.example"]),
        ("@import url('https://fonts.example/a.css');", ["https://fonts.example/a.css"]),
        ('@import "https://fonts.example/a.css";', ["https://fonts.example/a.css"]),
        ("@font-face { src: url(//fonts.example/a.woff2) }", ["//fonts.example/a.woff2"]),
        ('<script type="module">import x from "https://esm.example/x"</script>', ["https://esm.example/x"]),
        ("<script>import('https://esm.example/x')</script>", ["https://esm.example/x"]),
        # To be clicked, or local: nothing is loaded from outside.
        ('<a href="https://example.org">there</a>', []),
        ('<script src="_static/scripts/bootstrap.js?digest=1"></script>', []),
        ('<link rel="icon" href="_static/logo.svg"/>', []),
        ('<img src="data:image/png;base64,iVBORw0//KGgo=" />', []),
        ("a { background: url('../webfonts/fa.woff2') }", []),
        ('<svg xmlns="http://www.w3.org/2000/svg"></svg>', []),
    ],
)
def test_what_a_page_would_load_from_outside_is_found(extension: ModuleType, text: str, found: list[str]) -> None:
    assert extension.external_loads(text) == found


def test_a_cell_with_a_picture_is_followed_by_it(extension: ModuleType) -> None:
    plain = {"cell_type": "code", "id": "a", "metadata": {}, "source": "1"}
    widget = {"cell_type": "code", "id": "b", "metadata": {"picture": "images/b.png", "caption": "B"}, "source": "2"}
    notebook = {"cells": [widget, plain], "nbformat": 4}

    changed = extension.with_pictures(notebook)

    assert [cell["id"] for cell in changed["cells"]] == ["b", "b-picture", "a"]
    shown = "![B](images/b.png){.shot .only-light} ![B](images/b_dark.png){.shot .only-dark}"
    assert changed["cells"][1]["source"] == shown
    assert changed["nbformat"] == 4
    assert [cell["id"] for cell in notebook["cells"]] == ["b", "a"]
