"""Class against class in the HDM explorer: which discs turn the class that is shown into another one."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import traitlets

from hdm_widgets._wire import MESSAGE
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.widgets.shared.explorer import ErrorsBySource

__all__ = ["ClassChangeTraits"]


class ClassChangeTraits(traitlets.HasTraits):
    """The class that the shown one turns into, base of the HDM explorer's traits."""

    against = traitlets.Int(default_value=None, allow_none=True).tag(sync=True)
    # Fraction of the one class that turns into the other, of every cell; empty where nothing is asked.
    _class_change = traitlets.Dict().tag(**MESSAGE)

    target: int | None
    _errors: ErrorsBySource
    _classes: Any
    _latest: ScanUpdate | None
    _publishing: threading.RLock

    def _valid_against(self, value: int | None) -> int | None:
        if value is not None and value != self.against:
            if len(self._classes) < 2 or self._latest is None or self.target is None:
                raise ValueError(
                    "there is no other class; HDMExplorer(..., target='all') has all of them once the model has run"
                )
            # What can go wrong is an error of this trait, and the map stays.
            self._latest.result.class_change(self.target, value)
        return value

    def _choose_other_class(self, _change: Any) -> None:
        self._errors.tell("class change", "")
        self._show_class_change()

    def _show_class_change(self, _change: Any = None) -> None:
        """Tell the screen what the discs turn into the other class; nothing where that is not of the class shown."""
        with self._publishing:
            latest, shown, against = self._latest, self.target, self.against
            if latest is None or shown is None or against is None:
                self._class_change = {}
                return
            try:
                values = latest.result.class_change(shown, against)
            except ValueError as error:
                # Another class is shown now.
                self.against = None
                if shown != against:
                    self._errors.tell("class change", str(error))
                return
            self._class_change = {"values": values.astype(np.float32), "classes": (shown, against)}
