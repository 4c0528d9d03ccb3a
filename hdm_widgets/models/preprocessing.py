"""Make what a model expects of images as users have them, and find out which part of the image is left of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdm_widgets._validation import looks_channels_last, to_tensor
from hdm_widgets.models.alignment import STEP_ERROR, Align, Alignment, Inspection, Size, find_alignment
from hdm_widgets.models.cuts import Cuts
from hdm_widgets.models.errors import ModelError, ModelOutputError

__all__ = ["Pipeline", "Preprocessing"]


class Pipeline(nn.Module):
    """A model with what comes before and after it, as a Module that can be traced.

    Parameters
    ----------
    model : torch.nn.Module
    run : callable
        (model, images) -> maps, without any checks of values.
    """

    def __init__(self, model: nn.Module, run: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.training = False
        self._run = run

    def forward(self, images: Tensor) -> Tensor:
        """Maps (N, classes, H, W) for images (N, C, H, W)."""
        return self._run(self.model, images)


class Preprocessing:
    """Runs a user's `preprocess`.

    Parameters
    ----------
    function : callable or None
        None leaves the images as they are.
    align : {"auto", "resize", "center"}
        The user's choice.
    """

    def __init__(self, function: Callable[[Tensor], Tensor] | None, align: Align) -> None:
        self._function, self._align = function, align
        # By the size of the images that the model is given, and of the images as users have them.
        self._alignments: dict[tuple[Size, Size], Alignment] = {}

    def batch(self, images: Tensor | NDArray[Any]) -> Tensor:
        """Images as users have them, as (N, C, H, W); with a function, (N, H, W, C) serve too.

        Raises
        ------
        ValueError
            If they have another number of dimensions, or there is none.
        """
        given = to_tensor(images)
        if given.ndim != 4:
            raise ValueError(f"images must have four dimensions (N, C, H, W), got shape {tuple(given.shape)}")
        if not len(given):
            raise ValueError("there is no image: N is 0")
        last = self._function is not None and looks_channels_last(tuple(given.shape[1:]))
        return given.permute(0, 3, 1, 2).contiguous() if last else given

    def __call__(self, images: Tensor) -> Tensor:
        """The images (N, C, H, W) as the model expects them, but for padding and precision.

        Raises
        ------
        ModelError
            If the function returns no such images.
        """
        if self._function is None:
            return images
        given = self._function(images if images.is_floating_point() else images.float())
        expected = f"preprocess must return images (N, C, H, W) for images {tuple(images.shape)}, it returned "
        if not isinstance(given, Tensor):
            advice = "; return a torch tensor, torch.as_tensor(array)" if hasattr(given, "__array__") else ""
            raise ModelError(f"{expected}{type(given).__name__}{advice}")
        if given.ndim != 4 or given.shape[0] != images.shape[0]:
            raise ModelError(f"{expected}{tuple(given.shape)}")
        if given.shape[1:3] == images.shape[-2:] != given.shape[-2:] and given.shape[-1] in (1, 3, 4):
            raise ModelError(
                f"{expected}{tuple(given.shape)}; leave the channels where they are, and give a model that takes them "
                "last a function: Segmenter(lambda images: model(images.permute(0, 2, 3, 1)), preprocess=...)"
            )
        return given

    def find(self, given: Tensor, images: Tensor, inner: Alignment | None) -> Alignment:
        """Find out which part of the `images` is left in those `given` to the model, and remember it.

        Parameters
        ----------
        given, images : torch.Tensor (N, C, H, W)
        inner : Alignment or None
            Of the model's maps in `given`. If they have all of it, `align="center"` is about the images.

        Raises
        ------
        ModelOutputError
            If it cannot be told.
        """
        size, image = _size(given), _size(images)
        found = self._alignments.get((size, image))
        if found is None:
            found = self._alignments[size, image] = self._found(size, image, images[:1], inner)
        return found

    def known(self, image: Size) -> Alignment | None:
        """What `find` has found for images of a size; None before."""
        return next((found for (_, size), found in self._alignments.items() if size == image), None)

    def _found(self, size: Size, image: Size, images: Tensor, inner: Alignment | None) -> Alignment:
        if size == image:
            return Alignment("same", size, image)
        if self._align == "resize":
            return Alignment("resize", size, image)
        found = self._traced(size, image, images)
        if found is None and self._align == "center" and (inner is None or inner.kind == "same"):
            found = Alignment("center", size, image)
        if found is None:
            raise ModelOutputError(
                f"preprocess makes images of {size[0]} x {size[1]} px of images of {image[0]} x {image[1]} px (rows x "
                "columns), and it cannot be told which part of the image that is; write align='resize' if it is all of "
                "it at another scale, or align='center' if it is the center; for padding write pad_to="
            )
        return found

    def _traced(self, size: Size, image: Size, images: Tensor) -> Alignment | None:
        # This takes a second to load, and few models need it.
        from hdm_widgets.windowed.geometry import output_geometry

        module = self._function if isinstance(self._function, nn.Module) else nn.Identity()
        geometry = output_geometry(Pipeline(module, lambda _, batch: self(batch)), images[0])
        if size[0] > image[0] or size[1] > image[1]:
            sides = zip(geometry or (), size, image, strict=geometry is not None)
            enlarged = geometry is not None and all(
                abs(step * small / side - 1) < STEP_ERROR for (step, _), small, side in sides
            )
            return Alignment("resize", size, image) if enlarged else None
        if geometry is None:
            return Alignment("resize", size, image) if self._uses_border(images, size) else None
        try:
            return find_alignment(size, image, "auto", Inspection(lambda: Cuts(sliced=True), lambda: geometry))
        except ModelOutputError:
            return None

    def _uses_border(self, images: Tensor, size: Size) -> bool:
        """Whether the outermost pixels of an image matter, as they do where it is resized, not cropped."""
        changed = images.clone()
        low, high = images.aminmax()
        for axis, (side, left) in enumerate(zip(images.shape[-2:], size, strict=True), start=2):
            width = max(1, min(math.ceil(side / left), (side - left) // 2))
            for start in (0, side - width):
                border = changed.narrow(axis, start, width)
                border.copy_(torch.where(border > (low + high) / 2, low, high))
        return not torch.equal(self(images.clone()), self(changed))


def _size(images: Tensor) -> Size:
    return int(images.shape[-2]), int(images.shape[-1])
