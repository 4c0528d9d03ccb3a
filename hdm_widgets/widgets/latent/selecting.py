"""An explorer whose items are selected, by lasso, by list or from Python."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from hdm_widgets._validation import check_choice
from hdm_widgets.latent.csv_rows import CSV_ROWS, csv_parts
from hdm_widgets.latent.item_set import ItemSet
from hdm_widgets.latent.selection import Selection, items_of
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.latent.gallery import Gallery, selection_row
from hdm_widgets.widgets.latent.parts import Legend, Toolbar
from hdm_widgets.widgets.latent.selection_history import MODES, ItemsChange, Mode, SelectedItems, SelectionHistory
from hdm_widgets.widgets.shared.explorer import Explorer
from hdm_widgets.widgets.shared.jobs import LatestJob
from hdm_widgets.widgets.shared.part import Answer, Found

__all__ = ["Answer", "ExplorerWithSelections", "file_name"]

# A table of more rows is written in the background: this one takes a tenth of a second.
_ROWS_AT_ONCE = 20_000


class ExplorerWithSelections(Explorer):
    """The part of an explorer that selects and highlights items.

    A subclass calls `_prepare_selections` before there are widgets, and `_answer_selections` once it has its toolbar,
    legend and gallery.
    """

    selected: Any = SelectedItems(())
    mode: Any = traitlets.Unicode("replace")
    active: Any = traitlets.Int(None, allow_none=True)
    highlighted: Any = traitlets.Int(None, allow_none=True)

    _space: LatentSpace
    _history: SelectionHistory
    _gallery: Gallery
    _legend: Legend
    _toolbar: Toolbar
    _lock: threading.RLock

    @property
    def selections(self) -> tuple[Selection, ...]:
        """All selections on screen."""
        return self._history.selections

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
            self._turn_to_map()
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

    # -- the parts --------------------------------------------------------------------------------

    def _prepare_selections(self, space: LatentSpace) -> None:
        self._lock = threading.RLock()
        self._publishing = False
        self._pending: dict[str, Any] | None = None
        self._space = space
        self._history = SelectionHistory(space)
        self._exporting = LatestJob("export")

    def _answer_selections(self) -> None:
        """Do what toolbar, legend and gallery ask for, and follow what is selected from Python."""
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
        self._gallery.on_changed(self._say)
        self._gallery.observe(lambda change: self._highlight_any(change["new"]), names=["highlighted"])
        self._gallery.observe(lambda _: self._sorted_by_another(), names=["sort"])
        self._toolbar.on_request("export", lambda _: self._export())
        self._legend.on_request("gesture", self._gesture)
        self._legend.on_request("thumbnail", self._thumbnail)
        self._legend.on_request("begin", partial(self._changed_by, changes["begin"]))
        # Keys on the figure do what the toolbar's buttons do.
        for part in (self._toolbar, self._legend):
            part.on_request("undo", lambda _: self._say("" if self.undo() else "There is nothing to undo."))
            part.on_request("clear", lambda _: self.clear())
        self._mode_links = [traitlets.link((self, "mode"), (part, "mode")) for part in (self._toolbar, self._legend)]
        self.observe(self._selected_from_python, names=["selected"])
        self.observe(self._activated_from_python, names=["active"])

    def _selected_from_python(self, _: Any) -> None:
        if self._publishing:
            return
        with self._change():
            chosen = self._trait_values["selected"]
            if self._history.current is None:
                self._history.put(chosen)
            else:
                self._history.gesture(chosen, "replace")
            self._turn_to_map()

    def _activated_from_python(self, change: Any) -> None:
        if not self._publishing:
            with self._change():
                self._history.activate(change["new"])
                self._turn_to_map()

    # -- changes ----------------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Change the selections, then show them everywhere."""
        with self._lock:
            yield
            self._publish()

    def _changed_by(self, change: Callable[[dict[str, Any]], Any], asked: dict[str, Any]) -> None:
        with self._change():
            change(asked)

    def _combine(self, indices: NDArray[np.int64], mode: Mode, name: str | None = None) -> None:
        """Change the active selection; an error is shown on the screen."""
        try:
            with self._change():
                self._history.gesture(indices, mode, name)
        except ValueError as error:
            self._say(f"{str(error)[0].upper()}{str(error)[1:]}.")

    def _choose(self, indices: NDArray[np.int64], name: str, is_chosen: Callable[[str], object]) -> None:
        """Select what was clicked in a list; it replaces what was chosen there before, and no other selection."""
        current = self._history.current
        if self.mode == "replace" and current is not None and not is_chosen(current.name):
            with self._change():
                self._history.put(indices, name)
        else:
            self._combine(indices, self.mode, name)
        self._turn_to_map()

    def _publish(self) -> None:
        """Show the selections everywhere."""
        if self._ended:
            return
        history = self._history
        self._publishing = True
        try:
            # Observers are called when all have changed. The selected items are set without a hold, which would list
            # their positions.
            before = self._trait_values.get("selected")
            none = ItemSet.from_indices(np.empty(0, np.int64), len(self._space))
            chosen = none if history.current is None else history.current.items
            self._trait_values["selected"] = chosen
            with self.hold_trait_notifications():
                self.active = history.active
                self._publish_more()
            if chosen != (before or none):
                self._notify_trait("selected", before or none, chosen)
        finally:
            self._publishing = False
        with self._gallery.hold_sync():
            self._gallery.selections = [self._selection_row(one) for one in history.selections]
            self._gallery.active = history.active
            self._show_gallery()
        self._draw_selections()
        self._toolbar.can_undo = history.can_undo
        self._say("")

    def _publish_more(self) -> None:
        """Set further traits together with those of the selections."""

    def _selection_row(self, selection: Selection) -> dict[str, Any]:
        return selection_row(selection)

    def _show_gallery(self) -> None:
        """Show the images of the active selection."""
        current = self._history.current
        self._gallery.show(np.empty(0, np.int64) if current is None else current.indices)

    def _sorted_by_another(self) -> None:
        self._show_gallery()

    def _say(self, notice: str) -> None:
        self._legend.notice = notice

    # -- files ------------------------------------------------------------------------------------

    def _table_file(self, name: str, columns: dict[str, NDArray[Any]], index: NDArray[np.int64]) -> Answer:
        """A file of the rows of some items; that of very many is written in the background.

        Parameters
        ----------
        name : str
            Of the file, without a suffix.
        columns : dict of numpy.ndarray (n,)
            The rows.
        index : numpy.ndarray, int64 (n,)
            Positions of the items.
        """
        about = {"name": f"{file_name(name)}.csv"}
        parts = csv_parts(columns, index)
        if len(index) <= _ROWS_AT_ONCE:
            return about, ["".join(parts).encode()]
        if not self._exporting.wait(0):
            raise ValueError("A table is being written already.")
        answer: Future[Found] = Future()

        def write(stop: threading.Event) -> None:
            try:
                file = bytearray()
                for done, part in enumerate(parts):
                    if stop.is_set():
                        raise RuntimeError("the explorer was closed")
                    file += part.encode()
                    self._say(f"Writing a table of {len(index):,} rows: {min(done * CSV_ROWS / len(index), 1):.0%} …")
                self._say("")
                answer.set_result((about, [file]))
            except Exception as error:  # noqa: BLE001 - the reply
                answer.set_exception(error)

        self._exporting.submit(write)
        return answer

    # -- gestures on a figure ---------------------------------------------------------------------

    def _gesture(self, asked: dict[str, Any]) -> None:
        """Note what the pointer is about to do on a figure; bqplot reports the lasso after this."""
        self._pending = asked

    def _lassoed(self, inside: NDArray[np.int64]) -> None:
        pending, self._pending = self._pending, None
        if pending is not None and pending.get("kind") == "click":
            item = pending.get("item")
            self._highlight_any(None if item is None else int(item))
            return
        mode = (pending or {}).get("mode") or self.mode
        if not len(inside):
            self._say("There is no point inside this lasso; the selection is as before.")
            return
        self._combine_all(inside, mode)

    def _combine_all(self, items: NDArray[np.int64], mode: Mode) -> None:
        """Change what is selected by what is in a lasso."""
        self._combine(items, mode)

    def _highlight_any(self, item: int | None) -> None:
        self.highlighted = item

    # -- what differs -----------------------------------------------------------------------------

    @abstractmethod
    def _draw_selections(self) -> None:
        """Draw the selections on the figure, with their names."""

    @abstractmethod
    def _turn_to_map(self) -> None:
        """Show what is selected on the map, where other items may be shown."""

    @abstractmethod
    def _export(self) -> Answer:
        """A name and a table of the selected items."""

    @abstractmethod
    def _thumbnail(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """A small picture of an item, with what is known of it."""

    # -- traits -----------------------------------------------------------------------------------

    _check_selections = traitlets.validate("selected", "mode", "active", "highlighted")(Explorer._checked)

    def _valid_selected(self, value: Any) -> ItemSet:
        return items_of(value, len(self._space))

    def notify_change(self, change: Any) -> None:
        """Tell observers of a trait that it has changed."""
        super().notify_change(ItemsChange(change) if change["name"] == "selected" else change)

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


def file_name(name: str) -> str:
    """A selection's name as that of a file, without a suffix."""
    return "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in name)
