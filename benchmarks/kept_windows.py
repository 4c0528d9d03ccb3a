"""How many random networks keep windows: `python benchmarks/kept_windows.py [--count 300] [--dtype float32]`.

Networks as the tests make them (`tests/windowed/random_networks.py`), with random weights: "small" ones of up to 8
layers, and "rough" ones of 8 to 16 layers whose weights are up to 24 times as large, so that values grow, saturate
and cancel. Each is scanned in windows and in full, and one row is printed per kind and type:

- kept: the scan ended in windows.
- by 1e-5: it would have with no other rule than 1e-5 of the largest value.
- wrong: some mask differs in a pixel whose logit is farther from the threshold than what counts as equal.
- flipped: pixels of all masks that rounding moved across the threshold, as a fraction of all pixels.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets import hdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "windowed"))
from random_networks import LAYERS, network_of
from window_checks import random_image

CIRCLE, OFFSET, SIDE = 7, 11, 40
KINDS = {"small": (3, 8, 1.0), "rough": (8, 16, 24.0)}


class OneMap(nn.Module):
    """A random network, and a map of the image's size from whatever it gives: half of its pixels are positive."""

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            self.register_buffer("middle", torch.zeros((), dtype=image.dtype))
            self.middle = self(image[None]).median()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 1, H, W)."""
        maps = self.network(images).mean(1, keepdim=True)
        return F.interpolate(maps, size=images.shape[-2:], mode="bilinear", align_corners=False) - self.middle


def random_networks(kind: str, count: int) -> list[OneMap]:
    """Different networks in double precision."""
    least, most, gain = KINDS[kind]
    image = random_image(2, SIDE, SIDE, dtype=torch.float64)
    networks: dict[str, OneMap] = {}

    @settings(
        max_examples=4 * count, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(LAYERS, min_size=least, max_size=most))
    def collect(layers: list[object]) -> None:
        if len(networks) >= count or repr(layers) in networks:
            return
        network = network_of(layers, image)
        generator = torch.Generator().manual_seed(len(networks))
        for parameter in network.parameters():
            if parameter.ndim > 1:
                scale = 1 + (gain - 1) * torch.rand((), generator=generator, dtype=torch.float64)
                parameter.data *= scale
        model = OneMap(network, image).eval()
        with torch.no_grad():
            seen = model(image[None]) - model(image[None].flip(-1))
        if len(network.layers) > 1 and bool(torch.isfinite(seen).all()) and float(seen.abs().max()) > 1e-3:
            networks[repr(layers)] = model

    collect()
    return list(networks.values())


def scan(model: nn.Module, image: Tensor, segment: np.ndarray, inference: str) -> hdm.HDMResult:
    explainer = hdm.HausdorffDistanceMasks(SIDE, SIDE)
    explainer.generate_masks(CIRCLE, OFFSET)
    model = hw.Segmenter(model, activation="sigmoid")
    return explainer.explain(model, image, segment, inference=inference, progress=False)


def compare(model: nn.Module, image: Tensor) -> tuple[hdm.HDMResult, bool, int, float]:
    """The windowed scan, whether its masks are right, how many pixels differ, and the largest logit (at least 1)."""
    segmenter = hw.Segmenter(model, activation="sigmoid")
    segment = segmenter.masks(image[None])[0]
    ours, full = (scan(model, image, segment, inference) for inference in ("windowed", "full"))
    right, flipped = True, 0
    for row, col in np.ndindex(full.grid.shape):
        differs = ours.output(row, col) != full.output(row, col)
        flipped += np.count_nonzero(differs)
        if differs.any():
            logits = segmenter.raw(torch.from_numpy(full.occluded(row, col))[None])[0, 0].numpy()
            right &= bool((np.abs(logits[differs]) <= ours.plan.equal_within).all())
    return ours, right, flipped, max(1.0, float(segmenter.raw(image[None]).abs().max()))


def row(kind: str, dtype: torch.dtype, count: int) -> None:
    started = time.perf_counter()
    networks = random_networks(kind, count)
    image = random_image(2, SIDE, SIDE)
    kept = by_rule = wrong = flipped = 0
    reasons: Counter[str] = Counter()
    for network in networks:
        model = copy.deepcopy(network).to(dtype)
        result, right, pixels, scale = compare(model, image)
        plan = result.plan
        if plan.backend == "windowed":
            kept += 1
            by_rule += plan.largest_difference <= 1e-5 * scale
            wrong += not right
            flipped += pixels
        else:
            reasons[plan.reason] += 1
    total, pixels = len(networks), kept * SIDE**2 * (SIDE // OFFSET) ** 2
    print(
        f"{kind:<6} {str(dtype).removeprefix('torch.'):<9} {total:4d} networks: kept {100 * kept / total:6.2f} %, "
        f"by 1e-5 {100 * by_rule / total:6.2f} %, wrong {wrong}, flipped {flipped / max(1, pixels):.1e}  "
        f"({time.perf_counter() - started:.0f} s)"
    )
    for reason, times in reasons.most_common(8):
        print(f"    {times} x {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16", "float16"], nargs="*", default=["float32", "bfloat16"]
    )
    parser.add_argument("--kind", choices=list(KINDS), nargs="*", default=list(KINDS))
    arguments = parser.parse_args()
    # Of PyTorch, for some of these networks.
    warnings.filterwarnings("ignore", "Using padding='same' with even kernel lengths")
    # Where low precision rounds all logits to one number.
    warnings.filterwarnings("ignore", "the segment is empty")
    for dtype in arguments.dtype:
        for kind in arguments.kind:
            row(kind, getattr(torch, dtype), arguments.count)


if __name__ == "__main__":
    main()
