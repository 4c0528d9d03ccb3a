"""How much the masks of a random model differ for the same image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.hdm.measure import Measure

__all__ = ["Noise", "noise_between", "noise_of", "repeated_runs"]

# Runs of a model that is random. Each costs as much as a disc.
_RUNS = 8
# Two runs that differ by at most this fraction of the largest value count as equal: a GPU may add in another order.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Noise:
    """How much a random model differs by itself, without any disc. Smaller differences in a map say nothing.

    Attributes
    ----------
    distance : float
        Range (largest less smallest) of the distances of its masks for the image without a disc, in the unit of the
        scan.
    pixels : int
        Largest number of pixels that differ between the masks of two runs.
    runs : int
        Number of runs on the image.
    """

    distance: float
    pixels: int
    runs: int


def repeated_runs(raw: Tensor, run: Callable[[], Tensor], measure: Callable[[Tensor], Measure]) -> list[Measure]:
    """Run the same image again; if the output differs, run it several times and measure them all.

    Parameters
    ----------
    raw : torch.Tensor (1, classes, H, W)
        Raw output of the first run.
    run : callable
        Runs the image once more; returns the raw output.
    measure : callable
        Takes a raw output; returns its mask and distance.

    Returns
    -------
    list of Measure
        Of all runs; empty if the first two are equal.
    """
    again = run()
    if torch.equal(raw, again) or float((raw - again).abs().max()) <= _ROUNDING * max(1.0, float(raw.abs().max())):
        return []
    return [measure(each) for each in (raw, again, *(run() for _ in range(_RUNS - 2)))]


def noise_between(distances: Sequence[float], masks: Sequence[NDArray[np.bool_]]) -> Noise:
    """What differs between repeated runs on one image.

    Parameters
    ----------
    distances : sequence of float
    masks : sequence of numpy.ndarray, bool (H, W)
    """
    pixels = max(int(np.count_nonzero(mask != other)) for at, mask in enumerate(masks) for other in masks[:at])
    measured = np.array(distances)
    finite = measured[np.isfinite(measured)]
    value_range = float(np.ptp(finite)) if len(finite) else 0.0
    return Noise(value_range if len(finite) in (0, len(measured)) else float("inf"), pixels, len(masks))


def noise_of(runs: list[Measure]) -> Noise | None:
    """How far repeated runs are apart; None without any."""
    return noise_between([run.distance for run in runs], [run.mask for run in runs]) if runs else None
