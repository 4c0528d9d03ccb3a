"""Hausdorff Distance Masks: why does a segmentation model draw the mask it draws?

>>> from hdm_widgets import hdm
>>> explainer = hdm.HausdorffDistanceMasks(240, 240)
>>> explainer.generate_masks(circle_size=25, offset=5)
>>> explainer.grid.shape
(48, 48)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdm_widgets._lazy import lazy_names

if TYPE_CHECKING:
    from hdm_widgets._cluster import ClusterError
    from hdm_widgets._store_files import StoreError
    from hdm_widgets.hdm.aligned_map import AlignedMap
    from hdm_widgets.hdm.approximation import Approximation
    from hdm_widgets.hdm.chance import RankCorrelation
    from hdm_widgets.hdm.circle_map import BETTER_ONLY, RAW, WORSE_ONLY, ResultType
    from hdm_widgets.hdm.collection import HDMCollection
    from hdm_widgets.hdm.disc_drawn import DiscDrawn
    from hdm_widgets.hdm.explainer import HausdorffDistanceMasks
    from hdm_widgets.hdm.fill_comparison import FillComparison
    from hdm_widgets.hdm.fill_scans import compare_fills
    from hdm_widgets.hdm.grid import Grid
    from hdm_widgets.hdm.image_scans import ImageUpdate, explain_many
    from hdm_widgets.hdm.model_comparison import ModelComparison, compare_models
    from hdm_widgets.hdm.named_measures import MeasureName
    from hdm_widgets.hdm.noise import Noise
    from hdm_widgets.hdm.object_influence import ObjectInfluence, Objects
    from hdm_widgets.hdm.options import ScanKeywords, ScanOptions, ScanSettings
    from hdm_widgets.hdm.plan import Plan
    from hdm_widgets.hdm.result import HDMResult
    from hdm_widgets.hdm.update import ScanUpdate
    from hdm_widgets.models.segmenter import ModelError, ModelOutputError

__all__ = [
    "BETTER_ONLY",
    "RAW",
    "WORSE_ONLY",
    "AlignedMap",
    "Approximation",
    "ClusterError",
    "DiscDrawn",
    "FillComparison",
    "Grid",
    "HDMCollection",
    "HDMResult",
    "HausdorffDistanceMasks",
    "ImageUpdate",
    "MeasureName",
    "ModelComparison",
    "ModelError",
    "ModelOutputError",
    "Noise",
    "ObjectInfluence",
    "Objects",
    "Plan",
    "RankCorrelation",
    "ResultType",
    "ScanKeywords",
    "ScanOptions",
    "ScanSettings",
    "ScanUpdate",
    "StoreError",
    "compare_fills",
    "compare_models",
    "explain_many",
]

# Where each public name lives. Loaded when first asked for: a worker of a cluster needs few of them.
_HOMES = {
    "BETTER_ONLY": "hdm_widgets.hdm.circle_map",
    "RAW": "hdm_widgets.hdm.circle_map",
    "WORSE_ONLY": "hdm_widgets.hdm.circle_map",
    "AlignedMap": "hdm_widgets.hdm.aligned_map",
    "Approximation": "hdm_widgets.hdm.approximation",
    "ClusterError": "hdm_widgets._cluster",
    "DiscDrawn": "hdm_widgets.hdm.disc_drawn",
    "FillComparison": "hdm_widgets.hdm.fill_comparison",
    "Grid": "hdm_widgets.hdm.grid",
    "HDMCollection": "hdm_widgets.hdm.collection",
    "HDMResult": "hdm_widgets.hdm.result",
    "HausdorffDistanceMasks": "hdm_widgets.hdm.explainer",
    "ImageUpdate": "hdm_widgets.hdm.image_scans",
    "MeasureName": "hdm_widgets.hdm.named_measures",
    "ModelComparison": "hdm_widgets.hdm.model_comparison",
    "ModelError": "hdm_widgets.models.segmenter",
    "ModelOutputError": "hdm_widgets.models.segmenter",
    "Noise": "hdm_widgets.hdm.noise",
    "ObjectInfluence": "hdm_widgets.hdm.object_influence",
    "Objects": "hdm_widgets.hdm.object_influence",
    "Plan": "hdm_widgets.hdm.plan",
    "RankCorrelation": "hdm_widgets.hdm.chance",
    "ResultType": "hdm_widgets.hdm.circle_map",
    "ScanKeywords": "hdm_widgets.hdm.options",
    "ScanOptions": "hdm_widgets.hdm.options",
    "ScanSettings": "hdm_widgets.hdm.options",
    "ScanUpdate": "hdm_widgets.hdm.update",
    "StoreError": "hdm_widgets._store_files",
    "compare_fills": "hdm_widgets.hdm.fill_scans",
    "compare_models": "hdm_widgets.hdm.model_comparison",
    "explain_many": "hdm_widgets.hdm.image_scans",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
