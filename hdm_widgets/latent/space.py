"""What a segmentation model has learned, as a map of a data set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness
from torch import Tensor, nn
from tqdm.auto import tqdm

from hdm_widgets._picture import to_rgb
from hdm_widgets._validation import advise_on_keywords, check_choice, is_whole, warn_user
from hdm_widgets.latent import clusters as grouping
from hdm_widgets.latent import folder
from hdm_widgets.latent.activations import Pool, named_module, network_of
from hdm_widgets.latent.clusters import Cluster, Clustering, Method
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.collector import Collector, check_width
from hdm_widgets.latent.items import Columns, Dataset, Item, beside, check_dataset, check_pictures, read_item
from hdm_widgets.latent.neighbors import Neighbors, nearest, usual_distance
from hdm_widgets.latent.projection import Projection
from hdm_widgets.latent.scores import Overlaps
from hdm_widgets.latent.selection import COLORS, Selection, check_color, check_indices, check_name, read_selection
from hdm_widgets.latent.surface import Regressor, Support, Surface, surface
from hdm_widgets.models.segmenter import Model, Segmenter

if TYPE_CHECKING:
    import pandas

__all__ = ["LatentSpace", "Location"]

_SAMPLE = 2000  # items that figures over all pairs are taken from


@dataclass(frozen=True)
class Location:
    """Where pictures fall on the map.

    Attributes
    ----------
    embedding : numpy.ndarray, float64 (n, n_components)
    iou : numpy.ndarray, float64 (n,)
        Expected there; NaN if the space has no item with an IoU.
    distance : numpy.ndarray, float64 (n,)
        How far a picture's activations are from the nearest item's, against what is usual among items: 1 is what
        one item in twenty exceeds. Far above 1 the picture is unlike all of the data, and its place on the map and the
        IoU expected there mean little.
    nearest : numpy.ndarray, int64 (n,)
        The nearest item.
    """

    embedding: NDArray[np.float64]
    iou: NDArray[np.float64]
    distance: NDArray[np.float64]
    nearest: NDArray[np.int64]


class LatentSpace:
    """A map of a data set as a segmentation model sees it.

    The activations at the bottleneck of an encoder-decoder, one vector per picture, are reduced to principal
    components; a small network learns which IoU to expect at each place.

    Parameters
    ----------
    model : torch.nn.Module or Segmenter
        The Segmenter may be around a Module only.
    layer : torch.nn.Module or str
        Where the activations are taken: a module of the model, its dotted name, or `"auto"` for the bottleneck:
        the last module before the decoder enlarges its maps. `layer_name_` says which one it was.
    pool : {"mean", "max", "flatten", "grid"}
        What makes one vector of a layer's maps: the mean or the largest value of each channel, all values, or the
        means over `grid` x `grid` cells.
    n_components : int
        Of the embedding, 2 or more; the map shows the first two.
    iou_empty : float
        IoU of an item whose truth and prediction are both empty: 0 as published, 1 or NaN on request.
    random_state : int
        Of everything that draws lots.
    grid : int
        Cells to a side, for `pool="grid"`.
    n_cluster_components : int
        Principal components that clusters are sought in. More than the two drawn: groups that overlap on the map
        may be apart.
    thumbnail : int
        Longest side of the small pictures that are kept, in pixels.
    device, target, threshold, batch_size
        As for `Segmenter`.

    Attributes
    ----------
    embedding_ : numpy.ndarray, float64 (n, n_components)
        Coordinates of the items.
    explained_variance_ratio_ : numpy.ndarray, float64 (n_components,)
        Share of the activations' variance along each component.
    iou_ : numpy.ndarray, float64 (n,)
    overlaps_ : Overlaps
        IoU, Dice, precision, recall and areas of every item.
    layer_ : Layer
        Name and output shape; `layer_name_` is the name alone.
    cv_score_ : float
        R2 of the expected IoU on items left out, by five-fold cross-validation: 1 is perfect, 0 no better than the
        mean. NaN if there is too little to tell.
    clusters_ : tuple of Cluster
        After `cluster`; `labels_` has the cluster of each item, `clustering_` how they were found.
    items_ : numpy.ndarray, int64 (n,)
        Index of each item in the data set: not 0 to n - 1 where some were skipped.
    skipped_ : dict of int to str
        Items that were left out, and why.
    dataset_ : Dataset or None

    Notes
    -----
    Principal components: exact where the activations fit into memory (512 MB as float64), else scikit-learn's
    `IncrementalPCA`, and `projection_.exact` says so.

    Examples
    --------
    >>> import hdm_widgets as hw
    >>> model, scenes = hw.demo.aerial(64)
    >>> space = hw.LatentSpace(model).fit(scenes, progress=False)
    >>> space.layer_name_, space.embedding_.shape
    ('bottleneck', (64, 2))
    """

    @advise_on_keywords
    def __init__(
        self,
        model: Model | None,
        layer: nn.Module | str = "auto",
        pool: Pool = "mean",
        n_components: int = 2,
        iou_empty: float = 0.0,
        random_state: int = 0,
        *,
        grid: int = 2,
        n_cluster_components: int = 10,
        thumbnail: int = 48,
        device: torch.device | str | None = None,
        target: int | None = None,
        threshold: float | None = None,
        batch_size: int | None = None,
    ) -> None:
        least = {"n_components": 2, "grid": 1, "n_cluster_components": 1, "thumbnail": 1}
        given = {
            "n_components": n_components,
            "grid": grid,
            "n_cluster_components": n_cluster_components,
            "thumbnail": thumbnail,
        }
        for name, value in given.items():
            if not is_whole(value) or value < least[name]:
                raise ValueError(f"{name} must be a whole number of at least {least[name]}, got {value!r}")
        if not isinstance(iou_empty, (int, float)) or not (np.isnan(iou_empty) or 0 <= iou_empty <= 1):
            raise ValueError(f"iou_empty must be in [0, 1] or NaN, got {iou_empty!r}")
        if not is_whole(random_state) or random_state < 0:
            raise ValueError(f"random_state must be a whole number of at least 0, got {random_state!r}")
        if not isinstance(layer, (str, nn.Module)):
            raise TypeError(f"layer must be a module of the model, its name or 'auto', got {type(layer).__name__}")
        self.segmenter = None
        if model is not None:
            self.segmenter = Segmenter.wrap(
                model, device=device, target=target, threshold=threshold, batch_size=batch_size
            )
            network_of(self.segmenter)
        self.layer = layer
        self.pool = check_choice("pool", pool, Pool)
        self.n_components = int(n_components)
        self.iou_empty = float(iou_empty)
        self.random_state = int(random_state)
        self.grid = int(grid)
        self.n_cluster_components = int(n_cluster_components)
        self.thumbnail = int(thumbnail)

    # -- fitting ----------------------------------------------------------------------------------

    @advise_on_keywords
    def fit(
        self,
        dataset: Dataset,
        *,
        columns: Columns | None = None,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        progress: bool = True,
    ) -> LatentSpace:
        """Run the model once on every item of a data set and make the map.

        Parameters
        ----------
        dataset : Dataset
            Anything with `len` and `[i] -> (picture, mask)`, or a mapping with `"image"` and `"mask"`: pictures of a
            floating type, (C, H, W) or (H, W), all of one size; masks (H, W), nonzero = segment. Texts and numbers
            beside them in a mapping, and a `columns` attribute of the data set, become columns of the space.
        columns : mapping of str to sequence, optional
            More columns, one entry per item; a DataFrame serves.
        num_workers : int
            Processes that read the data set.
        on_error : {"raise", "skip"}
            At an item that cannot be used: stop there, or leave it out and go on; `skipped_` tells which and why.
        progress : bool
            Show a tqdm bar with the time left.

        Returns
        -------
        LatentSpace
            self

        Raises
        ------
        CollectionError
            A ValueError that names the item. What was collected before it is its `collection`, and
            `fit_collected` makes a map of that.
        ValueError, TypeError
            If there are fewer items than components, the activations are all the same, or an argument is wrong.
        """
        collector = self._collector()
        check_choice("on_error", on_error, ("raise", "skip"))
        self._check_count(check_dataset(dataset), "the data set has")
        collection = collector.collect(
            dataset, columns=columns, num_workers=num_workers, on_error=on_error, progress=progress
        )
        return self.fit_collected(collection, dataset)

    def fit_collected(self, collection: Collection, dataset: Dataset | None = None) -> LatentSpace:
        """Make the map of what was collected, for instance before an error.

        Parameters
        ----------
        collection : Collection
        dataset : Dataset, optional
            What it was collected from, for full pictures; else there are thumbnails.

        Returns
        -------
        LatentSpace
            self
        """
        count = len(collection)
        self._check_count(count, "got")
        width = collection.features.shape[1]
        check_width(width, self.n_components)
        kept = min(max(self.n_components, self.n_cluster_components), count - 1, width)
        projection = Projection.fit(collection.features, kept, random_state=self.random_state)
        overlaps = Overlaps(collection.hits, collection.misses, collection.false_alarms, self.iou_empty)
        coordinates = projection.transform(collection.features)
        regressor = Regressor.fit(coordinates[:, :2], overlaps.iou, random_state=self.random_state)
        self._set(collection, projection, coordinates, overlaps, regressor, dataset)
        return self

    def _check_count(self, count: int, came: str) -> None:
        least = self.n_components
        if count <= least:
            raise ValueError(f"{least} components need more than {least} items, {came} {count}")

    def _collector(self) -> Collector:
        if self.segmenter is None:
            raise ValueError("this space was loaded without its model; LatentSpace.load(path, model=...) takes it")
        return Collector(self.segmenter, self.layer, self.pool, self.grid, self.thumbnail, self.n_components)

    def _set(
        self,
        collection: Collection,
        projection: Projection,
        coordinates: NDArray[np.float64],
        overlaps: Overlaps,
        regressor: Regressor | None,
        dataset: Dataset | None,
    ) -> None:
        for name in [name for name in vars(self) if name.endswith("_") or name in _CACHED]:
            delattr(self, name)
        self.collection_ = collection
        self.projection_ = projection
        self.overlaps_ = overlaps
        self.regressor_ = regressor
        self.dataset_ = dataset
        self.layer_ = collection.layer
        self.layer_name_ = collection.layer.name
        self.items_ = collection.items
        self.skipped_ = collection.skipped
        self.embedding_ = coordinates[:, : self.n_components]
        self.cluster_coordinates_ = coordinates[:, : min(self.n_cluster_components, coordinates.shape[1])]
        self.explained_variance_ratio_ = projection.explained_variance_ratio[: self.n_components]
        self.iou_ = overlaps.iou
        self.cv_score_ = float("nan") if regressor is None else regressor.score

    def __getattr__(self, name: str) -> Any:
        if name in ("clusters_", "labels_", "clustering_") and "embedding_" in vars(self):
            raise AttributeError("there are no clusters yet; call cluster()")
        if name.endswith("_") and not name.startswith("_"):
            raise AttributeError(f"this LatentSpace has no {name}: it is not fitted yet; call fit(dataset)")
        raise AttributeError(f"LatentSpace has no {name!r}")

    def __len__(self) -> int:
        return len(self.embedding_)

    def __bool__(self) -> bool:
        return True  # fitted or not, a space is there

    def __repr__(self) -> str:
        if "embedding_" not in vars(self):
            return f"LatentSpace(layer={self.layer!r}, pool={self.pool!r}), not fitted"
        share = self.explained_variance_ratio_[:2].sum()
        return (
            f"LatentSpace of {len(self)} items at {self.layer_}, pool={self.pool!r}; "
            f"two components explain {share:.0%} of the variance"
        )

    # -- places -----------------------------------------------------------------------------------

    def transform(self, images: Tensor | NDArray[Any]) -> NDArray[np.float64]:
        """Coordinates of new pictures on the map.

        Parameters
        ----------
        images : torch.Tensor or numpy.ndarray (N, C, H, W)

        Returns
        -------
        numpy.ndarray, float64 (N, n_components)
        """
        return self.projection_.transform(self._features(images))[:, : self.n_components]

    def predict_iou(self, images: Tensor | NDArray[Any]) -> NDArray[np.float64]:
        """IoU that is expected of new pictures, float64 (N,), from where they fall on the map.

        See `locate`, which also says how far a picture is from the data, for whether to trust it.
        """
        return self.locate(images).iou

    def locate(self, images: Tensor | NDArray[Any]) -> Location:
        """Where new pictures (N, C, H, W) fall, what IoU is expected there, and how far they are from the data."""
        features = self._features(images)
        embedding = self.projection_.transform(features)[:, : self.n_components]
        expected = np.full(len(features), np.nan)
        if self.regressor_ is not None:
            expected = self.regressor_.predict(embedding[:, :2])
        found, distances = nearest(self.collection_.features, features, 1)
        return Location(embedding, expected, distances[:, 0] / self._usual_distance, found[:, 0])

    def expected_iou(self) -> NDArray[np.float64]:
        """IoU expected of every item at its place; `iou_` is what it has."""
        if self.regressor_ is None:
            return np.full(len(self), np.nan)
        return self.regressor_.predict(self.embedding_[:, :2])

    def surface(self, shape: tuple[int, int] = (200, 200)) -> Surface:
        """Expected IoU over a grid of `shape` (rows, cols), and where items support it."""
        if not isinstance(shape, tuple) or len(shape) != 2 or not all(is_whole(side) and side > 1 for side in shape):
            raise ValueError(f"shape must be two whole numbers of at least 2, got {shape!r}")
        return surface(self.regressor_, self._support, self.embedding_, shape)

    def neighbors(self, index: int, k: int = 12) -> Neighbors:
        """The `k` items whose activations are nearest to those of item `index`, in the full space."""
        self._check_index(index)
        if not is_whole(k) or not 1 <= k < len(self):
            raise ValueError(f"k must be 1 to {len(self) - 1}, got {k}")
        found, distances = nearest(self.collection_.features, self.collection_.features[[index]], k + 1)
        others = found[0] != index
        return Neighbors(found[0][others][:k], distances[0][others][:k])

    def trustworthiness(self, n_neighbors: int = 12) -> float:
        """How far neighbours on the two-dimensional map are neighbours in the full space, in [0, 1].

        Over a random 2000 of more items (Venna and Kaski 2001; scikit-learn's `trustworthiness`).
        """
        rows = self._sample()
        if not 1 <= n_neighbors < len(rows) / 2:
            raise ValueError(f"n_neighbors must be 1 to {(len(rows) - 1) // 2}, got {n_neighbors}")
        features = np.asarray(self.collection_.features[rows], dtype=np.float64)
        return float(trustworthiness(features, self.embedding_[rows, :2], n_neighbors=n_neighbors))

    def _features(self, images: Tensor | NDArray[Any]) -> NDArray[np.float32]:
        pictures = check_pictures(images, self.collection_.picture_shape, same_size=self.pool == "flatten")
        features = self._collector().features(pictures, self.layer_)
        width = self.collection_.features.shape[1]
        if features.shape[1] != width:
            raise ValueError(f"layer and pool give {features.shape[1]} features, the space was made with {width}")
        return features

    def _check_model(self) -> None:
        """The model that a space is loaded with must be the one it was made with, as far as can be told."""
        if self.segmenter is None:
            return
        named_module(network_of(self.segmenter), self.layer_name_)
        if self.dataset_ is None:
            return
        features = self._features(self.item(0).picture[None])[0]
        stored = self.collection_.features[0]
        if not np.allclose(features, stored, rtol=1e-2, atol=1e-3 * float(np.abs(stored).max())):
            warn_user(
                "the model gives other activations for item 0 than the space holds: it is not the model, or not the "
                "data set, that the space was made with"
            )

    def _sample(self) -> NDArray[np.int64]:
        if len(self) <= _SAMPLE:
            return np.arange(len(self))
        return np.sort(np.random.default_rng(self.random_state).choice(len(self), _SAMPLE, replace=False))

    @cached_property
    def _usual_distance(self) -> float:
        """Distance to the nearest other item that one item in twenty exceeds."""
        return usual_distance(self.collection_.features, self._sample())

    @cached_property
    def _support(self) -> Support:
        return Support(self.embedding_[:, :2])

    # -- clusters ---------------------------------------------------------------------------------

    def cluster(
        self,
        n_clusters: int | None = None,
        *,
        method: Method | None = None,
        eps: float | None = None,
        min_samples: int | None = None,
    ) -> tuple[Cluster, ...]:
        """Group the items by their leading `n_cluster_components` principal components.

        Parameters
        ----------
        n_clusters : int, optional
            That many groups by KMeans, as in the paper with 14. Without it and without `method`, the best of
            `compare_clusterings` is taken.
        method : {"kmeans", "dbscan"}, optional
            `"dbscan"` takes `eps`, in units of the components, and `min_samples` (5).

        Returns
        -------
        tuple of Cluster
            The largest first; also `clusters_`, with `labels_` and `clustering_` beside it.
        """
        method = grouping.check_request(n_clusters, method, eps, min_samples, len(self))
        if method is None:
            chosen = grouping.best(list(self.comparison()))
        else:
            chosen = grouping.fit_clusters(
                self.cluster_coordinates_,
                method,
                n_clusters=n_clusters,
                eps=eps,
                min_samples=5 if min_samples is None else min_samples,
                random_state=self.random_state,
            )
        self._set_clustering(chosen)
        return self.clusters_

    def compare_clusterings(self, *, progress: bool = True) -> pandas.DataFrame:
        """KMeans and DBSCAN over a grid of parameters: one row each, the best silhouette first.

        Clusters are sought in the leading `n_cluster_components` principal components, not in the two drawn. The
        columns are those of `Clustering`. Of more than 10,000 items KMeans alone is tried.
        """
        import pandas

        shown = tqdm(self.comparison(), disable=not progress, unit="clustering", desc="comparing clusterings")
        rows = [clustering.row() for clustering in shown]
        return pandas.DataFrame(rows).sort_values("silhouette", ascending=False, ignore_index=True)

    def comparison(self) -> Iterator[Clustering]:
        """The clusterings of `compare_clusterings` one by one; those that were found before come at once."""
        if "_compared" in vars(self):
            yield from vars(self)["_compared"]
            return
        found: list[Clustering] = []
        for clustering in grouping.compare(self.cluster_coordinates_, random_state=self.random_state):
            found.append(clustering)
            yield clustering
        if not found:
            raise ValueError(f"{len(self)} items are too few to compare clusterings; give n_clusters")
        self._compared = found

    def _set_clustering(self, chosen: Clustering) -> None:
        self.clustering_ = chosen
        self.labels_ = chosen.labels
        self.clusters_ = grouping.describe(
            chosen.labels, self.cluster_coordinates_, self.iou_, self.overlaps_.truth_area
        )

    # -- items ------------------------------------------------------------------------------------

    def table(self) -> dict[str, NDArray[Any]]:
        """Everything known of every item, by column.

        `item` is the index in the data set, `pc1` and so on are the coordinates, then come the scores of `Overlaps`,
        the `expected_iou`, the `cluster` where there are clusters, and the data set's own columns. One of those that
        has a name of the former gets `data_` before it.
        """
        own: dict[str, NDArray[Any]] = {"item": self.items_}
        own |= {f"pc{i + 1}": self.embedding_[:, i] for i in range(self.n_components)}
        own |= self.overlaps_.columns()
        own["expected_iou"] = self.expected_iou()
        if "labels_" in vars(self):
            own["cluster"] = self.labels_
        return beside(own, self.columns_)

    @property
    def columns_(self) -> dict[str, NDArray[Any]]:
        """What the data set says of its items."""
        return self.collection_.columns

    def frame(self) -> pandas.DataFrame:
        """`table` as a DataFrame, one row per item."""
        import pandas

        return pandas.DataFrame(self.table(), index=pandas.RangeIndex(len(self), name="index"))

    def select(self, indices: Any, name: str = "selection", color: str = COLORS[0]) -> Selection:
        """Some items as a selection.

        Parameters
        ----------
        indices : array_like
            Whole numbers, positions in the space; or bool, one per item.
        name, color : str
            The colour as `#rrggbb`.
        """
        return Selection(check_indices(indices, len(self)), check_name(name), check_color(color), self.table())

    def load_selection(self, path: str | os.PathLike[str]) -> Selection:
        """Read what `Selection.save` wrote."""
        return read_selection(path, self.table())

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Item `index` to look at, uint8 (H, W, 3): read from the data set, or its thumbnail where there is none."""
        self._check_index(index)
        if self.dataset_ is None:
            return np.array(self.collection_.thumbnails[index])
        return to_rgb(self.item(index).picture.numpy())

    def item(self, index: int) -> Item:
        """Item `index` as the model sees it, read from the data set, with its true mask."""
        self._check_index(index)
        if self.dataset_ is None:
            raise ValueError("this space has no data set; LatentSpace.load(path, dataset=...) takes it")
        return read_item(self.dataset_, int(self.items_[index]), self.collection_.picture_shape[1:])

    def truth(self, index: int) -> NDArray[np.bool_]:
        """The true mask of item `index`, bool (H, W)."""
        self._check_index(index)
        return self.collection_.truths[index]

    def prediction(self, index: int) -> NDArray[np.bool_]:
        """The mask that the model draws for item `index`, bool (H, W)."""
        self._check_index(index)
        return self.collection_.predictions[index]

    def _check_index(self, index: int) -> None:
        if not is_whole(index):
            raise TypeError(f"index must be a whole number, got {index!r}")
        if not 0 <= index < len(self):
            raise IndexError(f"index must be 0 to {len(self) - 1}, got {index}")

    # -- files ------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the space to a folder, which is made if it is not there.

        It holds everything but the model and the pictures: activations, both masks of every item at one bit per
        pixel, thumbnails, columns, components, the IoU's network as arrays, clusters. Nothing is pickled.
        """
        clustering = self.clustering_.row() if "clustering_" in vars(self) else None
        labels = self.labels_ if "clustering_" in vars(self) else None
        settings = {name: getattr(self, name) for name in _SETTINGS} | {
            name: getattr(self.segmenter, name, None) for name in _SEGMENTATION
        }
        folder.write(path, settings, self.collection_, self.projection_, self.regressor_, labels, clustering)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], model: Model | None = None, dataset: Dataset | None = None
    ) -> LatentSpace:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike
            The folder.
        model : torch.nn.Module or Segmenter, optional
            For new pictures: `transform`, `predict_iou` and `locate` need it, nothing else does.
        dataset : Dataset, optional
            For full pictures; else there are thumbnails.

        Raises
        ------
        FileNotFoundError, ValueError
            If it is no such folder, or the data set is too short for it.
        """
        settings, collection, projection, regressor, labels, clustering = folder.read(path)
        if model is None or isinstance(model, Segmenter):
            # A Segmenter has its own; without a model nothing is segmented.
            settings = {name: value for name, value in settings.items() if name not in _SEGMENTATION}
        space = cls(model, **settings)
        if dataset is not None and check_dataset(dataset) <= int(collection.items.max()):
            raise ValueError(
                f"the space has items up to {int(collection.items.max())}, the data set has {len(dataset)} items"
            )
        overlaps = Overlaps(collection.hits, collection.misses, collection.false_alarms, space.iou_empty)
        coordinates = projection.transform(collection.features)
        space.layer = collection.layer.name
        space._set(collection, projection, coordinates, overlaps, regressor, dataset)
        space._check_model()
        if labels is not None and clustering is not None:
            space._set_clustering(Clustering(labels=labels, **clustering))
        return space


_SETTINGS = (
    "pool",
    "n_components",
    "iou_empty",
    "random_state",
    "grid",
    "n_cluster_components",
    "thumbnail",
)
_SEGMENTATION = ("target", "threshold")
_CACHED = ("_usual_distance", "_support", "_compared")
