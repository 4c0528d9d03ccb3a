"""Points on a bqplot figure, with a lasso, outlines of selections and a ring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import bqplot
import ipywidgets
import numpy as np
from bqplot.interacts import LassoSelector
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from hdm_widgets.latent.item_set import ItemSet
from hdm_widgets.latent.selection import Selection
from hdm_widgets.latent.surface import Bounds
from hdm_widgets.widgets.latent.palette import Coloring
from hdm_widgets.widgets.latent.raster import Floats, inside_polygon

__all__ = [
    "DIM",
    "MOST_OTHERS",
    "MOST_POINTS",
    "Floats",
    "PointFigure",
    "Title",
    "axis_texts",
    "component_titles",
    "point_size",
    "rounded_hull",
]

# Points are SVG elements: with more of them a lasso takes seconds.
MOST_POINTS = 10_000
_MARGIN = {"top": 14, "right": 14, "bottom": 52, "left": 64}
# Distance of an axis' title from the axis.
_TITLE_OFFSETS = {"bottom": "34px", "left": "46px"}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Distance of an outline from its points, as a fraction of the figure.
_OUTLINE_DISTANCE = 0.022
_OUTLINE_POINTS = 96
# An outline may enclose this many other points for each of its own, and always a few.
MOST_OTHERS, _FEW_OTHERS = 0.25, 5
DIM = 0.3
_LASSO_COLOR, _EDGE_COLOR = "#64748b", "#475569"

# Where an axis' unit stands in its title.
Title = tuple[str, str]


class PointFigure:
    """Points, outlines of selections and a lasso.

    Parameters
    ----------
    embedding : numpy.ndarray, float64 (n, 2)
        Coordinates of all items.
    rows : numpy.ndarray, int64
        The items that are drawn, the last ones on top.
    bounds : tuple of float
        (x0, x1, y0, y1) of the plot.
    titles : tuple of tuple of str
        Of the x and the y axis: what stands before the unit, and after it.
    height : str
        Of the figure.

    Attributes
    ----------
    figure : bqplot.Figure
    bounds, rows
        As above.
    names : list of dict
        The names that the browser writes over the figure, and where: those of the outlined selections.
    """

    def __init__(
        self,
        embedding: Floats,
        rows: NDArray[np.int64],
        bounds: Bounds,
        titles: tuple[Title, Title],
        height: str = "500px",
    ) -> None:
        self._opacities = np.ones(len(rows))
        self._positions = self._embedding = embedding  # of all items on the figure, and of those that can be selected
        self.rows = rows
        self.bounds = bounds
        self._titles = titles
        x0, x1, y0, y1 = bounds
        x = bqplot.LinearScale(min=x0, max=x1, allow_padding=False)
        y = bqplot.LinearScale(min=y0, max=y1, allow_padding=False)
        self._scales = scales = {"x": x, "y": y}
        drawn = self._embedding[rows]
        self._points = bqplot.Scatter(
            x=drawn[:, 0].copy(),
            y=drawn[:, 1].copy(),
            scales=scales,
            default_size=point_size(len(rows)),
            # In the middle of the scale a point has the color of the surface behind it.
            stroke=_EDGE_COLOR,
            stroke_width=0.5,
        )
        self._outlines = bqplot.Lines(x=[], y=[], scales=scales, fill="inside", stroke_width=2, visible=False)
        self._ring = bqplot.Scatter(
            x=[], y=[], scales=scales, default_size=190, fill=False, stroke_width=3, colors=["#000000"]
        )
        self.figure = bqplot.Figure(
            marks=[self._outlines, self._points, self._ring],
            axes=[_axis(x, "bottom", titles[0]), _axis(y, "left", titles[1])],
            fig_margin=_MARGIN,
            display_toolbar=False,
            padding_x=0,
            padding_y=0,
            min_aspect_ratio=0.2,
            max_aspect_ratio=5,
            animation_duration=0,
            layout=ipywidgets.Layout(width="100%", height=height, min_width="0"),
        )
        self._renew_lasso()
        self.names: list[dict[str, Any]] = []
        self._extents: dict[ItemSet, _Extent] = {}
        self._lassoed: Callable[[NDArray[np.int64]], None] | None = None
        self._points.observe(self._selected, names=["selected"])

    def on_lasso(self, callback: Callable[[NDArray[np.int64]], None]) -> None:
        """Call this with the items inside, whenever a lasso has been drawn."""
        self._lassoed = callback

    @property
    def points_message(self) -> dict[str, Any]:
        """Where the points on screen are, for the pointer."""
        rows = np.concatenate([items for _, items in self._drawn_points()])
        return {
            "positions": self._positions[rows].astype(np.float32),
            "rows": rows.astype(np.int32),
            "bounds": self.bounds,
        }

    def place_of(self, item: int) -> list[float]:
        """X and y of an item, drawn or not."""
        place: list[float] = self._positions[item].tolist()
        return place

    def color_by(self, coloring: Coloring) -> None:
        """Color the items by a column."""
        colors = coloring.colors
        self._points.colors = [colors[row] for row in self.rows]

    def outline(self, selections: Sequence[Selection], active: int | None) -> None:
        """Mark the selected points, outline each compact selection, and place the names.

        The outline is the convex hull of the points. It is left out where it would enclose many others, because it
        would suggest that these are selected too.
        """
        x0, x1, y0, y1 = self.bounds
        origin, extent = np.array([x0, y0]), np.array([x1 - x0, y1 - y0])
        named = [one for one in selections if len(one)]
        known = self._extents
        # Of many items these take a while, and they stay while the view changes.
        self._extents = {one.items: known.get(one.items) or _extent(self._embedding[one.indices]) for one in named}
        corners = [self._extents[one.items].corners for one in named]
        hulls = [rounded_hull((points - origin) / extent) * extent + origin for points in corners]
        compact = [self._holds_few_others(one, hull) for one, hull in zip(named, hulls, strict=True)]
        self._mark(named)
        self.names = [self._placed_name(*one) for one in zip(named, hulls, compact, strict=True)]
        drawn = [one for one, outlined in zip(named, compact, strict=True) if outlined]
        curves = [hull for hull, outlined in zip(hulls, compact, strict=True) if outlined]
        current = selections[active] if active is not None else None
        with self._outlines.hold_sync():
            self._outlines.visible = bool(drawn)
            if not drawn:
                return
            self._outlines.x = np.stack([curve[:, 0] for curve in curves])
            self._outlines.y = np.stack([curve[:, 1] for curve in curves])
            self._outlines.colors = [one.color for one in drawn]
            self._outlines.fill_colors = [one.color for one in drawn]
            self._outlines.fill_opacities = [0.16 if one is current else 0.05 for one in drawn]
            self._outlines.opacities = [1.0 if one is current else 0.75 for one in drawn]

    def _holds_few_others(self, selection: Selection, hull: Floats) -> bool:
        """Whether most of the drawn points within a hull are the selection's own."""
        inside = self.rows[inside_polygon(self._embedding[self.rows], hull)]
        others = np.setdiff1d(inside, selection.indices)
        return len(others) <= max(_FEW_OTHERS, MOST_OTHERS * len(selection))

    def _mark(self, selections: Sequence[Selection]) -> None:
        """Dim the points that are in no selection."""
        opacities = np.ones(len(self.rows))
        if selections:
            selected = np.unique(np.concatenate([one.indices for one in selections]))
            opacities[~np.isin(self.rows, selected)] = DIM
        if not np.array_equal(opacities, self._opacities):
            self._opacities = opacities
            self._points.opacities = opacities

    def _placed_name(self, selection: Selection, hull: Floats, outlined: bool) -> dict[str, Any]:
        """A selection's name, and the point above which it is written.

        The point is the top of the outline, or the middle of the selected points, in fractions of the plot's width and
        height from its top left corner. Only the browser knows how wide the name is, and so where it begins.
        """
        x0, x1, y0, y1 = self.bounds
        x, y = hull[hull[:, 1].argmax()] if outlined else self._extents[selection.items].middle
        position = {"x": float((x - x0) / (x1 - x0)), "y": float((y1 - y) / (y1 - y0))}
        return {"text": selection.name, "color": selection.color} | position

    def highlight(self, index: int | None) -> None:
        """Draw a ring around an item, or around none."""
        with self._ring.hold_sync():
            self._ring.visible = index is not None
            if index is not None:
                self._ring.x = self._positions[[index], 0]
                self._ring.y = self._positions[[index], 1]

    def close(self) -> None:
        """Close the figure and all that is in it."""
        for mark in self.figure.marks:
            mark.unobserve_all()
        self._lassoed = None
        figure = self.figure
        scales = {id(scale): scale for mark in figure.marks for scale in mark.scales.values()}
        parts: list[Any] = [*figure.marks, *figure.axes, figure.interaction]
        for part in [*parts, *scales.values(), figure.scale_x, figure.scale_y, figure.layout, figure]:
            if part is not None:
                part.close()

    def _show_bounds(self, bounds: Bounds) -> None:
        """Let the axes show these bounds."""
        self.bounds = bounds
        for axis, ends, title in zip(self.figure.axes, (bounds[:2], bounds[2:]), self._titles, strict=True):
            with axis.scale.hold_sync():
                axis.scale.min, axis.scale.max = ends
            for name, value in axis_texts(title, *ends).items():
                setattr(axis, name, value)

    def _selected(self, change: Any) -> None:
        # The browser tells of one kind of points after the other.
        drawn = self._drawn_points()
        if change["new"] is None or any(points.selected is None for points, _ in drawn):
            return
        inside = [items[np.asarray(points.selected, dtype=np.int64)] for points, items in drawn]
        try:
            # The gallery first: bqplot is busy for a while when its marks change.
            if self._lassoed is not None:
                self._lassoed(np.concatenate(inside))
        finally:
            # The browser reports a lasso only if the selection changes: from nothing, every lasso changes it.
            for points, _ in drawn:
                points.selected = None
            self._renew_lasso()

    def _drawn_points(self) -> list[tuple[bqplot.Scatter, NDArray[np.int64]]]:
        """The points on screen, and the item of each."""
        return [(self._points, self.rows)] if self._points.visible else []

    def _renew_lasso(self) -> None:
        # Lassos stay on screen and add up; a new selector begins with none.
        before = getattr(self.figure, "interaction", None)
        marks = [points for points, _ in self._drawn_points()]
        self.figure.interaction = LassoSelector(marks=marks, color=_LASSO_COLOR)
        if before is not None:
            before.close()


def _axis(scale: bqplot.LinearScale, side: str, title: Title) -> bqplot.Axis:
    return bqplot.Axis(
        scale=scale,
        side=side,
        label_offset=_TITLE_OFFSETS[side],
        grid_lines="none",
        tick_format="~g",
        **axis_texts(title, scale.min, scale.max),
    )


def component_titles(variances: Floats) -> tuple[Title, Title]:
    """The titles of both axes, with the fraction of the variance of each component."""
    x, y = ((f"PC {component + 1}", f" ({variances[component]:.0%} of the variance)") for component in (0, 1))
    return x, y


def axis_texts(title: Title, low: float, high: float) -> dict[str, Any]:
    """Title and ticks of an axis: a few round numbers, which are short, as there is little room for them."""
    values = np.asarray(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    values = values[(values >= low) & (values <= high)]
    power = _power_of_ten(values)
    unit = f" in 10{str(power).translate(_SUPERSCRIPT)}" if power else ""
    return {
        "label": f"{title[0]}{unit}{title[1]}",
        # Before the ticks: bqplot writes new ticks a little later, with the labels that it has when it is told of them.
        "tick_labels": {_javascript_number(value): f"{value / 10.0**power:.4g}" for value in values} if power else None,
        "tick_values": values,
    }


def _power_of_ten(values: Floats) -> int:
    """The power of ten to write numbers in, a multiple of 3; 0 if they are short without one."""
    largest = np.abs(values).max(initial=0)
    if largest == 0 or 0.1 <= largest < 10_000:
        return 0
    return int(3 * np.floor(np.log10(largest) / 3))


def _javascript_number(value: float) -> str:
    """A number as JavaScript writes it: the key by which bqplot finds a tick's label."""
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return np.format_float_positional(value, trim="-")
    return np.format_float_scientific(value, trim="-", exp_digits=1)


def point_size(count: int) -> int:
    """Area of a point in square pixels: the more points, the smaller."""
    return int(np.clip(34 - 12 * np.log10(max(count, 1) / 300), 8, 44))


def rounded_hull(points: Floats) -> Floats:
    """A closed, rounded line around points of the unit square, (m, 2)."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = _OUTLINE_DISTANCE * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    corners = points if len(points) < 4 else points[_hull(points)]
    around = (corners[:, None] + circle).reshape(-1, 2)
    line = around[_hull(around)]
    line = np.vstack([line, line[:1]])
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    steps = np.linspace(0, along[-1], _OUTLINE_POINTS)
    return np.stack([np.interp(steps, along, line[:, axis]) for axis in (0, 1)], axis=1)


@dataclass(frozen=True, eq=False)
class _Extent:
    """Where the points of a selection are.

    Attributes
    ----------
    corners : numpy.ndarray, float64 (k, 2)
        Points with the same convex hull, few of them.
    middle : numpy.ndarray, float64 (2,)
        The median of each coordinate.
    """

    corners: Floats
    middle: Floats


def _extent(points: Floats) -> _Extent:
    return _Extent(_outer(points) if len(points) > MOST_POINTS else points, np.median(points, axis=0))


def _outer(points: Floats) -> Floats:
    """The points that are not within the octagon of the extreme ones: the convex hull is theirs (Akl and Toussaint)."""
    x, y = points.T
    sides = (x, x + y, y, y - x)
    corners = points[[*(int(side.argmax()) for side in sides), *(int(side.argmin()) for side in sides)]]
    return np.concatenate([corners, points[~inside_polygon(points, corners)]])


def _hull(points: Floats) -> NDArray[np.intp]:
    """Corners of the convex hull in order; points on one line are widened a little first."""
    return np.asarray(ConvexHull(points, qhull_options="QJ").vertices)
