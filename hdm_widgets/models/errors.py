"""Errors of a model, and how they are told apart."""

from __future__ import annotations

import warnings
from typing import NoReturn

import torch
from torch import Tensor

from hdm_widgets._validation import CHANNELS_FIRST, looks_channels_last, not_finite

__all__ = [
    "ImageNotFiniteError",
    "ModelError",
    "ModelOutputError",
    "WrongChannelsError",
    "describe_error",
    "first_line",
    "is_out_of_memory",
    "output_not_finite",
    "raise_with_cell",
]


class ModelError(RuntimeError):
    """The model raised an error.

    Attributes
    ----------
    image_index : int
        Index of the image that the model failed on, among the images that were handed in; -1 where that is unknown.
    cell : tuple of int or None
        (row, col) of the grid cell that was being measured, in a scan.
    result : object or None
        What a scan had measured until then.
    """

    def __init__(self, message: str, image_index: int = -1) -> None:
        super().__init__(message)
        self.image_index = image_index
        self.cell: tuple[int, int] | None = None
        self.result: object | None = None

    @property
    def picture(self) -> int:
        """Deprecated name of `image_index`."""
        warnings.warn("ModelError.picture is called image_index now", DeprecationWarning, stacklevel=2)
        return self.image_index


class ModelOutputError(ModelError, ValueError):
    """The model returned something that is no segmentation of the images it was given."""


class ImageNotFiniteError(ModelOutputError):
    """The model returned NaN or infinity for an image that has them too."""


class WrongChannelsError(ModelError):
    """The images have another number of channels than the model expects.

    Attributes
    ----------
    problem : str
        The message without advice.
    expected : int
        How many channels the model expects.
    """

    problem: str
    expected: int

    @classmethod
    def of(cls, problem: str, expected: int, shape: tuple[int, ...]) -> WrongChannelsError:
        """The error about an image of this shape (C, H, W), with the advice how to make another of it."""
        error = cls(f"{problem}; it expects images (C, H, W) with C = {expected}, {_channel_advice(expected, shape)}")
        error.problem, error.expected = problem, expected
        return error


def _channel_advice(expected: int, shape: tuple[int, ...]) -> str:
    got = shape[0]
    if shape[-1] == expected and looks_channels_last(shape):
        return f"got shape {shape}{CHANNELS_FIRST}"
    if got == 1:
        return f"not {got}: image[[0] * {expected}] repeats the channel of (1, H, W)"
    if expected == 1:
        return f"not {got}: image.mean(0) makes one channel of them"
    return f"not {got}" + (f": image[:{expected}] are its first channels" if got > expected else "")


def output_not_finite(images: Tensor, index: int) -> ModelOutputError:
    """The error about a model's output that has NaN or infinity, for one of these images (N, C, H, W)."""
    place = not_finite(images[index])
    if place:
        return ImageNotFiniteError(f"{place}, and so has the model's output; fill pixels that have no data", index)
    return ModelOutputError("the model returned NaN or infinity", index)


def describe_error(error: BaseException) -> str:
    """Type and first line of an error, for use inside another message."""
    name, text = type(error).__name__, first_line(error)
    return name if text == name else f"{name}: {text}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or an accelerator."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its type."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def raise_with_cell(error: Exception, cell: tuple[int, int] | None) -> NoReturn:
    """Raise a ModelError for an error, saying on which cell it came; None: the image without a disc."""
    where = "on the image without a disc" if cell is None else f"at cell (row {cell[0]}, column {cell[1]})"
    if isinstance(error, ModelError):
        located = type(error)(f"{where}: {error}")
    else:
        located = ModelError(f"{where}: {type(error).__name__}: {error}")
    located.cell = cell
    # What was wrong with an output is in the message; an error of the model's own keeps its traceback.
    raise located from (None if isinstance(error, ModelOutputError) else error)
