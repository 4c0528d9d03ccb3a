"""The map of a latent space as plain arrays and a description of them, for files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from hdm_widgets._datasets import Fields
from hdm_widgets._picture import Display
from hdm_widgets.latent.activations import Layer
from hdm_widgets.latent.clusters import Clustering
from hdm_widgets.latent.collection import BEFORE_CONFIDENCES
from hdm_widgets.latent.projection import Projection
from hdm_widgets.latent.surface import Regressor
from hdm_widgets.latent.thumbnails import ThumbnailMaker

__all__ = [
    "DESCRIBED", "collection_description", "collection_fields", "map_arrays", "map_description", "read_clustering",
    "read_map",
]  # fmt: skip

# Arguments of `collection_description`.
DESCRIBED = (
    "layer", "image_shape", "skipped", "fields", "ignore_value", "thumbnail_maker", "no_confidences", "values",
)  # fmt: skip

_NETWORK = ("low", "high", "score", "trained_on", "converged", "activation")


def map_arrays(projection: Projection, regressor: Regressor | None) -> dict[str, NDArray[Any]]:
    """The arrays of a map, without those that have an entry per item."""
    arrays: dict[str, NDArray[Any]] = {
        "mean": projection.mean,
        "components": projection.components,
        "explained_variance": projection.explained_variance,
        "explained_variance_ratio": projection.explained_variance_ratio,
    }
    if regressor is not None:
        arrays |= {"mlp_center": regressor.center, "mlp_scale": regressor.scale}
        arrays |= {f"mlp_weight_{i}": weight for i, weight in enumerate(regressor.weights)}
        arrays |= {f"mlp_bias_{i}": bias for i, bias in enumerate(regressor.biases)}
    return arrays


def map_description(
    projection: Projection, regressor: Regressor | None, clustering: Clustering | None
) -> dict[str, Any]:
    """The rest of a map, as JSON can hold it."""
    network: dict[str, Any] | None = None
    if regressor is not None:
        network = {name: getattr(regressor, name) for name in _NETWORK} | {"layers": len(regressor.weights)}
    return {
        "exact": projection.exact,
        "network": network,
        "clustering": None if clustering is None else clustering.row(),
    }


def read_map(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> tuple[Projection, Regressor | None]:
    """What `map_arrays` and `map_description` were made of."""
    projection = Projection(
        mean=arrays["mean"],
        components=arrays["components"],
        explained_variance=arrays["explained_variance"],
        explained_variance_ratio=arrays["explained_variance_ratio"],
        exact=about["exact"],
    )
    regressor = None
    if about["network"] is not None:
        network = {"activation": "relu", **about["network"]}  # the file of an older format has no such entry
        layers = range(network.pop("layers"))
        regressor = Regressor(
            center=arrays["mlp_center"],
            scale=arrays["mlp_scale"],
            weights=tuple(arrays[f"mlp_weight_{i}"] for i in layers),
            biases=tuple(arrays[f"mlp_bias_{i}"] for i in layers),
            **network,
        )
    return projection, regressor


def read_clustering(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Clustering | None:
    """The clusters of a map, if there are any."""
    if about["clustering"] is None or "labels" not in arrays:
        return None
    return Clustering(labels=arrays["labels"], **about["clustering"])


def collection_description(
    *,
    layer: Layer,
    image_shape: tuple[int, ...],
    skipped: Mapping[int, str],
    fields: Fields,
    ignore_value: float | None,
    thumbnail_maker: ThumbnailMaker | None,
    no_confidences: str,
    values: str,
) -> dict[str, Any]:
    """What a `Collection` has beside its arrays, as JSON can hold it."""
    return {
        "layer": dataclasses.asdict(layer),
        "picture_shape": image_shape,
        "no_confidences": no_confidences,
        "values": values,
        "skipped": {str(index): message for index, message in skipped.items()},
        "ignore_value": ignore_value,
        "fields": fields.described(),
        "thumbnails": None if thumbnail_maker is None else dataclasses.asdict(thumbnail_maker),
    }


def collection_fields(about: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `Collection` that `collection_description` has described."""
    thumbnails = about.get("thumbnails")
    return {
        "layer": Layer.from_fields(about["layer"]),
        "image_shape": tuple(about["picture_shape"]),
        "skipped": {int(index): message for index, message in about["skipped"].items()},
        # Files of older formats have none of these.
        "fields": Fields.from_description(about.get("fields", {})),
        "ignore_value": about.get("ignore_value"),
        "thumbnail_maker": None
        if thumbnails is None
        else ThumbnailMaker(thumbnails["block"], Display(**thumbnails["display"])),
        "no_confidences": about.get("no_confidences", BEFORE_CONFIDENCES),
        "values": about.get("values", ""),
    }
