"""Reading a data set: images, masks, and what stands beside them."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from hdm_widgets._datasets import Dataset, Fields, from_pillow
from hdm_widgets._masks import Ambiguity, Ignore, check_truth, find_ambiguity, read_mask
from hdm_widgets._reading_ahead import read_ahead
from hdm_widgets._validation import (
    check_image,
    check_image_values,
    check_whole,
    image_size,
    mask_size,
    to_tensor,
    warn_user,
)
from hdm_widgets.latent.data_columns import column_value
from hdm_widgets.latent.scores import former_name
from hdm_widgets.models.threads import limited_threads

__all__ = [
    "Item",
    "MaskNotes",
    "WorkerError",
    "check_images",
    "counted_pixels",
    "is_worker_error",
    "read_item",
    "read_items",
    "warn_of_ambiguity",
    "why_workers_stopped",
]


@dataclass(frozen=True, eq=False)
class Item:
    """One item of a data set.

    Attributes
    ----------
    image : torch.Tensor
        float32 (C, H, W).
    mask : numpy.ndarray
        bool (H, W), without ignored pixels.
    columns : dict
        Texts and numbers beside them, by name.
    ignored : numpy.ndarray or None
        bool (H, W), pixels that do not count; None if all do.
    ambiguity : Ambiguity or None
        What may be meant in another way in the values of the mask.
    labeled : bool
        Whether the data set has a mask for it. If not, `mask` is empty.
    """

    image: Tensor
    mask: NDArray[np.bool_]
    columns: dict[str, Any] = field(default_factory=dict)
    ignored: NDArray[np.bool_] | None = None
    ambiguity: Ambiguity | None = None
    labeled: bool = True

    picture = former_name("picture", "image")

    def ignoring(self, pixels: NDArray[np.bool_]) -> Item:
        """The same item; these pixels (H, W) do not count either."""
        ignored = pixels if self.ignored is None else self.ignored | pixels
        return replace(self, mask=self.mask & ~ignored, ignored=ignored)

    def equals(self, other: Item) -> bool:
        """Whether image and mask are the same, up to rounding."""
        same = self.image.shape == other.image.shape and np.array_equal(self.mask, other.mask)
        return same and torch.allclose(self.image, other.image, 1e-3, 1e-3 * float(self.image.abs().max()))


def counted_pixels(items: Iterable[Item]) -> NDArray[np.bool_]:
    """Pixels of items that count, bool (n, H, W)."""
    return np.stack([np.ones_like(item.mask) if item.ignored is None else ~item.ignored for item in items])


def read_item(
    dataset: Dataset,
    index: int,
    size: tuple[int, int] | None = None,
    *,
    fields: Fields | None = None,
    ignore: Ignore | None = None,
    preprocess: bool = False,
    mask_needed: bool = True,
) -> Item:
    """Item `index`, checked.

    Parameters
    ----------
    dataset : Dataset
    index : int
    size : tuple of int, optional
        (H, W) that the image must have.
    fields : Fields, optional
        Where the image and the mask of an item are.
    ignore : number or array of bool (H, W), optional
        Pixels that do not count: the value that marks them in masks, or a mask of them.
    preprocess : bool
        Whether the images are for a Segmenter with `preprocess`: see `check_image`.
    mask_needed : bool
        Whether the item must have a mask. If not, what stands in its place and is no mask of the image is left out,
        and `ambiguity` says why.

    Returns
    -------
    Item

    Raises
    ------
    ValueError, TypeError
        Naming the item and what is wrong with it. An error of the data set itself comes as a ValueError.
    """
    try:
        item = dataset[index]
    except Exception as error:
        raise ValueError(f"item {index} could not be read: {type(error).__name__}: {error}") from error
    image, mask, entries = (fields or Fields()).find(item, index, mask_needed=mask_needed)
    columns = {name: value for name, entry in entries.items() if (value := column_value(entry)) is not None}
    try:
        if isinstance(mask, Image.Image):
            mask = from_pillow(mask, is_mask=True)
        image = _image_array(image, mask, preprocess)
        height, width = size or image_size(image, preprocess=preprocess, mask=mask)
        with limited_threads():
            tensor = check_image(image, height, width, preprocess=preprocess)
        if mask is None and not mask_needed:
            return _unlabeled(tensor, columns, ignore)
        if mask is None:
            raise ValueError("its mask is missing (None)")
        if getattr(mask, "ndim", 0) == 3 and mask.shape[0] == 1:
            mask = mask[0]
        try:
            truth = check_truth(mask, height, width, ignore)
        except (ValueError, TypeError) as error:
            if mask_needed:
                raise
            text = f"what stands in place of the mask of item {index} is no mask of its image and is left out: {error}"
            return _unlabeled(tensor, columns, ignore, Ambiguity("no mask", text))
    except (ValueError, TypeError) as error:
        raise type(error)(f"item {index}: {error}") from None
    return Item(tensor, truth.mask, columns, truth.ignored, find_ambiguity(truth, f"the mask of item {index}", "mask"))


def _unlabeled(
    image: Tensor, columns: dict[str, Any], ignore: Ignore | None, ambiguity: Ambiguity | None = None
) -> Item:
    """An item without a mask; of what is ignored, a mask of pixels holds for it too."""
    empty = np.zeros(tuple(image.shape[1:]), bool)
    if not isinstance(ignore, (Tensor, np.ndarray)):
        return Item(image, empty, columns, ambiguity=ambiguity, labeled=False)
    return Item(image, empty, columns, read_mask(empty, ignore).ignored, ambiguity, labeled=False)


def _image_array(image: Any, mask: Any, preprocess: bool) -> Any:
    """The image of an item as an array, if its values are those that the model expects."""
    for argument, name, entry in (("image", "image", image), ("mask", "segment", mask)):
        if isinstance(entry, os.PathLike) or (isinstance(entry, str) and Path(entry).suffix):
            raise TypeError(
                f"the {name} must be a torch tensor or a numpy array, got {type(entry).__name__}; if it is the name of "
                f"a file, give a function of the item that reads it: {argument}=lambda item: Image.open(...), with "
                "from PIL import Image"
            )
    pillow = isinstance(image, Image.Image)
    array = from_pillow(image) if pillow else image
    if preprocess or not isinstance(array, (Tensor, np.ndarray)):
        return array
    # Before the shape: for images as files have them, one remedy serves both.
    kind = "uf"[array.dtype.is_floating_point] if isinstance(array, Tensor) else array.dtype.kind
    channels_last = array.ndim == 3 and mask_size(mask) == tuple(array.shape[:2])
    if kind == "f" or not (pillow or channels_last):
        return array
    scaled = "np.asarray(image, dtype='float32')" + ".transpose(2, 0, 1)" * (array.ndim == 3) + " / 255"
    raise TypeError(
        f"the image is {'a Pillow image' if pillow else 'an array'} (H, W{', C' * (array.ndim == 3)}) of "
        f"{str(array.dtype).removeprefix('torch.')}; let the Segmenter normalize such images, "
        f"hw.Segmenter(model, preprocess=lambda images: images / 255), or return {scaled} from the data set"
    )


class WorkerError(ValueError):
    """The processes that read a data set stopped, or did not start."""


def read_items(
    dataset: Dataset,
    size: tuple[int, int],
    num_workers: int = 0,
    ignore: Ignore | None = None,
    *,
    fields: Fields | None = None,
    preprocess: bool = False,
    mask_needed: bool = True,
    indices: Sequence[int] | None = None,
) -> Generator[tuple[int, Item | Exception], None, None]:
    """All items in order, or those of `indices`, each with its index; an error in place of one that cannot be used.

    A thread of this process reads ahead, or `num_workers` processes. Where these stop, a WorkerError is the last.
    """
    check_whole("num_workers", num_workers, 0)
    options = {"fields": fields, "ignore": ignore, "preprocess": preprocess, "mask_needed": mask_needed}
    reader = _Reader(dataset, size, options)
    wanted = range(len(dataset)) if indices is None else indices
    if num_workers == 0 or not len(wanted):
        yield from read_ahead(reader.__getitem__, wanted, lambda item: item.image.nbytes)
        return
    done, stopped, iterator = 0, None, None
    try:
        loader: DataLoader[Any] = DataLoader(reader, batch_size=None, num_workers=num_workers, sampler=wanted)  # type: ignore[arg-type]  # has items
        iterator = iter(loader)
        for sent in iterator:
            item = replace(sent, image=torch.from_numpy(sent.image)) if isinstance(sent, Item) else sent
            yield wanted[done], item
            done += 1
    except Exception as error:  # noqa: BLE001 - it is passed on
        # Our own code between two items raises nothing here: these are errors of processes, pipes and pickles.
        stopped = WorkerError(why_workers_stopped(error, wanted[min(done, len(wanted) - 1)]))
    finally:
        # The traceback of an error keeps the iterator. Until it has shut down, torch raises an error at the end of any
        # process that this one has started.
        shut_down = getattr(iterator, "_shutdown_workers", None)
        if shut_down is not None:
            shut_down()
    if stopped is not None:
        yield wanted[min(done, len(wanted) - 1)], stopped


def is_worker_error(error: BaseException) -> bool:
    """Whether an error says that a worker process has died.

    torch raises it wherever the main thread is at that moment, so also while the model runs.
    """
    return isinstance(error, WorkerError) or "DataLoader worker (pid" in str(error)


def why_workers_stopped(error: Exception, index: int) -> str:
    """What happened to worker processes at an item, and what to do."""
    text = f"{type(error).__name__}: {error}".strip().rstrip(".")
    pickling = "pickle" in text.lower() or (isinstance(error, AttributeError) and "local object" in text)
    cause = "the data set cannot be sent to worker processes" if pickling else "the worker processes stopped"
    return f"item {index} could not be read: {cause} ({text}); num_workers=0 reads without such processes"


@dataclass
class MaskNotes:
    """What the masks of items leave open.

    Attributes
    ----------
    ambiguities : dict of str to (int, str)
        For each kind the first item that has it, and what to say.
    labeled : bool
        Whether an item has a true mask.
    marked : bool
        Whether an item has pixels that do not count.
    """

    ambiguities: dict[str, tuple[int, str]] = field(default_factory=dict)
    labeled: bool = False
    marked: bool = False

    def add(self, index: int, item: Item) -> str:
        """Note an item; what to say of its mask if it is the first of its kind, else nothing."""
        self.labeled = self.labeled or item.labeled
        self.marked = self.marked or (item.ignored is not None and bool(item.ignored.any()))
        if item.ambiguity is None or item.ambiguity.kind in self.ambiguities:
            return ""
        self.ambiguities[item.ambiguity.kind] = index, item.ambiguity.text
        return item.ambiguity.text

    def merge(self, other: MaskNotes) -> None:
        """Note what was noted of other items."""
        for kind, noted in other.ambiguities.items():
            self.ambiguities[kind] = min(noted, self.ambiguities.get(kind, noted))
        self.labeled = self.labeled or other.labeled
        self.marked = self.marked or other.marked

    def warn(self) -> None:
        """Warn of each kind of ambiguity."""
        for _, text in sorted(self.ambiguities.values()):
            warn_user(text)

    def warn_if_unmarked(self, ignore: Ignore | None) -> None:
        """Warn if no mask has the value of pixels that do not count."""
        if self.labeled and not self.marked and isinstance(ignore, (int, float)):
            warn_user(
                f"no mask has a pixel with the value of ignore={ignore}; if masks are made of label maps, return "
                f"np.ma.masked_array(labels == 1, labels == {ignore}) as the mask; Tiles keep that value if they are "
                f"given it too, Tiles(..., ignore={ignore})"
            )


def warn_of_ambiguity(
    items: Iterable[tuple[int, Item | Exception]], ignore: Ignore | None, notes: MaskNotes | None = None
) -> Iterator[tuple[int, Item | Exception]]:
    """Pass items on, and warn of each kind of ambiguity once: mostly all items of a data set have the same one.

    Where `notes` are given, they take what would be said.
    """
    noted = MaskNotes() if notes is None else notes
    for index, item in items:
        if isinstance(item, Item) and (text := noted.add(index, item)) and notes is None:
            warn_user(text)
        yield index, item
    if notes is None:
        noted.warn_if_unmarked(ignore)


class _Reader:
    """A data set that returns errors as items, so that they cross from a worker process with their message."""

    def __init__(self, dataset: Dataset, size: tuple[int, int], options: dict[str, Any]) -> None:
        self._dataset, self._size, self._options = dataset, size, options

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Item | Exception:
        try:
            item = read_item(self._dataset, index, self._size, **self._options)
        except (ValueError, TypeError) as error:
            return type(error)(str(error))
        if get_worker_info() is None:
            return item
        # A tensor would cross in shared memory, of which containers have little, and be lost with its process.
        return replace(item, image=item.image.numpy())  # type: ignore[arg-type]  # as the receiver expects


def check_images(
    images: object, image_shape: tuple[int, int, int], *, same_size: bool, preprocess: bool = False
) -> Tensor:
    """New images as float (N, C, H, W), with as many channels as those of the data set.

    Parameters
    ----------
    images : torch.Tensor or numpy.ndarray (N, C, H, W), or a sequence of images
        Pillow images serve too.
    image_shape : tuple of int
        (C, H, W) of the data set's images.
    same_size : bool
        Whether height and width must agree too.
    preprocess : bool
        Whether the images are for a Segmenter with `preprocess`: then they may be (N, H, W, C), of any real type.

    Returns
    -------
    torch.Tensor, float32 (N, C, H, W)

    Raises
    ------
    ValueError, TypeError
        If they are anything else, or not finite.
    """
    if isinstance(images, (list, tuple)) and len(images):
        images = _stack(images)
    if not isinstance(images, (Tensor, np.ndarray)):
        raise TypeError(f"images must be a torch tensor or a numpy array, got {type(images).__name__}")
    check_image_values("images", images, preprocess=preprocess)
    given = to_tensor(images)
    if preprocess and given.ndim == 4 and _channels_last(tuple(given.shape[1:]), image_shape):
        given = given.permute(0, 3, 1, 2)
    if given.ndim != 4 or len(given) == 0 or given.shape[1] != image_shape[0]:
        raise ValueError(f"images must be (N, {image_shape[0]}, H, W), got shape {tuple(given.shape)}")
    if same_size and tuple(given.shape[1:]) != image_shape:
        raise ValueError(f"pool='flatten' takes images of one size, {image_shape}, got {tuple(given.shape[1:])}")
    given = given.to(torch.float32)
    if not bool(torch.isfinite(given).all()):
        raise ValueError("images have NaN or infinity; where a pixel has no data, fill it, for instance nan_to_num")
    return given


def _stack(images: Sequence[Any]) -> NDArray[Any]:
    """Images, each an array or a Pillow image, as one array (N, ...); images (H, W) get one channel."""
    arrays = [from_pillow(image) if isinstance(image, Image.Image) else image for image in images]
    for position, array in enumerate(arrays):
        if not isinstance(array, (Tensor, np.ndarray)):
            raise TypeError(f"image {position} must be an array or a Pillow image, got {type(array).__name__}")
        if array.shape != arrays[0].shape:
            raise ValueError(
                f"images must have one size, image 0 has shape {tuple(arrays[0].shape)}, image {position} "
                f"{tuple(array.shape)}"
            )
    stacked = np.stack([to_tensor(array).cpu().numpy() for array in arrays])
    return stacked[:, None] if stacked.ndim == 3 else stacked


def _channels_last(shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> bool:
    """Whether the shape of new images is (H, W, C), if those of the data set are (C, H, W)."""
    channels, height, width = image_shape
    if shape[0] == channels == shape[-1]:
        return shape == (height, width, channels) != image_shape
    return shape[-1] == channels
