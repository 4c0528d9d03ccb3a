"""Geometry and pixels of a page, read when they are at rest: the same in two frames after each other."""

from __future__ import annotations

from typing import Any

from jupyter_hosts import TIMEOUT_MS
from playwright.sync_api import Locator

Box = dict[str, float]

_AT_REST = """async (target, [arg, milliseconds]) => {
  const read = %s;
  const frame = () => new Promise(requestAnimationFrame);
  const end = performance.now() + milliseconds;
  let before, now;
  // What has just arrived is drawn in this frame or after it.
  await frame();
  do {
    if (performance.now() > end) throw new Error(`nothing comes to rest: ${before}, then ${now}`);
    before = now;
    await frame();
    now = JSON.stringify(await read(target, arg));
  } while (now !== before);
  return JSON.parse(now);
}"""
_BOX = """node => {
  const { x, y, width, height } = node.getBoundingClientRect();
  return { x, y, width, height };
}"""


def at_rest(locator: Locator, read: str, arg: Any = None) -> Any:
    """What a function of JavaScript reads of an element, once two frames give the same."""
    return locator.evaluate(_AT_REST % read, [arg, TIMEOUT_MS])


def all_at_rest(locator: Locator, read: str, arg: Any = None) -> Any:
    """What a function of JavaScript reads of all elements of a locator, once two frames give the same."""
    return locator.evaluate_all(_AT_REST % read, [arg, TIMEOUT_MS])


def box_of(locator: Locator) -> Box:
    """Where an element is on the page, and its size."""
    return at_rest(locator, _BOX)


def boxes_of(locator: Locator) -> list[Box]:
    """Where all elements of a locator are on the page, and their sizes."""
    return all_at_rest(locator, f"nodes => nodes.map({_BOX})")


def screenshot_of(locator: Locator) -> bytes:
    """A screenshot of an element, once two in succession are the same."""
    box_of(locator)
    before, now = b"", locator.screenshot(animations="disabled")
    while now != before:
        before, now = now, locator.screenshot(animations="disabled")
    return now
