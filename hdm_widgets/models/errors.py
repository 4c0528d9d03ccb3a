"""Errors of a model, and how they are told apart."""

from __future__ import annotations

import warnings

import torch

__all__ = ["ModelError", "ModelOutputError", "describe_error", "is_out_of_memory"]


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


def describe_error(error: BaseException) -> str:
    """Type and first line of an error, for use inside another message."""
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or an accelerator."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
