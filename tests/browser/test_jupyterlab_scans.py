"""Scans of the HDM explorer in a real JupyterLab 4: started, cancelled, failed, begun anew."""

from __future__ import annotations

import re

from hdm_page import Explorer
from known_scans import CELLS, DEMO, OFFSET, SIDE, SIZE, TINY, Lab, at
from playwright.sync_api import expect

# Passes 80 images, then waits for the test.
GATED = f"""
gate = threading.Semaphore(80)

def slow(images):
    assert gate.acquire(timeout=120)
    return model(images)

explorer = hw.HDMExplorer(slow, image, truth, circle_size={SIZE}, offset={OFFSET // 2}, fill="minimum", batch_size=1)
explorer
"""
FRAGILE = f"""
repaired = False

def fragile(images):
    if calls == 30 and not repaired:
        raise RuntimeError("no luck with this one")
    return model(images)

explorer = hw.HDMExplorer(fragile, image, truth, circle_size={SIZE}, offset={OFFSET}, fill="minimum", batch_size=1)
explorer
"""


def test_the_map_appears_and_gets_complete(lab: Lab) -> None:
    notebook = lab(DEMO)
    explorer = Explorer(notebook.page)
    explorer.complete()
    expect(explorer.status).to_contain_text(f"{CELLS} discs")
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
    notebook.await_value("explorer.status == 'done' and explorer.result.circle_size", dragged)
    explorer.complete()
    explorer.await_repaint(before)
    assert notebook.value("explorer.offset, bool(explorer.result.measured.all())") == (OFFSET, True)
    expect(explorer.slider("Circle size")).to_have_value(str(dragged))


def test_cancel_stops_a_slow_scan_and_the_kernel_is_free_meanwhile(lab: Lab) -> None:
    notebook = lab(TINY, GATED)
    explorer = Explorer(notebook.page)
    # The model waits at the gate: the scan runs until this test lets it end.
    notebook.await_value("calls", 80)
    expect(explorer.status).to_contain_text(re.compile(r"(Coarse map|Refining) · \d+ of 256"))
    expect(explorer.progress).to_have_attribute("aria-valuenow", re.compile(r"^[1-9]\d?$"))

    assert notebook.run_new("explorer.circle_size, explorer.status") == f"({SIZE}, 'running')"
    explorer.button("Cancel").click()

    expect(explorer.status).to_contain_text("Cancelled")
    notebook.await_value("explorer.status", "cancelled")
    notebook.run_new("gate.release(1000)")
    assert notebook.value("explorer.wait(30)")
    # The batch that was running may end; no other one starts.
    measured, called = notebook.value("int(explorer.result.measured.sum()), calls")
    assert 64 <= measured <= 80
    assert 80 <= called <= 81
    expect(explorer.status).to_contain_text(f"Cancelled at {measured} of 256")
    expect(explorer.button("Cancel")).to_have_count(0)
    assert notebook.value("explorer.status, explorer.error") == ("cancelled", "")

    explorer.button("Run again").click()
    explorer.complete()
    assert notebook.value("int(explorer.result.measured.sum())") == 256


def test_what_is_not_measured_is_hatched_until_it_is(lab: Lab) -> None:
    notebook = lab(TINY, GATED)
    explorer = Explorer(notebook.page)
    offset = OFFSET // 2
    # Both far from all that the image shows: one of the first stage, one among the last of the second.
    measured, missing = (12, 12), (13, 13)
    notebook.await_value("calls", 80)
    expect(explorer.root.get_by_text("Hatched: not measured yet, but estimated")).to_be_visible()
    expect(explorer.hatching).to_be_visible()

    explorer.button("Cancel").click()
    notebook.await_value("explorer.status", "cancelled")
    legend = explorer.root.get_by_text("Hatched: not measured, but estimated")
    expect(legend).to_be_visible()
    assert notebook.value(f"[explorer.result.measured[cell].item() for cell in ({measured}, {missing})]") == [1, 0]
    # The image is of one tone there, and no disc changes the mask: all that can be seen is the hatching.
    assert explorer.tones(explorer.place(measured, SIZE, offset, SIDE)) == 1
    assert explorer.tones(explorer.place(missing, SIZE, offset, SIDE)) > 2

    # The discs around it change no mask either: they have the distance of the plain image.
    value = notebook.value("f'{explorer.result.baseline:.1f} px'")
    explorer.stage.hover(position=explorer.place(missing, SIZE, offset, SIDE))
    expect(explorer.root.get_by_text(f"{at(missing)}: about {value}, not measured", exact=True)).to_be_attached()
    expect(explorer.stage.get_by_text(f"about {value} · not measured", exact=True)).to_be_visible()
    explorer.stage.click(position=explorer.place(missing, SIZE, offset, SIDE))
    expect(explorer.pinned(missing)).to_contain_text("the scan ended before it was measured")
    expect(explorer.figures).to_have_count(0)

    notebook.run_new("gate.release(1000)")
    explorer.button("Run again").click()
    explorer.complete()
    expect(explorer.hatching).to_have_count(0)
    expect(explorer.root.get_by_text("Hatched")).to_have_count(0)
    expect(explorer.figures).to_have_count(3)
    notebook.page.keyboard.press("Escape")
    assert explorer.tones(explorer.place(missing, SIZE, offset, SIDE)) == 1


def test_a_slider_cancels_the_running_scan_and_starts_the_next(lab: Lab) -> None:
    notebook = lab(TINY, GATED)
    explorer = Explorer(notebook.page)
    notebook.await_value("calls", 80)
    explorer.slider("Offset").focus()
    notebook.page.keyboard.press("End")
    notebook.await_value("explorer.offset, explorer.status", (SIDE // 4, "running"))
    notebook.run_new("gate.release(1000)")
    explorer.complete()
    expect(explorer.status).to_contain_text("16 discs")
    shape, called = notebook.value("explorer.result.values.shape, calls")
    assert shape == (4, 4)
    # At most one batch of the first scan after the change, then a image without a disc and 16 with one.
    assert called <= 80 + 1 + 17


def test_a_failing_model_is_reported_with_its_cell_and_can_be_tried_again(lab: Lab) -> None:
    notebook = lab(TINY, FRAGILE)
    explorer = Explorer(notebook.page)
    expect(explorer.alert).to_contain_text("no luck with this one")
    row, col = notebook.value("explorer.exception.cell")
    expect(explorer.alert).to_contain_text(at((row, col)))
    expect(explorer.status).to_contain_text("Stopped")
    status, error, measured = notebook.value("explorer.status, explorer.error, int(explorer.result.measured.sum())")
    assert status == "error"
    assert at((row, col)) in error
    assert 0 <= measured < CELLS
    assert notebook.run_new("repaired = True\n6 * 7") == "42"

    explorer.button("Try again").click()

    explorer.complete()
    expect(explorer.alert).to_have_count(0)
    assert notebook.value("explorer.status, explorer.error, explorer.exception") == ("done", "", None)


def test_channels_are_named_and_the_choice_reaches_python(lab: Lab) -> None:
    notebook = lab(
        TINY
        + """
colored = image.repeat(3, 0)
explorer = hw.HDMExplorer(lambda images: images[:, 1], colored, truth, circle_size=32, offset=32, fill="minimum")
explorer
"""
    )
    explorer = Explorer(notebook.page)
    explorer.complete()
    raw = explorer.painted()
    assert notebook.value("explorer.channel, len(set(explorer.result.values.ravel())) > 1") == (-1, True)
    explorer.choose("Red")
    notebook.await_value("explorer.channel", 0)
    # The model reads green only: a disc on red changes nothing.
    notebook.await_value("explorer.status == 'done' and len(set(explorer.result.values.ravel()))", 1)
    explorer.await_repaint(raw)
    explorer.choose("Green")
    notebook.await_value("explorer.channel", 1)
    explorer.await_painted(raw)


def test_running_the_cell_again_closes_the_first_explorer(lab: Lab) -> None:
    notebook = lab(
        TINY + "explorer, workers = None, set()",
        f"""
import weakref
first, gate = explorer and weakref.ref(explorer), threading.Event()

def slow(images, gate=gate):
    workers.add(threading.current_thread())
    gate.wait(1)
    return model(images)

explorer = hw.HDMExplorer(slow, image, truth, circle_size={SIZE}, offset={OFFSET}, fill="minimum", batch_size=1)
explorer
""",
    )
    explorer = Explorer(notebook.page)
    expect(explorer.button("Cancel")).to_be_visible()
    assert notebook.value("explorer.status, first") == ("running", None)

    notebook.run(1)
    notebook.run_new("gate.set()")

    expect(explorer.root).to_be_visible()
    expect(notebook.page.get_by_role("region", name="Hausdorff distance explorer")).to_have_count(1)
    explorer.complete()
    assert notebook.value("repr(first()), explorer.status") == ("HDMExplorer(closed)", "done")
    # The first one had a minute of work left.
    notebook.await_value("any(worker.is_alive() for worker in workers - {threading.main_thread()})", False)
    for use in ("run()", "cancel()", "wait()", "result"):
        source = f"try:\n    first().{use}\nexcept RuntimeError as error:\n    print(error)"
        assert "closed" in notebook.execute(source), use
