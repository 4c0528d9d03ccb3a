"""A latent space with a lasso: the latent explorer."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
import traitlets
from numpy.typing import NDArray

from hdm_widgets._validation import advise_on_keywords, check_choice
from hdm_widgets.latent.selection import Selection, check_indices
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.hdm.explorer import HDMExplorer
from hdm_widgets.widgets.latent.cluster_table import ClusterTable
from hdm_widgets.widgets.latent.explanation import Explanation
from hdm_widgets.widgets.latent.gallery import Gallery, selection_row
from hdm_widgets.widgets.latent.messages import item_facts, map_colors, surface_message, usable_columns
from hdm_widgets.widgets.latent.palette import title
from hdm_widgets.widgets.latent.scatter import MOST_POINTS, ScatterFigure
from hdm_widgets.widgets.latent.selection_history import MODES, SelectionHistory
from hdm_widgets.widgets.shared.buffers import array_message, png
from hdm_widgets.widgets.shared.part import Legend, Toolbar
from hdm_widgets.widgets.shared.rerun import on_rerun

if TYPE_CHECKING:
    import pandas

__all__ = ["LatentExplorer"]

_CLUSTER_NAME = re.compile(r"cluster \d+")
_BACKGROUNDS = {"expected_iou": "Expected IoU", "none": "None"}


class _Items(traitlets.TraitType[Any, Any]):
    """Positions of items, in any form that `LatentSpace.select` takes."""

    info_text = "positions of items"


class LatentExplorer(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Explore what a segmentation model has learned: a map of a data set with a lasso.

    Displays itself as the last line of a cell. A lasso on the map selects items; the gallery beside it shows their
    pictures, true masks and predictions, and the table below the clusters of the whole data set.

    Parameters
    ----------
    space : LatentSpace
        Fitted, or loaded with `LatentSpace.load`; with its data set the gallery has full pictures, with its model
        too a picture can be explained by Hausdorff Distance Masks.
    color_by : str
        What colours the points: a column of `space.table()`, such as `"iou"`, `"cluster"` or one of the data set's own.
    background : {"expected_iou", "none"}
        What lies behind them.

    Attributes
    ----------
    selected : tuple of int
        Positions of the items in the active selection; assigning it selects, on screen too.
    color_by, background
        Traits as above.
    mode : {"replace", "add", "subtract"}
        What the next lasso does to the active selection.
    active : int or None
        Position of the active selection in `selections`.
    ring : int or None
        The item whose point has a ring.
    error : str
        What went wrong with clusters or an explanation, empty otherwise.

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

    _ended = True  # until __init__ has come to its end

    selected = _Items(())
    color_by = traitlets.Unicode("iou")
    background = traitlets.Unicode("expected_iou")
    mode: Any = traitlets.Unicode("replace")
    active = traitlets.Int(None, allow_none=True)
    ring = traitlets.Int(None, allow_none=True)
    error = traitlets.Unicode("")

    @advise_on_keywords
    def __init__(self, space: LatentSpace, *, color_by: str = "iou", background: str = "expected_iou") -> None:
        if not isinstance(space, LatentSpace):
            raise TypeError(f"expected a LatentSpace, got {type(space).__name__}; hw.LatentSpace(model).fit(dataset)")
        if not hasattr(space, "embedding_"):
            raise ValueError("the space is not fitted yet; call space.fit(dataset) first")
        self._lock = threading.RLock()
        self._publishing = False
        self._pending: dict[str, Any] | None = None
        self._space = space
        self._book = SelectionHistory(space)
        self._stop_watching: Callable[[], None] = _nothing
        self._columns = usable_columns(space)
        check_choice("color_by", color_by, self._columns)
        check_choice("background", background, _BACKGROUNDS)

        rows = np.arange(len(space))
        if len(rows) > MOST_POINTS:
            rows = np.sort(np.random.default_rng(space.random_state).choice(len(rows), MOST_POINTS, replace=False))
        self._scatter = ScatterFigure(space, rows)
        self._toolbar = Toolbar(
            colors=[[name, title(name)] for name in self._columns],
            backgrounds=[[name, text] for name, text in _BACKGROUNDS.items()],
            count=len(space),
        )
        self._legend = Legend(
            surface=surface_message(space),
            sample={"drawn": len(rows), "total": len(space)},
            _points={
                "places": array_message(space.embedding_[rows, :2].astype(np.float32)),
                "rows": array_message(rows.astype(np.int32)),
                "bounds": list(self._scatter.bounds),
            },
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
        super().__init__(children=[self._toolbar, main, self._table, self._explanation.box])
        self.add_class("hdm-latent")

        self._ended = False
        self.color_by, self.background = color_by, background
        self._connect()
        self._recolor()
        self._scatter.show_surface(background != "none")
        self._publish()
        self._stop_watching = on_rerun(self.close)
        self._table.start()

    # -- for users ------------------------------------------------------------------------------

    @property
    def space(self) -> LatentSpace:
        """The space that is explored."""
        return self._space

    @property
    def selections(self) -> tuple[Selection, ...]:
        """All selections on screen."""
        return self._book.selections

    @property
    def selection(self) -> pandas.DataFrame:
        """The active selection's items, one row each with everything known of them."""
        return self._space.select(self.selected).frame()

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
            return self._book.put(indices, name, color)

    def undo(self) -> bool:
        """Take back the last change of the selections; False if there is none."""
        self._check_open()
        with self._change():
            return self._book.undo()

    def clear(self) -> None:
        """Let all selections go."""
        self._check_open()
        with self._change():
            self._book.clear()

    def cluster(self, n_clusters: int | None = None) -> None:
        """Group the items anew, in the background; without a number, the best grouping found.

        See `LatentSpace.cluster`; `wait` waits for it.
        """
        self._check_open()
        self._table.find(n_clusters)

    def explain(self, index: int) -> HDMExplorer:
        """Open an HDMExplorer on an item's picture, below the table.

        Parameters
        ----------
        index : int
            Position in the space.
        """
        self._check_open()
        return self._explanation.open(index)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for clusters that are sought in the background; False if that takes longer than `timeout` seconds."""
        self._check_open()
        return self._table.wait(timeout)

    def close(self) -> None:
        """Stop what runs and remove all widgets."""
        if self._ended:
            return
        self._ended = True
        self._stop_watching()
        self.unobserve_all()
        for part in (self._toolbar, self._legend, self._gallery, self._table, self._explanation, self._scatter):
            part.close()
        for box in self._boxes:
            box.layout.close()
            box.close()
        self.layout.close()
        super().close()

    # -- traits -----------------------------------------------------------------------------------

    @traitlets.validate("selected", "color_by", "background", "mode", "active", "ring")
    def _valid(self, proposal: Any) -> Any:
        self._check_open()
        name, value = proposal["trait"].name, proposal["value"]
        try:
            return getattr(self, f"_valid_{name}")(value)
        except (ValueError, TypeError, IndexError) as error:
            raise traitlets.TraitError(str(error)) from None

    def _valid_selected(self, value: Any) -> tuple[int, ...]:
        return tuple(check_indices(value, len(self._space)).tolist())

    def _valid_color_by(self, value: str) -> str:
        return str(check_choice("color_by", value, self._columns))

    def _valid_background(self, value: str) -> str:
        return str(check_choice("background", value, _BACKGROUNDS))

    def _valid_mode(self, value: str) -> str:
        return str(check_choice("mode", value, MODES))

    def _valid_active(self, value: int | None) -> int | None:
        if value is not None and not 0 <= value < len(self.selections):
            raise ValueError(f"active must be None or below {len(self.selections)}, got {value}")
        return value

    def _valid_ring(self, value: int | None) -> int | None:
        if value is not None and not 0 <= value < len(self._space):
            raise ValueError(f"ring must be None or 0 to {len(self._space) - 1}, got {value}")
        return value

    def _connect(self) -> None:
        self._links = [
            traitlets.link((self, "mode"), (self._toolbar, "mode")),
            traitlets.link((self, "mode"), (self._legend, "mode")),
            traitlets.link((self, "color_by"), (self._toolbar, "color_by")),
            traitlets.link((self, "background"), (self._toolbar, "background")),
            traitlets.link((self, "background"), (self._legend, "background")),
            traitlets.link((self, "ring"), (self._gallery, "ring")),
            traitlets.dlink((self._table, "error"), (self, "error")),
        ]
        self.observe(lambda _: self._recolor(), names=["color_by"])
        self.observe(lambda change: self._scatter.show_surface(change["new"] != "none"), names=["background"])
        self.observe(lambda change: self._scatter.ring(change["new"]), names=["ring"])
        self.observe(self._selected_from_python, names=["selected"])
        self.observe(self._activated_from_python, names=["active"])
        self._gallery.observe(lambda _: self._show_gallery(), names=["sort"])
        self._scatter.on_lasso(self._lassoed)
        self._table.on_found(self._clustered)
        requests: dict[str, tuple[Any, Callable[[dict[str, Any]], Any]]] = {
            "undo": (self._toolbar, lambda _: self._say("" if self.undo() else "There is nothing to take back.")),
            "clear": (self._toolbar, lambda _: self.clear()),
            "export": (self._toolbar, lambda _: self._export()),
            "gesture": (self._legend, self._gesture),
            "thumbnail": (self._legend, self._thumbnail),
            "activate": (self._gallery, lambda asked: self._in_book(lambda: self._book.activate(asked["position"]))),
            "begin": (self._gallery, lambda _: self._in_book(self._book.begin)),
            "remove": (self._gallery, lambda asked: self._in_book(lambda: self._book.remove(asked["position"]))),
            "rename": (
                self._gallery,
                lambda asked: self._in_book(lambda: self._book.rename(asked["position"], asked["name"])),
            ),
            "combine": (
                self._gallery,
                lambda asked: self._in_book(lambda: self._book.combine(asked["position"], asked["how"])),
            ),
            "explain": (self._gallery, self._explain_asked),
            "choose": (self._table, lambda asked: self._choose_cluster(asked["label"])),
        }
        for name, (part, handler) in requests.items():
            part.on_request(name, handler)
        # Keys on the figure do what the toolbar's buttons do.
        for name in ("undo", "clear"):
            self._legend.on_request(name, requests[name][1])
        self._legend.on_request("begin", lambda _: self._in_book(self._book.begin))

    def _selected_from_python(self, change: Any) -> None:
        if self._publishing:
            return
        with self._change():
            if self._book.current is None:
                self._book.put(change["new"])
            else:
                self._book.gesture(change["new"], "replace")

    def _activated_from_python(self, change: Any) -> None:
        if not self._publishing:
            self._in_book(lambda: self._book.activate(change["new"]))

    # -- selections -------------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Change the selections, then show them everywhere."""
        with self._lock:
            yield
            self._publish()

    def _in_book(self, change: Callable[[], Any]) -> None:
        with self._change():
            change()

    def _publish(self) -> None:
        if self._ended:
            return
        book = self._book
        self._publishing = True
        try:
            # Whoever watches hears of both when both have changed.
            with self.hold_trait_notifications():
                self.selected = () if book.current is None else tuple(book.current.indices.tolist())
                self.active = book.active
        finally:
            self._publishing = False
        with self._gallery.hold_sync():
            self._gallery.selections = [selection_row(one) for one in book.selections]
            self._gallery.active = book.active
            self._show_gallery()
        self._scatter.outline(book.selections, book.active)
        self._legend.names = self._scatter.names
        self._toolbar.can_undo = book.can_undo
        self._mark_cluster()
        self._say("")

    def _mark_cluster(self) -> None:
        current = self._book.current
        self._table.mark(None if current is None else current.indices)

    def _show_gallery(self) -> None:
        current = self._book.current
        self._gallery.show(np.empty(0, np.int64) if current is None else current.indices)

    def _gesture(self, asked: dict[str, Any]) -> None:
        """What the pointer is about to do on the figure, told before bqplot tells of the lasso."""
        self._pending = asked

    def _lassoed(self, inside: NDArray[np.int64]) -> None:
        pending, self._pending = self._pending, None
        if pending is not None and pending.get("kind") == "click":
            item = pending.get("item")
            self.ring = None if item is None else int(item)
            return
        mode = (pending or {}).get("mode") or self.mode
        if not len(inside):
            self._say("There is no point inside this lasso; the selection is as before.")
            return
        self._apply(inside, mode)

    def _apply(self, indices: NDArray[np.int64], mode: Any, name: str | None = None) -> None:
        """Change the active selection; what cannot be done is told on the screen."""
        try:
            with self._change():
                self._book.gesture(indices, mode, name)
        except ValueError as error:
            self._say(f"{str(error)[0].upper()}{str(error)[1:]}.")

    def _say(self, notice: str) -> None:
        self._legend.notice = notice

    def _export(self) -> tuple[dict[str, Any], list[bytes]]:
        current = self._book.current
        if current is None or not len(current):
            raise ValueError("Nothing is selected: there is nothing to export.")
        name = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in current.name)
        return {"name": f"{name}.csv"}, [self.selection.to_csv().encode()]

    def _thumbnail(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        (index,) = check_indices([asked["item"]], len(self._space))
        picture = png(np.array(self._space.collection_.thumbnails[index]))
        return {"item": int(index), "facts": item_facts(self._space, index, self.color_by)}, [picture]

    def _explain_asked(self, asked: dict[str, Any]) -> None:
        self.error = ""
        try:
            self.explain(int(asked["item"]))
        except Exception as error:
            self.error = str(error) or type(error).__name__
            raise

    # -- colours ----------------------------------------------------------------------------------

    def _recolor(self) -> None:
        shown = map_colors(self._space, self.color_by)
        self._scatter.color(shown.coloring.colors)
        self._legend.legend = shown.coloring.legend
        self._gallery.caption(self.color_by, shown.captions)
        self._show_gallery()

    # -- clusters ---------------------------------------------------------------------------------

    def _clustered(self) -> None:
        """Clusters have been found."""
        with self._lock:
            if self._ended:
                return
            if self.color_by == "cluster":
                self._recolor()
            self._mark_cluster()

    def _choose_cluster(self, label: int) -> None:
        members = self._table.members(label)
        name = f"cluster {label}"
        current = self._book.current
        if self.mode == "replace" and current is not None and not _CLUSTER_NAME.fullmatch(current.name):
            self._in_book(lambda: self._book.put(members, name))
        else:
            self._apply(members, self.mode, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # A misspelt trait would be a new attribute that nobody looks at.
        if not (self._ended or name.startswith("_") or hasattr(self, name)):
            raise AttributeError(f"LatentExplorer has no {name!r} to set")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return "LatentExplorer(closed)" if self._ended else f"LatentExplorer({self._space!r})"

    def _check_open(self) -> None:
        if self._ended:
            raise RuntimeError("this explorer is closed; make a new LatentExplorer to go on")


def _nothing() -> None:
    """Nothing to stop."""
