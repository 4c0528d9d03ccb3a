"""What a complete store holds, read as far as it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._bitmasks import PackedMasks
from hdm_widgets._datasets import Fields
from hdm_widgets._store_files import StoreError, StoreFiles
from hdm_widgets._wording import quantity
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.columns_on_demand import ColumnsOnDemand
from hdm_widgets.latent.fitted import read_only
from hdm_widgets.latent.folder import MANIFEST
from hdm_widgets.latent.map_arrays import collection_fields
from hdm_widgets.latent.ordered import OrderedColumn
from hdm_widgets.latent.store.arrays import ArrayLayout, damaged, read_column
from hdm_widgets.latent.store.rows import StoredRows

__all__ = [
    "COORDINATES", "INDEX", "MANIFEST", "MAP", "StoredCollection", "column_folder",
]  # fmt: skip

# The file that says what a complete store holds, written last; the arrays of its map; and the column of coordinates.
INDEX, MAP, COORDINATES = "space.json", "map.npz", "coordinates"


def column_folder(index: Mapping[str, Any], name: str) -> str:
    """Where a column of the items is."""
    return f"space/{index['version']}/{name}"


class StoredCollection(Collection):
    """What a store holds of a pass over a data set: a `Collection` whose arrays are read when they are asked for.

    Parameters
    ----------
    files : StoreFiles
    index : dict
        What the store says that it holds.
    fields : Fields, optional
        Where the image and the mask of an item are; by default as the store says.

    Attributes
    ----------
    files : StoreFiles
    index : dict
    """

    def __init__(self, files: StoreFiles, index: dict[str, Any], fields: Fields | None = None) -> None:
        given = collection_fields(index)
        if fields is not None:
            given["fields"] = fields
        # Everything else is one of the properties below.
        vars(self).update(given, random=index["random"], labeled=None, files=files, index=index)

    files: StoreFiles
    index: dict[str, Any]

    def with_fields(self, fields: Fields) -> StoredCollection:
        """The same, with the image and the mask of an item elsewhere in it."""
        return StoredCollection(self.files, self.index, fields)

    def __len__(self) -> int:
        return int(sum(self.index["counts"]))

    def __repr__(self) -> str:
        return f"StoredCollection({self.files.address!r}, {quantity(len(self), 'item')})"

    def _column(self, name: str) -> NDArray[Any]:
        values = read_column(self.files, column_folder(self.index, name))
        if len(values) != len(self):
            raise damaged(self.files, name, f"{len(values)} entries for {len(self)} items")
        return read_only(values)

    def _rows(self, name: str) -> NDArray[Any] | None:
        """A large array, which is read row by row; None if there is none."""
        if name not in self.index["arrays"]:
            return None
        dtype, shape = self.index["arrays"][name]
        layout = ArrayLayout(name, self.index["capacity"], tuple(shape), dtype)
        numbers, counts = self.index["numbers"], self.index["counts"]
        # It serves wherever rows of an array are read.
        return cast("NDArray[Any]", StoredRows(self.files, layout, numbers, counts, self.index["sizes"][name]))

    def _masks(self, name: str) -> PackedMasks | None:
        rows = self._rows(name)
        return None if rows is None else PackedMasks(rows, *self.image_shape[1:])

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """Pooled activations, float32 (n, d)."""
        rows = self._rows("features")
        if rows is None:
            raise StoreError(f"the store {self.files.address!r} holds no activations")
        return rows

    @cached_property
    def truths(self) -> PackedMasks:
        """True masks."""
        return cast("PackedMasks", self._masks("truths"))

    @cached_property
    def predictions(self) -> PackedMasks:
        """Predicted masks."""
        return cast("PackedMasks", self._masks("predictions"))

    @cached_property
    def ignored(self) -> PackedMasks | None:
        """Pixels that do not count."""
        return self._masks("ignored")

    @cached_property
    def thumbnails(self) -> NDArray[np.uint8]:
        """Small pictures of the images, uint8 (n, h, w, 3)."""
        return cast("NDArray[np.uint8]", self._rows("thumbnails"))

    @cached_property
    def probability_maps(self) -> NDArray[np.uint8] | None:
        """Small maps of the probabilities, uint8 (n, h, w)."""
        return self._rows("probability_maps") if self.index["confidences"] else None

    @cached_property
    def items(self) -> NDArray[np.int64]:
        """Index of each in the data set, int64 (n,)."""
        return self._column("item")

    @cached_property
    def tp(self) -> NDArray[np.int64]:
        """True positive pixels, int64 (n,)."""
        return self._column("tp")

    @cached_property
    def fn(self) -> NDArray[np.int64]:
        """False negative pixels, int64 (n,)."""
        return self._column("fn")

    @cached_property
    def fp(self) -> NDArray[np.int64]:
        """False positive pixels, int64 (n,)."""
        return self._column("fp")

    @cached_property
    def label_quality(self) -> NDArray[np.float64] | None:
        """How far the probabilities agree with each true mask, float64 (n,)."""
        return self._column("label_quality") if self.index["confidences"] else None

    @cached_property
    def confidences(self) -> dict[str, NDArray[np.float64]]:
        """How confident the model is in each prediction."""
        names = self.index["confidences"]
        return ColumnsOnDemand({name: partial(self._column, f"scores/{name}") for name in names})

    @cached_property
    def columns(self) -> dict[str, NDArray[Any]]:
        """Columns of the data set."""
        names, orders = self.index["columns"], self.index["orders"]

        def read(name: str) -> NDArray[Any]:
            values = self._column(f"columns/{names.index(name)}")
            return OrderedColumn(values, tuple(orders[name])) if name in orders else values

        return ColumnsOnDemand({name: partial(read, name) for name in names})
