"""What a user hands in, checked before any work starts; errors and warnings that name what to write."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeGuard, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=type)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, of Python's or NumPy's; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def warn_user(message: str) -> None:
    """Warn at the line outside this package that the call came from."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("hdm_widgets."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def advise_on_keywords(function: Callable[P, T]) -> Callable[P, T]:
    """Name the nearest known keyword, or all of them, when a call has an unknown one."""
    return _checked(function, inspect.signature(function), {})


def takes_options(options: type) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Spell out the `**options` of a function, which are the fields of a dataclass.

    The signature gets the fields as keywords, for completion, and the docstring gets the dataclass's `Parameters` in
    place of its entry `**options`. Calls are advised as by `advise_on_keywords`; the dataclass's `RETIRED`, if it has
    one, says what to write in place of a keyword that is no more.
    """

    def spell_out(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)
        own = [parameter for parameter in signature.parameters.values() if parameter.kind != parameter.VAR_KEYWORD]
        more = [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
            for field in dataclasses.fields(options)
        ]
        spelled = signature.replace(parameters=[*own, *more])
        checked = _checked(function, spelled, getattr(options, "RETIRED", {}))
        checked.__signature__ = spelled  # type: ignore[attr-defined]
        checked.__doc__ = _with_parameters(function.__doc__, options)
        return checked

    return spell_out


_OPTIONS = re.compile(r"^\*\*options\n( +.*\n)*", re.MULTILINE)
_PARAMETERS = re.compile(r"^Parameters\n-+\n(.*?)(?=\n\n\S+\n-+\n|\Z)", re.DOTALL | re.MULTILINE)


def documents_options(options: type) -> Callable[[C], C]:
    """Spell out the `**options` in the docstring of a class whose constructor `takes_options`."""

    def spell_out(cls: C) -> C:
        cls.__doc__ = _with_parameters(cls.__doc__, options)
        return cls

    return spell_out


def _with_parameters(documentation: str | None, options: type) -> str:
    """A docstring with the dataclass's `Parameters` in place of its entry `**options`."""
    found = _PARAMETERS.search(inspect.cleandoc(options.__doc__ or ""))
    parameters = found.group(1).rstrip() if found else ""
    return _OPTIONS.sub(lambda _: parameters + "\n", inspect.cleandoc(documentation or ""))


def _keywords(signature: inspect.Signature) -> list[str]:
    """What can be given by its name."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, one in signature.parameters.items() if name not in ("self", "cls") and one.kind in named]


def _checked(function: Callable[P, T], signature: inspect.Signature, retired: Mapping[str, str]) -> Callable[P, T]:
    known = _keywords(signature)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in kwargs:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                # Of a method: what its class takes is easily given to the method.
                owner = type(args[0]) if args and "self" in signature.parameters else object
                if name in _keywords(inspect.signature(owner.__init__)):
                    advice = f"it is one of {owner.__name__}({name}=...)"
                raise TypeError(f"{function.__qualname__}() has no keyword {name!r}; {retired.get(name, advice)}")
        _check_simple(signature, args, kwargs, ("bool", "torch.device | str"))
        return function(*args, **kwargs)

    return checked


def checks_simple_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """Refuse arguments that are not of their annotated type, where that is a number, a bool, a text or a path."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        _check_simple(signature, args, kwargs, tuple(_SIMPLE))
        return function(*args, **kwargs)

    return checked


def _check_simple(
    signature: inspect.Signature, args: tuple[object, ...], kwargs: Mapping[str, object], kinds: tuple[str, ...]
) -> None:
    """Check arguments with annotations of these kinds, or that and None."""
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return  # what is missing or too many, Python says by itself
    for name, value in given.items():
        annotation = str(signature.parameters[name].annotation)
        kind = annotation.removesuffix(" | None")
        if kind not in kinds or (value is None and kind != annotation) or value is signature.parameters[name].default:
            continue
        holds, expected = _SIMPLE[kind]
        if not holds(value):
            or_none = " or None" if kind != annotation else ""
            raise TypeError(f"{name} must be {expected}{or_none}, got {brief(value)}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _is_device(value: object) -> bool:
    try:
        return isinstance(value, torch.device) or (isinstance(value, str) and bool(torch.device(value)))
    except RuntimeError:
        return False


# What an annotation asks for, and how that is told.
_SIMPLE: dict[str, tuple[Callable[[object], bool], str]] = {
    "int": (is_whole, "a whole number"),
    "float": (_is_number, "a number"),
    "bool": (lambda value: isinstance(value, (bool, np.bool_)), "True or False"),
    "str": (lambda value: isinstance(value, str), "a text"),
    "str | os.PathLike[str]": (lambda value: isinstance(value, (str, os.PathLike)), "a path"),
    "torch.device | str": (_is_device, "a device of torch, such as 'cpu' or 'cuda:0'"),
}


def brief(value: object) -> str:
    """A value as an error tells it: of arrays and tensors the shape only, of others not more than a line."""
    if isinstance(value, (np.ndarray, Tensor)):
        return f"{type(value).__name__} of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def to_tensor(images: Tensor | NDArray[Any]) -> Tensor:
    """A tensor of images or masks; arrays are copied, so that any layout and byte order serves."""
    if isinstance(images, Tensor):
        return images.detach()
    array = np.asarray(images)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


# How many channels an image usually has; of (H, W, C), the last side is one of these.
_USUAL_CHANNELS = (1, 3, 4)
CHANNELS_FIRST = (
    "; channels come first: image.transpose(2, 0, 1) for numpy, image.permute(2, 0, 1) for torch "
    "(a Segmenter with preprocess= takes (H, W, C) as it is)"
)


def image_size(image: object, *, preprocess: bool = False, mask: object = None) -> tuple[int, int]:
    """Height and width of an image.

    Parameters
    ----------
    image : object
    preprocess : bool
        Whether it is for a Segmenter with `preprocess=`: then it may be (H, W, C) too.
    mask : object
        The image's ground truth, whose shape tells (C, H, W) from (H, W, C) where it fits one of them.

    Returns
    -------
    tuple of int
    """
    shape = tuple(getattr(image, "shape", ()))
    if len(shape) < 2:
        # Neither an array nor an image: the check says so in full.
        check_image(image, 1, 1)
    size = mask_size(mask)
    if preprocess and size in (shape[:2], shape[-2:]):
        return int(size[0]), int(size[1])
    if not looks_channels_last(shape):
        if preprocess and len(shape) == 3 and shape[0] in _USUAL_CHANNELS and shape[-1] in _USUAL_CHANNELS:
            raise _ambiguous(shape, "give a segment (H, W) of its size")
        return int(shape[-2]), int(shape[-1])
    if preprocess:
        return int(shape[0]), int(shape[1])
    raise ValueError(f"the image must be (C, H, W), got shape {shape}{CHANNELS_FIRST}")


def mask_size(mask: object) -> tuple[int, ...]:
    """(H, W) of a mask, or of colors (H, W, C) in its place; fewer numbers of anything else."""
    shape = tuple(getattr(mask, "shape", ()))
    return shape[:2] if looks_channels_last(shape) else shape[-2:]


def looks_channels_last(shape: tuple[int, ...]) -> bool:
    """Whether a shape is that of (H, W, C), as far as its sides tell."""
    usual = _USUAL_CHANNELS
    return len(shape) == 3 and shape[-1] in usual and shape[0] not in usual and shape[0] > shape[-1]


def _ambiguous(shape: tuple[int, ...], advice: str) -> ValueError:
    return ValueError(f"an image of shape {shape} may be (C, H, W) or (H, W, C); {advice}")


def check_image(
    image: object, height: int, width: int, *, preprocess: bool = False, advice_if_swapped: str = ""
) -> Tensor:
    """The image as float32 (C, H, W); a (H, W) image gets one channel.

    With `preprocess`, for a Segmenter that has one, values of whole numbers stay as they are, and the image may be
    (H, W, C) too. `advice_if_swapped` ends the message about an image whose height and width are swapped.
    """
    if not isinstance(image, (Tensor, np.ndarray)):
        advice = "; np.asarray(image) makes one" if hasattr(image, "__array_interface__") else ""
        raise TypeError(f"the image must be a torch tensor or a numpy array, got {type(image).__name__}{advice}")
    shape = tuple(image.shape)
    if len(shape) not in (2, 3):
        advice = "; take one image out of the batch, image[0]" if len(shape) == 4 else ""
        raise ValueError(f"the image must be (C, H, W) or (H, W), got shape {shape}{advice}")
    first, last = shape[-2:] == (height, width), len(shape) == 3 and shape[:2] == (height, width)
    if preprocess and first and last:
        raise _ambiguous(shape, "normalize it yourself, for a Segmenter without preprocess, which takes (C, H, W) only")
    channels_last = preprocess and last
    if not first and not channels_last:
        advice = CHANNELS_FIRST if not preprocess and (last or looks_channels_last(shape)) else ""
        if (width, height) == shape[-2:] or (preprocess and (width, height) == shape[:-1]):
            advice = advice_if_swapped
        raise ValueError(
            f"expected an image {width} px wide and {height} px high, (C, {height}, {width}), got shape {shape}{advice}"
        )
    if 0 in shape:
        raise ValueError(f"the image has no channel, got shape {shape}")
    check_image_values("the image", image, preprocess=preprocess)
    checked = to_tensor(image).to("cpu", torch.float32, copy=True)
    if channels_last:
        checked = checked.permute(2, 0, 1).contiguous()
    # The sum is several times quicker than a look at every value; it may overflow where none is wrong.
    if not math.isfinite(float(checked.sum())) and not bool(torch.isfinite(checked).all()):
        axis = "" if len(shape) == 2 else "-1" if channels_last else "0"
        raise ValueError(f"{not_finite(checked)}{_fill_nodata(image, axis)}")
    return checked[None] if checked.ndim == 2 else checked


def not_finite(image: Tensor) -> str:
    """Say where an image has its first value that is NaN or infinite; empty where all are finite."""
    bad = (~torch.isfinite(image)).nonzero()
    return f"the image has NaN or infinity, first at {tuple(bad[0].tolist())}" if len(bad) else ""


def check_image_values(name: str, images: Tensor | NDArray[Any], *, preprocess: bool) -> None:
    """Refuse images whose values are not numbers as the model expects them, or are masked."""
    kind = np.dtype(str(images.dtype).removeprefix("torch.").replace("bfloat16", "float32")).kind
    if kind not in ("iuf" if preprocess else "f"):
        word = name.split()[-1]
        cast = f"{word}.float()" if isinstance(images, Tensor) else f"{word}.astype('float32')"
        remedy = cast
        if kind in "iu":
            values, scaled = _nominal_range(images)
            remedy = (
                f"for values {values}: {scaled.format(cast)}, or leave them as they are and let the Segmenter "
                f"normalize them, after the disc: hw.Segmenter(model, preprocess=lambda images: "
                f"{scaled.format('images')}); for a model that normalizes by itself: preprocess=lambda images: "
                "images.float()"
            )
        expected = "of real numbers" if preprocess else "of a floating type, scaled as the model expects it"
        raise TypeError(f"{name} must be {expected}, got {images.dtype}; {cast if preprocess else remedy}")
    if isinstance(images, np.ma.MaskedArray) and bool(np.ma.getmaskarray(images).any()):
        raise ValueError(
            f"{name} must have no masked values: fill them, .filled(0), and leave these pixels out with ignore="
        )


def _nominal_range(images: Tensor | NDArray[Any]) -> tuple[str, str]:
    """The range of whole numbers that images have by their type and values, in words, and what brings it to [0, 1]."""
    low, high = (0, 0) if 0 in images.shape else (int(edge) for edge in to_tensor(images).double().aminmax())
    if low < 0:
        return f"from {low} to {high}", f"({{}} + {-low}) / {max(1, high - low)}"
    if images.dtype.itemsize == 2 or high > 255:
        return "of 16 bits (or divide by the largest value that the model was trained with)", "{} / 65535"
    return "0 to 255", "{} / 255"


def _fill_nodata(image: Tensor | NDArray[Any], axis: str) -> str:
    """What to write where pixels without data are NaN or infinite."""
    library = "torch" if isinstance(image, Tensor) else "np"
    return (
        f"; where a pixel has no data, fill it, {library}.nan_to_num(image, nan=0, posinf=0, neginf=0), and leave it "
        f"out of the measures with ignore=~{library}.isfinite(image){f'.all({axis})' if axis else ''}"
    )


def check_channel(channel: object, channels: int) -> int | tuple[int, ...]:
    """-1 for all channels, the index of one, or the indices of several in ascending order."""
    entries = listed(channel)
    if entries is None:
        return _check_one_channel(channel, channels, least=-1)
    several = tuple(sorted(_check_one_channel(entry, channels, least=0) for entry in entries))
    if not several or len(set(several)) < len(several):
        raise ValueError(f"channel must name at least one channel, and none twice, got {brief(channel)}")
    return several if len(several) > 1 else several[0]


def _check_one_channel(channel: object, channels: int, *, least: int) -> int:
    if not is_whole(channel):
        raise TypeError(f"channel must be a whole number, got {brief(channel)}; a list of them covers several")
    if not least <= channel < channels:
        expected = "-1 (all) or 0" if least < 0 else "0"
        raise ValueError(f"channel must be {expected} to {channels - 1} for this image, got {channel}")
    return int(channel)


def listed(value: object) -> list[Any] | None:
    """The entries of a list, tuple, range or one-dimensional array or tensor; None for anything else."""
    if isinstance(value, (Tensor, np.ndarray)):
        entries: list[Any] | None = value.tolist() if value.ndim == 1 else None
        return entries
    return list(value) if isinstance(value, (list, tuple, range)) else None


def finite_number(value: object) -> float | None:
    """A number of Python's, NumPy's or torch's as float; None for anything else."""
    if isinstance(value, (Tensor, np.ndarray)) and not value.ndim:
        value = value.item()
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return float(value) if number and np.isfinite(value) else None  # type: ignore[arg-type,call-overload]  # a number


def check_region(region: object, height: int, width: int) -> tuple[int, int, int, int]:
    """A half-open box (row0, col0, row1, col1) with pixels of the image in it."""
    if not isinstance(region, (tuple, list)) or len(region) != 4:
        raise TypeError(f"region must be (row0, col0, row1, col1), got {brief(region)}")
    if not all(is_whole(edge) for edge in region):
        raise TypeError(f"region must be four whole numbers, got {brief(region)}")
    row0, col0, row1, col1 = (int(edge) for edge in region)
    if not (0 <= row0 < row1 <= height and 0 <= col0 < col1 <= width):
        raise ValueError(
            f"region (row0, col0, row1, col1) must satisfy 0 <= row0 < row1 <= {height} and "
            f"0 <= col0 < col1 <= {width}, got {brief(region)}"
        )
    return row0, col0, row1, col1


def check_device_exists(device: torch.device) -> None:
    """Refuse a CUDA device that torch does not find."""
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        found = f"the {count} of 'cuda:0' to 'cuda:{count - 1}'" if count else "none"
        raise ValueError(f"there is no device {str(device)!r}: of CUDA devices, torch finds {found}; drop device=")


def check_whole(name: str, value: object, least: int) -> int:
    """`value` as int, if it is a whole number of at least `least`; NumPy's whole numbers serve too."""
    if not is_whole(value) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {brief(value)}")
    return int(value)


def check_choice(name: str, value: object, choices: Any, advice: str = "") -> Any:
    """`value`, if it is one of `choices`: a Literal, or a collection of names."""
    known = get_args(choices) or tuple(choices)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {brief(value)}{advice}")
    return value
