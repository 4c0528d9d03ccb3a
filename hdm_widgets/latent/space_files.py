"""Latent spaces in files: saved folders, and stores that a fit has written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._datasets import Dataset, Field, as_dataset
from hdm_widgets._picture import Display
from hdm_widgets._validation import checks_simple_arguments
from hdm_widgets.latent import folder
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.fitted import FittedMap, FittedState
from hdm_widgets.latent.new_images import SpaceWithModel
from hdm_widgets.latent.projection import Projection
from hdm_widgets.latent.store.clusters import write_clustering
from hdm_widgets.latent.store.contents import StoredCollection
from hdm_widgets.latent.store.opening import open_store
from hdm_widgets.latent.surface import Regressor
from hdm_widgets.models.segmenter import Model, Segmenter

__all__ = ["SpaceWithFiles"]

_SETTINGS = (
    "pool", "n_components", "iou_empty", "random_state", "grid", "n_cluster_components", "thumbnail", "layout",
)  # fmt: skip
_SEGMENTATION = ("target", "threshold")


class SpaceWithFiles(SpaceWithModel):
    """The part of a LatentSpace that writes it to files and reads it from there."""

    iou_empty: float
    random_state: int
    n_cluster_components: int

    if TYPE_CHECKING:

        def __init__(self, model: Model | None, **settings: Any) -> None: ...

    def _mapped(
        self,
        collection: Collection,
        projection: Projection,
        dataset: Dataset | None,
        regressor: Regressor | Literal["fit"] | None = "fit",
        coordinates: NDArray[np.float64] | None = None,
        model: dict[str, str] | None = None,
        progress: bool = False,
    ) -> FittedMap:
        if coordinates is None:
            coordinates = projection.transform(collection.features)
        return FittedMap(
            collection=collection,
            projection=projection,
            iou_empty=self.iou_empty,
            given_regressor=regressor,
            dataset=dataset,
            given_coordinates=coordinates,
            n_components=self.n_components,
            n_cluster_components=self.n_cluster_components,
            random_state=self.random_state,
            model=model,
            progress=progress,
        )

    def _settings(self) -> dict[str, Any]:
        """What a file holds of the arguments of the constructor."""
        settings = {name: getattr(self, name) for name in _SETTINGS}
        segmentation = {name: getattr(self.segmenter, name, None) for name in _SEGMENTATION}
        return {**settings, **segmentation, "display": asdict(self.display)}

    # -- files ------------------------------------------------------------------------------------

    @checks_simple_arguments
    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write the space to a folder; without one, its clusters to the store that holds everything else.

        It holds everything but the model and the images: activations, both masks of every item at one bit per
        pixel, thumbnails, columns, components, the IoU's network as arrays, clusters. Nothing is pickled. Of the
        model it holds a hash, by which `load` tells another one.

        Parameters
        ----------
        path : str or os.PathLike, optional
            The folder, which is made if it is not there. A space whose fit had a store needs none: its clusters are
            written there, or removed if it has none, and `open` reads them. Another fit with that store drops them.

        Raises
        ------
        TypeError
            If there is no path, and no store either.
        StoreError
            A ValueError: a fit writes to the store or has made another map of it meanwhile, or it cannot be written.
        """
        state = self._state("embedding_")
        if path is None:
            if not isinstance(state.map.collection, StoredCollection):
                raise TypeError("save needs the path of a folder: only a space whose fit had a store needs none")
            write_clustering(state.map.collection, state.clustering)
            return
        found = state.map
        stored = folder.Stored(
            self._settings(), found.collection, found.projection, found.regressor, state.clustering, model=found.model
        )
        folder.write(path, stored)

    @classmethod
    @checks_simple_arguments
    def load(
        cls,
        path: str | os.PathLike[str],
        model: Model | None = None,
        dataset: Dataset | Sequence[Any] | None = None,
        image: Field | None = None,
        mask: Field | None = None,
    ) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike
            The folder.
        model : torch.nn.Module or Segmenter, optional
            `transform`, `estimate`, `predict_iou` and `locate` need it. Its output is read as in the fit. Where it is
            visibly another model, a warning says so: with a data set its activations are compared, and without one
            hashes of its weights and its structure, which folders of older releases lack.
        dataset : Dataset, optional
            For full images; else there are thumbnails. Where it gives other images or masks than those that the space
            was made with, as in another order, a warning says so.
        image, mask : str, int or callable, optional
            As given to `fit` by default; functions must be given again.

        Returns
        -------
        LatentSpace

        Raises
        ------
        FileNotFoundError, ValueError
            If it is no such folder, the data set is too short for it, or it was made of features and takes no model.
        """
        return cls._restored(folder.read(path), model, dataset, image, mask)

    @classmethod
    @checks_simple_arguments
    def open(
        cls,
        store: str | os.PathLike[str],
        model: Model | None = None,
        dataset: Dataset | Sequence[Any] | None = None,
        image: Field | None = None,
        mask: Field | None = None,
    ) -> Self:
        """Open a space whose fit has kept everything in a store, `fit(..., store=...)`.

        Arrays and columns are read when they are first asked for, and rows of large arrays a few at a time.

        Parameters
        ----------
        store : str or os.PathLike
            A folder, or any address of fsspec.
        model, dataset, image, mask
            As for `load`.

        Returns
        -------
        LatentSpace

        Raises
        ------
        FileNotFoundError
            If there is no store.
        StoreError
            A ValueError: the fit has not ended, or a file is damaged. A damaged array is found when it is read.
        ValueError
            If the data set is too short for it.

        Examples
        --------
        >>> import hdm_widgets as hw
        >>> model, scenes = hw.demo.aerial(32)
        >>> space = hw.LatentSpace(model).fit(scenes, store="memory://scenes", progress=False)
        >>> hw.LatentSpace.open("memory://scenes").embedding_.shape
        (32, 2)
        """
        space = cls._restored(open_store(store), model, dataset, image, mask)
        space._restored_by = "open"
        return space

    @classmethod
    def _restored(
        cls,
        stored: folder.Stored,
        model: Model | None,
        dataset: Dataset | Sequence[Any] | None,
        image: Field | None,
        mask: Field | None,
    ) -> Self:
        if stored.collection.layer.given and model is not None:
            raise ValueError("this space was made of features, LatentSpace.from_features, and takes no model")
        settings, collection = stored.settings, stored.collection
        if model is None or isinstance(model, Segmenter):
            # A Segmenter has its own; without a model nothing is segmented.
            settings = {name: value for name, value in settings.items() if name not in _SEGMENTATION}
        settings["display"] = Display(**settings.get("display", {}))
        space = cls(model, **settings)
        if dataset is not None:
            dataset = as_dataset(dataset)
            if len(dataset) <= int(collection.items.max()):
                raise ValueError(
                    f"the space has items up to {int(collection.items.max())}, the data set has {len(dataset)} items"
                )
            collection = collection.with_fields(collection.fields.replaced(image, mask))
        space.layer = collection.layer.name
        space._fitted = FittedState(
            space._mapped(collection, stored.projection, dataset, stored.regressor, stored.coordinates, stored.model),
            stored.read_clustering or stored.clustering,
        )
        space._take_model(stored.model)
        return space
