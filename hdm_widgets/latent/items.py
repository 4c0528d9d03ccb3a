"""Reading a data set: images, masks, and the columns beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from hdm_widgets._masks import Ambiguity, Ignore, check_truth, find_ambiguity
from hdm_widgets._validation import check_image, check_image_values, image_size, to_tensor, warn_user
from hdm_widgets.latent.scores import former_name

__all__ = [
    "Columns",
    "Dataset",
    "Item",
    "check_columns",
    "check_dataset",
    "check_images",
    "counted_pixels",
    "join_columns",
    "merge_columns",
    "read_item",
    "read_items",
    "warn_of_ambiguity",
]

Columns: TypeAlias = "Mapping[str, Sequence[Any] | NDArray[Any]]"


class Dataset(Protocol):
    """Anything with a length and items: (image, mask) pairs, or mappings with `"image"` and `"mask"`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


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
    """

    image: Tensor
    mask: NDArray[np.bool_]
    columns: dict[str, Any] = field(default_factory=dict)
    ignored: NDArray[np.bool_] | None = None
    ambiguity: Ambiguity | None = None

    picture = former_name("picture", "image")

    def ignoring(self, pixels: NDArray[np.bool_]) -> Item:
        """The same item; these pixels (H, W) do not count either."""
        ignored = pixels if self.ignored is None else self.ignored | pixels
        return replace(self, mask=self.mask & ~ignored, ignored=ignored)


def counted_pixels(items: Iterable[Item]) -> NDArray[np.bool_]:
    """Pixels of items that count, bool (n, H, W)."""
    return np.stack([np.ones_like(item.mask) if item.ignored is None else ~item.ignored for item in items])


def check_dataset(dataset: object) -> int:
    """The number of items of a data set, which must have some."""
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise TypeError(
            f"the data set must have a length and items (len(dataset), dataset[i]), got {type(dataset).__name__}"
        )
    if isinstance(dataset, (Tensor, np.ndarray)):
        raise TypeError(
            "expected a data set of (image, mask) items, got an array; torch.utils.data.TensorDataset(images, "
            "masks) makes one of two tensors"
        )
    if not len(dataset):
        raise ValueError("the data set is empty")
    return len(dataset)


def read_item(
    dataset: Dataset,
    index: int,
    size: tuple[int, int] | None = None,
    *,
    ignore: Ignore | None = None,
    preprocess: bool = False,
) -> Item:
    """Item `index`, checked.

    Parameters
    ----------
    dataset : Dataset
    index : int
    size : tuple of int, optional
        (H, W) that the image must have.
    ignore : number or array of bool (H, W), optional
        Pixels that do not count: the value that marks them in masks, or a mask of them.
    preprocess : bool
        Whether the images are for a Segmenter with `preprocess`: see `check_image`.

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
    columns: dict[str, Any] = {}
    if isinstance(item, Mapping):
        missing = [key for key in ("image", "mask") if key not in item]
        if missing:
            raise ValueError(f"item {index} has no {missing[0]!r}; it has {', '.join(map(repr, item))}")
        image, mask = item["image"], item["mask"]
        columns = {str(key): value for key, entry in item.items() if (value := _scalar(entry)) is not None}
    elif isinstance(item, (tuple, list)) and len(item) == 2:
        image, mask = item
    else:
        given = f"{len(item)} entries" if isinstance(item, (tuple, list)) else type(item).__name__
        raise TypeError(f"item {index} must be (image, mask) or a mapping with 'image' and 'mask', got {given}")
    try:
        height, width = size or image_size(image, preprocess=preprocess, mask=mask)
        tensor = check_image(image, height, width, preprocess=preprocess)
        if mask is None:
            raise ValueError("its mask is missing (None)")
        if getattr(mask, "ndim", 0) == 3 and mask.shape[0] == 1:
            mask = mask[0]
        truth = check_truth(mask, height, width, ignore)
    except (ValueError, TypeError) as error:
        raise type(error)(f"item {index}: {error}") from None
    return Item(tensor, truth.mask, columns, truth.ignored, find_ambiguity(truth, f"the mask of item {index}", "mask"))


def read_items(
    dataset: Dataset,
    size: tuple[int, int],
    num_workers: int = 0,
    ignore: Ignore | None = None,
    *,
    preprocess: bool = False,
) -> Iterator[tuple[int, Item | ValueError | TypeError]]:
    """All items in order, each with its index; in place of one that cannot be used comes the error that says why."""
    reader = _Reader(dataset, size, ignore, preprocess)
    if num_workers == 0:
        for index in range(len(dataset)):
            yield index, reader[index]
    else:
        loader: DataLoader[Any] = DataLoader(reader, batch_size=None, num_workers=num_workers)  # type: ignore[arg-type]  # has items
        yield from enumerate(loader)


def warn_of_ambiguity(
    items: Iterable[tuple[int, Item | ValueError | TypeError]], ignore: Ignore | None
) -> Iterator[tuple[int, Item | ValueError | TypeError]]:
    """Pass items on, and warn of each kind of ambiguity once: mostly all items of a data set have the same one."""
    warned: set[str] = set()
    marked = not isinstance(ignore, (int, float))
    for index, item in items:
        if isinstance(item, Item):
            marked = marked or (item.ignored is not None and bool(item.ignored.any()))
            if item.ambiguity is not None and item.ambiguity.kind not in warned:
                warned.add(item.ambiguity.kind)
                warn_user(item.ambiguity.text)
        yield index, item
    if not marked:
        warn_user(
            f"no mask has a pixel with the value of ignore={ignore}; if masks are made of label maps, return "
            f"np.ma.masked_array(labels == 1, labels == {ignore}) as the mask"
        )


class _Reader:
    """A data set that returns errors as items, so that they cross from a worker process with their message."""

    def __init__(self, dataset: Dataset, size: tuple[int, int], ignore: Ignore | None, preprocess: bool) -> None:
        self._dataset = dataset
        self._size = size
        self._ignore, self._preprocess = ignore, preprocess

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Item | ValueError | TypeError:
        try:
            return read_item(self._dataset, index, self._size, ignore=self._ignore, preprocess=self._preprocess)
        except (ValueError, TypeError) as error:
            return type(error)(str(error))


def check_columns(columns: object, length: int) -> dict[str, NDArray[Any]]:
    """Columns as arrays, one entry per item of the data set."""
    if columns is None:
        return {}
    if not hasattr(columns, "keys"):
        raise TypeError(f"columns must be a mapping of names to sequences, got {type(columns).__name__}")
    checked: dict[str, NDArray[Any]] = {}
    for name in columns.keys():  # noqa: SIM118 - a DataFrame serves too
        values = columns[name]  # type: ignore[index]  # has keys
        if isinstance(values, str) or not hasattr(values, "__len__"):
            raise TypeError(f"column {name!r} must be a sequence with one entry per item, got {type(values).__name__}")
        if len(values) != length:
            raise ValueError(f"column {name!r} has {len(values)} entries for {length} items")
        column = as_column(values)
        if column.ndim != 1:
            raise ValueError(f"column {name!r} must have one entry per item, got shape {column.shape}")
        checked[str(name)] = column
    return checked


def check_images(
    images: object, image_shape: tuple[int, int, int], *, same_size: bool, preprocess: bool = False
) -> Tensor:
    """New images as float (N, C, H, W), with as many channels as those of the data set.

    Parameters
    ----------
    images : torch.Tensor or numpy.ndarray (N, C, H, W)
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


def _channels_last(shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> bool:
    """Whether the shape of new images is (H, W, C), if those of the data set are (C, H, W)."""
    channels, height, width = image_shape
    if shape[0] == channels == shape[-1]:
        return shape == (height, width, channels) != image_shape
    return shape[-1] == channels


def join_columns(items: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """Columns of the entries of items; an entry that an item lacks is NaN or an empty text."""
    joined: dict[str, NDArray[Any]] = {}
    for name in dict.fromkeys(name for item in items for name in item):
        present = as_column([item[name] for item in items if name in item])
        missing = "" if present.dtype.kind == "U" else np.nan
        complete = len(present) == len(items)
        joined[name] = present if complete else as_column([item.get(name, missing) for item in items])
    return joined


def merge_columns(own: dict[str, NDArray[Any]], dataset: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Our columns and those of a data set; one of the data set's with a name of ours gets `data_` before it."""
    merged = dict(own)
    for name, values in dataset.items():
        free = name
        # "cluster" is kept free for clusters that are found later.
        while free in merged or free == "cluster" or (free != name and free in dataset):
            free = f"data_{free}"
        merged[free] = values
    return merged


def as_column(values: Any) -> NDArray[Any]:
    """Numbers as they are; everything else as texts."""
    array = np.asarray(values)
    return array if array.dtype.kind in "biuf" else np.array([str(value) for value in values], dtype=np.str_)


def _scalar(entry: Any) -> Any:
    """A text or a number, or None for anything else."""
    if isinstance(entry, (Tensor, np.ndarray, np.generic)):
        if entry.ndim or (isinstance(entry, Tensor) and entry.dtype == torch.complex64):
            return None
        entry = entry.item()
    return entry if isinstance(entry, (str, bool, int, float)) else None
