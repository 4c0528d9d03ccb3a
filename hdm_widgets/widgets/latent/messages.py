"""What the latent explorer's map, legend and thumbnails show of a space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.latent.palette import SCORES, Coloring, coloring, table_of, title, value_text

__all__ = ["MapColors", "item_facts", "map_colors", "points_message", "surface_message", "usable_columns"]

# A column of texts with more different values than these is not offered for colors.
_MOST_TEXTS = 50
_MOST_FACTS = 5


@dataclass(frozen=True, eq=False)
class MapColors:
    """Points colored by a column.

    Attributes
    ----------
    coloring : Coloring
    captions : numpy.ndarray or None
        The text beside the IoU under every image; None: the IoU alone.
    """

    coloring: Coloring
    captions: NDArray[Any] | None


def usable_columns(space: LatentSpace) -> list[str]:
    """Columns that points can be colored by: scores first, then the data set's own, then the others."""
    table = space.table()
    named = {name for name, values in table.items() if values.dtype.kind == "U" and len(set(values)) > _MOST_TEXTS}
    names = [name for name in table if name != "item" and name not in named]
    own = [name for name in space.columns_ if name in names]
    # Clusters are found while the explorer is open.
    return list(dict.fromkeys(["iou", "expected_iou", "cluster", *own, *names]))


def map_colors(space: LatentSpace, name: str) -> MapColors:
    """Colors, legend and captions by a column; while clusters are still sought, no item is in one."""
    values = space.table().get(name)
    if values is None:
        values = np.full(len(space), -1)
    colored = coloring(name, values)
    both_empty = _both_empty(space) if name in ("iou", "dice") else 0
    if both_empty:
        given = {"both_empty": both_empty, "both_empty_value": space.overlaps_.iou_empty}
        colored = replace(colored, legend=colored.legend | given)
    if name == "iou":
        return MapColors(colored, None)
    if name == "cluster":
        values = np.array([f"cluster {label}" if label >= 0 else "in no cluster" for label in values])
    return MapColors(colored, values)


def points_message(space: LatentSpace, rows: NDArray[np.int64], bounds: tuple[float, ...]) -> dict[str, Any]:
    """Where the drawn points are, for the pointer; `bounds` are (x0, x1, y0, y1) of the plot."""
    return {
        "positions": space.embedding_[rows, :2].astype(np.float32),
        "rows": rows.astype(np.int32),
        "bounds": bounds,
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


def item_facts(space: LatentSpace, index: int, color_by: str) -> list[list[str]]:
    """Name and value of what is shown beside an item's thumbnail."""
    table = space.table()
    names = [name for name in dict.fromkeys(["iou", color_by, *space.columns_]) if name in table]
    return [[title(name), value_text(table[name][index])] for name in names[:_MOST_FACTS]]


def _both_empty(space: LatentSpace) -> int:
    """Number of items with an empty truth and an empty prediction that are given a score all the same."""
    overlaps = space.overlaps_
    if np.isnan(overlaps.iou_empty):
        return 0
    return int(((overlaps.truth_area == 0) & (overlaps.predicted_area == 0)).sum())
