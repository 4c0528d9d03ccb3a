"""Two latent spaces of the same items, side by side."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Never

import ipywidgets
import numpy as np
import traitlets
from IPython.display import HTML
from numpy.typing import NDArray

from hdm_widgets._validation import advise_on_keywords, check_choice
from hdm_widgets._wire import MESSAGE, png
from hdm_widgets._wording import quantity
from hdm_widgets.latent.comparison_plot import LONGEST_NAME, NAME_END, bounds_of, drawing_order, short_name
from hdm_widgets.latent.selection import Selection, check_indices
from hdm_widgets.latent.space_comparison import SpaceComparison
from hdm_widgets.widgets.latent.compared_columns import compared_coloring, compared_columns, signed
from hdm_widgets.widgets.latent.compared_gallery import ComparedGallery
from hdm_widgets.widgets.latent.parts import Legend, Toolbar
from hdm_widgets.widgets.latent.point_figure import PointFigure, Title, component_titles, drawn_rows
from hdm_widgets.widgets.latent.selecting import Answer, ExplorerWithSelections
from hdm_widgets.widgets.shared.explorer import Explorer, close_all
from hdm_widgets.widgets.shared.part import read_static

if TYPE_CHECKING:
    import pandas

__all__ = ["LatentComparison"]

# The lists of items, and what a selection of one is called.
_LISTS = {"better": "got better", "worse": "got worse", "moved": "moved"}
_HEIGHT = "400px"
_MOST_FACTS = 6
_NOT_IN_MARIMO = """<p><b>marimo cannot show two maps:</b> they are drawn by ipywidgets and bqplot. Open the notebook in
JupyterLab, Notebook 7 or Voila. Here the comparison itself works: <code>print(comparison)</code>,
<code>comparison.frame()</code>, <code>comparison.plot()</code>.</p>"""


class ComparisonHead(Toolbar):
    """The toolbar, and below it the verdict with the lists of items.

    Attributes
    ----------
    findings : dict
        The figures and words of the verdict.
    chosen : {"", "better", "worse", "moved"}
        The list whose items are selected.
    """

    _esm = read_static("latent_comparison.js")
    _css = read_static("latent_comparison.css")

    findings = traitlets.Dict().tag(**MESSAGE)
    chosen = traitlets.Unicode("").tag(sync=True)


class LatentComparison(ExplorerWithSelections, ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Explore what has changed between two models, or two checkpoints: both maps of the same items, side by side.

    Displays itself as the last line of a cell. The second map is moved, rotated, reflected and scaled onto the first
    (Procrustes). A lasso on either selects items on both; the gallery shows their images, true masks and what either
    model predicts. Lists select the items that got better, got worse or moved.

    Parameters
    ----------
    comparison : SpaceComparison
        What `compare_spaces` returns.
    color_by : str
        What colors the points: `"iou_change"`, `"iou_a"`, `"iou_b"`, `"neighbors"` (the overlap of the neighbors in
        both spaces), or a column of the data set.

    Attributes
    ----------
    comparison : SpaceComparison
    selected : tuple of int
        Positions of the items in the active selection; assigning it selects, on screen too.
    color_by
        A trait as above.
    mode : {"replace", "add", "subtract"}
        What the next lasso does to the active selection.
    active : int or None
        Position of the active selection in `selections`.
    highlighted : int or None
        The item whose points and card are highlighted.

    Notes
    -----
    When the cell that made a comparison runs again, it is closed, unless a variable of the notebook still leads to it.

    Examples
    --------
    >>> import hdm_widgets as hw
    >>> model, scenes = hw.demo.aerial(60)
    >>> spaces = [hw.LatentSpace(model, pool=pool).fit(scenes, progress=False) for pool in ("mean", "max")]
    >>> explorer = hw.LatentComparison(hw.compare_spaces(*spaces, names=("mean", "maximum")))
    >>> explorer.select(explorer.comparison.moved, name="moved").name
    'moved'
    >>> explorer.close()
    """

    color_by = traitlets.Unicode("iou_change")

    @advise_on_keywords
    def __init__(self, comparison: SpaceComparison, *others: Never, color_by: str = "iou_change") -> None:
        if not isinstance(comparison, SpaceComparison) or others:
            came = ", ".join(type(one).__name__ for one in (comparison, *others))
            raise TypeError(
                f"expected one SpaceComparison and keywords, got {came}; "
                "write LatentComparison(compare_spaces(space_a, space_b))"
            )
        self._comparison = comparison
        first = comparison.spaces[0]
        self._prepare_selections(first)
        self._columns = compared_columns(comparison)
        check_choice("color_by", color_by, self._columns)
        drawn = drawn_rows(len(comparison), first.random_state)
        order = drawing_order(comparison)
        rows = order[np.isin(order, drawn)]
        self._figures = tuple(
            PointFigure(points, rows, bounds_of(comparison), titles, _HEIGHT)
            for points, titles in zip(comparison.coordinates, _titles(comparison), strict=True)
        )
        one, other = (figure.points_message for figure in self._figures)
        self._toolbar = self._head = ComparisonHead(
            color_by=color_by,
            colors=[[name, column.title] for name, column in self._columns.items()],
            background="none",
            count=len(comparison),
            findings=_findings(comparison),
        )
        self._legend = Legend(
            background="none",
            sample={"drawn": len(rows), "total": len(comparison)},
            _points=one | {"others": [other]},
        )
        self._gallery: ComparedGallery = ComparedGallery(comparison)
        self._headings = [ipywidgets.HTML(text) for text in _headings(comparison)]
        boxes = [
            ipywidgets.VBox([heading, figure.figure])
            for heading, figure in zip(self._headings, self._figures, strict=True)
        ]
        maps = ipywidgets.Box(boxes)
        plot = ipywidgets.VBox([maps, self._legend])
        below = ipywidgets.VBox([self._gallery])
        for heading in self._headings:
            heading.add_class("hdm-latent-heading")
        for box, name in ((maps, "maps"), (plot, "plot"), (below, "below-maps")):
            box.add_class(f"hdm-latent-{name}")
        self._boxes = (*boxes, maps, plot, below)
        super().__init__(children=[self._head, plot, below])
        self.add_class("hdm-latent")

        self.color_by = color_by
        self._answer_selections()
        self._color_link = traitlets.link((self, "color_by"), (self._head, "color_by"))
        self.observe(lambda _: self._recolor(), names=["color_by"])
        self.observe(self._highlight, names=["highlighted"])
        self._head.on_request("choose", lambda asked: self._choose_list(asked["list"]))
        for figure in self._figures:
            figure.on_lasso(self._lassoed)
        self._recolor()
        self._publish()
        self._begin(self._head)

    # -- for users ------------------------------------------------------------------------------

    @property
    def comparison(self) -> SpaceComparison:
        """The comparison that is shown."""
        return self._comparison

    @property
    def selection(self) -> pandas.DataFrame:
        """The active selection's rows of `comparison.frame()`."""
        return self._comparison.frame().iloc[list(self.selected)]

    def _pause(self) -> None:
        """Nothing runs in the background."""

    def _resume(self) -> None:
        """Nothing was paused."""

    def _end(self) -> None:
        self._exporting.close()
        for part in (self._head, self._legend, self._gallery):
            part.close()
        for figure in self._figures:
            figure.close()
        close_all(*self._headings, *self._boxes)

    # -- traits -----------------------------------------------------------------------------------

    _check = traitlets.validate("color_by")(Explorer._checked)

    def _valid_color_by(self, value: str) -> str:
        return str(check_choice("color_by", value, self._columns))

    def _highlight(self, change: Any) -> None:
        item = change["new"]
        self._gallery.highlighted = item
        for figure in self._figures:
            figure.highlight(item)

    def _recolor(self) -> None:
        column = self._columns[self.color_by]
        colored = compared_coloring(self._comparison, column)
        for figure in self._figures:
            figure.color(colored.colors)
        self._legend.legend = colored.legend
        # Both IoUs and their change are under every image already.
        self._gallery.caption(None if column.own and self.color_by != "neighbors" else column)
        self._show_gallery()

    # -- selections -------------------------------------------------------------------------------

    def _draw_selections(self) -> None:
        history = self._history
        for figure in self._figures:
            figure.outline(history.selections, history.active)
        self._legend.names = [
            name | {"figure": position} for position, figure in enumerate(self._figures) for name in figure.names
        ]
        current = history.current
        items = None if current is None else current.indices
        same = (one for one in _LISTS if items is not None and np.array_equal(np.sort(self._list(one)), items))
        self._head.chosen = next(same, "")

    def _turn_to_map(self) -> None:
        """There are no other items."""

    def _selection_row(self, selection: Selection) -> dict[str, Any]:
        return self._gallery.row(selection)

    def _list(self, name: str) -> NDArray[np.int64]:
        items: NDArray[np.int64] = getattr(self._comparison, name)
        return items

    def _choose_list(self, name: str) -> None:
        check_choice("list", name, _LISTS)
        self._choose(self._list(name), _LISTS[name], lambda chosen: chosen in _LISTS.values())

    def _export(self) -> Answer:
        current = self._history.current
        if current is None or not len(current):
            raise ValueError("Nothing is selected: there is nothing to export.")
        frame = self._comparison.frame()
        rows = {str(name): frame[name].to_numpy()[current.indices] for name in frame}
        return self._table_file(current.name, rows, current.indices)

    def _thumbnail(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        (index,) = check_indices([asked["item"]], len(self._space))
        first, second = (iou[index] for iou in self._comparison.iou)
        facts = [
            ["IoU", f"{_score(first)} → {_score(second)}"],
            ["Change", signed(float(second - first))],
            ["Neighbors", f"overlap {self._comparison.neighbors[index]:.2f}"],
            *([column.title, column.text(index)] for column in self._columns.values() if not column.own),
        ]
        thumbnail = png(np.array(self._space.collection_.thumbnails[index]))
        return {"item": index, "facts": facts[:_MOST_FACTS]}, [thumbnail]

    def _display_(self) -> HTML:
        """What marimo shows, which has no ipywidgets but anywidgets."""
        return HTML(_NOT_IN_MARIMO)  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        if self._ended:
            return "LatentComparison(closed)"
        first, second = self._comparison.names
        return f"LatentComparison({first!r}, {second!r}: {quantity(len(self._comparison), 'item')})"


def _score(value: float) -> str:
    return "\N{EN DASH}" if np.isnan(value) else f"{value:.2f}"


def _titles(comparison: SpaceComparison) -> tuple[tuple[Title, Title], tuple[Title, Title]]:
    """The titles of the axes of both maps, which are those of the first space."""
    name = short_name(comparison.names[0])
    second_x, second_y = ((f"PC {component + 1} of {name}", "") for component in (0, 1))
    return component_titles(comparison.spaces[0].explained_variance_ratio_), (second_x, second_y)


def _headings(comparison: SpaceComparison) -> list[str]:
    """Name and mean IoU above each map."""
    texts = []
    first = short_name(comparison.names[0])
    for name, iou, note in zip(comparison.names, comparison.iou, ("", f" · aligned to {first}"), strict=True):
        mean = f"mean IoU {np.nanmean(iou):.2f}" if np.isfinite(iou).any() else "no item has an IoU"
        aligned = f"<span>{html.escape(note)}</span>" if note else ""
        texts.append(f"{_heading_name(name)}<span> · {html.escape(mean)}</span>{aligned}")
    return texts


def _heading_name(name: str) -> str:
    """A name that the browser shortens in its middle: the end of a checkpoint's name often tells most."""
    if len(name) <= LONGEST_NAME:
        return f"<b>{html.escape(name)}</b>"
    start, end = name[:-NAME_END], name[-NAME_END:]
    return f'<b title="{html.escape(name)}"><i>{html.escape(start)}</i>{html.escape(end)}</b>'


def _findings(comparison: SpaceComparison) -> dict[str, Any]:
    """What the verdict shows."""
    both = np.isfinite(comparison.iou_change)
    before, after = (float(iou[both].mean()) if both.any() else np.nan for iou in comparison.iou)
    return {
        "names": list(comparison.names),
        "before": before,
        "after": after,
        "scored": int(both.sum()),
        "lists": {name: len(getattr(comparison, name)) for name in _LISTS},
        "changed_above": comparison.changed_above,
        "moved_below": comparison.moved_below,
        "k": comparison.k,
        "cka": comparison.cka,
        "cka_null": comparison.cka_null,
        "overlap": comparison.overlap,
        "overlap_null": comparison.overlap_null,
        "likeness": comparison.likeness,
    }
