"""The outputs of a model for the windows of one image."""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import torch
from torch import Tensor

from hdm_widgets.models.batch_check import run_singly_if_mixing
from hdm_widgets.models.batch_size import run_in_batches
from hdm_widgets.models.errors import (
    ImageNotFiniteError,
    ModelError,
    ModelOutputError,
    WrongChannelsError,
    output_not_finite,
)
from hdm_widgets.models.sliding import BlendedBox, Box

if TYPE_CHECKING:
    from hdm_widgets.models.segmenter import Segmenter

__all__ = ["ImageWindows"]

# Bound on the outputs that are kept.
_OUTPUT_BYTES = 256 << 20


class ImageWindows:
    """The raw outputs of a segmenter for the windows of one image.

    Parameters
    ----------
    segmenter : Segmenter
        With a window; while it is `evaluating`.
    image : torch.Tensor (C, H, W)

    Attributes
    ----------
    segmenter : Segmenter
        For one window at a time.
    grid : WindowGrid
        Where the windows are.
    setup_seconds : float
        Time spent on the first output of each window.
    """

    def __init__(self, segmenter: Segmenter, image: Tensor) -> None:
        assert segmenter.sliding is not None  # whole images need no windows  # noqa: S101
        self._whole, self.segmenter, self.image = segmenter, segmenter.for_windows(), image
        self.grid = segmenter.sliding.grid(*image.shape[-2:])
        self._outputs: OrderedDict[int, Tensor] = OrderedDict()
        self._seen: set[int] = set()
        self.setup_seconds = 0.0

    def cut(self, index: int) -> Tensor:
        """What a window shows of the image, (C, rows, cols)."""
        return self.grid.cut(self.image, index)

    def raw(self) -> Tensor:
        """The blended output (1, classes, H, W) of the whole image.

        Raises
        ------
        ModelError
            Which names the window.
        """
        sizes = self._whole.sizes_for(self.cut(self.grid.center))
        if len(self.grid) > 1:
            run_singly_if_mixing(self._whole, self.cut(self.grid.center), sizes, remind=False)

        def run(part: slice) -> Tensor:
            return self.segmenter.raw(torch.stack([self.cut(index) for index in range(part.start, part.stop)]))

        def fail(index: int, error: Exception) -> NoReturn:
            # Of the whole image, which the user knows: no window is to blame.
            if isinstance(error, ImageNotFiniteError):
                raise output_not_finite(self.image[None], 0)
            if isinstance(error, WrongChannelsError):
                if self.segmenter.preprocess is not None:  # which may have made other channels of the image's
                    raise error
                shape = tuple(self.image.shape)
                raise WrongChannelsError.of(error.problem, error.expected, shape) from error.__cause__
            row, col = self.grid.inside(index)[:2]
            if not isinstance(error, ModelError) or len(self.grid) == 1:
                raise error
            located = type(error)(f"in the window at row {row}, column {col}: {error}")
            raise located from (None if isinstance(error, ModelOutputError) else error)

        blended: BlendedBox | None = None
        for part, outputs in run_in_batches(len(self.grid), run, sizes, on_error=fail):
            blended = blended or self.blended_box((0, 0, self.grid.height, self.grid.width))
            for index, output in zip(range(part.start, part.stop), outputs, strict=True):
                blended.add(index, output, 0, 0)
        assert blended is not None  # every image has a window  # noqa: S101
        return blended.result(self.segmenter.no_segment(outputs.shape[1]))[None]

    def output(self, index: int) -> Tensor:
        """The raw output (classes, rows, cols) of one window; those used last are kept."""
        output = self._outputs.pop(index, None)
        if output is None:
            before = time.perf_counter()
            output = self.segmenter.raw(self.cut(index)[None])[0]
            if index not in self._seen:
                self._seen.add(index)
                self.setup_seconds += time.perf_counter() - before
            room = _OUTPUT_BYTES // (output.numel() * output.element_size())
            while self._outputs and len(self._outputs) >= room:
                self._outputs.popitem(last=False)
        self._outputs[index] = output
        return output

    def blended_box(self, box: Box) -> BlendedBox:
        """What blends outputs of windows in a box of the image; after the first output of a window."""
        numbers = self.segmenter.reading.form == "class numbers"
        weights, gaps = self._weights
        return BlendedBox(self.grid, weights, box, numbers=numbers, gaps=gaps)

    @cached_property
    def _weights(self) -> tuple[Tensor, bool]:
        """The weight of each pixel of a window, (rows, cols), and whether any is 0, for a pixel without output."""
        window = self.grid.window
        numbers = self.segmenter.reading.form == "class numbers"
        weights = window.weights(peaked=numbers)
        valid = self.segmenter.valid_pixels(*window.size)
        if valid is not None:
            weights = weights * torch.from_numpy(np.ascontiguousarray(valid))
        return weights.to(self.segmenter.run_device), not bool(weights.all())
