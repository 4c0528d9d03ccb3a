"""Hausdorff Distance Masks with sliders: the HDM explorer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, Unpack

import anywidget
import torch
import traitlets
from matplotlib.colors import Colormap
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._picture import gray, to_rgb
from hdm_widgets._validation import (
    check_channel,
    check_channels_first,
    check_image,
    check_segment,
    takes_options,
)
from hdm_widgets.hdm.circle_map import ResultType, color_table
from hdm_widgets.hdm.explainer import HausdorffDistanceMasks
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.options import ScanKeywords, ScanOptions
from hdm_widgets.hdm.plotting import canny
from hdm_widgets.hdm.result import HDMResult, ScanUpdate
from hdm_widgets.hdm.scan import PreparedScan
from hdm_widgets.models.segmenter import Model, Segmenter
from hdm_widgets.widgets.hdm.messages import about_message, inspect_cell, map_message
from hdm_widgets.widgets.shared.buffers import bits, png
from hdm_widgets.widgets.shared.jobs import LatestJob
from hdm_widgets.widgets.shared.rerun import on_rerun

__all__ = ["HDMExplorer"]

_STATIC = Path(__file__).parents[2] / "static"
_COLOR_MAPS = ("Blues", "magma", "viridis", "cividis", "Reds", "Greens", "Purples", "inferno", "turbo")
_LAYERS = ("picture", "edges", "map", "truth", "prediction")
_LONGEST_SIDE = 1600
# News goes to the browser at most this often; finished stages always do.
_SECONDS_BETWEEN_NEWS = 0.2


class InvalidTraitError(traitlets.TraitError, ValueError):
    """A trait was given a value that it cannot have; the old one stays, wherever the new one came from."""


class HDMExplorer(anywidget.AnyWidget):
    """Explore which parts of a picture a segmentation depends on.

    Displays itself as the last line of a cell. Moving a slider starts a new scan in the background; the
    map comes coarse first and sharpens.

    Parameters
    ----------
    model : torch.nn.Module, callable or Segmenter
        See `Segmenter` for what a model may take and return.
    image : torch.Tensor or numpy.ndarray, (C, H, W) or (H, W)
        The picture, of a floating type, as the model expects it.
    segment : torch.Tensor or numpy.ndarray (H, W)
        The true mask, nonzero = segment.
    circle_size, offset : int
        Size of the disc, and steps from one to the next, in pixels. By default about a tenth and a
        thirtieth of the shorter side.
    channel : int
        Occlude this channel only; -1 for all.
    result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
    color_map : str or matplotlib.colors.Colormap
        Any of matplotlib's by its name; the trait has the name.
    opacity : float
        Of the circle map, in [0, 1].
    device : torch.device or str, optional
        Where to run; the model's own device by default.
    normalize : bool
        As for `hdm.HausdorffDistanceMasks.generate_masks`.
    explainer : hdm.HausdorffDistanceMasks, optional
        An instance of your own subclass, for its `apply_mask` and `calculate_distance`.
    **options
        See `hdm.ScanOptions`.

    Attributes
    ----------
    circle_size, offset, channel, result_type, color_map, opacity
        Traits as above; assigning one moves the control on screen and the reverse.
    cell : tuple of int or None
        (row, col) of the pinned cell.
    layers : list of str
        Of "picture", "edges", "map", "truth", "prediction": what the stage shows.
    status : {"idle", "running", "done", "cancelled", "error"}
    progress : float
        Share of the scan that is done, in [0, 1].
    error : str
        What went wrong, empty otherwise; `exception` has the exception itself.

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

    # Text, not paths: of a path anywidget would keep every widget alive to tell it of changes.
    _esm = (_STATIC / "hdm_explorer.js").read_text(encoding="utf-8")
    _css = (_STATIC / "hdm_explorer.css").read_text(encoding="utf-8")
    _ended = True  # until __init__ has come to its end

    circle_size = traitlets.Int().tag(sync=True)
    offset = traitlets.Int().tag(sync=True)
    channel = traitlets.Int(-1).tag(sync=True)
    result_type = traitlets.Unicode("raw").tag(sync=True)
    color_map = traitlets.Unicode("Blues").tag(sync=True)
    opacity = traitlets.Float(0.7).tag(sync=True)
    cell = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=None, allow_none=True).tag(sync=True)
    layers = traitlets.List(traitlets.Unicode(), ["picture", "map", "truth"]).tag(sync=True)
    status = traitlets.Unicode("idle").tag(sync=True)
    progress = traitlets.Float(0.0).tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)

    # What the screen draws from. Maps are painted in the browser.
    _about = traitlets.Dict().tag(sync=True)
    _picture = traitlets.Bytes().tag(sync=True)
    _edges = traitlets.Bytes().tag(sync=True)
    _truth = traitlets.Bytes().tag(sync=True)
    _prediction = traitlets.Bytes().tag(sync=True)
    _palettes = traitlets.Dict().tag(sync=True)
    _map = traitlets.Dict().tag(sync=True)
    _inspector = traitlets.Dict().tag(sync=True)
    # The settings of the scan that was started last: tells the screen that Python has heard.
    _scanned = traitlets.Dict().tag(sync=True)

    @takes_options(ScanOptions)
    def __init__(
        self,
        model: Model,
        image: Tensor | NDArray[Any],
        segment: Tensor | NDArray[Any],
        circle_size: int | None = None,
        offset: int | None = None,
        channel: int = -1,
        *,
        result_type: ResultType | str = ResultType.RAW,
        color_map: str | Colormap = "Blues",
        opacity: float = 0.7,
        device: torch.device | str | None = None,
        normalize: bool = False,
        explainer: HausdorffDistanceMasks | None = None,
        **options: Unpack[ScanKeywords],
    ) -> None:
        height, width = _size_of(image)
        picture = check_image(image, height, width)
        truth = check_segment(segment, height, width)
        side = min(height, width)
        grid = Grid(
            height,
            width,
            max(1, round(side / 10)) if circle_size is None else circle_size,
            max(1, round(side / 30)) if offset is None else offset,
        )
        explainer = HausdorffDistanceMasks(width, height) if explainer is None else explainer
        if not isinstance(explainer, HausdorffDistanceMasks):
            raise TypeError(f"explainer must be an instance of hdm.HausdorffDistanceMasks, got {explainer!r}")
        if (explainer.width, explainer.height) != (width, height):
            raise ValueError(
                f"the explainer is for pictures of {explainer.width} x {explainer.height} px, "
                f"this one has {width} x {height}"
            )
        of_segmenter = {name: options.pop(name) for name in ("target", "threshold", "batch_size") if name in options}
        segmenter = Segmenter.wrap(model, device=device, **of_segmenter)

        # From here on self exists; what is not a trait is set first because observers use it.
        self._worker = LatestJob("hdm-explorer")
        self._publishing = threading.RLock()
        self._stop_watching: Callable[[], None] = _nothing
        self._latest: ScanUpdate | None = None
        self._grid = grid
        self._channels = len(picture)
        self._unwanted: dict[str, int] | None = None
        self.exception: Exception | None = None

        def prepare(channel: int, grid: Grid) -> PreparedScan:
            explainer.generate_masks(grid.circle_size, grid.offset, normalize)
            return explainer.prepare(segmenter, picture, truth, None, channel, **options)

        # Everything that can be wrong with the input is said now, before any work starts, and once.
        prepared = prepare(check_channel(channel, len(picture)), grid)
        prepared.warn()

        def stream(channel: int, grid: Grid) -> Generator[ScanUpdate]:
            return prepare(channel, grid).updates()

        self._stream: Callable[[int, Grid], Generator[ScanUpdate]] | None = stream
        table = color_table(color_map)
        color_map = color_map if isinstance(color_map, str) else color_map.name
        self._ended = False
        super().__init__(
            circle_size=grid.circle_size,
            offset=grid.offset,
            channel=channel,
            result_type=ResultType(result_type).value,
            color_map=color_map,
            opacity=opacity,
            _about=about_message(picture.numpy(), truth != 0, prepared.settings),
            _picture=png(to_rgb(picture.numpy()), longest=_LONGEST_SIDE),
            _edges=bits(canny(gray(picture.numpy()))),
            _truth=bits(truth != 0),
            _palettes={
                **{name: color_table(name).tobytes() for name in _COLOR_MAPS},
                color_map: table.tobytes(),
            },
        )
        self.observe(self._restart, names=["circle_size", "offset", "channel"])
        self.observe(self._inspect, names=["cell"])
        self.on_msg(self._receive)
        self._stop_watching = on_rerun(self.close)
        self.run()

    # -- for users ------------------------------------------------------------------------------

    @property
    def result(self) -> HDMResult | None:
        """What the newest scan has measured so far; None before its first news."""
        self._check_open()
        return self._latest.result if self._latest else None

    def run(self) -> None:
        """Scan with the present settings, from the beginning; returns at once."""
        self._check_open()
        with self._publishing:
            channel, grid = self.channel, self._grid
            self._latest = self.exception = None
            self._scanned = self._settings()
            self.error = ""
            self.progress = 0.0
            self._inspect()
            self.status = "running"
            self._worker.submit(lambda stop: self._scan(channel, grid, stop))

    def cancel(self) -> None:
        """Stop the scan after the batch that is running; what was measured stays."""
        self._check_open()
        with self._publishing:
            if self.status == "running":
                self._worker.cancel()
                self._show()
                self.status = "cancelled"

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
        return self._worker.wait(timeout)

    def close(self) -> None:
        """Stop the scan, remove the widget and let go of model, picture and result."""
        if self._ended:
            return
        self._ended = True
        self._stop_watching()
        with self._publishing:
            self._worker.close()
            self._stream = self._latest = self.exception = None
        self.layout.close()
        super().close()
        # A closed widget may live on in the notebook's output history; its bytes need not.
        self.unobserve_all()
        for name in ("_picture", "_edges", "_truth", "_prediction"):
            self.set_trait(name, b"")
        for name in ("_palettes", "_map", "_inspector"):
            self.set_trait(name, {})

    # -- traits -----------------------------------------------------------------------------------

    @traitlets.validate("circle_size", "offset", "channel", "cell", "result_type", "color_map", "opacity", "layers")
    def _valid(self, proposal: Any) -> Any:
        self._check_open()
        name, value = proposal.trait.name, proposal.value
        try:
            return getattr(self, f"_valid_{name}")(value)
        except (ValueError, TypeError, IndexError) as error:
            raise InvalidTraitError(str(error)) from None

    def _valid_circle_size(self, value: int) -> int:
        return Grid(self._grid.height, self._grid.width, value, self._grid.offset).circle_size

    def _valid_offset(self, value: int) -> int:
        return Grid(self._grid.height, self._grid.width, self._grid.circle_size, value).offset

    def _valid_channel(self, value: int) -> int:
        return check_channel(value, self._channels)

    def _valid_cell(self, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None:
            self._grid.check_cell(*value)
        return value

    def _valid_result_type(self, value: str) -> str:
        return ResultType(value).value

    def _valid_color_map(self, value: str) -> str:
        if value not in self._palettes:
            self._palettes = {**self._palettes, value: color_table(value).tobytes()}
        return value

    def _valid_opacity(self, value: float) -> float:
        if not 0 <= value <= 1:
            raise ValueError(f"opacity must be in [0, 1], got {value}")
        return value

    def _valid_layers(self, value: list[str]) -> list[str]:
        unknown = [name for name in value if name not in _LAYERS]
        if unknown:
            raise ValueError(f"unknown layer {unknown[0]!r}; known are {', '.join(_LAYERS)}")
        return [name for name in _LAYERS if name in value]

    def _settings(self) -> dict[str, int]:
        return {"circleSize": self.circle_size, "offset": self.offset, "channel": self.channel}

    def _restart(self, _change: Any) -> None:
        # Two traits changed together are one change.
        if self._ended or self._settings() == self._scanned:
            return
        before = self._grid
        with self._publishing:
            self._grid = Grid(before.height, before.width, self.circle_size, self.offset)
            if self.cell is not None and before.offset != self.offset:
                # The pin stays at its place in the picture.
                self.cell = tuple(
                    min(round(index * before.offset / self.offset), count - 1)
                    for index, count in zip(self.cell, self._grid.shape, strict=True)
                )
            self.run()
            if self._unwanted == self._settings():
                self.cancel()
            self._unwanted = None

    def _inspect(self, _change: Any = None) -> None:
        with self._publishing:
            if self.cell is None:
                self._inspector = {}
            elif self._latest is None or self._latest.result.grid != self._grid:
                self._inspector = {"cell": list(self.cell), "pending": True}
            else:
                self._inspector = inspect_cell(self._latest.result, *self.cell)

    def _receive(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Requests of the screen; what it may change directly are traits."""
        if self._ended or not isinstance(content, dict):
            return
        requests = {"run": self.run, "cancel": self.cancel}
        request = requests.get(content.get("request", ""))
        reply = {"id": content.get("id"), "error": None}
        # Changes of settings may arrive after a request that was made later: the screen says which it means.
        if content.get("request") == "cancel" and content.get("settings") != self._scanned:
            self._unwanted = content.get("settings")
        if request is None:
            reply["error"] = f"unknown request {content.get('request')!r}; known are {', '.join(requests)}"
        else:
            request()
        self.send(reply)

    # -- the scan, in its thread --------------------------------------------------------------------

    def _scan(self, channel: int, grid: Grid, stop: threading.Event) -> None:
        stream = self._stream
        if stream is None or stop.is_set():
            return
        try:
            with closing(stream(channel, grid)) as updates:
                shown, stride = 0.0, 0
                for update in updates:
                    with self._publishing:
                        if stop.is_set():
                            return
                        self._latest = update
                        ended = update.done == update.total
                        if ended or update.stride != stride or time.perf_counter() - shown > _SECONDS_BETWEEN_NEWS:
                            self._show()
                            shown, stride = time.perf_counter(), update.stride
            self._finish(stop, "done")
        except Exception as error:  # noqa: BLE001 - shown in the widget, kept in `exception`
            self._finish(stop, "error", error)

    def _show(self) -> None:
        """Send the latest news to the screen."""
        update = self._latest
        if update is None:
            return
        if not self._prediction or not update.done:
            self._prediction = bits(update.result.baseline_mask)
        self._map = map_message(update)
        self.progress = update.done / update.total
        # A pinned cell is shown once it is measured, and again at the end: its rank may have changed.
        if self._inspector.get("pending") or (self.cell is not None and update.done == update.total):
            self._inspect()

    def _finish(self, stop: threading.Event, status: str, error: Exception | None = None) -> None:
        with self._publishing:
            if stop.is_set():
                return
            self.exception = error
            if error is not None:
                self._show()
                self.error = str(error) or type(error).__name__
            self.status = status

    def __repr__(self) -> str:
        if self._ended:
            return "HDMExplorer(closed)"
        grid = self._grid
        return (
            f"HDMExplorer({grid.width} x {grid.height} px, circle_size={grid.circle_size}, offset={grid.offset}, "
            f"status={self.status!r})"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        # A misspelt trait would be a new attribute that nobody looks at.
        if not (self._ended or name.startswith("_") or hasattr(self, name)):
            raise AttributeError(f"HDMExplorer has no {name!r} to set; what a scan is made of is given to a new one")
        super().__setattr__(name, value)

    def _check_open(self) -> None:
        if self._ended:
            raise RuntimeError("this explorer is closed; make a new HDMExplorer to go on")


def _size_of(image: object) -> tuple[int, int]:
    shape = tuple(getattr(image, "shape", ()))
    if len(shape) < 2:
        # Neither an array nor a picture: the check of the picture says so in full.
        check_image(image, 1, 1)
    check_channels_first(shape)
    return int(shape[-2]), int(shape[-1])


def _nothing() -> None:
    """Nothing to stop."""
