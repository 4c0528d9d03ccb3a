"""The clusters of an opened or fitted space, kept in its store."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._store_files import StoreFiles
from hdm_widgets._store_lock import writing
from hdm_widgets.latent.clusters import Clustering
from hdm_widgets.latent.fitted import read_only
from hdm_widgets.latent.store.arrays import damaged, read_column, write_column
from hdm_widgets.latent.store.contents import INDEX, StoredCollection, column_folder

__all__ = ["stored_clustering", "write_clustering"]

# How the clusters were found, and where their labels are; beside the columns of the map that they are of.
_CLUSTERS = "clusters.json"


def write_clustering(collection: StoredCollection, clustering: Clustering | None) -> None:
    """Keep clusters, in place of any before; None keeps none.

    Parameters
    ----------
    collection : StoredCollection
        What the map was made of.
    clustering : Clustering or None

    Raises
    ------
    StoreError
        If a fit writes to the store, or has made another map meanwhile, or it cannot be written.
    """
    files, index = collection.files, collection.index
    name = column_folder(index, _CLUSTERS)
    with writing(files) as lock:
        if (files.read_json(INDEX) or {}).get("version") != index["version"]:
            raise files.refused("these clusters: a later fit has made another map of it; open it again")
        before = files.read_json(name)
        if clustering is None:
            files.remove(name)
        else:
            labels = f"labels-{uuid.uuid4().hex[:8]}"
            write_column(files, column_folder(index, labels), np.asarray(clustering.labels))
            lock.check()
            files.write_json(name, {"labels": labels, **clustering.row()})
        if before is not None:
            files.remove(column_folder(index, before["labels"]))


def stored_clustering(files: StoreFiles, index: Mapping[str, Any]) -> Callable[[], Clustering] | None:
    """What reads the clusters of a store; None if it has none."""
    found = files.read_json(column_folder(index, _CLUSTERS))
    if found is None:
        return None
    folder = column_folder(index, found.pop("labels"))
    count = sum(index["counts"])

    def read() -> Clustering:
        labels: NDArray[np.int64] = read_column(files, folder)
        if len(labels) != count:
            raise damaged(files, folder, f"{len(labels)} entries for {count} items")
        return Clustering(labels=read_only(labels), **found)

    return read
