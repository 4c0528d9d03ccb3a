"""A store of random numbers, as if a fit had written it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import hdm_widgets as hw
from hdm_widgets._bitmasks import PackedMasks
from hdm_widgets._datasets import Fields
from hdm_widgets._store_files import StoreFiles
from hdm_widgets.latent.activations import Layer
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.confidences import CONFIDENCES
from hdm_widgets.latent.label_quality import encoded_log_odds
from hdm_widgets.latent.projection import Projection
from hdm_widgets.latent.store.contents import StoredCollection
from hdm_widgets.latent.store.shards import write_shard
from hdm_widgets.latent.store.summary import write_index, write_summary

__all__ = ["synthetic_store"]

SHARD, GROUPS = 1024, 14


def synthetic_store(path: Path, count: int, width: int, side: int = 64, objects: bool = False) -> str:
    """Write a store, and give its address.

    The features are in fourteen groups around random centers, with falling variances. Every item has a quality, which
    its counts of pixels and all of its confidences follow.

    Parameters
    ----------
    path : pathlib.Path
    count : int
        Items.
    width : int
        Features of each.
    side : int
        Of the masks, in pixels, 64 at most with `objects`.
    objects : bool
        Whether truths and predictions are of two squares, in place of nothing and noise, with maps of probabilities.
    """
    files, rng = StoreFiles(path), np.random.default_rng(0)
    layer, records = Layer("values", (width,)), []
    row = PackedMasks.row_bytes(side, side)
    scales = 0.95 ** np.arange(width)
    centers = 3 * scales * rng.standard_normal((GROUPS, width))
    for number, first in enumerate(range(0, count, SHARD)):
        size = min(SHARD, count - first)
        quality = rng.random(size)
        group = rng.integers(0, GROUPS, size)
        hit = np.round(500 * quality).astype(np.int64)
        values = centers[group] + scales * rng.standard_normal((size, width))
        truths, predictions, maps = np.zeros((size, row), np.uint8), rng.integers(0, 255, (size, row), np.uint8), None
        if objects:
            truth, p = _squares(size, side, rng)
            truths, predictions = PackedMasks.pack(truth), PackedMasks.pack(p > 0.5)
            maps = encoded_log_odds(torch.from_numpy(p), 1)
        part = Collection(
            layer=layer,
            features=values.astype(np.float32),
            items=np.arange(first, first + size),
            truths=PackedMasks(truths, side, side),
            predictions=PackedMasks(predictions, side, side),
            tp=hit,
            fn=500 - hit,
            fp=rng.integers(1, 50, size),
            thumbnails=rng.integers(0, 255, (size, 16, 16, 3), np.uint8),
            columns={},
            image_shape=(3, side, side),
            confidences={name: np.clip(quality + rng.normal(0, 0.1, size), 0.01, 1) for name in CONFIDENCES},
            label_quality=rng.random(size),
            probability_maps=maps,
        )
        record = write_shard(
            files,
            "synthetic",
            SHARD,
            number,
            (first, first + size),
            part,
            beside=[{}] * size,
            skipped={},
            values="logits",
            random=False,
            fingerprint=None,
        )
        records.append(record)
    about = {
        "layer": layer, "image_shape": (3, side, side), "skipped": {}, "fields": Fields(), "ignore_value": None,
        "thumbnail_maker": None, "no_confidences": "", "values": "logits",
    }  # fmt: skip
    index = write_summary(files, records, SHARD, about, {"number": np.arange(count)})
    collection = StoredCollection(files, index)
    space = hw.LatentSpace(None)
    fitted = space._mapped(collection, Projection.fit(collection.features, 10), None)
    write_index(files, index, fitted, space._settings())
    return files.address


def _squares(count: int, side: int, rng: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Masks (n, side, side) of two squares, and probabilities of squares that lie a pixel off at most."""
    grid = np.arange(side)
    truths, drawn = np.zeros((2, count, side, side), bool)
    for _ in range(2):
        first = rng.integers(0, side - side // 4, (2, count, 1))
        length = rng.integers(side // 8, side // 4, (1, count, 1))
        for mask, start in ((truths, first), (drawn, first + rng.integers(-1, 2, first.shape))):
            rows, cols = (grid >= start) & (grid < start + length)
            mask |= rows[:, :, None] & cols[:, None, :]
    noise = rng.normal(0, 0.03, drawn.shape)
    return truths, np.clip(np.where(drawn, 0.9, 0.06) + noise, 0.01, 0.99).astype(np.float32)
