"""Dask workers against one process on the same work, in CPU seconds and on the clock, and what the scheduler holds.

python benchmarks/clusters.py [--scenes 2048] [--workers 2] [--rounds 1]
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import dask
import numpy as np
import torch
from _cpu_parts import PARTS, MeasuredItems, measure_parts, taken
from distributed import Client, LocalCluster

import hdm_widgets as hw

COLUMNS = ("clock", "here", "workers", "busiest", *PARTS)


def largest_distance(one: hw.LatentSpace, other: hw.LatentSpace) -> float:
    """Of two maps of the same items, as a fraction of their range."""
    return float(np.abs(one.embedding_ - other.embedding_).max() / np.ptp(one.embedding_))


def measured(space: hw.LatentSpace, scenes: Any, store: Path, client: Any = None) -> dict[str, float]:
    """Seconds of a fit: of the clock, of this process, of all workers and of the busiest, and of parts of them."""
    clients = [] if client is None else [client]
    measure_parts()
    for one in clients:
        one.run(measure_parts)
    start = time.perf_counter()
    space.fit(scenes, store=store, progress=False, client=client)
    clock, here = time.perf_counter() - start, taken()
    workers = [found for one in clients for found in one.run(taken).values()]
    seconds = [found["all"] for found in workers]
    return {
        "clock": clock,
        "here": here["all"],
        "workers": sum(seconds),
        "busiest": max(seconds, default=0.0),
        **{part: sum(found[part] for found in (here, *workers)) for part in PARTS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    model, plain = hw.demo.aerial(given.scenes)
    scenes = MeasuredItems(plain)
    rows: dict[str, list[dict[str, float]]] = {}
    sizes: list[int] = []
    with (
        tempfile.TemporaryDirectory() as name,
        # Dask has workers give freed memory back at once, which takes a third of a network's time.
        dask.config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}),
        LocalCluster(n_workers=given.workers, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        # Workers import torch when they first need it.
        client.run(measure_parts)
        submit = client.submit

        def submit_and_measure(function: Any, *arguments: Any, **options: Any) -> Any:
            future = submit(function, *arguments, **options)
            future.add_done_callback(
                lambda done: sizes.append(len(pickle.dumps(arguments)) + len(pickle.dumps(done.result())))
            )
            return future

        client.submit = submit_and_measure
        for turn in range(given.rounds):
            folder = Path(name) / str(turn)
            spaces = [hw.LatentSpace(model) for _ in range(4)]

            def add(title: str, *of: Any) -> None:
                rows.setdefault(title, []).append(measured(*of))

            torch.set_num_threads(2)
            add("one process, two threads", spaces[0], scenes, folder / "two")
            torch.set_num_threads(1)
            add("one process, one thread", spaces[1], scenes, folder / "one")
            add("the map of what is stored", spaces[2], scenes, folder / "one")
            add(f"{given.workers} workers, one thread each", spaces[3], scenes, folder / "workers", client)
            difference = largest_distance(spaces[1], spaces[3])
    print(f"{given.scenes} scenes of 96 px, in {len(sizes) // given.rounds} shards; medians of {given.rounds} rounds")
    print(f"{'seconds':>28} " + " ".join(f"{column:>8}" for column in COLUMNS))
    medians = {
        title: {column: statistics.median(one[column] for one in found) for column in COLUMNS}
        for title, found in rows.items()
    }
    for title, found in medians.items():
        print(f"{title:>28} " + " ".join(f"{found[column]:>8.2f}" for column in COLUMNS))
    alone, shared = medians["one process, one thread"], medians[f"{given.workers} workers, one thread each"]
    free = shared["here"] + shared["busiest"]
    print(
        f"speedup on the clock {alone['clock'] / shared['clock']:.2f}; with a core free for each, by CPU seconds "
        f"{alone['here'] / free:.2f}"
    )
    print(f"largest difference of the maps: {difference:.1e} of their range")
    print(f"a task and what it returns, pickled: at most {max(sizes)} bytes; all: {sum(sizes) / 1e3:.1f} kB")


if __name__ == "__main__":
    main()
