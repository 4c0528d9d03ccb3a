"""A latent space of which everything is known beforehand, and the cells that make it in a notebook.

Items lie on a grid, seven columns in the west, five in the east, with a gap between. A image's red and green are its
place on the map, blue is what the model draws: the first so many pixels of the truth, a number of its own for every
item, and four pixels beside it.
"""

from __future__ import annotations

from collections.abc import Iterable

from jupyter_hosts import NotebookPage
from latent_page import LatentPage
from playwright.sync_api import expect

COLS, ROWS, WEST, GAP = 12, 8, 7, 4
STEP = 1 / 16
SIDE, TRUTH, ADDED = 24, 144, 4
ALL = tuple(range(COLS * ROWS))

SPACE = f"""
import threading
from pathlib import Path
import numpy as np
import torch
from torch import nn
import hdm_widgets as hw

torch.set_num_threads(1)

class Places(nn.Module):
    def __init__(self):
        super().__init__()
        self.places = nn.Identity()

    def forward(self, images):
        self.places(images[:, :2])
        return images[:, 2]

class Grid:
    def __init__(self, cols={COLS}, rows={ROWS}, perfect=False):
        self.cols, self.rows, self.perfect = cols, rows, perfect
        self.read, self.broken, self.held = [], set(), None
        halves = ["west" if item % cols < {WEST} else "east" for item in range(len(self))]
        self.columns = {{"half": halves, "number": [10 * item for item in range(len(self))]}}

    def __len__(self):
        return self.cols * self.rows

    def __getitem__(self, item):
        self.read.append(item)
        held, self.held = self.held, None
        if held is not None:
            held.read_bytes()  # of a pipe, which ends when the test closes it
        if item in self.broken:
            raise OSError(f"scene {{item}} is gone")
        row, col = divmod(item, self.cols)
        image = np.zeros((3, {SIDE}, {SIDE}), np.float32)
        image[0] = (col + {GAP} * (col >= {WEST})) * {STEP}
        image[1] = row * {STEP}
        truth = np.zeros(({SIDE}, {SIDE}), bool)
        truth[4:16, 4:16] = True
        drawn = np.arange({TRUTH}).reshape(12, 12) < (40 + 37 * item % 96)
        image[2, 4:16, 4:16] = drawn | self.perfect
        image[2, 20:22, 20:22] = not self.perfect
        return image, truth

def known(scenes):
    space = hw.LatentSpace(Places(), layer="places").fit(scenes, progress=False)
    space.cluster(2)
    scenes.read.clear()
    return space

scenes = Grid()
space = known(scenes)
"""
EXPLORER = """
explorer = hw.LatentExplorer(shown)
explorer
"""
# The space that the cell above shows, as it was when it was made.
AGAIN = """
shown = space
space.cluster(2)
scenes.read.clear()
scenes.broken.clear()
scenes.held = None
"""

# What Python knows of the explorer.
SELECTED = "explorer.selected"
NAMES = "[one.name for one in explorer.selections]"
NOTEBOOK = [1, "command", 3, 1]  # its second cell is active, in command mode; three cells, one selected

Place = tuple[float, float]


def spot(col: float, row: float) -> Place:
    """Where on the map the item in this column and row is; between two items for fractional numbers."""
    middle = sum(_x(c) for c in range(COLS)) / COLS, (ROWS - 1) / 2
    return (_x(col) - middle[0]) * STEP, (row - middle[1]) * STEP


def _x(col: float) -> float:
    return col + GAP * (col > WEST - 1)


def spot_of(item: int) -> Place:
    row, col = divmod(item, COLS)
    return spot(col, row)


def around(first: Place, last: Place) -> list[Place]:
    """Corners of a lasso around all items from one (column, row) to another."""
    (left, low), (right, high) = first, last
    # Nearer than half a step on either side of the gap.
    by = 0.4 * STEP
    (x0, y0), (x1, y1) = spot(left, low), spot(right, high)
    return [(x0 - by, y0 - by), (x1 + by, y0 - by), (x1 + by, y1 + by), (x0 - by, y1 + by)]


def block(first: tuple[int, int], last: tuple[int, int]) -> tuple[int, ...]:
    """Those items."""
    (left, low), (right, high) = first, last
    return tuple(COLS * row + col for row in range(low, high + 1) for col in range(left, right + 1))


def hits(item: int) -> int:
    """Pixels of the truth that the model finds."""
    return 40 + 37 * item % 96


def iou(item: int) -> float:
    return hits(item) / (TRUTH + ADDED)


def by_iou(items: Iterable[int]) -> list[int]:
    """Lowest first; no two have the same."""
    return sorted(items, key=iou)


HALVES = {
    "west": tuple(item for item in ALL if item % COLS < WEST),
    "east": tuple(item for item in ALL if item % COLS >= WEST),
}
FEW = (0, 5, 17, 30, 58, 94)  # no two as far from their center


def show(notebook: NotebookPage, explorer: LatentPage, items: tuple[int, ...]) -> None:
    """Select items, and await their cards."""
    notebook.execute(f"explorer.select({items}, name='shown')")
    expect(explorer.selection("shown")).to_contain_text(f"{len(items)} items")
    expect(explorer.rings).to_have_count(len(items))


def drawn(explorer: LatentPage, notebook: NotebookPage, corners: tuple, modifier: str | None = None) -> tuple[int, ...]:
    """Draw a lasso around a block of items where none or others are selected, and await it; the items."""
    items = block(*corners)
    explorer.lasso(around(*corners), modifier)
    notebook.await_value(SELECTED, items)
    return items


def near(found: list[float], expected: tuple[float, float]) -> bool:
    return max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 1.5  # px
