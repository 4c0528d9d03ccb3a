"""What the masks of one scan answer, and in which time: `python benchmarks/measures.py`.

Scans of a demo's network, whose masks change, and then for each:

- seconds of every measure of all cells, from the masks that were kept;
- seconds of the influence of all discs on a region, the first time and again;
- memory of the kept masks and size of the file.

Seconds are of the CPU, in one thread, so that other programs count for little.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from scipy import ndimage

from hdm_widgets import demo, hdm
from hdm_widgets.hdm.named_measures import MeasureName

SIZES = ((240, 5), (512, 5), (512, 8))


def seconds(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def scan(size: int, offset: int) -> hdm.HDMResult:
    aerial = demo.aerial()
    # Several scenes side by side.
    side = -(-size // 96)
    images = [aerial.dataset[index][0] for index in range(side * side)]
    image = torch.cat([torch.cat(images[row * side : (row + 1) * side], 2) for row in range(side)], 1)[:, :size, :size]
    masks = [torch.as_tensor(aerial.dataset[index][1]) for index in range(side * side)]
    truth = torch.cat([torch.cat(masks[row * side : (row + 1) * side], 1) for row in range(side)], 0)[:size, :size]
    explainer = hdm.HausdorffDistanceMasks(size, size)
    explainer.generate_masks(circle_size=25, offset=offset)
    return explainer.explain(aerial.model, image.contiguous(), truth.numpy() > 0, progress=False)


def report(result: hdm.HDMResult) -> None:
    def show(name: str, ask: Callable[[], object]) -> None:
        print(f"  {name:<14} {seconds(ask):7.3f} s")

    for name in get_args(MeasureName):
        if name != "rows":
            show(name, partial(result.measure, name, result.segment))
    region = np.zeros(result.segment.shape, bool)
    region[result.height // 4 : result.height // 3, result.width // 4 : result.width // 3] = True
    objects = ndimage.label(result.segment)[0]
    show("influence", partial(result.influence, region))
    show("  again", partial(result.influence, region))
    show("matrix", partial(result.influence_matrix, objects, objects))
    patches = result._masks.patches.values()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.npz"
        result.save(path)
        print(
            f"  {objects.max()} objects; masks {sum(len(patch.bits) for patch in patches) / 1e6:.2f} MB, "
            f"{len(set(patches))} different; file {path.stat().st_size / 1e6:.2f} MB"
        )


def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, circle 25, the aerial demo's scenes side by side")
    for size, offset in SIZES:
        result = scan(size, offset)
        print(f"\n{size} px, offset {offset}: {result.values.size} cells")
        report(result)


if __name__ == "__main__":
    main()
