"""How far the masks of a random model are apart, for one and the same image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hdm_widgets.hdm.measure import Measure

__all__ = ["Noise", "measure_noise"]

# Runs of a model that turns out to be random; every one more costs as much as a disc.
_RUNS = 8
# Two runs that differ by at most this fraction of the largest value are equal: a GPU may add in another order.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Noise:
    """What a random model changes by itself, without any disc: a distance that differs by less says nothing.

    Attributes
    ----------
    distance : float
        Largest less smallest distance of its masks for the image without a disc, as the scan measures it.
    pixels : int
        Pixels of the mask that differ between two of the runs, at most.
    runs : int
        Times that the image was run.
    """

    distance: float
    pixels: int
    runs: int


def measure_noise(raw: Tensor, run: Callable[[], Tensor], measure: Callable[[Tensor], Measure]) -> Noise | None:
    """Run the same image again, and more often if that differs.

    Parameters
    ----------
    raw : torch.Tensor (1, classes, H, W)
        Of the first run.
    run : callable
        Runs the image once more.
    measure : callable
        Measures a raw output.

    Returns
    -------
    Noise or None
        None if the first two runs are equal.
    """
    again = run()
    if torch.equal(raw, again) or float((raw - again).abs().max()) <= _ROUNDING * max(1.0, float(raw.abs().max())):
        return None
    measured = [measure(each) for each in (raw, again, *(run() for _ in range(_RUNS - 2)))]
    distances = np.array([each.distance for each in measured])
    masks = np.stack([each.mask for each in measured])
    pixels = max(int(np.count_nonzero(mask != other)) for at, mask in enumerate(masks) for other in masks[:at])
    finite = distances[np.isfinite(distances)]
    spread = float(np.ptp(finite)) if len(finite) else 0.0
    return Noise(spread if len(finite) == len(distances) or not len(finite) else float("inf"), pixels, _RUNS)
