"""Read masks as users give them: which pixels belong to the segment, and which do not count."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hdm_widgets._validation import brief

__all__ = [
    "Ambiguity",
    "GivenMask",
    "Ignore",
    "check_ignore",
    "check_truth",
    "find_ambiguity",
    "find_mark",
    "read_labels",
    "read_mask",
    "to_array",
    "without",
]

Ignore: TypeAlias = float | NDArray[np.bool_] | Tensor

# Values that by custom mark pixels without a label.
_CUSTOMARY = (255, -1, -100)
# 255 beside values above this is rather the brightest of many gray levels.
_GRAY = 200
# A mask of 0 and 255 that was stored as JPEG has other values between these.
_NEAR_BLACK_OR_WHITE = ((0, 40), (215, 255))


@dataclass(frozen=True, eq=False)
class GivenMask:
    """A mask that a user gave, and how it is read.

    Attributes
    ----------
    values : numpy.ndarray
        The mask's values in their own type; 0 in ignored pixels.
    mask : numpy.ndarray of bool
        The segment, without ignored pixels.
    ignored : numpy.ndarray of bool or None
        Pixels that do not count; None if all do.
    mark : float or None
        The value that was to mark ignored pixels.
    """

    values: NDArray[Any]
    mask: NDArray[np.bool_]
    ignored: NDArray[np.bool_] | None
    mark: float | None = None

    @property
    def lacks_mark(self) -> bool:
        """Whether a value was to mark ignored pixels, and no pixel has it."""
        return self.mark is not None and (self.ignored is None or not self.ignored.any())

    def with_class(self, number: int) -> GivenMask:
        """The same class numbers with the mask of one class."""
        mask = self.values == number
        return replace(self, mask=without(mask, self.ignored))

    def ignoring(self, pixels: NDArray[np.bool_]) -> GivenMask:
        """A copy that ignores some more pixels."""
        ignored = pixels if self.ignored is None else pixels | self.ignored
        values = np.where(ignored, np.zeros((), self.values.dtype), self.values)
        return replace(self, values=values, mask=self.mask & ~ignored, ignored=ignored)


class Ambiguity(NamedTuple):
    """What else a label map may mean.

    Attributes
    ----------
    kind : {"ignore", "classes", "no mask"}
        One of its values may mark pixels without a label; or its values may be classes; or it is no label map.
    text : str
        A warning that says so, with what to write.
    """

    kind: Literal["ignore", "classes", "no mask"]
    text: str


def to_array(values: ArrayLike | Tensor) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Convert any array or tensor to a plain numpy array, and the mask of a numpy masked array; None without one."""
    if isinstance(values, Tensor):
        # Without this, subclasses such as MONAI's MetaTensor would stay what they are.
        tensor = values.detach().as_subclass(Tensor).cpu()
        # NumPy has no bfloat16, and none of the 8-bit floats.
        foreign = tensor.is_floating_point() and tensor.dtype not in (torch.float64, torch.float32, torch.float16)
        return (tensor.float() if foreign else tensor).numpy(), None
    if isinstance(values, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(values)
        return np.where(masked, np.zeros((), values.dtype), values.data), masked if masked.any() else None
    return np.asarray(values), None


def read_mask(
    given: ArrayLike | Tensor, ignore: Ignore | None = None, *, name: str = "mask", may_ignore: bool = True
) -> GivenMask:
    """Read a mask of any shape, in which nonzero means segment.

    Parameters
    ----------
    given : array_like or torch.Tensor
        Bool, whole numbers, or floats that are 0 and 1. Masked pixels of a numpy masked array are ignored.
    ignore : number or array of bool, optional
        The value of pixels that do not count (NaN serves), or a mask of them.
    name : str
        Name of the mask in messages.
    may_ignore : bool
        Whether messages may suggest `ignore=`.

    Returns
    -------
    GivenMask

    Raises
    ------
    TypeError, ValueError
        If it is not clear from the values which pixels belong to the segment.
    """
    values, ignored = to_array(given)
    if values.dtype.kind not in "buif":
        advice = f"; for class names, {name} == 'name' is the mask of one class" if values.dtype.kind in "USO" else ""
        raise TypeError(
            f"the {name} must be bool, whole or real numbers, nonzero = segment, got {values.dtype}{advice}"
        )
    values, ignored = _without_ignored(values, ignored, ignore, name)
    mask: NDArray[np.bool_] = values if values.dtype.kind == "b" else values != 0
    if values.dtype.kind == "f":
        _check_floats(values, mask, name, may_ignore)
    return GivenMask(values, mask, ignored, _mark(ignore))


def without(mask: NDArray[np.bool_], ignored: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """A mask without the ignored pixels; the mask itself if there are none."""
    return mask if ignored is None else mask & ~ignored


def check_ignore(ignore: object) -> float | NDArray[np.bool_]:
    """What to ignore, as a number or as a numpy array of bool."""
    if isinstance(ignore, (int, float, np.integer, np.floating)) and not isinstance(ignore, bool):
        return ignore.item() if isinstance(ignore, np.generic) else ignore
    if isinstance(ignore, (Tensor, np.ndarray)):
        values, _ = to_array(ignore)
        if values.dtype.kind != "b":
            raise TypeError(f"a mask of pixels to ignore must be bool, got {values.dtype}; write ignore=mask != 0")
        return values
    raise TypeError(
        "ignore must be one value of the ground truth, such as 255, or a bool mask (H, W) of the pixels that do not "
        f"count, got {brief(ignore)}; for several values: ignore=np.isin(truth, values)"
    )


def _without_ignored(
    values: NDArray[Any], masked: NDArray[np.bool_] | None, ignore: Ignore | None, name: str
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """The values with 0 in ignored pixels, and which these are: the masked ones and those to ignore."""
    ignored = masked
    if ignore is not None:
        chosen = _chosen(values, check_ignore(ignore), name)
        ignored = chosen if masked is None else masked | chosen
    return values if ignored is None else np.where(ignored, np.zeros((), values.dtype), values), ignored


def _chosen(values: NDArray[Any], ignore: float | NDArray[np.bool_], name: str) -> NDArray[np.bool_]:
    """The pixels that are to be ignored."""
    if isinstance(ignore, np.ndarray):
        if ignore.shape != values.shape:
            raise ValueError(f"ignore has shape {ignore.shape}, the {name} has {values.shape}")
        return ignore.copy()
    if values.dtype.kind == "b" and ignore not in (0, 1):
        mark = "np.isnan(labels)" if ignore != ignore else f"labels == {ignore:g}"
        raise ValueError(
            f"ignore={ignore:g} is a value of a label map, and the {name} is bool: give the pixels that do not count, "
            f"ignore={mark}, or a masked array, np.ma.masked_array({name}, {mark})"
        )
    chosen: NDArray[np.bool_] = np.isnan(values) if ignore != ignore else values == ignore
    return chosen


def _mark(ignore: Ignore | None) -> float | None:
    """The value that marks ignored pixels, if it is one."""
    return None if ignore is None or isinstance(ignore := check_ignore(ignore), np.ndarray) else ignore


def _check_floats(values: NDArray[np.floating], mask: NDArray[np.bool_], name: str, may_ignore: bool) -> None:
    """Raise an error for floats other than 0 and 1: they may be class numbers, probabilities or gray levels."""
    other = values[mask & (values != 1)]
    if not other.size:
        return
    if not np.isfinite(other).all():
        advice = "; if NaN marks pixels that do not count, say so: ignore=float('nan')" if may_ignore else ""
        raise ValueError(f"the {name} has NaN or infinity{advice}")
    first = float(other.flat[0])
    if (other == np.round(other)).all():
        advice = f"for one class of a label map write {name} == {first:g}, for everything but 0 write {name} != 0"
        if may_ignore:
            advice += f"; for a value that marks pixels that do not count, ignore={first:g}"
    elif first > 0.5 or (mask & (values != first)).any():
        advice = f"for probabilities, or values that were interpolated or rounded, write {name} > 0.5"
    else:
        advice = f"it is the only value besides 0, as a scaled mask has it: write {name} != 0"
    raise ValueError(f"the {name} has floats other than 0 and 1, such as {first:g}; {advice}")


def read_labels(given: ArrayLike | Tensor, ignore: Ignore | None = None, *, name: str = "segment") -> GivenMask:
    """Read a map of class numbers; its mask is everything but class 0.

    Parameters
    ----------
    given : array_like or torch.Tensor
        Of bool, whole numbers, or floats that are whole numbers. Masked pixels of a numpy masked array are ignored.
    ignore : number or array of bool, optional
        The value of pixels that do not count (NaN serves), or a mask of them.
    name : str
        What messages call it.

    Returns
    -------
    GivenMask
        With `values` as int64.

    Raises
    ------
    TypeError, ValueError
        If these are no class numbers, 0 or more.
    """
    values, ignored = to_array(given)
    if values.dtype.kind not in "buif":
        raise TypeError(f"with target='all' the {name} must have class numbers, got {values.dtype}")
    values, ignored = _without_ignored(values, ignored, ignore, name)
    whole = np.isfinite(values) & (np.round(values) == values)
    if not whole.all():
        first = float(values[~whole].flat[0])
        raise ValueError(
            f"with target='all' the {name} must have class numbers, 0 or more, got {first:g}"
            + ("; for pixels that do not count, ignore=float('nan')" if np.isnan(first) else "")
        )
    numbers = values.astype(np.int64)
    if numbers.min(initial=0) < 0:
        low = int(numbers.min())
        raise ValueError(
            f"with target='all' the {name} must have class numbers, 0 or more, got {low}; for pixels that do not "
            f"count, ignore={low}"
        )
    return GivenMask(numbers, numbers != 0, ignored, _mark(ignore))


def check_truth(
    segment: object, height: int, width: int, ignore: Ignore | None = None, *, labels: bool = False
) -> GivenMask:
    """Read a ground truth (H, W), a mask or class numbers; the arrays are copies.

    Raises
    ------
    TypeError, ValueError
        If it is no array of the image's size, or it is not clear which pixels belong to the segment.
    """
    if not isinstance(segment, (Tensor, np.ndarray)):
        advice = "; np.asarray(segment) makes an array of it" if hasattr(segment, "__array_interface__") else ""
        raise TypeError(f"the segment must be a torch tensor or a numpy array, got {type(segment).__name__}{advice}")
    shape = tuple(segment.shape)
    if shape != (height, width):
        advice = _advice_on_shape(to_array(segment)[0], height, width)
        raise ValueError(f"expected a segment of the image's size ({height}, {width}), got shape {shape}{advice}")
    given = read_labels(segment, ignore) if labels else read_mask(segment, ignore, name="segment")
    return replace(given, values=given.values.copy(), mask=given.mask.copy())


def _advice_on_shape(values: NDArray[Any], height: int, width: int) -> str:
    """How to make a mask (H, W) of an array of another shape; empty where nothing is known."""
    if values.shape == (width, height):
        return "; its axes are swapped: segment.T has this size"
    if values.ndim == 4 and values.shape[2:] == (height, width):
        return "; take one mask out of the batch, " + ("segment[0, 0]" if values.shape[1] == 1 else "segment[0]")
    if values.ndim != 3:
        return ""
    if values.shape[1:] == (height, width):
        axis, count, color = 0, len(values), "np.reshape((red, green, blue), (3, 1, 1))"
        place, one = "first", "segment[{}]"
    elif values.shape[:2] == (height, width):
        axis, count, color = -1, values.shape[2], "(red, green, blue)"
        place, one = "last", "segment[..., {}]"
    else:
        return ""
    if count == 1:
        return f"; take the mask out of its {place} axis, {one.format(0)}"
    if ((values == 0) | (values == 1)).all() and (values.sum(axis=axis) == 1).all():
        return f"; it is one-hot: segment.argmax({axis}) == k is the mask of class k"
    if count in (3, 4) and values.dtype.kind in "ui" and values.max(initial=0) > 1:
        return f"; if these are RGB colors, one color for a class: (segment == {color}).all({axis})"
    return (
        f"; with one map per class, {one.format('k')} is the mask of class k where classes may overlap, and "
        f"segment.argmax({axis}) == k where they exclude each other"
    )


def find_ambiguity(
    given: GivenMask, name: str, variable: str, *, may_ignore: bool = True, target: int | None = None
) -> Ambiguity | None:
    """Find out whether a mask of whole numbers, in which nonzero means segment, may mean something else.

    Parameters
    ----------
    given : GivenMask (H, W)
    name : str
        Name of the mask in the text.
    variable : str
        Name of the mask in code that the text suggests.
    may_ignore : bool
        Whether the text may suggest `ignore=`.
    target : int, optional
        The class that is meant, if it is known.

    Returns
    -------
    Ambiguity or None
    """
    if given.values.dtype.kind not in "ui":
        return None
    nonzero = given.values[given.values != 0]
    if not nonzero.size or nonzero.min() == nonzero.max():
        return None
    found: list[int] = np.unique(nonzero).tolist()
    dark, light = ([value for value in found if low < value < high] for low, high in _NEAR_BLACK_OR_WHITE)
    if dark and light and len(dark) + len(light) + found.count(255) == len(found):
        return Ambiguity(
            "classes",
            f"{name} has {len(found)} different values besides 0, all near 0 or 255, as a mask has that was stored as "
            f"JPEG, and all of them count; use {variable} > 127",
        )
    classes = [value for value in found if value not in _CUSTOMARY]
    one_class = f"{variable} == {target if target in classes else (classes or found)[0]}"
    mark = find_mark(nonzero)
    if mark is None:
        if given.mark is not None:
            # The mask of one class has no ignored value any more.
            one_class += f" with ignore={variable} == {given.mark:g}"
        return Ambiguity(
            "classes",
            f"{name} has {len(found)} different values besides 0 and all of them count; "
            f"for one class of a label map use {one_class}",
        )
    both = f"{name} has the value {mark} beside {classes[0]}, and both count as the segment; "
    if not may_ignore:
        return Ambiguity("ignore", f"{both}for one class of a label map use {one_class}")
    several = f"; for one class of a label map use {one_class} with ignore={variable} == {mark}"
    return Ambiguity(
        "ignore",
        f"{both}if {mark} marks pixels that do not count, say so: ignore={mark}{several if len(classes) > 1 else ''}",
    )


def find_mark(values: NDArray[Any]) -> int | None:
    """A value that by custom marks pixels without a label, if whole numbers have it beside class numbers."""
    found: list[int] = np.unique(values[values != 0]).tolist()
    marks = [value for value in _CUSTOMARY if value in found]
    classes = [value for value in found if value not in _CUSTOMARY]
    return marks[0] if marks and classes and classes[-1] <= _GRAY else None
