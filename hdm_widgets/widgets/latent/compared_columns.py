"""What the points of two maps can be colored by: changes between two models, and the data set's own columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets.latent.comparison_plot import CHANGES, change_limit
from hdm_widgets.latent.space_comparison import SpaceComparison
from hdm_widgets.widgets.latent.columns import Column, usable_columns
from hdm_widgets.widgets.latent.palette import MISSING, Coloring, coloring, table_of

__all__ = ["compared_coloring", "compared_columns", "signed"]


def signed(change: float) -> str:
    """A change of IoU on screen."""
    if np.isnan(change):
        return "not defined"
    text = f"{change:+.2f}".replace("-", "\N{MINUS SIGN}")
    return "\N{PLUS-MINUS SIGN}0" if text[1:] == "0.00" else text


class _ChangeColumn(Column):
    """The change of IoU."""

    def text(self, index: int) -> str:
        """The value of an item on screen, with its sign."""
        return signed(float(self.values[index]))


def compared_columns(comparison: SpaceComparison) -> dict[str, Column]:
    """Columns by the names that `SpaceComparison.frame` has for them, then the data set's own."""
    first, second = comparison.names
    columns: dict[str, Column] = {
        "iou_change": _ChangeColumn("iou_change", "Change of IoU", comparison.iou_change, own=True),
        # The palette knows the scale of scores by their names.
        "iou_a": Column("iou", f"IoU, {first}", comparison.iou[0], own=True),
        "iou_b": Column("iou", f"IoU, {second}", comparison.iou[1], own=True),
        "neighbors": Column("neighbors", "Overlap of neighbors", comparison.neighbors, own=True),
    }
    own = {name: column for name, column in usable_columns(comparison.spaces[0]).items() if not column.own}
    return columns | {name: column for name, column in own.items() if name not in columns}


def compared_coloring(comparison: SpaceComparison, column: Column) -> Coloring:
    """Color the items by one of these columns; the change on a scale with 0 in its middle."""
    if column.name != "iou_change":
        return coloring(column)
    limit = change_limit(comparison)
    change: NDArray[Any] = column.values
    finite = np.isfinite(change)
    table = table_of(CHANGES)
    fractions = 0.5 + np.clip(np.where(finite, change, 0.0), -limit, limit) / (2 * limit)
    codes = np.minimum((fractions * len(table)).astype(np.int64), len(table) - 1)
    beyond = bool((np.abs(change[finite]) > limit).any())
    legend = {
        "kind": "scale",
        "title": column.title,
        "low": -limit,
        "high": limit,
        "colors": table[::8] + table[-1:],
        "missing": int((~finite).sum()),
        "missing_label": column.missing,
        "ends": [f"{'≤ ' if beyond else ''}{signed(-limit)}", f"{'≥ ' if beyond else ''}{signed(limit)}"],
    }
    return Coloring([*table, MISSING], np.where(finite, codes, len(table)), legend)
