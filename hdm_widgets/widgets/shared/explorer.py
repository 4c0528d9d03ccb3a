"""What both explorers have in common: checked traits, no misspelt ones, errors that stay, and an end."""

from __future__ import annotations

import difflib
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import ipywidgets
import traitlets

from hdm_widgets.widgets.shared.part import Part
from hdm_widgets.widgets.shared.rerun import close_on_rerun

__all__ = ["ErrorsBySource", "Explorer", "InvalidTraitError", "close_all"]


class InvalidTraitError(traitlets.TraitError, ValueError):
    """A trait was given a value that it cannot have; it keeps the old one, wherever the new one came from."""


class ErrorsBySource:
    """What went wrong with each of several things; each error stays until its own thing goes well or is begun again.

    Parameters
    ----------
    lock : threading.RLock
        Held while errors change and are shown.
    show : callable
        Shows the newest error, or an empty text where there is none.
    """

    def __init__(self, lock: threading.RLock, show: Callable[[str], None]) -> None:
        self._lock, self._show = lock, show
        self._texts: dict[str, str] = {}

    def tell(self, source: str, text: str) -> None:
        """Show an error of one source; without a text it has none any more, and an earlier one of another is shown."""
        with self._lock:
            self._texts.pop(source, None)
            if text:
                self._texts[source] = text
            self._show(next(reversed(self._texts.values()), ""))

    def clear(self) -> None:
        """Forget all errors: everything begins anew."""
        with self._lock:
            self._texts.clear()
            self._show("")


class Explorer(ipywidgets.DOMWidget):  # type: ignore[misc]  # ipywidgets has no types
    """Base of the widgets that users make.

    A subclass calls `_begin` at the end of its `__init__`, with the part that is on screen whenever the widget is. Its
    `_pause` stops the work that nobody sees, its `_resume` goes on with it, and its `_end` frees what it holds. It
    checks traits in methods `_valid_<trait>` and lists these traits in
    `_check = traitlets.validate("this", "that")(Explorer._checked)`.
    """

    _ended: bool | None = None  # until `_begin`

    def _begin(self, part: Part) -> None:
        """From here on traits are checked, and it pauses while it is seen nowhere.

        It closes when its cell, or the function of its `interact`, runs again and nobody holds it.
        """
        self._ended = False
        part.on_views(lambda seen: self._seen() if seen else self._pause())
        self._stop_watching: Callable[[], None] = close_on_rerun(self)

    def close(self) -> None:
        """Stop what runs, remove the widget and free what it holds."""
        if self._ended is not False:
            return
        self._ended = True
        self._stop_watching()
        self.unobserve_all()
        self.layout.close()
        super().close()
        self._end()

    def _seen(self) -> None:
        """A view has come onto a page."""
        self._resume()

    @abstractmethod
    def _pause(self) -> None:
        """Stop the work in the background: the last view was taken off its page."""

    @abstractmethod
    def _resume(self) -> None:
        """Go on with what was paused, if anything was: there is a view again, or somebody waits for the work."""

    @abstractmethod
    def _end(self) -> None:
        """Stop what runs, and free what is held; the widget is closed already."""

    def _check_open(self) -> None:
        if self._ended:
            name = type(self).__name__
            raise RuntimeError(f"this explorer is closed; make a new {name} to go on")

    def _checked(self, proposal: Any) -> Any:
        """Check a value that is proposed for a trait, by this trait's own method."""
        self._check_open()
        try:
            return getattr(self, f"_valid_{proposal['trait'].name}")(proposal["value"])
        except (ValueError, TypeError, IndexError) as error:
            raise InvalidTraitError(str(error)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        # A misspelt trait would be a new attribute that nobody reads.
        if self._ended is False and not (name.startswith("_") or name in vars(self) or hasattr(type(self), name)):
            near = difflib.get_close_matches(name, self.trait_names(), n=1)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            raise AttributeError(f"{type(self).__name__} has no {name!r} to set{advice}")
        super().__setattr__(name, value)


def close_all(*widgets: Any) -> None:
    """Close widgets with their layouts and styles, which are widgets of their own."""
    for widget in widgets:
        for part in (widget.layout, getattr(widget, "style", None), widget):
            if part is not None:
                part.close()
