"""What a store is of: the model, the layer, the data set, and every setting that its arrays depend on."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from typing import Any

from hdm_widgets import __version__
from hdm_widgets._datasets import Fields
from hdm_widgets._masks import Ignore
from hdm_widgets.latent.activations import Layer, Pool, network_of
from hdm_widgets.latent.thumbnails import ThumbnailMaker
from hdm_widgets.models.description import describe_ignored, describe_model, describe_segmenter, plain
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["KIND", "describe", "versions"]

KIND = "hdm-widgets store 1"
_RELEASES = ("torch", "numpy", "zarr")


def describe(
    segmenter: Segmenter,
    layer: Layer,
    pool: Pool,
    grid: int,
    image_shape: tuple[int, ...],
    thumbnails: ThumbnailMaker,
    fields: Fields,
    ignore: Ignore | None,
) -> dict[str, Any]:
    """Everything that the arrays of a store depend on but for the items themselves, as JSON can hold it.

    Parameters
    ----------
    segmenter : Segmenter
    layer : Layer
    pool : str
    grid : int
    image_shape : tuple of int
        (C, H, W).
    thumbnails : ThumbnailMaker
    fields : Fields
    ignore : number or array of bool, optional

    Returns
    -------
    dict of str to object
        By a name that a message can give.
    """
    where = fields.described()
    return {
        **describe_model(network_of(segmenter)),
        "layer": layer.name,
        "shape of the layer's output": list(layer.shape),
        "layout of the layer's output": layer.layout,
        "pool": pool,
        "grid": grid if pool == "grid" else None,
        **describe_segmenter(segmenter),
        "size of the images": list(image_shape),
        "image": where["image"],
        "mask": where["mask"],
        "ignore": describe_ignored(ignore),
        "thumbnail's block of pixels": thumbnails.block,
        "display": plain(dataclasses.asdict(thumbnails.display)),
    }


def versions() -> dict[str, str]:
    """Releases that a store is written with."""
    return {"hdm-widgets": __version__, "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in _RELEASES
    }
