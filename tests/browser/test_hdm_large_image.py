"""A large image on the HDM explorer's stage in a real browser: zoomed, dragged, and what Python has of it then."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from at_rest import all_at_rest, box_of
from hdm_page import Explorer
from jupyter_hosts import TIMEOUT_MS, NotebookPage
from playwright.sync_api import expect

Lab = Callable[..., NotebookPage]

HEIGHT, WIDTH, SIZE, OFFSET, TILE = 1600, 1800, 201, 350, 256
# Red is another value in every pixel around another; green is what the model draws: two buildings.
BUILDINGS = f"""
import numpy as np
import hdm_widgets as hw

rows, cols = np.mgrid[:{HEIGHT}, :{WIDTH}]
image = np.zeros((3, {HEIGHT}, {WIDTH}), np.float32)
image[0] = (7 * rows + 3 * cols) % 251 / 255
image[1, 300:620, 260:700] = 1
image[1, 1000:1400, 1100:1640] = 1
image[2, 0, :2] = 0, 1
truth = np.roll(image[1] > 0.5, 12, axis=1)
published = {{"fill": "minimum", "order": "change"}}
explorer = hw.HDMExplorer(
    lambda images: images[:, 1], image, truth, circle_size={SIZE}, offset={OFFSET}, keep_outputs=True, **published
)
explorer
"""
# Where every tile has its upper left corner, in fractions of the image, its width in its own pixels, and red of one.
_TILES = """tiles => Promise.all(tiles.map(async tile => {
  await tile.decode();
  const canvas = document.createElement('canvas');
  const brush = canvas.getContext('2d');
  brush.drawImage(tile, -5, -9);
  const { left, top } = tile.style;
  return [parseFloat(left) / 100, parseFloat(top) / 100, tile.naturalWidth, brush.getImageData(0, 0, 1, 1).data[0]];
}))"""
# Whether there is a tile at a place of the page.
_TILE_AT = """([x, y]) => [...document.querySelectorAll('.hdm-tiles img')].some(tile => {
  const { left, right, top, bottom } = tile.getBoundingClientRect();
  return left <= x && x < right && top <= y && y < bottom;
})"""


def cell_at(x: float, y: float) -> tuple[int, int]:
    """The cell whose disc's center is the nearest, of a place in fractions of the image."""
    first = (SIZE - 1) / 2 + 0.5
    counts = ((side - SIZE) // OFFSET + 1 for side in (HEIGHT, WIDTH))
    places = ((y * HEIGHT - first) / OFFSET, (x * WIDTH - first) / OFFSET)
    row, col = (min(max(round(at), 0), count - 1) for at, count in zip(places, counts, strict=True))
    return row, col


def test_wheel_drag_keys_and_buttons_reach_python(lab: Lab) -> None:
    """One notebook for all gestures: each begins where the one before has ended."""
    notebook = lab(BUILDINGS)
    explorer, page = Explorer(notebook.page), notebook.page
    explorer.complete()
    notebook.await_value("explorer.wait(60), explorer.status", (True, "done"))
    window = explorer.root.locator(".hdm-window")
    window.scroll_into_view_if_needed()
    frame = box_of(window)
    tiles = explorer.stage.locator(".hdm-tiles img")

    def at(x: float, y: float) -> tuple[float, float]:
        return frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]

    def scale() -> float:
        return box_of(explorer.stage)["width"] / frame["width"]

    # The wheel: the place under the pointer stays where it is, and a click pins its cell.
    place = (0.62, 0.31)
    page.mouse.move(*at(*place))
    for _ in range(4):
        page.mouse.wheel(0, -100)
    expect(explorer.button("Whole image (0)")).to_be_enabled()
    np.testing.assert_allclose(scale(), 4, rtol=0.01)
    page.mouse.click(*at(*place))
    notebook.await_value("explorer.cell", cell_at(*place))
    # Python has sent the tiles in view with the image's own pixels.
    page.wait_for_function(_TILE_AT, arg=list(at(*place)), timeout=TIMEOUT_MS)
    for x, y, pixels, red in all_at_rest(tiles, _TILES):
        row, col = round(y * HEIGHT), round(x * WIDTH)
        assert pixels == min(TILE, WIDTH - col)
        assert red == (7 * (row + 9) + 3 * (col + 5)) % 251

    # A drag moves the image, and pins nothing; a click then pins what has come under the pointer.
    page.mouse.move(*at(0.7, 0.7))
    page.mouse.down()
    page.mouse.move(*at(0.3, 0.2), steps=5)
    page.mouse.up()
    assert notebook.value("explorer.cell") == cell_at(*place)
    left, top = ((1 - 1 / 4) * along for along in place)
    dragged = (left + (0.5 + 0.4) / 4, top + (0.5 + 0.5) / 4)
    page.mouse.click(*at(0.5, 0.5))
    notebook.await_value("explorer.cell", cell_at(*dragged))

    # Keys: the cursor stays in view wherever it goes.
    page.keyboard.press("Home")
    cursor = box_of(explorer.stage.locator(".hdm-ring.hdm-cursor"))
    for side, length in (("x", "width"), ("y", "height")):
        middle = cursor[side] + cursor[length] / 2
        assert frame[side] < middle < frame[side] + frame[length]
    page.keyboard.press("Enter")
    notebook.await_value("explorer.cell", (cell_at(*dragged)[0], 0))
    page.keyboard.press("-")
    np.testing.assert_allclose(scale(), 4 / 1.5, rtol=0.01)

    # Buttons, and an object of the whole image.
    explorer.button("Whole image (0)").click()
    np.testing.assert_allclose(scale(), 1, rtol=0.01)
    expect(explorer.button("Zoom out (-)")).to_be_disabled()
    explorer.button("Zoom in (+)").click()
    np.testing.assert_allclose(scale(), 1.5, rtol=0.01)
    page.keyboard.press("0")
    explorer.choose("Object")
    page.mouse.click(*at(1300 / WIDTH, 1200 / HEIGHT))
    notebook.await_that("explorer.object", lambda at: at is not None, "a pixel")
    np.testing.assert_allclose(notebook.value("explorer.object"), (1200, 1300), atol=8)
    assert notebook.value("(explorer.result.segment == (truth & (rows > 800))).all().item()")
