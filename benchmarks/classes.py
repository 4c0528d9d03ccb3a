"""What keeping all classes costs: `python benchmarks/classes.py [--size 128]`.

A scan of a model with 12 classes with `target="all"` against one of its first class, side by side: the ratio should be
at most 1.3. Then what `result.for_class` takes for all other classes. Seconds are of the CPU, in one thread, so that
other programs count for little.

Two networks: one with random weights, whose classes are noise and change everywhere under a disc, which is the worst
case for what is kept; and one whose classes are smooth regions.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Literal

import numpy as np
import torch
from _timing import medians
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.options import InferenceMode

ROUNDS = 3
CLASSES = 12


class Classes(nn.Module):
    """A network with random weights, whose maps are standardized on one image, so that every class is somewhere.

    Parameters
    ----------
    image : torch.Tensor (C, H, W)
    block : int
        Maps are averaged over squares with this side, in pixels, and resized.
    """

    def __init__(self, image: Tensor, block: int) -> None:
        super().__init__()
        self.model = hw.UNet(in_channels=3, classes=CLASSES, width=16, depth=2).eval()
        self.block = block
        with torch.no_grad():
            maps = self._maps(image[None])
        self.mean = nn.Buffer(maps.mean((0, 2, 3), keepdim=True))
        self.deviation = nn.Buffer(maps.std((0, 2, 3), keepdim=True))

    def _maps(self, images: Tensor) -> Tensor:
        maps = self.model(images)
        if self.block > 1:
            small = F.avg_pool2d(maps, self.block)
            maps = F.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        return (self._maps(images) - self.mean) / self.deviation


def scan(
    model: nn.Module,
    image: Tensor,
    truth: NDArray[np.integer],
    offset: int,
    mode: InferenceMode,
    target: int | Literal["all"],
) -> hdm.HDMResult:
    # A new explainer each time: it remembers what it has measured.
    explainer = hdm.HausdorffDistanceMasks(truth.shape[1], truth.shape[0])
    explainer.generate_masks(circle_size=16, offset=offset)
    segment = truth if target == "all" else truth == target
    return explainer.explain(model, image, segment, progress=False, inference=mode, target=target)


def compare(name: str, size: int, block: int, offset: int, mode: InferenceMode) -> None:
    torch.manual_seed(0)
    image = torch.rand(3, size, size)
    model = Classes(image, block)
    with torch.no_grad():
        truth = model(image[None]).argmax(1)[0].roll(9, 1).numpy()
    first = int(truth[truth > 0].min())
    one, every = (partial(scan, model, image, truth, offset, mode, target) for target in (first, "all"))
    one()  # traces the network
    seconds_one, seconds_all = medians(ROUNDS, one, every, clock=time.process_time)
    result = every()
    started = time.process_time()
    for number in result.classes:
        result.for_class(number)
    rest = time.process_time() - started
    print(
        f"{name:<24}{result.values.size:>6} discs  one class {seconds_one:6.2f} s  all {seconds_all:6.2f} s   "
        f"ratio {seconds_all / seconds_one:.2f}   for_class of the others: {rest:.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="side of the image, in pixels")
    size = parser.parse_args().size
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, {size} px, {CLASSES} classes, medians of {ROUNDS} rounds")
    # Discs grow apart with the image, so that there are as many in any.
    for kind, block in (("noise", 1), ("smooth", 8)):
        compare(f"{kind}, whole images", size, block, 12 * size // 128, "full")
        compare(f"{kind}, windows", size, block, 6 * size // 128, "windowed")


if __name__ == "__main__":
    main()
