"""The HDM explorer in a real JupyterLab 4: every gesture on its map and its controls, and what Python knows of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from appearance import Letters, await_width, misplaced, rgb, unnamed
from hdm_page import Explorer
from jupyter_hosts import NotebookPage
from known_scans import CELLS, DEMO, OFFSET, SIDE, SIZE, TINY, TINY_EXPLORER, Lab, at
from playwright.sync_api import expect

OUT = Path(__file__).parents[1] / "out"


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
    expect(explorer.pinned(cell)).to_be_visible()
    distance = notebook.value(f"f'{{explorer.result.values[{cell}]:.1f}} px'")
    expect(explorer.root.get_by_text(distance, exact=True).last).to_be_visible()
    # The image as the model saw it, in the size that Python sent.
    seen = explorer.figures.first.get_by_role("img")
    assert seen.evaluate("async image => { await image.decode(); return image.naturalWidth; }") == SIDE
    # Pixels of the truth or of the mask are drawn, each in one of three colors.
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

    explorer.stage.focus()
    before = notebook.selection()
    assert before == [1, "command", 3, 1]
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


def test_keys_work_on_every_control_and_leave_the_notebook_alone(lab: Lab) -> None:
    notebook = lab("1", TINY + TINY_EXPLORER, "2")
    explorer = Explorer(notebook.page)
    keyboard = notebook.page.keyboard
    explorer.complete()

    explorer.slider("Opacity").focus()
    before = notebook.selection()
    assert before == [1, "command", 3, 1]
    keyboard.press("ArrowLeft")
    notebook.await_value("explorer.opacity", 0.69)
    keyboard.press("ArrowUp")
    notebook.await_value("explorer.opacity", 0.7)

    explorer.slider("Circle size").focus()
    keyboard.press("ArrowRight")
    notebook.await_value("explorer.circle_size", SIZE + 1)
    notebook.await_value("explorer.status == 'done' and explorer.result.circle_size", SIZE + 1)

    explorer.radio("Raw distance").focus()
    keyboard.press("ArrowRight")
    notebook.await_value("explorer.result_type", "better")
    keyboard.press("ArrowDown")
    notebook.await_value("explorer.result_type", "worse")

    # A letter chooses the entry that begins with it.
    explorer.root.get_by_role("combobox", name="More color maps").focus()
    keyboard.press("v")
    notebook.await_value("explorer.color_map", "viridis")

    explorer.button("Edges").focus()
    keyboard.press("Enter")
    notebook.await_value("'edges' in explorer.layers", True)
    keyboard.press("Space")
    notebook.await_value("'edges' in explorer.layers", False)
    keyboard.press("Tab")
    expect(explorer.button("Circle map")).to_be_focused()

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
    assert magma[0] == worse[0]  # the same discs in other colors

    explorer.root.get_by_role("combobox", name="More color maps").select_option("viridis")
    explorer.await_repaint(magma)
    notebook.await_value("explorer.color_map", "viridis")
    expect(explorer.radio("Magma")).not_to_be_checked()

    explorer.choose("Raw distance")
    explorer.choose("Blues")
    notebook.await_value("explorer.result_type, explorer.color_map", ("raw", "Blues"))
    explorer.await_painted(raw)

    explorer.await_opacity(0.7)
    explorer.slider("Opacity").focus()
    notebook.page.keyboard.press("End")
    explorer.await_opacity(1)
    notebook.await_value("explorer.opacity", 1.0)
    notebook.page.keyboard.press("ArrowLeft")
    explorer.await_opacity(0.99)
    notebook.await_value("explorer.opacity", 0.99)

    assert notebook.value("calls, explorer.status") == (calls, "done")


def test_traits_set_in_python_move_the_controls(lab: Lab) -> None:
    notebook = lab(TINY + TINY_EXPLORER)
    explorer = Explorer(notebook.page)
    explorer.complete()
    before = explorer.painted()

    notebook.run_new("explorer.circle_size = 21\nexplorer.offset = 32")
    expect(explorer.slider("Circle size")).to_have_value("21")
    expect(explorer.slider("Offset")).to_have_value("32")
    expect(explorer.status).to_contain_text("16 discs")
    before = explorer.await_repaint(before)

    notebook.run_new("explorer.result_type = hw.hdm.BETTER_ONLY")
    expect(explorer.radio("Better")).to_be_checked()
    before = explorer.await_repaint(before)

    notebook.run_new("explorer.color_map = 'plasma'")
    chosen = explorer.root.get_by_role("combobox", name="More color maps")
    expect(chosen).to_have_value("plasma")
    explorer.await_repaint(before)

    notebook.run_new("explorer.opacity = 0.25")
    expect(explorer.slider("Opacity")).to_have_value("25")
    explorer.await_opacity(0.25)

    notebook.run_new("explorer.layers = ['picture', 'edges']")
    expect(explorer.button("Edges")).to_have_attribute("aria-pressed", "true")
    expect(explorer.button("Circle map")).to_have_attribute("aria-pressed", "false")
    expect(explorer.stage.get_by_role("img", name="Edges")).to_be_visible()
    expect(explorer.map).to_have_count(0)

    notebook.run_new("explorer.cell = (3, 0)")
    expect(explorer.pinned((3, 0))).to_be_visible()
    expect(explorer.figures).to_have_count(3)


def test_two_views_of_one_widget_agree(lab: Lab) -> None:
    notebook = lab(TINY + TINY_EXPLORER, "explorer")
    first, second = Explorer(notebook.page, 0), Explorer(notebook.page, 1)
    first.complete()
    second.complete()
    painted = first.painted()
    second.await_painted(painted)

    second.choose("Worse")
    expect(first.radio("Worse")).to_be_checked()
    worse = first.await_repaint(painted)
    second.await_painted(worse)

    first.slider("Opacity").focus()
    notebook.page.keyboard.press("End")
    expect(second.slider("Opacity")).to_have_value("100")
    opaque = first.await_repaint(worse)
    second.await_painted(opaque)

    second.stage.click(position=second.place((2, 3), SIZE, OFFSET, SIDE))
    for view in (first, second):
        expect(view.pinned((2, 3))).to_be_visible()
        expect(view.figures).to_have_count(3)
    notebook.await_value("explorer.cell, explorer.opacity, explorer.result_type", ((2, 3), 1.0, "worse"))

    first.slider("Circle size").focus()
    notebook.page.keyboard.press("End")
    expect(second.slider("Circle size")).to_have_value(str(SIDE // 2))
    notebook.await_value("explorer.status == 'done' and explorer.result.circle_size", SIDE // 2)
    first.complete()
    second.complete()
    second.await_painted(first.await_repaint(opaque))


def test_the_widget_follows_the_dark_theme(lab: Lab, dark_theme: Callable[[NotebookPage], None]) -> None:
    notebook = lab(DEMO)
    explorer = Explorer(notebook.page)
    explorer.complete()
    explorer.stage.click(position=explorer.place((2, 5), SIZE, OFFSET, SIDE))
    expect(explorer.figures).to_have_count(3)
    assert min(rgb(explorer.root, "backgroundColor")) > 200
    assert max(rgb(explorer.root, "color")) < 100
    explorer.root.screenshot(path=OUT / "lab-light.png")

    dark_theme(notebook)

    assert max(rgb(explorer.root, "backgroundColor")) < 60
    assert min(rgb(explorer.root, "color")) > 180
    # What is drawn on a canvas stays as it was.
    assert explorer.painted()[0] > 0
    explorer.root.screenshot(path=OUT / "lab-dark.png")


def test_nothing_overflows_and_everything_has_a_name_at_any_width(lab: Lab, letters: Letters) -> None:
    notebook = lab(TINY + TINY_EXPLORER.replace("image,", "image.repeat(3, 0),"))
    explorer = Explorer(notebook.page)
    explorer.complete()
    explorer.stage.click(position=explorer.place((3, 3), SIZE, OFFSET, SIDE))
    expect(explorer.figures).to_have_count(3)
    explorer.choose("Worse")  # the pointer's label has more to say then
    notebook.hide_file_browser()
    expected = {"button", "slider", "radio", "combobox", "application"}
    complaints = []
    widths = (320, 360, 420, 480, 560, 640, 720, 768, 900, 1024, 1280, 1600)
    for kind, width in letters(notebook.page, widths):
        await_width(explorer.root, width)
        cells = ((0, 0), (3, 3), (3, 4), (7, 7))
        for cell, place in zip(cells, explorer.places(cells, SIZE, OFFSET, SIDE), strict=True):
            # The stage is at rest.
            explorer.stage.hover(position=place, force=True)
            expect(explorer.root.get_by_text(re.compile(f"^{at(cell)}: "))).to_be_attached()
            complaints += [f"{kind} at {width} px: {complaint}" for complaint in misplaced(explorer.root)]
        complaints += [f"{kind} at {width} px: {role} without a name" for role in unnamed(explorer.root, expected)]
        if kind == "own letters":
            explorer.root.screenshot(path=OUT / f"hdm-{width}.png")
    assert not complaints, "\n".join(complaints)
