"""How likely every truth is wrong, as map and gallery show it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas

__all__ = ["SUSPICION", "SUSPICION_ENDS", "Suspicion", "suspicion_text"]

# The column's name, which the data set's columns do not have on screen.
SUSPICION = "suspicion"
# Scores are shown on a logarithmic scale between these: few truths of a good data set reach a hundredth.
SUSPICION_ENDS = (1e-4, 1.0)
_LEAST_SHOWN = 0.001


@dataclass(frozen=True, eq=False)
class Suspicion:
    """What `LatentSpace.suspects` says of all items, by position.

    Attributes
    ----------
    scores : numpy.ndarray, float64 (n,)
    reasons : tuple of str
    """

    scores: NDArray[np.float64]
    reasons: tuple[str, ...] = field(repr=False)

    @classmethod
    def from_suspects(cls, suspects: pandas.DataFrame) -> Suspicion:
        """Of a table of all items."""
        ordered = suspects.sort_index()
        return cls(ordered["score"].to_numpy(np.float64), tuple(ordered["reason"].tolist()))


def suspicion_text(score: float) -> str:
    """A score on screen."""
    if np.isnan(score):
        return "not known"
    return f"{score:.2g}" if score >= _LEAST_SHOWN else f"< {_LEAST_SHOWN:g}"
