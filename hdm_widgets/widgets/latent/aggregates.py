"""The map of more items than can be drawn as points: an image of what is in view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

import bqplot
import ipywidgets
import numpy as np
from numpy.typing import NDArray

from hdm_widgets._wire import png
from hdm_widgets.latent.item_set import ItemSet
from hdm_widgets.latent.selection import Selection
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.latent import point_figure
from hdm_widgets.widgets.latent.palette import MISSING, Coloring
from hdm_widgets.widgets.latent.point_figure import DIM, MOST_OTHERS, Floats, point_size
from hdm_widgets.widgets.latent.raster import GridColors, PointGrid, Raster, inside_polygon, rasterize
from hdm_widgets.widgets.latent.scatter import ScatterFigure

__all__ = ["AggregateFigure", "figure_of"]

# With fewer items in view these are points.
_FEWEST_AGGREGATED = 5_000
# Rows and columns of the raster until the browser tells the size of the plot, and the most that it may ask for.
_SHAPE, _LONGEST = (210, 240), 2_000
# The closest view, as a fraction of the whole map.
_CLOSEST = 1e-6


class AggregateFigure(ScatterFigure):
    """All items of a large space over the expected IoU; zoomed in, those in view.

    There is no lasso of bqplot on it: the browser sends polygons, and `inside` finds the items.

    Parameters
    ----------
    space : LatentSpace

    Attributes
    ----------
    bounds : tuple of float
        (x0, x1, y0, y1) of the view.
    rows : numpy.ndarray, int64
        The items that are drawn as points: none while they are aggregated.
    """

    def __init__(self, space: LatentSpace) -> None:
        super().__init__(space, np.empty(0, np.int64))
        self._grid = PointGrid(self._embedding)
        self._whole = self.bounds
        self._shape = _SHAPE
        self._coloring: Coloring | None = None  # nothing is drawn before there is one
        self._colors: GridColors | None = None
        # The items in any selection, if there are selections; and in the order of the grid.
        self._chosen: ItemSet | None = None
        self._ordered: NDArray[np.bool_] | None = None
        self._of_map = True
        self._raster: Raster | None = None
        self._in_view = 0
        self._picture = bqplot.Image(image=_image(np.zeros((1, 1, 4), np.uint8)), scales=self._scales, visible=False)
        self._add_picture()

    @property
    def density(self) -> dict[str, int]:
        """How many items are in view, and how many in the fullest pixel; 0 where they are drawn as points."""
        return {"in_view": self._in_view, "most": 0 if self._raster is None else self._raster.most}

    @property
    def points_message(self) -> dict[str, Any]:
        """Where the points on screen are, and which item is in each pixel of an image, for the pointer."""
        raster = self._raster
        items = np.empty((0, 0), np.int32) if raster is None or not self._of_map else raster.items
        return super().points_message | {"items": items}

    def look(self, bounds: Sequence[float], shape: tuple[int, int]) -> None:
        """Show another view, as far as it is on the map.

        Parameters
        ----------
        bounds : sequence of float
            x0, x1, y0, y1.
        shape : tuple of int
            Rows and columns of the image of it.
        """
        ends = np.array(bounds, np.float64).reshape(2, 2)
        if not (np.isfinite(ends).all() and (ends[:, 0] < ends[:, 1]).all()):
            raise ValueError(f"a view must have finite bounds x0 < x1 and y0 < y1, got {list(bounds)}")
        low, high = np.array(self._whole).reshape(2, 2).T
        extent = np.clip(ends[:, 1] - ends[:, 0], _CLOSEST * (high - low), high - low)
        first = np.clip(ends.mean(axis=1) - extent / 2, low, high - extent)
        (x0, y0), (x1, y1) = first.tolist(), (first + extent).tolist()
        self._shape = int(np.clip(shape[0], 1, _LONGEST)), int(np.clip(shape[1], 1, _LONGEST))
        if (x0, x1, y0, y1) != self.bounds:
            self._show_bounds((x0, x1, y0, y1))
        self._draw()

    def inside(self, polygon: Floats) -> NDArray[np.int64]:
        """All items within a polygon (k, 2), drawn or not; new items are numbered after the map's."""
        of_map = self._grid.inside(polygon) if self._of_map else np.empty(0, np.int64)
        if not self._has_new or not self._new_points.visible or len(polygon) < 3:
            return of_map
        count = len(self._embedding)
        return np.concatenate([of_map, count + np.flatnonzero(inside_polygon(self._positions[count:], polygon))])

    def color_by(self, coloring: Coloring) -> None:
        """Color the items by a column."""
        self._coloring, self._colors = coloring, GridColors.from_coloring(self._grid, coloring)
        self._draw()

    def show_new(self, embedding: Floats, rows: NDArray[np.int64], colors: Sequence[str]) -> int:
        """Draw new items over the others, and the whole map; see `ScatterFigure.show_new`."""
        outside = super().show_new(embedding, rows, colors)
        self._whole = self.bounds
        self._draw()
        return outside

    def show_points(self, of_map: bool, of_new: bool) -> None:
        """Draw the items of the map, the new ones, or both; a lasso selects what is drawn."""
        super().show_points(of_map, of_new)
        self._of_map = of_map
        self._draw()

    def close(self) -> None:
        """Close the figure and all that is in it."""
        image = self._picture.image
        super().close()
        for part in (image.layout, image):
            part.close()

    # -- drawing ----------------------------------------------------------------------------------

    def _add_picture(self) -> None:
        self.figure.marks = [self._background, self._picture, *(m for m in self.figure.marks if m != self._background)]

    def _draw(self) -> None:
        """Draw what is in view."""
        if self._coloring is None or self._colors is None:
            return
        self._in_view = self._grid.count_within(self.bounds)
        if self._in_view < _FEWEST_AGGREGATED:
            self._raster = None
            self._picture.visible = False
            rows = np.sort(self._grid.order[self._grid.within(self.bounds)])
            self._draw_points(rows.astype(np.int64), self._coloring)
            return
        self._draw_points(np.empty(0, np.int64), self._coloring)
        self._raster = rasterize(self._grid, self.bounds, self._shape, self._colors, self._ordered, DIM)
        before = self._picture.image
        with self._picture.hold_sync():
            # bqplot draws an image anew only if it is another widget.
            self._picture.image = _image(self._raster.rgba)
            self._picture.x, self._picture.y = np.array(self.bounds).reshape(2, 2)
            self._picture.visible = self._of_map
        for part in (before.layout, before):
            part.close()

    def _draw_points(self, rows: NDArray[np.int64], coloring: Coloring) -> None:
        if not len(rows) and not len(self.rows):
            return
        self.rows = rows
        chosen = np.ones(len(rows), bool) if self._chosen is None else self._chosen.flags[rows]
        table = coloring.table
        with self._points.hold_sync():
            self._points.x, self._points.y = self._embedding[rows].T.copy()
            self._points.colors = [table[code] for code in coloring.codes[rows].tolist()] or [MISSING]
            self._points.opacities = np.where(chosen, 1.0, DIM)
            self._points.default_size = point_size(len(rows))

    def _holds_few_others(self, selection: Selection, hull: Floats) -> bool:
        """Whether most of the items within a hull are the selection's own."""
        others = self._grid.count_inside(hull) - len(selection)
        return others <= MOST_OTHERS * len(selection)

    def _mark(self, selections: Sequence[Selection]) -> None:
        """Dim the items that are in no selection."""
        chosen = reduce(or_, (one.items for one in selections)) if selections else None
        if chosen != self._chosen:
            self._chosen = chosen
            self._ordered = None if chosen is None else chosen.flags[self._grid.order]
            self._draw()

    def _placed_name(self, selection: Selection, hull: Floats, outlined: bool) -> dict[str, Any]:
        """A selection's name, and the point above which it is written; at the edge, where that is not in view."""
        name = super()._placed_name(selection, hull, outlined)
        return name | {side: min(max(name[side], 0.0), 1.0) for side in ("x", "y")}

    def _renew_lasso(self) -> None:
        # The browser draws one over the figure.
        pass


def figure_of(space: LatentSpace) -> ScatterFigure:
    """The map of a space: of points, as long as the browser can draw them."""
    if len(space) > point_figure.MOST_POINTS:
        return AggregateFigure(space)
    return ScatterFigure(space, np.arange(len(space)))


def _image(rgba: NDArray[np.uint8]) -> ipywidgets.Image:
    return ipywidgets.Image(value=png(rgba), format="png")
