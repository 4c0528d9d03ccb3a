"""Hausdorff Distance Masks with sliders: the HDM explorer."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
import torch
from matplotlib.colors import Colormap
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._picture import Bands, Display
from hdm_widgets._validation import check_channel, documents_options, takes_options
from hdm_widgets._wire import bits, png, to_wire
from hdm_widgets.hdm.circle_map import ResultType, color_table
from hdm_widgets.hdm.explainer import HausdorffDistanceMasks
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.messages import about_message, inspect_cell, map_message, measure_message, wire_channel
from hdm_widgets.hdm.named_measures import MeasureName
from hdm_widgets.hdm.occlusion import Channel
from hdm_widgets.hdm.options import ScanKeywords, ScanOptions
from hdm_widgets.hdm.plotting import canny
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.models.segmenter import Model
from hdm_widgets.widgets.hdm.class_names import ClassNames, check_class_names, check_name_count, named_classes
from hdm_widgets.widgets.hdm.questions import Answers, ExplainBy, Question, with_distance
from hdm_widgets.widgets.hdm.scan_source import ScanSource
from hdm_widgets.widgets.hdm.traits import HDMTraits
from hdm_widgets.widgets.shared.jobs import LatestJob
from hdm_widgets.widgets.shared.part import read_static

__all__ = ["HDMExplorer"]

_COLOR_MAPS = ("Blues", "magma", "viridis", "cividis", "Reds", "Greens", "Purples", "inferno", "turbo")
_LONGEST_SIDE = 1600
# The map is sent at most this often; the last one of a stage always is.
_SECONDS_BETWEEN_MAPS = 0.2


@documents_options(ScanOptions)
class HDMExplorer(HDMTraits):
    """Explore which parts of an image a segmentation depends on.

    Displays itself as the last line of a cell. Moving a slider starts a new scan in the background; the
    map comes coarse first and sharpens.

    Parameters
    ----------
    model : torch.nn.Module, callable or Segmenter
        See `Segmenter` for what a model may take and return.
    image : torch.Tensor or numpy.ndarray, (C, H, W) or (H, W)
        The image, of a floating type, as the model expects it. For a Segmenter with `preprocess`: the image as you have
        it, of any real type, also (H, W, C).
    segment : torch.Tensor or numpy.ndarray (H, W), optional
        The ground truth, nonzero = segment: bool, whole numbers, or floats that are 0 and 1; with `target="all"` class
        numbers. Pixels that do not count, see `ignore`, are striped. Without it, the model's own mask for the image
        without a disc is explained: how far does each disc move it?
    circle_size, offset : int, optional
        Size of the disc, and steps from one to the next, in pixels. By default those of `explainer`, or about a tenth
        and a thirtieth of the shorter side.
    channel : int or sequence of int
        Occlude this channel only, or these; -1 for all.
    result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
        What the map shows.
    color_map : str or matplotlib.colors.Colormap
        Any of matplotlib's by its name; the trait has the name.
    opacity : float
        Of the circle map, in [0, 1].
    measure : {"hausdorff", "hausdorff95", "mean_surface", "iou", "dice", "area", "flipped", "rows"}, optional
        What is shown first, see `hdm.ScanOptions`; by default what the scan measures, `distance`. Without a `distance`,
        the scan measures this.
    explain_by : {"truth", "prediction"}, optional
        What masks are compared with: the ground truth, or the model's own mask for the image without a disc. By default
        the truth, where there is one.
    display : Display, int or sequence of int, optional
        How to show the image: a channel in gray, three as red, green and blue, or a `Display`.
    device : torch.device or str, optional
        Where to run; the model's own device by default.
    normalize : bool, optional
        As for `hdm.HausdorffDistanceMasks.generate_masks`. By default as `explainer` has it, else False.
    class_names : sequence of str or dict of int to str, optional
        What the classes are called, with `target="all"`: in the order of their numbers, or by number.
    explainer : hdm.HausdorffDistanceMasks, optional
        An instance of your own subclass, for its `apply_mask` and `calculate_distance`. The explorer works with a
        shallow copy of it.
    **options
        See `hdm.ScanOptions`.

    Attributes
    ----------
    circle_size, offset, channel, result_type, color_map, opacity
        Traits as above; assigning one moves the control on screen and the reverse.
    cell : tuple of int or None
        (row, col) of the pinned cell.
    target : int or None
        The class that is shown. With `target="all"` assigning another one switches at once, without a run of the model,
        and `result` is of that class.
    measure, explain_by : str
        As above. Assigning another one switches at once, without a run of the model; `result` is what `result.measure`
        would give. "rows" is on offer where the scan was made with it.
    layers : list of str
        Of "picture", "edges", "map", "truth", "prediction": what the stage shows.
    status : {"idle", "running", "done", "cancelled", "error"}
    progress : float
        Fraction of the scan that is done, in [0, 1].
    error : str
        What went wrong, empty otherwise.
    exception : Exception or None
        The exception itself.

    Notes
    -----
    The map on screen is `result.circle_map(result_type, color_map, order="change")`: discs that change the distance
    most lie on top. On screen its opacity grows with that change, so that the image shows through where nothing
    matters. Where the screen has more pixels than the image, the discs are round.

    When the cell that made an explorer runs again, the explorer is closed, unless a variable of the notebook still
    leads to it.

    Examples
    --------
    >>> import hdm_widgets as hw
    >>> model, image, segment, cue = hw.demo.shapes(0)
    >>> explorer = hw.HDMExplorer(model, image, segment, circle_size=10, offset=16)
    >>> explorer.wait(timeout=60)
    True
    >>> explorer.result.values.shape
    (8, 8)
    >>> explorer.close()
    """

    _esm = read_static("hdm_explorer.js")
    _css = read_static("hdm_explorer.css")

    @takes_options(ScanOptions)
    def __init__(
        self,
        model: Model,
        image: Tensor | NDArray[Any],
        segment: Tensor | NDArray[Any] | None = None,
        circle_size: int | None = None,
        offset: int | None = None,
        channel: int | Sequence[int] = -1,
        *,
        result_type: ResultType | str = ResultType.RAW,
        color_map: str | Colormap = "Blues",
        opacity: float = 0.7,
        measure: MeasureName | None = None,
        explain_by: ExplainBy | None = None,
        display: Display | Bands | None = None,
        device: torch.device | str | None = None,
        normalize: bool | None = None,
        class_names: ClassNames | None = None,
        explainer: HausdorffDistanceMasks | None = None,
        **options: Unpack[ScanKeywords],
    ) -> None:
        source = ScanSource(
            model,
            image,
            segment,
            device,
            explainer=explainer,
            circle_size=circle_size,
            offset=offset,
            normalize=normalize,
            **with_distance(options, measure),
        )
        shown = source.image.numpy()
        self._display = Display.wrap(display)
        view = self._display.view(shown)
        # Everything that can be wrong with the input is said now, before any work starts, and once.
        covered = check_channel(channel, len(shown))
        scan = source.prepare(covered, source.grid)
        scan.warn()
        names = check_class_names(class_names, all_classes=scan.all_classes)
        target = scan.segmenter.target
        answers = Answers(scan.settings, keep_outputs=scan.keep_outputs)
        own = answers.own
        asked = answers.check(Question(measure or own.measure, explain_by or own.explain_by, target))
        table = color_table(color_map)
        color_map = color_map if isinstance(color_map, str) else color_map.name

        # From here on self exists; what is not a trait is set first because observers use it.
        self._worker = LatestJob("hdm-explorer")
        self._publishing = threading.RLock()
        self._source: ScanSource | None = source
        self._answers = answers
        self._latest: ScanUpdate | None = None
        self._grid = source.grid
        self._channels = len(shown)
        self._names = names
        self._unwanted: dict[str, Any] | None = None
        self._paused = False  # because nobody sees the scan
        self.exception: Exception | None = None
        super().__init__(
            circle_size=source.grid.circle_size,
            offset=source.grid.offset,
            channel=wire_channel(covered),
            result_type=ResultType(result_type).value,
            color_map=color_map,
            opacity=opacity,
            target=target,
            measure=asked.measure,
            explain_by=asked.explain_by,
            layers=["picture", "map", "prediction" if own.explain_by == "prediction" else "truth"],
            _measures=answers.measures,
            _explained_by=answers.explained_by,
            _classes=named_classes((target,), names) if scan.all_classes and target is not None else [],
            _about=about_message(shown, scan.truth.mask, scan.settings) | measure_message(answers.settings(asked)),
            _image=png(view.to_rgb(shown), longest=_LONGEST_SIDE),
            _edges=bits(canny(view.levels(shown).mean(axis=0))),
            _truth=bits(scan.truth.mask),
            _ignored=b"" if scan.truth.ignored is None else bits(scan.truth.ignored),
            _color_tables={
                **{name: color_table(name).tobytes() for name in _COLOR_MAPS},
                color_map: table.tobytes(),
            },
        )
        self.observe(self._restart, names=["circle_size", "offset", "channel"])
        self.observe(self._inspect, names=["cell"])
        self.observe(self._switch, names=["target", "measure", "explain_by"])
        self.on_request("run", lambda _: self.run())
        self.on_request("cancel", self._cancel_asked)
        self._begin(self)
        self.run()

    # -- for users ------------------------------------------------------------------------------

    @property
    def result(self) -> HDMResult | None:
        """What the newest scan has measured so far, in the measure that is shown; None before its first update."""
        self._check_open()
        latest = self._latest
        return self._answers.of(latest.result, self._asked()) if latest else None

    def run(self) -> None:
        """Scan with the present settings, from the beginning; returns at once."""
        self._check_open()
        with self._publishing:
            channel, grid = check_channel(self.channel, self._channels), self._grid
            self._paused = False
            self._latest = self.exception = None
            self._scanned = self._settings()
            self.error = ""
            self.progress = 0.0
            self._inspect()
            self.status = "running"
            try:
                self._worker.submit(lambda stop: self._scan(channel, grid, stop))
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
                self.run()

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

    def _end(self) -> None:
        with self._publishing:
            self._worker.close()
            self._source = self._latest = self.exception = None
            self._answers.forget()
        # A closed widget may live on in the notebook's output history; its bytes need not.
        for name in ("_image", "_edges", "_truth", "_ignored", "_prediction"):
            self.set_trait(name, b"")
        for name in ("_color_tables", "_map", "_inspector"):
            self.set_trait(name, {})

    # -- changes of traits ------------------------------------------------------------------------

    def _settings(self) -> dict[str, Any]:
        return {"circle_size": self.circle_size, "offset": self.offset, "channel": self.channel}

    def _restart(self, _change: Any) -> None:
        # Two traits changed together are one change.
        if self._ended or self._settings() == self._scanned:
            return
        before = self._grid
        with self._publishing:
            self._grid = Grid(before.height, before.width, self.circle_size, self.offset)
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

    def _switch(self, _change: Any) -> None:
        # One message: no map is drawn with the texts of another measure.
        with self._publishing, self.hold_sync():
            if self.status != "error":
                self.error = ""
            if self._latest is None:
                self._about = {**self._about, **measure_message(self._answers.settings(self._asked()))}
            else:
                self._show(masks=True)
            self._inspect()

    def _cancel_asked(self, asked: dict[str, Any]) -> None:
        # Changes of settings may arrive after a request that was made later: the screen says which settings it means.
        if asked.get("settings") != to_wire(self._scanned):
            self._unwanted = asked.get("settings")
        self.cancel()

    def _inspect(self, _change: Any = None) -> None:
        with self._publishing:
            if self.cell is None:
                self._inspector = {}
            elif self._latest is None or self._latest.result.grid != self._grid:
                self._inspector = {"cell": self.cell, "pending": True}
            else:
                row, col = self.cell
                self._inspector = inspect_cell(
                    self._answers.of(self._latest.result, self._asked()), row, col, self._display
                )

    # -- the scan, in its thread --------------------------------------------------------------------

    def _scan(self, channel: Channel, grid: Grid, stop: threading.Event) -> None:
        source = self._source
        if source is None or stop.is_set():
            return
        try:
            with closing(source.prepare(channel, grid).updates(stop.is_set)) as updates:
                shown, stride = 0.0, 0
                for update in updates:
                    with self._publishing:
                        if stop.is_set():
                            return
                        self._latest = update
                        if not update.done:
                            check_name_count(update.result, self._names)
                        ended = update.done == update.total
                        if ended or update.stride != stride or time.perf_counter() - shown > _SECONDS_BETWEEN_MAPS:
                            self._show()
                            shown, stride = time.perf_counter(), update.stride
            self._finish(stop, "done")
        except Exception as error:  # noqa: BLE001 - shown in the widget, kept in `exception`
            self._finish(stop, "error", error)

    def _show(self, *, masks: bool = False) -> None:
        """Send the newest map to the screen, and the masks with it if they may have changed."""
        update = self._latest
        if update is None:
            return
        if classes := update.result.classes:
            self._classes = named_classes(classes, self._names)
        asked = self._asked()
        try:
            result = self._answers.of(update.result, asked)
        except ValueError as error:
            # There is no such class, or one of its masks is empty under empty="raise".
            own = self._answers.own
            with self.hold_trait_notifications():
                self.target, self.measure, self.explain_by = update.result.settings.target, own.measure, own.explain_by
            self.error = str(error)
            return
        if masks or not self._prediction or not update.done:
            self._show_masks(result, self._answers.scanned(update.result, asked.target).segment)
        self._map = map_message(replace(update, result=result))
        self.progress = update.done / update.total
        # A pinned cell is shown once it is measured, and again at the end: its rank may have changed.
        if self._inspector.get("pending"):
            self._inspect()

    def _show_masks(self, result: HDMResult, truth: NDArray[np.bool_]) -> None:
        self._prediction = bits(result.baseline_mask)
        # The model may have no output for some pixels.
        self._ignored = b"" if result.ignored is None else bits(result.ignored)
        if self._about["has_truth"]:
            self._truth = bits(truth)
        self._about = {**self._about, **measure_message(result.settings), "truth_empty": not result.segment.any()}

    def _finish(self, stop: threading.Event, status: str, error: Exception | None = None) -> None:
        with self._publishing:
            if not stop.is_set():
                self._show_end(status, error)

    def _show_end(self, status: str, error: Exception | None) -> None:
        self.exception = error
        self._inspect()
        if error is not None:
            self._show()
            self.error = str(error) or type(error).__name__
        self.status = status

    def __repr__(self) -> str:
        if self._ended:
            return "HDMExplorer(closed)"
        grid = self._grid
        return (
            f"HDMExplorer({grid.height} rows x {grid.width} columns, circle_size={grid.circle_size}, "
            f"offset={grid.offset}, status={self.status!r})"
        )
