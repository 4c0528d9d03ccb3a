"""What changed images have in common, far from where they were changed.

A change in a window moves the statistics of whole maps: those of a group norm, or the mean behind a gate. These act
everywhere, so every other position changes by a little, and with it the statistics of later layers: in some networks by
more than what the window itself adds. How the rest of the image answers hardly depends on where the change is. So
windows of an estimate are completed from the activations that some changed images have in common, in place of those of
the unchanged image.
"""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from hdm_widgets.models.tf32 import without_tf32
from hdm_widgets.windowed.estimates import Summary
from hdm_widgets.windowed.inference import WindowedInference
from hdm_widgets.windowed.network import channels_last, whole_window
from hdm_widgets.windowed.steps import Constant

__all__ = ["TypicalActivations"]


class TypicalActivations:
    """Mean activations of some changed images without the largest and the smallest value at each position.

    As each position is in the window of at most one of them, or of few, what is left is what they have in common.

    Parameters
    ----------
    inference : WindowedInference
        Of an estimate.

    Attributes
    ----------
    images : int
        How many there are so far.
    """

    def __init__(self, inference: WindowedInference) -> None:
        self._inference = inference
        self._sums: dict[str, Tensor] = {}
        self._largest: dict[str, Tensor] = {}
        self._smallest: dict[str, Tensor] = {}
        self.images = 0

    @torch.inference_mode()
    def add(self, image: Tensor) -> Tensor:
        """Run the network on a changed image (C, H, W); returns its output, (1, ...)."""
        network = self._inference.network
        with without_tf32(network.device):
            values = network.activations(image)
        output = values[network.program.output]
        # Constants stay, and the image; what is not real, such as positions of maxima, has no mean.
        kept = {step.name for step in network.program.steps if isinstance(step, Constant)} | {network.program.image}
        for name in [name for name, value in values.items() if value.is_floating_point() and name not in kept]:
            value = values.pop(name)
            wide = value.to(torch.promote_types(value.dtype, torch.float32))
            if not self.images:
                self._sums[name], self._largest[name], self._smallest[name] = wide, value, value
                continue
            self._sums[name] = self._sums[name] + wide
            self._largest[name] = torch.maximum(self._largest[name], value)
            self._smallest[name] = torch.minimum(self._smallest[name], value)
        self.images += 1
        return output

    @torch.inference_mode()
    def inference(self) -> WindowedInference:
        """Windows that are completed from what at least three images have in common; `output` is what they share."""
        if self.images < 3:
            raise ValueError(
                f"expected at least 3 images, of which two are left out at each position, got {self.images}"
            )
        program = self._inference.network.program
        values = dict(self._inference.activations)
        for name, total in self._sums.items():
            largest, smallest = self._largest[name], self._smallest[name]
            mean = ((total - largest - smallest) / (self.images - 2)).to(largest.dtype)
            # What is infinite in some images is as in the unchanged one; what is the same in all is not rounded.
            mean = torch.where(mean.isfinite(), mean, values[name])
            values[name] = torch.where(largest == smallest, largest, mean)
        for step in program.steps:
            if isinstance(step, Summary):
                # Of the values above: their own statistics have what their windows add too.
                values[step.name] = step.compute(
                    [values[name] for name in step.inputs], *whole_window(program, step), program.numbers_at(1)
                )
        other = copy(self._inference)
        other.output = values[program.output]
        other.activations = {name: channels_last(values[name]) for name in self._inference.activations}
        return other
