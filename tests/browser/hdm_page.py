"""The HDM explorer as the browser tests see it: its parts by name, and what a hand does with them."""

from __future__ import annotations

import io
from collections.abc import Iterable

from at_rest import at_rest, box_of, screenshot_of
from jupyter_hosts import POLLING_MS, TIMEOUT_MS
from PIL import Image
from playwright.sync_api import Locator, Page, expect

# How many pixels of a canvas have a color, white being none, and a checksum of all.
_PAINTED = """canvas => {
  if (!canvas.width || !canvas.height) return [0, 0];
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let visible = 0, sum = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] && Math.min(data[i], data[i + 1], data[i + 2]) < 255) visible++;
    sum = (31 * sum + data[i] + 7 * data[i + 1] + 17 * data[i + 2] + 37 * data[i + 3]) % 1000000007;
  }
  return [visible, sum];
}"""

_MOST_OPAQUE = """canvas => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let most = 0;
  for (let i = 3; i < data.length; i += 4) most = Math.max(most, data[i]);
  return most;
}"""


class Explorer:
    """One HDM explorer on a page, by the names that its user meets."""

    def __init__(self, page: Page, nth: int = 0) -> None:
        self.page = page
        self.root = page.get_by_role("region", name="Hausdorff distance explorer").nth(nth)
        self.stage = self.root.get_by_role("application")
        self.map = self.stage.get_by_role("img", name="Distances")
        # Without an accessible name: a line in the footer says what it means.
        self.hatching = self.stage.locator("div.hdm-hatching")
        # By its attribute: an <output> element has this role too.
        self.status = self.root.locator("[role=status]")
        self.progress = self.root.get_by_role("progressbar", name="Scan")
        self.alert = self.root.get_by_role("alert")
        self.figures = self.root.get_by_role("figure")

    def pinned(self, cell: tuple[int, int]) -> Locator:
        """Where the inspector says which cell it shows."""
        return self.root.get_by_role("paragraph").filter(has_text=f"row {cell[0]}, column {cell[1]}")

    def slider(self, name: str) -> Locator:
        return self.root.get_by_role("slider", name=name, exact=True)

    def radio(self, name: str) -> Locator:
        return self.root.get_by_role("radio", name=name, exact=True)

    def choose(self, name: str) -> None:
        """Choose one of a few by a click on its label: the radio button itself may be invisible."""
        self.radio(name).locator("xpath=ancestor::label[1]").click()

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def complete(self) -> None:
        """Await the end of the scan and its map on the stage."""
        expect(self.status).to_contain_text("Complete", timeout=TIMEOUT_MS)
        self.await_repaint([0, 0])

    def painted(self) -> list[int]:
        """How many pixels of the circle map have a color, and a checksum of all."""
        return at_rest(self.map, _PAINTED)

    def await_opacity(self, opacity: float) -> None:
        """Await a circle map whose colors have this opacity where they are full, over an image lightened by 0.7."""
        self.page.wait_for_function(
            f"([canvas, alpha]) => ({_MOST_OPAQUE})(canvas) === alpha",
            arg=[self.map.element_handle(), round(255 * (1 - (1 - opacity) * 0.3))],
            polling=POLLING_MS,
            timeout=TIMEOUT_MS,
        )

    def await_repaint(self, before: list[int]) -> list[int]:
        """Await a circle map that differs from the one before."""
        self.page.wait_for_function(
            f"([canvas, before]) => String(({_PAINTED})(canvas)) !== String(before)",
            arg=[self.map.element_handle(), before],
            polling=POLLING_MS,
            timeout=TIMEOUT_MS,
        )
        return self.painted()

    def await_painted(self, expected: list[int]) -> None:
        """Await this very circle map."""
        self.page.wait_for_function(
            f"([canvas, expected]) => String(({_PAINTED})(canvas)) === String(expected)",
            arg=[self.map.element_handle(), expected],
            polling=POLLING_MS,
            timeout=TIMEOUT_MS,
        )

    def place(self, cell: tuple[int, int], circle_size: int, offset: int, side: int) -> dict[str, float]:
        """Where on the stage the disc of a cell has its center, for a square image."""
        return self.places([cell], circle_size, offset, side)[0]

    def places(
        self, cells: Iterable[tuple[int, int]], circle_size: int, offset: int, side: int
    ) -> list[dict[str, float]]:
        """The same of several cells, from one look at the stage."""
        box = box_of(self.stage)
        radius = (circle_size + 1) / 2
        return [
            {"x": (col * offset + radius) / side * box["width"], "y": (row * offset + radius) / side * box["height"]}
            for row, col in cells
        ]

    def tones(self, place: dict[str, float], side: int = 16) -> int:
        """How many colors a small square of the stage has, without what follows the pointer."""
        self.page.mouse.move(0, 0)
        expect(self.stage.locator(".hdm-tip")).to_have_count(0)
        image = Image.open(io.BytesIO(screenshot_of(self.stage))).convert("RGB")
        left, top = round(place["x"] - side / 2), round(place["y"] - side / 2)
        colors = image.crop((left, top, left + side, top + side)).getcolors()
        assert colors is not None
        return len(colors)

    def drag(self, name: str, to: float) -> int:
        """Drag a slider's thumb to a fraction of its track; the value it has then."""
        slider = self.slider(name)
        slider.scroll_into_view_if_needed()
        box = box_of(slider)
        low, high, value = (float(slider.evaluate(f"node => node.{part}")) for part in ("min", "max", "value"))
        thumb = 16
        travel = box["width"] - thumb
        y = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + thumb / 2 + travel * (value - low) / (high - low), y)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + thumb / 2 + travel * to, y, steps=6)
        self.page.mouse.up()
        return int(slider.input_value())
