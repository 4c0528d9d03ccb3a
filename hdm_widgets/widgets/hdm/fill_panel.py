"""What the explorer's panel that compares fills shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets

from hdm_widgets._wire import MESSAGE, bits
from hdm_widgets.hdm.fill_comparison import FillComparison
from hdm_widgets.hdm.fill_names import fill_text
from hdm_widgets.hdm.messages import map_message
from hdm_widgets.hdm.result import HDMResult
from hdm_widgets.hdm.update import ScanUpdate

__all__ = ["SIGNIFICANT", "FillPanelTraits", "fill_message", "fills_message", "whole_update"]

# A result type of the explorer alone: raw values, with what may be chance hatched.
SIGNIFICANT = "significant"


class FillPanelTraits(traitlets.HasTraits):
    """What the screen knows of the comparison, base of the HDM explorer's traits."""

    # Empty while the panel is closed.
    _fill_panel = traitlets.Dict().tag(**MESSAGE)
    # The maps of fills that are scanned already, while the others are.
    _fill_maps = traitlets.Dict().tag(**MESSAGE)
    # That the model draws the disc itself as segment, in words, and the fill to try; empty where it does not.
    _disc_drawn = traitlets.Dict().tag(**MESSAGE)
    # Whether the comparison is of what the map shows, so that "significant" has a meaning.
    _has_significance = traitlets.Bool(False).tag(sync=True)


def fills_message(comparison: FillComparison) -> dict[str, Any]:
    """A finished comparison for the panel."""
    notes = comparison.left_out_notes
    return {
        "fills": [fill_message(result, notes.get(name, "")) for name, result in comparison.results.items()],
        "agreement": [
            [*(fill_text(comparison.results[name].settings.fill) for name in pair), one.value, one.low, one.high]
            for pair, one in comparison.agreement.items()
        ],
        # What else the text says is below the maps.
        "text": comparison.finding,
        "noise_floor": comparison.noise_floor,
        "significant": bits(comparison.significant),
        "count": int(np.count_nonzero(comparison.significant)),
        "of": int(np.count_nonzero(comparison.compared)),
    }


def fill_message(result: HDMResult, note: str = "") -> dict[str, Any]:
    """The map of one fill; a note says what of it is left out."""
    return {"fill": fill_text(result.settings.fill), "map": map_message(whole_update(result)), "note": note}


def whole_update(result: HDMResult) -> ScanUpdate:
    """A finished result as the last update of its scan."""
    total = int(np.count_nonzero(result.settings.asked(result.grid)))
    done = int(np.count_nonzero(result.measured))
    return ScanUpdate(np.empty((0, 2), np.intp), np.empty(0), done, total, 1, 0.0, result)
