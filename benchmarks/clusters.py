"""Two Dask workers against one process on the same work, and what the scheduler holds.

python benchmarks/clusters.py [--scenes 2048] [--workers 2]
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from distributed import Client, LocalCluster

import hdm_widgets as hw


def largest_distance(one: hw.LatentSpace, other: hw.LatentSpace) -> float:
    """Of two maps of the same items, as a fraction of their range."""
    return float(np.abs(one.embedding_ - other.embedding_).max() / np.ptp(one.embedding_))


def timed(space: hw.LatentSpace, scenes: Any, store: Path, **options: Any) -> float:
    """Seconds of the clock for a fit. The map is made in this process in both cases, and counts too."""
    start = time.perf_counter()
    space.fit(scenes, store=store, progress=False, **options)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, scenes = hw.demo.aerial(given.scenes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, other = hw.LatentSpace(model), hw.LatentSpace(model)
        alone = timed(one, scenes, folder / "one")
        again = timed(one, scenes, folder / "one")
        with (
            LocalCluster(n_workers=given.workers, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
            Client(cluster) as client,
        ):
            # Workers import torch when they first need it.
            client.run(lambda: hw.LatentSpace)
            sizes: list[int] = []
            submit = client.submit

            def submit_and_measure(function: Any, *arguments: Any, **options: Any) -> Any:
                future = submit(function, *arguments, **options)
                future.add_done_callback(
                    lambda done: sizes.append(len(pickle.dumps(arguments)) + len(pickle.dumps(done.result())))
                )
                return future

            client.submit = submit_and_measure
            shared = timed(other, scenes, folder / "other", client=client)
            difference = largest_distance(one, other)
    print(f"{given.scenes} scenes of 96 px, in {len(sizes)} shards")
    print(f"{'':>28} {'seconds':>8} {'scenes/s':>9}")
    rows = {"one process, one thread": alone, f"{given.workers} workers, one thread each": shared}
    for title, seconds in rows.items():
        print(f"{title:>28} {seconds:>8.1f} {given.scenes / seconds:>9.0f}")
    print(f"{'of these for the map':>28} {again:>8.1f}")
    print(f"speedup {alone / shared:.2f}; without the map {(alone - again) / (shared - again):.2f}")
    print(f"largest difference of the maps: {difference:.1e} of their range")
    print(f"a task and what it returns, pickled: at most {max(sizes)} bytes; all: {sum(sizes) / 1e3:.1f} kB")


if __name__ == "__main__":
    main()
