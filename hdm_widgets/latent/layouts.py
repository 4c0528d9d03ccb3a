"""Which axis of a layer's maps holds the channels: the first, as for convolutions, or the last."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

__all__ = ["FIRST", "LAST", "Layout", "MapLayout", "channels_first", "layout_of_maps", "turned"]

Layout = Literal["auto", "channels_first", "channels_last"]
MapLayout = Literal["channels_first", "channels_last"]
Shape = tuple[int, ...]

FIRST: MapLayout = "channels_first"
LAST: MapLayout = "channels_last"

# Layers of these types have the channels where they need them; a subclass may move them.
_FIRST_TYPES = {
    nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.SyncBatchNorm, nn.InstanceNorm2d, nn.GroupNorm, nn.MaxPool2d,
    nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle,
}  # fmt: skip
_LAST_NORMS = {nn.LayerNorm, nn.RMSNorm}


def channels_first(activation: Tensor, layout: MapLayout) -> Tensor:
    """Maps (N, channels, rows, cols) of maps in a layout; anything else as it is."""
    return activation.movedim(-1, 1) if layout == LAST and activation.ndim == 4 else activation


def turned(shape: Shape, layout: MapLayout) -> Shape:
    """Shape of one image's `channels_first`."""
    return (shape[2], *shape[:2]) if layout == LAST and len(shape) == 3 else shape


def layout_of_maps(
    module: nn.Module, shape: Shape, image_size: tuple[int, int], other_height: Callable[[], Shape | None]
) -> MapLayout | None:
    """The layout of the maps that a module puts out.

    Parameters
    ----------
    module : torch.nn.Module
    shape : tuple of int
        Of its output for one image, three axes.
    image_size : tuple of int
        Rows and columns of the image. The maps have its proportions.
    other_height : callable
        Returns the shape of its output for an image of another height, or None if the network does not take
        one; called if needed.

    Returns
    -------
    "channels_first", "channels_last" or None
        None if it cannot be told.
    """
    if type(module) in _FIRST_TYPES:
        return FIRST
    first, last = (_proportional(size, image_size) for size in (shape[1:], shape[:2]))
    if first and not last:
        return FIRST
    other = other_height()
    if other is not None and len(other) == 3 and other[2] == shape[2] and other != shape:
        # The rows are the axis that has changed.
        return FIRST if other[0] == shape[0] else LAST
    if (told := _layout_by_weights(module, shape)) is not None:
        return told
    if first and last:
        first, last = (_exactly_proportional(size, image_size) for size in (shape[1:], shape[:2]))
        if first == last:
            return None
    return LAST if last else FIRST


def _layout_by_weights(module: nn.Module, shape: Shape) -> MapLayout | None:
    """The channels are on the axis that has as many entries as the module's vectors of weights, such as a bias."""
    # A norm may also be over all axes.
    if type(module) is nn.Linear or (type(module) in _LAST_NORMS and len(vars(module)["normalized_shape"]) == 1):
        return LAST
    vectors = {len(weight) for weight in module._parameters.values() if weight is not None and weight.ndim == 1}
    first, last = shape[0] in vectors, shape[2] in vectors
    return None if first == last else FIRST if first else LAST


def _proportional(size: Shape, image_size: tuple[int, int]) -> bool:
    """Whether maps of this size may be the image at another scale, with sizes rounded from layer to layer."""
    if image_size[0] == image_size[1]:
        return size[0] == size[1]
    # Scales at which a side of the image has that many positions, give or take one.
    lowest = max(whole / (part + 1) for part, whole in zip(size, image_size, strict=True))
    highest = min(whole / (part - 1) if part > 1 else math.inf for part, whole in zip(size, image_size, strict=True))
    return lowest < highest


def _exactly_proportional(size: Shape, image_size: tuple[int, int]) -> bool:
    return size[0] * image_size[1] == size[1] * image_size[0]
