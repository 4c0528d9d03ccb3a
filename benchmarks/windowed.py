"""What windows gain: `python benchmarks/windowed.py [--quick]`.

1. A disc's cost in windows against the plain batched forward and against the folded channels_last forward of the
   same network, with the peak memory of each.
2. The whole `explain` against the loop written after the published description.
3. Cost per disc against the size of the picture.
4. How early the map is right: share of the time after which its rank correlation with the finished map passes 0.95.
5. Estimates: factor and measured error.
6. Distances as a share of a windowed scan.
7. First maps of networks with global operations, or with windows nearly as large as the image: CPU milliseconds of one
   thread for a disc, how far the first map is from the finished one, and what it costs a scan that is finished. The
   networks are trained, for minutes each, and kept in `--weights`.
8. How many estimates of these networks are certain.

Medians of several rounds (3, 7 and 8: one), the sides taking turns. A picture's discs are a regular sample of the grid,
so borders count as often as they do in a scan. With `--quick`, small pictures and few rounds, to see that it runs.
Part 3 draws `benchmarks/windowed.png`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from _first_map_networks import NETWORKS, OUT
from _first_maps import HEADER, certain_estimates, first_map
from _timing import medians
from scan import published_loop
from scipy import stats
from torch import Tensor, nn

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.circle_map import filled
from hdm_widgets.hdm.measure import MaskMeasure
from hdm_widgets.hdm.occlusion import Occlusion
from hdm_widgets.windowed import TracedModel, WindowedInference

ROUNDS = 3
CIRCLE = 25
MODELS: dict[str, Callable[[], nn.Module]] = {
    "2-pool, transposed": lambda: hw.UNet(1, 1, 16, 2, upsampling="transposed"),
    "4-pool, bilinear": lambda: hw.UNet(1, 1, 16, 4),
    "demo": lambda: hw.demo.shapes(0).model,
}


def network(name: str, size: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A network that draws about what it should, a picture and its segment."""
    torch.manual_seed(0)
    if name == "demo":
        demo = hw.demo.shapes(0)
        return demo.model, demo.image, demo.segment
    model = MODELS[name]()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    coarse = torch.rand(1, 1, size // 16, size // 16, generator=generator)
    image = nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)[0]
    with torch.inference_mode():
        logits = model.eval()(image[None])[0, 0]
        # The untrained network's middle value as the threshold: half of the picture is segment.
        model.head.bias -= logits.median()
        segment = nn.functional.avg_pool2d(logits[None, None], 9, 1, 4)[0, 0] > logits.median()
    return model, image, segment.clone()


def sample(size: int, offset: int, count: int) -> tuple[hdm.HausdorffDistanceMasks, np.ndarray]:
    explainer = hdm.HausdorffDistanceMasks(size, size)
    explainer.generate_masks(CIRCLE, offset)
    side = explainer.grid.rows
    # Whole blocks of neighbours, as a scan's batches have them, spread over the picture.
    places = np.unique(np.linspace(0, side - 1, round(count**0.5)).astype(int))
    return explainer, np.array([(row, col) for row in places for col in places])


def windows_of(base: WindowedInference, occlusion: Occlusion, cells: np.ndarray) -> Callable[[], None]:
    changes = occlusion.changes(cells)
    first = {key: item for item, key in reversed(list(enumerate(changes.keys))) if key}
    items = np.array(sorted(first.values()))

    def run() -> None:
        for _ in base.run(changes.boxes[items], lambda chosen, boxes: changes.content(items[chosen], boxes)):
            pass

    return run


def best_batch(forward: Callable[[Tensor], Tensor], image: Tensor, rounds: int) -> tuple[float, int]:
    """Seconds a picture in the quickest of some batch sizes."""
    sizes = [1, 2, 4, 8] if image.shape[-1] <= 512 else [1]
    batches = [image.expand(size, *image.shape).clone() for size in sizes]
    with torch.inference_mode():
        for batch in batches:
            forward(batch)
        times = medians(rounds, *(lambda batch=batch: forward(batch) for batch in batches))
    each = [seconds / size for seconds, size in zip(times, sizes, strict=True)]
    return min(each), sizes[int(np.argmin(each))]


def row(name: str, size: int, offset: int, count: int, rounds: int) -> tuple[float, float, float]:
    model, image, _ = network(name, size)
    model.eval()
    explainer, cells = sample(size, offset, count)
    if name == "demo":
        cells = np.argwhere(np.ones(explainer.grid.shape, bool))
    occlusion = Occlusion.for_fill(explainer.grid, image, fill="minimum", channel=-1, normalize=False)
    engine = TracedModel(model, image)
    with torch.inference_mode():
        base = WindowedInference(engine.network, image)
    run = windows_of(base, occlusion, cells)
    run()
    plain_samples, folded_samples, window_samples = [], [], []
    for _ in range(rounds):
        plain, plain_batch = best_batch(model, image, 1)
        folded, folded_batch = best_batch(engine.network.full, image, 1)
        (windows,) = medians(1, run)
        plain_samples.append(plain)
        folded_samples.append(folded)
        window_samples.append(windows / len(cells))
    plain, folded, windows = map(statistics.median, (plain_samples, folded_samples, window_samples))
    boxes = occlusion.changes(cells).boxes
    idle = int(np.count_nonzero(boxes[:, 2] == 0))
    boxes = boxes[boxes[:, 2] > 0]
    height, width = engine.network.propagation.largest_window(boxes)
    print(
        f"{name:<19}{size:>5} px  window {height:>4} x {width:<4}  plain {1e3 * plain:8.1f} ms (batch {plain_batch})  "
        f"folded {1e3 * folded:8.1f} ms (batch {folded_batch})  windows {1e3 * windows:6.2f} ms a disc  "
        f"= {plain / windows:6.1f} x and {folded / windows:6.1f} x"
        f"{f'  ({idle} of {len(cells)} discs change nothing)' if idle else ''}"
    )
    return plain, folded, windows


def against_published(name: str, size: int, offset: int, rounds: int) -> None:
    model, image, segment = network(name, size)
    model.eval()
    cells = [(int(r), int(c)) for r, c in sample(size, offset, 9)[1]]
    loops, ours, plan = [], [], None
    for _ in range(rounds):
        started = time.perf_counter()
        published_loop(model, image, segment.float(), CIRCLE, offset, cells)
        loops.append((time.perf_counter() - started) / len(cells))
        # A fresh explainer: nothing is known from the round before.
        explainer, _ = sample(size, offset, 9)
        started = time.perf_counter()
        result = explainer.explain(model, image, segment, "cpu", progress=False)
        ours.append((time.perf_counter() - started) / result.values.size)
        plan = result.plan
    loop, each = statistics.median(loops), statistics.median(ours)
    print(
        f"{name:<19}{size:>5} px, offset {offset}, {result.values.size} discs: published loop {1e3 * loop:8.1f} ms, "
        f"explain {1e3 * each:6.2f} ms a disc = {loop / each:.1f} x   [{plan}]"
    )


def curve(rounds: int, sizes: list[int], path: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, color in (("4-pool, bilinear", "tab:blue"), ("2-pool, transposed", "tab:green")):
        rows = np.array([row(name, size, 16, 100, rounds) for size in sizes])
        for values, label, style in zip(rows.T, ("plain", "folded", "windows"), (":", "--", "-"), strict=True):
            axes.plot(sizes, 1e3 * values, style, color=color, marker="o", markersize=3, label=f"{name}: {label}")
    axes.set(
        xscale="log", yscale="log", xlabel="side of the picture (px)", ylabel="time for a disc (ms)",
        title=f"A disc of {CIRCLE} px, {torch.get_num_threads()} threads",
    )  # fmt: skip
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def when_right(name: str, size: int, offset: int) -> None:
    model, image, segment = network(name, size)
    explainer, _ = sample(size, offset, 9)
    if name == "demo":
        explainer.generate_masks(10, offset)
    seen = []
    for update in explainer.stream(model, image, segment, "cpu"):
        seen.append((update.seconds, update.done, filled(update.result.values, update.result.measured)))
    final = update.result.values.ravel()
    total = seen[-1][0]
    first = None
    for seconds, done, values in seen[1:]:
        rank = stats.spearmanr(values.ravel(), final).statistic
        if rank > 0.95 and first is None:
            first = seconds, done
        elif rank <= 0.95:
            first = None
    assert first is not None
    print(
        f"{name:<19}{size:>5} px, offset {offset}: rank correlation stays above 0.95 after "
        f"{100 * first[0] / total:.0f} % of the time ({first[1]} of {len(final)} discs)"
    )


def estimates(name: str, size: int, offset: int) -> None:
    model, image, segment = network(name, size)
    explainer, _ = sample(size, offset, 9)
    result = explainer.explain(model, image, segment, "cpu", inference="estimate", progress=False)
    print(f"{name:<19}{size:>5} px: {result.plan}; {result.estimates}")


def distances(name: str, size: int, offset: int) -> None:
    model, image, segment = network(name, size)
    spent = 0.0
    call = MaskMeasure.__call__

    def timed(self: MaskMeasure, outputs: object) -> object:
        nonlocal spent
        started = time.perf_counter()
        result = call(self, outputs)  # type: ignore[arg-type]
        spent += time.perf_counter() - started
        return result

    explainer, _ = sample(size, offset, 9)
    MaskMeasure.__call__ = timed  # type: ignore[method-assign,assignment]
    try:
        started = time.perf_counter()
        result = explainer.explain(model, image, segment, "cpu", progress=False)
        whole = time.perf_counter() - started
    finally:
        MaskMeasure.__call__ = call  # type: ignore[method-assign]
    changed = np.mean([
        np.count_nonzero(result.output(r, c) != result.baseline_mask) for r, c in explainer.grid.stages()[0][1]
    ])  # fmt: skip
    print(
        f"{name:<19}{size:>5} px: thresholds and distances {1e3 * spent / result.values.size:.3f} ms of "
        f"{1e3 * whole / result.values.size:.2f} ms a disc = {100 * spent / whole:.1f} %; a disc flips {changed:.0f} px"
    )


def memory(name: str, size: int) -> None:
    """Peak memory of a short windowed scan, in a process of its own."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import windowed as w\n"
        "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        f"model, image, segment = w.network({name!r}, {size})\n"
        f"explainer, _ = w.sample({size}, {max(5, size // 12)}, 9)\n"
        "before = peak()\n"
        "with w.torch.inference_mode(): model.eval()(image[None])\n"
        "plain = peak()\n"
        "plan = explainer.explain(model, image, segment, 'cpu', inference='windowed', progress=False).plan\n"
        "print(f'start {before >> 10} MB, one plain forward {plain >> 10} MB, scan {peak() >> 10} MB; '"
        "f'stated for values and windows {plan.memory >> 20} MB')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print(f"{name:<19}{size:>5} px: peak memory {done.stdout.strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", type=int, default=0, help="one of the parts, 1 to 8")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, help="of parts 7 and 8")
    parser.add_argument("--size", type=int, default=512, help="side of the images of parts 7 and 8, in pixels")
    parser.add_argument("--offset", type=int, default=32, help="of parts 7 and 8")
    parser.add_argument("--weights", type=Path, default=OUT, help="where trained networks are kept")
    arguments = parser.parse_args()
    quick, rounds = arguments.quick, 1 if arguments.quick else ROUNDS

    def parts() -> Iterator[int]:
        yield from [arguments.only] if arguments.only else range(1, 9)

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, circle {CIRCLE}, medians of {rounds} rounds")
    rows = [("2-pool, transposed", 512), ("4-pool, bilinear", 512), ("4-pool, bilinear", 240), ("demo", 128)]
    if not quick:
        rows[1:1] = [("4-pool, bilinear", 1024), ("4-pool, bilinear", 2048)]
    for part in parts():
        print(f"\n-- {part}")
        if part == 1:
            for name, size in rows:
                row(name, size, 4 if name == "demo" else 5, 400 if "2" in name else 100, rounds)
            for name, size in rows:
                memory(name, size)
        elif part == 2:
            against_published("2-pool, transposed", 512, 5, 1 if quick else 3)
            if not quick:
                against_published("4-pool, bilinear", 1024, 16, 1)
        elif part == 3:
            sizes = [256, 512] if quick else [256, 384, 512, 768, 1024, 1536, 2048]
            curve(1, sizes, Path(__file__).with_name("windowed.png"))
        elif part == 4:
            when_right("demo", 128, 4)
            when_right("4-pool, bilinear", 240, 5)
            when_right("2-pool, transposed", 512, 5)
        elif part == 5:
            estimates("4-pool, bilinear", 240, 10)
            estimates("4-pool, bilinear", 512, 20)
        elif part in (7, 8):
            print(HEADER if part == 7 else "")
            print_row = first_map if part == 7 else certain_estimates
            for name in arguments.networks:
                size, offset = (64, 8) if quick else (arguments.size, arguments.offset)
                print_row(name, size, offset, 10 if quick else CIRCLE, arguments.weights, quick=quick)
        else:
            distances("2-pool, transposed", 512, 5)
            distances("4-pool, bilinear", 512, 16)


if __name__ == "__main__":
    main()
