"""A fitted latent space of very many items without a data set, for benchmarks of the map.

A file of its own because it is also run in a notebook, by `benchmarks/map.py --browser` and by a browser test.
"""

from __future__ import annotations

import numpy as np

from hdm_widgets import LatentSpace
from hdm_widgets._bitmasks import PackedMasks
from hdm_widgets.latent import Clustering
from hdm_widgets.latent.activations import Layer
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.fitted import FittedMap, FittedState
from hdm_widgets.latent.projection import Projection
from hdm_widgets.latent.surface import Regressor

__all__ = ["clustered", "many_items"]

_SIDE = 8  # px of thumbnails and masks
_LEARNED_FROM = 500


def many_items(count: int) -> LatentSpace:
    """A space of five clouds of items, whose IoU falls along the first component.

    Masks and thumbnails are those of one item, so that a pass over images, at 0.35 ms each, is not needed.
    """
    rng = np.random.default_rng(0)
    clouds = rng.integers(0, 5, (count, 1))
    where = rng.normal(size=(count, 2)) * [1, 0.5] + clouds * [1.6, 0.9]
    tp = np.clip(40 - 4 * where[:, 0] + 4 * rng.normal(size=count), 0, 64).astype(np.int64)
    mask = np.broadcast_to(PackedMasks.pack(np.ones((1, _SIDE, _SIDE), bool)), (count, _SIDE))
    thumbnail = np.indices((_SIDE, _SIDE)).sum(0, dtype=np.uint8)[..., None] * np.uint8([15, 12, 9])
    collection = Collection(
        layer=Layer("features", (2,), given=True),
        features=where.astype(np.float32),
        items=np.arange(count),
        truths=PackedMasks(mask, _SIDE, _SIDE),
        predictions=PackedMasks(mask, _SIDE, _SIDE),
        tp=tp,
        fn=64 - tp,
        fp=np.zeros(count, np.int64),
        thumbnails=np.broadcast_to(thumbnail, (count, _SIDE, _SIDE, 3)),
        columns={"cloud": clouds[:, 0]},
        image_shape=(3, _SIDE, _SIDE),
        no_confidences="these items are made for a benchmark",
    )
    some = rng.choice(count, min(count, _LEARNED_FROM), replace=False)
    projection = Projection.fit(where[some], 2)
    space = LatentSpace(None)
    space._fitted = FittedState(
        FittedMap(
            collection,
            projection,
            0.0,
            Regressor.fit(where[some], tp[some] / 64),
            None,
            where,
            n_components=2,
            n_cluster_components=2,
            random_state=0,
        )
    )
    return space


def clustered(space: LatentSpace) -> None:
    """Make the clouds the clusters, in place of a search for them."""
    clouds = np.asarray(space.columns_["cloud"])
    found = Clustering("kmeans", 5, None, None, 0.0, 0.5, True, clouds)
    space._fitted = FittedState(space._state("clusters_").map, found)
