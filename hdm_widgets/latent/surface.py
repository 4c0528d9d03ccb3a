"""The IoU that is to be expected at each place of the map."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

__all__ = ["Regressor", "Support", "Surface"]

_HIDDEN = (32, 32)
_FOLDS = 5
_FEWEST = 10  # items; fewer tell nothing about others
_LARGEST = 5000  # items that the network is trained on; of more, a random choice
_NEIGHBOURS = 5
# A place is supported as long as its fifth nearest item is no farther than this many times what is usual among items.
_REACH = 1.5
_USUAL = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """A grid over the map.

    Attributes
    ----------
    values : numpy.ndarray, float64 (rows, cols)
        Expected IoU, within the range of the items' own.
    x : numpy.ndarray, float64 (cols,)
        First component of the grid's columns.
    y : numpy.ndarray, float64 (rows,)
        Second component of its rows, ascending.
    supported : numpy.ndarray, bool (rows, cols)
        Whether items are near.
    support : numpy.ndarray, float64 (rows, cols)
        How near: 1 within the data, falling to 0 where support ends.
    """

    values: Floats
    x: Floats
    y: Floats
    supported: NDArray[np.bool_]
    support: Floats


@dataclass(frozen=True)
class Regressor:
    """A small network from components to IoU.

    Attributes
    ----------
    center, scale : numpy.ndarray (k,)
        Of the standardised components.
    weights, biases : tuple of numpy.ndarray
        Layer by layer; rectified between them.
    low, high : float
        Range of the IoU it was trained on; predictions are held within it.
    score : float
        R2 on items left out, the mean of five folds; NaN where there are too few items, or all have the same IoU.
    trained_on : int
        Number of items.
    converged : bool
        Whether the training came to its end before it was stopped.

    Notes
    -----
    scikit-learn's `MLPRegressor` behind a `StandardScaler`, kept as arrays.
    """

    center: Floats
    scale: Floats
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    low: float
    high: float
    score: float
    trained_on: int
    converged: bool

    @classmethod
    def fit(cls, coordinates: Floats, values: Floats, *, random_state: int = 0) -> Regressor | None:
        """Train on coordinates (n, k) and their IoU (n,); None where no item has an IoU.

        Items without IoU (NaN) are left out; of more than 5000, a random choice is used.
        """
        known = np.flatnonzero(np.isfinite(values))
        if not len(known):
            return None
        if len(known) > _LARGEST:
            known = np.sort(np.random.default_rng(random_state).choice(known, _LARGEST, replace=False))
        inputs, targets = coordinates[known], values[known]
        network = MLPRegressor(
            hidden_layer_sizes=_HIDDEN, solver="lbfgs", alpha=1e-2, max_iter=400, random_state=random_state
        )
        pipeline = make_pipeline(StandardScaler(), network)
        # The matrices are small: threads that wait for each other on a busy machine take a hundred times as long.
        with threadpool_limits(1), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", ConvergenceWarning)
            score = math.nan
            if len(known) >= _FEWEST and np.ptp(targets) > 0:
                folds = KFold(_FOLDS, shuffle=True, random_state=random_state)
                score = float(cross_val_score(pipeline, inputs, targets, cv=folds, scoring="r2").mean())
            said.clear()
            pipeline.fit(inputs, targets)
            converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in said)
        scaler = pipeline[0]
        return cls(
            center=np.asarray(scaler.mean_),
            scale=np.asarray(scaler.scale_),
            weights=tuple(np.asarray(weight) for weight in network.coefs_),
            biases=tuple(np.asarray(bias) for bias in network.intercepts_),
            low=float(targets.min()),
            high=float(targets.max()),
            score=score,
            trained_on=len(known),
            converged=converged,
        )

    def predict(self, coordinates: Floats) -> Floats:
        """Expected IoU (n,) at coordinates (n, k)."""
        values = (coordinates - self.center) / self.scale
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values = np.maximum(values @ weight + bias, 0)
        out: Floats = (values @ self.weights[-1] + self.biases[-1])[:, 0]
        return np.clip(out, self.low, self.high)


class Support:
    """Where on the map there are items.

    Parameters
    ----------
    coordinates : numpy.ndarray, float64 (n, k)
        Of the items.
    """

    def __init__(self, coordinates: Floats) -> None:
        spread = coordinates.std(axis=0)
        self._scale = np.where(spread > 0, spread, 1.0)
        self._count = min(_NEIGHBOURS, len(coordinates) - 1) or 1
        self._tree = KDTree(coordinates / self._scale)
        # An item is its own nearest neighbour: one more is asked for.
        own = self._farthest(coordinates, self._count + 1)
        self._usual = float(np.quantile(own, _USUAL)) or 1.0

    def distance(self, coordinates: Floats) -> Floats:
        """How far places (n, k) are from the items: 1 is what only one item in twenty exceeds among items."""
        return self._farthest(coordinates, self._count) / self._usual

    def share(self, coordinates: Floats) -> Floats:
        """1 within the data, 0 where support ends."""
        return np.clip((_REACH - self.distance(coordinates)) / (_REACH - 1), 0, 1)

    def _farthest(self, coordinates: Floats, count: int) -> Floats:
        count = min(count, self._tree.n)
        distances, _ = self._tree.query(coordinates / self._scale, k=[count])
        return np.asarray(distances, dtype=np.float64)[:, 0]


def surface(
    regressor: Regressor | None, support: Support, coordinates: Floats, shape: tuple[int, int], margin: float = 0.08
) -> Surface:
    """The grid of `shape` (rows, cols) over the first two components of all items, and a margin around them."""
    low, high = coordinates[:, :2].min(axis=0), coordinates[:, :2].max(axis=0)
    room = np.where(high > low, margin * (high - low), 1.0)
    rows, cols = shape
    x = np.linspace(low[0] - room[0], high[0] + room[0], cols)
    y = np.linspace(low[1] - room[1], high[1] + room[1], rows)
    places = np.stack([part.ravel() for part in np.meshgrid(x, y)], axis=1)
    values = np.full(len(places), math.nan) if regressor is None else regressor.predict(places)
    share = support.share(places)
    return Surface(values.reshape(shape), x, y, (share > 0).reshape(shape), share.reshape(shape))
