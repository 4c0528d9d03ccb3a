"""The explorer's panel that compares models: the scan on screen with other models, and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import traitlets

from hdm_widgets._wire import MESSAGE
from hdm_widgets.hdm.answers import Answers
from hdm_widgets.hdm.circle_map import color_table
from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.messages import map_message
from hdm_widgets.hdm.model_comparison import DIVERGING, ModelComparison, check_names, naming_model
from hdm_widgets.hdm.occlusion import Channel, Fill
from hdm_widgets.hdm.pyramid import screen_bits
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.widgets.hdm.background_panel import Progress
from hdm_widgets.widgets.hdm.fill_panel import whole_update
from hdm_widgets.widgets.hdm.scan_source import ScanSource

__all__ = ["THIS_MODEL", "ModelPanelTraits", "OtherModel", "check_other_models", "models_message", "scan_others"]

# What the explorer's own model is called beside the others.
THIS_MODEL = "this model"


class ModelPanelTraits(traitlets.HasTraits):
    """What the screen knows of the comparison, base of the HDM explorer's traits."""

    # Names of the other models; without any there is no comparison.
    _other_models: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    # Empty while the panel is closed.
    _model_panel = traitlets.Dict().tag(**MESSAGE)


@dataclass(frozen=True, eq=False)
class OtherModel:
    """A model that the explorer's is compared with.

    Attributes
    ----------
    source : ScanSource
    answers : Answers
        To what is asked of its scans.
    """

    source: ScanSource
    answers: Answers


def check_other_models(models: object) -> None:
    """Refuse what is no dict of models by their names.

    Raises
    ------
    TypeError, ValueError
    """
    check_names(models, "compare_with", "HDMExplorer(..., compare_with={'after': model_b})", least=1)
    if isinstance(models, Mapping) and THIS_MODEL in models:
        raise ValueError(f"{THIS_MODEL!r} is the explorer's own model; give the one in compare_with another name")


def scan_others(
    models: Mapping[str, OtherModel], channel: Channel, grid: Grid, fill: Fill, progress: Progress
) -> dict[str, HDMResult]:
    """Scan with other models, one after the other; the progress is that of all scans."""
    results: dict[str, HDMResult] = {}
    seconds = 0.0
    for index, (name, model) in enumerate(models.items()):
        began = seconds
        with naming_model(name), closing(model.source.prepare(channel, grid, fill).updates()) as updates:
            for update in updates:
                seconds = began + update.seconds
                # All scans have the same discs.
                done, total = index * update.total + update.done, len(models) * update.total
                progress(replace(update, done=done, total=total, seconds=seconds))
                results[name] = update.result
    return results


def models_message(comparison: ModelComparison) -> dict[str, Any]:
    """A finished comparison for the panel."""
    return {
        "models": [
            {
                "name": name,
                "map": map_message(whole_update(result)),
                "prediction": screen_bits(result.baseline_mask),
            }
            for name, result in comparison.results.items()
        ],
        "colors": color_table(DIVERGING).tobytes(),
        "text": comparison.text,
    }
