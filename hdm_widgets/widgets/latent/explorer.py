"""A latent space with a lasso: the latent explorer."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Never

import ipywidgets
import traitlets
from IPython.display import HTML
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._validation import advise_on_keywords, check_choice
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.latent.titles import title
from hdm_widgets.widgets.hdm.explorer import HDMExplorer
from hdm_widgets.widgets.latent.aggregates import figure_of
from hdm_widgets.widgets.latent.cluster_table import ClusterTable
from hdm_widgets.widgets.latent.columns import usable_columns
from hdm_widgets.widgets.latent.explanation import Explanation
from hdm_widgets.widgets.latent.gallery import Gallery
from hdm_widgets.widgets.latent.messages import NOT_IN_MARIMO, surface_message
from hdm_widgets.widgets.latent.parts import Legend, Toolbar
from hdm_widgets.widgets.latent.selection_scans import ExplorerWithSelectionScans
from hdm_widgets.widgets.latent.suspicion import SUSPICION
from hdm_widgets.widgets.shared.explorer import Explorer, close_all
from hdm_widgets.widgets.shared.jobs import released

if TYPE_CHECKING:
    import pandas

    from hdm_widgets._datasets import Dataset
    from hdm_widgets.latent.estimates import Estimates

__all__ = ["LatentExplorer"]

_BACKGROUNDS = {"expected_iou": title("expected_iou"), "none": "None"}
_COLOR_CHOICES = ("auto", "scale", "categories")


class LatentExplorer(ExplorerWithSelectionScans, ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
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
    collection : hdm.HDMCollection or None
        What `explain_selection` found, as far as it came: a result for each image of the sample.
    scan_status : {"idle", "running", "done", "cancelled", "error"}
        Of `explain_selection`.
    scan_error : str
        Why a selection could not be explained, empty otherwise.
    error : str
        What went wrong last with clusters, suspects, failures or an explanation; empty once each has succeeded since.
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

    color_by = traitlets.Unicode("iou")
    background = traitlets.Unicode("expected_iou")
    color_as = traitlets.Unicode("auto")
    search = traitlets.Unicode("")

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
        self._prepare_selections(space)
        columns = usable_columns(space)
        self._columns = list(columns)
        check_choice("color_by", color_by, self._columns)
        check_choice("background", background, _BACKGROUNDS)
        check_choice("color_as", color_as, _COLOR_CHOICES)
        self._prepare_new(new)
        self._prepare_checks(space)
        self._prepare_groups(space)
        self._prepare_scans(space)

        self._scatter = figure_of(space, 0 if self._given is None else len(self._given))
        self._figures = (self._scatter,)
        self._toolbar = Toolbar(
            colors=[[name, column.title] for name, column in columns.items()],
            backgrounds=[[name, text] for name, text in _BACKGROUNDS.items()],
            count=len(space),
        )
        self._legend = Legend(
            surface=surface_message(space),
            total=len(space),
            _points=self._points_message(),
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
        scans = [] if self._scans is None else [self._scans]
        super().__init__(children=[self._toolbar, *panels, main, self._table, *scans, self._explanation.box])
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
    def selection(self) -> pandas.DataFrame:
        """The active selection's items, one row each with everything known of them."""
        return self._space.select(self._trait_values["selected"]).frame()

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

        That is clusters, estimates, suspects, failures and scans of a selection, as far as they are sought. Observers
        of the explorer's traits may wait, too; one that is called in the background, while something of these is shown,
        does not wait for that. What failed has ended, too: `new_error` says why new data could not be estimated.
        """
        self._check_open()
        end = None if timeout is None else time.monotonic() + timeout
        waits = (self._table.wait, self._wait_new, self._suspects.wait, self._failures.wait, self._scanning.wait)
        # Observers are called with the lock, which the work in the background needs to show what it has found.
        with released(self._lock):
            # All are waited for, as what is paused goes on then.
            ended = [
                wait(None if end is None else max(0.0, end - time.monotonic()))
                for wait in (*waits, self._exporting.wait)
            ]
        return all(ended)

    def _pause(self) -> None:
        self._table.pause()
        self._pause_new()

    def _seen(self) -> None:
        super()._seen()
        with self._lock:
            # Not the map: there may be millions of points.
            for part in (self._toolbar, self._gallery, self._table, self._panel, self._scans):
                if part is not None:
                    part.repeat()

    def _resume(self) -> None:
        self._table.resume()
        self._resume_new()

    def _end(self) -> None:
        self._exporting.close()
        self._end_new()
        self._end_checks()
        self._end_groups()
        self._end_scans()
        for part in (self._toolbar, self._legend, self._gallery, self._table, self._explanation, self._scatter):
            part.close()
        close_all(*self._boxes)

    # -- traits -----------------------------------------------------------------------------------

    _check = traitlets.validate("color_by", "background", "color_as")(Explorer._checked)

    def _valid_color_by(self, value: str) -> str:
        return str(check_choice("color_by", value, self._columns))

    def _valid_background(self, value: str) -> str:
        return str(check_choice("background", value, _BACKGROUNDS))

    def _valid_color_as(self, value: str) -> str:
        return str(check_choice("color_as", value, _COLOR_CHOICES))

    def _connect(self) -> None:
        self._links = [
            traitlets.link((self, "color_by"), (self._toolbar, "color_by")),
            traitlets.link((self, "color_as"), (self._toolbar, "color_as")),
            traitlets.link((self, "search"), (self._legend, "search")),
            traitlets.link((self, "background"), (self._toolbar, "background")),
            traitlets.link((self, "background"), (self._legend, "background")),
        ]
        self.observe(lambda change: self._scatter.show_surface(change["new"] != "none"), names=["background"])
        self._table.observe(lambda change: self._errors.tell("clusters", change["new"]), names=["error"])
        self.observe(self._highlight, names=["highlighted", "new_highlighted"])
        self._scatter.on_lasso(self._lassoed)
        self._connect_checks()
        self._connect_groups()
        self._connect_scans()

    def _answer_requests(self) -> None:
        self._answer_selections()
        self._gallery.on_request("explain", self._explain_asked)

    # -- selections -------------------------------------------------------------------------------

    def _draw_selections(self) -> None:
        super()._draw_selections()
        self._mark_groups()
        self._tell_selection()

    def _explain_asked(self, asked: dict[str, Any]) -> None:
        try:
            self._explain_any(int(asked["item"]))
        except Exception as error:
            self._errors.tell("explanation", str(error) or type(error).__name__)
            raise
        self._errors.tell("explanation", "")

    def _display_(self) -> HTML:
        """What marimo shows, which has no ipywidgets but anywidgets."""
        return HTML(NOT_IN_MARIMO)  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return "LatentExplorer(closed)" if self._ended else f"LatentExplorer({self._space!r})"
