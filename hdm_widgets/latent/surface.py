"""The paper's picture of the map: the IoU of the items around each point. What to expect of an image is `estimator`."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from hdm_widgets._validation import brief, finite_number, is_whole, listed
from hdm_widgets.latent.batches import row_batches
from hdm_widgets.models.threads import limited_threads

__all__ = [
    "NEIGHBORS",
    "SCALE_QUANTILE",
    "Bounds",
    "Regressor",
    "Support",
    "Surface",
    "check_grid",
    "column_scales",
    "one_thread",
    "rounded",
    "rounding_step",
    "surface",
]

_HIDDEN = (32, 32)
_PENALTY = 1e-2
_ITERATIONS = 600
# Adam's step size falls from this to 0 by half a cosine, so that the training settles.
_FIRST_STEP = 0.05
_DECAYS = (0.9, 0.999)  # of Adam's averages of the gradient and of its square
_ADAM_EPSILON = 1e-8
_GRADIENT_TOLERANCE = 1e-4
# The network learns from components in steps of 1/128 to 1/256 of their standard deviation, less than a pixel of a map.
_STEPS = 128
_ROWS = 1 << 15  # points that are predicted at once
_FOLDS = 5
_FEWEST = 10  # items; fewer tell nothing about others
_LARGEST = 5000  # items that the network is trained on; of more, a random choice
NEIGHBORS = 5
# A point is supported as long as the distance to its fifth nearest item is at most this, on the scale of `distance`.
_SUPPORT_LIMIT = 1.5
SCALE_QUANTILE = 0.95

Floats = NDArray[np.float64]
# x0, x1, y0, y1.
Bounds: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
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
        How near they are: 1 within the data, falling to 0 where support ends.
    """

    values: Floats
    x: Floats
    y: Floats
    supported: NDArray[np.bool_]
    support: Floats


@dataclass(frozen=True, eq=False)
class Regressor:
    """A small network from components to IoU.

    Attributes
    ----------
    center, scale : numpy.ndarray (k,)
        Mean and standard deviation of the components, which are standardized first.
    weights, biases : tuple of numpy.ndarray
        Layer by layer.
    low, high : float
        Range of the IoU it was trained on; predictions are clipped to it.
    score : float
        R² by cross-validation, the mean of five folds; NaN where there are too few items, or all have the same IoU.
    trained_on : int
        Number of items.
    converged : bool
        Whether no entry of the loss's gradient was above 1e-4 at the end of the training.
    activation : {"tanh", "relu"}
        Between the layers; `"relu"` in files of earlier versions.

    Notes
    -----
    Trained as scikit-learn's `MLPRegressor` with `activation="tanh"` and `solver="adam"` on all items at once, with a
    step size that falls to 0. Inputs that differ by float32 rounding give predictions that differ about as little.
    L-BFGS and rectifiers, which make larger steps over a surface with edges, amplify such differences to 0.05 within
    fifty iterations.
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
    activation: Literal["tanh", "relu"] = "tanh"

    @classmethod
    def fit(cls, coordinates: Floats, values: Floats, *, random_state: int = 0) -> Regressor | None:
        """Train on coordinates (n, k) and their IoU (n,); None where no item has an IoU.

        Items without IoU (NaN) are left out; of more than 5000, a random choice is used.
        """
        chosen = np.flatnonzero(np.isfinite(values))
        if not len(chosen):
            return None
        if len(chosen) > _LARGEST:
            chosen = np.sort(np.random.default_rng(random_state).choice(chosen, _LARGEST, replace=False))
        inputs, targets = coordinates[chosen], values[chosen]
        with one_thread(), limited_threads():
            score = math.nan
            if len(chosen) >= _FEWEST and np.ptp(targets) > 0:
                folds = KFold(_FOLDS, shuffle=True, random_state=random_state)
                scores = []
                for train, test in folds.split(inputs):
                    fold = cls._train(inputs[train], targets[train], random_state)
                    scores.append(r2_score(targets[test], fold._outputs(inputs[test])))
                score = float(np.mean(scores))
            return cls._train(inputs, targets, random_state, score)

    @classmethod
    def _train(cls, inputs: Floats, targets: Floats, random_state: int, score: float = math.nan) -> Regressor:
        scaler = StandardScaler().fit(inputs)
        weights, biases, converged = _trained_network(scaler.transform(inputs), targets[:, None], random_state)
        return cls(
            center=np.asarray(scaler.mean_),
            scale=np.asarray(scaler.scale_),
            weights=weights,
            biases=biases,
            low=float(targets.min()),
            high=float(targets.max()),
            score=score,
            trained_on=len(inputs),
            converged=converged,
        )

    def predict(self, coordinates: Floats) -> Floats:
        """Expected IoU (n,) at coordinates (n, k)."""
        return np.clip(self._outputs(coordinates), self.low, self.high)

    def _outputs(self, coordinates: Floats) -> Floats:
        """What the network puts out (n,), which may leave the range of the IoU."""
        found = np.empty(len(coordinates))
        with limited_threads():
            for rows in row_batches(*coordinates.shape, most=_ROWS):
                inputs = (coordinates[rows] - self.center) / self.scale
                found[rows] = _activations(inputs, self.weights, self.biases, self.activation)[-1][:, 0]
        return found


def one_thread() -> AbstractContextManager[Any]:
    """A single thread for matrix products, in the main thread.

    The matrices are small: threads that wait for each other on a busy machine take a hundred times as long. The limit
    is that of the process, so other threads do without it.
    """
    if threading.current_thread() is threading.main_thread():
        limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
        return limits
    return nullcontext()


def rounded(coordinates: Floats, step: Floats | None = None) -> Floats:
    """Coordinates (n, k) in steps of a power of two, by default 1/128 to 1/256 of their standard deviation.

    Two sets of coordinates that differ by float32 rounding become the same, but for the few that lie at the edge of a
    step.
    """
    step = rounding_step(coordinates) if step is None else step
    return np.asarray(np.round(coordinates / step) * step, dtype=np.float64)


def rounding_step(coordinates: Floats) -> Floats:
    """The step (k,) that `rounded` takes for coordinates (n, k)."""
    return np.asarray(np.exp2(np.floor(np.log2(column_scales(coordinates)))) / _STEPS, dtype=np.float64)


def column_scales(coordinates: Floats) -> Floats:
    """Standard deviation (k,) of coordinates (n, k); 1 where they are the same up to rounding, or there are none."""
    if not len(coordinates):
        return np.ones(coordinates.shape[1])
    deviation = coordinates.std(axis=0)
    return np.asarray(np.where(deviation > 1e-9 * np.abs(coordinates).max(axis=0), deviation, 1.0), dtype=np.float64)


def _trained_network(
    inputs: Floats, targets: Floats, random_state: int
) -> tuple[tuple[Floats, ...], tuple[Floats, ...], bool]:
    """Weights and biases that fit inputs (n, k) to targets (n, 1), and whether the training converged.

    Adam (Kingma and Ba 2015) on the gradient of all items.
    """
    rng = np.random.RandomState(random_state)
    sizes = (inputs.shape[1], *_HIDDEN, 1)
    weights, biases = [], []
    for fan_in, fan_out in itertools.pairwise(sizes):
        bound = np.sqrt(6.0 / (fan_in + fan_out))
        weights.append(rng.uniform(-bound, bound, (fan_in, fan_out)))
        biases.append(rng.uniform(-bound, bound, fan_out))
    parameters = [*weights, *biases]  # the same arrays, changed in place
    averages = [(np.zeros_like(part), np.zeros_like(part)) for part in parameters]
    for iteration in range(1, _ITERATIONS + 1):
        gradients = _gradients(inputs, targets, weights, biases)
        step = _FIRST_STEP * 0.5 * (1 + math.cos(math.pi * (iteration - 1) / _ITERATIONS))
        step *= math.sqrt(1 - _DECAYS[1] ** iteration) / (1 - _DECAYS[0] ** iteration)
        for part, gradient, (mean, square) in zip(parameters, gradients, averages, strict=True):
            mean += (1 - _DECAYS[0]) * (gradient - mean)
            square += (1 - _DECAYS[1]) * (gradient**2 - square)
            part -= step * mean / (np.sqrt(square) + _ADAM_EPSILON)
    largest = max(float(np.abs(gradient).max()) for gradient in _gradients(inputs, targets, weights, biases))
    return tuple(weights), tuple(biases), largest <= _GRADIENT_TOLERANCE


def _gradients(inputs: Floats, targets: Floats, weights: Sequence[Floats], biases: Sequence[Floats]) -> list[Floats]:
    """Of half the mean squared error with the penalty of the weights, by all weights, then by all biases."""
    layers = _activations(inputs, weights, biases, "tanh")
    errors = (layers[-1] - targets) / len(inputs)
    of_weights, of_biases = [], []
    for layer in reversed(range(len(weights))):
        of_weights.append(layers[layer].T @ errors + (_PENALTY / len(inputs)) * weights[layer])
        of_biases.append(errors.sum(axis=0))
        if layer:
            errors = errors @ weights[layer].T
            errors *= 1 - layers[layer] ** 2
    return of_weights[::-1] + of_biases[::-1]


def _activations(
    inputs: Floats, weights: Sequence[Floats], biases: Sequence[Floats], activation: Literal["tanh", "relu"]
) -> list[Floats]:
    """Inputs and outputs (n, width) of every layer; all but the last go through the activation."""
    layers = [inputs]
    for position, (weight, bias) in enumerate(zip(weights, biases, strict=True), start=1):
        out = layers[-1] @ weight
        out += bias
        if position < len(weights):
            if activation == "tanh":
                # Vectorized, also where NumPy's is not.
                shared = torch.from_numpy(out)
                torch.tanh(shared, out=shared)
            else:
                np.maximum(out, 0, out=out)
        layers.append(out)
    return layers


class Support:
    """Where on the map there are items.

    Parameters
    ----------
    coordinates : numpy.ndarray, float64 (n, k)
        Coordinates of the items.

    Attributes
    ----------
    own : numpy.ndarray, float64 (n,)
        Distance of each item to the others, on the scale of `distance`.
    """

    def __init__(self, coordinates: Floats) -> None:
        self._scale = column_scales(coordinates)
        self._count = min(NEIGHBORS, len(coordinates) - 1) or 1
        self._tree = KDTree(coordinates / self._scale)
        # An item is its own nearest neighbor: ask for one more.
        own = self._farthest(coordinates, self._count + 1)
        self._unit = float(np.quantile(own, SCALE_QUANTILE)) or 1.0
        self.own = own / self._unit

    def distance(self, coordinates: Floats) -> Floats:
        """Distance of points (n, k) to the items, scaled so that 95 % of the items are below 1."""
        return self._farthest(coordinates, self._count) / self._unit

    def weight(self, coordinates: Floats) -> Floats:
        """How well points (n, k) are supported: 1 within the data, falling to 0 where support ends."""
        # No items are sought beyond the end of support, with room for rounding; there, the distance is infinite.
        distances = self._farthest(coordinates, self._count, 1.01 * _SUPPORT_LIMIT * self._unit) / self._unit
        return np.clip((_SUPPORT_LIMIT - distances) / (_SUPPORT_LIMIT - 1), 0, 1)

    def _farthest(self, coordinates: Floats, count: int, within: float = math.inf) -> Floats:
        count = min(count, self._tree.n)
        distances, _ = self._tree.query(coordinates / self._scale, k=[count], distance_upper_bound=within)
        return np.asarray(distances, dtype=np.float64)[:, 0]


def surface(
    regressor: Regressor | None,
    support: Support,
    coordinates: Floats,
    shape: tuple[int, int],
    bounds: Bounds | None = None,
    margin: float = 0.08,
) -> Surface:
    """The grid of `shape` (rows, cols) over the first two components, between bounds (x0, x1, y0, y1).

    Without bounds, it covers all items and a margin around them.
    """
    rows, cols = shape
    x0, x1, y0, y1 = _bounds_of(coordinates, margin) if bounds is None else bounds
    x, y = np.linspace(x0, x1, cols), np.linspace(y0, y1, rows)
    points = np.stack([part.ravel() for part in np.meshgrid(x, y)], axis=1)
    values = np.full(len(points), math.nan) if regressor is None else regressor.predict(points)
    weight = support.weight(points)
    return Surface(values.reshape(shape), x, y, (weight > 0).reshape(shape), weight.reshape(shape))


def _bounds_of(coordinates: Floats, margin: float) -> Bounds:
    low, high = coordinates[:, :2].min(axis=0), coordinates[:, :2].max(axis=0)
    border = np.where(high > low, margin * (high - low), 1.0)
    (x0, y0), (x1, y1) = (low - border).tolist(), (high + border).tolist()
    return x0, x1, y0, y1


def check_grid(shape: object, bounds: object) -> Bounds | None:
    """The bounds of a grid, if there are any: x0 < x1 and y0 < y1; a shape must be two sides of 2 or more."""
    if not isinstance(shape, tuple) or len(shape) != 2 or not all(is_whole(side) and side > 1 for side in shape):
        raise ValueError(f"shape must be two whole numbers of at least 2, got {brief(shape)}")
    if bounds is None:
        return None
    ends = [number for end in listed(bounds) or () if (number := finite_number(end)) is not None]
    if len(ends) != 4 or len(listed(bounds) or ()) != 4:
        raise TypeError(f"bounds must be four finite numbers (x0, x1, y0, y1), got {brief(bounds)}")
    x0, x1, y0, y1 = ends
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"bounds (x0, x1, y0, y1) must satisfy x0 < x1 and y0 < y1, got {brief(bounds)}")
    return x0, x1, y0, y1
