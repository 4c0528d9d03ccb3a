"""The gallery: images, true masks and predictions of the selected items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from hdm_widgets._datasets import Dataset
from hdm_widgets._wire import MESSAGE, bits, png
from hdm_widgets.latent.selection import Selection
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.latent.columns import Column
from hdm_widgets.widgets.latent.item_order import ItemOrder, distances_to_center
from hdm_widgets.widgets.latent.new_items import NEW_SORTS, NewItems, smaller
from hdm_widgets.widgets.latent.suspicion import Suspicion, suspicion_text
from hdm_widgets.widgets.shared.on_demand import State
from hdm_widgets.widgets.shared.part import Part, read_static

__all__ = ["SORTS", "SUSPICIOUS_FIRST", "Gallery", "selection_row"]

SORTS = (
    "lowest IoU first",
    "highest IoU first",
    "nearest to the center first",
    "in data set order",
    "most suspicious truth first",
)
SUSPICIOUS_FIRST = SORTS[4]
_LONGEST = 320
_MOST_AT_ONCE = 64
# The browser has the numbers of so many items from the beginning, and asks for so many others at once.
_PAGE = 512
# What a saved notebook or an exported page keeps: so many images, their masks no longer than this in pixels.
_MOST_SAVED = 12
_LONGEST_SAVED = 128


@dataclass(frozen=True, eq=False)
class _Listed:
    """What a gallery shows.

    Attributes
    ----------
    version : int
        Another one for every order.
    order : ItemOrder
    ordering : tuple
        What gives the items their order: the source, the sort, and the suspicion that it is by.
    """

    version: int
    order: ItemOrder
    ordering: tuple[str, str, Suspicion | None]


_NOTHING = _Listed(0, ItemOrder(np.empty(0, np.int64)), ("map", "", None))


class Gallery(Part):
    """Items of a latent space or new ones as images; only those on screen are read and sent.

    The browser knows how many there are, and asks for the items of the ranks that are in view. New items are numbered
    after those of the space.

    Parameters
    ----------
    space : LatentSpace

    Attributes
    ----------
    source : {"map", "new"}
        Whose items are shown.
    new_status : {"idle", "running", "done", "cancelled", "error"}
        How far the estimates of new items are; "idle" without new data.
    sort : str
        One of `sorts`, which are those of the source.
    layers : {"three", "overlay"}
        Image, truth and prediction side by side, or one image with hit, missed and added pixels; without true masks,
        image and prediction, or one over the other.
    size : int
        Side of an image on screen in pixels.
    highlighted : int or None
        The item that was clicked.
    selections : list of dict
        Name, color and figures of each selection, for the list above the images.
    active : int or None
        Position of the one that is shown.
    suspects : dict
        `state` and `error` of the search for truths that may be wrong, as in `OnDemand`.
    with_reasons : bool
        Whether every card says how likely its truth is wrong, and why.
    """

    _changing = ("source", "sort", "sorts", "new_count", "new_status", "captions_version")
    _esm = read_static("gallery.js")
    _css = read_static("latent_explorer.css")

    source = traitlets.Unicode("map").tag(sync=True)
    # How many new items there are; 0: no new data, and no choice of a source.
    new_count = traitlets.Int(0).tag(sync=True)
    new_status = traitlets.Unicode("idle").tag(sync=True)
    sort = traitlets.Unicode(SORTS[0]).tag(sync=True)
    sorts = traitlets.List(list(SORTS)).tag(sync=True)
    layers = traitlets.Unicode("three").tag(sync=True)
    size = traitlets.Int(72).tag(sync=True)
    highlighted = traitlets.Int(None, allow_none=True).tag(sync=True)
    selections: Any = traitlets.List().tag(**MESSAGE)
    active = traitlets.Int(None, allow_none=True).tag(sync=True)
    can_explain = traitlets.Bool(False).tag(sync=True)
    caption_by = traitlets.Unicode("").tag(sync=True)
    captions_version = traitlets.Int(0).tag(sync=True)
    suspects = traitlets.Dict({"state": "idle", "error": ""}).tag(**MESSAGE)
    with_reasons = traitlets.Bool(False).tag(sync=True)
    _about = traitlets.Dict().tag(**MESSAGE)
    # Items whose truth was marked as wrong, ascending.
    _marked: Any = traitlets.Instance(np.ndarray).tag(**MESSAGE)
    # How many items there are, the first of them, and a number that changes with their order.
    _shown = traitlets.Dict().tag(**MESSAGE)
    # The first items as thumbnails, for pages without a kernel, which nobody can ask for images.
    _saved: Any = traitlets.List().tag(**MESSAGE)

    def __init__(self, space: LatentSpace) -> None:
        self._space: LatentSpace | None = space
        self._new: NewItems | None = None
        self._sorts = {"map": SORTS[0], "new": NEW_SORTS[0]}  # as they were chosen
        self._captions: Column | None = None
        self._suspicion: Suspicion | None = None
        self._say: Callable[[str], None] | None = None
        self._listed = _NOTHING
        super().__init__(
            can_explain=_can_explain(space, space.dataset_),
            _about=_about(space),
            _shown={"version": 0, "count": 0, "first": np.empty(0, np.int32)},
            _marked=np.empty(0, np.int32),
        )
        self.on_request("images", self._images)
        self.on_request("items", self._items)

    def add(self, new: NewItems) -> None:
        """Offer new items as another source."""
        self._new = new
        self.new_count = len(new)

    def turn_to(self, source: str) -> None:
        """Show items of a source, by its own sort; which ones is for `show` to say."""
        space, new = self._space, self._new
        if source == self.source or space is None or new is None:
            return
        self._sorts[self.source] = self.sort
        with self.hold_sync():
            # Before the sort, which is checked with them.
            self.source = source
            self.sorts = list(SORTS if source == "map" else new.sorts)
            self.sort = self._sorts[source]
            self._about = _about(space) if source == "map" else _about_new(new)
            self.can_explain = _can_explain(space, space.dataset_ if source == "map" else new.observed.dataset)
            self.captions_version += 1  # their images may have another size

    def show(self, indices: NDArray[np.int64]) -> None:
        """Show these items of the source, in the order that `sort` asks for.

        Parameters
        ----------
        indices : numpy.ndarray, int64
            Positions in the space, or among the new items.
        """
        new = self._new if self.source == "new" else None
        ordering = (self.source, self.sort, self._suspicion if self.sort == SUSPICIOUS_FIRST else None)
        items = indices if new is None else indices + len(new.space)
        if ordering != self._listed.ordering or not self._listed.order.same_items(items):
            keys = self._keys(indices) if new is None else new.keys(indices, self.sort)
            self._listed = _Listed(self._listed.version + 1, ItemOrder(items, keys), ordering)
            first = self._listed.order.items(0, _PAGE)
            self._shown = {"version": self._listed.version, "count": len(items), "first": first}
        self._saved = [self._saved_item(int(index)) for index in self._listed.order.items(0, _MOST_SAVED)]

    def on_changed(self, say: Callable[[str], None]) -> None:
        """Call `say` once with a text, when an image that is read again is not the one of the map."""
        self._say = say

    @property
    def captioned(self) -> Column | None:
        """The column whose values are beside the IoU."""
        return self._captions

    def caption(self, column: Column | None) -> None:
        """Put a column's value beside the IoU under each image; None: the IoU alone."""
        self._captions = column
        self.caption_by = "" if column is None else column.title
        # The browser keeps images with their captions until this number changes.
        self.captions_version += 1

    def mark(self, indices: Sequence[int]) -> None:
        """Show which items' truths were marked as wrong."""
        self._marked = np.array(indices, np.int32)

    def tell_suspects(self, state: State, error: str, suspicion: Suspicion | None) -> None:
        """Show how likely truths are wrong, or how far the search for that is."""
        if suspicion is not self._suspicion:
            self._suspicion = suspicion
            self.captions_version += 1  # images are kept with it
        self.suspects = {"state": state, "error": error}

    @traitlets.validate("sort")
    def _valid_sort(self, proposal: Any) -> str:
        if proposal["value"] not in self.sorts:
            sorts = ", ".join(map(repr, self.sorts))
            raise traitlets.TraitError(f"sort must be one of {sorts}, got {proposal['value']!r}")
        return str(proposal["value"])

    def _keys(self, indices: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """What items of the map are sorted by, ascending, NaN last; None: they stay in the order of the data set."""
        space = self._space
        if space is None or self.sort == SORTS[3]:
            return None
        if self.sort == SORTS[2]:
            return distances_to_center(space.cluster_coordinates_, indices)
        if self.sort == SUSPICIOUS_FIRST:
            return None if self._suspicion is None else -self._suspicion.scores[indices]
        # Items without an IoU come last either way.
        iou = space.iou_[indices]
        return iou if self.sort == SORTS[0] else -iou

    def _items(self, content: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """The items of some ranks, int32, with the number of their order."""
        start, stop = int(content["start"]), int(content["stop"])
        if stop - start > _PAGE:
            raise ValueError(f"at most {_PAGE} items at once, got {stop - start}")
        listed = self._listed
        return {"version": listed.version}, [listed.order.items(start, stop).tobytes()]

    def _images(self, content: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        indices: Sequence[int] = content["items"]
        if len(indices) > _MOST_AT_ONCE:
            raise ValueError(f"at most {_MOST_AT_ONCE} images at once, got {len(indices)}")
        entries, buffers = [], []
        for index in indices:
            entry, parts = self._entry(int(index))
            entries.append(entry)
            buffers += parts
        space = self._space
        changed = [i for i in indices if space is not None and i < len(space) and space.is_changed(int(i))]
        if changed and self._say is not None:
            self._say(
                f"The data set gave another image or mask for item {changed[0]} than for the map, as with random "
                "augmentation. Thumbnails of what the map was made of are shown in place of such images."
            )
            self._say = None
        return {"images": entries}, buffers

    def _told(self, index: int) -> dict[str, Any]:
        """What a card says of an item of the map."""
        told = {"caption": "" if self._captions is None else self._captions.text(index)}
        if self._suspicion is not None:
            told |= {
                "suspicion": suspicion_text(self._suspicion.scores[index]),
                "reason": self._suspicion.reasons[index],
            }
        return told

    def _saved_item(self, index: int) -> dict[str, Any]:
        """An item without a look into the data set, which may be slow: its thumbnail, and its masks made smaller."""
        space, new = self._space, self._new
        if space is None:
            raise RuntimeError("the gallery is closed")
        if new is not None and index >= len(space):
            return new.saved(index - len(space), _LONGEST_SAVED)
        collection = space.collection_
        truth, predicted, *ignored = (smaller(mask, _LONGEST_SAVED) for mask in self._masks(space, index))
        return {
            "index": index,
            "iou": space.iou_[index],
            **self._told(index),
            "height": truth.shape[0],
            "width": truth.shape[1],
            "image": png(np.array(collection.thumbnails[index])),
            "truth": bits(truth),
            "predicted": bits(predicted),
            "ignored": bits(ignored[0]) if ignored else b"",
        }

    @staticmethod
    def _saved_mask(mask: NDArray[np.bool_]) -> bytes:
        """A mask as a saved notebook keeps it."""
        return bits(smaller(mask, _LONGEST_SAVED))

    @staticmethod
    def _masks(space: LatentSpace, index: int) -> list[NDArray[np.bool_]]:
        """Truth and prediction of an item, and the pixels that do not count, if there may be any."""
        truth, predicted = space.truth(index), space.prediction(index)
        if space.collection_.ignored is None:
            return [truth, predicted]
        ignored = space.ignored(index)
        # What is ignored is neither hit nor missed nor added.
        return [truth, predicted & ~ignored, ignored]

    def _entry(self, index: int) -> tuple[dict[str, Any], list[bytes]]:
        space, new = self._space, self._new
        if space is None:
            raise RuntimeError("the gallery is closed")
        if new is not None and index >= len(space):
            return new.entry(index - len(space))
        entry = {"index": index, "iou": space.iou_[index], "error": "", **self._told(index)}
        try:
            image = png(space.picture(index), longest=_LONGEST)
        except (ValueError, TypeError, OSError) as error:
            entry["error"] = str(error)
            image = png(np.array(space.collection_.thumbnails[index]))
        return entry, [image, *(bits(mask) for mask in self._masks(space, index))]

    def close(self) -> None:
        """Remove the widget and free the space."""
        super().close()
        self._space = self._new = self._captions = self._suspicion = self._say = None
        self._listed = _NOTHING


def _about(space: LatentSpace) -> dict[str, Any]:
    """What the browser must know of all items of the map."""
    _, height, width = space.collection_.image_shape
    return {
        "height": height,
        "width": width,
        "total": len(space),
        "full": space.dataset_ is not None,
        "ignored": space.collection_.ignored is not None,
    }


def _about_new(new: NewItems) -> dict[str, Any]:
    """The same of all new items."""
    _, height, width = new.observed.collection.image_shape
    return {
        "height": height,
        "width": width,
        "total": len(new.space),
        "full": new.observed.dataset is not None,
        "ignored": new.observed.collection.ignored is not None,
        "coverage": new.estimates.coverage,
        "truths": new.measured is not None,
        "unreliable": new.why_unreliable,
    }


def _can_explain(space: LatentSpace, dataset: Dataset | None) -> bool:
    """Whether there are a model and images to run it on."""
    return space.segmenter is not None and dataset is not None


def selection_row(selection: Selection) -> dict[str, Any]:
    """A selection as the list above the images has it."""
    figures = selection.statistics
    return {
        "name": selection.name,
        "color": selection.color,
        "count": figures.count,
        "mean": figures.mean_iou,
        "median": figures.median_iou,
    }
