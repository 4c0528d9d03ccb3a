"""New images on the map of a fitted latent space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from hdm_widgets._cluster import check_client
from hdm_widgets._datasets import Dataset, Field
from hdm_widgets._masks import Ignore
from hdm_widgets._validation import warn_user
from hdm_widgets.latent.activations import Pool, find_module, network_of
from hdm_widgets.latent.batches import Progress
from hdm_widgets.latent.collector import Collector
from hdm_widgets.latent.estimates import Estimates, check_coverage
from hdm_widgets.latent.footprints import Footprints
from hdm_widgets.latent.items import check_images
from hdm_widgets.latent.layouts import Layout
from hdm_widgets.latent.mean_intervals import find_clusters
from hdm_widgets.latent.neighbors import nearest
from hdm_widgets.latent.space_items import SpaceWithItems
from hdm_widgets.models.fingerprint import content_fingerprint
from hdm_widgets.models.modules import unwrapped
from hdm_widgets.models.segmenter import Segmenter

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Location", "SpaceWithModel"]


@dataclass(frozen=True, eq=False)
class Location:
    """Where new images fall on the map.

    Attributes
    ----------
    embedding : numpy.ndarray, float64 (n, n_components)
        Their coordinates.
    iou : numpy.ndarray, float64 (n,)
        IoU of the surface at these coordinates, a picture of the map: `estimate` gives the one to expect of the image.
        NaN if no item of the space has an IoU.
    distance : numpy.ndarray, float64 (n,)
        Distance of an image's activations to those of the nearest item, scaled so that 95 % of the items are nearer
        than 1 to another item. Far above 1 the image is unlike the data, and its coordinates mean little. Below 1 it
        may be unlike the data all the same: images on which the model is blind move to the middle of the map.
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
    _restored_by: Literal["load", "open"] = "load"

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
        if self._restored_by == "open":
            raise ValueError("this space was opened without its model; LatentSpace.open(store, model=...) takes it")
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
        """Expected IoU of new images: the `iou` of `estimate`, which also gives intervals and says what they are worth.

        Parameters
        ----------
        images : torch.Tensor or numpy.ndarray (N, C, H, W)
            Scaled as the model expects it.

        Returns
        -------
        numpy.ndarray, float64 (N,)
            NaN if no item of the space has an IoU.
        """
        given = self._checked(images)
        if not np.isfinite(self._map("iou_").iou).any():
            return np.full(len(given), np.nan)
        return self.estimate(given, progress=False).iou

    def estimate(
        self,
        data: Dataset | Tensor | NDArray[Any] | Sequence[Any],
        coverage: float = 0.9,
        *,
        image: Field | None = None,
        mask: Field | None = None,
        ignore: Ignore | None = None,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        progress: Progress = True,
        client: Client | None = None,
    ) -> Estimates:
        """Run the model on new data, and say what IoU to expect and whether the data is like that of the map.

        Parameters
        ----------
        data : Dataset, torch.Tensor or numpy.ndarray (N, C, H, W), or list of images
            New data, with true masks or without; they are not looked at.
        coverage : float
            Probability that an item's interval covers its IoU, above 0 and below 1.
        image, mask : str, int or callable, optional
            Where the image and the mask of an item are; as in the data of the map by default.
        ignore : number or array of bool (H, W), optional
            Pixels that do not count.
        num_workers, on_error
            As for `fit`.
        progress : bool or callable
            Show a bar; or a function (done, total) that is called after every batch. An error of it ends the pass.
        client : distributed.Client, optional
            Of a Dask cluster whose workers run the model on the items, which they read themselves. Model and data are
            pickled and go to each worker once; a data set that reads files is small, images in memory are not. The
            estimates are those without a client.

        Returns
        -------
        Estimates

        Raises
        ------
        CollectionError
            At the first item that cannot be used; with `on_error="skip"` only if none can. With a client, an item is
            tried three times.
        ClusterError
            A RuntimeError: a worker of the cluster cannot load the model or the data, or the cluster was closed.
        ValueError, TypeError
            If no item of the space has an IoU, the space was saved before confidences were kept, model or data cannot
            be pickled for a cluster, or an argument is wrong.

        Notes
        -----
        `Estimator` says how the expected IoU is found, `Shift` how the data are compared. The same images give the same
        estimates whatever the size of the batches.

        Examples
        --------
        >>> import hdm_widgets as hw
        >>> model, scenes = hw.demo.aerial(200)
        >>> space = hw.LatentSpace(model).fit(scenes, progress=False)
        >>> found = space.estimate(hw.data.AerialScenes(40, seed=5), progress=False)
        >>> found.iou.shape, found.shift.shifted
        ((40,), False)
        """
        check_coverage(coverage)
        if client is not None:
            client = check_client(client, num_workers)
        found, collector = self._map("embedding_"), self._collector()
        estimator = found.estimator
        observed = collector.observe(
            data,
            found.collection,
            image=image,
            mask=mask,
            ignore=ignore,
            num_workers=num_workers,
            on_error=on_error,
            progress=progress,
            client=client,
        )
        self._check_width(observed.features)
        missing = set(found.collection.confidences) - set(observed.confidences)
        if missing:
            raise ValueError(f"the space has confidences and the model gives none now: {sorted(missing)[0]} is missing")
        footprints = Footprints.from_dataset(data)
        components = found.projection.transform(observed.features)
        estimate = estimator.estimate(components, observed.confidences, observed.predicted_area, coverage)
        return Estimates.from_parts(
            estimator,
            estimate,
            found.compare(observed.features, observed.confidences),
            float(coverage),
            find_clusters(found.dependences, observed.collection.columns),
            footprints=None if footprints is None else footprints.at(observed.items),
            confidences={name: observed.confidences[name] for name in found.collection.confidences},
            embedding=components[:, : found.n_components],
            columns={"item": observed.items, **observed.collection.columns},
            observed=observed,
        )

    def locate(self, images: Tensor | NDArray[Any]) -> Location:
        """Where new images fall on the map, how far they are from the data, and the IoU of the items around.

        What to expect of the images themselves is `estimate`.

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

    def _checked(self, images: Tensor | NDArray[Any]) -> Tensor:
        return check_images(
            images, self.collection_.image_shape, same_size=self.pool == "flatten", preprocess=self._takes_any_values
        )

    def _features(self, images: Tensor | NDArray[Any]) -> NDArray[np.float32]:
        given = self._checked(images)
        features = self._collector().features(given, self.layer_)
        self._check_width(features)
        return features

    def _check_width(self, features: NDArray[np.float32]) -> None:
        width = self.collection_.features.shape[1]
        if features.shape[1] != width:
            raise ValueError(
                f"layer and pool give {features.shape[1]} features, the space was made with {width}: it is another "
                "model, layer or pool"
            )

    def _fingerprint(self) -> dict[str, str] | None:
        """The present model's, to tell another one later; None without a model, or if its weights have no bytes."""
        if self.segmenter is None:
            return None
        try:
            return content_fingerprint(unwrapped(network_of(self.segmenter)))
        except (RuntimeError, TypeError):  # as of tensors on the device "meta", or of a class that has no such view
            return None

    def _take_model(self, fingerprint: dict[str, str] | None = None) -> None:
        """Read the output of the model that a space is loaded with as the fit did.

        Warn if it or the data set is visibly not the one that the space was made with.

        Parameters
        ----------
        fingerprint : dict of str to str, optional
            Of the model that the space was made with, as `content_fingerprint` gives it.
        """
        if self.segmenter is not None:
            find_module(network_of(self.segmenter), self.layer_name_)
            self.segmenter.expect(self.collection_.values)
            if self.dataset_ is None and fingerprint is not None:
                now = self._fingerprint() or fingerprint
                differing = [name for name in ("weights", "structure") if now[name] != fingerprint[name]]
                if differing:
                    rest = "differs from that" if differing == ["structure"] else "differ from those"
                    _warn_of_another_model(f"the model's {' and '.join(differing)} {rest} of the fit")
        if self.dataset_ is None or not self._check_dataset(self.dataset_) or self.segmenter is None:
            return
        features = self._features(self.item(0).image[None])[0]
        stored = self.collection_.features[0]
        if not np.allclose(features, stored, rtol=1e-2, atol=1e-3 * float(np.abs(stored).max())):
            _warn_of_another_model("the model gives other activations for item 0 than the space holds")


def _warn_of_another_model(sign: str) -> None:
    warn_user(f"{sign}: it is not the model that the space was made with")
