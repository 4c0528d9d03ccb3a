"""Scans and fits on a machine whose cores others take: `python benchmarks/busy.py [--quick] [--rounds N]`.

Each with one thread of PyTorch, with all threads whatever happens (`without`), and with as many as are the fastest
(`with`), on the machine as it is and while processes that do nothing but count take half of its cores. A scan or a fit
knows nothing of the one before: it has to notice by itself. Seconds of wall time, medians of rounds in which the sides
take turns, and their ratio to one thread in the same rounds, with that of CPU seconds, of which threads that wait use
some too. If other programs run, the machine is not quiet: the load is printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from windowed import network

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.options import InferenceMode
from hdm_widgets.models import threads

CIRCLE = 25
ROUNDS = 3
SIDES = ("one thread", "without", "with")


def scan(name: str, size: int, offset: int, inference: InferenceMode) -> Callable[[], object]:
    model, image, segment = network(name, size)

    def run() -> object:
        # A fresh explainer: nothing is known from the run before.
        explainer = hdm.HausdorffDistanceMasks(size, size)
        explainer.generate_masks(CIRCLE, offset)
        return explainer.explain(model, image, segment, "cpu", inference=inference, progress=False)

    return run


def fit(size: int, count: int) -> Callable[[], object]:
    torch.manual_seed(0)
    model = hw.UNet(3, 1, 16, 4)
    images = torch.rand(count, 3, size, size)
    data = [(image, (image[0] > 0.5).long()) for image in images]
    return lambda: hw.LatentSpace(model).fit(data, progress=False)


@contextmanager
def side(name: str, allowed: int) -> Iterator[None]:
    """One of the sides."""
    choose = threads._chosen
    threads._choices.clear()
    torch.set_num_threads(1 if name == "one thread" else allowed)
    if name == "without":
        threads._chosen = lambda number: number
    try:
        yield
    finally:
        threads._chosen = choose
        torch.set_num_threads(allowed)


@contextmanager
def others(count: int) -> Iterator[None]:
    """So many processes that take a core each."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def compare(label: str, run: Callable[[], object], rounds: int, allowed: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    busy: dict[str, list[float]] = {name: [] for name in SIDES}
    chosen = []
    for _ in range(rounds):
        for name in SIDES:
            with side(name, allowed):
                started, used = time.perf_counter(), time.process_time()
                run()
                seconds[name].append(time.perf_counter() - started)
                busy[name].append(time.process_time() - used)
                if name == "with":
                    chosen.append(threads._choices[allowed].chosen)
    one = statistics.median(seconds["one thread"])
    print(f"  {label:<38} one thread {one:6.2f} s", end="")
    for name in SIDES[1:]:
        wall, cpu = (
            statistics.median(a / b for a, b in zip(taken[name], taken["one thread"], strict=True))
            for taken in (seconds, busy)
        )
        print(f"   {name} {statistics.median(seconds[name]):6.2f} s = {wall:5.2f} (CPU {cpu:4.2f})", end="")
    print(f"   (at the end {', '.join(map(str, chosen))} threads)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of small scans and fits, to see that it runs")
    parser.add_argument("--rounds", type=int)
    arguments = parser.parse_args()
    rounds = arguments.rounds or (1 if arguments.quick else ROUNDS)
    more = 2.5 if arguments.quick else 1
    allowed, cores = torch.get_num_threads(), os.cpu_count() or 1
    work = {
        "scan, whole images of 240 px, 4 pools": scan("4-pool, bilinear", 240, int(24 * more), "full"),
        "scan, windows of 240 px, 4 pools": scan("4-pool, bilinear", 240, int(20 * more), "windowed"),
        "scan, windows of 512 px, 2 pools": scan("2-pool, transposed", 512, int(16 * more), "windowed"),
        "fit, 128 px, U-Net of width 16": fit(128, int(200 / more)),
    }
    print(f"torch {torch.__version__}, {allowed} threads, {cores} cores, medians of {rounds} rounds")
    for name, count in (("as it is", 0), (f"{cores // 2} of {cores} cores taken", cores // 2)):
        with others(count):
            print(f"{name} (load before: {os.getloadavg()[0]:.1f})")
            for label, run in work.items():
                compare(label, run, rounds, allowed)


if __name__ == "__main__":
    main()
