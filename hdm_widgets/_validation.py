"""What a user hands in, checked before any work starts; errors and warnings that name what to write."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import math
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


def _checked(function: Callable[P, T], signature: inspect.Signature, retired: Mapping[str, str]) -> Callable[P, T]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [name for name, one in signature.parameters.items() if name not in ("self", "cls") and one.kind in named]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in kwargs:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                raise TypeError(f"{function.__qualname__}() has no keyword {name!r}; {retired.get(name, advice)}")
        return function(*args, **kwargs)

    return checked


def to_tensor(images: Tensor | NDArray[Any]) -> Tensor:
    """A tensor of images or masks; arrays are copied, so that any layout and byte order serves."""
    if isinstance(images, Tensor):
        return images.detach()
    array = np.asarray(images)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def check_image(image: object, height: int, width: int) -> Tensor:
    """The image as float32 (C, H, W); a (H, W) image gets one channel."""
    if not isinstance(image, (Tensor, np.ndarray)):
        raise TypeError(f"the image must be a torch tensor or a numpy array, got {type(image).__name__}")
    shape = tuple(image.shape)
    if len(shape) not in (2, 3):
        advice = "; take one image out of the batch, image[0]" if len(shape) == 4 else ""
        raise ValueError(f"the image must be (C, H, W) or (H, W), got shape {shape}{advice}")
    if shape[-2:] != (height, width):
        advice = ""
        if len(shape) == 3 and shape[:2] == (height, width):
            advice = "; channels come first: image.transpose(2, 0, 1) for numpy, image.permute(2, 0, 1) for torch"
        raise ValueError(
            f"expected an image {width} px wide and {height} px high, (C, {height}, {width}), got shape {shape}{advice}"
        )
    if len(shape) == 3 and shape[0] == 0:
        raise ValueError(f"the image has no channel, got shape {shape}")
    floating = image.is_floating_point() if isinstance(image, Tensor) else np.issubdtype(image.dtype, np.floating)
    if not floating:
        raise TypeError(
            f"the image must be of a floating type, scaled as the model expects it, got {image.dtype}; "
            "for values 0 to 255: image.astype('float32') / 255"
        )
    checked = to_tensor(image).to("cpu", torch.float32, copy=True)
    # The sum is several times quicker than a look at every value; it may overflow where none is wrong.
    if not math.isfinite(float(checked.sum())) and not bool(torch.isfinite(checked).all()):
        channel_row_col = tuple(int(i) for i in (~torch.isfinite(checked)).nonzero()[0])
        raise ValueError(f"the image has NaN or infinity, first at {channel_row_col}")
    return checked[None] if checked.ndim == 2 else checked


def check_channels_first(shape: tuple[int, ...]) -> None:
    """Refuse what looks like (H, W, C), before its sides are taken for those of the image."""
    if len(shape) == 3 and shape[-1] in (1, 3, 4) and shape[0] not in (1, 3, 4) and shape[0] > shape[-1]:
        raise ValueError(
            f"the image must be (C, H, W), got shape {shape}; channels come first: "
            "image.transpose(2, 0, 1) for numpy, image.permute(2, 0, 1) for torch"
        )


def check_segment(segment: object, height: int, width: int) -> NDArray[Any]:
    """The true mask as a numpy array (H, W) of its own type, the caller's no longer."""
    if isinstance(segment, Tensor):
        segment = segment.detach().cpu().numpy()
    if not isinstance(segment, np.ndarray):
        raise TypeError(f"the segment must be a torch tensor or a numpy array, got {type(segment).__name__}")
    if segment.dtype.kind not in "buif":
        raise TypeError(f"the segment must be bool, whole or real numbers, nonzero = segment, got {segment.dtype}")
    if segment.shape != (height, width):
        advice = "; take the mask out of its first axis, segment[0]" if segment.shape[1:] == (height, width) else ""
        raise ValueError(
            f"expected a segment of the image's size ({height}, {width}), got shape {segment.shape}{advice}"
        )
    if segment.dtype.kind == "f" and not np.isfinite(segment).all():
        raise ValueError("the segment has NaN or infinity")
    return segment.copy()


def check_channel(channel: object, channels: int) -> int:
    """-1 for all channels, or the index of one."""
    if not is_whole(channel):
        raise TypeError(f"channel must be a whole number, got {channel!r}")
    if not -1 <= channel < channels:
        raise ValueError(f"channel must be -1 (all) or 0 to {channels - 1} for this image, got {channel}")
    return int(channel)


def check_region(region: object, height: int, width: int) -> tuple[int, int, int, int]:
    """A half-open box (row0, col0, row1, col1) with pixels of the image in it."""
    if not isinstance(region, (tuple, list)) or len(region) != 4:
        raise TypeError(f"region must be (row0, col0, row1, col1), got {region!r}")
    if not all(is_whole(edge) for edge in region):
        raise TypeError(f"region must be four whole numbers, got {region!r}")
    row0, col0, row1, col1 = (int(edge) for edge in region)
    if not (0 <= row0 < row1 <= height and 0 <= col0 < col1 <= width):
        raise ValueError(
            f"region (row0, col0, row1, col1) must satisfy 0 <= row0 < row1 <= {height} and "
            f"0 <= col0 < col1 <= {width}, got {region!r}"
        )
    return row0, col0, row1, col1


def check_choice(name: str, value: object, choices: Any, advice: str = "") -> Any:
    """`value`, if it is one of `choices`: a Literal, or a collection of names."""
    known = get_args(choices) or tuple(choices)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}{advice}")
    return value
