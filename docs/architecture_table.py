"""Write the table of the page "Which layer" from the table that the tests run.

Every build of the documentation does so, and `python docs/architecture_table.py` does.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/models"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/latent"))

from architectures import ARCHITECTURES
from readable_tables import markdown_table
from readable_tables import write_page as write_tables

from hdm_widgets.latent import Layer

__all__ = ["PAGE", "tables", "write_page"]

PAGE = Path(__file__).parent / "how_to/which_layer.md"


def tables() -> dict[str, str]:
    """The table in Markdown, by its name on the page."""
    rows = [
        (row.name, row.library, f"`{row.layer}`", Layer(row.layer, row.shape).size_text, row.why)
        for row in ARCHITECTURES
    ]
    return {
        "architectures": markdown_table(("network", "library", 'layer="auto" takes', "for 64 x 64 px", "why"), rows)
    }


def write_page() -> None:
    """Write the table into the page, unless it is there."""
    write_tables(PAGE, tables())


if __name__ == "__main__":
    write_page()
