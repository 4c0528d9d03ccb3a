"""The search for groups of items whose IoU is far below that of all others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import silhouette_score

from hdm_widgets.latent.batches import Progress, progress_bar
from hdm_widgets.latent.clusters import kmeans
from hdm_widgets.latent.conditions import (
    Condition,
    Rule,
    best_leaf,
    dates_if_any,
    is_text,
    numbers,
    single_conditions,
    words,
)
from hdm_widgets.latent.data_columns import merge_columns
from hdm_widgets.latent.failures import SEARCHED_FROM, Failure, Failures

__all__ = ["find_failures"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Columns = Mapping[str, NDArray[Any]]

_LEAST_ITEMS = 10  # of a group, if these are more than the fraction below of all items
_LEAST_FRACTION = 0.01
# Groups of which this fraction of the union is common to both are one.
_SAME_GROUP = 0.5
# A group is told by another one if this fraction of it lies in that group.
_INSIDE = 0.8
# A group is kept if at least this fraction of its harm lies outside all clearer ones.
_HALF = 0.5
# Standard errors that a group must be below what it is compared with, where it is not tested on other items.
_CLEARLY_BELOW = 3.0
_RESAMPLES = 1000
# Groups are sought in all parts of the items but one, and tested there.
_FOLDS = 3
# For groups of up to this size, that many random groups are drawn for a test; of larger ones, means are about normal.
_MOST_DRAWN, _DRAWS = 100, 9999
# The mean of more items than this is resampled from a normal distribution.
_MOST_RESAMPLED = 2000
# Groups are sought among at most this many items, and kinds of failures among at most this many that fail.
_SOUGHT_AMONG = 10_000
_CLUSTERED = 2000
_MOST_KINDS = 10
# Silhouettes below the first say that there are no clusters (Kaufman and Rousseeuw, 1990); clusters may be more than
# those with the highest, down to this fraction of it: kinds that are told apart can be put together by eye.
_APART, _NEAR_BEST = 0.25, 0.95
_SINGLES = 12  # conditions that are joined to pairs
_PAIRS = 20
_MOSTLY, _MOST_VALUES = 0.6, 3


def find_failures(
    iou: Floats,
    components: Floats,
    confidences: Columns,
    columns: Columns,
    *,
    counted: Flags | None = None,
    coverage: float = 0.9,
    alpha: float = 0.05,
    least: int | None = None,
    random_state: int = 0,
    progress: Progress = False,
) -> Failures:
    """Groups of items whose IoU is below that of all others.

    Parameters
    ----------
    iou : numpy.ndarray, float64 (n,)
        NaN for items without one.
    components : numpy.ndarray, float64 (n, k)
        Coordinates of the items, such as principal components of their activations; there may be none, k = 0.
    confidences : dict of str to numpy.ndarray, float64 (n,)
        The model's confidence in its predictions; may be empty.
    columns : dict of str to numpy.ndarray (n,)
        Texts, flags, numbers and dates; may be empty.
    counted : numpy.ndarray, bool (n,), optional
        Items that count; by default all that have an IoU.
    coverage : float
        Of the intervals.
    alpha : float
        Chance that any group is found where the IoU depends on nothing.
    least : int, optional
        Items in a group at least; by default 10, or 1 % of all.
    random_state : int
    progress : bool or callable
        Show a tqdm bar if it lasts longer than a second; or a function (done, total) that is called after every step.
        An error of it ends the search.

    Returns
    -------
    Failures

    Notes
    -----
    Items are divided into three parts at random. Groups are sought in two of them: each value and range of the columns
    and pairs of these, and kinds of failures, which are clusters of the failing items by components and confidences,
    measured in standard deviations of the other items, and described by a leaf of a decision tree. Each group that is
    below the rest there, and that no clearer one tells already, is tested in the third part, against random groups of
    its size; then the parts change places. The p values are adjusted for all tests together (Holm).
    """
    use = np.isfinite(iou) if counted is None else counted & np.isfinite(iou)
    kept = np.flatnonzero(use)
    n = len(kept)
    smallest = least or max(_LEAST_ITEMS, math.ceil(_LEAST_FRACTION * n))
    found = _Search(
        iou[kept],
        {f"pc{i + 1}": components[kept, i] for i in range(components.shape[1])}
        | {name: _filled(values[kept]) for name, values in confidences.items()},
        components.shape[1],
        {name: dates_if_any(np.asarray(values)[kept]) for name, values in columns.items()},
        smallest,
        np.random.default_rng(random_state),
    )
    with progress_bar(_FOLDS * _MOST_KINDS, progress, "seeking failures", unit="step", late=True) as bar:
        groups, tested = found.run(alpha, bar.update)
    chosen = _non_redundant(found.iou, [members for _, members, _ in groups], smallest)
    failures = [found.describe(*groups[place], kept, coverage) for place in chosen]
    failures.sort(key=lambda one: -one.harm)
    mean = float(iou[kept].mean()) if n else math.nan
    return Failures(
        failures,
        n_items=n,
        left_out=len(iou) - n,
        mean_iou=mean,
        tested=tested,
        least=smallest,
        coverage=coverage,
    )


_Group = tuple[Rule, Flags, float]


class _Search:
    """The search for groups among items that all have an IoU."""

    def __init__(
        self,
        iou: Floats,
        own: dict[str, Floats],
        width: int,
        columns: dict[str, NDArray[Any]],
        least: int,
        rng: np.random.Generator,
    ) -> None:
        self.iou = iou
        self.own = own
        names = list(own)
        self.blocks = [block for block in (names[:width], names[width:]) if block]
        # A column of the data set with a name of ours is `data_` and that name, as in the table of the space.
        self.all_columns = merge_columns(dict(own), columns)
        self.columns = {name: values for name, values in self.all_columns.items() if name not in own}
        self.least = least
        self.rng = rng

    def run(self, alpha: float, update: Callable[[int], object]) -> tuple[list[_Group], int]:
        """Groups that are distinguishable from all others, and how many were tested."""
        n = len(self.iou)
        if n < SEARCHED_FROM * self.least:
            return [], 0
        fold = self.rng.permutation(n) % _FOLDS
        tests: dict[Rule, tuple[Flags, float]] = {}
        for out in range(_FOLDS):
            here, there = np.flatnonzero(fold != out), np.flatnonzero(fold == out)
            null = _RandomGroups(self.iou[there], self.rng)
            sought = [(rule, self._members(rule)) for rule in self._seek(here, update)]
            least = self.least * len(here) // n
            # What a clearer group tells need not be tested: with every test, all others are harder to pass.
            for place in _non_redundant(self.iou[here], [members[here] for _, members in sought], least):
                rule, members = sought[place]
                if members[there].sum() >= self.least / _FOLDS and (~members[there]).any():
                    p = null.p_value(members[there])
                    # Of a group that is found more than once, all tests count.
                    tests[rule] = members, max(p, tests[rule][1]) if rule in tests else p
        adjusted = _holm(np.array([p for _, p in tests.values()]))
        groups = [
            (rule, members, float(p))
            for (rule, (members, _)), p in zip(tests.items(), adjusted, strict=True)
            if p <= alpha and members.sum() >= self.least
        ]
        return groups, len(tests)

    def _members(self, rule: Rule) -> Flags:
        return np.asarray(np.logical_and.reduce([condition.holds(self.all_columns) for condition in rule]))

    def _seek(self, rows: NDArray[np.int64], update: Callable[[int], object]) -> list[Rule]:
        """Rules of groups that are below the rest in some rows, in `_MOST_KINDS` steps."""
        if len(rows) > _SOUGHT_AMONG:
            rows = np.sort(self.rng.choice(rows, _SOUGHT_AMONG, replace=False))
        iou, least = self.iou[rows], max(2, self.least * len(rows) // len(self.iou))
        singles = single_conditions(self.columns, rows, least)
        flags = [one.holds(self.columns)[rows] for one in singles]
        scores = np.array([_below(iou, one) for one in flags])
        rules: list[Rule] = [(one,) for one, score in zip(singles, scores, strict=True) if score > 1]
        rules += self._pairs(iou, singles, flags, scores, least)
        update(1)
        return rules + self._kinds(rows, least, update)

    def _pairs(
        self, iou: Floats, singles: list[Condition], flags: list[Flags], scores: Floats, least: int
    ) -> list[Rule]:
        """Pairs of conditions that are below both of their conditions alone."""
        pairs: list[tuple[float, Rule]] = []
        best = np.argsort(-scores, kind="stable")[:_SINGLES]
        for i in best.tolist():
            for j in range(len(singles)):
                if singles[i].column == singles[j].column or (j in best and j < i):
                    continue
                both = flags[i] & flags[j]
                if not least <= both.sum() or scores[i] <= 1:
                    continue
                score = _below(iou, both)
                # Of its first condition's items, those without the second are better.
                if score > max(scores[i], scores[j]) and _below(iou[flags[i]], both[flags[i]]) > 2:
                    pairs.append((score, (singles[i], singles[j])))
        pairs.sort(key=lambda one: -one[0])
        return [rule for _, rule in pairs[:_PAIRS]]

    def _kinds(self, rows: NDArray[np.int64], least: int, update: Callable[[int], object]) -> list[Rule]:
        """Kinds of failures among some rows, by components and confidences, in `_MOST_KINDS` - 1 steps."""
        fails = self.iou[rows] < self.iou[rows].mean() - self.iou[rows].std() / 4
        failing = np.flatnonzero(fails)
        if not self.own or len(failing) < 2 * least or (~fails).sum() < 2 * len(self.own):
            update(_MOST_KINDS - 1)
            return []
        if len(failing) > _CLUSTERED:
            failing = np.sort(self.rng.choice(failing, _CLUSTERED, replace=False))
        # Where nothing is drawn, confidences are far from all others: they count as much as the components, not more.
        parts = [
            _unusual(np.stack([self.own[name][rows] for name in names], axis=1), ~fails)[failing]
            for names in self.blocks
        ]
        labels = _cluster(np.hstack(parts), least, update)
        found = []
        for label in range(labels.max() + 1):
            members = np.zeros(len(rows), bool)
            members[failing[labels == label]] = True
            rule = best_leaf(self.own, rows, members, least)
            if rule is not None and _below(self.iou[rows], self._members(rule)[rows]) > 1:
                found.append(rule)
        return found

    def describe(self, rule: Rule, members: Flags, p_value: float, kept: NDArray[np.int64], coverage: float) -> Failure:
        """A group in numbers and words."""
        inside, rest = self.iou[members], self.iou[~members]
        size = len(inside)
        means, others = (_resampled_means(values, self.rng) for values in (inside, rest))
        tails = (1 - coverage) / 2, (1 + coverage) / 2
        low, high = np.quantile(means, tails)
        harm_low, harm_high = np.quantile(size * (others - means), tails)
        indices = kept[members]
        indices.flags.writeable = False
        mean, rest_mean = float(inside.mean()), float(rest.mean())
        return Failure(
            text=words(rule, self.all_columns),
            indices=indices,
            conditions=rule,
            mostly=self._mostly(rule, members),
            mean_iou=mean,
            low=float(low),
            high=float(high),
            rest_iou=rest_mean,
            harm=size * (rest_mean - mean),
            harm_low=float(harm_low),
            harm_high=float(harm_high),
            p_value=p_value,
        )

    def _mostly(self, rule: Rule, members: Flags) -> str:
        """Values of a text column that most members have, as few as do, and half as many of the others at most."""
        named = {condition.column for condition in rule}
        best, told = 0.0, ""
        for name, values in self.columns.items():
            if name in named or not is_text(values) or values.dtype.kind == "b":
                continue
            given = values[members]
            present, counts = np.unique(given[given != ""], return_counts=True)
            order = np.argsort(-counts, kind="stable")[:_MOST_VALUES]
            enough = np.flatnonzero(counts[order].cumsum() >= _MOSTLY * len(given))
            if not len(enough):
                continue
            most = present[order[: enough[0] + 1]]
            fraction = float(np.isin(given, most).mean())
            if fraction > max(best, 2 * float(np.isin(values[~members], most).mean())):
                named_as = words([Condition(name, " or ".join(map(str, most)))], self.columns)
                best, told = fraction, f"{named_as}, {fraction:.0%}"
        return told


class _RandomGroups:
    """Random groups of items, which groups that were found are tested against."""

    def __init__(self, iou: Floats, rng: np.random.Generator) -> None:
        self.iou = iou
        # Row by row, sums over the first items are those of random groups of every size.
        self._sums = iou[rng.integers(len(iou), size=(_DRAWS, min(_MOST_DRAWN, len(iou))))].cumsum(axis=1)

    def p_value(self, members: Flags) -> float:
        """Chance that a random group of this size has a mean IoU as low."""
        size = int(members.sum())
        if size > _MOST_DRAWN:
            return float(ndtr(-_below(self.iou, members)))
        lowest = self.iou[members].sum() + 1e-12 * size
        return float((1 + (self._sums[:, size - 1] <= lowest).sum()) / (1 + _DRAWS))


def _filled(values: NDArray[Any]) -> Floats:
    """Confidences with a value below all others where there is none: nothing is predicted there."""
    values = numbers(values)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.zeros(len(values))
    return np.where(np.isfinite(values), values, finite.min() - (finite.max() - finite.min()) / 10)


def _below(iou: Floats, members: Flags) -> float:
    """How far the mean IoU of a group is below that of all, in standard deviations over random groups of its size."""
    n, size = len(iou), int(members.sum())
    if not 0 < size < n:
        return -math.inf
    variance = float(iou.var()) * (n - size) / (size * (n - 1))
    if variance < 1e-24:
        return 0.0
    return float((iou.mean() - iou[members].mean()) / math.sqrt(variance))


def _harm(iou: Floats, members: Flags) -> float:
    """Size of a group times how far its mean IoU is below that of all others."""
    return float(members.sum() * (iou[~members].mean() - iou[members].mean()))


def _non_redundant(iou: Floats, groups: list[Flags], least: int) -> list[int]:
    """Positions of the groups that no clearer one tells already, the clearest first.

    A group far below the others is clearer than a large one.
    """
    clear = [_below(iou, members) * (_harm(iou, members) / members.sum()) ** 2 for members in groups]
    kept: list[int] = []
    for place in np.argsort(-np.array(clear), kind="stable").tolist():
        clearer = [groups[one] for one in kept]
        members = groups[place]
        if all(_is_other(iou, members, one) for one in clearer) and _is_left(iou, members, clearer, least):
            kept.append(place)
    return kept


def _is_other(iou: Floats, members: Flags, kept: Flags) -> bool:
    """Whether a group is another one than a clearer one, and if it lies within that, worse than the rest of it."""
    common = int((members & kept).sum())
    if common >= _SAME_GROUP * int((members | kept).sum()):
        return False
    return common < _INSIDE * int(members.sum()) or _below(iou[kept], members[kept]) > _CLEARLY_BELOW


def _is_left(iou: Floats, members: Flags, clearer: list[Flags], least: int) -> bool:
    """Whether a group is below the rest without the items of clearer ones, and has half of its harm there."""
    told = np.zeros(len(members), bool)
    for other in clearer:
        if (members & other).sum() >= _INSIDE * members.sum():
            return True  # it lies within that group, and `_is_other` said that it is worse than the rest of it
        told |= other
    left = members & ~told
    clear = left.sum() >= least and _below(iou[~told], members[~told]) > _CLEARLY_BELOW
    # Both harms are measured against all others: against those alone that do not fail, any usual group has one.
    return bool(clear and _harm(iou, left) >= _HALF * _harm(iou, members))


def _holm(p_values: Floats) -> Floats:
    """P values adjusted for their number (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * factors))
    return adjusted


def _unusual(table: Floats, usual: Flags) -> Floats:
    """Directions (n, d) in which items differ from the usual ones, whose variation is 1 in all directions."""
    scale = table[usual].std(axis=0)
    scaled = (table - table[usual].mean(axis=0)) / np.where(scale > 1e-12 * np.abs(table).max(axis=0), scale, 1)
    covariance, _ = ledoit_wolf(scaled[usual])
    values, vectors = np.linalg.eigh(covariance)
    white = scaled @ vectors / np.sqrt(np.maximum(values, 1e-9 * max(values.max(), 1e-300)))
    # Lengths stay below 1, and are about 0.7 for usual items: in one column, a sign alone would make two clusters.
    return np.asarray(white / np.sqrt(white.shape[1] + (white**2).sum(axis=1, keepdims=True)))


def _cluster(directions: Floats, least: int, update: Callable[[int], object]) -> NDArray[np.integer[Any]]:
    """Clusters of failing items: the most whose silhouette is near the highest; one, if they are not apart."""
    one = np.zeros(len(directions), np.int64)
    counts = range(2, min(_MOST_KINDS, len(directions) // least) + 1)
    if len(np.unique(directions.round(6), axis=0)) <= _MOST_KINDS:
        counts = range(0)
    found: list[NDArray[np.integer[Any]]] = []
    scores: list[float] = []
    for count in counts:
        found.append(kmeans(directions, count, random_state=0))
        scores.append(float(silhouette_score(directions, found[-1])))
        update(1)
    update(_MOST_KINDS - 1 - len(counts))
    limit = max(_APART, _NEAR_BEST * max(scores, default=0))
    return next((labels for labels, score in zip(found[::-1], scores[::-1], strict=True) if score >= limit), one)


def _resampled_means(values: Floats, rng: np.random.Generator) -> Floats:
    """Means of resampled values, float64 (1000,)."""
    count = len(values)
    if count > _MOST_RESAMPLED:
        return rng.normal(values.mean(), values.std() / math.sqrt(count), _RESAMPLES)
    return np.asarray(values[rng.integers(count, size=(_RESAMPLES, count))].mean(axis=1))
