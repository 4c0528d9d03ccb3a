"""How large the pages of scans are, and how long they take: `python benchmarks/pages.py`.

The aerial demo's scenes side by side, with a network whose masks every disc changes, in the sizes of `measures.py`;
without a scan of its own for one that `HDMResult.save` wrote: `python benchmarks/pages.py scan.npz`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import torch
from measures import scan

from hdm_widgets import hdm

SIZES = ((240, 5), (512, 8))


def report(name: str, result: hdm.HDMResult) -> None:
    """Write one page and print its row."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        result.to_html(Path(folder) / "page.html")
        seconds = time.process_time() - started
        result.save(Path(folder) / "scan.npz")
        page, file = ((Path(folder) / name).stat().st_size / 1e6 for name in ("page.html", "scan.npz"))
    print(f"| {name} | {result.values.size:,} | {page:.2f} MB | {file:.2f} MB | {seconds:.1f} s |")


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| scan | discs | page | npz file | seconds |\n|---|---|---|---|---|")
    for path in sys.argv[1:]:
        report(Path(path).stem, hdm.HDMResult.load(path))
    for size, offset in () if sys.argv[1:] else SIZES:
        report(f"{size} px, offset {offset}", scan(size, offset))


if __name__ == "__main__":
    main()
