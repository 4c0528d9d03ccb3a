"""The IoU to expect of items without a truth, with intervals, from the model's confidences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import KFold

from hdm_widgets.latent.batches import row_batches
from hdm_widgets.latent.regressors import LEAF, BestSingle, Inputs, Regressor, SupportVectors, Trees
from hdm_widgets.latent.surface import Support

__all__ = ["CONSTANT", "FEWEST", "RELIABLE_DISTANCE", "Conformal", "Estimate", "Estimator", "Score"]

Floats = NDArray[np.float64]

FEWEST = 30  # items with a prediction; fewer give no interval
_LARGEST = 5000  # items that are learned from; of more, a random choice
_ROWS = 1 << 15  # new items that are estimated at once
_FOLDS = 5
CONSTANT = "the mean of the data"
_ALL = "trees, support vectors and the best single confidence"
_COMPONENTS_TOO = "trees on confidences and components, and the best single confidence"
_ONLY_COMPONENTS = "trees on components"
# What is tried, in order of preference: means of parts.
_BLENDS = {
    "trees and the best single confidence": ("trees", "single"),
    _ALL: ("trees", "machine", "single"),
    "the best single confidence": ("single",),
    "trees on confidences": ("trees",),
    _COMPONENTS_TOO: ("components", "single"),
    _ONLY_COMPONENTS: ("components",),
}
# Factors that the squared error of a candidate must be below, of the best one's before it. Components move under a
# shift, and what was learned from them does not hold there: they have to be worth it.
_WORTH_ANOTHER = 0.95
_WORTH = {_ALL: 1.0, _COMPONENTS_TOO: 0.8, _ONLY_COMPONENTS: 0.8}
_BASELINES = ("soft_iou", "foreground_entropy", "mean_entropy", "largest_probability")
RELIABLE_DISTANCE = 1.5
_LEAST_DIFFICULTY = 0.1  # of the mean one

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Score:
    """How well something predicts the IoU of items that it was not fitted to.

    Attributes
    ----------
    name : str
    mae : float
        Mean absolute error by cross-validation.
    r2 : float
        Coefficient of determination by cross-validation: 1 is perfect, 0 no better than the mean.
    """

    name: str
    mae: float
    r2: float


@dataclass(frozen=True, eq=False)
class Estimate:
    """Expected IoU of items.

    Attributes
    ----------
    iou, low, high : numpy.ndarray, float64 (n,)
        Expected IoU and the interval around it.
    distance : numpy.ndarray, float64 (n,)
        Distance to the items of the map, in components or in confidences, whichever is farther; 95 % of those items
        are below 1 in each.
    reliable : numpy.ndarray, bool (n,)
        Whether estimate and interval can be relied on, if the items are like those of the map.
    deviation : numpy.ndarray, float64 (n,)
        Size of the error that is expected: the root of its mean square.
    certain : numpy.ndarray, bool (n,)
        Whether the IoU is 0 whatever the truth is: nothing is predicted, and an empty union has no IoU of its own.
    weight : numpy.ndarray, float64 (n,)
        Probability that the item has an IoU, which is its weight in a mean: below 1 only where nothing is predicted
        and an empty union has no IoU.
    nothing : numpy.ndarray, bool (n,)
        Whether nothing is predicted.
    """

    iou: Floats
    low: Floats
    high: Floats
    distance: Floats
    reliable: NDArray[np.bool_]
    deviation: Floats
    certain: NDArray[np.bool_]
    weight: Floats
    nothing: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Conformal:
    """Sizes of errors that an interval has to cover, each divided by the size that was expected."""

    sizes: Floats

    def factor(self, coverage: float) -> float:
        """What an expected size is multiplied with for an interval of this coverage; infinite of too few errors.

        The quantile for finite samples of split conformal prediction (Lei et al. 2018): if new items come from where
        these come from, intervals cover at least this fraction of them.
        """
        rank = math.ceil((len(self.sizes) + 1) * coverage)
        return float(self.sizes[rank - 1]) if rank <= len(self.sizes) else math.inf

    @staticmethod
    def fewest(coverage: float) -> int:
        """How many errors it takes for an interval of this coverage."""
        count = math.floor(coverage / (1 - coverage))
        return count if math.ceil((count + 1) * coverage) <= count else count + 1

    @property
    def root_mean_square(self) -> float:
        """Of the sizes; NaN if there is none."""
        return float(np.sqrt(np.mean(self.sizes**2))) if len(self.sizes) else math.nan


def _parts(inputs: Inputs, seed: int) -> dict[str, Callable[[], Regressor]]:
    """What blends are made of: each call makes a new regressor."""
    relative = inputs.relative
    everything = np.concatenate([inputs.confidences, inputs.components])
    parts: dict[str, Callable[[], Regressor]] = {"components": partial(Trees, everything, seed)}
    if len(relative):
        parts |= {
            "trees": partial(Trees, relative, seed),
            "machine": partial(SupportVectors, relative),
            "single": partial(BestSingle, inputs.confidences),
        }
    return parts


@dataclass(frozen=True, eq=False)
class Estimator:
    """Expected IoU from confidences, learned from items with a truth.

    Attributes
    ----------
    name : str
        What was chosen, or "the mean of the data".
    scores : tuple of Score
        Of everything that was tried, and of what it has to beat, on the items where the model predicts something.
    count : int
        How many items that are.
    skilled : bool
        Whether the chosen one is better than the mean of the data, by two standard errors of the difference.
    iou_empty : float
        IoU where truth and prediction are both empty.
    low, high : float
        Range of the IoU that was learned from.
    counts_if_nothing : float
        Fraction of the map's items without a prediction that have an IoU: where `iou_empty` is NaN, those with a truth.
        It is 1 if there are none.
    errors : numpy.ndarray, float64 (n,)
        For every item of the map, true minus expected IoU in cross-validation, divided by the size that was expected
        of the error; NaN for items that were not learned from.
    sampled : bool
        Whether it was learned from a random choice of 5000 items, as there were more.

    Notes
    -----
    Where the model predicts nothing, the IoU is what it was for the map's items without a prediction. For the others
    the regressor with the smallest squared error in five-fold cross-validation is taken; one that also looks at
    components must be clearly better, since components move under a shift. Trees and support vectors see entropy and
    areas in relation to the predicted area, which differ less between images with objects of other sizes.

    Intervals are conformal (Lei et al. 2018): the errors of the five folds, each divided by the size that a second
    regressor expects of it, give the factor for a new item's expected size. That size grows with the distance to the
    data.
    """

    name: str
    scores: tuple[Score, ...]
    count: int
    skilled: bool
    iou_empty: float
    low: float
    high: float
    counts_if_nothing: float
    errors: Floats = field(repr=False)
    sampled: bool
    _inputs: Inputs = field(repr=False)
    _regressors: tuple[Regressor, ...] = field(repr=False)
    _difficulty: Regressor | None = field(repr=False)
    _least_difficulty: float = field(repr=False)
    _conformal: Conformal = field(repr=False)
    _without: Floats = field(repr=False)
    _supports: tuple[tuple[NDArray[np.int64], Support], ...] = field(repr=False)

    @classmethod
    def fit(
        cls,
        components: Floats,
        confidences: Mapping[str, Floats],
        iou: Floats,
        predicted_area: NDArray[np.int64],
        *,
        iou_empty: float = 0.0,
        random_state: int = 0,
    ) -> Estimator:
        """Learn from the items of a map.

        Parameters
        ----------
        components : numpy.ndarray, float64 (n, k)
            Principal components of the activations.
        confidences : mapping of str to numpy.ndarray, float64 (n,)
            Columns of `confidence_columns`; NaN where there is none. Without any, components tell alone.
        iou : numpy.ndarray, float64 (n,)
            NaN for items without one, which are left out.
        predicted_area : numpy.ndarray, int64 (n,)
            Pixels of the predicted masks.
        iou_empty : float
            IoU where truth and prediction are both empty, NaN for none.
        random_state : int
            Seed of folds and trees. The same data and seed give the same estimator.

        Returns
        -------
        Estimator

        Raises
        ------
        ValueError
            If no item has an IoU.
        """
        if not np.isfinite(iou).any():
            raise ValueError("no item of the map has an IoU to learn from")
        rows = np.arange(len(iou))
        errors = np.full(len(iou), math.nan)
        if len(iou) > _LARGEST:
            # Items with an IoU first, in random order.
            order = np.random.default_rng(random_state).permutation(len(iou))
            rows = np.sort(order[np.argsort(~np.isfinite(iou[order]), kind="stable")][:_LARGEST])
            components, iou, predicted_area = components[rows], iou[rows], predicted_area[rows]
            confidences = {name: values[rows] for name, values in confidences.items()}
        known, nothing = np.isfinite(iou), predicted_area == 0
        drawn = np.flatnonzero(known & ~nothing)
        inputs = Inputs.fit(components, confidences)
        everything = inputs.table(components, confidences)
        table, targets = everything[drawn], iou[drawn]
        parts = [part for part in (inputs.confidences, inputs.components) if len(part)]
        supports = tuple((part, Support(everything[:, part])) for part in parts)
        folds: list[Fold] = []
        if len(drawn) >= FEWEST:
            folds = list(KFold(_FOLDS, shuffle=True, random_state=random_state).split(table))
        name, scores, left_out = _choose(table, targets, folds, inputs, random_state)
        makers = _parts(inputs, random_state)
        chosen = [makers[part]() for part in _BLENDS[name]] if name in _BLENDS else [DummyRegressor()]
        learned = drawn if len(drawn) else np.flatnonzero(known)
        regressors = tuple(regressor.fit(everything[learned], iou[learned]) for regressor in chosen)
        sizes = np.abs(targets - left_out)
        difficulty: Regressor | None = None
        expected = np.ones(len(drawn))
        if name != CONSTANT and np.ptp(sizes) > 0:

            def trees() -> Regressor:
                columns = inputs.relative if len(inputs.relative) else inputs.components
                return Trees(columns, random_state, 2 * LEAF)

            expected = _cross_fitted(trees, table, sizes, folds)
            difficulty = trees().fit(table, sizes)
        least = _LEAST_DIFFICULTY * float(sizes.mean()) if difficulty else 0.0
        own = np.max([support.own[drawn] for _, support in supports], axis=0)
        expected = np.maximum(expected, least) * np.maximum(own, 1)
        if folds:
            errors[rows[drawn]] = (targets - left_out) / expected
        return cls(
            name=name,
            scores=scores,
            count=len(drawn),
            skilled=name != CONSTANT,
            iou_empty=iou_empty,
            low=float(iou[known].min()),
            high=float(iou[known].max()),
            counts_if_nothing=float(known[nothing].mean()) if math.isnan(iou_empty) and nothing.any() else 1.0,
            errors=errors,
            sampled=len(rows) < len(errors),
            _inputs=inputs,
            _regressors=regressors,
            _difficulty=difficulty,
            _least_difficulty=least,
            _conformal=Conformal(np.sort(sizes / expected) if folds else np.empty(0)),
            _without=iou[known & nothing],
            _supports=tuple(supports),
        )

    def estimate(
        self,
        components: Floats,
        confidences: Mapping[str, Floats],
        predicted_area: NDArray[np.int64],
        coverage: float = 0.9,
    ) -> Estimate:
        """Expected IoU of other items of the same columns, with intervals.

        Parameters
        ----------
        components : numpy.ndarray, float64 (m, k)
        confidences : mapping of str to numpy.ndarray, float64 (m,)
        predicted_area : numpy.ndarray, int64 (m,)
        coverage : float
            Of the intervals, above 0 and below 1.

        Returns
        -------
        Estimate
        """
        parts = [
            self._estimate(
                components[rows], {name: values[rows] for name, values in confidences.items()}, area, coverage
            )
            for rows in row_batches(len(components), 1, most=_ROWS) or [slice(0)]
            for area in [predicted_area[rows]]
        ]
        return Estimate(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Estimate)))

    def _estimate(
        self,
        components: Floats,
        confidences: Mapping[str, Floats],
        predicted_area: NDArray[np.int64],
        coverage: float,
    ) -> Estimate:
        """The same of a batch."""
        table = self._inputs.table(components, confidences)
        distance = np.max([support.distance(table[:, part]) for part, support in self._supports], axis=0)
        iou = np.clip(_mean([part.predict(table) for part in self._regressors]), self.low, self.high)
        expected = np.ones(len(table)) if self._difficulty is None else self._difficulty.predict(table)
        expected = np.maximum(expected, self._least_difficulty) * np.maximum(distance, 1)
        factor = self._conformal.factor(coverage)
        half = expected * factor if math.isfinite(factor) else np.full(len(table), math.inf)
        deviation = expected * self._conformal.root_mean_square
        low, high = np.clip(iou - half, 0, 1), np.clip(iou + half, 0, 1)
        reliable = np.isfinite(half) & (distance <= RELIABLE_DISTANCE) & self.skilled
        nothing = predicted_area == 0
        if nothing.any():
            iou[nothing], low[nothing], high[nothing], deviation[nothing], seen = self._of_nothing(coverage)
            reliable[nothing] = seen & (distance[nothing] <= RELIABLE_DISTANCE)
        # Without overlap and without a bonus for an empty union the IoU is 0, whatever the truth is.
        certain = nothing & (self._empty == 0)
        reliable |= certain
        weight = np.where(nothing, self.counts_if_nothing, 1.0)
        return Estimate(iou, low, high, distance, reliable, deviation, certain, weight, nothing)

    @property
    def _empty(self) -> float:
        return 0.0 if math.isnan(self.iou_empty) else self.iou_empty

    def _of_nothing(self, coverage: float) -> tuple[float, float, float, float, bool]:
        """IoU, interval, deviation where nothing is predicted, and whether there were enough such items to tell."""
        earned, most = self._without, self._empty
        if most == 0:
            return 0.0, 0.0, 0.0, 0.0, True
        if not len(earned):
            return most / 2, 0.0, most, most / 2, False
        mean = float(earned.mean())
        half = Conformal(np.sort(np.abs(earned - mean))).factor(coverage)
        low, high = max(0.0, mean - half), min(most, mean + half)
        return mean, low, high, float(np.sqrt(np.mean((earned - mean) ** 2))), math.isfinite(half)

    def shortages(self, coverage: float, nothing: NDArray[np.bool_]) -> tuple[str, ...]:
        """Of which items there are too few for intervals of this coverage, one line each.

        Parameters
        ----------
        coverage : float
        nothing : numpy.ndarray, bool (m,)
            The items that are estimated and have no prediction.

        Returns
        -------
        tuple of str
        """
        fewest, told = Conformal.fewest(coverage), []
        if FEWEST <= self.count < fewest and not nothing.all():
            told.append(("with a prediction and an IoU", self.count, "something"))
        if self._empty != 0 and len(self._without) < fewest and nothing.any():
            told.append(("without a prediction", len(self._without), "nothing"))
        return tuple(
            f"intervals of {100 * coverage:g} % take {fewest} items of the map {which}, there are {count}: so nothing "
            f"is known of the error where {what} is predicted"
            for which, count, what in told
        )

    @property
    def text(self) -> str:
        """One line on how well items are estimated that were not learned from."""
        if self.count == 0:
            return (
                "expected IoU: the model predicts nothing on any item of the map with an IoU, so it can be told only "
                "for items without a prediction"
            )
        if self.count < FEWEST:
            return (
                f"expected IoU: {self.count} items with a prediction and an IoU are too few to learn from (it takes "
                f"{FEWEST}): every estimate is their mean, and nothing is known of its error"
            )
        if self.low == self.high:
            return f"expected IoU: all items of the map have the same, {self.low:.2f}"
        by_name = {score.name: score for score in self.scores}
        constant = by_name[CONSTANT]
        if constant.mae < 1e-9:
            return "expected IoU: all items of the map with a prediction have the same"
        if not self.skilled:
            best = max((score for score in self.scores if score.name != CONSTANT), key=lambda score: score.r2)
            return (
                f"expected IoU: nothing that was tried is better than the mean of the data (the best, {best.name}: "
                f"R² {best.r2:.2f}), so every estimate is that mean, with its interval"
            )
        chosen = by_name[self.name]
        chosen_from = (
            f", learned from {self.count:,} of {len(self.errors):,} items, chosen at random" if self.sampled else ""
        )
        return (
            f"expected IoU: {self.name}, mean absolute error {chosen.mae:.3f} by cross-validation "
            f"({constant.mae:.3f} for {CONSTANT}), R² {chosen.r2:.2f}{chosen_from}"
        )

    def __str__(self) -> str:
        return self.text


def _choose(
    table: Floats, targets: Floats, folds: list[Fold], inputs: Inputs, seed: int
) -> tuple[str, tuple[Score, ...], Floats]:
    """The name of what to take, the scores of all that was tried, and what the chosen one expects of items left out."""
    if not folds:
        return CONSTANT, (), np.full(len(targets), targets.mean() if len(targets) else math.nan)
    left_out = {CONSTANT: _cross_fitted(DummyRegressor, table, targets, folds)}
    if np.ptp(targets) > 0:
        makers = _parts(inputs, seed)
        parts = {name: _cross_fitted(make, table, targets, folds) for name, make in makers.items()}
        for name, blend in _BLENDS.items():
            if parts.keys() >= set(blend):
                left_out[name] = _mean([parts[part] for part in blend])
    errors = {name: float(np.mean((values - targets) ** 2)) for name, values in left_out.items()}
    chosen = CONSTANT
    for name, error in errors.items():
        # Of several that are about as good, the first.
        worth = 1.0 if chosen == CONSTANT else _WORTH.get(name, _WORTH_ANOTHER)
        if error < errors[chosen] * worth and _is_better(left_out[name], left_out[CONSTANT], targets):
            chosen = name
    for name in _BASELINES:
        if name in inputs.names:
            single = partial(BestSingle, (inputs.names.index(name),))
            left_out[name] = _cross_fitted(single, table, targets, folds)
    scores = tuple(
        Score(
            name,
            float(np.abs(values - targets).mean()),
            1 - float(np.mean((values - targets) ** 2)) / errors[CONSTANT] if errors[CONSTANT] else math.nan,
        )
        for name, values in left_out.items()
    )
    return chosen, scores, left_out[chosen]


def _is_better(predicted: Floats, constant: Floats, targets: Floats) -> bool:
    """Whether squared errors are smaller than the constant's, by more than two standard errors of the difference."""
    gain = (constant - targets) ** 2 - (predicted - targets) ** 2
    return bool(gain.mean() > 2 * gain.std() / math.sqrt(len(gain)))


def _mean(predictions: list[Floats]) -> Floats:
    return np.asarray(np.mean(predictions, axis=0), dtype=np.float64)


def _cross_fitted(make: Callable[[], Regressor], table: Floats, targets: Floats, folds: list[Fold]) -> Floats:
    """What is predicted for every item by a regressor that was not fitted to it, within the range of the targets."""
    predicted = np.empty(len(targets))
    for train, test in folds:
        predicted[test] = make().fit(table[train], targets[train]).predict(table[test])
    return np.clip(predicted, targets.min(), targets.max())
