"""How a scan was made."""

from __future__ import annotations

from dataclasses import dataclass

from hdm_widgets.hdm.occlusion import Fill
from hdm_widgets.metrics.distance import EmptyPolicy

__all__ = ["ScanSettings"]


@dataclass(frozen=True)
class ScanSettings:
    """How a scan was made; as the keywords of `HausdorffDistanceMasks.explain`.

    Attributes
    ----------
    channel : int
    normalize : bool
    fill : {"minimum", "mean", "blur"} or float
    distance : {"hausdorff", "rows", "custom"}
        "custom": a subclass with its own `calculate_distance`.
    empty : {"diagonal", "inf", "nan", "raise"}
    own_mask : bool
        A subclass with its own `apply_mask`.
    tolerance : float or None
        Of an approximate scan.
    """

    channel: int = -1
    normalize: bool = False
    fill: Fill = "minimum"
    distance: str = "hausdorff"
    empty: EmptyPolicy = "diagonal"
    own_mask: bool = False
    tolerance: float | None = None

    @property
    def label(self) -> str:
        """The distance with its unit, for an axis."""
        return {"hausdorff": "Hausdorff distance (px)", "rows": "row distance"}.get(self.distance, "distance")
