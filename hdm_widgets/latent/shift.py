"""Whether new data are like the data of a map: a two-sample test on activations and confidences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from hdm_widgets._wording import quantity
from hdm_widgets.latent.batches import row_batches
from hdm_widgets.latent.surface import one_thread
from hdm_widgets.latent.titles import running_title

__all__ = ["Shift", "compare_samples"]

Floats = NDArray[np.float64]

_PERMUTATIONS = 999
# Data are called unlike at this p value: clean data are, by chance, once in fifty times.
_SIGNIFICANT = 0.02
_LARGEST = 2000  # items of each side; of more, a random choice
_FEWEST = 5  # new items; fewer cannot give a p value that means something
_BATCH_VALUES = 1 << 22  # of one block of permuted sums
# Effects from which data are called slightly, clearly and almost entirely unlike.
_CLEAR, _NEARLY_ALL = 0.25, 0.6
_SHOWN = 4  # columns that the text names
# Activations are compared in at most so many principal components of both sides' items together.
_MOST_COMPONENTS = 48
_ITEMS_A_COMPONENT = 10
_ITEMS_A_DIRECTION = 4  # of activations and columns together
_WIDTH = 256  # wider features are projected at random first


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
        Whether `p_value` is at most 0.02.
    columns : dict of str to float
        Columns that moved, each with its effect, the largest first. A column counts as moved where its effect is larger
        than the largest of all columns in 98 % of the permutations; where only columns and activations as a whole have
        moved, there is none.
    directions : dict of str to float
        Of each of these columns the change of the median, in standard deviations of the map's data.
    count, map_count : int
        Items that were compared.

    Notes
    -----
    Two statistics: the largest Kolmogorov-Smirnov statistic of all columns (as in the max-T test of Westfall and Young
    1993), and Hotelling's distance between the means of columns and activations together. The columns are normal scores
    of their ranks, the activations up to 48 principal components. This one finds what no longer fits together, such as
    masks of the same size with another confidence. Both are compared with those of random permutations of the items,
    and so are the smaller of their two p values and the product of both. Under the null hypothesis that all items are
    drawn independently from one distribution, `p_value` is uniform whatever the columns have in common. Items that
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
            few = "1 new item is too few" if self.count == 1 else f"{self.count} new items are too few"
            return f"{few} to tell whether new data are like the data of the map"
        chance = f"p = {self.p_value:.3f}"
        if not self.shifted:
            items = quantity(min(self.count, self.map_count), "item")
            return f"like the data of the map as far as {items} tell ({chance}, effect {self.effect:.2f})"
        degree = "slightly" if self.effect < _CLEAR else "clearly" if self.effect < _NEARLY_ALL else "almost entirely"
        if not self.columns:
            moved = "no single column moved much, columns and activations as a whole did"
            return f"unlike the data of the map ({chance}): {moved}"
        named = [f"{running_title(name)} ({self.moved(name)})" for name in list(self.columns)[:_SHOWN]]
        more = len(self.columns) - len(named)
        columns = ", ".join(named) + (f" and {more} more" if more else "")
        verb = "is" if len(self.columns) == 1 else "are"
        return f"{degree} unlike the data of the map ({chance}, effect {self.effect:.2f}): moved {verb} {columns}"

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
    known: Mapping[str, Floats],
    new: Mapping[str, Floats],
    activations: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None,
    *,
    random_state: int = 0,
    permutations: int = _PERMUTATIONS,
) -> Shift:
    """Compare new items with those of a map.

    Parameters
    ----------
    known, new : mapping of str to numpy.ndarray, float64 (n,) and (m,)
        The same columns of both. NaN is a value of its own, below all others.
    activations : tuple of numpy.ndarray (n, d) and (m, d), optional
        Of the same items, compared as a whole.
    random_state : int
        Seed of the permutations, and of the choice among more than 2000 items.
    permutations : int
        How many; the smallest possible p value is 1 / (permutations + 1).

    Returns
    -------
    Shift
    """
    rng = np.random.default_rng(random_state)
    old_rows, new_rows = (_chosen(len(next(iter(side.values()))), rng) for side in (known, new))
    old_count, count = len(old_rows), len(new_rows)
    if min(old_count, count) < _FEWEST:
        return Shift(np.nan, np.nan, False, {}, {}, count, old_count)
    pooled = {name: np.concatenate([known[name][old_rows], new[name][new_rows]]) for name in known}
    is_new = np.arange(old_count + count) >= old_count
    # Permutations after the first, which is the data as they are.
    labels = np.stack([is_new, *(rng.permutation(is_new) for _ in range(permutations))])
    differences = np.stack([_largest_difference(column, labels) for column in pooled.values()])
    largest = differences.max(axis=0)
    parts = [_normal_scores(column)[:, None] for column in pooled.values()]
    with one_thread():
        if activations is not None:
            both = np.concatenate([activations[0][old_rows], activations[1][new_rows]])
            parts.append(_leading(both, rng))
        together = _whitened(np.hstack(parts), (old_count + count) // _ITEMS_A_DIRECTION)
        p_value = _joint_p_value([largest, _between_means(together, labels)])
    shifted = p_value <= _SIGNIFICANT
    # The smallest difference that counts, as in the test of all columns.
    needed = np.sort(largest)[::-1][int(_SIGNIFICANT * len(largest))]
    effects = dict(zip(known, differences[:, 0], strict=True))
    order = sorted(effects, key=lambda name: -effects[name])
    moved = [name for name in order if shifted and effects[name] >= needed]
    return Shift(
        p_value=p_value,
        effect=float(largest[0]),
        shifted=shifted,
        columns={name: float(effects[name]) for name in moved},
        directions={name: _change(known[name][old_rows], new[name][new_rows]) for name in moved},
        count=count,
        map_count=old_count,
    )


def _chosen(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions of all items, or of a random 2000 of more."""
    if count <= _LARGEST:
        return np.arange(count)
    return np.sort(rng.choice(count, _LARGEST, replace=False))


def _joint_p_value(statistics: list[Floats]) -> float:
    """The p value of several statistics (p,) together; the first entry of each is that of the data.

    Each is made a p value of its own for every permutation. Their smallest tells most where one statistic moves, their
    product (Fisher's combination) where all of them do. Both are ranked among the permutations, and the smaller rank of
    the two is compared.
    """
    logarithms = [np.log(_at_least_as_large(values)) for values in statistics]
    smallest, product = np.min(logarithms, axis=0), np.sum(logarithms, axis=0)
    rank = np.minimum(_at_least_as_large(-smallest), _at_least_as_large(-product))
    return float((rank <= rank[0]).mean())


def _at_least_as_large(values: Floats) -> NDArray[np.int64]:
    """For each of the values (p,), how many of them are at least as large, itself included."""
    # Sums of the same numbers in another order may differ by rounding.
    ordered = np.sort(values)
    return len(values) - np.searchsorted(ordered, values - 1e-9 * np.abs(values) - 1e-12)


def _leading(features: NDArray[np.floating], rng: np.random.Generator) -> Floats:
    """Leading principal components (n, k) of the features of all items (n, d), each of variance 1.

    Wide features are projected at random first, which keeps distances (Johnson and Lindenstrauss).
    """
    count, width = features.shape
    projected = np.empty((count, min(width, _WIDTH)))
    directions = rng.standard_normal((width, _WIDTH)) / np.sqrt(width) if width > _WIDTH else None
    for rows in row_batches(count, width):
        part = np.asarray(features[rows], dtype=np.float64)
        projected[rows] = part if directions is None else part @ directions
    return _whitened(projected, min(_MOST_COMPONENTS, count // _ITEMS_A_COMPONENT))


def _whitened(table: Floats, most: int) -> Floats:
    """The leading principal components (n, at most `most`) of a table (n, d), each of variance 1."""
    left, singular, _ = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
    kept = min(most, int((singular > 1e-5 * singular[0]).sum()))
    return np.asarray(left[:, :kept] * np.sqrt(len(table)), dtype=np.float64)


def _normal_scores(column: Floats) -> Floats:
    """Ranks of a column (n,) as quantiles of a normal distribution; NaN is below all others."""
    ranks = rankdata(np.where(np.isnan(column), -np.inf, column))
    return np.asarray(norm.ppf((ranks - 0.5) / len(ranks)), dtype=np.float64)


def _between_means(components: Floats, labels: NDArray[np.bool_]) -> Floats:
    """Squared distance between the means of both groups (Hotelling's statistic), for each row of labels (p, n)."""
    new = int(labels[0].sum())
    weights = np.where(labels, 1.0 / new, -1.0 / (labels.shape[1] - new))
    distances: Floats = ((weights @ components) ** 2).sum(axis=1)
    return distances


def _largest_difference(column: Floats, labels: NDArray[np.bool_]) -> Floats:
    """Largest difference of the two cumulative distributions of a column (n,), for each row of labels (p, n)."""
    values = np.where(np.isnan(column), -np.inf, column)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
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
