"""What serves as a data set, and how the images and masks of its items are found."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from hdm_widgets._validation import brief, is_whole

__all__ = ["Dataset", "Field", "Fields", "StackedDataset", "as_dataset", "from_pillow", "is_image"]

Field: TypeAlias = str | int | Callable[[Any], Any]

# A first axis of such a length may count channels of one image as well as images.
_USUAL_CHANNELS = (1, 3, 4)
# Pillow's modes that `np.asarray` reads as the values of an image; all others are converted to RGB first.
_PLAIN_MODES = ("L", "LA", "RGB", "RGBA", "F", "I", "I;16", "I;16L", "I;16B", "I;16N")


class Dataset(Protocol):
    """Anything with a length and items: (image, mask) pairs, or mappings with `"image"` and `"mask"`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class StackedDataset:
    """Arrays with one entry per item along their first axis, as a data set.

    Attributes
    ----------
    parts : tuple or mapping
        The arrays; an item has the same form, with one entry of each.
    """

    parts: tuple[Any, ...] | Mapping[Any, Any]

    def __len__(self) -> int:
        parts = self.parts.values() if isinstance(self.parts, Mapping) else self.parts
        return len(next(iter(parts)))

    def __getitem__(self, index: int, /) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} items")
        if isinstance(self.parts, Mapping):
            return {name: part[index] for name, part in self.parts.items()}
        return tuple(part[index] for part in self.parts)


class _Row(dict[Any, Any]):
    """A row of a DataFrame: `row["picture"]`, or `row.picture` as with pandas."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the row has no column {name!r}; it has {_listed(self)}") from None


class _Rows(list[_Row]):
    """The rows of a DataFrame, as a data set.

    Attributes
    ----------
    columns : dict
        Columns whose values have an order, which the rows do not know.
    """

    def __init__(self, frame: Any) -> None:
        super().__init__(_Row(row) for row in frame.to_dict("records"))
        # By position: several columns of a DataFrame may have one name, of which the rows have the last.
        ordered = [getattr(dtype, "ordered", False) for dtype in frame.dtypes]
        named = dict(zip(frame.columns, range(len(ordered)), strict=True))
        self.columns = {name: frame.iloc[:, place] for name, place in named.items() if ordered[place]}


def as_dataset(dataset: object) -> Dataset:
    """The data set, checked; stacked images and masks become one, and so do the rows of a DataFrame.

    Raises
    ------
    TypeError
        If it has no length and items; the message names what to pass instead.
    ValueError
        If it is empty, or it cannot be told which axis counts the items.
    """
    if isinstance(dataset, DataLoader):
        raise TypeError(
            "the data set must have a length and items (len(dataset), dataset[i]), got DataLoader; pass the data set "
            "that it reads: loader.dataset"
        )
    # A row may have any attributes, such as a column "shape".
    stacked = None if isinstance(dataset, _Rows) else _stacked(dataset)
    checked: Any = dataset if stacked is None else stacked
    if hasattr(checked, "iloc") and hasattr(checked, "to_dict"):
        checked = _Rows(checked)
    if isinstance(checked, (Tensor, np.ndarray)):
        raise TypeError(
            "expected a data set of (image, mask) items, got an array; torch.utils.data.TensorDataset(images, "
            "masks) makes one of two tensors"
        )
    iterable = isinstance(checked, IterableDataset)
    if iterable or isinstance(checked, str) or not hasattr(checked, "__len__") or not hasattr(checked, "__getitem__"):
        advice = "; list(itertools.islice(dataset, 1000)) makes one of its first items"
        raise TypeError(
            f"the data set must have a length and items (len(dataset), dataset[i]), got {type(checked).__name__}"
            + advice * (iterable or (hasattr(checked, "__iter__") and not isinstance(checked, str)))
        )
    if not len(checked):
        raise ValueError("the data set is empty")
    if isinstance(checked, Mapping) and 0 not in checked:
        first = next(iter(checked))
        raise TypeError(
            f"expected a data set of (image, mask) items, got a mapping with {_listed(checked)}; if these are data "
            f"sets, pass one of them: dataset[{first!r}]"
        )
    found: Dataset = checked
    return found


def _stacked(dataset: object) -> StackedDataset | None:
    """Stacked images and masks as a data set; None for anything else."""
    if isinstance(dataset, Mapping):
        parts = [part for part in dataset.values() if hasattr(part, "__len__") and not isinstance(part, str)]
        arrays = [part for part in parts if _ndim(part) >= 3]
        same = len(parts) == len(dataset) and len({len(part) for part in parts}) == 1
        return StackedDataset(dict(dataset)) if len(arrays) >= 2 and same else None
    if not isinstance(dataset, (tuple, list)) or len(dataset) != 2:
        return None
    images, masks = dataset
    if _ndim(images) >= 2 and _ndim(masks) >= 2:
        _check_stacked(tuple(images.shape), tuple(masks.shape))
        return StackedDataset((images, masks))
    both = all(isinstance(part, (tuple, list)) for part in dataset)
    if both and len(images) == len(masks) != 2 and all(is_image(part[0]) for part in dataset if len(part)):
        raise TypeError(
            "expected a data set of (image, mask) items, got a list of images and a list of masks; "
            "list(zip(images, masks)) makes one of them"
        )
    return None


def _check_stacked(images: tuple[int, ...], masks: tuple[int, ...]) -> None:
    """Refuse a pair of arrays of these shapes unless they are N images and N masks."""
    if len(masks) == 2 and len(images) <= 3:
        raise TypeError(
            "expected a data set of (image, mask) items, got one item; a list of all items is a data set: "
            "[(image, mask), ...]"
        )
    if images[0] != masks[0] or len(images) not in (3, 4) or len(masks) not in (3, 4):
        raise ValueError(
            f"stacked images must be (N, C, H, W) or (N, H, W) and their masks (N, H, W), as many of each, got shapes "
            f"{images} and {masks}"
        )
    if len(images) == 3 and images[0] in _USUAL_CHANNELS:
        raise ValueError(
            f"arrays of shapes {images} and {masks} may be {images[0]} gray images with their masks, or one image "
            f"with {images[0]} channels; for gray images write (images[:, None], masks), for one item [(image, mask)]"
        )


def _ndim(part: Any) -> int:
    """The number of axes of an array, in memory or in a file (h5py, zarr); 0 of anything else."""
    return len(part.shape) if hasattr(part, "shape") and hasattr(part, "__getitem__") else 0


def is_image(part: object) -> bool:
    """Whether this may be an image or a mask: an array with two axes or more, or a Pillow image."""
    return _ndim(part) >= 2 or isinstance(part, Image.Image)


# -- the image and the mask of an item ----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Fields:
    """Where the image and the mask of an item are.

    Attributes
    ----------
    image, mask : str, int, callable or None
        A key or the name of an attribute, a position, or a function of the item. None: `"image"` and `"mask"` of a
        mapping, the first and the second of a pair.
    """

    image: Field | None = None
    mask: Field | None = None

    def __post_init__(self) -> None:
        for name, field in (("image", self.image), ("mask", self.mask)):
            if field is not None and not isinstance(field, str) and not is_whole(field) and not callable(field):
                raise TypeError(f"{name} must be a key, a position or a function of the item, got {brief(field)}")
        if self.image is not None and not callable(self.image) and self.image == self.mask:
            raise ValueError(f"image and mask must be two entries of the item, got {brief(self.image)} for both")

    def described(self) -> dict[str, Any]:
        """The fields as JSON can hold them; a function as a list with its name."""
        return {
            name: [getattr(field, "__name__", "function")]
            if callable(field)
            else int(field)
            if is_whole(field)
            else field
            for name, field in (("image", self.image), ("mask", self.mask))
        }

    @classmethod
    def from_description(cls, described: Mapping[str, Any]) -> Fields:
        """Read what `described` wrote; in place of a function comes one that asks for it."""
        return cls(
            **{
                name: _LostFunction(name, field[0]) if isinstance(field, list) else field
                for name, field in described.items()
            }
        )

    def replaced(self, image: Field | None, mask: Field | None) -> Fields:
        """The same fields, but for those that are given.

        Raises
        ------
        ValueError
            If a function that a file does not hold is not given.
        """
        fields = Fields(self.image if image is None else image, self.mask if mask is None else mask)
        for field in (fields.image, fields.mask):
            if isinstance(field, _LostFunction):
                field(None)
        return fields

    def find(self, item: Any, index: int, *, mask_needed: bool = True) -> tuple[Any, Any, dict[str, Any]]:
        """The image, the mask, and all other entries of an item by name.

        Parameters
        ----------
        item : object
        index : int
            Its position, for messages.
        mask_needed : bool
            Whether it must have a mask. If not, it may be an image alone, and None comes in place of what is missing.

        Raises
        ------
        ValueError, TypeError
            If it has no such entries, or it cannot be told which they are; the message names the item.
        """
        if not mask_needed:
            return self._find_optional(item, index)
        entries = _entries(item)
        image = _find(item, index, "image", self.image, entries, self.mask)
        mask = _find(item, index, "mask", self.mask, entries, self.image)
        if image is mask and image is not None:
            raise ValueError(
                f"item {index}: image and mask are the same entry; say which they are, such as image=0, mask=1"
            )
        return image, mask, _named(item, entries)

    def _find_optional(self, item: Any, index: int) -> tuple[Any, Any, dict[str, Any]]:
        """As `find`, for items that need no mask."""
        if isinstance(item, (tuple, list)) and len(item) == 1:
            item = item[0]
        if is_image(item) and not callable(self.image):
            return item, None, {}
        entries = _entries(item)
        image = _find(item, index, "image", self.image, entries, self.mask)
        try:
            mask = _find(item, index, "mask", self.mask, entries, self.image)
        except (ValueError, TypeError):
            mask = None
        # The second of a pair may be a label or a name.
        return image, mask if is_image(mask) and mask is not image else None, _named(item, entries)


@dataclass(frozen=True)
class _LostFunction:
    """Stands for a function that found the image or the mask of an item, in a space that was read from a file."""

    argument: str
    name: str

    def __call__(self, _item: Any) -> Any:
        raise ValueError(
            f"the {self.argument} of an item was found by a function, {self.name}, which no file holds: give it again, "
            f"LatentSpace.load(path, dataset=..., {self.argument}=...)"
        )


def _find(
    item: Any, index: int, name: str, field: Field | None, entries: Mapping[Any, Any] | None, other: Field | None
) -> Any:
    """One entry of an item; `other` is where the other of image and mask is."""
    if callable(field):
        try:
            return field(item)
        except Exception as error:
            raise ValueError(f"item {index}: the function {name}= failed: {type(error).__name__}: {error}") from error
    if field is None:
        field = _usual(item, index, name, entries)
    if entries is not None and field in entries:
        return entries[field]
    if isinstance(item, (tuple, list)) and is_whole(field) and -len(item) <= field < len(item):
        return item[field]
    if isinstance(field, str) and entries is None and hasattr(item, field):
        return getattr(item, field)
    if entries is None:
        raise TypeError(
            f"item {index} has no {field!r}: it is of type {type(item).__name__}; give a function of the item, "
            f"{name}=lambda item: ..."
        )
    taken = ["image", "mask", field, other]
    if isinstance(item, (tuple, list)) and item and is_whole(other):
        taken.append(other % len(item))
    others = [key for key in entries if isinstance(key, (str, int)) and key not in taken]
    likely = [key for key in others if is_image(entries[key])] or others
    advice = f"; say which entry is the {name}, such as {name}={likely[0]!r}" if likely else ""
    raise ValueError(f"item {index} has no {field!r}; it has {_listed(entries)}{advice}")


def _usual(item: Any, index: int, name: str, entries: Mapping[Any, Any] | None) -> str | int:
    """Where the image or the mask of an item is if nothing is said."""
    if isinstance(item, (tuple, list)):
        if len(item) == 2:
            return ("image", "mask").index(name)
        if name not in (entries or {}):
            raise _unclear(index, f"{len(item)} entries", "; say which they are, such as image=0, mask=1")
    elif entries is None:
        alone = "; true masks are needed here, and an image alone has none"
        functions = "; say which they are, by functions of the item: image=lambda item: ..."
        raise _unclear(index, type(item).__name__, alone if is_image(item) else functions)
    return name


def _unclear(index: int, given: str, advice: str) -> TypeError:
    return TypeError(f"item {index} must be (image, mask) or a mapping with 'image' and 'mask', got {given}{advice}")


def _entries(item: Any) -> Mapping[Any, Any] | None:
    """The entries of an item by key or position; None where it is no collection."""
    if isinstance(item, Mapping):
        return item
    if isinstance(item, (tuple, list)):
        positions: dict[Any, Any] = dict(enumerate(item))
        return {**positions, **dict(zip(getattr(item, "_fields", ()), item, strict=False))}
    if hasattr(item, "keys") and hasattr(item, "__getitem__"):
        return {key: item[key] for key in item.keys()}  # noqa: SIM118 - a row of a DataFrame, for instance
    return None


def _named(item: Any, entries: Mapping[Any, Any] | None) -> dict[str, Any]:
    """All entries of an item that may be columns, by name."""
    if entries is None:
        return {name: getattr(item, name) for name in _attributes(item) if hasattr(item, name)}
    if not isinstance(item, (tuple, list)):
        return {str(key): value for key, value in entries.items()}
    fields: Sequence[str] = getattr(item, "_fields", ())
    named: dict[str, Any] = {}
    for position, value in enumerate(item):
        if isinstance(value, Mapping):
            named |= {str(key): entry for key, entry in value.items()}
        else:
            named[fields[position] if fields else f"entry {position}"] = value
    return named


def _attributes(item: Any) -> list[str]:
    """Names of the fields of a dataclass, or of the attributes that any other object has been given."""
    if dataclasses.is_dataclass(item):
        return [field.name for field in dataclasses.fields(item)]
    # What these have beside their values says nothing about the item.
    if isinstance(item, (Tensor, np.ndarray, Image.Image, os.PathLike, type)):
        return []
    slots = (getattr(one, "__slots__", ()) for one in reversed(type(item).__mro__))
    slotted = [name for names in slots for name in ([names] if isinstance(names, str) else names)]
    return [name for name in [*slotted, *getattr(item, "__dict__", {})] if not name.startswith("_")]


def _listed(entries: Mapping[Any, Any], most: int = 12) -> str:
    """The keys of a mapping for a message."""
    keys = [repr(key) for key in entries]
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def from_pillow(image: Image.Image, *, is_mask: bool = False) -> NDArray[Any]:
    """A Pillow image as an array, (H, W) or (H, W, C).

    Colors of a palette become RGB; in a mask, the numbers in the palette are the classes.

    Raises
    ------
    ValueError
        If its file cannot be read.
    """
    try:
        if not is_mask and image.mode not in _PLAIN_MODES:
            image = image.convert("L" if image.mode == "1" else "RGB")
        return np.asarray(image)
    except Exception as error:
        # Pillow reads the pixels of a file only now, and closes it after the last.
        image.close()
        raise ValueError(f"the {'mask' if is_mask else 'image'} could not be read: {error}") from error
