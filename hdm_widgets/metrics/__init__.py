"""Distances and overlaps of segmentation masks."""

from hdm_widgets.metrics.distance import (
    EmptyPolicy,
    HausdorffPair,
    ReferenceMask,
    hausdorff_distance,
    hausdorff_pair,
    hausdorff_percentile,
    mean_surface_distance,
    row_distance,
)
from hdm_widgets.metrics.overlap import dice, iou

__all__ = [
    "EmptyPolicy",
    "HausdorffPair",
    "ReferenceMask",
    "dice",
    "hausdorff_distance",
    "hausdorff_pair",
    "hausdorff_percentile",
    "iou",
    "mean_surface_distance",
    "row_distance",
]
