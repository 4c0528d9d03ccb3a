"""The items of new data as the explorer shows them: beside those of the map, and numbered after them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._picture import to_rgb
from hdm_widgets._wire import bits, png
from hdm_widgets.latent.data_columns import merge_columns
from hdm_widgets.latent.estimates import Estimates
from hdm_widgets.latent.items import Item, read_item
from hdm_widgets.latent.observations import Observations
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.latent.titles import title
from hdm_widgets.widgets.latent.columns import value_text
from hdm_widgets.widgets.latent.palette import SCORES, Coloring, table_of

__all__ = ["NEW_SORTS", "TRUTH_SORTS", "NewItems", "smaller"]

NEW_SORTS = (
    "most doubtful first",
    "lowest expected IoU first",
    "highest expected IoU first",
    "widest interval first",
    "least like the map first",
    "in data set order",
)
# Of new data with true masks, too.
TRUTH_SORTS = ("lowest measured IoU first", "farthest from the expected IoU first")
_LONGEST = 320
_MOST_COLUMNS = 2  # of the data, beside a thumbnail

Keys = dict[str, Callable[[Estimates], NDArray[np.float64]]]
# What the items are sorted by, ascending.
_KEYS: Keys = {
    NEW_SORTS[0]: lambda found: -found.doubt,
    NEW_SORTS[1]: lambda found: found.iou,
    NEW_SORTS[2]: lambda found: -found.iou,
    NEW_SORTS[3]: lambda found: found.low - found.high,
    NEW_SORTS[4]: lambda found: -found.distance,
}


def smaller(mask: NDArray[np.bool_], longest: int) -> NDArray[np.bool_]:
    """A mask at every second, third ... pixel, so that no side is longer than this."""
    step = -(-max(mask.shape) // longest)
    return mask[step // 2 :: step, step // 2 :: step]


def _on_this_map(space: LatentSpace, observed: Observations, embedding: NDArray[np.float64]) -> bool:
    """Whether this map gives the observed features these coordinates, up to rounding."""
    projection = space.projection_
    if observed.features.shape[1:] != projection.components.shape[1:]:
        return False
    expected = projection.transform(observed.features)[:, : embedding.shape[1]]
    rounding = 1e-4 * np.abs(space.embedding_).max()
    return np.allclose(expected, embedding, rtol=1e-4, atol=rounding)


@dataclass(frozen=True, eq=False)
class NewItems:
    """New items, their estimates, and what they look like.

    Attributes
    ----------
    space : LatentSpace
        The map. On screen, new items are numbered after its own ones.
    estimates : Estimates
    observed : Observations
    """

    space: LatentSpace
    estimates: Estimates
    observed: Observations

    @classmethod
    def of(cls, space: LatentSpace, estimates: Estimates) -> NewItems:
        """New items on this map.

        Raises
        ------
        ValueError
            If the estimates are without images and predictions, or of another map.
        """
        if estimates.observed is None:
            raise ValueError(
                "these estimates have no images and predictions to show; give the data itself, or what "
                "space.estimate(data) returns"
            )
        if estimates.embedding.shape[1:] != space.embedding_.shape[1:]:
            raise ValueError(
                f"these estimates are of a map with {estimates.embedding.shape[1]} components, this one has "
                f"{space.embedding_.shape[1]}"
            )
        if not _on_this_map(space, estimates.observed, estimates.embedding):
            raise ValueError(
                "these estimates are of another map; use this space's estimate(data), or give the data itself"
            )
        return cls(space, estimates, estimates.observed)

    def __len__(self) -> int:
        return len(self.estimates)

    @property
    def coloring(self) -> Coloring:
        """The color of each expected IoU, as on the scale of the IoU."""
        table = table_of(SCORES)
        places = np.clip(np.nan_to_num(self.estimates.iou) * len(table), 0, len(table) - 1).astype(int)
        return Coloring(table, places, {})

    @cached_property
    def measured(self) -> NDArray[np.float64] | None:
        """IoU of every item with its true mask, float64 (n,), NaN where there is none; None if no item has one."""
        return self.observed.iou(self.space.overlaps_.iou_empty)

    @property
    def why_unreliable(self) -> str:
        """Why those estimates that are not reliable are not."""
        if self.estimates.shift.shifted:
            return "the new data as a whole is unlike the data of the map"
        if not self.estimates.skilled:
            return "nothing tells more of the IoU than the mean of the map's items"
        return "unlike the data of the map, or nothing is known of its error"

    @property
    def sorts(self) -> tuple[str, ...]:
        """What the items can be sorted by."""
        return NEW_SORTS if self.measured is None else NEW_SORTS + TRUTH_SORTS

    def keys(self, indices: NDArray[np.int64], sort: str) -> NDArray[np.float64] | None:
        """What items are sorted by for one of `sorts`, ascending, NaN last; None: they are in order."""
        return None if sort == NEW_SORTS[5] else self._keys(sort)[indices]

    def _keys(self, sort: str) -> NDArray[np.float64]:
        if sort not in TRUTH_SORTS or self.measured is None:
            return _KEYS[sort](self.estimates)
        return self.measured if sort == TRUTH_SORTS[0] else -np.abs(self.measured - self.estimates.iou)

    def facts(self, index: int) -> list[list[str]]:
        """Title and value of what is shown beside a thumbnail."""
        found = self.estimates
        columns = [[title(name), value_text(values[index])] for name, values in found.columns.items() if name != "item"]
        return [
            ["Expected IoU", f"{found.iou[index]:.2f}"],
            [f"{100 * found.coverage:g}% interval", f"{found.low[index]:.2f} to {found.high[index]:.2f}"],
            *self._measured_fact(index),
            ["Reliable", "yes" if found.reliable[index] else "no"],
            ["Distance", f"{found.distance[index]:.1f}"],
            *columns[:_MOST_COLUMNS],
        ]

    def _measured_fact(self, index: int) -> list[list[str]]:
        """The measured IoU of an item with a true mask."""
        iou = self._measured_iou(index)
        if iou is None:
            return []
        return [["Measured IoU", "not defined" if np.isnan(iou) else f"{iou:.2f}"]]

    def _measured_iou(self, index: int) -> float | None:
        """None without a true mask; NaN where the IoU is not defined."""
        if self.measured is None or not self.observed.labeled[index]:
            return None
        return float(self.measured[index])

    def thumbnail(self, index: int) -> bytes:
        """A small picture, as a PNG file."""
        return png(np.array(self.observed.thumbnails[index]))

    def masks(self, index: int) -> list[NDArray[np.bool_]]:
        """Truth and prediction of an item, and the pixels that do not count, if there may be any.

        An item without a true mask has its prediction in the place of it, too.
        """
        collection = self.observed.collection
        predicted = collection.predictions[index]
        truth = collection.truths[index] if self.observed.labeled[index] else predicted
        if collection.ignored is None:
            return [truth, predicted]
        ignored = collection.ignored[index]
        return [truth & ~ignored, predicted & ~ignored, ignored]

    def entry(self, index: int) -> tuple[dict[str, Any], list[bytes]]:
        """An item as a card has it, its image and its `masks`."""
        entry = self._facts(index)
        try:
            image = png(self._picture(index), longest=_LONGEST)
        except (ValueError, TypeError, OSError) as error:
            entry["error"] = str(error)
            image = self.thumbnail(index)
        return entry, [image, *map(bits, self.masks(index))]

    def saved(self, index: int, longest: int) -> dict[str, Any]:
        """An item for pages without a kernel: its thumbnail, and its masks with at most so many pixels a side."""
        truth, predicted, *ignored = (smaller(mask, longest) for mask in self.masks(index))
        return {
            **self._facts(index),
            "height": predicted.shape[0],
            "width": predicted.shape[1],
            "image": self.thumbnail(index),
            "truth": bits(truth),
            "predicted": bits(predicted),
            "ignored": bits(ignored[0]) if ignored else b"",
        }

    def rows(self, indices: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Estimates, the measured IoU where there are true masks, and columns of these items, as arrays by name."""
        table = self.estimates.table()
        if self.measured is not None:
            table = merge_columns({"measured_iou": self.measured}, table)
        return {name: values[indices] for name, values in table.items()}

    def read(self, index: int) -> tuple[Item, bool]:
        """An item read again from the data, and whether it is the one that was estimated.

        Raises
        ------
        ValueError
            If the data is not at hand, or the item cannot be read.
        """
        collection, dataset = self.observed.collection, self.observed.dataset
        if dataset is None:
            raise ValueError("the images of these estimates are not at hand")
        segmenter = self.space.segmenter
        stored = None if collection.ignored is None else collection.ignored[index]
        item = read_item(
            dataset,
            int(collection.items[index]),
            collection.image_shape[1:],
            fields=collection.fields,
            # Of another item, other pixels would have that value.
            ignore=stored if collection.ignore_value is None else collection.ignore_value,
            preprocess=segmenter is None or segmenter.preprocess is not None,
            mask_needed=False,
        )
        same = collection.holds(index, item)
        return (item if stored is None or not same else item.ignoring(stored)), same

    def _facts(self, index: int) -> dict[str, Any]:
        found = self.estimates
        measured = self._measured_iou(index)
        return {
            "index": len(self.space) + index,
            "iou": found.iou[index],
            "interval": {
                "low": found.low[index],
                "high": found.high[index],
                "reliable": bool(found.reliable[index]),
            }
            | ({} if measured is None else {"measured": measured}),
            "caption": "",
            "error": "",
        }

    def _picture(self, index: int) -> NDArray[np.uint8]:
        """The image, read again where the data is at hand and still gives it; else its thumbnail."""
        if self.observed.dataset is not None:
            item, same = self.read(index)
            if same:
                return to_rgb(item.image.numpy(), self.space.display)
        return np.array(self.observed.thumbnails[index])
