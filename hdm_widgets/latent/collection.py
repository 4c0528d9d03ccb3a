"""What a pass over a data set has collected, and the arrays that it is collected in."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets._bitmasks import PackedMasks
from hdm_widgets._datasets import Fields
from hdm_widgets._masks import Ignore
from hdm_widgets._validation import warn_user
from hdm_widgets.latent.activations import Layer, LayerError
from hdm_widgets.latent.data_columns import join_columns
from hdm_widgets.latent.items import Item, WorkerError, is_worker_error, why_workers_stopped
from hdm_widgets.latent.scores import former_name
from hdm_widgets.latent.thumbnails import ThumbnailMaker, same_picture
from hdm_widgets.models.reading import Values

__all__ = [
    "BEFORE_CONFIDENCES",
    "Collection",
    "CollectionBuilder",
    "CollectionError",
    "InterruptedCollectionError",
    "check_collection",
    "kept_if_interrupted",
]


BEFORE_CONFIDENCES = "the space was saved before confidences were kept; fit it again"
_NO_PROBABILITIES = (
    "the model's output was not read as probabilities; space.segmenter.reading says as what (masks, class numbers, raw "
    "values, or logits of which none is negative)"
)


@dataclass(frozen=True, eq=False)
class Collection:
    """What a pass over a data set has collected.

    Attributes
    ----------
    layer : Layer
        Where the activations come from.
    features : numpy.ndarray, float32 (n, d)
        Pooled activations; on disk when they are many.
    items : numpy.ndarray, int64 (n,)
        Index of each in the data set.
    truths, predictions : PackedMasks
        True and predicted masks, one bit per pixel.
    tp, fn, fp : numpy.ndarray, int64 (n,)
        True positive, false negative and false positive pixels.
    thumbnails : numpy.ndarray, uint8 (n, h, w, 3)
        Small pictures of the images.
    columns : dict of str to numpy.ndarray
        Columns of the data set.
    image_shape : tuple of int
        (C, H, W) of every image.
    skipped : dict of int to str
        Items that could not be used, and why.
    ignored : PackedMasks or None
        Pixels that do not count, for every item; None if all do in all items.
    fields : Fields
        Where the image and the mask of an item of the data set are.
    ignore_value : float or None
        The value of masks that marks pixels that do not count, if one was given.
    thumbnail_maker : ThumbnailMaker or None
        How the thumbnails were made; None where that is not known.
    random : bool
        Whether an item was another one when it was read twice, as with random augmentation.
    confidences : dict of str to numpy.ndarray, float64 (n,)
        How confident the model is in each prediction, without the truth; empty if that is not known.

        - ``mean_entropy``: mean binary entropy of the pixels in bits; 1 where every probability is 0.5;
        - ``foreground_entropy``, ``boundary_entropy``: the same inside the predicted mask, and along its boundary;
        - ``soft_iou``, ``soft_dice``: overlap of the mask with the probabilities;
        - ``largest_probability``: of any pixel;
        - ``area_at_30``, ``area_at_50``, ``area_at_70``, ``area_at_90``: fraction of the pixels with a probability
          above 0.3, 0.5, 0.7 and 0.9;
        - ``objects``, ``largest_object``: number of connected objects, and fraction of the mask in the largest.

        Pixels that only a truth ignores count.
    no_confidences : str
        Why there are none; empty if there are.
    labeled : numpy.ndarray, bool (n,), or None
        Which items have a true mask; None if all do. The others have an empty one.
    label_quality : numpy.ndarray, float64 (n,), or None
        How far the model's probabilities agree with each true mask; see `label_quality.label_quality`. None where
        confidences are not known.
    probability_maps : numpy.ndarray, uint8 (n, h, w), or None
        Small maps of the probabilities as log odds; see `label_quality.encoded_log_odds`. None where confidences are
        not known.
    values : {"probabilities", "logits", "raw", ""}
        What the values of the model's output mean, as `Reading.values` says; empty if that is not known.
    """

    layer: Layer
    features: NDArray[np.float32]
    items: NDArray[np.int64]
    truths: PackedMasks
    predictions: PackedMasks
    tp: NDArray[np.int64]
    fn: NDArray[np.int64]
    fp: NDArray[np.int64]
    thumbnails: NDArray[np.uint8]
    columns: dict[str, NDArray[Any]]
    image_shape: tuple[int, int, int]
    skipped: dict[int, str] = field(default_factory=dict)
    ignored: PackedMasks | None = None
    fields: Fields = field(default_factory=Fields)
    ignore_value: float | None = None
    thumbnail_maker: ThumbnailMaker | None = None
    random: bool = False
    confidences: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    no_confidences: str = ""
    labeled: NDArray[np.bool_] | None = None
    label_quality: NDArray[np.float64] | None = None
    probability_maps: NDArray[np.uint8] | None = None
    values: Values = ""

    hits = former_name("hits", "tp")
    misses = former_name("misses", "fn")
    false_alarms = former_name("false_alarms", "fp")
    picture_shape = former_name("picture_shape", "image_shape")

    def __len__(self) -> int:
        return len(self.items)

    def with_fields(self, fields: Fields) -> Collection:
        """The same, with the image and the mask of an item elsewhere in it."""
        return replace(self, fields=fields)

    def holds(self, position: int, item: Item) -> bool:
        """Whether an item that was read again is the one at this position, as far as its thumbnail and mask tell."""
        mask = item.mask if self.ignored is None else item.mask & ~self.ignored[position]
        if not np.array_equal(self.truths[position], mask):
            return False
        if self.thumbnail_maker is None:
            return True
        return same_picture(self.thumbnails[position], self.thumbnail_maker.make(item.image[None])[0])


def check_collection(collection: object) -> Collection:
    """What a pass has collected, or a TypeError."""
    if isinstance(collection, Collection):
        if collection.labeled is not None:
            missing = int((~collection.labeled).sum())
            raise ValueError(f"{missing} of {len(collection)} items have no true mask: a map is made of items that do")
        return collection
    nothing = ": nothing was collected before the error" if collection is None else ""
    raise TypeError(
        "collection must be what a pass over a data set has collected, such as the `collection` of a CollectionError, "
        f"got {type(collection).__name__}{nothing}"
    )


class CollectionError(ValueError):
    """Collecting stopped at an item.

    Attributes
    ----------
    index : int
        Of the item, in the data set.
    collection : Collection or None
        What was collected before it; None if nothing was.
    """

    def __init__(self, message: str, index: int, collection: Collection | None) -> None:
        super().__init__(message)
        self.index = index
        self.collection = collection

    def __reduce__(self) -> tuple[type[CollectionError], tuple[str, int, None]]:
        # As it comes from another process: what was collected stays there.
        return type(self), (str(self), self.index, None)


class InterruptedCollectionError(CollectionError, KeyboardInterrupt):
    """Collecting was interrupted, by Ctrl+C or the notebook's stop button.

    It is a CollectionError, with what was collected, and a KeyboardInterrupt.
    """


@contextmanager
def kept_if_interrupted(collection: Collection) -> Iterator[None]:
    """Raise an InterruptedCollectionError, with a finished collection, in place of a KeyboardInterrupt."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise _interrupted(len(collection) + len(collection.skipped), collection) from error


def _interrupted(index: int, collection: Collection | None) -> InterruptedCollectionError:
    """The error of an interrupt before item `index`."""
    advice = ""
    if collection is not None:
        advice = (
            f"; {len(collection)} items are collected: space.fit_collected(error.collection, dataset) makes a map of "
            "them, and in a notebook the error is sys.last_value"
        )
    return InterruptedCollectionError(f"interrupted at item {index}{advice}", index, collection)


class CollectionBuilder:
    """Arrays for one pass over a data set, filled from the front.

    Parameters
    ----------
    length : int
        Items that may come.
    layer : Layer
    image_shape : torch.Size
        (C, H, W).
    thumbnails : ThumbnailMaker
        How thumbnails are made.
    memory_limit : int
        Bytes of activations that are kept in memory; more go to a temporary file.
    fields : Fields, optional
        Where the image and the mask of an item are.
    ignore : number or array of bool, optional
        As given for the pass.
    new : bool
        Whether these items are new data for a map that is there, and not what a map is made of.
    no_confidences : str
        What to say if there are none.

    Attributes
    ----------
    skipped : dict of int to str
        Items that could not be used, and why.
    random : bool
        Whether an item was another one when it was read twice.
    values : str
        What the values of the model's output mean; see `Collection`.
    indices : sequence of int
        Items of the data set that are to be collected, in order.
    any_ignored : bool
        Whether an item so far has a pixel that does not count.
    """

    def __init__(
        self,
        length: int,
        layer: Layer,
        image_shape: torch.Size,
        thumbnails: ThumbnailMaker,
        memory_limit: int,
        fields: Fields | None = None,
        ignore: Ignore | None = None,
        *,
        new: bool = False,
        no_confidences: str = _NO_PROBABILITIES,
    ) -> None:
        channels, height, width = image_shape
        self.skipped: dict[int, str] = {}
        self.random = False
        self.values: Values = ""
        self._layer = layer
        self._length = length
        self._shape = (channels, height, width)
        self._memory_limit = memory_limit
        self._thumbnail_maker, self._fields = thumbnails, fields or Fields()
        # One mask for all items is among the ignored pixels of each.
        self._ignore_value = float(ignore) if isinstance(ignore, (int, float, np.number)) else None
        self._new, self._no_confidences = new, no_confidences
        self.indices: Sequence[int] = range(length)
        self.any_ignored = False
        self._clear()

    def _clear(self) -> None:
        """Begin with empty arrays."""
        length, (_, height, width), thumbnails = self._length, self._shape, self._thumbnail_maker
        self._count = 0
        row = PackedMasks.row_bytes(height, width)
        # Pages of these that are never written to take no memory.
        self._items = np.empty(length, np.int64)
        self._packed = np.empty((2, length, row), np.uint8)
        self._ignored = np.zeros((length, row), np.uint8)
        self._any_ignored = False
        self._counts = np.empty((3, length), np.int64)
        self._thumbnails = np.empty((length, *thumbnails.size(height, width), 3), np.uint8)
        self._features: NDArray[np.float32] | None = None
        self._columns: list[dict[str, Any]] = []
        self._labeled = np.ones(length, bool)
        self._confidences: dict[str, NDArray[np.float64]] = {}
        self._label_quality = np.full(length, np.nan)
        self._probability_maps: NDArray[np.uint8] | None = None

    def add(
        self,
        entries: list[tuple[int, Item]],
        *,
        features: NDArray[np.float32],
        images: Tensor,
        truths: NDArray[np.bool_],
        predictions: NDArray[np.bool_],
        counts: NDArray[np.int64],
        confidences: dict[str, NDArray[np.float64]],
        label_quality: NDArray[np.float64] | None = None,
        probability_maps: NDArray[np.uint8] | None = None,
    ) -> None:
        """Add items with their activations, masks, confidences and counts of pixels (3, n): tp, fn and fp.

        Label quality (n,) and maps of the probabilities (n, h, w) come wherever there are confidences.
        """
        if self._features is None:
            self._features = self._allocate(features.shape[1])
        if features.shape[1] != self._features.shape[1]:
            raise LayerError(f"the layer gave {self._features.shape[1]} features before and {features.shape[1]} now")
        part = slice(self._count, self._count + len(entries))
        self._features[part] = features
        self._items[part] = [index for index, _ in entries]
        self._packed[0, part] = PackedMasks.pack(truths)
        self._packed[1, part] = PackedMasks.pack(predictions)
        self._counts[:, part] = counts
        self._labeled[part] = [item.labeled for _, item in entries]
        for name, values in confidences.items():
            if name not in self._confidences:
                self._confidences[name] = np.full(self._length, np.nan)
            self._confidences[name][part] = values
        if label_quality is not None and probability_maps is not None:
            if self._probability_maps is None:
                self._probability_maps = np.empty((self._length, *probability_maps.shape[1:]), np.uint8)
            self._label_quality[part] = np.where(self._labeled[part], label_quality, np.nan)
            self._probability_maps[part] = probability_maps
        for place, (_, item) in enumerate(entries, self._count):
            if item.ignored is not None:
                self._any_ignored = self.any_ignored = True
                self._ignored[place] = PackedMasks.pack(item.ignored[None])[0]
        self._thumbnails[part] = self._thumbnail_maker.make(images)
        # An interrupt may have left columns of items that are not counted.
        del self._columns[self._count :]
        self._columns.extend(item.columns for _, item in entries)
        self._count += len(entries)

    def _allocate(self, width: int) -> NDArray[np.float32]:
        shape = (self._length, width)
        if 4 * self._length * width <= self._memory_limit:
            return np.empty(shape, np.float32)
        folder = tempfile.mkdtemp(prefix="hdm-widgets-")
        array = np.lib.format.open_memmap(Path(folder) / "features.npy", mode="w+", dtype=np.float32, shape=shape)
        # The file goes with the array, and slices of it keep the whole alive.
        weakref.finalize(array, shutil.rmtree, folder, ignore_errors=True)
        return array

    def build(self, tables: dict[str, NDArray[Any]]) -> Collection | None:
        """What was added, with further columns for the whole data set; None if nothing was."""
        n = self._count
        if not n or self._features is None:
            return None
        _, height, width = self._shape
        items = self._items[:n].copy()
        tp, fn, fp = self._counts[:, :n]
        confidences = {name: values[:n] for name, values in self._confidences.items()}
        masks_only = self._masks_only(confidences)
        labeled = self._labeled[:n]
        maps = None if masks_only or self._probability_maps is None else self._probability_maps[:n]
        return Collection(
            layer=self._layer,
            features=self._features[:n],
            items=items,
            truths=PackedMasks(self._packed[0, :n], height, width),
            predictions=PackedMasks(self._packed[1, :n], height, width),
            tp=tp,
            fn=fn,
            fp=fp,
            thumbnails=self._thumbnails[:n],
            columns={**join_columns(self._columns[:n]), **{name: values[items] for name, values in tables.items()}},
            image_shape=self._shape,
            skipped=dict(self.skipped),
            ignored=PackedMasks(self._ignored[:n], height, width) if self._any_ignored else None,
            fields=self._fields,
            ignore_value=self._ignore_value,
            thumbnail_maker=self._thumbnail_maker,
            random=self.random,
            confidences={} if masks_only else confidences,
            no_confidences="" if confidences and not masks_only else self._no_confidences,
            labeled=None if labeled.all() else labeled,
            label_quality=None if maps is None else self._label_quality[:n],
            probability_maps=maps,
            values=self.values,
        )

    def _masks_only(self, confidences: dict[str, NDArray[np.float64]]) -> bool:
        """Whether the model returns masks as numbers, which look like probabilities of 0 and 1."""
        return not self._new and bool(confidences) and not confidences["mean_entropy"].any()

    def ends_shard(self, index: int) -> bool:  # noqa: ARG002 - of a builder that stores shards
        """Whether what was collected up to this item is to be stored, and the next batch begins with the next item."""
        return False

    def store_shard(self) -> None:
        """Store what was collected since the last shard; here everything stays in memory."""

    def stop_or_skip(self, index: int, error: Exception, tables: dict[str, NDArray[Any]], on_error: str) -> None:
        """Raise a CollectionError at an item that cannot be used, or note why it is skipped."""
        if on_error == "raise" or isinstance(error, WorkerError):
            raise CollectionError(str(error), index, self._kept(tables)) from error
        self.skipped[index] = str(error)

    @contextmanager
    def keeping(self, tables: dict[str, NDArray[Any]], run_waiting: Callable[[], None]) -> Iterator[None]:
        """Raise a CollectionError, with what was collected, where a pass is stopped from outside.

        Where a worker process has died, `run_waiting` adds the items that have been read.
        """
        try:
            yield
        except KeyboardInterrupt as error:
            raise self._interrupted(tables) from error
        except Exception as error:
            if isinstance(error, CollectionError) or not is_worker_error(error):
                raise
            run_waiting()
            index = self.next_index
            raise CollectionError(why_workers_stopped(error, index), index, self._kept(tables)) from error

    def _interrupted(self, tables: dict[str, NDArray[Any]]) -> InterruptedCollectionError:
        """What an interrupt raises."""
        return _interrupted(self.next_index, self._kept(tables))

    def _kept(self, tables: dict[str, NDArray[Any]]) -> Collection | None:
        """What an error carries: a map can be made of what was collected for one."""
        return None if self._new else self.build(tables)

    def compared(
        self, items: Iterable[tuple[int, Item | Exception]], index: int, first: Item
    ) -> Iterator[tuple[int, Item | Exception]]:
        """Pass items on, and warn if the item of this index is another one than when it was read first."""
        for position, item in items:
            if position == index and isinstance(item, Item) and not item.equals(first):
                self.random = True
                self.warn_of_randomness(index)
            yield position, item

    def warn_of_randomness(self, index: int) -> None:
        """Warn that this item was another one when it was read twice."""
        advice = (
            "what is estimated is of one reading; give a data set without random augmentation"
            if self._new
            else "the map is of one reading, and shows thumbnails of it in place of images that are read again; fit a "
            "data set without random augmentation"
        )
        warn_user(f"item {index} was another one when it was read a second time, as with random augmentation: {advice}")

    @property
    def next_index(self) -> int:
        """Index of the first item of the data set that is neither added nor skipped."""
        added = int(self._items[self._count - 1]) if self._count else -1
        return max(added, *self.skipped, -1) + 1

    def build_some(self, tables: dict[str, NDArray[Any]]) -> Collection:
        """As `build`, but a CollectionError if nothing was added, and a warning if items were skipped."""
        return self._announced(self.build(tables), self._length)

    def _announced(self, built: Collection | None, length: int) -> Collection:
        if built is not None and not self.skipped:
            return built
        index, message = next(iter(self.skipped.items()))
        if built is not None:
            warn_user(
                f"{len(self.skipped)} of {length} items were skipped, the first because: {message}"
                + ("" if self._new else "; the space's skipped_ tells why for each")
            )
            return built
        raise CollectionError(f"no item could be used; the first: {message}", index, None)
