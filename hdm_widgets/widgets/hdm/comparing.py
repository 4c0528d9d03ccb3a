"""What the HDM explorer compares in panels below its map: fills, models, objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from hdm_widgets._validation import check_channel
from hdm_widgets.hdm.answers import Question
from hdm_widgets.hdm.circle_map import ResultType
from hdm_widgets.hdm.fill_comparison import FillComparison
from hdm_widgets.hdm.fill_names import fill_text, read_fill
from hdm_widgets.hdm.messages import disc_drawn_message
from hdm_widgets.hdm.model_comparison import ModelComparison
from hdm_widgets.hdm.object_influence import ObjectInfluence
from hdm_widgets.hdm.questions import ComparedMask
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.widgets.hdm.background_panel import BackgroundPanel
from hdm_widgets.widgets.hdm.fill_panel import SIGNIFICANT, fill_message, fills_message
from hdm_widgets.widgets.hdm.model_panel import THIS_MODEL, OtherModel, models_message, scan_others
from hdm_widgets.widgets.hdm.object_panel import find_influence, objects_message, several_objects
from hdm_widgets.widgets.hdm.scan_source import ScanSource
from hdm_widgets.widgets.hdm.scanning import SETTINGS, ScanningExplorer

__all__ = ["ComparingExplorer"]


class ComparingExplorer(ScanningExplorer):
    """Base of the HDM explorer.

    It calls `_set_up_panels` before its traits are set, and `_observe_panels` when they are.
    """

    _source: ScanSource | None

    def _set_up_panels(self, others: Mapping[str, OtherModel]) -> None:
        self._others = dict(others)

        def tell(name: str) -> Callable[[dict[str, Any]], None]:
            return lambda message: self.set_trait(name, message)

        self._fill_comparison: BackgroundPanel[FillComparison] = BackgroundPanel(
            self._tell_fills, fills_message, self._show_fill
        )
        # What this model and others have measured: what is shown of it follows the measure on screen.
        self._model_results: BackgroundPanel[dict[str, HDMResult]] = BackgroundPanel(
            tell("_model_panel"), self._told_models
        )
        self._models_told: Question | None = None
        # Fills whose discs are known to be drawn themselves, of scans with these other settings.
        self._drawn_fills: tuple[tuple[Any, ...], set[str]] = (), set()
        self._objects: BackgroundPanel[ObjectInfluence] = BackgroundPanel(tell("_object_panel"), objects_message)
        self._panels: tuple[BackgroundPanel[Any], ...] = (self._fill_comparison, self._model_results, self._objects)

    def _observe_panels(self) -> None:
        self.observe(self._show_significance, names=[*SETTINGS, "target", "measure", "explain_by", "object"])
        self.observe(self._renew_panels, names=["_map"])
        for name, panel, start in (
            ("fills", self._fill_comparison, self.compare_fills),
            ("models", self._model_results, self.compare_models),
            ("objects", self._objects, self.compare_objects),
        ):
            self._observe_panel(name, panel, start)

    def _observe_panel(self, name: str, panel: BackgroundPanel[Any], start: Callable[[], None]) -> None:
        self.on_request(f"compare_{name}", lambda _: start())
        self.on_request(f"cancel_{name}", lambda _: panel.cancel())
        self.on_request(f"hide_{name}", lambda _: panel.hide())

    # -- for users ------------------------------------------------------------------------------------

    @property
    def fill_comparison(self) -> FillComparison | None:
        """What the newest finished comparison of fills found; None before there is one."""
        self._check_open()
        return self._fill_comparison.found

    @property
    def model_comparison(self) -> ModelComparison | None:
        """The newest finished comparison of this model with those of `compare_with`, in the measure that is shown.

        Of the settings that the scan had when `compare_models` was called; None before there is one.
        """
        self._check_open()
        results = self._model_results.found
        return None if results is None else self._compared_models(results, self._asked())

    @property
    def object_influence(self) -> ObjectInfluence | None:
        """How objects of what is explained change objects of the prediction, see `hdm.HDMResult.object_influence`.

        None before the scan has ended, where masks are not kept, and where one of the two masks has no object.
        """
        self._check_open()
        with self._publishing:
            asked = self._objects_asked()
        if asked is None or asked[0]._masks is None:
            return None
        scanned, explained, name = asked
        return (
            find_influence(scanned, explained, name) if explained.mask.any() and scanned.baseline_mask.any() else None
        )

    def compare_fills(self) -> None:
        """Compare fills in the background, by the measure that is shown; returns at once, and `wait` waits for it.

        The scan and its result stay as they are. When it is done, `fill_comparison` has it, and `result_type` may be
        "significant": raw values, hatched where they cannot be told from chance.

        Raises
        ------
        ValueError
            If nothing is measured yet, or the image is covered or measured in your own way.
        """
        self._check_open()
        shown = self.result
        if shown is None:
            raise ValueError("nothing is measured yet; wait() for the scan first")
        if not self._fills or shown.settings.distance == "custom":
            raise ValueError("fills are compared by hdm's own discs and measures; this explainer has its own")
        source, grid, asked = self._source, self._grid, self._asked()
        channel = check_channel(self.channel, self._channels)
        assert source is not None  # until it is closed  # noqa: S101
        self._fill_comparison.start(
            lambda news: source.compare_fills(channel, grid, asked, news, news.measured),
            self._compared(),
            self._show_significance,
        )

    def compare_models(self) -> None:
        """Scan with the models of `compare_with` in the background; returns at once, and `wait` waits for it.

        They are scanned with the settings of the scan on screen, whose result is not measured again. When it is done,
        `model_comparison` has it.

        Raises
        ------
        ValueError
            If there are no other models, or the scan has not ended.
        """
        self._check_open()
        if not self._others:
            raise ValueError("there is no other model; HDMExplorer(..., compare_with={'after': model_b}) has one")
        latest = self._latest
        if latest is None or latest.done < latest.total:
            raise ValueError("the scan has not ended; wait() for it first")
        others, grid, channel = self._others, self._grid, check_channel(self.channel, self._channels)
        fill, own = read_fill(self.fill), {THIS_MODEL: latest.result}
        self._model_results.start(
            lambda progress: own | scan_others(others, channel, grid, fill, progress), self._settings()
        )

    def compare_objects(self) -> None:
        """Show the panel of objects on objects; `object_influence` has the same in Python.

        Raises
        ------
        ValueError
            If the scan has not ended, or there is no object.
        """
        self._check_open()
        with self._publishing:
            asked = self._objects_asked()
            if asked is None:
                raise ValueError("the scan has not ended; wait() for it first")
            self._objects.start(lambda _: find_influence(*asked), self._objects_key())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the scan, and for what is compared, to end, however they end.

        Parameters
        ----------
        timeout : float, optional
            In seconds; without it as long as it takes.

        Returns
        -------
        bool
            False if one of them still runs.
        """
        started = time.perf_counter()
        if not super().wait(timeout):
            return False
        for panel in self._panels:
            left = None if timeout is None else max(0.0, timeout - (time.perf_counter() - started))
            if not panel.wait(left):
                return False
        return True

    # -- what the panels show -------------------------------------------------------------------------

    def _tell_fills(self, message: dict[str, Any]) -> None:
        self._fill_panel = message
        # What is found has all maps, and what is cancelled none.
        if message.get("status") != "running" or not message["total"]:
            self._fill_maps = {}

    def _show_fill(self, result: HDMResult) -> None:
        self._fill_maps = {"fills": [*self._fill_maps.get("fills", []), fill_message(result)]}

    def _close_panels(self) -> None:
        for panel in self._panels:
            panel.close()
        for other in self._others.values():
            other.answers.forget()
        self._others = {}
        for name in ("_fill_panel", "_fill_maps", "_model_panel", "_object_panel"):
            self.set_trait(name, {})

    def _compared(self) -> tuple[Any, ...]:
        """What a comparison of fills is of: all but the fill."""
        return *(value for name, value in self._settings().items() if name != "fill"), self._asked()

    def _show_significance(self, _change: Any = None) -> None:
        """Offer the map of significance where it is of what is shown."""
        fills = self._fill_comparison
        matches = fills.found is not None and fills.asked == self._compared()
        if not matches and self.result_type == SIGNIFICANT:
            self.result_type = ResultType.RAW.value
        self._has_significance = matches
        if matches and self._disc_drawn:
            self._show_disc_drawn(self._of_class())

    def _show_disc_drawn(self, result: HDMResult | None) -> None:
        """Say where discs are drawn themselves, with a fill that is not known to be: None: say nothing."""
        message: dict[str, Any] = {}
        if result is not None and result.disc_drawn:
            scanned = (*self._compared()[:-1], self.target)
            if self._drawn_fills[0] != scanned:
                self._drawn_fills = scanned, set()
            known, found = self._drawn_fills[1], self._fill_comparison.found
            compared = found.results.values() if found and self._fill_comparison.asked == self._compared() else ()
            known.update(fill_text(one.settings.fill) for one in (result, *compared) if one.disc_drawn)
            message = disc_drawn_message(result, known)
        self._disc_drawn = message

    def _told_models(self, results: dict[str, HDMResult]) -> dict[str, Any]:
        self._models_told = asked = self._asked()
        return models_message(self._compared_models(results, asked))

    def _compared_models(self, results: dict[str, HDMResult], asked: Question) -> ModelComparison:
        answers = {THIS_MODEL: self._answers, **{name: other.answers for name, other in self._others.items()}}
        return ModelComparison({name: answers[name].of(result, asked) for name, result in results.items()})

    def _objects_asked(self) -> tuple[HDMResult, ComparedMask, str] | None:
        """The result whose objects are looked at, the mask on whose objects discs lie, and its name.

        None until the scan has ended. Discs lie on the truth's objects also while the prediction is explained: the
        matrix stays when one of its objects is chosen.
        """
        latest, scanned = self._latest, self._of_class()
        if latest is None or scanned is None or latest.done < latest.total:
            return None
        own, asked = self._answers.own, self._asked()
        by = own.explain_by if asked.explain_by == "prediction" else asked.explain_by
        return scanned, self._answers.truth(scanned, asked._replace(object=None, explain_by=by)), by

    def _objects_key(self) -> tuple[Any, ...]:
        asked = self._objects_asked()
        return () if asked is None or self._latest is None else (id(self._latest.result), self.target, asked[2])

    def _renew_panels(self, _change: Any = None) -> None:
        """What is shown has changed: so do the panels that follow it without a run of the model."""
        if self._ended:
            return
        models = self._model_results
        if models.open and not models.running and self._asked() != self._models_told:
            models.tell_again()
        asked = self._objects_asked()
        if asked is None:
            return
        scanned, explained, _ = asked
        self._several_objects = several_objects(scanned, explained)
        if self._objects.open and self._objects.asked != self._objects_key():
            if self._several_objects:
                self.compare_objects()
            else:
                self._objects.hide()
