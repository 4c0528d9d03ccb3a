"""How far scans of small images are from what the machine can do: `python benchmarks/limits.py`.

A disc changes most of a small image: with four poolings, at 240 px, the multiplications that cannot be avoided are
those at the positions that it may change, without what windows add to be computed together. At the peak of the machine,
the fastest of products of matrices and convolutions of many channels, they take the time that is the limit. Each side
is given with the fraction of the peak that its own multiplications reach, and with what it gains against the plain
forward.

CPU seconds of one thread, so that other programs hardly matter; medians of rounds in which the sides take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from _timing import medians
from torch import nn
from windowed import CIRCLE, network, sample, windows_of

from hdm_widgets.hdm.occlusion import Occlusion
from hdm_widgets.windowed import TracedModel, WindowedInference
from hdm_widgets.windowed.propagation import ChangePropagation

ROUNDS = 5
# Of what shows the peak.
SIDE, CHANNELS, TRIES = 1024, 64, 20


def peak() -> float:
    """Multiplications a second of what is the fastest, at its fastest."""
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    image = torch.rand(1, CHANNELS, SIDE // 8, SIDE // 8).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(CHANNELS, CHANNELS, 3, 3).contiguous(memory_format=torch.channels_last)
    work: list[tuple[float, Callable[[], object]]] = [
        (SIDE**3, lambda: a @ b),
        (image.numel() * weight[0].numel(), lambda: nn.functional.conv2d(image, weight, padding=1)),
    ]
    with torch.inference_mode():
        return max(count / min(medians(1, run, clock=time.thread_time)[0] for _ in range(TRIES)) for count, run in work)


def multiplications(propagation: ChangePropagation, boxes: np.ndarray, *, together: bool) -> float:
    """Of a disc on average: as windows compute them `together`, or those that cannot be avoided."""
    if together:
        return propagation.cost_fraction(boxes) * full(propagation)
    costs = []
    for box in boxes.tolist():
        rows, cols = propagation.of_box(box)
        costs.append(sum(
            step.cost(down.size, across.size)
            for step, down, across in zip(propagation._program.steps, rows.changes, cols.changes, strict=True)
            if down is not None and across is not None
        ))  # fmt: skip
    return statistics.fmean(costs)


def full(propagation: ChangePropagation) -> float:
    """Multiplications of the whole image."""
    return propagation._full_cost


def row(name: str, size: int, offset: int, count: int, rounds: int, fastest: float) -> None:
    model, image, _ = network(name, size)
    explainer, cells = sample(size, offset, count)
    occlusion = Occlusion.for_fill(explainer.grid, image, fill="minimum", channel=-1, normalize=False)
    traced = TracedModel(model, image)
    with torch.inference_mode():
        base = WindowedInference(traced.network, image)
    boxes = occlusion.changes(cells).boxes
    boxes = boxes[boxes[:, 2] > 0]
    propagation = traced.network.propagation
    whole, windowed, needed = (
        full(propagation),
        multiplications(propagation, boxes, together=True),
        multiplications(propagation, boxes, together=False),
    )
    batch = image.expand(4, *image.shape).clone()
    run = windows_of(base, occlusion, cells)
    with torch.inference_mode():
        run()
        model(batch), traced.network.full(batch)
        plain, folded, windows = medians(
            rounds, lambda: model(batch), lambda: traced.network.full(batch), run, clock=time.thread_time
        )
    plain, folded, windows = plain / len(batch), folded / len(batch), windows / len(boxes)
    print(f"{name}, {size} px, circle {CIRCLE}, {len(boxes)} discs; peak {fastest / 1e9:.1f} G multiplications/s")
    for label, each, count in (("plain", plain, whole), ("folded", folded, whole), ("windows", windows, windowed)):
        print(
            f"  {label:<8} {count / 1e6:8.0f} M  {1e3 * each:8.2f} ms  "
            f"{100 * count / each / fastest:5.0f} % of the peak  {plain / each:5.2f} x plain"
        )
    limit = needed / fastest
    print(
        f"  limit    {needed / 1e6:8.0f} M  {1e3 * limit:8.2f} ms    100 % of the peak  {plain / limit:5.2f} x plain"
        f"   (windows: {100 * limit / windows:.0f} % of the limit's speed, "
        f"{100 * needed / windowed:.0f} % of their multiplications cannot be avoided)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, medians of {arguments.rounds} rounds")
    fastest = peak()
    for name, size in (("4-pool, bilinear", 240), ("4-pool, bilinear", 512), ("2-pool, transposed", 240)):
        row(name, size, 5, 100, arguments.rounds, fastest)


if __name__ == "__main__":
    main()
