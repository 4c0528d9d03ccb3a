"""How a scan is to be made, as its keywords say."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from hdm_widgets._validation import check_choice
from hdm_widgets.hdm.grid import check_count
from hdm_widgets.hdm.occlusion import Fill, check_fill
from hdm_widgets.metrics.distance import EmptyPolicy

__all__ = ["DEFAULT_TOLERANCE", "Distance", "InferenceMode", "ScanOptions", "ScanSettings"]

Distance = Literal["hausdorff", "rows"]
InferenceMode = Literal["auto", "windowed", "full"]

# Of `exact=False` without a tolerance.
DEFAULT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ScanOptions:
    """The keywords of `HausdorffDistanceMasks.explain`, checked."""

    batch_size: int | None = None
    target: int | None = None
    threshold: float | None = None
    distance: Distance = "hausdorff"
    empty: EmptyPolicy = "diagonal"
    fill: Fill = "minimum"
    region: tuple[int, int, int, int] | None = None
    inference: InferenceMode = "auto"
    exact: bool = True
    tolerance: float | None = None
    keep_outputs: bool = True

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size)
        check_choice("distance", self.distance, Distance, "; for your own, override calculate_distance")
        check_choice("empty", self.empty, EmptyPolicy)
        object.__setattr__(self, "fill", check_fill(self.fill))
        check_choice("inference", self.inference, InferenceMode)
        tolerance = self.tolerance
        if tolerance is None:
            tolerance = None if self.exact else DEFAULT_TOLERANCE
        elif isinstance(tolerance, bool) or not isinstance(tolerance, (int, float, np.number)) or not 0 < tolerance < 1:
            raise ValueError(
                f"tolerance must be a share of the activations' spread, between 0 and 1, got {tolerance!r}"
            )
        if tolerance is not None and self.inference == "full":
            raise ValueError(
                "whole pictures (inference='full') leave nothing to approximate; drop tolerance and exact=False"
            )
        object.__setattr__(self, "tolerance", None if tolerance is None else float(tolerance))

    @classmethod
    def of(cls, keywords: dict[str, Any]) -> ScanOptions:
        """From the keywords of `explain`; `progress` says nothing about the scan itself."""
        known = [field.name for field in fields(cls)]
        for name in keywords.keys() - {"progress", *known}:
            raise TypeError(f"unknown keyword {name!r}; known are {', '.join(known)}")
        return cls(**{name: value for name, value in keywords.items() if name != "progress"})


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
