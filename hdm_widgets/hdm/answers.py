"""What the HDM explorer is asked of a scan: which measure, against what, of which class."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, get_args

from hdm_widgets._masks import GivenMask, without
from hdm_widgets._validation import check_choice
from hdm_widgets.hdm.circle_map import ResultType
from hdm_widgets.hdm.explainer import HausdorffDistanceMasks
from hdm_widgets.hdm.messages import measure_message
from hdm_widgets.hdm.named_measures import MEASURES, MeasureName, measure_label
from hdm_widgets.hdm.options import ScanKeywords, ScanSettings
from hdm_widgets.hdm.questions import ComparedMask, StoredMeasure, compared_object
from hdm_widgets.hdm.result import HDMResult

__all__ = ["Answers", "Question", "outlined", "told", "with_defaults"]

# Measured on the raw output: the masks that a scan keeps do not give them.
_OF_RAW_OUTPUT = ("rows", "custom")


def with_defaults(
    options: ScanKeywords,
    measure: str | None,
    explainer: HausdorffDistanceMasks | None = None,
    *,
    result_type: ResultType | str = ResultType.RAW,
    explain_by: str | None = None,
    normalize: bool | None = None,
) -> ScanKeywords:
    """The options of an explorer's scans, which measure at once what is shown first, where they can.

    Where the user says neither what is measured nor what the discs show, that is what points best at what a model looks
    at, see docs/explanations.md. Whoever says one of them finds the others as `explain` has them. So does who asks for
    what flipped pixels and blurred discs have not: better or worse than the truth, one of several truths, or black
    discs on a scaled image.
    """
    own = isinstance(explainer, HausdorffDistanceMasks) and (explainer._is_custom or explainer.normalize)
    of_truth = ResultType(result_type) is not ResultType.RAW or explain_by not in (None, "prediction")
    published = own or normalize or of_truth
    if measure is None and not published and "distance" not in options and "fill" not in options:
        return {**options, "distance": "flipped", "fill": "blur"}
    if measure is None or measure == "custom" or "distance" in options:
        return options
    name = check_choice("measure", measure, MeasureName)
    # A spacing is for the other measures, which are a choice away.
    if "spacing" in options and not MEASURES[name].unit:
        return options
    return {**options, "distance": name}


class Question(NamedTuple):
    """What is asked of a scan.

    Attributes
    ----------
    measure : str
        A `MeasureName`, or "custom".
    explain_by : str
        "truth", "prediction", or the name of one of several ground truths.
    target : int or None
        The class, where there are several.
    object : tuple of int or None
        (row, col) of a pixel of the one object that is explained; None for all.
    """

    measure: str
    explain_by: str
    target: int | None
    object: tuple[int, int] | None = None


def outlined(layers: list[str], asked: Question) -> list[str]:
    """Layers with the outline of what is explained."""
    return [*layers, "prediction" if asked.explain_by == "prediction" else "truth"]


def told(settings: ScanSettings, asked: Question) -> dict[str, Any]:
    """How values are told on the screen, where one of several ground truths has a name."""
    return {**measure_message(settings), "compared_with": asked.explain_by}


class Answers:
    """Results of a scan as they were asked for, from its masks: the model is not run.

    Parameters
    ----------
    settings : ScanSettings
        How the scans are made.
    keep_outputs : bool
        Whether they keep masks; without them there is nothing to choose.
    truths : dict of str to GivenMask, optional
        Several ground truths by their names; the scans are made with the first.
    """

    def __init__(
        self, settings: ScanSettings, *, keep_outputs: bool, truths: Mapping[str, GivenMask] | None = None
    ) -> None:
        self._scanned, self._keep_outputs = settings, keep_outputs
        self._truths = dict(truths or {})
        # The screen's thread and the scan's may ask at once.
        self._lock = threading.Lock()
        # Answers from one result, so that going back to a question is quick.
        self._result: HDMResult | None = None
        self._answers: dict[Question, HDMResult] = {}
        self._stored: tuple[Question, StoredMeasure] | None = None

    @property
    def own(self) -> Question:
        """What the scan itself answers."""
        settings = self._scanned
        return Question(settings.distance, next(iter(self._truths), settings.compared_with), settings.target)

    @property
    def measures(self) -> list[list[str | bool]]:
        """Name and label of each measure on offer, and whether it is only as scanned, against the scan's own truth."""
        own = self._scanned.distance
        names = [name for name in get_args(MeasureName) if name not in _OF_RAW_OUTPUT] if self._keep_outputs else []
        names += [own] if own not in names else []
        return [[name, measure_label(name), name in _OF_RAW_OUTPUT] for name in names]

    @property
    def explained_by(self) -> list[str]:
        """What masks may be compared with."""
        own = self.own.explain_by
        if not self._keep_outputs or self._scanned.of_prediction:
            return [own]
        return [*(self._truths or [own]), "prediction"]

    def check(self, asked: Question) -> Question:
        """Refuse what cannot be measured of these scans.

        Raises
        ------
        ValueError
            Saying what can.
        """
        if asked.explain_by == "truth" and self._scanned.of_prediction:
            raise ValueError("there is no ground truth to explain; HDMExplorer(model, image, segment) has one")
        check_choice("explain_by", asked.explain_by, [*(self._truths or ["truth"]), "prediction"])
        names = [name for name, *_ in self.measures]
        if asked.measure in _OF_RAW_OUTPUT and asked.measure not in names:
            how = "distance='rows'" if asked.measure == "rows" else "an explainer with its own calculate_distance"
            raise ValueError(
                f"measure={asked.measure!r} is taken of the raw output, not of its masks; make the explorer with {how}"
            )
        check_choice("measure", asked.measure, dict.fromkeys([*get_args(MeasureName), self.own.measure]))
        other = asked._replace(target=None) != self.own._replace(target=None)
        if other and not self._keep_outputs:
            raise ValueError("the masks are not kept; HDMExplorer(..., keep_outputs=True) keeps them")
        if other and asked.measure in _OF_RAW_OUTPUT:
            raise ValueError(
                f"measure={asked.measure!r} is taken of the raw output, against the truth only and all of it; choose "
                "another measure first"
            )
        return asked

    def settings(self, asked: Question) -> ScanSettings:
        """How the answer to a question is told, before there is one."""
        scanned = self._scanned
        lasting = bool(MEASURES[asked.measure].unit) or asked.measure == scanned.distance
        return replace(
            scanned,
            distance=asked.measure,
            spacing=scanned.spacing if lasting else (1.0, 1.0),
            of_prediction=asked.explain_by == "prediction",
            of_object=asked.object is not None or (scanned.of_object and asked.explain_by == self.own.explain_by),
        )

    def scanned(self, result: HDMResult, target: int | None) -> HDMResult:
        """A result of a class, as the scan itself measures it."""
        return result if target is None or not result.classes else result.for_class(target)

    def of(self, result: HDMResult, asked: Question) -> HDMResult:
        """The answer to a question, of the cells that a result has.

        Raises
        ------
        ValueError
            If there is no such class, or a mask is empty under `empty="raise"`.
        """
        with self._lock:
            if self._result is not result:
                self._result = result
                self._answers.clear()
            if asked not in self._answers:
                self._answers[asked] = self._measured(self.scanned(result, asked.target), asked)
            return self._answers[asked]

    def _measured(self, result: HDMResult, asked: Question) -> HDMResult:
        if asked._replace(target=None) == self.own._replace(target=None):
            return result
        question, stored = self._stored or (None, None)
        if stored is not None and not stored.continues(result):
            question = stored = None
        if stored is None or question != asked:
            like = stored if question is not None and question._replace(measure=asked.measure) == asked else None
            stored = StoredMeasure(result, asked.measure, self._compared(result, asked), like=like)  # type: ignore[arg-type]  # checked
            self._stored = asked, stored
        return stored.measure(result)

    def _compared(self, result: HDMResult, asked: Question) -> ComparedMask | None:
        """What masks are compared with; None for what the scan compares them with."""
        truth = self.truth(result, asked)
        if asked.object is not None:
            return compared_object(truth, *asked.object, self._scanned.spacing)
        # The scan's own, without which the measure would not know it for the same.
        return None if asked.explain_by == self.own.explain_by else truth

    def truth(self, result: HDMResult, asked: Question) -> ComparedMask:
        """All that is explained, of a result of the scan itself: one object may be part of it."""
        if asked.explain_by == self.own.explain_by:
            return ComparedMask.scanned(result)
        if asked.explain_by == "prediction":
            return ComparedMask.read(result, "prediction")
        given = self._truths[asked.explain_by]
        # Its pixels without a label count as little as those of the scan.
        ignored = result.ignored
        if given.ignored is not None:
            ignored = given.ignored if ignored is None else ignored | given.ignored
        mask = given.mask if asked.target is None or not result.classes else given.with_class(asked.target).mask
        return ComparedMask(without(mask, ignored), ignored)

    def forget(self) -> None:
        """Free what was measured."""
        with self._lock:
            self._result = self._stored = None
            self._answers.clear()
