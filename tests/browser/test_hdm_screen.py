"""What only a browser shows of the HDM explorer: the very pixels of the map, themes, reruns and restarts."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from at_rest import at_rest
from hdm_page import Explorer
from jupyter_hosts import TIMEOUT_MS, NotebookPage
from PIL import Image
from playwright.sync_api import Locator, expect

from hdm_widgets import hdm

Lab = Callable[..., NotebookPage]

# So large that the canvas has the image's own pixels. Discs on the two tips outside the truth make the mask better.
# Discs inside the triangle make it worse, the farther from its edge the more. Many others change nothing.
HEIGHT, WIDTH, SIZE, OFFSET = 520, 640, 45, 26
LARGE = f"""
import numpy as np
import hdm_widgets as hw

rows, cols = np.mgrid[:{HEIGHT}, :{WIDTH}]
truth = (rows > 100) & (cols > 80) & (rows + cols < 600)
image = np.where(truth, 1, 0.1).astype(np.float32)[None]
image[:, 101:131, 470:486] = 1
image[:, 300:330, 72:82] = 1

def model(images):
    return images[:, 0]

explorer = hw.HDMExplorer(
    model, image, truth, circle_size={SIZE}, offset={OFFSET}, fill="minimum", order="change", opacity=1.0,
)
explorer
"""
SMALL = """
import numpy as np
import hdm_widgets as hw

image = np.full((1, 64, 64), 0.1, np.float32)
image[:, 16:40, 12:50] = 1
truth = image[0] > 0.5
image[:, 16:20, 50:54] = 1

def make():
    return hw.HDMExplorer(
        lambda images: images[:, 0], image, truth, circle_size=9, offset=8, fill="minimum", order="change",
    )
"""


def pixels(canvas: Locator) -> np.ndarray:
    """A canvas at rest, uint8 (height, width, 4)."""
    address = at_rest(canvas, "canvas => canvas.toDataURL('image/png')")
    return np.array(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


@pytest.mark.parametrize("result_type", ["raw", "better", "worse"])
def test_the_map_on_screen_is_the_map_that_is_saved(lab: Lab, tmp_path: Path, result_type: str) -> None:
    notebook = lab(LARGE)
    explorer = Explorer(notebook.page)
    explorer.complete()
    notebook.await_value("explorer.wait(60), explorer.status", (True, "done"))
    before = explorer.painted()
    if result_type != "raw":
        notebook.execute(f"explorer.result_type = {result_type!r}")
        explorer.await_repaint(before)

    notebook.execute(f"explorer.result.save({str(tmp_path / 'result.npz')!r})")
    result = hdm.HDMResult.load(tmp_path / "result.npz")
    check_pixels(explorer, result, result_type, "change")
    # Which disc is on top matters: in the published order other pixels show another value.
    if result_type == "raw":
        topmost = result.painted_values(result_type, order="change")
        changed = np.abs(topmost - result.baseline) > 0
        assert (topmost != result.painted_values(result_type))[changed].sum() > 500
    before = explorer.painted()
    notebook.execute("explorer.order = 'mean'")
    explorer.await_repaint(before)
    check_pixels(explorer, result, result_type, "mean")


def check_pixels(explorer: Explorer, result: hdm.HDMResult, result_type: str, order: Literal["mean", "change"]) -> None:
    colors = np.array(result.circle_map(result_type, "Blues", order=order)).astype(int)
    painted = result.painted_values(result_type, order=order)
    change = np.abs(painted - result.baseline) if result_type == "raw" else painted
    assert len(np.unique(change[~np.isnan(change)])) >= {"raw": 8, "better": 2, "worse": 7}[result_type]
    # The image is lightened by 0.7; cells of a fifth of the largest change, or more, have their full color.
    color = np.nan_to_num(np.sqrt(np.minimum(change / np.nanmax(change) / 0.2, 1)))
    white = 0.7 * (1 - color)
    alpha = color + white
    expected = (color[..., None] * colors + white[..., None] * 255) / alpha[..., None]

    shown = pixels(explorer.map).astype(int)
    assert shown.shape == (HEIGHT, WIDTH, 4)
    assert np.abs(shown[..., 3] - 255 * alpha).max() <= 1
    # A canvas keeps colors multiplied by their opacity.
    assert np.abs(shown[..., :3] - expected).max() <= 2
    np.testing.assert_array_equal(shown[color == 1][:, :3], colors[color == 1])


def test_an_image_larger_than_the_screen_is_painted_on_a_canvas_that_is_not(lab: Lab) -> None:
    notebook = lab(
        """
import numpy as np
import hdm_widgets as hw
image = np.zeros((1, 2400, 1800), np.float32)
image[:, 300:1500, 300:1200] = 1
explorer = hw.HDMExplorer(
    lambda images: images[:, 0], image, image[0], circle_size=400, offset=300, fill="minimum", order="change",
)
explorer.cell = (2, 2)
explorer
"""
    )
    explorer = Explorer(notebook.page)
    explorer.complete()
    explorer.button("Edges").click()
    expect(explorer.figures).to_have_count(3)
    sizes = explorer.root.locator("canvas").evaluate_all("all => all.map(one => [one.width, one.height])")
    # Edges and map at the screen's size; both masks of the inspector around the disc, every second pixel of 802.
    assert sorted(map(tuple, sizes)) == [(401, 401)] * 2 + [(768, 1024)] * 2
    values = notebook.value("explorer.result.values.tolist()")
    row, col = np.unravel_index(np.argmax(values), np.shape(values))
    # In the middle of the worst cell's disc the map is as opaque as it gets, over an image that is lightened.
    x, y = (int((index * 300 + 200) * 768 / 1800) for index in (col, row))
    assert pixels(explorer.map)[y, x, 3] == round(255 * (1 - (1 - 0.7) * (1 - 0.7)))


def test_the_inspector_follows_the_theme(lab: Lab, dark_theme: Callable[[NotebookPage], None]) -> None:
    notebook = lab(SMALL, "explorer = make()\nexplorer")
    explorer = Explorer(notebook.page)
    explorer.complete()
    notebook.execute("explorer.cell = (3, 2)")
    masks = explorer.figures.nth(1).get_by_role("img", name="The model's mask against the truth")

    def drawn() -> dict[tuple[int, ...], int]:
        found, counts = np.unique(pixels(masks).reshape(-1, 4), axis=0, return_counts=True)
        return {tuple(color[:3].tolist()): int(count) for color, count in zip(found, counts, strict=True) if color[3]}

    def theme() -> list[tuple[int, ...]]:
        names = ["--hit", "--missed", "--added"]
        texts = [
            masks.evaluate("(node, name) => getComputedStyle(node).getPropertyValue(name)", name) for name in names
        ]
        return [tuple(bytes.fromhex(text.strip().removeprefix("#"))) for text in texts]

    light, before = theme(), drawn()
    assert set(before) == set(light)
    dark_theme(notebook)
    dark = theme()
    assert not {*light} & {*dark}
    after = drawn()
    assert [after.get(color) for color in dark] == [before.get(color) for color in light]


def test_a_cell_that_runs_again_keeps_the_explorer_it_keeps_and_closes_the_one_it_replaces(lab: Lab) -> None:
    keeps = "if 'kept' not in globals():\n    kept = make()\nkept"
    notebook = lab(SMALL, keeps, "make()")
    kept, first = Explorer(notebook.page), Explorer(notebook.page, 1)
    kept.complete()
    first.complete()
    notebook.execute("import ipywidgets")
    open_ = "sum(type(one).__name__ == 'HDMExplorer' for one in ipywidgets.widgets.widget._instances.values())"
    assert notebook.value(open_) == 2
    for _ in range(2):
        notebook.run(1)
        notebook.run(2)
        kept.complete()
        first.complete()
        assert notebook.value(f"{open_}, kept.status") == (2, "done")
    kept.slider("Circle size").focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.await_value("kept.circle_size, kept.status", (10, "done"))


def test_a_kernel_that_has_gone_is_told(lab: Lab) -> None:
    notebook = lab(SMALL, "explorer = make()\nexplorer")
    explorer = Explorer(notebook.page)

    def kill() -> None:
        """JupyterLab starts another one, and says so."""
        notebook.start("import os; os.kill(os.getpid(), 9)")

    for end in (notebook.restart_kernel, kill, notebook.close):
        explorer.complete()
        expect(explorer.alert).to_have_count(0)
        end()
        expect(explorer.alert).to_have_text("The kernel was restarted: run this cell again.", timeout=TIMEOUT_MS)
        expect(explorer.button("Run again")).to_be_disabled()
        expect(explorer.alert).to_have_count(1)
        if end != notebook.close:
            if end == kill:
                notebook.page.get_by_role("dialog").get_by_role("button", name="Ok").click()
            # A fresh kernel, in which nothing of the explorer is left.
            notebook.page.evaluate("() => window.testedPanel.context.sessionContext.session.kernel.info")
            notebook.run(0)
            notebook.run(1)


def test_another_measure_is_chosen_and_shown_without_a_run(lab: Lab) -> None:
    notebook = lab(SMALL, "explorer = make()\nexplorer.cell = (3, 2)\nexplorer")
    explorer = Explorer(notebook.page)
    explorer.complete()
    notebook.await_value("explorer.wait(60), explorer.measure, explorer.explain_by", (True, "hausdorff", "truth"))
    notebook.execute("before = explorer.result")
    scale = explorer.root.locator(".hdm-scale p")
    expect(scale).to_have_text("Hausdorff distance to the truth when a disc covers this cell")
    painted = explorer.painted()

    explorer.root.get_by_label("Measure", exact=True).select_option("1 - IoU")
    notebook.await_value("explorer.measure, explorer.result.settings.distance", ("iou", "iou"))
    assert notebook.value("(explorer.result.values == before.measure('iou').values).all().item()")
    expect(scale).to_have_text("1 - IoU with the truth when a disc covers this cell")
    expect(explorer.root.locator(".hdm-big")).to_contain_text("1 - IoU 0.")
    expect(explorer.figures).to_have_count(2)
    painted = explorer.await_repaint(painted)

    # By keys alone.
    explorer.root.get_by_label("Explain", exact=True).focus()
    notebook.page.keyboard.press("ArrowDown")
    notebook.await_value("explorer.explain_by, explorer.result.settings.of_prediction", ("prediction", True))
    assert notebook.value("(explorer.result.values == before.measure('iou', 'prediction').values).all().item()")
    expect(scale).to_have_text("1 - IoU with the prediction when a disc covers this cell")
    expect(explorer.button("Prediction")).to_be_visible()
    expect(explorer.root.locator(".hdm-summary")).to_contain_text("Most changed")
    expect(explorer.radio("Better")).to_have_count(0)
    explorer.await_repaint(painted)
    assert notebook.value("explorer.status, explorer.result.complete") == ("done", True)
