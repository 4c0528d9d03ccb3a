"""The masks of a large image, of which the screen asks what it shows: parts in view, and single objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._masks import without
from hdm_widgets._validation import is_whole
from hdm_widgets._wire import bits
from hdm_widgets.hdm.objects import MaskObjects
from hdm_widgets.hdm.pyramid import shrink

__all__ = ["MOST_PIXELS", "OBJECT_SIDE", "LargeMasks"]

# No screen has more; a reply has one bit for each.
MOST_PIXELS = 2**24
# An object's outline has the image's own pixels up to this side of its box.
OBJECT_SIDE = 1024

Mask = NDArray[np.bool_]


class LargeMasks:
    """The masks on screen in the image's own size.

    Parameters
    ----------
    truth : numpy.ndarray, bool (H, W)
        Before a scan has run.
    """

    def __init__(self, truth: Mask) -> None:
        self._shown: dict[str, Mask] = {"truth": truth}
        self._objects: dict[str, MaskObjects] = {}
        # Masks that the screen has asked for may be others by now: it compares this number.
        self.version = 0

    def show(self, truth: Mask, prediction: Mask, ignored: Mask | None, one: Mask | None) -> None:
        """Take other masks; `one` is the object that is explained, if it is one."""
        counted = without(prediction, ignored)
        shown = {"truth": truth, "prediction": prediction, "counted": counted}
        if one is not None:
            shown["object"] = one
        same = {name for name, mask in shown.items() if name in self._shown and np.array_equal(mask, self._shown[name])}
        if same == shown.keys() == self._shown.keys():
            return
        self._objects = {
            of: found for of, found in self._objects.items() if ("counted" if of == "prediction" else of) in same
        }
        self._shown = shown
        self.version += 1

    def part(self, asked: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """Answer the request for masks in a part of the image, `{"names", "top", "left", "height", "width", "level"}`.

        Returns
        -------
        dict
            `{"names"}`: those that there are.
        list of bytes
            One bit for each 2 ** level x 2 ** level pixels of each: set where any of them is.

        Raises
        ------
        ValueError
            If there is no such part, or it has more pixels than a screen.
        """
        shown = self._shown
        height, width = shown["truth"].shape
        numbers = [asked.get(name) for name in ("top", "left", "height", "width", "level")]
        top, left, rows, cols, level = (int(number) if is_whole(number) else -1 for number in numbers)
        inside = 0 <= top < top + rows <= height and 0 <= left < left + cols <= width
        if not inside or not 0 <= level < 16 or rows * cols > MOST_PIXELS * 4**level:
            raise ValueError(f"the image has no part {numbers} (top, left, height, width, level) for a screen")
        names = [name for name in asked.get("names", ()) if name in shown]
        area = slice(top, top + rows), slice(left, left + cols)
        return {"names": names}, [bits(shrink(shown[name][area], level)) for name in names]

    def objects(self, asked: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """Answer the request for the objects at places, `{"of", "places": [[row, col, side], ...]}`.

        An object is at a place if it has one of the `side` x `side` pixels that begin there.

        Returns
        -------
        dict
            `{"objects"}`: None, or the pixel, the box, and the number of pixels of each object; a pixel of its mask
            stands for `step` x `step` of the image.
        list of bytes
            The masks of those that are not None.
        """
        of = "prediction" if asked.get("of") == "prediction" else "truth"
        found, masks = [], []
        for row, col, side in asked.get("places", ()):
            if not all(map(is_whole, (row, col, side))):
                raise ValueError(f"an object is asked for at a place (row, col, side), got {(row, col, side)}")
            message, mask = self._object(of, int(row), int(col), int(side)) or (None, None)
            found.append(message)
            if mask is not None:
                masks.append(bits(mask))
        return {"objects": found}, masks

    def _object(self, of: str, row: int, col: int, side: int) -> tuple[dict[str, Any], Mask] | None:
        mask = self._shown.get("counted" if of == "prediction" else of)
        if mask is None or row < 0 or col < 0:
            return None
        pixels = np.argwhere(mask[row : row + side, col : col + side])
        if not len(pixels):
            return None
        row, col = row + int(pixels[0][0]), col + int(pixels[0][1])
        if of not in self._objects:
            self._objects = {**self._objects, of: MaskObjects(mask)}
        (top, left, bottom, right), one = self._objects[of].at(row, col)
        level = 0
        while max(bottom - top, right - left) > OBJECT_SIDE << level:
            level += 1
        rows, cols = np.nonzero(one)
        return {
            "pixel": (row, col),
            "top": top,
            "left": left,
            "height": bottom - top,
            "width": right - left,
            "step": 1 << level,
            "pixels": len(rows),
            "y": top + float(rows.mean()) + 0.5,
            "x": left + float(cols.mean()) + 0.5,
        }, shrink(one, level)

    def forget(self) -> None:
        """Free all masks."""
        self._shown, self._objects = {"truth": np.zeros((0, 0), bool)}, {}
