"""What a segmentation model has learned, as a map of a data set."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdm_widgets._cluster import check_client
from hdm_widgets._datasets import Dataset, Field, Fields, as_dataset
from hdm_widgets._masks import Ignore
from hdm_widgets._picture import Bands, Display
from hdm_widgets._validation import advise_on_keywords, brief, check_choice, check_whole
from hdm_widgets._wording import quantity
from hdm_widgets.latent.activations import Pool, network_of
from hdm_widgets.latent.collection import Collection, CollectionBuilder, check_collection, kept_if_interrupted
from hdm_widgets.latent.collector import NewBuilder, RunPass, check_width
from hdm_widgets.latent.data_columns import Columns
from hdm_widgets.latent.fitted import FittedState
from hdm_widgets.latent.item_pass import ItemPass
from hdm_widgets.latent.layouts import Layout
from hdm_widgets.latent.own_features import collect_features
from hdm_widgets.latent.projection import Projection
from hdm_widgets.latent.space_files import SpaceWithFiles
from hdm_widgets.latent.store.cluster import ClusterRun
from hdm_widgets.latent.store.session import StoreSession
from hdm_widgets.models.segmenter import Model, Segmenter

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["LatentSpace"]


class LatentSpace(SpaceWithFiles):
    """A map of a data set as a segmentation model sees it.

    The activations at the bottleneck of an encoder-decoder, one vector per image, are reduced to principal
    components; a small network paints which IoU the items have at each point of the map.

    Parameters
    ----------
    model : torch.nn.Module or Segmenter
        A Segmenter must wrap a Module and have no `window`. For other functions, TorchScript and exported programs see
        `from_features`.
    layer : torch.nn.Module or str
        Where the activations are taken: a module of the model, its dotted name, or `"auto"` for the bottleneck, the
        deepest feature of the encoder. `"encoder[3]"` is one of several maps that a module returns, by position or key.
        `hw.layers` lists what can be named, and `layer_name_` says which one it was.
    pool : {"mean", "max", "flatten", "grid"}
        What makes one vector of a layer's maps: the mean or the largest value of each channel, all values, or the
        means over `grid` x `grid` cells. Class tokens of a transformer are left out.
    n_components : int
        Components of the embedding, 2 or more; the map shows the first two.
    iou_empty : float
        IoU of an item whose truth and prediction are both empty: 0 as published, 1 or NaN on request.
    random_state : int
        Seed of everything that is random.
    grid : int
        Cells to a side, for `pool="grid"`.
    n_cluster_components : int
        Principal components that clusters are sought in. More than the two drawn: groups that overlap on the map
        may be apart in the others.
    thumbnail : int
        Longest side of the thumbnails that are kept, in pixels.
    display : Display, int or sequence of int, optional
        How to show images, in thumbnails and in the gallery: a channel in gray, three as red, green and blue, or a
        `Display`.
    device : torch.device or str, optional
        As for `Segmenter`.
    target : int, optional
        As for `Segmenter`.
    threshold : float, optional
        As for `Segmenter`.
    batch_size : int, optional
        As for `Segmenter`.
    layout : {"auto", "channels_first", "channels_last"}
        The axis of the channels in the layer's maps: (N, channels, rows, cols) or (N, rows, cols, channels). `"auto"`
        tells it from the layer's type and weights, the maps' proportions and other layers; `layer_.layout` says which
        one it was, and what cannot be told is an error.

    Attributes
    ----------
    embedding_ : numpy.ndarray, float64 (n, n_components)
        Coordinates of the items. This and all arrays below are read-only.
    explained_variance_ratio_ : numpy.ndarray, float64 (n_components,)
        Fraction of the activations' variance along each component.
    iou_ : numpy.ndarray, float64 (n,)
        IoU of every item.
    overlaps_ : Overlaps
        IoU, Dice, precision, recall and areas of every item.
    layer_ : Layer
        Name and output shape; `layer_name_` is the name alone.
    cv_score_ : float
        Cross-validated R² of the surface, which is learned when it is first asked for; NaN if there are too few items.
    estimator_ : Estimator
        What `estimate` has learned.
    clusters_ : tuple of Cluster
        After `cluster`; `labels_` has the cluster of each item, `clustering_` how they were found.
    items_ : numpy.ndarray, int64 (n,)
        Index of each item in the data set: not 0 to n - 1 where some were skipped.
    skipped_ : dict of int to str
        Items that were left out, and why.
    dataset_ : Dataset or None
        The data set; None for a space that was loaded without it.

    Notes
    -----
    A fit compares the model's output for an image alone with that for the same image in a batch. Where they differ
    beyond rounding, it warns and runs the images one at a time.

    Principal components are computed from batches of the activations, which need not fit in memory, as `Projection`
    says.

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
        display: Display | Bands | None = None,
        device: torch.device | str | None = None,
        target: int | None = None,
        threshold: float | None = None,
        batch_size: int | None = None,
        layout: Layout = "auto",
    ) -> None:
        least = {"n_components": 2, "grid": 1, "n_cluster_components": 1, "thumbnail": 1}
        given = {
            "n_components": n_components,
            "grid": grid,
            "n_cluster_components": n_cluster_components,
            "thumbnail": thumbnail,
        }
        for name, value in given.items():
            check_whole(name, value, least[name])
        if not isinstance(iou_empty, (int, float)) or not (np.isnan(iou_empty) or 0 <= iou_empty <= 1):
            raise ValueError(f"iou_empty must be in [0, 1] or NaN, got {brief(iou_empty)}")
        check_whole("random_state", random_state, 0)
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
        self.layout = check_choice("layout", layout, Layout)
        self.n_components = int(n_components)
        self.iou_empty = float(iou_empty)
        self.random_state = int(random_state)
        self.grid = int(grid)
        self.n_cluster_components = int(n_cluster_components)
        self.thumbnail = int(thumbnail)
        self.display = Display.wrap(display)

    def __repr__(self) -> str:
        if self._fitted is None:
            return f"LatentSpace(layer={self.layer!r}, pool={self.pool!r}), not fitted"
        part = self.explained_variance_ratio_[:2].sum()
        source = f"with {self.layer_}" if self.layer_.given else f"at {self.layer_}, pool={self.pool!r}"
        skipped = f" ({len(self.skipped_)} skipped)" if self.skipped_ else ""
        missing = f"; no confidences: {reason}" if (reason := self.collection_.no_confidences) else ""
        items = quantity(len(self), "item")
        said = f"{items}{skipped} {source}; two components explain {part:.0%} of the variance{missing}"
        return f"LatentSpace of {said}{self._map('estimator_').skill_note}"

    def snapshot(self) -> LatentSpace:
        """The space as it is now: a later `fit` or `cluster` of either does not change the other.

        Returns
        -------
        LatentSpace
            It shares the model and the arrays, which never change: nothing is copied.
        """
        return copy.copy(self)

    # -- fitting ----------------------------------------------------------------------------------

    @classmethod
    @advise_on_keywords
    def from_features(
        cls,
        features: Tensor | NDArray[Any],
        dataset: Dataset,
        predictions: Tensor | NDArray[Any] | Sequence[Any],
        n_components: int = 2,
        iou_empty: float = 0.0,
        random_state: int = 0,
        *,
        n_cluster_components: int = 10,
        thumbnail: int = 48,
        display: Display | Bands | None = None,
        image: Field | None = None,
        mask: Field | None = None,
        columns: Columns | None = None,
        ignore: Ignore | None = None,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        progress: bool = True,
        probabilities: Tensor | NDArray[Any] | Sequence[Any] | None = None,
    ) -> LatentSpace:
        """Make the map from features of your own, for a model whose layers cannot be seen.

        Parameters
        ----------
        features : torch.Tensor or numpy.ndarray, float (n, d)
            One vector per item of the data set.
        dataset : Dataset
            As for `fit`: n items with image and mask.
        predictions : torch.Tensor, numpy.ndarray or sequence of those (n, H, W)
            The masks that the model predicts, nonzero = segment.
        n_components, iou_empty, random_state, n_cluster_components, thumbnail, display
            As for the constructor.
        image, mask, columns, ignore, num_workers, on_error, progress
            As for `fit`.
        probabilities : torch.Tensor, numpy.ndarray or sequence of those (n, H, W), optional
            The segment's, in [0, 1]: for confidences, label quality and `suspects`.

        Returns
        -------
        LatentSpace
            A fitted space without a model: it takes no new images, as in `transform`, `locate` and `estimate`.

        Raises
        ------
        CollectionError
            A ValueError that names the item that cannot be used.
        ValueError, TypeError
            If there are not as many features and predictions as items, or an argument is wrong.

        Examples
        --------
        >>> import torch
        >>> import hdm_widgets as hw
        >>> model, scenes = hw.demo.aerial(32)
        >>> images = torch.stack([scenes[i][0] for i in range(32)])
        >>> masks = hw.Segmenter(model).masks(images)
        >>> space = hw.LatentSpace.from_features(images.mean((2, 3)), scenes, masks, progress=False)
        >>> space.embedding_.shape
        (32, 2)
        """
        space = cls(
            None,
            n_components=n_components,
            iou_empty=iou_empty,
            random_state=random_state,
            n_cluster_components=n_cluster_components,
            thumbnail=thumbnail,
            display=display,
        )
        collection = collect_features(
            features,
            dataset,
            predictions,
            probabilities,
            thumbnail=space.thumbnail,
            display=space.display,
            columns=columns,
            ignore=ignore,
            num_workers=num_workers,
            on_error=on_error,
            progress=progress,
            fields=Fields(image, mask),
            least=space.n_components,
        )
        return space.fit_collected(collection, dataset, progress=progress)

    @advise_on_keywords
    def fit(
        self,
        dataset: Dataset | Sequence[Any],
        image: Field | None = None,
        mask: Field | None = None,
        ignore: Ignore | None = None,
        *,
        columns: Columns | None = None,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        progress: bool = True,
        store: str | os.PathLike[str] | None = None,
        client: Client | None = None,
    ) -> LatentSpace:
        """Run the model once on every item of a data set and make the map.

        Parameters
        ----------
        dataset : Dataset
            Anything with `len` and `[i] -> (image, mask)`, or a mapping with `"image"` and `"mask"`: images of a
            floating type, (C, H, W) or (H, W), all of one size (for a Segmenter with `preprocess` of any real type,
            also (H, W, C) and Pillow images); masks (H, W), nonzero = segment: bool, whole numbers, or floats that are
            0 and 1. A pair of stacked arrays, (N, C, H, W) and (N, H, W), serves too. Texts, numbers and dates beside
            them in an item, and a `columns` attribute of the data set, become columns of the space; a `Subset` or
            `ConcatDataset` has those of the data sets within it.
        image, mask : str, int or callable, optional
            Where the image and the mask of an item are, if they are elsewhere: a key, a position, or a function of the
            item.
        ignore : number or array of bool (H, W), optional
            Pixels that do not count in IoU, areas and all other scores: the value that marks them in the masks, such as
            255, or one mask for all items. Masked pixels of numpy masked arrays are ignored without it.
        columns : mapping of str to sequence, optional
            More columns, one entry per item; a DataFrame or a Series serves.
        num_workers : int
            Processes that read the data set. With 0, a thread of this one reads ahead of the model, if an item takes
            longer than a millisecond; what fails there is read once more.
        on_error : {"raise", "skip"}
            At an item that cannot be used: stop there, or leave it out and go on; a warning says how many were
            left out, and `skipped_` tells which and why.
        progress : bool
            Show a tqdm bar with the time left.
        store : str or os.PathLike, optional
            Where to keep what is collected, as it is collected: a folder, or any address of fsspec, such as
            `"s3://bucket/name"`. A fit that was ended goes on there, one of a data set with more items runs the new
            ones only, and `open` reads the space. It needs the extra `scale`.
        client : distributed.Client, optional
            Of a Dask cluster whose workers collect the items, and write to the store: all must see it under the address
            given. Model and data set are pickled. The map itself is made in this process.

        Returns
        -------
        LatentSpace
            self

        Raises
        ------
        CollectionError
            A ValueError that names the item. What was collected before it is its `collection`, and
            `fit_collected` makes a map of that; with a store it is there. Also where worker processes stop, and where
            shards failed three times on the workers of a cluster: all others are in the store then. After an interrupt
            it is a `InterruptedCollectionError`, which is a KeyboardInterrupt too.
        StoreError
            A ValueError: the store is of another model, layer, data set or setting, another fit writes to it, or it
            cannot be written.
        ClusterError
            A RuntimeError: a worker of the cluster does not see the store, or cannot load the model or the data set, or
            the cluster was closed.
        ValueError, TypeError
            If there are fewer items than components, the activations are all the same, model or data set cannot be
            pickled for a cluster, or an argument is wrong.
        """
        if client is not None:
            client = check_client(client, num_workers)
            if store is None:
                raise ValueError("client= needs store=: workers write what they collect to a store that all see")
        collector = self._collector()
        check_choice("on_error", on_error, ("raise", "skip"))
        fields, dataset = Fields(image, mask), as_dataset(dataset)
        self._check_count(len(dataset), "the data set has")

        def collect(new_builder: NewBuilder = CollectionBuilder, run: RunPass = ItemPass.run) -> Collection:
            return collector.collect(
                dataset,
                columns=columns,
                ignore=ignore,
                num_workers=num_workers,
                on_error=on_error,
                progress=progress,
                fields=fields,
                new_builder=new_builder,
                run=run,
            )

        if store is None:
            return self.fit_collected(collect(), dataset, progress=progress)
        with StoreSession(store, collector, dataset, fields, ignore, progress=progress) as session:
            run = ItemPass.run if client is None else ClusterRun(client, session.writer, session.check_lock).run
            self.fit_collected(collect(session.builder, run), dataset, progress=progress)
            fitted = self._map("embedding_")
            with kept_if_interrupted(fitted.collection):
                session.save_map(fitted, self._settings())
        return self

    def fit_collected(
        self, collection: Collection, dataset: Dataset | None = None, *, progress: bool = False
    ) -> LatentSpace:
        """Make the map of what was collected, for instance before an error.

        Parameters
        ----------
        collection : Collection
            What a pass over a data set collected.
        dataset : Dataset, optional
            That data set, for full images; else there are thumbnails.
        progress : bool
            Show a tqdm bar where the principal components take longer than a second.

        Returns
        -------
        LatentSpace
            self
        """
        count = len(check_collection(collection))
        self._check_count(count, "got")
        if dataset is not None:
            dataset = as_dataset(dataset)
        width = collection.features.shape[1]
        check_width(width, self.n_components)
        kept = min(max(self.n_components, self.n_cluster_components), count - 1, width)
        with kept_if_interrupted(collection):
            projection = Projection.fit(collection.features, kept, random_state=self.random_state, progress=progress)
            self._fitted = FittedState(
                self._mapped(
                    collection, projection.without_rounding(), dataset, model=self._fingerprint(), progress=progress
                )
            )
        return self

    def _check_count(self, count: int, came: str) -> None:
        least = self.n_components
        if count <= least:
            raise ValueError(f"{least} components need more than {least} items, {came} {count}")
