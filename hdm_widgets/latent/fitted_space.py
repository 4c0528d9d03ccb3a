"""What can be asked of a fitted latent space without its model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from hdm_widgets._datasets import Dataset
from hdm_widgets._picture import Display
from hdm_widgets._validation import brief, is_whole
from hdm_widgets.latent.activations import Layer
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.estimator import Estimator
from hdm_widgets.latent.fitted import FittedMap, FittedState, read_only
from hdm_widgets.latent.neighbors import Neighbors, nearest, pairwise_distances
from hdm_widgets.latent.projection import Projection
from hdm_widgets.latent.scores import Overlaps
from hdm_widgets.latent.selection import COLORS, Selection, check_color, check_name, items_of, read_selection
from hdm_widgets.latent.surface import Regressor, Surface, check_grid, surface
from hdm_widgets.models.segmenter import Segmenter

if TYPE_CHECKING:
    import pandas

__all__ = ["FittedSpace"]


class FittedSpace:
    """The part of a LatentSpace that reads what a fit found.

    All of that is in `_fitted`, one object that never changes; a fit or new clusters replace it.
    """

    _fitted: FittedState | None = None
    segmenter: Segmenter | None = None
    display = Display()

    @property
    def _takes_any_values(self) -> bool:
        """Whether images may have any values and layout; without a model they are only shown."""
        return self.segmenter is None or self.segmenter.preprocess is not None

    def _state(self, wanted: str) -> FittedState:
        if self._fitted is None:
            raise AttributeError(f"this LatentSpace has no {wanted}: it is not fitted yet; call fit(dataset)")
        return self._fitted

    def _map(self, wanted: str) -> FittedMap:
        return self._state(wanted).map

    def __len__(self) -> int:
        return len(self._map("embedding_"))

    def __bool__(self) -> bool:
        return True  # also before it is fitted

    # -- fitted attributes ------------------------------------------------------------------------

    @property
    def embedding_(self) -> NDArray[np.float64]:
        """Coordinates of the items on the map, float64 (n, n_components), read-only."""
        return self._map("embedding_").embedding

    @property
    def cluster_coordinates_(self) -> NDArray[np.float64]:
        """Principal components that clusters are sought in, float64 (n, k), read-only."""
        return self._map("cluster_coordinates_").cluster_coordinates

    @property
    def explained_variance_ratio_(self) -> NDArray[np.float64]:
        """Fraction of the activations' variance along each component, float64 (n_components,)."""
        found = self._map("explained_variance_ratio_")
        return read_only(found.projection.explained_variance_ratio[: found.n_components])

    @property
    def iou_(self) -> NDArray[np.float64]:
        """IoU of every item, float64 (n,), read-only."""
        return self._map("iou_").iou

    @property
    def overlaps_(self) -> Overlaps:
        """Counts of pixels, IoU, Dice, precision, recall and areas of every item."""
        return self._map("overlaps_").overlaps

    @property
    def collection_(self) -> Collection:
        """What the pass over the data set collected."""
        return self._map("collection_").collection

    @property
    def projection_(self) -> Projection:
        """The linear map from activations to principal components."""
        return self._map("projection_").projection

    @property
    def regressor_(self) -> Regressor | None:
        """The network behind the surface, from two components to an IoU; None if no item has an IoU."""
        return self._map("regressor_").regressor

    @property
    def cv_score_(self) -> float:
        """Cross-validated R² of the surface; NaN if there are too few items for it."""
        regressor = self._map("cv_score_").regressor
        return float("nan") if regressor is None else regressor.score

    @property
    def estimator_(self) -> Estimator:
        """What is known about the IoU of new items, learned when it is first asked for; `print` says how well."""
        return self._map("estimator_").estimator

    @property
    def dataset_(self) -> Dataset | None:
        """The data set, for full images; None where there are thumbnails only."""
        return self._map("dataset_").dataset

    @property
    def layer_(self) -> Layer:
        """Where the activations come from."""
        return self._map("layer_").collection.layer

    @property
    def layer_name_(self) -> str:
        """Dotted name of that layer."""
        return self._map("layer_name_").collection.layer.name

    @property
    def items_(self) -> NDArray[np.int64]:
        """Index of each item in the data set, int64 (n,), read-only."""
        return read_only(self._map("items_").collection.items)

    @property
    def skipped_(self) -> dict[int, str]:
        """Items that were left out, and why."""
        return dict(self._map("skipped_").collection.skipped)

    @property
    def columns_(self) -> dict[str, NDArray[Any]]:
        """Columns of the data set, read-only arrays (n,) by name."""
        return {name: read_only(values) for name, values in self._map("columns_").collection.columns.items()}

    # -- the map ----------------------------------------------------------------------------------

    def expected_iou(self) -> NDArray[np.float64]:
        """IoU of the surface at every item; its own IoU is `iou_`.

        The surface is a picture of the map, learned from the first two components of all items. `estimate` says what
        IoU to expect of an image.

        Returns
        -------
        numpy.ndarray, float64 (n,)
            Read-only; NaN if no item has an IoU.
        """
        return self._map("regressor_").expected_iou

    def surface(self, shape: tuple[int, int] = (200, 200), bounds: Sequence[float] | None = None) -> Surface:
        """IoU of the items around each point of a grid, and where items support it.

        It is the paper's picture of the map, not what to expect of an image: that is `estimate`.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns of the grid, 2 or more each.
        bounds : sequence of float, optional
            Its ends x0, x1, y0, y1 on the map; by default it covers all items and a margin around them.

        Returns
        -------
        Surface
        """
        ends = check_grid(shape, bounds)
        found = self._map("regressor_")
        return surface(found.regressor, found.support, found.embedding, shape, ends)

    def neighbors(self, index: int, k: int = 12) -> Neighbors:
        """The items whose activations are nearest to those of one item, in the full space.

        Parameters
        ----------
        index : int
            Position of the item.
        k : int
            How many, from 1 to all others.

        Returns
        -------
        Neighbors
            Positions and Euclidean distances, nearest first.
        """
        self._check_index(index)
        if not is_whole(k) or not 1 <= k < len(self):
            raise ValueError(f"k must be 1 to {len(self) - 1}, got {k}")
        features = self.collection_.features
        found, distances = nearest(features, features[[index]], k + 1)
        others = found[0] != index
        return Neighbors(found[0][others][:k], distances[0][others][:k])

    def trustworthiness(self, n_neighbors: int = 12) -> float:
        """How far neighbors on the two-dimensional map are neighbors in the full space.

        Parameters
        ----------
        n_neighbors : int
            Size of the neighborhoods, less than half of the items.

        Returns
        -------
        float
            In [0, 1]; 1 if no item is a neighbor on the map alone. Of more than 2000 items, a random 2000 count.

        Notes
        -----
        Venna and Kaski (2001), by scikit-learn's `trustworthiness`.
        """
        found = self._map("embedding_")
        rows = found.sample()
        if not 1 <= n_neighbors < len(rows) / 2:
            raise ValueError(f"n_neighbors must be 1 to {(len(rows) - 1) // 2}, got {n_neighbors}")
        distances = pairwise_distances(found.collection.features, rows)
        places = found.embedding[rows, :2]
        return float(trustworthiness(distances, places, n_neighbors=n_neighbors, metric="precomputed"))

    # -- items ------------------------------------------------------------------------------------

    def table(self) -> dict[str, NDArray[Any]]:
        """All columns of all items.

        `item` is the index in the data set, `pc1` and so on are the coordinates. Then come the scores of `Overlaps`,
        the `expected_iou`, the model's confidences in its predictions (see `Collection.confidences`), the `cluster`
        where there are clusters, and the data set's own columns. A column of the data set that has one of these names,
        or is called `suspicion` as one on the explorer's screen, gets `data_` before it.

        Returns
        -------
        dict of str to numpy.ndarray (n,)
            Read-only and shared by all tables and selections; each is made or read when it is first asked for.
        """
        return self._state("embedding_").table.copy()

    def frame(self) -> pandas.DataFrame:
        """`table` as a DataFrame.

        Returns
        -------
        pandas.DataFrame
            One row per item; a copy.
        """
        import pandas

        return pandas.DataFrame(self.table(), index=pandas.RangeIndex(len(self), name="index"))

    def select(self, indices: Any, name: str = "selection", color: str = COLORS[0]) -> Selection:
        """Some items as a selection.

        Parameters
        ----------
        indices : array_like
            Whole numbers, positions in the space; or bool, one per item.
        name : str
        color : str
            As `#rrggbb`.

        Returns
        -------
        Selection
        """
        return Selection(items_of(indices, len(self)), check_name(name), check_color(color), self.table())

    def load_selection(self, path: str | os.PathLike[str]) -> Selection:
        """Read what `Selection.save` wrote.

        Parameters
        ----------
        path : str or os.PathLike
            The file.

        Returns
        -------
        Selection

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is anything else, or of a space with another number of items.
        """
        return read_selection(path, self.table())

    def _check_index(self, index: int) -> None:
        if not is_whole(index):
            raise TypeError(f"index must be a whole number, got {brief(index)}")
        if not 0 <= index < len(self):
            raise IndexError(f"index must be 0 to {len(self) - 1}, got {index}")
