"""New data on the map of a latent explorer: estimated in the background, lassoed, listed, and chosen to be labeled."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from hdm_widgets._validation import check_choice
from hdm_widgets._wire import png
from hdm_widgets.latent.estimates import Estimates
from hdm_widgets.latent.observations import new_items
from hdm_widgets.latent.selection import check_indices
from hdm_widgets.widgets.hdm.explorer import HDMExplorer
from hdm_widgets.widgets.latent.explanation import Explanation
from hdm_widgets.widgets.latent.messages import item_facts, new_message
from hdm_widgets.widgets.latent.new_items import NewItems
from hdm_widgets.widgets.latent.new_panel import NewDataPanel, findings
from hdm_widgets.widgets.latent.scatter import ScatterFigure
from hdm_widgets.widgets.latent.selecting import Answer, ExplorerWithSelections
from hdm_widgets.widgets.latent.selection_history import Items, Mode
from hdm_widgets.widgets.shared.explorer import Explorer
from hdm_widgets.widgets.shared.jobs import LatestJob

__all__ = ["ExplorerWithNewData"]

_POINTS = ("both", "map", "new")
_GALLERIES = ("map", "new")


class _StoppedError(Exception):
    """Ends a pass over new data that nobody waits for any more."""


class ExplorerWithNewData(ExplorerWithSelections):
    """The part of a latent explorer that shows new data."""

    new_selected: Any = Items(())
    new_highlighted = traitlets.Int(None, allow_none=True)
    new_status = traitlets.Unicode("idle")
    new_error = traitlets.Unicode("")
    points = traitlets.Unicode("both")
    gallery = traitlets.Unicode("map")

    _scatter: ScatterFigure
    _explanation: Explanation
    _panel: NewDataPanel | None = None
    _new: NewItems | None = None
    _scores: NDArray[np.float64] | None = None  # how likely each truth of the map is wrong, where it is known
    color_by: str

    @property
    def estimates(self) -> Estimates | None:
        """What is expected of the new data; None before it is known, and without new data."""
        return None if self._new is None else self._new.estimates

    def cancel(self) -> None:
        """Stop running the model on the new data."""
        self._check_open()
        self._stop_estimating()

    def explain_new(self, index: int) -> HDMExplorer:
        """Open an HDMExplorer on a new item's image, below the table.

        Distances are those to the item's true mask, or to the model's own mask of the plain image if it has none.

        Parameters
        ----------
        index : int
            Position among the new items.

        Raises
        ------
        ValueError
            If there are no new items yet, their images are not at hand, or the space has no model.
        """
        self._check_open()
        new = self._new
        if new is None:
            raise ValueError(self._why_no_new())
        check_indices([index], len(new))
        return self._explanation.open_new(new, index)

    def _why_no_new(self) -> str:
        """Why there are no new items to explain."""
        if self._panel is None:
            return "there are no new items to explain"
        if self.new_status == "error":
            return f"the new data has no estimates: {self.new_error}"
        if self.new_status == "running":
            return "the model is still running on the new data; wait() waits for its end"
        return "running the model on the new data was stopped: there are no new items to explain"

    # -- finding the estimates --------------------------------------------------------------------

    def _prepare_new(self, new: Any) -> None:
        """Check new data, and make what they need, before there is anything else of the explorer."""
        self._estimating = LatestJob("estimates")
        self._paused_estimating = False
        self._given: Any = None
        if new is None:
            return
        # What cannot be shown is an error here, not on the screen, and before there are widgets to close.
        if isinstance(new, Estimates):
            self._given = NewItems.of(self._space, new)
        else:
            self._space.needed_segmenter()
            new_items(new, self._space.collection_.image_shape[0])
            self._given = new
        self._panel = NewDataPanel()

    def _begin_new(self) -> None:
        """Show estimates that are given; find them in the background for other data."""
        panel = self._panel
        if panel is None:
            return
        panel.on_request("cancel", lambda _: self._stop_estimating())
        for part in (panel, self._gallery):
            part.on_request("start", lambda _: self._start_estimating())
        # Both say how far it is by this one status.
        traitlets.dlink((self, "new_status"), (panel, "state"))
        traitlets.dlink((self, "new_error"), (panel, "error"))
        traitlets.dlink((self, "new_status"), (self._gallery, "new_status"))
        panel.on_request("label", lambda asked: self._choose_to_label(asked["count"]))
        panel.on_request("export", lambda _: self._export_new())
        self._gallery.on_request("all", lambda _: self._select_new((), "replace"))
        if isinstance(self._given, NewItems):
            self._show_new(self._given)
        else:
            self._start_estimating()

    def _start_estimating(self) -> None:
        panel = self._panel
        with self._lock:
            if panel is None or self._new is not None:
                return
            self._paused_estimating = False
            panel.done, panel.total = 0, len(self._given)
            # With the lock, so that nobody cancels between the run and its status, and the run ends after both.
            self._estimating.submit(self._estimate)
            self.new_error, self.new_status = "", "running"

    def _stop_estimating(self) -> None:
        with self._lock:
            self._paused_estimating = False
            self._estimating.cancel()
            # What has been found is being shown, and will be.
            if self.new_status == "running" and self._new is None:
                self.new_status = "cancelled"

    def _estimate(self, stop: threading.Event) -> None:
        panel = self._panel
        if panel is None:
            return

        def tell(done: int, total: int) -> None:
            if stop.is_set():
                raise _StoppedError
            panel.done, panel.total = done, total

        try:
            new = NewItems.of(self._space, self._space.estimate(self._given, progress=tell))
            with self._lock:
                if not stop.is_set():
                    self._show_new(new)
        except _StoppedError:
            return
        except Exception as error:  # noqa: BLE001 - shown in the widget
            with self._lock:
                if not stop.is_set():
                    self.new_error = str(error) or type(error).__name__
                    self.new_status = "error"

    def _pause_new(self) -> None:
        with self._lock:
            running = self.new_status == "running"
            self._paused_estimating = self._paused_estimating or (running and self._estimating.pause())

    def _resume_new(self) -> None:
        if self._paused_estimating:
            self._start_estimating()

    def _wait_new(self, timeout: float | None) -> bool:
        self._resume_new()
        return self._estimating.wait(timeout)

    def _end_new(self) -> None:
        self._estimating.close()
        if self._panel is not None:
            self._panel.close()
        self._given = None

    # -- showing them -----------------------------------------------------------------------------

    def _show_new(self, new: NewItems) -> None:
        panel = self._panel
        if panel is None or self._ended:
            return
        outside = self._scatter.show_new(new.estimates.embedding, new.coloring)
        self._new = new
        self._gallery.add(new)
        self._toolbar.has_new = True
        self._legend.new = new_message(new, outside)
        self._connect_new()
        panel.findings = findings(new)
        self._show_points()
        self._draw_on_figures()
        self.gallery = "new"
        self.new_status = "done"

    def _connect_new(self) -> None:
        self._new_links = [
            traitlets.link((self, "points"), (self._toolbar, "points")),
        ]
        self.observe(lambda _: self._show_points(), names=["points"])
        self.observe(lambda _: self._turn_gallery(), names=["gallery"])
        self.observe(self._new_selected_from_python, names=["new_selected"])
        self._gallery.on_request("turn", lambda asked: setattr(self, "gallery", asked["source"]))

    def _new_selected_from_python(self, change: Any) -> None:
        if tuple(change["new"]) != self._history.new:
            self.gallery = "new"
            self._select_new(change["new"], "replace")

    def _show_points(self) -> None:
        self._scatter.show_points(self.points != "new", self.points != "map")
        self._legend._points = self._points_message()
        self._tell_view()
        if self.points != "both":
            self.gallery = self.points

    def _turn_gallery(self) -> None:
        with self._gallery.hold_sync():
            self._gallery.turn_to(self.gallery)
            self._show_gallery()

    def _show_gallery(self) -> None:
        """Show the items of the active selection; of new data, those that are selected, or all where none is."""
        if self.gallery == "new" and self._new is not None:
            chosen = np.array(self._history.new, np.int64)
            self._gallery.show(chosen if len(chosen) else np.arange(len(self._new)))
            return
        super()._show_gallery()

    def _turn_to_map(self) -> None:
        self.gallery = "map"

    def _publish_more(self) -> None:
        self.new_selected = self._history.new

    def _draw_on_figures(self) -> None:
        self._scatter.mark_new(np.array(self._history.new, np.int64))
        super()._draw_on_figures()

    # -- items of the map and new ones, numbered after these --------------------------------------

    def _highlight(self, change: Any) -> None:
        """Highlight one item: an item of the map, or a new one."""
        if change["new"] is not None:
            setattr(self, "new_highlighted" if change["name"] == "highlighted" else "highlighted", None)
        item = self.highlighted if self.new_highlighted is None else len(self._space) + self.new_highlighted
        self._gallery.highlighted = item
        self._scatter.highlight(item)

    def _highlight_any(self, item: int | None) -> None:
        if item is None:
            self.highlighted = self.new_highlighted = None
        elif item < len(self._space):
            self.highlighted = item
        else:
            self.new_highlighted = item - len(self._space)

    def _combine_all(self, items: NDArray[np.int64], mode: Mode) -> None:
        """Change both selections by what is in a lasso; one that has nothing in it stays as it is."""
        of_map, new = items[items < len(self._space)], items[items >= len(self._space)] - len(self._space)
        with self._history.one_step():
            # Items of the map can be refused: they come last, so that the reason stays on screen.
            if len(new):
                self._select_new(tuple(new.tolist()), mode)
            if len(of_map):
                self._combine(of_map, mode)
        if self._new is not None and (len(of_map) == 0) != (len(new) == 0):
            self.gallery = "new" if len(new) else "map"

    # -- choosing among them ----------------------------------------------------------------------

    def _select_new(self, indices: Any, mode: Mode) -> None:
        if tuple(indices) != self._history.new or mode != "replace":
            with self._change():
                self._history.gesture_on_new(indices, mode)

    def _choose_to_label(self, count: int) -> None:
        if self._new is None:
            return
        self.gallery = "new"
        self._select_new(tuple(self._new.estimates.to_label(count).tolist()), "replace")

    def _explain_any(self, item: int) -> HDMExplorer:
        count = len(self._space)
        return self.explain(item) if self._new is None or item < count else self.explain_new(item - count)

    @abstractmethod
    def explain(self, index: int) -> HDMExplorer:
        """Explain an item of the map."""

    def _export(self) -> Answer:
        if self.gallery == "new":
            return self._export_new()
        current = self._history.current
        if current is None or not len(current):
            raise ValueError("Nothing is selected: there is nothing to export.")
        return self._table_file(current.name, self._space.select(current).rows(), current.indices)

    def _thumbnail(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        item, count = asked["item"], len(self._space)
        if self._new is not None and item >= count:
            return {"item": item, "facts": self._new.facts(item - count)}, [self._new.thumbnail(item - count)]
        (index,) = check_indices([item], count)
        thumbnail = png(np.array(self._space.collection_.thumbnails[index]))
        return {"item": index, "facts": item_facts(self._space, index, self.color_by, self._scores)}, [thumbnail]

    def _export_new(self) -> Answer:
        if self._new is None:
            raise ValueError("There are no estimates yet: there is nothing to export.")
        chosen = np.array(self._history.new, np.int64)
        items = chosen if len(chosen) else np.arange(len(self._new))
        return self._table_file("new_items", self._new.rows(items), items)

    # -- traits -----------------------------------------------------------------------------------

    _check_new = traitlets.validate("new_selected", "new_highlighted", "points", "gallery")(Explorer._checked)

    def _valid_new_selected(self, value: Any) -> tuple[int, ...]:
        if self._new is None:
            raise ValueError("there are no new items to select")
        return tuple(check_indices(value, len(self._new)).tolist())

    def _valid_new_highlighted(self, value: int | None) -> int | None:
        count = 0 if self._new is None else len(self._new)
        if value is not None and not 0 <= value < count:
            raise ValueError(f"new_highlighted must be None or the position of one of {count} new items, got {value}")
        return value

    def _valid_points(self, value: str) -> str:
        return self._checked_source("points", value, _POINTS)

    def _valid_gallery(self, value: str) -> str:
        return self._checked_source("gallery", value, _GALLERIES)

    def _checked_source(self, name: str, value: str, choices: tuple[str, ...]) -> str:
        check_choice(name, value, choices)
        if value == "new" and self._new is None:
            raise ValueError("there are no new items to show")
        return str(value)
