"""Does the thread that reads ahead of the model pay? `python benchmarks/reading_ahead.py [--items 600] [--rounds 3]`.

A fit that reads each item when the model needs it, one whose items a thread reads ahead, as all do, and one that reads
with `num_workers=1`, which is a process. Four data sets of 96 px: scenes that are computed, images that Pillow decodes
from TIFF in memory, scenes that are waited for, as those of a remote store are, and scenes in memory, where nothing can
be gained. Seconds of the clock, medians, with as many threads of PyTorch as there are cores; the sides take turns.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

import hdm_widgets as hw


class Decoded:
    """Scenes as compressed TIFF files in memory, four times as large as they are read."""

    def __init__(self, scenes: Any) -> None:
        self.files = []
        for index in range(len(scenes)):
            image, mask = scenes[index][:2]
            pixels = (np.asarray(image).transpose(1, 2, 0) * 255).astype(np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels).resize((384, 384)).save(file, "tiff", compression="tiff_lzw")
            self.files.append((file.getvalue(), mask))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        file, mask = self.files[index]
        image = Image.open(io.BytesIO(file)).resize((96, 96))
        return np.asarray(image, np.float32).transpose(2, 0, 1) / 255, mask


class Awaited:
    """Items that come after a while, as from a server."""

    def __init__(self, items: list[Any], seconds: float) -> None:
        self.items, self.seconds = items, seconds

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        time.sleep(self.seconds)
        return self.items[index]


def in_turn(read: Callable[[int], Any], indices: Sequence[int], _nbytes: object) -> Iterator[tuple[int, Any]]:
    """What `read_ahead` gives, without a thread."""
    for index in indices:
        yield index, read(index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    model, scenes = hw.demo.aerial(given.items)
    kept = [scenes[index] for index in range(given.items)]
    sets = {
        "computed": scenes,
        "decoded by Pillow": Decoded(scenes),
        "awaited for 3 ms each": Awaited(kept, 0.003),
        "in memory, nothing to read": kept,
    }

    def fit(dataset: Any, **options: Any) -> None:
        hw.LatentSpace(model).fit(dataset, progress=False, **options)

    def without_thread(dataset: Any) -> None:
        with mock.patch("hdm_widgets.latent.items.read_ahead", in_turn):
            fit(dataset)

    ways: dict[str, Callable[[Any], None]] = {
        "in turn": without_thread,
        "a thread reads ahead": fit,
        "num_workers=1": lambda dataset: fit(dataset, num_workers=1),
    }
    print(f"{'seconds':>24} " + " ".join(f"{way:>22}" for way in ways))
    for name, dataset in sets.items():
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(given.rounds):
            for way, run in ways.items():
                start = time.perf_counter()
                run(dataset)
                seconds[way].append(time.perf_counter() - start)
        print(f"{name:>24} " + " ".join(f"{statistics.median(found):>22.2f}" for found in seconds.values()))


if __name__ == "__main__":
    main()
