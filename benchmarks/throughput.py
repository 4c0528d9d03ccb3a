"""What all of Inria would take, projected from what this machine does in a second.

python benchmarks/throughput.py [--tiles 4] [--rows 137000]

CPU seconds of one thread: reading patches of 256 px from GeoTIFFs, the forward of a small U-Net, collecting and writing
the store; bytes that the store takes. Seconds of the clock on a store of random numbers: open, coordinates, clusters,
the pixels of the map. The last table multiplies these.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from _timing import medians
from store import FEATURES, synthetic

import hdm_widgets as hw
from hdm_widgets.widgets.latent.raster import PointGrid

PATCH, SIDE, BATCH = 256, 1024, 8
INRIA = 137_000


def write_tiles(folder: Path, count: int) -> hw.data.InriaTiles:
    """Tiles of scenes, without compression and in strips as the Inria data has them."""
    for kind in ("images", "gt"):
        (folder / "train" / kind).mkdir(parents=True)
    for number, (image, mask) in enumerate(hw.data.AerialScenes(count, size=SIDE, seed=3)):
        for kind, bands in (("images", image), ("gt", mask[None])):
            with rasterio.open(
                folder / "train" / kind / f"town{number + 1}.tif", "w", driver="GTiff", height=SIDE, width=SIDE,
                count=len(bands), dtype="uint8", crs="EPSG:32633",
                transform=rasterio.transform.from_origin(5e5, 5e6, 0.3, 0.3),
            ) as file:  # fmt: skip
                file.write((bands.numpy() * 255).round().astype("uint8"))
    return hw.data.InriaTiles(folder, patch=PATCH, stride=PATCH)


def stored_bytes(store: Path) -> int:
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file())


def per_patch(folder: Path, count: int) -> dict[str, float]:
    """CPU seconds of one thread for a patch, and bytes that its row of the store takes."""
    tiles = write_tiles(folder / "data", count)
    torch.manual_seed(0)
    model = hw.UNet(in_channels=3, classes=1, width=16, depth=4).eval()
    items = [tiles[index] for index in range(len(tiles))]
    images = torch.stack([image for image, _ in items])
    stores = (folder / f"store{number}" for number in range(3))

    def read() -> None:
        for index in range(len(tiles)):
            tiles[index]

    def forward() -> None:
        with torch.inference_mode():
            for some in images.split(BATCH):
                model(some)

    def collect() -> None:
        hw.LatentSpace(hw.Segmenter(model, batch_size=BATCH)).fit(items, store=next(stores), progress=False)

    reading, running, collecting = medians(3, read, forward, collect, clock=time.process_time)
    size = stored_bytes(folder / "store0")
    found = {"reading": reading, "forward": running, "collecting and the store": collecting - running}
    print(f"{len(tiles)} patches of {PATCH} px, a U-Net of width 16, CPU seconds of one thread")
    for name, seconds in found.items():
        print(f"  {name:>26}: {1e3 * seconds / len(tiles):6.1f} ms a patch, {len(tiles) / seconds:8.0f} patches/s")
    print(f"  {'in the store':>26}: {size / len(tiles) / 1e3:6.1f} kB a patch\n")
    return {name: seconds / len(tiles) for name, seconds in found.items()} | {"bytes": size / len(tiles)}


def per_map(folder: Path, rows: int) -> None:
    """Seconds of the clock for what is done with a whole store."""
    print(f"{rows:,} rows of {FEATURES} random features")
    address = synthetic(folder, rows)
    start = time.perf_counter()
    space = hw.LatentSpace.open(address)
    opened = time.perf_counter() - start
    positions = np.asarray(space.embedding_[:, :2], np.float64)
    (x0, y0), (x1, y1) = positions.min(axis=0), positions.max(axis=0)
    grid = PointGrid(positions)
    steps: Iterable[tuple[str, Callable[[], Any]]] = (
        ("coordinates and columns", space.table),
        ("14 clusters", lambda: space.cluster(n_clusters=14)),
        ("points sorted into a grid", lambda: PointGrid(positions)),
        ("the pixels of all points", lambda: grid.pixels((x0, x1, y0, y1), (400, 400))),
    )
    print(f"  {'open':>26}: {opened:6.2f} s")
    for name, step in steps:
        start = time.perf_counter()
        step()
        print(f"  {name:>26}: {time.perf_counter() - start:6.2f} s")
    print()


def duration(seconds: float) -> str:
    hours = seconds / 3600
    return f"{seconds / 60:.0f} min" if hours < 2 else f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"


def projected(each: dict[str, float]) -> None:
    """Multiply: what nobody has run."""
    seconds = each["reading"] + each["forward"] + each["collecting and the store"]
    print("projected: the pass over the patches, every core as fast as one thread here")
    print(f"  {'patches':>12} {'1 core':>9} {'2 cores':>9} {'16 cores':>9} {'256 cores':>10} {'store':>9}")
    for count in (INRIA, 100 * INRIA):
        times = " ".join(f"{duration(count * seconds / cores):>9}" for cores in (1, 2, 16, 256))
        print(f"  {count:>12,} {times}  {count * each['bytes'] / 1e9:>7.1f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=4)
    parser.add_argument("--rows", type=int, default=INRIA)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        each = per_patch(Path(name), given.tiles)
        per_map(Path(name), given.rows)
    projected(each)


if __name__ == "__main__":
    main()
