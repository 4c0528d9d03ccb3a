"""The occlusion that a fill makes; apart from both kinds of occlusion, which it chooses from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from hdm_widgets.hdm.grid import Grid
from hdm_widgets.hdm.inpainting import InpaintedOcclusion
from hdm_widgets.hdm.occlusion import Channel, Fill, Occlusion

__all__ = ["LazyOcclusion"]


@dataclass(frozen=True, eq=False)
class LazyOcclusion:
    """An occlusion of `image` (C, H, W) that is made when it is first needed."""

    grid: Grid
    image: Tensor
    fill: Fill
    channel: Channel
    normalize: bool
    own_range: bool = False
    seed: int = 0

    @cached_property
    def made(self) -> Occlusion | InpaintedOcclusion:
        """The occlusion itself."""
        if self.fill == "inpainted":
            return InpaintedOcclusion(self.grid, self.image, self.channel)
        return Occlusion.for_fill(
            self.grid,
            self.image,
            fill=self.fill,
            channel=self.channel,
            normalize=self.normalize,
            own_range=self.own_range,
            seed=self.seed,
        )

    def occluded(self, row: int, col: int) -> Tensor:
        """The image (C, H, W) with the disc of one cell."""
        return self.made.occluded(row, col)
