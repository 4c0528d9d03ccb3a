"""A collection from features and predictions that were made elsewhere, for models without layers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from hdm_widgets._datasets import Dataset, Fields, as_dataset
from hdm_widgets._masks import Ignore, check_ignore, read_mask, to_array
from hdm_widgets._picture import Display
from hdm_widgets._validation import check_choice
from hdm_widgets.latent.activations import Layer
from hdm_widgets.latent.batches import row_batches
from hdm_widgets.latent.collection import Collection, CollectionBuilder, CollectionError
from hdm_widgets.latent.collector import MEMORY_LIMIT
from hdm_widgets.latent.confidences import confidence_columns
from hdm_widgets.latent.data_columns import Columns, check_columns, dataset_columns
from hdm_widgets.latent.items import (
    Item,
    counted_pixels,
    read_item,
    read_items,
    warn_of_ambiguity,
)
from hdm_widgets.latent.label_quality import block_size, encoded_log_odds, label_quality
from hdm_widgets.latent.thumbnails import ThumbnailMaker

__all__ = ["collect_features"]

# Items that are packed at a time.
_BATCH = 64


def collect_features(
    features: Tensor | NDArray[Any],
    dataset: Dataset,
    predictions: Tensor | NDArray[Any] | Sequence[Any],
    probabilities: Tensor | NDArray[Any] | Sequence[Any] | None = None,
    *,
    thumbnail: int,
    display: Display,
    columns: Columns | None = None,
    ignore: Ignore | None = None,
    num_workers: int = 0,
    on_error: Literal["raise", "skip"] = "raise",
    progress: bool = True,
    fields: Fields | None = None,
    least: int = 1,
) -> Collection:
    """Read a data set once, and put given features and masks beside its items.

    See `LatentSpace.from_features` for the parameters; `least` is the number of columns that its components need.

    Raises
    ------
    CollectionError
        At the first item that cannot be used; with `on_error="skip"` only if none can.
    ValueError, TypeError
        If features, predictions and data set do not belong together.
    """
    check_choice("on_error", on_error, ("raise", "skip"))
    if ignore is not None:
        check_ignore(ignore)
    dataset = as_dataset(dataset)
    length = len(dataset)
    vectors = _checked_features(features, length, least)
    _check_length("predictions", "mask", predictions, length)
    if probabilities is not None:
        _check_length("probabilities", "map", probabilities, length)
    tables = {**dataset_columns(dataset), **check_columns(columns, length)}
    reading: dict[str, Any] = {"fields": fields, "ignore": ignore, "preprocess": True}  # images are only shown
    at, first = _first(dataset, on_error, reading)
    display.check(len(first.image))
    layer = Layer("features", (vectors.shape[1],), given=True)
    thumbnails = ThumbnailMaker.for_size(first.mask.shape, thumbnail, display)
    builder = CollectionBuilder(
        length,
        layer,
        first.image.shape,
        thumbnails,
        MEMORY_LIMIT,
        fields=fields,
        ignore=ignore,
        no_confidences="the masks were given without probabilities"
        if probabilities is None
        else "the probabilities that were given are 0 and 1 only",
    )
    measurer = None if probabilities is None else _Measurer(ignore)
    builder.values = "" if probabilities is None else "probabilities"
    waiting: list[tuple[int, Item, NDArray[np.bool_], NDArray[np.float32] | None]] = []

    def add_waiting() -> None:
        if waiting:
            masks = np.stack([mask for _, _, mask, _ in waiting])
            # The truths have no ignored pixel.
            truths = np.stack([item.mask for _, item, *_ in waiting])
            counts = counted_pixels(item for _, item, *_ in waiting)
            counted = masks & counts
            maps = [one for *_, one in waiting if one is not None]
            measured = {} if measurer is None else measurer.measure(np.stack(maps), masks, truths, counts)
            builder.add(
                [(index, item) for index, item, *_ in waiting],
                features=vectors[[index for index, *_ in waiting]].astype(np.float32),
                images=torch.stack([item.image for _, item, *_ in waiting]),
                truths=truths,
                predictions=masks,
                counts=np.stack(
                    [part.sum((1, 2)) for part in (counted & truths, truths & ~counted, counted & ~truths)]
                ),
                **{"confidences": {}, **measured},
            )
            waiting.clear()

    items = read_items(dataset, first.mask.shape, num_workers, **reading)
    with builder.keeping(tables, add_waiting), closing(items):
        checked = builder.compared(warn_of_ambiguity(items, ignore), at, first)
        for index, item in tqdm(checked, total=length, disable=not progress, unit="item", desc="reading the data set"):
            try:
                if isinstance(item, Exception):
                    raise item
                size = item.mask.shape
                map_ = None if probabilities is None else _checked_probabilities(probabilities[index], index, size)
                waiting.append((index, item, _checked_mask(predictions[index], index, size), map_))
            except (ValueError, TypeError) as error:
                add_waiting()
                builder.stop_or_skip(index, error, tables, on_error)
            if len(waiting) == _BATCH:
                add_waiting()
        add_waiting()
    if measurer is not None:
        measurer.check()
    return builder.build_some(tables)


class _Measurer:
    """Confidences, label quality and small maps from probabilities that were given.

    Parameters
    ----------
    ignore : number or array of bool, optional
        As for `LatentSpace.fit`. What only a truth ignores counts for confidences.
    """

    def __init__(self, ignore: Ignore | None) -> None:
        excluded = read_mask(ignore).mask if isinstance(ignore, (Tensor, np.ndarray)) else None
        self._counted = None if excluded is None else torch.from_numpy(~excluded)
        # Sum of the probabilities, and number of pixels, outside and inside the predicted masks.
        self._sums, self._pixels = np.zeros(2), np.zeros(2)

    def measure(
        self,
        probabilities: NDArray[np.float32],
        masks: NDArray[np.bool_],
        truths: NDArray[np.bool_],
        counts: NDArray[np.bool_],
    ) -> dict[str, Any]:
        """What `CollectionBuilder.add` takes, for arrays (n, H, W)."""
        for place, part in enumerate((~masks, masks)):
            self._sums[place] += probabilities.sum(where=part, dtype=np.float64)
            self._pixels[place] += part.sum()
        maps = torch.from_numpy(probabilities)
        return {
            "confidences": confidence_columns(maps, torch.from_numpy(masks), self._counted),
            "label_quality": label_quality(maps, torch.from_numpy(truths), torch.from_numpy(counts)),
            "probability_maps": encoded_log_odds(maps, block_size(maps.shape[1:])),
        }

    def check(self) -> None:
        """Raise a ValueError if the probabilities cannot be those of the predictions."""
        if not self._pixels.all():
            return
        outside, inside = self._sums / self._pixels
        if inside < outside:
            raise ValueError(
                "probabilities and predictions do not belong together: the mean probability is "
                f"{inside:.2g} inside the predicted masks and {outside:.2g} outside; the probabilities must be those "
                "of the segment, in the order of the data set"
            )


def _check_length(name: str, kind: str, given: object, length: int) -> None:
    """Refuse what is not one mask or map per item."""
    if not hasattr(given, "__len__") or len(given) != length:
        found = len(given) if hasattr(given, "__len__") else type(given).__name__
        raise ValueError(f"{name} must be one {kind} per item of the data set, {length}, got {found}")


def _first(dataset: Dataset, on_error: str, reading: dict[str, Any]) -> tuple[int, Item]:
    """The first item that can be used, whose size is that of all, with its index."""
    message = ""
    for index in range(len(dataset)):
        try:
            return index, read_item(dataset, index, **reading)
        except (ValueError, TypeError) as error:
            message = str(error)
            if on_error == "raise":
                raise CollectionError(message, index, None) from error
    raise CollectionError(f"no item could be used; the last: {message}", len(dataset) - 1, None)


def _checked_features(features: object, length: int, least: int) -> NDArray[Any]:
    """Features as an array (n, d) of a floating type."""
    given = features.detach().cpu() if isinstance(features, Tensor) else features
    if isinstance(given, Tensor):
        given = (given.float() if given.dtype == torch.bfloat16 else given).numpy()
    if not isinstance(given, np.ndarray):
        raise TypeError(f"features must be a torch tensor or a numpy array, got {type(features).__name__}")
    if given.dtype.kind != "f":
        raise TypeError(f"features must be of a floating type, got {given.dtype}")
    if given.ndim != 2 or len(given) != length:
        advice = "; pool maps first, features.mean((2, 3)) for the mean of each channel" if given.ndim == 4 else ""
        raise ValueError(
            f"features must be ({length}, d), one row per item of the data set, got shape {given.shape}{advice}"
        )
    if given.shape[1] < least:
        raise ValueError(f"{least} components need features of at least {least} columns, got shape {given.shape}")
    constant = True
    for rows in row_batches(*given.shape):
        constant = constant and bool((given[rows] == given[0]).all())
        finite = np.isfinite(given[rows]).all(axis=1)
        if not finite.all():
            raise ValueError(f"the features of item {rows.start + int(finite.argmin())} have NaN or infinity")
    if constant and length > 1:
        raise ValueError(f"the features of all {length} items are the same: there is nothing to tell them apart by")
    return given


def _checked_mask(prediction: object, index: int, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """The predicted mask of an item as bool (H, W)."""
    mask = prediction.detach().cpu().numpy() if isinstance(prediction, Tensor) else np.asarray(prediction)
    if mask.shape != size:
        one_more = mask.ndim == 3 and mask.shape[1:] == size
        advice = ""
        if one_more and len(mask) == 1:
            advice = "; write predictions[:, 0]"
        elif one_more:
            advice = "; of one map for each class write predictions.argmax(1) == number"
        raise ValueError(
            f"item {index}: its prediction must be a mask of the image's size {size}, got shape {mask.shape}{advice}"
        )
    segment: NDArray[np.bool_] = mask != 0
    if mask.dtype.kind not in "buif" or (segment.any() and not (mask[segment] == mask[segment][0]).all()):
        raise ValueError(
            f"item {index}: its prediction must be a mask, nonzero = segment, got {mask.dtype} with several values "
            "besides 0; give predictions > 0.5 of probabilities, and predictions == number for one class of a label map"
        )
    return segment


def _checked_probabilities(given: object, index: int, size: tuple[int, ...]) -> NDArray[np.float32]:
    """The probabilities of an item as float32 (H, W)."""
    values, _ = to_array(given)  # type: ignore[arg-type]  # anything that makes an array
    if values.shape != size:
        advice = ""
        if values.ndim == 3 and values.shape[1:] == size:
            advice = f"; write probabilities[:, {0 if len(values) == 1 else 'target'}]"
        raise ValueError(
            f"item {index}: its probabilities must be a map of the image's size {size}, got shape {values.shape}"
            + advice
        )
    if values.dtype.kind != "f":
        raise ValueError(f"item {index}: its probabilities must be of a floating type, got {values.dtype}")
    if not np.isfinite(values).all():
        raise ValueError(f"item {index}: its probabilities have NaN or infinity")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ValueError(
            f"item {index}: its probabilities must be in [0, 1], got {low:.3g} to {high:.3g}; of logits take the "
            "sigmoid, or the softmax over the classes"
        )
    return values.astype(np.float32)
