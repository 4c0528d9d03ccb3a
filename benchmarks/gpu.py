"""Scans and latent spaces on a GPU: `python benchmarks/gpu.py [--device cuda] [--quick] [--only PART ...]`.

1. equality: the masks of windows against those of whole images, six networks in float32 (TF32 as PyTorch has it, and
   off), bfloat16 and half precision.
2. throughput: a disc by the model, by the folded network and by windows, at 240 to 2048 px, of width 16 and 64.
3. masks: 2,304 masks at 240 px, width 64, by `explain`, against the bare forward of the same images.
4. distances: on the CPU and on the device.
5. transfers: between host and device for each batch, and peak memory.
6. latent: collecting a latent space against the bare forward.
7. layouts: channels_last, CUDA graphs and torch.compile for batches of windows.

Every part has a budget of seconds, after which its remaining rows are left out and named, so that all of them take at
most six minutes on one GPU. Medians of three rounds, in seconds of the clock; on a CPU seconds of the process, which
another program hardly changes. With `--quick`, small images and networks, to see that it runs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from _gpu_distances import squared_distances
from _gpu_networks import NETWORKS, image_of, prepared
from torch import Tensor, nn

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.measure import MaskMeasure
from hdm_widgets.hdm.occlusion import Occlusion
from hdm_widgets.metrics.distance import ReferenceMask, hausdorff_distance
from hdm_widgets.windowed import TracedModel, WindowedInference, build, inference, network

CIRCLE, ROUNDS = 25, 3
BUDGETS = {
    "equality": 80, "throughput": 60, "masks": 35, "distances": 20, "transfers": 20, "latent": 35, "layouts": 80
}  # fmt: skip
LIMIT = 345


@dataclass
class Bench:
    """Where and how large everything is run, and until when."""

    device: torch.device
    quick: bool
    until: float = 0.0
    left_out: list[str] = field(default_factory=list)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(self, function: Callable[[], object], rounds: int = ROUNDS) -> float:
        """Median seconds, after a first run that does not count."""
        clock = time.perf_counter if self.on_gpu else time.process_time
        function()
        samples = []
        for _ in range(rounds):
            self.wait()
            started = clock()
            function()
            self.wait()
            samples.append(clock() - started)
            if time.perf_counter() > self.until:
                break
        return statistics.median(samples)

    def rows(self, names: list[str], measure: Callable[[str], None]) -> None:
        """Measure the rows of a part for which there is time; one that fails leaves the others."""
        for place, name in enumerate(names):
            if time.perf_counter() > self.until:
                self.left_out += names[place:]
                return
            try:
                measure(name)
            except Exception as error:  # noqa: BLE001 - as out of memory
                print(f"{name} failed: {type(error).__name__}: {str(error).splitlines()[0][:200]}")

    def best_batch(self, forward: Callable[[Tensor], Tensor], image: Tensor) -> tuple[float, int]:
        """Seconds an image in the quickest of some batch sizes."""
        found = []
        for size in (1, 8, 32, 128) if self.on_gpu else (1, 4):
            if size * image.numel() > 1 << 24 and found:
                break
            batch = image.expand(size, *image.shape).clone()
            try:
                found.append((self.seconds(lambda batch=batch: forward(batch)) / size, size))
            except torch.OutOfMemoryError:
                break
            if time.perf_counter() > self.until:
                break
        return min(found)


@contextmanager
def tf32(*, on: bool) -> Iterator[None]:
    """TF32 as PyTorch has it, or off, in the whole process."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = before and on
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def explainer_of(size: int, offset: int) -> hdm.HausdorffDistanceMasks:
    explainer = hdm.HausdorffDistanceMasks(size, size)
    explainer.generate_masks(CIRCLE if size > 4 * CIRCLE else 6, offset)
    return explainer


def occlusion_of(explainer: hdm.HausdorffDistanceMasks, image: Tensor) -> Occlusion:
    made = Occlusion.for_fill(explainer.grid, image.cpu(), fill="minimum", channel=-1, normalize=False)
    return made.to(image.device)


def sampled(explainer: hdm.HausdorffDistanceMasks, count: int) -> np.ndarray:
    """Cells of the grid, as regular as can be."""
    places = np.unique(np.linspace(0, explainer.grid.rows - 1, round(count**0.5)).astype(int))
    return np.array([(row, col) for row in places for col in places])


def windows_of(base: WindowedInference, occlusion: Occlusion, cells: np.ndarray) -> Callable[[], Tensor]:
    changes = occlusion.changes(cells)
    items = np.flatnonzero([bool(key) for key in changes.keys])

    def run() -> Tensor:
        last = torch.zeros(())
        for windows in base.run(changes.boxes[items], lambda chosen, boxes: changes.content(items[chosen], boxes)):
            last = windows.values
        return last

    return run


def equality(bench: Bench) -> None:
    size, offset, width = (64, 16, 4) if bench.quick else (240, 24, 16)
    image = image_of(size, bench.device)
    kinds: dict[str, tuple[torch.dtype, bool]] = {
        "float32 without TF32": (torch.float32, False), "float32": (torch.float32, True),
        "bfloat16": (torch.bfloat16, True), "half": (torch.half, True),
    }  # fmt: skip

    def measure(row: str) -> None:
        name, kind = row.rsplit(", ", 1)
        dtype, on = kinds[kind]
        with tf32(on=on):
            model = prepared(name, width, image).to(dtype)
            results = []
            for mode in ("full", "windowed"):
                explainer = explainer_of(size, offset)
                results.append(explainer.explain(model, image, None, bench.device, inference=mode, progress=False))
        full, ours = results
        cells = list(np.ndindex(full.grid.shape))
        flips = [int(np.count_nonzero(full.output(*cell) != ours.output(*cell))) for cell in cells]
        equal = sum(flip == 0 for flip in flips)
        plan = ours.plan
        print(
            f"{row:<46} {plan.backend:<9} {equal:>4} of {len(cells)} masks equal, at most {max(flips)} px differ; "
            f"largest difference {plan.largest_difference:.1e} of {plan.equal_within:.1e}"
            f"{f' ({plan.rounding})' if plan.rounding else ''}{f' [{plan.reason}]' if plan.backend == 'model' else ''}"
        )

    bench.rows([f"{name}, {kind}" for kind in kinds for name in NETWORKS], measure)


def throughput(bench: Bench) -> None:
    sizes, widths = ((64, 96), (4,)) if bench.quick else ((240, 512, 1024, 2048), (16, 64))
    name = "U-Net, 4 pools, bilinear"
    print(
        "ms a disc; plain and folded in the quickest batch, in brackets; the first windows of a shape beside later ones"
    )

    def measure(row: str) -> None:
        size, width = (int(word) for word in row.replace(" px, width", "").split())
        image = image_of(size, bench.device)
        model, explainer = prepared(name, width, image), explainer_of(size, 5)
        with torch.inference_mode():
            plain, plain_batch = bench.best_batch(model, image)
            traced = TracedModel(model, image).network
            folded, folded_batch = bench.best_batch(traced.full, image)
            base = WindowedInference(traced, image)
        cells = sampled(explainer, 16 if bench.quick else 400)
        run = windows_of(base, occlusion_of(explainer, image), cells)
        bench.wait()
        started = time.perf_counter()
        run()
        bench.wait()
        first = (time.perf_counter() - started) / len(cells)
        windows = bench.seconds(run) / len(cells)
        print(
            f"{row:<20} plain {1e3 * plain:8.3f} ({plain_batch})  folded {1e3 * folded:8.3f} ({folded_batch})  windows "
            f"{1e3 * windows:8.3f}, first {1e3 * first:.3f}  = {plain / windows:6.2f} x and {folded / windows:6.2f} x"
        )

    bench.rows([f"{size} px, width {width}" for width in widths for size in sizes], measure)


def masks(bench: Bench) -> None:
    size, offset, width = (64, 16, 4) if bench.quick else (240, 5, 64)
    image = image_of(size, bench.device)
    model = prepared("U-Net, 4 pools, bilinear", width, image)
    explainer = explainer_of(size, offset)
    cells = np.argwhere(np.ones(explainer.grid.shape, bool))
    images = occlusion_of(explainer, image).changes(cells).images(np.arange(len(cells)))
    with torch.inference_mode():
        _, batch = bench.best_batch(model, image)

        def forward() -> None:
            for some in images.split(batch):
                model(some)

        bare = bench.seconds(forward, 1)
    print(f"{len(cells)} masks at {size} px, width {width}; bare forward in batches of {batch}: {bare:.3f} s")

    def measure(mode: str) -> None:
        plans = []

        def explain(mode: str = mode, plans: list[Any] = plans) -> None:
            # A fresh explainer: nothing is known from the round before.
            found = explainer_of(size, offset).explain(model, image, None, bench.device, inference=mode, progress=False)
            plans.append(found.plan)

        started = time.perf_counter()
        explain()
        first = time.perf_counter() - started
        spent = bench.seconds(explain, 1)
        print(
            f"explain, inference={mode!r}: {spent:.3f} s = {spent / bare:.2f} of it, {first:.3f} s the first time "
            f"[{plans[-1].backend}: {plans[-1]}]"
        )

    bench.rows(["auto", "full", "windowed"], measure)


def distance_in_a_scan(bench: Bench, size: int) -> float:
    """Seconds a disc for thresholds, masks on the CPU and their distances."""
    image = image_of(size, bench.device)
    model = prepared("U-Net, 4 pools, bilinear", 4 if bench.quick else 16, image)
    spent, call = 0.0, MaskMeasure.__call__

    def timed(measure: MaskMeasure, outputs: Any) -> Any:
        nonlocal spent
        bench.wait()
        started = time.perf_counter()
        found = call(measure, outputs)
        spent += time.perf_counter() - started
        return found

    with patch.object(MaskMeasure, "__call__", timed):
        explainer = explainer_of(size, max(5, size // 24))
        explainer.explain(model, image, None, bench.device, inference="full", progress=False)
    return spent / (explainer.grid.rows * explainer.grid.cols)


def distances(bench: Bench) -> None:
    def measure(row: str) -> None:
        size, count = int(row.split()[0]), 8 if bench.quick else 64
        blurred = torch.nn.functional.avg_pool2d(
            torch.rand(count + 1, 1, size, size, generator=torch.Generator().manual_seed(0)), 15, 1, 7
        )[:, 0]
        shown = (blurred > blurred.flatten(1).median(1).values[:, None, None]).to(bench.device)
        truth, others = shown[0], shown[1:]
        known = squared_distances(truth[None])[0]

        def on_device(others: Tensor = others, truth: Tensor = truth, known: Tensor = known) -> Tensor:
            to_masks = squared_distances(others)
            there = torch.where(others, known, 0.0).flatten(1).amax(1)
            return torch.maximum(there, torch.where(truth, to_masks, 0.0).flatten(1).amax(1)).sqrt().cpu()

        reference = ReferenceMask(truth.cpu().numpy())

        def on_cpu(others: Tensor = others, reference: ReferenceMask = reference) -> list[float]:
            return [reference.distance(mask) for mask in others.cpu().numpy()]

        expected = [hausdorff_distance(mask, truth.cpu().numpy()) for mask in others[:4].cpu().numpy()]
        np.testing.assert_allclose(on_device()[:4].numpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(on_cpu()[:4], expected, rtol=1e-5)
        here, there = bench.seconds(on_cpu, 1) / count, bench.seconds(on_device, 1) / count
        print(
            f"{row}: a distance of whole masks {1e3 * here:.3f} ms on the CPU, {1e3 * there:.3f} ms on {bench.device}; "
            f"in a scan, of what a disc flips, {1e3 * distance_in_a_scan(bench, size):.3f} ms on the CPU"
        )

    bench.rows(["64 px"] if bench.quick else ["240 px", "512 px"], measure)


def transfers(bench: Bench) -> None:
    size, offset = (64, 16) if bench.quick else (512, 32)
    image = image_of(size, bench.device)
    model = prepared("U-Net, 4 pools, bilinear", 4 if bench.quick else 16, image)
    activities = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] * bench.on_gpu)]

    def measure(mode: str) -> None:
        if bench.on_gpu:
            torch.cuda.reset_peak_memory_stats(bench.device)
            before = torch.cuda.memory_allocated(bench.device)
        with torch.profiler.profile(activities=activities) as profile:
            explainer = explainer_of(size, offset)
            updates = list(explainer.stream(model, image, None, bench.device, inference=mode))
        batches = sum(len(update.cells) > 0 for update in updates)
        names = [event.name for event in profile.events()]
        to_host, to_device = (sum(kind in name for name in names) for kind in ("Memcpy DtoH", "Memcpy HtoD"))
        peak = (
            f"{(torch.cuda.max_memory_allocated(bench.device) - before) / 1e9:.2f} GB"
            if bench.on_gpu
            else "not measured"
        )
        print(
            f"{mode}: {updates[-1].done} cells in {batches} batches; {to_host} copies to the host and {to_device} to "
            f"the device; peak memory beyond the model {peak} (stated: {updates[-1].result.plan.memory / 1e9:.2f} GB)"
        )

    bench.rows(["full", "windowed"], measure)


def latent(bench: Bench) -> None:

    def measure(row: str) -> None:
        size, width = (int(word) for word in row.replace(" px, width", "").split())
        count = 16 if bench.quick else 1000 if size < 100 else 300
        images = torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0))
        items = list(zip(images, (images[:, 0] > 0.5).float(), strict=True))
        model = hw.UNet(1, 1, width, 2 if bench.quick else 4).to(bench.device).eval()
        batch = 4 if not bench.on_gpu else max(1, min(64, (1 << 22) // size**2))

        def forward(model: nn.Module = model, images: Tensor = images, batch: int = batch) -> None:
            with torch.inference_mode():
                for some in images.split(batch):
                    model(some.to(bench.device)).cpu()

        def collect(model: nn.Module = model, items: list[Any] = items, batch: int = batch) -> None:
            hw.LatentSpace(hw.Segmenter(model, batch_size=batch)).fit(items, progress=False)

        bare, spent = bench.seconds(forward, 1), bench.seconds(collect, 1)
        print(
            f"{row}, {count} items in batches of {batch}: forward {1e3 * bare / count:.3f} ms an item, fit with its "
            f"map {1e3 * spent / count:.3f} ms = {spent / bare:.2f}"
        )

    bench.rows(["32 px, width 4"] if bench.quick else ["96 px, width 8", "256 px, width 16"], measure)


@contextmanager
def channels_first() -> Iterator[None]:
    """Windows in PyTorch's usual memory format."""
    with (
        patch.object(network, "channels_last", lambda values: values.contiguous()),
        patch.object(inference, "channels_last", lambda values: values.contiguous()),
        patch.object(inference, "_empty", lambda shape, like: torch.empty(shape, dtype=like.dtype, device=like.device)),
        patch.object(build, "_with_own_weights", lambda step: step),
    ):
        yield


def layouts(bench: Bench) -> None:
    size, widths = (64, (4,)) if bench.quick else (512, (16, 64))
    image = image_of(size, bench.device)
    kinds = [torch.float32, torch.half] if bench.on_gpu else [torch.float32]

    def measure(row: str) -> None:
        kind, width = row.split(", width ")
        model = prepared("U-Net, 4 pools, bilinear", int(width), image).to(getattr(torch, kind))
        explainer = explainer_of(size, 5)
        cells = sampled(explainer, 16 if bench.quick else 64)
        given, found = image.to(getattr(torch, kind)), []
        for context in (nullcontext, channels_first):
            with context():
                traced = TracedModel(model, given).network
                base = WindowedInference(traced, given)
                found.append(bench.seconds(windows_of(base, occlusion_of(explainer, given), cells)) / len(cells))
        print(f"{row}: windows {1e3 * found[0]:.3f} ms a disc in channels_last, {1e3 * found[1]:.3f} in channels_first")

    bench.rows([f"{str(kind)[6:]}, width {width}" for kind in kinds for width in widths], measure)
    if bench.on_gpu and time.perf_counter() < bench.until:
        graphs(bench, image)
    if time.perf_counter() < bench.until:
        # In a process of its own, which can be ended: nobody knows how long a compiler takes.
        command = [sys.executable, __file__, "--device", str(bench.device), "--only", "compiled"]
        try:
            subprocess.run(
                command + ["--quick"] * bench.quick, timeout=max(5, bench.until - time.perf_counter()), check=True
            )
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            print(f"torch.compile: {type(error).__name__}")


def batch_of_windows(bench: Bench, image: Tensor) -> Callable[[], Tensor]:
    """One batch of windows whose contents are on the device already."""
    model = prepared("U-Net, 4 pools, bilinear", 4 if bench.quick else 16, image)
    traced = TracedModel(model, image).network
    base = WindowedInference(traced, image)
    step, middle = 16, image.shape[-1] // 2 // 16 * 16
    side = 2 if bench.quick else 4
    starts = [
        (middle + step * (row - side // 2), middle + step * (col - side // 2))
        for row in range(side)
        for col in range(side)
    ]
    boxes = np.array([(row, col, row + 16, col + 16) for row, col in starts])
    shown = torch.rand(len(boxes), *image.shape[:1], 16, 16, device=image.device)

    def run() -> Tensor:
        return next(base.run(boxes, lambda items, _: shown[: len(items)])).values

    return run


def graphs(bench: Bench, image: Tensor) -> None:
    run = batch_of_windows(bench, image)
    try:
        with torch.inference_mode():
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream):
                for _ in range(3):
                    expected = run().clone()
            bench.wait()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                values = run()
            graph.replay()
            bench.wait()
            difference = float((values - expected).abs().max())
            eager, replayed = bench.seconds(run), bench.seconds(graph.replay)
        print(
            f"a batch of {len(values)} windows: {1e3 * eager:.3f} ms, as a CUDA graph "
            f"{1e3 * replayed:.3f} ms (differs {difference:.1e})"
        )
    except Exception as error:  # noqa: BLE001 - what cannot be captured is the result
        print(f"CUDA graph: {type(error).__name__}: {str(error).splitlines()[0][:150]}")


def compiled(bench: Bench) -> None:
    """Not among the parts: `layouts` runs it in a process of its own."""
    image = image_of(64 if bench.quick else 240, bench.device)
    model = prepared("U-Net, 4 pools, bilinear", 4 if bench.quick else 16, image)
    batch = image.expand(2 if bench.quick else 32, *image.shape).clone()
    run = batch_of_windows(bench, image)
    for name, eager, faster in (
        ("whole images", lambda: model(batch), torch.compile(model)),
        ("a batch of windows", run, torch.compile(run)),
    ):
        call = (lambda faster=faster: faster(batch)) if name == "whole images" else faster
        with torch.inference_mode():
            try:
                started = time.perf_counter()
                call()
                bench.wait()
                setup = time.perf_counter() - started
                before, after = bench.seconds(eager), bench.seconds(call)
                print(f"{name}: {1e3 * before:.3f} ms, compiled {1e3 * after:.3f} ms after {setup:.0f} s", flush=True)
            except Exception as error:  # noqa: BLE001 - what cannot be compiled is the result
                print(f"{name} compiled: {type(error).__name__}: {str(error).splitlines()[0][:150]}", flush=True)


PARTS = {
    "equality": equality, "throughput": throughput, "masks": masks, "distances": distances, "transfers": transfers,
    "latent": latent, "layouts": layouts, "compiled": compiled,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", default=list(BUDGETS), choices=PARTS, help="some of the parts")
    given = parser.parse_args()
    bench = Bench(torch.device(given.device), given.quick)
    ends = time.perf_counter() + LIMIT
    name = torch.cuda.get_device_name(bench.device) if bench.on_gpu else f"{torch.get_num_threads()} threads"
    if given.only != ["compiled"]:
        print(f"torch {torch.__version__}, {bench.device}: {name}; TF32 {torch.backends.cudnn.allow_tf32}")
    for part in given.only:
        if given.only != ["compiled"]:
            print(f"\n-- {part}", flush=True)
        bench.until = min(ends, time.perf_counter() + BUDGETS.get(part, LIMIT))
        try:
            PARTS[part](bench)
        except Exception as error:  # noqa: BLE001 - the other parts count too
            print(f"{part} failed: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
    if bench.left_out:
        print(f"\nleft out for want of time: {'; '.join(bench.left_out)}")


if __name__ == "__main__":
    main()
