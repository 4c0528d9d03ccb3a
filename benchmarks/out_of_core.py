"""What does not fit in memory: `python benchmarks/out_of_core.py [--patches ...] [--rows ...] [--neighbors ...]`.

1. A fit with a store of patches of 64 px that are made when they are asked for, with a U-Net and `pool="grid"` of 2,048
   features: seconds and peak memory, beside the bare forward with the same reading.
2. Rows of 64 synthetic features in a store: seconds and peak memory of each thing that is computed from all of them.
3. The same for what asks for the neighbors of every item; masks and maps of probabilities are of 64 px.

Everything runs in one thread in a process of its own, and seconds are those of the CPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _synthetic_store import synthetic_store
from threadpoolctl import threadpool_limits
from torch import Tensor

import hdm_widgets as hw
from hdm_widgets.latent.neighbors import nearest
from hdm_widgets.latent.projection import Projection
from hdm_widgets.latent.surface import Regressor, rounded

SIZE, FEATURES, BATCH = 64, 64, 32
# Width of the U-Net, and cells to a side of the grid that make 2,048 features of its bottleneck.
GRIDS = {8: 4, 32: 2}


class Patches:
    """Images of 64 px with rectangles that are brighter, and their masks, made when they are asked for."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(index)
        image = torch.rand(3, SIZE, SIZE, generator=generator)
        row, col, height, width = torch.randint(8, 32, (4,), generator=generator).tolist()
        mask = torch.zeros(SIZE, SIZE)
        mask[row : row + height, col : col + width] = 1
        return 0.5 * image + 0.5 * mask, mask


def network(width: int) -> torch.nn.Module:
    if width == 8:
        model: torch.nn.Module = hw.demo.aerial(1).model
        return model
    torch.manual_seed(0)
    return hw.UNet(in_channels=3, classes=1, width=width, depth=4).eval()


def bare(count: int, width: int, _folder: Path) -> None:
    """The model on every patch, which is read item by item."""
    patches, model = Patches(count), network(width)
    with torch.inference_mode():
        for start in range(0, count, BATCH):
            items = [patches[index] for index in range(start, min(start + BATCH, count))]
            model(torch.stack([image for image, _ in items]))


def fit(count: int, width: int, folder: Path) -> None:
    """A fit with a store."""
    space = hw.LatentSpace(network(width), pool="grid", grid=GRIDS[width], batch_size=BATCH)
    space.fit(Patches(count), store=folder / f"patches{count}", progress=False)
    assert space.collection_.features.shape == (count, 2048)


# What is computed from all rows: takes a space, and returns what is measured.


def principal_components(space: hw.LatentSpace) -> Callable[[], object]:
    features = space.collection_.features
    return lambda: Projection.fit(features, 10)


def coordinates(space: hw.LatentSpace) -> Callable[[], object]:
    features, projection = space.collection_.features, space.projection_
    return lambda: projection.transform(features)


def surface_network(space: hw.LatentSpace) -> Callable[[], object]:
    points, iou = space.embedding_[:, :2], space.iou_
    return lambda: Regressor.fit(rounded(points), iou)


def surface_of_items(space: hw.LatentSpace) -> Callable[[], object]:
    _ = space.embedding_
    return space.expected_iou


def estimator(space: hw.LatentSpace) -> Callable[[], object]:
    return lambda: space.estimator_


def estimates(space: hw.LatentSpace) -> Callable[[], object]:
    """Expected IoU and intervals of as many new items."""
    found, learned = space._map("embedding_"), space.estimator_
    sure = dict(found.collection.confidences)
    return lambda: learned.estimate(found.coordinates, sure, found.overlaps.predicted_area)


def shift(space: hw.LatentSpace) -> Callable[[], object]:
    """All items against the first 100,000 of them."""
    found = space._map("embedding_")
    part = slice(0, 100_000)
    features = np.asarray(found.collection.features[part])
    sure = {name: values[part] for name, values in found.collection.confidences.items()}
    return lambda: found.compare(features, sure)


def one_column(space: hw.LatentSpace) -> Callable[[], object]:
    return lambda: space.iou_


def whole_table(space: hw.LatentSpace) -> Callable[[], object]:
    """Each column, which is made when it is asked for."""
    return lambda: list(space.table().values())


ROWS: dict[str, Callable[[hw.LatentSpace], Callable[[], object]]] = {
    "10 principal components": principal_components,
    "coordinates of all": coordinates,
    "network of the surface": surface_network,
    "surface's IoU of all": surface_of_items,
    "what estimates learn": estimator,
    "estimates of as many new items": estimates,
    "shift": shift,
    "IoU of all": one_column,
    "all columns of the table": whole_table,
}


# What asks for the neighbors of every item.


def suspects(space: hw.LatentSpace) -> Callable[[], object]:
    return lambda: space.suspects(200)


def compared(space: hw.LatentSpace) -> Callable[[], object]:
    """A space with itself."""
    return lambda: hw.compare_spaces(space, space, progress=False)


def dbscan(space: hw.LatentSpace) -> Callable[[], object]:
    """With the usual distance of the 10th nearest as radius: about ten neighbors an item, of 10,000 items or more."""
    points = space._map("embedding_").cluster_coordinates
    some = points[np.random.default_rng(0).choice(len(points), 1000, replace=False)]
    radius = float(np.median(nearest(points, some, 10)[1][:, -1]))
    return lambda: space.cluster(method="dbscan", eps=radius)


NEIGHBORS = {"suspects": suspects, "compare_spaces": compared, "DBSCAN": dbscan}


def peak() -> float:
    """Largest memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measured_row(name: str, address: str) -> tuple[float, float, float]:
    """CPU seconds, and peak memory before and after, of one thing."""
    measure = (ROWS | NEIGHBORS)[name](hw.LatentSpace.open(address))
    before, start = peak(), time.process_time()
    measure()
    return time.process_time() - start, before, peak()


def synthetic(path: Path, count: int, side: int, objects: bool) -> tuple[float, float, float]:
    start = time.process_time()
    synthetic_store(path, count, FEATURES, side, objects)
    return time.process_time() - start, 0.0, peak()


def measured_pass(run: Callable[[int, int, Path], None], *given: Any) -> tuple[float, float, float]:
    network(given[1])  # the first use of torch is not the pass
    before, start = peak(), time.process_time()
    run(*given)
    return time.process_time() - start, before, peak()


def alone(function: Callable[..., tuple[float, float, float]], *given: Any) -> tuple[float, float, float]:
    """What a function returns in a new process, in one thread."""
    with multiprocessing.get_context("spawn").Pool(1, one_thread) as pool:
        found = pool.apply(function, given)
        pool.close()
        pool.join()
    return found


def one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)


def patches(counts: list[int], width: int) -> None:
    print(f"patches of {SIZE} px, U-Net of width {width}, 2,048 features")
    print(f"{'items':>9} {'forward and reading':>20} {'fit':>10} {'ratio':>7} {'an item':>9} {'peak memory':>12}")
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            forward, *_ = alone(measured_pass, bare, count, width, Path(name))
            seconds, _, memory = alone(measured_pass, fit, count, width, Path(name))
        each = 1e3 * seconds / count
        print(
            f"{count:>9} {forward:>18.1f} s {seconds:>8.1f} s {seconds / forward:>7.3f} {each:>6.2f} ms "
            f"{memory:>9.2f} GB",
            flush=True,
        )


def rows(count: int, titles: Iterable[str], side: int, objects: bool = False) -> None:
    print(f"\n{count} rows of {FEATURES} features in a store")
    print(f"{'':>31} {'CPU':>9} {'memory before':>14} {'peak':>8}")
    with tempfile.TemporaryDirectory() as name:
        # A process begins with the peak of the one that starts it.
        address = str(Path(name) / "store")
        alone(synthetic, Path(address), count, side, objects)
        for title in titles:
            seconds, before, after = alone(measured_row, title, address)
            print(f"{title:>31} {seconds:>7.2f} s {before:>11.2f} GB {after:>5.2f} GB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--width", type=int, choices=GRIDS, default=8, help="of the U-Net")
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--neighbors", type=int, nargs="*", default=[10_000, 50_000, 100_000])
    given = parser.parse_args()
    if given.patches:
        patches(given.patches, given.width)
    for count in given.rows:
        rows(count, ROWS, side=8)
    for count in given.neighbors:
        rows(count, NEIGHBORS, side=64, objects=True)


if __name__ == "__main__":
    main()
