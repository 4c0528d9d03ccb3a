"""Stores: fits killed at random moments, what a store costs, and how long it takes to open one.

python benchmarks/store.py [--kills 20] [--scenes 2000] [--items 1000000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _synthetic_store import synthetic_store
from _timing import medians

import hdm_widgets as hw

FEATURES = 64


def fit(scenes: Any, model: Any, store: Path | None) -> hw.LatentSpace:
    return hw.LatentSpace(model).fit(scenes, store=store, progress=False)


def arrays(space: hw.LatentSpace) -> dict[str, Any]:
    collection = space.collection_
    packed = {name: getattr(collection, name).packed for name in ("truths", "predictions")}
    names = ("features", "items", "tp", "fn", "fp", "thumbnails", "probability_maps", "label_quality")
    return {"map": space.embedding_, **packed, **{name: getattr(collection, name) for name in names}, **space.table()}


def equal(one: hw.LatentSpace, other: hw.LatentSpace) -> bool:
    first, second = arrays(one), arrays(other)
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name], equal_nan=np.asarray(first[name]).dtype.kind == "f") for name in first
    )


def shard_files(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in store.glob("shards/*.json")}


def fit_in_one_thread(*given: Any) -> None:
    torch.set_num_threads(1)
    fit(*given)


def kills(folder: Path, times: int, seed: int = 0) -> None:
    """Kill -9 at a random moment of a fit, then fit again: is the space that of an undisturbed fit?"""
    model, scenes = hw.demo.aerial(320)
    start = time.perf_counter()
    expected = fit(scenes, model, folder / "undisturbed")
    seconds, moments = time.perf_counter() - start, random.Random(seed)
    print(f"an undisturbed fit of 320 scenes, 5 shards: {seconds:.1f} s")
    print(f"{'killed after':>14} {'shards there':>13} {'written again':>14} {'equal':>6}")
    wrong = 0
    for number in range(times):
        store = folder / f"killed{number}"
        child = multiprocessing.get_context("fork").Process(target=fit_in_one_thread, args=(scenes, model, store))
        child.start()
        moment = moments.uniform(0, seconds)
        child.join(moment)
        child.kill()
        child.join()
        before = shard_files(store)
        same = equal(fit(scenes, model, store), expected) and equal(hw.LatentSpace.open(store), expected)
        after = shard_files(store)
        again = sum(after[path] != inode for path, inode in before.items())
        wrong += not same or again > 0
        print(f"{moment:>12.2f} s {len(before):>13} {again:>14} {'yes' if same else 'NO':>6}")
        shutil.rmtree(store)
    print(f"{times - wrong} of {times} as they should be\n")


def cost(folder: Path, count: int) -> None:
    """CPU seconds of a fit with a store and without one."""
    model, scenes = hw.demo.aerial(count)
    items = [scenes[index] for index in range(count)]
    stores = (folder / f"cost{turn}" for turn in range(3))
    plain, stored = medians(
        3, lambda: fit(items, model, None), lambda: fit(items, model, next(stores)), clock=time.process_time
    )
    print(
        f"{count} scenes of 96 px, CPU seconds: {plain:.1f} without a store, "
        f"{stored:.1f} with one ({stored / plain:.3f})\n"
    )


def opening(folder: Path, count: int) -> None:
    """Seconds to open a store of many items, and to read parts of it."""
    print(f"{count} items of {FEATURES} features, random numbers:")
    start = time.perf_counter()
    address = synthetic_store(folder / f"synthetic{count}", count, FEATURES)
    print(f"  written, with its principal components, in {time.perf_counter() - start:.0f} s")
    steps = {
        "open": lambda space: len(space),
        "IoU of all": lambda space: space.iou_,
        "coordinates of all": lambda space: space.embedding_,
        "table of all": lambda space: space.table(),
        "mask of one item": lambda space: space.prediction(count // 2),
        "thumbnails of 50": lambda space: [space.picture(int(one)) for one in np.linspace(0, count - 1, 50)],
        "activations of 4,096": lambda space: space.collection_.features[count // 2 : count // 2 + 4096],
    }
    start = time.perf_counter()
    space = hw.LatentSpace.open(address)
    for name, step in steps.items():
        step(space)
        print(f"  {name:>22}: {time.perf_counter() - start:.3f} s")
        start = time.perf_counter()
    print(f"  peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--items", type=int, nargs="*", default=[10_000, 1_000_000])
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.kills:
            kills(folder, given.kills)
        if given.scenes:
            cost(folder, given.scenes)
        for count in given.items:
            opening(folder, count)


if __name__ == "__main__":
    main()
