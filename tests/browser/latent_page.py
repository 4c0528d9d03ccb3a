"""The latent explorer as the browser tests see it: its parts by name, and what a hand does on its map."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from at_rest import all_at_rest, at_rest
from jupyter_hosts import TIMEOUT_MS
from playwright.sync_api import Locator, Page, expect

Place = tuple[float, float]

# A image's pixel as the browser has decoded it.
_PIXEL = """async (image, [x, y]) => {
  if (image.decode) await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth ?? image.width;
  canvas.height = image.naturalHeight ?? image.height;
  const brush = canvas.getContext('2d');
  brush.drawImage(image, 0, 0);
  return [...brush.getImageData(x, y, 1, 1).data];
}"""
# How many pixels of a canvas have which color, by "red,green,blue,alpha".
_TALLY = """canvas => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const tally = {};
  for (let i = 0; i < data.length; i += 4) {
    const color = data.slice(i, i + 4).join();
    tally[color] = (tally[color] ?? 0) + 1;
  }
  return tally;
}"""
# Whether the map reaches from its left axis to its right margin.
_FILLED = """figure => {
  const { right } = figure.querySelector('.plotarea_background').getBoundingClientRect();
  return Math.abs(figure.getBoundingClientRect().right - right - 14) < 2;
}"""
# What is written at the ticks of every axis, and where on the page they are along it.
_TICKS = """axes => axes.map(axis => {
  const { left, top } = axis.closest('svg').querySelector('.plotarea_background').getBoundingClientRect();
  const lying = axis.getAttribute('text-anchor') === 'middle';
  return [...axis.querySelectorAll('.tick')].map(tick => {
    const { e, f } = tick.transform.baseVal.consolidate().matrix;
    return [Number(tick.textContent.replace('\\u2212', '-')), lying ? left + e : top + f];
  });
})"""
_CENTERS = """marks => marks.map(mark => {
  const { left, top, width, height } = mark.querySelector('path').getBoundingClientRect();
  return [left + width / 2, top + height / 2];
})"""
_ITEMS = "cards => cards.map(card => Number(/^Item (\\d+)/.exec(card.getAttribute('aria-label'))[1]))"


class LatentPage:
    """One latent explorer on a page.

    Parameters
    ----------
    page : Page
    nth : int
        Which one, of several.
    """

    def __init__(self, page: Page, nth: int = 0) -> None:
        self.page = page
        self.root = page.locator(".hdm-latent").nth(nth)
        self.toolbar = self.root.get_by_role("region", name=re.compile("^Map of "))
        self.legend = self.root.get_by_role("region", name="Legend")
        self.notice = self.legend.locator(".hdm-notice")
        self.tooltip = self.root.locator(".hdm-point-tip")
        self.explanation = self.root.get_by_role("region", name="Hausdorff distance explorer")

        # The map, which bqplot draws.
        self.frame = self.root.locator(".hdm-latent-plot")
        self.figure = self.root.locator(".bqplot")
        self.plot = self.figure.locator(".plotarea_background")
        self.axes = self.figure.locator(".axis")
        self.surface = self.figure.locator("image")
        # Points are filled; the ring around one is not.
        self.points = self.figure.locator(".object_grp:has(path.element[style*='fill: rgb'])")
        self.ring = self.figure.locator(".object_grp:has(path.element[style*='fill: none'])")
        self.outlines = self.figure.locator(".curve path.line")
        self.names = self.root.locator(".hdm-map-name")

        self.gallery = self.root.get_by_role("region", name="Selections and their images")
        self.selections = self.gallery.get_by_role("list", name="Selections").get_by_role("listitem")
        self.begin = self.gallery.get_by_title("The next lasso starts a new selection (N)")
        self.shown = self.gallery.locator(".hdm-gallery-head").get_by_role("status")
        self.grid = self.gallery.get_by_role("region", name="Images of the selection")
        self.cards = self.grid.locator(".hdm-card")
        self.rings = self.grid.get_by_role("button", name=re.compile("^Item "))

        self.clusters = self.root.get_by_role("region", name="Clusters")
        self.rows = self.clusters.locator("tbody").get_by_role("row")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def radio(self, name: str) -> Locator:
        return self.root.get_by_role("radio", name=name, exact=True)

    def choose(self, name: str) -> None:
        """Choose one of a few by a click on its label: the radio button itself is invisible."""
        self.radio(name).locator("xpath=ancestor::label[1]").click()

    def drop_down(self, name: str) -> Locator:
        return self.root.get_by_role("combobox", name=name, exact=True)

    def await_points(self, count: int) -> None:
        """Wait for the map with all its points."""
        expect(self.points).to_have_count(count, timeout=2 * TIMEOUT_MS)
        self.await_room()

    def await_room(self) -> None:
        """Wait until the map fills its frame: bqplot redraws it some time after the frame has changed its size."""
        self.page.wait_for_function(_FILLED, arg=self.figure.element_handle(), timeout=TIMEOUT_MS)

    # -- the map --------------------------------------------------------------------------------

    def on_page(self, *places: Place) -> list[Place]:
        """Where on the page places of the map are, by what is written on its axes."""
        across, down = all_at_rest(self.axes, _TICKS)
        return [(_along(across, x), _along(down, y)) for x, y in places]

    def centers(self, marks: Locator) -> list[list[float]]:
        """Where on the page points or rings have their centers."""
        return all_at_rest(marks, _CENTERS)

    def fills(self) -> list[list[int]]:
        """Red, green and blue of every point."""
        texts = all_at_rest(self.points, "marks => marks.map(mark => mark.querySelector('path').style.fill)")
        return [[int(part) for part in re.findall(r"\d+", text)] for text in texts]

    def opacities(self) -> list[float]:
        """Of every point."""
        return all_at_rest(self.points, "marks => marks.map(mark => Number(mark.querySelector('path').style.opacity))")

    def lasso(self, corners: Iterable[Place], modifier: str | None = None) -> None:
        """Draw a lasso around places of the map, with the mouse."""
        self.figure.scroll_into_view_if_needed()
        self.draw(self.on_page(*corners), modifier)

    def draw(self, corners: list[Place], modifier: str | None = None) -> None:
        """Draw a lasso around places of the page."""
        # The previous lasso disappears when Python has handled it.
        expect(self.figure.locator(".lassoselector")).to_have_count(1)
        expect(self.figure.locator(".lassoselector path")).to_have_count(0)
        (x, y), *others = corners
        mouse = self.page.mouse
        with self._holding(modifier):
            mouse.move(x, y)
            mouse.down()
            # bqplot's line begins where the pointer is after its first move, which is small in a real gesture.
            mouse.move(x + 1, y)
            for corner in others:
                mouse.move(*corner, steps=3)
            mouse.up()

    def click(self, place: Place) -> None:
        """Click a place of the map."""
        self.figure.scroll_into_view_if_needed()
        expect(self.figure.locator(".lassoselector path")).to_have_count(0)
        self.page.mouse.click(*self.on_page(place)[0])

    def hover(self, place: Place) -> None:
        """Move the pointer to a place of the map."""
        self.figure.scroll_into_view_if_needed()
        ((x, y),) = self.on_page(place)
        self.page.mouse.move(x + 3, y + 3)
        self.page.mouse.move(x, y)

    @contextmanager
    def _holding(self, key: str | None) -> Iterator[None]:
        if key is not None:
            self.page.keyboard.down(key)
        try:
            yield
        finally:
            if key is not None:
                self.page.keyboard.up(key)

    # -- selections and their images ----------------------------------------------------------

    def selection(self, name: str) -> Locator:
        """The button of a selection in the list."""
        own = self.page.locator("b").get_by_text(name, exact=True)
        return self.selections.locator(".hdm-selection").filter(has=own)

    def more(self, name: str, entry: str) -> None:
        """Choose an entry of a selection's menu."""
        self.selections.get_by_label(f"More for {name}", exact=True).click()
        self.selections.get_by_role("button", name=entry, exact=True).click()

    def card(self, item: int) -> Locator:
        """The card of an item."""
        return self.cards.filter(has=self.page.get_by_role("button", name=re.compile(rf"^Item {item}\b")))

    def card_items(self) -> list[int]:
        """The items whose cards are in the page, in order."""
        return all_at_rest(self.rings, _ITEMS)

    def pixel(self, image: Locator, x: int, y: int) -> list[int]:
        """Red, green, blue, alpha of a pixel of a image or canvas in its own size."""
        return at_rest(image, _PIXEL, [x, y])

    def tally(self, canvas: Locator) -> dict[str, int]:
        """How many pixels of a canvas have which of the theme's colors, by their names; others by their numbers."""
        named = {}
        for name in ("hit", "missed", "added", "mask"):
            text = canvas.evaluate("(node, name) => getComputedStyle(node).getPropertyValue(name)", f"--{name}")
            named[tuple(bytes.fromhex(text.strip().removeprefix("#")))] = name
        found: dict[str, int] = {}
        for color, count in at_rest(canvas, _TALLY).items():
            *parts, alpha = map(int, color.split(","))
            name = "nothing" if alpha == 0 else _nearest(parts, named) or color
            found[name] = found.get(name, 0) + count
        return found

    def cluster(self, label: int) -> Locator:
        """The row of a cluster."""
        return self.rows.filter(has=self.page.locator("td:first-child b").get_by_text(str(label), exact=True))

    def column(self, number: int) -> list[Any]:
        """The texts of a column of the table of clusters."""
        return [text.strip() for text in self.rows.locator(f"td:nth-child({number})").all_inner_texts()]


def _along(ticks: list[list[float]], value: float) -> float:
    """Where on the page a value of an axis is."""
    (low, start), (high, end) = ticks[0], ticks[-1]
    return start + (end - start) * (value - low) / (high - low)


def _nearest(color: list[int], named: dict[tuple[int, ...], str]) -> str | None:
    """The name of a color, but for the rounding of colors that are partly transparent."""
    near = [name for other, name in named.items() if max(abs(a - b) for a, b in zip(color, other, strict=True)) <= 2]
    return near[0] if near else None
