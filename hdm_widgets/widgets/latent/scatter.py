"""The map: a bqplot figure with the items over the expected IoU."""

from __future__ import annotations

from collections.abc import Sequence

import bqplot
import ipywidgets
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hdm_widgets._wire import png
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.latent.surface import Surface
from hdm_widgets.widgets.latent.palette import SCORES, Coloring
from hdm_widgets.widgets.latent.point_figure import (
    DIM,
    PointFigure,
    component_titles,
    point_size,
)

__all__ = ["ScatterFigure"]

_SURFACE_SHAPE = (180, 240)
_SURFACE_OPACITY = 0.6
_NEW_EDGE_COLOR = "#0f172a"
_CROSS_COLOR, _CROSS_SIZE = "#b42318", 110
# Room between new items and the plot's edge, as a fraction of its extent.
_NEW_MARGIN = 0.03

Floats = NDArray[np.float64]


class ScatterFigure(PointFigure):
    """The items of a space over the expected IoU, and new items beside them.

    Parameters
    ----------
    space : LatentSpace
    rows : numpy.ndarray, int64
        The items that are drawn.
    """

    def __init__(self, space: LatentSpace, rows: NDArray[np.int64]) -> None:
        self._space: LatentSpace | None = space
        self._surface = surface = space.surface(_SURFACE_SHAPE)
        self._has_surface = space.regressor_ is not None
        self.new_rows: NDArray[np.int64] = np.empty(0, np.int64)
        self._has_new = False
        x0, x1 = float(surface.x[0]), float(surface.x[-1])
        y0, y1 = float(surface.y[0]), float(surface.y[-1])
        self._own_bounds = (x0, x1, y0, y1)  # without new items
        super().__init__(
            space.embedding_[:, :2], rows, self._own_bounds, component_titles(space.explained_variance_ratio_)
        )
        self._crosses = bqplot.Scatter(
            x=[],
            y=[],
            rotation=[],
            scales={**self._scales, "rotation": bqplot.LinearScale(min=0, max=180)},
            marker="cross",
            default_size=_CROSS_SIZE,
            colors=[_CROSS_COLOR],
            stroke="#ffffff",
            stroke_width=1,
        )
        self._background = bqplot.Image(
            image=_surface_image(surface, space.cv_score_),
            x=[x0, x1],
            y=[y0, y1],
            scales=self._scales,
            visible=self._has_surface,
        )
        # There from the beginning: bqplot makes all marks after a new one anew, and those that are being made while the
        # plot changes its size keep the size that it had.
        self._new_points = bqplot.Scatter(
            x=[], y=[], scales=self._scales, marker="diamond", stroke=_NEW_EDGE_COLOR, stroke_width=1
        )
        self._new_points.observe(self._selected, names=["selected"])
        marks = [self._background, self._outlines, self._points, self._new_points, self._crosses, self._ring]
        self.figure.marks = marks

    def color_by(self, coloring: Coloring) -> None:
        """Color the items by a column."""
        self.color(coloring.colors)

    def show_new(self, embedding: Floats, rows: NDArray[np.int64], colors: Sequence[str]) -> int:
        """Draw new items over the others, in a plot that is as wide as they need, and the expected IoU behind it.

        Parameters
        ----------
        embedding : numpy.ndarray, float64 (m, k)
            Their coordinates.
        rows : numpy.ndarray, int64
            Those that are drawn.
        colors : list of str
            `#rrggbb` of each of the m.

        Returns
        -------
        int
            How many of them are so far from the others that they are drawn at the plot's edge.
        """
        low, high = np.array(self._own_bounds).reshape(2, 2).T
        extent = high - low
        positions = embedding[:, :2]
        margin = _NEW_MARGIN * extent
        lowest = np.maximum(np.minimum(low, positions.min(axis=0) - margin), low - extent)
        highest = np.minimum(np.maximum(high, positions.max(axis=0) + margin), high + extent)
        outside = ((positions < lowest) | (positions > highest)).any(axis=1)
        placed = np.clip(positions, lowest + margin, highest - margin)
        self.new_rows = rows
        self._positions = np.concatenate([self._embedding, placed])
        (x0, y0), (x1, y1) = lowest.tolist(), highest.tolist()
        self._show_bounds((x0, x1, y0, y1))
        self._widen_surface()
        with self._new_points.hold_sync():
            self._new_points.x, self._new_points.y = placed[rows].T
            self._new_points.colors = [colors[row] for row in rows]
            self._new_points.default_size = int(1.6 * point_size(len(rows)))
        self._has_new = True
        self._renew_lasso()
        return int(outside.sum())

    def show_points(self, of_map: bool, of_new: bool) -> None:
        """Draw the points of the map, of the new items, or of both; a lasso selects what is drawn."""
        self._points.visible = self._crosses.visible = of_map
        self._new_points.visible = of_new
        self._renew_lasso()

    def mark_new(self, indices: NDArray[np.int64]) -> None:
        """Dim the new items that are not among these; none, if these are none."""
        if self._has_new:
            kept = np.isin(self.new_rows, indices) | (len(indices) == 0)
            self._new_points.opacities = np.where(kept, 1.0, DIM)

    def show_surface(self, shown: bool) -> None:
        """Show or hide the expected IoU."""
        self._background.visible = shown and self._has_surface

    def cross(self, indices: Sequence[int]) -> None:
        """Draw a cross over these items, and over no others."""
        positions = self._embedding[np.array(indices, np.int64)]
        with self._crosses.hold_sync():
            self._crosses.x, self._crosses.y = positions.T
            self._crosses.rotation = np.full(len(positions), 45.0)

    def close(self) -> None:
        """Close the figure and all that is in it."""
        image = self._background.image
        self._space = None
        super().close()
        for part in (image.layout, image):
            part.close()

    def _drawn_points(self) -> list[tuple[bqplot.Scatter, NDArray[np.int64]]]:
        """The points on screen, and the item of each; new items are numbered after the map's."""
        drawn = super()._drawn_points()
        if self._has_new and self._new_points.visible:
            drawn.append((self._new_points, len(self._embedding) + self.new_rows))
        return drawn

    def _widen_surface(self) -> None:
        """Draw the expected IoU as far as the plot reaches, with pixels of the same size."""
        space, surface = self._space, self._surface
        if space is None or not self._has_surface:
            return
        if self.bounds != self._own_bounds:
            own, now = (np.diff(np.array(ends).reshape(2, 2))[::-1, 0] for ends in (self._own_bounds, self.bounds))
            rows, cols = np.ceil(np.array(_SURFACE_SHAPE) * now / own).astype(int).tolist()
            surface = space.surface((rows, cols), self.bounds)
        before = self._background.image
        with self._background.hold_sync():
            # bqplot draws an image anew only if it is another widget.
            self._background.image = _surface_image(surface, space.cv_score_)
            self._background.x, self._background.y = np.array(self.bounds).reshape(2, 2)
        for part in (before.layout, before):
            part.close()


def _surface_image(surface: Surface, score: float) -> ipywidgets.Image:
    colors = SCORES(np.nan_to_num(surface.values))
    # Smoothed for display only. Faint where the expectation is no better than the mean.
    opacity = _SURFACE_OPACITY * (0.3 if score <= 0 else 1)
    colors[..., 3] = opacity * gaussian_filter(surface.support, 2.0)
    pixels = (colors[::-1] * 255).round().astype(np.uint8)
    return ipywidgets.Image(value=png(pixels), format="png")
