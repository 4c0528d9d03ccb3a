"""A latent space with a lasso: the latent explorer."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Never

import ipywidgets
import numpy as np
import traitlets
from IPython.display import HTML
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._validation import advise_on_keywords, check_choice
from hdm_widgets.latent.selection import Selection, check_indices
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.hdm.explorer import HDMExplorer
from hdm_widgets.widgets.latent.cluster_table import ClusterTable
from hdm_widgets.widgets.latent.columns import usable_columns
from hdm_widgets.widgets.latent.explanation import Explanation
from hdm_widgets.widgets.latent.gallery import Gallery, selection_row
from hdm_widgets.widgets.latent.group_choice import ExplorerWithGroups
from hdm_widgets.widgets.latent.messages import NOT_IN_MARIMO, surface_message
from hdm_widgets.widgets.latent.parts import Legend, Toolbar
from hdm_widgets.widgets.latent.scatter import ScatterFigure, drawn_rows
from hdm_widgets.widgets.latent.selection_history import MODES, Items, SelectionHistory
from hdm_widgets.widgets.latent.suspicion import SUSPICION
from hdm_widgets.widgets.shared.explorer import Explorer, close_all
from hdm_widgets.widgets.shared.jobs import released

if TYPE_CHECKING:
    import pandas

    from hdm_widgets.latent.datasets import Dataset
    from hdm_widgets.latent.estimates import Estimates

__all__ = ["LatentExplorer"]

_BACKGROUNDS = {"expected_iou": "Expected IoU", "none": "None"}
_COLOR_CHOICES = ("auto", "scale", "categories")


class LatentExplorer(ExplorerWithGroups, ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Explore what a segmentation model has learned: a map of a data set with a lasso.

    Displays itself as the last line of a cell. A lasso on the map selects items; the gallery beside it shows their
    images, true masks and predictions, and the table below the clusters of the whole data set.

    Parameters
    ----------
    space : LatentSpace
        Fitted, or loaded with `LatentSpace.load`. With its data set the gallery has full images; with its model too, an
        image can be explained by Hausdorff Distance Masks.
    new : Estimates, Dataset, torch.Tensor or numpy.ndarray (N, C, H, W), or list of images, optional
        New data, with or without true masks, to show on the map: what `space.estimate` returned, or the data itself,
        which is estimated in the background. New items are diamonds in the color of their expected IoU; the gallery
        lists them, the most doubtful first, and a panel says whether they are like the data of the map.
    color_by : str
        What colors the points: a column of `space.table()`, such as `"iou"`, `"cluster"` or one of the data set's own;
        or `"suspicion"`, how likely each truth is wrong by `space.suspects()`, found in the background.
    background : {"expected_iou", "none"}
        What lies behind them.
    color_as : {"auto", "scale", "categories"}
        How a column of whole numbers or dates colors the points; others can be shown in one way only.

    Attributes
    ----------
    space : LatentSpace
        A snapshot of the space that was given, with the clusters on screen. What is done to the one does not change the
        other.
    selected : tuple of int
        Positions of the items in the active selection; assigning it selects, on screen too.
    color_by, background, color_as
        Traits as above.
    search : str
        Where the points are colored by a column of many different texts: those that hold this are found. It is empty
        again when another column colors them.
    mode : {"replace", "add", "subtract"}
        What the next lasso does to the active selection.
    active : int or None
        Position of the active selection in `selections`.
    highlighted : int or None
        The item whose point and card are highlighted.
    marked : tuple of int
        Positions of the items whose truth was marked as wrong, by a key or a button; assigning it marks these alone.
    suspects : pandas.DataFrame or None
        What `space.suspects()` says of all items, once the column or the gallery's order by it was asked for.
    failures : Failures or None
        What `space.failures()` found, once it was asked for, on screen or by `find_failures`.
    error : str
        What went wrong with clusters, suspects, failures or an explanation, empty otherwise.
    estimates : Estimates or None
        What is expected of the new data; None before it is known, and without new data.
    new_selected : tuple of int
        Positions of the selected new items, by a lasso or to be labeled first; assigning it selects. The gallery shows
        them, and all new items where none is selected.
    new_highlighted : int or None
        The new item whose point and card are highlighted.
    new_status : {"idle", "running", "done", "cancelled", "error"}
        Of the estimates; "idle" without new data.
    new_error : str
        Why there are no estimates, empty otherwise.
    points : {"both", "map", "new"}
        Whose points are drawn, and selected by a lasso.
    gallery : {"map", "new"}
        Whose items the gallery shows.

    Notes
    -----
    When the cell that made an explorer runs again, the explorer is closed, unless a variable of the notebook still
    leads to it.

    Examples
    --------
    >>> import hdm_widgets as hw
    >>> model, scenes = hw.demo.aerial(60)
    >>> explorer = hw.LatentExplorer(hw.LatentSpace(model).fit(scenes, progress=False))
    >>> explorer.select([3, 1, 4], name="three of them").statistics.count
    3
    >>> explorer.selected
    (1, 3, 4)
    >>> explorer.close()
    """

    selected = Items(())
    color_by = traitlets.Unicode("iou")
    background = traitlets.Unicode("expected_iou")
    color_as = traitlets.Unicode("auto")
    search = traitlets.Unicode("")
    mode: Any = traitlets.Unicode("replace")
    active = traitlets.Int(None, allow_none=True)
    highlighted = traitlets.Int(None, allow_none=True)
    error = traitlets.Unicode("")

    @advise_on_keywords
    def __init__(
        self,
        space: LatentSpace,
        *others: Never,
        new: Estimates | Dataset | Tensor | NDArray[Any] | Sequence[Any] | None = None,
        color_by: str = "iou",
        background: str = "expected_iou",
        color_as: str = "auto",
    ) -> None:
        if not isinstance(space, LatentSpace):
            raise TypeError(
                f"expected a LatentSpace, got {type(space).__name__}; "
                "write LatentExplorer(LatentSpace(model).fit(dataset))"
            )
        if others:
            raise TypeError(
                f"expected one LatentSpace and keywords, got {type(others[0]).__name__} beside it; "
                "a data set is given to LatentSpace.fit"
            )
        if not hasattr(space, "embedding_"):
            raise ValueError("the space is not fitted yet; call space.fit(dataset) first")
        space = space.snapshot()
        self._lock = threading.RLock()
        self._publishing = False
        self._pending: dict[str, Any] | None = None
        self._space = space
        self._history = SelectionHistory(space)
        columns = usable_columns(space)
        self._columns = list(columns)
        check_choice("color_by", color_by, self._columns)
        check_choice("background", background, _BACKGROUNDS)
        check_choice("color_as", color_as, _COLOR_CHOICES)
        self._prepare_new(new)
        self._prepare_checks(space)
        self._prepare_groups(space)

        rows = drawn_rows(len(space), space.random_state)
        self._scatter = ScatterFigure(space, rows)
        self._toolbar = Toolbar(
            colors=[[name, column.title] for name, column in columns.items()],
            backgrounds=[[name, text] for name, text in _BACKGROUNDS.items()],
            count=len(space),
        )
        self._legend = Legend(
            surface=surface_message(space),
            sample={"drawn": len(rows), "total": len(space)},
            _points=self._scatter.points_message,
        )
        self._gallery = Gallery(space)
        self._table = ClusterTable(space)
        self._explanation = Explanation(space)
        left = ipywidgets.VBox([self._scatter.figure, self._legend])
        right = ipywidgets.VBox([self._gallery])
        main = ipywidgets.Box([left, right])
        for box, name in ((left, "plot"), (right, "side"), (main, "main")):
            box.add_class(f"hdm-latent-{name}")
        self._boxes = (left, right, main)
        panels = [] if self._panel is None else [self._panel]
        super().__init__(children=[self._toolbar, *panels, main, self._table, self._explanation.box])
        self.add_class("hdm-latent")

        self.color_by, self.background, self.color_as = color_by, background, color_as
        self._connect()
        self._answer_requests()
        if color_by == SUSPICION:
            self._suspects.start()
        self._recolor()
        self._scatter.show_surface(background != "none")
        self._publish()
        self._begin(self._toolbar)
        self._table.start()
        self._begin_new()

    # -- for users ------------------------------------------------------------------------------

    @property
    def space(self) -> LatentSpace:
        """A snapshot of the space that was given, with the clusters on screen."""
        return self._space.snapshot()

    @property
    def selections(self) -> tuple[Selection, ...]:
        """All selections on screen."""
        return self._history.selections

    @property
    def selection(self) -> pandas.DataFrame:
        """The active selection's items, one row each with everything known of them."""
        return self._space.select(self.selected).frame()

    @property
    def ring(self) -> int | None:
        """Deprecated: the former name of `highlighted`."""
        warnings.warn("ring is called highlighted now", DeprecationWarning, stacklevel=2)
        highlighted: int | None = self.highlighted
        return highlighted

    @ring.setter
    def ring(self, item: int | None) -> None:
        # Reached through `Explorer.__setattr__`, which is one call more.
        warnings.warn("ring is called highlighted now", DeprecationWarning, stacklevel=3)
        self.highlighted = item

    def select(self, indices: Any, name: str | None = None, color: str | None = None) -> Selection:
        """Select items: a new selection, or in place of the one with the same name.

        Parameters
        ----------
        indices : array_like
            Whole numbers, positions in the space; or bool, one per item.
        name : str, optional
            By default the next letter.
        color : str, optional
            `#rrggbb`; by default one that no other selection has.

        Returns
        -------
        Selection
        """
        self._check_open()
        with self._change():
            made = self._history.put(indices, name, color)
            self.gallery = "map"
        return made

    def undo(self) -> bool:
        """Undo the last change of the selections; False if there is none."""
        self._check_open()
        with self._change():
            return self._history.undo()

    def clear(self) -> None:
        """Clear all selections."""
        self._check_open()
        with self._change():
            self._history.clear()

    def cluster(self, n_clusters: int | None = None) -> None:
        """Cluster the items anew, in the background; without a number, the best clustering found.

        See `LatentSpace.cluster`; `wait` waits for it.
        """
        self._check_open()
        self._table.find(n_clusters)

    def explain(self, index: int) -> HDMExplorer:
        """Open an HDMExplorer on an item's image, below the table.

        Parameters
        ----------
        index : int
            Position in the space.
        """
        self._check_open()
        return self._explanation.open(index)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for all that is found in the background; False if it takes longer than `timeout` seconds.

        That is clusters, estimates, suspects and failures, as far as they are sought. Observers of the explorer's
        traits may wait, too; one that is called in the background, while something of these is shown, does not wait
        for that.
        """
        self._check_open()
        end = None if timeout is None else time.monotonic() + timeout
        waits = (self._table.wait, self._wait_new, self._suspects.wait, self._failures.wait)
        # Observers are called with the lock, which the work in the background needs to show what it has found.
        with released(self._lock):
            # All are waited for, as what is paused goes on then.
            ended = [wait(None if end is None else max(0.0, end - time.monotonic())) for wait in waits]
        return all(ended)

    def _pause(self) -> None:
        self._table.pause()
        self._pause_new()

    def _resume(self) -> None:
        self._table.resume()
        self._resume_new()

    def _end(self) -> None:
        self._end_new()
        self._end_checks()
        self._end_groups()
        for part in (self._toolbar, self._legend, self._gallery, self._table, self._explanation, self._scatter):
            part.close()
        close_all(*self._boxes)

    # -- traits -----------------------------------------------------------------------------------

    _check = traitlets.validate("selected", "color_by", "background", "color_as", "mode", "active", "highlighted")(
        Explorer._checked
    )

    def _valid_selected(self, value: Any) -> tuple[int, ...]:
        return tuple(check_indices(value, len(self._space)).tolist())

    def _valid_color_by(self, value: str) -> str:
        return str(check_choice("color_by", value, self._columns))

    def _valid_background(self, value: str) -> str:
        return str(check_choice("background", value, _BACKGROUNDS))

    def _valid_color_as(self, value: str) -> str:
        return str(check_choice("color_as", value, _COLOR_CHOICES))

    def _valid_mode(self, value: str) -> str:
        return str(check_choice("mode", value, MODES))

    def _valid_active(self, value: int | None) -> int | None:
        if value is not None and not 0 <= value < len(self.selections):
            raise ValueError(f"active must be None or below {len(self.selections)}, got {value}")
        return value

    def _valid_highlighted(self, value: int | None) -> int | None:
        if value is not None and not 0 <= value < len(self._space):
            raise ValueError(f"highlighted must be None or 0 to {len(self._space) - 1}, got {value}")
        return value

    def _connect(self) -> None:
        self._links = [
            traitlets.link((self, "mode"), (self._toolbar, "mode")),
            traitlets.link((self, "mode"), (self._legend, "mode")),
            traitlets.link((self, "color_by"), (self._toolbar, "color_by")),
            traitlets.link((self, "color_as"), (self._toolbar, "color_as")),
            traitlets.link((self, "search"), (self._legend, "search")),
            traitlets.link((self, "background"), (self._toolbar, "background")),
            traitlets.link((self, "background"), (self._legend, "background")),
            traitlets.dlink((self._table, "error"), (self, "error")),
        ]
        self.observe(lambda change: self._scatter.show_surface(change["new"] != "none"), names=["background"])
        self.observe(self._highlight, names=["highlighted", "new_highlighted"])
        self._gallery.observe(lambda change: self._highlight_any(change["new"]), names=["highlighted"])
        self.observe(self._selected_from_python, names=["selected"])
        self.observe(self._activated_from_python, names=["active"])
        self._scatter.on_lasso(self._lassoed)
        self._connect_checks()
        self._connect_groups()

    def _answer_requests(self) -> None:
        history = self._history
        changes: dict[str, Callable[[dict[str, Any]], Any]] = {
            "activate": lambda asked: history.activate(asked["position"]),
            "begin": lambda _: history.begin(),
            "remove": lambda asked: history.remove(asked["position"]),
            "rename": lambda asked: history.rename(asked["position"], asked["name"]),
            "combine": lambda asked: history.combine(asked["position"], asked["how"]),
        }
        for name, change in changes.items():
            self._gallery.on_request(name, partial(self._changed_by, change))
        self._gallery.on_request("explain", self._explain_asked)
        self._gallery.on_changed(self._say)
        self._toolbar.on_request("export", lambda _: self._export())
        self._legend.on_request("gesture", self._gesture)
        self._legend.on_request("thumbnail", self._thumbnail)
        self._legend.on_request("begin", partial(self._changed_by, changes["begin"]))
        # Keys on the figure do what the toolbar's buttons do.
        for part in (self._toolbar, self._legend):
            part.on_request("undo", lambda _: self._say("" if self.undo() else "There is nothing to undo."))
            part.on_request("clear", lambda _: self.clear())

    def _selected_from_python(self, change: Any) -> None:
        if self._publishing:
            return
        with self._change():
            if self._history.current is None:
                self._history.put(change["new"])
            else:
                self._history.gesture(change["new"], "replace")
            self.gallery = "map"

    def _activated_from_python(self, change: Any) -> None:
        if not self._publishing:
            with self._change():
                self._history.activate(change["new"])
                self.gallery = "map"

    # -- selections -------------------------------------------------------------------------------

    def _changed_by(self, change: Callable[[dict[str, Any]], Any], asked: dict[str, Any]) -> None:
        with self._change():
            change(asked)

    def _publish(self) -> None:
        if self._ended:
            return
        history = self._history
        self._publishing = True
        try:
            # Observers are called when both have changed.
            with self.hold_trait_notifications():
                self.selected = () if history.current is None else tuple(history.current.indices.tolist())
                self.active = history.active
                self.new_selected = history.new
        finally:
            self._publishing = False
        with self._gallery.hold_sync():
            self._gallery.selections = [selection_row(one) for one in history.selections]
            self._gallery.active = history.active
            self._show_gallery()
        self._scatter.mark_new(np.array(history.new, np.int64))
        self._scatter.outline(history.selections, history.active)
        self._legend.names = self._scatter.names
        self._toolbar.can_undo = history.can_undo
        self._mark_groups()
        self._say("")

    def _explain_asked(self, asked: dict[str, Any]) -> None:
        self.error = ""
        try:
            self._explain_any(int(asked["item"]))
        except Exception as error:
            self.error = str(error) or type(error).__name__
            raise

    def _display_(self) -> HTML:
        """What marimo shows, which has no ipywidgets but anywidgets."""
        return HTML(NOT_IN_MARIMO)  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return "LatentExplorer(closed)" if self._ended else f"LatentExplorer({self._space!r})"
