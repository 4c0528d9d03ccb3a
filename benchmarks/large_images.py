"""Discs of a tile of 5000 px in windows of 512 px, beside an image of 512 px: `python benchmarks/large_images.py`.

The image is a mosaic of the demo's aerial scenes, the network the demo's, or `--width 16 --depth 4`: an untrained U-Net
of that size. Discs of 25 px, 8 px apart, touch a region of 200 px in the middle (40 px where the model itself is run
for each disc). Times are seconds of the CPU. Every row is a process of its own, so that its peak memory is its own;
`--only ROW` runs one of them, `--sent` prints
what a screen is sent. `--side`, `--window` and `--threads` change the rest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets._picture import Display
from hdm_widgets._wire import bits, png
from hdm_widgets.hdm.pyramid import TILE, Pyramid, screen_bits
from hdm_widgets.widgets.hdm.large_masks import LargeMasks

CIRCLE, OFFSET = 25, 8
REGION = {"auto": 200, "full": 40}
# Of the stage on the screen, in pixels.
STAGE = 600
ROWS = (("small", "auto"), ("small", "full"), ("large", "auto"), ("large", "full"))


def peak() -> float:
    """Peak memory of this process in GB."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**20


def mosaic(side: int) -> tuple[nn.Module, Tensor, Tensor]:
    """The demo's network, and its scenes and truths side by side, cut to `side`."""
    model, scenes = hw.demo.aerial(64)
    image_side = scenes[0][0].shape[-1]
    count = -(-side // image_side)
    order = np.random.default_rng(0).integers(len(scenes), size=(count, count))
    image, truth = (
        torch.cat([torch.cat([torch.as_tensor(scenes[int(at)][part]) for at in row], -1) for row in order], -2)
        for part in (0, 1)
    )
    return model, image[..., :side, :side].contiguous(), truth[..., :side, :side].contiguous()


def row(kind: str, inference: hdm.InferenceMode, arguments: argparse.Namespace) -> str:
    """Scan one image; returns a row of the table."""
    torch.set_num_threads(arguments.threads)
    side = arguments.window if kind == "small" else arguments.side
    model, image, truth = mosaic(side)
    if arguments.width:
        torch.manual_seed(0)
        model = hw.UNet(len(image), 1, width=arguments.width, depth=arguments.depth)
    segmenter = hw.Segmenter(model, window=None if kind == "small" else arguments.window)
    explainer = hdm.HausdorffDistanceMasks(side, side)
    explainer.generate_masks(CIRCLE, OFFSET)
    first, last = (side - REGION[inference]) // 2, (side + REGION[inference]) // 2
    loaded, started = peak(), time.process_time()
    scan = explainer.stream(segmenter, image, truth, region=(first, first, last, last), inference=inference)
    update = next(scan)
    before = time.process_time() - started
    *_, update = scan
    each = 1000 * (time.process_time() - started - before) / update.total
    memory = f"{loaded:.2f}, {peak():.2f} GB"
    figures = f"{update.total} | {before:.1f} s | {each:.1f} ms | {memory}"
    return f"| {side} px | {inference} | {figures} | {update.result.plan} |"


def sent(side: int) -> None:
    """Print what the screen of an explorer of such an image is sent: when it opens, and for one zoom."""
    image = np.random.default_rng(0).random((3, side, side), dtype=np.float32)
    truth = image[0] > 0.7
    pyramid = Pyramid(image, Display().view(image))
    masks = LargeMasks(truth)
    masks.show(truth, image[1] > 0.7, None, None)
    opened = len(png(pyramid.coarsest)) + 3 * len(screen_bits(truth))
    # The part in view has as many pixels as the stage, and up to half as many around it along each side.
    part = {"top": 0, "left": 0, "height": 3 * STAGE // 2, "width": 3 * STAGE // 2, "level": 0}
    outlines = sum(map(len, masks.part({**part, "names": ["truth", "prediction"]})[1]))
    count = range(-(-STAGE // TILE) + 2)
    tiles = sum(len(pyramid.tile({"level": 0, "row": row, "col": col})[1][0]) for row in count for col in count)
    whole = image.nbytes // 4 + 3 * len(bits(truth))
    print(
        f"| {side} px | {whole / 1e6:.1f} MB | {opened / 1e6:.2f} MB | {tiles / 1e6:.2f} MB | {outlines / 1e6:.3f} MB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=5000)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--width", type=int, default=0)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sent", action="store_true", help="the bytes that a screen is sent, of noise")
    parser.add_argument("--only", type=int, default=None, help=f"one row, 0 to {len(ROWS) - 1}")
    arguments = parser.parse_args()
    if arguments.sent:
        print("| image | whole, uncompressed | sent when opened | tiles of one zoom | outlines of one zoom |")
        print("|---|---|---|---|---|")
        for side in (arguments.side // 2, arguments.side):
            sent(side)
        return
    if arguments.only is not None:
        print(row(*ROWS[arguments.only], arguments), flush=True)
        return
    print("| image | inference | discs | before the first disc | a disc | peak memory: before, with the scan | plan |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for only in range(len(ROWS)):
        subprocess.run([sys.executable, *sys.argv, "--only", str(only)], check=True)


if __name__ == "__main__":
    main()
