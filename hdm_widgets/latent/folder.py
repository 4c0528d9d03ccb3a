"""A latent space as a folder: arrays and JSON, nothing pickled."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets import _storage
from hdm_widgets._bitmasks import PackedMasks
from hdm_widgets._picture import Display
from hdm_widgets.latent.activations import Layer
from hdm_widgets.latent.clusters import Clustering
from hdm_widgets.latent.collection import BEFORE_CONFIDENCES, Collection
from hdm_widgets.latent.datasets import Fields
from hdm_widgets.latent.ordered import OrderedColumn
from hdm_widgets.latent.projection import Projection
from hdm_widgets.latent.surface import Regressor
from hdm_widgets.latent.thumbnails import ThumbnailMaker

__all__ = ["Stored", "read", "write"]

_KIND = "hdm-widgets latent space 1"
_SPACE = "space.npz"
# Large arrays are files of their own, mapped into memory.
_LARGE = ("features", "thumbnails", "truths", "predictions")
_IGNORED, _MAPS = "ignored", "probability_maps"
_NETWORK = ("low", "high", "score", "trained_on", "converged", "activation")


@dataclass(frozen=True, eq=False)
class Stored:
    """What the folder of a space holds.

    Attributes
    ----------
    settings : dict
        Arguments of `LatentSpace`.
    collection : Collection
    projection : Projection
    regressor : Regressor or None
    clustering : Clustering or None
    """

    settings: dict[str, Any]
    collection: Collection
    projection: Projection
    regressor: Regressor | None
    clustering: Clustering | None


def write(path: str | os.PathLike[str], stored: Stored) -> None:
    """Write everything to the folder `path`, which is made if it is not there."""
    collection, projection, regressor, clustering = (
        stored.collection,
        stored.projection,
        stored.regressor,
        stored.clustering,
    )
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{os.fspath(path)!r} is a file; a space is saved as a folder, which needs another name")
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {
        "items": collection.items,
        # The file keeps the names that its format began with.
        "hits": collection.tp,
        "misses": collection.fn,
        "false_alarms": collection.fp,
        "mean": projection.mean,
        "components": projection.components,
        "explained_variance": projection.explained_variance,
        "explained_variance_ratio": projection.explained_variance_ratio,
        **{f"column_{position}": values for position, values in enumerate(collection.columns.values())},
        **{f"confidence_{name}": values for name, values in collection.confidences.items()},
    }
    if collection.label_quality is not None:
        arrays["label_quality"] = collection.label_quality
    network: dict[str, Any] | None = None
    if regressor is not None:
        network = {name: getattr(regressor, name) for name in _NETWORK} | {"layers": len(regressor.weights)}
        arrays |= {"mlp_center": regressor.center, "mlp_scale": regressor.scale}
        arrays |= {f"mlp_weight_{i}": weight for i, weight in enumerate(regressor.weights)}
        arrays |= {f"mlp_bias_{i}": bias for i, bias in enumerate(regressor.biases)}
    if clustering is not None:
        arrays["labels"] = clustering.labels
    about = {
        "format": _KIND,
        "settings": stored.settings,
        "layer": dataclasses.asdict(collection.layer),
        "picture_shape": collection.image_shape,
        "columns": list(collection.columns),
        "orders": {
            name: column.categories for name, column in collection.columns.items() if isinstance(column, OrderedColumn)
        },
        "confidences": list(collection.confidences),
        "no_confidences": collection.no_confidences,
        "values": collection.values,
        "skipped": {str(index): message for index, message in collection.skipped.items()},
        "ignored": collection.ignored is not None,
        "probability_maps": collection.probability_maps is not None,
        "ignore_value": collection.ignore_value,
        "fields": collection.fields.described(),
        "thumbnails": None if collection.thumbnail_maker is None else dataclasses.asdict(collection.thumbnail_maker),
        "exact": projection.exact,
        "network": network,
        "clustering": None if clustering is None else clustering.row(),
    }
    large: dict[str, NDArray[Any]] = {
        "features": collection.features,
        "thumbnails": collection.thumbnails,
        "truths": collection.truths.packed,
        "predictions": collection.predictions.packed,
    }
    if collection.ignored is not None:
        large[_IGNORED] = collection.ignored.packed
    if collection.probability_maps is not None:
        large[_MAPS] = collection.probability_maps
    for name in large:
        target = folder / f"{name}.npy"
        # Another file first: the space may have been read from this very folder.
        written = folder / f"{name}.new.npy"
        np.save(written, large[name], allow_pickle=False)
        written.replace(target)
    _storage.write(folder / _SPACE, about, arrays)


def read(path: str | os.PathLike[str]) -> Stored:
    """Read what `write` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it is no latent space, or a file of it is missing or broken.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {os.fspath(path)!r}")
    if not (folder / _SPACE).exists():
        raise ValueError(f"the folder {os.fspath(path)!r} holds no latent space: it has no {_SPACE}")
    about, arrays = _storage.read(folder / _SPACE, _KIND)
    try:
        return _restored(folder, about, arrays)
    except KeyError as error:
        raise ValueError(f"{_SPACE} of the latent space lacks {error}") from error


def _restored(folder: Path, about: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Stored:
    large = {name: _mapped(folder / f"{name}.npy", len(arrays["items"])) for name in _LARGE}
    _, height, width = about["picture_shape"]
    # The file of an older format has no such entry.
    ignored = _mapped(folder / f"{_IGNORED}.npy", len(arrays["items"])) if about.get("ignored") else None
    maps = _mapped(folder / f"{_MAPS}.npy", len(arrays["items"])) if about.get("probability_maps") else None
    if large["features"].shape[1:] != arrays["mean"].shape:
        raise ValueError(
            f"features.npy of the latent space has shape {large['features'].shape}, "
            f"expected {len(arrays['mean'])} features"
        )
    collection = Collection(
        layer=Layer.from_fields(about["layer"]),
        features=large["features"],
        items=arrays["items"],
        truths=PackedMasks(large["truths"], height, width),
        predictions=PackedMasks(large["predictions"], height, width),
        tp=arrays["hits"],
        fn=arrays["misses"],
        fp=arrays["false_alarms"],
        thumbnails=large["thumbnails"],
        columns={
            name: _ordered(arrays[f"column_{position}"], about.get("orders", {}).get(name))
            for position, name in enumerate(about["columns"])
        },
        image_shape=tuple(about["picture_shape"]),
        skipped={int(index): message for index, message in about["skipped"].items()},
        ignored=None if ignored is None else PackedMasks(ignored, height, width),
        # Older folders have none of these.
        fields=Fields.from_description(about.get("fields", {})),
        ignore_value=about.get("ignore_value"),
        thumbnail_maker=_thumbnails(about.get("thumbnails")),
        confidences={name: arrays[f"confidence_{name}"] for name in about.get("confidences", [])},
        no_confidences=about.get("no_confidences", BEFORE_CONFIDENCES),
        label_quality=arrays.get("label_quality"),
        probability_maps=maps,
        values=about.get("values", ""),
    )
    projection = Projection(
        mean=arrays["mean"],
        components=arrays["components"],
        explained_variance=arrays["explained_variance"],
        explained_variance_ratio=arrays["explained_variance_ratio"],
        exact=about["exact"],
    )
    regressor = None
    if (network := about["network"]) is not None:
        layers = range(network.pop("layers"))
        network.setdefault("activation", "relu")  # the file of an older format has no such entry
        regressor = Regressor(
            center=arrays["mlp_center"],
            scale=arrays["mlp_scale"],
            weights=tuple(arrays[f"mlp_weight_{i}"] for i in layers),
            biases=tuple(arrays[f"mlp_bias_{i}"] for i in layers),
            **network,
        )
    clustering = None
    if about["clustering"] is not None and "labels" in arrays:
        clustering = Clustering(labels=arrays["labels"], **about["clustering"])
    return Stored(about["settings"], collection, projection, regressor, clustering)


def _thumbnails(about: dict[str, Any] | None) -> ThumbnailMaker | None:
    return None if about is None else ThumbnailMaker(about["block"], Display(**about["display"]))


def _ordered(column: NDArray[Any], categories: list[Any] | None) -> NDArray[Any]:
    """The column with the order of its values, if it has one."""
    return column if categories is None else OrderedColumn(column, tuple(categories))


def _mapped(path: Path, count: int) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path.name} of the latent space cannot be read: {error}") from error
    if len(array) != count:
        raise ValueError(f"{path.name} of the latent space has {len(array)} entries, expected {count}")
    return array
