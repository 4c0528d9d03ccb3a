"""The items of a fitted latent space: masks as they were collected, images read again from the data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._datasets import Dataset
from hdm_widgets._picture import to_rgb
from hdm_widgets._validation import warn_user
from hdm_widgets.latent.items import Item, read_item
from hdm_widgets.latent.space_groups import SpaceWithGroups
from hdm_widgets.latent.suspect_table import check_count, suspect_table

if TYPE_CHECKING:
    import pandas

__all__ = ["SpaceWithItems"]

# Items that are compared with those of a data set that a space is loaded with.
_COMPARED = 8


class SpaceWithItems(SpaceWithGroups):
    """The part of a LatentSpace that shows its items."""

    def picture(self, index: int) -> NDArray[np.uint8]:
        """An item's image to look at: read from the data set, or its thumbnail.

        The thumbnail is shown where there is no data set, and where the data set gives another image or mask now than
        it did for the map, as with random augmentation; a warning says so once.

        Parameters
        ----------
        index : int
            Position of the item.

        Returns
        -------
        numpy.ndarray, uint8 (H, W, 3)
        """
        self._check_index(index)
        if self.dataset_ is not None:
            item, same = self._read_again(self.dataset_, index)
            if same:
                return to_rgb(item.image.numpy(), self.display)
        return np.array(self.collection_.thumbnails[index])

    def item(self, index: int) -> Item:
        """An item as the model sees it, read from the data set.

        Parameters
        ----------
        index : int
            Position of the item.

        Returns
        -------
        Item
            `image`, float32 (C, H, W); `mask`, bool (H, W); and `columns`. Where the data set gives another image or
            mask now than it did for the map, it is that one, and a warning says so once.

        Raises
        ------
        ValueError
            If the space has no data set, or the item cannot be read.
        """
        self._check_index(index)
        if self.dataset_ is None:
            raise ValueError("this space has no data set; LatentSpace.load(path, dataset=...) takes it")
        return self._read_again(self.dataset_, index)[0]

    def is_changed(self, index: int) -> bool:
        """Whether an item was another one when it was last read again than it was for the map.

        Parameters
        ----------
        index : int
            Position of the item.

        Returns
        -------
        bool
        """
        self._check_index(index)
        return index in self._map("items_").changed

    def _read_again(self, dataset: Dataset, index: int) -> tuple[Item, bool]:
        """An item read again, and whether it is the one that was collected; if not, a warning says so once."""
        found = self._map("items_")
        item, same = self._compared(dataset, index)
        if same:
            found.changed.discard(index)
        else:
            known = found.changed or found.collection.random
            found.changed.add(index)
            if not known:
                warn_user(
                    f"item {index} is not the one that the map was made of: its image or mask has changed, as with "
                    "random augmentation or another order of the data set; thumbnails are shown in its place"
                )
        return item, same

    def _compared(self, dataset: Dataset, index: int) -> tuple[Item, bool]:
        """An item read again, and whether it is the one that was collected."""
        collection = self.collection_
        stored = self.ignored(index) if collection.ignored is not None else None
        # Of another item, other pixels would have that value.
        ignore = stored if collection.ignore_value is None else collection.ignore_value
        item = read_item(
            dataset,
            int(self.items_[index]),
            collection.image_shape[1:],
            fields=collection.fields,
            ignore=ignore,
            preprocess=self._takes_any_values,
        )
        same = collection.holds(index, item)
        return (item if stored is None or not same else item.ignoring(stored)), same

    def _check_dataset(self, dataset: Dataset) -> bool:
        """Whether a data set has the items of the map, by a few of them; if not, warn."""
        found = self._map("items_")
        sample = np.unique(np.linspace(0, len(self) - 1, _COMPARED).round().astype(int)).tolist()
        for index in sample:
            try:
                same = self._compared(dataset, index)[1]
            except (ValueError, TypeError) as error:
                warn_user(f"the data set is not the one that the space was made with: {error}")
                return False
            if not same:
                found.changed.add(index)
                warn_user(
                    f"item {self.items_[index]} of the data set is not the one that the space was made with: the data "
                    "set is another one, or in another order, or has random augmentation; thumbnails are shown in "
                    "place of images that do not fit"
                )
                return False
        return True

    def truth(self, index: int) -> NDArray[np.bool_]:
        """The true mask of an item, without ignored pixels.

        Parameters
        ----------
        index : int
            Position of the item.

        Returns
        -------
        numpy.ndarray, bool (H, W)
        """
        self._check_index(index)
        return self.collection_.truths[index]

    def prediction(self, index: int) -> NDArray[np.bool_]:
        """The mask that the model predicts for an item, in ignored pixels too.

        Parameters
        ----------
        index : int
            Position of the item.

        Returns
        -------
        numpy.ndarray, bool (H, W)
        """
        self._check_index(index)
        return self.collection_.predictions[index]

    def ignored(self, index: int) -> NDArray[np.bool_]:
        """Pixels of an item that do not count, as `fit(..., ignore=...)` chose them.

        Parameters
        ----------
        index : int
            Position of the item.

        Returns
        -------
        numpy.ndarray, bool (H, W)
        """
        self._check_index(index)
        packed = self.collection_.ignored
        return np.zeros(self.collection_.image_shape[1:], bool) if packed is None else packed[index]

    def suspects(self, k: int | None = None) -> pandas.DataFrame:
        """Items whose true mask may be wrong, the most likely first.

        The model is not run: what this needs was collected by `fit`, with a `client` there on the workers of a cluster.

        Parameters
        ----------
        k : int, optional
            How many, from 1 to all items; all by default.

        Returns
        -------
        pandas.DataFrame
            Indexed by position in the space, with the columns

            - ``item``: index in the data set;
            - ``score``: how likely the truth is wrong, in [0, 1]: an order of items and kinds, no probability;
            - ``kind``: ``"missing object"``, ``"extra object"``, ``"shifted"`` or ``"another mask"``, what is most
              likely wrong; ``"boundary"`` or ``"none"`` where truth and prediction hardly differ;
            - ``reason``: the same in words, with sizes and shifts (rows, columns) in pixels;
            - ``row``, ``col``, ``box``: center of where it is wrong, and a half-open box (row0, col0, row1, col1)
              around it, in pixels; NaN and None where that is nowhere;
            - ``size``: pixels of that object; of the other kinds, all pixels on which truth and prediction differ;
            - ``label_quality``: the `softmin` score of arXiv:2307.05080, low where pixels are labeled otherwise than
              the model is sure of;
            - ``iou``: the item's IoU.

        Raises
        ------
        ValueError
            If the model's probabilities were not kept, as by an older version or `from_features`, there are fewer than
            30 items, no truth has an object that is large enough, or `k` is out of range.

        Notes
        -----
        Masks are compared at a longest side of 64: in images of 512 px, in blocks of 8 x 8 px. Objects that fill fewer
        than 3 blocks by half are hardly seen; cut large images into tiles to find errors in them.

        Copies of the truths are made wrong in four ways: an object is left out or added, the mask is moved, or it is
        another item's. What tells them from the truths as they are given is learned from how each differs from the
        model's probabilities, and from how much its neighbors on the map do: where the model is always wrong, an item
        is less suspect. How frequent each kind of error is in this data is estimated too, and weights it. The first
        call computes that, later ones do not.

        It is learned from at most 2,000 items. Above 20,000 items the neighbors of every item are sought among a random
        20,000, the same for one `random_state`; up to there, among all. Masks are read a few hundred at a time: memory
        grows by about 250 bytes an item.

        Examples
        --------
        >>> import hdm_widgets as hw
        >>> model, scenes = hw.demo.aerial(64)
        >>> space = hw.LatentSpace(model).fit(scenes, progress=False)
        >>> space.suspects(3).columns.tolist()[:4]
        ['item', 'score', 'kind', 'reason']
        """
        found = self._map("embedding_")
        rows = check_count(k, len(self))
        return suspect_table(found.collection, found.suspect_scores, found.iou, rows)
