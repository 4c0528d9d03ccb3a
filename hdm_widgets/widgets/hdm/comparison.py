"""Several models on one image: their maps side by side with one set of controls."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
import torch
import traitlets
from matplotlib.colors import Colormap
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._picture import Bands, Display
from hdm_widgets._validation import check_channel, documents_options, takes_options
from hdm_widgets._wire import MESSAGE, bits
from hdm_widgets.hdm.answers import Answers, Question, told, with_defaults
from hdm_widgets.hdm.circle_map import ResultType, ShownOrder, color_table
from hdm_widgets.hdm.class_names import named_classes
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.messages import inspect_cell, map_message
from hdm_widgets.hdm.model_comparison import DIVERGING, ModelComparison, check_each_model, check_models, error_of_model
from hdm_widgets.hdm.named_measures import MeasureName
from hdm_widgets.hdm.occlusion import Channel, Fill
from hdm_widgets.hdm.options import ScanKeywords, ScanOptions
from hdm_widgets.hdm.questions import kept_masks
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.models.segmenter import Model
from hdm_widgets.widgets.hdm.fill_panel import whole_update
from hdm_widgets.widgets.hdm.scan_source import ScanSource
from hdm_widgets.widgets.hdm.scanning import (
    SECONDS_BETWEEN_MAPS,
    ScanningExplorer,
    check_look,
    drawn_image,
    scan_traits,
)
from hdm_widgets.widgets.shared.part import read_static

__all__ = ["LARGEST_COMPARED", "HDMComparison"]

# Every map has masks of its own in the browser.
LARGEST_COMPARED = 2048


@documents_options(ScanOptions)
class HDMComparison(ScanningExplorer):
    """Compare models on one image: their circle maps and the difference, with one set of controls.

    Displays itself as the last line of a cell. Hovering a cell in one map shows it in all; a pinned cell shows
    what each model predicted there.

    Parameters
    ----------
    models : dict of str to torch.nn.Module, callable or Segmenter; or ModelComparison
        At least two, by their names, such as two checkpoints. A `hdm.ModelComparison` is shown as it is.
    image : torch.Tensor or numpy.ndarray, (C, H, W) or (H, W), optional
        As for `HDMExplorer`; not with a `hdm.ModelComparison`.
    segment : torch.Tensor or numpy.ndarray (H, W), or dict of str to these, optional
        The ground truth, nonzero = segment, or several by their names. Without it, each model is compared with its own
        mask for the image without a disc.
    circle_size, offset : int, optional
        Size of the disc, and steps from one to the next, in pixels; by default about a tenth and a thirtieth of the
        shorter side.
    channel : int or sequence of int
        Occlude this channel only, or these; -1 for all.
    result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
        What the maps show.
    order : {"mean", "change"}
        What a pixel shows of the discs over it: their mean, or the disc that changes most, as published.
    color_map : str or matplotlib.colors.Colormap
        Of the models' maps.
    opacity : float
        Of the maps, in [0, 1].
    measure : {"hausdorff", "hausdorff95", "mean_surface", "iou", "dice", "area", "flipped", "rows"}, optional
        As for `HDMExplorer`, with the same defaults of what is measured and what the discs show.
    explain_by : str, optional
        As for `HDMExplorer`.
    display : Display, int or sequence of int, optional
        How to show the image.
    device : torch.device or str, optional
        Where to run; each model's own device by default.
    normalize : bool
        As for `hdm.HausdorffDistanceMasks.generate_masks`.
    **options
        See `hdm.ScanOptions`.

    Attributes
    ----------
    circle_size, offset, channel, fill, shape, cell, target, measure, explain_by, object
        Traits as those of `HDMExplorer`, for all models at once.
    result_type, order, color_map, opacity, layers
        Traits for the maps of all models.
    status : {"idle", "running", "done", "cancelled", "error"}
    progress : float
        Fraction of all scans that is done, in [0, 1].
    error : str
        What went wrong, empty otherwise.
    exception : Exception or None
        The exception itself.

    Examples
    --------
    >>> import hdm_widgets as hw
    >>> model, image, segment, cue = hw.demo.shapes(0)
    >>> models = {"as trained": model, "strict": hw.Segmenter(model, threshold=0.9)}
    >>> comparison = hw.HDMComparison(models, image, segment, circle_size=10, offset=32)
    >>> comparison.wait(timeout=60)
    True
    >>> comparison.difference.shape
    (4, 4)
    >>> comparison.close()
    """

    _esm = read_static("hdm_comparison.js")
    _css = read_static("hdm_comparison.css")

    # Of the models, in their order.
    _names: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    # For each model what `_map` and `_prediction` are to an explorer; empty before its first update.
    _maps: Any = traitlets.List().tag(**MESSAGE)
    _inspectors: Any = traitlets.List().tag(**MESSAGE)
    _difference_colors = traitlets.Bytes().tag(sync=True)
    # There are no models to scan with.
    _ready_made = traitlets.Bool(False).tag(sync=True)

    @takes_options(ScanOptions)
    def __init__(
        self,
        models: Mapping[str, Model] | ModelComparison,
        image: Tensor | NDArray[Any] | None = None,
        segment: Tensor | NDArray[Any] | Mapping[str, Tensor | NDArray[Any]] | None = None,
        circle_size: int | None = None,
        offset: int | None = None,
        channel: int | Sequence[int] = -1,
        *,
        result_type: ResultType | str = ResultType.RAW,
        order: ShownOrder = "mean",
        color_map: str | Colormap = "Blues",
        opacity: float = 0.7,
        measure: MeasureName | None = None,
        explain_by: str | None = None,
        display: Display | Bands | None = None,
        device: torch.device | str | None = None,
        normalize: bool = False,
        **options: Unpack[ScanKeywords],
    ) -> None:
        ready = models if isinstance(models, ModelComparison) else None
        sources: dict[str, ScanSource] = {}
        if ready is not None:
            given = {"image": image, "segment": segment, "circle_size": circle_size, "offset": offset, **options}
            if unused := [name for name, value in given.items() if value is not None]:
                raise TypeError(f"a ModelComparison has its own {unused[0]}; give models to scan with another one")
            one = next(iter(ready.results.values()))
            shown, truth, ignored = one.image, one.segment, one.ignored
            grid, settings, covered = one.grid, one.settings, one.settings.channel
            kept, all_classes = _keeps_masks(one), bool(one.classes)
        else:
            check_models(models)
            check_each_model(models, device, options)  # type: ignore[arg-type]  # a ModelComparison is ready
            if image is None:
                raise TypeError("HDMComparison needs an image: HDMComparison(models, image, segment)")
            for name, model in models.items():  # type: ignore[union-attr]  # a ModelComparison is ready
                sources[name] = ScanSource(
                    model, image, segment, device, None, circle_size, offset, normalize,
                    **with_defaults(
                        options, measure, result_type=result_type, explain_by=explain_by, normalize=normalize
                    ),
                )  # fmt: skip
            first = next(iter(sources.values()))
            shown, grid = first.image.numpy(), first.grid
            covered = check_channel(channel, len(shown))
            scans = [source.prepare(covered, grid) for source in sources.values()]
            # What can be said of the input is the same for all.
            scans[0].warn()
            settings, truth, ignored = scans[0].settings, scans[0].truth.mask, scans[0].truth.ignored
            kept, all_classes = scans[0].keep_outputs, scans[0].all_classes
        _check_size(grid)
        names = list(sources if ready is None else ready.results)
        truths = sources[names[0]].truths if sources else {}
        answers = {name: Answers(settings, keep_outputs=kept, truths=truths) for name in names}
        own = answers[names[0]].own
        asked = answers[names[0]].check(Question(measure or own.measure, explain_by or own.explain_by, settings.target))
        check_look(order, opacity)
        self._display = Display.wrap(display)
        drawn = drawn_image(shown, self._display, color_map)

        # From here on self exists; what is not a trait is set first because observers use it.
        self._set_up(grid, len(shown))
        self._sources, self._each, self._answers = sources, answers, answers[names[0]]
        self._updates: dict[str, ScanUpdate] = {}
        self._latest = None
        self._asked_last = asked
        self._running = ""
        if ready is not None:
            self._updates = {name: whole_update(result) for name, result in ready.results.items()}
        super().__init__(
            result_type=ResultType(result_type).value,
            order=order,
            opacity=opacity,
            _names=names,
            _maps=[{} for _ in names],
            _inspectors=[{} for _ in names],
            _ready_made=ready is not None,
            _classes=named_classes((settings.target,), {}) if all_classes and settings.target is not None else [],
            _difference_colors=color_table(DIVERGING).tobytes(),
            **scan_traits(shown, truth, ignored, grid, settings, self._answers, asked),
            **drawn,
        )
        self._observe_settings()
        self.observe(self._switch, names=["target", "measure", "explain_by", "object"])
        self._begin(self)
        if ready is None:
            self.run()
        else:
            self._scanned = self._settings()
            self._show()
            self.status, self.progress = "done", 1.0

    # -- for users ------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models, in their order."""
        return tuple(self._names)

    @property
    def results(self) -> dict[str, HDMResult]:
        """What each model's scan has measured so far, in the measure that is shown; empty before the first update."""
        self._check_open()
        asked = self._asked()
        return {name: self._each[name].of(one.result, asked) for name, one in self._updates.copy().items()}

    @property
    def comparison(self) -> ModelComparison | None:
        """All results; None before every model has been run."""
        results = self.results
        return ModelComparison(results) if len(results) == len(self._names) else None

    @property
    def difference(self) -> NDArray[np.float64] | None:
        """Second model less the first, float64 (rows, cols); NaN where not measured, None before both have been run."""
        results = self.results
        both = [results[name] for name in self._names[:2] if name in results]
        return ModelComparison(dict(zip(self._names[:2], both, strict=True))).difference if len(both) == 2 else None

    def run(self) -> None:
        """Scan with the present settings, from the beginning; returns at once."""
        if self._ready_made:
            raise ValueError("this comparison was made of results; give HDMComparison the models to scan again")
        super().run()

    def _forget(self) -> None:
        self._updates = {}

    def _end(self) -> None:
        with self._publishing:
            self._worker.close()
            self._sources, self._updates, self.exception = {}, {}, None
            for answers in self._each.values():
                answers.forget()
        # A closed widget may live on in the notebook's output history; its bytes need not.
        for name in ("_image", "_edges", "_truth", "_ignored"):
            self.set_trait(name, b"")
        self._color_tables = {}
        self._maps, self._inspectors = [], []

    # -- traits ---------------------------------------------------------------------------------------

    def _checked(self, proposal: Any) -> Any:
        fixed = proposal["trait"].name in self._settings()
        if fixed and self._ready_made and self._ended is False:
            message = "this comparison was made of results; give HDMComparison the models to scan with other settings"
            raise traitlets.TraitError(message)
        return super()._checked(proposal)

    _check = traitlets.validate(*ScanningExplorer._check.trait_names)(_checked)

    def _try(self, asked: Question) -> Question:
        for name, answers in self._each.items():
            answers.check(asked)
            if name in self._updates:
                answers.of(self._updates[name].result, asked)
        return asked

    def _switch(self, _change: Any) -> None:
        # One message: no map is drawn with the texts of another measure.
        with self._publishing, self.hold_sync():
            self._asked_last = self._without_other_object()
            self._errors.tell("question", "")
            self._about = {**self._about, **told(self._answers.settings(self._asked()), self._asked())}
            self._show()
            self._inspect()

    def _inspect(self, _change: Any = None) -> None:
        with self._publishing:
            self._inspectors = [self._inspected(name) for name in self._names]

    def _inspected(self, name: str) -> dict[str, Any]:
        """What is known of the pinned cell with a model."""
        if self.cell is None:
            return {}
        update = self._updates.get(name)
        if update is None or update.result.grid != self._grid:
            return {"cell": self.cell, "pending": True}
        row, col = self.cell
        return inspect_cell(self._each[name].of(update.result, self._asked()), row, col, self._display)

    # -- the scans, in their thread ---------------------------------------------------------------------

    def _scan(self, channel: Channel, grid: Grid, fill: Fill, stop: threading.Event) -> None:
        try:
            for name, source in self._sources.items():
                self._running = name
                shown, stride = 0.0, 0
                with closing(source.prepare(channel, grid, fill).updates(stop.is_set)) as updates:
                    for update in updates:
                        with self._publishing:
                            if stop.is_set():
                                return
                            self._updates = {**self._updates, name: update}
                            ended = update.done == update.total
                            late = time.perf_counter() - shown > SECONDS_BETWEEN_MAPS
                            if ended or update.stride != stride or late:
                                self._show()
                                shown, stride = time.perf_counter(), update.stride
            self._finish(stop, "done")
        except Exception as error:  # noqa: BLE001 - shown in the widget, kept in `exception`
            self._finish(stop, "error", error)

    def _error_text(self, error: Exception) -> str:
        return error_of_model(self._running, error)

    def _show(self) -> None:
        updates = self._updates
        if not updates:
            return
        first = next(iter(updates.values())).result
        if first.classes:
            self._classes = named_classes(first.classes, {})
        try:
            results = self.results
        except ValueError as error:
            # There is no such class, or one of its masks is empty under empty="raise".
            own = self._answers.own
            with self.hold_trait_notifications():
                self.target, self.measure, self.explain_by = first.settings.target, own.measure, own.explain_by
                self.object = None
            self._errors.tell("question", str(error))
            return
        self._maps = [
            {
                **map_message(replace(updates[name], result=results[name])),
                "prediction": bits(results[name].baseline_mask),
            }
            if name in updates
            else {}
            for name in self._names
        ]
        shown = next(iter(results.values()))
        self._ignored = b"" if shown.ignored is None else bits(shown.ignored)
        if self._about["has_truth"]:
            scanned = self._answers.scanned(first, self._asked().target)
            explained = self._answers.truth(scanned, self._asked())
            self._truth = bits(scanned.segment if explained.of_prediction else explained.mask)
        empty = not any(result.segment.any() for result in results.values())
        self._about = {**self._about, **told(shown.settings, self._asked()), "truth_empty": empty}
        done = sum(update.done / update.total for update in updates.values() if update.total)
        self.progress = done / len(self._names)
        if any(one.get("pending") for one in self._inspectors):
            self._inspect()

    def __repr__(self) -> str:
        if self._ended:
            return "HDMComparison(closed)"
        grid = self._grid
        return (
            f"HDMComparison({', '.join(map(repr, self._names))}: {grid.height} rows x {grid.width} columns, "
            f"circle_size={grid.circle_size}, offset={grid.offset}, status={self.status!r})"
        )


def _check_size(grid: Grid) -> None:
    """Refuse an image whose masks, of several models at once, a browser would not cope with."""
    if max(grid.height, grid.width) > LARGEST_COMPARED:
        raise ValueError(
            f"HDMComparison shows images of at most {LARGEST_COMPARED} px a side, this one has {grid.height} x "
            f"{grid.width} px (rows x columns); cut the part out that is of interest, or compare in Python with "
            "hdm.compare_models, or with HDMExplorer(model, image, segment, compare_with=...)"
        )


def _keeps_masks(result: HDMResult) -> bool:
    """Whether a result has masks, of which other measures are taken."""
    try:
        kept_masks(result)
    except ValueError:
        return False
    return True
