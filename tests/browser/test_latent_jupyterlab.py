"""The latent explorer's lassos and selections in a real JupyterLab 4: every gesture, and what Python knows of it."""

from __future__ import annotations

import re

import pytest
from appearance import rgb
from at_rest import box_of, boxes_of
from jupyter_hosts import NotebookPage
from known_space import ALL, COLS, NAMES, NOTEBOOK, SELECTED, WEST, around, block, drawn, iou, near, spot, spot_of
from latent_page import LatentPage
from playwright.sync_api import expect

CONTENTS = "[tuple(one.indices.tolist()) for one in explorer.selections]"
# A small map, of which an estimate is quick, and six new items: three rows of two in its corner.
NEW = """
few = known(Grid(4, 5))
explorer = hw.LatentExplorer(few, new=few.estimate(Grid(2, 3), progress=False))
"""
FIRST, SECOND = ((0, 0), (2, 1)), ((4, 4), (8, 6))


def test_a_lasso_selects_exactly_the_items_inside(notebook: NotebookPage, explorer: LatentPage) -> None:
    # A ring that is open at the top: a corner's box would hold more.
    around_a_bay = [(-0.4, -0.4), (4.4, -0.4), (4.4, 4.4), (3.6, 4.4), (3.6, 0.5), (0.4, 0.5), (0.4, 4.4), (-0.4, 4.4)]
    inside = {*block((0, 0), (4, 0)), *block((0, 0), (0, 4)), *block((4, 0), (4, 4))}

    explorer.lasso([spot(*place) for place in around_a_bay])

    notebook.await_value(SELECTED, tuple(sorted(inside)))
    assert notebook.value(f"{NAMES}, explorer.active") == (["a"], 0)
    assert notebook.value("explorer.selection.index.tolist()") == sorted(inside)
    expect(explorer.selection("a")).to_contain_text(f"{len(inside)} items")
    # A line around them would hold those in the bay too: there is none, and the others are dimmed.
    expect(explorer.names).to_have_text(["a"])
    expect(explorer.outlines).to_have_count(0)
    opacities = explorer.opacities()
    assert {item for item in ALL if opacities[item] == 1} == inside
    assert max(opacities[item] for item in {*ALL} - inside) < 0.5
    # The map has the focus for its keys; its frame is drawn for those who came by keyboard.
    expect(explorer.frame).to_be_focused()
    expect(explorer.figure).to_have_css("outline-style", "none")
    # The next one replaces it, and takes what is on either side of the gap.
    drawn(explorer, notebook, ((5, 2), (8, 3)))
    assert notebook.value(NAMES) == ["a"]


def test_a_lasso_may_end_where_it_began(notebook: NotebookPage, explorer: LatentPage) -> None:
    corners = around(*FIRST)
    explorer.lasso([*corners, corners[0]])
    notebook.await_value(f"{SELECTED}, explorer.highlighted", (block(*FIRST), None))


def test_a_lasso_may_run_out_of_the_map(notebook: NotebookPage, explorer: LatentPage) -> None:
    (x0, y0), (x1, y1) = spot(COLS - 2.4, -0.4), spot(COLS + 4, 1.4)
    assert explorer.on_page((x1, y1))[0][0] > box_of(explorer.gallery)["x"]
    explorer.lasso([(x0, y1), (x0, y0), (x1, y0), (x1, y1)])
    notebook.await_value(SELECTED, block((COLS - 2, 0), (COLS - 1, 1)))


def test_shift_adds_and_alt_takes_away(notebook: NotebookPage, explorer: LatentPage) -> None:
    first = drawn(explorer, notebook, FIRST)
    explorer.lasso(around(*SECOND), "Shift")
    both = tuple(sorted({*first, *block(*SECOND)}))
    notebook.await_value(SELECTED, both)
    explorer.lasso(around((1, 0), (5, 5)), "Alt")
    left = tuple(sorted({*both} - {*block((1, 0), (5, 5))}))
    assert 0 < len(left) < len(both)
    notebook.await_value(SELECTED, left)
    # The keys changed those gestures only.
    expect(explorer.radio("Replace")).to_be_checked()
    assert notebook.value(f"explorer.mode, {NAMES}") == ("replace", ["a"])
    drawn(explorer, notebook, SECOND)


def test_the_mode_buttons_say_what_the_next_lasso_does(notebook: NotebookPage, explorer: LatentPage) -> None:
    first = drawn(explorer, notebook, FIRST)
    explorer.choose("Add")
    notebook.await_value("explorer.mode", "add")
    explorer.lasso(around(*SECOND))
    both = tuple(sorted({*first, *block(*SECOND)}))
    notebook.await_value(SELECTED, both)
    explorer.choose("Subtract")
    notebook.await_value("explorer.mode", "subtract")
    explorer.lasso(around(*FIRST))
    notebook.await_value(SELECTED, block(*SECOND))
    # A held key takes precedence over the mode button.
    explorer.lasso(around(*FIRST), "Shift")
    notebook.await_value(SELECTED, both)
    explorer.choose("Replace")
    notebook.await_value("explorer.mode", "replace")
    drawn(explorer, notebook, FIRST)


def test_keys_on_the_map_do_the_same_and_leave_the_notebook_alone(notebook: NotebookPage, explorer: LatentPage) -> None:
    keyboard = notebook.page.keyboard
    first = drawn(explorer, notebook, FIRST)
    assert notebook.selection() == NOTEBOOK
    keyboard.press("a")
    expect(explorer.radio("Add")).to_be_checked()
    explorer.lasso(around(*SECOND))
    notebook.await_value(SELECTED, tuple(sorted({*first, *block(*SECOND)})))
    keyboard.press("s")
    expect(explorer.radio("Subtract")).to_be_checked()
    explorer.lasso(around(*FIRST))
    notebook.await_value(SELECTED, block(*SECOND))
    keyboard.press("r")
    expect(explorer.radio("Replace")).to_be_checked()
    drawn(explorer, notebook, FIRST)
    assert notebook.value("explorer.mode") == "replace"
    keyboard.press("Control+z")
    notebook.await_value(SELECTED, block(*SECOND))
    keyboard.press("n")
    notebook.await_value("explorer.active", None)
    # The notebook's own shortcuts: add, cut, undo, copy and paste a cell, edit, output away, restart.
    for key in ("b", "x", "z", "c", "v", "o", "Escape", "d", "d", "0", "0", "m", "Shift+m", "j", "k"):
        keyboard.press(key)
    expect(explorer.frame).to_be_focused()
    expect(explorer.figure).to_be_visible()
    assert notebook.selection() == NOTEBOOK
    assert notebook.value(f"{NAMES}, {CONTENTS}") == (["a"], [block(*SECOND)])


def test_the_map_can_be_reached_by_keyboard(notebook: NotebookPage, explorer: LatentPage) -> None:
    # From the control before it, by the Tab key.
    explorer.button("Export").focus()
    notebook.page.keyboard.press("Tab")
    expect(explorer.frame).to_be_focused()
    expect(explorer.frame).to_have_attribute("aria-label", re.compile("Keys: R replace, A add"))
    expect(explorer.figure).to_have_css("outline-style", "solid")
    notebook.page.keyboard.press("a")
    notebook.await_value("explorer.mode", "add")
    assert notebook.selection() == NOTEBOOK


def test_a_lasso_around_nothing_keeps_the_selection_and_says_so(notebook: NotebookPage, explorer: LatentPage) -> None:
    gap = [spot(WEST - 0.6, row) for row in (1, 3)] + [spot(WEST - 1 + 0.2, row) for row in (3, 1)]
    middle_of_the_gap = [(x + 0.12, y) for x, y in gap]
    first = drawn(explorer, notebook, FIRST)
    expect(explorer.notice).to_have_text("")

    explorer.lasso(middle_of_the_gap)

    expect(explorer.notice).to_have_text("There is no point inside this lasso; the selection is as before.")
    assert notebook.value(f"{SELECTED}, {NAMES}, explorer.highlighted") == (first, ["a"], None)
    drawn(explorer, notebook, SECOND)
    expect(explorer.notice).to_have_text("")


def test_there_must_be_something_to_take_away_from(notebook: NotebookPage, explorer: LatentPage) -> None:
    explorer.lasso(around(*FIRST), "Alt")
    expect(explorer.notice).to_have_text("There is no active selection to subtract from.")
    assert notebook.value(f"{SELECTED}, {CONTENTS}") == ((), [])


def test_a_click_rings_a_point_and_keeps_the_selection(notebook: NotebookPage, explorer: LatentPage) -> None:
    first = drawn(explorer, notebook, FIRST)
    for item in (COLS * 5 + 9, COLS * 3 + 2):
        explorer.click(spot_of(item))
        notebook.await_value("explorer.highlighted", item)
        expect(explorer.ring).to_have_count(1)
        assert near(explorer.centers(explorer.ring)[0], explorer.on_page(spot_of(item))[0])
    expect(explorer.notice).to_have_text("")
    assert notebook.value(f"{SELECTED}, {NAMES}") == (first, ["a"])
    # A click where no point is removes the ring.
    explorer.click(spot(WEST - 0.5, 4))
    notebook.await_value("explorer.highlighted", None)
    expect(explorer.ring).to_be_hidden()
    assert notebook.value(f"{SELECTED}, {NAMES}") == (first, ["a"])


@pytest.mark.parametrize("by", ["key", "button"])
def test_two_selections_stay_on_the_map_together(notebook: NotebookPage, explorer: LatentPage, by: str) -> None:
    first = drawn(explorer, notebook, FIRST)
    if by == "key":
        notebook.page.keyboard.press("n")
    else:
        explorer.button("+ New selection").click()
    notebook.await_value(f"explorer.active, {SELECTED}", (None, ()))
    expect(explorer.begin).to_be_disabled()
    second = drawn(explorer, notebook, SECOND)

    assert notebook.value(f"{NAMES}, {CONTENTS}, explorer.active") == (["a", "b"], [first, second], 1)
    expect(explorer.outlines).to_have_count(2)
    expect(explorer.names).to_have_text(["a", "b"])
    strokes = explorer.outlines.evaluate_all("lines => lines.map(line => line.style.stroke)")
    dots = explorer.selections.locator("i").evaluate_all("dots => dots.map(dot => dot.style.backgroundColor)")
    assert strokes == dots
    assert len(set(strokes)) == 2
    for box, items in zip(boxes_of(explorer.outlines), (first, second), strict=True):
        # Its points are inside, with a little room, and those beside them are not.
        (left, low), (right, high) = explorer.on_page(spot_of(items[0]), spot_of(items[-1]))
        assert left - 20 < box["x"] < left - 4
        assert right + 4 < box["x"] + box["width"] < right + 20
        assert high - 20 < box["y"] < high - 4
        assert low + 4 < box["y"] + box["height"] < low + 20

    for name, items, position in (("a", first, 0), ("b", second, 1)):
        explorer.selection(name).click()
        notebook.await_value(f"explorer.active, {SELECTED}", (position, items))
        expect(explorer.selection(name)).to_have_attribute("aria-pressed", "true")
        expect(explorer.rings.first).to_have_accessible_name(re.compile(rf"^Item {min(items, key=iou)}\b"))
        expect(explorer.outlines).to_have_count(2)
    # A lasso changes the active one alone.
    explorer.lasso(around((9, 0), (11, 0)))
    notebook.await_value(CONTENTS, [first, block((9, 0), (11, 0))])


def test_a_selection_says_how_good_the_model_is_there(notebook: NotebookPage, explorer: LatentPage) -> None:
    items = drawn(explorer, notebook, ((3, 2), (4, 2)))
    mean = sum(map(iou, items)) / 2
    expect(explorer.selection("a")).to_contain_text("2 items")
    expect(explorer.selection("a")).to_contain_text(f"mean IoU {mean:.2f}")
    expect(explorer.selection("a")).to_contain_text(f"median {mean:.2f}")


def test_selections_are_renamed_by_a_double_click_or_by_the_menu(notebook: NotebookPage, explorer: LatentPage) -> None:
    first = drawn(explorer, notebook, FIRST)
    notebook.page.keyboard.press("n")
    notebook.await_value("explorer.active", None)
    second = drawn(explorer, notebook, SECOND)
    keyboard = notebook.page.keyboard

    explorer.selection("a").dblclick()
    field = explorer.gallery.get_by_role("textbox", name="New name for a")
    expect(field).to_be_focused()
    field.fill("")
    keyboard.type("bad roofs")  # letters that are shortcuts of the map and of the notebook
    keyboard.press("Enter")
    notebook.await_value(NAMES, ["bad roofs", "b"])
    expect(explorer.names).to_have_text(["bad roofs", "b"])
    assert notebook.value(f"explorer.active, {SELECTED}, explorer.mode") == (0, first, "replace")

    explorer.more("b", "Rename")
    explorer.gallery.get_by_role("textbox", name="New name for b").fill("another")
    keyboard.press("Escape")
    expect(explorer.gallery.get_by_role("textbox")).to_have_count(0)
    explorer.more("b", "Rename")
    explorer.gallery.get_by_role("textbox", name="New name for b").fill("bad roofs")
    keyboard.press("Enter")
    expect(explorer.gallery.get_by_role("alert")).to_have_text("there is a selection named 'bad roofs' already")
    assert notebook.value(f"{NAMES}, {CONTENTS}") == (["bad roofs", "b"], [first, second])
    assert notebook.selection() == NOTEBOOK


def test_the_menu_removes_and_combines(notebook: NotebookPage, explorer: LatentPage) -> None:
    first, second = block((0, 0), (2, 1)), block((2, 1), (4, 3))
    notebook.execute(f"explorer.select({first}); explorer.select({second})")
    expect(explorer.outlines).to_have_count(2)

    explorer.more("a", "Add to b")
    notebook.await_value(SELECTED, tuple(sorted({*first, *second})))
    explorer.button("Undo").click()
    notebook.await_value(SELECTED, second)
    explorer.more("a", "Subtract from b")
    notebook.await_value(SELECTED, tuple(sorted({*second} - {*first})))
    explorer.button("Undo").click()
    notebook.await_value(SELECTED, second)
    explorer.more("a", "Keep in b only what both have")
    notebook.await_value(CONTENTS, [first, (COLS + 2,)])
    assert notebook.value(f"{NAMES}, explorer.active") == (["a", "b"], 1)

    explorer.more("b", "Remove")
    notebook.await_value(f"{NAMES}, {SELECTED}", (["a"], first))
    expect(explorer.outlines).to_have_count(1)
    expect(explorer.names).to_have_text(["a"])
    explorer.more("a", "Remove")
    notebook.await_value(f"{NAMES}, {SELECTED}", ([], ()))
    expect(explorer.outlines.first).to_be_hidden()
    expect(explorer.gallery).to_contain_text("Draw a lasso around points")


def test_undo_goes_back_step_by_step_and_clear_can_be_undone(notebook: NotebookPage, explorer: LatentPage) -> None:
    first = drawn(explorer, notebook, FIRST)
    second = drawn(explorer, notebook, SECOND)
    explorer.button("Clear").click()
    notebook.await_value(f"{SELECTED}, {NAMES}", ((), []))
    expect(explorer.outlines.first).to_be_hidden()
    expect(explorer.rings).to_have_count(0)
    assert {*explorer.opacities()} == {1}

    explorer.button("Undo").click()
    notebook.await_value(f"{SELECTED}, {NAMES}", (second, ["a"]))
    expect(explorer.outlines.first).to_be_visible()
    notebook.page.keyboard.press("Control+z")
    notebook.await_value(SELECTED, first)
    explorer.button("Undo").click()
    notebook.await_value(f"{SELECTED}, {NAMES}", ((), []))
    expect(explorer.button("Undo")).to_be_disabled()
    explorer.click(spot(WEST - 0.5, 4))
    notebook.page.keyboard.press("Control+z")
    expect(explorer.notice).to_have_text("There is nothing to undo.")


def test_what_python_sets_is_shown(notebook: NotebookPage, explorer: LatentPage) -> None:
    assert notebook.value("explorer.select([40, 3, 17], name='three').statistics.count") == 3
    expect(explorer.selection("three")).to_contain_text("3 items")
    expect(explorer.names).to_have_text(["three"])
    assert set(explorer.card_items()) == {3, 17, 40}

    notebook.execute("explorer.selected = [5, 4]")
    expect(explorer.selection("three")).to_contain_text("2 items")
    expect(explorer.rings).to_have_count(2)
    assert explorer.card_items() == sorted([4, 5], key=iou)
    assert notebook.value(f"{SELECTED}, {NAMES}") == ((4, 5), ["three"])

    notebook.execute("explorer.select(space.iou_ > 0.85, name='good', color='#102030')")
    good = tuple(item for item in ALL if iou(item) > 0.85)
    expect(explorer.selection("good")).to_contain_text(f"{len(good)} items")
    assert notebook.value(SELECTED) == good
    expect(explorer.names).to_have_text(["three", "good"])
    assert rgb(explorer.names.nth(1), "borderTopColor") == [16, 32, 48]
    notebook.execute("explorer.active = 0")
    expect(explorer.selection("three")).to_have_attribute("aria-pressed", "true")

    notebook.execute("explorer.color_by, explorer.background, explorer.mode = 'number', 'none', 'add'")
    expect(explorer.drop_down("Color")).to_have_value("number")
    expect(explorer.legend).to_contain_text(re.compile(r"number\s*0\s*950"))
    expect(explorer.drop_down("Background")).to_have_value("none")
    expect(explorer.surface).to_be_hidden()
    expect(explorer.radio("Add")).to_be_checked()
    explorer.lasso(around((0, 0), (0, 0)))
    notebook.await_value(SELECTED, (0, 4, 5))

    notebook.execute("explorer.highlighted = 40")
    expect(explorer.ring).to_be_visible()
    assert near(explorer.centers(explorer.ring)[0], explorer.on_page(spot_of(40))[0])
    notebook.execute("explorer.undo(), explorer.clear()")
    expect(explorer.selections).to_have_count(0)
    for wrong in ("explorer.selected = [96]", "explorer.color_by = 'beauty'", "explorer.highlighted = -1"):
        said = notebook.execute(f"try:\n    {wrong}\nexcept Exception as error:\n    print(type(error).__name__)")
        assert said == "InvalidTraitError", wrong


def test_two_views_of_one_explorer_agree(notebook: NotebookPage, explorer: LatentPage) -> None:
    notebook.run(2)
    second = LatentPage(notebook.page, 1)
    second.await_points(len(ALL))

    items = drawn(second, notebook, FIRST)
    for view in (explorer, second):
        expect(view.selection("a")).to_contain_text(f"{len(items)} items")
        expect(view.outlines).to_have_count(1)
        expect(view.rings.first).to_be_visible()
    second.click(spot_of(50))
    notebook.await_value("explorer.highlighted", 50)
    expect(explorer.ring).to_have_count(1)
    drawn(explorer, notebook, SECOND)
    expect(second.selection("a")).to_contain_text(f"{len(block(*SECOND))} items")


def test_new_items_are_lassoed_and_clicked_like_those_of_the_map(notebook: NotebookPage, explorer: LatentPage) -> None:
    notebook.execute(NEW)
    notebook.run(2)
    second = LatentPage(notebook.page, 1)
    second.await_points(20 + 6)
    second.figure.scroll_into_view_if_needed()
    expect(second.rings).to_have_count(0)
    cards = second.gallery.get_by_role("button", name=re.compile(r"^New item \d, expected IoU \d\.\d\d, 90 % interval"))
    expect(cards).to_have_count(6)
    # Diamonds are drawn after the points.
    new = second.centers(second.points)[20:]
    (left, right), (top, bottom) = (sorted(sides) for sides in zip(*new[:2], strict=True))
    second.draw([(left - 12, top - 12), (right + 12, top - 12), (right + 12, bottom + 12), (left - 12, bottom + 12)])
    notebook.await_value("explorer.new_selected", (0, 1))
    assert notebook.value(SELECTED) == (0, 1)  # of the map, in the same places
    expect(cards).to_have_count(2)

    second.figure.scroll_into_view_if_needed()
    expect(second.figure.locator(".lassoselector path")).to_have_count(0)
    notebook.page.mouse.click(*second.centers(second.points)[20 + 5])
    notebook.await_value("explorer.new_highlighted", 5)
    expect(second.ring).to_have_count(1)
    # The next test has the page to itself.
    notebook.execute("explorer.close()")
    expect(notebook.page.locator(".hdm-latent")).to_have_count(1)


def test_running_the_cell_again_closes_the_first_explorer(notebook: NotebookPage, explorer: LatentPage) -> None:
    # Every open widget has a connection to the page.
    widgets = "len(get_ipython().kernel.comm_manager.comms)"
    drawn(explorer, notebook, FIRST)
    notebook.execute("import weakref; first = weakref.ref(explorer); explorer.select([1, 2], name='more')")
    expect(explorer.outlines).to_have_count(2)
    # Without the widgets of the shapes that selections are drawn with.
    before = notebook.value(widgets)

    notebook.run(1)

    explorer.await_points(len(ALL))
    expect(notebook.page.locator(".hdm-latent")).to_have_count(1)
    expect(explorer.selections).to_have_count(0)
    # The history of outputs still has it.
    assert notebook.value(f"first() is not explorer, repr(first()), {SELECTED}") == (True, "LatentExplorer(closed)", ())
    assert notebook.value(widgets) == before
    for use in ("select([1])", "undo()", "clear()", "cluster(2)", "wait()"):
        assert "closed" in notebook.execute(
            f"try:\n    first().{use}\nexcept RuntimeError as error:\n    print(error)"
        ), use
    drawn(explorer, notebook, SECOND)
    # One tooltip: the listeners of the first one have gone.
    explorer.hover(spot_of(0))
    expect(notebook.page.locator(".hdm-point-tip")).to_have_count(1)
    expect(explorer.tooltip).to_be_visible()
