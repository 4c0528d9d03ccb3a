"""Explorers that scan in the background: start, cancel, pause, and restarts when a setting changes."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from matplotlib.colors import Colormap
from numpy.typing import NDArray

from hdm_widgets._picture import Display
from hdm_widgets._validation import brief, check_channel, check_choice, finite_number
from hdm_widgets._wire import bits, png, to_wire
from hdm_widgets.hdm.answers import Answers, Question, outlined, told
from hdm_widgets.hdm.circle_map import ShownOrder, color_table
from hdm_widgets.hdm.fill_names import fill_choices, fill_text, read_fill
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.messages import COLOR_MAPS, about_message, drawn_message, wire_channel
from hdm_widgets.hdm.occlusion import Channel, Fill
from hdm_widgets.hdm.options import ScanSettings
from hdm_widgets.hdm.pyramid import Pyramid
from hdm_widgets.widgets.hdm.traits import HDMTraits
from hdm_widgets.widgets.shared.explorer import ErrorsBySource, InvalidTraitError
from hdm_widgets.widgets.shared.jobs import LatestJob

__all__ = ["SECONDS_BETWEEN_MAPS", "SETTINGS", "ScanningExplorer", "check_look", "drawn_image", "scan_traits"]

# A map is sent at most this often; the last one of a stage always is.
SECONDS_BETWEEN_MAPS = 0.2
_LONGEST_SIDE = 1600

# Traits that a scan is made with.
SETTINGS = ("circle_size", "offset", "channel", "fill", "shape")


def check_look(order: object, opacity: object) -> None:
    """Refuse how maps cannot be drawn, before there is a widget."""
    try:
        check_choice("order", order, ShownOrder)
    except ValueError as error:
        raise InvalidTraitError(str(error)) from None
    number = finite_number(opacity)
    if number is None:
        raise TypeError(f"opacity must be a number in [0, 1], got {brief(opacity)}")
    if not 0 <= number <= 1:
        raise InvalidTraitError(f"opacity must be in [0, 1], got {opacity}")


def drawn_image(
    image: NDArray[np.float32], display: Display, color_map: str | Colormap, pyramid: Pyramid | None = None
) -> dict[str, Any]:
    """The traits that an image (C, H, W) and the colors of its maps are drawn from; with a pyramid, of its coarsest."""
    table = color_table(color_map)
    name = color_map if isinstance(color_map, str) else color_map.name
    return {
        "color_map": name,
        **_drawn(image, display, pyramid),
        "_color_tables": {**{one: color_table(one).tobytes() for one in COLOR_MAPS}, name: table.tobytes()},
    }


def _drawn(image: NDArray[np.float32], display: Display, pyramid: Pyramid | None) -> dict[str, Any]:
    if pyramid is None:
        view = display.view(image)
        return {"_image": png(view.to_rgb(image), longest=_LONGEST_SIDE), **drawn_message(view.levels(image))}
    coarsest = pyramid.coarsest
    return {"_image": png(coarsest), **drawn_message(coarsest.transpose(2, 0, 1) / 255)}


def scan_traits(
    image: NDArray[np.float32],
    truth: NDArray[np.bool_],
    ignored: NDArray[np.bool_] | None,
    grid: Grid,
    settings: ScanSettings,
    answers: Answers,
    asked: Question,
    *,
    pack: Callable[[NDArray[np.bool_]], bytes] = bits,
    step: int = 1,
) -> dict[str, Any]:
    """The traits that say how an image (C, H, W) is scanned, and what is asked of the scan.

    `pack` says how masks are sent: one pixel of theirs stands for `step` x `step` of the image.
    """
    fill = fill_text(settings.fill)
    return {
        "circle_size": grid.circle_size,
        "offset": grid.offset,
        "channel": wire_channel(settings.channel),
        "fill": fill,
        "shape": grid.disc_shape,
        "target": asked.target,
        "measure": asked.measure,
        "explain_by": asked.explain_by,
        "layers": ["picture", "map", *outlined([], asked)],
        "_measures": answers.measures,
        "_explained_by": answers.explained_by,
        "_fills": fill_choices(torch.from_numpy(image), settings, fill),
        "_about": about_message(image, truth, settings)
        | told(answers.settings(asked), asked)
        | ({"step": step} if step > 1 else {}),
        "_truth": pack(truth),
        "_ignored": b"" if ignored is None else pack(ignored),
    }


class ScanningExplorer(HDMTraits):
    """Base of the explorers that scan; a subclass says what a scan is.

    It calls `_set_up` before its traits are set, and `_observe_settings` when they are.
    """

    _worker: LatestJob
    _publishing: threading.RLock
    exception: Exception | None
    # What was shown before a trait changed.
    _asked_last: Question

    def _set_up(self, grid: Grid, channels: int) -> None:
        """Set what observers of traits use, for an image with so many channels."""
        self._worker = LatestJob("hdm-explorer")
        self._publishing = threading.RLock()
        self._errors = ErrorsBySource(self._publishing, lambda text: setattr(self, "error", text))
        self._grid = grid
        self._channels = channels
        self._unwanted: dict[str, Any] | None = None
        self._paused = False  # because nobody sees the scan
        self.exception = None

    def _observe_settings(self) -> None:
        """From here on a changed setting starts a new scan, and the screen may start and cancel one."""
        self.observe(self._restart, names=list(SETTINGS))
        self.observe(self._inspect, names=["cell"])
        self.on_request("run", lambda _: self.run())
        self.on_request("cancel", self._cancel_asked)

    # -- what a subclass does -------------------------------------------------------------------------

    @abstractmethod
    def _scan(self, channel: Channel, grid: Grid, fill: Fill, stop: threading.Event) -> None:
        """Scan in the worker's thread until the event is set; ends with `_finish`."""

    @abstractmethod
    def _forget(self) -> None:
        """Forget what the scan before has measured."""

    @abstractmethod
    def _show(self) -> None:
        """Send what is measured to the screen."""

    @abstractmethod
    def _inspect(self, _change: Any = None) -> None:
        """Send what is known of the pinned cell to the screen."""

    # -- for users ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Scan with the present settings, from the beginning; returns at once."""
        self._check_open()
        with self._publishing:
            self._errors.clear()
            self._start()

    def _start(self) -> None:
        with self._publishing:
            channel, grid, fill = check_channel(self.channel, self._channels), self._grid, read_fill(self.fill)
            self._paused = False
            self.exception = None
            self._forget()
            self._scanned = self._settings()
            self.progress = 0.0
            self._inspect()
            self.status = "running"
            try:
                self._worker.submit(lambda stop: self._scan(channel, grid, fill, stop))
            except Exception as error:
                self._show_end("error", error)
                raise

    def cancel(self) -> None:
        """Stop the scan after the batch that is running; what was measured stays."""
        self._check_open()
        with self._publishing:
            if self.status == "running":
                self._worker.cancel()
            if self.status == "running" or self._paused:
                self._paused = False
                self._show_stopped("cancelled")

    def _show_stopped(self, status: str) -> None:
        self._show()
        self._inspect()
        self.status = status

    def _pause(self) -> None:
        with self._publishing:
            if self.status == "running" and self._worker.pause():
                self._paused = True
                self._show_stopped("idle")

    def _resume(self) -> None:
        # What has been measured is in the explainer's cache: the scan goes on where it stopped.
        with self._publishing:
            if self._paused:
                self._start()

    def _seen(self) -> None:
        super()._seen()
        with self._publishing:
            self.repeat()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the scan to end, however it ends.

        Parameters
        ----------
        timeout : float, optional
            In seconds; without it as long as it takes.

        Returns
        -------
        bool
            False if it still runs.
        """
        self._check_open()
        self._resume()
        return self._worker.wait(timeout)

    # -- changes of settings ----------------------------------------------------------------------

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in SETTINGS}

    def _restart(self, _change: Any) -> None:
        # Two traits changed together are one change.
        if self._ended or self._settings() == self._scanned:
            return
        before = self._grid
        with self._publishing:
            shape: Any = self.shape
            self._grid = replace(before, circle_size=self.circle_size, offset=self.offset, disc_shape=shape)
            if self.cell is not None and before.offset != self.offset:
                # The pin stays at its place in the image.
                self.cell = tuple(
                    min(round(index * before.offset / self.offset), count - 1)
                    for index, count in zip(self.cell, self._grid.shape, strict=True)
                )
            self.run()
            if self._unwanted == to_wire(self._settings()):
                self.cancel()
            self._unwanted = None

    def _without_other_object(self) -> Question:
        """What is asked now; without the one object, where that was another mask's."""
        asked, before = self._asked(), self._asked_last
        other_mask = (asked.explain_by, asked.target) != (before.explain_by, before.target)
        if asked.object is not None and asked.object == before.object and other_mask:
            asked = self._asked_last = asked._replace(object=None)
            self.object = None
        return asked

    def _cancel_asked(self, asked: dict[str, Any]) -> None:
        # Changes of settings may arrive after a request that was made later: the screen says which settings it means.
        if asked.get("settings") != to_wire(self._scanned):
            self._unwanted = asked.get("settings")
        self.cancel()

    # -- in the worker's thread -------------------------------------------------------------------

    def _finish(self, stop: threading.Event, status: str, error: Exception | None = None) -> None:
        with self._publishing:
            if not stop.is_set():
                self._show_end(status, error)

    def _show_end(self, status: str, error: Exception | None) -> None:
        self.exception = error
        self._inspect()
        if error is not None:
            self._show()
            self._errors.tell("scan", self._error_text(error))
        self.status = status

    def _error_text(self, error: Exception) -> str:
        """What the screen says of an error of a scan."""
        return str(error) or type(error).__name__
