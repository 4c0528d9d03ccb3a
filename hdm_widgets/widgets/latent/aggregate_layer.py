"""Very many points on a figure: as an image of what is in view, or as points where few are in view."""

from __future__ import annotations

import bqplot
import ipywidgets
import numpy as np
from numpy.typing import NDArray

from hdm_widgets._wire import png
from hdm_widgets.latent.item_set import ItemSet
from hdm_widgets.latent.surface import Bounds
from hdm_widgets.widgets.latent.diamonds import draw_diamonds
from hdm_widgets.widgets.latent.palette import MISSING, Coloring
from hdm_widgets.widgets.latent.point_figure import DIM, Floats, point_size
from hdm_widgets.widgets.latent.raster import GridColors, PointGrid, Raster, add_edges, rasterize

__all__ = ["AggregateLayer", "close_picture", "hidden_picture"]

# With fewer items in view these are points.
_FEWEST_AGGREGATED = 5_000
# Pixels of an image of diamonds for one of the view, along either axis: half of the screen's.
_FINENESS = 2


class AggregateLayer:
    """Items of which those in view are drawn as an image, or as points if they are few.

    Parameters
    ----------
    positions : numpy.ndarray, float64 (n, 2)
        Of all items.
    points : bqplot.Scatter
        What draws the items as points.
    picture : bqplot.Image
        What draws them as an image; see `hidden_picture`.
    cell : int
        Pixels of a view along a side of what is drawn as one: 1, or diamonds of more.
    enlarged : float
        Factor of the area of points.

    Attributes
    ----------
    grid : PointGrid
    picture : bqplot.Image
        As above; it stays hidden until the items have colors.
    raster : Raster or None
        What the image shows; None where the items are points.
    rows : numpy.ndarray, int64
        The items that are drawn as points.
    in_view : int
        Number of items in view.
    """

    def __init__(
        self,
        positions: Floats,
        points: bqplot.Scatter,
        picture: bqplot.Image,
        cell: int = 1,
        enlarged: float = 1.0,
    ) -> None:
        self._positions = positions
        self._points = points
        self.grid = PointGrid(positions)
        self.picture = picture
        self._cell, self._enlarged = cell, enlarged
        self.raster: Raster | None = None
        self.rows: NDArray[np.int64] = np.empty(0, np.int64)
        self.in_view = 0
        self._coloring: Coloring | None = None  # nothing is drawn before there is one
        self._colors: GridColors | None = None
        # The items in any selection, if there are selections; and in the order of the grid.
        self._chosen: ItemSet | None = None
        self._ordered: NDArray[np.bool_] | None = None

    @property
    def density(self) -> dict[str, int]:
        """How many items are in view, and how many in the fullest pixel; 0 where they are drawn as points."""
        return {"in_view": self.in_view, "most": 0 if self.raster is None else self.raster.most}

    def color(self, coloring: Coloring) -> None:
        """Color the items; they are drawn so the next time."""
        self._coloring, self._colors = coloring, GridColors.from_coloring(self.grid, coloring)

    def choose(self, chosen: ItemSet | None) -> bool:
        """Dim all items but these, or none, the next time they are drawn; whether that is a change."""
        if chosen == self._chosen:
            return False
        self._chosen = chosen
        self._ordered = None if chosen is None else chosen.flags[self.grid.order]
        return True

    def draw(self, bounds: Bounds, shape: tuple[int, int], shown: bool = True) -> None:
        """Draw what is in view.

        Parameters
        ----------
        bounds : tuple of float
            (x0, x1, y0, y1) of the view.
        shape : tuple of int
            Rows and columns of an image of it.
        shown : bool
            Whether the image is to be seen.
        """
        if self._coloring is None or self._colors is None:
            return
        self.in_view = self.grid.count_within(bounds)
        if self.in_view < _FEWEST_AGGREGATED:
            self.raster = None
            self.picture.visible = False
            rows = np.sort(self.grid.order[self.grid.within(bounds)])
            self._draw_points(rows.astype(np.int64), self._coloring)
            return
        self._draw_points(np.empty(0, np.int64), self._coloring)
        cells = max(1, round(shape[0] / self._cell)), max(1, round(shape[1] / self._cell))
        self.raster = raster = rasterize(self.grid, bounds, cells, self._colors, self._ordered, DIM)
        if self._cell == 1:
            add_edges(raster)
        pixels = raster.rgba if self._cell == 1 else draw_diamonds(raster.rgba, _FINENESS * self._cell)
        before = self.picture.image
        with self.picture.hold_sync():
            # bqplot draws an image anew only if it is another widget.
            self.picture.image = _image(pixels)
            self.picture.x, self.picture.y = np.array(bounds).reshape(2, 2)
            self.picture.visible = shown
        for part in (before.layout, before):
            part.close()

    def items_in_pixels(self, shape: tuple[int, int]) -> NDArray[np.int32]:
        """One of the items in each pixel of a view of these rows and columns, -1 where there is none."""
        if self.raster is None:
            return np.full(shape, -1, np.int32)
        items = self.raster.items
        rows, cols = (np.arange(size) * have // size for size, have in zip(shape, items.shape, strict=True))
        found: NDArray[np.int32] = items[rows[:, None], cols]
        return found

    def _draw_points(self, rows: NDArray[np.int64], coloring: Coloring) -> None:
        if not len(rows) and not len(self.rows):
            return
        self.rows = rows
        chosen = np.ones(len(rows), bool) if self._chosen is None else self._chosen.flags[rows]
        table = coloring.table
        with self._points.hold_sync():
            self._points.x, self._points.y = self._positions[rows].T.copy()
            self._points.colors = [table[code] for code in coloring.codes[rows].tolist()] or [MISSING]
            self._points.opacities = np.where(chosen, 1.0, DIM)
            self._points.default_size = int(self._enlarged * point_size(len(rows)))


def hidden_picture(scales: dict[str, bqplot.Scale]) -> bqplot.Image:
    """What draws an image on a figure with these scales, once there is one."""
    return bqplot.Image(image=_image(np.zeros((1, 1, 4), np.uint8)), scales=scales, visible=False)


def close_picture(picture: bqplot.Image) -> None:
    """Close the image in it; the mark itself is closed with its figure."""
    for part in (picture.image.layout, picture.image):
        part.close()


def _image(rgba: NDArray[np.uint8]) -> ipywidgets.Image:
    return ipywidgets.Image(value=png(rgba), format="png")
