"""What processes that read a data set save: `python benchmarks/workers.py`.

Seconds of `LatentSpace.fit` on 1,000 items, with 0, 2 and 4 workers: PNG files of 512 px with masks, which are read at
128 px. The features must be the same.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

import hdm_widgets as hw

FILE, SIZE, SCENES = 512, 128, 25
WORKERS = (0, 2, 4)


class Folder:
    """Images and masks of the same names in two folders, read from files."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.names = [f"{number:04}.png" for number in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Image.Image, Image.Image]:
        name = self.names[index]
        with Image.open(self.folder / "images" / name) as image, Image.open(self.folder / "masks" / name) as mask:
            return image.resize((SIZE, SIZE)), mask.resize((SIZE, SIZE), Image.Resampling.NEAREST)


def write(folder: Path, count: int) -> None:
    """Files of scenes, turned and mirrored so that no two are the same."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    scenes = hw.data.AerialScenes(SCENES, size=FILE)
    for number in range(count):
        image, mask = scenes[number % SCENES]
        turns, shift = divmod(number // SCENES, 10)
        for kind, values in (("images", image.permute(1, 2, 0)), ("masks", mask)):
            turned = np.roll(np.rot90(np.asarray(values), turns), 24 * shift, axis=0)
            Image.fromarray((turned * 255).round().astype(np.uint8)).save(folder / kind / f"{number:04}.png")


def fitted(model: hw.Segmenter, dataset: Folder, workers: int) -> hw.LatentSpace:
    return hw.LatentSpace(model).fit(dataset, num_workers=workers, progress=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1000)
    count = parser.parse_args().items
    # torch advises against more workers than cores, and Python against forks of a process with threads.
    warnings.filterwarnings("ignore", message="This DataLoader will create|.*use of fork")
    network, _ = hw.demo.aerial(1)
    model = hw.Segmenter(network, preprocess=lambda images: images / 255, batch_size=8)
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), count)
        dataset = Folder(Path(name), count)
        fitted(model, Folder(Path(name), 16), 0)
        first = None
        print(f"{count} items of {SIZE} px, from files of {FILE} px")
        for workers in WORKERS:
            started = time.perf_counter()
            space = fitted(model, dataset, workers)
            seconds = time.perf_counter() - started
            same = first is None or np.array_equal(space.collection_.features, first)
            first = space.collection_.features if first is None else first
            print(
                f"{workers} workers: {seconds:6.1f} s, {1e3 * seconds / count:5.1f} ms an item, same features: {same}"
            )


if __name__ == "__main__":
    main()
