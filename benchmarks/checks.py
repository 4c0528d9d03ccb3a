"""What it costs to check a model's runs: `python benchmarks/checks.py`.

A scan runs the image without a disc once more, and a variant of it alone and in a batch, to find models that are random
or mix the images of a batch. Its time with these checks against its time without them, the two taking turns; every
scan is one that a new segmenter makes, so that it checks everything. Medians of several rounds.
"""

from __future__ import annotations

import torch
from _timing import medians

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.models.segmenter import Segmenter

ROUNDS = 5


def cost(name: str, model: torch.nn.Module, size: int, channels: int, offset: int) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(channels, size, size, generator=generator)
    segment = image[0] > 0.5
    explainer = hdm.HausdorffDistanceMasks(size, size)
    explainer.generate_masks(max(5, size // 10), offset)

    def scan(*, checked: bool) -> None:
        segmenter = Segmenter(model)
        if checked:
            segmenter.note_runs(image, batch_dependent=False, random=False)
        # Nothing is remembered of the scan before.
        fresh = hdm.HausdorffDistanceMasks(size, size)
        fresh.generate_masks(max(5, size // 10), offset)
        fresh.explain(segmenter, image, segment, fill=0.0, inference="full", progress=False)

    scan(checked=True)
    without, with_checks = medians(ROUNDS, lambda: scan(checked=True), lambda: scan(checked=False))
    print(
        f"{name:<30}{size:>5} px {explainer.grid.rows * explainer.grid.cols:>6} discs  without {without:6.2f} s  "
        f"with the checks {with_checks:6.2f} s  ratio {with_checks / without:.3f}"
    )


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {ROUNDS} rounds")
    cost("demo, U-Net width 8", hw.demo.shapes(0).model, 128, 1, 4)
    torch.manual_seed(0)
    cost("U-Net width 8, 3 channels", hw.UNet(3, 1, 8, 3), 128, 3, 4)
    cost("U-Net width 16, 3 channels", hw.UNet(3, 1, 16, 3), 256, 3, 16)


if __name__ == "__main__":
    main()
