"""Data sets for workers of a cluster, which import them from here."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from distributed import KilledWorker
from layer_helpers import Reads

from hdm_widgets.latent.store.worker import collect_shard


class Wrapped:
    """The items of a data set; `read(index)` is called before one is read."""

    def __init__(self, groups):
        self.images, self.masks, self.columns = groups.images, groups.masks, groups.columns

    def __len__(self):
        return len(self.images)

    def read(self, index):
        """Nothing happens."""

    def __getitem__(self, index):
        self.read(index)
        return torch.from_numpy(self.images[index]), self.masks[index]


class KillsWorkers(Wrapped):
    """The first processes that read an item of these are killed."""

    def __init__(self, groups, folder, times):
        super().__init__(groups)
        self.folder, self.times, self.parent = Path(folder), times, os.getpid()

    def read(self, index):
        if index not in self.times or os.getpid() == self.parent:
            return
        killed = len(list(self.folder.glob(f"{index}-*")))
        if killed < self.times[index]:
            (self.folder / f"{index}-{killed}").touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Fails(Wrapped):
    """Reading some items fails, and every try is noted: apart if it is that of the thread that reads ahead."""

    def __init__(self, groups, folder, items):
        super().__init__(groups)
        self.folder, self.items = Path(folder), items

    def read(self, index):
        if index in self.items:
            ahead = " ahead" if threading.current_thread().name == "hdm_widgets reads ahead" else ""
            (self.folder / f"{index}{ahead}-{time.time_ns()}").touch()
            raise OSError(f"tile {index} is missing")


class OnlyHere(Wrapped):
    """It cannot be unpickled in another process."""

    def __init__(self, groups):
        super().__init__(groups)
        self.parent = os.getpid()

    def __setstate__(self, state):
        if state["parent"] != os.getpid():
            raise ModuleNotFoundError("No module named 'my_tiles'")
        self.__dict__.update(state)


class Locked(Wrapped):
    """It cannot be pickled."""

    def __reduce__(self):
        raise TypeError("cannot pickle an open file")


class LockedModel(Reads):
    """It cannot be pickled."""

    def __reduce__(self):
        raise TypeError("cannot pickle an engine")


class Random(Wrapped):
    """Another image at every reading."""

    def __getitem__(self, index):
        image, mask = super().__getitem__(index)
        return torch.rand(image.shape), mask


class CountsThreads(Reads):
    """It notes how many threads torch has while it runs."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.parent = Path(folder), os.getpid()

    def forward(self, images):
        where = "here" if os.getpid() == self.parent else "worker"
        (self.folder / f"{where}-{torch.get_num_threads()}").touch()
        return super().forward(images)


def gives_up(items, dataset, writer, length, number, bounds, tries=None):
    """In place of a task: of one shard, what Dask raises when it has killed four workers."""
    if number == 1 and not (tries and len(list(tries.iterdir())) >= 3):
        if tries:
            (tries / f"{time.time_ns()}").touch()
        raise KilledWorker("task", SimpleNamespace(address="tcp://127.0.0.1:1"), 3)
    return collect_shard(items, dataset, writer, length, number, bounds)


def is_blamed_once(items, dataset, writer, length, number, bounds):
    """In place of a task: one shard is given up at first, as where it waited behind one that killed four workers."""
    return gives_up(items, dataset, writer, length, number, bounds, writer.files.folder.parent / "tries")


class Ends(Wrapped):
    """When one of the items is read, the files that workers read are removed, as a fit does when it ends."""

    def __init__(self, groups, folder, item):
        super().__init__(groups)
        self.folder, self.item, self.parent = Path(folder), item, os.getpid()

    def read(self, index):
        if index == self.item and os.getpid() != self.parent:
            shutil.rmtree(self.folder)
