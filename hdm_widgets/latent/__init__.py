"""The latent space of a segmentation model: what has it learned, and what does it confuse?

>>> import hdm_widgets as hw
>>> model, scenes = hw.demo.aerial(64)
>>> space = hw.LatentSpace(model).fit(scenes, progress=False)
>>> space.neighbors(0, k=3).indices.shape
(3,)
"""

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
