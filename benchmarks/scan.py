"""What a scan costs: `python benchmarks/scan.py`.

1. Against the bare batched forward of the same occluded images, in the same batches: the scan's own cost, which is
   occluding, thresholds, distances, bookkeeping and keeping every mask.
2. Against a loop written after the published description: one picture at a time, the mask drawn on the whole
   picture, the distance of rows. Measured on a sample of cells.

Medians of several rounds, the two sides taking turns.
"""

from __future__ import annotations

import numpy as np
import torch
from _timing import medians
from PIL import Image, ImageDraw
from scipy.spatial.distance import directed_hausdorff
from torch import Tensor, nn

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.data import PlantedCue
from hdm_widgets.hdm.occlusion import Occlusion

ROUNDS = 5


def explainer_for(width: int, height: int, circle: int, offset: int) -> hdm.HausdorffDistanceMasks:
    """An explainer that remembers nothing of the round before."""
    explainer = hdm.HausdorffDistanceMasks(width, height)
    explainer.generate_masks(circle, offset)
    return explainer


def own_cost(name: str, model: nn.Module, image: Tensor, segment: Tensor, circle: int, offset: int, batch: int) -> None:
    height, width = segment.shape
    grid = explainer_for(width, height, circle, offset).grid
    cells = np.concatenate([stage for _, stage in grid.stages()])
    occlusion = Occlusion.for_fill(grid, image, fill="minimum", channel=-1, normalize=False)
    images = [
        occlusion.changes(stage).images(np.arange(i, min(i + batch, len(stage))))
        for _, stage in grid.stages()
        for i in range(0, len(stage), batch)
    ]

    def bare() -> None:
        with torch.inference_mode():
            model(image[None])
            for some in images:
                model(some)

    def scan() -> None:
        explainer_for(width, height, circle, offset).explain(
            model, image, segment, "cpu", batch_size=batch, inference="full", progress=False
        )

    model.eval()
    bare()
    forward, whole = medians(ROUNDS, bare, scan)
    per_cell = 1e3 / len(cells)
    print(
        f"{name:<34}{len(cells):>6} discs  forward {forward * per_cell:6.2f} ms  scan {whole * per_cell:6.2f} ms a disc"
        f"   ratio {whole / forward:.3f}"
    )


def published_loop(
    model: nn.Module, image: Tensor, segment: Tensor, circle: int, offset: int, cells: list[tuple[int, int]]
) -> None:
    """After the description of the method's authors; model outputs (N, 1, H, W)."""
    truth = segment.numpy()
    for row, col in cells:
        x, y = col * offset, row * offset
        disc = Image.new("L", truth.shape[::-1], 255)
        ImageDraw.Draw(disc).ellipse((x, y, x + circle, y + circle), fill=0)
        mask = torch.from_numpy(np.asarray(disc, np.float32) / 255)
        output = model(torch.min(image, mask)[None]).detach().numpy()[0, 0]
        max(directed_hausdorff(output, truth)[0], directed_hausdorff(truth, output)[0])


def against_published(model: nn.Module, image: Tensor, segment: Tensor) -> None:
    height, width = segment.shape
    grid = explainer_for(width, height, 25, 5).grid
    # A window of the grid in the middle of the image, the same cells for both.
    window = (grid.height // 2, grid.width // 2, grid.height // 2 + 24, grid.width // 2 + 24)
    cells = [(int(row), int(col)) for row, col in np.argwhere(grid.touching(window))]
    model.eval()
    loop, ours = medians(
        ROUNDS,
        lambda: published_loop(model, image, segment, 25, 5, cells),
        lambda: explainer_for(width, height, 25, 5).explain(
            model, image, segment, "cpu", region=window, progress=False
        ),
    )
    print(
        f"{'240 px, circle 25, offset 5':<34}{len(cells):>6} discs  published loop {1e3 * loop / len(cells):6.1f} ms  "
        f"explain {1e3 * ours / len(cells):6.1f} ms a disc   factor {loop / ours:.2f}"
    )


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {ROUNDS} rounds")
    demo = hw.demo.shapes(0)
    own_cost("demo, 128 px, circle 10, offset 4", demo.model, demo.image, demo.segment, 10, 4, 4)
    torch.manual_seed(0)
    model = hw.UNet(in_channels=1, classes=1, width=16, depth=4)
    sample = PlantedCue(1, size=240, seed=3).sample(0)
    own_cost("U-Net width 16, 240 px, circle 25", model, sample.image, sample.segment, 25, 24, 1)
    against_published(model, sample.image, sample.segment)


if __name__ == "__main__":
    main()
