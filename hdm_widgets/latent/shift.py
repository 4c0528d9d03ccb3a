"""Whether new data are like the data of a map: a two-sample test on activations and confidences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shift", "compare_samples"]

Floats = NDArray[np.float64]

_PERMUTATIONS = 999
# Data are called unlike at this p value: clean data are, by chance, once in a hundred times.
_SIGNIFICANT = 0.01
_LARGEST = 2000  # items of each side; of more, a random choice
_FEWEST = 5  # new items; fewer cannot give a p value that means something
_BATCH_VALUES = 1 << 22  # of one block of permuted sums
# Effects from which data are called slightly, clearly and almost entirely unlike.
_CLEAR, _NEARLY_ALL = 0.25, 0.6
_SHOWN = 4  # columns that the text names


@dataclass(frozen=True, eq=False)
class Shift:
    """How new data differ from those of a map.

    Attributes
    ----------
    p_value : float
        Probability that data which come from where the map's data come from differ as much; NaN where there are too
        few items to tell.
    effect : float
        The largest difference between the two cumulative distributions of a column, in [0, 1]: 0 for equal
        distributions, 1 for distributions that do not overlap.
    shifted : bool
        Whether `p_value` is at most 0.01.
    columns : dict of str to float
        Columns that moved, each with its effect, the largest first. A column counts as moved where its effect is larger
        than the largest of all columns in 99 % of the permutations.
    directions : dict of str to float
        Of each of these columns the change of the median, in standard deviations of the map's data.
    count, map_count : int
        Items that were compared.

    Notes
    -----
    The two-sample Kolmogorov-Smirnov statistic of every column, with the largest one compared to that of random
    permutations of the items (the max-T test of Westfall and Young 1993). Under the null hypothesis that all items are
    drawn independently from one distribution, the p value is uniform whatever the columns have in common. Items that
    depend on each other, such as overlapping patches of one tile, make it too small.
    """

    p_value: float
    effect: float
    shifted: bool
    columns: dict[str, float]
    directions: dict[str, float]
    count: int
    map_count: int

    @property
    def text(self) -> str:
        """The finding in words."""
        if np.isnan(self.p_value):
            return f"{self.count} new items are too few to tell whether they are like the data of the map"
        chance = f"p = {self.p_value:.3f}"
        if not self.shifted:
            return f"like the data of the map as far as {self.count} items tell ({chance}, effect {self.effect:.2f})"
        degree = "slightly" if self.effect < _CLEAR else "clearly" if self.effect < _NEARLY_ALL else "almost entirely"
        named = [f"{name} ({self.moved(name)})" for name in list(self.columns)[:_SHOWN]]
        more = len(self.columns) - len(named)
        columns = ", ".join(named) + (f" and {more} more" if more else "")
        return f"{degree} unlike the data of the map ({chance}, effect {self.effect:.2f}): moved are {columns}"

    def moved(self, name: str) -> str:
        """How one of `columns` moved, in words."""
        change = self.directions[name]
        # A normal distribution that moves as a whole moves by 2.5 times its effect, in standard deviations.
        if not np.isfinite(change) or abs(change) < self.columns[name]:
            return "spread differently"
        return f"{'higher' if change > 0 else 'lower'} by {abs(change):.1f} SD"

    def __str__(self) -> str:
        return self.text


def compare_samples(
    known: Mapping[str, Floats], new: Mapping[str, Floats], *, random_state: int = 0, permutations: int = _PERMUTATIONS
) -> Shift:
    """Compare new items with those of a map, column by column.

    Parameters
    ----------
    known, new : mapping of str to numpy.ndarray, float64 (n,) and (m,)
        The same columns of both. NaN is a value of its own, below all others.
    random_state : int
        Seed of the permutations, and of the choice among more than 2000 items.
    permutations : int
        How many; the smallest possible p value is 1 / (permutations + 1).

    Returns
    -------
    Shift
    """
    rng = np.random.default_rng(random_state)
    old_table, new_table = (_chosen(np.stack(list(side.values())), rng) for side in (known, new))
    count = new_table.shape[1]
    if count < _FEWEST or old_table.shape[1] < _FEWEST:
        return Shift(np.nan, np.nan, False, {}, {}, count, old_table.shape[1])
    pooled = np.concatenate([old_table, new_table], axis=1)
    is_new = np.arange(pooled.shape[1]) >= old_table.shape[1]
    # Permutations after the first, which is the data as they are.
    labels = np.stack([is_new, *(rng.permutation(is_new) for _ in range(permutations))])
    differences = np.stack([_largest_difference(column, labels) for column in pooled])
    largest = differences.max(axis=0)
    # Sums of the same numbers in another order may differ by rounding.
    p_value = float((largest >= largest[0] - 1e-9).mean())
    shifted = p_value <= _SIGNIFICANT
    # The smallest difference that counts, as in the test of all columns.
    needed = np.sort(largest)[::-1][int(_SIGNIFICANT * len(largest))] if len(largest) > 1 else np.inf
    effects = dict(zip(known, differences[:, 0], strict=True))
    moved = [name for name in sorted(effects, key=lambda name: -effects[name]) if shifted and effects[name] >= needed]
    if shifted and not moved:
        moved = [max(effects, key=lambda name: effects[name])]
    directions = {name: _change(old_table[row], new_table[row]) for row, name in enumerate(known) if name in moved}
    return Shift(
        p_value=p_value,
        effect=float(largest[0]),
        shifted=shifted,
        columns={name: float(effects[name]) for name in moved},
        directions={name: directions[name] for name in moved},
        count=count,
        map_count=old_table.shape[1],
    )


def _chosen(table: Floats, rng: np.random.Generator) -> Floats:
    """A random 2000 of more items, and a number for NaN."""
    if table.shape[1] > _LARGEST:
        table = table[:, np.sort(rng.choice(table.shape[1], _LARGEST, replace=False))]
    return np.where(np.isnan(table), -np.inf, table)


def _largest_difference(column: Floats, labels: NDArray[np.bool_]) -> Floats:
    """Largest difference of the two cumulative distributions of a column (n,), for each row of labels (p, n)."""
    order = np.argsort(column, kind="stable")
    ordered = column[order]
    # Equal values count together: the distributions are compared after the last of them.
    last = np.append(ordered[1:] != ordered[:-1], True)
    new = int(labels[0].sum())
    steps = np.where(labels[:, order], 1.0 / new, -1.0 / (labels.shape[1] - new))
    rows = max(1, _BATCH_VALUES // labels.shape[1])
    parts = [
        np.abs(np.cumsum(steps[start : start + rows], axis=1)[:, last]).max(axis=1)
        for start in range(0, len(steps), rows)
    ]
    return np.concatenate(parts)


def _change(old: Floats, new: Floats) -> float:
    """Change of the median of the finite values, in standard deviations of the old ones; NaN where that is nothing."""
    old, new = old[np.isfinite(old)], new[np.isfinite(new)]
    deviation = old.std() if len(old) else 0.0
    return float((np.median(new) - np.median(old)) / deviation) if deviation > 0 and len(new) else np.nan
