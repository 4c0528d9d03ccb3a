"""New images on the map of a fitted latent space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from hdm_widgets._validation import warn_user
from hdm_widgets.latent.activations import Pool, find_module, network_of
from hdm_widgets.latent.collector import Collector
from hdm_widgets.latent.items import check_images
from hdm_widgets.latent.layouts import Layout
from hdm_widgets.latent.neighbors import nearest
from hdm_widgets.latent.space_items import SpaceWithItems
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["Location", "SpaceWithModel"]


@dataclass(frozen=True, eq=False)
class Location:
    """Where new images fall on the map.

    Attributes
    ----------
    embedding : numpy.ndarray, float64 (n, n_components)
        Their coordinates.
    iou : numpy.ndarray, float64 (n,)
        IoU expected at these coordinates; NaN if no item of the space has an IoU.
    distance : numpy.ndarray, float64 (n,)
        Distance of an image's activations to those of the nearest item, scaled so that 95 % of the items are nearer
        than 1 to another item. Far above 1 the image is unlike the data, and its coordinates and the IoU expected
        there mean little.
    nearest : numpy.ndarray, int64 (n,)
        Position of the nearest item.
    """

    embedding: NDArray[np.float64]
    iou: NDArray[np.float64]
    distance: NDArray[np.float64]
    nearest: NDArray[np.int64]


class SpaceWithModel(SpaceWithItems):
    """The part of a LatentSpace that runs its model, on new images or a data set."""

    layer: nn.Module | str
    pool: Pool
    grid: int
    thumbnail: int
    n_components: int
    layout: Layout

    def needed_segmenter(self) -> Segmenter:
        """The segmenter around the space's model.

        Raises
        ------
        ValueError
            If the space has no model.
        """
        if self.segmenter is not None:
            return self.segmenter
        if self._fitted is not None and self.layer_.given:
            raise ValueError("this space was made of features, by LatentSpace.from_features, and has no model")
        raise ValueError("this space was loaded without its model; LatentSpace.load(path, model=...) takes it")

    def _collector(self) -> Collector:
        return Collector(
            self.needed_segmenter(),
            self.layer,
            self.pool,
            self.grid,
            self.thumbnail,
            self.n_components,
            layout=self.layout,
            display=self.display,
        )

    def transform(self, images: Tensor | NDArray[Any]) -> NDArray[np.float64]:
        """Coordinates of new images on the map.

        Parameters
        ----------
        images : torch.Tensor or numpy.ndarray (N, C, H, W)
            Scaled as the model expects it.

        Returns
        -------
        numpy.ndarray, float64 (N, n_components)
        """
        return self._embedded(self._features(images))

    def predict_iou(self, images: Tensor | NDArray[Any]) -> NDArray[np.float64]:
        """Expected IoU of new images, from their coordinates on the map.

        `locate` also says how far an image is from the data, and so whether to trust it.

        Parameters
        ----------
        images : torch.Tensor or numpy.ndarray (N, C, H, W)
            Scaled as the model expects it.

        Returns
        -------
        numpy.ndarray, float64 (N,)
        """
        return self.locate(images).iou

    def locate(self, images: Tensor | NDArray[Any]) -> Location:
        """Where new images fall on the map, what IoU is expected there, and how far they are from the data.

        Parameters
        ----------
        images : torch.Tensor or numpy.ndarray (N, C, H, W)
            Scaled as the model expects it.

        Returns
        -------
        Location
        """
        found = self._map("embedding_")
        features = self._features(images)
        embedding = self._embedded(features)
        expected = np.full(len(features), np.nan)
        if found.regressor is not None:
            expected = found.regressor.predict(embedding[:, :2])
        closest, distances = nearest(found.collection.features, features, 1)
        return Location(embedding, expected, distances[:, 0] / found.distance_scale, closest[:, 0])

    def _embedded(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        found = self._map("embedding_")
        return found.projection.transform(features)[:, : found.n_components]

    def _features(self, images: Tensor | NDArray[Any]) -> NDArray[np.float32]:
        given = check_images(
            images, self.collection_.image_shape, same_size=self.pool == "flatten", preprocess=self._takes_any_values
        )
        features = self._collector().features(given, self.layer_)
        width = self.collection_.features.shape[1]
        if features.shape[1] != width:
            raise ValueError(f"layer and pool give {features.shape[1]} features, the space was made with {width}")
        return features

    def _check_model(self) -> None:
        """Warn if the model or the data set that a space is loaded with is visibly not the one it was made with."""
        if self.segmenter is not None:
            find_module(network_of(self.segmenter), self.layer_name_)
        if self.dataset_ is None or not self._check_dataset(self.dataset_) or self.segmenter is None:
            return
        features = self._features(self.item(0).image[None])[0]
        stored = self.collection_.features[0]
        if not np.allclose(features, stored, rtol=1e-2, atol=1e-3 * float(np.abs(stored).max())):
            warn_user(
                "the model gives other activations for item 0 than the space holds: it is not the model that the space "
                "was made with"
            )
