"""Occluded images that are kept as patches, because every disc shows something else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._bitmasks import bounding_box
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.occlusion import Changes, Channel, channels_of, disc_mask

__all__ = ["ImagePatch", "OverriddenOcclusion", "changes_of", "disc_boxes"]

# Bound on what is kept of the occluded images that a user's `apply_mask` made.
_APPLIED_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class OverriddenOcclusion:
    """The occlusion of a subclass with its own `apply_mask`, called as the published code calls it.

    A scan calls `apply_mask` once for each cell and keeps what it changed, because a random one gives another image
    the next time.
    """

    grid: Grid
    image: Tensor
    channel: Channel
    normalize: bool
    apply_mask: Callable[[Tensor, Tensor], Tensor]
    _applied: _AppliedMasks = field(default_factory=lambda: _AppliedMasks(_APPLIED_BYTES), repr=False)

    repeatable = False

    @property
    def unchanged(self) -> Tensor:
        """The image (C, H, W) itself."""
        return self.image

    def occluded(self, row: int, col: int) -> Tensor:
        """The image (C, H, W) with the disc of one cell, as the scan made it.

        Raises
        ------
        ValueError
            If the image was not kept, for want of memory, and `apply_mask` gives another one now.
        """
        return self._applied.image(self.image, (row, col), lambda: self._apply(row, col))

    def boxes(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Boxes (n, 4) of the discs of cells (n, 2); no mask is applied for it."""
        return disc_boxes(self.grid, cells)

    def changes(self, cells: NDArray[np.intp]) -> Changes:
        """What the discs of cells (n, 2) change; every mask is applied once."""
        patches = []
        for row, col in cells.tolist():
            patches.append(ImagePatch.between(self.image, self._apply(row, col)))
            self._applied.keep((row, col), patches[-1])
        return changes_of(self.image, patches)

    def _apply(self, row: int, col: int) -> Tensor:
        """Call `apply_mask` for one cell."""
        mask = disc_mask(self.grid, row, col, normalize=self.normalize).to(self.image.device)
        # One channel alone has no channel axis, as in the published code.
        part = self.channel if isinstance(self.channel, int) and self.channel >= 0 else channels_of(self.channel)
        target = self.image[part]
        covered = self.apply_mask(target.clone(), mask)
        if not isinstance(covered, Tensor) or covered.shape != target.shape:
            came = tuple(covered.shape) if isinstance(covered, Tensor) else type(covered).__name__
            raise ValueError(f"apply_mask must return a tensor of the image's shape {tuple(target.shape)}, got {came}")
        if self.channel == -1:
            return covered.to(self.image.dtype)
        image = self.image.clone()
        image[part] = covered
        return image


@dataclass(frozen=True, eq=False)
class ImagePatch:
    """The box (row0, col0, row1, col1) in which an image differs from another one, and what it shows there."""

    box: tuple[int, int, int, int]
    content: Tensor
    key: bytes

    @classmethod
    def between(cls, image: Tensor, changed: Tensor, corner: tuple[int, int] = (0, 0)) -> ImagePatch:
        """What differs in a part (C, h, w) of an image that begins at `corner`."""
        box = bounding_box((changed != image).any(0).cpu().numpy())
        if box is None:
            return cls((0, 0, 0, 0), changed[:, :0, :0], b"")
        row0, col0, row1, col1 = box
        content = changed[:, row0:row1, col0:col1].clone()
        digest = hashlib.sha256(content.cpu().numpy().tobytes()).digest()
        row, col = corner
        box = row + row0, col + col0, row + row1, col + col1
        return cls(box, content, np.array(box, np.intp).tobytes() + digest)

    def over(self, image: Tensor, part: list[int]) -> Tensor:
        """The box `part` of the changed image."""
        row0, col0, row1, col1 = part
        top, left = max(row0, self.box[0]), max(col0, self.box[1])
        bottom, right = min(row1, self.box[2]), min(col1, self.box[3])
        shown = image[:, row0:row1, col0:col1].clone()
        if top < bottom and left < right:
            rows, cols = slice(top - self.box[0], bottom - self.box[0]), slice(left - self.box[1], right - self.box[1])
            shown[:, top - row0 : bottom - row0, left - col0 : right - col0] = self.content[:, rows, cols]
        return shown


class _AppliedMasks:
    """What `apply_mask` made of each cell: its patch, or the patch's key where memory ends."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._patches: dict[tuple[int, int], ImagePatch] = {}
        self._keys: dict[tuple[int, int], bytes] = {}

    def keep(self, cell: tuple[int, int], patch: ImagePatch) -> None:
        before = self._patches.pop(cell, None)
        if before is not None:
            self._bytes -= _bytes(before)
        self._keys[cell] = patch.key
        if self._bytes + _bytes(patch) <= self._limit:
            self._bytes += _bytes(patch)
            self._patches[cell] = patch

    def image(self, image: Tensor, cell: tuple[int, int], apply: Callable[[], Tensor]) -> Tensor:
        patch = self._patches.get(cell)
        if patch is not None:
            return patch.over(image, [0, 0, *image.shape[-2:]])
        applied = apply()
        if cell in self._keys and ImagePatch.between(image, applied).key != self._keys[cell]:
            raise ValueError(
                f"apply_mask gives another image now than for the scan of cell {cell}, and that one was not kept: all "
                f"of them together need more than {self._limit >> 20} MB. Make apply_mask repeatable to see it"
            )
        return applied


def _bytes(patch: ImagePatch) -> int:
    return patch.content.numel() * patch.content.element_size()


def changes_of(image: Tensor, patches: list[ImagePatch]) -> Changes:
    """The changes that patches of an image (C, H, W) are, one for each cell."""

    def content(items: NDArray[np.intp], parts: NDArray[np.intp]) -> Tensor:
        return torch.stack(
            [patches[item].over(image, part) for item, part in zip(items.tolist(), parts.tolist(), strict=True)]
        )

    boxes = np.array([patch.box for patch in patches], np.intp).reshape(-1, 4)
    height, width = image.shape[-2:]
    return Changes(boxes, [patch.key for patch in patches], content, (height, width))


def disc_boxes(grid: Grid, cells: NDArray[np.intp]) -> NDArray[np.intp]:
    """Boxes (n, 4) of the discs of cells (n, 2)."""
    windows = [grid.window(row, col)[:2] for row, col in cells.tolist()]
    return np.array([(rows.start, cols.start, rows.stop, cols.stop) for rows, cols in windows], np.intp)
