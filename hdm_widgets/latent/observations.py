"""New data as a model sees it: what one pass over it has found, with true masks or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._bitmasks import PackedMasks
from hdm_widgets._datasets import Dataset, as_dataset, is_image
from hdm_widgets.latent.collection import Collection
from hdm_widgets.latent.scores import Overlaps

__all__ = ["Observations", "new_items"]


@dataclass(frozen=True, eq=False)
class Observations:
    """What a pass over new data has found.

    Attributes
    ----------
    collection : Collection
        All of it: also `predictions`, `thumbnails`, `items` and `columns`, as for the data of a map. An item without a
        true mask has an empty one, and its predicted pixels as `fp`.
    dataset : Dataset or None
        The data, for full images.
    """

    collection: Collection
    dataset: Dataset | None = None

    def __len__(self) -> int:
        return len(self.collection)

    @property
    def features(self) -> NDArray[np.float32]:
        """Pooled activations, float32 (n, d)."""
        return self.collection.features

    @property
    def confidences(self) -> dict[str, NDArray[np.float64]]:
        """How confident the model is in each prediction, float64 (n,) by name; empty if that is not known."""
        return self.collection.confidences

    @property
    def items(self) -> NDArray[np.int64]:
        """Index of each item in the data, int64 (n,)."""
        return self.collection.items

    @property
    def predictions(self) -> PackedMasks:
        """Predicted masks, one bit per pixel."""
        return self.collection.predictions

    @property
    def predicted_area(self) -> NDArray[np.int64]:
        """Predicted pixels that count, int64 (n,)."""
        return self.collection.tp + self.collection.fp

    @property
    def thumbnails(self) -> NDArray[np.uint8]:
        """Small pictures of the images, uint8 (n, h, w, 3)."""
        return self.collection.thumbnails

    @property
    def labeled(self) -> NDArray[np.bool_]:
        """Which items have a true mask, bool (n,)."""
        labeled = self.collection.labeled
        return np.ones(len(self), bool) if labeled is None else labeled

    @property
    def truths(self) -> PackedMasks | None:
        """True masks, one bit per pixel; None if no item has one."""
        return self.collection.truths if self.labeled.any() else None

    def iou(self, iou_empty: float = 0.0) -> NDArray[np.float64] | None:
        """True IoU of every item.

        Parameters
        ----------
        iou_empty : float
            IoU of an item whose truth and prediction are both empty.

        Returns
        -------
        numpy.ndarray, float64 (n,), or None
            NaN for an item without a true mask; None if no item has one.
        """
        if self.truths is None:
            return None
        found = self.collection
        return np.where(self.labeled, Overlaps(found.tp, found.fn, found.fp, iou_empty).iou, np.nan)


def new_items(data: Dataset | Tensor | NDArray[Any] | Sequence[Any], channels: int) -> tuple[Dataset, bool]:
    """New data as a data set, and whether its items are images alone.

    Parameters
    ----------
    data : Dataset, torch.Tensor or numpy.ndarray (N, C, H, W), or list of images
    channels : int
        Of one image.

    Returns
    -------
    tuple of Dataset and bool

    Raises
    ------
    ValueError, TypeError
        If it is nothing of the kind.
    """
    if isinstance(data, (Tensor, np.ndarray)):
        if data.ndim != 4 or not len(data):
            raise ValueError(f"images must be (N, {channels}, H, W), got shape {tuple(data.shape)}")
        return data, True
    if isinstance(data, list) and data and all(map(is_image, data)) and not _is_stacked_pair(data, channels):
        return data, True
    return as_dataset(data), False


def _is_stacked_pair(data: list[Any], channels: int) -> bool:
    """Whether a list of arrays is rather one of images (N, ...) and one of their masks."""
    if len(data) != 2 or not all(hasattr(part, "shape") for part in data):
        return False
    shape = tuple(data[0].shape)
    return len(shape) == 4 or (len(shape) == 3 and channels not in (shape[0], shape[-1]))
