"""What the latent explorer's map, legend and thumbnails show of a space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.latent.columns import COLOR_MODES, Column, usable_columns
from hdm_widgets.widgets.latent.new_items import NewItems
from hdm_widgets.widgets.latent.palette import SCORES, Coloring, coloring, table_of
from hdm_widgets.widgets.latent.suspicion import SUSPICION

__all__ = ["NOT_IN_MARIMO", "MapColors", "item_facts", "map_colors", "new_message", "surface_message"]

_MOST_FACTS = 5
NOT_IN_MARIMO = """<p><b>marimo cannot show the latent explorer:</b> its map is drawn by ipywidgets and bqplot. Open
the notebook in JupyterLab, Notebook 7 or Voila. Here <code>HDMExplorer</code> works, and the space itself does:
<code>space.frame()</code>, <code>space.cluster()</code>, <code>space.neighbors(index)</code>.</p>"""


@dataclass(frozen=True, eq=False)
class MapColors:
    """Points colored by a column.

    Attributes
    ----------
    coloring : Coloring
    caption : Column or None
        What is written beside the IoU under every image; None: the IoU alone.
    choices : list of list of str
        The modes that the column can be shown in, and what they are called; empty if there is one only.
    """

    coloring: Coloring
    caption: Column | None
    choices: list[list[str]]


def map_colors(
    space: LatentSpace,
    name: str,
    mode: str = "auto",
    search: str = "",
    suspicion: NDArray[np.float64] | None = None,
    before: Column | None = None,
) -> MapColors:
    """Colors, legend and captions by a column; while clusters are still sought, no item is in one.

    What is known of the column `before` serves again, if it is the same one.
    """
    column = usable_columns(space, suspicion)[name]
    if before is not None and before.name == name and before.values is column.values:
        column = before
    colored = coloring(column, mode, search)
    both_empty = _both_empty(space) if name in ("iou", "dice") else 0
    if both_empty:
        given = {"both_empty": both_empty, "both_empty_value": space.overlaps_.iou_empty}
        colored = replace(colored, legend=colored.legend | given)
    choices = [[one, COLOR_MODES[one]] for one in column.modes] if len(column.modes) > 1 else []
    # Beside the reason, cards show the suspicion by themselves.
    return MapColors(colored, None if name in ("iou", SUSPICION) else column, choices)


def new_message(new: NewItems, outside: int) -> dict[str, Any]:
    """What the legend says of new items: how many there are, and how many are drawn at the edge."""
    return {
        "count": len(new),
        "outside": outside,
        "colors": table_of(SCORES)[::8],
        "skill": "" if new.estimates.skilled else new.estimates.skill,
    }


def surface_message(space: LatentSpace) -> dict[str, Any]:
    """The scale of the expected IoU, and how good the expectation is; empty where there is none."""
    if space.regressor_ is None:
        return {}
    learned = space.regressor_.trained_on
    return {
        "colors": table_of(SCORES)[::8],
        "score": space.cv_score_,
        # Where these are not all items with an IoU, they are a random sample.
        "learned_from": learned if learned < np.isfinite(space.iou_).sum() else None,
    }


def item_facts(
    space: LatentSpace, index: int, color_by: str, suspicion: NDArray[np.float64] | None = None
) -> list[list[str]]:
    """Title and value of what is shown beside an item's thumbnail: the IoU, what colors the map, the data set's own."""
    columns = usable_columns(space, suspicion)
    names = dict.fromkeys(["iou", color_by, *(name for name, column in columns.items() if not column.own)])
    return [[columns[name].title, columns[name].text(index)] for name in list(names)[:_MOST_FACTS]]


def _both_empty(space: LatentSpace) -> int:
    """Number of items with an empty truth and an empty prediction that are given a score all the same."""
    overlaps = space.overlaps_
    if np.isnan(overlaps.iou_empty):
        return 0
    return int(((overlaps.truth_area == 0) & (overlaps.predicted_area == 0)).sum())
