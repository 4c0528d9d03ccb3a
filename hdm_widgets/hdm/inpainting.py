"""Fill discs from their surroundings."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.occlusion import Changes, Channel, channels_of
from hdm_widgets.hdm.patched_occlusion import ImagePatch, changes_of, disc_boxes

__all__ = ["InpaintedOcclusion", "Inpainting"]

# How far the biharmonic operator looks.
_MARGIN = 2
# Entries of all factorizations that are kept, 12 bytes each.
_MOST_ENTRIES = 1 << 22


class Inpainting:
    """Biharmonic inpainting of the same pixels in many images.

    Parameters
    ----------
    unknown : numpy.ndarray, bool (H, W)
        Pixels to fill; all others are known.

    Notes
    -----
    The filled image has the least sum of squared second differences (of its discrete Laplacian, reflected at the
    borders), which is what `skimage.restoration.inpaint_biharmonic` solves too. That is linear: the equations are
    factorized once for all discs of one shape. Values are then cut off at the least and the largest known value that
    the solution depends on, so that it has no extremes of its own.

    References
    ----------
    S. B. Damelin, N. S. Hoang: On Surface Completion and Image Inpainting by Biharmonic Functions: Numerical Aspects.
    International Journal of Mathematics and Mathematical Sciences, 2018.
    """

    def __init__(self, unknown: NDArray[np.bool_]) -> None:
        height, width = unknown.shape
        laplacian = sparse.kron(_second_difference(height), sparse.eye(width)) + sparse.kron(
            sparse.eye(height), _second_difference(width)
        )
        inside = np.flatnonzero(unknown)
        equations = (laplacian @ laplacian).tocsr()[inside]
        used = np.unique(equations.indices)
        self._unknown = unknown
        self._surroundings = used[~unknown.ravel()[used]]
        self._known = equations[:, self._surroundings]
        self._factors = splu(equations[:, inside].tocsc()) if len(self._surroundings) and len(inside) else None

    @property
    def entries(self) -> int:
        """Numbers in the factorization."""
        return 0 if self._factors is None else int(self._factors.nnz)

    def filled(self, image: NDArray[np.floating]) -> NDArray[np.floating]:
        """An image (C, H, W) with its unknown pixels filled; a mean of each channel where none is known."""
        filled = image.copy()
        if self._factors is None:
            filled[:, self._unknown] = image.mean(axis=(1, 2), dtype=np.float64)[:, None]
            return filled
        known = image.reshape(len(image), -1)[:, self._surroundings].astype(np.float64)
        # One by one: several together would wait for the threads of the linear algebra library.
        solved = np.stack([self._factors.solve(-(self._known @ one)) for one in known])
        filled[:, self._unknown] = np.clip(solved, known.min(1, keepdims=True), known.max(1, keepdims=True))
        return filled


def _second_difference(length: int) -> sparse.spmatrix:
    """The matrix (n, n) of second differences along an axis that is reflected at both ends."""
    neighbors = np.ones(length - 1)
    degree = np.zeros(length)
    degree[:-1] += 1
    degree[1:] += 1
    return sparse.diags([neighbors, -degree, neighbors], [-1, 0, 1])


@dataclass(frozen=True, eq=False)
class InpaintedOcclusion:
    """The occlusion of `image` (C, H, W) in which every disc shows its surroundings, continued into it.

    Attributes
    ----------
    grid : Grid
    image : torch.Tensor (C, H, W)
        On the CPU.
    channel : int or tuple of int
        Channels that are filled; -1 for all.
    """

    repeatable = True

    grid: Grid
    image: Tensor
    channel: Channel
    # By the shape of what is unknown; discs at the border are cut off in many ways.
    _solvers: dict[tuple[tuple[int, ...], bytes], Inpainting] = field(default_factory=dict, repr=False)

    @property
    def unchanged(self) -> Tensor:
        """The image (C, H, W) itself."""
        return self.image

    def to(self, device: torch.device) -> InpaintedOcclusion:  # noqa: ARG002 - as of every occlusion
        """The same: discs are filled on the CPU, and a scan sends them to the device in batches."""
        return self

    def occluded(self, row: int, col: int) -> Tensor:
        """The image (C, H, W) with the disc of one cell."""
        image = self.image.clone()
        rows, cols, filled = self._filled(row, col)
        image[:, rows, cols] = filled
        return image

    def boxes(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Boxes (n, 4) of the discs of cells (n, 2); nothing is filled for it."""
        return disc_boxes(self.grid, cells)

    def changes(self, cells: NDArray[np.intp]) -> Changes:
        """What the discs of cells (n, 2) change."""
        patches = []
        for row, col in cells.tolist():
            rows, cols, filled = self._filled(row, col)
            patches.append(ImagePatch.between(self.image[:, rows, cols], filled, (rows.start, cols.start)))
        return changes_of(self.image, patches)

    def _filled(self, row: int, col: int) -> tuple[slice, slice, Tensor]:
        """Rows, columns and values (C, h, w) of the box around a cell's disc."""
        rows, cols, disc = self.grid.window(row, col)
        top, left = max(0, rows.start - _MARGIN), max(0, cols.start - _MARGIN)
        bottom, right = min(self.grid.height, rows.stop + _MARGIN), min(self.grid.width, cols.stop + _MARGIN)
        unknown = np.zeros((bottom - top, right - left), np.bool_)
        inside = slice(rows.start - top, rows.stop - top), slice(cols.start - left, cols.stop - left)
        unknown[inside] = disc
        values = self.image[:, top:bottom, left:right].clone()
        part = channels_of(self.channel)
        values[part] = torch.from_numpy(self._solver(unknown).filled(values[part].numpy()))
        return rows, cols, values[:, *inside]

    def _solver(self, unknown: NDArray[np.bool_]) -> Inpainting:
        key = unknown.shape, np.packbits(unknown).tobytes()
        solver = self._solvers.get(key)
        if solver is None:
            solver = Inpainting(unknown)
            if sum(one.entries for one in list(self._solvers.values())) + solver.entries > _MOST_ENTRIES:
                self._solvers.clear()
            self._solvers[key] = solver
        return solver
