"""Maps of more items than can be drawn as points: an image of what is in view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.latent.item_set import ItemSet
from hdm_widgets.latent.selection import Selection
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.latent.surface import Bounds
from hdm_widgets.widgets.latent import point_figure
from hdm_widgets.widgets.latent.aggregate_layer import AggregateLayer, close_picture, hidden_picture
from hdm_widgets.widgets.latent.palette import Coloring
from hdm_widgets.widgets.latent.point_figure import MOST_OTHERS, Floats, PointFigure, Title
from hdm_widgets.widgets.latent.raster import inside_polygon
from hdm_widgets.widgets.latent.scatter import NEW_SIZE, ScatterFigure

__all__ = ["AggregateFigure", "AggregateMap", "figure_of"]

# Rows and columns of the raster until the browser tells the size of the plot, and the most that it may ask for.
_SHAPE, _LONGEST = (210, 240), 2_000
# The closest view, as a fraction of the whole map.
_CLOSEST = 1e-6
# Pixels of the raster along a side of a diamond: twice as many of the screen.
_DIAMOND = 5


class AggregateFigure(PointFigure):
    """All items of a large space; zoomed in, those in view.

    There is no lasso of bqplot on it: the browser sends polygons, and `inside` finds the items.

    Parameters
    ----------
    embedding, bounds, titles, height
        As of a `PointFigure`; `bounds` are those of the whole map.

    Attributes
    ----------
    bounds : tuple of float
        (x0, x1, y0, y1) of the view.
    rows : numpy.ndarray, int64
        The items that are drawn as points: none while they are aggregated.
    """

    def __init__(self, embedding: Floats, bounds: Bounds, titles: tuple[Title, Title], height: str = "500px") -> None:
        super().__init__(embedding, np.empty(0, np.int64), bounds, titles, height)
        self._aggregate()

    def _aggregate(self) -> None:
        """Add the image, on a figure without points."""
        picture = hidden_picture(self._scales)
        self._layer = AggregateLayer(self._embedding, self._points, picture)
        self._whole = self.bounds
        self._shape = _SHAPE
        self.figure.marks = [picture, *self.figure.marks]

    @property
    def density(self) -> dict[str, Any]:
        """How many items are in view, and how many in the fullest pixel; 0 where they are drawn as points."""
        return {**self._layer.density}

    @property
    def points_message(self) -> dict[str, Any]:
        """Where the points on screen are, and which item is in each pixel of an image, for the pointer."""
        return super().points_message | {"items": self._items_in_pixels()}

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
        last = np.where(extent < high - low, first + extent, high)
        (x0, y0), (x1, y1) = first.tolist(), last.tolist()
        self._shape = int(np.clip(shape[0], 1, _LONGEST)), int(np.clip(shape[1], 1, _LONGEST))
        if (x0, x1, y0, y1) != self.bounds:
            self._show_bounds((x0, x1, y0, y1))
        self._draw()

    def inside(self, polygon: Floats) -> NDArray[np.int64]:
        """All items within a polygon (k, 2), drawn or not."""
        return self._layer.grid.inside(polygon)

    def color_by(self, coloring: Coloring) -> None:
        """Color the items by a column."""
        self._layer.color(coloring)
        self._draw()

    def close(self) -> None:
        """Close the figure and all that is in it."""
        super().close()
        close_picture(self._layer.picture)

    # -- drawing ----------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Draw what is in view."""
        self._layer.draw(self.bounds, self._shape)
        self.rows = self._layer.rows

    def _items_in_pixels(self) -> NDArray[np.int32]:
        """One of the items in each pixel of the image, -1 where there is none; no pixels without an image."""
        if self._layer.raster is None:
            return np.empty((0, 0), np.int32)
        return self._layer.items_in_pixels(self._shape)

    def _holds_few_others(self, selection: Selection, hull: Floats) -> bool:
        """Whether most of the items within a hull are the selection's own."""
        others = self._layer.grid.count_inside(hull) - len(selection)
        return others <= MOST_OTHERS * len(selection)

    def _mark(self, selections: Sequence[Selection]) -> None:
        """Dim the items that are in no selection."""
        if self._layer.choose(reduce(or_, (one.items for one in selections)) if selections else None):
            self._draw()

    def _placed_name(self, selection: Selection, hull: Floats, outlined: bool) -> dict[str, Any]:
        """A selection's name, and the point above which it is written; at the edge, where that is not in view."""
        name = super()._placed_name(selection, hull, outlined)
        return name | {side: min(max(name[side], 0.0), 1.0) for side in ("x", "y")}

    def _renew_lasso(self) -> None:
        # The browser draws one over the figure.
        pass


class AggregateMap(AggregateFigure, ScatterFigure):
    """All items of a space over the expected IoU, and new items beside them; zoomed in, those in view.

    More new items than can be drawn as points are drawn as an image of diamonds.

    Parameters
    ----------
    space : LatentSpace
    """

    def __init__(self, space: LatentSpace) -> None:
        self._of_map = True
        self._new_layer: AggregateLayer | None = None
        ScatterFigure.__init__(self, space, np.empty(0, np.int64))
        self._aggregate()

    @property
    def density(self) -> dict[str, Any]:
        """That of the map's items and, of as many new items as are drawn as an image, in `new`; if they are drawn."""
        new = self._new_layer
        of_new = {} if new is None or not self._new_points.visible else {"new": new.density}
        return (super().density if self._of_map else {}) | of_new

    def inside(self, polygon: Floats) -> NDArray[np.int64]:
        """All items within a polygon (k, 2), drawn or not; new items are numbered after the map's."""
        of_map = super().inside(polygon) if self._of_map else np.empty(0, np.int64)
        if not self._has_new or not self._new_points.visible or len(polygon) < 3:
            return of_map
        count = len(self._embedding)
        if self._new_layer is not None:
            return np.concatenate([of_map, count + self._new_layer.grid.inside(polygon)])
        return np.concatenate([of_map, count + np.flatnonzero(inside_polygon(self._positions[count:], polygon))])

    def show_new(self, embedding: Floats, coloring: Coloring) -> int:
        """Draw new items over the others, and the whole map; see `ScatterFigure.show_new`."""
        outside = super().show_new(embedding, coloring)
        self._whole = self.bounds
        self._draw()
        return outside

    def mark_new(self, indices: NDArray[np.int64]) -> None:
        """Dim the new items that are not among these; none, if these are none."""
        layer = self._new_layer
        if layer is None:
            super().mark_new(indices)
        elif layer.choose(ItemSet.from_indices(indices, len(layer.grid)) if len(indices) else None):
            self._draw()

    def close(self) -> None:
        """Close the figure and all that is in it."""
        super().close()
        close_picture(self._new_picture)

    def show_points(self, of_map: bool, of_new: bool) -> None:
        """Draw the items of the map, the new ones, or both; a lasso selects what is drawn."""
        super().show_points(of_map, of_new)
        self._of_map = of_map
        self._draw()

    def _aggregate(self) -> None:
        super()._aggregate()
        self._new_picture = hidden_picture(self._scales)
        marks = [mark for mark in self.figure.marks if mark is not self._background]
        over = marks.index(self._new_points)
        self.figure.marks = [self._background, *marks[:over], self._new_picture, *marks[over:]]

    def _draw_new(self, placed: Floats, coloring: Coloring) -> None:
        if len(placed) <= point_figure.MOST_POINTS:
            self._new_layer = None
            super()._draw_new(placed, coloring)
            return
        self._new_layer = AggregateLayer(placed, self._new_points, self._new_picture, _DIAMOND, NEW_SIZE)
        self._new_layer.color(coloring)

    def _draw(self) -> None:
        self._layer.draw(self.bounds, self._shape, self._of_map)
        self.rows = self._layer.rows
        if self._new_layer is not None:
            self._new_layer.draw(self.bounds, self._shape, self._new_points.visible)
            self.new_rows = self._new_layer.rows

    def _items_in_pixels(self) -> NDArray[np.int32]:
        items = super()._items_in_pixels() if self._of_map else np.empty((0, 0), np.int32)
        layer = self._new_layer
        if layer is None or layer.raster is None or not self._new_points.visible:
            return items
        new = layer.items_in_pixels(self._shape)
        below = items if items.size else np.int32(-1)
        return np.where(new >= 0, new + np.int32(len(self._embedding)), below)


def figure_of(space: LatentSpace, new: int = 0) -> ScatterFigure:
    """The map of a space and of so many new items: of points, as long as the browser can draw them."""
    if max(len(space), new) > point_figure.MOST_POINTS:
        return AggregateMap(space)
    return ScatterFigure(space, np.arange(len(space)))
