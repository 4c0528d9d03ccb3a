"""Write the tables of the page "What can be read, and how" from the tables that the tests run.

Every build of the documentation does so, and `python docs/readable_tables.py` does.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/models"))

from published_networks import NETWORKS
from readable_inputs import IMAGES, TRUTHS
from readable_outputs import OUTPUTS, SECTIONS

__all__ = ["PAGE", "markdown_table", "tables", "with_tables", "write_page"]

PAGE = Path(__file__).parent / "how_to/what_can_be_read.md"
_TABLE = re.compile(r"(<!-- table: ([\w -]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def tables() -> dict[str, str]:
    """Every table in Markdown, by its name on the page."""
    made = {
        section.lower(): markdown_table(
            ("the model returns", "write", "the reading says", "without it"),
            [
                (row.form, _code(row.write), row.reading, _without(row.otherwise, warns=row.warns))
                for row in OUTPUTS
                if row.section == section
            ],
        )
        for section in SECTIONS
    }
    made["networks"] = markdown_table(
        ("network", "library", "write", "maps", "size"),
        [
            (row.name, row.library, _code(row.write), row.source or "all of the output", _SIZES[row.align])
            for row in NETWORKS
        ],
    )
    made["images"] = markdown_table(
        ("image", "write", "a disc shows", "without it"),
        [
            (
                row.form,
                (f"`generate_masks(..., {row.grid})`, then " if row.grid else "") + _code(f"explain({row.write})"),
                row.disc_text, _without(row.otherwise, warns=row.warns),
            )
            for row in IMAGES
        ],
    )  # fmt: skip
    made["truths"] = markdown_table(
        ("ground truth", "write", "without it"),
        [(row.form, _code(row.write), _without(row.otherwise, warns=row.warns)) for row in TRUTHS],
    )
    return made


_SIZES = {"same": "the image's", "resize": "smaller, resized"}


def markdown_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _without(text: str, *, warns: bool) -> str:
    """The error or the warning of who writes nothing."""
    return f"{'warning' if warns else 'error'}: {text}" if text else ""


def with_tables(page: str, now: dict[str, str] | None = None) -> str:
    """The text of a page with its tables as they are now; of this page, or those that are given."""
    now = tables() if now is None else now
    return _TABLE.sub(lambda found: f"{found[1]}\n{now[found[2]]}\n{found[3]}", page)


def write_page(path: Path = PAGE, now: dict[str, str] | None = None) -> None:
    """Write the tables into a page, unless they are there."""
    before = path.read_text(encoding="utf-8")
    after = with_tables(before, now)
    if after != before:
        path.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    write_page()
