"""What a widget looks like to someone who cannot read its code: colours, room, names."""

from __future__ import annotations

import contextlib
import re

from jupyter_hosts import TIMEOUT_MS
from playwright.sync_api import Locator
from playwright.sync_api import TimeoutError as PlaywrightTimeout

# Visible parts of the widget that are wider than their place, or that reach out of it. What scrolls sideways is in
# the place of what it scrolls in.
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
_CONTROLS = {"button", "slider", "radio", "combobox", "application", "progressbar", "img", "region", "image", "textbox"}


def rgb(node: Locator, name: str) -> list[int]:
    """Red, green, blue of a computed colour that is not nearly transparent."""
    text = node.evaluate(f"node => getComputedStyle(node).{name}")
    found = re.fullmatch(r"(rgba?\(|color\(srgb )([^)]+)\)", text)
    assert found, text
    *parts, alpha = [*map(float, re.findall(r"[\d.]+", found[2])), 1.0][:4]
    assert alpha > 0.5
    # A mixed colour comes in shares of 1.
    return [round(part * (255 if found[1].startswith("color") else 1)) for part in parts]


def await_fit(root: Locator, width: int) -> list[str]:
    """Await the layout of a window of this width; what then reaches out of the widget's frame."""
    page, frame = root.page, root.element_handle()
    page.wait_for_function(
        "([root, width]) => innerWidth === width && root.getBoundingClientRect().right <= width"
        " && root.clientWidth > width / 2",
        arg=[frame, width],
        timeout=TIMEOUT_MS,
    )
    with contextlib.suppress(PlaywrightTimeout):
        page.wait_for_function(f"root => ({_OVERFLOW})(root).length === 0", arg=frame, timeout=2000)
    return page.evaluate(_OVERFLOW, frame)


def unnamed(root: Locator, expected: set[str]) -> list[str]:
    """Roles of the controls and pictures for which the browser finds no accessible name.

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
