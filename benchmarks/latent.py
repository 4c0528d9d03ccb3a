"""What collecting a latent space costs: `python benchmarks/latent.py`.

1. Activations, predictions, IoU and thumbnails together, over the bare forward of the same pictures in batches of the
   same size. The data set is in memory and both sides read it item by item. Collecting includes the search for the
   bottleneck, which runs two pictures forward and back once. The first ratio is of seconds on the clock, the second of
   CPU seconds in one thread, which other programs disturb less; then the part of that time that the confidences take.
2. The peak of memory, with the data set generated item by item: 20,000 patches of 64 px, in a process of its own.
3. Time and peak of memory with `pool="flatten"`: 2400 items of 65,536 features, in a process of its own.

Medians of several rounds, the two sides taking turns.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch
from _timing import medians
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import hdm_widgets as hw
from hdm_widgets.latent.collector import Collector
from hdm_widgets.latent.confidences import confidence_columns

ROUNDS = 5
_SOME = 32  # pictures whose confidences are measured alone


def cost(name: str, model: nn.Module, pictures: Tensor, masks: Tensor, batch: int) -> None:
    dataset = TensorDataset(pictures, masks)
    model.eval()

    def bare() -> None:
        with torch.inference_mode():
            for start in range(0, len(dataset), batch):
                some = [dataset[i][0] for i in range(start, min(start + batch, len(dataset)))]
                model(torch.stack(some))

    collector = Collector(hw.Segmenter(model, batch_size=batch))
    bare()
    forward, whole = medians(ROUNDS, bare, lambda: collector.collect(dataset, progress=False))
    per_item = 1e3 / len(dataset)
    print(
        f"{name:<38}{len(dataset):>6} items  forward {forward * per_item:6.2f} ms  "
        f"collect {whole * per_item:6.2f} ms an item   ratio {whole / forward:.3f}"
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        segmenter = hw.Segmenter(model, batch_size=batch)
        some = torch.from_numpy(segmenter.probabilities(pictures[:_SOME]))
        drawn = torch.from_numpy(segmenter.masks(pictures[:_SOME]))
        forward, whole, confidences = medians(
            ROUNDS,
            bare,
            lambda: collector.collect(dataset, progress=False),
            lambda: confidence_columns(some, drawn),
            clock=time.process_time,
        )
    finally:
        torch.set_num_threads(threads)
    print(
        f"{'':<38}CPU time in one thread   forward {forward * per_item:6.2f} ms  collect {whole * per_item:6.2f} ms an "
        f"item   ratio {whole / forward:.3f}   confidences {confidences * 1e3 / len(some):.2f} ms an item"
    )


class Generated:
    """Patches that are made when they are asked for, so that the data set itself takes no memory."""

    def __init__(self, length: int, size: int) -> None:
        self.length, self.size = length, size

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(index)
        picture = torch.rand(3, self.size, self.size, generator=generator)
        return picture, (picture[0] > 0.5).float()


def peak(length: int, size: int) -> None:
    """Peak resident memory of this process while it collects; printed in MB."""
    model = hw.demo.aerial(1).model
    hw.LatentSpace(model).fit(Generated(64, size), progress=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    space = hw.LatentSpace(model).fit(Generated(length, size), progress=False)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = space.collection_
    arrays = kept.features.nbytes + kept.truths.packed.nbytes + kept.predictions.packed.nbytes + kept.thumbnails.nbytes
    pixels = length * size * size * (3 * 4 + 4)
    print(
        f"{length} patches of {size} px: {time.perf_counter() - started:.0f} s, peak {after / 1024:.0f} MB, "
        f"of which {before / 1024:.0f} MB before the pass (Python, torch, a space of 64 items); the space keeps "
        f"{arrays / 1e6:.0f} MB, all pictures and masks as float32 would be {pixels / 1e6:.0f} MB"
    )


def flatten(length: int, features: int) -> None:
    """Time and peak resident memory of a fit on all values of a layer; printed in MB."""
    size = round(features**0.5)
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Conv2d(1, 1, 1))

    def make(items: int) -> hw.LatentSpace:
        return hw.LatentSpace(model, layer="0", pool="flatten").fit(Generated(items, size), progress=False)

    make(16)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    space = make(length)
    fitted = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    space.locate(torch.rand(1, 3, size, size))
    located = time.perf_counter() - started
    last = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = space.collection_.features
    print(
        f"pool='flatten', {kept.shape[0]} items of {kept.shape[1]} features, {kept.nbytes / 1e6:.0f} MB: fit "
        f"{fitted:.0f} s, peak {after / 1024:.0f} MB, of which {before / 1024:.0f} MB before; the first locate "
        f"{located:.0f} s, peak {last / 1024:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak", type=int, nargs=2, metavar=("PATCHES", "SIZE"), help="measure memory only")
    parser.add_argument(
        "--flatten", type=int, nargs=2, metavar=("ITEMS", "FEATURES"), help="measure wide features only"
    )
    options = parser.parse_args()
    if options.peak:
        peak(*options.peak)
        return
    if options.flatten:
        flatten(*options.flatten)
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {ROUNDS} rounds")
    demo = hw.demo.aerial(1000)
    items = [demo.dataset[i] for i in range(len(demo.dataset))]
    pictures, masks = (torch.stack(list(parts)) for parts in zip(*items, strict=True))
    cost("demo, U-Net width 8, 96 px", demo.model, pictures, masks, 8)
    torch.manual_seed(0)
    wide = hw.UNet(in_channels=3, classes=1, width=16, depth=4)
    larger = torch.rand(120, 3, 256, 256)
    cost("U-Net width 16, 256 px", wide, larger, (larger[:, 0] > 0.5).float(), 1)
    usual = hw.UNet(in_channels=3, classes=1, width=32, depth=4)
    cost("U-Net width 32, 256 px", usual, larger[:60], (larger[:60, 0] > 0.5).float(), 4)
    small = torch.nn.functional.interpolate(pictures, size=(64, 64), mode="area")
    cost("demo, U-Net width 8, 64 px", demo.model, small, (small[:, 0] > 0.5).float(), 8)
    subprocess.run([sys.executable, __file__, "--peak", "20000", "64"], check=True)
    subprocess.run([sys.executable, __file__, "--flatten", "2400", "65536"], check=True)


if __name__ == "__main__":
    main()
