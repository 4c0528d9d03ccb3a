"""How a true mask and a model's probabilities differ, in numbers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn import functional as F

from hdm_widgets.latent.neighbors import nearest

__all__ = ["FEATURES", "NeighborsOnMap", "compared_with_neighbors", "disagreements"]

_WINDOWS = (1, 2, 3, 5, 9)  # sides of square windows
_WORST = (5, 10, 40)  # pixels
_TEMPERATURE = 0.1
# Masks are moved by at most this many pixels of a map to either side.
_FARTHEST = 6
_BATCH = 256
_NEIGHBORS = 25
# Of more items than this, neighbors are sought among so many.
_MOST_SOUGHT = 20_000
_QUANTILE = 0.9
_TINY = 1e-6

FEATURES = (
    *(f"{side}_{window}" for side in ("missing", "extra") for window in (*_WINDOWS, "all")),
    *(f"worst_{count}" for count in _WORST),
    "quality_1",
    "quality_2",
    "error",
    "iou",
    "soft_iou",
    "gain",
    "gain_area",
    "shift",
    "found",
    "found_shifted",
    "explained",
    "area",
    "predicted_area",
)


def disagreements(
    log_odds: NDArray[np.float32], predicted: NDArray[np.bool_], truths: NDArray[np.bool_], items: NDArray[np.int64]
) -> NDArray[np.float32]:
    """How true masks differ from a model's output.

    Parameters
    ----------
    log_odds : numpy.ndarray, float32 (n, h, w)
        Of every item's probabilities.
    predicted : numpy.ndarray, bool (n, h, w)
        Every item's prediction.
    truths : numpy.ndarray, bool (m, h, w)
        Masks to compare.
    items : numpy.ndarray, int64 (m,)
        The item that each of them belongs to.

    Returns
    -------
    numpy.ndarray, float32 (m, k)
        One column for each of `FEATURES`.
    """
    parts = [slice(start, start + _BATCH) for start in range(0, len(truths), _BATCH)]
    return np.concatenate(
        [
            _features(*(torch.from_numpy(array) for array in (log_odds[at], predicted[at], truths[part])))
            for part in parts
            for at in (items[part],)
        ]
    )


def _features(odds: Tensor, predicted: Tensor, truth: Tensor) -> NDArray[np.float32]:
    p, mask = torch.sigmoid(odds), truth.float()
    error = (p - mask).abs()
    # Positive where the model contradicts the truth.
    against = torch.where(truth, -odds, odds)
    columns: list[Tensor] = []
    for where in (~truth, truth):
        contradiction = torch.where(where, against, -odds.abs())
        columns.extend(_largest_mean(contradiction, window) for window in _WINDOWS)
        columns.append(torch.log1p(_means(contradiction, 2).clamp_min(0).flatten(1).sum(1)))
    pixels = against.flatten(1)
    columns.extend(pixels.topk(min(count, pixels.shape[1]), 1).values.mean(1) for count in _WORST)
    columns.extend(_soft_maximum(_means(error, window)) for window in (1, 2))
    area, area_predicted, area_soft = (values.flatten(1).sum(1) for values in (mask, predicted.float(), p))
    union = (predicted | truth).flatten(1).sum(1)
    iou = (predicted & truth).flatten(1).sum(1) / union.clamp_min(1)
    overlaps, steps = _overlaps(p, mask)
    overlap, best = overlaps[:, overlaps.shape[1] // 2], overlaps.max(1)
    columns += [
        error.flatten(1).mean(1),
        torch.where(union > 0, iou, 1.0),
        torch.where(union > 0, overlap / (area_soft + area - overlap).clamp_min(_TINY), 1.0),
        (best.values - overlap) / area.clamp_min(1),
        best.values - overlap,
        steps[best.indices],
        overlap / area.clamp_min(1),
        best.values / area.clamp_min(1),
        overlap / area_soft.clamp_min(_TINY),
        torch.log1p(area),
        torch.log1p(area_predicted),
    ]
    return torch.stack([column.float() for column in columns], 1).numpy()


def _means(values: Tensor, window: int) -> Tensor:
    """Means over all square windows, or over the whole of what is smaller."""
    sides = [min(window, side) for side in values.shape[1:]]
    return F.avg_pool2d(values[:, None], sides, 1)[:, 0]


def _largest_mean(values: Tensor, window: int) -> Tensor:
    return _means(values, window).flatten(1).amax(1)


def _soft_maximum(error: Tensor) -> Tensor:
    """One minus the soft minimum of `label_quality`."""
    pixels = error.flatten(1)
    return (pixels * torch.softmax(pixels / _TEMPERATURE, 1)).sum(1)


def _overlaps(p: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Overlap of the probabilities with the mask at every shift (m, s), and the length of each shift (s,)."""
    size = [2 * side for side in mask.shape[1:]]
    limits = [min(_FARTHEST, side - 1) for side in mask.shape[1:]]
    spectrum = torch.fft.rfft2(p, s=size) * torch.fft.rfft2(mask, s=size).conj()
    rolled = torch.roll(torch.fft.irfft2(spectrum, s=size), limits, (1, 2))
    near = rolled[:, : 2 * limits[0] + 1, : 2 * limits[1] + 1].flatten(1)
    rows, cols = (torch.arange(-far, far + 1) for far in limits)
    return near, torch.hypot(rows[:, None].float(), cols[None].float()).flatten()


def compared_with_neighbors(
    features: NDArray[np.float32],
    given: NDArray[np.float32],
    neighbors: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Features (m, k), and how far they are from what is usual and from what is high among neighbors (m, 3 k).

    `given` (n, k) has the features of the true masks as they are given, and `neighbors` (m, j) the items next to each.
    """
    compared = np.empty((len(features), 3 * features.shape[1]), np.float32)
    for start in range(0, len(features), _BATCH):
        part = slice(start, start + _BATCH)
        usual, high = np.quantile(given[neighbors[part]], [0.5, _QUANTILE], axis=1)
        own = features[part]
        compared[part] = np.hstack([own, own - usual, own - high])
    return compared


class NeighborsOnMap:
    """Finds the nearest items of every item, at most 25, without itself.

    Of more than 20,000 items, they are sought among a random 20,000.

    Parameters
    ----------
    coordinates : numpy.ndarray, float64 (n, k)
    random_state : int
    """

    def __init__(self, coordinates: NDArray[np.float64], random_state: int) -> None:
        self._coordinates = coordinates
        self._among: NDArray[np.int64] | None = None
        if len(coordinates) > _MOST_SOUGHT:
            rng = np.random.default_rng(random_state)
            self._among = np.sort(rng.choice(len(coordinates), _MOST_SOUGHT, replace=False))
            self._tree = KDTree(coordinates[self._among])

    def __call__(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions (m, at most 25) of those of some items (m,)."""
        wanted = self._coordinates[rows]
        if self._among is None:
            found, _ = nearest(self._coordinates, wanted, min(_NEIGHBORS + 1, len(self._coordinates)))
        else:
            found = self._among[self._tree.query(wanted, _NEIGHBORS + 1)[1]]
        # Of several copies of an item, any may come first.
        others = np.argsort(found == rows[:, None], axis=1, kind="stable")[:, :-1]
        return np.take_along_axis(found, others, axis=1)
