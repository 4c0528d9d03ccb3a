"""A latent space as a folder: arrays and JSON, nothing pickled."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets import _storage
from hdm_widgets._bitmasks import PackedMasks
from hdm_widgets.latent.batches import row_batches
from hdm_widgets.latent.clusters import Clustering
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.map_arrays import (
    DESCRIBED,
    collection_description,
    collection_fields,
    map_arrays,
    map_description,
    read_clustering,
    read_map,
)
from hdm_widgets.latent.ordered import OrderedColumn
from hdm_widgets.latent.projection import Projection
from hdm_widgets.latent.surface import Regressor

__all__ = ["MANIFEST", "SPACE", "Stored", "read", "write"]

_KIND = "hdm-widgets latent space 1"
SPACE = "space.npz"
# The file that says what the store of a fit is of, written first.
MANIFEST = "manifest.json"
# Large arrays are files of their own, mapped into memory.
_LARGE = ("features", "thumbnails", "truths", "predictions")
_IGNORED, _MAPS = "ignored", "probability_maps"


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
    coordinates : numpy.ndarray, float64 (n, k), or None
        Of the items; None if they are to be computed.
    model : dict of str to str, or None
        The fingerprint of the model that ran on the items; None if it is not known.
    read_clustering : callable or None
        In place of `clustering`: what reads it when it is first asked for.
    """

    settings: dict[str, Any]
    collection: Collection
    projection: Projection
    regressor: Regressor | None
    clustering: Clustering | None
    coordinates: NDArray[np.float64] | None = None
    model: dict[str, str] | None = None
    read_clustering: Callable[[], Clustering] | None = None


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
        **map_arrays(projection, regressor),
        **{f"column_{position}": values for position, values in enumerate(collection.columns.values())},
        **{f"confidence_{name}": values for name, values in collection.confidences.items()},
    }
    if collection.label_quality is not None:
        arrays["label_quality"] = collection.label_quality
    if clustering is not None:
        arrays["labels"] = clustering.labels
    about = {
        "format": _KIND,
        "settings": stored.settings,
        "columns": list(collection.columns),
        "orders": {
            name: column.categories for name, column in collection.columns.items() if isinstance(column, OrderedColumn)
        },
        "confidences": list(collection.confidences),
        "ignored": collection.ignored is not None,
        "probability_maps": collection.probability_maps is not None,
        **collection_description(**{name: getattr(collection, name) for name in DESCRIBED}),
        **map_description(projection, regressor, clustering),
        "model": stored.model,
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
        _save(written, large[name])
        written.replace(target)
    _storage.write(folder / SPACE, about, arrays)


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
    if not (folder / SPACE).exists():
        if (folder / MANIFEST).exists():
            raise ValueError(
                f"{os.fspath(path)!r} is the store of a fit: LatentSpace.open({os.fspath(path)!r}) opens it"
            )
        raise ValueError(f"the folder {os.fspath(path)!r} holds no latent space: it has no {SPACE}")
    about, arrays = _storage.read(folder / SPACE, _KIND)
    try:
        return _restored(folder, about, arrays)
    except KeyError as error:
        raise ValueError(f"{SPACE} of the latent space lacks {error}") from error


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
        ignored=None if ignored is None else PackedMasks(ignored, height, width),
        # Older folders have none of these.
        confidences={name: arrays[f"confidence_{name}"] for name in about.get("confidences", [])},
        label_quality=arrays.get("label_quality"),
        probability_maps=maps,
        **collection_fields(about),
    )
    return Stored(
        about["settings"],
        collection,
        *read_map(about, arrays),
        read_clustering(about, arrays),
        model=about.get("model"),
    )


def _ordered(column: NDArray[Any], categories: list[Any] | None) -> NDArray[Any]:
    """The column with the order of its values, if it has one."""
    return column if categories is None else OrderedColumn(column, tuple(categories))


def _save(path: Path, rows: NDArray[Any]) -> None:
    """Write an array to a file; one of a store is read in batches."""
    if isinstance(rows, np.ndarray):
        np.save(path, rows, allow_pickle=False)
        return
    file = np.lib.format.open_memmap(path, mode="w+", dtype=rows.dtype, shape=rows.shape)
    for part in row_batches(len(rows), math.prod(rows.shape[1:])):
        file[part] = rows[part]
    file.flush()


def _mapped(path: Path, count: int) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path.name} of the latent space cannot be read: {error}") from error
    if len(array) != count:
        raise ValueError(f"{path.name} of the latent space has {len(array)} entries, expected {count}")
    return array
