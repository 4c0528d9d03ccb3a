"""The traits of the HDM explorer, and what they may be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import traitlets

from hdm_widgets._validation import check_channel, check_choice
from hdm_widgets._wire import MESSAGE
from hdm_widgets.hdm.answers import Answers, Question
from hdm_widgets.hdm.circle_map import ResultType, ShownOrder, color_table
from hdm_widgets.hdm.fill_names import own_fill
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.messages import proposal_message, wire_channel
from hdm_widgets.hdm.objects import check_pixel
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.update import ScanUpdate
from hdm_widgets.widgets.hdm.brush import BrushTraits
from hdm_widgets.widgets.hdm.class_change import ClassChangeTraits
from hdm_widgets.widgets.hdm.fill_panel import SIGNIFICANT, FillPanelTraits
from hdm_widgets.widgets.hdm.fills import FillTrait, check_fill_text
from hdm_widgets.widgets.hdm.model_panel import ModelPanelTraits
from hdm_widgets.widgets.hdm.object_panel import ObjectPanelTraits
from hdm_widgets.widgets.shared.explorer import Explorer
from hdm_widgets.widgets.shared.part import Part

__all__ = ["HDMTraits"]

_LAYERS = ("picture", "edges", "map", "truth", "prediction")


class HDMTraits(BrushTraits, ClassChangeTraits, FillPanelTraits, ModelPanelTraits, ObjectPanelTraits, Explorer, Part):
    """Base of the HDM explorer, which documents what its traits are."""

    circle_size = traitlets.Int().tag(sync=True)
    offset = traitlets.Int().tag(sync=True)
    channel: Any = traitlets.Union([traitlets.Int(), traitlets.List(traitlets.Int())], default_value=-1).tag(sync=True)
    fill = FillTrait("minimum").tag(sync=True)
    shape = traitlets.Unicode("disc").tag(sync=True)
    result_type = traitlets.Unicode("raw").tag(sync=True)
    order: Any = traitlets.Unicode("mean").tag(sync=True)
    color_map = traitlets.Unicode("Blues").tag(sync=True)
    opacity = traitlets.Float(0.7).tag(sync=True)
    cell = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=None, allow_none=True).tag(sync=True)
    layers = traitlets.List(traitlets.Unicode(), ["picture", "map", "truth"]).tag(sync=True)
    target = traitlets.Int(default_value=None, allow_none=True).tag(sync=True)
    measure = traitlets.Unicode("hausdorff").tag(sync=True)
    explain_by = traitlets.Unicode("truth").tag(sync=True)
    object: Any = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=None, allow_none=True).tag(sync=True)
    status = traitlets.Unicode("idle").tag(sync=True)
    progress = traitlets.Float(0.0).tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)

    # Number and name of each class on offer; empty if there is one.
    _classes: Any = traitlets.List().tag(sync=True)
    # Name and label of each measure on offer, and whether it is for the scan's own truth only.
    _measures: Any = traitlets.List().tag(sync=True)
    # Text and label of each fill on offer; none where an explainer covers the image in its own way.
    _fills: Any = traitlets.List().tag(sync=True)
    # What masks may be compared with.
    _explained_by: Any = traitlets.List().tag(sync=True)
    # What the screen draws from. Maps are painted in the browser.
    _about = traitlets.Dict().tag(**MESSAGE)
    _image = traitlets.Bytes().tag(sync=True)
    _edges = traitlets.Bytes().tag(sync=True)
    # Gray level of the image's ground, 0 to 255: no change looks like it, lightened.
    _ground = traitlets.Int(128).tag(sync=True)
    _truth = traitlets.Bytes().tag(sync=True)
    _ignored = traitlets.Bytes().tag(sync=True)
    # Where one object is explained.
    _nearer_to_others = traitlets.Bytes().tag(sync=True)
    _prediction = traitlets.Bytes().tag(sync=True)
    # By the names of color maps, which are no keys of a message.
    _color_tables = traitlets.Dict().tag(sync=True)
    _map = traitlets.Dict().tag(**MESSAGE)
    _inspector = traitlets.Dict().tag(**MESSAGE)
    # Another measure that would show more, and why; empty if there is none.
    _proposal = traitlets.Dict().tag(**MESSAGE)
    # The settings of the scan that was started last: the screen knows by them that Python has received its own.
    _scanned = traitlets.Dict().tag(**MESSAGE)

    _changing = (
        "status", "progress", "error", "_classes", "_truth", "_ignored", "_nearer_to_others", "_prediction",
    )  # fmt: skip

    # What values are checked against.
    _grid: Grid
    _channels: int
    _latest: ScanUpdate | None
    _answers: Answers

    _check = traitlets.validate(
        "circle_size",
        "offset",
        "channel",
        "fill",
        "shape",
        "cell",
        "result_type",
        "order",
        "color_map",
        "opacity",
        "layers",
        "target",
        "measure",
        "explain_by",
        "object",
        "brush",
        "against",
    )(Explorer._checked)

    def _valid_circle_size(self, value: int) -> int:
        return replace(self._grid, circle_size=value).circle_size

    def _valid_offset(self, value: int) -> int:
        return replace(self._grid, offset=value).offset

    def _valid_channel(self, value: Any) -> int | list[int]:
        return wire_channel(check_channel(value, self._channels))

    def _valid_shape(self, value: str) -> str:
        return replace(self._grid, disc_shape=value).disc_shape  # type: ignore[arg-type]  # checked there

    def _valid_fill(self, value: str) -> str:
        text = check_fill_text(value, self._channels)
        if self._ended is False and text not in [known for known, _ in self._fills]:
            if not self._fills:
                raise ValueError("this explorer's explainer covers the image by its own apply_mask, without a fill")
            self._fills = [*self._fills, own_fill(text)]
        return text

    def _valid_cell(self, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None:
            self._grid.check_cell(*value)
        return value

    def _valid_result_type(self, value: str) -> str:
        if value == SIGNIFICANT and self._has_significance:
            return value
        if value == SIGNIFICANT:
            raise ValueError("what matters beyond chance is known when fills are compared: call compare_fills() first")
        return ResultType(value).value

    def _valid_order(self, value: str) -> str:
        check_choice("order", value, ShownOrder)
        return value

    def _valid_color_map(self, value: str) -> str:
        if value not in self._color_tables:
            self._color_tables = {**self._color_tables, value: color_table(value).tobytes()}
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

    def _valid_target(self, value: int | None) -> int | None:
        if value == self.target:
            return value
        if not self._classes:
            raise ValueError("this explorer has one class; HDMExplorer(..., target='all') has all of them")
        if self._latest is not None:
            # Measured here: what can go wrong is an error of this trait, and the old class stays.
            self._latest.result.for_class(value)  # type: ignore[arg-type]  # checked there
        self._try(self._asked()._replace(target=value, object=None))
        return value

    def _valid_measure(self, value: str) -> str:
        return self._try(self._asked()._replace(measure=value)).measure

    def _valid_explain_by(self, value: str) -> str:
        # Another mask has other objects: see `_switch`.
        one = self.object if value == self.explain_by else None
        return self._try(self._asked()._replace(explain_by=value, object=one)).explain_by

    def _valid_object(self, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None:
            check_pixel(*value, *self._image_size())
        return self._try(self._asked()._replace(object=value)).object

    def _image_size(self) -> tuple[int, int]:
        return self._grid.height, self._grid.width

    def _asked(self) -> Question:
        """What is shown."""
        return Question(self.measure, self.explain_by, self.target, self.object)

    def _of_class(self) -> HDMResult | None:
        if self._latest is None:
            return None
        return self._answers.of(self._latest.result, self._answers.own._replace(target=self.target))

    def _propose(self, result: HDMResult, *, done: bool) -> None:
        """Propose another measure than that of a result which has all its cells."""
        self._proposal = proposal_message(result) if done else {}

    def _try(self, asked: Question) -> Question:
        """Refuse a question that has no answer, with what was measured so far."""
        self._answers.check(asked)
        if self._latest is not None:
            self._answers.of(self._latest.result, asked)
        return asked
