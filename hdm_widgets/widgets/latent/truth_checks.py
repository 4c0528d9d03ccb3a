"""Truths that may be wrong, in a latent explorer: how suspicious they are, and marks that people set."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets

from hdm_widgets._validation import check_choice
from hdm_widgets.latent.annotations import Format, export_marked
from hdm_widgets.latent.selection import Selection, check_indices
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.latent.gallery import SUSPICIOUS_FIRST
from hdm_widgets.widgets.latent.messages import map_colors
from hdm_widgets.widgets.latent.new_data import ExplorerWithNewData
from hdm_widgets.widgets.latent.selection_history import Items
from hdm_widgets.widgets.latent.suspicion import SUSPICION, Suspicion
from hdm_widgets.widgets.shared.explorer import ErrorsBySource, Explorer
from hdm_widgets.widgets.shared.on_demand import OnDemand

if TYPE_CHECKING:
    import pandas

__all__ = ["ExplorerWithTruthChecks"]

_FILE_NAMES: dict[Format, str] = {"csv": "marked.csv", "coco": "marked.json", "voc": "marked.zip"}


class ExplorerWithTruthChecks(ExplorerWithNewData):
    """The part of a latent explorer that is about truths that may be wrong, and that colors the map."""

    marked: Any = Items(())
    error = traitlets.Unicode("")
    color_as: str
    search: str
    _suspects: OnDemand[pandas.DataFrame]
    _suspicion: Suspicion | None = None

    @property
    def suspects(self) -> pandas.DataFrame | None:
        """What `LatentSpace.suspects` says of all items; None before it was asked for on screen, and without success.

        The column `"suspicion"` of `color_by` asks for it, and so does the gallery's order by it.
        """
        suspects = self._suspects.value
        return None if suspects is None else suspects.copy()

    def select_marked(self, name: str = "marked") -> Selection:
        """Select the items whose truth was marked as wrong.

        Parameters
        ----------
        name : str
            Name of the selection; one of the same name is replaced.

        Returns
        -------
        Selection
        """
        return self.select(self._needed_marks("select"), name)

    def export_marked(self, path: str | os.PathLike[str], format: Format = "csv") -> None:  # noqa: A002
        """Write the items whose truth was marked as wrong, to be labeled again.

        Parameters
        ----------
        path : str or os.PathLike
            The file; for ``"voc"`` a folder.
        format : {"csv", "coco", "voc"}
            See `hdm_widgets.export_marked`. What makes each truth suspicious is written too, if it was asked for on
            screen.

        Raises
        ------
        ValueError
            If no truth is marked, or there is no such format.
        """
        self._check_open()
        marked = self._needed_marks("export")
        reasons = {} if self._suspicion is None else {index: self._suspicion.reasons[index] for index in marked}
        export_marked(self._space, marked, path, format, reasons=reasons)

    def _needed_marks(self, what_for: str) -> tuple[int, ...]:
        marked: tuple[int, ...] = self.marked
        if not marked:
            raise ValueError(f"No truth is marked as wrong: there is nothing to {what_for}.")
        return marked

    # -- beginning and end ------------------------------------------------------------------------

    def _prepare_checks(self, space: LatentSpace) -> None:
        self._errors = ErrorsBySource(self._lock, lambda text: setattr(self, "error", text))
        self._suspects = OnDemand("suspects", space.suspects, self._suspects_ended)

    def _connect_checks(self) -> None:
        self.observe(self._recolor_by_another, names=["color_by"])
        self.observe(lambda _: self._recolor(), names=["color_as", "search"])
        self.observe(lambda change: self._show_marks(change["new"]), names=["marked"])
        self._gallery.on_request("mark", lambda asked: self._toggle_mark(asked["item"]))
        self._gallery.on_request("select_marked", lambda _: self._select_marked_asked())
        self._gallery.on_request("export_marked", lambda asked: self._export_marked_asked(asked["format"]))
        self._legend.on_request("mark", lambda asked: self._mark_by_key(asked["item"]))

    def _end_checks(self) -> None:
        self._suspects.close()

    # -- suspicion, and other columns ---------------------------------------------------------------

    def _suspects_ended(self) -> None:
        """Show what was found out in the background."""
        with self._lock:
            if self._ended:
                return
            found = self._suspects.value
            if found is not None:
                self._suspicion = Suspicion.from_suspects(found)
                self._scores = self._suspicion.scores
            self._errors.tell("suspects", self._suspects.error)
            if self.color_by == SUSPICION:
                self._recolor()
            else:
                self._show_sorted()

    def _recolor_by_another(self, change: Any) -> None:
        if change["new"] == SUSPICION:
            self._suspects.start()
        if self.search:
            self.search = ""  # which colors the points anew
        else:
            self._recolor()

    def _recolor(self) -> None:
        # What was found meanwhile must not be followed by what was shown before.
        with self._lock:
            self._show_colors()

    def _show_colors(self) -> None:
        before = self._gallery.captioned
        shown = map_colors(self._space, self.color_by, self.color_as, self.search, self._scores, before)
        legend = shown.coloring.legend
        if self.color_by == SUSPICION:
            legend = legend | {"state": self._suspects.state, "error": self._suspects.error}
        self._scatter.color_by(shown.coloring)
        self._legend.legend = legend
        self._toolbar.color_modes = shown.choices
        self._gallery.caption(shown.caption)
        self._show_sorted()

    def _sorted_by_another(self) -> None:
        if self._gallery.sort == SUSPICIOUS_FIRST:
            self._suspects.start()
        with self._lock:
            self._show_sorted()

    def _show_sorted(self) -> None:
        """Show the gallery's items in order, with the reasons of their suspicion where that orders or colors them."""
        sorts, suspects = self._gallery.sort == SUSPICIOUS_FIRST, self._suspects
        with self._gallery.hold_sync():
            self._gallery.tell_suspects(suspects.state if sorts else "idle", suspects.error, self._suspicion)
            self._gallery.with_reasons = self._suspicion is not None and (sorts or self.color_by == SUSPICION)
            self._show_gallery()

    # -- marks --------------------------------------------------------------------------------------

    def _show_marks(self, marked: tuple[int, ...]) -> None:
        self._gallery.mark(marked)
        self._scatter.cross(marked)

    def _toggle_mark(self, item: int) -> None:
        """Mark an item's truth as wrong, or take the mark away."""
        if item >= len(self._space):
            raise ValueError("Only items of the map have a truth that can be marked as wrong.")
        (index,) = check_indices([item], len(self._space)).tolist()
        with self._lock:
            self.marked = tuple(sorted({*self.marked} ^ {index}))

    def _mark_by_key(self, item: int | None) -> None:
        """The same for the item that is pointed at, or else for the highlighted one."""
        if item is None and self.new_highlighted is not None:
            item = len(self._space) + self.new_highlighted
        item = self.highlighted if item is None else item
        try:
            if item is None:
                raise ValueError("Point at an item, or highlight one, and W marks its truth as wrong.")
            self._toggle_mark(item)
        except ValueError as error:
            self._say(str(error))
        else:
            self._say("")

    def _select_marked_asked(self) -> None:
        self.select_marked()

    def _export_marked_asked(self, format_: str) -> tuple[dict[str, Any], list[bytes]]:
        """A file for the browser to save; a folder of masks is sent as one archive."""
        chosen: Format = check_choice("format", format_, Format)
        name = _FILE_NAMES[chosen]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "masks" if chosen == "voc" else name)
            self.export_marked(path, chosen)
            return {"name": name}, [_zipped(path) if path.is_dir() else path.read_bytes()]

    # -- traits -------------------------------------------------------------------------------------

    _check_marked = traitlets.validate("marked")(Explorer._checked)

    def _valid_marked(self, value: Any) -> tuple[int, ...]:
        return tuple(check_indices(value, len(self._space)).tolist())


def _zipped(folder: Path) -> bytes:
    """All files of a folder in an archive, by their paths in the folder."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return content.getvalue()
