"""The paper's picture of the map: the IoU of the items around each point. What to expect of an image is `estimator`."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
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
from hdm_widgets.latent.batches import Progress, progress_bar, row_batches
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
_PART = 512  # items whose errors are found together
_FEWEST = 10  # items; fewer tell nothing about others
_LARGEST = 2000  # items that the network is trained on; of more, a random choice
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
    def fit(
        cls, coordinates: Floats, values: Floats, *, random_state: int = 0, progress: Progress = False
    ) -> Regressor | None:
        """Train on coordinates (n, k) and their IoU (n,); None where no item has an IoU.

        Items without IoU (NaN) are left out; of more than 2000, a random choice is used. `progress` shows a
        bar if the training takes longer than a second.
        """
        chosen = np.flatnonzero(np.isfinite(values))
        if not len(chosen):
            return None
        if len(chosen) > _LARGEST:
            chosen = np.sort(np.random.default_rng(random_state).choice(chosen, _LARGEST, replace=False))
        inputs, targets = coordinates[chosen], values[chosen]
        splits = []
        if len(chosen) >= _FEWEST and np.ptp(targets) > 0:
            splits = list(KFold(_FOLDS, shuffle=True, random_state=random_state).split(inputs))
        with one_thread(), limited_threads():
            trained = cls._train(
                [*(inputs[train] for train, _ in splits), inputs],
                [*(targets[train] for train, _ in splits), targets],
                random_state,
                progress,
            )
            scores = [
                r2_score(targets[test], fold._outputs(inputs[test]))
                for fold, (_, test) in zip(trained, splits, strict=False)
            ]
        return replace(trained[-1], score=float(np.mean(scores)) if scores else math.nan)

    @classmethod
    def _train(
        cls, inputs: Sequence[Floats], targets: Sequence[Floats], random_state: int, progress: Progress
    ) -> list[Regressor]:
        """One for each set of items, trained together."""
        scalers = [StandardScaler().fit(part) for part in inputs]
        scaled = [scaler.transform(part) for scaler, part in zip(scalers, inputs, strict=True)]
        networks = _trained_networks(scaled, targets, random_state, progress)
        return [
            cls(
                center=np.asarray(scaler.mean_),
                scale=np.asarray(scaler.scale_),
                weights=weights,
                biases=biases,
                low=float(values.min()),
                high=float(values.max()),
                score=math.nan,
                trained_on=len(values),
                converged=converged,
            )
            for scaler, values, (weights, biases, converged) in zip(scalers, targets, networks, strict=True)
        ]

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


_Network: TypeAlias = tuple[tuple[Floats, ...], tuple[Floats, ...], bool]


def _trained_networks(
    inputs: Sequence[Floats], targets: Sequence[Floats], random_state: int, progress: Progress
) -> list[_Network]:
    """For each set of items, weights and biases that fit inputs (n, k) to targets (n,), and whether that converged.

    Adam (Kingma and Ba 2015) on the gradient of all items. All networks begin with the same numbers and make each step
    together: most sets are small, and an operation on all of them takes hardly longer than on one.
    """
    together = _Networks(inputs, targets, random_state)
    parameters = together.parameters
    mean, square = np.zeros_like(parameters), np.zeros_like(parameters)
    with progress_bar(_ITERATIONS, progress, "learning the surface", unit="step", late=True) as bar:
        for iteration in range(1, _ITERATIONS + 1):
            gradient = together.gradient()
            step = _FIRST_STEP * 0.5 * (1 + math.cos(math.pi * (iteration - 1) / _ITERATIONS))
            step *= math.sqrt(1 - _DECAYS[1] ** iteration) / (1 - _DECAYS[0] ** iteration)
            mean += (1 - _DECAYS[0]) * (gradient - mean)
            square += (1 - _DECAYS[1]) * (gradient**2 - square)
            parameters -= step * mean / (np.sqrt(square) + _ADAM_EPSILON)
            bar.update()
    largest = np.abs(together.gradient()).max(axis=1)
    return [(*together.of(number), bool(gradient <= _GRADIENT_TOLERANCE)) for number, gradient in enumerate(largest)]


class _Networks:
    """Networks of one kind, each for items of its own.

    Parameters
    ----------
    inputs : sequence of numpy.ndarray (n, k)
        For each network; their numbers of items may differ.
    targets : sequence of numpy.ndarray (n,)
    random_state : int

    Attributes
    ----------
    parameters : numpy.ndarray, float64 (networks, numbers)
        The weights of all layers, then their biases, to be changed in place.
    """

    def __init__(self, inputs: Sequence[Floats], targets: Sequence[Floats], random_state: int) -> None:
        count, rows = len(inputs), max(map(len, inputs))
        # Sets are filled up with rows that have no weight in the mean of the errors.
        given, aims, shares = np.zeros((count, rows, inputs[0].shape[1])), *np.zeros((2, count, rows, 1))
        for number, (part, values) in enumerate(zip(inputs, targets, strict=True)):
            given[number, : len(part)] = part
            aims[number, : len(part), 0] = values
            shares[number, : len(part)] = 1 / len(part)
        # A part's arrays stay in the caches of a CPU.
        starts = range(0, rows, _PART)
        self._parts = [
            tuple(array[:, start : start + _PART].copy() for array in (given, aims, shares)) for start in starts
        ]
        rng = np.random.RandomState(random_state)
        weights, biases = [], []
        for fan_in, fan_out in itertools.pairwise((given.shape[-1], *_HIDDEN, 1)):
            bound = np.sqrt(6.0 / (fan_in + fan_out))
            weights.append(rng.uniform(-bound, bound, (fan_in, fan_out)))
            biases.append(rng.uniform(-bound, bound, (1, fan_out)))
        self.parameters = np.tile(np.concatenate([part.ravel() for part in (*weights, *biases)]), (count, 1))
        self._gradient = np.empty_like(self.parameters)
        self._penalties = np.zeros_like(self.parameters)
        shapes = [part.shape for part in (*weights, *biases)]
        self._weights, self._biases = _by_layer(self.parameters, shapes)
        self._of_weights, self._of_biases = _by_layer(self._gradient, shapes)
        for penalties in _by_layer(self._penalties, shapes)[0]:
            penalties += np.array([_PENALTY / len(part) for part in inputs])[:, None, None]

    def of(self, number: int) -> tuple[tuple[Floats, ...], tuple[Floats, ...]]:
        """Weights and biases of one network, layer by layer."""
        weights = tuple(part[number].copy() for part in self._weights)
        return weights, tuple(part[number, 0].copy() for part in self._biases)

    def gradient(self) -> Floats:
        """Of half the mean squared errors and the penalties of weights, by all parameters; the next overwrites it."""
        np.multiply(self._penalties, self.parameters, out=self._gradient)
        for given, aims, shares in self._parts:
            layers = _activations(given, self._weights, self._biases, "tanh")
            errors = layers[-1]
            errors -= aims
            errors *= shares
            for layer in reversed(range(len(self._weights))):
                self._of_weights[layer] += layers[layer].transpose(0, 2, 1) @ errors
                self._of_biases[layer] += errors.sum(axis=1, keepdims=True)
                if layer:
                    # Outer products, where there is one output, are faster without BLAS.
                    back = self._weights[layer].transpose(0, 2, 1)
                    errors = errors * back if errors.shape[-1] == 1 else errors @ back
                    slopes = layers[layer]
                    slopes *= slopes
                    np.subtract(1, slopes, out=slopes)
                    errors *= slopes
        return self._gradient


def _by_layer(numbers: Floats, shapes: Sequence[tuple[int, ...]]) -> tuple[list[Floats], list[Floats]]:
    """Views of parameters (networks, numbers): the weights of each layer, and its biases."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = np.split(numbers, ends[:-1], axis=1)
    views = [part.reshape(len(numbers), *shape) for part, shape in zip(parts, shapes, strict=True)]
    return views[: len(views) // 2], views[len(views) // 2 :]


def _activations(
    inputs: Floats, weights: Sequence[Floats], biases: Sequence[Floats], activation: Literal["tanh", "relu"]
) -> list[Floats]:
    """Inputs and outputs (..., n, width) of every layer; all but the last go through the activation."""
    layers = [inputs]
    for position, (weight, bias) in enumerate(zip(weights, biases, strict=True), start=1):
        out = layers[-1] @ weight
        out += bias
        if position < len(weights):
            if activation == "tanh":
                # tanh(x) = 2 s(2x) - 1 of the logistic function s, which PyTorch computes in less than half the time.
                shared = torch.from_numpy(out)
                shared *= 2
                torch.sigmoid(shared, out=shared)
                shared *= 2
                shared -= 1
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
