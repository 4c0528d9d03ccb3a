"""Regressors from a model's confidences to the IoU: what an estimator chooses among, and what they look at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.svm import SVR

from hdm_widgets.latent.batches import row_batches
from hdm_widgets.latent.surface import column_scales, rounded, rounding_step

__all__ = ["LEAF", "BestSingle", "Inputs", "Regressor", "SupportVectors", "Trees"]

Floats = NDArray[np.float64]
Columns = NDArray[np.int64]

_TREES = 60
LEAF = 5  # items in a leaf, at least
# Of the support vector regression, on standardized inputs and targets.
_PENALTY, _TOLERANCE, _GAMMA = 10.0, 0.07, 0.01
_ROWS = 512  # whose kernel is computed at once
_AREA, _ENTROPY = "area_at_50", "mean_entropy"
_NEEDED = frozenset((_AREA, _ENTROPY, "area_at_30", "area_at_70", "area_at_90"))
# What relative columns say better: sizes of a mask change with the image, not with the quality of the mask.
_REPLACED = _NEEDED | {"soft_dice"}
_TINY = 1e-9


class Regressor(Protocol):
    """As in scikit-learn."""

    def fit(self, inputs: Floats, targets: Floats) -> Regressor:
        """Learn from inputs (n, d) and targets (n,)."""

    def predict(self, inputs: Floats) -> Floats:
        """Targets (m,) to expect of inputs (m, d)."""


def _relative_columns(confidences: Mapping[str, Floats]) -> dict[str, Floats]:
    """Entropy and areas as parts of the predicted area (n,), and the logarithm of that; nothing without all of them.

    How little a mask changes with the threshold is the stability score of Kirillov et al. (2023).
    """
    if not confidences.keys() >= _NEEDED:
        return {}
    area = np.where(confidences[_AREA] > 0, confidences[_AREA], np.nan)
    return {
        # The area at a lower threshold has no bound where little is predicted; this way round it is in [0, 1].
        "area of that at 30": area / np.maximum(confidences["area_at_30"], _TINY),
        "area at 70 of the area": confidences["area_at_70"] / area,
        "area at 90 of the area": confidences["area_at_90"] / area,
        "logarithm of the entropy of the area": np.log(np.maximum(confidences[_ENTROPY] / area, _TINY)),
        "logarithm of the area": np.log(area),
    }


@dataclass(frozen=True, eq=False)
class Inputs:
    """Confidences and components as a regressor takes them: without NaN, and rounded.

    Inputs that differ by float32 rounding, as those of batches of another size do, become the same.

    Attributes
    ----------
    names : tuple of str
        The confidences, which are the first columns.
    confidences, relative, components : numpy.ndarray, int64
        Which columns of `table` are confidences as they are, confidences in relation to the predicted area and those
        that need none, and components.
    """

    names: tuple[str, ...]
    confidences: Columns
    relative: Columns
    components: Columns
    _fill: Floats
    _step: Floats

    @classmethod
    def fit(cls, components: Floats, confidences: Mapping[str, Floats]) -> Inputs:
        """Those of the items of a map: components (n, k) and confidences (n,) by name."""
        names = tuple(confidences)
        relative = _relative_columns(confidences)
        table = _stack(names, components, confidences)
        split = len(names) + len(relative)
        kept = [place for place, name in enumerate(names) if not (relative and name in _REPLACED)]
        fill = np.array([np.nanmedian(column) if np.isfinite(column).any() else 0.0 for column in table.T])
        filled = np.where(np.isnan(table), fill, table)
        return cls(
            names=names,
            confidences=np.arange(len(names)),
            relative=np.array([*kept, *range(len(names), split)], np.int64),
            components=np.arange(split, table.shape[1]),
            _fill=fill,
            _step=rounding_step(filled),
        )

    def table(self, components: Floats, confidences: Mapping[str, Floats]) -> Floats:
        """One row per item: confidences, confidences in relation to the area, components."""
        table = _stack(self.names, components, confidences)
        return rounded(np.where(np.isnan(table), self._fill, table), self._step)


def _stack(names: tuple[str, ...], components: Floats, confidences: Mapping[str, Floats]) -> Floats:
    """All columns (n, d); NaN where a number is not finite."""
    chosen = {name: confidences[name] for name in names}
    table = np.column_stack([*chosen.values(), *_relative_columns(chosen).values(), components])
    return np.where(np.isfinite(table), table, np.nan)


class BestSingle:
    """The confidence that fits best of some, made an expected IoU by a curve that only rises or only falls.

    Isotonic regression is constant over blocks. The curve joins the centers of these blocks instead (Oron and Flournoy
    2017), so that the order of the items within a block is kept.
    """

    def __init__(self, columns: Iterable[int]) -> None:
        self._columns = tuple(columns)

    def fit(self, inputs: Floats, targets: Floats) -> BestSingle:
        """Learn from inputs (n, d) and targets (n,)."""
        best, ranks = math.inf, rankdata(targets)
        for column in self._columns:
            values = inputs[:, column]
            rises = bool(np.cov(rankdata(values), ranks)[0, 1] >= 0)
            heights = IsotonicRegression(increasing=rises, out_of_bounds="clip").fit(values, targets).predict(values)
            error = float(np.mean((heights - targets) ** 2))
            if error < best:
                best, self.column = error, column
                levels, block = np.unique(heights, return_inverse=True)
                centers = np.bincount(block, values) / np.bincount(block)
                order = np.argsort(centers)
                self._centers, self._heights = centers[order], levels[order]
        return self

    def predict(self, inputs: Floats) -> Floats:
        """Targets (m,) to expect of inputs (m, d)."""
        return np.asarray(np.interp(inputs[:, self.column], self._centers, self._heights), dtype=np.float64)


class Trees:
    """Randomized trees (Geurts et al. 2006) on some columns."""

    def __init__(self, columns: Columns, seed: int, leaf: int = LEAF) -> None:
        self._columns = columns
        self._trees = ExtraTreesRegressor(_TREES, min_samples_leaf=leaf, max_features=0.5, random_state=seed)

    def fit(self, inputs: Floats, targets: Floats) -> Trees:
        """Learn from inputs (n, d) and targets (n,)."""
        self._trees.fit(inputs[:, self._columns], targets)
        return self

    def predict(self, inputs: Floats) -> Floats:
        """Targets (m,) to expect of inputs (m, d)."""
        return np.asarray(self._trees.predict(inputs[:, self._columns]), dtype=np.float64)


class SupportVectors:
    """Support vector regression on some columns; what is outside of the range that was seen is moved to its edge."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._machine = SVR(C=_PENALTY, epsilon=_TOLERANCE, gamma=_GAMMA)

    def fit(self, inputs: Floats, targets: Floats) -> SupportVectors:
        """Learn from inputs (n, d) and targets (n,)."""
        chosen = inputs[:, self._columns]
        self._low, self._high = chosen.min(axis=0), chosen.max(axis=0)
        self._center, self._scale = chosen.mean(axis=0), column_scales(chosen)
        self._mean, self._deviation = float(targets.mean()), float(targets.std()) or 1.0
        self._machine.fit((chosen - self._center) / self._scale, (targets - self._mean) / self._deviation)
        return self

    def predict(self, inputs: Floats) -> Floats:
        """Targets (m,) to expect of inputs (m, d)."""
        chosen = np.clip(inputs[:, self._columns], self._low, self._high)
        scaled = (chosen - self._center) / self._scale
        vectors, weights = self._machine.support_vectors_, self._machine.dual_coef_[0]
        squares = (vectors**2).sum(axis=1)
        predicted = np.full(len(scaled), self._machine.intercept_[0])
        # As the machine's `predict`, which takes a row after the other and ten times as long.
        for rows in row_batches(len(scaled), len(vectors), most=_ROWS):
            distances = 2 * (scaled[rows] @ vectors.T)
            distances -= squares
            distances -= (scaled[rows] ** 2).sum(axis=1)[:, None]
            distances *= _GAMMA
            predicted[rows] += np.exp(distances, out=distances) @ weights
        return np.asarray(self._mean + self._deviation * predicted, dtype=np.float64)
