"""Small scans in a notebook, whose values the tests of the HDM explorer know."""

from __future__ import annotations

from collections.abc import Callable

from jupyter_hosts import NotebookPage

SIDE, SIZE, OFFSET = 128, 15, 16
CELLS = (SIDE // OFFSET) ** 2
DEMO = f"""
import hdm_widgets as hw
model, image, segment, cue = hw.demo.shapes(0)
explorer = hw.HDMExplorer(model, image, segment, circle_size={SIZE}, offset={OFFSET}, fill="minimum", order="change")
explorer
"""
# The image's own gray values as probabilities. A corner too many makes a baseline of 6 px; the disc on it makes the
# mask better, those within the bright box make it worse. Nowhere is it 0: a disc that changes no pixel is not run.
TINY = f"""
import threading, time
import numpy as np
import hdm_widgets as hw

image = np.full((1, {SIDE}, {SIDE}), 0.1, np.float32)
image[:, 40:80, 24:100] = 1
truth = image[0] > 0.5
image[:, 40:46, 100:106] = 1
calls = 0

def model(images):
    global calls
    calls += len(images)
    return images[:, 0]
"""
TINY_EXPLORER = f"""
explorer = hw.HDMExplorer(model, image, truth, circle_size={SIZE}, offset={OFFSET}, fill="minimum", order="change")
explorer
"""
Lab = Callable[..., NotebookPage]


def at(cell: tuple[int, int]) -> str:
    row, col = cell
    return f"row {row}, column {col}"
