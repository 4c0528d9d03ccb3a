"""What is checked on built pages, on pages that must be refused and pages that must not; notebooks as pages."""

from __future__ import annotations

from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def docs_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))


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
def test_what_a_page_would_load_from_outside_is_found(text: str, found: list[str]) -> None:
    from built_pages import Page

    assert Page(text).external == found


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    from built_pages import problems

    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.html").write_text('<a id="here" href="../a.html#top">up</a><a href="#here">here</a>')
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="sub/b.html#here"></a><a href="https://example.org/x"></a><a href="mailto:a@b"></a>'
        '<a href="sub/b.html#there"></a><a href="c.html"></a><a href="#bottom"></a><a href="a%20b.txt"></a>'
        "<img src=https://img.example/a.png>"
    )
    (tmp_path / "a b.txt").write_text("a file with a space")

    assert problems(tmp_path) == [
        "a.html would load https://img.example/a.png",
        "a.html has a link to sub/b.html#there, which is not there",
        "a.html has a link to c.html, which is not there",
        "a.html has a link to #bottom, which is not there",
    ]


def test_a_cell_with_a_picture_is_followed_by_it() -> None:
    pytest.importorskip("myst_nb", reason="the documentation's tools are not installed")
    from extension import with_pictures

    plain = {"cell_type": "code", "id": "a", "metadata": {}, "source": "1"}
    widget = {"cell_type": "code", "id": "b", "metadata": {"picture": "images/b.png", "caption": "B"}, "source": "2"}
    notebook = {"cells": [widget, plain], "nbformat": 4}

    changed = with_pictures(notebook)

    assert [cell["id"] for cell in changed["cells"]] == ["b", "b-picture", "a"]
    shown = "![B](images/b.png){.shot .only-light} ![B](images/b_dark.png){.shot .only-dark}"
    assert changed["cells"][1]["source"] == shown
    assert changed["nbformat"] == 4
    assert [cell["id"] for cell in notebook["cells"]] == ["b", "a"]
    widget["metadata"]["page"] = "live/b.html"
    live = with_pictures(notebook)["cells"][1]["source"]
    assert live == '<iframe class="live" src="../live/b.html" title="B"></iframe>'
