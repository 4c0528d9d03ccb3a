"""The HDM explorer in a real JupyterLab 4: every gesture, and what Python knows of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jupyter_hosts import TIMEOUT_MS, Explorer, NotebookPage
from playwright.sync_api import expect

OUT = Path(__file__).parents[1] / "out"
SIDE, SIZE, OFFSET = 128, 15, 16
CELLS = (SIDE // OFFSET) ** 2

DEMO = f"""
import hdm_widgets as hw
model, image, segment, cue = hw.demo.shapes(0)
explorer = hw.HDMExplorer(model, image, segment, circle_size={SIZE}, offset={OFFSET})
explorer
"""
# The picture's own grey values as probabilities: every disc on the bright square changes the mask.
TINY = f"""
import threading, time
import numpy as np
import hdm_widgets as hw

picture = np.zeros((1, {SIDE}, {SIDE}), np.float32)
picture[:, 40:80, 24:100] = 1
truth = picture[0].copy()
truth[:, :40] = 0
calls = 0

def model(images):
    global calls
    calls += len(images)
    return images[:, 0]
"""
TINY_EXPLORER = f"""
explorer = hw.HDMExplorer(model, picture, truth, circle_size={SIZE}, offset={OFFSET})
explorer
"""

Lab = Callable[..., NotebookPage]


def at(cell: tuple[int, int]) -> str:
    row, col = cell
    return f"row {row}, column {col}"


def colours(explorer: Explorer, name: str) -> list[int]:
    """Red, green, blue of a computed colour of the widget's frame."""
    text = explorer.root.evaluate(f"node => getComputedStyle(node).{name}")
    numbers = re.findall(r"[\d.]+", text)
    assert len(numbers) == 3, f"not an opaque rgb colour: {text}"
    return [int(float(number)) for number in numbers]


def test_the_map_appears_and_gets_complete(lab: Lab) -> None:
    notebook = lab(DEMO)
    explorer = Explorer(notebook.page)
    explorer.complete()
    expect(explorer.status).to_contain_text(f"{CELLS} model runs")
    expect(explorer.progress).to_have_attribute("aria-valuenow", "100")
    visible, _ = explorer.painted()
    assert visible > 0
    assert notebook.value("explorer.status, explorer.progress, explorer.error") == ("done", 1.0, "")
    assert notebook.value("int(explorer.result.measured.sum())") == CELLS
    expect(explorer.alert).to_have_count(0)


def test_dragging_the_circle_size_starts_a_new_scan(lab: Lab) -> None:
    notebook = lab(DEMO)
    explorer = Explorer(notebook.page)
    explorer.complete()
    before = explorer.painted()

    dragged = explorer.drag("Circle size", 0.5)

    assert dragged > SIZE + 5
    notebook.await_value("explorer.circle_size", dragged)
    notebook.await_value("explorer.status, explorer.result.circle_size", ("done", dragged))
    explorer.complete()
    explorer.await_repaint(before)
    assert notebook.value("explorer.offset, bool(explorer.result.measured.all())") == (OFFSET, True)
    expect(explorer.slider("Circle size")).to_have_value(str(dragged))


def test_hovering_shows_the_distance_that_python_has(lab: Lab) -> None:
    notebook = lab(DEMO)
    explorer = Explorer(notebook.page)
    explorer.complete()
    # Two places, of different distance if the map is not constant.
    most, least = notebook.value(
        "[tuple(int(i) for i in divmod(k, explorer.result.values.shape[1]))"
        " for k in (explorer.result.values.argmax(), explorer.result.values.argmin())]"
    )
    texts = []
    for cell in (most, least):
        text = notebook.value(f"f'{{explorer.result.values[{cell}]:.1f}} px'")
        explorer.stage.hover(position=explorer.place(cell, SIZE, OFFSET, SIDE))
        expect(explorer.root.get_by_text(f"{at(cell)}: {text}", exact=True)).to_be_attached()
        expect(explorer.stage.get_by_text(text, exact=True)).to_be_visible()
        texts.append(text)
    assert texts[0] != texts[1]
    assert notebook.value("explorer.cell") is None
    explorer.slider("Opacity").hover()
    expect(explorer.stage.get_by_text(texts[1], exact=True)).to_have_count(0)


def test_a_click_pins_a_cell_and_opens_the_inspector(lab: Lab) -> None:
    notebook = lab(DEMO)
    explorer = Explorer(notebook.page)
    explorer.complete()
    expect(explorer.figures).to_have_count(0)
    cell = (2, 5)

    explorer.stage.click(position=explorer.place(cell, SIZE, OFFSET, SIDE))

    notebook.await_value("explorer.cell", cell)
    expect(explorer.figures).to_have_count(3)
    for nth in range(3):
        expect(explorer.figures.nth(nth).get_by_role("img").first).to_be_visible()
    expect(explorer.root.get_by_text(at(cell))).to_be_visible()
    distance = notebook.value(f"f'{{explorer.result.values[{cell}]:.1f}} px'")
    expect(explorer.root.get_by_text(distance, exact=True).last).to_be_visible()
    # The picture as the model saw it, in the size that Python sent.
    seen = explorer.figures.first.get_by_role("img")
    assert seen.evaluate("async image => { await image.decode(); return image.naturalWidth; }") == SIDE
    # The mask against the truth has all three kinds of pixel only if the model makes both errors; hits it must have.
    compared = explorer.figures.nth(1).get_by_role("img", name=re.compile("mask against the truth"))
    drawn = compared.evaluate(
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"
        ".filter((value, index) => index % 4 === 3 && value).length"
    )
    union = f"(explorer.result.output{cell} | (segment.numpy() != 0)).sum()"
    assert drawn == notebook.value(f"int({union})")

    explorer.button("Release").click()
    notebook.await_value("explorer.cell", None)
    expect(explorer.figures).to_have_count(0)


def test_keys_walk_pin_and_release_and_leave_the_notebook_alone(lab: Lab) -> None:
    notebook = lab("1", TINY + TINY_EXPLORER, "2")
    explorer = Explorer(notebook.page)
    keyboard = notebook.page.keyboard
    explorer.complete()
    assert notebook.value("calls") >= CELLS
    before = notebook.selection()

    explorer.stage.focus()
    keyboard.press("ArrowDown")
    expect(explorer.root.get_by_text(re.compile(f"^{at((4, 4))}: "))).to_be_attached()
    keyboard.press("ArrowRight")
    keyboard.press("ArrowUp")
    keyboard.press("Home")
    keyboard.press("ArrowRight")
    value = notebook.value("f'{explorer.result.values[3, 1]:.1f} px'")
    expect(explorer.root.get_by_text(f"{at((3, 1))}: {value}", exact=True)).to_be_attached()
    assert notebook.value("explorer.cell") is None
    keyboard.press("Enter")
    notebook.await_value("explorer.cell", (3, 1))
    expect(explorer.figures).to_have_count(3)
    keyboard.press("Escape")
    notebook.await_value("explorer.cell", None)
    # The notebook's own shortcuts: one letter that adds a cell and one that would hide the output.
    keyboard.press("b")
    keyboard.press("o")
    expect(explorer.stage).to_be_focused()
    expect(explorer.stage).to_be_visible()
    assert notebook.selection() == before

    # Arrow keys on a slider are the slider's.
    explorer.slider("Circle size").focus()
    keyboard.press("ArrowRight")
    notebook.await_value("explorer.circle_size", SIZE + 1)
    notebook.await_value("explorer.status, explorer.result.circle_size", ("done", SIZE + 1))
    assert notebook.selection() == before


def test_keys_go_on_from_a_click(lab: Lab) -> None:
    notebook = lab(TINY + TINY_EXPLORER, "1")
    explorer = Explorer(notebook.page)
    explorer.complete()
    explorer.stage.click(position=explorer.place((1, 2), SIZE, OFFSET, SIDE))
    notebook.await_value("explorer.cell", (1, 2))
    expect(explorer.stage).to_be_focused()
    notebook.page.keyboard.press("ArrowDown")
    notebook.page.keyboard.press("Enter")
    notebook.await_value("explorer.cell", (2, 2))


def test_cancel_stops_a_slow_scan_and_the_kernel_is_free_meanwhile(lab: Lab) -> None:
    notebook = lab(
        TINY,
        f"""
        gate = threading.Semaphore(20)

        def slow(images):
            assert gate.acquire(timeout=120)
            return model(images)

        explorer = hw.HDMExplorer(slow, picture, truth, circle_size={SIZE}, offset={OFFSET // 2}, batch_size=1)
        explorer
        """.replace("\n        ", "\n"),
    )
    explorer = Explorer(notebook.page)
    total = (SIDE // (OFFSET // 2)) ** 2
    # The model waits for the gate: the scan runs until this test lets it end.
    notebook.await_value("calls", 20)
    expect(explorer.status).to_contain_text(re.compile("Starting|Coarse map|Refining"))

    assert notebook.run_new("explorer.circle_size, explorer.status") == f"({SIZE}, 'running')"
    explorer.button("Cancel").click()

    expect(explorer.status).to_contain_text("Cancelled")
    notebook.await_value("explorer.status", "cancelled")
    notebook.run_new("gate.release(1000)")
    notebook.await_value("explorer.wait(10)", True)
    # The batch that was running may end; no other one starts.
    measured, called = notebook.value("int(explorer.result.measured.sum()), calls")
    assert 0 <= measured < 25
    assert called <= 21
    expect(explorer.status).to_contain_text(f"of {total}")
    expect(explorer.button("Cancel")).to_have_count(0)
    assert notebook.value("explorer.status, explorer.error") == ("cancelled", "")

    explorer.button("Run again").click()
    explorer.complete()
    assert notebook.value("int(explorer.result.measured.sum())") == total


def test_a_failing_model_is_reported_with_its_cell_and_can_be_tried_again(lab: Lab) -> None:
    notebook = lab(
        TINY,
        f"""
        repaired = False

        def fragile(images):
            if calls == 30 and not repaired:
                raise RuntimeError("no luck with this one")
            return model(images)

        explorer = hw.HDMExplorer(fragile, picture, truth, circle_size={SIZE}, offset={OFFSET}, batch_size=1)
        explorer
        """.replace("\n        ", "\n"),
    )
    explorer = Explorer(notebook.page)
    expect(explorer.alert).to_contain_text("no luck with this one")
    row, col = notebook.value("explorer.exception.cell")
    expect(explorer.alert).to_contain_text(f"row {row}, column {col}")
    expect(explorer.status).to_contain_text(re.compile("^Stopped"))
    status, error, measured = notebook.value("explorer.status, explorer.error, int(explorer.result.measured.sum())")
    assert status == "error"
    assert f"row {row}, column {col}" in error
    assert 0 < measured < CELLS
    assert notebook.run_new("repaired = True\n6 * 7") == "42"

    explorer.button("Try again").click()

    explorer.complete()
    expect(explorer.alert).to_have_count(0)
    assert notebook.value("explorer.status, explorer.error, explorer.exception") == ("done", "", None)


def test_appearance_changes_in_the_browser_without_a_new_scan(lab: Lab) -> None:
    notebook = lab(TINY + TINY_EXPLORER)
    explorer = Explorer(notebook.page)
    explorer.complete()
    notebook.await_value("explorer.wait(10), explorer.status", (True, "done"))
    calls = notebook.value("calls")
    raw = explorer.painted()

    explorer.choose("Worse")
    worse = explorer.await_repaint(raw)
    notebook.await_value("explorer.result_type", "worse")
    expect(explorer.radio("Worse")).to_be_checked()
    expect(explorer.radio("Raw distance")).not_to_be_checked()

    explorer.choose("Magma")
    magma = explorer.await_repaint(worse)
    notebook.await_value("explorer.color_map", "magma")
    assert magma[0] == worse[0]  # the same discs in other colours

    explorer.root.get_by_role("combobox", name="More colour maps").select_option("viridis")
    explorer.await_repaint(magma)
    notebook.await_value("explorer.color_map", "viridis")
    expect(explorer.radio("Magma")).not_to_be_checked()

    explorer.choose("Raw distance")
    explorer.choose("Blues")
    notebook.await_value("explorer.result_type, explorer.color_map", ("raw", "Blues"))
    explorer.page.wait_for_function(
        "([canvas, wanted]) => String(canvas) && true", arg=[explorer.map.element_handle(), raw]
    )

    expect(explorer.map).to_have_css("opacity", "0.7")
    explorer.slider("Opacity").focus()
    notebook.page.keyboard.press("End")
    expect(explorer.map).to_have_css("opacity", "1")
    notebook.await_value("explorer.opacity", 1.0)
    notebook.page.keyboard.press("ArrowLeft")
    expect(explorer.map).to_have_css("opacity", "0.99")
    notebook.await_value("explorer.opacity", 0.99)

    assert notebook.value("calls, explorer.status") == (calls, "done")
