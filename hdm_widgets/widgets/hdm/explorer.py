"""Hausdorff Distance Masks with sliders: the HDM explorer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Unpack

import torch
from matplotlib.colors import Colormap
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._masks import without
from hdm_widgets._picture import Bands, Display
from hdm_widgets._validation import check_channel, documents_options, takes_options
from hdm_widgets.hdm.answers import Answers, Question, outlined, told, with_defaults
from hdm_widgets.hdm.circle_map import ResultType, ShownOrder
from hdm_widgets.hdm.class_names import ClassNames, check_class_names, check_name_count, named_classes
from hdm_widgets.hdm.explainer import HausdorffDistanceMasks
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.messages import inspect_cell, map_message
from hdm_widgets.hdm.named_measures import MeasureName
from hdm_widgets.hdm.occlusion import Channel, Fill
from hdm_widgets.hdm.options import ScanKeywords, ScanOptions
from hdm_widgets.hdm.page import write_page
from hdm_widgets.hdm.page_data import PageView
from hdm_widgets.hdm.pyramid import Pyramid, halvings, screen_bits
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.models.segmenter import Model
from hdm_widgets.widgets.hdm.comparing import ComparingExplorer
from hdm_widgets.widgets.hdm.fill_panel import SIGNIFICANT
from hdm_widgets.widgets.hdm.large_masks import LargeMasks
from hdm_widgets.widgets.hdm.model_panel import OtherModel, check_other_models
from hdm_widgets.widgets.hdm.scan_source import ScanSource
from hdm_widgets.widgets.hdm.scanning import SECONDS_BETWEEN_MAPS, check_look, drawn_image, scan_traits
from hdm_widgets.widgets.shared.part import read_static

__all__ = ["HDMExplorer"]


@documents_options(ScanOptions)
class HDMExplorer(ComparingExplorer):
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
    segment : torch.Tensor or numpy.ndarray (H, W), or dict of str to such, optional
        The ground truth, nonzero = segment: bool, whole numbers, or floats that are 0 and 1; with `target="all"` class
        numbers. Several annotators' masks go by their names: the scan is made with the first. Pixels that do not count,
        see `ignore`, are striped. Without it, the model's own mask for the image without a disc is explained: how far
        does each disc move it?
    circle_size, offset : int, optional
        Size of the disc, and steps from one to the next, in pixels. By default those of `explainer`, or about a tenth
        and a thirtieth of the shorter side.
    channel : int or sequence of int
        Occlude this channel only, or these; -1 for all.
    result_type : {hdm.RAW, hdm.BETTER_ONLY, hdm.WORSE_ONLY}
        What the map shows.
    order : {"mean", "change"}
        What a pixel shows of the discs over it: their mean, or the disc that changes most, as published.
    color_map : str or matplotlib.colors.Colormap
        Any of matplotlib's by its name; the trait has the name.
    opacity : float
        Of the circle map, in [0, 1].
    measure : {"hausdorff", "hausdorff95", "mean_surface", "iou", "dice", "area", "flipped", "rows"}, optional
        What is shown first, see `hdm.ScanOptions`; by default what the scan measures, `distance`. Without a `distance`,
        the scan measures this. Where none of `measure`, `distance` and `fill` is given, it is "flipped" with
        `fill="blur"`, see the notes; but as published where that would leave something else without effect: a
        `result_type` of better or worse, an `explain_by` that names a truth, `normalize`, or an `explainer` with its
        own `apply_mask` or `calculate_distance`.
    explain_by : str, optional
        What masks are compared with: "truth", or the name of one of several; "prediction", the model's own mask for the
        image without a disc. By default the truth, or the first of several, where there is one.
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
    compare_with : dict of str to torch.nn.Module, callable or Segmenter, optional
        Other models by their names, such as another checkpoint: "Compare models" scans with them too.
    **options
        See `hdm.ScanOptions`.

    Attributes
    ----------
    circle_size, offset, channel, result_type, order, color_map, opacity
        Traits as above; assigning one moves the control on screen and the reverse.
    cell : tuple of int or None
        (row, col) of the pinned cell.
    target : int or None
        The class that is shown. With `target="all"` assigning another one switches at once, without a run of the model,
        and `result` is of that class.
    fill : str
        What the discs show: "minimum", "mean", "blur", "noise", "inpainted", or a number as text; several numbers have
        commas between them. A number or a sequence of numbers may be assigned too. Another one starts a new scan; going
        back to one is quick.
    shape : {"disc", "square"}
        What covers the image.
    measure, explain_by : str
        As above. Assigning another one switches at once, without a run of the model; `result` is what `result.measure`
        would give. "rows" is on offer where the scan was made with it.
    object : tuple of int or None
        (row, col) of a pixel of one object, of the truth or of the prediction, that is explained as if it were alone,
        see `hdm.HDMResult.for_object`; None for all objects. Another `explain_by` or `target` has all again.
    against : int or None
        Class against class, with `target="all"`: while it is a class, the map shows how much of the class `target` each
        disc turns into it, see `hdm.HDMResult.class_change`. None for the map of `measure`.
    brush : list of int
        The region that is brushed on the stage, as its runs: row, first and past-the-last pixel of each. While there is
        one, the map shows `influence`.
    region : numpy.ndarray, bool (H, W), or None
        The same as a mask; None where nothing is brushed. Assigning one brushes it.
    influence : numpy.ndarray, float64 (rows, cols), or None
        Fraction of the brushed region's pixels that each disc flips, see `hdm.HDMResult.influence`.
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
    The explorer opens with what points best at what a model looks at, where that is known (see "Are the maps true?" in
    the documentation): flipped area, blurred discs, and at each pixel the mean of the discs over it. The published
    picture has Hausdorff distances, black discs, and the largest change on top::

        HDMExplorer(model, image, segment, measure="hausdorff", fill="minimum", order="change")

    As soon as one of `measure`, `distance` and `fill` is given, the others are as in `hdm.ScanOptions`.

    The map on screen is `result.circle_map(result_type, color_map, order=order)`. There the image is lightened under it
    and shows through where little or nothing changes; a signed measure has two ranges of colors that meet at 0. Where
    the screen has more pixels than the image, the discs are round.

    Where one speck or one object decides most Hausdorff distances, or all are nearly the same, a line on the screen
    says so and offers another measure.

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
        normalize: bool | None = None,
        class_names: ClassNames | None = None,
        explainer: HausdorffDistanceMasks | None = None,
        compare_with: Mapping[str, Model] | None = None,
        **options: Unpack[ScanKeywords],
    ) -> None:
        def source_of(model: Model) -> ScanSource:
            return ScanSource(
                model, image, segment, device, explainer, circle_size, offset, normalize,
                **with_defaults(
                    options, measure, explainer, result_type=result_type, explain_by=explain_by, normalize=normalize
                ),
            )  # fmt: skip

        check_look(order, opacity)
        source = source_of(model)
        shown = source.image.numpy()
        self._display = Display.wrap(display)
        # Everything that can be wrong with the input is said now, before any work starts, and once.
        covered = check_channel(channel, len(shown))
        scan = source.prepare(covered, source.grid)
        scan.warn()
        names = check_class_names(class_names, all_classes=scan.all_classes)
        target = scan.segmenter.target
        answers = Answers(scan.settings, keep_outputs=scan.keep_outputs, truths=source.truths)
        own = answers.own
        asked = answers.check(Question(measure or own.measure, explain_by or own.explain_by, target))
        others = {}
        if compare_with is not None:
            check_other_models(compare_with)
            for name, other in compare_with.items():
                prepared = (its_source := source_of(other)).prepare(covered, source.grid)
                its_answers = Answers(prepared.settings, keep_outputs=prepared.keep_outputs, truths=source.truths)
                others[name] = OtherModel(its_source, its_answers)
        pyramid = Pyramid(shown, self._display.view(shown)) if halvings(*shown.shape[1:]) else None
        drawn = drawn_image(shown, self._display, color_map, pyramid)

        # From here on self exists; what is not a trait is set first because observers use it.
        self._set_up(source.grid, len(shown))
        # A pixel of the first image and of the masks on screen is so many pixels of the image wide.
        self._step = 1 if pyramid is None else 2 ** (len(pyramid.levels) - 1)
        self._large = None if pyramid is None else LargeMasks(scan.truth.mask)
        bundle = {} if pyramid is None else {"_esm": read_static("hdm_large.js"), "_css": read_static("hdm_large.css")}
        self._source: ScanSource | None = source
        self._answers = answers
        self._asked_last = asked
        self._latest: ScanUpdate | None = None
        self._set_up_panels(others)
        self._names = names
        super().__init__(
            result_type=ResultType(result_type).value,
            order=order,
            opacity=opacity,
            _other_models=list(others),
            _classes=named_classes((target,), names) if scan.all_classes and target is not None else [],
            **scan_traits(
                shown, scan.truth.mask, scan.truth.ignored, source.grid, scan.settings, answers, asked,
                pack=screen_bits, step=self._step,
            ),
            **drawn,
            **bundle,
        )  # fmt: skip
        if pyramid is not None and self._large is not None:
            self.on_request("tile", pyramid.tile)
            self.on_request("masks", self._large.part)
            self.on_request("objects", self._large.objects)
        self._observe_settings()
        self._observe_panels()
        self.observe(self._switch, names=["target", "measure", "explain_by", "object"])
        self.observe(self._show_influence, names=["brush", "result_type", "order"])
        self.observe(self._choose_other_class, names=["against"])
        self.observe(self._show_class_change, names=["target"])
        self._begin(self)
        self.run()

    # -- for users ------------------------------------------------------------------------------

    @property
    def result(self) -> HDMResult | None:
        """What the newest scan has measured so far, in the measure that is shown; None before its first update."""
        self._check_open()
        return self._shown_result()

    def _shown_result(self) -> HDMResult | None:
        latest = self._latest
        return self._answers.of(latest.result, self._asked()) if latest else None

    def _forget(self) -> None:
        self._latest = None

    def to_html(self, path: str | os.PathLike[str], *, title: str | None = None) -> None:
        """Write a page that shows the finished scan as it is on screen, without Python and without a network.

        The page explains all objects of the truth and of the prediction; where one object is chosen, this one alone, of
        the class on screen.

        Parameters
        ----------
        path : path-like
            Written as given; `.html` is the usual ending.
        title : str, optional
            What stands over the page.

        Raises
        ------
        FileNotFoundError
            If the folder does not exist.
        ValueError
            If the scan has not ended.

        See Also
        --------
        hdm.HDMResult.to_html : The same for a result.
        """
        self._check_open()
        with self._publishing:
            latest, source = self._latest, self._source
            if latest is None or source is None or latest.done < latest.total:
                done = "no cell is" if latest is None else f"{latest.done} of {latest.total} cells are"
                raise ValueError(f"{done} measured yet, and a page shows a complete scan; wait() waits for it")
            asked, one = self._asked(), self.object is not None
            # The page of one object is that of its result, which knows nothing else.
            result = self._answers.of(latest.result, asked) if one else latest.result
            view = PageView(
                display=self._display,
                color_map=self.color_map,
                color_maps=self._color_tables,
                result_type="raw" if self.result_type == SIGNIFICANT else self.result_type,
                order=self.order,
                opacity=self.opacity,
                layers=tuple(self.layers),
                cell=self.cell,
                question=None if one else asked,
                brush=self.brush,
                against=None if one else self.against,
                classes=[] if one else self._classes,
                seconds=latest.seconds,
                annotator=self.explain_by if one and self.explain_by not in ("truth", "prediction") else "",
            )
        answers = None if one else self._answers
        write_page(path, result, view, answers, title=title, model_name=source.model_name)

    def _end(self) -> None:
        with self._publishing:
            self._worker.close()
            self._source = self._latest = self.exception = None
            self._answers.forget()
            if self._large is not None:
                self._large.forget()
            self._painted_change.forget()
        self._close_panels()
        # A closed widget may live on in the notebook's output history; its bytes need not.
        for name in ("_image", "_edges", "_truth", "_ignored", "_nearer_to_others", "_prediction"):
            self.set_trait(name, b"")
        for name in ("_color_tables", "_map", "_inspector", "_influence", "_class_change", "_proposal", "_disc_drawn"):
            self.set_trait(name, {})

    # -- changes of traits ------------------------------------------------------------------------

    def _switch(self, _change: Any) -> None:
        before = self._asked_last
        if self._asked() == before:
            return
        # One message: no map is drawn with the texts of another measure.
        with self._publishing, self.hold_sync():
            self._asked_last = asked = self._without_other_object()
            if asked.explain_by != before.explain_by:
                self.layers = outlined(self.layers, asked)
            self._errors.tell("question", "")
            if self._latest is None:
                self._about = {**self._about, **told(self._answers.settings(asked), asked)}
            else:
                self._show(masks=True)
            self._inspect()

    def _inspect(self, _change: Any = None) -> None:
        with self._publishing:
            if self.cell is None:
                self._inspector = {}
            elif self._latest is None or self._latest.result.grid != self._grid:
                self._inspector = {"cell": self.cell, "pending": True}
            else:
                row, col = self.cell
                self._inspector = inspect_cell(
                    self._answers.of(self._latest.result, self._asked()),
                    row,
                    col,
                    self._display,
                    large=self._large is not None,
                )

    # -- the scan, in its thread --------------------------------------------------------------------

    def _scan(self, channel: Channel, grid: Grid, fill: Fill, stop: threading.Event) -> None:
        source = self._source
        if source is None or stop.is_set():
            return
        try:
            with closing(source.prepare(channel, grid, fill).updates(stop.is_set)) as updates:
                shown, stride = 0.0, 0
                for update in updates:
                    with self._publishing:
                        if stop.is_set():
                            return
                        self._latest = update
                        if not update.done:
                            check_name_count(update.result, self._names)
                        ended = update.done == update.total
                        if ended or update.stride != stride or time.perf_counter() - shown > SECONDS_BETWEEN_MAPS:
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
                self.object = None
            self._errors.tell("question", str(error))
            return
        if masks or not self._prediction or not update.done:
            self._show_masks(result, asked)
        self._map = map_message(replace(update, result=result))
        self._show_influence()
        self._show_class_change()
        done = update.done == update.total
        self._propose(result, done=done)
        # Of the scan's own measure: that result stays, and knows it already when the measure changes.
        self._show_disc_drawn((self._of_class() or result) if done else None)
        self.progress = update.done / update.total
        # A pinned cell is shown once it is measured, and again at the end: its rank may have changed.
        if self._inspector.get("pending"):
            self._inspect()

    def _show_masks(self, result: HDMResult, asked: Question) -> None:
        self._prediction = screen_bits(result.baseline_mask)
        scanned = self._of_class() or result
        explained = self._answers.truth(scanned, asked)
        # The model may have no output for some pixels.
        self._ignored = b"" if explained.ignored is None else screen_bits(explained.ignored)
        nearer = None if asked.object is None else result.ignored
        self._nearer_to_others = b"" if nearer is None else screen_bits(without(nearer, explained.ignored))
        if self._about["has_truth"]:
            self._truth = screen_bits(scanned.segment if explained.of_prediction else explained.mask)
        about = {**self._about, **told(result.settings, asked), "truth_empty": not result.segment.any()}
        if self._large is not None:
            truth = scanned.segment if explained.of_prediction else explained.mask
            one = None if asked.object is None else result.segment
            self._large.show(truth, result.baseline_mask, explained.ignored, one)
            about["masks"] = self._large.version
        self._about = about

    def _show_end(self, status: str, error: Exception | None) -> None:
        super()._show_end(status, error)
        self._show_influence()

    def __repr__(self) -> str:
        if self._ended:
            return "HDMExplorer(closed)"
        grid = self._grid
        return (
            f"HDMExplorer({grid.height} rows x {grid.width} columns, circle_size={grid.circle_size}, "
            f"offset={grid.offset}, status={self.status!r})"
        )
