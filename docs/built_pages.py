"""Look at built pages: what a browser would load from another place, and links that lead nowhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

__all__ = ["Page", "problems"]

# What a browser loads by itself, and the attribute that says from where.
_LOADED = {
    "audio": "src", "embed": "src", "iframe": "src", "img": "src", "link": "href", "object": "data", "script": "src",
    "source": "src", "video": "src",
}  # fmt: skip
_OUTSIDE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_STYLE = re.compile(r"""(?:@import\s+(?:url\()?|url\()\s*["']?((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)
_IMPORT = re.compile(r"""(?:(?<!@)\bimport\s*\(?|\bfrom)\s*["']((?:https?:)?//[^"']+)""")


class Page(HTMLParser):
    """What is on a page.

    Parameters
    ----------
    text : str
        HTML, or a style sheet.

    Attributes
    ----------
    external : list of str
        Addresses of other places that the page would load something from.
    links : list of str
        Where its links to this site lead.
    anchors : set of str
        Places on the page that a link may name.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.external: list[str] = [found[1] for kind in (_STYLE, _IMPORT) for found in kind.finditer(text)]
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag loads, where it leads, and its name."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        loaded = [values.get(_LOADED.get(tag, ""), ""), *values.get("srcset", "").split(",")]
        self.external += [address.strip() for address in loaded if _OUTSIDE.match(address.strip())]
        target = values.get("href", "")
        if tag == "a" and target and not re.match(r"[a-z]+:|//", target, re.IGNORECASE):
            self.links.append(target)


def problems(folder: Path) -> list[str]:
    """What is wrong with the built pages in a folder: one line each, with the page."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    styles = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.css"))}
    found = []
    for path, page in {**pages, **styles}.items():
        name = path.relative_to(folder).as_posix()
        found += [f"{name} would load {address}" for address in page.external]
        for link in page.links:
            target, anchor = map(unquote, urldefrag(link))
            leads_to = (path.parent / target).resolve() if target else path
            anchors = pages[leads_to].anchors if leads_to in pages else set()
            if not leads_to.is_file() or (anchor and anchor not in anchors):
                found.append(f"{name} has a link to {link}, which is not there")
    return found
