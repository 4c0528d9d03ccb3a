"""Opening of a complete store: only its index is read."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._store_files import StoreError, StoreFiles, import_zarr
from hdm_widgets.latent.folder import MANIFEST, SPACE, Stored
from hdm_widgets.latent.map_arrays import read_map
from hdm_widgets.latent.store.arrays import damaged, read_column
from hdm_widgets.latent.store.clusters import stored_clustering
from hdm_widgets.latent.store.contents import COORDINATES, INDEX, MAP, StoredCollection, column_folder
from hdm_widgets.latent.store.manifest import KIND

__all__ = ["open_store"]


def _map_arrays(files: StoreFiles, index: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays of the map that have no entry per item."""
    name = column_folder(index, MAP)
    data = files.read(name)
    try:
        with np.load(io.BytesIO(data or b""), allow_pickle=False) as stored:
            return dict(stored)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(files, name, error) from error


class StoredCoordinates:
    """The principal components of all items, read when an array is made of it."""

    def __init__(self, files: StoreFiles, index: Mapping[str, Any]) -> None:
        self._files, self._name = files, column_folder(index, COORDINATES)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float64]:
        return read_column(self._files, self._name).astype(dtype or np.float64, copy=bool(copy))


def open_store(address: str | os.PathLike[str]) -> Stored:
    """What a complete store holds.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    StoreError
        If it is not complete, or of another kind.
    """
    import_zarr()
    files = StoreFiles(address)
    index = _index(files)
    coordinates = cast("NDArray[np.float64]", StoredCoordinates(files, index))
    found = read_map(index, _map_arrays(files, index))
    return Stored(
        index["settings"],
        StoredCollection(files, index),
        *found,
        None,
        coordinates,
        index.get("model"),
        stored_clustering(files, index),
    )


def _index(files: StoreFiles) -> dict[str, Any]:
    """What the index of a store says."""
    index = files.read_json(INDEX)
    if index is not None and index.get("format") == KIND:
        return index
    manifest = files.read_json(MANIFEST)
    if manifest is None:
        saved = "; it is a saved space, which LatentSpace.load reads" if SPACE in files.sizes() else ""
        raise FileNotFoundError(f"there is no store at {files.address!r}{saved}")
    if manifest.get("format") != KIND:
        raise StoreError(f"the store {files.address!r} is of the kind {manifest.get('format')!r}, expected {KIND!r}")
    raise StoreError(f"the fit that writes the store {files.address!r} has not ended; fit with this store goes on")
