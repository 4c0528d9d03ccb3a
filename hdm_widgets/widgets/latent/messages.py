"""What the latent explorer's map shows of a space, and what its legend and thumbnails say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.latent.palette import SCORES, Coloring, coloring, table_of, title, value_text
from hdm_widgets.widgets.shared.buffers import number

__all__ = ["MapColors", "item_facts", "map_colors", "surface_message", "usable_columns"]

# Texts of more different values than these tell nothing as colours.
_MOST_TEXTS = 50
_MOST_FACTS = 5


@dataclass(frozen=True)
class MapColors:
    """Points coloured by a column.

    Attributes
    ----------
    coloring : Coloring
    captions : numpy.ndarray or None
        What stands beside the IoU under every picture; None: nothing more.
    """

    coloring: Coloring
    captions: NDArray[Any] | None


def usable_columns(space: LatentSpace) -> list[str]:
    """Columns that points can be coloured by, the most telling ones first."""
    table = space.table()
    named = {name for name, values in table.items() if values.dtype.kind == "U" and len(set(values)) > _MOST_TEXTS}
    names = [name for name in table if name != "item" and name not in named]
    own = [name for name in space.columns_ if name in names]
    # Clusters are found while the explorer is open.
    return list(dict.fromkeys(["iou", "expected_iou", "cluster", *own, *names]))


def map_colors(space: LatentSpace, name: str) -> MapColors:
    """Colours, legend and captions by a column; items in no cluster while clusters are still sought."""
    values = space.table().get(name)
    if values is None:
        values = np.full(len(space), -1)
    colored = coloring(name, values)
    blank = _blank(space) if name in ("iou", "dice") else 0
    if blank:
        given = {"blank": blank, "blankValue": space.overlaps_.iou_empty}
        colored = replace(colored, legend=colored.legend | given)
    if name == "iou":
        return MapColors(colored, None)
    if name == "cluster":
        values = np.array([f"cluster {label}" if label >= 0 else "in no cluster" for label in values])
    return MapColors(colored, values)


def surface_message(space: LatentSpace) -> dict[str, Any]:
    """The scale of the IoU to be expected, and how good the expectation is; empty where there is none."""
    if space.regressor_ is None:
        return {}
    learned = space.regressor_.trained_on
    return {
        "colors": table_of(SCORES)[::8],
        "score": number(space.cv_score_),
        # Where it was not all that have an IoU, it was a random choice.
        "learnedFrom": learned if learned < np.isfinite(space.iou_).sum() else None,
    }


def item_facts(space: LatentSpace, index: int, color_by: str) -> list[list[str]]:
    """Name and value of what is said beside an item's thumbnail."""
    table = space.table()
    told = [name for name in dict.fromkeys(["iou", color_by, *space.columns_]) if name in table]
    return [[title(name), value_text(table[name][index])] for name in told[:_MOST_FACTS]]


def _blank(space: LatentSpace) -> int:
    """Items with nothing to find and nothing drawn that are given a score all the same."""
    overlaps = space.overlaps_
    if np.isnan(overlaps.iou_empty):
        return 0
    return int(((overlaps.truth_area == 0) & (overlaps.predicted_area == 0)).sum())
