"""The strip that says to what extent the model can be trusted on new data."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from hdm_widgets._wire import MESSAGE
from hdm_widgets.latent.estimates import Estimates
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.latent.titles import title
from hdm_widgets.widgets.latent.new_items import NewItems
from hdm_widgets.widgets.shared.part import Part, read_static

__all__ = ["NewDataPanel", "findings"]

_TO_LABEL = 20
_BINS = 24
_MOST_COLUMNS = 4
# Shown where no column moved.
_TELLING = ("soft_iou", "foreground_entropy", "largest_probability", "area_at_50", "pc1", "pc2")
# Quantiles of both sets together between which a histogram lies; what is beyond counts at its ends.
_ENDS = (0.005, 0.995)
_ROUNDING = 1e-9

Floats = NDArray[np.float64]


class NewDataPanel(Part):
    """The findings about new data, or how far the model is with it.

    Attributes
    ----------
    state : {"idle", "running", "done", "cancelled", "error"}
        The explorer's `new_status`.
    done, total : int
        Items that the model has been run on, while it runs.
    error : str
        Why there are no estimates.
    findings : dict
        What `findings` gives.
    to_label : int
        How many items to label are asked for.
    """

    _changing = ("state", "done", "total", "error")
    _esm = read_static("new_data.js")
    _css = read_static("latent_explorer.css")

    state = traitlets.Unicode("idle").tag(sync=True)
    done = traitlets.Int(0).tag(sync=True)
    total = traitlets.Int(0).tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)
    findings = traitlets.Dict().tag(**MESSAGE)
    to_label = traitlets.Int(_TO_LABEL).tag(sync=True)


def findings(new: NewItems) -> dict[str, Any]:
    """What the panel shows of new items."""
    space, estimates = new.space, new.estimates
    iou = space.iou_[np.isfinite(space.iou_)]
    return {
        "count": len(estimates),
        "mean": estimates.mean,
        "low": estimates.mean_low,
        "high": estimates.mean_high,
        "coverage": estimates.coverage,
        "map_mean": float(iou.mean()) if len(iou) else np.nan,
        "reliable": int(estimates.reliable.sum()),
        "shift": estimates.shift.text,
        "shifted": estimates.shift.shifted,
        "skill": estimates.skill,
        "skilled": estimates.skilled,
        "measured": _measured(new),
        "columns": _compared_columns(space, estimates),
    }


def _measured(new: NewItems) -> dict[str, Any]:
    """Expected beside measured IoU of the items that have one; empty without true masks.

    `held` is how many of them have it inside their interval.
    """
    if new.measured is None:
        return {}
    estimates, having = new.estimates, np.isfinite(new.measured)
    measured, expected = new.measured[having], estimates.iou[having]
    inside = (measured >= estimates.low[having] - _ROUNDING) & (measured <= estimates.high[having] + _ROUNDING)
    return {
        "count": int(having.sum()),
        "mean": float(measured.mean()) if having.any() else np.nan,
        "expected": float(expected.mean()) if having.any() else np.nan,
        "held": int(inside.sum()),
    }


def _compared_columns(space: LatentSpace, estimates: Estimates) -> list[dict[str, Any]]:
    """Histograms of the columns that moved, the largest change first; of telling ones where none did."""
    shift = estimates.shift
    components = _components(space.cluster_coordinates_) | _components(space.embedding_)
    of_map = {**space.collection_.confidences, **components}
    of_new = {**estimates.confidences, **_components(estimates.embedding)}
    moved = sorted(shift.columns, key=lambda name: -shift.columns[name])
    names = [name for name in moved or _TELLING if name in of_map and name in of_new][:_MOST_COLUMNS]
    return [
        {"title": title(name), "moved": shift.moved(name) if name in shift.columns else ""}
        | _histograms(of_map[name], of_new[name])
        for name in names
    ]


def _components(coordinates: Floats) -> dict[str, Floats]:
    return {f"pc{place + 1}": column for place, column in enumerate(coordinates.T)}


def _histograms(of_map: Floats, of_new: Floats) -> dict[str, Any]:
    """Fractions of the items in bins over a range that holds nearly all of both; what is beyond counts at its ends."""
    values = [one[np.isfinite(one)] for one in (of_map, of_new)]
    both = np.concatenate(values)
    low, high = map(float, np.quantile(both, _ENDS)) if len(both) else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, low + 0.5
    known, new = (np.histogram(np.clip(one, low, high), _BINS, (low, high))[0] / max(len(one), 1) for one in values)
    return {
        "low": low,
        "high": high,
        "map": known.tolist(),
        "new": new.tolist(),
        "map_median": float(np.median(values[0])) if len(values[0]) else np.nan,
        "new_median": float(np.median(values[1])) if len(values[1]) else np.nan,
    }
