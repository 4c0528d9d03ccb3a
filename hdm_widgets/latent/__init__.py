"""The latent space of a segmentation model: what has it learned, and what does it confuse?

>>> import hdm_widgets as hw
>>> model, scenes = hw.demo.aerial(64)
>>> space = hw.LatentSpace(model).fit(scenes, progress=False)
>>> space.neighbors(0, k=3).indices.shape
(3,)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdm_widgets._lazy import lazy_names

if TYPE_CHECKING:
    from hdm_widgets._cluster import ClusterError
    from hdm_widgets._store_files import StoreError
    from hdm_widgets.latent.activations import Layer, LayerError
    from hdm_widgets.latent.clusters import Cluster, Clustering
    from hdm_widgets.latent.collection import Collection, CollectionError, InterruptedCollectionError
    from hdm_widgets.latent.estimates import Estimates
    from hdm_widgets.latent.estimator import Estimator, Score
    from hdm_widgets.latent.failures import Failure, Failures
    from hdm_widgets.latent.footprints import Footprints
    from hdm_widgets.latent.item_set import ItemSet
    from hdm_widgets.latent.layer_table import LayerTable
    from hdm_widgets.latent.neighbors import Neighbors
    from hdm_widgets.latent.new_images import Location
    from hdm_widgets.latent.observations import Observations
    from hdm_widgets.latent.scores import Overlaps
    from hdm_widgets.latent.selection import Selection, Statistics
    from hdm_widgets.latent.shift import Shift
    from hdm_widgets.latent.space import LatentSpace
    from hdm_widgets.latent.space_comparison import SpaceComparison
    from hdm_widgets.latent.surface import Surface

__all__ = [
    "Cluster",
    "ClusterError",
    "Clustering",
    "Collection",
    "CollectionError",
    "Estimates",
    "Estimator",
    "Failure",
    "Failures",
    "Footprints",
    "InterruptedCollectionError",
    "ItemSet",
    "LatentSpace",
    "Layer",
    "LayerError",
    "LayerTable",
    "Location",
    "Neighbors",
    "Observations",
    "Overlaps",
    "Score",
    "Selection",
    "Shift",
    "SpaceComparison",
    "Statistics",
    "StoreError",
    "Surface",
]

# Where each public name lives. Loaded when first asked for: a worker of a cluster needs few of them.
_HOMES = {
    "Cluster": "hdm_widgets.latent.clusters",
    "ClusterError": "hdm_widgets._cluster",
    "Clustering": "hdm_widgets.latent.clusters",
    "Collection": "hdm_widgets.latent.collection",
    "CollectionError": "hdm_widgets.latent.collection",
    "Estimates": "hdm_widgets.latent.estimates",
    "Estimator": "hdm_widgets.latent.estimator",
    "Failure": "hdm_widgets.latent.failures",
    "Failures": "hdm_widgets.latent.failures",
    "Footprints": "hdm_widgets.latent.footprints",
    "InterruptedCollectionError": "hdm_widgets.latent.collection",
    "ItemSet": "hdm_widgets.latent.item_set",
    "LatentSpace": "hdm_widgets.latent.space",
    "Layer": "hdm_widgets.latent.activations",
    "LayerError": "hdm_widgets.latent.activations",
    "LayerTable": "hdm_widgets.latent.layer_table",
    "Location": "hdm_widgets.latent.new_images",
    "Neighbors": "hdm_widgets.latent.neighbors",
    "Observations": "hdm_widgets.latent.observations",
    "Overlaps": "hdm_widgets.latent.scores",
    "Score": "hdm_widgets.latent.estimator",
    "Selection": "hdm_widgets.latent.selection",
    "Shift": "hdm_widgets.latent.shift",
    "SpaceComparison": "hdm_widgets.latent.space_comparison",
    "Statistics": "hdm_widgets.latent.selection",
    "StoreError": "hdm_widgets._store_files",
    "Surface": "hdm_widgets.latent.surface",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
