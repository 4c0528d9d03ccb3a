"""What a widget looks like: its colors, its layout, the accessible names of its controls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from at_rest import at_rest
from jupyter_hosts import TIMEOUT_MS
from playwright.sync_api import ElementHandle, Locator, Page

# Visible parts of a widget that are wider than their container or reach out of it. What scrolls sideways may be wider.
_OVERFLOW = """root => {
  const found = [];
  const places = '.hdm, .hdm-latent-plot, .hdm-latent-side, .hdm-scroll';
  for (const frame of [root, ...root.querySelectorAll(places)]) {
    const scrolls = ['auto', 'scroll'].includes(getComputedStyle(frame).overflowX);
    if (!scrolls && frame.scrollWidth > frame.clientWidth) {
      found.push(`${frame.className || 'frame'}: ${frame.scrollWidth} > ${frame.clientWidth} px`);
    }
  }
  const parts = 'input, button, select, label, output, p, dl, figure, img, canvas, h3, table, svg';
  for (const part of root.querySelectorAll(parts)) {
    const { left, right, width, height } = part.getBoundingClientRect();
    const visible = width > 1 && height > 1 && getComputedStyle(part).visibility === 'visible';
    if (!visible || part.parentElement.closest('.hdm-scroll')) continue;
    const frame = (part.parentElement.closest(places) ?? root).getBoundingClientRect();
    if (left < frame.left - 1 || right > frame.right + 1) {
      found.push(`${part.tagName} "${part.textContent.slice(0, 30)}": ${left} to ${right} px`);
    }
  }
  return found;
}"""
# Texts that are cut off by their container, or that overlap another text. A text may end in an ellipsis, a container
# may scroll, and labels may cover the image or the map below them.
_TEXTS = """root => {
  const found = [], texts = [];
  const range = document.createRange();
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    const part = text.parentElement;
    if (!text.data.trim() || part.closest('option, style') || !part.checkVisibility({ visibilityProperty: true })) {
      continue;
    }
    range.selectNodeContents(text);
    for (const { left, top, right, bottom } of range.getClientRects()) {
      const seen = { left, top, right, bottom };
      let mayReachOut = false;
      for (let frame = part; frame; frame = frame === root ? null : frame.parentElement) {
        const { overflowX, overflowY, textOverflow } = getComputedStyle(frame);
        if (overflowX === 'visible' || frame instanceof SVGElement) continue;
        const box = frame.getBoundingClientRect();
        // What is one pixel wide is for screen readers.
        mayReachOut ||= textOverflow === 'ellipsis' || /auto|scroll/.test(overflowX + overflowY) || box.width <= 1;
        const middle = (top + bottom) / 2;
        const cut = left < box.left - 1 || right > box.right + 1 || middle < box.top || middle > box.bottom;
        if (cut && !mayReachOut) {
          found.push(`"${text.data.trim()}" is cut off at ${left}, ${top} by ${frame.className || frame.tagName}`);
          mayReachOut = true;
        }
        seen.left = Math.max(seen.left, box.left);
        seen.top = Math.max(seen.top, box.top);
        seen.right = Math.min(seen.right, box.right);
        seen.bottom = Math.min(seen.bottom, box.bottom);
      }
      const label = part.closest('.hdm-tip, .hdm-point-tip, .hdm-map-names');
      if (seen.right - seen.left > 1 && seen.bottom - seen.top > 1) texts.push({ part, text, label, ...seen });
    }
  }
  texts.forEach((one, i) => {
    for (const other of texts.slice(i + 1)) {
      if (one.text === other.text || one.label !== other.label) continue;
      const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      if (wide > 1 && high > 2) found.push(`"${one.text.data.trim()}" and "${other.text.data.trim()}" overlap`);
    }
  });
  return found;
}"""
_WIDEN = """factor => {
  const line = document.createElement('span');
  line.textContent = 'Mean IoU of a selection: 0.57, 128 px';
  line.style.cssText = 'position: absolute; white-space: pre; font: 100px var(--jp-ui-font-family, sans-serif)';
  document.body.append(line);
  const width = line.getBoundingClientRect().width;
  const wider = document.createElement('style');
  wider.textContent = `* { letter-spacing: ${(factor - 1) * width / 100 / line.textContent.length}em !important; }`;
  document.head.append(wider);
  const reached = line.getBoundingClientRect().width / width;
  line.remove();
  if (Math.abs(reached - factor) > 0.01) throw new Error(`letters are ${reached} times as wide, not ${factor}`);
  return wider;
}"""
# Whether the notebook reaches to the window's right edge, less a side bar, and the widget lies within it. JupyterLab
# gives its panels their widths some time after the window has changed its own.
_AS_WIDE = """([root, width]) => {
  const { right } = (root.closest('.jp-NotebookPanel') ?? document.documentElement).getBoundingClientRect();
  const followed = innerWidth === width && right <= width && right > width - 60;
  return followed && root.getBoundingClientRect().right <= right && root.clientWidth > width / 2;
}"""
# What letters, and how wide a window.
Letters = Callable[[Page, Iterable[int]], Iterator[tuple[str, int]]]
_CONTROLS = {"button", "slider", "radio", "combobox", "application", "progressbar", "img", "region", "image", "textbox"}


def rgb(node: Locator, name: str) -> list[int]:
    """Red, green, blue of a computed color that is not nearly transparent."""
    text = at_rest(node, f"node => getComputedStyle(node).{name}")
    found = re.fullmatch(r"(rgba?\(|color\(srgb )([^)]+)\)", text)
    assert found, text
    *parts, alpha = [*map(float, re.findall(r"[\d.]+", found[2])), 1.0][:4]
    assert alpha > 0.5
    # A mixed color comes in fractions of 1.
    return [round(part * (255 if found[1].startswith("color") else 1)) for part in parts]


def widen_letters(page: Page, factor: float) -> ElementHandle:
    """Make every text of a page this many times as wide and nothing else, as another font would; the style to remove.

    What is added between two letters is as much for each: a text of narrow letters gets somewhat more.
    """
    style = page.evaluate_handle(_WIDEN, factor).as_element()
    assert style is not None
    return style


def await_width(root: Locator, width: int) -> None:
    """Give the window this width, and wait until the notebook and the widget have followed."""
    page = root.page
    page.set_viewport_size({"width": width, "height": 1500})
    page.wait_for_function(
        _AS_WIDE,
        arg=[root.element_handle(), width],
        timeout=TIMEOUT_MS,
    )


def misplaced(root: Locator) -> list[str]:
    """What reaches out of its container, is cut off or overlaps something else, once all is at rest."""
    return at_rest(root, f"root => [...({_OVERFLOW})(root), ...({_TEXTS})(root)]")


def unnamed(root: Locator, expected: set[str]) -> list[str]:
    """Roles of the controls and images for which the browser finds no accessible name.

    `expected` are roles that there must be, so that the question was not put to an empty place.
    """
    session = root.page.context.new_cdp_session(root.page)
    document = session.send("DOM.getDocument")["root"]["nodeId"]
    root.evaluate("node => node.setAttribute('data-tested', '')")
    asked = session.send("DOM.querySelector", {"nodeId": document, "selector": "[data-tested]"})
    root.evaluate("node => node.removeAttribute('data-tested')")
    nodes = session.send("Accessibility.queryAXTree", {"nodeId": asked["nodeId"]})["nodes"]
    session.detach()
    found = [node for node in nodes if not node["ignored"] and node["role"]["value"] in _CONTROLS]
    roles = {node["role"]["value"] for node in found}
    assert expected <= roles, f"no {expected - roles}"
    return [node["role"]["value"] for node in found if not node.get("name", {}).get("value")]
