"""A large image and its masks at halved sizes, so that a screen is sent no more than it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._picture import View
from hdm_widgets._validation import is_whole
from hdm_widgets._wire import bits, png

__all__ = ["LARGEST", "TILE", "Pyramid", "halvings", "screen_bits", "shrink"]

# An image with a longer side than this is shown as tiles of a pyramid; its whole, and its masks, at a halved size.
LARGEST = 1500
# The side of a tile in pixels.
TILE = 256
# So many rows are drawn at a time: as floats, an image takes eight times the memory.
_STRIP = 512


def halvings(height: int, width: int, largest: int = LARGEST) -> int:
    """How often an image is halved until its longer side has at most `largest` pixels."""
    count, longest = 0, max(height, width)
    while longest > largest:
        count, longest = count + 1, -(-longest // 2)
    return count


def shrink(mask: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """A mask (H, W) after so many halvings: a pixel is set where any of the pixels is that it stands for.

    Examples
    --------
    >>> import numpy as np
    >>> shrink(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], bool), 1)
    array([[ True, False],
           [False, False]])
    """
    for _ in range(count):
        rows = mask[::2].copy()
        rows[: mask.shape[0] // 2] |= mask[1::2]
        mask = rows[:, ::2].copy()
        mask[:, : rows.shape[1] // 2] |= rows[:, 1::2]
    return mask


def screen_bits(mask: NDArray[np.bool_]) -> bytes:
    """A mask as the screen of the HDM explorer has it: in the size of the first image that is sent."""
    return bits(shrink(mask, halvings(*mask.shape)))


def _halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image (H, W, 3) at half its size: the mean of 2 x 2 pixels, of those that there are at the border."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    summed = image[::2, ::2].astype(np.uint16)
    for row, col in ((0, 1), (1, 0), (1, 1)):
        summed += image[row::2, col::2]
    # Rounded, with halves up.
    halved: NDArray[np.uint8] = ((summed + 2) // 4).astype(np.uint8)
    return halved


class Pyramid:
    """An image as it is shown, and its halvings.

    Parameters
    ----------
    image : numpy.ndarray, float (C, H, W)
    view : View
        From which value to which it is shown.

    Attributes
    ----------
    levels : list of numpy.ndarray, uint8 (h, w, 3)
        The image in its own size, and halved again and again until its longer side has at most `LARGEST` pixels.
    """

    def __init__(self, image: NDArray[Any], view: View) -> None:
        height, width = image.shape[1:]
        strips = (image[:, row : row + _STRIP] for row in range(0, height, _STRIP))
        self.levels = [np.concatenate([view.to_rgb(strip) for strip in strips])]
        for _ in range(halvings(height, width)):
            self.levels.append(_halved(self.levels[-1]))

    @property
    def coarsest(self) -> NDArray[np.uint8]:
        """The whole image in its smallest size."""
        return self.levels[-1]

    def tile(self, asked: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """Answer the request `{"level", "row", "col"}` for a tile: its PNG is the reply's only buffer.

        Raises
        ------
        ValueError
            If there is no such tile.
        """
        place = [asked.get(name) for name in ("level", "row", "col")]
        level, row, col = (int(number) if is_whole(number) else -1 for number in place)
        if 0 <= level < len(self.levels):
            height, width = self.levels[level].shape[:2]
            if 0 <= row * TILE < height and 0 <= col * TILE < width:
                part = self.levels[level][row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE]
                return {}, [png(np.ascontiguousarray(part))]
        raise ValueError(f"the image has no tile {place} (level, row, col)")
